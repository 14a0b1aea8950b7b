//! The jobs, each run twice: whatever a job does, it does once, and a dry run does nothing.

mod close;
mod corrected;
mod locales;

use crate::support::{Sandbox, account, account_id, both_databases, instant, month, purchase, usage};
use chrono_tz::Tz;
use creditd::app::App;
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{AccountId, Email, Key};
use creditd::core::ledger::{Bonus, Call, Closing, Hold, NewTerms, Refund, Usage};
use creditd::core::outbox::NoticeKind;
use creditd::core::run::RunState;
use creditd::core::schedule::{Job, Slot};
use creditd::jobs::preview::{self, Preview};
use creditd::jobs::{Claiming, Done, Kit, Planned, Run, run_slot};
use creditd::store::{Admin, NewAccount, OutboxRecord};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NEW_YORK: Tz = Tz::America__New_York;
/// Ample for a bell that takes a second.
const BELL_MAX: Duration = Duration::from_secs(120);

/// An account in New York with one admin who wants everything.
async fn open_acme(sandbox: &Sandbox) -> AccountId {
    let email = Email::new("ann@acme.example").expect("an address");
    let admin = Admin { daily_report: true, name: "Ann".into(), ..Admin::with_defaults(email) };
    let new =
        NewAccount { account: account("acme", "America/New_York", "2013-01-01"), locale: None, admins: vec![admin] };
    sandbox.store().open_accounts(&[new], instant("2013-01-01T00:00:00Z")).await.expect("an account");
    account_id("acme")
}

