//! The notice that an account fell to one of its alert levels (DESIGN 5).

use super::words::{About, endings, hour, listed, moment, price, shorten, without_end};
use super::{NoticeError, TITLE_CHARS_MAX, Templates};
use crate::core::alert::Crossing;
use crate::core::calendar::{Calendar, Instant, Month, Terms};
use crate::core::credits::{CreditType, Credits, Split};
use crate::core::forecast::{DailyUse, Forecast, ForecastInput, GrantLeft, Outlook, forecast};
use crate::core::ids::{AccountId, LevelName};
use crate::core::locale::Locale;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::transaction::Money;
use chrono_tz::Tz;
use serde::Serialize;

/// Most actions named in the first line; the rest are counted.
const STOPS_SHOWN_MAX: usize = 4;

/// What an admin can buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Credits in a pack.
    pub credits: Credits,
    /// What a pack costs.
    pub price: Money,
}

/// The facts of a low-credit notice, as of the moment of the crossing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowCredit {
    /// The account.
    pub account: AccountId,
    /// Its name; untrusted free text.
    pub account_name: String,
    /// Its zone now.
    pub zone: Tz,
    /// How its people write numbers and dates.
    pub locale: Locale,
    /// The crossing that is told.
    pub crossing: Crossing,
    /// The level in credits.
    pub threshold: Credits,
    /// What is left.
    pub available: Split,
    /// Those of the free ones that lapse when the month ends.
    pub lapsing: Credits,
    /// What of the others lapses at some time: bonuses, in the order of their ends.
    pub ending: Vec<GrantLeft>,
    /// What is on hold beside these.
    pub held: Credits,
    /// Free credits of this month.
    pub allowance: Credits,
    /// Those of the next, which come when this one ends.
    pub next_allowance: Credits,
    /// How long it lasts.
    pub forecast: Forecast,
    /// When the next free credits are allocated.
    pub next_reset_at: Instant,
    /// The titles of the actions that cost more than is left: what has stopped.
    pub stopped: Vec<String>,
    /// The titles of the others that cost something: what stops at 0.
    pub stops: Vec<String>,
    /// What can be bought, where packs are sold.
    pub pack: Option<Pack>,
}

/// What the templates see; described in `templates/mail/low-credit.txt`.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    about: About<'a>,
    level: &'a LevelName,
    threshold: Credits,
    free: Credits,
    purchased: Credits,
    total: Credits,
    lapsing: Credits,
    stays: Credits,
    bonuses: String,
    held: Credits,
    allowance: Credits,
    next_allowance: Credits,
    pace: Option<Credits>,
    pace28: Option<Credits>,
    by_weekday: bool,
    pace_window: String,
    outlook: &'static str,
    free_runs_out_at: Option<String>,
    free_lapse: bool,
    runs_out_at: Option<String>,
    lapse: bool,
    gone_at: Option<String>,
    gone_lapse: bool,
    lasts_until: Option<String>,
    next_reset_at: String,
    stopped: String,
    stops: String,
    pack: Option<PackView>,
    packs_needed: Option<i64>,
    share: Share,
}

#[derive(Serialize)]
struct PackView {
    credits: Credits,
    price: String,
}

/// A bar of a whole month's allowance, or of what is left if that is more: percent, 100 together.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Share {
    free: i64,
    purchased: i64,
    rest: i64,
}

impl Templates {
    /// Words the notice for one admin.
    ///
    /// # Errors
    /// [`NoticeError`] when a template fails on these facts.
    pub fn low_credit(&self, facts: &LowCredit, to: &Mailbox, created_at: Instant) -> Result<Message, NoticeError> {
        let key = NoticeKey::low_credit(facts.account.clone(), &facts.crossing, to.address.clone());
        self.message("low-credit", &view(facts), key, &to.name, created_at)
    }
}

