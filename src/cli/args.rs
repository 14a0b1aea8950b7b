//! How arguments are read that more than one command takes.

use crate::core::calendar::{BadTime, Calendar, Instant, Month, first_instant_of, parse_date};
use crate::core::credits::Credits;
use crate::core::ids::{BadName, Email, Key, clean_text};
use crate::core::ledger::HOLD_TTL_SECONDS_MAX;
use chrono::NaiveDate;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsStr;
use std::str::FromStr;

/// Longest list that is held in memory to be shown.
const LIMIT_MAX: usize = 100_000;

/// One of a fixed list of words, such as `success` or `failed`.
pub(super) fn word<T>(all: &'static [T], as_str: fn(T) -> &'static str) -> ValueParser
where
    T: Copy + Send + Sync + 'static,
{
    ValueParser::new(Word { all, as_str })
}

/// A word that is none of those there are is told with the one that was meant: of short words clap finds none.
#[derive(Clone)]
struct Word<T: 'static> {
    all: &'static [T],
    as_str: fn(T) -> &'static str,
}

impl<T: Copy + Send + Sync + 'static> TypedValueParser for Word<T> {
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let words = || self.all.iter().map(|word| (self.as_str)(*word));
        let parsed = PossibleValuesParser::new(words()).parse_ref(command, arg, value);
        parsed
            .map_err(|mut error| {
                let meant = value.to_str().and_then(|typed| nearest_word(typed, words()));
                if let (Some(meant), None) = (meant, error.get(ContextKind::SuggestedValue)) {
                    error.insert(ContextKind::SuggestedValue, ContextValue::String(meant.to_owned()));
                }
                error
            })
            .and_then(|word| {
                let of = self.all.iter().copied().find(|known| (self.as_str)(*known) == word);
                of.ok_or_else(|| clap::Error::new(ErrorKind::InvalidValue).with_cmd(command))
            })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.all.iter().map(|word| PossibleValue::new((self.as_str)(*word)))))
    }
}

/// The word that has the letters of `typed` in another order.
fn nearest_word<'a>(typed: &str, mut words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
        letters.sort_unstable();
        letters
    };
    let wanted = sorted(typed);
    words.find(|word| sorted(word) == wanted)
}

/// A date, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The beginning of a day, wherever that is.
    Day(NaiveDate),
    /// Exactly then.
    At(Instant),
}

impl FromStr for Moment {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Moment, BadTime> {
        if text.contains(['T', 't', ' ']) {
            Instant::parse(text).map(Moment::At)
        } else {
            parse_date(text).map(Moment::Day)
        }
    }
}

/// A day, or the first day of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstDay(pub NaiveDate);

impl FromStr for FirstDay {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<FirstDay, BadTime> {
        match text.parse::<Month>() {
            Ok(month) => Ok(FirstDay(month.first_day())),
            Err(_) => parse_date(text).map(FirstDay),
        }
    }
}

impl Moment {
    /// The instant; days begin as in `calendar`, without one in UTC.
    pub(super) fn instant(self, calendar: Option<&Calendar>) -> Instant {
        match (self, calendar) {
            (Moment::At(instant), _) => instant,
            (Moment::Day(date), Some(calendar)) => calendar.day_start(date),
            (Moment::Day(date), None) => first_instant_of(date, chrono_tz::Tz::UTC),
        }
    }
}

/// A number of free credits or a price: not negative, and not a slip of the keyboard.
pub(super) fn amount(text: &str) -> Result<Credits, String> {
    credits_from(0, text)
}

/// A number of credits to move: at least one, and not a slip of the keyboard.
pub(super) fn some_credits(text: &str) -> Result<Credits, String> {
    credits_from(1, text)
}

fn credits_from(least: i64, text: &str) -> Result<Credits, String> {
    let allowed = least..=crate::config::AMOUNT_MAX;
    match text.parse() {
        Ok(credits) if allowed.contains(&credits) => Ok(Credits::new(credits)),
        _ => Err(format!("a whole number of credits is expected, {least} to {}", allowed.end())),
    }
}

/// How long a hold is open, in seconds: a number with its unit (`s`, `m`, `h`), or of seconds.
pub(super) fn ttl(text: &str) -> Result<i64, String> {
    let (number, seconds) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        _ => (text, 1),
    };
    let ttl = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds));
    ttl.filter(|ttl| (1..=HOLD_TTL_SECONDS_MAX).contains(ttl)).ok_or_else(|| {
        format!("a time such as 90s, 15m or 2h is expected, 1 second to {} hours", HOLD_TTL_SECONDS_MAX / 3_600)
    })
}

