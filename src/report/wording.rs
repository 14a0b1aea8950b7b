//! Numbers, dates and sentences as people read them, shared by the renderers for people.

use crate::core::counting::{counted, grouped};
use crate::core::ids::{cut_text, printable};
use crate::core::locale::Locale;
use crate::core::statement::{Column, DateRange, Figures, Line, LineType, LocalTime, ReportModel, Scope, Section};
use crate::core::transaction::Money;
use chrono::{Datelike, NaiveDate};

/// A range as one says it: `March 2026`, `5 March 2026`, `1–14 March 2026`, `2026`, whose last day is in it, or
/// `5 March 2026, 06:00–18:30`.
#[must_use]
pub(super) fn days(range: DateRange) -> String {
    days_in(range, Locale::default())
}

/// The same as people of a place say it: `March 5, 2026`, `March 1 – March 14, 2026`.
#[must_use]
pub fn days_in(range: DateRange, locale: Locale) -> String {
    if !range.is_whole_days() {
        return times(range, locale);
    }
    let (first, last) = (range.from().date(), range.last_day());
    if range.days() == 1 {
        return locale.date(first);
    }
    if range.as_month().is_some() {
        return first.format("%B %Y").to_string();
    }
    let is_new_year = |day: NaiveDate| day.ordinal() == 1;
    if is_new_year(first) && is_new_year(range.to().date()) && first.year() == last.year() {
        return first.year().to_string();
    }
    let end = locale.date(last);
    if locale == Locale::default() && (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{}–{end}", first.day())
    } else if first.year() == last.year() {
        format!("{} – {end}", locale.day(first))
    } else {
        format!("{} – {end}", locale.date(first))
    }
}

/// The range of a report as one says it. One that is not over is `March 2026 so far`.
pub(super) fn period(model: &ReportModel) -> String {
    let days = days(model.spec.range());
    if model.is_over { days } else { format!("{days} so far") }
}

/// A range that begins or ends within a day. An end at midnight is told as the 24th hour of its last day.
fn times(range: DateRange, locale: Locale) -> String {
    let day = |day: NaiveDate| locale.date(day);
    let clock = |time: LocalTime| {
        let has_seconds = !time.to_string().ends_with(&time.time().format("T%H:%M").to_string());
        time.time().format(if has_seconds { "%H:%M:%S" } else { "%H:%M" }).to_string()
    };
    let begin = if range.from().is_midnight() { "00:00".to_owned() } else { clock(range.from()) };
    let end = if range.to().is_midnight() { "24:00".to_owned() } else { clock(range.to()) };
    let (first, last) = (range.from().date(), range.last_day());
    if first == last {
        format!("{}, {begin}–{end}", day(first))
    } else {
        format!("{}, {begin} – {}, {end}", day(first), day(last))
    }
}

/// What the account of a report of one is called, where that says more than its id: as text that turns nothing beside it.
pub(super) fn account_name(model: &ReportModel) -> Option<String> {
    let name = printable(model.beside.name.as_deref()?).trim().to_owned();
    let mut sections = model.sections();
    let id = sections.next().and_then(|section| section.account).filter(|_| sections.len() == 0)?;
    (!name.is_empty() && name != id.as_str()).then_some(name)
}

/// Whom a report is about: `Acme GmbH (acme)`, `3 accounts`, and of the platform `Whole platform` or what was chosen of it. Of a longer name its first `chars_max` characters.
pub(super) fn whom(model: &ReportModel, chars_max: usize) -> String {
    match (model.spec.scope(), model.sections().len()) {
        (Scope::Platform, _) => match model.beside.chosen.as_slice() {
            [] => "Whole platform".to_owned(),
            [one] => format!("{one}, of the platform"),
            some => format!("{} of the platform", counted(some.len() as u64, "account")),
        },
        (Scope::Account, 1) => {
            let id = model.sections().next().map(|one| section_name(&one)).unwrap_or_default();
            account_name(model).map_or_else(|| id.clone(), |name| format!("{} ({id})", cut_text(&name, chars_max)))
        }
        (Scope::Account, many) => counted(many as u64, "account"),
    }
}

/// Time zones that are named; of more, their number is.
const ZONES_MAX: usize = 12;

/// By which clocks days and times are meant.
pub(super) fn zones(model: &ReportModel) -> String {
    match model.zones.as_slice() {
        [] => "There is no account in the report.".to_owned(),
        [one] => format!("Days and times are local, in {one}."),
        few if few.len() <= ZONES_MAX => {
            format!("Days and times are those of each account's own zone: {}.", listed(few))
        }
        many => {
            let zones = counted(many.len() as u64, "zone");
            format!("Days and times are those of each account's own zone; there are {zones}.")
        }
    }
}

/// An id is safe in an attribute and in a link; the platform has none.
pub(super) fn section_name(section: &Section) -> String {
    section.account.map_or_else(|| "Platform".to_owned(), ToString::to_string)
}