async fn run(app: App, job: Job, slot: Slot, dry_run: bool) -> Done {
    let kit = Kit::new(app).expect("templates and a mail folder");
    let mut run = Run { dry_run, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    match run_slot(&kit, job, slot, Claiming::Anyway, &mut run).await.expect("the run is recorded") {
        Planned::Ran(done) => done.expect("the job ends well"),
        Planned::Taken => panic!("a run that was asked for is never left out"),
    }
}

async fn tick(sandbox: &Sandbox, now: &str, job: Job) -> Done {
    run(sandbox.at(now), job, Slot::Tick(instant(now)), false).await
}

async fn mails(sandbox: &Sandbox, kind: NoticeKind) -> Vec<OutboxRecord> {
    let mut all = sandbox.store().messages(None, None, 1_000).await.expect("the outbox");
    all.retain(|mail| mail.message.key.kind() == kind);
    all
}

/// Takes credits until `left` are available.
async fn spend_down_to(app: &App, id: &AccountId, left: i64, key: &str) {
    let available = app.balances(std::slice::from_ref(id)).await.expect("a balance")[0].available.total().get();
    let quantity = available - left;
    let usage = Usage { quantity, ..usage("translation", key) };
    app.charge(id, &usage).await.expect("a charge");
}

#[tokio::test]
async fn reset_opens_every_missed_month_once() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let now = "2013-06-01T04:00:00Z"; // the instant June begins in New York
    let planned = run(sandbox.at(now), Job::Reset, Slot::Tick(instant(now)), true).await;
    assert_eq!(sandbox.log(&id).await.len(), 0, "a dry run writes nothing");
    let done = tick(&sandbox, now, Job::Reset).await;
    assert_eq!(planned.lines, done.lines, "what was planned is what is done");
    let rows = sandbox.log(&id).await;
    let kinds: Vec<String> = rows.iter().map(|row| format!("{} {}", row.occurred_at, row.kind)).collect();
    insta::assert_snapshot!(kinds.join("\n"), @r"
    2013-01-01T05:00:00Z allocation
    2013-02-01T05:00:00Z expiry
    2013-02-01T05:00:00Z allocation
    2013-03-01T05:00:00Z expiry
    2013-03-01T05:00:00Z allocation
    2013-04-01T04:00:00Z expiry
    2013-04-01T04:00:00Z allocation
    2013-05-01T04:00:00Z expiry
    2013-05-01T04:00:00Z allocation
    2013-06-01T04:00:00Z expiry
    2013-06-01T04:00:00Z allocation
    ");
    let again = tick(&sandbox, now, Job::Reset).await;
    assert_eq!(again.lines, Vec::<String>::new());
    assert_eq!(sandbox.log(&id).await, rows);
    sandbox.assert_verified().await;
}

both_databases! {
    async fn expire_holds_gives_back_what_ran_out_once(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
        let hold = async |now: &str, key: &str, ttl_seconds: i64| {
            let Usage { key, user, action, quantity, comment, .. } = usage("erase", key);
            let hold = Call::Hold(Hold { key, user, action, quantity, ttl_seconds, comment });
            sandbox.at(now).call(&id, hold).await.expect("a hold");
        };
        let expire = async |now: &str| tick(&sandbox, now, Job::ExpireHolds).await;
        hold("2013-01-31T12:00:00Z", "short", 60).await;
        hold("2013-01-31T12:00:00Z", "over-the-month", 86_400).await;
        assert_eq!(expire("2013-01-31T12:00:59.999999Z").await.lines, Vec::<String>::new());

        let now = "2013-01-31T12:01:00Z";
        let before = sandbox.log(&id).await;
        let planned = run(sandbox.at(now), Job::ExpireHolds, Slot::Tick(instant(now)), true).await;
        assert_eq!(sandbox.log(&id).await, before, "a dry run writes nothing");
        let done = expire(now).await;
        assert_eq!(planned.lines, done.lines, "what was planned is what is done");
        assert_eq!(done.lines, ["acme: give back 7 credits of 1 hold that ran out"]);
        assert_eq!(done.summary, "1 account: 1 hold ran out, 7 credits given back");
        let after = sandbox.log(&id).await;
        assert_eq!(expire(now).await.lines, Vec::<String>::new());
        assert_eq!(sandbox.log(&id).await, after);

        // What comes back to a month that is over does not leak into the next one.
        tick(&sandbox, "2013-02-01T05:00:00Z", Job::Reset).await;
        let done = expire("2013-02-01T12:00:00Z").await;
        assert_eq!(done.lines, ["acme: give back 7 credits of 1 hold that ran out, lapse 7 free credits"]);
        let balance = sandbox.balance(&sandbox.at("2013-02-01T12:00:00Z"), &id).await;
        assert_eq!((balance.available.total().get(), balance.held.total().get()), (1_500, 0));
    }
}

/// An account that cannot be rolled over is a problem of its own: it holds up no other, and the run ends.
#[tokio::test]
async fn reset_passes_an_account_that_cannot_be_moved_on() {
    let sandbox = Sandbox::new().await;
    let key = |name: &str| Key::new(name).expect("a key");
    let app = sandbox.at("2013-01-10T00:00:00Z");
    for n in 0..5 {
        let id = sandbox.open_account(&format!("a{n}"), "UTC", "2013-01-01").await;
        if n == 2 {
            // From February on, there is more than can be counted beside what is left of the gift.
            let gift = Bonus {
                key: key("gift"),
                credit_type: CreditType::Free,
                credits: Credits::new(1),
                expires_at: None,
                comment: "sorry".to_owned(),
            };
            app.call(&id, Call::Bonus(gift)).await.expect("a gift");
            let terms = NewTerms { key: key("terms"), zone: None, allowance: Some(Credits::LIMIT) };
            app.call(&id, Call::Terms(terms)).await.expect("new terms");
        }
    }
    for accounts in [4, 0] {
        let done = tick(&sandbox, "2013-02-10T00:00:00Z", Job::Reset).await;
        assert!(done.summary.starts_with(&format!("{accounts} accounts: ")), "{}", done.summary);
        assert_eq!(done.problems.len(), 1, "{:?}", done.problems);
        assert!(done.problems[0].what.starts_with("overflow: account a2: "), "{:?}", done.problems);
        assert_eq!(done.problems[0].account, Some(account_id("a2")));
    }
}

/// R18: what is left of a closed account lapses at the month's end, which is nobody's alarm; it is once the account is open.
#[tokio::test]
async fn scan_tells_nobody_of_a_closed_account() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let closing = |name: &str, reopen| {
        let key = Key::new(name).expect("a key");
        Call::Closing(Closing { key, reopen, comment: "unpaid".to_owned() })
    };
    sandbox.at("2013-01-20T12:00:00Z").call(&id, closing("c", false)).await.expect("closed");
    for now in ["2013-01-20T12:00:00Z", "2013-02-10T12:00:00Z"] {
        assert_eq!(
            tick(&sandbox, now, Job::Scan).await.summary,
            "1 account: 0 alerts opened, 0 resolved, 0 notices written"
        );
    }
    let app = sandbox.at("2013-02-11T12:00:00Z");
    app.call(&id, closing("o", true)).await.expect("open again");
    spend_down_to(&app, &id, 0, "all").await;
    assert_eq!(mails(&sandbox, NoticeKind::LowCredit).await.len(), 0);
    tick(&sandbox, "2013-02-11T12:00:00Z", Job::Scan).await;
    assert_eq!(mails(&sandbox, NoticeKind::LowCredit).await.len(), 1);
}

