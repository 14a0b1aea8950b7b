//! A ledger in a folder of its own, and short names for the values that tests are made of.
//!
//! Everything here goes the way a program goes: settings as `Settings::load` reads them, a real SQLite file or a
//! database on a real Postgres server, a clock that stands. Folder and database vanish with the value.

mod cluster;
mod messages;
mod programs;
mod python;
mod runs;
pub mod smtp;
mod watchers;
mod wire;

pub use cluster::{Cluster, META, own_cluster, programs as postgres_programs};
pub use messages::{alert, all_left, attachments, lapse_soon, message, statement, wish, write_wished};
pub use programs::program;
pub use python::python_with;
pub use runs::{end_run, take_run};
pub use watchers::Watchers;
pub use wire::Wire;

use creditd::app::import::{AccountImport, PurchaseImport, UsageImport};
use creditd::app::{App, Balance};
use creditd::clock::Clock;
use creditd::config::{LoadInput, Settings};
use creditd::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_date, parse_zone};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, ActionCode, Key, Reference};
use creditd::core::ledger::{Account, Purchase, Usage};
use creditd::core::price::{Action, DEFAULT_ACTIONS, PriceMatrix, PriceVersion};
use creditd::core::transaction::{Money, Status, Transaction};
use creditd::jobs::Run;
use creditd::jobs::verify::{Proof, prove};
use creditd::store::{Drift, Lease, LogFilter, NewAccount, Opened, Store};
use sqlx::{AssertSqlSafe, Row};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Free credits a month of accounts in tests.
pub const ALLOWANCE: i64 = 1_500;
/// Credits of one pack in tests.
pub const PACK: i64 = 2_500;

