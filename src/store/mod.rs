//! The only user of sqlx: how creditd's values are stored, on SQLite.
//!
//! Methods are use cases, not tables. A database transaction begins and ends inside one method; what must be decided
//! within it is a pure closure that the caller hands in ([`Store::update`]). The store decides nothing by itself, and
//! nothing but the store inserts a transaction.
//!
//! All statements are static. Sets of values go in as one JSON parameter, so a batch costs a handful of statements,
//! however many rows it has.

mod accounts;
mod actions;
mod alerts;
mod ledgers;
mod outbox;
mod report;
mod runs;
mod transactions;
mod verify;

pub use accounts::{AccountRecord, Admin, NewAccount, Opened};
pub use alerts::AlertRecord;
pub use ledgers::{Batch, Load};
pub use outbox::OutboxRecord;
pub use report::{ActionUse, ReportRange};
pub use runs::{Claim, RunRecord, RunState};
pub use transactions::{Cursor, LogFilter};
pub use verify::Drift;

use crate::core::calendar::{BadTime, Instant};
use crate::core::ids::BadName;
use include_dir::{Dir, include_dir};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Row, Sqlite, SqliteConnection};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations/sqlite");

/// Oldest SQLite that is safe: before it, a WAL reset could lose commits.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for another process's write to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that only read, beside the single writer.
const READERS_MAX: u32 = 4;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database yet.
    #[error("there is no ledger at {}; `creditd init` makes one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its file cannot be made.
    #[error("{}: the ledger cannot be made there: {source}", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is one already.
    #[error("there is a ledger at {} already; nothing was changed", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{} is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and \
         make a ledger with `creditd init`",
        path.display()
    )]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The URL is of no kind that is supported.
    #[error("the database url {url:?} is not supported; use sqlite://path/to/creditd.db")]
    Url {
        /// The url as given.
        url: String,
    },
    /// The database was written by a newer creditd.
    #[error("the ledger has schema {found}, this creditd knows {known}; install a newer creditd")]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The linked SQLite is too old to be trusted.
    #[error("SQLite {found} can lose committed rows (WAL reset bug); 3.51.3 or later is needed")]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// Another process holds the write lock.
    #[error("the ledger is locked by another process for more than {} s; try again when it is done", BUSY_TIMEOUT.as_secs())]
    Locked,
    /// A stored value cannot be what it says.
    #[error("the ledger holds a value that creditd did not write: {0}; run `creditd verify`")]
    Corrupt(String),
    /// The database said no.
    #[error("the database failed while {doing}: {source}")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// A migration failed.
    #[error("the ledger's schema could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A value could not be encoded for the database.
    #[error("a value could not be encoded for the database: {0}")]
    Encode(#[from] serde_json::Error),
}

impl From<BadName> for StoreError {
    fn from(bad: BadName) -> StoreError {
        StoreError::Corrupt(bad.to_string())
    }
}

impl From<BadTime> for StoreError {
    fn from(bad: BadTime) -> StoreError {
        StoreError::Corrupt(bad.to_string())
    }
}

/// The result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Says what was being done when the database failed.
trait While<T> {
    fn while_(self, doing: &'static str) -> Result<T>;
}

impl<T> While<T> for std::result::Result<T, sqlx::Error> {
    fn while_(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| match &source {
            // SQLITE_BUSY and its extended codes, after the busy timeout.
            sqlx::Error::Database(e) if e.code().is_some_and(|c| matches!(&*c, "5" | "261" | "517")) => {
                StoreError::Locked
            }
            _ => StoreError::Sql { doing, source },
        })
    }
}

/// What `creditd init` recorded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// When the ledger was made. Periods that ended before are reported on demand only.
    pub created_at: Instant,
    /// Whether the clock may be set for it.
    pub sandbox: bool,
}

/// The ledger's database.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: SQLite has one writer, and a queue in front of it is fair where its busy handler is not.
    writer: SqlitePool,
    reader: SqlitePool,
    meta: Meta,
}

/// The file behind a database url.
///
/// # Errors
/// [`StoreError::Url`] when it is not a `sqlite:` url with a path.
pub fn database_path(url: &str) -> Result<PathBuf> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    match path {
        Some(path) if !path.is_empty() && !path.contains(['?', '#']) && path != ":memory:" => Ok(PathBuf::from(path)),
        _ => Err(StoreError::Url { url: url.to_owned() }),
    }
}

