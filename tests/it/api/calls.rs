//! Calls that change something: what they answer, again and again, and what they are refused with.

use super::{ALL, Made, NOW, acme, token};
use crate::support::{Sandbox, account_id, both_databases};
use axum::body::Body;
use serde_json::{Value, json};

const CHARGES: &str = "/v1/accounts/acme/charges";

both_databases! {
    async fn a_call_is_made_once_and_answered_each_time(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let body = json!({"action": "erase", "user": "ann", "quantity": 3, "comment": "für Ann"});
        let first = api.post(CHARGES, "job-1", body.clone()).await;
        let again = api.post(CHARGES, "\"job-1\"", body.clone()).await;
        assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
        let (first, again) = (first.ok(), again.ok());
        assert_eq!(first, json!({
          "account": "acme",
          "action": "erase",
          "available": 1479,
          "available_free": 1479,
          "available_purchased": 0,
          "cap": null,
          "cap_left": null,
          "cap_used": null,
          "credits": 21,
          "dry_run": false,
          "first_at": null,
          "free": 21,
          "key": "job-1",
          "next_reset_at": "2013-03-01T05:00:00Z",
          "occurred_at": "2013-02-10T12:00:00Z",
          "purchased": 0,
          "quantity": 3,
          "replayed": false,
          "schema": "creditd.charge/1",
          "seq": 4,
          "status": "success",
          "user": "ann"
        }));
        assert_eq!((&again["replayed"], &again["first_at"], &again["seq"]), (&json!(true), &json!(NOW), &first["seq"]));
        let other = api.post(CHARGES, "job-1", json!({"action": "erase"})).await;
        other.problem(422, "idempotency_conflict");
        let tried = api.post(CHARGES, "job-2", json!({"action": "erase", "dry_run": true})).await.ok();
        assert_eq!((&tried["dry_run"], &tried["available"], &tried["seq"]), (&json!(true), &json!(1472), &json!(5)));
        let replayed = api.post(CHARGES, "job-1", json!({"action": "erase", "user": "ann", "quantity": 3, "comment": "für Ann", "dry_run": true}));
        assert_eq!(replayed.await.ok()["replayed"], true);
        assert_eq!(sandbox.log(&account_id("acme")).await.len(), 4, "a dry run writes nothing");
    }

    async fn whose_a_payment_is_is_told_to_the_platform_alone(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        sandbox.open_account("beta", "UTC", "2013-01-01").await;
        api.post("/v1/accounts/acme/purchases", "inv-1", json!({"packs": 1})).await.ok();
        let other = api.post("/v1/accounts/acme/purchases", "inv-1", json!({"packs": 2})).await.problem(422, "idempotency_conflict");
        assert!(other["detail"].as_str().is_some_and(|said| said.contains("the key inv-1 was used on")), "{other}");
        let own = Made { account: Some("beta"), ..ALL };
        let beta = api.with_token(&token(sandbox.store(), own).await);
        let told = beta.post("/v1/accounts/beta/purchases", "inv-1", json!({"packs": 1})).await.problem(409, "payment_used");
        assert!(!told.to_string().contains("acme"), "{told}");
        let told = api.post("/v1/accounts/beta/purchases", "inv-1", json!({"packs": 1})).await.problem(409, "payment_used");
        assert!(told["detail"].as_str().expect("a detail").contains("acme"), "{told}");
    }

    async fn an_account_that_was_not_known_then_is_told_from_none(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let told = api.get("/v1/accounts/acme/balance?as_of=2012-01-01T00:00:00Z").await.problem(404, "unknown_account");
        assert!(told["detail"].as_str().expect("a detail").contains("was not known at 2012-01-01"), "{told}");
    }

    async fn what_is_not_there_is_told_in_figures(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let refused = api.post(CHARGES, "big", json!({"action": "erase", "quantity": 300})).await;
        let problem = refused.problem(402, "insufficient_credits");
        assert_eq!(problem, json!({
          "account": "acme",
          "available": 1500,
          "available_free": 1500,
          "available_purchased": 0,
          "code": "insufficient_credits",
          "detail": "insufficient_credits: account acme: 2,100 credits are needed, 1,500 are available, 600 are missing; nothing was taken. Purchase credits",
          "key": "big",
          "missing": 600,
          "needed": 2100,
          "next_reset_at": "2013-03-01T05:00:00Z",
          "replayed": false,
          "seq": 4,
          "status": 402,
          "title": "the credits are not there; a charge or hold, unless only tried, leaves a failed row",
          "type": "/problems/insufficient-credits"
        }));
        // Waiting helps where the next free credits are enough.
        api.post(CHARGES, "most", json!({"action": "erase", "quantity": 200})).await.ok();
        for (quantity, helps) in [(214, true), (215, false)] {
            let tried = api.post(CHARGES, "tried", json!({"action": "erase", "quantity": quantity, "dry_run": true})).await;
            let told = tried.problem(402, "insufficient_credits");
            let waits = "Purchase credits, or wait for the next reset at 2013-03-01T05:00:00Z";
            assert_eq!(told["detail"].as_str().expect("a detail").ends_with(waits), helps, "{told}");
        }
        let again = api.post(CHARGES, "big", json!({"action": "erase", "quantity": 300})).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.problem(402, "insufficient_credits")["replayed"], true);
        let tried = api.post(CHARGES, "more", json!({"action": "erase", "quantity": 300, "dry_run": true})).await;
        let tried = tried.problem(402, "insufficient_credits");
        assert!(tried.get("seq").is_none() && tried["key"] == "more", "there is no row: {tried}");
        let tried = api.post(CHARGES, "big", json!({"action": "erase", "quantity": 300, "dry_run": true})).await;
        assert_eq!(tried.problem(402, "insufficient_credits")["seq"], 4, "but of a call that came before there is one");
        assert_eq!(sandbox.log(&account_id("acme")).await.len(), 5, "the refusal is logged once (R7)");
    }

    async fn a_hold_is_captured_or_given_back_and_a_charge_refunded(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let hold = async |key: &str| api.post("/v1/accounts/acme/holds", key, json!({"action": "text-to-image", "quantity": 2, "ttl_seconds": 60})).await.ok();
        let held = hold("h1").await;
        assert_eq!((&held["credits"], &held["expires_at"], &held["available"]), (&json!(16), &json!("2013-02-10T12:01:00Z"), &json!(1484)));
        let captured = api.post("/v1/accounts/acme/holds/h1/capture", "c1", json!({"credits": 10})).await.ok();
        assert_eq!([&captured["credits"], &captured["given_back"], &captured["held"], &captured["available"]], [&json!(10), &json!(6), &json!(16), &json!(1490)]);
        api.post("/v1/accounts/acme/holds/h1/capture", "c2", json!({})).await.problem(409, "hold_captured");
        hold("h/2").await;
        let voided = api.post("/v1/accounts/acme/holds/h%2F2/void", "v1", json!({"comment": "timeout"})).await.ok();
        assert_eq!((&voided["status"], &voided["given_back"], &voided["schema"]), (&json!("failed"), &json!(16), &json!("creditd.void/1")));
        api.post("/v1/accounts/acme/holds/nothing/void", "v2", json!({})).await.problem(404, "unknown_hold");
        api.post("/v1/accounts/acme/holds/a%20b/void", "v3", json!({})).await.problem(404, "not_found");
        let refunded = api.post("/v1/accounts/acme/charges/c1/refund", "r1", json!({"credits": 4, "comment": "blurred"})).await.ok();
        assert_eq!((&refunded["credits"], &refunded["charge"], &refunded["available"]), (&json!(4), &json!("c1"), &json!(1494)));
        api.post("/v1/accounts/acme/charges/c1/refund", "r2", json!({"credits": 7})).await.problem(409, "exceeds_refundable");
        for (credits, said) in [(-1, "-1"), (0, "0"), (1_000_000_001, "1,000,000,001")] {
            let told = api.post("/v1/accounts/acme/charges/c1/refund", "r2", json!({"credits": credits})).await.problem(400, "bad_quantity");
            assert_eq!(told["detail"], format!("bad_quantity: account acme: the credits to refund must be 1 to 1,000,000,000, not {said}"));
        }
        api.post("/v1/accounts/acme/charges/c9/refund", "r3", json!({})).await.problem(404, "unknown_charge");
        let bought = api.post("/v1/accounts/acme/purchases", "inv-1", json!({"packs": 2})).await.ok();
        assert_eq!([&bought["credits"], &bought["price_minor"], &bought["currency"], &bought["reference"]], [&json!(5_000), &json!(5_000), &json!("USD"), &json!("inv-1")]);
        assert_eq!(api.post("/v1/accounts/acme/purchases", "inv-1", json!({"packs": 2})).await.ok()["replayed"], true);
        api.post("/v1/accounts/acme/purchases", "inv-2", json!({"packs": 0})).await.problem(400, "bad_quantity");
        sandbox.assert_verified().await;
    }

    async fn many_charges_are_answered_one_by_one(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let item = |account: &str, key: &str, charge: Value| json!({"account": account, "key": key, "charge": charge});
        let body = json!({"charges": [
            item("acme", "a", json!({"action": "erase"})),
            item("acme", "b", json!({"action": "eraze"})),
            item("acme", "a", json!({"action": "erase"})),
            item("acme", "c", json!({"action": "erase", "quantity": 1_000})),
            item("nobody", "a", json!({"action": "erase"})),
            item("acme", "d", json!({"action": "erase", "dry_run": true})),
            item("acme", "e", json!({"action": "erase", "quantty": 2})),
            item("acme", "f g", json!({"action": "erase"})),
            json!({"account": "acme", "charge": {"action": "erase"}}),
            json!(["acme", "h", {"action": "erase"}]),
            item("acme", "i", json!({"action": "erase", "comment": "\u{7}"})),
            item("acme", "j", json!({"action": "erase"})),
        ]});
        let reply = api.post("/v1/charges", "-", body).await.ok();
        let said: Vec<String> = reply["results"].as_array().expect("a list").iter().map(|one| {
            let what = one["problem"]["code"].as_str().map_or_else(|| format!("replayed {}", one["charge"]["replayed"]), str::to_owned);
            let place = one["problem"]["pointer"].as_str().unwrap_or("");
            format!("{} {what} {place}", one["status"]).trim_end().to_owned()
        }).collect();
        assert_eq!(said, [
            "200 replayed false",
            "422 unknown_action",
            "200 replayed true",
            "402 insufficient_credits",
            "404 unknown_account",
            "200 replayed false",
            "400 invalid_request #/charges/6/charge/quantty",
            "400 invalid_request #/charges/7/key",
            "400 invalid_request #/charges/8",
            "400 invalid_request #/charges/9",
            "400 invalid_request #/charges/10/charge/comment",
            "200 replayed false",
        ]);
        let told = api.post("/v1/charges", "-", json!([])).await.problem(400, "invalid_request");
        assert!(told["detail"].as_str().expect("a detail").contains("{\"charges\": [{\"account\": \"acme\", \"key\": "), "{told}");
        for whole in [json!([]), json!({"charges": {}}), json!({"charges": [], "key": "x"}), json!({})] {
            api.post("/v1/charges", "-", whole).await.problem(400, "invalid_request");
        }
        let many: Vec<Value> = (0..1_001).map(|n| item("acme", &n.to_string(), json!({"action": "upscale"}))).collect();
        api.post("/v1/charges", "-", json!({"charges": many})).await.problem(400, "invalid_request");
        assert_eq!(api.post("/v1/charges", "-", json!({"charges": []})).await.ok()["results"], json!([]));
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_told_what_about_it() {
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    let send = async |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut request = api.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request.body(Body::from(body.to_vec())).expect("a request")).await
    };
    const JSON: (&str, &str) = ("content-type", "application/json");
    const KEY: (&str, &str) = ("idempotency-key", "k");
    let mut said = Vec::new();
    for (headers, body) in [
        (&[JSON][..], &b"{\"action\":\"erase\"}"[..]),
        (&[JSON, ("idempotency-key", "a b")], b"{\"action\":\"erase\"}"),
        (&[JSON, KEY, ("idempotency-key", "k2")], b"{\"action\":\"erase\"}"),
        (&[KEY], b"{\"action\":\"erase\"}"),
        (&[KEY, ("content-type", "text/plain")], b"{\"action\":\"erase\"}"),
        (&[KEY, ("content-type", "application/json; charset=utf-16")], b"{\"action\":\"erase\"}"),
        (&[KEY, ("content-type", "application/json; charset")], b"{\"action\":\"erase\"}"),
        (&[JSON, KEY, ("content-type", "application/json; charset=utf-16")], b"{\"action\":\"erase\"}"),
        (&[JSON, KEY], b""),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"quantty\":1}"),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"quantity\":0}"),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"quantity\":\"1\"}"),
        (&[JSON, KEY], b"{\"action\":\"a b\"}"),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"comment\":\"a\\u0007b\"}"),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"occurred_at\":\"yesterday\"}"),
        (&[JSON, KEY], b"{\"action\":\"erase\",\"occurred_at\":\"2013-02-10T12:00:01Z\"}"),
        (&[JSON, KEY], b"[1]"),
        (&[JSON, KEY], b"\xff"),
        (&[JSON, ("idempotency-key", "purchase:x")], b"{\"action\":\"erase\"}"),
    ] {
        let reply = send("POST", CHARGES, headers, body).await;
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        said.push(format!("{} {}", reply.status, reply.json()["detail"].as_str().expect("a detail")));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    400 a call that changes something needs the header Idempotency-Key: a text of yours that is new for each new call, and the same when a call is repeated
    400 Idempotency-Key: the key has the character ' '; allowed are printable ASCII without spaces
    400 Idempotency-Key: the header is there twice; a call has one key
    415 the body has no Content-Type; send application/json
    415 the body is "text/plain"; send application/json
    415 the body has the charset "utf-16"; send it in UTF-8
    415 the Content-Type "application/json; charset" cannot be read; a right one is "application/json; charset=utf-8"
    415 the header Content-Type is there twice; a body is of one type
    400 the body: EOF while parsing a value at line 1 column 0
    400 quantty: unknown field `quantty`, expected one of `action`, `user`, `quantity`, `comment`, `occurred_at`, `status`, `post_to_open`, `dry_run` at line 1 column 27; did you mean `quantity`?
    400 bad_quantity: account acme: the quantity must be 1 to 1,000,000, not 0
    400 quantity: invalid type: string "1", expected i64 at line 1 column 32
    400 action: the action code has the character ' '; allowed are letters, digits, '-', '_' and '.' at line 1 column 16
    400 comment: the comment has the character '\u{7}'; allowed are all but control characters
    400 occurred_at: "yesterday" is not an instant such as 2026-03-01T00:00:00Z at line 1 column 44
    422 in_future: account acme: 2013-02-10T12:00:01Z is later than now (2013-02-10T12:00:00Z); check the time that is told and this machine's clock
    400 the body: invalid type: sequence, expected an object, such as {"action": "erase"} at line 1 column 0
    400 the body: expected value at line 1 column 1
    400 reserved_key: account acme: the key purchase:x begins as those of payments or of closed months do; give the call another one
    "#);
    let large = vec![b' '; 20_000];
    send("POST", CHARGES, &[JSON, KEY], &large).await.problem(413, "too_large");
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("DELETE", CHARGES, 405, "method_not_allowed"),
        ("POST", "/v1/actions", 405, "method_not_allowed"),
        ("GET", "/v1/accounts/nobody/balance", 404, "unknown_account"),
        ("GET", "/v1/accounts/%ff/balance", 404, "not_found"),
        ("GET", "/v1/accounts/a%20b/balance", 404, "unknown_account"),
    ] {
        send(method, path, &[], b"").await.problem(status, code);
    }
    assert_eq!(send("DELETE", CHARGES, &[], b"").await.header("allow"), Some("POST"));
    assert_eq!(sandbox.log(&account_id("acme")).await.len(), 0, "nothing was written");
}

/// What is wrong with the ledger is a matter of its log, and the call may be repeated.
#[tokio::test]
async fn without_a_database_calls_are_asked_to_come_again() {
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    api.get("/v1/actions").await.ok();
    sandbox.store().close().await;
    for reply in [api.post(CHARGES, "k", json!({"action": "erase"})).await, api.get("/v1/accounts/acme/balance").await]
    {
        let problem = reply.problem(503, "unavailable");
        assert!(!problem.to_string().contains("sqlite") && !problem.to_string().contains("creditd.db"), "{problem}");
        assert_eq!(reply.header("retry-after"), Some("5"));
    }
}
