//! What an account has, by plain lists: the oracle of the ledger.
//!
//! Written from the rules of credit alone, and by other means than the ledger: all months are laid out at the start,
//! nothing is ever opened or lapsed by an event, and a lapse is merely what is left of a lot whose time is over. So it
//! cannot share a mistake about when something is brought up to date.

use chrono::{Datelike, NaiveDate, TimeZone};
use chrono_tz::Tz;

const QUARTER_HOUR_S: i64 = 15 * 60;
/// Furthest a zone is from UTC, with some room.
const OFFSET_QUARTERS_MAX: i64 = 30 * 4;

/// Some credits that are used together.
#[derive(Clone, Debug)]
struct Lot {
    is_free: bool,
    starts_us: i64,
    ends_us: i64,
    amount: i64,
    left: i64,
}

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
    Charge { action: &'static str, price: i64, quantity: i64, failed: bool },
    Purchase { packs: i64 },
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Credits moved: how many of lots that started when, in order. Negative numbers were taken.
    Moved(Vec<(i64, i64)>),
    /// Logged as failed, since the platform said so.
    Failed,
    /// Logged as failed for want of credits.
    Insufficient,
    /// Nothing was written.
    Error(&'static str),
}

/// One account.
#[derive(Clone, Debug)]
pub struct Naive {
    opened_us: i64,
    lots: Vec<Lot>,
    calls: Vec<(Call, Answer)>,
}

impl Naive {
    /// An account in `zone` that opens on a local day, with its free credits of `months` months.
    pub fn new(zone: Tz, opened_on: NaiveDate, allowance: i64, months: u32) -> Naive {
        let opened_us = midnight(zone, opened_on);
        let first = (0..=1_i32)
            .map(|later| first_of_month(opened_on, later))
            .rfind(|first| midnight(zone, *first) <= opened_us)
            .expect("the month it opens in");
        let starts: Vec<i64> = (0..=i32::try_from(months).expect("few"))
            .map(|later| midnight(zone, first_of_month(first, later)))
            .collect();
        let lot = |bounds: &[i64]| Lot {
            is_free: true,
            starts_us: bounds[0].max(opened_us),
            ends_us: bounds[1],
            amount: allowance,
            left: allowance,
        };
        Naive { opened_us, lots: starts.windows(2).map(lot).collect(), calls: Vec::new() }
    }

    /// The instants at which its months end.
    pub fn month_ends(&self) -> impl Iterator<Item = i64> {
        self.lots.iter().filter(|lot| lot.is_free).map(|lot| lot.ends_us)
    }

    /// Does what is asked; true when it was asked before.
    pub fn answer(&mut self, call: &Call, pack: i64, now_us: i64) -> (Answer, bool) {
        if let Some((first, answer)) = self.calls.iter().find(|(earlier, _)| earlier.key == call.key) {
            return if first == call { (answer.clone(), true) } else { (Answer::Error("idempotency_conflict"), false) };
        }
        let answer = self.first_answer(call, pack, now_us);
        if !matches!(answer, Answer::Error(_)) {
            self.calls.push((call.clone(), answer.clone()));
        }
        (answer, false)
    }

    fn first_answer(&mut self, call: &Call, pack: i64, now_us: i64) -> Answer {
        let at_us = call.told_us.unwrap_or(now_us);
        if at_us > now_us {
            return Answer::Error("in_future");
        }
        if at_us < self.opened_us {
            return Answer::Error("not_opened");
        }
        match call.what {
            What::Charge { quantity, .. } if !(1..=1_000_000).contains(&quantity) => Answer::Error("bad_quantity"),
            What::Charge { failed: true, .. } => Answer::Failed,
            What::Charge { price, quantity, .. } => self.burn(price * quantity, at_us),
            What::Purchase { packs } if !(1..=100_000).contains(&packs) => Answer::Error("bad_quantity"),
            What::Purchase { packs } => {
                let amount = packs * pack;
                self.lots.push(Lot { is_free: false, starts_us: at_us, ends_us: i64::MAX, amount, left: amount });
                Answer::Moved(vec![(at_us, amount)])
            }
        }
    }

    fn burn(&mut self, cost: i64, at_us: i64) -> Answer {
        let mut usable: Vec<&mut Lot> =
            self.lots.iter_mut().filter(|lot| lot.starts_us <= at_us && at_us < lot.ends_us).collect();
        if usable.iter().map(|lot| lot.left).sum::<i64>() < cost {
            return Answer::Insufficient;
        }
        // A stable sort, and lots are in order of arrival.
        usable.sort_by_key(|lot| (lot.ends_us, lot.starts_us));
        let mut missing = cost;
        let mut moved = Vec::new();
        for lot in usable {
            let part = lot.left.min(missing);
            if part > 0 {
                lot.left -= part;
                missing -= part;
                moved.push((lot.starts_us, -part));
            }
        }
        Answer::Moved(moved)
    }

    /// Free and purchased credits that a charge at `t_us` can use.
    pub fn available(&self, t_us: i64) -> (i64, i64) {
        let of_type = |is_free| {
            let usable = |lot: &&Lot| lot.is_free == is_free && lot.starts_us <= t_us && t_us < lot.ends_us;
            self.lots.iter().filter(usable).map(|lot| lot.left).sum()
        };
        (of_type(true), of_type(false))
    }

    /// Of each month that is over at `t_us`: when it ended, how much of its free credits was used and how much lapsed.
    pub fn months_over(&self, t_us: i64) -> Vec<(i64, i64, i64)> {
        let over = self.lots.iter().filter(|lot| lot.is_free && lot.ends_us <= t_us);
        over.map(|lot| (lot.ends_us, lot.amount - lot.left, lot.left)).collect()
    }
}

/// The first day of the month `later` months after that of `date`.
fn first_of_month(date: NaiveDate, later: i32) -> NaiveDate {
    let months = date.year() * 12 + i32::try_from(date.month0()).expect("below 12") + later;
    let month = u32::try_from(months.rem_euclid(12)).expect("below 12") + 1;
    NaiveDate::from_ymd_opt(months.div_euclid(12), month, 1).expect("a date")
}

/// The first instant at which the clocks in `zone` show `date` or a later one: looked for in steps of a quarter of an
/// hour, then down to the second.
pub fn midnight(zone: Tz, date: NaiveDate) -> i64 {
    let utc_midnight = date.and_hms_opt(0, 0, 0).expect("midnight in UTC").and_utc().timestamp();
    let reached = |second: &i64| {
        let utc = chrono::DateTime::from_timestamp(*second, 0).expect("in range").naive_utc();
        zone.from_utc_datetime(&utc).date_naive() >= date
    };
    let mut quarters =
        (-OFFSET_QUARTERS_MAX..=OFFSET_QUARTERS_MAX).map(|quarter| utc_midnight + quarter * QUARTER_HOUR_S);
    let quarter = quarters.find(reached).expect("every date begins or is skipped within thirty hours");
    (quarter - QUARTER_HOUR_S..=quarter).find(reached).expect("the quarter itself") * 1_000_000
}
