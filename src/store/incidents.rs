//! Incidents: that a job fails, which the operators are told once until it is well again.

use super::backend::Tx;
use super::runs::read_slot;
use super::sql::Row;
use super::{Result, Store, While, outbox};
use crate::core::calendar::Instant;
use crate::core::outbox::Message;
use crate::core::schedule::{Covers, Job, Slot};

/// A job that fails, whatever its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Which job.
    pub job: Job,
    /// The first slot that failed.
    pub slot: Slot,
    /// When it had failed first.
    pub began_at: Instant,
    /// Why, as it was told.
    pub why: String,
}

/// What the end of a run is to the operators. The messages are written where it is so, in the same database transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// An incident begins, unless there is one of the job already.
    Begins(Incident, Vec<Message>),
    /// An incident is over, unless it was already or another slot of the job still fails.
    Ends(Incident, Vec<Message>),
}

impl Store {
    /// The incident of a job, while it fails.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn incident(&self, job: Job) -> Result<Option<Incident>> {
        let found = self.query("SELECT slot, began_at, why FROM incidents WHERE job = $1").bind(job.as_str());
        let found = found.fetch_all().await.while_("asking whether a job fails")?;
        let read = |row: &Row| {
            let (slot, began_at, why) = (read_slot(row.get(0))?, Instant::from_micros(row.get(1)), row.get(2));
            Ok(Incident { job, slot, began_at, why })
        };
        found.first().map(read).transpose()
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

/// False when the job has an incident already.
async fn begin_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, slot, began_at, why } = incident;
    let done = tx
        .query("INSERT INTO incidents (job, slot, began_at, why) VALUES ($1, $2, $3, $4) ON CONFLICT (job) DO NOTHING")
        .bind(job.as_str())
        .bind(slot.to_string())
        .bind(began_at.micros())
        .bind(why.clone())
        .execute()
        .await
        .while_("recording that a job fails")?;
    Ok(done.rows_affected() > 0)
}

/// False when it is over already, or when a period of the job that has failed since is still to be done: one that is done
/// says nothing about another. A tick does all there is to do.
async fn end_incident(tx: &mut Tx, incident: &Incident) -> Result<bool> {
    let Incident { job, began_at, .. } = incident;
    let done = tx
        .query(
            "DELETE FROM incidents WHERE job = $1 AND began_at = $2 AND NOT EXISTS (
                 SELECT 1 FROM runs AS r WHERE $3 = 1 AND r.backfill = 0 AND r.job = $1
                    AND ((r.state = 'failed' AND r.finished_at >= $2)
                         OR (r.state = 'running' AND r.attempts > 1 AND r.started_at >= $2)))",
        )
        .bind(job.as_str())
        .bind(began_at.micros())
        .bind(i64::from(job.covers() != Covers::Tick))
        .execute()
        .await
        .while_("recording that a job is well again")?;
    Ok(done.rows_affected() > 0)
}
