//! What `reset` and `expire-holds` both do: write for many accounts what every touch of one of them would write (R3).
//!
//! Both roll whole ledgers over; they differ in which accounts they look for, and in what they say.

use super::{Done, JobError, Kit, PLAN_LINES_MAX, Problem, Run};
use crate::app::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::counting::{counted, grouped};
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::ledger::{Ledger, Refusal};
use crate::core::run::{End, Span};
use crate::core::transaction::Kind;
use crate::store::{BATCHES_AT_ONCE, Batch, Due, Load, StoreError};
use std::collections::BTreeSet;

/// How many times over the accounts that are written at once make a batch of a run: some seconds of work, which another process
/// does again in part when this one dies.
const TURNS_A_BATCH: usize = 5;

/// The part of the accounts that are due, in the order in which they are: behind the first, up to the second.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    after: Option<Due>,
    until: Option<Due>,
}

impl Bounds {
    /// Those of a batch.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the span is of another job.
    pub(super) fn of(span: &Span) -> Result<Bounds, StoreError> {
        let read = |mark: &Option<String>| mark.as_deref().map(str::parse).transpose();
        Ok(Bounds { after: read(&span.after)?, until: read(&span.until)? })
    }
}

/// Where the batch of accounts behind `after` ends.
pub(super) async fn end_of_batch(app: &App, after: Option<&str>) -> Result<End, StoreError> {
    let after = after.map(str::parse).transpose()?;
    let limit = app.settings.jobs.batch_accounts * BATCHES_AT_ONCE * TURNS_A_BATCH;
    let due = app.store.accounts_due(app.now(), after.as_ref(), None, limit).await?;
    Ok(match due.last() {
        None => End::Nothing,
        Some(last) if due.len() == limit => End::At(last.to_string()),
        Some(_) => End::Rest,
    })
}

/// Which accounts are looked for, and behind which one the next page begins.
#[derive(Clone, Debug)]
pub(super) enum Looking {
    /// Those whose month has turned, or that have anything else to roll over.
    ForAnything(Bounds, Option<Due>),
    /// Those with a hold that ran out.
    ForExpiredHolds(Option<AccountId>),
}

impl Looking {
    /// The next accounts for which there was something to do at `now`; none at the end.
    async fn next(&mut self, app: &App, now: Instant) -> Result<Vec<AccountId>, StoreError> {
        let limit = app.settings.jobs.batch_accounts * BATCHES_AT_ONCE;
        match self {
            Looking::ForAnything(Bounds { after, until }, last) => {
                let due = app.store.accounts_due(now, last.as_ref().or(after.as_ref()), until.as_ref(), limit).await?;
                *last = due.last().cloned();
                Ok(due.into_iter().map(|due| due.account).collect())
            }
            Looking::ForExpiredHolds(last) => {
                let ids = app.store.accounts_with_expired_holds(now, last.as_ref(), limit).await?;
                *last = ids.last().cloned();
                Ok(ids)
            }
        }
    }
}

/// What was done, over all accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub accounts: u64,
    pub months: u64,
    pub lapsed: i64,
    pub allocated: i64,
    pub holds: u64,
    pub given_back: i64,
}

impl Totals {
    fn of(ledger: &Ledger) -> Totals {
        let rows = |kind: Kind| ledger.rows().iter().filter(move |row| row.kind == kind);
        let sum = |kind: Kind| {
            rows(kind).map(|row| row.delta.total()).fold(Credits::ZERO, |sum, c| sum.plus(c).unwrap_or(sum)).get()
        };
        Totals {
            accounts: 1,
            months: rows(Kind::Allocation).count() as u64,
            lapsed: -sum(Kind::Expiry),
            allocated: sum(Kind::Allocation),
            holds: rows(Kind::Release).count() as u64,
            given_back: sum(Kind::Release),
        }
    }

    fn add(&mut self, part: Totals) {
        self.accounts += part.accounts;
        self.months += part.months;
        self.lapsed = self.lapsed.saturating_add(part.lapsed);
        self.allocated = self.allocated.saturating_add(part.allocated);
        self.holds += part.holds;
        self.given_back = self.given_back.saturating_add(part.given_back);
    }
}

