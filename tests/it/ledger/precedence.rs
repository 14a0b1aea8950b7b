//! Which cause is told where several hold: the first in the order of [`Cause`], whatever is asked for.
//!
//! For each operation a table names what can be wrong with it, in the order in which `creditd help refusals` lists the
//! causes. Every pair of them is made true at once, in the call or in the account.

use crate::support::{account, default_prices, instant, purchase, usage};
use creditd::core::calendar::Instant;
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{ActionCode, Key, UserId};
use creditd::core::ledger::{
    Adjust, Bonus, Call, Cap, Capture, Cause, Closing, Closure, Hold, Ledger, MonthClosing, Refund, Return, Usage, Void,
};
use creditd::core::price::{Action, PriceMatrix, PriceVersion};

const NOW: &str = "2013-03-10T12:00:00Z";
const RETIRED: &str = "retired";

/// An account, a call on it, and what is wrong with the two.
struct Trial {
    ledger: Ledger,
    key: Key,
    told_at: Option<Instant>,
    wrong: [Cause; 2],
}

impl Trial {
    fn is(&self, cause: Cause) -> bool {
        self.wrong.contains(&cause)
    }

    fn count(&self) -> i64 {
        i64::from(!self.is(Cause::Quantity))
    }

    fn comment(&self) -> String {
        if self.is(Cause::NoReason) { String::new() } else { "why".to_owned() }
    }

    fn action(&self) -> ActionCode {
        let code = match () {
            () if self.is(Cause::UnknownAction) => "teleport",
            () if self.is(Cause::RetiredAction) => RETIRED,
            () => "erase",
        };
        ActionCode::new(code).expect("a code")
    }

    /// More than there is where that shall be wrong, but no more than one may ask for.
    fn many(&self) -> i64 {
        if self.is(Cause::InsufficientCredits) || self.is(Cause::UserCap) { 900_000 } else { 1 }
    }

    fn quantity(&self) -> i64 {
        self.many() * self.count()
    }

