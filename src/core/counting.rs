//! Numbers as people read them: thousands apart, and one thing told from several.

use super::locale::Locale;

/// A number with its thousands apart: `1,234,567`, `-5`.
#[must_use]
pub fn grouped(number: impl Into<i128>) -> String {
    Locale::default().number(number)
}

/// `1 account`, `2,000 accounts`.
#[must_use]
pub fn counted(number: impl Into<i128>, noun: &str) -> String {
    let number = number.into();
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `1 credit is`, `2,000 credits are`.
#[must_use]
pub fn counted_are(number: impl Into<i128>, noun: &str) -> String {
    let number = number.into();
    format!("{} {}", counted(number, noun), if number == 1 { "is" } else { "are" })
}

/// `1 figure differs`, `2,000 figures differ`.
#[must_use]
pub fn counted_do(number: impl Into<i128>, noun: &str, verb: &str) -> String {
    let number = number.into();
    format!("{} {verb}{}", counted(number, noun), if number == 1 { "s" } else { "" })
}

/// `1 is`, `2,000 are`: of things that were named before.
#[must_use]
pub fn are(number: impl Into<i128>) -> String {
    let number = number.into();
    format!("{} {}", grouped(number), if number == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_grouped_number_is_the_number(number in any::<i64>()) {
            let text = grouped(number);
            prop_assert_eq!(text.replace(',', "").parse::<i64>().ok(), Some(number));
            let groups: Vec<&str> = text.trim_start_matches('-').split(',').collect();
            prop_assert!((1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3));
        }
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([counted(1, "row"), counted(0, "row"), counted(2_000, "row")], ["1 row", "0 rows", "2,000 rows"]);
        assert_eq!([counted_are(1, "credit"), counted_are(1_600, "credit")], ["1 credit is", "1,600 credits are"]);
        assert_eq!(
            [counted_do(1, "row", "differ"), counted_do(2, "row", "differ")],
            ["1 row differs", "2 rows differ"]
        );
        assert_eq!([are(1), are(0), are(-2_000)], ["1 is", "0 are", "-2,000 are"]);
    }
}
