//! What this process did lately: when its bell rang and what came of the runs of its jobs. It is counted for metrics and
//! health, decides nothing, and is gone with the process: what counts for longer is in the ledger.

use super::{Done, JobError};
use crate::core::schedule::Job;
use crate::core::transaction::words;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant as Moment;

words! {
    /// How a run ended.
    RunEnd {
        /// It did what there was to do.
        Done = "done",
        /// It failed.
        Failed = "failed",
        /// It was told to stop, and goes on later.
        Stopped = "stopped",
    }
}

impl RunEnd {
    /// The end that a result is.
    #[must_use]
    pub const fn of(result: &Result<Done, JobError>) -> RunEnd {
        match result {
            Ok(_) => RunEnd::Done,
            Err(JobError::Stopped) => RunEnd::Stopped,
            // Another process goes on with it.
            Err(error) if error.is_lease_lost() => RunEnd::Stopped,
            Err(_) => RunEnd::Failed,
        }
    }
}

/// What this process did lately.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    rang_at: Option<Moment>,
    has_bad_clock: bool,
    runs: BTreeMap<(Job, RunEnd), (u64, Duration)>,
}

impl Pulse {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bell rang.
    pub fn rang(&self) {
        self.counts().rang_at = Some(Moment::now());
    }

    /// How long ago the bell rang last, by a clock that nobody sets; `None` when it never did.
    #[must_use]
    pub fn since_ring(&self) -> Option<Duration> {
        self.counts().rang_at.map(|rang_at| rang_at.elapsed())
    }

    /// Keeps whether the clock is wrong now; true where that is not as it was before.
    pub fn clock_is_news(&self, is_bad: bool) -> bool {
        std::mem::replace(&mut self.counts().has_bad_clock, is_bad) != is_bad
    }

    /// A run of `job` ended.
    pub fn ended(&self, job: Job, end: RunEnd, took: Duration) {
        let mut counts = self.counts();
        let (runs, time) = counts.runs.entry((job, end)).or_default();
        *runs += 1;
        *time += took;
    }

    /// How many runs ended so, and how long they took together.
    #[must_use]
    pub fn runs(&self) -> BTreeMap<(Job, RunEnd), (u64, Duration)> {
        self.counts().runs.clone()
    }
}
