//! What reports are made of: the rows of some accounts over a range of local days.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::{Overflow, Split};
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::ledger::{Account, Ledger, Refusal};
use crate::core::statement::{Breakdown, DateRange, Name, Outcome, ReportAccount, ReportSpec, Row, Rows};
use crate::core::transaction::Transaction;
use crate::store::{Load, ReportRange};

/// Accounts whose ledgers are held at once while their rows are read.
const ACCOUNTS_PER_READ: usize = 1_000;

/// What a report needs of the rows.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    range: DateRange,
    breakdown: Option<Breakdown>,
}

impl From<DateRange> for Wanted {
    /// What a statement needs.
    fn from(range: DateRange) -> Wanted {
        Wanted { range, breakdown: None }
    }
}

impl From<&ReportSpec> for Wanted {
    fn from(spec: &ReportSpec) -> Wanted {
        Wanted { range: spec.range(), breakdown: spec.breakdown() }
    }
}

impl App {
    /// The rows that count in the range of what is `wanted`, read in each account's own calendar, for `accounts` or for all. Right whether or
    /// not any job has run: what a reset would write by now is counted as if it were written (R3). With `as_of`, as it
    /// read at that instant: what was recorded later does not count (R15).
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`] for the first of `accounts` that does not exist; [`AppError::AsOfFuture`]; others
    /// when the store fails.
    pub async fn report_rows(
        &self,
        accounts: Option<&[AccountId]>,
        wanted: impl Into<Wanted>,
        as_of: Option<Instant>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let wanted = wanted.into();
        self.check_as_of(as_of)?;
        let (mut all, mut rows) = (Vec::new(), Rows::default());
        let total = match accounts {
            Some(accounts) => accounts.len() as u64,
            None => self.store.count_accounts().await?,
        };
        let mut read = 0_u64;
        let mut pages = self.store.pages(accounts, ACCOUNTS_PER_READ);
        while let Some(ids) = pages.next().await? {
            let mut ledgers = match as_of {
                Some(at) => self.store.load_as_of(&ids, at).await?,
                None => self.store.load(&Load::accounts(&ids, self.now())).await?.ledgers,
            };
            if let Some(unknown) = ids.iter().find(|id| accounts.is_some() && !ledgers.contains_key(*id)) {
                return Err(AppError::UnknownAccount(unknown.clone()));
            }
            let known = ids.iter().filter_map(|id| ledgers.remove(id)).collect();
            self.read_some(known, wanted, as_of.unwrap_or(self.now()), &mut all, &mut rows).await?;
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
        self.read_some(ledgers, range.into(), now, &mut all, &mut rows).await?;
        Ok((all, rows))
    }

    async fn read_some(
        &self,
        ledgers: Vec<Ledger>,
        Wanted { range, breakdown }: Wanted,
        now: Instant,
        all: &mut Vec<ReportAccount>,
        rows: &mut Rows,
    ) -> Result<(), AppError> {
        let bounds = |ledger: &Ledger| {
            let Ledger { account: Account { id, calendar, .. }, last_seq, .. } = ledger;
            let (from, to) = range.instants_in(calendar);
            ReportRange { account: id.clone(), from, to, last_seq: *last_seq }
        };
        let bounds: Vec<ReportRange> = ledgers.iter().map(bounds).collect();
        let offset = all.len();
        let read = self.store.report_rows(&bounds, breakdown, offset, rows).await?;
        for (at, (mut ledger, ReportRange { from, to, .. })) in ledgers.into_iter().zip(bounds).enumerate() {
            let index = u32::try_from(offset + at).unwrap_or(u32::MAX);
            let opening = add_unwritten(&mut ledger, read[at], index, (from, to), now, breakdown, rows);
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
