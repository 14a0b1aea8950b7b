//! How long the credits of an account last, by what it used lately (DESIGN 5). Integers only.
//!
//! Two sentences explain it. The pace is what was used in the last 7 days, net of refunds; each coming local day goes on at
//! that pace, a weekday with its own share of a week as in the last 28 days. Without two weeks of history all days are
//! alike. How good that is, and why not otherwise, is measured: docs/forecast.md.
//!
//! The paces are rounded half up to whole credits; these figures are only for showing. Instants are reckoned from the
//! exact quotients (a weekday's share to a billionth, rounded up) and rounded down to the microsecond, so a forecast says
//! no later than the arithmetic does. Credits are expected to be used in the order in which they are (R5): the allowance
//! before packs, but a pack before free credits without an end that came after it.
//!
//! A forecast looks at the credits of now. Beyond the next reset that is not what will be there (free credits lapse, a
//! new allowance comes), so [`Outlook`] answers only what an admin asks: is there a gap before the reset?

use super::calendar::{Calendar, Instant, YEAR_MAX, YEAR_MIN, next_day};
use super::credits::{CreditType, Credits, Split};
use chrono::{Datelike, Weekday};

/// How far back the pace looks, in days of 24 hours.
pub const PACE_DAYS: i64 = 7;
/// How far back the longer pace and the pattern of the week look, in days of 24 hours: four of each weekday. Less history than
/// this is not enough for the longer pace, which is said to be of so many days.
pub const PATTERN_DAYS: i64 = 28;
/// Less history than this, in days of 24 hours, is not enough for a pace.
pub const HISTORY_DAYS_MIN: i64 = 1;
/// Less history than this, in days of 24 hours, is not enough for the pattern of the week: each weekday was seen twice.
pub const PATTERN_DAYS_MIN: i64 = 14;
/// Forecasts further away than this many days are none at all.
pub const FORECAST_DAYS_MAX: i64 = 366;

/// Most stretches of a [`DailyUse`]: its days, that of now and the cut where the pace begins, and one for a zone that
/// moved over the date line.
const STRETCHES_MAX: usize = 32;
/// A weekday that was seen for less than this has no share of its own; only moves over the date line do that.
const WEEKDAY_MICROS_MIN: i64 = MICROS_PER_DAY / 2;
/// Days until a reset: those of a month, and one more where a zone moved.
const DAYS_PER_MONTH_MAX: usize = 32;
const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;
/// A weekday's share of the week, when all are alike.
const EVEN_SHARE: i128 = 1_000_000_000;

/// What was used in a stretch of one local day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUse {
    /// Where the stretch begins.
    pub from: Instant,
    /// The first instant behind it.
    pub to: Instant,
    /// The day's.
    pub weekday: Weekday,
    /// Gross charges less refunds. Negative when more was refunded.
    pub used: Credits,
}

/// What an account used lately, by its own local days: those of the last [`PATTERN_DAYS`], or since it was opened.
///
/// The first day begins as far back as that, within the day; the day in which the pace begins is cut in two there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyUse(Vec<DayUse>);

impl DailyUse {
    /// The days until `now` of an account opened at `opened_at`, with nothing used in them. None at all before it opens,
    /// and in years that calendars do not know.
    #[must_use]
    pub fn unused(calendar: &Calendar, opened_at: Instant, now: Instant) -> DailyUse {
        let mut days = Vec::new();
        let (mut from, pace_from) = (now.plus_days(-PATTERN_DAYS).max(opened_at), now.plus_days(-PACE_DAYS));
        if !is_known(now) || !is_known(from) {
            return DailyUse(days);
        }
        // What is used at this very instant counts.
        let behind = now.plus_micros(1);
        let mut day = calendar.day_of(from);
        while from < behind && days.len() < STRETCHES_MAX {
            let end = calendar.day_end(day).min(behind);
            let to = if from < pace_from { end.min(pace_from) } else { end };
            if from < to {
                days.push(DayUse { from, to, weekday: day.weekday(), used: Credits::ZERO });
            }
            from = to.max(from);
            if from == end {
                day = next_day(day);
            }
        }
        DailyUse(days)
    }

    /// Its stretches, oldest first, each from where the one before ends.
    #[must_use]
    pub fn days(&self) -> &[DayUse] {
        &self.0
    }

    /// Counts `used` at `at`; what lies outside of all days does not count. A sum stops at the ends of the range of credits.
    pub fn add(&mut self, at: Instant, used: Credits) {
        let after = self.0.partition_point(|day| day.from <= at);
        let Some(day) = after.checked_sub(1).map(|last| &mut self.0[last]) else { return };
        if at < day.to {
            let limit = Credits::LIMIT.get();
            day.used = Credits::new(day.used.get().saturating_add(used.get()).clamp(-limit, limit));
        }
    }

