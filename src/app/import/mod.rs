//! Reading accounts, purchases and past usage from CSV files, in a stream and in bounded memory.
//!
//! By default a file is all or nothing: a first pass checks every row against the rules and the ledger without writing,
//! and only a file without a bad row is applied. With `skip_bad` there is one pass: good rows are kept, bad ones are
//! written to a file that can be mended and imported again. Every row has a key (R9), so importing a file twice changes
//! nothing, and an import that was interrupted is finished by running it again.

mod kinds;
mod reader;

pub use kinds::{AccountImport, PurchaseImport, UsageImport};
pub use reader::Source;

use super::{App, AppError};
use crate::core::counting::grouped;
use crate::core::ids::AccountId;
use crate::core::ledger::Call;
use reader::{Fields, Header, Reader};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Rows that are checked or applied together, in one database transaction.
const BATCH_ROWS: usize = 5_000;
/// Bytes after which fewer rows make a batch, too: records may be long.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most rows of one file. A fingerprint of each key is kept to find keys that are used for two things; that bounds it.
pub const FILE_ROWS_MAX: u64 = 5_000_000;
/// Bad rows reported one by one; the rest is counted.
pub const BAD_ROWS_SHOWN_MAX: usize = 20;

/// Rows of a file of which it is foreseen what they would do: they are kept in memory for that.
pub const FORESEEN_ROWS_MAX: u64 = 200_000;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The column; `None` when it is the whole row.
    pub column: Option<&'static str>,
    /// Why.
    pub reason: String,
}

/// A row that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The file as named by the caller.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// Position of the column in this file, from 1, and its name.
    pub column: Option<(usize, &'static str)>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some((position, name)) = self.column {
            write!(f, "column {position} ({name}): ")?;
        }
        f.write_str(&self.reason)
    }
}

/// What came of one good row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Recorded.
    New,
    /// Recorded as failed: the credits did not suffice (R7).
    Refused,
    /// There already, with the same content.
    Already,
    /// Not recorded after all.
    Bad(Problem),
}

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows read, without the header.
    pub rows: u64,
    /// Rows recorded.
    pub new: u64,
    /// Of those, actions refused for want of credits or by a cap.
    pub refused: u64,
    /// Rows that were there already.
    pub already: u64,
    /// Rows that cannot be imported.
    pub bad: u64,
    /// The first of those.
    pub bad_rows: Vec<BadRow>,
    /// Where the bad rows are, when they were skipped.
    pub bad_file: Option<PathBuf>,
    /// Of a dry run, the calls that good rows are, as long as there are no more than [`FORESEEN_ROWS_MAX`]; none of a longer file.
    pub calls: Vec<(AccountId, Call)>,
    /// False when rows were only checked: a dry run, or a bad row in a file that is all or nothing. `new` then counts
    /// the good rows, whether they are there already or not.
    pub written: bool,
}

