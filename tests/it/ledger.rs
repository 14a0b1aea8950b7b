//! The ledger of one account under random histories, against an oracle of plain lists (R1 to R9, R12, R14 to R16).
//!
//! No database: the ledger is a pure value. A history is a list of steps (the clock moves, a charge or purchase comes,
//! a job passes); the zones are those that move their clocks at the worst moments.

mod corners;
mod history;
mod naive;

pub use history::{DAY_US, History, Request, World, history};

use crate::support::{ALLOWANCE, account, account_id, default_prices, instant, month, purchase, usage};
use creditd::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_zone};
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::ids::Key;
use creditd::core::ledger::{Account, Call, Grant, Ledger, Purchase, Usage};
use creditd::core::price::{Action, PriceMatrix, PriceVersion};
use creditd::core::statement::{
    Counts, DateRange, Grouping, LineType, Outcome, ReportAccount, ReportModel, ReportSpec, Row, Rows, Scope, fold,
};
use creditd::core::transaction::{GrantId, Kind, Status, Transaction};
use creditd::report::aggregate;
use history::Step;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// R6, R15 and R16, from the rows alone.
fn check_invariants(ledger: &Ledger) -> Result<(), TestCaseError> {
    let mut balance = Split::ZERO;
    let mut by_grant: BTreeMap<GrantId, [i64; 4]> = BTreeMap::new(); // amount, consumed, lapsed, remaining
    let mut recorded_at = Instant::MIN;
    for (row, seq) in ledger.rows().iter().zip(1..) {
        prop_assert_eq!(row.seq, seq, "R15: numbered without gaps");
        prop_assert!(row.recorded_at >= recorded_at, "R15: recorded_at never decreases");
        recorded_at = row.recorded_at;
        let mut delta = Split::ZERO;
        for entry in &row.entries {
            let change = entry.delta.get();
            prop_assert!(change != 0 || row.kind == Kind::Allocation, "an entry changes something");
            let figures = by_grant.entry(entry.grant).or_default();
            match row.kind {
                Kind::Allocation | Kind::Purchase => figures[0] += change,
                Kind::Charge => figures[1] -= change,
                Kind::Expiry => figures[2] -= change,
                other => prop_assert!(false, "no step makes a {}", other),
            }
            figures[3] += change;
            prop_assert!(figures.iter().all(|figure| *figure >= 0), "R6: {:?} after row {}", figures, seq);
            delta = delta.plus(Split::of(entry.credit_type, entry.delta)).expect("small sums");
        }
        balance = balance.plus(delta).expect("small sums");
        prop_assert_eq!((row.delta, row.balance), (delta, balance), "R16: row {}", seq);
        prop_assert!(row.status == Status::Success || delta == Split::ZERO, "R7: a failed row moves nothing");
        let corrected = row.corrects.map(|seq| &ledger.rows()[usize::try_from(seq).expect("a row") - 1]);
        prop_assert!(
            corrected.is_none_or(|lapse| lapse.kind == Kind::Expiry && lapse.entries[0].grant == row.entries[0].grant),
            "R15: a lapse is corrected by its own reversal"
        );
    }
    prop_assert_eq!((ledger.balance, ledger.last_recorded_at), (balance, recorded_at));
    prop_assert_eq!(by_grant.len(), ledger.grants.len());
    let mut remainders = Split::ZERO;
    for grant in ledger.grants.values() {
        let Grant { amount, consumed, lapsed, remaining, .. } = grant;
        let stored = [amount, consumed, lapsed, remaining].map(|credits| credits.get());
        prop_assert_eq!(by_grant[&grant.id], stored, "R16: {}", grant.label);
        prop_assert_eq!(stored[0], stored[1] + stored[2] + stored[3], "R16: {}", grant.label);
        prop_assert!(grant.credit_type == CreditType::Free || grant.lapsed.is_zero(), "R12: purchased never lapse");
        remainders = remainders.plus(Split::of(grant.credit_type, *remaining)).expect("small sums");
    }
    prop_assert_eq!(remainders, balance, "R16: the balance is the sum of the remainders");
    Ok(())
}

/// What a grant is but for its number and the row that lapsed it, by label.
fn grants_by_label(ledger: &Ledger) -> BTreeMap<String, Grant> {
    let plain = |grant: &Grant| Grant { id: GrantId(0), lapsed_by: None, ..grant.clone() };
    ledger.grants.values().map(|grant| (grant.label.clone(), plain(grant))).collect()
}

fn report_rows(ledger: &Ledger) -> Rows {
    let row = |row: &Transaction| Row {
        account: 0,
        counts_at: row.kind.counts_at(row.occurred_at),
        kind: row.kind,
        outcome: Outcome::of(row.kind, row.status, row.reason),
        delta: row.delta,
    };
    ledger.rows().iter().map(row).collect()
}

