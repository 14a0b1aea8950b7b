//! What the page of the platform asks: the newest alerts, runs and messages, a few at a time.

use crate::support::{Sandbox, attachments, both_databases, end_run, instant, lease_of, message, month, write_wished};
use creditd::core::alert::{AlertPlan, Crossing, Opened};
use creditd::core::credits::Credits;
use creditd::core::delivery::Next;
use creditd::core::ids::{AccountId, Email, LevelName};
use creditd::core::outbox::{Message, NoticeKey, NoticeKind, OutboxState};
use creditd::core::run::RunState;
use creditd::core::schedule::{Job, Slot};
use creditd::store::{Content, Delivery, Looked, OutboxRecord, RunId, RunRecord};

const WRITTEN: &str = "2013-02-01T00:00:00Z";

fn level(name: &str) -> LevelName {
    LevelName::new(name).expect("a level's name")
}

fn statement(account: &AccountId, of: &str, name: &str, version: u32) -> Message {
    let recipient = Email::new(&format!("{name}@example.com")).expect("an address");
    message(NoticeKey::monthly_statement(account.clone(), month(of), recipient, version), WRITTEN)
}

fn keys(records: &[OutboxRecord]) -> Vec<String> {
    records.iter().map(|record| record.message.key.to_string()).collect()
}