    /// What was used from `since` to `now`; `None` without as many days of history.
    fn sum(&self, since: Instant, now: Instant, days_min: i64) -> Option<Sum> {
        let mut sum = Sum::default();
        self.0.iter().filter(|day| since <= day.from).for_each(|day| sum.add(day, now));
        (sum.micros >= i128::from(days_min * MICROS_PER_DAY)).then_some(sum)
    }

    /// What was used in the days of the pace; `None` when there is not enough history.
    fn recent(&self, now: Instant) -> Option<Sum> {
        self.sum(now.plus_days(-PACE_DAYS), now, HISTORY_DAYS_MIN).filter(|_| is_known(now))
    }

    /// Whether there is enough history for the pattern of the week.
    fn has_pattern(&self, now: Instant) -> bool {
        self.sum(Instant::MIN, now, PATTERN_DAYS_MIN).is_some()
    }

    /// Of each weekday from Monday on, its share of a week, [`EVEN_SHARE`] for one like all others.
    fn shares(&self, now: Instant) -> [i128; 7] {
        let mut weekdays = [Sum::default(); 7];
        for day in &self.0 {
            weekdays[day.weekday as usize].add(day, now);
        }
        let seen = weekdays.iter().all(|sum| sum.micros >= i128::from(WEEKDAY_MICROS_MIN));
        if !seen || !self.has_pattern(now) {
            return [EVEN_SHARE; 7];
        }
        let rates = weekdays.map(|sum| sum.credits() * i128::from(MICROS_PER_DAY) * EVEN_SHARE / sum.micros);
        let week: i128 = rates.iter().sum();
        rates.map(|rate| if week == 0 { EVEN_SHARE } else { (7 * EVEN_SHARE * rate + week - 1) / week })
    }
}

/// What a forecast is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForecastInput<'a> {
    /// The account's.
    pub calendar: &'a Calendar,
    /// What was used until `now`.
    pub daily: &'a DailyUse,
    /// The present.
    pub now: Instant,
    /// What is available now.
    pub available: Split,
    /// Of what it is left, in the order in which it is used. What is missing here comes last, free credits first; of what is
    /// too much, the first was used.
    pub grants: &'a [GrantLeft],
    /// When the next free credits are allocated, or the next month begins without.
    pub next_reset_at: Instant,
    /// Credits in a pack, where packs are sold.
    pub pack_credits: Option<Credits>,
}

/// What is left of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLeft {
    /// Of which type.
    pub credit_type: CreditType,
    /// When the rest of it lapses; `None` never.
    pub ends_at: Option<Instant>,
    /// What is left of it now.
    pub credits: Credits,
}

/// What lies between now and the next reset, at this pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing is available.
    Empty,
    /// Nothing was used, or there is not enough history: the account is less than a day old.
    Unknown,
    /// Everything is used up before the reset.
    RunsOut,
    /// The free credits are used up before the reset, the purchased ones are not.
    PurchasedCover,
    /// The free credits suffice.
    FreeLast,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Credits a day in the last [`PACE_DAYS`], rounded half up; 0 can mean "less than one every two days". None when
    /// there is not enough history ([`HISTORY_DAYS_MIN`]).
    pub pace_per_day: Option<Credits>,
    /// Of how many days that is: [`PACE_DAYS`], or those since the account was opened, to the nearest.
    pub pace_days: i64,
    /// The same of the last [`PATTERN_DAYS`]; None with less history than that.
    pub pace28_per_day: Option<Credits>,
    /// Whether each weekday goes on with its own share of a week: with [`PATTERN_DAYS_MIN`] of history.
    pub by_weekday: bool,
    /// When the present free credits are used up at this pace. None without a pace or beyond [`FORECAST_DAYS_MAX`].
    pub free_runs_out_at: Option<Instant>,
    /// Whether that is where the last free bonus ends: what is left of it lapses then, and was not used up.
    pub free_lapse: bool,
    /// The same for free and purchased together.
    pub runs_out_at: Option<Instant>,
    /// Whether that is where the last bonus ends, and what is left of it lapses.
    pub lapse: bool,
    /// When nothing is left if no more come: used up at this pace, or lapsed, with the month's own at the reset. None without a pace or
    /// beyond [`FORECAST_DAYS_MAX`].
    pub gone_at: Option<Instant>,
    /// Whether that is where the last of them lapses, and was not used up.
    pub gone_lapse: bool,
    /// When the last of what is there ends, however little is used. None where some of it never ends, or nothing is there.
    pub last_ends_at: Option<Instant>,
    /// Whether there is a gap before the reset.
    pub outlook: Outlook,
    /// What is left just before the reset, rounded up to whole credits. None when there is not enough history.
    pub left: Option<Split>,
    /// How many packs would carry to the reset; 0 when what is there lasts. None without a pace to reckon by, and where
    /// no packs are sold.
    pub packs_needed: Option<i64>,
}

