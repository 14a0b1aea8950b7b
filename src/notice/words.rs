//! How figures, instants and lists read in a mail.
//!
//! English, and the wall clock of the account's zone. Everything given here from outside comes out as one line.

use crate::core::calendar::Instant;
use crate::core::counting::grouped;
use crate::core::ids::{AccountId, cut_text};
use crate::core::outbox::one_line;
use crate::core::transaction::Money;
use chrono_tz::Tz;
use tera::{Kwargs, State, TeraResult};

/// `+1,500`, `-20`, `0`.
fn signed(value: i128) -> String {
    let plus = if value > 0 { "+" } else { "" };
    format!("{plus}{}", grouped(value))
}

/// `1 April 2013, 00:00 EDT`.
#[must_use]
pub(super) fn moment(at: Instant, zone: Tz) -> String {
    at.in_zone(zone).format("%-d %B %Y, %H:%M ").to_string() + &zone_at(at, zone)
}

/// `19 March 2013, 14:00 EDT`: down to the whole hour, for instants that are only reckoned.
#[must_use]
pub(super) fn hour(at: Instant, zone: Tz) -> String {
    at.in_zone(zone).format("%-d %B %Y, %H:00 ").to_string() + &zone_at(at, zone)
}

/// `EDT`; where the zone has no letters for it, `UTC+03`.
fn zone_at(at: Instant, zone: Tz) -> String {
    let short = at.in_zone(zone).format("%Z").to_string();
    if short.starts_with(['+', '-']) { format!("UTC{short}") } else { short }
}

/// `$25`, `$25.50`, `2,500 JPY`.
#[must_use]
pub(super) fn price(money: &Money) -> String {
    let currency = one_line(&money.currency);
    let decimals = money.decimals();
    let unit = 10_u64.pow(decimals);
    let magnitude = money.minor.unsigned_abs();
    let sign = if money.minor < 0 { "-" } else { "" };
    let mut amount = grouped(magnitude / unit);
    if !magnitude.is_multiple_of(unit) {
        let width = usize::try_from(decimals).unwrap_or(0);
        amount.push_str(&format!(".{:0width$}", magnitude % unit));
    }
    match currency.as_str() {
        "USD" => format!("{sign}${amount}"),
        "EUR" => format!("{sign}€{amount}"),
        "GBP" => format!("{sign}£{amount}"),
        _ => format!("{sign}{amount} {currency}"),
    }
}

/// One line of at most `chars_max` characters; what is cut ends in `…`.
#[must_use]
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    cut_text(&one_line(text), chars_max)
}

/// What to call an account: its name, cut to `chars_max`, or its id where the name has nothing to read.
#[must_use]
pub(super) fn named(name: &str, id: &AccountId, chars_max: usize) -> String {
    let name = shorten(name, chars_max);
    if name.is_empty() { id.to_string() } else { name }
}

/// `A, B and C`, or `A, B and 3 more` for more than `shown_max` and one. Empty for none.
#[must_use]
pub(super) fn listed(items: &[String], shown_max: usize) -> String {
    // "and 1 more" would be as long as naming it.
    let shown_max = if items.len() == shown_max + 1 { items.len() } else { shown_max };
    let mut shown: Vec<String> = items.iter().take(shown_max).cloned().collect();
    if items.len() > shown_max {
        shown.push(format!("{} more", items.len() - shown_max));
    }
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// The filters that templates may use.
pub(super) fn register(tera: &mut tera::Tera) {
    tera.register_filter("number", |value: i128, _: Kwargs, _: &State| grouped(value));
    tera.register_filter("signed", |value: i128, _: Kwargs, _: &State| signed(value));
    tera.register_filter("left", |text: &str, kwargs: Kwargs, _: &State| -> TeraResult<String> {
        let width = kwargs.must_get::<usize>("width")?.min(COLUMN_WIDTH_MAX);
        Ok(format!("{text:<width$}"))
    });
    tera.register_filter("right", |text: &str, kwargs: Kwargs, _: &State| -> TeraResult<String> {
        let width = kwargs.must_get::<usize>("width")?.min(COLUMN_WIDTH_MAX);
        Ok(format!("{text:>width$}"))
    });
}

/// Widest column of a table in plain text.
const COLUMN_WIDTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::parse_zone;

    #[test]
    fn numbers_have_separators() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (-100, "-100")] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!((signed(5).as_str(), signed(0).as_str(), signed(-1_500).as_str()), ("+5", "0", "-1,500"));
    }

    #[test]
    fn prices_follow_their_currency() {
        for (minor, currency, text) in [
            (2_500, "USD", "$25"),
            (2_550, "USD", "$25.50"),
            (250_005, "EUR", "€2,500.05"),
            (2_500, "JPY", "2,500 JPY"),
            (2_505, "KWD", "2.505 KWD"),
            (-1_999, "CHF", "-19.99 CHF"),
        ] {
            assert_eq!(price(&Money { minor, currency: currency.to_owned() }), text);
        }
    }

    #[test]
    fn instants_read_on_the_clock_of_the_zone() {
        let at = Instant::parse("2013-04-01T04:30:00Z").expect("an instant");
        let zone = |name| parse_zone(name).expect("a zone");
        assert_eq!(moment(at, zone("America/New_York")), "1 April 2013, 00:30 EDT");
        assert_eq!(moment(at, zone("America/Sao_Paulo")), "1 April 2013, 01:30 UTC-03");
        assert_eq!(hour(at, zone("Asia/Kolkata")), "1 April 2013, 10:00 IST");
    }

    #[test]
    fn lists_end() {
        let all: Vec<String> = ["A", "B", "C", "D"].map(str::to_owned).to_vec();
        assert_eq!((listed(&all, 3).as_str(), listed(&all, 2).as_str()), ("A, B, C and D", "A, B and 2 more"));
        assert_eq!((listed(&all[..1], 2).as_str(), listed(&[], 2).as_str()), ("A", ""));
        assert_eq!(shorten("a very\nlong name", 7), "a very…");
    }
}
