//! Backfills: what is run again changes nothing that is so, and tells whoever was told otherwise.

use crate::support::{
    Sandbox, account, account_id, all_left, both_databases, end_run, instant, month, take_run, usage,
};
use creditd::app::App;
use creditd::core::backfill::{Asked, Planned, Reprocess};
use creditd::core::calendar::{Instant, parse_date};
use creditd::core::ids::{AccountId, Email};
use creditd::core::ledger::Usage;
use creditd::core::outbox::OutboxState;
use creditd::core::run::{End, Run, RunState};
use creditd::core::schedule::{Job, Slot};
use creditd::daemon::{Ran, take_up_lost};
use creditd::jobs::backfill::{create_backfill, plan_backfill, run_next};
use creditd::jobs::{Begun, Done, Kit, Retries, begun, lost};
use creditd::store::{Admin, Answered, BackfillState, NewAccount, OutboxRecord, RunId, StoreError};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const NOW: &str = "2013-03-05T12:00:00Z";

fn january_to_march(reprocess: Reprocess, email: bool) -> Asked {
    let day = |text| parse_date(text).expect("a day");
    let (from, to) = (day("2013-01-01"), day("2013-03-01"));
    let (job, accounts) = (Job::MonthlyReport, Vec::new());
    Asked { job, from, to, accounts, reprocess, email, parallel_max: 2, reverse: false }
}

/// Accounts in two zones that used something in January, each with an admin.
async fn open_two(sandbox: &Sandbox) -> [AccountId; 2] {
    let accounts = [("acme", "UTC"), ("zoo", "Asia/Tokyo")];
    for (id, zone) in accounts {
        let id = sandbox.open_account(id, zone, "2013-01-01").await;
        let admin = Admin::with_defaults(Email::new(&format!("ann@{id}.example")).expect("an address"));
        sandbox.store().set_admin(&id, &admin).await.expect("an admin");
        sandbox.at("2013-01-15T12:00:00Z").charge(&id, &usage("erase", "one")).await.expect("a charge");
    }
    accounts.map(|(id, _)| account_id(id))
}

/// Makes a backfill and does all of it: its number, and what came of each slot.
async fn run_all(app: App, asked: &Asked) -> (i64, Vec<(String, Done)>) {
    let kit = Kit::new(app).expect("templates and a mail folder");
    let planned = plan_backfill(&kit, asked).await.expect("a plan");
    let number = create_backfill(&kit, asked, &planned).await.expect("a backfill");
    let mut all = Vec::new();
    let record = kit.app.store.backfills(Some(number), false, 1).await.expect("read").remove(0);
    let stop = CancellationToken::new();
    // On the heap: tests wait for this in many places.
    while let Some(ran) =
        Box::pin(run_next(&kit, &record, Retries::AtOnce, &stop, &mut |_, _| {})).await.expect("it is recorded")
    {
        all.push((ran.slot.to_string(), ran.result.expect("it ends well")));
    }
    let ended = kit.app.store.backfills(Some(number), false, 1).await.expect("read").remove(0);
    assert_eq!((ended.state, ended.count(RunState::Done)), (BackfillState::Done, all.len() as u64));
    (number, all)
}

/// The program on the ledger, one account a batch, by its arguments (`_` is a space within one): its exit code, and what it writes and says.
async fn creditd(sandbox: &Sandbox, args: &str) -> (Option<i32>, String, String) {
    creditd_with(sandbox, args, &[]).await
}

/// The same with these settings.
async fn creditd_with(sandbox: &Sandbox, args: &str, env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command
        .args(args.split(' ').map(|arg| arg.replace('_', " ")))
        .args(["--database-url", sandbox.url()])
        .current_dir(sandbox.path(""));
    command.env_clear().env("CREDITD_NOW", NOW).env("CREDITD__JOBS__BATCH_ACCOUNTS", "1");
    command.envs(env.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let [rows, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), rows, said)
}

fn summaries(all: &[(String, Done)]) -> Vec<String> {
    all.iter().map(|(slot, done)| format!("{slot}: {}", done.summary)).collect()
}

