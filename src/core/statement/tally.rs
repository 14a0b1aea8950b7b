//! The sums of a report before they are put in order: what happened in every place where anything did.

use super::super::credits::Split;
use super::super::transaction::Kind;
use super::groups::is_use;
use super::{Counts, LINES_PER_PERIOD, Outcome, Place, REPORT_LINES_MAX, ReportError};
use std::borrow::Cow;

/// The keys of one place: every kind with every outcome.
const KEYS_PER_PLACE: u64 = (Kind::ALL.len() * Outcome::ALL.len()) as u64;
/// Groups of one cell: names are numbered by 32 bits.
const GROUPS_PER_CELL: u64 = 1 << 32;
/// Sums that are kept before those of one key are joined: twice what a report may have, so that joining is rare.
const SUMS_MAX: usize = 4_000_000;
/// Slots in which keys are found again, where rows of one key come after few others: as many as the keys that come in turns, a
/// few times over. A power of two, as the other.
const SLOTS: usize = 1 << 13;
/// The same where rows come in no order: as many as there are sums, in which most keys have one to themselves.
const SLOTS_OF_SCATTERED: usize = 1 << 22;

/// What is summed apart, as a number: the rows of one kind and outcome in one place. Keys are in the order of their cells,
/// and within a cell of their groups. Cells are bounded with the lines of a report, so all fit far below [`SumKey::OUTSIDE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SumKey(pub u64);

impl SumKey {
    /// The key of rows that no report counts.
    pub const OUTSIDE: SumKey = SumKey(u64::MAX);

    /// The key of rows of `kind` and `outcome` in `place`.
    #[must_use]
    pub fn new(place: Place, kind: Kind, outcome: Outcome) -> SumKey {
        let place = place.cell as u64 * GROUPS_PER_CELL + u64::from(place.group);
        SumKey(place * KEYS_PER_PLACE + (kind as usize * Outcome::ALL.len() + outcome as usize) as u64)
    }

    /// Where its rows count.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "remainders, and cells, which REPORT_LINES_MAX bounds")]
    pub const fn place(self) -> Place {
        let place = self.0 / KEYS_PER_PLACE;
        Place { cell: (place / GROUPS_PER_CELL) as usize, group: (place % GROUPS_PER_CELL) as u32 }
    }

    /// The lowest key of a cell.
    const fn first_of(cell: usize) -> SumKey {
        SumKey(cell as u64 * GROUPS_PER_CELL * KEYS_PER_PLACE)
    }

    const fn within(self) -> usize {
        (self.0 % KEYS_PER_PLACE) as usize
    }

    /// One of `slots`, a power of two; neighbours are in different ones.
    #[expect(clippy::cast_possible_truncation, reason = "the highest bits alone are left")]
    const fn slot(self, slots: usize) -> usize {
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - slots.trailing_zeros())) as usize
    }

    /// The kind of its rows.
    #[must_use]
    pub const fn kind(self) -> Kind {
        Kind::ALL[self.within() / Outcome::ALL.len()]
    }

    /// The outcome of its rows.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        Outcome::ALL[self.within() % Outcome::ALL.len()]
    }
}

/// The sum of the rows under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Of what.
    pub key: SumKey,
    /// The sum of the signed changes.
    pub delta: Split,
    /// How many rows.
    pub rows: u64,
}

impl Sum {
    /// Its rows as counts of actions.
    pub(super) fn counts(&self) -> Counts {
        let none = Counts::default();
        match self.key.outcome() {
            Outcome::NotAnAction => none,
            Outcome::Succeeded => Counts { succeeded: self.rows, ..none },
            Outcome::Failed => Counts { failed: self.rows, ..none },
            Outcome::Refused => Counts { refused: self.rows, ..none },
        }
    }
}

/// The sums of a report, one per key, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(Vec<Sum>);

impl Tally {
    /// Sums of some rows, several of one key among them, in any order.
    ///
    /// # Errors
    /// [`ReportError::Overflow`] when a sum is out of range, [`ReportError::TooManyLines`] when there are more places
    /// than a report has lines.
    pub fn of(mut sums: Vec<Sum>) -> Result<Tally, ReportError> {
        // Rows mostly come in order of account, and so do cells; those of the groups of one are brought in order first. What
        // is left are runs, as many as files were read, which this sort only merges.
        for of_cell in sums.chunk_by_mut(|one, other| one.key.place().cell == other.key.place().cell) {
            of_cell.sort_unstable_by_key(|sum| sum.key);
        }
        sums.sort_by_key(|sum| sum.key);
        let mut kept = 0;
        let (mut places, mut last): (u64, Option<Place>) = (0, None);
        for at in 0..sums.len() {
            let sum = sums[at];
            if kept > 0 && sums[kept - 1].key == sum.key {
                let same = &mut sums[kept - 1];
                same.delta = same.delta.plus(sum.delta)?;
                same.rows = same.rows.saturating_add(sum.rows);
                continue;
            }
            // What is no use of credits has no line in a breakdown, and else one in each cell, which is counted beforehand.
            if is_use(sum.key.kind()) && last != Some(sum.key.place()) {
                last = Some(sum.key.place());
                places += 1;
            }
            sums[kept] = sum;
            kept += 1;
        }
        sums.truncate(kept);
        let found = places * LINES_PER_PERIOD as u64;
        if found > REPORT_LINES_MAX {
            return Err(ReportError::TooManyLines { found, max: REPORT_LINES_MAX });
        }
        Ok(Tally(sums))
    }

