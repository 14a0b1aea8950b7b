//! A world in which a history happens to a ledger and to the oracle at once.

use super::history::{Ends, History, PACK, Share, Step, Told, Wish, action};
use super::naive::{Answer, Call, Naive, What, first_day};
use crate::support::{ALLOWANCE, account, purchase, usage};
use creditd::core::calendar::{Instant, Month, parse_date, parse_zone};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{Key, PURCHASE_KEY_PREFIX, UserId};
use creditd::core::ledger::{
    self, AccountStatus, Adjust, Bonus, Cap, Capture, Closing, Hold, Ledger, MonthClosing, NewTerms, Purchase, Receipt,
    Refund, Refusal, Return, Usage, Void,
};
use creditd::core::price::{Action, DEFAULT_ACTIONS, PriceMatrix, PriceVersion};
use creditd::core::transaction::{Status, Transaction};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// What happened, for those who do it once more elsewhere.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something was asked, and what came of it.
    Call(Box<ledger::Call>, Box<Result<Receipt, Refusal>>),
    Price(&'static str, PriceVersion),
    /// The reset job.
    Job,
}

/// A ledger, the oracle, and the clock of both.
pub struct World {
    pub ledger: Ledger,
    pub naive: Naive,
    pub now: Instant,
    /// The latest that the clock was: it may have gone back since.
    pub latest: Instant,
    /// What was done to the ledger, and when.
    pub done: Vec<(Instant, Event)>,
    /// What the references of its payments begin with: those of all accounts of a ledger are apart (R12).
    pub payer: String,
    prices: BTreeMap<&'static str, Action>,
    asked: Vec<Call>,
}

impl World {
    pub fn new(history: &History) -> World {
        let History { zone, opened_on, .. } = history;
        let ledger = Ledger::new(account("acme", zone, opened_on));
        let (tz, date) = (parse_zone(zone).expect("a zone"), parse_date(opened_on).expect("a date"));
        let naive = Naive::new(tz, date, ALLOWANCE, PACK);
        let now = ledger.account.opened_at;
        let (prices, done, asked, payer) = (BTreeMap::new(), Vec::new(), Vec::new(), String::new());
        let mut world = World { ledger, naive, now, latest: now, done, payer, prices, asked };
        for (code, credits, ..) in DEFAULT_ACTIONS {
            world.set_price(code, Some(*credits), Instant::from_micros(0));
        }
        world
    }

    /// The world after `steps` of `history`.
    pub fn played(history: &History, steps: &[Step]) -> Result<World, TestCaseError> {
        let mut world = World::new(history);
        steps.iter().try_for_each(|step| world.step(step))?;
        Ok(world)
    }

