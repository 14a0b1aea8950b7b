//! The API, through the router that `serve` answers with: who gets in, what calls do, and what is made of nonsense.

mod access;
mod away;
mod calls;
mod document;
mod events;
mod fuzz;
mod listener;
mod reads;

use crate::support::{Sandbox, account_id};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use creditd::app::App;
use creditd::core::access::{Reach, Scope};
use creditd::core::calendar::Instant;
use creditd::core::token::{TOKEN_BYTES, Token, TokenHash, token_of};
use creditd::jobs::Kit;
use creditd::store::Store;
use creditd::web::{State, router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Noon of a day in the second month of the accounts.
pub const NOW: &str = "2013-02-10T12:00:00Z";

/// The router of a process that has just begun.
pub struct Api {
    router: TowerToHyperService<Router>,
    token: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Api {
    /// At the time of `app`, for a caller who shows `token`.
    pub fn new(app: App, token: &str) -> Api {
        Api::of_kit(Kit::new(app).expect("a kit"), token)
    }

    pub fn of_kit(kit: Kit, token: &str) -> Api {
        let router = TowerToHyperService::new(router(State::new(Arc::new(kit))));
        Api { router, token: token.to_owned() }
    }

    /// Each answer within so long.
    pub fn within(kit: Kit, token: &str, answer_time_max: Duration) -> Api {
        let router = TowerToHyperService::new(router(State::within(Arc::new(kit), answer_time_max)));
        Api { router, token: token.to_owned() }
    }

    /// The same process for another caller.
    pub fn with_token(&self, token: &str) -> Api {
        Api { router: self.router.clone(), token: token.to_owned() }
    }

    /// A request that shows the token.
    pub fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.token))
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.call(request).await.expect("the router answers everything");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body in memory").to_vec();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path).body(Body::empty()).expect("a request")).await
    }

    /// A call under a key.
    pub async fn post(&self, path: &str, key: &str, body: Value) -> Reply {
        let request =
            self.request("POST", path).header("content-type", "application/json").header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON of an answer that went well.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The problem of an answer that did not go well, as RFC 9457 has it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/problems/{}", code.replace('_', "-")));
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

/// What a token is good for, made by whatever is not said.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    pub scope: Scope,
    pub account: Option<&'a str>,
    pub expires_at: Option<Instant>,
    pub revoked: bool,
}

/// A token for everything.
pub const ALL: Made<'static> = Made { scope: Scope::Admin, account: None, expires_at: None, revoked: false };

/// Makes a token, as `creditd token create` does.
pub async fn token(store: &Store, made: Made<'_>) -> String {
    let secret = token_of(std::array::from_fn::<u8, TOKEN_BYTES, _>(|_| fastrand::u8(..)));
    let hash = TokenHash::of_token(secret.expose()).expect("a token");
    let created_at = store.meta().created_at;
    let reach = made.account.map_or(Reach::Platform, |id| Reach::Account(account_id(id)));
    let Made { scope, expires_at, .. } = made;
    let token = Token { hash, name: String::new(), scope, reach, created_at, expires_at, revoked_at: None };
    store.add_token(&token).await.expect("a token");
    if made.revoked {
        store.revoke_token(&token.hash.id(), created_at).await.expect("revoked");
    }
    secret.expose().to_owned()
}

/// A caller at noon who may do everything, with the account `acme` there.
pub async fn acme(sandbox: &Sandbox) -> Api {
    sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    Api::new(sandbox.at(NOW), &token(sandbox.store(), ALL).await)
}
