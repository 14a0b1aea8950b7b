//! Nonsense: whatever comes, it is answered without a panic, and it is never creditd's fault; a slip is found where it is.

use super::{Api, acme};
use crate::support::Sandbox;
use axum::body::Body;
use creditd::web::routes;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

const JSON: &str = "application/json";

/// One process for all cases.
struct World {
    runtime: tokio::runtime::Runtime,
    api: Api,
    _sandbox: Sandbox,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (api, sandbox) = runtime.block_on(async {
        let sandbox = Sandbox::new().await;
        (acme(&sandbox).await, sandbox)
    });
    World { runtime, api, _sandbox: sandbox }
});

/// Sends it, and looks at what every answer must be.
fn send(request: axum::http::request::Builder, body: Vec<u8>) -> Result<u16, TestCaseError> {
    let Ok(request) = request.body(Body::from(body)) else { return Ok(0) };
    let World { runtime, api, .. } = &*WORLD;
    let reply = runtime.block_on(api.send(request));
    prop_assert!(reply.status < 500, "{:?}", reply);
    if reply.status >= 400 {
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).expect("a problem is JSON");
        prop_assert_eq!(&problem["status"], reply.status);
    }
    Ok(reply.status)
}

/// A value of JSON of any kind, with names that bodies have.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        (-3_i64..2_000_000).prop_map(Into::into),
        prop_oneof![
            Just("erase".to_owned()),
            Just("acme".to_owned()),
            Just("2013-02-01T00:00:00Z".to_owned()),
            "\\PC{0,20}",
            any::<String>()
        ]
        .prop_map(Into::into),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "action",
            "user",
            "quantity",
            "comment",
            "occurred_at",
            "status",
            "dry_run",
            "ttl_seconds",
            "credits",
            "packs",
            "charges",
            "charge",
            "account",
            "key",
            "specversion",
            "type",
            "source",
            "id",
            "subject",
            "time",
            "data",
        ])
        .prop_map(str::to_owned),
        "[a-z_]{0,8}",
    ];
    leaf.prop_recursive(3, 20, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any route, with names in its address that may be anything.
fn address() -> impl Strategy<Value = (&'static str, String)> {
    let part = prop_oneof![Just("acme".to_owned()), "[!-~&&[^/?#%]]{1,20}", "(%[0-9a-fA-F]{2}){1,8}"];
    let api: Vec<_> = routes().filter(|route| route.path.starts_with("/v1")).collect();
    (prop::sample::select(api), part.clone(), part).prop_map(|(route, account, key)| {
        let path = route.path.replace("{account}", &account).replace("{hold}", &key).replace("{charge}", &key);
        (route.method, path)
    })
}

/// Bodies that are in order, each of a call.
fn in_order() -> Vec<(&'static str, &'static str, Value)> {
    let charge = json!({"action": "upscale", "user": "ann", "quantity": 2, "comment": "c", "occurred_at": "2013-02-01T00:00:00Z",
                        "status": "success", "post_to_open": false, "dry_run": true});
    let event = json!({"specversion": "1.0", "type": "creditd.usage", "source": "/s", "id": "1", "subject": "acme",
                       "time": "2013-02-01T00:00:00Z", "datacontenttype": "application/json",
                       "data": {"action": "upscale", "user": "ann", "quantity": 1, "comment": "", "post_to_open": true}});
    vec![
        ("/v1/accounts/acme/charges", JSON, charge.clone()),
        (
            "/v1/accounts/acme/holds",
            JSON,
            json!({"action": "upscale", "user": "ann", "quantity": 1, "ttl_seconds": 60, "comment": "c"}),
        ),
        ("/v1/accounts/acme/holds/k/capture", JSON, json!({"credits": 1, "comment": "c"})),
        ("/v1/accounts/acme/holds/k/void", JSON, json!({"comment": "c"})),
        ("/v1/accounts/acme/charges/k/refund", JSON, json!({"credits": 1, "comment": "c"})),
        (
            "/v1/accounts/acme/purchases",
            JSON,
            json!({"packs": 1, "occurred_at": "2013-02-01T00:00:00Z", "comment": "c"}),
        ),
        ("/v1/charges", JSON, json!({"charges": [{"account": "acme", "key": "one", "charge": charge}]})),
        ("/v1/events", "application/cloudevents+json", event.clone()),
        ("/v1/events", "application/cloudevents-batch+json", json!([event])),
    ]
}

/// What may be wrong with one part of a body.
#[derive(Clone, Copy, Debug)]
enum Slip {
    /// A field that there is not.
    Unknown,
    /// A field twice.
    Twice,
    /// A value in a list of its own.
    Listed,
    /// The values of an object without their names.
    Nameless,
    /// A value that is of no kind that is taken there.
    OfAnotherKind,
}

/// The places of a value, as JSON Pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{here}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, &format!("{here}/{at}"), found))
        }
        _ => {}
    }
}

