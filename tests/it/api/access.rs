//! Who gets in: every route there is, with every kind of caller. The routes are those that the router is made of, so a new one is
//! here as soon as it is there.

use super::{ALL, Api, Made, NOW, Reply, token};
use crate::support::{Sandbox, both_databases, instant};
use axum::body::Body;
use axum::http::Request;
use creditd::core::access::Scope;
use creditd::core::token::{TOKEN_BYTES, token_of};
use creditd::web::{Needs, Route, routes};
use serde_json::json;

/// The address of a route, about `account`.
fn address(route: Route, account: &str) -> String {
    route
        .path
        .replace("{account}", account)
        .replace("{name}", "forbidden")
        .replace("{hold}", "k")
        .replace("{charge}", "k")
}

/// A request as the route takes it.
fn request(route: Route, account: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(route.method).uri(address(route, account));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    request = request.header("content-type", "application/json").header("idempotency-key", "k");
    let body = if route.method == "GET" { Body::empty() } else { Body::from("{}") };
    request.body(body).expect("a request")
}

/// Whether whoever shows this got in: whatever came of it then.
fn got_in(reply: &Reply) -> bool {
    !matches!(reply.status, 401 | 403)
}

both_databases! {
    async fn only_the_right_token_opens_a_route(sandbox: Sandbox) {
        for id in ["acme", "other"] {
            sandbox.open_account(id, "UTC", "2013-01-01").await;
        }
        let (store, api) = (sandbox.store(), Api::new(sandbox.at(NOW), ""));
        let rows = store.count_transactions().await.expect("a count");
        let unknown = token_of([9; TOKEN_BYTES]).expose().to_owned();
        let expired = token(store, Made { expires_at: Some(instant(NOW)), ..ALL }).await;
        let revoked = token(store, Made { revoked: true, ..ALL }).await;
        let good = token(store, ALL).await;
        let bad: Vec<Option<String>> = vec![
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some("Bearer crd_short".into()),
            Some(format!("Bearer {unknown}")),
            Some(format!("Bearer {expired}")),
            Some(format!("Bearer {revoked}")),
            Some(format!("Basic {good}")),
            Some(format!("Bearer {good}x")),
            Some(format!("Bearer {good} {good}")),
        ];
        let (mut tokens, mut gated) = (Vec::new(), 0);
        for scope in Scope::ALL {
            for account in [Some("acme"), Some("other"), None] {
                tokens.push((*scope, account, token(store, Made { scope: *scope, account, ..ALL }).await));
            }
        }
        for route in routes() {
            let scope = match route.needs {
                Needs::Nothing => {
                    for shown in bad.iter().map(Option::as_deref) {
                        assert!(got_in(&api.send(request(route, "acme", shown)).await), "{route:?} {shown:?}");
                    }
                    continue;
                }
                Needs::Token(scope) => scope,
            };
            gated += 1;
            let names_account = route.path.contains("{account}");
            let mut said = Vec::new();
            for shown in bad.iter().map(Option::as_deref) {
                let reply = api.send(request(route, "acme", shown)).await;
                reply.problem(401, "unauthorized");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"creditd\""), "{route:?}");
                said.push(reply.body);
            }
            said.dedup();
            assert_eq!(said.len(), 1, "nobody learns what was wrong with a token");
            for (of, account, token) in &tokens {
                let shown = format!("Bearer {token}");
                let is_right = of.includes(scope) && (!names_account || account.is_none_or(|id| id == "acme"));
                let reply = api.send(request(route, "acme", Some(&shown))).await;
                assert!(reply.status < 500, "{reply:?}");
                assert_eq!(got_in(&reply), is_right, "{route:?} {of} {account:?}: {reply:?}");
                // Whether an account is there is told to whoever may know.
                if names_account && account.is_some() {
                    let there = api.send(request(route, if *account == Some("acme") { "other" } else { "acme" }, Some(&shown)));
                    let gone = api.send(request(route, "nobody", Some(&shown)));
                    let (there, gone) = (there.await, gone.await);
                    assert_eq!((there.status, &there.body), (403, &gone.body), "{route:?} {of} {account:?}");
                }
            }
        }
        assert!(gated >= 14, "{gated} routes are behind the gate");
        assert_eq!(store.count_transactions().await.expect("a count"), rows, "nothing was written");
    }

    /// Routes without an account in their address ask for each item.
    async fn items_are_of_accounts_that_the_token_covers(sandbox: Sandbox) {
        for id in ["acme", "other"] {
            sandbox.open_account(id, "UTC", "2013-01-01").await;
        }
        let own = token(sandbox.store(), Made { scope: Scope::Charge, account: Some("acme"), ..ALL }).await;
        let api = Api::new(sandbox.at(NOW), &own);
        let charge = |account: &str| json!({"account": account, "key": "k", "charge": {"action": "erase"}});
        let reply = api.post("/v1/charges", "-", json!({"charges": [charge("other"), charge("acme"), charge("nobody")]})).await.ok();
        let statuses: Vec<i64> = reply["results"].as_array().expect("a list").iter().map(|one| one["status"].as_i64().expect("a status")).collect();
        assert_eq!(statuses, [403, 200, 403], "{reply}");
        assert_eq!(reply["results"][0]["problem"], reply["results"][2]["problem"]);
        let event = |subject: &str| {
            json!({"specversion": "1.0", "type": "creditd.usage", "source": "/s", "id": subject, "subject": subject, "data": {"action": "erase"}})
        };
        for (subject, status) in [("other", 403), ("nobody", 403), ("acme", 200)] {
            let request = api.request("POST", "/v1/events").header("content-type", "application/cloudevents+json");
            let reply = api.send(request.body(Body::from(event(subject).to_string())).expect("a request")).await;
            assert_eq!(reply.status, status, "{subject}");
        }
        assert_eq!(sandbox.log(&crate::support::account_id("other")).await, []);
    }
}

#[tokio::test]
async fn the_last_use_of_a_token_is_noted_once_a_minute() {
    let sandbox = Sandbox::new().await;
    let shown = token(sandbox.store(), ALL).await;
    let used_at = async |at: &str| {
        let api = Api::new(sandbox.at(at), &shown);
        api.get("/v1/actions").await.ok();
        api.get("/v1/actions").await.ok();
        // It is written beside the answer.
        loop {
            let last = sandbox.store().tokens(1).await.expect("tokens")[0].last_used_at;
            match last {
                Some(last) => return last,
                None => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(used_at("2013-02-10T12:00:00Z").await, instant("2013-02-10T12:00:00Z"));
    assert_eq!(used_at("2013-02-10T12:00:59Z").await, instant("2013-02-10T12:00:00Z"));
}

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_go_on() {
    let sandbox = Sandbox::new().await;
    let (one, other) = (token(sandbox.store(), ALL).await, token(sandbox.store(), ALL).await);
    let mut app = sandbox.at(NOW);
    app.settings.web.requests_per_second = 1;
    let api = Api::new(app, &one);
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(api.get("/v1/actions").await);
    }
    let refused = replies.last().expect("a reply");
    refused.problem(429, "too_many_requests");
    assert!(
        refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0))
    );
    api.with_token(&other).get("/v1/actions").await.ok();
}
