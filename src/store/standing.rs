//! What stands open beside the log: holds, caps, and months that still take late usage. Lists of it, and who is due.

use super::ledgers::limit_of;
use super::sql::{Row, set};
use super::stored::{columns, read_transaction};
use super::{Result, Store, While, json};
use crate::core::calendar::{Instant, Month};
use crate::core::ids::{AccountId, UserId};
use crate::core::transaction::Transaction;

impl Store {
    /// Up to `limit` holds that are open at `now`, by the rows that made them, those that end next first (R10).
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn open_holds(
        &self,
        account: Option<&AccountId>,
        now: Instant,
        limit: usize,
    ) -> Result<Vec<(AccountId, Transaction)>> {
        let rows = self
            .query(concat!(
                "SELECT ",
                columns!(),
                " FROM holds AS h JOIN transactions AS t ON t.account_id = h.account_id AND t.seq = h.hold_id
                  WHERE ($1 IS NULL OR h.account_id = $1) AND h.expires_at > $2
                  ORDER BY h.expires_at, h.account_id, h.hold_id LIMIT $3"
            ))
            .bind(account.map(AccountId::as_str))
            .bind(now.micros())
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing holds")?;
        rows.iter().map(read_transaction).collect()
    }

    /// Up to `limit` accounts with holds that ran out by `now` and are not settled, in order of id after `after` (R10).
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accounts_with_expired_holds(
        &self,
        now: Instant,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>> {
        let rows = self
            .query(
                "SELECT DISTINCT account_id FROM holds WHERE expires_at <= $1 AND account_id > $2
                  ORDER BY account_id LIMIT $3",
            )
            .bind(now.micros())
            .bind(after.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for holds that ran out")?;
        ids(&rows)
    }

    /// Up to `limit` accounts that creditd knows since `known_by` or longer and whose `month` still takes late usage, in
    /// order of id after `after` (R14).
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn accounts_to_close(
        &self,
        month: Month,
        known_by: Instant,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>> {
        let rows = self
            .query(
                "SELECT account_id FROM accounts
                  WHERE (closed_through IS NULL OR closed_through < $1) AND created_at <= $2 AND account_id > $3
                  ORDER BY account_id LIMIT $4",
            )
            .bind(month.to_string())
            .bind(known_by.micros())
            .bind(after.map_or("", AccountId::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("looking for months to close")?;
        ids(&rows)
    }

    /// The users of these accounts who have a cap, in order (R17).
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn capped_users(&self, accounts: &[AccountId]) -> Result<Vec<(AccountId, UserId)>> {
        let rows = self
            .query(set!(account_id =>
                "SELECT c.account_id, c.user_id FROM v CROSS JOIN caps AS c WHERE c.account_id = v.account_id
                  ORDER BY c.account_id, c.user_id"
            ))
            .bind(json(accounts)?)
            .fetch_all()
            .await
            .while_("listing caps")?;
        rows.iter().map(|row| Ok((AccountId::new(row.get(0))?, UserId::new(row.get(1))?))).collect()
    }
}

fn ids(rows: &[Row]) -> Result<Vec<AccountId>> {
    rows.iter().map(|row| Ok(AccountId::new(row.get(0))?)).collect()
}
