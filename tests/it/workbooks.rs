//! Workbooks of reports as others read them: by openpyxl, every figure beside the CSV and the JSON of the same model.
//!
//! Where python3 has no openpyxl, what needs it says so and passes without being run, or fails when
//! `CREDITD_REQUIRE_OPENPYXL=1` is set.

use super::support::python_with;
use creditd::core::calendar::{Calendar, Terms, parse_date, parse_zone};
use creditd::core::credits::{Credits, Split};
use creditd::core::ledger::{Account, Ledger};
use creditd::core::statement::{
    Beside, Breakdown, Column, Comparison, DateRange, Facts, Grouping, LocalTime, LogRow, Name, Outcome, Reading,
    ReportAccount, ReportModel, ReportSpec, Row, Rows, Sales, Scope, fold,
};
use creditd::core::transaction::{Kind, Status, Transaction};
use creditd::report::{Format, make, render};
use serde_json::Value;
use std::io::Write as _;
use std::process::Command;
use std::sync::OnceLock;

const READ: &str = include_str!("workbooks/read.py");

/// A python that can read a workbook back.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<&str>> = OnceLock::new();
    *PYTHON.get_or_init(|| {
        python_with(
            "openpyxl",
            "CREDITD_REQUIRE_OPENPYXL",
            "workbooks by openpyxl; install it (Debian: python3-openpyxl)",
        )
    })
}

/// Whether a workbook can be read back.
fn is_readable() -> bool {
    python().is_some()
}

