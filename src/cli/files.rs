//! Files that are there completely or not at all.

use super::exit::{Exit, Failure};
use anyhow::Context as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What the names of files begin with until they are complete.
pub(super) const UNFINISHED: &str = ".creditd-";

/// A file that gets its name when it is complete and on disk; until then it has a temporary one in the same folder.
/// Dropped before that, it disappears.
#[derive(Debug)]
pub(super) struct WholeFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl WholeFile {
    /// Begins a file that shall be at `path`.
    pub(super) fn create(path: &Path) -> anyhow::Result<WholeFile> {
        WholeFile::begin(path, tempfile::Builder::new().permissions(readable_by_umask()))
    }

    /// Begins a file that shall be at `path` and that nobody but its owner can read.
    pub(super) fn create_private(path: &Path) -> anyhow::Result<WholeFile> {
        WholeFile::begin(path, &mut tempfile::Builder::new())
    }

    fn begin(path: &Path, builder: &mut tempfile::Builder<'_, '_>) -> anyhow::Result<WholeFile> {
        // Else that is found out when everything is written.
        anyhow::ensure!(!path.is_dir(), "{}: is a folder; name a file in it", path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        anyhow::ensure!(folder.is_dir(), "{}: there is no folder {}; make it first", path.display(), folder.display());
        // Of the name that it has until then nobody knows.
        let file = builder.prefix(UNFINISHED).tempfile_in(folder).map_err(|error| {
            anyhow::anyhow!("{}: nothing can be written in {}: {}", path.display(), folder.display(), error.kind())
        })?;
        Ok(WholeFile { path: path.to_owned(), out: BufWriter::new(file) })
    }

    /// The same file, for another thread to write to.
    pub(super) fn handle(&self) -> anyhow::Result<File> {
        self.out.get_ref().as_file().try_clone().with_context(|| not_written(&self.path))
    }

    /// Puts the file in place of the one that has its name.
    pub(super) fn replace(self) -> anyhow::Result<()> {
        let (path, file) = self.synced()?;
        file.persist(&path).map_err(|error| error.error).with_context(|| not_written(&path))?;
        sync_folder_of(&path);
        Ok(())
    }

    /// Puts the file in place unless there is one already.
    pub(super) fn add(self) -> anyhow::Result<()> {
        let (path, file) = self.synced()?;
        file.persist_noclobber(&path).map_err(|error| error.error).with_context(|| not_written(&path))?;
        sync_folder_of(&path);
        Ok(())
    }

    fn synced(self) -> anyhow::Result<(PathBuf, NamedTempFile)> {
        let WholeFile { path, out } = self;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
            file.as_file().sync_all()?;
            Ok(file)
        });
        let file = file.with_context(|| not_written(&path))?;
        Ok((path, file))
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn not_written(path: &Path) -> String {
    format!("{} was not written", path.display())
}

/// The form that `said` agree on, each beside its words: what is given by a flag, and what the name of the file ends with.
/// `None` where nobody says one.
///
/// # Errors
/// [`Failure`] when two ask for different forms: one of them would have been for nothing.
pub(super) fn agreed<F: Copy + PartialEq>(said: &[(String, Option<F>)]) -> Result<Option<F>, Failure> {
    let mut named = said.iter().filter_map(|(words, form)| Some((words, (*form)?)));
    let Some((words, form)) = named.next() else { return Ok(None) };
    match named.find(|(_, other)| *other != form) {
        Some((others, _)) => {
            let what =
                format!("{words} and {others} ask for different forms; leave one of them out, or make them agree");
            Err(Failure::message(Exit::Usage, what))
        }
        None => Ok(Some(form)),
    }
}

/// What a file's name ends with, without the dot.
pub(super) fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|ending| ending.to_str())
}

/// As any program makes files: the umask says who may read. A temporary file would be its owner's alone.
fn readable_by_umask() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}

/// Brings a new name to disk. Where the system has no such notion the name is there all the same.
pub(super) fn sync_folder_of(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("readable").file_name().to_string_lossy().into();
        std::fs::read_dir(folder).expect("readable").map(name).collect()
    }

    #[test]
    fn a_file_is_whole_or_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        let write = |text: &[u8]| {
            let mut file = WholeFile::create(&path).expect("created");
            file.write_all(text).expect("written");
            file
        };
        drop(write(b"half"));
        assert_eq!(names(folder.path()), Vec::<String>::new());
        write(b"one").replace().expect("in place");
        write(b"two").replace().expect("in place");
        let error = format!("{:#}", write(b"three").add().expect_err("there is one"));
        assert!(error.contains("x.csv was not written"), "{error}");
        assert_eq!(std::fs::read(&path).expect("readable"), b"two");
        assert_eq!(names(folder.path()), ["x.csv"]);
        let error = format!("{:#}", WholeFile::create(&folder.path().join("none/x.csv")).expect_err("no folder"));
        assert!(error.contains("there is no folder") && !error.contains(UNFINISHED), "{error}");
    }
}
