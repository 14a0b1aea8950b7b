//! What is said to whom: the keys and the frozen content of notices (DESIGN 6).
//!
//! A notice is written down once, under a unique key, in the database transaction of the fact that caused it. From
//! then on its content never changes: every delivery, however often it is repeated, sends the same bytes under the
//! same Message-ID. Nothing here knows how a message is worded or sent.

use super::alert::Crossing;
use super::calendar::{Instant, Month};
use super::ids::{AccountId, Email};
use super::schedule::Job;
use super::transaction::words;
use super::unsubscribe::Wish;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;

/// Longest subject-matter of a key, in bytes: the longest level name and the number of its crossing; a job and an instant
/// are shorter.
const ABOUT_LEN_MAX: usize = 80;
/// Hexadecimal digits of the key's hash in a Message-ID: 128 bits, so two keys never meet.
const MESSAGE_ID_DIGITS: usize = 32;
/// Hexadecimal digits of the key's hash in [`NoticeKey::name`]: 48 bits, within one account and subject-matter.
const NAME_DIGITS: usize = 12;
/// Most bytes of a message with all that is attached to it. Encoded for mail it grows by a third, and many mailboxes
/// refuse what is above ten million.
pub const MESSAGE_BYTES_MAX: usize = 5_000_000;
/// A header's line ends after 998 characters, and an address on the web cannot be folded.
const UNSUBSCRIBE_URL_LEN_MAX: usize = 900;

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
        /// A job failed: to the operators.
        JobFailed = "job-failed",
        /// A job that had failed is done again: to the operators.
        JobWell = "job-well",
        /// The whole platform's month: to the operators.
        PlatformMonthly = "platform-monthly",
        /// A mail to look at, which somebody asked for. It is in no outbox.
        Test = "test",
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
        /// Perhaps delivered: the connection ended between the message and the server's answer. The operator decides.
        Ambiguous = "ambiguous",
        /// Not to be delivered: the operator said so, or the admin does not wish it any more.
        Cancelled = "cancelled",
        /// Not delivered, because its address is on the suppression list.
        Suppressed = "suppressed",
    }
}

words! {
    /// Why a notice is [`OutboxState::Cancelled`].
    CancelledBecause {
        /// An operator said so.
        Operator = "an operator cancelled it",
        /// There is such an admin, who does not wish notices of that kind any more.
        Unwished = "the admin wishes no such mails",
        /// The recipient is no admin of the account any more.
        NoAdmin = "the recipient is no admin of the account",
        /// It waited when a later version of it was written.
        Superseded = "a later version of it was written",
        /// It is an alert that could not be delivered before a later one of the account was.
        Overtaken = "a later alert reached the recipient",
    }
}

impl NoticeKind {
    /// Whether it warns of something: better twice than never, and before what does not.
    #[must_use]
    pub const fn is_alert(self) -> bool {
        match self {
            NoticeKind::LowCredit | NoticeKind::Resolved | NoticeKind::LapseSoon => true,
            NoticeKind::JobFailed | NoticeKind::JobWell => true,
            NoticeKind::MonthlyStatement | NoticeKind::DailyStatement => false,
            NoticeKind::PlatformMonthly | NoticeKind::Test => false,
        }
    }

    /// Whether it says how an account stands to its levels: the last of these that somebody got is what he knows.
    #[must_use]
    pub const fn is_of_levels(self) -> bool {
        matches!(self, NoticeKind::LowCredit | NoticeKind::Resolved)
    }

    /// Whether it is about a job, maybe about deliveries themselves: that a server takes it for those who run creditd does not mean
    /// that it takes mail for anybody else.
    #[must_use]
    pub const fn is_about_a_job(self) -> bool {
        matches!(self, NoticeKind::JobFailed | NoticeKind::JobWell)
    }

    /// Whether it is about an account and goes to its admins. The others belong to no account and go to whom the settings
    /// name.
    #[must_use]
    pub const fn is_of_an_account(self) -> bool {
        self.wish().is_some()
    }

    /// The wish of an admin by which it is written; operators have none.
    #[must_use]
    pub const fn wish(self) -> Option<Wish> {
        match self {
            NoticeKind::LowCredit => Some(Wish::Alerts),
            NoticeKind::Resolved => Some(Wish::Resolved),
            NoticeKind::LapseSoon => Some(Wish::LapseSoon),
            NoticeKind::MonthlyStatement => Some(Wish::MonthlyReport),
            NoticeKind::DailyStatement => Some(Wish::DailyReport),
            NoticeKind::JobFailed | NoticeKind::JobWell | NoticeKind::PlatformMonthly | NoticeKind::Test => None,
        }
    }
}

