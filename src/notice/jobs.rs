//! To operators: that a job failed, and that it is well again.

use super::words::{moment, month_title, shorten};
use super::{NoticeError, Templates};
use crate::core::backfill::ranges;
use crate::core::calendar::{Instant, Month, next_day};
use crate::core::counting::counted;
use crate::core::locale::Locale;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::schedule::{Covers, Job, Slot};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;

/// Longest reason, in characters: three differences of a ledger that does not add up take some hundred each.
const WHY_CHARS_MAX: usize = 1_500;
/// Longest reason in a subject, in characters: inboxes show about 60 in all.
const WHY_SHORT_CHARS_MAX: usize = 60;
/// Blanks between a command and what it does.
const GAP: usize = 3;

/// What became of periods that were missed, once none of them is left.
pub const CAUGHT_UP: &str = "none of the periods that were missed is left";

/// Why periods are missed that have left their schedule's window, of so many days.
#[must_use]
pub fn why_missed(window_days: i64) -> String {
    let window = counted(window_days, "day");
    format!("creditd did not run then, and they are older than the window of {window}")
}

/// The facts of the notice that a job failed. Its key says since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailed {
    /// Which job.
    pub job: Job,
    /// For which slot.
    pub slot: Slot,
    /// When.
    pub failed_at: Instant,
    /// Why; what looks like an address in it is left out.
    pub why: String,
    /// How many slots were never run and are not run by themselves any more, of which `slot` is the newest; 0 where a run failed.
    pub missed: usize,
    /// The oldest of those; `slot` where a run failed.
    pub oldest: Slot,
    /// How operators write dates.
    pub locale: Locale,
}

/// The facts of the notice that a job which had failed is done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobWell {
    /// Which job.
    pub job: Job,
    /// For which slot it was done.
    pub slot: Slot,
    /// When.
    pub done_at: Instant,
    /// What it did, in one sentence.
    pub outcome: String,
    /// When it had failed first: the notice of that has it in its key.
    pub began_at: Instant,
    /// Why.
    pub why: String,
    /// Whether it had missed periods, of which `slot` was the newest, instead of failing.
    pub missed: bool,
    /// How operators write dates.
    pub locale: Locale,
}

#[derive(Serialize)]
struct FailedView<'a> {
    locale: Locale,
    job: &'a str,
    covers: String,
    failed_at: String,
    why: String,
    why_short: String,
    missed: Option<String>,
    oldest: Option<String>,
    commands: Vec<Command>,
    width: usize,
}

#[derive(Serialize)]
struct WellView<'a> {
    locale: Locale,
    job: &'a str,
    covers: String,
    done_at: String,
    began_at: String,
    outcome: String,
    why: String,
    missed: bool,
}

/// What an operator may type.
#[derive(Serialize)]
pub struct Command {
    /// The command.
    pub command: String,
    /// What it does, such as `shows its last runs`.
    pub what: &'static str,
}

impl Templates {
    /// Words that a job failed, for one operator.
    ///
    /// # Errors
    /// [`NoticeError`] when a template fails on these facts.
    pub fn job_failed(&self, facts: &JobFailed, to: &Mailbox) -> Result<Message, NoticeError> {
        let JobFailed { job, slot, failed_at, why, missed, oldest, locale } = facts;
        let key = NoticeKey::job_failed(*job, *failed_at, to.address.clone());
        let why = without_addresses(why);
        let commands = if *missed > 0 { commands_for_missed(*job, *oldest, *slot) } else { commands(*job, *slot) };
        let view = FailedView {
            locale: *locale,
            job: job.as_str(),
            covers: covers(*slot, *failed_at, *locale),
            failed_at: moment(*failed_at, Tz::UTC, *locale),
            missed: (*missed > 0).then(|| counted(*missed as u64, "period")),
            oldest: (oldest != slot).then(|| covers(*oldest, *failed_at, *locale)),
            why_short: in_short(&why),
            why: shorten(&why, WHY_CHARS_MAX),
            width: commands.iter().map(|line| line.command.len()).max().unwrap_or(0) + GAP,
            commands,
        };
        self.message("job-failed", &view, key, &to.name, *failed_at)
    }

    /// Words that a job is well again, for one operator.
    ///
    /// # Errors
    /// [`NoticeError`] when a template fails on these facts.
    pub fn job_well(&self, facts: &JobWell, to: &Mailbox) -> Result<Message, NoticeError> {
        let JobWell { job, slot, done_at, outcome, began_at, why, missed, locale } = facts;
        let key = NoticeKey::job_well(*job, *began_at, to.address.clone());
        let view = WellView {
            locale: *locale,
            job: job.as_str(),
            covers: covers(*slot, *done_at, *locale),
            done_at: moment(*done_at, Tz::UTC, *locale),
            began_at: moment(*began_at, Tz::UTC, *locale),
            outcome: shorten(without_addresses(outcome).trim_end_matches('.'), WHY_CHARS_MAX),
            why: shorten(&without_addresses(why), WHY_CHARS_MAX),
            missed: *missed,
        };
        self.message("job-well", &view, key, &to.name, *done_at)
    }
}