/// The equation of DESIGN section 4, read downwards: what is added and taken away, and in a few words what it is.
pub const EQUATION: [(Column, &str, &str); 10] = [
    (Column::CarriedIn, "", "at the beginning"),
    (Column::Allocated, "+", "monthly free credits"),
    (Column::Purchased, "+", "packs bought"),
    (Column::Bonus, "+", "granted by the operator"),
    (Column::Consumed, "−", "taken by AI actions"),
    (Column::Refunded, "+", "given back for actions"),
    (Column::Lapsed, "−", "left unused"),
    (Column::Returned, "−", "unspent packs returned"),
    (Column::Adjusted, "±", "corrections"),
    (Column::Remaining, "=", "at the end"),
];

/// What stands in a column of `model`, for those who were only sent the file.
pub(super) fn meaning_in(model: &ReportModel, column: Column) -> &'static str {
    match column {
        Column::Purchased if model.is_log() => "The purchased part of these credits.",
        Column::User if model.is_log() => "Who performed the action, where the platform said so.",
        Column::Type if model.is_log() => "The credits that it touched: free, purchased, mixed (both) or none.",
        Column::Status if model.is_log() => "How it ended: succeeded, failed at the platform, or refused for a reason.",
        Column::Action if model.is_log() => "The AI action; empty for all that is none.",
        _ => meaning(column),
    }
}

/// What is filtered, in words: `action erase or upscale`.
pub(super) fn filters_said(model: &ReportModel) -> Vec<String> {
    model.spec.filters().said().into_iter().map(|(filter, values)| filter_said(filter, values)).collect()
}

/// One filter with its values; the empty one stands for what has none.
pub(super) fn filter_said<'a>(filter: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let value = |value: &'a str| if value.is_empty() { "none" } else { value };
    format!("{filter} {}", values.into_iter().map(value).collect::<Vec<_>>().join(" or "))
}

/// What stands in a column, for those who were only sent the file.
pub(super) const fn meaning(column: Column) -> &'static str {
    match column {
        Column::Account => "The account; empty where all accounts are summed up.",
        Column::From => "The first day of the period, or the time at which it begins within a day.",
        Column::To => "The first day after the period, or the time at which it ends within a day.",
        Column::Action => "The AI action; empty for use that names none.",
        Column::User => "The user of the account; empty for use that names none.",
        Column::Type => "The credits that an action took: free, purchased, mixed (both) or none.",
        Column::Status => "How actions ended: succeeded, failed or refused.",
        Column::CreditType => "The credits that the line counts: free, purchased, or total for both together.",
        Column::CarriedIn => "Credits that were there when the period began.",
        Column::Allocated => "The free credits of the month, which lapse when it ends.",
        Column::Purchased => "Credits of packs that were bought; they do not lapse.",
        Column::Bonus => "Credits granted by the operator.",
        Column::Consumed => {
            "Credits taken by actions, and those held for actions that are not settled; refunds are not taken off."
        }
        Column::Refunded => "Credits given back for earlier actions.",
        Column::Lapsed => "Credits that disappeared unused when their time was over.",
        Column::Returned => "Unspent credits of packs that were returned.",
        Column::Adjusted => "Corrections by the operator, below zero where they took credits.",
        Column::Remaining => "Credits that were there when the period was over.",
        Column::Succeeded => {
            "Actions done; on lines of the total only, for one action can take both free and purchased credits."
        }
        Column::Failed => "Actions that failed at the platform; on lines of the total only.",
        Column::Refused => "Actions that were refused, such as for lack of credits; on lines of the total only.",
        Column::LocalTime => "When it occurred, by the clock of the account.",
        Column::OccurredAt => "When it occurred, in UTC.",
        Column::Kind => "What the transaction is: a charge, a purchase, the expiry of what was unused and so on.",
        Column::Quantity => "How many actions or packs.",
        Column::Credits => "Credits that a charge or hold took; of all else the change, below zero where it took some.",
        Column::Free => "The free part of these credits.",
        Column::Comment => "What was written down with it.",
        Column::Reason => "Why the action was refused.",
        Column::Reference => "The payment, or the month that it is about.",
        Column::Key => "The key under which the platform asked for it.",
    }
}

