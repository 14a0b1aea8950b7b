//! How far off forecasts are: a real year is replayed, each account is foreseen at many instants, and what came is compared.
//!
//! `CREDITD_TRACE_DIR=DIR cargo bench --bench forecast` where DIR has accounts.csv and usage.csv.gz. The answers are in
//! docs/forecast.md. Nothing is timed, and nothing depends on chance: the same trace gives the same tables.
//!
//! A forecast sees what was used before its instant and is asked two things: how much will be used until the month ends, and
//! when so-and-so many credits are used up. For the latter it gets as many as in truth last for some days. Every action
//! counts, as if there were always enough credits: what is tested is the foresight, not the ledger.

use chrono::{NaiveDate, Weekday};
use creditd::core::calendar::{Calendar, Instant, Month, Terms, next_day, parse_date, parse_zone};
use creditd::core::credits::{Credits, Split};
use creditd::core::forecast::{
    DailyUse, Forecast, ForecastInput, HISTORY_DAYS_MIN, PACE_DAYS, PATTERN_DAYS, PATTERN_DAYS_MIN, forecast,
};
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

const PRICES: &[(&str, i64)] = &[
    ("text-to-image", 8),
    ("erase", 7),
    ("background-removal", 5),
    ("image-enhancement", 4),
    ("translation", 1),
    ("upscale", 0),
];
const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;
/// An account is looked at once in so many days, and each day while it is young.
const DAYS_PER_CUT: usize = 3;
const YOUNG_DAYS: usize = 14;
/// How many days the credits of a question last in truth.
const LASTING_DAYS: &[i64] = &[1, 2, 3, 7, 14];
/// The alert that is looked at: so many of the month's free credits are used, so many are left.
const ALERT: (i64, i64) = (1_200, 300);
/// Fewer charges in the last 28 days are no use to foresee.
const CHARGES_MIN: usize = 14;
/// From so many charges in the last 28 days on, four a day, an account is busy.
const BUSY_CHARGES: usize = 112;

/// One account's year.
struct Account {
    calendar: Calendar,
    opened_at: Instant,
    /// When it used something, oldest first.
    at: Vec<Instant>,
    /// What was used before each of these, and all.
    before: Vec<i64>,
}

impl Account {
    /// Charges before `at`.
    fn charges(&self, at: Instant) -> usize {
        self.at.partition_point(|charged_at| *charged_at < at)
    }

    fn used(&self, from: Instant, to: Instant) -> i64 {
        self.before[self.charges(to)] - self.before[self.charges(from)]
    }

    /// When `credits` that are there at `from` are used up in truth.
    fn used_up_at(&self, from: Instant, credits: i64) -> Option<Instant> {
        let all = self.before[self.charges(from)] + credits;
        let charges = self.before.partition_point(|before| *before < all);
        self.at.get(charges.checked_sub(1)?).copied().filter(|_| charges < self.before.len())
    }
}

/// The ways to foresee that are compared. The first four are reckoned here, in floats; the last is what creditd does.
const METHODS: [&str; 5] = ["7-day pace", "28-day pace", "28-day pace by weekday", "half and half", "creditd"];

/// Errors of each method.
#[derive(Clone, Default)]
struct Errors([Vec<f64>; 5]);

/// What is asked at an instant.
struct Cut<'a> {
    account: &'a Account,
    now: Instant,
    daily: DailyUse,
}

