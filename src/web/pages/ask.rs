//! What is asked of a page by its address: dates, filters, a place in a list. Whatever cannot be is said, and the rest is shown.

use super::super::visit::NAME_SHOWN_MAX;
use crate::app::LogAsk;
use crate::core::calendar::{Calendar, Instant, Month, next_day, parse_date};
use crate::core::ids::{ActionCode, UserId, clean_text, printable};
use crate::core::statement::{Breakdown, DateRange, Ending, Filters, Grouping};
use crate::core::transaction::Touched;
use crate::notice::words::{listed, shorten};
use crate::store::{LogPlace, LogWay};
use chrono::NaiveDate;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What stands behind the `?`.
#[derive(Debug, Default)]
pub(super) struct Query {
    values: BTreeMap<String, String>,
    /// The names that stand there again, in that order.
    repeated: Vec<String>,
}

impl FromIterator<(String, String)> for Query {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Query {
        let mut query = Query::default();
        for (name, value) in pairs {
            match query.values.entry(name) {
                Entry::Vacant(empty) => {
                    empty.insert(value);
                }
                Entry::Occupied(there) => query.repeated.push(there.key().clone()),
            }
        }
        query
    }
}

impl<'de> Deserialize<'de> for Query {
    fn deserialize<D: Deserializer<'de>>(pairs: D) -> Result<Query, D::Error> {
        Vec::<(String, String)>::deserialize(pairs).map(Query::from_iter)
    }
}

impl Query {
    /// The value of `name`, as it stands there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of `name` where it stands there once: which of two was meant, nobody knows.
    pub fn get_once(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|_| !self.repeated.iter().any(|repeated| repeated == name))
    }
}

/// The fields of the form above the log, in its order.
pub(super) const LOG_FIELDS: [&str; 7] = ["from", "through", "user", "action", "type", "status", "q"];
const SUMMARY_FIELDS: [&str; 4] = ["from", "through", "by", "of"];
/// Places in the log.
const PLACES: [&str; 2] = ["before", "after"];
/// The form of a file.
const FORM: &str = "form";
/// What mail gateways and newsletters put into any address begins so; it asks for nothing.
const TRACKING: &str = "utm_";

/// Most periods of a summary: more are read better from a file.
const PERIODS_MAX: u64 = 400;

/// What was asked of the log.
pub(super) struct LogAsked {
    pub ask: LogAsk,
    /// Which way the page goes from the row at this place; the newest rows where there is none.
    pub behind: Option<(LogWay, LogPlace)>,
    /// The first and the last day, where they were asked for.
    pub days: (Option<NaiveDate>, Option<NaiveDate>),
    /// What cannot be, and was left out.
    pub problems: Vec<String>,
}

/// The value of a field that has one.
pub(super) fn given<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.get(name).map(str::trim).filter(|value| !value.is_empty())
}

/// What `parse` makes of a field that has a value; what it refuses is a problem.
fn parsed<T, E: std::fmt::Display>(
    query: &Query,
    name: &str,
    problems: &mut Vec<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let result = given(query, name).map(parse)?;
    result.map_err(|error| problems.push(format!("{}.", sentence(&error.to_string())))).ok()
}

/// With a capital letter.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What is said of the first name that asks for nothing here: a misspelt filter would show more than was asked for; and of one
/// that stands there twice, of which one would be passed over. `fields` are those that people fill in, `others` are in our own
/// links.
pub(super) fn misnamed(query: &Query, fields: &[&str], others: &[&str]) -> Option<String> {
    let is_known = |name: &str| fields.contains(&name) || others.contains(&name) || name.starts_with(TRACKING);
    let shown = |name: &str| shorten(&printable(name), NAME_SHOWN_MAX);
    if let Some(name) = query.values.keys().find(|name| !is_known(name)) {
        let (name, names) = (shown(name), fields.join(", "));
        let known = if names.is_empty() { String::new() } else { format!("; the names are: {names}") };
        return Some(format!("Nothing can be asked by the name “{name}” in the address{known}."));
    }
    let name = shown(query.repeated.iter().find(|name| !name.starts_with(TRACKING))?);
    Some(format!("The name “{name}” stands in the address more than once; one value can be asked for."))
}

/// What is said of a range that ends before it begins, in the days that were typed.
fn backwards(from: Option<NaiveDate>, through: Option<NaiveDate>) -> Option<String> {
    let (from, through) = from.zip(through).filter(|(from, through)| through < from)?;
    Some(format!("The last day, {through}, is before the first, {from}: nothing lies between."))
}

/// The one of `all` that is called `text`, or which there are.
fn word<T: Copy>(what: &str, text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| {
        let words: Vec<String> = all.iter().map(|one| name(*one).to_owned()).collect();
        let text = shorten(&printable(text), NAME_SHOWN_MAX);
        format!("there is no {what} “{text}”; there are {}", listed(&words, words.len()))
    })
}

