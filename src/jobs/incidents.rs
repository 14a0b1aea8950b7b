//! How a run ends, and whether the operators hear of it.
//!
//! A job that fails is an incident until it is done once, or, where its slots are periods, until none that failed is left:
//! one mail to each operator when it begins, one when it is over. Both are written with the end of the run. A job that was
//! told to stop, or whose process ended, did not fail: it goes on when its schedule rings.

use super::{Done, JobError, Kit};
use crate::core::ids::cut_text;
use crate::core::outbox::Message;
use crate::core::schedule::{Covers, Due, Schedule};
use crate::notice::{JobFailed, JobWell, NoticeError};
use crate::store::{Incident, NO_BACKFILL, RunId, StoreError, Telling};

/// Longest reason kept of an incident, in characters.
const WHY_CHARS_MAX: usize = 2_000;

/// What the operators are told if a run ends in one way or the other.
#[derive(Debug, Default)]
pub(super) struct News(Option<Telling>);

impl News {
    /// What they are told when it is done.
    pub(super) fn if_done(&self) -> Option<&Telling> {
        self.0.as_ref().filter(|telling| matches!(telling, Telling::Ends(..)))
    }

    /// What they are told when it has failed.
    pub(super) fn if_failed(&self) -> Option<&Telling> {
        self.0.as_ref().filter(|telling| matches!(telling, Telling::Begins(..)))
    }
}

/// Words what the operators are to be told when a run ends with `result`, where that would be news to them. A backfill is
/// watched by whoever asked for it.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn news(kit: &Kit, id: RunId, result: &Result<Done, JobError>) -> Result<News, StoreError> {
    let RunId { backfill, job, slot } = id;
    if backfill != NO_BACKFILL {
        return Ok(News::default());
    }
    let (now, locale) = (kit.app.now(), kit.app.settings.mail.locale);
    Ok(News(match (kit.app.store.incident(job).await?, result) {
        (Some(incident), Ok(done)) => {
            let outcome = done.summary.clone();
            let Incident { began_at, why, .. } = incident.clone();
            let facts = JobWell { job, slot, done_at: now, outcome, began_at, why, locale };
            let messages = to_operators(kit, |to| kit.templates.job_well(&facts, to));
            Some(Telling::Ends(incident, messages))
        }
        (Some(_), Err(_)) | (None, Ok(_) | Err(JobError::Stopped)) => None,
        (None, Err(error)) if error.is_lease_lost() => None,
        // Who is told of it later would not know what it is about.
        (None, Err(_)) if kit.app.settings.mail.operators.is_empty() => None,
        (None, Err(error)) => {
            let why = error.to_string();
            let facts = JobFailed { job, slot, failed_at: now, why: why.clone(), missed: 0, locale };
            let messages = to_operators(kit, |to| kit.templates.job_failed(&facts, to));
            let why = cut_text(&why, WHY_CHARS_MAX);
            Some(Telling::Begins(Incident { job, slot, began_at: now, why }, messages))
        }
    }))
}

/// Tells the operators of periods that were never run and have left their schedule's window, once for the newest of them.
///
/// # Errors
/// [`StoreError`]; nothing was written then.
pub async fn tell_missed(kit: &Kit, schedule: &Schedule, due: &Due) -> Result<u64, StoreError> {
    let Some(slot) = due.expired_last.filter(|slot| slot.covers() != Covers::Tick) else { return Ok(0) };
    let facts = JobFailed {
        job: schedule.job,
        slot,
        // The key of the notice, so that it comes once.
        failed_at: slot.due_at(),
        why: format!("creditd did not run then, and they are older than the window of {} days", schedule.window_days),
        missed: due.expired,
        locale: kit.app.settings.mail.locale,
    };
    let messages = to_operators(kit, |to| kit.templates.job_failed(&facts, to));
    // They are due now, whenever that was.
    let now = kit.app.now();
    let messages: Vec<Message> = messages.into_iter().map(|message| Message { created_at: now, ..message }).collect();
    kit.app.store.write_messages(&messages).await
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
