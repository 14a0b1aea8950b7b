//! A run: one execution of a slot, as any number of processes share it (DESIGN 7).
//!
//! A run is done batch by batch. A batch is a span of the job's work in an order that only the job knows; jobs that cannot be
//! shared have one, which is all of it. Each is handed out to one process under a lease by the clock of the database, which is
//! the same for all of them. A process that lives extends its lease; one that died, or was held up for longer, has lost it, and
//! whoever comes next gets the batch under a greater *term*. What is written for a batch is written only while its term
//! holds, so nobody writes what was decided before somebody else took over.
//!
//! Nothing here is the reason why an effect happens once: effects have keys of their own. Runs are there so that work is not done
//! twice in vain, that what was left lying is taken up, and that a person sees what happened.

use super::calendar::Instant;
use super::counting::counted;
use super::transaction::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Batches of one run that are handed out at once: more processes than that wait for the next bell.
pub const LEASES_MAX: usize = 64;
/// How often a batch may end with its process before the run has failed: it may be what ends them.
pub const DEATHS_MAX: u32 = 5;
/// Lines that a run keeps of what it found.
pub const NOTES_MAX: usize = 100;
/// The pause before the first retry of a run that failed; it doubles with each further one.
const RETRY_SECONDS_MIN: i64 = 30;
/// The longest pause before a retry.
const RETRY_SECONDS_MAX: i64 = 3_600;

/// What a run is called that its last process left because it was told to stop ([`Run::is_handed_back`]). It is kept as one that is running.
pub const HANDED_BACK_WORD: &str = "handed back";

/// What is said with the outcome of a run of which a part was taken up.
const NOT_COUNTED: &str = "not counted is what was done of a part before whoever was at it ended, stopped or failed";

words! {
    /// Where a run stands.
    RunState {
        /// A slot of a backfill whose turn has not come.
        Waiting = "waiting",
        /// Being executed, or left lying by a process that died.
        Running = "running",
        /// Executed.
        Done = "done",
        /// Failed; it is tried again for a while.
        Failed = "failed",
        /// A person wanted it no more.
        Cancelled = "cancelled",
    }
}

/// Counts of what was done, by name; those of batches add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(BTreeMap<String, i64>);

impl Tally {
    /// Adds `n` to the count `name`.
    pub fn add(&mut self, name: &str, n: i64) {
        if n != 0 {
            let count = self.0.entry(name.to_owned()).or_default();
            *count = count.saturating_add(n);
        }
    }

    /// The count `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The same where counts below nothing make no sense.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        u64::try_from(self.get(name)).unwrap_or_default()
    }

    /// Adds all counts of `other`.
    pub fn extend(&mut self, other: &Tally) {
        other.0.iter().for_each(|(name, n)| self.add(name, *n));
    }
}

/// A part of a job's work: what comes behind `after`, up to and including `until`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins; from the beginning where there is none.
    pub after: Option<String>,
    /// Where it ends; at the end where there is none.
    pub until: Option<String>,
}

impl Span {
    /// All of it.
    pub const WHOLE: Span = Span { after: None, until: None };
}

/// Where the next batch ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Here, and more may follow.
    At(String),
    /// It is the last one.
    Rest,
    /// There is none.
    Nothing,
}

/// A batch that is a process's to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What is to be done.
    pub span: Span,
    /// Under which term.
    pub term: u32,
    /// How many processes ended while they were at it.
    pub deaths: u32,
}

/// What there is to do for a process that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// This batch, which is leased.
    Batch(Batch),
    /// Find out where the batch behind this ends, and ask for it by [`Run::hand_out`].
    Find(Option<String>),
    /// Nothing: all that is left is being done.
    Wait,
    /// Nothing: the run is over.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    span: Span,
    term: u32,
    holder: String,
    /// By the database's clock.
    until: Instant,
    deaths: u32,
}

/// What has not been handed out yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ahead {
    Behind(Option<String>),
    Nothing,
}

