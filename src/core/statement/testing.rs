//! Random report inputs for the property tests of every way of adding up.

use super::{DateRange, Grouping, Outcome, ReportAccount, ReportSpec, Row, Rows, Scope};
use crate::core::calendar::{Calendar, Instant, Terms, parse_date, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::transaction::Kind;
use chrono::{Days, NaiveDate};
use proptest::prelude::*;

/// Zones that move their clocks at midnight, by half an hour, by a day, or not at all.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/Havana",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
];

/// What a report is made of.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) spec: ReportSpec,
    pub(crate) accounts: Vec<ReportAccount>,
    pub(crate) rows: Rows,
}

impl Input {
    /// The same accounts and rows, asked otherwise.
    pub(crate) fn spec(&self, range: DateRange, grouping: Grouping, scope: Scope) -> ReportSpec {
        ReportSpec::new("Random", range, grouping, scope, Instant::from_micros(0)).expect("a bounded range")
    }
}

fn day(offset: u64) -> NaiveDate {
    parse_date("2024-01-01").expect("a date") + Days::new(offset)
}

fn zone() -> impl Strategy<Value = chrono_tz::Tz> {
    prop::sample::select(&ZONES[..]).prop_map(|name| parse_zone(name).expect("a zone"))
}

fn split() -> impl Strategy<Value = Split> {
    let credits = || prop_oneof![Just(0_i64), -5_000..5_000_i64].prop_map(Credits::new);
    (credits(), credits()).prop_map(|(free, purchased)| Split { free, purchased })
}

fn account() -> impl Strategy<Value = ReportAccount> {
    // A zone that changes in some month of the range makes days shorter and longer than any zone alone.
    ("[a-z]{3}", zone(), prop::option::of((0_u32..18, zone())), split()).prop_map(|(id, zone, change, opening)| {
        let terms = |from: crate::core::calendar::Month, zone| Terms { from, zone, allowance: Credits::new(1_500) };
        let month = |at: u32| format!("{}-{:02}", 2024 + at / 12, at % 12 + 1).parse().expect("a month");
        let later = change.map(|(at, zone)| terms(month(at), zone));
        let calendar = Calendar::from_terms([terms(month(0), zone)].into_iter().chain(later)).expect("not empty");
        ReportAccount { id: id.parse().expect("an id"), calendar, opening }
    })
}

/// A row at, just before or just after the start of a local day, or somewhere within the day.
fn row(accounts: Vec<ReportAccount>, days: std::ops::Range<u64>) -> impl Strategy<Value = Row> {
    let micros = prop_oneof![-1_i64..=1, 0..86_400_000_000_i64];
    let outcome = prop::sample::select(Outcome::ALL);
    let moving: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.moves_credits()).collect();
    let kind = prop::sample::select(moving);
    (0..accounts.len(), days, micros, kind, outcome, split()).prop_map(
        move |(account, offset, micros, kind, outcome, delta)| {
            let occurred_at = accounts[account].calendar.day_start(day(offset)).plus_micros(micros);
            let account = u32::try_from(account).expect("few accounts");
            Row { account, counts_at: kind.counts_at(occurred_at), kind, outcome, delta }
        },
    )
}

/// A few accounts in no order, each with an id of its own.
fn accounts() -> impl Strategy<Value = Vec<ReportAccount>> {
    prop::collection::vec(account(), 1..5).prop_map(|mut accounts| {
        for (at, account) in accounts.iter_mut().enumerate() {
            account.id = format!("{}{at}", account.id).parse().expect("an id");
        }
        accounts
    })
}

prop_compose! {
    /// Any report of a few accounts over up to 130 days, with rows inside and around the range, in no order.
    pub(crate) fn input()(
        accounts in accounts(),
        from in 20_u64..400,
        days in 1_u64..130,
        grouping in prop::sample::select(Grouping::ALL),
        scope in prop::sample::select(Scope::ALL),
    )(
        rows in prop::collection::vec(row(accounts.clone(), from - 3..from + days + 3), 0..120),
        accounts in Just(accounts),
        range in Just(DateRange::new(day(from), day(from + days)).expect("a range")),
        grouping in Just(grouping),
        scope in Just(scope),
    ) -> Input {
        let spec = ReportSpec::new("Random", range, grouping, scope, Instant::from_micros(0)).expect("a bounded range");
        Input { spec, accounts, rows: rows.into_iter().collect() }
    }
}
