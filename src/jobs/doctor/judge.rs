//! What the doctor makes of what was found: pure functions of plain values.

use super::{BROKEN, Finding, State};
use crate::app::AppError;
use crate::core::calendar::{Instant, parse_zone};
use crate::core::counting::{counted, grouped};
use crate::core::ids::Email;
use crate::core::schedule::{Due, Schedule};
use crate::store::{Figures, JobFigures, Schema, StoreError, Trouble};
use std::path::Path;

/// Below this a day's work may not fit any more.
const FREE_BYTES_FAIL: u64 = 100_000_000;
/// Below this it is time to make room.
const FREE_BYTES_WARN: u64 = 1_000_000_000;
/// Clocks that are kept by the network differ by milliseconds; a lease or a month's start bears this much.
const SKEW_SECONDS_WARN: i64 = 5;
/// More than this, and accounts' months begin at the wrong time.
const SKEW_SECONDS_FAIL: i64 = 60;
/// Mail leaves within seconds; a server that is down for so long is news.
const MAIL_LATE_SECONDS_WARN: i64 = 3_600;
/// Statements and alerts of yesterday.
const MAIL_LATE_SECONDS_FAIL: i64 = 86_400;
/// Sealing is done every night, of the day that is over.
const UNSEALED_DAYS_WARN: u64 = 2;

/// Why there is no ledger to look at, each with what helps against that.
pub(super) fn no_ledger(error: &StoreError) -> Finding {
    let fix = match error {
        StoreError::Missing { .. } => {
            "let `creditd init` make it; `creditd config show --origin` says which ledger is meant and why"
        }
        StoreError::Unreachable { .. } | StoreError::NoConnection => {
            "start the database's server, or mend the way to it; nothing is wrong with the ledger for all that is known"
        }
        StoreError::Credentials { .. } => "set the user and password of database_url; the ledger's server is there",
        StoreError::NoDatabase { .. } => "make the database (createdb) and let `creditd init` make the ledger in it",
        StoreError::Newer { .. } => {
            "install the creditd that brought the ledger up to date, or a newer one; nothing is wrong with the ledger"
        }
        StoreError::Changed { .. } => "use the creditd that made the ledger; this one leaves it alone",
        StoreError::NotALedger { .. } | StoreError::Url { .. } => {
            "name the ledger in database_url; `creditd config show --origin` says where that is set. What is there was left alone"
        }
        StoreError::File { trouble: Trouble::Damaged, .. } => {
            "stop creditd, keep the ledger's file as it is, and put a backup in its place: `creditd db restore-check` says \
             which is well; docs/operations.md says what follows"
        }
        StoreError::File { .. } => {
            "give the user that runs creditd the ledger's file and folder, on a disk that works; restore nothing before"
        }
        _ => "see what it says; `creditd config show --origin` says which ledger is meant and why",
    };
    Finding::fail("ledger", error.to_string(), fix)
}

pub(super) fn schema(schema: Schema) -> Finding {
    let Schema { found, known, due } = schema;
    match due {
        0 => Finding::ok("schema", format!("version {found}, as this creditd knows it")),
        _ => Finding::warn(
            "schema",
            format!("version {found}; this creditd knows {known}"),
            "back the ledger up and let `creditd db migrate`, or the next start, bring it up to date",
        ),
    }
}

/// `written` says what the system said when something was written there.
pub(super) fn folder(name: &str, folder: &Path, free: std::io::Result<u64>, written: std::io::Result<()>) -> Finding {
    let place = format!("{name} in {}", folder.display());
    let free = match (free, written) {
        (_, Err(error)) => {
            let fix = "make the folder, or give the user that runs creditd permission to write to it";
            return Finding::fail("disk", format!("{place}: cannot be written to: {error}"), fix);
        }
        (Err(error), Ok(())) => {
            return Finding::warn(
                "disk",
                format!("{place}: the system does not say what is free: {error}"),
                "look with df",
            );
        }
        (Ok(free), Ok(())) => free,
    };
    let says = format!("{place}: {} MB free", grouped(free / 1_000_000));
    let fix = "make room: move old reports and delivered .eml files away, or give the disk more space";
    match free {
        0..FREE_BYTES_FAIL => Finding::fail("disk", says, fix),
        FREE_BYTES_FAIL..FREE_BYTES_WARN => Finding::warn("disk", says, fix),
        _ => Finding::ok("disk", says),
    }
}

