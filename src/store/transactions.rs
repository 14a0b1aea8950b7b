//! Reading the transaction table: the log, and rows under known keys.

use super::backend::Tx;
use super::ledgers::limit_of;
use super::sql::{Row, set};
use super::{Result, Store, StoreError, While};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::transaction::{ContentHash, Kind, Money, Reason, Status, Transaction};

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
    /// [`StoreError`].
    pub async fn log_page(
        &self,
        filter: &LogFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<(AccountId, Transaction)>> {
        self.log(
            "SELECT * FROM transactions
              WHERE (account_id, seq) > ($8, $9) AND ($1 IS NULL OR account_id = $1)
                AND ($2 IS NULL OR occurred_at >= $2) AND ($3 IS NULL OR occurred_at < $3)
                AND ($4 IS NULL OR user_id = $4) AND ($5 IS NULL OR action = $5) AND ($6 IS NULL OR kind = $6)
                AND ($7 IS NULL OR status = $7)
              ORDER BY account_id, seq LIMIT $10",
            filter,
            after,
            limit,
        )
        .await
    }

    /// The newest `limit` rows of the log, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_newest(&self, filter: &LogFilter, limit: usize) -> Result<Vec<(AccountId, Transaction)>> {
        self.log(
            "SELECT * FROM transactions
              WHERE ($1 IS NULL OR account_id = $1)
                AND ($2 IS NULL OR occurred_at >= $2) AND ($3 IS NULL OR occurred_at < $3)
                AND ($4 IS NULL OR user_id = $4) AND ($5 IS NULL OR action = $5) AND ($6 IS NULL OR kind = $6)
                AND ($7 IS NULL OR status = $7) AND (account_id, seq) > ($8, $9)
              ORDER BY occurred_at DESC, account_id DESC, seq DESC LIMIT $10",
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
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("reading the transaction log")?;
        rows.iter().map(read_transaction).collect()
    }

    /// How many rows the log has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_transactions(&self) -> Result<u64> {
        let row = self
            .query("SELECT CAST(coalesce(sum(last_seq), 0) AS BIGINT) FROM accounts")
            .fetch_one()
            .await
            .while_("counting transactions")?;
        Ok(row.get::<i64>(0).unsigned_abs())
    }
}

/// The rows recorded under the keys in `asked`, a JSON array of objects with account_id and key (R9).
pub(super) async fn read_known(tx: &mut Tx, asked: &str) -> Result<Vec<(AccountId, Transaction)>> {
    let rows = tx
        .query(set!(account_id text, key text =>
            "SELECT t.* FROM v CROSS JOIN transactions AS t WHERE t.account_id = v.account_id AND t.key = v.key"
        ))
        .bind(asked)
        .fetch_all()
        .await
        .while_("looking for earlier calls with the same keys")?;
    rows.iter().map(read_transaction).collect()
}

fn read_transaction(row: &Row) -> Result<(AccountId, Transaction)> {
    fn word<T>(row: &Row, column: &'static str, read: fn(&str) -> Option<T>) -> Result<T> {
        let word: &str = row.get(column);
        read(word).ok_or_else(|| StoreError::Corrupt(format!("transaction with {column} {word:?}")))
    }
    fn name<T>(
        row: &Row,
        column: &'static str,
        new: fn(&str) -> std::result::Result<T, crate::core::ids::BadName>,
    ) -> Result<Option<T>> {
        Ok(row.get::<Option<&str>>(column).map(new).transpose()?)
    }
    let split = |free: &'static str, purchased: &'static str| Split {
        free: Credits::new(row.get(free)),
        purchased: Credits::new(row.get(purchased)),
    };
    let reason = match row.get::<Option<&str>>("reason") {
        None => None,
        Some(_) => Some(word(row, "reason", Reason::from_word)?),
    };
    let money = row
        .get::<Option<i64>>("money_minor")
        .map(|minor| Money { minor, currency: row.get::<Option<String>>("currency").unwrap_or_default() });
    let transaction = Transaction {
        seq: row.get("seq"),
        kind: word(row, "kind", Kind::from_word)?,
        occurred_at: Instant::from_micros(row.get("occurred_at")),
        recorded_at: Instant::from_micros(row.get("recorded_at")),
        user: name(row, "user_id", UserId::new)?,
        action: name(row, "action", ActionCode::new)?,
        quantity: row.get("quantity"),
        unit_price: Credits::new(row.get("unit_price")),
        status: word(row, "status", Status::from_word)?,
        reason,
        comment: row.get("comment"),
        key: name(row, "key", Key::new)?,
        content: row.get::<Option<i64>>("content").map(ContentHash),
        corrects: row.get("corrects"),
        money,
        reference: name(row, "reference", Reference::new)?,
        delta: split("free_delta", "purchased_delta"),
        balance: split("free_balance", "purchased_balance"),
        entries: Vec::new(),
    };
    Ok((AccountId::new(row.get("account_id"))?, transaction))
}
