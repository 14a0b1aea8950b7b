//! What an account has, by plain lists: the oracle of the ledger.
//!
//! Written from the rules of credit alone, and by other means than the ledger: the lots of months are laid out ahead of
//! time, a lapse is merely what is left of a lot whose time is over, and what anybody used is looked up in a list of all
//! that ever moved. So it cannot share a mistake about when something is brought up to date.

mod lots;
mod months;
mod questions;

pub use months::{first_day, midnight};

use chrono::NaiveDate;
use chrono_tz::Tz;
use lots::Lot;
use months::{Months, number};
use std::collections::{BTreeMap, BTreeSet};

/// Never.
const NEVER: i64 = i64::MAX;

/// Something asked of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its idempotency key.
    pub key: String,
    /// When it happened, where that is told.
    pub told_us: Option<i64>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Charge {
        action: &'static str,
        quantity: i64,
        user: Option<&'static str>,
        failed: bool,
        post_to_open: bool,
    },
    Hold {
        action: &'static str,
        quantity: i64,
        user: Option<&'static str>,
        ttl_s: i64,
    },
    Capture {
        hold: String,
        credits: Option<i64>,
    },
    Void {
        hold: String,
    },
    Refund {
        charge: String,
        credits: Option<i64>,
    },
    Purchase {
        packs: i64,
    },
    Return {
        purchase: String,
    },
    Bonus {
        is_free: bool,
        credits: i64,
        until_us: Option<i64>,
        comment: &'static str,
    },
    Adjust {
        is_free: bool,
        credits: i64,
        comment: &'static str,
    },
    Terms {
        zone: Option<Tz>,
        allowance: Option<i64>,
    },
    Cap {
        user: &'static str,
        credits: Option<i64>,
    },
    Closing {
        reopen: bool,
        comment: &'static str,
    },
    /// A month, counted from year 0.
    Month {
        month: i32,
        reopen: bool,
        comment: &'static str,
    },
}

