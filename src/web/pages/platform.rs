//! The platform's page for operators: what needs somebody, jobs, mail, accounts at or below a level, and how much is used.
//!
//! Nothing here takes longer with a million accounts. Figures of the whole platform are kept for some minutes, and left to the
//! monthly report where there are so many accounts that adding them up takes a while.

use super::super::visit::AtPlatform;
use super::ask::{Query, given, misnamed, query_text};
use super::look::{Shell, page};
use super::tables::{EquationRow, When, equation};
use super::{Pages, Shut};
use crate::app::Health;
use crate::config::schedules;
use crate::core::calendar::{Instant, next_day};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, Email, cut_text, printable};
use crate::core::locale::Locale;
use crate::core::run::RunState;
use crate::core::schedule::{Due, Job, Schedule, Slot};
use crate::core::statement::{DateRange, Grouping, ReportSpec, Scope};
use crate::jobs::{has_work, plan_due};
use crate::notice::words::{moment, shorten};
use crate::notice::{Command, commands, commands_for_missed};
use crate::report::chart::Subject;
use crate::report::{days_in, drawing, make};
use crate::store::{AlertRecord, BackfillRecord, FoundAccount, OutboxRecord, Wrong};
use axum::extract::{Query as Asked, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Days;
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

/// For how long what was asked of the ledger holds.
const HOLDS: Duration = Duration::from_secs(10);
/// For how long figures of the whole platform do.
const TOTALS_HOLD: Duration = Duration::from_secs(10 * 60);
/// Platforms of more accounts are added up by the monthly report alone.
const TOTALS_ACCOUNTS_MAX: u64 = 5_000;
/// Days of the trend.
const TREND_DAYS: u64 = 30;
/// Rows in lists on the first page.
const SHORT: usize = 10;
/// Rows of a page of a list.
const LONG: usize = 50;
/// Characters of what a run did, or why it failed.
const OUTCOME_CHARS_MAX: usize = 240;
/// Characters of the name of an account in a list.
const NAME_CHARS_MAX: usize = 60;

/// What was found last, and when. Who asks meanwhile waits for the one who looks.
#[derive(Default)]
pub(super) struct Kept {
    facts: Mutex<Option<(Moment, Arc<Facts>)>>,
    totals: Mutex<Option<(Moment, Arc<Totals>)>>,
}

/// How jobs, mail and alerts stand.
struct Facts {
    health: Health,
    alerted: u64,
    jobs: Vec<JobView>,
    at: Instant,
}

#[derive(Clone, Serialize)]
struct JobView {
    name: &'static str,
    /// `well`, `failing` or `idle`.
    tone: &'static str,
    word: &'static str,
    next: Option<String>,
    last: Option<String>,
    took: Option<String>,
    outcome: Option<String>,
    /// Slots that wait for their run, and those that only a person runs.
    waiting: u64,
    expired: u64,
    /// Since when it fails, while it does.
    failing_since: Option<String>,
    /// What of it needs somebody, in a line each.
    needs: Vec<String>,
}

/// The whole platform.
#[derive(Clone, Serialize)]
struct Totals {
    accounts: String,
    /// None where there are too many accounts.
    sums: Option<Sums>,
    at: String,
}

#[derive(Clone, Serialize)]
struct Sums {
    period: String,
    equation: Vec<EquationRow>,
    chart: Option<String>,
    description: String,
}

#[derive(Serialize)]
struct View<'a> {
    totals: &'a Totals,
    alerts: Vec<LevelCount>,
    alerted: String,
    newest: Vec<AlertView>,
    jobs: Vec<JobView>,
    mail: Mail,
    recent: Vec<MessageView>,
    stuck: Vec<MessageView>,
    verify: JobView,
    unsealed_days: Option<u64>,
    backfills: Vec<BackfillView>,
    /// What needs somebody, in a line each.
    needs: Vec<String>,
}

#[derive(Serialize)]
struct LevelCount {
    level: String,
    count: String,
}

#[derive(Serialize)]
struct AlertView {
    account: AccountRow,
    level: String,
    threshold: String,
    since: When,
}

#[derive(Serialize)]
struct Mail {
    waiting: String,
    failed: String,
    ambiguous: String,
    suppressed: String,
    oldest: Option<String>,
}