    /// Does one step to the ledger and to the oracle, and compares what they answer.
    pub fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait(us) => self.now = self.now.plus_micros(*us).max(self.ledger.account.opened_at),
            Step::WaitForMonthEnd(us) => {
                let month = self.ledger.account.calendar.month_of(self.now);
                self.now = self.ledger.account.calendar.month_end(month).plus_micros(*us);
            }
            Step::SetBack(us) => {
                self.step(&Step::WaitForMonthEnd(0))?;
                self.step(&Step::Job)?;
                self.now = self.now.plus_micros(-us).max(self.ledger.account.opened_at);
            }
            Step::WaitForHoldEnd(us) => {
                let ends = self.naive.open_holds(self.now.micros()).into_iter().map(|(_, end)| end).min();
                self.now = ends.map_or(self.now, |end| Instant::from_micros(end).plus_micros(*us).max(self.now));
            }
            Step::Ask(told, wish) => {
                let what = self.what(wish);
                let prefix = match what {
                    What::Purchase { .. } => format!("{PURCHASE_KEY_PREFIX}{}", self.payer),
                    _ => String::new(),
                };
                let key = format!("{prefix}k{}", self.asked.len());
                self.ask(Call { key, told_us: self.told(told, &what), what })?;
            }
            Step::AskAgain { index, other } => {
                if let Some(mut call) = self.asked.get(index.index(self.asked.len().max(1))).cloned() {
                    if *other {
                        call.what = something_else(call.what);
                    }
                    self.ask(call)?;
                }
            }
            Step::Price { action, credits, in_us } => {
                let version = self.set_price(action, *credits, self.now.plus_micros(*in_us));
                self.done.push((self.now, Event::Price(action, version)));
            }
            Step::Job => {
                self.ledger.roll_over(self.now, self.now).expect("small sums");
                self.naive.job(self.now.micros());
                self.done.push((self.now, Event::Job));
            }
        }
        // On a clock that was set back, what follows something else may be recorded a little later than now.
        self.latest = self.latest.max(self.now).max(self.ledger.last_recorded_at);
        Ok(())
    }

    fn set_price(&mut self, code: &'static str, credits: Option<i64>, from: Instant) -> PriceVersion {
        self.naive.set_price(code, from.micros(), credits);
        let version = PriceVersion { effective_from: from, credits: credits.map(Credits::new) };
        let new = || Action { code: action(code), title: String::new(), help: String::new(), versions: Vec::new() };
        let versions = &mut self.prices.entry(code).or_insert_with(new).versions;
        versions.retain(|known| known.effective_from != from);
        versions.push(version);
        version
    }

    fn told(&self, told: &Told, what: &What) -> Option<i64> {
        let (opened_us, now_us) = (self.ledger.account.opened_at.micros(), self.now.micros());
        match told {
            _ if !matches!(what, What::Charge { .. } | What::Purchase { .. }) => None,
            Told::Now => None,
            Told::Ago(thousandths) => Some(opened_us + (now_us - opened_us) / 1_000 * thousandths),
            Told::NearMonthEnd(index, us) => {
                let ends = self.naive.month_ends(now_us);
                if ends.is_empty() { None } else { Some(index.get(&ends) + us) }
            }
            Told::Future(us) => Some(now_us + us),
            Told::BeforeOpening(us) => Some(opened_us - us),
        }
    }

    /// A wish as a call: about which earlier one it is, and how many credits it asks for.
    fn what(&self, wish: &Wish) -> What {
        let now_us = self.now.micros();
        let open: Vec<String> = self.naive.open_holds(now_us).into_iter().map(|(key, _)| key.to_owned()).collect();
        let asked = |wanted: fn(&What) -> bool| -> Vec<String> {
            self.asked.iter().filter(|call| wanted(&call.what)).map(|call| call.key.clone()).collect()
        };
        // Mostly something that there is, now and then anything.
        let one_of = |there: Vec<String>, index: &Index| {
            let any = asked(|_| true);
            let from = if there.is_empty() || index.index(10) == 0 { any } else { there };
            if from.is_empty() { "nothing".to_owned() } else { index.get(&from).clone() }
        };
        let credits = |share: Share, total: i64| match share {
            Share::All => None,
            Share::Part(thousandths) => Some(total * thousandths / 1_000),
            Share::Beyond(more) => Some(total + more),
        };
        match wish.clone() {
            Wish::Charge { action, quantity, user, failed, post_to_open } => {
                What::Charge { action, quantity, user, failed, post_to_open }
            }
            Wish::ChargeAll { user, more } => {
                let (action, failed, post_to_open) = ("translation", false, false);
                let quantity = self.naive.affordable(action, user, now_us) + more;
                What::Charge { action, quantity, user, failed, post_to_open }
            }
            Wish::Hold { action, quantity, user, ttl_s } => What::Hold { action, quantity, user, ttl_s },
            Wish::Capture { hold, share } => {
                let hold = one_of(open, &hold);
                What::Capture { credits: credits(share, self.naive.total_of(&hold)), hold }
            }
            Wish::Void { hold } => What::Void { hold: one_of(open, &hold) },
            Wish::Refund { charge, share } => {
                let charges = asked(|what| matches!(what, What::Charge { .. } | What::Capture { .. }));
                let charge = one_of(charges, &charge);
                What::Refund { credits: credits(share, self.naive.total_of(&charge)), charge }
            }
            Wish::Purchase { packs } => What::Purchase { packs },
            Wish::Return { purchase } => {
                What::Return { purchase: one_of(asked(|what| matches!(what, What::Purchase { .. })), &purchase) }
            }
            Wish::Bonus { is_free, credits, ends, comment } => {
                let until_us = match ends {
                    Ends::Never => None,
                    Ends::In(us) => Some(now_us + us),
                    Ends::WithTheMonth => Some(self.naive.months.end(self.naive.months.of(now_us))),
                };
                What::Bonus { is_free, credits, until_us, comment }
            }
            Wish::Adjust { is_free, share, comment } => {
                let (free, purchased) = self.naive.available(now_us);
                let total = if is_free { free } else { purchased };
                What::Adjust { is_free, credits: credits(share, total).unwrap_or(total), comment }
            }
            Wish::Terms { zone, allowance } => {
                What::Terms { zone: zone.map(|zone| parse_zone(zone).expect("a zone")), allowance }
            }
            Wish::Cap { user, credits } => What::Cap { user, credits },
            Wish::Closing { wrong, comment } => What::Closing { reopen: self.naive.is_closed() ^ wrong, comment },
            Wish::Month { ago, reopen, comment } => {
                What::Month { month: self.naive.months.of(now_us) - ago, reopen, comment }
            }
        }
    }

    fn ask(&mut self, call: Call) -> Result<(), TestCaseError> {
        let before = self.ledger.clone();
        let rows_before = before.rows().len();
        let closed_us = self.naive.open_from();
        let (expected, replayed) = self.naive.answer(&call, self.now.micros());
        let request = request(&call);
        let prices: PriceMatrix = self.prices.values().cloned().collect();
        let answer = self.ledger.apply(&request, &prices, self.now);
        match &answer {
            Ok(receipt) => {
                prop_assert_eq!(self.answer_of(&receipt.row), expected, "{:?} at {}", call, self.now);
                prop_assert_eq!(receipt.replayed, replayed, "{:?}", call);
                if replayed {
                    prop_assert_eq!(&self.ledger, &before, "R9: a replay changes nothing");
                    prop_assert!(before.rows().contains(&receipt.row), "R9: a replay answers with the first row");
                }
            }
            Err(refusal) => {
                prop_assert_eq!(Answer::Error(refusal.code()), expected, "{} {:?} at {}", refusal, call, self.now);
                prop_assert_eq!(&self.ledger, &before, "nothing is written for {}", refusal);
            }
        }
        let (old, new) = self.ledger.rows().split_at(rows_before);
        prop_assert_eq!(old, before.rows(), "R15: rows stay as they are");
        for row in new {
            let counts = row.kind.moves_credits() && row.kind.counts_at(row.occurred_at).micros() < closed_us;
            prop_assert!(!counts, "R14: what is closed stays as it is, but {:?} made {:?}", call, row);
        }
        self.done.push((self.now, Event::Call(Box::new(request), Box::new(answer))));
        self.asked.push(call);
        Ok(())
    }

    fn answer_of(&self, row: &Transaction) -> Answer {
        let at_us = row.occurred_at.micros();
        match row.status {
            Status::Success => {
                let label = |grant| self.ledger.grants[grant].label.clone();
                Answer::Done(at_us, row.entries.iter().map(|e| (label(&e.grant), e.delta.get())).collect())
            }
            Status::Failed => Answer::Failed(at_us, row.reason.map(|reason| reason.as_str())),
        }
    }

    /// Compares all that either knows of the account now.
    pub fn compare(&self) -> Result<(), TestCaseError> {
        let (ledger, naive, now) = (self.up_to_date(), &self.naive, self.now);
        let available = ledger.available_at(now).expect("small sums");
        prop_assert_eq!((available.free.get(), available.purchased.get()), naive.available(now.micros()), "at {}", now);
        prop_assert_eq!(ledger.status_at(now) == AccountStatus::Open, naive.is_open_at(now.micros()), "R18 at {}", now);
        let ledger = self.up_to_date_at(self.latest);
        let lots: BTreeMap<String, [i64; 9]> = ledger.grants.values().map(figures_of).collect();
        prop_assert_eq!(lots, naive.lots(self.latest.micros()), "R16 at {}", self.latest);
        let open =
            ledger.holds.values().filter_map(|hold| Some((hold.row.key.as_ref()?.as_str(), hold.expires_at.micros())));
        prop_assert_eq!(open.collect::<Vec<_>>(), naive.open_holds(self.latest.micros()), "R10 at {}", self.latest);
        let month = |month: Month| naive.months.of(ledger.account.calendar.month_start(month).micros());
        let caps: BTreeMap<&str, (i64, BTreeMap<i32, i64>)> = self
            .ledger
            .caps
            .iter()
            .map(|(user, cap)| {
                let used = cap.used.iter().filter(|(_, used)| !used.is_zero());
                (user.as_str(), (cap.limit.get(), used.map(|(of, used)| (month(*of), used.get())).collect()))
            })
            .collect();
        prop_assert_eq!(caps, naive.caps(), "R17 at {}", now);
        prop_assert_eq!(ledger.reopened_through.map(month), naive.reopened_through(), "R14 at {}", now);
        Ok(())
    }

    /// The ledger as any reader sees it now.
    pub fn up_to_date(&self) -> Ledger {
        self.up_to_date_at(self.now)
    }

    /// The ledger as any reader sees it at `t`.
    pub fn up_to_date_at(&self, t: Instant) -> Ledger {
        let mut ledger = self.ledger.clone();
        ledger.roll_over(t, t).expect("small sums");
        ledger
    }
}

