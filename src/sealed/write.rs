//! Writing a part: rows come in order of account, the files get their names when they are complete and on disk.

use super::columns::{BalanceRow, balances_frame, balances_schema, log_frame, log_schema};
use super::trust::{Folder, TEMPORARY};
use super::{On, Result, SealedError};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::sealed::{FORM, FileFacts, Manifest, RecordedDays, hex, name_of};
use crate::core::transaction::Transaction;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{DataFrame, ParquetCompression, ParquetWriter, PolarsResult, Schema};
use sha2::{Digest, Sha256};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::NamedTempFile;

/// Rows of one group: what a report of one account reads at least, and what a writer holds in memory.
const GROUP_ROWS: usize = 1 << 16;

/// A file that is written, hashed on the way.
struct Hashed {
    file: BufWriter<NamedTempFile>,
    hash: Sha256,
    bytes: u64,
}

/// One end for the writer of Parquet, one for whoever asks for the hash.
#[derive(Clone)]
struct Shared(Arc<Mutex<Hashed>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut hashed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = hashed.file.write(bytes)?;
        hashed.hash.update(&bytes[..written]);
        hashed.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

/// A table on its way into a file, which has no name before it is complete.
struct TableWriter {
    /// The folder.
    path: PathBuf,
    parquet: BatchedWriter<Shared>,
    file: Shared,
}

impl TableWriter {
    fn create(folder: &Path, schema: &Schema) -> Result<TableWriter> {
        let path = folder.to_owned();
        // Only its owner can read it, as the ledger's file.
        let file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).on(&path, "cannot be written to")?;
        let hashed = Hashed { file: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
        let file = Shared(Arc::new(Mutex::new(hashed)));
        let parquet = ParquetWriter::new(file.clone()).with_compression(ParquetCompression::Zstd(None));
        let parquet = parquet.batched(schema).on(&path, "cannot be begun")?;
        Ok(TableWriter { path, parquet, file })
    }

    fn write(&mut self, frame: PolarsResult<DataFrame>) -> Result<()> {
        let written = frame.and_then(|frame| self.parquet.write_batch(&frame));
        written.on(&self.path, "cannot be written")
    }

    /// Brings the file to disk, still without a name.
    fn finish(self) -> Result<Unnamed> {
        let TableWriter { path, parquet, file: Shared(file) } = self;
        parquet.finish().on(&path, "cannot be finished")?;
        drop(parquet);
        let whole = Arc::into_inner(file).and_then(|file| file.into_inner().ok());
        let Hashed { file, hash, bytes } = whole.ok_or("it is still being written").on(&path, "cannot be finished")?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).on(&path, "cannot be written")?;
        file.as_file().sync_all().on(&path, "cannot be written to")?;
        Ok(Unnamed { path, file, bytes, sha256: hex(&hash.finalize()) })
    }
}

/// A file that is complete and on disk.
struct Unnamed {
    /// The folder.
    path: PathBuf,
    file: NamedTempFile,
    bytes: u64,
    sha256: String,
}

impl Unnamed {
    fn facts(&self, name: String) -> FileFacts {
        FileFacts { name, bytes: self.bytes, sha256: self.sha256.clone() }
    }

    fn name(self, facts: &FileFacts) -> Result<()> {
        let path = self.path.join(&facts.name);
        self.file.persist(&path).map_err(|error| error.error).on(&path, "cannot be named").map(drop)
    }
}

/// A part on its way into its files. Dropped before [`PartWriter::finish`], nothing of it stays.
pub struct PartWriter {
    folder: Folder,
    number: u64,
    previous: Option<String>,
    days: RecordedDays,
    replaces: Vec<u64>,
    log: TableWriter,
    log_schema: Schema,
    rows: Vec<(Arc<AccountId>, Transaction)>,
    count: u64,
    delta: Split,
    counts_at: Option<(Instant, Instant)>,
    balances: Vec<BalanceRow>,
}

/// A part whose files are on disk. They mean nothing until the database knows its manifest.
#[derive(Clone, Debug)]
pub struct Written(pub Manifest);

