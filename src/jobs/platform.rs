//! What `monthly-report` does beside statements: the whole platform's month, to the operators, once.
//!
//! Each account counts by its own local month, so it is over where midnight comes last: in the zone of [`LAST_ZONE`], whose
//! months are slots of the job whether or not anybody lives there. What happened until then is what every account's
//! statement says; what a reset has not written yet counts all the same (R3).

use super::{Done, JobError, Kit};
use crate::app::App;
use crate::core::calendar::{Instant, Month};
use crate::core::locale::Locale;
use crate::core::outbox::{Attachment, Mailbox, Message, NoticeKey};
use crate::core::schedule::{Job, ZoneInUse};
use crate::core::statement::{
    Breakdown, Cell, Column, DateRange, LINES_PER_PERIOD, ReportModel, ReportSpec, Scope, Top,
};
use crate::notice::PlatformMonth;
use crate::report::{Definitions, Format, Overrides, make, render};
use crate::store::StoreError;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// The zone in which every day ends last: twelve hours behind UTC.
pub(super) const LAST_ZONE: Tz = Tz::Etc__GMTPlus12;
/// What is counted.
pub(super) const WRITTEN: &str = "platform_reports";
pub(super) const THERE: &str = "platform_reports_there";
/// The report that the mail is about.
const REPORT: &str = "platform-monthly";
/// What the workbook is.
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The zones whose periods `job` reports, each from when on. Where no account is, months before the window are nobody's loss if operators
/// were named only now.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn zones(app: &App, job: Job, window_from: Instant) -> Result<Vec<ZoneInUse>, StoreError> {
    let since = app.store.meta().created_at;
    let of_accounts = app.store.zones().await?;
    let in_use =
        |zone| ZoneInUse { zone, since: if of_accounts.contains(&zone) { since } else { since.max(window_from) } };
    Ok(with_platform(app, job, &of_accounts).into_iter().map(in_use).collect())
}

/// The zones alone.
///
/// # Errors
/// [`StoreError`].
pub async fn zones_of(app: &App, job: Job) -> Result<Vec<Tz>, StoreError> {
    Ok(with_platform(app, job, &app.store.zones().await?))
}

/// The zones of accounts and, where there are operators to report months to, that of the platform.
fn with_platform(app: &App, job: Job, of_accounts: &[Tz]) -> Vec<Tz> {
    let is_reported = job == Job::MonthlyReport && !app.settings.mail.operators.is_empty();
    let platform = Some(LAST_ZONE).filter(|zone| is_reported && !of_accounts.contains(zone));
    of_accounts.iter().copied().chain(platform).collect()
}

/// The zones whose periods `job` could report, each with the first month that there is anything to tell of: that of its first
/// account, and of the platform that of the first of all.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn first_months(app: &App, job: Job) -> Result<Vec<(Tz, Month)>, StoreError> {
    let mut first = app.store.first_months().await?;
    let of_platform = first.iter().map(|(_, month)| *month).min();
    let zones = zones_of(app, job).await?;
    if job == Job::MonthlyReport && zones.contains(&LAST_ZONE) {
        first.extend(of_platform.map(|month| (LAST_ZONE, month)));
    }
    Ok(first)
}

/// Writes the month to the operators who have not got it, and adds to `done` what it did.
///
/// # Errors
/// [`JobError`].
pub(super) async fn run(kit: &Kit, month: Month, dry_run: bool, done: &mut Done) -> Result<(), JobError> {
    let (operators, now) = (&kit.app.settings.mail.operators, kit.app.now());
    if operators.is_empty() || crate::core::schedule::Slot::Month(month, LAST_ZONE).due_at() > now {
        return Ok(());
    }
    // Whoever asks for years in a backfill may begin before anything.
    if !is_there(&kit.app, month).await? {
        return Ok(());
    }
    let key = |to: &Mailbox| NoticeKey::platform_monthly(month, to.address.clone());
    let keys: Vec<NoticeKey> = operators.iter().map(key).collect();
    let known: BTreeSet<NoticeKey> = kit.app.store.known_messages(&keys).await?.into_iter().collect();
    let wanted: Vec<&Mailbox> = operators.iter().filter(|to| !known.contains(&key(to))).collect();
    let messages = word(kit, month, &wanted).await?;
    for message in &messages {
        done.line(format!("{}: {}", message.key.name(), message.subject));
    }
    let written = if dry_run { messages.len() as u64 } else { kit.app.store.write_messages(&messages).await? };
    done.tally.add(WRITTEN, written.cast_signed());
    done.tally.add(THERE, (known.len() as u64).cast_signed());
    done.summary = super::statements::summary(&done.tally, dry_run);
    Ok(())
}

