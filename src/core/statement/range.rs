//! From when to when: ranges of local time, which begin and end at each account's own instants.

use super::super::calendar::{BadTime, Calendar, Instant, Month, parse_date, said};
use super::ReportError;
use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A time on the clock on an account's wall: a day, which stands for its first moment, or a second within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime(NaiveDateTime);

impl LocalTime {
    /// The day that it lies in.
    #[must_use]
    pub const fn date(self) -> NaiveDate {
        self.0.date()
    }

    /// What the clock shows.
    #[must_use]
    pub const fn time(self) -> NaiveTime {
        self.0.time()
    }

    /// True when a day begins at it.
    #[must_use]
    pub fn is_midnight(self) -> bool {
        self.0.time() == NaiveTime::MIN
    }

    /// What the clock of `calendar` shows at `instant`, in whole seconds.
    #[must_use]
    pub fn of(instant: Instant, calendar: &Calendar) -> LocalTime {
        let wall = instant.in_zone(calendar.zone_at(instant)).naive_local();
        LocalTime(wall.with_nanosecond(0).unwrap_or(wall))
    }

    /// The first instant at which the clock of `calendar` shows this time or a later one (R1).
    #[must_use]
    pub fn instant_in(self, calendar: &Calendar) -> Instant {
        calendar.instant_of(self.0)
    }
}

impl From<NaiveDate> for LocalTime {
    fn from(day: NaiveDate) -> LocalTime {
        LocalTime(day.and_time(NaiveTime::MIN))
    }
}

impl fmt::Display for LocalTime {
    /// `2013-03-10`, `2013-03-10T06:00`, `2013-03-10T06:00:30`: no more than there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.time().format("%S").to_string();
        let form = match (self.is_midnight(), seconds.as_str()) {
            (true, _) => "%Y-%m-%d",
            (false, "00") => "%Y-%m-%dT%H:%M",
            _ => "%Y-%m-%dT%H:%M:%S",
        };
        f.pad(&self.0.format(form).to_string())
    }
}

impl TryFrom<String> for LocalTime {
    type Error = BadTime;
    fn try_from(text: String) -> Result<LocalTime, BadTime> {
        text.parse()
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> String {
        time.to_string()
    }
}

impl std::str::FromStr for LocalTime {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<LocalTime, BadTime> {
        let Some((day, time)) = text.split_once('T') else { return parse_date(text).map(LocalTime::from) };
        let digits = |at: usize| time.get(at..at + 2).filter(|two| two.bytes().all(|byte| byte.is_ascii_digit()));
        let number = |at: usize| digits(at).and_then(|two| two.parse().ok());
        let second = match time.len() {
            5 => Some(0),
            8 if time.as_bytes()[5] == b':' => number(6),
            _ => None,
        };
        let colon = time.as_bytes().get(2) == Some(&b':');
        let parts = number(0).zip(number(3)).zip(second).filter(|_| colon);
        let time = parts.and_then(|((hour, minute), second)| NaiveTime::from_hms_opt(hour, minute, second));
        let time = time.ok_or_else(|| BadTime::Local(said(text)))?;
        Ok(LocalTime(parse_date(day)?.and_time(time)))
    }
}

/// Local time `[from, to)`, at least a second of it. Most ranges are of whole days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    from: LocalTime,
    to: LocalTime,
}

impl DateRange {
    /// The time from `from` until before `to`.
    ///
    /// # Errors
    /// [`ReportError`] when there is none or a part of it lies outside the years that creditd knows.
    pub fn new(from: impl Into<LocalTime>, to: impl Into<LocalTime>) -> Result<DateRange, ReportError> {
        let range = DateRange { from: from.into(), to: to.into() };
        if range.from >= range.to {
            return Err(ReportError::EmptyRange { from: range.from, to: range.to });
        }
        for day in [range.from.date(), range.last_day()] {
            Month::new(day.year(), day.month())?;
        }
        Ok(range)
    }

    /// The days of `month`.
    ///
    /// # Errors
    /// [`ReportError::Year`] when the month lies outside the years that creditd knows.
    pub fn of_month(month: Month) -> Result<DateRange, ReportError> {
        DateRange::new(month.first_day(), month.next().first_day())
    }

    /// Its beginning.
    #[must_use]
    pub const fn from(self) -> LocalTime {
        self.from
    }

    /// The first moment after it.
    #[must_use]
    pub const fn to(self) -> LocalTime {
        self.to
    }

    /// When it begins in `calendar`, and when it is over.
    #[must_use]
    pub fn instants_in(self, calendar: &Calendar) -> (Instant, Instant) {
        (self.from.instant_in(calendar), self.to.instant_in(calendar))
    }

    /// True when it has begun by every clock there is at `now`.
    #[must_use]
    pub fn has_begun_everywhere(self, now: Instant) -> bool {
        // The last clock is twelve hours behind UTC.
        now.plus_days(-1).to_utc().naive_utc() >= self.from.0
    }

    /// True when it begins and ends with days.
    #[must_use]
    pub fn is_whole_days(self) -> bool {
        self.from.is_midnight() && self.to.is_midnight()
    }

