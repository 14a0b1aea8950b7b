//! Reading parts: polars finds and decodes what a report needs of them, and no more; the core says where each row counts.

use super::columns::log_rows;
use super::{Folder, On, Result};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::ids::AccountId;
use crate::core::sealed::{FileFacts, Manifest, SeqRange};
use crate::core::statement::{Adding, Breakdown, Grid, Name, Outcome, Place, ReportAccount, Rows, SumKey};
use crate::core::transaction::{Kind, Status, Transaction, touched};
use polars::prelude::*;
use std::path::Path;
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
        while let Some(there) = self.account(*from).filter(|there| *there < account.as_str()) {
            let _ = there;
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
        let schema = super::columns::log_schema()?;
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

    let mut find = |part: &Manifest, take: &mut dyn FnMut(&mut (i64, Split), (i64, Split))| -> Result<()> {
        let (balances, mut at) = (read_balances(folder, part, within)?, 0);
        for (account, known) in asked.accounts.iter().zip(&mut known) {
            if let Some(found) = balances.find(&account.id, &mut at) {
                take(known, found);
            }
        }
        Ok(())
    };
    find(newest, &mut |known, (seq, _)| known.0 = seq)?;
    if let Some(base) = base {
        find(base, &mut |known, (_, balance)| known.1 = balance)?;
    }
    let mut summing = Summing { asked, adding: Adding::default(), known: &mut known };
    for Needed { part, is_in_base, time } in needed {
        let accounts = within.map(|(first, last)| of_accounts(first, last));
        let filter = [accounts, time].into_iter().flatten().reduce(Expr::and);
        summing.part(folder, &part.log, filter, is_in_base, rows)?;
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
        let (is_needed, is_whole) = match is_in_base {
            true => (part.latest >= from, part.earliest >= from),
            false => (part.earliest < to, part.latest < to),
        };
        // A lapse counts just before it occurs.
        let time = || match is_in_base {
            true => col("occurred_at").gt_eq(instant(from)),
            false => col("occurred_at").lt_eq(instant(to)),
        };
        is_needed.then(|| Needed { part, is_in_base, time: (!is_whole).then(time) })
    }
}

/// Days begin in the last zone this long after they do in the first: 26 hours.
const ZONES_APART_SECONDS: i64 = 26 * 3_600;

struct Summing<'a, 'b> {
    asked: &'a SealedRange<'b>,
    adding: Adding,
    known: &'a mut [(i64, Split)],
}

impl Summing<'_, '_> {
    fn part(
        &mut self,
        folder: &Folder,
        log: &FileFacts,
        filter: Option<Expr>,
        is_in_base: bool,
        rows: &mut Rows,
    ) -> Result<()> {
        let path = folder.path_of(log)?;
        let mut columns =
            vec!["account_id", "kind", "occurred_at", "status", "reason", "free_delta", "purchased_delta"];
        let named = match self.asked.breakdown {
            Some(Breakdown::Action) => Some("action"),
            Some(Breakdown::User) => Some("user_id"),
            Some(Breakdown::Type | Breakdown::Status | Breakdown::Transaction) | None => None,
        };
        columns.extend(named);
        let mut at = 0;
        for frame in scan(&path, &columns, filter).on(&path, "cannot be read")? {
            let frame = frame.on(&path, "cannot be read")?;
            let columns = Columns::of(&frame, named).on(&path, "cannot be read")?;
            self.frame(&columns, is_in_base, &mut at, rows)?;
        }
        Ok(())
    }

