//! The sheet of notes: what the report is, how it adds up, and what its columns mean.

use super::super::wording::{EQUATION, filters_said, meaning_in, period, story, whom, zones};
use super::sheets::{Layout, calculated};
use super::{Looks, fitted, heading, is_like_a_formula, put, put_time};
use crate::core::counting::grouped;
use crate::core::locale::Locale;
use crate::core::statement::{Breakdown, Cell, Column, ReportModel};
use rust_xlsxwriter::{Format, FormatAlign, RowNum, Worksheet, XlsxError};

const NAME: &str = "Notes";
/// Characters of text in a line of the wide column, with room for a wide font: a program that opens the file does not always
/// make rows as high as their text.
const LINE_CHARS: usize = 76;
/// Lines that a row is made high for.
const LINES_MAX: usize = 20;
/// The height of a line, in points.
const LINE_POINTS: u16 = 15;

pub(super) fn notes(sheet: &mut Worksheet, model: &ReportModel, layout: &Layout) -> Result<(), XlsxError> {
    sheet.set_name(NAME)?.set_landscape().set_print_fit_to_pages(1, 0);
    for (at, width) in [(0, 18_u16), (1, 84), (2, 16), (3, 16), (4, 16)] {
        sheet.set_column_width(at, width)?;
    }
    let title = Format::new().set_bold().set_font_size(14);
    let title = if is_like_a_formula(model.spec.title()) { title.set_quote_prefix() } else { title };
    sheet.write_string_with_format(0, 0, fitted(model.spec.title()), &title)?;
    let row = about(sheet, model, 2)?;
    // Of some transactions only it does not add up.
    let row = if model.spec.filters().is_empty() { equation(sheet, model, row + 1)? } else { row };
    columns(sheet, model, layout, row + 1)
}

/// What was asked; gives the row after it, as the others do.
fn about(sheet: &mut Worksheet, model: &ReportModel, mut row: RowNum) -> Result<RowNum, XlsxError> {
    let spec = &model.spec;
    let plain = Looks::plain();
    let label = Format::new().set_bold().set_align(FormatAlign::Top);
    let periods = match spec.breakdown() {
        Some(Breakdown::Transaction) => "none: a log of transactions".to_owned(),
        None => format!("by {}", spec.grouping()),
        Some(breakdown) => format!("by {}, broken down by {breakdown}", spec.grouping()),
    };
    let as_of =
        spec.as_of().to_utc().format("%-d %B %Y, %H:%M:%S UTC: what was recorded later does not count").to_string();
    for (name, what) in [
        ("Accounts", whom(model, usize::MAX)),
        ("Range", period(model)),
        ("Periods", periods),
        ("Time zone", zones(model)),
        ("As of", as_of),
        ("Only", filters_said(model).join(", ")),
        ("Lines", grouped(model.record_count() as u64)),
        (
            "In words",
            if spec.filters().is_empty() {
                story(&model.totals, model.is_over, Locale::default())
            } else {
                String::new()
            },
        ),
    ]
    .into_iter()
    .filter(|(_, what)| !what.is_empty())
    {
        sheet.write_string_with_format(row, 0, name, &label)?;
        write_wrapped(sheet, row, &what)?;
        row += 1;
    }
    for (name, time) in [("From", spec.range().from()), ("Until before", spec.range().to())] {
        sheet.write_string_with_format(row, 0, name, &label)?;
        put_time(sheet, (row, 1), time, plain)?;
        row += 1;
    }
    Ok(row)
}

/// How the whole report adds up, as formulas.
fn equation(sheet: &mut Worksheet, model: &ReportModel, mut row: RowNum) -> Result<RowNum, XlsxError> {
    let head = heading();
    let right = heading().set_align(FormatAlign::Right);
    sheet.write_string_with_format(row, 0, "How it adds up", &head)?.write_blank(row, 1, &head)?;
    for (at, name) in [(2, "free"), (3, "purchased"), (4, "total")] {
        sheet.write_string_with_format(row, at, name, &right)?;
    }
    let first = row + 1;
    let (plain, foot) = (Looks::plain(), Looks::foot());
    for (column, sign, what) in EQUATION {
        row += 1;
        let is_sum = column == Column::Remaining;
        let looks = if is_sum { foot } else { plain };
        let name = format!("{sign} {}", column.heading()).trim_start().to_owned();
        put(sheet, (row, 0), Cell::Text(&name), looks)?;
        put(sheet, (row, 1), Cell::Word(what), looks)?;
        for (at, letter, line) in [(2, 'C', 0), (3, 'D', 1)].map(|(at, letter, line)| (at, letter, &model.totals[line]))
        {
            match line.cell(column) {
                Cell::Credits(sum) if is_sum => {
                    calculated(sheet, (row, at), sum_of_signs(letter, first), sum.get(), looks)?;
                }
                cell => put(sheet, (row, at), cell, looks)?,
            }
        }
        if let Cell::Credits(sum) = model.totals[2].cell(column) {
            calculated(sheet, (row, 4), format!("C{0}+D{0}", row + 1), sum.get(), looks)?;
        }
    }
    Ok(row + 1)
}

/// The equation of one type, whose first figure stands in the row `first`.
fn sum_of_signs(letter: char, first: RowNum) -> String {
    let parts = EQUATION.iter().zip(first + 1..).filter(|((column, ..), _)| *column != Column::Remaining);
    parts
        .map(|((_, sign, _), row)| match *sign {
            "" => format!("{letter}{row}"),
            "−" => format!("-{letter}{row}"),
            _ => format!("+{letter}{row}"),
        })
        .collect()
}

fn columns(sheet: &mut Worksheet, model: &ReportModel, layout: &Layout, mut row: RowNum) -> Result<(), XlsxError> {
    let head = heading();
    sheet.write_string_with_format(row, 0, "Columns", &head)?.write_blank(row, 1, &head)?;
    let name = Format::new().set_align(FormatAlign::Top);
    for column in model.spec.columns() {
        row += 1;
        sheet.write_string_with_format(row, 0, column.as_str(), &name)?;
        write_wrapped(sheet, row, meaning_in(model, *column))?;
    }
    if model.is_log() {
        return Ok(());
    }
    row += 1;
    let totals =
        model.totals.iter().flat_map(|line| model.spec.columns().iter().map(move |of| (*of, line.credit_type)));
    let has_formulas = totals.filter(|(of, _)| of.is_figure()).all(|(of, line)| layout.total(of, line).is_some());
    let how = if has_formulas {
        "The totals below the figures are formulas over the lines of their type, so that they can be followed; they do not \
         change when lines are sorted or hidden. What was carried in is that of the first period, what remains that of \
         the last."
    } else {
        "Totals below the figures that lack a formula are those of the whole report: this choice of columns does not say \
         which lines they sum."
    };
    sheet.write_string_with_format(row + 1, 0, "Totals", &name)?;
    write_wrapped(sheet, row + 1, how)
}

/// Writes text into the wide column, in a row that is high enough for it.
fn write_wrapped(sheet: &mut Worksheet, row: RowNum, text: &str) -> Result<(), XlsxError> {
    let lines = text.chars().count().div_ceil(LINE_CHARS).clamp(1, LINES_MAX);
    if lines > 1 {
        sheet.set_row_height(row, u16::try_from(lines).unwrap_or(1) * LINE_POINTS)?;
    }
    let wrapped = Format::new().set_text_wrap().set_align(FormatAlign::Top);
    sheet.write_string_with_format(row, 1, text, &wrapped)?;
    Ok(())
}
