//! Parquet: the lines of a report in typed columns, for any engine that reads it.
//!
//! Names and words are strings, `from` and `to` are dates (timestamps without a zone where the range begins or ends within a
//! day, as they are times by each account's own clock), figures are 64-bit integers, and what does not apply is null. What
//! the report is stands in the file's own metadata. The same model gives the same bytes.

use super::Rendered;
use crate::core::statement::{Cell, Column as ReportColumn, LocalTime, ReportModel};
use chrono::NaiveDateTime;
use polars::prelude::*;

/// Lines of one row group: what a reader skips or takes as a whole.
const LINES_PER_GROUP: usize = 262_144;
/// Bytes of one page before it is compressed.
const PAGE_BYTES: usize = 1024 * 1024;

pub(super) fn render(model: &ReportModel) -> Rendered {
    let columns = model.spec.columns().iter().map(|column| values(model, *column)).collect::<PolarsResult<Vec<_>>>()?;
    let mut frame = DataFrame::new(model.lines.len(), columns)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(LINES_PER_GROUP))
        .with_data_page_size(Some(PAGE_BYTES))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(about(model))))
        .finish(&mut frame)?;
    Ok(bytes)
}

/// What the report is, for whoever is only given the file.
fn about(model: &ReportModel) -> Vec<(String, String)> {
    let spec = &model.spec;
    let by = spec.breakdown().map_or("", |breakdown| breakdown.as_str());
    [
        ("creditd.schema", "creditd.report/1".to_owned()),
        ("creditd.title", spec.title().to_owned()),
        ("creditd.from", spec.range().from().to_string()),
        ("creditd.to", spec.range().to().to_string()),
        ("creditd.as_of", spec.as_of().to_string()),
        ("creditd.scope", spec.scope().to_string()),
        ("creditd.group_by", spec.grouping().to_string()),
        ("creditd.breakdown", by.to_owned()),
        ("creditd.zones", model.zones.join(",")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// All cells of one column.
fn values(model: &ReportModel, column: ReportColumn) -> PolarsResult<Column> {
    let name: PlSmallStr = column.as_str().into();
    let cells = model.lines.iter().map(|line| line.cell(column));
    if column.is_figure() {
        let numbers = cells.map(number).collect::<PolarsResult<Int64Chunked>>()?;
        return Ok(numbers.with_name(name).into_column());
    }
    if !matches!(column, ReportColumn::From | ReportColumn::To) {
        let texts: StringChunked = cells.map(text).collect();
        return Ok(texts.with_name(name).into_column());
    }
    let times = cells.map(|cell| if let Cell::Date(time) = cell { Some(time) } else { None });
    if model.spec.range().is_whole_days() {
        let days = times.map(|time| time.map(days_since_epoch).transpose()).collect::<PolarsResult<Int32Chunked>>()?;
        return Ok(days.with_name(name).into_date().into_column());
    }
    let micros: Int64Chunked = times.map(|time| time.map(|time| moment(time).and_utc().timestamp_micros())).collect();
    Ok(micros.with_name(name).into_datetime(TimeUnit::Microseconds, None).into_column())
}

fn number(cell: Cell) -> PolarsResult<Option<i64>> {
    match cell {
        Cell::Credits(credits) => Ok(Some(credits.get())),
        Cell::Count(count) => {
            let count = i64::try_from(count);
            count.map(Some).map_err(|_| polars_err!(ComputeError: "a count is beyond 64 bits with a sign"))
        }
        Cell::Text(_) | Cell::Word(_) | Cell::Date(_) | Cell::Blank => Ok(None),
    }
}

fn text(cell: Cell<'_>) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        Cell::Word(word) => Some(word),
        Cell::Credits(_) | Cell::Count(_) | Cell::Date(_) | Cell::Blank => None,
    }
}

fn moment(time: LocalTime) -> NaiveDateTime {
    time.date().and_time(time.time())
}

fn days_since_epoch(time: LocalTime) -> PolarsResult<i32> {
    let days = (time.date() - chrono::NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|_| polars_err!(ComputeError: "{time} is too far from 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::{Breakdown, Grouping, Scope};
    use crate::report::testing::{broken_down, report, statement};

    fn read(model: &ReportModel) -> DataFrame {
        let bytes = render(model).expect("it renders");
        assert_eq!(bytes, render(model).expect("it renders"), "the same model gives the same bytes");
        ParquetReader::new(std::io::Cursor::new(bytes)).finish().expect("Parquet")
    }

    fn types(frame: &DataFrame) -> String {
        let types = frame.columns().iter().map(|column| format!("{}:{}", column.name(), column.dtype()));
        types.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn columns_have_honest_types() {
        insta::assert_snapshot!(types(&read(&statement())), @"account:str from:date to:date credit_type:str carried_in:i64 allocated:i64 purchased:i64 bonus:i64 consumed:i64 refunded:i64 lapsed:i64 returned:i64 adjusted:i64 remaining:i64 succeeded:i64 failed:i64 refused:i64");
        let within = report("t", "2026-03-01T06:00", "2026-04-01", Grouping::Week, Scope::Platform, &["a"]);
        insta::assert_snapshot!(types(&read(&within)), @"account:str from:datetime[μs] to:datetime[μs] credit_type:str carried_in:i64 allocated:i64 purchased:i64 bonus:i64 consumed:i64 refunded:i64 lapsed:i64 returned:i64 adjusted:i64 remaining:i64 succeeded:i64 failed:i64 refused:i64");
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let march = ("2026-03-01", "2026-04-01");
        let users = read(&broken_down("t", march, Grouping::Range, Some(Breakdown::User), Scope::Account, &["a"]));
        let column = |name: &str| users.column(name).expect("there").as_materialized_series().clone();
        assert_eq!(column("user").str().expect("text").get(0), Some("=ann"), "no formula runs in Parquet");
        assert_eq!(column("user").null_count(), 3, "use that names nobody");
        assert_eq!(column("succeeded").null_count(), users.height() / 3 * 2, "counts are on lines of the total");
    }
}
