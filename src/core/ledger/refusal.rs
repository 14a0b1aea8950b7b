//! Why an operation on a ledger wrote nothing: one code per cause.

use crate::core::calendar::Instant;
use crate::core::credits::Overflow;
use crate::core::ids::{AccountId, Key};
use crate::core::price::NoPrice;

/// Why an operation wrote nothing. The causes are looked for in the order in which they stand here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key of the kind that payments have (R12).
    #[error("reserved_key: account {account}: the key {key} begins as those of payments do; give a charge another one")]
    ReservedKey {
        /// Whose call.
        account: AccountId,
        /// The key.
        key: Key,
    },
    /// R9: the key was used for something else.
    #[error(
        "idempotency_conflict: account {account}: the key {key} was used on {first_at} for another call (row {seq}); \
         use a new key for a new call"
    )]
    Conflict {
        /// Whose key.
        account: AccountId,
        /// The key.
        key: Key,
        /// The row that it made.
        seq: i64,
        /// When that row was recorded.
        first_at: Instant,
    },
    /// Later than the clock.
    #[error(
        "in_future: account {account}: {at} is later than now ({now}); check the file's time and this machine's clock"
    )]
    InFuture {
        /// Which account.
        account: AccountId,
        /// When the call says it happened.
        at: Instant,
        /// The clock.
        now: Instant,
    },
    /// Before the account existed.
    #[error("not_opened: account {account} opened at {opened_at}, after {at}")]
    NotOpened {
        /// Which account.
        account: AccountId,
        /// When it opened.
        opened_at: Instant,
        /// When the call says it happened.
        at: Instant,
    },
    /// A count outside its bounds.
    #[error("bad_quantity: account {account}: {what} must be 1 to {max}, not {given}")]
    Quantity {
        /// Which account.
        account: AccountId,
        /// What was counted.
        what: &'static str,
        /// The count.
        given: i64,
        /// The bound.
        max: i64,
    },
    /// R8: the action has no price.
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    /// A sum beyond the range of credits.
    #[error("overflow: account {account}: {source}")]
    Overflow {
        /// Which account.
        account: AccountId,
        /// Which bound.
        source: Overflow,
    },
}

impl Refusal {
    /// The result code: one word per cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::ReservedKey { .. } => "reserved_key",
            Refusal::Conflict { .. } => "idempotency_conflict",
            Refusal::NotOpened { .. } => "not_opened",
            Refusal::InFuture { .. } => "in_future",
            Refusal::Quantity { .. } => "bad_quantity",
            Refusal::NoPrice(no_price) => no_price.code(),
            Refusal::Overflow { .. } => "overflow",
        }
    }
}
