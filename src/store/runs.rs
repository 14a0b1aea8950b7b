//! Runs: which slots of which jobs were executed, and what came of it (DESIGN 7); and incidents: that a job fails, which the
//! operators are told once until it is well again.

use super::backend::{Tx, in_write};
use super::ledgers::limit_of;
use super::sql::Row;
use super::{Result, Store, StoreError, While, outbox};
use crate::core::calendar::Instant;
use crate::core::outbox::Message;
use crate::core::schedule::{Covers, Job, Slot};
use crate::core::transaction::words;
use std::collections::BTreeSet;

/// Runs kept of a job whose slots are ticks, not periods: enough to look back over a few days, a bound on the table.
const TICK_RUNS_MAX: i64 = 2_000;

words! {
    /// Where a run stands.
    RunState {
        /// Being executed.
        Running = "running",
        /// Executed.
        Done = "done",
        /// Failed; it is tried again when its schedule rings next.
        Failed = "failed",
    }
}

/// A run as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Which job.
    pub job: Job,
    /// For which slot.
    pub slot: Slot,
    /// Where it stands.
    pub state: RunState,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was last begun.
    pub started_at: Instant,
    /// When it ended.
    pub finished_at: Option<Instant>,
    /// What it did, or why it failed.
    pub outcome: Option<String>,
}

/// A job that fails, whatever its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which job.
    pub job: Job,
    /// The first slot that failed.
    pub slot: Slot,
    /// When it had failed first.
    pub began_at: Instant,
    /// Why, as it was told.
    pub why: String,
}

/// What the end of a run is to the operators. The messages are written where it is so, in the same database transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// An incident begins, unless there is one of the job already.
    Begins(Incident, Vec<Message>),
    /// An incident is over, unless it was already or another slot of the job still fails.
    Ends(Incident, Vec<Message>),
}

/// What came of asking for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this process's to execute.
    Ours,
    /// It is done, or another process is at it.
    Taken,
}

impl Store {
    /// Begins the run of `slot`, unless it is done or was begun by another and is younger than `stale_before`.
    /// UNIQUE(job, slot) decides between two processes. The effects of jobs have keys of their own, so that even a run
    /// that was wrongly taken for dead acts only once.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn claim_run(&self, job: Job, slot: Slot, now: Instant, stale_before: Instant) -> Result<Claim> {
        // A claim that was written before the connection was lost is found by the next try, and is no other's.
        let mut claimed = false;
        in_write!(self.backend, "committing a run", |tx| {
            let done = tx
                .query(
                    "INSERT INTO runs (job, slot, slot_at, state, attempts, started_at)
                     VALUES ($1, $2, $3, 'running', 1, $4)
                     ON CONFLICT (job, slot) DO UPDATE
                        SET state = 'running', attempts = runs.attempts + 1, started_at = excluded.started_at,
                            finished_at = NULL, outcome = NULL
                      WHERE runs.state = 'failed' OR (runs.state = 'running' AND runs.started_at <= $5)",
                )
                .bind(job.as_str())
                .bind(slot.to_string())
                .bind(slot.due_at().micros())
                .bind(now.micros())
                .bind(stale_before.micros())
                .execute()
                .await
                .while_("claiming a run")?;
            if job.covers() == Covers::Tick {
                tx.query(
                    "DELETE FROM runs WHERE job = $1 AND slot_at <= (
                         SELECT slot_at FROM runs WHERE job = $1 ORDER BY slot_at DESC LIMIT 1 OFFSET $2)",
                )
                .bind(job.as_str())
                .bind(TICK_RUNS_MAX)
                .execute()
                .await
                .while_("forgetting old runs")?;
            }
            let found = claimed && is_claimed(tx, job, slot, now).await?;
            claimed |= done.rows_affected() > 0;
            Ok(if found || done.rows_affected() > 0 { Claim::Ours } else { Claim::Taken })
        })
    }

    /// Records how a run ended.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn finish_run(&self, job: Job, slot: Slot, state: RunState, outcome: &str, now: Instant) -> Result<()> {
        self.finish_run_and_tell(job, slot, (state, outcome), now, None).await
    }

    /// Records how a run ended, and tells the operators where it is news to them.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn finish_run_and_tell(
        &self,
        job: Job,
        slot: Slot,
        (state, outcome): (RunState, &str),
        now: Instant,
        telling: Option<&Telling>,
    ) -> Result<()> {
        in_write!(self.backend, "committing the end of a run", |tx| {
            tx.query("UPDATE runs SET state = $3, outcome = $4, finished_at = $5 WHERE job = $1 AND slot = $2")
                .bind(job.as_str())
                .bind(slot.to_string())
                .bind(state.as_str())
                .bind(outcome.to_owned())
                .bind(now.micros())
                .execute()
                .await
                .while_("recording the end of a run")?;
            match telling {
                Some(Telling::Begins(incident, messages)) if begin_incident(tx, incident).await? => {
                    outbox::insert(tx, messages).await.map(drop)
                }
                Some(Telling::Ends(incident, messages)) if end_incident(tx, incident).await? => {
                    outbox::insert(tx, messages).await.map(drop)
                }
                _ => Ok(()),
            }
        })
    }

    /// The incident of a job, while it fails.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn incident(&self, job: Job) -> Result<Option<Incident>> {
        let found = self.query("SELECT slot, began_at, why FROM incidents WHERE job = $1").bind(job.as_str());
        let found = found.fetch_all().await.while_("asking whether a job fails")?;
        let read = |row: &Row| {
            let (slot, began_at, why) = (read_slot(row.get(0))?, Instant::from_micros(row.get(1)), row.get(2));
            Ok(Incident { job, slot, began_at, why })
        };
        found.first().map(read).transpose()
    }

    /// Marks runs whose process died as failed, so that they are tried again. For the one daemon of a ledger, at start.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn fail_interrupted_runs(&self, now: Instant) -> Result<u64> {
        Ok(in_write!(self.backend, "committing interrupted runs", |tx| {
            tx.query(
                "UPDATE runs SET state = 'failed', outcome = 'its process ended before it did', finished_at = $1
                  WHERE state = 'running'",
            )
            .bind(now.micros())
            .execute()
            .await
            .while_("looking for interrupted runs")
        })?
        .rows_affected())
    }

    /// The slots of `job` that fell due at `from` or later and need nothing more: done, or being executed by a run
    /// begun after `stale_before`. Of a job whose slots are ticks only the newest: it does all there is to do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recorded_slots(&self, job: Job, from: Instant, stale_before: Instant) -> Result<BTreeSet<Slot>> {
        let rows = self
            .query(
                "SELECT slot FROM runs WHERE job = $1 AND slot_at >= $2
                    AND (state = 'done' OR (state = 'running' AND started_at > $3)) ORDER BY slot_at DESC LIMIT $4",
            )
            .bind(job.as_str())
            .bind(from.micros())
            .bind(stale_before.micros())
            .bind(if job.covers() == Covers::Tick { 1 } else { i64::MAX })
            .fetch_all()
            .await
            .while_("reading which slots are done")?;
        rows.iter().map(|row| read_slot(row.get(0))).collect()
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, job: Option<Job>, state: Option<RunState>, limit: usize) -> Result<Vec<RunRecord>> {
        let rows = self
            .query(
                "SELECT job, slot, state, attempts, started_at, finished_at, outcome FROM runs
                  WHERE ($1 IS NULL OR job = $1) AND ($2 IS NULL OR state = $2)
                  ORDER BY started_at DESC, job, slot LIMIT $3",
            )
            .bind(job.map(Job::as_str))
            .bind(state.map(RunState::as_str))
            .bind(limit_of(limit))
            .fetch_all()
            .await
            .while_("listing runs")?;
        rows.iter().map(read_run).collect()
    }
}

