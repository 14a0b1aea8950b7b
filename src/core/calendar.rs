//! Instants, months and days of an account's calendar (R1).
//!
//! Everything here is a pure function of instants and IANA zones. A boundary is the first instant at which the
//! local clock shows the date or a later one: where local midnight does not exist that is the end of the gap,
//! where it exists twice it is the first of the two.
//!
//! An account's zone may change; a change takes effect at its next month start. The boundary into a month
//! therefore lies in the zone of the month that ends there, so months neither overlap nor leave a gap.

use super::ids::cut_text;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;

/// First year creditd knows: before it no account existed and zone data is poor.
pub const YEAR_MIN: i32 = 1970;
/// Last year creditd knows. A mistyped year (20211) is an error, not a loop over millennia.
pub const YEAR_MAX: i32 = 2199;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instant(i64);

/// Why a date, month, instant or zone was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTime {
    /// Not RFC 3339.
    #[error("{0:?} is not an instant such as 2026-03-01T00:00:00Z")]
    Instant(String),
    /// Not a date.
    #[error("{0:?} is not a date such as 2026-03-01")]
    Date(String),
    /// Not a date or a local time.
    #[error(
        "{0:?} is not a time of a day such as 2026-03-01T06:30, on the clock of each account and so without a zone"
    )]
    Local(String),
    /// Not a month.
    #[error("{0:?} is not a month such as 2026-03")]
    Month(String),
    /// Not in the zone database.
    #[error("{0:?} is not a time zone of the IANA database, such as Europe/Berlin")]
    Zone(String),
    /// Outside the years that are handled.
    #[error("the year {0} is outside {YEAR_MIN} to {YEAR_MAX}")]
    Year(i32),
}

/// The beginning of a text that is no time, for an error about it.
pub(super) fn said(text: &str) -> String {
    cut_text(text, 64)
}

impl Instant {
    /// The smallest instant: before everything.
    pub const MIN: Instant = Instant(i64::MIN);
    /// The largest instant: after everything.
    pub const MAX: Instant = Instant(i64::MAX);

    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `micros` microseconds, stopping at the ends of `i64`.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Instant {
        Instant(self.0.saturating_add(micros))
    }

    /// This instant moved by `seconds`, stopping at the ends of `i64`.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Instant {
        Instant(self.0.saturating_add(seconds.saturating_mul(MICROS_PER_SECOND)))
    }

    /// This instant moved by `days` days of 24 hours, stopping at the ends of `i64`.
    #[must_use]
    pub const fn plus_days(self, days: i64) -> Instant {
        self.plus_seconds(days.saturating_mul(86_400))
    }

    /// Reads RFC 3339 (`2013-01-01T10:15:00Z`, any offset).
    ///
    /// # Errors
    /// [`BadTime`] when it is not RFC 3339 or its year is outside the range.
    pub fn parse(text: &str) -> Result<Instant, BadTime> {
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| BadTime::Instant(said(text)))?;
        let utc = parsed.with_timezone(&Utc);
        check_year(utc.year())?;
        // Clocks run up to 14 hours ahead of UTC, and there, too, the year must be one that is known.
        check_year((utc + TimeDelta::hours(14)).year())?;
        Ok(Instant(utc.timestamp_micros()))
    }

    /// The instant in UTC for chrono. Instants outside chrono's range, which only [`Instant::MIN`] and
    /// [`Instant::MAX`] are near, are moved to its ends.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }

    /// The wall clock in `zone` at this instant.
    #[must_use]
    pub fn in_zone(self, zone: Tz) -> DateTime<Tz> {
        zone.from_utc_datetime(&self.to_utc().naive_utc())
    }
}

impl fmt::Display for Instant {
    /// RFC 3339 in UTC, microseconds only when there are any: `2013-01-01T10:15:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }
}

impl std::str::FromStr for Instant {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Instant, BadTime> {
        Instant::parse(text)
    }
}

