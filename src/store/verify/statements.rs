//! What statements are compared with: the sums of every figure over an account's whole life, straight from its rows.
//!
//! Reports read rows by time, count by kind, and add what a reset has not written yet (DESIGN 4, R3). Here is nothing of
//! that: one statement sums up the log as it is.

use crate::core::ids::AccountId;
use crate::store::sql::set;
use crate::store::{Result, Store, While, json};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of a statement in the order of its columns: allocated, purchased, bonus, consumed, refunded, lapsed,
/// returned, adjusted, remaining.
pub type Figures = [i64; 9];

/// What the rows of one account sum up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementSums {
    /// Free credits.
    pub free: Figures,
    /// Purchased credits.
    pub purchased: Figures,
    /// Actions that succeeded, failed, and were refused.
    pub actions: [u64; 3],
}

macro_rules! sum {
    ($column:literal, $condition:literal) => {
        concat!("CAST(coalesce(sum(", $column, ") FILTER (WHERE ", $condition, "), 0) AS BIGINT), ")
    };
}

macro_rules! figures {
    ($delta:literal) => {
        concat!(
            sum!($delta, "t.kind = 'allocation'"),
            sum!($delta, "t.kind = 'purchase'"),
            sum!($delta, "t.kind = 'bonus'"),
            "-",
            sum!($delta, "t.kind IN ('charge', 'hold', 'release')"),
            sum!($delta, "t.kind = 'refund'"),
            "-",
            sum!($delta, "t.kind = 'expiry'"),
            "-",
            sum!($delta, "t.kind = 'return'"),
            sum!($delta, "t.kind = 'adjustment'"),
            "CAST(sum(",
            $delta,
            ") AS BIGINT), "
        )
    };
}

#[derive(Serialize)]
struct Asked {
    account_id: AccountId,
    last_seq: i64,
}

impl Store {
    /// The sums over the logs of accounts, each up to and with a row. Accounts without one are left out.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn statement_sums(&self, through: &[(AccountId, i64)]) -> Result<BTreeMap<AccountId, StatementSums>> {
        let asked = |(account_id, last_seq): &'_ (AccountId, i64)| Asked {
            account_id: account_id.clone(),
            last_seq: *last_seq,
        };
        let rows = self
            .query(set!(account_id text, last_seq bigint => concat!(
                "SELECT t.account_id, ", figures!("t.free_delta"), figures!("t.purchased_delta"),
                "count(*) FILTER (WHERE t.kind = 'charge' AND t.status = 'success'),
                 count(*) FILTER (WHERE t.kind = 'charge' AND t.status = 'failed' AND t.reason IS NULL),
                 count(*) FILTER (WHERE t.kind = 'charge' AND t.status = 'failed' AND t.reason IS NOT NULL)
                   FROM v CROSS JOIN transactions AS t WHERE t.account_id = v.account_id AND t.seq <= v.last_seq
                  GROUP BY t.account_id"
            )))
            .bind(json(through.iter().map(asked).collect::<Vec<_>>())?)
            .fetch_all()
            .await
            .while_("summing up the log")?;
        let mut sums = BTreeMap::new();
        for row in rows {
            let figures = |first: usize| -> Figures { std::array::from_fn(|at| row.get(first + at)) };
            let of_account = StatementSums {
                free: figures(1),
                purchased: figures(10),
                actions: std::array::from_fn(|at| row.get::<i64>(19 + at).unsigned_abs()),
            };
            sums.insert(AccountId::new(row.get(0))?, of_account);
        }
        Ok(sums)
    }
}