impl LogAsked {
    /// Reads what was asked; days are those of `calendar`.
    pub fn of(query: &Query, calendar: &Calendar) -> LogAsked {
        let mut problems = Vec::new();
        let from = parsed(query, "from", &mut problems, parse_date);
        let through = parsed(query, "through", &mut problems, parse_date);
        problems.extend(backwards(from, through));
        let filters = Filters {
            actions: parsed(query, "action", &mut problems, ActionCode::new).map(Some).into_iter().collect(),
            users: parsed(query, "user", &mut problems, UserId::new).map(Some).into_iter().collect(),
            types: parsed(query, "type", &mut problems, |text| word("type", text, Touched::ALL, Touched::as_str))
                .into_iter()
                .collect(),
            statuses: parsed(query, "status", &mut problems, |text| word("status", text, Ending::ALL, Ending::as_str))
                .into_iter()
                .collect(),
        };
        problems.extend(misnamed(query, &LOG_FIELDS, &[PLACES[0], PLACES[1], FORM]));
        let text = parsed(query, "q", &mut problems, |text| clean_text("the text to look for", text));
        let before = parsed(query, "before", &mut problems, place).map(|place| (LogWay::Back, place));
        let after = parsed(query, "after", &mut problems, place).map(|place| (LogWay::Forth, place));
        let ask = LogAsk {
            from: from.map_or(Instant::MIN, |day| calendar.day_start(day)),
            to: through.map_or(Instant::MAX, |day| calendar.day_end(day)),
            filters,
            text: text.unwrap_or_default(),
        };
        LogAsked { ask, behind: before.or(after), days: (from, through), problems }
    }
}

/// A place in the log as addresses have it.
pub(super) fn place_text(place: LogPlace) -> String {
    format!("{}.{}", place.occurred_at.micros(), place.seq)
}

fn place(text: &str) -> Result<LogPlace, &'static str> {
    let read = || {
        let (at, seq) = text.split_once('.')?;
        Some(LogPlace { occurred_at: Instant::from_micros(at.parse().ok()?), seq: seq.parse().ok()? })
    };
    read().ok_or("the place in the list is none of ours, so the list begins with the newest")
}

/// What was asked of a summary.
pub(super) struct SummaryAsked {
    pub range: DateRange,
    /// The periods that a page shows.
    pub by: Grouping,
    /// Those that were asked for, which a file has.
    pub asked_by: Grouping,
    pub of: Option<Breakdown>,
    pub problems: Vec<String>,
    /// Why a page shows others.
    pub cut: Option<String>,
}

impl SummaryAsked {
    /// Reads what was asked; where nothing was, it is the month of `today` by day.
    pub fn of(query: &Query, today: NaiveDate) -> SummaryAsked {
        let mut problems = Vec::new();
        let month = Month::of(today);
        let from = parsed(query, "from", &mut problems, parse_date);
        let through = parsed(query, "through", &mut problems, parse_date);
        let first = from.unwrap_or_else(|| Month::of(through.unwrap_or(today)).first_day());
        let last = through.unwrap_or_else(|| if first > today { first } else { today });
        // A month of which some lies ahead is the month, so that its statement is found under the same range.
        let end = if from.is_none() && through.is_none() { month.next().first_day() } else { next_day(last) };
        let read = match backwards(from, through) {
            Some(problem) => Err(problem),
            None => DateRange::new(first, end).map_err(|error| format!("{}.", sentence(&error.to_string()))),
        };
        let mut range = read.unwrap_or_else(|problem| {
            problems.push(problem);
            this_month(month)
        });
        if Month::of(range.from().date()) > month {
            problems
                .push(format!("The range begins on {}, which lies ahead: there is nothing to show yet.", range.from()));
            range = this_month(month);
        }
        let grouping = |text: &str| word("period", text, Grouping::ALL, Grouping::as_str);
        let by = parsed(query, "by", &mut problems, grouping).unwrap_or(Grouping::Day);
        let breakdowns = Breakdown::ALL.iter().copied().filter(|breakdown| *breakdown != Breakdown::Transaction);
        let breakdowns: Vec<Breakdown> = breakdowns.collect();
        let of = parsed(query, "of", &mut problems, |text| word("breakdown", text, &breakdowns, Breakdown::as_str));
        problems.extend(misnamed(query, &SUMMARY_FIELDS, &[FORM]));
        let mut asked = SummaryAsked { range, by, asked_by: by, of, problems, cut: None };
        if asked.periods() > PERIODS_MAX {
            let (by, shown) = if asked.range.days() > PERIODS_MAX * 28 {
                (Grouping::Range, "the whole range as one")
            } else {
                (Grouping::Month, "months")
            };
            asked.by = by;
            asked.cut =
                Some(format!("These are more periods than a page holds: it shows {shown}; files have them all."));
        }
        asked
    }

