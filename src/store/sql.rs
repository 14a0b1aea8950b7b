//! One statement, both databases: texts, parameters and rows that are the same to everything else in the store.
//!
//! A [`Sql`] is a text for each database, the same one wherever SQL is honestly the same (both take `$1`). A [`Query`] is
//! such a text on a connection of either kind, and a [`Row`] what comes back. Sets of values go in as one JSON parameter,
//! which [`set!`] makes a table of.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{ColumnIndex, Database, Decode, Encode, Pool, Postgres, Row as _, Sqlite, Type};
use std::path::{Path, PathBuf};

/// A statement in the words of each database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl From<&'static str> for Sql {
    /// A statement that both understand.
    fn from(both: &'static str) -> Sql {
        Sql { sqlite: both, postgres: both }
    }
}

/// A statement on a set of values: its JSON parameter `$1` becomes the table `v`.
///
/// `set!(account_id text, at bigint => "SELECT .. FROM v ..")` takes an array of objects with these fields; fields that
/// an object lacks are NULL. `set!(account_id => "..")` takes an array of texts. On SQLite, STRICT tables check the
/// types. `v` is materialized: the JSON is read once, not once for each row that is compared with it. Join `v` first,
/// by CROSS JOIN, which keeps SQLite from walking the other table.
macro_rules! set {
    ($column:ident => $sql:expr) => {
        $crate::store::sql::Sql {
            sqlite: concat!(
                "WITH v AS MATERIALIZED (SELECT value AS ", stringify!($column), " FROM jsonb_each($1)) ", $sql
            ),
            postgres: concat!(
                "WITH v AS MATERIALIZED (SELECT ", stringify!($column), " FROM jsonb_array_elements_text($1::jsonb) AS j (",
                stringify!($column), ")) ", $sql
            ),
        }
    };
    ($column:ident $kind:ident $(, $columns:ident $kinds:ident)* => $sql:expr) => {
        $crate::store::sql::Sql {
            sqlite: concat!(
                "WITH v AS MATERIALIZED (SELECT value ->> '", stringify!($column), "' AS ", stringify!($column),
                $(", value ->> '", stringify!($columns), "' AS ", stringify!($columns),)*
                " FROM jsonb_each($1)) ", $sql
            ),
            postgres: concat!(
                "WITH v AS MATERIALIZED (SELECT * FROM jsonb_to_recordset($1::jsonb) AS j (",
                stringify!($column), " ", stringify!($kind),
                $(", ", stringify!($columns), " ", stringify!($kinds),)*
                ")) ", $sql
            ),
        }
    };
}
pub(super) use set;

/// What a statement runs on.
pub(super) enum On<'t, DB: Database> {
    /// This connection, maybe within a transaction.
    Connection(&'t mut DB::Connection),
    /// Any connection, for a statement that is complete in itself.
    Pool(&'t Pool<DB>),
}

/// A statement with its parameters, ready to run.
#[must_use = "a query does nothing until it is run"]
pub(super) enum Query<'t> {
    /// On this file.
    Sqlite(On<'t, Sqlite>, sqlx::query::Query<'t, Sqlite, SqliteArguments>, &'t Path),
    Postgres(On<'t, Postgres>, sqlx::query::Query<'t, Postgres, PgArguments>),
}

/// Why a database did not do as it was asked, and which file it is in, if it is: what SQLite says does not name it.
#[derive(Debug)]
pub(super) struct Failed {
    pub source: sqlx::Error,
    pub file: Option<PathBuf>,
}

impl Failed {
    /// What happened to `file`.
    pub fn at(file: &Path, source: sqlx::Error) -> Failed {
        Failed { source, file: Some(file.to_owned()) }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(source: sqlx::Error) -> Failed {
        Failed { source, file: None }
    }
}

/// A value that both databases take as a parameter.
pub(super) trait Value<'v>:
    Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> + Send + 'v
{
}

impl<'v, T> Value<'v> for T where
    T: Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> + Send + 'v
{
}

/// Runs `$call` on whatever the query is on.
macro_rules! run {
    ($query:expr, $call:ident) => {
        match $query {
            Query::Sqlite(on, query, file) => match on {
                On::Connection(connection) => query.$call(connection).await,
                On::Pool(pool) => query.$call(pool).await,
            }
            .map(Into::into)
            .map_err(|source| Failed::at(file, source)),
            Query::Postgres(on, query) => match on {
                On::Connection(connection) => query.$call(connection).await,
                On::Pool(pool) => query.$call(pool).await,
            }
            .map(Into::into)
            .map_err(Failed::from),
        }
    };
}

impl<'t> Query<'t> {
    /// Adds the next parameter.
    pub fn bind<'v>(self, value: impl Value<'v>) -> Query<'t> {
        match self {
            Query::Sqlite(on, query, file) => Query::Sqlite(on, query.bind(value), file),
            Query::Postgres(on, query) => Query::Postgres(on, query.bind(value)),
        }
    }

    /// Runs it for its effect.
    pub async fn execute(self) -> Result<Done, Failed> {
        run!(self, execute)
    }

    /// Its only row.
    pub async fn fetch_one(self) -> Result<Row, Failed> {
        run!(self, fetch_one)
    }

    /// All its rows.
    pub async fn fetch_all(self) -> Result<Vec<Row>, Failed> {
        run!(self, fetch_all).map(|Rows(rows)| rows)
    }

    /// Its rows one by one: what is read does not have to fit into memory.
    pub fn fetch(self) -> BoxStream<'t, Result<Row, Failed>> {
        match self {
            Query::Sqlite(on, query, file) => match on {
                On::Connection(connection) => query.fetch(connection),
                On::Pool(pool) => query.fetch(pool),
            }
            .map(move |row| row.map(Row::Sqlite).map_err(|source| Failed::at(file, source)))
            .boxed(),
            Query::Postgres(on, query) => match on {
                On::Connection(connection) => query.fetch(connection),
                On::Pool(pool) => query.fetch(pool),
            }
            .map(|row| row.map(Row::Postgres).map_err(Failed::from))
            .boxed(),
        }
    }
}

/// What a statement changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done(u64);

impl Done {
    /// How many rows.
    pub const fn rows_affected(self) -> u64 {
        self.0
    }
}

impl From<sqlx::sqlite::SqliteQueryResult> for Done {
    fn from(done: sqlx::sqlite::SqliteQueryResult) -> Done {
        Done(done.rows_affected())
    }
}

impl From<sqlx::postgres::PgQueryResult> for Done {
    fn from(done: sqlx::postgres::PgQueryResult) -> Done {
        Done(done.rows_affected())
    }
}

/// A row of either database.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value in a column, by number or name. Like sqlx's, it panics when there is no such column or the value is of
    /// another type: that is a defect of the statement beside it.
    pub fn get<'r, T>(&'r self, column: impl ColumnIndex<SqliteRow> + ColumnIndex<PgRow>) -> T
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Row::Sqlite(row) => row.get(column),
            Row::Postgres(row) => row.get(column),
        }
    }
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Row {
        Row::Sqlite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Row {
        Row::Postgres(row)
    }
}

struct Rows(Vec<Row>);

impl<T: Into<Row>> From<Vec<T>> for Rows {
    fn from(rows: Vec<T>) -> Rows {
        Rows(rows.into_iter().map(Into::into).collect())
    }
}
