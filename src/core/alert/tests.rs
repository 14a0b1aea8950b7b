//! Levels, and what is planned as balances move past them.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ALLOWANCE: Credits = Credits::new(1_500);
const NOW: Instant = Instant::from_micros(0);

fn level(name: &str, threshold: Threshold) -> Level {
    Level::new(LevelName::new(name).expect("a name"), threshold).expect("a level")
}

fn step(levels: &Levels, total: i64, state: &mut AlertState) -> AlertPlan {
    let plan = plan_alerts(levels, ALLOWANCE, Credits::new(total), state, NOW);
    state.apply(&plan);
    plan
}

fn notice(plan: &AlertPlan) -> String {
    plan.notice.as_ref().map_or_else(String::new, Crossing::to_string)
}

#[test]
fn a_life_of_one_account() {
    let (levels, mut state) = (Levels::default(), AlertState::default());
    let mut told = |total| notice(&step(&levels, total, &mut state));
    assert_eq!(told(1_500), "");
    assert_eq!(told(301), "");
    assert_eq!(told(300), "low#1"); // at the level is enough
    assert_eq!(told(280), "");
    assert_eq!(told(75), "critical#1");
    assert_eq!(told(301), ""); // both re-arm
    assert_eq!(told(0), "exhausted#1"); // three at once, one notice
    assert_eq!(told(2_500), "");
    assert_eq!(told(10), "critical#3");
}

proptest! {
    /// Whoever waits until a balance leaves the quiet misses nothing, and looks at nothing in vain.
    #[test]
    fn quiet_is_where_nothing_is_planned(
        thresholds in prop::collection::vec(0_i64..40, 0..5), totals in prop::collection::vec(0_i64..50, 1..6), probe in 0_i64..50,
    ) {
        let named = |(at, credits): (usize, i64)| level(["a", "b", "c", "d", "e"][at], Threshold::Credits(Credits::new(credits)));
        let levels = Levels::new(thresholds.into_iter().enumerate().map(named).collect()).expect("levels");
        let mut state = AlertState::default();
        for total in totals {
            step(&levels, total, &mut state);
            let Quiet { from, to } = quiet(&levels, ALLOWANCE, &state);
            let plan = plan_alerts(&levels, ALLOWANCE, Credits::new(probe), &state, NOW);
            prop_assert_eq!(plan.is_empty(), (from.get()..=to.get()).contains(&probe), "{} in {}..={}", probe, from, to);
        }
    }
}

#[test]
fn levels_crossed_together_open_together_and_resolve_apart() {
    let (levels, mut state) = (Levels::default(), AlertState::default());
    let plan = step(&levels, 0, &mut state);
    let names: Vec<&str> = plan.opened.iter().map(|o| o.level.as_str()).collect();
    let thresholds: Vec<i64> = plan.opened.iter().map(|o| o.threshold.get()).collect();
    assert_eq!((names, thresholds), (vec!["low", "critical", "exhausted"], vec![300, 75, 0]));
    let plan = step(&levels, 100, &mut state);
    let over: Vec<String> = plan.resolved.iter().map(Crossing::to_string).collect();
    assert_eq!(over, ["critical#1", "exhausted#1"]);
    assert_eq!(state.open.len(), 1);
}

#[test]
fn a_level_taken_out_of_the_configuration_is_resolved() {
    let mut state = AlertState::default();
    step(&Levels::default(), 100, &mut state);
    let plan = step(&Levels::new(Vec::new()).expect("none is fine"), 100, &mut state);
    assert_eq!(plan.resolved.iter().map(Crossing::to_string).collect::<Vec<_>>(), ["low#1"]);
    assert_eq!(notice(&step(&Levels::default(), 100, &mut state)), "low#2");
}

#[test]
fn a_new_less_advanced_level_opens_in_silence() {
    let mut state = AlertState::default();
    step(&Levels::default(), 50, &mut state);
    let mut all = Levels::default().0;
    all.push(level("early", Threshold::Percent(50)));
    let plan = step(&Levels::new(all).expect("levels"), 50, &mut state);
    assert_eq!((plan.opened.len(), plan.notice), (1, None));
}

