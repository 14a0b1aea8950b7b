//! What `creditd serve` answers over HTTP: whether it lives, whether it is ready, and its metrics.
//!
//! Everything about a connection is bounded: how many there are, how long a request may take to come and to be answered, and
//! how large it may be. Nothing here decides about credits, and nothing waits for a job.

mod health;
mod metrics;

use crate::jobs::Kit;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at once. Whoever comes then waits in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// How long the head of a request may take to come, also of the next one on a connection that is kept.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The largest body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long answers under way may take when the process is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// The pause after a connection could not be taken: too many files are open, and some will be closed.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Somebody else is there.
    #[error(
        "web.listen: {at} is in use by another process, maybe another creditd serve. Stop it, or set listen in [web] \
         (CREDITD__WEB__LISTEN) to another port, or to \"off\""
    )]
    InUse {
        /// The address.
        at: SocketAddr,
    },
    /// The system says no.
    #[error(
        "web.listen: {at} cannot be listened at: {source}. Set listen in [web] to an address of this machine, or to \"off\""
    )]
    Listen {
        /// The address.
        at: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What answers are made of.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    kit: Arc<Kit>,
    ready: health::Readiness,
    metrics: metrics::Metrics,
}

impl State {
    /// Answers about `kit`.
    #[must_use]
    pub fn new(kit: Arc<Kit>) -> State {
        State(Arc::new(Inner { kit, ready: health::Readiness::default(), metrics: metrics::Metrics::default() }))
    }
}

/// All that is answered, and how.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here; /healthz, /readyz and /metrics are\n"))
        .with_state(state)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(in_time))
        .layer(from_fn(with_manners))
}

/// Whatever an answer waits for, its asker does not wait for ever.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIME_MAX, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response(),
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

/// A place where HTTP is answered.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    at: SocketAddr,
}

impl Listener {
    /// Takes the place.
    ///
    /// # Errors
    /// [`WebError`] when it is taken or none of this machine's.
    pub async fn bind(at: SocketAddr) -> Result<Listener, WebError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => WebError::InUse { at },
            _ => WebError::Listen { at, source },
        };
        let socket = TcpListener::bind(at).await.map_err(failed)?;
        let at = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, at })
    }

    /// Where it is, with the port that the system gave.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Answers until `stop` is cancelled; what is being answered then is finished.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        while let Some(permit) = stop.run_until_cancelled(Arc::clone(&permits).acquire_owned()).await {
            let stream = match stop.run_until_cancelled(self.socket.accept()).await {
                None => break,
                Some(Ok((stream, _))) => stream,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                answer(stream, router, stop).await;
                drop(permit);
            });
            while connections.try_join_next().is_some() {}
        }
        if tokio::time::timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await.is_err() {
            tracing::debug!("connections were still open; they are closed");
        }
    }
}

/// Answers what comes on a connection.
async fn answer(stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection ended");
    }
}