async fn keys(sandbox: &Sandbox) -> Vec<String> {
    let all = sandbox.store().messages(None, None, 1_000).await.expect("the outbox");
    let mut keys: Vec<String> = all.iter().map(|record| record.message.key.to_string()).collect();
    keys.sort();
    keys
}

both_databases! {
    async fn what_was_never_reported_is_reported_once(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let (_, said) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::Missing, false)).await;
        assert_eq!(summaries(&said), [
            "2013-01@Asia/Tokyo: 1 statement to write, 0 there already",
            "2013-01@UTC: 1 statement to write, 0 there already",
            "2013-02@Asia/Tokyo: 1 statement to write, 0 there already",
            "2013-02@UTC: 1 statement to write, 0 there already",
        ]);
        assert_eq!(keys(&sandbox).await, Vec::<String>::new(), "without mails, it is only said");

        let (_, sent) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::Missing, true)).await;
        assert_eq!(summaries(&sent)[0], "2013-01@Asia/Tokyo: 1 statement written, 0 there already");
        let written = keys(&sandbox).await;
        assert_eq!(written.len(), 4);
        // What was mailed to everybody was reported.
        let states = sandbox.store().slot_states(Job::MonthlyReport, instant("2013-01-01T00:00:00Z")).await.expect("states");
        assert_eq!(states.iter().filter(|(_, state)| *state == RunState::Done).count(), 4);
        let (_, none) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::Missing, true)).await;
        assert_eq!(summaries(&none), Vec::<String>::new());
        let (_, again) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::All, true)).await;
        assert_eq!(summaries(&again)[3], "2013-02@UTC: 0 statements written, 1 there already");
        assert_eq!(keys(&sandbox).await, written, "doing it again changes nothing");
        sandbox.assert_verified().await;
    }

    async fn who_was_told_otherwise_is_named_and_with_mails_told(sandbox: Sandbox) {
        let [acme, _] = open_two(&sandbox).await;
        run_all(sandbox.at(NOW), &january_to_march(Reprocess::Missing, true)).await;
        all_left(&sandbox).await;
        let late = Usage { occurred_at: Some(instant("2013-01-20T12:00:00Z")), ..usage("erase", "late") };
        sandbox.at(NOW).charge(&acme, &late).await.expect("late usage");
        let (_, said) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::All, false)).await;
        let change = "acme 2013-01 was told otherwise: free consumed 7 -> 14, free lapsed 1,493 -> 1,486, succeeded 1 -> 2";
        assert_eq!(said[1].1.lines.last().map(String::as_str), Some(change));
        assert_eq!(said[0].1.lines, Vec::<String>::new(), "the zoo was told what is so");
        assert_eq!(keys(&sandbox).await.len(), 4);

        let only_zoo = Asked { accounts: vec![account_id("zoo")], ..january_to_march(Reprocess::All, true) };
        run_all(sandbox.at(NOW), &only_zoo).await;
        assert_eq!(keys(&sandbox).await.len(), 4, "acme was not asked for");
        for _ in 0..2 {
            run_all(sandbox.at(NOW), &january_to_march(Reprocess::All, true)).await;
            let all = keys(&sandbox).await;
            assert_eq!(all.len(), 5);
            assert!(all.contains(&"monthly-statement/acme/2013-01/ann@acme.example/2".to_owned()), "{all:?}");
        }
    }

    /// What never left told nobody anything: it is offered again, and what is so by then is no correction of it.
    async fn who_was_sent_nothing_is_not_corrected(sandbox: Sandbox) {
        let [acme, _] = open_two(&sandbox).await;
        let wanted = async || run_all(sandbox.at(NOW), &january_to_march(Reprocess::All, true)).await.1;
        wanted().await;
        let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
        let end_and_wish_again = async || {
            for monthly_report in [false, true] {
                sandbox.store().set_admin(&acme, &Admin { monthly_report, ..ann.clone() }).await.expect("an admin");
            }
        };
        end_and_wish_again().await;
        let states = async || sandbox.texts("SELECT state FROM outbox WHERE account_id = 'acme' ORDER BY key").await;
        assert_eq!(states().await, ["cancelled", "cancelled"]);
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 1 statement written, 0 there already");
        assert_eq!(states().await, ["pending", "pending"]);
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 0 statements written, 1 there already");

        end_and_wish_again().await;
        let late = Usage { occurred_at: Some(instant("2013-01-20T12:00:00Z")), ..usage("erase", "late") };
        sandbox.at(NOW).charge(&acme, &late).await.expect("late usage");
        assert_eq!(wanted().await[1].1.lines.len(), 1, "what is written, and no change");
        let all = sandbox.store().messages(Some(&acme), None, 9).await.expect("the outbox");
        let january: Vec<_> = all.iter().filter(|record| record.message.key.about() == "2013-01").collect();
        let shown = |record: &&OutboxRecord| (record.state, record.message.key.version(), record.message.subject.clone());
        let says = |used| format!("{used} AI credits used in January 2013, 1,500 for February (Account acme)");
        let expected = [(OutboxState::Cancelled, 1, says(7)), (OutboxState::Pending, 2, says(14))];
        assert_eq!(january.iter().map(shown).collect::<Vec<_>>(), expected);
        let retried = sandbox.store().retry_message(&january[0].message.key, instant(NOW)).await.expect("an answer");
        assert_eq!(retried, Answered::Outdated);
        let name = january[0].message.key.to_string();
        let (code, _, said) = creditd(&sandbox, &format!("outbox retry {name}")).await;
        assert_eq!(code, Some(5), "{said}");
        // An operator's word holds, also where there is more to say.
        let key = &january[1].message.key;
        assert_eq!(sandbox.store().cancel_message(key).await.expect("an answer"), Answered::Done);
        let proposed = said.split('`').nth(1).and_then(|command| command.strip_prefix("creditd ")).expect("a command");
        let (code, rows, said) = creditd(&sandbox, proposed).await;
        assert!(code == Some(0) && rows.contains("0 statements written, 1 there already"), "{rows}{said}");
        let later = Usage { occurred_at: Some(instant("2013-01-21T12:00:00Z")), ..usage("erase", "later") };
        sandbox.at(NOW).charge(&acme, &later).await.expect("late usage");
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 0 statements written, 1 there already");
        sandbox.assert_verified().await;

        // Another is told what is so; then the operator wants what was cancelled to be sent, and what is so is written instead.
        let bob = Admin::with_defaults(Email::new("bob@acme.example").expect("an address"));
        sandbox.store().set_admin(&acme, &bob).await.expect("an admin");
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 1 statement written, 1 there already");
        let retried = sandbox.store().retry_message(key, instant(NOW)).await.expect("an answer");
        assert_eq!(retried, Answered::Outdated);
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 1 statement written, 1 there already");
        sandbox.assert_verified().await;
    }

    /// What was refused, or suppressed, is offered again as soon as its address is taken off the list, and not before.
    async fn who_is_suppressed_is_offered_nothing(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let wanted = async || run_all(sandbox.at(NOW), &january_to_march(Reprocess::All, true)).await.1;
        wanted().await;
        let ann = Email::new("ann@acme.example").expect("an address");
        sandbox.store().suppress(&ann, "nobody is there", instant(NOW)).await.expect("suppressed");
        for state in ["suppressed", "failed"] {
            let set = format!("UPDATE outbox SET state = '{state}' WHERE account_id = 'acme'");
            sandbox.execute(&set).await.expect("it is set");
            let again = wanted().await;
            assert_eq!(summaries(&again)[1], "2013-01@UTC: 0 statements written, 1 there already");
            assert_eq!(again[1].1.lines, Vec::<String>::new(), "nothing is announced");
        }
        sandbox.store().unsuppress(&ann).await.expect("taken off");
        assert_eq!(summaries(&wanted().await)[1], "2013-01@UTC: 1 statement written, 0 there already");
    }

    /// A slip in a year makes no work: of years before there was anybody, nothing is run.
    async fn nothing_is_run_for_those_who_were_not_there_yet(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let kit = Kit::new(sandbox.at(NOW)).expect("templates and a mail folder");
        let early = Asked { from: parse_date("1990-01-01").expect("a day"), ..january_to_march(Reprocess::Missing, false) };
        let slots = |planned: Vec<Planned>| planned.iter().map(|planned| planned.slot.to_string()).collect::<Vec<_>>();
        let planned = slots(plan_backfill(&kit, &early).await.expect("a plan"));
        assert_eq!(planned, ["2013-01@Asia/Tokyo", "2013-01@UTC", "2013-02@Asia/Tokyo", "2013-02@UTC"]);
        // Who is entered later with a past has that reported, whenever it was entered.
        let old = NewAccount { account: account("old", "Asia/Tokyo", "2012-12-09"), locale: None, admins: Vec::new() };
        sandbox.store().open_accounts(&[old], instant(NOW)).await.expect("an account");
        let planned = slots(plan_backfill(&kit, &early).await.expect("a plan"));
        assert_eq!(planned[..2], ["2012-12@Asia/Tokyo", "2013-01@Asia/Tokyo"]);
        let of_acme = Asked { accounts: vec![account_id("acme")], ..early };
        assert_eq!(slots(plan_backfill(&kit, &of_acme).await.expect("a plan")), ["2013-01@UTC", "2013-02@UTC"]);
        let (code, _, said) = creditd(&sandbox, "backfill create --job daily-report --from 1990-01-01 --to 2000-01-01").await;
        assert_eq!((code, said.as_str()), (Some(0), "Nothing is to be done: none of the accounts was there yet.\n"));
    }

    /// One that is cancelled is not gone on with, and what is written for it then is not written.
    async fn a_backfill_that_is_cancelled_writes_nothing_more(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let kit = Kit::new(sandbox.at(NOW)).expect("templates and a mail folder");
        let asked = january_to_march(Reprocess::Missing, true);
        let planned = plan_backfill(&kit, &asked).await.expect("a plan");
        let number = create_backfill(&kit, &asked, &planned).await.expect("a backfill");
        let store = sandbox.store();
        let id = RunId { backfill: number, job: asked.job, slot: Slot::Month(month("2013-01"), chrono_tz::UTC) };
        let batch = take_run(store, id, instant(NOW)).await;
        assert!(store.end_backfill(number, BackfillState::Cancelled, instant(NOW)).await.expect("an answer"));
        assert!(!store.end_backfill(number, BackfillState::Cancelled, instant(NOW)).await.expect("an answer"));
        let late = store.fenced(id, batch.term).write_messages(&[]).await;
        assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{late:?}");
        let record = store.backfills(Some(number), false, 1).await.expect("read").remove(0);
        let ran = run_next(&kit, &record, Retries::AtOnce, &CancellationToken::new(), &mut |_, _| {}).await.expect("an answer");
        assert!(ran.is_none());
        assert_eq!((record.state, record.count(RunState::Cancelled)), (BackfillState::Cancelled, 4));
        sandbox.assert_verified().await;
    }

    /// What a process that died has left of a slot is taken up whatever else there is to do, as it is of a run of the schedule.
    async fn what_was_left_of_a_slot_is_taken_up(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let kit = Arc::new(Kit::new(sandbox.at(NOW)).expect("templates and a mail folder"));
        let asked = january_to_march(Reprocess::Missing, true);
        let planned = plan_backfill(&kit, &asked).await.expect("a plan");
        let number = create_backfill(&kit, &asked, &planned).await.expect("a backfill");
        let id = RunId { backfill: number, job: asked.job, slot: Slot::Month(month("2013-02"), chrono_tz::UTC) };
        let die = |run: &mut Run, clock: Instant| {
            run.begin_again(instant(NOW));
            (run.hand_out(None, End::Rest, "who died", clock.plus_seconds(-60), 60).map(drop), None)
        };
        sandbox.store().change_run(id, die).await.expect("a run").flatten().expect("all of it");
        assert_eq!(lost(&kit.app).await.expect("an answer"), [id]);
        let begun = begun(&kit.app, Retries::AtOnce).await.expect("an answer");
        assert_eq!(begun, Begun::default(), "no slot of the schedule is begun");

        let (mut ran, stop) = (Vec::new(), CancellationToken::new());
        let mut watch = |one: Ran| ran.push((one.slot, one.result.expect("done").summary));
        take_up_lost(&kit, &BTreeSet::new(), &stop, &mut watch).await.expect("taken up");
        take_up_lost(&kit, &BTreeSet::new(), &stop, &mut watch).await.expect("nothing is left");
        assert_eq!(ran, [(id.slot, "1 statement written, 0 there already".to_owned())]);
        let record = sandbox.store().backfills(Some(number), true, 1).await.expect("read").remove(0);
        assert_eq!((record.count(RunState::Done), record.count(RunState::Waiting)), (1, 3));
        assert_eq!(keys(&sandbox).await, ["monthly-statement/acme/2013-02/ann@acme.example/1"]);
        sandbox.assert_verified().await;
    }

    /// What somebody is at, or died at a moment ago, is left to them until their lease is over, and that is said.
    async fn whoever_resumes_is_told_what_others_hold(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let kit = Kit::new(sandbox.at(NOW)).expect("templates and a mail folder");
        let asked = january_to_march(Reprocess::Missing, false);
        let planned = plan_backfill(&kit, &asked).await.expect("a plan");
        let number = create_backfill(&kit, &asked, &planned).await.expect("a backfill");
        let id = RunId { backfill: number, job: asked.job, slot: Slot::Month(month("2013-01"), chrono_tz::UTC) };
        take_run(sandbox.store(), id, instant(NOW)).await;
        let (code, _, said) = creditd(&sandbox, &format!("backfill resume {number}")).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("2013-01@UTC is held by process a test, until 20") && said.contains("1 slot is left of 4;"), "{said}");
    }

    /// Nothing else tells the operators of a ledger whose jobs timers run.
    async fn whoever_runs_jobs_is_told_what_is_not_run(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
        sandbox.store().set_admin(&acme, &Admin { daily_report: true, ..ann }).await.expect("an admin");
        let operators = [("CREDITD_NOW", "2013-04-11T12:00:00Z"), ("CREDITD__MAIL__OPERATORS", r#"["ops@example.com"]"#)];
        let run = async |args: &str| {
            let (code, _, said) = creditd_with(&sandbox, args, &operators).await;
            let told = keys(&sandbox).await.into_iter().filter(|key| key.starts_with("job-")).collect::<Vec<_>>();
            assert_eq!(code, Some(0), "{said}");
            (said, told)
        };
        let (_, told) = run("run daily-report --dry-run").await;
        assert_eq!(told, Vec::<String>::new(), "nothing is done");
        let (said, told) = run("run daily-report").await;
        assert!(said.contains("daily-report: 90 slots are due, of which the oldest 64 are run now; this command, run again,"), "{said}");
        let backfill = "backfill create --job daily-report --from 2013-01-01 --to 2013-01-11 --email";
        assert!(said.contains("daily-report: 10 missed slots are older than its window of 90 days;"), "{said}");
        assert!(said.contains(&format!("`creditd {backfill}` runs that, and writes its mails")), "{said}");
        assert_eq!(told, ["job-failed//daily-report@2013-01-11T00:00:00Z/ops@example.com/1"]);

        run(backfill).await;
        let (said, told) = run("run daily-report").await;
        assert!(!said.contains("slots"), "the others are run: {said}");
        assert_eq!(told[1..], ["job-well//daily-report@2013-01-11T00:00:00Z/ops@example.com/1"]);
    }

    /// The same of a run of the schedule: what is left is not taken for done.
    async fn whoever_runs_a_job_is_told_what_others_hold(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let dora = sandbox.open_account("dora", "UTC", "2013-01-01").await;
        let admin = Admin::with_defaults(Email::new("dora@dora.example").expect("an address"));
        sandbox.store().set_admin(&dora, &admin).await.expect("an admin");
        let id = RunId::of(Job::MonthlyReport, Slot::Month(month("2013-02"), chrono_tz::UTC));
        sandbox.store().begin_run(id, instant(NOW)).await.expect("a run");
        let take = |run: &mut Run, clock| (run.hand_out(None, End::At("b".into()), "4711/a test", clock, 600).map(drop), None);
        sandbox.store().change_run(id, take).await.expect("a run").flatten().expect("a part of it");
        for outcome in ["1 statement written, 0 there already", "done already, or being done"] {
            let (code, rows, said) = creditd(&sandbox, "run monthly-report --month 2013-02 -o csv").await;
            assert_eq!(code, Some(3), "{said}");
            assert!(rows.contains(&format!("monthly-report,2013-02@UTC,running,\"{outcome}\"")), "{rows}");
            assert!(rows.contains("monthly-report,2013-02@Asia/Tokyo,done,"), "{rows}");
            assert!(said.contains("2013-02@UTC is held by process 4711, until 20"), "{said}");
            assert!(said.contains("2013-02@UTC is not done yet; this command, run again, or `creditd serve` goes on."), "{said}");
        }
        let (_, _, said) = creditd(&sandbox, "run monthly-report").await;
        assert!(said.contains("monthly-report: 2013-02@UTC is under way; `creditd jobs runs"), "{said}");
        let back = |run: &mut Run, _| (run.hand_back(1), None);
        sandbox.store().change_run(id, back).await.expect("a run");
        let (_, rows, said) = creditd(&sandbox, "jobs runs --state=handed_back -o csv").await;
        assert!(rows.contains("2013-02@UTC,handed back,") && !rows.contains(",done,"), "{rows}{said}");
        let (code, rows, said) = creditd(&sandbox, "run monthly-report --month 2013-02 -o csv").await;
        assert!(code == Some(0) && rows.contains("2013-02@UTC,done,\"1 statement written, 0 there already\""), "{rows}{said}");
    }

    /// However many are at a slot, it is one row with all that came of it.
    async fn a_slot_that_is_done_by_several_is_one_row(sandbox: Sandbox) {
        open_two(&sandbox).await;
        for n in 0..6 {
            let id = sandbox.open_account(&format!("more-{n}"), "UTC", "2013-01-01").await;
            let admin = Admin::with_defaults(Email::new("ann@more.example").expect("an address"));
            sandbox.store().set_admin(&id, &admin).await.expect("an admin");
        }
        let create = "backfill create --job monthly-report --from 2013-01 --to 2013-02 --max-parallel 4 -o csv";
        let (code, rows, said) = creditd(&sandbox, create).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(rows.lines().collect::<Vec<_>>(), [
            "slot,state,outcome",
            "2013-01@Asia/Tokyo,done,\"1 statement to write, 0 there already\"",
            "2013-01@UTC,done,\"7 statements to write, 0 there already\"",
        ]);
    }

    /// A slot that failed is run again by the next backfill that asks for it, and only then.
    async fn slots_that_failed_are_for_who_asks_for_them(sandbox: Sandbox) {
        open_two(&sandbox).await;
        let id = RunId::of(Job::MonthlyReport, Slot::Month(month("2013-01"), chrono_tz::UTC));
        end_run(sandbox.store(), id, instant(NOW), Err("no disk"), None).await;
        let (_, missing) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::Missing, true)).await;
        assert_eq!(missing.len(), 3);
        let (_, failed) = run_all(sandbox.at(NOW), &january_to_march(Reprocess::Failed, true)).await;
        assert_eq!(summaries(&failed), ["2013-01@UTC: 1 statement written, 0 there already"]);
    }
}

/// However many statements a backfill writes, the first hundred are named.
#[tokio::test]
async fn a_backfill_names_a_hundred_statements() {
    let sandbox = Sandbox::new().await;
    for n in 0..51 {
        let id = sandbox.open_account(&format!("account-{n}"), "UTC", "2013-01-01").await;
        let admin = Admin::with_defaults(Email::new("ann@more.example").expect("an address"));
        sandbox.store().set_admin(&id, &admin).await.expect("an admin");
    }
    let (code, _, said) =
        creditd(&sandbox, "backfill create --job monthly-report --from 2013-01 --to 2013-03 --email -o csv").await;
    assert_eq!(code, Some(0), "{said}");
    let named = said.lines().filter(|line| line.starts_with("monthly-statement/")).count();
    assert!(named == 100 && said.contains("\n... and 2 more\n"), "{said}");
    assert!(
        said.contains("monthly-statement/account-7/2013-01/") && !said.contains('@'),
        "whom they go to is nobody's: {said}"
    );
}
