//! Cases and properties of schedules.

use super::*;
use proptest::prelude::*;

fn t(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn zone(name: &str) -> Tz {
    parse_zone(name).expect("a zone")
}

fn since(zones: &[&str], from: &str) -> Vec<ZoneInUse> {
    zones.iter().map(|name| ZoneInUse { zone: zone(name), since: t(from) }).collect()
}

fn file(cron: &str, zone: &str, catch_up: &str, window_days: i64) -> String {
    format!(
        "# a comment\ncron = {cron:?}\nzone = {zone:?}\ncatch_up = {catch_up:?}\nwindow_days = {window_days}\ngrace_seconds = 3600\n"
    )
}

fn schedule(job: Job, cron: &str, zone: &str, catch_up: CatchUp) -> Schedule {
    Schedule::parse(job, "test.toml", &file(cron, zone, catch_up.as_str(), 90)).expect("a schedule")
}

fn texts(due: &Due) -> Vec<String> {
    due.slots.iter().map(Slot::to_string).collect()
}

#[track_caller]
fn refused(job: Job, text: &str, says: &str) {
    let error = Schedule::parse(job, "x.toml", text).expect_err("refused").to_string();
    assert!(error.contains(says), "{error:?} should say {says:?}");
}

#[test]
fn a_file_is_refused_with_its_line_and_what_is_allowed() {
    let job = Job::DailyReport;
    refused(job, &file("0 99 * * * *", "UTC", "all", 90), "x.toml:2: cron = ");
    refused(job, &file("0 0 0 30 2 *", "UTC", "all", 90), "no such moment ever comes");
    refused(job, &file("0 0 0 1 1 * 2030", "UTC", "all", 90), "Write five fields");
    refused(job, &file("@daily", "Mars/Base", "all", 90), "x.toml:3: zone: \"Mars/Base\" is not a time zone");
    refused(job, &file("@daily", "UTC", "some", 90), "x.toml:4: catch_up = \"some\": allowed are");
    refused(job, &file("@daily", "UTC", "all", 801), "x.toml:5: window_days = 801: allowed are 1 to 800");
    refused(job, &format!("{}burst = 1\n", file("@daily", "UTC", "all", 9)), "x.toml:7: unknown field `burst`");
    refused(job, "cron = \"@daily\"\n", "missing field `zone`");
    refused(Job::Scan, &file("@daily", "UTC", "all", 9), "x.toml:4: catch_up = \"all\": one run of scan");
}

#[test]
fn the_schema_knows_what_a_file_may_say() {
    let schema = schedule_schema();
    let known: BTreeSet<&str> =
        schema["properties"].as_object().expect("properties").keys().map(String::as_str).collect();
    let text = format!("{}overlap = \"allow\"\n", file("@daily", "UTC", "all", 9));
    let said: toml::Table = toml::from_str(&text).expect("a file");
    assert_eq!(known, said.keys().map(String::as_str).collect());
    assert_eq!(Schedule::parse(Job::DailyReport, "x.toml", &text).expect("all of it is read").overlap, Overlap::Allow);
    refused(Job::Scan, &text.replace("allow", "some").replace("all\"", "latest\""), "x.toml:7: overlap = \"some\"");
}

#[test]
fn slots_have_one_text() {
    for text in ["2013-03-01T00:05:00Z", "2013-03-05@America/New_York", "2013-03@America/New_York"] {
        assert_eq!(text.parse::<Slot>().expect("a slot").to_string(), text);
    }
    for bad in ["", "2013-03-05", "2013-03-05@", "2013-13@UTC", "2013@UTC", "2013-02-30@UTC", "@UTC", "yesterday"] {
        assert!(bad.parse::<Slot>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_day_is_due_from_the_instant_it_has_ended_in_its_zone() {
    let daily = schedule(Job::DailyReport, "0 */15 * * * *", "UTC", CatchUp::All);
    let new_york = since(&["America/New_York"], "2013-03-05T05:00:00Z");
    let none = BTreeSet::new();
    // The ledger began at midnight of the 5th; the day before ended then and is not due.
    assert_eq!(texts(&daily.due(&none, &new_york, t("2013-03-06T04:59:59.999999Z"))), Vec::<String>::new());
    assert_eq!(texts(&daily.due(&none, &new_york, t("2013-03-06T05:00:00Z"))), ["2013-03-05@America/New_York"]);
}

#[test]
fn missed_periods_come_oldest_first_across_zones_and_those_past_the_window_are_counted() {
    let monthly = schedule(Job::MonthlyReport, "0 */15 * * * *", "UTC", CatchUp::All);
    let zones = since(&["America/New_York", "Asia/Tokyo", "UTC"], "2012-06-10T00:00:00Z");
    let due = monthly.due(&BTreeSet::new(), &zones, t("2013-03-01T02:00:00Z"));
    assert_eq!(
        texts(&due),
        [
            "2012-11@America/New_York",
            "2012-12@Asia/Tokyo",
            "2012-12@UTC",
            "2012-12@America/New_York",
            "2013-01@Asia/Tokyo",
            "2013-01@UTC",
            "2013-01@America/New_York",
            "2013-02@Asia/Tokyo",
            "2013-02@UTC",
        ]
    );
    // One more window back, from 2012-09-02 on: September to November, of which New York's November is just inside.
    assert_eq!((due.capped, due.overdue, due.expired), (0, 9, 8));
    // From the oldest period to the newest, and not from the one that ended first.
    let ends = [due.expired_first, due.expired_last].map(|slot| slot.map(|slot| slot.to_string()));
    assert_eq!(ends, ["2012-09@America/New_York", "2012-11@UTC"].map(|slot| Some(slot.to_owned())));
    // All of them, back to June.
    let missed = monthly.missed(&BTreeSet::new(), &zones, t("2013-03-01T02:00:00Z"));
    assert_eq!(missed.len(), 17);
    let recorded: BTreeSet<Slot> = missed.iter().skip(1).copied().collect();
    assert_eq!(monthly.missed(&recorded, &zones, t("2013-03-01T02:00:00Z")), missed[..1]);

    let latest = Schedule { catch_up: CatchUp::Latest, ..monthly };
    let due = latest.due(&BTreeSet::new(), &zones, t("2013-03-01T02:00:00Z"));
    assert_eq!(texts(&due), ["2013-01@America/New_York", "2013-02@Asia/Tokyo", "2013-02@UTC"]);
}

#[test]
fn a_long_outage_is_caught_up_in_bites() {
    let daily = schedule(Job::DailyReport, "0 */15 * * * *", "UTC", CatchUp::All);
    let zones = since(&["UTC"], "2012-01-01T00:00:00Z");
    let now = t("2013-01-01T00:00:00Z");
    let mut recorded = BTreeSet::new();
    let first = daily.due(&recorded, &zones, now);
    assert_eq!((first.slots.len(), first.capped, first.expired), (SLOTS_MAX, 91 - SLOTS_MAX, 90));
    recorded.extend(first.slots);
    let second = daily.due(&recorded, &zones, now);
    assert_eq!((second.slots.len(), second.capped, second.expired), (91 - SLOTS_MAX, 0, 90));
}

#[test]
fn a_tick_covers_the_ones_missed_before_it() {
    let reset = schedule(Job::Reset, "0 */5 * * * *", "UTC", CatchUp::Latest);
    let now = t("2013-03-01T00:07:30Z");
    let due = reset.due(&BTreeSet::new(), &[], now);
    assert_eq!(texts(&due), ["2013-03-01T00:05:00Z"]);
    let recorded = BTreeSet::from(["2013-03-01T00:05:00Z".parse().expect("a slot")]);
    assert_eq!(reset.due(&recorded, &[], now), Due::default());
    // The clock steps back: older rings are covered too.
    assert_eq!(reset.due(&recorded, &[], t("2013-02-28T23:59:00Z")), Due::default());
    assert_eq!(texts(&reset.due(&recorded, &[], t("2013-03-01T00:10:00Z"))), ["2013-03-01T00:10:00Z"]);

    let yearly = schedule(Job::Verify, "0 0 3 1 1 *", "UTC", CatchUp::Latest);
    let recorded = BTreeSet::from(["2012-01-01T03:00:00Z".parse().expect("a slot")]);
    let due = yearly.due(&recorded, &[], t("2013-06-01T00:00:00Z"));
    assert_eq!((due.slots.len(), due.expired), (0, 1));
}

#[test]
fn rings_keep_their_wall_clock_through_a_change_of_offset() {
    let nightly = schedule(Job::Verify, "0 30 2 * * *", "America/New_York", CatchUp::Latest);
    let rings: Vec<String> = nightly.next(t("2013-03-08T12:00:00Z"), 3).iter().map(Instant::to_string).collect();
    // 02:30 does not exist on the 10th: it rings at the end of the gap, once.
    assert_eq!(rings, ["2013-03-09T07:30:00Z", "2013-03-10T07:00:00Z", "2013-03-11T06:30:00Z"]);
    let nightly = schedule(Job::Verify, "0 30 1 * * *", "America/New_York", CatchUp::Latest);
    let rings: Vec<String> = nightly.next(t("2013-11-02T12:00:00Z"), 2).iter().map(Instant::to_string).collect();
    // 01:30 exists twice on the 3rd: it rings at the first, once.
    assert_eq!(rings, ["2013-11-03T05:30:00Z", "2013-11-04T06:30:00Z"]);
}

#[test]
fn the_ends_of_time_ring_nothing_and_do_not_panic() {
    let reset = schedule(Job::Reset, "0 */5 * * * *", "Pacific/Kiritimati", CatchUp::Latest);
    for end in [Instant::MIN, Instant::MAX, years_end()] {
        assert_eq!(reset.next(end, 3), Vec::new());
        assert_eq!(reset.last_ring(end), None);
    }
    assert!(reset.next(years_end().plus_seconds(-600), 9).len() < 3);
}

const ZONES: [&str; 7] = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo", // midnight is in the gap
    "America/Havana",    // midnight is told twice
    "Asia/Tokyo",
    "Australia/Lord_Howe", // half an hour of summer time
    "Pacific/Kiritimati",
];
const CRONS: [&str; 6] =
    ["0 */15 * * * *", "*/10 * * * * *", "0 30 3 * * *", "0 0 0 * * *", "0 30 2 * * *", "0 0 12 * * MON"];

prop_compose! {
    fn any_now()(micros in 1_325_376_000_000_000_i64..1_420_070_400_000_000) -> Instant {
        Instant::from_micros(micros) // 2012 to 2014
    }
}

proptest! {
    #[test]
    fn next_is_always_in_the_future_and_nothing_rings_between(
        cron in prop::sample::select(&CRONS[..]), name in prop::sample::select(&ZONES[..]), now in any_now(),
    ) {
        let schedule = schedule(Job::Verify, cron, name, CatchUp::Latest);
        let next = schedule.next(now, 4);
        prop_assert_eq!(next.len(), 4);
        prop_assert!(next[0] > now);
        prop_assert!(next.is_sorted_by(|a, b| a < b), "{:?}", next);
        // A ring is its own last ring, and the one before `now` is followed by the first after it.
        prop_assert_eq!(schedule.last_ring(next[0]), Some(next[0]));
        prop_assert_eq!(schedule.last_ring(next[1].plus_micros(-1)), Some(next[0]));
        let last = schedule.last_ring(now).expect("it rings in these years");
        prop_assert!(last <= now);
        prop_assert_eq!(schedule.next(last, 1)[0], next[0]);
    }

    #[test]
    fn every_slot_runs_exactly_once_whatever_the_clock_does(
        job in prop::sample::select(Job::ALL),
        catch_up in prop::sample::select(CatchUp::ALL),
        names in prop::sample::subsequence(&ZONES[..], 1..4),
        begin in any_now(),
        steps in prop::collection::vec(-3 * 86_400_i64..20 * 86_400, 1..12),
    ) {
        let catch_up = if job.covers() == Covers::Tick { CatchUp::Latest } else { catch_up };
        let schedule = schedule(job, "0 */15 * * * *", "UTC", catch_up);
        let zones: Vec<ZoneInUse> = names.iter().map(|name| ZoneInUse { zone: zone(name), since: begin }).collect();
        let mut recorded = BTreeSet::new();
        let mut now = begin;
        for step in steps {
            now = now.plus_seconds(step);
            for bites in 0.. {
                prop_assert!(bites < 100, "it never ends");
                let due = schedule.due(&recorded, &zones, now);
                prop_assert!(due.slots.is_sorted_by_key(|slot| slot.due_at()));
                for slot in &due.slots {
                    prop_assert!(slot.due_at() <= now, "{} is not over at {}", slot, now);
                    prop_assert!(slot.covers() == Covers::Tick || slot.due_at() > begin);
                    prop_assert_eq!(slot.to_string().parse::<Slot>(), Ok(*slot));
                    prop_assert!(recorded.insert(*slot), "{} came twice", slot);
                }
                if due.slots.is_empty() {
                    prop_assert_eq!(due.capped, 0);
                    break;
                }
            }
        }
    }

    #[test]
    fn with_catch_up_no_period_is_left_out(name in prop::sample::select(&ZONES[..]), begin in any_now(), days in 1..80_i64) {
        let zone = zone(name);
        let daily = schedule(Job::DailyReport, "0 */15 * * * *", "UTC", CatchUp::All);
        let now = begin.plus_days(days);
        let mut recorded = BTreeSet::new();
        loop {
            let due = daily.due(&recorded, &[ZoneInUse { zone, since: begin }], now);
            if due.slots.is_empty() { break }
            recorded.extend(due.slots);
        }
        // The oracle: every date whose end lies in (begin, now].
        let first = begin.in_zone(zone).date_naive() - Days::new(2);
        let expected: BTreeSet<Slot> = first.iter_days().take(usize::try_from(days).expect("small") + 5)
            .map(|date| Slot::Day(date, zone))
            .filter(|slot| slot.due_at() > begin && slot.due_at() <= now)
            .collect();
        prop_assert_eq!(recorded, expected);
    }
}
