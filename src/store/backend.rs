//! The two databases behind the store, and what a unit of work is on each.
//!
//! A write is a unit that [`in_write!`] runs in one database transaction. On SQLite it waits for the one writer
//! connection and begins IMMEDIATE. On Postgres it may be run again from its beginning, when another writer was first or
//! the server went away: so it must decide by what it reads, and find by its keys what an earlier try of it has done.

use super::checkpoints::Checkpoints;
use super::runs::{Fence, begin_fenced};
use super::sql::{Failed, On, Query, Sql};
use super::{BATCHES_AT_ONCE, Result, Store, StoreError, While};
use futures_util::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::SqlitePool;
use sqlx::{Database, Executor, Pool, Postgres, SqlSafeStr, Sqlite};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often a unit of work is tried. Writers of the same rows wait for each other's locks, so that more than two tries
/// are rare; twenty, with the pauses below, use up every broken connection of the pool and outlast the restart of a server.
const ATTEMPTS_MAX: u32 = 20;
/// The pause before the second try; it doubles with each further one. Each is drawn from half to all of it, so that those
/// who collided once do not collide again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a connection may lie unused and still be used without asking. What is between us and a server may drop a silent
/// connection and say so to neither: a call on it would wait for many minutes, until the system gives up. Firewalls and
/// balancers wait for some minutes, while a busy ledger uses its connections every second.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// So that all statements read of the same instant.
const BEGIN_TO_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The database of a ledger.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    Sqlite {
        /// One connection: SQLite has one writer, and a queue in front of it is fair where its busy handler is not.
        writer: SqlitePool,
        /// So that no long read holds up a charge.
        loaders: Loaders<Sqlite>,
        reader: SqlitePool,
        checkpoints: Checkpoints,
        /// Where it is.
        file: Arc<Path>,
    },
    Postgres {
        /// For what is planned once and run a thousand times a second.
        writer: PgPool,
        /// Of the writer's connections.
        loaders: Loaders<Postgres>,
        /// For what is planned anew for what it is asked.
        reader: PgPool,
    },
}

/// A database transaction. Dropped before [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub(super) enum Tx {
    /// In this file; a write is worth a look whether a checkpoint is due.
    Sqlite(sqlx::Transaction<'static, Sqlite>, Arc<Path>, Option<Checkpoints>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    /// A statement in it.
    pub fn query(&mut self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Tx::Sqlite(tx, file, _) => Query::Sqlite(On::Connection(&mut **tx), sqlx::query(sql.sqlite), file),
            Tx::Postgres(tx) => Query::Postgres(On::Connection(&mut **tx), sqlx::query(sql.postgres)),
        }
    }

    /// Runs a script of several statements without parameters.
    pub async fn run_script(&mut self, script: impl SqlSafeStr) -> std::result::Result<(), Failed> {
        let script = sqlx::raw_sql(script);
        match self {
            Tx::Sqlite(tx, file, _) => {
                script.execute(&mut **tx).await.map(drop).map_err(|source| Failed::at(file, source))
            }
            Tx::Postgres(tx) => script.execute(&mut **tx).await.map(drop).map_err(Failed::from),
        }
    }

    pub async fn commit(self) -> std::result::Result<(), Failed> {
        match self {
            Tx::Sqlite(tx, file, checkpoints) => {
                tx.commit().await.map_err(|source| Failed::at(&file, source))?;
                if let Some(checkpoints) = checkpoints {
                    checkpoints.after_a_commit();
                }
                Ok(())
            }
            Tx::Postgres(tx) => tx.commit().await.map_err(Failed::from),
        }
    }
}

impl Backend {
    /// Begins a write. On SQLite always IMMEDIATE: a plain BEGIN that later wants to write fails under contention instead
    /// of waiting. On Postgres each statement sees what was committed before it, so that rows read behind a lock are
    /// the newest.
    pub async fn begin(&self) -> Result<Tx> {
        let begun = match self {
            Backend::Sqlite { writer, checkpoints, file, .. } => match writer.begin_with("BEGIN IMMEDIATE").await {
                Ok(tx) => Ok(Tx::Sqlite(tx, Arc::clone(file), Some(checkpoints.clone()))),
                Err(source) => Err(Failed::at(file, source)),
            },
            Backend::Postgres { writer, .. } => {
                begin_whole(writer, "BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(Failed::from)
            }
        };
        begun.while_("beginning a write")
    }

    /// Begins to read: everything read in it was true at one instant.
    async fn read(&self) -> Result<Tx> {
        let begun = match self {
            Backend::Sqlite { reader, file, .. } => match reader.begin().await {
                Ok(tx) => Ok(Tx::Sqlite(tx, Arc::clone(file), None)),
                Err(source) => Err(Failed::at(file, source)),
            },
            Backend::Postgres { reader, .. } => begin_whole(reader, BEGIN_TO_READ).await.map_err(Failed::from),
        };
        begun.while_("beginning to read")
    }

    /// One statement that reads, on any connection.
    pub fn query(&self, sql: impl Into<Sql>) -> Query<'_> {
        let sql = sql.into();
        match self {
            Backend::Sqlite { reader, file, .. } => Query::Sqlite(On::Pool(reader), sqlx::query(sql.sqlite), file),
            Backend::Postgres { reader, .. } => Query::Postgres(On::Pool(reader), sqlx::query(sql.postgres)),
        }
    }

