//! The statement of a month or a day, as a mail (DESIGN 4).

use super::equation::{Equation, label};
use super::words::{About, endings, moment, month_name, month_title, price, shorten_within};
use super::{NoticeError, TITLE_CHARS_MAX, Templates};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::{CreditType, Credits};
use crate::core::forecast::GrantLeft;
use crate::core::ids::AccountId;
use crate::core::locale::Locale;
use crate::core::outbox::{Attachment, Mailbox, Message, NoticeKey};
use crate::core::statement::{Changed, Column, Counts, Figures, Lapse, LapseCause, Said};
use crate::core::transaction::{Money, Reason};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most actions or users listed, and one line for all others.
const TOPS_SHOWN_MAX: usize = 10;
/// Most ends of bonuses that are named, of each type of credits; what lapsed at others is summed up.
const LAPSES_SHOWN_MAX: usize = 4;
/// By which the HTML finds the chart.
const CHART_ID: &str = "consumption";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The range of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A month.
    Month(Month),
    /// A day of the account's calendar.
    Day(NaiveDate),
}

/// What one action or user took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUse {
    /// The title of the action, or who the user is; untrusted free text. Empty for use that names none.
    pub name: String,
    /// How many actions were done.
    pub count: u64,
    /// What they cost together.
    pub credits: Credits,
}

/// Those that took most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tops {
    /// Most first.
    pub most: Vec<TopUse>,
    /// How many there are beside these, and what they took.
    pub others: Option<(u64, TopUse)>,
}

/// What was bought in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacksBought {
    /// How many packs.
    pub packs: u64,
    /// Credits in them.
    pub credits: Credits,
    /// What they cost.
    pub money: Money,
}

/// A chart, to be shown within the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartPicture {
    /// The picture, shared by the mails of all admins.
    pub png: Arc<[u8]>,
    /// What it says in words; of creditd.
    pub description: String,
    /// Pixels in which it is shown.
    pub width: i64,
    /// Pixels in which it is shown.
    pub height: i64,
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
    /// How its people write numbers and dates. The chart is drawn so, too; the workbook has numbers and no texts of them.
    pub locale: Locale,
    /// The period.
    pub period: Period,
    /// What it says of each type of credits, and how actions ended.
    pub said: Said,
    /// Credits of those consumed that are on hold for actions that are not settled yet (R10).
    pub on_hold: i128,
    /// What of them lapsed, and why: free credits first, each type in the order in which it lapsed.
    pub lapses: Vec<Lapse>,
    /// Actions that were refused, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// What was bought, by currency.
    pub bought: Vec<PacksBought>,
    /// Purchased credits that are left and that nobody paid for: bonuses, which may lapse.
    pub given: Credits,
    /// What of them lapses later, in the order of their ends.
    pub ending: Vec<GrantLeft>,
    /// The actions that took most.
    pub top_actions: Tops,
    /// The users that took most.
    pub top_users: Tops,
    /// What was consumed day by day; none for a day, or where nothing was consumed.
    pub chart: Option<ChartPicture>,
    /// The whole as a workbook, shared by the mails of all admins; none where nothing happened.
    pub workbook: Option<Arc<[u8]>>,
    /// The month that began when the period ended, and the free credits that were allocated to it; none where none began then.
    pub next: Option<(Month, Credits)>,
    /// 1, or more for a later one of the same period.
    pub version: u32,
    /// What the recipient was told before, where this corrects it (R14).
    pub corrects: Option<Said>,
}

/// What the templates see; described in `templates/mail/statement.txt`.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    about: About<'a>,
    monthly: bool,
    title: String,
    during: String,
    quiet: bool,
    consumed: i128,
    on_hold: i128,
    lapses: Vec<LapseView>,
    #[serde(flatten)]
    equation: Equation,
    succeeded: u64,
    failed: u64,
    refused: Vec<RefusedView>,
    bought: Vec<BoughtView>,
    bought_left: i128,
    bonuses: String,
    tops: Vec<TopsView>,
    chart: Option<ChartView<'a>>,
    workbook: Option<String>,
    next: Option<NextView>,
    corrected: bool,
    corrections: Vec<CorrectionView>,
}

/// What lapsed for one cause.
#[derive(Serialize)]
struct LapseView {
    credits: Credits,
    credit_type: CreditType,
    cause: &'static str,
    at: String,
}