impl TryFrom<String> for Instant {
    type Error = BadTime;
    fn try_from(text: String) -> Result<Instant, BadTime> {
        Instant::parse(&text)
    }
}

impl From<Instant> for String {
    fn from(instant: Instant) -> String {
        instant.to_string()
    }
}

/// Reads a local date (`2013-01-31`).
///
/// # Errors
/// [`BadTime`] when it is no date or its year is outside the range.
pub fn parse_date(text: &str) -> Result<NaiveDate, BadTime> {
    let bad = || BadTime::Date(said(text));
    // chrono alone would also take "2013-1-1" and "+2013-01-01"; one date has one spelling here.
    let digits: Vec<&str> = text.split('-').collect();
    let [year, month, day] = digits[..] else { return Err(bad()) };
    if digits.iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit())) {
        return Err(bad());
    }
    let year: i32 = year.parse().map_err(|_| bad())?;
    check_year(year)?;
    if month.len() != 2 || day.len() != 2 {
        return Err(bad());
    }
    NaiveDate::from_ymd_opt(year, month.parse().map_err(|_| bad())?, day.parse().map_err(|_| bad())?).ok_or_else(bad)
}

/// Reads an IANA zone name.
///
/// # Errors
/// [`BadTime::Zone`] for any other name.
pub fn parse_zone(text: &str) -> Result<Tz, BadTime> {
    text.parse().map_err(|_| BadTime::Zone(said(text)))
}

fn check_year(year: i32) -> Result<(), BadTime> {
    if (YEAR_MIN..=YEAR_MAX).contains(&year) { Ok(()) } else { Err(BadTime::Year(year)) }
}

/// A calendar month, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(i32); // months since year 0, so that order and steps are plain arithmetic

impl Month {
    /// Month `month` (1 to 12) of `year`.
    ///
    /// # Errors
    /// [`BadTime`] when either is out of range.
    pub fn new(year: i32, month: u32) -> Result<Month, BadTime> {
        check_year(year)?;
        match i32::try_from(month) {
            Ok(m @ 1..=12) => Ok(Month(year * 12 + m - 1)),
            _ => Err(BadTime::Month(format!("{year}-{month}"))),
        }
    }

    /// The month in which `date` lies.
    #[must_use]
    pub fn of(date: NaiveDate) -> Month {
        Month(date.year() * 12 + i32::try_from(date.month0()).unwrap_or(0))
    }

    /// Its first day.
    #[must_use]
    pub fn first_day(self) -> NaiveDate {
        let month = u32::try_from(self.0.rem_euclid(12)).unwrap_or(0) + 1;
        NaiveDate::from_ymd_opt(self.0.div_euclid(12), month, 1).unwrap_or(NaiveDate::MAX)
    }

    /// The month after.
    #[must_use]
    pub const fn next(self) -> Month {
        Month(self.0 + 1)
    }

    /// The month before.
    #[must_use]
    pub const fn previous(self) -> Month {
        Month(self.0 - 1)
    }

    /// Months from `self` to `later`; negative when `later` is earlier.
    #[must_use]
    pub const fn months_until(self, later: Month) -> i32 {
        later.0 - self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1))
    }
}

impl std::str::FromStr for Month {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Month, BadTime> {
        let bad = || BadTime::Month(said(text));
        let (year, month) = text.split_once('-').ok_or_else(bad)?;
        if year.is_empty() || month.len() != 2 || !year.bytes().chain(month.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let month = Month::new(year.parse().map_err(|_| bad())?, month.parse().map_err(|_| bad())?);
        month.map_err(|error| if matches!(error, BadTime::Year(_)) { error } else { bad() })
    }
}

impl TryFrom<String> for Month {
    type Error = BadTime;
    fn try_from(text: String) -> Result<Month, BadTime> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> String {
        month.to_string()
    }
}

/// The first instant at which the clock in `zone` shows `date` or later (R1).
#[must_use]
pub fn first_instant_of(date: NaiveDate, zone: Tz) -> Instant {
    first_instant_at(date.and_time(NaiveTime::MIN), zone)
}

/// The first instant at which the clock in `zone` shows `local` or later.
fn first_instant_at(local: NaiveDateTime, zone: Tz) -> Instant {
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(t) | chrono::LocalResult::Ambiguous(t, _) => Instant(t.timestamp_micros()),
        chrono::LocalResult::None => end_of_gap(local, zone),
    }
}

