//! `creditd serve`: a bell that rings every few seconds, and what happens at each ring.
//!
//! tokio-cron-scheduler is only the bell. What is due is a pure function of schedules, recorded slots and the clock,
//! asked anew at every ring, so nothing is missed by a restart, a slow run or a clock that jumps. The daemon keeps no
//! state that matters: killed at any instruction, it loses nothing, and its next ring, or that of any other process on the
//! ledger, goes on.
//!
//! Jobs go one after the other in a lane. Deliveries have one of their own: they wait for a mail server, which may be slow or
//! silent. So have events for webhooks, which wait for anybody, and what reads the whole ledger, which may take long. Nothing else waits
//! for any of these.

mod systemd;

use crate::app::BadClock;
use crate::core::calendar::Instant;
use crate::core::schedule::{Covers, Job, Schedule, Slot};
use crate::jobs::backfill::{self, Slotted, run_next};
use crate::jobs::{
    Claiming, Done, JobError, Kit, Planned, Retries, Run, begun, has_work, lost, plan_due, run_slot, tell_missed,
};
use crate::store::{NO_BACKFILL, RunId, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job as Bell, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

/// A bell that is silent for so long, which rings once a minute at least, is broken. A machine that slept is not: this time stands still while it does.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// How long nobody looks whether anything is due while the bell is silent.
const QUIET_MAX: Duration = Duration::from_secs(70);
/// Backfills that are looked at at one ring, the oldest first.
const BACKFILLS_MAX: usize = 100;
/// Problems of a run that have a line of their own in the log: what is wrong with thousands is one thing that is wrong.
const PROBLEMS_LOGGED_MAX: usize = 100;
/// How long a batch that is being done may go on after its process was told to stop. Then others take it over when its
/// lease ends.
pub const STOP_MAX: Duration = Duration::from_secs(25);

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The bell cannot be rung.
    #[error("the scheduler failed: {0}")]
    Bell(#[from] JobSchedulerError),
    /// The bell is not heard any more; because of the clock, where that cannot be believed.
    #[error(
        "the scheduler has not rung for {} seconds; ending, so that whatever supervises creditd starts it again{}",
        SILENCE_MAX.as_secs(),
        .0.as_ref().map_or_else(String::new, |why| format!(". No job was run: {why}"))
    )]
    Silent(Option<BadClock>),
    /// Jobs are not looked at any more.
    #[error("looking for due jobs ended in a panic: {0}; this is a defect of creditd, please report it")]
    Panic(String),
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
pub struct Looked {
    at: BTreeMap<Job, Instant>,
    /// How many slots are too old, as it was said: once is enough.
    expired: BTreeMap<Job, usize>,
}

impl Looked {
    fn is_time(&mut self, schedule: &Schedule, now: Instant) -> bool {
        let is_time = match (self.at.get(&schedule.job), schedule.last_ring(now)) {
            (Some(looked), Some(ring)) => ring > *looked || now < *looked,
            _ => true,
        };
        if is_time {
            self.at.insert(schedule.job, now);
        }
        is_time
    }

    /// The job has more to do than one bell does.
    fn forget(&mut self, job: Job) {
        self.at.remove(&job);
    }
}

/// Runs until `stop` is cancelled; a batch that is being written then is finished first.
///
/// # Errors
/// [`DaemonError`] when the bell or the ledger fails for good.
pub async fn serve(kit: Arc<Kit>, schedules: Vec<Schedule>, stop: CancellationToken) -> Result<(), DaemonError> {
    let lane_of = |job: Job| match job {
        Job::Deliver => 0,
        Job::Webhooks => 1,
        Job::Seal | Job::Verify => 2,
        _ => 3,
    };
    let mut lanes: [(Arc<Notify>, Vec<Schedule>); 4] = Default::default();
    for schedule in schedules {
        lanes[lane_of(schedule.job)].1.push(schedule);
    }
    let mut bell = JobScheduler::new().await?;
    let [for_backfills, for_lost] = [(); 2].map(|()| Arc::new(Notify::new()));
    let mut ring_them: Vec<Arc<Notify>> = lanes.iter().map(|(rung, _)| Arc::clone(rung)).collect();
    ring_them.extend([Arc::clone(&for_backfills), Arc::clone(&for_lost)]);
    let jobs: BTreeSet<Job> = lanes.iter().flat_map(|(_, schedules)| schedules).map(|schedule| schedule.job).collect();
    let rings = Arc::new(AtomicU64::new(0));
    let (counted, pulse) = (Arc::clone(&rings), Arc::clone(&kit.pulse));
    let ring = move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        pulse.rang();
        systemd::alive();
        ring_them.iter().for_each(|rung| rung.notify_one());
    };
    let every = format!("*/{} * * * * *", kit.app.settings.jobs.bell_seconds);
    bell.add(Bell::new(&*every, ring)?).await?;
    bell.start().await?;
    systemd::ready();
    let mut running = JoinSet::new();
    for (rung, schedules) in lanes {
        running.spawn(attend(Arc::clone(&kit), schedules, rung, stop.clone()));
    }
    running.spawn(attend_backfills(Arc::clone(&kit), for_backfills, stop.clone()));
    running.spawn(attend_lost(Arc::clone(&kit), jobs, for_lost, stop.clone()));
    let stopping = stop.clone();
    running.spawn(async move {
        stopping.cancelled().await;
        systemd::stopping();
    });
    let ended = tokio::select! {
        ended = all(&mut running) => ended,
        // A clock that was set back rings no bell until it is as late as it was.
        () = silence(&rings) => Err(DaemonError::Silent(kit.bad_clock().await.ok().flatten())),
        () = overtime(&stop, STOP_MAX) => {
            tracing::warn!("stopping with work under way; it is left to other processes, or to the next start");
            Ok(())
        }
    };
    bell.shutdown().await?;
    ended
}