#[tokio::test]
async fn scan_tells_once_per_crossing_and_a_purchase_arms_again() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let told = async |sandbox: &Sandbox| mails(sandbox, NoticeKind::LowCredit).await.len();

    spend_down_to(&sandbox.at("2013-01-10T12:00:00Z"), &id, 301, "a").await;
    tick(&sandbox, "2013-01-10T12:01:00Z", Job::Scan).await;
    assert_eq!(told(&sandbox).await, 0, "301 of 1,500 is above 20 %");

    spend_down_to(&sandbox.at("2013-01-10T13:00:00Z"), &id, 300, "b").await;
    let now = "2013-01-10T13:01:00Z";
    run(sandbox.at(now), Job::Scan, Slot::Tick(instant(now)), true).await;
    assert_eq!(told(&sandbox).await, 0, "a dry run writes nothing");
    tick(&sandbox, now, Job::Scan).await;
    tick(&sandbox, "2013-01-10T13:02:00Z", Job::Scan).await;
    assert_eq!(told(&sandbox).await, 1, "one mail per crossing, however often it is scanned");

    spend_down_to(&sandbox.at("2013-01-11T13:00:00Z"), &id, 0, "c").await;
    tick(&sandbox, "2013-01-11T13:01:00Z", Job::Scan).await;
    let newest = &mails(&sandbox, NoticeKind::LowCredit).await[0];
    assert_eq!(told(&sandbox).await, 2, "critical and exhausted at once make one notice");
    assert_eq!(newest.message.key.about(), "exhausted#1");

    sandbox.at("2013-01-12T00:00:00Z").purchase(&id, &purchase(1, "inv-1")).await.expect("a purchase");
    tick(&sandbox, "2013-01-12T00:01:00Z", Job::Scan).await;
    assert_eq!(sandbox.store().alerts(None, false, 10).await.expect("alerts"), [], "all are over");
    spend_down_to(&sandbox.at("2013-01-13T00:00:00Z"), &id, 10, "d").await;
    tick(&sandbox, "2013-01-13T00:01:00Z", Job::Scan).await;
    let newest = &mails(&sandbox, NoticeKind::LowCredit).await[0];
    assert_eq!((told(&sandbox).await, newest.message.key.about()), (3, "critical#2"));
}

#[tokio::test]
async fn a_reset_that_no_job_ran_arms_the_levels_again() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    spend_down_to(&sandbox.at("2013-01-31T12:00:00Z"), &id, 0, "a").await;
    tick(&sandbox, "2013-01-31T12:01:00Z", Job::Scan).await;
    assert_eq!(sandbox.store().alerts(None, false, 10).await.expect("alerts").len(), 3);
    // February begins; the scan sees the new free credits although no reset wrote them.
    tick(&sandbox, "2013-02-01T05:00:00Z", Job::Scan).await;
    assert_eq!(sandbox.store().alerts(None, false, 10).await.expect("alerts"), []);
}

