//! What is around every run of a job: the span that names it in the log, the pings that tell of it, and the counting.

use super::pulse::RunEnd;
use super::{Kit, Planned};
use crate::core::schedule::Job;
use crate::ping::Event;
use crate::store::{NO_BACKFILL, RunId, StoreError};
use tokio::time::Instant as Moment;
use tracing::Instrument;

/// Does `run`, which is this process's share of the run `id`, and tells of it; that it begins where it `is_new`. However it
/// ends, also by a panic, somebody hears.
pub(super) async fn watched(
    kit: &Kit,
    id: RunId,
    is_new: bool,
    run: impl Future<Output = Result<Planned, StoreError>>,
) -> Result<Planned, StoreError> {
    let RunId { backfill, job, slot } = id;
    let mut watch = Watch { kit, job, began: Moment::now(), end: Some(RunEnd::Failed) };
    if is_new {
        watch.tell(Event::Began);
    }
    let span = tracing::info_span!("run", %job, %slot, backfill = tracing::field::Empty);
    if backfill != NO_BACKFILL {
        span.record("backfill", backfill);
    }
    let planned = run.instrument(span).await;
    watch.end = match &planned {
        Ok(Planned::Ran(result)) => Some(RunEnd::of(result)),
        Ok(_) => None,
        Err(_) => Some(RunEnd::Failed),
    };
    planned
}

/// A run under way; dropped, it is over.
struct Watch<'a> {
    kit: &'a Kit,
    job: Job,
    began: Moment,
    /// None where there was nothing left to do.
    end: Option<RunEnd>,
}

impl Watch<'_> {
    fn tell(&self, event: Event) {
        if let Some(pinger) = &self.kit.pinger {
            pinger.tell(self.job, event);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(end) = self.end else { return };
        self.kit.pulse.ended(self.job, end, self.began.elapsed());
        match end {
            RunEnd::Done => self.tell(Event::Done),
            RunEnd::Failed => self.tell(Event::Failed),
            // It goes on when its schedule rings next; if it does not, the ping that is missing says so.
            RunEnd::Stopped => {}
        }
    }
}