/// Zone offsets lie within 26 hours, and gaps are whole seconds: bisect on seconds for the gap that swallows `local`.
fn end_of_gap(local: NaiveDateTime, zone: Tz) -> Instant {
    let reaches = |seconds: i64| {
        let utc = local + TimeDelta::seconds(seconds);
        zone.from_utc_datetime(&utc).naive_local() >= local
    };
    let (mut before, mut after) = (-26 * 3_600_i64, 26 * 3_600_i64);
    while after - before > 1 {
        let middle = before.midpoint(after);
        if reaches(middle) {
            after = middle;
        } else {
            before = middle;
        }
    }
    Instant((local + TimeDelta::seconds(after)).and_utc().timestamp_micros())
}

/// What an account is entitled to, from a month on, until later terms replace them (R1, R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The first month these terms govern.
    pub from: Month,
    /// The zone that ends these months and all their days.
    pub zone: Tz,
    /// Free credits per month.
    pub allowance: crate::core::credits::Credits,
}

/// The calendar of one account: its terms over time. Never empty; sorted by `from`; the first one reaches back for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar(Vec<Terms>);

impl Calendar {
    /// A calendar with one set of terms.
    #[must_use]
    pub fn new(terms: Terms) -> Calendar {
        Calendar(vec![terms])
    }

    /// A calendar from stored terms, in any order; of two with the same month the later in the list counts.
    /// `None` when there are none.
    #[must_use]
    pub fn from_terms(all: impl IntoIterator<Item = Terms>) -> Option<Calendar> {
        let mut all = all.into_iter();
        let mut calendar = Calendar::new(all.next()?);
        all.for_each(|terms| calendar.set(terms));
        Some(calendar)
    }

    /// Adds or replaces the terms that begin with `terms.from`.
    pub fn set(&mut self, terms: Terms) {
        match self.0.binary_search_by_key(&terms.from, |t| t.from) {
            Ok(at) => self.0[at] = terms,
            Err(at) => self.0.insert(at, terms),
        }
    }

    /// All terms, oldest first.
    #[must_use]
    pub fn terms(&self) -> &[Terms] {
        &self.0
    }

    /// The terms in force in `month`.
    #[must_use]
    pub fn terms_in(&self, month: Month) -> &Terms {
        let after = self.0.partition_point(|t| t.from <= month);
        &self.0[after.saturating_sub(1)]
    }

    /// The first instant of `month`: where the month before ends, in that month's zone.
    #[must_use]
    pub fn month_start(&self, month: Month) -> Instant {
        first_instant_of(month.first_day(), self.terms_in(month.previous()).zone)
    }

    /// The instant at which `month` is over; it belongs to the next month (R4).
    #[must_use]
    pub fn month_end(&self, month: Month) -> Instant {
        self.month_start(month.next())
    }

    /// The month that contains `t`.
    #[must_use]
    pub fn month_of(&self, t: Instant) -> Month {
        // The UTC date is at most a day and a half from any local one, so the answer is this month or a neighbour.
        let mut month = Month::of(t.to_utc().date_naive()).previous();
        while self.month_end(month) <= t {
            month = month.next();
        }
        month
    }

    /// The first instant of the local day `date`. Within the month a new zone begins, days start no earlier than the month.
    #[must_use]
    pub fn day_start(&self, date: NaiveDate) -> Instant {
        self.instant_of(date.and_time(NaiveTime::MIN))
    }

