//! How figures, instants and lists read in a mail.
//!
//! English, with figures, dates and money as the account's [`Locale`] has them, and the wall clock of its zone. Everything
//! given here from outside comes out as one line.

use super::SUBJECT_NAME_CHARS_MAX;
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Credits};
use crate::core::forecast::GrantLeft;
use crate::core::ids::{AccountId, TEXT_CHARS_MAX, cut_text};
use crate::core::locale::Locale;
use crate::core::outbox::one_line;
use crate::core::transaction::Money;
use chrono::{NaiveTime, Timelike};
use chrono_tz::Tz;
use serde::Serialize;
use tera::{Kwargs, State, TeraResult};

/// Most ends of bonuses that a mail names.
const ENDINGS_SHOWN_MAX: usize = 3;

/// `1 April 2013, 00:00 EDT`.
#[must_use]
pub fn moment(at: Instant, zone: Tz, locale: Locale) -> String {
    let local = at.in_zone(zone).naive_local();
    format!("{}, {} {}", locale.date(local.date()), locale.time(local.time()), zone_at(at, zone))
}

/// `19 March 2013, 14:00 EDT`: down to the whole hour, for instants that are only reckoned.
#[must_use]
pub fn hour(at: Instant, zone: Tz, locale: Locale) -> String {
    let local = at.in_zone(zone).naive_local();
    let whole = NaiveTime::from_hms_opt(local.hour(), 0, 0).unwrap_or(local.time());
    format!("{}, {} {}", locale.date(local.date()), locale.time(whole), zone_at(at, zone))
}

/// `March 2013`, wherever one is.
#[must_use]
pub fn month_title(month: Month) -> String {
    month.first_day().format("%B %Y").to_string()
}

/// `March`, of whichever year.
pub(super) fn month_name(month: Month) -> String {
    month.first_day().format("%B").to_string()
}

/// `EDT`; where the zone has no letters for it, `UTC+03` or `UTC+05:45`.
fn zone_at(at: Instant, zone: Tz) -> String {
    let short = at.in_zone(zone).format("%Z").to_string();
    match short.split_at_checked("+05".len()) {
        Some((hours, minutes)) if hours.starts_with(['+', '-']) && !minutes.is_empty() => {
            format!("UTC{hours}:{minutes}")
        }
        Some((hours, _)) if hours.starts_with(['+', '-']) => format!("UTC{hours}"),
        _ => short,
    }
}

/// What of `purchased` credits never lapses, as bonuses that do are `ending`.
pub(super) fn without_end(purchased: Credits, ending: &[GrantLeft]) -> Credits {
    let bonuses = ending.iter().filter(|bonus| bonus.credit_type == CreditType::Purchased);
    Credits::new(bonuses.fold(purchased.get(), |left, bonus| left.saturating_sub(bonus.credits.get())).max(0))
}

/// `$25`, `25,50 €`, `JPY 2,500`.
#[must_use]
pub fn price(money: &Money, locale: Locale) -> String {
    locale.money(&Money { minor: money.minor, currency: one_line(&money.currency) })
}

/// One line of at most `chars_max` characters; what is cut ends in `…`.
#[must_use]
pub fn shorten(text: &str, chars_max: usize) -> String {
    cut_text(&one_line(text), chars_max)
}

/// The same of names that may differ at their ends only: what is cut is within, where `…` stands.
#[must_use]
pub(super) fn shorten_within(text: &str, chars_max: usize) -> String {
    let text = one_line(text);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= chars_max {
        return text;
    }
    let behind = chars_max / 3;
    let (begin, end) = (&chars[..chars_max - behind - 1], &chars[chars.len() - behind..]);
    format!("{}…{}", String::from_iter(begin).trim_end(), String::from_iter(end).trim_start())
}

/// What to call an account: its name, cut to `chars_max`, or its id where the name has nothing to read.
#[must_use]
pub fn named(name: &str, id: &AccountId, chars_max: usize) -> String {
    let name = shorten(name, chars_max);
    if name.is_empty() { id.to_string() } else { name }
}

/// What every mail about an account says of it.
#[derive(Serialize)]
pub(super) struct About<'a> {
    locale: Locale,
    account: String,
    account_short: String,
    account_id: &'a AccountId,
    zone: &'static str,
}