/// What openpyxl finds in a workbook.
#[track_caller]
fn read(workbook: &[u8]) -> Value {
    let mut file = tempfile::Builder::new().suffix(".xlsx").tempfile().expect("a temporary file");
    file.write_all(workbook).expect("written");
    let output = Command::new(python().expect("asked before"))
        .args(["-W", "error::UserWarning", "-c", READ])
        .arg(file.path())
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Two accounts, of which one moves from Berlin to New York in April, with use by whoever is named in March and April.
pub fn model(range: (&str, &str), grouping: Grouping, breakdown: Option<Breakdown>, names: &[&str]) -> ReportModel {
    let local = |text: &str| text.parse::<LocalTime>().expect("a local time");
    let range = DateRange::new(local(range.0), local(range.1)).expect("a range");
    let as_of = "2026-05-02T06:00:00Z".parse().expect("an instant");
    let spec = ReportSpec::new("=Use & \"more\"", range, grouping, Scope::Account, as_of).expect("bounded");
    let terms = |from: &str, zone: &str| Terms {
        from: from.parse().expect("a month"),
        zone: parse_zone(zone).expect("a zone"),
        allowance: Credits::new(1_500),
    };
    let opening = Split { free: Credits::ZERO, purchased: Credits::new(2_750_000) };
    let account = |id: &str, terms: [Terms; 2]| ReportAccount {
        id: id.parse().expect("an id"),
        calendar: Calendar::from_terms(terms).expect("terms"),
        opening,
    };
    let accounts = [
        account("-1", [terms("2026-01", "Europe/Berlin"), terms("2026-04", "America/New_York")]),
        account("007", [terms("2026-01", "Asia/Tokyo"), terms("2026-02", "Asia/Tokyo")]),
    ];
    let mut rows = Rows::default();
    for (account, day) in [(0, "03-29"), (0, "03-30"), (1, "03-30"), (1, "04-05")] {
        let at = |time: &str| format!("2026-{day}T{time}Z").parse().expect("an instant");
        let mut push = |time: &str, kind: Kind, status, name, free, purchased| {
            let delta = Split { free: Credits::new(free), purchased: Credits::new(purchased) };
            let outcome = Outcome::of(kind, status, None);
            rows.push(Row { account, counts_at: kind.counts_at(at(time)), kind, outcome, name, delta });
        };
        push("06:00:00", Kind::Allocation, Status::Success, Name::NONE, 1_500, 0);
        push("07:00:00", Kind::Purchase, Status::Success, Name::NONE, 0, 5_000);
        push("20:00:00", Kind::Adjustment, Status::Success, Name::NONE, 0, -250);
        push("21:00:00", Kind::Expiry, Status::Success, Name::NONE, -1_000, 0);
        for (name, used) in names.iter().zip(1_i64..) {
            let name = rows.name(name);
            let charge = |free, purchased, status| Row {
                account,
                counts_at: Kind::Charge.counts_at(at("12:00:00")),
                kind: Kind::Charge,
                outcome: Outcome::of(Kind::Charge, status, None),
                name,
                delta: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            };
            rows.push(charge(-used, -1_000 * used, Status::Success));
            rows.push(charge(0, 0, Status::Failed));
        }
    }
    fold(&spec.with_breakdown(breakdown), &accounts, &rows).expect("small")
}

pub const MARCH_AND_APRIL: (&str, &str) = ("2026-03-01", "2026-05-01");

/// Text from outside as it stands in CSV.
fn neutral(text: &str) -> String {
    let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if runs { format!("'{text}") } else { text.to_owned() }
}

/// Compares every cell of the sheet of figures with the JSON and the CSV of the same model, and all formulas with what
/// they come to.
#[track_caller]
fn assert_same_everywhere(model: &ReportModel) -> Value {
    let made = |format| render(model, format, 0).expect("it renders");
    let workbook = made(Format::Xlsx);
    assert_eq!(workbook, made(Format::Xlsx), "the same model gives the same bytes");
    let book = read(&workbook);
    let json: Value = serde_json::from_slice(&made(Format::Json)).expect("JSON");
    let csv = made(Format::Csv);
    let csv: Vec<csv::StringRecord> = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(csv.as_slice())
        .records()
        .map(|row| row.expect("a row"))
        .collect();
    let figures = &book["sheets"][0];
    assert_eq!((figures["name"].as_str(), figures["frozen"].as_str()), (Some("Figures"), Some("A2")));
    let rows = figures["rows"].as_array().expect("rows");
    let columns = model.spec.columns();
    assert_eq!(rows.len(), csv.len() + model.totals.len());
    assert!(figures["widths"].as_array().is_some_and(|widths| !widths.is_empty()));
    let lines = json["lines"].as_array().expect("lines").iter().chain(json["totals"].as_array().expect("totals"));
    for (at, (row, line)) in rows.iter().skip(1).zip(lines).enumerate() {
        for (column, name) in columns.iter().enumerate() {
            let (cell, expected) = (&row[column], &line[name.as_str()]);
            let is_all = at >= model.lines.len() && *name == Column::Account;
            let expected = if is_all { &Value::from("All") } else { expected };
            assert_eq!(&cell["value"], expected, "{name} of line {at}");
            let kind = cell["type"].as_str().expect("a type");
            match name {
                Column::From | Column::To => assert_eq!(kind, "d", "{cell}"),
                name if name.is_figure() => {
                    assert!(["n", "f"].contains(&kind) && cell["form"] == "#,##0" || cell["value"].is_null(), "{cell}")
                }
                _ => assert!(kind == "s" || cell["value"].is_null(), "{cell}"),
            }
            if let Some(field) = csv.get(at + 1).map(|row| &row[column]) {
                let text = match &cell["value"] {
                    Value::Null => String::new(),
                    Value::String(text) => neutral(text),
                    other => other.to_string(),
                };
                assert_eq!(field, text, "{name} of line {at}");
                let runs = text.starts_with('\'');
                assert_eq!(cell["quoted"], runs, "{cell}");
            }
        }
    }
    let sheets = book["sheets"].as_array().expect("sheets");
    for cell in sheets
        .iter()
        .flat_map(|sheet| sheet["rows"].as_array().expect("rows"))
        .flat_map(|row| row.as_array().expect("cells"))
    {
        if cell["type"] == "f" {
            assert_eq!(cell["value"], cell["calculated"], "{cell}");
        }
    }
    book
}

/// Formulas on a sheet.
fn formulas(sheet: &Value) -> usize {
    let cells = sheet["rows"].as_array().expect("rows").iter().flat_map(|row| row.as_array().expect("cells"));
    cells.filter(|cell| cell["type"] == "f").count()
}

#[test]
fn every_figure_is_that_of_the_csv_and_the_json() {
    if !is_readable() {
        return;
    }
    for grouping in [Grouping::Range, Grouping::Day, Grouping::Week, Grouping::Month] {
        for breakdown in [None, Some(Breakdown::User), Some(Breakdown::Type), Some(Breakdown::Status)] {
            let book = assert_same_everywhere(&model(MARCH_AND_APRIL, grouping, breakdown, &["ann", "bob"]));
            let sheets = book["sheets"].as_array().expect("sheets");
            let names: Vec<&str> = sheets.iter().filter_map(|sheet| sheet["name"].as_str()).collect();
            // Ten figures of three types and the counts of the last; a breakdown has two.
            let expected = if breakdown.is_some() { 2 * 3 + 3 } else { 10 * 3 + 3 };
            assert_eq!(formulas(&sheets[0]), expected, "{grouping} {breakdown:?}");
            if grouping == Grouping::Range {
                let Some(by) = breakdown else {
                    assert_eq!(names, ["Figures", "Notes"]);
                    continue;
                };
                assert_eq!(names, ["Figures", &format!("By {by}"), "Notes"]);
                let groups = sheets[1]["rows"].as_array().expect("rows").len();
                let series = |name| match groups {
                    3 => format!("'By {by}'!${name}$2"),
                    _ => format!("'By {by}'!${name}$2:${name}${}", groups - 1),
                };
                let expected = serde_json::json!([[[series("A"), series("B")], [series("A"), series("C")]]]);
                assert_eq!(sheets[1]["charts"], expected);
                assert_eq!(sheets[1]["rows"][groups - 1][3]["value"], 4 * (3 + 3_000), "all that was consumed");
                continue;
            }
            assert_eq!(names, ["Figures", "By period", "Notes"]);
            let periods = sheets[1]["rows"].as_array().expect("rows").len();
            let series = |name| format!("'By period'!${name}$2:${name}${}", periods - 1);
            let expected = serde_json::json!([[[series("A"), series("C")], [series("A"), series("D")]]]);
            assert_eq!(sheets[1]["charts"], expected);
            assert_eq!(sheets[1]["rows"][periods - 1][4]["value"], 4 * (3 + 3_000), "all that was consumed");
        }
    }
}

#[test]
fn text_from_outside_stays_text() {
    let (long, longer) = ("x".repeat(10_000), "🦊".repeat(20_000));
    let names = [
        "=1+1",
        "+1",
        "-1",
        "@sum",
        "\t=1",
        "=HYPERLINK(\"http://x.example\",\"y\")",
        "שרה 🦊",
        "<b>&amp;\"'",
        "_x0041_",
        " two  blanks ",
        "007",
        "1e5",
        "2026-03-01",
        "TRUE",
        "http://x.example/",
        &long,
    ];
    let model = model(MARCH_AND_APRIL, Grouping::Range, Some(Breakdown::User), &names);
    if is_readable() {
        let book = assert_same_everywhere(&model);
        assert_eq!(book["title"], "=Use & \"more\"");
        let groups = book["sheets"][1]["rows"].as_array().expect("rows");
        assert!(groups.iter().all(|row| row[0]["type"] == "s"), "{groups:?}");
        let notes = book["sheets"][2]["rows"].as_array().expect("rows");
        assert_eq!((&notes[0][0]["value"], &notes[0][0]["type"]), (&"=Use & \"more\"".into(), &"s".into()));
        let cut = self::model(MARCH_AND_APRIL, Grouping::Range, Some(Breakdown::User), &[&longer]);
        let book = read(&render(&cut, Format::Xlsx, 0).expect("it renders"));
        let name = book["sheets"][0]["rows"][1][3]["value"].as_str().expect("a name").to_owned();
        assert!(name.ends_with("🦊…") && name.encode_utf16().count() <= 32_767, "{}", name.len());
    }
    assert_eq!(render(&model, Format::Xlsx, 0).expect("twice"), render(&model, Format::Xlsx, 0).expect("twice"));
}

/// A log with what people wrote.
pub fn log(comments: &[&str]) -> ReportModel {
    let model = model(MARCH_AND_APRIL, Grouping::Range, Some(Breakdown::Transaction), &[]);
    let calendar = Calendar::new(Terms {
        from: "2026-01".parse().expect("a month"),
        zone: parse_zone("Europe/Berlin").expect("a zone"),
        allowance: Credits::new(1_500),
    });
    let account = Account {
        id: "-1".parse().expect("an id"),
        name: String::new(),
        opened_at: "2026-03-01T11:00:00.25Z".parse().expect("an instant"),
        calendar: calendar.clone(),
    };
    let mut ledger = Ledger::new(account.clone());
    ledger.roll_over(account.opened_at, account.opened_at).expect("small");
    let row = |(comment, quantity): (&&str, i64)| Transaction {
        comment: (*comment).to_owned(),
        quantity,
        user: "=ann".parse().ok(),
        ..ledger.rows()[0].clone()
    };
    let rows = comments.iter().zip(1..).map(row).map(|row| LogRow::new(account.id.clone(), &calendar, row));
    ReportModel { beside: Beside { log: rows.collect(), ..Beside::default() }, ..model }
}

#[test]
fn a_log_is_a_row_per_transaction_and_what_people_wrote_is_text() {
    let (long, control) = (format!("={}", "x".repeat(4_095)), "\u{1b}[2J \u{1}");
    let comments = ["=1+1", "+1", "-1", "@sum", "\t=1", "<b>&amp;", "שרה 🦊", " ", "007", control, &long];
    let model = log(&comments);
    assert_eq!(render(&model, Format::Xlsx, 0).expect("it renders"), render(&model, Format::Xlsx, 0).expect("twice"));
    if !is_readable() {
        return;
    }
    let book = read(&render(&model, Format::Xlsx, 0).expect("it renders"));
    let names: Vec<&str> =
        book["sheets"].as_array().expect("sheets").iter().filter_map(|of| of["name"].as_str()).collect();
    assert_eq!(names, ["Figures", "Notes"]);
    let rows = book["sheets"][0]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), comments.len() + 1, "no sums: they would mean nothing");
    for ((row, comment), quantity) in rows.iter().skip(1).zip(&comments).zip(1..) {
        let value = |column: Column| {
            let at = model.spec.columns().iter().position(|there| *there == column).expect("a column");
            &row[at]
        };
        assert_eq!(value(Column::LocalTime)["value"], "2026-03-01T12:00");
        assert_eq!(value(Column::LocalTime)["type"], "d");
        assert_eq!(value(Column::OccurredAt)["value"], "2026-03-01T11:00:00.250Z");
        assert_eq!(
            (&value(Column::Credits)["value"], &value(Column::Quantity)["value"]),
            (&1_500.into(), &quantity.into())
        );
        assert_eq!((&value(Column::User)["value"], &value(Column::User)["quoted"]), (&"=ann".into(), &true.into()));
        assert_eq!(value(Column::Comment)["type"], "s");
        if *comment != control {
            assert_eq!(value(Column::Comment)["value"], *comment);
        }
    }
}

