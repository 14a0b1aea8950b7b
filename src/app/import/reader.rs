//! A CSV file as a stream of records: plain or gzip, a file or standard input, every record bounded.

use super::{BadRow, ImportError, Problem};
use crate::core::counting::counted;
use csv::ByteRecord;
use flate2::read::MultiGzDecoder;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Longest record, in bytes: an unclosed quote must not read the rest of the file into memory.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Longest reason that is given for a bad field, in characters.
const REASON_CHARS_MAX: usize = 200;
/// First bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, or a pipe with a name.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Source {
    /// `-` is standard input, everything else a file.
    #[must_use]
    pub fn new(path: &Path) -> Source {
        if path == Path::new("-") { Source::Stdin } else { Source::Path(path.to_owned()) }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::Stdin => "standard input".to_owned(),
        }
    }

    /// The file itself, or what a pipe had to say in a nameless file in `folder`, for every file is read twice. On a
    /// thread of its own, for whoever writes into a pipe may take long, and nobody shall have to wait for that to stop.
    pub(super) async fn into_file(self, folder: PathBuf) -> io::Result<File> {
        let open = move || match self {
            Source::Path(path) => {
                let file = File::open(path)?;
                if file.metadata()?.is_file() { Ok(file) } else { stored(file, &folder) }
            }
            Source::Stdin => stored(io::stdin(), &folder),
        };
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
    }
}

fn stored(mut pipe: impl Read, folder: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(folder)?;
    io::copy(&mut pipe, &mut file)?;
    Ok(file)
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// What was read last, to look back at how a record ended.
#[derive(Default)]
struct Chunk {
    /// Bytes read in all, up to the end of this chunk.
    ends_at: u64,
    bytes: Vec<u8>,
}

impl Chunk {
    /// The byte before the one at `at`, counted from the beginning of the file.
    fn byte_before(&self, at: u64) -> Option<u8> {
        let behind = usize::try_from(self.ends_at.checked_sub(at)?).ok()?;
        self.bytes.iter().rev().nth(behind).copied()
    }
}

/// Fails when too much is read for one record.
struct Bounded {
    inner: Box<dyn Read>,
    since_record: Rc<Cell<usize>>,
    chunk: Rc<RefCell<Chunk>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_record.get() > RECORD_BYTES_MAX {
            let what = format!("a record is longer than {RECORD_BYTES_MAX} bytes; is a quote (\") not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let n = self.inner.read(buffer)?;
        self.since_record.set(self.since_record.get() + n);
        if n > 0 {
            let mut chunk = self.chunk.borrow_mut();
            chunk.ends_at += n as u64;
            chunk.bytes.clear();
            chunk.bytes.extend_from_slice(&buffer[..n]);
        }
        Ok(n)
    }
}

/// Reads records.
pub(super) struct Reader {
    csv: csv::Reader<Bounded>,
    since_record: Rc<Cell<usize>>,
    chunk: Rc<RefCell<Chunk>>,
    bytes_read: Rc<Cell<u64>>,
    bytes_total: u64,
}

impl Reader {
    /// Reads `file` from its begin.
    pub(super) fn new(file: &File) -> io::Result<Reader> {
        let mut input = file.try_clone()?;
        input.rewind()?;
        let bytes_total = input.metadata()?.len();
        let bytes_read = Rc::new(Cell::new(0));
        let mut input = BufReader::new(Counted { inner: input, count: Rc::clone(&bytes_read) });
        let is_gzip = input.fill_buf()?.starts_with(&GZIP_MAGIC);
        let inner: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
        let since_record = Rc::new(Cell::new(0));
        let chunk = Rc::new(RefCell::new(Chunk::default()));
        let bounded = Bounded { inner, since_record: Rc::clone(&since_record), chunk: Rc::clone(&chunk) };
        let csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
        Ok(Reader { csv, since_record, chunk, bytes_read, bytes_total })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    pub(super) const fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// The next record and its line; `None` at the end.
    pub(super) fn next(&mut self, file: &str) -> Result<Option<(u64, ByteRecord)>, ImportError> {
        let mut record = ByteRecord::new();
        self.since_record.set(0);
        let line = self.csv.position().line();
        match self.csv.read_byte_record(&mut record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some((self.line_of(&record), record))),
            Err(error) => {
                let source = match error.into_kind() {
                    csv::ErrorKind::Io(source) => source,
                    other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
                };
                Err(ImportError::Read { file: file.to_owned(), line, kept: 0, source })
            }
        }
    }

    /// The line on which the record just read began. csv has counted the line breaks that it has read, and it reads the
    /// \n of a \r\n and the breaks of empty lines only with the next record; so the line is counted back from the end.
    fn line_of(&self, record: &ByteRecord) -> u64 {
        let end = self.csv.position();
        let is_break_read = self.chunk.borrow().byte_before(end.byte()) == Some(b'\n');
        let within = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        end.line().saturating_sub(within + u64::from(is_break_read))
    }

    /// The first record, which must name `columns`, each once, in any order, and may name those that are `optional`.
    pub(super) fn header(
        &mut self,
        file: &str,
        columns: &'static [&'static str],
        optional: &'static [&'static str],
    ) -> Result<Header, ImportError> {
        let wrong = |what: String| {
            let may = match optional {
                [] => String::new(),
                optional => format!(", and may be {}", optional.join(", ")),
            };
            ImportError::Header { file: file.to_owned(), what, expected: columns.join(", ") + &may }
        };
        let Some((_, record)) = self.next(file)? else { return Err(wrong("the file is empty".into())) };
        let names: Vec<String> = record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let shown = |name: &str| name.chars().take(40).collect::<String>();
        if let Some(strange) =
            names.iter().find(|name| !columns.contains(&name.as_str()) && !optional.contains(&name.as_str()))
        {
            return Err(wrong(format!("there is no column {:?}", shown(strange))));
        }
        let mut order = Vec::with_capacity(columns.len());
        for column in columns.iter().chain(optional) {
            let mut places = names.iter().enumerate().filter(|(_, name)| name == column).map(|(at, _)| at);
            match (places.next(), places.next()) {
                (Some(at), None) => order.push((*column, at)),
                (None, _) if optional.contains(column) => {}
                (None, _) => return Err(wrong(format!("the column {column:?} is missing"))),
                (Some(_), Some(_)) => return Err(wrong(format!("the column {column:?} stands there twice"))),
            }
        }
        Ok(Header { order, record })
    }
}