/// Rolls over all accounts that `looking` finds, batch by batch. What falls due while this goes on is the next run's, so it ends,
/// also where an account stays due because it cannot be rolled over.
pub(super) async fn run(kit: &Kit, run: &mut Run<'_>, mut looking: Looking) -> Result<(Done, Totals), JobError> {
    let app = &kit.app;
    let (mut done, mut totals) = (Done::default(), Totals::default());
    let now = app.now();
    let (mut moved_before, mut problems) = (0, BTreeSet::new());
    loop {
        run.check_stop()?;
        let ids = looking.next(app, now).await?;
        if ids.is_empty() {
            // A call that comes meanwhile, from a process whose clock is behind, can make an account due before those that
            // were looked at already. So it ends once nothing more is found to do.
            if run.dry_run || totals.accounts == moved_before {
                break;
            }
            moved_before = totals.accounts;
            continue;
        }
        // Lines that are not kept are not worded: there may be a million.
        let worded = PLAN_LINES_MAX.saturating_sub(done.lines.len());
        let dry_run = run.dry_run;
        let roll_over = async |ids: &[AccountId]| {
            let load = Load::accounts(ids, now);
            if dry_run {
                let mut batch = app.store.load(&load).await?;
                return Ok(plan(&mut batch, now, worded));
            }
            // At the instant at which it is planned, which may be again.
            app.store.update(&load, |batch| plan(batch, app.now(), worded)).await
        };
        let batches = ids.chunks(app.settings.jobs.batch_accounts).map(roll_over);
        let planned: Vec<Vec<Part>> = futures_util::future::try_join_all(batches).await.map_err(AppError::Store)?;
        for part in planned.into_iter().flatten() {
            totals.add(part.totals);
            if !dry_run {
                part.log();
            }
            match part.line {
                Some(Ok(line)) => done.line(line),
                Some(Err(refusal)) => {
                    problems.insert(Problem::of(&part.account, refusal));
                }
                None => done.more_lines += part.totals.accounts,
            }
        }
        (run.progress)(totals.accounts, None);
    }
    done.problems = problems.into_iter().collect();
    Ok((done, totals))
}

/// Rolls every ledger of the batch over (R2, R3, R10), and says what that did to each. An account that cannot be moved on
/// is a problem of its own and holds up no other.
fn plan(batch: &mut Batch, now: Instant, worded: usize) -> Vec<Part> {
    let ledgers = batch.ledgers.values_mut().enumerate();
    ledgers.map(|(at, ledger)| part(ledger, now, at < worded)).collect()
}

/// What was done to one account, and the line about it where that is wanted.
struct Part {
    account: AccountId,
    totals: Totals,
    line: Option<Result<String, Refusal>>,
}

impl Part {
    /// Says in the log what was done to the account, where anything was.
    fn log(&self) {
        let (account, Totals { accounts, months, lapsed, allocated, holds, given_back }) = (&self.account, self.totals);
        if holds > 0 {
            tracing::debug!(%account, holds, given_back, "holds ran out");
        }
        if months > 0 || lapsed != 0 {
            tracing::debug!(%account, months, lapsed, allocated, "the month was reset");
        } else if accounts > 0 && holds == 0 {
            tracing::debug!(%account, "brought up to date");
        }
    }
}

fn part(ledger: &mut Ledger, now: Instant, is_worded: bool) -> Part {
    let account = ledger.account.id.clone();
    if let Err(refusal) = ledger.roll_over(now, now) {
        return Part { account, totals: Totals::default(), line: Some(Err(refusal)) };
    }
    if !ledger.is_changed() {
        return Part { account, totals: Totals::default(), line: None };
    }
    let totals = Totals::of(ledger);
    Part { account, totals, line: is_worded.then(|| Ok(described(ledger, totals))) }
}

fn described(ledger: &Ledger, part: Totals) -> String {
    let mut what = Vec::new();
    if part.holds > 0 {
        let holds = counted(part.holds, "hold");
        what.push(format!("give back {} of {holds} that ran out", counted(part.given_back.unsigned_abs(), "credit")));
    }
    if part.lapsed != 0 || part.months > 0 {
        what.push(format!("lapse {}", counted(part.lapsed.unsigned_abs(), "free credit")));
    }
    if part.months > 0 {
        let through = ledger.opened_through.map_or_else(|| "none".to_owned(), |month| month.to_string());
        let allocated = grouped(part.allocated.unsigned_abs());
        what.push(format!("allocate {allocated} for {}, through {through}", counted(part.months, "month")));
    }
    format!("{}: {}", ledger.account.id, what.join(", "))
}
