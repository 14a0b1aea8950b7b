//! Statements and reports as plain values: what was asked ([`ReportSpec`]), what was read ([`Rows`]), what came
//! out ([`ReportModel`]). Definitions of every figure: DESIGN section 4.
//!
//! A report is a pure function of its spec, the accounts' calendars and openings, and ledger rows. [`fold`] is the
//! small plain form of that function; the polars form lives in the report layer and must give the same model.
//! Nothing here knows how a report is shown.
//!
//! A statement has a triple of lines for each period; a [`Breakdown`] has one for each action, user, type or status that
//! used credits in the period, with what there is of a use: consumed, refunded and the counts.
//!
//! Invariants, for every model that [`fold`] returns:
//! - every line of a statement, and every subtotal and total, closes: `carried_in + allocated + purchased + bonus - consumed + refunded - lapsed - returned +
//!   adjusted = remaining`, and `remaining` is the `carried_in` of the next period;
//! - lines come in triples free, purchased, total, sorted by account, then by period, then actions and users by what they
//!   used, types and statuses in the order of their words;
//! - subtotals and totals are sums of lines, and the same whatever the periods and the breakdown.

mod beside;
mod filters;
mod fold;
mod groups;
mod headings;
mod lapses;
mod lines;
mod log;
mod marks;
mod money;
mod periods;
mod range;
mod rows;
mod said;
mod spec;
mod tally;

#[cfg(test)]
pub(crate) mod testing;

pub use beside::{Beside, Comparison, Reading, TOP_MAX, Top};
pub use filters::{FILTER_VALUES_MAX, Filters};
pub use fold::{assemble, fold};
pub use groups::Group;
pub use lapses::{Lapse, LapseCause};
pub use lines::{LINES_PER_PERIOD, Line, Lines};
pub use log::{LOG_COLUMNS, LOG_ROWS_MAX, LogRow, Record, sort_log};
pub use marks::{Ahead, Marks};
pub use money::{Bought, Facts, Sales, redo, undo};
pub use periods::{Grid, Place};
pub use range::{DateRange, LocalTime};
pub use rows::{Ending, Name, Outcome, Row, Rows};
pub use said::{Changed, FIGURES, Said};
pub use spec::{
    Breakdown, Grouping, PERIOD_DAYS_MAX, PERIOD_MONTHS_MAX, PERIOD_WEEKS_MAX, REPORT_LINES_MAX, REPORT_ROWS_MAX,
    ReportSpec, Scope,
};
pub use tally::{Adding, Sum, SumKey, Tally};

use super::calendar::{Calendar, Instant};
use super::counting::grouped;
use super::credits::{Credits, Overflow, Split};
use super::ids::AccountId;
use super::transaction::words;
use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

words! {
    /// The columns of every report, in their order; the same names in every format.
    Column {
        /// The account; blank for the whole platform.
        Account = "account",
        /// First local day of the period, or the time at which it begins within a day.
        From = "from",
        /// First local day after the period, or the time at which it ends within a day.
        To = "to",
        /// The action, in a breakdown by it; blank for none.
        Action = "action",
        /// The user, in a breakdown by it; blank for none.
        User = "user",
        /// `free`, `purchased`, `mixed` or `none`, in a breakdown by it.
        Type = "type",
        /// `succeeded`, `failed` or `refused`, in a breakdown by it.
        Status = "status",
        /// `free`, `purchased` or `total`.
        CreditType = "credit_type",
        /// Credits that were there when the period began.
        CarriedIn = "carried_in",
        /// Free credits of the month (R2).
        Allocated = "allocated",
        /// Credits of packs bought (R12).
        Purchased = "purchased",
        /// Credits granted by operators (R13).
        Bonus = "bonus",
        /// Credits taken by actions, gross (R7), and those held for actions that are not settled (R10).
        Consumed = "consumed",
        /// Credits given back of earlier charges (R11).
        Refunded = "refunded",
        /// Credits that disappeared unused when their grant ended (R4).
        Lapsed = "lapsed",
        /// Unspent purchased credits that were returned (R12).
        Returned = "returned",
        /// Corrections by operators, signed (R13).
        Adjusted = "adjusted",
        /// Credits that were there when the period was over.
        Remaining = "remaining",
        /// Actions done.
        Succeeded = "succeeded",
        /// Actions that failed at the platform.
        Failed = "failed",
        /// Actions that creditd refused, with a reason.
        Refused = "refused",
        /// When a transaction of a log occurred, by the clock of its account.
        LocalTime = "local_time",
        /// When it occurred, in UTC.
        OccurredAt = "occurred_at",
        /// What it is.
        Kind = "kind",
        /// How many actions or packs.
        Quantity = "quantity",
        /// Credits that a charge or hold took, the signed change of all else.
        Credits = "credits",
        /// The free part of them; the purchased part stands under `purchased`.
        Free = "free",
        /// Free text of whoever caused it.
        Comment = "comment",
        /// Why it was refused.
        Reason = "reason",
        /// The external payment, or the month that it is about.
        Reference = "reference",
        /// The caller's idempotency key (R9).
        Key = "key",
    }
}

