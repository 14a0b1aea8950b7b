//! What was there at the end of each period, free below and purchased above it, as steps, with purchases and lapses. In a
//! report of one account the allowance and the alert levels are lines across. Where neighbours share a step it is drawn at the
//! least of them, so that no shortage is hidden; the words are about every period.

use super::drawing::{Anchor, Chart, Frame, Key, Paint, Plot, ROW, Shape, points, reach};
use super::{before_lapse, per_bar, short, when};
use crate::core::counting::counted;
use crate::core::locale::Locale;
use crate::core::statement::{DateRange, Marks, ReportModel};
use crate::report::wording::days_in;
use chrono::Days;
use std::cmp::Reverse;

/// Signs with a figure beside them; more figures would touch.
const FIGURES_MAX: usize = 8;
/// Signs at all on a wide chart; beyond it they would hide what they stand on.
const SIGNS_MAX: usize = 60;
/// From a line across to the words about it: what their letters are edged with ends above it.
const ABOVE_LINE: i64 = 90;
/// The highest line on which words have room.
const HIGHEST_WORDS: i64 = 100;

/// What was there at the end of one period, or at the least of a few neighbours, and what came and went.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) range: DateRange,
    /// Just before what lapses with a month.
    pub(super) free: i64,
    pub(super) purchased: i64,
    /// After that.
    pub(super) free_after: i64,
    pub(super) purchased_after: i64,
    pub(super) bought: i64,
    pub(super) lapsed: i64,
}

impl Step {
    const fn total(&self) -> i64 {
        self.free.saturating_add(self.purchased)
    }

    const fn total_after(&self) -> i64 {
        self.free_after.saturating_add(self.purchased_after)
    }

    /// What lapses with a period is gone at its end.
    fn least(&self) -> i64 {
        self.total().min(self.total_after())
    }
}

pub(super) fn chart(model: &ReportModel, frame: Frame) -> Option<Chart> {
    let every = model.spec.periods();
    let per_step = per_bar(every.len());
    let known = steps(model)?;
    let steps: Vec<Step> = known.chunks(per_step).map(joined).collect();
    let most = steps.iter().map(|step| step.total().max(step.total_after())).max().filter(|most| *most > 0)?;
    if steps.len() < 2 {
        return None;
    }
    // A row above for the figures of signs.
    let mut plot = Plot::new(frame, most, 1);
    // The periods to come have room, so that the chart is that of the range.
    let (whole, count) = (every.len().div_ceil(per_step), steps.len());
    let number = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
    let edges: Vec<i64> = (0..=count).map(|at| plot.x(number(at), number(whole))).collect();
    areas(&mut plot, &steps, &edges);
    if let Some(marks) = &model.marks {
        levels(&mut plot, marks);
    }
    let has_signs = signs(&mut plot, &steps, &edges);
    let names: Vec<String> =
        every.chunks(per_step).map(|of| short(of[0], model.spec.grouping(), frame.locale())).collect();
    plot.names(&names);
    let mut notes = Vec::new();
    if per_step > 1 {
        notes.push(format!("Each step is {per_step} {}s, drawn at the least of them.", model.spec.grouping()));
    }
    if !has_signs {
        notes.push("Purchases and lapses are too many to be marked.".to_owned());
    }
    if model.marks.as_ref().and_then(|marks| marks.ahead.as_ref()).is_some_and(|ahead| ahead.forecast.left.is_none()) {
        notes.push("There is not enough history for a forecast: the account is less than a day old.".to_owned());
    }
    let note = (!notes.is_empty()).then(|| notes.join(" "));
    let title = format!("Balance by {}", model.spec.grouping());
    Some(plot.finish("balance", title, description(&known, model, frame.locale()), note, &legend()))
}

pub(super) fn legend() -> [(Key, String); 2] {
    [(Key::Filled(Paint::FREE), "Free".to_owned()), (Key::Filled(Paint::PURCHASED_AREA), "Purchased".to_owned())]
}

