//! The outbox: messages frozen when they were written, and what the operator asks about them (DESIGN 6). How they are
//! delivered is beside it, in `delivery`.

use super::backend::{Tx, in_write};
use super::digest::{Fact, of};
use super::ledgers::limit_of;
use super::runs::clock;
use super::sql::{Row, Sql, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::outbox::{Attachment, CancelledBecause, Message, NoticeKey, OutboxState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A message as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRecord {
    /// The message.
    pub message: Message,
    /// Where it stands.
    pub state: OutboxState,
    /// Deliveries tried.
    pub attempts: u32,
    /// When it is tried next, while it is pending.
    pub due_at: Instant,
    /// When it was written, or last put back by the operator.
    pub pending_since: Instant,
    /// When it was delivered.
    pub sent_at: Option<Instant>,
    /// The file it was written to, or what the server said.
    pub delivered_to: Option<String>,
    /// Why the last delivery failed.
    pub last_error: Option<String>,
    /// Why it is cancelled, where it is; not of what was cancelled before that was recorded.
    pub cancelled_because: Option<CancelledBecause>,
}

/// What there is of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What it said.
    pub is_kept: bool,
    /// A file beside its pictures.
    pub has_file: bool,
}

/// What stands in the column `attachments`, one for each.
#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<String>,
    sha256: String,
}

#[derive(Serialize)]
struct NewMessage<'a> {
    /// Empty for what goes to operators.
    account_id: &'a str,
    key: String,
    kind: &'static str,
    recipient: &'a str,
    recipient_name: &'a str,
    subject: &'a str,
    body_text: &'a str,
    body_html: &'a str,
    message_id: &'a str,
    created_at: i64,
    due_at: i64,
    unsubscribe_url: Option<&'a str>,
    attachments: Option<String>,
    digest: i64,
}

impl<'a> NewMessage<'a> {
    fn of(message: &'a Message) -> Result<NewMessage<'a>> {
        message.check()?;
        let Message { key, recipient_name, subject, text, html, message_id, created_at, unsubscribe_url, attachments } =
            message;
        let (account_id, kind, recipient) = (key.account_text(), key.kind().as_str(), key.recipient().as_str());
        let key = key.to_string();
        let part = |attachment: &Attachment| Part {
            name: attachment.name.clone(),
            content_type: attachment.content_type.clone(),
            content_id: attachment.content_id.clone(),
            sha256: attachment.sha256(),
        };
        let parts: Vec<Part> = attachments.iter().map(part).collect();
        let attachments = (!parts.is_empty()).then(|| json(parts)).transpose()?;
        let mut facts = vec![
            account_id.text(),
            key.text(),
            kind.text(),
            recipient.text(),
            recipient_name.text(),
            subject.text(),
            text.text(),
            html.text(),
            message_id.text(),
            created_at.text(),
        ];
        // Messages were frozen before there was either.
        if unsubscribe_url.is_some() || attachments.is_some() {
            facts.extend([unsubscribe_url.text(), attachments.text()]);
        }
        Ok(NewMessage {
            account_id,
            key,
            kind,
            recipient,
            recipient_name,
            subject,
            body_text: text,
            body_html: html,
            message_id,
            created_at: created_at.micros(),
            due_at: created_at.micros(),
            unsubscribe_url: unsubscribe_url.as_deref(),
            attachments,
            digest: of(&facts),
        })
    }
}

macro_rules! insert {
    ($otherwise:expr) => {
        set!(
            account_id text, key text, kind text, recipient text, recipient_name text, subject text, body_text text,
            body_html text, message_id text, created_at bigint, due_at bigint, unsubscribe_url text, attachments text, digest bigint => concat!(
            "INSERT INTO outbox (account_id, key, kind, recipient, recipient_name, subject, body_text, body_html,
                                 message_id, created_at, unsubscribe_url, attachments, digest, due_at, pending_since, state)
             SELECT account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id,
                    created_at, unsubscribe_url, attachments, digest, due_at, due_at, 'pending'
               FROM v WHERE true
             ON CONFLICT (account_id, key) DO ", $otherwise, " RETURNING key, attachments"
        ))
    };
}

