//! Random histories of one account: what happens, and a world in which it happens to a ledger and to the oracle at once.

use super::naive::{Answer, Call, Naive, What};
use crate::support::{ALLOWANCE, account, default_prices, purchase, usage};
use creditd::core::calendar::{Instant, parse_date, parse_zone};
use creditd::core::credits::Credits;
use creditd::core::ledger::{Call as LedgerCall, Ledger, Purchase, Refusal, Usage};
use creditd::core::transaction::{GrantId, Status, Transaction};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Small, so that a few charges exhaust it.
const PACK: i64 = 400;
const HOUR_US: i64 = 3_600 * 1_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
/// Longest history that a random one can be, in months.
const MONTHS_MAX: u32 = 240;

/// Where and when accounts open: each zone does something odd to a month's start, or a day, soon after.
const PLACES: [(&str, &str); 12] = [
    ("UTC", "2013-01-01"),
    ("America/New_York", "2013-01-01"),
    ("Europe/Berlin", "2013-01-31"),
    ("America/St_Johns", "2009-08-20"), // 2009-11-01 begins twice: at 00:01 clocks go back an hour
    ("Asia/Damascus", "2004-12-31"),    // 2005-04-01 begins at 01:00
    ("America/Asuncion", "2017-07-10"), // 2017-10-01 begins at 01:00
    ("America/Havana", "2012-10-29"),   // midnight twice, on a fourth
    ("Pacific/Apia", "2011-11-30"),     // there was no 2011-12-30
    ("Pacific/Kiritimati", "1994-12-30"), // there was no 1994-12-31 or 1995-01-01
    ("Australia/Lord_Howe", "2013-02-28"),
    ("Asia/Kathmandu", "2020-02-29"),
    ("Pacific/Honolulu", "2013-01-01"),
];

const ACTIONS: [(&str, i64); 4] = [("text-to-image", 8), ("erase", 7), ("upscale", 0), ("translation", 1)];

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Time passes; a little backwards, too, as when a machine's clock is set.
    Wait(i64),
    /// Time passes until that many microseconds after the end of the month.
    WaitForMonthEnd(i64),
    /// Something is asked for the first time.
    Ask(Told, What),
    /// Something is asked again; with one more of it under the same key when `other`.
    AskAgain { index: prop::sample::Index, other: bool },
    /// The reset job passes.
    Job,
}

/// When a call says that it happened.
#[derive(Clone, Debug)]
pub enum Told {
    Now,
    /// At some point between the opening and now, in thousandths.
    Ago(i64),
    /// So many microseconds from the end of some month.
    NearMonthEnd(prop::sample::Index, i64),
    /// Where no call may be: later than now, or before the account opened.
    Future(i64),
    BeforeOpening(i64),
}

/// An account to be, and what happens to it.
#[derive(Clone, Debug)]
pub struct History {
    pub zone: &'static str,
    pub opened_on: &'static str,
    pub steps: Vec<Step>,
}

/// The oracle of each place before anything happens: laying out its months is the slow part.
static NAIVE: LazyLock<BTreeMap<&'static str, Naive>> = LazyLock::new(|| {
    let naive = |(zone, opened_on): (&'static str, &str)| {
        let (tz, date) = (parse_zone(zone).expect("a zone"), parse_date(opened_on).expect("a date"));
        (zone, Naive::new(tz, date, ALLOWANCE, MONTHS_MAX))
    };
    PLACES.into_iter().map(naive).collect()
});

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        6 => Just(Told::Now),
        4 => (0_i64..=1_000).prop_map(Told::Ago),
        4 => (any::<prop::sample::Index>(), -1_i64..=1).prop_map(|(index, us)| Told::NearMonthEnd(index, us)),
        1 => (1_i64..DAY_US).prop_map(Told::Future),
        1 => (1_i64..DAY_US).prop_map(Told::BeforeOpening),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let quantity = prop_oneof![8 => 1_i64..250, 1 => Just(0), 1 => Just(1_000_001), 1 => Just(1_000_000)];
    let charge = (prop::sample::select(&ACTIONS[..]), quantity, prop::bool::weighted(0.1))
        .prop_map(|((action, price), quantity, failed)| What::Charge { action, price, quantity, failed });
    let packs = prop_oneof![12 => 1_i64..3, 1 => Just(0), 1 => Just(100_001)];
    prop_oneof![4 => charge, 1 => packs.prop_map(|packs| What::Purchase { packs })]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(1), 1..DAY_US, DAY_US..60 * DAY_US, 60 * DAY_US..160 * DAY_US, -2 * HOUR_US..0];
    prop_oneof![
        2 => wait.prop_map(Step::Wait),
        2 => (-1_i64..=1).prop_map(Step::WaitForMonthEnd),
        8 => (told(), what()).prop_map(|(told, what)| Step::Ask(told, what)),
        1 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(index, other)| Step::AskAgain { index, other }),
        1 => Just(Step::Job),
    ]
}

/// Any history of up to forty steps.
pub fn history() -> impl Strategy<Value = History> {
    let place = prop::sample::select(&PLACES[..]);
    let steps = prop::collection::vec(step(), 1..40);
    (place, steps).prop_map(|((zone, opened_on), steps)| History { zone, opened_on, steps })
}

/// What a call asks of a ledger.
pub enum Request {
    Charge(Usage),
    Purchase(Purchase),
}

