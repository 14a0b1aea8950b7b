//! The geometry of the consumption chart: stacked bars in whole units, without floats and without a template.

use super::wording::days;
use crate::core::counting::grouped;
use crate::core::statement::{DateRange, Grouping, LineType, ReportModel};
use serde::Serialize;

/// Most bars: beyond it they would be too thin to see, so that neighbours share one.
const BARS_MAX: usize = 124;
/// Most labels below the bars that do not touch.
const LABELS_MAX: usize = 12;
/// Most lines across the chart.
const RULES_MAX: i64 = 4;

// Units of the drawing: tenths of a pixel at the width of the page.
const LEFT: i64 = 620;
const RIGHT: i64 = 9_780;
const TOP: i64 = 140;
const BOTTOM: i64 = 2_120;

/// What the template draws.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Chart {
    /// What the chart shows, for those who do not see it.
    description: String,
    /// What one bar is, when it is not one period.
    note: Option<String>,
    rules: Vec<Rule>,
    bars: Vec<Bar>,
    left: i64,
    right: i64,
    bottom: i64,
}

/// A line across at a round number.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Rule {
    y: i64,
    label: String,
}

/// The consumption of one period, or of a few neighbours.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bar {
    x: i64,
    width: i64,
    middle: i64,
    free_y: i64,
    free_height: i64,
    purchased_y: i64,
    purchased_height: i64,
    /// The figures in words.
    title: String,
    /// Its name below the axis, on some bars.
    label: Option<String>,
}

impl Chart {
    pub(super) fn description(&self) -> &str {
        &self.description
    }
}

/// What was consumed in one period by everybody in the report.
pub(super) struct Consumption {
    pub(super) range: DateRange,
    pub(super) free: i64,
    pub(super) purchased: i64,
}

impl Consumption {
    pub(super) const fn total(&self) -> i64 {
        self.free.saturating_add(self.purchased)
    }
}

/// The chart of `model`; `None` when there is nothing to compare or nothing was consumed.
pub(super) fn chart(model: &ReportModel) -> Option<Chart> {
    let periods = consumption(model);
    let per_bar = periods.len().div_ceil(BARS_MAX).max(1);
    let bars: Vec<Consumption> = periods.chunks(per_bar).map(joined).collect();
    let highest = bars.iter().map(Consumption::total).max().filter(|most| *most > 0)?;
    if bars.len() < 2 {
        return None;
    }
    let step = round_step(highest);
    let top = step.saturating_mul(highest.div_euclid(step) + i64::from(highest % step != 0));
    let height = |credits: i64| scaled(credits, top, BOTTOM - TOP);
    let rules = (0..=top / step).map(|at| Rule { y: BOTTOM - height(at * step), label: grouped(at * step) });
    let count = i64::try_from(bars.len()).unwrap_or(i64::MAX);
    let per_label = bars.len().div_ceil(LABELS_MAX);
    let drawn = bars.iter().zip(0_i64..).map(|(bar, at)| {
        let (begin, end) = (scaled(at, count, RIGHT - LEFT), scaled(at + 1, count, RIGHT - LEFT));
        let gap = (end - begin) / 5;
        // Heights are cut from one scale, so that the parts meet and the whole is exact.
        let (whole, free) = (height(bar.total()), height(bar.free));
        Bar {
            x: LEFT + begin + gap / 2,
            width: end - begin - gap,
            middle: LEFT + i64::midpoint(begin, end),
            free_y: BOTTOM - free,
            free_height: free,
            purchased_y: BOTTOM - whole,
            purchased_height: whole - free,
            title: told(bar),
            label: usize::try_from(at)
                .is_ok_and(|at| at % per_label == 0)
                .then(|| short(bar.range, model.spec.grouping())),
        }
    });
    Some(Chart {
        description: description(&bars, model),
        note: (per_bar > 1).then(|| format!("Each bar is {per_bar} {}s.", model.spec.grouping())),
        rules: rules.collect(),
        bars: drawn.collect(),
        left: LEFT,
        right: RIGHT,
        bottom: BOTTOM,
    })
}

/// What was consumed per period, over all sections and groups. A negative sum, which no ledger has, is drawn as nothing.
pub(super) fn consumption(model: &ReportModel) -> Vec<Consumption> {
    let new = |range: DateRange| Consumption { range, free: 0, purchased: 0 };
    let mut periods: Vec<Consumption> = model.spec.periods().into_iter().map(new).collect();
    for line in &model.lines {
        let Ok(at) = periods.binary_search_by_key(&line.range.from(), |period| period.range.from()) else { continue };
        let consumed = line.figures.consumed.get().max(0);
        match line.credit_type {
            LineType::Free => periods[at].free = periods[at].free.saturating_add(consumed),
            LineType::Purchased => periods[at].purchased = periods[at].purchased.saturating_add(consumed),
            LineType::Total => {}
        }
    }
    periods
}

