//! Credits: whole numbers with checked arithmetic. No float and no silent overflow anywhere in the ledger.

use crate::core::counting::grouped;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount of credits, or a change of one; whole credits, signed.
///
/// Arithmetic is checked: a result outside [`Credits::LIMIT`] is an [`Overflow`], never a wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credits(i64);

/// A sum left the range that creditd handles (`±Credits::LIMIT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amount of credits is beyond ±{}", grouped(Credits::LIMIT.get()))]
pub struct Overflow;

impl Credits {
    /// No credits.
    pub const ZERO: Credits = Credits(0);
    /// The largest magnitude of any amount: a thousand times less than `i64` holds, so that the sum over
    /// a thousand full accounts still fits where a report adds them up.
    pub const LIMIT: Credits = Credits(i64::MAX / 1_000);

    /// `credits` whole credits.
    #[must_use]
    pub const fn new(credits: i64) -> Credits {
        Credits(credits)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`] beyond `±LIMIT`.
    pub const fn plus(self, other: Credits) -> Result<Credits, Overflow> {
        match self.0.checked_add(other.0) {
            Some(sum) if sum.unsigned_abs() <= Self::LIMIT.0.unsigned_abs() => Ok(Credits(sum)),
            _ => Err(Overflow),
        }
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Overflow`] beyond `±LIMIT`.
    pub const fn minus(self, other: Credits) -> Result<Credits, Overflow> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Credits(difference).plus(Credits::ZERO),
            None => Err(Overflow),
        }
    }

    /// `self` taken `times` times (R8: quantity n costs n times the price).
    ///
    /// # Errors
    /// [`Overflow`] beyond `±LIMIT`.
    pub const fn times(self, times: i64) -> Result<Credits, Overflow> {
        match self.0.checked_mul(times) {
            Some(product) if product.unsigned_abs() <= Self::LIMIT.0.unsigned_abs() => Ok(Credits(product)),
            _ => Err(Overflow),
        }
    }

    /// The same amount with the other sign. Amounts lie within `±LIMIT`, so this cannot overflow.
    #[must_use]
    pub const fn negated(self) -> Credits {
        Credits(self.0.wrapping_neg())
    }

    /// True for zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The pool that credits belong to: every figure is split into the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CreditType {
    /// Allocated each month; lapses at the month's end.
    Free,
    /// Bought in packs; never lapses.
    Purchased,
}

impl CreditType {
    /// Both.
    pub const ALL: &'static [CreditType] = &[CreditType::Free, CreditType::Purchased];

    /// The word used in every format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CreditType::Free => "free",
            CreditType::Purchased => "purchased",
        }
    }
}

impl fmt::Display for CreditType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An amount per credit type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    /// The part in free credits.
    pub free: Credits,
    /// The part in purchased credits.
    pub purchased: Credits,
}

impl Split {
    /// Nothing of either type.
    pub const ZERO: Split = Split { free: Credits::ZERO, purchased: Credits::ZERO };

    /// `credits` of one type.
    #[must_use]
    pub const fn of(credit_type: CreditType, credits: Credits) -> Split {
        match credit_type {
            CreditType::Free => Split { free: credits, purchased: Credits::ZERO },
            CreditType::Purchased => Split { free: Credits::ZERO, purchased: credits },
        }
    }

    /// The part of one type.
    #[must_use]
    pub const fn get(self, credit_type: CreditType) -> Credits {
        match credit_type {
            CreditType::Free => self.free,
            CreditType::Purchased => self.purchased,
        }
    }

    /// Both types added, part by part.
    ///
    /// # Errors
    /// [`Overflow`] when a part leaves `±Credits::LIMIT`.
    pub fn plus(self, other: Split) -> Result<Split, Overflow> {
        Ok(Split { free: self.free.plus(other.free)?, purchased: self.purchased.plus(other.purchased)? })
    }

    /// Free and purchased together. Both lie within `±LIMIT`, a thousandth of `i64`, so the sum is exact.
    #[must_use]
    pub const fn total(self) -> Credits {
        Credits::new(self.free.get().saturating_add(self.purchased.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_limit_in_both_directions() {
        let one = Credits::new(1);
        assert_eq!(Credits::LIMIT.plus(one), Err(Overflow));
        assert_eq!(Credits::LIMIT.negated().minus(one), Err(Overflow));
        assert_eq!(Credits::LIMIT.times(2), Err(Overflow));
        assert_eq!(Credits::new(i64::MIN).plus(Credits::ZERO), Err(Overflow));
        assert_eq!(Credits::ZERO.minus(Credits::new(i64::MIN)), Err(Overflow));
        assert_eq!(Credits::new(8).times(3), Ok(Credits::new(24)));
        assert_eq!(Credits::new(3).minus(Credits::new(8)), Ok(Credits::new(-5)));
    }

    #[test]
    fn a_split_adds_part_by_part() {
        let a = Split::of(CreditType::Free, Credits::new(5));
        let b = Split::of(CreditType::Purchased, Credits::new(7));
        let sum = a.plus(b).expect("small");
        assert_eq!((sum.free.get(), sum.purchased.get(), sum.total().get()), (5, 7, 12));
    }
}