/// The periods until the report was read, over all sections; `None` for a breakdown, which knows no balance.
pub(super) fn steps(model: &ReportModel) -> Option<Vec<Step>> {
    if model.spec.breakdown().is_some() {
        return None;
    }
    let periods = model.spec.periods();
    let new = |range: &DateRange| Step {
        range: *range,
        free: 0,
        purchased: 0,
        free_after: 0,
        purchased_after: 0,
        bought: 0,
        lapsed: 0,
    };
    let mut steps: Vec<Step> = periods.iter().map(new).collect();
    for [free, purchased, total] in model.lines.triples() {
        let Ok(at) = steps.binary_search_by_key(&total.range.from(), |step| step.range.from()) else { continue };
        let step = &mut steps[at];
        let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more.max(0));
        add(&mut step.free, before_lapse(&free));
        add(&mut step.purchased, before_lapse(&purchased));
        add(&mut step.free_after, free.figures.remaining.get());
        add(&mut step.purchased_after, purchased.figures.remaining.get());
        add(&mut step.bought, total.figures.purchased.get());
        add(&mut step.lapsed, total.figures.lapsed.get());
    }
    // Each account has a day of its own; none is further ahead than one.
    let now = model.marks.as_ref().and_then(|marks| marks.ahead.as_ref()).map(|ahead| ahead.now.date());
    let today = now.unwrap_or(model.spec.as_of().to_utc().date_naive() + Days::new(1));
    steps.retain(|step| step.range.from().date() <= today);
    Some(steps)
}

/// Neighbours in one step: that of them with the least, and what came and went in all.
fn joined(of: &[Step]) -> Step {
    let (first, last) = (of[0], of[of.len() - 1]);
    let sum = |what: fn(&Step) -> i64| of.iter().fold(0_i64, |sum, step| sum.saturating_add(what(step)));
    Step {
        range: DateRange::new(first.range.from(), last.range.to()).unwrap_or(last.range),
        bought: sum(|step| step.bought),
        lapsed: sum(|step| step.lapsed),
        ..of.iter().copied().min_by_key(Step::least).unwrap_or(last)
    }
}

