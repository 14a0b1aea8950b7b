//! How a command ends: exit codes that scripts can rely on, and the failure that carries one.

use super::output::ReaderGone;
use crate::app::AppError;
use crate::app::import::ImportError;
use crate::config::ConfigError;
use crate::config::schedules::ScheduleError;
use crate::core::delivery::Fault;
use crate::core::ledger::Cause;
use crate::jobs::JobError;
use crate::mail::MailError;
use crate::notice::BadTemplates;
use crate::store::StoreError;
use std::fmt;
use std::process::ExitCode;

/// How a command ended. The numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// It failed for a reason that has no number of its own.
    Failure,
    /// The command line cannot be understood (clap's own number).
    Usage,
    /// Some of it was done.
    PartlyDone,
    /// Settings, schedules or credentials are wrong.
    Config,
    /// The request was understood and refused.
    Refused,
    /// The balance does not cover it (R6).
    InsufficientCredits,
    /// The key is taken by another request (R9), or somebody else holds the lock.
    Conflict,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Exit; 9] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::PartlyDone,
        Exit::Config,
        Exit::Refused,
        Exit::InsufficientCredits,
        Exit::Conflict,
        Exit::Interrupted,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::PartlyDone => 3,
            Exit::Config => 4,
            Exit::Refused => 5,
            Exit::InsufficientCredits => 6,
            Exit::Conflict => 7,
            Exit::Interrupted => 130,
        }
    }

    /// What it means, for `creditd help exit-codes`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done",
            Exit::Failure => "failed; the message on stderr says what and why",
            Exit::Usage => "the command line cannot be understood",
            Exit::PartlyDone => {
                "partly done: stderr says what was not; mend that and repeat, for nothing is done twice"
            }
            Exit::Config => "settings, schedules or credentials are wrong",
            Exit::Refused => "refused: unknown account or action, closed account, limit, or not a sandbox",
            Exit::InsufficientCredits => "insufficient credits: nothing was taken",
            Exit::Conflict => {
                "conflict: the key belongs to another request, or the ledger is locked by another process"
            }
            Exit::Interrupted => {
                "interrupted by Ctrl-C or SIGTERM: what was done stays, and the same again does the rest"
            }
        }
    }

    /// The text of `creditd help exit-codes`.
    #[must_use]
    pub fn help() -> String {
        Exit::ALL.iter().map(|exit| format!("{:>4}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

/// The one place that knows which error ends with which code.
impl From<&anyhow::Error> for Exit {
    fn from(error: &anyhow::Error) -> Exit {
        let of = |cause: &(dyn std::error::Error + 'static)| {
            let settings = cause.is::<ConfigError>() || cause.is::<ScheduleError>() || cause.is::<BadTemplates>();
            let app = || match cause.downcast_ref::<ImportError>() {
                Some(ImportError::App(error)) => Some(error),
                _ => cause.downcast_ref::<AppError>(),
            };
            let store = || cause.downcast_ref::<StoreError>().map(Exit::from);
            let settings = settings || is_of_settings(cause);
            settings.then_some(Exit::Config).or_else(|| app().map(Exit::from)).or_else(store)
        };
        error.chain().find_map(of).unwrap_or(Exit::Failure)
    }
}

/// Mail that cannot leave as the settings say.
fn is_of_settings(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_job = match cause.downcast_ref::<JobError>() {
        Some(JobError::NotDelivered { fault, .. }) => *fault == Fault::Settings,
        Some(JobError::Mail(error)) => error.fault() == Fault::Settings,
        _ => false,
    };
    of_job || cause.downcast_ref::<MailError>().is_some_and(|error| error.fault() == Fault::Settings)
}

impl From<&AppError> for Exit {
    fn from(error: &AppError) -> Exit {
        match error {
            AppError::Refused(refusal) => Exit::from(refusal.cause()),
            AppError::UnknownAccount(_)
            | AppError::UnknownThen { .. }
            | AppError::NotASandbox
            | AppError::BadToken(_) => Exit::Refused,
            AppError::AsOfFuture { .. } => Exit::Usage,
            AppError::Sealed(_)
            | AppError::NotSealed { .. }
            | AppError::Dropped(_)
            | AppError::Moved(_)
            | AppError::Lacking(_)
            | AppError::Copy(_) => Exit::Failure,
            AppError::Store(error) => Exit::from(error),
        }
    }
}

impl From<Cause> for Exit {
    fn from(cause: Cause) -> Exit {
        match cause {
            Cause::Conflict => Exit::Conflict,
            Cause::InsufficientCredits => Exit::InsufficientCredits,
            _ => Exit::Refused,
        }
    }
}

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Exit {
        match error {
            StoreError::Missing { .. }
            | StoreError::NotALedger { .. }
            | StoreError::NotEmpty { .. }
            | StoreError::NoDatabase { .. }
            | StoreError::Credentials { .. }
            | StoreError::Url { .. } => Exit::Config,
            StoreError::Shared(error) => Exit::from(&**error),
            StoreError::Exists { .. } | StoreError::Locked | StoreError::Contended { .. } => Exit::Conflict,
            _ => Exit::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command did not end well, and with which code. Any error becomes one, with the code that is its own or
/// [`Exit::Failure`]; [`OrExit::or_exit`] gives another.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure with a code of its own.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into() }
    }

    /// A failure that is nobody's error but says something to the person.
    pub fn message(exit: Exit, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Failure {
        Failure { exit, error: anyhow::Error::msg(message) }
    }

    /// The code. Whoever closes our stdout early (`| head`) has read enough: that is no failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.reader_gone() { Exit::Ok } else { self.exit }
    }

    /// What to print on stderr: the error and what caused it, each said once. None when the reader has gone.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        if self.reader_gone() {
            return None;
        }
        let mut text = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            // Many errors already quote their cause.
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        Some(text)
    }

    fn reader_gone(&self) -> bool {
        self.error.chain().any(ReaderGone::is_cause)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        Failure { exit: Exit::from(&error), error }
    }
}

/// Gives the error of a result an exit code.
pub trait OrExit<T> {
    /// The value, or a [`Failure`] that ends the command with `exit`.
    ///
    /// # Errors
    /// The error of `self`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn codes_are_listed_once_each_in_order() {
        let codes = Exit::ALL.map(Exit::code);
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(Exit::help().lines().nth(6).is_some_and(|line| line.starts_with("   6  insufficient credits")));
    }

    #[test]
    fn errors_find_their_code_wherever_they_were_wrapped() {
        let locked = || AppError::Store(StoreError::Locked);
        let missing = StoreError::Missing { place: crate::store::Place::File("x.db".into()) };
        let not_delivered =
            |fault| JobError::NotDelivered { fault, why: String::new(), summary: String::new(), problems: Vec::new() };
        let unknown = AppError::UnknownAccount(crate::core::ids::AccountId::new("a").expect("an id"));
        for (failure, exit) in [
            (Failure::from(ImportError::App(locked())), Exit::Conflict),
            (Failure::from(anyhow::Error::from(locked()).context("while importing")), Exit::Conflict),
            (Failure::from(missing), Exit::Config),
            (Failure::from(StoreError::Contended { attempts: 10 }), Exit::Conflict),
            (Failure::from(StoreError::NoConnection), Exit::Failure),
            (Failure::from(unknown), Exit::Refused),
            (Failure::from(ConfigError::Settings(Vec::new())), Exit::Config),
            (Failure::from(not_delivered(Fault::Settings)), Exit::Config),
            (Failure::from(not_delivered(Fault::Server)), Exit::Failure),
            (Failure::from(JobError::Mail(MailError::NoCertificates)), Exit::Config),
            (Failure::from(anyhow::anyhow!("whatever")), Exit::Failure),
        ] {
            assert_eq!(failure.exit(), exit, "{failure:?}");
        }
    }

    #[test]
    fn causes_are_said_once() {
        let io = || std::io::Error::other("disk is full");
        let chained: anyhow::Error = Err::<(), _>(io()).context("the report was not written").expect_err("an error");
        assert_eq!(Failure::from(chained).text().as_deref(), Some("the report was not written: disk is full"));

        #[derive(Debug, thiserror::Error)]
        #[error("not written: {source}")]
        struct Quoting {
            source: std::io::Error,
        }
        let failure = Err::<(), _>(Quoting { source: io() }).or_exit(Exit::PartlyDone).expect_err("a failure");
        assert_eq!(failure.text().as_deref(), Some("not written: disk is full"));
        assert_eq!(failure.exit(), Exit::PartlyDone);
    }
}
