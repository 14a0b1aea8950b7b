//! What both report jobs do: word the statement of a period for every admin who wants it, once.
//!
//! The key of a message names account, period and recipient, so a period that is run again writes nothing new. Figures
//! come from the same aggregation as every report.

use super::{Done, JobError, Kit, Run};
use crate::core::calendar::{Calendar, Instant, Month};
use crate::core::counting::counted;
use crate::core::ids::AccountId;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::statement::{Counts, DateRange, Grouping, Line, ReportSpec, Scope};
use crate::notice::{Period, StatementMail, TopAction};
use crate::report::aggregate;
use crate::store::{AccountRecord, ActionUse, Admin};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// The first version of a statement; corrections count up.
const FIRST_VERSION: u32 = 1;

/// The period of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reported {
    Month(Month),
    Day(NaiveDate),
}

impl Reported {
    fn range(self) -> Result<DateRange, JobError> {
        Ok(match self {
            Reported::Month(month) => DateRange::of_month(month)?,
            Reported::Day(day) => DateRange::new(day, crate::core::calendar::next_day(day))?,
        })
    }

    /// The instants `[from, to)` in an account's own calendar.
    fn bounds(self, calendar: &Calendar) -> (Instant, Instant) {
        match self {
            Reported::Month(month) => (calendar.month_start(month), calendar.month_end(month)),
            Reported::Day(day) => (calendar.day_start(day), calendar.day_end(day)),
        }
    }

    fn zone_in(self, calendar: &Calendar) -> Tz {
        let month = match self {
            Reported::Month(month) => month,
            Reported::Day(day) => Month::of(day),
        };
        calendar.terms_in(month).zone
    }

    fn is_wanted_by(self, admin: &Admin) -> bool {
        match self {
            Reported::Month(_) => admin.monthly_report,
            Reported::Day(_) => admin.daily_report,
        }
    }

    fn key(self, account: &AccountId, admin: &Admin) -> NoticeKey {
        let (account, recipient) = (account.clone(), admin.email.clone());
        match self {
            Reported::Month(month) => NoticeKey::monthly_statement(account, month, recipient, FIRST_VERSION),
            Reported::Day(day) => NoticeKey::daily_statement(account, day, recipient, FIRST_VERSION),
        }
    }
}

/// Words the statements of one period for the accounts whose zone it was.
pub(super) async fn run(kit: &Kit, reported: Reported, zone: Tz, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let mut done = Done::default();
    let (mut seen, mut written, mut there) = (0_u64, 0_u64, 0_u64);
    let total = app.store.count_accounts().await?;
    let mut pages = app.store.pages(None, app.settings.jobs.batch_accounts);
    while let Some(ids) = pages.next().await? {
        run.check_stop()?;
        let now = app.now();
        let (wanted, known) = gather(kit, &ids, reported, zone, now).await?;
        there += known;
        let messages = word(kit, &wanted, reported, now).await?;
        for message in &messages {
            done.line(format!("{}: {}", message.key, message.subject));
        }
        written += if run.dry_run { messages.len() as u64 } else { app.store.write_messages(&messages).await? };
        seen += ids.len() as u64;
        (run.progress)(seen, Some(total));
    }
    let would = if run.dry_run { "to write" } else { "written" };
    done.summary = format!("{} {would}, {there} there already", counted(written, "statement"));
    Ok(done)
}

/// The statement that `record`'s account would get for a period, as it reads now; nothing is written.
pub(super) async fn preview(
    kit: &Kit,
    record: AccountRecord,
    reader: Admin,
    reported: Reported,
) -> Result<Option<Message>, JobError> {
    let wanted = Wanted { record, admins: vec![reader] };
    Ok(word(kit, &[wanted], reported, kit.app.now()).await?.pop())
}

/// An account with the admins who are still to get this statement.
struct Wanted {
    record: AccountRecord,
    admins: Vec<Admin>,
}

