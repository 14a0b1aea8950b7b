//! Who or what consumed the credits: the largest groups apart and all others together. Bars stacked by group where there are
//! periods to compare, else a bar for each group.

use super::drawing::{Anchor, Chart, Frame, Key, Paint, Plot, Rect, Shape, keys, letters, scaled, shortened};
use super::{per_bar, shared, short};
use crate::core::counting::counted;
use crate::core::ids::AccountId;
use crate::core::locale::Locale;
use crate::core::statement::{Breakdown, Group, Line, LineType, ReportModel, Scope};
use crate::report::wording::{days_in, filters_said, listed};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Groups with a colour of their own; the others share one.
const GROUPS_MAX: usize = 6;
/// From one bar across to the next, and its height.
const STEP: i64 = 280;
const THICK: i64 = 150;
/// Room for the name of a bar across, and for its figure.
const NAME_WIDTH: i64 = 1_760;
const FIGURE_WIDTH: i64 = 900;

/// What one group consumed, or all others.
#[derive(Default)]
struct Series {
    name: String,
    is_others: bool,
    free: i64,
    purchased: i64,
    /// Per bar of the chart.
    bars: Vec<i64>,
}

impl Series {
    const fn total(&self) -> i64 {
        self.free.saturating_add(self.purchased)
    }
}

pub(super) fn chart(model: &ReportModel, frame: Frame) -> Option<Chart> {
    let breakdown = model.spec.breakdown()?;
    let series = series(model, breakdown);
    let all = series.iter().fold(0_i64, |sum, one| sum.saturating_add(one.total()));
    if all == 0 {
        return None;
    }
    if model.spec.period_count() > 1 {
        stacked(model, breakdown, &series, frame)
    } else {
        across(model, breakdown, &series, frame)
    }
}

/// The groups that are drawn, in the order in which they are, and what they used: free and purchased.
pub(in crate::report) fn used(model: &ReportModel) -> Vec<(String, i64, i64)> {
    let series = model.spec.breakdown().map(|breakdown| series(model, breakdown)).unwrap_or_default();
    series.into_iter().map(|one| (one.name, one.free, one.purchased)).collect()
}

/// The largest groups, most first, and what the others come to. Two passes, so that what is kept per bar is kept for the few
/// that are drawn.
fn series(model: &ReportModel, breakdown: Breakdown) -> Vec<Series> {
    let periods = model.spec.periods();
    let per_bar = per_bar(periods.len());
    let bars = periods.len().div_ceil(per_bar);
    let mut series: Vec<Series> = Vec::new();
    let mut known: BTreeMap<Of, usize> = BTreeMap::new();
    for (key, line) in uses(model) {
        let at = *known.entry(key).or_insert_with(|| {
            series.push(Series { name: name_of(key, model, breakdown), ..Series::default() });
            series.len() - 1
        });
        let consumed = line.figures.consumed.get().max(0);
        let sum = if line.credit_type == LineType::Free { &mut series[at].free } else { &mut series[at].purchased };
        *sum = sum.saturating_add(consumed);
    }
    let mut order: Vec<usize> = (0..series.len()).filter(|at| series[*at].total() > 0).collect();
    if matches!(breakdown, Breakdown::Action | Breakdown::User) {
        let key = |at: &usize| (Reverse(series[*at].total()), series[*at].name.clone());
        order.sort_by_cached_key(key);
    }
    let apart = if order.len() > GROUPS_MAX + 1 { GROUPS_MAX } else { order.len() };
    let others = order.split_off(apart);
    let mut drawn: Vec<Series> = Vec::new();
    // The place in the chart of each series that is in it.
    let mut places: BTreeMap<usize, usize> = order.iter().copied().zip(0..).collect();
    for at in order {
        let Series { name, free, purchased, .. } = &series[at];
        drawn.push(Series {
            name: name.clone(),
            is_others: false,
            free: *free,
            purchased: *purchased,
            bars: vec![0; bars],
        });
    }
    if !others.is_empty() {
        places.extend(others.iter().map(|at| (*at, apart)));
        let sum = |of: fn(&Series) -> i64| others.iter().fold(0_i64, |sum, at| sum.saturating_add(of(&series[*at])));
        let (free, purchased) = (sum(|one| one.free), sum(|one| one.purchased));
        let name = counted(others.len() as u64, &format!("other {breakdown}"));
        drawn.push(Series { name, is_others: true, free, purchased, bars: vec![0; bars] });
    }
    for (key, line) in uses(model) {
        let place = known.get(&key).and_then(|at| places.get(at));
        let period = periods.binary_search_by_key(&line.range.from(), |period| period.from());
        let (Some(place), Ok(period)) = (place, period) else { continue };
        let bar = &mut drawn[*place].bars[period / per_bar];
        *bar = bar.saturating_add(line.figures.consumed.get().max(0));
    }
    drawn
}

