//! `creditd serve`: a bell that rings every few seconds, and what happens at each ring.
//!
//! Deliveries have a lane of their own: they wait for a mail server, which may be slow or silent, and nothing else does.
//! tokio-cron-scheduler is only the bell. What is due is a pure function of schedules, recorded slots and the clock,
//! asked anew at every ring, so nothing is missed by a restart, a slow run or a clock that jumps. The daemon keeps no
//! state that matters: killed at any instruction, it loses nothing, and its next ring goes on.

use crate::core::calendar::Instant;
use crate::core::schedule::{Covers, Job, Schedule, Slot};
use crate::jobs::{Claiming, Done, JobError, Kit, Planned, Run, finish_run, plan_due, run_slot};
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job as Bell, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

/// How often the bell rings: at least as often as the most frequent schedule wants (`deliver`, every 10 s).
const BELL: &str = "*/5 * * * * *";

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The bell cannot be rung.
    #[error("the scheduler failed: {0}")]
    Bell(#[from] JobSchedulerError),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One run of a slot, for whoever watches.
#[derive(Debug)]
pub struct Ran {
    /// The job.
    pub job: Job,
    /// The slot.
    pub slot: Slot,
    /// What came of it.
    pub result: Result<Done, JobError>,
}

/// What the rings so far have looked at: a job is looked at when its own cron expression rings, so that one that fails
/// is not tried at every bell. A proof over a large ledger that fails each time would leave no time for anything else.
#[derive(Debug, Default)]
pub struct Looked(BTreeMap<Job, Instant>);

impl Looked {
    fn is_time(&mut self, schedule: &Schedule, now: Instant) -> bool {
        let is_time = match (self.0.get(&schedule.job), schedule.last_ring(now)) {
            (Some(looked), Some(ring)) => ring > *looked || now < *looked,
            _ => true,
        };
        if is_time {
            self.0.insert(schedule.job, now);
        }
        is_time
    }

    /// The job has more to do than one bell does.
    fn forget(&mut self, job: Job) {
        self.0.remove(&job);
    }
}

/// Runs until `stop` is cancelled; a batch that is being written then is finished first.
///
/// # Errors
/// [`DaemonError`] when the bell or the ledger fails for good.
pub async fn serve(kit: Arc<Kit>, schedules: Vec<Schedule>, stop: CancellationToken) -> Result<(), DaemonError> {
    kit.app.store.fail_interrupted_runs(kit.app.now()).await?;
    let (mail, others): (Vec<Schedule>, Vec<Schedule>) =
        schedules.into_iter().partition(|schedule| schedule.job == Job::Deliver);
    let lanes = [mail, others].map(|schedules| (Arc::new(Notify::new()), schedules));
    let mut bell = JobScheduler::new().await?;
    let ring_them = lanes.each_ref().map(|(rung, _)| Arc::clone(rung));
    bell.add(Bell::new(BELL, move |_, _| ring_them.iter().for_each(|rung| rung.notify_one()))?).await?;
    bell.start().await?;
    let mut running = JoinSet::new();
    for (rung, schedules) in lanes {
        running.spawn(attend(Arc::clone(&kit), schedules, rung, stop.clone()));
    }
    running.join_all().await;
    bell.shutdown().await?;
    Ok(())
}

/// Does what is due at each ring, until `stop` is cancelled.
async fn attend(kit: Arc<Kit>, schedules: Vec<Schedule>, rung: Arc<Notify>, stop: CancellationToken) {
    // Whatever was missed while no daemon ran is done at once.
    rung.notify_one();
    let mut looked = Looked::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = rung.notified() => {}
        }
        // The next bell tries again: a locked or full disk may pass.
        if let Err(error) = ring(&kit, &schedules, &mut looked, &stop, &mut |ran| log(&ran)).await {
            tracing::error!(%error, "the ledger could not be asked what is due");
        }
    }
}

