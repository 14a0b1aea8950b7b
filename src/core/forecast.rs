//! When the credits of an account run out, at the pace of the last seven days (DESIGN 5). Integers only.
//!
//! The pace is what was used net of refunds in the window, per 24 hours, rounded half up to whole credits; that figure
//! is only for showing. Instants are reckoned from the exact quotient and rounded down to the microsecond, so a
//! forecast never says later than the arithmetic does. Free credits are used before purchased ones (R5).
//!
//! A forecast looks at the credits of now. Beyond the next reset that is not what will be there (free credits lapse, a
//! new allowance comes), so [`Outlook`] answers only what an admin asks: is there a gap before the reset?

use super::calendar::Instant;
use super::credits::{Credits, Split};

/// How far back the pace looks, in days of 24 hours.
pub const PACE_DAYS: i64 = 7;
/// Forecasts further away than this many days are none at all.
pub const FORECAST_DAYS_MAX: i64 = 366;

const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;

/// What a forecast is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForecastInput {
    /// Credits used from `since` to `now`: gross charges less refunds. Negative counts as none.
    pub used: Credits,
    /// Where the window begins, see [`window_start`].
    pub since: Instant,
    /// The present.
    pub now: Instant,
    /// What is available now.
    pub available: Split,
    /// When the next free credits are allocated.
    pub next_reset_at: Instant,
}

/// What lies between now and the next reset, at this pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing is available.
    Empty,
    /// Nothing was used, or the account is less than a day old.
    Unknown,
    /// Everything is used up before the reset.
    RunsOut,
    /// The free credits are used up before the reset, the purchased ones are not.
    PurchasedCover,
    /// The free credits suffice.
    FreeLast,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Credits a day, rounded half up; 0 can mean "less than one every two days". None when there is less than a day
    /// of history.
    pub pace_per_day: Option<Credits>,
    /// When the present free credits are used up at this pace. None without a pace or beyond [`FORECAST_DAYS_MAX`].
    pub free_runs_out_at: Option<Instant>,
    /// The same for free and purchased together.
    pub runs_out_at: Option<Instant>,
    /// Whether there is a gap before the reset.
    pub outlook: Outlook,
}

/// Where the window of the pace begins for an account opened at `opened_at`: [`PACE_DAYS`] back, or when it opened.
#[must_use]
pub fn window_start(opened_at: Instant, now: Instant) -> Instant {
    now.plus_days(-PACE_DAYS).max(opened_at)
}

/// Reckons when the credits run out.
#[must_use]
pub fn forecast(input: &ForecastInput) -> Forecast {
    let window_micros = input.now.micros().saturating_sub(input.since.micros());
    let known = window_micros >= MICROS_PER_DAY;
    let pace = known.then(|| Pace { used: input.used.max(Credits::ZERO), window_micros });

    let used_up = |credits: Credits| pace.and_then(|pace| pace.used_up_after_micros(credits));
    let (free_micros, total_micros) = (used_up(input.available.free), used_up(input.available.total()));
    let to_reset = i128::from(input.next_reset_at.micros()) - i128::from(input.now.micros());
    let outlook = match (free_micros, total_micros) {
        _ if input.available.total() <= Credits::ZERO => Outlook::Empty,
        (_, Some(total)) if total < to_reset => Outlook::RunsOut,
        (Some(free), Some(_)) if free < to_reset => Outlook::PurchasedCover,
        (Some(_), Some(_)) => Outlook::FreeLast,
        _ => Outlook::Unknown,
    };
    let at = |micros: Option<i128>| {
        let micros = i64::try_from(micros?).ok().filter(|m| *m <= FORECAST_DAYS_MAX * MICROS_PER_DAY)?;
        Some(input.now.plus_micros(micros))
    };
    Forecast {
        pace_per_day: pace.map(Pace::per_day),
        free_runs_out_at: at(free_micros),
        runs_out_at: at(total_micros),
        outlook,
    }
}

/// `used` credits, not negative, in at least a day.
#[derive(Clone, Copy)]
struct Pace {
    used: Credits,
    window_micros: i64,
}

impl Pace {
    fn per_day(self) -> Credits {
        let (used, window) = (i128::from(self.used.get()), i128::from(self.window_micros));
        let twice = 2 * used * i128::from(MICROS_PER_DAY);
        // The window is at least a day, so the quotient is at most `used`.
        Credits::new(i64::try_from((twice + window) / (2 * window)).unwrap_or(i64::MAX))
    }

