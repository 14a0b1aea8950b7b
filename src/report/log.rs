//! The log for a terminal: a row per transaction, as many columns as fit.

use super::table::{Head, Keep, align, fitted, new_table, shortened, shown, wrapped};
use super::wording::story;
use crate::core::counting::{counted, grouped};
use crate::core::ids::printable;
use crate::core::locale::Locale;
use crate::core::statement::{Cell, Column, LINES_PER_PERIOD, LOG_COLUMNS, ReportModel, Scope};

/// Most rows in a table: as many as somebody scrolls through.
pub(super) const ROWS_MAX: usize = 1_000;
/// Characters of a text, of which tables show the beginning.
const TEXT_MAX: usize = 40;

/// The columns in which transactions say something that the heading does not say of all, those for machines last where no order was
/// chosen.
pub(super) fn columns(model: &ReportModel) -> Vec<Column> {
    let has_one = model.subtotals.len() == LINES_PER_PERIOD && model.spec.scope() == Scope::Account;
    let is_said = |column: &Column| {
        let is_empty = || model.beside.log.iter().all(|row| matches!(row.cell(*column), Cell::Blank));
        (has_one && *column == Column::Account) || is_empty()
    };
    let mut columns: Vec<Column> = model.spec.columns().iter().copied().filter(|column| !is_said(column)).collect();
    if model.spec.columns() == LOG_COLUMNS {
        columns.sort_by_key(|column| matches!(column, Column::OccurredAt | Column::Key));
    }
    columns
}

