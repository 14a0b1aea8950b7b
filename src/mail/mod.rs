//! How messages leave creditd: the only user of lettre.
//!
//! A transport is handed a finished [`Message`] and looks nothing up. It may be asked for the same message any number of
//! times (the outbox cannot know whether a delivery that was cut off had happened), so delivering is idempotent wherever
//! the medium allows it. Errors say whose fault it is ([`Fault`]), which decides what becomes of the message.

mod eml;
mod file;
mod reply;
mod smtp;
mod wire;

pub use file::{FileMailer, as_file};
pub use smtp::{SmtpMailer, SmtpOptions};

use crate::core::delivery::Fault;
use crate::core::outbox::Message;
use std::path::PathBuf;
use std::sync::Arc;

/// Files that are written at once: each waits for the disk.
const FILES_AT_ONCE: usize = 4;

/// Says whether a message is still to be delivered by whoever asks.
pub type IsOurs<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// The way that mail leaves by.
#[derive(Clone)]
pub enum Mailer {
    /// Into a folder.
    File(FileMailer),
    /// To a server.
    Smtp(Arc<SmtpMailer>),
}

impl Mailer {
    /// Delivers `message`; returns the file it was written to, or what the server said. Asks `is_ours` before it begins, and as
    /// late as it can: `None` where the message did not leave, because it is somebody else's by then.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn deliver(&self, message: &Message, is_ours: IsOurs<'_>) -> Result<Option<String>, MailError> {
        if !is_ours() {
            return Ok(None);
        }
        match self {
            Mailer::File(mailer) => {
                let (mailer, message) = (mailer.clone(), message.clone());
                let written = tokio::task::spawn_blocking(move || mailer.deliver(&message)).await;
                let path = written.map_err(|error| MailError::Panic { why: error.to_string() })??;
                Ok(Some(path.display().to_string()))
            }
            Mailer::Smtp(mailer) => mailer.deliver(message, is_ours).await,
        }
    }

    /// Whether mail could leave now, as far as that is known without a recipient; delivers nothing.
    ///
    /// # Errors
    /// [`MailError`], as the next delivery would have it.
    pub async fn check(&self) -> Result<(), MailError> {
        match self {
            Mailer::File(mailer) => {
                let mailer = mailer.clone();
                let checked = tokio::task::spawn_blocking(move || mailer.check()).await;
                checked.map_err(|error| MailError::Panic { why: error.to_string() })?
            }
            Mailer::Smtp(mailer) => mailer.check().await,
        }
    }

    /// Most deliveries at once that are of use.
    #[must_use]
    pub fn at_once(&self) -> usize {
        match self {
            Mailer::File(_) => FILES_AT_ONCE,
            Mailer::Smtp(mailer) => mailer.connections(),
        }
    }

    /// Lets go of what is kept between two deliveries.
    pub async fn finish(&self) {
        match self {
            Mailer::File(_) => {}
            Mailer::Smtp(mailer) => mailer.finish().await,
        }
    }
}

/// Why a message was not delivered. Errors name the notice by its file or key, never by an address, and show no secret.
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
    /// The name of a header that is none. Trying again does not help.
    #[error("{mail} cannot have the header {name:?}; a name has letters, digits and -")]
    Header {
        /// Which mail.
        mail: String,
        /// The name.
        name: String,
    },
    /// A media type that is none. Trying again does not help.
    #[error("{mail} has an attachment of the media type {found:?}, which is none")]
    MediaType {
        /// Which mail.
        mail: String,
        /// What it is.
        found: String,
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
    /// The name of a server that is none.
    #[error("mail.smtp.host: {host:?} is no name or address of a server")]
    Host {
        /// The name.
        host: String,
    },
    /// The file of certificates cannot be used.
    #[error("mail.smtp.ca_file: {path} has no certificates that can be used: {why}. Certificates in PEM are expected")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no certificates of authorities, so no mail server can be trusted; install them (Debian: \
         ca-certificates) or name yours in mail.smtp.ca_file"
    )]
    NoCertificates,
    /// The password cannot be read.
    #[error("mail.smtp.password_file: {path} cannot be read: {source}")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is in the file is no password.
    #[error("mail.smtp.password_file: {path} {what}; it has the password and nothing else, in one line")]
    NoPassword {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any of it.
        what: &'static str,
    },
    /// The server did not take the message, or did not say whether it has.
    #[error("{what} ({server})")]
    Smtp {
        /// Which server.
        server: String,
        /// Whose fault it is.
        fault: Fault,
        /// What happened.
        what: String,
    },
    /// The delivery died.
    #[error("the delivery ended in a panic: {why}; this is a defect of creditd, please report it")]
    Panic {
        /// Why.
        why: String,
    },
}

impl MailError {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            MailError::Address { .. }
            | MailError::Content { .. }
            | MailError::Header { .. }
            | MailError::MediaType { .. } => Fault::Message,
            MailError::Io { .. } | MailError::Panic { .. } => Fault::Broken,
            MailError::Smtp { fault, .. } => *fault,
            MailError::Host { .. }
            | MailError::Certificates { .. }
            | MailError::NoCertificates
            | MailError::Password { .. }
            | MailError::NoPassword { .. } => Fault::Settings,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::core::ids::Email;

    /// What is refused where an address is given is what lettre would refuse when mail is to leave.
    #[test]
    fn every_address_that_is_taken_is_one_that_mail_goes_to() {
        for (local, label) in [(64, 63), (65, 63), (64, 64), (1, 1)] {
            let text = format!("{}@{}.example", "a".repeat(local), "b".repeat(label));
            let is_taken = text.parse::<lettre::Address>().is_ok();
            assert_eq!(Email::new(&text).and_then(Email::deliverable).is_ok(), is_taken, "{local} {label}");
        }
    }
}
