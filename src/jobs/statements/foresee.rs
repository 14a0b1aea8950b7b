//! What an import would do, before it is done: which grants move, which statements of months that are over would say something else,
//! and who has been told what they say now. The calls are planned as they would be to be written, and nothing is.

use super::wanted::told;
use super::{Reported, said};
use crate::app::{App, Foreseen};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::CreditType;
use crate::core::ids::{AccountId, ActionCode, Email};
use crate::core::ledger::{Call, Refusal};
use crate::core::statement::{
    Changed, DateRange, Grouping, Name, Outcome, Reading, ReportSpec, Row, Rows, Said, Scope,
};
use crate::core::transaction::Transaction;
use crate::jobs::JobError;
use crate::report;
use std::collections::BTreeMap;

/// Accounts that are planned together.
const ACCOUNTS_AT_ONCE: usize = 100;
/// Grants, and statements, that are named; the others are counted.
const NAMED_MAX: usize = 1_000;

/// What an import would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foresight {
    /// Grants that would move, the first `NAMED_MAX`, by account.
    pub grants: Vec<GrantMoves>,
    /// Grants beyond those.
    pub more_grants: u64,
    /// Statements that would change, the first `NAMED_MAX`, by account.
    pub statements: Vec<StatementMoves>,
    /// Statements beyond those.
    pub more_statements: u64,
    /// Admins of all these statements who have got one that says something else.
    pub told: u64,
}

/// How a grant would move, in credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantMoves {
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub label: String,
    /// Of which credits.
    pub credit_type: CreditType,
    /// Whether the import would make it.
    pub is_new: bool,
    /// What would be consumed of it beyond what is.
    pub consumed: i128,
    /// What would be lapsed of it; less, where late usage takes what lapsed.
    pub lapsed: i128,
    /// What would be left of it.
    pub remaining: i128,
}

/// How a statement would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementMoves {
    /// Whose.
    pub account: AccountId,
    /// Of which month.
    pub month: Month,
    /// Every figure that would be another.
    pub changes: Vec<Changed>,
    /// The admins who have got one that says something else: they get a corrected one when the month is closed.
    pub told: Vec<Email>,
}

