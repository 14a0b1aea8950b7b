//! What a statement says beside its credits: what was bought and returned for how much money, what purchased credits are
//! still owed, and how many accounts used credits or were short of them.
//!
//! Money is whole minor units of a currency, and currencies are never added together. A purchased credit is worth what
//! its own pack cost, one that was given is worth nothing. The worth of a part of a purchase is rounded to the nearest
//! minor unit, half of one up, purchase by purchase, and only then added up.

use super::super::calendar::Instant;
use super::super::credits::{CreditType, Credits, Overflow};
use super::super::transaction::{Entry, GrantId, Money};
use std::collections::BTreeMap;

/// A purchase, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// The grant that it made: the `seq` of its row.
    pub grant: GrantId,
    /// When it was made.
    pub occurred_at: Instant,
    /// How many packs.
    pub packs: i64,
    /// Credits in all of them.
    pub credits: Credits,
    /// What they cost.
    pub money: Money,
    /// When what was unspent of it was returned, and how much that was.
    pub returned: Option<(Instant, Credits)>,
}

impl Bought {
    /// What `part` of its credits cost, in minor units.
    fn worth(&self, part: Credits) -> Result<i64, Overflow> {
        let whole = i128::from(self.credits.get());
        if whole <= 0 {
            return Ok(0);
        }
        let exact = i128::from(self.money.minor) * i128::from(part.get()) * 2 + whole;
        i64::try_from(exact.div_euclid(whole * 2)).map_err(|_| Overflow)
    }
}

/// What was sold in one currency, over a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    /// Purchases.
    pub purchases: u64,
    /// Packs in them.
    pub packs: u64,
    /// Credits in them.
    pub credits: Credits,
    /// What they cost, in minor units.
    pub revenue_minor: i64,
    /// Credits that were returned, of purchases of any time.
    pub returned: Credits,
    /// What these had cost, in minor units.
    pub returned_minor: i64,
    /// Purchased credits that are there when the range is over.
    pub outstanding: Credits,
    /// What these had cost, in minor units.
    pub outstanding_minor: i64,
}

/// What a statement says beside its credits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Accounts in the report.
    pub accounts: u64,
    /// Accounts with an action in the range that was done.
    pub active: u64,
    /// Accounts with an action in the range that was refused for want of credits.
    pub short: u64,
    /// By currency.
    pub sales: BTreeMap<String, Sales>,
    /// Purchased credits that are there when the range is over; `remaining` of the statement.
    pub outstanding: Credits,
    /// Those of them that nobody paid for: bonuses.
    pub given: Credits,
}

impl Facts {
    /// Adds what an account bought until the end of `range`, its first and its first later instant, and what each of its
    /// grants of purchased credits held then.
    ///
    /// # Errors
    /// [`Overflow`] when a sum is out of range.
    pub fn add(
        &mut self,
        bought: &[Bought],
        left: &BTreeMap<GrantId, Credits>,
        (from, to): (Instant, Instant),
    ) -> Result<(), Overflow> {
        let mut paid = Credits::ZERO;
        for purchase in bought.iter().filter(|purchase| purchase.occurred_at < to) {
            let is_inside = |at: Instant| from <= at && at < to;
            let outstanding = left.get(&purchase.grant).copied().unwrap_or(Credits::ZERO);
            let returned = purchase.returned.filter(|(at, _)| is_inside(*at)).map(|(_, credits)| credits);
            let is_sold = is_inside(purchase.occurred_at);
            paid = paid.plus(outstanding)?;
            if !is_sold && returned.is_none() && outstanding.is_zero() {
                continue;
            }
            let plus = |sum: i64, more: i64| sum.checked_add(more).ok_or(Overflow);
            let sales = self.sales.entry(purchase.money.currency.clone()).or_default();
            if is_sold {
                sales.purchases += 1;
                sales.packs = sales.packs.saturating_add(purchase.packs.unsigned_abs());
                sales.credits = sales.credits.plus(purchase.credits)?;
                sales.revenue_minor = plus(sales.revenue_minor, purchase.money.minor)?;
            }
            if let Some(credits) = returned {
                sales.returned = sales.returned.plus(credits)?;
                sales.returned_minor = plus(sales.returned_minor, purchase.worth(credits)?)?;
            }
            sales.outstanding = sales.outstanding.plus(outstanding)?;
            sales.outstanding_minor = plus(sales.outstanding_minor, purchase.worth(outstanding)?)?;
        }
        let all = left.values().try_fold(Credits::ZERO, |sum, credits| sum.plus(*credits))?;
        self.outstanding = self.outstanding.plus(all)?;
        self.given = self.given.plus(all.minus(paid)?)?;
        Ok(())
    }
}

/// Takes out of `left`, what the grants of purchased credits of an account hold, what a row of later changed in them: so
/// is found what they held before.
///
/// # Errors
/// [`Overflow`] when a sum is out of range.
pub fn undo(left: &mut BTreeMap<GrantId, Credits>, entries: &[Entry]) -> Result<(), Overflow> {
    for Entry { grant, delta, .. } in entries.iter().filter(|entry| entry.credit_type == CreditType::Purchased) {
        let held = left.entry(*grant).or_default();
        *held = held.minus(*delta)?;
    }
    Ok(())
}

/// Puts what a row changed into what grants of purchased credits hold.
///
/// # Errors
/// [`Overflow`] when a sum is out of range.
pub fn redo(left: &mut BTreeMap<GrantId, Credits>, entries: &[Entry]) -> Result<(), Overflow> {
    for Entry { grant, delta, .. } in entries.iter().filter(|entry| entry.credit_type == CreditType::Purchased) {
        let held = left.entry(*grant).or_default();
        *held = held.plus(*delta)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_purchase_is_worth_its_share_to_the_nearest_unit() {
        let worth = |minor, credits, part| {
            let money = Money { minor, currency: "USD".to_owned() };
            let (grant, occurred_at, credits) = (GrantId(1), Instant::MIN, Credits::new(credits));
            let bought = Bought { grant, occurred_at, packs: 1, credits, money, returned: None };
            bought.worth(Credits::new(part))
        };
        assert_eq!(worth(2_500, 2_500, 1), Ok(1));
        assert_eq!(worth(2_499, 2_500, 2_500), Ok(2_499));
        assert_eq!(worth(1, 2, 1), Ok(1));
        assert_eq!(worth(1, 3, 1), Ok(0));
        assert_eq!(worth(2, 3, 1), Ok(1));
        assert_eq!(worth(0, 2_500, 7), Ok(0));
        assert_eq!(worth(5, 0, 0), Ok(0));
        let limit = Credits::LIMIT.get();
        assert_eq!(worth(i64::MAX, limit, limit), Ok(i64::MAX));
        assert_eq!(worth(i64::MAX, 1, limit), Err(Overflow));
    }
}
