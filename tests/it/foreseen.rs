//! What is foreseen to be left, against what is left of a ledger from which the pace is really taken: in the order in which
//! credits are used (R5), whatever was granted and bought when, and whatever lapses on the way.

use crate::support::{Sandbox, account, default_prices, instant, purchase, usage};
use creditd::app::{Balance, balance_of};
use creditd::core::calendar::{Calendar, Instant};
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::forecast::{DailyUse, ForecastInput, Outlook, forecast, left_by_day};
use creditd::core::ids::Key;
use creditd::core::ledger::{Bonus, Call, Ledger, Purchase, Usage};
use creditd::core::statement::{Ahead, LocalTime};
use proptest::prelude::*;

/// The day of March from which on it is foreseen: too early for a pattern of the week.
const TODAY: i64 = 11;
/// The day after March.
const RESET: i64 = 32;

/// What an account got on a day of March before today.
#[derive(Clone, Debug)]
enum Got {
    Pack,
    /// That lapses at the beginning of a day of March, of the reset, or never.
    Bonus(CreditType, Option<i64>),
}

fn got() -> impl Strategy<Value = (i64, Got, i64)> {
    let credit_type = prop::sample::select(vec![CreditType::Free, CreditType::Purchased]);
    let bonus = (credit_type, prop::option::of(TODAY + 1..=32)).prop_map(|(of, end)| Got::Bonus(of, end));
    (1..TODAY, prop_oneof![Just(Got::Pack), bonus], 1_i64..600)
}

/// The beginning of a day of March.
fn day(number: i64) -> Instant {
    instant("2013-03-01T00:00:00Z").plus_days(number - 1)
}

fn call((at, (_, got, credits)): (usize, &(i64, Got, i64))) -> Call {
    let credits = Credits::new(*credits);
    match got {
        Got::Pack => Call::Purchase(Purchase { pack_credits: credits, ..purchase(1, &format!("pack-{at}")) }),
        Got::Bonus(credit_type, end) => Call::Bonus(Bonus {
            key: Key::new(&format!("bonus-{at}")).expect("a key"),
            credit_type: *credit_type,
            credits,
            expires_at: end.map(day),
            comment: "why".to_owned(),
        }),
    }
}

/// An account today that got all this, in the order of days, what it used when, and what is left.
fn today(all_got: &[(i64, Got, i64)], used: impl IntoIterator<Item = (Instant, i64)>) -> (Ledger, DailyUse, Balance) {
    let mut ledger = Ledger::new(account("acme", "UTC", "2013-03-01"));
    for one in all_got.iter().enumerate() {
        ledger.apply(&call(one), &default_prices(), day(one.1.0)).expect("got");
    }
    let mut daily = DailyUse::unused(&ledger.account.calendar, ledger.account.opened_at, day(TODAY));
    used.into_iter().for_each(|(at, credits)| daily.add(at, Credits::new(credits)));
    let balance = balance_of(&ledger, day(TODAY)).expect("a balance");
    (ledger, daily, balance)
}

fn input<'a>(calendar: &'a Calendar, daily: &'a DailyUse, balance: &'a Balance) -> ForecastInput<'a> {
    ForecastInput {
        calendar,
        daily,
        now: day(TODAY),
        available: balance.available,
        grants: &balance.grants,
        next_reset_at: day(RESET),
        pack_credits: None,
    }
}

