//! Tokens: what of a batch each covers, when it was last used, and how often it may ask. Which routes it opens is in
//! tests/it/access.rs.

use super::{ALL, Api, Made, NOW, token};
use crate::support::{Sandbox, both_databases, instant};
use axum::body::Body;
use creditd::core::access::Scope;
use serde_json::json;

both_databases! {
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
