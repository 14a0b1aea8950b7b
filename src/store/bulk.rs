//! Reading much at once: cells are looked at where the database has them, and none is copied on the way.
//!
//! A row of sqlx on SQLite costs several times what SQLite itself takes to find it. Where a report reads millions of them, they are
//! taken through a connection of rusqlite, which is the same SQLite under another interface, on a thread that may wait
//! for disks. Postgres hands out what is asked for without parameters by COPY, and the rest by rows of sqlx.

use super::backend::{Backend, LongRead};
use super::copied::Decoder;
use super::sql::{Failed, Row, Sql};
use super::sqlite::BUSY_TIMEOUT;
use super::{Result, Store, While};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sqlx::error::{DatabaseError, ErrorKind};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A row, as long as it is looked at.
pub(super) trait Line {
    /// The number in a column; 0 for NULL.
    fn int(&self, at: usize) -> i64;
    /// The text in a column; `None` for NULL.
    fn text(&self, at: usize) -> Option<&str>;
}

impl Line for Row {
    fn int(&self, at: usize) -> i64 {
        self.get::<Option<i64>>(at).unwrap_or_default()
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.get(at)
    }
}

impl Line for rusqlite::Row<'_> {
    fn int(&self, at: usize) -> i64 {
        match self.get_ref(at) {
            Ok(ValueRef::Integer(number)) => number,
            _ => 0,
        }
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.get_ref(at).ok()?.as_str_or_null().ok()?
    }
}

/// What statements gather, row by row.
pub(super) trait Gather: Send + 'static {
    /// Hands on what was gathered so far, where that is enough for now: whoever takes it may let one wait. Fails when nobody
    /// takes it any more.
    fn hand_on(&mut self) -> Option<BoxFuture<'static, Result<()>>> {
        None
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Text(String),
    /// A word of ours, or NULL.
    Word(Option<&'static str>),
    Int(i64),
}

/// Over what a walk goes.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub first: AccountId,
    pub last: AccountId,
    pub from: Instant,
    pub to: Instant,
    /// Over which half of the table, on Postgres; `None` for all of it.
    pub half: Option<Half>,
}

/// The blocks of a table before one, or from it on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Before(i64),
    From(i64),
}

/// A row stays in its block, for none is ever updated, and as long as both that read hold this lock, nobody can rewrite the
/// table between them (`VACUUM FULL`, `CLUSTER`).
const LOCK: &str = "LOCK TABLE transactions IN ACCESS SHARE MODE";
/// The block in the middle. Where a table is spread over other servers it may be 0: then one half has all.
const MIDDLE: &str = "SELECT pg_relation_size('transactions') / current_setting('block_size')::bigint / 2";

/// The + keeps SQLite from the index by time.
const WALK: &str = "SELECT seq, kind, occurred_at, status, reason, free_delta, purchased_delta,
            CASE CAST($1 AS TEXT) WHEN 'action' THEN action WHEN 'user' THEN user_id END, account_id
       FROM transactions
      WHERE account_id >= $2 AND account_id <= $3 AND +occurred_at >= $4 AND +occurred_at <= $5
      ORDER BY account_id, seq";

/// Statements that read at one instant and gather what they find in a `G`.
pub(super) struct Bulk<G> {
    on: On,
    gathered: G,
}

enum On {
    Sqlite(Connection, Arc<Path>),
    Postgres(LongRead),
}

impl Store {
    /// Begins to read much.
    pub(super) async fn bulk<G: Gather>(&self, gathered: G) -> Result<Bulk<G>> {
        let on = match &self.backend {
            Backend::Sqlite { file, .. } => {
                let path = Arc::clone(file);
                let opened = away(move || {
                    // One thread at a time has it: SQLite need not lock it for every cell.
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    let connection = Connection::open_with_flags(&path, flags)?;
                    connection.busy_timeout(BUSY_TIMEOUT)?;
                    connection.execute_batch("BEGIN")?;
                    Ok(connection)
                });
                On::Sqlite(
                    opened.await.map_err(|source| Failed::at(file, source)).while_("beginning to read")?,
                    Arc::clone(file),
                )
            }
            Backend::Postgres { reader, .. } => {
                On::Postgres(LongRead::begin(reader).await.while_("beginning to read")?)
            }
        };
        Ok(Bulk { on, gathered })
    }
}

impl<G: Gather> Bulk<G> {
    /// The statements that follow are about few values, for each of which rows are looked up by an index. SQLite does so anyway.
    pub async fn about_few(mut self) -> Result<Bulk<G>> {
        if let On::Postgres(read) = &mut self.on {
            read.look_up().await.while_("beginning to read")?;
        }
        Ok(self)
    }

