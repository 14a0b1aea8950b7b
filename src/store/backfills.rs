//! Backfills: what was asked for, and the runs of its slots.

use super::backend::in_write;
use super::runs::{RunId, RunRecord, columns, read_run};
use super::sql::{Row, set};
use super::{Result, Store, StoreError, While, json};
use crate::core::backfill::Asked;
use crate::core::calendar::Instant;
use crate::core::run::{Run, RunState};
use crate::core::schedule::Slot;
use crate::core::transaction::words;
use serde::Serialize;
use std::collections::BTreeMap;

/// Begun runs that are looked at at once: more than that do not run side by side, and of those that failed some are enough.
const BEGUN_MAX: i64 = 200;
/// Slots that are written by one statement.
const SLOTS_AT_ONCE: usize = 10_000;

words! {
    /// Where a backfill stands.
    BackfillState {
        /// Its slots are run, or wait for their turn.
        Open = "open",
        /// None is left.
        Done = "done",
        /// A person wanted it no more.
        Cancelled = "cancelled",
    }
}

/// A backfill as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRecord {
    /// Its number, from 1.
    pub number: i64,
    /// What was asked for.
    pub asked: Asked,
    /// When.
    pub created_at: Instant,
    /// When it was over.
    pub ended_at: Option<Instant>,
    /// Where it stands.
    pub state: BackfillState,
    /// How many of its slots are in which state.
    pub slots: BTreeMap<RunState, u64>,
}

impl BackfillRecord {
    /// How many slots are in `state`.
    #[must_use]
    pub fn count(&self, state: RunState) -> u64 {
        self.slots.get(&state).copied().unwrap_or_default()
    }
}

#[derive(Serialize)]
struct NewSlot {
    slot: String,
    slot_at: i64,
}

