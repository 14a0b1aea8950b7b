//! Importing a CSV file: the same arguments and the same answer for accounts, purchases and usage.

use super::Context;
use super::exit::{Exit, Failure};
use crate::app::import::{Import, ImportOptions, ImportReport, Source, import};
use crate::core::counting::{counted, grouped};
use anyhow::anyhow;
use std::path::{Path, PathBuf};

/// A file to import.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The CSV file, plain or gzip; - for stdin
    file: PathBuf,
    /// Check every row and write nothing
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
        self.tell(context, &report)?;
        conclude(context, &report)
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
    fn tell(&self, context: &Context, report: &ImportReport) -> Result<(), Failure> {
        if context.is_for_people() {
            return Ok(());
        }
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // A check does not tell what is new from what is there already.
        let written = |number: u64| report.written.then(|| count(number));
        context.show(
            "creditd.import/1",
            &[
                ("file", self.file.display().to_string().into()),
                ("written", report.written.into()),
                ("rows", count(report.rows).into()),
                ("new", written(report.new).into()),
                ("refused", written(report.refused).into()),
                ("already", written(report.already).into()),
                ("bad", count(report.bad).into()),
                ("bad_file", report.bad_file.as_ref().map(|path| path.display().to_string()).into()),
            ],
        )
    }
}

/// Says what came of it, and ends with the exit code that fits.
fn conclude(context: &Context, report: &ImportReport) -> Result<(), Failure> {
    let ImportReport { rows, new, refused, already, bad, bad_rows, bad_file, written } = report;
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