    /// The first instant at which the account's clock shows `local`, in whole seconds, or later. Within the month a new
    /// zone begins, nothing is earlier than the month.
    #[must_use]
    pub fn instant_of(&self, local: NaiveDateTime) -> Instant {
        let month = Month::of(local.date());
        let start = self.month_start(month);
        if local == month.first_day().and_time(NaiveTime::MIN) {
            return start;
        }
        let end = self.month_end(month);
        first_instant_at(local, self.terms_in(month).zone).clamp(start, end)
    }

    /// The instant at which the local day `date` is over.
    #[must_use]
    pub fn day_end(&self, date: NaiveDate) -> Instant {
        self.day_start(next_day(date))
    }

    /// The local day that contains `t`.
    #[must_use]
    pub fn day_of(&self, t: Instant) -> NaiveDate {
        let month = self.month_of(t);
        let zone = self.terms_in(month).zone;
        // The wall clock is right but beside a change of zone and in hours that are told twice around midnight.
        let first = month.first_day();
        let last = month.next().first_day() - Days::new(1);
        let mut date = t.in_zone(zone).date_naive().clamp(first, last);
        while date > first && self.day_start(date) > t {
            date = date - Days::new(1);
        }
        while date < last && self.day_end(date) <= t {
            date = next_day(date);
        }
        date
    }

    /// The zone in force at `t`.
    #[must_use]
    pub fn zone_at(&self, t: Instant) -> Tz {
        self.terms_in(self.month_of(t)).zone
    }
}

