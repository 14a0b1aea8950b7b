//! Pages of an account with a million transactions, as somebody sees them first in a process that has just begun and once more
//! later, and the platform's page with a million accounts. Over HTTP on the loopback, on SQLite and on Postgres.
//!
//! `cargo bench --bench pages`; `-- sqlite` or `-- postgres` choose, `-- account` or `-- platform` what, `-- rows=1000000` and
//! `-- accounts=1000000` say how many, `-- runs=5` how often; `-- look=TEXT` only at what has it in its name. `-- keep=FOLDER` keeps the ledgers of SQLite and uses what is there. Each
//! first look opens the ledger anew; what the system keeps of its file stays. benches/README.md says what the figures mean.

#[path = "ledger/common.rs"]
#[allow(dead_code, reason = "other benches use the rest")]
mod common;

use common::{Asked, OPENED_AT_ONCE, clock, cluster, instant, new_account, runtime, settings, usage, write_through};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::config::Settings;
use creditd::core::access::Reach;
use creditd::core::calendar::Instant;
use creditd::core::ids::{AccountId, ActionCode, Email, UserId};
use creditd::core::ledger::Call;
use creditd::core::signed::Purpose;
use creditd::core::statement::Filters;
use creditd::core::visit::{Visit, Visitor};
use creditd::jobs::{Kit, signing_key};
use creditd::store::{Admin, Batch, Load, LogPlace, LogStretch, LogWay, Meta, NewAccount, Store};
use creditd::web::{Listener, State, router};
use sqlx::{Connection, PgConnection};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The year that the transactions are spread over begins here.
const BEGIN: &str = "2025-04-01T00:00:00Z";
/// When the pages are looked at: late in a month, so that much of it is there.
const NOW: &str = "2026-03-30T12:00:00Z";
const YEAR_SECONDS: i64 = 364 * 86_400;
/// Transactions written at once.
const WRITTEN_AT_ONCE: usize = 5_000;
const ACTIONS: [&str; 5] = ["text-to-image", "erase", "background-removal", "image-enhancement", "translation"];

fn main() {
    let asked = Asked::of_args();
    let runs = asked.number("runs").unwrap_or(5).max(1);
    if write_through() {
        return;
    }
    runtime().block_on(async {
        for database in asked.databases() {
            if asked.is("account", &["account", "platform"]) {
                let rows = asked.number("rows").unwrap_or(1_000_000);
                let ledger = Ledger::of(&asked, database, &format!("account-{rows}")).await;
                ledger.look_at_account(rows, runs).await;
            }
            if asked.is("platform", &["account", "platform"]) {
                let accounts = asked.number("accounts").unwrap_or(1_000_000);
                let ledger = Ledger::of(&asked, database, &format!("platform-{accounts}")).await;
                ledger.look_at_platform(accounts, runs).await;
            }
        }
    });
}

/// A place for a ledger.
struct Ledger {
    database: &'static str,
    settings: Settings,
    is_new: bool,
    /// Which pages are looked at, by a part of their names.
    only: String,
    _folder: Option<tempfile::TempDir>,
    _database: Option<cluster::Database>,
}

impl Ledger {
    async fn of(asked: &Asked, database: &'static str, name: &str) -> Ledger {
        let temporary = asked.text("keep").is_none().then(|| tempfile::tempdir().expect("a folder"));
        let folder = temporary.as_ref().map_or_else(
            || PathBuf::from(asked.text("keep").unwrap_or_default()).join(name),
            |folder| folder.path().to_owned(),
        );
        std::fs::create_dir_all(&folder).expect("a folder");
        let (url, is_new, made) = match database {
            "sqlite" => {
                let file = folder.join("creditd.db");
                let (url, is_new) = (format!("sqlite://{}", file.display()), !file.exists());
                if is_new {
                    let meta = Meta { created_at: instant(BEGIN), sandbox: true };
                    Store::create(&url, meta).await.expect("a ledger").close().await;
                }
                (url, is_new, None)
            }
            _ => {
                let made = cluster::cluster().expect("Postgres is installed").create_database(false).await;
                (made.url.clone(), true, Some(made))
            }
        };
        let only = asked.text("look").unwrap_or_default().to_owned();
        Ledger { database, settings: settings(&folder, &url, &[]), is_new, only, _folder: temporary, _database: made }
    }