/// Waits for all lanes, which end when they are told to.
async fn all(running: &mut JoinSet<()>) -> Result<(), DaemonError> {
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| DaemonError::Panic(error.to_string()))?;
    }
    Ok(())
}

/// Ends when the bell has not rung for long.
async fn silence(rings: &AtomicU64) {
    let mut heard = rings.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(SILENCE_MAX).await;
        let now = rings.load(Ordering::Relaxed);
        if now == heard {
            return;
        }
        heard = now;
    }
}

/// Ends when stopping has taken `time_max`, which is too long: what is still under way is left to others.
pub async fn overtime(stop: &CancellationToken, time_max: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(time_max).await;
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
            // Where the machine's clock was set back, no bell rings until it is as late as it was; then that is said.
            () = tokio::time::sleep(QUIET_MAX) => {}
        }
        // The next bell tries again: a locked or full disk may pass.
        if let Err(error) = ring(&kit, &schedules, &mut looked, &stop, &mut |ran| log(&ran)).await {
            tracing::error!(%error, "the ledger could not be asked what is due");
        }
    }
}

/// Does this process's share of what people want to be run again, at each ring.
async fn attend_backfills(kit: Arc<Kit>, rung: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = rung.notified() => {}
        }
        let ran = match kit.bad_clock().await {
            Ok(None) => run_backfills(&kit, &stop).await,
            Ok(Some(_)) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = ran {
            tracing::error!(%error, "backfills could not be run");
        }
    }
}

/// Takes up at each ring what a process that died has left of a run, beside whatever the lanes are at: one that catches up on
/// months comes to it late.
async fn attend_lost(kit: Arc<Kit>, jobs: BTreeSet<Job>, rung: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = rung.notified() => {}
        }
        let taken_up = match kit.bad_clock().await {
            Ok(None) => take_up_lost(&kit, &jobs, &stop, &mut |ran| log(&ran)).await,
            Ok(Some(_)) => continue,
            Err(error) => Err(error),
        };
        if let Err(error) = taken_up {
            tracing::error!(%error, "what other processes have left could not be taken up");
        }
    }
}

/// Takes up what processes that died have left of runs, the oldest first: of those of schedules where the job is one of `jobs`, and of
/// those of backfills. Tells `watch` of each.
///
/// # Errors
/// [`StoreError`] when the ledger cannot be asked, or a run cannot be recorded.
pub async fn take_up_lost(
    kit: &Arc<Kit>,
    jobs: &BTreeSet<Job>,
    stop: &CancellationToken,
    watch: &mut (dyn FnMut(Ran) + Send),
) -> Result<(), StoreError> {
    for id in lost(&kit.app).await? {
        let RunId { backfill, job, slot } = id;
        if stop.is_cancelled() {
            break;
        }
        let result = if backfill != NO_BACKFILL {
            backfill::take_up(kit, id, stop).await?.map(|slotted| slotted.result)
        } else if jobs.contains(&job) {
            match guarded(kit, job, slot, stop).await? {
                Planned::Ran(result) => Some(result),
                Planned::Taken => None,
            }
        } else {
            None
        };
        if let Some(result) = result {
            watch(Ran { job, slot, result });
        }
    }
    Ok(())
}

async fn run_backfills(kit: &Kit, stop: &CancellationToken) -> Result<(), StoreError> {
    for record in kit.app.store.backfills(None, true, BACKFILLS_MAX).await? {
        let job = record.asked.job;
        let one = async || {
            while !stop.is_cancelled() {
                let next = run_next(kit, &record, Retries::InTheirTime, stop, &mut |_, _| {}).await?;
                let Some(Slotted { slot, result }) = next else { break };
                tracing::info!(backfill = record.number, "a slot of a backfill was run");
                let failed = result.is_err();
                log(&Ran { job, slot, result });
                if failed {
                    break;
                }
            }
            Ok::<_, StoreError>(())
        };
        futures_util::future::try_join_all((0..record.asked.parallel_max).map(|_| one())).await?;
    }
    Ok(())
}

