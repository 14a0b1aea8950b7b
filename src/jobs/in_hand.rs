//! The messages or events that a run has leased, and how long each is its own: extended again and again while the process lives.
//!
//! When a lease ends is by this process's own clocks, counted from before the database was asked, so it is never later than what the
//! database goes by. A process that was stopped, or whose machine was suspended, finds its leases over when it goes on, and begins
//! nothing under them.

use super::Kit;
use super::planner::BEATS_A_LEASE;
use crate::clock::Clock;
use crate::core::calendar::Instant;
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
    /// When what is in hand was leased, or its lease extended; none where it is not to be begun.
    asked: Mutex<BTreeMap<K, Option<AskedAt>>>,
    of_process: OfProcess<K>,
    /// What extends and what records touch the same rows in orders of their own, and would wait for each other.
    turn: tokio::sync::Mutex<()>,
}

/// When the database was asked, by two clocks of the machine: the one that nobody sets stands still while it is suspended.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedAt {
    pub moment: Moment,
    at: Instant,
}

impl AskedAt {
    pub fn now() -> AskedAt {
        AskedAt { moment: Moment::now(), at: Clock::System.now() }
    }

    /// Whether less than `lasts` has gone by, whichever clock one believes. One that was set forward makes it seem longer; what is
    /// then not begun is, after the next beat.
    fn is_within(self, lasts: Duration) -> bool {
        let passed = Duration::from_micros(u64::try_from(Clock::System.now().micros() - self.at.micros()).unwrap_or(0));
        self.moment.elapsed().max(passed) < lasts
    }
}

/// How long what came of messages or events is kept to be recorded, while the database is away.
const RECORD_FOR: Duration = Duration::from_secs(120);
/// And between two tries; each waits for a connection itself, but where an error comes at once, as of a full disk.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

impl<K: Leased> InHand<K> {
    /// Nothing yet. A lease ends a beat sooner than that of the run, so that whoever takes up the run of a process that died finds
    /// all that it had in hand.
    pub fn nothing(kit: &Kit, of_process: &OfProcess<K>) -> InHand<K> {
        let pause = Duration::from_secs(kit.app.settings.jobs.lease_seconds.unsigned_abs()) / BEATS_A_LEASE;
        let lease = Lease { name: format!("{:032x}", fastrand::u128(..)).into(), lasts: pause * (BEATS_A_LEASE - 1) };
        let (asked, of_process, turn) = (Mutex::default(), Arc::clone(of_process), tokio::sync::Mutex::default());
        InHand { lease, pause, asked, of_process, turn }
    }

    /// Takes what was leased; that was asked for at `asked` or later. False where this process has it in hand already: its lease had
    /// ended, and nobody else was there.
    pub fn take(&self, key: K, asked: AskedAt) -> bool {
        let is_new = locked(&self.of_process).insert(key.clone());
        if is_new || self.asked().contains_key(&key) {
            self.asked().insert(key, Some(asked));
        }
        is_new
    }

    /// Whether nobody else can have taken it over by now, and nobody had called it off when the lease was extended.
    pub fn is_ours(&self, key: &K) -> bool {
        self.asked().get(key).copied().flatten().is_some_and(|asked| asked.is_within(self.lease.lasts))
    }

    /// Lets `record` say what came of these, and lets go of them. Where the database is away it is asked again and again until it is
    /// back: what has left and is not recorded leaves once more.
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
        let (mut asked, mut of_process) = (self.asked(), locked(&self.of_process));
        for key in keys {
            asked.remove(&key);
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
            let (now, keys): (_, Vec<K>) = (AskedAt::now(), self.asked().keys().cloned().collect());
            if keys.is_empty() {
                continue;
            }
            // Whoever records has something to say once the database is back, and is not to wait for this.
            match tokio::time::timeout(self.pause, K::extend(store, &self.lease, &keys)).await {
                Ok(Ok(kept)) => {
                    let mut asked = self.asked();
                    // The others are another's by now, or not to be sent any more.
                    for key in &keys {
                        asked.entry(key.clone()).and_modify(|asked| *asked = None);
                    }
                    asked.extend(kept.into_iter().map(|key| (key, Some(now))));
                }
                // The next beat asks again; whatever ends meanwhile is not begun.
                Ok(Err(error)) => tracing::warn!(%error, "what is in hand could not be kept"),
                Err(_) => tracing::warn!("what is in hand could not be kept: the database does not answer"),
            }
        }
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<K, Option<AskedAt>>> {
        locked(&self.asked)
    }
}

/// A run that ends has nothing in hand, however it ended.
impl<K: Leased> Drop for InHand<K> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.asked());
        let mut of_process = locked(&self.of_process);
        of_process.retain(|key| !left.contains_key(key));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_over_by_whichever_clock_says_so_first() {
        let (now, lasts) = (AskedAt::now(), Duration::from_secs(10));
        let suspended = AskedAt { at: now.at.plus_seconds(-11), ..now };
        let set_back = AskedAt { at: now.at.plus_seconds(3600), ..now };
        let [is_ours, was_suspended, was_set_back] = [now, suspended, set_back].map(|asked| asked.is_within(lasts));
        assert!(is_ours && !was_suspended && was_set_back);
        assert!(!set_back.is_within(Duration::ZERO), "nobody sets the other clock");
    }
}
