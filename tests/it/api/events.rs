//! Usage as CloudEvents: one in either mode, many at once, again, and late.

use super::{Api, Reply, acme};
use crate::support::{Sandbox, account_id, both_databases};
use axum::body::Body;
use serde_json::{Value, json};

const ONE: &str = "application/cloudevents+json";
const MANY: &str = "application/cloudevents-batch+json";

fn event(id: &str, time: Option<&str>) -> Value {
    let mut event = json!({
        "specversion": "1.0", "type": "creditd.usage", "source": "/gateway", "id": id, "subject": "acme",
        "traceparent": "00-1-2-03", "data": {"action": "erase", "user": "ann", "quantity": 2},
    });
    if let Some(time) = time {
        event["time"] = time.into();
    }
    event
}

async fn send(api: &Api, content_type: &str, body: &Value) -> Reply {
    let request = api.request("POST", "/v1/events").header("content-type", content_type);
    api.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

both_databases! {
    async fn an_event_is_charged_once_in_whichever_mode_it_comes(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let first = send(&api, ONE, &event("1", Some("2013-02-09T08:00:00Z"))).await.ok();
        assert_eq!((&first["credits"], &first["occurred_at"], &first["replayed"]), (&json!(14), &json!("2013-02-09T08:00:00Z"), &json!(false)));
        assert!(first["key"].as_str().is_some_and(|key| key.starts_with("event:")), "{first}");
        let again = send(&api, &format!("{ONE}; charset=utf-8"), &event("1", Some("2013-02-09T08:00:00Z"))).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let attributes = [("specversion", "1.0"), ("type", "creditd.usage"), ("source", "/gateway"), ("id", "1"), ("subject", "acme"), ("time", "2013-02-09T08:00:00Z")];
        let mut request = api.request("POST", "/v1/events").header("content-type", "application/json");
        for (name, value) in attributes {
            request = request.header(format!("ce-{name}"), value);
        }
        let body = json!({"action": "erase", "user": "ann", "quantity": 2}).to_string();
        let binary = api.send(request.body(Body::from(body)).expect("a request")).await.ok();
        assert_eq!((&binary["replayed"], &binary["key"]), (&json!(true), &first["key"]));
        send(&api, ONE, &event("1", None)).await.problem(422, "idempotency_conflict");
        assert_eq!(sandbox.log(&account_id("acme")).await.iter().filter(|row| row.action.is_some()).count(), 1);

        for content_type in ["application/json; charset=utf-8", "application/JSON"] {
            let mut same = event("1", Some("2013-02-09T08:00:00Z"));
            same["datacontenttype"] = content_type.into();
            assert_eq!(send(&api, ONE, &same).await.ok()["replayed"], json!(true), "{content_type}");
            let results = send(&api, MANY, &json!([same])).await.ok()["results"].clone();
            assert_eq!(results[0]["status"], json!(200), "{content_type}: {results}");
        }
        // Of two ids, none is taken.
        for (name, value) in attributes {
            let mut request = api.request("POST", "/v1/events").header("content-type", "application/json");
            for (name, value) in attributes {
                request = request.header(format!("ce-{name}"), value);
            }
            let request = request.header(format!("ce-{name}"), value).body(Body::from(json!({"action": "erase"}).to_string()));
            let problem = api.send(request.expect("a request")).await.problem(400, "invalid_request");
            assert_eq!(problem["detail"], json!(format!("ce-{name}: the header is there more than once")));
        }

        let batch = json!([event("1", Some("2013-02-09T08:00:00Z")), event("2", None), {"id": "3"}, event("4", Some("2012-12-31T00:00:00Z"))]);
        let results = send(&api, MANY, &batch).await.ok()["results"].clone();
        let codes: Vec<(i64, Option<&str>)> = results.as_array().expect("a list").iter().map(|one| (one["status"].as_i64().expect("a status"), one["problem"]["code"].as_str())).collect();
        assert_eq!(codes, [(200, None), (200, None), (400, Some("invalid_request")), (422, Some("not_opened"))]);
        sandbox.assert_verified().await;
    }
}

#[tokio::test]
async fn an_event_that_is_none_is_told_what_it_lacks() {
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    let mut said = Vec::new();
    for (name, value) in [
        ("specversion", json!("0.3")),
        ("type", json!("com.example.usage")),
        ("source", json!("")),
        ("id", json!("x".repeat(2_001))),
        ("subject", json!("a b")),
        ("subject", Value::Null),
        ("time", json!("noon")),
        ("datacontenttype", json!("text/xml")),
        ("data", Value::Null),
        ("data", json!({"action": "erase", "account": "acme"})),
    ] {
        let mut event = event("1", None);
        event[name] = value;
        let reply = send(&api, ONE, &event).await;
        said.push(reply.problem(400, "invalid_request")["detail"].as_str().expect("a detail").to_owned());
    }
    let bare = send(&api, "application/json", &json!({"action": "erase"})).await;
    said.push(bare.problem(400, "invalid_request")["detail"].as_str().expect("a detail").to_owned());
    insta::assert_snapshot!(said.join("\n"), @r#"
    specversion: "1.0" is expected, not "0.3"
    type: "creditd.usage" is expected, not "com.example.usage"
    source: 1 to 2,000 bytes are expected, not 0
    id: 1 to 2,000 bytes are expected, not 2,001
    subject: the account id has the character ' '; allowed are letters, digits, '-', '_' and '.' at line 1 column 117
    subject: the account is expected, as the token is of none
    time: "noon" is not an instant such as 2026-03-01T00:00:00Z at line 1 column 132
    datacontenttype: "application/json" is expected, not "text/xml"
    data: what was done is expected, such as {"action": "erase"}
    data.account: unknown field `account`, expected one of `action`, `user`, `quantity`, `comment`, `post_to_open` at line 1 column 18
    the header ce-specversion is missing; send the attributes of an event as ce- headers, or a whole event as application/cloudevents+json
    "#);
    send(&api, "text/plain", &json!({})).await.problem(415, "unsupported_media_type");
    assert_eq!(sandbox.log(&account_id("acme")).await, []);
}