impl Forecast {
    /// The time that the pace is taken from, in words that follow "the": `last 7 days`, `3 days since the account was opened`.
    #[must_use]
    pub fn pace_window(&self) -> String {
        match self.pace_days {
            PACE_DAYS.. => format!("last {PACE_DAYS} days"),
            ..=1 => "day since the account was opened".to_owned(),
            days => format!("{days} days since the account was opened"),
        }
    }

    /// Until when the credits last at most, where that says more than that new ones come as the month's lapse.
    #[must_use]
    pub fn lasts_until(&self, next_reset_at: Instant, next_allowance: Credits) -> Option<Instant> {
        self.last_ends_at.filter(|end| *end != next_reset_at || next_allowance.is_zero())
    }
}

/// Reckons how long the credits last.
#[must_use]
pub fn forecast(input: &ForecastInput<'_>) -> Forecast {
    let ForecastInput { daily, now, available, .. } = *input;
    let recent = daily.recent(now);
    let longer = daily.sum(Instant::MIN, now, PATTERN_DAYS);
    let course = recent.and_then(|recent| Course::new(input, recent));
    let is_empty = available.total() <= Credits::ZERO;
    // What will have lapsed by then serves nobody, but is there until then.
    let order = in_order(input);
    let horizon = now.plus_days(FORECAST_DAYS_MAX);
    let alone = lasting(course.as_ref(), &ForecastInput { next_reset_at: horizon, ..*input }, &order, horizon);
    let lasting = lasting(course.as_ref(), input, &order, input.next_reset_at);
    let ends = order.iter().filter(|grant| !grant.credits.is_zero()).map(|grant| grant.ends_at);

    let to_reset = micros_until(now, input.next_reset_at);
    let used_up = |credits: Credits, until: Instant| {
        let (used, end) = (course.as_ref()?.used_up_after_micros(credits), micros_until(now, until));
        // Where the pace has used all else at that very moment, the rest lapses all the same.
        Some((used.max(end), now < until && used <= end))
    };
    let (free_micros, free_lapse) = used_up(lasting.through_free, lasting.free_until).unzip();
    let (total_micros, lapse) = used_up(lasting.total, lasting.until).unzip();
    let (gone_micros, gone_lapse) = used_up(alone.total, alone.until).unzip();
    let outlook = match (free_micros, total_micros) {
        _ if is_empty => Outlook::Empty,
        (_, Some(total)) if total < to_reset => Outlook::RunsOut,
        (Some(free), Some(_)) if free < to_reset => Outlook::PurchasedCover,
        (Some(_), Some(_)) => Outlook::FreeLast,
        _ => Outlook::Unknown,
    };
    let at = |micros: Option<i64>| {
        micros.filter(|micros| *micros <= FORECAST_DAYS_MAX * MICROS_PER_DAY).map(|micros| now.plus_micros(micros))
    };
    Forecast {
        pace_per_day: recent.map(Sum::per_day),
        pace_days: recent.map_or(0, Sum::days),
        pace28_per_day: longer.map(Sum::per_day),
        by_weekday: daily.has_pattern(now),
        free_runs_out_at: at(free_micros),
        free_lapse: free_lapse.unwrap_or(false),
        runs_out_at: at(total_micros),
        lapse: lapse.unwrap_or(false),
        gone_at: at(gone_micros),
        gone_lapse: gone_lapse.unwrap_or(false),
        last_ends_at: ends.map(|end| end.unwrap_or(Instant::MAX)).max().filter(|end| *end < Instant::MAX),
        outlook,
        left: recent.map(|_| lasting.left),
        packs_needed: input
            .pack_credits
            .zip(course.as_ref())
            .map(|(pack, course)| course.packs(lasting.total, pack, to_reset)),
    }
}

