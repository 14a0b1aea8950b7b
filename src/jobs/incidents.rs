//! How a run ends, and whether the operators hear of it.
//!
//! A job that fails is an incident until it is done once, or, where its slots are periods, until none that failed is left:
//! one mail to each operator when it begins, one when it is over. Both are written with the end of the run. A job that was
//! told to stop, or whose process ended, did not fail: it goes on when its schedule rings. A delivery that delivered nothing
//! while mail waits for its next try was no better than the one that failed.
//!
//! Periods that nothing runs by itself any more are an incident of their own, which is over when none of them is left.

use super::{Done, JobError, Kit};
use crate::core::ids::cut_text;
use crate::core::outbox::Message;
use crate::core::schedule::{Covers, Due, Schedule, Slot};
use crate::notice::{CAUGHT_UP, JobFailed, JobWell, NoticeError, why_missed};
use crate::store::{Incident, NO_BACKFILL, RunId, StoreError, Telling, Wrong};

/// Days of periods that were missed since the operators were told of others, of which they are told too.
const NEWS_DAYS: i64 = 7;
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
    Ok(News(match (kit.app.store.incident(job, Wrong::Fails).await?, result) {
        (Some(_), Ok(done)) if done.proves_nothing && kit.app.store.is_mail_waiting().await? => None,
        (Some(incident), Ok(done)) => {
            let outcome = done.summary.clone();
            let Incident { began_at, why, .. } = incident.clone();
            let facts = JobWell { job, slot, done_at: now, outcome, began_at, why, missed: false, locale };
            let messages = to_operators(kit, |to| kit.templates.job_well(&facts, to));
            Some(Telling::Ends(incident, messages))
        }
        (Some(_), Err(_)) | (None, Ok(_) | Err(JobError::Stopped)) => None,
        (None, Err(error)) if error.is_lease_lost() => None,
        // Who is told of it later would not know what it is about.
        (None, Err(_)) if kit.app.settings.mail.operators.is_empty() => None,
        (None, Err(error)) => {
            let why = error.to_string();
            let facts = JobFailed { job, slot, failed_at: now, why: why.clone(), missed: 0, oldest: slot, locale };
            let messages = to_operators(kit, |to| kit.templates.job_failed(&facts, to));
            let why = cut_text(&why, WHY_CHARS_MAX);
            Some(Telling::Begins(Incident { job, wrong: Wrong::Fails, slot, began_at: now, why }, messages))
        }
    }))
}

/// Tells the operators of periods that were never run and have left their schedule's window, once until none of them is left, and
/// then that this is so; once more where more than a week, or a window that is shorter, was missed since they were told. `due` is what [`super::plan_due`]
/// says, at each look.
///
/// # Errors
/// [`StoreError`]; nothing was written then.
pub async fn tell_missed(kit: &Kit, schedule: &Schedule, due: &Due) -> Result<(), StoreError> {
    let (job, store) = (schedule.job, &kit.app.store);
    if job.covers() == Covers::Tick || kit.app.settings.mail.operators.is_empty() {
        return Ok(());
    }
    let (now, locale) = (kit.app.now(), kit.app.settings.mail.locale);
    let is_news = |slot: Slot, before: &Option<Incident>| match before {
        Some(before) => slot.due_at() > before.began_at.plus_days(NEWS_DAYS.min(schedule.window_days)),
        None => true,
    };
    let telling = match (store.incident(job, Wrong::Missed).await?, due.expired_last) {
        (before, Some(slot)) if is_news(slot, &before) => {
            let why = why_missed(schedule.window_days);
            // The key of the notice, so that it comes once.
            let began_at = slot.due_at();
            let oldest = due.expired_first.unwrap_or(slot);
            let facts =
                JobFailed { job, slot, failed_at: began_at, why: why.clone(), missed: due.expired, oldest, locale };
            let messages = to_operators(kit, |to| kit.templates.job_failed(&facts, to));
            // They are due now, whenever that was.
            let messages = messages.into_iter().map(|message| Message { created_at: now, ..message }).collect();
            Telling::Begins(Incident { job, wrong: Wrong::Missed, slot, began_at, why }, messages)
        }
        (Some(incident), None) => {
            let Incident { slot, began_at, why, .. } = incident.clone();
            // None is left either where a window was made longer, or where nobody wants to hear of days any more; neither ran any.
            if !store.recorded_slots(job, began_at).await?.contains(&slot) {
                return Ok(());
            }
            let outcome = CAUGHT_UP.to_owned();
            let facts = JobWell { job, slot, done_at: now, outcome, began_at, why, missed: true, locale };
            Telling::Ends(incident, to_operators(kit, |to| kit.templates.job_well(&facts, to)))
        }
        (_, Some(_)) | (None, None) => return Ok(()),
    };
    store.tell(&telling).await
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