/// Which series a group is: its text, of which nobody's use has none, and the account of a user where the report has several, for
/// an account's users are its own.
type Of<'a> = (Option<&'a str>, Option<&'a AccountId>);

/// What groups consumed of each type.
fn uses(model: &ReportModel) -> impl Iterator<Item = (Of<'_>, Line<'_>)> {
    let is_of_accounts = model.spec.breakdown() == Some(Breakdown::User) && model.sections().len() > 1;
    let by_type = model.lines.iter().filter(|line| line.credit_type != LineType::Total);
    by_type.filter_map(move |line| {
        let account = line.account.filter(|_| is_of_accounts);
        line.group.map(|group| ((text_of(group), account), line))
    })
}

fn text_of(group: &Group) -> Option<&str> {
    match group {
        Group::Word(word) => Some(word),
        Group::Named(name) => Some(name),
        Group::Unnamed => None,
    }
}

fn name_of((text, account): Of, model: &ReportModel, by: Breakdown) -> String {
    let name = match text {
        Some(code) if by == Breakdown::Action => model.title_of(code).to_owned(),
        Some(text) => text.to_owned(),
        None => format!("(no {by})"),
    };
    account.map_or_else(|| name.clone(), |account| format!("{name} · {account}"))
}

/// What one bar is, where it is not one period, or what is not drawn, and who is one user.
fn note(model: &ReportModel, breakdown: Breakdown, bar: Option<String>) -> Option<String> {
    let is_of_all = breakdown == Breakdown::User && model.spec.scope() == Scope::Platform;
    let one = is_of_all.then(|| "Users of the same id in several accounts are one here.".to_owned());
    let notes: Vec<String> = bar.into_iter().chain(one).collect();
    (!notes.is_empty()).then(|| notes.join(" "))
}

/// Paints by number. The one that is always there, of all others, is the last.
fn paint(at: usize) -> Paint {
    Paint::SERIES[at.min(Paint::SERIES.len() - 1)]
}

fn stacked(model: &ReportModel, breakdown: Breakdown, series: &[Series], frame: Frame) -> Option<Chart> {
    let locale = frame.locale();
    let periods = model.spec.periods();
    let per_bar = per_bar(periods.len());
    let bars: Vec<_> = periods.chunks(per_bar).collect();
    let whole = |at: usize| series.iter().fold(0_i64, |sum, one| sum.saturating_add(one.bars[at]));
    let highest = (0..bars.len()).map(whole).max()?;
    let mut plot = Plot::new(frame, highest, 0);
    let count = i64::try_from(bars.len()).unwrap_or(i64::MAX);
    for ((at, number), ranges) in (0_usize..).zip(0_i64..).zip(&bars) {
        let (begin, end) = (plot.x(number, count), plot.x(number + 1, count));
        let gap = (end - begin) / 5;
        let (mut parts, mut told, mut below) = (Vec::new(), Vec::new(), 0_i64);
        for (place, one) in series.iter().enumerate().filter(|(_, one)| one.bars[at] > 0) {
            let above = below.saturating_add(one.bars[at]);
            let (from, to) = (plot.height(below), plot.height(above));
            let y = plot.bottom() - to;
            parts.push(Rect {
                x: begin + gap / 2,
                y,
                width: end - begin - gap,
                height: to - from,
                paint: paint(place),
            });
            told.push(format!("{} {}", one.name, locale.number(one.bars[at])));
            below = above;
        }
        let title = format!("{}: {} consumed", days_in(ranges[0], locale), locale.number(below));
        let title = if told.is_empty() { title } else { format!("{title}, {}", listed(&told)) };
        plot.shapes.push(Shape::Bar { title, parts });
    }
    let names: Vec<String> = bars.iter().map(|ranges| short(ranges[0], model.spec.grouping(), locale)).collect();
    plot.names(&names);
    let legend: Vec<(Key, String)> =
        series.iter().enumerate().map(|(at, one)| (Key::Filled(paint(at)), one.name.clone())).collect();
    let title = format!("Credits consumed per {} by {breakdown}", model.spec.grouping());
    let description = description(model, breakdown, series, locale);
    Some(plot.finish("breakdown", title, description, note(model, breakdown, shared(per_bar, model)), &legend))
}