/// What is left at the end of each coming day before the reset, at the reset, and at those of `others` that lie before it, as
/// [`Forecast::left`] is, in the order of time. Empty without a pace to reckon by.
#[must_use]
pub fn left_by_day(input: &ForecastInput<'_>, others: &[Instant]) -> Vec<(Instant, Split)> {
    let ForecastInput { calendar, now, next_reset_at, .. } = *input;
    let Some(course) = input.daily.recent(now).and_then(|recent| Course::new(input, recent)) else {
        return Vec::new();
    };
    let mut ends = Vec::new();
    let mut day = calendar.day_of(now);
    while ends.last().is_none_or(|end| *end < next_reset_at) && ends.len() < DAYS_PER_MONTH_MAX {
        ends.push(calendar.day_end(day).min(next_reset_at));
        day = next_day(day);
    }
    ends.extend(others.iter().filter(|at| **at < next_reset_at));
    ends.sort_unstable();
    let order = in_order(input);
    ends.into_iter().map(|end| (end, lasting(Some(&course), input, &order, end).left)).collect()
}

/// All that is available, in the order in which it is used.
fn in_order(input: &ForecastInput<'_>) -> Vec<GrantLeft> {
    let mut rest = input.available;
    let listed = input.grants.iter().rev().map(|grant| {
        let there = match grant.credit_type {
            CreditType::Free => &mut rest.free,
            CreditType::Purchased => &mut rest.purchased,
        };
        let credits = grant.credits.min(*there).max(Credits::ZERO);
        *there = Credits::new(there.get() - credits.get());
        GrantLeft { credits, ..*grant }
    });
    let mut order: Vec<GrantLeft> = listed.collect();
    order.reverse();
    let unlisted = [CreditType::Free, CreditType::Purchased];
    order.extend(unlisted.map(|of| GrantLeft {
        credit_type: of,
        ends_at: None,
        credits: rest.get(of).max(Credits::ZERO),
    }));
    order
}

/// What becomes of what is available until some instant.
struct Lasting {
    /// All but what lapses unused until then.
    total: Credits,
    /// As far as the last free credits, with what is used before them.
    through_free: Credits,
    /// What is left at that instant.
    left: Split,
    /// When the last of what lapses does, of free credits: until then some are there. Now, where none does.
    free_until: Instant,
    /// The same of free and purchased ones.
    until: Instant,
}

/// What becomes of grants in `order` until `until`; without a course, nothing is used.
///
/// A grant is used from where those before it are used up, until it ends: what is expected to be used until then and was not
/// taken from them comes from it, the rest lapses. What ends at the reset is there just before it.
fn lasting(course: Option<&Course<'_>>, input: &ForecastInput<'_>, order: &[GrantLeft], until: Instant) -> Lasting {
    let used_by = |at| course.map_or(Credits::ZERO, |course| course.used_by(at));
    let used_in_all = used_by(until);
    let (mut taken_before, mut total) = (0, 0);
    let (mut free_until, mut some_until) = (input.now, input.now);
    let (mut through_free, mut left) = (0, Split::ZERO);
    for grant in order {
        let credits = grant.credits.get();
        let end = grant.ends_at.filter(|end| *end <= until && *end < input.next_reset_at);
        let used = end.map_or(used_in_all, used_by);
        let taken = (used.get() - taken_before).clamp(0, credits);
        taken_before += taken;
        let lapses_at = end.filter(|_| taken < credits);
        let (there, rest) = if lapses_at.is_some() { (taken, 0) } else { (credits, credits - taken) };
        total += there;
        some_until = some_until.max(lapses_at.unwrap_or(some_until));
        let of_type = match grant.credit_type {
            CreditType::Free => {
                free_until = free_until.max(lapses_at.unwrap_or(free_until));
                through_free = if there > 0 { total } else { through_free };
                &mut left.free
            }
            CreditType::Purchased => &mut left.purchased,
        };
        *of_type = Credits::new(of_type.get() + rest);
    }
    let (total, through_free) = (Credits::new(total), Credits::new(through_free));
    Lasting { total, through_free, left, free_until, until: some_until }
}

/// Credits used in some time.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    used: i128,
    micros: i128,
}

impl Sum {
    /// Adds a stretch as far as it lies before `now`.
    fn add(&mut self, day: &DayUse, now: Instant) {
        self.used += i128::from(day.used.get());
        self.micros += (i128::from(day.to.min(now).micros()) - i128::from(day.from.micros())).max(0);
    }

    /// At least none and at most as many as an account can have, so that products of them fit.
    fn credits(self) -> i128 {
        self.used.clamp(0, i128::from(Credits::LIMIT.get()))
    }

    /// To the nearest.
    fn days(self) -> i64 {
        let day = i128::from(MICROS_PER_DAY);
        i64::try_from((2 * self.micros + day) / (2 * day)).unwrap_or(i64::MAX)
    }

