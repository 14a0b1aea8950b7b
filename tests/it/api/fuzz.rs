//! Nonsense: whatever comes, it is answered without a panic, and it is never creditd's fault.

use super::{Api, acme};
use crate::support::Sandbox;
use axum::body::Body;
use creditd::web::routes;
use proptest::prelude::*;
use std::sync::LazyLock;

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
fn json() -> impl Strategy<Value = serde_json::Value> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_query_of_any_route_is_answered((method, path) in address(), query in "[!-~&&[^# ]]{0,60}|((from|to|user|action|type|status|search|limit|cursor|month|by|as_of|all)=[!-~&&[^# &]]{0,24}&){1,4}") {
        let request = WORLD.api.request(method, &format!("{path}?{query}")).header("content-type", "application/json").header("idempotency-key", "k");
        send(request, b"{}".to_vec())?;
    }

    #[test]
    fn any_body_of_any_call_is_answered((method, path) in address(), body in json(), key in "[!-~]{1,30}", content_type in prop::sample::select(vec!["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"])) {
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
    fn an_action_that_is_in_order_is_charged(quantity in 1_i64..50, user in "[!-~]{1,200}", comment in "\\PC{0,100}", key in "[!-~&&[^\"]]{20,40}") {
        let body = serde_json::json!({"action": "upscale", "quantity": quantity, "user": user, "comment": comment});
        let request = WORLD.api.request("POST", "/v1/accounts/acme/charges").header("content-type", "application/json").header("idempotency-key", key.as_str());
        prop_assert_eq!(send(request, body.to_string().into_bytes())?, 200);
    }
}