    /// A connection that loads what is to be changed.
    pub async fn loader(&self) -> Result<Loader> {
        let loader = match self {
            Backend::Sqlite { loaders, file, .. } => match loaders.take().await {
                Ok(connection) => Ok(Loader::Sqlite(connection, Arc::clone(file))),
                Err(source) => Err(Failed::at(file, source)),
            },
            Backend::Postgres { loaders, .. } => loaders.take().await.map(Loader::Postgres).map_err(Failed::from),
        };
        loader.while_("connecting")
    }

    /// Takes back a loader on which nothing has failed.
    pub fn keep(&self, loader: Loader) {
        match (self, loader) {
            (Backend::Sqlite { loaders, .. }, Loader::Sqlite(connection, _)) => loaders.keep(connection),
            (Backend::Postgres { loaders, .. }, Loader::Postgres(connection)) => loaders.keep(connection),
            _ => {}
        }
    }

    /// Closes all connections; on SQLite that folds the write-ahead log into the file.
    pub async fn close(&self) {
        match self {
            Backend::Sqlite { writer, loaders, reader, checkpoints, file: _ } => {
                checkpoints.close().await;
                loaders.close().await;
                reader.close().await;
                writer.close().await;
            }
            Backend::Postgres { loaders, reader, writer: _ } => {
                reader.close().await;
                loaders.close().await;
            }
        }
    }
}

/// Connections that load. A pool asks a connection that is given back whether it lives, which is a round trip more than the
/// two that a charge makes: so a few are kept beside it, for [`IDLE_MAX`].
#[derive(Debug)]
pub(super) struct Loaders<DB: Database> {
    pool: Pool<DB>,
    kept: Arc<Mutex<Kept<PoolConnection<DB>>>>,
}

/// What is kept, and since when: the newest last.
#[derive(Debug)]
struct Kept<C>(Vec<(C, Instant)>);

impl<C> Default for Kept<C> {
    fn default() -> Kept<C> {
        Kept(Vec::new())
    }
}

impl<C> Kept<C> {
    /// The newest that may still be used at `now`, and those that may not.
    fn take(&mut self, now: Instant) -> (Option<C>, Vec<C>) {
        let is_old = |(_, since): &(C, Instant)| now.saturating_duration_since(*since) > IDLE_MAX;
        let old = self.0.iter().take_while(|kept| is_old(kept)).count();
        let old = self.0.drain(..old).map(|(connection, _)| connection).collect();
        (self.0.pop().map(|(connection, _)| connection), old)
    }
}

impl<DB: Database> Clone for Loaders<DB> {
    fn clone(&self) -> Loaders<DB> {
        Loaders { pool: self.pool.clone(), kept: Arc::clone(&self.kept) }
    }
}

