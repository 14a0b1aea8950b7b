//! Runs of jobs, and alerts.

use crate::support::{Sandbox, account_id, both_databases, instant, month};
use creditd::core::alert::{AlertPlan, Crossing, OpenAlert, Opened};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Email, LevelName};
use creditd::core::outbox::{Message, NoticeKey};
use creditd::core::schedule::{Job, Slot};
use creditd::store::{AlertRecord, Claim, Looked, RunState};
use std::collections::{BTreeMap, BTreeSet};

fn level(name: &str) -> LevelName {
    LevelName::new(name).expect("a level's name")
}

fn crossing(name: &str, number: u32) -> Crossing {
    Crossing { level: level(name), crossing: number }
}

fn opened(name: &str, number: u32, threshold: i64, at: &str) -> Opened {
    Opened { level: level(name), crossing: number, threshold: Credits::new(threshold), opened_at: instant(at) }
}

fn notice(account: &AccountId, crossing: &Crossing) -> Message {
    let ann = Email::new("ann@example.com").expect("an address");
    let key = NoticeKey::low_credit(account.clone(), crossing, ann);
    Message {
        message_id: key.message_id("credits.example"),
        key,
        recipient_name: "Ann".into(),
        subject: "Low".into(),
        text: "Low.\n".into(),
        html: "<p>Low.</p>".into(),
        created_at: instant("2013-01-05T00:00:00Z"),
        unsubscribe_url: None,
        attachments: Vec::new(),
    }
}

