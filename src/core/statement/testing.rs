//! Random report inputs for the property tests of every way of adding up.

use super::{Breakdown, DateRange, Grouping, LocalTime, Outcome, ReportAccount, ReportSpec, Row, Rows, Scope};
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

/// The breakdowns into groups. A log has no lines.
pub(crate) const GROUPED: [Breakdown; 4] = [Breakdown::Action, Breakdown::User, Breakdown::Type, Breakdown::Status];

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

/// Seconds into a day.
fn clock() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0_u32), 0..86_400_u32]
}

fn at(offset: u64, seconds: u32) -> LocalTime {
    let time = chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).expect("within a day");
    format!("{}T{}", day(offset), time.format("%H:%M:%S")).parse().expect("a local time")
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

/// Few, so that rows share them, and some that a page and a sheet must not take for what they look like.
pub(crate) const NAMES: [&str; 5] = ["ann", "bob", "=1+1", "<b>", "שלום"];

/// A row at, just before or just after the start of a local day, or somewhere within the day, and its name.
fn row(accounts: Vec<ReportAccount>, days: std::ops::Range<u64>) -> impl Strategy<Value = (Row, Option<&'static str>)> {
    let micros = prop_oneof![-1_i64..=1, 0..86_400_000_000_i64];
    let outcome = prop::sample::select(Outcome::ALL);
    let moving: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.moves_credits()).collect();
    let kind = prop::sample::select(moving);
    let name = prop::option::of(prop::sample::select(&NAMES[..]));
    (0..accounts.len(), days, micros, kind, outcome, split(), name).prop_map(
        move |(account, offset, micros, kind, outcome, delta, name)| {
            let occurred_at = accounts[account].calendar.day_start(day(offset)).plus_micros(micros);
            let account = u32::try_from(account).expect("few accounts");
            let none = super::Name::NONE;
            (Row { account, counts_at: kind.counts_at(occurred_at), kind, outcome, name: none, delta }, name)
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
    /// Any report of a few accounts over up to 130 days, with rows inside and around the range, in no order. Half of the
    /// ranges begin or end within a day.
    pub(crate) fn input()(
        accounts in accounts(),
        from in 20_u64..400,
        days in 1_u64..130,
        (begin, end) in (clock(), clock()),
        grouping in prop::sample::select(Grouping::ALL),
        breakdown in prop::option::of(prop::sample::select(&GROUPED[..])),
        scope in prop::sample::select(Scope::ALL),
    )(
        rows in prop::collection::vec(row(accounts.clone(), from - 3..from + days + 3), 0..120),
        accounts in Just(accounts),
        range in Just(DateRange::new(at(from, begin), at(from + days, end)).expect("a range")),
        grouping in Just(grouping),
        breakdown in Just(breakdown),
        scope in Just(scope),
    ) -> Input {
        let spec = ReportSpec::new("Random", range, grouping, scope, Instant::from_micros(0)).expect("a bounded range");
        let mut all = Rows::default();
        for (row, name) in rows {
            let name = name.map_or(row.name, |name| all.name(name));
            all.push(Row { name, ..row });
        }
        Input { spec: spec.with_breakdown(breakdown), accounts, rows: all }
    }
}
