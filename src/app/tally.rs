//! What came of the charges of this process, counted for metrics. The ledger has every one of them; this only counts.

use super::{Answer, AppError};
use crate::core::transaction::{Reason, Status, words};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

words! {
    /// What came of a charge.
    ChargeOutcome {
        /// The credits were taken.
        Success = "success",
        /// It had come before (R9).
        Replayed = "replayed",
        /// The credits did not cover it (R6).
        InsufficientCredits = "insufficient_credits",
        /// The user's cap did not allow it (R17).
        UserCap = "user_cap",
        /// The platform told of an action that had failed there.
        Failed = "failed",
        /// A rule forbade it, and nothing was written.
        Refused = "refused",
        /// The ledger could not answer.
        Error = "error",
    }
}

impl ChargeOutcome {
    /// What the answer to a charge says.
    #[must_use]
    pub const fn of(answer: &Result<Answer, AppError>) -> ChargeOutcome {
        match answer {
            Ok(answer) if answer.replayed => ChargeOutcome::Replayed,
            Ok(answer) => match (answer.row.status, answer.row.reason) {
                (Status::Success, _) => ChargeOutcome::Success,
                (Status::Failed, Some(Reason::InsufficientCredits)) => ChargeOutcome::InsufficientCredits,
                (Status::Failed, Some(Reason::UserCap)) => ChargeOutcome::UserCap,
                (Status::Failed, None) => ChargeOutcome::Failed,
            },
            Err(AppError::Store(_) | AppError::Sealed(_)) => ChargeOutcome::Error,
            Err(_) => ChargeOutcome::Refused,
        }
    }
}

/// The counts.
#[derive(Clone, Debug)]
pub(super) struct Tally(Arc<[AtomicU64]>);

impl Default for Tally {
    fn default() -> Tally {
        Tally(ChargeOutcome::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl Tally {
    pub(super) fn count(&self, outcome: ChargeOutcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (ChargeOutcome, u64)> {
        ChargeOutcome::ALL
            .iter()
            .zip(self.0.iter())
            .map(|(outcome, counter)| (*outcome, counter.load(Ordering::Relaxed)))
    }
}
