//! Any text as instants, dates, months and zones, and the arithmetic of a calendar on what of it was understood.

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;
use creditd::core::calendar::{
    Calendar, Instant, Month, Terms, YEAR_MAX, YEAR_MIN, first_instant_of, next_day, parse_date, parse_zone,
};
use creditd::core::credits::Credits;
use creditd::core::statement::DateRange;

/// What is calculated with of one kind: a long text has many pairs.
const OF_A_KIND_MAX: usize = 4;

pub fn run(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let words: Vec<&str> = std::iter::once(text).chain(text.split([' ', ',', '\n'])).collect();
    let mut instants = understood(&words, Instant::parse);
    let dates = understood(&words, parse_date);
    let months = understood(&words, str::parse::<Month>);
    let mut zones = understood(&words, parse_zone);
    for instant in &instants {
        assert_eq!(Instant::parse(&instant.to_string()), Ok(*instant));
        assert_eq!(*instant, instant.plus_micros(1).plus_micros(-1));
    }
    for date in &dates {
        assert!((YEAR_MIN..=YEAR_MAX).contains(&date.year()));
        assert_eq!(parse_date(&date.to_string()), Ok(*date));
        assert!(next_day(*date) > *date);
    }
    for month in &months {
        assert_eq!(month.to_string().parse(), Ok(*month));
        assert_eq!((month.next().previous(), Month::of(month.first_day())), (*month, *month));
        assert_eq!(month.months_until(month.next()), 1);
        assert!(DateRange::of_month(*month).is_ok_and(|range| range.as_month() == Some(*month)));
    }
    for zone in &zones {
        assert_eq!(parse_zone(zone.name()), Ok(*zone));
    }
    // Bytes as numbers: instants that no text names, where nothing may panic.
    if let Some(bytes) = data.first_chunk() {
        let any = Instant::from_micros(i64::from_le_bytes(*bytes));
        assert!(!any.to_string().is_empty());
        let days = any.micros();
        assert!(any.plus_days(days) >= Instant::MIN && any.plus_seconds(days) <= Instant::MAX);
    }
    zones.push(Tz::UTC);
    instants.extend(dates.iter().flat_map(|date| zones.iter().map(|zone| first_instant_of(*date, *zone))));
    for (from, to) in dates.iter().zip(dates.iter().skip(1)) {
        assert_eq!(DateRange::new(*from, *to).is_ok(), from < to, "{from} to {to}");
    }
    let base = Terms { from: Month::of(first_day()), zone: zones[0], allowance: Credits::ZERO };
    let mut calendar = Calendar::new(base);
    check(&calendar, &instants, &dates);
    for (month, zone) in months.iter().zip(zones.iter().skip(1)) {
        calendar.set(Terms { from: *month, zone: *zone, allowance: Credits::ZERO });
    }
    check(&calendar, &instants, &dates);
}

fn understood<T, E: std::fmt::Display>(words: &[&str], read: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
    let reading =
        words.iter().filter_map(|word| read(word).map_err(|error| assert!(!error.to_string().is_empty())).ok());
    reading.take(OF_A_KIND_MAX).collect()
}

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(YEAR_MIN, 1, 1).expect("a date")
}

/// Months and days tile time, whatever the terms.
fn check(calendar: &Calendar, instants: &[Instant], dates: &[NaiveDate]) {
    for t in instants {
        let month = calendar.month_of(*t);
        assert!(calendar.month_start(month) <= *t && *t < calendar.month_end(month), "{t} in {month}");
        let day = calendar.day_of(*t);
        assert!(calendar.day_start(day) <= *t && *t < calendar.day_end(day), "{t} on {day}");
        assert_eq!(Month::of(day), month, "{t}");
        assert!(t.in_zone(calendar.zone_at(*t)).date_naive() >= first_day().pred_opt().expect("a date"));
    }
    for date in dates {
        let (start, end) = (calendar.day_start(*date), calendar.day_end(*date));
        assert!(start <= end, "{date}");
        // A day that a new zone leaves nothing of is empty.
        assert!(start == end || calendar.day_of(start) == *date, "{date}");
    }
}
