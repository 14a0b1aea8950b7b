//! `creditd report export --all`: a file for each account in a folder of their own, with an index.
//!
//! What was asked and each finished file are noted down in the folder as the run goes on, so one that was cut short goes on
//! where it was, and one that is repeated finds everything done. All files read as of one instant, that of the first run.

use super::super::Context;
use super::super::exit::{Exit, Failure};
use super::super::files::{UNFINISHED, WholeFile, sync_folder_of};
use super::{Asked, WIDTH, check_begun, known_actions, read};
use crate::app::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::counting::{counted, grouped};
use crate::core::ids::AccountId;
use crate::core::statement::{ReportError, ReportSpec, Scope};
use crate::report::index::{self, Asked as Noted, Entry, Index, Made};
use crate::report::{Format, RenderError, render};
use crate::store::StoreError;
use anyhow::Context as _;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Accounts whose names are read at once.
const ACCOUNTS_PER_PAGE: usize = 1_000;
/// Finished files between two times at which their notes are brought to disk; those since then are made again after a crash.
const FILES_PER_SYNC: usize = 100;
/// Accounts without a file that are named on stderr; the index names all.
const NAMED_MAX: usize = 20;

const INDEX_JSON: &str = "index.json";
const NOTES: &str = "unfinished.ndjson";

pub(super) async fn export(context: &Context, asked: &Asked, format: Format, dir: &Path) -> Result<(), Failure> {
    let app = context.app().await?;
    // What cannot be done leaves no folder behind.
    app.check_as_of(asked.as_of)?;
    let seen = asked.spec(context, asked.as_of.unwrap_or(app.now()), format)?;
    check_scope(&seen)?;
    check_begun(app, None, &seen).await?;
    known_actions(app, seen.filters()).await?;
    let mut folder = Folder::open(dir)?;
    let noted = folder.noted.as_ref().map(Noted::as_of);
    if let (Some(noted), Some(asked)) = (noted, asked.as_of) {
        check_same_instant(dir, noted, asked)?;
    }
    let as_of = noted.or(asked.as_of).unwrap_or(app.now());
    app.check_as_of(Some(as_of))?;
    let spec = asked.spec(context, as_of, format)?;
    folder.begin(Noted::new(app.store.meta().created_at, &asked.name, &spec, format))?;
    let (total, progress) = (app.store.count_accounts().await?, context.progress("exporting"));
    let mut done = Done::default();
    let mut pages = app.store.pages(None, ACCOUNTS_PER_PAGE);
    while let Some(ids) = pages.next().await? {
        for id in &ids {
            one(app, &mut folder, id, &spec, format, &mut done).await?;
            done.seen += 1;
            progress.set(done.seen, Some(total));
        }
    }
    drop(progress);
    folder.finish()?;
    let (new, kept) = (counted(done.new, "file"), grouped(done.kept));
    context.say(format!("{}: {new} written, {kept} there already; index.html names them", dir.display()));
    if done.without > 0 {
        let (accounts, have) = (counted(done.without, "account"), if done.without == 1 { "has" } else { "have" });
        context.say(format!("{accounts} {have} nothing to draw and no file"));
    }
    match done.failed.len() {
        0 => Ok(()),
        failed => {
            let named: Vec<&str> = done.failed.iter().take(NAMED_MAX).map(String::as_str).collect();
            let what = format!(
                "{} of {} could not be written; index.html says why, and the same command tries them again: {}",
                grouped(failed as u64),
                counted(done.seen, "report"),
                named.join("; ")
            );
            Err(Failure::message(Exit::PartlyDone, what))
        }
    }
}

#[derive(Default)]
struct Done {
    seen: u64,
    new: u64,
    kept: u64,
    /// Nothing to draw.
    without: u64,
    /// Whose, and why.
    failed: Vec<String>,
}

async fn one(
    app: &App,
    folder: &mut Folder,
    id: &AccountId,
    spec: &ReportSpec,
    format: Format,
    done: &mut Done,
) -> Result<(), Failure> {
    if folder.is_right(id) {
        done.kept += 1;
        return Ok(());
    }
    match make(app, id, spec, format).await? {
        Outcome::Report { bytes, lines } => {
            folder.add(id, &bytes, lines)?;
            done.new += 1;
        }
        // It came after the instant as of which all files read.
        Outcome::NotThere => {}
        Outcome::Nothing(why) => {
            folder.without(id, why);
            done.without += 1;
        }
        Outcome::Failed(why) => {
            done.failed.push(format!("{id}: {why}"));
            folder.without(id, why);
        }
    }
    Ok(())
}

enum Outcome {
    Report { bytes: Vec<u8>, lines: u64 },
    NotThere,
    Nothing(String),
    Failed(String),
}

