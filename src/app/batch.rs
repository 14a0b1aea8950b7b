//! Many calls as one batch: loaded, planned and written together (DESIGN 8), each with an answer of its own.

use super::retention::Recalled;
use super::{Answer, App, AppError, desk};
use crate::clock::Clock;
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::{Account, Call, Grant, Ledger, Purchase, Receipt, Refusal};
use crate::core::transaction::Transaction;
use crate::sealed::Folder;
use crate::store::{Batch, Store, StoreError};

/// A call in a batch: on which account, what, and by which clock. It happens when its turn comes, not when it was sent:
/// so no ledger is asked about an instant before its newest row.
pub(super) type InTurn<'a> = (&'a AccountId, &'a Call, Clock);

/// What calls would do to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The account.
    pub account: Account,
    /// Its grants that would be others, as they are when nothing but time has passed, and as they would be. A new one is not there
    /// before.
    pub grants: Vec<(Option<Grant>, Grant)>,
    /// The rows that would be written, beside those that time writes.
    pub rows: Vec<Transaction>,
}

impl Foreseen {
    fn of(before: &Ledger, after: Ledger) -> Foreseen {
        let rows = after.rows().get(before.rows().len()..).unwrap_or_default().to_vec();
        let moved = |grant: &Grant| {
            let was = before.grants.get(&grant.id);
            (was != Some(grant)).then(|| (was.cloned(), grant.clone()))
        };
        Foreseen { grants: after.grants.values().filter_map(moved).collect(), rows, account: after.account }
    }
}

impl App {
    /// Does `calls` in one database transaction: one answer for each, in order. One that is refused holds up no other.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn apply(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls = self.in_turn(calls);
        apply(&self.store, &self.sealed_folder(), &calls, |_, receipt, _| Ok(receipt)).await
    }

    /// What [`App::apply`] would answer. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls = self.in_turn(calls);
        let mut batch = self.loaded(&calls).await?;
        let one = |(account, call, clock): &InTurn<'_>| Ok(apply_one(&mut batch, account, call, clock.now())?.1);
        Ok(calls.iter().map(one).collect())
    }

    /// What [`App::apply`] would do to each account that `calls` are about, in the order of their ids. Nothing is written.
    ///
    /// # Errors
    /// [`AppError`], for the first account that does not exist or cannot be brought up to date.
    pub async fn foresee(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Foreseen>, AppError> {
        let calls = self.in_turn(calls);
        let mut batch = self.loaded(&calls).await?;
        let now = self.now();
        // Whether time has passed in the ledger or not changes nothing (R3), and so nothing that it does is taken for a call's.
        for ledger in batch.ledgers.values_mut() {
            ledger.roll_over(now, now)?;
        }
        let mut before = batch.ledgers.clone();
        // What a call that is refused would do is nothing.
        calls.iter().for_each(|(account, call, _)| drop(apply_one(&mut batch, account, call, now)));
        let foreseen = |(id, after): (AccountId, Ledger)| {
            let before = before.remove(&id).ok_or(AppError::UnknownAccount(id))?;
            Ok(Foreseen::of(&before, after))
        };
        std::mem::take(&mut batch.ledgers).into_iter().map(foreseen).collect()
    }

    /// What [`App::call`] would answer to `call` now. Nothing is written.
    ///
    /// # Errors
    /// As [`App::call`].
    pub async fn dry_run(&self, account: &AccountId, call: &Call) -> Result<Answer, AppError> {
        let now = self.now();
        let mut batch = self.loaded(&[(account, call, Clock::Fixed(now))]).await?;
        let (ledger, receipt) = apply_one(&mut batch, account, call, now)?;
        Ok(desk::answer(ledger, receipt, now)?)
    }

    /// What speaks against each of `calls`, looked at by itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<(), AppError>>, StoreError> {
        let batch = self.loaded(&self.in_turn(calls)).await?;
        let now = self.now();
        let check = |(account, call): &(AccountId, Call)| {
            let ledger = batch.ledgers.get(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
            Ok(ledger.check(call, &batch.prices, now)?)
        };
        Ok(calls.iter().map(check).collect())
    }

    /// All that `calls` need, to look at.
    async fn loaded(&self, calls: &[InTurn<'_>]) -> Result<Batch, StoreError> {
        let mut recalled = Recalled::default();
        loop {
            let mut batch = self.store.load(&recalled.load(calls)).await?;
            let lacking = recalled.lend(&mut batch, calls);
            if lacking.is_empty() {
                return Ok(batch);
            }
            recalled.recall(&self.store, &self.sealed_folder(), lacking).await?;
        }
    }

    fn in_turn<'a>(&self, calls: &'a [(AccountId, Call)]) -> Vec<InTurn<'a>> {
        calls.iter().map(|(account, call)| (account, call, self.clock)).collect()
    }
}

