//! The lots of an account: those it was given, those of its months, and what is left of each.

use super::months::{first_day, number};
use super::{Answer, Hold, Naive};
use std::collections::BTreeMap;

/// Some credits that are used together.
#[derive(Clone, Debug)]
pub struct Lot {
    pub label: String,
    /// Where a statement counts it: `allocated`, `purchased` or `bonus`.
    pub column: &'static str,
    pub is_free: bool,
    pub starts_us: i64,
    pub ends_us: i64,
    /// Order of arrival; `None` for the lot of a month that nothing has reached yet.
    pub arrival: Option<usize>,
    pub amount: i64,
    pub consumed: i64,
    pub refunded: i64,
    /// Refunded after its end, and gone at once.
    pub lost: i64,
    pub returned: i64,
    pub adjusted: i64,
    pub held: i64,
    /// What was taken of it for good, negative, and what came back while it lasted: when, and how many credits.
    pub moves: Vec<(i64, i64)>,
}

impl Lot {
    pub fn new(
        column: &'static str,
        label: String,
        is_free: bool,
        (starts_us, ends_us): (i64, i64),
        amount: i64,
    ) -> Lot {
        let (consumed, refunded, lost, returned, adjusted, held) = (0, 0, 0, 0, 0, 0);
        let (arrival, moves) = (None, Vec::new());
        #[rustfmt::skip]
        let lot = Lot {
            label, column, is_free, starts_us, ends_us, arrival,
            amount, consumed, refunded, lost, returned, adjusted, held, moves,
        };
        lot
    }

    /// What is left of it, whether or not its time is over.
    pub const fn left(&self) -> i64 {
        self.amount - self.consumed + self.refunded - self.lost - self.returned - self.adjusted - self.held
    }

    /// What is left of it that was there from `t_us` on, `held` being what is reserved of it, for usage told late: the
    /// least that it had at that instant or at any later one. The least from each instant on is written down, and moved on
    /// by each move. On a clock that was set back, what comes back before something that was known already gives nothing
    /// to what was before.
    pub fn left_then(&self, t_us: i64, held: &[(i64, i64)]) -> i64 {
        let taken: Vec<(i64, i64)> = held.iter().map(|(at, credits)| (*at, -credits)).collect();
        let mut least: BTreeMap<i64, i64> =
            self.moves.iter().chain(&taken).map(|(at, _)| (*at, self.amount)).chain([(t_us, self.amount)]).collect();
        for (at, credits) in self.moves.iter().chain(&taken) {
            let then = least[at] + credits;
            for (instant, least) in &mut least {
                if instant >= at {
                    *least += credits;
                } else {
                    *least = then.min(*least);
                }
            }
        }
        least[&t_us].max(0)
    }
}

impl Naive {
    /// What `cost` takes of which lots at `at_us`, in burn order; nothing when it does not suffice.
    pub fn take(&self, cost: i64, at_us: i64, is_late: bool, is_free: Option<bool>) -> Option<Vec<(String, i64)>> {
        let of_type = |lot: &&Lot| is_free.is_none_or(|wanted| lot.is_free == wanted);
        let is_there = |lot: &&Lot| (lot.starts_us..lot.ends_us).contains(&at_us);
        let mut usable: Vec<&Lot> = self.lots.iter().filter(is_there).filter(of_type).collect();
        usable.sort_by_key(|lot| (lot.ends_us, lot.starts_us, lot.arrival.unwrap_or(usize::MAX)));
        let mut missing = cost;
        let mut parts = Vec::new();
        for lot in usable {
            let left = if is_late { lot.left_then(at_us, &self.held_of(&lot.label)) } else { lot.left() };
            let part = left.min(missing);
            missing -= part;
            if part > 0 {
                parts.push((lot.label.clone(), part));
            }
        }
        (missing == 0).then_some(parts)
    }

    /// When what is reserved of a lot was reserved, and how much.
    fn held_of(&self, label: &str) -> Vec<(i64, i64)> {
        let open = self.holds.iter().filter(|hold| hold.settled.is_none());
        let parts = open.flat_map(|hold| hold.parts.iter().map(|(of, credits)| (of, hold.at_us, *credits)));
        parts.filter(|(of, ..)| *of == label).map(|(_, at, credits)| (at, credits)).collect()
    }

    pub fn lot(&mut self, label: &str) -> &mut Lot {
        self.lots.iter_mut().find(|lot| lot.label == label).expect("a lot that there is")
    }

    /// Adds a lot that somebody gave.
    pub fn add(&mut self, lot: Lot) -> Answer {
        let answer = Answer::Done(lot.starts_us, vec![(lot.label.clone(), lot.amount)]);
        self.lots.push(Lot { arrival: Some(self.arrived), ..lot });
        self.arrived += 1;
        answer
    }

    /// Time has come to `at_us` for this account, on a clock that shows `now_us`.
    pub fn reach(&mut self, at_us: i64, now_us: i64) {
        let is_over = |hold: &Hold| hold.settled.is_none() && hold.ends_us <= now_us;
        while let Some(at) = self.holds.iter().position(is_over) {
            self.settle(at, "", None, "hold_expired");
        }
        self.lay(at_us);
        for lot in self.lots.iter_mut().filter(|lot| lot.arrival.is_none() && lot.starts_us <= at_us) {
            lot.arrival = Some(self.arrived);
            self.arrived += 1;
            let month = lot.label.replace("free:", "") + "-01";
            self.last_month = Some(number(month.parse().expect("a date")));
        }
    }

    /// Lays out the lots of all months that begin by `until_us`. A closed account gets none.
    pub fn lay(&mut self, until_us: i64) {
        while self.months.start(self.next_month) <= until_us {
            let n = self.next_month;
            self.next_month += 1;
            let mut starts_us = self.months.start(n).max(self.opened_us);
            for (closed, reopened) in &self.closures {
                if (*closed..*reopened).contains(&starts_us) {
                    starts_us = *reopened;
                }
            }
            if starts_us < self.months.end(n) {
                let label = format!("free:{}", first_day(n).format("%Y-%m"));
                let window = (starts_us, self.months.end(n));
                self.lots.push(Lot::new("allocated", label, true, window, self.months.terms(n).1));
            }
        }
    }

    /// Lays out the months again that nothing has reached yet.
    pub fn lay_again(&mut self) {
        self.lots.retain(|lot| lot.arrival.is_some());
        self.next_month = self.last_month.map_or(self.first_month, |last| last + 1);
    }
}