/// Runs everything that is due now, one slot after the other, oldest first, and tells `watch` of each.
///
/// # Errors
/// [`StoreError`] when the ledger cannot be asked, or a run cannot be recorded.
pub async fn ring(
    kit: &Arc<Kit>,
    schedules: &[Schedule],
    looked: &mut Looked,
    stop: &CancellationToken,
    watch: &mut (dyn FnMut(Ran) + Send),
) -> Result<(), StoreError> {
    for schedule in schedules {
        let (job, now) = (schedule.job, kit.app.now());
        if !looked.is_time(schedule, now) || !has_work(kit, job, now).await? {
            continue;
        }
        let due = plan_due(&kit.app, schedule).await?;
        if due.overdue > 0 && job.covers() != Covers::Tick {
            tracing::warn!(%job, slots = due.overdue, "catching up on slots that were missed");
        }
        if due.capped > 0 {
            tracing::warn!(%job, slots = due.capped, "more slots are due than run at one bell; the next goes on");
            looked.forget(job);
        }
        if due.expired > 0 {
            let hint = format!("creditd run {job} {} runs them", by_hand(job));
            tracing::warn!(%job, slots = due.expired, hint, "slots are older than the window and are not run");
        }
        for slot in due.slots {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Planned::Ran(result) = guarded(kit, job, slot, stop).await? {
                watch(Ran { job, slot, result });
            }
        }
    }
    Ok(())
}

/// The flag that names a period of `job`.
#[must_use]
pub fn by_hand(job: Job) -> &'static str {
    match job.covers() {
        Covers::Tick => "",
        Covers::Day => "--day DATE",
        Covers::Month => "--month MONTH",
    }
}

/// A run for every ten seconds or minute in which nothing waits would only fill the table of runs.
async fn has_work(kit: &Kit, job: Job, now: Instant) -> Result<bool, StoreError> {
    let app = &kit.app;
    Ok(match job {
        Job::Deliver if kit.mail_rests_until().is_some() => false,
        Job::Deliver => !app.store.due_messages(now, 1).await?.is_empty(),
        Job::ExpireHolds => !app.store.accounts_with_expired_holds(now, None, 1).await?.is_empty(),
        _ => true,
    })
}

/// Runs a slot in a task of its own, so that a panic ends the run and not the daemon.
async fn guarded(kit: &Arc<Kit>, job: Job, slot: Slot, stop: &CancellationToken) -> Result<Planned, StoreError> {
    let (task_kit, stop) = (Arc::clone(kit), stop.clone());
    let task = tokio::spawn(async move {
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop };
        run_slot(&task_kit, job, slot, Claiming::OnceOnly, &mut run).await
    });
    match task.await {
        Ok(planned) => planned,
        Err(error) => {
            let ended = Err(JobError::Panic(error.to_string()));
            finish_run(kit, job, slot, &ended).await?;
            Ok(Planned::Ran(ended))
        }
    }
}

fn log(ran: &Ran) {
    let Ran { job, slot, result } = ran;
    match result {
        Ok(done) if done.lines.is_empty() && done.problems.is_empty() => {
            tracing::debug!(%job, %slot, "{}", done.summary);
        }
        Ok(done) => {
            tracing::info!(%job, %slot, "{}", done.summary);
            done.problems.iter().for_each(|problem| tracing::warn!(%job, %slot, "{problem}"));
        }
        Err(JobError::Stopped) => tracing::info!(%job, %slot, "{}", JobError::Stopped),
        Err(error) => tracing::error!(%job, %slot, "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_looked_at_once_per_ring_of_its_own() {
        let text =
            "cron = \"0 * * * * *\"\nzone = \"UTC\"\ncatch_up = \"latest\"\nwindow_days = 1\ngrace_seconds = 60\n";
        let schedule = Schedule::parse(Job::Verify, "verify.toml", text).expect("a schedule");
        let mut looked = Looked::default();
        let mut is_time = |now: &str| looked.is_time(&schedule, Instant::parse(now).expect("an instant"));
        assert!(is_time("2013-03-01T10:00:20Z"), "at start");
        assert!(!is_time("2013-03-01T10:00:25Z") && !is_time("2013-03-01T10:00:59Z"));
        assert!(is_time("2013-03-01T10:01:00Z") && !is_time("2013-03-01T10:01:05Z"));
        assert!(is_time("2013-03-01T09:59:00Z"), "the clock was set back");
    }
}