impl ImportReport {
    /// True when nothing was written because some row is bad.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.bad > 0 && !self.written
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Keep the good rows and write the bad ones to this file, which must not exist.
    pub skip_bad: Option<PathBuf>,
    /// Check only.
    pub dry_run: bool,
}

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read on; the line is where.
    #[error("{file}:{line}: cannot be read: {source}{}", kept_note(*kept))]
    Read {
        /// The file as named by the caller.
        file: String,
        /// The line reached.
        line: u64,
        /// Rows before it that were imported, and stay.
        kept: u64,
        /// Why.
        source: io::Error,
    },
    /// The first line is not the header of this kind of file.
    #[error("{file}:1: {what}; the header must name the columns {expected}")]
    Header {
        /// The file as named by the caller.
        file: String,
        /// What is wrong with it.
        what: String,
        /// The columns.
        expected: String,
    },
    /// More rows than can be checked at once.
    #[error("{file}: has more than {FILE_ROWS_MAX} rows; split it and import the parts in order")]
    TooLong {
        /// The file as named by the caller.
        file: String,
    },
    /// The file for bad rows cannot be written.
    #[error("{}: the bad rows cannot be written: {source}", path.display())]
    BadFile {
        /// That file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ledger failed.
    #[error(transparent)]
    App(#[from] AppError),
}

fn kept_note(kept: u64) -> String {
    const NEXT: &str = "mend the file and import it again, which imports the others";
    match kept {
        0 => String::new(),
        1 => format!("; 1 row before it is imported and stays: {NEXT}"),
        _ => format!("; {} rows before it are imported and stay: {NEXT}", grouped(kept)),
    }
}

/// A kind of file: its columns, and what a row means.
pub trait Import {
    /// A row that was understood.
    type Row;
    /// Columns, all required, in any order.
    const COLUMNS: &'static [&'static str];
    /// Those that may be left out.
    const OPTIONAL: &'static [&'static str] = &[];

    /// Understands a row by itself.
    ///
    /// # Errors
    /// [`Problem`] naming the first column that is wrong.
    fn parse(&self, fields: &Fields<'_>) -> Result<Self::Row, Problem>;

    /// What the row is about, and a fingerprint of what it says about that: two rows about the same thing must agree.
    fn identity(row: &Self::Row) -> (String, i64);

    /// Checks rows against the ledger, without writing. One answer per row.
    fn check(&self, app: &App, rows: &[Self::Row]) -> impl Future<Output = Result<Vec<Option<Problem>>, AppError>>;

    /// The call that a row is, where it is one.
    fn call(_row: &Self::Row) -> Option<&(AccountId, Call)> {
        None
    }

    /// Records rows in one database transaction. One answer per row.
    fn apply(&self, app: &App, rows: &[Self::Row]) -> impl Future<Output = Result<Vec<Applied>, AppError>>;
}

/// A row as it was understood, with its place in the file. Rows that were not understood stay in line with the others, so
/// that bad rows are told and written in the order of the file, whatever is wrong with them.
struct Placed<R> {
    row: Result<R, Problem>,
    line: u64,
    record: csv::ByteRecord,
}

/// Imports one file.
///
/// `progress` hears of bytes read, and of all of them where that is known.
///
/// # Errors
/// [`ImportError`] when the file or the ledger fails as a whole. Bad rows are no error but part of the report.
pub async fn import<I: Import>(
    app: &App,
    kind: &I,
    source: Source,
    options: &ImportOptions,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<ImportReport, ImportError> {
    let file = source.name();
    let read_error = |source| ImportError::Read { file: file.clone(), line: 1, kept: 0, source };
    // The folder of the ledger has room for what goes into it, where a folder for temporary files may be memory.
    let folder = app.store.folder().map_or_else(std::env::temp_dir, Path::to_owned);
    let rows = source.into_file(folder).await.map_err(read_error)?;
    let reader = Reader::new(&rows).map_err(read_error)?;
    if let Some(path) = options.skip_bad.as_ref().filter(|_| !options.dry_run) {
        let mut pass = Pass::new(app, kind, &file, true);
        let bad_file = BadFile::create(path)?;
        return pass.run(reader, Some(bad_file), progress).await;
    }
    let mut check = Pass { keeps_calls: options.dry_run, ..Pass::new(app, kind, &file, false) };
    let checked = check.run(reader, None, progress).await?;
    if checked.bad > 0 || options.dry_run {
        return Ok(checked);
    }
    let reader = Reader::new(&rows).map_err(read_error)?;
    Pass::new(app, kind, &file, true).run(reader, None, progress).await
}

/// Understands a file by itself: what its good rows say, and what is wrong with the others. What only a ledger can know
/// is not looked at.
///
/// # Errors
/// [`ImportError`] when the file cannot be read or is of another kind.
pub fn understand<I: Import>(kind: &I, name: &str, file: &File) -> Result<(Vec<I::Row>, Vec<BadRow>), ImportError> {
    let reader = Reader::new(file);
    let reader = reader.map_err(|source| ImportError::Read { file: name.to_owned(), line: 1, kept: 0, source })?;
    let mut rows = Rows::new(kind, name, reader)?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    while let Some(Placed { row, line, .. }) = rows.next()? {
        match row {
            Ok(row) => good.push(row),
            Err(problem) => bad.push(rows.header.bad_row(name, line, problem)),
        }
    }
    Ok((good, bad))
}

/// The rows of a file, as they are understood.
struct Rows<'a, I: Import> {
    kind: &'a I,
    file: &'a str,
    reader: Reader,
    header: Header,
    count: u64,
    /// Fingerprints of what was seen, to find rows that contradict each other. Only looked up, never listed.
    seen: HashMap<u64, (i64, u64)>,
}