/// The beginning of a reason, for a subject: its first sentence up to where it names a command, and no more than an inbox shows, of
/// that as many thoughts as fit, or else words. Empty where it names a command in its first thought.
fn in_short(why: &str) -> String {
    let why = shorten(why, WHY_CHARS_MAX);
    let sentence = why.split_once(". ").map_or(&*why, |(first, _)| first);
    let (before, _) = sentence.split_once('`').unwrap_or((sentence, ""));
    let clause = match before.len() < sentence.len() {
        true => up_to_last(before, &[';', ':', ',', '.']).unwrap_or_default(),
        false => before,
    };
    let clause = clause.trim().trim_end_matches(['.', ';', ':', ',']);
    if clause.chars().count() <= WHY_SHORT_CHARS_MAX {
        return clause.to_owned();
    }
    let cut = shorten(clause, WHY_SHORT_CHARS_MAX);
    // What stands before a colon may be a word or two that say little.
    let thoughts = up_to_last(&cut, &[';', ':']).filter(|thoughts| thoughts.chars().count() >= WHY_SHORT_CHARS_MAX / 2);
    if let Some(thoughts) = thoughts {
        return thoughts.to_owned();
    }
    match cut.rsplit_once(' ') {
        Some((words, _)) => format!("{}…", words.trim_end_matches([',', ';', ':'])),
        None => cut,
    }
}

/// `text` up to the last of `marks` that ends something: one within a word or a number does not.
fn up_to_last<'a>(text: &'a str, marks: &[char]) -> Option<&'a str> {
    let is_end = |(at, mark): &(usize, &str)| !text[at + mark.len()..].starts_with(|next: char| !next.is_whitespace());
    text.rmatch_indices(marks).find(is_end).map(|(at, _)| &text[..at])
}

/// What a run that ended at `at` was for; empty where it reads the same.
fn covers(slot: Slot, at: Instant, locale: Locale) -> String {
    let moment = |at| moment(at, Tz::UTC, locale);
    match slot {
        Slot::Tick(slot) if moment(slot) == moment(at) => String::new(),
        Slot::Tick(at) => moment(at),
        Slot::Day(day, zone) => format!("{} in {zone}", locale.date(day)),
        Slot::Month(month, zone) => format!("{} in {zone}", month_title(month)),
    }
}

/// What brings back what was missed, from the oldest slot to the newest.
#[must_use]
pub fn commands_for_missed(job: Job, first: Slot, last: Slot) -> Vec<Command> {
    let (from, to) = match (first, last) {
        (Slot::Day(first, _), Slot::Day(last, _)) => (first, next_day(last)),
        (Slot::Month(first, _), Slot::Month(last, _)) => (first.first_day(), last.next().first_day()),
        _ => return commands(job, last),
    };
    let period = |day: NaiveDate| match job.covers() {
        Covers::Month => Month::of(day).to_string(),
        Covers::Day | Covers::Tick => day.to_string(),
    };
    let mut commands = vec![Command { command: "creditd jobs next".to_owned(), what: "says how many there are" }];
    // More than one backfill takes are several.
    for (from, to) in ranges(job, from, to) {
        let create = format!("creditd backfill create --job {job} --from {} --to {}", period(from), period(to));
        commands.push(Command { command: format!("{create} --dry-run"), what: "shows what would be run" });
        commands.push(Command { command: format!("{create} --email"), what: "runs that, and writes its mails" });
    }
    commands
}

/// What to type where `job` failed for `slot`, what tells most first.
#[must_use]
pub fn commands(job: Job, slot: Slot) -> Vec<Command> {
    let period = match slot {
        Slot::Tick(_) => String::new(),
        Slot::Day(day, _) => format!(" --day {day}"),
        Slot::Month(month, _) => format!(" --month {month}"),
    };
    let mut commands = vec![
        Command { command: format!("creditd jobs runs --job {job}"), what: "shows its last runs" },
        Command { command: format!("creditd run {job}{period}"), what: "runs it now, and says what is wrong" },
    ];
    match job {
        Job::Verify => commands.insert(
            0,
            Command { command: "creditd verify".to_owned(), what: "shows all differences, and changes nothing" },
        ),
        Job::Deliver => commands.insert(
            0,
            Command { command: "creditd email check".to_owned(), what: "asks the mail server, and sends nothing" },
        ),
        _ => {}
    }
    commands
}

/// `text` without what looks like an address of somebody: a log of the mail server may name recipients, a difference of the
/// ledger a message.
#[must_use]
fn without_addresses(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | ',' | ';' | '"' | '/');
    let mut cleaned = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_end) {
        let word = piece.trim_end_matches(is_end);
        let is_address = word.rsplit_once('@').is_some_and(|(local, domain)| {
            let domain = domain.trim_end_matches(['.', ':', '\'', '`', '!', '?', ']', '}']);
            let is_host = domain == "localhost" || domain.contains('.');
            !local.is_empty() && is_host && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'))
        });
        if is_address {
            cleaned.push_str("(address)");
            cleaned.push_str(&piece[word.len()..]);
        } else {
            cleaned.push_str(piece);
        }
    }
    cleaned
}

