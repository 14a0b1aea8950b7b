//! The desk: where the calls of a process meet, so that those that come at the same time are one batch (DESIGN 8).
//!
//! A statement and a commit cost far more than a row, so what is waiting is loaded, planned and written together. Nobody
//! waits for a batch to fill: a call that finds the desk free is a batch of one, and while that is written the next ones
//! queue up. Each caller gets its own answer, and only after the commit that holds it.

use super::batch::{self, InTurn};
use super::caps::cap_of;
use super::{Answer, AppError, Balance, balance_of};
use crate::clock::Clock;
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use crate::core::ledger::{Call, Ledger, Receipt, Refusal};
use crate::store::{Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Most calls in one batch: more would make the first of them wait for the last, and gain little.
pub const DESK_BATCH_MAX: usize = 256;

/// The desk of one process on one ledger.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: Vec<Asked>,
    /// Whether a task is at work on batches.
    is_served: bool,
}

#[derive(Debug)]
struct Asked {
    account: AccountId,
    call: Call,
    clock: Clock,
    answer: oneshot::Sender<Result<Answer, AppError>>,
}

impl Desk {
    pub(super) fn new(store: Store) -> Desk {
        Desk(Arc::new(Inner { store, waiting: Mutex::default() }))
    }

    /// Asks, and waits for the answer. Whoever stops waiting does not stop the call.
    pub(super) async fn call(&self, account: AccountId, call: Call, clock: Clock) -> Result<Answer, AppError> {
        let (answer, answered) = oneshot::channel();
        let must_serve = {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.calls.push(Asked { account, call, clock, answer });
            !std::mem::replace(&mut waiting.is_served, true)
        };
        if must_serve {
            // In a task of its own: the batch may hold the calls of others, who must not suffer when this caller leaves.
            tokio::spawn(serve(Arc::clone(&self.0)));
        }
        answered.await.unwrap_or(Err(AppError::Store(StoreError::Interrupted)))
    }
}

/// Does what waits, batch by batch, until nothing does.
async fn serve(desk: Arc<Inner>) {
    loop {
        let batch: Vec<Asked> = {
            let mut waiting = desk.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let size = waiting.calls.len().min(DESK_BATCH_MAX);
            waiting.is_served = size > 0;
            waiting.calls.drain(..size).collect()
        };
        if batch.is_empty() {
            return;
        }
        let mut unserved = Unserved(Some(&desk));
        do_batch(&desk.store, batch).await;
        unserved.0 = None;
    }
}

/// Should a batch panic, its callers are told by their closed channels, and the next call serves again.
struct Unserved<'a>(Option<&'a Inner>);

impl Drop for Unserved<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.0 {
            desk.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_served = false;
        }
    }
}

async fn do_batch(store: &Store, batch: Vec<Asked>) {
    match apply(store, &batch).await {
        Ok(answers) => {
            for (asked, answer) in batch.into_iter().zip(answers) {
                // A caller that left has no use for it.
                let _ = asked.answer.send(answer);
            }
        }
        // One of them may be what the database cannot take or read: alone, it spoils no other.
        Err(error) if batch.len() > 1 && error.is_about_data() => {
            for asked in batch {
                Box::pin(do_batch(store, vec![asked])).await;
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for asked in batch {
                let _ = asked.answer.send(Err(StoreError::Shared(Arc::clone(&error)).into()));
            }
        }
    }
}

/// Does a batch: one answer for each call, in order.
async fn apply(store: &Store, batch: &[Asked]) -> Result<Vec<Result<Answer, AppError>>, StoreError> {
    // A call happens when its turn comes: so the ledger of an account is never behind what it has recorded.
    let calls: Vec<InTurn<'_>> =
        batch.iter().map(|Asked { account, call, clock, .. }| (account, call, clock.now())).collect();
    batch::apply(store, &calls, answer).await
}

fn answer(ledger: &Ledger, Receipt { row, replayed }: Receipt, now: Instant) -> Result<Answer, Refusal> {
    let Balance { available, next_reset_at, .. } = balance_of(ledger, now)?;
    let cap = row.user.as_ref().and_then(|user| cap_of(ledger, user, row.occurred_at));
    Ok(Answer { row, replayed, available, next_reset_at, cap })
}
