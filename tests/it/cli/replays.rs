//! What came of a call is what is answered when it comes again, whatever was done since (R9), and what accounts are said to be.

use super::{NOW, Place};
use serde_json::{Value, json};

const LATER: &str = "--now 2013-02-11T12:00:00Z";

/// The figures of an answer.
fn figures<const N: usize>(answer: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| answer[name].clone())
}

#[test]
fn a_replay_says_when_the_call_first_came_and_what_came_of_it_then() {
    let place = Place::with_acme();
    place.ok("purchase --account acme --packs 1 --reference inv-1");
    let calls = [
        ("charge --account acme --action erase --quantity 3 --key j-1", &["status", "credits", "free"][..]),
        ("hold --account acme --action erase --quantity 2 --key h-1", &["status", "credits", "expires_at"]),
        ("capture h-1 --account acme --credits 5 --key c-1", &["held", "credits", "given_back"]),
        ("hold --account acme --action erase --key h-2", &["status", "credits"]),
        ("void h-2 --account acme --key v-1", &["status", "held", "credits", "given_back"]),
        ("refund c-1 --account acme --credits 2 --comment why --key r-1", &["charge", "credits", "lapsed"]),
        ("purchase --account acme --packs 2 --reference inv-2", &["packs", "credits", "price_minor", "reference"]),
        ("return inv-1 --account acme --comment why --key x-1", &["reference", "returned", "comment"]),
        ("grant --account acme --type free --credits 9 --comment why --key g-1", &["type", "credits", "comment"]),
        ("adjust --account acme --type purchased --credits 9 --comment why --key a-1", &["type", "taken", "comment"]),
        ("account close acme --comment why --key k-1", &["status", "comment"]),
        ("account reopen acme --comment why --key k-2", &["status", "comment"]),
        ("month close 2013-01 --account acme --key m-1", &["month", "outcome", "closed_through"]),
        ("month reopen 2013-01 --account acme --comment why --key m-2", &["month", "comment"]),
    ];
    let one = |answer: Value| answer["rows"].as_array().map_or(answer.clone(), |rows| rows[0].clone());
    let first = calls.map(|(args, _)| one(place.json(args)));
    // Whatever it was, it is over by then.
    place.ok(&format!("account close acme --comment again --key again {LATER}"));
    for ((args, names), first) in calls.iter().zip(first) {
        let again = one(place.json(&format!("{args} {LATER}")));
        assert_eq!(figures(&first, ["replayed", "first_at"]), [json!(false), Value::Null], "{args}");
        // Closings follow each other by a microsecond at least.
        let first_at = again["first_at"].as_str().unwrap_or_default();
        assert!(again["replayed"] == true && first_at.starts_with(NOW.trim_end_matches('Z')), "{args}: {first_at}");
        for name in *names {
            assert!(!first[name].is_null(), "{args}: {name}");
            assert_eq!(first[name], again[name], "{args}: {name}");
        }
        let table = place.ok(&format!("{args} {LATER}")).stdout;
        assert!(table.contains("first_at") && table.contains(first_at), "{args}: {table}");
    }
    place.ok(&format!("verify {LATER}"));
}

#[test]
fn what_was_set_is_told_and_not_what_has_been_set_since() {
    let place = Place::with_acme();
    let terms = "account set acme --allowance 3000 --key t-1";
    let first = place.ok(&format!("{terms} -o json"));
    assert_eq!(first.stderr, "From 2013-03 on: 3,000 free credits a month, zone America/New_York.\n");
    let second = place.ok("account set acme --allowance 1 --zone Europe/Berlin --key t-2");
    assert_eq!(second.stderr, "From 2013-03 on: 1 free credit a month, zone Europe/Berlin.\n");
    let again = place.ok(&format!("{terms} -o json"));
    assert_eq!(
        again.stderr,
        format!(
            "This call came before, at {NOW}, and set from 2013-03 on: 3,000 free credits a month, zone America/New_York. \
             Terms were left as they are.\n"
        )
    );
    let names = ["set_from", "set_zone", "set_allowance", "key"];
    assert_eq!(figures(&first.json(), names), figures(&again.json(), names));
    assert_eq!(figures(&again.json(), ["replayed", "first_at"]), [json!(true), json!(NOW)]);
    assert_eq!(figures(&again.json(), ["next_zone", "next_allowance"]), [json!("Europe/Berlin"), json!(1)]);

    place.ok("charge --account acme --action erase --user ann --key j-1");
    let names = ["cap", "cap_used", "cap_left"];
    let cap = "cap set ann --account acme --credits 10 --key cap-1";
    assert_eq!(figures(&place.json(cap), names), [json!(10), json!(7), json!(3)]);
    place.ok("cap set ann --account acme --credits 50 --key cap-2");
    assert_eq!(figures(&place.json(cap), names), [json!(10), Value::Null, Value::Null]);
}