/// Does this process's share of everything that is due now, one slot after the other, oldest first, and tells `watch` of
/// each: first of the runs that were begun, then of those that are not.
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
    if kit.bad_clock().await?.is_some() {
        return Ok(());
    }
    for schedule in schedules {
        let job = schedule.job;
        let begun = begun(&kit.app, Retries::InTheirTime).await?;
        let mut slots: Vec<Slot> = begun.open.iter().filter(|id| id.job == job).map(|id| id.slot).collect();
        // A month that is just being reported is not to be told that nobody reported it.
        let is_early = job == Job::Close && begun.under_way.iter().any(|id| id.job == Job::MonthlyReport);
        if begun.leaves_room_for(schedule) && !is_early {
            slots.extend(due(kit, schedule, looked).await?);
        }
        for slot in slots {
            if stop.is_cancelled() {
                return Ok(());
            }
            // Those behind it are looked for again at the next bell.
            let planned = guarded(kit, job, slot, stop).await.inspect_err(|_| looked.forget(job))?;
            if let Planned::Ran(result) = planned {
                watch(Ran { job, slot, result });
            }
        }
    }
    Ok(())
}

/// The slots of a job that are due and not begun, where it is time to look.
async fn due(kit: &Kit, schedule: &Schedule, looked: &mut Looked) -> Result<Vec<Slot>, StoreError> {
    let (job, now) = (schedule.job, kit.app.now());
    let rests = job == Job::Deliver && kit.mail_rests_until().is_some();
    if !looked.is_time(schedule, now) || rests || !has_work(&kit.app, job, &kit.breakers.resting(now)).await? {
        return Ok(Vec::new());
    }
    let due = plan_due(&kit.app, schedule).await?;
    if due.overdue > 0 && job.covers() != Covers::Tick {
        tracing::warn!(%job, slots = due.overdue, "catching up on slots that were missed");
    }
    if due.capped > 0 {
        tracing::warn!(%job, slots = due.capped, "more slots are due than run at one bell; the next goes on");
        looked.forget(job);
    }
    if looked.expired.insert(job, due.expired) != Some(due.expired) && due.expired > 0 {
        let hint = "creditd jobs next says what runs them";
        tracing::warn!(%job, slots = due.expired, hint, "slots are older than the window and are not run");
    }
    tell_missed(kit, schedule, &due).await?;
    Ok(due.slots)
}

/// Runs a slot in a task of its own, so that a process that stops leaves no half of it behind.
async fn guarded(kit: &Arc<Kit>, job: Job, slot: Slot, stop: &CancellationToken) -> Result<Planned, StoreError> {
    let (task_kit, stop) = (Arc::clone(kit), stop.clone());
    let task = tokio::spawn(async move {
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop };
        run_slot(&task_kit, job, slot, Claiming::OnceOnly, &mut run).await
    });
    task.await.unwrap_or_else(|error| Ok(Planned::Ran(Err(JobError::Panic(error.to_string())))))
}

fn log(ran: &Ran) {
    let Ran { job, slot, result } = ran;
    match result {
        Ok(done) if done.lines.is_empty() && done.problems.is_empty() => {
            tracing::debug!(%job, %slot, "{}", done.summary);
        }
        Ok(done) => {
            tracing::info!(%job, %slot, "{}", done.summary);
            for problem in done.problems.iter().take(PROBLEMS_LOGGED_MAX) {
                let account = problem.account.as_ref().map(tracing::field::display);
                tracing::warn!(%job, %slot, account, "{problem}");
            }
            let more = done.problems.len().saturating_sub(PROBLEMS_LOGGED_MAX);
            if more > 0 {
                tracing::warn!(%job, %slot, more, "and more of that kind; `creditd jobs runs` shows the run");
            }
        }
        Err(JobError::Stopped) => tracing::info!(%job, %slot, "{}", JobError::Stopped),
        Err(error) if error.is_lease_lost() => tracing::info!(%job, %slot, "{error}"),
        Err(error) => tracing::error!(%job, %slot, "{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_bell_is_blamed_on_the_clock_where_that_is_wrong() {
        let at = |text: &str| Instant::parse(text).expect("an instant");
        let bad = BadClock::Behind { now: at("2013-03-01T10:00:00Z"), newest: at("2013-03-01T12:00:00Z") };
        assert_eq!(
            DaemonError::Silent(Some(bad)).to_string(),
            "the scheduler has not rung for 150 seconds; ending, so that whatever supervises creditd starts it again. No job was \
             run: the clock says 2013-03-01T10:00:00Z, but something was recorded at 2013-03-01T12:00:00Z. Set the clock right; \
             or, where it was wrong then, wait until it is later than that"
        );
        assert!(DaemonError::Silent(None).to_string().ends_with(" starts it again"));
    }

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
