//! From rows to a report: the plain way of adding up, and the assembly that every way of adding up shares.

use super::super::credits::{CreditType, Credits, Overflow, Split};
use super::super::transaction::Kind;
use super::DateRange;
use super::periods::Grid;
use super::{
    Counts, Figures, Line, LineType, Outcome, ReportAccount, ReportError, ReportModel, ReportSpec, Rows, Scope,
};
use crate::core::ids::AccountId;

/// What happened in one cell of the grid.
#[derive(Clone, Copy, Debug, Default)]
struct Movements {
    /// The sum of the signed changes of each kind.
    changes: [Split; Kind::ALL.len()],
    counts: Counts,
}

/// The sums of a report, before they are put in order: what happened in every cell of a [`Grid`].
#[derive(Clone, Debug)]
pub struct Tally(Vec<Movements>);

impl Tally {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(grid: &Grid) -> Tally {
        Tally(vec![Movements::default(); grid.cells()])
    }

    /// Adds rows of one kind and outcome, `rows` of them with changes that sum to `delta`, to `cell`.
    ///
    /// # Errors
    /// [`Overflow`] when a sum is out of range.
    pub fn add(&mut self, cell: usize, kind: Kind, outcome: Outcome, delta: Split, rows: u64) -> Result<(), Overflow> {
        let movements = &mut self.0[cell];
        let change = &mut movements.changes[kind as usize];
        *change = change.plus(delta)?;
        let more = match outcome {
            Outcome::NotAnAction => Counts::default(),
            Outcome::Succeeded => Counts { succeeded: rows, ..Counts::default() },
            Outcome::Failed => Counts { failed: rows, ..Counts::default() },
            Outcome::Refused => Counts { refused: rows, ..Counts::default() },
        };
        movements.counts = movements.counts.plus(more);
        Ok(())
    }
}

/// Adds up `rows` one by one. Rows outside the range are passed over: those before it are in the openings.
///
/// # Errors
/// [`ReportError`] when the report would not fit, a sum is out of range, or a row belongs to no account.
pub fn fold(spec: &ReportSpec, accounts: &[ReportAccount], rows: &Rows) -> Result<ReportModel, ReportError> {
    let grid = Grid::new(spec, accounts)?;
    let mut tally = Tally::new(&grid);
    for row in rows.iter() {
        if let Some(cell) = grid.cell_of(row.account, row.counts_at)? {
            tally.add(cell, row.kind, row.outcome, row.delta, 1)?;
        }
    }
    assemble(spec, accounts, &grid, &tally)
}

/// Puts sums in order: accounts by id, periods by time, what remains of one carried into the next.
///
/// # Errors
/// [`ReportError::Overflow`] when a sum is out of range.
pub fn assemble(
    spec: &ReportSpec,
    accounts: &[ReportAccount],
    grid: &Grid,
    tally: &Tally,
) -> Result<ReportModel, ReportError> {
    let mut model = ReportModel { spec: spec.clone(), lines: Vec::new(), subtotals: Vec::new(), totals: Vec::new() };
    let mut total: Option<Period> = None;
    for (id, first_cell, opening) in line_sets(spec, accounts, grid)? {
        let mut carried_in = opening;
        let mut whole: Option<Period> = None;
        for (range, movements) in grid.ranges().zip(&tally.0[first_cell..]) {
            let period = Period::new(carried_in, movements)?;
            carried_in = period.remaining();
            period.push_lines(&mut model.lines, id, range)?;
            whole = Some(whole.map_or(Ok(period), |earlier| earlier.then(&period))?);
        }
        let whole = whole.unwrap_or_default();
        whole.push_lines(&mut model.subtotals, id, spec.range())?;
        total = Some(total.map_or(Ok(whole), |others| others.plus(&whole))?);
    }
    total.unwrap_or_default().push_lines(&mut model.totals, None, spec.range())?;
    Ok(model)
}

/// Whose lines the report has, in order: the account, its first cell and its opening.
type LineSet<'a> = (Option<&'a AccountId>, usize, Split);

