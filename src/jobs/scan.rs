//! `scan`: finds accounts at or below an alert level, writes the alert and the notices about it (DESIGN 5).

use super::{Done, JobError, Kit, Problem, Run, log_written};
use crate::app::{Balance, balance_of};
use crate::config::AlertSettings;
use crate::core::alert::{AlertPlan, AlertState, Crossing, OpenAlert, Opened, plan_alerts, quiet};
use crate::core::calendar::Instant;
use crate::core::counting::counted;
use crate::core::credits::{Credits, Split};
use crate::core::forecast::{DailyUse, ForecastInput, forecast};
use crate::core::ids::{AccountId, LevelName};
use crate::core::ledger::AccountStatus;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::price::PriceMatrix;
use crate::core::transaction::Money;
use crate::core::webhook::{Event, EventKind, Facts};
use crate::notice::words::listed;
use crate::notice::{LapseSoon, LowCredit, NoticeError, Pack, Resolved};
use crate::store::{AccountRecord, Admin, Load, Looked, Scanned};
use std::collections::{BTreeMap, BTreeSet};

/// Most accounts named whose notices could not be worded; the rest are counted.
const UNWORDED_SHOWN_MAX: usize = 5;

/// An account whose alerts need something.
struct Finding {
    record: AccountRecord,
    balance: Balance,
    plan: AlertPlan,
    /// The most advanced alert that was open, of an account that is above all its levels again.
    is_over: Option<OpenAlert>,
    /// Whether so many free credits lapse so soon that it is worth a notice.
    lapses_soon: bool,
}

/// A page of accounts, looked at.
#[derive(Default)]
struct Page {
    /// All that must be written down.
    looked: Vec<Looked>,
    findings: Vec<Finding>,
    /// Why nothing can be said of an account.
    problems: Vec<Problem>,
}

/// The notices of accounts, and why those of others could not be worded: whoever has a template of their own may see it fail on what
/// no sample comes to.
#[derive(Default)]
struct Worded {
    messages: Vec<Message>,
    failed: BTreeMap<AccountId, NoticeError>,
}

impl Worded {
    fn add(&mut self, account: &AccountId, worded: Result<Message, NoticeError>) {
        match worded {
            Ok(message) => self.messages.push(message),
            Err(error) => drop(self.failed.entry(account.clone()).or_insert(error)),
        }
    }
}

/// Scans the accounts that have changed: those whose balance has left where their alerts need nothing, as the database has
/// marked them. All of them are looked at on the first scan of a day (UTC), and when the platform's levels have changed.
///
/// An account of which a notice cannot be worded is left as it is, and is looked at again by every scan until it can; all others are
/// told.
///
/// # Errors
/// [`JobError`]; [`JobError::NotWorded`] once all others are told.
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let size = app.settings.jobs.batch_accounts;
    let all = Scanned::new(&app.settings.alerts.levels, app.now().to_utc().date_naive());
    let is_of_all = app.store.scanned().await?.as_ref() != Some(&all);
    let total = if is_of_all { Some(app.store.count_accounts().await?) } else { None };
    let prices = app.store.prices().await?;
    let mut scan = Scan {
        kit,
        prices,
        is_of_all,
        dry_run: run.dry_run,
        done: Done::default(),
        opened: 0,
        resolved: 0,
        notices: 0,
        unworded: BTreeMap::new(),
    };
    let (mut scanned, mut after) = (0_u64, None::<AccountId>);
    loop {
        run.check_stop()?;
        if is_of_all && !run.dry_run {
            // Whoever has changed is seen now, however long it takes to look at all.
            let changed = app.store.alerts_due(None, size).await?;
            scan.page(&changed).await?;
        }
        let ids = match is_of_all {
            true => app.store.account_ids(after.as_ref(), size).await?,
            false => app.store.alerts_due(after.as_ref(), size).await?,
        };
        let Some(last) = ids.last() else { break };
        scan.page(&ids).await?;
        scanned += ids.len() as u64;
        (run.progress)(scanned, total);
        after = Some(last.clone());
    }
    // Who could not be told of something may be found in no other way than by looking at all.
    if is_of_all && !run.dry_run && scan.unworded.is_empty() {
        app.store.write_scanned(&all).await?;
    }
    let Scan { mut done, opened, resolved, notices, unworded, .. } = scan;
    done.problems.sort();
    done.problems.dedup();
    done.summary = format!(
        "{}: {} opened, {resolved} resolved, {} written",
        counted(scanned, "account"),
        counted(opened, "alert"),
        counted(notices, "notice")
    );
    let accounts: Vec<String> = unworded.keys().map(ToString::to_string).collect();
    match unworded.into_values().next() {
        Some(source) => {
            let accounts = listed(&accounts, UNWORDED_SHOWN_MAX);
            Err(JobError::NotWorded { accounts, source, summary: done.summary })
        }
        None => Ok(done),
    }
}