/// What `calls` would do, account by account.
///
/// # Errors
/// [`JobError`].
pub async fn foresee(
    app: &App,
    calls: &[(AccountId, Call)],
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Foresight, JobError> {
    // Ledgers bear on each other by payments alone, which were checked.
    let mut by_account: BTreeMap<&AccountId, Vec<(AccountId, Call)>> = BTreeMap::new();
    calls.iter().for_each(|call| by_account.entry(&call.0).or_default().push(call.clone()));
    let (mut foresight, mut seen) = (Foresight::default(), 0);
    let (all, mut by_account) = (by_account.len() as u64, by_account.into_values());
    loop {
        let some: Vec<_> = by_account.by_ref().take(ACCOUNTS_AT_ONCE).collect();
        if some.is_empty() {
            return Ok(foresight);
        }
        seen += some.len() as u64;
        let foreseen = app.foresee(&some.concat()).await?;
        foreseen.iter().for_each(|one| foresight.add_grants(one));
        foresight.add_statements(statements(app, &foreseen).await?);
        progress(seen, Some(all));
    }
}

impl Foresight {
    fn add_grants(&mut self, foreseen: &Foreseen) {
        for (before, after) in &foreseen.grants {
            if self.grants.len() == NAMED_MAX {
                self.more_grants += 1;
                continue;
            }
            let more = |of: fn(&crate::core::ledger::Grant) -> i64| {
                i128::from(of(after)) - before.as_ref().map_or(0, |before| i128::from(of(before)))
            };
            self.grants.push(GrantMoves {
                account: foreseen.account.id.clone(),
                label: after.label.clone(),
                credit_type: after.credit_type,
                is_new: before.is_none(),
                consumed: more(|grant| grant.consumed.get()),
                lapsed: more(|grant| grant.lapsed.get()),
                remaining: more(|grant| grant.remaining.get()),
            });
        }
    }

    fn add_statements(&mut self, found: Vec<StatementMoves>) {
        for moves in found {
            self.told += moves.told.len() as u64;
            if self.statements.len() < NAMED_MAX {
                self.statements.push(moves);
            } else {
                self.more_statements += 1;
            }
        }
    }
}

/// The statements of these accounts that would change: those of the months from the first that a row counts in to the last that
/// is over.
async fn statements(app: &App, foreseen: &[Foreseen]) -> Result<Vec<StatementMoves>, JobError> {
    let now = app.now();
    let months = |one: &Foreseen| {
        let calendar = &one.account.calendar;
        // The smallest moment later would be in the month before where a lapse ends it.
        let first = one.rows.iter().map(|row| calendar.month_of(counted_at(row))).min()?;
        let last = calendar.month_of(now).previous();
        (first <= last).then_some((first, last))
    };
    let spans: Vec<(&Foreseen, Month, Month)> =
        foreseen.iter().filter_map(|one| months(one).map(|(first, last)| (one, first, last))).collect();
    let (Some(mut month), Some(last)) =
        (spans.iter().map(|(_, first, _)| *first).min(), spans.iter().map(|(.., last)| *last).max())
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    while month <= last {
        let of_month: Vec<&Foreseen> =
            spans.iter().filter(|(_, first, last)| (*first..=*last).contains(&month)).map(|(one, ..)| *one).collect();
        found.extend(in_month(app, &of_month, month, now).await?);
        month = month.next();
    }
    found.sort_by(|one, other| (&one.account, one.month).cmp(&(&other.account, other.month)));
    Ok(found)
}

async fn in_month(
    app: &App,
    foreseen: &[&Foreseen],
    month: Month,
    now: Instant,
) -> Result<Vec<StatementMoves>, JobError> {
    let range = DateRange::of_month(month)?;
    let spec = ReportSpec::new("Statement", range, Grouping::Range, Scope::Account, now)?;
    let ids: Vec<AccountId> = foreseen.iter().map(|one| one.account.id.clone()).collect();
    let mut changed: BTreeMap<AccountId, (Said, Vec<Changed>)> = BTreeMap::new();
    for (one, stated) in foreseen.iter().zip(app.statements(&ids, range).await?) {
        let reading = Reading { tops: Vec::new(), facts: None, ..stated.reading };
        let before = said(&report::make(&spec, reading.clone())?);
        let overflow = |source| Refusal::Overflow { account: one.account.id.clone(), source };
        let after = said(&report::make(&spec, with_rows(reading, one, range).map_err(overflow)?)?);
        let changes = after.changes_since(&before);
        if !changes.is_empty() {
            changed.insert(one.account.id.clone(), (after, changes));
        }
    }
    let ids: Vec<AccountId> = changed.keys().cloned().collect();
    let mut knowing: BTreeMap<AccountId, Vec<Email>> = BTreeMap::new();
    for wanted in told(&app.store, &ids, Reported::Month(month)).await? {
        let id = wanted.record.account.id.clone();
        let Some((after, _)) = changed.get(&id) else { continue };
        let others = wanted.admins.iter().filter(|(_, knows)| !wanted.has_said(knows, after));
        knowing.insert(id, others.map(|(admin, _)| admin.email.clone()).collect());
    }
    let moves = |(account, (_, changes)): (AccountId, (Said, Vec<Changed>))| StatementMoves {
        told: knowing.remove(&account).unwrap_or_default(),
        account,
        month,
        changes,
    };
    Ok(changed.into_iter().map(moves).collect())
}

fn counted_at(row: &Transaction) -> Instant {
    row.kind.counts_at(row.occurred_at)
}

/// What a statement would be made of.
fn with_rows(
    mut reading: Reading,
    foreseen: &Foreseen,
    range: DateRange,
) -> Result<Reading, crate::core::credits::Overflow> {
    let (from, to) = range.instants_in(&foreseen.account.calendar);
    let Some(account) = reading.accounts.first_mut() else { return Ok(reading) };
    let rows: &mut Rows = &mut reading.rows;
    for row in &foreseen.rows {
        let counts_at = counted_at(row);
        if counts_at < from {
            account.opening = account.opening.plus(row.delta)?;
        } else if counts_at < to {
            let outcome = Outcome::of(row.kind, row.status, row.reason);
            let name = row.action.as_ref().map_or(Name::NONE, |action| rows.name(ActionCode::as_str(action)));
            rows.push(Row { account: 0, counts_at, kind: row.kind, outcome, name, delta: row.delta });
        }
    }
    Ok(reading)
}
