//! To operators: the whole platform's month.

use super::equation::Equation;
use super::words::{moment, month_title, price, shorten};
use super::{NoticeError, TITLE_CHARS_MAX, Templates};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::locale::Locale;
use crate::core::outbox::{Attachment, Mailbox, Message, NoticeKey};
use crate::core::statement::{Counts, Facts, Figures, Sales};
use crate::core::transaction::Money;
use chrono_tz::Tz;
use serde::Serialize;

/// The facts of the month of all accounts together, each by its own local month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformMonth {
    /// The month.
    pub month: Month,
    /// How operators write numbers and dates.
    pub locale: Locale,
    /// When the ledger said so.
    pub as_of: Instant,
    /// Free credits.
    pub free: Figures,
    /// Purchased ones.
    pub purchased: Figures,
    /// How actions ended.
    pub counts: Counts,
    /// Money and accounts.
    pub facts: Facts,
    /// What was consumed in the month before.
    pub consumed_before: Credits,
    /// The actions that took most, the first one most: title, how often it was done, and its credits.
    pub top_actions: Vec<(String, u64, Credits)>,
    /// How many kinds of action there are beside these.
    pub more_actions: u64,
}

/// What the templates see; described in `templates/mail/platform-monthly.txt`.
#[derive(Serialize)]
struct View {
    locale: Locale,
    month: String,
    month_before: String,
    month_word: String,
    as_of: String,
    accounts: u64,
    active: u64,
    short: u64,
    consumed: Used,
    more_than_before: i128,
    lapsed_free: Credits,
    lapsed_purchased: Credits,
    sales: Vec<SalesView>,
    revenue: String,
    outstanding: Credits,
    outstanding_worth: String,
    given: Credits,
    #[serde(flatten)]
    equation: Equation,
    succeeded: u64,
    failed: u64,
    refused: u64,
    actions: Vec<ActionView>,
    more_actions: u64,
}

/// Credits of both types.
#[derive(Serialize)]
struct Used {
    free: Credits,
    purchased: Credits,
    total: i128,
}

#[derive(Serialize)]
struct SalesView {
    packs: u64,
    purchases: u64,
    revenue: String,
    returned: Credits,
    returned_worth: String,
}

#[derive(Serialize)]
struct ActionView {
    title: String,
    count: u64,
    credits: Credits,
}

impl Templates {
    /// Words the platform's month for one operator, with `attachments`.
    ///
    /// # Errors
    /// [`NoticeError::DoesNotAddUp`] when the figures contradict themselves, others when a template fails on them.
    pub fn platform_month(
        &self,
        facts: &PlatformMonth,
        to: &Mailbox,
        created_at: Instant,
        attachments: Vec<Attachment>,
    ) -> Result<Message, NoticeError> {
        let key = NoticeKey::platform_monthly(facts.month, to.address.clone());
        let message = self.message("platform-monthly", &view(facts)?, key, &to.name, created_at)?;
        Ok(Message { attachments, ..message })
    }
}