fn line_sets<'a>(spec: &ReportSpec, accounts: &'a [ReportAccount], grid: &Grid) -> Result<Vec<LineSet<'a>>, Overflow> {
    match spec.scope() {
        Scope::Account => {
            let set =
                |(at, account): (usize, &'a ReportAccount)| (Some(&account.id), at * grid.periods(), account.opening);
            let mut sets: Vec<LineSet<'a>> = accounts.iter().enumerate().map(set).collect();
            sets.sort_by_key(|(id, ..)| *id);
            Ok(sets)
        }
        Scope::Platform => {
            let opening = accounts.iter().try_fold(Split::ZERO, |sum, account| sum.plus(account.opening))?;
            Ok(vec![(None, 0, opening)])
        }
    }
}

/// The figures of one period by credit type.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    free: Figures,
    purchased: Figures,
    counts: Counts,
}

impl Period {
    fn new(carried_in: Split, movements: &Movements) -> Result<Period, Overflow> {
        let figures = |credit_type| {
            figures(carried_in.get(credit_type), |kind| movements.changes[kind as usize].get(credit_type))
        };
        Ok(Period {
            free: figures(CreditType::Free)?,
            purchased: figures(CreditType::Purchased)?,
            counts: movements.counts,
        })
    }

    fn remaining(&self) -> Split {
        Split { free: self.free.remaining, purchased: self.purchased.remaining }
    }

    /// This period and the `later` one that follows it.
    fn then(&self, later: &Period) -> Result<Period, Overflow> {
        Ok(Period {
            free: self.free.then(&later.free)?,
            purchased: self.purchased.then(&later.purchased)?,
            counts: self.counts.plus(later.counts),
        })
    }

    /// The same period of two accounts.
    fn plus(&self, other: &Period) -> Result<Period, Overflow> {
        Ok(Period {
            free: self.free.plus(&other.free)?,
            purchased: self.purchased.plus(&other.purchased)?,
            counts: self.counts.plus(other.counts),
        })
    }

    fn push_lines(&self, lines: &mut Vec<Line>, account: Option<&AccountId>, range: DateRange) -> Result<(), Overflow> {
        let total = self.free.plus(&self.purchased)?;
        for (credit_type, figures, counts) in [
            (LineType::Free, self.free, None),
            (LineType::Purchased, self.purchased, None),
            (LineType::Total, total, Some(self.counts)),
        ] {
            lines.push(Line { account: account.cloned(), range, credit_type, figures, counts });
        }
        Ok(())
    }
}