/// The days of a statement of one account are drawn in its place, and what it is called is text.
#[test]
fn a_statement_of_one_account_has_its_days_with_charts_and_its_name() {
    if !is_readable() {
        return;
    }
    let march = ("2026-03-01", "2026-04-01");
    let spec = model(march, Grouping::Range, None, &["ann"]).spec.drawn(true);
    let terms = Terms {
        from: "2026-01".parse().expect("a month"),
        zone: parse_zone("Europe/Berlin").expect("a zone"),
        allowance: Credits::new(1_500),
    };
    let opening = Split { free: Credits::ZERO, purchased: Credits::new(7) };
    let accounts = vec![ReportAccount { id: "acme".parse().expect("an id"), calendar: Calendar::new(terms), opening }];
    let mut rows = Rows::default();
    for (kind, credits) in [(Kind::Purchase, 5), (Kind::Charge, -3)] {
        let counts_at = "2026-03-02T12:00:00Z".parse().expect("an instant");
        let outcome = Outcome::of(kind, Status::Success, None);
        let delta = Split { free: Credits::ZERO, purchased: Credits::new(credits) };
        rows.push(Row { account: 0, counts_at, kind, outcome, name: Name::NONE, delta });
    }
    let reading = Reading {
        accounts,
        days: Some(rows.clone()),
        rows,
        name: Some("=cmd|' /C calc'!A0 \u{202e}שלום 🦊".to_owned()),
        ..Reading::default()
    };
    let model = make(&spec, reading).expect("small");
    let book = assert_same_everywhere(&model);
    let sheets = book["sheets"].as_array().expect("sheets");
    let names: Vec<&str> = sheets.iter().filter_map(|sheet| sheet["name"].as_str()).collect();
    assert_eq!(names, ["Figures", "By period", "Notes"]);
    assert_eq!(sheets[1]["charts"].as_array().expect("charts").len(), 2, "what was consumed, and what was left");
    let rows = sheets[1]["rows"].as_array().expect("rows");
    let value = |row: usize, column: usize| rows[row][column]["value"].as_i64();
    assert_eq!(rows.len(), 1 + 31 + 1);
    assert_eq!([value(1, 5), value(2, 5), value(31, 5)], [Some(7), Some(9), Some(9)]);
    assert_eq!([value(2, 4), value(32, 4)], [Some(3), Some(3)]);
    let whom = &sheets[2]["rows"][2];
    assert_eq!(whom[0]["value"], "Accounts");
    assert_eq!(whom[1]["value"], "=cmd|' /C calc'!A0 \u{fffd}שלום 🦊 (acme)");
    assert_eq!(whom[1]["type"], "s");
}