/// A scan, and what it came to so far.
struct Scan<'a> {
    kit: &'a Kit,
    prices: PriceMatrix,
    is_of_all: bool,
    dry_run: bool,
    done: Done,
    opened: u64,
    resolved: usize,
    notices: u64,
    /// Why accounts were left as they are.
    unworded: BTreeMap<AccountId, NoticeError>,
}

impl Scan<'_> {
    /// Looks at some accounts and writes what is to be written.
    async fn page(&mut self, ids: &[AccountId]) -> Result<(), JobError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (kit, now) = (self.kit, self.kit.app.now());
        let mut page = look(kit, ids, now, self.is_of_all).await?;
        let Worded { mut messages, mut failed } = word(kit, &page.findings, &self.prices, now).await?;
        let Worded { messages: mut asked_for, failed: others } = word_opted_in(kit, &page.findings, now).await?;
        failed.extend(others);
        if !failed.is_empty() {
            let is_worded = |message: &Message| !message.key.account().is_some_and(|id| failed.contains_key(id));
            messages.retain(is_worded);
            asked_for.retain(is_worded);
            page.looked.retain(|looked| !failed.contains_key(&looked.account));
            page.findings.retain(|finding| !failed.contains_key(&finding.record.account.id));
            self.unworded.append(&mut failed);
        }
        for message in &asked_for {
            let line = format!("{}: tell an admin who asked for it: {}", message.key.account_text(), message.subject);
            self.done.line(line);
        }
        messages.extend(asked_for);
        for finding in &page.findings {
            describe(finding, &mut self.done);
            self.opened += finding.plan.opened.len() as u64;
            self.resolved += finding.plan.resolved.len();
        }
        self.done.problems.extend(page.problems);
        self.notices += messages.len() as u64;
        let is_something = !page.looked.is_empty() || !messages.is_empty();
        if is_something && !self.dry_run {
            let events: Vec<Event> = page.findings.iter().filter_map(|finding| event_of(finding, now)).collect();
            kit.app.store.write_looked(&page.looked, &messages, &events, now).await?;
            page.findings.iter().for_each(log);
            messages.iter().for_each(log_written);
        }
        Ok(())
    }
}

/// Says in the log which alerts of an account were opened and resolved.
fn log(finding: &Finding) {
    let account = &finding.record.account.id;
    for Opened { level, crossing, .. } in &finding.plan.opened {
        tracing::debug!(%account, alert = %format_args!("{level}#{crossing}"), "an alert was opened");
    }
    for alert in &finding.plan.resolved {
        tracing::debug!(%account, %alert, "an alert was resolved");
    }
}

/// The notice that an account would get if it fell to `level` now; without one, to the most advanced it is at, else the first it will
/// come to. `None` when the account has no such level. Nothing is written.
pub(super) async fn preview(
    kit: &Kit,
    record: AccountRecord,
    mut balance: Balance,
    reader: Admin,
    level: Option<&LevelName>,
) -> Result<Option<Message>, JobError> {
    let now = kit.app.now();
    if balance.status == AccountStatus::Closed {
        return Ok(None);
    }
    let levels = kit.levels(&record).clone();
    let state = AlertState::default();
    let mut plan = plan_alerts(&levels, balance.allowance, balance.available.total(), &state, now);
    let ladder = levels.ladder(balance.allowance);
    let asked = match level {
        Some(name) => Some(ladder.iter().find(|(level, _)| level.name() == name)),
        None if plan.notice.is_none() => Some(ladder.first()),
        None => None,
    };
    if let Some(found) = asked {
        let Some((_, threshold)) = found else { return Ok(None) };
        plan = plan_alerts(&levels, balance.allowance, *threshold, &state, now);
        // A mail that said that it has fallen so far, beside what it really has, would make no sense.
        balance = balance.with_left(*threshold);
    }
    let record = AccountRecord { admins: vec![Admin { alerts: true, ..reader }], ..record };
    let prices = kit.app.store.prices().await?;
    let finding = Finding { record, balance, plan, is_over: None, lapses_soon: false };
    let Worded { mut messages, mut failed } = word(kit, &[finding], &prices, now).await?;
    match failed.pop_first() {
        Some((_, error)) => Err(error.into()),
        None => Ok(messages.pop()),
    }
}

