//! What the charts of one account show beside its figures: its allowance, its levels, and how long its credits last.

use super::super::calendar::{Instant, Month};
use super::super::credits::{Credits, Split};
use super::super::forecast::{Forecast, ForecastInput, forecast, left_by_day};
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
    /// What is left at the end of each day from then until the month ends, and where credits are used up, in the order of
    /// time; empty when there is no telling.
    pub turns: Vec<(LocalTime, Split)>,
    /// When the free credits are used up, if they are before the month ends.
    pub free_runs_out: Option<LocalTime>,
    /// When all credits are used up, if they are before the month ends.
    pub runs_out: Option<LocalTime>,
}

impl Ahead {
    /// What follows from `input`.
    #[must_use]
    pub fn new(input: &ForecastInput<'_>) -> Ahead {
        let calendar = input.calendar;
        let forecast = forecast(input);
        // An instant is rounded down: one microsecond after it, the last credit is used up as well.
        let used_up: Vec<Instant> = [forecast.free_runs_out_at, forecast.runs_out_at]
            .into_iter()
            .flatten()
            .map(|at| at.plus_micros(1))
            .collect();
        let turns = left_by_day(input, &used_up);
        let before_reset =
            |at: Option<Instant>| at.filter(|at| *at < input.next_reset_at).map(|at| LocalTime::of(at, calendar));
        Ahead {
            now: LocalTime::of(input.now, calendar),
            available: input.available,
            turns: turns.into_iter().map(|(at, left)| (LocalTime::of(at, calendar), left)).collect(),
            free_runs_out: before_reset(forecast.free_runs_out_at),
            runs_out: before_reset(forecast.runs_out_at),
            forecast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::{Calendar, Terms, parse_zone};
    use crate::core::forecast::DailyUse;

    fn ahead(used: i64, history_days: i64, free: i64, purchased: i64) -> Ahead {
        let now = Instant::parse("2026-03-11T11:00:00Z").expect("an instant");
        let calendar = Calendar::new(Terms {
            from: "2026-01".parse().expect("a month"),
            zone: parse_zone("Europe/Berlin").expect("a zone"),
            allowance: Credits::new(1_500),
        });
        let mut daily = DailyUse::unused(&calendar, now.plus_days(-history_days), now);
        daily.add(now, Credits::new(used));
        Ahead::new(&ForecastInput {
            calendar: &calendar,
            daily: &daily,
            now,
            available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
            grants: &[],
            next_reset_at: Instant::parse("2026-03-31T22:00:00Z").expect("an instant"),
            pack_credits: None,
        })
    }

    #[track_caller]
    fn check(ahead: &Ahead, left: Option<(i64, i64)>, free_runs_out: &str, runs_out: &str) {
        let shown = |at: Option<LocalTime>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        assert_eq!(ahead.now.to_string(), "2026-03-11T12:00");
        assert_eq!(ahead.forecast.left.map(|left| (left.free.get(), left.purchased.get())), left);
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

    #[test]
    fn each_turn_has_what_is_left_at_it() {
        let turns = |ahead: Ahead| {
            let told = |(at, left): &(LocalTime, Split)| format!("{at} {} {}", left.free, left.purchased);
            ahead.turns.iter().map(told).collect::<Vec<_>>()
        };
        let told = turns(ahead(70, 7, 50, 50));
        // 21 days, and where the free credits, and all, are used up.
        assert_eq!(told.len(), 23);
        assert_eq!(told[..2], ["2026-03-12 45 50", "2026-03-13 35 50"]);
        assert_eq!(told[4..7], ["2026-03-16 5 50", "2026-03-16T12:00 0 50", "2026-03-17 0 45"]);
        assert_eq!(told[9..13], ["2026-03-20 0 15", "2026-03-21 0 5", "2026-03-21T12:00 0 0", "2026-03-22 0 0"]);
        assert_eq!(
            turns(ahead(70, 7, 500, 0))[17..],
            ["2026-03-29 325 0", "2026-03-30 316 0", "2026-03-31 306 0", "2026-04-01 296 0"]
        );
        assert_eq!((turns(ahead(0, 7, 50, 50)).len(), turns(ahead(70, 0, 50, 50)).len()), (0, 0));
    }
}