#[test]
fn an_account_that_is_not_open_says_what_it_is() {
    let place = Place::with_acme();
    let made = place.ok("account create soon --name Soon --zone Europe/Berlin --opened-on 2013-03-01");
    assert!(made.stderr.contains("The account soon opens at 2013-02-28T23:00:00Z."), "{}", made.stderr);
    let names = ["status", "next_reset_at"];
    let of = |args: &str, at: usize| place.rows(args)[at].clone();
    assert_eq!(figures(&of("balance", 1), names), [json!("not_opened"), json!("2013-02-28T23:00:00Z")]);
    assert_eq!(figures(&place.json("account show soon"), names), [json!("not_opened"), json!("2013-02-28T23:00:00Z")]);
    for args in ["balance", "account list", "account show soon"] {
        let table = place.ok(args).stdout;
        assert!(table.contains("not opened until 2013-02-28T23:00:00Z"), "{args}: {table}");
    }

    let closed = place.json("account close acme --comment unpaid --key c-1");
    assert_eq!(closed["next_reset_at"], Value::Null);
    assert_eq!(figures(&of("balance", 0), names), [json!("closed"), Value::Null]);
    for args in ["balance acme", "account show acme", "account close acme --comment unpaid --key c-1"] {
        let table = place.ok(args).stdout;
        assert!(table.contains("none while closed"), "{args}: {table}");
    }
    let refused = place.run("adjust --account acme --type free --credits 1501 --comment why");
    refused.fails_with(6, "1,501 free credits are needed, 1,500 are available, 1 is missing; nothing was taken\n");
}

#[test]
fn one_credit_is_not_several_and_what_cannot_be_refunded_is_explained() {
    let place = Place::with_acme();
    place.ok("adjust --account acme --type free --credits 1500 --comment why");
    place
        .run("charge --account acme --action translation --key one")
        .fails_with(6, "account acme: 1 credit is needed, 0 are available, 1 is missing; nothing was taken");
    let place = Place::with_acme();
    place.ok("hold --account acme --action erase --key h-1");
    place.run("refund h-1 --account acme --comment why").fails_with(
        5,
        "unknown_charge: account acme: the key h-1 is that of a hold, which took nothing yet; refund the key of",
    );
    place.ok("void h-1 --account acme --key v-1");
    place.run("refund v-1 --account acme --comment why").fails_with(
        5,
        "exceeds_refundable: account acme: the action under the key v-1 was not done and took nothing to refund",
    );
    place.ok("charge --account acme --action translation --key j-1");
    place
        .run("refund j-1 --account acme --credits 2 --comment why")
        .fails_with(5, "2 credits cannot be refunded of the charge j-1; 1 is left to refund");
    place
        .run("grant --account acme --type free --credits 1 --expires 2013-01-01 --comment why")
        .fails_with(5, "expires");
}

#[test]
fn a_month_that_is_closed_can_be_counted_elsewhere_by_an_import_alone() {
    let place = Place::with_acme();
    place.ok("month close 2013-01 --account acme");
    place.write("packs.csv", "occurred_at,account,packs,reference\n2013-01-05T00:00:00Z,acme,1,inv-1\n");
    for args in [
        "purchase import packs.csv",
        "charge --account acme --action erase --now 2013-01-20T00:00:00Z",
        "grant --account acme --type free --credits 1 --comment why --now 2013-01-20T00:00:00Z",
    ] {
        let refused = place.run(args);
        assert!(refused.stderr.contains("month_closed: account acme: 2013-01 is closed"), "{args}: {}", refused.stderr);
        assert!(refused.stderr.contains("date it later, or open the month again with `creditd month reopen`"));
        assert!(!refused.stderr.contains("--post-to-open"), "{args}: {}", refused.stderr);
    }
}