impl Column {
    /// True for credits and counts; the other columns say what a line is about.
    #[must_use]
    pub const fn is_figure(self) -> bool {
        let is_text = matches!(self, Column::Account | Column::From | Column::To | Column::CreditType)
            || matches!(self, Column::LocalTime | Column::OccurredAt | Column::Kind | Column::Comment)
            || matches!(self, Column::Reason | Column::Reference | Column::Key);
        !is_text && self.breakdown().is_none()
    }

    /// True for what only a transaction has.
    #[must_use]
    pub const fn is_of_log(self) -> bool {
        matches!(self, Column::LocalTime | Column::OccurredAt | Column::Kind | Column::Quantity | Column::Credits)
            || matches!(self, Column::Free | Column::Comment | Column::Reason | Column::Reference | Column::Key)
    }

    /// The breakdown whose groups the column names.
    #[must_use]
    pub const fn breakdown(self) -> Option<Breakdown> {
        match self {
            Column::Action => Some(Breakdown::Action),
            Column::User => Some(Breakdown::User),
            Column::Type => Some(Breakdown::Type),
            Column::Status => Some(Breakdown::Status),
            _ => None,
        }
    }

    /// True for what a use of credits has, whatever it is grouped by; the other figures are a statement's.
    #[must_use]
    pub const fn is_of_use(self) -> bool {
        let counts = matches!(self, Column::Succeeded | Column::Failed | Column::Refused);
        counts || matches!(self, Column::Consumed | Column::Refunded)
    }

    /// True for a column of a report with this breakdown; without one, of a statement.
    #[must_use]
    pub fn is_in(self, breakdown: Option<Breakdown>) -> bool {
        if breakdown == Some(Breakdown::Transaction) {
            return LOG_COLUMNS.contains(&self);
        }
        if self.is_of_log() {
            return false;
        }
        match self.breakdown() {
            Some(named) => breakdown == Some(named),
            None => breakdown.is_none() || !self.is_figure() || self.is_of_use(),
        }
    }

    /// All columns of a report with this breakdown.
    #[must_use]
    pub fn all_of(breakdown: Option<Breakdown>) -> Vec<Column> {
        if breakdown == Some(Breakdown::Transaction) {
            return LOG_COLUMNS.to_vec();
        }
        Column::ALL.iter().copied().filter(|column| column.is_in(breakdown)).collect()
    }
}

words! {
    /// What the figures of a line count.
    LineType {
        /// Free credits.
        Free = "free",
        /// Purchased credits.
        Purchased = "purchased",
        /// Both.
        Total = "total",
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The range has no time in it.
    #[error("the range from {from} to {to} is empty: it ends before {to}, so that must be later than {from}")]
    EmptyRange {
        /// Its beginning.
        from: LocalTime,
        /// Its end.
        to: LocalTime,
    },
    /// A bound of the range lies outside the years creditd knows.
    #[error("the range cannot be reported: {0}")]
    Year(#[from] super::calendar::BadTime),
    /// More periods than one report has.
    #[error(
        "{} {unit}s in one report; the most is {}: ask for a shorter range or group by a longer period",
        grouped(*found),
        grouped(*max)
    )]
    TooManyPeriods {
        /// Periods in the range.
        found: u64,
        /// `day`, `week` or `month`.
        unit: Grouping,
        /// The bound.
        max: u64,
    },
    /// More lines than one report has.
    #[error(
        "the report would have {} lines; the most is {}: choose fewer accounts, a shorter range, longer periods or --scope \
         platform",
        grouped(*found),
        grouped(*max)
    )]
    TooManyLines {
        /// Lines the spec gives for the accounts.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// More transactions than one report adds up.
    #[error("the report would read more than {} transactions: choose fewer accounts or a shorter range", grouped(*max as u64))]
    TooManyRows {
        /// The bound.
        max: usize,
    },
    /// More transactions than a log has.
    #[error(
        "the log would have more than {} transactions: choose fewer accounts, a shorter range or a filter; `creditd \
         transactions export` writes any number",
        grouped(*max as u64)
    )]
    TooManyLogRows {
        /// The bound.
        max: usize,
    },
    /// More values of a filter than there may be.
    #[error("{found} values of the filter {what}; the most is {max}")]
    TooManyValues {
        /// The filter.
        what: &'static str,
        /// Its values.
        found: usize,
        /// The bound.
        max: usize,
    },
    /// A statement about some transactions only.
    #[error(
        "a statement has no filters, for it would not add up: break it down by action, user, type or status, or into its \
         log by transaction"
    )]
    FilteredStatement,
    /// A log by something else than its range.
    #[error("a log has no periods, so it cannot be by {0}: leave that out")]
    LogPeriods(Grouping),
    /// A column of another kind of report.
    #[error("{}", no_such_column(*column, *breakdown))]
    NoSuchColumn {
        /// The column.
        column: Column,
        /// By what the report is broken down.
        breakdown: Option<Breakdown>,
    },
    /// The chosen columns name nothing or one thing twice.
    #[error("the columns of a report must be at least one, and each only once")]
    Columns,
    /// A row names an account that is not among the accounts of the report: a defect of whoever read the rows.
    #[error("a row belongs to account number {account}, but only {accounts} accounts were read")]
    ForeignRow {
        /// The index of the row.
        account: u32,
        /// How many accounts there are.
        accounts: usize,
    },
    /// A sum is out of range.
    #[error("a sum of the report is out of range: {0}")]
    Overflow(#[from] Overflow),
    /// The engine that adds up the rows failed: a defect, not a fact about the data.
    #[error("the rows could not be added up: {0}")]
    Engine(String),
}

