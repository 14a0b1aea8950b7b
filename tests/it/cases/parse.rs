//! Reads a scenario: what tests/cases/README.md describes, with an error for everything else.

use chrono::{LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use creditd::core::calendar::{Instant, Month, parse_date, parse_zone};
use creditd::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use creditd::core::ledger::Usage;
use creditd::core::statement::LineType;
use creditd::core::transaction::Status;

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
    Terms { account: AccountId, from: Month, zone: Option<Tz>, allowance: Option<i64> },
    Call { at: Instant, call: Call, expected: String },
    Statement { account: AccountId, month: Month, credit_type: LineType, expected: String },
    Ledger { account: AccountId, expected: Vec<String> },
    Grants { account: AccountId, expected: Vec<String> },
}

/// What is asked of creditd.
#[derive(Debug)]
pub enum Call {
    Charge { account: AccountId, usage: Usage },
    Purchase { account: AccountId, packs: i64, reference: Reference, occurred_at: Option<Instant> },
    Balance { account: AccountId },
    Reset,
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

/// One space between words, none around: what is compared.
pub fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
                let from = words.local_time()?;
                words.done(Says::Price { action, credits, from })
            }
            "terms" => {
                let account = self.account(&mut words)?;
                words.literal("from")?;
                let from: Month = words.next("a month")?.trim_end_matches(':').parse().map_err(shown)?;
                let zone = if words.take("zone") {
                    Some(parse_zone(&words.next("a time zone")?).map_err(shown)?)
                } else {
                    None
                };
                let allowance = words.number_after("allowance")?;
                words.done(Says::Terms { account, from, zone, allowance })
            }
            "statement" => {
                let account = self.account(&mut words)?;
                let month = words.next("a month")?.parse().map_err(shown)?;
                let credit_type = words.next("free, purchased or total")?;
                let credit_type = LineType::from_word(&credit_type)
                    .ok_or_else(|| format!("must be free, purchased or total, not {credit_type:?}"))?;
                words.literal("->")?;
                Ok(Says::Statement { account, month, credit_type, expected: words.rest() })
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
                let at = words.local_time()?;
                let zone = words.zone.ok_or("the zone is missing")?;
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
                "{other:?} begins no line; they begin with account, price, terms, statement, ledger, grants or a time \
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

    fn call(&self, words: &mut Words, zone: Tz) -> Parsed<Call> {
        let verb = words.next("charge, purchase, balance or reset")?;
        match verb.as_str() {
            "charge" => {
                let account = self.account(words)?;
                let action = ActionCode::new(&words.next("the action")?).map_err(shown)?;
                let mut usage = Usage {
                    key: Key::new("none").map_err(shown)?,
                    occurred_at: None,
                    user: None,
                    action,
                    quantity: 1,
                    status: Status::Success,
                    comment: String::new(),
                    post_to_open: false,
                };
                let mut has_key = false;
                while let Some(option) = words.next_option() {
                    match option.split_once('=') {
                        Some(("key", key)) => {
                            usage.key = Key::new(key).map_err(shown)?;
                            has_key = true;
                        }
                        Some(("user", user)) => usage.user = Some(UserId::new(user).map_err(shown)?),
                        Some(("at", time)) => usage.occurred_at = Some(local_time(time, zone)?),
                        Some(("comment", comment)) => usage.comment = comment.to_owned(),
                        None if option == "failed" => usage.status = Status::Failed,
                        None if option.starts_with('x') => usage.quantity = whole(&option[1..])?,
                        _ => {
                            return Err(format!(
                                "a charge has no {option:?}; it has xN, key=, user=, at=, comment= and failed"
                            ));
                        }
                    }
                }
                if has_key { Ok(Call::Charge { account, usage }) } else { Err("a charge needs key=".into()) }
            }
            "purchase" => {
                let account = self.account(words)?;
                let packs = whole(&words.next("the number of packs")?)?;
                match words.next("packs")?.as_str() {
                    "pack" | "packs" => {}
                    other => {
                        return Err(format!("packs are bought, not {other:?}: write `purchase 2 packs ref=inv-1`"));
                    }
                }
                let (mut reference, mut occurred_at) = (None, None);
                while let Some(option) = words.next_option() {
                    match option.split_once('=') {
                        Some(("ref", text)) => reference = Some(Reference::new(text).map_err(shown)?),
                        Some(("at", time)) => occurred_at = Some(local_time(time, zone)?),
                        _ => return Err(format!("a purchase has no {option:?}; it has ref= and at=")),
                    }
                }
                let reference = reference.ok_or("a purchase needs ref=")?;
                Ok(Call::Purchase { account, packs, reference, occurred_at })
            }
            "balance" => Ok(Call::Balance { account: self.account(words)? }),
            "reset" => Ok(Call::Reset),
            other => Err(format!("{other:?} is no call; there are charge, purchase, balance and reset")),
        }
    }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn whole(text: &str) -> Parsed<i64> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
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
fn local_time(text: &str, zone: Tz) -> Parsed<Instant> {
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
struct Words {
    words: std::collections::VecDeque<String>,
    zone: Option<Tz>,
}

impl Words {
    fn new(text: &str) -> Parsed<Words> {
        let (mut words, mut word, mut quoted) = (std::collections::VecDeque::new(), String::new(), false);
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
        Ok(Words { words, zone: None })
    }

    fn next(&mut self, what: &str) -> Parsed<String> {
        self.words.pop_front().ok_or_else(|| format!("{what} is missing"))
    }

    fn peek(&self) -> Option<&str> {
        self.words.front().map(String::as_str)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.words.pop_front();
        }
        is_next
    }

    fn literal(&mut self, word: &str) -> Parsed<()> {
        match self.take(word) {
            true => Ok(()),
            false => Err(format!("expected `{word}`, found {:?}", self.peek().unwrap_or("the end of the line"))),
        }
    }

    fn number_after(&mut self, word: &str) -> Parsed<Option<i64>> {
        if self.take(word) { Ok(Some(whole(&self.next(word)?)?)) } else { Ok(None) }
    }

    /// The next word before `->`.
    fn next_option(&mut self) -> Option<String> {
        self.words.pop_front_if(|word| word != "->")
    }

    /// `2013-01-31T23:59:59 New_York`, perhaps with a colon at the end.
    fn local_time(&mut self) -> Parsed<Instant> {
        let time = self.next("a time")?;
        let zone = zone_named(self.next("the zone of the time")?.trim_end_matches(':'))?;
        self.zone = Some(zone);
        local_time(&time, zone)
    }

    fn rest(&mut self) -> String {
        self.words.drain(..).collect::<Vec<_>>().join(" ")
    }

    fn done<T>(self, value: T) -> Parsed<T> {
        match self.peek() {
            None => Ok(value),
            Some(more) => Err(format!("nothing is expected at {more:?}")),
        }
    }
}
