//! Reading parts: polars finds and decodes what a report needs of them, and no more; the core says where each row counts.

use super::columns::log_rows;
use super::frame::{Columns, Texts, Views};
use super::{Folder, On, Result, SealedError};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::sealed::{FileFacts, Manifest, SeqRange};
use crate::core::statement::{Adding, Breakdown, Grid, Name, Outcome, Place, ReportAccount, Rows, SumKey, Tally};
use crate::core::transaction::{Kind, Reason, Status, Transaction};
use polars::io::parquet::metadata::{FileMetadata, FileMetadataRef};
use polars::prelude::*;
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Frames that wait to be taken: one is worked on while polars decodes the next.
const FRAMES_AHEAD: usize = 2;

/// A file, frame by frame, in its order. polars decodes in threads of its own, and only what is asked for: groups of rows
/// whose statistics rule them out are not touched.
fn scan(
    path: &Path,
    columns: &[&str],
    filter: Option<Expr>,
) -> PolarsResult<impl Iterator<Item = PolarsResult<DataFrame>> + use<>> {
    let text = path.to_str().ok_or_else(|| PolarsError::ComputeError("its name is not UTF-8".into()))?;
    let args = ScanArgsParquet { glob: false, cache: false, ..ScanArgsParquet::default() };
    let mut file = LazyFrame::scan_parquet(PlRefPath::new(text), args)?;
    if let Some(filter) = filter {
        file = file.filter(filter);
    }
    let wanted: Vec<Expr> = columns.iter().map(|name| col(*name)).collect();
    let (send, frames) = mpsc::sync_channel(FRAMES_AHEAD);
    let end = send.clone();
    // Whoever takes no more frames drops the other end, and polars is asked to stop.
    let hand_out = PlanCallback::new(move |frame| Ok(send.send(Some(Ok(frame))).is_err()));
    let query = file.select(wanted).sink_batches(hand_out, true, None)?;
    std::thread::spawn(move || {
        let _ = match query.collect_with_engine(Engine::Streaming) {
            Ok(_) => end.send(None),
            Err(error) => end.send(Some(Err(error))),
        };
    });
    Ok(Frames { frames, is_over: false })
}

/// What a thread of polars hands out: frames, and that it has come to the end. One that dies does not say so, and what it has
/// handed out until then is not the whole file.
struct Frames {
    frames: mpsc::Receiver<Option<PolarsResult<DataFrame>>>,
    is_over: bool,
}

impl Iterator for Frames {
    type Item = PolarsResult<DataFrame>;

    fn next(&mut self) -> Option<PolarsResult<DataFrame>> {
        if self.is_over {
            return None;
        }
        let next = self.frames.recv();
        self.is_over = !matches!(next, Ok(Some(Ok(_))));
        next.unwrap_or_else(|_| Some(Err(PolarsError::ComputeError("reading it ended before its end".into()))))
    }
}

/// Rows of the accounts from `first` to `last`.
fn of_accounts(first: &AccountId, last: &AccountId) -> Expr {
    let id = || col("account_id");
    if first == last {
        return id().eq(lit(first.as_str()));
    }
    id().gt_eq(lit(first.as_str())).and(id().lt_eq(lit(last.as_str())))
}

/// Accounts that are looked for one by one; more are cheaper by the span of their ids.
const CHOSEN_MAX: usize = 32;

/// Rows of these accounts, and maybe of some between them.
fn of_chosen(accounts: &[ReportAccount]) -> Option<Expr> {
    let (first, last) = (&accounts.first()?.id, &accounts.last()?.id);
    if accounts.len() > CHOSEN_MAX {
        return Some(of_accounts(first, last));
    }
    accounts.iter().map(|account| of_accounts(&account.id, &account.id)).reduce(Expr::or)
}

fn instant(at: Instant) -> Expr {
    lit(Scalar::new_datetime(at.micros(), TimeUnit::Microseconds, None))
}

/// What accounts had with their last sealed row, in the order of their ids.
#[derive(Debug, Default)]
pub struct Balances {
    accounts: Vec<StringChunked>,
    /// How many accounts came before each of `accounts`, and all of them.
    begins: Vec<usize>,
    seq: Vec<i64>,
    free: Vec<i64>,
    purchased: Vec<i64>,
}

