//! What was asked of a report, validated and bounded before anything is read.

use super::super::calendar::{Instant, Month, next_day};
use super::super::transaction::words;
use super::{Column, DateRange, Filters, LINES_PER_PERIOD, LocalTime, ReportError};
use chrono::{Datelike, Days, NaiveDate};

/// Most periods of a report by day: five years, each of 366 days.
pub const PERIOD_DAYS_MAX: u64 = 5 * 366;
/// Most periods of a report by week: twenty years.
pub const PERIOD_WEEKS_MAX: u64 = 20 * 53;
/// Most periods of a report by month: fifty years.
pub const PERIOD_MONTHS_MAX: u64 = 600;
/// Most lines of a report: about 0.6 GB in memory, six times what a spreadsheet opens.
pub const REPORT_LINES_MAX: u64 = 6_000_000;
/// Most transactions that one report adds up: they take about 3 GB of memory.
pub const REPORT_ROWS_MAX: usize = 50_000_000;

words! {
    /// How long a period of the report is.
    Grouping {
        /// The whole range is one period.
        Range = "range",
        /// One local day; the first and the last may be cut at the ends of the range, as all below.
        Day = "day",
        /// One week of ISO 8601, from Monday on.
        Week = "week",
        /// One local month.
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

words! {
    /// By what the use of credits in a period is broken down.
    Breakdown {
        /// By the action that took them.
        Action = "action",
        /// By who performed the action. The platform is by the same id in all accounts.
        User = "user",
        /// By the pools that each transaction touched (R7).
        Type = "type",
        /// By how the actions ended.
        Status = "status",
        /// Into its transactions: the log, which has no periods.
        Transaction = "transaction",
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSpec {
    title: String,
    range: DateRange,
    grouping: Grouping,
    breakdown: Option<Breakdown>,
    scope: Scope,
    columns: Vec<Column>,
    filters: Filters,
    compares: bool,
    is_bare: bool,
    is_drawn: bool,
    as_of: Instant,
}

impl ReportSpec {
    /// A statement with all its columns.
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
        let columns = Column::all_of(None);
        let (title, filters) = (title.into(), Filters::default());
        let (breakdown, compares, is_bare, is_drawn) = (None, false, false, false);
        let spec = ReportSpec {
            title,
            range,
            grouping,
            breakdown,
            scope,
            columns,
            filters,
            compares,
            is_bare,
            is_drawn,
            as_of,
        };
        let max = match grouping {
            Grouping::Range => 1,
            Grouping::Day => PERIOD_DAYS_MAX,
            Grouping::Week => PERIOD_WEEKS_MAX,
            Grouping::Month => PERIOD_MONTHS_MAX,
        };
        match spec.period_count() {
            found if found > max => Err(ReportError::TooManyPeriods { found, unit: grouping, max }),
            _ => Ok(spec),
        }
    }

    /// The same report with each period broken down, with all columns that such a report has. A log has one period.
    #[must_use]
    pub fn with_breakdown(self, breakdown: Option<Breakdown>) -> ReportSpec {
        let grouping = if breakdown == Some(Breakdown::Transaction) { Grouping::Range } else { self.grouping };
        ReportSpec { breakdown, grouping, columns: Column::all_of(breakdown), ..self }
    }

    /// The same report about some transactions only.
    ///
    /// # Errors
    /// [`ReportError::FilteredStatement`] for a statement, which would not add up; [`ReportError::TooManyValues`].
    pub fn with_filters(self, filters: Filters) -> Result<ReportSpec, ReportError> {
        filters.check()?;
        if self.breakdown.is_none() && !filters.is_empty() {
            return Err(ReportError::FilteredStatement);
        }
        Ok(ReportSpec { filters, ..self })
    }

    /// The same report, compared with that of the range before.
    ///
    /// # Errors
    /// [`ReportError::Year`] when that begins before the years that creditd knows.
    pub fn with_comparison(self, compares: bool) -> Result<ReportSpec, ReportError> {
        if compares {
            self.range.before()?;
        }
        Ok(ReportSpec { compares, ..self })
    }

    /// The same report with these columns, in this order.
    ///
    /// # Errors
    /// [`ReportError::Columns`] when there is none, or one twice; [`ReportError::NoSuchColumn`] for one that such a
    /// report does not have.
    pub fn with_columns(mut self, columns: Vec<Column>) -> Result<ReportSpec, ReportError> {
        if let Some(column) = columns.iter().find(|column| !column.is_in(self.breakdown)) {
            return Err(ReportError::NoSuchColumn { column: *column, breakdown: self.breakdown });
        }
        let twice = columns.iter().enumerate().any(|(at, column)| columns[..at].contains(column));
        if columns.is_empty() || twice {
            return Err(ReportError::Columns);
        }
        self.columns = columns;
        Ok(self)
    }

    /// The same report for a form that has room for its lines alone: nothing else is read.
    #[must_use]
    pub fn bare(self) -> ReportSpec {
        ReportSpec { is_bare: true, compares: false, ..self }
    }

    /// The same report for a form that has charts: where it has nothing to compare itself, its days are read, too.
    #[must_use]
    pub fn drawn(self, is_drawn: bool) -> ReportSpec {
        ReportSpec { is_drawn, ..self }
    }

    /// The statement by day that is drawn in place of a drawn statement of one account that has one period of several days.
    #[must_use]
    pub fn by_day(&self, accounts: usize) -> Option<ReportSpec> {
        let is_of_one = self.scope == Scope::Account && accounts == 1 && self.breakdown.is_none();
        let is_one_period = self.period_count() == 1 && (2..=PERIOD_DAYS_MAX).contains(&self.range.days());
        (self.is_drawn && is_of_one && is_one_period).then(|| {
            let columns = Column::all_of(None);
            ReportSpec { grouping: Grouping::Day, columns, is_drawn: false, ..self.clone().bare() }
        })
    }

    /// True where nothing stands beside its lines.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// How the report is called.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The time it covers.
    #[must_use]
    pub const fn range(&self) -> DateRange {
        self.range
    }

    /// How long its periods are.
    #[must_use]
    pub const fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// By what its periods are broken down; `None` for a statement.
    #[must_use]
    pub const fn breakdown(&self) -> Option<Breakdown> {
        self.breakdown
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

    /// Which transactions it is about.
    #[must_use]
    pub const fn filters(&self) -> &Filters {
        &self.filters
    }

    /// The report of the range before, as one period without a comparison of its own; `None` when it is not compared.
    #[must_use]
    pub fn before(&self) -> Option<ReportSpec> {
        let range = self.range.before().ok().filter(|_| self.compares)?;
        Some(ReportSpec { range, ..self.clone().as_one_period() })
    }

    /// The same report of the whole range at once, without a comparison.
    #[must_use]
    pub fn as_one_period(self) -> ReportSpec {
        ReportSpec { grouping: Grouping::Range, compares: false, ..self }
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
            Grouping::Week => {
                let weeks = (monday_of(self.range.last_day()) - monday_of(self.range.from().date())).num_weeks();
                weeks.unsigned_abs() + 1
            }
            Grouping::Month => {
                let months = Month::of(self.range.from().date()).months_until(Month::of(self.range.last_day()));
                u64::from(months.unsigned_abs()) + 1
            }
        }
    }

    /// Its periods in order, which tile the range.
    #[must_use]
    pub fn periods(&self) -> Vec<DateRange> {
        let step: fn(NaiveDate) -> NaiveDate = match self.grouping {
            Grouping::Range => |_| NaiveDate::MAX,
            Grouping::Day => next_day,
            Grouping::Week => |date| monday_of(date) + Days::new(7),
            Grouping::Month => |date| Month::of(date).next().first_day(),
        };
        let next = |begin: &LocalTime| Some(LocalTime::from(step(begin.date())));
        let begins = std::iter::successors(Some(self.range.from()), next);
        let begins: Vec<LocalTime> = begins.take_while(|begin| *begin < self.range.to()).collect();
        let ends = begins.iter().skip(1).copied().chain([self.range.to()]);
        begins.iter().zip(ends).map(|(from, to)| DateRange::piece(*from, to)).collect()
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

/// The Monday on or before `date`.
fn monday_of(date: NaiveDate) -> NaiveDate {
    date - Days::new(date.weekday().num_days_from_monday().into())
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
        assert!(spec("2020-01-01", "2025-01-01", Grouping::Day).is_ok());
        let error = spec("2020-01-01", "2026-01-01", Grouping::Day).expect_err("six years");
        insta::assert_snapshot!(error, @"2,192 days in one report; the most is 1,830: ask for a shorter range or group by a longer period");
        assert!(spec("2020-01-01", "2069-12-31", Grouping::Month).is_ok());
        assert!(spec("2020-01-01", "2070-01-02", Grouping::Month).is_err());
        assert!(spec("2020-01-01", "2040-01-01", Grouping::Week).is_ok());
        assert!(spec("2020-01-01", "2041-01-01", Grouping::Week).is_err());
    }

    #[test]
    fn lines_are_bounded_by_accounts_but_not_for_the_platform() {
        let year = spec("2025-01-01", "2026-01-01", Grouping::Day).expect("valid");
        assert_eq!(year.check_size(5_400), Ok(()));
        assert!(matches!(year.check_size(5_500), Err(ReportError::TooManyLines { found: 6_022_500, .. })));
        let all = ReportSpec::new("t", year.range(), Grouping::Day, Scope::Platform, Instant::MAX).expect("valid");
        assert_eq!(all.check_size(usize::MAX), Ok(()));
    }

    #[test]
    fn only_one_period_of_one_account_is_drawn_by_day() {
        let spec = |from, to, grouping| spec(from, to, grouping).expect("valid").drawn(true);
        let month = spec("2026-03-01", "2026-04-01", Grouping::Month);
        let days = month.by_day(1).expect("drawn");
        assert_eq!((days.grouping(), days.range(), days.is_bare()), (Grouping::Day, month.range(), true));
        assert_eq!((days.by_day(1), month.by_day(2), month.clone().drawn(false).by_day(1)), (None, None, None));
        assert_eq!(month.with_breakdown(Some(Breakdown::Action)).by_day(1), None);
        assert_eq!(spec("2026-03-01", "2026-05-01", Grouping::Month).by_day(1), None, "it compares its months");
        assert_eq!(spec("2026-03-01", "2026-03-02", Grouping::Range).by_day(1), None, "a day");
        assert_eq!(spec("2000-01-01", "2040-01-01", Grouping::Range).by_day(1), None, "more than a report has");
    }

    #[test]
    fn columns_are_a_choice_without_repetition() {
        let spec = spec("2026-01-01", "2026-02-01", Grouping::Range).expect("valid");
        assert_eq!((spec.columns().first(), spec.columns().last()), (Some(&Column::Account), Some(&Column::Refused)));
        let by_user = spec.clone().with_breakdown(Some(Breakdown::User));
        let names: Vec<&str> = by_user.columns().iter().map(|column| column.as_str()).collect();
        insta::assert_snapshot!(names.join(" "), @"account from to user credit_type consumed refunded succeeded failed refused");
        let error = by_user.with_columns(vec![Column::User, Column::Remaining]).expect_err("of a statement");
        insta::assert_snapshot!(error, @"a breakdown by user has no column remaining: by user there are consumed, refunded and the counts");
        let error = spec.clone().with_columns(vec![Column::User]).expect_err("of a breakdown");
        insta::assert_snapshot!(error, @"a statement has no column user: a breakdown by it has");
        assert_eq!(spec.clone().with_columns(vec![]), Err(ReportError::Columns));
        assert_eq!(spec.clone().with_columns(vec![Column::From, Column::From]), Err(ReportError::Columns));
        let two = spec.with_columns(vec![Column::Remaining, Column::From]).expect("valid");
        assert_eq!(two.columns(), [Column::Remaining, Column::From]);
    }

    #[test]
    fn periods_are_cut_at_the_ends_of_the_range() {
        let shown = |from: &str, to: &str, grouping| {
            let local = |text: &str| text.parse::<LocalTime>().expect("a local time");
            let range = DateRange::new(local(from), local(to)).expect("a range");
            let spec = ReportSpec::new("t", range, grouping, Scope::Account, Instant::MAX).expect("valid");
            let periods = spec.periods();
            assert_eq!(periods.len() as u64, spec.period_count());
            let ranges: Vec<String> = periods.iter().map(|range| format!("{}..{}", range.from(), range.to())).collect();
            ranges.join(" ")
        };
        insta::assert_snapshot!(shown("2026-01-20", "2026-03-02", Grouping::Month),
            @"2026-01-20..2026-02-01 2026-02-01..2026-03-01 2026-03-01..2026-03-02");
        insta::assert_snapshot!(shown("2026-02-27", "2026-03-02", Grouping::Day),
            @"2026-02-27..2026-02-28 2026-02-28..2026-03-01 2026-03-01..2026-03-02");
        insta::assert_snapshot!(shown("2026-01-20", "2026-03-02", Grouping::Range), @"2026-01-20..2026-03-02");
        insta::assert_snapshot!(shown("2025-12-31", "2026-01-12T00:01", Grouping::Week),
            @"2025-12-31..2026-01-05 2026-01-05..2026-01-12 2026-01-12..2026-01-12T00:01");
        insta::assert_snapshot!(shown("2013-03-10T06:00", "2013-03-12T18:30", Grouping::Day),
            @"2013-03-10T06:00..2013-03-11 2013-03-11..2013-03-12 2013-03-12..2013-03-12T18:30");
        insta::assert_snapshot!(shown("2013-03-10T06:00", "2013-03-10T18:30", Grouping::Week), @"2013-03-10T06:00..2013-03-10T18:30");
    }
}