fn no_such_column(column: Column, breakdown: Option<Breakdown>) -> String {
    match breakdown {
        Some(Breakdown::Transaction) => {
            let known: Vec<&str> = LOG_COLUMNS.iter().map(|column| column.as_str()).collect();
            format!("a log has no column {column}: it has {}", known.join(", "))
        }
        _ if column.is_of_log() => {
            format!("only a log has the column {column}: break the report down by transaction")
        }
        Some(by) => {
            format!("a breakdown by {by} has no column {column}: by {by} there are consumed, refunded and the counts")
        }
        None => format!("a statement has no column {column}: a breakdown by it has"),
    }
}

/// An account as a report reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportAccount {
    /// Its id.
    pub id: AccountId,
    /// Its months and days.
    pub calendar: Calendar,
    /// The balance just before the range begins in this calendar: the sum of the changes of all rows whose
    /// [`Kind::counts_at`](super::transaction::Kind::counts_at) is earlier.
    pub opening: Split,
}

/// The figures of one line. All but `adjusted` are counted in their column's direction: `consumed` 8 means 8 fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the `Column` of its name")]
pub struct Figures {
    pub carried_in: Credits,
    pub allocated: Credits,
    pub purchased: Credits,
    pub bonus: Credits,
    pub consumed: Credits,
    pub refunded: Credits,
    pub lapsed: Credits,
    pub returned: Credits,
    pub adjusted: Credits,
    pub remaining: Credits,
}

impl Figures {
    /// Two figures side by side: two credit types, or two accounts over the same period.
    ///
    /// # Errors
    /// [`Overflow`] when a sum is out of range.
    pub fn plus(&self, other: &Figures) -> Result<Figures, Overflow> {
        Ok(Figures {
            carried_in: self.carried_in.plus(other.carried_in)?,
            remaining: self.remaining.plus(other.remaining)?,
            ..self.then(other)?
        })
    }

    /// Two figures one after the other: the period `later` follows this one.
    ///
    /// # Errors
    /// [`Overflow`] when a sum is out of range.
    pub fn then(&self, later: &Figures) -> Result<Figures, Overflow> {
        Ok(Figures {
            carried_in: self.carried_in,
            allocated: self.allocated.plus(later.allocated)?,
            purchased: self.purchased.plus(later.purchased)?,
            bonus: self.bonus.plus(later.bonus)?,
            consumed: self.consumed.plus(later.consumed)?,
            refunded: self.refunded.plus(later.refunded)?,
            lapsed: self.lapsed.plus(later.lapsed)?,
            returned: self.returned.plus(later.returned)?,
            adjusted: self.adjusted.plus(later.adjusted)?,
            remaining: later.remaining,
        })
    }

    /// True when the identity of DESIGN section 4 holds.
    #[must_use]
    pub fn closes(&self) -> bool {
        let sum = || {
            self.carried_in
                .plus(self.allocated)?
                .plus(self.purchased)?
                .plus(self.bonus)?
                .minus(self.consumed)?
                .plus(self.refunded)?
                .minus(self.lapsed)?
                .minus(self.returned)?
                .plus(self.adjusted)
        };
        sum() == Ok(self.remaining)
    }
}

/// How actions ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Done.
    pub succeeded: u64,
    /// Failed at the platform.
    pub failed: u64,
    /// Refused by creditd, with a reason.
    pub refused: u64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Counts) -> Counts {
        Counts {
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
            refused: self.refused.saturating_add(other.refused),
        }
    }
}