    async fn store(&self) -> Store {
        Store::open(&self.settings.database_url).await.expect("the ledger")
    }

    /// The server of the tests does not look at its tables on its own, as others do.
    async fn analyze(&self) {
        if self.database == "postgres" {
            let mut connection = PgConnection::connect(&self.settings.database_url).await.expect("the server");
            sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await.expect("sql");
        }
    }

    async fn look_at_account(&self, rows: usize, runs: usize) {
        let acme = AccountId::new("acme").expect("an id");
        if self.is_new {
            let store = self.store().await;
            fill_account(&store, &acme, rows).await;
            store.close().await;
            self.analyze().await;
        }
        let middle = place_text(middle_of(&self.store().await, &acme).await);
        let visitor =
            Visitor { reach: Reach::Account(acme), address: Some(Email::new("ann@acme.example").expect("an address")) };
        let looks = [
            ("the first page", "/accounts/acme".to_owned()),
            ("the banner", "/embed/accounts/acme/banner.json".to_owned()),
            ("the log", "/accounts/acme/transactions".to_owned()),
            ("the log from its middle on", format!("/accounts/acme/transactions?before={middle}")),
            ("the log of one action", "/accounts/acme/transactions?action=erase".to_owned()),
            ("the log of one user", "/accounts/acme/transactions?user=user-17".to_owned()),
            ("the log of nobody", "/accounts/acme/transactions?user=nobody".to_owned()),
            ("the log with a text that is nowhere", "/accounts/acme/transactions?q=nowhere".to_owned()),
            ("the month by day", "/accounts/acme/summary".to_owned()),
            ("what actions cost", "/accounts/acme/prices".to_owned()),
        ];
        println!("{}, an account with {rows} transactions", self.database);
        self.look(&looks, visitor, runs).await;
    }

    async fn look_at_platform(&self, accounts: usize, runs: usize) {
        if self.is_new {
            let store = self.store().await;
            fill_platform(&store, accounts).await;
            store.close().await;
            self.analyze().await;
        }
        let visitor = Visitor { reach: Reach::Platform, address: None };
        let looks = [
            ("the platform", "/platform".to_owned()),
            ("its accounts", "/platform/accounts".to_owned()),
            ("accounts by the beginning of an id", "/platform/accounts?q=a05".to_owned()),
            ("accounts by the beginning of a name", "/platform/accounts?q=Account%20a09".to_owned()),
            ("accounts of an admin", "/platform/accounts?q=ann@example.com".to_owned()),
            ("open alerts", "/platform/alerts".to_owned()),
        ];
        println!("{}, a platform with {accounts} accounts", self.database);
        self.look(&looks, visitor, runs).await;
    }

