//! Why credits lapsed: what a statement says beside the figure, which only says how many.

use super::super::calendar::Instant;
use super::super::credits::{CreditType, Credits};
use super::super::transaction::Kind;
use super::Rows;
use std::collections::BTreeMap;

/// Why credits lapsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LapseCause {
    /// A bonus ended at this instant (R13).
    BonusEnded(Instant),
    /// The month ended, and its free credits with it.
    MonthEnded,
    /// They were refunded when their grant was over (R11).
    CameBackLate,
}

/// Credits that lapsed for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// Of which type.
    pub credit_type: CreditType,
    /// Why.
    pub cause: LapseCause,
    /// How many; at least 1.
    pub credits: Credits,
}

impl Rows {
    /// What lapsed in the range `[from, to)`: of a type and a cause once, free credits first, in the order of the causes. `month_ended` says that
    /// the range ends with a month. Sums stop at the ends of the range of credits.
    ///
    /// What is refunded to a grant that is over lapses at once, and counts at the very instant of its refund; all else lapses
    /// where its grant ends, a microsecond after where it counts.
    #[must_use]
    pub fn lapses(&self, (from, to): (Instant, Instant), month_ended: bool) -> Vec<Lapse> {
        let mut at: BTreeMap<(CreditType, Instant), (i128, i128)> = BTreeMap::new();
        for row in self.iter().filter(|row| from <= row.counts_at && row.counts_at < to) {
            for credit_type in [CreditType::Free, CreditType::Purchased] {
                let delta = i128::from(row.delta.get(credit_type).get());
                match row.kind {
                    _ if delta == 0 => {}
                    // What late usage takes back of a lapse is a row of the same instant.
                    Kind::Expiry => at.entry((credit_type, row.counts_at)).or_default().0 -= delta,
                    Kind::Refund => at.entry((credit_type, row.counts_at)).or_default().1 += delta,
                    _ => {}
                }
            }
        }
        let mut lapses: BTreeMap<(CreditType, LapseCause), i128> = BTreeMap::new();
        for ((credit_type, counts_at), (lapsed, refunded)) in at {
            let came_back = lapsed.min(refunded).max(0);
            let ends_at = counts_at.plus_micros(1);
            let cause = match credit_type {
                CreditType::Free if month_ended && ends_at == to => LapseCause::MonthEnded,
                _ => LapseCause::BonusEnded(ends_at),
            };
            *lapses.entry((credit_type, cause)).or_default() += lapsed - came_back;
            *lapses.entry((credit_type, LapseCause::CameBackLate)).or_default() += came_back;
        }
        let lapse = |((credit_type, cause), credits): ((CreditType, LapseCause), i128)| Lapse {
            credit_type,
            cause,
            credits: Credits::new(i64::try_from(credits).unwrap_or(i64::MAX).min(Credits::LIMIT.get())),
        };
        lapses.into_iter().filter(|(_, credits)| *credits > 0).map(lapse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Name, Outcome, Row};
    use super::*;
    use crate::core::credits::Split;

    fn row(kind: Kind, counts_at: i64, free: i64, purchased: i64) -> Row {
        Row {
            account: 0,
            counts_at: Instant::from_micros(counts_at),
            kind,
            outcome: Outcome::NotAnAction,
            name: Name::NONE,
            delta: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
        }
    }

    fn shown(rows: &[Row], month_ended: bool) -> String {
        let rows: Rows = rows.iter().copied().collect();
        let lapses = rows.lapses((Instant::from_micros(100), Instant::from_micros(200)), month_ended);
        let shown = |lapse: Lapse| {
            let why = match lapse.cause {
                LapseCause::MonthEnded => "month".to_owned(),
                LapseCause::BonusEnded(at) => format!("bonus at {}", at.micros()),
                LapseCause::CameBackLate => "came back".to_owned(),
            };
            format!("{} {} {why}", lapse.credits, lapse.credit_type.as_str())
        };
        lapses.into_iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_lapse_has_its_cause() {
        let rows = [
            row(Kind::Expiry, 99, -1, 0), // before the range
            row(Kind::Expiry, 149, -30, -4),
            row(Kind::Expiry, 149, 10, 0), // late usage took back some of it
            row(Kind::Refund, 160, 7, 0),
            row(Kind::Expiry, 160, -5, 0), // the other two went to a grant that is not over
            row(Kind::Refund, 170, 3, 0),
            row(Kind::Expiry, 170, -3, 0),
            row(Kind::Charge, 180, -9, -9),
            row(Kind::Expiry, 199, -200, -40),
            row(Kind::Expiry, 200, -1, 0), // behind it
        ];
        assert_eq!(
            shown(&rows, true),
            "20 free bonus at 150, 200 free month, 8 free came back, 4 purchased bonus at 150, 40 purchased bonus at 200"
        );
        assert_eq!(
            shown(&rows, false),
            "20 free bonus at 150, 200 free bonus at 200, 8 free came back, 4 purchased bonus at 150, 40 purchased bonus at 200"
        );
        assert_eq!(shown(&[row(Kind::Expiry, 149, -5, 0), row(Kind::Expiry, 149, 5, 0)], true), "");
    }
}
