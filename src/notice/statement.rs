//! The statement of a month or a day, as a mail (DESIGN 4).

use super::words::{named, shorten};
use super::{NoticeError, SUBJECT_NAME_CHARS_MAX, TITLE_CHARS_MAX, Templates};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, TEXT_CHARS_MAX};
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::statement::Figures;
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;

/// Most kinds of action listed; the rest are counted.
const ACTIONS_SHOWN_MAX: usize = 10;

/// The range of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A month.
    Month {
        /// Which.
        month: Month,
        /// The free credits that the month after began with.
        next_allowance: Credits,
    },
    /// A day of the account's calendar.
    Day(NaiveDate),
}

/// What one action took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopAction {
    /// Its title; untrusted free text.
    pub title: String,
    /// How many were done.
    pub count: u64,
    /// What they cost together.
    pub credits: Credits,
}

/// The facts of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementMail {
    /// The account.
    pub account: AccountId,
    /// Its name; untrusted free text.
    pub account_name: String,
    /// Its zone in the period.
    pub zone: Tz,
    /// The period.
    pub period: Period,
    /// Free credits.
    pub free: Figures,
    /// Purchased credits.
    pub purchased: Figures,
    /// Actions done.
    pub succeeded: u64,
    /// Actions that failed for other reasons than credits.
    pub failed: u64,
    /// Actions refused.
    pub refused: u64,
    /// Where the credits went, most first.
    pub top_actions: Vec<TopAction>,
    /// 1, or more for a statement that corrects an earlier one (R14).
    pub version: u32,
}

/// What the templates see; described in `templates/mail/statement.txt`.
#[derive(Serialize)]
struct View<'a> {
    account: String,
    account_short: String,
    account_id: &'a AccountId,
    zone: &'a str,
    monthly: bool,
    title: String,
    during: String,
    consumed: i128,
    lapsed_free: Credits,
    carried_in: Row,
    changes: Vec<Row>,
    left: Row,
    succeeded: u64,
    failed: u64,
    refused: u64,
    actions: Vec<ActionView>,
    actions_more: usize,
    next_month: Option<String>,
    next_allowance: Option<Credits>,
    corrected: bool,
}

/// One line of the equation. The total is a sum of two amounts, which `i128` always holds.
#[derive(Serialize)]
struct Row {
    label: &'static str,
    free: i128,
    purchased: i128,
    total: i128,
}

#[derive(Serialize)]
struct ActionView {
    title: String,
    count: u64,
    credits: Credits,
}

impl Templates {
    /// Words the statement for one admin.
    ///
    /// # Errors
    /// [`NoticeError::DoesNotAddUp`] when the figures contradict themselves, others when a template fails on them.
    pub fn statement(&self, facts: &StatementMail, to: &Mailbox, created_at: Instant) -> Result<Message, NoticeError> {
        let (account, recipient) = (facts.account.clone(), to.address.clone());
        let key = match facts.period {
            Period::Month { month, .. } => NoticeKey::monthly_statement(account, month, recipient, facts.version),
            Period::Day(day) => NoticeKey::daily_statement(account, day, recipient, facts.version),
        };
        self.message("statement", &view(facts)?, key, &to.name, created_at)
    }
}

