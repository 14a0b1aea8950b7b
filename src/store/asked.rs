//! What reports read beside the rows that all of them add up: transactions that pass filters, whole for a log or as rows for
//! a breakdown, and what statements say of money and accounts.

use super::bulk::Parameter;
use super::report::{BegunRead, begin};
use super::sql::{Sql, set};
use super::stored::{columns, read_entries, read_transaction};
use super::{ReportRange, Result, Store, StoreError, While, json};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::statement::{Bought, Breakdown, Filters, LOG_ROWS_MAX, ReportError, undo};
use crate::core::transaction::{GrantId, Money, Transaction};
use futures_util::TryStreamExt;
use serde::Serialize;
use std::collections::BTreeMap;

/// An account with its range, or a value of a filter.
#[derive(Default, Serialize)]
struct Asked<'a> {
    at: Option<usize>,
    account_id: Option<&'a AccountId>,
    from_at: Option<i64>,
    to_at: Option<i64>,
    last_seq: Option<i64>,
    filter: Option<&'a str>,
    wanted: Option<&'a str>,
}

fn parameter(ranges: &[(usize, ReportRange)], filters: &Filters) -> Result<String> {
    let accounts = ranges.iter().map(|(at, range)| Asked {
        at: Some(*at),
        account_id: Some(&range.account),
        from_at: Some(range.from.micros()),
        to_at: Some(range.to.micros()),
        last_seq: Some(range.last_seq),
        ..Asked::default()
    });
    let said = filters.said();
    let values = said.iter().flat_map(|(filter, values)| {
        values.iter().map(|wanted| Asked { filter: Some(filter), wanted: Some(wanted), ..Asked::default() })
    });
    json(accounts.chain(values).collect::<Vec<_>>())
}

/// A grant of an account.
#[derive(Serialize)]
struct AskedGrant<'a> {
    at: usize,
    account_id: &'a AccountId,
    grant_id: i64,
}

/// What counts in the range of an account, as that account's ledger was loaded. The + keeps SQLite from walking the whole
/// account by seq instead of the range by time.
macro_rules! in_range {
    () => {
        "t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at AND +t.seq <= v.last_seq
         AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END >= v.from_at
         AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < v.to_at"
    };
}

/// `$what` of the transaction passes the filter of that name: there is no value of it, or one is that of the transaction.
macro_rules! passes {
    ($name:literal, $what:literal) => {
        concat!(
            " AND (NOT EXISTS (SELECT 1 FROM v AS f WHERE f.filter = '",
            $name,
            "') OR ",
            $what,
            " IN (SELECT f.wanted FROM v AS f WHERE f.filter = '",
            $name,
            "'))"
        )
    };
}

/// [`Filters::admit`] in SQL.
macro_rules! passes_all {
    () => {
        concat!(
            passes!("action", "coalesce(t.action, '')"),
            passes!("user", "coalesce(t.user_id, '')"),
            passes!(
                "type",
                "CASE WHEN t.free_delta <> 0 AND t.purchased_delta <> 0 THEN 'mixed' WHEN t.free_delta <> 0 THEN 'free'
                      WHEN t.purchased_delta <> 0 THEN 'purchased' ELSE 'none' END"
            ),
            passes!(
                "status",
                "CASE WHEN t.kind <> 'charge' OR t.status = 'success' THEN 'succeeded'
                      WHEN t.reason IS NULL THEN 'failed' ELSE 'refused' END"
            )
        )
    };
}

/// A set of [`Asked`].
macro_rules! asked {
    ($sql:expr) => {
        set!(at bigint, account_id text, from_at bigint, to_at bigint, last_seq bigint, filter text, wanted text => $sql)
    };
}

