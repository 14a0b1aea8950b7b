//! The messages or events that a run has leased, and how long each is its own: extended again and again while the process lives.
//!
//! When a lease ends is by this process's monotonic clock, counted from before the database was asked, so it is never later than
//! what the database goes by. A process that was stopped finds its leases over when it goes on, and begins nothing under them.

use super::Kit;
use super::planner::BEATS_A_LEASE;
use crate::core::outbox::NoticeKey;
use crate::store::{EventKey, Lease, Store, StoreError};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

pub(super) struct InHand<K> {
    pub lease: Lease,
    pause: Duration,
    until: Mutex<BTreeMap<K, Moment>>,
    /// What extends and what records touch the same rows in orders of their own, and would wait for each other.
    turn: tokio::sync::Mutex<()>,
}

impl<K: Leased> InHand<K> {
    /// Nothing yet. A lease ends a beat sooner than that of the run, so that whoever takes up the run of a process that died finds
    /// all that it had in hand.
    pub fn nothing(kit: &Kit) -> InHand<K> {
        let pause = Duration::from_secs(kit.app.settings.jobs.lease_seconds.unsigned_abs()) / BEATS_A_LEASE;
        let lease = Lease { name: format!("{:032x}", fastrand::u128(..)).into(), lasts: pause * (BEATS_A_LEASE - 1) };
        InHand { lease, pause, until: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Takes what was leased; that was asked for at `asked` or later. False where it was in hand already: its lease had ended, and
    /// nobody else was there.
    pub fn take(&self, key: K, asked: Moment) -> bool {
        self.until().insert(key, asked + self.lease.lasts).is_none()
    }

    /// Whether nobody else can have taken it over by now.
    pub fn is_ours(&self, key: &K) -> bool {
        self.until().get(key).is_some_and(|until| Moment::now() < *until)
    }

    /// Lets `record` say what came of these, and lets go of them.
    pub async fn settle(
        &self,
        keys: impl IntoIterator<Item = K>,
        record: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        record.await?;
        let mut until = self.until();
        for key in keys {
            until.remove(&key);
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
            match K::extend(store, &self.lease, &keys).await {
                Ok(kept) => {
                    let end = asked + self.lease.lasts;
                    self.until().extend(kept.into_iter().map(|key| (key, end)));
                }
                // The next beat asks again; whatever ends meanwhile is not begun.
                Err(error) => tracing::warn!(%error, "what is in hand could not be kept"),
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<K, Moment>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