    /// Lets `take` look at each row of a statement with these parameters.
    ///
    /// # Errors
    /// What the database says, or the first that `take` does.
    pub async fn each(
        self,
        sql: Sql,
        parameters: Vec<Parameter>,
        take: fn(&mut G, &dyn Line) -> Result<()>,
        doing: &'static str,
    ) -> Result<Bulk<G>> {
        let Bulk { on, mut gathered } = self;
        match on {
            On::Sqlite(connection, file) => {
                let read = away(move || {
                    let mut statement = connection.prepare(sql.sqlite)?;
                    for (number, parameter) in (1..).zip(parameters) {
                        match parameter {
                            Parameter::Text(text) => statement.raw_bind_parameter(number, text)?,
                            Parameter::Word(word) => statement.raw_bind_parameter(number, word)?,
                            Parameter::Int(int) => statement.raw_bind_parameter(number, int)?,
                        }
                    }
                    let mut rows = statement.raw_query();
                    let mut taken = Ok(());
                    while let Some(row) = rows.next()?
                        && taken.is_ok()
                    {
                        taken = take(&mut gathered, row);
                        if let Some(handed) = gathered.hand_on() {
                            taken = taken.and(Handle::current().block_on(handed));
                        }
                    }
                    drop(rows);
                    drop(statement);
                    Ok((connection, gathered, taken))
                });
                let (connection, gathered, taken) =
                    read.await.map_err(|source| Failed::at(&file, source)).while_(doing)?;
                taken.map(|()| Bulk { on: On::Sqlite(connection, file), gathered })
            }
            On::Postgres(read) if parameters.is_empty() => {
                Bulk { on: On::Postgres(read), gathered }.copy(sql.postgres, take, doing).await
            }
            On::Postgres(mut read) => {
                let query = read.query(sql.postgres).while_(doing)?;
                let query = parameters.into_iter().fold(query, |query, parameter| match parameter {
                    Parameter::Text(text) => query.bind(text),
                    Parameter::Word(word) => query.bind(word),
                    Parameter::Int(int) => query.bind(int),
                });
                let mut rows = query.fetch();
                while let Some(row) = rows.try_next().await.while_(doing)? {
                    take(&mut gathered, &row)?;
                    if let Some(handed) = gathered.hand_on() {
                        handed.await?;
                    }
                }
                drop(rows);
                Ok(Bulk { on: On::Postgres(read), gathered })
            }
        }
    }

    /// The halves of a walk that this and `other` can go over at once, on Postgres: its server works longer for a row than whoever
    /// takes it, and has a process for each connection.
    pub async fn halves(&mut self, other: &mut Bulk<G>) -> Result<[Half; 2]> {
        let mut middle = 0;
        for on in [&mut other.on, &mut self.on] {
            let On::Postgres(read) = on else { continue };
            let doing = "dividing a walk";
            read.query(LOCK).while_(doing)?.execute().await.while_(doing)?;
            middle = read.query(MIDDLE).while_(doing)?.fetch_one().await.while_(doing)?.get(0);
        }
        Ok([Half::Before(middle), Half::From(middle)])
    }

    /// Lets `take` look at the rows of a walk over the ledger: number, kind, when, status, reason, both changes, name by what
    /// `by` says, account. On SQLite they come in the order of accounts and numbers, in which they are kept; from Postgres in
    /// none, and of all accounts.
    ///
    /// # Errors
    /// As [`Bulk::each`].
    pub async fn walk(
        self,
        by: Option<&'static str>,
        over: Walk,
        take: fn(&mut G, &dyn Line) -> Result<()>,
        doing: &'static str,
    ) -> Result<Bulk<G>> {
        let Walk { first, last, from, to, half } = over;
        match self.on {
            On::Sqlite(..) => {
                let [first, last] = [first, last].map(|id| Parameter::Text(id.to_string()));
                let bounds =
                    [Parameter::Word(by), first, last, Parameter::Int(from.micros()), Parameter::Int(to.micros())];
                self.each(WALK.into(), bounds.into(), take, doing).await
            }
            On::Postgres(_) => {
                let name = match by {
                    Some("action") => "action",
                    Some("user") => "user_id",
                    _ => "NULL::text",
                };
                // COPY takes no parameters; these are words and numbers of ours.
                let blocks = match half {
                    None => String::new(),
                    Some(Half::Before(block)) => format!(" AND ctid < '({block},0)'"),
                    Some(Half::From(block)) => format!(" AND ctid >= '({block},0)'"),
                };
                let walk = format!(
                    "SELECT seq, kind, occurred_at, status, reason, free_delta, purchased_delta, {name}, account_id
                       FROM transactions WHERE occurred_at >= {} AND occurred_at <= {}{blocks}",
                    from.micros(),
                    to.micros()
                );
                self.copy(&walk, take, doing).await
            }
        }
    }

    /// Lets `take` look at each row that COPY hands out for `sql`, on Postgres. Numbers must be of eight bytes.
    async fn copy(self, sql: &str, take: fn(&mut G, &dyn Line) -> Result<()>, doing: &'static str) -> Result<Bulk<G>> {
        let Bulk { mut on, mut gathered } = self;
        if let On::Postgres(read) = &mut on {
            let mut decoder = Decoder::default();
            let copy = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            let mut chunks = read.copy_out(&copy).await.while_(doing)?;
            while let Some(chunk) = chunks.try_next().await.map_err(Failed::from).while_(doing)? {
                decoder.push(chunk.as_ref());
                while let Some(row) = decoder.next()? {
                    take(&mut gathered, &row)?;
                }
                if let Some(handed) = gathered.hand_on() {
                    handed.await?;
                }
            }
        }
        Ok(Bulk { on, gathered })
    }

    /// What was gathered.
    pub async fn finish(self) -> G {
        if let On::Postgres(read) = self.on {
            read.finish().await;
        }
        self.gathered
    }
}

/// Runs what waits for a disk on a thread where nobody else waits.
async fn away<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, rusqlite::Error> + Send + 'static,
) -> std::result::Result<T, sqlx::Error> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
    done.map_err(|error| sqlx::Error::Database(Box::new(Said::from(error))))
}

/// What SQLite said, as sqlx says it: with the code by which everything else in the store knows what happened.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    what: String,
}

impl From<rusqlite::Error> for Said {
    fn from(error: rusqlite::Error) -> Said {
        Said { code: error.sqlite_error().map(|error| error.extended_code), what: error.to_string() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "(code: {code}) {}", self.what),
            None => f.pad(&self.what),
        }
    }
}

impl std::error::Error for Said {}

impl DatabaseError for Said {
    fn message(&self) -> &str {
        &self.what
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.code.map(|code| code.to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