/// This machine's clock against the database's and the newest row of the ledger.
pub(super) fn clock(now: Instant, database_at: Instant, newest: Option<Instant>) -> Finding {
    let seconds = |micros: i64| micros / 1_000_000;
    let skew = seconds(now.micros().saturating_sub(database_at.micros()));
    let behind = newest.map_or(0, |newest| seconds(newest.micros().saturating_sub(now.micros())));
    let fix = "set the clocks of this machine and of the database's by the network (timedatectl set-ntp true)";
    if behind > SKEW_SECONDS_WARN {
        let newest = newest.unwrap_or(now);
        let says = format!("this machine says {now}, and the newest row was recorded at {newest}: the clock is behind");
        let state = if behind > SKEW_SECONDS_FAIL { State::Fail } else { State::Warn };
        return Finding::new("clock", state, says, Some(fix));
    }
    let says = match skew.abs() {
        0..=SKEW_SECONDS_WARN => return Finding::ok("clock", format!("{now}, and not before the newest row")),
        _ if skew > 0 => format!("this machine's clock is {skew} s ahead of the database's"),
        _ => format!("this machine's clock is {} s behind the database's", -skew),
    };
    let state = if skew.abs() > SKEW_SECONDS_FAIL { State::Fail } else { State::Warn };
    Finding::new("clock", state, says, Some(fix))
}

pub(super) fn zones(zones: &[String]) -> Finding {
    let unknown: Vec<&str> = zones.iter().map(String::as_str).filter(|zone| parse_zone(zone).is_err()).collect();
    match unknown.is_empty() {
        true => Finding::ok("zones", format!("{}, each known", counted(zones.len() as u64, "zone"))),
        false => Finding::fail(
            "zones",
            format!("accounts have zones that this creditd does not know: {}", unknown.join(", ")),
            "install the creditd that wrote them, or a newer one",
        ),
    }
}

/// How one job stands: when it was done, what is due, when it is looked at next. What fell due before the ledger was made, at
/// `since`, is nobody's fault.
pub(super) fn job(schedule: &Schedule, stands: JobFigures, due: &Due, since: Instant, now: Instant) -> Finding {
    let job = schedule.job;
    let last = stands.done_at.map_or("never done".to_owned(), |at| format!("last done {at}"));
    let next = schedule.next(now, 1).first().map_or("never looked at again".to_owned(), |at| format!("next {at}"));
    let says = format!("{job}: {last}, {next}");
    let fails = stands.failed || stands.failing_since.is_some();
    let (mut wrong, mut fixes) = (Vec::new(), Vec::new());
    if fails {
        wrong
            .push(format!("it fails{}", stands.failing_since.map_or(String::new(), |since| format!(" since {since}"))));
        fixes.push(format!("`creditd jobs runs --job {job}` says why; `creditd run {job}` tries it now"));
    } else if due.overdue > 0 && due.slots.iter().any(|slot| slot.due_at() >= since) {
        let waiting = due.slots.len() + due.capped;
        wrong.push(format!("{} overdue", counted(waiting as u64, "slot")));
        fixes.push("is `creditd serve` running? It catches up on what is overdue by itself".to_owned());
    }
    if due.expired > 0 {
        let (missed, window) = (counted(due.expired as u64, "missed slot"), counted(schedule.window_days, "day"));
        wrong.push(format!("{missed} older than {window}"));
        fixes.push("`creditd jobs next` says what runs the missed ones, if they matter".to_owned());
    }
    let says = std::iter::once(says).chain(wrong).collect::<Vec<_>>().join("; ");
    match fixes.join("; ") {
        fix if fails => Finding::fail("schedule", says, fix),
        fix if !fix.is_empty() => Finding::warn("schedule", says, fix),
        _ => Finding::ok("schedule", says),
    }
}

pub(super) fn outbox(figures: &Figures, now: Instant) -> Vec<Finding> {
    let late = figures.waiting_since.map_or(0, |since| (now.micros().saturating_sub(since.micros())) / 1_000_000);
    let says = match figures.waiting_since {
        Some(since) if figures.waiting > 0 => {
            format!("{} waiting, due since {since} at the longest", counted(figures.waiting, "message"))
        }
        _ => "nothing waits".to_owned(),
    };
    let fix = "`creditd email check` says whether mail leaves; `creditd outbox list` says what waits and why";
    let mut findings = vec![match late {
        late if late > MAIL_LATE_SECONDS_FAIL => Finding::fail("outbox", says, fix),
        late if late > MAIL_LATE_SECONDS_WARN => Finding::warn("outbox", says, fix),
        _ => Finding::ok("outbox", says),
    }];
    if figures.failed > 0 {
        findings.push(Finding::warn(
            "outbox",
            format!("{} given up", counted(figures.failed, "message")),
            "`creditd outbox list --state failed` names them; `creditd outbox retry` sends one again, `cancel` drops it",
        ));
    }
    if figures.ambiguous > 0 {
        findings.push(Finding::warn(
            "outbox",
            format!("{} that may or may not have arrived", counted(figures.ambiguous, "message")),
            "`creditd outbox list --state ambiguous` names them; ask, then `creditd outbox retry` or `cancel`",
        ));
    }
    findings
}