/// Does `calls` in one database transaction; `answer` makes of each receipt, and the ledger after it, what is asked for. Rows that
/// they need and that have left the database come from the sealed files in `folder`.
pub(super) async fn apply<T>(
    store: &Store,
    folder: &Folder,
    calls: &[InTurn<'_>],
    mut answer: impl FnMut(&Ledger, Receipt, Instant) -> Result<T, Refusal>,
) -> Result<Vec<Result<T, AppError>>, StoreError> {
    let (mut ours, mut recalled) = (Ours::default(), Recalled::default());
    loop {
        let plan = |batch: &mut Batch| {
            let lacking = recalled.lend(batch, calls);
            if !lacking.is_empty() {
                return Err(lacking);
            }
            let may_be_written = batch.may_be_written;
            let one = |(at, (account, call, clock)): (usize, &InTurn<'_>)| {
                let now = clock.now();
                let (ledger, receipt) = apply_one(batch, account, call, now)?;
                Ok(answer(ledger, ours.judged(at, receipt, may_be_written), now)?)
            };
            Ok(calls.iter().enumerate().map(one).collect())
        };
        match store.update(&recalled.load(calls), plan).await? {
            Ok(answers) => return Ok(answers),
            Err(lacking) => recalled.recall(store, folder, lacking).await?,
        }
    }
}

/// The rows that this process has planned for a batch. The plan may be made again, and after a connection was lost it is not
/// known whether the rows of the plan before are written.
#[derive(Debug, Default)]
struct Ours(Vec<(usize, i64, Instant)>);

impl Ours {
    /// The receipt of the call with the number `at`, which is no replay when what was found is what was planned here. A row is
    /// known by its number and by the microsecond at which it was its turn: another caller who sent the same call
    /// meanwhile has written one of another instant, and whoever did not write the row is told so.
    fn judged(&mut self, at: usize, mut receipt: Receipt, may_be_written: bool) -> Receipt {
        let row = (at, receipt.row.seq, receipt.row.recorded_at);
        if !receipt.replayed {
            self.0.push(row);
        } else if may_be_written && self.0.contains(&row) {
            receipt.replayed = false;
        }
        receipt
    }
}

fn apply_one<'a>(
    batch: &'a mut Batch,
    account: &AccountId,
    call: &Call,
    now: Instant,
) -> Result<(&'a Ledger, Receipt), AppError> {
    let ledger = batch.ledgers.get_mut(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
    let Call::Purchase(Purchase { reference, .. }) = call else {
        let receipt = ledger.apply(call, &batch.prices, now)?;
        return Ok((ledger, receipt));
    };
    // R12: what another account of the batch was just given is not stored yet.
    if let Some(holder) = batch.payments.get(reference).filter(|holder| *holder != account) {
        ledger.payments.insert(reference.clone(), holder.clone());
    }
    let receipt = ledger.apply(call, &batch.prices, now)?;
    batch.payments.insert(reference.clone(), account.clone());
    Ok((ledger, receipt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Calendar, Month, Terms};
    use crate::core::credits::Credits;
    use crate::core::ids::Key;
    use crate::core::ledger::Closing;
    use crate::core::price::PriceMatrix;

    /// Two callers send the same call; the connection of the first is lost before it knows whether it wrote.
    #[test]
    fn a_row_that_another_caller_wrote_is_not_ours_after_a_lost_connection() {
        let month: Month = "2013-01".parse().expect("a month");
        let terms = Terms { from: month, zone: chrono_tz::Tz::UTC, allowance: Credits::ZERO };
        let calendar = Calendar::new(terms);
        let opened_at = calendar.month_start(month);
        let account = Account { id: AccountId::new("acme").expect("an id"), name: String::new(), opened_at, calendar };
        let closing = Closing { key: Key::new("k").expect("a key"), reopen: false, comment: "why".to_owned() };
        let (call, prices) = (Call::Closing(closing), PriceMatrix::default());
        let plan = |ledger: &mut Ledger, micros: i64| {
            ledger.apply(&call, &prices, opened_at.plus_micros(micros)).expect("in order")
        };
        let unwritten = Ledger::new(account);
        let (mut first, mut other) = (unwritten.clone(), unwritten);
        let mut ours = Ours::default();
        assert!(!ours.judged(0, plan(&mut first, 5), false).replayed);
        plan(&mut other, 6);

        // The second try finds the row of the first, or that of the other caller.
        assert!(!ours.judged(0, plan(&mut first, 7), true).replayed, "what this caller wrote is its own");
        assert!(ours.judged(0, plan(&mut other, 7), true).replayed, "what the other wrote is not");
        assert!(ours.judged(0, plan(&mut first, 7), false).replayed, "nothing was lost: it is a replay");
        assert!(ours.judged(1, plan(&mut first, 7), true).replayed, "the same call twice in a batch is a replay");
    }
}
