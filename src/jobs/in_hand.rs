//! The messages or events that a run has leased, and how long each is its own: extended again and again while the process lives.
//!
//! When a lease ends is by this process's monotonic clock, counted from before the database was asked, so it is never later than
//! what the database goes by. A process that was stopped finds its leases over when it goes on, and begins nothing under them.

use super::Kit;
use super::planner::BEATS_A_LEASE;
use crate::core::outbox::NoticeKey;
use crate::store::{EventKey, Lease, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant as Moment;

/// What can be leased, by its key.
pub(super) trait Leased: Ord + Clone + Sync {
    /// Extends a lease; returns what nobody else has leased since.
    fn extend(
        store: &Store,
        lease: &Lease,
        keys: &[Self],
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;
}

impl Leased for NoticeKey {
    async fn extend(store: &Store, lease: &Lease, keys: &[NoticeKey]) -> Result<Vec<NoticeKey>, StoreError> {
        store.extend_messages(lease, keys).await
    }
}

impl Leased for EventKey {
    async fn extend(store: &Store, lease: &Lease, keys: &[EventKey]) -> Result<Vec<EventKey>, StoreError> {
        store.extend_events(lease, keys).await
    }
}

/// What all runs of this process have in hand. Where the database was away for longer than a lease, its next run could lease what
/// the one before still has.
pub(super) type OfProcess<K> = Arc<Mutex<BTreeSet<K>>>;

pub(super) struct InHand<K: Leased> {
    pub lease: Lease,
    pause: Duration,
    until: Mutex<BTreeMap<K, Moment>>,
    of_process: OfProcess<K>,
    /// What extends and what records touch the same rows in orders of their own, and would wait for each other.
    turn: tokio::sync::Mutex<()>,
}

/// How long what came of messages or events is kept to be recorded, while the database is away.
const RECORD_FOR: Duration = Duration::from_secs(120);
/// And between two tries; each waits for a connection itself.
const RECORD_AGAIN: Duration = Duration::from_millis(200);

impl<K: Leased> InHand<K> {
    /// Nothing yet. A lease ends a beat sooner than that of the run, so that whoever takes up the run of a process that died finds
    /// all that it had in hand.
    pub fn nothing(kit: &Kit, of_process: &OfProcess<K>) -> InHand<K> {
        let pause = Duration::from_secs(kit.app.settings.jobs.lease_seconds.unsigned_abs()) / BEATS_A_LEASE;
        let lease = Lease { name: format!("{:032x}", fastrand::u128(..)).into(), lasts: pause * (BEATS_A_LEASE - 1) };
        let (until, of_process, turn) = (Mutex::default(), Arc::clone(of_process), tokio::sync::Mutex::default());
        InHand { lease, pause, until, of_process, turn }
    }

    /// Takes what was leased; that was asked for at `asked` or later. False where this process has it in hand already: its lease had
    /// ended, and nobody else was there.
    pub fn take(&self, key: K, asked: Moment) -> bool {
        let is_new = locked(&self.of_process).insert(key.clone());
        if is_new || self.until().contains_key(&key) {
            self.until().insert(key, asked + self.lease.lasts);
        }
        is_new
    }

    /// Whether nobody else can have taken it over by now.
    pub fn is_ours(&self, key: &K) -> bool {
        self.until().get(key).is_some_and(|until| Moment::now() < *until)
    }

    /// Lets `record` say what came of these, and lets go of them. Where the database is away it is asked again as soon as it may
    /// be back: what has left and is not recorded leaves once more.
    pub async fn settle<R: Future<Output = Result<(), StoreError>>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        record: impl Fn() -> R,
    ) -> Result<(), StoreError> {
        let give_up = Moment::now() + RECORD_FOR;
        loop {
            let turn = self.turn.lock().await;
            match record().await {
                Ok(()) => break,
                Err(error) if error.is_about_data() || Moment::now() >= give_up => return Err(error),
                Err(error) => tracing::warn!(%error, "what came of messages is not recorded yet; it is tried again"),
            }
            drop(turn);
            tokio::time::sleep(RECORD_AGAIN).await;
        }
        let (mut until, mut of_process) = (self.until(), locked(&self.of_process));
        for key in keys {
            until.remove(&key);
            of_process.remove(&key);
        }
        Ok(())
    }

    /// Does `work`, and meanwhile extends the lease of all that is in hand.
    pub async fn extended<T>(&self, store: &Store, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.beat(store) => match never {},
        }
    }

    async fn beat(&self, store: &Store) -> Infallible {
        loop {
            tokio::time::sleep(self.pause).await;
            let _turn = self.turn.lock().await;
            let (asked, keys): (_, Vec<K>) = (Moment::now(), self.until().keys().cloned().collect());
            if keys.is_empty() {
                continue;
            }
            // Whoever records has something to say once the database is back, and is not to wait for this.
            match tokio::time::timeout(self.pause, K::extend(store, &self.lease, &keys)).await {
                Ok(Ok(kept)) => {
                    let end = asked + self.lease.lasts;
                    let mut until = self.until();
                    // The others are another's by now, or not to be sent any more.
                    for key in &keys {
                        until.entry(key.clone()).and_modify(|until| *until = asked);
                    }
                    until.extend(kept.into_iter().map(|key| (key, end)));
                }
                // The next beat asks again; whatever ends meanwhile is not begun.
                Ok(Err(error)) => tracing::warn!(%error, "what is in hand could not be kept"),
                Err(_) => tracing::warn!("what is in hand could not be kept: the database does not answer"),
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<K, Moment>> {
        locked(&self.until)
    }
}

/// A run that ends has nothing in hand, however it ended.
impl<K: Leased> Drop for InHand<K> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.until());
        let mut of_process = locked(&self.of_process);
        of_process.retain(|key| !left.contains_key(key));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