/// Makes two tests of each function, `name::sqlite` and `name::postgres`. A function that takes a [`Sandbox`] gets an
/// empty ledger; one that takes a [`Backend`] makes what it needs.
macro_rules! both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($sandbox:ident: Sandbox) $body:block)+) => {$(
        $(#[$attribute])*
        async fn $name($sandbox: Sandbox) $body

        mod $name {
            use crate::support::{Backend, Sandbox};

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                super::$name(Sandbox::on(Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                if Backend::Postgres.is_there() {
                    super::$name(Sandbox::on(Backend::Postgres).await).await;
                }
            }
        }
    )+};
    ($($(#[$attribute:meta])* fn $name:ident($backend:ident: Backend) $body:block)+) => {$(
        $(#[$attribute])*
        fn $name($backend: Backend) $body

        mod $name {
            use crate::support::Backend;

            #[test]
            fn sqlite() {
                super::$name(Backend::Sqlite);
            }

            #[test]
            fn postgres() {
                if Backend::Postgres.is_there() {
                    super::$name(Backend::Postgres);
                }
            }
        }
    )+};
}
pub(crate) use both_databases;

/// Where a sandbox keeps its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in its folder.
    Sqlite,
    /// A database on the server of the tests.
    Postgres,
}

impl Backend {
    /// Whether it can be tested on here. What cannot says so once, loudly, or fails where it is required.
    pub fn is_there(self) -> bool {
        self == Backend::Sqlite || cluster::cluster().is_some()
    }
}

/// A ledger whose clock may be set, in a folder that vanishes with this value.
pub struct Sandbox {
    app: App,
    folder: tempfile::TempDir,
    database: Option<cluster::Database>,
}

impl Sandbox {
    /// An empty ledger on SQLite.
    pub async fn new() -> Sandbox {
        Sandbox::on(Backend::Sqlite).await
    }

    /// An empty ledger.
    pub async fn on(backend: Backend) -> Sandbox {
        Sandbox::with(match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(new_database(false).await),
        })
        .await
    }

    /// An empty ledger on a server of the test's own.
    pub async fn on_server(cluster: &Cluster) -> Sandbox {
        Sandbox::with(Some(cluster.create_database(false).await)).await
    }

    /// In a database with an empty ledger, or in a file.
    async fn with(database: Option<cluster::Database>) -> Sandbox {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = database.as_ref().map_or("sqlite://creditd.db", |database| database.url.as_str());
        let flags = vec![("database_url".to_owned(), url.to_owned())];
        let input = LoadInput { folder: folder.path().to_owned(), flags, ..LoadInput::default() };
        let settings = Settings::load(input).expect("the defaults are valid");
        let store = match database {
            None => Store::create(&settings.database_url, META).await.expect("a new ledger"),
            Some(_) => Store::open(&settings.database_url).await.expect("a copy of a new ledger"),
        };
        let app = App::new(settings, store, Clock::Fixed(META.created_at));
        let app = app.expect("a sandbox takes a fixed clock");
        Sandbox { app, folder, database }
    }

    /// Where it keeps its ledger.
    pub const fn backend(&self) -> Backend {
        if self.database.is_some() { Backend::Postgres } else { Backend::Sqlite }
    }

    /// The url of a place of this kind without a ledger, which lasts as long as the value beside it.
    pub async fn empty_place(&self) -> (String, Option<cluster::Database>) {
        match self.backend() {
            Backend::Sqlite => (format!("sqlite://{}", self.path("empty-place.db").display()), None),
            Backend::Postgres => {
                let database = new_database(true).await;
                (database.url.clone(), Some(database))
            }
        }
    }

    /// The ledger at an instant such as `2013-01-31T00:00:00Z`.
    pub fn at(&self, now: &str) -> App {
        self.at_instant(instant(now))
    }

    /// The ledger at an instant.
    pub fn at_instant(&self, now: Instant) -> App {
        self.app.at(now).expect("a sandbox takes a fixed clock")
    }

    /// The ledger as another program opens it.
    pub async fn second_program(&self, now: Instant) -> App {
        let settings = self.app.settings.clone();
        App::open(settings, Clock::Fixed(now)).await.expect("a second program opens the ledger")
    }

    /// Opens the ledger anew, as a program that starts at `now`. Its store should be closed before.
    pub async fn reopen(&mut self, now: Instant) {
        self.app = self.second_program(now).await;
    }

    /// Its store.
    pub const fn store(&self) -> &Store {
        &self.app.store
    }

    /// The url of its database.
    pub fn url(&self) -> &str {
        &self.app.settings.database_url
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into its folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the temporary folder is writable");
        path
    }

    /// Opens an account with the usual allowance.
    pub async fn open_account(&self, id: &str, zone: &str, opened_on: &str) -> AccountId {
        let new = NewAccount { account: account(id, zone, opened_on), locale: None, admins: Vec::new() };
        let opened = self.store().open_accounts(&[new], self.store().meta().created_at).await.expect("an account");
        assert_eq!(opened, [Opened::Created], "account {id}");
        account_id(id)
    }

    /// A second connection to the file, past creditd.
    pub async fn sql(&self) -> sqlx::SqlitePool {
        assert_eq!(self.backend(), Backend::Sqlite, "a test on both databases asks by execute and texts");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path("creditd.db"));
        sqlx::SqlitePool::connect_with(options).await.expect("a second connection")
    }

    /// Connections to the database on the server, past creditd.
    pub async fn postgres(&self) -> sqlx::PgPool {
        assert_eq!(self.backend(), Backend::Postgres);
        sqlx::PgPool::connect(self.url()).await.expect("a second connection")
    }

    /// Keeps everybody else from writing messages, as if the database were away, until it is let go.
    pub async fn hold_messages(&self) -> Held {
        match self.backend() {
            Backend::Sqlite => {
                Held::Sqlite(self.sql().await.begin_with("BEGIN IMMEDIATE").await.expect("the write lock"))
            }
            Backend::Postgres => {
                let mut held = self.postgres().await.begin().await.expect("begun");
                let lock = sqlx::raw_sql("LOCK TABLE outbox IN EXCLUSIVE MODE").execute(&mut *held);
                lock.await.expect("locked");
                Held::Postgres(held)
            }
        }
    }

    /// Runs statements past creditd; how many rows the last one changed, or what the database said.
    pub async fn execute(&self, sql: &str) -> Result<u64, String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self.backend() {
            Backend::Sqlite => sql.execute(&self.sql().await).await.map(|done| done.rows_affected()),
            Backend::Postgres => sql.execute(&self.postgres().await).await.map(|done| done.rows_affected()),
        };
        done.map_err(|error| error.to_string())
    }

    /// The texts in the first column of what a query past creditd finds; NULL is left out.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        let texts: Vec<Option<String>> = match self.backend() {
            Backend::Sqlite => {
                let rows = query.fetch_all(&self.sql().await).await.expect(sql);
                rows.iter().map(|row| row.get(0)).collect()
            }
            Backend::Postgres => {
                let rows = query.fetch_all(&self.postgres().await).await.expect(sql);
                rows.iter().map(|row| row.get(0)).collect()
            }
        };
        texts.into_iter().flatten().collect()
    }

    /// What `creditd verify` finds.
    pub async fn drifts(&self) -> Vec<Drift> {
        drifts(&self.app).await
    }

    /// Fails unless every stored figure is what the transactions say.
    pub async fn assert_verified(&self) {
        let drifts = self.drifts().await;
        assert!(drifts.is_empty(), "{drifts:#?}");
    }

    /// The whole log of one account, in order of recording.
    pub async fn log(&self, id: &AccountId) -> Vec<Transaction> {
        let filter = LogFilter { account: Some(id.clone()), ..LogFilter::default() };
        let rows = self.store().log_page(&filter, None, 1_000_000).await.expect("the log");
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The balance of one account at the time of `app`.
    pub async fn balance(&self, app: &App, id: &AccountId) -> Balance {
        let mut balances = app.balances(std::slice::from_ref(id)).await.expect("balances");
        assert_eq!(balances.len(), 1, "account {id}");
        balances.remove(0)
    }

    /// How accounts are imported with the settings in force.
    pub fn accounts_kind(&self) -> AccountImport {
        AccountImport { allowance: self.app.settings.credits.monthly_allowance }
    }

    /// How purchases are imported with the settings in force.
    pub fn purchases_kind(&self) -> PurchaseImport {
        let credits = &self.app.settings.credits;
        let pack_price = Money { minor: credits.pack_price_minor, currency: credits.currency.clone() };
        PurchaseImport { pack_credits: credits.pack_credits, pack_price }
    }

    /// How usage is imported.
    pub const fn usage_kind(&self) -> UsageImport {
        UsageImport { post_to_open: false }
    }
}

