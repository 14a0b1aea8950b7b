//! What an operator asks of a message: that it is sent again, or not at all.

use super::admins::unwished;
use super::backend::{Tx, in_write};
use super::in_order::overtaken;
use super::outbox::read_state;
use super::said::{Written, last_versions};
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::outbox::{CancelledBecause, NoticeKey, NoticeKind, OutboxState};

/// What came of an operator's wish about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is so.
    Done,
    /// There is no such message.
    Unknown,
    /// In this state it cannot be done.
    Not(OutboxState),
    /// Its address is on the suppression list, since then.
    Suppressed(Instant),
    /// It is so old that its content was dropped.
    Dropped,
    /// It goes to somebody who is no admin of the account, or wishes no such mails.
    Unwished,
    /// It is a statement of which there is a later version.
    Outdated,
    /// It is an alert, and a later one of the account was delivered to its recipient.
    Overtaken,
    /// It is a statement that was written to the same address in another spelling as well, and left or is to.
    Twice(NoticeKey),
}

impl Store {
    /// Lets a message be delivered, whatever became of it so far, at once and for the full time that messages are tried;
    /// not what was delivered.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn retry_message(&self, key: &NoticeKey, now: Instant) -> Result<Answered> {
        in_write!(self, "committing a message that is tried again", |tx| {
            match asked(tx, key, false).await? {
                Answered::Not(state) if state != OutboxState::Sent => {}
                answered => return Ok(answered),
            }
            if let Some(since) = suppressed_since(tx, key).await? {
                return Ok(Answered::Suppressed(since));
            }
            if !unwished(tx, std::slice::from_ref(key)).await?.is_empty() {
                return Ok(Answered::Unwished);
            }
            if last_versions(tx, std::slice::from_ref(key)).await?.into_values().any(|last| last > key.version()) {
                // Whoever cancelled it wants it by now, so what is so may be written.
                tx.query("UPDATE outbox SET cancelled_because = $3 WHERE account_id = $1 AND key = $2 AND state = 'cancelled'")
                    .bind(key.account_text().to_owned())
                    .bind(key.to_string())
                    .bind(CancelledBecause::Superseded.as_str())
                    .execute()
                    .await
                    .while_("noting that a message may be written anew")?;
                return Ok(Answered::Outdated);
            }
            if !overtaken(tx, std::slice::from_ref(key)).await?.is_empty() {
                return Ok(Answered::Overtaken);
            }
            if let Some(other) = spelt_otherwise(tx, key).await? {
                return Ok(Answered::Twice(other));
            }
            let done = tx
                .query(
                    "UPDATE outbox SET state = 'pending', due_at = $3, pending_since = $3, cancelled_because = NULL
                      WHERE account_id = $1 AND key = $2 AND state <> 'sent' AND body_html <> ''",
                )
                .bind(key.account_text().to_owned())
                .bind(key.to_string())
                .bind(now.micros())
                .execute()
                .await
                .while_("trying a message again")?;
            asked(tx, key, done.rows_affected() > 0).await
        })
    }

    /// Lets a message not be delivered any more, as the operator said. One that was cancelled stays as it is; one that is just being delivered may have gone, and then says so.
    ///
    /// # Errors
    /// [`super::StoreError`]; nothing was written then.
    pub async fn cancel_message(&self, key: &NoticeKey) -> Result<Answered> {
        in_write!(self, "committing a message that is cancelled", |tx| {
            let done = tx
                .query(
                    "UPDATE outbox SET state = 'cancelled',
                            cancelled_because = CASE WHEN state = 'cancelled' THEN cancelled_because ELSE $3 END
                      WHERE account_id = $1 AND key = $2 AND state IN ('pending', 'ambiguous', 'cancelled')",
                )
                .bind(key.account_text().to_owned())
                .bind(key.to_string())
                .bind(CancelledBecause::Operator.as_str())
                .execute()
                .await
                .while_("cancelling a message")?;
            asked(tx, key, done.rows_affected() > 0).await
        })
    }
}

async fn suppressed_since(tx: &mut Tx, key: &NoticeKey) -> Result<Option<Instant>> {
    let rows = tx
        .query("SELECT since FROM suppressions WHERE lower(address) = lower($1)")
        .bind(key.recipient().as_str().to_owned())
        .fetch_all()
        .await
        .while_("looking for an address in the suppression list")?;
    Ok(rows.first().map(|row| Instant::from_micros(row.get(0))))
}

/// The same statement to the same address in another spelling, where it left or is to.
async fn spelt_otherwise(tx: &mut Tx, key: &NoticeKey) -> Result<Option<NoticeKey>> {
    if !matches!(key.kind(), NoticeKind::MonthlyStatement | NoticeKind::DailyStatement) {
        return Ok(None);
    }
    let is_other = |one: &Written| one.key == *key && one.key.to_string() != key.to_string();
    let written = Written::read(tx, std::iter::once(key)).await?;
    Ok(written.into_iter().find(|one| is_other(one) && one.leaves()).map(|one| one.key))
}

async fn asked(tx: &mut Tx, key: &NoticeKey, done: bool) -> Result<Answered> {
    if done {
        return Ok(Answered::Done);
    }
    let rows = tx
        .query("SELECT state, body_html = '' FROM outbox WHERE account_id = $1 AND key = $2")
        .bind(key.account_text().to_owned())
        .bind(key.to_string())
        .fetch_all()
        .await
        .while_("looking for a message")?;
    let Some(row) = rows.first() else { return Ok(Answered::Unknown) };
    let state = read_state(row.get(0))?;
    Ok(if state != OutboxState::Sent && row.get(1) { Answered::Dropped } else { Answered::Not(state) })
}
