//! Five daemons on one database live through a year, in which they are killed and held up at random: no grant, statement or
//! mail is missing, and none is there twice.
//!
//! The processes are real, and so are the kills. Time is what a file says, which all of them follow; leases are by the clock of
//! the database, which is real.

use crate::support::{Backend, Sandbox, instant, usage};
use creditd::app::App;
use creditd::config::schedules;
use creditd::core::calendar::Instant;
use creditd::core::ids::{AccountId, Email};
use creditd::core::outbox::{NoticeKind, OutboxState};
use creditd::core::schedule::{Job, Schedule};
use creditd::jobs::{Retries, begun, plan_due};
use creditd::store::Admin;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROCESSES: usize = 5;
const SEED: u64 = 7;
/// Ample for what a step of the year asks for.
const STEP_MAX: Duration = Duration::from_secs(900);
/// The time of each step: from one to twenty days.
const STEP_DAYS: std::ops::RangeInclusive<i64> = 1..=20;

struct Replica(Child);

impl Replica {
    fn start(sandbox: &Sandbox, clock: &Path) -> Replica {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.args(["serve", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
        command.env("CREDITD_NOW", format!("@{}", clock.display()));
        command.env("CREDITD__JOBS__LEASE_SECONDS", "1").env("CREDITD__JOBS__BELL_SECONDS", "1");
        command
            .env("CREDITD__WEB__LISTEN", "off")
            .env("CREDITD__JOBS__BATCH_ACCOUNTS", "2")
            .env("CREDITD__SEALED__ENABLED", "false");
        Replica(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().expect("a signal");
        assert!(sent.success(), "it lives");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sets the time of all at once: nobody reads half of it.
fn set(clock: &Path, now: Instant) {
    let next = clock.with_extension("next");
    std::fs::write(&next, now.to_string()).expect("written");
    std::fs::rename(&next, clock).expect("renamed");
}

/// Waits until nothing is due, begun or waiting to be delivered. What is written after a tick of `deliver` waits for the next.
async fn settle(sandbox: &Sandbox, clock: &Path, mut now: Instant) -> Instant {
    let all = schedules::load(None).expect("the built-in schedules");
    let settled = async {
        loop {
            let app = sandbox.at_instant(now);
            while !is_done(&app, &all).await {
                tokio::task::yield_now().await;
            }
            if app.store.due_messages(now, 1).await.expect("the outbox").is_empty() {
                return;
            }
            now = now.plus_seconds(10);
            set(clock, now);
        }
    };
    if tokio::time::timeout(STEP_MAX, settled).await.is_err() {
        let runs = sandbox.store().runs(None, None, 20).await.expect("runs");
        panic!("at {now} all is not done: {runs:#?}");
    }
    now
}

/// Whether every job has done what is due.
async fn is_done(app: &App, all: &[Schedule]) -> bool {
    // Those leave no record where there is nothing to do.
    let has_records = |job: Job| !matches!(job, Job::ExpireHolds | Job::Deliver | Job::Webhooks);
    for schedule in all.iter().filter(|schedule| has_records(schedule.job)) {
        if !plan_due(app, schedule).await.expect("a plan").slots.is_empty() {
            return false;
        }
    }
    let begun = begun(app, Retries::InTheirTime).await.expect("runs");
    begun.open.is_empty() && begun.under_way.is_empty()
}

async fn open_accounts(sandbox: &Sandbox) -> Vec<AccountId> {
    let mut all = Vec::new();
    for (n, zone) in ["America/New_York", "Asia/Tokyo", "Europe/Berlin", "UTC", "UTC", "UTC", "UTC"].iter().enumerate()
    {
        let id = sandbox.open_account(&format!("account-{n}"), zone, "2013-01-01").await;
        let email = Email::new(&format!("ann@account-{n}.example")).expect("an address");
        let admin = Admin { daily_report: n == 0, ..Admin::with_defaults(email) };
        sandbox.store().set_admin(&id, &admin).await.expect("an admin");
        all.push(id);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_that_are_killed_and_held_up_do_everything_once() {
    if !Backend::Postgres.is_there() {
        return;
    }
    let sandbox = Sandbox::on(Backend::Postgres).await;
    let accounts = open_accounts(&sandbox).await;
    let mut rng = fastrand::Rng::with_seed(SEED);
    let clock = sandbox.path("clock");
    let mut now = instant("2013-01-01T12:00:00Z");
    set(&clock, now);
    let mut replicas: Vec<Replica> = (0..PROCESSES).map(|_| Replica::start(&sandbox, &clock)).collect();
    let (end, mut charges, mut kills) = (instant("2014-01-02T18:00:00Z"), 0, 0);
    while now < end {
        for _ in 0..3 {
            let account = &accounts[rng.usize(0..accounts.len())];
            charges += 1;
            let asked = usage("text-to-image", &format!("charge-{charges}"));
            sandbox.at_instant(now).charge(account, &asked).await.expect("an answer");
        }
        now = now.plus_days(rng.i64(STEP_DAYS)).min(end);
        set(&clock, now);
        let victim = rng.usize(0..PROCESSES);
        if rng.bool() {
            replicas[victim].signal("-KILL");
            kills += 1;
            replicas[victim] = Replica::start(&sandbox, &clock);
            now = settle(&sandbox, &clock, now).await;
        } else {
            // Whatever it is at: the others do it, and when it wakes up it writes nothing of it.
            replicas[victim].signal("-STOP");
            now = settle(&sandbox, &clock, now).await;
            replicas[victim].signal("-CONT");
        }
    }
    now = settle(&sandbox, &clock, now).await;
    drop(replicas);

    assert!(kills > 5, "{kills} kills");
    let app = sandbox.at_instant(now);
    let mut statements: BTreeMap<(AccountId, NoticeKind), Vec<String>> = BTreeMap::new();
    for record in app.store.messages(None, None, 10_000).await.expect("the outbox") {
        let key = &record.message.key;
        assert_eq!(record.state, OutboxState::Sent, "{key}");
        if let Some(account) = key.account() {
            statements.entry((account.clone(), key.kind())).or_default().push(key.about().to_owned());
        }
    }
    let months: Vec<String> = (1..=12).map(|month| format!("2013-{month:02}")).collect();
    for account in &accounts {
        let mut told = statements.remove(&(account.clone(), NoticeKind::MonthlyStatement)).unwrap_or_default();
        told.sort();
        assert_eq!(told, months, "{account}");
        let grants: Vec<String> = sandbox
            .texts(&format!(
                "SELECT label FROM grants WHERE account_id = '{account}' AND source = 'monthly' ORDER BY label"
            ))
            .await;
        let expected: Vec<String> =
            months.iter().map(String::as_str).chain(["2014-01"]).map(|month| format!("free:{month}")).collect();
        assert_eq!(grants, expected, "{account}");
    }
    let days = statements.remove(&(accounts[0].clone(), NoticeKind::DailyStatement)).unwrap_or_default();
    assert_eq!(days.len(), 366, "each day from January 1st on, once");
    let mails = std::fs::read_dir(sandbox.path("mail")).expect("the mail folder").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "eml"))
    });
    assert_eq!(mails.count(), 366 + 12 * accounts.len() + statements.values().map(Vec::len).sum::<usize>());
    sandbox.assert_verified().await;
}

/// A process that is stopped in the middle of a write holds up the others for seconds, for the server ends its transaction; and when
/// it goes on, its call is done after all, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_in_a_write_holds_up_nobody_for_long() {
    if !Backend::Postgres.is_there() {
        return;
    }
    let sandbox = Sandbox::on(Backend::Postgres).await;
    let id = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    // It comes as far as to the row of the account, which somebody else has, and is stopped there.
    let pool = sandbox.postgres().await;
    let mut before = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM accounts FOR UPDATE").execute(&mut *before).await.expect("the row");
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.args(["charge", "--account", "acme", "--action", "erase", "--key", "stopped"]);
    command.args(["--database-url", sandbox.url()]).env("CREDITD_NOW", "2013-01-10T00:00:00Z");
    let stopped = Replica(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let waiting = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                    WHERE NOT l.granted AND a.datname = current_database() AND a.application_name = 'creditd'";
    let is_waiting =
        async { while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.expect("a count") == 0 {} };
    tokio::time::timeout(STEP_MAX, is_waiting).await.expect("it waits for the row");
    stopped.signal("-STOP");
    before.rollback().await.expect("the row is free, and the stopped one has it");

    // Who waits for the row gives up after thirty seconds.
    let app = sandbox.at("2013-01-10T00:00:00Z");
    app.charge(&id, &usage("erase", "other")).await.expect("the row is free again");
    let charged = async || sandbox.texts("SELECT key FROM transactions WHERE kind = 'charge' ORDER BY key").await;
    assert_eq!(charged().await, ["other"]);
    stopped.signal("-CONT");
    let mut stopped = stopped;
    let ended = tokio::task::spawn_blocking(move || stopped.0.wait()).await.expect("waited").expect("it ends");
    assert!(ended.success(), "{ended}");
    assert_eq!(charged().await, ["other", "stopped"]);
    sandbox.assert_verified().await;
}
