//! How people of a place write numbers, dates, times and money. The words beside them are English whatever the place.
//!
//! The facts are those of the Unicode CLDR, but for the dollar sign, of which docs/decisions.md says why; written down for the few locales that are known here: a table of a page that can be
//! read, where a library of all languages would bring a hundred times as much. What programs read (CSV, JSON, workbooks) has no
//! locale.

use super::transaction::{Money, words};
use chrono::{NaiveDate, NaiveTime, Timelike};

/// What stays together: an amount and its currency, a time and its half of the day, a day's number with a point and its month.
const NO_BREAK: char = '\u{a0}';
const NARROW_NO_BREAK: char = '\u{202f}';

words! {
    /// A language and a place. Of several for one language, the first is the one that its name alone suggests.
    Locale {
        /// Germany: `1.234,50 €`, `5. March 2013`.
        DeDe = "de-DE",
        /// Switzerland: `CHF 1’234.50`, `5. March 2013`.
        DeCh = "de-CH",
        /// Great Britain, and what counts where nothing else is set: `£1,234.50`, `5 March 2013`.
        EnGb = "en-GB",
        /// The United States: `$1,234.50`, `March 5, 2013`, `2:05 PM`.
        EnUs = "en-US",
        /// Australia: `5 March 2013`, `2:05 pm`.
        EnAu = "en-AU",
        /// Canada: `March 5, 2013`, `2:05 p.m.`.
        EnCa = "en-CA",
        /// Ireland: `€1,234.50`, `5 March 2013`.
        EnIe = "en-IE",
        /// India: `12,34,567`, `5 March 2013`, `2:05 pm`.
        EnIn = "en-IN",
        /// New Zealand: `5 March 2013`, `2:05 pm`.
        EnNz = "en-NZ",
        /// Spain: `1234`, `12.345`, `1234,50 €`.
        EsEs = "es-ES",
        /// France: `1 234,50 €` with narrow blanks.
        FrFr = "fr-FR",
        /// Italy: `1234`, `12.345`, `1234,50 €`.
        ItIt = "it-IT",
        /// The Netherlands: `€ 1.234,50`.
        NlNl = "nl-NL",
        /// Poland: `1234`, `12 345`, `1234,50 €`.
        PlPl = "pl-PL",
        /// Brazil: `1.234`, `€ 1.234,50`.
        PtBr = "pt-BR",
        /// Sweden: `1 234,50 €`, `−5`.
        SvSe = "sv-SE",
    }
}

impl Default for Locale {
    /// The world reads it, and mistakes no month for a day.
    fn default() -> Locale {
        Locale::EnGb
    }
}

/// Why a text is no locale.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no locale {text:?}{}Known are {}", suggested(*.nearest), known())]
pub struct BadLocale {
    /// What was given, cut.
    text: String,
    nearest: Option<Locale>,
}

/// Longest text of which an error speaks, in characters.
const TEXT_CHARS_MAX: usize = 40;

fn suggested(nearest: Option<Locale>) -> String {
    nearest.map_or_else(|| ". ".to_owned(), |nearest| format!("; did you mean {nearest}? "))
}

fn known() -> String {
    Locale::ALL.iter().map(|locale| locale.as_str()).collect::<Vec<_>>().join(", ")
}

impl std::str::FromStr for Locale {
    type Err = BadLocale;

    fn from_str(text: &str) -> Result<Locale, BadLocale> {
        Locale::from_word(text)
            .ok_or_else(|| BadLocale { text: text.chars().take(TEXT_CHARS_MAX).collect(), nearest: nearest(text) })
    }
}

/// The locale that `text` most likely means: `de_DE.UTF-8`, `DE-de`, `de`, `fr-BE`, or else one of that place.
fn nearest(text: &str) -> Option<Locale> {
    let text = text.split(['.', '@']).next().unwrap_or_default().replace('_', "-").to_ascii_lowercase();
    let (language, place) = text.split_once('-').unwrap_or((&text, &text));
    let is = |locale: &&Locale, given: (&str, &str)| {
        let word = locale.as_str().to_ascii_lowercase();
        word.split_once('-').is_some_and(|(own_language, own_place)| {
            (given.0.is_empty() || given.0 == own_language) && (given.1.is_empty() || given.1 == own_place)
        })
    };
    let find = |given: (&str, &str)| Locale::ALL.iter().find(|locale| is(locale, given)).copied();
    if language.is_empty() || place.is_empty() {
        return None;
    }
    find((language, place)).or_else(|| find((language, ""))).or_else(|| find(("", place)))
}