fn view(facts: &LowCredit) -> View<'_> {
    let LowCredit { zone, locale, forecast, available, .. } = *facts;
    let actions = |titles: &[String]| {
        let titles: Vec<String> = titles.iter().map(|title| shorten(title, TITLE_CHARS_MAX)).collect();
        listed(&titles, STOPS_SHOWN_MAX)
    };
    View {
        about: About::of(&facts.account, &facts.account_name, zone, locale),
        level: &facts.crossing.level,
        threshold: facts.threshold,
        free: available.free,
        purchased: available.purchased,
        total: available.total(),
        lapsing: facts.lapsing,
        stays: without_end(available.purchased, &facts.ending),
        bonuses: endings(&facts.ending, zone, locale),
        held: facts.held,
        allowance: facts.allowance,
        next_allowance: facts.next_allowance,
        pace: forecast.pace_per_day,
        pace28: forecast.pace28_per_day,
        by_weekday: forecast.by_weekday,
        pace_window: forecast.pace_window(),
        outlook: outlook_word(forecast.outlook),
        free_runs_out_at: forecast.free_runs_out_at.map(|at| hour(at, zone, locale)),
        free_lapse: forecast.free_lapse,
        runs_out_at: forecast.runs_out_at.map(|at| hour(at, zone, locale)),
        lapse: forecast.lapse,
        gone_at: forecast.gone_at.map(|at| hour(at, zone, locale)),
        gone_lapse: forecast.gone_lapse,
        lasts_until: forecast.lasts_until(facts.next_reset_at, facts.next_allowance).map(|at| moment(at, zone, locale)),
        next_reset_at: moment(facts.next_reset_at, zone, locale),
        stopped: actions(&facts.stopped),
        stops: actions(&facts.stops),
        pack: facts.pack.as_ref().map(|pack| PackView { credits: pack.credits, price: price(&pack.price, locale) }),
        packs_needed: forecast.packs_needed,
        share: share(available, facts.allowance),
    }
}

/// The word of an outlook in the templates.
const fn outlook_word(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Empty => "empty",
        Outlook::Unknown => "unknown",
        Outlook::RunsOut => "runs-out",
        Outlook::PurchasedCover => "purchased-cover",
        Outlook::FreeLast => "free-last",
    }
}

/// Rounded down, but what is there shows.
fn share(available: Split, allowance: Credits) -> Share {
    let whole = i128::from(available.total().max(allowance).get().max(1));
    let percent = |credits: Credits| {
        let share = i128::from(credits.get().max(0)) * 100 / whole;
        i64::try_from(share).unwrap_or(100).clamp(i64::from(credits > Credits::ZERO), 99)
    };
    let (free, purchased) = (percent(available.free), percent(available.purchased));
    Share { free, purchased, rest: 100 - free - purchased }
}

/// A notice to look at: what `email preview` shows and the load check renders.
#[must_use]
pub fn sample_low_credit() -> LowCredit {
    sample(280, 80, 200)
}

/// `used` in the week before noon of 5 March 2013, which is all that is known.
fn sample(used: i64, free: i64, purchased: i64) -> LowCredit {
    sample_after(7, used, free, purchased)
}

/// `used` in each week until noon of 5 March 2013, `history_days` after the account was opened.
fn sample_after(history_days: i64, used: i64, free: i64, purchased: i64) -> LowCredit {
    sample_with(history_days, used, (free, purchased), &[])
}

/// The same, some of which are bonuses that end before the month does.
fn sample_with(history_days: i64, used: i64, (free, purchased): (i64, i64), ending: &[GrantLeft]) -> LowCredit {
    let now = Instant::from_micros(1_362_502_800_000_000); // 2013-03-05T12:00:00-05:00
    let next_reset_at = Instant::from_micros(1_364_788_800_000_000); // 2013-04-01T00:00:00-04:00
    let (zone, allowance) = (Tz::America__New_York, Credits::new(1_500));
    let available = Split { free: Credits::new(free), purchased: Credits::new(purchased) };
    let from = Month::of(now.to_utc().date_naive());
    let calendar = Calendar::new(Terms { from, zone, allowance });
    let mut daily = DailyUse::unused(&calendar, now.plus_days(-history_days), now);
    daily.add(now, Credits::new(used - used / 7 * 6));
    (1..history_days).for_each(|day| daily.add(now.plus_days(-day).plus_micros(-1), Credits::new(used / 7)));
    let actions =
        ["Summarise document", "Draft reply", "Translate page", "Analyse image", "Transcribe call", "Plan meeting"];
    let actions = actions.map(str::to_owned).to_vec();
    let pack = Pack { credits: Credits::new(2_500), price: Money { minor: 2_500, currency: "USD".to_owned() } };
    let pack_credits = Some(pack.credits);
    let input = ForecastInput {
        calendar: &calendar,
        daily: &daily,
        now,
        available,
        grants: ending,
        next_reset_at,
        pack_credits,
    };
    LowCredit {
        account: AccountId::new("acme").unwrap_or_else(|_| unreachable!("a valid id")),
        account_name: "Acme".to_owned(),
        zone,
        locale: Locale::default(),
        crossing: Crossing {
            level: LevelName::new("low").unwrap_or_else(|_| unreachable!("a valid name")),
            crossing: 3,
        },
        threshold: Credits::new(300),
        available,
        lapsing: ending
            .iter()
            .filter(|grant| grant.credit_type == CreditType::Free)
            .fold(available.free, |free, grant| Credits::new(free.get() - grant.credits.get())),
        ending: ending.to_vec(),
        held: Credits::ZERO,
        allowance,
        next_allowance: allowance,
        forecast: forecast(&input),
        next_reset_at,
        stopped: if available.total().is_zero() { actions.clone() } else { Vec::new() },
        stops: if available.total().is_zero() { Vec::new() } else { actions },
        pack: Some(pack),
    }
}

