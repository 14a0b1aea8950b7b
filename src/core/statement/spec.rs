//! What was asked of a report, validated and bounded before anything is read.

use super::super::calendar::{Calendar, Instant, Month};
use super::super::transaction::words;
use super::{Column, LINES_PER_PERIOD, ReportError};
use chrono::{Datelike, Days, NaiveDate};

/// Most periods of a report by day: five years, each of 366 days.
pub const PERIOD_DAYS_MAX: u64 = 5 * 366;
/// Most periods of a report by month: fifty years.
pub const PERIOD_MONTHS_MAX: u64 = 600;
/// Most lines of a report: about 300 MB in memory, twice what a spreadsheet opens.
pub const REPORT_LINES_MAX: u64 = 2_000_000;

words! {
    /// How long a period of the report is.
    Grouping {
        /// The whole range is one period.
        Range = "range",
        /// One local day.
        Day = "day",
        /// One local month; the first and the last are cut at the ends of the range.
        Month = "month",
    }
}

words! {
    /// Whom a report is about.
    Scope {
        /// Each account apart.
        Account = "account",
        /// All accounts together. A period is then the sum of each account's own local period.
        Platform = "platform",
    }
}

/// Local days `[from, to)`, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    from: NaiveDate,
    to: NaiveDate,
}

impl DateRange {
    /// The days from `from` until before `to`.
    ///
    /// # Errors
    /// [`ReportError`] when there is no such day or one lies outside the years that creditd knows.
    pub fn new(from: NaiveDate, to: NaiveDate) -> Result<DateRange, ReportError> {
        if from >= to {
            return Err(ReportError::EmptyRange { from, to });
        }
        for day in [from, to - Days::new(1)] {
            Month::new(day.year(), day.month())?;
        }
        Ok(DateRange { from, to })
    }

    /// The days of `month`.
    ///
    /// # Errors
    /// [`ReportError::Year`] when the month lies outside the years that creditd knows.
    pub fn of_month(month: Month) -> Result<DateRange, ReportError> {
        DateRange::new(month.first_day(), month.next().first_day())
    }

    /// First day.
    #[must_use]
    pub const fn from(self) -> NaiveDate {
        self.from
    }

    /// First day after.
    #[must_use]
    pub const fn to(self) -> NaiveDate {
        self.to
    }

    /// Last day.
    #[must_use]
    pub fn last_day(self) -> NaiveDate {
        self.to - Days::new(1)
    }

    /// How many days.
    #[must_use]
    pub fn days(self) -> u64 {
        u64::try_from((self.to - self.from).num_days()).unwrap_or(0)
    }

    /// The month that it is exactly, if it is one.
    #[must_use]
    pub fn as_month(self) -> Option<Month> {
        let month = Month::of(self.from);
        (month.first_day() == self.from && month.next().first_day() == self.to).then_some(month)
    }