#[test]
fn levels_with_one_threshold_advance_in_the_order_given() {
    let levels: Levels = "low=75,critical=5%,exhausted=0".parse().expect("levels");
    let plan = plan_alerts(&levels, ALLOWANCE, Credits::new(75), &AlertState::default(), NOW);
    assert_eq!((plan.opened.len(), notice(&plan).as_str()), (2, "critical#1"));
}

#[test]
fn a_share_of_nothing_is_no_level() {
    let opened = |levels: &str, allowance: i64| {
        let levels: Levels = levels.parse().expect("levels");
        let plan = plan_alerts(&levels, Credits::new(allowance), Credits::ZERO, &AlertState::default(), NOW);
        plan.opened.iter().map(|opened| opened.level.to_string()).collect::<Vec<_>>().join(" ")
    };
    let defaults = Levels::default().to_string();
    assert_eq!(opened(&defaults, 0), "exhausted");
    assert_eq!(opened(&defaults, 4), "exhausted", "a fifth of 4 is none");
    assert_eq!(opened(&defaults, 5), "low exhausted");
    assert_eq!(opened("none-left=0%,low=100", 0), "low none-left");
}

#[test]
fn a_percentage_is_rounded_down_and_exact_at_the_limit() {
    let twenty = level("low", Threshold::Percent(20));
    assert_eq!(twenty.threshold_credits(Credits::new(1_504)), Credits::new(300));
    assert_eq!(level("all", Threshold::Percent(100)).threshold_credits(Credits::LIMIT), Credits::LIMIT);
}

