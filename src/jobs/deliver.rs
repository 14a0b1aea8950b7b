//! `deliver`: takes messages from the outbox to where they go, and records what came of each (DESIGN 6).

use super::{Done, JobError, Kit, Run};
use crate::core::calendar::Instant;
use crate::core::counting::counted;
use crate::core::outbox::NoticeKey;
use crate::store::OutboxRecord;

/// Messages taken at once: their bodies are in memory, and what was delivered is recorded after them.
const BATCH_MESSAGES: usize = 100;
/// First wait after a passing failure; each further one doubles it.
const RETRY_SECONDS: i64 = 60;
/// Longest wait between two tries: an hour.
const RETRY_SECONDS_MAX: i64 = 3_600;
/// A message that cannot be delivered for this long is given up.
const GIVE_UP_DAYS: i64 = 4;

/// Delivers what is due.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let mut done = Done::default();
    let (mut sent, mut failed) = (0_u64, 0_u64);
    loop {
        run.check_stop()?;
        let now = app.now();
        let due = app.store.due_messages(now, BATCH_MESSAGES).await?;
        if due.is_empty() {
            break;
        }
        if run.dry_run {
            due.iter().for_each(|record| done.line(format!("deliver {}", record.message.key)));
            let now = counted(due.len() as u64, "message");
            done.summary = format!("{now} to deliver now; more may follow");
            return Ok(done);
        }
        let full = due.len() == BATCH_MESSAGES;
        let (delivered, failures) = deliver(kit, due).await?;
        app.store.mark_sent(&delivered, now).await?;
        for (key, file) in &delivered {
            done.line(format!("{key} -> {file}"));
        }
        for Failed { key, error, retry_at } in &failures {
            app.store.mark_failed(key, error, *retry_at).await?;
            let then = retry_at.map_or_else(|| "given up".to_owned(), |at| format!("again at {at}"));
            done.problems.push(format!("{key}: {error}; {then}"));
        }
        sent += delivered.len() as u64;
        failed += failures.len() as u64;
        (run.progress)(sent + failed, None);
        if !full {
            break;
        }
    }
    done.summary = format!("{} delivered, {failed} failed", counted(sent, "message"));
    Ok(done)
}

struct Failed {
    key: NoticeKey,
    error: String,
    retry_at: Option<Instant>,
}

async fn deliver(kit: &Kit, due: Vec<OutboxRecord>) -> Result<(Vec<(NoticeKey, String)>, Vec<Failed>), JobError> {
    let (mailer, now) = (kit.mailer.clone(), kit.app.now());
    let work = move || {
        let (mut delivered, mut failures) = (Vec::new(), Vec::new());
        for record in due {
            match mailer.deliver(&record.message) {
                Ok(path) => delivered.push((record.message.key, path.display().to_string())),
                Err(error) => {
                    let retry_at = retry_at(&record, now).filter(|_| !error.is_permanent());
                    failures.push(Failed { key: record.message.key, error: error.to_string(), retry_at });
                }
            }
        }
        (delivered, failures)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| JobError::Panic(error.to_string()))
}

/// When to try again: after 1, 2, 4, ... minutes, at most an hour; `None` once the message is too old.
fn retry_at(record: &OutboxRecord, now: Instant) -> Option<Instant> {
    let doublings = record.attempts.min(16);
    let wait = RETRY_SECONDS.saturating_mul(1 << doublings).min(RETRY_SECONDS_MAX);
    let give_up_at = record.message.created_at.plus_days(GIVE_UP_DAYS);
    (now < give_up_at).then(|| now.plus_seconds(wait))
}
