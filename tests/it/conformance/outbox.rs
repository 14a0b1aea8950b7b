//! Messages, from the fact that caused them to the ways in which they end.

use crate::support::{
    Sandbox, account_id, alert, attachments, both_databases, drifts, instant, lapse_soon, lease_of, month, statement,
    wish, write_wished,
};
use creditd::core::calendar::Instant;
use creditd::core::delivery::Next;
use creditd::core::ids::Email;
use creditd::core::outbox::{CancelledBecause, MESSAGE_BYTES_MAX, Message, NoticeKey, OutboxState};
use creditd::core::unsubscribe::{Unsubscribe, Wish};
use creditd::store::{Admin, Answered, Delivery, OutboxRecord, Store};

const WRITTEN: &str = "2013-02-01T00:00:00Z";
const NOON: &str = "2013-02-01T12:00:00Z";

fn names(records: &[OutboxRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| format!("{} {}", record.message.key.account_text(), record.message.key.recipient()))
        .collect()
}

fn email(address: &str) -> Email {
    Email::new(address).expect("an address")
}

async fn lease(store: &Store, name: &str, now: &str, limit: usize) -> Vec<OutboxRecord> {
    store.lease_messages(&lease_of(name), instant(now), limit, None).await.expect("leased").records
}

async fn record(store: &Store, lease: &str, now: &str, outcomes: &[(&NoticeKey, Next)]) {
    let delivery =
        |(key, next): &(&NoticeKey, Next)| Delivery { key: (*key).clone(), lease: lease.into(), next: next.clone() };
    let deliveries: Vec<Delivery> = outcomes.iter().map(delivery).collect();
    store.record_deliveries(&deliveries, instant(now)).await.expect("recorded");
}

fn sent(to: &str) -> Next {
    Next::Sent { to: to.into() }
}

fn failed(error: &str, suppress: bool) -> Next {
    Next::Failed { error: error.into(), suppress }
}

fn again(error: &str, at: &str) -> Next {
    Next::Again { error: error.into(), at: instant(at) }
}

/// State, attempts, when it was sent, where to, and the last error.
type Ended<'a> = (OutboxState, u32, Option<Instant>, Option<&'a str>, Option<&'a str>);

fn ended(record: &OutboxRecord) -> Ended<'_> {
    (record.state, record.attempts, record.sent_at, record.delivered_to.as_deref(), record.last_error.as_deref())
}

async fn state(store: &Store, key: &NoticeKey) -> OutboxState {
    store.message(key).await.expect("read").expect("it is there").state
}