#[derive(Serialize)]
struct RefusedView {
    count: u64,
    why: &'static str,
}

#[derive(Serialize)]
struct BoughtView {
    packs: u64,
    credits: Credits,
    price: String,
}

#[derive(Serialize)]
struct TopsView {
    heading: &'static str,
    rows: Vec<TopView>,
}

#[derive(Serialize)]
struct TopView {
    name: String,
    count: u64,
    credits: Credits,
}

#[derive(Serialize)]
struct ChartView<'a> {
    cid: &'static str,
    description: &'a str,
    width: i64,
    height: i64,
}

#[derive(Serialize)]
struct CorrectionView {
    label: String,
    before: i128,
    after: i128,
    why: &'static str,
}

/// What a month began with.
#[derive(Serialize)]
struct NextView {
    month: String,
    free: i128,
    purchased: i128,
    total: i128,
}

impl Templates {
    /// Words the statement for one admin.
    ///
    /// # Errors
    /// [`NoticeError::DoesNotAddUp`] when the figures contradict themselves, others when a template fails on them.
    pub fn statement(&self, facts: &StatementMail, to: &Mailbox, created_at: Instant) -> Result<Message, NoticeError> {
        let (account, recipient) = (facts.account.clone(), to.address.clone());
        let key = match facts.period {
            Period::Month(month) => NoticeKey::monthly_statement(account, month, recipient, facts.version),
            Period::Day(day) => NoticeKey::daily_statement(account, day, recipient, facts.version),
        };
        let mut message = self.message("statement", &view(facts)?, key, &to.name, created_at)?;
        message.attachments.extend(facts.chart.as_ref().map(|chart| Attachment {
            name: format!("{CHART_ID}.png"),
            content_type: "image/png".to_owned(),
            content_id: Some(CHART_ID.to_owned()),
            bytes: Arc::clone(&chart.png),
        }));
        message.attachments.extend(facts.workbook.as_ref().map(|workbook| Attachment {
            name: workbook_name(facts),
            content_type: XLSX.to_owned(),
            content_id: None,
            bytes: Arc::clone(workbook),
        }));
        Ok(message)
    }
}

/// Ids of accounts are safe in a file's name.
fn workbook_name(facts: &StatementMail) -> String {
    let period = match facts.period {
        Period::Month(month) => month.to_string(),
        Period::Day(day) => day.to_string(),
    };
    format!("statement-{}-{period}.xlsx", facts.account)
}

fn view(facts: &StatementMail) -> Result<View<'_>, NoticeError> {
    let Said { free, purchased, counts } = &facts.said;
    let equation = Equation::of(free, purchased)?;
    let left = &equation.left;
    let (monthly, title) = match facts.period {
        Period::Month(month) => (true, month_title(month)),
        Period::Day(day) => (false, facts.locale.date(day)),
    };
    let bought_left = left.purchased - i128::from(facts.given.get());
    let next = facts.next.map(|(month, allocated)| {
        let (free, purchased) = (left.free + i128::from(allocated.get()), left.purchased);
        NextView { month: month_name(month), free, purchased, total: free + purchased }
    });
    Ok(View {
        about: About::of(&facts.account, &facts.account_name, facts.zone, facts.locale),
        monthly,
        during: format!("{} {title}", if monthly { "in" } else { "on" }),
        title,
        quiet: facts.said.is_quiet(),
        consumed: i128::from(free.consumed.get()) + i128::from(purchased.consumed.get()),
        on_hold: facts.on_hold,
        lapses: lapses_view(facts),
        equation,
        succeeded: counts.succeeded,
        failed: counts.failed,
        refused: facts.refused.iter().map(|(reason, count)| RefusedView { count: *count, why: why(*reason) }).collect(),
        bought: facts
            .bought
            .iter()
            .map(|bought| BoughtView {
                packs: bought.packs,
                credits: bought.credits,
                price: price(&bought.money, facts.locale),
            })
            .collect(),
        bought_left,
        bonuses: endings(&facts.ending, facts.zone, facts.locale),
        tops: [("Where they went", "an action", &facts.top_actions), ("Who used them", "a user", &facts.top_users)]
            .into_iter()
            .filter(|(.., tops)| !tops.most.is_empty())
            .map(|(heading, unnamed, tops)| tops_view(heading, unnamed, tops, facts.locale))
            .collect(),
        chart: facts.chart.as_ref().map(|chart| ChartView {
            cid: CHART_ID,
            description: &chart.description,
            width: chart.width,
            height: chart.height,
        }),
        workbook: facts.workbook.as_ref().map(|_| workbook_name(facts)),
        next,
        corrected: facts.corrects.is_some(),
        corrections: facts.corrects.as_ref().map(|before| corrections(before, &facts.said)).unwrap_or_default(),
    })
}

