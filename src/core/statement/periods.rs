//! Which figures of a report a row counts in: the grid of accounts by periods.
//!
//! The dates of the periods are the same for all accounts; the instants at which they begin are each account's own.

use super::super::calendar::{Calendar, Instant};
use super::{Breakdown, DateRange, ReportAccount, ReportError, ReportSpec, Row, Scope};

/// How many different calendars to look back through for one that an account shares. Where accounts are many, most
/// share zone and allowance with others; where each is different, looking through all would cost their square.
const CALENDARS_COMPARED_MAX: usize = 64;

/// The cells of a report: one per account and period, or one per period for the whole platform. Cell numbers run
/// through the periods of the first account, then of the second.
#[derive(Clone, Debug)]
pub struct Grid {
    periods: Vec<DateRange>,
    /// The sorted instants at which the periods begin, and the end of the last, once per calendar.
    starts: Vec<Vec<Instant>>,
    /// Which of `starts` is each account's.
    starts_of: Vec<usize>,
    scope: Scope,
    breakdown: Option<Breakdown>,
}

/// Where a row counts: a cell, and a group of the breakdown in it; without a breakdown, group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the cell.
    pub cell: usize,
    /// The number of the group.
    pub group: u32,
}

impl Grid {
    /// The grid of `spec` for `accounts`.
    ///
    /// # Errors
    /// [`ReportError::TooManyLines`] when the report would not fit.
    pub fn new(spec: &ReportSpec, accounts: &[ReportAccount]) -> Result<Grid, ReportError> {
        spec.check_size(accounts.len())?;
        let periods = spec.periods();
        let mut calendars: Vec<&Calendar> = Vec::new();
        let mut starts = Vec::new();
        let mut starts_of = Vec::with_capacity(accounts.len());
        for account in accounts {
            let recent = calendars.len().saturating_sub(CALENDARS_COMPARED_MAX);
            let shared = calendars[recent..].iter().position(|calendar| **calendar == account.calendar);
            starts_of.push(shared.map_or(calendars.len(), |at| recent + at));
            if shared.is_none() {
                calendars.push(&account.calendar);
                let begins = periods.iter().map(|period| period.from()).chain([spec.range().to()]);
                starts.push(begins.map(|begin| begin.instant_in(&account.calendar)).collect());
            }
        }
        Ok(Grid { periods, starts, starts_of, scope: spec.scope(), breakdown: spec.breakdown() })
    }

    /// The periods, in order; at least one.
    #[must_use]
    pub fn periods(&self) -> &[DateRange] {
        &self.periods
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> usize {
        match self.scope {
            Scope::Account => self.starts_of.len() * self.periods.len(),
            Scope::Platform => self.periods.len(),
        }
    }

    /// The instants at which the periods begin for account number `account`, and at which the last is over.
    #[must_use]
    pub fn starts_of(&self, account: usize) -> &[Instant] {
        self.starts_of.get(account).map_or(&[], |at| &self.starts[*at])
    }

    /// The same for every calendar there is.
    pub fn all_starts(&self) -> impl Iterator<Item = &[Instant]> {
        self.starts.iter().map(Vec::as_slice)
    }

    /// The cell of a period of an account.
    #[must_use]
    pub const fn cell(&self, account: usize, period: usize) -> usize {
        match self.scope {
            Scope::Account => account * self.periods.len() + period,
            Scope::Platform => period,
        }
    }

    /// Where a row counts; `None` when it lies outside the range.
    ///
    /// # Errors
    /// [`ReportError::ForeignRow`] when there is no such account.
    pub fn place_of(&self, row: &Row) -> Result<Option<Place>, ReportError> {
        let group = self.breakdown.map_or(0, |breakdown| breakdown.group_of(row));
        Ok(self.cell_of(row.account, row.counts_at)?.map(|cell| Place { cell, group }))
    }

    /// The cell in which a row of account number `account` counts; `None` when it lies outside the range.
    ///
    /// # Errors
    /// [`ReportError::ForeignRow`] when there is no such account.
    fn cell_of(&self, account: u32, counts_at: Instant) -> Result<Option<usize>, ReportError> {
        let foreign = ReportError::ForeignRow { account, accounts: self.starts_of.len() };
        let account = usize::try_from(account).unwrap_or(usize::MAX);
        let starts = &self.starts[*self.starts_of.get(account).ok_or(foreign)?];
        let begun = starts.partition_point(|start| *start <= counts_at);
        if begun == 0 || begun == starts.len() {
            return Ok(None);
        }
        Ok(Some(self.cell(account, begun - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Terms, parse_date, parse_zone};
    use crate::core::credits::{Credits, Split};
    use crate::core::statement::Grouping;

    fn grid(from: &str, to: &str, grouping: Grouping, scope: Scope) -> Grid {
        let date = |text| parse_date(text).expect("a date");
        let range = DateRange::new(date(from), date(to)).expect("a range");
        let spec = ReportSpec::new("t", range, grouping, scope, Instant::MAX).expect("valid");
        let accounts = ["Europe/Berlin", "America/New_York", "Europe/Berlin"].map(|zone| ReportAccount {
            id: zone.replace('/', "_").parse().expect("an id"),
            calendar: Calendar::new(Terms {
                from: "2020-01".parse().expect("a month"),
                zone: parse_zone(zone).expect("a zone"),
                allowance: Credits::new(1_500),
            }),
            opening: Split::ZERO,
        });
        Grid::new(&spec, &accounts).expect("small")
    }

    #[test]
    fn a_row_falls_where_its_own_calendar_says() {
        let at = |text: &str| text.parse::<Instant>().expect("an instant");
        let days = grid("2026-03-01", "2026-03-04", Grouping::Day, Scope::Account);
        let cell = |account, t| days.cell_of(account, at(t)).expect("a known account");
        assert_eq!(days.cells(), 9);
        assert_eq!(cell(0, "2026-02-28T22:59:59Z"), None);
        assert_eq!(cell(0, "2026-02-28T23:00:00Z"), Some(0));
        assert_eq!(cell(2, "2026-03-03T22:59:59Z"), Some(8));
        assert_eq!(cell(2, "2026-03-03T23:00:00Z"), None);
        assert_eq!(cell(1, "2026-03-03T23:00:00Z"), Some(5));
        let foreign = Err(ReportError::ForeignRow { account: 3, accounts: 3 });
        assert_eq!(days.cell_of(3, at("2026-03-03T23:00:00Z")), foreign);
        let platform = grid("2026-03-01", "2026-03-04", Grouping::Day, Scope::Platform);
        assert_eq!((platform.cells(), platform.cell_of(1, at("2026-03-03T23:00:00Z"))), (3, Ok(Some(2))));
    }
}