    /// The key of the hold that is in the state that shall be wrong.
    fn hold(&self) -> Key {
        key(match () {
            () if self.is(Cause::UnknownHold) => "nothing",
            () if self.is(Cause::HoldCaptured) => "captured",
            () if self.is(Cause::HoldVoided) => "voided",
            () if self.is(Cause::HoldExpired) => "expired",
            () => "held",
        })
    }
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn prices() -> PriceMatrix {
    let retired = Action {
        code: ActionCode::new(RETIRED).expect("a code"),
        title: String::new(),
        help: String::new(),
        versions: vec![PriceVersion { effective_from: Instant::from_micros(0), credits: None }],
    };
    default_prices().iter().cloned().chain([retired]).collect()
}

/// An account in which a few things have happened, and then what shall be wrong.
fn trial(wrong: [Cause; 2]) -> Trial {
    let mut ledger = Ledger::new(account("acme", "UTC", "2013-01-01"));
    let ann = UserId::new("ann").expect("a user");
    let earlier = "2013-03-10T10:00:00Z";
    let mut ask = |at: &str, call: Call| drop(ledger.apply(&call, &prices(), instant(at)).expect("in order"));
    let hold = |name: &str, ttl_seconds| {
        let (action, comment) = (ActionCode::new("erase").expect("a code"), String::new());
        Call::Hold(Hold { key: key(name), user: None, action, quantity: 1, ttl_seconds, comment })
    };
    ask(earlier, Call::Purchase(purchase(1, "inv-1")));
    ask(earlier, Call::Charge(usage("erase", "used")));
    ask(earlier, Call::Cap(Cap { key: key("cap"), user: ann, credits: Some(Credits::new(100)) }));
    for name in ["held", "captured", "voided"] {
        ask(earlier, hold(name, 86_400));
    }
    ask(earlier, hold("expired", 60));
    let (hold, credits) = (key("captured"), None);
    ask(earlier, Call::Capture(Capture { key: key("capture"), hold, credits, comment: String::new() }));
    ask(earlier, Call::Void(Void { key: key("void"), hold: key("voided"), comment: String::new() }));
    if wrong.contains(&Cause::NothingToReturn) {
        let (key, purchase) = (key("return"), purchase(1, "inv-1").key);
        ask(earlier, Call::Return(Return { key, purchase, comment: "why".to_owned() }));
    }

    let now = instant(NOW);
    if wrong.contains(&Cause::AccountClosed) {
        ledger.closures.push(Closure { closed_at: instant(earlier), reopened_at: None });
    }
    if wrong.contains(&Cause::MonthClosed) {
        ledger.closed_through = Some(ledger.account.calendar.month_of(now));
    }
    let mut told_at = None;
    if wrong.contains(&Cause::NotOpened) {
        ledger.account.opened_at = now.plus_days(10);
    }
    if wrong.contains(&Cause::InFuture) {
        told_at = Some(now.plus_micros(1));
    }
    let key = match wrong {
        _ if wrong.contains(&Cause::ReservedKey) && wrong.contains(&Cause::Conflict) => purchase(1, "inv-1").key,
        _ if wrong.contains(&Cause::ReservedKey) => purchase(1, "inv-9").key,
        _ if wrong.contains(&Cause::Conflict) => key("cap"),
        _ => key("new"),
    };
    Trial { ledger, key, told_at, wrong }
}

type Make = fn(&Trial) -> Call;

/// What is asked for, and what can be wrong with it. What cannot be true together with another cause of the table, as a hold
/// that is captured and voided, stands behind a `|` with it.
const OPERATIONS: &[(&str, Make, &str)] = &[
    (
        "charge",
        |trial| {
            let user = trial.is(Cause::UserCap).then(|| UserId::new("ann").expect("a user"));
            let occurred_at = trial.told_at;
            let (quantity, action) = (trial.quantity(), trial.action());
            Call::Charge(Usage { key: trial.key.clone(), occurred_at, quantity, action, user, ..usage("erase", "x") })
        },
        "reserved_key idempotency_conflict in_future not_opened bad_quantity unknown_action|retired_action account_closed \
         month_closed user_cap insufficient_credits",
    ),
    (
        "hold",
        |trial| {
            let user = trial.is(Cause::UserCap).then(|| UserId::new("ann").expect("a user"));
            let (key, comment) = (trial.key.clone(), String::new());
            Call::Hold(Hold { key, user, action: trial.action(), quantity: trial.quantity(), ttl_seconds: 60, comment })
        },
        "reserved_key idempotency_conflict not_opened bad_quantity unknown_action|retired_action account_closed \
         month_closed user_cap insufficient_credits",
    ),
    (
        "capture",
        |trial| {
            let credits = trial.is(Cause::ExceedsHold).then(|| Credits::new(8));
            Call::Capture(Capture { key: trial.key.clone(), hold: trial.hold(), credits, comment: String::new() })
        },
        "reserved_key idempotency_conflict not_opened unknown_hold|hold_captured|hold_voided|hold_expired exceeds_hold",
    ),
    (
        "void",
        |trial| Call::Void(Void { key: trial.key.clone(), hold: trial.hold(), comment: String::new() }),
        "reserved_key idempotency_conflict not_opened unknown_hold|hold_captured|hold_voided|hold_expired",
    ),
    (
        "refund",
        |trial| {
            let charge = key(if trial.is(Cause::UnknownCharge) { "nothing" } else { "used" });
            let credits = match () {
                () if trial.is(Cause::Quantity) => 0,
                () if trial.is(Cause::ExceedsRefundable) => 8,
                () => 7,
            };
            let credits = Some(Credits::new(credits));
            Call::Refund(Refund { key: trial.key.clone(), charge, credits, comment: String::new() })
        },
        "reserved_key idempotency_conflict not_opened bad_quantity unknown_charge exceeds_refundable month_closed",
    ),
    (
        "return",
        |trial| {
            Call::Return(Return { key: trial.key.clone(), purchase: purchase(1, "inv-1").key, comment: String::new() })
        },
        "reserved_key idempotency_conflict not_opened nothing_to_return month_closed",
    ),
    (
        "bonus",
        |trial| {
            let expires_at = trial.is(Cause::ExpiresInPast).then(|| instant("2013-01-01T00:00:00Z"));
            let (key, credits, comment) = (trial.key.clone(), Credits::new(trial.count()), trial.comment());
            Call::Bonus(Bonus { key, credit_type: CreditType::Free, credits, expires_at, comment })
        },
        "reserved_key idempotency_conflict not_opened bad_quantity no_reason expires_in_past month_closed",
    ),
    (
        "adjust",
        |trial| {
            let (key, credits, comment) = (trial.key.clone(), Credits::new(trial.quantity()), trial.comment());
            Call::Adjust(Adjust { key, credit_type: CreditType::Free, credits, comment })
        },
        "reserved_key idempotency_conflict not_opened bad_quantity no_reason month_closed insufficient_credits",
    ),
    (
        "cap",
        |trial| {
            let user = UserId::new(if trial.is(Cause::NoCap) { "bob" } else { "ann" }).expect("a user");
            Call::Cap(Cap { key: trial.key.clone(), user, credits: None })
        },
        "reserved_key idempotency_conflict not_opened no_cap",
    ),
    (
        "close an account",
        |trial| Call::Closing(Closing { key: trial.key.clone(), reopen: false, comment: trial.comment() }),
        "reserved_key idempotency_conflict not_opened no_reason account_closed month_closed",
    ),
    (
        "reopen an account",
        |trial| Call::Closing(Closing { key: trial.key.clone(), reopen: true, comment: trial.comment() }),
        // An account that shall be reopened is open where nothing else is said.
        "reserved_key idempotency_conflict not_opened no_reason account_open",
    ),
    (
        "close a month",
        |trial| {
            let month =
                if trial.is(Cause::MonthClosed) || trial.is(Cause::MonthNotOver) { "2013-03" } else { "2013-02" };
            month_call(trial, month, false)
        },
        "reserved_key idempotency_conflict not_opened month_closed|month_not_over",
    ),
    (
        "reopen a month",
        |trial| month_call(trial, "2013-03", true),
        "reserved_key idempotency_conflict not_opened no_reason month_open",
    ),
];

fn month_call(trial: &Trial, month: &str, reopen: bool) -> Call {
    let (key, month, comment) = (trial.key.clone(), month.parse().expect("a month"), trial.comment());
    Call::Month(MonthClosing { key, month, reopen, comment })
}

/// The causes of a table, each with its place in it: those that cannot both hold have the same.
fn causes(table: &str) -> Vec<(usize, Cause)> {
    let word = |word| Cause::from_word(word).unwrap_or_else(|| panic!("no cause is called {word}"));
    let places = table.split_whitespace().enumerate();
    places.flat_map(|(place, words)| words.split('|').map(move |cause| (place, word(cause)))).collect()
}

#[test]
fn of_two_causes_the_first_one_is_told() {
    for (operation, make, table) in OPERATIONS {
        let causes = causes(table);
        assert!(causes.is_sorted_by_key(|(_, cause)| *cause), "{operation}: in the order of `creditd help refusals`");
        for (at, (place, first)) in causes.iter().enumerate() {
            let second = causes[at..].iter().filter(|(other, cause)| other != place || cause == first);
            for (_, second) in second {
                let mut trial = trial([*first, *second]);
                let call = make(&trial);
                let told = match trial.ledger.apply(&call, &prices(), instant(NOW)) {
                    Err(refusal) => refusal.code(),
                    Ok(receipt) => receipt.row.reason.map_or("nothing", |reason| reason.as_str()),
                };
                assert_eq!(told, first.as_str(), "{operation}: {first} and {second}");
            }
        }
    }
}
