//! The folder of the sealed files, and how far they are believed.
//!
//! A file is read when it is the one that a manifest of the database describes. Hashing years of files for each report would
//! take longer than the report, so what was hashed once is remembered with what the system says about it: its size, and when
//! it was changed. Whoever writes to a file, moves another one in its place or restores it changes that, and it is hashed
//! anew. A disk that loses bits by itself is found by `creditd verify --sealed`, which hashes everything.

use super::{On, Result, SealedError};
use crate::core::sealed::{FileFacts, Manifest, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is remembered of files that were hashed. It may be deleted at any time.
const REMEMBERED: &str = ".hashed.json";
/// What the names of files begin with until they are complete.
pub(super) const TEMPORARY: &str = ".creditd-";

/// What the system says about a file that was hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    sha256: String,
}

impl Seen {
    fn of(file: &fs::Metadata, sha256: String) -> Seen {
        Seen {
            bytes: file.len(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            sha256,
        }
    }
}

/// The folder of the sealed files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// This folder. It need not be there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Folder {
        Folder(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A folder in it for what is removed with the value, and otherwise a day later. Only its owner looks into it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary(&self) -> io::Result<tempfile::TempDir> {
        let mut folder = tempfile::Builder::new();
        folder.prefix(TEMPORARY).permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        folder.tempdir_in(&self.0)
    }

    pub(super) fn make(&self) -> Result<()> {
        // As the ledger's file, for its owner only; who shares them says so.
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.0).on(&self.0, "cannot be made")
    }

    /// Where the file is that `facts` describe. A name that leads out of the folder leads nowhere.
    pub(super) fn path_of(&self, facts: &FileFacts) -> Result<PathBuf> {
        let is_plain = Path::new(&facts.name).file_name().is_some_and(|name| name == facts.name.as_str());
        let path = self.0.join(&facts.name);
        if is_plain { Ok(path) } else { Err(SealedError::Missing(path)) }
    }

    /// Whether the files of these parts are those that were written. Only those are hashed that were not before, or that
    /// have changed since.
    ///
    /// # Errors
    /// [`SealedError`] for the first that is not.
    pub fn check<'a>(&self, files: impl IntoIterator<Item = &'a FileFacts>) -> Result<()> {
        let remembered = self.0.join(REMEMBERED);
        let known = fs::read(&remembered).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut known: BTreeMap<String, Seen> = known.unwrap_or_default();
        let mut is_new = false;
        for facts in files {
            let path = self.path_of(facts)?;
            let found = metadata(&path)?;
            let seen = Seen::of(&found, facts.sha256.clone());
            if seen.bytes == facts.bytes && known.get(&facts.name) == Some(&seen) {
                continue;
            }
            self.hash(facts)?;
            known.insert(facts.name.clone(), seen);
            is_new = true;
        }
        if is_new {
            // Who may not write here hashes again next time.
            known.retain(|name, _| self.0.join(name).exists());
            let _ = serde_json::to_vec(&known).map(|text| self.write_whole(&remembered, &text));
        }
        Ok(())
    }

    /// Whether the file is the one that was written, by all that is in it.
    ///
    /// # Errors
    /// [`SealedError`] when it is not.
    pub fn hash(&self, facts: &FileFacts) -> Result<()> {
        let path = self.path_of(facts)?;
        let found = metadata(&path)?.len();
        if found != facts.bytes {
            let what = format!("it has {found} bytes instead of {}", facts.bytes);
            return Err(SealedError::Changed { path, what });
        }
        let mut hash = Sha256::new();
        let mut file = File::open(&path).on(&path, "cannot be opened")?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer).on(&path, "cannot be read")? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
        if hex(&hash.finalize()) != facts.sha256 {
            return Err(SealedError::Changed { path, what: "its SHA-256 is another one".to_owned() });
        }
        Ok(())
    }

    /// Whether the manifest of a part lies here as the database has it.
    ///
    /// # Errors
    /// [`SealedError`] when it does not.
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = self.0.join(manifest.name());
        match metadata(&path) {
            Err(SealedError::Missing(_)) => {
                return Err(SealedError::Manifest { path, what: "is missing; the database has it" });
            }
            found => found?,
        };
        let found = fs::read(&path).on(&path, "cannot be read")?;
        if found != manifest.text().as_bytes() {
            let what = "is not the one that was written: the database has another manifest; take it away";
            return Err(SealedError::Manifest { path, what });
        }
        Ok(())
    }

    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = self.0.join(manifest.name());
        self.write_whole(&path, manifest.text().as_bytes()).on(&path, "cannot be written")
    }

    /// Brings new names to disk.
    pub(super) fn sync(&self) -> Result<()> {
        File::open(&self.0).and_then(|folder| folder.sync_all()).on(&self.0, "cannot be brought to disk")
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The new names reach the disk before the database speaks of them.
        File::open(&self.0)?.sync_all()
    }
}

fn metadata(path: &Path) -> Result<fs::Metadata> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SealedError::Missing(path.to_owned())),
        found => found.on(path, "cannot be looked at"),
    }
}