/// Where each column is.
pub(super) struct Header {
    order: Vec<(&'static str, usize)>,
    pub(super) record: ByteRecord,
}

impl Header {
    fn position(&self, name: &str) -> Option<usize> {
        self.order.iter().find(|(column, _)| *column == name).map(|(_, at)| *at)
    }

    /// What is wrong with a row, and where in this file.
    pub(super) fn bad_row(&self, file: &str, line: u64, problem: Problem) -> BadRow {
        let column = problem.column.and_then(|name| Some((self.position(name)? + 1, name)));
        BadRow { file: file.to_owned(), line, column, reason: problem.reason }
    }
}

/// The fields of one record, by column.
pub struct Fields<'a> {
    header: &'a Header,
    record: &'a ByteRecord,
}

impl<'a> Fields<'a> {
    pub(super) fn new(header: &'a Header, record: &'a ByteRecord) -> Result<Fields<'a>, Problem> {
        let (expected, found) = (header.order.len(), record.len());
        if expected != found {
            let found = counted(found as u64, "column");
            return Err(Problem { column: None, reason: format!("has {found}, the header has {expected}") });
        }
        Ok(Fields { header, record })
    }

    /// The text in `column`, trimmed of spaces; empty in a column that was left out.
    ///
    /// # Errors
    /// [`Problem`] when it is not UTF-8.
    pub fn text(&self, column: &'static str) -> Result<&'a str, Problem> {
        let at = self.header.position(column).unwrap_or(usize::MAX);
        match std::str::from_utf8(self.record.get(at).unwrap_or_default()) {
            Ok(text) => Ok(text.trim()),
            Err(_) => Err(Problem { column: Some(column), reason: "is not UTF-8 text".into() }),
        }
    }

    /// The text in `column` as understood by `read`.
    ///
    /// # Errors
    /// [`Problem`] when it is not UTF-8 or `read` refuses it.
    pub fn read<T, E: std::fmt::Display>(
        &self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        read(self.text(column)?).map_err(|error| Problem { column: Some(column), reason: shortened(error.to_string()) })
    }
}

/// A reason names the text it is about, and that may be a megabyte.
fn shortened(reason: String) -> String {
    match reason.char_indices().nth(REASON_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &reason[..at]),
        None => reason,
    }
}
