//! Whether the clock of the machine can be believed, before jobs act on it by themselves.
//!
//! A month that is opened is opened, and what lapses has lapsed: a machine that wakes up in the wrong year must not do that to
//! every account. What was recorded is the only other clock that there always is.

use super::App;
use crate::core::calendar::Instant;
use crate::store::StoreError;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// How many seconds the clock may be behind what was recorded: clocks are set, and those of two machines differ.
pub const BEHIND_SECONDS_MAX: i64 = 300;
/// How many days it may be ahead of everything that was recorded: an outage of three months is caught up by itself.
pub const AHEAD_DAYS_MAX: i64 = 100;

/// For how long what was recorded last is known well enough.
const NEWEST_ROW_SECONDS: i64 = 180;

/// Why the clock is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClock {
    /// It is earlier than what was recorded.
    #[error(
        "the clock says {now}, but something was recorded at {newest}. Set the clock right; or, where it was wrong then, wait \
         until it is later than that"
    )]
    Behind {
        /// The clock.
        now: Instant,
        /// The newest that was recorded.
        newest: Instant,
    },
    /// It is much later than what was recorded.
    #[error(
        "the clock says {now}, and the newest that was recorded is of {newest}, more than {AHEAD_DAYS_MAX} days before. Set \
         the clock right; or, where it is right, `creditd run reset \
         --clock-is-right` opens the months since then, and jobs go on"
    )]
    Ahead {
        /// The clock.
        now: Instant,
        /// The newest that was recorded.
        newest: Instant,
    },
}

/// Whether `now` can be believed where the newest that was recorded is of `newest`.
#[must_use]
pub fn judge(now: Instant, newest: Instant) -> Option<BadClock> {
    if now.plus_seconds(BEHIND_SECONDS_MAX) < newest {
        Some(BadClock::Behind { now, newest })
    } else if now > newest.plus_days(AHEAD_DAYS_MAX) {
        Some(BadClock::Ahead { now, newest })
    } else {
        None
    }
}

/// What was recorded last, as it was known when that was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewestRow {
    asked_at: Instant,
    recorded_at: Option<Instant>,
}

/// Since when zones are used, by their names.
pub(super) type ZonesUsed = BTreeMap<&'static str, Instant>;

impl App {
    /// Since when `zone` is used, as [`crate::store::Store::zone_used_since`] says. That reads all accounts of the zone, so it is asked
    /// once in a process: when the first use is over, no later account changes it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn zone_used_since(&self, zone: Tz) -> Result<Option<Instant>, StoreError> {
        let mut known = self.zones_used.lock().await;
        if let Some(since) = known.get(zone.name()) {
            return Ok(Some(*since));
        }
        let since = self.store.zone_used_since(zone).await?;
        if let Some(since) = since.filter(|since| *since <= self.now()) {
            known.insert(zone.name(), since);
        }
        Ok(since)
    }

    /// Why jobs do nothing by themselves at the present instant; none where it can be believed, as on a sandbox, where it may be
    /// any. When the newest row was recorded is asked every few minutes: whoever runs jobs also leaves newer marks, but charges come from
    /// machines whose clock is another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bad_clock(&self) -> Result<Option<BadClock>, StoreError> {
        if self.store.meta().sandbox {
            return Ok(None);
        }
        let newest = [self.newest_row().await?, self.store.newest_run_at().await?].into_iter().flatten().max();
        Ok(judge(self.now(), newest.unwrap_or(Instant::MIN).max(self.store.meta().created_at)))
    }

    /// When the newest row was recorded, as far as was known a while ago: to ask every account takes a while where there are a million.
    async fn newest_row(&self) -> Result<Option<Instant>, StoreError> {
        let now = self.now();
        let mut known = self.newest_row.lock().await;
        if let Some(NewestRow { asked_at, recorded_at }) = *known
            && (asked_at..=asked_at.plus_seconds(NEWEST_ROW_SECONDS)).contains(&now)
        {
            return Ok(recorded_at);
        }
        let recorded_at = self.store.newest_recorded_at().await?;
        *known = Some(NewestRow { asked_at: now, recorded_at });
        Ok(recorded_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_near_what_was_recorded() {
        let at = |text: &str| Instant::parse(text).expect("an instant");
        let newest = at("2026-03-01T12:00:00Z");
        for (now, says) in [
            ("2026-03-01T11:55:00Z", None),
            ("2026-03-01T11:54:59Z", Some("Set the clock right; or, where it was wrong then, wait")),
            ("2026-03-01T12:00:00Z", None),
            ("2026-06-09T12:00:00Z", None),
            ("2026-06-09T12:00:01Z", Some("`creditd run reset --clock-is-right` opens the months since then")),
        ] {
            let said = judge(at(now), newest).map(|bad| bad.to_string());
            assert_eq!(said.is_some(), says.is_some(), "{now}");
            assert!(said.unwrap_or_default().contains(says.unwrap_or_default()), "{now}");
        }
    }
}