    /// In at least a day, so the quotient is at most what was used.
    fn per_day(self) -> Credits {
        let twice = 2 * self.credits() * i128::from(MICROS_PER_DAY);
        Credits::new(i64::try_from((twice + self.micros) / (2 * self.micros)).unwrap_or(i64::MAX))
    }
}

/// What is expected from now on. To stay exact, it is reckoned in parts of a credit, of which the recent days' use per
/// microsecond is a whole number.
struct Course<'a> {
    calendar: &'a Calendar,
    now: Instant,
    /// Of each weekday from Monday on.
    parts_per_micro: [i128; 7],
    parts_per_micro_even: i128,
    parts_per_credit: i128,
}

impl<'a> Course<'a> {
    /// `None` when nothing was used lately.
    fn new(input: &ForecastInput<'a>, recent: Sum) -> Option<Course<'a>> {
        let ForecastInput { calendar, daily, now, .. } = *input;
        let credits = Some(recent.credits()).filter(|credits| *credits > 0)?;
        Some(Course {
            calendar,
            now,
            parts_per_micro: daily.shares(now).map(|share| credits * share),
            parts_per_micro_even: credits * EVEN_SHARE,
            parts_per_credit: recent.micros * EVEN_SHARE,
        })
    }

    /// The coming stretches, in microseconds, and the parts that are used in each microsecond of them: the rest of today
    /// and whole local days for [`FORECAST_DAYS_MAX`]; behind them, and where all days are alike, a long one.
    fn stretches(&self) -> impl Iterator<Item = (i64, i128)> {
        let is_even = self.parts_per_micro == [self.parts_per_micro_even; 7];
        let days_max = if is_even { 0 } else { FORECAST_DAYS_MAX + 1 };
        let (mut day, mut from) = (None, self.now);
        let days = (0..days_max).map(move |_| {
            let today = day.map_or_else(|| self.calendar.day_of(self.now), next_day);
            let to = self.calendar.day_end(today).max(from);
            let micros = micros_until(from, to);
            (day, from) = (Some(today), to);
            (micros, self.parts_per_micro[today.weekday() as usize])
        });
        days.chain([(i64::MAX, self.parts_per_micro_even)])
    }

    fn parts(&self, credits: Credits) -> i128 {
        i128::from(credits.get().max(0)).saturating_mul(self.parts_per_credit)
    }

    /// How long `credits` last, in microseconds; all that is further away than those can count is `i64::MAX`.
    fn used_up_after_micros(&self, credits: Credits) -> i64 {
        let (mut parts, mut after) = (self.parts(credits), 0_i64);
        for (micros, rate) in self.stretches() {
            if parts == 0 {
                break;
            }
            let used = i128::from(micros).saturating_mul(rate);
            if parts <= used {
                return after.saturating_add(i64::try_from(parts / rate).unwrap_or(i64::MAX));
            }
            parts -= used;
            after = after.saturating_add(micros);
        }
        after
    }

    /// Parts of credits used in the coming `micros`.
    fn used_parts(&self, micros: i64) -> i128 {
        let (mut parts, mut rest) = (0_i128, micros);
        for (micros, rate) in self.stretches() {
            if rest == 0 {
                break;
            }
            let within = rest.min(micros);
            parts = parts.saturating_add(i128::from(within).saturating_mul(rate));
            rest -= within;
        }
        parts
    }

    /// Whole credits used until `at`.
    fn used_by(&self, at: Instant) -> Credits {
        let used = self.used_parts(micros_until(self.now, at)) / self.parts_per_credit;
        Credits::new(i64::try_from(used).unwrap_or(i64::MAX).min(Credits::LIMIT.get()))
    }

    /// How many packs are used with all of `available` in the coming `micros`, the last one perhaps in part.
    fn packs(&self, available: Credits, pack: Credits, micros: i64) -> i64 {
        let short = (self.used_parts(micros) - self.parts(available)).max(0);
        let pack = self.parts(pack.max(Credits::new(1)));
        i64::try_from((short - 1).div_euclid(pack) + 1).unwrap_or(i64::MAX)
    }
}

/// None when `to` is before `from`.
const fn micros_until(from: Instant, to: Instant) -> i64 {
    let micros = to.micros().saturating_sub(from.micros());
    if micros < 0 { 0 } else { micros }
}

/// True where calendars can be asked.
fn is_known(at: Instant) -> bool {
    (YEAR_MIN..=YEAR_MAX).contains(&at.to_utc().year())
}

#[cfg(test)]
mod tests;