/// A bar across for each group, with its figure: one period has nothing to stack.
fn across(model: &ReportModel, breakdown: Breakdown, series: &[Series], frame: Frame) -> Option<Chart> {
    let locale = frame.locale();
    // All others together would dwarf those who stand for themselves.
    let apart = series.iter().filter(|one| !one.is_others).map(Series::total).max()?;
    let (drawn, left_out): (Vec<_>, Vec<_>) = series.iter().partition(|one| !one.is_others || one.total() <= apart);
    let is_wide = matches!(frame, Frame::Wide(_));
    let name_width = if is_wide { NAME_WIDTH } else { NAME_WIDTH * 7 / 8 };
    let figure_width = if is_wide { FIGURE_WIDTH } else { FIGURE_WIDTH * 7 / 8 };
    let (left, length) = (name_width, frame.right() - name_width - figure_width);
    let mut shapes = Vec::new();
    let text = |x, y, anchor, class, text: String| Shape::Text { x, y, anchor, class, text };
    let mut y = 60;
    for one in drawn {
        let (whole, free) = (scaled(one.total(), apart, length).max(10), scaled(one.free, apart, length));
        let part = |from: i64, to: i64, paint| Rect { x: left + from, y, width: to - from, height: THICK, paint };
        let parts = [part(0, free, Paint::FREE), part(free, whole.max(free), Paint::PURCHASED)];
        let title = format!(
            "{}: {} consumed, {} free and {} purchased",
            one.name,
            locale.number(one.total()),
            locale.number(one.free),
            locale.number(one.purchased)
        );
        shapes.push(text(left - 100, y + 115, Anchor::End, "name", fitting(&one.name, name_width - 100)));
        shapes.push(Shape::Bar { title, parts: parts.into_iter().filter(|part| part.width > 0).collect() });
        shapes.push(text(left + whole + 80, y + 115, Anchor::Start, "name", locale.number(one.total())));
        y += STEP;
    }
    let foot = y + 40;
    shapes.push(Shape::Line { x1: left, y1: 20, x2: left, y2: y - STEP + THICK + 40, class: "axis" });
    let legend =
        [(Key::Filled(Paint::FREE), "Free".to_owned()), (Key::Filled(Paint::PURCHASED), "Purchased".to_owned())];
    let height = keys(&mut shapes, frame, foot, &legend);
    let title = format!("Credits consumed by {breakdown}");
    let description = description(model, breakdown, series, locale);
    let left_out =
        left_out.first().map(|others| format!("Not drawn: {}, {} in all.", others.name, locale.number(others.total())));
    Some(Chart {
        id: "breakdown",
        title,
        description,
        note: note(model, breakdown, left_out),
        width: frame.width(),
        height,
        shapes,
    })
}

/// As much of a name as has room.
fn fitting(name: &str, width: i64) -> String {
    let name = shortened(name);
    // Some fonts are wider than most.
    let width = width * 7 / 8;
    if letters(&name) <= width {
        return name;
    }
    let kept = usize::try_from(width / letters("x")).unwrap_or(1).saturating_sub(1);
    name.chars().take(kept).chain(['…']).collect()
}

