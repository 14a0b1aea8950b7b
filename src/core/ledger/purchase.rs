//! Purchases (R12): packs of credits that never lapse.

use super::{Ledger, Receipt, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits};
use crate::core::ids::{Key, PURCHASE_KEY_PREFIX, Reference};
use crate::core::transaction::{ContentHash, Kind, Money, Source, Transaction};

/// Most packs in one purchase.
pub const PACKS_MAX: i64 = 100_000;

/// Packs bought (R12). The payment's reference is also the idempotency key: one payment, one grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
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

impl Purchase {
    /// The idempotency key of a payment.
    ///
    /// # Errors
    /// None in practice: a reference is short enough to leave room for the prefix.
    pub fn key(&self) -> Result<Key, crate::core::ids::BadName> {
        Key::new(&format!("{PURCHASE_KEY_PREFIX}{}", self.reference))
    }

    /// What decides whether a second call for the same payment is the same call (R9). What a pack holds and costs comes
    /// from the configuration, not from the caller, so it does not count.
    #[must_use]
    pub fn content(&self) -> ContentHash {
        let at = self.occurred_at.map(|t| t.micros().to_string()).unwrap_or_default();
        ContentHash::of(&["purchase", &at, &self.packs.to_string(), &self.comment])
    }
}

impl Ledger {
    /// Adds purchased packs (R12).
    ///
    /// A purchase depends on nothing before it, so one told late does not open months: usage that is still to be told
    /// finds them as they were.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is written then.
    pub fn purchase(&mut self, purchase: &Purchase, key: &Key, now: Instant) -> Result<Receipt<'_>, Refusal> {
        let Some((at, amount)) = self.check_purchase(purchase, key, now)? else {
            return Ok(Receipt { row: &self.known[key], replayed: true });
        };
        if purchase.occurred_at.is_none() {
            self.roll_over(at, now)?;
        }
        let row = Transaction {
            quantity: purchase.packs,
            unit_price: purchase.pack_credits,
            comment: purchase.comment.clone(),
            key: Some(key.clone()),
            content: Some(purchase.content()),
            money: Some(purchase.money.clone()),
            reference: Some(purchase.reference.clone()),
            ..blank(Kind::Purchase, at)
        };
        let label = format!("pack:{}", purchase.reference);
        self.grant(row, label, CreditType::Purchased, Source::Pack, amount, None, now)
            .map_err(|source| self.overflow(source))?;
        Ok(Receipt { row: &self.known[key], replayed: false })
    }

    /// What a purchase would be refused for, without doing it; `None` for a replay (R9), else when it happens and how many
    /// credits it adds.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check_purchase(
        &self,
        purchase: &Purchase,
        key: &Key,
        now: Instant,
    ) -> Result<Option<(Instant, Credits)>, Refusal> {
        if self.replay(key, purchase.content())? {
            return Ok(None);
        }
        let at = self.check_time(purchase.occurred_at, now)?;
        self.check_count("the number of packs", purchase.packs, PACKS_MAX)?;
        let amount = purchase.pack_credits.times(purchase.packs).map_err(|source| self.overflow(source))?;
        Ok(Some((at, amount)))
    }
}
