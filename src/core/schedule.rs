//! When jobs run: schedules, slots and what is due (DESIGN 7).
//!
//! A [`Slot`] names one due occurrence of a job by *what it covers*, never by when somebody noticed. Recording
//! slots once therefore makes repeated bells, restarts, replicas and a clock that steps back harmless:
//! [`Schedule::due`] is a pure function of what is recorded and of `now`.
//!
//! Two families of jobs:
//! - *tick* jobs (reset, expire-holds, scan, close, deliver, webhooks, seal, verify) do all there is to do at an instant, so only the
//!   newest occurrence of the cron expression matters and older missed ones are covered by it;
//! - *period* jobs (daily-report, monthly-report) cover one local day or month in one zone. A period is due once
//!   it has ended; the cron expression merely says when to look.

use super::calendar::{BadTime, Instant, Month, YEAR_MAX, first_instant_of, next_day, parse_date, parse_zone};
use super::transaction::words;
use chrono::{DateTime, Days, NaiveDate};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Year};
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use toml::Spanned;

/// Slots that one call of [`Schedule::due`] returns: a long outage is caught up in bites, the rest at later bells.
pub const SLOTS_MAX: usize = 64;
/// The longest window: longer outages are a decision of the operator (`creditd run JOB` with `--month` or `--day`).
pub const WINDOW_DAYS_MAX: i64 = 800;
/// The longest grace: a week.
pub const GRACE_SECONDS_MAX: i64 = 7 * 86_400;

words! {
    /// A job. Its word names its file in `cron/` and in `src/jobs/`.
    Job {
        /// Opens the month of every account whose month has turned (R2, R3).
        Reset = "reset",
        /// Gives back the credits of holds that ran out (R3, R10).
        ExpireHolds = "expire-holds",
        /// Finds accounts at or below a level.
        Scan = "scan",
        /// Reports each account's day once it has ended.
        DailyReport = "daily-report",
        /// Reports each account's month once it has ended.
        MonthlyReport = "monthly-report",
        /// Closes months to late usage once they were reported (R14).
        Close = "close",
        /// Sends what is in the outbox: after those that fill it.
        Deliver = "deliver",
        /// Posts events to the addresses of webhooks.
        Webhooks = "webhooks",
        /// Writes days that are over to files.
        Seal = "seal",
        /// Proves conservation over the whole ledger (R16).
        Verify = "verify",
    }
}

/// What one slot of a job stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// All there is to do at an instant.
    Tick,
    /// A local day in one zone.
    Day,
    /// A local month in one zone.
    Month,
}

impl Job {
    /// The words of all jobs, for people.
    #[must_use]
    pub fn words() -> String {
        Job::ALL.iter().map(|job| job.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What one slot of this job stands for.
    #[must_use]
    pub const fn covers(self) -> Covers {
        match self {
            Job::Reset | Job::ExpireHolds | Job::Scan | Job::Close => Covers::Tick,
            Job::Deliver | Job::Webhooks | Job::Seal | Job::Verify => Covers::Tick,
            Job::DailyReport => Covers::Day,
            Job::MonthlyReport => Covers::Month,
        }
    }

    /// Whether it words mails to admins, so that nothing can be done without templates.
    #[must_use]
    pub const fn writes_to_admins(self) -> bool {
        match self {
            Job::Scan | Job::DailyReport | Job::MonthlyReport => true,
            Job::Reset | Job::ExpireHolds | Job::Close | Job::Deliver => false,
            Job::Webhooks | Job::Seal | Job::Verify => false,
        }
    }
}

impl FromStr for Job {
    type Err = BadJob;
    fn from_str(text: &str) -> Result<Job, BadJob> {
        Job::from_word(text).ok_or_else(|| BadJob(text.chars().take(64).collect()))
    }
}

/// There is no such job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a job; jobs are {}", .0, Job::words())]
pub struct BadJob(String);

words! {
    /// What becomes of slots that were missed.
    CatchUp {
        /// Every missed period within the window runs, oldest first.
        All = "all",
        /// Only the newest runs.
        Latest = "latest",
    }
}

words! {
    /// Whether a slot begins while another run of the job is under way.
    Overlap {
        /// It waits, and where its slots are ticks the newest then does for all.
        Wait = "wait",
        /// It begins beside it.
        Allow = "allow",
    }
}

/// One due occurrence of a job, identified by what it covers. Its text is its identity in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// An occurrence of the cron expression: `2013-03-01T00:05:00Z`.
    Tick(Instant),
    /// A local day: `2013-03-05@America/New_York`.
    Day(NaiveDate, Tz),
    /// A local month: `2013-03@America/New_York`.
    Month(Month, Tz),
}

impl Slot {
    /// The day or month that the wall clock in `zone` shows at `t`.
    fn period_at(covers: Covers, t: Instant, zone: Tz) -> Slot {
        let date = t.in_zone(zone).date_naive();
        match covers {
            Covers::Month => Slot::Month(Month::of(date), zone),
            Covers::Day | Covers::Tick => Slot::Day(date, zone),
        }
    }