/// The name of one notice: two notices with one key are one notice.
///
/// Its canonical text is `low-credit/acme/low#3/ann@example.com/1`: kind, account, what it is about, recipient, version. The
/// account of what belongs to none is empty: `job-failed//reset@2026-03-01T00:05:00Z/ops@example.com/1`.
/// Kind, account and subject-matter have no `/` and the version is digits, so the text reads back in one way only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoticeKey {
    kind: NoticeKind,
    /// There is one where the kind says so.
    account: Option<AccountId>,
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
        NoticeKey::of_account(NoticeKind::LowCredit, account, crossing.to_string(), recipient, 1)
    }

    /// That one alert is over, told to one admin.
    #[must_use]
    pub fn resolved(account: AccountId, crossing: &Crossing, recipient: Email) -> NoticeKey {
        NoticeKey::of_account(NoticeKind::Resolved, account, crossing.to_string(), recipient, 1)
    }

    /// That free credits of `month` lapse soon, told to one admin.
    #[must_use]
    pub fn lapse_soon(account: AccountId, month: Month, recipient: Email) -> NoticeKey {
        NoticeKey::of_account(NoticeKind::LapseSoon, account, month.to_string(), recipient, 1)
    }

    /// One month's statement for one admin. A corrected statement (R14) is the next `version`; the first is 1.
    #[must_use]
    pub fn monthly_statement(account: AccountId, month: Month, recipient: Email, version: u32) -> NoticeKey {
        NoticeKey::of_account(NoticeKind::MonthlyStatement, account, month.to_string(), recipient, version)
    }

    /// One day's statement for one admin. A corrected statement (R14) is the next `version`; the first is 1.
    #[must_use]
    pub fn daily_statement(account: AccountId, day: NaiveDate, recipient: Email, version: u32) -> NoticeKey {
        NoticeKey::of_account(NoticeKind::DailyStatement, account, day.to_string(), recipient, version)
    }

    const fn of_account(
        kind: NoticeKind,
        account: AccountId,
        about: String,
        recipient: Email,
        version: u32,
    ) -> NoticeKey {
        NoticeKey { kind, account: Some(account), about, recipient, version }
    }

    /// That a job failed, told to one operator: once from `began_at` until it is well again.
    #[must_use]
    pub fn job_failed(job: Job, began_at: Instant, recipient: Email) -> NoticeKey {
        NoticeKey::of_platform(NoticeKind::JobFailed, format!("{job}@{began_at}"), recipient)
    }

    /// That a job which had failed from `began_at` on is well again, told to one operator.
    #[must_use]
    pub fn job_well(job: Job, began_at: Instant, recipient: Email) -> NoticeKey {
        NoticeKey::of_platform(NoticeKind::JobWell, format!("{job}@{began_at}"), recipient)
    }

    /// The whole platform's month, told to one operator.
    #[must_use]
    pub fn platform_monthly(month: Month, recipient: Email) -> NoticeKey {
        NoticeKey::of_platform(NoticeKind::PlatformMonthly, month.to_string(), recipient)
    }

    /// A mail of `kind` to look at, asked for at `at`. Its key is no notice's, so that whoever recognises mail that comes
    /// twice takes neither for the other.
    #[must_use]
    pub fn test(kind: NoticeKind, at: Instant, recipient: Email) -> NoticeKey {
        NoticeKey::of_platform(NoticeKind::Test, format!("{kind}@{at}"), recipient)
    }

    const fn of_platform(kind: NoticeKind, about: String, recipient: Email) -> NoticeKey {
        NoticeKey { kind, account: None, about, recipient, version: 1 }
    }

    /// The kind of notice.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        self.kind
    }

    /// The account it is about; none for what goes to operators.
    #[must_use]
    pub const fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// The account as it stands in the key: empty for none.
    #[must_use]
    pub fn account_text(&self) -> &str {
        self.account.as_ref().map_or("", AccountId::as_str)
    }

    /// What it is about: a crossing (`low#3`), a month (`2013-03`), a day (`2013-03-05`), or a job and since when it fails
    /// (`reset@2026-03-01T00:05:00Z`).
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

    /// Whether `other` is the same notice to the same recipient, whatever the versions.
    #[must_use]
    pub fn is_version_of(&self, other: &NoticeKey) -> bool {
        let NoticeKey { kind, account, about, recipient, version: _ } = other;
        (self.kind, &self.account, &self.about, &self.recipient) == (*kind, account, about, recipient)
    }

    /// Whether this and `next` are delivered one after the other: both tell one recipient how one account stands to its levels.
    #[must_use]
    pub fn is_in_order_with(&self, next: &NoticeKey) -> bool {
        let are_of_levels = self.kind.is_of_levels() && next.kind.is_of_levels();
        are_of_levels && self.account == next.account && self.recipient == next.recipient
    }

    /// SHA-256 of the canonical text, in 64 hexadecimal digits. Names the notice where the key must not be read.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.to_string()))
    }

    /// What logs and errors call this notice: all of its key but the address, and enough of the fingerprint to tell
    /// recipients apart.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}/{}/{}", self.kind, self.account_text(), self.about, &self.fingerprint()[..NAME_DIGITS])
    }

    /// The Message-ID of this notice with this `subject` and `text`, in its angle brackets: the same for every delivery, so that a
    /// mailbox that gets it twice can tell. `domain` is that of the sender. A ledger that was restored counts anew, and under
    /// the key of a mail that left before it may have another to say, which no mailbox must take for that one.
    #[must_use]
    pub fn message_id(&self, subject: &str, text: &str, domain: &str) -> String {
        let said = Sha256::new().chain_update(self.to_string()).chain_update([0]).chain_update(subject);
        let digest = hex(&said.chain_update([0]).chain_update(text).finalize());
        format!("<{}@{domain}>", &digest[..MESSAGE_ID_DIGITS])
    }
}