/// Seals every day that is over at the time of `app`.
pub async fn seal(app: &App) {
    while let Some(next) = app.next_sealing().await.expect("a plan") {
        app.seal(next).await.expect("sealed").expect("nobody else seals");
        app.tidy_sealed().await.expect("tidied");
    }
}

/// What `creditd verify` finds at the time of `app`.
pub async fn drifts(app: &App) -> Vec<Drift> {
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let Proof { checks, drifts } = prove(app, None, &mut run).await.expect("verify runs");
    assert!(checks > 10, "verify did {checks} checks");
    drifts
}

async fn new_database(empty: bool) -> cluster::Database {
    let cluster = cluster::cluster().expect("a test on Postgres asks first whether it is there");
    cluster.create_database(empty).await
}

/// What keeps others from writing.
pub enum Held {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Held {
    pub async fn let_go(self) {
        match self {
            Held::Sqlite(held) => held.rollback().await,
            Held::Postgres(held) => held.rollback().await,
        }
        .expect("let go");
    }
}

/// A lease that outlasts a test.
pub fn lease_of(name: &str) -> Lease {
    Lease { name: name.into(), lasts: Duration::from_secs(300) }
}

/// An instant such as `2013-01-31T00:00:00Z`.
#[track_caller]
pub fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

/// A month such as `2013-01`.
#[track_caller]
pub fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

/// An account's id.
#[track_caller]
pub fn account_id(text: &str) -> AccountId {
    AccountId::new(text).expect("an account id")
}

/// An account with the usual allowance, opened at the start of a local day.
#[track_caller]
pub fn account(id: &str, zone: &str, opened_on: &str) -> Account {
    let zone = parse_zone(zone).expect("a zone");
    let opened_on = parse_date(opened_on).expect("a date");
    let terms = Terms { from: Month::of(opened_on), zone, allowance: Credits::new(ALLOWANCE) };
    Account {
        id: account_id(id),
        name: format!("Account {id}"),
        opened_at: first_instant_of(opened_on, zone),
        calendar: Calendar::new(terms),
    }
}

/// One action done now.
#[track_caller]
pub fn usage(action: &str, key: &str) -> Usage {
    Usage {
        key: Key::new(key).expect("a key"),
        occurred_at: None,
        user: None,
        action: ActionCode::new(action).expect("an action code"),
        quantity: 1,
        status: Status::Success,
        comment: String::new(),
        post_to_open: false,
    }
}

/// Packs bought now.
#[track_caller]
pub fn purchase(packs: i64, reference: &str) -> Purchase {
    let reference = Reference::new(reference).expect("a reference");
    Purchase {
        key: Key::of_purchase(&reference),
        reference,
        occurred_at: None,
        packs,
        pack_credits: Credits::new(PACK),
        money: Money { minor: packs * 2_500, currency: "USD".into() },
        comment: String::new(),
    }
}

/// The action credit matrix of a new ledger.
pub fn default_prices() -> PriceMatrix {
    let action = |(code, credits, title, help): &(&str, i64, &str, &str)| Action {
        code: ActionCode::new(code).expect("an action code"),
        title: (*title).to_owned(),
        help: (*help).to_owned(),
        versions: vec![PriceVersion { effective_from: Instant::from_micros(0), credits: Some(Credits::new(*credits)) }],
    };
    DEFAULT_ACTIONS.iter().map(action).collect()
}
