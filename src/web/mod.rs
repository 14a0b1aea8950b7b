//! What `creditd serve` answers over HTTP: whether it lives, whether it is ready, its metrics, the API of programs, and the pages.
//!
//! Every route stands in a table with what opens it ([`routes`]); the router is made of these tables alone. Everything about a connection is bounded: how many there are, how long a request may take to come and to be answered, and
//! how large it may be. Nothing here decides about credits, and nothing waits for a job.

mod api;
mod bearer;
mod health;
mod listener;
mod media;
mod metrics;
mod pages;
mod problem;
mod turns;
mod visit;

pub use api::document;
pub use listener::{Listener, Peer, WebError};

use crate::core::access::Scope;
use crate::jobs::Kit;
use axum::Router;
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use listener::Arrival;
use problem::{Fault, Problem};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use turns::Turns;

/// The largest body of a request, where its route does not say otherwise.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long the body of a request may take to come, and how long its answer may take from then on.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Statements that are made at once, of one account one.
const STATEMENTS_AT_ONCE: usize = 2;

/// What answers are made of.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    kit: Arc<Kit>,
    ready: health::Readiness,
    reach: health::Reach,
    metrics: metrics::Metrics,
    bearers: bearer::Bearers,
    statements: Turns,
    answer_time_max: Duration,
}

impl State {
    /// Answers about `kit`.
    #[must_use]
    pub fn new(kit: Arc<Kit>) -> State {
        State::within(kit, ANSWER_TIME_MAX)
    }

    /// The same, each body and each answer within so long.
    #[must_use]
    pub fn within(kit: Arc<Kit>, answer_time_max: Duration) -> State {
        State(Arc::new(Inner {
            kit,
            ready: health::Readiness::default(),
            reach: health::Reach::default(),
            metrics: metrics::Metrics::default(),
            bearers: bearer::Bearers::default(),
            statements: Turns::new(STATEMENTS_AT_ONCE),
            answer_time_max,
        }))
    }
}

/// Something that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path, with names in braces.
    pub path: &'static str,
    /// What opens it.
    pub needs: Needs,
}

/// What opens a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It is open.
    Nothing,
    /// A token of this scope, which covers the account where the path names one.
    Token(Scope),
    /// A visit to the account that the path names: by its link, by one of the platform, or as the trusted proxy says.
    Account,
    /// The same, or a token of this scope that covers the account.
    AccountOrToken(Scope),
    /// A visit of an operator.
    Platform,
    /// A visit of anybody.
    Visit,
    /// The signed link that its address is.
    Link,
}

/// Every route, with what opens it: what tests of access go through, so that none is forgotten.
pub fn routes() -> impl Iterator<Item = Route> {
    let open_and_api = health().into_iter().chain(api::served()).map(|served| served.route);
    open_and_api.chain(pages::served().into_iter().map(|served| served.route))
}

/// A route with what serves it.
struct Served<S> {
    route: Route,
    by: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Served<S> {
    fn get<T: 'static>(path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Served<S> {
        Served { route: Route { method: "GET", path, needs }, by: routing::get(handler) }
    }

    fn post<T: 'static>(path: &'static str, needs: Needs, handler: impl Handler<T, S>) -> Served<S> {
        Served { route: Route { method: "POST", path, needs }, by: routing::post(handler) }
    }
}

/// What those who look after the process ask.
fn health() -> Vec<Served<State>> {
    vec![
        Served::get("/healthz", Needs::Nothing, health::healthz),
        Served::get("/readyz", Needs::Nothing, health::readyz),
        Served::get("/metrics", Needs::Nothing, metrics::metrics),
    ]
}

/// All that is answered, and how.
pub fn router(state: State) -> Router {
    let own = health().into_iter().fold(Router::new(), |router, served| router.route(served.route.path, served.by));
    // Those who look after the process are told of a database that is down in the form that they ask for.
    own.merge(api::router(&state).layer(from_fn_with_state(state.clone(), in_time::<Problem>)))
        .method_not_allowed_fallback(other_methods)
        .with_state(state.clone())
        .merge(pages::router(state))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(with_manners))
}

/// What has no route. Programs are told in their form, people in theirs.
async fn nothing(uri: Uri) -> Response {
    if uri.path().starts_with("/v1") {
        return Problem::new(Fault::NotFound, "there is nothing at this address; /v1/openapi.json says what there is")
            .into_response();
    }
    pages::Shut::NotFound.into_response()
}

async fn other_methods() -> Problem {
    Problem::new(Fault::MethodNotAllowed, "this address takes other methods, which the header Allow names")
}

/// Why an answer is not waited for any longer. What it says is for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The body of the request did not come within so long.
    Body(Duration),
    /// The answer did not.
    Answer,
    /// The database cannot be reached.
    Database,
}

/// Whatever an answer waits for, its asker does not wait for ever, and is not waited for.
async fn in_time<L: From<Late> + IntoResponse>(
    extract::State(state): extract::State<State>,
    request: Request,
    next: Next,
) -> Response {
    let answer_time_max = state.0.answer_time_max;
    let arrival = request.extensions().get::<Arrival>().cloned();
    let mut answering = pin!(next.run(request));
    // Some are answered before their body has come: they may not ask.
    if let Some(arrival) = arrival {
        let first = async {
            tokio::select! {
                answer = &mut answering => Some(answer),
                () = arrival.whole() => None,
            }
        };
        match tokio::time::timeout(answer_time_max, first).await {
            Ok(Some(answer)) => return answer,
            Ok(None) => {}
            Err(_) => return L::from(Late::Body(answer_time_max)).into_response(),
        }
    }
    tokio::select! {
        answer = answering => answer,
        () = health::database_is_gone(&state) => L::from(Late::Database).into_response(),
        () = tokio::time::sleep(answer_time_max) => L::from(Late::Answer).into_response(),
    }
}

/// Answers are of the moment, and what they say they are.
async fn with_manners(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
