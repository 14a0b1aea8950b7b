//! Which slots are due, and how a process does its share of a run (DESIGN 7).
//!
//! A process takes one batch of a run after the other, as long as there are some. While it is at one, it extends its lease;
//! what it writes for it is fenced, so that a process that was held up writes nothing once another has taken over.

use super::incidents::{self, News};
use super::watched::watched;
use super::{Done, JobError, Kit, Run, execute, platform, reset, rollover, statements};
use crate::app::App;
use crate::core::calendar::Instant;
use crate::core::run::{Batch, DEATHS_MAX, End, Run as SharedRun, RunState, Span, Take, Tally, retry_seconds};
use crate::core::schedule::{Covers, Due, Job, Overlap, Schedule, Slot};
use crate::store::{NO_BACKFILL, RunId, StoreError, Wrong};
use futures_util::FutureExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

/// How often a lease is extended before it would end.
pub(super) const BEATS_A_LEASE: u32 = 4;
/// How often a run of a tick job is tried again: the next tick does all there is to do anyway.
const TICK_ATTEMPTS_MAX: u32 = 4;
/// How often a run of a period is: for weeks, once an hour.
const PERIOD_ATTEMPTS_MAX: u32 = 500;

/// What came of a slot.
#[derive(Debug)]
pub enum Planned {
    /// This process did it, or its share of it.
    Ran(Result<Done, JobError>),
    /// It is done, or others are at it.
    Taken,
}

/// The slots of `schedule` that are due now and have no run yet.
///
/// # Errors
/// [`StoreError`].
pub async fn plan_due(app: &App, schedule: &Schedule) -> Result<Due, StoreError> {
    let now = app.now();
    let recorded = app.store.recorded_slots(schedule.job, schedule.recorded_from(now)).await?;
    let zones = match schedule.job.covers() {
        Covers::Tick => Vec::new(),
        Covers::Day | Covers::Month => platform::zones(app, schedule.job, schedule.window_start(now)).await?,
    };
    let mut due = schedule.due(&recorded, &zones, now);
    // What the operators know to be missed is missed until it was run, however old it is by now.
    if schedule.job.covers() != Covers::Tick
        && (due.expired > 0 || app.store.incident(schedule.job, Wrong::Missed).await?.is_some())
    {
        due.expire(&missed(app, schedule).await?);
    }
    Ok(due)
}

/// All periods of `schedule` that have left its window unrun, however old they are: it reads every slot that was ever run.
///
/// # Errors
/// [`StoreError`].
async fn missed(app: &App, schedule: &Schedule) -> Result<Vec<Slot>, StoreError> {
    // Days of which nobody wants to hear are missed by nobody.
    if schedule.job == Job::DailyReport && !app.store.is_daily_report_wanted().await? {
        return Ok(Vec::new());
    }
    let now = app.now();
    let zones = platform::zones(app, schedule.job, schedule.window_start(now)).await?;
    let since = zones.iter().map(|in_use| in_use.since).min().unwrap_or(now);
    let mut missed = schedule.missed(&app.store.recorded_slots(schedule.job, since).await?, &zones, now);
    // Nor are those in which nobody lived in the zone.
    let mut used = BTreeMap::new();
    for zone in missed.iter().filter_map(|slot| slot.zone()) {
        if !used.contains_key(zone.name()) {
            used.insert(zone.name(), app.zone_used_since(zone).await?);
        }
    }
    let used_since = |slot: &Slot| slot.zone().and_then(|zone| used.get(zone.name()).copied().flatten());
    missed.retain(|slot| used_since(slot).is_none_or(|since| slot.due_at() > since));
    Ok(missed)
}