impl Store {
    /// Writes a backfill and a run for each of its slots, in their order, and returns its number.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn create_backfill(&self, asked: &Asked, slots: &[Slot], now: Instant) -> Result<i64> {
        let waiting = Run::waiting(now);
        in_write!(self, "committing a backfill", |tx| {
            let last = tx.query("SELECT max(number) FROM backfills").fetch_one().await;
            let last: Option<i64> = last.while_("looking for the last backfill")?.get(0);
            let number = last.unwrap_or_default() + 1;
            tx.query("INSERT INTO backfills (number, asked, created_at, state) VALUES ($1, $2, $3, 'open')")
                .bind(number)
                .bind(json(asked)?)
                .bind(now.micros())
                .execute()
                .await
                .while_("recording a backfill")?;
            for slots in slots.chunks(SLOTS_AT_ONCE) {
                let new = |slot: &Slot| NewSlot { slot: slot.to_string(), slot_at: slot.due_at().micros() };
                tx.query(set!(slot text, slot_at bigint =>
                    "INSERT INTO runs (backfill, job, slot, slot_at, state, attempts, started_at, progress)
                     SELECT $2, $3, v.slot, v.slot_at, $4, $5, $6, $7 FROM v"
                ))
                .bind(json(slots.iter().map(new).collect::<Vec<_>>())?)
                .bind(number)
                .bind(asked.job.as_str())
                .bind(waiting.state.as_str())
                .bind(i64::from(waiting.attempts))
                .bind(waiting.started_at.micros())
                .bind(waiting.progress())
                .execute()
                .await
                .while_("recording the slots of a backfill")?;
            }
            Ok(number)
        })
    }

    /// The newest `limit` backfills, the oldest of those that are open, or the one of this number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn backfills(&self, number: Option<i64>, open_only: bool, limit: usize) -> Result<Vec<BackfillRecord>> {
        let rows = self
            .query(
                "SELECT number, asked, created_at, ended_at, state FROM backfills
                  WHERE ($1 IS NULL OR number = $1) AND ($2 = 0 OR state = 'open') ORDER BY CASE $2 WHEN 0 THEN -number ELSE number END LIMIT $3",
            )
            .bind(number)
            .bind(i64::from(open_only))
            .bind(super::ledgers::limit_of(limit))
            .fetch_all()
            .await
            .while_("listing backfills")?;
        let mut found = rows.iter().map(read).collect::<Result<Vec<BackfillRecord>>>()?;
        for record in &mut found {
            let rows = self
                .query("SELECT state, count(*) FROM runs WHERE backfill = $1 GROUP BY state")
                .bind(record.number)
                .fetch_all()
                .await
                .while_("counting the slots of a backfill")?;
            for row in &rows {
                let state: &str = row.get(0);
                let state =
                    RunState::from_word(state).ok_or_else(|| StoreError::Corrupt(format!("run in state {state:?}")))?;
                record.slots.insert(state, row.get::<i64>(1).unsigned_abs());
            }
        }
        Ok(found)
    }

    /// The runs of a backfill, in order of time, and the database's clock.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn backfill_runs(&self, number: i64) -> Result<(Vec<RunRecord>, Instant)> {
        const RUNS: &str = concat!("SELECT ", columns!(), " FROM runs WHERE backfill = $1 ORDER BY slot_at, job, slot");
        let clock = self.clock().await?;
        let rows = self.query(RUNS).bind(number).fetch_all().await.while_("reading the slots of a backfill")?;
        Ok((rows.iter().map(read_run).collect::<Result<_>>()?, clock))
    }

    /// The runs of a backfill that were begun and are not over, the oldest first, and the database's clock.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begun_backfill_runs(&self, number: i64) -> Result<(Vec<RunRecord>, Instant)> {
        const RUNS: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE backfill = $1 AND backfill <> 0 AND state IN ('running', 'failed') ORDER BY state DESC, slot_at, job, slot LIMIT $2"
        );
        let clock = self.clock().await?;
        let rows = self.query(RUNS).bind(number).bind(BEGUN_MAX).fetch_all().await;
        let rows = rows.while_("reading the slots of a backfill")?;
        Ok((rows.iter().map(read_run).collect::<Result<_>>()?, clock))
    }

    /// The slot of a backfill whose turn is next, of those that wait.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_backfill_run(&self, number: i64, reverse: bool) -> Result<Option<RunId>> {
        const OLDEST: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE backfill = $1 AND backfill <> 0 AND state = 'waiting' ORDER BY slot_at, job, slot LIMIT 1"
        );
        const NEWEST: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM runs WHERE backfill = $1 AND backfill <> 0 AND state = 'waiting' ORDER BY slot_at DESC, job DESC, slot DESC LIMIT 1"
        );
        let next = self.query(if reverse { NEWEST } else { OLDEST }).bind(number).fetch_all().await;
        let next = next.while_("looking for the next slot of a backfill")?;
        next.first().map(|row| Ok(read_run(row)?.id)).transpose()
    }

    /// Ends a backfill: `Done` where no slot is left, or `Cancelled`, with all slots that are. False when it was over, or some
    /// slots are left.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn end_backfill(&self, number: i64, state: BackfillState, now: Instant) -> Result<bool> {
        in_write!(self, "committing the end of a backfill", |tx| {
            if state == BackfillState::Cancelled {
                tx.query(
                    "UPDATE runs SET state = 'cancelled', finished_at = $2, retry_at = NULL
                      WHERE backfill = $1 AND state IN ('waiting', 'running', 'failed')
                        AND EXISTS (SELECT 1 FROM backfills AS b WHERE b.number = $1 AND b.state = 'open')",
                )
                .bind(number)
                .bind(now.micros())
                .execute()
                .await
                .while_("cancelling the slots of a backfill")?;
            }
            let done = tx
                .query(
                    "UPDATE backfills SET state = $2, ended_at = $3 WHERE number = $1 AND state = 'open' AND NOT EXISTS (
                         SELECT 1 FROM runs AS r WHERE r.backfill = $1
                            AND (r.state IN ('waiting', 'running') OR (r.state = 'failed' AND r.retry_at IS NOT NULL)))",
                )
                .bind(number)
                .bind(state.as_str())
                .bind(now.micros())
                .execute()
                .await
                .while_("ending a backfill")?;
            Ok(done.rows_affected() > 0)
        })
    }
}

fn read(row: &Row) -> Result<BackfillRecord> {
    let (number, asked, state): (i64, &str, &str) = (row.get(0), row.get(1), row.get(4));
    let bad = |what: String| StoreError::Corrupt(format!("backfill {number}: {what}"));
    Ok(BackfillRecord {
        number,
        asked: serde_json::from_str(asked).map_err(|error| bad(error.to_string()))?,
        created_at: Instant::from_micros(row.get(2)),
        ended_at: row.get::<Option<i64>>(3).map(Instant::from_micros),
        state: BackfillState::from_word(state).ok_or_else(|| bad(format!("state {state:?}")))?,
        slots: BTreeMap::new(),
    })
}
