//! Many calls as one batch: loaded, planned and written together (DESIGN 8), each with an answer of its own.

use super::{App, AppError};
use crate::clock::Clock;
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::{Call, Ledger, Purchase, Receipt, Refusal};
use crate::store::{Batch, Load, Store, StoreError};

/// A call in a batch: on which account, what, and by which clock. It happens when its turn comes, once nobody else can
/// write to its account: so nothing is recorded at an instant that others have already looked back on.
pub(super) type InTurn<'a> = (&'a AccountId, &'a Call, Clock);

impl App {
    /// Does `calls` in one database transaction: one answer for each, in order. One that is refused holds up no other.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn apply(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls = self.in_turn(calls);
        apply(&self.store, &calls, |_, receipt, _| Ok(receipt)).await
    }

    /// What [`App::apply`] would answer. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls = self.in_turn(calls);
        let mut batch = self.store.load(&load(&calls)).await?;
        let one = |(account, call, clock): &InTurn<'_>| Ok(apply_one(&mut batch, account, call, clock.now())?.1);
        Ok(calls.iter().map(one).collect())
    }

    /// What speaks against each of `calls`, looked at by itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(&self, calls: &[(AccountId, Call)]) -> Result<Vec<Result<(), AppError>>, StoreError> {
        let batch = self.store.load(&load(&self.in_turn(calls))).await?;
        let now = self.now();
        let check = |(account, call): &(AccountId, Call)| {
            let ledger = batch.ledgers.get(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
            Ok(ledger.check(call, &batch.prices, now)?)
        };
        Ok(calls.iter().map(check).collect())
    }

    fn in_turn<'a>(&self, calls: &'a [(AccountId, Call)]) -> Vec<InTurn<'a>> {
        calls.iter().map(|(account, call)| (account, call, self.clock)).collect()
    }
}

/// Does `calls` in one database transaction; `answer` makes of each receipt, and the ledger after it, what is asked for.
pub(super) async fn apply<T>(
    store: &Store,
    calls: &[InTurn<'_>],
    mut answer: impl FnMut(&Ledger, Receipt, Instant) -> Result<T, Refusal>,
) -> Result<Vec<Result<T, AppError>>, StoreError> {
    // The plan may be made again. What was new to it is no replay when it is found written after a connection was lost.
    let mut was_new = vec![false; calls.len()];
    let plan = |batch: &mut Batch| {
        let one = |(call, was_new): (&InTurn<'_>, &mut bool)| {
            let may_be_ours = batch.may_be_written && *was_new;
            let (account, call, clock) = *call;
            let now = clock.now();
            let (ledger, mut receipt) = apply_one(batch, account, call, now)?;
            *was_new |= !receipt.replayed;
            receipt.replayed &= !may_be_ours;
            Ok(answer(ledger, receipt, now)?)
        };
        calls.iter().zip(&mut was_new).map(one).collect()
    };
    store.update(&load(calls), plan).await
}

fn load(calls: &[InTurn<'_>]) -> Load {
    let mut load = Load::default();
    calls.iter().for_each(|(account, call, clock)| load.call(account, call, clock.now()));
    load
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
