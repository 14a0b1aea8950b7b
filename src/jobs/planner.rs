//! Which slots are due, and one run of a slot with its record (DESIGN 7).

use super::incidents::finish_run;
use super::{Done, JobError, Kit, Run, execute, platform};
use crate::app::App;
use crate::core::calendar::Instant;
use crate::core::schedule::{Covers, Due, Job, Schedule, Slot};
use crate::store::{Claim, StoreError};

/// A run that has not ended after this long was killed with its process.
const STALE_SECONDS: i64 = 3_600;

/// What came of a slot.
#[derive(Debug)]
pub enum Planned {
    /// It ran.
    Ran(Result<Done, JobError>),
    /// It is done, or another process is at it.
    Taken,
}

/// The slots of `schedule` that are due now.
///
/// # Errors
/// [`StoreError`].
pub async fn plan_due(app: &App, schedule: &Schedule) -> Result<Due, StoreError> {
    let now = app.now();
    let recorded = app.store.recorded_slots(schedule.job, schedule.recorded_from(now), stale_before(now)).await?;
    let zones = match schedule.job.covers() {
        Covers::Tick => Vec::new(),
        Covers::Day | Covers::Month => platform::zones(app, schedule.job, schedule.window_start(now)).await?,
    };
    Ok(schedule.due(&recorded, &zones, now))
}

/// Whether a slot that was run may be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    /// A slot that is done, or being done, is left alone.
    OnceOnly,
    /// A person asks for it: it is run again, and what was done before is not done twice.
    Anyway,
}

/// Claims `slot`, runs it and records how it ended. A run that failed or was stopped is tried again when its schedule
/// rings next. A period that has not ended yet is run without a record, for its own time is still to come.
///
/// # Errors
/// [`StoreError`] when the run cannot be recorded.
pub async fn run_slot(
    kit: &Kit,
    job: Job,
    slot: Slot,
    claiming: Claiming,
    run: &mut Run<'_>,
) -> Result<Planned, StoreError> {
    if run.dry_run || slot.due_at() > kit.app.now() {
        return Ok(Planned::Ran(execute(kit, job, slot, run).await));
    }
    let (store, now) = (&kit.app.store, kit.app.now());
    let claim = store.claim_run(job, slot, now, stale_before(now)).await?;
    if claim == Claim::Taken && claiming == Claiming::OnceOnly {
        return Ok(Planned::Taken);
    }
    let result = execute(kit, job, slot, run).await;
    finish_run(kit, job, slot, &result).await?;
    Ok(Planned::Ran(result))
}

fn stale_before(now: Instant) -> Instant {
    now.plus_seconds(-STALE_SECONDS)
}
