//! From what was read to the whole report: its lines, and what stands beside them.

use super::aggregate;
use crate::core::statement::{Beside, Comparison, Reading, ReportError, ReportModel, ReportSpec, Top};

/// The report that `spec` asks for.
///
/// # Errors
/// [`ReportError`] when it would not fit or a sum is out of range.
pub fn make(spec: &ReportSpec, reading: Reading) -> Result<ReportModel, ReportError> {
    let Reading { accounts, rows, tops, before, log, facts, days, name, chosen } = reading;
    let model = aggregate(spec, &accounts, &rows)?;
    let mut beside = Beside { log, facts, name, chosen, ..Beside::default() };
    if let (Some(before), Some((accounts, rows))) = (spec.before(), before) {
        let ReportModel { totals, .. } = aggregate(&before, &accounts, &rows)?;
        beside.comparison = Some(Comparison { range: before.range(), totals });
    }
    if let (Some(spec), Some(rows)) = (spec.by_day(accounts.len()), days) {
        beside.days = Some(Box::new(aggregate(&spec, &accounts, &rows)?));
    }
    for (by, rows) in tops {
        match aggregate(&spec.top(by), &accounts, &rows) {
            Ok(used) => beside.tops.push(Top::of(by, &used)?),
            // More users than a report has lines: the statement stands without the few that used most.
            Err(ReportError::TooManyLines { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    beside.tops.retain(|top| !top.lines.is_empty());
    Ok(ReportModel { beside, ..model })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::testing::{GROUPED, Input, input};
    use crate::core::statement::{
        Breakdown, Ending, Figures, Filters, Grouping, LINES_PER_PERIOD, Line, ReportAccount, Row, Rows, Scope,
        TOP_MAX, fold,
    };
    use proptest::prelude::*;

    fn sum<'a>(lines: impl Iterator<Item = Line<'a>>) -> Figures {
        lines.fold(Figures::default(), |sum, line| sum.plus(&line.figures).expect("small"))
    }

    fn read(input: &Input) -> Reading {
        Reading { accounts: input.accounts.clone(), rows: input.rows.clone(), ..Reading::default() }
    }

    proptest! {
        #[test]
        fn those_that_took_most_and_the_others_sum_to_the_statement(input in input(), is_platform in any::<bool>()) {
            let scope = if is_platform { Scope::Platform } else { Scope::Account };
            let one = &input.accounts[..1];
            let accounts: Vec<ReportAccount> = if is_platform { input.accounts.clone() } else { one.to_vec() };
            let mut rows = Rows::default();
            for row in input.rows.iter().filter(|row| (row.account as usize) < accounts.len()) {
                let name = input.rows.text_of(row.name).map_or(row.name, |name| rows.name(name));
                rows.push(Row { name, ..row });
            }
            let spec = input.spec(input.spec.range(), input.spec.grouping(), scope);
            prop_assert!(spec.has_tops(accounts.len()));
            let tops = vec![(Breakdown::Action, rows.clone()), (Breakdown::User, rows.clone())];
            let reading = Reading { accounts, tops, rows, ..Reading::default() };
            let model = make(&spec, reading).expect("small");
            for top in &model.beside.tops {
                prop_assert!(top.lines.len() <= (TOP_MAX + 1) * LINES_PER_PERIOD && top.others != 1);
                prop_assert_eq!(top.others == 0, top.rest.is_empty());
                for (at, total) in model.totals.iter().enumerate() {
                    let parts = || top.lines.iter().chain(top.rest.iter().copied()).skip(at).step_by(LINES_PER_PERIOD);
                    let Figures { consumed, refunded, .. } = sum(parts());
                    prop_assert_eq!((consumed, refunded), (total.figures.consumed, total.figures.refunded));
                    let counts = parts().filter_map(|line| line.counts).reduce(|sum, more| sum.plus(more));
                    prop_assert_eq!(counts.unwrap_or_default(), total.counts.unwrap_or_default());
                }
            }
            let is_used = model.totals[2].figures.consumed.get() != 0;
            prop_assert!(!is_used || model.beside.tops.len() == 2);
        }

        #[test]
        fn a_comparison_is_the_report_of_the_range_before(input in input(), breakdown in prop::option::of(prop::sample::select(&GROUPED[..]))) {
            let spec = input.spec.clone().with_breakdown(breakdown).with_comparison(true).expect("years that are known");
            let before = input.spec.range().before().expect("known");
            let reading = Reading { before: Some((input.accounts.clone(), input.rows.clone())), ..read(&input) };
            let model = make(&spec, reading).expect("small");
            let alone = fold(&input.spec(before, Grouping::Range, spec.scope()), &input.accounts, &input.rows);
            let comparison = model.beside.comparison.expect("asked for");
            prop_assert_eq!(comparison.range, before);
            prop_assert_eq!(before.to(), spec.range().from());
            prop_assert_eq!(comparison.totals, alone.expect("small").totals);
        }

        #[test]
        fn what_is_filtered_has_no_figures_of_a_statement(input in input()) {
            let filters = Filters { statuses: vec![Ending::Failed], ..Filters::default() };
            let spec = input.spec.clone().with_breakdown(Some(Breakdown::Status)).with_filters(filters).expect("valid");
            let model = make(&spec, read(&input)).expect("small");
            for line in model.totals.iter().copied().chain(model.subtotals.iter()) {
                let Figures { consumed, refunded, .. } = line.figures;
                prop_assert_eq!(line.figures, Figures { consumed, refunded, ..Figures::default() });
            }
        }
    }
}
