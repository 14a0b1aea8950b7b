//! `close`: closes months to late usage (R14), once that has had its time and their statements were written.
//!
//! It never looks at months that ended before the ledger was made: whoever loads a history is merely early, and
//! `creditd month close` is there for them. Nor does it close anything in the first days in which creditd knows an account.
//! A month that a person opened again stays open until a person closes it, whoever closed it first; and with it all later
//! ones, for closing a month closes all before it.
//!
//! Then it tells whoever got the statement of a month that was closed, by the job or by a person, what has changed since; and it
//! drops what messages said that are older than the settings keep it.

use super::{Done, JobError, Kit, Problem, Run, statements};
use crate::core::calendar::{Instant, Month};
use crate::core::counting::counted;
use crate::core::ids::{AccountId, CLOSE_KEY_PREFIX, Key};
use crate::core::ledger::{Call, Ledger, MonthClosing, Receipt, Refusal};
use crate::core::run::RunState;
use crate::core::schedule::{Job, Slot};
use crate::store::{Batch, Load, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What the log says. It is part of the call, so it is the same for ever (R9).
const COMMENT: &str = "late usage had its time";
/// The first zone in which a day begins is this many hours before UTC.
const ZONE_HOURS_MAX: i64 = 14;
/// Messages whose content is dropped in one database transaction, which charges wait for.
const MESSAGES_AT_ONCE: usize = 200;
/// Periods that are named as not reported.
const PERIODS_NAMED_MAX: usize = 20;

/// What decides whether a month is closed.
struct Policy {
    now: Instant,
    /// When the ledger was made.
    since: Instant,
    late_usage_days: i64,
    /// Months that were reported, by zone.
    reported: BTreeSet<Slot>,
}

/// What is to be done with an account.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// The last month to close, and with it all before.
    close: Option<Month>,
    /// The first month that would be closed had it been reported.
    waits_for: Option<Slot>,
    /// Something would be closed, had nobody opened a month again.
    is_left: bool,
}

/// Closes what is due, of every account.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let now = app.now();
    let (since, late_usage_days) = (app.store.meta().created_at, app.settings.credits.late_usage_days);
    let states = app.store.slot_states(Job::MonthlyReport, since).await?;
    let reported = states.into_iter().filter(|(_, state)| *state == RunState::Done).map(|(slot, _)| slot).collect();
    let policy = Policy { now, since, late_usage_days, reported };
    let known_by = now.plus_days(-late_usage_days);
    let latest = Month::of(known_by.plus_seconds(ZONE_HOURS_MAX * 3_600).to_utc().date_naive()).previous();
    let (mut done, mut seen, mut closed, mut left) = (Done::default(), 0_u64, 0_u64, 0_u64);
    let mut waiting: BTreeMap<Slot, u64> = BTreeMap::new();
    let mut after = None;
    loop {
        run.check_stop()?;
        let batch = app.settings.jobs.batch_accounts;
        let ids = app.store.accounts_to_close(latest, known_by, after.as_ref(), batch).await?;
        let Some(last) = ids.last().cloned() else { break };
        let ledgers = app.store.load(&Load::accounts(&ids, now)).await?.ledgers;
        let mut months = Vec::new();
        for (id, ledger) in ledgers {
            let Plan { close, waits_for, is_left } = plan(&ledger, &policy);
            months.extend(close.map(|month| (id, month)));
            waits_for.into_iter().for_each(|slot| *waiting.entry(slot).or_default() += 1);
            left += u64::from(is_left);
        }
        for ((id, month), answer) in months.iter().zip(apply(kit, &months, run.dry_run).await?) {
            match answer {
                Some(Ok(_)) => {
                    if !run.dry_run {
                        tracing::debug!(account = %id, %month, "a month was closed to late usage");
                    }
                    done.line(format!("{id}: close {month}"));
                    closed += 1;
                }
                Some(Err(refusal)) => done.problems.push(Problem::of(id, refusal)),
                None => left += 1,
            }
        }
        seen += ids.len() as u64;
        (run.progress)(seen, None);
        after = Some(last);
    }
    let more = waiting.len().saturating_sub(PERIODS_NAMED_MAX);
    done.problems
        .extend(waiting.iter().take(PERIODS_NAMED_MAX).map(|(slot, accounts)| unreported(*slot, *accounts).into()));
    if more > 0 {
        done.problems.push(format!("and {} not reported", counted(more as u64, "more period")).into());
    }
    let reopened = if left > 0 { format!(", {left} left as they were opened again") } else { String::new() };
    let corrected: String =
        statements::correct(kit, run, &mut done).await?.into_iter().map(|what| format!(", {what}")).collect();
    let dropped = match drop_contents(kit, run).await? {
        0 => String::new(),
        some => format!(", the content of {} dropped", counted(some, "old message")),
    };
    done.summary = format!("{} closed to late usage{reopened}{corrected}{dropped}", counted(closed, "account"));
    Ok(done)
}