#[test]
fn what_stands_beside_the_lines_has_a_sheet_of_its_own() {
    if !is_readable() {
        return;
    }
    let mut model = model(MARCH_AND_APRIL, Grouping::Range, None, &["ann"]);
    let sold = Sales {
        packs: 3,
        revenue_minor: 7_550,
        outstanding: Credits::new(7),
        outstanding_minor: 1,
        ..Sales::default()
    };
    let sales = [("USD".to_owned(), sold), ("JPY".to_owned(), sold)].into_iter().collect();
    model.beside.facts = Some(Facts { accounts: 2, active: 1, sales, given: Credits::new(5), ..Facts::default() });
    let range = model.spec.range().before().expect("known");
    model.beside.comparison = Some(Comparison { range, totals: model.totals.clone() });
    let book = read(&render(&model, Format::Xlsx, 0).expect("it renders"));
    assert_eq!(book["sheets"][1]["name"], "Summary");
    let rows = book["sheets"][1]["rows"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row[0]["value"] == name).expect(name);
    assert_eq!((&row("USD")[3]["value"], &row("USD")[3]["form"]), (&75.5.into(), &"#,##0.00 \"USD\"".into()));
    assert_eq!((&row("JPY")[3]["value"], &row("JPY")[3]["form"]), (&7_550.into(), &"#,##0 \"JPY\"".into()));
    assert_eq!((&row("bonus")[6]["value"], &row("Active")[1]["value"]), (&5.into(), &1.into()));
    assert_eq!((&row("Consumed")[1]["value"], &row("Consumed")[3]["value"]), (&4_004.into(), &0.into()));
}

