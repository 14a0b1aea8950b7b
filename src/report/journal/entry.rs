//! What a row of the ledger is in a journal, before it is put into the words of one program.

use crate::core::credits::{CreditType, Credits};
use crate::core::ids::{AccountId, ActionCode};
use crate::core::transaction::{Kind, Money, Status, Transaction};
use chrono::NaiveDate;
use std::fmt::Write as _;

/// One row.
pub(super) struct Entry<'a> {
    /// The local day on which it counts.
    pub date: NaiveDate,
    /// Whose row it is.
    pub account: &'a AccountId,
    /// Its position in the account's ledger.
    pub seq: i64,
    /// False for what no job has written yet (R3).
    pub is_written: bool,
    /// What happened, with the comment; not escaped.
    pub what: String,
    /// Facts for queries, named as the columns of the log; not escaped, never empty.
    pub tags: Vec<(&'static str, String)>,
    /// What moved; nothing for a remark.
    pub postings: Vec<Posting<'a>>,
}

/// What one place gets, or gives when it is negative.
pub(super) struct Posting<'a> {
    /// `assets:credits:acme:free`: words of creditd, ids of accounts and codes of actions.
    pub place: String,
    /// The credits; 0 where money moves.
    pub credits: Credits,
    /// The money.
    pub money: Option<&'a Money>,
    /// Whether the money goes out.
    pub gives_money: bool,
}

impl Posting<'_> {
    /// The signed number, and of what.
    pub fn amount(&self) -> (String, &str) {
        match self.money {
            None => (self.credits.to_string(), super::CREDIT),
            Some(money) => {
                let sign = if (money.minor < 0) == self.gives_money || money.minor == 0 { "" } else { "-" };
                (format!("{sign}{}", decimal(money)), &money.currency)
            }
        }
    }
}

/// The magnitude in whole units: `25.00`.
fn decimal(money: &Money) -> String {
    let decimals = money.decimals();
    let (unit, magnitude) = (10_u64.pow(decimals), money.minor.unsigned_abs());
    let width = usize::try_from(decimals).unwrap_or(0);
    if width == 0 { magnitude.to_string() } else { format!("{}.{:0width$}", magnitude / unit, magnitude % unit) }
}

/// What the account has of a credit type and no hold has reserved.
pub(super) fn pool(account: &AccountId, credit_type: CreditType) -> String {
    format!("assets:credits:{account}:{}", credit_type.as_str())
}

/// What open holds have reserved of it (R10).
pub(super) fn held(account: &AccountId, credit_type: CreditType) -> String {
    format!("assets:credits:{account}:held:{}", credit_type.as_str())
}

/// Where the credits of a row come from or go to: the column of statements it counts in, by credit type where both
/// occur and by action where there is one. Holds only move them aside.
fn other_side(account: &AccountId, row: &Transaction, credit_type: CreditType) -> String {
    let by_type = |column: &str| format!("{column}:{}", credit_type.as_str());
    let by_action = |column: &str| {
        let action = row.action.as_ref().map_or("none", ActionCode::as_str);
        format!("{column}:{}:{action}", credit_type.as_str())
    };
    match row.kind {
        Kind::Allocation => "income:allocated".to_owned(),
        Kind::Purchase => "income:purchased".to_owned(),
        Kind::Bonus => by_type("income:bonus"),
        Kind::Charge => by_action("expenses:consumed"),
        Kind::Hold | Kind::Release => held(account, credit_type),
        Kind::Refund => by_action("expenses:refunded"),
        Kind::Expiry => by_type("expenses:lapsed"),
        Kind::Return => "income:returned".to_owned(),
        Kind::Adjustment => by_type("expenses:adjusted"),
        // They move nothing. If one ever did, it would be seen here.
        Kind::Terms | Kind::Cap | Kind::Closing | Kind::Reopening | Kind::MonthClose | Kind::MonthReopen => {
            format!("equity:{}", row.kind)
        }
    }
}

/// What a row moves: credits of each type, and the money of a purchase.
pub(super) fn postings<'a>(account: &AccountId, row: &'a Transaction) -> Vec<Posting<'a>> {
    let mut postings = Vec::new();
    for credit_type in super::TYPES {
        let credits = row.delta.get(credit_type);
        if !credits.is_zero() {
            let of = |place, credits| Posting { place, credits, money: None, gives_money: false };
            postings.push(of(pool(account, credit_type), credits));
            postings.push(of(other_side(account, row, credit_type), credits.negated()));
        }
    }
    if let Some(money) = row.money.as_ref().filter(|money| money.minor != 0) {
        let of = |place: &str, gives_money| Posting {
            place: place.to_owned(),
            credits: Credits::ZERO,
            money: Some(money),
            gives_money,
        };
        postings.push(of("assets:payments", false));
        postings.push(of("income:sales", true));
    }
    postings
}