    /// Last day of which some is in it.
    #[must_use]
    pub fn last_day(self) -> NaiveDate {
        if self.to.is_midnight() { self.to.date() - Days::new(1) } else { self.to.date() }
    }

    /// How many days there are of which some is in it.
    #[must_use]
    pub fn days(self) -> u64 {
        u64::try_from((self.last_day() - self.from.date()).num_days()).unwrap_or(0) + 1
    }

    /// The month that it is exactly, if it is one.
    #[must_use]
    pub fn as_month(self) -> Option<Month> {
        let month = Month::of(self.from.date());
        (DateRange::piece(month.first_day().into(), month.next().first_day().into()) == self).then_some(month)
    }

    /// The range just before it: as many months before a range of whole months, so the month before a month and the year
    /// before a year; else as many days, or as much time on the clock, before it.
    ///
    /// # Errors
    /// [`ReportError::Year`] when it begins before the years that creditd knows.
    pub fn before(self) -> Result<DateRange, ReportError> {
        let (first, end) = (self.from.date(), self.to.date());
        let from = if self.is_whole_days() && first.day() == 1 && end.day() == 1 {
            let months = Month::of(first).months_until(Month::of(end));
            LocalTime::from((0..months).fold(Month::of(first), |month, _| month.previous()).first_day())
        } else {
            let lasts = self.to.0 - self.from.0;
            LocalTime(self.from.0.checked_sub_signed(lasts).ok_or(BadTime::Year(i32::MIN))?)
        };
        DateRange::new(from, self.from)
    }

    /// Pieces of a valid range need no validation.
    pub(super) const fn piece(from: LocalTime, to: LocalTime) -> DateRange {
        DateRange { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> LocalTime {
        text.parse().expect("a local time")
    }

    #[test]
    fn a_local_time_has_one_spelling() {
        for text in ["2013-03-10", "2013-03-10T06:00", "2013-03-10T23:59:59"] {
            assert_eq!(local(text).to_string(), text);
        }
        assert_eq!(local("2013-03-10T00:00"), local("2013-03-10"));
        for text in ["2013-03-10T6:00", "2013-03-10T24:00", "2013-03-10T06:00Z", "2013-03-10T06:0é", "2013-03-10T+6:00"]
        {
            let error = text.parse::<LocalTime>().expect_err(text).to_string();
            assert!(error.contains("2026-03-01T06:30"), "{error}");
        }
        assert!(matches!("20211-01-01T06:00".parse::<LocalTime>(), Err(BadTime::Year(20_211))));
    }

    #[test]
    fn a_range_knows_its_days() {
        let range = |from, to| DateRange::new(local(from), local(to)).expect("valid");
        let inside = range("2013-03-10T06:00", "2013-03-12T18:30");
        assert_eq!((inside.days(), inside.last_day().to_string().as_str()), (3, "2013-03-12"));
        assert!(!inside.is_whole_days() && range("2013-03-10", "2013-03-11").is_whole_days());
        assert_eq!(range("2013-03-10T06:00", "2013-03-10T06:01").days(), 1);
        let empty = DateRange::new(local("2013-03-10T06:00"), local("2013-03-10T06:00"));
        assert!(matches!(empty, Err(ReportError::EmptyRange { .. })));
        let far = NaiveDate::from_ymd_opt(20_211, 1, 1).expect("chrono knows it");
        assert!(matches!(DateRange::new(local("2021-01-01"), far), Err(ReportError::Year(_))));
    }

    #[test]
    fn the_range_before_ends_where_this_one_begins() {
        let before = |from, to| {
            let range = DateRange::new(local(from), local(to)).expect("valid").before();
            range.map_or_else(|error| error.to_string(), |range| format!("{} {}", range.from(), range.to()))
        };
        assert_eq!(before("2024-03-01", "2024-04-01"), "2024-02-01 2024-03-01");
        assert_eq!(before("2024-01-01", "2025-01-01"), "2023-01-01 2024-01-01");
        assert_eq!(before("2024-01-01", "2024-04-01"), "2023-10-01 2024-01-01");
        assert_eq!(before("2024-03-01", "2024-03-02"), "2024-02-29 2024-03-01");
        assert_eq!(before("2024-03-01", "2024-03-16"), "2024-02-15 2024-03-01");
        assert_eq!(before("2024-03-10T06:00", "2024-03-12T18:30"), "2024-03-07T17:30 2024-03-10T06:00");
        assert!(before("1970-01-01", "1970-02-01").contains("1969"));
        assert!(before("1970-01-01", "1970-01-02").contains("1969"));
        assert!(before("1970-01-01", "2199-12-31").contains("17"));
    }

    #[test]
    fn a_range_knows_when_it_is_a_month() {
        let range = |from, to| DateRange::new(local(from), local(to)).expect("valid");
        assert_eq!(range("2024-02-01", "2024-03-01").as_month(), "2024-02".parse().ok());
        assert_eq!(range("2024-02-01", "2024-02-29").as_month(), None);
        assert_eq!(range("2024-02-01T00:01", "2024-03-01").as_month(), None);
        assert_eq!(range("2024-02-01", "2024-04-01").as_month(), None);
    }
}
