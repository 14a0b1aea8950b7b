//! What is drawn beside the bars of periods: a bar for each group of a breakdown, and what was left at the end of each day.

use super::super::chart::{Frame, Subject, chart, used};
use super::sheets::{ALT_UNITS_MAX, PERIODS, calculated, head, stacks};
use super::{Looks, cut, heading, number, put};
use crate::core::ids::cut_text;
use crate::core::statement::{Breakdown, Cell, LineType, ReportModel};
use chrono::Days;
use rust_xlsxwriter::{
    Chart, ChartFormat, ChartLegendPosition, ChartLine, ChartType, FormatAlign, IgnoreError, RowNum, Worksheet,
    XlsxError,
};

/// As much of a name as a bar has room for.
const NAME_CHARS_MAX: usize = 60;
/// Where what was left stands on the sheet of periods, and where its chart does: below that of what was consumed.
const LEFT: u16 = 5;
const CHART_AT: (RowNum, u16) = (23, 6);

/// A sheet of the groups that used most, with a bar for each. All of them are on the sheet of figures.
pub(super) fn groups(sheet: &mut Worksheet, model: &ReportModel, by: Breakdown) -> Result<(), XlsxError> {
    let all = used(model);
    let name = format!("By {by}");
    let columns = [(by.as_str(), false, 32), ("free", true, 14), ("purchased", true, 14), ("total", true, 14)];
    head(sheet, &name, columns)?;
    let (plain, foot) = (Looks::plain(), Looks::foot());
    let mut last = 0;
    for (row, (group, free, purchased)) in (1..).zip(&all) {
        put(sheet, (row, 0), Cell::Text(&cut_text(group, NAME_CHARS_MAX)), plain)?;
        for (at, credits) in [(1, *free), (2, *purchased)] {
            sheet.write_number_with_format(row, at, number(credits), &plain.number)?;
        }
        calculated(sheet, (row, 3), format!("B{0}+C{0}", row + 1), free.saturating_add(*purchased), plain)?;
        last = row;
    }
    if last == 0 {
        return Ok(());
    }
    // A user may be called 007.
    sheet.ignore_error_range(1, 0, last, 0, IgnoreError::NumberStoredAsText)?;
    let sum = |of: fn(&(String, i64, i64)) -> i64| all.iter().fold(0_i64, |sum, one| sum.saturating_add(of(one)));
    let (free, purchased) = (sum(|one| one.1), sum(|one| one.2));
    sheet.write_string_with_format(last + 1, 0, "All", &foot.text)?;
    for (at, letter, sum) in [(1, 'B', free), (2, 'C', purchased), (3, 'D', free.saturating_add(purchased))] {
        calculated(sheet, (last + 1, at), format!("SUM({letter}2:{letter}{})", last + 1), sum, foot)?;
    }
    let mut bars = Chart::new(ChartType::BarStacked);
    stacks(&mut bars, &name, last, 1);
    bars.title().set_name(&format!("Credits consumed by {by}"));
    // The first on top.
    bars.y_axis().set_reverse();
    bars.x_axis().set_num_format("#,##0");
    bars.legend().set_position(ChartLegendPosition::Bottom);
    let description = chart(model, Subject::Breakdown, Frame::PLAIN).map(|drawn| drawn.description().to_owned());
    bars.set_width(900).set_height(420).set_alt_text(cut(&description.unwrap_or_default(), ALT_UNITS_MAX));
    sheet.insert_chart(1, 5, &bars)?;
    Ok(())
}

/// What was left at the end of each period of a statement of one account or of the platform, with a line. Periods that had not
/// begun when the report was read stay empty.
pub(super) fn balance(sheet: &mut Worksheet, model: &ReportModel) -> Result<(), XlsxError> {
    if model.spec.breakdown().is_some() || model.sections().len() != 1 {
        return Ok(());
    }
    sheet.write_string_with_format(0, LEFT, "remaining", &heading().set_align(FormatAlign::Right))?;
    sheet.set_column_width(LEFT, 14)?;
    let plain = Looks::plain();
    let today = model.spec.as_of().to_utc().date_naive() + Days::new(1);
    let mut last = 0;
    let totals = model.lines.iter().filter(|line| line.credit_type == LineType::Total);
    for (row, line) in (1..).zip(totals.take_while(|line| line.range.from().date() <= today)) {
        sheet.write_number_with_format(row, LEFT, number(line.figures.remaining.get()), &plain.number)?;
        last = row;
    }
    let Some(drawn) = chart(model, Subject::Balance, Frame::PLAIN) else { return Ok(()) };
    let mut line = Chart::new(ChartType::Line);
    let mut look = ChartFormat::new();
    look.set_line(ChartLine::new().set_color("#2F66A8").set_width(2.25));
    let series = line.add_series().set_name("Remaining").set_format(&mut look);
    series.set_categories((PERIODS, 1, 0, last, 0)).set_values((PERIODS, 1, LEFT, last, LEFT));
    line.title().set_name(&format!("Credits left at the end of each {}", model.spec.grouping()));
    line.x_axis().set_text_axis(true).set_num_format("yyyy-mm-dd");
    line.y_axis().set_num_format("#,##0");
    line.legend().set_hidden();
    line.set_width(900).set_height(420).set_alt_text(cut(drawn.description(), ALT_UNITS_MAX));
    sheet.insert_chart(CHART_AT.0, CHART_AT.1, &line)?;
    Ok(())
}
