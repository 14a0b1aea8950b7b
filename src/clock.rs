//! The only "now" of the library (DESIGN 9).
//!
//! Everything else is handed an [`Instant`]. A clock that is set (`--now`, `CREDITD_NOW`) makes any scenario replayable
//! through the real binary; that it is only used on a sandbox database is checked where the database is opened. One that
//! follows a file lets processes that go on running, such as `creditd serve`, live through a year in minutes.

use crate::core::calendar::{BadTime, Instant};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};

/// What tells a clock that follows a file from an instant.
const FILE_MARK: char = '@';

/// Where "now" comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The clock of the machine.
    #[default]
    System,
    /// Always this instant: for sandboxes.
    Fixed(Instant),
    /// The instant that is written in a file, whenever it is asked: for sandboxes.
    Follows(&'static Followed),
}

/// A file with an instant in it.
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    /// What was read last: it holds while somebody writes the file.
    last: AtomicI64,
}

/// Why a clock cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum BadClockSetting {
    /// It is neither an instant nor a file.
    #[error("{0}; a file that a clock follows is written @FILE")]
    Instant(#[from] BadTime),
    /// The file cannot be read.
    #[error("the file {} that the clock is to follow cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it is no instant.
    #[error("the file {} that the clock is to follow: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadTime,
    },
}

impl Clock {
    /// The present instant. The machine's clock may step backwards between two calls; whoever needs order
    /// takes the later of this and what is stored.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(self) -> Instant {
        match self {
            Clock::System => Instant::from_micros(chrono::Utc::now().timestamp_micros()),
            Clock::Fixed(instant) => instant,
            Clock::Follows(file) => file.now(),
        }
    }

    /// True when it is not the machine's.
    #[must_use]
    pub const fn is_set(self) -> bool {
        !matches!(self, Clock::System)
    }

    /// True when time does not pass.
    #[must_use]
    pub const fn is_fixed(self) -> bool {
        matches!(self, Clock::Fixed(_))
    }
}

impl Followed {
    fn now(&self) -> Instant {
        match read(&self.path) {
            Ok(instant) => {
                self.last.store(instant.micros(), Ordering::Relaxed);
                instant
            }
            Err(_) => Instant::from_micros(self.last.load(Ordering::Relaxed)),
        }
    }
}

fn read(path: &Path) -> Result<Instant, BadClockSetting> {
    let text =
        std::fs::read_to_string(path).map_err(|source| BadClockSetting::Read { path: path.to_owned(), source })?;
    Instant::parse(text.trim()).map_err(|source| BadClockSetting::Content { path: path.to_owned(), source })
}

/// An instant, or `@FILE`.
impl FromStr for Clock {
    type Err = BadClockSetting;
    fn from_str(text: &str) -> Result<Clock, BadClockSetting> {
        match text.strip_prefix(FILE_MARK) {
            None => Ok(Clock::Fixed(Instant::parse(text)?)),
            Some(path) => {
                let path = PathBuf::from(path);
                let last = AtomicI64::new(read(&path)?.micros());
                // There is one for the whole life of the process.
                Ok(Clock::Follows(Box::leak(Box::new(Followed { path, last }))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_stands_and_the_system_clock_lies_in_our_time() {
        let fixed: Clock = "2013-03-01T00:00:00Z".parse().expect("valid");
        assert_eq!(fixed.now(), fixed.now());
        assert!(fixed.is_fixed() && fixed.is_set() && !Clock::System.is_set());
        assert!(Clock::System.now() > fixed.now());
        assert!("yesterday".parse::<Clock>().is_err());
    }

    #[test]
    fn a_clock_follows_its_file_and_keeps_the_last_instant_while_there_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("now");
        let setting = format!("@{}", path.display());
        assert!(setting.parse::<Clock>().is_err(), "there is no file");
        std::fs::write(&path, "2013-03-01T00:00:00Z\n").expect("written");
        let clock: Clock = setting.parse().expect("a clock");
        for (text, now) in [("2013-03-02T00:00:00Z", "2013-03-02T00:00:00Z"), ("", "2013-03-02T00:00:00Z")] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(clock.now().to_string(), now);
        }
        assert!(clock.is_set() && !clock.is_fixed());
        assert!(setting.parse::<Clock>().is_err(), "what is in it is no instant");
    }
}