/// Free credits, purchased ones on them, and the edge of both. Step `at` lies between the edges `at` and `at + 1`.
pub(super) fn areas(plot: &mut Plot, steps: &[Step], edges: &[i64]) {
    let (mut zero, mut free, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for (step, edge) in steps.iter().zip(edges.windows(2)) {
        let (begin, end) = (edge[0], edge[1]);
        zero.extend([(begin, plot.bottom()), (end, plot.bottom())]);
        free.extend([(begin, plot.y(step.free)), (end, plot.y(step.free)), (end, plot.y(step.free_after))]);
        both.extend([(begin, plot.y(step.total())), (end, plot.y(step.total())), (end, plot.y(step.total_after()))]);
    }
    between(plot, &zero, &free, Paint::FREE);
    between(plot, &free, &both, Paint::PURCHASED_AREA);
    plot.shapes.push(Shape::Stroke { points: points(&free), class: "parting", title: None });
    plot.shapes.push(Shape::Stroke { points: points(&both), class: "edge", title: None });
}

/// The area between two lines that run from left to right.
pub(super) fn between(plot: &mut Plot, below: &[(i64, i64)], above: &[(i64, i64)], paint: Paint) {
    let all: Vec<(i64, i64)> = above.iter().chain(below.iter().rev()).copied().collect();
    plot.shapes.push(Shape::Area { points: points(&all), paint });
}

/// Lines across at the allowance and the levels that lie on the scale. Words stand clear above their line, and those that would
/// touch stand together.
pub(super) fn levels(plot: &mut Plot, marks: &Marks) {
    let locale = plot.frame.locale();
    let mut lines: Vec<(i64, String)> = Vec::new();
    if marks.month.is_some() {
        lines.push((marks.allowance.get(), format!("allowance {}", locale.number(marks.allowance.get()))));
    }
    let level = |credits: i64| locale.number(credits);
    lines.extend(marks.levels.iter().map(|(name, at)| (at.get(), format!("{name} {}", level(at.get())))));
    lines.retain(|(credits, _)| *credits > 0 && plot.y(*credits) >= plot.top());
    lines.sort_by_key(|(credits, _)| Reverse(*credits));
    // Words stand on the first line of those that they are about; the next line below the last of them has room for its own.
    let mut words: Vec<(i64, Vec<String>)> = Vec::new();
    let mut last_y = i64::MIN;
    for (credits, word) in lines {
        let y = plot.y(credits);
        plot.mark((plot.frame.left(), y), (plot.frame.right(), y));
        match words.last_mut() {
            Some((_, said)) if y - last_y < ROW => said.push(word),
            _ => words.push((y, vec![word])),
        }
        last_y = y;
    }
    for (y, said) in words {
        plot.text((plot.frame.right(), y - ABOVE_LINE), Anchor::End, "marked", said.join(" · "));
    }
}

/// A sign where credits were bought and where they lapsed; false when there are too many. Their figures stand clear of all words
/// that are there already, and are left out where there is no room.
fn signs(plot: &mut Plot, steps: &[Step], edges: &[i64]) -> bool {
    let locale = plot.frame.locale();
    let mut signs = Vec::new();
    for (step, edge) in steps.iter().zip(edges.windows(2)) {
        let top = plot.y(step.total().max(step.total_after())) - 50;
        let figure = |sign: &str, credits: i64| format!("{sign}{}", locale.number(credits));
        let words =
            |credits: i64, what: &str| format!("{}: {} {what}", days_in(step.range, locale), locale.number(credits));
        if step.bought > 0 {
            let middle = i64::midpoint(edge[0], edge[1]);
            signs.push((middle, top, figure("+", step.bought), words(step.bought, "purchased"), true));
        }
        if step.lapsed > 0 {
            signs.push((edge[1], top, figure("−", step.lapsed), words(step.lapsed, "lapsed"), false));
        }
    }
    if signs.len() > plot.frame.share(SIGNS_MAX) {
        return false;
    }
    let has_figures = signs.len() <= FIGURES_MAX;
    for (x, y, figure, words, is_up) in signs {
        let (tip, base) = if is_up { (y - 110, y) } else { (y, y - 110) };
        let sign = points(&[(x - 60, base), (x + 60, base), (x, tip), (x - 60, base)]);
        plot.shapes.push(Shape::Stroke { points: sign, class: "sign", title: Some(words) });
        if has_figures {
            let wide = reach(x, Anchor::Middle, &figure);
            let (at, anchor) = if wide.end > plot.frame.width() {
                (x + 60, Anchor::End)
            } else if wide.start < plot.frame.left() {
                // Beside the first line stands the scale.
                (plot.frame.left() + 60, Anchor::Start)
            } else {
                (x, Anchor::Middle)
            };
            let at_y = plot.clear_y((at, y - 150), anchor, &figure, -ROW * 3 / 4);
            if at_y >= HIGHEST_WORDS {
                plot.text((at, at_y), anchor, "signed", figure);
            }
        }
    }
    true
}

fn description(steps: &[Step], model: &ReportModel, locale: Locale) -> String {
    let (first, last) = (&steps[0], &steps[steps.len() - 1]);
    let least = steps.iter().min_by_key(|step| step.least()).unwrap_or(first);
    let others = steps.iter().filter(|step| step.least() == least.least()).count() > 1;
    let mut said = format!(
        "What was there at the end of each {}, {}: {} at first, {} at last ({} free and {} purchased), and the least {}{}.",
        model.spec.grouping(),
        days_in(DateRange::new(first.range.from(), last.range.to()).unwrap_or(first.range), locale),
        locale.number(first.total()),
        locale.number(last.total_after()),
        locale.number(last.free_after),
        locale.number(last.purchased_after),
        locale.number(least.least()),
        when(least.range, others, locale),
    );
    for (what, of) in [("purchased", (|step| step.bought) as fn(&Step) -> i64), ("lapsed", |step| step.lapsed)] {
        let all: Vec<&Step> = steps.iter().filter(|step| of(step) > 0).collect();
        let sum = all.iter().fold(0_i64, |sum, step| sum.saturating_add(of(step)));
        match all.as_slice() {
            [] => {}
            [one] => said += &format!(" {} {what}{}.", locale.number(sum), when(one.range, false, locale)),
            many => {
                let unit = model.spec.grouping().as_str();
                said += &format!(" {} {what} in {}.", locale.number(sum), counted(many.len() as u64, unit));
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::drawing::letters;
    use super::super::testing::{marked, texts};
    use super::super::{Subject, chart};
    use super::*;
    use crate::core::statement::{Breakdown, Grouping, Scope};
    use crate::report::testing::{broken_down, report};

    const MARCH: (&str, &str) = ("2026-03-01", "2026-04-01");

    #[test]
    fn a_month_ends_with_what_lapses() {
        let model = report("t", MARCH.0, MARCH.1, Grouping::Day, Scope::Account, &["a"]);
        let steps = steps(&model).expect("a statement");
        let last = steps.last().expect("a month");
        assert_eq!((last.free, last.free_after, last.lapsed), (360, 0, 360));
        let chart = chart(&model, Subject::Balance, Frame::PLAIN).expect("there were credits");
        insta::assert_snapshot!(chart.description, @"What was there at the end of each day, March 2026: 4,250 at first, 5,000 at last (0 free and 5,000 purchased), and the least 2,950, first on 9 March 2026. 5,000 purchased on 11 March 2026. 360 lapsed on 31 March 2026.");
        insta::assert_snapshot!(texts(&chart, "signed").join(" "), @"+5,000 −360");
    }

    /// Whatever the width of a step is, the words are those of the days, and what is drawn goes as low as they do.
    #[test]
    fn what_shares_a_step_hides_no_shortage() {
        let model = report("t", "2026-03-01", "2026-08-01", Grouping::Day, Scope::Account, &["a"]);
        let known = steps(&model).expect("a statement");
        let chart = chart(&model, Subject::Balance, Frame::PLAIN).expect("there were credits");
        assert_eq!(chart.note.as_deref(), Some("Each step is 2 days, drawn at the least of them."));
        let least = known.iter().map(Step::least).min().expect("days");
        assert!(
            chart.description.contains(&format!("and the least {}, first on ", Locale::default().number(least))),
            "{}",
            chart.description
        );
        let drawn: Vec<Step> = known.chunks(2).map(joined).collect();
        for (pair, step) in known.chunks(2).zip(&drawn) {
            assert_eq!(Some(step.least()), pair.iter().map(Step::least).min(), "{:?}", step.range);
            assert_eq!(step.bought, pair.iter().map(|step| step.bought).sum::<i64>());
        }
        insta::assert_snapshot!(chart.description, @"What was there at the end of each day, 1 March – 3 April 2026: 4,250 at first, 5,000 at last (0 free and 5,000 purchased), and the least 2,950, first on 9 March 2026. 5,000 purchased on 11 March 2026. 360 lapsed on 31 March 2026.");
    }

    #[test]
    fn a_breakdown_knows_no_balance() {
        let model = broken_down("t", MARCH, Grouping::Day, Some(Breakdown::Action), Scope::Account, &["a"]);
        assert_eq!(chart(&model, Subject::Balance, Frame::PLAIN), None);
    }

    #[test]
    fn what_is_to_come_is_not_drawn() {
        let model = report("t", "2026-03-20", "2026-04-20", Grouping::Day, Scope::Account, &["a"]);
        assert_eq!(model.spec.as_of().to_string(), "2026-04-02T06:00:00Z");
        assert_eq!(steps(&model).expect("a statement").len(), 15, "up to 3 April, which it may be somewhere");
    }

    #[test]
    fn levels_are_lines_across() {
        let chart = chart(&marked(), Subject::Balance, Frame::PLAIN).expect("there were credits");
        insta::assert_snapshot!(texts(&chart, "marked").join(" | "), @"ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500");
    }

    /// Figures of signs that lie close stand one above the other, and none has lost its sign.
    #[test]
    fn no_figure_touches_another() {
        let mut known = steps(&marked()).expect("a statement");
        known.iter_mut().for_each(|step| (step.bought, step.lapsed) = (0, 0));
        known[10..14].iter_mut().for_each(|step| step.bought = 12_345);
        known[14].lapsed = 12_345;
        for frame in [Frame::PLAIN, Frame::Narrow(Locale::default())] {
            let mut plot = Plot::new(frame, 6_000, 1);
            let edges: Vec<i64> = (0..=31).map(|at| plot.x(at, 31)).collect();
            assert!(signs(&mut plot, &known, &edges));
            let figure = |shape: &Shape| match shape {
                Shape::Text { x, y, class: "signed", .. } => Some((*x, *y)),
                _ => None,
            };
            let figures: Vec<(i64, i64)> = plot.shapes.iter().filter_map(figure).collect();
            assert!(figures.len() >= 2, "{figures:?}");
            for (at, (x, y)) in figures.iter().enumerate() {
                let touches = |(other_x, other_y): &&(i64, i64)| {
                    (x - other_x).abs() < letters("+12,345") && (y - other_y).abs() < ROW * 3 / 4
                };
                assert_eq!(figures[..at].iter().find(touches), None, "{figures:?}");
                assert!(*y >= HIGHEST_WORDS);
            }
        }
    }

    #[test]
    fn no_level_runs_through_words() {
        let mut marks = marked().marks.expect("one account");
        let most = 100_000;
        let mut plot = Plot::new(Frame::PLAIN, most, 1);
        let step = most * ROW / 2 / plot.height(most);
        let level = |times: i64| ("low".parse().expect("a name"), crate::core::credits::Credits::new(times * step));
        (marks.levels, marks.month) = ((4..8).map(level).chain([level(20)]).collect(), None);
        levels(&mut plot, &marks);
        let lines: Vec<i64> = plot
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Line { y1, class: "mark", .. } => Some(*y1),
                _ => None,
            })
            .collect();
        let words: Vec<i64> = plot
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Text { y, class: "marked", .. } => Some(*y),
                _ => None,
            })
            .collect();
        assert_eq!((lines.len(), words.len()), (5, 2));
        for word in words {
            assert!(!lines.iter().any(|line| (word - 90..word + 20).contains(line)), "through {word}: {lines:?}");
        }
    }
}
