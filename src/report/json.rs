//! JSON and NDJSON: the lines of a report as objects under the exact column names.
//!
//! Versioned as `creditd.report/1`: fields may be added, none is renamed or removed. Credits are integers; a column
//! that does not apply to a line is `null`.

use super::more::{More, total_columns};
use super::{Broke, pieces};
use crate::core::statement::{Breakdown, Cell, Column, Line, Record, ReportModel};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, BufWriter, Write};

const SCHEMA: &str = "creditd.report/1";

#[derive(serde::Serialize)]
struct Report<'a> {
    schema: &'static str,
    title: &'a str,
    scope: &'static str,
    group_by: &'static str,
    breakdown: Option<&'static str>,
    from: String,
    to: String,
    as_of: String,
    is_over: bool,
    columns: Vec<&'static str>,
    lines: Lines<'a>,
    totals: Vec<Object<'a>>,
    #[serde(flatten)]
    more: More<'a>,
}

/// The lines of a report, each of which is an object while it is written and no longer.
struct Lines<'a>(&'a ReportModel);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.0.spec.columns();
        serializer.collect_seq(self.0.records().map(|record| Object { record, columns }))
    }
}

/// A line or a transaction as an object with the columns of the report.
pub(super) struct Object<'a> {
    pub(super) record: Record<'a>,
    pub(super) columns: &'a [Column],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for column in self.columns {
            let name = column.as_str();
            match self.record.cell(*column) {
                Cell::Text(text) => map.serialize_entry(name, text)?,
                Cell::Word(word) => map.serialize_entry(name, word)?,
                cell @ (Cell::Date(_) | Cell::Time(_) | Cell::Instant(_)) => {
                    map.serialize_entry(name, &cell.to_string())?
                }
                Cell::Credits(credits) => map.serialize_entry(name, &credits.get())?,
                Cell::Count(count) => map.serialize_entry(name, &count)?,
                Cell::Blank => map.serialize_entry(name, &None::<()>)?,
            }
        }
        map.end()
    }
}

/// One object.
pub(super) fn write(model: &ReportModel, out: &mut dyn Write) -> Result<(), Broke> {
    let spec = &model.spec;
    let report = Report {
        schema: SCHEMA,
        title: spec.title(),
        scope: spec.scope().as_str(),
        group_by: spec.grouping().as_str(),
        breakdown: spec.breakdown().map(Breakdown::as_str),
        from: spec.range().from().to_string(),
        to: spec.range().to().to_string(),
        as_of: spec.as_of().to_string(),
        is_over: model.is_over,
        columns: spec.columns().iter().map(|column| column.as_str()).collect(),
        lines: Lines(model),
        totals: objects(model.totals.iter().copied(), total_columns(model)),
        more: More::of(model),
    };
    let mut out = BufWriter::new(out);
    // What the place of the file says is told as that, and all else is a defect.
    serde_json::to_writer(&mut out, &report)
        .map_err(|error| if error.is_io() { Broke::from(io::Error::from(error)) } else { error.into() })?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

pub(super) fn objects<'a>(lines: impl IntoIterator<Item = Line<'a>>, columns: &'a [Column]) -> Vec<Object<'a>> {
    lines.into_iter().map(|line| Object { record: Record::Line(line), columns }).collect()
}

/// One object per line.
pub(super) fn write_lines(model: &ReportModel, out: &mut dyn Write) -> Result<(), Broke> {
    pieces::write(model, out, |records| {
        let mut bytes = Vec::new();
        for record in records {
            serde_json::to_writer(&mut bytes, &Object { record, columns: model.spec.columns() })?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::{Grouping, Scope};
    use crate::report::testing::{broken_down, report, statement};

    fn render(model: &ReportModel) -> Result<Vec<u8>, Broke> {
        let mut bytes = Vec::new();
        write(model, &mut bytes).map(|()| bytes)
    }

    #[test]
    fn a_report_is_one_versioned_object() {
        let columns = vec![Column::Account, Column::CreditType, Column::Adjusted, Column::Remaining, Column::Failed];
        let model = statement();
        let spec = model.spec.clone().with_columns(columns).expect("each once");
        let bytes = render(&ReportModel { spec, ..model }).expect("it renders");
        insta::assert_snapshot!(String::from_utf8(bytes).expect("UTF-8"), @r#"{"schema":"creditd.report/1","title":"Statement","scope":"account","group_by":"range","breakdown":null,"from":"2026-03-01","to":"2026-04-01","as_of":"2026-04-02T06:00:00Z","is_over":true,"columns":["account","credit_type","adjusted","remaining","failed"],"lines":[{"account":"9e-atl","credit_type":"free","adjusted":0,"remaining":0,"failed":null},{"account":"9e-atl","credit_type":"purchased","adjusted":-250,"remaining":5000,"failed":null},{"account":"9e-atl","credit_type":"total","adjusted":-250,"remaining":5000,"failed":1}],"totals":[{"account":null,"credit_type":"free","adjusted":0,"remaining":0,"failed":null},{"account":null,"credit_type":"purchased","adjusted":-250,"remaining":5000,"failed":null},{"account":null,"credit_type":"total","adjusted":-250,"remaining":5000,"failed":1}]}"#);
    }

    #[test]
    fn nobody_is_null_in_a_breakdown() {
        let march = ("2026-03-01", "2026-04-01");
        let model = broken_down("t", march, Grouping::Range, Some(Breakdown::User), Scope::Account, &["9e-atl"]);
        let json: serde_json::Value = serde_json::from_slice(&render(&model).expect("it renders")).expect("JSON");
        let users: Vec<&serde_json::Value> =
            json["lines"].as_array().expect("lines").iter().step_by(3).map(|line| &line["user"]).collect();
        insta::assert_snapshot!(serde_json::json!([json["breakdown"], users]), @r#"["user",["=ann","שרה 🦊","<b>eve</b>",null]]"#);
    }

    #[test]
    fn each_line_is_the_object_of_its_csv_row() {
        let model = report("t", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Platform, &["a", "b"]);
        let lines = {
            let mut bytes = Vec::new();
            write_lines(&model, &mut bytes).expect("it renders");
            String::from_utf8(bytes).expect("UTF-8")
        };
        assert_eq!(lines.lines().count(), 31 * 3);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["account"], serde_json::Value::Null);
        assert_eq!((&first["credit_type"], &first["allocated"]), (&"free".into(), &3_000.into()));
        assert_eq!(first.as_object().expect("an object").len(), Column::all_of(None).len());
    }
}