impl<'a> About<'a> {
    /// `name` is untrusted free text.
    pub(super) fn of(id: &'a AccountId, name: &str, zone: Tz, locale: Locale) -> About<'a> {
        let (account, account_short) = (named(name, id, TEXT_CHARS_MAX), named(name, id, SUBJECT_NAME_CHARS_MAX));
        About { locale, account, account_short, account_id: id, zone: zone.name() }
    }
}

/// `700 free bonus credits lapse on 5 March 2013, 13:00 EST if unused.`: a sentence for each of `ending`, which are in the order of their
/// ends, and one for those beyond the first few. Empty for none.
#[must_use]
pub(super) fn endings(ending: &[GrantLeft], zone: Tz, locale: Locale) -> String {
    let sentence = |GrantLeft { credit_type, ends_at, credits }: &GrantLeft| {
        let (credits, of, ends_at) = (credits.get(), credit_type.as_str(), (*ends_at)?);
        let lapse = if credits == 1 { "credit lapses" } else { "credits lapse" };
        let at = moment(ends_at, zone, locale);
        Some(format!("{} {of} bonus {lapse} on {at} if unused.", locale.number(credits)))
    };
    let mut sentences: Vec<String> = ending.iter().take(ENDINGS_SHOWN_MAX).filter_map(sentence).collect();
    let more: i128 = ending.iter().skip(ENDINGS_SHOWN_MAX).map(|grant| i128::from(grant.credits.get())).sum();
    if more > 0 {
        let lapse = if more == 1 { "credit lapses" } else { "credits lapse" };
        sentences.push(format!("{} more bonus {lapse} later if unused.", locale.number(more)));
    }
    sentences.join(" ")
}

/// `A, B and C`, or `A, B and 3 more` for more than `shown_max` and one. Empty for none.
#[must_use]
pub fn listed(items: &[String], shown_max: usize) -> String {
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
    tera.register_filter("number", |value: i128, _: Kwargs, state: &State| -> TeraResult<String> {
        Ok(locale_of(state)?.number(value))
    });
    tera.register_filter("signed", |value: i128, _: Kwargs, state: &State| -> TeraResult<String> {
        Ok(locale_of(state)?.signed(value))
    });
    // In place of tera's own, which goes much further: loops within loops are to end also where no sample of ours has entered them.
    tera.register_function("range", |kwargs: Kwargs, _: &State| -> TeraResult<Vec<i128>> {
        let (start, end) = (kwargs.get::<i128>("start")?.unwrap_or_default(), kwargs.must_get::<i128>("end")?);
        let step = kwargs.get::<i128>("step_by")?.unwrap_or(1);
        let steps = std::iter::successors(Some(start), |at| at.checked_add(step));
        let within = steps.take_while(|at| if step < 0 { *at > end } else { *at < end });
        let numbers: Vec<i128> = within.take(RANGE_MAX + 1).collect();
        if numbers.len() > RANGE_MAX {
            return Err(tera::Error::message(format!(
                "range goes on for more than {RANGE_MAX} numbers, the most in a mail"
            )));
        }
        Ok(numbers)
    });
    tera.register_filter("left", |text: &str, kwargs: Kwargs, _: &State| -> TeraResult<String> {
        let width = kwargs.must_get::<usize>("width")?.min(COLUMN_WIDTH_MAX);
        Ok(format!("{text:<width$}"))
    });
    tera.register_filter("right", |text: &str, kwargs: Kwargs, _: &State| -> TeraResult<String> {
        let width = kwargs.must_get::<usize>("width")?.min(COLUMN_WIDTH_MAX);
        // Figures as wide as their column are still figures apart.
        Ok(format!("{:>width$}", format!(" {text}")))
    });
}

/// The locale of the mail that is worded. A component sees only what it is given; where that is not the locale, it is the usual one.
fn locale_of(state: &State) -> TeraResult<Locale> {
    let word = state.get::<String>(LOCALE)?;
    Ok(word.and_then(|word| Locale::from_word(&word)).unwrap_or_default())
}

/// What templates call the locale.
const LOCALE: &str = "locale";
/// Most numbers of a range: three loops within one another end at once, and nobody needs more.
const RANGE_MAX: usize = 100;
/// Widest column of a table in plain text.
const COLUMN_WIDTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::parse_zone;

    /// Whatever the figures are, one can tell where one ends and the next begins.
    #[test]
    fn figures_are_apart_however_wide_they_are() {
        let mut tera = tera::Tera::default();
        register(&mut tera);
        let text = "{{ a | number | right(width=4) }}{{ b | number | right(width=4) }}";
        for (a, b, says) in [(1, 2, "   1   2"), (100_000, i64::MAX, " 100,000 9,223,372,036,854,775,807")] {
            let mut context = tera::Context::new();
            context.insert("a", &a);
            context.insert("b", &b);
            assert_eq!(tera.render_str(text, &context, false).expect("a line"), says);
        }
    }

