//! What lies in the folder beside the files of the chain: what creditd left behind, which it takes away, and what others put
//! there, which it names and leaves alone.
//!
//! Any engine that reads the folder by a pattern reads all of it, so a file more is rows counted twice. Who left a file cannot
//! be seen from its name. Three things are certain: a file that a joined part of the chain names is over; so is a part whose
//! own manifest names the one before it in this chain by its hash, and that is not the one that came; and nobody else makes
//! temporary files of our name. That manifest is written before the files that it describes, so no step that was cut short
//! leaves anything else. A first part names none before it, so it might be that of another ledger, and stays.

use super::trust::{Folder, TEMPORARY};
use super::{On, Result};
use crate::core::sealed::{Chain, FileFacts, Manifest};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Temporary files of a process that is at work are younger; writing the largest of parts takes minutes.
const TEMPORARY_MAX: Duration = Duration::from_secs(86_400);
/// Longer files are no manifests: one that joins a month names 31 parts.
const MANIFEST_BYTES_MAX: u64 = 1 << 16;

/// What a file in the folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// The chain needs it, or nobody reads it: folders, and what is hidden.
    Fine,
    /// It is of a part that others have replaced.
    Joined,
    /// A process that was slower, or was cut short, left it.
    LeftBehind,
    /// Nobody knows who put it there.
    Outside,
}

/// What was done to a folder so that it has what the chain names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Files of parts that were joined, which were removed.
    pub joined: u64,
    /// The names of other files that were left behind, which were removed.
    pub removed: Vec<String>,
    /// The names of manifests that were missing, which were written again.
    pub written: Vec<String>,
}

impl Folder {
    /// Removes what is over: the files of parts that others replace, those of parts that somebody else has made at the same
    /// time, and what processes left unfinished a day ago. Manifests that are missing are written again. Files of which it is
    /// not known whose they are stay; [`Folder::outside`] names them.
    ///
    /// # Errors
    /// [`SealedError::File`](super::SealedError::File) when the folder cannot be read, or a file not be removed or written.
    pub fn tidy(&self, chain: &Chain) -> Result<Tidied> {
        let mut tidied = Tidied::default();
        for (path, entry) in self.entries(chain)? {
            match entry {
                Entry::Fine | Entry::Outside => continue,
                Entry::Joined => tidied.joined += 1,
                Entry::LeftBehind => tidied.removed.push(shown(&path)),
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                // Another process tidies at the same time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.on(&path, "cannot be removed")?,
            }
        }
        if self.path().exists() {
            for manifest in chain.manifests().iter().filter(|manifest| !self.path().join(manifest.name()).exists()) {
                self.write_manifest(manifest)?;
                tidied.written.push(manifest.name());
            }
        }
        Ok(tidied)
    }

    /// The files that are outside of the chain, in the order of their names: whoever reads the whole folder reads them too.
    ///
    /// # Errors
    /// [`SealedError::File`](super::SealedError::File) when the folder cannot be read.
    pub fn outside(&self, chain: &Chain) -> Result<Vec<String>> {
        let is_read = |entry: &Entry| matches!(entry, Entry::Joined | Entry::Outside);
        let mut outside = self.entries(chain)?;
        outside.retain(|(path, entry)| is_read(entry) && !is_hidden(path));
        Ok(outside.iter().map(|(path, _)| shown(path)).collect())
    }

    /// The files of the chain that are not there, or have another size than they were written with: a line for each. What is in them is
    /// not looked at.
    #[must_use]
    pub fn lacking(&self, chain: &Chain) -> Vec<String> {
        let lacking = |facts: &FileFacts| match fs::metadata(self.path().join(&facts.name)) {
            Ok(found) if found.len() == facts.bytes => None,
            Ok(found) => Some(format!("the sealed file {} has {} bytes, not {}", facts.name, found.len(), facts.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("the sealed file {} is missing", facts.name))
            }
            Err(error) => Some(format!("the sealed file {} cannot be looked at: {error}", facts.name)),
        };
        chain.parts().into_iter().flat_map(|part| [&part.log, &part.balances]).filter_map(lacking).collect()
    }

    fn entries(&self, chain: &Chain) -> Result<Vec<(PathBuf, Entry)>> {
        let files = |part: &&Manifest| [part.log.name.clone(), part.balances.name.clone()];
        let of_chain: BTreeSet<String> = chain.manifests().iter().map(Manifest::name).collect();
        let current: BTreeSet<String> = chain.parts().iter().flat_map(files).collect();
        let all: BTreeSet<String> = chain.manifests().iter().flat_map(|part| files(&part)).collect();
        let found = match fs::read_dir(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found.on(self.path(), "cannot be read")?,
        };
        let mut entries = Vec::new();
        for file in found {
            let path = file.on(self.path(), "cannot be read")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let entry = if of_chain.contains(&*name) || current.contains(&*name) {
                Entry::Fine
            } else if all.contains(&*name) {
                Entry::Joined
            } else if name.starts_with(TEMPORARY) {
                if is_abandoned(&path) { Entry::LeftBehind } else { Entry::Fine }
            } else if is_hidden(&path) || path.is_dir() {
                Entry::Fine
            } else {
                self.of_no_part(&name, chain)
            };
            entries.push((path, entry));
        }
        entries.sort();
        Ok(entries)
    }

    /// What a file is that the chain does not name, by the manifest beside it.
    fn of_no_part(&self, name: &str, chain: &Chain) -> Entry {
        let endings = [".log.parquet", ".balances.parquet", ".json"];
        let Some(stem) = endings.iter().find_map(|ending| name.strip_suffix(ending)) else { return Entry::Outside };
        let path = self.path().join(format!("{stem}.json"));
        let is_short = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MANIFEST_BYTES_MAX);
        let manifest = is_short.then(|| fs::read(&path).ok()).flatten();
        let manifest = manifest.and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
        let Some(manifest) = manifest else { return Entry::Outside };
        if ![&manifest.log.name, &manifest.balances.name, &manifest.name()].contains(&&name.to_owned()) {
            return Entry::Outside;
        }
        match manifest.number {
            // It is being made, or will be made again.
            number if number == chain.next().0 && chain.is_followed_by(&manifest) => Entry::Fine,
            2.. if chain.is_followed_by(&manifest) => Entry::LeftBehind,
            _ => Entry::Outside,
        }
    }
}

/// Patterns leave out what begins with a dot.
fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
}

fn is_abandoned(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age >= TEMPORARY_MAX)
}

/// A name as it can be said: others may have chosen it.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string()
}