    /// The period before. A tick has none of its own and stays.
    fn previous(self) -> Slot {
        match self {
            Slot::Tick(at) => Slot::Tick(at),
            Slot::Day(date, zone) => Slot::Day(date.checked_sub_days(Days::new(1)).unwrap_or(NaiveDate::MIN), zone),
            Slot::Month(month, zone) => Slot::Month(month.previous(), zone),
        }
    }

    /// The instant from which the slot is due: the tick itself, or the end of the period, which already belongs to
    /// the next one (R4).
    #[must_use]
    pub fn due_at(self) -> Instant {
        match self {
            Slot::Tick(at) => at,
            Slot::Day(date, zone) => first_instant_of(next_day(date), zone),
            Slot::Month(month, zone) => first_instant_of(month.next().first_day(), zone),
        }
    }

    /// The zone of a period.
    #[must_use]
    pub const fn zone(self) -> Option<Tz> {
        match self {
            Slot::Tick(_) => None,
            Slot::Day(_, zone) | Slot::Month(_, zone) => Some(zone),
        }
    }

    /// What it stands for.
    #[must_use]
    pub const fn covers(self) -> Covers {
        match self {
            Slot::Tick(_) => Covers::Tick,
            Slot::Day(..) => Covers::Day,
            Slot::Month(..) => Covers::Month,
        }
    }
}

/// By what is covered, then by the zone's name: zones have no order of their own.
impl Ord for Slot {
    fn cmp(&self, other: &Slot) -> Ordering {
        let by_zone = |a: &Tz, b: &Tz| a.name().cmp(b.name());
        match (self, other) {
            (Slot::Tick(a), Slot::Tick(b)) => a.cmp(b),
            (Slot::Day(a, x), Slot::Day(b, y)) => a.cmp(b).then_with(|| by_zone(x, y)),
            (Slot::Month(a, x), Slot::Month(b, y)) => a.cmp(b).then_with(|| by_zone(x, y)),
            (Slot::Tick(_), _) | (Slot::Day(..), Slot::Month(..)) => Ordering::Less,
            (_, Slot::Tick(_)) | (Slot::Month(..), Slot::Day(..)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Slot) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Tick(at) => fmt::Display::fmt(at, f),
            Slot::Day(date, zone) => f.pad(&format!("{date}@{zone}")),
            Slot::Month(month, zone) => f.pad(&format!("{month}@{zone}")),
        }
    }
}

impl FromStr for Slot {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Slot, BadTime> {
        let Some((period, zone)) = text.split_once('@') else { return Ok(Slot::Tick(Instant::parse(text)?)) };
        let zone = parse_zone(zone)?;
        if period.matches('-').count() == 1 {
            Ok(Slot::Month(period.parse()?, zone))
        } else {
            Ok(Slot::Day(parse_date(period)?, zone))
        }
    }
}

/// A zone that accounts live in, and since when: periods that ended at or before `since` are never due by
/// themselves (`creditd run JOB` with `--month` or `--day` is for them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneInUse {
    /// The zone.
    pub zone: Tz,
    /// When creditd began to look after it: the ledger's beginning or the first account in that zone.
    pub since: Instant,
}

