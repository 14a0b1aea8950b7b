//! Holds, what becomes of them, and refunds (R10, R11).

use super::{NOW, Place};
use serde_json::{Value, json};

/// The figures of an answer.
fn figures<const N: usize>(answer: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| answer[name].clone())
}

#[test]
fn a_hold_is_reserved_captured_in_part_and_refunded() {
    let place = Place::with_acme();
    let held =
        place.once("hold --account acme --action erase --user ann --quantity 3 --ttl 2h --comment draft --key h-1");
    assert_eq!(
        held,
        json!({
            "schema": "creditd.hold/1", "account": "acme", "seq": 4, "occurred_at": NOW, "action": "erase",
            "quantity": 3, "user": "ann", "status": "success", "reason": null, "credits": 21, "free": 21, "purchased": 0,
            "cap": null, "cap_used": null, "cap_left": null, "expires_at": "2013-02-10T14:00:00Z", "replayed": false, "first_at": null,
            "available": 1479, "available_free": 1479, "available_purchased": 0,
            "next_reset_at": "2013-03-01T05:00:00Z", "key": "h-1"
        })
    );
    assert_eq!(place.rows("balance acme")[0]["held"], 21);
    let open = &place.rows("holds list")[0];
    assert_eq!(
        figures(open, ["account", "hold", "user", "held", "expires_at", "comment"]),
        [json!("acme"), json!("h-1"), json!("ann"), json!(21), json!("2013-02-10T14:00:00Z"), json!("draft")]
    );

    place
        .run("capture h-1 --account acme --credits 22 --key c-0")
        .fails_with(5, "exceeds_hold: account acme: 22 credits cannot be captured of the hold h-1, which has 21");
    let captured = place.once("capture h-1 --account acme --credits 15 --key c-1");
    assert_eq!(
        figures(&captured, ["schema", "hold", "held", "credits", "given_back", "available"]),
        [json!("creditd.capture/1"), json!("h-1"), json!(21), json!(15), json!(6), json!(1485)]
    );
    assert_eq!(place.rows("holds list --account acme"), Vec::<Value>::new());
    place.run("capture h-1 --account acme --key c-2").fails_with(5, "hold_captured: ");
    place.run("void h-1 --account acme --key c-1").fails_with(7, "idempotency_conflict: ");

    let refunded = place.once("refund c-1 --account acme --credits 5 --comment blurred --key r-1");
    assert_eq!(
        figures(&refunded, ["schema", "charge", "credits", "free", "lapsed", "available"]),
        [json!("creditd.refund/1"), json!("c-1"), json!(5), json!(5), json!(0), json!(1490)]
    );
    place.run("refund c-1 --account acme --credits 11 --comment blurred --key r-2").fails_with(
        5,
        "exceeds_refundable: account acme: 11 credits cannot be refunded of the charge c-1; 10 are left",
    );
    assert_eq!(place.json("refund c-1 --account acme --comment blurred --key r-3")["credits"], 10);
    place.run("refund c-1 --account acme --comment blurred --key r-4").fails_with(5, "0 are left to refund");
    assert_eq!(place.balance(), (1_500, 0));
}

#[test]
fn a_hold_is_voided_or_ends_by_itself() {
    let place = Place::with_acme();
    let made = place.ok("hold --account acme --action erase -o json");
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    assert_eq!(made.stderr, format!("key: {key}\n"), "told before the call");
    assert_eq!(made.json()["expires_at"], "2013-02-10T12:15:00Z");
    let voided = place.once(&format!("void {key} --account acme --comment timeout --key v-1"));
    assert_eq!(
        figures(&voided, ["schema", "status", "held", "credits", "given_back", "available"]),
        [json!("creditd.void/1"), json!("failed"), json!(7), json!(0), json!(7), json!(1500)]
    );
    place.run(&format!("capture {key} --account acme --key c-1")).fails_with(5, "hold_voided: ");
    assert_eq!(place.rows("transactions list --status failed")[0]["comment"], "timeout");

    place.ok("hold --account acme --action erase --ttl 90 --key h-2");
    let later = "--now 2013-02-10T12:01:30Z";
    assert_eq!(place.rows("holds list --now 2013-02-10T12:01:29Z").len(), 1);
    assert_eq!(place.rows(&format!("holds list {later}")), Vec::<Value>::new(), "whether or not a job has run");
    let balance = &place.rows(&format!("balance {later}"))[0];
    assert_eq!(figures(balance, ["available", "held"]), [json!(1500), json!(0)]);
    place
        .run(&format!("capture h-2 --account acme --key c-2 {later}"))
        .fails_with(5, "hold_expired: account acme: the hold h-2 was open until 2013-02-10T12:01:30Z");
    place.ok("verify");
}

#[test]
fn what_is_refunded_to_a_month_that_is_over_lapses_at_once() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action erase --key j-1 --now 2013-01-20T12:00:00Z");
    let refunded = place.once("refund j-1 --account acme --comment late --key r-1");
    assert_eq!(figures(&refunded, ["credits", "lapsed", "available"]), [json!(7), json!(7), json!(1500)]);
    place.ok("verify");
}

#[test]
fn a_hold_is_refused_as_a_charge_is() {
    let place = Place::with_acme();
    let refused = place.run("hold --account acme --action text-to-image --quantity 1000 --key h-1 -o json");
    refused.fails_with(6, "8,000 credits are needed, 1,500 are available, 6,500 are missing; nothing was taken");
    place.ok("charge --account acme --action erase --key c-1");
    place
        .run("hold --account acme --action text-to-image --quantity 187 --key h-2")
        .fails_with(6, "Purchase credits, or wait for the next reset at 2013-03-01T05:00:00Z");
    assert_eq!(
        figures(&refused.json(), ["status", "reason", "credits", "expires_at"]),
        [json!("failed"), json!("insufficient_credits"), json!(0), Value::Null]
    );
    place
        .run("hold --account acme --action text-to-image --quantity 1000 --key h-1")
        .fails_with(6, "its key stands for that refusal for ever");
    place
        .run("capture h-1 --account acme")
        .fails_with(5, "unknown_hold: account acme: there is no hold under the key h-1");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let place = Place::with_acme();
    place.ok("hold --account acme --action erase --key h-1");
    for (args, code, reason) in [
        ("hold --account acme --action erase --ttl 25h", 2, "1 second to 24 hours"),
        ("hold --account acme --action erase --ttl 0", 2, "1 second to 24 hours"),
        ("hold --account acme --action erase --ttl soon", 2, "a time such as 90s, 15m or 2h is expected"),
        ("hold --account acme --action erase --quantity -1", 2, "-1"),
        ("hold --account acme --action no-such", 5, "unknown_action"),
        ("hold --account nobody --action erase", 5, "unknown_account"),
        ("capture h-1 --account acme --credits -1", 2, "-1"),
        ("capture no-such --account acme", 5, "unknown_hold"),
        ("void no-such --account acme", 5, "unknown_hold"),
        ("refund h-1 --account acme --comment why", 5, "unknown_charge"),
        ("refund h-1 --account acme", 2, "--comment"),
        ("refund h-1 --account acme --comment \u{a0}", 2, "the comment, which says why, is empty"),
        ("refund h-1 --account acme --comment why --credits 0", 2, "1 to 1000000000"),
        ("holds list --account nobody", 5, "unknown_account"),
    ] {
        place.run(args).fails_with(code, reason);
    }
    assert_eq!(place.rows("transactions list").len(), 4, "two months and a hold");
}
