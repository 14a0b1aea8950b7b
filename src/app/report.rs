//! All that a report is made of, read of one state: every part sees the same rows of an account, whatever is written
//! meanwhile.

use super::reading::{ACCOUNTS_PER_READ, Pinned, Wanted, row_of};
use super::retention::on_whole;
use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::Overflow;
use crate::core::ids::AccountId;
use crate::core::ledger::Refusal;
use crate::core::statement::{
    Breakdown, Facts, LOG_ROWS_MAX, LogRow, Reading, ReportAccount, ReportError, ReportSpec, Rows, Scope, redo,
    sort_log,
};
use crate::core::transaction::Transaction;
use crate::sealed::SealedError;
use crate::store::{Holdings, ReportRange, StoreError};
use std::collections::BTreeMap;

impl App {
    /// What `spec` is made of, for `accounts` or for all. Right whether or not any job has run, as
    /// [`App::report_rows`] is, and with `as_of` as it read at that instant.
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`] for the first of `accounts` that does not exist; [`AppError::AsOfFuture`]; others
    /// when the store fails or there is more than a report holds.
    pub async fn read_report(
        &self,
        accounts: Option<&[AccountId]>,
        spec: &ReportSpec,
        as_of: Option<Instant>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Reading, AppError> {
        on_whole!(self, accounts, |app| app.read(accounts, spec, as_of, progress).await)
    }

    async fn read(
        &self,
        accounts: Option<&[AccountId]>,
        spec: &ReportSpec,
        as_of: Option<Instant>,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Reading, AppError> {
        let is_of_some = accounts.is_some() && spec.scope() == Scope::Platform;
        let pinned = self.pin(accounts, as_of).await?;
        // First, as it may be more than a report holds.
        let log = match spec.breakdown() {
            Some(Breakdown::Transaction) => self.log_of(&pinned, spec).await?,
            _ => Vec::new(),
        };
        let (accounts, rows) = self.uses_of(&pinned, spec, progress).await?;
        let mut reading = Reading { accounts, rows, log, ..Reading::default() };
        if spec.has_tops(pinned.accounts.len()) {
            for by in [Breakdown::Action, Breakdown::User] {
                match self.uses_of(&pinned, &spec.top(by), progress).await {
                    Ok((_, rows)) => reading.tops.push((by, rows)),
                    // A statement of more users than a report has lines goes without this list.
                    Err(
                        AppError::Sealed(SealedError::Report(ReportError::TooManyLines { .. }))
                        | AppError::Store(StoreError::Report(ReportError::TooManyLines { .. })),
                    ) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if let Some(before) = spec.before() {
            reading.before = Some(self.uses_of(&pinned, &before, progress).await?);
        }
        if let Some(days) = spec.by_day(pinned.accounts.len()) {
            reading.days = Some(self.uses_of(&pinned, &days, progress).await?.1);
        }
        if let [one] = pinned.accounts.as_slice()
            && spec.has_name(1)
        {
            let records = self.store.accounts(std::slice::from_ref(&one.id)).await?;
            reading.name = records.into_iter().next().map(|record| record.account.name);
        }
        if is_of_some {
            reading.chosen = pinned.accounts.iter().map(|account| account.id.clone()).collect();
        }
        if spec.has_facts() {
            reading.facts = Some(self.facts_of(&pinned, spec).await?);
        }
        Ok(reading)
    }

    /// The rows of `spec`; where it has filters, the uses of credits that pass them.
    async fn uses_of(
        &self,
        pinned: &Pinned,
        spec: &ReportSpec,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(Vec<ReportAccount>, Rows), AppError> {
        if spec.filters().is_empty() {
            return self.rows_of(pinned, &Wanted::from(spec), progress).await;
        }
        let (accounts, mut rows) = self.filtered_rows_of(pinned, spec, progress).await?;
        for (at, row) in unwritten_in(pinned, spec) {
            let row = row_of(row, at, spec.breakdown(), &mut rows);
            rows.push(row);
        }
        Ok((accounts, rows))
    }

    /// The transactions themselves, in order.
    async fn log_of(&self, pinned: &Pinned, spec: &ReportSpec) -> Result<Vec<LogRow>, AppError> {
        pinned.check_there(spec.range())?;
        let mut log = Vec::new();
        let add = |log: &mut Vec<LogRow>, at: usize, row: Transaction| {
            if let Some(ReportAccount { id, calendar, .. }) = pinned.accounts.get(at) {
                log.push(LogRow::new(id.clone(), calendar, row));
            }
        };
        for page in pinned.ranges(spec.range(), None).chunks(ACCOUNTS_PER_READ) {
            let room = LOG_ROWS_MAX - log.len();
            for (at, row) in self.store.report_log(page, spec.filters(), room).await? {
                add(&mut log, at, row);
            }
        }
        for (at, row) in unwritten_in(pinned, spec) {
            add(&mut log, at, row.clone());
        }
        if log.len() > LOG_ROWS_MAX {
            return Err(StoreError::from(ReportError::TooManyLogRows { max: LOG_ROWS_MAX }).into());
        }
        sort_log(&mut log, spec.scope());
        self.check_still(pinned, Some(spec.range())).await?;
        Ok(log)
    }

    /// Money and accounts.
    async fn facts_of(&self, pinned: &Pinned, spec: &ReportSpec) -> Result<Facts, AppError> {
        pinned.check_there(spec.range())?;
        let mut facts = Facts { accounts: pinned.accounts.len() as u64, ..Facts::default() };
        let mut unwritten: BTreeMap<usize, Vec<&Transaction>> = BTreeMap::new();
        for (at, row) in pinned.unwritten() {
            unwritten.entry(at).or_default().push(row);
        }
        for page in pinned.ranges(spec.range(), None).chunks(ACCOUNTS_PER_READ) {
            let (active, short) = self.store.active_accounts(page).await?;
            facts.active += active;
            facts.short += short;
            for ((at, range), Holdings { bought, mut left }) in page.iter().zip(self.store.holdings(page).await?) {
                let ReportRange { account, from, to, .. } = range;
                let overflow = |source: Overflow| Refusal::Overflow { account: account.clone(), source };
                let rows = unwritten.get(at).map_or(&[][..], Vec::as_slice).iter();
                for row in rows.filter(|row| row.kind.counts_at(row.occurred_at) < *to) {
                    redo(&mut left, &row.entries).map_err(overflow)?;
                }
                facts.add(&bought, &left, (*from, *to)).map_err(overflow)?;
            }
        }
        self.check_still(pinned, Some(spec.range())).await?;
        Ok(facts)
    }
}

/// What a reset would write by now into the range of `spec`, of what passes its filters.
fn unwritten_in<'a>(pinned: &'a Pinned, spec: &'a ReportSpec) -> impl Iterator<Item = (usize, &'a Transaction)> {
    pinned.unwritten().filter(|(at, row)| {
        let (from, to) = spec.range().instants_in(&pinned.accounts[*at].calendar);
        let counts_at = row.kind.counts_at(row.occurred_at);
        from <= counts_at && counts_at < to && spec.filters().admit(row)
    })
}