/// What happened to the credits of one triple of lines, in sentences whose numbers add up, written as people of `locale` do.
#[must_use]
pub fn story(triple: &[Line], is_over: bool, locale: Locale) -> String {
    let credits = |number: i64| format!("{} {}", locale.number(number), if number == 1 { "credit" } else { "credits" });
    let figures = |of| triple.iter().find(|line| line.credit_type == of).map(|line| line.figures).unwrap_or_default();
    let (free, purchased, total) = (figures(LineType::Free), figures(LineType::Purchased), figures(LineType::Total));
    let Figures {
        carried_in, allocated, purchased: bought, bonus, consumed, refunded, lapsed, returned, adjusted, ..
    } = total;
    let mut sentences = Vec::new();
    if !carried_in.is_zero() {
        sentences.push(format!("{} {} carried in.", credits(carried_in.get()), was(carried_in.get())));
    }
    let given = [
        (allocated.get(), "allocated"),
        (bought.get(), "purchased"),
        (bonus.get(), "granted as a bonus"),
        (refunded.get(), "refunded"),
    ];
    sentences.extend(happened(&given, locale));
    let taken = [(consumed.get(), "consumed"), (lapsed.get(), "left to lapse unused"), (returned.get(), "returned")];
    sentences.extend(happened(&taken, locale));
    match adjusted.get() {
        0 => {}
        added @ 1.. => sentences.push(format!("Corrections added {}.", locale.number(added))),
        taken => sentences.push(format!("Corrections took {}.", locale.number(taken.unsigned_abs()))),
    }
    sentences.push(format!(
        "{} {}: {} free and {} purchased.",
        credits(total.remaining.get()),
        if is_over { "remained at the end" } else { "are left so far" },
        locale.number(free.remaining.get()),
        locale.number(purchased.remaining.get()),
    ));
    sentences.join(" ")
}

/// `1,500 were allocated, 2,500 purchased and 8 refunded.`
fn happened(things: &[(i64, &str)], locale: Locale) -> Option<String> {
    let mut things = things.iter().filter(|(credits, _)| *credits != 0);
    let (credits, what) = things.next()?;
    let first = format!("{} {} {what}", locale.number(*credits), was(*credits));
    let rest = things.map(|(credits, what)| format!("{} {what}", locale.number(*credits)));
    Some(format!("{}.", listed(&[first].into_iter().chain(rest).collect::<Vec<_>>())))
}

const fn was(credits: i64) -> &'static str {
    if credits == 1 { "was" } else { "were" }
}

/// `1,234.50 USD`, `2,500 JPY`.
pub(super) fn money(money: &Money) -> String {
    let unit = 10_u64.pow(money.decimals());
    let (magnitude, sign) = (money.minor.unsigned_abs(), if money.minor < 0 { "-" } else { "" });
    let width = usize::try_from(money.decimals()).unwrap_or(0);
    let part = if width == 0 { String::new() } else { format!(".{:0width$}", magnitude % unit) };
    format!("{sign}{}{part} {}", grouped(magnitude / unit), money.currency)
}

/// `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [others @ .., last] => {
            let others: Vec<&str> = others.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", others.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::statement;

    #[test]
    fn ranges_read_as_one_says_them() {
        let said = |from, to| {
            let local = |text: &str| text.parse::<LocalTime>().expect("a local time");
            days(DateRange::new(local(from), local(to)).expect("a range"))
        };
        assert_eq!(said("2026-03-01", "2026-04-01"), "March 2026");
        assert_eq!(said("2026-03-05", "2026-03-06"), "5 March 2026");
        assert_eq!(said("2026-03-01", "2026-03-15"), "1–14 March 2026");
        assert_eq!(said("2026-01-20", "2026-03-15"), "20 January – 14 March 2026");
        assert_eq!(said("2025-12-20", "2026-01-04"), "20 December 2025 – 3 January 2026");
        assert_eq!(said("2025-01-01", "2026-01-01"), "2025");
        assert_eq!(said("2025-01-01", "2027-01-01"), "1 January 2025 – 31 December 2026");
        assert_eq!(said("2013-03-10T06:00", "2013-03-12T18:30"), "10 March 2013, 06:00 – 12 March 2013, 18:30");
        assert_eq!(said("2013-03-10T06:00", "2013-03-10T06:00:30"), "10 March 2013, 06:00–06:00:30");
        assert_eq!(said("2013-03-10T06:00", "2013-03-11"), "10 March 2013, 06:00–24:00");
        assert_eq!(said("2013-03-10", "2013-03-11T06:00"), "10 March 2013, 00:00 – 11 March 2013, 06:00");
    }

    #[test]
    fn the_story_tells_every_figure_that_is_not_zero() {
        assert_eq!(story(&[], true, Locale::default()), "0 credits remained at the end: 0 free and 0 purchased.");
        insta::assert_snapshot!(story(&statement().totals, true, Locale::default()), @"2,750 credits were carried in. 1,500 were allocated, 5,000 purchased, 100 granted as a bonus and 60 refunded. 1,300 were consumed, 360 left to lapse unused and 2,500 returned. Corrections took 250. 5,000 credits remained at the end: 0 free and 5,000 purchased.");
        insta::assert_snapshot!(story(&statement().totals, true, Locale::DeDe), @"2.750 credits were carried in. 1.500 were allocated, 5.000 purchased, 100 granted as a bonus and 60 refunded. 1.300 were consumed, 360 left to lapse unused and 2.500 returned. Corrections took 250. 5.000 credits remained at the end: 0 free and 5.000 purchased.");
    }
}
