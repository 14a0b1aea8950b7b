//! Beancount's format, as of version 2.3; version 3 reads it, too.

use super::entry::{Entry, percent};
use super::{CREDIT, Check};
use crate::core::calendar::{Instant, YEAR_MIN, next_day};
use crate::core::ids::AccountId;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::io::{self, Write};

pub(super) fn head(out: &mut impl Write, at: Instant) -> io::Result<()> {
    write!(
        out,
        "; The ledger of creditd as a double-entry journal, at {at}.
;
;   bean-check FILE
;
; proves that it adds up: every transaction balances, and so does every account at every balance that is asserted. These
; come from another source than the transactions: what the statement of a month says remained, and at the end the balance
; that creditd keeps beside them.
;
; Credits are counted as those see it who have them. What an account can use is in Assets:Credits:ACCOUNT:Free and
; :Purchased, what open holds have reserved in Assets:Credits:ACCOUNT:Held. The other side is the column of statements:
; credits come from Income:Allocated, Income:Purchased and Income:Bonus, less Income:Returned; they go to
; Expenses:Consumed, less Expenses:Refunded, to Expenses:Lapsed and to Expenses:Adjusted. Statements count what is held
; as consumed.
;
; Names are capitalised, for Beancount has no others. So that each stays one of its own, _ is written --u, . is --d, a
; hyphen before anything but a letter or digit is --h, a capital at the beginning is followed by --c, and a name that
; begins with none of these gets X--x in front.
;
; Purchases are in money, too: Assets:Payments is what was paid, Income:Sales what was sold. A return moves credits only;
; what was paid back is not in creditd's ledger.
;
; Every row of the ledger is here once, account by account, on the local day of the account on which it counts: a lapse
; on the last day of its month, credits given back by a hold on the day of the hold. A row that moves nothing (an action
; that was refused, failed or free of charge, new terms, a closing) is a remark. What is marked ! has happened, and no job
; has written it down yet. In texts, % and what would break them is written %XX.

option \"title\" \"The ledger of creditd\"
{YEAR_MIN}-01-01 commodity {CREDIT}
"
    )
}

/// Opens currencies, shared places, and what belongs to the account, which begins here. Accounts come one by one, so what
/// they share is opened on the first day there is.
pub(super) fn declare(
    out: &mut impl Write,
    currencies: &BTreeMap<String, u32>,
    places: &BTreeMap<String, bool>,
    (account, opened_on): (&AccountId, NaiveDate),
    own: &[String],
) -> io::Result<()> {
    writeln!(out)?;
    for currency in currencies.keys() {
        writeln!(out, "{YEAR_MIN}-01-01 commodity {currency}")?;
    }
    for (place, in_credits) in places {
        let only = if *in_credits { format!(" {CREDIT}") } else { String::new() };
        writeln!(out, "{YEAR_MIN}-01-01 open {}{only}", legal(place))?;
    }
    for place in own {
        writeln!(out, "{opened_on} open {} {CREDIT}\n  account: {}", legal(place), quoted(account.as_str()))?;
    }
    Ok(())
}

pub(super) fn entry(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let Entry { date, account, seq, is_written, what, tags, postings } = entry;
    if postings.is_empty() {
        let tags = entry.tag_line(|value| percent(value, &[]));
        return writeln!(out, "\n; {date} ({account}/{seq}) {} [{tags}]", percent(what, &[]));
    }
    let mark = if *is_written { '*' } else { '!' };
    writeln!(out, "\n{date} {mark} {} {}", quoted(account.as_str()), quoted(what))?;
    for (name, value) in tags {
        writeln!(out, "  {name}: {}", quoted(value))?;
    }
    for posting in postings {
        let (number, of) = posting.amount();
        writeln!(out, "  {:<48}  {number:>10} {of}", legal(&posting.place))?;
    }
    Ok(())
}

/// Beancount asserts what was there when a day began.
pub(super) fn check(out: &mut impl Write, check: &Check<'_>) -> io::Result<()> {
    let Check { day, why, balances, .. } = check;
    writeln!(out, "\n; {why}")?;
    for (place, credits) in balances {
        writeln!(out, "{} balance {:<46}  {credits:>10} {CREDIT}", next_day(*day), legal(place))?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", percent(text, &[]).replace('\\', "\\\\").replace('"', "\\\""))
}

/// The name of a place: `Assets:Credits:Acme--u1:Free` for `assets:credits:acme_1:free`.
fn legal(place: &str) -> String {
    let parts: Vec<String> = place.split(':').map(legal_part).collect();
    parts.join(":")
}

/// A part of a name begins with a capital or a digit, and goes on with letters, digits and hyphens.
///
/// Two hyphens always begin an escape: a hyphen that stays one is followed by a letter or digit. So what was written can
/// be read back, and no two names become the same.
fn legal_part(name: &str) -> String {
    let mut chars = name.chars().peekable();
    let mut text = String::with_capacity(name.len() + 4);
    match chars.next_if(char::is_ascii_alphanumeric) {
        Some(first) => {
            text.push(first.to_ascii_uppercase());
            text.push_str(if first.is_ascii_uppercase() { "--c" } else { "" });
        }
        None => text.push_str("X--x"),
    }
    while let Some(c) = chars.next() {
        match c {
            '_' => text.push_str("--u"),
            '.' => text.push_str("--d"),
            '-' if !chars.peek().is_some_and(char::is_ascii_alphanumeric) => text.push_str("--h"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The name that `legal_part` made `text` of.
    fn original(text: &str) -> String {
        let (first, rest) = text.split_at(1);
        let (mut name, mut rest) = match (first, rest.get(..3)) {
            ("X", Some("--x")) => (String::new(), &rest[3..]),
            (first, Some("--c")) => (first.to_owned(), &rest[3..]),
            (first, _) => (first.to_ascii_lowercase(), rest),
        };
        while let Some(c) = rest.chars().next() {
            let (is, length) = match rest.get(..3) {
                Some("--u") => ('_', 3),
                Some("--d") => ('.', 3),
                Some("--h") => ('-', 3),
                _ => (c, 1),
            };
            name.push(is);
            rest = &rest[length..];
        }
        name
    }

    #[test]
    fn names_are_legal_and_easy_to_read() {
        let shown = ["acme", "text-to-image", "acme_1.x", "9e-atl", "Acme", "_x", "a-", "X--x"].map(legal_part);
        insta::assert_snapshot!(shown.join(" "),
            @"Acme Text-to-image Acme--u1--dx 9e-atl A--ccme X--x--ux A--h X--c--h-x");
        assert_eq!(legal("assets:credits:acme_1:held:free"), "Assets:Credits:Acme--u1:Held:Free");
    }

    proptest! {
        #[test]
        fn no_two_names_become_one(name in "[-_.a-cA-CuxdhXUDH0-2]{1,12}") {
            let text = legal_part(&name);
            prop_assert!(text.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), "{text}");
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{text}");
            prop_assert_eq!(original(&text), name);
        }
    }

    #[test]
    fn a_text_ends_where_it_ends() {
        assert_eq!(quoted("a \"b\" \\"), r#""a \"b\" \\""#);
        assert_eq!(quoted("a\n  Assets:X  1 CREDIT"), "\"a%0A  Assets:X  1 CREDIT\"");
    }
}
