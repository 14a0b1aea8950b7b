//! The calls of scenarios by HTTP, and what they are answered in the words of the scenarios.

use super::{spaced, unsigned};
use crate::api::{ALL, Api, Reply, token};
use crate::support::Sandbox;
use creditd::app::App;
use creditd::core::calendar::Instant;
use creditd::core::credits::{Credits, Split};
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Capture, Hold, Purchase, Refund, Usage, Void};
use creditd::jobs::Kit;
use serde_json::{Value, json};

/// What calls by HTTP need.
pub struct OverHttp {
    kit: Kit,
    token: String,
}

/// A key as a part of an address.
fn part(key: &Key) -> String {
    key.as_str().bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A body without what is left out.
fn body(mut fields: Value) -> Value {
    fields.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    fields
}

impl OverHttp {
    pub async fn new(sandbox: &Sandbox) -> OverHttp {
        let app = sandbox.at_instant(sandbox.store().meta().created_at);
        OverHttp { kit: Kit::new(app).expect("a kit"), token: token(sandbox.store(), ALL).await }
    }

    /// What a call comes to; `None` for one that the API has not.
    pub async fn call(&self, app: &App, account: &AccountId, call: &Call) -> Option<String> {
        let at = |at: &Option<Instant>| at.map(|at| at.to_string());
        let user = |user: &Option<UserId>| user.as_ref().map(ToString::to_string);
        let credits = |credits: &Option<Credits>| credits.map(Credits::get);
        let mut key = call.key().to_string();
        let (what, body) = match call {
            Call::Charge(Usage { occurred_at, user: by, action, quantity, status, comment, post_to_open, .. }) => (
                "charges".to_owned(),
                body(json!({
                    "occurred_at": at(occurred_at), "user": user(by), "action": action, "quantity": quantity, "status": status,
                    "comment": comment, "post_to_open": post_to_open,
                })),
            ),
            Call::Hold(Hold { user: by, action, quantity, ttl_seconds, comment, .. }) => (
                "holds".to_owned(),
                body(json!({
                    "user": user(by), "action": action, "quantity": quantity, "ttl_seconds": ttl_seconds, "comment": comment,
                })),
            ),
            Call::Capture(Capture { hold, credits: taken, comment, .. }) => {
                let body = body(json!({"credits": credits(taken), "comment": comment}));
                (format!("holds/{}/capture", part(hold)), body)
            }
            Call::Void(Void { hold, comment, .. }) => {
                (format!("holds/{}/void", part(hold)), json!({"comment": comment}))
            }
            Call::Refund(Refund { charge, credits: given, comment, .. }) => {
                let body = body(json!({"credits": credits(given), "comment": comment}));
                (format!("charges/{}/refund", part(charge)), body)
            }
            Call::Purchase(Purchase { reference, occurred_at, packs, comment, .. }) => {
                key = reference.to_string();
                (
                    "purchases".to_owned(),
                    body(json!({"packs": packs, "occurred_at": at(occurred_at), "comment": comment})),
                )
            }
            _ => return None,
        };
        let api = Api::of_kit(self.kit.at(app.clone()), &self.token);
        Some(shown(&api.post(&format!("/v1/accounts/{account}/{what}"), &key, body).await))
    }
}

/// An answer in the words of the scenarios.
fn shown(reply: &Reply) -> String {
    let said = reply.json();
    let replayed = if said["replayed"] == true { "replayed " } else { "" };
    assert_eq!(reply.header("idempotency-replayed"), (said["replayed"] == true).then_some("true"), "{said}");
    let number = |name: &str| Credits::new(said[name].as_i64().unwrap_or(0));
    let what = match (reply.status, said["code"].as_str(), said["status"].as_str()) {
        (200, _, Some("failed")) => "failed".to_owned(),
        (200, ..) => {
            // A purchase has one type of credits, and names it once.
            let purchased = if said["packs"].is_null() { number("purchased") } else { number("credits") };
            format!("success {}", unsigned(Split { free: number("free"), purchased }))
        }
        (_, Some(reason @ ("insufficient_credits" | "user_cap")), _) => format!("failed {reason}"),
        (_, code, _) => format!("error {}", code.unwrap_or_default()),
    };
    spaced(&format!("{replayed}{what}"))
}
