//! The only "now" of the library (DESIGN 9).
//!
//! Everything else is handed an [`Instant`]. A fixed clock (`--now`, `CREDITD_NOW`) makes any scenario replayable
//! through the real binary; that it is only used on a sandbox database is checked where the database is opened.

use crate::core::calendar::Instant;

/// Where "now" comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The clock of the machine.
    #[default]
    System,
    /// Always this instant: for sandboxes.
    Fixed(Instant),
}

impl Clock {
    /// The present instant. The machine's clock may step backwards between two calls; whoever needs order
    /// takes the later of this and what is stored.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(self) -> Instant {
        match self {
            Clock::System => Instant::from_micros(chrono::Utc::now().timestamp_micros()),
            Clock::Fixed(instant) => instant,
        }
    }

    /// True when time does not pass by itself.
    #[must_use]
    pub const fn is_fixed(self) -> bool {
        matches!(self, Clock::Fixed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_stands_and_the_system_clock_lies_in_our_time() {
        let fixed = Clock::Fixed(Instant::parse("2013-03-01T00:00:00Z").expect("valid"));
        assert_eq!(fixed.now(), fixed.now());
        assert!(Clock::System.now() > fixed.now());
    }
}