both_databases! {
    async fn an_alert_opens_once_and_is_resolved_once(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let zoo = sandbox.open_account("Zoo", "UTC", "2013-01-01").await;
        let both = [acme.clone(), zoo.clone(), account_id("nobody")];
        assert_eq!(store.alert_states(&both).await.expect("no alerts"), BTreeMap::new());

        let first = "2013-01-05T00:00:00Z";
        let watched = store.watched(&both).await.expect("what is known");
        let look = |account: &AccountId, opened: Vec<Opened>, resolved: Vec<Crossing>| Looked {
            account: account.clone(),
            plan: AlertPlan { opened, resolved, notice: None },
            quiet: None,
            watched: watched[account],
        };
        let falls = vec![opened("low", 1, 300, first), opened("critical", 1, 75, first)];
        let looked = [look(&acme, falls, vec![]), look(&zoo, vec![opened("low", 1, 300, first)], vec![])];
        let notices = [notice(&acme, &crossing("critical", 1))];
        assert_eq!(store.write_looked(&looked, &notices, instant(first)).await.expect("written"), 1);
        assert_eq!(store.write_looked(&looked, &notices, instant(first)).await.expect("written already"), 0);

        let second = "2013-01-06T00:00:00Z";
        let over = vec![crossing("critical", 1), crossing("low", 1)];
        store.write_looked(&[look(&acme, vec![], over.clone())], &[], instant(second)).await.expect("resolved");
        // The second time it is over already.
        let third = "2013-01-07T00:00:00Z";
        let again = [look(&acme, vec![opened("low", 2, 300, third)], over)];
        store.write_looked(&again, &[], instant(third)).await.expect("opened again");

        let states = store.alert_states(&both).await.expect("states");
        assert_eq!(states.keys().map(AccountId::as_str).collect::<Vec<_>>(), ["Zoo", "acme"]);
        assert_eq!(states[&acme].open, [OpenAlert { level: level("low"), crossing: 2, threshold: Credits::new(300), opened_at: instant(third) }]);
        assert_eq!(states[&acme].crossings, BTreeMap::from([(level("critical"), 1), (level("low"), 2)]));

        let shown = |alerts: Vec<AlertRecord>| -> Vec<String> {
            let line = |a: &AlertRecord| {
                let over = a.resolved_at.map_or("open".to_owned(), |at| at.to_string());
                format!("{} {} {} {} {over}", a.account, a.crossing, a.threshold, a.opened_at)
            };
            alerts.iter().map(line).collect()
        };
        assert_eq!(
            shown(store.alerts(None, false, 10).await.expect("open alerts")),
            ["acme low#2 300 2013-01-07T00:00:00Z open", "Zoo low#1 300 2013-01-05T00:00:00Z open"]
        );
        assert_eq!(
            shown(store.alerts(Some(&acme), true, 10).await.expect("all alerts")),
            [
                "acme low#2 300 2013-01-07T00:00:00Z open",
                "acme critical#1 75 2013-01-05T00:00:00Z 2013-01-06T00:00:00Z",
                "acme low#1 300 2013-01-05T00:00:00Z 2013-01-06T00:00:00Z",
            ]
        );
        assert_eq!(store.alerts(None, true, 1).await.expect("the newest").len(), 1);
    }

    async fn a_run_belongs_to_one(sandbox: Sandbox) {
        let store = sandbox.store();
        let january = Slot::Month(month("2013-01"), chrono_tz::America::New_York);
        let at = |hour: u32| instant(&format!("2013-02-01T{hour:02}:00:00Z"));
        let claim = async |slot, now, stale_before| {
            store.claim_run(Job::MonthlyReport, slot, at(now), at(stale_before)).await.expect("an answer")
        };
        assert_eq!(claim(january, 6, 5).await, Claim::Ours);
        assert_eq!(claim(january, 7, 5).await, Claim::Taken);
        // Whoever had it is taken for dead.
        assert_eq!(claim(january, 8, 6).await, Claim::Ours);
        store.finish_run(Job::MonthlyReport, january, RunState::Failed, "no disk", at(9)).await.expect("recorded");
        assert_eq!(claim(january, 10, 6).await, Claim::Ours);
        assert_eq!(store.fail_interrupted_runs(at(11)).await.expect("one"), 1);
        assert_eq!(store.fail_interrupted_runs(at(11)).await.expect("none"), 0);
        assert_eq!(claim(january, 12, 6).await, Claim::Ours);
        store.finish_run(Job::MonthlyReport, january, RunState::Done, "2 mails", at(13)).await.expect("recorded");
        assert_eq!(claim(january, 14, 13).await, Claim::Taken);

        let tokyo = Slot::Month(month("2013-01"), chrono_tz::Asia::Tokyo);
        assert_eq!(claim(tokyo, 14, 13).await, Claim::Ours);
        let runs = store.runs(Some(Job::MonthlyReport), None, 10).await.expect("runs");
        assert_eq!(runs.iter().map(|run| (run.slot, run.state, run.attempts)).collect::<Vec<_>>(), [
            (tokyo, RunState::Running, 1),
            (january, RunState::Done, 4),
        ]);
        assert_eq!((runs[1].started_at, runs[1].finished_at), (at(12), Some(at(13))));
        assert_eq!((runs[0].outcome.as_deref(), runs[1].outcome.as_deref()), (None, Some("2 mails")));
        assert_eq!(store.runs(None, Some(RunState::Running), 10).await.expect("runs").len(), 1);
        assert_eq!(store.runs(Some(Job::Reset), None, 10).await.expect("runs"), []);

        let recorded = async |from, stale| {
            store.recorded_slots(Job::MonthlyReport, from, stale).await.expect("slots")
        };
        assert_eq!(recorded(instant("2013-01-01T00:00:00Z"), at(13)).await, BTreeSet::from([january, tokyo]));
        assert_eq!(recorded(instant("2013-01-01T00:00:00Z"), at(14)).await, BTreeSet::from([january]));
        assert_eq!(recorded(at(6), at(14)).await, BTreeSet::new());
    }

    async fn of_ticks_the_newest_counts_and_old_ones_are_forgotten(sandbox: Sandbox) {
        let store = sandbox.store();
        let now = instant("2013-02-01T00:00:00Z");
        let insert = "INSERT INTO runs (job, slot, slot_at, state, attempts, started_at)
                      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100)
                      SELECT 'scan', 'tick ' || i, i, 'done', 1, i FROM n";
        sandbox.execute(insert).await.expect("old runs");
        let tick = Slot::Tick(now);
        assert_eq!(store.claim_run(Job::Scan, tick, now, now).await.expect("an answer"), Claim::Ours);
        assert_eq!(sandbox.texts("SELECT CAST(count(*) AS TEXT) FROM runs").await, ["2000"]);
        let later = Slot::Tick(now.plus_days(1));
        assert_eq!(store.claim_run(Job::Scan, later, now, now).await.expect("an answer"), Claim::Ours);
        for slot in [tick, later] {
            store.finish_run(Job::Scan, slot, RunState::Done, "", now).await.expect("recorded");
        }
        assert_eq!(store.recorded_slots(Job::Scan, now, now).await.expect("slots"), BTreeSet::from([later]));
    }
}
