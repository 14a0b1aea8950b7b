//! What operators give and take (R13), always with a reason.

use super::call::Done;
use super::{Call, Ledger, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits};
use crate::core::ids::Key;
use crate::core::transaction::{Kind, Source, Transaction};

/// Most credits that one call gives, takes or gives back: a slip of the keyboard is an error.
pub(super) const CREDITS_MAX: i64 = 1_000_000_000;

/// Credits to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bonus {
    /// The idempotency key (R9).
    pub key: Key,
    /// Of which type.
    pub credit_type: CreditType,
    /// How many, at least 1.
    pub credits: Credits,
    /// When what is left of them lapses; `None` never.
    pub expires_at: Option<Instant>,
    /// Why.
    pub comment: String,
}

/// Credits to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// The idempotency key (R9).
    pub key: Key,
    /// Of which type.
    pub credit_type: CreditType,
    /// How many, at least 1.
    pub credits: Credits,
    /// Why.
    pub comment: String,
}

impl Ledger {
    /// Grants credits (R13).
    pub(super) fn bonus(&mut self, bonus: &Bonus, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        self.check_count("the number of credits", bonus.credits.get(), CREDITS_MAX)?;
        self.check_comment(&bonus.comment)?;
        if let Some(expires_at) = bonus.expires_at.filter(|end| *end <= at) {
            return Err(Refusal::ExpiresInPast { account: self.account.id.clone(), expires_at, now });
        }
        self.check_month(at)?;
        self.roll_over(at, now)?;
        let row = Transaction {
            comment: bonus.comment.clone(),
            key: Some(bonus.key.clone()),
            content: Some(Call::Bonus(bonus.clone()).content()),
            expires_at: bonus.expires_at,
            ..blank(Kind::Bonus, at)
        };
        let label = format!("bonus:{}", bonus.key);
        self.grant(row, label, bonus.credit_type, Source::Bonus, bonus.credits, now)
            .map_err(|source| self.overflow(source))
    }

    /// Takes credits away (R13): all of them or none (R6), in burn order.
    pub(super) fn adjust(&mut self, adjust: &Adjust, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        self.check_count("the number of credits", adjust.credits.get(), CREDITS_MAX)?;
        self.check_comment(&adjust.comment)?;
        self.check_month(at)?;
        self.roll_over(at, now)?;
        let entries = self.take(adjust.credits, at, false, Some(adjust.credit_type));
        let Some(entries) = entries.map_err(|source| self.overflow(source))? else {
            let available = self.available_at(at).map_err(|source| self.overflow(source))?;
            return Err(Refusal::InsufficientCredits {
                account: self.account.id.clone(),
                credit_type: adjust.credit_type,
                needed: adjust.credits,
                available: available.get(adjust.credit_type),
            });
        };
        self.take_back_lapses(&entries, now).map_err(|source| self.overflow(source))?;
        let row = Transaction {
            comment: adjust.comment.clone(),
            key: Some(adjust.key.clone()),
            content: Some(Call::Adjust(adjust.clone()).content()),
            entries,
            ..blank(Kind::Adjustment, at)
        };
        self.append(row, now).map_err(|source| self.overflow(source))
    }

    /// What operators do has a reason.
    pub(super) fn check_comment(&self, comment: &str) -> Result<(), Refusal> {
        if comment.trim().is_empty() { Err(Refusal::NoReason { account: self.account.id.clone() }) } else { Ok(()) }
    }
}
