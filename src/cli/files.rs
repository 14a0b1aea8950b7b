//! Files that are there completely or not at all.

use super::exit::{Exit, Failure};
use anyhow::Context as _;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// What the names of files begin with until they are complete.
pub(super) const UNFINISHED: &str = ".creditd-";

/// Links that name each other lead nowhere; systems give up after as many.
const LINKS_MAX: usize = 40;

/// A file that gets its name when it is complete and on disk; until then it has a temporary one in the same folder.
/// Dropped before that, it disappears. A link stays one: what it names is the file. What is no file, a pipe or a device, is
/// written to, as nothing can take its place.
#[derive(Debug)]
pub(super) struct WholeFile {
    path: PathBuf,
    out: BufWriter<File>,
    /// Absent for what is no file.
    unfinished: Option<TempPath>,
}

impl WholeFile {
    /// Begins a file that shall be at `path`. One that is there keeps who may read it.
    pub(super) fn create(path: &Path) -> anyhow::Result<WholeFile> {
        let unopened = |error: io::Error| anyhow::anyhow!("{}: cannot be written: {error}", path.display());
        let named = followed(path).map_err(unopened)?;
        if let Some(file) = open_already(&named).transpose().or_else(|| open_special(&named).transpose()) {
            return Ok(WholeFile { path: named, out: BufWriter::new(file.map_err(unopened)?), unfinished: None });
        }
        let file = WholeFile::begin(&named, tempfile::Builder::new().permissions(readable_by_umask()))?;
        if let Ok(old) = named.metadata() {
            keep_readers(file.out.get_ref(), &old).map_err(unopened)?;
        }
        Ok(file)
    }

    /// Begins a file that shall be at `path` and that nobody but its owner can read; a link there does not lead it elsewhere.
    pub(super) fn create_private(path: &Path) -> anyhow::Result<WholeFile> {
        WholeFile::begin(path, &mut tempfile::Builder::new())
    }

    fn begin(path: &Path, builder: &mut tempfile::Builder<'_, '_>) -> anyhow::Result<WholeFile> {
        // Else that is found out when everything is written.
        anyhow::ensure!(!path.is_dir(), "{}: is a folder; name a file in it", path.display());
        let folder = folder_of(path);
        anyhow::ensure!(folder.is_dir(), "{}: there is no folder {}; make it first", path.display(), folder.display());
        // Of the name that it has until then nobody knows.
        let file = builder.prefix(UNFINISHED).tempfile_in(folder).map_err(|error| {
            anyhow::anyhow!("{}: nothing can be written in {}: {}", path.display(), folder.display(), error.kind())
        })?;
        let (file, unfinished) = file.into_parts();
        Ok(WholeFile { path: path.to_owned(), out: BufWriter::new(file), unfinished: Some(unfinished) })
    }

    /// The same file, for another thread to write to.
    pub(super) fn handle(&self) -> anyhow::Result<File> {
        self.out.get_ref().try_clone().with_context(|| not_written(&self.path))
    }

    /// Puts the file in place of the one that has its name.
    pub(super) fn replace(self) -> anyhow::Result<()> {
        let (path, unfinished) = self.synced()?;
        let Some(unfinished) = unfinished else { return Ok(()) };
        unfinished.persist(&path).map_err(|error| error.error).with_context(|| not_written(&path))?;
        sync_folder_of(&path);
        Ok(())
    }

    /// Puts the file in place unless there is one already.
    pub(super) fn add(self) -> anyhow::Result<()> {
        let (path, unfinished) = self.synced()?;
        let there_is_one = || io::Error::from(io::ErrorKind::AlreadyExists);
        let added = unfinished
            .ok_or_else(there_is_one)
            .and_then(|unfinished| unfinished.persist_noclobber(&path).map_err(|error| error.error));
        added.with_context(|| not_written(&path))?;
        sync_folder_of(&path);
        Ok(())
    }

    fn synced(self) -> anyhow::Result<(PathBuf, Option<TempPath>)> {
        let WholeFile { path, out, unfinished } = self;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| match unfinished {
            // A pipe has no disk.
            None => Ok(()),
            Some(_) => file.sync_all(),
        });
        file.with_context(|| not_written(&path))?;
        Ok((path, unfinished))
    }
}

