//! Ledgers that this process has charged lately, kept so that the next charges on them need not load them.
//!
//! What is kept may be stale: other processes write, too. So it serves only what the database itself checks as it is
//! written: charges that happen now, each of which becomes a row. Whatever changes a ledger is a row, and the account must
//! stand at the row that was planned on; a key is there once, also one whose row has left; a charge's price is compared with the matrix. What is refused
//! there is planned again on what is loaded, and so is a batch in which some call became no row: a refusal or a replay.
//!
//! Only ledgers without closures, holds and caps are kept. They are taken out to be planned on, and put back once it is known
//! that the rows were committed.

use super::batch::{Batch, Stood};
use super::load::Load;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Split;
use crate::core::ids::AccountId;
use crate::core::ledger::{Account, Grant, Ledger};
use crate::core::price::PriceMatrix;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most ledgers that are kept: about 64 MiB where each has a grant or two.
const LEDGERS_MAX: usize = 100_000;
/// Most grants, and most terms, of a ledger that is kept.
const GRANTS_MAX: usize = 4;
/// How many batches do without what is kept after one was refused: where several processes charge the same accounts, at
/// most one batch in so many is planned for nothing.
const BATCHES_WITHOUT: u32 = 100;

/// What a store keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    ledgers: BTreeMap<AccountId, Box<KeptLedger>>,
    /// The last one that made room for another: the next is the one behind it.
    hand: Option<AccountId>,
    /// As loaded last.
    prices: Option<Arc<PriceMatrix>>,
    /// Batches that still do without.
    without: u32,
}

/// A ledger in little room, as it would be loaded.
#[derive(Debug)]
pub(super) struct KeptLedger {
    account: Account,
    opened_through: Option<Month>,
    closed_through: Option<Month>,
    reopened_through: Option<Month>,
    last_seq: i64,
    last_recorded_at: Instant,
    balance: Split,
    grants: Box<[Grant]>,
    due_at: Instant,
    /// The row up to which rows have left the database.
    opening: i64,
}

impl KeptLedger {
    /// Of a ledger that was planned on, and has nothing that is not kept. Rows up to `opening` have left the database.
    pub fn of(ledger: &Ledger, due_at: Instant, opening: i64) -> Option<KeptLedger> {
        let open = || ledger.grants.values().filter(|grant| !grant.remaining.is_zero());
        let is_small = open().nth(GRANTS_MAX).is_none()
            && ledger.account.calendar.terms().len() <= GRANTS_MAX
            && open().all(|grant| grant.came_back.parts().is_empty());
        let has_more = !ledger.closures.is_empty() || !ledger.holds.is_empty() || !ledger.caps.is_empty();
        (is_small && !has_more).then(|| KeptLedger {
            account: ledger.account.clone(),
            opened_through: ledger.opened_through,
            closed_through: ledger.closed_through,
            reopened_through: ledger.reopened_through,
            last_seq: ledger.last_seq,
            last_recorded_at: ledger.last_recorded_at,
            balance: ledger.balance,
            grants: open().cloned().collect(),
            due_at,
            opening,
        })
    }

    fn ledger(self) -> Ledger {
        let mut ledger = Ledger::new(self.account);
        (ledger.opened_through, ledger.closed_through, ledger.reopened_through) =
            (self.opened_through, self.closed_through, self.reopened_through);
        (ledger.last_seq, ledger.last_recorded_at, ledger.balance) =
            (self.last_seq, self.last_recorded_at, self.balance);
        ledger.grants = self.grants.into_iter().map(|grant| (grant.id, grant)).collect();
        ledger
    }
}

impl Kept {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out the ledgers that `load` asks for: to plan on them where that is allowed, and because they will be others
    /// afterwards in any case.
    pub fn take(&self, load: &Load) -> Batch {
        let mut inner = self.inner();
        inner.without = inner.without.saturating_sub(1);
        let prices = inner.prices.clone().filter(|_| load.is_charges() && inner.without == 0);
        let mut batch = Batch::default();
        for (id, since) in load.since() {
            let Some(kept) = inner.ledgers.remove(id) else { continue };
            // What happened before the newest row may need grants that are over.
            if prices.is_some() && kept.last_recorded_at <= since {
                let (due_at, opening, ledger) = (kept.due_at, kept.opening, kept.ledger());
                batch.stood.insert(id.clone(), Stood::of(&ledger, due_at, opening));
                batch.plain.insert(id.clone());
                batch.ledgers.insert(id.clone(), ledger);
            }
        }
        batch.prices = prices.unwrap_or_default();
        batch
    }

