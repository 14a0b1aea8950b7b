//! The calls of a scenario: what stands behind a time.

use super::words::{Options, Words, local_time, seconds, whole};
use super::{Parsed, Reader, shown};
use crate::support::purchase;
use chrono_tz::Tz;
use creditd::core::calendar::{Instant, parse_zone};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use creditd::core::ledger::{
    self, Adjust, Bonus, Cap, Capture, Closing, HOLD_TTL_SECONDS, Hold, MonthClosing, NewTerms, Purchase, Refund,
    Return, Usage, Void,
};
use creditd::core::transaction::Status;

/// What is asked of creditd.
#[derive(Debug)]
pub enum Call {
    Ledger { account: AccountId, call: Box<ledger::Call> },
    Balance { account: AccountId, as_of: Option<Instant> },
    Reset,
}

impl Reader {
    pub(super) fn call(&self, words: &mut Words, zone: Tz) -> Parsed<Call> {
        let verb = words.next("a call")?;
        match verb.as_str() {
            "balance" => {
                let account = self.account(words)?;
                let as_of = if words.as_of()? { Some(local_time(&words.next("a time")?, zone)?) } else { None };
                return Ok(Call::Balance { account, as_of });
            }
            "reset" => return Ok(Call::Reset),
            _ => {}
        }
        // `close account acme`, but `close month acme 2013-01`: what is closed comes before whose it is.
        let what = match verb.as_str() {
            "close" | "reopen" => words.next("account or month")?,
            _ => String::new(),
        };
        let account = self.account(words)?;
        let call = match (verb.as_str(), what.as_str()) {
            ("charge", _) => charge(words, zone)?,
            ("hold", _) => hold(words)?,
            ("capture", _) => capture(words)?,
            ("void", _) => void(words)?,
            ("refund", _) => refund(words)?,
            ("purchase", _) => bought(words, zone)?,
            ("return", _) => returned(words)?,
            ("bonus", _) => bonus(words, zone)?,
            ("adjust", _) => adjust(words)?,
            ("terms", _) => terms(words)?,
            ("cap", _) => cap(words)?,
            ("close" | "reopen", "account") => {
                let options = Options::read(words, "the closing of an account", &["key=", "comment="])?;
                let (key, comment) = (options.key()?, options.comment());
                ledger::Call::Closing(Closing { key, reopen: verb == "reopen", comment })
            }
            ("close" | "reopen", "month") => {
                let month = words.next("the month")?.parse().map_err(shown)?;
                let options = Options::read(words, "the closing of a month", &["key=", "comment="])?;
                let (key, comment) = (options.key()?, options.comment());
                ledger::Call::Month(MonthClosing { key, month, reopen: verb == "reopen", comment })
            }
            ("close" | "reopen", _) => return Err(format!("an account or a month is closed, not {what:?}")),
            _ => {
                return Err(format!(
                    "{verb:?} is no call; there are charge, hold, capture, void, refund, purchase, return, bonus, adjust, \
                     terms, cap, close, reopen, balance and reset"
                ));
            }
        };
        Ok(Call::Ledger { account, call: Box::new(call) })
    }
}

fn user(text: &str) -> Parsed<UserId> {
    UserId::new(text).map_err(shown)
}

fn credits(text: &str) -> Parsed<Credits> {
    whole(text).map(Credits::new)
}

fn key(words: &mut Words, what: &str) -> Parsed<Key> {
    Key::new(&words.next(what)?).map_err(shown)
}

fn credits_of_type(words: &mut Words) -> Parsed<(Credits, CreditType)> {
    let credits = credits(&words.next("the number of credits")?)?;
    let word = words.next("free or purchased")?;
    match word.as_str() {
        "free" => Ok((credits, CreditType::Free)),
        "purchased" => Ok((credits, CreditType::Purchased)),
        _ => Err(format!("must be free or purchased, not {word:?}")),
    }
}

fn charge(words: &mut Words, zone: Tz) -> Parsed<ledger::Call> {
    let action = ActionCode::new(&words.next("the action")?).map_err(shown)?;
    let known = ["xN", "key=", "user=", "at=", "comment=", "failed", "post-to-open"];
    let options = Options::read(words, "a charge", &known)?;
    Ok(ledger::Call::Charge(Usage {
        key: options.key()?,
        occurred_at: options.maybe("at=", |time| local_time(time, zone))?,
        user: options.maybe("user=", user)?,
        action,
        quantity: options.count()?,
        status: if options.has("failed") { Status::Failed } else { Status::Success },
        comment: options.comment(),
        post_to_open: options.has("post-to-open"),
    }))
}