/// The figures that signed changes by kind make. Each kind counts in one column, in the column's direction.
fn figures(carried_in: Credits, change: impl Fn(Kind) -> Credits) -> Result<Figures, Overflow> {
    let remaining = Kind::ALL.iter().try_fold(carried_in, |sum, kind| sum.plus(change(*kind)))?;
    Ok(Figures {
        carried_in,
        allocated: change(Kind::Allocation),
        purchased: change(Kind::Purchase),
        bonus: change(Kind::Bonus),
        consumed: change(Kind::Charge).plus(change(Kind::Hold))?.plus(change(Kind::Release))?.negated(),
        refunded: change(Kind::Refund),
        lapsed: change(Kind::Expiry).negated(),
        returned: change(Kind::Return).negated(),
        adjusted: change(Kind::Adjustment),
        remaining,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Input, input};
    use super::*;
    use crate::core::statement::{Grouping, Row};
    use proptest::prelude::*;

    fn folded(input: &Input, range: DateRange, grouping: Grouping, scope: Scope) -> ReportModel {
        fold(&input.spec(range, grouping, scope), &input.accounts, &input.rows).expect("small sums")
    }

    /// The lines of each triple position joined over consecutive periods.
    fn joined<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Option<Figures> {
        lines.into_iter().map(|line| line.figures).reduce(|sum, later| sum.then(&later).expect("small sums"))
    }

    proptest! {
        #[test]
        fn every_line_closes_and_carries_into_the_next(input in input()) {
            let model = fold(&input.spec, &input.accounts, &input.rows).expect("small sums");
            for line in model.lines.iter().chain(&model.subtotals).chain(&model.totals) {
                prop_assert!(line.figures.closes(), "{line:?}");
            }
            for section in model.sections() {
                for (earlier, later) in section.lines.iter().zip(section.lines.iter().skip(3)) {
                    prop_assert_eq!(earlier.figures.remaining, later.figures.carried_in);
                    prop_assert_eq!(earlier.range.to(), later.range.from());
                }
                for (at, whole) in section.subtotal.iter().enumerate() {
                    prop_assert_eq!(joined(section.lines.iter().skip(at).step_by(3)), Some(whole.figures));
                }
            }
        }

        /// Independent of the grid: asks the calendar for the day of every row.
        #[test]
        fn a_line_holds_the_rows_of_its_local_days(input in input()) {
            let model = folded(&input, input.spec.range(), input.spec.grouping(), Scope::Account);
            let days: Vec<_> = input.rows.iter()
                .map(|row| (row, input.accounts[row.account as usize].calendar.day_of(row.counts_at)))
                .collect();
            for line in model.lines.iter().filter(|line| line.credit_type == LineType::Total) {
                let id = line.account.as_ref().expect("a line of an account");
                let account = input.accounts.iter().position(|a| a.id == *id).expect("one of them");
                let is_consumed = |kind| matches!(kind, Kind::Charge | Kind::Hold | Kind::Release);
                let of_account = |row: &Row| row.account as usize == account;
                let inside: Vec<&Row> = days.iter()
                    .filter(|(row, day)| of_account(row) && (line.range.from()..line.range.to()).contains(day))
                    .map(|(row, _)| row)
                    .collect();
                let consumed: i64 =
                    inside.iter().filter(|row| is_consumed(row.kind)).map(|row| -row.delta.total().get()).sum();
                prop_assert_eq!(line.figures.consumed.get(), consumed);
                let change: i64 = inside.iter().map(|row| row.delta.total().get()).sum();
                prop_assert_eq!(line.figures.remaining.get() - line.figures.carried_in.get(), change);
                let count = |outcome| inside.iter().filter(|row| row.outcome == outcome).count() as u64;
                let counts = Counts {
                    succeeded: count(Outcome::Succeeded),
                    failed: count(Outcome::Failed),
                    refused: count(Outcome::Refused),
                };
                prop_assert_eq!(line.counts, Some(counts));
            }
        }

        #[test]
        fn days_sum_to_months_and_months_to_the_range(input in input()) {
            let by = |grouping| folded(&input, input.spec.range(), grouping, input.spec.scope());
            let days = by(Grouping::Day);
            for coarse in [by(Grouping::Month), by(Grouping::Range)] {
                for (fine, wide) in days.sections().zip(coarse.sections()) {
                    for line in wide.lines {
                        let parts = fine.lines.iter().filter(|part| {
                            part.credit_type == line.credit_type
                                && line.range.from() <= part.range.from()
                                && part.range.to() <= line.range.to()
                        });
                        prop_assert_eq!(joined(parts), Some(line.figures));
                    }
                }
                prop_assert_eq!(&days.subtotals, &coarse.subtotals);
                prop_assert_eq!(&days.totals, &coarse.totals);
            }
        }

        #[test]
        fn a_range_split_anywhere_sums_to_the_whole(input in input(), at in any::<prop::sample::Index>()) {
            let range = input.spec.range();
            prop_assume!(range.days() > 1);
            let days_before = 1 + at.index(usize::try_from(range.days() - 1).expect("few"));
            let middle = range.from() + chrono::Days::new(days_before as u64);
            let part = |from, to| DateRange::new(from, to).expect("a part");
            let whole = folded(&input, range, Grouping::Range, Scope::Account);
            let first = folded(&input, part(range.from(), middle), Grouping::Range, Scope::Account);
            let mut rest = input.clone();
            for account in &mut rest.accounts {
                let section = first.sections().find(|section| section.account == Some(&account.id)).expect("its section");
                let [free, purchased] = [0, 1].map(|at| section.subtotal[at].figures.remaining);
                account.opening = Split { free, purchased };
            }
            let second = folded(&rest, part(middle, range.to()), Grouping::Range, Scope::Account);
            for ((first, second), whole) in first.lines.iter().zip(&second.lines).zip(&whole.lines) {
                prop_assert_eq!(joined([first, second]), Some(whole.figures));
            }
        }

        #[test]
        fn the_platform_is_the_sum_of_its_accounts(input in input()) {
            let by = |scope| folded(&input, input.spec.range(), input.spec.grouping(), scope);
            let (platform, accounts) = (by(Scope::Platform), by(Scope::Account));
            prop_assert_eq!(&platform.totals, &accounts.totals);
            for (at, line) in platform.lines.iter().enumerate() {
                let sum = accounts.sections().map(|section| section.lines[at].figures)
                    .try_fold(Figures::default(), |sum, figures| sum.plus(&figures)).expect("small sums");
                prop_assert_eq!(line.figures, sum);
            }
        }
    }
}