    /// Pieces of a valid range need no validation.
    pub(super) const fn piece(from: NaiveDate, to: NaiveDate) -> DateRange {
        DateRange { from, to }
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSpec {
    title: String,
    range: DateRange,
    grouping: Grouping,
    scope: Scope,
    columns: Vec<Column>,
    as_of: Instant,
}

impl ReportSpec {
    /// A report with all columns.
    ///
    /// # Errors
    /// [`ReportError::TooManyPeriods`] when the range has more periods than one report may have.
    pub fn new(
        title: impl Into<String>,
        range: DateRange,
        grouping: Grouping,
        scope: Scope,
        as_of: Instant,
    ) -> Result<ReportSpec, ReportError> {
        let spec = ReportSpec { title: title.into(), range, grouping, scope, columns: Column::ALL.to_vec(), as_of };
        let max = match grouping {
            Grouping::Range => 1,
            Grouping::Day => PERIOD_DAYS_MAX,
            Grouping::Month => PERIOD_MONTHS_MAX,
        };
        match spec.period_count() {
            found if found > max => Err(ReportError::TooManyPeriods { found, unit: grouping, max }),
            _ => Ok(spec),
        }
    }

    /// The same report with these columns, in this order.
    ///
    /// # Errors
    /// [`ReportError::Columns`] when there is none, or one twice.
    pub fn with_columns(mut self, columns: Vec<Column>) -> Result<ReportSpec, ReportError> {
        let twice = columns.iter().enumerate().any(|(at, column)| columns[..at].contains(column));
        if columns.is_empty() || twice {
            return Err(ReportError::Columns);
        }
        self.columns = columns;
        Ok(self)
    }

    /// How the report is called.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The days it covers.
    #[must_use]
    pub const fn range(&self) -> DateRange {
        self.range
    }

    /// When the range begins in `calendar`, and when it is over. Rows that count before it begins make the opening;
    /// rows that count from its end on are not needed.
    #[must_use]
    pub fn instants_in(&self, calendar: &Calendar) -> (Instant, Instant) {
        (calendar.day_start(self.range.from), calendar.day_start(self.range.to))
    }

    /// How long its periods are.
    #[must_use]
    pub const fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// Whom it is about.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Its columns, in order; never empty.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The report reads as the ledger did at this instant: rows recorded later are not in it.
    #[must_use]
    pub const fn as_of(&self) -> Instant {
        self.as_of
    }

    /// How many periods the range has.
    #[must_use]
    pub fn period_count(&self) -> u64 {
        match self.grouping {
            Grouping::Range => 1,
            Grouping::Day => self.range.days(),
            Grouping::Month => {
                let months = Month::of(self.range.from()).months_until(Month::of(self.range.last_day()));
                u64::from(months.unsigned_abs()) + 1
            }
        }
    }

    /// Call before reading: a report about so many accounts must fit.
    ///
    /// # Errors
    /// [`ReportError::TooManyLines`] when it does not.
    pub fn check_size(&self, accounts: usize) -> Result<(), ReportError> {
        let line_sets = match self.scope {
            Scope::Account => u64::try_from(accounts).unwrap_or(u64::MAX),
            Scope::Platform => 1,
        };
        let found = line_sets.saturating_mul(self.period_count()).saturating_mul(LINES_PER_PERIOD as u64);
        if found > REPORT_LINES_MAX {
            return Err(ReportError::TooManyLines { found, max: REPORT_LINES_MAX });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::parse_date;

    fn day(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    fn spec(from: &str, to: &str, grouping: Grouping) -> Result<ReportSpec, ReportError> {
        ReportSpec::new("t", DateRange::new(day(from), day(to))?, grouping, Scope::Account, Instant::MAX)
    }

    #[test]
    fn ranges_are_bounded_before_anything_is_read() {
        assert!(matches!(spec("2026-03-02", "2026-03-02", Grouping::Range), Err(ReportError::EmptyRange { .. })));
        let far = NaiveDate::from_ymd_opt(20_211, 1, 1).expect("chrono knows it");
        assert!(matches!(DateRange::new(day("2021-01-01"), far), Err(ReportError::Year(_))));
        assert!(spec("2020-01-01", "2025-01-01", Grouping::Day).is_ok());
        let error = spec("2020-01-01", "2026-01-01", Grouping::Day).expect_err("six years");
        insta::assert_snapshot!(error, @"2192 days in one report; the most is 1830: ask for a shorter range or group by a longer period");
        assert!(spec("2020-01-01", "2069-12-31", Grouping::Month).is_ok());
        assert!(spec("2020-01-01", "2070-01-02", Grouping::Month).is_err());
    }

    #[test]
    fn lines_are_bounded_by_accounts_but_not_for_the_platform() {
        let year = spec("2025-01-01", "2026-01-01", Grouping::Day).expect("valid");
        assert_eq!(year.check_size(1_800), Ok(()));
        assert!(matches!(year.check_size(1_900), Err(ReportError::TooManyLines { found: 2_080_500, .. })));
        let all = ReportSpec::new("t", year.range(), Grouping::Day, Scope::Platform, Instant::MAX).expect("valid");
        assert_eq!(all.check_size(usize::MAX), Ok(()));
    }

    #[test]
    fn columns_are_a_choice_without_repetition() {
        let spec = spec("2026-01-01", "2026-02-01", Grouping::Range).expect("valid");
        assert_eq!(spec.columns(), Column::ALL);
        assert_eq!(spec.clone().with_columns(vec![]), Err(ReportError::Columns));
        assert_eq!(spec.clone().with_columns(vec![Column::From, Column::From]), Err(ReportError::Columns));
        let two = spec.with_columns(vec![Column::Remaining, Column::From]).expect("valid");
        assert_eq!(two.columns(), [Column::Remaining, Column::From]);
    }

    #[test]
    fn a_range_knows_when_it_is_a_month() {
        let range = |from, to| DateRange::new(day(from), day(to)).expect("valid");
        assert_eq!(range("2024-02-01", "2024-03-01").as_month(), "2024-02".parse().ok());
        assert_eq!(range("2024-02-01", "2024-02-29").as_month(), None);
        assert_eq!(range("2024-02-01", "2024-04-01").as_month(), None);
    }
}