fn view(facts: &StatementMail) -> Result<View<'_>, NoticeError> {
    let [carried_in, changes @ .., left] = rows(&facts.free, &facts.purchased);
    let column = |cell: fn(&Row) -> i128| {
        let sum = cell(&carried_in) + changes.iter().map(cell).sum::<i128>();
        let remaining = cell(&left);
        if sum == remaining { Ok(()) } else { Err(NoticeError::DoesNotAddUp { changes: sum, remaining }) }
    };
    column(|row| row.free)?;
    column(|row| row.purchased)?;

    let (title, during, next_month, next_allowance) = match facts.period {
        Period::Month { month, next_allowance } => {
            let title = month_title(month);
            (title.clone(), format!("in {title}"), Some(month_title(month.next())), Some(next_allowance))
        }
        Period::Day(day) => {
            let title = day.format("%-d %B %Y").to_string();
            (title.clone(), format!("on {title}"), None, None)
        }
    };
    let shown = facts.top_actions.iter().take(ACTIONS_SHOWN_MAX);
    Ok(View {
        account: named(&facts.account_name, &facts.account, TEXT_CHARS_MAX),
        account_short: named(&facts.account_name, &facts.account, SUBJECT_NAME_CHARS_MAX),
        account_id: &facts.account,
        zone: facts.zone.name(),
        monthly: next_month.is_some(),
        title,
        during,
        consumed: i128::from(facts.free.consumed.get()) + i128::from(facts.purchased.consumed.get()),
        lapsed_free: facts.free.lapsed,
        carried_in,
        changes: changes.into_iter().filter(|row| row.free != 0 || row.purchased != 0).collect(),
        left,
        succeeded: facts.succeeded,
        failed: facts.failed,
        refused: facts.refused,
        actions: shown
            .map(|action| ActionView {
                title: shorten(&action.title, TITLE_CHARS_MAX),
                count: action.count,
                credits: action.credits,
            })
            .collect(),
        actions_more: facts.top_actions.len().saturating_sub(ACTIONS_SHOWN_MAX),
        next_month,
        next_allowance,
        corrected: facts.version > 1,
    })
}

fn month_title(month: Month) -> String {
    month.first_day().format("%B %Y").to_string()
}

/// The equation, line by line under the names that reports give their columns, each with the sign it counts with; the last line is what the others add up to.
fn rows(free: &Figures, purchased: &Figures) -> [Row; 10] {
    let row = |label, sign: i128, figure: fn(&Figures) -> Credits| {
        let (free, purchased) = (i128::from(figure(free).get()) * sign, i128::from(figure(purchased).get()) * sign);
        Row { label, free, purchased, total: free + purchased }
    };
    [
        row("Carried in", 1, |f| f.carried_in),
        row("Allocated", 1, |f| f.allocated),
        row("Purchased", 1, |f| f.purchased),
        row("Bonus", 1, |f| f.bonus),
        row("Consumed", -1, |f| f.consumed),
        row("Refunded", 1, |f| f.refunded),
        row("Lapsed, unused", -1, |f| f.lapsed),
        row("Returned", -1, |f| f.returned),
        row("Adjusted", 1, |f| f.adjusted),
        row("Remaining", 1, |f| f.remaining),
    ]
}

/// A statement to look at: what `email preview` shows and the load check renders.
#[must_use]
pub fn sample_statement() -> StatementMail {
    let action =
        |title: &str, count, credits| TopAction { title: title.to_owned(), count, credits: Credits::new(credits) };
    StatementMail {
        account: AccountId::new("acme").unwrap_or_else(|_| unreachable!("a valid id")),
        account_name: "Acme".to_owned(),
        zone: Tz::America__New_York,
        period: Period::Month {
            month: Month::new(2013, 3).unwrap_or_else(|_| unreachable!("a valid month")),
            next_allowance: Credits::new(1_500),
        },
        free: Figures {
            allocated: Credits::new(1_500),
            consumed: Credits::new(1_265),
            refunded: Credits::new(15),
            lapsed: Credits::new(250),
            ..Figures::default()
        },
        purchased: Figures {
            carried_in: Credits::new(420),
            purchased: Credits::new(2_500),
            consumed: Credits::new(40),
            remaining: Credits::new(2_880),
            ..Figures::default()
        },
        succeeded: 212,
        failed: 2,
        refused: 7,
        top_actions: vec![
            action("Summarise document", 96, 768),
            action("Draft reply", 88, 264),
            action("Analyse image", 17, 204),
            action("Translate page", 11, 69),
        ],
        version: 1,
    }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> Vec<StatementMail> {
    let month = sample_statement();
    let actions = month.top_actions.iter().cycle().take(ACTIONS_SHOWN_MAX + 3).cloned().collect();
    let day = NaiveDate::from_ymd_opt(2013, 3, 5).unwrap_or_default();
    let quiet = Figures::default();
    vec![
        StatementMail { top_actions: actions, version: 2, ..month.clone() },
        StatementMail { period: Period::Day(day), ..month.clone() },
        StatementMail {
            period: Period::Day(day),
            free: quiet,
            purchased: quiet,
            succeeded: 0,
            failed: 0,
            refused: 0,
            top_actions: Vec::new(),
            ..month.clone()
        },
        month,
    ]
}