/// What stands between groups of digits.
struct Grouping {
    mark: char,
    /// Digits in each group but the last, which has three.
    size: usize,
    /// Fewest digits before the first mark: Spaniards write 1234, and 12.345.
    first_min: usize,
}

/// What a date begins with.
enum Order {
    /// `5 March 2013`
    Day,
    /// `5. March 2013`
    DayDot,
    /// `March 5, 2013`
    Month,
}

/// Where a currency stands.
enum Place {
    /// `$25`; letters have a blank behind them.
    Before,
    /// `€ 25`
    BeforeWithBlank,
    /// `25 €`
    After,
}

impl Locale {
    /// A whole number: `1,234,567`, `-5`.
    #[must_use]
    pub fn number(self, number: impl Into<i128>) -> String {
        let number = number.into();
        let digits = self.digits(number.unsigned_abs());
        if number < 0 { format!("{}{digits}", self.minus()) } else { digits }
    }

    /// A change: `+1,500`, `-20`, `0`.
    #[must_use]
    pub fn signed(self, change: impl Into<i128>) -> String {
        let change = change.into();
        let number = self.number(change);
        if change > 0 { format!("+{number}") } else { number }
    }

    /// An amount of money: `$25`, `25,50 €`, `PLN 20`. A whole amount has no decimals.
    #[must_use]
    pub fn money(self, money: &Money) -> String {
        let decimals = money.decimals();
        let unit = 10_u64.pow(decimals);
        let magnitude = money.minor.unsigned_abs();
        let mut amount = self.digits((magnitude / unit).into());
        if !magnitude.is_multiple_of(unit) {
            let width = usize::try_from(decimals).unwrap_or(0);
            amount.push_str(&format!("{}{:0width$}", self.decimal_mark(), magnitude % unit));
        }
        let sign = if money.minor < 0 { self.minus() } else { "" };
        let currency = self.currency(&money.currency);
        let has_letters_only = currency.chars().all(|c| c.is_ascii_alphabetic());
        match self.place() {
            Place::After => format!("{sign}{amount}{NO_BREAK}{currency}"),
            Place::Before if !has_letters_only => format!("{sign}{currency}{amount}"),
            Place::Before | Place::BeforeWithBlank => format!("{sign}{currency}{NO_BREAK}{amount}"),
        }
    }

    /// A day: `1 April 2013`, `April 1, 2013`. Its month is a word, as 4/1 is January to some and April to others.
    #[must_use]
    pub fn date(self, day: NaiveDate) -> String {
        let form = match self.order() {
            Order::Day => "%-d %B %Y",
            Order::DayDot => "%-d.\u{a0}%B %Y",
            Order::Month => "%B %-d, %Y",
        };
        day.format(form).to_string()
    }

    /// A day of a year that is known: `1 April`, `April 1`.
    #[must_use]
    pub fn day(self, day: NaiveDate) -> String {
        let form = match self.order() {
            Order::Day => "%-d %B",
            Order::DayDot => "%-d.\u{a0}%B",
            Order::Month => "%B %-d",
        };
        day.format(form).to_string()
    }

    /// The same where there is little room: `1 Apr`, `Apr 1`.
    #[must_use]
    pub fn short_day(self, day: NaiveDate) -> String {
        let form = match self.order() {
            Order::Day => "%-d %b",
            Order::DayDot => "%-d.\u{a0}%b",
            Order::Month => "%b %-d",
        };
        day.format(form).to_string()
    }

    /// Hour and minute: `14:05`, `2:05 PM`.
    #[must_use]
    pub fn time(self, time: NaiveTime) -> String {
        let Some([morning, afternoon]) = self.halves() else { return time.format("%H:%M").to_string() };
        let half = if time.hour() < 12 { morning } else { afternoon };
        format!("{}{NO_BREAK}{half}", time.format("%-I:%M"))
    }

