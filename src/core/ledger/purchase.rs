//! Purchases and their return (R12): packs of credits that never lapse.

use super::call::Done;
use super::{Call, Ledger, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits};
use crate::core::ids::{Key, Reference};
use crate::core::transaction::{Entry, GrantId, Kind, Money, Source, Transaction};

/// Most packs in one purchase.
pub const PACKS_MAX: i64 = 100_000;

/// Packs bought (R12). The payment's reference is also the idempotency key: one payment, one grant, of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// [`Key::of_purchase`] of the reference.
    pub key: Key,
    /// The external payment.
    pub reference: Reference,
    /// When it was made, for a purchase that is told later; `None` is now.
    pub occurred_at: Option<Instant>,
    /// How many packs, 1 to [`PACKS_MAX`].
    pub packs: i64,
    /// Credits in one pack.
    pub pack_credits: Credits,
    /// What was paid for all of them.
    pub money: Money,
    /// Free text.
    pub comment: String,
}

/// A purchase to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The idempotency key (R9).
    pub key: Key,
    /// [`Key::of_purchase`] of the payment's reference.
    pub purchase: Key,
    /// Why.
    pub comment: String,
}

impl Ledger {
    /// Adds purchased packs (R12). A closed account takes them, too: a payment is never lost.
    ///
    /// A purchase depends on nothing before it, so one told late does not open months: usage that is still to be told
    /// finds them as they were.
    pub(super) fn purchase(&mut self, purchase: &Purchase, now: Instant) -> Done {
        let (at, amount) = self.check_purchase(purchase, now)?;
        if purchase.occurred_at.is_none() {
            self.roll_over(at, now)?;
        }
        let row = Transaction {
            quantity: purchase.packs,
            unit_price: purchase.pack_credits,
            comment: purchase.comment.clone(),
            key: Some(purchase.key.clone()),
            content: Some(Call::Purchase(purchase.clone()).content()),
            money: Some(purchase.money.clone()),
            reference: Some(purchase.reference.clone()),
            ..blank(Kind::Purchase, at)
        };
        let label = format!("pack:{}", purchase.reference);
        self.grant(row, label, CreditType::Purchased, Source::Pack, amount, now).map_err(|source| self.overflow(source))
    }

    /// Whether the call is in order: when it happens and how many credits it adds.
    pub(super) fn check_purchase(&self, purchase: &Purchase, now: Instant) -> Result<(Instant, Credits), Refusal> {
        let at = self.check_time(purchase.occurred_at, now)?;
        self.check_count("the number of packs", purchase.packs, PACKS_MAX)?;
        let amount = purchase.pack_credits.times(purchase.packs).map_err(|source| self.overflow(source))?;
        if let Some(holder) = self.payments.get(&purchase.reference) {
            let (account, reference) = (self.account.id.clone(), purchase.reference.clone());
            return Err(Refusal::PaymentUsed { account, reference, holder: holder.clone() });
        }
        self.check_month(at)?;
        Ok((at, amount))
    }

    /// Removes what is unspent of a purchase (R12), once.
    pub(super) fn return_purchase(&mut self, call: &Return, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        // A hold that ends now gives its credits back first.
        self.roll_over(at, now)?;
        let nothing =
            |why| Refusal::NothingToReturn { account: self.account.id.clone(), key: call.purchase.clone(), why };
        let bought = self.known.get(&call.purchase).filter(|row| row.kind == Kind::Purchase);
        let bought = bought.cloned().ok_or_else(|| nothing("there is no such purchase"))?;
        let id = GrantId(bought.seq);
        let unspent = self.grants.get(&id).map_or(Credits::ZERO, |grant| grant.remaining);
        if self.about.iter().any(|row| row.kind == Kind::Return && row.corrects == Some(bought.seq)) {
            return Err(nothing("it was returned before"));
        }
        if unspent.is_zero() {
            return Err(nothing("all of it is spent or held"));
        }
        self.check_month(at)?;
        let entry = Entry { grant: id, credit_type: CreditType::Purchased, delta: unspent.negated() };
        let row = Transaction {
            comment: call.comment.clone(),
            key: Some(call.key.clone()),
            content: Some(Call::Return(call.clone()).content()),
            corrects: Some(bought.seq),
            reference: bought.reference,
            entries: vec![entry],
            ..blank(Kind::Return, at)
        };
        self.append(row, now).map_err(|source| self.overflow(source))
    }
}
