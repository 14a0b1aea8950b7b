//! What reports are made of: the rows of some accounts over a range of local days.

use super::retention::on_whole;
use super::sealing::blocking_sealed;
use super::{App, AppError};
use crate::config::KEEP_MONTHS_MIN;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{Overflow, Split};
use crate::core::ids::AccountId;
use crate::core::ledger::{Account, Ledger, Refusal};
use crate::core::sealed::{Chain, Manifest};
use crate::core::statement::{
    Adding, Breakdown, DateRange, Grid, Name, Outcome, REPORT_ROWS_MAX, ReportAccount, ReportError, ReportSpec, Row,
    Rows,
};
use crate::core::transaction::Transaction;
use crate::sealed::{SealedError, SealedRange, sum_range};
use crate::store::{BegunRead, Load, Opening, ReportAsk, ReportRange, ReportRead, StoreError, StoredAccount, Way};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Accounts whose ledgers are held at once while their rows are read.
pub(super) const ACCOUNTS_PER_READ: usize = crate::store::RANGES_PER_READ;
/// Reads of so many accounts that go on at once, while what was read before them is added up.
const PAGES_AT_ONCE: usize = 2;
/// Rows that are handed over at a time: some ten megabytes.
const ROWS_PER_PIECE: usize = 200_000;
/// Accounts of a report for each of which one looks where its range begins among its rows,
const ACCOUNTS_ENTERED: usize = 16;
/// where it has more rows than this: to add up fewer costs as much.
const ROWS_ENTERED: i64 = 30;
/// Where there may be more rows than this, they are added up as they come.
const ROWS_KEPT: i64 = 1_000_000;

/// What a report needs of the rows.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    range: DateRange,
    breakdown: Option<Breakdown>,
    /// Whose sums may come from the sealed ledger.
    spec: Option<&'a ReportSpec>,
}

impl From<DateRange> for Wanted<'_> {
    /// What a statement needs, row by row.
    fn from(range: DateRange) -> Self {
        Wanted { range, breakdown: None, spec: None }
    }
}

impl<'a> From<&'a ReportSpec> for Wanted<'a> {
    fn from(spec: &'a ReportSpec) -> Self {
        Wanted { range: spec.range(), breakdown: spec.breakdown(), spec: Some(spec) }
    }
}

/// The accounts of a report as they were at one moment: whatever is written meanwhile, everything that is read of them
/// afterwards is read of that state.
pub(super) struct Pinned {
    /// In the order of their ids; nothing was there yet.
    pub(super) accounts: Vec<ReportAccount>,
    /// The last row of each that counts.
    last_seqs: Vec<i64>,
    /// By the number of the account, the rows that a reset would write by now (R3).
    unwritten: Vec<(usize, Vec<Transaction>)>,
    /// By the number of the account, with what its rows begin where some have left the database.
    openings: BTreeMap<usize, Opening>,
    is_chosen: bool,
    /// At which moment, where that is past.
    as_of: Option<Instant>,
    /// Set once sealed files could not be read: each other part of a report reads the database, too, and nobody is told again.
    without_files: AtomicBool,
}

/// The accounts of a report while their rows are read.
struct Reading {
    accounts: Vec<ReportAccount>,
    rows: Rows,
}

impl Pinned {
    /// The rows of `range` of each account that were written behind `after_seqs`, by the number of the account.
    pub(super) fn ranges(&self, range: DateRange, after_seqs: Option<&[i64]>) -> Vec<(usize, ReportRange)> {
        let of = |(at, account): (usize, &ReportAccount)| {
            let (after_seq, last_seq) = (after_seqs.map_or(self.opening(at).0, |seqs| seqs[at]), self.last_seqs[at]);
            // Most accounts have nothing that is not sealed, and a range in a calendar takes a while to find.
            let has_more = if after_seqs.is_some() { after_seq < last_seq } else { last_seq > 0 };
            has_more.then(|| {
                let (from, to) = range.instants_in(&account.calendar);
                (at, ReportRange { account: account.id.clone(), from, to, after_seq, last_seq })
            })
        };
        self.accounts.iter().enumerate().filter_map(of).collect()
    }

