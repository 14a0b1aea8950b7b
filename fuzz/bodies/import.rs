//! Any bytes as a file to import: whatever they are, the answer is rows, or what is wrong with them and where.

use creditd::app::import::{AccountImport, BadRow, Import, PurchaseImport, UsageImport, understand};
use creditd::core::credits::Credits;
use creditd::core::transaction::Money;
use std::io::Write;

/// Longest reason for a bad row, with room for what is said around the text that it is about.
const REASON_BYTES_MAX: usize = 4_000;

pub fn run(data: &[u8]) {
    check(&AccountImport { allowance: Credits::new(1_500) }, data);
    let pack_price = Money { minor: 2_500, currency: "USD".into() };
    check(&PurchaseImport { pack_credits: Credits::new(2_500), pack_price }, data);
    check(&UsageImport { post_to_open: false }, data);
}

/// As it is, and behind the header that a file of this kind begins with.
fn check<I: Import>(kind: &I, data: &[u8]) {
    check_file(kind, data);
    let header = I::COLUMNS.join(",");
    check_file(kind, &[header.as_bytes(), b"\n", data].concat());
}

fn check_file<I: Import>(kind: &I, bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    match understand(kind, "fuzz.csv", &file) {
        Ok((rows, bad)) => {
            rows.iter().for_each(|row| check_row::<I>(row));
            bad.iter().for_each(check_bad_row);
        }
        Err(error) => assert!(error.to_string().starts_with("fuzz.csv:"), "{error}"),
    }
}

fn check_row<I: Import>(row: &I::Row) {
    assert_eq!(I::identity(row), I::identity(row));
    assert!(!I::identity(row).0.is_empty());
}

fn check_bad_row(bad: &BadRow) {
    assert!(bad.line >= 1);
    assert!(!bad.reason.is_empty() && bad.reason.len() < REASON_BYTES_MAX, "{bad}");
    assert!(bad.to_string().starts_with(&format!("fuzz.csv:{}: ", bad.line)), "{bad}");
}