    #[test]
    fn what_is_cut_within_differs_at_its_end() {
        for (text, chars_max, says) in [
            ("a@b.example", 11, "a@b.example"),
            ("directory-of-everybody-anna@b.example", 20, "directory-of-…xample"),
            ("many words of 1", 8, "many…1"),
        ] {
            assert_eq!(shorten_within(text, chars_max), says);
        }
    }

    /// Whatever stands in a template, its loops over numbers end.
    #[test]
    fn ranges_are_short() {
        let mut tera = tera::Tera::default();
        register(&mut tera);
        let said = |call: &str| {
            let text = format!("{{% for n in {call} %}}{{{{ n }}}} {{% endfor %}}");
            tera.render_str(&text, &tera::Context::new(), false).map_err(|error| error.to_string())
        };
        assert_eq!(said("range(end=3)").expect("numbers"), "0 1 2 ");
        assert_eq!(said("range(start=5, end=0, step_by=-2)").expect("numbers"), "5 3 1 ");
        for endless in ["range(end=101)", "range(end=9, step_by=0)", "range(end=9223372036854775807)"] {
            assert!(said(endless).expect_err(endless).contains("more than 100 numbers"));
        }
    }

    #[test]
    fn prices_follow_their_currency() {
        for (minor, currency, text) in [
            (2_500, "USD", "$25"),
            (2_550, "USD", "$25.50"),
            (250_005, "EUR", "€2,500.05"),
            (2_500, "JPY", "JPY\u{a0}2,500"),
            (2_505, "KWD", "KWD\u{a0}2.505"),
            (-1_999, "CHF\n", "-CHF\u{a0}19.99"),
        ] {
            assert_eq!(price(&Money { minor, currency: currency.to_owned() }, Locale::EnGb), text);
        }
    }

    #[test]
    fn instants_read_on_the_clock_of_the_zone() {
        let at = Instant::parse("2013-04-01T04:30:00Z").expect("an instant");
        let zone = |name| parse_zone(name).expect("a zone");
        let (york, paulo, kolkata) = (zone("America/New_York"), zone("America/Sao_Paulo"), zone("Asia/Kolkata"));
        assert_eq!(moment(at, york, Locale::EnGb), "1 April 2013, 00:30 EDT");
        assert_eq!(moment(at, york, Locale::EnUs), "April 1, 2013, 12:30\u{a0}AM EDT");
        assert_eq!(moment(at, paulo, Locale::PtBr), "1 April 2013, 01:30 UTC-03");
        assert_eq!(hour(at, kolkata, Locale::DeDe), "1.\u{a0}April 2013, 10:00 IST");
        assert_eq!(hour(at, kolkata, Locale::EnIn), "1 April 2013, 10:00\u{a0}am IST");
    }

    /// A filter writes numbers as the mail's locale has them, wherever in a template it stands.
    #[test]
    fn filters_know_the_locale_of_the_mail() {
        let mut tera = tera::Tera::new();
        register(&mut tera);
        tera.add_raw_template(
            "figure.txt",
            "{{ figure | number }} {% for one in [figure] %}{{ one | signed }}{% endfor %}",
        )
        .expect("a template");
        tera.add_raw_template("mail.txt", "{% include \"figure.txt\" %}").expect("a template");
        let rendered = |locale: Option<&str>| {
            let mut context = tera::Context::new();
            context.insert("figure", &1_234_567);
            locale.inspect(|locale| context.insert(LOCALE, locale));
            tera.render("mail.txt", &context).expect("rendered")
        };
        assert_eq!(rendered(Some("en-IN")), "12,34,567 +12,34,567");
        assert_eq!(rendered(Some("de-DE")), "1.234.567 +1.234.567");
        assert_eq!(rendered(None), "1,234,567 +1,234,567");
    }

    #[test]
    fn lists_end() {
        let all: Vec<String> = ["A", "B", "C", "D"].map(str::to_owned).to_vec();
        assert_eq!((listed(&all, 3).as_str(), listed(&all, 2).as_str()), ("A, B, C and D", "A, B and 2 more"));
        assert_eq!((listed(&all[..1], 2).as_str(), listed(&[], 2).as_str()), ("A", ""));
        assert_eq!(shorten("a very\nlong name", 7), "a very…");
    }
}