/// Whether a job has anything to do, of those that look often and seldom find something: a run for every ten seconds or minute in which
/// nothing waits would only fill the table of runs. The webhooks `resting` are left alone.
///
/// # Errors
/// [`StoreError`].
pub async fn has_work(app: &App, job: Job, resting: &[String]) -> Result<bool, StoreError> {
    let now = app.now();
    Ok(match job {
        Job::Deliver => !app.store.due_messages(now, 1).await?.is_empty(),
        Job::Webhooks => !app.store.due_events(now, resting, 1).await?.is_empty(),
        Job::ExpireHolds => !app.store.accounts_with_expired_holds(now, None, 1).await?.is_empty(),
        _ => true,
    })
}

/// Runs that were begun, and what there is to do about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Those that this process can join: more is to be done than others are at, a process died, or a retry is due.
    pub open: Vec<RunId>,
    /// Those that are under way, whether there is something to join or not.
    pub under_way: Vec<RunId>,
}

/// When runs that failed are run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// When their time has come.
    InTheirTime,
    /// Now: a person asks for it.
    AtOnce,
}

/// Looks at the runs of schedules that are not over.
///
/// # Errors
/// [`StoreError`].
pub async fn begun(app: &App, retries: Retries) -> Result<Begun, StoreError> {
    let now = match retries {
        Retries::InTheirTime => app.now(),
        Retries::AtOnce => Instant::MAX,
    };
    let unfinished = app.store.unfinished_runs(now).await?;
    let mut begun = Begun::default();
    for record in unfinished.runs.iter().filter(|record| record.id.backfill == NO_BACKFILL) {
        let RunId { job, slot, .. } = record.id;
        if record.run.state == RunState::Running {
            begun.under_way.push(record.id);
        } else if job.covers() == Covers::Tick {
            // One that came later does what this one did not.
            let newest = app.store.recorded_slots(job, slot.due_at()).await?;
            if newest.last().is_some_and(|newest| *newest != slot) {
                continue;
            }
        }
        if record.run.is_open(unfinished.clock, now) {
            begun.open.push(record.id);
        }
    }
    Ok(begun)
}

/// The runs of which processes that died have left something, those of backfills included; oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn lost(app: &App) -> Result<Vec<RunId>, StoreError> {
    let unfinished = app.store.unfinished_runs(app.now()).await?;
    let lost = unfinished.runs.iter().filter(|record| record.run.is_lost(unfinished.clock));
    Ok(lost.map(|record| record.id).collect())
}

impl Begun {
    /// Whether another slot of `schedule` may begin beside those that are under way.
    #[must_use]
    pub fn leaves_room_for(&self, schedule: &Schedule) -> bool {
        schedule.overlap == Overlap::Allow || !self.under_way.iter().any(|id| id.job == schedule.job)
    }
}

/// Whether a slot that was run may be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    /// A slot that is done is left alone.
    OnceOnly,
    /// A person asks for it: it is run again, and what was done before is not done twice.
    Anyway,
}

/// Does this process's share of the run of `slot`, and records how it ended. One that failed is tried again after a while. A
/// period that has not ended yet is run without a record, for its own time is still to come.
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
    let now = kit.app.now();
    // Links in mails that a process writes for months are of the key that the pages go by today.
    let kit = &kit.of_today().await?;
    if run.dry_run || slot.due_at() > now {
        return Ok(Planned::Ran(execute(kit, job, slot, &Span::WHOLE, run).await));
    }
    let id = RunId::of(job, slot);
    let is_new = kit.app.store.begin_run(id, now).await?;
    if !is_new {
        let begin_again = |shared: &mut SharedRun, _| {
            let is_asked = claiming == Claiming::Anyway && shared.state != RunState::Running;
            if is_asked || (shared.state == RunState::Failed && shared.retry_at.is_some_and(|at| at <= now)) {
                shared.begin_again(now);
            }
            ((), None)
        };
        kit.app.store.change_run(id, begin_again).await?;
    }
    watched(kit, id, is_new, share(kit, id, is_new, run)).await
}

