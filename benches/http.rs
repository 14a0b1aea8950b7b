//! Charges over HTTP on the loopback, each beside the same number of callers of the same process without HTTP, in the same run.
//! On SQLite and on Postgres.
//!
//! `cargo bench --bench http`; `-- sqlite` or `-- postgres` choose, `-- connections=64` sets how many connections there are, and
//! `-- seconds=3` for how long each figure is measured. Clients are in the same process and on the same cores, so what they cost is
//! counted against HTTP. benches/README.md says what the figures mean.

#[path = "ledger/common.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod common;

use common::{
    Asked, OPENED_AT_ONCE, any_key, clock, cluster, instant, new_account, runtime, settings, usage, write_through,
};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::Settings;
use creditd::core::access::{Reach, Scope};
use creditd::core::ids::AccountId;
use creditd::core::token::{TOKEN_BYTES, Token, TokenHash, token_of};
use creditd::core::transaction::Status;
use creditd::jobs::Kit;
use creditd::store::{Meta, NewAccount, Store};
use creditd::web::{Listener, State, router};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Accounts that charges are spread over.
const ACCOUNTS: usize = 10_000;
/// How often the two are measured, turn about: a machine that slows down slows down both.
const ROUNDS: usize = 7;
const NOW: &str = "2026-03-15T00:00:00Z";

fn main() {
    let asked = Asked::of_args();
    let connections = asked.number("connections").unwrap_or(64);
    let measured = Duration::from_secs(asked.number("seconds").unwrap_or(3) as u64);
    if write_through() {
        return;
    }
    let no_limit = [("web.requests_per_second", "0")];
    runtime().block_on(async {
        for database in asked.databases() {
            let folder = tempfile::tempdir().expect("a folder");
            if database == "sqlite" {
                let url = format!("sqlite://{}", folder.path().join("creditd.db").display());
                let meta = Meta { created_at: instant(NOW), sandbox: true };
                let store = Store::create(&url, meta).await.expect("a ledger");
                bench("SQLite", settings(folder.path(), &url, &no_limit), store, connections, measured).await;
            } else if let Some(cluster) = cluster::cluster() {
                let database = cluster.create_database(false).await;
                let store = Store::open(&database.url).await.expect("a ledger");
                let settings = settings(folder.path(), &database.url, &no_limit);
                bench("Postgres", settings, store, connections, measured).await;
            }
        }
    });
}

async fn bench(database: &str, settings: Settings, store: Store, connections: usize, measured: Duration) {
    let app = App::new(settings, store.clone(), Clock::Fixed(instant(NOW))).expect("a sandbox");
    fill(&app).await;
    let token = token(&store).await;
    let kit = Arc::new(Kit::new(app.clone()).expect("a kit"));
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
    let (at, stop) = (listener.at(), CancellationToken::new());
    let answering = tokio::spawn(listener.serve(router(State::new(kit)), stop.clone()));
    let (mut within, mut over) = (Vec::new(), Vec::new());
    // The first round warms accounts and connections.
    for round in 0..=ROUNDS {
        let one = measure(connections, measured, |done| calls(app.clone(), done)).await;
        let other = measure(connections, measured, |done| requests(at, token.clone(), done)).await;
        if round > 0 {
            within.push(one);
            over.push(other);
        }
    }
    // Each round beside its neighbour: a machine that is another after a minute is the same for both.
    let mut ratios: Vec<f64> =
        over.iter().zip(&within).map(|(over, within)| over.per_second / within.per_second).collect();
    ratios.sort_by(f64::total_cmp);
    let (within, over) = (median(within), median(over));
    for (what, figures) in [("in process", &within), ("over HTTP", &over)] {
        let Figures { per_second, p50_ms, p99_ms } = figures;
        println!(
            "{database:<9} {what:<10} {connections:>4} callers: {per_second:>7.0}/s  p50 {p50_ms:>6.2} ms  p99 {p99_ms:>6.2} ms"
        );
    }
    let [least, middle, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|at| ratios[at]);
    println!("{database:<9} ratio {middle:.2} (of {ROUNDS} rounds {least:.2} to {most:.2})");
    stop.cancel();
    answering.await.expect("it stops");
    store.close().await;
}

