//! What is said to whom: the keys and the frozen content of notices (DESIGN 6).
//!
//! A notice is written down once, under a unique key, in the database transaction of the fact that caused it. From
//! then on its content never changes: every delivery, however often it is repeated, sends the same bytes under the
//! same Message-ID. Nothing here knows how a message is worded or sent.

use super::alert::Crossing;
use super::calendar::{Instant, Month};
use super::ids::{AccountId, Email};
use super::transaction::words;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest subject-matter of a key, in bytes: the longest level name and the number of its crossing.
const ABOUT_LEN_MAX: usize = 80;
/// Hexadecimal digits of the key's hash in a Message-ID: 128 bits, so two keys never meet.
const MESSAGE_ID_DIGITS: usize = 32;

words! {
    /// What a notice is about.
    NoticeKind {
        /// An account fell to or below an alert level.
        LowCredit = "low-credit",
        /// An alert is over.
        Resolved = "resolved",
        /// Unused free credits lapse soon.
        LapseSoon = "lapse-soon",
        /// The statement of a month.
        MonthlyStatement = "monthly-statement",
        /// The statement of a day.
        DailyStatement = "daily-statement",
    }
}

words! {
    /// Where a notice stands.
    OutboxState {
        /// To be delivered, perhaps again.
        Pending = "pending",
        /// Delivered.
        Sent = "sent",
        /// Given up: the failure was permanent, or went on for too long.
        Failed = "failed",
    }
}

/// The name of one notice: two notices with one key are one notice.
///
/// Its canonical text is `low-credit/acme/low#3/ann@example.com/1`: kind, account, what it is about, recipient, version.
/// Kind, account and subject-matter have no `/` and the version is digits, so the text reads back in one way only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoticeKey {
    kind: NoticeKind,
    account: AccountId,
    about: String,
    recipient: Email,
    version: u32,
}

/// Not the canonical text of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the key of a notice, such as low-credit/acme/low#3/ann@example.com/1")]
pub struct BadNoticeKey(String);

impl NoticeKey {
    /// One alert, told to one admin.
    #[must_use]
    pub fn low_credit(account: AccountId, crossing: &Crossing, recipient: Email) -> NoticeKey {
        NoticeKey { kind: NoticeKind::LowCredit, account, about: crossing.to_string(), recipient, version: 1 }
    }

    /// That one alert is over, told to one admin.
    #[must_use]
    pub fn resolved(account: AccountId, crossing: &Crossing, recipient: Email) -> NoticeKey {
        NoticeKey { kind: NoticeKind::Resolved, account, about: crossing.to_string(), recipient, version: 1 }
    }

    /// That free credits of `month` lapse soon, told to one admin.
    #[must_use]
    pub fn lapse_soon(account: AccountId, month: Month, recipient: Email) -> NoticeKey {
        NoticeKey { kind: NoticeKind::LapseSoon, account, about: month.to_string(), recipient, version: 1 }
    }

    /// One month's statement for one admin. A corrected statement (R14) is the next `version`; the first is 1.
    #[must_use]
    pub fn monthly_statement(account: AccountId, month: Month, recipient: Email, version: u32) -> NoticeKey {
        NoticeKey { kind: NoticeKind::MonthlyStatement, account, about: month.to_string(), recipient, version }
    }

    /// One day's statement for one admin. A corrected statement (R14) is the next `version`; the first is 1.
    #[must_use]
    pub fn daily_statement(account: AccountId, day: NaiveDate, recipient: Email, version: u32) -> NoticeKey {
        NoticeKey { kind: NoticeKind::DailyStatement, account, about: day.to_string(), recipient, version }
    }

    /// The kind of notice.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        self.kind
    }

    /// The account it is about.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// What it is about: a crossing (`low#3`), a month (`2013-03`) or a day (`2013-03-05`).
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The one who gets it.
    #[must_use]
    pub const fn recipient(&self) -> &Email {
        &self.recipient
    }

    /// 1, or more for a correction.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// SHA-256 of the canonical text, in 64 hexadecimal digits. Names the notice where the key must not be read.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The Message-ID of this notice, in its angle brackets: the same for every delivery, so that a mailbox that gets
    /// it twice can tell. `domain` is that of the sender.
    #[must_use]
    pub fn message_id(&self, domain: &str) -> String {
        format!("<{}@{domain}>", &self.fingerprint()[..MESSAGE_ID_DIGITS])
    }
}

impl fmt::Display for NoticeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoticeKey { kind, account, about, recipient, version } = self;
        write!(f, "{kind}/{account}/{about}/{recipient}/{version}")
    }
}

impl std::str::FromStr for NoticeKey {
    type Err = BadNoticeKey;
    fn from_str(text: &str) -> Result<NoticeKey, BadNoticeKey> {
        let read = || {
            let mut parts = text.splitn(4, '/');
            let kind = NoticeKind::from_word(parts.next()?)?;
            let account = AccountId::new(parts.next()?).ok()?;
            let about = parts.next()?.to_owned();
            let about_ok = (1..=ABOUT_LEN_MAX).contains(&about.len()) && about.bytes().all(|b| b.is_ascii_graphic());
            // An address may itself contain '/'.
            let (recipient, version) = parts.next()?.rsplit_once('/')?;
            let recipient = Email::new(recipient).ok()?;
            about_ok.then_some(NoticeKey { kind, account, about, recipient, version: version.parse().ok()? })
        };
        // One key has one spelling: "+1" is a number, too, and an address may be written in capitals.
        read().filter(|key| key.to_string() == text).ok_or_else(|| BadNoticeKey(text.to_owned()))
    }
}

