//! What reports read: the rows of a range in columns, and what was there before.

use super::bulk::Line;
use super::sql::set;
use super::{Result, Store, StoreError, While, json};
use crate::core::calendar::{BadTime, Calendar, Instant, Terms, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::forecast::{DailyUse, DayUse};
use crate::core::ids::AccountId;
use crate::core::statement::{Breakdown, Name, Outcome, REPORT_ROWS_MAX, ReportError, Row as ReportRow, Rows};
use crate::core::transaction::{Kind, Reason, Status};
use serde::Serialize;

/// An account as far as a report needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// Which.
    pub id: AccountId,
    /// Its terms.
    pub calendar: Calendar,
    /// The number of its last row.
    pub last_seq: i64,
    /// When it has something to roll over.
    pub due_at: Instant,
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
    /// The row behind which the reader needs rows: what is before is known to it. 0 for all.
    pub after_seq: i64,
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
    after_seq: i64,
    last_seq: i64,
}

/// The ranges as a parameter, each by its place among them.
pub(super) fn asked_of(ranges: &[(usize, ReportRange)]) -> Result<String> {
    let ask = |(at, (_, range)): (usize, &(usize, ReportRange))| Asked {
        at,
        account_id: range.account.clone(),
        from_at: range.from.micros(),
        to_at: range.to.micros(),
        after_seq: range.after_seq,
        last_seq: range.last_seq,
    };
    json(ranges.iter().enumerate().map(ask).collect::<Vec<_>>())
}

/// Accounts on their way: their terms come first, then the rest of each, both in the order of their ids.
#[derive(Default)]
struct Accounts {
    found: Vec<StoredAccount>,
    /// Which of them the rest is looked for next.
    at: usize,
}

impl Accounts {
    /// Adds an account, or further terms of the last one.
    fn terms(&mut self, row: &dyn Line) -> Result<()> {
        let text = |at: usize| row.text(at).unwrap_or_default();
        let bad = |error: BadTime| StoreError::Corrupt(error.to_string());
        let terms = Terms {
            from: text(1).parse().map_err(bad)?,
            zone: parse_zone(text(2)).map_err(bad)?,
            allowance: Credits::new(row.int(3)),
        };
        match self.found.last_mut().filter(|account| account.id.as_str() == text(0)) {
            Some(account) => account.calendar.set(terms),
            None => self.found.push(StoredAccount {
                id: AccountId::new(text(0))?,
                calendar: Calendar::new(terms),
                last_seq: 0,
                due_at: Instant::MAX,
            }),
        }
        Ok(())
    }

    fn rest(&mut self, row: &dyn Line) -> Result<()> {
        let id = row.text(0).unwrap_or_default();
        let behind = self.found[self.at..].iter().take_while(|account| account.id.as_str() < id).count();
        self.at += behind;
        if let Some(account) = self.found.get_mut(self.at).filter(|account| account.id.as_str() == id) {
            (account.last_seq, account.due_at) = (row.int(1), Instant::from_micros(row.int(2)));
        }
        Ok(())
    }
}

/// What is read for a report.
struct Reading {
    /// What was there before each range.
    openings: Vec<Split>,
    /// The number of each range's account.
    numbers: Vec<u32>,
    rows: Rows,
}

impl Reading {
    fn opening(&mut self, row: &dyn Line) -> Result<()> {
        let at = usize::try_from(row.int(0)).unwrap_or(usize::MAX);
        if let Some(opening) = self.openings.get_mut(at) {
            *opening = Split { free: Credits::new(row.int(1)), purchased: Credits::new(row.int(2)) };
        }
        Ok(())
    }

    fn row(&mut self, row: &dyn Line) -> Result<()> {
        if self.rows.len() == REPORT_ROWS_MAX {
            return Err(ReportError::TooManyRows { max: REPORT_ROWS_MAX }.into());
        }
        let (kind, status) = (row.text(1).unwrap_or_default(), row.text(3).unwrap_or_default());
        let unknown = || StoreError::Corrupt(format!("transaction of kind {kind:?}, status {status:?}"));
        let kind = Kind::from_word(kind).ok_or_else(unknown)?;
        let status = Status::from_word(status).ok_or_else(unknown)?;
        let name = row.text(7).map_or(Name::NONE, |name| self.rows.name(name));
        let number = usize::try_from(row.int(0)).ok().and_then(|at| self.numbers.get(at));
        self.rows.push(ReportRow {
            account: number.copied().unwrap_or(u32::MAX),
            counts_at: kind.counts_at(Instant::from_micros(row.int(2))),
            kind,
            outcome: Outcome::of(kind, status, row.text(4).and_then(Reason::from_word)),
            name,
            delta: Split { free: Credits::new(row.int(5)), purchased: Credits::new(row.int(6)) },
        });
        Ok(())
    }
}

#[derive(Serialize)]
struct Stretch {
    at: usize,
    account_id: AccountId,
    from_at: i64,
    to_at: i64,
}