impl Balances {
    fn push(&mut self, frame: &DataFrame) -> PolarsResult<()> {
        let text = frame.column("account_id")?.str()?.rechunk().into_owned();
        self.begins.push(self.seq.len());
        let ints = |name: &str, to: &mut Vec<i64>| -> PolarsResult<()> {
            to.extend(frame.column(name)?.i64()?.into_no_null_iter());
            Ok(())
        };
        ints("seq", &mut self.seq)?;
        ints("free", &mut self.free)?;
        ints("purchased", &mut self.purchased)?;
        self.accounts.push(text);
        Ok(())
    }

    /// How many accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// The account at a position.
    #[must_use]
    pub fn account(&self, at: usize) -> Option<&str> {
        let chunk = self.begins.partition_point(|begin| *begin <= at).checked_sub(1)?;
        let within = at - self.begins[chunk];
        self.accounts.get(chunk).filter(|accounts| within < accounts.len())?.get(within)
    }

    /// The last sealed row of the account at a position, and its balance with that.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<(i64, Split)> {
        let balance = Split { free: Credits::new(*self.free.get(at)?), purchased: Credits::new(self.purchased[at]) };
        Some((self.seq[at], balance))
    }

    /// The last sealed row of `account`, and its balance with that, when accounts are asked for in order: `from` is where to
    /// look, and moves on.
    #[must_use]
    pub fn find(&self, account: &AccountId, from: &mut usize) -> Option<(i64, Split)> {
        while self.account(*from).is_some_and(|there| there < account.as_str()) {
            *from += 1;
        }
        if self.account(*from)? == account.as_str() { self.get(*from) } else { None }
    }
}

/// The balances with which a part ends.
///
/// # Errors
/// [`SealedError`](super::SealedError) when the file cannot be read.
pub fn read_balances(folder: &Folder, part: &Manifest) -> Result<Balances> {
    balances_of(folder, part, None)
}

fn balances_of(folder: &Folder, part: &Manifest, filter: Option<Expr>) -> Result<Balances> {
    let path = folder.path_of(&part.balances)?;
    let read = || -> PolarsResult<Balances> {
        let mut balances = Balances::default();
        for frame in scan(&path, &["account_id", "seq", "free", "purchased"], filter)? {
            balances.push(&frame?)?;
        }
        Ok(balances)
    };
    read().on(&path, "cannot be read")
}

/// The rows of a part that are among `ranges`, which are in the order of their accounts, in order of account and time.
///
/// # Errors
/// [`SealedError`](super::SealedError) when the file cannot be read.
pub fn read_rows(folder: &Folder, log: &FileFacts, ranges: &[SeqRange]) -> Result<Vec<(AccountId, Transaction)>> {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Ok(Vec::new()) };
    let path = folder.path_of(log)?;
    let mut filter = of_accounts(&first.account_id, &last.account_id);
    if let [only] = ranges {
        // One account may have more rows than fit into memory.
        filter = filter.and(col("seq").gt(lit(only.after))).and(col("seq").lt_eq(lit(only.through)));
    }
    let read = || -> PolarsResult<Vec<(AccountId, Transaction)>> {
        let schema = super::columns::log_schema();
        let columns: Vec<&str> = schema.iter_names().map(|name| name.as_str()).collect();
        let mut rows = Vec::new();
        let is_asked = |(id, row): &(AccountId, Transaction)| {
            let behind = ranges.partition_point(|range| range.account_id < *id);
            let of_account = ranges[behind..].iter().take_while(|range| range.account_id == *id);
            of_account.into_iter().any(|range| range.after < row.seq && row.seq <= range.through)
        };
        for frame in scan(&path, &columns, Some(filter))? {
            rows.extend(log_rows(&frame?)?.into_iter().filter(is_asked));
        }
        Ok(rows)
    };
    read().on(&path, "cannot be read")
}

/// What a report asks of the sealed ledger.
#[derive(Debug)]
pub struct SealedRange<'a> {
    /// Where rows count.
    pub grid: &'a Grid,
    /// Whose rows, in the order of their ids.
    pub accounts: &'a [ReportAccount],
    /// By what they are named.
    pub breakdown: Option<Breakdown>,
    /// True when these are not all accounts there are.
    pub is_chosen: bool,
}