/// False when the job has an incident already.
async fn begin_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, slot, began_at, why } = incident;
    let done = tx
        .query("INSERT INTO incidents (job, slot, began_at, why) VALUES ($1, $2, $3, $4) ON CONFLICT (job) DO NOTHING")
        .bind(job.as_str())
        .bind(slot.to_string())
        .bind(began_at.micros())
        .bind(why.clone())
        .execute()
        .await
        .while_("recording that a job fails")?;
    Ok(done.rows_affected() > 0)
}

/// False when it is over already, or when a period of the job that has failed since is still to be done: one that is done
/// says nothing about another. A tick does all there is to do.
async fn end_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, began_at, .. } = incident;
    let done = tx
        .query(
            "DELETE FROM incidents WHERE job = $1 AND began_at = $2 AND NOT EXISTS (
                 SELECT 1 FROM runs AS r WHERE $3 = 1 AND r.job = $1
                    AND ((r.state = 'failed' AND r.finished_at >= $2)
                         OR (r.state = 'running' AND r.attempts > 1 AND r.started_at >= $2)))",
        )
        .bind(job.as_str())
        .bind(began_at.micros())
        .bind(i64::from(job.covers() != Covers::Tick))
        .execute()
        .await
        .while_("recording that a job is well again")?;
    Ok(done.rows_affected() > 0)
}

/// Whether a run that was begun at `now` is under way.
async fn is_claimed(tx: &mut Tx, job: Job, slot: Slot, now: Instant) -> Result<bool> {
    let found = tx
        .query("SELECT 1 FROM runs WHERE job = $1 AND slot = $2 AND state = 'running' AND started_at = $3")
        .bind(job.as_str())
        .bind(slot.to_string())
        .bind(now.micros())
        .fetch_all()
        .await
        .while_("looking for a claim of one's own")?;
    Ok(!found.is_empty())
}

fn read_slot(text: &str) -> Result<Slot> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("run with slot {text:?}")))
}

fn read_run(row: &Row) -> Result<RunRecord> {
    let (job, state): (&str, &str) = (row.get(0), row.get(2));
    Ok(RunRecord {
        job: Job::from_word(job).ok_or_else(|| StoreError::Corrupt(format!("run of job {job:?}")))?,
        slot: read_slot(row.get(1))?,
        state: RunState::from_word(state).ok_or_else(|| StoreError::Corrupt(format!("run in state {state:?}")))?,
        attempts: u32::try_from(row.get::<i64>(3)).unwrap_or(u32::MAX),
        started_at: Instant::from_micros(row.get(4)),
        finished_at: row.get::<Option<i64>>(5).map(Instant::from_micros),
        outcome: row.get(6),
    })
}
