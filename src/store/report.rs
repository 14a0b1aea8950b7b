//! What reports read: the rows of a range in columns, and what was there before.

use super::sql::set;
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::statement::{Breakdown, Name, Outcome, REPORT_ROWS_MAX, ReportError, Row as ReportRow, Rows};
use crate::core::transaction::{Kind, Reason, Status};
use futures_util::TryStreamExt;
use serde::Serialize;
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

#[derive(Serialize)]
struct Asked {
    at: usize,
    account_id: AccountId,
    from_at: i64,
    to_at: i64,
    last_seq: i64,
}

#[derive(Serialize)]
struct Since {
    account_id: AccountId,
    from_at: i64,
}

impl Store {
    /// Adds the rows that count in `ranges` to `rows`, the first account of `ranges` as number `offset`, and returns the
    /// balance just before each range. Rows at the edge may lie just outside; the report leaves them out. They are named
    /// by what `breakdown` asks for.
    ///
    /// # Errors
    /// [`StoreError`], also when there are more than [`REPORT_ROWS_MAX`] rows.
    pub async fn report_rows(
        &self,
        ranges: &[ReportRange],
        breakdown: Option<Breakdown>,
        offset: usize,
        rows: &mut Rows,
    ) -> Result<Vec<Split>> {
        let ask = |(at, range): (usize, &ReportRange)| Asked {
            at,
            account_id: range.account.clone(),
            from_at: range.from.micros(),
            to_at: range.to.micros(),
            last_seq: range.last_seq,
        };
        let asked = json(ranges.iter().enumerate().map(ask).collect::<Vec<_>>())?;
        let mut tx = self.read().await?;
        let mut balances = vec![Split::ZERO; ranges.len()];
        let openings = tx
            .query(set!(at bigint, account_id text, from_at bigint, last_seq bigint =>
                "SELECT v.at, CAST(sum(t.free_delta) AS BIGINT), CAST(sum(t.purchased_delta) AS BIGINT)
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.seq <= v.last_seq
                    AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < v.from_at
                  GROUP BY v.at"
            ))
            .bind(asked.as_str())
            .fetch_all()
            .await
            .while_("summing what was there before the range")?;
        for row in openings {
            let at = usize::try_from(row.get::<i64>(0)).unwrap_or(usize::MAX);
            if let Some(opening) = balances.get_mut(at) {
                *opening = Split { free: Credits::new(row.get(1)), purchased: Credits::new(row.get(2)) };
            }
        }

        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        // The + keeps SQLite from walking the whole account by seq instead of the range by time.
        let mut found = tx
            .query(set!(at bigint, account_id text, from_at bigint, to_at bigint, last_seq bigint =>
                "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
                        CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at
                    AND +t.seq <= v.last_seq"
            ))
            .bind(asked.as_str())
            .bind(breakdown.map(Breakdown::as_str))
            .fetch();
        while let Some(row) = found.try_next().await.while_("reading the rows of a report")? {
            if rows.len() == REPORT_ROWS_MAX {
                return Err(ReportError::TooManyRows { max: REPORT_ROWS_MAX }.into());
            }
            let (kind, status): (&str, &str) = (row.get(1), row.get(3));
            let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
            let kind = Kind::from_word(kind).ok_or_else(unknown)?;
            let status = Status::from_word(status).ok_or_else(unknown)?;
            let name = row.get::<Option<&str>>(7).map_or(Name::NONE, |name| rows.name(name));
            rows.push(ReportRow {
                account: u32::try_from(row.get::<i64>(0)).unwrap_or(u32::MAX).saturating_add(offset),
                counts_at: kind.counts_at(Instant::from_micros(row.get(2))),
                kind,
                outcome: Outcome::of(kind, status, row.get::<Option<&str>>(4).and_then(Reason::from_word)),
                name,
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
        let ask = |(account_id, from): &'_ (AccountId, Instant)| Since {
            account_id: account_id.clone(),
            from_at: from.micros(),
        };
        let rows = self
            .query(set!(account_id text, from_at bigint =>
                "SELECT t.account_id, CAST(-sum(t.free_delta + t.purchased_delta) AS BIGINT)
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.kind IN ('charge', 'refund')
                  GROUP BY t.account_id"
            ))
            .bind(json(asked.iter().map(ask).collect::<Vec<_>>())?)
            .fetch_all()
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
        let ask = |(at, (account_id, from, to)): (usize, &'_ (AccountId, Instant, Instant))| Asked {
            at,
            account_id: account_id.clone(),
            from_at: from.micros(),
            to_at: to.micros(),
            last_seq: i64::MAX,
        };
        let rows = self
            .query(set!(account_id text, from_at bigint, to_at bigint =>
                "SELECT t.account_id, t.action, count(*) AS uses,
                        CAST(-sum(t.free_delta + t.purchased_delta) AS BIGINT) AS credits
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at < v.to_at
                    AND t.kind = 'charge' AND t.status = 'success'
                  GROUP BY t.account_id, t.action ORDER BY t.account_id, credits DESC, uses DESC, t.action"
            ))
            .bind(json(ranges.iter().enumerate().map(ask).collect::<Vec<_>>())?)
            .fetch_all()
            .await
            .while_("summing the use of actions")?;
        let mut uses: BTreeMap<AccountId, Vec<ActionUse>> = BTreeMap::new();
        for row in rows {
            let action_use = ActionUse {
                action: row.get(1),
                count: row.get::<i64>(2).unsigned_abs(),
                credits: Credits::new(row.get(3)),
            };
            uses.entry(AccountId::new(row.get(0))?).or_default().push(action_use);
        }
        Ok(uses)
    }
}
