//! Turns at what takes memory and a core. So many are made at once, and of one account one at a time: whoever asks ten times for
//! that of a large account waits for their own, and leaves a turn for others.

use crate::core::ids::AccountId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Own, OwnedMutexGuard, Semaphore, SemaphorePermit};

/// The turns there are.
pub(super) struct Turns {
    common: Semaphore,
    own: Mutex<BTreeMap<AccountId, Weak<Own<()>>>>,
}

/// A turn, until it is dropped.
pub(super) struct Turn<'a> {
    _common: Option<SemaphorePermit<'a>>,
    _own: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Turns {
        Turns { common: Semaphore::new(at_once), own: Mutex::default() }
    }

    /// Waits for a turn for what is of `account`, or of all of them.
    pub(super) async fn turn(&self, account: Option<&AccountId>) -> Turn<'_> {
        let own = match account.map(|account| self.of(account)) {
            Some(own) => Some(own.lock_owned().await),
            None => None,
        };
        // Nobody closes it.
        Turn { _common: self.common.acquire().await.ok(), _own: own }
    }

    fn of(&self, account: &AccountId) -> Arc<Own<()>> {
        let mut all = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get(account).and_then(Weak::upgrade) {
            return own;
        }
        all.retain(|_, own| own.strong_count() > 0);
        let own = Arc::default();
        all.insert(account.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    #[tokio::test]
    async fn one_account_leaves_turns_for_others() {
        let turns = Turns::new(2);
        let [large, other, third] = ["large", "other", "third"].map(|id| AccountId::new(id).expect("an id"));
        let first = turns.turn(Some(&large)).await;
        let mut again: Vec<_> = (0..10).map(|_| Box::pin(turns.turn(Some(&large)))).collect();
        assert!(again.iter_mut().all(|again| again.now_or_never().is_none()), "of one account one at a time");
        let second = turns.turn(Some(&other)).now_or_never().expect("a turn for another");
        let mut last = pin!(turns.turn(Some(&third)));
        assert!(last.as_mut().now_or_never().is_none(), "two at once");
        drop(second);
        let last = last.await;
        drop(first);
        assert!(again.remove(0).now_or_never().is_some(), "whoever waits for their own has it");
        drop((last, again));
        assert!(turns.turn(None).now_or_never().is_some());
        drop(turns.turn(Some(&other)).await);
        assert_eq!(turns.own.lock().expect("no panic").len(), 1, "nobody is kept who has gone");
    }
}
