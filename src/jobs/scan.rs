//! `scan`: finds accounts at or below an alert level, writes the alert and the notices about it (DESIGN 5).

use super::{Done, JobError, Kit, Run};
use crate::app::{Balance, balance_of};
use crate::core::alert::{AlertPlan, AlertState, plan_alerts};
use crate::core::calendar::Instant;
use crate::core::counting::counted;
use crate::core::credits::Credits;
use crate::core::forecast::{DailyUse, ForecastInput, forecast};
use crate::core::ids::AccountId;
use crate::core::ledger::AccountStatus;
use crate::core::outbox::{Mailbox, Message};
use crate::core::price::PriceMatrix;
use crate::core::transaction::Money;
use crate::notice::{LowCredit, Pack};
use crate::store::{AccountRecord, Admin, Load};
use std::collections::BTreeMap;

/// An account whose alerts need something.
struct Finding {
    record: AccountRecord,
    balance: Balance,
    plan: AlertPlan,
}

/// Scans all accounts.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let mut done = Done::default();
    let (mut scanned, mut opened, mut resolved, mut notices) = (0_u64, 0, 0, 0);
    let total = app.store.count_accounts().await?;
    let prices = app.store.prices().await?;
    let mut pages = app.store.pages(None, app.settings.jobs.batch_accounts);
    while let Some(ids) = pages.next().await? {
        run.check_stop()?;
        let now = app.now();
        let findings = gather(kit, &ids, now, &mut done).await?;
        let messages = word(kit, &findings, &prices, now).await?;
        for finding in &findings {
            describe(finding, &mut done);
            opened += finding.plan.opened.len() as u64;
            resolved += finding.plan.resolved.len();
        }
        notices += messages.len() as u64;
        if !run.dry_run && !findings.is_empty() {
            let plans: Vec<(AccountId, AlertPlan)> =
                findings.into_iter().map(|finding| (finding.record.account.id, finding.plan)).collect();
            app.store.write_alerts(&plans, &messages, now).await?;
        }
        scanned += ids.len() as u64;
        (run.progress)(scanned, Some(total));
    }
    done.summary = format!(
        "{}: {} opened, {resolved} resolved, {} written",
        counted(scanned, "account"),
        counted(opened, "alert"),
        counted(notices, "notice")
    );
    Ok(done)
}

/// The notice that an account would get if it fell to a level now: the most advanced it is at, else the first it will
/// come to. `None` when the account has no levels. Nothing is written.
pub(super) async fn preview(
    kit: &Kit,
    record: AccountRecord,
    balance: Balance,
    reader: Admin,
) -> Result<Option<Message>, JobError> {
    let now = kit.app.now();
    let levels = kit.levels(&record).clone();
    let state = AlertState::default();
    let mut plan = plan_alerts(&levels, balance.allowance, balance.available.total(), &state, now);
    if plan.notice.is_none() {
        let ladder = levels.ladder(balance.allowance);
        let Some((_, threshold)) = ladder.first() else { return Ok(None) };
        plan = plan_alerts(&levels, balance.allowance, *threshold, &state, now);
    }
    let record = AccountRecord { admins: vec![Admin { alerts: true, ..reader }], ..record };
    let prices = kit.app.store.prices().await?;
    Ok(word(kit, &[Finding { record, balance, plan }], &prices, now).await?.pop())
}

async fn gather(kit: &Kit, ids: &[AccountId], now: Instant, done: &mut Done) -> Result<Vec<Finding>, JobError> {
    let store = &kit.app.store;
    let batch = store.load(&Load::accounts(ids, now)).await?;
    let states = store.alert_states(ids).await?;
    let mut found: BTreeMap<AccountId, (Balance, AlertPlan)> = BTreeMap::new();
    let records = store.accounts(ids).await?;
    for record in &records {
        let id = &record.account.id;
        let Some(ledger) = batch.ledgers.get(id).filter(|ledger| ledger.account.opened_at <= now) else { continue };
        let balance = match balance_of(ledger, now) {
            Ok(balance) => balance,
            Err(refusal) => {
                done.problems.push(refusal.to_string());
                continue;
            }
        };
        // It can use no credits, and none come: nobody can do anything about them (R18).
        if balance.status == AccountStatus::Closed {
            continue;
        }
        let none = AlertState::default();
        let state = states.get(id).unwrap_or(&none);
        let plan = plan_alerts(kit.levels(record), balance.allowance, balance.available.total(), state, now);
        if !plan.is_empty() {
            found.insert(id.clone(), (balance, plan));
        }
    }
    let finding = |record: AccountRecord| {
        let (balance, plan) = found.remove(&record.account.id)?;
        Some(Finding { record, balance, plan })
    };
    Ok(records.into_iter().filter_map(finding).collect())
}

/// The notices: one per crossing to tell and admin who wants alerts.
async fn word(kit: &Kit, findings: &[Finding], prices: &PriceMatrix, now: Instant) -> Result<Vec<Message>, JobError> {
    let telling: Vec<&Finding> = findings.iter().filter(|finding| finding.plan.notice.is_some()).collect();
    let unused = |finding: &&Finding| {
        let account = &finding.record.account;
        (account.id.clone(), DailyUse::unused(&account.calendar, account.opened_at, now))
    };
    let mut used: Vec<(AccountId, DailyUse)> = telling.iter().map(unused).collect();
    kit.app.store.daily_use(&mut used).await?;
    let mut messages = Vec::new();
    for (finding, (_, daily)) in telling.into_iter().zip(&used) {
        let Some(facts) = facts_of(kit, finding, daily, prices, now) else { continue };
        for admin in finding.record.admins.iter().filter(|admin| admin.alerts) {
            let mailbox = Mailbox { name: admin.name.clone(), address: admin.email.clone() };
            messages.push(kit.templates.low_credit(&facts, &mailbox, now)?);
        }
    }
    Ok(messages)
}

fn facts_of(kit: &Kit, finding: &Finding, daily: &DailyUse, prices: &PriceMatrix, now: Instant) -> Option<LowCredit> {
    let Finding { record, balance, plan } = finding;
    let crossing = plan.notice.clone()?;
    let threshold = plan.opened.iter().find(|opened| opened.level == crossing.level)?.threshold;
    let next_reset_at = balance.month_ends_at;
    let stops = prices.iter().filter(|action| {
        let price = action.version_at(now).and_then(|version| version.credits);
        price.is_some_and(|credits| credits > Credits::ZERO)
    });
    let credits = &kit.app.settings.credits;
    let price = Money { minor: credits.pack_price_minor, currency: credits.currency.clone() };
    Some(LowCredit {
        account: record.account.id.clone(),
        account_name: record.account.name.clone(),
        zone: balance.zone,
        crossing,
        threshold,
        available: balance.available,
        allowance: balance.allowance,
        forecast: forecast(&ForecastInput {
            calendar: &record.account.calendar,
            daily,
            now,
            available: balance.available,
            next_reset_at,
            pack_credits: Some(credits.pack_credits),
        }),
        next_reset_at,
        stops: stops.map(|action| action.title.clone()).collect(),
        pack: Some(Pack { credits: credits.pack_credits, price }),
    })
}

fn describe(finding: &Finding, done: &mut Done) {
    let Finding { record, balance, plan } = finding;
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
