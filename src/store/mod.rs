//! The only user of sqlx: how creditd's values are stored, on SQLite or Postgres.
//!
//! Methods are use cases, not tables. A database transaction begins and ends inside one method; what must be decided
//! within it is a pure closure that the caller hands in ([`Store::update`]). The store decides nothing by itself, and
//! nothing but the store inserts a transaction.
//!
//! The database url alone chooses between the two. The same code serves both: what differs is the text of some statements
//! (`sql`), what a transaction is (`backend`), and how a ledger is opened (`sqlite`, `postgres`).
//!
//! No value ever becomes part of a statement's text. Sets of values go in as parameters, so a batch costs a handful of
//! statements, however many rows it has.

mod accounts;
mod actions;
mod admins;
mod alerts;
mod apply;
mod asked;
mod backend;
mod backfills;
mod backup;
mod batch;
mod bulk;
mod checkpoints;
mod contents;
mod copied;
mod delivery;
mod digest;
mod error;
mod figures;
mod found;
mod in_order;
mod incidents;
mod kept;
mod lately;
mod ledgers;
mod load;
mod loading;
mod log;
mod outbox;
mod outbox_asks;
mod place;
mod postgres;
mod report;
mod retention;
mod runs;
mod said;
mod schema;
mod sealed;
mod signing;
mod sql;
mod sqlite;
mod standing;
mod stated;
mod stored;
mod suppressions;
mod tables;
mod tokens;
mod transactions;
mod verify;
mod webhooks;
mod whole;

pub use accounts::{AccountRecord, NewAccount, NewFacts, Opened, Pages};
pub use admins::Admin;
pub use alerts::{AlertRecord, Looked, Scanned, Watched};
pub use asked::Holdings;
pub use backfills::{BackfillRecord, BackfillState};
pub use batch::{Batch, Gone};
pub use delivery::{Delivery, Lease, Leased};
pub use error::{Result, StoreError, Trouble};
pub use figures::{Figures, JobFigures};
pub use found::{FoundAccount, SaidTo};
pub use incidents::{Incident, Telling, Wrong};
pub use lately::{LatelyAsk, LatelySum};
pub use ledgers::{ACCOUNTS_DUE, BATCHES_AT_ONCE, Due};
pub use load::Load;
pub use log::{LogPlace, LogStretch, LogWay};
pub use outbox::{Content, IN_HAND_MAX, OutboxRecord};
pub use outbox_asks::Answered;
pub use place::Place;
pub use report::{BegunRead, RANGES_PER_READ, ReportAsk, ReportRange, ReportRead, StoredAccount, Way};
pub use retention::{Droppable, Opening};
pub use runs::{NO_BACKFILL, RunId, RunRecord, Unfinished};
pub use said::{ClosedStatement, Known, Statements, Version};
pub use schema::Schema;
pub use stated::StatementRows;
pub use suppressions::Suppression;
pub use tokens::TokenRecord;
pub use transactions::{Cursor, LogFilter};
pub use verify::{Audit, Drift, StatementSums};
pub use webhooks::{EventKey, EventState, HookEvent, HookNext, HookTry, Webhook};

use crate::core::calendar::Instant;
use backend::Backend;
use error::While;
use kept::Kept;
use runs::Fence;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

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
    backend: Backend,
    place: Place,
    meta: Meta,
    kept: Kept,
    /// The batch for which it writes, if it does so for one.
    fence: Option<Arc<Fence>>,
    /// Connections for reports that read much.
    turns: Arc<Semaphore>,
}

fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(report::REPORT_CONNECTIONS))
}

impl Store {
    /// Makes a new ledger at `url`, with the default action credit matrix: in a new file, or in an empty database that is
    /// there.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one, others when it cannot be written.
    pub async fn create(url: &str, meta: Meta) -> Result<Store> {
        let place = Place::of(url)?;
        let backend = match &place {
            Place::File(path) => sqlite::create(path).await?,
            Place::Server { .. } => postgres::connect(url).await?,
        };
        schema::create(&backend, &place, meta).await?;
        Ok(Store { backend, place, meta, kept: Kept::default(), fence: None, turns: turns() })
    }

    /// Makes an empty ledger in the new file `path` for a copy that is thrown away.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub async fn create_for_now(path: &Path, meta: Meta) -> Result<Store> {
        let (backend, place) = (sqlite::create_for_now(path).await?, Place::File(path.to_owned()));
        schema::create(&backend, &place, meta).await?;
        Ok(Store { backend, place, meta, kept: Kept::default(), fence: None, turns: turns() })
    }

    /// Opens the ledger at `url` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::Newer`] when a newer creditd wrote it.
    pub async fn open(url: &str) -> Result<Store> {
        let (backend, place) = connect(url).await?;
        schema::migrate(&backend, &place).await?;
        let meta = schema::read_meta(&backend, &place).await?;
        Ok(Store { backend, place, meta, kept: Kept::default(), fence: None, turns: turns() })
    }

    /// Opens the ledger at `url` and leaves its schema as it is, which may be one that other methods cannot work with.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_as_it_is(url: &str) -> Result<(Store, Schema)> {
        let (backend, place) = connect(url).await?;
        let schema = schema::look(&backend, &place).await?;
        let meta = schema::read_meta(&backend, &place).await?;
        Ok((Store { backend, place, meta, kept: Kept::default(), fence: None, turns: turns() }, schema))
    }

    /// Whether the database answers, and has the schema that this program knows.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a newer creditd was there meanwhile; others when it does not answer.
    pub async fn check(&self) -> Result<()> {
        schema::check(&self.backend, &self.place).await
    }

    /// Whether the database's server can be connected to within `time_max`, whatever it has to do; a file always can.
    pub async fn is_reachable(&self, time_max: Duration) -> bool {
        match &self.backend {
            Backend::Sqlite { .. } => true,
            Backend::Postgres { reader, .. } => postgres::is_reachable(reader, time_max).await,
        }
    }

    /// What `creditd init` recorded.
    #[must_use]
    pub const fn meta(&self) -> Meta {
        self.meta
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The folder of the ledger's file, which has room for what goes into it; none on a server.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        let folder = self.place.file()?.parent().filter(|folder| !folder.as_os_str().is_empty());
        Some(folder.unwrap_or(Path::new(".")))
    }

    /// Closes all connections. On SQLite that folds the write-ahead log into the database file.
    pub async fn close(&self) {
        self.backend.close().await;
    }
}

async fn connect(url: &str) -> Result<(Backend, Place)> {
    let place = Place::of(url)?;
    let backend = match &place {
        Place::File(path) => sqlite::open(path).await?,
        Place::Server { .. } => postgres::open(url, &place).await?,
    };
    Ok((backend, place))
}

/// Encodes a set of values as the one JSON parameter of a statement.
fn json<T: serde::Serialize>(values: T) -> Result<String> {
    Ok(serde_json::to_string(&values)?)
}