/// The report of one account, the same that it gets alone. What is wrong with one account does not end the run; a ledger that
/// cannot be read does.
async fn make(app: &App, id: &AccountId, spec: &ReportSpec, format: Format) -> Result<Outcome, Failure> {
    let one = std::slice::from_ref(id);
    let model = match read(app, Some(one), spec, Some(spec.as_of()), format, &mut |_, _| {}).await {
        Ok(model) => model,
        Err(error) => {
            return match (error.downcast_ref::<AppError>(), error.downcast_ref::<ReportError>()) {
                (Some(AppError::UnknownAccount(_) | AppError::UnknownThen { .. }), _) => Ok(Outcome::NotThere),
                (Some(AppError::Refused(_) | AppError::Store(StoreError::Report(_))), _) | (_, Some(_)) => {
                    Ok(Outcome::Failed(error.to_string()))
                }
                _ => Err(error.into()),
            };
        }
    };
    Ok(match render(&model, format, WIDTH) {
        Ok(bytes) => Outcome::Report { bytes, lines: model.record_count() as u64 },
        Err(error @ RenderError::NoChart { .. }) => Outcome::Nothing(error.to_string()),
        Err(error) => Outcome::Failed(error.to_string()),
    })
}

fn check_scope(spec: &ReportSpec) -> Result<(), Failure> {
    if spec.scope() == Scope::Account {
        return Ok(());
    }
    let what = "--all writes a file for each account, and this report is about the whole platform: add --scope account";
    Err(Failure::message(Exit::Usage, what))
}

fn check_same_instant(dir: &Path, noted: Instant, asked: Instant) -> Result<(), Failure> {
    if noted == asked {
        return Ok(());
    }
    let what = format!("{}: its files read as of {noted}; name another folder for --as-of {asked}", dir.display());
    Err(Failure::message(Exit::Usage, what))
}

/// The folder and what is known of it.
struct Folder {
    dir: PathBuf,
    /// What its files are, if it has any.
    noted: Option<Noted>,
    made: BTreeMap<AccountId, Made>,
    /// Notes of this run and of those that were cut short. Whoever has the lock on them writes in this folder.
    notes: File,
    unsynced: usize,
}