/// Whether there is anything to say of `month`: it has begun where an account is, and is not before all accounts.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn is_there(app: &App, month: Month) -> Result<bool, StoreError> {
    let (first, now) = (app.store.first_month().await?, app.now());
    let has_begun = |zone: &Tz| month <= Month::of(now.in_zone(*zone).date_naive());
    Ok(first.is_some_and(|first| first <= month) && app.store.zones().await?.iter().any(has_begun))
}

/// Words the month for each of `wanted`, from one reading.
pub(super) async fn word(kit: &Kit, month: Month, wanted: &[&Mailbox]) -> Result<Vec<Message>, JobError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (app, now) = (&kit.app, kit.app.now());
    let spec = spec(month, now)?;
    let model = make(&spec, app.read_report(None, &spec, None, &mut |_, _| {}).await?)?;
    let titles: BTreeMap<String, String> =
        app.store.prices().await?.iter().map(|action| (action.code.to_string(), action.title.clone())).collect();
    let facts = facts_of(&model, month, &titles, app.settings.mail.locale);
    let workbook = Attachment {
        name: format!("platform-{month}.xlsx"),
        content_type: XLSX.to_owned(),
        content_id: None,
        bytes: render(&model, Format::Xlsx, 0)?.into(),
    };
    let word = |to: &&Mailbox| kit.templates.platform_month(&facts, to, now, vec![workbook.clone()]);
    Ok(wanted.iter().map(word).collect::<Result<_, _>>()?)
}

/// The built-in report, compared with the month before: what an operator's file makes of it is for those who ask for it.
fn spec(month: Month, now: Instant) -> Result<ReportSpec, JobError> {
    let range = DateRange::of_month(month)?;
    let overrides = Overrides {
        from: Some(range.from()),
        to: Some(range.to()),
        scope: Some(Scope::Platform),
        compare: true,
        ..Overrides::default()
    };
    Ok(Definitions::load(None)?.get(REPORT)?.resolve(&overrides, now.to_utc().date_naive(), now)?)
}

fn facts_of(model: &ReportModel, month: Month, titles: &BTreeMap<String, String>, locale: Locale) -> PlatformMonth {
    let total = |at: usize| model.totals.get(at).map(|line| line.figures).unwrap_or_default();
    let counts = model.totals.get(LINES_PER_PERIOD - 1).and_then(|line| line.counts).unwrap_or_default();
    let before = model.beside.comparison.as_ref().and_then(|before| before.totals.get(LINES_PER_PERIOD - 1));
    let top = model.beside.tops.iter().find(|top| top.by == Breakdown::Action);
    PlatformMonth {
        month,
        locale,
        as_of: model.spec.as_of(),
        free: total(0),
        purchased: total(1),
        counts,
        facts: model.beside.facts.clone().unwrap_or_default(),
        consumed_before: before.map(|line| line.figures.consumed).unwrap_or_default(),
        top_actions: top.map(|top| top_actions(top, titles)).unwrap_or_default(),
        more_actions: top.map_or(0, |top| top.others),
    }
}

fn top_actions(top: &Top, titles: &BTreeMap<String, String>) -> Vec<(String, u64, crate::core::credits::Credits)> {
    let lines = top.lines.triples().map(|[_, _, line]| {
        let code = match line.cell(Column::Action) {
            Cell::Text(code) => code,
            _ => "",
        };
        let title = titles.get(code).map_or(code, String::as_str).to_owned();
        (title, line.counts.unwrap_or_default().succeeded, line.figures.consumed)
    });
    lines.collect()
}