    /// Adds up a frame. Its accounts are in order: `at` is where among those of the report the next one is looked for.
    fn frame(&mut self, columns: &Columns, is_in_base: bool, at: &mut usize, rows: &mut Rows) -> Result<()> {
        let Columns { accounts, names, kinds, outcomes, occurred_at, free, purchased } = columns;
        let accounts = accounts.downcast_iter().next();
        let Some(accounts) = accounts else { return Ok(()) };
        let nulls = names.as_ref().filter(|names| names.null_count() > 0);
        let nulls = nulls.map(|names| names.is_null().iter().map(|null| null == Some(true)).collect::<Vec<bool>>());
        let names = names.as_ref().and_then(|names| names.downcast_iter().next());
        let (mut view, mut name_view, mut name) = (None, None, Name::NONE);
        let mut account: Option<(usize, &[Instant])> = None;
        let mut begun = 0;
        for row in 0..accounts.len() {
            let new = accounts.views()[row].as_u128();
            if view != Some(new) {
                view = Some(new);
                account = seek(self.asked.accounts, accounts.value(row), at)
                    .map(|index| (index, self.asked.grid.starts_of(index)));
                begun = 0;
            }
            let Some((index, starts)) = account else { continue };
            let (kind, outcome) = (kinds[row], outcomes[row]);
            let counts_at = kind.counts_at(Instant::from_micros(occurred_at[row]));
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
                    *opening = Split {
                        free: opening.free.minus(delta.free)?,
                        purchased: opening.purchased.minus(delta.purchased)?,
                    };
                }
            } else if begun == 0 {
                *opening = opening.plus(delta)?;
            }
            if begun == 0 || begun == starts.len() {
                continue;
            }
            let group = match self.asked.breakdown {
                None => 0,
                Some(Breakdown::Type) => touched(delta) as u32,
                Some(breakdown) => {
                    if let Some(names) = names {
                        let new = names.views()[row].as_u128();
                        if nulls.as_ref().is_some_and(|nulls| nulls[row]) {
                            (name_view, name) = (None, Name::NONE);
                        } else if name_view != Some(new) {
                            (name_view, name) = (Some(new), rows.name(names.value(row)));
                        }
                    }
                    breakdown.group_by(name, outcome, delta)
                }
            };
            let place = Place { cell: self.asked.grid.cell(index, begun - 1), group };
            self.adding.add(SumKey::new(place, kind, outcome), delta, 1)?;
        }
        Ok(())
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

/// A frame, taken apart.
struct Columns {
    accounts: StringChunked,
    names: Option<StringChunked>,
    kinds: Vec<Kind>,
    outcomes: Vec<Outcome>,
    occurred_at: Vec<i64>,
    free: Vec<i64>,
    purchased: Vec<i64>,
}

impl Columns {
    fn of(frame: &DataFrame, named: Option<&str>) -> PolarsResult<Columns> {
        let text = |name: &str| Ok::<_, PolarsError>(frame.column(name)?.str()?.rechunk().into_owned());
        let ints = |name: &str| -> PolarsResult<Vec<i64>> {
            let ints = frame.column(name)?.to_physical_repr();
            Ok(ints.i64()?.into_no_null_iter().collect())
        };
        fn words<T: Copy>(frame: &DataFrame, name: &str, read: fn(&str) -> Option<T>) -> PolarsResult<Vec<Option<T>>> {
            let column = frame.column(name)?.cat8()?;
            let mapping = column.get_mapping();
            let known: Vec<Option<T>> = (0..=u8::MAX).map(|at| mapping.cat_to_str(at.into()).and_then(read)).collect();
            Ok(column.physical().iter().map(|at| at.and_then(|at| known[usize::from(at)])).collect())
        }
        let unknown = || PolarsError::ComputeError("a word is not one of the ledger's".into());
        let kinds = words(frame, "kind", Kind::from_word)?;
        let kinds = kinds.into_iter().map(|kind| kind.ok_or_else(unknown)).collect::<PolarsResult<Vec<Kind>>>()?;
        let statuses = words(frame, "status", Status::from_word)?;
        let reasons = words(frame, "reason", crate::core::transaction::Reason::from_word)?;
        let outcome = |((kind, status), reason): ((&Kind, Option<Status>), _)| {
            status.map(|status| Outcome::of(*kind, status, reason)).ok_or_else(unknown)
        };
        let outcomes = kinds.iter().zip(statuses).zip(reasons).map(outcome).collect::<PolarsResult<Vec<Outcome>>>()?;
        Ok(Columns {
            accounts: text("account_id")?,
            names: named.map(text).transpose()?,
            kinds,
            outcomes,
            occurred_at: ints("occurred_at")?,
            free: ints("free_delta")?,
            purchased: ints("purchased_delta")?,
        })
    }
}