/// How far a run is. Only a run that is not over has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    ahead: Ahead,
    leases: Vec<Lease>,
    /// Whether the last that was heard of it is that a process stops.
    #[serde(default)]
    is_left: bool,
    /// Whether a part was taken up that somebody had left unfinished: what they did of it is in no tally.
    #[serde(default)]
    is_taken_up: bool,
    last_term: u32,
    tally: Tally,
    problems: u64,
    first_problem: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
}

impl Progress {
    fn new(last_term: u32) -> Progress {
        let (leases, tally) = (Vec::new(), Tally::default());
        Progress {
            ahead: Ahead::Behind(None),
            leases,
            is_left: false,
            is_taken_up: false,
            last_term,
            tally,
            problems: 0,
            first_problem: None,
            notes: Vec::new(),
        }
    }
}

/// A run, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it stands.
    pub state: RunState,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was last begun.
    pub started_at: Instant,
    /// When it ended.
    pub finished_at: Option<Instant>,
    /// When it is tried again, where it failed and that is worth trying.
    pub retry_at: Option<Instant>,
    /// What it did, or why it failed.
    pub outcome: Option<String>,
    progress: Progress,
}

impl Run {
    /// One that begins.
    #[must_use]
    pub fn begin(now: Instant) -> Run {
        Run { state: RunState::Running, attempts: 1, started_at: now, ..Run::waiting(now) }
    }

    /// One whose turn has not come.
    #[must_use]
    pub fn waiting(now: Instant) -> Run {
        let (finished_at, retry_at, outcome) = (None, None, None);
        let progress = Progress::new(0);
        Run { state: RunState::Waiting, attempts: 0, started_at: now, finished_at, retry_at, outcome, progress }
    }

    /// Puts together what was stored.
    ///
    /// # Errors
    /// What is wrong with `progress`.
    pub fn with_progress(self, progress: &str) -> Result<Run, serde_json::Error> {
        Ok(Run { progress: serde_json::from_str(progress)?, ..self })
    }

    /// How far it is, as text to store.
    #[must_use]
    pub fn progress(&self) -> String {
        serde_json::to_string(&self.progress).unwrap_or_default()
    }

    /// Begins anew, whatever was done: for whoever asks for it, or when a retry is due. What is being done goes on.
    pub fn begin_again(&mut self, now: Instant) {
        if self.state != RunState::Failed {
            self.progress = Progress::new(self.progress.last_term);
        }
        (self.state, self.progress.is_left) = (RunState::Running, false);
        self.attempts = self.attempts.saturating_add(1);
        (self.started_at, self.finished_at, self.retry_at, self.outcome) = (now, None, None, None);
    }

    /// Whether there is something to do for another process at `clock`, by the database's clock, and `now`, by its own.
    #[must_use]
    pub fn is_open(&self, clock: Instant, now: Instant) -> bool {
        match self.state {
            RunState::Running => {
                let has_room = self.progress.ahead != Ahead::Nothing && self.progress.leases.len() < LEASES_MAX;
                has_room || self.progress.leases.is_empty() || self.has_lost_lease(clock)
            }
            RunState::Failed => self.retry_at.is_some_and(|at| at <= now),
            RunState::Waiting | RunState::Done | RunState::Cancelled => false,
        }
    }

    /// Whether a process that died, or gave it back, has left some of it at `clock`, by the database's clock, which waits for another.
    #[must_use]
    pub fn is_lost(&self, clock: Instant) -> bool {
        self.state == RunState::Running && self.has_lost_lease(clock)
    }

    fn has_lost_lease(&self, clock: Instant) -> bool {
        self.progress.leases.iter().any(|lease| lease.until <= clock)
    }

    /// Whether nobody is at it because a process was told to stop, and has handed it back for whoever comes next. Nobody holds a part
    /// either while whoever is at it is between two batches.
    #[must_use]
    pub fn is_handed_back(&self) -> bool {
        let Progress { leases, is_left, .. } = &self.progress;
        self.state == RunState::Running && *is_left && leases.iter().all(|lease| lease.until == HANDED_BACK)
    }