/// What stands in one column of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Text that was given from outside.
    Text(&'a str),
    /// A word of creditd.
    Word(&'static str),
    /// A local day, or a time in it.
    Date(LocalTime),
    /// Credits.
    Credits(Credits),
    /// A number of actions.
    Count(u64),
    /// What the clock of an account showed.
    Time(NaiveDateTime),
    /// A point in time, in UTC.
    Instant(Instant),
    /// Nothing: the column does not apply to the line.
    Blank,
}

impl fmt::Display for Cell<'_> {
    /// As files of text have it: numbers plain, nothing for a blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Text(text) => f.write_str(text),
            Cell::Word(word) => f.write_str(word),
            Cell::Date(date) => date.fmt(f),
            Cell::Credits(credits) => credits.fmt(f),
            Cell::Count(count) => count.fmt(f),
            Cell::Time(time) => time.format("%Y-%m-%dT%H:%M:%S").fmt(f),
            Cell::Instant(instant) => instant.fmt(f),
            Cell::Blank => Ok(()),
        }
    }
}

impl Cell<'_> {
    /// True when it says nothing: a zero or a blank.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        match self {
            Cell::Credits(credits) => credits.is_zero(),
            Cell::Count(count) => count == 0,
            Cell::Blank => true,
            Cell::Text(_) | Cell::Word(_) | Cell::Date(_) | Cell::Time(_) | Cell::Instant(_) => false,
        }
    }
}

/// A finished report: a plain value that renderers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportModel {
    /// What was asked.
    pub spec: ReportSpec,
    /// Every period of every account, or of the platform, or every group in it: triples of free, purchased, total.
    pub lines: Lines,
    /// The whole range of each account, or of the platform: one triple each, in the order of `lines`.
    pub subtotals: Lines,
    /// The whole report: one triple.
    pub totals: Vec<Line<'static>>,
    /// The time zones by which its accounts lived through the range, in the order of their names.
    pub zones: Vec<&'static str>,
    /// Whether the range was over for all of them when it was read.
    pub is_over: bool,
    /// What it says beside its lines: the log, money, a comparison.
    pub beside: Beside,
    /// What its charts show beside its figures, in a report of one account by day that is to be drawn.
    pub marks: Option<Marks>,
}

/// The lines of one account, or of the platform.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// The account; `None` for the platform.
    pub account: Option<&'a AccountId>,
    /// Its whole range.
    pub subtotal: [Line<'a>; LINES_PER_PERIOD],
    all: &'a Lines,
    /// Which triples are its own.
    own: Range<usize>,
}

impl<'a> Section<'a> {
    /// Its periods, or their groups.
    pub fn triples(&self) -> impl ExactSizeIterator<Item = [Line<'a>; LINES_PER_PERIOD]> + Clone + use<'a> {
        self.all.triples_in(self.own.clone())
    }

    /// The lines of these.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + Clone + use<'a> {
        self.triples().flatten()
    }
}

impl ReportModel {
    /// True when no line says anything in `column`.
    #[must_use]
    pub fn is_blank(&self, column: Column) -> bool {
        self.lines.iter().all(|line| line.cell(column).is_nothing())
    }

    /// What a file has rows for: the lines, or the transactions of a log, which has no lines.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.lines.iter().map(Record::Line).chain(self.beside.log.iter().map(Record::Log))
    }

    /// How many pieces of `size` triples, or transactions of a log, there are.
    #[must_use]
    pub fn piece_count(&self, size: usize) -> usize {
        (self.lines.triple_count() + self.beside.log.len()).div_ceil(size)
    }

    /// The records of a piece.
    pub fn piece(&self, at: usize, size: usize) -> impl Iterator<Item = Record<'_>> {
        let triples = self.lines.triple_count();
        let (begin, end) = (at * size, (at + 1) * size);
        let of_log = |at: usize| at.saturating_sub(triples).min(self.beside.log.len());
        let lines = self.lines.triples_in(begin.min(triples)..end.min(triples)).flatten();
        lines.map(Record::Line).chain(self.beside.log[of_log(begin)..of_log(end)].iter().map(Record::Log))
    }

    /// How many there are.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.lines.len() + self.beside.log.len()
    }

    /// True for a log of transactions.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.spec.breakdown() == Some(Breakdown::Transaction)
    }

    /// The report by account, in order; one section for the platform.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = Section<'_>> {
        let mut end = 0;
        self.subtotals.triples().enumerate().map(move |(at, subtotal)| {
            let begin = end;
            let account = self.subtotals.account_of(at);
            while end < self.lines.triple_count() && self.lines.account_of(end) == account {
                end += 1;
            }
            Section { account: subtotal[0].account, subtotal, all: &self.lines, own: begin..end }
        })
    }
}
