//! Importing a CSV file: the same arguments and the same answer for accounts, purchases and usage.

use super::Context;
use super::exit::{Exit, Failure};
use super::output::Cell;
use crate::app::import::{FORESEEN_ROWS_MAX, Import, ImportOptions, ImportReport, Source, import};
use crate::core::counting::{counted, grouped};
use crate::core::ids::Email;
use crate::core::statement::{Changed, LineType};
use crate::jobs::{Foresight, GrantMoves, StatementMoves, foresee};
use anyhow::anyhow;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Grants, and statements, that are named to people.
const SHOWN_MAX: usize = 20;

/// A file to import.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The CSV file, plain or gzip; - for stdin
    file: PathBuf,
    /// Check every row, say which grants would move and which statements change, and write nothing
    #[arg(long, conflicts_with = "skip_bad")]
    dry_run: bool,
    /// Import the good rows although there are bad ones, which go to a file that can be mended and imported
    #[arg(long)]
    skip_bad: bool,
    /// Where bad rows go [default: FILE.bad.csv, beside FILE]
    #[arg(long, value_name = "PATH", requires = "skip_bad")]
    bad_file: Option<PathBuf>,
}

impl ImportArgs {
    pub(super) async fn run<I: Import>(self, context: &Context, kind: &I) -> Result<(), Failure> {
        let skip_bad = if self.skip_bad { Some(self.bad_file()?) } else { None };
        let app = context.app().await?;
        let options = ImportOptions { skip_bad, dry_run: self.dry_run };
        let progress = context.progress(if self.dry_run { "checking" } else { "importing" });
        let report = import(app, kind, Source::new(&self.file), &options, &mut progress.report()).await?;
        drop(progress);
        let is_foreseen = self.dry_run && report.bad == 0 && report.rows <= FORESEEN_ROWS_MAX;
        let foresight = match is_foreseen {
            true => {
                let progress = context.progress("looking at what would change");
                Some(foresee(app, &report.calls, &mut progress.report()).await?)
            }
            false => None,
        };
        self.tell(context, &report, foresight.as_ref())?;
        conclude(context, &report)?;
        match &foresight {
            Some(foresight) => say_foresight(context, foresight),
            None if self.dry_run => context.say(format_args!(
                "What would change is looked at for files of up to {}.",
                counted(FORESEEN_ROWS_MAX, "row")
            )),
            None => {}
        }
        Ok(())
    }

    /// Where bad rows go: `usage.bad.csv` beside `usage.csv.gz`.
    fn bad_file(&self) -> Result<PathBuf, Failure> {
        match &self.bad_file {
            Some(path) => Ok(path.clone()),
            None if self.file == Path::new("-") => {
                let what = "bad rows of standard input need a file to go to; name one with --bad-file";
                Err(Failure::message(Exit::Usage, what))
            }
            None => {
                let is = |path: &Path, wanted: &str| path.extension().is_some_and(|found| found == wanted);
                let mut stem = self.file.clone();
                for ending in ["gz", "csv"] {
                    if is(&stem, ending) {
                        stem.set_extension("");
                    }
                }
                let mut path = stem.into_os_string();
                path.push(".bad.csv");
                Ok(path.into())
            }
        }
    }

    /// The data, which people get in words instead.
    fn tell(&self, context: &Context, report: &ImportReport, foresight: Option<&Foresight>) -> Result<(), Failure> {
        if context.is_for_people() {
            return Ok(());
        }
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // A check does not tell what is new from what is there already.
        let written = |number: u64| report.written.then(|| count(number));
        let mut foreseen = foresight.map(|foresight| {
            let cells = [
                ("grants_moved", grants_json(foresight)),
                ("statements_changed", statements_json(foresight)),
                ("more_grants", foresight.more_grants.into()),
                ("more_statements", foresight.more_statements.into()),
                ("corrected_statements", foresight.told.into()),
            ];
            cells.map(|(name, value)| (name, Cell::Json(value))).to_vec()
        });
        let mut fields = vec![
            ("file", self.file.display().to_string().into()),
            ("written", report.written.into()),
            ("rows", count(report.rows).into()),
            ("new", written(report.new).into()),
            ("refused", written(report.refused).into()),
            ("already", written(report.already).into()),
            ("bad", count(report.bad).into()),
            ("bad_file", report.bad_file.as_ref().map(|path| path.display().to_string()).into()),
        ];
        fields.extend(foreseen.take().into_iter().flatten());
        context.show("creditd.import/1", &fields)
    }
}

fn grants_json(foresight: &Foresight) -> Value {
    let one = |moves: &GrantMoves| {
        let GrantMoves { account, label, credit_type, is_new, consumed, lapsed, remaining } = moves;
        json!({
            "account": account.as_str(), "label": label, "credit_type": credit_type.as_str(), "new": is_new,
            "consumed": figure(*consumed), "lapsed": figure(*lapsed), "remaining": figure(*remaining),
        })
    };
    foresight.grants.iter().map(one).collect()
}

fn statements_json(foresight: &Foresight) -> Value {
    let change = |change: &Changed| {
        json!({
            "figure": change.column.as_str(), "credit_type": change.credit_type.map(LineType::as_str),
            "before": figure(change.before), "after": figure(change.after),
        })
    };
    let one = |moves: &StatementMoves| {
        json!({
            "account": moves.account.as_str(), "month": moves.month.to_string(),
            "changes": moves.changes.iter().map(change).collect::<Value>(),
            "corrected_for": moves.told.iter().map(Email::as_str).collect::<Value>(),
        })
    };
    foresight.statements.iter().map(one).collect()
}