    fn used_up_after_micros(self, credits: Credits) -> Option<i128> {
        if self.used.is_zero() {
            return None;
        }
        let credits = i128::from(credits.get().max(0));
        Some(credits * i128::from(self.window_micros) / i128::from(self.used.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect("an instant")
    }

    /// At noon of 5 March 2013, with the next reset on 1 April.
    fn look(used: i64, history_days: i64, free: i64, purchased: i64) -> Forecast {
        let now = at("2013-03-05T12:00:00Z");
        forecast(&ForecastInput {
            used: Credits::new(used),
            since: window_start(now.plus_days(-history_days), now),
            now,
            available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            next_reset_at: at("2013-04-01T00:00:00Z"),
        })
    }

    #[track_caller]
    fn check(forecast: Forecast, pace: i64, free_out: &str, out: &str, outlook: Outlook) {
        let shown = |at: Option<Instant>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        assert_eq!(
            (forecast.pace_per_day.map(Credits::get), shown(forecast.free_runs_out_at), shown(forecast.runs_out_at)),
            (Some(pace), free_out.to_owned(), out.to_owned())
        );
        assert_eq!(forecast.outlook, outlook);
    }

    #[test]
    fn each_outlook() {
        check(look(70, 30, 50, 50), 10, "2013-03-10T12:00:00Z", "2013-03-15T12:00:00Z", Outlook::RunsOut);
        check(look(70, 30, 50, 5_000), 10, "2013-03-10T12:00:00Z", "-", Outlook::PurchasedCover);
        check(look(70, 30, 500, 0), 10, "2013-04-24T12:00:00Z", "2013-04-24T12:00:00Z", Outlook::FreeLast);
        check(look(70, 30, 0, 0), 10, "2013-03-05T12:00:00Z", "2013-03-05T12:00:00Z", Outlook::Empty);
        check(look(0, 30, 500, 0), 0, "-", "-", Outlook::Unknown);
        check(look(-3, 30, 500, 0), 0, "-", "-", Outlook::Unknown); // more refunded than used
    }

    #[test]
    fn credits_that_last_to_the_very_reset_last() {
        // 26.5 days to the reset at 2 a day.
        assert_eq!(look(14, 30, 53, 0).outlook, Outlook::FreeLast);
        assert_eq!(look(14, 30, 52, 0).outlook, Outlook::RunsOut);
        assert_eq!(look(14, 30, 52, 1).outlook, Outlook::PurchasedCover);
    }

    #[test]
    fn a_young_account_is_paced_by_its_own_days() {
        check(look(30, 3, 60, 0), 10, "2013-03-11T12:00:00Z", "2013-03-11T12:00:00Z", Outlook::RunsOut);
        let newborn = look(1_200, 0, 300, 0);
        assert_eq!((newborn.pace_per_day, newborn.outlook), (None, Outlook::Unknown));
    }

    #[test]
    fn the_pace_is_rounded_half_up() {
        let pace = |used| look(used, 30, 1, 0).pace_per_day.map(Credits::get);
        assert_eq!((pace(3), pace(4), pace(10), pace(11)), (Some(0), Some(1), Some(1), Some(2)));
        assert_eq!(look(1, 2, 1, 0).pace_per_day.map(Credits::get), Some(1)); // a half
    }

    proptest! {
        /// The instant is the last microsecond at which the exact pace has not used more than there is.
        #[test]
        fn running_out_is_exact(
            used in 1_i64..1_000_000, window in MICROS_PER_DAY..=7 * MICROS_PER_DAY, free in 0_i64..100_000, purchased in 0_i64..100_000,
        ) {
            let now = at("2013-03-05T12:00:00Z");
            let answer = forecast(&ForecastInput {
                used: Credits::new(used),
                since: now.plus_micros(-window),
                now,
                available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
                next_reset_at: at("2013-04-01T00:00:00Z"),
            });
            for (credits, out) in [(free, answer.free_runs_out_at), (free + purchased, answer.runs_out_at)] {
                let Some(out) = out else { continue };
                let micros = i128::from(out.micros() - now.micros());
                let (used, there) = (i128::from(used), i128::from(credits) * i128::from(window));
                prop_assert!(micros * used <= there && there < (micros + 1) * used);
            }
        }

        /// No input panics, and what is said about the reset agrees with the instants.
        #[test]
        fn any_input_has_an_answer(
            used: i64, since: i64, now: i64, free in 0_i64..=Credits::LIMIT.get(), purchased in 0_i64..=Credits::LIMIT.get(), reset: i64,
        ) {
            let input = ForecastInput {
                used: Credits::new(used),
                since: Instant::from_micros(since),
                now: Instant::from_micros(now),
                available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
                next_reset_at: Instant::from_micros(reset),
            };
            let answer = forecast(&input);
            if let (Outlook::RunsOut, Some(out)) = (answer.outlook, answer.runs_out_at) {
                prop_assert!(out < input.next_reset_at);
            }
            if let (Outlook::PurchasedCover | Outlook::FreeLast, Some(out)) = (answer.outlook, answer.runs_out_at) {
                prop_assert!(out >= input.next_reset_at);
            }
        }
    }
}
