//! The ledger of one account under random histories, against an oracle of plain lists (R1 to R9, R12, R14 to R16).
//!
//! No database: the ledger is a pure value. A history is a list of steps (the clock moves, a charge or purchase comes,
//! a job passes); the zones are those that move their clocks at the worst moments.

mod naive;

use crate::support::{account, account_id, default_prices, instant, month, purchase, usage};
use creditd::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_date, parse_zone};
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::ids::Key;
use creditd::core::ledger::{Account, Grant, Ledger, Purchase, Receipt, Refusal, Usage};
use creditd::core::statement::{
    Counts, DateRange, Grouping, LineType, Outcome, ReportAccount, ReportModel, ReportSpec, Row, Rows, Scope,
    counts_at, fold,
};
use creditd::core::transaction::{GrantId, Kind, Status, Transaction};
use creditd::report::aggregate;
use naive::{Answer, Call, Naive, What};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Small, so that a few charges exhaust it.
const PACK: i64 = 400;
const ALLOWANCE: i64 = 1_500;
const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Longest history that a random one can be, in months.
const MONTHS_MAX: u32 = 120;

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
enum Step {
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
enum Told {
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
struct History {
    zone: &'static str,
    opened_on: &'static str,
    steps: Vec<Step>,
}

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

fn history() -> impl Strategy<Value = History> {
    let place = prop::sample::select(&PLACES[..]);
    let steps = prop::collection::vec(step(), 1..40);
    (place, steps).prop_map(|((zone, opened_on), steps)| History { zone, opened_on, steps })
}

fn as_usage(call: &Call) -> Option<Usage> {
    let What::Charge { action, quantity, failed, .. } = call.what else { return None };
    let status = if failed { Status::Failed } else { Status::Success };
    Some(Usage { occurred_at: call.told_us.map(Instant::from_micros), quantity, status, ..usage(action, &call.key) })
}

fn as_purchase(call: &Call) -> Option<Purchase> {
    let What::Purchase { packs } = call.what else { return None };
    let occurred_at = call.told_us.map(Instant::from_micros);
    Some(Purchase { occurred_at, pack_credits: Credits::new(PACK), ..purchase(packs, &call.key) })
}

/// A ledger, the oracle, and the clock of both.
struct World {
    ledger: Ledger,
    naive: Naive,
    now: Instant,
    asked: Vec<Call>,
    /// When each grant that a row names started: kept apart, as the oracle names lots by that.
    starts: BTreeMap<GrantId, i64>,
}

impl World {
    fn new(history: &History) -> World {
        let History { zone, opened_on, .. } = history;
        let ledger = Ledger::new(account("acme", zone, opened_on));
        let (zone, opened_on) = (parse_zone(zone).expect("a zone"), parse_date(opened_on).expect("a date"));
        let naive = Naive::new(zone, opened_on, ALLOWANCE, MONTHS_MAX);
        World { now: ledger.account.opened_at, ledger, naive, asked: Vec::new(), starts: BTreeMap::new() }
    }

    /// Does one step to the ledger and to the oracle, and compares what they answer.
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
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
            Step::Job => self.ledger.roll_over(self.now, self.now).expect("small sums"),
        }
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
    fn up_to_date(&self) -> Ledger {
        let mut ledger = self.ledger.clone();
        ledger.roll_over(self.now, self.now).expect("small sums");
        ledger
    }
}

fn ask(ledger: &mut Ledger, call: &Call, now: Instant) -> Result<(Transaction, bool), Refusal> {
    let owned = |receipt: Receipt<'_>| (receipt.row.clone(), receipt.replayed);
    match (as_usage(call), as_purchase(call)) {
        (Some(usage), _) => ledger.charge(&usage, &default_prices(), now).map(owned),
        (_, Some(purchase)) => {
            let key = Key::new(&call.key).expect("a key");
            ledger.purchase(&purchase, &key, now).map(owned)
        }
        _ => unreachable!("a call is a charge or a purchase"),
    }
}

/// R6, R15 and R16, from the rows alone.
fn check_invariants(ledger: &Ledger) -> Result<(), TestCaseError> {
    let mut balance = Split::ZERO;
    let mut by_grant: BTreeMap<GrantId, [i64; 4]> = BTreeMap::new(); // amount, consumed, lapsed, remaining
    let mut recorded_at = Instant::MIN;
    for (row, seq) in ledger.rows().iter().zip(1..) {
        prop_assert_eq!(row.seq, seq, "R15: numbered without gaps");
        prop_assert!(row.recorded_at >= recorded_at, "R15: recorded_at never decreases");
        recorded_at = row.recorded_at;
        let mut delta = Split::ZERO;
        for entry in &row.entries {
            let change = entry.delta.get();
            prop_assert!(change != 0 || row.kind == Kind::Allocation, "an entry changes something");
            let figures = by_grant.entry(entry.grant).or_default();
            match row.kind {
                Kind::Allocation | Kind::Purchase => figures[0] += change,
                Kind::Charge => figures[1] -= change,
                Kind::Expiry => figures[2] -= change,
                other => prop_assert!(false, "no step makes a {}", other),
            }
            figures[3] += change;
            prop_assert!(figures.iter().all(|figure| *figure >= 0), "R6: {:?} after row {}", figures, seq);
            delta = delta.plus(Split::of(entry.credit_type, entry.delta)).expect("small sums");
        }
        balance = balance.plus(delta).expect("small sums");
        prop_assert_eq!((row.delta, row.balance), (delta, balance), "R16: row {}", seq);
        prop_assert!(row.status == Status::Success || delta == Split::ZERO, "R7: a failed row moves nothing");
        let corrected = row.corrects.map(|seq| &ledger.rows()[usize::try_from(seq).expect("a row") - 1]);
        prop_assert!(
            corrected.is_none_or(|lapse| lapse.kind == Kind::Expiry && lapse.entries[0].grant == row.entries[0].grant),
            "R15: a lapse is corrected by its own reversal"
        );
    }
    prop_assert_eq!((ledger.balance, ledger.last_recorded_at), (balance, recorded_at));
    prop_assert_eq!(by_grant.len(), ledger.grants.len());
    let mut remainders = Split::ZERO;
    for grant in ledger.grants.values() {
        let Grant { amount, consumed, lapsed, remaining, .. } = grant;
        let stored = [amount, consumed, lapsed, remaining].map(|credits| credits.get());
        prop_assert_eq!(by_grant[&grant.id], stored, "R16: {}", grant.label);
        prop_assert_eq!(stored[0], stored[1] + stored[2] + stored[3], "R16: {}", grant.label);
        prop_assert!(grant.credit_type == CreditType::Free || grant.lapsed.is_zero(), "R12: purchased never lapse");
        remainders = remainders.plus(Split::of(grant.credit_type, *remaining)).expect("small sums");
    }
    prop_assert_eq!(remainders, balance, "R16: the balance is the sum of the remainders");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// R2 to R6, R9, R12, R14: every answer and every balance is what plain lists say, with or without jobs.
    #[test]
    fn any_history_is_what_plain_lists_say(history in history()) {
        let mut world = World::new(&history);
        for step in &history.steps {
            world.step(step)?;
            let ledger = world.up_to_date();
            let available = ledger.available_at(world.now).expect("small sums");
            let expected = world.naive.available(world.now.micros());
            prop_assert_eq!((available.free.get(), available.purchased.get()), expected, "at {}", world.now);
        }
        check_invariants(&world.ledger)?;
        check_invariants(&world.up_to_date())?;
    }
}
