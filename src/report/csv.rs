//! CSV: the lines of a report, one row each, under the exact column names, numbers plain.
//!
//! A spreadsheet takes text that begins with `= + - @`, TAB or CR for a formula. Such text gets a leading apostrophe;
//! numbers are ours and stay numbers, negative ones too.

use super::Rendered;
use crate::core::statement::{Cell, ReportModel};
use std::borrow::Cow;

pub(super) fn render(model: &ReportModel) -> Rendered {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(model.spec.columns().iter().map(|column| column.as_str()))?;
    for record in model.records() {
        for column in model.spec.columns() {
            match record.cell(*column) {
                Cell::Text(text) => writer.write_field(neutral(text).as_bytes())?,
                cell => writer.write_field(cell.to_string())?,
            }
        }
        writer.write_record(None::<&[u8]>)?;
    }
    Ok(writer.into_inner()?)
}

pub(super) fn neutral(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::{Breakdown, Column, Grouping, Scope};
    use crate::report::testing::{broken_down, report, statement};

    fn shown(model: &ReportModel) -> String {
        String::from_utf8(render(model).expect("it renders")).expect("UTF-8")
    }

    #[test]
    fn a_statement_has_a_row_per_credit_type() {
        insta::assert_snapshot!(shown(&statement()), @"
        account,from,to,credit_type,carried_in,allocated,purchased,bonus,consumed,refunded,lapsed,returned,adjusted,remaining,succeeded,failed,refused
        9e-atl,2026-03-01,2026-04-01,free,0,1500,0,100,1240,0,360,0,0,0,,,
        9e-atl,2026-03-01,2026-04-01,purchased,2750,0,5000,0,60,60,0,2500,-250,5000,,,
        9e-atl,2026-03-01,2026-04-01,total,2750,1500,5000,100,1300,60,360,2500,-250,5000,2,1,1
        ");
    }

    #[test]
    fn a_breakdown_has_rows_of_use_for_every_group() {
        let march = ("2026-03-01", "2026-04-01");
        let model = broken_down("t", march, Grouping::Range, Some(Breakdown::User), Scope::Account, &["9e-atl"]);
        insta::assert_snapshot!(shown(&model), @"
        account,from,to,user,credit_type,consumed,refunded,succeeded,failed,refused
        9e-atl,2026-03-01,2026-04-01,'=ann,free,1200,0,,,
        9e-atl,2026-03-01,2026-04-01,'=ann,purchased,0,0,,,
        9e-atl,2026-03-01,2026-04-01,'=ann,total,1200,0,1,0,1
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,free,40,0,,,
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,purchased,60,0,,,
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,total,100,0,1,0,0
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,free,0,0,,,
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,purchased,0,0,,,
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,total,0,0,0,1,0
        9e-atl,2026-03-01,2026-04-01,,free,0,0,,,
        9e-atl,2026-03-01,2026-04-01,,purchased,0,60,,,
        9e-atl,2026-03-01,2026-04-01,,total,0,60,0,0,0
        ");
    }

    #[test]
    fn text_that_could_run_is_neutral_and_numbers_stay_numbers() {
        let model = report("t", "2026-03-15", "2026-03-16", Grouping::Range, Scope::Account, &["-1"]);
        let columns = vec![Column::Account, Column::Adjusted];
        let spec = model.spec.clone().with_columns(columns).expect("two columns");
        insta::assert_snapshot!(shown(&ReportModel { spec, ..model }), @"
        account,adjusted
        '-1,0
        '-1,-250
        '-1,-250
        ");
        assert_eq!(neutral("=1"), "'=1");
        assert_eq!(neutral("a-1"), "a-1");
    }
}
