//! Why an operation on a ledger wrote nothing: the cause, and what the caller needs to know of it.

use super::Cause;
use crate::core::calendar::{Instant, Month};
use crate::core::counting::{are, counted, counted_are, grouped};
use crate::core::credits::{CreditType, Credits, Overflow};
use crate::core::ids::{AccountId, Key, Reference, UserId};
use crate::core::price::NoPrice;

/// Why an operation wrote nothing. Causes are looked for in the order of [`Cause`]; a charge or hold that comes to the last
/// of them, `user_cap` and `insufficient_credits`, is logged instead ([`Reason`](crate::core::transaction::Reason)).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key of the kind that payments have (R12).
    #[error(
        "reserved_key: account {account}: the key {key} begins as those of payments or of closed months do; give the call another one"
    )]
    ReservedKey {
        /// Whose call.
        account: AccountId,
        /// The key.
        key: Key,
    },
    /// R9: the key was used for something else.
    #[error(
        "idempotency_conflict: account {account}: the key {} was used on {first_at} for another call (row {seq}); \
         use a new key for a new call",
        key.as_given()
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
        "in_future: account {account}: {at} is later than now ({now}); check the time that is told and this machine's clock"
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
    #[error("not_opened: account {account} opens at {opened_at}, after {at}")]
    NotOpened {
        /// Which account.
        account: AccountId,
        /// When it opened.
        opened_at: Instant,
        /// When the call says it happened.
        at: Instant,
    },
    /// A count outside its bounds.
    #[error("bad_quantity: account {account}: {what} must be 1 to {}, not {}", grouped(*max), grouped(*given))]
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
    /// R13, R14, R18: what an operator does needs a reason.
    #[error("no_reason: account {account}: say why, with a comment; it is kept in the log")]
    NoReason {
        /// Which account.
        account: AccountId,
    },
    /// R13: a grant that would be over before it begins.
    #[error("expires_in_past: account {account}: {expires_at} is not later than now ({now})")]
    ExpiresInPast {
        /// Which account.
        account: AccountId,
        /// The end that was asked for.
        expires_at: Instant,
        /// The clock.
        now: Instant,
    },
    /// R8: the action has no price.
    #[error(transparent)]
    NoPrice(#[from] NoPrice),
    /// R10: no hold has this key.
    #[error("unknown_hold: account {account}: there is no hold under the key {hold}")]
    UnknownHold {
        /// Which account.
        account: AccountId,
        /// The key.
        hold: Key,
    },
    /// R10: the hold was captured before.
    #[error("hold_captured: account {account}: the hold {hold} was captured on {at}; a hold is captured once")]
    HoldCaptured {
        /// Which account.
        account: AccountId,
        /// The hold's key.
        hold: Key,
        /// When.
        at: Instant,
    },
    /// R10: the hold was voided before.
    #[error("hold_voided: account {account}: the hold {hold} was voided on {at}; make a new one")]
    HoldVoided {
        /// Which account.
        account: AccountId,
        /// The hold's key.
        hold: Key,
        /// When.
        at: Instant,
    },
    /// R10: the hold's time is over.
    #[error(
        "hold_expired: account {account}: the hold {hold} was open until {at}; charge the action, or make a new hold"
    )]
    HoldExpired {
        /// Which account.
        account: AccountId,
        /// The hold's key.
        hold: Key,
        /// The first instant at which it was over.
        at: Instant,
    },
    /// R10: more than is held. The hold stays.
    #[error(
        "exceeds_hold: account {account}: {} cannot be captured of the hold {hold}, which has {}",
        counted(asked.get(), "credit"),
        grouped(held.get())
    )]
    ExceedsHold {
        /// Which account.
        account: AccountId,
        /// The hold's key.
        hold: Key,
        /// Credits asked for.
        asked: Credits,
        /// Credits held.
        held: Credits,
    },
    /// R11: no charge has this key.
    #[error("unknown_charge: account {account}: {}", not_a_charge(charge, *is_hold))]
    UnknownCharge {
        /// Which account.
        account: AccountId,
        /// The key.
        charge: Key,
        /// It is the key of a hold, which is charged under the key of its capture.
        is_hold: bool,
    },
    /// R11: more than was taken and not yet given back.
    #[error("exceeds_refundable: account {account}: {}", not_refundable(charge, *asked, *refundable, *is_failed))]
    ExceedsRefundable {
        /// Which account.
        account: AccountId,
        /// The charge's key.
        charge: Key,
        /// Credits asked for; `None` asks for all that are left.
        asked: Option<Credits>,
        /// Credits that can be given back.
        refundable: Credits,
        /// It took nothing: the action failed or was refused, or its hold was voided.
        is_failed: bool,
    },
    /// R12: nothing of the purchase can be returned.
    #[error("nothing_to_return: account {account}: {}: {why}", key.as_given())]
    NothingToReturn {
        /// Which account.
        account: AccountId,
        /// The purchase's key.
        key: Key,
        /// Why not.
        why: &'static str,
    },
    /// R12: the payment was recorded for another account.
    #[error(
        "payment_used: account {account}: the payment {reference} was recorded for account {holder}, and a payment counts \
         once; nothing was written. If {holder} got it by mistake, return it there (creditd return {reference} --account \
         {holder}) and record it here under another reference, such as {reference}-moved"
    )]
    PaymentUsed {
        /// Whose call.
        account: AccountId,
        /// The payment.
        reference: Reference,
        /// Who has it.
        holder: AccountId,
    },
    /// R18: the account was closed then.
    #[error("account_closed: account {account} was closed on {closed_at}; `creditd account reopen {account}` opens it")]
    AccountClosed {
        /// Which account.
        account: AccountId,
        /// Since when.
        closed_at: Instant,
    },
    /// R18: the account is open.
    #[error("account_open: account {account} is open; nothing was changed")]
    AccountOpen {
        /// Which account.
        account: AccountId,
    },
    /// R14: the month takes no late usage any more.
    #[error(
        "month_closed: account {account}: {month} is closed (all months through {through} are), so nothing can be dated in it; \
         date it later, or open the month again with `creditd month reopen`"
    )]
    MonthClosed {
        /// Which account.
        account: AccountId,
        /// The month.
        month: Month,
        /// The last closed month.
        through: Month,
    },
    /// R14: the month is open.
    #[error("month_open: account {account}: {month} is open; nothing was changed")]
    MonthOpen {
        /// Which account.
        account: AccountId,
        /// The month.
        month: Month,
    },
    /// R14: the month, or a hold made in it, has not ended.
    #[error("month_not_over: account {account}: {month} can be closed from {over_at} on")]
    MonthNotOver {
        /// Which account.
        account: AccountId,
        /// The month.
        month: Month,
        /// When it and the holds made in it are over.
        over_at: Instant,
    },
    /// R17: the user whose cap shall end has none.
    #[error("no_cap: account {account}: the user {user} has no cap; nothing was changed")]
    NoCap {
        /// Which account.
        account: AccountId,
        /// Which user.
        user: UserId,
    },
    /// R6: the credits to take away are not there.
    #[error(
        "insufficient_credits: account {account}: {} needed, {} available, {} missing; nothing was taken",
        counted_are(needed.get(), &format!("{credit_type} credit")),
        are(available.get()),
        are(needed.get().saturating_sub(available.get()))
    )]
    InsufficientCredits {
        /// Which account.
        account: AccountId,
        /// Of which type.
        credit_type: CreditType,
        /// Credits to take.
        needed: Credits,
        /// Credits of that type that are there.
        available: Credits,
    },
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
    /// The cause, whatever the circumstances.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Refusal::ReservedKey { .. } => Cause::ReservedKey,
            Refusal::Conflict { .. } => Cause::Conflict,
            Refusal::InFuture { .. } => Cause::InFuture,
            Refusal::NotOpened { .. } => Cause::NotOpened,
            Refusal::Quantity { .. } => Cause::Quantity,
            Refusal::NoReason { .. } => Cause::NoReason,
            Refusal::ExpiresInPast { .. } => Cause::ExpiresInPast,
            Refusal::NoPrice(NoPrice::Unknown { .. } | NoPrice::NotYet { .. }) => Cause::UnknownAction,
            Refusal::NoPrice(NoPrice::Retired { .. }) => Cause::RetiredAction,
            Refusal::UnknownHold { .. } => Cause::UnknownHold,
            Refusal::HoldCaptured { .. } => Cause::HoldCaptured,
            Refusal::HoldVoided { .. } => Cause::HoldVoided,
            Refusal::HoldExpired { .. } => Cause::HoldExpired,
            Refusal::ExceedsHold { .. } => Cause::ExceedsHold,
            Refusal::UnknownCharge { .. } => Cause::UnknownCharge,
            Refusal::ExceedsRefundable { .. } => Cause::ExceedsRefundable,
            Refusal::NothingToReturn { .. } => Cause::NothingToReturn,
            Refusal::PaymentUsed { .. } => Cause::PaymentUsed,
            Refusal::AccountClosed { .. } => Cause::AccountClosed,
            Refusal::AccountOpen { .. } => Cause::AccountOpen,
            Refusal::MonthClosed { .. } => Cause::MonthClosed,
            Refusal::MonthOpen { .. } => Cause::MonthOpen,
            Refusal::MonthNotOver { .. } => Cause::MonthNotOver,
            Refusal::NoCap { .. } => Cause::NoCap,
            Refusal::InsufficientCredits { .. } => Cause::InsufficientCredits,
            Refusal::Overflow { .. } => Cause::Overflow,
        }
    }

    /// The result code: one word per cause.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.cause().as_str()
    }
}

fn not_a_charge(key: &Key, is_hold: bool) -> String {
    if is_hold {
        format!("the key {key} is that of a hold, which took nothing yet; refund the key of its capture")
    } else {
        format!("there is no charge under the key {key}")
    }
}

fn not_refundable(charge: &Key, asked: Option<Credits>, refundable: Credits, is_failed: bool) -> String {
    let left = are(refundable.get());
    match asked {
        _ if is_failed => format!("the action under the key {charge} was not done and took nothing to refund"),
        Some(asked) => {
            format!(
                "{} cannot be refunded of the charge {charge}; {left} left to refund",
                counted(asked.get(), "credit")
            )
        }
        None => format!("{left} left to refund of the charge {charge}"),
    }
}
