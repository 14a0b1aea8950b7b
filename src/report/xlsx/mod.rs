//! XLSX: a workbook of the figures, of the periods with a chart where there are several, and of notes.
//!
//! What comes from outside is written as text, and what looks like a formula is marked as text, so that it stays so when
//! somebody edits the cell. Totals are formulas that remember the total of the model: a program that does not calculate
//! shows the same. Nothing asks the clock; the workbook's own date is the report's as-of.

mod drawn;
mod more;
mod notes;
mod sheets;

use super::{Rendered, Unfit};
use crate::core::statement::{Cell, Column, LINES_PER_PERIOD, LocalTime, Record, ReportModel};
use chrono::{Datelike, NaiveDateTime, Timelike};
use more::{has_more, more_lines};
use rust_xlsxwriter::{
    ColNum, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, RowNum, Workbook, Worksheet, XlsxError,
};
use sheets::Layout;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Rows of a sheet.
const ROWS_MAX: usize = 1_048_576;
/// Lines that a sheet holds between the names of the columns and the totals.
const LINES_MAX: usize = ROWS_MAX - 1 - LINES_PER_PERIOD;
/// Lines that are kept in memory, about 3 kB each; the rows of a longer report wait in a temporary file.
const LINES_IN_MEMORY_MAX: usize = 10_000;
/// The largest figure that a spreadsheet shows to the last credit: it keeps 15 digits.
const FIGURE_MAX: u64 = 999_999_999_999_999;
/// Units of text that a cell holds, in UTF-16.
const TEXT_UNITS_MAX: usize = 32_767;

/// A fraction of the time of the usual 6, for files that are a seventh larger.
const COMPRESSION_LEVEL: u8 = 1;

/// Whether a workbook holds `model` to the last line and credit.
pub(super) fn check(model: &ReportModel) -> Result<(), Unfit> {
    if model.record_count() > LINES_MAX {
        return Err(Unfit::Lines { lines: model.record_count(), max: LINES_MAX, place: "a sheet of a workbook" });
    }
    for line in model.records().chain(more_lines(model).map(Record::Line)) {
        // The notes have the whole statement of a breakdown, too.
        for column in Column::ALL {
            let figure = match line.cell(*column) {
                Cell::Credits(credits) => i128::from(credits.get()),
                Cell::Count(count) => i128::from(count),
                Cell::Text(_) | Cell::Word(_) | Cell::Date(_) | Cell::Time(_) | Cell::Instant(_) | Cell::Blank => {
                    continue;
                }
            };
            if figure.unsigned_abs() > u128::from(FIGURE_MAX) {
                return Err(Unfit::Digits { column: *column, figure });
            }
        }
    }
    Ok(())
}

/// The workbook. [`check`] comes first.
pub(super) fn render(model: &ReportModel) -> Rendered {
    let mut book = Workbook::new();
    let made = moment(model.spec.as_of().to_utc().naive_utc()).or_else(|_| ExcelDateTime::from_ymd(1970, 1, 1))?;
    book.set_properties(&DocProperties::new().set_title(model.spec.title()).set_creation_datetime(&made));
    let layout = Layout::of(model)?;
    let is_long = model.record_count() > LINES_IN_MEMORY_MAX;
    let sheet = if is_long { book.add_worksheet_with_low_memory()? } else { book.add_worksheet() };
    sheets::figures(sheet, model, &layout)?;
    let drawn = model.drawn();
    if drawn.spec.period_count() > 1 {
        let sheet = book.add_worksheet();
        sheets::periods(sheet, drawn, &layout, model.beside.days.is_none())?;
        drawn::balance(sheet, drawn)?;
    } else if let Some(breakdown) = model.spec.breakdown().filter(|_| !model.is_log()) {
        drawn::groups(book.add_worksheet(), model, breakdown)?;
    }
    if has_more(model) {
        more::sheet(book.add_worksheet(), model)?;
    }
    notes::notes(book.add_worksheet(), model, &layout)?;
    book.set_zip_compression_level(COMPRESSION_LEVEL);
    Ok(book.save_to_buffer()?)
}

/// How the cells of a line look.
struct Looks {
    text: Format,
    /// Text that a spreadsheet would take for a formula if it were typed.
    quoted: Format,
    day: Format,
    minute: Format,
    second: Format,
    number: Format,
}

impl Looks {
    fn new(base: &Format) -> Looks {
        let shown_as = |form: &str| base.clone().set_num_format(form);
        let date = |form: &str| shown_as(form).set_align(FormatAlign::Left);
        Looks {
            text: base.clone(),
            quoted: base.clone().set_quote_prefix(),
            day: date("yyyy-mm-dd"),
            minute: date("yyyy-mm-dd hh:mm"),
            second: date("yyyy-mm-dd hh:mm:ss"),
            number: shown_as("#,##0"),
        }
    }

    /// Lines of one type of credits.
    fn plain() -> &'static Looks {
        static LOOKS: LazyLock<Looks> = LazyLock::new(|| Looks::new(&Format::new()));
        &LOOKS
    }

    /// Lines of both together.
    fn strong() -> &'static Looks {
        static LOOKS: LazyLock<Looks> = LazyLock::new(|| Looks::new(&Format::new().set_bold()));
        &LOOKS
    }

    /// Totals below a sheet.
    fn foot() -> &'static Looks {
        static LOOKS: LazyLock<Looks> = LazyLock::new(|| Looks::new(&heading()));
        &LOOKS
    }
}

