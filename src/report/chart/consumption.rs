//! What was consumed in each period, free and purchased, as stacked bars. By day of one month of one account, the
//! allowance spread evenly over the month is a line across, and the days that ended at an alert level are marked.

use super::drawing::{Anchor, Chart, Frame, Key, Paint, Plot, ROW, Rect, Shape, letters};
use super::{before_lapse, per_bar, shared, short, when};
use crate::core::locale::Locale;
use crate::core::statement::{DateRange, Grouping, LineType, Marks, ReportModel};
use crate::report::wording::{days_in, listed};

/// The line of the allowance is drawn unless it is so many times higher than the highest bar: then it would leave no room.
const LINE_TIMES_MAX: i64 = 3;

/// What was consumed in one period by everybody in the report.
#[derive(Clone, Copy)]
pub(in crate::report) struct Consumption {
    pub(in crate::report) range: DateRange,
    pub(in crate::report) free: i64,
    pub(in crate::report) purchased: i64,
}

impl Consumption {
    pub(in crate::report) const fn total(&self) -> i64 {
        self.free.saturating_add(self.purchased)
    }
}

pub(super) fn chart(model: &ReportModel, frame: Frame) -> Option<Chart> {
    let locale = frame.locale();
    let periods = consumption(model);
    let per_bar = per_bar(periods.len());
    let bars: Vec<Consumption> = periods.chunks(per_bar).map(joined).collect();
    let highest = bars.iter().map(Consumption::total).max().filter(|most| *most > 0)?;
    if bars.len() < 2 {
        return None;
    }
    let marked = model.marks.as_ref().filter(|_| model.spec.grouping() == Grouping::Day && per_bar == 1);
    let even = marked.and_then(EvenUse::of);
    let line = even.as_ref().filter(|even| even.per_day <= highest.saturating_mul(LINE_TIMES_MAX));
    let crossings = marked.map(|marks| crossings(model, marks, locale)).unwrap_or_default();
    let rows = i64::try_from(crossings.len()).unwrap_or(0);
    let mut plot = Plot::new(frame, line.map_or(highest, |line| line.per_day.max(highest)), rows);
    let count = i64::try_from(bars.len()).unwrap_or(i64::MAX);
    for (at, bar) in (0_i64..).zip(&bars) {
        let (begin, end) = (plot.x(at, count), plot.x(at + 1, count));
        let gap = (end - begin) / 5;
        // Heights are cut from one scale, so that the parts meet and the whole is exact.
        let (whole, free) = (plot.height(bar.total()), plot.height(bar.free));
        let part = |from: i64, to: i64, paint| Rect {
            x: begin + gap / 2,
            y: plot.bottom() - to,
            width: end - begin - gap,
            height: to - from,
            paint,
        };
        let parts = [part(0, free, Paint::FREE), part(free, whole, Paint::PURCHASED)];
        let parts = parts.into_iter().filter(|part| part.height > 0).collect();
        plot.shapes.push(Shape::Bar { title: told(bar, locale), parts });
    }
    let names: Vec<String> = bars.iter().map(|bar| short(bar.range, model.spec.grouping(), locale)).collect();
    plot.names(&names);
    mark_crossings(&mut plot, &crossings, count);
    if let Some(even) = line {
        let y = plot.y(even.per_day);
        plot.mark((frame.left(), y), (frame.right(), y));
    }
    let mut description = description(&bars, model, locale);
    description.extend(even.iter().map(|even| format!(" {}.", even.label(locale))));
    description.extend(crossings.iter().map(|crossing| {
        let end = if crossing.is_today { "" } else { " at the end of the day" };
        format!(" On {} what was left{end} fell to the level {}.", crossing.name, crossing.levels)
    }));
    let mut legend =
        vec![(Key::Filled(Paint::FREE), "Free".to_owned()), (Key::Filled(Paint::PURCHASED), "Purchased".to_owned())];
    legend.extend(line.map(|line| (Key::Mark, line.label(locale))));
    let title = format!("Credits consumed per {}", model.spec.grouping());
    Some(plot.finish("consumption", title, description, shared(per_bar, model), &legend))
}