#[test]
fn times_choices_of_columns_and_nobody_at_all() {
    if !is_readable() {
        return;
    }
    let within = ("2026-03-29T06:30", "2026-04-05T12:00:30");
    let days = assert_same_everywhere(&model(within, Grouping::Day, None, &["ann"]));
    let form = |row: usize, column: usize| days["sheets"][0]["rows"][row][column]["form"].clone();
    assert_eq!(
        (form(1, 1), form(1, 2), form(24, 2)),
        ("yyyy-mm-dd hh:mm".into(), "yyyy-mm-dd".into(), "yyyy-mm-dd hh:mm:ss".into())
    );

    // Without the columns by which lines are told apart, totals are values.
    let chosen = |columns: &[Column]| {
        let model = model(MARCH_AND_APRIL, Grouping::Month, None, &["ann"]);
        let spec = model.spec.clone().with_columns(columns.to_vec()).expect("each once");
        formulas(&assert_same_everywhere(&ReportModel { spec, ..model })["sheets"][0])
    };
    assert_eq!(chosen(&[Column::Consumed, Column::Remaining]), 0);
    assert_eq!(chosen(&[Column::Consumed, Column::CreditType, Column::Remaining]), 3);
    assert_eq!(chosen(&[Column::Remaining, Column::To, Column::CreditType]), 3);

    let nobody = model(MARCH_AND_APRIL, Grouping::Month, None, &[]);
    let empty = fold(&nobody.spec, &[], &Rows::default()).expect("small");
    assert_same_everywhere(&empty);
}

