//! The sheets of figures: every line of the report with its totals, and what was consumed per period with its chart.

use super::super::chart::{Frame, Subject, chart, consumption};
use super::{Looks, cut, heading, number, put, put_plain, set_looks};
use crate::core::statement::{Cell, Column, Line, LineType, Record, ReportModel};
use rust_xlsxwriter::utility::column_number_to_name;
use rust_xlsxwriter::{
    Chart, ChartFormat, ChartLegendPosition, ChartSolidFill, ChartType, ColNum, ConditionalFormatFormula, Format,
    FormatAlign, Formula, IgnoreError, RowNum, Worksheet, XlsxError,
};

const FIGURES: &str = "Figures";
pub(super) const PERIODS: &str = "By period";

/// The widest column of text, in characters: longer ones can be made wider by whoever reads them.
const WIDTH_MAX: usize = 40;
/// Longest alternative text of a chart, in units of UTF-16: Excel takes no more. What all figures come to stands at its beginning.
pub(super) const ALT_UNITS_MAX: usize = 255;
/// What the arrow of a filter and the edges of a cell take, in characters.
const MARGIN: usize = 4;
/// Most cells that the formulas by period look at together: a spreadsheet calculates them all when it opens the workbook.
const LOOKED_AT_MAX: u64 = 20_000_000;
/// A page of paper of the size A4, by its number.
const A4: u8 = 9;

/// Where the lines of the report stand on the sheet of figures.
pub(super) struct Layout<'a> {
    columns: &'a [Column],
    lines: RowNum,
    has_periods: bool,
}

impl Layout<'_> {
    pub(super) fn of(model: &ReportModel) -> Result<Layout<'_>, XlsxError> {
        Ok(Layout {
            columns: model.spec.columns(),
            lines: RowNum::try_from(model.record_count()).map_err(|_| XlsxError::RowColumnLimitError)?,
            has_periods: model.spec.period_count() > 1,
        })
    }

    /// The lines' cells in `column`.
    fn cells(&self, column: Column) -> Option<String> {
        let at = self.columns.iter().position(|there| *there == column)?;
        let name = column_number_to_name(ColNum::try_from(at).ok()?);
        (self.lines > 0).then(|| format!("{FIGURES}!${name}$2:${name}${}", self.lines + 1))
    }

    /// The sum over the lines of one type; `None` where the report lacks a column by which to tell them. What was there
    /// at the beginning is what was there when the first period began; what is there at the end, when the last one did.
    pub(super) fn total(&self, of: Column, credit_type: LineType) -> Option<String> {
        let (figures, types) = (self.cells(of)?, self.cells(Column::CreditType)?);
        let when = match of {
            Column::CarriedIn if self.has_periods => {
                let from = self.cells(Column::From)?;
                format!(",{from},MIN({from})")
            }
            Column::Remaining if self.has_periods => {
                let to = self.cells(Column::To)?;
                format!(",{to},MAX({to})")
            }
            _ => String::new(),
        };
        Some(format!("SUMIFS({figures},{types},\"{credit_type}\"{when})"))
    }

    /// What was consumed of one type on the lines that begin with what stands in `cell`.
    fn consumed_from(&self, cell: &str, credit_type: LineType) -> Option<String> {
        let [figures, types, from] = [Column::Consumed, Column::CreditType, Column::From].map(|of| self.cells(of));
        Some(format!("SUMIFS({},{},\"{credit_type}\",{},{cell})", figures?, types?, from?))
    }
}