/// The allowance of a month, spread evenly over its days.
struct EvenUse {
    allowance: i64,
    /// Rounded half up.
    per_day: i64,
}

impl EvenUse {
    fn of(marks: &Marks) -> Option<EvenUse> {
        let month = marks.month?;
        let days = (month.next().first_day() - month.first_day()).num_days().max(1);
        let allowance = marks.allowance.get();
        (allowance > 0).then(|| EvenUse { allowance, per_day: (2 * allowance + days) / (2 * days) })
    }

    fn label(&self, locale: Locale) -> String {
        let [allowance, per_day] = [self.allowance, self.per_day].map(|credits| locale.number(credits));
        format!("The month’s allowance of {allowance} is {per_day} a day")
    }
}

/// A day that ended at or below levels above which it began.
struct Crossing {
    /// Its number, from 0.
    day: i64,
    name: String,
    /// Where there is little room.
    short: String,
    /// `low (300)`.
    levels: String,
    /// Their names, highest first.
    names: Vec<String>,
    /// The day has not ended yet.
    is_today: bool,
}

impl Crossing {
    /// What stands in the chart: as much as has room there, and the most advanced level in any case.
    fn said(&self, frame: Frame) -> String {
        let when = match (frame, self.is_today) {
            (Frame::Wide(_), false) => format!(" at the end of {}", self.name),
            (Frame::Wide(_), true) => format!(" on {}", self.name),
            (Frame::Narrow(_), false) => format!(", end of {}", self.short),
            (Frame::Narrow(_), true) => format!(", {}", self.short),
        };
        let last = self.names.last().cloned().unwrap_or_default();
        let all = [self.levels.clone(), listed(&self.names), last].map(|levels| levels + &when);
        let fits = |text: &String| letters(text) * 9 / 8 <= frame.right();
        all.iter().find(|text| fits(text)).unwrap_or(&all[2]).clone()
    }
}

/// The first day of each level. A breakdown does not know what was left, so it has none.
fn crossings(model: &ReportModel, marks: &Marks, locale: Locale) -> Vec<Crossing> {
    if model.spec.breakdown().is_some() || marks.month.is_none() {
        return Vec::new();
    }
    let totals = || (0_i64..).zip(model.lines.iter().filter(|line| line.credit_type == LineType::Total));
    let now = marks.ahead.as_ref().map(|ahead| ahead.now);
    let first = |level: i64| {
        totals().find(|(_, line)| {
            let began = line.figures.carried_in.get().saturating_add(line.figures.allocated.get());
            let ended = before_lapse(line);
            now.is_none_or(|now| line.range.from() <= now) && began > level && ended <= level
        })
    };
    let mut found: Vec<(i64, DateRange, Vec<String>, Vec<String>)> = Vec::new();
    for (name, level) in &marks.levels {
        let Some((day, line)) = first(level.get()) else { continue };
        let level = format!("{name} ({})", locale.number(level.get()));
        match found.iter_mut().find(|(known, ..)| *known == day) {
            Some((_, _, levels, names)) => {
                levels.push(level);
                names.push(name.to_string());
            }
            None => found.push((day, line.range, vec![level], vec![name.to_string()])),
        }
    }
    let crossing = |(day, range, levels, names): (i64, DateRange, Vec<String>, Vec<String>)| Crossing {
        day,
        name: locale.day(range.from().date()),
        short: locale.short_day(range.from().date()),
        levels: listed(&levels),
        names,
        is_today: now.is_some_and(|now| now < range.to()),
    };
    found.into_iter().map(crossing).collect()
}

