//! `reset`: the month-start work. Lapses the unused free credits, keeps the purchased ones, allocates the new month.
//!
//! Balances are right without it (R3): it merely writes for all accounts what every touch of an account would write.

use super::{Done, JobError, Kit, Run};
use crate::core::calendar::Instant;
use crate::core::credits::Credits;
use crate::core::ledger::{Ledger, Refusal};
use crate::core::transaction::Kind;
use crate::report::{counted, grouped_count};
use crate::store::{Batch, Load};

/// Totals of a reset.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accounts: u64,
    months: u64,
    lapsed: i64,
    allocated: i64,
}

/// Brings every account whose month has turned up to now.
///
/// # Errors
/// [`JobError`].
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let app = &kit.app;
    let (mut done, mut totals) = (Done::default(), Totals::default());
    let mut after = None;
    loop {
        run.check_stop()?;
        let now = app.now();
        let ids = app.store.accounts_due(now, after.as_ref(), app.settings.jobs.batch_accounts).await?;
        let Some(last) = ids.last().cloned() else { break };
        let load = Load::accounts(&ids, now);
        let planned = if run.dry_run {
            let mut batch = app.store.load(&load).await?;
            plan(&mut batch, now)
        } else {
            app.store.update(&load, |batch| plan(batch, now)).await?
        };
        for answer in planned {
            match answer {
                Ok(Some((line, part))) => {
                    done.line(line);
                    totals.accounts += 1;
                    totals.months += part.months;
                    totals.lapsed = totals.lapsed.saturating_add(part.lapsed);
                    totals.allocated = totals.allocated.saturating_add(part.allocated);
                }
                Ok(None) => {}
                Err(refusal) => done.problems.push(refusal.to_string()),
            }
        }
        after = Some(last);
        (run.progress)(totals.accounts, None);
    }
    done.summary = format!(
        "{}: {} opened with {}, {} lapsed unused",
        counted(totals.accounts, "account"),
        counted(totals.months, "month"),
        counted(totals.allocated.unsigned_abs(), "free credit"),
        grouped_count(totals.lapsed.unsigned_abs())
    );
    Ok(done)
}

/// Rolls every ledger of the batch over (R2, R3), and says what that did to each. An account that cannot be moved on is
/// a problem of its own and holds up no other.
fn plan(batch: &mut Batch, now: Instant) -> Vec<Result<Option<(String, Totals)>, Refusal>> {
    batch.ledgers.values_mut().map(|ledger| ledger.roll_over(now, now).map(|()| described(ledger))).collect()
}

fn described(ledger: &Ledger) -> Option<(String, Totals)> {
    let sum = |kind: Kind| {
        let of_kind = ledger.rows().iter().filter(|row| row.kind == kind);
        of_kind.map(|row| row.delta.total()).fold(Credits::ZERO, |sum, c| sum.plus(c).unwrap_or(sum)).get()
    };
    let months = ledger.rows().iter().filter(|row| row.kind == Kind::Allocation).count() as u64;
    let part = Totals { accounts: 1, months, lapsed: -sum(Kind::Expiry), allocated: sum(Kind::Allocation) };
    let through = ledger.opened_through.map_or_else(|| "none".to_owned(), |month| month.to_string());
    let line = format!(
        "{}: lapse {}, allocate {} for {}, through {through}",
        ledger.account.id,
        counted(part.lapsed.unsigned_abs(), "free credit"),
        grouped_count(part.allocated.unsigned_abs()),
        counted(months, "month")
    );
    ledger.is_changed().then_some((line, part))
}