/// The statement of a ledger from the month it opened in through the month of `t`, as polars and the fold agree on it.
pub fn statement(ledger: &Ledger, t: Instant, grouping: Grouping) -> ReportModel {
    let Account { id, opened_at, calendar, .. } = ledger.account.clone();
    let first = calendar.month_of(opened_at).first_day();
    let range = DateRange::new(first, calendar.month_of(t).next().first_day()).expect("a range");
    let spec = ReportSpec::new("History", range, grouping, Scope::Account, t).expect("a bounded range");
    let accounts = [ReportAccount { id, calendar, opening: Split::ZERO }];
    let rows = report_rows(ledger);
    let model = fold(&spec, &accounts, &rows).expect("small sums");
    assert_eq!(aggregate(&spec, &accounts, &rows).as_ref(), Ok(&model));
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// R2 to R6, R9, R12, R14: every answer and every balance is what plain lists say, with or without jobs.
    #[test]
    fn any_history_is_what_plain_lists_say(history in history()) {
        let mut world = World::new(&history);
        for step in &history.steps {
            world.step(step)?;
            let ledger = world.up_to_date();
            let available = ledger.available_at(world.now).expect("small sums");
            let expected = world.naive.available(world.now.micros());
            prop_assert_eq!((available.free.get(), available.purchased.get()), expected, "at {}", world.now);
        }
        check_invariants(&world.ledger)?;
        check_invariants(&world.up_to_date())?;
    }

    /// R6: exactly what is available can be taken, and not one credit more.
    #[test]
    fn r6_the_available_credits_can_be_taken_and_no_more(history in history()) {
        let world = World::played(&history, &history.steps)?;
        let available = world.up_to_date().available_at(world.now).expect("small sums").total().get();
        let take = |quantity| {
            let mut ledger = world.ledger.clone();
            let usage = Usage { quantity, ..usage("translation", "last") };
            let row = ledger.apply(&Call::Charge(usage), &default_prices(), world.now).expect("a good call").row;
            (row.status, ledger.available_at(world.now).expect("small sums").total().get())
        };
        prop_assert_eq!(take(available + 1), (Status::Failed, available));
        if available > 0 {
            prop_assert_eq!(take(available), (Status::Success, 0));
        }
    }

    /// R3: however many months were missed, one roll over does what many would have done.
    #[test]
    fn r3_in_one_step_or_in_many_a_ledger_rolls_over_alike(
        history in history(), mut waits in prop::collection::vec(0..100 * DAY_US, 1..12),
    ) {
        let world = World::played(&history, &history.steps)?;
        let latest = world.latest;
        waits.sort_unstable();
        let end = latest.plus_micros(*waits.last().expect("at least one"));
        let (mut stepwise, mut at_once) = (world.ledger.clone(), world.ledger);
        for wait in waits {
            let now = latest.plus_micros(wait);
            stepwise.roll_over(now, now).expect("small sums");
            let rows = stepwise.rows().len();
            stepwise.roll_over(now, now).expect("small sums");
            prop_assert_eq!(rows, stepwise.rows().len(), "twice is once");
            prop_assert!(stepwise.due_at() > now, "nothing is due any more");
        }
        at_once.roll_over(end, end).expect("small sums");
        prop_assert_eq!(&stepwise.grants, &at_once.grants);
        prop_assert_eq!(stepwise.opened_through, at_once.opened_through);
        let unrecorded = |ledger: &Ledger| -> Vec<Transaction> {
            ledger.rows().iter().map(|row| Transaction { recorded_at: Instant::MIN, ..row.clone() }).collect()
        };
        prop_assert_eq!(unrecorded(&stepwise), unrecorded(&at_once));
    }

    /// R3: a job after every step, or never: same answers, same grants, same statements.
    #[test]
    fn r3_jobs_change_no_figure(history in history()) {
        let without: Vec<Step> = history.steps.iter().filter(|step| !matches!(step, Step::Job)).cloned().collect();
        let with: Vec<Step> = without.iter().flat_map(|step| [step.clone(), Step::Job]).collect();
        let [lazy, eager] = [World::played(&history, &without)?, World::played(&history, &with)?];
        let latest = lazy.latest;
        let [lazy, eager] = [lazy, eager].map(|mut world| {
            world.ledger.roll_over(latest, latest).expect("small sums");
            world.ledger
        });
        prop_assert_eq!(grants_by_label(&lazy), grants_by_label(&eager));
        let answers = |ledger: &Ledger| -> Vec<_> {
            let keyed = ledger.rows().iter().filter(|row| row.key.is_some());
            keyed.map(|row| (row.key.clone(), row.status, row.reason, row.delta)).collect()
        };
        prop_assert_eq!(answers(&lazy), answers(&eager));
        prop_assert_eq!(statement(&lazy, latest, Grouping::Month), statement(&eager, latest, Grouping::Month));
    }

    /// DESIGN 4: statements of any history close, days sum to months, and each month that is over allocated the
    /// allowance, used what was used, lapsed the rest and left no free credit.
    #[test]
    fn statements_of_any_history_close_and_days_sum_to_months(history in history()) {
        let world = World::played(&history, &history.steps)?;
        let latest = world.latest;
        let mut ledger = world.ledger;
        ledger.roll_over(latest, latest).expect("small sums");
        let (by_day, by_month) = (statement(&ledger, latest, Grouping::Day), statement(&ledger, latest, Grouping::Month));
        for line in by_day.lines.iter().chain(&by_month.lines).chain(&by_month.totals) {
            prop_assert!(line.figures.closes(), "{line:?}");
            prop_assert!(line.figures.carried_in >= Credits::ZERO && line.figures.remaining >= Credits::ZERO, "{line:?}");
        }
        for whole in &by_month.lines {
            let days = by_day.lines.iter().filter(|day| {
                day.credit_type == whole.credit_type && whole.range.from() <= day.range.from() && day.range.to() <= whole.range.to()
            });
            let (figures, counts) = days
                .map(|day| (day.figures, day.counts.unwrap_or_default()))
                .reduce(|(sum, counts), (later, more)| (sum.then(&later).expect("small sums"), counts.plus(more)))
                .expect("a month has days");
            prop_assert_eq!(figures, whole.figures);
            prop_assert_eq!(counts, whole.counts.unwrap_or_default());
        }
        let free: Vec<_> = by_month.lines.iter().filter(|line| line.credit_type == LineType::Free).collect();
        for (line, (end, used, lapsed)) in free.iter().zip(world.naive.months_over(latest.micros())) {
            let figures = [line.figures.allocated, line.figures.consumed, line.figures.lapsed, line.figures.remaining];
            prop_assert_eq!(figures.map(Credits::get), [ALLOWANCE, used, lapsed, 0], "month until {}", Instant::from_micros(end));
        }
        let expected = world.naive.available(latest.micros());
        let last = |at_from_end: usize| by_month.lines[by_month.lines.len() - at_from_end].figures.remaining.get();
        prop_assert_eq!((last(3), last(2)), expected, "what remains at the end is what is available");
        prop_assert_eq!(by_month.totals[2].counts, Some(counted(&ledger)));
    }
}

