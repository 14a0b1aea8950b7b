//! Why the store could not answer, in words for the person who reads them.

use super::place::Place;
use super::sql::Failed;
use super::sqlite::BUSY_TIMEOUT;
use crate::core::calendar::BadTime;
use crate::core::ids::{AccountId, BadName};
use crate::core::outbox::BadMessage;
use crate::core::schedule::{Job, Slot};
use crate::core::statement::ReportError;
use std::path::{Path, PathBuf};

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
    #[error(
        "{place}: the ledger cannot be made there: {source}. Make its folder, or give the user that runs creditd \
         permission to write to it; or name another file in database_url"
    )]
    Create {
        /// Where.
        place: Place,
        /// Why.
        source: std::io::Error,
    },
    /// What was decided for a part of a run is not written: the process was held up, and another has taken over.
    #[error("{job}: another process has taken over what this one did of {slot}; nothing was written")]
    LeaseLost {
        /// The job.
        job: Job,
        /// The slot.
        slot: Slot,
    },
    /// While a version of a statement was worded, an earlier one may have begun to leave, or somebody wrote the same one.
    #[error(
        "a statement may have left, or another was written, while a version of it was worded; nothing was written, do it again"
    )]
    Overtaken,
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
    /// A message that no mail can be made of.
    #[error(transparent)]
    Message(#[from] BadMessage),
    /// A stored value cannot be what it says.
    #[error("the ledger holds a value that creditd did not write: {0}; run `creditd verify`")]
    Corrupt(String),
    /// The file cannot be opened, read or written, whatever is in it.
    #[error("the ledger {} {} (while {doing}: {source}). {}", file.display(), trouble.what(), trouble.next(file))]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        trouble: Trouble,
        /// What was being done.
        doing: &'static str,
        /// What SQLite or the system said.
        source: sqlx::Error,
    },
    /// The database said no.
    #[error("the database failed while {doing}: {source}{}", if stood_still(source) { STOOD_STILL } else { "" })]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// The task that did the work ended without an answer. By its key, the call finds what was done.
    #[error("the work on the ledger was interrupted; repeat the call under the same key")]
    Interrupted,
    /// A call is about a row that is in the sealed files alone, and they do not have it.
    #[error(
        "the call is about a row of {account} that is in the sealed files alone, and these cannot be read: {why}. Nothing was written"
    )]
    Recall {
        /// Whose.
        account: AccountId,
        /// Why not.
        why: String,
    },
    /// One cause for several calls.
    #[error(transparent)]
    Shared(#[from] std::sync::Arc<StoreError>),
    /// A value could not be encoded for the database.
    #[error("a value could not be encoded for the database: {0}")]
    Encode(#[from] serde_json::Error),
}

impl StoreError {
    /// The same of the ledger at `path`, of which a copy was looked at.
    #[must_use]
    pub fn of_original(self, path: &Path) -> StoreError {
        let place = Place::File(path.to_owned());
        match self {
            StoreError::NotALedger { .. } => StoreError::NotALedger { place },
            StoreError::Changed { version, .. } => StoreError::Changed { place, version },
            StoreError::File { trouble, doing, source, .. } => {
                StoreError::File { file: path.to_owned(), trouble, doing, source }
            }
            other => other,
        }
    }
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

impl<T, E: Into<Failed>> While<T> for std::result::Result<T, E> {
    fn while_(self, doing: &'static str) -> Result<T> {
        let why = |Failed { source, file }| match code_of(&source).as_deref() {
            // SQLITE_BUSY and its extended codes after the busy timeout; lock_not_available after the lock timeout.
            Some("5" | "261" | "517" | "55P03") => StoreError::Locked,
            None if matches!(source, sqlx::Error::PoolTimedOut) => StoreError::NoConnection,
            _ => match file.and_then(|file| Some((file, Trouble::of(&source)?))) {
                Some((file, trouble)) => StoreError::File { file, trouble, doing, source },
                None => StoreError::Sql { doing, source },
            },
        };
        self.map_err(|error| why(error.into()))
    }
}

/// What is wrong with the file of a ledger, or with the disk below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It, its folder or its disk is read-only to this user.
    ReadOnly,
    /// It or a file beside it cannot be opened or made.
    NotOpened,
    /// It was moved or deleted while it was open.
    Moved,
    /// There is no room for it.
    Full,
    /// The disk failed.
    Disk,
    /// What stands in it is not what SQLite wrote.
    Damaged,
}

impl Trouble {
    fn of(error: &sqlx::Error) -> Option<Trouble> {
        const READONLY_DBMOVED: u32 = 1032;
        if let sqlx::Error::Io(_) = error {
            return Some(Trouble::NotOpened);
        }
        let code: u32 = code_of(error)?.parse().ok()?;
        // The low byte is what happened, the others say to what.
        match (code, code & 0xff) {
            (READONLY_DBMOVED, _) => Some(Trouble::Moved),
            (_, 8) => Some(Trouble::ReadOnly),
            (_, 11) => Some(Trouble::Damaged),
            (_, 10) => Some(Trouble::Disk),
            (_, 13) => Some(Trouble::Full),
            (_, 14) => Some(Trouble::NotOpened),
            _ => None,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Trouble::ReadOnly => "cannot be written",
            Trouble::NotOpened => "cannot be opened",
            Trouble::Moved => "was moved or deleted while it was open",
            Trouble::Full => "has no room left",
            Trouble::Disk => "could not be read or written",
            Trouble::Damaged => "is damaged",
        }
    }

    fn next(self, file: &Path) -> String {
        let file = file.display();
        match self {
            Trouble::ReadOnly | Trouble::NotOpened => format!(
                "SQLite keeps the files {file}-wal and {file}-shm beside it, also to read: give the user that runs \
                 creditd permission to write to it, to these and to their folder"
            ),
            Trouble::Moved => "Nothing was written: put it back or name its place in database_url, and start creditd \
                               again"
                .to_owned(),
            Trouble::Full => "Free space on its disk, and on that of temporary files, and run it again: what was \
                              committed stays, and an import that is run again goes on where it was"
                .to_owned(),
            Trouble::Disk => {
                "See whether its disk has room and works, and run it again: what was committed stays, and \
                              an import that is run again goes on where it was. `creditd verify` says whether the \
                              ledger is whole"
                    .to_owned()
            }
            Trouble::Damaged => format!(
                "Stop creditd, keep the file as it is with {file}-wal and {file}-shm, and put a backup in its place that \
                 `creditd db restore-check` finds well"
            ),
        }
    }
}

/// What is said beside it where the server gave up a transaction, as nothing came for long.
const STOOD_STILL: &str = ". This process stood still for long, as one that was suspended does: nothing of this step was written, do it again";

/// idle_in_transaction_session_timeout.
fn stood_still(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some("25P03")
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
            // The server went away: shut down, crashed, or not yet up; or it gave up a transaction in which this process stood
            // still. Whether a commit under way was done is unknown, but every unit finds by its keys what was.
            Some("57P01" | "57P02" | "57P03" | "25P03" | "08000" | "08003" | "08006") => true,
            Some(_) => false,
            None => matches!(source, sqlx::Error::Io(_)),
        }
    }

    /// Whether it is about what one call asks or what one account has, so that others may do better alone.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            StoreError::Corrupt(_) | StoreError::Encode(_) | StoreError::Recall { .. } => true,
            // Not every page is damaged.
            StoreError::File { trouble: Trouble::Damaged, .. } => true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::store::backend::Backend;
    use crate::store::{Meta, Store};

    /// A ledger whose only connection that writes was told `pragma`; what writing says then, and the ledger.
    async fn said_after(path: &std::path::Path, pragma: &'static str) -> (String, Store) {
        let meta = Meta { created_at: Instant::from_micros(0), sandbox: true };
        let store = Store::create(&format!("sqlite://{}", path.display()), meta).await.expect("a new ledger");
        let Backend::Sqlite { writer, .. } = &store.backend else { panic!("this is SQLite") };
        sqlx::raw_sql(pragma).execute(writer).await.expect("a setting");
        let error = fill(&store).await.expect_err("it cannot be written");
        assert!(!error.is_about_data() && !error.is_passing(), "{error:?}");
        (error.to_string().replace(&path.display().to_string(), "FILE"), store)
    }

    /// Writes more than there is room for in the pages of an empty ledger.
    async fn fill(store: &Store) -> Result<()> {
        let mut tx = store.backend.begin().await?;
        let long = "x".repeat(1_000_000);
        let insert = tx.query("INSERT INTO meta (name, value, digest) VALUES ('long', $1, 0)");
        insert.bind(long).execute().await.while_("writing much")?;
        tx.commit().await.while_("committing much")
    }

    #[tokio::test]
    async fn a_full_disk_is_named_with_its_ledger_and_leaves_it_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (said, store) = said_after(&folder.path().join("creditd.db"), "PRAGMA max_page_count = 1").await;
        assert_eq!(
            said,
            "the ledger FILE has no room left (while writing much: error returned from database: (code: 13) database or \
             disk is full). Free space on its disk, and on that of temporary files, and run it again: what was committed \
             stays, and an import that is run again goes on where it was"
        );
        let Backend::Sqlite { writer, .. } = &store.backend else { panic!("this is SQLite") };
        sqlx::raw_sql("PRAGMA max_page_count = 100000").execute(writer).await.expect("room");
        fill(&store).await.expect("the same process goes on");
    }

    #[tokio::test]
    async fn a_ledger_that_cannot_be_written_is_named_with_what_it_needs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("creditd.db");
        let (said, store) = said_after(&path, "PRAGMA query_only = ON").await;
        assert_eq!(
            said,
            "the ledger FILE cannot be written (while beginning a write: error returned from database: (code: 8) attempt to \
             write a readonly database). SQLite keeps the files FILE-wal and FILE-shm beside it, also to read: give the \
             user that runs creditd permission to write to it, to these and to their folder"
        );
        store.close().await;
        // What SQLite cannot open beside it, whoever runs the test.
        let wal = folder.path().join("creditd.db-wal");
        let _ = std::fs::remove_file(&wal);
        std::fs::create_dir(&wal).expect("a folder in place of the file");
        let error = Store::open(&format!("sqlite://{}", path.display())).await.expect_err("it cannot be opened");
        let said = error.to_string().replace(&path.display().to_string(), "FILE");
        assert!(said.starts_with("the ledger FILE cannot be opened (while opening the ledger: "), "{said}");
        assert!(said.contains("(code: 14)") && said.contains("FILE-shm"), "{said}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_by_the_low_byte() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Code(u32);
        impl sqlx::error::DatabaseError for Code {
            fn message(&self) -> &str {
                ""
            }
            fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
                Some(self.0.to_string().into())
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
            fn kind(&self) -> sqlx::error::ErrorKind {
                sqlx::error::ErrorKind::Other
            }
        }
        for (code, trouble) in [
            (8, Some(Trouble::ReadOnly)),
            (1544, Some(Trouble::ReadOnly)),
            (1032, Some(Trouble::Moved)),
            (14, Some(Trouble::NotOpened)),
            (270, Some(Trouble::NotOpened)),
            (13, Some(Trouble::Full)),
            (10, Some(Trouble::Disk)),
            (778, Some(Trouble::Disk)),
            (4874, Some(Trouble::Disk)),
            (11, Some(Trouble::Damaged)),
            (267, Some(Trouble::Damaged)),
            (2067, None),
        ] {
            assert_eq!(Trouble::of(&sqlx::Error::Database(Box::new(Code(code)))), trouble, "{code}");
        }
    }
}