#[tokio::test]
async fn statements_come_once_and_only_when_the_period_is_over() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let app = sandbox.at("2013-01-15T17:00:00Z");
    app.charge(&id, &usage("erase", "one")).await.expect("a charge");
    let march = Slot::Month(month("2013-01"), NEW_YORK);
    let day = Slot::Day("2013-01-15".parse().expect("a date"), NEW_YORK);

    run(sandbox.at("2013-02-01T04:59:59.999999Z"), Job::MonthlyReport, march, false).await;
    assert_eq!(mails(&sandbox, NoticeKind::MonthlyStatement).await, [], "the month is not over yet");
    let now = "2013-02-01T05:00:00Z";
    run(sandbox.at(now), Job::MonthlyReport, march, true).await;
    assert_eq!(mails(&sandbox, NoticeKind::MonthlyStatement).await, [], "a dry run writes nothing");
    run(sandbox.at(now), Job::MonthlyReport, march, false).await;
    run(sandbox.at(now), Job::DailyReport, day, false).await;
    let monthly = mails(&sandbox, NoticeKind::MonthlyStatement).await;
    insta::assert_snapshot!(monthly[0].message.subject, @"7 AI credits used in January 2013, 1,500 for February (Account acme)");
    run(sandbox.at("2013-02-02T05:00:00Z"), Job::MonthlyReport, march, false).await;
    run(sandbox.at("2013-02-02T05:00:00Z"), Job::DailyReport, day, false).await;
    assert_eq!(mails(&sandbox, NoticeKind::MonthlyStatement).await, monthly);
    assert_eq!(mails(&sandbox, NoticeKind::DailyStatement).await.len(), 1);

    let delivered = tick(&sandbox, "2013-02-02T05:01:00Z", Job::Deliver).await;
    assert_eq!((delivered.lines.len(), delivered.problems.len()), (2, 0));
    assert_eq!(tick(&sandbox, "2013-02-02T05:01:10Z", Job::Deliver).await.lines, Vec::<String>::new());
    let files = std::fs::read_dir(sandbox.path("mail")).expect("the mail folder");
    let files = files.filter(|file| file.as_ref().is_ok_and(|f| f.path().extension().is_some_and(|e| e == "eml")));
    assert_eq!(files.count(), 2);
}

/// What there is now is told with what was: also before a reset wrote it, on the last day of a month, and to a closed account
/// (R18), which gets no more free credits.
#[tokio::test]
async fn a_statement_says_what_the_next_month_began_with() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let app = sandbox.at("2013-01-31T17:00:00Z");
    app.call(&id, Call::Purchase(purchase(1, "pi-1"))).await.expect("bought");
    app.charge(&id, &usage("erase", "one")).await.expect("a charge");
    let said = async |now: &str, job: Job, slot: Slot, kind: NoticeKind| {
        run(sandbox.at(now), job, slot, false).await;
        let all = mails(&sandbox, kind).await;
        let mail = all.iter().find(|mail| slot.to_string().starts_with(mail.message.key.about())).expect("a mail");
        let first = mail.message.text.lines().next().unwrap_or_default();
        format!("{} | {first}", mail.message.subject)
    };
    let day = |text: &str| Slot::Day(text.parse().expect("a date"), NEW_YORK);
    let months = async |now: &str, text: &str| {
        said(now, Job::MonthlyReport, Slot::Month(month(text), NEW_YORK), NoticeKind::MonthlyStatement).await
    };
    let unwritten = months("2013-02-01T05:00:00Z", "2013-01").await;
    insta::assert_snapshot!(unwritten, @"7 AI credits used in January 2013, 4,000 for February (Account acme) | 7 AI credits used in January 2013 in 1 action. February began with 4,000: 1,500 free and 2,500 purchased.");
    tick(&sandbox, "2013-02-01T06:00:00Z", Job::Reset).await;
    let last_day = said("2013-02-01T06:00:00Z", Job::DailyReport, day("2013-01-31"), NoticeKind::DailyStatement).await;
    insta::assert_snapshot!(last_day, @"7 AI credits used on 31 January 2013, 4,000 for February (Account acme) | 7 AI credits used on 31 January 2013 in 1 action. February began with 4,000: 1,500 free and 2,500 purchased.");
    let first_day = said("2013-02-02T06:00:00Z", Job::DailyReport, day("2013-02-01"), NoticeKind::DailyStatement).await;
    insta::assert_snapshot!(first_day, @"No AI credits used on 1 February 2013, 4,000 left (Account acme) | No AI credits used on 1 February 2013. 4,000 left: 1,500 free and 2,500 purchased.");
    let closing = Closing { key: Key::new("c").expect("a key"), reopen: false, comment: "unpaid".to_owned() };
    sandbox.at("2013-02-20T12:00:00Z").call(&id, Call::Closing(closing)).await.expect("closed");
    let closed = months("2013-03-02T05:00:00Z", "2013-02").await;
    insta::assert_snapshot!(closed, @"No AI credits used in February 2013, 2,500 for March (Account acme) | No AI credits used in February 2013. March began with 2,500: 0 free and 2,500 purchased.");
}

