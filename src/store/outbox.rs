//! The outbox: messages frozen when they were written, and what became of them (DESIGN 6).

use super::ledgers::limit_of;
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::outbox::{Message, NoticeKey, OutboxState};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

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
    account: &'a AccountId,
    key: String,
    kind: &'static str,
    recipient: &'a str,
    recipient_name: &'a str,
    subject: &'a str,
    text: &'a str,
    html: &'a str,
    message_id: &'a str,
    created_at: i64,
}

/// Adds messages whose keys are new; returns how many those were.
pub(super) async fn insert(tx: &mut SqliteConnection, messages: &[Message]) -> Result<u64> {
    let rows: Vec<NewMessage<'_>> = messages
        .iter()
        .map(|message| NewMessage {
            account: message.key.account(),
            key: message.key.to_string(),
            kind: message.key.kind().as_str(),
            recipient: message.key.recipient().as_str(),
            recipient_name: &message.recipient_name,
            subject: &message.subject,
            text: &message.text,
            html: &message.html,
            message_id: &message.message_id,
            created_at: message.created_at.micros(),
        })
        .collect();
    let done = sqlx::query(
        "INSERT INTO outbox (account_id, key, kind, recipient, recipient_name, subject, body_text, body_html, message_id,
                             created_at, due_at, state)
         SELECT v ->> 'account', v ->> 'key', v ->> 'kind', v ->> 'recipient', v ->> 'recipient_name', v ->> 'subject',
                v ->> 'text', v ->> 'html', v ->> 'message_id', v ->> 'created_at', v ->> 'created_at', 'pending'
           FROM (SELECT value AS v FROM jsonb_each($1)) WHERE true
         ON CONFLICT (account_id, key) DO NOTHING",
    )
    .bind(json(rows)?)
    .execute(&mut *tx)
    .await
    .while_("writing messages")?;
    Ok(done.rows_affected())
}

impl Store {
    /// Adds messages whose keys are new; returns how many those were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn write_messages(&self, messages: &[Message]) -> Result<u64> {
        let mut tx = self.begin().await?;
        let written = insert(&mut tx, messages).await?;
        tx.commit().await.while_("committing messages")?;
        Ok(written)
    }

    /// Of `keys`, those that are in the outbox already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_messages(&self, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>> {
        let asked: Vec<(&AccountId, String)> = keys.iter().map(|key| (key.account(), key.to_string())).collect();
        let rows = sqlx::query(
            "SELECT o.key FROM jsonb_each($1) AS a CROSS JOIN outbox AS o
              WHERE o.account_id = a.value ->> 0 AND o.key = a.value ->> 1",
        )
        .bind(json(asked)?)
        .fetch_all(&self.reader)
        .await
        .while_("looking for messages")?;
        rows.iter().map(|row| read_key(row.get(0))).collect()
    }

    /// Up to `limit` pending messages that are due, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due_messages(&self, now: Instant, limit: usize) -> Result<Vec<OutboxRecord>> {
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE state = 'pending' AND due_at <= $1 ORDER BY due_at, account_id, key LIMIT $2",
        )
        .bind(now.micros())
        .bind(limit_of(limit))
        .fetch_all(&self.reader)
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
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE ($1 IS NULL OR account_id = $1) AND ($2 IS NULL OR state = $2)
              ORDER BY created_at DESC, account_id, key LIMIT $3",
        )
        .bind(account.map(AccountId::as_str))
        .bind(state.map(OutboxState::as_str))
        .bind(limit_of(limit))
        .fetch_all(&self.reader)
        .await
        .while_("listing messages")?;
        rows.iter().map(read_record).collect()
    }

    /// Records that messages were delivered, each with the file it went to.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn mark_sent(&self, sent: &[(NoticeKey, String)], now: Instant) -> Result<()> {
        let rows: Vec<(&AccountId, String, &str)> =
            sent.iter().map(|(key, file)| (key.account(), key.to_string(), file.as_str())).collect();
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE outbox SET state = 'sent', attempts = attempts + 1, sent_at = $2, delivered_to = v ->> 2,
                               last_error = NULL
               FROM (SELECT value AS v FROM jsonb_each($1))
              WHERE account_id = v ->> 0 AND key = v ->> 1 AND state = 'pending'",
        )
        .bind(json(rows)?)
        .bind(now.micros())
        .execute(&mut *tx)
        .await
        .while_("recording deliveries")?;
        tx.commit().await.while_("committing deliveries")
    }

    /// Records that a delivery failed: to be tried again at `retry_at`, or never when that is `None`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn mark_failed(&self, key: &NoticeKey, error: &str, retry_at: Option<Instant>) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE outbox SET state = CASE WHEN $4 IS NULL THEN 'failed' ELSE 'pending' END, attempts = attempts + 1,
                               due_at = coalesce($4, due_at), last_error = $3
              WHERE account_id = $1 AND key = $2 AND state = 'pending'",
        )
        .bind(key.account().as_str())
        .bind(key.to_string())
        .bind(error)
        .bind(retry_at.map(Instant::micros))
        .execute(&mut *tx)
        .await
        .while_("recording a failed delivery")?;
        tx.commit().await.while_("committing a failed delivery")
    }
}

fn read_key(text: &str) -> Result<NoticeKey> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("message with key {text:?}")))
}

fn read_record(row: &SqliteRow) -> Result<OutboxRecord> {
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
        attempts: u32::try_from(row.get::<i64, _>("attempts")).unwrap_or(u32::MAX),
        due_at: Instant::from_micros(row.get("due_at")),
        sent_at: row.get::<Option<i64>, _>("sent_at").map(Instant::from_micros),
        delivered_to: row.get("delivered_to"),
        last_error: row.get("last_error"),
    })
}