#[derive(Serialize)]
struct MessageView {
    subject: String,
    account: String,
    state: &'static str,
    at: When,
    error: Option<String>,
}

#[derive(Serialize)]
struct BackfillView {
    number: i64,
    job: &'static str,
    range: String,
    state: &'static str,
    progress: String,
}

#[derive(Serialize)]
struct Accounts {
    q: String,
    rows: Vec<AccountRow>,
    next: Option<String>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct AccountRow {
    id: String,
    name: String,
    balance: String,
}

#[derive(Serialize)]
struct Alerts {
    rows: Vec<AlertView>,
    next: Option<String>,
}

fn utc(at: Instant, locale: Locale) -> String {
    moment(at, Tz::UTC, locale)
}

impl JobView {
    async fn of(pages: &Pages, schedule: &Schedule, health: &Health, locale: Locale) -> Result<JobView, Shut> {
        let (app, job) = (pages.app(), schedule.job);
        let now = app.now();
        let due = plan_due(app, schedule).await?;
        let stands = health.figures.jobs.get(&job).copied().unwrap_or_default();
        let newest = app.store.newest_run(job).await?;
        let last = newest.as_ref().map(|record| &record.run);
        let is_failing = stands.failed || stands.failing_since.is_some();
        let mut needs = Vec::new();
        let mut failing_since = None;
        if is_failing {
            let incident = app.store.incident(job, Wrong::Fails).await?;
            let failed = newest.as_ref().filter(|record| record.run.state == RunState::Failed);
            let why = failed.and_then(|record| record.run.outcome.clone());
            let why = why.or_else(|| incident.as_ref().map(|incident| incident.why.clone()));
            let slot = failed.map(|record| record.id.slot).or(incident.map(|incident| incident.slot));
            let since =
                stands.failing_since.or(failed.and_then(|record| record.run.finished_at)).map(|at| utc(at, locale));
            needs.push(failing(job, since.as_deref(), why.as_deref(), slot));
            failing_since = since;
        }
        needs.extend(missed(schedule, &due, locale));
        let (tone, word) = match (is_failing, last.map(|run| (run.state, run.standing()))) {
            (true, _) => ("failing", "failing"),
            (false, Some((RunState::Running, standing))) => ("well", standing),
            (false, Some(_)) => ("well", "well"),
            (false, None) => ("idle", "never ran"),
        };
        let outcome = last.and_then(|run| run.outcome.as_deref());
        Ok(JobView {
            name: job.as_str(),
            tone,
            word,
            next: schedule.next(now, 1).first().map(|at| utc(*at, locale)),
            last: stands.done_at.map(|at| utc(at, locale)),
            took: stands.took_us.map(took),
            outcome: outcome.map(|outcome| cut_text(&printable(outcome), OUTCOME_CHARS_MAX)),
            // A slot of what finds nothing to do is never run, and nobody waits for it.
            waiting: if has_work(app, job, &[]).await? { (due.slots.len() + due.capped) as u64 } else { 0 },
            expired: due.expired as u64,
            failing_since,
            needs,
        })
    }
}

/// That a job fails, since when and why, and what tells more.
fn failing(job: Job, since: Option<&str>, why: Option<&str>, slot: Option<Slot>) -> String {
    let why = why.map(|why| cut_text(&printable(why.trim_end_matches('.')), OUTCOME_CHARS_MAX));
    let mut need = match since {
        Some(since) => format!("The job {job} has failed since {since}"),
        None => format!("The job {job} fails"),
    };
    need.extend(why.iter().flat_map(|why| [": ", why]));
    if !need.ends_with('…') {
        need.push('.');
    }
    let help = slot.and_then(|slot| commands(job, slot).into_iter().next());
    if let Some(Command { command, what }) = help.filter(|help| !need.contains(&help.command)) {
        need.push_str(&format!(" {command} {what}."));
    }
    need
}

/// That nothing runs by itself what a job missed, and what does, as the mail to operators has it.
fn missed(schedule: &Schedule, due: &Due, locale: Locale) -> Option<String> {
    let (first, last) = due.expired_first.zip(due.expired_last)?;
    let (count, job) = (due.expired as u64, schedule.job);
    let (what, them) = match count {
        1 => ("one missed slot is".to_owned(), "that"),
        _ => (format!("{} missed slots are", locale.number(count)), "them"),
    };
    // How many there are was said.
    let by_hand = commands_for_missed(job, first, last).into_iter().skip(1);
    let by_hand: Vec<String> = by_hand.map(|Command { command, what }| format!("{command} {what}")).collect();
    Some(format!(
        "{job}: {what} older than the window of {} days, and nothing runs {them} by itself. {}.",
        schedule.window_days,
        by_hand.join("; "),
    ))
}

/// `240 ms`, `3.2 s`, `4 min`.
fn took(micros: i64) -> String {
    match micros {
        i64::MIN..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        _ => format!("{} min", micros / 60_000_000),
    }
}

async fn facts(pages: &Pages) -> Result<Arc<Facts>, Shut> {
    let mut kept = pages.0.dashboard.facts.lock().await;
    if let Some((at, facts)) = kept.as_ref().filter(|(at, _)| at.elapsed() < HOLDS) {
        let _ = at;
        return Ok(Arc::clone(facts));
    }
    let app = pages.app();
    let health = app.health().await?;
    let schedules = schedules::load(app.settings.cron.dir.as_deref()).map_err(|error| Shut::Broken(Box::new(error)))?;
    let mut jobs = Vec::new();
    for schedule in &schedules {
        jobs.push(JobView::of(pages, schedule, &health, app.settings.mail.locale).await?);
    }
    let alerted = app.store.count_alerted().await?;
    let facts = Arc::new(Facts { health, alerted, jobs, at: app.now() });
    *kept = Some((Moment::now(), Arc::clone(&facts)));
    Ok(facts)
}

async fn totals(pages: &Pages) -> Result<Arc<Totals>, Shut> {
    let mut kept = pages.0.dashboard.totals.lock().await;
    if let Some((_, totals)) = kept.as_ref().filter(|(at, _)| at.elapsed() < TOTALS_HOLD) {
        return Ok(Arc::clone(totals));
    }
    let (app, locale) = (pages.app(), pages.app().settings.mail.locale);
    let (count, now) = (app.store.count_accounts().await?, app.now());
    let sums = if (1..=TOTALS_ACCOUNTS_MAX).contains(&count) { Some(sums(pages, locale).await?) } else { None };
    let totals = Arc::new(Totals { accounts: locale.number(count), sums, at: utc(now, locale) });
    *kept = Some((Moment::now(), Arc::clone(&totals)));
    Ok(totals)
}

async fn sums(pages: &Pages, locale: Locale) -> Result<Sums, Shut> {
    let (app, now) = (pages.app(), pages.app().now());
    let today = now.to_utc().date_naive();
    let range = DateRange::new(today - Days::new(TREND_DAYS - 1), next_day(today));
    let spec = range.and_then(|range| ReportSpec::new("The platform", range, Grouping::Day, Scope::Platform, now));
    let spec = spec.map(ReportSpec::bare).map_err(|error| Shut::Asked(error.to_string()))?;
    let _turn = pages.0.reports.turn(None).await;
    let reading = app.read_report(None, &spec, None, &mut |_, _| {}).await?;
    let made = tokio::task::spawn_blocking(move || make(&spec, reading)).await;
    let made = made.map_err(|error| Shut::Broken(Box::new(error)))?;
    let model = made.map_err(|error| Shut::Asked(error.to_string()))?;
    let drawn = drawing(&model, Subject::Consumption, locale)?;
    Ok(Sums {
        period: days_in(model.spec.range(), locale),
        equation: equation(&model.totals, locale, false),
        description: drawn.as_ref().map(|(drawn, _)| drawn.description().to_owned()).unwrap_or_default(),
        chart: drawn.map(|(_, svg)| svg),
    })
}

/// `GET /platform`.
pub(super) async fn show(State(pages): State<Pages>, AtPlatform(guest): AtPlatform) -> Result<Response, Shut> {
    let (app, locale) = (pages.app(), pages.app().settings.mail.locale);
    let (facts, totals) = (facts(&pages).await?, totals(&pages).await?);
    let figures = &facts.health.figures;
    let count = |number: u64| locale.number(number);
    let newest = app.store.newest_alerts(None, SHORT).await?;
    let recent = app.store.tried_messages(SHORT).await?;
    let stuck = app.store.stuck_messages(SHORT).await?;
    let backfills = app.store.backfills(None, false, 5).await?;
    let verify = facts.jobs.iter().find(|job| job.name == Job::Verify.as_str()).cloned();
    let verify = verify.ok_or(Shut::NotFound)?;
    let view = View {
        alerts: figures
            .alerts
            .iter()
            .map(|(level, open)| LevelCount { level: level.clone(), count: count(*open) })
            .collect(),
        alerted: count(facts.alerted),
        newest: newest.iter().map(|alert| alert_view(alert, locale)).collect(),
        needs: needs(&facts, locale),
        mail: Mail {
            waiting: count(figures.waiting),
            failed: count(figures.failed),
            ambiguous: count(figures.ambiguous),
            suppressed: count(figures.suppressed),
            oldest: figures.waiting_since.filter(|since| *since <= facts.at).map(|at| utc(at, locale)),
        },
        recent: recent.iter().map(|record| message_view(record, locale)).collect(),
        stuck: stuck.iter().map(|record| message_view(record, locale)).collect(),
        verify,
        unsealed_days: facts.health.unsealed_days,
        backfills: backfills.iter().map(|backfill| backfill_view(backfill, locale)).collect(),
        jobs: facts.jobs.clone(),
        totals: &totals,
    };
    let shell = Shell::of_guest(&pages, &guest, "Platform");
    Ok(page(StatusCode::OK, "platform.html", &shell, &view))
}

/// What needs somebody.
fn needs(facts: &Facts, locale: Locale) -> Vec<String> {
    let mut needs: Vec<String> = facts.jobs.iter().flat_map(|job| job.needs.clone()).collect();
    let figures = &facts.health.figures;
    let mails = [(figures.failed, "was given up", "were given up"), (figures.ambiguous, "is in doubt", "are in doubt")];
    for (count, one, many) in mails.into_iter().filter(|(count, ..)| *count > 0) {
        let what =
            if count == 1 { format!("One message {one}") } else { format!("{} messages {many}", locale.number(count)) };
        needs.push(format!("{what}; creditd outbox list shows them, and retries or cancels them."));
    }
    let stopped = figures.webhooks_stopped;
    if stopped > 0 {
        let what = if stopped == 1 {
            "One address of webhooks wants".to_owned()
        } else {
            format!("{} addresses of webhooks want", locale.number(stopped))
        };
        needs.push(format!(
            "{what} no more events; creditd webhook list shows which, retry lets it get them again, remove drops it."
        ));
    }
    let failed = figures.events_failed;
    if failed > 0 {
        let what = if failed == 1 {
            "One event for webhooks was".to_owned()
        } else {
            format!("{} events for webhooks were", locale.number(failed))
        };
        needs.push(format!(
            "{what} given up; creditd webhook events --state failed shows why, creditd webhook retry posts again."
        ));
    }
    needs
}

fn alert_view((alert, found): &(AlertRecord, FoundAccount), locale: Locale) -> AlertView {
    AlertView {
        account: account_row(found, locale),
        level: alert.crossing.level.to_string(),
        threshold: locale.number(alert.threshold.get()),
        since: When::new(alert.opened_at, Tz::UTC, locale),
    }
}

fn message_view(record: &OutboxRecord, locale: Locale) -> MessageView {
    MessageView {
        subject: printable(&record.message.subject),
        account: record.message.key.account_text().to_owned(),
        state: record.state.as_str(),
        at: When::new(record.sent_at.unwrap_or(record.message.created_at), Tz::UTC, locale),
        error: record.last_error.as_deref().map(|error| cut_text(&printable(error), OUTCOME_CHARS_MAX)),
    }
}

fn backfill_view(backfill: &BackfillRecord, locale: Locale) -> BackfillView {
    let of = |state| backfill.count(state);
    let all: u64 = RunState::ALL.iter().map(|state| of(*state)).sum();
    let failed = of(RunState::Failed);
    let slots = if all == 1 { "slot" } else { "slots" };
    let mut progress = format!("{} of {} {slots} done", locale.number(of(RunState::Done)), locale.number(all));
    if failed > 0 {
        progress.push_str(&format!(", {} failed", locale.number(failed)));
    }
    let asked = &backfill.asked;
    let range = format!("{} to {}", asked.from, asked.to);
    BackfillView { number: backfill.number, job: asked.job.as_str(), range, state: backfill.state.as_str(), progress }
}

fn account_row(found: &FoundAccount, locale: Locale) -> AccountRow {
    let FoundAccount { account, name, balance } = found;
    let balance: Credits = *balance;
    AccountRow { id: account.to_string(), name: shorten(name, NAME_CHARS_MAX), balance: locale.number(balance.get()) }
}

/// What was typed, as it and as ids and names are usually written: indexes are by the letters themselves, and which of them
/// are the same but for their case, databases see differently beyond ASCII.
fn spellings(q: &str) -> BTreeSet<String> {
    let lower = q.to_lowercase();
    let mut letters = lower.chars();
    let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect());
    [q.to_owned(), q.to_uppercase()].into_iter().chain(capital).chain([lower]).collect()
}