/// The accounts whose period this was and has ended, with the admins to write to; and how many were written to before.
async fn gather(
    kit: &Kit,
    ids: &[AccountId],
    reported: Reported,
    zone: Tz,
    now: Instant,
) -> Result<(Vec<Wanted>, u64), JobError> {
    let store = &kit.app.store;
    let mut records = store.accounts(ids).await?;
    records.retain(|record| {
        let account = &record.account;
        let (_, to) = reported.bounds(&account.calendar);
        reported.zone_in(&account.calendar) == zone && account.opened_at < to && to <= now
    });
    let keys: Vec<NoticeKey> = records
        .iter()
        .flat_map(|r| r.admins.iter().filter(|a| reported.is_wanted_by(a)).map(|a| reported.key(&r.account.id, a)))
        .collect();
    let known: BTreeSet<NoticeKey> = store.known_messages(&keys).await?.into_iter().collect();
    let wanted = records.into_iter().filter_map(|record| {
        let is_due =
            |admin: &&Admin| reported.is_wanted_by(admin) && !known.contains(&reported.key(&record.account.id, admin));
        let admins: Vec<Admin> = record.admins.iter().filter(is_due).cloned().collect();
        (!admins.is_empty()).then_some(Wanted { record, admins })
    });
    Ok((wanted.collect(), known.len() as u64))
}

async fn word(kit: &Kit, wanted: &[Wanted], reported: Reported, now: Instant) -> Result<Vec<Message>, JobError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let app = &kit.app;
    let ids: Vec<AccountId> = wanted.iter().map(|w| w.record.account.id.clone()).collect();
    let bounds: Vec<(AccountId, Instant, Instant)> = wanted
        .iter()
        .map(|w| {
            let (from, to) = reported.bounds(&w.record.account.calendar);
            (w.record.account.id.clone(), from, to)
        })
        .collect();
    let range = reported.range()?;
    let (accounts, rows) = app.report_rows(Some(&ids), range, None, &mut |_, _| {}).await?;
    let spec = ReportSpec::new("Statement", range, Grouping::Range, Scope::Account, now)?;
    let model = aggregate(&spec, &accounts, &rows)?;
    let uses = app.store.top_actions(&bounds).await?;
    let titles: BTreeMap<String, String> =
        app.store.prices().await?.iter().map(|action| (action.code.to_string(), action.title.clone())).collect();

    let mut messages = Vec::new();
    for (wanted, lines) in wanted.iter().zip(model.lines.triples()) {
        let uses = uses.get(&wanted.record.account.id).map_or(&[][..], Vec::as_slice);
        let facts = facts_of(&wanted.record, &lines, uses, &titles, reported);
        for admin in &wanted.admins {
            let mailbox = Mailbox { name: admin.name.clone(), address: admin.email.clone() };
            messages.push(kit.templates.statement(&facts, &mailbox, now)?);
        }
    }
    Ok(messages)
}

/// `lines` are free, purchased, total of one account.
fn facts_of(
    record: &AccountRecord,
    lines: &[Line],
    uses: &[ActionUse],
    titles: &BTreeMap<String, String>,
    reported: Reported,
) -> StatementMail {
    let account = &record.account;
    let period = match reported {
        Reported::Month(month) => {
            Period::Month { month, next_allowance: account.calendar.terms_in(month.next()).allowance }
        }
        Reported::Day(day) => Period::Day(day),
    };
    let Counts { succeeded, failed, refused } = lines[2].counts.unwrap_or_default();
    let top_action = |action: &ActionUse| TopAction {
        title: titles.get(&action.action).unwrap_or(&action.action).clone(),
        count: action.count,
        credits: action.credits,
    };
    StatementMail {
        account: account.id.clone(),
        account_name: account.name.clone(),
        zone: reported.zone_in(&account.calendar),
        period,
        free: lines[0].figures,
        purchased: lines[1].figures,
        succeeded,
        failed,
        refused,
        top_actions: uses.iter().map(top_action).collect(),
        version: FIRST_VERSION,
    }
}
