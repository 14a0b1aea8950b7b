//! What the API answers: the same figures under the same names as `creditd ... -o json` shows.

use crate::app::{Answer, Balance as AppBalance, UserCap};
use crate::core::credits::Split;
use crate::core::forecast::GrantLeft;
use crate::core::ids::AccountId;
use crate::core::price::Action as CoreAction;
use crate::core::transaction::{Transaction as CoreTransaction, touched};
use crate::store::{AccountRecord, AlertRecord};
use serde::Serialize;
use utoipa::ToSchema;

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

/// What every call that changes something is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Called {
    /// Whose credits.
    account: String,
    /// The row of the log; in a dry run, the one that would be written.
    seq: i64,
    /// When it happened.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// The idempotency key.
    key: String,
    /// Whether the call came before: then all but what is available is the first answer.
    replayed: bool,
    /// When it first came, where it came before.
    #[schema(format = DateTime)]
    first_at: Option<String>,
    /// Credits that are available now.
    available: i64,
    /// Of them, free ones.
    available_free: i64,
    /// Of them, purchased ones.
    available_purchased: i64,
    /// When the next month begins, with its free credits if there are any; null while the account is closed.
    #[schema(format = DateTime)]
    next_reset_at: Option<String>,
}

impl Called {
    fn of(account: &AccountId, answer: &Answer) -> Called {
        let Answer { row, replayed, available, next_reset_at, .. } = answer;
        Called {
            account: account.to_string(),
            seq: row.seq,
            occurred_at: row.occurred_at.to_string(),
            key: text(row.key.as_ref()).unwrap_or_default(),
            replayed: *replayed,
            first_at: replayed.then(|| row.recorded_at.to_string()),
            available: available.total().get(),
            available_free: available.free.get(),
            available_purchased: available.purchased.get(),
            next_reset_at: text(next_reset_at.as_ref()),
        }
    }
}

/// What was done, and what it took.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// The action.
    action: Option<String>,
    /// How many.
    quantity: i64,
    /// Who did it.
    user: Option<String>,
    /// `success`; `failed` for an action that failed at the platform or whose hold was voided.
    status: &'static str,
    /// Credits that were taken or reserved.
    credits: i64,
    /// Of them, free ones.
    free: i64,
    /// Of them, purchased ones.
    purchased: i64,
}

impl Done {
    fn of(row: &CoreTransaction) -> Done {
        let Split { free, purchased } = row.parts();
        Done {
            action: text(row.action.as_ref()),
            quantity: row.quantity,
            user: text(row.user.as_ref()),
            status: row.status.as_str(),
            credits: row.credits().get(),
            free: free.get(),
            purchased: purchased.get(),
        }
    }
}

/// The user's monthly cap, where there is one; null where there is none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Capped {
    /// Most credits in a month.
    cap: Option<i64>,
    /// What was used of it in the month of the call.
    cap_used: Option<i64>,
    /// What is left of it.
    cap_left: Option<i64>,
}

impl Capped {
    fn of(cap: Option<&UserCap>) -> Capped {
        Capped {
            cap: cap.map(|cap| cap.limit.get()),
            cap_used: cap.map(|cap| cap.used.get()),
            cap_left: cap.map(|cap| cap.left().get()),
        }
    }
}

/// The answer to a charge.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Charge {
    /// `creditd.charge/1`.
    schema: &'static str,
    /// Whether it was only tried: nothing was written then.
    dry_run: bool,
    #[serde(flatten)]
    called: Called,
    #[serde(flatten)]
    done: Done,
    #[serde(flatten)]
    capped: Capped,
}

impl Charge {
    pub(super) const fn is_replayed(&self) -> bool {
        self.called.replayed
    }

    pub(super) fn of(account: &AccountId, answer: &Answer, dry_run: bool) -> Charge {
        Charge {
            schema: "creditd.charge/1",
            dry_run,
            called: Called::of(account, answer),
            done: Done::of(&answer.row),
            capped: Capped::of(answer.cap.as_ref()),
        }
    }
}