/// What lapsed of each type: each cause, and further ends of bonuses together.
fn lapses_view(facts: &StatementMail) -> Vec<LapseView> {
    let mut views = Vec::new();
    for credit_type in CreditType::ALL {
        let of_type = facts.lapses.iter().filter(|lapse| lapse.credit_type == *credit_type);
        let (bonuses, others): (Vec<&Lapse>, Vec<&Lapse>) =
            of_type.partition(|lapse| matches!(lapse.cause, LapseCause::BonusEnded(_)));
        let view = |lapse: &&Lapse| {
            let (cause, at) = match lapse.cause {
                LapseCause::BonusEnded(at) => ("bonus", moment(at, facts.zone, facts.locale)),
                LapseCause::MonthEnded => ("month", String::new()),
                LapseCause::CameBackLate => ("came-back", String::new()),
            };
            LapseView { credits: lapse.credits, credit_type: *credit_type, cause, at }
        };
        views.extend(bonuses.iter().take(LAPSES_SHOWN_MAX).map(view));
        let more =
            bonuses.iter().skip(LAPSES_SHOWN_MAX).fold(0_i64, |more, lapse| more.saturating_add(lapse.credits.get()));
        if more > 0 {
            let credits = Credits::new(more.min(Credits::LIMIT.get()));
            views.push(LapseView { credits, credit_type: *credit_type, cause: "bonuses", at: String::new() });
        }
        views.extend(others.iter().map(view));
    }
    views
}

/// What is behind "were refused".
const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::InsufficientCredits => "for want of credits",
        Reason::UserCap => "because a user's monthly cap was used up",
    }
}

fn tops_view(heading: &'static str, unnamed: &str, tops: &Tops, locale: Locale) -> TopsView {
    let row = |one: &TopUse| {
        let name = shorten_within(&one.name, TITLE_CHARS_MAX);
        let name = if name.is_empty() { format!("(without {unnamed})") } else { name };
        TopView { name, count: one.count, credits: one.credits }
    };
    let others = tops.others.iter().map(|(others, sum)| TopView {
        name: format!("{} other{}", locale.number(*others), if *others == 1 { "" } else { "s" }),
        count: sum.count,
        credits: sum.credits,
    });
    TopsView { heading, rows: tops.most.iter().take(TOPS_SHOWN_MAX).map(row).chain(others).collect() }
}

/// Each figure that is another now, and why it may be.
fn corrections(before: &Said, now: &Said) -> Vec<CorrectionView> {
    let correction = |changed: Changed| {
        let label = match (changed.column, changed.credit_type) {
            // Of one type alone.
            (Column::Purchased, _) => label(Column::Purchased).to_owned(),
            (Column::Lapsed, Some(credit_type)) => format!("Lapsed, {credit_type}"),
            (column, Some(credit_type)) => format!("{}, {credit_type}", label(column)),
            (column, None) => label(column).to_owned(),
        };
        let more = changed.after > changed.before;
        let why = match changed.column {
            Column::CarriedIn => "an earlier month has changed",
            Column::Consumed if more => "usage told after the statement",
            Column::Consumed => "credits that were held are back",
            Column::Lapsed if more => "given back after their time was over",
            Column::Lapsed => "taken by usage told after the statement",
            Column::Remaining => "follows from the others",
            _ if more => "told after the statement",
            _ => "recorded after the statement",
        };
        CorrectionView { label, before: changed.before, after: changed.after, why }
    };
    now.changes_since(before).into_iter().map(correction).collect()
}

