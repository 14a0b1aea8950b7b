//! Grants: lots of credits of one type, each with its own remainder (R4, R5, R16).

use super::CameBack;
use crate::core::calendar::Instant;
use crate::core::credits::{CreditType, Credits, Overflow};
use crate::core::transaction::{GrantId, Kind, Source, Transaction};

/// A lot of credits of one type with its own remainder.
///
/// R16: `amount = consumed - refunded + lapsed + returned + adjusted + held + remaining`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which grant of the account.
    pub id: GrantId,
    /// Unique within the account: `free:2013-01`, `pack:<reference>`, `bonus:<key>`.
    pub label: String,
    /// Its pool.
    pub credit_type: CreditType,
    /// Where it came from.
    pub source: Source,
    /// Credits it began with.
    pub amount: Credits,
    /// First instant at which it is usable (R4).
    pub starts_at: Instant,
    /// First instant at which it is not; `None` never lapses.
    pub expires_at: Option<Instant>,
    /// Credits taken by charges, gross.
    pub consumed: Credits,
    /// Credits of those given back (R11).
    pub refunded: Credits,
    /// Credits lapsed.
    pub lapsed: Credits,
    /// Credits of those that were refunded after the end and lapsed at once (R11): they were used at their time, so late
    /// usage cannot have them (R14).
    pub lapsed_at_once: Credits,
    /// Credits returned with their purchase (R12).
    pub returned: Credits,
    /// Credits taken away by operators (R13).
    pub adjusted: Credits,
    /// Credits reserved by open holds (R10).
    pub held: Credits,
    /// Credits left.
    pub remaining: Credits,
    /// The row that lapsed it last, which a late charge corrects (R14).
    pub lapsed_by: Option<i64>,
    /// What was refunded to it before its end and not taken since (R14).
    pub came_back: CameBack,
}

impl Grant {
    /// A grant of `amount` that starts when `row`, which makes it, occurred and ends when it says. Its entry fills it.
    pub(super) fn new(
        id: GrantId,
        label: String,
        credit_type: CreditType,
        source: Source,
        amount: Credits,
        row: &Transaction,
    ) -> Grant {
        Grant {
            id,
            label,
            credit_type,
            source,
            amount,
            starts_at: row.occurred_at,
            expires_at: row.expires_at,
            consumed: Credits::ZERO,
            refunded: Credits::ZERO,
            lapsed: Credits::ZERO,
            lapsed_at_once: Credits::ZERO,
            returned: Credits::ZERO,
            adjusted: Credits::ZERO,
            held: Credits::ZERO,
            remaining: Credits::ZERO,
            lapsed_by: None,
            came_back: CameBack::default(),
        }
    }

    /// All its amounts.
    pub(super) const fn figures(&self) -> [Credits; 9] {
        let Grant { amount, consumed, refunded, lapsed, lapsed_at_once, returned, adjusted, held, remaining, .. } =
            *self;
        [amount, consumed, refunded, lapsed, lapsed_at_once, returned, adjusted, held, remaining]
    }

    /// R4: usable for `starts_at <= t < expires_at`.
    pub(super) fn is_usable_at(&self, t: Instant) -> bool {
        self.starts_at <= t && self.expires_at.is_none_or(|end| t < end)
    }

    /// R5: earliest expiry first, never-expiring last, then earlier start, then order of arrival.
    #[must_use]
    pub fn burn_order(&self) -> (Instant, Instant, GrantId) {
        (self.expires_at.unwrap_or(Instant::MAX), self.starts_at, self.id)
    }

    /// What a charge at an instant inside the window may take: the remainder, and what lapsed unused since (R14).
    pub(super) fn unspent(&self) -> Result<Credits, Overflow> {
        self.remaining.plus(self.lapsed)?.minus(self.lapsed_at_once)
    }

    /// The grant after a row of `kind` that occurred at `at` changed it by `delta`.
    pub(super) fn after(&self, kind: Kind, at: Instant, delta: Credits, is_at_once: bool) -> Result<Grant, Overflow> {
        let mut grant = self.clone();
        grant.remaining = grant.remaining.plus(delta)?;
        match kind {
            Kind::Charge => grant.consumed = grant.consumed.minus(delta)?,
            Kind::Refund => {
                grant.refunded = grant.refunded.plus(delta)?;
                // Behind the grant's end it lapses at once.
                if grant.expires_at.is_none_or(|end| at < end) {
                    grant.came_back.add(at, delta)?;
                }
            }
            Kind::Hold | Kind::Release => grant.held = grant.held.minus(delta)?,
            Kind::Return => grant.returned = grant.returned.minus(delta)?,
            Kind::Adjustment => grant.adjusted = grant.adjusted.minus(delta)?,
            Kind::Expiry => {
                grant.lapsed = grant.lapsed.minus(delta)?;
                if is_at_once {
                    grant.lapsed_at_once = grant.lapsed_at_once.minus(delta)?;
                }
            }
            _ => {}
        }
        if matches!(kind, Kind::Charge | Kind::Return | Kind::Adjustment) {
            grant.came_back.take(at, delta.negated())?;
        }
        Ok(grant)
    }
}
