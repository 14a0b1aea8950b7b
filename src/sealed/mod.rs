//! The sealed ledger in files: what was recorded on days that are over, written once to Parquet, with a manifest beside
//! each part (DESIGN 8).
//!
//! Each part is two files. `000012-2026-03.log.parquet` has rows of the table of transactions, under the names of its columns
//! and in order of account and time, so that the rows of an account are a run and any engine can read them.
//! `000012-2026-03.balances.parquet` has every account's last sealed row number and the balance with it, so that nobody reads
//! a history to know what was there when a range began. `000012-2026-03.json` is the
//! [`Manifest`](crate::core::sealed::Manifest).
//!
//! Nothing here reads the database or decides what is sealed: the core plans, the store hands out the rows and keeps the
//! manifests, and the application brings them together. Files are believed only as far as the manifests say.

mod beside;
mod columns;
mod frame;
mod read;
mod trust;
mod write;

pub use beside::Tidied;
pub use read::{Balances, SealedRange, read_balances, read_rows, sum_range};
pub use trust::Folder;
pub use write::{PartWriter, Written};

use std::path::PathBuf;

/// Why sealed files cannot be used, or made.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// A file that the manifests name is not there.
    #[error("the sealed file {path} is missing", path = .0.display())]
    Missing(PathBuf),
    /// A file is not the one that was written.
    #[error("the sealed file {path} is not the one that was written: {what}", path = .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        what: String,
    },
    /// The manifest of a part is missing, or another one. Its text is in the database.
    #[error("the manifest {path} {what}, and `creditd run seal` writes it again", path = .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file cannot be read or written.
    #[error("the sealed file {path} {doing}: {cause}", path = .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What could not be done.
        doing: &'static str,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file holds what is no row of a ledger, although it is the one that was written.
    #[error("a sealed file holds {0}; this is a defect of creditd, please report it")]
    Strange(String),
    /// Whoever read or wrote files died.
    #[error("reading or writing sealed files ended in a panic: {0}; this is a defect of creditd, please report it")]
    Died(String),
    /// A report over the files cannot be made, whoever reads them.
    #[error(transparent)]
    Report(#[from] crate::core::statement::ReportError),
}

impl SealedError {
    /// True when the files are at fault, and the database has the same rows.
    #[must_use]
    pub const fn is_of_files(&self) -> bool {
        !matches!(self, SealedError::Report(_))
    }
}

type Result<T, E = SealedError> = std::result::Result<T, E>;

/// The step that failed, and on which file.
trait On<T> {
    fn on(self, path: &std::path::Path, doing: &'static str) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> On<T> for std::result::Result<T, E> {
    fn on(self, path: &std::path::Path, doing: &'static str) -> Result<T> {
        self.map_err(|cause| SealedError::File { path: path.to_owned(), doing, cause: cause.into() })
    }
}