/// The label of a grant and its figures, in the order of [`Naive::lots`].
fn figures_of(grant: &ledger::Grant) -> (String, [i64; 9]) {
    let ledger::Grant { amount, consumed, refunded, lapsed, lapsed_at_once, .. } = grant;
    let ledger::Grant { returned, adjusted, held, remaining, .. } = grant;
    let figures = [amount, consumed, refunded, lapsed, lapsed_at_once, returned, adjusted, held, remaining];
    (grant.label.clone(), figures.map(|credits| credits.get()))
}

/// Another call under the same key.
fn something_else(what: What) -> What {
    match what {
        What::Charge { action, quantity, user, failed, post_to_open } => {
            What::Charge { action, quantity: quantity + i64::from(post_to_open), user, failed, post_to_open: true }
        }
        What::Hold { action, quantity, user, ttl_s } => What::Hold { action, quantity, user, ttl_s: ttl_s + 1 },
        What::Capture { hold, .. } | What::Void { hold } => What::Capture { hold, credits: Some(1_000_000) },
        What::Refund { charge, credits } => What::Refund { charge, credits: Some(credits.map_or(1, |n| n + 1)) },
        What::Purchase { packs } => What::Purchase { packs: packs + 1 },
        What::Return { purchase } => What::Return { purchase: purchase + "x" },
        What::Bonus { is_free, credits, until_us, comment } => {
            What::Bonus { is_free: !is_free, credits, until_us, comment }
        }
        What::Adjust { is_free, credits, comment } => What::Adjust { is_free, credits: credits + 1, comment },
        What::Terms { zone, allowance } => What::Terms { zone, allowance: Some(allowance.map_or(1, |n| n + 1)) },
        What::Cap { user, credits } => What::Cap { user, credits: Some(credits.map_or(1, |n| n + 1)) },
        What::Closing { reopen, .. } => What::Closing { reopen, comment: "another reason" },
        What::Month { month, reopen, comment } => What::Month { month: month + 1, reopen, comment },
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// The call as it is asked of a ledger.
fn request(call: &Call) -> ledger::Call {
    let name = |user: &str| UserId::new(user).expect("a user");
    let user = |user: Option<&str>| user.map(name);
    let of_type = |is_free| if is_free { CreditType::Free } else { CreditType::Purchased };
    let some = |credits: Option<i64>| credits.map(Credits::new);
    let occurred_at = call.told_us.map(Instant::from_micros);
    let (key, none) = (key(&call.key), String::new());
    match &call.what {
        What::Charge { action, quantity, user: by, failed, post_to_open } => {
            let status = if *failed { Status::Failed } else { Status::Success };
            let (user, post_to_open) = (user(*by), *post_to_open);
            let usage = usage(action, key.as_str());
            ledger::Call::Charge(Usage { occurred_at, user, quantity: *quantity, status, post_to_open, ..usage })
        }
        What::Hold { action: code, quantity, user: by, ttl_s } => {
            let (user, action, quantity, ttl_seconds) = (user(*by), action(code), *quantity, *ttl_s);
            ledger::Call::Hold(Hold { key, user, action, quantity, ttl_seconds, comment: none })
        }
        What::Capture { hold, credits } => {
            ledger::Call::Capture(Capture { key, hold: self::key(hold), credits: some(*credits), comment: none })
        }
        What::Void { hold } => ledger::Call::Void(Void { key, hold: self::key(hold), comment: none }),
        What::Refund { charge, credits } => {
            ledger::Call::Refund(Refund { key, charge: self::key(charge), credits: some(*credits), comment: none })
        }
        What::Purchase { packs } => {
            let reference = call.key.trim_start_matches(PURCHASE_KEY_PREFIX);
            let pack_credits = Credits::new(PACK);
            ledger::Call::Purchase(Purchase { occurred_at, pack_credits, ..purchase(*packs, reference) })
        }
        What::Return { purchase } => ledger::Call::Return(Return { key, purchase: self::key(purchase), comment: none }),
        What::Bonus { is_free, credits, until_us, comment } => {
            let (credit_type, credits) = (of_type(*is_free), Credits::new(*credits));
            let expires_at = until_us.map(Instant::from_micros);
            ledger::Call::Bonus(Bonus { key, credit_type, credits, expires_at, comment: (*comment).to_owned() })
        }
        What::Adjust { is_free, credits, comment } => {
            let (credit_type, credits) = (of_type(*is_free), Credits::new(*credits));
            ledger::Call::Adjust(Adjust { key, credit_type, credits, comment: (*comment).to_owned() })
        }
        What::Terms { zone, allowance } => {
            ledger::Call::Terms(NewTerms { key, zone: *zone, allowance: some(*allowance) })
        }
        What::Cap { user, credits } => ledger::Call::Cap(Cap { key, user: name(user), credits: some(*credits) }),
        What::Closing { reopen, comment } => {
            ledger::Call::Closing(Closing { key, reopen: *reopen, comment: (*comment).to_owned() })
        }
        What::Month { month, reopen, comment } => {
            let month = Month::of(first_day(*month));
            ledger::Call::Month(MonthClosing { key, month, reopen: *reopen, comment: (*comment).to_owned() })
        }
    }
}
