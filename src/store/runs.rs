//! Runs: which slots of which jobs were executed, by whom, and what came of it (DESIGN 7).
//!
//! What a run is and who may do what of it is decided by [`Run`], which is pure: here it is loaded under a lock, changed
//! and written back, with the clock of the database, which is the same for all processes. A store that is *fenced* writes
//! nothing once the batch that it works for is somebody else's.

use super::backend::{Backend, Tx, in_write};
use super::incidents::{Telling, tell};
use super::ledgers::limit_of;
use super::sql::{Row, Sql};
use super::{Result, Store, StoreError, While};
use crate::core::calendar::Instant;
use crate::core::run::{Run, RunState};
use crate::core::schedule::{Covers, Job, Slot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs kept of a job whose slots are ticks, not periods: enough to look back over a few days, a bound on the table.
const TICK_RUNS_MAX: i64 = 2_000;
/// Unfinished runs that are looked at at once. Those beyond come when these are done.
const UNFINISHED_MAX: i64 = 1_000;

/// The slots of the schedule, where a run is of no backfill.
pub const NO_BACKFILL: i64 = 0;

/// Which run: of which job, for which slot, and of which backfill, if it is of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// The number of the backfill, or [`NO_BACKFILL`].
    pub backfill: i64,
    /// Which job.
    pub job: Job,
    /// For which slot.
    pub slot: Slot,
}

impl RunId {
    /// The run of a slot of the job's own schedule.
    #[must_use]
    pub const fn of(job: Job, slot: Slot) -> RunId {
        RunId { backfill: NO_BACKFILL, job, slot }
    }
}

/// A run as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Which.
    pub id: RunId,
    /// It.
    pub run: Run,
}

/// Runs that are not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Those that are under way, and those that failed and are to be tried again; the oldest first.
    pub runs: Vec<RunRecord>,
    /// What the database's clock showed.
    pub clock: Instant,
}

/// A batch for which something is written.
#[derive(Debug)]
pub(super) struct Fence {
    id: RunId,
    term: u32,
}

macro_rules! columns {
    () => {
        "backfill, job, slot, state, attempts, started_at, finished_at, retry_at, outcome, progress"
    };
}
pub(super) use columns;

/// One run and the clock. Nobody else changes it until the transaction ends.
const RUN: Sql = Sql {
    sqlite: concat!(
        "SELECT ",
        columns!(),
        ", CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM runs WHERE backfill = $1 AND job = $2 AND slot = $3"
    ),
    postgres: concat!(
        "SELECT ",
        columns!(),
        ", CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM runs
          WHERE backfill = $1 AND job = $2 AND slot = $3 FOR UPDATE"
    ),
};
/// The same for those who look whether they may write: as many as like, and nobody changes it meanwhile.
const RUN_SHARED: Sql = Sql {
    sqlite: RUN.sqlite,
    postgres: concat!(
        "SELECT ",
        columns!(),
        ", CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM runs
          WHERE backfill = $1 AND job = $2 AND slot = $3 FOR SHARE"
    ),
};
const CLOCK: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    postgres: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
};

/// The time of the database.
pub(super) async fn clock(tx: &mut Tx) -> Result<Instant> {
    let row = tx.query(CLOCK).fetch_one().await.while_("reading the database's clock")?;
    Ok(Instant::from_micros(row.get(0)))
}

impl Fence {
    /// Whether what is decided for the batch may still be written, which nobody changes until `tx` ends.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when it may not.
    pub async fn check(&self, tx: &mut Tx) -> Result<()> {
        match read(tx, RUN_SHARED, self.id).await? {
            Some((run, clock)) if run.holds(self.term, clock) => Ok(()),
            _ => Err(StoreError::LeaseLost { job: self.id.job, slot: self.id.slot }),
        }
    }
}

impl Store {
    /// The same ledger for whoever does the batch of `term`: it writes as long as the batch is theirs.
    #[must_use]
    pub fn fenced(&self, id: RunId, term: u32) -> Store {
        Store { fence: Some(Arc::new(Fence { id, term })), ..self.clone() }
    }

