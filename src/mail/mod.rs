//! How messages leave creditd: the only user of lettre.
//!
//! A transport is handed a finished [`Message`](crate::core::outbox::Message) and looks nothing up. It may be asked for
//! the same message any number of times (the outbox cannot know whether a delivery that was cut off had happened), so
//! delivering is idempotent wherever the medium allows it.

mod eml;
mod file;

pub use file::FileMailer;

use std::path::PathBuf;

/// Why a message was not delivered. Errors name the notice by its file, never by an address.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address that no mail program would take. Trying again does not help.
    #[error("the {whose} address of {mail} cannot be used: {source}")]
    Address {
        /// `sender's` or `recipient's`.
        whose: &'static str,
        /// Which mail.
        mail: String,
        /// What is wrong with it.
        source: lettre::address::AddressError,
    },
    /// The message cannot be put into mail format. Trying again does not help.
    #[error("{mail} cannot be written as a mail: {source}")]
    Content {
        /// Which mail.
        mail: String,
        /// What is wrong with it.
        source: lettre::error::Error,
    },
    /// Files or directories did not obey: a full disk, missing rights. May be over at the next try.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl MailError {
    /// True when trying again cannot help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            MailError::Address { .. } | MailError::Content { .. } => true,
            MailError::Io { .. } => false,
        }
    }
}