/// Whether another may take the place of a message, for it never left: it was refused, not wished, or replaced by a later one, and nobody
/// has it in hand, or had when nobody heard of that any more. `$2` is [`CancelledBecause::Operator`], and what was cancelled before there
/// were reasons is taken for that. To an address that is suppressed still, nothing would leave.
macro_rules! never_left {
    () => {
        "((outbox.state IN ('failed', 'suppressed')
           OR outbox.state = 'cancelled' AND coalesce(outbox.cancelled_because, $2) <> $2)
          AND outbox.lease IS NULL AND NOT outbox.may_have_left
          AND lower(outbox.recipient) NOT IN (SELECT lower(address) FROM suppressions))"
    };
}

/// Adds messages whose keys are new, with what is attached to them; returns how many those were.
pub(super) async fn insert(tx: &mut Tx, messages: &[Message]) -> Result<u64> {
    insert_due(tx, messages, None).await
}

/// The same, due at some time, where that is not when they were written.
pub(super) async fn insert_due(tx: &mut Tx, messages: &[Message], due_at: Option<Instant>) -> Result<u64> {
    const SQL: Sql = insert!("NOTHING");
    let mut rows: Vec<NewMessage<'_>> = messages.iter().map(NewMessage::of).collect::<Result<_>>()?;
    rows.iter_mut().for_each(|row| row.due_at = due_at.map_or(row.due_at, Instant::micros));
    let added = tx.query(SQL).bind(json(&rows)?).fetch_all().await;
    attach(tx, messages, &rows, &added.while_("writing messages")?).await
}

/// The same, and what was there under such a key and never left gives way.
pub(super) async fn insert_or_replace(tx: &mut Tx, messages: &[Message]) -> Result<u64> {
    const SQL: Sql = insert!(concat!(
        "UPDATE SET recipient_name = excluded.recipient_name, subject = excluded.subject,
                    body_text = excluded.body_text, body_html = excluded.body_html, message_id = excluded.message_id,
                    created_at = excluded.created_at, unsubscribe_url = excluded.unsubscribe_url,
                    attachments = excluded.attachments, digest = excluded.digest, due_at = excluded.due_at,
                    pending_since = excluded.pending_since, state = 'pending', attempts = 0, last_error = NULL,
                    cancelled_because = NULL, tried_at = NULL
          WHERE ",
        never_left!()
    ));
    let rows: Vec<NewMessage<'_>> = messages.iter().map(NewMessage::of).collect::<Result<_>>()?;
    let added = tx.query(SQL).bind(json(&rows)?).bind(CancelledBecause::Operator.as_str()).fetch_all().await;
    attach(tx, messages, &rows, &added.while_("writing messages")?).await
}

/// Writes what is attached to those of `messages` that were `added`, and returns how many these are.
async fn attach(tx: &mut Tx, messages: &[Message], rows: &[NewMessage<'_>], added: &[Row]) -> Result<u64> {
    // What a message that was there already would have carried is not kept.
    let with_parts = |row: &Row| Some((row.get::<String>(0), row.get::<Option<String>>(1)?));
    let with_parts: BTreeSet<(String, String)> = added.iter().filter_map(with_parts).collect();
    let mut written = BTreeSet::new();
    for (message, row) in messages.iter().zip(rows) {
        let Some(attachments) = &row.attachments else { continue };
        if !with_parts.contains(&(row.key.clone(), attachments.clone())) {
            continue;
        }
        for attachment in &message.attachments {
            let sha256 = attachment.sha256();
            if written.insert((message.key.account_text(), sha256.clone())) {
                insert_part(tx, message.key.account_text(), &sha256, attachment).await?;
            }
        }
    }
    Ok(added.len() as u64)
}

async fn insert_part(tx: &mut Tx, account: &str, sha256: &str, attachment: &Attachment) -> Result<()> {
    // Where one is there, whoever drops old ones on Postgres waits until it is known that a message has it again.
    const INSERT: Sql = Sql {
        sqlite: "INSERT INTO outbox_parts (account_id, sha256, content) VALUES ($1, $2, $3)
                 ON CONFLICT (account_id, sha256) DO NOTHING",
        postgres: "INSERT INTO outbox_parts (account_id, sha256, content) VALUES ($1, $2, $3)
                   ON CONFLICT (account_id, sha256) DO UPDATE SET sha256 = excluded.sha256",
    };
    tx.query(INSERT)
        .bind(account.to_owned())
        .bind(sha256.to_owned())
        .bind(attachment.bytes.to_vec())
        .execute()
        .await
        .while_("writing an attachment")
        .map(drop)
}

/// A message by its key.
#[derive(Serialize)]
pub(super) struct Wanted<'a> {
    account_id: &'a str,
    key: String,
}