impl PartWriter {
    /// Begins part `number` of the chain, which follows the manifest with the hash `previous`.
    ///
    /// # Errors
    /// [`SealedError::File`] when the folder cannot be written to.
    pub fn begin(
        folder: &Folder,
        (number, previous): (u64, Option<String>),
        days: RecordedDays,
        replaces: Vec<u64>,
    ) -> Result<PartWriter> {
        folder.make()?;
        let log_schema = log_schema();
        let log = TableWriter::create(folder.path(), &log_schema)?;
        let (folder, rows, balances) = (folder.clone(), Vec::new(), Vec::new());
        let (count, delta, counts_at) = (0, Split::ZERO, None);
        Ok(PartWriter {
            folder,
            number,
            previous,
            days,
            replaces,
            log,
            log_schema,
            rows,
            count,
            delta,
            counts_at,
            balances,
        })
    }

    /// The next account: what it had with its last sealed row before this part, if it had any, and its rows in this part. Its
    /// rows may come in several calls, in the order of their numbers. Accounts come in the order of their ids.
    ///
    /// # Errors
    /// [`SealedError::File`] when the files cannot be written.
    pub fn add(&mut self, account: AccountId, before: Option<(i64, Split)>, mut rows: Vec<Transaction>) -> Result<()> {
        let account = match self.balances.last() {
            Some(last) if *last.account == account => Arc::clone(&last.account),
            _ => {
                let account = Arc::new(account);
                let (seq, balance) = before.unwrap_or((0, Split::ZERO));
                self.balances.push(BalanceRow { account: Arc::clone(&account), seq, balance });
                account
            }
        };
        let Some(of_account) = self.balances.last_mut() else { return Ok(()) };
        for row in &rows {
            // Rows are numbered without gaps, so whoever handed them out has left some out.
            if row.seq != of_account.seq + 1 {
                let what = format!("row {} of {account} behind row {}", row.seq, of_account.seq);
                return Err(SealedError::Strange(what));
            }
            (of_account.seq, of_account.balance) = (row.seq, row.balance);
            let at = row.kind.counts_at(row.occurred_at);
            let (first, last) = self.counts_at.unwrap_or((at, at));
            self.counts_at = Some((first.min(at), last.max(at)));
            self.delta = self.delta.plus(row.delta).on(&self.log.path, "cannot be summed up")?;
        }
        self.count += rows.len() as u64;
        rows.sort_by_key(|row| (row.occurred_at, row.seq));
        for row in rows {
            self.rows.push((Arc::clone(&account), row));
            if self.rows.len() == GROUP_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let frame = log_frame(&self.log_schema, &self.rows);
        self.rows.clear();
        self.log.write(frame)
    }

    /// Brings the files of the part and its manifest to disk.
    ///
    /// # Errors
    /// [`SealedError::File`] when they cannot be written.
    pub fn finish(mut self) -> Result<Written> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        let schema = balances_schema();
        let mut balances = TableWriter::create(self.folder.path(), &schema)?;
        for rows in self.balances.chunks(GROUP_ROWS) {
            balances.write(balances_frame(&schema, rows))?;
        }
        let (unnamed_log, unnamed_balances) = (self.log.finish()?, balances.finish()?);
        let stem = name_of(self.number, self.days, &unnamed_log.sha256);
        let log = unnamed_log.facts(format!("{stem}.log.parquet"));
        let balances = unnamed_balances.facts(format!("{stem}.balances.parquet"));
        // Nothing counts anywhere, so any instant will do.
        let (earliest, latest) = self.counts_at.unwrap_or((self.days.end(), self.days.end()));
        let manifest = Manifest {
            form: FORM.to_owned(),
            number: self.number,
            previous: self.previous,
            days: self.days,
            replaces: self.replaces,
            rows: self.count,
            free: Credits::get(self.delta.free),
            purchased: Credits::get(self.delta.purchased),
            earliest,
            latest,
            log,
            balances,
        };
        // First, so that whatever a cut leaves behind can be told from what others put there.
        self.folder.write_manifest(&manifest)?;
        unnamed_log.name(&manifest.log)?;
        unnamed_balances.name(&manifest.balances)?;
        self.folder.sync()?;
        Ok(Written(manifest))
    }
}

impl From<Written> for Manifest {
    fn from(written: Written) -> Manifest {
        written.0
    }
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartWriter").field("number", &self.number).field("days", &self.days).finish_non_exhaustive()
    }
}

impl From<crate::core::credits::Overflow> for SealedError {
    fn from(overflow: crate::core::credits::Overflow) -> SealedError {
        SealedError::Report(overflow.into())
    }
}
