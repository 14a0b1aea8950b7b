//! The pages: the credit management page of an account for its admins, and the platform's for operators.
//!
//! Everything is rendered here of what the application says, works without a script, and is bounded: rows of a page, rows looked
//! at for it, reports at once. Nothing here decides about credits. Who may see what is in [`super::visit`].

mod account;
mod ask;
mod banner;
mod enter;
mod log;
mod look;
mod platform;
mod shut;
mod statements;
mod summary;
mod tables;
mod unsubscribe;
mod wishes;

pub(super) use shut::Shut;

use super::visit::Gate;
use crate::app::{App, Lately, Standing};
use crate::core::ids::AccountId;
use crate::jobs::{Kit, signing_key};
use crate::store::AccountRecord;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// Reports and exports that are made at once; whoever asks then waits for a turn.
const REPORTS_AT_ONCE: usize = 2;
/// Sums of what happened lately that are kept, over all accounts: some twenty megabytes.
const LATELY_SUMS_MAX: usize = 200_000;

/// What pages are made of.
#[derive(Clone)]
pub(super) struct Pages(Arc<Inner>);

struct Inner {
    kit: Arc<Kit>,
    gate: OnceCell<Gate>,
    reports: Semaphore,
    lately: Mutex<BTreeMap<AccountId, Lately>>,
    dashboard: platform::Kept,
    policy: HeaderValue,
    /// Whether other sites may show our pages within theirs.
    is_framed: bool,
}

impl Pages {
    fn new(kit: Arc<Kit>) -> Pages {
        let web = &kit.app.settings.web;
        let frames = if web.frame_ancestors.is_empty() { "'none'".to_owned() } else { web.frame_ancestors.join(" ") };
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors {frames}"
        );
        Pages(Arc::new(Inner {
            gate: OnceCell::new(),
            reports: Semaphore::new(REPORTS_AT_ONCE),
            lately: Mutex::default(),
            dashboard: platform::Kept::default(),
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
            is_framed: !web.frame_ancestors.is_empty(),
            kit,
        }))
    }

    pub fn app(&self) -> &App {
        &self.0.kit.app
    }

    /// What tells visitors from others.
    pub async fn gate(&self) -> Result<&Gate, Shut> {
        let made = async || Ok(Gate::new(signing_key(self.app()).await?, self.app().settings.web.clone()));
        self.0.gate.get_or_try_init(made).await
    }

    /// How an account stands, by what is kept of it and what came since.
    async fn standing(&self, record: &AccountRecord) -> Result<Standing, Shut> {
        let id = &record.account.id;
        let kept = || self.0.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lately = kept().remove(id).unwrap_or_default();
        let standing = self.app().standing(record, &mut lately).await?;
        let mut kept = kept();
        kept.insert(id.clone(), lately);
        // Whoever is let go is read again; which one does not matter.
        while kept.values().map(Lately::size).sum::<usize>() > LATELY_SUMS_MAX && kept.len() > 1 {
            let other = kept.keys().find(|other| *other != id).cloned();
            other.map(|other| kept.remove(&other));
        }
        Ok(standing)
    }
}

/// The paths of the pages of an account: whoever may not see `{id}` finds nothing there.
pub const ACCOUNT_PATHS: &[&str] = &[
    "/accounts/{id}",
    "/accounts/{id}/transactions",
    "/accounts/{id}/transactions/export",
    "/accounts/{id}/summary",
    "/accounts/{id}/summary/export",
    "/accounts/{id}/statements",
    "/accounts/{id}/statements/{month}",
    "/accounts/{id}/statements/{month}/sent/{version}",
    "/accounts/{id}/statements/{month}/sent/{version}/workbook",
    "/accounts/{id}/prices",
    "/accounts/{id}/notifications",
    "/embed/accounts/{id}/banner",
    "/embed/accounts/{id}/banner.json",
];

/// The paths of the pages of the platform.
pub const PLATFORM_PATHS: &[&str] = &["/platform", "/platform/accounts", "/platform/alerts"];

/// All pages.
pub(super) fn router(kit: Arc<Kit>) -> Router {
    let pages = Pages::new(kit);
    let [
        overview,
        log,
        log_export,
        summary,
        summary_export,
        statements,
        statement,
        sent,
        workbook,
        prices,
        wishes,
        banner,
        banner_json,
    ] = ACCOUNT_PATHS
    else {
        unreachable!("as many names as paths")
    };
    let [platform, accounts, alerts] = PLATFORM_PATHS else { unreachable!("as many names as paths") };
    Router::new()
        .route("/", get(enter::home))
        .route("/enter/{token}", get(enter::show).post(enter::exchange))
        .route("/leave", post(enter::leave))
        .route("/unsubscribe", get(unsubscribe::show).post(unsubscribe::end))
        .route("/assets/{name}", get(look::asset))
        .route(overview, get(account::overview))
        .route(log, get(log::show))
        .route(log_export, get(log::export))
        .route(summary, get(summary::show))
        .route(summary_export, get(summary::export))
        .route(statements, get(statements::list))
        .route(statement, get(statements::show))
        .route(sent, get(statements::sent))
        .route(workbook, get(statements::workbook))
        .route(prices, get(account::prices))
        .route(wishes, get(wishes::show).post(wishes::change))
        .route(banner, get(banner::html))
        .route(banner_json, get(banner::json))
        .route(platform, get(platform::show))
        .route(accounts, get(platform::accounts))
        .route(alerts, get(platform::alerts))
        .layer(from_fn_with_state(pages.clone(), guarded))
        .with_state(pages)
}

/// What browsers must not do with a page: run what is not ours, tell others where it is, show it within another.
async fn guarded(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Some(told) = answer.extensions_mut().remove::<shut::Told>() {
        let shell = look::Shell::of_nobody(&pages, told.heading);
        answer = look::page(answer.status(), "shut.html", &shell, &told);
    }
    let headers = answer.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| pages.0.policy.clone());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    );
    // It knows one site at most; of several, the policy above says which.
    if !pages.0.is_framed {
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    answer
}