pub(super) fn figures(sheet: &mut Worksheet, model: &ReportModel, layout: &Layout) -> Result<(), XlsxError> {
    let columns = || (0..).zip(layout.columns.iter().copied());
    let last = ColNum::try_from(layout.columns.len().saturating_sub(1)).unwrap_or(ColNum::MAX);
    head(sheet, FIGURES, columns().map(|(_, column)| (column.as_str(), column.is_figure(), width(model, column))))?;
    if layout.lines > 0 {
        sheet.autofilter(0, 0, layout.lines, last)?;
        // An account may be called 007.
        sheet.ignore_error_range(1, 0, layout.lines, last, IgnoreError::NumberStoredAsText)?;
    }
    let (strong, foot) = (Looks::strong(), Looks::foot());
    columns().try_for_each(|(at, column)| set_looks(sheet, at, column))?;
    let is_said = emphasis(sheet, layout, last)?;
    for (row, record) in (1..).zip(model.records()) {
        let is_total = matches!(record, Record::Line(Line { credit_type: LineType::Total, .. }));
        columns().try_for_each(|(at, column)| match is_total && !is_said {
            true => put(sheet, (row, at), record.cell(column), strong),
            false => put_plain(sheet, (row, at), record.cell(column)),
        })?;
    }
    // The kinds of a log take and give, so that its credits have no sum that means anything.
    let totals = if model.is_log() { &[] } else { model.totals.as_slice() };
    for (row, line) in (layout.lines + 1..).zip(totals) {
        for (at, column) in columns() {
            match (line.cell(column), layout.total(column, line.credit_type)) {
                (Cell::Credits(sum), Some(formula)) => calculated(sheet, (row, at), formula, sum.get(), foot)?,
                (Cell::Count(sum), Some(formula)) => calculated(sheet, (row, at), formula, sum, foot)?,
                (Cell::Blank, _) if column == Column::Account => put(sheet, (row, at), Cell::Word("All"), foot)?,
                (Cell::Blank, _) => {
                    sheet.write_blank(row, at, &foot.text)?;
                }
                (cell, _) => put(sheet, (row, at), cell, foot)?,
            }
        }
    }
    Ok(())
}

/// Says once that lines of both types together are strong; false where no column tells them.
fn emphasis(sheet: &mut Worksheet, layout: &Layout, last: ColNum) -> Result<bool, XlsxError> {
    let Some(at) = layout.columns.iter().position(|column| *column == Column::CreditType) else { return Ok(false) };
    if layout.lines > 0 {
        let name = column_number_to_name(ColNum::try_from(at).unwrap_or(ColNum::MAX));
        let is_total = format!("=${name}2=\"{}\"", LineType::Total);
        let strong = ConditionalFormatFormula::new().set_rule(is_total.as_str()).set_format(Format::new().set_bold());
        sheet.add_conditional_format(1, 0, layout.lines, last, &strong)?;
    }
    Ok(true)
}

/// `is_followed` where the lines on the sheet of figures are those of these periods, so that formulas can point to them.
pub(super) fn periods(
    sheet: &mut Worksheet,
    model: &ReportModel,
    layout: &Layout,
    is_followed: bool,
) -> Result<(), XlsxError> {
    let date_width = width(model, Column::From);
    let names = [("from", false), ("to", false), ("free", true), ("purchased", true), ("total", true)];
    head(sheet, PERIODS, names.map(|(name, is_figure)| (name, is_figure, if is_figure { 14 } else { date_width })))?;
    for (at, column) in
        [(0, Column::From), (1, Column::To), (2, Column::Consumed), (3, Column::Consumed), (4, Column::Consumed)]
    {
        set_looks(sheet, at, column)?;
    }
    let foot = Looks::foot();
    let all = consumption(model);
    let looked_at = (all.len() as u64).saturating_mul(u64::from(layout.lines)).saturating_mul(6);
    let has_formulas = is_followed && looked_at <= LOOKED_AT_MAX;
    let mut last = 0;
    for (row, period) in (1..).zip(&all) {
        put_plain(sheet, (row, 0), Cell::Date(period.range.from()))?;
        put_plain(sheet, (row, 1), Cell::Date(period.range.to()))?;
        for (at, of, credits) in [(2, LineType::Free, period.free), (3, LineType::Purchased, period.purchased)] {
            match layout.consumed_from(&format!("$A{}", row + 1), of).filter(|_| has_formulas) {
                Some(formula) => sheet.write_formula(row, at, with_result(formula, credits))?,
                None => sheet.write_number(row, at, number(credits))?,
            };
        }
        sheet.write_formula(row, 4, with_result(format!("C{0}+D{0}", row + 1), period.total()))?;
        last = row;
    }
    sheet.write_string_with_format(last + 1, 0, "All", &foot.text)?.write_blank(last + 1, 1, &foot.text)?;
    let sums = [all.iter().map(|of| of.free).sum::<i64>(), all.iter().map(|of| of.purchased).sum()];
    for (at, name, sum) in [(2, "C", sums[0]), (3, "D", sums[1]), (4, "E", sums[0] + sums[1])] {
        calculated(sheet, (last + 1, at), format!("SUM({name}2:{name}{})", last + 1), sum, foot)?;
    }
    if let Some(drawn) = chart(model, Subject::Consumption, Frame::PLAIN) {
        sheet.insert_chart(1, 6, &bars(model, last, drawn.description()))?;
    }
    Ok(())
}

