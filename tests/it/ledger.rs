//! The ledger of one account under random histories, against an oracle of plain lists (R1 to R18).
//!
//! No database: the ledger is a pure value. A history is a list of steps (the clock moves, something is asked for or
//! asked again, a price changes, a job passes); the zones are those that move their clocks at the worst moments.

mod corners;
mod history;
mod invariants;
mod naive;
mod precedence;
mod world;

use history::Wish;
pub use history::{DAY_US, History, Step, action, history};
pub use invariants::check_invariants;
pub use world::{Event, World};

use crate::support::{ALLOWANCE, account, account_id, default_prices, instant, month, purchase, usage};
use creditd::core::calendar::{Calendar, Instant, Month, Terms, first_instant_of, parse_zone};
use creditd::core::credits::{Credits, Split};
use creditd::core::ids::Key;
use creditd::core::ledger::{Account, Call, Grant, Ledger, Purchase, Usage};
use creditd::core::price::{Action, PriceMatrix, PriceVersion};
use creditd::core::schedule::Slot;
use creditd::core::statement::{
    Counts, DateRange, Figures, Grouping, LineType, Name, Outcome, ReportAccount, ReportModel, ReportSpec, Row, Rows,
    Scope, fold,
};
use creditd::core::transaction::{GrantId, Kind, Status, Transaction};
use creditd::report::aggregate;
use invariants::{answers, grants_by_label, month_not_emptied};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

/// A grant and an instant at which, as all rows tell it, it had less than nothing.
fn less_than_nothing(rows: &[Transaction]) -> Option<(GrantId, Instant)> {
    let mut moves: BTreeMap<(GrantId, Instant), i64> = BTreeMap::new();
    for row in rows {
        for entry in &row.entries {
            *moves.entry((entry.grant, row.occurred_at)).or_default() += entry.delta.get();
        }
    }
    let mut left: BTreeMap<GrantId, i64> = BTreeMap::new();
    moves.into_iter().find_map(|((grant, at), delta)| {
        let left = left.entry(grant).or_default();
        *left += delta;
        (*left < 0).then_some((grant, at))
    })
}

/// The least that was there of a grant at `at` or later, before its end. Rows of one instant count as they were recorded; a
/// hold that was settled is as if it had not been, and one that is open as if it had been made last in its instant.
fn least_since(ledger: &Ledger, grant: &Grant, at: Instant) -> i64 {
    let is_over = |t: Instant| grant.expires_at.is_some_and(|end| end <= t);
    if at < grant.starts_at || is_over(at) {
        return 0;
    }
    let counts = |row: &&Transaction| match row.kind {
        Kind::Hold => ledger.holds.contains_key(&row.seq),
        kind => kind != Kind::Release && !is_over(row.occurred_at),
    };
    let mut rows: Vec<&Transaction> = ledger.rows().iter().filter(counts).collect();
    rows.sort_by_key(|row| (row.occurred_at, row.kind == Kind::Hold, row.seq));
    let change = |row: &&Transaction| -> i64 {
        row.entries.iter().filter(|entry| entry.grant == grant.id).map(|entry| entry.delta.get()).sum()
    };
    let (before, later) = rows.split_at(rows.partition_point(|row| row.occurred_at <= at));
    let there = before.iter().map(change).sum();
    let after = later.iter().map(change).scan(there, |left, change| {
        *left += change;
        Some(*left)
    });
    after.fold(there, i64::min)
}

