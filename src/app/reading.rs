//! What reports are made of: the rows of some accounts over a range of local days.

use super::sealing::blocking_sealed;
use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::{Overflow, Split};
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::ledger::{Account, Ledger, Refusal};
use crate::core::statement::{Breakdown, DateRange, Grid, Name, Outcome, ReportAccount, ReportSpec, Row, Rows, Tally};
use crate::core::transaction::Transaction;
use crate::sealed::{SealedRange, sum_range};
use crate::store::{Load, ReportRange, StoreError, StoredAccount};

/// Accounts whose ledgers are held at once while their rows are read.
const ACCOUNTS_PER_READ: usize = 1_000;

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

/// The accounts of a report while their rows are read.
struct Reading {
    /// In the order of their ids.
    accounts: Vec<ReportAccount>,
    /// The last row of each that counts.
    last_seqs: Vec<i64>,
    rows: Rows,
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
        self.check_as_of(as_of)?;
        if let Some(at) = as_of {
            return self.report_rows_as_of(accounts, &wanted, at, progress).await;
        }
        let mut reading = self.accounts_to_read(accounts, &wanted).await?;
        let sealed = match wanted.spec {
            Some(spec) => self.sum_sealed(&mut reading, spec, accounts.is_some()).await?,
            None => None,
        };
        let ranges = |sealed: &Option<Vec<i64>>| {
            let range = |(at, account): (usize, &ReportAccount)| {
                let (from, to) = wanted.range.instants_in(&account.calendar);
                let after_seq = sealed.as_ref().map_or(0, |sealed| sealed[at]);
                (at, ReportRange { account: account.id.clone(), from, to, after_seq, last_seq: reading.last_seqs[at] })
            };
            let all = reading.accounts.iter().enumerate().map(range);
            all.filter(|(_, range)| range.after_seq < range.last_seq).collect::<Vec<(usize, ReportRange)>>()
        };
        let ranges = ranges(&sealed);
        let total = Some(ranges.len() as u64);
        for (page, read) in ranges.chunks(ACCOUNTS_PER_READ).zip((0_u64..).step_by(ACCOUNTS_PER_READ)) {
            progress(read, total);
            let openings = self.store.report_rows(page, wanted.breakdown, &mut reading.rows).await?;
            for ((at, _), opening) in page.iter().zip(openings) {
                let account = &mut reading.accounts[*at];
                let sum = account.opening.plus(opening);
                account.opening = sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
            }
        }
        progress(ranges.len() as u64, total);
        Ok((reading.accounts, reading.rows))
    }

    /// The accounts, each with the rows that a reset would write by now, and before the range what those change.
    async fn accounts_to_read(&self, accounts: Option<&[AccountId]>, wanted: &Wanted<'_>) -> Result<Reading, AppError> {
        let now = self.now();
        let mut chosen = accounts.map(<[AccountId]>::to_vec);
        if let Some(chosen) = &mut chosen {
            chosen.sort();
            chosen.dedup();
        }
        let mut reading = Reading { accounts: Vec::new(), last_seqs: Vec::new(), rows: Rows::default() };
        let mut due = Vec::new();
        let mut pages = self.store.pages(chosen.as_deref(), ACCOUNTS_PER_READ);
        while let Some(ids) = pages.next().await? {
            let found = self.store.report_accounts(&ids).await?;
            let unknown =
                ids.iter().filter(|_| chosen.is_some()).find(|id| found.binary_search_by(|a| a.id.cmp(id)).is_err());
            if let Some(unknown) = unknown {
                return Err(AppError::UnknownAccount(unknown.clone()));
            }
            for StoredAccount { id, calendar, last_seq, due_at } in found {
                if due_at <= now {
                    due.push((reading.accounts.len(), id.clone()));
                }
                reading.accounts.push(ReportAccount { id, calendar, opening: Split::ZERO });
                reading.last_seqs.push(last_seq);
            }
        }
        for page in due.chunks(ACCOUNTS_PER_READ) {
            let ids: Vec<AccountId> = page.iter().map(|(_, id)| id.clone()).collect();
            let mut ledgers = self.store.load(&Load::accounts(&ids, now)).await?.ledgers;
            for (at, id) in page {
                let Some(mut ledger) = ledgers.remove(id) else { continue };
                let bounds = wanted.range.instants_in(&ledger.account.calendar);
                reading.last_seqs[*at] = ledger.last_seq;
                let index = u32::try_from(*at).unwrap_or(u32::MAX);
                let opening =
                    add_unwritten(&mut ledger, Split::ZERO, index, bounds, now, wanted.breakdown, &mut reading.rows);
                let account = &mut reading.accounts[*at];
                account.opening = opening.map_err(|source| Refusal::Overflow { account: id.clone(), source })?;
                account.calendar = ledger.account.calendar;
            }
        }
        Ok(reading)
    }

    /// Adds what is sealed, and returns the last sealed row of each account; `None` where nothing is, or where it cannot be
    /// read.
    async fn sum_sealed(
        &self,
        reading: &mut Reading,
        spec: &ReportSpec,
        is_chosen: bool,
    ) -> Result<Option<Vec<i64>>, AppError> {
        let chain = self.store.sealed_chain().await?;
        if chain.last().is_none() {
            return Ok(None);
        }
        let grid = Grid::new(spec, &reading.accounts).map_err(StoreError::from)?;
        let (folder, breakdown) = (self.sealed_folder(), spec.breakdown());
        // They go to the thread that reads files, and come back.
        let accounts = std::mem::take(&mut reading.accounts);
        let mut rows = std::mem::take(&mut reading.rows);
        let (accounts, rows, known) = blocking_sealed(move || {
            let asked = SealedRange { grid: &grid, accounts: &accounts, breakdown, is_chosen };
            let known = sum_range(&folder, &chain.parts(), &asked, &mut rows);
            Ok((accounts, rows, known))
        })
        .await?;
        (reading.accounts, reading.rows) = (accounts, rows);
        let beyond = |known: &[(i64, Split)]| {
            let beyond = known.iter().zip(&reading.last_seqs).position(|((sealed, _), last)| sealed > last);
            beyond.map(|at| reading.accounts[at].id.clone())
        };
        let known = match known {
            Ok(known) => match beyond(&known) {
                None => known,
                Some(account) => {
                    reading.rows.add_summed(Tally::default());
                    tracing::warn!(%account, "the sealed files have rows that the database has not; reading the database instead");
                    return Ok(None);
                }
            },
            Err(error) if error.is_of_files() => {
                tracing::warn!(%error, "reading the database instead; `creditd verify --sealed` looks at all files");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        for (account, (_, opening)) in reading.accounts.iter_mut().zip(&known) {
            let sum = account.opening.plus(*opening);
            account.opening = sum.map_err(|source| Refusal::Overflow { account: account.id.clone(), source })?;
        }
        Ok(Some(known.into_iter().map(|(seq, _)| seq).collect()))
    }

    /// As it read at `at`: ledgers are made of their rows until then (R15).
    async fn report_rows_as_of(
        &self,
        accounts: Option<&[AccountId]>,
        wanted: &Wanted<'_>,
        at: Instant,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let (mut all, mut rows) = (Vec::new(), Rows::default());
        let total = match accounts {
            Some(accounts) => accounts.len() as u64,
            None => self.store.count_accounts().await?,
        };
        let mut read = 0_u64;
        let mut pages = self.store.pages(accounts, ACCOUNTS_PER_READ);
        while let Some(ids) = pages.next().await? {
            let mut ledgers = self.store.load_as_of(&ids, at).await?;
            if let Some(unknown) = ids.iter().find(|id| accounts.is_some() && !ledgers.contains_key(*id)) {
                return Err(AppError::UnknownAccount(unknown.clone()));
            }
            let known = ids.iter().filter_map(|id| ledgers.remove(id)).collect();
            self.read_some(known, wanted, at, &mut all, &mut rows).await?;
            read += ids.len() as u64;
            progress(read, Some(total));
        }
        Ok((all, rows))
    }

    /// The same rows of ledgers that are loaded, as of their last row: what was written since does not count, and what a
    /// reset at `now` would write does. They come in the order of `ledgers`.
    ///
    /// # Errors
    /// [`AppError`] when the store fails or a sum leaves the range of credits.
    pub async fn report_rows_of(
        &self,
        ledgers: Vec<Ledger>,
        range: DateRange,
        now: Instant,
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let (mut all, mut rows) = (Vec::new(), Rows::default());
        self.read_some(ledgers, &range.into(), now, &mut all, &mut rows).await?;
        Ok((all, rows))
    }

    async fn read_some(
        &self,
        ledgers: Vec<Ledger>,
        wanted: &Wanted<'_>,
        now: Instant,
        all: &mut Vec<ReportAccount>,
        rows: &mut Rows,
    ) -> Result<(), AppError> {
        let bounds = |(at, ledger): (usize, &Ledger)| {
            let Ledger { account: Account { id, calendar, .. }, last_seq, .. } = ledger;
            let (from, to) = wanted.range.instants_in(calendar);
            (at, ReportRange { account: id.clone(), from, to, after_seq: 0, last_seq: *last_seq })
        };
        let bounds: Vec<(usize, ReportRange)> = (all.len()..).zip(&ledgers).map(bounds).collect();
        let read = self.store.report_rows(&bounds, wanted.breakdown, rows).await?;
        for ((mut ledger, (at, ReportRange { from, to, .. })), opening) in ledgers.into_iter().zip(bounds).zip(read) {
            let index = u32::try_from(at).unwrap_or(u32::MAX);
            let opening = add_unwritten(&mut ledger, opening, index, (from, to), now, wanted.breakdown, rows);
            let Account { id, calendar, .. } = ledger.account;
            let opening = opening.map_err(|source| Refusal::Overflow { account: id.clone(), source })?;
            all.push(ReportAccount { id, calendar, opening });
        }
        Ok(())
    }
}

/// Adds the rows that a reset at `now` would write (R3), and returns the balance before the range with their part in it.
fn add_unwritten(
    ledger: &mut Ledger,
    opening: Split,
    index: u32,
    (from, to): (Instant, Instant),
    now: Instant,
    breakdown: Option<Breakdown>,
    rows: &mut Rows,
) -> Result<Split, Overflow> {
    if ledger.roll_over(now, now).is_err() {
        return Err(Overflow);
    }
    let mut before = opening;
    for row in ledger.rows() {
        let counts_at = row.kind.counts_at(row.occurred_at);
        if counts_at < from {
            before = before.plus(row.delta)?;
        } else if counts_at < to {
            let outcome = Outcome::of(row.kind, row.status, row.reason);
            let name = name_of(row, breakdown).map_or(Name::NONE, |name| rows.name(name));
            rows.push(Row { account: index, counts_at, kind: row.kind, outcome, name, delta: row.delta });
        }
    }
    Ok(before)
}

/// The action or user by which a report is broken down.
fn name_of(row: &Transaction, breakdown: Option<Breakdown>) -> Option<&str> {
    match breakdown {
        Some(Breakdown::Action) => row.action.as_ref().map(ActionCode::as_str),
        Some(Breakdown::User) => row.user.as_ref().map(UserId::as_str),
        Some(Breakdown::Type | Breakdown::Status) | None => None,
    }
}