impl<'a> Cut<'a> {
    fn new(account: &'a Account, now: Instant) -> Cut<'a> {
        let mut daily = DailyUse::unused(&account.calendar, account.opened_at, now);
        let since = account.charges(now.plus_days(-PATTERN_DAYS));
        for at in since..account.charges(now) {
            daily.add(account.at[at], Credits::new(account.before[at + 1] - account.before[at]));
        }
        Cut { account, now, daily }
    }

    fn reset_at(&self) -> Instant {
        self.account.calendar.month_end(self.account.calendar.month_of(self.now))
    }

    fn history_days(&self) -> i64 {
        (self.now.micros() - self.account.opened_at.micros()) / MICROS_PER_DAY
    }

    fn charges(&self, days: i64) -> usize {
        self.account.charges(self.now) - self.account.charges(self.now.plus_days(-days))
    }

    /// Credits per microsecond of each weekday, by the methods that are not creditd's.
    fn rates(&self) -> [[f64; 7]; 4] {
        let sum = |days: i64| {
            let from = self.account.opened_at.max(self.now.plus_days(-days));
            float(self.account.used(from, self.now)) / float(self.now.micros() - from.micros())
        };
        let (week, month) = (sum(PACE_DAYS), sum(PATTERN_DAYS));
        let (mut used, mut micros) = ([0.0; 7], [0.0; 7]);
        for day in self.daily.days() {
            let at = day.weekday.num_days_from_monday() as usize;
            used[at] += float(day.used.get());
            micros[at] += float(day.to.min(self.now).micros() - day.from.micros());
        }
        let by_weekday = match self.history_days() >= PATTERN_DAYS_MIN {
            true => std::array::from_fn(|at| used[at] / micros[at]),
            false => [month; 7],
        };
        [[week; 7], [month; 7], by_weekday, by_weekday.map(|rate| rate.midpoint(week))]
    }

    /// What each method says is used until the month ends.
    fn used_until_reset(&self) -> [f64; 5] {
        let until = self.reset_at();
        let [week, month, by_weekday, half] = self.rates().map(|rates| self.walk(&rates, 1, until).0);
        // More than is ever used, so that what is left says what was used.
        let many = 1_000_000_000;
        let used = self.ask(many).left.map_or(0, |left| many - left.total().get());
        [week, month, by_weekday, half, float(used)]
    }

    /// How many days `credits` last by each method.
    fn lasting_days(&self, credits: i64) -> [f64; 5] {
        let [week, month, by_weekday, half] = self.rates().map(|rates| self.walk(&rates, credits, self.now).1);
        let out = self.ask(credits).runs_out_at.map_or(f64::INFINITY, |at| float(at.micros() - self.now.micros()));
        [week, month, by_weekday, half, out].map(|micros| (micros / float(MICROS_PER_DAY)).min(366.0))
    }

    fn ask(&self, credits: i64) -> Forecast {
        forecast(&ForecastInput {
            calendar: &self.account.calendar,
            daily: &self.daily,
            now: self.now,
            available: Split { free: Credits::ZERO, purchased: Credits::new(credits) },
            grants: &[],
            next_reset_at: self.reset_at(),
            pack_credits: None,
        })
    }

    fn walk(&self, rates: &[f64; 7], credits: i64, until: Instant) -> (f64, f64) {
        let calendar = &self.account.calendar;
        let (mut used, mut used_until, mut out) = (0.0, 0.0, f64::INFINITY);
        let (mut day, mut from) = (calendar.day_of(self.now), self.now);
        let end = self.now.plus_days(366);
        while from < end && (from < until || out.is_infinite()) {
            let to = if from < until { calendar.day_end(day).min(until) } else { calendar.day_end(day) };
            let rate = rates[weekday(day).num_days_from_monday() as usize];
            let within = rate * float(to.micros() - from.micros());
            if out.is_infinite() && within > 0.0 && used + within >= float(credits) {
                out = float(from.micros() - self.now.micros()) + (float(credits) - used) / rate;
            }
            used += within;
            if to <= until {
                used_until = used;
            }
            if to == calendar.day_end(day) {
                day = next_day(day);
            }
            from = to;
        }
        (used_until, out)
    }
}

fn weekday(day: NaiveDate) -> Weekday {
    chrono::Datelike::weekday(&day)
}

#[expect(clippy::cast_precision_loss, reason = "errors are told in three digits")]
fn float(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is told by the environment where the trace is")]
fn main() {
    let Some(trace) = std::env::var_os("CREDITD_TRACE_DIR").map(PathBuf::from) else {
        eprintln!("forecast: set CREDITD_TRACE_DIR to the folder of the trace; nothing was compared");
        return;
    };
    let accounts = read(&trace);
    let mut tables: BTreeMap<(usize, &str, usize, String), Errors> = BTreeMap::new();
    let mut truths: BTreeMap<(usize, &str), (i64, usize)> = BTreeMap::new();
    let mut chance = fastrand::Rng::with_seed(2013);
    for account in &accounts {
        for (is_alert, now) in instants(account, &mut chance) {
            let cut = Cut::new(account, now);
            let Some(group) = group(&cut, is_alert) else { continue };
            let until = cut.reset_at();
            let truth = account.used(now, until);
            let sums = truths.entry(group).or_default();
            (sums.0, sums.1) = (sums.0 + truth, sums.1 + 1);
            let mut add = |(order, what): (usize, String), truth: f64, answers: [f64; 5]| {
                let errors = tables.entry((group.0, group.1, order, what)).or_default();
                for (list, answer) in errors.0.iter_mut().zip(answers) {
                    list.push((answer - truth).abs());
                }
            };
            add((0, "credits used until the month's end".to_owned()), float(truth), cut.used_until_reset());
            let lasting = |days: &i64| (*days, account.used(now, now.plus_days(*days)));
            let questions: Vec<(i64, i64)> =
                if is_alert { vec![(0, ALERT.1)] } else { LASTING_DAYS.iter().map(lasting).collect() };
            for (days, credits) in questions {
                let Some(out) = account.used_up_at(now, credits).filter(|_| credits > 0) else { continue };
                if is_alert && out >= until {
                    continue;
                }
                let order = usize::try_from(days + 1).unwrap_or(0);
                let what = match days {
                    0 => format!("days until {credits} credits are used up"),
                    days => format!("days until what lasts {days} is used up"),
                };
                let lasted = float(out.micros() - now.micros()) / float(MICROS_PER_DAY);
                add((order, what), lasted, cut.lasting_days(credits));
            }
        }
    }
    let mut last = "";
    for ((order, group, _, what), errors) in &tables {
        let (sum, cuts) = truths[&(*order, *group)];
        if *group != last {
            println!("\n## {group}: {cuts} forecasts\n\n| error of | n | {} |", METHODS.join(" | "));
            println!("|---|---|{}", "---|".repeat(METHODS.len()));
            last = group;
        }
        let cell = |errors: &Vec<f64>| {
            let mut sorted = errors.clone();
            sorted.sort_by(f64::total_cmp);
            let mean = sorted.iter().sum::<f64>() / float(i64::try_from(sorted.len()).unwrap_or(1));
            let (median, most) = (sorted[sorted.len() / 2], sorted[sorted.len() * 9 / 10]);
            if what.starts_with("credits") {
                let share = 100.0 * sorted.iter().sum::<f64>() / float(sum.max(1));
                format!("{median:.1}, {most:.0}; {share:.1} %")
            } else {
                format!("{median:.2}, {most:.2}; {mean:.2}")
            }
        };
        let cells: Vec<String> = errors.0.iter().map(cell).collect();
        println!("| {what} | {} | {} |", errors.0[0].len(), cells.join(" | "));
    }
}

/// When an account is looked at: at some time of these days, and when it comes to the alert.
fn instants(account: &Account, chance: &mut fastrand::Rng) -> Vec<(bool, Instant)> {
    let calendar = &account.calendar;
    let (first, end) =
        (calendar.day_of(account.opened_at), calendar.month_start(Month::new(2014, 1).expect("a month")));
    let days = first.iter_days().enumerate().filter(|(at, _)| *at < YOUNG_DAYS || at % DAYS_PER_CUT == 0);
    let days = days.map(|(_, day)| calendar.day_start(day)).take_while(|at| *at < end);
    let mut all: Vec<(bool, Instant)> =
        days.map(|at| (false, at.plus_micros(chance.i64(0..MICROS_PER_DAY)))).filter(|(_, at)| *at < end).collect();
    let mut month = calendar.month_of(account.opened_at);
    while calendar.month_start(month) < end {
        let reached = account.used_up_at(calendar.month_start(month), ALERT.0);
        all.extend(reached.filter(|at| *at < calendar.month_end(month)).map(|at| (true, at.plus_micros(1))));
        month = month.next();
    }
    all
}

/// Where a forecast is counted; `None` where there is nothing to foresee.
fn group(cut: &Cut<'_>, is_alert: bool) -> Option<(usize, &'static str)> {
    let days = cut.history_days();
    if days < HISTORY_DAYS_MIN || cut.charges(PACE_DAYS) == 0 {
        return None;
    }
    // As many in the time that there was.
    let charges = cut.charges(PATTERN_DAYS) * 28 / usize::try_from(days.clamp(1, 28)).unwrap_or(28);
    let group = match days {
        PATTERN_DAYS_MIN.. if is_alert => (0, "at 300 of 1,500 credits, two weeks and older"),
        _ if is_alert => return None,
        PATTERN_DAYS_MIN.. if charges >= BUSY_CHARGES => (1, "four charges a day and more, two weeks and older"),
        PATTERN_DAYS_MIN.. if charges >= CHARGES_MIN => (2, "one charge in two days and more, two weeks and older"),
        _ if charges < BUSY_CHARGES => return None,
        7.. => (3, "four charges a day and more, one to two weeks old"),
        3.. => (4, "four charges a day and more, three to seven days old"),
        _ => (5, "four charges a day and more, one to three days old"),
    };
    Some(group)
}

fn read(trace: &Path) -> Vec<Account> {
    let mut accounts = BTreeMap::new();
    let mut file = csv::Reader::from_path(trace.join("accounts.csv")).expect("accounts.csv");
    for row in file.records() {
        let row = row.expect("a row of accounts.csv");
        let opened_on = parse_date(&row[3]).expect("a date");
        let terms = Terms {
            from: Month::of(opened_on),
            zone: parse_zone(&row[2]).expect("a zone"),
            allowance: Credits::new(ALERT.0 + ALERT.1),
        };
        let calendar = Calendar::new(terms);
        let opened_at = calendar.day_start(opened_on);
        accounts.insert(row[0].to_owned(), (calendar, opened_at, Vec::new()));
    }
    let usage = GzDecoder::new(File::open(trace.join("usage.csv.gz")).expect("usage.csv.gz"));
    for row in csv::Reader::from_reader(usage).records() {
        let row = row.expect("a row of usage.csv.gz");
        let price = PRICES.iter().find(|(action, _)| *action == &row[3]).expect("a price").1;
        if &row[4] == "success" && price > 0 {
            let (_, _, uses) = accounts.get_mut(&row[1]).expect("an account of accounts.csv");
            uses.push((Instant::parse(&row[0]).expect("an instant"), price));
        }
    }
    let account = |(calendar, opened_at, mut uses): (Calendar, Instant, Vec<(Instant, i64)>)| {
        uses.sort_unstable();
        let sum = uses.iter().scan(0, |sum, (_, credits)| {
            *sum += credits;
            Some(*sum)
        });
        let before = std::iter::once(0).chain(sum).collect();
        Account { calendar, opened_at, at: uses.iter().map(|(at, _)| *at).collect(), before }
    };
    accounts.into_values().map(account).collect()
}
