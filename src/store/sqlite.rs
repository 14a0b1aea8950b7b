//! A ledger in a file of SQLite: made, opened, looked at before it is touched.

use super::backend::{Backend, Loaders};
use super::checkpoints::Checkpoints;
use super::place::Place;
use super::sql::Failed;
use super::{Result, StoreError, While};
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};
use std::path::Path;
use std::time::Duration;

/// Oldest SQLite that is safe: before it, a WAL reset could lose commits.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for another process's write to end.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a write waits for the writes of its own process: a backlog of that length is a fault, not a queue.
const WRITER_TIMEOUT: Duration = Duration::from_secs(300);
/// Connections that load what the writer is about to change: for two batches of charges, and two of a job.
const LOADERS_MAX: u32 = 4;
/// Connections that only read.
const READERS_MAX: u32 = 4;
/// Pages in the write-ahead log, of 4 KiB, at which the writer folds them into the file itself: when those that are folded
/// beside it do not keep up, and when none could be.
const WAL_PAGES_MAX: u32 = 8_000;

/// Makes an empty file for a ledger.
pub(super) async fn create(path: &Path) -> Result<Backend> {
    create_as(path, SqliteSynchronous::Full).await
}

/// Makes one for a ledger that is thrown away: nobody waits for the disk.
pub(super) async fn create_for_now(path: &Path) -> Result<Backend> {
    create_as(path, SqliteSynchronous::Off).await
}

async fn create_as(path: &Path, synchronous: SqliteSynchronous) -> Result<Backend> {
    let place = || Place::File(path.to_owned());
    // Of two who make it at once, the file itself says who was first.
    create_private(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Exists { place: place() },
        _ => StoreError::Create { place: place(), source },
    })?;
    connect(path, true, synchronous).await
}

/// Opens the file of a ledger.
pub(super) async fn open(path: &Path) -> Result<Backend> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Missing { place: Place::File(path.to_owned()) }),
        Err(source) => return Err(Failed::at(path, source.into())).while_("looking for the ledger"),
    }
    refuse_other_files(path).await?;
    connect(path, false, SqliteSynchronous::Full).await
}

/// Looks before anything is written: opening a ledger sets the file's journal mode and migrates its schema, and neither
/// may happen to a file that is not creditd's.
async fn refuse_other_files(path: &Path) -> Result<()> {
    let not_a_ledger = || StoreError::NotALedger { place: Place::File(path.to_owned()) };
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
        Err(source) => Err(Failed::at(path, source)).while_("opening the ledger"),
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

async fn connect(path: &Path, create: bool, synchronous: SqliteSynchronous) -> Result<Backend> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // Without it, REPLACE would delete a row past the trigger that forbids it.
        .pragma("recursive_triggers", "ON")
        .pragma("cache_size", "-32000");
    let others = options.clone().create_if_missing(false);
    let writer = options
        // What a statement over many rows would undo if it failed, SQLite would otherwise write to a file: all that it
        // changes a second time. The writer's statements are batches, whose size is bounded.
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", WAL_PAGES_MAX.to_string());
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WRITER_TIMEOUT)
        .before_acquire(|connection, _| is_whole(connection))
        .connect_with(writer)
        .await
        .map_err(|source| Failed::at(path, source))
        .while_("opening the ledger")?;
    check_version(&writer).await?;
    let checkpoints = Checkpoints::new(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(others.clone()));
    let others = others.read_only(true);
    let loaders = SqlitePoolOptions::new()
        .max_connections(LOADERS_MAX)
        .acquire_timeout(WRITER_TIMEOUT)
        .connect_lazy_with(others.clone());
    let reader = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .before_acquire(|connection, _| is_whole(connection))
        .connect_lazy_with(others);
    Ok(Backend::Sqlite { writer, loaders: Loaders::of(loaders), reader, checkpoints, file: path.into() })
}

/// Whether a connection that was given back can begin a transaction. When a disk is full or fails, SQLite undoes one itself;
/// sqlx does not hear of it, its own undoing fails, and it would begin no other there ever again.
fn is_whole(connection: &mut SqliteConnection) -> BoxFuture<'_, std::result::Result<bool, sqlx::Error>> {
    let is_whole = !connection.is_in_transaction();
    Box::pin(async move { Ok(is_whole) })
}

async fn check_version(pool: &SqlitePool) -> Result<()> {
    let found: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool).await.while_("asking for SQLite's version")?;
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < VERSION_MIN { Err(StoreError::OldSqlite { found }) } else { Ok(()) }
}