const LOG: Sql = asked!(concat!(
    "SELECT ",
    columns!(),
    ", v.at FROM v CROSS JOIN transactions AS t WHERE ",
    in_range!(),
    passes_all!(),
    " LIMIT $2"
));
const USES: Sql = asked!(concat!(
    "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
            CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
       FROM v CROSS JOIN transactions AS t
      WHERE t.kind IN ('charge', 'hold', 'release', 'refund') AND ",
    in_range!(),
    passes_all!()
));
const ACTIVE: Sql = asked!(concat!(
    "SELECT CAST(coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM transactions AS t WHERE ",
    in_range!(),
    " AND t.kind = 'charge' AND t.status = 'success') THEN 1 ELSE 0 END), 0) AS BIGINT),
      CAST(coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM transactions AS t WHERE ",
    in_range!(),
    " AND t.reason = 'insufficient_credits') THEN 1 ELSE 0 END), 0) AS BIGINT) FROM v"
));
const BOUGHT: Sql = asked!(
    "SELECT v.at, t.seq, t.occurred_at, t.quantity, t.purchased_delta, t.money_minor, t.currency,
            r.occurred_at, r.purchased_delta
       FROM v CROSS JOIN payments AS p CROSS JOIN transactions AS t
       LEFT JOIN transactions AS r
         ON r.account_id = t.account_id AND r.corrects = t.seq AND r.kind = 'return' AND r.seq <= v.last_seq
      WHERE p.account_id = v.account_id AND t.account_id = p.account_id AND t.seq = p.purchase_id
        AND t.seq <= v.last_seq AND t.occurred_at < v.to_at"
);
/// As the index of open grants has it; what holds nothing now but did at the end of the range comes back by [`undo`].
const HELD: Sql = asked!(
    "SELECT v.at, g.grant_id, g.remaining FROM v CROSS JOIN grants AS g
      WHERE g.account_id = v.account_id AND g.remaining > 0 AND g.credit_type = 'purchased'"
);
const ENDS: Sql = set!(at bigint, account_id text, grant_id bigint =>
    "SELECT v.at, g.grant_id, g.expires_at FROM v CROSS JOIN grants AS g
      WHERE g.account_id = v.account_id AND g.grant_id = v.grant_id AND g.expires_at IS NOT NULL"
);
const SINCE: Sql = asked!(
    "SELECT v.at, t.entries FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.seq > v.last_seq AND t.purchased_delta <> 0"
);
const LATER: Sql = asked!(
    "SELECT v.at, t.entries FROM v CROSS JOIN transactions AS t
      WHERE t.account_id = v.account_id AND t.occurred_at >= v.to_at AND +t.seq <= v.last_seq AND t.purchased_delta <> 0
        AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END >= v.to_at"
);

/// Purchases of an account, and what its grants of purchased credits held at the end of the range.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// Purchases until the end of the range.
    pub bought: Vec<Bought>,
    /// By grant; those that held nothing may be left out.
    pub left: BTreeMap<GrantId, Credits>,
}

impl Store {
    /// The transactions that count in `ranges` and pass `filters`, each with the number of its range, in no order.
    ///
    /// # Errors
    /// [`StoreError`], also when there are more than `rows_max`, at most [`LOG_ROWS_MAX`].
    pub async fn report_log(
        &self,
        ranges: &[(usize, ReportRange)],
        filters: &Filters,
        rows_max: usize,
    ) -> Result<Vec<(usize, Transaction)>> {
        let mut tx = self.read().await?;
        let limit = super::ledgers::limit_of(rows_max.saturating_add(1));
        let mut found = tx.query(LOG).bind(parameter(ranges, filters)?).bind(limit).fetch();
        let mut log = Vec::new();
        while let Some(row) = found.try_next().await.while_("reading the transactions of a log")? {
            if log.len() == rows_max {
                return Err(ReportError::TooManyLogRows { max: LOG_ROWS_MAX }.into());
            }
            let at = usize::try_from(row.get::<i64>(24)).unwrap_or(usize::MAX);
            log.push((at, read_transaction(&row)?.1));
        }
        Ok(log)
    }

    /// Begins to read the uses of credits that count in `ranges` and pass `filters`, named by what `breakdown` asks for, and hands
    /// them on by about `rows` at a time.
    ///
    /// # Errors
    /// [`StoreError`]; more comes with the pieces.
    pub fn begin_uses(
        &self,
        ranges: &[(usize, ReportRange)],
        breakdown: Option<Breakdown>,
        filters: &Filters,
        rows: usize,
    ) -> Result<BegunRead> {
        let parameters =
            vec![Parameter::Text(parameter(ranges, filters)?), Parameter::Word(breakdown.map(Breakdown::as_str))];
        let store = self.clone();
        Ok(begin(rows, |pieces| async move { store.gather_uses(USES, parameters, Some(pieces)).await }))
    }

