//! What the oracle is asked: what may be done at an instant, and what everything adds up to.

use super::lots::Lot;
use super::{NEVER, Naive};
use std::collections::BTreeMap;
use std::ops::Range;

/// The columns of a statement between what is carried in and what remains, in its order.
pub const COLUMNS: [&str; 8] =
    ["allocated", "purchased", "bonus", "consumed", "refunded", "lapsed", "returned", "adjusted"];

/// A statement of one credit type: carried in, [`COLUMNS`], remaining.
pub type Statement = [i64; 10];

impl Naive {
    pub(super) fn check_time(&self, at_us: i64, now_us: i64) -> Result<(), &'static str> {
        match () {
            () if at_us > now_us => Err("in_future"),
            () if at_us < self.opened_us => Err("not_opened"),
            () => Ok(()),
        }
    }

    pub(super) fn price(&self, action: &str, at_us: i64) -> Result<i64, &'static str> {
        let versions = self.prices.iter().filter(|(known, from, _)| *known == action && *from <= at_us);
        let (_, _, credits) = versions.max_by_key(|(_, from, _)| from).ok_or("unknown_action")?;
        credits.ok_or("retired_action")
    }

    pub(super) fn check_open(&self, at_us: i64) -> Result<(), &'static str> {
        let is_closed = self.closures.iter().any(|(from, to)| (*from..*to).contains(&at_us));
        if is_closed { Err("account_closed") } else { Ok(()) }
    }

    pub fn is_open_at(&self, t_us: i64) -> bool {
        self.opened_us <= t_us && self.check_open(t_us).is_ok()
    }

    pub fn is_closed(&self) -> bool {
        self.closures.last().is_some_and(|(_, to)| *to == NEVER)
    }

    /// The first instant that no closed month contains.
    pub fn open_from(&self) -> i64 {
        self.closed_month.map_or(i64::MIN, |closed| self.months.end(closed))
    }

    /// The last month that was opened again and that nobody has closed since.
    pub fn reopened_through(&self) -> Option<i32> {
        self.reopened.last().copied()
    }

    pub(super) fn check_month(&self, at_us: i64) -> Result<(), &'static str> {
        if at_us < self.open_from() { Err("month_closed") } else { Ok(()) }
    }

    /// When a month is over, and whatever was reserved in it, too.
    pub(super) fn month_over(&self, month: i32) -> i64 {
        let end_us = self.months.end(month);
        let open = self.holds.iter().filter(|hold| hold.settled.is_none() && hold.at_us < end_us);
        open.map(|hold| hold.ends_us).fold(end_us, i64::max)
    }

    /// What a user used in a month: charged or held in it, less what was given back of that.
    pub fn used(&self, user: &str, month: i32) -> i64 {
        let window = self.months.start(month)..self.months.end(month);
        let moved = self.moved.iter().filter(|moved| moved.user == Some(user) && window.contains(&moved.used_us));
        let sign = |column| if column == "refunded" { -1 } else { 1 };
        let charged: i64 = moved.map(|moved| sign(moved.column) * moved.credits).sum();
        let open = self.holds.iter().filter(|hold| hold.settled.is_none() && hold.user == Some(user));
        let held = open.filter(|hold| window.contains(&hold.at_us)).flat_map(|hold| &hold.parts);
        charged + held.map(|(_, credits)| credits).sum::<i64>()
    }

    /// Every cap, and what its user used of it, by month.
    pub fn caps(&self) -> BTreeMap<&'static str, (i64, BTreeMap<i32, i64>)> {
        let used = |user: &str| {
            let charged = self.moved.iter().filter(|moved| moved.user == Some(user)).map(|moved| moved.used_us);
            let held = self.holds.iter().filter(|hold| hold.user == Some(user)).map(|hold| hold.at_us);
            let months = charged.chain(held).map(|at| self.months.of(at));
            months.map(|month| (month, self.used(user, month))).filter(|(_, used)| *used != 0).collect()
        };
        self.caps.iter().map(|(user, cap)| (*user, (*cap, used(user)))).collect()
    }

    /// The instants at which its months ended by `t_us`.
    pub fn month_ends(&self, t_us: i64) -> Vec<i64> {
        (self.first_month..).map(|n| self.months.end(n)).take_while(|end| *end <= t_us).collect()
    }

    /// The months that have begun by `t_us`, from the first on.
    pub fn months_until(&self, t_us: i64) -> Vec<Range<i64>> {
        let begun = (self.first_month..).map(|n| self.months.start(n)..self.months.end(n));
        begun.take_while(|month| month.start <= t_us).collect()
    }

    /// The keys of what is reserved at `t_us`, with the end of each.
    pub fn open_holds(&self, t_us: i64) -> Vec<(&str, i64)> {
        let open = self.holds.iter().filter(|hold| hold.settled.is_none() && t_us < hold.ends_us);
        open.map(|hold| (hold.key.as_str(), hold.ends_us)).collect()
    }

    /// What can be captured of a hold, and what can be refunded of a charge.
    pub fn total_of(&self, key: &str) -> i64 {
        let held = self.holds.iter().filter(|hold| hold.key == key && hold.settled.is_none());
        let held: i64 = held.flat_map(|hold| &hold.parts).map(|(_, credits)| credits).sum();
        let charged = self.charges.iter().filter(|charge| charge.key == key);
        let left = charged.map(|charge| {
            charge.parts.iter().map(|(_, credits)| credits).sum::<i64>() - charge.refunded.values().sum::<i64>()
        });
        held + left.sum::<i64>()
    }

    /// How many of an action a user could pay for at `t_us`.
    pub fn affordable(&self, action: &str, user: Option<&str>, t_us: i64) -> i64 {
        let (then, (free, purchased)) = (self.at(t_us), self.available(t_us));
        let cap = user.and_then(|user| Some(then.caps.get(user)? - then.used(user, then.months.of(t_us))));
        let credits = cap.map_or(free + purchased, |cap| cap.min(free + purchased));
        self.price(action, t_us).map_or(credits, |price| if price > 0 { credits / price } else { 1 })
    }

    /// The account at `t_us`.
    fn at(&self, t_us: i64) -> Naive {
        let mut then = self.clone();
        then.reach(t_us, t_us);
        then
    }

    /// The job passes.
    pub fn job(&mut self, now_us: i64) {
        self.reach(now_us, now_us);
    }

    /// Free and purchased credits that a charge at `t_us` can use.
    pub fn available(&self, t_us: i64) -> (i64, i64) {
        let then = self.at(t_us);
        let of_type = |is_free| {
            let usable = |lot: &&Lot| lot.is_free == is_free && (lot.starts_us..lot.ends_us).contains(&t_us);
            then.lots.iter().filter(usable).map(Lot::left).sum()
        };
        (of_type(true), of_type(false))
    }

    /// The amount of every lot at `t_us`, than which nothing was later, and what of it was consumed, refunded, lapsed, lapsed
    /// at once when it was refunded, returned, adjusted, is held and remains.
    pub fn lots(&self, t_us: i64) -> BTreeMap<String, [i64; 9]> {
        let then = self.at(t_us);
        let begun = then.lots.iter().filter(|lot| lot.arrival.is_some());
        let figures = |lot: &Lot| {
            let (lapsed, remaining) = if lot.ends_us <= t_us { (lot.left(), 0) } else { (0, lot.left()) };
            let Lot { amount, consumed, refunded, lost, returned, adjusted, held, .. } = *lot;
            [amount, consumed, refunded, lapsed + lost, lost, returned, adjusted, held, remaining]
        };
        begun.map(|lot| (lot.label.clone(), figures(lot))).collect()
    }

    /// The statements of free and of purchased credits over a range, as they read at `t_us`, than which nothing was later.
    pub fn statements(&self, range: &Range<i64>, t_us: i64) -> [Statement; 2] {
        let then = self.at(t_us);
        let mut moved: Vec<(i64, &str, bool, i64)> =
            then.moved.iter().map(|moved| (moved.at_us, moved.column, moved.is_free, moved.credits)).collect();
        for lot in then.lots.iter().filter(|lot| lot.arrival.is_some()) {
            moved.push((lot.starts_us, lot.column, lot.is_free, lot.amount));
            if lot.ends_us <= t_us {
                // The instant at which it lapses is the first of the next range, and what lapses counts in the one it ends.
                moved.push((lot.ends_us - 1, "lapsed", lot.is_free, lot.left()));
            }
        }
        for hold in then.holds.iter().filter(|hold| hold.settled.is_none()) {
            for (label, credits) in &hold.parts {
                let is_free = then.lots.iter().any(|lot| lot.label == *label && lot.is_free);
                moved.push((hold.at_us, "consumed", is_free, *credits));
            }
        }
        let sum = |column: &str, is_free, window: Range<i64>| -> i64 {
            let there =
                moved.iter().filter(|(at, of, free, _)| window.contains(at) && *of == column && *free == is_free);
            there.map(|(.., credits)| credits).sum()
        };
        let gives = |column| matches!(column, "allocated" | "purchased" | "bonus" | "refunded");
        [true, false].map(|is_free| {
            let net = |window: Range<i64>| -> i64 {
                let signed = |column| if gives(column) { 1 } else { -1 } * sum(column, is_free, window.clone());
                COLUMNS.into_iter().map(signed).sum()
            };
            let mut figures = [0; 10];
            figures[0] = net(i64::MIN..range.start);
            for (figure, column) in figures[1..].iter_mut().zip(COLUMNS) {
                *figure = sum(column, is_free, range.clone());
            }
            // Operators give by a bonus, so what they adjust is less by that much.
            figures[8] = -figures[8];
            figures[9] = net(i64::MIN..range.end);
            figures
        })
    }
}
