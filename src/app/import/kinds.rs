//! The three kinds of file: what a row means and how it is recorded.

use super::reader::Fields;
use super::{Applied, Import, Problem};
use crate::app::{App, AppError};
use crate::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_date, parse_zone};
use crate::core::counting::counted_do;
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, ActionCode, Email, Key, Reference, UserId, clean_text};
use crate::core::ledger::{Account, Call, Purchase, Receipt, Refusal, Usage};
use crate::core::locale::Locale;
use crate::core::transaction::{ContentHash, Money, Status};
use crate::store::{Admin, NewAccount, Opened};

/// `accounts.csv`: account, name, time_zone, opened_on, admin_email, and locale where accounts have one of their own.
#[derive(Clone, Copy, Debug)]
pub struct AccountImport {
    /// Free credits a month of the accounts.
    pub allowance: Credits,
}

impl Import for AccountImport {
    type Row = NewAccount;
    const COLUMNS: &'static [&'static str] = &["account", "name", "time_zone", "opened_on", "admin_email"];
    const OPTIONAL: &'static [&'static str] = &["locale"];

    fn parse(&self, fields: &Fields<'_>) -> Result<NewAccount, Problem> {
        let id = fields.read("account", AccountId::new)?;
        let name = fields.read("name", |text| clean_text("the name", text))?;
        let zone = fields.read("time_zone", parse_zone)?;
        let opened_on = fields.read("opened_on", parse_date)?;
        let email = match fields.text("admin_email")? {
            "" => None,
            _ => Some(fields.read("admin_email", |text| Email::new(text).and_then(Email::deliverable))?),
        };
        let locale = match fields.text("locale")? {
            "" => None,
            _ => Some(fields.read("locale", str::parse)?),
        };
        let terms = Terms { from: Month::of(opened_on), zone, allowance: self.allowance };
        let account =
            Account { id, name, opened_at: first_instant_of(opened_on, zone), calendar: Calendar::new(terms) };
        let admins = email.map(Admin::with_defaults).into_iter().collect();
        Ok(NewAccount { account, locale, admins })
    }

    fn identity(row: &NewAccount) -> (String, i64) {
        let account = &row.account;
        let opened_at = account.opened_at.micros().to_string();
        let email = row.admins.first().map_or("", |admin| admin.email.as_str());
        let zone = account.calendar.terms()[0].zone.name();
        let locale = row.locale.map_or("", Locale::as_str);
        (account.id.to_string(), ContentHash::of(&[&account.name, zone, &opened_at, email, locale]).0)
    }

    async fn check(&self, app: &App, rows: &[NewAccount]) -> Result<Vec<Option<Problem>>, AppError> {
        let answers = app.store.check_accounts(rows).await?;
        Ok(answers.into_iter().map(|answer| conflict(&answer)).collect())
    }

    async fn apply(&self, app: &App, rows: &[NewAccount]) -> Result<Vec<Applied>, AppError> {
        let answers = app.store.open_accounts(rows, app.now()).await?;
        Ok(answers
            .into_iter()
            .map(|answer| match conflict(&answer) {
                Some(problem) => Applied::Bad(problem),
                None if answer == Opened::Created => Applied::New,
                None => Applied::Already,
            })
            .collect())
    }
}

fn conflict(answer: &Opened) -> Option<Problem> {
    let Opened::Conflict(differences) = answer else { return None };
    let reason = format!("the account is there already and {differences}; `creditd account set` changes accounts");
    Some(Problem { column: Some("account"), reason })
}

/// `purchases.csv`: occurred_at, account, packs, reference.
#[derive(Clone, Debug)]
pub struct PurchaseImport {
    /// Credits of one pack.
    pub pack_credits: Credits,
    /// Price of one pack.
    pub pack_price: Money,
}

impl Import for PurchaseImport {
    type Row = (AccountId, Call);
    const COLUMNS: &'static [&'static str] = &["occurred_at", "account", "packs", "reference"];

    fn parse(&self, fields: &Fields<'_>) -> Result<Self::Row, Problem> {
        let occurred_at = fields.read("occurred_at", Instant::parse)?;
        let account = fields.read("account", AccountId::new)?;
        let packs: i64 = fields.read("packs", whole_number)?;
        let reference = fields.read("reference", Reference::new)?;
        let minor = self.pack_price.minor.checked_mul(packs).ok_or_else(|| Problem {
            column: Some("packs"),
            reason: format!("{} more than can be counted", counted_do(packs, "pack", "cost")),
        })?;
        let purchase = Purchase {
            key: Key::of_purchase(&reference),
            reference,
            occurred_at: Some(occurred_at),
            packs,
            pack_credits: self.pack_credits,
            money: Money { minor, currency: self.pack_price.currency.clone() },
            comment: String::new(),
        };
        Ok((account, Call::Purchase(purchase)))
    }

    /// A payment is of one account (R12).
    fn identity((account, call): &Self::Row) -> (String, i64) {
        let content = call.content().0.to_string();
        (call.key().to_string(), ContentHash::of(&[account.as_str(), &content]).0)
    }

    async fn check(&self, app: &App, rows: &[Self::Row]) -> Result<Vec<Option<Problem>>, AppError> {
        check_calls(app, rows, PURCHASE_WORDS).await
    }

    fn call(row: &Self::Row) -> Option<&(AccountId, Call)> {
        Some(row)
    }

    async fn apply(&self, app: &App, rows: &[Self::Row]) -> Result<Vec<Applied>, AppError> {
        apply_calls(app, rows, PURCHASE_WORDS).await
    }
}