    /// How many accounts have an action that was done in their range, and how many one that was refused for want of credits.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn active_accounts(&self, ranges: &[(usize, ReportRange)]) -> Result<(u64, u64)> {
        let asked = parameter(ranges, &Filters::default())?;
        let row = self.query(ACTIVE).bind(asked).fetch_one().await.while_("counting active accounts")?;
        Ok((row.get::<i64>(0).unsigned_abs(), row.get::<i64>(1).unsigned_abs()))
    }

    /// What was bought until the end of each range, and what grants held then by the rows that are written, in the order of
    /// `ranges`: what they hold now, without what happened since.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holdings(&self, ranges: &[(usize, ReportRange)]) -> Result<Vec<Holdings>> {
        let asked = parameter(ranges, &Filters::default())?;
        let mut all = vec![Holdings::default(); ranges.len()];
        let places: BTreeMap<i64, usize> = ranges
            .iter()
            .enumerate()
            .map(|(at, (number, _))| (i64::try_from(*number).unwrap_or(i64::MAX), at))
            .collect();
        let place = |row: &super::sql::Row| places.get(&row.get::<i64>(0)).copied().unwrap_or(usize::MAX);
        let mut tx = self.read().await?;
        for row in tx.query(HELD).bind(asked.as_str()).fetch_all().await.while_("reading what grants hold")? {
            if let (Some(holdings), Some(grant)) = (all.get_mut(place(&row)), row.get::<Option<i64>>(1)) {
                holdings.left.insert(GrantId(grant), Credits::new(row.get::<Option<i64>>(2).unwrap_or(0)));
            }
        }
        let mut found = tx.query(BOUGHT).bind(asked.as_str()).fetch();
        while let Some(row) = found.try_next().await.while_("reading what was bought")? {
            let Some(holdings) = all.get_mut(place(&row)) else { continue };
            let returned = row.get::<Option<i64>>(7).map(|at| {
                let taken = Credits::new(row.get::<Option<i64>>(8).unwrap_or(0));
                (Instant::from_micros(at), taken.negated())
            });
            holdings.bought.push(Bought {
                grant: GrantId(row.get(1)),
                occurred_at: Instant::from_micros(row.get(2)),
                packs: row.get(3),
                credits: Credits::new(row.get(4)),
                money: Money {
                    minor: row.get::<Option<i64>>(5).unwrap_or(0),
                    currency: row.get::<Option<String>>(6).unwrap_or_default(),
                },
                returned,
            });
        }
        drop(found);
        for sql in [SINCE, LATER] {
            let mut found = tx.query(sql).bind(asked.as_str()).fetch();
            while let Some(row) = found.try_next().await.while_("reading what happened to purchased credits since")? {
                let Some(holdings) = all.get_mut(place(&row)) else { continue };
                let undone = undo(&mut holdings.left, &read_entries(row.get(1))?);
                undone.map_err(|overflow| StoreError::Corrupt(overflow.to_string()))?;
            }
        }
        Ok(all)
    }
    /// When those of `grants` lapse that do, in no order; a number stands before the account of each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ends(&self, grants: &[(usize, &AccountId, GrantId)]) -> Result<Vec<(usize, GrantId, Instant)>> {
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        let asked = |&(at, account_id, GrantId(grant_id)): &_| AskedGrant { at, account_id, grant_id };
        let asked = json(grants.iter().map(asked).collect::<Vec<_>>())?;
        let rows = self.query(ENDS).bind(asked).fetch_all().await.while_("reading when grants end")?;
        let end = |row: &super::sql::Row| {
            let at = usize::try_from(row.get::<i64>(0)).unwrap_or(usize::MAX);
            (at, GrantId(row.get(1)), Instant::from_micros(row.get(2)))
        };
        Ok(rows.iter().map(end).collect())
    }
}