impl Store {
    /// Makes a new ledger at `url`, with the default action credit matrix.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one, others when it cannot be written.
    pub async fn create(url: &str, meta: Meta) -> Result<Store> {
        let path = database_path(url)?;
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        create_private(&path).map_err(|source| StoreError::Create { path: path.clone(), source })?;
        let (writer, reader) = connect(&path, true).await?;
        migrator().run(&writer).await?;
        let store = Store { writer, reader, meta };
        let mut tx = store.begin().await?;
        for (name, value) in
            [("created_at", meta.created_at.to_string()), ("sandbox", u8::from(meta.sandbox).to_string())]
        {
            sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
                .bind(name)
                .bind(value)
                .execute(&mut *tx)
                .await
                .while_("writing what the ledger is")?;
        }
        actions::insert_defaults(&mut tx).await?;
        tx.commit().await.while_("committing a new ledger")?;
        Ok(store)
    }

    /// Opens the ledger at `url` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::Newer`] when a newer creditd wrote it.
    pub async fn open(url: &str) -> Result<Store> {
        let path = database_path(url)?;
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        refuse_other_files(&path).await?;
        let (writer, reader) = connect(&path, false).await?;
        refuse_newer_schema(&writer).await?;
        migrator().run(&writer).await?;
        let meta = read_meta(&reader, &path).await?;
        Ok(Store { writer, reader, meta })
    }

    /// What `creditd init` recorded.
    #[must_use]
    pub const fn meta(&self) -> Meta {
        self.meta
    }

    /// Folds the write-ahead log into the database file and closes all connections.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Begins a write. Always IMMEDIATE: a plain BEGIN that later wants to write fails under contention instead of waiting.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.while_("beginning a write")
    }
}

/// Looks before anything is written: opening a ledger sets the file's journal mode and migrates its schema, and neither
/// may happen to a file that is not creditd's.
async fn refuse_other_files(path: &Path) -> Result<()> {
    let not_a_ledger = || StoreError::NotALedger { path: path.to_owned() };
    if !path.is_file() {
        return Err(not_a_ledger());
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let looked = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('_sqlx_migrations', 'meta', 'transactions')";
        let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(tables)
    };
    match looked.await {
        Ok(3) => Ok(()),
        Ok(_) => Err(not_a_ledger()),
        // SQLITE_NOTADB.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "26") => Err(not_a_ledger()),
        Err(error) => Err(error).while_("opening the ledger"),
    }
}

/// An empty file that only its owner can read, where the system knows of owners. SQLite gives the files beside it the
/// same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

async fn connect(path: &Path, create: bool) -> Result<(SqlitePool, SqlitePool)> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // Without it, REPLACE would delete a row past the trigger that forbids it.
        .pragma("recursive_triggers", "ON")
        .pragma("cache_size", "-32000");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(300))
        .connect_with(options.clone())
        .await
        .while_("opening the ledger")?;
    check_version(&writer).await?;
    let reader = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok((writer, reader))
}

async fn check_version(pool: &SqlitePool) -> Result<()> {
    let found: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool).await.while_("asking for SQLite's version")?;
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < SQLITE_VERSION_MIN { Err(StoreError::OldSqlite { found }) } else { Ok(()) }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.files().filter_map(|file| {
        let (version, name) = file.path().file_stem()?.to_str()?.split_once('_')?;
        let sql = sqlx::SqlSafeStr::into_sql_str(file.contents_utf8()?);
        let name = Cow::Owned(name.replace('_', " "));
        Some(Migration::new(version.parse().ok()?, name, MigrationType::Simple, sql, false))
    });
    Migrator::with_migrations(migrations.collect())
}

async fn refuse_newer_schema(pool: &SqlitePool) -> Result<()> {
    let known = migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
    let has_schema: bool = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(pool)
        .await
        .while_("reading the schema")?;
    if !has_schema {
        return Ok(());
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
        .while_("reading the schema's version")?;
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(()) }
}

async fn read_meta(pool: &SqlitePool, path: &Path) -> Result<Meta> {
    let mut meta = Meta { created_at: Instant::MIN, sandbox: false };
    let rows =
        sqlx::query("SELECT name, value FROM meta").fetch_all(pool).await.while_("reading what the ledger is")?;
    if rows.is_empty() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    for row in rows {
        let value: String = row.get(1);
        match row.get::<&str, _>(0) {
            "created_at" => meta.created_at = Instant::parse(&value)?,
            "sandbox" => meta.sandbox = value == "1",
            _ => {}
        }
    }
    Ok(meta)
}

/// Encodes a set of values as the one JSON parameter of a statement.
fn json<T: serde::Serialize>(values: T) -> Result<String> {
    Ok(serde_json::to_string(&values)?)
}
