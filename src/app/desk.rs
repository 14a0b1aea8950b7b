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
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::ledger::{Call, Ledger, Receipt, Refusal};
use crate::sealed::Folder;
use crate::store::{BATCHES_AT_ONCE, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Most calls in one batch: more would make the first of them wait for the last, and gain little.
pub const DESK_BATCH_MAX: usize = 256;
/// Calls that must wait for a second batch beside the first, where the database takes two: fewer are better off in the
/// next.
const BESIDE_MIN: usize = 32;

/// The desk of one process on one ledger.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Of the sealed files.
    folder: Folder,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they came.
    waiting: Vec<Asked>,
    /// Tasks at work on batches.
    clerks: usize,
    /// The accounts in those batches: what else is asked of them waits, so no two batches plan on one ledger.
    at_work: BTreeSet<AccountId>,
}

#[derive(Debug)]
struct Asked {
    account: AccountId,
    call: Call,
    clock: Clock,
    answer: oneshot::Sender<Result<Answer, AppError>>,
}

impl Desk {
    pub(super) fn new(store: Store, folder: Folder) -> Desk {
        Desk(Arc::new(Inner { store, folder, queue: Mutex::default() }))
    }

    /// Asks, and waits for the answer. Whoever stops waiting does not stop the call.
    pub(super) async fn call(&self, account: AccountId, call: Call, clock: Clock) -> Result<Answer, AppError> {
        let (answer, answered) = oneshot::channel();
        let must_serve = {
            let mut queue = self.0.queue();
            // A second clerk can do nothing about an account that the first is at.
            let is_free = !queue.at_work.contains(&account);
            queue.waiting.push(Asked { account, call, clock, answer });
            let wants_second = queue.clerks < BATCHES_AT_ONCE && queue.waiting.len() >= BESIDE_MIN && is_free;
            let wants_clerk = queue.clerks == 0 || wants_second;
            queue.clerks += usize::from(wants_clerk);
            wants_clerk
        };
        if must_serve {
            // In a task of its own: the batch may hold the calls of others, who must not suffer when this caller leaves.
            tokio::spawn(serve(Arc::clone(&self.0)));
        }
        answered.await.unwrap_or(Err(AppError::Store(StoreError::Interrupted)))
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits, batch by batch, until there is nothing that does not wait for another clerk.
async fn serve(desk: Arc<Inner>) {
    let mut clerk = Clerk { desk, accounts: BTreeSet::new() };
    while let Some(batch) = clerk.take() {
        do_batch(&clerk.desk, batch).await;
        // Whoever was just answered and has another call at once makes it now, and is in the next batch, not in the one
        // behind it: fewer commits for as many calls. Where nobody has, this costs nothing.
        tokio::task::yield_now().await;
    }
}

/// A task at work on batches, and the accounts in the present one.
struct Clerk {
    desk: Arc<Inner>,
    accounts: BTreeSet<AccountId>,
}

impl Clerk {
    /// Puts the last batch away and takes the next: calls on accounts that nobody else is at, in order. Once there are
    /// none, this clerk is counted no more.
    fn take(&mut self) -> Option<Vec<Asked>> {
        let mut queue = self.desk.queue();
        let done = std::mem::take(&mut self.accounts);
        queue.at_work.retain(|account| !done.contains(account));
        // Callers from afar come back one by one after a batch: the clerk that is at work already takes such few together.
        let min = if queue.clerks > 1 { BESIDE_MIN } else { 1 };
        if queue.waiting.iter().filter(|asked| !queue.at_work.contains(&asked.account)).take(min).count() < min {
            queue.clerks -= 1;
            return None;
        }
        let (mut batch, mut left) = (Vec::new(), Vec::new());
        for asked in std::mem::take(&mut queue.waiting) {
            let is_free = !queue.at_work.contains(&asked.account);
            if is_free && batch.len() < DESK_BATCH_MAX { batch.push(asked) } else { left.push(asked) }
        }
        queue.waiting = left;
        self.accounts = batch.iter().map(|asked| asked.account.clone()).collect();
        queue.at_work.extend(self.accounts.iter().cloned());
        Some(batch)
    }
}

impl Drop for Clerk {
    /// Should a batch panic, its callers are told by their closed channels, and another clerk takes over.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let accounts = std::mem::take(&mut self.accounts);
        self.desk.queue().at_work.retain(|account| !accounts.contains(account));
        tokio::spawn(serve(Arc::clone(&self.desk)));
    }
}

async fn do_batch(desk: &Inner, batch: Vec<Asked>) {
    match apply(desk, &batch).await {
        Ok(answers) => {
            for (asked, answer) in batch.into_iter().zip(answers) {
                // A caller that left has no use for it.
                let _ = asked.answer.send(answer);
            }
        }
        // One of them may be what the database cannot take or read: alone, it spoils no other.
        Err(error) if batch.len() > 1 && error.is_about_data() => {
            for asked in batch {
                Box::pin(do_batch(desk, vec![asked])).await;
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
async fn apply(desk: &Inner, batch: &[Asked]) -> Result<Vec<Result<Answer, AppError>>, StoreError> {
    let calls: Vec<InTurn<'_>> =
        batch.iter().map(|Asked { account, call, clock, .. }| (account, call, *clock)).collect();
    batch::apply(&desk.store, &desk.folder, &calls, answer).await
}

pub(super) fn answer(ledger: &Ledger, Receipt { row, replayed }: Receipt, now: Instant) -> Result<Answer, Refusal> {
    let balance = balance_of(ledger, now)?;
    let stays = balance.available.total().get().saturating_sub(balance.ending_with_month().get());
    let Balance { available, next_reset_at, next_allowance, .. } = balance;
    let available_then = Credits::new(stays.saturating_add(next_allowance.get()));
    let cap = row.user.as_ref().and_then(|user| cap_of(ledger, user, row.occurred_at));
    let about = row.corrects.and_then(|seq| ledger.known.values().find(|known| known.seq == seq).cloned());
    Ok(Answer { row, replayed, available, next_reset_at, available_then, about, cap })
}