impl TryFrom<String> for NoticeKey {
    type Error = BadNoticeKey;
    fn try_from(text: String) -> Result<NoticeKey, BadNoticeKey> {
        text.parse()
    }
}

impl From<NoticeKey> for String {
    fn from(key: NoticeKey) -> String {
        key.to_string()
    }
}

/// A person or machine that sends or gets mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailbox {
    /// Shown beside the address; empty for none. Free text: it goes through [`one_line`] on its way to a header.
    pub name: String,
    /// The address.
    pub address: Email,
}

/// A notice, worded and frozen. One recipient, that of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which notice this is.
    pub key: NoticeKey,
    /// The name of the recipient; empty for none.
    pub recipient_name: String,
    /// One line without control characters.
    pub subject: String,
    /// The whole notice in plain text.
    pub text: String,
    /// The whole notice in HTML.
    pub html: String,
    /// [`NoticeKey::message_id`] at the time of writing: a later change of the sender does not change it.
    pub message_id: String,
    /// When it was written; the date the recipient sees.
    pub created_at: Instant,
}

/// `text` as one line that stays in its place: every run of white space and control characters becomes one space,
/// ends are trimmed, and the invisible characters that turn the direction of the text around them are left out.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !is_invisible(*c)) {
        if !(c.is_whitespace() || c.is_control()) {
            line.push(c);
        } else if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Marks, embeddings, overrides and isolates of direction, and the characters of no width that hide in names.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::LevelName;
    use proptest::prelude::*;

    fn key(text: &str) -> NoticeKey {
        text.parse().expect("a key")
    }

    #[test]
    fn keys_are_spelled_in_one_way() {
        let account = AccountId::new("acme").expect("an id");
        let ann = Email::new("ann@example.com").expect("an address");
        let crossing = Crossing { level: LevelName::new("low").expect("a name"), crossing: 3 };
        let march = "2013-03".parse().expect("a month");
        let day = NaiveDate::from_ymd_opt(2013, 3, 5).expect("a date");
        for (made, text) in [
            (NoticeKey::low_credit(account.clone(), &crossing, ann.clone()), "low-credit/acme/low#3/ann@example.com/1"),
            (
                NoticeKey::monthly_statement(account.clone(), march, ann.clone(), 2),
                "monthly-statement/acme/2013-03/ann@example.com/2",
            ),
            (NoticeKey::daily_statement(account, day, ann, 1), "daily-statement/acme/2013-03-05/ann@example.com/1"),
        ] {
            assert_eq!(made.to_string(), text);
            assert_eq!(key(text), made);
        }
        for bad in [
            "",
            "low-credit",
            "gossip/acme/low#1/ann@example.com/1",
            "low-credit/acme//ann@example.com/1",
            "low-credit/acme/low#1/ann/1",
            "low-credit/acme/low#1/ann@example.com",
            "low-credit/acme/low#1/ann@example.com/+1",
            "low-credit/acme/low#1/ann@EXAMPLE.com/1",
        ] {
            assert!(bad.parse::<NoticeKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_id_is_a_function_of_key_and_domain() {
        let id = key("low-credit/acme/low#3/ann@example.com/1").message_id("credits.example");
        insta::assert_snapshot!(id, @"<5589578aac65c8fa8cc516aa7ddf2617@credits.example>");
        assert_ne!(id, key("low-credit/acme/low#4/ann@example.com/1").message_id("credits.example"));
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("  Acme\r\nBcc: x@y.z\t\u{0}!  "), "Acme Bcc: x@y.z !");
        assert_eq!(one_line("a\u{202e}gpj.exe\u{2028}b\u{feff}"), "agpj.exe b");
        assert_eq!(one_line("مرحبا Zoë 東京"), "مرحبا Zoë 東京");
        assert_eq!(one_line("\r\n"), "");
    }

    proptest! {
        /// Whatever an address is allowed to look like, a key reads back as itself.
        #[test]
        fn keys_read_back(local in "[a-z/#+=!]{1,20}", version: u32, number: u32) {
            let recipient = Email::new(&format!("{local}@example.com"));
            prop_assume!(recipient.is_ok());
            let account = AccountId::new("a.b-c_d").expect("an id");
            let crossing = Crossing { level: LevelName::new("low").expect("a name"), crossing: number };
            let mut made = NoticeKey::low_credit(account, &crossing, recipient.expect("assumed"));
            made.version = version;
            prop_assert_eq!(key(&made.to_string()), made);
        }

        /// What `one_line` leaves alone it leaves alone the second time, too.
        #[test]
        fn one_line_is_settled(text: String) {
            let line = one_line(&text);
            let breaks = line.chars().any(|c| c.is_control() || c == '\u{2028}');
            prop_assert!(!breaks, "{:?}", line);
            prop_assert_eq!(one_line(&line), line);
        }
    }
}
