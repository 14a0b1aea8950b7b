//! CSV: the lines of a report, one row each, under the exact column names, numbers plain.
//!
//! A spreadsheet takes text that begins with `= + - @`, TAB or CR for a formula. Such text gets a leading apostrophe;
//! numbers are ours and stay numbers, negative ones too.

use super::{Broke, pieces};
use crate::core::statement::{Cell, Column, Line, LineType, LocalTime, Record, ReportModel};
use std::borrow::Cow;
use std::io::Write;

/// Room for a row, so that the bytes of thousands of them are not moved about as they grow.
const ROW_BYTES: usize = 128;

pub(super) fn write(model: &ReportModel, out: &mut dyn Write) -> Result<(), Broke> {
    let columns = model.spec.columns();
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    writeln!(out, "{}", names.join(","))?;
    pieces::write(model, out, |records| Ok(rows(records, columns)))
}

fn rows(records: &mut dyn Iterator<Item = Record<'_>>, columns: &[Column]) -> Vec<u8> {
    // What comes first is mostly the same in all lines of a triple: whose, when and what.
    let is_shared = |column: &&Column| **column != Column::CreditType && !column.is_figure() && !column.is_of_log();
    let (shared, own) = columns.split_at(columns.iter().take_while(is_shared).count());
    let mut bytes = Vec::with_capacity(records.size_hint().0 * ROW_BYTES);
    let (mut texts, mut first) = (Texts::default(), 0..0);
    for record in records {
        let begin = bytes.len();
        if matches!(record, Record::Line(Line { credit_type: LineType::Purchased | LineType::Total, .. })) {
            bytes.extend_from_within(first.clone());
        } else {
            texts.fields(record, shared, &mut bytes);
            first = begin..bytes.len();
        }
        texts.fields(record, own, &mut bytes);
        bytes.pop();
        if bytes.len() == begin {
            // An empty line would be no row.
            bytes.extend_from_slice(b"\"\"");
        }
        bytes.push(b'\n');
    }
    bytes
}

/// What makes text of cells.
#[derive(Default)]
struct Texts {
    digits: Digits,
    dates: Dates,
}

impl Texts {
    /// Adds what stands in `columns`, with a comma behind each.
    fn fields(&mut self, record: Record<'_>, columns: &[Column], bytes: &mut Vec<u8>) {
        for column in columns {
            match record.cell(*column) {
                Cell::Text(text) => quote(&neutral(text), bytes),
                Cell::Word(word) => bytes.extend_from_slice(word.as_bytes()),
                Cell::Date(date) => bytes.extend_from_slice(self.dates.text(date).as_bytes()),
                // Most figures are.
                Cell::Credits(credits) if credits.is_zero() => bytes.push(b'0'),
                Cell::Credits(credits) => {
                    bytes.extend_from_slice(self.digits.text(credits.get() < 0, credits.get().unsigned_abs()));
                }
                Cell::Count(count) => bytes.extend_from_slice(self.digits.text(false, count)),
                Cell::Blank => {}
                cell @ (Cell::Time(_) | Cell::Instant(_)) => bytes.extend_from_slice(cell.to_string().as_bytes()),
            }
            bytes.push(b',');
        }
    }
}

/// Adds a field, in quotes where it would be read as something else without them.
fn quote(text: &str, bytes: &mut Vec<u8>) {
    if !text.contains([',', '"', '\n', '\r']) {
        return bytes.extend_from_slice(text.as_bytes());
    }
    bytes.push(b'"');
    bytes.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    bytes.push(b'"');
}

