//! The schedules in force: those built in from `cron/`, replaced file by file by the operator's folder.

use crate::core::near::nearest;
use crate::core::schedule::{BadSchedule, Job, Schedule};
use std::path::{Path, PathBuf};

/// Why there are no schedules.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A file says something impossible.
    #[error(transparent)]
    Bad(#[from] BadSchedule),
    /// The folder or a file in it cannot be read.
    #[error("the schedules in {} cannot be read: {source}; see dir in [cron]", path.display())]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file whose name is no job's.
    #[error("{} is named for no job; did you mean {near}.toml? Jobs are {}", path.display(), Job::words())]
    NoSuchJob {
        /// The file.
        path: PathBuf,
        /// The most similar job.
        near: &'static str,
    },
}

/// The schedule of every job, in the order of [`Job::ALL`]; files `JOB.toml` in `dir` replace the built-in ones.
///
/// # Errors
/// [`ScheduleError`] for the first file that cannot be read, is invalid or is named for no job.
pub fn load(dir: Option<&Path>) -> Result<Vec<Schedule>, ScheduleError> {
    if let Some(dir) = dir {
        refuse_strangers(dir)?;
    }
    Job::ALL.iter().map(|job| load_one(*job, dir)).collect()
}

fn load_one(job: Job, dir: Option<&Path>) -> Result<Schedule, ScheduleError> {
    let name = format!("{job}.toml");
    if let Some(path) = dir.map(|dir| dir.join(&name)).filter(|path| path.exists()) {
        let text =
            std::fs::read_to_string(&path).map_err(|source| ScheduleError::Read { path: path.clone(), source })?;
        return Ok(Schedule::parse(job, &path.display().to_string(), &text)?);
    }
    Ok(Schedule::parse(job, &format!("built-in cron/{name}"), embedded(job))?)
}

/// A misnamed file would be silently without effect.
fn refuse_strangers(dir: &Path) -> Result<(), ScheduleError> {
    let read = |source| ScheduleError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if Job::from_word(&name).is_none() {
            let near = nearest(&name, Job::ALL.iter().map(|job| job.as_str())).unwrap_or(Job::ALL[0].as_str());
            return Err(ScheduleError::NoSuchJob { path, near });
        }
    }
    Ok(())
}

/// The built-in file. A job without one does not compile.
const fn embedded(job: Job) -> &'static str {
    match job {
        Job::Reset => include_str!("../../cron/reset.toml"),
        Job::ExpireHolds => include_str!("../../cron/expire-holds.toml"),
        Job::Scan => include_str!("../../cron/scan.toml"),
        Job::Close => include_str!("../../cron/close.toml"),
        Job::Deliver => include_str!("../../cron/deliver.toml"),
        Job::Webhooks => include_str!("../../cron/webhooks.toml"),
        Job::DailyReport => include_str!("../../cron/daily-report.toml"),
        Job::MonthlyReport => include_str!("../../cron/monthly-report.toml"),
        Job::Seal => include_str!("../../cron/seal.toml"),
        Job::Verify => include_str!("../../cron/verify.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;

    #[test]
    fn every_job_has_a_built_in_schedule() {
        let first = Instant::parse("2026-01-01T00:00:00Z").expect("valid");
        let schedules = load(None).expect("the built-in files are valid");
        let next: Vec<String> = schedules.iter().map(|s| format!("{} {}", s.job, s.next(first, 1)[0])).collect();
        assert_eq!(
            next,
            [
                "reset 2026-01-01T00:05:00Z",
                "expire-holds 2026-01-01T00:01:00Z",
                "scan 2026-01-01T00:01:00Z",
                "daily-report 2026-01-01T00:15:00Z",
                "monthly-report 2026-01-01T00:15:00Z",
                "close 2026-01-01T04:15:00Z",
                "deliver 2026-01-01T00:00:10Z",
                "webhooks 2026-01-01T00:00:10Z",
                "seal 2026-01-01T02:40:00Z",
                "verify 2026-01-01T03:30:00Z",
            ]
        );
    }

    #[test]
    fn a_folder_replaces_file_by_file_and_refuses_strangers() {
        let dir = tempfile::tempdir().expect("a folder");
        let verify = embedded(Job::Verify).replace("0 30 3", "0 15 1");
        std::fs::write(dir.path().join("verify.toml"), verify).expect("written");
        std::fs::write(dir.path().join("README.md"), "notes").expect("written");
        let schedules = load(Some(dir.path())).expect("valid");
        assert_eq!(schedules.last().map(Schedule::cron), Some("0 15 1 * * *"));
        assert_eq!(schedules.first(), load(None).expect("valid").first());

        std::fs::write(dir.path().join("scam.toml"), "").expect("written");
        let error = load(Some(dir.path())).expect_err("refused").to_string();
        assert!(error.contains("did you mean scan.toml?"), "{error}");
        assert!(load(Some(&dir.path().join("absent"))).is_err());
    }
}
