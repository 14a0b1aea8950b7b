//! Backfills: past slots of the report jobs, run because somebody asked (DESIGN 7).
//!
//! A backfilled report is compared with what was sent. With mails, whoever was sent nothing gets the statement, and whoever was
//! told other figures a corrected one; without, it is only said who would. Each slot is a run that processes share as they
//! do those of a schedule, so a backfill goes on wherever a process lives, and running it again changes nothing.

use super::planner::{Retries, share};
use super::watched::watched;
use super::{Done, JobError, Kit, Planned as Ran, Run, platform};
use crate::core::backfill::{Asked, BadBackfill, Decision, Planned, plan};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::run::{Run as SharedRun, RunState};
use crate::core::schedule::{Covers, Slot};
use crate::store::{BackfillRecord, BackfillState, RunId, RunRecord, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Why a backfill cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// It makes no sense.
    #[error(transparent)]
    Bad(#[from] BadBackfill),
    /// An account is not there.
    #[error("unknown_account: there is no account {0}; `creditd account list` shows those there are")]
    UnknownAccount(AccountId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One slot of a backfill was run.
#[derive(Debug)]
pub struct Slotted {
    /// Which.
    pub slot: Slot,
    /// What came of it.
    pub result: Result<Done, JobError>,
}

/// The slots that `asked` is about, and what is done about each. Nobody is there to be told of what was before a zone was used.
///
/// # Errors
/// [`BackfillError`].
pub async fn plan_backfill(kit: &Kit, asked: &Asked) -> Result<Vec<Planned>, BackfillError> {
    let app = &kit.app;
    let mut first = if asked.accounts.is_empty() { platform::first_months(app, asked.job).await? } else { Vec::new() };
    for records in asked.accounts.chunks(app.settings.jobs.batch_accounts) {
        let found = app.store.accounts(records).await?;
        let known: BTreeSet<&AccountId> = found.iter().map(|record| &record.account.id).collect();
        if let Some(unknown) = records.iter().find(|id| !known.contains(id)) {
            return Err(BackfillError::UnknownAccount(unknown.clone()));
        }
        for record in &found {
            first.extend(record.account.calendar.terms().iter().map(|terms| (terms.zone, terms.from)));
        }
    }
    first.sort_by_key(|(zone, month)| (zone.name(), *month));
    first.dedup_by_key(|(zone, _)| *zone);
    let from = Slot::Day(asked.from, chrono_tz::UTC).due_at().plus_days(-3);
    let states: BTreeMap<Slot, RunState> = match asked.job.covers() {
        Covers::Tick => BTreeMap::new(),
        Covers::Day | Covers::Month => app.store.slot_states(asked.job, from).await?.into_iter().collect(),
    };
    Ok(plan(asked, &first, &states, app.now())?)
}

/// Writes a backfill of what is to be run of `planned`, and returns its number.
///
/// # Errors
/// [`StoreError`].
pub async fn create_backfill(kit: &Kit, asked: &Asked, planned: &[Planned]) -> Result<i64, StoreError> {
    let to_run = planned.iter().filter(|planned| planned.decision == Decision::Run).map(|planned| planned.slot);
    kit.app.store.create_backfill(asked, &to_run.collect::<Vec<_>>(), kit.app.now()).await
}

/// Does this process's share of the next slot of `record`, and tells what came of it; `None` when there is nothing for it to do
/// now. A backfill of which nothing is left is ended.
///
/// # Errors
/// [`StoreError`].
pub async fn run_next(
    kit: &Kit,
    record: &BackfillRecord,
    retries: Retries,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Option<Slotted>, StoreError> {
    let (app, number) = (&kit.app, record.number);
    loop {
        let now = app.now();
        let (begun, clock) = app.store.begun_backfill_runs(number).await?;
        let running = begun.iter().filter(|record| record.run.state == RunState::Running).count();
        // What was begun is ended first.
        let to_go_on = |record: &&RunRecord| match record.run.state {
            RunState::Failed if retries == Retries::AtOnce => record.run.retry_at.is_some(),
            _ => record.run.is_open(clock, now),
        };
        let id = match begun.iter().find(to_go_on) {
            Some(next) => Some(next.id),
            None if running < record.asked.parallel_max as usize => {
                app.store.waiting_backfill_run(number, record.asked.reverse).await?
            }
            None => None,
        };
        let Some(id) = id else {
            app.store.end_backfill(number, BackfillState::Done, now).await?;
            return Ok(None);
        };
        let begin = |run: &mut SharedRun, _| {
            let was = run.state;
            if matches!(was, RunState::Waiting | RunState::Failed) {
                run.begin_again(now);
            }
            (was == RunState::Waiting, None)
        };
        let was_waiting = app.store.change_run(id, begin).await? == Some(true);
        // Others may be faster.
        let slotted = run_share(kit, record, id, was_waiting, stop, progress).await?;
        if slotted.is_some() || stop.is_cancelled() {
            return Ok(slotted);
        }
    }
}

/// Does this process's share of the slot `id` of a backfill, which is under way, and tells what came of it; `None` when others are at
/// all that is left of it, or nobody wants it any more.
///
/// # Errors
/// [`StoreError`].
pub async fn take_up(kit: &Kit, id: RunId, stop: &CancellationToken) -> Result<Option<Slotted>, StoreError> {
    match kit.app.store.backfills(Some(id.backfill), true, 1).await?.pop() {
        Some(record) => run_share(kit, &record, id, false, stop, &mut |_, _| {}).await,
        None => Ok(None),
    }
}

async fn run_share(
    kit: &Kit,
    record: &BackfillRecord,
    id: RunId,
    is_new: bool,
    stop: &CancellationToken,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Option<Slotted>, StoreError> {
    let now = kit.app.now();
    let kit = kit.for_backfill(Arc::new(record.asked.clone()));
    let mut run = Run { dry_run: false, progress, stop: stop.clone() };
    let work = share(&kit, id, false, &mut run);
    let Ran::Ran(result) = watched(&kit, id, is_new, work).await? else { return Ok(None) };
    let is_done = kit.app.store.change_run(id, |run, _| (run.state == RunState::Done, None)).await?;
    if is_done == Some(true) && record.asked.email && record.asked.accounts.is_empty() {
        record_reported(&kit, id, now).await?;
    }
    Ok(Some(Slotted { slot: id.slot, result }))
}

/// What was mailed to everybody was reported, whoever asked for it: months can be closed.
async fn record_reported(kit: &Kit, id: RunId, now: Instant) -> Result<(), StoreError> {
    let own = RunId::of(id.job, id.slot);
    let outcome = format!("by backfill {}", id.backfill);
    kit.app.store.begin_run(own, now).await?;
    let end = |run: &mut SharedRun, _| {
        if run.state != RunState::Done {
            run.end(outcome.clone(), now);
        }
        ((), None)
    };
    kit.app.store.change_run(own, end).await.map(drop)
}