fn description(model: &ReportModel, breakdown: Breakdown, series: &[Series], locale: Locale) -> String {
    let all = series.iter().fold(0_i64, |sum, one| sum.saturating_add(one.total()));
    let each: Vec<String> = series.iter().map(|one| format!("{} {}", one.name, locale.number(one.total()))).collect();
    let per = if model.spec.period_count() > 1 { format!(" per {}", model.spec.grouping()) } else { String::new() };
    let range = days_in(model.spec.range(), locale);
    let only = listed(&filters_said(model));
    let only = if only.is_empty() { only } else { format!(" Only {only}.") };
    format!("Credits consumed{per} by {breakdown}.{only} {range}: {} consumed, {}.", locale.number(all), listed(&each))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rects, texts};
    use super::super::{Subject, chart};
    use super::*;
    use crate::core::statement::{Filters, Grouping, Scope};
    use crate::report::testing::{broken_down, report, usage};

    const MARCH: (&str, &str) = ("2026-03-01", "2026-04-01");

    #[test]
    fn a_statement_has_no_groups_to_compare() {
        let model = report("t", MARCH.0, MARCH.1, Grouping::Day, Scope::Account, &["a"]);
        assert_eq!(chart(&model, Subject::Breakdown, Frame::PLAIN), None);
    }

    #[test]
    fn one_period_has_a_bar_for_each_group() {
        let model = broken_down("t", MARCH, Grouping::Range, Some(Breakdown::User), Scope::Account, &["a"]);
        let chart = chart(&model, Subject::Breakdown, Frame::PLAIN).expect("something was consumed");
        insta::assert_snapshot!(chart.description, @"Credits consumed by user. March 2026: 1,300 consumed, =ann 1,200 and שרה 🦊 100.");
        insta::assert_snapshot!(texts(&chart, "name").join(" | "), @"=ann | 1,200 | שרה 🦊 | 100 | Free | Purchased");
    }

    #[test]
    fn what_was_left_out_is_said() {
        let mut model = broken_down("t", MARCH, Grouping::Range, Some(Breakdown::User), Scope::Account, &["a"]);
        let filters = Filters { actions: vec!["erase".parse().ok(), None], ..Filters::default() };
        model.spec = model.spec.with_filters(filters).expect("a breakdown");
        let chart = chart(&model, Subject::Breakdown, Frame::PLAIN).expect("something was consumed");
        insta::assert_snapshot!(chart.description, @"Credits consumed by user. Only action erase or none. March 2026: 1,300 consumed, =ann 1,200 and שרה 🦊 100.");
    }

    /// All others together are drawn beside the largest only where they are no larger.
    #[test]
    fn others_dwarf_nobody() {
        let of = |count: usize| {
            let names: Vec<String> = (1..=count).map(|at| format!("action-{at}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let model = usage(MARCH, Grouping::Range, Breakdown::Action, &names);
            chart(&model, Subject::Breakdown, Frame::PLAIN).expect("something was consumed")
        };
        let all = of(7);
        assert_eq!((all.note.as_deref(), texts(&all, "name").len()), (None, 7 * 2 + 2));
        let few = of(9);
        insta::assert_snapshot!(few.note.as_deref().unwrap_or_default(), @"Not drawn: 3 other actions, 15,450 in all.");
        insta::assert_snapshot!(texts(&few, "name").join(" | "), @"action-1 | 5,500 | action-2 | 5,450 | action-3 | 5,400 | action-4 | 5,350 | action-5 | 5,300 | action-6 | 5,250 | Free | Purchased");
        assert!(few.description.contains("3 other actions"), "{}", few.description);
    }

    /// `ann` of one account is not `ann` of another.
    #[test]
    fn users_are_those_of_their_account() {
        let names = |scope| {
            let model = broken_down("t", MARCH, Grouping::Range, Some(Breakdown::User), scope, &["a", "b"]);
            let chart = chart(&model, Subject::Breakdown, Frame::PLAIN).expect("something was consumed");
            (texts(&chart, "name").join(" | "), chart.note)
        };
        let (of_accounts, note) = names(Scope::Account);
        insta::assert_snapshot!(of_accounts, @"=ann · a | 1,200 | =ann · b | 1,200 | שרה 🦊 · a | 100 | שרה 🦊 · b | 100 | Free | Purchased");
        assert_eq!(note, None);
        let (of_all, note) = names(Scope::Platform);
        insta::assert_snapshot!(of_all, @"=ann | 2,400 | שרה 🦊 | 200 | Free | Purchased");
        assert_eq!(note.as_deref(), Some("Users of the same id in several accounts are one here."));
    }

    #[test]
    fn actions_are_called_what_they_are_called() {
        let titles = [("erase".to_owned(), "Erase <things>".to_owned())].into();
        let model = usage(MARCH, Grouping::Range, Breakdown::Action, &["erase", "upscale"]).with_titles(titles);
        let chart = chart(&model, Subject::Breakdown, Frame::PLAIN).expect("something was consumed");
        assert!(texts(&chart, "name").join(" | ").contains("Erase <things> |"), "{chart:?}");
        let page = crate::report::render(&model, crate::report::Format::Html, 0).expect("it renders");
        let page = String::from_utf8(page).expect("UTF-8");
        assert!(page.contains("<bdi>Erase &lt;things&gt;</bdi>") && !page.contains("<bdi>erase</bdi>"), "{page}");
        let csv = crate::report::render(&model, crate::report::Format::Csv, 0).expect("it renders");
        assert!(String::from_utf8(csv).expect("UTF-8").contains(",erase,"));
    }

    #[test]
    fn a_log_is_not_drawn() {
        let log = crate::report::testing::log(&["a".to_owned()], Scope::Account);
        assert!(super::super::charts(&log, Frame::PLAIN).is_empty());
    }

    #[test]
    fn the_largest_groups_are_apart_and_the_others_together() {
        let names: Vec<String> = (1..=9).map(|at| format!("action-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let model = usage(MARCH, Grouping::Day, Breakdown::Action, &names);
        let chart =
            chart(&model, Subject::Breakdown, Frame::Narrow(Locale::default())).expect("something was consumed");
        insta::assert_snapshot!(chart.description, @"Credits consumed per day by action. March 2026: 47,700 consumed, action-1 5,500, action-2 5,450, action-3 5,400, action-4 5,350, action-5 5,300, action-6 5,250 and 3 other actions 15,450.");
        insta::assert_snapshot!(texts(&chart, "name").join(" | "), @"action-1 | action-2 | action-3 | action-4 | action-5 | action-6 | 3 other actions");
        let bars = chart.shapes.iter().filter(|shape| matches!(shape, Shape::Bar { .. })).map(rects);
        let tallest = bars.max_by_key(|parts| parts.len()).expect("bars");
        assert_eq!(tallest.len(), GROUPS_MAX + 1);
        assert!(tallest.windows(2).all(|pair| pair[1].y + pair[1].height == pair[0].y), "they stand on each other");
    }
}
