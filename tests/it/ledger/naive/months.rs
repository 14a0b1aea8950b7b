//! The months of an account, by looking at the clock on the wall: the oracle of the calendar (R1).

use chrono::{Datelike, NaiveDate, TimeZone};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

const QUARTER_HOUR_S: i64 = 15 * 60;
/// Furthest a zone is from UTC, with some room.
const OFFSET_QUARTERS_MAX: i64 = 30 * 4;

/// The zone and the allowance of an account from each month on. Months are counted from year 0.
#[derive(Clone, Debug)]
pub struct Months(BTreeMap<i32, (Tz, i64)>);

impl Months {
    pub fn new(first: i32, zone: Tz, allowance: i64) -> Months {
        Months(BTreeMap::from([(first, (zone, allowance))]))
    }

    /// What counts in month `n`.
    pub fn terms(&self, n: i32) -> (Tz, i64) {
        let (_, terms) = self.0.range(..=n).next_back().or(self.0.first_key_value()).expect("never empty");
        *terms
    }

    pub fn set(&mut self, from: i32, terms: (Tz, i64)) {
        self.0.insert(from, terms);
    }

    /// The first instant of month `n`: a new zone takes effect where the month before ends in the old one.
    pub fn start(&self, n: i32) -> i64 {
        /// Looking for a midnight is slow, and histories share a few zones.
        static KNOWN: LazyLock<Mutex<BTreeMap<(&str, i32), i64>>> = LazyLock::new(Mutex::default);
        let (zone, _) = self.terms(n - 1);
        let mut known = KNOWN.lock().expect("no test panics while it looks");
        *known.entry((zone.name(), n)).or_insert_with(|| midnight(zone, first_day(n)))
    }

    /// The first instant after month `n`.
    pub fn end(&self, n: i32) -> i64 {
        self.start(n + 1)
    }

    /// The month that contains `t_us`.
    pub fn of(&self, t_us: i64) -> i32 {
        let utc = chrono::DateTime::from_timestamp_micros(t_us).expect("in range").date_naive();
        // No zone is a month from UTC.
        (number(utc) - 1..).find(|n| t_us < self.end(*n)).expect("time goes on")
    }
}

/// The number of the month of `date`.
pub fn number(date: NaiveDate) -> i32 {
    date.year() * 12 + i32::try_from(date.month0()).expect("below 12")
}

/// The first day of month `n`.
pub fn first_day(n: i32) -> NaiveDate {
    let month = u32::try_from(n.rem_euclid(12)).expect("below 12") + 1;
    NaiveDate::from_ymd_opt(n.div_euclid(12), month, 1).expect("a date")
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