impl<'a> Wanted<'a> {
    pub fn of(key: &'a NoticeKey) -> Wanted<'a> {
        Wanted { account_id: key.account_text(), key: key.to_string() }
    }
}

#[derive(Serialize)]
struct WantedPart<'a> {
    account_id: &'a str,
    sha256: &'a str,
}

/// The kinds of alerts, as the index `outbox_alerts` has them.
macro_rules! alerts {
    () => {
        "('low-credit', 'resolved', 'lapse-soon', 'job-failed', 'job-well')"
    };
}

/// Those that are of levels ([`NoticeKind::is_of_levels`]), as the indexes `outbox_levels` and `outbox_in_hand` have them.
macro_rules! levels {
    () => {
        "('low-credit', 'resolved')"
    };
}
pub(super) use levels;

/// What a deliverer looks for, in this order: alerts that wait and that nobody is delivering at `$3`, the database's time, and what else
/// does; but nothing of the levels of an account while its recipient is just being told something else of them, called off or not.
macro_rules! due {
    ($select:literal, $of_kind:expr) => {
        concat!(
            $select,
            " WHERE o.state = 'pending' AND o.due_at <= $1 AND (o.leased_until IS NULL OR o.leased_until <= $3) AND o.kind ",
            $of_kind,
            " ORDER BY o.due_at, o.account_id, o.key LIMIT $2"
        )
    };
    (alerts $select:literal, $indexed:literal) => {
        $crate::store::outbox::due!(
            $select,
            concat!(
                "IN ",
                $crate::store::outbox::alerts!(),
                " AND NOT (o.kind IN ",
                $crate::store::outbox::levels!(),
                " AND EXISTS (SELECT 1 FROM outbox AS e ",
                $indexed,
                " WHERE e.account_id = o.account_id AND e.recipient = o.recipient AND e.kind IN ",
                $crate::store::outbox::levels!(),
                " AND e.lease IS NOT NULL AND e.leased_until > $3))"
            )
        )
    };
    ($select:literal) => {{
        const OTHERS: &str = $crate::store::outbox::due!($select, concat!("NOT IN ", $crate::store::outbox::alerts!()));
        const ALERTS: $crate::store::sql::Sql = $crate::store::sql::Sql {
            sqlite: $crate::store::outbox::due!(alerts $select, "INDEXED BY outbox_in_hand"),
            postgres: $crate::store::outbox::due!(alerts $select, ""),
        };
        [ALERTS, $crate::store::sql::Sql { sqlite: OTHERS, postgres: OTHERS }]
    }};
}
pub(super) use {alerts, due};

/// As far as what is in hand is counted, of messages and of events: whoever has more has much.
pub const IN_HAND_MAX: usize = 1_000;

const DUE: [Sql; 2] = due!("SELECT o.* FROM outbox AS o");

impl Store {
    /// Adds messages whose keys are new; returns how many those were.
    ///
    /// # Errors
    /// [`StoreError::Message`] for a message that no mail can be made of, others; nothing was written then.
    pub async fn write_messages(&self, messages: &[Message]) -> Result<u64> {
        in_write!(self, "committing messages", |tx| insert(tx, messages).await)
    }