fn counted(ledger: &Ledger) -> Counts {
    let count = |wanted: fn(&Transaction) -> bool| {
        ledger.rows().iter().filter(|row| row.kind == Kind::Charge && wanted(row)).count() as u64
    };
    Counts {
        succeeded: count(|row| row.status == Status::Success),
        failed: count(|row| row.status == Status::Failed && row.reason.is_none()),
        refused: count(|row| row.reason.is_some()),
    }
}

#[test]
fn r3_after_five_months_of_silence_each_month_opens_and_lapses_in_order() {
    let mut ledger = Ledger::new(account("acme", "America/New_York", "2013-01-01"));
    let charged_at = instant("2013-01-15T12:00:00Z");
    ledger.apply(&Call::Charge(usage("erase", "a")), &default_prices(), charged_at).expect("a good call");
    let now = instant("2013-06-15T00:00:00Z");
    ledger.roll_over(now, now).expect("small sums");
    let shown: Vec<String> = ledger
        .rows()
        .iter()
        .map(|row| format!("{:<10} {} {:>5} -> {}", row.kind, row.occurred_at, row.delta.free, row.balance.free))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    allocation 2013-01-01T05:00:00Z  1500 -> 1500
    charge     2013-01-15T12:00:00Z    -7 -> 1493
    expiry     2013-02-01T05:00:00Z -1493 -> 0
    allocation 2013-02-01T05:00:00Z  1500 -> 1500
    expiry     2013-03-01T05:00:00Z -1500 -> 0
    allocation 2013-03-01T05:00:00Z  1500 -> 1500
    expiry     2013-04-01T04:00:00Z -1500 -> 0
    allocation 2013-04-01T04:00:00Z  1500 -> 1500
    expiry     2013-05-01T04:00:00Z -1500 -> 0
    allocation 2013-05-01T04:00:00Z  1500 -> 1500
    expiry     2013-06-01T04:00:00Z -1500 -> 0
    allocation 2013-06-01T04:00:00Z  1500 -> 1500
    ");
    assert_eq!(ledger.available_at(now).expect("small").total().get(), ALLOWANCE);
}

