//! `creditd db`: the ledger's database as such: how it stands, its schema, a backup and whether that can be restored.

use super::Context;
use super::exit::{Exit, Failure};
use super::files::sync_folder_of;
use super::output::Cell;
use crate::app::{App, free_bytes};
use crate::clock::Clock;
use crate::config::Settings;
use crate::core::counting::{counted, counted_do, grouped};
use crate::jobs::verify::{Proof, prove};
use crate::jobs::{JobError, Run, plan_due};
use crate::store::{Place, Schema, Store, StoreError};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Lines of what is wrong with a file's structure that are shown.
const BROKEN_LINES_MAX: u32 = 20;

/// The database of the ledger: status, migrate, backup, restore-check
#[derive(Debug, clap::Subcommand)]
pub(super) enum Db {
    /// Show where the ledger is, what it is kept by, its schema and its size
    Status,
    /// Bring the schema up to date, as every command does that opens the ledger
    Migrate,
    /// Write a copy of the ledger to a new file while it is in use, and check it
    ///
    /// For a ledger in a file. That of a Postgres server is backed up by pg_dump or by what the server has for it: the
    /// command says how.
    Backup {
        /// The new file; one that is there is left as it is
        file: PathBuf,
    },
    /// Check that a backup could be put in place of the ledger: its structure, its schema, every figure, what it would do
    ///
    /// It looks at a copy, so the backup stays as it is.
    RestoreCheck {
        /// The backup
        file: PathBuf,
    },
}

impl Db {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Db::Status => status(context).await,
            Db::Migrate => migrate(context).await,
            Db::Backup { file } => backup(context, &file).await,
            Db::RestoreCheck { file } => restore_check(context, &file).await,
        }
    }
}

async fn status(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let (store, Schema { found, known, due }) = Store::open_as_it_is(&settings.database_url).await?;
    let version = store.database_version().await;
    let bytes = store.place().file().and_then(|file| std::fs::metadata(file).ok()).map(|file| file.len());
    let meta = store.meta();
    let place = store.place().to_string();
    store.close().await;
    context.show(
        "creditd.db-status/1",
        &[
            ("ledger", Cell::Text(place)),
            ("database", Cell::Text(version?)),
            ("schema", Cell::Int(found)),
            ("schema_known", Cell::Int(known)),
            ("migrations_due", Cell::Int(i64::try_from(due).unwrap_or(i64::MAX))),
            ("file_bytes", bytes.and_then(|bytes| i64::try_from(bytes).ok()).map_or(Cell::Null, Cell::Int)),
            ("created_at", meta.created_at.into()),
            ("sandbox", meta.sandbox.into()),
        ],
    )
}

async fn migrate(context: &Context) -> Result<(), Failure> {
    let settings = context.settings()?;
    let (store, before) = Store::open_as_it_is(&settings.database_url).await?;
    store.close().await;
    if before.due > 0 {
        Store::open(&settings.database_url).await?.close().await;
    }
    context.show(
        "creditd.db-migrate/1",
        &[("schema_before", Cell::Int(before.found)), ("schema", Cell::Int(before.known))],
    )
}

async fn backup(context: &Context, path: &Path) -> Result<(), Failure> {
    let settings = context.settings()?;
    if let place @ Place::Server { host, port, database } = &Place::of(&settings.database_url)? {
        let what = format!(
            "the ledger is in {place}: a server's databases are backed up by its own programs, such as\n  \
             pg_dump --format=custom --host={host} --port={port} --dbname={database} --file={}\n\
             docs/operations.md says more",
            path.display()
        );
        return Err(Failure::message(Exit::Refused, what));
    }
    let exists = || StoreError::Exists { place: Place::File(path.to_owned()) };
    if path.exists() {
        return Err(Failure::message(
            Exit::Conflict,
            format!("{} is there already and was left as it is", path.display()),
        ));
    }
    let (store, schema) = Store::open_as_it_is(&settings.database_url).await?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let not_made = || format!("the backup {} was not made", path.display());
    let unfinished =
        tempfile::Builder::new().prefix(super::files::UNFINISHED).tempdir_in(folder).with_context(not_made)?;
    let copy = unfinished.path().join("ledger.db");
    let copied = store.copy_to(&copy).await;
    store.close().await;
    copied?;
    let url = format!("sqlite://{}", copy.display());
    let (copied, _) = Store::open_as_it_is(&url).await?;
    let broken = copied.broken_pages(BROKEN_LINES_MAX).await;
    let newest = copied.newest_row_at().await;
    // An older schema knows of none.
    let has_dropped = copied.openings(None).await.is_ok_and(|openings| !openings.is_empty());
    copied.close().await;
    let broken = broken?;
    if !broken.is_empty() {
        return Err(Failure::message(Exit::Failure, format!("{}: {}", not_made(), broken.join("; "))));
    }
    private(&copy).with_context(not_made)?;
    let bytes = std::fs::metadata(&copy).with_context(not_made)?.len();
    match tempfile::TempPath::try_from_path(copy).with_context(not_made)?.persist_noclobber(path) {
        Ok(()) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists().into()),
        Err(error) => return Err(anyhow::Error::from(error.error).context(not_made()).into()),
    }
    sync_folder_of(path);
    if has_dropped {
        context.say(format_args!(
            "Rows that have left the ledger are in {} alone: back that folder up, too, after this file.",
            settings.sealed.dir.display()
        ));
    }
    context.show(
        "creditd.db-backup/1",
        &[
            ("backup", Cell::Text(path.display().to_string())),
            ("bytes", i64::try_from(bytes).map_or(Cell::Null, Cell::Int)),
            ("schema", Cell::Int(schema.found)),
            ("newest_row_at", newest?.map_or(Cell::Null, Cell::from)),
        ],
    )
}