both_databases! {
    /// The newest first, of each account the most advanced level, with what is left, a page behind an account.
    async fn open_alerts_come_the_newest_first(sandbox: Sandbox) {
        let store = sandbox.store();
        assert_eq!(store.newest_alerts(None, 10).await.expect("none"), []);
        let (first, later) = ("2013-01-05T00:00:00Z", "2013-01-06T00:00:00Z");
        let opened = |name: &str, threshold: i64, at: &str| Opened {
            level: level(name), crossing: 1, threshold: Credits::new(threshold), opened_at: instant(at),
        };
        let mut looked = Vec::new();
        for (id, falls) in [
            ("b", vec![opened("low", 300, first), opened("critical", 75, first)]),
            ("a", vec![opened("low", 300, first)]),
            ("Z", vec![opened("low", 300, first)]),
            ("c", vec![opened("low", 300, later)]),
            ("gone", vec![opened("low", 300, later)]),
        ] {
            let account = sandbox.open_account(id, "UTC", "2013-01-01").await;
            let watched = store.watched(std::slice::from_ref(&account)).await.expect("what is known")[&account];
            let plan = AlertPlan { opened: falls, resolved: Vec::new(), notice: None };
            looked.push(Looked { account, plan, quiet: None, watched });
        }
        store.write_looked(&looked, &[], &[], instant(later)).await.expect("recorded");
        let gone = looked.last().expect("five").account.clone();
        let watched = store.watched(std::slice::from_ref(&gone)).await.expect("what is known")[&gone];
        let resolved = vec![Crossing { level: level("low"), crossing: 1 }];
        let plan = AlertPlan { opened: Vec::new(), resolved, notice: None };
        store.write_looked(&[Looked { account: gone, plan, quiet: None, watched }], &[], &[], instant(later)).await.expect("recorded");

        let all = store.newest_alerts(None, 10).await.expect("alerts");
        let said: Vec<String> = all.iter().map(|(alert, found)| format!("{} {} {}", found.name, alert.crossing.level, found.balance)).collect();
        assert_eq!(said, ["Account c low 0", "Account Z low 0", "Account a low 0", "Account b critical 0"]);
        assert!(all.iter().all(|(alert, found)| alert.resolved_at.is_none() && alert.account == found.account));
        assert_eq!(store.newest_alerts(None, 2).await.expect("alerts"), all[..2]);
        for (at, (alert, _)) in all.iter().enumerate() {
            let behind = store.newest_alerts(Some((alert.opened_at, &alert.account)), 10).await.expect("alerts");
            assert_eq!(behind, all[at + 1..], "behind {}", said[at]);
        }
    }

    /// The newest slot counts, not what ran last; what a backfill did is another matter.
    async fn the_newest_run_of_a_job_is_that_of_its_newest_slot(sandbox: Sandbox) {
        let store = sandbox.store();
        assert_eq!(store.newest_run(Job::Scan).await.expect("none"), None);
        let run = async |job, at: &str, ended: Result<(), &str>| {
            let (id, at) = (RunId::of(job, Slot::Tick(instant(at))), instant(at));
            assert!(store.begin_run(id, at).await.expect("a run"));
            end_run(store, id, at, ended, None).await;
        };
        run(Job::Scan, "2013-01-05T00:02:00Z", Err("why")).await;
        run(Job::Scan, "2013-01-05T00:01:00Z", Ok(())).await;
        run(Job::Verify, "2013-01-07T00:00:00Z", Ok(())).await;
        let past = "INSERT INTO runs (job, slot, slot_at, state, attempts, started_at, backfill)
                    VALUES ('scan', 'tick 9', 9000000000000000, 'done', 1, 9, 7)";
        sandbox.execute(past).await.expect("a run of a backfill");
        let RunRecord { id, run: found } = store.newest_run(Job::Scan).await.expect("read").expect("a run");
        let slot = Slot::Tick(instant("2013-01-05T00:02:00Z"));
        assert_eq!((id, found.state), (RunId::of(Job::Scan, slot), RunState::Failed));
        assert_eq!(found.outcome.as_deref(), Some("why"));
    }

    /// What was tried last comes first, and what is stuck is found wherever it stands.
    async fn messages_are_found_by_how_they_stand(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = ["a", "b", "c", "d", "e"].map(|name| statement(&acme, "2013-01", name, 1));
        write_wished(store, &messages).await;
        let [a, b, c, d, e] = messages.map(|message| message.key);
        assert_eq!((store.tried_messages(10).await.expect("none"), store.stuck_messages(10).await.expect("none")), (vec![], vec![]));

        let outcomes = [
            (&a, "2013-02-01T01:00:00Z", Next::Sent { to: "a.eml".into() }),
            (&b, "2013-02-01T02:00:00Z", Next::Failed { error: "no such address".into(), suppress: false }),
            (&c, "2013-02-01T03:00:00Z", Next::Ambiguous { error: "cut".into() }),
            (&d, "2013-02-01T04:00:00Z", Next::Again { error: "full".into(), at: instant("2013-02-02T00:00:00Z") }),
        ];
        for (key, at, next) in outcomes {
            // One after the other: whoever is due first is leased first.
            let leased = store.lease_messages(&lease_of("one"), instant(at), 1, None).await.expect("leased").records;
            assert_eq!(keys(&leased), [key.to_string()]);
            let delivery = Delivery { key: key.clone(), lease: "one".into(), next };
            store.record_deliveries(&[delivery], instant(at)).await.expect("recorded");
        }
        let tried = store.tried_messages(10).await.expect("messages");
        assert_eq!(keys(&tried), [&d, &c, &b, &a].map(ToString::to_string));
        assert_eq!(keys(&store.tried_messages(2).await.expect("messages")), keys(&tried[..2]));
        let mut stuck = keys(&store.stuck_messages(10).await.expect("messages"));
        stuck.sort();
        assert_eq!(stuck, [&b, &c].map(ToString::to_string));
        assert_eq!(store.stuck_messages(1).await.expect("messages").len(), 1);
        assert!(!keys(&tried).contains(&e.to_string()), "nobody tried it");
    }

    /// Of one account, kind and beginning; those about what comes last first.
    async fn who_was_told_what_is_found_by_its_beginning(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let longer = sandbox.open_account("acme-2", "UTC", "2013-01-01").await;
        let messages = [
            statement(&acme, "2013-01", "ann", 1),
            statement(&acme, "2013-01", "ann", 2),
            statement(&acme, "2013-02", "ben", 1),
            statement(&longer, "2013-03", "ann", 1),
        ];
        write_wished(store, &messages).await;
        let told = async |account: &AccountId, about: &str, limit| {
            let found = store.said_to_whom(account, NoticeKind::MonthlyStatement, about, limit).await.expect("told");
            assert!(found.iter().all(|one| one.state == OutboxState::Pending && one.created_at == instant(WRITTEN) && one.sent_at.is_none()));
            found.iter().map(|one| format!("{} {} {}", one.key.about(), one.key.recipient(), one.key.version())).collect::<Vec<_>>()
        };
        let (first, again, last) = ("2013-01 ann@example.com 1", "2013-01 ann@example.com 2", "2013-02 ben@example.com 1");
        assert_eq!(told(&acme, "", 10).await, [last, again, first]);
        assert_eq!(told(&acme, "2013-01", 10).await, [again, first]);
        assert_eq!(told(&acme, "", 1).await, [last]);
        assert_eq!(told(&longer, "2013-0", 10).await, ["2013-03 ann@example.com 1"]);
        // By the names that logs have for them.
        let name = messages[0].key.name();
        let named = async |account: &str, start: &str| store.messages_named(account, start).await.expect("named");
        assert_eq!(named("acme", &name).await, [messages[0].key.clone()]);
        assert_eq!(named("acme", &name[..name.len() - 1]).await, [messages[0].key.clone()]);
        assert_eq!(named("acme", "monthly-statement/acme/2013-01/").await.len(), 2);
        assert_eq!(named("acme", "monthly-statement/acme/2013-0").await.len(), 3);
        assert_eq!(named("acme", &format!("{name}0")).await, []);
        assert_eq!(named("acme-2", &name).await, []);
        let kind = store.said_to_whom(&acme, NoticeKind::LowCredit, "", 10).await.expect("told");
        assert!(kind.is_empty());
    }

    /// A picture within a mail is no file that was attached to it, and what was dropped is there no more.
    async fn what_there_is_of_a_message_is_known(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let [bare, drawn, whole, unknown] = ["a", "b", "c", "d"].map(|name| statement(&acme, "2013-01", name, 1));
        let drawn = Message { attachments: attachments()[..1].to_vec(), ..drawn };
        let whole = Message { attachments: attachments(), ..whole };
        store.write_messages(&[bare.clone(), drawn.clone(), whole.clone()]).await.expect("written");
        let content = async |message: &Message| {
            let Content { is_kept, has_file } = store.message_content(&message.key).await.expect("asked");
            (is_kept, has_file)
        };
        let all = [content(&bare).await, content(&drawn).await, content(&whole).await, content(&unknown).await];
        assert_eq!(all, [(true, false), (true, false), (true, true), (false, false)]);
        assert!(store.cancel_message(&whole.key).await.is_ok());
        assert_eq!(store.drop_contents(instant("2014-01-01T00:00:00Z"), 10).await.expect("dropped"), 1);
        assert_eq!(content(&whole).await, (false, false));
    }
}
