//! What a statement said: the figures that are frozen with it, and how later ones differ (R14).

use super::super::credits::Credits;
use super::{Column, Counts, Figures, LineType};
use serde::{Deserialize, Serialize};

/// One of the figures.
pub type FigureOf = fn(&Figures) -> Credits;
/// One of the counts.
type CountOf = fn(&Counts) -> u64;

/// The figures of the equation, in its order.
pub const FIGURES: [(Column, FigureOf); 10] = [
    (Column::CarriedIn, |figures| figures.carried_in),
    (Column::Allocated, |figures| figures.allocated),
    (Column::Purchased, |figures| figures.purchased),
    (Column::Bonus, |figures| figures.bonus),
    (Column::Consumed, |figures| figures.consumed),
    (Column::Refunded, |figures| figures.refunded),
    (Column::Lapsed, |figures| figures.lapsed),
    (Column::Returned, |figures| figures.returned),
    (Column::Adjusted, |figures| figures.adjusted),
    (Column::Remaining, |figures| figures.remaining),
];

const COUNTS: [(Column, CountOf); 3] = [
    (Column::Succeeded, |counts| counts.succeeded),
    (Column::Failed, |counts| counts.failed),
    (Column::Refused, |counts| counts.refused),
];

/// The figures that the statement of one account says of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Free credits.
    pub free: Figures,
    /// Purchased credits.
    pub purchased: Figures,
    /// How actions ended.
    pub counts: Counts,
}

/// A figure that is another now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub column: Column,
    /// Of which credits; none for a count.
    pub credit_type: Option<LineType>,
    /// What was said.
    pub before: i128,
    /// What it is.
    pub after: i128,
}

impl Said {
    /// Every figure that is another than in `before`: those of the equation in its order, free before purchased, then counts.
    #[must_use]
    pub fn changes_since(&self, before: &Said) -> Vec<Changed> {
        let mut changes = Vec::new();
        for (column, figure) in FIGURES {
            for (credit_type, was, is) in
                [(LineType::Free, &before.free, &self.free), (LineType::Purchased, &before.purchased, &self.purchased)]
            {
                let (before, after) = (figure(was).get().into(), figure(is).get().into());
                changes.push(Changed { column, credit_type: Some(credit_type), before, after });
            }
        }
        for (column, count) in COUNTS {
            let (before, after) = (count(&before.counts).into(), count(&self.counts).into());
            changes.push(Changed { column, credit_type: None, before, after });
        }
        changes.retain(|changed| changed.before != changed.after);
        changes
    }

    /// True where nobody did anything: free credits came and lapsed at most.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let of_use = |figures: &Figures| {
            let Figures { purchased, bonus, consumed, refunded, returned, adjusted, .. } = *figures;
            [purchased, bonus, consumed, refunded, returned, adjusted].into_iter().all(Credits::is_zero)
        };
        of_use(&self.free) && of_use(&self.purchased) && self.counts == Counts::default()
    }
}
