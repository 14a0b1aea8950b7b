//! A ledger in a database of a Postgres server: how to connect to it, and what is there.
//!
//! Nothing here or in the statements needs more than plain tables, row locks and transactions: no advisory locks, no SKIP
//! LOCKED, nothing that a connection remembers beyond the settings below. TLS and the password are the url's (`sslmode`,
//! `sslrootcert`, else `PGPASSWORD` or `~/.pgpass`); what is said and logged names host, port and database alone.

use super::backend::{Backend, IDLE_MAX, Loaders};
use super::error::code_of;
use super::place::{Place, postgres_options};
use super::sql::Query;
use super::{Result, StoreError, While};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use std::time::Duration;

/// Connections of one process that write, and that read. A server takes a hundred by default, so several processes fit
/// with room for people; more would not charge faster, since what comes together is one batch.
const CONNECTIONS_MAX: u32 = 6;
/// How long a call waits for a connection, new or given back, before it says that there is none. Whoever asks over HTTP hears
/// sooner that the server is down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the first connection may take: a server that is there answers in a fraction of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Said once on each connection. A statement waits no longer for a lock than it would on SQLite; none runs longer than a
/// report over years of the largest ledger.
const SESSION: &str = "SET lock_timeout = '30s'; SET statement_timeout = '15min'";
/// A process that stopped in a transaction, asleep or under a debugger, does not hold its locks for ever; those of a write not so long
/// that others give up waiting for them. Between two statements of a write there are milliseconds.
const WRITER_IDLE: &str = "SET idle_in_transaction_session_timeout = '12s'";
const READER_IDLE: &str = "SET idle_in_transaction_session_timeout = '60s'";

/// The server's system says once in half a minute that it is there, which keeps open what lies between, and gives up who
/// does not answer. A client cannot ask this of its own: sqlx sets nothing of the kind on its sockets. What has no such
/// setting, or is on the same machine, passes over it.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// Pages are in memory or on flash. By its default, for turning disks, Postgres would walk all of a few thousand accounts
/// to find the one that is charged. And what comes in a parameter it takes for much: it would compile a statement to machine
/// code, which takes 290 ms, that runs for less than one.
const PLANNING: &str = "SET random_page_cost = 1.1; SET jit = off";
/// The same for the writer, whose few statements look up what they are asked by key whatever that is: planning them anew
/// for each call, as Postgres may think wise, costs more than running them.
const PLANNED_ONCE: &str = "SET random_page_cost = 1.1; SET plan_cache_mode = force_generic_plan; SET jit = off";

/// Connects, which finds out whether the server can be reached and lets us in.
pub(super) async fn connect(url: &str) -> Result<Backend> {
    let options = postgres_options(url)?;
    let options = match options.get_application_name() {
        None => options.application_name("creditd"),
        Some(_) => options,
    };
    // Once by hand: the pool would take a refused connection for a server that is starting, and wait.
    let connection = connect_once(&options).await.map_err(|source| why_not(&options, source))?;
    connection.close().await.while_("closing the first connection")?;
    // A round trip before each call of the writer would find out what the call finds out itself; it is tried again then.
    let writer = pool(PLANNED_ONCE, false);
    let reader = pool(PLANNING, true);
    let writer = writer.connect_lazy_with(options.clone());
    Ok(Backend::Postgres { loaders: Loaders::of(writer.clone()), writer, reader: reader.connect_lazy_with(options) })
}

/// Connections that plan in this way, each asked before it is used whether it lives, or not. One that was idle for long is
/// closed instead, also where it would be asked: on a connection that was dropped without a word, that takes minutes.
fn pool(planning: &'static str, asks: bool) -> PgPoolOptions {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT);
    let pool = pool.test_before_acquire(false).before_acquire(move |connection, meta| {
        Box::pin(async move { Ok(meta.idle_for <= IDLE_MAX && (!asks || connection.ping().await.is_ok())) })
    });
    let idle = if asks { READER_IDLE } else { WRITER_IDLE };
    pool.after_connect(move |connection, _| {
        Box::pin(async move {
            sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
            sqlx::raw_sql(idle).execute(&mut *connection).await?;
            // An engine that does not know a setting does in its own way.
            for settings in [planning, KEEPALIVE] {
                let _ = sqlx::raw_sql(settings).execute(&mut *connection).await;
            }
            Ok(())
        })
    })
}

/// Connects to the ledger in a database.
pub(super) async fn open(url: &str, place: &Place) -> Result<Backend> {
    let backend = connect(url).await?;
    match look(backend.query(LOOK)).await? {
        Found::Ledger => Ok(backend),
        Found::Nothing => Err(StoreError::Missing { place: place.clone() }),
        Found::Other(_) => Err(StoreError::NotALedger { place: place.clone() }),
    }
}

async fn connect_once(options: &PgConnectOptions) -> std::result::Result<PgConnection, sqlx::Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Whether the server of a pool takes a new connection within `time_max`. One that has no room for it is there: what it is asked by
/// those who are connected, it answers. A pool cannot tell that from a server that is down: to it, both are no connection.
pub(super) async fn is_reachable(pool: &PgPool, time_max: Duration) -> bool {
    match tokio::time::timeout(time_max, PgConnection::connect_with(&pool.connect_options())).await {
        Ok(Ok(connection)) => {
            // That it says good-bye matters to nobody who waits.
            tokio::spawn(connection.close());
            true
        }
        Ok(Err(source)) => {
            source.as_database_error().is_some() && !StoreError::Sql { doing: "connecting", source }.is_passing()
        }
        Err(_) => false,
    }
}

fn why_not(options: &PgConnectOptions, source: sqlx::Error) -> StoreError {
    let place = Place::of_options(options);
    match code_of(&source).as_deref() {
        // invalid_authorization_specification, invalid_password.
        Some("28000" | "28P01") => StoreError::Credentials { place, source },
        // invalid_catalog_name.
        Some("3D000") => StoreError::NoDatabase { place },
        _ => StoreError::Unreachable { place, source },
    }
}

/// Counts the tables in the schema that new ones would go to, and those that tell a ledger.
pub(super) const LOOK: &str =
    "SELECT count(*), count(*) FILTER (WHERE tablename IN ('_sqlx_migrations', 'meta', 'transactions'))
                                 FROM pg_catalog.pg_tables WHERE schemaname = current_schema()";

/// What is in that schema.
pub(super) enum Found {
    Nothing,
    Ledger,
    /// This many tables that are no ledger.
    Other(i64),
}

/// Looks before anything is written: `query` runs [`LOOK`].
pub(super) async fn look(query: Query<'_>) -> Result<Found> {
    let row = query.fetch_one().await.while_("looking at the database")?;
    Ok(match (row.get::<i64>(0), row.get::<i64>(1)) {
        (0, _) => Found::Nothing,
        (_, 3) => Found::Ledger,
        (tables, _) => Found::Other(tables),
    })
}
