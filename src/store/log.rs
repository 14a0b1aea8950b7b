//! The log of one account as its page shows it: backwards from the newest row, a bounded stretch at a time.
//!
//! Each stretch is found by one index and ends after as many rows as were asked for, however many the account has.

use super::ledgers::limit_of;
use super::stored::{columns, read_transaction};
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::transaction::Transaction;

/// A row's place in the log of its account: when it occurred, and its number among those of that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// When.
    pub occurred_at: Instant,
    /// Its number.
    pub seq: i64,
}

impl LogPlace {
    /// Where `row` is.
    #[must_use]
    pub const fn of(row: &Transaction) -> LogPlace {
        LogPlace { occurred_at: row.occurred_at, seq: row.seq }
    }
}

impl Store {
    /// Up to `limit` rows of `account` that occurred in `[from, to)` and stand before `before`, the newest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn log_back(
        &self,
        account: &AccountId,
        (from, to): (Instant, Instant),
        before: Option<LogPlace>,
        limit: usize,
    ) -> Result<Vec<Transaction>> {
        // The bound of time is what the index is entered by; the number only tells rows of its last instant apart.
        let place = before.unwrap_or(LogPlace { occurred_at: Instant::MAX, seq: i64::MAX });
        let to = to.micros().min(place.occurred_at.micros().saturating_add(1));
        let rows = self
            .query(concat!(
                "SELECT ",
                columns!(),
                " FROM transactions AS t
                  WHERE account_id = $1 AND occurred_at >= $2 AND occurred_at < $3
                    AND (occurred_at <> $4 OR seq < $5)
                  ORDER BY occurred_at DESC, seq DESC LIMIT $6"
            ))
            .bind(account.as_str())
            .bind(from.micros())
            .bind(to)
            .bind(place.occurred_at.micros())
            .bind(place.seq)
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("reading the log of an account")?;
        rows.iter().map(|row| Ok(read_transaction(row)?.1)).collect()
    }
}