#[test]
fn a_report_too_long_for_memory_is_the_same() {
    let days = model(("2026-01-01", "2026-05-01"), Grouping::Day, None, &[]);
    let columns = vec![Column::Account, Column::From, Column::To, Column::CreditType, Column::Remaining];
    let spec = days.spec.clone().with_columns(columns).expect("each once");
    let accounts: Vec<ReportAccount> = (0..30)
        .map(|at| ReportAccount {
            id: format!("a{at:03}").parse().expect("an id"),
            calendar: Calendar::new(Terms {
                from: "2026-01".parse().expect("a month"),
                zone: parse_zone("Europe/Berlin").expect("a zone"),
                allowance: Credits::ZERO,
            }),
            opening: Split { free: Credits::ZERO, purchased: Credits::new(at) },
        })
        .collect();
    let long = fold(&spec, &accounts, &Rows::default()).expect("bounded");
    assert!(long.lines.len() > 10_000, "{}", long.lines.len());
    if is_readable() {
        assert_same_everywhere(&long);
    }
}

#[test]
fn the_notes_say_what_the_report_is() {
    if !is_readable() {
        return;
    }
    let book =
        read(&render(&model(MARCH_AND_APRIL, Grouping::Month, None, &["ann"]), Format::Xlsx, 0).expect("it renders"));
    let date = parse_date("2026-05-02").expect("a date");
    assert_eq!(
        (&book["created"], &book["modified"]),
        (&format!("{date}T06:00:00").into(), &format!("{date}T06:00:00").into())
    );
    let notes = book["sheets"][2]["rows"].as_array().expect("rows");
    let said: Vec<String> = notes
        .iter()
        .map(|row| {
            row.as_array()
                .expect("cells")
                .iter()
                .filter(|cell| !cell["value"].is_null())
                .map(|cell| match &cell["value"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    =Use & "more"

    Accounts | 2 accounts
    Range | 1 March – 30 April 2026
    Periods | by month
    Time zone | Days and times are those of each account's own zone: America/New_York, Asia/Tokyo and Europe/Berlin.
    As of | 2 May 2026, 06:00:00 UTC: what was recorded later does not count
    Lines | 12
    In words | 5,500,000 credits were carried in. 6,000 were allocated and 20,000 purchased. 4,004 were consumed and 4,000 left to lapse unused. Corrections took 1,000. 5,516,996 credits remained at the end: 1,996 free and 5,515,000 purchased.
    From | 2026-03-01
    Until before | 2026-05-01

    How it adds up | free | purchased | total
    Carried in | at the beginning | 0 | 5500000 | 5500000
    + Allocated | monthly free credits | 6000 | 0 | 6000
    + Purchased | packs bought | 0 | 20000 | 20000
    + Bonus | granted by the operator | 0 | 0 | 0
    − Consumed | taken by AI actions | 4 | 4000 | 4004
    + Refunded | given back for actions | 0 | 0 | 0
    − Lapsed | left unused | 4000 | 0 | 4000
    − Returned | unspent packs returned | 0 | 0 | 0
    ± Adjusted | corrections | 0 | -1000 | -1000
    = Remaining | at the end | 1996 | 5515000 | 5516996

    Columns
    account | The account; empty where all accounts are summed up.
    from | The first day of the period, or the time at which it begins within a day.
    to | The first day after the period, or the time at which it ends within a day.
    credit_type | The credits that the line counts: free, purchased, or total for both together.
    carried_in | Credits that were there when the period began.
    allocated | The free credits of the month, which lapse when it ends.
    purchased | Credits of packs that were bought; they do not lapse.
    bonus | Credits granted by the operator.
    consumed | Credits taken by actions, and those held for actions that are not settled; refunds are not taken off.
    refunded | Credits given back for earlier actions.
    lapsed | Credits that disappeared unused when their time was over.
    returned | Unspent credits of packs that were returned.
    adjusted | Corrections by the operator, below zero where they took credits.
    remaining | Credits that were there when the period was over.
    succeeded | Actions done; on lines of the total only, for one action can take both free and purchased credits.
    failed | Actions that failed at the platform; on lines of the total only.
    refused | Actions that were refused, such as for lack of credits; on lines of the total only.

    Totals | The totals below the figures are formulas over the lines of their type, so that they can be followed; they do not change when lines are sorted or hidden. What was carried in is that of the first period, what remains that of the last.
    "#);
}
