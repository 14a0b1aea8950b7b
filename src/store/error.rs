//! Why the store could not answer, in words for the person who reads them.

use super::place::Place;
use super::sqlite::BUSY_TIMEOUT;
use crate::core::calendar::BadTime;
use crate::core::ids::BadName;
use crate::core::statement::ReportError;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no ledger there yet.
    #[error("there is no ledger at {place}; `creditd init` makes one")]
    Missing {
        /// Where it was looked for.
        place: Place,
    },
    /// Its file cannot be made.
    #[error("{place}: the ledger cannot be made there: {source}")]
    Create {
        /// Where.
        place: Place,
        /// Why.
        source: std::io::Error,
    },
    /// There is one already.
    #[error("there is a ledger at {place} already; nothing was changed")]
    Exists {
        /// Where.
        place: Place,
    },
    /// The file or database is something else.
    #[error("{place} is no ledger of creditd; it was left as it is. {}", place.instead())]
    NotALedger {
        /// The file or database.
        place: Place,
    },
    /// There are tables where the ledger's were to be made.
    #[error(
        "the database {place} has {tables} table{} of something else; it was left as it is. A ledger needs an empty \
         database, or an empty schema of its own: add ?options=-csearch_path%3DSCHEMA to database_url",
        if *tables == 1 { "" } else { "s" }
    )]
    NotEmpty {
        /// The database.
        place: Place,
        /// How many tables it has.
        tables: i64,
    },
    /// The URL is of no kind that is supported.
    #[error(
        "the database url {url:?} is not supported: {what}. Use sqlite://path/to/creditd.db or postgres://user@host/database"
    )]
    Url {
        /// The url, without what may be a secret.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The database was written by a newer creditd.
    #[error("the ledger has schema {found}, this creditd knows {known}; install a newer creditd")]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The database was written by a build whose schema never was in a release.
    #[error(
        "the ledger at {place} was made by another build of creditd: its schema {version} is not schema {version} of this \
         one. It was left as it is. Use the creditd that made it, or make a new ledger with `creditd init` and import \
         the history again"
    )]
    Changed {
        /// Where.
        place: Place,
        /// The first version that differs.
        version: i64,
    },
    /// The linked SQLite is too old to be trusted.
    #[error("SQLite {found} can lose committed rows (WAL reset bug); 3.51.3 or later is needed")]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// The server does not answer.
    #[error("the database {place} cannot be reached: {source}. Check that its server runs and what database_url says")]
    Unreachable {
        /// Where it was looked for.
        place: Place,
        /// What happened.
        source: sqlx::Error,
    },
    /// The server does not let us in.
    #[error("the database {place} refuses the login: {source}. Check the user and password of database_url")]
    Credentials {
        /// Which database.
        place: Place,
        /// What it said.
        source: sqlx::Error,
    },
    /// The server has no such database.
    #[error(
        "there is no database {place}; make an empty one there (createdb), then `creditd init` makes the ledger in it"
    )]
    NoDatabase {
        /// What was looked for.
        place: Place,
    },
    /// Another process holds the write lock.
    #[error("the ledger is locked by another process for more than {} s; try again when it is done", BUSY_TIMEOUT.as_secs())]
    Locked,
    /// No connection became free, or the server went away.
    #[error(
        "no connection to the ledger could be had in time: its server is down, or this process has too much to do. Try again"
    )]
    NoConnection,
    /// Other writers got in the way each time.
    #[error(
        "others wrote to the same rows each of the {attempts} times this was tried; nothing was written. Try again"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// More than a report may read.
    #[error(transparent)]
    Report(#[from] ReportError),
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
    /// The task that did the work ended without an answer. By its key, the call finds what was done.
    #[error("the work on the ledger was interrupted; repeat the call under the same key")]
    Interrupted,
    /// One cause for several calls.
    #[error(transparent)]
    Shared(#[from] std::sync::Arc<StoreError>),
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
pub(super) trait While<T> {
    fn while_(self, doing: &'static str) -> Result<T>;
}

impl<T> While<T> for std::result::Result<T, sqlx::Error> {
    fn while_(self, doing: &'static str) -> Result<T> {
        self.map_err(|source| match code_of(&source).as_deref() {
            // SQLITE_BUSY and its extended codes after the busy timeout; lock_not_available after the lock timeout.
            Some("5" | "261" | "517" | "55P03") => StoreError::Locked,
            None if matches!(source, sqlx::Error::PoolTimedOut) => StoreError::NoConnection,
            _ => StoreError::Sql { doing, source },
        })
    }
}

/// What the database itself calls an error: an SQLSTATE, or a result code of SQLite.
pub(super) fn code_of(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

impl StoreError {
    /// Whether the same unit of work may well succeed when it is done again from its beginning.
    pub(super) fn is_passing(&self) -> bool {
        let StoreError::Sql { source, .. } = self else { return false };
        match code_of(source).as_deref() {
            // Serialization failure, deadlock: somebody else was first.
            Some("40001" | "40P01") => true,
            // Unique violation: somebody inserted the same key after we looked; the next look sees it.
            Some("23505") => true,
            // The server went away: shut down, crashed, or not yet up. Whether a commit under way was done is unknown, but
            // every unit finds by its keys what was.
            Some("57P01" | "57P02" | "57P03" | "08000" | "08003" | "08006") => true,
            Some(_) => false,
            None => matches!(source, sqlx::Error::Io(_)),
        }
    }

    /// Whether it is about what one call asks or what one account has, so that others may do better alone.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            StoreError::Corrupt(_) | StoreError::Encode(_) => true,
            StoreError::Sql { source, .. } => source.as_database_error().is_some() && !self.is_passing(),
            _ => false,
        }
    }

    /// Whether a constraint or a trigger of the schema forbids it: SQLSTATE class 23, or SQLITE_CONSTRAINT, which is the
    /// low byte of SQLite's code.
    pub(super) fn breaks_a_constraint(&self) -> bool {
        const SQLITE_CONSTRAINT: u32 = 19;
        let StoreError::Sql { source, .. } = self else { return false };
        code_of(source).is_some_and(|code| match code.len() {
            5 => code.starts_with("23"),
            _ => code.parse::<u32>().is_ok_and(|code| code & 0xff == SQLITE_CONSTRAINT),
        })
    }

    /// Whether [`StoreError::is_passing`] because the connection was lost: what was to be committed may be.
    pub(super) fn is_lost(&self) -> bool {
        self.is_passing() && !self.is_contention()
    }

    /// Whether [`StoreError::is_passing`] because of what others wrote.
    pub(super) fn is_contention(&self) -> bool {
        let StoreError::Sql { source, .. } = self else { return false };
        matches!(code_of(source).as_deref(), Some("40001" | "40P01" | "23505"))
    }
}