impl fmt::Display for NoticeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoticeKey { kind, account: _, about, recipient, version } = self;
        write!(f, "{kind}/{}/{about}/{recipient}/{version}", self.account_text())
    }
}

impl std::str::FromStr for NoticeKey {
    type Err = BadNoticeKey;
    fn from_str(text: &str) -> Result<NoticeKey, BadNoticeKey> {
        let read = || {
            let mut parts = text.splitn(4, '/');
            let kind = NoticeKind::from_word(parts.next()?)?;
            let account = match (kind.is_of_an_account(), parts.next()?) {
                (true, account) => Some(AccountId::new(account).ok()?),
                (false, "") => None,
                (false, _) => return None,
            };
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

/// A file that goes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What the recipient's program calls it. Free text: it goes through [`one_line`] on its way to a header.
    pub name: String,
    /// Its media type, such as `image/png`.
    pub content_type: String,
    /// The name by which the HTML shows it (`<img src="cid:..">`): ASCII letters, digits, `.`, `-` and `_`. Without one it
    /// is attached.
    pub content_id: Option<String>,
    /// Its content, which messages share.
    pub bytes: Arc<[u8]>,
}

impl Attachment {
    /// SHA-256 of the content, in 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }
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
    /// The page by which the recipient ends such mails with one click (RFC 8058); none where they cannot be ended.
    pub unsubscribe_url: Option<String>,
    /// What goes with it, in this order.
    pub attachments: Vec<Attachment>,
}

/// A message that no mail can be made of. It names the notice without an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// It is larger than [`MESSAGE_BYTES_MAX`].
    #[error(
        "the message {message} has {bytes} bytes with its attachments; {MESSAGE_BYTES_MAX} are allowed. Attach less"
    )]
    TooLarge {
        /// Which message.
        message: String,
        /// How large it is.
        bytes: usize,
    },
    /// A part of it cannot stand where it has to.
    #[error("the message {message} has {what} that cannot be used: {found:?}")]
    Part {
        /// Which message.
        message: String,
        /// Which part.
        what: &'static str,
        /// What it is.
        found: String,
    },
}

impl Message {
    /// Checks what the types do not say, before the message is frozen.
    ///
    /// # Errors
    /// [`BadMessage`].
    pub fn check(&self) -> Result<(), BadMessage> {
        let bytes = self.attachments.iter().map(|attachment| attachment.bytes.len());
        let bytes = bytes.chain([self.subject.len(), self.text.len(), self.html.len()]).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(BadMessage::TooLarge { message: self.key.name(), bytes });
        }
        let bad = |what, found: &str| {
            Err(BadMessage::Part { message: self.key.name(), what, found: found.chars().take(ABOUT_LEN_MAX).collect() })
        };
        for Attachment { content_type, content_id, .. } in &self.attachments {
            if !is_media_type(content_type) {
                return bad("a media type", content_type);
            }
            if let Some(id) = content_id.as_ref().filter(|id| !is_token(id, ".-_")) {
                return bad("a content id", id);
            }
        }
        // A message without it is one whose content was dropped.
        if self.html.is_empty() {
            return bad("HTML", "");
        }
        match &self.unsubscribe_url {
            Some(url) if !is_header_url(url) => bad("an address for unsubscribing", url),
            _ => Ok(()),
        }
    }
}

fn is_media_type(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind, "-") && is_token(subtype, ".-+"))
}

fn is_token(text: &str, marks: &str) -> bool {
    (1..=ABOUT_LEN_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn is_header_url(text: &str) -> bool {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    is_web
        && text.len() <= UNSUBSCRIBE_URL_LEN_MAX
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ','))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
mod tests;