impl<'a, I: Import> Rows<'a, I> {
    fn new(kind: &'a I, file: &'a str, mut reader: Reader) -> Result<Rows<'a, I>, ImportError> {
        let header = reader.header(file, I::COLUMNS, I::OPTIONAL)?;
        Ok(Rows { kind, file, reader, header, count: 0, seen: HashMap::new() })
    }

    fn next(&mut self) -> Result<Option<Placed<I::Row>>, ImportError> {
        let Some((line, record)) = self.reader.next(self.file)? else { return Ok(None) };
        self.count += 1;
        if self.count > FILE_ROWS_MAX {
            return Err(ImportError::TooLong { file: self.file.to_owned() });
        }
        let parsed = Fields::new(&self.header, &record).and_then(|fields| self.kind.parse(&fields));
        let row = parsed.and_then(|row| self.agree(&row, line).map(|()| row));
        Ok(Some(Placed { row, line, record }))
    }

    /// Refuses a row that says something else about the same thing than a row before it.
    fn agree(&mut self, row: &I::Row, line: u64) -> Result<(), Problem> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let (about, says) = I::identity(row);
        let fingerprint = BuildHasherDefault::<DefaultHasher>::default().hash_one(about);
        match self.seen.get(&fingerprint) {
            Some((said, first)) if *said != says => Err(Problem {
                column: None,
                reason: format!(
                    "contradicts line {first}, which has the same key (or account, or payment) and other values"
                ),
            }),
            Some(_) => Ok(()),
            None => {
                self.seen.insert(fingerprint, (says, line));
                Ok(())
            }
        }
    }
}

/// One way through a file.
struct Pass<'a, I: Import> {
    app: &'a App,
    kind: &'a I,
    file: &'a str,
    write: bool,
    keeps_calls: bool,
    report: ImportReport,
}