/// The digits of a number, without the machinery of formatting: a report of all accounts has tens of millions of numbers.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn text(&mut self, is_negative: bool, mut rest: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        // Twenty characters hold the largest count, and the largest number of credits with its sign.
        if is_negative {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

/// The texts of the dates that came last: a report has few, each on many lines.
#[derive(Default)]
struct Dates([Option<(LocalTime, String)>; 2]);

impl Dates {
    fn text(&mut self, date: LocalTime) -> &str {
        let Dates([newest, other]) = self;
        if newest.as_ref().is_none_or(|(newest, _)| *newest != date) {
            std::mem::swap(newest, other);
        }
        if newest.as_ref().is_none_or(|(newest, _)| *newest != date) {
            *newest = Some((date, date.to_string()));
        }
        newest.as_ref().map_or("", |(_, text)| text)
    }
}

/// `text` so that no spreadsheet takes it for a formula: with an apostrophe before what would be one, and one more before what has
/// some already, so that no two texts become one.
#[must_use]
pub fn neutral(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::testing::{GROUPED, input};
    use crate::core::statement::{Breakdown, Grouping, Scope, fold};
    use crate::report::testing::{broken_down, report, statement};
    use proptest::prelude::*;

    fn shown(model: &ReportModel) -> String {
        let mut bytes = Vec::new();
        write(model, &mut bytes).expect("it renders");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_statement_has_a_row_per_credit_type() {
        insta::assert_snapshot!(shown(&statement()), @"
        account,from,to,credit_type,carried_in,allocated,purchased,bonus,consumed,refunded,lapsed,returned,adjusted,remaining,succeeded,failed,refused
        9e-atl,2026-03-01,2026-04-01,free,0,1500,0,100,1240,0,360,0,0,0,,,
        9e-atl,2026-03-01,2026-04-01,purchased,2750,0,5000,0,60,60,0,2500,-250,5000,,,
        9e-atl,2026-03-01,2026-04-01,total,2750,1500,5000,100,1300,60,360,2500,-250,5000,2,1,1
        ");
    }

    proptest! {
        #[test]
        fn rows_are_what_a_writer_of_csv_makes_of_the_cells(
            input in input(),
            breakdown in prop::option::of(prop::sample::select(&GROUPED[..])),
            columns in Just(Column::ALL.to_vec()).prop_shuffle(),
            count in 1..20_usize,
        ) {
            let columns = columns.into_iter().filter(|column| column.is_in(breakdown)).take(count).collect();
            let spec = input.spec.clone().with_breakdown(breakdown).with_columns(columns).expect("each once");
            let model = fold(&spec, &input.accounts, &input.rows).expect("small");
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            writer.write_record(spec.columns().iter().map(|column| column.as_str())).expect("in memory");
            for record in model.records() {
                let cells = spec.columns().iter().map(|column| match record.cell(*column) {
                    Cell::Text(text) => neutral(text).into_owned(),
                    cell => cell.to_string(),
                });
                writer.write_record(cells.collect::<Vec<_>>()).expect("in memory");
            }
            let plain = String::from_utf8(writer.into_inner().expect("in memory")).expect("UTF-8");
            prop_assert_eq!(shown(&model), plain);
        }

        #[test]
        fn fields_are_quoted_as_a_writer_of_csv_does(texts in prop::collection::vec("[a,\"\\r\\n =é]{0,4}", 2..4)) {
            let mut bytes = Vec::new();
            for text in &texts {
                quote(text, &mut bytes);
                bytes.push(b',');
            }
            bytes.pop();
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            writer.write_record(&texts).expect("in memory");
            bytes.push(b'\n');
            prop_assert_eq!(bytes, writer.into_inner().expect("in memory"));
        }
    }

    #[test]
    fn a_report_of_many_pieces_is_one() {
        let model = report("t", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Account, &["a", "b", "c"]);
        let made = rows(&mut model.records(), model.spec.columns());
        for size in [1, 7, 93, 1_000] {
            let pieces = (0..model.piece_count(size)).map(|at| rows(&mut model.piece(at, size), model.spec.columns()));
            assert!(pieces.collect::<Vec<_>>().concat() == made, "{size}");
        }
    }

    #[test]
    fn digits_are_those_of_the_number() {
        let mut digits = Digits([0; 20]);
        for number in [0, 7, -7, 10, 1_234_567_890, i64::MAX, i64::MIN] {
            assert_eq!(digits.text(number < 0, number.unsigned_abs()), number.to_string().as_bytes());
        }
        assert_eq!(digits.text(false, u64::MAX), u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn a_breakdown_has_rows_of_use_for_every_group() {
        let march = ("2026-03-01", "2026-04-01");
        let model = broken_down("t", march, Grouping::Range, Some(Breakdown::User), Scope::Account, &["9e-atl"]);
        insta::assert_snapshot!(shown(&model), @"
        account,from,to,user,credit_type,consumed,refunded,succeeded,failed,refused
        9e-atl,2026-03-01,2026-04-01,'=ann,free,1200,0,,,
        9e-atl,2026-03-01,2026-04-01,'=ann,purchased,0,0,,,
        9e-atl,2026-03-01,2026-04-01,'=ann,total,1200,0,1,0,1
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,free,40,0,,,
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,purchased,60,0,,,
        9e-atl,2026-03-01,2026-04-01,שרה 🦊,total,100,0,1,0,0
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,free,0,0,,,
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,purchased,0,0,,,
        9e-atl,2026-03-01,2026-04-01,<b>eve</b>,total,0,0,0,1,0
        9e-atl,2026-03-01,2026-04-01,,free,0,0,,,
        9e-atl,2026-03-01,2026-04-01,,purchased,0,60,,,
        9e-atl,2026-03-01,2026-04-01,,total,0,60,0,0,0
        ");
    }

    #[test]
    fn text_that_could_run_is_neutral_and_numbers_stay_numbers() {
        let model = report("t", "2026-03-15", "2026-03-16", Grouping::Range, Scope::Account, &["-1"]);
        let columns = vec![Column::Account, Column::Adjusted];
        let spec = model.spec.clone().with_columns(columns).expect("two columns");
        insta::assert_snapshot!(shown(&ReportModel { spec, ..model }), @"
        account,adjusted
        '-1,0
        '-1,-250
        '-1,-250
        ");
        assert_eq!(neutral("=1"), "'=1");
        assert_eq!(neutral("a-1"), "a-1");
        assert_eq!((neutral("'=1"), neutral("'a"), neutral("''-")), ("''=1".into(), "'a".into(), "'''-".into()));
    }
}