/// The balance of an account whose alerts are over: where `threshold`, the least advanced, holds still, as many packs were bought as
/// it takes.
fn with_more_than(balance: Balance, threshold: Credits, pack: Credits) -> Balance {
    let missing = threshold.get() - balance.available.total().get();
    if missing < 0 {
        return balance;
    }
    let bought = (missing / pack.get().max(1) + 1).saturating_mul(pack.get());
    let purchased = balance.available.purchased.get().saturating_add(bought).min(Credits::LIMIT.get());
    Balance { available: Split { purchased: Credits::new(purchased), ..balance.available }, ..balance }
}

/// The notice that an alert is over as `record`'s account would get it now. Nothing is written.
pub(super) fn preview_resolved(
    kit: &Kit,
    record: &AccountRecord,
    balance: &Balance,
    reader: &Admin,
) -> Result<Option<Message>, JobError> {
    if balance.status == AccountStatus::Closed {
        return Ok(None);
    }
    let levels = kit.levels(record);
    let Some((level, threshold)) = levels.ladder(balance.allowance).into_iter().next() else { return Ok(None) };
    let balance = &with_more_than(balance.clone(), threshold, kit.app.settings.credits.pack_credits);
    let alert = OpenAlert { level: level.name().clone(), crossing: 1, threshold: Credits::ZERO, opened_at: balance.at };
    Ok(Some(kit.templates.resolved(&resolved(kit, record, balance, &alert), &mailbox(reader), balance.at)?))
}

/// The notice that free credits lapse soon as `record`'s account would get it now. Nothing is written.
pub(super) fn preview_lapse_soon(
    kit: &Kit,
    record: &AccountRecord,
    balance: &Balance,
    reader: &Admin,
) -> Result<Option<Message>, JobError> {
    if balance.lapsing.is_zero() || balance.status == AccountStatus::Closed {
        return Ok(None);
    }
    Ok(Some(kit.templates.lapse_soon(&lapsing(kit, record, balance), &mailbox(reader), balance.at)?))
}

/// Whether it is time to say what lapses at the end of the month.
fn lapse_soon(settings: &AlertSettings, balance: &Balance, now: Instant) -> bool {
    balance.lapsing >= settings.lapse_soon_credits && now.plus_days(settings.lapse_soon_days) >= balance.month_ends_at
}

/// Looks at accounts. Of those for which nothing has changed, nothing is returned. Where all are looked at, it is also seen
/// what lapses soon.
async fn look(kit: &Kit, ids: &[AccountId], now: Instant, is_of_all: bool) -> Result<Page, JobError> {
    let store = &kit.app.store;
    let mut watched = store.watched(ids).await?;
    let ledgers = store.load(&Load::accounts(ids, now)).await?.ledgers;
    let states = store.alert_states(ids).await?;
    let empty: Vec<AccountId> =
        ledgers.values().filter(|l| l.balance.total().is_zero()).map(|l| l.account.id.clone()).collect();
    let never_had: BTreeSet<AccountId> = store.without_any_credits(&empty).await?.into_iter().collect();
    let mut page = Page::default();
    for record in store.accounts(ids).await? {
        let account = record.account.id.clone();
        let (Some(ledger), Some(watched)) = (ledgers.get(&account), watched.remove(&account)) else { continue };
        let balance = match balance_of(ledger, now) {
            Ok(balance) => balance,
            Err(refusal) => {
                page.problems.push(Problem::of(&account, refusal));
                continue;
            }
        };
        let (mut plan, mut is_quiet) = (AlertPlan::default(), None);
        let (mut is_over, mut lapses_soon) = (None, false);
        // Of an account that is not open yet, or closed, nobody can do anything about the credits (R18). Where there never were any,
        // none are low or gone.
        let has_had = !balance.available.total().is_zero() || !never_had.contains(&account);
        if balance.status == AccountStatus::Closed {
            // Nobody is told: that it is closed says more.
            let open = states.get(&account).into_iter().flat_map(|state| &state.open);
            plan.resolved = open.map(|a| Crossing { level: a.level.clone(), crossing: a.crossing }).collect();
        }
        if balance.status == AccountStatus::Open && ledger.account.opened_at <= now && has_had {
            let mut state = states.get(&account).cloned().unwrap_or_default();
            plan = plan_alerts(kit.levels(&record), balance.allowance, balance.available.total(), &state, now);
            // Where nothing is left, and no level says so any more, it is not enough again.
            is_over = state.ended(&plan).filter(|_| balance.available.total() > Credits::ZERO).cloned();
            state.apply(&plan);
            lapses_soon = is_of_all && lapse_soon(&kit.app.settings.alerts, &balance, now);
            // Levels may be percentages: where the next month's allowance is another, its first row is looked at.
            let next_allowance = ledger.account.calendar.terms_in(balance.month.next()).allowance;
            let is_settled = next_allowance == balance.allowance;
            is_quiet = is_settled.then(|| quiet(kit.levels(&record), balance.allowance, &state));
        }
        if watched.is_marked || watched.quiet != is_quiet || !plan.is_empty() {
            page.looked.push(Looked { account, plan: plan.clone(), quiet: is_quiet, watched });
        }
        if !plan.is_empty() || lapses_soon {
            page.findings.push(Finding { record, balance, plan, is_over, lapses_soon });
        }
    }
    Ok(page)
}