/// The text of `body` with the slip at `place`, and where it must be found; `None` where it is none there.
fn slipped(body: &Value, place: &str, slip: Slip) -> Option<(String, String)> {
    let mut body = body.clone();
    let part = body.pointer_mut(place)?;
    // Attributes of events that are not known are left alone.
    let is_event = part.get("specversion").is_some();
    let mut pointer = format!("#{place}");
    match slip {
        Slip::Unknown if !is_event => {
            part.as_object_mut()?.insert("zzz".to_owned(), Value::Null);
            pointer.push_str("/zzz");
        }
        Slip::Twice => {
            let (name, value) =
                part.as_object()?.iter().next_back().map(|(name, value)| (name.clone(), value.clone()))?;
            part.as_object_mut()?.insert("zzz".to_owned(), value);
            return Some((body.to_string().replace("\"zzz\"", &format!("\"{name}\"")), format!("{pointer}/{name}")));
        }
        Slip::Listed => *part = Value::Array(vec![part.take()]),
        Slip::Nameless => *part = Value::Array(part.as_object()?.values().cloned().collect()),
        Slip::OfAnotherKind if !part.is_boolean() => *part = Value::Bool(true),
        _ => return None,
    }
    Some((body.to_string(), pointer))
}

/// Whatever one slip makes of a body that is in order, it is refused, and its place is told.
#[test]
fn a_slip_in_a_body_is_refused_where_it_is() {
    let slips = [Slip::Unknown, Slip::Twice, Slip::Listed, Slip::Nameless, Slip::OfAnotherKind];
    let (World { runtime, api, .. }, mut made) = (&*WORLD, 0);
    for (path, content_type, body) in in_order() {
        let send = |body: String| {
            let request = api.request("POST", path).header("content-type", content_type).header("idempotency-key", "k");
            let reply = runtime.block_on(api.send(request.body(Body::from(body)).expect("a request")));
            // Of a batch, each item is answered for itself.
            let said = reply.json();
            let item = said["results"].as_array().and_then(|results| results.first()).cloned();
            item.map_or((u64::from(reply.status), said), |item| {
                (item["status"].as_u64().expect("a status"), item["problem"].clone())
            })
        };
        let (status, said) = send(body.to_string());
        assert!(status != 400, "{path} {content_type}: {said}");
        let mut all = Vec::new();
        places(&body, "", &mut all);
        for (place, slip) in all.iter().flat_map(|place| slips.map(|slip| (place, slip))) {
            let Some((text, pointer)) = slipped(&body, place, slip) else { continue };
            let (status, said) = send(text.clone());
            assert_eq!(status, 400, "{path} {slip:?} at {place:?}: {text}: {said}");
            let told = said["pointer"].as_str().unwrap_or_else(|| panic!("{path} {slip:?} at {place:?}: {said}"));
            // A list of lists is wrong where its first item is.
            assert!(told == pointer || told == format!("{pointer}/0"), "{path} {slip:?} at {place:?}: {said}");
            made += 1;
        }
    }
    assert!(made > 150, "{made} slips");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_query_of_any_route_is_answered((method, path) in address(), query in "[!-~&&[^# ]]{0,60}|((from|to|user|action|type|status|search|limit|cursor|month|by|as_of|all)=[!-~&&[^# &]]{0,24}&){1,4}") {
        let request = WORLD.api.request(method, &format!("{path}?{query}")).header("content-type", "application/json").header("idempotency-key", "k");
        send(request, b"{}".to_vec())?;
    }

    #[test]
    fn any_body_of_any_call_is_answered((method, path) in address(), body in any_json(), key in "[!-~]{1,30}", content_type in prop::sample::select(vec!["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"])) {
        let request = WORLD.api.request(method, &path).header("content-type", content_type).header("idempotency-key", key);
        send(request, body.to_string().into_bytes())?;
    }

    #[test]
    fn any_bytes_and_headers_are_answered(
        (method, path) in address(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        headers in prop::collection::vec((prop::sample::select(vec!["content-type", "idempotency-key", "accept", "if-none-match", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject", "ce-specversion", "authorization", "content-length"]), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let mut request = WORLD.api.request(method, &path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        send(request, body)?;
    }

    #[test]
    fn an_action_that_is_in_order_is_charged(quantity in 1_i64..50, user in "[!-~]{1,200}", comment in "[\\PC&&[^\u{2028}\u{2029}]]{0,100}", key in "[!-~&&[^\"]]{20,40}") {
        let body = serde_json::json!({"action": "upscale", "quantity": quantity, "user": user, "comment": comment});
        let request = WORLD.api.request("POST", "/v1/accounts/acme/charges").header("content-type", "application/json").header("idempotency-key", key.as_str());
        prop_assert_eq!(send(request, body.to_string().into_bytes())?, 200);
    }
}
