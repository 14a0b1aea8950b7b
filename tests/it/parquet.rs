//! Parquet files of reports as others read them: by DuckDB, every cell beside the CSV of the same model.
//!
//! Where python3 has no duckdb, what needs it says so and passes without being run, or fails when `CREDITD_REQUIRE_DUCKDB=1`
//! is set.

use super::support::python_with;
use super::workbooks::{MARCH_AND_APRIL, log, model};
use creditd::core::calendar::Instant;
use creditd::core::statement::{Breakdown, Column, Grouping, ReportModel};
use creditd::report::{Format, render};
use serde_json::Value;
use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;

const READ: &str = include_str!("parquet/read.py");

fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<&str>> = OnceLock::new();
    *PYTHON
        .get_or_init(|| python_with("duckdb", "CREDITD_REQUIRE_DUCKDB", "Parquet by DuckDB; install it (PyPI: duckdb)"))
}

/// What DuckDB finds in a file: names and types of columns, rows as text, metadata.
#[track_caller]
fn read(parquet: &[u8]) -> Value {
    let mut file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a temporary file");
    file.write_all(parquet).expect("written");
    let python = python().expect("asked before");
    let output = Command::new(python).args(["-c", READ]).arg(file.path()).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What stands in CSV without what keeps it from running in a spreadsheet.
fn plain(field: &str) -> &str {
    let marked = field.strip_prefix('\'').filter(|text| text.starts_with(['=', '+', '-', '@', '\t', '\r']));
    marked.unwrap_or(field)
}

/// Compares every cell with the CSV of the same model, and the types with what a column is.
#[track_caller]
fn assert_same_everywhere(model: &ReportModel) -> Value {
    let made = |format| render(model, format, 0).expect("it renders");
    let parquet = made(Format::Parquet);
    assert_eq!(parquet, made(Format::Parquet), "the same model gives the same bytes");
    let found = read(&parquet);
    let csv = made(Format::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let names: Vec<&str> = model.spec.columns().iter().map(|column| column.as_str()).collect();
    let types = found["types"].as_array().expect("types");
    for ((column, name), found) in model.spec.columns().iter().zip(names).zip(types) {
        let day = if model.spec.range().is_whole_days() { "DATE" } else { "TIMESTAMP" };
        let expected = match column {
            Column::From | Column::To => day,
            Column::LocalTime => "TIMESTAMP",
            Column::OccurredAt => "TIMESTAMP WITH TIME ZONE",
            figure if figure.is_figure() => "BIGINT",
            _ => "VARCHAR",
        };
        assert_eq!((found[0].as_str(), found[1].as_str()), (Some(name), Some(expected)));
    }
    let rows = found["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), model.record_count());
    for (row, record) in rows.iter().zip(reader.records()) {
        let record = record.expect("a row");
        let cells: Vec<&str> = row.as_array().expect("cells").iter().map(|cell| cell.as_str().unwrap_or("")).collect();
        // An instant comes as microseconds, whatever DuckDB thinks of zones.
        let shown = |(field, column): (&str, &Column)| match column {
            Column::OccurredAt => Instant::parse(field).expect("an instant").micros().to_string(),
            _ => plain(field).to_owned(),
        };
        assert_eq!(cells, record.iter().zip(model.spec.columns()).map(shown).collect::<Vec<_>>());
    }
    found
}

#[test]
fn duckdb_reads_what_csv_says() {
    if python().is_none() {
        return;
    }
    let names = ["=ann", "שרה 🦊", "<b>eve</b>", "bob"];
    for grouping in [Grouping::Range, Grouping::Day, Grouping::Month] {
        for breakdown in [None, Some(Breakdown::User), Some(Breakdown::Action), Some(Breakdown::Status)] {
            assert_same_everywhere(&model(MARCH_AND_APRIL, grouping, breakdown, &names));
        }
    }
    // Ranges that begin within a day have times, and a report may have no lines.
    assert_same_everywhere(&model(("2026-03-29T06:30", "2026-04-02"), Grouping::Day, None, &names));
    let empty = model(("2026-01-01", "2026-01-02"), Grouping::Day, Some(Breakdown::User), &[]);
    assert_eq!(empty.lines.len(), 0);
    assert_same_everywhere(&empty);
    assert_same_everywhere(&log(&["=1+1", "-1", "\t=1", "שרה 🦊", " ", "007", "a,\"b\"\nc"]));
    assert_same_everywhere(&log(&[]));
}

#[test]
fn the_file_says_what_it_is() {
    if python().is_none() {
        return;
    }
    let found = assert_same_everywhere(&model(MARCH_AND_APRIL, Grouping::Month, None, &["ann"]));
    let about: Vec<String> = found["about"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|pair| format!("{} = {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(about.join("\n"), @r#"
    creditd.as_of = 2026-05-02T06:00:00Z
    creditd.breakdown = 
    creditd.from = 2026-03-01
    creditd.group_by = month
    creditd.schema = creditd.report/1
    creditd.scope = account
    creditd.title = =Use & "more"
    creditd.to = 2026-05-01
    creditd.zones = America/New_York,Asia/Tokyo,Europe/Berlin
    "#);
    assert_eq!(found["compression"], "ZSTD");
}
