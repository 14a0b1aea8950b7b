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
mod problems;
mod shut;
mod statements;
mod summary;
mod tables;
mod unsubscribe;
mod wishes;

pub(super) use shut::Shut;

use super::bearer::BELIEVED;
use super::problem::Problem;
use super::turns::Turns;
use super::visit::{AtAccount, AtEmbed, AtPlatform, Gate};
use super::{Needs, Served};
use crate::app::{App, Lately, Standing};
use crate::core::access::Scope;
use crate::core::ids::AccountId;
use crate::jobs::visit_key;
use crate::store::AccountRecord;
use crate::web;
use axum::Router;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant as Moment;

/// Reports and exports that are made at once, of one account one; whoever asks then waits for a turn.
const REPORTS_AT_ONCE: usize = 2;
/// Sums of what happened lately that are kept, over all accounts: some twenty megabytes.
const LATELY_SUMS_MAX: usize = 200_000;

/// What pages are made of.
#[derive(Clone)]
pub(super) struct Pages(Arc<Inner>);

struct Inner {
    web: web::State,
    gate: Mutex<Option<(Moment, Arc<Gate>)>>,
    reports: Turns,
    lately: Mutex<BTreeMap<AccountId, Lately>>,
    dashboard: platform::Kept,
    policy: HeaderValue,
    /// Whether other sites may show our pages within theirs.
    is_framed: bool,
}

impl Pages {
    fn new(state: web::State) -> Pages {
        let web = &state.0.kit.app.settings.web;
        let frames = if web.frame_ancestors.is_empty() { "'none'".to_owned() } else { web.frame_ancestors.join(" ") };
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors {frames}"
        );
        Pages(Arc::new(Inner {
            gate: Mutex::default(),
            reports: Turns::new(REPORTS_AT_ONCE),
            lately: Mutex::default(),
            dashboard: platform::Kept::default(),
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
            is_framed: !web.frame_ancestors.is_empty(),
            web: state,
        }))
    }

    /// What the API answers by, for what takes its tokens, too.
    pub fn web(&self) -> &web::State {
        &self.0.web
    }

    pub fn app(&self) -> &App {
        &self.0.web.0.kit.app
    }

    /// What tells visitors from others, by the key that the ledger has now, or had a moment ago.
    pub async fn gate(&self) -> Result<Arc<Gate>, Shut> {
        let kept = || self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gate)) = kept().as_ref().filter(|(at, _)| at.elapsed() < BELIEVED) {
            return Ok(Arc::clone(gate));
        }
        let gate = Arc::new(Gate::new(visit_key(self.app()).await?, self.app().settings.web.clone()));
        *kept() = Some((Moment::now(), Arc::clone(&gate)));
        Ok(gate)
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

/// What opens what a platform puts into its own pages.
const EMBED: Needs = Needs::AccountOrToken(Scope::Read);

/// The table. Whoever may not see the account that a path names finds nothing there. What is sent by a form needs the form's own
/// token besides ([`super::visit::Sent`]), but for what the address alone allows.
pub(super) fn served() -> Vec<Served<Pages>> {
    vec![
        Served::get("/", Needs::Visit, enter::home),
        Served::get("/enter/{token}", Needs::Link, enter::show),
        Served::post("/enter/{token}", Needs::Link, enter::exchange),
        // Whoever opens the address itself, as a browser does that goes back, finds the button where they begin.
        Served::get("/leave", Needs::Visit, enter::home),
        Served::post("/leave", Needs::Visit, enter::leave),
        Served::get("/unsubscribe", Needs::Link, unsubscribe::show),
        Served::post("/unsubscribe", Needs::Link, unsubscribe::end),
        Served::get("/assets/{name}", Needs::Nothing, look::asset),
        Served::get("/problems", Needs::Nothing, problems::all),
        Served::get("/problems/", Needs::Nothing, problems::all),
        Served::get("/problems/{name}", Needs::Nothing, problems::one),
        Served::get("/accounts/{account}", Needs::Account, account::overview),
        Served::get("/accounts/{account}/transactions", Needs::Account, log::show),
        Served::get("/accounts/{account}/transactions/export", Needs::Account, log::export),
        Served::get("/accounts/{account}/summary", Needs::Account, summary::show),
        Served::get("/accounts/{account}/summary/export", Needs::Account, summary::export),
        Served::get("/accounts/{account}/statements", Needs::Account, statements::list),
        Served::get("/accounts/{account}/statements/{month}", Needs::Account, statements::show),
        Served::get("/accounts/{account}/statements/{month}/sent/{version}", Needs::Account, statements::sent),
        Served::get(
            "/accounts/{account}/statements/{month}/sent/{version}/workbook",
            Needs::Account,
            statements::workbook,
        ),
        Served::get("/accounts/{account}/prices", Needs::Account, account::prices),
        Served::get("/accounts/{account}/notifications", Needs::Account, wishes::show),
        Served::post("/accounts/{account}/notifications", Needs::Account, wishes::change),
        Served::get("/embed/accounts/{account}/banner", EMBED, banner::html),
        Served::get("/embed/accounts/{account}/banner.json", EMBED, banner::json),
        Served::get("/platform", Needs::Platform, platform::show),
        Served::get("/platform/accounts", Needs::Platform, platform::accounts),
        Served::get("/platform/alerts", Needs::Platform, platform::alerts),
    ]
}

