//! Made-up companies and what they do: busy by day and on workdays, quiet at night, some growing, some asleep.

use super::key_of;
use crate::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of};
use crate::core::credits::Credits;
use crate::core::ids::{AccountId, ActionCode, Email, UserId};
use crate::core::ledger::{Account, Usage};
use crate::core::transaction::Status;
use chrono::{Datelike, NaiveDate, Timelike, Weekday};
use chrono_tz::Tz;

const NAMES: [&str; 40] = [
    "Northwind Studio",
    "Blue Harbor Media",
    "Kite & Key",
    "Lumen Press",
    "Orchard Lane",
    "Paper Planes",
    "Red Brick Ads",
    "Silver Birch",
    "Tidewater Prints",
    "Umbra Films",
    "Velvet Fox",
    "Willow & Co",
    "Amber Atlas",
    "Brightside Travel",
    "Copper Kettle",
    "Daybreak News",
    "Evergreen Homes",
    "Fable & Sons",
    "Granite Peak",
    "Hummingbird Toys",
    "Indigo Print",
    "Juniper Health",
    "Kestrel Sports",
    "Lantern Books",
    "Mosaic Games",
    "Nimbus Maps",
    "Opal Interiors",
    "Pebble Beach Inn",
    "Quarry Works",
    "Rivet Motors",
    "Saffron Foods",
    "Thistle Gardens",
    "Ultramarine",
    "Vista Hotels",
    "Walnut Row",
    "Xylo Music",
    "Yonder Trails",
    "Zephyr Sails",
    "Alder Academy",
    "Beacon Clinic",
];
const ADMINS: [&str; 10] = [
    "Ana Silva",
    "Ben Okafor",
    "Chloé Martin",
    "David Kim",
    "Elif Yılmaz",
    "Femi Adeyemi",
    "Grace Liu",
    "Hugo Berg",
    "Ines Rossi",
    "Jonas Weber",
];
const ZONES: [Tz; 9] = [
    Tz::America__New_York,
    Tz::America__Chicago,
    Tz::America__Los_Angeles,
    Tz::America__Sao_Paulo,
    Tz::Europe__London,
    Tz::Europe__Berlin,
    Tz::Asia__Kolkata,
    Tz::Asia__Tokyo,
    Tz::Pacific__Auckland,
];
/// What is asked for, with its share per hundred.
const ACTIONS: [(&str, u32); 6] = [
    ("text-to-image", 30),
    ("erase", 15),
    ("upscale", 20),
    ("background-removal", 15),
    ("image-enhancement", 12),
    ("translation", 8),
];
const COMMENTS: [&str; 5] = ["", "", "", "spring campaign", "product page"];
/// Per thousand actions, how many fail on the platform.
const FAILURES_PER_MILLE: u32 = 15;

/// A made-up account.
pub(super) struct Company {
    pub(super) id: AccountId,
    name: &'static str,
    pub(super) zone: Tz,
    opened_on: NaiveDate,
    pub(super) admin_name: &'static str,
    pub(super) email: Email,
    pub(super) wants_daily: bool,
    pub(super) buys: bool,
    users: u32,
    /// Actions of a workday in the first month, in hundredths.
    pace: u64,
    /// Growth per month, in hundredths.
    growth: u64,
}

/// The companies of the demo. Names are made up; addresses are in a domain that is nobody's (RFC 2606).
pub(super) fn companies(rng: &mut fastrand::Rng) -> Vec<Company> {
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default();
    let company = |(at, name): (usize, &&'static str)| {
        let slug: String =
            name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let slug = slug.replace("---", "-").replace("--", "-");
        let joined_days = if at % 9 == 8 { rng.u64(5..60) } else { 0 };
        Some(Company {
            id: AccountId::new(&slug).ok()?,
            name,
            zone: ZONES[at % ZONES.len()],
            opened_on: first + chrono::Days::new(joined_days),
            admin_name: ADMINS[at % ADMINS.len()],
            email: Email::new(&format!("admin@{slug}.example")).ok()?,
            wants_daily: at % 13 == 0,
            buys: at % 3 != 2,
            users: rng.u32(2..14),
            pace: match at % 5 {
                0 => rng.u64(1_800..3_200),
                1 | 2 => rng.u64(700..1_500),
                3 => rng.u64(200..600),
                _ => rng.u64(20..160),
            },
            growth: rng.u64(90..125),
        })
    };
    NAMES.iter().enumerate().filter_map(company).collect()
}

impl Company {
    pub(super) fn account(&self, allowance: Credits) -> Account {
        let terms = Terms { from: Month::of(self.opened_on), zone: self.zone, allowance };
        let (id, opened_at) = (self.id.clone(), self.opened_at());
        Account { id, name: self.name.to_owned(), opened_at, calendar: Calendar::new(terms) }
    }

    pub(super) fn opened_at(&self) -> Instant {
        first_instant_of(self.opened_on, self.zone)
    }

    /// What the company does in `[from, to)`; `number` numbers all actions of the demo.
    pub(super) fn actions_in(
        &self,
        rng: &mut fastrand::Rng,
        from: Instant,
        to: Instant,
        number: &mut u64,
    ) -> Vec<Usage> {
        let from = from.max(self.opened_at());
        let mut actions = Vec::new();
        let mut hour = from;
        while hour < to {
            let next = hour.plus_seconds(3_600).min(to);
            for _ in 0..self.count_in_hour(rng, hour) {
                let at = Instant::from_micros(rng.i64(hour.micros()..next.micros()) / 1_000 * 1_000).max(from);
                *number += 1;
                actions.extend(self.action(rng, at, *number));
            }
            hour = next;
        }
        actions.sort_by_key(|usage| usage.occurred_at);
        actions
    }

    /// How many actions begin in the hour at `hour`, by the local clock: most between 8 and 18, few at the weekend.
    fn count_in_hour(&self, rng: &mut fastrand::Rng, hour: Instant) -> u64 {
        let local = hour.in_zone(self.zone);
        let by_hour = match local.hour() {
            8..=17 => 9,
            7 | 18..=20 => 2,
            _ => 0,
        };
        let by_day = if matches!(local.weekday(), Weekday::Sat | Weekday::Sun) { 15 } else { 100 };
        let months = u64::from(local.month0().min(2));
        let grown = (0..months).fold(self.pace, |pace, _| pace * self.growth / 100);
        // Hundredths of an action, times a share of the day in hundredths, times the day's weight in hundredths.
        let expected = grown * by_hour * by_day;
        let whole = expected / 1_000_000;
        whole + u64::from(rng.u64(..1_000_000) < expected % 1_000_000)
    }

    fn action(&self, rng: &mut fastrand::Rng, at: Instant, number: u64) -> Option<Usage> {
        let mut draw = rng.u32(..100);
        let (code, _) = ACTIONS.iter().find(|(_, share)| {
            let hit = draw < *share;
            draw = draw.saturating_sub(*share);
            hit
        })?;
        let failed = rng.u32(..1_000) < FAILURES_PER_MILLE;
        Some(Usage {
            key: key_of(number).ok()?,
            occurred_at: Some(at),
            user: UserId::new(&format!("user-{:02}", rng.u32(1..=self.users))).ok(),
            action: ActionCode::new(code).ok()?,
            quantity: if rng.u32(..20) == 0 { rng.i64(2..=4) } else { 1 },
            status: if failed { Status::Failed } else { Status::Success },
            comment: if failed { "model timed out".into() } else { COMMENTS[rng.usize(..COMMENTS.len())].into() },
            post_to_open: false,
        })
    }
}
