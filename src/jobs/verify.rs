//! `verify`: proves conservation over the whole ledger (R16).

use super::{Done, JobError, Kit, Run};

/// Differing rows named in the error; `creditd verify` shows them all.
const DRIFTS_NAMED: usize = 3;

/// Recomputes everything from the transactions.
///
/// # Errors
/// [`JobError::Drift`] when the ledger does not add up.
pub async fn run(kit: &Kit, run: &mut Run<'_>) -> Result<Done, JobError> {
    let (checks, drifts) = kit.app.store.verify(None, run.progress).await?;
    if drifts.is_empty() {
        return Ok(Done {
            summary: format!("{checks} checks over the whole ledger, no difference"),
            ..Done::default()
        });
    }
    let named: Vec<String> = drifts
        .iter()
        .take(DRIFTS_NAMED)
        .map(|d| format!("{}: {}: {} should be {}, is {}", d.check, d.account, d.what, d.expected, d.found))
        .collect();
    let what = format!("the ledger does not add up; `creditd verify` shows all differences. {}", named.join("; "));
    Err(JobError::Drift(what))
}
