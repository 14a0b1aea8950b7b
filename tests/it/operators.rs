//! What operators hear: that a job fails, once until it is well again, and the platform's month.

use crate::support::{Sandbox, account, both_databases, end_run, instant, month, purchase, take_run, usage};
use chrono_tz::Tz;
use creditd::app::App;
use creditd::core::backfill::{Asked, Reprocess};
use creditd::core::calendar::parse_date;
use creditd::core::ids::Email;
use creditd::core::ledger::Usage;
use creditd::core::outbox::{Mailbox, NoticeKey, NoticeKind};
use creditd::core::schedule::{Covers, Job, Schedule, Slot};
use creditd::daemon::{Looked, ring};
use creditd::jobs::backfill::{create_backfill, plan_backfill, run_next};
use creditd::jobs::preview::{OperatorPreview, preview_for_operators};
use creditd::jobs::{Claiming, JobError, Kit, Planned, Retries, Run, plan_due, run_slot, tell_missed};
use creditd::store::{Admin, Incident, NewAccount, OutboxRecord, RunId, Telling, Wrong};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const LAST_ZONE: Tz = Tz::Etc__GMTPlus12;

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox { name: name.to_owned(), address: Email::new(address).expect("an address") }
}

/// The ledger at an instant, with two operators.
fn at(sandbox: &Sandbox, now: &str) -> App {
    let mut app = sandbox.at(now);
    app.settings.mail.operators = vec![mailbox("Ops", "ops@example.com"), mailbox("", "night@example.com")];
    app
}

async fn run(app: App, job: Job, slot: Slot, stop: CancellationToken) -> Result<creditd::jobs::Done, JobError> {
    let kit = Kit::new(app).expect("templates and a mail folder");
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop };
    match run_slot(&kit, job, slot, Claiming::Anyway, &mut run).await.expect("the run is recorded") {
        Planned::Ran(result) => result,
        Planned::Taken => panic!("a run that was asked for is never left out"),
    }
}

async fn verify(app: App) -> Result<creditd::jobs::Done, JobError> {
    let slot = Slot::Tick(app.now());
    run(app, Job::Verify, slot, CancellationToken::new()).await
}

/// Messages to operators, oldest first.
async fn told(sandbox: &Sandbox) -> Vec<OutboxRecord> {
    let mut all = sandbox.store().messages(None, None, 1_000).await.expect("the outbox");
    all.retain(|record| record.message.key.account().is_none());
    all.reverse();
    all
}

async fn keys(sandbox: &Sandbox) -> Vec<String> {
    let mut keys: Vec<String> = told(sandbox).await.iter().map(|record| record.message.key.to_string()).collect();
    keys.sort();
    keys
}

async fn mislay(sandbox: &Sandbox, credits: i64) {
    let sql = format!("UPDATE accounts SET balance_free = balance_free + {credits} WHERE account_id = 'acme'");
    assert_eq!(sandbox.execute(&sql).await, Ok(1));
}

/// An account since January 2013, whose admin wishes daily reports.
async fn open_with_daily_reports(sandbox: &Sandbox, id: &str, zone: &str) {
    let id = sandbox.open_account(id, zone, "2013-01-01").await;
    let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
    sandbox.store().set_admin(&id, &Admin { daily_report: true, ..ann }).await.expect("an admin");
}

/// The schedule of daily reports, which looks back so many days.
fn daily_reports(window_days: u32) -> Schedule {
    let text = include_str!("../../cron/daily-report.toml");
    let text = text.replace("window_days = 90", &format!("window_days = {window_days}"));
    Schedule::parse(Job::DailyReport, "daily-report.toml", &text).expect("a schedule")
}

/// Whoever looks at these instants at days that nobody runs, with a window of so many, has told of so many by then, each time two operators.
async fn told_at_each_look(sandbox: &Sandbox, window_days: u32, looks: &[(&str, &[usize])]) {
    open_with_daily_reports(sandbox, "acme", "UTC").await;
    let schedule = daily_reports(window_days);
    for (now, missed) in looks {
        let app = at(sandbox, now);
        let due = plan_due(&app, &schedule).await.expect("a plan");
        tell_missed(&Kit::new(app).expect("templates"), &schedule, &due).await.expect("told");
        let subjects = missed.iter().flat_map(|count| vec![format!("Job daily-report missed {count} periods"); 2]);
        let mut told: Vec<String> = told(sandbox).await.into_iter().map(|record| record.message.subject).collect();
        told.sort_by_key(String::len);
        assert_eq!(told, subjects.collect::<Vec<_>>(), "{now}");
    }
    sandbox.assert_verified().await;
}