pub(super) fn webhooks(figures: &Figures) -> Finding {
    let mut says = Vec::new();
    if figures.webhooks_stopped > 0 {
        let want = if figures.webhooks_stopped == 1 { "wants" } else { "want" };
        let addresses = if figures.webhooks_stopped == 1 { "address" } else { "addresses" };
        says.push(format!("{} {addresses} {want} no more events (410)", grouped(figures.webhooks_stopped)));
    }
    if figures.events_failed > 0 {
        says.push(format!("{} given up", counted(figures.events_failed, "event")));
    }
    if says.is_empty() {
        let waiting = counted(figures.events_waiting, "event");
        return Finding::ok("webhooks", format!("{waiting} waiting, none given up"));
    }
    let fix = "`creditd webhook list` and `creditd webhook events --state failed` name them; `creditd webhook retry` posts them again, \
               `creditd webhook remove` drops the address with its events";
    Finding::warn("webhooks", says.join(", "), fix)
}

/// How many addresses get no mail, and which of the operators' are among them.
pub(super) fn suppressed(count: u64, operators: &[Email]) -> Finding {
    let says = format!("{} no mail", counted_get(count));
    if operators.is_empty() {
        return Finding::ok("suppressed", says);
    }
    let operators: Vec<&str> = operators.iter().map(Email::as_str).collect();
    Finding::warn(
        "suppressed",
        format!("{says}; no word of a job that fails gets to {}", operators.join(" and ")),
        "`creditd suppressions list` says why, `creditd suppressions remove` ends it",
    )
}

fn counted_get(count: u64) -> String {
    if count == 1 { "1 address gets".to_owned() } else { format!("{} addresses get", grouped(count)) }
}

/// Sealed files that cannot be looked at. The ledger has all that they hold.
pub(super) fn not_sealed(error: &AppError) -> Finding {
    let fix = match error {
        AppError::Sealed(_) => {
            "nothing is wrong with the ledger: let the user that runs creditd read what is named, a folder of its own; what is in its place, \
             move away, and put the folder back from a backup, or see `sealed files` in the README"
        }
        _ => BROKEN,
    };
    Finding::fail("sealed", error.to_string(), fix)
}

pub(super) fn sealed(unsealed_days: Option<u64>, lacking: &[String], outside: &[String]) -> Finding {
    if let [first, more @ ..] = lacking {
        let more =
            if more.is_empty() { String::new() } else { format!(" and {} more", counted(more.len() as u64, "file")) };
        let fix = "reports read the database meanwhile; put the files back from a backup, or see `sealed files` in the README";
        return Finding::fail("sealed", format!("{first}{more}"), fix);
    }
    if !outside.is_empty() {
        let fix = "creditd reads only its own; a program that reads the whole folder counts these, too";
        return Finding::warn("sealed", outside.join("; "), fix);
    }
    match unsealed_days {
        None => Finding::ok("sealed", "sealing is off (sealed.enabled)".to_owned()),
        Some(days @ 0..=UNSEALED_DAYS_WARN) => {
            Finding::ok("sealed", format!("{} not in sealed files yet", counted(days, "past day")))
        }
        Some(days) => Finding::warn(
            "sealed",
            format!("{} not in sealed files yet; reports read them from the database", counted(days, "past day")),
            "is `creditd serve` running? `creditd run seal` seals them now",
        ),
    }
}

pub(super) fn operators(count: usize) -> Finding {
    match count {
        0 => Finding::warn(
            "operators",
            "nobody is told by mail when a job fails".to_owned(),
            "set operators in [mail], or let your monitoring collect /metrics or take pings ([jobs.ping])",
        ),
        _ => Finding::ok("operators", format!("{} when a job fails", told(count))),
    }
}

