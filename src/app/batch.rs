//! Many calls as one batch: loaded, planned and written together (DESIGN 8), each with an answer of its own.

use super::{App, AppError};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::{Call, Ledger, Receipt, Refusal};
use crate::store::{Batch, Load, Store, StoreError};

/// A call in a batch: on which account, what, and when its turn comes.
pub(super) type InTurn<'a> = (&'a AccountId, &'a Call, Instant);

impl App {
    /// Does `calls` in one database transaction, at `now`: one answer for each, in order. One that is refused holds up no
    /// other.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn apply(
        &self,
        calls: &[(AccountId, Call)],
        now: Instant,
    ) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls: Vec<InTurn<'_>> = calls.iter().map(|(account, call)| (account, call, now)).collect();
        apply(&self.store, &calls, |_, receipt, _| Ok(receipt)).await
    }

    /// What [`App::apply`] would answer. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan(
        &self,
        calls: &[(AccountId, Call)],
        now: Instant,
    ) -> Result<Vec<Result<Receipt, AppError>>, StoreError> {
        let calls: Vec<InTurn<'_>> = calls.iter().map(|(account, call)| (account, call, now)).collect();
        let mut batch = self.store.load(&load(&calls)).await?;
        Ok(calls.iter().map(|call| apply_one(&mut batch, *call).map(|(_, receipt)| receipt)).collect())
    }

    /// What speaks against each of `calls`, looked at by itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check(
        &self,
        calls: &[(AccountId, Call)],
        now: Instant,
    ) -> Result<Vec<Result<(), AppError>>, StoreError> {
        let in_turn: Vec<InTurn<'_>> = calls.iter().map(|(account, call)| (account, call, now)).collect();
        let batch = self.store.load(&load(&in_turn)).await?;
        let check = |(account, call): &(AccountId, Call)| {
            let ledger = batch.ledgers.get(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
            Ok(ledger.check(call, &batch.prices, now)?)
        };
        Ok(calls.iter().map(check).collect())
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
            let (ledger, mut receipt) = apply_one(batch, *call)?;
            *was_new |= !receipt.replayed;
            receipt.replayed &= !may_be_ours;
            Ok(answer(ledger, receipt, call.2)?)
        };
        calls.iter().zip(&mut was_new).map(one).collect()
    };
    store.update(&load(calls), plan).await
}

fn load(calls: &[InTurn<'_>]) -> Load {
    let mut load = Load::default();
    calls.iter().for_each(|(account, call, now)| load.call(account, call, *now));
    load
}

fn apply_one<'a>(batch: &'a mut Batch, (account, call, now): InTurn<'_>) -> Result<(&'a Ledger, Receipt), AppError> {
    let ledger = batch.ledgers.get_mut(account).ok_or_else(|| AppError::UnknownAccount(account.clone()))?;
    let receipt = ledger.apply(call, &batch.prices, now)?;
    Ok((ledger, receipt))
}
