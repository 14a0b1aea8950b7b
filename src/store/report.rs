//! What reports read: the rows of a range in columns, and what was there before.

use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::statement::{Outcome, Row as ReportRow, Rows, counts_at};
use crate::core::transaction::{Kind, Reason, Status};
use futures_util::TryStreamExt;
use sqlx::Row;
use std::collections::BTreeMap;

/// Charges of one action by one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionUse {
    /// The action's code.
    pub action: String,
    /// Charges that succeeded.
    pub count: u64,
    /// Credits they took.
    pub credits: Credits,
}

/// Which rows of one account a report reads.
#[derive(Clone, Debug)]
pub struct ReportRange {
    /// Whose.
    pub account: AccountId,
    /// First instant of the range.
    pub from: Instant,
    /// First instant after it.
    pub to: Instant,
    /// The newest row of the ledger that the reader has loaded. Rows written since are left out, so that a reader who
    /// adds what is still unwritten (R3) counts nothing twice.
    pub last_seq: i64,
}

impl Store {
    /// Adds the rows that count in `ranges` to `rows`, the first account of `ranges` as number `offset`, and returns the
    /// balance just before each range. Rows at the edge may lie just outside; the report leaves them out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report_rows(&self, ranges: &[ReportRange], offset: usize, rows: &mut Rows) -> Result<Vec<Split>> {
        let ask = |range: &ReportRange| (range.account.clone(), range.from.micros(), range.to.micros(), range.last_seq);
        let asked = json(ranges.iter().map(ask).collect::<Vec<_>>())?;
        let mut tx = self.reader.begin().await.while_("beginning to read")?;
        let mut balances = vec![Split::ZERO; ranges.len()];
        let openings = sqlx::query(
            "WITH a AS MATERIALIZED (
                 SELECT key, value ->> 0 AS account_id, value ->> 1 AS begins, value ->> 3 AS last_seq FROM jsonb_each($1))
             SELECT a.key, sum(t.free_delta), sum(t.purchased_delta) FROM a CROSS JOIN transactions AS t
              WHERE t.account_id = a.account_id AND t.occurred_at - (t.kind = 'expiry') < a.begins
                AND t.seq <= a.last_seq
              GROUP BY a.key",
        )
        .bind(&asked)
        .fetch_all(&mut *tx)
        .await
        .while_("summing what was there before the range")?;
        for row in openings {
            let at = usize::try_from(row.get::<i64, _>(0)).unwrap_or(usize::MAX);
            if let Some(opening) = balances.get_mut(at) {
                *opening = Split { free: Credits::new(row.get(1)), purchased: Credits::new(row.get(2)) };
            }
        }

        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        // Materialized, the parameter is read once and not for every row.
        // The + keeps SQLite from walking the whole account by seq instead of the range by time.
        let mut found = sqlx::query(
            "WITH a AS MATERIALIZED (
                 SELECT key, value ->> 0 AS account_id, value ->> 1 AS begins, value ->> 2 AS ends, value ->> 3 AS last_seq
                   FROM jsonb_each($1))
             SELECT a.key, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta
               FROM a CROSS JOIN transactions AS t
              WHERE t.account_id = a.account_id AND t.occurred_at >= a.begins AND t.occurred_at <= a.ends
                AND +t.seq <= a.last_seq",
        )
        .bind(&asked)
        .fetch(&mut *tx);
        while let Some(row) = found.try_next().await.while_("reading the rows of a report")? {
            let (kind, status): (&str, &str) = (row.get(1), row.get(3));
            let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
            let kind = Kind::from_word(kind).ok_or_else(unknown)?;
            let status = Status::from_word(status).ok_or_else(unknown)?;
            rows.push(ReportRow {
                account: u32::try_from(row.get::<i64, _>(0)).unwrap_or(u32::MAX).saturating_add(offset),
                counts_at: counts_at(kind, Instant::from_micros(row.get(2))),
                kind,
                outcome: Outcome::of(kind, status, row.get::<Option<&str>, _>(4).and_then(Reason::from_word)),
                delta: Split { free: Credits::new(row.get(5)), purchased: Credits::new(row.get(6)) },
            });
        }
        Ok(balances)
    }

    /// Credits consumed, less refunds, per account since its instant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn used_since(&self, asked: &[(AccountId, Instant)]) -> Result<BTreeMap<AccountId, Credits>> {
        let asked: Vec<(&AccountId, i64)> = asked.iter().map(|(id, at)| (id, at.micros())).collect();
        let rows = sqlx::query(
            "SELECT a.value ->> 0, -sum(t.free_delta + t.purchased_delta)
               FROM jsonb_each($1) AS a CROSS JOIN transactions AS t
              WHERE t.account_id = a.value ->> 0 AND t.occurred_at >= a.value ->> 1 AND t.kind IN ('charge', 'refund')
              GROUP BY 1",
        )
        .bind(json(asked)?)
        .fetch_all(&self.reader)
        .await
        .while_("summing what was used")?;
        rows.iter().map(|row| Ok((AccountId::new(row.get(0))?, Credits::new(row.get(1))))).collect()
    }

    /// The actions that took most credits, per account in its range `[from, to)`, most first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn top_actions(
        &self,
        ranges: &[(AccountId, Instant, Instant)],
    ) -> Result<BTreeMap<AccountId, Vec<ActionUse>>> {
        let asked: Vec<(&AccountId, i64, i64)> =
            ranges.iter().map(|(id, from, to)| (id, from.micros(), to.micros())).collect();
        let rows = sqlx::query(
            "SELECT a.value ->> 0, t.action, count(*), -sum(t.free_delta + t.purchased_delta) AS credits
               FROM jsonb_each($1) AS a CROSS JOIN transactions AS t
              WHERE t.account_id = a.value ->> 0 AND t.occurred_at >= a.value ->> 1 AND t.occurred_at < a.value ->> 2
                AND t.kind = 'charge' AND t.status = 'success'
              GROUP BY 1, 2 ORDER BY 1, credits DESC, 3 DESC, 2",
        )
        .bind(json(asked)?)
        .fetch_all(&self.reader)
        .await
        .while_("summing the use of actions")?;
        let mut uses: BTreeMap<AccountId, Vec<ActionUse>> = BTreeMap::new();
        for row in rows {
            let action_use = ActionUse {
                action: row.get(1),
                count: row.get::<i64, _>(2).unsigned_abs(),
                credits: Credits::new(row.get(3)),
            };
            uses.entry(AccountId::new(row.get(0))?).or_default().push(action_use);
        }
        Ok(uses)
    }
}
