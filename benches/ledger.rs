//! The speed of the ledger, each figure beside its floor in the same run: charges one by one and many at once, spread
//! over many accounts and all on one, the reset of many accounts with charges beside it, and the scan of many accounts of
//! which few have changed. On SQLite and on Postgres.
//!
//! `cargo bench --bench ledger` runs everything; `-- charges`, `-- reset`, `-- scan`, `-- sqlite`, `-- postgres` choose,
//! and `-- accounts=100000` sets how many accounts are reset or scanned, `-- spread`, `-- hot` and `-- callers=128` which charges are
//! measured; `-- cold` does so with accounts that this process did not charge before. benches/README.md says what the
//! figures mean.

#[path = "ledger/common.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod common;
#[path = "ledger/postgres.rs"]
mod postgres;
#[path = "ledger/sqlite.rs"]
mod sqlite;

use common::{
    ALLOWANCE, Asked, OPENED_AT_ONCE, any_key, clock, cluster, instant, new_account, runtime, usage, write_through,
};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::Settings;
use creditd::core::alert::Levels;
use creditd::core::ids::{AccountId, Email};
use creditd::core::ledger::Call;
use creditd::core::run::Span;
use creditd::core::schedule::{Job, Slot};
use creditd::core::transaction::Status;
use creditd::jobs::{Kit, Run, execute};
use creditd::store::{Admin, NewAccount, NewFacts, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Accounts that charges are spread over.
const SPREAD: usize = 100_000;
/// Accounts that are reset, unless told otherwise.
const RESET: usize = 1_000_000;
/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Accounts that fall to a level before they are scanned; they have an admin each.
const CROSSING: usize = 1_000;
/// Calls made at once before anything is measured.
const CALLED_AT_ONCE: usize = 1_000;

/// Before the reset: the month of this instant is open.
const BEFORE: &str = "2026-03-15T00:00:00Z";
/// After the month's end.
const AFTER: &str = "2026-04-02T00:00:00Z";

/// Whether this process has charged none of the accounts before.
fn is_cold(asked: &Asked) -> bool {
    asked.has("cold")
}

/// The charges to measure: how they are called, over how many accounts, by how many callers.
fn charges(asked: &Asked) -> impl Iterator<Item = (&'static str, usize, usize)> {
    let spreads = [("spread", SPREAD), ("hot", 1)].into_iter().filter(|(what, _)| asked.is(what, &["spread", "hot"]));
    let callers = asked.number("callers");
    spreads.flat_map(move |(what, accounts)| {
        let callers = [1, 8, 128].into_iter().filter(move |many| callers.is_none_or(|asked| asked == *many));
        callers.map(move |callers| (what, accounts, callers))
    })
}

/// What a kind of caller got.
struct Charged {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn main() {
    let asked = Asked::of_args();
    let accounts = asked.number("accounts").unwrap_or(RESET);
    if write_through() {
        return;
    }
    runtime().block_on(async {
        for database in asked.databases() {
            let is_sqlite = database == "sqlite";
            let is_asked = |what: &str| asked.is(what, &["charges", "reset", "scan"]);
            if is_asked("charges") {
                if is_sqlite { sqlite::charges(&asked).await } else { postgres::charges(&asked).await }
            }
            if is_asked("reset") {
                if is_sqlite { sqlite::reset(accounts).await } else { postgres::reset(accounts).await }
            }
            if is_asked("scan") {
                if is_sqlite { sqlite::scan(accounts).await } else { postgres::scan(accounts).await }
            }
        }
    });
}

/// The id of account number `n`; pgbench makes the same from its number.
fn account_id(n: usize) -> AccountId {
    AccountId::new(&format!("a{n:07}")).expect("an id")
}

/// Settings for a ledger at `url`.
fn settings(folder: &Path, url: &str) -> Settings {
    common::settings(folder, url, &[])
}

/// An app on a store, at an instant.
fn app_at(settings: &Settings, store: &Store, now: &str) -> App {
    App::new(settings.clone(), store.clone(), Clock::Fixed(instant(now))).expect("a sandbox")
}

/// Opens accounts number 0 to `count` and their month.
async fn fill(app: &App, count: usize) {
    let new = |n: usize| {
        let admin = || Admin::with_defaults(Email::new("ann@example.com").expect("an address"));
        let admins = if n < CROSSING { vec![admin()] } else { Vec::new() };
        new_account(account_id(n), instant("2026-03-01T00:00:00Z"), admins)
    };
    for first in (0..count).step_by(OPENED_AT_ONCE) {
        let accounts: Vec<NewAccount> = (first..count.min(first + OPENED_AT_ONCE)).map(new).collect();
        app.store.open_accounts(&accounts, app.now()).await.expect("accounts");
    }
    reset_all(app).await;
}

/// The reset as the job does it; seconds.
async fn reset_all(app: &App) -> f64 {
    run(app, Job::Reset).await.0
}

/// A job, in seconds, and what it says.
async fn run(app: &App, job: Job) -> (f64, String) {
    let kit = Kit::new(app.clone()).expect("a kit");
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let begin = clock();
    let done = execute(&kit, job, Slot::Tick(app.now()), &Span::WHOLE, &mut run).await.expect("the job ends well");
    assert!(done.problems.is_empty(), "{:?}", done.problems);
    (begin.elapsed().as_secs_f64(), done.summary)
}

/// The scan of all accounts, of none that has changed, and of those that fell to a level.
async fn scan_all(database: &str, app: &App) {
    // Whoever charges one of these falls to its level.
    let levels: Levels = format!("low={}", ALLOWANCE - 1).parse().expect("a level");
    for n in 0..CROSSING {
        app.store
            .set_account(&account_id(n), NewFacts { levels: Some(Some(&levels)), ..NewFacts::default() })
            .await
            .expect("levels");
    }
    let (all, said) = run(app, Job::Scan).await;
    println!("{database:<9} the first scan of a day, {said}: {all:.2} s");
    let (quiet, said) = run(app, Job::Scan).await;
    println!("{database:<9} a scan, {said}: {:.1} ms", quiet * 1_000.0);
    for n in 0..CROSSING {
        app.charge(&account_id(n), &usage(&any_key())).await.expect("an answer");
    }
    let (crossed, said) = run(app, Job::Scan).await;
    println!("{database:<9} a scan, {said}: {crossed:.2} s");
}

/// `callers` who charge one after the other until `stop`, each a random one of the first `accounts`.
async fn charge_until(app: &App, callers: usize, accounts: usize, stop: Arc<AtomicBool>) -> Vec<f64> {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (app, stop) = (app.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let account = account_id(fastrand::usize(..accounts));
                    let usage = usage(&any_key());
                    let begin = clock();
                    let answer = app.charge(&account, &usage).await.expect("an answer");
                    latencies.push(begin.elapsed().as_secs_f64() * 1_000.0);
                    assert!(answer.row.status == Status::Success, "{answer:?}");
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Charges each of the first `accounts`, so that what is measured is a process that has been at work for a while.
async fn charge_each(app: &App, accounts: usize) {
    for first in (0..accounts).step_by(CALLED_AT_ONCE) {
        let call = |n| (account_id(n), Call::Charge(usage(&any_key())));
        let calls = (first..accounts.min(first + CALLED_AT_ONCE)).map(call).collect();
        for answer in app.call_all(calls).await {
            answer.expect("an answer");
        }
    }
}

async fn charges_of(app: &App, callers: usize, accounts: usize) -> Charged {
    let stop = Arc::new(AtomicBool::new(false));
    let charging = charge_until(app, callers, accounts, Arc::clone(&stop));
    let timer = async {
        tokio::time::sleep(MEASURED).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (latencies, ()) = tokio::join!(charging, timer);
    charged(&latencies)
}

fn charged(latencies: &[f64]) -> Charged {
    let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len() - 1)).copied();
    Charged {
        per_second: u32::try_from(latencies.len()).map_or(0.0, f64::from) / MEASURED.as_secs_f64(),
        p50_ms: at(50).unwrap_or(0.0),
        p99_ms: at(99).unwrap_or(0.0),
    }
}

/// A reset with one caller beside it who charges: seconds, and how long the caller waited.
async fn reset_beside_charges(app: &App, accounts: usize) -> (f64, Charged) {
    let stop = Arc::new(AtomicBool::new(false));
    let charging = charge_until(app, 1, accounts, Arc::clone(&stop));
    let resetting = async {
        let seconds = reset_all(app).await;
        stop.store(true, Ordering::Relaxed);
        seconds
    };
    let (latencies, seconds) = tokio::join!(charging, resetting);
    (seconds, charged(&latencies))
}

fn line(database: &str, what: &str, callers: usize, charged: &Charged, floor: f64) {
    let Charged { per_second, p50_ms, p99_ms } = charged;
    println!(
        "{database:<9} {what:<7} {callers:>4} callers: {per_second:>7.0}/s  p50 {p50_ms:>6.2} ms  p99 {p99_ms:>6.2} ms  \
         floor {floor:>6.0}/s  ratio {:.2}",
        per_second / floor
    );
}