fn report_rows(ledger: &Ledger) -> Rows {
    let row = |row: &Transaction| Row {
        account: 0,
        counts_at: row.kind.counts_at(row.occurred_at),
        kind: row.kind,
        outcome: Outcome::of(row.kind, row.status, row.reason),
        name: Name::NONE,
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

    /// Every answer, every balance and every figure of every lot is what plain lists say, with or without jobs.
    #[test]
    fn any_history_is_what_plain_lists_say(history in history()) {
        let mut world = World::new(&history);
        for step in &history.steps {
            world.step(step)?;
            world.compare()?;
        }
        check_invariants(world.ledger.rows(), &world.ledger)?;
        let ledger = world.up_to_date();
        check_invariants(ledger.rows(), &ledger)?;
    }

    /// R6: exactly what is available can be taken, and not one credit more.
    #[test]
    fn r6_the_available_credits_can_be_taken_and_no_more(history in history()) {
        let world = World::played(&history, &history.steps)?;
        let available = world.up_to_date().available_at(world.now).expect("small sums").total().get();
        let take = |quantity| {
            let mut ledger = world.ledger.clone();
            let call = Call::Charge(Usage { quantity, ..usage("translation", "last") });
            let row = ledger.apply(&call, &default_prices(), world.now).map(|receipt| receipt.row);
            row.map(|row| (row.status, ledger.available_at(world.now).expect("small sums").total().get()))
        };
        match take(available + 1) {
            // What is closed takes no charge at all.
            Err(refusal) => prop_assert!(["account_closed", "month_closed"].contains(&refusal.code()), "{}", refusal),
            Ok(taken) => {
                prop_assert_eq!(taken, (Status::Failed, available));
                prop_assert!(available == 0 || take(available) == Ok((Status::Success, 0)));
            }
        }
    }

    /// R14: usage told late takes of each lot the least that it had from then on, and not one credit more: so no instant of
    /// any history, however it was told, has less than nothing of any lot.
    #[test]
    fn r14_late_usage_takes_what_was_there_ever_since_and_no_more(
        history in history(), index in any::<Index>(), beside in -1_i64..=1,
    ) {
        let history = history.on_a_good_clock();
        let mut world = World::new(&history);
        for step in &history.steps {
            world.step(step)?;
            prop_assert_eq!(less_than_nothing(world.ledger.rows()), None);
        }
        let ledger = world.up_to_date();
        let instants: Vec<Instant> = ledger.rows().iter().map(|row| row.occurred_at.plus_micros(beside)).collect();
        let at = if instants.is_empty() { world.now } else { *index.get(&instants) };
        let there: i64 = ledger.grants.values().map(|grant| least_since(&ledger, grant, at)).sum();
        let take = |quantity| {
            let mut ledger = ledger.clone();
            let call = Call::Charge(Usage { quantity, occurred_at: Some(at), ..usage("translation", "late") });
            let row = ledger.apply(&call, &default_prices(), world.now).map(|receipt| receipt.row);
            row.map(|row| (row.status, less_than_nothing(ledger.rows())))
        };
        match take(there + 1) {
            Err(refusal) => {
                let causes = ["account_closed", "month_closed", "in_future", "not_opened", "bad_quantity"];
                prop_assert!(causes.contains(&refusal.code()), "{}", refusal);
            }
            Ok(taken) => {
                prop_assert_eq!(taken, (Status::Failed, None), "more than {} at {}", there, at);
                if there > 0 {
                    prop_assert_eq!(take(there), Ok((Status::Success, None)), "{} at {}", there, at);
                }
            }
        }
    }

    /// R3: however many months were missed, one roll over does what many would have done.
    #[test]
    fn r3_in_one_step_or_in_many_a_ledger_rolls_over_alike(
        history in history(), mut waits in prop::collection::vec(0..100 * DAY_US, 1..12),
    ) {
        let world = World::played(&history, &history.steps)?;
        let (latest, holds) = (world.latest, world.ledger.holds.len());
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
        prop_assert_eq!(grants_by_label(&stepwise), grants_by_label(&at_once));
        prop_assert_eq!(stepwise.opened_through, at_once.opened_through);
        prop_assert_eq!(statement(&stepwise, end, Grouping::Month), statement(&at_once, end, Grouping::Month));
        // A hold that ends between two steps is settled after what was before it, or first of all.
        if holds == 0 {
            let unrecorded = |ledger: &Ledger| -> Vec<Transaction> {
                ledger.rows().iter().map(|row| Transaction { recorded_at: Instant::MIN, ..row.clone() }).collect()
            };
            prop_assert_eq!(unrecorded(&stepwise), unrecorded(&at_once));
        }
    }

    /// R3: a job after every step, or never: same answers, same grants, same statements. On a clock that goes back it
    /// may matter whether a job has seen the later time: what was opened stays open, what expired is over. Nor does a job
    /// pass at the very instant at which an account is closed, but before it: a month that begins then would have begun.
    #[test]
    fn r3_jobs_change_no_figure(history in history()) {
        let history = history.on_a_good_clock();
        let without: Vec<Step> = history.steps.iter().filter(|step| !matches!(step, Step::Job)).cloned().collect();
        let is_wait = |step: &Step| matches!(step, Step::Wait(_) | Step::WaitForMonthEnd(_));
        let is_closing = |step: &Step| matches!(step, Step::Ask(_, Wish::Closing { .. }) | Step::AskAgain { .. });
        let with = without.iter().enumerate().flat_map(|(at, step)| {
            let is_before_closing = without[at + 1..].iter().take_while(|step| !is_wait(step)).any(is_closing);
            [Some(step.clone()), (!is_before_closing).then_some(Step::Job)].into_iter().flatten()
        });
        let with: Vec<Step> = with.collect();
        let [lazy, eager] = [World::played(&history, &without)?, World::played(&history, &with)?];
        let latest = lazy.latest;
        let [lazy, eager] = [lazy, eager].map(|world| world.up_to_date_at(latest));
        prop_assert_eq!(grants_by_label(&lazy), grants_by_label(&eager));
        prop_assert_eq!(answers(&lazy), answers(&eager));
        prop_assert_eq!(lazy.balance, eager.balance);
        prop_assert_eq!(&lazy.closures, &eager.closures);
        prop_assert_eq!(statement(&lazy, latest, Grouping::Month), statement(&eager, latest, Grouping::Month));
    }

    /// DESIGN 4: statements of any history close, days sum to months, and months say what plain lists say. No free credits
    /// of a month are there when it is over. Nothing is negative, unless a clock went back: what came back at noon can
    /// then be used at eleven.
    #[test]
    fn statements_of_any_history_close_and_days_sum_to_months(history in history(), is_good_clock in any::<bool>()) {
        let history = if is_good_clock { history.on_a_good_clock() } else { history };
        let world = World::played(&history, &history.steps)?;
        let latest = world.latest;
        let ledger = world.up_to_date_at(latest);
        prop_assert_eq!(month_not_emptied(&ledger, latest), None);
        let (by_day, by_month) = (statement(&ledger, latest, Grouping::Day), statement(&ledger, latest, Grouping::Month));
        for line in by_day.lines.iter().chain(by_month.lines.iter()).chain(by_month.totals.iter().copied()) {
            prop_assert!(line.figures.closes(), "{line:?}");
            let Figures { adjusted, .. } = line.figures;
            let figures = figures_of(&Figures { adjusted: adjusted.negated(), ..line.figures });
            prop_assert!(!is_good_clock || figures.iter().all(|figure| *figure >= 0), "{line:?}");
        }
        for whole in by_month.lines.iter() {
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
        let of_type = |wanted| by_month.lines.iter().filter(move |line| line.credit_type == wanted);
        for ((free, purchased), month) in
            of_type(LineType::Free).zip(of_type(LineType::Purchased)).zip(world.naive.months_until(latest.micros()))
        {
            let expected = world.naive.statements(&month, latest.micros());
            prop_assert_eq!(figures_of(&free.figures), expected[0], "free, {:?}", free.range);
            prop_assert_eq!(figures_of(&purchased.figures), expected[1], "purchased, {:?}", purchased.range);
        }
        prop_assert_eq!(by_month.totals[2].counts, Some(counted(&ledger)));
    }

    /// R15: the log alone makes the ledger that it is the log of, whole or as far as it went at any instant.
    #[test]
    fn r15_the_log_makes_the_ledger(history in history()) {
        let mut world = World::new(&history);
        let mut known: Option<Ledger> = None;
        for step in &history.steps {
            world.step(step)?;
            // As of an instant is as it was after the last step that was recorded then.
            if let Some(earlier) = known.filter(|earlier| earlier.last_recorded_at < world.ledger.last_recorded_at) {
                check_replay(&earlier, world.ledger.rows())?;
            }
            known = Some(world.ledger.clone());
        }
        check_replay(&world.ledger, world.ledger.rows())?;
    }
}

/// What `rows` make that were recorded when `ledger` was, against `ledger`.
fn check_replay(ledger: &Ledger, rows: &[Transaction]) -> Result<(), TestCaseError> {
    let until = rows.iter().take_while(|row| row.recorded_at <= ledger.last_recorded_at);
    let replayed = Ledger::replay(ledger.account.clone(), until).expect("small sums");
    prop_assert_eq!(replayed.last_seq, ledger.last_seq);
    prop_assert_eq!(replayed.last_recorded_at, ledger.last_recorded_at);
    prop_assert_eq!(replayed.balance, ledger.balance);
    prop_assert_eq!(replayed.opened_through, ledger.opened_through);
    prop_assert_eq!(replayed.closed_through, ledger.closed_through);
    prop_assert_eq!(replayed.reopened_through, ledger.reopened_through);
    prop_assert_eq!(&replayed.closures, &ledger.closures);
    prop_assert_eq!(&replayed.holds, &ledger.holds);
    prop_assert_eq!(&replayed.grants, &ledger.grants);
    Ok(())
}

/// The figures of a statement, in its order.
fn figures_of(figures: &Figures) -> [i64; 10] {
    let Figures { carried_in, allocated, purchased, bonus, consumed, .. } = figures;
    let Figures { refunded, lapsed, returned, adjusted, remaining, .. } = figures;
    [carried_in, allocated, purchased, bonus, consumed, refunded, lapsed, returned, adjusted, remaining]
        .map(|figure| figure.get())
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
        let call = Call::Charge(usage("erase", key));
        let row = ledger.apply(&call, &default_prices(), at).expect("a good call").row;
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

/// Every zone of the world, every month from 2000 to 2050: each begins once, where the one before it ends, and is due to be
/// reported at that very instant.
#[test]
fn r1_each_month_begins_once_in_every_zone() {
    for zone in chrono_tz::TZ_VARIANTS {
        let mut first = month("2000-01");
        let calendar = Calendar::new(Terms { from: first.previous(), zone, allowance: Credits::ZERO });
        let mut begins = Slot::Month(first.previous(), zone).due_at();
        while first < month("2051-01") {
            assert_eq!(calendar.month_start(first), begins, "{zone} {first}");
            assert_eq!(calendar.month_of(begins), first, "{zone} {first}");
            assert_eq!(
                calendar.month_of(Instant::from_micros(begins.micros() - 1)),
                first.previous(),
                "{zone} {first}"
            );
            let ends = Slot::Month(first, zone).due_at();
            assert!(ends > begins, "{zone} {first}");
            (first, begins) = (first.next(), ends);
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
