//! Calls: whatever is asked of a ledger from outside, each under its idempotency key (R9).
//!
//! There is one way for all of them: [`Ledger::apply`]. The store loads what [`Call::keys`] names and writes what came
//! of it, so a batch is any mix of calls.

use super::{
    Adjust, Bonus, Cap, Capture, Closing, Grant, Hold, Ledger, MonthClosing, NewTerms, Purchase, Receipt, Refund,
    Refusal, Return, Usage, Void,
};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ids::{CLOSE_KEY_PREFIX, Key, PURCHASE_KEY_PREFIX, UserId};
use crate::core::price::PriceMatrix;
use crate::core::transaction::{ContentHash, Transaction};

/// Something asked of the ledger of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Take the credits of an AI action at once (R5 to R9), or log one that failed at the platform.
    Charge(Usage),
    /// Reserve the credits of an AI action before the work (R10).
    Hold(Hold),
    /// Take all or part of a hold (R10).
    Capture(Capture),
    /// Give a hold back (R10).
    Void(Void),
    /// Give credits of a charge back (R11).
    Refund(Refund),
    /// Add purchased packs (R12).
    Purchase(Purchase),
    /// Return what is unspent of a purchase (R12).
    Return(Return),
    /// Grant credits (R13).
    Bonus(Bonus),
    /// Take credits away (R13).
    Adjust(Adjust),
    /// Change zone or allowance from the next month on (R1, R2).
    Terms(NewTerms),
    /// Cap what a user may use in a month (R17).
    Cap(Cap),
    /// Close the account or open it again (R18).
    Closing(Closing),
    /// Close months to late usage, or open them again (R14).
    Month(MonthClosing),
}

impl Call {
    /// Its idempotency key (R9).
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Call::Charge(call) => &call.key,
            Call::Hold(call) => &call.key,
            Call::Capture(call) => &call.key,
            Call::Void(call) => &call.key,
            Call::Refund(call) => &call.key,
            Call::Purchase(call) => &call.key,
            Call::Return(call) => &call.key,
            Call::Bonus(call) => &call.key,
            Call::Adjust(call) => &call.key,
            Call::Terms(call) => &call.key,
            Call::Cap(call) => &call.key,
            Call::Closing(call) => &call.key,
            Call::Month(call) => &call.key,
        }
    }

    /// The key of the earlier call that this one is about: the hold captured or voided, the charge refunded, the
    /// purchase returned.
    #[must_use]
    pub const fn about(&self) -> Option<&Key> {
        match self {
            Call::Capture(call) => Some(&call.hold),
            Call::Void(call) => Some(&call.hold),
            Call::Refund(call) => Some(&call.charge),
            Call::Return(call) => Some(&call.purchase),
            _ => None,
        }
    }

    /// The user whose cap the call may touch (R17), where the call itself names one.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Call::Charge(call) => call.user.as_ref(),
            Call::Hold(call) => call.user.as_ref(),
            Call::Cap(call) => Some(&call.user),
            _ => None,
        }
    }

    /// When it happened, where the caller tells something late; `None` is now.
    #[must_use]
    pub const fn occurred_at(&self) -> Option<Instant> {
        match self {
            Call::Charge(call) => call.occurred_at,
            Call::Purchase(call) => call.occurred_at,
            _ => None,
        }
    }

    /// A fingerprint of all that decides whether a second call under the same key is the same call (R9).
    #[must_use]
    pub fn content(&self) -> ContentHash {
        let optional = |credits: Option<Credits>| credits.map(|credits| credits.to_string()).unwrap_or_default();
        let at = |at: Option<Instant>| at.map(|t| t.micros().to_string()).unwrap_or_default();
        let user = |user: &Option<UserId>| user.as_ref().map(UserId::to_string).unwrap_or_default();
        match self {
            // What becomes of usage of a closed month is a choice, not a fact about it, so it does not count.
            Call::Charge(Usage { occurred_at, user: by, action, quantity, status, comment, .. }) => {
                let (at, by, quantity) = (at(*occurred_at), user(by), quantity.to_string());
                ContentHash::of(&["charge", &at, &by, action.as_str(), &quantity, status.as_str(), comment])
            }
            Call::Hold(Hold { user: by, action, quantity, ttl_seconds, comment, .. }) => {
                let (by, quantity, ttl) = (user(by), quantity.to_string(), ttl_seconds.to_string());
                ContentHash::of(&["hold", &by, action.as_str(), &quantity, &ttl, comment])
            }
            Call::Capture(Capture { hold, credits, comment, .. }) => {
                ContentHash::of(&["capture", hold.as_str(), &optional(*credits), comment])
            }
            Call::Void(Void { hold, comment, .. }) => ContentHash::of(&["void", hold.as_str(), comment]),
            Call::Refund(Refund { charge, credits, comment, .. }) => {
                ContentHash::of(&["refund", charge.as_str(), &optional(*credits), comment])
            }
            // What a pack holds and costs comes from the configuration, not from the caller, so it does not count.
            Call::Purchase(Purchase { occurred_at, packs, comment, .. }) => {
                ContentHash::of(&["purchase", &at(*occurred_at), &packs.to_string(), comment])
            }
            Call::Return(Return { purchase, comment, .. }) => ContentHash::of(&["return", purchase.as_str(), comment]),
            Call::Bonus(Bonus { credit_type, credits, expires_at, comment, .. }) => {
                ContentHash::of(&["bonus", credit_type.as_str(), &credits.to_string(), &at(*expires_at), comment])
            }
            Call::Adjust(Adjust { credit_type, credits, comment, .. }) => {
                ContentHash::of(&["adjust", credit_type.as_str(), &credits.to_string(), comment])
            }
            Call::Terms(NewTerms { zone, allowance, .. }) => {
                ContentHash::of(&["terms", zone.map_or("", |zone| zone.name()), &optional(*allowance)])
            }
            Call::Cap(Cap { user, credits, .. }) => ContentHash::of(&["cap", user.as_str(), &optional(*credits)]),
            Call::Closing(Closing { reopen, comment, .. }) => {
                ContentHash::of(&[if *reopen { "reopening" } else { "closing" }, comment])
            }
            Call::Month(MonthClosing { month, reopen, comment, .. }) => {
                let word = if *reopen { "month-reopen" } else { "month-close" };
                ContentHash::of(&[word, &month.to_string(), comment])
            }
        }
    }

    /// Whether the key is of a kind that others have: payments (R12), or the job that closes months (R14).
    fn has_reserved_key(&self) -> bool {
        let begins = |prefix: &str| self.key().as_str().starts_with(prefix);
        (begins(PURCHASE_KEY_PREFIX) && !matches!(self, Call::Purchase(_)))
            || (begins(CLOSE_KEY_PREFIX) && !matches!(self, Call::Month(_)))
    }
}