    /// Digits with the marks between their groups.
    fn digits(self, number: u128) -> String {
        const LAST: usize = 3;
        let Grouping { mark, size, first_min } = self.grouping();
        let digits = number.to_string();
        if digits.len() < LAST + first_min {
            return digits;
        }
        let mut text = String::with_capacity(digits.len() * 2);
        for (at, digit) in digits.chars().enumerate() {
            let left = digits.len() - at;
            if at > 0 && left >= LAST && (left - LAST).is_multiple_of(size) {
                text.push(mark);
            }
            text.push(digit);
        }
        text
    }

    const fn grouping(self) -> Grouping {
        let (mark, size, first_min) = match self {
            Locale::EnGb | Locale::EnUs | Locale::EnAu | Locale::EnCa | Locale::EnIe | Locale::EnNz => (',', 3, 1),
            Locale::EnIn => (',', 2, 1),
            Locale::DeDe | Locale::NlNl | Locale::PtBr => ('.', 3, 1),
            Locale::DeCh => ('’', 3, 1),
            Locale::EsEs | Locale::ItIt => ('.', 3, 2),
            Locale::FrFr => (NARROW_NO_BREAK, 3, 1),
            Locale::PlPl => (NO_BREAK, 3, 2),
            Locale::SvSe => (NO_BREAK, 3, 1),
        };
        Grouping { mark, size, first_min }
    }

    const fn decimal_mark(self) -> char {
        match self {
            Locale::DeDe
            | Locale::EsEs
            | Locale::FrFr
            | Locale::ItIt
            | Locale::NlNl
            | Locale::PlPl
            | Locale::PtBr
            | Locale::SvSe => ',',
            _ => '.',
        }
    }