/// A sum of credits; as text where no program of the usual kind would read it to the last one.
fn figure(credits: i128) -> Value {
    i64::try_from(credits).map_or_else(|_| credits.to_string().into(), Value::from)
}

/// What would change, in words; of each kind the first few.
fn say_foresight(context: &Context, foresight: &Foresight) {
    let Foresight { grants, more_grants, statements, more_statements, told } = foresight;
    if grants.is_empty() && statements.is_empty() {
        return context.say("It would move no credits and change no statement.");
    }
    let and_more = |shown: usize, all: u64, noun: &str| {
        if all > shown as u64 {
            context.say(format_args!("  and {} more", counted(all - shown as u64, noun)));
        }
    };
    let all = grants.len() as u64 + more_grants;
    context.say(format_args!("It would move {}:", counted(all, "grant")));
    for GrantMoves { account, label, is_new, consumed, lapsed, remaining, .. } in grants.iter().take(SHOWN_MAX) {
        let moves = [(consumed, "consumed"), (lapsed, "lapsed"), (remaining, "left")];
        let moves: Vec<String> = moves
            .iter()
            .filter(|(by, _)| **by != 0)
            .map(|(by, what)| format!("{}{} {what}", if **by > 0 { "+" } else { "" }, grouped(**by)))
            .collect();
        let new = if *is_new { "new, " } else { "" };
        context.say(format_args!("  {account}  {label}: {new}{}", moves.join(", ")));
    }
    and_more(SHOWN_MAX.min(grants.len()), all, "grant");
    let all = statements.len() as u64 + more_statements;
    if all == 0 {
        return context.say("No statement of a month that is over would change.");
    }
    context.say(format_args!("{} of months that are over would change:", counted(all, "statement")));
    for StatementMoves { account, month, changes, told } in statements.iter().take(SHOWN_MAX) {
        let change = |Changed { column, credit_type, before, after }: &Changed| {
            let of = credit_type.map(|of| format!("{of} ")).unwrap_or_default();
            format!("{of}{column} {} -> {}", grouped(*before), grouped(*after))
        };
        let changes: Vec<String> = changes.iter().map(change).collect();
        context.say(format_args!("  {account}  {month}: {}", changes.join(", ")));
        if !told.is_empty() {
            let told: Vec<&str> = told.iter().map(Email::as_str).collect();
            context.say(format_args!("    a corrected one to {}", told.join(", ")));
        }
    }
    and_more(SHOWN_MAX.min(statements.len()), all, "statement");
    if *told > 0 {
        context.say(format_args!(
            "{} would be sent, each when its month is closed.",
            counted(*told, "corrected statement")
        ));
    }
}

/// Says what came of it, and ends with the exit code that fits.
fn conclude(context: &Context, report: &ImportReport) -> Result<(), Failure> {
    let ImportReport { rows, new, refused, already, bad, bad_rows, bad_file, written, calls: _ } = report;
    let read = counted(*rows, "row");
    if !bad_rows.is_empty() {
        for row in bad_rows {
            context.warn(row);
        }
        let more = bad.saturating_sub(bad_rows.len() as u64);
        if more > 0 {
            context.warn(format_args!("... and {} more that are bad", counted(more, "row")));
        }
    }
    let done = format!(
        "read {read}: {} new{}, {} there already",
        grouped(*new),
        if *refused > 0 { format!(" ({} refused)", grouped(*refused)) } else { String::new() },
        grouped(*already)
    );
    match (bad, written, bad_file) {
        (0, false, _) => context.say(format_args!("checked {read}: all can be imported; nothing was written")),
        (0, true, _) => context.say(done),
        (bad, false, _) => {
            return Err(anyhow!(
                "{} of {read} cannot be imported; nothing was imported. Mend the file, or import the others with --skip-bad",
                grouped(*bad)
            )
            .into());
        }
        (bad, true, Some(path)) => {
            let what = format!(
                "{done}, {} bad; these are in {}: mend them there and import that file",
                grouped(*bad),
                path.display()
            );
            return Err(Failure::message(Exit::PartlyDone, what));
        }
        (bad, true, None) => {
            let what = format!(
                "{done}; {} became impossible after they were checked. Import the file again to see whether they still are",
                counted(*bad, "row")
            );
            return Err(Failure::message(Exit::PartlyDone, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_go_beside_the_file() {
        let bad_file = |file: &str| {
            let args = ImportArgs { file: file.into(), dry_run: false, skip_bad: true, bad_file: None };
            args.bad_file().map(|path| path.display().to_string()).map_err(|failure| failure.exit())
        };
        assert_eq!(bad_file("in/usage.csv.gz").as_deref(), Ok("in/usage.bad.csv"));
        assert_eq!(bad_file("usage.csv").as_deref(), Ok("usage.bad.csv"));
        assert_eq!(bad_file("usage.bad.csv").as_deref(), Ok("usage.bad.bad.csv"));
        assert_eq!(bad_file("usage.v1").as_deref(), Ok("usage.v1.bad.csv"));
        assert_eq!(bad_file("-"), Err(Exit::Usage));
    }
}