/// The answer to a hold.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Hold {
    /// `creditd.hold/1`.
    schema: &'static str,
    #[serde(flatten)]
    called: Called,
    #[serde(flatten)]
    done: Done,
    #[serde(flatten)]
    capped: Capped,
    /// The first instant at which it is over.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl Hold {
    pub(super) fn of(account: &AccountId, answer: &Answer) -> Hold {
        Hold {
            schema: "creditd.hold/1",
            called: Called::of(account, answer),
            done: Done::of(&answer.row),
            capped: Capped::of(answer.cap.as_ref()),
            expires_at: text(answer.row.expires_at.as_ref()),
        }
    }
}

/// The answer to a capture or a void: the charge that the hold became.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Settled {
    /// `creditd.capture/1` or `creditd.void/1`.
    schema: &'static str,
    /// The key of the hold.
    hold: String,
    #[serde(flatten)]
    called: Called,
    #[serde(flatten)]
    done: Done,
    /// Credits that were held.
    held: Option<i64>,
    /// Of them, those that were given back.
    given_back: Option<i64>,
}

impl Settled {
    pub(super) fn of(schema: &'static str, account: &AccountId, hold: &str, answer: &Answer) -> Settled {
        let held = answer.about.as_ref().map(|hold| hold.credits().get());
        Settled {
            schema,
            hold: hold.to_owned(),
            called: Called::of(account, answer),
            done: Done::of(&answer.row),
            held,
            given_back: held.map(|held| held.saturating_sub(answer.row.credits().get())),
        }
    }
}

/// The answer to a refund.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refund {
    /// `creditd.refund/1`.
    schema: &'static str,
    /// The key of the charge.
    charge: String,
    #[serde(flatten)]
    called: Called,
    /// The action of the charge.
    action: Option<String>,
    /// Who did it.
    user: Option<String>,
    /// Credits that were given back.
    credits: i64,
    /// Of them, free ones.
    free: i64,
    /// Of them, purchased ones.
    purchased: i64,
}

impl Refund {
    pub(super) fn of(account: &AccountId, charge: &str, answer: &Answer) -> Refund {
        let Done { action, user, credits, free, purchased, .. } = Done::of(&answer.row);
        let called = Called::of(account, answer);
        Refund { schema: "creditd.refund/1", charge: charge.to_owned(), called, action, user, credits, free, purchased }
    }
}

/// The answer to a purchase.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purchase {
    /// `creditd.purchase/1`.
    schema: &'static str,
    #[serde(flatten)]
    called: Called,
    /// How many packs.
    packs: i64,
    /// Credits of all of them.
    credits: i64,
    /// What was paid, in minor units of the currency.
    price_minor: Option<i64>,
    /// ISO 4217.
    currency: Option<String>,
    /// The reference of the payment.
    reference: Option<String>,
}

impl Purchase {
    pub(super) fn of(account: &AccountId, answer: &Answer) -> Purchase {
        let row = &answer.row;
        Purchase {
            schema: "creditd.purchase/1",
            called: Called::of(account, answer),
            packs: row.quantity,
            credits: row.credits().get(),
            price_minor: row.money.as_ref().map(|money| money.minor),
            currency: row.money.as_ref().map(|money| money.currency.clone()),
            reference: text(row.reference.as_ref()),
        }
    }
}

/// What an account has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Balance {
    /// `creditd.balance/1`.
    schema: &'static str,
    /// Whose.
    account: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Free credits that are available.
    free: i64,
    /// Purchased credits that are available.
    purchased: i64,
    /// Both.
    available: i64,
    /// Credits that open holds have reserved.
    held: i64,
    /// `open`, `closed` or `not_opened`.
    status: &'static str,
    /// The month of the account.
    month: String,
    /// Free credits of that month.
    allowance: i64,
    /// What is left of those; with what is left of free `bonuses`, all free credits there are.
    allowance_left: i64,
    /// What is left of free bonuses, and of purchased ones that lapse; those that end first before those that never do.
    bonuses: Vec<Bonus>,
    /// Free credits that lapse at the month's end, if they are not used: what is left of the allowance, and bonuses that end with it.
    lapsing: i64,
    /// When it ends.
    #[schema(format = DateTime)]
    month_ends_at: String,
    /// When the next month begins, with its free credits if there are any; null while the account is closed.
    #[schema(format = DateTime)]
    next_reset_at: Option<String>,
    /// How many come then; 0 where none do.
    next_allowance: i64,
    /// The IANA time zone that decides that.
    zone: &'static str,
}