/// What is due, and what is not done now although it was missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The slots to run, oldest first, at most [`SLOTS_MAX`].
    pub slots: Vec<Slot>,
    /// Slots that are due too but beyond [`SLOTS_MAX`]; they come at the next bell.
    pub capped: usize,
    /// Of all due slots, those past the schedule's grace: something had stopped them.
    pub overdue: usize,
    /// Missed periods that have left the window (counted as far back as one more window, see [`Schedule::missed`]): only a person
    /// runs them.
    pub expired: usize,
    /// The oldest of those: of no other zone is an older period among them, whichever ended first.
    pub expired_first: Option<Slot>,
    /// The newest of those, likewise.
    pub expired_last: Option<Slot>,
}

impl Due {
    /// These are the missed periods that have left the window.
    pub fn expire(&mut self, expired: &[Slot]) {
        self.expired = expired.len();
        self.expired_first = expired.iter().min().copied();
        self.expired_last = expired.iter().max().copied();
    }
}

/// Why a schedule's file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct BadSchedule {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

/// When a job runs and what becomes of what was missed: one file of `cron/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The job.
    pub job: Job,
    cron: Cron,
    /// The zone in which the cron expression is read. Periods have zones of their own.
    pub zone: Tz,
    /// What becomes of missed slots.
    pub catch_up: CatchUp,
    /// How many days back missed slots are looked for.
    pub window_days: i64,
    /// How many seconds after it became due an unrun slot counts as overdue.
    pub grace_seconds: i64,
    /// Whether a slot begins while another run of the job is under way.
    pub overlap: Overlap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cron: Spanned<String>,
    zone: Spanned<String>,
    catch_up: Spanned<String>,
    window_days: Spanned<i64>,
    grace_seconds: Spanned<i64>,
    overlap: Option<Spanned<String>>,
}

/// The JSON Schema of schedule files, for editors that complete and check TOML. Made of the word lists and bounds by which they are
/// read.
#[must_use]
pub fn schedule_schema() -> serde_json::Value {
    use serde_json::json;
    let words = |description: &str, all: Vec<&str>| json!({"type": "string", "enum": all, "description": description});
    let bounded = |description: &str, max: i64| json!({"type": "integer", "minimum": 1, "maximum": max, "description": description});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A schedule of creditd",
        "description": "The name of the file, without .toml, is the name of the job.",
        "type": "object",
        "additionalProperties": false,
        "required": ["cron", "zone", "catch_up", "window_days", "grace_seconds"],
        "properties": {
            "cron": {"type": "string", "description": "When to look: minute hour day month weekday, or six fields with seconds first."},
            "zone": {"type": "string", "description": "The IANA time zone in which cron is read."},
            "catch_up": words(
                "After an outage: every missed period, oldest first, or the newest only.",
                CatchUp::ALL.iter().map(|word| word.as_str()).collect(),
            ),
            "window_days": bounded("How many days back missed periods are looked for.", WINDOW_DAYS_MAX),
            "grace_seconds": bounded("How late a run may be before it is reported as overdue.", GRACE_SECONDS_MAX),
            "overlap": words(
                "Whether a slot waits while another run of the job is under way, or begins beside it.",
                Overlap::ALL.iter().map(|word| word.as_str()).collect(),
            ),
        },
    })
}