    /// Of `keys`, those that are in the outbox already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_messages(&self, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
        let wanted: Vec<Wanted<'_>> = keys.iter().map(Wanted::of).collect();
        let rows = self
            .query(set!(account_id text, key text =>
                "SELECT o.key FROM v CROSS JOIN outbox AS o WHERE o.account_id = v.account_id AND o.key = v.key
                  ORDER BY o.account_id, o.key"
            ))
            .bind(json(wanted)?)
            .fetch_all()
            .await
            .while_("looking for messages")?;
        rows.iter().map(|row| read_key(row.get(0))).collect()
    }

    /// Up to `limit` messages that are due and that nobody is delivering, alerts first and then the oldest, without the content of
    /// what is attached to them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_messages(&self, now: Instant, limit: usize) -> Result<Vec<OutboxRecord>> {
        let mut tx = self.read().await?;
        let (clock, mut rows) = (clock(&mut tx).await?, Vec::new());
        for some in DUE {
            let due = tx.query(some).bind(now.micros()).bind(limit_of(limit - rows.len())).bind(clock.micros());
            rows.extend(due.fetch_all().await.while_("looking for messages to deliver")?);
        }
        rows.iter().map(|row| Ok(read_record(row)?.0)).collect()
    }

    /// Whether any message is still to be delivered, now or later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_mail_waiting(&self) -> Result<bool> {
        let found = self.query("SELECT 1 FROM outbox WHERE state = 'pending' LIMIT 1").fetch_all().await;
        Ok(!found.while_("asking whether mail waits")?.is_empty())
    }

    /// How many messages are being delivered at present, by the database's clock: [`IN_HAND_MAX`] where there are more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn messages_in_hand(&self) -> Result<u64> {
        let clock = self.clock().await?;
        let found = self.query(
            "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state = 'pending' AND leased_until > $1 LIMIT $2) AS in_hand",
        );
        let found = found.bind(clock.micros()).bind(limit_of(IN_HAND_MAX)).fetch_one().await;
        let found = found.while_("counting messages that are being delivered")?;
        Ok(found.get::<i64>(0).unsigned_abs())
    }

    /// Messages, newest first, without the content of what is attached to them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn messages(
        &self,
        account: Option<&AccountId>,
        state: Option<OutboxState>,
        limit: usize,
    ) -> Result<Vec<OutboxRecord>> {
        let rows = self
            .query(
                "SELECT * FROM outbox WHERE ($1 IS NULL OR account_id = $1) AND ($2 IS NULL OR state = $2)
                  ORDER BY created_at DESC, account_id, key LIMIT $3",
            )
            .bind(account.map(AccountId::as_str))
            .bind(state.map(OutboxState::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing messages")?;
        rows.iter().map(|row| Ok(read_record(row)?.0)).collect()
    }

    /// One message, with all that is attached to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn message(&self, key: &NoticeKey) -> Result<Option<OutboxRecord>> {
        let mut tx = self.read().await?;
        let rows = tx
            .query("SELECT * FROM outbox WHERE account_id = $1 AND key = $2")
            .bind(key.account_text().to_owned())
            .bind(key.to_string())
            .fetch_all()
            .await
            .while_("reading a message")?;
        Ok(read_whole(&mut tx, &rows).await?.pop())
    }

    /// Whether what a message said is kept, and whether a file is attached to it. Nothing of a message that is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn message_content(&self, key: &NoticeKey) -> Result<Content> {
        let rows = self
            .query("SELECT body_html <> '', attachments FROM outbox WHERE account_id = $1 AND key = $2")
            .bind(key.account_text().to_owned())
            .bind(key.to_string())
            .fetch_all()
            .await
            .while_("asking what is kept of a message")?;
        let Some(row) = rows.first() else { return Ok(Content::default()) };
        let parts = read_parts(row.get(1), key)?;
        Ok(Content { is_kept: row.get(0), has_file: parts.iter().any(|part| part.content_id.is_none()) })
    }
}