impl Call {
    pub fn request(&self) -> Request {
        let occurred_at = self.told_us.map(Instant::from_micros);
        match self.what {
            What::Charge { action, quantity, failed, .. } => {
                let status = if failed { Status::Failed } else { Status::Success };
                Request::Charge(Usage { occurred_at, quantity, status, ..usage(action, &self.key) })
            }
            What::Purchase { packs } => {
                let pack_credits = Credits::new(PACK);
                Request::Purchase(Purchase { occurred_at, pack_credits, ..purchase(packs, &self.key) })
            }
        }
    }
}

/// A ledger, the oracle, and the clock of both.
pub struct World {
    pub ledger: Ledger,
    pub naive: Naive,
    pub now: Instant,
    /// The latest that the clock was: it may have gone back since.
    pub latest: Instant,
    /// What was done to the ledger, and when: a call, or the reset job.
    pub done: Vec<(Instant, Option<Call>)>,
    asked: Vec<Call>,
    /// When each grant that a row names started: kept apart, as the oracle names lots by that.
    starts: BTreeMap<GrantId, i64>,
}

impl World {
    pub fn new(history: &History) -> World {
        let History { zone, opened_on, .. } = history;
        let ledger = Ledger::new(account("acme", zone, opened_on));
        let naive = NAIVE[zone].clone();
        let now = ledger.account.opened_at;
        World { ledger, naive, now, latest: now, done: Vec::new(), asked: Vec::new(), starts: BTreeMap::new() }
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
            Step::Ask(told, what) => {
                let key = format!("k{}", self.asked.len());
                let call = Call { key, told_us: self.told(told), what: what.clone() };
                self.ask(call)?;
            }
            Step::AskAgain { index, other } => {
                if let Some(mut call) = self.asked.get(index.index(self.asked.len().max(1))).cloned() {
                    match &mut call.what {
                        What::Charge { quantity, .. } if *other => *quantity += 1,
                        What::Purchase { packs } if *other => *packs += 1,
                        _ => {}
                    }
                    self.ask(call)?;
                }
            }
            Step::Job => {
                self.ledger.roll_over(self.now, self.now).expect("small sums");
                self.done.push((self.now, None));
            }
        }
        self.latest = self.latest.max(self.now);
        Ok(())
    }

    fn told(&self, told: &Told) -> Option<i64> {
        let (opened_us, now_us) = (self.ledger.account.opened_at.micros(), self.now.micros());
        match told {
            Told::Now => None,
            Told::Ago(thousandths) => Some(opened_us + (now_us - opened_us) / 1_000 * thousandths),
            Told::NearMonthEnd(index, us) => {
                let ends: Vec<i64> = self.naive.month_ends().filter(|end| *end <= now_us).collect();
                if ends.is_empty() { None } else { Some(index.get(&ends) + us) }
            }
            Told::Future(us) => Some(now_us + us),
            Told::BeforeOpening(us) => Some(opened_us - us),
        }
    }

    fn ask(&mut self, call: Call) -> Result<(), TestCaseError> {
        let before = self.ledger.clone();
        let rows_before = before.rows().len();
        let (expected, replayed) = self.naive.answer(&call, PACK, self.now.micros());
        let found = ask(&mut self.ledger, &call, self.now);
        for grant in self.ledger.grants.values() {
            self.starts.insert(grant.id, grant.starts_at.micros());
        }
        match found {
            Ok((row, was_replayed)) => {
                prop_assert_eq!(was_replayed, replayed, "{:?}", call);
                prop_assert_eq!(self.answer_of(&row), expected, "{:?} at {}", call, self.now);
                if replayed {
                    prop_assert_eq!(&self.ledger, &before, "R9: a replay changes nothing");
                    prop_assert!(before.rows().contains(&row), "R9: a replay answers with the first row");
                } else {
                    prop_assert_eq!(self.ledger.rows().last(), Some(&row));
                    prop_assert_eq!(row.occurred_at.micros(), call.told_us.unwrap_or(self.now.micros()));
                }
            }
            Err(refusal) => {
                prop_assert_eq!(Answer::Error(refusal.code()), expected, "{}", refusal);
                prop_assert_eq!(&self.ledger, &before, "nothing is written for {}", refusal);
            }
        }
        prop_assert_eq!(&self.ledger.rows()[..rows_before], before.rows(), "R15: rows stay as they are");
        self.done.push((self.now, Some(call.clone())));
        self.asked.push(call);
        Ok(())
    }

    fn answer_of(&self, row: &Transaction) -> Answer {
        match (row.status, row.reason) {
            (Status::Success, _) => {
                Answer::Moved(row.entries.iter().map(|e| (self.starts[&e.grant], e.delta.get())).collect())
            }
            (Status::Failed, None) => Answer::Failed,
            (Status::Failed, Some(_)) => Answer::Insufficient,
        }
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

fn ask(ledger: &mut Ledger, call: &Call, now: Instant) -> Result<(Transaction, bool), Refusal> {
    let call = match call.request() {
        Request::Charge(usage) => LedgerCall::Charge(usage),
        Request::Purchase(purchase) => LedgerCall::Purchase(purchase),
    };
    ledger.apply(&call, &default_prices(), now).map(|receipt| (receipt.row, receipt.replayed))
}