/// What a call did: the rows it appended, the last of them its answer.
pub(super) type Done = Result<Transaction, Refusal>;

impl Ledger {
    /// Does what `call` asks, at `now`: the one entrance for everything that comes from outside.
    ///
    /// A call that came before is answered with its first row and moves nothing (R9). Causes of refusal are looked for in
    /// the order of [`Cause`](super::Cause).
    ///
    /// # Errors
    /// [`Refusal`]; the ledger is as it was then. A charge or hold refused for want of credits or by a cap is no error
    /// but a failed row (R7).
    pub fn apply(&mut self, call: &Call, prices: &PriceMatrix, now: Instant) -> Result<Receipt, Refusal> {
        if let Some(row) = self.check_key(call)? {
            return Ok(Receipt { row, replayed: true });
        }
        // A refusal may come after rows were planned, so most calls keep a copy of what was before. Charges are many, and
        // after their checks fail only on a sum out of range, for which there must be figures that add up to one.
        let needs_copy = match call {
            Call::Charge(usage) => self.is_near_limit(usage, prices, now),
            _ => true,
        };
        let before = needs_copy.then(|| self.clone());
        let done = match call {
            Call::Charge(call) => self.charge(call, prices, now),
            Call::Hold(call) => self.hold(call, prices, now),
            Call::Capture(call) => self.capture(call, now),
            Call::Void(call) => self.void(call, now),
            Call::Refund(call) => self.refund(call, now),
            Call::Purchase(call) => self.purchase(call, now),
            Call::Return(call) => self.return_purchase(call, now),
            Call::Bonus(call) => self.bonus(call, now),
            Call::Adjust(call) => self.adjust(call, now),
            Call::Terms(call) => self.change_terms(call, now),
            Call::Cap(call) => self.cap(call, now),
            Call::Closing(call) => self.close_or_reopen(call, now),
            Call::Month(call) => self.close_or_reopen_month(call, now),
        };
        match (done, before) {
            (Ok(row), _) => Ok(Receipt { row, replayed: false }),
            (Err(refusal), Some(before)) => {
                *self = before;
                Err(refusal)
            }
            (Err(refusal), None) => Err(refusal),
        }
    }

    /// Whether anything speaks against `call`, looked at by itself: nothing does when it came before. Of usage and purchases,
    /// which come by the million, only what can be said without planning them: the key, the time, counts, the price and
    /// whether account and month are open. All other calls are tried on a copy of the ledger.
    ///
    /// # Errors
    /// [`Refusal`]: what speaks against it.
    pub fn check(&self, call: &Call, prices: &PriceMatrix, now: Instant) -> Result<(), Refusal> {
        if self.check_key(call)?.is_some() {
            return Ok(());
        }
        match call {
            Call::Charge(usage) => self.check_charge(usage, prices, now).map(|_| ()),
            Call::Purchase(purchase) => self.check_purchase(purchase, now).map(|_| ()),
            _ => self.clone().apply(call, prices, now).map(|_| ()),
        }
    }

    /// R9: the first row under the key when the same call came before.
    fn check_key(&self, call: &Call) -> Result<Option<Transaction>, Refusal> {
        if call.has_reserved_key() {
            let (account, key) = (self.account.id.clone(), call.key().clone());
            return Err(Refusal::ReservedKey { account, key });
        }
        match self.known.get(call.key()) {
            None => Ok(None),
            Some(first) if first.content == Some(call.content()) => Ok(Some(first.clone())),
            Some(first) => Err(Refusal::Conflict {
                account: self.account.id.clone(),
                key: call.key().clone(),
                seq: first.seq,
                first_at: first.recorded_at,
            }),
        }
    }

    /// Whether a charge might meet a sum out of range: never while all that it could add up stays far below the limit
    /// together. That is every figure of every grant, for those that are gross only grow; what capped users used; the
    /// allowances of months that may open; and the cost.
    fn is_near_limit(&self, usage: &Usage, prices: &PriceMatrix, now: Instant) -> bool {
        const NEAR: i64 = Credits::LIMIT.get() / 4;
        let figures = self.grants.values().flat_map(Grant::figures);
        let used = self.caps.values().flat_map(|cap| cap.used.values().copied());
        let allowances = self.account.calendar.terms().iter().map(|terms| terms.allowance);
        let price = prices.price_at(&usage.action, usage.occurred_at.unwrap_or(now));
        let cost = price.map_or(0, |price| price.get().saturating_mul(usage.quantity));
        let sum = |sum: i64, credits: Credits| sum.saturating_add(credits.get().saturating_abs());
        figures.chain(used).chain(allowances).fold(cost.saturating_abs(), sum) > NEAR
    }
}