    /// Where it stands, in a word.
    #[must_use]
    pub fn standing(&self) -> &'static str {
        if self.is_handed_back() { HANDED_BACK_WORD } else { self.state.as_str() }
    }

    /// Who is at it, and until when they are believed to be, by the database's clock.
    pub fn holders(&self) -> impl Iterator<Item = (&str, Instant)> {
        let held = self.progress.leases.iter().filter(|lease| lease.until != HANDED_BACK);
        held.map(|lease| (lease.holder.as_str(), lease.until))
    }

    /// What there is to do for `holder`, a name that no other process has. What was left lying comes first.
    pub fn take(&mut self, holder: &str, clock: Instant, lease_seconds: i64) -> Take {
        if self.state != RunState::Running {
            return Take::Over;
        }
        let Progress { ahead, leases, is_left, is_taken_up, last_term, .. } = &mut self.progress;
        *is_left = false;
        let until = clock.plus_seconds(lease_seconds);
        // What it was given already, when it did not hear that it was; else what was left lying.
        let own = leases.iter().position(|lease| lease.holder == holder && lease.until > clock);
        if let Some(lease) = own.and_then(|at| leases.get_mut(at)) {
            lease.until = until;
            return Take::Batch(Batch { span: lease.span.clone(), term: lease.term, deaths: lease.deaths });
        }
        if let Some(lease) = leases.iter_mut().find(|lease| lease.until <= clock) {
            *last_term = last_term.saturating_add(1);
            *is_taken_up = true;
            if lease.until != HANDED_BACK {
                lease.deaths = lease.deaths.saturating_add(1);
            }
            (lease.term, lease.holder, lease.until) = (*last_term, holder.to_owned(), until);
            return Take::Batch(Batch { span: lease.span.clone(), term: lease.term, deaths: lease.deaths });
        }
        match ahead {
            Ahead::Behind(after) if leases.len() < LEASES_MAX => Take::Find(after.clone()),
            _ => Take::Wait,
        }
    }

    /// Hands out the batch behind `after`, unless somebody else got it meanwhile. Where there is none, and nothing is being
    /// done any more, the run is done: see [`Run::is_all_done`].
    pub fn hand_out(
        &mut self,
        after: Option<&str>,
        end: End,
        holder: &str,
        clock: Instant,
        lease_seconds: i64,
    ) -> Option<Batch> {
        let Progress { ahead, leases, last_term, .. } = &mut self.progress;
        let is_next = matches!(ahead, Ahead::Behind(next) if next.as_deref() == after);
        if self.state != RunState::Running || !is_next {
            return None;
        }
        let after = after.map(str::to_owned);
        let (span, then) = match end {
            End::At(until) => (Span { after, until: Some(until.clone()) }, Ahead::Behind(Some(until))),
            End::Rest => (Span { after, until: None }, Ahead::Nothing),
            End::Nothing => {
                *ahead = Ahead::Nothing;
                return None;
            }
        };
        *ahead = then;
        *last_term = last_term.saturating_add(1);
        let (term, until) = (*last_term, clock.plus_seconds(lease_seconds));
        leases.push(Lease { span: span.clone(), term, holder: holder.to_owned(), until, deaths: 0 });
        Some(Batch { span, term, deaths: 0 })
    }

    /// Whether what is decided under `term` may be written at `clock`.
    #[must_use]
    pub fn holds(&self, term: u32, clock: Instant) -> bool {
        self.state != RunState::Cancelled
            && self.progress.leases.iter().any(|lease| lease.term == term && lease.until > clock)
    }

    /// A sign of life of whoever has the batch of `term`. False when it is not theirs any more.
    pub fn extend(&mut self, term: u32, clock: Instant, lease_seconds: i64) -> bool {
        let holds = self.holds(term, clock);
        let own = self.progress.leases.iter_mut().filter(|lease| holds && lease.term == term);
        own.for_each(|lease| lease.until = clock.plus_seconds(lease_seconds));
        holds
    }

    /// The batch of `term` is done. Nothing happens when somebody else has it by now: it will be theirs to say.
    pub fn finish(&mut self, term: u32, tally: &Tally, problems: &[String]) {
        let Progress { leases, is_left, tally: sum, problems: count, first_problem, .. } = &mut self.progress;
        let Some(at) = leases.iter().position(|lease| lease.term == term) else { return };
        *is_left = false;
        leases.remove(at);
        sum.extend(tally);
        *count = count.saturating_add(problems.len() as u64);
        if first_problem.is_none() {
            *first_problem = problems.first().cloned();
        }
    }

    /// Keeps what a batch found, for whoever asks later: the first [`NOTES_MAX`] lines of all.
    pub fn note(&mut self, lines: &[String]) {
        let notes = &mut self.progress.notes;
        notes.extend(lines.iter().take(NOTES_MAX.saturating_sub(notes.len())).cloned());
    }

    /// What was found.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.progress.notes
    }

    /// The batch of `term` goes back unfinished, for whoever comes next.
    pub fn hand_back(&mut self, term: u32) {
        let own = self.progress.leases.iter_mut().filter(|lease| lease.term == term);
        own.for_each(|lease| lease.until = HANDED_BACK);
        self.leave();
    }

    /// Whoever was at it stops, and asks for no further batch.
    pub fn leave(&mut self) {
        self.progress.is_left = true;
    }

    /// Whether everything was handed out and done, so that [`Run::end`] is due.
    #[must_use]
    pub fn is_all_done(&self) -> bool {
        let Progress { ahead, leases, .. } = &self.progress;
        self.state == RunState::Running && *ahead == Ahead::Nothing && leases.is_empty()
    }

    /// What all batches so far came to.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.progress.tally
    }

    /// It is done. `outcome` says what it came to, as far as it is known.
    pub fn end(&mut self, mut outcome: String, now: Instant) {
        let Progress { problems, first_problem, is_taken_up, .. } = &self.progress;
        if *is_taken_up {
            outcome.push_str("; ");
            outcome.push_str(NOT_COUNTED);
        }
        if let Some(first) = first_problem {
            outcome.push_str(&format!("; {}, first: {first}", counted(*problems, "problem")));
        }
        (self.state, self.finished_at, self.retry_at, self.outcome) = (RunState::Done, Some(now), None, Some(outcome));
    }

    /// The batch of `term` failed, and so the run has, until `retry_at` where there is one. What others are doing they may
    /// finish. False when the batch is somebody else's by now, and it is theirs to say.
    pub fn fail(&mut self, term: u32, why: String, now: Instant, retry_at: Option<Instant>) -> bool {
        let is_ours = self.progress.leases.iter().any(|lease| lease.term == term);
        if is_ours {
            let own = self.progress.leases.iter_mut().filter(|lease| lease.term == term);
            // Failing is not dying.
            own.for_each(|lease| (lease.until, lease.deaths) = (HANDED_BACK, 0));
            (self.state, self.finished_at, self.retry_at) = (RunState::Failed, Some(now), retry_at);
            self.outcome = Some(why);
        }
        is_ours
    }

    /// Nobody wants it any more. Who is at it writes nothing from now on.
    pub fn cancel(&mut self, now: Instant) {
        if matches!(self.state, RunState::Waiting | RunState::Running | RunState::Failed) {
            (self.state, self.finished_at, self.retry_at) = (RunState::Cancelled, Some(now), None);
        }
    }
}

/// The end of a lease that was given back: before every clock.
const HANDED_BACK: Instant = Instant::from_micros(0);

/// How many seconds after its failure a run that was begun `attempts` times is tried again: half a minute, then twice as
/// long each time, at most an hour.
#[must_use]
pub fn retry_seconds(attempts: u32) -> i64 {
    let doubled = attempts.saturating_sub(1).min(16);
    RETRY_SECONDS_MIN.saturating_mul(1 << doubled).min(RETRY_SECONDS_MAX)
}

#[cfg(test)]
mod tests;
