//! Mail as files: one `.eml` per message, for whatever picks them up; the transport that needs nothing.
//!
//! A file appears under its name whole or not at all: it is written aside in `.tmp`, forced to disk, and only then
//! renamed. The name comes from the notice alone, so delivering a message again writes the same file again.

use super::{MailError, eml};
use crate::core::outbox::{Mailbox, Message};
use lettre::{FileTransport, Transport};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Digits of the key's fingerprint in a file name: 48 bits, within one account and second.
const NAME_DIGITS: usize = 12;

/// Writes messages into a directory.
#[derive(Clone, Debug)]
pub struct FileMailer {
    dir: PathBuf,
    unfinished: PathBuf,
    from: Mailbox,
}

/// How old a file is that nobody is writing any more.
const UNFINISHED_MAX: Duration = Duration::from_secs(3_600);

impl FileMailer {
    /// Makes the directory where it is missing (on Unix open to nobody else) and sweeps away what an earlier process
    /// left unfinished. What is younger than an hour another process may be writing.
    ///
    /// # Errors
    /// [`MailError::Io`] when the directory cannot be made or read.
    pub fn new(dir: &Path, from: Mailbox) -> Result<FileMailer, MailError> {
        let unfinished = dir.join(".tmp");
        create_private_dir(&unfinished).map_err(io_error("create", &unfinished))?;
        let mailer = FileMailer { dir: dir.to_owned(), unfinished, from };
        mailer.sweep()?;
        Ok(mailer)
    }

    /// Removes what a crash left between writing and renaming. Nothing of it was delivered, and the outbox still has it.
    fn sweep(&self) -> Result<(), MailError> {
        let failed = io_error("sweep", &self.unfinished);
        for entry in fs::read_dir(&self.unfinished).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_none_or(|age| age < UNFINISHED_MAX) {
                continue;
            }
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a file can be written; leaves none. Blocks on the disk.
    ///
    /// # Errors
    /// [`MailError::Io`] when it cannot.
    pub fn check(&self) -> Result<(), MailError> {
        let path = self.unfinished.join("check.eml");
        let written = File::create(&path).and_then(|file| file.sync_all()).and_then(|()| fs::remove_file(&path));
        written.map_err(io_error("write into", &self.dir))
    }

    /// Writes `message` and returns its file, on disk for good. Blocks on the disk. Writing a message again replaces
    /// its file by the same bytes.
    ///
    /// # Errors
    /// [`MailError`]; nothing is left in the directory then.
    pub fn deliver(&self, message: &Message) -> Result<PathBuf, MailError> {
        let name = file_name(message);
        let mail = eml::compose(&self.from, message, None, &name)?;
        let id = FileTransport::new(&self.unfinished).send(&mail).map_err(|error| MailError::Io {
            doing: "write a mail into",
            path: self.unfinished.clone(),
            source: io::Error::other(error),
        })?;
        let written = self.unfinished.join(format!("{id}.eml"));
        let finished = self.dir.join(name);
        let moved = settle(&written).and_then(|()| fs::rename(&written, &finished));
        if let Err(source) = moved {
            // The mail is lost either way and will be written again; what remains of it is of no use.
            let _ = fs::remove_file(&written);
            return Err(MailError::Io { doing: "write the mail", path: finished, source });
        }
        sync_dir(&self.dir).map_err(io_error("write the directory", &self.dir))?;
        Ok(finished)
    }
}

/// The file that a message would be, and its name.
///
/// # Errors
/// [`MailError`] when no mail can be made of it.
pub fn as_file(from: &Mailbox, message: &Message) -> Result<(String, Vec<u8>), MailError> {
    let name = file_name(message);
    let mail = eml::compose(from, message, None, &name)?;
    Ok((name, mail.formatted()))
}

/// `20130305T101500Z-low-credit-acme-5589578aac65.eml`: sorted by time, told apart by the key.
fn file_name(message: &Message) -> String {
    let (key, written) = (&message.key, message.created_at.to_utc().format("%Y%m%dT%H%M%SZ"));
    let account = key.account().map(|account| format!("-{account}")).unwrap_or_default();
    format!("{written}-{}{account}-{}.eml", key.kind(), &key.fingerprint()[..NAME_DIGITS])
}

/// Makes what was written private and permanent.
fn settle(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.sync_all()
}

fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A rename is permanent once its directory is; elsewhere than on Unix a directory cannot be opened for that.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> MailError {
    let path = path.to_owned();
    move |source| MailError::Io { doing, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::core::ids::Email;
    use std::collections::BTreeMap;

    fn from() -> Mailbox {
        Mailbox { name: "AI credits".to_owned(), address: Email::new("credits@platform.example").expect("an address") }
    }

    fn message(number: u32) -> Message {
        Message {
            key: format!("low-credit/acme/low#{number}/ann@example.com/1").parse().expect("a key"),
            recipient_name: "Ann".to_owned(),
            subject: "Low on AI credits".to_owned(),
            text: "280 left\n".to_owned(),
            html: "<p>280 left</p>".to_owned(),
            message_id: format!("<{number}@platform.example>"),
            created_at: Instant::parse("2013-03-05T10:15:00Z").expect("an instant"),
            unsubscribe_url: None,
            attachments: Vec::new(),
        }
    }

    /// Every file below `dir` by its name, `.tmp` included.
    fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                all.extend(contents(&path));
            } else {
                all.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
        all
    }

    #[test]
    fn a_message_delivered_twice_is_one_file() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("var/mail");
        let mailer = FileMailer::new(&dir, from()).expect("a mailer");
        let first = mailer.deliver(&message(3)).expect("delivered");
        let once = contents(&dir);
        assert_eq!(mailer.deliver(&message(3)).expect("delivered"), first);
        assert_eq!(contents(&dir), once);
        assert_eq!(first.strip_prefix(&dir), Ok(Path::new("20130305T101500Z-low-credit-acme-5589578aac65.eml")));
        mailer.deliver(&message(4)).expect("delivered");
        assert_eq!(contents(&dir).len(), 2);
    }

