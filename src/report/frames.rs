//! The aggregation: ledger rows grouped and summed by polars.
//!
//! polars is compiled without its lazy engine, so this is the eager group-by: one key column that numbers the groups,
//! two columns to sum. What is decided about a row (its period, R1; its column, DESIGN section 4) is decided in the
//! core; the frame only adds up. It must give the same model as `core::statement::fold`, which a property test holds.

use crate::core::credits::{Credits, Split};
use crate::core::statement::{
    Grid, Outcome, Place, ReportAccount, ReportError, ReportModel, ReportSpec, Rows, Tally, assemble, fold,
};
use crate::core::transaction::Kind;
use polars::prelude::*;

/// The keys of one place: every kind with every outcome.
const KEYS_PER_PLACE: u64 = (Kind::ALL.len() * Outcome::ALL.len()) as u64;

/// Groups of one cell: names are numbered by 32 bits.
const GROUPS_PER_CELL: u64 = 1 << 32;

/// The key of the rows outside the range. They stay in the frame: dropping them would copy all the others.
const OUTSIDE: u64 = u64::MAX;

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
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let place = grid.place_of(&row)?;
        keys.push(place.map_or(OUTSIDE, |place| key_of(place, row.kind, row.outcome)));
    }
    let mut tally = Tally::default();
    for sum in sums(keys, rows).map_err(|error| ReportError::Engine(error.to_string()))? {
        if sum.key != OUTSIDE {
            let (place, kind, outcome) = parts_of(sum.key);
            tally.add(place, kind, outcome, sum.delta, sum.rows)?;
        }
    }
    assemble(spec, accounts, rows, &grid, &tally)
}

/// True when no sum of any of the changes can leave the range of credits.
fn sums_fit(rows: &Rows) -> bool {
    let largest = rows.free().iter().chain(rows.purchased()).map(|change| change.unsigned_abs()).max().unwrap_or(0);
    u128::from(largest) * rows.len() as u128 <= u128::from(Credits::LIMIT.get().unsigned_abs())
}

/// Numbers what is summed apart. The largest number is far below [`OUTSIDE`]: lines are bounded, and so are cells.
fn key_of(place: Place, kind: Kind, outcome: Outcome) -> u64 {
    let place = place.cell as u64 * GROUPS_PER_CELL + u64::from(place.group);
    place * KEYS_PER_PLACE + (kind as usize * Outcome::ALL.len() + outcome as usize) as u64
}

/// What a key is of.
#[expect(clippy::cast_possible_truncation, reason = "remainders, and cells, which REPORT_LINES_MAX bounds")]
fn parts_of(key: u64) -> (Place, Kind, Outcome) {
    let (place, within) = (key / KEYS_PER_PLACE, (key % KEYS_PER_PLACE) as usize);
    let place = Place { cell: (place / GROUPS_PER_CELL) as usize, group: (place % GROUPS_PER_CELL) as u32 };
    (place, Kind::ALL[within / Outcome::ALL.len()], Outcome::ALL[within % Outcome::ALL.len()])
}

/// What polars found under one key.
struct Sum {
    key: u64,
    delta: Split,
    rows: u64,
}

#[expect(deprecated, reason = "`sum` is deprecated in favour of the lazy engine, which we do without")]
fn sums(keys: Vec<u64>, rows: &Rows) -> PolarsResult<Vec<Sum>> {
    let frame = DataFrame::new_infer_height(vec![
        UInt64Chunked::from_vec("key".into(), keys).into_column(),
        Int64Chunked::from_slice("free".into(), rows.free()).into_column(),
        Int64Chunked::from_slice("purchased".into(), rows.purchased()).into_column(),
    ])?;
    let grouped = frame.group_by(["key"])?;
    let sums = grouped.clone().select(["free", "purchased"]).sum()?;
    let counts = grouped.select(["free"]).count()?;
    let (key, count) = (sums.column("key")?.u64()?, counts.column("free_count")?.idx()?);
    let (free, purchased) = (sums.column("free_sum")?.i64()?, sums.column("purchased_sum")?.i64()?);
    let columns = key.into_no_null_iter().zip(free.into_no_null_iter()).zip(purchased.into_no_null_iter());
    Ok(columns
        .zip(count.into_no_null_iter())
        .map(|(((key, free), purchased), rows)| Sum {
            key,
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
        fn a_key_is_what_it_is_of(
            cell in 0..usize::try_from(REPORT_LINES_MAX).expect("small"),
            group in any::<u32>(),
            kind in prop::sample::select(Kind::ALL),
            outcome in prop::sample::select(Outcome::ALL),
        ) {
            let place = Place { cell, group };
            let key = key_of(place, kind, outcome);
            prop_assert!(key < OUTSIDE);
            prop_assert_eq!(parts_of(key), (place, kind, outcome));
        }
    }

    #[test]
    fn a_row_of_no_account_is_an_error() {
        let row = Row {
            account: 0,
            counts_at: crate::core::calendar::Instant::MIN,
            kind: Kind::Charge,
            outcome: Outcome::Succeeded,
            name: crate::core::statement::Name::NONE,
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