impl Balance {
    pub(super) fn of(balance: &AppBalance) -> Balance {
        Balance {
            schema: "creditd.balance/1",
            account: balance.account.to_string(),
            at: balance.at.to_string(),
            free: balance.available.free.get(),
            purchased: balance.available.purchased.get(),
            available: balance.available.total().get(),
            held: balance.held.total().get(),
            status: balance.status.as_str(),
            month: balance.month.to_string(),
            allowance: balance.allowance.get(),
            allowance_left: balance.allowance_left.get(),
            bonuses: balance.bonuses.iter().map(Bonus::of).collect(),
            lapsing: balance.lapsing.get(),
            month_ends_at: balance.month_ends_at.to_string(),
            next_reset_at: text(balance.next_reset_at.as_ref()),
            next_allowance: balance.next_allowance.get(),
            zone: balance.zone.name(),
        }
    }
}

/// What is left of bonuses of one type that end together.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Bonus {
    /// `free` or `purchased`.
    credit_type: &'static str,
    /// When the rest of it lapses; null never.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// What is left of it.
    credits: i64,
}

impl Bonus {
    pub(in crate::web) fn of(bonus: &GrantLeft) -> Bonus {
        Bonus {
            credit_type: bonus.credit_type.as_str(),
            ends_at: text(bonus.ends_at.as_ref()),
            credits: bonus.credits.get(),
        }
    }
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    /// `creditd.account/1`.
    schema: &'static str,
    /// Its id.
    account: String,
    /// Its name for people.
    name: String,
    /// When it opens or opened.
    #[schema(format = DateTime)]
    opened_at: String,
    /// How its mails write numbers and dates, where it has a locale of its own.
    locale: Option<&'static str>,
    /// What it has now.
    balance: Balance,
}

impl Account {
    pub(super) fn of(record: &AccountRecord, balance: &AppBalance) -> Account {
        Account {
            schema: "creditd.account/1",
            account: record.account.id.to_string(),
            name: record.account.name.clone(),
            opened_at: record.account.opened_at.to_string(),
            locale: record.locale.map(|locale| locale.as_str()),
            balance: Balance::of(balance),
        }
    }
}

/// A row of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transaction {
    /// Its number in the account's ledger: 1, 2, 3, ...
    seq: i64,
    /// The month it counts in is that of this instant.
    #[schema(format = DateTime)]
    occurred_at: String,
    /// When creditd learned of it.
    #[schema(format = DateTime)]
    recorded_at: String,
    /// `charge`, `hold`, `refund`, `purchase`, `allocation`, `expiry`, ...
    kind: &'static str,
    /// Who performed the action.
    user: Option<String>,
    /// The action.
    action: Option<String>,
    /// How many of the action, or packs of a purchase.
    quantity: i64,
    /// Credits of one action, or of one pack.
    unit_price: i64,
    /// What a `charge` took or a `hold` reserved, as a positive number, 0 where it failed; of all else the signed change: what a
    /// `release`, a `refund` or a `purchase` gave is positive, what an `expiry` took is negative.
    credits: i64,
    /// Of them, free ones.
    free: i64,
    /// Of them, purchased ones.
    purchased: i64,
    /// `free`, `purchased`, `mixed` or `none`.
    #[serde(rename = "type")]
    touched: &'static str,
    /// `success` or `failed`.
    status: &'static str,
    /// Why it was refused; null for a failed action that failed at the platform.
    reason: Option<&'static str>,
    /// What the caller said about it.
    comment: String,
    /// The idempotency key; null for what creditd does by itself.
    key: Option<String>,
    /// Free credits after the row.
    balance_free: i64,
    /// Purchased credits after the row.
    balance_purchased: i64,
    /// When the credits or the hold that it made end.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The external payment, or the month that it is about.
    reference: Option<String>,
    /// What was paid, in minor units of the currency.
    price_minor: Option<i64>,
    /// ISO 4217.
    currency: Option<String>,
    /// The row that it is about.
    corrects: Option<i64>,
}