/// One sample for each thing the templates distinguish.
pub(super) fn samples() -> Vec<LowCredit> {
    vec![
        sample_low_credit(),
        sample(280, 80, 0),
        sample(70, 80, 5_000),
        sample(70, 0, 5_000),
        sample(1, 280, 0),
        sample(0, 280, 0),
        sample(280, 0, 0),
        sample(0, 0, 0),
        LowCredit { pack: None, stops: Vec::new(), ..sample_after(0, 0, 80, 200) },
        LowCredit {
            allowance: Credits::ZERO,
            next_allowance: Credits::ZERO,
            threshold: Credits::ZERO,
            ..sample(0, 0, 0)
        },
        sample_after(3, 280, 280, 0),
        sample_after(20, 280, 280, 0),
        LowCredit { allowance: Credits::ZERO, next_allowance: Credits::ZERO, ..sample(70, 0, 500) },
        LowCredit { allowance: Credits::ZERO, next_allowance: Credits::ZERO, ..sample(7, 0, 5_000) },
        LowCredit { next_allowance: Credits::ZERO, ..sample(70, 80, 500) },
        LowCredit { next_allowance: Credits::ZERO, ..sample(7, 280, 0) },
        LowCredit { next_allowance: Credits::ZERO, held: Credits::new(1), ..sample(280, 80, 0) },
        LowCredit { held: Credits::new(1_500), next_allowance: Credits::new(1), ..sample(0, 0, 0) },
        LowCredit { lapsing: Credits::ZERO, stopped: vec!["Write a book".to_owned()], ..sample(280, 80, 200) },
        bonus_samples()[0].clone(),
        bonus_samples()[1].clone(),
        bonus_samples()[2].clone(),
        bonus_samples()[3].clone(),
        bonus_samples()[4].clone(),
        sample_after(28, 7_000, 280, 0),
    ]
}

/// Bonuses with which the credits, and the free ones, are gone before the pace has used them.
pub(super) fn bonus_samples() -> [LowCredit; 5] {
    // 2013-03-05T13:00:00-05:00 and behind it.
    let end = |days| Instant::from_micros(1_362_506_400_000_000).plus_days(days);
    let grant = |credit_type, days, credits| GrantLeft {
        credit_type,
        ends_at: Some(end(days)),
        credits: Credits::new(credits),
    };
    let (free, purchased) = (CreditType::Free, CreditType::Purchased);
    let many =
        [grant(free, 0, 1), grant(purchased, 1, 40), grant(free, 2, 100), grant(free, 3, 20), grant(purchased, 50, 30)];
    let later = [grant(free, 0, 80), grant(purchased, 9, 30)];
    [
        sample_with(7, 280, (250, 0), &[grant(free, 0, 250)]),
        sample_with(7, 280, (221, 570), &many),
        sample_with(7, 280, (80, 5_000), &later),
        LowCredit { allowance: Credits::ZERO, next_allowance: Credits::ZERO, ..sample_with(7, 0, (80, 30), &later) },
        sample_with(0, 0, (80, 30), &later),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_cover_every_outlook() {
        for outlook in [Outlook::Empty, Outlook::Unknown, Outlook::RunsOut, Outlook::PurchasedCover, Outlook::FreeLast]
        {
            assert!(samples().iter().any(|sample| sample.forecast.outlook == outlook), "{outlook:?}");
        }
    }

    proptest! {
        /// A bar is whole, and no credits are too few to show.
        #[test]
        fn a_bar_is_whole(free in 0..=Credits::LIMIT.get(), purchased in 0..=Credits::LIMIT.get(), allowance in 0_i64..10_000) {
            let available = Split { free: Credits::new(free), purchased: Credits::new(purchased) };
            let bar = share(available, Credits::new(allowance));
            prop_assert_eq!(bar.free + bar.purchased + bar.rest, 100);
            prop_assert!(bar.rest >= 0, "{:?}", bar);
            prop_assert_eq!((bar.free > 0, bar.purchased > 0), (free > 0, purchased > 0));
        }
    }
}