    fn periods(&self) -> u64 {
        let days = self.range.days();
        match self.by {
            Grouping::Range => 1,
            Grouping::Day => days,
            Grouping::Week => days / 7 + 1,
            Grouping::Month => days / 28 + 1,
        }
    }
}

/// The years that creditd knows have every month of now.
fn this_month(month: Month) -> DateRange {
    DateRange::of_month(month).unwrap_or_else(|_| unreachable!("a month of now"))
}

/// Names and values behind a `?`, in that order; what has no value is left out.
pub(super) fn query_text<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn day(text: &str) -> NaiveDate {
        parse_date(text).expect("a date")
    }

    #[test]
    fn a_summary_is_of_this_month_unless_asked() {
        let shown = |pairs: &[(&str, &str)]| {
            let asked = SummaryAsked::of(&query(pairs), day("2026-03-20"));
            format!(
                "{}..{} by {} {:?}",
                asked.range.from(),
                asked.range.to(),
                asked.by,
                asked.problems.iter().chain(&asked.cut).collect::<Vec<_>>()
            )
        };
        insta::assert_snapshot!(shown(&[]), @"2026-03-01..2026-04-01 by day []");
        insta::assert_snapshot!(shown(&[("from", "2026-02-03"), ("through", "2026-02-09"), ("by", "week")]), @"2026-02-03..2026-02-10 by week []");
        insta::assert_snapshot!(shown(&[("from", "2026-03-03")]), @"2026-03-03..2026-03-21 by day []");
        insta::assert_snapshot!(shown(&[("from", "2020-01-01"), ("through", "2026-03-01")]), @r#"2020-01-01..2026-03-02 by month ["These are more periods than a page holds: it shows months; files have them all."]"#);
        insta::assert_snapshot!(shown(&[("from", "2027-01-01")]), @r#"2026-03-01..2026-04-01 by day ["The range begins on 2027-01-01, which lies ahead: there is nothing to show yet."]"#);
        insta::assert_snapshot!(shown(&[("from", "2026-03-03"), ("through", "2026-03-01")]), @r#"2026-03-01..2026-04-01 by day ["The last day, 2026-03-01, is before the first, 2026-03-03: nothing lies between."]"#);
        insta::assert_snapshot!(shown(&[("of", "transaction")]), @r#"2026-03-01..2026-04-01 by day ["There is no breakdown “transaction”; there are action, user, type and status."]"#);
        insta::assert_snapshot!(shown(&[("utm_id", "1"), ("by", "day"), ("utm_id", "2"), ("by", "")]), @r#"2026-03-01..2026-04-01 by day ["The name “by” stands in the address more than once; one value can be asked for."]"#);
        insta::assert_snapshot!(shown(&[("form", "csv"), ("utm_source", "mail"), ("user", "ann"), ("xyz", "")]), @r#"2026-03-01..2026-04-01 by day ["Nothing can be asked by the name “user” in the address; the names are: from, through, by, of."]"#);
        let long = SummaryAsked::of(&query(&[("from", "2020-01-01"), ("through", "2026-03-01")]), day("2026-03-20"));
        assert_eq!((long.asked_by, long.problems.len()), (Grouping::Day, 0), "a file has every day");
    }

    #[test]
    fn addresses_carry_what_people_type() {
        assert_eq!(
            query_text([("q", "a&b=c d+é"), ("user", ""), ("type", "free")]),
            "q=a%26b%3Dc%20d%2B%C3%A9&type=free"
        );
        let place = LogPlace { occurred_at: Instant::from_micros(-5), seq: 7 };
        assert_eq!(super::place(&place_text(place)), Ok(place));
    }

    proptest! {
        /// Nothing that is typed makes a page fail.
        #[test]
        fn whatever_is_asked_is_read(fields in prop::collection::vec(("from|through|by|of|user|action|type|status|q|before|.*", any::<String>()), 0..6)) {
            let fields: Query = fields.into_iter().collect();
            let today = day("2026-03-20");
            let summary = SummaryAsked::of(&fields, today);
            prop_assert!(summary.periods() <= PERIODS_MAX);
            let zone = crate::core::calendar::parse_zone("Europe/Berlin").expect("a zone");
            let terms = crate::core::calendar::Terms { from: Month::of(today), zone, allowance: crate::core::credits::Credits::ZERO };
            let log = LogAsked::of(&fields, &Calendar::new(terms));
            prop_assert!(log.problems.len() <= 8);
        }
    }
}