impl<'a, I: Import> Pass<'a, I> {
    fn new(app: &'a App, kind: &'a I, file: &'a str, write: bool) -> Pass<'a, I> {
        let keeps_calls = false;
        let report = ImportReport { written: write, ..ImportReport::default() };
        Pass { app, kind, file, write, keeps_calls, report }
    }

    async fn run(
        &mut self,
        reader: Reader,
        mut bad_file: Option<BadFile>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<ImportReport, ImportError> {
        let mut rows = Rows::new(self.kind, self.file, reader)?;
        if let Some(bad_file) = &mut bad_file {
            bad_file.write(&rows.header.record)?;
        }
        let mut batch: Vec<Placed<I::Row>> = Vec::with_capacity(BATCH_ROWS);
        let mut batch_bytes = 0;
        loop {
            let placed = rows.next().map_err(|error| self.with_kept(error))?;
            let is_end = placed.is_none();
            if let Some(placed) = placed {
                self.report.rows += 1;
                batch_bytes += placed.record.as_slice().len();
                batch.push(placed);
            }
            let is_full = batch.len() == BATCH_ROWS || batch_bytes > BATCH_BYTES_MAX;
            if is_full || (is_end && !batch.is_empty()) {
                batch_bytes = 0;
                self.flush(&rows.header, std::mem::take(&mut batch), &mut bad_file).await?;
                progress(rows.reader.bytes_read(), Some(rows.reader.bytes_total()));
            }
            if is_end {
                break;
            }
        }
        if let Some(bad_file) = bad_file {
            self.report.bad_file = bad_file.finish(self.report.bad > 0)?;
        }
        Ok(std::mem::take(&mut self.report))
    }

    /// A file that breaks off leaves what was written before: with `skip_bad` alone, for else it was read to its end once.
    fn with_kept(&self, error: ImportError) -> ImportError {
        let new = if self.write { self.report.new } else { 0 };
        match error {
            ImportError::Read { file, line, source, .. } => ImportError::Read { file, line, kept: new, source },
            other => other,
        }
    }

    async fn flush(
        &mut self,
        header: &Header,
        batch: Vec<Placed<I::Row>>,
        bad_file: &mut Option<BadFile>,
    ) -> Result<(), ImportError> {
        let (mut rows, mut places) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for Placed { row, line, record } in batch {
            places.push((line, record, row.map(|row| rows.push(row)).err()));
        }
        let answers = if self.write {
            self.kind.apply(self.app, &rows).await?
        } else {
            let problems = self.kind.check(self.app, &rows).await?;
            if self.report.rows > FORESEEN_ROWS_MAX {
                self.report.calls = Vec::new();
            } else if self.keeps_calls {
                let good = rows.iter().zip(&problems).filter(|(_, problem)| problem.is_none());
                self.report.calls.extend(good.filter_map(|(row, _)| I::call(row).cloned()));
            }
            problems.into_iter().map(|problem| problem.map_or(Applied::New, Applied::Bad)).collect()
        };
        let mut answers = answers.into_iter();
        for (line, record, problem) in &places {
            let Some(answer) = problem.clone().map(Applied::Bad).or_else(|| answers.next()) else { break };
            match answer {
                Applied::New => self.report.new += 1,
                Applied::Refused => {
                    self.report.new += 1;
                    self.report.refused += 1;
                }
                Applied::Already => self.report.already += 1,
                Applied::Bad(problem) => self.bad(header, *line, record, problem, bad_file)?,
            }
        }
        Ok(())
    }

    fn bad(
        &mut self,
        header: &Header,
        line: u64,
        record: &csv::ByteRecord,
        problem: Problem,
        bad_file: &mut Option<BadFile>,
    ) -> Result<(), ImportError> {
        self.report.bad += 1;
        if self.report.bad_rows.len() < BAD_ROWS_SHOWN_MAX {
            self.report.bad_rows.push(header.bad_row(self.file, line, problem));
        }
        match bad_file {
            Some(bad_file) => bad_file.write(record),
            None => Ok(()),
        }
    }
}

/// The rows that were skipped, as they stood in the file. It appears under its name when it is complete, and not at all
/// when the import fails.
struct BadFile {
    path: PathBuf,
    writer: csv::Writer<NamedTempFile>,
}

impl BadFile {
    fn create(path: &Path) -> Result<BadFile, ImportError> {
        let fail = |source| ImportError::BadFile { path: path.to_owned(), source };
        if path.exists() {
            return Err(fail(io::Error::other("the file is there already; move it away or name another")));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".creditd-bad-").tempfile_in(folder).map_err(fail)?;
        let writer = csv::WriterBuilder::new().flexible(true).from_writer(file);
        Ok(BadFile { path: path.to_owned(), writer })
    }

    fn write(&mut self, record: &csv::ByteRecord) -> Result<(), ImportError> {
        self.writer
            .write_byte_record(record)
            .map_err(|error| ImportError::BadFile { path: self.path.clone(), source: io::Error::other(error) })
    }

    /// Puts the file in place, unless there is nothing in it.
    fn finish(self, has_rows: bool) -> Result<Option<PathBuf>, ImportError> {
        let BadFile { path, writer } = self;
        if !has_rows {
            return Ok(None);
        }
        let place = || -> io::Result<()> {
            let file = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&path)?;
            Ok(())
        };
        match place() {
            Ok(()) => Ok(Some(path)),
            Err(source) => Err(ImportError::BadFile { path, source }),
        }
    }
}
