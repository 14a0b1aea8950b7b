//! What the charts of one account show beside its figures: its allowance, its levels, and how long its credits last.

use super::super::calendar::{Calendar, Instant, Month};
use super::super::credits::{Credits, Split};
use super::super::forecast::{Forecast, ForecastInput, forecast};
use super::super::ids::LevelName;
use super::LocalTime;

/// What is marked in the charts of a report of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The month in which the range lies; `None` when it goes beyond one.
    pub month: Option<Month>,
    /// The allowance of that month, or of the last one of the range.
    pub allowance: Credits,
    /// Its alert levels in credits, highest first.
    pub levels: Vec<(LevelName, Credits)>,
    /// How the month goes on; `None` when the report was not read in the month that it is about.
    pub ahead: Option<Ahead>,
}

/// How long the credits of an account last, by the clock on its wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// When the report was read.
    pub now: LocalTime,
    /// What was available then.
    pub available: Split,
    /// What is foreseen.
    pub forecast: Forecast,
    /// When the free credits are used up, if they are before the month ends.
    pub free_runs_out: Option<LocalTime>,
    /// When all credits are used up, if they are before the month ends.
    pub runs_out: Option<LocalTime>,
    /// What is left when the month ends, before the free credits lapse; `None` when there is too little history for a pace.
    pub left: Option<Split>,
}

impl Ahead {
    /// What follows from `input` for an account with this calendar.
    #[must_use]
    pub fn new(input: &ForecastInput, calendar: &Calendar) -> Ahead {
        let forecast = forecast(input);
        let before_reset =
            |at: Option<Instant>| at.filter(|at| *at < input.next_reset_at).map(|at| LocalTime::of(at, calendar));
        Ahead {
            now: LocalTime::of(input.now, calendar),
            available: input.available,
            free_runs_out: before_reset(forecast.free_runs_out_at),
            runs_out: before_reset(forecast.runs_out_at),
            left: forecast.pace_per_day.map(|_| left(input)),
            forecast,
        }
    }
}

/// What is left at the next reset, rounded up to whole credits: free credits are used first (R5).
fn left(input: &ForecastInput) -> Split {
    let (window, ahead) =
        (input.now.micros() - input.since.micros(), input.next_reset_at.micros() - input.now.micros());
    let used = i128::from(input.used.max(Credits::ZERO).get()) * i128::from(ahead.max(0)) / i128::from(window.max(1));
    let after = |there: Credits, used: i128| {
        let rest = i128::from(there.get()) - used;
        (Credits::new(i64::try_from(rest.max(0)).unwrap_or(0)), (-rest).max(0))
    };
    let (free, more) = after(input.available.free, used);
    let (purchased, _) = after(input.available.purchased, more);
    Split { free, purchased }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Terms, parse_zone};

    fn ahead(used: i64, history_days: i64, free: i64, purchased: i64) -> Ahead {
        let now = Instant::parse("2026-03-11T11:00:00Z").expect("an instant");
        let calendar = Calendar::new(Terms {
            from: "2026-01".parse().expect("a month"),
            zone: parse_zone("Europe/Berlin").expect("a zone"),
            allowance: Credits::new(1_500),
        });
        let input = ForecastInput {
            used: Credits::new(used),
            since: now.plus_days(-history_days),
            now,
            available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            next_reset_at: Instant::parse("2026-03-31T22:00:00Z").expect("an instant"),
        };
        Ahead::new(&input, &calendar)
    }

    #[track_caller]
    fn check(ahead: &Ahead, left: Option<(i64, i64)>, free_runs_out: &str, runs_out: &str) {
        let shown = |at: Option<LocalTime>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        assert_eq!(ahead.now.to_string(), "2026-03-11T12:00");
        assert_eq!(ahead.left.map(|left| (left.free.get(), left.purchased.get())), left);
        assert_eq!((shown(ahead.free_runs_out).as_str(), shown(ahead.runs_out).as_str()), (free_runs_out, runs_out));
    }

    #[test]
    fn what_is_left_follows_the_pace_by_the_clock_on_the_wall() {
        // 20 days and 11 hours to the reset, as the clocks go forward in between: 204 and a bit at 10 a day.
        check(&ahead(70, 7, 500, 100), Some((296, 100)), "-", "-");
        check(&ahead(70, 7, 100, 500), Some((0, 396)), "2026-03-21T12:00", "-");
        check(&ahead(70, 7, 50, 50), Some((0, 0)), "2026-03-16T12:00", "2026-03-21T12:00");
        check(&ahead(0, 7, 50, 50), Some((50, 50)), "-", "-");
        check(&ahead(70, 0, 50, 50), None, "-", "-");
    }
}