impl Store {
    /// The accounts of `chosen` that exist, or all, in the order of their ids: as little of them as a report needs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn report_accounts(&self, chosen: Option<&[AccountId]>) -> Result<Vec<StoredAccount>> {
        // Two walks in order cost less than a look-up of the terms for every account.
        let (terms, rest, asked) = match chosen {
            None => (
                "SELECT account_id, from_month, zone, allowance FROM terms ORDER BY account_id, from_month".into(),
                "SELECT account_id, last_seq, due_at FROM accounts ORDER BY account_id".into(),
                None,
            ),
            Some(chosen) => (
                set!(account_id => "SELECT t.account_id, t.from_month, t.zone, t.allowance
                       FROM v CROSS JOIN terms AS t WHERE t.account_id = v.account_id ORDER BY t.account_id, t.from_month"),
                set!(account_id => "SELECT a.account_id, a.last_seq, a.due_at
                       FROM v CROSS JOIN accounts AS a WHERE a.account_id = v.account_id ORDER BY a.account_id"),
                Some(json(chosen)?),
            ),
        };
        let doing = "reading the accounts of a report";
        let bulk = self.bulk(Accounts::default()).await?;
        let bulk = bulk.each(terms, asked.as_deref(), None, Accounts::terms, doing).await?;
        let bulk = bulk.each(rest, asked.as_deref(), None, Accounts::rest, doing).await?;
        Ok(bulk.finish().found)
    }

    /// Adds the rows that count in `ranges`, each with the number of its account, to `rows`, and returns the balance just
    /// before each range: what the rows from behind `after_seq` until then sum to. Rows at the edge may lie just outside; the
    /// report leaves them out. They are named by what `breakdown` asks for.
    ///
    /// # Errors
    /// [`StoreError`], also when there are more than [`REPORT_ROWS_MAX`] rows.
    pub async fn report_rows(
        &self,
        ranges: &[(usize, ReportRange)],
        breakdown: Option<Breakdown>,
        rows: &mut Rows,
    ) -> Result<Vec<Split>> {
        let asked = asked_of(ranges)?;
        let openings = set!(at bigint, account_id text, from_at bigint, after_seq bigint, last_seq bigint =>
                "SELECT v.at, CAST(sum(t.free_delta) AS BIGINT), CAST(sum(t.purchased_delta) AS BIGINT)
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.seq > v.after_seq AND t.seq <= v.last_seq
                    AND t.occurred_at - CASE t.kind WHEN 'expiry' THEN 1 ELSE 0 END < v.from_at
                  GROUP BY v.at"
        );

        // The + keeps SQLite from walking the whole account by seq instead of the range by time. What is behind a row that is
        // known is found by seq.
        let by_time = set!(at bigint, account_id text, from_at bigint, to_at bigint, last_seq bigint =>
                "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
                        CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at <= v.to_at
                    AND +t.seq <= v.last_seq");
        let by_seq = set!(at bigint, account_id text, from_at bigint, to_at bigint, after_seq bigint, last_seq bigint =>
                "SELECT v.at, t.kind, t.occurred_at, t.status, t.reason, t.free_delta, t.purchased_delta,
                        CASE CAST($2 AS TEXT) WHEN 'action' THEN t.action WHEN 'user' THEN t.user_id END
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.seq > v.after_seq AND t.seq <= v.last_seq
                    AND +t.occurred_at >= v.from_at AND +t.occurred_at <= v.to_at");
        let in_range = if ranges.iter().any(|(_, range)| range.after_seq > 0) { by_seq } else { by_time };
        let numbers = ranges.iter().map(|(number, _)| u32::try_from(*number).unwrap_or(u32::MAX)).collect();
        let reading = Reading { openings: vec![Split::ZERO; ranges.len()], numbers, rows: std::mem::take(rows) };
        let bulk = self.bulk(reading).await?;
        let bulk = bulk
            .each(openings, Some(&asked), None, Reading::opening, "summing what was there before the range")
            .await?;
        let by = breakdown.map(Breakdown::as_str);
        let bulk = bulk.each(in_range, Some(&asked), Some(by), Reading::row, "reading the rows of a report").await?;
        let reading = bulk.finish();
        *rows = reading.rows;
        Ok(reading.openings)
    }

    /// Adds to each account's days what was charged in them, less refunds, by one statement for all.
    ///
    /// The days are asked for as stretches of time, because no database knows where the days of all zones begin as the
    /// calendar does, least of all where an account changed its zone. So each database does what both do alike: it looks up
    /// rows of an account between two instants by an index.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn daily_use(&self, asked: &mut [(AccountId, DailyUse)]) -> Result<()> {
        let ask = |(at, (account_id, daily)): (usize, &(AccountId, DailyUse))| {
            let stretch = |day: &DayUse| Stretch {
                at,
                account_id: account_id.clone(),
                from_at: day.from.micros(),
                to_at: day.to.micros(),
            };
            daily.days().iter().map(stretch).collect::<Vec<_>>()
        };
        let rows = self
            .query(set!(at bigint, account_id text, from_at bigint, to_at bigint =>
                "SELECT v.at, v.from_at, CAST(-sum(t.free_delta + t.purchased_delta) AS BIGINT)
                   FROM v CROSS JOIN transactions AS t
                  WHERE t.account_id = v.account_id AND t.occurred_at >= v.from_at AND t.occurred_at < v.to_at
                    AND t.kind IN ('charge', 'refund')
                  GROUP BY v.at, v.from_at"
            ))
            .bind(json(asked.iter().enumerate().flat_map(ask).collect::<Vec<_>>())?)
            .fetch_all()
            .await
            .while_("summing what was used by day")?;
        for row in &rows {
            if let Some((_, daily)) = usize::try_from(row.get::<i64>(0)).ok().and_then(|at| asked.get_mut(at)) {
                daily.add(Instant::from_micros(row.get(1)), Credits::new(row.get(2)));
            }
        }
        Ok(())
    }
}
