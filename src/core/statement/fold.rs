//! From rows to a report: the plain way of adding up, and the assembly that every way of adding up shares.

use super::super::calendar::Month;
use super::super::credits::{CreditType, Credits, Overflow, Split};
use super::super::transaction::Kind;
use super::groups::is_use;
use super::lines::{About, Triple, Use};
use super::{
    Adding, Beside, Breakdown, Counts, DateRange, Figures, Grid, Group, Line, LineType, Lines, ReportAccount,
    ReportError, ReportModel, ReportSpec, Rows, Scope, Sum, SumKey, Tally,
};
use crate::core::ids::AccountId;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What happened in one place.
#[derive(Clone, Copy, Debug, Default)]
struct Movements {
    /// The sum of the signed changes of each kind.
    changes: [Split; Kind::ALL.len()],
    counts: Counts,
}

impl Movements {
    fn of(sums: &[Sum]) -> Result<Movements, Overflow> {
        let mut movements = Movements::default();
        for sum in sums {
            let change = &mut movements.changes[sum.key.kind() as usize];
            *change = change.plus(sum.delta)?;
            movements.counts = movements.counts.plus(sum.counts());
        }
        Ok(movements)
    }
}

/// Adds up `rows` one by one. Rows outside the range are passed over: those before it are in the openings.
///
/// # Errors
/// [`ReportError`] when the report would not fit, a sum is out of range, or a row belongs to no account.
pub fn fold(spec: &ReportSpec, accounts: &[ReportAccount], rows: &Rows) -> Result<ReportModel, ReportError> {
    let grid = Grid::new(spec, accounts)?;
    let mut adding = Adding::default();
    for row in rows.iter() {
        if let Some(place) = grid.place_of(&row)? {
            adding.add(SumKey::new(place, row.kind, row.outcome), row.delta, 1)?;
        }
    }
    let tally = rows.summed().with(adding.finish()?)?;
    assemble(spec, accounts, rows, &grid, &tally)
}

/// Puts sums in order: accounts by id, periods by time, what remains of one carried into the next, and the groups of a
/// breakdown within them. `rows` know the names of groups.
///
/// # Errors
/// [`ReportError::Overflow`] when a sum is out of range.
pub fn assemble(
    spec: &ReportSpec,
    accounts: &[ReportAccount],
    rows: &Rows,
    grid: &Grid,
    tally: &Tally,
) -> Result<ReportModel, ReportError> {
    let sets = line_sets(spec, accounts, grid)?;
    let ids: Arc<[AccountId]> = sets.iter().filter_map(|(id, ..)| id.cloned()).collect();
    let groups = spec.breakdown().map(|breakdown| breakdown.groups(rows)).unwrap_or_default();
    // Memory that nothing is put into costs nothing.
    let (mut periods, mut uses) = match spec.breakdown() {
        None => (Vec::with_capacity(sets.len() * grid.periods().len()), Vec::new()),
        Some(_) => (Vec::new(), Vec::with_capacity(tally.sums().len())),
    };
    let mut subtotals = Vec::with_capacity(sets.len());
    let (mut total, mut at): (Option<Period>, usize) = (None, 0);
    for (account, (_, first_cell, opening)) in (0..).zip(sets) {
        let mut carried_in = opening;
        let mut whole: Option<Period> = None;
        for (period, cell) in (0..).zip(first_cell..first_cell + grid.periods().len()) {
            let about = About { account, period, group: 0 };
            let sums = tally.of_cell(cell, &mut at);
            let figures = Period::new(carried_in, &Movements::of(sums)?)?;
            carried_in = figures.remaining();
            match spec.breakdown() {
                None => periods.push(figures.triple(about)?),
                Some(Breakdown::Transaction) => {}
                Some(breakdown) => push_uses(breakdown, sums, &groups, about, &mut uses)?,
            }
            whole = Some(whole.map_or(Ok(figures), |earlier| earlier.then(&figures))?);
        }
        let whole = whole.unwrap_or_default();
        subtotals.push(whole.triple(About { account, ..About::default() })?);
        total = Some(total.map_or(Ok(whole), |others| others.plus(&whole))?);
    }
    let (range, zones, beside) = (spec.range(), zones(spec.range(), accounts), Beside::default());
    let lines = match spec.breakdown() {
        None => Lines::of_periods(Arc::clone(&ids), grid.periods(), periods),
        Some(_) => Lines::of_groups(Arc::clone(&ids), grid.periods(), groups, uses),
    };
    let subtotals = Lines::of_periods(ids, [range], subtotals);
    let totals = total.unwrap_or_default().lines(range)?;
    let is_over = grid.all_starts().filter_map(<[_]>::last).all(|end| *end <= spec.as_of());
    let model = ReportModel { spec: spec.clone(), lines, subtotals, totals, zones, is_over, beside, marks: None };
    Ok(if spec.has_balances() { model } else { model.of_use() })
}

