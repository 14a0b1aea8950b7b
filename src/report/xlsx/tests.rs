//! Bounds, and that the clock is not asked. What a workbook says is read back in `tests/it/workbooks.rs`.

use super::*;
use crate::core::credits::Credits;
use crate::core::statement::{Grouping, Scope};
use crate::report::testing::report;
use crate::report::{Format as Form, RenderError, render as rendered};

fn platform() -> ReportModel {
    report("t", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Platform, &["a"])
}

#[test]
fn what_a_workbook_cannot_hold_is_refused() {
    let model = platform();
    let refused = |model: &ReportModel| match rendered(model, Form::Xlsx, 0) {
        Err(RenderError::Unfit(unfit)) => unfit.to_string(),
        other => panic!("{other:?}"),
    };
    let many = model.lines.repeated(LINES_MAX / LINES_PER_PERIOD + 1);
    insta::assert_snapshot!(refused(&ReportModel { lines: many, ..model.clone() }), @"the report has 1,048,575 lines and a sheet of a workbook holds 1,048,572: write it as csv, or choose fewer accounts or longer periods");
    let long = |lines: usize| ReportModel { lines: model.lines.repeated(lines / LINES_PER_PERIOD), ..model.clone() };
    assert!(rendered(&long(49_998), Form::Table, 80).is_ok());
    insta::assert_snapshot!(rendered(&long(50_001), Form::Table, 80).expect_err("too long"), @"the report has 50,001 lines and a table holds 50,000: write it as csv, or choose fewer accounts or longer periods");
    let large = |credits: i64| {
        let mut model = model.clone();
        model.lines.figures_mut().nth(3).expect("a day").adjusted = Credits::new(credits);
        model
    };
    insta::assert_snapshot!(refused(&large(-1_000_000_000_000_000)), @"adjusted is -1000000000000000 on a line of the report and a spreadsheet keeps 15 digits: write it as csv");
    assert_eq!(check(&large(-999_999_999_999_999)), Ok(()));
}

#[test]
fn the_same_model_gives_the_same_bytes_at_any_time() {
    let bytes = || render(&platform()).expect("it renders");
    let first = bytes();
    // A second is what a clock in the file would show.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert!(first == bytes());
}

#[test]
fn text_is_cut_where_a_cell_ends() {
    let fits = "x".repeat(TEXT_UNITS_MAX);
    assert_eq!(fitted(&fits), fits);
    let cut = fitted(&format!("{fits}y")).into_owned();
    assert_eq!((cut.encode_utf16().count(), cut.ends_with("x…")), (TEXT_UNITS_MAX, true));
    // A fox takes two units and is not cut in half.
    let short = super::cut(&fits, 255).into_owned();
    assert_eq!((short.encode_utf16().count(), short.ends_with("x…")), (255, true));
    let foxes = "🦊".repeat(TEXT_UNITS_MAX);
    let cut = fitted(&foxes).into_owned();
    assert_eq!((cut.encode_utf16().count(), cut.ends_with("🦊…")), (TEXT_UNITS_MAX, true));
}
