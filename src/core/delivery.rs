//! What follows from a try to deliver a message, and when a server is left alone for a while (DESIGN 6).
//!
//! The promise: no message is lost, and one comes twice only after a connection that broke off between the end of the
//! message and the server's answer, then with the same Message-ID.

use super::calendar::Instant;
use super::ids::Email;
use super::outbox::NoticeKind;
use super::transaction::words;
use std::collections::BTreeSet;

/// First wait after a failure that may pass; each further one doubles it.
const RETRY_SECONDS: i64 = 60;
/// Longest wait between two tries: an hour.
const RETRY_SECONDS_MAX: i64 = 3_600;
/// A message that cannot be delivered for this long is given up.
pub const GIVE_UP_DAYS: i64 = 4;
/// How often it is tried at least, however long it has waited.
pub const TRIES_MIN: u32 = 6;

/// So many different addresses of more than one domain refused for good, and no message taken in between: it is the server that is
/// wrong.
const REFUSED_ADDRESSES_MAX: usize = 5;
/// So many of one domain: fewer are a customer who is gone.
const REFUSED_OF_ONE_DOMAIN_MAX: usize = 20;
/// How the error of a message begins that was refused for good by a server that refuses everybody. It is known by that until a
/// message is taken.
pub const REFUSES_EVERYBODY: &str = "the server refuses everybody: ";

/// Failures in a row after which a server is taken for down.
const DOWN_FAILURES: u32 = 3;
/// How long it is left alone then; twice as long after each further time.
const REST_SECONDS: i64 = 20;
/// Longest rest.
const REST_SECONDS_MAX: i64 = 300;

words! {
    /// How the way to a mail server is encrypted.
    Tls {
        /// From the first byte.
        Implicit = "implicit",
        /// After a few words in the clear; a server that does not offer it is not used.
        Starttls = "starttls",
        /// Not at all: for a server on the same machine.
        None = "none",
    }
}

/// Whose fault it is that a message was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server's: it cannot be reached, or does not say what servers say. No message was tried.
    Server,
    /// The settings': the server does not take our credentials or our sender's address. No message was tried.
    Settings,
    /// One that may pass: the same message may be taken later.
    Passing,
    /// The connection's: it broke off, took longer than it may, or the server went away. As [`Fault::Passing`], and perhaps the server is down.
    Broken,
    /// The address's: nobody gets mail there.
    Address,
    /// The message's: it will not be taken, today or tomorrow.
    Message,
    /// Nobody knows: the connection ended after the message and before the answer. It may have been delivered.
    Unknown,
}

impl Fault {
    /// Whether the same message would be refused tomorrow, if the server is right.
    #[must_use]
    pub const fn is_for_good(self) -> bool {
        matches!(self, Fault::Address | Fault::Message)
    }
}

/// What becomes of a message that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It was delivered.
    Sent {
        /// The file it was written to, or what the server said.
        to: String,
    },
    /// It is tried again.
    Again {
        /// Why it was not delivered.
        error: String,
        /// When.
        at: Instant,
    },
    /// It is given up.
    Failed {
        /// Why it was not delivered.
        error: String,
        /// Whether its address gets no more mail.
        suppress: bool,
    },
    /// Whether it was delivered is for the operator to find out.
    Ambiguous {
        /// What happened.
        error: String,
    },
    /// It stays as if nobody had looked at it.
    Untried,
}

/// What was known of a message when it was tried.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// What it is about.
    pub kind: NoticeKind,
    /// Deliveries tried before.
    pub attempts: u32,
    /// Since when it waits.
    pub pending_since: Instant,
    /// When it was tried.
    pub at: Instant,
}

/// What becomes of a message that was not delivered.
///
/// Of alerts that may have been delivered another copy is better than none; a statement that comes twice makes people
/// wonder which one counts, so the operator decides.
#[must_use]
pub fn after_failure(tried: Tried, fault: Fault, error: String) -> Next {
    match fault {
        Fault::Server | Fault::Settings => Next::Untried,
        Fault::Address => Next::Failed { error, suppress: true },
        Fault::Message => Next::Failed { error, suppress: false },
        Fault::Unknown if !tried.kind.is_alert() => Next::Ambiguous { error },
        Fault::Passing | Fault::Broken | Fault::Unknown => {
            match retry_at(tried.attempts, tried.pending_since, tried.at) {
                Some(at) => Next::Again { error, at },
                None => Next::Failed { error, suppress: false },
            }
        }
    }
}

/// Whether a server that refused these addresses for good, and took no message in between, refuses everybody.
#[must_use]
pub fn refuses_everybody(refused: &BTreeSet<Email>) -> bool {
    let domains: BTreeSet<&str> = refused.iter().map(Email::domain).collect();
    refused.len() >= if domains.len() > 1 { REFUSED_ADDRESSES_MAX } else { REFUSED_OF_ONE_DOMAIN_MAX }
}

/// What becomes of a message that was refused for good by a server that refuses everybody: it is not the message's fault, nor
/// its address's.
#[must_use]
pub fn after_refusing_everybody(tried: Tried, error: &str) -> Next {
    after_failure(tried, Fault::Passing, format!("{REFUSES_EVERYBODY}{error}"))
}

