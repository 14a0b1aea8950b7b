//! The sheet of what stands beside the lines: the comparison, accounts, money, and what used most.

use super::super::more::{Block, Value, blocks};
use super::{Looks, heading, number, put};
use crate::core::statement::{Cell, Line, ReportModel};
use rust_xlsxwriter::{Format, FormatAlign, RowNum, Worksheet, XlsxError};

const NAME: &str = "Summary";
const A4: u8 = 9;
/// Wide enough for a name and for an amount of money.
const WIDTHS: [u16; 8] = [28, 18, 18, 18, 18, 18, 18, 18];
/// The last of these columns.
const LAST: u16 = 7;
/// Characters of a line across all of them, with room for a wide font.
const LINE_CHARS: usize = 120;
/// The largest sum of money in minor units that a sheet holds to the last one.
const MINOR_MAX: u64 = super::FIGURE_MAX;

/// True where there is anything beside the lines.
pub(super) fn has_more(model: &ReportModel) -> bool {
    !blocks(model).is_empty()
}

/// Every line beside those of the report itself.
pub(super) fn more_lines(model: &ReportModel) -> impl Iterator<Item = Line<'_>> {
    let before = model.beside.comparison.iter().flat_map(|before| before.totals.iter().copied());
    let tops = model.beside.tops.iter().flat_map(|top| top.lines.iter().chain(top.rest.iter().copied()));
    model.totals.iter().copied().chain(before).chain(tops)
}

pub(super) fn sheet(sheet: &mut Worksheet, model: &ReportModel) -> Result<(), XlsxError> {
    sheet.set_name(NAME)?.set_landscape().set_paper_size(A4).set_print_fit_to_pages(1, 0);
    for (at, width) in (0..).zip(WIDTHS) {
        sheet.set_column_width(at, width)?;
    }
    let mut row = 0;
    for block in blocks(model) {
        row = write(sheet, &block, row)? + 2;
    }
    Ok(())
}

/// Writes a table from `row` on, and gives the row after it.
fn write(sheet: &mut Worksheet, block: &Block, mut row: RowNum) -> Result<RowNum, XlsxError> {
    let title = Format::new().set_bold().set_font_size(14);
    sheet.write_string_with_format(row, 0, &block.title, &title)?;
    let wrapped = Format::new().set_text_wrap().set_align(FormatAlign::Top);
    sheet.merge_range(row + 1, 0, row + 1, LAST, block.hint, &wrapped)?;
    if block.hint.len() > LINE_CHARS {
        sheet.set_row_height(row + 1, 30)?;
    }
    row += 2;
    let is_text = |at: usize| block.rows.iter().all(|row| matches!(row[at], Value::Word(_) | Value::Given(_)));
    for (at, (column, name)) in (0..).zip(block.heads.iter().enumerate()) {
        let align = if is_text(column) { FormatAlign::Left } else { FormatAlign::Right };
        sheet.write_string_with_format(
            row,
            at,
            *name,
            &heading().set_align(align).set_indent(u8::from(at > 0 && is_text(column))),
        )?;
    }
    let (plain, foot) = (Looks::plain(), Looks::foot());
    for (nth, values) in block.rows.iter().enumerate() {
        row += 1;
        let looks = if block.has_sum && nth + 1 == block.rows.len() { foot } else { plain };
        for (at, value) in (0..).zip(values) {
            match value {
                Value::Word(text) if at > 0 => {
                    sheet.write_string_with_format(row, at, text, &looks.text.clone().set_indent(1))?;
                }
                Value::Word(text) | Value::Given(text) => put(sheet, (row, at), Cell::Text(text), looks)?,
                Value::Number(figure) | Value::Change(figure) => match i64::try_from(*figure) {
                    Ok(figure) if figure.unsigned_abs() <= super::FIGURE_MAX => {
                        sheet.write_number_with_format(row, at, number(figure), &looks.number)?;
                    }
                    // A sheet would round it.
                    _ => put(sheet, (row, at), Cell::Text(&figure.to_string()), looks)?,
                },
                Value::Money(money) if money.minor.unsigned_abs() <= MINOR_MAX => {
                    let digits = usize::try_from(money.decimals()).unwrap_or(0);
                    let point = if digits == 0 { "" } else { "." };
                    let code: String = money.currency.chars().filter(char::is_ascii_alphabetic).collect();
                    let form = format!("#,##0{point}{:0<digits$} \"{code}\"", "");
                    let unit = number(10_i64.pow(money.decimals()));
                    let look = looks.text.clone().set_num_format(form).set_align(FormatAlign::Right);
                    sheet.write_number_with_format(row, at, number(money.minor) / unit, &look)?;
                }
                Value::Money(_) => put(sheet, (row, at), Cell::Text(&value.said()), looks)?,
                Value::Blank => {}
            }
        }
    }
    Ok(row + 1)
}