/// A line at the end of each day on which a level was reached, and the words of it in a row of their own above the plot. No line
/// runs through words.
fn mark_crossings(plot: &mut Plot, crossings: &[Crossing], days: i64) {
    let (frame, top) = (plot.frame, plot.top());
    let rows = i64::try_from(crossings.len()).unwrap_or(0);
    let row_y = |row: i64| top - (rows - row) * ROW;
    let mut words = Vec::new();
    for (row, crossing) in (0_i64..).zip(crossings) {
        let x = plot.x(crossing.day + 1, days);
        let text = crossing.said(frame);
        let width = letters(&text);
        let (at, anchor, from) = match width {
            _ if x + 60 + width <= frame.right() => (x + 60, Anchor::Start, x + 60),
            _ if x - 60 - width >= 0 => (x - 60, Anchor::End, x - 60 - width),
            _ => (frame.right(), Anchor::End, frame.right() - width),
        };
        words.push((x, from..from + width));
        plot.text((at, row_y(row) + 40), anchor, "marked", text);
    }
    for (row, (x, _)) in (0_i64..).zip(&words) {
        let mut y = row_y(row) - 60;
        for below in (0_i64..).zip(&words).filter(|(_, (_, taken))| taken.contains(x)).map(|(below, _)| below) {
            if below > row {
                plot.mark((*x, y), (*x, row_y(below) - ROW / 2));
            }
            if below >= row {
                y = row_y(below) + ROW / 2;
            }
        }
        plot.mark((*x, y), (*x, plot.bottom()));
    }
}