/// Drops what old messages said; returns of how many.
async fn drop_contents(kit: &Kit, run: &mut Run<'_>) -> Result<u64, JobError> {
    let store = &kit.app.store;
    let before = kit.app.now().plus_days(-kit.app.settings.mail.keep_days);
    if run.dry_run {
        return Ok(store.count_contents(before).await?);
    }
    let mut dropped = 0;
    loop {
        run.check_stop()?;
        let some = store.drop_contents(before, MESSAGES_AT_ONCE).await?;
        if some == 0 {
            return Ok(dropped);
        }
        dropped += some as u64;
    }
}

/// The months of an account that are due, in one step: closing a month closes all before it. It stops at the first that is
/// not due, or was not reported.
fn plan(ledger: &Ledger, policy: &Policy) -> Plan {
    let calendar = &ledger.account.calendar;
    let first = ledger.closed_through.map_or_else(|| calendar.month_of(ledger.account.opened_at), Month::next);
    let mut month = first.max(calendar.month_of(policy.since));
    let mut plan = Plan::default();
    loop {
        let had_its_time_at = calendar.month_end(month).plus_days(policy.late_usage_days);
        if policy.now < had_its_time_at.max(ledger.month_over_at(month)) {
            return plan;
        }
        if ledger.reopened_through.is_some() {
            return Plan { is_left: true, ..plan };
        }
        let slot = Slot::Month(month, calendar.terms_in(month).zone);
        if !policy.reported.contains(&slot) {
            return Plan { waits_for: Some(slot), ..plan };
        }
        plan.close = Some(month);
        month = month.next();
    }
}

/// Closes the months, or in a dry run only plans it. `None` for an account of which a person has opened a month again since
/// it was planned.
async fn apply(
    kit: &Kit,
    months: &[(AccountId, Month)],
    dry_run: bool,
) -> Result<Vec<Option<Result<Receipt, Refusal>>>, JobError> {
    if months.is_empty() {
        return Ok(Vec::new());
    }
    let call = |(id, month): &(AccountId, Month)| {
        let (key, comment) = (Key::new(&format!("{CLOSE_KEY_PREFIX}{month}"))?, COMMENT.to_owned());
        Ok((id.clone(), Call::Month(MonthClosing { key, month: *month, reopen: false, comment })))
    };
    let calls = months.iter().map(call).collect::<Result<Vec<(AccountId, Call)>, StoreError>>()?;
    let mut load = Load::default();
    calls.iter().for_each(|(id, call)| load.call(id, call, kit.app.now()));
    let close = |batch: &mut Batch| {
        let one = |(id, call): &(AccountId, Call)| {
            let ledger = batch.ledgers.get_mut(id).filter(|ledger| ledger.reopened_through.is_none())?;
            Some(ledger.apply(call, &batch.prices, kit.app.now()))
        };
        calls.iter().map(one).collect()
    };
    let store = &kit.app.store;
    Ok(if dry_run { close(&mut store.load(&load).await?) } else { store.update(&load, close).await? })
}

fn unreported(slot: Slot, accounts: u64) -> String {
    let month = match slot {
        Slot::Month(month, _) => month.to_string(),
        other => other.to_string(),
    };
    format!(
        "{slot} was not reported, so it stays open to late usage ({}); `creditd run monthly-report --month {month}` \
         reports it",
        counted(accounts, "account")
    )
}
