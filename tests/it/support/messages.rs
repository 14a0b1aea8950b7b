//! Messages to put into an outbox.

use super::{instant, month};
use creditd::core::alert::Crossing;
use creditd::core::calendar::Month;
use creditd::core::ids::{AccountId, Email, LevelName};
use creditd::core::outbox::{Attachment, Message, NoticeKey};
use creditd::store::{Admin, Store};
use std::collections::BTreeSet;

/// A statement of January 2013 for somebody.
#[track_caller]
pub fn statement(account: &AccountId, recipient: &str, created_at: &str) -> Message {
    let recipient = Email::new(recipient).expect("an address");
    message(NoticeKey::monthly_statement(account.clone(), month("2013-01"), recipient, 1), created_at)
}

/// An alert for somebody, the `crossing`th of its level.
#[track_caller]
pub fn alert(account: &AccountId, crossing: u32, recipient: &str, created_at: &str) -> Message {
    let recipient = Email::new(recipient).expect("an address");
    let crossing = Crossing { level: LevelName::new("low").expect("a level's name"), crossing };
    message(NoticeKey::low_credit(account.clone(), &crossing, recipient), created_at)
}

/// A notice of the `number`th month for somebody: as pressing as an alert, and in no order with others of its kind.
#[track_caller]
pub fn lapse_soon(account: &AccountId, number: u32, recipient: &str, created_at: &str) -> Message {
    let recipient = Email::new(recipient).expect("an address");
    let year = 2013 + i32::try_from(number / 12).expect("few");
    let about = Month::new(year, number % 12 + 1).expect("a month");
    message(NoticeKey::lapse_soon(account.clone(), about, recipient), created_at)
}

/// A message with this key.
#[track_caller]
pub fn message(key: NoticeKey, created_at: &str) -> Message {
    Message {
        message_id: key.message_id("a subject", "a text", "credits.example"),
        key,
        recipient_name: "Zoë \"O'Neil\"".into(),
        subject: "Statement of 'January' \\ 2013".into(),
        text: "Line one\nline two\n\ttabbed \u{1f4b0}\n.\n".repeat(100),
        html: "<p class=\"a\">1 < 2 &amp; 3</p><img src=\"cid:chart\">".into(),
        created_at: instant(created_at),
        unsubscribe_url: None,
        attachments: Vec::new(),
    }
}

/// Makes whom messages of accounts are for an admin who wishes all there is: nothing else leaves.
pub async fn wish(store: &Store, messages: &[Message]) {
    let for_admins = messages.iter().filter(|message| message.key.kind().is_of_an_account());
    let who: BTreeSet<_> = for_admins.map(|message| (message.key.account(), message.key.recipient())).collect();
    for (account, address) in who {
        let admin =
            Admin { daily_report: true, resolved: true, lapse_soon: true, ..Admin::with_defaults(address.clone()) };
        store.set_admin(account.expect("an account"), &admin).await.expect("an admin");
    }
}

/// Writes messages to whom they are wished by.
pub async fn write_wished(store: &Store, messages: &[Message]) {
    wish(store, messages).await;
    store.write_messages(messages).await.expect("written");
}

/// Says of all that waits that it has left.
pub async fn all_left(sandbox: &super::Sandbox) {
    let sql = "UPDATE outbox SET state = 'sent', attempts = 1, sent_at = due_at, delivered_to = 'a test' WHERE state = 'pending'";
    sandbox.execute(sql).await.expect("all of them");
}

/// A picture that the HTML shows, and a table that is attached.
pub fn attachments() -> Vec<Attachment> {
    vec![
        Attachment {
            name: "März \"chart\".png".into(),
            content_type: "image/png".into(),
            content_id: Some("chart".into()),
            bytes: (0..=255).collect(),
        },
        Attachment {
            name: "statement.csv".into(),
            content_type: "text/csv".into(),
            content_id: None,
            bytes: b"a,b\r\n1,2\n3,4\r".as_slice().into(),
        },
    ]
}
