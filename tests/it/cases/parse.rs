//! Reads a scenario: what tests/cases/README.md describes, with an error for everything else.

mod calls;
mod words;

pub use calls::Call;
pub use words::spaced;

use chrono::NaiveDate;
use chrono_tz::Tz;
use creditd::core::calendar::{Instant, Month, parse_date, parse_zone};
use creditd::core::ids::{AccountId, ActionCode};
use creditd::core::statement::LineType;
use words::{Words, whole};

/// A line with its number, from 1.
#[derive(Debug)]
pub struct Line {
    pub number: usize,
    pub says: Says,
}

/// What a line says.
#[derive(Debug)]
pub enum Says {
    Account { id: AccountId, zone: Tz, opened_on: NaiveDate, allowance: Option<i64> },
    Price { action: ActionCode, credits: Option<i64>, from: Instant },
    Call { at: Instant, call: Call, expected: String },
    Statement { account: AccountId, month: Month, credit_type: LineType, as_of: Option<Instant>, expected: String },
    Ledger { account: AccountId, expected: Vec<String> },
    Grants { account: AccountId, expected: Vec<String> },
}

type Parsed<T> = Result<T, String>;

/// Reads a whole file.
///
/// # Errors
/// `file:line: what is wrong`.
pub fn parse(file: &str, text: &str) -> Result<Vec<Line>, String> {
    let mut reader = Reader { accounts: Vec::new() };
    let mut lines: Vec<Line> = Vec::new();
    for (number, raw) in (1..).zip(text.lines()) {
        let fail = |what: String| format!("{file}:{number}: {what}");
        let text = raw.split(" #").next().unwrap_or_default();
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        if text.starts_with([' ', '\t']) {
            let Some(Line { says: Says::Ledger { expected, .. } | Says::Grants { expected, .. }, .. }) =
                lines.last_mut()
            else {
                return Err(fail("an indented line belongs below `ledger:` or `grants:`".into()));
            };
            expected.push(spaced(text));
            continue;
        }
        lines.push(Line { number, says: reader.line(text).map_err(fail)? });
    }
    if reader.accounts.is_empty() {
        return Err(format!(
            "{file}:1: there is no account; begin with `account acme in America/New_York from 2013-01-01`"
        ));
    }
    Ok(lines)
}

struct Reader {
    accounts: Vec<AccountId>,
}

impl Reader {
    fn line(&mut self, text: &str) -> Parsed<Says> {
        let mut words = Words::new(text)?;
        match words.next("a line")?.as_str() {
            "account" => {
                let id = AccountId::new(&words.next("the account's id")?).map_err(shown)?;
                words.literal("in")?;
                let zone = parse_zone(&words.next("its time zone")?).map_err(shown)?;
                words.literal("from")?;
                let opened_on = parse_date(&words.next("the date it opens")?).map_err(shown)?;
                let allowance = words.number_after("allowance")?;
                self.accounts.push(id.clone());
                words.done(Says::Account { id, zone, opened_on, allowance })
            }
            "price" => {
                let action = ActionCode::new(&words.next("the action")?).map_err(shown)?;
                let credits = match words.next("credits or `retired`")?.as_str() {
                    "retired" => None,
                    number => Some(whole(number)?),
                };
                words.literal("from")?;
                let (from, _) = words.local_time()?;
                words.done(Says::Price { action, credits, from })
            }
            "statement" => {
                let account = self.account(&mut words)?;
                let month = words.next("a month")?.parse().map_err(shown)?;
                let credit_type = words.next("free, purchased or total")?;
                let credit_type = LineType::from_word(&credit_type)
                    .ok_or_else(|| format!("must be free, purchased or total, not {credit_type:?}"))?;
                let as_of = if words.as_of()? { Some(words.local_time()?.0) } else { None };
                words.literal("->")?;
                Ok(Says::Statement { account, month, credit_type, as_of, expected: words.rest() })
            }
            block @ ("ledger:" | "ledger" | "grants:" | "grants") => {
                let is_ledger = block.starts_with("ledger");
                let account = self.account(&mut words)?;
                if !text.trim_end().ends_with(':') {
                    return Err("a block begins with a colon at the end: `ledger:` or `ledger acme:`".into());
                }
                let expected = Vec::new();
                words.done(if is_ledger {
                    Says::Ledger { account, expected }
                } else {
                    Says::Grants { account, expected }
                })
            }
            time if time.starts_with(|c: char| c.is_ascii_digit()) => {
                let mut words = Words::new(text)?;
                let (at, zone) = words.local_time()?;
                let call = self.call(&mut words, zone)?;
                words.literal("->")?;
                let expected = words.rest();
                if expected.is_empty() {
                    Err("nothing is expected: write it behind ->".into())
                } else {
                    Ok(Says::Call { at, call, expected })
                }
            }
            other => Err(format!(
                "{other:?} begins no line; they begin with account, price, statement, ledger, grants or a time \
                 such as 2013-01-31T23:59:59 New_York:"
            )),
        }
    }

    /// The account that a line names, or the only one.
    fn account(&self, words: &mut Words) -> Parsed<AccountId> {
        let named =
            words.peek().and_then(|word| self.accounts.iter().find(|id| id.as_str() == word.trim_end_matches(':')));
        match (named.cloned(), &self.accounts[..]) {
            (Some(id), _) => {
                words.next("the account")?;
                Ok(id)
            }
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err("there is no account yet".into()),
            (None, _) => Err(format!(
                "which account? There are {}",
                self.accounts.iter().map(AccountId::as_str).collect::<Vec<_>>().join(", ")
            )),
        }
    }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}