fn view(facts: &PlatformMonth) -> Result<View, NoticeError> {
    let PlatformMonth { month, facts: Facts { accounts, active, short, sales, outstanding, given }, .. } = facts;
    let (free, purchased) = (facts.free.consumed, facts.purchased.consumed);
    let consumed = Used { free, purchased, total: i128::from(free.get()) + i128::from(purchased.get()) };
    // Money of several currencies is never added up.
    let worths = |of: fn(&Sales) -> i64| {
        let each = sales.iter().filter(|(_, sales)| of(sales) != 0);
        let each: Vec<String> = each.map(|(currency, sales)| money(currency, of(sales), facts.locale)).collect();
        each.join(" + ")
    };
    let sold = sales.iter().filter(|(_, sales)| sales.purchases > 0 || !sales.returned.is_zero());
    Ok(View {
        locale: facts.locale,
        month: month_title(*month),
        month_before: month_title(month.previous()),
        month_word: month.to_string(),
        as_of: moment(facts.as_of, Tz::UTC, facts.locale),
        accounts: *accounts,
        active: *active,
        short: *short,
        more_than_before: consumed.total - i128::from(facts.consumed_before.get()),
        consumed,
        lapsed_free: facts.free.lapsed,
        lapsed_purchased: facts.purchased.lapsed,
        sales: sold
            .map(|(currency, sales)| SalesView {
                packs: sales.packs,
                purchases: sales.purchases,
                revenue: money(currency, sales.revenue_minor, facts.locale),
                returned: sales.returned,
                returned_worth: money(currency, sales.returned_minor, facts.locale),
            })
            .collect(),
        revenue: worths(|sales| sales.revenue_minor),
        outstanding: *outstanding,
        outstanding_worth: worths(|sales| sales.outstanding_minor),
        given: *given,
        equation: Equation::of(&facts.free, &facts.purchased)?,
        succeeded: facts.counts.succeeded,
        failed: facts.counts.failed,
        refused: facts.counts.refused,
        actions: facts
            .top_actions
            .iter()
            .map(|(title, count, credits)| ActionView {
                title: shorten(title, TITLE_CHARS_MAX),
                count: *count,
                credits: *credits,
            })
            .collect(),
        more_actions: facts.more_actions,
    })
}

fn money(currency: &str, minor: i64, locale: Locale) -> String {
    price(&Money { minor, currency: currency.to_owned() }, locale)
}

/// A month to look at.
#[must_use]
pub fn sample_platform_month() -> PlatformMonth {
    let sales = Sales {
        purchases: 2,
        packs: 3,
        credits: Credits::new(7_500),
        revenue_minor: 7_500,
        returned: Credits::new(1_000),
        returned_minor: 1_000,
        outstanding: Credits::new(9_000),
        outstanding_minor: 9_000,
    };
    PlatformMonth {
        month: Month::new(2013, 3).unwrap_or_else(|_| unreachable!("a valid month")),
        locale: Locale::default(),
        as_of: Instant::from_micros(1_364_817_600_000_000), // 2013-04-01T12:00:00Z
        free: Figures {
            allocated: Credits::new(75_000),
            consumed: Credits::new(41_265),
            refunded: Credits::new(15),
            lapsed: Credits::new(33_750),
            ..Figures::default()
        },
        purchased: Figures {
            carried_in: Credits::new(5_400),
            purchased: Credits::new(7_500),
            consumed: Credits::new(2_400),
            returned: Credits::new(1_000),
            remaining: Credits::new(9_500),
            ..Figures::default()
        },
        counts: Counts { succeeded: 9_120, failed: 14, refused: 63 },
        facts: Facts {
            accounts: 50,
            active: 41,
            short: 3,
            sales: [("USD".to_owned(), sales)].into(),
            outstanding: Credits::new(9_500),
            given: Credits::new(500),
        },
        consumed_before: Credits::new(40_112),
        top_actions: vec![
            ("Summarise document".to_owned(), 3_096, Credits::new(24_768)),
            ("Draft reply".to_owned(), 3_088, Credits::new(9_264)),
            ("Analyse image".to_owned(), 517, Credits::new(6_204)),
        ],
        more_actions: 2,
    }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> Vec<PlatformMonth> {
    let month = sample_platform_month();
    let sales = &month.facts.sales["USD"];
    let both = [("USD".to_owned(), *sales), ("EUR".to_owned(), Sales { returned: Credits::ZERO, ..*sales })].into();
    vec![
        PlatformMonth { facts: Facts { sales: both, ..month.facts.clone() }, ..month.clone() },
        PlatformMonth {
            free: Figures::default(),
            purchased: Figures::default(),
            counts: Counts::default(),
            facts: Facts::default(),
            top_actions: Vec::new(),
            more_actions: 0,
            ..month.clone()
        },
        PlatformMonth { consumed_before: Credits::new(43_665), ..month.clone() },
        month,
    ]
}
