//! What the statements of many accounts are made of, a batch at a time.

use super::reading::ACCOUNTS_PER_READ;
use super::retention::on_whole;
use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits, Overflow};
use crate::core::forecast::GrantLeft;
use crate::core::ids::{AccountId, ActionCode, UserId};
use crate::core::ledger::Refusal;
use crate::core::statement::{Breakdown, DateRange, Facts, Name, Outcome, Reading, ReportAccount, Row, redo};
use crate::core::transaction::{GrantId, Kind, Reason, Transaction};
use crate::store::{Holdings, ReportRange, StatementRows};
use std::collections::BTreeMap;

/// What one account's statement is made of.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// The account, its rows, what used most and what was bought.
    pub reading: Reading,
    /// Actions that were refused in the range, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Free credits that were allocated at the instant at which the range ends, so those with which the month behind it began.
    /// None to an account that was closed by then (R18), or where no month begins there.
    pub next_allocated: Credits,
    /// Purchased credits that are there when the range is over and lapse later: bonuses, in the order of their ends.
    pub ending: Vec<GrantLeft>,
}

/// What of a statement is known when the ledger was read, before what no reset has written yet is added to its rows.
#[derive(Clone, Default)]
struct Draft {
    rows: StatementRows,
    facts: Facts,
    /// Purchased credits that are there when the range is over, by when they lapse.
    ending: BTreeMap<Instant, Credits>,
}

impl App {
    /// What the statement of each of `accounts` over `range` is made of, in the order of their ids: for each the same as
    /// [`App::read_report`] reads, by a few statements for all. Right whether or not any job has run (R3).
    ///
    /// # Errors
    /// [`AppError::UnknownAccount`] for the first of `accounts` that does not exist; others when the store fails or a sum
    /// leaves the range of credits.
    pub async fn statements(&self, accounts: &[AccountId], range: DateRange) -> Result<Vec<Stated>, AppError> {
        on_whole!(self, Some(accounts), |app| app.read_statements(accounts, range).await)
    }

    async fn read_statements(&self, accounts: &[AccountId], range: DateRange) -> Result<Vec<Stated>, AppError> {
        let pinned = self.pin(Some(accounts), None).await?;
        pinned.check_there(range)?;
        let none = Draft { facts: Facts { accounts: 1, ..Facts::default() }, ..Draft::default() };
        let mut drafts = vec![none; pinned.accounts.len()];
        let mut unwritten: BTreeMap<usize, Vec<&Transaction>> = BTreeMap::new();
        for (at, row) in pinned.unwritten() {
            unwritten.entry(at).or_default().push(row);
        }
        for page in pinned.ranges(range, None).chunks(ACCOUNTS_PER_READ) {
            let rows = self.store.statement_rows(page).await?;
            let holdings = self.store.holdings(page).await?;
            let mut left: BTreeMap<(usize, GrantId), Credits> = BTreeMap::new();
            for (((at, range), rows), mut holdings) in page.iter().zip(rows).zip(holdings) {
                let overflow = |source: Overflow| Refusal::Overflow { account: range.account.clone(), source };
                let unwritten = unwritten.get(at).map_or(&[][..], Vec::as_slice);
                let facts = facts_of(range, &mut holdings, &rows, unwritten).map_err(overflow)?;
                let opening = rows.opening.plus(pinned.opening(*at).1).map_err(overflow)?;
                drafts[*at] = Draft { rows: StatementRows { opening, ..rows }, facts, ending: BTreeMap::new() };
                let held = holdings.left.into_iter().filter(|(_, credits)| !credits.is_zero());
                left.extend(held.map(|(grant, credits)| ((*at, grant), credits)));
            }
            let asked: Vec<_> = left.keys().map(|(at, grant)| (*at, &pinned.accounts[*at].id, *grant)).collect();
            for (at, grant, end) in self.store.ends(&asked).await? {
                let Some(credits) = left.get(&(at, grant)) else { continue };
                let sum = drafts[at].ending.entry(end).or_default();
                let overflow = |source| Refusal::Overflow { account: pinned.accounts[at].id.clone(), source };
                *sum = sum.plus(*credits).map_err(overflow)?;
            }
        }
        self.check_still(&pinned, None).await?;
        for (at, row) in pinned.unwritten() {
            let ReportAccount { id, calendar, .. } = &pinned.accounts[at];
            let (from, to) = range.instants_in(calendar);
            let added = add_unwritten(&mut drafts[at].rows, row, (from, to));
            added.map_err(|source| Refusal::Overflow { account: id.clone(), source })?;
        }
        let stated = |((at, account), draft): ((usize, ReportAccount), Draft)| {
            let Draft { rows, facts, ending } = draft;
            let (_, to) = range.instants_in(&account.calendar);
            let begins = |kind: Kind, counts_at: Instant| kind == Kind::Allocation && counts_at == to;
            let written = rows.by_action.iter().filter(|row| begins(row.kind, row.counts_at)).map(|row| row.delta.free);
            let unwritten = unwritten.get(&at).into_iter().flatten();
            let unwritten = unwritten.filter(|row| begins(row.kind, row.occurred_at)).map(|row| row.delta.free);
            // There is one grant of a month, so nothing is added up.
            let next_allocated = written.chain(unwritten).next().unwrap_or(Credits::ZERO);
            let StatementRows { opening, by_action, by_user, refused } = rows;
            let reading = Reading {
                accounts: vec![ReportAccount { opening, ..account }],
                // A statement asks for no names.
                rows: by_action.clone(),
                tops: vec![(Breakdown::Action, by_action), (Breakdown::User, by_user)],
                facts: Some(facts),
                ..Reading::default()
            };
            let left = |(end, credits)| GrantLeft { credit_type: CreditType::Purchased, ends_at: Some(end), credits };
            Stated { reading, refused, next_allocated, ending: ending.into_iter().map(left).collect() }
        };
        Ok(pinned.accounts.iter().cloned().enumerate().zip(drafts).map(stated).collect())
    }
}

/// Money, and whether the account used credits or was refused some. What no reset has written yet is added to what is left.
fn facts_of(
    range: &ReportRange,
    Holdings { bought, left }: &mut Holdings,
    rows: &StatementRows,
    unwritten: &[&Transaction],
) -> Result<Facts, Overflow> {
    let is_done =
        |row: Row| row.outcome == Outcome::Succeeded && range.from <= row.counts_at && row.counts_at < range.to;
    let mut facts = Facts {
        accounts: 1,
        active: rows.by_action.iter().any(is_done).into(),
        short: rows.refused.contains_key(&Reason::InsufficientCredits).into(),
        ..Facts::default()
    };
    for row in unwritten.iter().filter(|row| row.kind.counts_at(row.occurred_at) < range.to) {
        redo(left, &row.entries)?;
    }
    facts.add(bought, left, (range.from, range.to))?;
    Ok(facts)
}

/// Adds a row that a reset would write by now to those of the range, or to what was there before it.
fn add_unwritten(rows: &mut StatementRows, row: &Transaction, (from, to): (Instant, Instant)) -> Result<(), Overflow> {
    let counts_at = row.kind.counts_at(row.occurred_at);
    if counts_at < from {
        rows.opening = rows.opening.plus(row.delta)?;
    } else if counts_at < to {
        let outcome = Outcome::of(row.kind, row.status, row.reason);
        let read = Row { account: 0, counts_at, kind: row.kind, outcome, name: Name::NONE, delta: row.delta };
        let (action, user) = (row.action.as_ref().map(ActionCode::as_str), row.user.as_ref().map(UserId::as_str));
        rows.add(read, action, user);
    }
    Ok(())
}