/// The zones of all terms in force in `range`.
fn zones(range: DateRange, accounts: &[ReportAccount]) -> Vec<&'static str> {
    let (first, last) = (Month::of(range.from().date()), Month::of(range.last_day()));
    let in_force = accounts.iter().flat_map(|ReportAccount { calendar, .. }| {
        let later = calendar.terms().iter().filter(move |terms| first < terms.from && terms.from <= last);
        later.chain([calendar.terms_in(first)]).map(|terms| terms.zone.name())
    });
    in_force.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Adds the groups of one cell that used credits or tried to, in the order in which they are shown.
fn push_uses(
    breakdown: Breakdown,
    sums: &[Sum],
    groups: &[Group],
    about: About,
    uses: &mut Vec<Triple<Use>>,
) -> Result<(), Overflow> {
    let begin = uses.len();
    for sums in sums.chunk_by(|one, other| one.key.place() == other.key.place()) {
        let group = sums[0].key.place().group;
        let triple = use_of(sums, About { group, ..about })?;
        if triple.figures != <[Use; 3]>::default() || triple.counts != Counts::default() {
            uses.push(triple);
        }
    }
    if breakdown.is_by_use() {
        let most_first = |triple: &Triple<Use>| {
            let Counts { succeeded, failed, refused } = triple.counts;
            let tried = succeeded.saturating_add(failed).saturating_add(refused);
            (Reverse(triple.figures[LineType::Total as usize].consumed), Reverse(tried))
        };
        let name = |triple: &Triple<Use>| match groups.get(triple.about.group as usize) {
            Some(Group::Named(name)) => Some(name),
            _ => None,
        };
        uses[begin..]
            .sort_by(|one, other| most_first(one).cmp(&most_first(other)).then_with(|| name(one).cmp(&name(other))));
    }
    Ok(())
}

/// What there is of a use of credits.
fn use_of(sums: &[Sum], about: About) -> Result<Triple<Use>, Overflow> {
    let (mut free, mut purchased) = (Use::default(), Use::default());
    for Sum { key, delta, .. } in sums.iter().filter(|sum| is_use(sum.key.kind())) {
        for (of, change) in [(&mut free, delta.free), (&mut purchased, delta.purchased)] {
            if key.kind() == Kind::Refund {
                of.refunded = of.refunded.plus(change)?;
            } else {
                of.consumed = of.consumed.minus(change)?;
            }
        }
    }
    let counts = sums.iter().fold(Counts::default(), |counts, sum| counts.plus(sum.counts()));
    Ok(Triple { about, figures: [free, purchased, free.plus(purchased)?], counts })
}

/// Whose lines the report has, in order: the account, its first cell and its opening.
type LineSet<'a> = (Option<&'a AccountId>, usize, Split);

