//! The two databases behind the store, and what a unit of work is on each.
//!
//! A write is a unit that [`in_write!`] runs in one database transaction. On SQLite it waits for the one writer
//! connection and begins IMMEDIATE. On Postgres it may be run again from its beginning, when another writer was first or
//! the server went away: so it must decide by what it reads, and find by its keys what an earlier try of it has done.

use super::sql::{On, Query, Sql};
use super::{Result, Store, StoreError, While};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Postgres, SqlSafeStr, Sqlite};
use std::time::Duration;

/// How often a unit of work is tried. Writers of the same rows wait for each other's locks, so that more than two tries
/// are rare; twenty, with the pauses below, use up every broken connection of the pool and outlast the restart of a server.
const ATTEMPTS_MAX: u32 = 20;
/// The pause before the second try; it doubles with each further one. Each is drawn from half to all of it, so that those
/// who collided once do not collide again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The database of a ledger.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    Sqlite {
        /// One connection: SQLite has one writer, and a queue in front of it is fair where its busy handler is not.
        writer: SqlitePool,
        reader: SqlitePool,
    },
    Postgres {
        /// For what is planned once and run a thousand times a second.
        writer: PgPool,
        /// For what is planned anew for what it is asked.
        reader: PgPool,
    },
}

/// A database transaction. Dropped before [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub(super) enum Tx {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    /// A statement in it.
    pub fn query(&mut self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Tx::Sqlite(tx) => Query::Sqlite(On::Transaction(&mut **tx), sqlx::query(sql.sqlite)),
            Tx::Postgres(tx) => Query::Postgres(On::Transaction(&mut **tx), sqlx::query(sql.postgres)),
        }
    }

    /// Runs a script of several statements without parameters.
    pub async fn run_script(&mut self, script: impl SqlSafeStr) -> std::result::Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(script);
        match self {
            Tx::Sqlite(tx) => script.execute(&mut **tx).await.map(drop),
            Tx::Postgres(tx) => script.execute(&mut **tx).await.map(drop),
        }
    }

    pub async fn commit(self) -> std::result::Result<(), sqlx::Error> {
        match self {
            Tx::Sqlite(tx) => tx.commit().await,
            Tx::Postgres(tx) => tx.commit().await,
        }
    }
}

impl Backend {
    /// Begins a write. On SQLite always IMMEDIATE: a plain BEGIN that later wants to write fails under contention instead
    /// of waiting. On Postgres each statement sees what was committed before it, so that rows read behind a lock are
    /// the newest.
    pub async fn begin(&self) -> Result<Tx> {
        let begun = match self {
            Backend::Sqlite { writer, .. } => writer.begin_with("BEGIN IMMEDIATE").await.map(Tx::Sqlite),
            Backend::Postgres { writer, .. } => begin_whole(writer, "BEGIN ISOLATION LEVEL READ COMMITTED").await,
        };
        begun.while_("beginning a write")
    }

    /// Begins to read: everything read in it was true at one instant.
    async fn read(&self) -> Result<Tx> {
        let begun = match self {
            Backend::Sqlite { reader, .. } => reader.begin().await.map(Tx::Sqlite),
            Backend::Postgres { reader, .. } => {
                begin_whole(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        };
        begun.while_("beginning to read")
    }

    /// One statement that reads, on any connection.
    pub fn query(&self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Backend::Sqlite { reader, .. } => Query::Sqlite(On::Pool(reader), sqlx::query(sql.sqlite)),
            Backend::Postgres { reader, .. } => Query::Postgres(On::Pool(reader), sqlx::query(sql.postgres)),
        }
    }

    /// One statement of the writer that is a transaction of its own. Postgres alone has a use for it: SQLite's writer
    /// always begins IMMEDIATE.
    pub fn on_its_own<'t>(pool: &'t PgPool, sql: &'static str) -> Query<'t> {
        Query::Postgres(On::Pool(pool), sqlx::query(sql))
    }

    /// Closes all connections; on SQLite that folds the write-ahead log into the file.
    pub async fn close(&self) {
        match self {
            Backend::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Backend::Postgres { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
        }
    }
}

/// One unit of work on a [`Backend`]: `$unit`, which has the transaction as `$tx: &mut Tx`, and its commit. It may be run
/// more than once. The value is that of `$unit`, or why nothing was written.
///
/// A macro because an async closure that borrows is not known to be `Send` where the call is spawned.
macro_rules! in_write {
    ($backend:expr, $doing:literal, |$tx:ident| $unit:expr) => {{
        let mut tries = $crate::store::backend::Tries::new(&$backend);
        loop {
            let done = match tries.begin().await {
                Ok(mut begun) => {
                    let $tx = &mut begun;
                    let done: $crate::store::Result<_> = async { $unit }.await;
                    $crate::store::backend::end(begun, done, $doing).await
                }
                Err(error) => Err(error),
            };
            if let Some(done) = tries.again(done).await {
                break done;
            }
        }
    }};
}
pub(super) use in_write;

/// Commits what was done, or undoes what was not.
pub(super) async fn end<R>(tx: Tx, done: Result<R>, doing: &'static str) -> Result<R> {
    let answer = done?;
    tx.commit().await.while_(doing)?;
    Ok(answer)
}

/// The tries of one unit of work.
pub(super) struct Tries<'a> {
    backend: &'a Backend,
    begun: u32,
}

impl<'a> Tries<'a> {
    pub const fn new(backend: &'a Backend) -> Tries<'a> {
        Tries { backend, begun: 0 }
    }

    /// Counts a try that begins its transaction itself; true for the first.
    pub const fn next(&mut self) -> bool {
        self.begun += 1;
        self.begun == 1
    }

    /// Begins a try.
    pub async fn begin(&mut self) -> Result<Tx> {
        self.next();
        self.backend.begin().await
    }

    /// The end of a try. `None` asks for another one, after a pause.
    pub async fn again<R>(&self, done: Result<R>) -> Option<Result<R>> {
        let error = match done {
            Err(error) if matches!(self.backend, Backend::Postgres { .. }) && error.is_passing() => error,
            done => return Some(done),
        };
        let attempts = self.begun;
        if attempts == ATTEMPTS_MAX {
            return Some(Err(if error.is_contention() { StoreError::Contended { attempts } } else { error }));
        }
        tracing::debug!(attempts, %error, "trying again");
        tokio::time::sleep(pause(attempts)).await;
        None
    }
}

impl Store {
    /// Begins to read: everything read in it was true at one instant. There is nothing to commit.
    pub(super) async fn read(&self) -> Result<Tx> {
        self.backend.read().await
    }

    /// One statement that reads.
    pub(super) fn query(&self, sql: impl Into<Sql>) -> Query<'_> {
        self.backend.query(sql)
    }
}

/// Begins in a task of its own, so that a caller who gives up does not cut it short: a connection on which BEGIN was sent
/// and not heard of would go back to the pool inside a transaction that nobody ends.
async fn begin_whole(pool: &PgPool, begin: &'static str) -> std::result::Result<Tx, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(begin).await }).await;
    begun.map_err(|_| sqlx::Error::WorkerCrashed)?.map(Tx::Postgres)
}

fn pause(attempts: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << attempts.min(16).saturating_sub(1)).min(PAUSE_MAX);
    let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(fastrand::u64(micros / 2..=micros))
}