/// The day after.
#[must_use]
pub fn next_day(date: NaiveDate) -> NaiveDate {
    date.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::credits::Credits;
    use proptest::prelude::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    fn terms(from: &str, zone: &str) -> Terms {
        Terms { from: month(from), zone: parse_zone(zone).expect("a zone"), allowance: Credits::new(1_500) }
    }

    #[track_caller]
    fn check_start(date: &str, zone: &str, expected: &str) {
        let start = first_instant_of(parse_date(date).expect("a date"), parse_zone(zone).expect("a zone"));
        assert_eq!(start.to_string(), expected, "{date} in {zone}");
    }

    #[test]
    fn r1_midnight_that_does_not_exist_is_the_end_of_the_gap() {
        check_start("2013-03-01", "America/New_York", "2013-03-01T05:00:00Z");
        check_start("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"); // 00:00 to 01:00 skipped
        check_start("2024-09-08", "America/Santiago", "2024-09-08T04:00:00Z");
        check_start("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"); // the whole day was skipped
        check_start("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z");
        check_start("2012-01-01", "Pacific/Apia", "2011-12-31T10:00:00Z");
        check_start("1970-04-01", "Africa/Monrovia", "1970-04-01T00:44:30Z"); // an offset with seconds
    }

    #[test]
    fn r1_midnight_that_exists_twice_is_the_first() {
        check_start("2023-10-29", "Atlantic/Azores", "2023-10-29T00:00:00Z"); // 01:00 back to 00:00
        check_start("2012-11-04", "America/Havana", "2012-11-04T04:00:00Z");
    }

    #[test]
    fn r1_a_new_zone_begins_where_the_old_month_ends() {
        let calendar = Calendar::from_terms([terms("2013-01", "America/New_York"), terms("2013-03", "Asia/Tokyo")])
            .expect("terms");
        assert_eq!(calendar.month_start(month("2013-03")).to_string(), "2013-03-01T05:00:00Z");
        assert_eq!(calendar.month_start(month("2013-04")).to_string(), "2013-03-31T15:00:00Z");
        let seam = calendar.month_start(month("2013-03"));
        assert_eq!(calendar.month_of(seam), month("2013-03"));
        assert_eq!(calendar.month_of(seam.plus_micros(-1)), month("2013-02"));
        assert_eq!(calendar.day_of(seam).to_string(), "2013-03-01");
        assert_eq!(calendar.day_of(seam.plus_micros(-1)).to_string(), "2013-02-28");
    }

    #[test]
    fn bad_dates_and_months_are_refused() {
        for bad in ["2013-1-01", "2013-02-30", "x", "", "2013-02", "2013-02-01-01", "+2013-02-01"] {
            assert!(matches!(parse_date(bad), Err(BadTime::Date(_))), "{bad:?}");
        }
        assert_eq!(parse_date("20211-02-01"), Err(BadTime::Year(20_211)));
        assert_eq!("20211-02".parse::<Month>(), Err(BadTime::Year(20_211)));
        for bad in ["2013", "2013-13", "2013-00", "2013-1", "-2013-01", ""] {
            assert!(bad.parse::<Month>().is_err(), "{bad:?}");
        }
        assert!(Instant::parse("2013-01-01T00:00:00").is_err());
        assert!(Instant::parse("9999-01-01T00:00:00Z").is_err());
        assert!(Instant::parse("2199-12-31T09:59:59Z").is_ok());
        assert_eq!(Instant::parse("2199-12-31T10:00:00Z"), Err(BadTime::Year(2_200))); // it is 2200 in Kiritimati
        assert!(parse_zone("Mars/Olympus").is_err());
    }

    #[test]
    fn a_time_within_a_day_is_the_first_that_the_clock_shows() {
        let calendar = Calendar::from_terms([terms("2013-01", "America/New_York"), terms("2013-12", "Asia/Tokyo")])
            .expect("terms");
        let at = |day: &str, hour, minute| {
            let local = parse_date(day).expect("a date").and_hms_opt(hour, minute, 0).expect("a time");
            calendar.instant_of(local).to_string()
        };
        assert_eq!(at("2013-03-10", 1, 59), "2013-03-10T06:59:00Z");
        assert_eq!(at("2013-03-10", 2, 30), "2013-03-10T07:00:00Z"); // 02:00 to 03:00 skipped
        assert_eq!(at("2013-03-10", 6, 0), "2013-03-10T10:00:00Z");
        assert_eq!(at("2013-11-03", 1, 30), "2013-11-03T05:30:00Z"); // 02:00 back to 01:00
        assert_eq!(at("2013-11-03", 2, 0), "2013-11-03T07:00:00Z");
        // Midnight of December came in New York; by then it was 14:00 in Tokyo.
        assert_eq!(at("2013-12-01", 9, 0), "2013-12-01T05:00:00Z");
        assert_eq!(at("2013-12-01", 15, 0), "2013-12-01T06:00:00Z");
        let hours = |day: &str| {
            let day = parse_date(day).expect("a date");
            (calendar.day_end(day).micros() - calendar.day_start(day).micros()) / 3_600_000_000
        };
        assert_eq!([hours("2013-03-10"), hours("2013-11-03"), hours("2013-11-04")], [23, 25, 24]);
    }

    fn any_zone() -> impl Strategy<Value = Tz> {
        proptest::sample::select(chrono_tz::TZ_VARIANTS.to_vec())
    }

    proptest! {
        /// Months and days tile time: each instant lies in exactly the month and day that say they contain it.
        #[test]
        fn r1_months_and_days_tile_time(
            seconds in 0_i64..7_000_000_000, micro in 0_i64..1_000_000, zone in any_zone(), other in any_zone(), change in 0_i32..2_760,
        ) {
            let t = Instant::from_micros(seconds * 1_000_000 + micro);
            let base = Terms { from: month("1970-01"), zone, allowance: Credits::ZERO };
            let late = Terms { from: Month(1970 * 12 + change), zone: other, allowance: Credits::ZERO };
            let calendar = Calendar::from_terms([base, late]).expect("terms");
            let m = calendar.month_of(t);
            prop_assert!(calendar.month_start(m) <= t && t < calendar.month_end(m));
            let d = calendar.day_of(t);
            prop_assert!(calendar.day_start(d) <= t && t < calendar.day_end(d), "{d} {t}");
            prop_assert_eq!(Month::of(d), m);
        }
    }
}