impl<DB: Database> Loaders<DB> {
    pub fn of(pool: Pool<DB>) -> Loaders<DB> {
        Loaders { pool, kept: Arc::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<PoolConnection<DB>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self) -> std::result::Result<PoolConnection<DB>, sqlx::Error> {
        let (kept, old) = self.kept().take(Instant::now());
        // Not back into the pool, which would ask each whether it lives, wait as long, and count it until then.
        old.into_iter().for_each(|connection| drop(connection.detach()));
        match kept {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    fn keep(&self, connection: PoolConnection<DB>) {
        let mut kept = self.kept();
        if kept.0.len() < BATCHES_AT_ONCE && !self.pool.is_closed() {
            kept.0.push((connection, Instant::now()));
        }
    }

    async fn close(&self) {
        let closing = self.pool.close();
        self.kept().0.clear();
        closing.await;
    }
}

/// A connection that loads, and on Postgres writes what one statement can.
#[derive(Debug)]
pub(super) enum Loader {
    Sqlite(PoolConnection<Sqlite>, Arc<Path>),
    Postgres(PoolConnection<Postgres>),
}

impl Loader {
    /// A statement on it.
    pub fn query(&mut self, sql: Sql) -> Query<'_> {
        match self {
            Loader::Sqlite(connection, file) => {
                Query::Sqlite(On::Connection(&mut **connection), sqlx::query(sql.sqlite), file)
            }
            Loader::Postgres(connection) => {
                Query::Postgres(On::Connection(&mut **connection), sqlx::query(sql.postgres))
            }
        }
    }
}

/// One unit of work on a [`Store`] or a [`Backend`]: `$unit`, which has the transaction as `$tx: &mut Tx`, and its commit. It may be run
/// more than once. The value is that of `$unit`, or why nothing was written.
///
/// A macro because an async closure that borrows is not known to be `Send` where the call is spawned.
macro_rules! in_write {
    ($on:expr, $doing:literal, |$tx:ident| $unit:expr) => {{
        let mut tries = $crate::store::backend::Tries::from($on);
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
    /// What must hold for each of them.
    fence: Option<&'a Fence>,
    begun: u32,
}

impl<'a> From<&'a Backend> for Tries<'a> {
    fn from(backend: &'a Backend) -> Tries<'a> {
        Tries { backend, fence: None, begun: 0 }
    }
}

impl<'a> From<&'a Store> for Tries<'a> {
    fn from(store: &'a Store) -> Tries<'a> {
        Tries { backend: &store.backend, fence: store.fence.as_deref(), begun: 0 }
    }
}

impl Tries<'_> {
    /// Counts a try that begins its transaction itself; true for the first.
    pub const fn next(&mut self) -> bool {
        self.begun += 1;
        self.begun == 1
    }

    /// Begins a try.
    pub async fn begin(&mut self) -> Result<Tx> {
        self.next();
        begin_fenced(self.backend, self.fence).await
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

    /// Begins a write, which it does not where it works for a batch that is somebody else's by now.
    pub(super) async fn begin(&self) -> Result<Tx> {
        begin_fenced(&self.backend, self.fence.as_deref()).await
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

/// Statements on Postgres that hand out much, at one instant. Dropped before [`LongRead::finish`], its connection is closed: the
/// server would go on sending, and sqlx takes what comes of a COPY for answers to what is asked next.
#[derive(Debug)]
pub(super) struct LongRead(Option<PoolConnection<Postgres>>);

impl LongRead {
    /// Begins it.
    pub async fn begin(pool: &PgPool) -> std::result::Result<LongRead, Failed> {
        let mut read = LongRead(Some(pool.acquire().await?));
        read.connection()?.execute(BEGIN_TO_READ).await?;
        // Whoever takes the rows may be busy for as long as they like, with what is there and with what is still to come. A plan
        // is for this read: what makes it depends on how much it is about.
        let patience = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = '2h';
                        SET LOCAL plan_cache_mode = 'force_custom_plan'";
        read.connection()?.execute(sqlx::raw_sql(patience)).await?;
        Ok(read)
    }

    /// Lets statements that follow look up rows for each of the values they are about, instead of walking over a whole table. The
    /// planner takes any set of values for a hundred, which are too many to do so for rows of one large account.
    pub async fn look_up(&mut self) -> std::result::Result<(), Failed> {
        let few = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";
        self.connection()?.execute(sqlx::raw_sql(few)).await?;
        Ok(())
    }

    fn connection(&mut self) -> std::result::Result<&mut PgConnection, Failed> {
        self.0.as_deref_mut().ok_or_else(|| sqlx::Error::PoolClosed.into())
    }

    /// A statement in it.
    pub fn query(&mut self, sql: &'static str) -> std::result::Result<Query<'_>, Failed> {
        Ok(Query::Postgres(On::Connection(self.connection()?), sqlx::query(sql)))
    }

    /// What COPY hands out.
    pub async fn copy_out(
        &mut self,
        copy: &str,
    ) -> std::result::Result<BoxStream<'_, std::result::Result<impl AsRef<[u8]> + use<>, sqlx::Error>>, Failed> {
        self.connection()?.copy_out_raw(copy).await.map_err(Failed::from)
    }

    /// Ends it. All was read, so nothing can go wrong any more; a connection that does is closed.
    pub async fn finish(mut self) {
        if let Ok(connection) = self.connection()
            && connection.execute("ROLLBACK").await.is_ok()
        {
            self.0.take();
        }
    }
}

impl Drop for LongRead {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

fn pause(attempts: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << attempts.min(16).saturating_sub(1)).min(PAUSE_MAX);
    let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(fastrand::u64(micros / 2..=micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_used_while_it_was_used_lately() {
        let begin = Instant::now();
        let kept = || Kept(vec![("a", begin), ("b", begin + IDLE_MAX / 2)]);
        for (after, used, closed, left) in [
            (IDLE_MAX / 2, Some("b"), vec![], 1),
            (IDLE_MAX, Some("b"), vec![], 1),
            (IDLE_MAX * 5 / 4, Some("b"), vec!["a"], 0),
            (IDLE_MAX * 2, None, vec!["a", "b"], 0),
        ] {
            let mut kept = kept();
            assert_eq!(kept.take(begin + after), (used, closed), "{after:?}");
            assert_eq!(kept.0.len(), left, "{after:?}");
        }
    }
}
