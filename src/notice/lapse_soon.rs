//! The notice that unused free credits lapse soon (DESIGN 5).

use super::words::{About, endings, moment};
use super::{NoticeError, Templates};
use crate::core::calendar::{Instant, Month};
use crate::core::credits::Credits;
use crate::core::forecast::GrantLeft;
use crate::core::ids::AccountId;
use crate::core::locale::Locale;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use chrono_tz::Tz;
use serde::Serialize;

/// The facts of the notice that free credits lapse when the month ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LapseSoon {
    /// The account.
    pub account: AccountId,
    /// Its name; untrusted free text.
    pub account_name: String,
    /// Its zone now.
    pub zone: Tz,
    /// How its people write numbers and dates.
    pub locale: Locale,
    /// The month that ends.
    pub month: Month,
    /// When it ends.
    pub lapses_at: Instant,
    /// What lapses then, if it is not used.
    pub lapsing: Credits,
    /// What is purchased and has no end: it stays.
    pub purchased: Credits,
    /// What else lapses at some time, then or later: bonuses, in the order of their ends.
    pub ending: Vec<GrantLeft>,
    /// The free credits that come when the month ends.
    pub next_allowance: Credits,
}

/// What the templates see; described in `templates/mail/lapse-soon.txt`.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    about: About<'a>,
    lapsing: Credits,
    last_day: String,
    lapses_at: String,
    purchased: Credits,
    bonuses: String,
    next_allowance: Credits,
}

impl Templates {
    /// Words the notice for one admin.
    ///
    /// # Errors
    /// [`NoticeError`] when a template fails on these facts.
    pub fn lapse_soon(&self, facts: &LapseSoon, to: &Mailbox, created_at: Instant) -> Result<Message, NoticeError> {
        let key = NoticeKey::lapse_soon(facts.account.clone(), facts.month, to.address.clone());
        let last_day = facts.lapses_at.plus_micros(-1).in_zone(facts.zone).date_naive();
        let view = View {
            about: About::of(&facts.account, &facts.account_name, facts.zone, facts.locale),
            lapsing: facts.lapsing,
            last_day: facts.locale.day(last_day),
            lapses_at: moment(facts.lapses_at, facts.zone, facts.locale),
            purchased: facts.purchased,
            bonuses: endings(&facts.ending, facts.zone, facts.locale),
            next_allowance: facts.next_allowance,
        };
        self.message("lapse-soon", &view, key, &to.name, created_at)
    }
}

/// A notice to look at: what `email preview` shows and the load check renders.
#[must_use]
pub fn sample_lapse_soon() -> LapseSoon {
    LapseSoon {
        account: AccountId::new("acme").unwrap_or_else(|_| unreachable!("a valid id")),
        account_name: "Acme".to_owned(),
        zone: Tz::America__New_York,
        locale: Locale::default(),
        month: Month::new(2013, 3).unwrap_or_else(|_| unreachable!("a valid month")),
        lapses_at: Instant::from_micros(1_364_788_800_000_000), // 2013-04-01T00:00:00-04:00
        lapsing: Credits::new(930),
        purchased: Credits::new(420),
        ending: Vec::new(),
        next_allowance: Credits::new(1_500),
    }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> Vec<LapseSoon> {
    let sample = sample_lapse_soon();
    vec![
        LapseSoon {
            purchased: Credits::ZERO,
            next_allowance: Credits::ZERO,
            lapsing: Credits::new(1),
            ..sample.clone()
        },
        LapseSoon { ending: super::low_credit::bonus_samples()[0].ending.clone(), ..sample.clone() },
        sample,
    ]
}