    /// These sums and `others` together.
    ///
    /// # Errors
    /// As [`Tally::of`].
    pub fn with(&self, others: Tally) -> Result<Cow<'_, Tally>, ReportError> {
        if others.0.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let mut sums = others.0;
        sums.extend_from_slice(&self.0);
        Tally::of(sums).map(Cow::Owned)
    }

    /// The sums, in the order of their keys.
    #[must_use]
    pub fn sums(&self) -> &[Sum] {
        &self.0
    }

    /// The sums of one cell, those of a group beside each other. Cells are nearly always asked for in order: `at` is where to
    /// look, and moves on.
    pub(super) fn of_cell(&self, cell: usize, at: &mut usize) -> &[Sum] {
        let (first, next) = (SumKey::first_of(cell), SumKey::first_of(cell + 1));
        if at.checked_sub(1).and_then(|before| self.0.get(before)).is_some_and(|sum| sum.key >= first) {
            *at = 0;
        }
        let of_earlier = self.0[*at..].iter().take_while(|sum| sum.key < first).count();
        let begin = *at + of_earlier;
        *at = begin + self.0[begin..].iter().take_while(|sum| sum.key < next).count();
        &self.0[begin..*at]
    }
}

/// Adds up rows as they come, in any order. [`Adding::default`] is quick where rows of one key come after few others, as
/// those of an account do where accounts come one after the other.
#[derive(Debug)]
pub struct Adding {
    /// Several of one key may be among them, which [`Tally::of`] joins.
    sums: Vec<Sum>,
    /// Where in `sums` the newest sum is of those keys that share a slot: four bytes each, so that the most are kept near.
    newest: Vec<u32>,
    /// How many sums there may be before those of one key are joined.
    limit: usize,
}

impl Default for Adding {
    fn default() -> Adding {
        Adding::with_slots(SLOTS)
    }
}

impl Adding {
    /// For rows that come in no order at all: their sums are found again among millions, for 16 MiB of memory.
    #[must_use]
    pub fn scattered() -> Adding {
        Adding::with_slots(SLOTS_OF_SCATTERED)
    }

    fn with_slots(slots: usize) -> Adding {
        Adding { sums: Vec::new(), newest: vec![0; slots], limit: SUMS_MAX }
    }

    /// Adds `rows` rows of one key, whose changes sum to `delta`.
    ///
    /// # Errors
    /// As [`Tally::of`].
    pub fn add(&mut self, key: SumKey, delta: Split, rows: u64) -> Result<(), ReportError> {
        let slots = self.newest.len();
        let newest = &mut self.newest[key.slot(slots)];
        match self.sums.get_mut(*newest as usize) {
            Some(sum) if sum.key == key => {
                sum.delta = sum.delta.plus(delta)?;
                sum.rows = sum.rows.saturating_add(rows);
            }
            _ => {
                // A report has far fewer sums than 32 bits number; what has no number is joined at the end.
                *newest = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
                self.sums.push(Sum { key, delta, rows });
                if self.sums.len() >= self.limit {
                    self.sums = Tally::of(std::mem::take(&mut self.sums))?.0;
                    // Joining costs more than it saves where few have the same key.
                    self.limit = SUMS_MAX.max(2 * self.sums.len());
                }
            }
        }
        Ok(())
    }

    /// The sums.
    ///
    /// # Errors
    /// As [`Tally::of`].
    pub fn finish(self) -> Result<Tally, ReportError> {
        Tally::of(self.sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::credits::Credits;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = SumKey> {
        let place = (0..4_usize, 0..3_u32).prop_map(|(cell, group)| Place { cell, group });
        let kind = prop::sample::select(Kind::ALL);
        (place, kind, prop::sample::select(Outcome::ALL))
            .prop_map(|(place, kind, outcome)| SumKey::new(place, kind, outcome))
    }

    proptest! {
        #[test]
        fn a_key_is_what_it_is_of(
            cell in 0..usize::try_from(REPORT_LINES_MAX).expect("small"),
            group in any::<u32>(),
            kind in prop::sample::select(Kind::ALL),
            outcome in prop::sample::select(Outcome::ALL),
        ) {
            let place = Place { cell, group };
            let key = SumKey::new(place, kind, outcome);
            prop_assert!(key < SumKey::OUTSIDE);
            prop_assert_eq!((key.place(), key.kind(), key.outcome()), (place, kind, outcome));
        }

        #[test]
        fn however_rows_come_their_sums_are_the_same(rows in prop::collection::vec((key(), -9_i64..9), 0..60)) {
            // As it is for rows of accounts in turn, as it is for rows in no order, and so that nearly all keys share a slot.
            let mut all = [Adding::default(), Adding::scattered(), Adding::with_slots(2)];
            let mut plain = std::collections::BTreeMap::<SumKey, (i64, u64)>::new();
            for (key, change) in rows {
                let delta = Split { free: Credits::new(change), purchased: Credits::new(-change) };
                for adding in &mut all {
                    adding.add(key, delta, 1).expect("few");
                }
                let sum = plain.entry(key).or_default();
                *sum = (sum.0 + change, sum.1 + 1);
            }
            let plain: Vec<_> = plain.into_iter().collect();
            for adding in all {
                let tally = adding.finish().expect("few");
                let found: Vec<_> = tally.sums().iter().map(|sum| (sum.key, (sum.delta.free.get(), sum.rows))).collect();
                prop_assert_eq!(&found, &plain);
            }
        }
    }
}