/// `usage.csv`: occurred_at, account, user, action, status, comment, key.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageImport {
    /// Usage of a closed month counts at the start of the first open month instead of being refused (R14).
    pub post_to_open: bool,
}

impl Import for UsageImport {
    type Row = (AccountId, Call);
    const COLUMNS: &'static [&'static str] = &["occurred_at", "account", "user", "action", "status", "comment", "key"];

    fn parse(&self, fields: &Fields<'_>) -> Result<Self::Row, Problem> {
        let occurred_at = fields.read("occurred_at", Instant::parse)?;
        let account = fields.read("account", AccountId::new)?;
        let user = match fields.text("user")? {
            "" => None,
            _ => Some(fields.read("user", UserId::new)?),
        };
        let action = fields.read("action", ActionCode::new)?;
        let status = fields.read("status", |text| {
            Status::from_word(text).ok_or_else(|| format!("must be success or failed, not {text:?}"))
        })?;
        let comment = fields.read("comment", |text| clean_text("the comment", text))?;
        let key = fields.read("key", Key::new)?;
        let UsageImport { post_to_open } = *self;
        let occurred_at = Some(occurred_at);
        Ok((
            account,
            Call::Charge(Usage { key, occurred_at, user, action, quantity: 1, status, comment, post_to_open }),
        ))
    }

    fn identity(row: &Self::Row) -> (String, i64) {
        identity_of(row)
    }

    async fn check(&self, app: &App, rows: &[Self::Row]) -> Result<Vec<Option<Problem>>, AppError> {
        check_calls(app, rows, USAGE_WORDS).await
    }

    fn call(row: &Self::Row) -> Option<&(AccountId, Call)> {
        Some(row)
    }

    async fn apply(&self, app: &App, rows: &[Self::Row]) -> Result<Vec<Applied>, AppError> {
        apply_calls(app, rows, USAGE_WORDS).await
    }
}

fn identity_of((account, call): &(AccountId, Call)) -> (String, i64) {
    (format!("{account} {}", call.key()), call.content().0)
}

/// What a kind of file calls things.
#[derive(Clone, Copy)]
struct Words {
    /// The column that says how much.
    amount: &'static str,
    /// What can be done, beside what the refusal says, about a row of a closed month.
    if_closed: &'static str,
}

const PURCHASE_WORDS: Words = Words { amount: "packs", if_closed: "" };
const USAGE_WORDS: Words =
    Words { amount: "action", if_closed: ", or count it in the first open month with --post-to-open" };

/// What speaks against each of `calls`.
async fn check_calls(app: &App, calls: &[(AccountId, Call)], words: Words) -> Result<Vec<Option<Problem>>, AppError> {
    let problem = |answer: Result<(), AppError>| answer.err().map(|error| problem_of(&error, words));
    Ok(app.check(calls).await?.into_iter().map(problem).collect())
}

async fn apply_calls(app: &App, calls: &[(AccountId, Call)], words: Words) -> Result<Vec<Applied>, AppError> {
    let applied = |answer: Result<Receipt, AppError>| match answer {
        Ok(Receipt { replayed: true, .. }) => Applied::Already,
        Ok(Receipt { row, .. }) if row.reason.is_some() => Applied::Refused,
        Ok(_) => Applied::New,
        Err(error) => Applied::Bad(problem_of(&error, words)),
    };
    Ok(app.apply(calls).await?.into_iter().map(applied).collect())
}

/// A whole number in digits, perhaps with a minus: no sign, space or fraction that a spreadsheet might have added.
fn whole_number(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| format!("must be a whole number, not {text:?}"))
}

fn problem_of(error: &AppError, words: Words) -> Problem {
    let column = match error {
        AppError::UnknownAccount(_) | AppError::Refused(Refusal::AccountClosed { .. }) => Some("account"),
        AppError::Refused(Refusal::InFuture { .. } | Refusal::NotOpened { .. } | Refusal::MonthClosed { .. }) => {
            Some("occurred_at")
        }
        AppError::Refused(Refusal::Quantity { .. } | Refusal::Overflow { .. }) => Some(words.amount),
        AppError::Refused(Refusal::NoPrice(_)) => Some("action"),
        AppError::Refused(Refusal::ReservedKey { .. }) => Some("key"),
        AppError::Refused(Refusal::PaymentUsed { .. }) => Some("reference"),
        _ => None,
    };
    let advice = match error {
        AppError::Refused(Refusal::MonthClosed { .. }) => words.if_closed,
        _ => "",
    };
    Problem { column, reason: format!("{error}{advice}") }
}
