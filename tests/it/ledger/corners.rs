//! Corners of the ledger in which something was wrong once, each without chance.

use crate::support::{account, default_prices, instant, usage};
use creditd::core::credits::Credits;
use creditd::core::ids::Key;
use creditd::core::ledger::{Call, Ledger, Refund, Refusal, Usage};
use creditd::core::transaction::{Kind, Transaction};

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn ledger() -> Ledger {
    Ledger::new(account("acme", "UTC", "2013-01-01"))
}

fn ask(ledger: &mut Ledger, now: &str, call: Call) -> Result<Transaction, Refusal> {
    ledger.apply(&call, &default_prices(), instant(now)).map(|receipt| receipt.row)
}

fn charge(quantity: i64, key: &str) -> Call {
    Call::Charge(Usage { quantity, ..usage("translation", key) })
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

/// R15: both rows of a refund to a grant that is over are known at the same instant, so nobody can ask for the ledger as of
/// one between them, where credits of a month that is over would be there.
#[test]
fn r11_a_refund_to_a_month_that_is_over_is_recorded_at_one_instant() {
    let mut ledger = ledger();
    ask(&mut ledger, "2013-01-10T00:00:00Z", charge(10, "a")).expect("charged");
    ask(&mut ledger, "2013-02-10T00:00:00Z", refund("a", None, "r")).expect("refunded");
    let [.., refund, lapse] = ledger.rows() else { panic!("two rows") };
    assert_eq!((refund.kind, lapse.kind), (Kind::Refund, Kind::Expiry));
    assert_eq!(lapse.occurred_at, refund.occurred_at.plus_micros(1));
    assert_eq!(lapse.recorded_at, refund.recorded_at);
}