    /// The clock by which leases are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clock(&self) -> Result<Instant> {
        clock(&mut self.read().await?).await
    }

    /// Writes a run that is not there yet. False when it is.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn begin_run(&self, id: RunId, now: Instant) -> Result<bool> {
        let run = Run::begin(now);
        in_write!(self, "committing a run", |tx| {
            let is_new = insert(tx, id, &run).await?;
            if id.job.covers() == Covers::Tick {
                tx.query(
                    "DELETE FROM runs WHERE backfill = 0 AND job = $1 AND slot_at <= (
                         SELECT slot_at FROM runs WHERE backfill = 0 AND job = $1 ORDER BY slot_at DESC LIMIT 1 OFFSET $2)",
                )
                .bind(id.job.as_str())
                .bind(TICK_RUNS_MAX)
                .execute()
                .await
                .while_("forgetting old runs")?;
            }
            Ok(is_new)
        })
    }

    /// Lets `change` change a run, by the clock of the database, and writes what it has become, with what the operators are to
    /// be told. `None` when there is no such run.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn change_run<'t, R: Send>(
        &self,
        id: RunId,
        mut change: impl FnMut(&mut Run, Instant) -> (R, Option<&'t Telling>) + Send,
    ) -> Result<Option<R>> {
        in_write!(self, "committing a run", |tx| {
            let Some((mut run, clock)) = read(tx, RUN, id).await? else { return Ok(None) };
            let before = run.clone();
            let (answer, telling) = change(&mut run, clock);
            if run != before {
                update(tx, id, &run).await?;
            }
            if let Some(telling) = telling {
                tell(tx, telling).await?;
            }
            Ok(Some(answer))
        })
    }

    /// When a run was begun last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_run_at(&self) -> Result<Option<Instant>> {
        let row = self.query("SELECT max(started_at) FROM runs").fetch_one().await;
        Ok(row.while_("looking for the newest run")?.get::<Option<i64>>(0).map(Instant::from_micros))
    }

    /// The runs that are under way, those of backfills included, and those of schedules that failed and are tried again at `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unfinished_runs(&self, now: Instant) -> Result<Unfinished> {
        const UNFINISHED: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE state IN ('running', 'failed') AND (state = 'running' OR (backfill = 0 AND retry_at <= $1))
               ORDER BY slot_at, job, slot LIMIT $2"
        );
        let clock = self.clock().await?;
        let rows = self.query(UNFINISHED).bind(now.micros()).bind(UNFINISHED_MAX).fetch_all().await;
        let runs = rows.while_("looking for runs that are not over")?.iter().map(read_run).collect::<Result<_>>()?;
        Ok(Unfinished { runs, clock })
    }

    /// The slots of `job` that fell due at `from` or later and have a run, whatever became of it. Of a job whose slots are ticks
    /// only the newest: it does all there is to do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recorded_slots(&self, job: Job, from: Instant) -> Result<BTreeSet<Slot>> {
        let rows = self
            .query("SELECT slot FROM runs WHERE backfill = 0 AND job = $1 AND slot_at >= $2 ORDER BY slot_at DESC LIMIT $3")
            .bind(job.as_str())
            .bind(from.micros())
            .bind(if job.covers() == Covers::Tick { 1 } else { i64::MAX })
            .fetch_all()
            .await
            .while_("reading which slots have a run")?;
        rows.iter().map(|row| read_slot(row.get(0))).collect()
    }

    /// The slots of `job` that fell due at `from` or later, each with the state of its run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn slot_states(&self, job: Job, from: Instant) -> Result<Vec<(Slot, RunState)>> {
        let rows = self
            .query("SELECT slot, state FROM runs WHERE backfill = 0 AND job = $1 AND slot_at >= $2")
            .bind(job.as_str())
            .bind(from.micros())
            .fetch_all()
            .await
            .while_("reading which slots are done")?;
        rows.iter().map(|row| Ok((read_slot(row.get(0))?, read_state(row.get(1))?))).collect()
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, job: Option<Job>, state: Option<RunState>, limit: usize) -> Result<Vec<RunRecord>> {
        const RUNS: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE ($1 IS NULL OR job = $1) AND ($2 IS NULL OR state = $2)
               ORDER BY started_at DESC, backfill, job, slot LIMIT $3"
        );
        let rows = self
            .query(RUNS)
            .bind(job.map(Job::as_str))
            .bind(state.map(RunState::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing runs")?;
        rows.iter().map(read_run).collect()
    }
}

