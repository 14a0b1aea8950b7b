//! The notice that an alert is over (DESIGN 5).

use super::words::{About, endings, moment, without_end};
use super::{NoticeError, Templates};
use crate::core::alert::Crossing;
use crate::core::calendar::Instant;
use crate::core::credits::{Credits, Split};
use crate::core::forecast::GrantLeft;
use crate::core::ids::{AccountId, LevelName};
use crate::core::locale::Locale;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use chrono_tz::Tz;
use serde::Serialize;

/// The facts of the notice that no alert is open any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The account.
    pub account: AccountId,
    /// Its name; untrusted free text.
    pub account_name: String,
    /// Its zone now.
    pub zone: Tz,
    /// How its people write numbers and dates.
    pub locale: Locale,
    /// What is over; of several, the most advanced.
    pub crossing: Crossing,
    /// Since when it was open.
    pub opened_at: Instant,
    /// What is available now.
    pub available: Split,
    /// Those of the free ones that lapse when the month ends.
    pub lapsing: Credits,
    /// What of the others lapses at some time: bonuses, in the order of their ends.
    pub ending: Vec<GrantLeft>,
    /// When the month ends, and the next free credits are allocated.
    pub next_reset_at: Instant,
}

/// What the templates see; described in `templates/mail/resolved.txt`.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    about: About<'a>,
    level: &'a LevelName,
    opened_at: String,
    free: Credits,
    purchased: Credits,
    total: Credits,
    lapsing: Credits,
    stays: Credits,
    bonuses: String,
    next_reset_at: String,
}

impl Templates {
    /// Words the notice for one admin.
    ///
    /// # Errors
    /// [`NoticeError`] when a template fails on these facts.
    pub fn resolved(&self, facts: &Resolved, to: &Mailbox, created_at: Instant) -> Result<Message, NoticeError> {
        let key = NoticeKey::resolved(facts.account.clone(), &facts.crossing, to.address.clone());
        let view = View {
            about: About::of(&facts.account, &facts.account_name, facts.zone, facts.locale),
            level: &facts.crossing.level,
            opened_at: moment(facts.opened_at, facts.zone, facts.locale),
            free: facts.available.free,
            purchased: facts.available.purchased,
            total: facts.available.total(),
            lapsing: facts.lapsing,
            stays: without_end(facts.available.purchased, &facts.ending),
            bonuses: endings(&facts.ending, facts.zone, facts.locale),
            next_reset_at: moment(facts.next_reset_at, facts.zone, facts.locale),
        };
        self.message("resolved", &view, key, &to.name, created_at)
    }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> [Resolved; 2] {
    let ending = super::low_credit::bonus_samples()[0].ending.clone();
    [sample_resolved(), Resolved { lapsing: Credits::new(20), ending, ..sample_resolved() }]
}

/// A notice to look at: what `email preview` shows and the load check renders.
#[must_use]
pub fn sample_resolved() -> Resolved {
    Resolved {
        account: AccountId::new("acme").unwrap_or_else(|_| unreachable!("a valid id")),
        account_name: "Acme".to_owned(),
        zone: Tz::America__New_York,
        locale: Locale::default(),
        crossing: Crossing {
            level: LevelName::new("low").unwrap_or_else(|_| unreachable!("a valid name")),
            crossing: 3,
        },
        opened_at: Instant::from_micros(1_362_502_800_000_000), // 2013-03-05T12:00:00-05:00
        available: Split { free: Credits::new(80), purchased: Credits::new(2_700) },
        lapsing: Credits::new(80),
        ending: Vec::new(),
        next_reset_at: Instant::from_micros(1_364_788_800_000_000), // 2013-04-01T00:00:00-04:00
    }
}
