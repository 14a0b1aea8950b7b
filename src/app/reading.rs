//! What reports are made of: the rows of some accounts over a range of local days.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::{Overflow, Split};
use crate::core::ids::AccountId;
use crate::core::ledger::{Ledger, Refusal};
use crate::core::statement::{DateRange, Outcome, ReportAccount, Row, Rows, counts_at};
use crate::store::{Load, ReportRange};

/// Accounts whose ledgers are held at once while their rows are read.
const ACCOUNTS_PER_READ: usize = 1_000;

impl App {
    /// The rows that count in `range`, read in each account's own calendar, for `accounts` or for all. Right whether or
    /// not any job has run: what a reset would write by now is counted as if it were written (R3).
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`] for the first of `accounts` that does not exist; others when the store fails.
    pub async fn report_rows(
        &self,
        accounts: Option<&[AccountId]>,
        range: DateRange,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        let (mut all, mut rows) = (Vec::new(), Rows::default());
        let total = match accounts {
            Some(accounts) => accounts.len() as u64,
            None => self.store.count_accounts().await?,
        };
        let mut last: Option<AccountId> = None;
        loop {
            let ids = match accounts {
                Some(chosen) => chosen.iter().skip(all.len()).take(ACCOUNTS_PER_READ).cloned().collect(),
                None => self.store.account_ids(last.as_ref(), ACCOUNTS_PER_READ).await?,
            };
            let Some(newest) = ids.last() else { break };
            last = Some(newest.clone());
            self.read_some(&ids, range, &mut all, &mut rows).await?;
            progress(all.len() as u64, Some(total));
        }
        Ok((all, rows))
    }

    async fn read_some(
        &self,
        ids: &[AccountId],
        range: DateRange,
        all: &mut Vec<ReportAccount>,
        rows: &mut Rows,
    ) -> Result<(), AppError> {
        let now = self.now();
        let mut ledgers = self.store.load(&Load::accounts(ids)).await?.ledgers;
        let bounds = ids
            .iter()
            .map(|id| {
                let ledger = ledgers.get(id).ok_or_else(|| AppError::UnknownAccount(id.clone()))?;
                let calendar = &ledger.account.calendar;
                let (from, to) = (calendar.day_start(range.from()), calendar.day_start(range.to()));
                Ok(ReportRange { account: id.clone(), from, to, last_seq: ledger.last_seq })
            })
            .collect::<Result<Vec<ReportRange>, AppError>>()?;
        let offset = all.len();
        let read = self.store.report_rows(&bounds, offset, rows).await?;
        for (at, ReportRange { account: id, from, to, .. }) in bounds.into_iter().enumerate() {
            let Some(mut ledger) = ledgers.remove(&id) else { continue };
            let overflow = |source: Overflow| Refusal::Overflow { account: id.clone(), source };
            let index = u32::try_from(offset + at).unwrap_or(u32::MAX);
            let opening = add_unwritten(&mut ledger, read[at], index, (from, to), now, rows).map_err(overflow)?;
            all.push(ReportAccount { id, calendar: ledger.account.calendar, opening });
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
    rows: &mut Rows,
) -> Result<Split, Overflow> {
    if ledger.roll_over(now, now).is_err() {
        return Err(Overflow);
    }
    let mut before = opening;
    for row in ledger.rows() {
        let counts_at = counts_at(row.kind, row.occurred_at);
        if counts_at < from {
            before = before.plus(row.delta)?;
        } else if counts_at < to {
            let outcome = Outcome::of(row.kind, row.status, row.reason);
            rows.push(Row { account: index, counts_at, kind: row.kind, outcome, delta: row.delta });
        }
    }
    Ok(before)
}
