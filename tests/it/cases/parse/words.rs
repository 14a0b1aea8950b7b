//! The words of a line, and what they stand for: numbers, times, options.

use super::{Parsed, shown};
use chrono::{LocalResult, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use creditd::core::calendar::{Instant, parse_date, parse_zone};
use creditd::core::ids::Key;
use std::collections::{BTreeMap, VecDeque};

/// One space between words, none around: what is compared.
pub fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn whole(text: &str) -> Parsed<i64> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}

/// Seconds, minutes or hours in seconds: `30s`, `15m`, `24h`.
pub fn seconds(text: &str) -> Parsed<i64> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let read = units.iter().find_map(|(unit, seconds)| Some(whole(text.strip_suffix(unit)?).ok()? * seconds));
    read.ok_or_else(|| format!("{text:?} is no length of time; write for example 30s, 15m or 24h"))
}

/// A time zone by its whole name, or by what stands behind the last slash.
fn zone_named(text: &str) -> Parsed<Tz> {
    if let Ok(zone) = parse_zone(text) {
        return Ok(zone);
    }
    let ending = format!("/{text}");
    let named: Vec<Tz> = chrono_tz::TZ_VARIANTS.into_iter().filter(|zone| zone.name().ends_with(&ending)).collect();
    match named[..] {
        [zone] => Ok(zone),
        [] => Err(format!("{text:?} is no time zone; write for example New_York, America/New_York or UTC")),
        _ => Err(format!("several time zones end in {ending:?}; write the whole name")),
    }
}

/// A time as the clocks in `zone` show it; minutes, seconds and less may be left out.
pub fn local_time(text: &str, zone: Tz) -> Parsed<Instant> {
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let read = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let date = || parse_date(text).ok().map(|date| date.and_time(NaiveTime::MIN));
    let local = read.or_else(date).ok_or_else(|| {
        format!("{text:?} is no time; write for example 2013-01-31, 2013-01-31T23:59 or 2013-01-31T23:59:59.999999")
    })?;
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => Ok(Instant::from_micros(time.timestamp_micros())),
        LocalResult::None => Err(format!("the clocks in {zone} skip {text}; write it in UTC")),
        LocalResult::Ambiguous(..) => Err(format!("the clocks in {zone} show {text} twice; write it in UTC")),
    }
}

/// The words of a line; quotes keep spaces together (`comment="for Ann"`).
pub struct Words(VecDeque<String>);

impl Words {
    pub fn new(text: &str) -> Parsed<Words> {
        let (mut words, mut word, mut quoted) = (VecDeque::new(), String::new(), false);
        for c in text.chars() {
            match c {
                '"' => quoted = !quoted,
                c if c.is_whitespace() && !quoted => {
                    if !word.is_empty() {
                        words.push_back(std::mem::take(&mut word));
                    }
                }
                c => word.push(c),
            }
        }
        if quoted {
            return Err("a quote (\") is not closed".into());
        }
        if !word.is_empty() {
            words.push_back(word);
        }
        Ok(Words(words))
    }

    pub fn next(&mut self, what: &str) -> Parsed<String> {
        self.0.pop_front_if(|word| word != "->").ok_or_else(|| format!("{what} is missing"))
    }

    pub fn peek(&self) -> Option<&str> {
        self.0.front().map(String::as_str)
    }

    pub fn take(&mut self, word: &str) -> bool {
        self.0.pop_front_if(|next| next == word).is_some()
    }

    pub fn literal(&mut self, word: &str) -> Parsed<()> {
        match self.take(word) {
            true => Ok(()),
            false => Err(format!("expected `{word}`, found {:?}", self.peek().unwrap_or("the end of the line"))),
        }
    }

    pub fn number_after(&mut self, word: &str) -> Parsed<Option<i64>> {
        if self.take(word) { Ok(Some(whole(&self.next(word)?)?)) } else { Ok(None) }
    }

    /// Whether `as of` comes next.
    pub fn as_of(&mut self) -> Parsed<bool> {
        if self.take("as") { self.literal("of").map(|()| true) } else { Ok(false) }
    }

    /// `2013-01-31T23:59:59 New_York`, perhaps with a colon at the end.
    pub fn local_time(&mut self) -> Parsed<(Instant, Tz)> {
        let time = self.next("a time")?;
        let zone = zone_named(self.next("the zone of the time")?.trim_end_matches(':'))?;
        Ok((local_time(&time, zone)?, zone))
    }

    pub fn rest(&mut self) -> String {
        self.0.drain(..).collect::<Vec<_>>().join(" ")
    }

    pub fn done<T>(self, value: T) -> Parsed<T> {
        match self.peek() {
            None => Ok(value),
            Some(more) => Err(format!("nothing is expected at {more:?}")),
        }
    }
}

/// What stands between a call and its arrow: `key=a`, `x3`, `failed`.
pub struct Options {
    what: &'static str,
    given: BTreeMap<&'static str, String>,
}

impl Options {
    /// Reads the options of `what`; `known` are those it has, as they are shown to whoever writes another one.
    pub fn read(words: &mut Words, what: &'static str, known: &[&'static str]) -> Parsed<Options> {
        let mut given = BTreeMap::new();
        while let Ok(word) = words.next("an option") {
            let is_count = word.starts_with('x') && !word.contains('=');
            let name = known.iter().find(|name| match name.strip_suffix('=') {
                Some(_) => word.starts_with(**name),
                None => word == **name || (is_count && **name == "xN"),
            });
            let Some(name) = name else {
                return Err(format!("{what} has no {word:?}; it has {}", known.join(", ")));
            };
            let value = if is_count { &word[1..] } else { word.strip_prefix(name).unwrap_or_default() };
            given.insert(*name, value.to_owned());
        }
        Ok(Options { what, given })
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of an option that need not be there.
    pub fn maybe<T>(&self, name: &str, read: impl Fn(&str) -> Parsed<T>) -> Parsed<Option<T>> {
        self.given.get(name).map(|value| read(value)).transpose()
    }

    /// The value of an option that must be there.
    pub fn must<T>(&self, name: &str, read: impl Fn(&str) -> Parsed<T>) -> Parsed<T> {
        self.maybe(name, read)?.ok_or_else(|| format!("{} needs {name}", self.what))
    }

    pub fn key(&self) -> Parsed<Key> {
        self.must("key=", |key| Key::new(key).map_err(shown))
    }

    pub fn comment(&self) -> String {
        self.given.get("comment=").cloned().unwrap_or_default()
    }

    /// `x3` is three of something; nothing is one.
    pub fn count(&self) -> Parsed<i64> {
        Ok(self.maybe("xN", whole)?.unwrap_or(1))
    }
}