    /// The row with which the rows of account number `at` begin, and the balance with it.
    pub(super) fn opening(&self, at: usize) -> (i64, Split) {
        self.openings.get(&at).map_or((0, Split::ZERO), |opening| (opening.seq, opening.balance))
    }

    fn has(&self, account: &AccountId) -> bool {
        self.accounts.binary_search_by(|one| one.id.cmp(account)).is_ok()
    }

    /// Refuses where rows that have left the database may count in `range`.
    pub(super) fn check_there(&self, range: DateRange) -> Result<(), AppError> {
        let reaches = |(at, opening): &(&usize, &Opening)| {
            range.instants_in(&self.accounts[**at].calendar).0 <= opening.recorded_at
        };
        let first = self.openings.iter().find(reaches);
        first.map_or(Ok(()), |(_, opening)| Err(AppError::Dropped(opening.account.clone())))
    }

    /// The rows of account number `at` that a reset would write by now.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = (usize, &Transaction)> {
        self.unwritten.iter().flat_map(|(at, rows)| rows.iter().map(move |row| (*at, row)))
    }
}

impl App {
    /// The rows that count in the range of what is `wanted`, read in each account's own calendar, for `accounts` or for all. Right whether or
    /// not any job has run: what a reset would write by now is counted as if it were written (R3). With `as_of`, as it
    /// read at that instant: what was recorded later does not count (R15).
    ///
    /// Where a [`ReportSpec`] is wanted as it reads now, rows that are sealed come from their files, as sums for that report. A
    /// file that is not as it was written is named in the log, and the database is read instead.
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`] for the first of `accounts` that does not exist; [`AppError::AsOfFuture`]; others
    /// when the store fails.
    pub async fn report_rows(
        &self,
        accounts: Option<&[AccountId]>,
        wanted: impl Into<Wanted<'_>>,
        as_of: Option<Instant>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let wanted = wanted.into();
        on_whole!(self, accounts, |app| {
            let pinned = app.pin(accounts, as_of).await;
            match pinned {
                Ok(pinned) => app.rows_of(&pinned, &wanted, progress).await,
                Err(error) => Err(error),
            }
        })
    }

    /// The rows of what is `wanted`, of accounts as they were at one moment.
    pub(super) async fn rows_of(
        &self,
        pinned: &Pinned,
        wanted: &Wanted<'_>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let mut reading = Reading { accounts: pinned.accounts.clone(), rows: Rows::default() };
        for (at, row) in pinned.unwritten() {
            let account = &mut reading.accounts[at];
            let (from, to) = wanted.range.instants_in(&account.calendar);
            let sum = add_row(row, at, account.opening, (from, to), wanted.breakdown, &mut reading.rows);
            account.opening = sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
        }
        let sealed = match wanted.spec {
            Some(spec) => self.sum_sealed(&mut reading, pinned, spec).await?,
            None => None,
        };
        let is_from_database = sealed.is_none();
        let known = match sealed {
            None => {
                pinned.check_there(wanted.range)?;
                self.enter(&mut reading, pinned, wanted.range).await?
            }
            Some(known) => {
                // As it read before rows left: none of the parts of then has them all.
                let lacks = |(at, opening): &(&usize, &Opening)| known[**at] < opening.seq;
                if let Some((_, opening)) = pinned.openings.iter().find(lacks) {
                    return Err(AppError::Dropped(opening.account.clone()));
                }
                known
            }
        };
        let ranges = pinned.ranges(wanted.range, Some(&known));
        let has_openings = wanted.spec.is_none_or(ReportSpec::has_balances);
        let way = self.store.way_to_rows(&ranges, !pinned.is_chosen).await?;
        let asked = ReportAsk { breakdown: wanted.breakdown, has_openings, way };
        let pages = ranges.chunks(self.store.ranges_per_read(way));
        let begin = |page: &_| Ok(self.store.begin_report_rows(page, asked, ROWS_PER_PIECE));
        self.add_pages(&mut reading, wanted.spec, pages, begin, progress).await?;
        if is_from_database {
            self.check_still(pinned, None).await?;
        }
        Ok((reading.accounts, reading.rows))
    }

    /// Adds the balance with which the range of each account begins, and returns the row that left it. No row counts before it was
    /// recorded, so what that one and those before it changed is in the balance, and none of them is in the range. Where most
    /// rows are behind it, or of many accounts, that is the opening: to walk over these would cost more than to look up those
    /// of the range.
    async fn enter(&self, reading: &mut Reading, pinned: &Pinned, range: DateRange) -> Result<Vec<i64>, AppError> {
        let mut known = Vec::with_capacity(pinned.accounts.len());
        let are_few = pinned.accounts.len() <= ACCOUNTS_ENTERED;
        for (at, (account, last_seq)) in reading.accounts.iter_mut().zip(&pinned.last_seqs).enumerate() {
            let (mut seq, mut balance) = pinned.opening(at);
            if are_few && *last_seq > ROWS_ENTERED {
                let (from, _) = range.instants_in(&account.calendar);
                let entered = self.store.recorded_before(&account.id, from, *last_seq).await?;
                if entered.0 >= *last_seq / 2 {
                    (seq, balance) = entered;
                }
            }
            let sum = account.opening.plus(balance);
            account.opening = sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
            known.push(seq);
        }
        Ok(known)
    }

    /// Refuses what was read of the database where rows that may count in it have left since `pinned` was. Of a `range` of the last months
    /// none does; `None` where what was there before counts, too.
    pub(super) async fn check_still(&self, pinned: &Pinned, range: Option<DateRange>) -> Result<(), AppError> {
        let settled =
            (0..KEEP_MONTHS_MIN).fold(Month::of(self.now().to_utc().date_naive()), |month, _| month.previous());
        if range.is_some_and(|range| range.from().date() > settled.first_day()) {
            return Ok(());
        }
        let ids =
            pinned.is_chosen.then(|| pinned.accounts.iter().map(|account| account.id.clone()).collect::<Vec<_>>());
        let mut before = pinned.openings.values().peekable();
        for opening in self.store.openings(ids.as_deref()).await? {
            while before.next_if(|earlier| earlier.account < opening.account).is_some() {}
            if before.next_if(|earlier| **earlier == opening).is_none() && pinned.has(&opening.account) {
                return Err(AppError::Moved(opening.account));
            }
        }
        Ok(())
    }

    /// The uses of credits of `spec`, which has filters, of accounts as they were at one moment; only what is written.
    pub(super) async fn filtered_rows_of(
        &self,
        pinned: &Pinned,
        spec: &ReportSpec,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        pinned.check_there(spec.range())?;
        let mut reading = Reading { accounts: pinned.accounts.clone(), rows: Rows::default() };
        let ranges = pinned.ranges(spec.range(), None);
        let begin = |page: &_| self.store.begin_uses(page, spec.breakdown(), spec.filters(), ROWS_PER_PIECE);
        self.add_pages(&mut reading, Some(spec), ranges.chunks(ACCOUNTS_PER_READ), begin, progress).await?;
        self.check_still(pinned, Some(spec.range())).await?;
        Ok((reading.accounts, reading.rows))
    }

    /// Adds the rows of `pages`, which begin to be read by `begin`, while further ones are read. Where there may be more than fit
    /// into memory, they are added up as they come.
    async fn add_pages<'a>(
        &self,
        reading: &mut Reading,
        spec: Option<&ReportSpec>,
        pages: std::slice::Chunks<'a, (usize, ReportRange)>,
        begin: impl Fn(&'a [(usize, ReportRange)]) -> Result<BegunRead, StoreError>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), AppError> {
        let ranges = || pages.clone().flatten();
        let rows_max = ranges().fold(0_i64, |sum, (_, range)| sum.saturating_add(range.last_seq - range.after_seq));
        let count = ranges().count();
        let grid = match spec {
            Some(spec) if count > ACCOUNTS_PER_READ || rows_max > ROWS_KEPT => {
                Some(Grid::new(spec, &reading.accounts).map_err(StoreError::from)?)
            }
            _ => None,
        };
        // What is read of more accounts at once than others is a walk over all rows, which come in no order, on two connections.
        let is_walk = pages.clone().next().is_some_and(|page| page.len() > ACCOUNTS_PER_READ);
        let connections = if is_walk { 2 } else { pages.len().min(PAGES_AT_ONCE) };
        let _turn = self.store.turn_to_report(connections).await;
        let mut adding = if is_walk { Adding::scattered() } else { Adding::default() };
        let mut begun = pages.clone().map(begin);
        let mut reads = begun.by_ref().take(PAGES_AT_ONCE).collect::<Result<VecDeque<_>, _>>()?;
        let (mut read, mut walked, total) = (0, 0, Some(count as u64));
        progress(read, total);
        for page in pages {
            let Some(mut pieces) = reads.pop_front() else { break };
            while let Some(found) = pieces.next().await? {
                // Nobody knows how many rows a walk will find, so these are counted until all accounts are done at once.
                if is_walk {
                    walked += found.rows.len() as u64;
                    progress(walked, None);
                }
                match &grid {
                    Some(grid) => reading.rows.sum_up(&found.rows, grid, &mut adding).map_err(StoreError::from)?,
                    None if reading.rows.len() + found.rows.len() > REPORT_ROWS_MAX => {
                        return Err(StoreError::from(ReportError::TooManyRows { max: REPORT_ROWS_MAX }).into());
                    }
                    None => reading.rows.append(found.rows),
                }
                for ((at, _), opening) in page.iter().zip(found.openings) {
                    let account = &mut reading.accounts[*at];
                    let sum = account.opening.plus(opening);
                    account.opening =
                        sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
                }
            }
            reads.extend(begun.next().transpose()?);
            read += page.len() as u64;
            progress(read, total);
        }
        if grid.is_some() {
            let summed = reading.rows.summed().with(adding.finish().map_err(StoreError::from)?);
            let summed = summed.map_err(StoreError::from)?.into_owned();
            reading.rows.add_summed(summed);
        }
        Ok(())
    }

    /// The accounts as they are, each with the rows that a reset would write by now, or as they were at `as_of` (R15).
    pub(super) async fn pin(&self, accounts: Option<&[AccountId]>, as_of: Option<Instant>) -> Result<Pinned, AppError> {
        self.check_as_of(as_of)?;
        let now = as_of.unwrap_or(self.now());
        let mut chosen = accounts.map(<[AccountId]>::to_vec);
        if let Some(chosen) = &mut chosen {
            chosen.sort();
            chosen.dedup();
        }
        let is_chosen = chosen.is_some();
        let (accounts, last_seqs, unwritten) = (Vec::new(), Vec::new(), Vec::new());
        let (openings, without_files) = (BTreeMap::new(), AtomicBool::new(false));
        let mut pinned = Pinned { accounts, last_seqs, unwritten, openings, is_chosen, as_of, without_files };
        let found = self.store.report_accounts(chosen.as_deref()).await?;
        // At `as_of` there was no account of which creditd learned later.
        let is_known_then = |account: &StoredAccount| as_of.is_none_or(|at| account.created_at <= at);
        let is_among = |found: &[StoredAccount], id: &AccountId| found.binary_search_by(|one| one.id.cmp(id)).is_ok();
        if let Some(unknown) = chosen.iter().flatten().find(|id| !is_among(&found, id)) {
            return Err(AppError::UnknownAccount(unknown.clone()));
        }
        let found: Vec<StoredAccount> = found.into_iter().filter(is_known_then).collect();
        if let Some(later) = chosen.iter().flatten().find(|id| !is_among(&found, id)) {
            return Err(AppError::UnknownThen { account: later.clone(), at: now });
        }
        // An account that has not changed since, and has nothing to roll over, was what it is.
        let is_as_it_was = |account: &StoredAccount| account.last_recorded_at <= now && account.due_at > now;
        let mut others = Vec::new();
        for account in found {
            let is_to_load = if as_of.is_some() { !is_as_it_was(&account) } else { account.due_at <= now };
            if is_to_load {
                others.push((pinned.accounts.len(), account.id.clone()));
            }
            let StoredAccount { id, calendar, last_seq, .. } = account;
            pinned.accounts.push(ReportAccount { id, calendar, opening: Split::ZERO });
            pinned.last_seqs.push(last_seq);
        }
        // Both are in the order of the ids.
        let mut at = 0;
        for opening in self.store.openings(chosen.as_deref()).await? {
            while pinned.accounts.get(at).is_some_and(|account| account.id < opening.account) {
                at += 1;
            }
            if pinned.accounts.get(at).is_some_and(|account| account.id == opening.account) {
                pinned.openings.insert(at, opening);
            }
        }
        for page in others.chunks(ACCOUNTS_PER_READ) {
            let ids: Vec<AccountId> = page.iter().map(|(_, id)| id.clone()).collect();
            let mut ledgers = match as_of {
                Some(at) => self.load_as_of(&ids, at).await?,
                None => self.store.load(&Load::accounts(&ids, now)).await?.ledgers,
            };
            for (at, id) in page {
                let Some(ledger) = ledgers.remove(id) else { continue };
                pinned.last_seqs[*at] = ledger.last_seq;
                pinned.accounts[*at].calendar = ledger.account.calendar.clone();
                pinned.unwritten.extend(unwritten_of(ledger, now)?.map(|rows| (*at, rows)));
            }
        }
        Ok(pinned)
    }

    /// Adds what is sealed, and returns the last sealed row of each account; `None` where nothing is, or where it cannot be
    /// read: then the database has it all. Of what was sealed of days that were not over at the moment, nothing is.
    async fn sum_sealed(
        &self,
        reading: &mut Reading,
        pinned: &Pinned,
        spec: &ReportSpec,
    ) -> Result<Option<Vec<i64>>, AppError> {
        if pinned.without_files.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let without_files = || {
            pinned.without_files.store(true, Ordering::Relaxed);
            Ok(None)
        };
        let mut before: Option<Chain> = None;
        let (rows, known) = loop {
            let is_of_then = |part: &&Manifest| pinned.as_of.is_none_or(|at| part.days.end() <= at);
            let chain = match self.store.sealed_chain().await {
                Ok(chain) if !chain.parts().iter().any(is_of_then) => return Ok(None),
                Ok(chain) => chain,
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::warn!(%error, "reading the database instead of sealed files");
                    return without_files();
                }
                Err(error) => return Err(error.into()),
            };
            match self.sum_parts(reading, pinned, spec, chain.clone()).await {
                Ok(summed) => break summed,
                // Parts may have been joined while they were read.
                Err(error) if error.is_of_files() && before.as_ref() != Some(&chain) => before = Some(chain),
                Err(error) if error.is_of_files() => {
                    tracing::warn!(%error, "reading the database instead; `creditd verify --sealed` looks at all files");
                    return without_files();
                }
                Err(error) => return Err(error.into()),
            }
        };
        if let Some(at) = known.iter().zip(&pinned.last_seqs).position(|((sealed, _), last)| sealed > last) {
            let account = &reading.accounts[at].id;
            tracing::warn!(%account, "rows are sealed that are newer than this report, or that the database has lost; reading the database instead");
            return without_files();
        }
        reading.rows = rows;
        for (account, (_, opening)) in reading.accounts.iter_mut().zip(&known) {
            let sum = account.opening.plus(*opening);
            account.opening = sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
        }
        Ok(Some(known.into_iter().map(|(seq, _)| seq).collect()))
    }

    /// The rows so far with those of `chain`, and what it knows of each account.
    async fn sum_parts(
        &self,
        reading: &mut Reading,
        pinned: &Pinned,
        spec: &ReportSpec,
        chain: Chain,
    ) -> Result<(Rows, Vec<(i64, Split)>), SealedError> {
        let (folder, spec, is_chosen, as_of, mut rows) =
            (self.sealed_folder(), spec.clone(), pinned.is_chosen, pinned.as_of, reading.rows.clone());
        // Lent to the thread that reads the files: there may be a million.
        let lent = Arc::new(std::mem::take(&mut reading.accounts));
        let accounts = Arc::clone(&lent);
        let summed = blocking_sealed(move || {
            let grid = Grid::new(&spec, &accounts)?;
            let asked = SealedRange { grid: &grid, accounts: &accounts, breakdown: spec.breakdown(), is_chosen };
            // Days follow each other, so these are the first ones.
            let mut parts = chain.parts();
            parts.retain(|part| as_of.is_none_or(|at| part.days.end() <= at));
            let known = sum_range(&folder, &parts, &asked, &mut rows)?;
            Ok((rows, known))
        });
        let summed = summed.await;
        reading.accounts = Arc::unwrap_or_clone(lent);
        summed
    }

    /// The same rows of ledgers that are loaded, as of their last row: what was written since does not count, and what a
    /// reset at `now` would write does. They come in the order of `ledgers`. No row of them has left the database.
    ///
    /// # Errors
    /// [`AppError`] when the store fails or a sum leaves the range of credits.
    pub async fn report_rows_of(
        &self,
        ledgers: Vec<Ledger>,
        range: DateRange,
        now: Instant,
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let bounds = |(at, ledger): (usize, &Ledger)| {
            let Ledger { account: Account { id, calendar, .. }, last_seq, .. } = ledger;
            let (from, to) = range.instants_in(calendar);
            (at, ReportRange { account: id.clone(), from, to, after_seq: 0, last_seq: *last_seq })
        };
        let bounds: Vec<(usize, ReportRange)> = ledgers.iter().enumerate().map(bounds).collect();
        let mut all = Vec::with_capacity(ledgers.len());
        let asked = ReportAsk { breakdown: None, has_openings: true, way: Way::LookedUp };
        let ReportRead { openings, mut rows } = self.store.report_rows(&bounds, asked).await?;
        for ((ledger, (at, ReportRange { from, to, .. })), mut opening) in ledgers.into_iter().zip(bounds).zip(openings)
        {
            let Account { id, calendar, .. } = ledger.account.clone();
            for row in unwritten_of(ledger, now)?.iter().flatten() {
                let sum = add_row(row, at, opening, (from, to), None, &mut rows);
                opening = sum.map_err(|source| Refusal::Overflow { account: id.clone(), source })?;
            }
            all.push(ReportAccount { id, calendar, opening });
        }
        Ok((all, rows))
    }
}

/// Adds a row to those of the range, or to the balance `before` it.
fn add_row(
    row: &Transaction,
    at: usize,
    before: Split,
    (from, to): (Instant, Instant),
    breakdown: Option<Breakdown>,
    rows: &mut Rows,
) -> Result<Split, Overflow> {
    let counts_at = row.kind.counts_at(row.occurred_at);
    if counts_at < from {
        return before.plus(row.delta);
    }
    if counts_at < to {
        let row = row_of(row, at, breakdown, rows);
        rows.push(row);
    }
    Ok(before)
}

/// A transaction as a report reads it.
pub(super) fn row_of(row: &Transaction, at: usize, breakdown: Option<Breakdown>, rows: &mut Rows) -> Row {
    let name = breakdown.and_then(|by| by.name_of(row)).map_or(Name::NONE, |name| rows.name(name));
    Row {
        account: u32::try_from(at).unwrap_or(u32::MAX),
        counts_at: row.kind.counts_at(row.occurred_at),
        kind: row.kind,
        outcome: Outcome::of(row.kind, row.status, row.reason),
        name,
        delta: row.delta,
    }
}

/// What a reset at `now` would write (R3); `None` for nothing.
fn unwritten_of(mut ledger: Ledger, now: Instant) -> Result<Option<Vec<Transaction>>, AppError> {
    let rolled = ledger.roll_over(now, now);
    rolled.map_err(|_| Refusal::Overflow { account: ledger.account.id.clone(), source: Overflow })?;
    let rows = ledger.rows().to_vec();
    Ok((!rows.is_empty()).then_some(rows))
}
