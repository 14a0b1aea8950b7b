//! One list in every form, and what a form must never do.

use super::*;
use crate::cli::exit::{Exit, Failure};
use insta::assert_snapshot;
use proptest::prelude::*;

const COLUMNS: [Column; 4] =
    [Column::text("account"), Column::number("balance"), Column::text("open"), Column::text("comment")];
const MODES: [OutputMode; 4] = [OutputMode::Table, OutputMode::Json, OutputMode::Csv, OutputMode::Ndjson];

fn layout(mode: OutputMode) -> Layout {
    Layout { mode, width: None }
}

fn list() -> Records {
    let mut list = Records::new("creditd.test/1", &COLUMNS);
    list.push(vec!["9e-atl".into(), 1_234_567.into(), true.into(), "=1+1, \"quoted\"".into()]);
    list.push(vec!["-odd".into(), (-5).into(), false.into(), Option::<&str>::None.into()]);
    list
}

fn written(records: Records, layout: Layout) -> String {
    let mut out = Vec::new();
    records.write(&mut out, layout).expect("a vector takes everything");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_list_in_every_form() {
    assert_snapshot!(written(list(), layout(OutputMode::Table)), @r#"
    account    balance  open  comment
    ─────────────────────────────────────────
    9e-atl   1,234,567  yes   =1+1, "quoted"
    -odd            -5  no    -
    "#);
    assert_snapshot!(written(list(), layout(OutputMode::Json)), @r#"
    {"schema":"creditd.test/1","rows":[
    {"account":"9e-atl","balance":1234567,"open":true,"comment":"=1+1, \"quoted\""},
    {"account":"-odd","balance":-5,"open":false,"comment":null}
    ]}
    "#);
    assert_snapshot!(written(list(), layout(OutputMode::Csv)), @r#"
    account,balance,open,comment
    9e-atl,1234567,true,"'=1+1, ""quoted"""
    '-odd,-5,false,
    "#);
    assert_snapshot!(written(list(), layout(OutputMode::Ndjson)), @r#"
    {"schema":"creditd.test/1","account":"9e-atl","balance":1234567,"open":true,"comment":"=1+1, \"quoted\""}
    {"schema":"creditd.test/1","account":"-odd","balance":-5,"open":false,"comment":null}
    "#);
}

#[test]
fn an_empty_list_is_still_a_list() {
    let empty = || Records::new("creditd.test/1", &COLUMNS);
    assert_snapshot!(MODES.map(|mode| written(empty(), layout(mode))).join("\n"), @r#"
    account  balance  open  comment
    ────────────────────────────────

    {"schema":"creditd.test/1","rows":[]}

    account,balance,open,comment
    "#);
}

#[test]
fn one_thing_in_every_form() {
    let one = |mode| {
        let mut out = Vec::new();
        let fields = [("account", "a".into()), ("free", Credits::new(1_500).into()), ("closed_at", Cell::Null)];
        write_one(&mut out, layout(mode), "creditd.balance/1", &fields).expect("a vector takes everything");
        String::from_utf8(out).expect("UTF-8")
    };
    assert_snapshot!(MODES.map(one).join("\n"), @r#"
    account    a
    free       1,500
    closed_at  -

    {
      "schema": "creditd.balance/1",
      "account": "a",
      "free": 1500,
      "closed_at": null
    }

    account,free,closed_at
    a,1500,

    {"schema":"creditd.balance/1","account":"a","free":1500,"closed_at":null}
    "#);
}

#[test]
fn a_table_fits_the_terminal() {
    let mut list = Records::new("creditd.test/1", &[Column::text("account"), Column::text("comment")]);
    list.push(vec!["a".into(), "a long comment that needs more room than there is".into()]);
    let table = written(list, Layout { mode: OutputMode::Table, width: Some(30) });
    assert!(table.lines().all(|line| line.chars().count() <= 30), "{table}");
}

#[test]
fn numbers_and_short_texts_never_wrap() {
    let table = written(list(), Layout { mode: OutputMode::Table, width: Some(10) });
    assert_snapshot!(table, @r#"
    account    balance  open  comment
    ─────────────────────────────────────────
    9e-atl   1,234,567  yes   =1+1, "quoted"
    -odd            -5  no    -
    "#);
}

#[test]
fn a_long_table_is_written_in_parts() {
    let mut out = Vec::new();
    let mut writer =
        RecordWriter::new(&mut out, layout(OutputMode::Table), "creditd.test/1", &COLUMNS[..1]).expect("begun");
    for _ in 0..=TABLE_ROWS_MAX {
        writer.row(vec!["a".into()]).expect("written");
    }
    assert!(matches!(&writer.form, Form::Table { rows, .. } if rows.len() == 1));
    writer.finish().expect("finished");
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(text.lines().filter(|line| *line == "account").count(), 2);
}

#[test]
fn a_row_of_the_wrong_length_is_refused() {
    for mode in MODES {
        let mut writer = RecordWriter::new(Vec::new(), layout(mode), "creditd.test/1", &COLUMNS).expect("begun");
        assert_eq!(writer.row(vec![Cell::Null]).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    }
}

/// A pipe whose reader takes some bytes and leaves.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure_but_another_broken_pipe_is() {
    for mode in MODES {
        for taken in [0, 10] {
            let error = list().write(&mut Piped(Head(taken)), layout(mode)).expect_err("the reader left");
            let failure = Failure::from(anyhow::Error::new(error).context("listing"));
            assert_eq!((failure.exit(), failure.text()), (Exit::Ok, None));
        }
    }
    let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(failure.exit(), Exit::Failure);
}

#[test]
fn a_table_moves_no_cursor() {
    let mut list = Records::new("creditd.test/1", &COLUMNS[..1]);
    list.push(vec!["\u{1b}[2Jgone\r\nnew line".into()]);
    assert!(written(list, layout(OutputMode::Table)).chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn a_name_turns_nothing_in_a_table_and_stays_whole_for_machines() {
    let turning = "\u{202E}gpj.exe\u{2067}שלום";
    let turns = |text: &str| text.chars().any(|c| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'));
    for (mode, is_turned) in MODES.into_iter().map(|mode| (mode, mode != OutputMode::Table)) {
        let mut list = Records::new("creditd.test/1", &COLUMNS[..1]);
        list.push(vec![turning.into()]);
        assert_eq!(turns(&written(list, layout(mode))), is_turned, "{mode:?}");
        let mut one = Vec::new();
        write_one(&mut one, layout(mode), "creditd.test/1", &[("name", turning.into())]).expect("written");
        assert_eq!(turns(&String::from_utf8(one).expect("UTF-8")), is_turned, "{mode:?}");
    }
}

proptest! {
    #[test]
    fn machines_read_back_what_was_written(text in any::<String>(), number: i64) {
        let mut list = Records::new("creditd.test/1", &[Column::text("text"), Column::number("number")]);
        list.push(vec![text.as_str().into(), number.into()]);
        let json: serde_json::Value = serde_json::from_str(&written(list.clone(), layout(OutputMode::Json))).expect("JSON");
        prop_assert_eq!(json["rows"][0]["text"].as_str(), Some(text.as_str()));
        prop_assert_eq!(json["rows"][0]["number"].as_i64(), Some(number));
        prop_assert_eq!(json["schema"].as_str(), Some("creditd.test/1"));

        let csv = written(list, layout(OutputMode::Csv));
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let row = reader.records().next().expect("one row").expect("valid CSV");
        let plain = row[0].strip_prefix('\'').filter(|plain| crate::report::neutral(plain) == row[0]).unwrap_or(&row[0]);
        prop_assert_eq!(plain, &text);
        prop_assert!(!row[0].starts_with(['=', '+', '-', '@', '\t', '\r']));
        prop_assert_eq!(&row[1], number.to_string());
    }
}
