//! Incidents: that a job fails, or missed periods that nothing runs by itself any more, which the operators are told once until it
//! is over.

use super::backend::{Tx, in_write};
use super::runs::read_slot;
use super::sql::Row;
use super::{Result, Store, While, outbox};
use crate::core::calendar::Instant;
use crate::core::outbox::Message;
use crate::core::schedule::{Covers, Job, Slot};
use crate::core::transaction::words;

words! {
    /// What is wrong with a job. Of each there is one incident of a job at a time.
    Wrong {
        /// Its runs fail.
        Fails = "fails",
        /// Periods left the window of its schedule before they were run.
        Missed = "missed",
    }
}

/// A job with which something is wrong, whatever its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which job.
    pub job: Job,
    /// What is wrong.
    pub wrong: Wrong,
    /// The first slot that failed, or the newest that was missed.
    pub slot: Slot,
    /// When it had failed first, or when that slot fell due.
    pub began_at: Instant,
    /// Why, as it was told.
    pub why: String,
}

impl Incident {
    /// Where it is kept.
    fn place(job: Job, wrong: Wrong) -> String {
        match wrong {
            Wrong::Fails => job.to_string(),
            Wrong::Missed => format!("{job} {wrong}"),
        }
    }

    /// Of which job the one is that is kept at `place`; none where there can be none.
    pub(super) fn job_at(place: &str) -> Option<Job> {
        let is_of = |job: &Job| Wrong::ALL.iter().any(|wrong| Incident::place(*job, *wrong) == place);
        Job::ALL.iter().copied().find(is_of)
    }
}

/// What is news to the operators. The messages are written where it is so, in the same database transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// An incident begins, unless there is one of the job already; one of missed periods takes the place of one that was of older ones.
    Begins(Incident, Vec<Message>),
    /// An incident is over, unless it was already, or another slot of the job that fails still does.
    Ends(Incident, Vec<Message>),
}

impl Store {
    /// The incident of a job, while this is wrong with it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn incident(&self, job: Job, wrong: Wrong) -> Result<Option<Incident>> {
        let place = Incident::place(job, wrong);
        let found = self.query("SELECT slot, began_at, why FROM incidents WHERE job = $1").bind(place);
        let found = found.fetch_all().await.while_("asking whether a job fails")?;
        let read = |row: &Row| {
            let (slot, began_at, why) = (read_slot(row.get(0))?, Instant::from_micros(row.get(1)), row.get(2));
            Ok(Incident { job, wrong, slot, began_at, why })
        };
        found.first().map(read).transpose()
    }

    /// Tells the operators what no run told, where it is news to them.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn tell(&self, telling: &Telling) -> Result<()> {
        in_write!(self, "committing a message to the operators", |tx| tell(tx, telling).await)
    }
}

/// Tells the operators where it is news to them, with the end of the run.
pub(super) async fn tell(tx: &mut Tx, telling: &Telling) -> Result<()> {
    let (is_news, messages) = match telling {
        Telling::Begins(incident, messages) => (begin_incident(tx, incident).await?, messages),
        Telling::Ends(incident, messages) => (end_incident(tx, incident).await?, messages),
    };
    if is_news { outbox::insert(tx, messages).await.map(drop) } else { Ok(()) }
}

/// False when the job has an incident already, of which no newer period was missed.
async fn begin_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, wrong, slot, began_at, why } = incident;
    let done = tx
        .query(
            "INSERT INTO incidents (job, slot, began_at, why) VALUES ($1, $2, $3, $4)
             ON CONFLICT (job) DO UPDATE SET slot = excluded.slot, began_at = excluded.began_at, why = excluded.why
              WHERE $5 = 1 AND incidents.began_at < excluded.began_at",
        )
        .bind(Incident::place(*job, *wrong))
        .bind(slot.to_string())
        .bind(began_at.micros())
        .bind(why.clone())
        .bind(i64::from(*wrong == Wrong::Missed))
        .execute()
        .await
        .while_("recording that a job fails")?;
    Ok(done.rows_affected() > 0)
}

/// False when it is over already, or when a period of the job that has failed since is still to be done: one that is done
/// says nothing about another. A tick does all there is to do.
async fn end_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, wrong, began_at, .. } = incident;
    let done = tx
        .query(
            "DELETE FROM incidents WHERE job = $4 AND began_at = $2 AND NOT EXISTS (
                 SELECT 1 FROM runs AS r WHERE $3 = 1 AND r.backfill = 0 AND r.job = $1
                    AND ((r.state = 'failed' AND r.finished_at >= $2)
                         OR (r.state = 'running' AND r.attempts > 1 AND r.started_at >= $2)))",
        )
        .bind(job.as_str())
        .bind(began_at.micros())
        .bind(i64::from(*wrong == Wrong::Fails && job.covers() != Covers::Tick))
        .bind(Incident::place(*job, *wrong))
        .execute()
        .await
        .while_("recording that a job is well again")?;
    Ok(done.rows_affected() > 0)
}