/// How many entries of a list are wanted.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("1 to {LIMIT_MAX} are possible; `creditd transactions export` writes all transactions")),
    }
}

/// The name of an account or a person.
pub(super) fn name(text: &str) -> Result<String, BadName> {
    clean_text("the name", text)
}

/// An address that mail is to go to.
pub(super) fn address(text: &str) -> Result<Email, BadName> {
    Email::new(text)?.deliverable()
}

/// What is said about a charge or a purchase.
pub(super) fn comment(text: &str) -> Result<String, BadName> {
    clean_text("the comment", text)
}

/// Why somebody does what is not done by itself: something must be said.
pub(super) fn reason(text: &str) -> Result<String, BadName> {
    match comment(text)? {
        blank if blank.trim().is_empty() => Err(BadName::Empty { what: "the comment, which says why," }),
        reason => Ok(reason),
    }
}

/// A name for a call that came without one (R9): when, and 64 random bits.
pub(super) fn unique(prefix: &str, now: Instant) -> String {
    format!("{prefix}-{}-{:016x}", now.to_utc().format("%Y%m%dT%H%M%SZ"), fastrand::u64(..))
}

/// A key for a call that came without one.
pub(super) fn key(now: Instant) -> Result<Key, BadName> {
    Key::new(&unique("cli", now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::HOLD_TTL_SECONDS;
    use proptest::prelude::*;

    #[test]
    fn a_day_begins_where_the_account_is() {
        let calendar = Calendar::new(crate::core::calendar::Terms {
            from: "2013-01".parse().expect("a month"),
            zone: chrono_tz::Tz::America__New_York,
            allowance: Credits::ZERO,
        });
        let read = |text: &str| text.parse::<Moment>().expect(text);
        assert_eq!(read("2013-01-31").instant(Some(&calendar)).to_string(), "2013-01-31T05:00:00Z");
        assert_eq!(read("2013-01-31").instant(None).to_string(), "2013-01-31T00:00:00Z");
        assert_eq!(read("2013-01-31T01:00:00+01:00").instant(Some(&calendar)).to_string(), "2013-01-31T00:00:00Z");
        for bad in ["", "2013-02-30", "yesterday", "20133-01-01", "2013-01-01T00:00"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever is typed is refused or is an instant.
        #[test]
        fn any_text_is_a_moment_or_refused(text in "[0-9]{1,6}-[0-9]{1,3}-[0-9]{1,3}([Tt ][0-9:.+Z-]{0,20})?|.{0,40}") {
            if let Ok(moment) = text.parse::<Moment>() {
                let instant = moment.instant(None);
                prop_assert_eq!(Instant::parse(&instant.to_string()), Ok(instant));
            }
        }
    }

    #[test]
    fn letters_in_another_order_are_a_word() {
        let near = |typed: &str| nearest_word(typed, ["range", "day", "week"].into_iter());
        assert_eq!(
            [near("dya"), near("DAY"), near("ewek"), near("d"), near("")],
            [Some("day"), Some("day"), Some("week"), None, None]
        );
    }

    #[test]
    fn amounts_are_whole_and_not_negative() {
        assert_eq!(amount("1500"), Ok(Credits::new(1_500)));
        assert_eq!((amount("0"), some_credits("1")), (Ok(Credits::ZERO), Ok(Credits::new(1))));
        for bad in ["-1", "1.5", "1e3", "", "1000000001"] {
            assert!(amount(bad).is_err() && some_credits(bad).is_err(), "{bad}");
        }
        assert_eq!(some_credits("0"), Err("a whole number of credits is expected, 1 to 1000000000".to_owned()));
    }

    #[test]
    fn a_hold_is_open_for_a_second_to_a_day() {
        assert_eq!([ttl("1"), ttl("90s"), ttl("15m"), ttl("24h")], [Ok(1), Ok(90), Ok(HOLD_TTL_SECONDS), Ok(86_400)]);
        for bad in ["", "0", "0m", "-1s", "m", "25h", "86401", "1d", "1.5h", "9223372036854775807h", "1h30m", "1é"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