    const fn minus(self) -> &'static str {
        match self {
            Locale::SvSe => "−",
            _ => "-",
        }
    }

    /// A currency by its sign, where that is known everywhere, else by its code. Where people have dollars of their own, those
    /// of the United States say so.
    fn currency(self, code: &str) -> &str {
        match (code, self) {
            ("USD", Locale::EnAu | Locale::EnCa | Locale::EnNz) => "US$",
            ("USD", _) => "$",
            ("EUR", _) => "€",
            ("GBP", _) => "£",
            _ => code,
        }
    }

    const fn place(self) -> Place {
        match self {
            Locale::DeCh | Locale::NlNl | Locale::PtBr => Place::BeforeWithBlank,
            Locale::DeDe | Locale::EsEs | Locale::FrFr | Locale::ItIt | Locale::PlPl | Locale::SvSe => Place::After,
            _ => Place::Before,
        }
    }

    const fn order(self) -> Order {
        match self {
            Locale::EnUs | Locale::EnCa => Order::Month,
            Locale::DeDe | Locale::DeCh => Order::DayDot,
            _ => Order::Day,
        }
    }

    /// What the halves of a day are called; none where a day has 24 hours.
    const fn halves(self) -> Option<[&'static str; 2]> {
        match self {
            Locale::EnUs => Some(["AM", "PM"]),
            Locale::EnAu | Locale::EnIn | Locale::EnNz => Some(["am", "pm"]),
            Locale::EnCa => Some(["a.m.", "p.m."]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn locale() -> impl Strategy<Value = Locale> {
        proptest::sample::select(Locale::ALL)
    }

    /// The number that a text is, whatever stands between its digits.
    fn read(text: &str) -> Option<i128> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let number: i128 = digits.parse().ok()?;
        Some(if text.starts_with(['-', '−']) { -number } else { number })
    }

    proptest! {
        #[test]
        fn a_number_is_the_number(locale in locale(), number in any::<i64>()) {
            let text = locale.number(number);
            prop_assert_eq!(read(&text), Some(i128::from(number)));
            prop_assert_eq!(read(&locale.signed(number)), Some(i128::from(number)));
            prop_assert_eq!(locale.signed(number).starts_with('+'), number > 0);
            let Grouping { mark, size, first_min } = locale.grouping();
            let groups: Vec<usize> = text.trim_start_matches(['-', '−']).split(mark).map(|group| group.chars().count()).collect();
            match &groups[..] {
                [only] => prop_assert!(*only < 3 + first_min, "{}", text),
                [first, middle @ .., last] => {
                    prop_assert!((1..=size).contains(first) && *last == 3 && middle.iter().all(|group| *group == size), "{}", text);
                }
                [] => prop_assert!(false, "nothing"),
            }
        }

        #[test]
        fn money_is_the_money(
            locale in locale(), minor in any::<i64>(), currency in proptest::sample::select(vec!["USD", "EUR", "GBP", "CHF", "JPY", "KWD"]),
        ) {
            let money = Money { minor, currency: currency.to_owned() };
            let text = locale.money(&money);
            let unit = 10_i64.pow(money.decimals());
            let amount: String = text.chars().filter(|c| c.is_ascii_digit()).collect();
            let whole = minor % unit == 0;
            let expected = if whole { (minor / unit).unsigned_abs() } else { minor.unsigned_abs() };
            prop_assert_eq!(amount.parse::<u64>().ok(), Some(expected));
            prop_assert_eq!(text.starts_with(['-', '−']), minor < 0);
            prop_assert!(text.contains(locale.currency(currency)));
            // A mark that parts decimals is not one that parts groups.
            prop_assert_ne!(locale.decimal_mark(), locale.grouping().mark);
            if !whole {
                let decimals = text.rsplit(locale.decimal_mark()).next().unwrap_or_default();
                let digits = u32::try_from(decimals.chars().filter(char::is_ascii_digit).count()).ok();
                prop_assert_eq!(digits, Some(money.decimals()));
            }
        }

        #[test]
        fn a_date_is_the_date(locale in locale(), day in 0_i32..80_000) {
            let day = NaiveDate::from_epoch_days(day).expect("a day");
            let plain = |text: String| text.replace(['.', ','], "").replace(NO_BREAK, " ");
            let forms = match locale.order() {
                Order::Month => ["%B %d %Y", "%b %d %Y"],
                Order::Day | Order::DayDot => ["%d %B %Y", "%d %b %Y"],
            };
            let year = day.format("%Y");
            for (text, form) in [
                (locale.date(day), forms[0]),
                (format!("{} {year}", locale.day(day)), forms[0]),
                (format!("{} {year}", locale.short_day(day)), forms[1]),
            ] {
                prop_assert_eq!(NaiveDate::parse_from_str(&plain(text), form), Ok(day));
            }
        }

        #[test]
        fn a_time_is_the_time(locale in locale(), minute in 0_u32..24 * 60) {
            let time = NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("a time");
            let text = locale.time(time).replace('.', "").replace(NO_BREAK, " ").to_uppercase();
            let form = if locale.halves().is_some() { "%I:%M %p" } else { "%H:%M" };
            prop_assert_eq!(NaiveTime::parse_from_str(&text, form), Ok(time));
        }

        #[test]
        fn no_text_is_a_locale_but_its_word(text in ".{0,60}") {
            match text.parse::<Locale>() {
                Ok(locale) => prop_assert_eq!(locale.as_str(), text),
                Err(error) => prop_assert!(error.to_string().contains("en-GB")),
            }
        }
    }

    /// What the CLDR has for them, with English words.
    #[test]
    fn each_locale_writes_as_its_people_do() {
        let day = NaiveDate::from_ymd_opt(2013, 4, 1).expect("a day");
        let time = NaiveTime::from_hms_opt(0, 5, 0).expect("a time");
        let money = |minor, currency: &str| Money { minor, currency: currency.to_owned() };
        let shown = |locale: &Locale| {
            let told = [
                locale.number(-1_234),
                locale.number(1_234_567),
                locale.money(&money(252_550, "EUR")),
                locale.money(&money(2_500, "USD")),
                locale.money(&money(1_990, "CHF")),
                format!("{}, {}", locale.date(day), locale.time(time)),
                locale.short_day(day),
            ];
            format!("{locale}  {}", told.join(" | ")).replace(NO_BREAK, "_").replace(NARROW_NO_BREAK, "~")
        };
        insta::assert_snapshot!(Locale::ALL.iter().map(shown).collect::<Vec<_>>().join("\n"), @"
        de-DE  -1.234 | 1.234.567 | 2.525,50_€ | 25_$ | 19,90_CHF | 1._April 2013, 00:05 | 1._Apr
        de-CH  -1’234 | 1’234’567 | €_2’525.50 | $_25 | CHF_19.90 | 1._April 2013, 00:05 | 1._Apr
        en-GB  -1,234 | 1,234,567 | €2,525.50 | $25 | CHF_19.90 | 1 April 2013, 00:05 | 1 Apr
        en-US  -1,234 | 1,234,567 | €2,525.50 | $25 | CHF_19.90 | April 1, 2013, 12:05_AM | Apr 1
        en-AU  -1,234 | 1,234,567 | €2,525.50 | US$25 | CHF_19.90 | 1 April 2013, 12:05_am | 1 Apr
        en-CA  -1,234 | 1,234,567 | €2,525.50 | US$25 | CHF_19.90 | April 1, 2013, 12:05_a.m. | Apr 1
        en-IE  -1,234 | 1,234,567 | €2,525.50 | $25 | CHF_19.90 | 1 April 2013, 00:05 | 1 Apr
        en-IN  -1,234 | 12,34,567 | €2,525.50 | $25 | CHF_19.90 | 1 April 2013, 12:05_am | 1 Apr
        en-NZ  -1,234 | 1,234,567 | €2,525.50 | US$25 | CHF_19.90 | 1 April 2013, 12:05_am | 1 Apr
        es-ES  -1234 | 1.234.567 | 2525,50_€ | 25_$ | 19,90_CHF | 1 April 2013, 00:05 | 1 Apr
        fr-FR  -1~234 | 1~234~567 | 2~525,50_€ | 25_$ | 19,90_CHF | 1 April 2013, 00:05 | 1 Apr
        it-IT  -1234 | 1.234.567 | 2525,50_€ | 25_$ | 19,90_CHF | 1 April 2013, 00:05 | 1 Apr
        nl-NL  -1.234 | 1.234.567 | €_2.525,50 | $_25 | CHF_19,90 | 1 April 2013, 00:05 | 1 Apr
        pl-PL  -1234 | 1_234_567 | 2525,50_€ | 25_$ | 19,90_CHF | 1 April 2013, 00:05 | 1 Apr
        pt-BR  -1.234 | 1.234.567 | €_2.525,50 | $_25 | CHF_19,90 | 1 April 2013, 00:05 | 1 Apr
        sv-SE  −1_234 | 1_234_567 | 2_525,50_€ | 25_$ | 19,90_CHF | 1 April 2013, 00:05 | 1 Apr
        ");
    }

    #[test]
    fn what_is_no_locale_is_told_with_the_one_that_was_meant() {
        let meant = |text: &str| text.parse::<Locale>().map_err(|error| error.nearest);
        assert_eq!(meant("en-US"), Ok(Locale::EnUs));
        for (text, suggestion) in [
            ("en_US.UTF-8", Some(Locale::EnUs)),
            ("EN-us", Some(Locale::EnUs)),
            ("de", Some(Locale::DeDe)),
            ("en", Some(Locale::EnGb)),
            ("fr-BE", Some(Locale::FrFr)),
            ("it_CH", Some(Locale::ItIt)),
            ("rm-CH", Some(Locale::DeCh)),
            ("us", Some(Locale::EnUs)),
            ("klingon", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(meant(text), Err(suggestion), "{text:?}");
        }
        let said = "de".parse::<Locale>().map_err(|error| error.to_string());
        insta::assert_snapshot!(said.expect_err("no locale"), @r#"there is no locale "de"; did you mean de-DE? Known are de-DE, de-CH, en-GB, en-US, en-AU, en-CA, en-IE, en-IN, en-NZ, es-ES, fr-FR, it-IT, nl-NL, pl-PL, pt-BR, sv-SE"#);
    }
}