/// An amount that cannot be counted is refused before anything moves, a month that has turned included.
#[test]
fn an_amount_beyond_the_range_of_credits_writes_nothing() {
    let now = instant("2013-06-15T00:00:00Z");
    let mut ledger = Ledger::new(account("acme", "America/New_York", "2013-01-01"));
    let before = ledger.clone();
    let code = usage("erase", "a").action;
    let version = PriceVersion { effective_from: Instant::from_micros(0), credits: Some(Credits::LIMIT) };
    let dear = Action { code, title: "Erase".into(), help: String::new(), versions: vec![version] };
    let two = Usage { quantity: 2, ..usage("erase", "a") };
    let refusal = ledger.apply(&Call::Charge(two), &PriceMatrix::from_iter([dear]), now).expect_err("beyond the range");
    assert_eq!(refusal.code(), "overflow");
    assert_eq!(ledger, before);

    let packs = Purchase { pack_credits: Credits::LIMIT, ..purchase(2, "inv-1") };
    let refusal = ledger.apply(&Call::Purchase(packs), &default_prices(), now).expect_err("beyond the range");
    assert_eq!(refusal.code(), "overflow");
    assert_eq!(ledger, before);
}

/// R12: the longest payment reference there may be is still a key.
#[test]
fn the_longest_reference_is_still_a_key() {
    let longest = "r".repeat(creditd::core::ids::REFERENCE_LEN_MAX);
    assert!(Key::new(purchase(1, &longest).key.as_str()).is_ok());
    assert!(creditd::core::ids::Reference::new(&format!("{longest}r")).is_err());
}

/// R1, R4: charges a microsecond before a month's end and at it land in the month before and after, without any job.
#[track_caller]
fn check_month_end(zone: chrono_tz::Tz, ending: Month) {
    let terms = Terms { from: ending, zone, allowance: Credits::new(ALLOWANCE) };
    let opened_at = first_instant_of(ending.first_day(), zone);
    let calendar = Calendar::new(terms);
    let acme = Account { id: account_id("acme"), name: "Acme".into(), opened_at, calendar };
    let end = Instant::from_micros(naive::midnight(zone, ending.next().first_day()));
    let mut ledger = Ledger::new(acme);
    for (key, at, month) in [("before", end.plus_micros(-1), ending), ("at", end, ending.next())] {
        let row = ledger.apply(&Call::Charge(usage("erase", key)), &default_prices(), at).expect("a good call").row;
        let grant = &ledger.grants[&row.entries[0].grant];
        assert_eq!(grant.label, format!("free:{month}"), "{zone}: {key} the end of {ending}, {at}");
        assert_eq!(ledger.available_at(at).expect("small").free.get(), ALLOWANCE - 7, "{zone}: {ending}");
    }
    let by_month = statement(&ledger, end, Grouping::Month);
    let consumed: Vec<i64> = by_month.lines.iter().step_by(3).map(|line| line.figures.consumed.get()).collect();
    assert_eq!(consumed, [7, 7], "{zone}: {ending}");
}

#[test]
fn r4_the_end_of_a_month_belongs_to_the_next_in_every_zone_of_the_trace() {
    let zones =
        include_str!("../data/accounts.csv").lines().skip(1).map(|line| line.split(',').nth(2).expect("a zone"));
    let zones: std::collections::BTreeSet<&str> = zones.collect();
    assert_eq!(zones.len(), 9);
    for zone in zones {
        for ending in ["2012-12", "2013-01", "2013-02", "2013-03", "2013-10", "2013-11"] {
            check_month_end(parse_zone(zone).expect("a zone"), month(ending));
        }
    }
}

/// Where the first midnight of a month is skipped or comes twice, in any zone of the world since 1970.
#[test]
fn r1_months_that_begin_beside_midnight() {
    use chrono::{LocalResult, TimeZone};
    let (mut skipped, mut twice) = (0, 0);
    for zone in chrono_tz::TZ_VARIANTS {
        let mut first = month("1970-02");
        while first <= month("2037-12") {
            match zone.from_local_datetime(&first.first_day().and_time(chrono::NaiveTime::MIN)) {
                LocalResult::Single(_) => {}
                found => {
                    *if found == LocalResult::None { &mut skipped } else { &mut twice } += 1;
                    check_month_end(zone, first.previous());
                }
            }
            first = first.next();
        }
    }
    println!("{skipped} months begin after their midnight was skipped, {twice} begin with the first of two");
    assert!(skipped > 20 && twice > 5, "{skipped} {twice}: is the zone database there?");
}