fn line_sets<'a>(spec: &ReportSpec, accounts: &'a [ReportAccount], grid: &Grid) -> Result<Vec<LineSet<'a>>, Overflow> {
    match spec.scope() {
        Scope::Account => {
            let set = |(at, account): (usize, &'a ReportAccount)| {
                (Some(&account.id), at * grid.periods().len(), account.opening)
            };
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    fn triple(&self, about: About) -> Result<Triple<Figures>, Overflow> {
        Ok(Triple {
            about,
            figures: [self.free, self.purchased, self.free.plus(&self.purchased)?],
            counts: self.counts,
        })
    }

    /// As lines of all accounts.
    fn lines(&self, range: DateRange) -> Result<Vec<Line<'static>>, Overflow> {
        let Triple { figures, counts, .. } = self.triple(About::default())?;
        let line = |(credit_type, figures)| {
            let counts = (credit_type == LineType::Total).then_some(counts);
            Line { account: None, range, group: None, credit_type, figures, counts }
        };
        Ok(LineType::ALL.iter().copied().zip(figures).map(line).collect())
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
    use super::super::testing::{GROUPED, Input, input};
    use super::*;
    use crate::core::statement::Outcome;
    use crate::core::statement::{Grouping, LocalTime, Name, Row};
    use crate::core::transaction::touched;
    use proptest::prelude::*;

    fn folded(input: &Input, range: DateRange, grouping: Grouping, scope: Scope) -> ReportModel {
        fold(&input.spec(range, grouping, scope), &input.accounts, &input.rows).expect("small sums")
    }

    /// The lines of each triple position joined over consecutive periods.
    fn joined<'a>(lines: impl IntoIterator<Item = Line<'a>>) -> Option<Figures> {
        lines.into_iter().map(|line| line.figures).reduce(|sum, later| sum.then(&later).expect("small sums"))
    }

    /// What `line` should have consumed and refunded.
    fn used(input: &Input, line: &Line, breakdown: Breakdown) -> (i64, i64) {
        let is_of = |row: &Row| {
            let account = &input.accounts[row.account as usize];
            let (begin, end) = line.range.instants_in(&account.calendar);
            let group = match breakdown {
                Breakdown::Action | Breakdown::User => input.rows.text_of(row.name).map_or("", |name| name),
                Breakdown::Type => touched(row.delta).as_str(),
                Breakdown::Status if row.outcome == Outcome::NotAnAction => "succeeded",
                Breakdown::Status => row.outcome.as_str(),
                Breakdown::Transaction => "",
            };
            let named: &str = match line.group {
                Some(Group::Word(word)) => word,
                Some(Group::Named(name)) => name,
                _ => "",
            };
            let of_account = line.account.is_none_or(|id| *id == account.id);
            of_account && (begin..end).contains(&row.counts_at) && group == named
        };
        let delta = |row: &Row| match line.credit_type {
            LineType::Free => row.delta.free.get(),
            LineType::Purchased => row.delta.purchased.get(),
            LineType::Total => row.delta.total().get(),
        };
        let sum = |kinds: &[Kind]| -> i64 {
            input.rows.iter().filter(|row| kinds.contains(&row.kind) && is_of(row)).map(|row| delta(&row)).sum()
        };
        (-sum(&[Kind::Charge, Kind::Hold, Kind::Release]), sum(&[Kind::Refund]))
    }

    proptest! {
        #[test]
        fn every_line_closes_and_carries_into_the_next(input in input()) {
            let model = folded(&input, input.spec.range(), input.spec.grouping(), input.spec.scope());
            for line in model.lines.iter().chain(model.subtotals.iter()).chain(model.totals.iter().copied()) {
                prop_assert!(line.figures.closes(), "{line:?}");
            }
            for section in model.sections() {
                for (earlier, later) in section.lines().zip(section.lines().skip(3)) {
                    prop_assert_eq!(earlier.figures.remaining, later.figures.carried_in);
                    prop_assert_eq!(earlier.range.to(), later.range.from());
                }
                for (at, whole) in section.subtotal.iter().enumerate() {
                    prop_assert_eq!(joined(section.lines().skip(at).step_by(3)), Some(whole.figures));
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
                let id = line.account.expect("a line of an account");
                let account = input.accounts.iter().position(|a| a.id == *id).expect("one of them");
                let is_consumed = |kind| matches!(kind, Kind::Charge | Kind::Hold | Kind::Release);
                let of_account = |row: &Row| row.account as usize == account;
                // Whole days by the day, what is cut by the instants of the cuts.
                let (begin, end) = line.range.instants_in(&input.accounts[account].calendar);
                let is_inside = |row: &Row, day: chrono::NaiveDate| {
                    let (from, to) = (line.range.from(), line.range.to());
                    let begun = if from.is_midnight() { from.date() <= day } else { begin <= row.counts_at };
                    begun && if to.is_midnight() { day < to.date() } else { row.counts_at < end }
                };
                let inside: Vec<&Row> = days.iter()
                    .filter(|(row, day)| of_account(row) && is_inside(row, *day))
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
        fn rows_that_are_added_up_as_they_are_read_make_the_same_report(
            input in input(), breakdown in prop::option::of(prop::sample::select(&GROUPED[..])), size in 1_usize..9,
        ) {
            let spec = input.spec.clone().with_breakdown(breakdown);
            let grid = Grid::new(&spec, &input.accounts).expect("small");
            let (mut rows, mut adding) = (Rows::default(), Adding::default());
            let all: Vec<Row> = input.rows.iter().collect();
            for page in all.chunks(size) {
                let mut read = Rows::default();
                for row in page {
                    let name = input.rows.text_of(row.name).map_or(Name::NONE, |name| read.name(name));
                    read.push(Row { name, ..*row });
                }
                rows.sum_up(&read, &grid, &mut adding).expect("small sums");
            }
            rows.add_summed(adding.finish().expect("small sums"));
            prop_assert!(rows.is_empty());
            prop_assert_eq!(fold(&spec, &input.accounts, &rows), fold(&spec, &input.accounts, &input.rows));
        }

        #[test]
        fn days_sum_to_weeks_and_months_and_these_to_the_range(input in input()) {
            let by = |grouping| folded(&input, input.spec.range(), grouping, input.spec.scope());
            let days = by(Grouping::Day);
            for coarse in [by(Grouping::Week), by(Grouping::Month), by(Grouping::Range)] {
                for (fine, wide) in days.sections().zip(coarse.sections()) {
                    for line in wide.lines() {
                        let parts = fine.lines().filter(|part| {
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
            let begin = range.from().date().and_time(range.from().time());
            let seconds = (range.to().date().and_time(range.to().time()) - begin).num_seconds();
            prop_assume!(seconds > 1);
            let before = 1 + at.index(usize::try_from(seconds - 1).expect("few"));
            let middle = begin + chrono::TimeDelta::seconds(i64::try_from(before).expect("few"));
            let middle: LocalTime = middle.format("%Y-%m-%dT%H:%M:%S").to_string().parse().expect("a local time");
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
            for ((first, second), whole) in first.lines.iter().zip(second.lines.iter()).zip(whole.lines.iter()) {
                prop_assert_eq!(joined([first, second]), Some(whole.figures));
            }
        }

        /// Independent of grid and tally: the rows of every group are looked for one by one.
        #[test]
        fn a_breakdown_holds_the_use_of_each_group_and_sums_to_the_statement(
            input in input(), breakdown in prop::sample::select(&GROUPED[..]),
        ) {
            let spec = input.spec.clone().with_breakdown(Some(breakdown));
            let model = fold(&spec, &input.accounts, &input.rows).expect("small sums");
            let statement = folded(&input, spec.range(), spec.grouping(), spec.scope());
            prop_assert_eq!(&model.totals, &statement.totals);
            prop_assert_eq!(&model.subtotals, &statement.subtotals);
            for (section, whole) in model.sections().zip(statement.sections()) {
                for period in whole.lines() {
                    let parts: Vec<Line> = section.lines()
                        .filter(|line| line.range == period.range && line.credit_type == period.credit_type)
                        .collect();
                    let sum = |of: fn(&Figures) -> Credits| parts.iter().map(|line| of(&line.figures).get()).sum::<i64>();
                    prop_assert_eq!(sum(|figures| figures.consumed), period.figures.consumed.get());
                    prop_assert_eq!(sum(|figures| figures.refunded), period.figures.refunded.get());
                    let counts = parts.iter().filter_map(|line| line.counts).reduce(Counts::plus);
                    prop_assert_eq!(counts.unwrap_or_default(), period.counts.unwrap_or_default());
                    for part in &parts {
                        let (consumed, refunded) = used(&input, part, breakdown);
                        prop_assert_eq!((part.figures.consumed.get(), part.figures.refunded.get()), (consumed, refunded));
                    }
                    if breakdown.is_by_use() && period.credit_type == LineType::Total {
                        prop_assert!(parts.is_sorted_by_key(|line| Reverse(line.figures.consumed)));
                    }
                }
                let known: usize = whole.lines().step_by(3)
                    .map(|period| section.lines().filter(|line| line.range == period.range).count()).sum();
                prop_assert_eq!(known, section.lines().count());
            }
        }

        #[test]
        fn the_platform_is_the_sum_of_its_accounts(input in input()) {
            let by = |scope| folded(&input, input.spec.range(), input.spec.grouping(), scope);
            let (platform, accounts) = (by(Scope::Platform), by(Scope::Account));
            prop_assert_eq!(&platform.totals, &accounts.totals);
            for (at, line) in platform.lines.iter().enumerate() {
                let sum = accounts.sections().map(|section| section.lines().nth(at).expect("its line").figures)
                    .try_fold(Figures::default(), |sum, figures| sum.plus(&figures)).expect("small sums");
                prop_assert_eq!(line.figures, sum);
            }
        }
    }
}