fn told(count: usize) -> String {
    if count == 1 { "1 operator is told".to_owned() } else { format!("{count} operators are told") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::schedule::{Job, Slot};

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect("an instant")
    }

    #[track_caller]
    fn is(finding: &Finding, state: State, says: &str) {
        assert!(finding.state == state && finding.says.contains(says), "{finding:?}");
        assert_eq!(finding.fix.is_some(), matches!(state, State::Warn | State::Fail), "{finding:?}");
    }

    #[test]
    fn a_clock_that_is_off_is_found_by_the_database_or_by_the_newest_row() {
        let now = at("2026-01-10T12:00:00Z");
        is(&clock(now, now, None), State::Ok, "2026-01-10");
        is(&clock(now, now.plus_seconds(4), Some(now.plus_seconds(5))), State::Ok, "2026-01-10");
        is(&clock(now, now.plus_seconds(7), None), State::Warn, "7 s behind the database's");
        is(&clock(now, now.plus_seconds(-61), None), State::Fail, "61 s ahead of the database's");
        is(&clock(now, now, Some(now.plus_seconds(30))), State::Warn, "the clock is behind");
        is(&clock(now, now, Some(now.plus_days(1))), State::Fail, "the clock is behind");
    }

    #[test]
    fn a_folder_is_judged_by_its_room_and_by_whether_one_can_write() {
        let of = |free, written| folder("mail", Path::new("/srv/mail"), free, written);
        let denied = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        is(&of(Ok(5_000_000_000), Ok(())), State::Ok, "mail in /srv/mail: 5,000 MB free");
        is(&of(Ok(999_000_000), Ok(())), State::Warn, "999 MB free");
        is(&of(Ok(1), Ok(())), State::Fail, "0 MB free");
        is(&of(Ok(5_000_000_000), Err(denied())), State::Fail, "cannot be written to");
        is(&of(Err(denied()), Ok(())), State::Warn, "does not say");
    }

    #[test]
    fn a_job_is_well_late_or_failing() {
        let text =
            "cron = \"0 * * * * *\"\nzone = \"UTC\"\ncatch_up = \"latest\"\nwindow_days = 1\ngrace_seconds = 60\n";
        let schedule = Schedule::parse(Job::Scan, "scan.toml", text).expect("a schedule");
        let (since, now) = (at("2026-01-10T11:00:00Z"), at("2026-01-10T12:00:30Z"));
        let done = JobFigures { done_at: Some(at("2026-01-10T12:00:00Z")), ..JobFigures::default() };
        let well = job(&schedule, done, &Due::default(), since, now);
        is(&well, State::Ok, "scan: last done 2026-01-10T12:00:00Z, next 2026-01-10T12:01:00Z");
        is(&job(&schedule, JobFigures::default(), &Due::default(), since, now), State::Ok, "never done");
        let late = |at: Instant| Due { slots: vec![Slot::Tick(at)], overdue: 1, ..Due::default() };
        is(&job(&schedule, done, &late(since), since, now), State::Warn, "1 slot overdue");
        is(&job(&schedule, done, &late(since.plus_seconds(-1)), since, now), State::Ok, "last done");
        is(&job(&schedule, done, &Due { expired: 3, ..Due::default() }, since, now), State::Warn, "3 missed");
        let both = job(&schedule, done, &Due { expired: 3, ..late(since) }, since, now);
        is(&both, State::Warn, "1 slot overdue; 3 missed slots older than");
        let failing = JobFigures { failing_since: Some(now), failed: true, ..done };
        is(&job(&schedule, failing, &Due::default(), since, now), State::Fail, "it fails since 2026-01-10T12:00:30Z");
    }

    #[test]
    fn zones_and_days_that_are_not_sealed() {
        is(&zones(&["UTC".to_owned(), "Europe/Berlin".to_owned()]), State::Ok, "2 zones");
        is(&zones(&["UTC".to_owned(), "Mars/Base".to_owned()]), State::Fail, "Mars/Base");
        is(&sealed(None, &[], &[]), State::Ok, "off");
        is(&sealed(Some(1), &[], &[]), State::Ok, "1 past day");
        is(&sealed(Some(3), &[], &[]), State::Warn, "3 past days");
        is(&sealed(Some(1), &[], &["the file x.parquet is no part".to_owned()]), State::Warn, "x.parquet");
        let lacking = ["a is missing".to_owned(), "b is missing".to_owned()];
        is(&sealed(Some(1), &lacking, &[]), State::Fail, "a is missing and 1 file more");
        is(&schema(Schema { found: 3, known: 5, due: 2 }), State::Warn, "version 3; this creditd knows 5");
        is(&schema(Schema { found: 5, known: 5, due: 0 }), State::Ok, "version 5");
        is(&suppressed(2, &[]), State::Ok, "2 addresses get no mail");
        let ops = Email::new("ops@a.example").expect("an address");
        is(&suppressed(2, &[ops]), State::Warn, "no word of a job that fails gets to ops@a.example");
        is(&operators(0), State::Warn, "nobody");
    }
}
