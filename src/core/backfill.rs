//! Backfills: past slots of a job that a person wants to be run (DESIGN 7). Which slots these are, and what is to be done about
//! each, is decided here.

use super::calendar::{Instant, Month, next_day};
use super::ids::AccountId;
use super::run::RunState;
use super::schedule::{Covers, Job, Slot};
use super::transaction::words;
use chrono::{Datelike, NaiveDate};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Slots of one backfill: a year of days in every zone that there is. More are several backfills, see [`ranges`].
pub const SLOTS_MAX: usize = 250_000;
/// Accounts that may be named.
pub const ACCOUNTS_MAX: usize = 10_000;
/// Slots that are run side by side at most.
pub const PARALLEL_MAX: u32 = 16;

words! {
    /// Which slots are run.
    Reprocess {
        /// Those that were never run.
        Missing = "missing",
        /// Those that were never done: missing ones, and those whose run failed.
        Failed = "failed",
        /// Also those that were done.
        All = "all",
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which job.
    pub job: Job,
    /// The first day whose slots are run.
    pub from: NaiveDate,
    /// The day behind the last.
    pub to: NaiveDate,
    /// Of these accounts only; of all where there are none.
    pub accounts: Vec<AccountId>,
    /// Which slots.
    pub reprocess: Reprocess,
    /// Whether mails are written. Without, it is only found out what they would say.
    pub email: bool,
    /// How many slots are run side by side, over all processes.
    pub parallel_max: u32,
    /// The newest first.
    pub reverse: bool,
}

/// Why a backfill was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBackfill {
    /// The job has no past.
    #[error(
        "{0} has no past slots: one run of it does all there is to do, so `creditd run {0}` is all that it takes. Backfills are for \
         daily-report and monthly-report"
    )]
    NoPast(Job),
    /// Nothing lies between the two.
    #[error("--from {from} is not before --to {to}, which is the day behind the last one")]
    NoDays {
        /// The first day.
        from: NaiveDate,
        /// The day behind the last.
        to: NaiveDate,
    },
    /// A month is reported whole.
    #[error(
        "{job} reports whole months, and --from {from} --to {to} begins or ends within one; all months that it is about are --from {first} \
         --to {behind}"
    )]
    NotMonths {
        /// The job.
        job: Job,
        /// The first day.
        from: NaiveDate,
        /// The day behind the last.
        to: NaiveDate,
        /// The month of the first day.
        first: Month,
        /// The month behind that of the last.
        behind: Month,
    },
    /// Too much at once.
    #[error(
        "--from {from} --to {to} has more than {SLOTS_MAX} slots; --from {from} --to {fits} is taken, and what is behind that by another \
         backfill"
    )]
    TooMany {
        /// The first day.
        from: NaiveDate,
        /// The day behind the last.
        to: NaiveDate,
        /// The day behind the last that may be asked for.
        fits: NaiveDate,
    },
}

words! {
    /// What is done about a slot.
    Decision {
        /// It is run.
        Run = "run",
        /// It was run, and is left as it is.
        Leave = "leave",
        /// It is being run by its own schedule.
        UnderWay = "under way",
        /// It has not ended yet; its time will come.
        NotOver = "not over",
    }
}

/// A slot of a backfill, and what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub slot: Slot,
    /// What became of the run of its own schedule, if there was one.
    pub state: Option<RunState>,
    /// What is done about it.
    pub decision: Decision,
}

/// Every slot that `asked` is about in `zones`, each from its first month on, in the order in which they are run, and what is done
/// about each at `now`, given the runs that there were.
///
/// # Errors
/// [`BadBackfill`].
pub fn plan(
    asked: &Asked,
    zones: &[(Tz, Month)],
    states: &BTreeMap<Slot, RunState>,
    now: Instant,
) -> Result<Vec<Planned>, BadBackfill> {
    let Asked { job, from, to, .. } = *asked;
    if job.covers() == Covers::Tick {
        return Err(BadBackfill::NoPast(job));
    }
    if from >= to {
        return Err(BadBackfill::NoDays { from, to });
    }
    if job.covers() == Covers::Month && (from.day() != 1 || to.day() != 1) {
        let last = Month::of(to);
        let behind = if to.day() == 1 { last } else { last.next() };
        return Err(BadBackfill::NotMonths { job, from, to, first: Month::of(from), behind });
    }
    let mut slots = Vec::new();
    // Before the first month of all there is nothing to be run, however long ago --from is.
    let first = zones.iter().map(|(_, first)| first.first_day()).min().unwrap_or(to);
    let mut day = from.max(first);
    while day < to {
        let there = zones.iter().filter(|(_, first)| first.first_day() <= day);
        slots.extend(there.map(|(zone, _)| match job.covers() {
            Covers::Month => Slot::Month(Month::of(day), *zone),
            Covers::Day | Covers::Tick => Slot::Day(day, *zone),
        }));
        if slots.len() > SLOTS_MAX {
            return Err(BadBackfill::TooMany { from, to, fits: day });
        }
        day = behind(job, day);
    }
    slots.sort_by_cached_key(|slot| (slot.due_at(), *slot));
    if asked.reverse {
        slots.reverse();
    }
    let planned = |slot: Slot| {
        let state = states.get(&slot).copied();
        Planned { slot, state, decision: decide(asked.reprocess, state, slot.due_at() <= now) }
    };
    Ok(slots.into_iter().map(planned).collect())
}