#[derive(Clone, Debug)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// The round in the middle, by its rate.
fn median(mut rounds: Vec<Figures>) -> Figures {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rounds[rounds.len() / 2].clone()
}

/// `callers` at once, each of whom gives how long each of their charges took, in milliseconds.
async fn measure<F>(callers: usize, measured: Duration, caller: impl Fn(Arc<AtomicBool>) -> F) -> Figures
where
    F: Future<Output = Vec<f64>> + Send + 'static,
{
    let done = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(Arc::clone(&done)))).collect();
    tokio::time::sleep(measured).await;
    done.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("a caller"));
    }
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len() - 1)).copied().unwrap_or(0.0);
    let per_second = u32::try_from(took.len()).map_or(0.0, f64::from) / measured.as_secs_f64();
    Figures { per_second, p50_ms: at(50), p99_ms: at(99) }
}

/// One after the other, without HTTP.
async fn calls(app: App, done: Arc<AtomicBool>) -> Vec<f64> {
    let mut took = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let (account, usage) = (any_account(), usage(&any_key()));
        let begin = clock();
        let answer = app.charge(&account, &usage).await.expect("an answer");
        took.push(begin.elapsed().as_secs_f64() * 1_000.0);
        assert!(answer.row.status == Status::Success, "{answer:?}");
    }
    took
}

/// One after the other, on a connection that is kept.
async fn requests(at: SocketAddr, token: String, done: Arc<AtomicBool>) -> Vec<f64> {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    stream.set_nodelay(true).expect("an option");
    let (mut took, mut answer) = (Vec::new(), Vec::new());
    while !done.load(Ordering::Relaxed) {
        const BODY: &str = "{\"action\":\"erase\"}";
        let request = format!(
            "POST /v1/accounts/{}/charges HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
            any_account(),
            any_key(),
            BODY.len()
        );
        let begin = clock();
        stream.write_all(request.as_bytes()).await.expect("it reads");
        answer.clear();
        while !is_whole(&answer) {
            assert!(stream.read_buf(&mut answer).await.expect("it answers") > 0, "the connection ended");
        }
        took.push(begin.elapsed().as_secs_f64() * 1_000.0);
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    took
}

/// Whether the head is there, and as many bytes behind it as it says. Looked at in place: the client's work is counted, too.
fn is_whole(answer: &[u8]) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    const LENGTH: &[u8] = b"content-length: ";
    let find = |within: &[u8], what: &[u8]| within.windows(what.len()).position(|some| some == what);
    let Some(end) = find(answer, END) else { return false };
    let begin = find(&answer[..end], LENGTH).expect("a length") + LENGTH.len();
    let digits = answer[begin..end].iter().take_while(|byte| byte.is_ascii_digit());
    answer.len() >= end + END.len() + digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}

fn account_id(n: usize) -> AccountId {
    AccountId::new(&format!("a{n:05}")).expect("an id")
}

fn any_account() -> AccountId {
    account_id(fastrand::usize(..ACCOUNTS))
}

async fn fill(app: &App) {
    let opened_at = instant("2026-03-01T00:00:00Z");
    let new = |n: usize| new_account(account_id(n), opened_at, Vec::new());
    for first in (0..ACCOUNTS).step_by(OPENED_AT_ONCE) {
        let accounts: Vec<NewAccount> = (first..ACCOUNTS.min(first + OPENED_AT_ONCE)).map(new).collect();
        app.store.open_accounts(&accounts, app.now()).await.expect("accounts");
    }
}

async fn token(store: &Store) -> String {
    let secret = token_of([7; TOKEN_BYTES]);
    let hash = TokenHash::of_token(secret.expose()).expect("a token");
    let (name, created_at) = (String::new(), instant(NOW));
    let (scope, reach) = (Scope::Charge, Reach::Platform);
    let token = Token { hash, name, scope, reach, created_at, expires_at: None, revoked_at: None };
    store.add_token(&token).await.expect("a token");
    secret.expose().to_owned()
}