/// `GET /platform/accounts`: by the beginning of an id or a name, or by an admin's whole address.
pub(super) async fn accounts(
    State(pages): State<Pages>,
    AtPlatform(guest): AtPlatform,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    if let Some(problem) = misnamed(&query, &["q"], &["after"]) {
        return Err(Shut::Asked(problem));
    }
    let (store, locale) = (&pages.app().store, pages.app().settings.mail.locale);
    // No name is longer, and no database takes a NUL.
    let q: String = given(&query, "q").unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    let after = given(&query, "after").and_then(|after| AccountId::new(after).ok());
    let mut found = match Email::new(&q) {
        Ok(address) => store.accounts_of_admin(&address, LONG + 1).await?,
        Err(_) => {
            let (after, mut all) = (after.as_ref().map_or("", AccountId::as_str), BTreeMap::new());
            for start in spellings(&q) {
                let some = store.accounts_by_id(&start, after, LONG + 1).await?;
                all.extend(some.into_iter().map(|one| (one.account.clone(), one)));
            }
            all.into_values().collect()
        }
    };
    let is_more = found.len() > LONG;
    found.truncate(LONG);
    let next = found
        .last()
        .filter(|_| is_more && !q.contains('@'))
        .map(|last| format!("?{}", query_text([("q", q.as_str()), ("after", last.account.as_str())])));
    if after.is_none() && !q.is_empty() && found.len() < LONG {
        for start in spellings(&q) {
            let by_name = store.accounts_by_name(&start, LONG - found.len()).await?;
            let new: Vec<FoundAccount> = by_name.into_iter().filter(|one| !found.contains(one)).collect();
            found.extend(new);
        }
    }
    let view = Accounts {
        problem: found
            .is_empty()
            .then(|| "No account has an id or a name that begins so, or such an admin.".to_owned()),
        rows: found.iter().map(|found| account_row(found, locale)).collect(),
        next,
        q,
    };
    Ok(page(StatusCode::OK, "accounts.html", &Shell::of_guest(&pages, &guest, "Accounts"), &view))
}

/// `GET /platform/alerts`: who is at or below a level, the newest first.
pub(super) async fn alerts(
    State(pages): State<Pages>,
    AtPlatform(guest): AtPlatform,
    Asked(query): Asked<Query>,
) -> Result<Response, Shut> {
    if let Some(problem) = misnamed(&query, &[], &["at", "after"]) {
        return Err(Shut::Asked(problem));
    }
    let locale = pages.app().settings.mail.locale;
    let account = given(&query, "after").and_then(|after| AccountId::new(after).ok());
    let at = given(&query, "at").and_then(|at| at.parse().ok()).map(Instant::from_micros);
    let found = pages.app().store.newest_alerts(at.zip(account.as_ref()), LONG + 1).await?;
    let shown = &found[..found.len().min(LONG)];
    let next = shown.last().filter(|_| found.len() > LONG).map(|(last, _)| {
        let at = last.opened_at.micros().to_string();
        format!("?{}", query_text([("at", at.as_str()), ("after", last.account.as_str())]))
    });
    let view = Alerts { rows: shown.iter().map(|alert| alert_view(alert, locale)).collect(), next };
    Ok(page(StatusCode::OK, "alerts.html", &Shell::of_guest(&pages, &guest, "Open alerts"), &view))
}