/// The notices: one per crossing to tell and admin who wants alerts.
async fn word(kit: &Kit, findings: &[Finding], prices: &PriceMatrix, now: Instant) -> Result<Worded, JobError> {
    let telling: Vec<&Finding> = findings.iter().filter(|finding| finding.plan.notice.is_some()).collect();
    let unused = |finding: &&Finding| {
        let account = &finding.record.account;
        (account.id.clone(), DailyUse::unused(&account.calendar, account.opened_at, now))
    };
    let mut used: Vec<(AccountId, DailyUse)> = telling.iter().map(unused).collect();
    kit.app.store.daily_use(&mut used).await?;
    let mut worded = Worded::default();
    for (finding, (_, daily)) in telling.into_iter().zip(&used) {
        let Some(facts) = facts_of(kit, finding, daily, prices, now) else { continue };
        for admin in finding.record.admins.iter().filter(|admin| admin.alerts) {
            worded.add(&facts.account, kit.templates.low_credit(&facts, &mailbox(admin), now));
        }
    }
    Ok(worded)
}

/// The notices that admins asked for: that an alert is over, and that free credits lapse soon.
async fn word_opted_in(kit: &Kit, findings: &[Finding], now: Instant) -> Result<Worded, JobError> {
    let (mut overs, mut lapses) = (Worded::default(), Worded::default());
    for Finding { record, balance, is_over, lapses_soon, .. } in findings {
        if let Some(alert) = is_over.as_ref().filter(|alert| alert.has_risen_to(balance.available.total())) {
            let facts = resolved(kit, record, balance, alert);
            for admin in record.admins.iter().filter(|admin| admin.resolved) {
                overs.add(&facts.account, kit.templates.resolved(&facts, &mailbox(admin), now));
            }
        }
        for admin in record.admins.iter().filter(|admin| *lapses_soon && admin.lapse_soon) {
            let notice = kit.templates.lapse_soon(&lapsing(kit, record, balance), &mailbox(admin), now);
            lapses.add(&record.account.id, notice);
        }
    }
    // All accounts are looked at again on each day until then.
    let keys: Vec<NoticeKey> = lapses.messages.iter().map(|message| message.key.clone()).collect();
    let known: BTreeSet<NoticeKey> = kit.app.store.known_messages(&keys).await?.into_iter().collect();
    overs.messages.extend(lapses.messages.into_iter().filter(|message| !known.contains(&message.key)));
    overs.failed.extend(lapses.failed);
    Ok(overs)
}