pub(super) fn table(model: &ReportModel, width: u16) -> String {
    let log = &model.beside.log;
    if log.is_empty() {
        return "There are no such transactions.\n".to_owned();
    }
    let columns = columns(model);
    let mut table = new_table(columns.iter().map(|column| column.as_str()));
    for row in log.iter().take(ROWS_MAX) {
        let cells = columns.iter().map(|column| match row.cell(*column) {
            Cell::Text(text) => shortened(&printable(text), TEXT_MAX),
            Cell::Time(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
            cell => shown(cell),
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    for (at, column) in columns.iter().enumerate() {
        align(&mut table, at, column.is_figure());
    }
    let keep = |column: Column| match column {
        Column::OccurredAt | Column::Key | Column::Reference | Column::Type => Keep::Second,
        Column::Free | Column::Purchased | Column::Quantity | Column::Comment | Column::Reason => Keep::Third,
        Column::Status | Column::User => Keep::Fourth,
        _ => Keep::Always,
    };
    let heads: Vec<Head> = columns.iter().map(|column| (column.as_str(), keep(*column))).collect();
    let mut text = fitted(&mut table, &heads, width, true).unwrap_or_default();
    text.push('\n');
    let mut said = format!("{}.", counted(log.len() as u64, "transaction"));
    if log.len() > ROWS_MAX {
        said.push_str(&format!(" A table has the first {}; the other forms have all.", grouped(ROWS_MAX as u64)));
    }
    if model.spec.filters().is_empty() {
        said.push_str(&format!(" {}", story(&model.totals, model.is_over, Locale::default())));
    }
    text.push_str(&wrapped(&said, width));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{hostile, log};
    use crate::report::{Format, render};

    fn made(model: &ReportModel, format: Format, width: u16) -> String {
        String::from_utf8(render(model, format, width).expect("it renders")).expect("UTF-8")
    }

    #[test]
    fn a_log_has_a_row_per_transaction() {
        let model = log(&["fox, \"red\"".to_owned()], Scope::Account);
        insta::assert_snapshot!(made(&model, Format::Table, 120), @r#"
        =Log
        9e-atl, March 2026, as of 2026-04-02T06:00:00Z

        local_time           user  action  quantity  credits   free  purchased  kind        comment       status
        ───────────────────────────────────────────────────────────────────────────────────────────────────────────
        2026-03-01 00:00:00                            1,500  1,500          0  allocation  free:2026-03  succeeded
        2026-03-29 00:30:00  =ann  erase          2       14      8          6  charge      fox, "red"    succeeded

        No room for: type, occurred_at and key.

        2 transactions. 2,750 credits were carried in. 1,500 were allocated, 5,000 purchased, 100 granted as a bonus and 60
        refunded. 1,300 were consumed, 360 left to lapse unused and 2,500 returned. Corrections took 250. 5,000 credits remained
        at the end: 0 free and 5,000 purchased.
        "#);
        insta::assert_snapshot!(made(&model, Format::Table, 60), @"
        =Log
        9e-atl, March 2026, as of 2026-04-02T06:00:00Z

        local_time           action  credits  kind
        ────────────────────────────────────────────────
        2026-03-01 00:00:00            1,500  allocation
        2026-03-29 00:30:00  erase        14  charge

        No room for: user, quantity, free, purchased, type, comment,
        status, occurred_at and key.

        2 transactions. 2,750 credits were carried in. 1,500 were
        allocated, 5,000 purchased, 100 granted as a bonus and 60
        refunded. 1,300 were consumed, 360 left to lapse unused and
        2,500 returned. Corrections took 250. 5,000 credits remained
        at the end: 0 free and 5,000 purchased.
        ");
        insta::assert_snapshot!(made(&model, Format::Csv, 0), @r#"
        account,local_time,occurred_at,user,action,quantity,credits,free,purchased,type,kind,comment,status,reason,reference,key
        9e-atl,2026-03-01T00:00:00,2026-02-28T23:00:00Z,,,,1500,1500,0,free,allocation,free:2026-03,succeeded,,,
        9e-atl,2026-03-29T00:30:00,2026-03-28T23:30:00.500Z,'=ann,erase,2,14,8,6,mixed,charge,"fox, ""red""",succeeded,,,'+key-1
        "#);
        insta::assert_snapshot!(made(&model, Format::Ndjson, 0), @r#"
        {"account":"9e-atl","local_time":"2026-03-01T00:00:00","occurred_at":"2026-02-28T23:00:00Z","user":null,"action":null,"quantity":null,"credits":1500,"free":1500,"purchased":0,"type":"free","kind":"allocation","comment":"free:2026-03","status":"succeeded","reason":null,"reference":null,"key":null}
        {"account":"9e-atl","local_time":"2026-03-29T00:30:00","occurred_at":"2026-03-28T23:30:00.500Z","user":"=ann","action":"erase","quantity":2,"credits":14,"free":8,"purchased":6,"type":"mixed","kind":"charge","comment":"fox, \"red\"","status":"succeeded","reason":null,"reference":null,"key":"+key-1"}
        "#);
    }

    #[test]
    fn what_people_write_stays_text_in_every_form() {
        let texts = hostile();
        let model = log(&texts, Scope::Account);
        for width in [40, 80, 160, 400] {
            let table = made(&model, Format::Table, width);
            assert!(!table.chars().any(|c| c.is_control() && c != '\n'), "{table:?}");
        }
        let csv = made(&model, Format::Csv, 0);
        let rows: Vec<::csv::StringRecord> =
            ::csv::Reader::from_reader(csv.as_bytes()).records().map(|row| row.expect("a row")).collect();
        assert_eq!(rows.len(), texts.len() + 1);
        for (row, text) in rows.iter().skip(1).zip(&texts) {
            assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '@', '\t', '\r'])), "{row:?}");
            assert_eq!(row[11].trim_start_matches('\''), text);
            assert_eq!((&row[0], &row[3], &row[6], &row[7], &row[15]), ("9e-atl", "'=ann", "14", "8", "'+key-1"));
        }
        let json: serde_json::Value = serde_json::from_str(&made(&model, Format::Json, 0)).expect("JSON");
        let ndjson = made(&model, Format::Ndjson, 0);
        let lines: Vec<serde_json::Value> =
            ndjson.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(json["lines"], serde_json::Value::from(lines.clone()));
        for (line, text) in lines.iter().skip(1).zip(&texts) {
            assert_eq!((line["comment"].as_str(), line["user"].as_str()), (Some(text.as_str()), Some("=ann")));
        }
        let page = made(&model, Format::Html, 0);
        assert!(!page.contains("<script") && !page.contains("<img") && page.contains("&lt;script&gt;alert(1)"));
        assert!(page.contains("{{ title }} {% raw %} &amp;amp;"), "data is no template");
        assert_eq!(page, made(&model, Format::Html, 0));
        assert!(render(&model, Format::Xlsx, 0).expect("it renders").starts_with(b"PK"));
    }

    #[test]
    fn a_long_log_is_shown_in_part_and_an_empty_one_says_so() {
        let many = log(&vec![String::new(); 2_100], Scope::Account);
        let table = made(&many, Format::Table, 80);
        assert!(table.contains("A table has the first 1,000") && table.lines().count() < 1_020);
        assert!(made(&many, Format::Html, 0).contains("The first 2,000 of 2,101 transactions"));
        assert_eq!(made(&many, Format::Csv, 0).lines().count(), 2_102);
        let mut none = log(&[], Scope::Platform);
        none.beside.log.clear();
        assert!(made(&none, Format::Table, 80).contains("There are no such transactions."));
        assert!(made(&none, Format::Html, 0).contains("There are no such transactions."));
        assert_eq!(made(&none, Format::Csv, 0).lines().count(), 1);
    }

    #[test]
    fn a_log_has_its_columns_in_the_order_that_was_chosen() {
        let mut model = log(&["x".to_owned()], Scope::Account);
        model.spec = model.spec.clone().with_columns(vec![Column::Key, Column::Credits]).expect("of a log");
        let (table, page) = (made(&model, Format::Table, 80), made(&model, Format::Html, 0));
        assert!(table.contains("key     credits"), "{table}");
        let at = |head: &str| page.rfind(&format!(">{head}</th>"));
        assert!(at("Key").is_some() && at("Key") < at("Credits"), "{page}");
        // Where none was chosen, a page begins with what a person looks for.
        let model = log(&["x".to_owned()], Scope::Account);
        let page = made(&model, Format::Html, 0);
        let heads: Vec<usize> =
            ["When", "User", "Action", "Credits", "Type", "Status", "Comment", "Kind", "Quantity", "Key"]
                .iter()
                .filter_map(|head| page.rfind(&format!(">{head}</th>")))
                .collect();
        assert!(heads.len() == 10 && heads.is_sorted(), "{page}");
    }
}
