//! What of a balance ends or stays, and what it would be if less were left.

use super::Balance;
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::forecast::GrantLeft;

impl Balance {
    /// What lapses at some time beside the free credits that lapse with the month, those that end first before others.
    #[must_use]
    pub fn ending(&self) -> Vec<GrantLeft> {
        let is_with_month =
            |of: &GrantLeft| of.credit_type == CreditType::Free && of.ends_at == Some(self.month_ends_at);
        self.bonuses.iter().filter(|bonus| bonus.ends_at.is_some() && !is_with_month(bonus)).copied().collect()
    }

    /// What of the purchased credits never lapses.
    #[must_use]
    pub fn purchased_without_end(&self) -> Credits {
        let is_ending = |bonus: &&GrantLeft| bonus.credit_type == CreditType::Purchased && bonus.ends_at.is_some();
        self.bonuses.iter().filter(is_ending).fold(self.available.purchased, |left, grant| less(left, grant.credits))
    }

    /// The same account as if it had come to `left` credits now: charges took what is more, in burn order (R5), or so many more of
    /// the month's allowance were still there.
    #[must_use]
    pub fn with_left(mut self, left: Credits) -> Balance {
        let mut over = self.available.total().get() - left.get();
        if over < 0 {
            let more = Credits::new(-over);
            let (credit_type, ends_at) = (CreditType::Free, Some(self.month_ends_at));
            let at = self.allowance_at.unwrap_or_else(|| {
                let at = self.grants.partition_point(|grant| grant.ends_at.is_some() && grant.ends_at < ends_at);
                self.grants.insert(at, GrantLeft { credit_type, ends_at, credits: Credits::ZERO });
                at
            });
            self.allowance_at = Some(at);
            let allowance = &mut self.grants[at].credits;
            for sum in [allowance, &mut self.available.free, &mut self.allowance_left, &mut self.lapsing] {
                *sum = Credits::new(sum.get() + more.get());
            }
            return self;
        }
        for (at, grant) in self.grants.iter_mut().enumerate() {
            let taken = Credits::new(over.min(grant.credits.get()).max(0));
            over -= taken.get();
            grant.credits = less(grant.credits, taken);
            let Split { free, purchased } = Split::of(grant.credit_type, taken);
            let available = &mut self.available;
            (available.free, available.purchased) = (less(available.free, free), less(available.purchased, purchased));
            if grant.credit_type == CreditType::Free && grant.ends_at == Some(self.month_ends_at) {
                self.lapsing = less(self.lapsing, taken);
            }
            let is_same =
                |bonus: &&mut GrantLeft| (bonus.credit_type, bonus.ends_at) == (grant.credit_type, grant.ends_at);
            if self.allowance_at == Some(at) {
                self.allowance_left = less(self.allowance_left, taken);
            } else if let Some(bonus) = self.bonuses.iter_mut().find(is_same) {
                bonus.credits = less(bonus.credits, taken);
            }
        }
        let used_up = self.grants.iter().take_while(|grant| grant.credits.is_zero()).count();
        self.grants.drain(..used_up);
        self.allowance_at = self.allowance_at.and_then(|at| at.checked_sub(used_up));
        self.bonuses.retain(|bonus| !bonus.credits.is_zero());
        self
    }
}

/// `some` less `taken`, which is not more.
fn less(some: Credits, taken: Credits) -> Credits {
    Credits::new((some.get() - taken.get()).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Instant, Month};
    use crate::core::ids::AccountId;
    use crate::core::ledger::AccountStatus;

    /// 100 of the month, free bonuses of 10 before its end and 20 without one, purchased ones of 30 at its end, and a pack of 40, which
    /// came before the free ones without end.
    fn balance() -> Balance {
        let at = |text: &str| Instant::parse(text).expect("an instant");
        let grant = |credit_type, ends_at: Option<&str>, credits| GrantLeft {
            credit_type,
            ends_at: ends_at.map(at),
            credits: Credits::new(credits),
        };
        let month = Month::new(2013, 3).expect("a month");
        let sooner = grant(CreditType::Free, Some("2013-03-10T00:00:00Z"), 10);
        let allowance = grant(CreditType::Free, Some("2013-04-01T00:00:00Z"), 100);
        let with_month = grant(CreditType::Purchased, Some("2013-04-01T00:00:00Z"), 30);
        let (pack, later) = (grant(CreditType::Purchased, None, 40), grant(CreditType::Free, None, 20));
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
            allowance_left: allowance.credits,
            lapsing: allowance.credits,
            bonuses: vec![sooner, with_month, later],
            grants: vec![sooner, allowance, with_month, pack, later],
            allowance_at: Some(1),
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
            (50, "20 free (0 of the month), 30 purchased, bonuses 20"),
            (7, "7 free (0 of the month), 0 purchased, bonuses 7"),
            (0, "0 free (0 of the month), 0 purchased, bonuses"),
        ] {
            let Balance { available, lapsing, bonuses, .. } = balance().with_left(Credits::new(left));
            let bonuses: String = bonuses.iter().map(|bonus| format!(" {}", bonus.credits)).collect();
            let Split { free, purchased } = available;
            assert_eq!(format!("{free} free ({lapsing} of the month), {purchased} purchased, bonuses{bonuses}"), said);
        }
    }

    /// What is more of the allowance is used where the allowance is, also where nothing of it was left.
    #[test]
    fn more_of_the_allowance_has_its_turn() {
        for is_used_up in [false, true] {
            let mut balance = balance();
            if is_used_up {
                balance = balance.with_left(Credits::new(90));
                balance.grants.insert(0, self::balance().grants[0]);
                balance.available.free = Credits::new(30);
            }
            let there = if is_used_up { 0 } else { 100 };
            let total = balance.available.total().get();
            let more = balance.with_left(Credits::new(total + 7));
            assert_eq!((more.allowance_at, more.allowance_left), (Some(1), Credits::new(there + 7)));
            let turns: Vec<i64> = more.grants.iter().map(|grant| grant.credits.get()).collect();
            assert_eq!(turns, [10, there + 7, 30, 40, 20]);
        }
    }

    /// A free bonus that ends with the month is used before the allowance or after it, whichever its turn is.
    #[test]
    fn a_bonus_that_ends_with_the_month_has_its_turn() {
        for (bonus_at, of_allowance, of_bonus) in [(1, 100, 5), (2, 75, 30)] {
            let mut balance = balance();
            let credits = Credits::new(30);
            let bonus = GrantLeft { credits, ..balance.grants[1] };
            balance.grants.insert(bonus_at, bonus);
            balance.allowance_at = Some(3 - bonus_at);
            balance.bonuses.insert(1, bonus);
            balance.available.free = Credits::new(160);
            balance.lapsing = Credits::new(130);
            // The 10 that end before, and 25 of what is next.
            let left = balance.with_left(Credits::new(195));
            let allowance = left.allowance_at.map(|at| left.grants[at].credits);
            assert_eq!(
                (left.allowance_left, allowance),
                (Credits::new(of_allowance), Some(Credits::new(of_allowance)))
            );
            assert_eq!((left.bonuses[0].credits, left.lapsing), (Credits::new(of_bonus), Credits::new(105)));
        }
    }

    #[test]
    fn no_purchased_bonus_that_ends_stays() {
        let mut balance = balance();
        assert_eq!(balance.purchased_without_end(), Credits::new(40));
        balance.bonuses[1].ends_at = Some(balance.month_ends_at.plus_days(1));
        assert_eq!(balance.purchased_without_end(), Credits::new(40));
    }
}
