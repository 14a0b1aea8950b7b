//! The outbox: messages frozen when they were written, and what became of them (DESIGN 6).

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Row, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::outbox::{Message, NoticeKey, OutboxState};
use serde::Serialize;

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
    /// When it was delivered.
    pub sent_at: Option<Instant>,
    /// The file it was delivered to.
    pub delivered_to: Option<String>,
    /// Why the last delivery failed.
    pub last_error: Option<String>,
}

#[derive(Serialize)]
struct NewMessage<'a> {
    account_id: &'a AccountId,
    key: String,
    kind: &'static str,
    recipient: &'a str,
    recipient_name: &'a str,
    subject: &'a str,
    body_text: &'a str,
    body_html: &'a str,
    message_id: &'a str,
    created_at: i64,
    digest: i64,
}

impl<'a> NewMessage<'a> {
    fn of(message: &'a Message) -> NewMessage<'a> {
        let Message { key, recipient_name, subject, text, html, message_id, created_at } = message;
        let (account_id, kind, recipient) = (key.account(), key.kind().as_str(), key.recipient().as_str());
        let key = key.to_string();
        let digest =
            digest!(account_id, key, kind, recipient, recipient_name, subject, text, html, message_id, created_at);
        NewMessage {
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
            digest,
        }
    }
}

/// Adds messages whose keys are new; returns how many those were.
pub(super) async fn insert(tx: &mut Tx, messages: &[Message]) -> Result<u64> {
    let rows: Vec<NewMessage<'_>> = messages.iter().map(NewMessage::of).collect();
    let done = tx
        .query(set!(
            account_id text, key text, kind text, recipient text, recipient_name text, subject text, body_text text,
            body_html text, message_id text, created_at bigint, digest bigint =>
            "INSERT INTO outbox (account_id, key, kind, recipient, recipient_name, subject, body_text, body_html,
                                 message_id, created_at, digest, due_at, state)
             SELECT account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id,
                    created_at, digest, created_at, 'pending'
               FROM v WHERE true
             ON CONFLICT (account_id, key) DO NOTHING"
        ))
        .bind(json(rows)?)
        .execute()
        .await
        .while_("writing messages")?;
    Ok(done.rows_affected())
}

#[derive(Serialize)]
struct Asked<'a> {
    account_id: &'a AccountId,
    key: String,
}

#[derive(Serialize)]
struct Sent<'a> {
    account_id: &'a AccountId,
    key: String,
    file: &'a str,
}

impl Store {
    /// Adds messages whose keys are new; returns how many those were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn write_messages(&self, messages: &[Message]) -> Result<u64> {
        in_write!(self.backend, "committing messages", |tx| insert(tx, messages).await)
    }

    /// Of `keys`, those that are in the outbox already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_messages(&self, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
        let asked: Vec<Asked<'_>> =
            keys.iter().map(|key| Asked { account_id: key.account(), key: key.to_string() }).collect();
        let rows = self
            .query(set!(account_id text, key text =>
                "SELECT o.key FROM v CROSS JOIN outbox AS o WHERE o.account_id = v.account_id AND o.key = v.key
                  ORDER BY o.account_id, o.key"
            ))
            .bind(json(asked)?)
            .fetch_all()
            .await
            .while_("looking for messages")?;
        rows.iter().map(|row| read_key(row.get(0))).collect()
    }

    /// Up to `limit` pending messages that are due, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_messages(&self, now: Instant, limit: usize) -> Result<Vec<OutboxRecord>> {
        let rows = self
            .query(
                "SELECT * FROM outbox WHERE state = 'pending' AND due_at <= $1 ORDER BY due_at, account_id, key LIMIT $2",
            )
            .bind(now.micros())
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for messages to deliver")?;
        rows.iter().map(read_record).collect()
    }

    /// Messages, newest first.
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
        rows.iter().map(read_record).collect()
    }

    /// Records that messages were delivered, each with the file it went to.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn mark_sent(&self, sent: &[(NoticeKey, String)], now: Instant) -> Result<()> {
        let rows: Vec<Sent<'_>> =
            sent.iter().map(|(key, file)| Sent { account_id: key.account(), key: key.to_string(), file }).collect();
        let rows = json(rows)?;
        in_write!(self.backend, "committing deliveries", |tx| {
            tx.query(set!(account_id text, key text, file text =>
                "UPDATE outbox SET state = 'sent', attempts = attempts + 1, sent_at = $2, delivered_to = v.file,
                                   last_error = NULL
                   FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key AND outbox.state = 'pending'"
            ))
            .bind(rows.as_str())
            .bind(now.micros())
            .execute()
            .await
            .while_("recording deliveries")
        })
        .map(drop)
    }

    /// Records that a delivery failed: to be tried again at `retry_at`, or never when that is `None`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn mark_failed(&self, key: &NoticeKey, error: &str, retry_at: Option<Instant>) -> Result<()> {
        in_write!(self.backend, "committing a failed delivery", |tx| {
            tx.query(
                "UPDATE outbox SET state = CASE WHEN $4 IS NULL THEN 'failed' ELSE 'pending' END, attempts = attempts + 1,
                                   due_at = coalesce($4, due_at), last_error = $3
                  WHERE account_id = $1 AND key = $2 AND state = 'pending'",
            )
            .bind(key.account().as_str())
            .bind(key.to_string())
            .bind(error)
            .bind(retry_at.map(Instant::micros))
            .execute()
            .await
            .while_("recording a failed delivery")
        }).map(drop)
    }
}

fn read_key(text: &str) -> Result<NoticeKey> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("message with key {text:?}")))
}

fn read_record(row: &Row) -> Result<OutboxRecord> {
    let state: &str = row.get("state");
    Ok(OutboxRecord {
        message: Message {
            key: read_key(row.get("key"))?,
            recipient_name: row.get("recipient_name"),
            subject: row.get("subject"),
            text: row.get("body_text"),
            html: row.get("body_html"),
            message_id: row.get("message_id"),
            created_at: Instant::from_micros(row.get("created_at")),
        },
        state: OutboxState::from_word(state)
            .ok_or_else(|| StoreError::Corrupt(format!("message in state {state:?}")))?,
        attempts: u32::try_from(row.get::<i64>("attempts")).unwrap_or(u32::MAX),
        due_at: Instant::from_micros(row.get("due_at")),
        sent_at: row.get::<Option<i64>>("sent_at").map(Instant::from_micros),
        delivered_to: row.get("delivered_to"),
        last_error: row.get("last_error"),
    })
}