impl SealedRange<'_> {
    /// When the range begins for the first of the accounts, and when it is over for the last.
    fn bounds(&self) -> (Instant, Instant) {
        let each = self.grid.all_starts().filter_map(|starts| Some((*starts.first()?, *starts.last()?)));
        each.reduce(|(from, to), (first, last)| (from.min(first), to.max(last))).unwrap_or((Instant::MAX, Instant::MIN))
    }

    /// The column of names.
    const fn named(&self) -> Option<&'static str> {
        match self.breakdown {
            Some(Breakdown::Action) => Some("action"),
            Some(Breakdown::User) => Some("user_id"),
            Some(Breakdown::Type | Breakdown::Status | Breakdown::Transaction) | None => None,
        }
    }
}

/// Adds the rows of `parts`, which are in the order of their days, to `rows` as sums, and returns for each account its last
/// sealed row and what it had before the range, as far as that is sealed.
///
/// # Errors
/// [`SealedError`](super::SealedError) when a file is not as it was written or cannot be read, or the report would not fit.
pub fn sum_range(
    folder: &Folder,
    parts: &[&Manifest],
    asked: &SealedRange<'_>,
    rows: &mut Rows,
) -> Result<Vec<(i64, Split)>> {
    let mut known = vec![(0_i64, Split::ZERO); asked.accounts.len()];
    let Some(newest) = parts.last() else { return Ok(known) };
    let chosen = if asked.is_chosen { of_chosen(asked.accounts) } else { None };
    let (from, to) = asked.bounds();
    // What was there before the range is what was there with some part, and what moved between the two. Any part will do;
    // least has moved since the last one whose days had ended when the range began, in the last zone in which it did.
    let base = parts.iter().rposition(|part| part.days.end() <= from.plus_seconds(ZONES_APART_SECONDS));
    let is_in_base = |at: usize| base.is_some_and(|base| at <= base);
    let needed = parts.iter().enumerate().filter_map(|(at, part)| Needed::of(part, is_in_base(at), from, to));
    let needed: Vec<Needed<'_>> = needed.collect();
    let base = base.map(|base| parts[base]);
    let balances = [Some(*newest), base].into_iter().flatten().map(|part| &part.balances);
    folder.check(needed.iter().map(|needed| &needed.part.log).chain(balances))?;

    let find = |part: &Manifest| -> Result<Vec<Option<(i64, Split)>>> {
        let (balances, mut at) = (balances_of(folder, part, chosen.clone())?, 0);
        Ok(asked.accounts.iter().map(|account| balances.find(&account.id, &mut at)).collect())
    };
    let pieces = needed.iter().map(|needed| needed.pieces(folder, chosen.as_ref()));
    let pieces = pieces.collect::<Result<Vec<_>>>()?.concat();
    let (next, names) = (AtomicUsize::new(0), Mutex::new(&mut *rows));
    let add_up = || {
        let mut summing = Summing::new(asked, &names);
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            summing.piece(piece)?;
        }
        Ok((summing.adding.finish()?, summing.moved))
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX).min(pieces.len().max(1));
    let (balances, done): (_, Vec<Summed>) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(add_up)).collect();
        let died = |_| Err(SealedError::Died("adding up sealed rows".to_owned()));
        // While they begin.
        let balances = find(newest).and_then(|newest| Ok((newest, base.map(find).transpose()?)));
        (balances, threads.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect())
    });
    let (newest, base) = balances?;
    let base = base.unwrap_or_else(|| vec![None; known.len()]);
    for ((known, newest), base) in known.iter_mut().zip(newest).zip(base) {
        *known = (newest.map_or(0, |(seq, _)| seq), base.map_or(Split::ZERO, |(_, balance)| balance));
    }
    let mut sums = Vec::new();
    for summed in done {
        let (tally, moved) = summed?;
        for ((_, opening), moved) in known.iter_mut().zip(moved) {
            *opening = opening.plus(moved)?;
        }
        sums.push(tally);
    }
    let mut sums = sums.into_iter();
    let first = sums.next().unwrap_or_default();
    rows.add_summed(sums.try_fold(first, |all, more| all.with(more).map(Cow::into_owned))?);
    Ok(known)
}

/// A part with rows that a report needs.
struct Needed<'a> {
    part: &'a Manifest,
    /// Whether its rows are in the balances from which what was there before the range is reckoned.
    is_in_base: bool,
    /// Which of them, if not all.
    time: Option<Expr>,
}