both_databases! {
    /// A bonus ends on a day of its own, what is given back to one that is over lapses at once, and both are told so, as is what will lapse
    /// and what never does: the same before and after a reset has written it, and when the last of them has ended, too.
    async fn a_statement_says_what_lapsed_when_and_why(sandbox: Sandbox) {
        let id = open_acme(&sandbox).await;
        let app = sandbox.at("2013-01-10T12:00:00Z");
        let key = |name: &str| Key::new(name).expect("a key");
        for (name, credit_type, credits, end) in [
            ("free", CreditType::Free, 30, "2013-01-15T17:00:00Z"),
            ("purchased", CreditType::Purchased, 40, "2013-01-20T05:00:00Z"),
            ("with-the-month", CreditType::Purchased, 5, "2013-02-01T05:00:00Z"),
            ("later", CreditType::Purchased, 50, "2013-02-10T05:00:00Z"),
        ] {
            let (credits, expires_at) = (Credits::new(credits), Some(instant(end)));
            let bonus = Bonus { key: key(name), credit_type, credits, expires_at, comment: "welcome".to_owned() };
            app.call(&id, Call::Bonus(bonus)).await.expect("a bonus");
        }
        app.purchase(&id, &purchase(1, "inv-1")).await.expect("a pack");
        app.charge(&id, &usage("erase", "one")).await.expect("a charge");
        let refund = Refund { key: key("refund"), charge: key("one"), credits: None, comment: "sorry".to_owned() };
        sandbox.at("2013-01-22T12:00:00Z").call(&id, Call::Refund(refund)).await.expect("refunded");
        let kit = |now: &str| Kit::new(sandbox.at(now)).expect("templates and a mail folder");
        let lapsed = async |now: &str| {
            let preview = Preview::MonthlyStatement(month("2013-01"));
            let message = preview::preview(&kit(now), &id, preview).await.expect("worded").expect("a statement");
            let is_said = |line: &&str| line.to_lowercase().contains("lapsed") || line.contains("carried forward");
            let lines: Vec<&str> = message.text.lines().filter(is_said).collect();
            lines.join("\n")
        };
        let before = lapsed("2013-02-01T05:00:00Z").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(before, @r"
            Lapsed, unused                -1,530         -45      -1,575
            23 free bonus credits were not used and lapsed on 15 January 2013, 12:00 EST, when their time was over.
            1,500 free credits were not used and lapsed when the month ended.
            7 free credits were given back when their time was over, and lapsed at once.
            40 purchased bonus credits were not used and lapsed on 20 January 2013, 00:00 EST, when their time was over.
            5 purchased bonus credits were not used and lapsed on 1 February 2013, 00:00 EST, when their time was over.
            2,550 purchased credits are carried forward; 2,500 of them were bought and never lapse. 50 purchased bonus credits lapse on 10 February 2013, 00:00 EST if unused.
            ");
        }
        for later in ["2013-02-01T06:00:00Z", "2013-02-12T06:00:00Z"] {
            tick(&sandbox, later, Job::Reset).await;
            assert_eq!(lapsed(later).await, before, "{later}");
        }
    }
}

/// The daemon itself: it does at once what was missed, and stops when it is told to.
#[tokio::test]
async fn serve_catches_up_and_stops_cleanly() {
    let sandbox = Sandbox::new().await;
    let id = open_acme(&sandbox).await;
    let daemon = Daemon::start(&sandbox);
    // Closing months is the last thing that the first bell does in the lane of the reports.
    let first_bell = async {
        while sandbox.store().runs(Some(Job::Close), Some(RunState::Done), 1).await.expect("runs").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BELL_MAX, first_bell).await.expect("the daemon gets through its first bell in time");
    daemon.stop();
    assert!(sandbox.log(&id).await.len() > 300, "every month since 2013 was opened and lapsed");
    let monthly = mails(&sandbox, NoticeKind::MonthlyStatement).await;
    assert!((10..=14).contains(&monthly.len()), "the window is 400 days, and {} statements came", monthly.len());
    sandbox.assert_verified().await;
}

/// A real `creditd serve` that does not outlive the test.
struct Daemon(Child);

impl Daemon {
    fn start(sandbox: &Sandbox) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.args(["serve", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
        // Daemons of several tests run at once.
        command.env("CREDITD__WEB__LISTEN", "off");
        Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts"))
    }

    /// Asks it to stop as an init system does, and waits until it has.
    fn stop(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
        let exit = self.0.wait().expect("the daemon can be waited for");
        assert!(exit.success(), "the daemon ended with {exit}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