/// What the platform's own programs are told: the alert that admins are told of, or that all are over, also where only the levels are
/// others: whoever heard of an alert waits for that.
fn event_of(finding: &Finding, now: Instant) -> Option<Event> {
    let Finding { record, balance, plan, is_over, .. } = finding;
    let (kind, crossing, threshold) = match (&plan.notice, is_over) {
        (Some(crossing), _) => {
            let opened = plan.opened.iter().find(|opened| opened.level == crossing.level)?;
            let kind = if opened.threshold.is_zero() { EventKind::Exhausted } else { EventKind::Low };
            (kind, crossing.clone(), Some(opened.threshold))
        }
        (None, Some(over)) => {
            (EventKind::Recovered, Crossing { level: over.level.clone(), crossing: over.crossing }, None)
        }
        (None, None) => return None,
    };
    let level = crossing.level.to_string();
    let facts = Facts::alert(level, threshold, balance.available, balance.month_ends_at);
    Some(Event { account: record.account.id.clone(), kind, about: crossing.to_string(), at: now, facts })
}

fn mailbox(admin: &Admin) -> Mailbox {
    Mailbox { name: admin.name.clone(), address: admin.email.clone() }
}

fn resolved(kit: &Kit, record: &AccountRecord, balance: &Balance, alert: &OpenAlert) -> Resolved {
    Resolved {
        account: record.account.id.clone(),
        account_name: record.account.name.clone(),
        zone: balance.zone,
        locale: kit.locale(record),
        crossing: Crossing { level: alert.level.clone(), crossing: alert.crossing },
        opened_at: alert.opened_at,
        available: balance.available,
        lapsing: balance.lapsing,
        ending: balance.ending(),
        next_reset_at: balance.month_ends_at,
    }
}

fn lapsing(kit: &Kit, record: &AccountRecord, balance: &Balance) -> LapseSoon {
    LapseSoon {
        account: record.account.id.clone(),
        account_name: record.account.name.clone(),
        zone: balance.zone,
        locale: kit.locale(record),
        month: balance.month,
        lapses_at: balance.month_ends_at,
        lapsing: balance.lapsing,
        purchased: balance.purchased_without_end(),
        ending: balance.ending(),
        next_allowance: next_allowance(record, balance),
    }
}

fn next_allowance(record: &AccountRecord, balance: &Balance) -> Credits {
    record.account.calendar.terms_in(balance.month.next()).allowance
}

fn facts_of(kit: &Kit, finding: &Finding, daily: &DailyUse, prices: &PriceMatrix, now: Instant) -> Option<LowCredit> {
    let Finding { record, balance, plan, .. } = finding;
    let crossing = plan.notice.clone()?;
    let threshold = plan.opened.iter().find(|opened| opened.level == crossing.level)?.threshold;
    let next_reset_at = balance.month_ends_at;
    let costs = prices.iter().filter_map(|action| {
        let price = action.version_at(now)?.credits?;
        (price > Credits::ZERO).then(|| (price, action.title.clone()))
    });
    let (stopped, stops): (Vec<_>, Vec<_>) = costs.partition(|(price, _)| *price > balance.available.total());
    let titles = |costs: Vec<(Credits, String)>| costs.into_iter().map(|(_, title)| title).collect();
    let credits = &kit.app.settings.credits;
    let price = Money { minor: credits.pack_price_minor, currency: credits.currency.clone() };
    Some(LowCredit {
        account: record.account.id.clone(),
        account_name: record.account.name.clone(),
        zone: balance.zone,
        locale: kit.locale(record),
        crossing,
        threshold,
        available: balance.available,
        lapsing: balance.lapsing,
        ending: balance.ending(),
        held: balance.held.total(),
        allowance: balance.allowance,
        next_allowance: next_allowance(record, balance),
        forecast: forecast(&ForecastInput {
            calendar: &record.account.calendar,
            daily,
            now,
            available: balance.available,
            grants: &balance.grants,
            next_reset_at,
            pack_credits: Some(credits.pack_credits),
        }),
        next_reset_at,
        stopped: titles(stopped),
        stops: titles(stops),
        pack: Some(Pack { credits: credits.pack_credits, price }),
    })
}

fn describe(finding: &Finding, done: &mut Done) {
    let Finding { record, balance, plan, .. } = finding;
    let id = &record.account.id;
    for opened in &plan.opened {
        let left = balance.available.total();
        done.line(format!("{id}: {} ({left} left, level {})", opened.level, opened.threshold));
    }
    for over in &plan.resolved {
        done.line(format!("{id}: {over} is over ({} left)", balance.available.total()));
    }
    if let Some(crossing) = &plan.notice {
        let readers = record.admins.iter().filter(|admin| admin.alerts).count() as u64;
        done.line(format!("{id}: tell {} of {crossing}", counted(readers, "admin")));
    }
}