impl Needed<'_> {
    /// `part`, if it has rows that happened in the range from `from` to `to`, or between its beginning and the base.
    fn of(part: &Manifest, is_in_base: bool, from: Instant, to: Instant) -> Option<Needed<'_>> {
        let (is_needed, is_whole) = if is_in_base {
            (part.latest >= from, part.earliest >= from)
        } else {
            (part.earliest < to, part.latest < to)
        };
        // A lapse counts just before it occurs.
        let occurred_at = || col("occurred_at");
        let time = || if is_in_base { occurred_at().gt_eq(instant(from)) } else { occurred_at().lt_eq(instant(to)) };
        is_needed.then(|| Needed { part, is_in_base, time: (!is_whole).then(time) })
    }
}

/// Days begin in the last zone this long after they do in the first: 26 hours.
const ZONES_APART_SECONDS: i64 = 26 * 3_600;

/// What a thread takes at a time.
#[derive(Clone)]
struct Piece {
    path: PathBuf,
    is_in_base: bool,
    rows: Wanted,
}

/// Which rows of a file.
#[derive(Clone)]
enum Wanted {
    /// All of a group, which is the only one in this copy of what the file says of itself. The thread decodes them itself, and
    /// adds them up while they are still near; the memory they were in serves the next ones.
    Group(FileMetadataRef),
    /// All that pass. polars finds them in threads of its own, and decodes of other columns what it must.
    Passing(Expr),
}

impl Needed<'_> {
    fn pieces(&self, folder: &Folder, chosen: Option<&Expr>) -> Result<Vec<Piece>> {
        let (path, is_in_base) = (folder.path_of(&self.part.log)?, self.is_in_base);
        let filter = [chosen, self.time.as_ref()].into_iter().flatten().cloned().reduce(Expr::and);
        if let Some(filter) = filter {
            return Ok(vec![Piece { path, is_in_base, rows: Wanted::Passing(filter) }]);
        }
        let file = File::open(&path).on(&path, "cannot be read")?;
        let whole = ParquetReader::new(file).get_metadata().cloned().on(&path, "cannot be read")?;
        let none = FileMetadata { row_groups: Vec::new(), ..FileMetadata::clone(&whole) };
        let groups = whole.row_groups.iter().map(|group| {
            let num_rows = group.num_rows();
            let only = FileMetadata { row_groups: vec![group.clone()], num_rows, ..none.clone() };
            Piece { path: path.clone(), is_in_base, rows: Wanted::Group(Arc::new(only)) }
        });
        Ok(groups.collect())
    }
}

impl Piece {
    /// Its rows, in order, with the column of names.
    fn frames(&self, named: Option<&'static str>) -> PolarsResult<Box<dyn Iterator<Item = PolarsResult<DataFrame>>>> {
        let columns = ["account_id", "kind", "occurred_at", "status", "reason", "free_delta", "purchased_delta"];
        let columns = columns.into_iter().chain(named);
        match &self.rows {
            Wanted::Passing(filter) => {
                Ok(Box::new(scan(&self.path, &columns.collect::<Vec<_>>(), Some(filter.clone()))?))
            }
            Wanted::Group(group) => {
                let mut reader = ParquetReader::new(File::open(&self.path)?).read_parallel(ParallelStrategy::None);
                reader.set_metadata(Arc::clone(group));
                let frame = reader.with_columns(Some(columns.map(str::to_owned).collect())).finish();
                Ok(Box::new(std::iter::once(frame)))
            }
        }
    }
}

/// What came of one thread: its sums, and by account what moved between the base and the beginning of the range.
type Summed = Result<(Tally, Vec<Split>)>;

/// Threads that add up. More would wait for disks and memory.
const WORKERS_MAX: usize = 8;

/// What one thread adds up.
struct Summing<'a, 'b> {
    asked: &'a SealedRange<'b>,
    /// All threads name alike.
    names: &'a Mutex<&'a mut Rows>,
    adding: Adding,
    /// By account, what moved between the base and the beginning of the range.
    moved: Vec<Split>,
}

impl<'a, 'b> Summing<'a, 'b> {
    fn new(asked: &'a SealedRange<'b>, names: &'a Mutex<&'a mut Rows>) -> Summing<'a, 'b> {
        Summing { asked, names, adding: Adding::default(), moved: vec![Split::ZERO; asked.accounts.len()] }
    }

