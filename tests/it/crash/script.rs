//! What the clients of a process that crashes ask for, and how they tell what they were answered.
//!
//! The calls are fixed by client and step alone, so parent and child know them without telling each other. A client sends
//! all calls of a step at once and goes on to the next step when all of them are answered: what it may have sent without
//! an answer is therefore in one step.

use crate::support::{account_id, purchase, usage};
use creditd::core::calendar::Instant;
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Capture, HOLD_TTL_SECONDS_MAX, Hold, Refund, Usage, Void};
use creditd::core::price::DEFAULT_ACTIONS;
use creditd::core::transaction::{Status, Transaction};
use serde::{Deserialize, Serialize};

/// Accounts and their zones: their months begin at different instants.
pub const ACCOUNTS: &[(&str, &str)] = &[
    ("a0", "UTC"),
    ("a1", "America/New_York"),
    ("a2", "Asia/Kathmandu"),
    ("a3", "Pacific/Apia"),
    ("a4", "Europe/Berlin"),
];
/// Clients, spread over the accounts: with some seven calls each, a full batch of the desk.
pub const CLIENTS: usize = 30;
/// More than any account of the test has: a charge that is refused and logged.
const TOO_MANY: i64 = 1_000_000;

/// The account of a client.
pub fn account_of(client: usize) -> AccountId {
    account_id(ACCOUNTS[client % ACCOUNTS.len()].0)
}

/// The calls of one step. Every third step begins with holds and charges that the next two steps settle and refund.
pub fn calls_of(client: usize, step: u64) -> Vec<Call> {
    let mut rng = fastrand::Rng::with_seed(step * CLIENTS as u64 + client as u64);
    let name = |step: u64, n: usize| format!("c{client}.{step}.{n}");
    let key = |step: u64, n: usize| Key::new(&name(step, n)).expect("a key");
    let user = client.is_multiple_of(3).then(|| UserId::new(&format!("u{client}")).expect("a user"));
    let mut calls = Vec::new();
    let mut charge = |calls: &mut Vec<Call>| {
        let action = DEFAULT_ACTIONS[rng.usize(..DEFAULT_ACTIONS.len())].0;
        let quantity = if rng.u8(..) < 8 { TOO_MANY } else { rng.i64(1..4) };
        let usage = Usage { quantity, user: user.clone(), ..usage(action, &name(step, calls.len())) };
        calls.push(Call::Charge(usage));
    };
    match step % 3 {
        0 => {
            (0..4).for_each(|_| charge(&mut calls));
            let hold = |n| hold(key(step, n), user.clone());
            calls.extend([hold(4), hold(5)]);
            if client.is_multiple_of(4) {
                calls.push(Call::Purchase(purchase(1, &name(step, 6))));
            }
        }
        1 => {
            (0..2).for_each(|_| charge(&mut calls));
            calls.push(hold(key(step, 2), user.clone()));
            calls.push(capture(key(step, 3), key(step - 1, 4), client.is_multiple_of(2).then_some(3)));
            calls.push(void(key(step, 4), key(step - 1, 5)));
            calls.push(refund(key(step, 5), key(step - 1, 0), None));
            calls.push(refund(key(step, 6), key(step - 1, 1), Some(1)));
        }
        _ => {
            (0..3).for_each(|_| charge(&mut calls));
            calls.push(capture(key(step, 3), key(step - 1, 2), None));
            calls.push(refund(key(step, 4), key(step - 1, 3), None));
        }
    }
    calls
}

fn hold(key: Key, user: Option<UserId>) -> Call {
    let action = usage("text-to-image", "any").action;
    Call::Hold(Hold { key, user, action, quantity: 2, ttl_seconds: HOLD_TTL_SECONDS_MAX, comment: String::new() })
}

fn capture(key: Key, hold: Key, credits: Option<i64>) -> Call {
    Call::Capture(Capture { key, hold, credits: credits.map(Credits::new), comment: String::new() })
}

fn void(key: Key, hold: Key) -> Call {
    Call::Void(Void { key, hold, comment: "not done".into() })
}

fn refund(key: Key, charge: Key, credits: Option<i64>) -> Call {
    Call::Refund(Refund { key, charge, credits: credits.map(Credits::new), comment: "not good".into() })
}

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub url: String,
    pub folder: String,
    /// Where its clock begins.
    pub now: Instant,
    pub seed: u64,
    /// Calls that are under way at once, at most.
    pub at_once: usize,
    /// The step that each client goes on with: all of its calls are sent, whether or not they were answered before.
    pub steps: Vec<u64>,
}

/// What a client knows of its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It left this row.
    Row { seq: i64, credits: i64, status: Status },
    /// It was refused and left nothing.
    Refused,
}

impl Said {
    pub fn of(row: &Transaction) -> Said {
        Said::Row { seq: row.seq, credits: row.credits().get(), status: row.status }
    }
}

/// One line of the child's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A call was answered.
    Answer { account: AccountId, key: Key, said: Said, replayed: bool },
    /// The clock was moved on, and a reset begins.
    Resetting(Instant),
    /// The reset until then is done.
    Reset(Instant),
}

impl Line {
    pub fn text(&self) -> String {
        match self {
            Line::Answer { account, key, said: Said::Row { seq, credits, status }, replayed } => {
                format!("row {account} {key} {seq} {credits} {status} {replayed}")
            }
            Line::Answer { account, key, said: Said::Refused, .. } => format!("refused {account} {key}"),
            Line::Resetting(now) => format!("resetting {now}"),
            Line::Reset(now) => format!("reset {now}"),
        }
    }

    /// The line with this text; what the test harness says around them is none.
    pub fn read(text: &str) -> Option<Line> {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["row", account, key, seq, credits, status, replayed] => {
                let said = Said::Row {
                    seq: seq.parse().ok()?,
                    credits: credits.parse().ok()?,
                    status: Status::from_word(status)?,
                };
                let (account, key) = (account.parse().ok()?, key.parse().ok()?);
                Some(Line::Answer { account, key, said, replayed: replayed.parse().ok()? })
            }
            ["refused", account, key] => {
                let (account, key) = (account.parse().ok()?, key.parse().ok()?);
                Some(Line::Answer { account, key, said: Said::Refused, replayed: false })
            }
            ["resetting", now] => Some(Line::Resetting(now.parse().ok()?)),
            ["reset", now] => Some(Line::Reset(now.parse().ok()?)),
            _ => None,
        }
    }
}