impl Call {
    /// R9: what becomes of usage of a closed month is a choice and not a fact about it.
    fn is_the_same(&self, other: &Call) -> bool {
        let plain = |call: &Call| {
            let mut call = call.clone();
            if let What::Charge { post_to_open, .. } = &mut call.what {
                *post_to_open = false;
            }
            call
        };
        plain(self) == plain(other)
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, at an instant: how many credits moved of which lots, in order. Negative numbers were taken.
    Done(i64, Vec<(String, i64)>),
    /// Logged as failed: not done at the platform, or creditd refused it for a reason.
    Failed(i64, Option<&'static str>),
    /// Nothing was written.
    Error(&'static str),
}

/// A reservation.
#[derive(Clone, Debug)]
struct Hold {
    key: String,
    user: Option<&'static str>,
    at_us: i64,
    ends_us: i64,
    parts: Vec<(String, i64)>,
    /// Why it cannot be captured any more.
    settled: Option<&'static str>,
}

/// A charge in the log: what it took, and what of that came back.
#[derive(Clone, Debug)]
struct Charge {
    key: String,
    at_us: i64,
    user: Option<&'static str>,
    parts: Vec<(String, i64)>,
    refunded: BTreeMap<String, i64>,
}

/// Credits that moved in a column of the statement.
#[derive(Clone, Debug)]
struct Moved {
    at_us: i64,
    /// When the action was that used it: what is refunded was used when it was charged.
    used_us: i64,
    column: &'static str,
    is_free: bool,
    credits: i64,
    user: Option<&'static str>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct Naive {
    pub months: Months,
    first_month: i32,
    opened_us: i64,
    pack: i64,
    prices: Vec<(&'static str, i64, Option<i64>)>,
    lots: Vec<Lot>,
    /// The first month that has not been laid out, and the last that something has reached.
    next_month: i32,
    last_month: Option<i32>,
    arrived: usize,
    holds: Vec<Hold>,
    charges: Vec<Charge>,
    returned: Vec<String>,
    moved: Vec<Moved>,
    caps: BTreeMap<&'static str, i64>,
    /// When it was closed, until when.
    closures: Vec<(i64, i64)>,
    closed_month: Option<i32>,
    /// Months that were closed and opened again.
    reopened: BTreeSet<i32>,
    calls: Vec<(Call, Answer)>,
}

type Answered = Result<Answer, &'static str>;

impl Naive {
    /// An account in `zone` that opens on a local day.
    pub fn new(zone: Tz, opened_on: NaiveDate, allowance: i64, pack: i64) -> Naive {
        let months = Months::new(number(opened_on), zone, allowance);
        let opened_us = midnight(zone, opened_on);
        let first_month = months.of(opened_us);
        Naive {
            first_month,
            opened_us,
            pack,
            prices: Vec::new(),
            lots: Vec::new(),
            next_month: first_month,
            last_month: None,
            arrived: 0,
            holds: Vec::new(),
            charges: Vec::new(),
            returned: Vec::new(),
            moved: Vec::new(),
            caps: BTreeMap::new(),
            closures: Vec::new(),
            closed_month: None,
            reopened: BTreeSet::new(),
            calls: Vec::new(),
            months,
        }
    }

    /// An action costs so much from then on, or is retired.
    pub fn set_price(&mut self, action: &'static str, from_us: i64, credits: Option<i64>) {
        self.prices.retain(|(known, from, _)| (*known, *from) != (action, from_us));
        self.prices.push((action, from_us, credits));
    }

    /// Does what is asked; true when it was asked before.
    pub fn answer(&mut self, call: &Call, now_us: i64) -> (Answer, bool) {
        if let Some((first, answer)) = self.calls.iter().find(|(earlier, _)| earlier.key == call.key) {
            return if first.is_the_same(call) {
                (answer.clone(), true)
            } else {
                (Answer::Error("idempotency_conflict"), false)
            };
        }
        let mut tried = self.clone();
        match tried.first_answer(call, now_us) {
            Ok(answer) => {
                tried.calls.push((call.clone(), answer.clone()));
                *self = tried;
                (answer, false)
            }
            Err(code) => (Answer::Error(code), false),
        }
    }

    fn first_answer(&mut self, call: &Call, now_us: i64) -> Answered {
        let key = call.key.as_str();
        match &call.what {
            What::Charge { .. } => self.charge(call, now_us),
            What::Hold { action, quantity, user, ttl_s } => {
                self.check_time(now_us, now_us)?;
                check_count(*quantity, 1_000_000)?;
                check_count(*ttl_s, 86_400)?;
                let cost = self.price(action, now_us)? * quantity;
                self.check_open(now_us)?;
                self.check_month(now_us)?;
                self.reach(now_us, now_us);
                let parts = match self.burn(*user, cost, now_us, false) {
                    Ok(parts) => parts,
                    Err(reason) => return Ok(self.log_charge(key, *user, Err(Some(reason)), now_us)),
                };
                let ends_us = now_us + ttl_s * 1_000_000;
                parts.iter().for_each(|(label, credits)| self.lot(label).held += credits);
                let answer = Answer::Done(now_us, taken(&parts));
                self.holds.push(Hold {
                    key: key.to_owned(),
                    user: *user,
                    at_us: now_us,
                    ends_us,
                    parts,
                    settled: None,
                });
                Ok(answer)
            }
            What::Capture { hold, credits } => {
                self.check_time(now_us, now_us)?;
                let at = self.open_hold(hold, now_us)?;
                let held = self.holds[at].parts.iter().map(|(_, part)| part).sum();
                let captured = credits.unwrap_or(held);
                if captured < 0 || captured > held {
                    return Err("exceeds_hold");
                }
                self.reach(now_us, now_us);
                Ok(self.settle(at, key, Some(captured), "hold_captured"))
            }
            What::Void { hold } => {
                self.check_time(now_us, now_us)?;
                let at = self.open_hold(hold, now_us)?;
                self.reach(now_us, now_us);
                Ok(self.settle(at, key, None, "hold_voided"))
            }
            What::Refund { charge, credits } => self.refund(charge, *credits, now_us),
            What::Purchase { packs } => {
                let at_us = call.told_us.unwrap_or(now_us);
                self.check_time(at_us, now_us)?;
                check_count(*packs, 100_000)?;
                self.check_month(at_us)?;
                if call.told_us.is_none() {
                    self.reach(now_us, now_us);
                }
                let label = key.replace("purchase:", "pack:");
                Ok(self.add(Lot::new("purchased", label, false, (at_us, NEVER), packs * self.pack)))
            }
            What::Return { purchase } => {
                self.check_time(now_us, now_us)?;
                self.reach(now_us, now_us);
                let label = purchase.replace("purchase:", "pack:");
                let bought = self.lots.iter().find(|lot| lot.label == label && !self.returned.contains(purchase));
                let credits = bought.map_or(0, |lot| lot.left());
                if credits == 0 {
                    return Err("nothing_to_return");
                }
                self.check_month(now_us)?;
                let lot = self.lot(&label);
                lot.returned += credits;
                lot.moves.push((now_us, -credits));
                self.returned.push(purchase.clone());
                self.log("returned", &label, credits, None, now_us);
                Ok(Answer::Done(now_us, vec![(label, -credits)]))
            }
            What::Bonus { is_free, credits, until_us, comment } => {
                self.check_time(now_us, now_us)?;
                check_count(*credits, 1_000_000_000)?;
                check_reason(comment)?;
                if until_us.is_some_and(|end| end <= now_us) {
                    return Err("expires_in_past");
                }
                self.check_month(now_us)?;
                self.reach(now_us, now_us);
                let window = (now_us, until_us.unwrap_or(NEVER));
                Ok(self.add(Lot::new("bonus", format!("bonus:{key}"), *is_free, window, *credits)))
            }
            What::Adjust { is_free, credits, comment } => {
                self.check_time(now_us, now_us)?;
                check_count(*credits, 1_000_000_000)?;
                check_reason(comment)?;
                self.check_month(now_us)?;
                self.reach(now_us, now_us);
                let parts = self.take(*credits, now_us, false, Some(*is_free)).ok_or("insufficient_credits")?;
                for (label, credits) in &parts {
                    let lot = self.lot(label);
                    lot.adjusted += credits;
                    lot.moves.push((now_us, -credits));
                    self.log("adjusted", label, *credits, None, now_us);
                }
                Ok(Answer::Done(now_us, taken(&parts)))
            }
            What::Terms { zone, allowance } => {
                self.reach(now_us, now_us);
                let month = self.months.of(now_us);
                let from = self.last_month.map_or(month, |last| last.max(month)) + 1;
                let old = self.months.terms(from);
                self.months.set(from, (zone.unwrap_or(old.0), allowance.unwrap_or(old.1)));
                self.lay_again();
                Ok(Answer::Done(now_us, Vec::new()))
            }
            What::Cap { user, credits } => {
                self.check_time(now_us, now_us)?;
                if credits.is_none() && !self.caps.contains_key(user) {
                    return Err("no_cap");
                }
                self.reach(now_us, now_us);
                match credits {
                    Some(credits) => self.caps.insert(user, *credits),
                    None => self.caps.remove(user),
                };
                Ok(Answer::Done(now_us, Vec::new()))
            }
            What::Closing { reopen, comment } => {
                self.check_time(now_us, now_us)?;
                check_reason(comment)?;
                match (*reopen, self.is_closed()) {
                    (false, true) => return Err("account_closed"),
                    (true, false) => return Err("account_open"),
                    _ => {}
                }
                self.check_month(now_us)?;
                if *reopen {
                    self.reach(now_us, now_us);
                }
                // One after the other, also on a clock that was set back.
                let latest = self.closures.last().map_or(i64::MIN, |(from, to)| if *to == NEVER { *from } else { *to });
                let at_us = now_us.max(latest.saturating_add(1));
                match (*reopen, self.closures.last_mut()) {
                    (true, Some(last)) => last.1 = at_us,
                    _ => self.closures.push((at_us, NEVER)),
                }
                self.lay_again();
                self.reach(at_us, now_us);
                Ok(Answer::Done(at_us, Vec::new()))
            }
            What::Month { month, reopen, comment } => {
                self.check_time(now_us, now_us)?;
                if *month < self.first_month {
                    return Err("not_opened");
                }
                let is_closed = self.closed_month.is_some_and(|closed| *month <= closed);
                if *reopen {
                    check_reason(comment)?;
                    if !is_closed {
                        return Err("month_open");
                    }
                } else if is_closed {
                    return Err("month_closed");
                } else if now_us < self.month_over(*month) {
                    return Err("month_not_over");
                }
                self.reach(now_us, now_us);
                if *reopen {
                    self.reopened.extend(*month..=self.closed_month.unwrap_or(*month));
                } else {
                    self.reopened.retain(|reopened| reopened > month);
                }
                let closed = if *reopen { month - 1 } else { *month };
                self.closed_month = Some(closed).filter(|closed| !*reopen || *closed >= self.first_month);
                Ok(Answer::Done(now_us, Vec::new()))
            }
        }
    }

    fn charge(&mut self, call: &Call, now_us: i64) -> Answered {
        let What::Charge { action, quantity, user, failed, post_to_open } = &call.what else { unreachable!() };
        let told_us = call.told_us.unwrap_or(now_us);
        self.check_time(told_us, now_us)?;
        check_count(*quantity, 1_000_000)?;
        let cost = self.price(action, told_us)? * quantity;
        self.check_open(told_us)?;
        let at_us = if *post_to_open { told_us.max(self.open_from()) } else { told_us };
        self.check_open(at_us)?;
        self.check_month(at_us)?;
        self.reach(at_us, now_us);
        let parts = match *failed {
            true => Err(None),
            false => self.burn(*user, cost, at_us, call.told_us.is_some()).map_err(Some),
        };
        if let Ok(parts) = &parts {
            self.consume(parts, *user, at_us);
        }
        Ok(self.log_charge(&call.key, *user, parts, at_us))
    }

    fn refund(&mut self, key: &str, credits: Option<i64>, now_us: i64) -> Answered {
        if credits.is_some_and(|credits| credits < 1) {
            return Err("bad_quantity");
        }
        let charge = self.charges.iter().find(|charge| charge.key == key).cloned().ok_or("unknown_charge")?;
        let rest = |(label, part): &(String, i64)| (label.clone(), part - charge.refunded.get(label).unwrap_or(&0));
        let rest: Vec<(String, i64)> = charge.parts.iter().rev().map(rest).collect();
        let total: i64 = rest.iter().map(|(_, credits)| credits).sum();
        let mut missing = credits.unwrap_or(total);
        if missing > total || missing == 0 {
            return Err("exceeds_refundable");
        }
        self.check_month(now_us)?;
        self.reach(now_us, now_us);
        let mut given = Vec::new();
        for (label, credits) in rest {
            let part = credits.min(missing);
            if part == 0 {
                continue;
            }
            missing -= part;
            let lot = self.lot(&label);
            lot.refunded += part;
            if lot.ends_us <= now_us {
                lot.lost += part;
                self.log("lapsed", &label, part, None, now_us);
            } else {
                lot.moves.push((now_us, part));
            }
            self.log("refunded", &label, part, charge.user, now_us);
            self.moved.last_mut().expect("it was logged").used_us = charge.at_us;
            given.push((label, part));
        }
        let charge = self.charges.iter_mut().find(|charge| charge.key == key).expect("it was found");
        for (label, part) in &given {
            *charge.refunded.entry(label.clone()).or_default() += part;
        }
        Ok(Answer::Done(now_us, given))
    }

    /// A row of the log for an action that was done, or was not and why.
    fn log_charge(
        &mut self,
        key: &str,
        user: Option<&'static str>,
        parts: Result<Vec<(String, i64)>, Option<&'static str>>,
        at_us: i64,
    ) -> Answer {
        let answer = match &parts {
            Ok(parts) => Answer::Done(at_us, taken(parts)),
            Err(reason) => Answer::Failed(at_us, *reason),
        };
        let (parts, refunded) = (parts.unwrap_or_default(), BTreeMap::new());
        self.charges.push(Charge { key: key.to_owned(), at_us, user, parts, refunded });
        answer
    }

    fn open_hold(&self, key: &str, now_us: i64) -> Result<usize, &'static str> {
        let at = self.holds.iter().position(|hold| hold.key == key).ok_or("unknown_hold")?;
        match self.holds[at].settled {
            Some(why) => Err(why),
            None if self.holds[at].ends_us <= now_us => Err("hold_expired"),
            None => Ok(at),
        }
    }

    /// Ends a hold: what is captured is used at the instant of the hold, the rest is as if it had not been held.
    fn settle(&mut self, at: usize, key: &str, captured: Option<i64>, how: &'static str) -> Answer {
        let Hold { user, at_us, parts, .. } = self.holds[at].clone();
        self.holds[at].settled = Some(how);
        let mut missing = captured.unwrap_or(0);
        let mut used = Vec::new();
        for (label, held) in parts {
            self.lot(&label).held -= held;
            let part = held.min(missing);
            missing -= part;
            if part > 0 {
                used.push((label, part));
            }
        }
        self.consume(&used, user, at_us);
        let parts = if captured.is_some() { Ok(used) } else { Err(None) };
        self.log_charge(key, user, parts, at_us)
    }

    /// What `cost` takes at `at_us`, or why it is refused.
    fn burn(
        &self,
        user: Option<&'static str>,
        cost: i64,
        at_us: i64,
        is_late: bool,
    ) -> Result<Vec<(String, i64)>, &'static str> {
        if let Some((user, cap)) = user.and_then(|user| self.caps.get_key_value(user))
            && cost > 0
            && self.used(user, self.months.of(at_us)) + cost > *cap
        {
            return Err("user_cap");
        }
        self.take(cost, at_us, is_late, None).ok_or("insufficient_credits")
    }

    fn consume(&mut self, parts: &[(String, i64)], user: Option<&'static str>, at_us: i64) {
        for (label, credits) in parts {
            let lot = self.lot(label);
            lot.consumed += credits;
            lot.moves.push((at_us, -credits));
            self.log("consumed", label, *credits, user, at_us);
        }
    }

    fn log(&mut self, column: &'static str, label: &str, credits: i64, user: Option<&'static str>, at_us: i64) {
        let is_free = self.lot(label).is_free;
        self.moved.push(Moved { at_us, used_us: at_us, column, is_free, credits, user });
    }
}

/// What was asked for is taken away.
fn taken(parts: &[(String, i64)]) -> Vec<(String, i64)> {
    parts.iter().map(|(label, credits)| (label.clone(), -credits)).collect()
}

fn check_count(count: i64, max: i64) -> Result<(), &'static str> {
    if (1..=max).contains(&count) { Ok(()) } else { Err("bad_quantity") }
}

fn check_reason(comment: &str) -> Result<(), &'static str> {
    if comment.trim().is_empty() { Err("no_reason") } else { Ok(()) }
}