both_databases! {
    async fn a_message_is_written_once_and_comes_back_as_it_was(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let zoo = sandbox.open_account("Zoo", "UTC", "2013-01-01").await;
        let first = statement(&acme, "b@example.com", WRITTEN);
        let messages = [
            first.clone(),
            statement(&acme, "_c@example.com", WRITTEN),
            statement(&zoo, "b@example.com", WRITTEN),
            statement(&zoo, "a@example.com", "2013-02-02T00:00:00Z"),
        ];
        let keys: Vec<NoticeKey> = messages.iter().map(|message| message.key.clone()).collect();
        assert_eq!(store.known_messages(&keys).await.expect("none"), []);
        // One of them twice in one call.
        let some = [messages[0].clone(), messages[0].clone(), messages[1].clone()];
        assert_eq!(store.write_messages(&some).await.expect("written"), 2);
        let mut reworded = messages.clone();
        reworded[0].subject = "Reworded".into();
        reworded[0].attachments = attachments();
        assert_eq!(store.write_messages(&reworded).await.expect("written"), 2);
        assert_eq!(store.write_messages(&[]).await.expect("written"), 0);
        assert_eq!(store.known_messages(&keys).await.expect("keys").len(), 4);
        assert_eq!(store.known_messages(&keys[2..3]).await.expect("keys"), &keys[2..3]);

        let due = store.due_messages(instant(NOON), 10).await.expect("due");
        assert_eq!(names(&due), ["Zoo b@example.com", "acme _c@example.com", "acme b@example.com"]);
        assert_eq!(due[2].message, first);
        assert_eq!((due[2].due_at, due[2].pending_since), (first.created_at, first.created_at));
        assert_eq!(ended(&due[2]), (OutboxState::Pending, 0, None, None, None));
        assert_eq!(store.due_messages(instant("2013-02-03T00:00:00Z"), 1).await.expect("due").len(), 1);

        let listed = store.messages(None, None, 10).await.expect("all");
        assert_eq!(names(&listed)[0], "Zoo a@example.com");
        assert_eq!(names(&listed)[1..], names(&due));
        assert_eq!(store.messages(Some(&acme), Some(OutboxState::Pending), 10).await.expect("some").len(), 2);
        assert_eq!(store.messages(None, Some(OutboxState::Sent), 10).await.expect("none"), []);
        assert_eq!(store.message(&keys[0]).await.expect("read").expect("there").message, first);
        sandbox.assert_verified().await;
    }

    /// What was said goes, that it was said stays; nothing that may still be sent is touched.
    async fn the_content_of_old_messages_is_dropped(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let with = |message: Message| Message { attachments: attachments(), ..message };
        let messages = [
            with(statement(&acme, "sent@example.com", WRITTEN)),
            with(statement(&acme, "failed@example.com", WRITTEN)),
            with(statement(&acme, "pending@example.com", WRITTEN)),
            Message { unsubscribe_url: Some("https://credits.example/u?t=1".into()), ..alert(&acme, 1, "cancelled@example.com", WRITTEN) },
            with(statement(&acme, "young@example.com", NOON)),
        ];
        write_wished(store, &messages).await;
        let [sent_key, failed_key, pending, cancelled, young] = &messages.each_ref().map(|message| &message.key);
        lease(store, "one", NOON, 10).await;
        let later = again("later", "2013-02-02T00:00:00Z");
        record(store, "one", NOON, &[(sent_key, sent("250 ok")), (failed_key, failed("550 no", false)), (pending, later), (young, sent("250 ok"))]).await;
        store.cancel_message(cancelled).await.expect("cancelled");
        let before = sandbox.texts("SELECT key || state || message_id || subject || recipient FROM outbox ORDER BY key").await;

        let (cutoff, parts) = (instant(NOON), "SELECT sha256 FROM outbox_parts");
        assert_eq!(store.count_contents(instant(WRITTEN)).await.expect("a count"), 0, "until then");
        assert_eq!(store.count_contents(cutoff).await.expect("a count"), 3);
        assert_eq!(store.drop_contents(cutoff, 2).await.expect("dropped"), 2);
        sandbox.assert_verified().await;
        assert_eq!(store.drop_contents(cutoff, 2).await.expect("dropped"), 1);
        assert_eq!(store.drop_contents(cutoff, 2).await.expect("none left"), 0);
        for (message, is_dropped) in messages.iter().zip([true, true, false, true, false]) {
            let found = store.message(&message.key).await.expect("read").expect("there").message;
            let without = Message { text: String::new(), html: String::new(), unsubscribe_url: None, attachments: Vec::new(), ..message.clone() };
            assert_eq!(found, if is_dropped { without } else { message.clone() });
        }
        assert_eq!(sandbox.texts("SELECT key || state || message_id || subject || recipient FROM outbox ORDER BY key").await, before);
        assert_eq!(sandbox.texts(parts).await.len(), 2, "others have them, too");
        sandbox.assert_verified().await;

        // Nothing is written, sent or put back twice.
        wish(store, &messages).await;
        assert_eq!(store.write_messages(&messages).await.expect("there already"), 0);
        assert_eq!(store.retry_message(sent_key, cutoff).await.expect("an answer"), Answered::Not(OutboxState::Sent));
        for key in [failed_key, cancelled] {
            assert_eq!(store.retry_message(key, cutoff).await.expect("an answer"), Answered::Dropped);
        }
        let due = store.due_messages(instant("2013-02-03T00:00:00Z"), 10).await.expect("due");
        assert_eq!(names(&due), ["acme pending@example.com"]);

        store.cancel_message(pending).await.expect("cancelled");
        assert_eq!(store.drop_contents(instant("2013-02-03T00:00:00Z"), 10).await.expect("dropped"), 2);
        assert_eq!(sandbox.texts(parts).await, [""; 0], "nobody has them any more");
        sandbox.assert_verified().await;
    }

    async fn what_is_attached_is_kept_once_an_account(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let zoo = sandbox.open_account("Zoo", "UTC", "2013-01-01").await;
        let with = |message: Message| Message {
            attachments: attachments(),
            unsubscribe_url: Some("https://credits.example/u?t=1".into()),
            ..message
        };
        let messages = [
            with(statement(&acme, "a@example.com", WRITTEN)),
            with(statement(&acme, "b@example.com", WRITTEN)),
            statement(&acme, "c@example.com", WRITTEN),
            with(statement(&zoo, "a@example.com", WRITTEN)),
        ];
        wish(store, &messages).await;
        assert_eq!(store.write_messages(&messages).await.expect("written"), 4);
        let parts = "SELECT account_id || ' ' || sha256 FROM outbox_parts";
        assert_eq!(sandbox.texts(parts).await.len(), 4, "two for each account");
        // A message that is there already keeps what it has, and what another would bring is not kept.
        let mut other = messages[0].clone();
        other.attachments[0].bytes = b"other".as_slice().into();
        assert_eq!(store.write_messages(&[other]).await.expect("there already"), 0);
        assert_eq!(sandbox.texts(parts).await.len(), 4);

        for message in &messages {
            assert_eq!(store.message(&message.key).await.expect("read").expect("there").message, *message);
        }
        let mut leased = lease(store, "one", WRITTEN, 10).await;
        leased.sort_by(|a, b| a.message.key.cmp(&b.message.key));
        let mut expected = messages.to_vec();
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(leased.into_iter().map(|record| record.message).collect::<Vec<_>>(), expected);
        let listed = store.messages(Some(&zoo), None, 1).await.expect("listed");
        let names: Vec<&str> = listed[0].message.attachments.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["März \"chart\".png", "statement.csv"]);
        sandbox.assert_verified().await;

        let mut large = statement(&acme, "d@example.com", WRITTEN);
        large.text = "x".repeat(MESSAGE_BYTES_MAX);
        let error = store.write_messages(&[large]).await.expect_err("too large").to_string();
        assert!(error.starts_with("the message monthly-statement/acme/2013-01/") && !error.contains('@'), "{error}");
    }

    async fn each_delivery_is_recorded_once_and_by_who_has_the_lease(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = ["a", "b", "c", "d", "e"].map(|name| statement(&acme, &format!("{name}@example.com"), WRITTEN));
        write_wished(store, &messages).await;
        let [a, b, c, d, e] = messages.map(|message| message.key);

        let first = lease(store, "one", NOON, 5).await;
        assert_eq!(first.len(), 5);
        assert_eq!(store.due_messages(instant(NOON), 10).await.expect("none"), [], "they are being delivered");
        assert_eq!(lease(store, "two", NOON, 5).await, []);
        record(store, "two", NOON, &[(&b, failed("not mine", true)), (&c, again("not mine", NOON))]).await;
        record(store, "one", NOON, &[
            (&a, sent("a.eml")),
            (&b, again("mailbox \"full\"", "2013-02-01T13:00:00Z")),
            (&c, failed("no such address", false)),
            (&d, Next::Ambiguous { error: "cut".into() }),
            (&e, Next::Untried),
        ])
        .await;
        // Said once more, and something else: what was recorded stays.
        record(store, "one", "2013-02-02T00:00:00Z", &[
            (&a, sent("a2.eml")),
            (&b, again("again", "2013-02-01T14:00:00Z")),
            (&c, again("again", "2013-02-01T14:00:00Z")),
        ])
        .await;

        let mut records = store.messages(None, None, 10).await.expect("all");
        records.sort_by(|x, y| x.message.key.cmp(&y.message.key));
        let noon = instant(NOON);
        assert_eq!(records.iter().map(ended).collect::<Vec<_>>(), [
            (OutboxState::Sent, 1, Some(noon), Some("a.eml"), None),
            (OutboxState::Pending, 1, None, None, Some("mailbox \"full\"")),
            (OutboxState::Failed, 1, None, None, Some("no such address")),
            (OutboxState::Ambiguous, 1, None, None, Some("cut")),
            (OutboxState::Pending, 0, None, None, None),
        ]);
        assert_eq!(records[1].due_at, instant("2013-02-01T13:00:00Z"));
        assert_eq!(records[4].due_at, instant(WRITTEN));
        assert_eq!(names(&lease(store, "three", NOON, 10).await), ["acme e@example.com"]);
        assert_eq!(names(&lease(store, "four", "2013-02-01T13:00:00Z", 10).await), ["acme b@example.com"]);
        sandbox.assert_verified().await;

        // A process that died, and one that was taken for dead: what it delivered is delivered.
        sandbox.execute("UPDATE outbox SET leased_until = 1 WHERE lease = 'four'").await.expect("time has passed");
        assert_eq!(names(&lease(store, "five", "2013-02-01T13:00:00Z", 10).await), ["acme b@example.com"]);
        record(store, "four", "2013-02-01T13:00:00Z", &[(&b, failed("too late", false))]).await;
        assert_eq!(state(store, &b).await, OutboxState::Pending);
        record(store, "four", "2013-02-01T13:01:00Z", &[(&b, sent("b.eml"))]).await;
        record(store, "five", "2013-02-01T13:02:00Z", &[(&b, sent("b2.eml"))]).await;
        let b = store.message(&b).await.expect("read").expect("there");
        assert_eq!(ended(&b), (OutboxState::Sent, 2, Some(instant("2013-02-01T13:01:00Z")), Some("b.eml"), None));
        sandbox.assert_verified().await;
    }

    /// Whoever lives keeps what it has in hand, and nothing of what is another's by now or was recorded.
    async fn a_lease_is_extended_while_nobody_else_has_the_message(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = ["a", "b", "c", "d"].map(|name| statement(&acme, &format!("{name}@example.com"), WRITTEN));
        write_wished(store, &messages).await;
        let keys = messages.map(|message| message.key);
        assert_eq!(lease(store, "one", NOON, 3).await.len(), 3);
        let extended = async |name: &str| {
            let mut kept = store.extend_messages(&lease_of(name), &keys).await.expect("extended");
            kept.sort();
            kept
        };
        assert_eq!(extended("two").await, []);
        assert_eq!(extended("one").await, keys[..3], "one more was never leased");
        // One of them ended in the meantime: it goes on, but where another came first.
        sandbox.execute("UPDATE outbox SET leased_until = 1 WHERE lease IS NOT NULL").await.expect("time has passed");
        assert_eq!(names(&lease(store, "two", NOON, 1).await), ["acme a@example.com"]);
        record(store, "one", NOON, &[(&keys[1], Next::Untried)]).await;
        assert_eq!(extended("one").await, keys[2..3]);
        assert_eq!(names(&lease(store, "three", NOON, 10).await), ["acme b@example.com", "acme d@example.com"]);
        assert_eq!(store.extend_messages(&lease_of("one"), &[]).await.expect("extended"), []);
    }

    async fn a_limit_per_minute_counts_what_everybody_was_given(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages: Vec<Message> = (1..=8).map(|n| lapse_soon(&acme, n, "a@example.com", WRITTEN)).collect();
        write_wished(store, &messages).await;
        let leased = async |name: &str, now: &str, limit: usize| {
            let leased = store.lease_messages(&lease_of(name), instant(now), limit, Some(5)).await.expect("leased");
            (leased.records.len(), leased.more, leased.limited)
        };
        assert_eq!(leased("a", "2013-02-01T12:00:00Z", 3).await, (3, true, false));
        assert_eq!(leased("b", "2013-02-01T12:00:30Z", 3).await, (2, true, true));
        assert_eq!(leased("c", "2013-02-01T12:00:59.999999Z", 3).await, (0, true, true));
        // What was not tried does not count.
        record(store, "b", NOON, &[(&messages[3].key, Next::Untried), (&messages[4].key, sent("x"))]).await;
        assert_eq!(leased("d", "2013-02-01T12:00:59.999999Z", 3).await, (1, true, true));
        assert_eq!(leased("e", "2013-02-01T12:01:00Z", 9).await, (3, false, false));
        assert_eq!(leased("f", "2013-02-01T12:01:00Z", 9).await, (0, false, false));
    }

    async fn suppressed_addresses_get_no_mail_until_they_are_taken_from_the_list(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let to = |n: u32, name: &str| lapse_soon(&acme, n, &format!("{name}@example.com"), WRITTEN);
        let messages = [to(1, "a"), to(1, "b"), to(2, "b")];
        write_wished(store, &messages).await;
        let [a, b1, b2] = &messages.clone().map(|message| message.key);
        assert_eq!(lease(store, "one", NOON, 2).await.len(), 2);
        record(store, "one", NOON, &[(a, sent("a")), (b1, failed("550 5.1.1 unknown", true))]).await;
        assert!(store.suppress(&email("z@example.com"), "asked to", instant("2013-02-01T13:00:00Z")).await.expect("new"));
        assert!(!store.suppress(&email("b@example.com"), "asked to", instant(NOON)).await.expect("there already"));
        let list = store.suppressions(10).await.expect("the list");
        let shown: Vec<_> = list.iter().map(|s| (s.address.as_str(), s.reason.as_str(), s.message.as_ref())).collect();
        assert_eq!(shown, [("z@example.com", "asked to", None), ("b@example.com", "550 5.1.1 unknown", Some(b1))]);
        assert_eq!((list[1].since, store.suppressions(1).await.expect("the list").len()), (instant(NOON), 1));

        let leased = store.lease_messages(&lease_of("two"), instant(NOON), 10, None).await.expect("leased");
        assert_eq!((leased.records.len(), leased.suppressed), (0, 1));
        assert_eq!(state(store, b2).await, OutboxState::Suppressed);
        assert_eq!(store.retry_message(b2, instant(NOON)).await.expect("asked"), Answered::Suppressed(instant(NOON)));
        sandbox.assert_verified().await;

        assert!(store.unsuppress(&email("b@example.com")).await.expect("gone"));
        assert!(!store.unsuppress(&email("b@example.com")).await.expect("not there"));
        assert_eq!(lease(store, "three", NOON, 10).await, [], "what was put aside stays aside");
        for key in [b1, b2] {
            assert_eq!(store.retry_message(key, instant("2013-02-09T00:00:00Z")).await.expect("asked"), Answered::Done);
        }
        let leased = lease(store, "four", "2013-02-09T00:00:00Z", 10).await;
        assert_eq!(leased.len(), 2);
        assert_eq!(leased[0].pending_since, instant("2013-02-09T00:00:00Z"), "the time to give up begins anew");
        sandbox.assert_verified().await;
    }

    async fn the_operator_tries_again_and_cancels(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = ["a", "b", "c", "d"].map(|name| statement(&acme, &format!("{name}@example.com"), WRITTEN));
        write_wished(store, &messages).await;
        let [a, b, c, d] = &messages.map(|message| message.key);
        let unknown = statement(&account_id("nobody"), "a@example.com", WRITTEN).key;
        let retry = async |key: &NoticeKey| store.retry_message(key, instant(NOON)).await.expect("asked");
        let cancel = async |key: &NoticeKey| store.cancel_message(key).await.expect("asked");
        assert_eq!((retry(&unknown).await, cancel(&unknown).await), (Answered::Unknown, Answered::Unknown));
        assert!(store.message(&unknown).await.expect("read").is_none());

        assert_eq!(lease(store, "one", WRITTEN, 10).await.len(), 4);
        let cut = || Next::Ambiguous { error: "cut".into() };
        record(store, "one", WRITTEN, &[(a, cut()), (b, cut()), (c, failed("no", false))]).await;
        assert_eq!((cancel(a).await, cancel(a).await, state(store, a).await), (Answered::Done, Answered::Done, OutboxState::Cancelled));
        assert_eq!(cancel(c).await, Answered::Not(OutboxState::Failed));
        // It is on its way: cancelled, but what was delivered was.
        assert_eq!(cancel(d).await, Answered::Done);
        assert_eq!(lease(store, "two", NOON, 10).await, []);
        record(store, "one", NOON, &[(d, sent("d"))]).await;
        assert_eq!(state(store, d).await, OutboxState::Sent);
        assert_eq!((cancel(d).await, retry(d).await), (Answered::Not(OutboxState::Sent), Answered::Not(OutboxState::Sent)));
        for key in [a, b, c] {
            assert_eq!((retry(key).await, retry(key).await), (Answered::Done, Answered::Done));
        }
        let leased = lease(store, "three", NOON, 10).await;
        assert_eq!(names(&leased), ["acme a@example.com", "acme b@example.com", "acme c@example.com"]);
        assert_eq!((leased[0].attempts, leased[0].last_error.as_deref()), (1, Some("cut")));
        sandbox.assert_verified().await;
    }

    async fn a_message_says_why_it_is_cancelled_while_it_is(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let emails = ["a", "b", "c", "d", "e", "f"].map(|name| email(&format!("{name}@example.com")));
        let messages = emails.each_ref().map(|email| statement(&acme, email.as_str(), WRITTEN));
        write_wished(store, &messages).await;
        let [a, b, c, d, e, f] = &messages.each_ref().map(|message| &message.key);
        let none = |email: &Email| Admin { monthly_report: false, ..Admin::with_defaults(email.clone()) };
        let cancel = async |key: &NoticeKey| store.cancel_message(key).await.expect("asked");
        assert_eq!(cancel(a).await, Answered::Done);
        store.set_admin(&acme, &none(&emails[1])).await.expect("written");
        store.set_wishes(&acme, &emails[2], &[(Wish::MonthlyReport, false)]).await.expect("written").expect("an admin");
        let asked = Unsubscribe { account: acme.clone(), address: emails[3].clone(), wish: Wish::MonthlyReport };
        store.end_wish(&asked).await.expect("written").expect("an admin");
        assert!(store.remove_admin(&acme, &emails[4]).await.expect("removed"));
        // What is written when it is wished no more is found out when it is to be leased.
        store.set_admin(&acme, &none(&emails[5])).await.expect("written");
        let late = Message { key: NoticeKey::monthly_statement(acme.clone(), month("2013-02"), emails[5].clone(), 2), ..messages[5].clone() };
        store.write_messages(std::slice::from_ref(&late)).await.expect("written");
        assert_eq!(lease(store, "one", WRITTEN, 10).await, []);

        let because = async |key: &NoticeKey| {
            let record = store.message(key).await.expect("read").expect("it is there");
            (record.state, record.cancelled_because)
        };
        let cancelled = |because| (OutboxState::Cancelled, Some(because));
        assert_eq!(because(a).await, cancelled(CancelledBecause::Operator));
        for key in [b, c, d, f, &late.key] {
            assert_eq!(because(key).await, cancelled(CancelledBecause::Unwished), "{key}");
        }
        assert_eq!(because(e).await, cancelled(CancelledBecause::NoAdmin));
        assert_eq!((cancel(e).await, because(e).await), (Answered::Done, cancelled(CancelledBecause::NoAdmin)), "it was before");
        sandbox.assert_verified().await;
        assert_eq!(store.retry_message(a, instant(NOON)).await.expect("asked"), Answered::Done);
        assert_eq!(because(a).await, (OutboxState::Pending, None));
        // What was leaving at that moment was delivered.
        assert_eq!(lease(store, "two", NOON, 10).await.len(), 1);
        assert_eq!(cancel(a).await, Answered::Done);
        record(store, "two", NOON, &[(a, sent("a"))]).await;
        assert_eq!(because(a).await, (OutboxState::Sent, None));
        sandbox.assert_verified().await;
        sandbox.execute("UPDATE outbox SET cancelled_because = 'x' WHERE state = 'sent'").await.expect("tampered");
        let drifts = drifts(&sandbox.at(NOON)).await;
        assert_eq!(drifts.len(), 1, "{drifts:?}");
        assert_eq!(drifts[0].check, "a message is where its deliveries left it");
    }
}
