//! `seal`: writes what was recorded on days that are over to files (DESIGN 8), and joins the days of a month that is over.
//!
//! Reports are the same without it, only slower. A step that was cut short leaves files that nobody reads, and is done
//! again; what is left of it then is removed. Where the operator keeps rows of actions for some months only, those that are sealed
//! longer leave the database.

use super::{Done, JobError, Kit, Run};
use crate::app::{App, Sealing};
use crate::core::counting::counted;
use crate::sealed::Tidied;

/// Steps of one run: ten years of months, and then some.
const STEPS_MAX: usize = 200;
/// Files that are named of those that were removed or written again.
const NAMED_MAX: usize = 3;

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
    let mut tidied = Tidied::default();
    if !run.dry_run {
        tidied = app.tidy_sealed().await?;
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
        add(&mut tidied, app.tidy_sealed().await?);
        let Some(manifest) = sealed else { break };
        parts += 1;
        rows += if is_new { manifest.rows } else { 0 };
        (run.progress)(parts, None);
    }
    done.summary = format!("{} sealed in {}", counted(rows, "row"), counted(parts, "part")) + &said(&tidied);
    if let (Some(months), true) = (app.settings.sealed.keep_months, run.dry_run) {
        done.line(format!(
            "rows of actions that were sealed more than {} before this month leave the database",
            counted(months, "month")
        ));
    }
    if app.settings.sealed.keep_months.is_some() && !run.dry_run {
        let dropped = drop_rows(app, run).await?;
        if dropped > 0 {
            let more = format!("; {} that were sealed long ago left the database", counted(dropped, "row"));
            done.summary.push_str(&more);
        }
    }
    Ok(done)
}

/// Drops what is sealed and older than the operator keeps, a bounded batch at a time.
async fn drop_rows(app: &App, run: &mut Run<'_>) -> Result<u64, JobError> {
    let Some(mut dropping) = app.dropping().await? else { return Ok(0) };
    let mut dropped = 0;
    while let Some(rows) = app.drop_next(&mut dropping).await? {
        run.check_stop()?;
        dropped += rows;
    }
    Ok(dropped)
}

/// Adds what was done to the folder.
fn add(all: &mut Tidied, Tidied { joined, removed, written }: Tidied) {
    all.joined += joined;
    all.removed.extend(removed);
    all.written.extend(written);
}

/// What was done to the folder beside sealing, to go on a sentence; empty where nothing was.
fn said(Tidied { joined, removed, written }: &Tidied) -> String {
    let named = |names: &[String], what: &str| match names.len() {
        0 => String::new(),
        count => {
            let more = if count > NAMED_MAX { format!(" and {} more", count - NAMED_MAX) } else { String::new() };
            format!("; {what}: {}{more}", names[..count.min(NAMED_MAX)].join(", "))
        }
    };
    let joined =
        if *joined > 0 { format!("; {} of joined parts removed", counted(*joined, "file")) } else { String::new() };
    joined + &named(removed, "removed what a process left behind") + &named(written, "written again, as it was missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_said() {
        assert_eq!(said(&Tidied::default()), "");
        let names = |count: usize| (0..count).map(|at| format!("f{at}")).collect::<Vec<String>>();
        let mut all = Tidied { joined: 1, removed: names(1), written: Vec::new() };
        add(&mut all, Tidied { joined: 1, removed: names(4), written: names(1) });
        insta::assert_snapshot!(said(&all), @"; 2 files of joined parts removed; removed what a process left behind: f0, f0, f1 and 2 more; written again, as it was missing: f0");
    }
}
