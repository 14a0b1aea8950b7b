//! What a forecast says, and what holds whatever was used.

use super::super::calendar::{Terms, parse_zone};
use super::*;
use proptest::prelude::*;

const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Pacific/Kiritimati",
];
const QUARTER_MICROS: i64 = 15 * 60 * 1_000_000;

fn at(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn calendar(zone: &str) -> Calendar {
    Calendar::new(Terms {
        from: "2000-01".parse().expect("a month"),
        zone: parse_zone(zone).expect("a zone"),
        allowance: Credits::new(1_500),
    })
}

fn split(free: i64, purchased: i64) -> Split {
    Split { free: Credits::new(free), purchased: Credits::new(purchased) }
}

fn micros(day: &DayUse, now: Instant) -> i64 {
    day.to.min(now).micros() - day.from.micros()
}

/// A forecast with these credits, until the end of the month in which `now` lies.
fn foresee(calendar: &Calendar, daily: &DailyUse, now: Instant, available: Split) -> Forecast {
    let next_reset_at = calendar.month_end(calendar.month_of(now));
    let pack_credits = Some(Credits::new(100));
    forecast(&ForecastInput { calendar, daily, now, available, grants: &[], next_reset_at, pack_credits })
}

/// At noon of Tuesday, 5 March 2013, too early for a pattern.
fn look(used: i64, history_days: i64, free: i64, purchased: i64) -> Forecast {
    let (now, calendar) = (at("2013-03-05T12:00:00Z"), calendar("UTC"));
    let mut daily = DailyUse::unused(&calendar, now.plus_days(-history_days), now);
    daily.add(now, Credits::new(used));
    foresee(&calendar, &daily, now, split(free, purchased))
}

/// A bonus that ends before the month does, with what is used of it until then.
#[test]
fn words_say_what_the_pace_covers() {
    for (days, said) in [
        (1, "day since the account was opened"),
        (3, "3 days since the account was opened"),
        (6, "6 days since the account was opened"),
        (7, "last 7 days"),
        (30, "last 7 days"),
    ] {
        assert_eq!(look(100, days, 80, 0).pace_window(), said);
    }
}

#[test]
fn what_ends_before_the_reset_does_not_last_until_it() {
    let (now, calendar) = (at("2013-03-05T12:00:00Z"), calendar("UTC"));
    let next_reset_at = at("2013-04-01T00:00:00Z");
    let foresee = |per_day: i64, available: Split, grants: &[(CreditType, &str, i64)]| {
        let daily = used_by(&calendar, now.plus_days(-30), now, |_| per_day);
        let grant = |(credit_type, end, credits): &(CreditType, &str, i64)| GrantLeft {
            credit_type: *credit_type,
            ends_at: Some(at(end)),
            credits: Credits::new(*credits),
        };
        let grants: Vec<GrantLeft> = grants.iter().map(grant).collect();
        let (calendar, daily, grants) = (&calendar, &daily, grants.as_slice());
        forecast(&ForecastInput { calendar, daily, now, available, grants, next_reset_at, pack_credits: None })
    };
    // Ten a day for 26.5 days; of 700 that end after two days, 680 lapse.
    let bonus = (CreditType::Free, "2013-03-07T12:00:00Z", 700);
    assert_eq!(foresee(10, split(1_000, 0), &[bonus]).outlook, Outlook::FreeLast);
    let short = foresee(10, split(900, 0), &[bonus]);
    assert_eq!((short.outlook, shown(short.runs_out_at).as_str()), (Outlook::RunsOut, "2013-03-27T12:00:00Z"));
    assert_eq!(foresee(10, split(900, 500), &[bonus]).outlook, Outlook::PurchasedCover);
    // Purchased ones are not touched while there are free ones: all of these lapse.
    let gift = (CreditType::Purchased, "2013-03-07T12:00:00Z", 400);
    assert_eq!(foresee(10, split(200, 400), &[gift]).outlook, Outlook::RunsOut);
    // However little is used of what ends, it is there until then.
    let flash = (CreditType::Free, "2013-03-05T13:00:00Z", 700);
    for (purchased, outlook, out) in
        [(0, Outlook::RunsOut, "2013-03-05T13:00:00Z"), (500, Outlook::PurchasedCover, "2013-04-24T12:00:00Z")]
    {
        check(foresee(10, split(700, purchased), &[flash]), 10, "2013-03-05T13:00:00Z", out, outlook);
    }
    let flags = |told: Forecast| [told.free_lapse, told.lapse];
    assert_eq!(flags(foresee(10, split(700, 0), &[flash])), [true, true]);
    assert_eq!(flags(foresee(10, split(700, 500), &[flash])), [true, false]);
    assert_eq!(flags(foresee(10, split(701, 0), &[flash])), [false, false]);
    // Each by its own last bonus: a purchased one that ends later is the last of all.
    let later = (CreditType::Purchased, "2013-03-09T12:00:00Z", 400);
    assert_eq!(flags(foresee(10, split(700, 400), &[flash, later])), [true, true]);
    assert_eq!(flags(foresee(500, split(700, 400), &[bonus, later])), [false, false]);
    // Where nothing is used, all of it lapses: whether some stays says whether there is a last of it.
    assert_eq!(foresee(0, split(1_000, 0), &[bonus]).left, Some(split(300, 0)));
    for (available, last) in
        [(split(1_000, 0), "-"), (split(700, 1), "-"), (split(700, 0), bonus.1), (split(0, 0), "-")]
    {
        assert_eq!(shown(foresee(0, available, &[bonus]).last_ends_at), last);
    }
    let told = foresee(0, split(700, 400), &[flash, later]);
    let [end, reset] = [at(later.1), next_reset_at].map(|at| (at, told.lasts_until(at, Credits::new(1))));
    assert_eq!((end.1, told.lasts_until(end.0, Credits::ZERO), reset.1), (None, Some(end.0), Some(end.0)));
    // If no more come, the month's own lapse at the reset, which 265 of ten a day are used until, and bonuses when they end.
    let month = (CreditType::Free, "2013-04-01T00:00:00Z", 300);
    let after = (CreditType::Purchased, "2013-04-05T00:00:00Z", 300);
    for (per_day, available, grants, gone, lapse) in [
        (10, split(300, 0), &[month][..], "2013-04-01T00:00:00Z", true),
        (10, split(300, 100), &[month], "2013-04-11T00:00:00Z", false),
        (10, split(300, 300), &[month, after], "2013-04-05T00:00:00Z", true),
        (10, split(300, 340), &[month, after], "2013-04-09T00:00:00Z", false),
        (10, split(0, 90), &[], "2013-03-14T12:00:00Z", false),
        (1, split(0, 400), &[], "-", false),
        (0, split(300, 0), &[month], "-", false),
    ] {
        let told = foresee(per_day, available, grants);
        assert_eq!((shown(told.gone_at).as_str(), told.gone_lapse), (gone, lapse), "{available:?}");
    }
}

/// What an account used that takes `per_day(weekday)` in 24 hours of each weekday, evenly within the day.
fn used_by(calendar: &Calendar, opened_at: Instant, now: Instant, per_day: impl Fn(Weekday) -> i64) -> DailyUse {
    let mut daily = DailyUse::unused(calendar, opened_at, now);
    for day in &mut daily.0 {
        let used = i128::from(per_day(day.weekday)) * i128::from(micros(day, now)) / i128::from(MICROS_PER_DAY);
        day.used = Credits::new(i64::try_from(used).expect("a small use"));
    }
    daily
}

fn working(day: Weekday) -> i64 {
    if matches!(day, Weekday::Sat | Weekday::Sun) { 0 } else { 10 }
}

fn shown(at: Option<Instant>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

#[track_caller]
fn check(forecast: Forecast, pace: i64, free_out: &str, out: &str, outlook: Outlook) {
    assert_eq!(
        (
            forecast.pace_per_day.map(Credits::get),
            shown(forecast.free_runs_out_at).as_str(),
            shown(forecast.runs_out_at).as_str()
        ),
        (Some(pace), free_out, out)
    );
    assert_eq!(forecast.outlook, outlook);
}

#[test]
fn each_outlook() {
    check(look(70, 7, 50, 50), 10, "2013-03-10T12:00:00Z", "2013-03-15T12:00:00Z", Outlook::RunsOut);
    check(look(70, 7, 50, 5_000), 10, "2013-03-10T12:00:00Z", "-", Outlook::PurchasedCover);
    check(look(70, 7, 500, 0), 10, "2013-04-24T12:00:00Z", "2013-04-24T12:00:00Z", Outlook::FreeLast);
    check(look(70, 7, 0, 0), 10, "2013-03-05T12:00:00Z", "2013-03-05T12:00:00Z", Outlook::Empty);
    check(look(0, 7, 500, 0), 0, "-", "-", Outlook::Unknown);
    check(look(-3, 7, 500, 0), 0, "-", "-", Outlook::Unknown); // more refunded than used
}

#[test]
fn credits_that_last_to_the_very_reset_last() {
    // 26.5 days to the reset at 2 a day.
    assert_eq!((look(14, 7, 53, 0).outlook, look(14, 7, 53, 0).packs_needed), (Outlook::FreeLast, Some(0)));
    assert_eq!((look(14, 7, 52, 0).outlook, look(14, 7, 52, 0).packs_needed), (Outlook::RunsOut, Some(1)));
    assert_eq!(look(14, 7, 52, 1).outlook, Outlook::PurchasedCover);
    assert_eq!((look(14, 7, 53, 9).left, look(14, 7, 52, 9).left), (Some(split(0, 9)), Some(split(0, 8))));
}

#[test]
fn a_young_account_is_paced_by_its_own_days() {
    check(look(30, 3, 60, 0), 10, "2013-03-11T12:00:00Z", "2013-03-11T12:00:00Z", Outlook::RunsOut);
    let calendar = calendar("UTC");
    let now = at("2013-03-05T12:00:00Z");
    for (opened_at, is_enough) in [
        ("2013-03-05T12:00:00Z", false),
        ("2013-03-05T03:00:00Z", false),
        ("2013-03-04T12:00:00.000001Z", false),
        ("2013-03-04T12:00:00Z", true),
        ("2013-03-06T12:00:00Z", false), // to come
    ] {
        let mut daily = DailyUse::unused(&calendar, at(opened_at), now);
        daily.add(now, Credits::new(1_200));
        let told = foresee(&calendar, &daily, now, split(300, 0));
        let known = (told.pace_per_day.is_some(), told.left.is_some(), told.packs_needed.is_some());
        assert_eq!(known, (is_enough, is_enough, is_enough), "{opened_at}");
        assert_eq!(told.outlook == Outlook::Unknown, !is_enough, "{opened_at}");
    }
}

#[test]
fn the_pace_is_rounded_half_up() {
    let pace = |used| look(used, 7, 1, 0).pace_per_day.map(Credits::get);
    assert_eq!((pace(3), pace(4), pace(10), pace(11)), (Some(0), Some(1), Some(1), Some(2)));
    assert_eq!(look(1, 2, 1, 0).pace_per_day.map(Credits::get), Some(1)); // a half
}

#[test]
fn packs_carry_to_the_month_end() {
    // 265 until the end of the month, in packs of 100.
    let packs = |free, purchased| look(70, 7, free, purchased).packs_needed;
    assert_eq!((packs(0, 0), packs(65, 0), packs(64, 0), packs(60, 6)), (Some(3), Some(2), Some(3), Some(2)));
    assert_eq!((packs(265, 0), packs(5, 5_000)), (Some(0), Some(0)));
    assert_eq!((look(0, 7, 0, 0).packs_needed, look(70, 0, 0, 0).packs_needed), (None, None));
}

#[test]
fn who_rests_on_weekends_is_not_expected_to_work_then() {
    // Friday, 8 March 2013, noon; the clocks of New York go forward on Sunday.
    let (calendar, now) = (calendar("America/New_York"), at("2013-03-08T17:00:00Z"));
    let told = |opened_days_ago: i64, free, purchased| {
        let daily = used_by(&calendar, now.plus_days(-opened_days_ago), now, working);
        foresee(&calendar, &daily, now, split(free, purchased))
    };
    // 5 on the rest of Friday, none on the weekend, 10 on Monday.
    check(told(40, 5, 10), 7, "2013-03-09T05:00:00Z", "2013-03-12T04:00:00Z", Outlook::RunsOut);
    check(told(14, 5, 10), 7, "2013-03-09T05:00:00Z", "2013-03-12T04:00:00Z", Outlook::RunsOut);
    // With less than two weeks, all days are alike: 50 in 7 days.
    check(told(13, 5, 10), 7, "2013-03-09T09:48:00Z", "2013-03-10T19:24:00Z", Outlook::RunsOut);
    // What is said to be of 28 days is of 28 days.
    for (opened_days_ago, pace28, by_weekday) in
        [(13, None, false), (14, None, true), (27, None, true), (28, Some(7), true), (40, Some(7), true)]
    {
        let told = told(opened_days_ago, 5, 10);
        assert_eq!((told.pace28_per_day.map(Credits::get), told.by_weekday), (pace28, by_weekday), "{opened_days_ago}");
    }
    // 15 working days and half a one are left in March.
    assert_eq!((told(40, 150, 20).left, told(40, 150, 20).packs_needed), (Some(split(0, 15)), Some(0)));
    assert_eq!((told(40, 150, 4).outlook, told(40, 150, 4).packs_needed), (Outlook::RunsOut, Some(1)));
}

#[test]
fn the_week_goes_on_at_the_pace_of_the_last_7_days() {
    // Twice as much in the last 7 days as in each week before.
    let (calendar, now) = (calendar("UTC"), at("2013-03-08T12:00:00Z"));
    let mut daily = used_by(&calendar, now.plus_days(-40), now, working);
    daily.0.iter_mut().filter(|day| day.from >= now.plus_days(-7)).for_each(|day| {
        day.used = Credits::new(day.used.get() * 2);
    });
    let told = foresee(&calendar, &daily, now, split(100, 20));
    let paces = (told.pace_per_day.map(Credits::get), told.pace28_per_day.map(Credits::get));
    assert_eq!(paces, (Some(14), Some(9)), "100 in 7 days, 250 in 28");
    check(told, 14, "2013-03-15T12:00:00Z", "2013-03-18T12:00:00Z", Outlook::RunsOut);
}

#[test]
fn days_are_the_accounts_own() {
    let (calendar, now) = (calendar("America/New_York"), at("2013-03-12T16:00:00Z"));
    let daily = DailyUse::unused(&calendar, at("2013-03-04T03:30:00Z"), now);
    let told: Vec<String> = daily.days().iter().map(|day| format!("{} {} {}", day.weekday, day.from, day.to)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    Sun 2013-03-04T03:30:00Z 2013-03-04T05:00:00Z
    Mon 2013-03-04T05:00:00Z 2013-03-05T05:00:00Z
    Tue 2013-03-05T05:00:00Z 2013-03-05T16:00:00Z
    Tue 2013-03-05T16:00:00Z 2013-03-06T05:00:00Z
    Wed 2013-03-06T05:00:00Z 2013-03-07T05:00:00Z
    Thu 2013-03-07T05:00:00Z 2013-03-08T05:00:00Z
    Fri 2013-03-08T05:00:00Z 2013-03-09T05:00:00Z
    Sat 2013-03-09T05:00:00Z 2013-03-10T05:00:00Z
    Sun 2013-03-10T05:00:00Z 2013-03-11T04:00:00Z
    Mon 2013-03-11T04:00:00Z 2013-03-12T04:00:00Z
    Tue 2013-03-12T04:00:00Z 2013-03-12T16:00:00.000001Z
    ");
}

#[test]
fn use_counts_where_it_lies() {
    let (calendar, now) = (calendar("UTC"), at("2013-03-05T12:00:00Z"));
    let mut daily = DailyUse::unused(&calendar, now.plus_days(-2), now);
    let times = [(-2, -1), (-2, 0), (-1, 0), (0, 0), (0, 1)];
    times.iter().for_each(|(days, micros)| daily.add(now.plus_days(*days).plus_micros(*micros), Credits::new(1)));
    daily.add(now, Credits::new(-5));
    assert_eq!(daily.days().iter().map(|day| day.used.get()).collect::<Vec<_>>(), [1, 1, -4]);
    daily.add(now, Credits::new(i64::MIN));
    assert_eq!(daily.days()[2].used, Credits::LIMIT.negated());
    let mut none = DailyUse::unused(&calendar, now.plus_days(1), now);
    none.add(now, Credits::new(1));
    assert_eq!(none.days(), []);
}

#[test]
fn years_far_off_have_an_answer() {
    let calendar = calendar("America/New_York");
    for (now, is_known) in [("2199-12-30T12:00:00Z", true), ("1970-06-01T00:00:00Z", true)] {
        let now = at(now);
        let daily = used_by(&calendar, now.plus_days(-28), now, working);
        assert_eq!(foresee(&calendar, &daily, now, split(15, 0)).runs_out_at.is_some(), is_known, "{now}");
    }
    for now in [Instant::MIN, Instant::MAX, Instant::from_micros(253_402_300_800_000_000)] {
        assert_eq!(DailyUse::unused(&calendar, now.plus_days(-28), now).days(), [], "{now}");
    }
}

/// An instant of the years 2011 to 2014, in which Apia skipped a day, on the quarter of an hour.
fn some_now() -> impl Strategy<Value = Instant> {
    (0_i64..4 * 365 * 96).prop_map(|quarters| at("2011-01-01T00:00:00Z").plus_micros(quarters * QUARTER_MICROS))
}

fn some_zone() -> impl Strategy<Value = Calendar> {
    prop::sample::select(ZONES).prop_map(calendar)
}

/// Uses of one account in UTC with 28 days of history.
fn some_uses() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(0_i64..5_000, STRETCHES_MAX)
}

fn filled(calendar: &Calendar, now: Instant, uses: &[i64]) -> DailyUse {
    let mut daily = DailyUse::unused(calendar, now.plus_days(-40), now);
    daily.0.iter_mut().zip(uses).for_each(|(day, used)| day.used = Credits::new(*used));
    daily
}

/// Beyond everything when there is none.
fn or_never(at: Option<Instant>) -> i64 {
    at.map_or(i64::MAX, Instant::micros)
}

proptest! {
    /// Without a pattern, the instant is the last microsecond at which the exact pace has not used more than there is.
    #[test]
    fn running_out_is_exact(
        used in 1_i64..1_000_000, window in MICROS_PER_DAY..=7 * MICROS_PER_DAY, free in 0_i64..100_000, purchased in 0_i64..100_000,
    ) {
        let (calendar, now) = (calendar("UTC"), at("2013-03-05T12:00:00Z"));
        let mut daily = DailyUse::unused(&calendar, now.plus_micros(-window), now);
        daily.add(now, Credits::new(used));
        let answer = foresee(&calendar, &daily, now, split(free, purchased));
        for (credits, out) in [(free, answer.free_runs_out_at), (free + purchased, answer.runs_out_at)] {
            let Some(out) = out else { continue };
            let micros = i128::from(out.micros() - now.micros());
            let (used, there) = (i128::from(used), i128::from(credits) * i128::from(window));
            prop_assert!(micros * used <= there && there < (micros + 1) * used);
        }
    }

    /// The stretches are the account's days: one follows on the other, none is of two days, and they are as far back as
    /// they should be, with a cut where the pace begins.
    #[test]
    fn stretches_are_days(calendar in some_zone(), now in some_now(), history in 0_i64..50 * MICROS_PER_DAY) {
        let opened_at = now.plus_micros(-history);
        let daily = DailyUse::unused(&calendar, opened_at, now);
        let days = daily.days();
        let from = opened_at.max(now.plus_days(-PATTERN_DAYS));
        prop_assert_eq!((days[0].from, days[days.len() - 1].to), (from, now.plus_micros(1)));
        prop_assert!(days.len() < STRETCHES_MAX && days.windows(2).all(|pair| pair[0].to == pair[1].from));
        for day in days {
            prop_assert!(day.from < day.to);
            let date = calendar.day_of(day.from);
            prop_assert_eq!((calendar.day_of(day.to.plus_micros(-1)), day.weekday), (date, date.weekday()));
        }
        let pace_from = now.plus_days(-PACE_DAYS);
        prop_assert!(from > pace_from || days.iter().any(|day| day.from == pace_from));
    }

    /// Where each quarter of an hour is like all others, the walk over days comes to what the plain pace says, in days of
    /// 23 and 25 hours, too.
    #[test]
    fn the_walk_agrees_with_the_plain_pace(
        calendar in some_zone(), now in some_now(), per_quarter in 1_i64..50, history in 14_i64..40, free in 0_i64..200_000, purchased in 0_i64..200_000,
    ) {
        let even = |days: i64| used_by(&calendar, now.plus_days(-days), now, |_| per_quarter * 96);
        let [walked, plain] = [even(history), even(7)].map(|daily| foresee(&calendar, &daily, now, split(free, purchased)));
        prop_assert_eq!(Forecast { pace28_per_day: None, by_weekday: false, ..walked }, plain);
        prop_assert_eq!((walked.by_weekday, plain.by_weekday), (true, false));
        prop_assert_eq!(walked.pace28_per_day, walked.pace_per_day.filter(|_| history >= 28));
    }

    /// Shares are of a week: whatever was used when, a week takes what the last 7 days took.
    #[test]
    fn a_week_takes_a_week(now in some_now(), uses in some_uses()) {
        let calendar = calendar("UTC");
        let daily = filled(&calendar, now, &uses);
        let week: i64 = daily.days().iter().filter(|day| day.from >= now.plus_days(-7)).map(|day| day.used.get()).sum();
        prop_assume!(week > 0);
        let told = foresee(&calendar, &daily, now, split(week, 0));
        // Shares are rounded up to a billionth each; the last day may be one on which nothing is used.
        let early = now.plus_days(7).micros() - told.runs_out_at.expect("within a year").micros();
        prop_assert!((0..=7 * MICROS_PER_DAY).contains(&early));
        let more = foresee(&calendar, &daily, now, split(week + 1, 0));
        prop_assert!(more.runs_out_at.expect("within a year") >= now.plus_days(7).plus_seconds(-1));
    }

    /// More use in the last 7 days, or more by the same factor on all days, never lasts longer (but for a second by
    /// rounding); more credits never less long.
    #[test]
    fn more_use_never_lasts_longer(
        now in some_now(), uses in some_uses(), extra in 1_i64..5_000, when in 0_i64..7 * MICROS_PER_DAY, times in 2_i64..5, free in 0_i64..100_000, purchased in 0_i64..100_000,
    ) {
        let calendar = calendar("UTC");
        let daily = filled(&calendar, now, &uses);
        let told = |daily: &DailyUse, more: i64| foresee(&calendar, daily, now, split(free + more, purchased));
        let plain = told(&daily, 0);
        let mut more = daily.clone();
        more.add(now.plus_micros(-when), Credits::new(extra));
        let multiplied = filled(&calendar, now, &uses.iter().map(|used| used * times).collect::<Vec<_>>());
        for other in [told(&more, 0), told(&multiplied, 0)] {
            for (sooner, later) in [(other.runs_out_at, plain.runs_out_at), (other.free_runs_out_at, plain.free_runs_out_at)] {
                prop_assert!(or_never(sooner) <= or_never(later).saturating_add(1_000_000), "{} {}", shown(sooner), shown(later));
            }
            prop_assert!(other.packs_needed.unwrap_or(0) >= plain.packs_needed.unwrap_or(0));
        }
        let richer = told(&daily, extra);
        prop_assert!(or_never(richer.runs_out_at) >= or_never(plain.runs_out_at));
        prop_assert!(richer.packs_needed.unwrap_or(0) <= plain.packs_needed.unwrap_or(0));
    }

    /// Bought, the packs carry to the reset, and one less does not.
    #[test]
    fn packs_needed_are_just_enough(calendar in some_zone(), now in some_now(), uses in some_uses(), free in 0_i64..20_000) {
        let daily = filled(&calendar, now, &uses);
        let told = |packs: i64| foresee(&calendar, &daily, now, split(free, packs * 100));
        let Some(packs) = told(0).packs_needed else { return Ok(()) };
        prop_assert_eq!(told(packs).packs_needed, Some(0));
        prop_assert!(!matches!(told(packs).outlook, Outlook::RunsOut));
        if packs > 0 {
            prop_assert!(matches!(told(packs - 1).outlook, Outlook::RunsOut | Outlook::Empty));
        }
    }

    /// No input panics or goes on for ever, and what is said about the reset agrees with the instants.
    #[test]
    fn any_input_has_an_answer(
        calendar in some_zone(),
        uses in prop::collection::vec((any::<i64>(), any::<i64>(), 0_u8..7, any::<i64>()), 0..STRETCHES_MAX),
        nows in (any::<i64>(), some_now(), any::<bool>()),
        free in 0_i64..=Credits::LIMIT.get(), purchased in 0_i64..=Credits::LIMIT.get(), reset: i64, pack: i64, is_filled: bool,
    ) {
        let now = if nows.2 { nows.1 } else { Instant::from_micros(nows.0) };
        let stretch = |(from, to, weekday, used): (i64, i64, u8, i64)| DayUse {
            from: Instant::from_micros(from),
            to: Instant::from_micros(to),
            weekday: Weekday::try_from(weekday).expect("a weekday"),
            used: Credits::new(used.clamp(-Credits::LIMIT.get(), Credits::LIMIT.get())),
        };
        let used: Vec<i64> = uses.iter().map(|of| of.3.clamp(-Credits::LIMIT.get(), Credits::LIMIT.get())).collect();
        let daily = if is_filled { filled(&calendar, now, &used) } else { DailyUse(uses.into_iter().map(stretch).collect()) };
        let input = ForecastInput {
            calendar: &calendar,
            daily: &daily,
            now,
            available: split(free, purchased),
            grants: &[],
            next_reset_at: Instant::from_micros(reset),
            pack_credits: Some(Credits::new(pack)),
        };
        let answer = forecast(&input);
        if let (Outlook::RunsOut, Some(out)) = (answer.outlook, answer.runs_out_at) {
            prop_assert!(out < input.next_reset_at);
        }
        if let (Outlook::PurchasedCover | Outlook::FreeLast, Some(out)) = (answer.outlook, answer.runs_out_at) {
            prop_assert!(out >= input.next_reset_at);
        }
        prop_assert!(answer.packs_needed.unwrap_or(0) >= 0);
    }
}