/// What was consumed per period, over all sections and groups. A negative sum, which no ledger has, is drawn as nothing.
pub(in crate::report) fn consumption(model: &ReportModel) -> Vec<Consumption> {
    let new = |range: DateRange| Consumption { range, free: 0, purchased: 0 };
    let mut periods: Vec<Consumption> = model.spec.periods().into_iter().map(new).collect();
    for line in model.lines.iter() {
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

fn told(bar: &Consumption, locale: Locale) -> String {
    let [total, free, purchased] = [bar.total(), bar.free, bar.purchased].map(|credits| locale.number(credits));
    format!("{}: {total} consumed, {free} free and {purchased} purchased", days_in(bar.range, locale))
}

fn description(bars: &[Consumption], model: &ReportModel, locale: Locale) -> String {
    let all = joined(bars);
    let most = bars.iter().rev().max_by_key(|bar| bar.total()).map(|bar| {
        let others = bars.iter().filter(|other| other.total() == bar.total()).count() > 1;
        format!(" The most was {}{}.", locale.number(bar.total()), when(bar.range, others, locale))
    });
    format!("Credits consumed per {}. {}.{}", model.spec.grouping(), told(&all, locale), most.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{marked, rects, texts};
    use super::super::{BARS_MAX, Subject};
    use super::*;
    use crate::core::statement::Scope;
    use crate::report::testing::{report, statement};

    fn chart(model: &ReportModel) -> Option<Chart> {
        super::super::chart(model, Subject::Consumption, Frame::PLAIN)
    }

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
        let bars: Vec<&Shape> = chart.shapes.iter().filter(|shape| matches!(shape, Shape::Bar { .. })).collect();
        assert_eq!(bars.len(), 31 + 2, "the days and the legend");
        let bottom = Plot::new(Frame::PLAIN, 1, 0).bottom();
        for parts in bars.iter().take(31).map(|bar| rects(bar)) {
            let mut below = bottom;
            for part in parts {
                assert_eq!(part.y + part.height, below);
                assert!(
                    part.y >= Plot::new(Frame::PLAIN, 1, 0).top() && part.width > 0 && part.x > Frame::PLAIN.left()
                );
                assert!(part.x + part.width <= Frame::PLAIN.right());
                below = part.y;
            }
        }
        insta::assert_snapshot!(chart.description, @"Credits consumed per day. March 2026: 2,600 consumed, 2,480 free and 120 purchased. The most was 2,400 on 2 March 2026.");
        let Shape::Bar { title, .. } = bars[8] else { panic!("filtered") };
        insta::assert_snapshot!(title, @"9 March 2026: 200 consumed, 80 free and 120 purchased");
    }

    #[test]
    fn neighbours_share_a_bar_when_there_are_too_many() {
        let model = report("t", "2024-03-01", "2026-04-01", Grouping::Day, Scope::Platform, &["a"]);
        let chart = chart(&model).expect("something was consumed");
        assert_eq!(chart.note.as_deref(), Some("Each bar is 7 days."));
        let bars = chart.shapes.iter().filter(|shape| matches!(shape, Shape::Bar { .. })).count() - 2;
        assert!(bars <= BARS_MAX, "{bars}");
    }

    #[test]
    fn a_month_of_one_account_shows_its_allowance_and_its_levels() {
        let chart = chart(&marked()).expect("something was consumed");
        let marked: Vec<String> = texts(&chart, "marked");
        insta::assert_snapshot!(marked.join("\n"), @"
        low (3,050) at the end of 2 March
        critical (2,950) at the end of 9 March
        ");
        insta::assert_snapshot!(chart.description, @"Credits consumed per day. March 2026: 1,300 consumed, 1,240 free and 60 purchased. The most was 1,200 on 2 March 2026. The month’s allowance of 1,500 is 48 a day. On 2 March what was left at the end of the day fell to the level low (3,050). On 9 March what was left at the end of the day fell to the level critical (2,950).");
    }

    /// Where there is little room, words lie on both sides of their lines, and those of the next row below lines of the rows above.
    #[test]
    fn no_line_runs_through_words() {
        let mut model = marked();
        if let Some(marks) = &mut model.marks {
            marks.levels.iter_mut().for_each(|(name, _)| *name = format!("{name}-and-more").parse().expect("a name"));
        }
        for frame in [Frame::PLAIN, Frame::Narrow(Locale::default())] {
            let chart = super::super::chart(&model, Subject::Consumption, frame).expect("consumed");
            let mut words = 0;
            for shape in &chart.shapes {
                let Shape::Text { x, y, anchor, class: "marked", text } = shape else { continue };
                words += 1;
                let (left, right) = match anchor {
                    Anchor::Start => (*x, x + letters(text)),
                    _ => (x - letters(text), *x),
                };
                let runs_through = |shape: &&Shape| match shape {
                    Shape::Line { x1, y1, y2, class: "mark", .. } => {
                        (left..right).contains(x1) && *y1 < y - 20 && *y2 > y - 60
                    }
                    _ => false,
                };
                assert_eq!(chart.shapes.iter().find(runs_through), None, "through {text:?} for {frame:?}");
            }
            assert_eq!(words, 2);
        }
    }

    /// What is seen and what is read aloud are written alike.
    #[test]
    fn a_mail_has_numbers_and_dates_as_its_readers_write_them() {
        let of =
            |locale| super::super::chart(&marked(), Subject::Consumption, Frame::Narrow(locale)).expect("consumed");
        insta::assert_snapshot!(of(Locale::EnUs).description, @"Credits consumed per day. March 2026: 1,300 consumed, 1,240 free and 60 purchased. The most was 1,200 on March 2, 2026. The month’s allowance of 1,500 is 48 a day. On March 2 what was left at the end of the day fell to the level low (3,050). On March 9 what was left at the end of the day fell to the level critical (2,950).");
        let german = of(Locale::DeDe);
        insta::assert_snapshot!(german.description, @"Credits consumed per day. March 2026: 1.300 consumed, 1.240 free and 60 purchased. The most was 1.200 on 2. March 2026. The month’s allowance of 1.500 is 48 a day. On 2. March what was left at the end of the day fell to the level low (3.050). On 9. March what was left at the end of the day fell to the level critical (2.950).");
        assert_eq!(texts(&german, "marked"), ["low (3.050), end of 2. Mar", "critical (2.950), end of 9. Mar"]);
        assert!(
            texts(&german, "").contains(&"1.500".to_owned()) && texts(&german, "").contains(&"1.\u{a0}Mar".to_owned())
        );
    }
}
