//! Refunds (R11): credits of a charge go back to the grants they came from.

use super::call::Done;
use super::operator::CREDITS_MAX;
use super::{Call, Ledger, Refusal, blank};
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Overflow};
use crate::core::ids::Key;
use crate::core::transaction::{Entry, GrantId, Kind, Status, Transaction};
use std::collections::BTreeMap;

/// Credits of a charge to give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The idempotency key (R9).
    pub key: Key,
    /// The key of the charge, or of the capture that made it.
    pub charge: Key,
    /// Credits to give back, at least 1; `None` gives back all that is not yet.
    pub credits: Option<Credits>,
    /// Why.
    pub comment: String,
}

impl Ledger {
    /// Gives credits of a charge back (R11): the last grant it used first, to the same grants. What goes to a grant that
    /// is over lapses at once.
    pub(super) fn refund(&mut self, refund: &Refund, now: Instant) -> Done {
        let at = self.check_time(None, now)?;
        if let Some(credits) = refund.credits {
            self.check_count("the credits to refund", credits.get(), CREDITS_MAX)?;
        }
        let charge = match self.known.get(&refund.charge) {
            Some(row) if row.kind == Kind::Charge => row.clone(),
            other => {
                let (account, charge) = (self.account.id.clone(), refund.charge.clone());
                let is_hold = other.is_some_and(|row| row.kind == Kind::Hold);
                return Err(Refusal::UnknownCharge { account, charge, is_hold });
            }
        };
        let refundable = self.refundable(&charge).map_err(|source| self.overflow(source))?;
        let total = refundable.iter().try_fold(Credits::ZERO, |sum, entry| sum.plus(entry.delta));
        let total = total.map_err(|source| self.overflow(source))?;
        let asked = refund.credits.unwrap_or(total);
        if asked > total || asked.is_zero() {
            return Err(Refusal::ExceedsRefundable {
                account: self.account.id.clone(),
                charge: refund.charge.clone(),
                asked: refund.credits,
                refundable: total,
                is_failed: charge.status == Status::Failed,
            });
        }
        self.check_month(at)?;
        self.roll_over(at, now)?;
        let row = Transaction {
            user: charge.user.clone(),
            action: charge.action.clone(),
            comment: refund.comment.clone(),
            key: Some(refund.key.clone()),
            content: Some(Call::Refund(refund.clone()).content()),
            corrects: Some(charge.seq),
            ..blank(Kind::Refund, at)
        };
        self.give_back(row, charge.occurred_at, &refundable, asked, now).map_err(|source| self.overflow(source))
    }

    /// What of a charge is not refunded yet, by grant, the last used first.
    fn refundable(&self, charge: &Transaction) -> Result<Vec<Entry>, Overflow> {
        let mut refunded: BTreeMap<GrantId, Credits> = BTreeMap::new();
        let refunds = self.about.iter().filter(|row| row.kind == Kind::Refund && row.corrects == Some(charge.seq));
        for entry in refunds.flat_map(|row| &row.entries) {
            let sum = refunded.entry(entry.grant).or_insert(Credits::ZERO);
            *sum = sum.plus(entry.delta)?;
        }
        let rest = |entry: &Entry| {
            let done = refunded.get(&entry.grant).copied().unwrap_or(Credits::ZERO);
            Ok(Entry { delta: entry.delta.negated().minus(done)?, ..*entry })
        };
        charge.entries.iter().rev().map(rest).collect()
    }

    fn give_back(
        &mut self,
        row: Transaction,
        used_at: Instant,
        refundable: &[Entry],
        asked: Credits,
        now: Instant,
    ) -> Result<Transaction, Overflow> {
        let mut missing = asked;
        let mut entries = Vec::new();
        for entry in refundable {
            let part = missing.min(entry.delta);
            if !part.is_zero() {
                entries.push(Entry { delta: part, ..*entry });
                missing = missing.minus(part)?;
            }
        }
        let row = self.append_used_at(Transaction { entries, ..row }, used_at, now)?;
        for entry in &row.entries {
            let grant = &self.grants[&entry.grant];
            if grant.expires_at.is_some_and(|end| end <= row.occurred_at) {
                // The credits were back for the smallest step of time, so that the lapse, which counts in the range that
                // ends with it, counts where the refund does.
                let lapse = Transaction {
                    comment: format!("{} lapsed", grant.label),
                    corrects: Some(row.seq),
                    entries: vec![Entry { delta: entry.delta.negated(), ..*entry }],
                    ..blank(Kind::Expiry, row.occurred_at.plus_micros(1))
                };
                self.append(lapse, now)?;
            }
        }
        Ok(row)
    }
}