impl Schedule {
    /// Reads the text of a schedule file; `file` is the name that errors show.
    ///
    /// # Errors
    /// [`BadSchedule`] with file and line for the first thing that is wrong.
    pub fn parse(job: Job, file: &str, text: &str) -> Result<Schedule, BadSchedule> {
        let bad = |at: usize, what: String| {
            let line = text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            BadSchedule { file: file.to_owned(), line, what }
        };
        let raw: File = toml::from_str(text)
            .map_err(|error| bad(error.span().map_or(0, |s| s.start), error.message().to_owned()))?;
        let bounded = |key: &str, value: &Spanned<i64>, max: i64| match *value.get_ref() {
            inside if (1..=max).contains(&inside) => Ok(inside),
            other => Err(bad(value.span().start, format!("{key} = {other}: allowed are 1 to {max}"))),
        };

        let cron = parse_cron(raw.cron.get_ref()).map_err(|what| bad(raw.cron.span().start, what))?;
        let zone = parse_zone(raw.zone.get_ref()).map_err(|e| bad(raw.zone.span().start, format!("zone: {e}")))?;
        let bad_catch_up =
            |why: &str| bad(raw.catch_up.span().start, format!("catch_up = {:?}: {why}", raw.catch_up.get_ref()));
        let catch_up = CatchUp::from_word(raw.catch_up.get_ref())
            .ok_or_else(|| bad_catch_up("allowed are \"all\" and \"latest\""))?;
        if job.covers() == Covers::Tick && catch_up == CatchUp::All {
            return Err(bad_catch_up(&format!(
                "one run of {job} does all there is to do, so only \"latest\" makes sense"
            )));
        }
        let overlap = match &raw.overlap {
            None if job.covers() == Covers::Tick && !matches!(job, Job::Deliver | Job::Webhooks) => Overlap::Wait,
            None => Overlap::Allow,
            Some(word) => Overlap::from_word(word.get_ref()).ok_or_else(|| {
                let what = format!("overlap = {:?}: allowed are \"wait\" and \"allow\"", word.get_ref());
                bad(word.span().start, what)
            })?,
        };
        let schedule = Schedule {
            job,
            overlap,
            cron,
            zone,
            catch_up,
            window_days: bounded("window_days", &raw.window_days, WINDOW_DAYS_MAX)?,
            grace_seconds: bounded("grace_seconds", &raw.grace_seconds, GRACE_SECONDS_MAX)?,
        };
        if schedule.next(Instant::from_micros(0), 1).is_empty() {
            let what = format!("cron = {:?}: no such moment ever comes", raw.cron.get_ref());
            return Err(bad(raw.cron.span().start, what));
        }
        Ok(schedule)
    }

    /// The cron expression.
    #[must_use]
    pub fn cron(&self) -> &str {
        self.cron.pattern.as_str()
    }

    /// The next `n` instants after `now` at which the bell rings. Fewer where the expression or the years end.
    #[must_use]
    pub fn next(&self, now: Instant, n: usize) -> Vec<Instant> {
        let Some(start) = self.wall_clock(now) else { return Vec::new() };
        let next = |from: &DateTime<Tz>| self.cron.find_next_occurrence(from, false).ok();
        std::iter::successors(next(&start), next).map(instant).take_while(|t| *t < years_end()).take(n).collect()
    }

    /// The newest instant at or before `now` at which the bell rang.
    #[must_use]
    pub fn last_ring(&self, now: Instant) -> Option<Instant> {
        let start = self.wall_clock(now)?;
        self.cron.find_previous_occurrence(&start, true).ok().map(instant)
    }

    /// How far back recorded slots bear on [`Schedule::due`]: `recorded` must hold every recorded slot of this job
    /// that fell due at this instant or later. For a tick job the newest alone is enough.
    #[must_use]
    pub fn recorded_from(&self, now: Instant) -> Instant {
        now.plus_days(-2 * self.window_days)
    }

    /// What is due at `now`, given the slots that are recorded (see [`Schedule::recorded_from`]) and the zones in use.
    ///
    /// Recording every slot this returns, until it returns none, runs each exactly once whatever the clock does.
    #[must_use]
    pub fn due(&self, recorded: &BTreeSet<Slot>, zones: &[ZoneInUse], now: Instant) -> Due {
        let mut expired = Vec::new();
        let mut slots = BTreeSet::new();
        match self.job.covers() {
            Covers::Tick => self.due_tick(recorded, now, &mut slots, &mut expired),
            Covers::Day | Covers::Month => {
                for zone in zones {
                    // Of those that ended just then, a run is recorded, too.
                    let from = self.recorded_from(now).plus_micros(-1);
                    let zone = ZoneInUse { since: zone.since.max(from), ..*zone };
                    self.due_periods(recorded, zone, now, &mut slots, &mut expired);
                }
            }
        }
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        slots.sort_by_key(|slot| slot.due_at());
        let late = |slot: &&Slot| slot.due_at().plus_seconds(self.grace_seconds) < now;
        let overdue = slots.iter().filter(late).count();
        let capped = slots.len().saturating_sub(SLOTS_MAX);
        slots.truncate(SLOTS_MAX);
        let mut due = Due { slots, capped, overdue, ..Due::default() };
        due.expire(&expired);
        due
    }