/// Does batches of a run until there are none, or one fails.
pub(super) async fn share(kit: &Kit, id: RunId, is_new: bool, run: &mut Run<'_>) -> Result<Planned, StoreError> {
    let holder = format!("{}/{:016x}", std::process::id(), fastrand::u64(..));
    let (mut all, mut has_done) = (Done::default(), is_new);
    // Of a run that was just begun, nothing was handed out.
    let mut take = is_new.then_some(Take::Find(None));
    loop {
        let taken = match take.take() {
            Some(taken) => taken,
            None => kit.take(id, &holder).await?,
        };
        let batch = match taken {
            Take::Batch(batch) => batch,
            Take::Find(after) => match hand_out(kit, id, after.as_deref(), &holder).await? {
                Handed::Batch(batch) => batch,
                Handed::Elsewhere => continue,
                Handed::Ended => {
                    has_done = true;
                    break;
                }
            },
            Take::Wait | Take::Over => break,
        };
        has_done = true;
        let result = do_batch(kit, id, &batch, run).await;
        let is_stopping = run.stop.is_cancelled();
        end_batch(kit, id, batch.term, &result, is_stopping).await?;
        match result {
            Ok(done) => all.extend(done),
            Err(error) => return Ok(Planned::Ran(Err(error))),
        }
        if is_stopping {
            break;
        }
    }
    if !has_done {
        return Ok(Planned::Taken);
    }
    if let Some(summary) = summary(kit, id.job, &all.tally) {
        all.summary = summary;
    }
    Ok(Planned::Ran(Ok(all)))
}

impl Kit {
    fn lease_seconds(&self) -> i64 {
        self.app.settings.jobs.lease_seconds
    }

    async fn take(&self, id: RunId, holder: &str) -> Result<Take, StoreError> {
        let take = |run: &mut SharedRun, clock| (run.take(holder, clock, self.lease_seconds()), None);
        Ok(self.app.store.change_run(id, take).await?.unwrap_or(Take::Over))
    }
}

/// What came of asking for the next batch.
enum Handed {
    Batch(Batch),
    /// Somebody else was faster.
    Elsewhere,
    /// There is none.
    Ended,
}

/// Finds where the batch behind `after` ends, and takes it.
async fn hand_out(kit: &Kit, id: RunId, after: Option<&str>, holder: &str) -> Result<Handed, StoreError> {
    let end = end_of_batch(&kit.app, id.job, id.slot, after).await?;
    let result = Ok(Done::default());
    let news = if end == End::Nothing { incidents::news(kit, id, &result).await? } else { News::default() };
    let now = kit.app.now();
    let change = |run: &mut SharedRun, clock| {
        let batch = run.hand_out(after, end.clone(), holder, clock, kit.lease_seconds());
        if run.is_all_done() {
            let outcome = summary(kit, id.job, run.tally()).unwrap_or_default();
            run.end(outcome, now);
            return (Handed::Ended, news.if_done());
        }
        (batch.map_or(Handed::Elsewhere, Handed::Batch), None)
    };
    Ok(kit.app.store.change_run(id, change).await?.unwrap_or(Handed::Elsewhere))
}

/// Where the batch behind `after` ends. Only what is long is cut into batches.
async fn end_of_batch(app: &App, job: Job, slot: Slot, after: Option<&str>) -> Result<End, StoreError> {
    match (job, slot) {
        (Job::Reset, _) => rollover::end_of_batch(app, after).await,
        (Job::DailyReport | Job::MonthlyReport, Slot::Day(_, zone) | Slot::Month(_, zone)) => {
            statements::end_of_batch(app, zone, after).await
        }
        _ if after.is_none() => Ok(End::Rest),
        _ => Ok(End::Nothing),
    }
}

/// What the batches of a run came to together, of jobs that are cut into some.
fn summary(kit: &Kit, job: Job, tally: &Tally) -> Option<String> {
    match job {
        Job::Reset => Some(reset::summary(tally)),
        Job::DailyReport | Job::MonthlyReport => Some(statements::summary(tally, kit.only_says())),
        _ => None,
    }
}

