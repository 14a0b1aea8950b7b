//! What benches over HTTP and of the ledger begin with: what was asked for, a server that writes through, settings, accounts.

#[path = "../../tests/it/support/cluster.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
pub mod cluster;

use creditd::config::{LoadInput, Settings};
use creditd::core::calendar::{Calendar, Instant, Terms, parse_zone};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, ActionCode, Key};
use creditd::core::ledger::{Account, Usage};
use creditd::core::transaction::Status;
use creditd::store::{Admin, NewAccount};
use std::path::Path;

/// As the program has it.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Accounts opened in one transaction while a ledger is made.
pub const OPENED_AT_ONCE: usize = 5_000;
/// Enough free credits for any bench.
pub const ALLOWANCE: i64 = 1_000_000_000;
/// The databases there are.
pub const DATABASES: [&str; 2] = ["sqlite", "postgres"];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Asked {
    words: Vec<String>,
}

impl Asked {
    /// What stands on the command line.
    pub fn of_args() -> Asked {
        Asked { words: std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect() }
    }

    /// Whether `one` of some things is asked for: by name, or because none is named.
    pub fn is(&self, one: &str, all: &[&str]) -> bool {
        self.has(one) || !all.iter().copied().any(|name| self.has(name))
    }

    /// Whether this word is there.
    pub fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    /// The number behind `name=`.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }

    /// The text behind `name=`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The databases that are asked for and there.
    pub fn databases(&self) -> impl Iterator<Item = &'static str> {
        let asked = DATABASES.into_iter().filter(|one| self.is(one, &DATABASES));
        asked.filter(|one| *one == "sqlite" || cluster::cluster().is_some())
    }
}

/// As many threads as `creditd serve` has on a small machine.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The server of the tests does without the disk; a bench does not. True when the work was done by a child that knows.
#[expect(clippy::disallowed_methods, reason = "a bench tells the server by the environment to write through")]
pub fn write_through() -> bool {
    const NAME: &str = "CREDITD_POSTGRES_FSYNC";
    if std::env::var_os(NAME).is_some() {
        return false;
    }
    let program = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(NAME, "1").status();
    assert!(status.expect("this program starts").success(), "the bench failed");
    true
}

/// An instant as text has it.
pub fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
pub fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Settings for a ledger at `url`, with a folder for mail that nobody gets.
pub fn settings(folder: &Path, url: &str, more: &[(&str, &str)]) -> Settings {
    let flags = [("database_url", url)].into_iter().chain(more.iter().copied());
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Settings::load(LoadInput { folder: folder.to_owned(), flags, ..LoadInput::default() })
        .expect("the defaults are valid")
}

/// An account that lives by UTC, and has its first month from the day of `opened_at` on.
pub fn new_account(id: AccountId, opened_at: Instant, admins: Vec<Admin>) -> NewAccount {
    let (zone, day) = (parse_zone("UTC").expect("a zone"), opened_at.to_utc().date_naive());
    let from = creditd::core::calendar::Month::of(day);
    let terms = Terms { from, zone, allowance: Credits::new(ALLOWANCE) };
    let account = Account { name: format!("Account {id}"), id, opened_at, calendar: Calendar::new(terms) };
    NewAccount { account, locale: None, admins }
}

/// An action that was done.
pub fn usage(key: &str) -> Usage {
    Usage {
        key: Key::new(key).expect("a key"),
        occurred_at: None,
        user: None,
        action: ActionCode::new("erase").expect("an action"),
        quantity: 1,
        status: Status::Success,
        comment: String::new(),
        post_to_open: false,
    }
}

/// A key that no call had.
pub fn any_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}
