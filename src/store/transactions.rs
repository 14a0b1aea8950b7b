//! Reading the transaction table: the log, and rows under known keys.

use super::ledgers::limit_of;
use super::stored::{columns, read_transaction};
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::transaction::{Kind, Status, Transaction};

/// Which rows of the log; `None` is every one.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Occurred at this instant or later.
    pub from: Option<Instant>,
    /// Occurred before this instant.
    pub to: Option<Instant>,
    /// By this user.
    pub user: Option<UserId>,
    /// Of this action.
    pub action: Option<ActionCode>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this status.
    pub status: Option<Status>,
    /// Recorded at this instant or earlier: the log as it read then (R15).
    pub recorded_until: Option<Instant>,
}

/// Where a page of the log begins: behind this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its account.
    pub account: AccountId,
    /// Its position there.
    pub seq: i64,
}

impl Store {
    /// One page of the log in order of account and `seq`, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn log_page(
        &self,
        filter: &LogFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Transaction)>> {
        self.log(
            concat!(
                "SELECT ",
                columns!(),
                " FROM transactions AS t
              WHERE (account_id, seq) > ($8, $9) AND ($1 IS NULL OR account_id = $1)
                AND ($2 IS NULL OR occurred_at >= $2) AND ($3 IS NULL OR occurred_at < $3)
                AND ($4 IS NULL OR user_id = $4) AND ($5 IS NULL OR action = $5) AND ($6 IS NULL OR kind = $6)
                AND ($7 IS NULL OR status = $7) AND ($10 IS NULL OR recorded_at <= $10)
              ORDER BY account_id, seq LIMIT $11"
            ),
            filter,
            after,
            limit,
        )
        .await
    }

    /// The newest `limit` rows of the log, newest first.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn log_newest(&self, filter: &LogFilter, limit: usize) -> Result<Vec<(AccountId, Transaction)>> {
        self.log(
            concat!(
                "SELECT ",
                columns!(),
                " FROM transactions AS t
              WHERE ($1 IS NULL OR account_id = $1)
                AND ($2 IS NULL OR occurred_at >= $2) AND ($3 IS NULL OR occurred_at < $3)
                AND ($4 IS NULL OR user_id = $4) AND ($5 IS NULL OR action = $5) AND ($6 IS NULL OR kind = $6)
                AND ($7 IS NULL OR status = $7) AND (account_id, seq) > ($8, $9)
                AND ($10 IS NULL OR recorded_at <= $10)
              ORDER BY occurred_at DESC, account_id DESC, seq DESC LIMIT $11"
            ),
            filter,
            None,
            limit,
        )
        .await
    }

    async fn log(
        &self,
        sql: &'static str,
        filter: &LogFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Transaction)>> {
        // An account alone lets the primary key do the work: the page begins in it.
        let start = after.map(|c| (c.account.as_str(), c.seq));
        let start = start.unwrap_or((filter.account.as_ref().map_or("", AccountId::as_str), 0));
        let rows = self
            .query(sql)
            .bind(filter.account.as_ref().map(AccountId::as_str))
            .bind(filter.from.map(Instant::micros))
            .bind(filter.to.map(Instant::micros))
            .bind(filter.user.as_ref().map(UserId::as_str))
            .bind(filter.action.as_ref().map(ActionCode::as_str))
            .bind(filter.kind.map(Kind::as_str))
            .bind(filter.status.map(Status::as_str))
            .bind(start.0)
            .bind(start.1)
            .bind(filter.recorded_until.map(Instant::micros))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("reading the transaction log")?;
        rows.iter().map(read_transaction).collect()
    }

    /// How many rows the log has.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn count_transactions(&self) -> Result<u64> {
        let row = self
            .query("SELECT CAST(coalesce(sum(last_seq), 0) AS BIGINT) FROM accounts")
            .fetch_one()
            .await
            .while_("counting transactions")?;
        Ok(row.get::<i64>(0).unsigned_abs())
    }
}