/// What was consumed per period, stacked by type: the cells of the sheet, drawn by whoever opens the workbook.
fn bars(model: &ReportModel, last: RowNum, description: &str) -> Chart {
    let mut chart = Chart::new(ChartType::ColumnStacked);
    stacks(&mut chart, PERIODS, last, 2);
    chart.title().set_name(&format!("Credits consumed per {}", model.spec.grouping()));
    chart.x_axis().set_text_axis(true).set_num_format("yyyy-mm-dd");
    chart.y_axis().set_num_format("#,##0");
    chart.legend().set_position(ChartLegendPosition::Bottom);
    chart.set_width(900).set_height(420).set_alt_text(cut(description, ALT_UNITS_MAX));
    chart
}

/// Free and purchased credits on each other, from two columns of a sheet whose first column says of what.
pub(super) fn stacks(chart: &mut Chart, sheet: &str, last: RowNum, free: ColNum) {
    for (at, name, colour) in [(free, "Free", "#1F7A6B"), (free + 1, "Purchased", "#C07A1E")] {
        let fill = &mut ChartFormat::new();
        fill.set_solid_fill(ChartSolidFill::new().set_color(colour));
        let series = chart.add_series().set_name(name).set_format(fill).set_gap(40);
        series.set_categories((sheet, 1, 0, last, 0)).set_values((sheet, 1, at, last, at));
    }
}

/// Names a sheet and its columns, which stay in sight on the screen and on every page of paper.
pub(super) fn head(
    sheet: &mut Worksheet,
    name: &str,
    columns: impl IntoIterator<Item = (&'static str, bool, u16)>,
) -> Result<(), XlsxError> {
    sheet.set_name(name)?.set_freeze_panes(1, 0)?.set_repeat_rows(0, 0)?;
    sheet.set_landscape().set_paper_size(A4).set_print_fit_to_pages(1, 0);
    let [left, right] = [FormatAlign::Left, FormatAlign::Right].map(|align| heading().set_align(align));
    for (at, (name, is_figure, width)) in (0..).zip(columns) {
        sheet.write_string_with_format(0, at, name, if is_figure { &right } else { &left })?;
        sheet.set_column_width(at, width)?;
    }
    Ok(())
}

/// A formula and what comes out of it.
pub(super) fn calculated(
    sheet: &mut Worksheet,
    (row, column): (RowNum, ColNum),
    formula: String,
    result: impl ToString,
    looks: &Looks,
) -> Result<(), XlsxError> {
    sheet.write_formula_with_format(row, column, with_result(formula, result), &looks.number)?;
    Ok(())
}

fn with_result(formula: String, result: impl ToString) -> Formula {
    Formula::new(formula).set_result(result.to_string())
}

/// Characters for everything that stands in `column`.
fn width(model: &ReportModel, column: Column) -> u16 {
    let needed = |record: Record| match record.cell(column) {
        Cell::Text(text) => text.chars().take(WIDTH_MAX).count(),
        Cell::Word(word) => word.len(),
        cell @ (Cell::Date(_) | Cell::Time(_) | Cell::Instant(_)) => cell.to_string().len(),
        Cell::Credits(credits) => usize::from(credits.get() < 0) + digits(credits.get().unsigned_abs()),
        Cell::Count(count) => digits(count),
        Cell::Blank => 0,
    };
    let widest = model.records().chain(model.totals.iter().copied().map(Record::Line)).map(needed).max().unwrap_or(0);
    u16::try_from(widest.max(column.as_str().len()) + MARGIN).unwrap_or(u16::MAX)
}

/// Characters of a number in groups of three.
fn digits(of: u64) -> usize {
    let digits = of.checked_ilog10().unwrap_or(0) as usize + 1;
    digits + (digits - 1) / 3
}