fn joined(neighbours: &[Consumption]) -> Consumption {
    let (first, last) = (&neighbours[0], &neighbours[neighbours.len() - 1]);
    Consumption {
        range: DateRange::new(first.range.from(), last.range.to()).unwrap_or(first.range),
        free: neighbours.iter().fold(0, |sum, period| sum.saturating_add(period.free)),
        purchased: neighbours.iter().fold(0, |sum, period| sum.saturating_add(period.purchased)),
    }
}

/// `part` of `whole` on a scale of `length`, rounded to the nearest unit.
fn scaled(part: i64, whole: i64, length: i64) -> i64 {
    let exact = i128::from(part) * i128::from(length) * 2 + i128::from(whole);
    i64::try_from(exact / (i128::from(whole) * 2)).unwrap_or(length)
}

/// The smallest of 1, 2, 5, 10, 20, 50, ... that covers `highest` in at most [`RULES_MAX`] steps.
fn round_step(highest: i64) -> i64 {
    let needed = highest.div_euclid(RULES_MAX) + i64::from(highest % RULES_MAX != 0);
    let mut power = 1_i64;
    loop {
        for digit in [1, 2, 5] {
            match power.checked_mul(digit) {
                Some(step) if step >= needed => return step,
                Some(_) => {}
                None => return needed,
            }
        }
        power = power.saturating_mul(10);
    }
}

fn told(bar: &Consumption) -> String {
    let [total, free, purchased] = [bar.total(), bar.free, bar.purchased].map(grouped);
    format!("{}: {total} consumed, {free} free and {purchased} purchased", days(bar.range))
}

fn short(range: DateRange, grouping: Grouping) -> String {
    let form = if grouping == Grouping::Month { "%b %Y" } else { "%-d %b" };
    range.from().date().format(form).to_string()
}

fn description(bars: &[Consumption], model: &ReportModel) -> String {
    let all = joined(bars);
    let most = bars.iter().rev().max_by_key(|bar| bar.total());
    let most = most.map(|bar| {
        let at = if bar.range.days() == 1 { "on" } else { "in" };
        format!(" The most was {} {at} {}.", grouped(bar.total()), days(bar.range))
    });
    format!("Credits consumed per {}. {}.{}", model.spec.grouping(), told(&all), most.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::statement::Scope;
    use crate::report::testing::{report, statement};
    use proptest::prelude::*;

    #[test]
    fn a_chart_compares_at_least_two_periods() {
        assert_eq!(chart(&statement()), None);
        let idle = report("t", "2026-04-02", "2026-04-20", Grouping::Day, Scope::Account, &["a"]);
        assert_eq!(chart(&idle), None);
    }

    #[test]
    fn bars_stand_on_the_axis_and_within_the_rules() {
        let model = report("t", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Account, &["a", "b"]);
        let chart = chart(&model).expect("something was consumed");
        assert_eq!((chart.bars.len(), chart.rules.len()), (31, 4));
        for bar in &chart.bars {
            assert_eq!(bar.free_y + bar.free_height, BOTTOM, "{}", bar.title);
            assert_eq!(bar.purchased_y + bar.purchased_height, bar.free_y, "{}", bar.title);
            assert!(bar.purchased_y >= TOP && bar.width > 0 && bar.x + bar.width <= RIGHT, "{}", bar.title);
        }
        insta::assert_snapshot!(chart.description, @"Credits consumed per day. March 2026: 2,600 consumed, 2,480 free and 120 purchased. The most was 2,400 on 2 March 2026.");
        insta::assert_snapshot!(chart.bars[8].title, @"9 March 2026: 200 consumed, 80 free and 120 purchased");
    }

    #[test]
    fn neighbours_share_a_bar_when_there_are_too_many() {
        let model = report("t", "2024-03-01", "2026-04-01", Grouping::Day, Scope::Platform, &["a"]);
        let chart = chart(&model).expect("something was consumed");
        assert_eq!(chart.note.as_deref(), Some("Each bar is 7 days."));
        assert!(chart.bars.len() <= BARS_MAX);
        assert!(chart.bars.iter().filter(|bar| bar.label.is_some()).count() <= LABELS_MAX);
    }

    proptest! {
        #[test]
        fn a_round_step_covers_the_highest_bar_in_a_few_steps(highest in 1..=i64::MAX) {
            let step = round_step(highest);
            prop_assert!(i128::from(step) * i128::from(RULES_MAX) >= i128::from(highest));
            prop_assert!(step == 1 || i128::from(step) * i128::from(RULES_MAX) < i128::from(highest) * 10);
        }
    }
}