/// Begins a write for the batch of `fence`, if there is one.
pub(super) async fn begin_fenced(backend: &Backend, fence: Option<&Fence>) -> Result<Tx> {
    let mut tx = backend.begin().await?;
    if let Some(fence) = fence {
        fence.check(&mut tx).await?;
    }
    Ok(tx)
}

/// False when it is there already.
async fn insert(tx: &mut Tx, id: RunId, run: &Run) -> Result<bool> {
    let done = tx
        .query(
            "INSERT INTO runs (backfill, job, slot, slot_at, state, attempts, started_at, progress)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (backfill, job, slot) DO NOTHING",
        )
        .bind(id.backfill)
        .bind(id.job.as_str())
        .bind(id.slot.to_string())
        .bind(id.slot.due_at().micros())
        .bind(run.state.as_str())
        .bind(i64::from(run.attempts))
        .bind(run.started_at.micros())
        .bind(run.progress())
        .execute()
        .await
        .while_("recording a run")?;
    Ok(done.rows_affected() > 0)
}

async fn update(tx: &mut Tx, id: RunId, run: &Run) -> Result<()> {
    tx.query(
        "UPDATE runs SET state = $4, attempts = $5, started_at = $6, finished_at = $7, retry_at = $8, outcome = $9, progress = $10
          WHERE backfill = $1 AND job = $2 AND slot = $3",
    )
    .bind(id.backfill)
    .bind(id.job.as_str())
    .bind(id.slot.to_string())
    .bind(run.state.as_str())
    .bind(i64::from(run.attempts))
    .bind(run.started_at.micros())
    .bind(run.finished_at.map(Instant::micros))
    .bind(run.retry_at.map(Instant::micros))
    .bind(run.outcome.clone())
    .bind(run.progress())
    .execute()
    .await
    .while_("recording how far a run is")?;
    Ok(())
}

async fn read(tx: &mut Tx, sql: Sql, id: RunId) -> Result<Option<(Run, Instant)>> {
    let query = tx.query(sql).bind(id.backfill).bind(id.job.as_str()).bind(id.slot.to_string());
    let rows = query.fetch_all().await.while_("reading a run")?;
    rows.first().map(|row| Ok((read_run(row)?.run, Instant::from_micros(row.get(10))))).transpose()
}

pub(super) fn read_slot(text: &str) -> Result<Slot> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("run with slot {text:?}")))
}

fn read_state(text: &str) -> Result<RunState> {
    RunState::from_word(text).ok_or_else(|| StoreError::Corrupt(format!("run in state {text:?}")))
}

pub(super) fn read_run(row: &Row) -> Result<RunRecord> {
    let job: &str = row.get(1);
    let job = Job::from_word(job).ok_or_else(|| StoreError::Corrupt(format!("run of job {job:?}")))?;
    let id = RunId { backfill: row.get(0), job, slot: read_slot(row.get(2))? };
    let at = |column: usize| row.get::<Option<i64>>(column).map(Instant::from_micros);
    let mut run = Run::waiting(Instant::from_micros(row.get(5)));
    run.state = read_state(row.get(3))?;
    run.attempts = u32::try_from(row.get::<i64>(4)).unwrap_or(u32::MAX);
    (run.finished_at, run.retry_at, run.outcome) = (at(6), at(7), row.get(8));
    let run = match row.get::<Option<&str>>(9) {
        Some(progress) => run.with_progress(progress),
        None => Ok(run),
    };
    let run = run.map_err(|error| StoreError::Corrupt(format!("progress of the run {} of {job}: {error}", id.slot)))?;
    Ok(RunRecord { id, run })
}
