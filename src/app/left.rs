//! What of a balance stays beyond the month, and what it would be if less were left.

use super::{Balance, BonusLeft};
use crate::core::credits::{CreditType, Credits};

impl Balance {
    /// What of the purchased credits does not lapse with the month or before it.
    #[must_use]
    pub fn purchased_beyond_month(&self) -> Credits {
        let ending = self.bonuses.iter().filter_map(BonusLeft::ending);
        let lapsing =
            ending.filter(|grant| grant.credit_type == CreditType::Purchased && grant.ends_at <= self.month_ends_at);
        lapsing.fold(self.available.purchased, |left, grant| Credits::new((left.get() - grant.credits.get()).max(0)))
    }

    /// The same account as if it had come to `left` credits now: charges took what is more, in burn order (R5; of what never
    /// ends, free ones first), or so many more of the month's free credits were still there.
    #[must_use]
    pub fn with_left(mut self, left: Credits) -> Balance {
        let mut over = self.available.total().get() - left.get();
        if over < 0 {
            self.lapsing = Credits::new(self.lapsing.get() - over);
            self.available.free = Credits::new(self.available.free.get() - over);
            return self;
        }
        let available = &mut self.available;
        let mut take = |of: CreditType, there: Credits| {
            let taken = over.min(there.get()).max(0);
            over -= taken;
            let pool = match of {
                CreditType::Free => &mut available.free,
                CreditType::Purchased => &mut available.purchased,
            };
            *pool = Credits::new(pool.get() - taken);
            Credits::new(there.get() - taken)
        };
        // They are in the order of their ends.
        let is_sooner = |bonus: &BonusLeft| bonus.ends_at.is_some_and(|end| end < self.month_ends_at);
        let later = self.bonuses.partition_point(is_sooner);
        let (sooner, later) = self.bonuses.split_at_mut(later);
        sooner.iter_mut().for_each(|bonus| bonus.credits = take(bonus.credit_type, bonus.credits));
        self.lapsing = take(CreditType::Free, self.lapsing);
        later.iter_mut().for_each(|bonus| bonus.credits = take(bonus.credit_type, bonus.credits));
        // What is still over is of packs: all else is used up.
        take(CreditType::Purchased, Credits::LIMIT);
        self.bonuses.retain(|bonus| !bonus.credits.is_zero());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Instant, Month};
    use crate::core::credits::Split;
    use crate::core::ids::AccountId;
    use crate::core::ledger::AccountStatus;

    /// 100 of the month, free bonuses of 10 before its end and 20 without one, purchased ones of 30 at its end, and packs of 40.
    fn balance() -> Balance {
        let at = |text: &str| Instant::parse(text).expect("an instant");
        let bonus = |credit_type, ends_at: Option<&str>, credits| BonusLeft {
            credit_type,
            ends_at: ends_at.map(at),
            credits: Credits::new(credits),
        };
        let month = Month::new(2013, 3).expect("a month");
        Balance {
            account: AccountId::new("acme").expect("an id"),
            at: at("2013-03-05T12:00:00Z"),
            available: Split { free: Credits::new(130), purchased: Credits::new(70) },
            held: Split::default(),
            status: AccountStatus::Open,
            opened_at: at("2013-01-01T00:00:00Z"),
            month,
            allowance: Credits::new(1_500),
            month_ends_at: at("2013-04-01T00:00:00Z"),
            lapsing: Credits::new(100),
            bonuses: vec![
                bonus(CreditType::Free, Some("2013-03-10T00:00:00Z"), 10),
                bonus(CreditType::Purchased, Some("2013-04-01T00:00:00Z"), 30),
                bonus(CreditType::Free, None, 20),
            ],
            next_reset_at: None,
            next_allowance: Credits::ZERO,
            zone: chrono_tz::Tz::UTC,
        }
    }

    #[test]
    fn what_is_over_was_used_in_burn_order() {
        for (left, said) in [
            (250, "180 free (150 of the month), 70 purchased, bonuses 10 30 20"),
            (200, "130 free (100 of the month), 70 purchased, bonuses 10 30 20"),
            (195, "125 free (100 of the month), 70 purchased, bonuses 5 30 20"),
            (150, "80 free (60 of the month), 70 purchased, bonuses 30 20"),
            (85, "20 free (0 of the month), 65 purchased, bonuses 25 20"),
            (50, "10 free (0 of the month), 40 purchased, bonuses 10"),
            (7, "0 free (0 of the month), 7 purchased, bonuses"),
            (0, "0 free (0 of the month), 0 purchased, bonuses"),
        ] {
            let Balance { available, lapsing, bonuses, .. } = balance().with_left(Credits::new(left));
            let bonuses: String = bonuses.iter().map(|bonus| format!(" {}", bonus.credits)).collect();
            let Split { free, purchased } = available;
            assert_eq!(format!("{free} free ({lapsing} of the month), {purchased} purchased, bonuses{bonuses}"), said);
        }
    }

    #[test]
    fn a_purchased_bonus_that_ends_with_the_month_does_not_stay() {
        assert_eq!(balance().purchased_beyond_month(), Credits::new(40));
    }
}
