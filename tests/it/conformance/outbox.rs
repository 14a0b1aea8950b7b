//! Messages, from the fact that caused them to the file they went to.

use crate::support::{Sandbox, both_databases, instant, month};
use creditd::core::ids::{AccountId, Email};
use creditd::core::outbox::{Message, NoticeKey, OutboxState};
use creditd::store::OutboxRecord;

fn message(account: &AccountId, recipient: &str, created_at: &str) -> Message {
    let recipient = Email::new(recipient).expect("an address");
    let key = NoticeKey::monthly_statement(account.clone(), month("2013-01"), recipient, 1);
    Message {
        message_id: key.message_id("credits.example"),
        key,
        recipient_name: "Zoë \"O'Neil\"".into(),
        subject: "Statement of 'January' \\ 2013".into(),
        text: "Line one\r\nline two\n\ttabbed \u{1f4b0}\n".repeat(100),
        html: "<p class=\"a\">1 < 2 &amp; 3</p>".into(),
        created_at: instant(created_at),
    }
}

fn names(records: &[OutboxRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| format!("{} {}", record.message.key.account(), record.message.key.recipient()))
        .collect()
}

both_databases! {
    async fn a_message_is_written_once_and_comes_back_as_it_was(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let zoo = sandbox.open_account("Zoo", "UTC", "2013-01-01").await;
        let first = message(&acme, "b@example.com", "2013-02-01T00:00:00Z");
        let messages = [
            first.clone(),
            message(&acme, "_c@example.com", "2013-02-01T00:00:00Z"),
            message(&zoo, "b@example.com", "2013-02-01T00:00:00Z"),
            message(&zoo, "a@example.com", "2013-02-02T00:00:00Z"),
        ];
        let keys: Vec<NoticeKey> = messages.iter().map(|message| message.key.clone()).collect();
        assert_eq!(store.known_messages(&keys).await.expect("none"), []);
        // One of them twice in one call.
        let some = [messages[0].clone(), messages[0].clone(), messages[1].clone()];
        assert_eq!(store.write_messages(&some).await.expect("written"), 2);
        let mut reworded = messages.clone();
        reworded[0].subject = "Reworded".into();
        assert_eq!(store.write_messages(&reworded).await.expect("written"), 2);
        assert_eq!(store.write_messages(&[]).await.expect("written"), 0);
        assert_eq!(store.known_messages(&keys).await.expect("keys").len(), 4);
        assert_eq!(store.known_messages(&keys[2..3]).await.expect("keys"), &keys[2..3]);

        let due = store.due_messages(instant("2013-02-01T12:00:00Z"), 10).await.expect("due");
        assert_eq!(names(&due), ["Zoo b@example.com", "acme _c@example.com", "acme b@example.com"]);
        assert_eq!(due[2].message, first);
        assert_eq!((due[2].state, due[2].attempts, due[2].due_at), (OutboxState::Pending, 0, first.created_at));
        assert_eq!((&due[2].sent_at, &due[2].delivered_to, &due[2].last_error), (&None, &None, &None));
        assert_eq!(store.due_messages(instant("2013-02-03T00:00:00Z"), 1).await.expect("due").len(), 1);

        let listed = store.messages(None, None, 10).await.expect("all");
        assert_eq!(names(&listed)[0], "Zoo a@example.com");
        assert_eq!(names(&listed)[1..], names(&due));
        assert_eq!(store.messages(Some(&acme), Some(OutboxState::Pending), 10).await.expect("some").len(), 2);
        assert_eq!(store.messages(None, Some(OutboxState::Sent), 10).await.expect("none"), []);
    }

    async fn a_delivery_is_recorded_once(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = ["a", "b", "c"].map(|name| message(&acme, &format!("{name}@example.com"), "2013-02-01T00:00:00Z"));
        store.write_messages(&messages).await.expect("written");
        let [a, b, c] = messages.map(|message| message.key);
        let noon = instant("2013-02-01T12:00:00Z");

        store.mark_sent(&[(a.clone(), "a.eml".to_owned())], noon).await.expect("recorded");
        // What is sent stays sent.
        store.mark_sent(&[(a.clone(), "a2.eml".to_owned())], instant("2013-02-02T00:00:00Z")).await.expect("passed over");
        store.mark_failed(&a, "too late", None).await.expect("passed over");
        let retry_at = instant("2013-02-01T13:00:00Z");
        store.mark_failed(&b, "mailbox \"full\"", Some(retry_at)).await.expect("recorded");
        store.mark_failed(&b, "still full", Some(retry_at)).await.expect("recorded");
        store.mark_failed(&c, "no such address", None).await.expect("recorded");

        let mut records = store.messages(None, None, 10).await.expect("all");
        records.sort_by(|x, y| x.message.key.cmp(&y.message.key));
        let shown: Vec<_> = records
            .iter()
            .map(|r| (r.state, r.attempts, r.sent_at, r.delivered_to.as_deref(), r.last_error.as_deref()))
            .collect();
        assert_eq!(shown, [
            (OutboxState::Sent, 1, Some(noon), Some("a.eml"), None),
            (OutboxState::Pending, 2, None, None, Some("still full")),
            (OutboxState::Failed, 1, None, None, Some("no such address")),
        ]);
        assert_eq!(records[1].due_at, retry_at);
        assert_eq!(store.due_messages(noon, 10).await.expect("none yet"), []);
        assert_eq!(store.due_messages(retry_at, 10).await.expect("due").len(), 1);
        store.mark_sent(&[(b, "b.eml".to_owned())], retry_at).await.expect("recorded");
        assert_eq!(store.messages(None, Some(OutboxState::Sent), 10).await.expect("sent").len(), 2);
    }
}
