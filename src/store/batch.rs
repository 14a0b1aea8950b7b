//! Ledgers to be planned on together, and what is known of how they stand in the database.

use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Reference, UserId};
use crate::core::ledger::Ledger;
use crate::core::price::PriceMatrix;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was loaded: plan on it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The ledgers of those accounts that exist.
    pub ledgers: BTreeMap<AccountId, Ledger>,
    /// The prices of actions, without their texts.
    pub prices: Arc<PriceMatrix>,
    /// Payments that were planned to be recorded, and for whom (R12).
    pub payments: BTreeMap<Reference, AccountId>,
    /// The connection was lost in an earlier try, so that what was planned then may be written already.
    pub may_be_written: bool,
    /// Of accounts some of whose rows have left the database, what of them the calls are about.
    pub gone: BTreeMap<AccountId, Gone>,
    /// How each account stood before anything was planned.
    pub(super) stood: BTreeMap<AccountId, Stood>,
    /// The accounts of which it is known that they have no closures, holds or caps.
    pub(super) plain: BTreeSet<AccountId>,
}

/// Rows that have left the database and are in sealed files alone, as far as calls are about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Rows of actions up to this one have.
    pub opening: i64,
    /// Those under keys that the calls come under or name.
    pub rows: Vec<i64>,
    /// Rows that are there and give credits of such rows back: who used these, the row, and the credits. For new caps (R17).
    pub late: Vec<(UserId, i64, Credits)>,
}

/// How an account stands in its own row: what is planned on one that stands elsewhere is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stood {
    /// The number of its newest row and, for a ledger that went another way to that number, when it was recorded.
    pub last_seq: i64,
    pub last_recorded_at: Instant,
    pub due_at: Instant,
    /// The row up to which rows have left: what is planned where others have left may overlook a key (R9).
    pub opening: i64,
}

impl Stood {
    pub const fn of(ledger: &Ledger, due_at: Instant, opening: i64) -> Stood {
        Stood { last_seq: ledger.last_seq, last_recorded_at: ledger.last_recorded_at, due_at, opening }
    }
}

impl Batch {
    /// Adds what was loaded besides.
    pub(super) fn extend(&mut self, other: Batch) {
        self.ledgers.extend(other.ledgers);
        self.stood.extend(other.stood);
        self.gone.extend(other.gone);
        self.plain.extend(other.plain);
        self.prices = other.prices;
    }

    /// How many calls became rows.
    pub(super) fn rows_of_calls(&self) -> usize {
        let of_calls = |ledger: &Ledger| ledger.rows().iter().filter(|row| row.key.is_some()).count();
        self.ledgers.values().map(of_calls).sum()
    }
}
