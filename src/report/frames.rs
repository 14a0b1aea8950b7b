//! The aggregation: ledger rows grouped and summed by polars.
//!
//! polars is compiled without its lazy engine, so this is the eager group-by: one key column that numbers the groups,
//! two columns to sum. What is decided about a row (its period, R1; its column, DESIGN section 4) is decided in the
//! core; the frame only adds up. It must give the same model as `core::statement::fold`, which a property test holds.

use crate::core::credits::{Credits, Split};
use crate::core::statement::{Grid, Outcome, ReportAccount, ReportError, ReportModel, ReportSpec, Rows, Tally};
use crate::core::statement::{assemble, fold};
use crate::core::transaction::Kind;
use polars::prelude::*;

/// The groups of one cell of the grid: every kind with every outcome.
const GROUPS_PER_CELL: usize = Kind::ALL.len() * Outcome::ALL.len();

/// The group of the rows outside the range. They stay in the frame: dropping them would copy all the others.
const OUTSIDE: u32 = u32::MAX;

/// Adds up `rows` with polars. Same arguments and same model as the plain fold of the core, in a fraction of the time.
///
/// # Errors
/// [`ReportError`] when the report would not fit, a sum is out of range, or a row belongs to no account.
pub fn aggregate(spec: &ReportSpec, accounts: &[ReportAccount], rows: &Rows) -> Result<ReportModel, ReportError> {
    if !sums_fit(rows) {
        // polars wraps around where a sum overflows; the fold checks every addition.
        return fold(spec, accounts, rows);
    }
    let grid = Grid::new(spec, accounts)?;
    let mut groups = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let cell = grid.cell_of(row.account, row.counts_at)?;
        groups.push(cell.map_or(OUTSIDE, |cell| group_of(cell, row.kind, row.outcome)));
    }
    let mut tally = Tally::new(&grid);
    for sum in sums(groups, rows).map_err(|error| ReportError::Engine(error.to_string()))? {
        if sum.group != OUTSIDE {
            let (cell, kind, outcome) = parts_of(sum.group);
            tally.add(cell, kind, outcome, sum.delta, sum.rows)?;
        }
    }
    assemble(spec, accounts, &grid, &tally)
}

/// True when no sum of any of the changes can leave the range of credits.
fn sums_fit(rows: &Rows) -> bool {
    let largest = rows.free().iter().chain(rows.purchased()).map(|change| change.unsigned_abs()).max().unwrap_or(0);
    u128::from(largest) * rows.len() as u128 <= u128::from(Credits::LIMIT.get().unsigned_abs())
}

/// Numbers a group. The largest number is far below [`OUTSIDE`]: lines are bounded, and so are cells.
#[expect(clippy::cast_possible_truncation, reason = "REPORT_LINES_MAX bounds the cells")]
fn group_of(cell: usize, kind: Kind, outcome: Outcome) -> u32 {
    (cell * GROUPS_PER_CELL + kind as usize * Outcome::ALL.len() + outcome as usize) as u32
}

/// What a group is, from its number.
fn parts_of(group: u32) -> (usize, Kind, Outcome) {
    let group = group as usize;
    let within = group % GROUPS_PER_CELL;
    (group / GROUPS_PER_CELL, Kind::ALL[within / Outcome::ALL.len()], Outcome::ALL[within % Outcome::ALL.len()])
}

/// What polars found of one group.
struct Sum {
    group: u32,
    delta: Split,
    rows: u64,
}

#[expect(deprecated, reason = "`sum` is deprecated in favour of the lazy engine, which we do without")]
fn sums(groups: Vec<u32>, rows: &Rows) -> PolarsResult<Vec<Sum>> {
    let frame = DataFrame::new_infer_height(vec![
        UInt32Chunked::from_vec("group".into(), groups).into_column(),
        Int64Chunked::from_slice("free".into(), rows.free()).into_column(),
        Int64Chunked::from_slice("purchased".into(), rows.purchased()).into_column(),
    ])?;
    let grouped = frame.group_by(["group"])?;
    let sums = grouped.clone().select(["free", "purchased"]).sum()?;
    let counts = grouped.select(["free"]).count()?;
    let (group, count) = (sums.column("group")?.u32()?, counts.column("free_count")?.idx()?);
    let (free, purchased) = (sums.column("free_sum")?.i64()?, sums.column("purchased_sum")?.i64()?);
    let columns = group.into_no_null_iter().zip(free.into_no_null_iter()).zip(purchased.into_no_null_iter());
    Ok(columns
        .zip(count.into_no_null_iter())
        .map(|(((group, free), purchased), rows)| Sum {
            group,
            delta: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            rows: u64::from(rows),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::testing::input;
    use crate::core::statement::{REPORT_LINES_MAX, Row};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn polars_and_the_fold_agree(input in input()) {
            let model = aggregate(&input.spec, &input.accounts, &input.rows);
            prop_assert_eq!(model, fold(&input.spec, &input.accounts, &input.rows));
        }

        #[test]
        fn amounts_that_could_wrap_are_errors_or_right(mut input in input(), limit in any::<bool>()) {
            let huge = if limit { Credits::LIMIT } else { Credits::new(i64::MAX) };
            let more: Vec<Row> = input.rows.iter()
                .map(|row| Row { delta: Split { free: huge, purchased: huge.negated() }, ..row })
                .collect();
            input.rows.extend(more);
            let model = aggregate(&input.spec, &input.accounts, &input.rows);
            prop_assert_eq!(model, fold(&input.spec, &input.accounts, &input.rows));
        }

        #[test]
        fn a_group_is_its_number(
            cell in 0..usize::try_from(REPORT_LINES_MAX).expect("small"),
            kind in prop::sample::select(Kind::ALL),
            outcome in prop::sample::select(Outcome::ALL),
        ) {
            let group = group_of(cell, kind, outcome);
            prop_assert!(group < OUTSIDE);
            prop_assert_eq!(parts_of(group), (cell, kind, outcome));
        }
    }

    #[test]
    fn a_row_of_no_account_is_an_error() {
        let row = Row {
            account: 0,
            counts_at: crate::core::calendar::Instant::MIN,
            kind: Kind::Charge,
            outcome: Outcome::Succeeded,
            delta: Split::ZERO,
        };
        let range = crate::core::statement::DateRange::of_month("2026-03".parse().expect("a month")).expect("valid");
        let spec = ReportSpec::new(
            "t",
            range,
            crate::core::statement::Grouping::Range,
            crate::core::statement::Scope::Account,
            crate::core::calendar::Instant::MAX,
        )
        .expect("valid");
        let error = aggregate(&spec, &[], &Rows::from_iter([row])).expect_err("no account");
        assert_eq!(error, ReportError::ForeignRow { account: 0, accounts: 0 });
    }
}
