//! The schema of a ledger, version by version, and what is recorded about the ledger itself.
//!
//! All migrations that are due run in one transaction, each behind the row that records it. Two processes that start at
//! once cannot both write that row: on SQLite the second waits to begin, on Postgres it waits for the row, finds it taken,
//! and sees at its next look that nothing is left to do. So no lock is needed that some engine lacks.

use super::backend::{Backend, Tx, in_write};
use super::digest::digest;
use super::place::Place;
use super::postgres::{self, Found};
use super::sql::{Query, Sql};
use super::{Meta, Result, StoreError, While, actions};
use crate::core::calendar::Instant;
use include_dir::{Dir, include_dir};
use sqlx::migrate::{Migration, MigrationType};
use std::borrow::Cow;
use std::collections::BTreeMap;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// sqlx's own table, so that its tools can look at a ledger, too.
const MAKE_APPLIED: Sql = Sql {
    sqlite: "CREATE TABLE _sqlx_migrations (
                 version BIGINT PRIMARY KEY, description TEXT NOT NULL,
                 installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
                 checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    postgres: "CREATE TABLE _sqlx_migrations (
                   version BIGINT PRIMARY KEY, description TEXT NOT NULL,
                   installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL,
                   checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)",
};

/// A migration waits for another process to be done with its own, and takes the time it takes.
const PATIENCE: &str = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";

/// Makes the tables and writes what `init` records and the default action credit matrix: all or nothing.
pub(super) async fn create(backend: &Backend, place: &Place, meta: Meta) -> Result<()> {
    in_write!(backend, "committing a new ledger", |tx| {
        if let Tx::Postgres(_) = tx {
            match postgres::look(tx.query(postgres::LOOK)).await? {
                Found::Nothing => {}
                Found::Ledger => return Err(StoreError::Exists { place: place.clone() }),
                Found::Other(tables) => return Err(StoreError::NotEmpty { place: place.clone(), tables }),
            }
        }
        tx.query(MAKE_APPLIED).execute().await.while_("making the tables of a new ledger")?;
        apply(tx, place).await?;
        for (name, value) in
            [("created_at", meta.created_at.to_string()), ("sandbox", u8::from(meta.sandbox).to_string())]
        {
            let digest = digest!(name, value);
            let insert = tx.query("INSERT INTO meta (name, value, digest) VALUES ($1, $2, $3)");
            insert.bind(name).bind(value).bind(digest).execute().await.while_("writing what the ledger is")?;
        }
        actions::insert_defaults(tx).await
    })
}

/// Brings the schema of a ledger up to date.
pub(super) async fn migrate(backend: &Backend, place: &Place) -> Result<()> {
    if due(applied(backend.query(READ_APPLIED)).await?, backend.migrations(), place)?.is_empty() {
        return Ok(());
    }
    in_write!(backend, "committing the ledger's schema", |tx| {
        if let Tx::Postgres(_) = tx {
            tx.run_script(PATIENCE).await.while_("preparing to bring the schema up to date")?;
        }
        apply(tx, place).await
    })
}

/// The schema of a ledger, and the one that this program knows. Each is the number of its last migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What the ledger has.
    pub found: i64,
    /// What this program brings it to.
    pub known: i64,
    /// How many migrations that takes.
    pub due: usize,
}

/// Looks at the schema.
pub(super) async fn look(backend: &Backend, place: &Place) -> Result<Schema> {
    let (applied, known) = (applied(backend.query(READ_APPLIED)).await?, backend.migrations());
    let found = applied.last_key_value().map_or(0, |(version, _)| *version);
    let newest = known.last().map_or(0, |migration| migration.version);
    Ok(Schema { found, known: newest, due: due(applied, known, place)?.len() })
}

/// Whether the schema is the one that this program knows: another may have brought it on meanwhile.
pub(super) async fn check(backend: &Backend, place: &Place) -> Result<()> {
    due(applied(backend.query(READ_APPLIED)).await?, backend.migrations(), place).map(drop)
}

/// What `init` recorded.
pub(super) async fn read_meta(backend: &Backend, place: &Place) -> Result<Meta> {
    let mut meta = Meta { created_at: Instant::MIN, sandbox: false };
    let rows = backend.query("SELECT name, value FROM meta").fetch_all().await.while_("reading what the ledger is")?;
    if rows.is_empty() {
        return Err(StoreError::Missing { place: place.clone() });
    }
    for row in rows {
        let value: &str = row.get(1);
        match row.get::<&str>(0) {
            "created_at" => meta.created_at = Instant::parse(value)?,
            "sandbox" => meta.sandbox = value == "1",
            _ => {}
        }
    }
    Ok(meta)
}

const READ_APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";

async fn applied(query: Query<'_>) -> Result<BTreeMap<i64, Vec<u8>>> {
    let rows = query.fetch_all().await.while_("reading the schema's version")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The migrations that are not applied yet, when those that are, are the ones this program knows.
fn due(applied: BTreeMap<i64, Vec<u8>>, mut known: Vec<Migration>, place: &Place) -> Result<Vec<Migration>> {
    let newest = known.last().map_or(0, |migration| migration.version);
    if let Some((&found, _)) = applied.last_key_value().filter(|(found, _)| **found > newest) {
        return Err(StoreError::Newer { found, known: newest });
    }
    let is_same = |(version, checksum): (&i64, &Vec<u8>)| {
        known.iter().any(|migration| migration.version == *version && *migration.checksum == **checksum)
    };
    if let Some((&version, _)) = applied.iter().find(|one| !is_same(*one)) {
        return Err(StoreError::Changed { place: place.clone(), version });
    }
    known.retain(|migration| !applied.contains_key(&migration.version));
    Ok(known)
}

/// Applies what is due, each behind its row: whoever comes second waits here.
async fn apply(tx: &mut Tx, place: &Place) -> Result<()> {
    for migration in due(applied(tx.query(READ_APPLIED)).await?, tx.migrations(), place)? {
        tx.query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ($1, $2, TRUE, $3, 0)",
        )
        .bind(migration.version)
        .bind(migration.description.as_ref())
        .bind(migration.checksum.as_ref())
        .execute()
        .await
        .while_("recording a version of the schema")?;
        tx.run_script(migration.sql).await.while_("bringing the schema up to date")?;
    }
    Ok(())
}

/// The migrations of one database, oldest first.
fn read(folder: &str) -> Vec<Migration> {
    let files = MIGRATIONS.get_dir(folder).map(Dir::files).into_iter().flatten();
    let mut migrations: Vec<Migration> = files
        .filter_map(|file| {
            let (version, name) = file.path().file_stem()?.to_str()?.split_once('_')?;
            let sql = sqlx::SqlSafeStr::into_sql_str(file.contents_utf8()?);
            let name = Cow::Owned(name.replace('_', " "));
            Some(Migration::new(version.parse().ok()?, name, MigrationType::Simple, sql, false))
        })
        .collect();
    migrations.sort_by_key(|migration| migration.version);
    migrations
}

impl Backend {
    fn migrations(&self) -> Vec<Migration> {
        match self {
            Backend::Sqlite { .. } => read("sqlite"),
            Backend::Postgres { .. } => read("postgres"),
        }
    }
}

impl Tx {
    /// The schema's versions, as this program knows them.
    pub fn migrations(&self) -> Vec<Migration> {
        match self {
            Tx::Sqlite(..) => read("sqlite"),
            Tx::Postgres(_) => read("postgres"),
        }
    }
}
