//! Corners of the ledger in which something was wrong once, each without chance.

use crate::support::{account, default_prices, instant, purchase, usage};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::Key;
use creditd::core::ledger::{Adjust, Bonus, Call, Closing, Ledger, MonthClosing, Refund, Refusal, Return, Usage};
use creditd::core::transaction::{Kind, Reason, Transaction};

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

/// R14: what came back on the 20th was not there on the 15th, so usage of the 15th cannot have it: a statement of the 15th
/// would show less than nothing. What is charged now can have it, whatever the clock shows.
#[test]
fn r14_late_usage_cannot_have_what_was_refunded_later() {
    let mut ledger = ledger();
    ask(&mut ledger, "2013-01-01T00:00:00Z", Call::Purchase(purchase(1, "inv-1"))).expect("bought");
    ask(&mut ledger, "2013-01-10T00:00:00Z", charge(4_000, "all")).expect("charged");
    ask(&mut ledger, "2013-01-20T00:00:00Z", refund("all", Some(100), "r")).expect("refunded");
    let late = |key: &str, at: &str| {
        let occurred_at = Some(instant(at));
        Call::Charge(Usage { occurred_at, ..usage("translation", key) })
    };
    let row = ask(&mut ledger, "2013-01-21T00:00:00Z", late("before", "2013-01-19T23:59:59Z")).expect("logged");
    assert_eq!(row.reason, Some(Reason::InsufficientCredits));
    let row = ask(&mut ledger, "2013-01-21T00:00:00Z", late("at", "2013-01-20T00:00:00Z")).expect("logged");
    assert_eq!(row.reason, None);
    let row = ask(&mut ledger, "2013-01-19T00:00:00Z", charge(1, "now")).expect("logged");
    assert_eq!(row.reason, None);
}

/// R14: a month that is closed stays as it is, though the clock may be set back into it.
#[test]
fn r14_nothing_happens_in_a_closed_month_on_a_clock_that_was_set_back() {
    let (january, february) = ("2013-01-31T23:00:00Z", "2013-02-01T00:00:00Z");
    let mut ledger = ledger();
    ask(&mut ledger, january, Call::Purchase(purchase(1, "inv-1"))).expect("bought");
    ask(&mut ledger, january, charge(10, "a")).expect("charged");
    let month = "2013-01".parse().expect("a month");
    let closing = MonthClosing { key: key("m"), month, reopen: false, comment: String::new() };
    ask(&mut ledger, february, Call::Month(closing)).expect("closed");
    let (credit_type, credits, comment) = (CreditType::Purchased, Credits::new(1), "a slip".to_owned());
    let bonus = Bonus { key: key("b"), credit_type, credits, expires_at: None, comment: comment.clone() };
    let adjust = Adjust { key: key("x"), credit_type, credits, comment: comment.clone() };
    let returned = Return { key: key("y"), purchase: purchase(1, "inv-1").key, comment };
    let late = Usage { occurred_at: Some(instant(january)), ..usage("erase", "l") };
    for call in [
        charge(1, "b1"),
        Call::Charge(late),
        refund("a", None, "r"),
        Call::Bonus(bonus),
        Call::Adjust(adjust),
        Call::Return(returned),
        Call::Closing(Closing { key: key("z"), reopen: false, comment: "a slip".to_owned() }),
    ] {
        for now in [january, "2013-01-31T23:59:59.999999Z"] {
            let refusal = ask(&mut ledger, now, call.clone()).expect_err("closed");
            assert_eq!(refusal.code(), "month_closed", "{call:?}");
        }
    }
}

/// R14: the row keeps when it happened, however long the caller's comment is.
#[test]
fn r14_a_comment_leaves_room_for_the_date_of_usage_that_is_posted_to_the_open_month() {
    let mut ledger = ledger();
    let month = "2013-01".parse().expect("a month");
    let closing = MonthClosing { key: key("m"), month, reopen: false, comment: String::new() };
    ask(&mut ledger, "2013-02-01T00:00:00Z", Call::Month(closing)).expect("closed");
    for (name, comment) in [("none", String::new()), ("short", "late".to_owned()), ("long", "ä".repeat(500))] {
        let occurred_at = Some(instant("2013-01-20T10:00:00.123456Z"));
        let late = Usage { occurred_at, post_to_open: true, comment: comment.clone(), ..usage("erase", name) };
        let row = ask(&mut ledger, "2013-02-01T00:00:00Z", Call::Charge(late)).expect("posted");
        assert!(row.comment.ends_with("(of 2013-01-20T10:00:00.123456Z, posted to the open month)"), "{}", row.comment);
        assert!(row.comment.chars().count() <= 500, "{name}");
        assert!(row.comment.starts_with(&comment.chars().take(400).collect::<String>()), "{name}");
    }
}

/// What was charged and refunded again and again adds up in a grant although the balance is small. A sum out of range is
/// found after the month has turned, and takes that back, too.
#[test]
fn a_gross_figure_beyond_the_range_writes_nothing() {
    let mut ledger = ledger();
    ask(&mut ledger, "2013-01-10T00:00:00Z", Call::Purchase(purchase(1, "inv-1"))).expect("bought");
    let pack = ledger.grants.values_mut().last().expect("a pack");
    (pack.consumed, pack.refunded) = (Credits::new(Credits::LIMIT.get() - 3), Credits::new(Credits::LIMIT.get() - 3));
    let before = ledger.clone();
    let refusal = ask(&mut ledger, "2013-02-10T00:00:00Z", charge(1_510, "a")).expect_err("beyond the range");
    assert_eq!(refusal.code(), "overflow");
    assert_eq!(ledger, before);
    ask(&mut ledger, "2013-02-10T00:00:00Z", charge(1_502, "a")).expect("just within");
}