fn hold(words: &mut Words) -> Parsed<ledger::Call> {
    let action = ActionCode::new(&words.next("the action")?).map_err(shown)?;
    let options = Options::read(words, "a hold", &["xN", "key=", "user=", "ttl=", "comment="])?;
    Ok(ledger::Call::Hold(Hold {
        key: options.key()?,
        user: options.maybe("user=", user)?,
        action,
        quantity: options.count()?,
        ttl_seconds: options.maybe("ttl=", seconds)?.unwrap_or(HOLD_TTL_SECONDS),
        comment: options.comment(),
    }))
}

fn capture(words: &mut Words) -> Parsed<ledger::Call> {
    let hold = key(words, "the key of the hold")?;
    let options = Options::read(words, "a capture", &["key=", "credits=", "comment="])?;
    let credits = options.maybe("credits=", credits)?;
    Ok(ledger::Call::Capture(Capture { key: options.key()?, hold, credits, comment: options.comment() }))
}

fn void(words: &mut Words) -> Parsed<ledger::Call> {
    let hold = key(words, "the key of the hold")?;
    let options = Options::read(words, "a void", &["key=", "comment="])?;
    Ok(ledger::Call::Void(Void { key: options.key()?, hold, comment: options.comment() }))
}

fn refund(words: &mut Words) -> Parsed<ledger::Call> {
    let charge = key(words, "the key of the charge")?;
    let options = Options::read(words, "a refund", &["key=", "credits=", "comment="])?;
    let credits = options.maybe("credits=", credits)?;
    Ok(ledger::Call::Refund(Refund { key: options.key()?, charge, credits, comment: options.comment() }))
}

fn bought(words: &mut Words, zone: Tz) -> Parsed<ledger::Call> {
    let packs = whole(&words.next("the number of packs")?)?;
    match words.next("packs")?.as_str() {
        "pack" | "packs" => {}
        other => return Err(format!("packs are bought, not {other:?}: write `purchase 2 packs ref=inv-1`")),
    }
    let options = Options::read(words, "a purchase", &["ref=", "at=", "comment="])?;
    let reference = options.must("ref=", |text| Reference::new(text).map_err(shown))?;
    let occurred_at = options.maybe("at=", |time| local_time(time, zone))?;
    let comment = options.comment();
    Ok(ledger::Call::Purchase(Purchase { occurred_at, comment, ..purchase(packs, reference.as_str()) }))
}

fn returned(words: &mut Words) -> Parsed<ledger::Call> {
    let reference = Reference::new(&words.next("the reference of the purchase")?).map_err(shown)?;
    let options = Options::read(words, "a return", &["key=", "comment="])?;
    let purchase = Key::of_purchase(&reference);
    Ok(ledger::Call::Return(Return { key: options.key()?, purchase, comment: options.comment() }))
}

fn bonus(words: &mut Words, zone: Tz) -> Parsed<ledger::Call> {
    let (credits, credit_type) = credits_of_type(words)?;
    let options = Options::read(words, "a bonus", &["key=", "until=", "comment="])?;
    let expires_at = options.maybe("until=", |time| local_time(time, zone))?;
    let (key, comment) = (options.key()?, options.comment());
    Ok(ledger::Call::Bonus(Bonus { key, credit_type, credits, expires_at, comment }))
}

fn adjust(words: &mut Words) -> Parsed<ledger::Call> {
    let (credits, credit_type) = credits_of_type(words)?;
    let options = Options::read(words, "an adjustment", &["key=", "comment="])?;
    Ok(ledger::Call::Adjust(Adjust { key: options.key()?, credit_type, credits, comment: options.comment() }))
}

fn terms(words: &mut Words) -> Parsed<ledger::Call> {
    let options = Options::read(words, "new terms", &["key=", "zone=", "allowance="])?;
    let zone = options.maybe("zone=", |zone| parse_zone(zone).map_err(shown))?;
    let allowance = options.maybe("allowance=", credits)?;
    Ok(ledger::Call::Terms(NewTerms { key: options.key()?, zone, allowance }))
}

fn cap(words: &mut Words) -> Parsed<ledger::Call> {
    let user = user(&words.next("the user")?)?;
    let credits = match words.next("credits or `none`")?.as_str() {
        "none" => None,
        number => Some(credits(number)?),
    };
    let options = Options::read(words, "a cap", &["key="])?;
    Ok(ledger::Call::Cap(Cap { key: options.key()?, user, credits }))
}