    fn piece(&mut self, piece: &Piece) -> Result<()> {
        let named = self.asked.named();
        let mut at = 0;
        for frame in piece.frames(named).on(&piece.path, "cannot be read")? {
            let columns = frame.and_then(|frame| Columns::of(&frame, named)).on(&piece.path, "cannot be read")?;
            self.frame(&columns, piece.is_in_base, &mut at)?.on(&piece.path, "cannot be read")?;
        }
        Ok(())
    }

    /// Adds up a frame. Its accounts are in order: `at` is where among those of the report the next one is looked for. What is
    /// wrong with the frame is the inner error.
    fn frame(&mut self, columns: &Columns, is_in_base: bool, at: &mut usize) -> Result<PolarsResult<()>> {
        let SealedRange { grid, accounts, breakdown, .. } = self.asked;
        let (Some(ids), Some(mut kinds)) = (Views::of(&columns.accounts), Texts::of(&columns.kinds)) else {
            return Ok(Ok(()));
        };
        let (Some(mut statuses), Some(mut reasons)) = (Texts::of(&columns.statuses), Texts::of(&columns.reasons))
        else {
            return Ok(Ok(()));
        };
        let mut names = columns.names.as_ref().and_then(Texts::of);
        let (occurred_at, free, purchased) = match columns.numbers() {
            Ok(numbers) => numbers,
            Err(error) => return Ok(Err(error)),
        };
        let all = self.names;
        let named = |name: &str| all.lock().unwrap_or_else(PoisonError::into_inner).name(name);
        let mut row = 0;
        while row < occurred_at.len() {
            // The rows of an account are a run: what is the same for all of them is looked up once.
            let end = ids.end_of_run(row);
            let Some(index) = seek(accounts, ids.text(row), at) else {
                row = end;
                continue;
            };
            let starts = grid.starts_of(index);
            let mut begun = 0;
            for row in std::mem::replace(&mut row, end)..end {
                let kind = kinds.get(row, Kind::from_word).flatten();
                let status = statuses.get(row, Status::from_word).flatten();
                let (Some(kind), Some(status)) = (kind, status) else {
                    return Ok(Err(PolarsError::ComputeError("a word is not one of the ledger's".into())));
                };
                let outcome = Outcome::of(kind, status, reasons.get(row, Reason::from_word).flatten());
                let counts_at = kind.counts_at(Instant::from_micros(occurred_at[row]));
                // Rows of an account are in order of time, but for few.
                while begun < starts.len() && starts[begun] <= counts_at {
                    begun += 1;
                }
                while begun > 0 && starts[begun - 1] > counts_at {
                    begun -= 1;
                }
                let delta = Split { free: Credits::new(free[row]), purchased: Credits::new(purchased[row]) };
                if is_in_base && begun > 0 {
                    // It is among the balances of the base, and did not happen before the range.
                    let (opening, Split { free, purchased }) = (&mut self.moved[index], delta);
                    *opening = opening.plus(Split { free: free.negated(), purchased: purchased.negated() })?;
                } else if !is_in_base && begun == 0 {
                    let opening = &mut self.moved[index];
                    *opening = opening.plus(delta)?;
                }
                if begun == 0 || begun == starts.len() {
                    continue;
                }
                let name = names.as_mut().and_then(|names| names.get(row, named)).unwrap_or(Name::NONE);
                let group = breakdown.map_or(0, |breakdown| breakdown.group_by(name, outcome, delta));
                let place = Place { cell: grid.cell(index, begun - 1), group };
                self.adding.add(SumKey::new(place, kind, outcome), delta, 1)?;
            }
        }
        Ok(Ok(()))
    }
}

/// Where `id` is among `accounts`, looked for from `at` on, where the last one was.
fn seek(accounts: &[ReportAccount], id: &str, at: &mut usize) -> Option<usize> {
    // Nearly always the next one.
    if accounts.get(*at + 1).is_some_and(|next| next.id.as_str() == id) {
        *at += 1;
        return Some(*at);
    }
    if accounts.get(*at).is_some_and(|account| account.id.as_str() > id) {
        *at = 0;
    }
    // Else mostly one soon after.
    let mut step = 1;
    while accounts.get(*at + step).is_some_and(|account| account.id.as_str() <= id) {
        *at += step;
        step *= 2;
    }
    let rest = accounts.get(*at..(*at + step).min(accounts.len()))?;
    *at += rest.partition_point(|account| account.id.as_str() < id);
    (accounts.get(*at)?.id.as_str() == id).then_some(*at)
}
