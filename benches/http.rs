//! Charges over HTTP on the loopback, each beside the same number of callers of the same process without HTTP, in the same run.
//! On SQLite and on Postgres.
//!
//! `cargo bench --bench http`; `-- sqlite` or `-- postgres` choose, `-- connections=64` sets how many connections there are, and
//! `-- seconds=5` for how long each figure is measured. Clients are in the same process and on the same cores, so what they cost is
//! counted against HTTP. benches/README.md says what the figures mean.

#[path = "../tests/it/support/cluster.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod cluster;

use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::access::{Reach, Scope};
use creditd::core::calendar::{Calendar, Instant, Terms, parse_zone};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, ActionCode, Key};
use creditd::core::ledger::{Account, Usage};
use creditd::core::token::{TOKEN_BYTES, Token, TokenHash, token_of};
use creditd::core::transaction::Status;
use creditd::jobs::Kit;
use creditd::store::{Meta, NewAccount, Store};
use creditd::web::{Listener, State, router};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Accounts that charges are spread over.
const ACCOUNTS: usize = 10_000;
/// Accounts opened in one transaction.
const OPENED_AT_ONCE: usize = 5_000;
/// How often the two are measured, turn about: a machine that slows down slows down both.
const ROUNDS: usize = 3;
/// Enough free credits for any bench.
const ALLOWANCE: i64 = 1_000_000_000;
const NOW: &str = "2026-03-15T00:00:00Z";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |name: &str, usual: usize| {
        let said = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        said.unwrap_or(usual)
    };
    let (connections, seconds) = (number("connections", 64), number("seconds", 5));
    if write_through() {
        return;
    }
    let measured = Duration::from_secs(seconds as u64);
    let is_asked = |one: &str| {
        words.iter().any(|word| word == one) || !words.iter().any(|word| word == "sqlite" || word == "postgres")
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if is_asked("sqlite") {
            let folder = tempfile::tempdir().expect("a folder");
            let url = format!("sqlite://{}", folder.path().join("creditd.db").display());
            let store = Store::create(&url, Meta { created_at: instant(NOW), sandbox: true }).await.expect("a ledger");
            bench("SQLite", settings(folder.path(), &url), store, connections, measured).await;
        }
        if is_asked("postgres")
            && let Some(cluster) = cluster::cluster()
        {
            let (database, folder) = (cluster.create_database(false).await, tempfile::tempdir().expect("a folder"));
            let store = Store::open(&database.url).await.expect("a ledger");
            bench("Postgres", settings(folder.path(), &database.url), store, connections, measured).await;
        }
    });
}

/// The server of the tests does without the disk; a bench does not. True when the work was done by a child that knows.
#[expect(clippy::disallowed_methods, reason = "a bench tells the server by the environment to write through")]
fn write_through() -> bool {
    const NAME: &str = "CREDITD_POSTGRES_FSYNC";
    if std::env::var_os(NAME).is_some() {
        return false;
    }
    let program = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(NAME, "1").status();
    assert!(status.expect("this program starts").success(), "the bench failed");
    true
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
    let (within, over) = (median(within), median(over));
    for (what, figures) in [("in process", &within), ("over HTTP", &over)] {
        let Figures { per_second, p50_ms, p99_ms } = figures;
        println!(
            "{database:<9} {what:<10} {connections:>4} callers: {per_second:>7.0}/s  p50 {p50_ms:>6.2} ms  p99 {p99_ms:>6.2} ms"
        );
    }
    println!("{database:<9} ratio {:.2}", over.per_second / within.per_second);
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
        let (account, usage) = (any_account(), usage());
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
            "POST /v1/accounts/{}/charges HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: {:032x}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
            any_account(),
            fastrand::u128(..),
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

fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn account_id(n: usize) -> AccountId {
    AccountId::new(&format!("a{n:05}")).expect("an id")
}

fn any_account() -> AccountId {
    account_id(fastrand::usize(..ACCOUNTS))
}

fn settings(folder: &Path, url: &str) -> Settings {
    let flags = [("database_url", url), ("web.requests_per_second", "0")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    Settings::load(LoadInput { folder: folder.to_owned(), flags, ..LoadInput::default() })
        .expect("the defaults are valid")
}

async fn fill(app: &App) {
    let zone = parse_zone("UTC").expect("a zone");
    let terms = Terms { from: "2026-03".parse().expect("a month"), zone, allowance: Credits::new(ALLOWANCE) };
    let opened_at = instant("2026-03-01T00:00:00Z");
    let new = |n: usize| NewAccount {
        account: Account { id: account_id(n), name: format!("Account {n}"), opened_at, calendar: Calendar::new(terms) },
        locale: None,
        admins: Vec::new(),
    };
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

fn usage() -> Usage {
    Usage {
        key: Key::new(&format!("{:032x}", fastrand::u128(..))).expect("a key"),
        occurred_at: None,
        user: None,
        action: ActionCode::new("erase").expect("an action"),
        quantity: 1,
        status: Status::Success,
        comment: String::new(),
        post_to_open: false,
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