proptest! {
    #[test]
    fn what_is_foreseen_comes(mut all_got in prop::collection::vec(got(), 0..7), per_day in 1_i64..200) {
        all_got.sort_by_key(|(day, ..)| *day);
        let used = (1..=7).map(|ago| (day(TODAY - ago), per_day));
        let (mut ledger, daily, balance) = today(&all_got, used);
        let (prices, reset, calendar) = (default_prices(), day(RESET), ledger.account.calendar.clone());
        let input = input(&calendar, &daily, &balance);
        let (told, foreseen) = (forecast(&input), left_by_day(&input, &[]));

        let (mut came, mut is_short) = (Vec::new(), false);
        for number in TODAY..RESET {
            // All of it at the end of the day, for half a credit cannot be taken.
            let (at, end) = (day(number + 1).plus_micros(-1), day(number + 1));
            let there = balance_of(&ledger, at).expect("a balance").available.total().get();
            is_short |= there < per_day;
            if there > 0 {
                let taken = Usage { quantity: per_day.min(there), ..usage("translation", &format!("day-{number}")) };
                ledger.apply(&Call::Charge(taken), &prices, at).expect("there is enough");
            }
            // What lapses at the reset is there just before it.
            let looked_at = if end == reset { at } else { end };
            came.push((end, balance_of(&ledger, looked_at).expect("a balance").available));
        }
        prop_assert_eq!(&foreseen, &came);
        prop_assert_eq!(told.left, came.last().map(|(_, left)| *left));
        prop_assert_eq!(matches!(told.outlook, Outlook::RunsOut | Outlook::Empty), is_short);
        prop_assert!(told.outlook != Outlook::PurchasedCover || told.left.is_some_and(|left| left.free.is_zero()));

        // What is drawn of it passes through all of these days, is where something is used up, and never rises.
        let ahead = Ahead::new(&input);
        let drawn: Vec<Split> = std::iter::once(ahead.available).chain(ahead.turns.iter().map(|(_, left)| *left)).collect();
        for two in drawn.windows(2) {
            prop_assert!(two[1].free <= two[0].free && two[1].purchased <= two[0].purchased, "{:?}", ahead.turns);
        }
        prop_assert!(ahead.turns.is_sorted_by_key(|(at, _)| *at), "{:?}", ahead.turns);
        prop_assert!(came.iter().all(|(end, left)| ahead.turns.contains(&(LocalTime::of(*end, &calendar), *left))));
        let left_at = |out: LocalTime| ahead.turns.iter().rfind(|(at, _)| *at == out).map(|(_, left)| *left);
        prop_assert!(ahead.free_runs_out.is_none_or(|out| left_at(out).is_some_and(|left| left.free.is_zero())));
        prop_assert!(ahead.runs_out.is_none_or(|out| left_at(out) == Some(Split::ZERO)));
    }
}

/// A pack that is older than a bonus without an end is used before it.
#[test]
fn an_older_pack_goes_before_a_bonus_without_an_end() {
    let all_got = [(1, Got::Pack, 500), (2, Got::Bonus(CreditType::Free, None), 300)];
    // A hundred a day, for 21 days: all of the month's 1,500, all of the pack and a hundred of the bonus.
    let (ledger, daily, balance) = today(&all_got, [(day(TODAY), 700)]);
    let input = input(&ledger.account.calendar, &daily, &balance);
    let (told, ahead) = (forecast(&input), Ahead::new(&input));
    assert_eq!(told.left, Some(Split { free: Credits::new(200), purchased: Credits::ZERO }));
    assert_eq!((told.outlook, told.free_runs_out_at), (Outlook::FreeLast, told.runs_out_at));
    // Both are used up after the month, so that nothing turns within it but days.
    assert_eq!((ahead.turns.len(), ahead.free_runs_out), (21, None));
}

/// What a charge says will be there after the reset leaves out whatever lapses until then, of both types.
#[tokio::test]
async fn what_lapses_until_the_reset_is_not_there_then() {
    let sandbox = Sandbox::new().await;
    let acme = sandbox.open_account("acme", "UTC", "2013-03-01").await;
    let app = sandbox.at("2013-03-02T00:00:00Z");
    let all_got = [
        (2, Got::Pack, 500),
        (2, Got::Bonus(CreditType::Free, Some(12)), 5),
        (2, Got::Bonus(CreditType::Free, Some(32)), 70),
        (2, Got::Bonus(CreditType::Purchased, Some(20)), 80),
        (2, Got::Bonus(CreditType::Purchased, Some(33)), 10),
        (2, Got::Bonus(CreditType::Free, None), 1),
    ];
    for one in all_got.iter().enumerate() {
        app.call(&acme, call(one)).await.expect("got");
    }
    let answer = app.charge(&acme, &usage("translation", "k")).await.expect("charged");
    assert_eq!((answer.available.total().get(), answer.available_then.get()), (2_165, 1_500 + 500 + 10 + 1));
}
