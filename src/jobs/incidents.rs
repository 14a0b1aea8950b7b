//! How a run ends, and whether the operators hear of it.
//!
//! A job that fails is an incident until it is done once, or, where its slots are periods, until none that failed is left:
//! one mail to each operator when it begins, one when it is over. Both are written with the end of the run. A job that was
//! told to stop, or whose process ended, did not fail: it goes on when its schedule rings.

use super::{Done, JobError, Kit};
use crate::core::ids::cut_text;
use crate::core::outbox::Message;
use crate::core::schedule::{Job, Slot};
use crate::notice::{JobFailed, JobWell, NoticeError};
use crate::store::{Incident, RunState, StoreError, Telling};

/// Longest reason kept of an incident, in characters.
const WHY_CHARS_MAX: usize = 2_000;

/// Records how a run that was claimed ended, and tells the operators where it is news to them.
///
/// # Errors
/// [`StoreError`] when it cannot be recorded.
pub async fn finish_run(kit: &Kit, job: Job, slot: Slot, result: &Result<Done, JobError>) -> Result<(), StoreError> {
    let (state, outcome) = match result {
        Ok(done) if done.problems.is_empty() => (RunState::Done, done.summary.clone()),
        Ok(done) => {
            (RunState::Done, format!("{}; {} problems, first: {}", done.summary, done.problems.len(), done.problems[0]))
        }
        Err(error) => (RunState::Failed, error.to_string()),
    };
    let (store, now) = (&kit.app.store, kit.app.now());
    let telling = match (store.incident(job).await?, result) {
        (Some(incident), Ok(done)) => {
            let outcome = done.summary.clone();
            let Incident { began_at, why, .. } = incident.clone();
            let facts = JobWell { job, slot, done_at: now, outcome, began_at, why };
            let messages = to_operators(kit, |to| kit.templates.job_well(&facts, to));
            Some(Telling::Ends(incident, messages))
        }
        (Some(_), Err(_)) | (None, Ok(_) | Err(JobError::Stopped)) => None,
        // Who is told of it later would not know what it is about.
        (None, Err(_)) if kit.app.settings.mail.operators.is_empty() => None,
        (None, Err(_)) => {
            let facts = JobFailed { job, slot, failed_at: now, why: outcome.clone() };
            let messages = to_operators(kit, |to| kit.templates.job_failed(&facts, to));
            let why = cut_text(&outcome, WHY_CHARS_MAX);
            Some(Telling::Begins(Incident { job, slot, began_at: now, why }, messages))
        }
    };
    store.finish_run_and_tell(job, slot, (state, &outcome), now, telling.as_ref()).await
}

/// One message to each. What cannot be worded keeps no run from being recorded.
fn to_operators(
    kit: &Kit,
    word: impl Fn(&crate::core::outbox::Mailbox) -> Result<Message, NoticeError>,
) -> Vec<Message> {
    let worded = kit.app.settings.mail.operators.iter().map(word);
    let said = worded.inspect(|message| {
        if let Err(error) = message {
            tracing::error!(%error, "the operators could not be told of a job");
        }
    });
    said.filter_map(Result::ok).collect()
}