/// Where the links at `path` end, also where nothing is there yet. Links in the names of folders the system follows by itself.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if is_open_here(&path) {
            return Ok(path);
        }
        match path.read_link() {
            // Seen from the folder of the link.
            Ok(target) => path = folder_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

/// Whether it stands for a file that some process has open, as what `/dev/stdout` leads to: its own links are none to follow, as the
/// process writes on where it is.
fn is_open_here(path: &Path) -> bool {
    folder_of(path).canonicalize().is_ok_and(|folder| folder.starts_with("/proc") && folder.ends_with("fd"))
}

/// The output of this process that `path` stands for: what it has from whoever started it goes on where that one was.
fn open_already(path: &Path) -> io::Result<Option<File>> {
    let own = Path::new("/proc/self/fd").canonicalize();
    if own.is_err() || folder_of(path).canonicalize().ok() != own.ok() {
        return Ok(None);
    }
    let fd = match path.file_name().and_then(|name| name.to_str()) {
        Some("1") => io::stdout().as_fd().try_clone_to_owned(),
        Some("2") => io::stderr().as_fd().try_clone_to_owned(),
        _ => return Ok(None),
    };
    Ok(Some(File::from(fd?)))
}

/// What is at `path`, opened, where it is a pipe, a device or open in a process; `None` for a file, a folder or nothing.
fn open_special(path: &Path) -> io::Result<Option<File>> {
    let is_special = match path.metadata() {
        Ok(there) => (!there.is_file() && !there.is_dir()) || is_open_here(path),
        Err(_) => false,
    };
    is_special.then(|| File::options().append(true).open(path)).transpose()
}

/// Lets those read `file` who could read `old`. Where it cannot have the group, it is not for the group that it has instead.
fn keep_readers(file: &File, old: &Metadata) -> io::Result<()> {
    let mode = old.mode() & 0o777;
    let is_same = fchown(file, Some(old.uid()), Some(old.gid())).or_else(|_| fchown(file, None, Some(old.gid())));
    file.set_permissions(Permissions::from_mode(if is_same.is_ok() { mode } else { mode & !0o070 }))
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
fn readable_by_umask() -> Permissions {
    Permissions::from_mode(0o666)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Brings a new name to disk. Where the system has no such notion the name is there all the same.
pub(super) fn sync_folder_of(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
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

    fn written(path: &Path) {
        let mut file = WholeFile::create(path).expect("created");
        file.write_all(b"new").expect("written");
        file.replace().expect("in place");
    }

    #[test]
    fn a_link_stays_one_and_what_it_names_is_the_file() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir(at("far")).expect("a folder");
        std::fs::write(at("far/old.csv"), "old").expect("written");
        for (link, target) in [("near", "far/old.csv"), ("far/again", "../near"), ("absent", "far/made.csv")] {
            symlink(target, at(link)).expect("a link");
        }
        for (link, target) in [("near", "far/old.csv"), ("far/again", "far/old.csv"), ("absent", "far/made.csv")] {
            written(&at(link));
            assert!(at(link).is_symlink(), "{link}");
            assert_eq!(std::fs::read_to_string(at(target)).expect("readable"), "new", "{link}");
            std::fs::write(at("far/old.csv"), "old").expect("written");
        }
        assert_eq!(names(&at("far")).len(), 3);

        // A secret goes where it was meant to go.
        let mut file = WholeFile::create_private(&at("near")).expect("created");
        file.write_all(b"secret").expect("written");
        file.replace().expect("in place");
        assert!(!at("near").is_symlink());
        assert_eq!(std::fs::read_to_string(at("far/old.csv")).expect("readable"), "old");

        symlink("round", at("round")).expect("a link");
        let error = WholeFile::create(&at("round")).expect_err("nowhere");
        assert!(error.to_string().contains("lead in a circle"), "{error}");
    }

    #[test]
    fn a_pipe_gets_what_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
        std::os::unix::fs::symlink("pipe", &link).expect("a link");
        for path in [&pipe, &link] {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || std::fs::read(pipe)
            });
            written(path);
            use std::os::unix::fs::FileTypeExt;
            assert!(pipe.metadata().expect("there").file_type().is_fifo() && link.is_symlink());
            assert_eq!(reader.join().expect("ended").expect("readable"), b"new");
        }
        // Nothing is written where a file should be new.
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe)
        });
        let error = format!("{:#}", WholeFile::create(&pipe).expect("opened").add().expect_err("there is something"));
        assert!(error.contains("pipe was not written"), "{error}");
        assert_eq!(reader.join().expect("ended").expect("readable"), b"");
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn who_may_read_a_file_stays_when_it_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.csv");
        for mode in [0o600, 0o640, 0o444] {
            std::fs::write(&path, "old").or_else(|_| std::fs::remove_file(&path)).expect("writable");
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
            written(&path);
            assert_eq!(path.metadata().expect("there").mode() & 0o777, mode, "{mode:o}");
        }
        let mut file = WholeFile::create_private(&path).expect("created");
        file.write_all(b"secret").expect("written");
        file.replace().expect("in place");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, 0o600);
    }
}
