//! Corners of the ledger in which something was wrong once, each without chance.

use crate::support::{account, default_prices, instant};
use creditd::core::credits::Credits;
use creditd::core::ids::Key;
use creditd::core::ledger::{Call, Ledger, Refund, Refusal};
use creditd::core::transaction::Transaction;

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn ledger() -> Ledger {
    Ledger::new(account("acme", "UTC", "2013-01-01"))
}

fn ask(ledger: &mut Ledger, now: &str, call: Call) -> Result<Transaction, Refusal> {
    ledger.apply(&call, &default_prices(), instant(now)).map(|receipt| receipt.row)
}

fn refund(charge: &str, credits: Option<i64>, name: &str) -> Call {
    let (key, charge, credits) = (key(name), key(charge), credits.map(Credits::new));
    Call::Refund(Refund { key, charge, credits, comment: String::new() })
}

/// What is wrong with the call itself comes before what it is about.
#[test]
fn r11_a_refund_of_nothing_is_a_bad_quantity_whatever_it_is_of() {
    let refusal = ask(&mut ledger(), "2013-01-10T00:00:00Z", refund("nothing", Some(0), "r")).expect_err("refused");
    assert_eq!(refusal.code(), "bad_quantity");
}
