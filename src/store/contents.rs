//! What messages said is dropped once they are old: text, HTML, attachments, and the link that ended them. That they were written,
//! to whom, about what and what became of them stays for ever, for by its key none is written twice.
//!
//! A message without its content is one like any other, with a digest of its own, so nothing that reads messages or proves them
//! has to know. Every message that is written has HTML, and none that may still be delivered loses it.

use super::backend::{Tx, in_write};
use super::digest::digest;
use super::ledgers::limit_of;
use super::sql::{Row, Sql, set};
use super::{Result, Store, While, json};
use crate::core::calendar::Instant;
use serde::Serialize;
use std::collections::BTreeSet;

/// The oldest that have content and are settled: what waits, or waits for a person, is left alone.
macro_rules! settled {
    ($select:literal, $end:literal) => {
        concat!(
            $select,
            " FROM outbox AS o WHERE o.body_html <> '' AND o.created_at < $1
               AND o.state IN ('sent', 'failed', 'cancelled', 'suppressed')",
            $end
        )
    };
}

macro_rules! oldest {
    ($end:literal) => {
        settled!(
            "SELECT o.account_id, o.key, o.kind, o.recipient, o.recipient_name, o.subject, o.message_id, o.created_at, o.attachments",
            $end
        )
    };
}

/// On Postgres, nobody puts them back or writes another such part meanwhile.
const OLDEST: Sql = Sql {
    sqlite: oldest!(" ORDER BY o.created_at, o.account_id, o.key LIMIT $2"),
    postgres: oldest!(" ORDER BY o.created_at, o.account_id, o.key LIMIT $2 FOR UPDATE"),
};
const COUNT: &str = settled!("SELECT count(*)", "");

const DROP: Sql = set!(account_id text, key text, digest bigint =>
    "UPDATE outbox SET body_text = '', body_html = '', unsubscribe_url = NULL, attachments = NULL, digest = v.digest
       FROM v WHERE outbox.account_id = v.account_id AND outbox.key = v.key");

/// Whoever writes a message with such a part holds it; what is read of messages behind this lock has that message.
const LOCK_PARTS: Sql = set!(account_id text, sha256 text =>
    "SELECT p.sha256 FROM v CROSS JOIN outbox_parts AS p WHERE p.account_id = v.account_id AND p.sha256 = v.sha256
      ORDER BY p.account_id, p.sha256 FOR UPDATE OF p");
/// Parts that no message has any more.
const DROP_PARTS: Sql = set!(account_id text, sha256 text =>
    "DELETE FROM outbox_parts WHERE (account_id, sha256) IN (SELECT account_id, sha256 FROM v)
        AND NOT EXISTS (SELECT 1 FROM outbox AS o
                         WHERE o.account_id = outbox_parts.account_id AND o.attachments LIKE '%\"' || outbox_parts.sha256 || '\"%')");

#[derive(Serialize)]
struct Dropped {
    account_id: String,
    key: String,
    digest: i64,
}

impl Dropped {
    /// The row as it will stand; its digest is that of a message with nothing in it (see `outbox.rs`).
    fn of(row: &Row) -> Dropped {
        let text = |at: usize| row.get::<String>(at);
        let (account_id, key) = (text(0), text(1));
        let created_at = Instant::from_micros(row.get(7));
        let digest = digest!(account_id, key, text(2), text(3), text(4), text(5), "", "", text(6), created_at);
        Dropped { account_id, key, digest }
    }
}

impl Store {
    /// Drops the content of up to `limit` messages that were written before `before` and are settled, the oldest first; returns of
    /// how many.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError); nothing was dropped then.
    pub async fn drop_contents(&self, before: Instant, limit: usize) -> Result<usize> {
        in_write!(self, "committing messages without their content", |tx| {
            let rows = tx
                .query(OLDEST)
                .bind(before.micros())
                .bind(limit_of(limit))
                .fetch_all()
                .await
                .while_("looking for old messages")?;
            if rows.is_empty() {
                return Ok(0);
            }
            let dropped: Vec<Dropped> = rows.iter().map(Dropped::of).collect();
            tx.query(DROP).bind(json(&dropped)?).execute().await.while_("dropping the content of messages")?;
            let parts: BTreeSet<Part> = rows.iter().flat_map(parts_of).collect();
            drop_parts(tx, &parts).await?;
            Ok(dropped.len())
        })
    }

    /// Of how many messages [`Store::drop_contents`] would drop the content in the end.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn count_contents(&self, before: Instant) -> Result<u64> {
        let row = self.query(COUNT).bind(before.micros()).fetch_one().await.while_("counting old messages")?;
        Ok(row.get::<i64>(0).unsigned_abs())
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Part {
    account_id: String,
    sha256: String,
}

/// What a message had attached. A list that cannot be read names nothing that could be dropped; `creditd verify` tells.
fn parts_of(row: &Row) -> Vec<Part> {
    #[derive(serde::Deserialize)]
    struct Named {
        sha256: String,
    }
    let named: Vec<Named> =
        row.get::<Option<&str>>(8).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    named.into_iter().map(|named| Part { account_id: row.get(0), sha256: named.sha256 }).collect()
}

async fn drop_parts(tx: &mut Tx, parts: &BTreeSet<Part>) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let parts = json(parts)?;
    if let Tx::Postgres(..) = tx {
        tx.query(LOCK_PARTS).bind(parts.as_str()).fetch_all().await.while_("locking attachments")?;
    }
    tx.query(DROP_PARTS).bind(parts).execute().await.while_("dropping attachments").map(drop)
}