/// The names of columns.
fn heading() -> Format {
    Format::new().set_bold().set_background_color("#F4F1EA").set_border_bottom(FormatBorder::Thin)
}

/// How cells of a column look that are put there by [`put_plain`]: what most of them have need not be looked up for each, which takes a
/// third of the time of a workbook.
fn set_looks(sheet: &mut Worksheet, at: ColNum, column: Column) -> Result<(), XlsxError> {
    match column {
        Column::From | Column::To => sheet.set_column_format(at, &Looks::plain().day)?,
        column if column.is_figure() => sheet.set_column_format(at, &Looks::plain().number)?,
        _ => sheet,
    };
    Ok(())
}

/// As [`put`] does with plain looks, in a column that has them.
fn put_plain(sheet: &mut Worksheet, at: (RowNum, ColNum), cell: Cell) -> Result<(), XlsxError> {
    let (row, column) = at;
    match cell {
        Cell::Text(text) if !is_like_a_formula(text) => sheet.write_string(row, column, fitted(text))?,
        Cell::Word(word) => sheet.write_string(row, column, word)?,
        Cell::Credits(credits) => sheet.write_number(row, column, number(credits.get()))?,
        Cell::Count(count) => sheet.write_number(row, column, number(i64::try_from(count).unwrap_or(i64::MAX)))?,
        Cell::Date(time) if time.is_midnight() => {
            sheet.write_datetime(row, column, moment(time.date().and_time(time.time()))?)?
        }
        _ => return put(sheet, at, cell, Looks::plain()),
    };
    Ok(())
}

/// Writes what a cell of the report says. Nothing, where it says nothing.
fn put(sheet: &mut Worksheet, at: (RowNum, ColNum), cell: Cell, looks: &Looks) -> Result<(), XlsxError> {
    let (row, column) = at;
    match cell {
        Cell::Text(text) => {
            let look = if is_like_a_formula(text) { &looks.quoted } else { &looks.text };
            sheet.write_string_with_format(row, column, fitted(text), look)?;
        }
        Cell::Word(word) => {
            sheet.write_string_with_format(row, column, word, &looks.text)?;
        }
        Cell::Date(time) => put_time(sheet, at, time, looks)?,
        Cell::Time(time) => {
            sheet.write_datetime_with_format(row, column, moment(time)?, &looks.second)?;
        }
        Cell::Instant(_) => {
            // As text: a sheet knows no zones and no microseconds.
            sheet.write_string_with_format(row, column, cell.to_string(), &looks.text)?;
        }
        Cell::Credits(credits) => {
            sheet.write_number_with_format(row, column, number(credits.get()), &looks.number)?;
        }
        Cell::Count(count) => {
            let count = number(i64::try_from(count).unwrap_or(i64::MAX));
            sheet.write_number_with_format(row, column, count, &looks.number)?;
        }
        Cell::Blank => {}
    }
    Ok(())
}

/// A date, with the time of day where it does not begin one.
fn put_time(
    sheet: &mut Worksheet,
    (row, column): (RowNum, ColNum),
    time: LocalTime,
    looks: &Looks,
) -> Result<(), XlsxError> {
    let look = match time.time().second() {
        _ if time.is_midnight() => &looks.day,
        0 => &looks.minute,
        _ => &looks.second,
    };
    sheet.write_datetime_with_format(row, column, moment(time.date().and_time(time.time()))?, look)?;
    Ok(())
}

/// # Errors
/// When it lies outside the years 1900 to 9999, as no local time of a report does.
fn moment(at: NaiveDateTime) -> Result<ExcelDateTime, XlsxError> {
    let outside = || XlsxError::DateTimeRangeError(at.to_string());
    let year = u16::try_from(at.year()).map_err(|_| outside())?;
    let small = |part: u32| u8::try_from(part).map_err(|_| outside());
    let day = ExcelDateTime::from_ymd(year, small(at.month())?, small(at.day())?)?;
    if at.num_seconds_from_midnight() == 0 {
        return Ok(day);
    }
    day.and_hms(u16::from(small(at.hour())?), small(at.minute())?, small(at.second())?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sheet has no other numbers; `check` lets none by that would lose a digit"
)]
const fn number(figure: i64) -> f64 {
    figure as f64
}

fn is_like_a_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// As much of `text` as a cell holds.
fn fitted(text: &str) -> Cow<'_, str> {
    cut(text, TEXT_UNITS_MAX)
}

/// As much of `text` as has room in so many units of UTF-16, with a mark where something is missing.
fn cut(text: &str, units_max: usize) -> Cow<'_, str> {
    if text.len() <= units_max || text.encode_utf16().count() <= units_max {
        return Cow::Borrowed(text);
    }
    let mut units = 1; // the mark
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units <= units_max
    });
    Cow::Owned(kept.chain(['…']).collect())
}

#[cfg(test)]
mod tests;
