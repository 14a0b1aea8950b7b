//! What the statements of many accounts are made of, read by one statement: a mail names actions and users both, and says why
//! actions were refused.

use super::bulk::{Gather, Line, Parameter};
use super::report::{ReportRange, asked_of};
use super::sql::set;
use super::{Result, Store, StoreError};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::statement::{Name, Outcome, REPORT_ROWS_MAX, ReportError, Row, Rows};
use crate::core::transaction::{Kind, Reason, Status};
use std::collections::BTreeMap;

/// The rows of one account's statement.
#[derive(Clone, Debug, Default)]
pub struct StatementRows {
    /// What was there before the range.
    pub opening: Split,
    /// The rows of the range, named by action.
    pub by_action: Rows,
    /// The same rows, named by user.
    pub by_user: Rows,
    /// Actions that were refused in the range, by reason.
    pub refused: BTreeMap<Reason, u64>,
}

impl StatementRows {
    /// Adds `row`, which may lie at the edge of the range and so outside it; its own name does not count.
    pub fn add(&mut self, row: Row, action: Option<&str>, user: Option<&str>) {
        let named = |rows: &mut Rows, text: Option<&str>| {
            let name = text.map_or(Name::NONE, |text| rows.name(text));
            rows.push(Row { name, ..row });
        };
        named(&mut self.by_action, action);
        named(&mut self.by_user, user);
    }
}

struct Reading {
    /// The first instant of each range, and the first after it.
    bounds: Vec<(Instant, Instant)>,
    found: Vec<StatementRows>,
    rows: usize,
}

impl Gather for Reading {}

impl Reading {
    fn of(&mut self, at: i64) -> Option<&mut StatementRows> {
        self.found.get_mut(usize::try_from(at).ok()?)
    }

    fn opening(&mut self, row: &dyn Line) -> Result<()> {
        if let Some(found) = self.of(row.int(0)) {
            found.opening = Split { free: Credits::new(row.int(1)), purchased: Credits::new(row.int(2)) };
        }
        Ok(())
    }

    fn row(&mut self, row: &dyn Line) -> Result<()> {
        self.rows += 1;
        if self.rows > REPORT_ROWS_MAX {
            return Err(ReportError::TooManyRows { max: REPORT_ROWS_MAX }.into());
        }
        let (kind, status) = (row.text(1).unwrap_or_default(), row.text(3).unwrap_or_default());
        let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
        let kind = Kind::from_word(kind).ok_or_else(unknown)?;
        let status = Status::from_word(status).ok_or_else(unknown)?;
        let reason = row.text(4).and_then(Reason::from_word);
        let counts_at = kind.counts_at(Instant::from_micros(row.int(2)));
        let outcome = Outcome::of(kind, status, reason);
        let Some((from, to)) = usize::try_from(row.int(0)).ok().and_then(|at| self.bounds.get(at).copied()) else {
            return Ok(());
        };
        let is_inside = from <= counts_at && counts_at < to;
        let Some(found) = self.of(row.int(0)) else { return Ok(()) };
        if let (true, Outcome::Refused, Some(reason)) = (is_inside, outcome, reason) {
            *found.refused.entry(reason).or_default() += 1;
        }
        let delta = Split { free: Credits::new(row.int(5)), purchased: Credits::new(row.int(6)) };
        let read = Row { account: 0, counts_at, kind, outcome, name: Name::NONE, delta };
        found.add(read, row.text(7), row.text(8));
        Ok(())
    }
}

impl Store {
    /// What the statements of `ranges` are made of, in their order: each as of its `last_seq`, from the row behind `after_seq` on.
    ///
    /// # Errors
    /// [`StoreError`], also when there are more than [`REPORT_ROWS_MAX`] rows.
    pub async fn statement_rows(&self, ranges: &[(usize, ReportRange)]) -> Result<Vec<StatementRows>> {
        let asked = asked_of(ranges)?;
        let openings = set!(at bigint, account_id text, from_at bigint, after_seq bigint, last_seq bigint =>
            "SELECT v.at, CAST(sum(t.free_delta) AS BIGINT), CAST(sum(t.purchased_delta) AS BIGINT)
               FROM v CROSS JOIN transactions AS t
              WHERE t.account_id = v.account_id AND t.seq > v.after_seq AND t.seq <= v.last_seq
                AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < v.from_at
              GROUP BY v.at"
        );
        // The + keeps SQLite from walking the whole account by seq instead of the range by time.
        let rows = set!(at bigint, account_id text, from_at bigint, to_at bigint, after_seq bigint, last_seq bigint =>
            "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta, t.action, t.user_id
               FROM v CROSS JOIN transactions AS t
              WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at
                AND +t.seq > v.after_seq AND +t.seq <= v.last_seq");
        let bounds = ranges.iter().map(|(_, range)| (range.from, range.to)).collect();
        let reading = Reading { bounds, found: vec![StatementRows::default(); ranges.len()], rows: 0 };
        let bulk = self.bulk(reading).await?;
        let doing = "summing what was there before statements";
        let bulk = bulk.each(openings, vec![Parameter::Text(asked.clone())], Reading::opening, doing).await?;
        let doing = "reading the rows of statements";
        let bulk = bulk.each(rows, vec![Parameter::Text(asked)], Reading::row, doing).await?;
        Ok(bulk.finish().await.found)
    }
}