impl<'a> Entry<'a> {
    /// `row` of `account`, which counts on the local day `date`.
    pub fn new(account: &'a AccountId, date: NaiveDate, row: &'a Transaction, is_written: bool) -> Entry<'a> {
        let (tags, postings) = (tags(row, is_written), postings(account, row));
        Entry { date, account, seq: row.seq, is_written, what: what(row), tags, postings }
    }

    /// The tags in one line, each value as `escape` writes it.
    pub fn tag_line(&self, escape: fn(&str) -> String) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(name, value)| format!("{name}:{}", escape(value))).collect();
        tags.join(", ")
    }
}

/// `charge 3 text-to-image: thanks`.
fn what(row: &Transaction) -> String {
    let mut text = row.kind.to_string();
    if row.quantity > 1 || row.kind == Kind::Purchase {
        let _ = write!(text, " {}", row.quantity);
    }
    if let Some(action) = &row.action {
        let _ = write!(text, " {action}");
    } else if row.kind == Kind::Purchase {
        text.push_str(if row.quantity == 1 { " pack" } else { " packs" });
    }
    match (row.status, row.reason) {
        (Status::Success, _) => {}
        (Status::Failed, None) => text.push_str(", failed"),
        (Status::Failed, Some(reason)) => {
            let _ = write!(text, ", refused ({reason})");
        }
    }
    if !row.comment.is_empty() {
        let _ = write!(text, ": {}", row.comment);
    }
    text
}

fn tags(row: &Transaction, is_written: bool) -> Vec<(&'static str, String)> {
    let recorded_at = (is_written && row.recorded_at != row.occurred_at).then_some(row.recorded_at);
    let all = [
        ("seq", Some(row.seq.to_string())),
        ("kind", Some(row.kind.to_string())),
        ("occurred_at", Some(row.occurred_at.to_string())),
        ("recorded_at", recorded_at.map(|at| at.to_string())),
        ("user", row.user.as_ref().map(ToString::to_string)),
        ("action", row.action.as_ref().map(ToString::to_string)),
        ("quantity", (row.quantity != 0).then(|| row.quantity.to_string())),
        ("key", row.key.as_ref().map(ToString::to_string)),
        ("reference", row.reference.as_ref().map(ToString::to_string)),
        ("corrects", row.corrects.map(|seq| seq.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// `text` in one line: `%`, every character of `special`, and what ends a line, is no character to read or turns the
/// direction of reading, is written as `%XX`, byte by byte.
pub(super) fn percent(text: &str, special: &[char]) -> String {
    let mut line = String::with_capacity(text.len());
    let mut bytes = [0; 4];
    for c in text.chars() {
        let is_out_of_place =
            c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c == '%' || is_out_of_place || special.contains(&c) {
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(line, "%{byte:02X}");
            }
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_its_place_is_written_in_bytes() {
        assert_eq!(percent("für 100 %; a|b", &[';']), "für 100 %25%3B a|b");
        assert_eq!(percent("a\nb\r\u{85}\u{2028}\u{202e}c\u{7f}", &[]), "a%0Ab%0D%C2%85%E2%80%A8%E2%80%AEc%7F");
    }

    #[test]
    fn money_has_the_decimals_of_its_currency_and_one_sign() {
        let amounts = |minor, currency: &str| {
            let money = Money { minor, currency: currency.to_owned() };
            let of = |gives_money| {
                let place = String::new();
                let posting = Posting { place, credits: Credits::ZERO, money: Some(&money), gives_money };
                let (number, unit) = posting.amount();
                format!("{number} {unit}")
            };
            [of(false), of(true)].join(" | ")
        };
        assert_eq!(amounts(2_500, "USD"), "25.00 USD | -25.00 USD");
        assert_eq!(amounts(-5, "USD"), "-0.05 USD | 0.05 USD");
        assert_eq!(amounts(2_500, "JPY"), "2500 JPY | -2500 JPY");
        assert_eq!(amounts(1_500, "KWD"), "1.500 KWD | -1.500 KWD");
    }
}
