//! Parquet: the lines of a report in typed columns, for any engine that reads it.
//!
//! Names and words are strings, `from` and `to` are dates (timestamps without a zone where the range begins or ends within a
//! day, as they are times by each account's own clock), figures are 64-bit integers, and what does not apply is null. A log
//! has a row per transaction: `local_time` is a timestamp without a zone, `occurred_at` is one in UTC. What the report is
//! stands in the file's own metadata. The same model gives the same bytes.

use super::Rendered;
use super::wording::{filters_said, listed};
use crate::core::statement::{Cell, Column as ReportColumn, ReportModel};
use polars::prelude::*;

/// Rows of one group: what a reader skips or takes as a whole.
const ROWS_PER_GROUP: usize = 262_144;
/// Bytes of one page before it is compressed.
const PAGE_BYTES: usize = 1024 * 1024;

pub(super) fn render(model: &ReportModel) -> Rendered {
    let columns = model.spec.columns().iter().map(|column| values(model, *column)).collect::<PolarsResult<Vec<_>>>()?;
    let mut frame = DataFrame::new(model.record_count(), columns)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROWS_PER_GROUP))
        .with_data_page_size(Some(PAGE_BYTES))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(about(model))))
        .finish(&mut frame)?;
    Ok(bytes)
}

/// What the report is, for whoever is only given the file.
fn about(model: &ReportModel) -> Vec<(String, String)> {
    let spec = &model.spec;
    let by = spec.breakdown().map_or("", |breakdown| breakdown.as_str());
    let mut about = vec![
        ("creditd.schema", "creditd.report/1".to_owned()),
        ("creditd.title", spec.title().to_owned()),
        ("creditd.from", spec.range().from().to_string()),
        ("creditd.to", spec.range().to().to_string()),
        ("creditd.as_of", spec.as_of().to_string()),
        ("creditd.scope", spec.scope().to_string()),
        ("creditd.group_by", spec.grouping().to_string()),
        ("creditd.breakdown", by.to_owned()),
        ("creditd.zones", model.zones.join(",")),
    ];
    if !spec.filters().is_empty() {
        about.push(("creditd.filters", listed(&filters_said(model))));
    }
    about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// All cells of one column.
fn values(model: &ReportModel, column: ReportColumn) -> PolarsResult<Column> {
    let name: PlSmallStr = column.as_str().into();
    let cells = model.records().map(|record| record.cell(column));
    if column.is_figure() {
        let numbers = cells.map(number).collect::<PolarsResult<Int64Chunked>>()?;
        return Ok(numbers.with_name(name).into_column());
    }
    match column {
        ReportColumn::From | ReportColumn::To if model.spec.range().is_whole_days() => {
            let days = cells.map(day).collect::<PolarsResult<Int32Chunked>>()?;
            Ok(days.with_name(name).into_date().into_column())
        }
        ReportColumn::From | ReportColumn::To | ReportColumn::LocalTime => {
            let micros: Int64Chunked = cells.map(micros).collect();
            Ok(micros.with_name(name).into_datetime(TimeUnit::Microseconds, None).into_column())
        }
        ReportColumn::OccurredAt => {
            let micros: Int64Chunked = cells.map(micros).collect();
            Ok(micros.with_name(name).into_datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)).into_column())
        }
        _ => {
            let texts: StringChunked = cells.map(text).collect();
            Ok(texts.with_name(name).into_column())
        }
    }
}

fn number(cell: Cell) -> PolarsResult<Option<i64>> {
    match cell {
        Cell::Credits(credits) => Ok(Some(credits.get())),
        Cell::Count(count) => {
            let count = i64::try_from(count);
            count.map(Some).map_err(|_| polars_err!(ComputeError: "a count is beyond 64 bits with a sign"))
        }
        Cell::Text(_) | Cell::Word(_) | Cell::Date(_) | Cell::Time(_) | Cell::Instant(_) | Cell::Blank => Ok(None),
    }
}

fn text(cell: Cell<'_>) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        Cell::Word(word) => Some(word),
        Cell::Credits(_) | Cell::Count(_) | Cell::Date(_) | Cell::Time(_) | Cell::Instant(_) | Cell::Blank => None,
    }
}

/// Microseconds since 1970, by the clock that the cell is about.
fn micros(cell: Cell) -> Option<i64> {
    match cell {
        Cell::Date(time) => Some(time.date().and_time(time.time()).and_utc().timestamp_micros()),
        Cell::Time(time) => Some(time.and_utc().timestamp_micros()),
        Cell::Instant(instant) => Some(instant.micros()),
        Cell::Text(_) | Cell::Word(_) | Cell::Credits(_) | Cell::Count(_) | Cell::Blank => None,
    }
}

/// Days since 1970.
fn day(cell: Cell) -> PolarsResult<Option<i32>> {
    let Cell::Date(time) = cell else { return Ok(None) };
    let days = (time.date() - chrono::NaiveDate::default()).num_days();
    i32::try_from(days).map(Some).map_err(|_| polars_err!(ComputeError: "{time} is too far from 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::{Breakdown, Grouping, Scope};
    use crate::report::testing::{broken_down, hostile, log, report, statement};

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
    fn a_log_has_a_row_per_transaction() {
        let model = log(&hostile(), Scope::Account);
        let read = read(&model);
        insta::assert_snapshot!(types(&read), @"account:str local_time:datetime[μs] occurred_at:datetime[μs, UTC] user:str action:str quantity:i64 credits:i64 free:i64 purchased:i64 type:str kind:str comment:str status:str reason:str reference:str key:str");
        assert_eq!(read.height(), hostile().len() + 1);
        let column = |name: &str| read.column(name).expect("there").as_materialized_series().clone();
        let comments: Vec<String> =
            column("comment").str().expect("text").iter().flatten().skip(1).map(str::to_owned).collect();
        assert_eq!(comments, hostile(), "no formula runs in Parquet");
        assert_eq!(column("user").null_count(), 1, "the allocation");
        let micros = |name: &str| {
            let times = column(name);
            times.datetime().expect("times").physical().get(1)
        };
        let (local, utc) = (micros("local_time").expect("a time"), micros("occurred_at").expect("a time"));
        assert_eq!(utc, model.beside.log[1].row.occurred_at.micros());
        assert_eq!(local - utc, 3_600_000_000, "the clock of Berlin");
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