    /// Keeps the prices that were just loaded.
    pub fn put_prices(&self, prices: &Arc<PriceMatrix>) {
        self.inner().prices = Some(Arc::clone(prices));
    }

    /// Keeps ledgers whose rows are committed.
    pub fn put(&self, ledgers: Vec<KeptLedger>) {
        let mut inner = self.inner();
        for ledger in ledgers {
            inner.ledgers.insert(ledger.account.id.clone(), Box::new(ledger));
            if inner.ledgers.len() > LEDGERS_MAX {
                inner.make_room();
            }
        }
    }

    /// Does without for a while: something planned was not as the database has it.
    pub fn was_stale(&self) {
        let mut inner = self.inner();
        (inner.prices, inner.without) = (None, BATCHES_WITHOUT);
    }
}

impl Inner {
    /// Drops the next one in order of id, whichever that is: as good as any, and found at once.
    fn make_room(&mut self) {
        let behind = self.hand.as_ref().map_or(Unbounded, Excluded);
        let next =
            self.ledgers.range::<AccountId, _>((behind, Unbounded)).next().or_else(|| self.ledgers.iter().next());
        self.hand = next.map(|(id, _)| id.clone());
        if let Some(id) = &self.hand {
            self.ledgers.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Calendar, Terms};
    use crate::core::credits::Credits;
    use crate::core::ids::{ActionCode, Key};
    use crate::core::ledger::{Call, Usage};
    use crate::core::transaction::Status;

    fn id(n: usize) -> AccountId {
        AccountId::new(&format!("a{n:06}")).expect("an id")
    }

    fn kept(n: usize) -> KeptLedger {
        let from = "2013-01".parse().expect("a month");
        let calendar = Calendar::new(Terms { from, zone: chrono_tz::Tz::UTC, allowance: Credits::ZERO });
        let opened_at = calendar.month_start(from);
        let ledger = Ledger::new(Account { id: id(n), name: String::new(), opened_at, calendar });
        KeptLedger::of(&ledger, Instant::MAX, 0).expect("it has nothing")
    }

    fn charge(n: usize) -> Load {
        let usage = Usage {
            key: Key::new("k").expect("a key"),
            occurred_at: None,
            user: None,
            action: ActionCode::new("erase").expect("an action"),
            quantity: 1,
            status: Status::Success,
            comment: String::new(),
            post_to_open: false,
        };
        let mut load = Load::default();
        load.call(&id(n), &Call::Charge(usage), Instant::from_micros(0));
        load
    }

    #[test]
    fn so_many_are_kept_and_those_that_make_room_go_in_turn() {
        let store = Kept::default();
        store.put((0..LEDGERS_MAX).map(kept).collect());
        for more in 0..3 {
            store.put(vec![kept(LEDGERS_MAX + more)]);
            assert_eq!(store.inner().ledgers.len(), LEDGERS_MAX);
            assert_eq!(store.inner().hand, Some(id(more)));
        }
    }

    #[test]
    fn what_is_taken_is_gone_and_after_something_stale_nothing_is_taken_for_a_while() {
        let store = Kept::default();
        let finds = |n: usize| !store.take(&charge(n)).ledgers.is_empty();
        store.put((0..3).map(kept).collect());
        assert!(!finds(0), "there are no prices");
        store.put_prices(&Arc::default());
        assert!(!finds(0) && finds(1) && !finds(1));
        assert!(store.take(&Load::accounts([&id(2)], Instant::from_micros(0))).ledgers.is_empty() && !finds(2));

        store.was_stale();
        store.put_prices(&Arc::default());
        let without = (0..).take_while(|_| {
            store.put(vec![kept(1)]);
            !finds(1)
        });
        assert_eq!(without.count() + 1, BATCHES_WITHOUT as usize);
    }
}