impl Folder {
    /// Opens `dir`, which is new, empty, or one that an earlier run made.
    fn open(dir: &Path) -> Result<Folder, Failure> {
        let about = || dir.display().to_string();
        if dir.is_file() {
            let what = format!("{}: is a file; --all writes a folder, so let --out name one", about());
            return Err(Failure::message(Exit::Usage, what));
        }
        std::fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", about()))?;
        let has = |name: &str| dir.join(name).exists();
        if !has(INDEX_JSON) && !has(NOTES) {
            let mut entries = std::fs::read_dir(dir).with_context(|| format!("{}: cannot be read", about()))?;
            if let Some(found) = entries.next().transpose().with_context(|| format!("{}: cannot be read", about()))? {
                let what = format!(
                    "{}: holds {:?} and no export of reports; name a folder that is new, empty, or from an earlier --all",
                    about(),
                    found.file_name()
                );
                return Err(Failure::message(Exit::Usage, what));
            }
        }
        let path = dir.join(NOTES);
        let notes = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let notes = notes.with_context(|| format!("{}: cannot be written", path.display()))?;
        match notes.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another creditd is writing its reports; wait until it is done", about());
                return Err(Failure::message(Exit::Conflict, what));
            }
            Err(TryLockError::Error(error)) => {
                return Err(Failure::from(
                    anyhow::Error::from(error).context(format!("{}: cannot be locked", path.display())),
                ));
            }
        }
        let mut folder = Folder { dir: dir.to_owned(), noted: None, made: BTreeMap::new(), notes, unsynced: 0 };
        folder.read_index()?;
        folder.read_notes()?;
        Ok(folder)
    }

    fn foreign(&self, name: &str) -> Failure {
        let path = self.dir.join(name);
        Failure::message(
            Exit::Usage,
            format!("{}: is no index of exported reports; name another folder", path.display()),
        )
    }

    fn read_index(&mut self) -> Result<(), Failure> {
        let path = self.dir.join(INDEX_JSON);
        if !path.exists() {
            return Ok(());
        }
        let file = File::open(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let index: Index = serde_json::from_reader(BufReader::new(file)).map_err(|_| self.foreign(INDEX_JSON))?;
        if !index.export.is_known() {
            return Err(self.foreign(INDEX_JSON));
        }
        self.made.extend(index.files.into_iter().filter_map(Entry::made));
        self.noted = Some(index.export);
        Ok(())
    }

    /// A line that was cut short by a crash is as if it had not been written.
    fn read_notes(&mut self) -> Result<(), Failure> {
        let path = self.dir.join(NOTES);
        let failed = || format!("{}: cannot be read", path.display());
        let mut lines = BufReader::new(&self.notes).split(b'\n');
        let Some(first) = lines.next().transpose().with_context(failed)? else { return Ok(()) };
        let Ok(noted) = serde_json::from_slice::<Noted>(&first) else {
            // The very first line is written and synced before any other: cut short, it is all there is.
            if lines.next().is_some() {
                return Err(self.foreign(NOTES));
            }
            return self.notes.set_len(0).with_context(failed).map_err(Failure::from);
        };
        if !noted.is_known() {
            return Err(self.foreign(NOTES));
        }
        // An index and notes beside it are of one export, or the latter are the later: then what the index names is over.
        if self.noted.as_ref().is_some_and(|index| *index != noted) {
            self.made.clear();
        }
        for line in lines {
            let entry = serde_json::from_slice::<Entry>(&line.with_context(failed)?);
            self.made.extend(entry.ok().and_then(Entry::made));
        }
        self.noted = Some(noted);
        Ok(())
    }

    /// Begins a run that makes what `asked` says.
    fn begin(&mut self, asked: Noted) -> Result<(), Failure> {
        match &self.noted {
            Some(noted) if !noted.is_same_export(&asked) => {
                let what = format!("{}: holds {noted}, and not {asked}; name another folder", self.dir.display());
                return Err(Failure::message(Exit::Usage, what));
            }
            // Another version may make other files of the same.
            Some(noted) if *noted != asked => self.made.clear(),
            _ => {}
        }
        let is_new = self.notes.metadata().is_ok_and(|meta| meta.len() == 0);
        if !is_new && self.noted.as_ref() != Some(&asked) {
            self.notes.set_len(0).with_context(|| self.unwritten())?;
        }
        if self.notes.metadata().is_ok_and(|meta| meta.len() == 0) {
            self.note(&asked)?;
        } else {
            // Behind a line that was cut short.
            self.notes.write_all(b"\n").with_context(|| self.unwritten())?;
        }
        self.sync()?;
        self.sweep()?;
        sync_folder_of(&self.dir.join(NOTES));
        self.noted = Some(asked);
        Ok(())
    }

    /// Removes what a run that was killed had begun to write. Nobody else writes here, as the notes are locked.
    fn sweep(&self) -> Result<(), Failure> {
        let failed = || format!("{}: cannot be read", self.dir.display());
        for entry in std::fs::read_dir(&self.dir).with_context(failed)? {
            let entry = entry.with_context(failed)?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let unremoved = || format!("{}: cannot be removed", entry.path().display());
                std::fs::remove_file(entry.path()).with_context(unremoved)?;
            }
        }
        Ok(())
    }

    fn unwritten(&self) -> String {
        format!("{}: cannot be written", self.dir.join(NOTES).display())
    }

    fn note(&mut self, what: &impl serde::Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        Ok(self.notes.write_all(&line).with_context(|| self.unwritten())?)
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.unsynced = 0;
        Ok(self.notes.sync_data().with_context(|| self.unwritten())?)
    }

    fn asked(&self) -> Result<&Noted, Failure> {
        self.noted.as_ref().ok_or_else(|| Failure::from(anyhow::anyhow!("an export that has not begun")))
    }

    /// Whether the file of `id` is there and is the one that was written.
    fn is_right(&self, id: &AccountId) -> bool {
        let (Some(Made::File { sha256, .. }), Ok(asked)) = (self.made.get(id), self.asked()) else { return false };
        std::fs::read(self.dir.join(asked.file_name(id))).is_ok_and(|bytes| Sha256::digest(bytes)[..] == sha256[..])
    }

    fn add(&mut self, id: &AccountId, bytes: &[u8], lines: u64) -> Result<(), Failure> {
        let mut file = WholeFile::create(&self.dir.join(self.asked()?.file_name(id)))?;
        file.write_all(bytes)?;
        file.replace()?;
        let made = Made::File { lines, sha256: Sha256::digest(bytes).into() };
        let entry = Entry::new(self.asked()?, id, &made);
        self.note(&entry)?;
        self.made.insert(id.clone(), made);
        self.unsynced += 1;
        if self.unsynced >= FILES_PER_SYNC { self.sync() } else { Ok(()) }
    }

    fn without(&mut self, id: &AccountId, why: String) {
        self.made.insert(id.clone(), Made::Nothing(why));
    }

    /// Writes the index; the notes have had their time.
    fn finish(self) -> Result<(), Failure> {
        let asked = self.asked()?;
        let whole = |name: &str, write: &dyn Fn(&mut WholeFile) -> anyhow::Result<()>| -> anyhow::Result<()> {
            let mut file = WholeFile::create(&self.dir.join(name))?;
            write(&mut file)?;
            file.replace()
        };
        whole("index.csv", &|file| Ok(index::write_csv(file, asked, &self.made)?))?;
        whole("index.html", &|file| {
            let page = index::page(asked, &self.made).map_err(anyhow::Error::from_boxed)?;
            Ok(file.write_all(&page)?)
        })?;
        whole(INDEX_JSON, &|file| Ok(index::write_json(file, asked, &self.made)?))?;
        let notes = self.dir.join(NOTES);
        Ok(std::fs::remove_file(&notes).with_context(|| format!("{}: cannot be removed", notes.display()))?)
    }
}

/// A run that was refused leaves nothing: notes without a word are none.
impl Drop for Folder {
    fn drop(&mut self) {
        if self.notes.metadata().is_ok_and(|meta| meta.len() == 0) {
            // Where it stays, the next run finds it empty.
            let _ = std::fs::remove_file(self.dir.join(NOTES));
        }
    }
}