    /// Each page in processes that have just begun, and then once more.
    async fn look(&self, looks: &[(&str, String)], visitor: Visitor, runs: usize) {
        for (what, path) in looks.iter().filter(|(what, _)| what.contains(&self.only)) {
            let (mut first, mut later, mut bytes) = (Vec::new(), Vec::new(), 0);
            for _ in 0..runs {
                let app = App::new(self.settings.clone(), self.store().await, Clock::Fixed(instant(NOW)));
                let app = app.expect("a sandbox");
                let key = signing_key(&app).await.expect("a key");
                let visit = Visit { visitor: visitor.clone(), until: instant(NOW).plus_seconds(3_600) };
                let cookie = visit.token(Purpose::Cookie, &key);
                let store = app.store.clone();
                let kit = Arc::new(Kit::open(app).await.expect("a kit"));
                let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
                let (at, stop) = (listener.at(), CancellationToken::new());
                let answering = tokio::spawn(listener.serve(router(State::new(kit)), stop.clone()));
                // Templates are read once; a page that needs no ledger has them ready.
                get(at, "/unsubscribe", "").await;
                for times in [&mut first, &mut later] {
                    let begin = clock();
                    bytes = get(at, path, &cookie).await;
                    times.push(begin.elapsed().as_secs_f64() * 1_000.0);
                }
                stop.cancel();
                answering.await.expect("it stops");
                store.close().await;
            }
            println!(
                "  {what:<38} first {:>7.1} ms (worst {:>7.1})  later {:>7.1} ms (worst {:>7.1})  {:>4} KB",
                median(&mut first),
                first.last().copied().unwrap_or_default(),
                median(&mut later),
                later.last().copied().unwrap_or_default(),
                bytes / 1_000
            );
        }
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The bytes of a page.
async fn get(at: SocketAddr, path: &str, cookie: &str) -> usize {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    let head = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nCookie: creditd={cookie}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let is_well = answer.starts_with(b"HTTP/1.1 200 ") || cookie.is_empty();
    assert!(is_well, "{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
    answer.len()
}

fn place_text(place: LogPlace) -> String {
    format!("{}.{}", place.occurred_at.micros(), place.seq)
}

/// A place in the middle of the log.
async fn middle_of(store: &Store, account: &AccountId) -> LogPlace {
    let half = instant(BEGIN).plus_seconds(YEAR_SECONDS / 2);
    let stretch = LogStretch { from: Instant::MIN, to: half, way: LogWay::Back, behind: None, through: None };
    let rows = store.log_found(account, &stretch, &Filters::default(), 1).await.expect("rows");
    LogPlace::of(rows.first().expect("a row"))
}

/// A year of charges of one account, evenly, by a hundred users.
async fn fill_account(store: &Store, acme: &AccountId, rows: usize) {
    let admin = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
    let new = new_account(acme.clone(), instant(BEGIN), vec![admin]);
    store.open_accounts(&[new], instant(BEGIN)).await.expect("an account");
    let step_us = YEAR_SECONDS * 1_000_000 / i64::try_from(rows.max(1)).expect("small");
    let call = |n: usize| {
        let mut usage = usage(&format!("charge-{n}"));
        usage.action = ActionCode::new(ACTIONS[n * 7 % ACTIONS.len()]).expect("a code");
        usage.user = Some(UserId::new(&format!("user-{}", n * 13 % 100)).expect("a user"));
        usage.comment = format!("run {n}");
        let at = instant(BEGIN).plus_micros(step_us * i64::try_from(n + 1).expect("small"));
        (at, Call::Charge(usage))
    };
    for begin in (0..rows).step_by(WRITTEN_AT_ONCE) {
        let calls: Vec<(Instant, Call)> = (begin..rows.min(begin + WRITTEN_AT_ONCE)).map(call).collect();
        let mut load = Load::default();
        calls.iter().for_each(|(at, call)| load.call(acme, call, *at));
        let apply = |batch: &mut Batch| {
            for (at, call) in &calls {
                batch.ledgers.get_mut(acme).expect("loaded").apply(call, &batch.prices, *at).expect("in order");
            }
        };
        store.update(&load, apply).await.expect("written");
    }
}

/// Accounts of which one in a thousand has an admin.
async fn fill_platform(store: &Store, accounts: usize) {
    let admin = || Admin::with_defaults(Email::new("ann@example.com").expect("an address"));
    let new = |n: usize| {
        let id = AccountId::new(&format!("a{n:07}")).expect("an id");
        new_account(
            id,
            instant("2026-03-01T00:00:00Z"),
            if n.is_multiple_of(1_000) { vec![admin()] } else { Vec::new() },
        )
    };
    for first in (0..accounts).step_by(OPENED_AT_ONCE) {
        let accounts: Vec<NewAccount> = (first..accounts.min(first + OPENED_AT_ONCE)).map(new).collect();
        store.open_accounts(&accounts, instant(NOW)).await.expect("accounts");
    }
}