/// When to try again: after 1, 2, 4, ... minutes, at most an hour; `None` once the message has waited for too long.
#[must_use]
pub fn retry_at(attempts: u32, pending_since: Instant, now: Instant) -> Option<Instant> {
    let doublings = attempts.min(16);
    // What waited for an outage or in a backup has not been tried for that.
    let wait = RETRY_SECONDS.saturating_mul(1 << doublings).min(RETRY_SECONDS_MAX);
    let is_young = now < pending_since.plus_days(GIVE_UP_DAYS);
    (is_young || attempts < TRIES_MIN).then(|| now.plus_seconds(wait))
}

/// Whether a server is worth asking: closed while it answers, open for a while when it did not a few times in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    rests: u32,
    rests_until: Option<Instant>,
}

impl Breaker {
    /// The server answered, whatever it said.
    pub fn answered(&mut self) {
        *self = Breaker::default();
    }

    /// It did not, at `now`. True when it is to be left alone from now on.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        if self.failures >= DOWN_FAILURES {
            self.rest(now);
        }
        self.failures == 0
    }

    /// It is to be left alone, whatever it answered.
    pub fn rest(&mut self, now: Instant) {
        let seconds = REST_SECONDS.saturating_mul(1 << self.rests.min(16)).min(REST_SECONDS_MAX);
        *self = Breaker { failures: 0, rests: self.rests + 1, rests_until: Some(now.plus_seconds(seconds)) };
    }

    /// Until when it is left alone; `None` when it may be asked. A clock that was set back ends every rest.
    #[must_use]
    pub fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| now < *until && *until <= now.plus_seconds(REST_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect("an instant")
    }

    fn tried(kind: NoticeKind, attempts: u32, now: &str) -> Tried {
        Tried { kind, attempts, pending_since: at("2013-03-01T00:00:00Z"), at: at(now) }
    }

    fn after(kind: NoticeKind, attempts: u32, now: &str, fault: Fault) -> String {
        match after_failure(tried(kind, attempts, now), fault, "e".to_owned()) {
            Next::Sent { .. } => "sent".to_owned(),
            Next::Again { at, .. } => format!("again at {at}"),
            Next::Failed { suppress, .. } => format!("failed{}", if suppress { ", suppressed" } else { "" }),
            Next::Ambiguous { .. } => "ambiguous".to_owned(),
            Next::Untried => "untried".to_owned(),
        }
    }

    #[test]
    fn what_follows_from_each_fault() {
        use NoticeKind::{LowCredit, MonthlyStatement};
        for (kind, attempts, now, fault, expected) in [
            (LowCredit, 0, "2013-03-01T00:00:00Z", Fault::Passing, "again at 2013-03-01T00:01:00Z"),
            (LowCredit, 1, "2013-03-01T00:00:00Z", Fault::Broken, "again at 2013-03-01T00:02:00Z"),
            (LowCredit, 5, "2013-03-01T00:00:00Z", Fault::Passing, "again at 2013-03-01T00:32:00Z"),
            (LowCredit, 6, "2013-03-01T00:00:00Z", Fault::Passing, "again at 2013-03-01T01:00:00Z"),
            (LowCredit, u32::MAX, "2013-03-04T23:59:59Z", Fault::Passing, "again at 2013-03-05T00:59:59Z"),
            (LowCredit, 6, "2013-03-05T00:00:00Z", Fault::Passing, "failed"),
            (LowCredit, 0, "2013-03-05T00:00:00Z", Fault::Passing, "again at 2013-03-05T00:01:00Z"),
            (LowCredit, 0, "2013-03-01T00:00:00Z", Fault::Unknown, "again at 2013-03-01T00:01:00Z"),
            (MonthlyStatement, 0, "2013-03-01T00:00:00Z", Fault::Unknown, "ambiguous"),
            (MonthlyStatement, 0, "2013-03-09T00:00:00Z", Fault::Unknown, "ambiguous"),
            (LowCredit, 0, "2013-03-01T00:00:00Z", Fault::Address, "failed, suppressed"),
            (LowCredit, 0, "2013-03-01T00:00:00Z", Fault::Message, "failed"),
            (LowCredit, 9, "2013-03-09T00:00:00Z", Fault::Server, "untried"),
            (MonthlyStatement, 9, "2013-03-09T00:00:00Z", Fault::Settings, "untried"),
        ] {
            assert_eq!(after(kind, attempts, now, fault), expected, "{kind} {attempts} {now} {fault:?}");
        }
    }

    #[test]
    fn a_server_that_fails_three_times_in_a_row_is_left_alone_for_longer_and_longer() {
        let mut breaker = Breaker::default();
        let mut now = at("2013-03-01T00:00:00Z");
        assert!(!breaker.failed(now) && !breaker.failed(now));
        breaker.answered();
        let mut rests = Vec::new();
        for _ in 0..7 {
            assert_eq!(breaker.rests_until(now), None);
            assert!(!breaker.failed(now) && !breaker.failed(now) && breaker.failed(now));
            let until = breaker.rests_until(now).expect("it rests");
            assert_eq!(breaker.rests_until(until.plus_micros(-1)), Some(until));
            rests.push((until.micros() - now.micros()) / 1_000_000);
            now = until;
        }
        assert_eq!(rests, [20, 40, 80, 160, 300, 300, 300]);
        breaker.rest(now);
        assert_eq!(breaker.rests_until(now.plus_days(-1)), None, "the clock was set back");
        breaker.answered();
        assert_eq!(breaker, Breaker::default());
    }
}