/// A notice to look at.
#[must_use]
pub fn sample_job_failed() -> JobFailed {
    let slot = Slot::Tick(Instant::from_micros(1_362_108_600_000_000)); // 2013-03-01T03:30:00Z
    JobFailed {
        job: Job::Verify,
        slot,
        failed_at: Instant::from_micros(1_362_108_604_000_000),
        why: "the ledger does not add up; `creditd verify` shows all differences. The first: the balance is what the grants have \
              left: \
              acme: balance of free + purchased should be 1500 + 2251, is 1500 + 2250"
            .to_owned(),
        missed: 0,
        oldest: slot,
        locale: Locale::default(),
    }
}

/// A notice to look at.
#[must_use]
pub fn sample_job_missed() -> JobFailed {
    // The newest one that was older than the window when the others were made up.
    let newest = Month::new(2011, 12).unwrap_or_else(|_| unreachable!("a valid month"));
    let slot = Slot::Month(newest, Tz::UTC);
    JobFailed {
        job: Job::MonthlyReport,
        slot,
        failed_at: slot.due_at(),
        why: why_missed(400),
        missed: 3,
        oldest: Slot::Month(newest.previous().previous(), Tz::UTC),
        ..sample_job_failed()
    }
}

/// A notice to look at.
#[must_use]
pub fn sample_job_well() -> JobWell {
    let JobFailed { job, failed_at, why, locale, .. } = sample_job_failed();
    JobWell {
        job,
        slot: Slot::Tick(Instant::from_micros(1_362_195_000_000_000)), // 2013-03-02T03:30:00Z
        done_at: Instant::from_micros(1_362_195_003_000_000),
        outcome: "42 checks over the whole ledger, no difference".to_owned(),
        began_at: failed_at,
        why,
        missed: false,
        locale,
    }
}

/// A notice to look at.
#[must_use]
pub fn sample_job_caught_up() -> JobWell {
    let JobFailed { job, slot, failed_at, why, locale, .. } = sample_job_missed();
    let outcome = CAUGHT_UP.to_owned();
    JobWell { job, slot, began_at: failed_at, why, missed: true, outcome, locale, ..sample_job_well() }
}

/// One sample for each job.
pub(super) fn samples() -> Vec<JobFailed> {
    let each = Job::ALL.iter().map(|job| JobFailed { job: *job, ..sample_job_failed() });
    each.chain([sample_job_missed()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_left_out_and_nothing_else() {
        for (text, cleaned) in [
            ("550 5.1.1 <ann@acme.example>: gone", "550 5.1.1 <(address)>: gone"),
            ("message low-credit/acme/low#3/ann@acme.example/1: x", "message low-credit/acme/low#3/(address)/1: x"),
            ("postgres://me@db.example/x", "postgres://(address)/x"),
            ("to root@localhost.", "to (address)"),
            (
                "run of 2013-03@America/New_York, reset@2013-03-01T00:05:00Z",
                "run of 2013-03@America/New_York, reset@2013-03-01T00:05:00Z",
            ),
            ("a @ b @", "a @ b @"),
        ] {
            assert_eq!(without_addresses(text), cleaned);
        }
    }

    #[test]
    fn a_subject_ends_where_a_thought_does() {
        for (why, short) in [
            (
                "the ledger does not add up; `creditd verify` shows all differences. The first: x",
                "the ledger does not add up",
            ),
            ("the server refused the password. Check `smtp.user`.", "the server refused the password"),
            ("disk full.", "disk full"),
            ("cannot read a/b.c: no such file", "cannot read a/b.c: no such file"),
            ("run `creditd db migrate` first", ""),
            ("the file /etc/creditd.toml has `smtp`", ""),
            ("1,500 rows of `grants` differ", ""),
            ("1,500 rows differ, say `creditd verify`", "1,500 rows differ"),
            ("no answer at 10:30: `creditd email check` asks again", "no answer at 10:30"),
            (
                "the mail server refuses everybody: address after address for good, and no message taken in between",
                "the mail server refuses everybody",
            ),
            (
                "database: a notice could not be worded for three accounts, as the template failed",
                "database: a notice could not be worded for three…",
            ),
            ("`creditd db migrate` has to be run", ""),
            (
                "a notice could not be worded for 3 accounts, acme, globex and initech: the template failed",
                "a notice could not be worded for 3 accounts, acme, globex…",
            ),
            ("", ""),
        ] {
            assert_eq!(in_short(why), short);
        }
        assert_eq!(in_short(&"x".repeat(70)).chars().count(), WHY_SHORT_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn no_address_stays(local in "[a-z0-9.+_-]{1,20}", before in "[ <(,;\"/]", after in "[ >),;\"/]") {
            let cleaned = without_addresses(&format!("why{before}{local}@acme.example{after}so"));
            prop_assert_eq!(cleaned, format!("why{before}(address){after}so"));
        }
    }
}