    /// The periods that have left the window and are not recorded, as far back as each zone is in use: `recorded` must reach as far.
    #[must_use]
    pub fn missed(&self, recorded: &BTreeSet<Slot>, zones: &[ZoneInUse], now: Instant) -> Vec<Slot> {
        let mut missed = Vec::new();
        if self.job.covers() != Covers::Tick {
            for zone in zones {
                self.due_periods(recorded, *zone, now, &mut BTreeSet::new(), &mut missed);
            }
        }
        missed
    }

    /// The newest ring is due unless it, or a later one before the clock stepped back, is recorded.
    fn due_tick(&self, recorded: &BTreeSet<Slot>, now: Instant, slots: &mut BTreeSet<Slot>, expired: &mut Vec<Slot>) {
        let Some(ring) = self.last_ring(now) else { return };
        let newest = recorded.iter().rev().find(|slot| slot.covers() == Covers::Tick);
        if newest.is_some_and(|newest| newest.due_at() >= ring) {
            return;
        }
        if ring >= self.window_start(now) {
            slots.insert(Slot::Tick(ring));
        } else if newest.is_some() {
            expired.push(Slot::Tick(ring));
        }
    }

    /// The ended and unrecorded periods of one zone, walking back from today.
    fn due_periods(
        &self,
        recorded: &BTreeSet<Slot>,
        in_use: ZoneInUse,
        now: Instant,
        slots: &mut BTreeSet<Slot>,
        expired: &mut Vec<Slot>,
    ) {
        let today = Slot::period_at(self.job.covers(), now, in_use.zone);
        let ended = std::iter::successors(Some(today), |slot| Some(slot.previous()))
            .skip_while(|slot| slot.due_at() > now)
            .take_while(|slot| slot.due_at() > in_use.since);
        let looked_at = if self.catch_up == CatchUp::Latest { 1 } else { usize::MAX };
        for slot in ended.take(looked_at).filter(|slot| !recorded.contains(slot)) {
            if slot.due_at() >= self.window_start(now) {
                slots.insert(slot);
            } else {
                expired.push(slot);
            }
        }
    }

    /// Periods that ended before are for a person to run.
    #[must_use]
    pub fn window_start(&self, now: Instant) -> Instant {
        now.plus_days(-self.window_days)
    }

    /// `now` on the wall clock of the schedule's zone, in whole seconds; none outside the years that are handled.
    fn wall_clock(&self, now: Instant) -> Option<DateTime<Tz>> {
        if now < Instant::from_micros(0) || now >= years_end() {
            return None;
        }
        let seconds = now.micros().div_euclid(1_000_000);
        Some(DateTime::from_timestamp(seconds, 0)?.with_timezone(&self.zone))
    }
}

fn instant(at: DateTime<Tz>) -> Instant {
    Instant::from_micros(at.timestamp_micros())
}

/// The first instant past [`YEAR_MAX`], in UTC.
fn years_end() -> Instant {
    first_instant_of(NaiveDate::from_ymd_opt(YEAR_MAX + 1, 1, 1).unwrap_or(NaiveDate::MAX), Tz::UTC)
}

/// Five fields, or six with seconds first.
fn parse_cron(text: &str) -> Result<Cron, String> {
    CronParser::builder().year(Year::Disallowed).build().parse(text).map_err(|error| {
        format!("cron = {text:?}: {error} Write five fields (minute hour day month weekday), or six with seconds first")
    })
}

#[cfg(test)]
mod tests;
