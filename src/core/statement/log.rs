//! The log of a report: its transactions one by one (R7), beside the totals of the statement.

use super::super::ids::{AccountId, ActionCode, Key, Reference, UserId};
use super::super::transaction::{Reason, Transaction, touched};
use super::{Cell, Column, Line, Outcome, Scope};
use crate::core::calendar::Calendar;
use chrono::NaiveDateTime;

/// Most transactions of a log: about 100 MB in memory, and more than anybody reads; a month of a busy account.
pub const LOG_ROWS_MAX: usize = 100_000;

/// The columns of a log, in their order.
pub const LOG_COLUMNS: &[Column] = &[
    Column::Account,
    Column::LocalTime,
    Column::OccurredAt,
    Column::User,
    Column::Action,
    Column::Quantity,
    Column::Credits,
    Column::Free,
    Column::Purchased,
    Column::Type,
    Column::Kind,
    Column::Comment,
    Column::Status,
    Column::Reason,
    Column::Reference,
    Column::Key,
];

/// A transaction in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Whose.
    pub account: AccountId,
    /// What the clock on the account's wall showed when it occurred.
    pub local_time: NaiveDateTime,
    /// The transaction. What a reset has yet to write (R3) has the number that it would get now.
    pub row: Transaction,
}

impl LogRow {
    /// The transaction as `account` with `calendar` sees it.
    #[must_use]
    pub fn new(account: AccountId, calendar: &Calendar, row: Transaction) -> LogRow {
        let local_time = row.occurred_at.in_zone(calendar.zone_at(row.occurred_at)).naive_local();
        LogRow { account, local_time, row }
    }

    /// What stands in `column`. Credits are those that a charge or hold took, and the signed change of all else.
    #[must_use]
    pub fn cell(&self, column: Column) -> Cell<'_> {
        let row = &self.row;
        let credits = |credits| if row.kind.moves_credits() { Cell::Credits(credits) } else { Cell::Blank };
        match column {
            Column::Account => Cell::Text(self.account.as_str()),
            Column::LocalTime => Cell::Time(self.local_time),
            Column::OccurredAt => Cell::Instant(row.occurred_at),
            Column::User => text_of(row.user.as_ref().map(UserId::as_str)),
            Column::Action => text_of(row.action.as_ref().map(ActionCode::as_str)),
            Column::Quantity => match row.quantity {
                0 => Cell::Blank,
                quantity => Cell::Count(quantity.unsigned_abs()),
            },
            Column::Credits => credits(row.credits()),
            Column::Free => credits(row.parts().free),
            Column::Purchased => credits(row.parts().purchased),
            Column::Type => Cell::Word(touched(row.delta).as_str()),
            Column::Kind => Cell::Word(row.kind.as_str()),
            Column::Comment => text_of(Some(row.comment.as_str()).filter(|comment| !comment.is_empty())),
            Column::Status => Cell::Word(Outcome::of(row.kind, row.status, row.reason).ended().as_str()),
            Column::Reason => row.reason.map(Reason::as_str).map_or(Cell::Blank, Cell::Word),
            Column::Reference => text_of(row.reference.as_ref().map(Reference::as_str)),
            Column::Key => text_of(row.key.as_ref().map(Key::as_str)),
            _ => Cell::Blank,
        }
    }
}

/// What a file has a row for.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A line.
    Line(Line<'a>),
    /// A transaction of a log.
    Log(&'a LogRow),
}

impl<'a> Record<'a> {
    /// What stands in `column`.
    #[must_use]
    pub fn cell(self, column: Column) -> Cell<'a> {
        match self {
            Record::Line(line) => line.cell(column),
            Record::Log(row) => row.cell(column),
        }
    }
}

fn text_of(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Blank, Cell::Text)
}

/// Puts a log in order: each account's transactions by when they occurred, those of the platform by that alone.
pub fn sort_log(log: &mut [LogRow], scope: Scope) {
    match scope {
        Scope::Account => log.sort_by(|one, other| {
            let key = |row: &LogRow| (row.row.occurred_at, row.row.seq);
            one.account.cmp(&other.account).then_with(|| key(one).cmp(&key(other)))
        }),
        Scope::Platform => log.sort_by(|one, other| {
            let of = one.row.occurred_at.cmp(&other.row.occurred_at);
            of.then_with(|| one.account.cmp(&other.account)).then_with(|| one.row.seq.cmp(&other.row.seq))
        }),
    }
}