/// What is in a ledger is its owner's alone; and a backup that is announced is on disk.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    std::fs::File::open(path)?.sync_all()
}

async fn restore_check(context: &Context, path: &Path) -> Result<(), Failure> {
    let settings = context.settings()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let not_checked = || format!("the backup {} was not checked", path.display());
    let bytes = std::fs::metadata(path).with_context(not_checked)?.len();
    let free = free_bytes(folder).with_context(not_checked)?;
    if free < bytes {
        let what = format!(
            "{}: a copy of it is looked at, which needs {} bytes beside it, and {} are free",
            not_checked(),
            grouped(bytes),
            grouped(free)
        );
        return Err(Failure::message(Exit::Failure, what));
    }
    let unfinished =
        tempfile::Builder::new().prefix(super::files::UNFINISHED).tempdir_in(folder).with_context(not_checked)?;
    let copy = unfinished.path().join("ledger.db");
    let (from, to) = (path.to_owned(), copy.clone());
    tokio::task::spawn_blocking(move || std::fs::copy(from, to)).await?.with_context(not_checked)?;
    let url = format!("sqlite://{}", copy.display());
    // What is wrong is wrong with the backup: nobody knows the copy, which is gone by then.
    let of_backup = |error: StoreError| error.of_original(path);
    let (as_it_is, schema) = Store::open_as_it_is(&url).await.map_err(of_backup)?;
    let broken = as_it_is.broken_pages(BROKEN_LINES_MAX).await;
    as_it_is.close().await;
    let broken = broken?;
    if !broken.is_empty() {
        return Err(Failure::message(Exit::Failure, format!("{} is damaged: {}", path.display(), broken.join("; "))));
    }
    let store = Store::open(&url).await.map_err(of_backup)?;
    let checked = look_into(context, &settings, &store, schema, path).await;
    store.close().await;
    checked
}

/// The figures, and what would be due.
async fn look_into(
    context: &Context,
    settings: &Settings,
    store: &Store,
    schema: Schema,
    path: &Path,
) -> Result<(), Failure> {
    // It may be older than a clock that was set, or no sandbox: what is due is asked of the time that it is.
    let clock = if store.meta().sandbox { context.clock() } else { Clock::System };
    let app = App::new(settings.clone(), store.clone(), clock)?;
    let progress = context.progress("verifying");
    let mut report = progress.report();
    let mut run = Run { dry_run: true, progress: &mut report, stop: context.stop.clone() };
    let proved = prove(&app, None, &mut run).await;
    drop(report);
    drop(progress);
    let Proof { checks, drifts } = match proved {
        Err(JobError::Stopped) => return Err(Failure::new(Exit::Interrupted, JobError::Stopped)),
        proved => proved?,
    };
    let mut due = Vec::new();
    for schedule in crate::config::schedules::load(settings.cron.dir.as_deref())? {
        let planned = plan_due(&app, &schedule).await?;
        let slots = planned.slots.len() + planned.capped;
        if slots > 0 {
            due.push(format!("{} ({})", schedule.job, counted(slots as u64, "slot")));
        }
    }
    let figures = store.figures().await?;
    context.show(
        "creditd.db-restore-check/1",
        &[
            ("backup", Cell::Text(path.display().to_string())),
            ("schema", Cell::Int(schema.found)),
            ("migrations_due", Cell::Int(i64::try_from(schema.due).unwrap_or(i64::MAX))),
            ("accounts", Cell::Int(i64::try_from(store.count_accounts().await?).unwrap_or(i64::MAX))),
            ("transactions", Cell::Int(i64::try_from(store.count_transactions().await?).unwrap_or(i64::MAX))),
            ("newest_row_at", figures.newest_row_at.map_or(Cell::Null, Cell::from)),
            ("checks", Cell::Int(i64::try_from(checks).unwrap_or(i64::MAX))),
            ("differences", Cell::Int(i64::try_from(drifts.len()).unwrap_or(i64::MAX))),
            ("messages_waiting", Cell::Int(i64::try_from(figures.waiting).unwrap_or(i64::MAX))),
            ("due_at_start", Cell::Text(due.join(", "))),
        ],
    )?;
    match drifts.first() {
        None => {
            context.say("It can be put in place of the ledger.");
            Ok(())
        }
        Some(drift) => {
            let what = format!(
                "{} from what the transactions say, first {}: {}: {}",
                counted_do(drifts.len() as u64, "figure", "differ"),
                drift.check,
                drift.account,
                drift.what
            );
            Err(Failure::message(Exit::Failure, what))
        }
    }
}