    #[test]
    fn what_a_crash_left_is_swept_away() {
        let root = tempfile::tempdir().expect("a directory");
        let mailer = FileMailer::new(root.path(), from()).expect("a mailer");
        let kept = mailer.deliver(&message(3)).expect("delivered");
        let [left, being_written] = ["0c5d.eml", "77aa.eml"].map(|name| mailer.unfinished.join(name));
        fs::write(&left, "half a ma").expect("a file");
        fs::write(&being_written, "half a ma").expect("a file");
        let file = File::options().write(true).open(&left).expect("the file");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + UNFINISHED_MAX).expect("it is old");
        FileMailer::new(root.path(), from()).expect("a mailer");
        assert!(!left.exists() && being_written.exists(), "another process may be writing it");
        fs::remove_file(&being_written).expect("removed");
        assert_eq!(contents(root.path()).into_keys().collect::<Vec<_>>(), [kept]);
    }

    #[test]
    fn a_failure_of_the_disk_passes_and_leaves_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let mailer = FileMailer::new(root.path(), from()).expect("a mailer");
        let in_the_way = root.path().join(file_name(&message(3))).join("directory");
        fs::create_dir_all(&in_the_way).expect("a directory");
        let error = mailer.deliver(&message(3)).expect_err("a directory is in the way");
        assert_eq!(error.fault(), crate::core::delivery::Fault::Broken, "{error}");
        assert!(contents(root.path()).is_empty());
        fs::remove_dir_all(root.path().join(file_name(&message(3)))).expect("removed");
        mailer.deliver(&message(3)).expect("delivered");
    }

    #[test]
    fn names_with_line_ends_are_delivered_without_them() {
        let root = tempfile::tempdir().expect("a directory");
        let name = "Eve\r\nBcc: all@example.com";
        let mailer = FileMailer::new(root.path(), Mailbox { name: name.to_owned(), ..from() }).expect("a mailer");
        let message = Message { recipient_name: name.to_owned(), subject: name.to_owned(), ..message(3) };
        let raw = fs::read_to_string(mailer.deliver(&message).expect("delivered")).expect("a file");
        assert!(raw.contains("Subject: Eve Bcc: all@example.com\r\n") && !raw.contains("\r\nBcc:"), "{raw}");
    }

    #[cfg(unix)]
    #[test]
    fn mail_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("mail");
        let file = FileMailer::new(&dir, from()).expect("a mailer").deliver(&message(3)).expect("delivered");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
    }
}