/// The day behind the period of `job` that begins with `day`.
fn behind(job: Job, day: NaiveDate) -> NaiveDate {
    if job.covers() == Covers::Month { Month::of(day).next().first_day() } else { next_day(day) }
}

/// What to ask for, one after the other (each from its first day to the day behind its last), to have all periods of `job` from that
/// which begins with `from` up to `to`, the day behind the last: each has room for every zone that there is.
#[must_use]
pub fn ranges(job: Job, from: NaiveDate, to: NaiveDate) -> Vec<(NaiveDate, NaiveDate)> {
    let periods = SLOTS_MAX / TZ_VARIANTS.len();
    let mut ranges = Vec::new();
    let mut first = from;
    while first < to {
        let end = std::iter::successors(Some(first), |day| Some(behind(job, *day))).take_while(|day| *day < to);
        let end = end.map(|day| behind(job, day)).take(periods).last().unwrap_or(to);
        ranges.push((first, end));
        first = end;
    }
    ranges
}

fn decide(reprocess: Reprocess, state: Option<RunState>, is_over: bool) -> Decision {
    match (state, reprocess) {
        _ if !is_over => Decision::NotOver,
        (Some(RunState::Running), _) => Decision::UnderWay,
        (None | Some(RunState::Waiting), _) | (_, Reprocess::All) => Decision::Run,
        (Some(RunState::Failed | RunState::Cancelled), Reprocess::Failed) => Decision::Run,
        (Some(_), _) => Decision::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::super::calendar::{parse_date, parse_zone};
    use super::*;

    fn asked(job: Job, from: &str, to: &str, reprocess: Reprocess) -> Asked {
        let day = |text| parse_date(text).expect("a day");
        let (accounts, email, parallel_max, reverse) = (Vec::new(), false, 1, false);
        Asked { job, from: day(from), to: day(to), accounts, reprocess, email, parallel_max, reverse }
    }

    /// Each from the month on.
    fn since(first: &str, zones: &[Tz]) -> Vec<(Tz, Month)> {
        let first = first.parse().expect("a month");
        zones.iter().map(|zone| (*zone, first)).collect()
    }

    fn zones() -> Vec<(Tz, Month)> {
        since("2012-01", &["America/New_York", "Asia/Tokyo"].map(|name| parse_zone(name).expect("a zone")))
    }

    fn shown(asked: &Asked, states: &[(&str, RunState)]) -> Vec<String> {
        let states = states.iter().map(|(slot, state)| (slot.parse().expect("a slot"), *state)).collect();
        let now = Instant::parse("2013-03-01T00:00:00Z").expect("an instant");
        let planned = plan(asked, &zones(), &states, now).expect("a plan");
        planned.iter().map(|planned| format!("{}: {}", planned.slot, planned.decision)).collect()
    }

    #[test]
    fn slots_come_in_order_of_time_each_with_what_is_done() {
        let states = [("2013-01@Asia/Tokyo", RunState::Done), ("2013-01@America/New_York", RunState::Failed)];
        let asked = |reprocess| asked(Job::MonthlyReport, "2013-01-01", "2013-03-01", reprocess);
        assert_eq!(
            shown(&asked(Reprocess::Missing), &states),
            [
                "2013-01@Asia/Tokyo: leave",
                "2013-01@America/New_York: leave",
                "2013-02@Asia/Tokyo: run",
                "2013-02@America/New_York: not over",
            ]
        );
        assert_eq!(
            shown(&asked(Reprocess::Failed), &states)[..2],
            ["2013-01@Asia/Tokyo: leave", "2013-01@America/New_York: run"]
        );
        let newest_first = Asked { reverse: true, ..asked(Reprocess::All) };
        assert_eq!(shown(&newest_first, &states)[1..3], ["2013-02@Asia/Tokyo: run", "2013-01@America/New_York: run"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |asked: &Asked, zones: &[(Tz, Month)]| {
            plan(asked, zones, &BTreeMap::new(), Instant::MAX).expect_err("refused").to_string()
        };
        let zones = zones();
        let says = refused(&asked(Job::Reset, "2013-01-01", "2013-02-01", Reprocess::All), &zones);
        assert!(says.contains("`creditd run reset`"), "{says}");
        let says = refused(&asked(Job::DailyReport, "2013-01-01", "2013-01-01", Reprocess::All), &zones);
        assert!(says.contains("is not before --to"), "{says}");
        for (from, to, meant) in [
            ("2013-01-01", "2013-01-15", "--from 2013-01 --to 2013-02"),
            ("2013-01-09", "2013-03-01", "--from 2013-01 --to 2013-03"),
        ] {
            let says = refused(&asked(Job::MonthlyReport, from, to, Reprocess::All), &zones);
            assert!(says.ends_with(meant), "{says}");
        }
        let all = asked(Job::DailyReport, "1970-01-01", "2199-01-01", Reprocess::All);
        let fits = ranges(all.job, all.from, all.to)[0].1;
        let says = refused(&all, &since("1970-01", &TZ_VARIANTS));
        let taken = format!("--to 2199-01-01 has more than 250000 slots; --from 1970-01-01 --to {fits} is taken");
        assert!(says.contains(&taken), "{says}");
    }

    /// Of months and days before a zone had any account nothing is planned, and they cost nothing.
    #[test]
    fn nothing_is_run_from_before_a_zone_was_used() {
        let mut zones = zones();
        zones[1].1 = "2013-02".parse().expect("a month");
        let planned = |job, from, to| {
            let asked = asked(job, from, to, Reprocess::Missing);
            let planned = plan(&asked, &zones, &BTreeMap::new(), Instant::MAX).expect("a plan");
            planned.iter().map(|planned| planned.slot.to_string()).collect::<Vec<_>>()
        };
        let months = planned(Job::MonthlyReport, "1970-01-01", "2013-03-01");
        assert_eq!((months.len(), months[0].as_str()), (15, "2012-01@America/New_York"));
        assert_eq!(months[12..], ["2013-01@America/New_York", "2013-02@Asia/Tokyo", "2013-02@America/New_York"]);
        let days = planned(Job::DailyReport, "2013-01-31", "2013-02-02");
        assert_eq!(days, ["2013-01-31@America/New_York", "2013-02-01@Asia/Tokyo", "2013-02-01@America/New_York"]);
        assert!(planned(Job::DailyReport, "1970-01-01", "2012-01-01").is_empty());
    }

    /// Whatever lies between, each range is taken whatever zones there are, and together they are all of it.
    #[test]
    fn ranges_are_taken_in_all_zones_and_leave_nothing_out() {
        let day = |text| parse_date(text).expect("a day");
        for (job, from, to, count) in [
            (Job::DailyReport, "2013-01-01", "2013-04-01", 1),
            (Job::DailyReport, "2010-01-01", "2020-01-01", 9),
            (Job::MonthlyReport, "2010-01-01", "2020-01-01", 1),
        ] {
            let ranges = ranges(job, day(from), day(to));
            assert_eq!(ranges.len(), count, "{ranges:?}");
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{ranges:?}");
            assert_eq!((ranges[0].0, ranges[count - 1].1), (day(from), day(to)));
        }
        let (from, to) = ranges(Job::DailyReport, day("2010-01-01"), day("2020-01-01"))[0];
        let asked = Asked { from, to, ..asked(Job::DailyReport, "2010-01-01", "2010-01-02", Reprocess::Missing) };
        let planned =
            plan(&asked, &since("1970-01", &TZ_VARIANTS), &BTreeMap::new(), Instant::MAX).expect("it is taken");
        assert!(planned.len() > SLOTS_MAX - TZ_VARIANTS.len());
        let longer = Asked { to: next_day(to), ..asked };
        assert!(
            matches!(plan(&longer, &since("1970-01", &TZ_VARIANTS), &BTreeMap::new(), Instant::MAX), Err(BadBackfill::TooMany { fits, .. }) if fits == to)
        );
    }
}
