//! The aggregation: ledger rows grouped and summed by polars.
//!
//! This is the eager group-by, for rows that are in memory: one key column that numbers the groups, two columns to sum. What is decided about a row (its period, R1; its column, DESIGN section 4) is decided in the
//! core; the frame only adds up. It must give the same model as `core::statement::fold`, which a property test holds.

use crate::core::credits::{Credits, Split};
use crate::core::statement::{
    Grid, ReportAccount, ReportError, ReportModel, ReportSpec, Rows, Sum, SumKey, Tally, assemble, fold,
};
use polars::prelude::*;

/// Fewer rows are added up one by one before the engine has begun: a month of one account has a few hundred.
const ROWS_MIN: usize = 2_000;

/// Adds up `rows`: with polars, unless they are few. Same arguments and same model as the plain fold of the core, in a fraction of the time.
///
/// # Errors
/// [`ReportError`] when the report would not fit, a sum is out of range, or a row belongs to no account.
pub fn aggregate(spec: &ReportSpec, accounts: &[ReportAccount], rows: &Rows) -> Result<ReportModel, ReportError> {
    if rows.len() < ROWS_MIN { fold(spec, accounts, rows) } else { by_polars(spec, accounts, rows) }
}

fn by_polars(spec: &ReportSpec, accounts: &[ReportAccount], rows: &Rows) -> Result<ReportModel, ReportError> {
    if !sums_fit(rows) {
        // polars wraps around where a sum overflows; the fold checks every addition.
        return fold(spec, accounts, rows);
    }
    let grid = Grid::new(spec, accounts)?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let place = grid.place_of(&row)?;
        // Rows outside the range stay in the frame: dropping them would copy all the others.
        keys.push(place.map_or(SumKey::OUTSIDE, |place| SumKey::new(place, row.kind, row.outcome)).0);
    }
    let mut sums = sums(keys, rows).map_err(|error| ReportError::Engine(error.to_string()))?;
    sums.retain(|sum| sum.key != SumKey::OUTSIDE);
    let tally = rows.summed().with(Tally::of(sums)?)?;
    assemble(spec, accounts, rows, &grid, &tally)
}

/// True when no sum of any of the changes can leave the range of credits.
fn sums_fit(rows: &Rows) -> bool {
    let largest = rows.free().iter().chain(rows.purchased()).map(|change| change.unsigned_abs()).max().unwrap_or(0);
    u128::from(largest) * rows.len() as u128 <= u128::from(Credits::LIMIT.get().unsigned_abs())
}

#[expect(deprecated, reason = "`sum` is deprecated in favour of the lazy engine, which has nothing to put off here")]
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
            key: SumKey(key),
            delta: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            rows: u64::from(rows),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::testing::input;
    use crate::core::statement::{Outcome, Row};
    use crate::core::transaction::Kind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn polars_and_the_fold_agree(input in input()) {
            let model = by_polars(&input.spec, &input.accounts, &input.rows);
            prop_assert_eq!(model, fold(&input.spec, &input.accounts, &input.rows));
        }

        #[test]
        fn amounts_that_could_wrap_are_errors_or_right(mut input in input(), limit in any::<bool>()) {
            let huge = if limit { Credits::LIMIT } else { Credits::new(i64::MAX) };
            let more: Vec<Row> = input.rows.iter()
                .map(|row| Row { delta: Split { free: huge, purchased: huge.negated() }, ..row })
                .collect();
            input.rows.extend(more);
            let model = by_polars(&input.spec, &input.accounts, &input.rows);
            prop_assert_eq!(model, fold(&input.spec, &input.accounts, &input.rows));
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
        let error = by_polars(&spec, &[], &Rows::from_iter([row])).expect_err("no account");
        assert_eq!(error, ReportError::ForeignRow { account: 0, accounts: 0 });
    }
}