/// The pages that are asked something by what stands behind the `?` of their addresses. They say themselves what cannot be.
const ASKED: [&str; 6] = [
    "/accounts/{account}/transactions",
    "/accounts/{account}/transactions/export",
    "/accounts/{account}/summary",
    "/accounts/{account}/summary/export",
    "/platform/accounts",
    "/platform/alerts",
];

/// Lets through what asks for nothing that would be passed over. Whoever may not see the page is told that first.
async fn without_query(State((pages, needs)): State<(Pages, Needs)>, request: Request, next: Next) -> Response {
    let asked = Query::<ask::Query>::try_from_uri(request.uri()).ok();
    let Some(problem) = asked.and_then(|Query(query)| ask::misnamed(&query, &[], &[])) else {
        return next.run(request).await;
    };
    let is_change = request.method() == Method::POST;
    let (mut parts, _) = request.into_parts();
    let shut = match needs {
        // Programs ask for these.
        Needs::AccountOrToken(_) => {
            return match AtEmbed::from_request_parts(&mut parts, &pages).await {
                Ok(_) => Problem::invalid(problem).into_response(),
                Err(answer) => answer,
            };
        }
        Needs::Nothing => None,
        Needs::Platform => AtPlatform::from_request_parts(&mut parts, &pages).await.err(),
        _ => AtAccount::from_request_parts(&mut parts, &pages).await.err(),
    };
    let wrong = if is_change { Shut::Filled(problem) } else { Shut::Asked(problem) };
    shut.unwrap_or(wrong).into_response()
}

/// All pages.
pub(super) fn router(state: web::State) -> Router {
    let pages = Pages::new(state);
    let router = served().into_iter().fold(Router::new(), |router, Served { route, by }| {
        // Links of mails open whatever was added to them on their way.
        let is_strict = !matches!(route.needs, Needs::Visit | Needs::Link);
        let by = if is_strict && !ASKED.contains(&route.path) {
            by.route_layer(from_fn_with_state((pages.clone(), route.needs), without_query))
        } else {
            by
        };
        router.route(route.path, by)
    });
    let router = router.method_not_allowed_fallback(async || Shut::OtherMethod).fallback(web::nothing);
    let router = router.layer(from_fn_with_state(pages.web().clone(), web::in_time::<Shut>));
    router.layer(from_fn_with_state(pages.clone(), guarded)).with_state(pages)
}

/// What browsers must not do with a page: run what is not ours, tell others where it is, show it within another.
async fn guarded(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Some(told) = answer.extensions_mut().remove::<shut::Told>() {
        let shell = look::Shell::of_nobody(&pages, told.heading);
        // What came with the status stays: when to ask again, which methods there are.
        let (shown, body) = look::page(answer.status(), "shut.html", &shell, &told).into_parts();
        answer.headers_mut().extend(shown.headers);
        *answer.body_mut() = body;
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
