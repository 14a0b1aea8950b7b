//! A ledger in a folder of its own, and short names for the values that tests are made of.
//!
//! Everything here goes the way a program goes: settings as `Settings::load` reads them, a real SQLite file, a clock
//! that stands. The folder vanishes with the value.

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
use creditd::store::{Drift, LogFilter, Meta, NewAccount, Opened, Store};
use std::path::PathBuf;

/// Free credits a month of accounts in tests.
pub const ALLOWANCE: i64 = 1_500;
/// Credits of one pack in tests.
pub const PACK: i64 = 2_500;

/// A ledger whose clock may be set, in a folder that vanishes with this value.
pub struct Sandbox {
    folder: tempfile::TempDir,
    app: App,
}

impl Sandbox {
    /// An empty ledger.
    pub async fn new() -> Sandbox {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let flags = vec![("database_url".to_owned(), "sqlite://creditd.db".to_owned())];
        let input = LoadInput { folder: folder.path().to_owned(), flags, ..LoadInput::default() };
        let settings = Settings::load(input).expect("the defaults are valid");
        let created_at = instant("2013-01-01T00:00:00Z");
        let meta = Meta { created_at, sandbox: true };
        let store = Store::create(&settings.database_url, meta).await.expect("a new ledger");
        let app = App::new(settings, store, Clock::Fixed(created_at)).expect("a sandbox takes a fixed clock");
        Sandbox { folder, app }
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
        let new = NewAccount { account: account(id, zone, opened_on), admins: Vec::new() };
        let opened = self.store().open_accounts(&[new], self.store().meta().created_at).await.expect("an account");
        assert_eq!(opened, [Opened::Created], "account {id}");
        account_id(id)
    }

    /// A second connection to the file, past creditd.
    pub async fn sql(&self) -> sqlx::SqlitePool {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path("creditd.db"));
        sqlx::SqlitePool::connect_with(options).await.expect("a second connection")
    }

    /// What `creditd verify` finds.
    pub async fn drifts(&self) -> Vec<Drift> {
        let (checks, drifts) = self.store().verify(None, &mut |_, _| {}).await.expect("verify runs");
        assert!(checks > 10, "verify did {checks} checks");
        drifts
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