impl Transaction {
    pub(super) fn of(row: &CoreTransaction) -> Transaction {
        let Split { free, purchased } = row.parts();
        Transaction {
            seq: row.seq,
            occurred_at: row.occurred_at.to_string(),
            recorded_at: row.recorded_at.to_string(),
            kind: row.kind.as_str(),
            user: text(row.user.as_ref()),
            action: text(row.action.as_ref()),
            quantity: row.quantity,
            unit_price: row.unit_price.get(),
            credits: row.credits().get(),
            free: free.get(),
            purchased: purchased.get(),
            touched: touched(row.delta).as_str(),
            status: row.status.as_str(),
            reason: row.reason.map(|reason| reason.as_str()),
            comment: row.comment.clone(),
            key: text(row.key.as_ref()),
            balance_free: row.balance.free.get(),
            balance_purchased: row.balance.purchased.get(),
            expires_at: text(row.expires_at.as_ref()),
            reference: text(row.reference.as_ref()),
            price_minor: row.money.as_ref().map(|money| money.minor),
            currency: row.money.as_ref().map(|money| money.currency.clone()),
            corrects: row.corrects,
        }
    }
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Transactions {
    /// `creditd.transactions/1`.
    pub(super) schema: &'static str,
    /// Whose.
    pub(super) account: String,
    /// The newest first.
    pub(super) transactions: Vec<Transaction>,
    /// Give it as `cursor` to get the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

/// An alert: the account was at or below a level.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alert {
    /// `low`, `critical`, `exhausted`, or what the account calls its levels.
    level: String,
    /// Which crossing of the level it is.
    crossing: u32,
    /// The level in credits when it was crossed.
    threshold: i64,
    /// When that was seen.
    #[schema(format = DateTime)]
    opened_at: String,
    /// When it was seen to be over; null while it is open.
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
}

impl Alert {
    pub(super) fn of(alert: &AlertRecord) -> Alert {
        Alert {
            level: alert.crossing.level.to_string(),
            crossing: alert.crossing.crossing,
            threshold: alert.threshold.get(),
            opened_at: alert.opened_at.to_string(),
            resolved_at: text(alert.resolved_at.as_ref()),
        }
    }
}

/// The alerts of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Notifications {
    /// `creditd.alerts/1`.
    pub(super) schema: &'static str,
    /// Whose.
    pub(super) account: String,
    /// Open ones, newest first; with `all`, also those that are over.
    pub(super) alerts: Vec<Alert>,
}

/// The price of an action from an instant on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Price {
    /// First instant at which it counts.
    #[schema(format = DateTime)]
    effective_from: String,
    /// Credits for one; null when the action is retired from then on.
    credits: Option<i64>,
}

/// An action of the action credit matrix.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Action {
    /// Its code in calls.
    action: String,
    /// Its name for people.
    title: String,
    /// What it does.
    help: String,
    /// Credits for one now; null when it has no price now.
    credits: Option<i64>,
    /// All its prices, oldest first.
    prices: Vec<Price>,
}

impl Action {
    pub(super) fn of(action: &CoreAction, now: crate::core::calendar::Instant) -> Action {
        let credits = action.version_at(now).and_then(|version| version.credits);
        let price = |version: &crate::core::price::PriceVersion| Price {
            effective_from: version.effective_from.to_string(),
            credits: version.credits.map(|credits| credits.get()),
        };
        Action {
            action: action.code.to_string(),
            title: action.title.clone(),
            help: action.help.clone(),
            credits: credits.map(|credits| credits.get()),
            prices: action.versions.iter().map(price).collect(),
        }
    }
}

/// The action credit matrix.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Actions {
    /// `creditd.actions/1`.
    pub(super) schema: &'static str,
    /// By code.
    pub(super) actions: Vec<Action>,
}
