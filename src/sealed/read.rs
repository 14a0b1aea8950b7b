//! Reading parts: polars finds and decodes what a report needs of them, and no more; the core says where each row counts.

use super::columns::log_rows;
use super::{Folder, On, Result};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::sealed::{FileFacts, Manifest, SeqRange};
use crate::core::statement::{Adding, Breakdown, Grid, Name, Outcome, Place, ReportAccount, Rows, SumKey};
use crate::core::transaction::{Kind, Reason, Status, Transaction};
use polars::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

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
    let failed = send.clone();
    // Whoever takes no more frames drops the other end, and polars is asked to stop.
    let hand_out = PlanCallback::new(move |frame| Ok(send.send(Ok(frame)).is_err()));
    let query = file.select(wanted).sink_batches(hand_out, true, None)?;
    std::thread::spawn(move || {
        if let Err(error) = query.collect_with_engine(Engine::Streaming) {
            let _ = failed.send(Err(error));
        }
    });
    Ok(frames.into_iter())
}

/// Rows of the accounts from `first` to `last`.
fn of_accounts(first: &AccountId, last: &AccountId) -> Expr {
    let id = || col("account_id");
    if first == last {
        return id().eq(lit(first.as_str()));
    }
    id().gt_eq(lit(first.as_str())).and(id().lt_eq(lit(last.as_str())))
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

/// The balances with which a part ends, of the accounts from the first to the last of `accounts`, or of all.
///
/// # Errors
/// [`SealedError`](super::SealedError) when the file cannot be read.
pub fn read_balances(folder: &Folder, part: &Manifest, accounts: Option<(&AccountId, &AccountId)>) -> Result<Balances> {
    let path = folder.path_of(&part.balances)?;
    let read = || -> PolarsResult<Balances> {
        let mut balances = Balances::default();
        let filter = accounts.map(|(first, last)| of_accounts(first, last));
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
        for frame in scan(&path, &columns, Some(filter))? {
            rows.extend(log_rows(&frame?)?);
        }
        let is_asked = |(id, row): &(AccountId, Transaction)| {
            let behind = ranges.partition_point(|range| range.account_id < *id);
            let of_account = ranges[behind..].iter().take_while(|range| range.account_id == *id);
            of_account.into_iter().any(|range| range.after < row.seq && row.seq <= range.through)
        };
        rows.retain(is_asked);
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

    fn ends(&self) -> Option<(&AccountId, &AccountId)> {
        Some((&self.accounts.first()?.id, &self.accounts.last()?.id))
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
    let (Some(newest), Some((first, last))) = (parts.last(), asked.ends()) else { return Ok(known) };
    let within = asked.is_chosen.then_some((first, last));
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
        let (balances, mut at) = (read_balances(folder, part, within)?, 0);
        Ok(asked.accounts.iter().map(|account| balances.find(&account.id, &mut at)).collect())
    };
    for (known, found) in known.iter_mut().zip(find(newest)?) {
        known.0 = found.map_or(0, |(seq, _)| seq);
    }
    if let Some(base) = base {
        for (known, found) in known.iter_mut().zip(find(base)?) {
            known.1 = found.map_or(Split::ZERO, |(_, balance)| balance);
        }
    }
    let mut summing = Summing { asked, adding: Adding::default(), known: &mut known };
    // The next part is decoded while one is added up.
    let mut begun = needed.into_iter().map(|needed| Begun::of(folder, needed, asked.named(), within));
    let mut next = begun.next();
    while let Some(part) = next {
        next = begun.next();
        summing.part(part?, rows)?;
    }
    let tally = summing.adding.finish()?;
    rows.add_summed(tally);
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

/// A part whose rows are on their way.
struct Begun<F> {
    path: PathBuf,
    is_in_base: bool,
    frames: F,
}

impl Begun<()> {
    fn of(
        folder: &Folder,
        Needed { part, is_in_base, time }: Needed<'_>,
        named: Option<&'static str>,
        within: Option<(&AccountId, &AccountId)>,
    ) -> Result<Begun<impl Iterator<Item = PolarsResult<DataFrame>> + use<>>> {
        let path = folder.path_of(&part.log)?;
        let columns = ["account_id", "kind", "occurred_at", "status", "reason", "free_delta", "purchased_delta"];
        let columns: Vec<&str> = columns.into_iter().chain(named).collect();
        let accounts = within.map(|(first, last)| of_accounts(first, last));
        let filter = [accounts, time].into_iter().flatten().reduce(Expr::and);
        let frames = scan(&path, &columns, filter).on(&path, "cannot be read")?;
        Ok(Begun { path, is_in_base, frames })
    }
}

struct Summing<'a, 'b> {
    asked: &'a SealedRange<'b>,
    adding: Adding,
    known: &'a mut [(i64, Split)],
}

impl Summing<'_, '_> {
    fn part(
        &mut self,
        Begun { path, is_in_base, frames }: Begun<impl Iterator<Item = PolarsResult<DataFrame>>>,
        rows: &mut Rows,
    ) -> Result<()> {
        let named = self.asked.named();
        let mut at = 0;
        for frame in frames {
            let columns = frame.and_then(|frame| Columns::of(&frame, named)).on(&path, "cannot be read")?;
            self.frame(&columns, is_in_base, &mut at, rows)?.on(&path, "cannot be read")?;
        }
        Ok(())
    }

    /// Adds up a frame. Its accounts are in order: `at` is where among those of the report the next one is looked for. What is
    /// wrong with the frame is the inner error.
    fn frame(
        &mut self,
        columns: &Columns,
        is_in_base: bool,
        at: &mut usize,
        rows: &mut Rows,
    ) -> Result<PolarsResult<()>> {
        let SealedRange { grid, accounts, breakdown, .. } = self.asked;
        let (Some(mut ids), Some(mut kinds)) = (Texts::of(&columns.accounts), Texts::of(&columns.kinds)) else {
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
        let mut begun = 0;
        for row in 0..occurred_at.len() {
            // A run of rows of one account, looked up once.
            let index = ids.get_last(row, |id| seek(accounts, id, at));
            let Some(index) = index.flatten() else { continue };
            let starts = grid.starts_of(index);
            let kind = kinds.get(row, Kind::from_word).flatten();
            let status = statuses.get(row, Status::from_word).flatten();
            let (Some(kind), Some(status)) = (kind, status) else {
                return Ok(Err(PolarsError::ComputeError("a word is not one of the ledger's".into())));
            };
            let outcome = Outcome::of(kind, status, reasons.get(row, Reason::from_word).flatten());
            let counts_at = kind.counts_at(Instant::from_micros(occurred_at[row]));
            // Rows of an account are in order of time, but for few.
            begun = begun.min(starts.len());
            while begun < starts.len() && starts[begun] <= counts_at {
                begun += 1;
            }
            while begun > 0 && starts[begun - 1] > counts_at {
                begun -= 1;
            }
            let delta = Split { free: Credits::new(free[row]), purchased: Credits::new(purchased[row]) };
            let opening = &mut self.known[index].1;
            if is_in_base {
                // It is among the balances of the base, and did not happen before the range.
                if begun > 0 {
                    let Split { free, purchased } = delta;
                    *opening = opening.plus(Split { free: free.negated(), purchased: purchased.negated() })?;
                }
            } else if begun == 0 {
                *opening = opening.plus(delta)?;
            }
            if begun == 0 || begun == starts.len() {
                continue;
            }
            let name = names.as_mut().and_then(|names| names.get(row, |name| rows.name(name)));
            let group = breakdown.map_or(0, |breakdown| breakdown.group_by(name.unwrap_or(Name::NONE), outcome, delta));
            let place = Place { cell: grid.cell(index, begun - 1), group };
            self.adding.add(SumKey::new(place, kind, outcome), delta, 1)?;
        }
        Ok(Ok(()))
    }
}

/// Where `id` is among `accounts`, looked for from `at` on, where the last one was.
fn seek(accounts: &[ReportAccount], id: &str, at: &mut usize) -> Option<usize> {
    if accounts.get(*at).is_some_and(|account| account.id.as_str() > id) {
        *at = 0;
    }
    // Nearly always the next one or one soon after.
    let mut step = 1;
    while accounts.get(*at + step).is_some_and(|account| account.id.as_str() <= id) {
        *at += step;
        step *= 2;
    }
    let rest = accounts.get(*at..(*at + step).min(accounts.len()))?;
    *at += rest.partition_point(|account| account.id.as_str() < id);
    (accounts.get(*at)?.id.as_str() == id).then_some(*at)
}

/// A frame, taken apart. Each column is one array.
struct Columns {
    accounts: StringChunked,
    kinds: StringChunked,
    statuses: StringChunked,
    reasons: StringChunked,
    names: Option<StringChunked>,
    occurred_at: Int64Chunked,
    free: Int64Chunked,
    purchased: Int64Chunked,
}

impl Columns {
    fn of(frame: &DataFrame, named: Option<&str>) -> PolarsResult<Columns> {
        let text = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.str()?.rechunk().into_owned());
        let number = |name: &str| -> PolarsResult<Int64Chunked> {
            Ok(frame.column(name)?.to_physical_repr().i64()?.rechunk().into_owned())
        };
        Ok(Columns {
            accounts: text("account_id")?,
            kinds: text("kind")?,
            statuses: text("status")?,
            reasons: text("reason")?,
            names: named.map(text).transpose()?,
            occurred_at: number("occurred_at")?,
            free: number("free_delta")?,
            purchased: number("purchased_delta")?,
        })
    }

    fn numbers(&self) -> PolarsResult<(&[i64], &[i64], &[i64])> {
        Ok((self.occurred_at.cont_slice()?, self.free.cont_slice()?, self.purchased.cont_slice()?))
    }
}

/// A column of texts that come again and again. A text is looked at once, and known afterwards by its view: 16 bytes that hold
/// a short text itself and of a long one where it is.
struct Texts<'a, T> {
    array: &'a <StringType as PolarsDataType>::Array,
    /// Which are NULL, if any is.
    nulls: Option<Vec<bool>>,
    last: Option<(u128, T)>,
    known: Vec<(u128, T)>,
}

/// Texts that are known at once; actions are fewer, users may be more.
const KNOWN_MAX: usize = 64;

impl<'a, T: Copy> Texts<'a, T> {
    fn of(column: &'a StringChunked) -> Option<Texts<'a, T>> {
        let array = column.downcast_iter().next()?;
        let nulls = || column.is_null().iter().map(|null| null == Some(true)).collect();
        Some(Texts { array, nulls: (column.null_count() > 0).then(nulls), last: None, known: Vec::new() })
    }

    /// What the text of a row stands for; `None` for NULL.
    fn get(&mut self, row: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls[row]) {
            return None;
        }
        let view = self.array.views()[row].as_u128();
        match self.last {
            Some((last, value)) if last == view => return Some(value),
            _ => {}
        }
        let known = self.known.iter().find(|(known, _)| *known == view).map(|(_, value)| *value);
        let value = known.unwrap_or_else(|| {
            let value = read(self.array.value(row));
            if self.known.len() < KNOWN_MAX {
                self.known.push((view, value));
            }
            value
        });
        self.last = Some((view, value));
        Some(value)
    }

    /// The same of texts that come in runs: only the last one is known.
    fn get_last(&mut self, row: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        let view = self.array.views()[row].as_u128();
        match self.last {
            Some((last, value)) if last == view => Some(value),
            _ => {
                let value = read(self.array.value(row));
                self.last = Some((view, value));
                Some(value)
            }
        }
    }
}