/// Reads messages with the content of what is attached to them; what several have, they share.
pub(super) async fn read_whole(tx: &mut Tx, rows: &[Row]) -> Result<Vec<OutboxRecord>> {
    let mut records: Vec<(OutboxRecord, Vec<String>)> = rows.iter().map(read_record).collect::<Result<_>>()?;
    let wanted: BTreeSet<(&str, &str)> = records
        .iter()
        .flat_map(|(record, hashes)| hashes.iter().map(|hash| (record.message.key.account_text(), hash.as_str())))
        .collect();
    let wanted: Vec<_> = wanted.into_iter().map(|(account_id, sha256)| WantedPart { account_id, sha256 }).collect();
    let mut parts: BTreeMap<(String, String), Arc<[u8]>> = BTreeMap::new();
    if !wanted.is_empty() {
        let found = tx
            .query(set!(account_id text, sha256 text =>
                "SELECT p.account_id, p.sha256, p.content FROM v CROSS JOIN outbox_parts AS p
                  WHERE p.account_id = v.account_id AND p.sha256 = v.sha256"
            ))
            .bind(json(wanted)?)
            .fetch_all()
            .await
            .while_("reading attachments")?;
        for row in &found {
            parts.insert((row.get(0), row.get(1)), row.get::<Vec<u8>>(2).into());
        }
    }
    for (record, hashes) in &mut records {
        let account = record.message.key.account_text().to_owned();
        for (attachment, hash) in record.message.attachments.iter_mut().zip(std::mem::take(hashes)) {
            let missing = || StoreError::Corrupt(format!("message of {account:?} without its attachment {hash}"));
            attachment.bytes = parts.get(&(account.clone(), hash.clone())).ok_or_else(missing)?.clone();
        }
    }
    Ok(records.into_iter().map(|(record, _)| record).collect())
}

pub(super) fn read_key(text: &str) -> Result<NoticeKey> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("message with key {text:?}")))
}

pub(super) fn read_state(word: &str) -> Result<OutboxState> {
    OutboxState::from_word(word).ok_or_else(|| StoreError::Corrupt(format!("message in state {word:?}")))
}

pub(super) fn read_because(phrase: &str) -> Result<CancelledBecause> {
    CancelledBecause::from_word(phrase)
        .ok_or_else(|| StoreError::Corrupt(format!("message cancelled because {phrase:?}")))
}

fn read_parts(text: Option<&str>, key: &NoticeKey) -> Result<Vec<Part>> {
    text.map_or(Ok(Vec::new()), serde_json::from_str)
        .map_err(|error| StoreError::Corrupt(format!("attachments of {}: {error}", key.name())))
}

/// A message without the content of what is attached to it, and the hashes of that.
pub(super) fn read_record(row: &Row) -> Result<(OutboxRecord, Vec<String>)> {
    let key = read_key(row.get("key"))?;
    let parts = read_parts(row.get("attachments"), &key)?;
    let hashes = parts.iter().map(|part| part.sha256.clone()).collect();
    let attachment = |Part { name, content_type, content_id, sha256: _ }| {
        let bytes = Arc::from(&[][..]);
        Attachment { name, content_type, content_id, bytes }
    };
    let record = OutboxRecord {
        message: Message {
            key,
            recipient_name: row.get("recipient_name"),
            subject: row.get("subject"),
            text: row.get("body_text"),
            html: row.get("body_html"),
            message_id: row.get("message_id"),
            created_at: Instant::from_micros(row.get("created_at")),
            unsubscribe_url: row.get("unsubscribe_url"),
            attachments: parts.into_iter().map(attachment).collect(),
        },
        state: read_state(row.get("state"))?,
        attempts: u32::try_from(row.get::<i64>("attempts")).unwrap_or(u32::MAX),
        due_at: Instant::from_micros(row.get("due_at")),
        pending_since: Instant::from_micros(row.get("pending_since")),
        sent_at: row.get::<Option<i64>>("sent_at").map(Instant::from_micros),
        delivered_to: row.get("delivered_to"),
        last_error: row.get("last_error"),
        cancelled_because: row.get::<Option<&str>>("cancelled_because").map(read_because).transpose()?,
    };
    Ok((record, hashes))
}