#[test]
fn levels_read_and_write_as_people_write_them() {
    #[derive(Serialize, Deserialize)]
    struct File {
        levels: Levels,
    }
    let text = r#"levels = [{ name = "low", percent = 20 }, { name = "tight", credits = 100 }]"#;
    let file: File = toml::from_str(text).expect("valid");
    let json = serde_json::to_string(&file).expect("plain data");
    assert_eq!(json, r#"{"levels":[{"name":"low","percent":20},{"name":"tight","credits":100}]}"#);
    for (bad, reason) in [
        (r#"[{"name":"Low","percent":20}]"#, "a-z"),
        (r#"[{"name":"","percent":20}]"#, "empty"),
        (r#"[{"name":"low","percent":101}]"#, "101 percent"),
        (r#"[{"name":"low","percent":-1}]"#, "-1 percent"),
        (r#"[{"name":"low","percent":300}]"#, "300 percent"),
        (r#"[{"name":"low","credits":-1}]"#, "-1 credits"),
        (r#"[{"name":"low"}]"#, "exactly one"),
        (r#"[{"name":"low","percent":1,"credits":1}]"#, "exactly one"),
        (r#"[{"name":"low","percents":1}]"#, "percents"),
        (r#"[{"name":"low","percent":1},{"name":"low","credits":1}]"#, "two alert levels"),
    ] {
        let error = serde_json::from_str::<Levels>(bad).expect_err(bad).to_string();
        assert!(error.contains(reason), "{bad}: {error}");
    }
    let eleven = (b'a'..=b'k').map(|c| level(&char::from(c).to_string(), Threshold::Percent(c - b'a'))).collect();
    assert_eq!(Levels::new(eleven), Err(BadLevel::TooMany(11)));
}

#[test]
fn the_short_form_refuses_what_is_no_level() {
    assert_eq!(" low = 20 % , tight=100".parse::<Levels>().expect("levels").to_string(), "low=20%,tight=100");
    for (bad, reason) in [
        ("", "write NAME="),
        ("low", "write NAME="),
        ("low=", "write NAME="),
        ("low=20%%", "write NAME="),
        ("low=20%,", "write NAME="),
        ("Low=20%", "a-z"),
        ("low=101%", "101 percent"),
        ("low=-1", "-1 credits"),
        ("low=1,low=2", "two alert levels"),
    ] {
        let error = bad.parse::<Levels>().expect_err(bad).to_string();
        assert!(error.contains(reason), "{bad}: {error}");
    }
}

fn any_levels() -> impl Strategy<Value = Levels> {
    let threshold = prop_oneof![
        (0_u8..=100).prop_map(Threshold::Percent),
        (0_i64..2_000).prop_map(|credits| Threshold::Credits(Credits::new(credits))),
    ];
    proptest::collection::btree_map("[a-z]{1,3}", threshold, 0..=LEVELS_MAX).prop_map(|all| {
        Levels::new(all.iter().map(|(name, threshold)| level(name, *threshold)).collect()).expect("valid")
    })
}

proptest! {
    #[test]
    fn the_short_form_reads_back(levels in any_levels()) {
        prop_assert_eq!(levels.to_string().parse(), Ok(levels));
    }

    /// Whatever the balance does: a level's crossings are exactly the falls to or below it, each fall that crosses
    /// anything makes one notice, no crossing is told twice, and a scan repeated finds nothing to do.
    #[test]
    fn one_notice_per_fall(levels in any_levels(), totals in proptest::collection::vec(0_i64..2_200, 1..40)) {
        let mut state = AlertState::default();
        let mut told = BTreeSet::new();
        let mut expected: BTreeMap<LevelName, u32> = BTreeMap::new();
        let mut before = i64::MAX;
        for total in totals {
            let fallen: Vec<LevelName> = levels
                .as_slice()
                .iter()
                .map(|l| (l.name.clone(), l.threshold_credits(ALLOWANCE).get()))
                .filter(|(_, threshold)| total <= *threshold && *threshold < before)
                .map(|(name, _)| name)
                .collect();
            for name in &fallen {
                *expected.entry(name.clone()).or_insert(0) += 1;
            }
            let plan = step(&levels, total, &mut state);
            prop_assert_eq!(plan.notice.is_some(), !fallen.is_empty());
            prop_assert_eq!(plan.opened.len(), fallen.len());
            if let Some(crossing) = plan.notice {
                prop_assert!(told.insert(crossing.clone()), "{} was told twice", crossing);
                let deepest = plan.opened.iter().map(|o| o.threshold).min();
                let told_at = plan.opened.iter().find(|o| o.level == crossing.level).map(|o| o.threshold);
                prop_assert_eq!(told_at, deepest);
            }
            prop_assert_eq!(&state.crossings, &expected);
            prop_assert!(step(&levels, total, &mut state).is_empty());
            let below = |l: &&Level| total <= l.threshold_credits(ALLOWANCE).get();
            prop_assert_eq!(state.open.len(), levels.as_slice().iter().filter(below).count());
            before = total;
        }
    }

    /// However the configuration changes, too: no crossing is told twice and nothing is left to do after a scan.
    #[test]
    fn no_crossing_is_told_twice(
        steps in proptest::collection::vec((any_levels(), 0_i64..2_200, 0_i64..3_000), 1..20),
    ) {
        let mut state = AlertState::default();
        let mut told = BTreeSet::new();
        for (levels, total, allowance) in steps {
            let plan = |state: &AlertState| {
                plan_alerts(&levels, Credits::new(allowance), Credits::new(total), state, NOW)
            };
            let now = plan(&state);
            state.apply(&now);
            if let Some(crossing) = now.notice {
                prop_assert!(told.insert(crossing));
            }
            prop_assert!(plan(&state).is_empty());
        }
    }
}

#[test]
fn all_alerts_have_ended_when_nothing_is_open_whatever_ended_them() {
    let levels: Levels = "low=300,critical=75".parse().expect("levels");
    let mut state = AlertState::default();
    step(&levels, 50, &mut state);
    let over = |levels: &str, total: i64| {
        let levels: Levels = levels.parse().expect("levels");
        let plan = plan_alerts(&levels, ALLOWANCE, Credits::new(total), &state, NOW);
        state.ended(&plan).map(|alert| (alert.level.to_string(), alert.has_risen_to(Credits::new(total))))
    };
    let critical = |has_risen| Some(("critical".to_owned(), has_risen));
    assert_eq!(over("low=300,critical=75", 301), critical(true), "the most advanced of both");
    assert_eq!(over("low=300,critical=75", 200), None, "low is open still");
    assert_eq!(
        over("low=150,critical=75", 200),
        critical(true),
        "less than when low fired, but more came than was left"
    );
    assert_eq!(over("none", 50), critical(false), "nothing came");
    assert_eq!(over("low=40,critical=10", 50), critical(false), "only the levels are others");
}