both_databases! {
    async fn a_job_that_fails_is_told_once_until_it_is_well_again(sandbox: Sandbox) {
        let id = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        sandbox.at("2013-01-10T00:00:00Z").charge(&id, &usage("erase", "one")).await.expect("a charge");
        verify(at(&sandbox, "2013-01-11T03:30:00Z")).await.expect("the ledger adds up");
        assert_eq!(keys(&sandbox).await, Vec::<String>::new(), "nobody is told that nothing is wrong");

        mislay(&sandbox, 1).await;
        for now in ["2013-01-12T03:30:00Z", "2013-01-13T03:30:00Z"] {
            verify(at(&sandbox, now)).await.expect_err("the ledger does not add up");
        }
        let failed = ["night@example.com", "ops@example.com"]
            .map(|to| format!("job-failed//verify@2013-01-12T03:30:00Z/{to}/1"));
        assert_eq!(keys(&sandbox).await, failed);
        let mail = told(&sandbox).await.remove(0).message;
        assert!(mail.subject.starts_with("Job verify failed: the ledger does not add up"), "{}", mail.subject);
        // The first differences are named.
        for said in [" acme: ", " should be 1493 + 0, is 1494 + 0", "\n  creditd verify  "] {
            assert!(mail.text.contains(said.trim_start_matches('\n').trim_start()), "{said}: {}", mail.text);
        }

        mislay(&sandbox, -1).await;
        for now in ["2013-01-14T03:30:00Z", "2013-01-15T03:30:00Z"] {
            verify(at(&sandbox, now)).await.expect("the ledger adds up");
        }
        let well = ["night@example.com", "ops@example.com"]
            .map(|to| format!("job-well//verify@2013-01-12T03:30:00Z/{to}/1"));
        assert_eq!(keys(&sandbox).await, [&failed[..], &well[..]].concat());

        // What fails later is another incident.
        mislay(&sandbox, 1).await;
        verify(at(&sandbox, "2013-01-16T03:30:00Z")).await.expect_err("the ledger does not add up");
        assert_eq!(told(&sandbox).await.len(), 6);
        mislay(&sandbox, -1).await;
        // They go out like any other message.
        let now = "2013-01-16T03:31:00Z";
        let delivered = run(at(&sandbox, now), Job::Deliver, Slot::Tick(instant(now)), CancellationToken::new()).await;
        assert_eq!(delivered.expect("delivered").summary, "6 messages delivered, 0 failed");
        sandbox.assert_verified().await;
    }

    /// A template of the operator's that fails on what no sample comes to: all others are told, the job fails with file and account,
    /// and once the template works, whoever was left out is told, and nobody twice.
    async fn a_template_that_fails_for_one_account_silences_no_other(sandbox: Sandbox) {
        let now = |minute: u32| format!("2013-01-10T12:{minute:02}:00Z");
        for (id, left) in [("a", 50), ("b", 50), ("c", 53), ("d", 50), ("e", 50)] {
            let id = sandbox.open_account(id, "UTC", "2013-01-01").await;
            let admin = Admin::with_defaults(Email::new(&format!("ann@{id}.example")).expect("an address"));
            sandbox.store().set_admin(&id, &admin).await.expect("an admin");
            let usage = Usage { quantity: 1_500 - left, ..usage("translation", "much") };
            sandbox.at(&now(0)).charge(&id, &usage).await.expect("a charge");
        }
        let folder = sandbox.path("templates");
        std::fs::create_dir(&folder).expect("a folder");
        let run_with = async |template: &str, minute: u32, job: Job| {
            std::fs::write(folder.join("low-credit.txt"), template).expect("a template");
            let mut app = at(&sandbox, &now(minute));
            app.settings.templates.dir = Some(folder.clone());
            let slot = Slot::Tick(app.now());
            run(app, job, slot, CancellationToken::new()).await
        };
        let alerts = async || -> Vec<String> {
            let mut all = sandbox.store().messages(None, None, 1_000).await.expect("the outbox");
            all.retain(|record| record.message.key.kind() == NoticeKind::LowCredit);
            let mut accounts: Vec<String> = all.iter().filter_map(|record| Some(record.message.key.account()?.to_string())).collect();
            accounts.sort();
            accounts
        };
        let faulty = "{% if total == 53 %}{{ nope }}{% endif %}{{ total }} left";
        for minute in [1, 2] {
            let error = run_with(faulty, minute, Job::Scan).await.expect_err("it cannot tell c").to_string();
            assert!(error.starts_with("of c: the mail template low-credit.txt failed: "), "{error}");
            assert_eq!(alerts().await, ["a", "b", "d", "e"]);
            let open = sandbox.store().alerts(None, false, 10).await.expect("alerts");
            assert_eq!(open.len(), 8, "two of each but c: {open:?}");
        }
        assert_eq!(keys(&sandbox).await.len(), 2, "each operator is told once");
        let mail = told(&sandbox).await.remove(0).message;
        assert!(mail.text.contains("of c: the mail template low-credit.txt failed"), "{}", mail.text);

        run_with("{{ total }} left", 3, Job::Scan).await.expect("it can tell c");
        assert_eq!(alerts().await, ["a", "b", "c", "d", "e"]);
        run_with("{{ total }} left", 4, Job::Scan).await.expect("nothing is left to tell");
        let delivered = run_with("{{ total }} left", 5, Job::Deliver).await.expect("delivered").summary;
        assert_eq!(delivered, "9 messages delivered, 0 failed", "five alerts, and to two operators that it failed and is well");
        sandbox.assert_verified().await;
    }

    /// Nobody to tell, and what is no failure.
    async fn nobody_hears_of_what_is_no_failure(sandbox: Sandbox) {
        sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let now = instant("2013-01-12T03:30:00Z");
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = run(at(&sandbox, "2013-01-12T03:30:00Z"), Job::Reset, Slot::Tick(now), stop).await;
        assert!(matches!(stopped, Err(JobError::Stopped)), "{stopped:?}");
        mislay(&sandbox, 1).await;
        verify(sandbox.at("2013-01-13T03:30:00Z")).await.expect_err("the ledger does not add up");
        assert_eq!(sandbox.store().incident(Job::Reset, Wrong::Fails).await.expect("an answer"), None);
        assert_eq!(sandbox.store().incident(Job::Verify, Wrong::Fails).await.expect("an answer"), None);
        assert_eq!(told(&sandbox).await, []);
    }

    /// Of a job whose slots are periods, one that is done says nothing of another that failed. Of two processes that see the
    /// same, one tells.
    async fn an_incident_begins_once_and_ends_once_all_is_done(sandbox: Sandbox) {
        let store = sandbox.store();
        let hour = |hour: u32| instant(&format!("2013-02-01T{hour:02}:00:00Z"));
        let job = Job::MonthlyReport;
        let [rome, paris, tokyo] = [Tz::Europe__Rome, Tz::Europe__Paris, Tz::Asia__Tokyo];
        let slot = |zone| Slot::Month(month("2013-01"), zone);
        let incident = |zone, began| Incident { job, wrong: Wrong::Fails, slot: slot(zone), began_at: hour(began), why: "no disk".to_owned() };
        let message = |began, who: &str| {
            let key = NoticeKey::job_failed(job, hour(began), Email::new(who).expect("an address"));
            crate::support::message(key, "2013-02-01T00:00:00Z")
        };
        let end = async |zone, at, ended, telling| {
            end_run(store, RunId::of(job, slot(zone)), hour(at), ended, Some(&telling)).await;
        };
        end(rome, 1, Err("so"), Telling::Begins(incident(rome, 1), vec![message(1, "a@example.com")])).await;
        end(paris, 2, Err("so"), Telling::Begins(incident(paris, 2), vec![message(2, "b@example.com")])).await;
        assert_eq!(store.incident(job, Wrong::Fails).await.expect("an incident"), Some(incident(rome, 1)));
        assert_eq!(told(&sandbox).await.len(), 1);

        let over = |who| Telling::Ends(incident(rome, 1), vec![message(9, who)]);
        end(tokyo, 3, Ok(()), over("c@example.com")).await;
        end(rome, 4, Ok(()), over("d@example.com")).await;
        assert!(store.incident(job, Wrong::Fails).await.expect("an incident").is_some(), "Paris is still to be done");
        take_run(store, RunId::of(job, slot(paris)), hour(5)).await;
        end(rome, 6, Ok(()), over("e@example.com")).await;
        assert!(store.incident(job, Wrong::Fails).await.expect("an incident").is_some(), "Paris is being done");
        end(paris, 7, Ok(()), over("f@example.com")).await;
        assert_eq!(store.incident(job, Wrong::Fails).await.expect("none"), None);
        end(paris, 8, Ok(()), over("g@example.com")).await;
        let recipients: Vec<String> =
            told(&sandbox).await.iter().map(|record| record.message.key.recipient().to_string()).collect();
        assert_eq!(recipients, ["f@example.com", "a@example.com"].map(str::to_owned));
    }

    /// Whatever is wrong with whichever job, the ledger adds up all the same.
    async fn an_incident_of_any_kind_is_no_difference(sandbox: Sandbox) {
        let began_at = instant("2013-02-01T00:00:00Z");
        for (job, wrong) in Job::ALL.iter().flat_map(|job| Wrong::ALL.iter().map(move |wrong| (*job, *wrong))) {
            let slot = match job.covers() {
                Covers::Tick => Slot::Tick(began_at),
                Covers::Day => Slot::Day("2013-01-31".parse().expect("a day"), Tz::UTC),
                Covers::Month => Slot::Month(month("2013-01"), Tz::UTC),
            };
            let incident = Incident { job, wrong, slot, began_at, why: "no disk".to_owned() };
            sandbox.store().tell(&Telling::Begins(incident.clone(), Vec::new())).await.expect("told");
            assert_eq!(sandbox.store().incident(job, wrong).await.expect("an incident"), Some(incident));
        }
        sandbox.assert_verified().await;
        sandbox.execute("UPDATE incidents SET job = 'reset lost' WHERE job = 'reset missed'").await.expect("done");
        assert_eq!(sandbox.drifts().await.len(), 1);
    }

    /// Periods that left the window unrun are told once, however often they are found.
    async fn what_was_missed_is_told_once(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let schedule = daily_reports(7);
        // Where nobody wishes to hear of days, none is missed.
        let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
        sandbox.store().set_admin(&acme, &ann).await.expect("an admin");
        let due = plan_due(&at(&sandbox, "2013-01-10T12:00:00Z"), &schedule).await.expect("a plan");
        assert_eq!((due.slots.len(), due.expired, due.expired_last), (7, 0, None));
        let ann = Admin { daily_report: true, ..ann };
        sandbox.store().set_admin(&acme, &ann).await.expect("an admin");
        for now in ["2013-01-10T12:00:00Z", "2013-01-10T12:15:00Z"] {
            let app = at(&sandbox, now);
            let due = plan_due(&app, &schedule).await.expect("a plan");
            assert_eq!((due.slots.len(), due.expired), (7, 2));
            tell_missed(&Kit::new(app).expect("templates"), &schedule, &due).await.expect("told");
        }
        assert_eq!(keys(&sandbox).await, [
            "job-failed//daily-report@2013-01-03T00:00:00Z/night@example.com/1",
            "job-failed//daily-report@2013-01-03T00:00:00Z/ops@example.com/1",
        ]);
        let first = &told(&sandbox).await[0];
        assert_eq!(first.message.subject, "Job daily-report missed 2 periods");
        assert_eq!(first.message.created_at, instant("2013-01-10T12:00:00Z"));
        let app = at(&sandbox, "2013-01-10T12:20:00Z");
        assert_eq!(app.store.due_messages(app.now(), 10).await.expect("the outbox").len(), 2, "they are due");
        sandbox.assert_verified().await;

        // More are missed, and one of them is run, and then all: that there is none left is told once.
        let look = async |now: &str| {
            let app = at(&sandbox, now);
            let due = plan_due(&app, &schedule).await.expect("a plan");
            tell_missed(&Kit::new(app).expect("templates"), &schedule, &due).await.expect("told");
            (due.expired, told(&sandbox).await.len())
        };
        assert_eq!(look("2013-01-11T12:00:00Z").await, (3, 2));
        for (day, left) in [("2013-01-02", (2, 2)), ("2013-01-01", (1, 2)), ("2013-01-03", (0, 4)), ("2013-01-04", (0, 4))] {
            let slot = Slot::Day(day.parse().expect("a day"), Tz::UTC);
            run(at(&sandbox, "2013-01-11T12:00:00Z"), Job::DailyReport, slot, CancellationToken::new()).await.expect("done");
            assert_eq!(look("2013-01-11T12:15:00Z").await, left, "{day}");
        }
        let last = told(&sandbox).await.pop().expect("a message").message;
        assert_eq!(last.subject, "Job daily-report has caught up");
        sandbox.assert_verified().await;
    }

    /// After an outage of many windows, the mail names all that was not run, and what it proposes to type runs just that, in whatever zone;
    /// nothing less is told to be all.
    async fn what_the_mail_proposes_runs_all_that_was_missed(sandbox: Sandbox) {
        for (id, zone) in [("a", "Pacific/Kiritimati"), ("b", "UTC"), ("c", "Pacific/Pago_Pago")] {
            open_with_daily_reports(&sandbox, id, zone).await;
        }
        let schedule = daily_reports(2);
        let now = "2013-01-15T12:00:00Z";
        let kit = Kit::new(at(&sandbox, now)).expect("templates");
        let look = async || {
            let due = plan_due(&kit.app, &schedule).await.expect("a plan");
            tell_missed(&kit, &schedule, &due).await.expect("told");
            (due.expired, told(&sandbox).await)
        };
        // Every day of theirs that ended since there is a ledger, and more than two days ago.
        let (since, until) = (sandbox.store().meta().created_at, instant(now).plus_days(-2));
        let days = parse_date("2013-01-01").expect("a day").iter_days().take(30);
        let zones = [Tz::Pacific__Kiritimati, Tz::UTC, Tz::Pacific__Pago_Pago];
        let mut missed: BTreeSet<Slot> = days.flat_map(|day| zones.map(|zone| Slot::Day(day, zone))).collect();
        missed.retain(|slot| slot.due_at() > since && slot.due_at() < until);
        let (expired, messages) = look().await;
        assert_eq!((expired, messages.len()), (missed.len(), 2));
        let text = &messages[0].message.text;
        let proposed = text.lines().find_map(|line| line.strip_prefix("creditd backfill create --job daily-report --from "));
        let (from, to) = proposed.expect("a command").split_once(" --to ").expect("a range");
        let (from, to) = (parse_date(from).expect("a day"), parse_date(to.split(' ').next().expect("a day")).expect("a day"));
        let asked = Asked { job: Job::DailyReport, from, to, accounts: Vec::new(), reprocess: Reprocess::Missing, email: true, parallel_max: 1, reverse: false };
        let planned = plan_backfill(&kit, &asked).await.expect("it is taken");
        let slots: BTreeSet<Slot> = planned.iter().map(|planned| planned.slot).collect();
        assert!(missed.is_subset(&slots), "{from} to {to}: {missed:?}");
        let ends = [missed.first(), missed.last()].map(|slot| match slot {
            Some(Slot::Day(day, _)) => *day,
            other => panic!("{other:?}"),
        });
        assert_eq!(ends, [from, to.pred_opt().expect("a day")], "and no day more");

        // What bells look for is run, and what is older is left.
        for slot in missed.iter().filter(|slot| slot.due_at() > instant(now).plus_days(-5)) {
            run(kit.app.clone(), Job::DailyReport, *slot, CancellationToken::new()).await.expect("done");
        }
        let (_, messages) = look().await;
        assert_eq!(messages.len(), 2, "it has not caught up");
        let number = create_backfill(&kit, &asked, &planned).await.expect("a backfill");
        let record = kit.app.store.backfills(Some(number), false, 1).await.expect("read").remove(0);
        let stop = CancellationToken::new();
        while let Some(ran) = run_next(&kit, &record, Retries::AtOnce, &stop, &mut |_, _| {}).await.expect("recorded") {
            ran.result.expect("it ends well");
        }
        let (expired, messages) = look().await;
        assert_eq!((expired, messages.len()), (0, 4), "it has caught up");
        sandbox.assert_verified().await;
    }

    /// Days that left not only the window but all that bells look at are missed until they were run, and then it is said that they
    /// were, by the very daemon that found them.
    async fn what_was_missed_long_ago_is_missed_until_it_ran(sandbox: Sandbox) {
        open_with_daily_reports(&sandbox, "acme", "UTC").await;
        let schedules = [daily_reports(2)];
        let (mut looked, stop) = (Looked::default(), CancellationToken::new());
        let mut look = async |now: String| {
            let app = at(&sandbox, &now);
            let kit = Arc::new(Kit::new(app.clone()).expect("templates"));
            let mut failed = 0;
            ring(&kit, &schedules, &mut looked, &stop, &mut |ran| failed += u32::from(ran.result.is_err())).await.expect("a look");
            let expired = plan_due(&app, &schedules[0]).await.expect("a plan").expired;
            let of_jobs = told(&sandbox).await.into_iter().map(|record| record.message.subject);
            (failed, expired, of_jobs.filter(|subject| subject.starts_with("Job ")).collect::<Vec<_>>())
        };
        let missed = vec!["Job daily-report missed 2 periods".to_owned(); 2];
        for day in 5..15 {
            let found = look(format!("2013-01-{day:02}T12:00:00Z")).await;
            assert_eq!(found, (0, 2, missed.clone()), "January {day}");
        }
        let now = "2013-01-14T12:00:00Z";
        for (day, left, said) in [("2013-01-02", 1, 2), ("2013-01-01", 0, 4)] {
            let slot = Slot::Day(day.parse().expect("a day"), Tz::UTC);
            run(at(&sandbox, now), Job::DailyReport, slot, CancellationToken::new()).await.expect("done");
            let (failed, expired, of_jobs) = look(format!("2013-01-14T12:{said}0:00Z")).await;
            assert_eq!((failed, expired, of_jobs.len()), (0, left, said), "{day}: {of_jobs:?}");
        }
        let (_, _, of_jobs) = look("2013-01-14T13:00:00Z".to_owned()).await;
        assert_eq!(of_jobs.iter().filter(|subject| *subject == "Job daily-report has caught up").count(), 2);
        assert_eq!(of_jobs.len(), 4, "once to each");
        sandbox.assert_verified().await;
    }

    /// A second outage is told as well, though nobody has done anything about the first.
    async fn what_is_missed_in_another_outage_is_told_again(sandbox: Sandbox) {
        let looks = [
            ("2013-01-05T12:00:00Z", &[2][..]),
            ("2013-01-06T12:00:00Z", &[2]),
            ("2013-01-07T12:00:00Z", &[2]),
            ("2013-01-08T12:00:00Z", &[2, 5]),
            ("2013-01-10T12:00:00Z", &[2, 5]),
            ("2013-03-01T12:00:00Z", &[2, 5, 57]),
        ];
        told_at_each_look(&sandbox, 2, &looks).await;
    }

    /// With a long window, a week more of it is news.
    async fn a_week_more_that_is_missed_is_told(sandbox: Sandbox) {
        let looks = [
            ("2013-02-02T12:00:00Z", &[2][..]),
            ("2013-02-09T12:00:00Z", &[2]),
            ("2013-02-10T12:00:00Z", &[2, 10]),
            ("2013-02-11T12:00:00Z", &[2, 10]),
        ];
        told_at_each_look(&sandbox, 30, &looks).await;
    }

    /// Days before anybody lived in a zone were missed by nobody, however old the ledger is.
    async fn a_zone_that_is_new_has_missed_nothing(sandbox: Sandbox) {
        let new = NewAccount { account: account("new", "Asia/Tokyo", "2013-02-27"), locale: None, admins: vec![
            Admin { daily_report: true, ..Admin::with_defaults(Email::new("ann@acme.example").expect("an address")) },
        ] };
        sandbox.store().open_accounts(&[new], instant("2013-02-27T00:00:00Z")).await.expect("an account");
        let schedule = daily_reports(7);
        let expired = async |now: &str| plan_due(&at(&sandbox, now), &schedule).await.expect("a plan").expired;
        assert_eq!(expired("2013-03-01T12:00:00Z").await, 0);
        assert_eq!(expired("2013-03-09T12:00:00Z").await, 3, "the 27th and 28th of February and the first of March");
        // A process that looks again and again knows by then since when it is used.
        let app = at(&sandbox, "2013-03-09T12:00:00Z");
        for (now, missed) in [("2013-03-09T12:00:00Z", 3), ("2013-03-09T12:15:00Z", 3), ("2013-03-10T12:00:00Z", 4)] {
            let app = app.at(instant(now)).expect("a sandbox");
            assert_eq!(plan_due(&app, &schedule).await.expect("a plan").expired, missed, "{now}");
        }
    }

    /// It begins where its first account is, half a day before that of UTC.
    async fn the_platforms_month_is_shown_once_it_has_begun_somewhere(sandbox: Sandbox) {
        sandbox.open_account("atoll", "Pacific/Kiritimati", "2013-01-01").await;
        let is_shown = async |now: &str, of: &str| {
            let kit = Kit::new(at(&sandbox, now)).expect("templates and a mail folder");
            preview_for_operators(&kit, OperatorPreview::PlatformMonth(month(of))).await.expect("worded").is_some()
        };
        assert!(!is_shown("2013-01-31T09:59:59Z", "2013-02").await);
        assert!(is_shown("2013-01-31T10:00:00Z", "2013-02").await);
        assert!(!is_shown("2013-01-31T10:00:00Z", "2012-12").await, "before all accounts");
    }

    async fn the_platforms_month_comes_once_when_it_is_over_everywhere(sandbox: Sandbox) {
        let [acme, zoo] = ["acme", "zoo"].map(|id| (id, "America/New_York"));
        let acme = sandbox.open_account(acme.0, acme.1, "2013-01-01").await;
        sandbox.open_account(zoo.0, "Asia/Tokyo", "2013-01-01").await;
        let app = sandbox.at("2013-01-15T12:00:00Z");
        app.charge(&acme, &usage("erase", "one")).await.expect("a charge");
        app.purchase(&acme, &purchase(2, "inv-1")).await.expect("packs");
        // New York's January goes on for five hours after that of UTC.
        sandbox.at("2013-02-01T04:00:00Z").charge(&acme, &usage("erase", "late")).await.expect("a charge");

        let text = include_str!("../../cron/monthly-report.toml");
        let schedule = Schedule::parse(Job::MonthlyReport, "monthly-report.toml", text).expect("a schedule");
        let slots = async |app: &App| -> Vec<String> {
            plan_due(app, &schedule).await.expect("a plan").slots.iter().map(Slot::to_string).collect()
        };
        let has_platform = |slots: &[String]| slots.iter().any(|slot| slot == "2013-01@Etc/GMT+12");
        assert!(!has_platform(&slots(&at(&sandbox, "2013-02-01T11:59:59Z")).await), "it is January somewhere");
        assert!(!has_platform(&slots(&sandbox.at("2013-02-01T12:00:00Z")).await), "nobody is to be told");
        assert!(has_platform(&slots(&at(&sandbox, "2013-02-01T12:00:00Z")).await));

        let slot = Slot::Month(month("2013-01"), LAST_ZONE);
        let new = CancellationToken::new;
        run(at(&sandbox, "2013-02-01T11:59:59Z"), Job::MonthlyReport, slot, new()).await.expect("nothing to do");
        assert_eq!(told(&sandbox).await, []);
        for now in ["2013-02-01T12:00:00Z", "2013-02-02T12:00:00Z"] {
            run(at(&sandbox, now), Job::MonthlyReport, slot, new()).await.expect("done");
        }
        assert_eq!(keys(&sandbox).await, [
            "platform-monthly//2013-01/night@example.com/1",
            "platform-monthly//2013-01/ops@example.com/1",
        ]);
        let key = "platform-monthly//2013-01/ops@example.com/1".parse().expect("a key");
        let message = sandbox.store().message(&key).await.expect("read").expect("it is there").message;
        let first = message.text.lines().next().unwrap_or_default();
        assert_eq!(first, "14 AI credits used in January 2013 by 1 of 2 accounts: 14 free and 0 purchased.");
        for said in [
            "14 credits more than in December 2012 were used.",
            "No account was short of credits: no action was refused for want of them.",
            "2 packs in 1 purchase for $50.",
            "2,986 free credits lapsed unused.",
            "5,000 purchased credits are outstanding, which had cost $50.",
        ] {
            assert!(message.text.contains(said) && message.html.contains(said), "{said}: {}", message.text);
        }
        let [workbook] = &message.attachments[..] else { panic!("{:?}", message.attachments.len()) };
        assert_eq!(workbook.name, "platform-2013-01.xlsx");
        assert!(workbook.bytes.starts_with(b"PK"), "a workbook is an archive");
        assert_eq!(message.key.kind(), NoticeKind::PlatformMonthly);
        sandbox.assert_verified().await;
    }
}