/// Does a batch as long as it is this process's.
async fn do_batch(kit: &Kit, id: RunId, batch: &Batch, run: &mut Run<'_>) -> Result<Done, JobError> {
    if batch.deaths >= DEATHS_MAX {
        return Err(JobError::Killed { deaths: batch.deaths });
    }
    // Mail and events are delivered under leases of their own, and what was delivered is recorded whoever runs the job by then.
    let (working, is_fenced) = match id.job {
        Job::Deliver | Job::Webhooks => (None, false),
        _ => (Some(kit.fenced(id, batch.term)), true),
    };
    let work = execute(working.as_ref().unwrap_or(kit), id.job, id.slot, &batch.span, run);
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let done = tokio::select! {
        done = &mut work => done,
        () = beat(kit, id, batch.term) => {
            if is_fenced {
                return Err(StoreError::LeaseLost { job: id.job, slot: id.slot }.into());
            }
            work.await
        }
    };
    done.unwrap_or_else(|panic| Err(JobError::Panic(said(&*panic))))
}

/// Extends the lease of a batch again and again. Ends when it is lost.
async fn beat(kit: &Kit, id: RunId, term: u32) {
    let lease_seconds = kit.lease_seconds();
    let pause = Duration::from_secs(lease_seconds.unsigned_abs()) / BEATS_A_LEASE;
    loop {
        tokio::time::sleep(pause).await;
        let extend = |run: &mut SharedRun, clock| (run.extend(term, clock, lease_seconds), None);
        match kit.app.store.change_run(id, extend).await {
            Ok(Some(true)) => {}
            Ok(_) => return,
            // While the database does not answer, nothing is written either; the next beat asks again.
            Err(error) => tracing::warn!(job = %id.job, slot = %id.slot, %error, "a lease could not be extended"),
        }
    }
}

/// Records how a batch ended, and with the last one how the run did; and that the process asks for no other, where it `is_stopping`.
async fn end_batch(
    kit: &Kit,
    id: RunId,
    term: u32,
    result: &Result<Done, JobError>,
    is_stopping: bool,
) -> Result<(), StoreError> {
    let news = incidents::news(kit, id, result).await?;
    let now = kit.app.now();
    let change = |run: &mut SharedRun, _| match result {
        Ok(done) => {
            let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
            run.finish(term, &done.tally, &problems);
            if kit.asked.is_some() {
                run.note(&done.lines);
            }
            if !run.is_all_done() {
                if is_stopping {
                    run.leave();
                }
                return ((), None);
            }
            let outcome = summary(kit, id.job, run.tally()).unwrap_or_else(|| done.summary.clone());
            run.end(outcome, now);
            ((), news.if_done())
        }
        Err(JobError::Stopped) => {
            run.hand_back(term);
            ((), None)
        }
        Err(error) if error.is_lease_lost() => ((), None),
        Err(error) => {
            let retry_at = retry_at(id.job, error, run.attempts, now);
            let has_failed = run.fail(term, error.to_string(), now, retry_at);
            ((), news.if_failed().filter(|_| has_failed))
        }
    };
    kit.app.store.change_run(id, change).await.map(drop)
}

/// When a run that failed is tried again, if that is worth trying.
fn retry_at(job: Job, error: &JobError, attempts: u32, now: Instant) -> Option<Instant> {
    let attempts_max = match (job.covers(), error) {
        // What does not add up will not the next time either; the next night says so again.
        (_, JobError::Drift(_)) => 0,
        (Covers::Tick, _) => TICK_ATTEMPTS_MAX,
        (Covers::Day | Covers::Month, _) => PERIOD_ATTEMPTS_MAX,
    };
    (attempts < attempts_max).then(|| now.plus_seconds(retry_seconds(attempts)))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it said nothing".to_owned())
}
