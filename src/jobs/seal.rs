//! `seal`: writes what was recorded on days that are over to files (DESIGN 8), and joins the days of a month that is over.
//!
//! Reports are the same without it, only slower. A step that was cut short leaves files that nobody reads, and is done
//! again; what is left of it then is removed.

use super::{Done, JobError, Kit, Run};
use crate::app::Sealing;
use crate::core::counting::counted;
use crate::sealed::Tidied;

/// Steps of one run: ten years of months, and then some.
const STEPS_MAX: usize = 200;

/// Seals every day that is over.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let mut done = Done::default();
    if !app.settings.sealed.enabled {
        done.summary = "sealing is off: `enabled` of [sealed] in the settings".to_owned();
        return Ok(done);
    }
    if !run.dry_run {
        say(app.tidy_sealed().await?, &mut done);
    }
    let (mut parts, mut rows) = (0_u64, 0_u64);
    for _ in 0..STEPS_MAX {
        run.check_stop()?;
        let Some(next) = app.next_sealing().await? else { break };
        done.line(match &next.sealing {
            Sealing::Days(days) => format!("{days}: seal"),
            Sealing::Month(days, joined) => format!("{days}: join {}", counted(joined.len() as u64, "part")),
        });
        if run.dry_run {
            done.summary = "the first step; each follows from the one before".to_owned();
            return Ok(done);
        }
        let is_new = matches!(next.sealing, Sealing::Days(_));
        let sealed = app.seal(next).await?;
        say(app.tidy_sealed().await?, &mut done);
        let Some(manifest) = sealed else { break };
        parts += 1;
        rows += if is_new { manifest.rows } else { 0 };
        (run.progress)(parts, None);
    }
    done.summary = format!("{} sealed in {}", counted(rows, "row"), counted(parts, "part"));
    Ok(done)
}

/// What was done to the folder beside sealing.
fn say(tidied: Tidied, done: &mut Done) {
    let Tidied { joined, removed, written } = tidied;
    if joined > 0 {
        done.line(format!("{} of joined parts removed", counted(joined, "file")));
    }
    removed.into_iter().for_each(|name| done.line(format!("{name}: left behind by a process, removed")));
    written.into_iter().for_each(|name| done.line(format!("{name}: was missing, written again")));
}