/// A statement to look at, with the smallest of pictures: what the load check renders.
#[must_use]
pub fn sample_statement() -> StatementMail {
    let month = |month| Month::new(2013, month).unwrap_or_else(|_| unreachable!("a valid month"));
    let top = |name: &str, count, credits| TopUse { name: name.to_owned(), count, credits: Credits::new(credits) };
    let free = Figures {
        allocated: Credits::new(1_500),
        consumed: Credits::new(1_265),
        refunded: Credits::new(15),
        lapsed: Credits::new(250),
        ..Figures::default()
    };
    let purchased = Figures {
        carried_in: Credits::new(420),
        purchased: Credits::new(2_500),
        consumed: Credits::new(40),
        remaining: Credits::new(2_880),
        ..Figures::default()
    };
    StatementMail {
        account: AccountId::new("acme").unwrap_or_else(|_| unreachable!("a valid id")),
        account_name: "Acme".to_owned(),
        zone: Tz::America__New_York,
        locale: Locale::default(),
        period: Period::Month(month(3)),
        said: Said { free, purchased, counts: Counts { succeeded: 212, failed: 2, refused: 8 } },
        on_hold: 0,
        lapses: vec![lapse(CreditType::Free, LapseCause::MonthEnded, 250)],
        refused: BTreeMap::from([(Reason::InsufficientCredits, 7), (Reason::UserCap, 1)]),
        bought: vec![PacksBought {
            packs: 1,
            credits: Credits::new(2_500),
            money: Money { minor: 2_500, currency: "USD".to_owned() },
        }],
        given: Credits::ZERO,
        ending: Vec::new(),
        top_actions: Tops {
            most: vec![
                top("Summarise document", 96, 768),
                top("Draft reply", 88, 264),
                top("Analyse image", 17, 204),
                top("Translate page", 11, 69),
            ],
            others: None,
        },
        top_users: Tops {
            most: vec![top("ben", 120, 800), top("", 50, 300), top("zoë@acme.example", 30, 150)],
            others: Some((4, top("", 12, 55))),
        },
        chart: Some(ChartPicture {
            png: SMALLEST_PNG.into(),
            description:
                "Credits consumed per day. March 2013: 1,305 consumed, 1,265 free and 40 purchased. The most was \
                          120 on 5 March 2013."
                    .to_owned(),
            width: 520,
            height: 340,
        }),
        workbook: Some(b"not a workbook".as_slice().into()),
        next: Some((month(4), Credits::new(1_500))),
        version: 1,
        corrects: None,
    }
}

fn lapse(credit_type: CreditType, cause: LapseCause, credits: i64) -> Lapse {
    Lapse { credit_type, cause, credits: Credits::new(credits) }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> Vec<StatementMail> {
    let month = sample_statement();
    let mut told_before = month.said;
    told_before.free.consumed = Credits::new(1_240);
    told_before.free.lapsed = Credits::new(275);
    told_before.counts.succeeded = 209;
    let day = |day| Period::Day(NaiveDate::from_ymd_opt(2013, 3, day).unwrap_or_default());
    // 2013-03-10T12:00:00-04:00, and the days behind it.
    let at = |days| Instant::from_micros(1_362_931_200_000_000).plus_days(days);
    let end = |days| LapseCause::BonusEnded(at(days));
    let mut bonuses: Vec<Lapse> = (0..6).map(|days| lapse(CreditType::Free, end(days), 30)).collect();
    bonuses.extend([
        lapse(CreditType::Free, LapseCause::MonthEnded, 60),
        lapse(CreditType::Free, LapseCause::CameBackLate, 10),
        lapse(CreditType::Purchased, end(3), 1),
    ]);
    let later = GrantLeft { credit_type: CreditType::Purchased, ends_at: Some(at(40)), credits: Credits::new(30) };
    let quiet = StatementMail {
        said: Said::default(),
        lapses: Vec::new(),
        refused: BTreeMap::new(),
        bought: Vec::new(),
        top_actions: Tops::default(),
        top_users: Tops::default(),
        chart: None,
        workbook: None,
        ..month.clone()
    };
    vec![
        StatementMail { version: 2, corrects: Some(told_before), ..month.clone() },
        StatementMail { period: day(31), chart: None, on_hold: 80, ..month.clone() },
        StatementMail { period: day(5), next: None, ..quiet.clone() },
        quiet,
        StatementMail { lapses: bonuses, given: later.credits, ending: vec![later], ..month.clone() },
        month,
    ]
}

/// One white dot.
const SMALLEST_PNG: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 58, 126, 155,
    85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 218, 99, 248, 15, 0, 1, 1, 1, 0, 28, 176, 140, 153, 0, 0, 0, 0, 73, 69, 78,
    68, 174, 66, 96, 130,
];
