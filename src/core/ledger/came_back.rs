//! What came back to a grant, and since when it is there (R11, R14).
//!
//! Usage told late may take of a grant what was there at its own instant and at every later one: else some instant would
//! have had less than nothing. Only refunds make a remainder grow. So that minimum is what is unspent now, less what came
//! back after the usage happened and is still there. And what is taken at an instant takes first what came back last
//! before it: let `m(t)` be the least that was there from `t` on. Taking `c` at `a` leaves `m(t) - c` from `a` on, and
//! before `a` the lesser of `m(t)` and `m(a) - c`: of what came back between `t` and `a` so much is used up, and no more.
//! Rows of one instant count in the order in which they were recorded.
//!
//! So a short list, which each row moves on, says what all rows since would say.

use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Overflow};

/// Most entries of one grant. Thousands of refunds that nobody spends would otherwise be written again with each of them.
/// Beyond it the two oldest count as if all had come back at the later one, so late usage may have less of it than there was,
/// never more.
pub const CAME_BACK_MAX: usize = 32;

/// Credits that came back to a grant by refunds and were not taken since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameBack {
    /// When, and how many: oldest first, no instant twice, none of them 0.
    parts: Vec<(Instant, Credits)>,
}

impl CameBack {
    /// The list as it was stored.
    #[must_use]
    pub fn of(parts: Vec<(Instant, Credits)>) -> CameBack {
        CameBack { parts }
    }

    /// When, and how many credits; oldest first.
    #[must_use]
    pub fn parts(&self) -> &[(Instant, Credits)] {
        &self.parts
    }

    /// Credits came back at `at`.
    pub(super) fn add(&mut self, at: Instant, credits: Credits) -> Result<(), Overflow> {
        let place = self.parts.partition_point(|(earlier, _)| *earlier < at);
        match self.parts.get_mut(place) {
            Some((same, there)) if *same == at => *there = there.plus(credits)?,
            _ => self.parts.insert(place, (at, credits)),
        }
        if self.parts.len() > CAME_BACK_MAX {
            let (_, oldest) = self.parts.remove(0);
            self.parts[0].1 = self.parts[0].1.plus(oldest)?;
        }
        Ok(())
    }

    /// Credits were taken at `at`: those first that came back last before it.
    pub(super) fn take(&mut self, at: Instant, credits: Credits) -> Result<(), Overflow> {
        let mut missing = credits;
        let mut place = self.parts.partition_point(|(earlier, _)| *earlier <= at);
        while place > 0 && !missing.is_zero() {
            place -= 1;
            let (_, there) = &mut self.parts[place];
            let part = missing.min(*there);
            *there = there.minus(part)?;
            missing = missing.minus(part)?;
            if there.is_zero() {
                self.parts.remove(place);
            }
        }
        Ok(())
    }

    /// What was not there at `at` yet.
    pub(super) fn later_than(&self, at: Instant) -> Result<Credits, Overflow> {
        let later = self.parts.iter().rev().take_while(|(came_at, _)| *came_at > at);
        later.map(|(_, credits)| *credits).try_fold(Credits::ZERO, Credits::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros)
    }

    fn shown(came_back: &CameBack) -> Vec<(i64, i64)> {
        came_back.parts().iter().map(|(at, credits)| (at.micros(), credits.get())).collect()
    }

    #[test]
    fn what_came_back_last_is_taken_first() {
        let mut came_back = CameBack::default();
        for (when, credits) in [(10, 5), (30, 7), (20, 6), (30, 1)] {
            came_back.add(at(when), Credits::new(credits)).expect("small");
        }
        assert_eq!(shown(&came_back), [(10, 5), (20, 6), (30, 8)]);
        let later = |t| came_back.later_than(at(t)).expect("small").get();
        assert_eq!([later(9), later(10), later(20), later(29), later(30)], [19, 14, 8, 8, 0]);
        came_back.take(at(29), Credits::new(8)).expect("small");
        assert_eq!(shown(&came_back), [(10, 3), (30, 8)]);
        came_back.take(at(40), Credits::new(9)).expect("small");
        assert_eq!(shown(&came_back), [(10, 2)]);
        came_back.take(at(9), Credits::new(9)).expect("small");
        assert_eq!(shown(&came_back), [(10, 2)]);
        came_back.take(at(10), Credits::new(9)).expect("small");
        assert_eq!(shown(&came_back), []);
    }

    #[test]
    fn more_than_there_is_room_for_is_late_rather_than_early() {
        let mut came_back = CameBack::default();
        for when in 0..=i64::try_from(CAME_BACK_MAX).expect("small") {
            came_back.add(at(when), Credits::new(1)).expect("small");
        }
        assert_eq!(came_back.parts().len(), CAME_BACK_MAX);
        assert_eq!(shown(&came_back)[..2], [(1, 2), (2, 1)]);
    }
}
