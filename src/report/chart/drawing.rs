//! What a chart is drawn with: shapes in whole units, which a template turns into SVG.
//!
//! Units are tenths of a pixel. Nothing here knows colours: shapes have classes, and whoever shows a drawing says what they
//! look like, in light and in dark. Series are told apart by pattern as well as by colour.

use crate::core::locale::Locale;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::Range;

/// Most lines across a chart.
const RULES_MAX: i64 = 4;
/// Most labels below the periods of a page that do not touch.
const LABELS_MAX: usize = 12;
/// What the labels of the scale take at the left.
const LEFT: i64 = 620;
/// Room at the right, for the last label.
const RIGHT_MARGIN: i64 = 220;
/// From the upper edge to the highest line.
const TOP: i64 = 140;
/// From the highest line to the lowest.
const PLOT: i64 = 1_980;
/// From the lowest line to the names of periods below it.
const NAMES: i64 = 210;
/// From there to the lower edge, or to the first row of the legend.
const FOOT: i64 = 120;
/// From one row of text to the next.
pub(super) const ROW: i64 = 190;
/// Between the lines of words that stand one above the other and do not touch.
const WORDS_APART: i64 = ROW * 3 / 4;
/// Between the names of two periods.
const NAMES_APART: i64 = 60;
/// Rows in which room is looked for.
const ROWS_TRIED: i64 = 8;
/// Room that a letter takes, on average, and a little more.
const LETTER: i64 = 68;
/// Side of the square that shows a colour in the legend.
const KEY_SIDE: i64 = 110;
/// Longest name in a chart, in characters; the table beside it has the whole.
const NAME_CHARS_MAX: usize = 24;

/// How wide a chart is, and how its readers write numbers and dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// For a page or a picture by itself: 1,000 pixels.
    Wide(Locale),
    /// For a phone: 360 pixels. Mails show it a third larger, so that its letters can still be read where a phone makes it as
    /// narrow again.
    Narrow(Locale),
}

impl Frame {
    /// For a page that anybody may read.
    pub const PLAIN: Frame = Frame::Wide(Locale::EnGb);

    /// In units.
    pub(super) const fn width(self) -> i64 {
        match self {
            Frame::Wide(_) => 10_000,
            Frame::Narrow(_) => 3_600,
        }
    }

    /// How numbers and dates are written.
    pub(super) const fn locale(self) -> Locale {
        let (Frame::Wide(locale) | Frame::Narrow(locale)) = self;
        locale
    }

    pub(super) const fn left(self) -> i64 {
        LEFT
    }

    pub(super) const fn right(self) -> i64 {
        self.width() - RIGHT_MARGIN
    }

    /// Where the legend begins: the labels of the scale do not come down to it.
    const fn legend_left(self) -> i64 {
        match self {
            Frame::Wide(_) => LEFT,
            Frame::Narrow(_) => 0,
        }
    }

    fn labels_max(self) -> usize {
        match self {
            Frame::Wide(_) => LABELS_MAX,
            Frame::Narrow(_) => LABELS_MAX / 2,
        }
    }

    /// How many of the things have room of which a wide chart has so many.
    pub(super) const fn share(self, wide: usize) -> usize {
        match self {
            Frame::Wide(_) => wide,
            Frame::Narrow(_) => wide / 3,
        }
    }
}

/// What a row of the legend explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// What is filled so.
    Filled(Paint),
    /// A line across.
    Mark,
}

/// What fills a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Paint {
    /// Of the colour.
    class: &'static str,
    /// The strokes over it, by the name of their pattern.
    strokes: Option<&'static str>,
}

impl Paint {
    pub(super) const fn class(self) -> &'static str {
        self.class
    }

    pub(super) const fn strokes(self) -> Option<&'static str> {
        self.strokes
    }

    pub(super) const FREE: Paint = Paint { class: "f", strokes: None };
    pub(super) const PURCHASED: Paint = Paint { class: "p", strokes: Some("rising") };
    /// Of an area, which always lies above the free one and is edged: strokes all over it would be loud.
    pub(super) const PURCHASED_AREA: Paint = Paint { class: "p", strokes: None };
    /// What will be there if nothing changes, not what was.
    pub(super) const FREE_AHEAD: Paint = Paint { class: "f ahead", strokes: None };
    pub(super) const PURCHASED_AHEAD: Paint = Paint { class: "p ahead", strokes: None };
    /// Of groups, most first. The last is that of all others together.
    pub(super) const SERIES: [Paint; 7] = [
        Paint { class: "s1", strokes: None },
        Paint { class: "s2", strokes: Some("rising") },
        Paint { class: "s3", strokes: None },
        Paint { class: "s4", strokes: Some("dots") },
        Paint { class: "s5", strokes: None },
        Paint { class: "s6", strokes: Some("falling") },
        Paint { class: "s7", strokes: None },
    ];
}

/// A rectangle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Rect {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
    #[serde(flatten)]
    pub(super) paint: Paint,
}

/// Where a text ends up beside its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Something to draw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "shape", rename_all = "lowercase")]
pub(super) enum Shape {
    /// Rectangles that are one thing, and what it is in words.
    Bar { title: String, parts: Vec<Rect> },
    /// A straight line.
    Line { x1: i64, y1: i64, x2: i64, y2: i64, class: &'static str },
    /// A polygon, filled where it has a paint.
    Area {
        points: String,
        #[serde(flatten)]
        paint: Paint,
    },
    /// A polygon's upper edge, or a sign; with words if it is one.
    Stroke { points: String, class: &'static str, title: Option<String> },
    /// Words.
    Text { x: i64, y: i64, anchor: Anchor, class: &'static str, text: String },
}

/// A chart, ready to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Chart {
    /// A word for it, and what its parts are called by in a page.
    pub(super) id: &'static str,
    /// What it shows.
    pub(super) title: String,
    /// The numbers, for those who do not see it.
    pub(super) description: String,
    /// What one bar is, when it is not one period, and what could not be shown.
    pub(super) note: Option<String>,
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) shapes: Vec<Shape>,
}

impl Chart {
    /// What it shows, as a heading.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What one bar is, where it is not one period, and what could not be shown.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The numbers in words: the alternative text of a picture.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The patterns of strokes that its shapes have.
    pub(super) fn strokes(&self) -> BTreeSet<&'static str> {
        let paints = self.shapes.iter().flat_map(|shape| match shape {
            Shape::Bar { parts, .. } => parts.iter().map(|part| part.paint).collect(),
            Shape::Area { paint, .. } => vec![*paint],
            Shape::Line { .. } | Shape::Stroke { .. } | Shape::Text { .. } => Vec::new(),
        });
        paints.filter_map(|paint| paint.strokes).collect()
    }
}

/// The field between the lowest and the highest line, with its scale.
pub(super) struct Plot {
    pub(super) frame: Frame,
    pub(super) shapes: Vec<Shape>,
    /// Credits at the highest line.
    highest: i64,
    top: i64,
}

/// From where to where words reach.
pub(super) fn reach(x: i64, anchor: Anchor, text: &str) -> Range<i64> {
    // Letters are bold, and a gap belongs to them.
    let width = letters(text) * 9 / 8 + 80;
    let from = match anchor {
        Anchor::Start => x - 40,
        Anchor::Middle => x - width / 2,
        Anchor::End => x + 40 - width,
    };
    from..from + width
}

/// Where words over a plot stand: from where to where, and on which line.
fn over_plot(shape: &Shape) -> Option<(Range<i64>, i64)> {
    match shape {
        Shape::Text { x, y, anchor, class: "marked" | "signed", text } => Some((reach(*x, *anchor, text), *y)),
        _ => None,
    }
}

/// What stands beside a rule: in millions and more where each rule is some, or it would not fit beside the plot.
fn scale_label(credits: i64, step: i64, locale: Locale) -> String {
    let units = [(1_000_000_000_000, "tn"), (1_000_000_000, "bn"), (1_000_000, "M")];
    match units.into_iter().find(|(unit, _)| step % unit == 0).filter(|_| credits != 0) {
        Some((unit, name)) => format!("{} {name}", locale.number(credits / unit)),
        None => locale.number(credits),
    }
}

impl Plot {
    /// A scale on which `most` credits have room, below `rows` rows of text.
    pub(super) fn new(frame: Frame, most: i64, rows: i64) -> Plot {
        let step = round_step(most.max(1));
        let steps = most.max(1).div_euclid(step) + i64::from(most.max(1) % step != 0);
        let mut plot = Plot { frame, shapes: Vec::new(), highest: step.saturating_mul(steps), top: TOP + rows * ROW };
        for at in 0..=steps {
            let credits = at.saturating_mul(step);
            let y = plot.y(credits);
            plot.line((frame.left(), y), (frame.right(), y), "rule");
            plot.text((frame.left() - 100, y + 40), Anchor::End, "", scale_label(credits, step, frame.locale()));
        }
        plot
    }

    pub(super) const fn top(&self) -> i64 {
        self.top
    }

    pub(super) const fn bottom(&self) -> i64 {
        self.top + PLOT
    }

    /// The height of `credits` above the axis.
    pub(super) fn height(&self, credits: i64) -> i64 {
        scaled(credits, self.highest, PLOT)
    }

    /// Where `credits` lie.
    pub(super) fn y(&self, credits: i64) -> i64 {
        self.bottom() - self.height(credits)
    }

    /// Where `part` of `whole` lies between the left and the right.
    pub(super) fn x(&self, part: i64, whole: i64) -> i64 {
        self.frame.left() + scaled(part, whole, self.frame.right() - self.frame.left())
    }

    pub(super) fn line(&mut self, (x1, y1): (i64, i64), (x2, y2): (i64, i64), class: &'static str) {
        self.shapes.push(Shape::Line { x1, y1, x2, y2, class });
    }

    /// A line that is seen on whatever lies below it.
    pub(super) fn mark(&mut self, from: (i64, i64), to: (i64, i64)) {
        self.line(from, to, "below");
        self.line(from, to, "mark");
    }

    pub(super) fn text(&mut self, (x, y): (i64, i64), anchor: Anchor, class: &'static str, text: impl Into<String>) {
        self.shapes.push(Shape::Text { x, y, anchor, class, text: text.into() });
    }

    /// How high words over the plot may stand from `y` on, by rows of `step`, so that they touch none that are there.
    pub(super) fn clear_y(&self, (x, y): (i64, i64), anchor: Anchor, text: &str, step: i64) -> i64 {
        let taken: Vec<(Range<i64>, i64)> = self.shapes.iter().filter_map(over_plot).collect();
        let wide = reach(x, anchor, text);
        let touches = |y: i64| {
            let is_beside = |(other, at): &(Range<i64>, i64)| {
                other.start < wide.end && wide.start < other.end && (y - at).abs() < WORDS_APART
            };
            taken.iter().any(is_beside)
        };
        (0..ROWS_TRIED).map(|row| y + row * step).find(|y| !touches(*y)).unwrap_or(y + ROWS_TRIED * step)
    }

    /// The names of periods below their middles: of all, or of as many as have room.
    pub(super) fn names(&mut self, names: &[String]) {
        let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
        // As many as have room beside each other, whatever a language calls a day.
        let longest = names.iter().map(|name| letters(name)).max().unwrap_or(LETTER).saturating_add(NAMES_APART);
        let fit = usize::try_from((self.frame.right() - self.frame.left()) / longest).unwrap_or(1);
        let every = names.len().div_ceil(self.frame.labels_max().min(fit.max(1))).max(1);
        let y = self.bottom() + NAMES;
        for (at, name) in (0_i64..).zip(names) {
            if usize::try_from(at).is_ok_and(|at| at % every == 0) {
                let middle = i64::midpoint(self.x(at, count), self.x(at + 1, count));
                self.text((middle, y), Anchor::Middle, "", name);
            }
        }
    }

    /// The axis, which lies over what stands on it, the legend and the words.
    pub(super) fn finish(
        mut self,
        id: &'static str,
        title: String,
        description: String,
        note: Option<String>,
        legend: &[(Key, String)],
    ) -> Chart {
        let (left, right, bottom) = (self.frame.left(), self.frame.right(), self.bottom());
        self.line((left, bottom), (right, bottom), "axis");
        let foot = bottom + NAMES + FOOT;
        let height = keys(&mut self.shapes, self.frame, foot, legend);
        Chart { id, title, description, note, width: self.frame.width(), height, shapes: self.shapes }
    }
}

/// Draws the legend from `y` on, and returns where it ends.
pub(super) fn keys(shapes: &mut Vec<Shape>, frame: Frame, y: i64, legend: &[(Key, String)]) -> i64 {
    let (mut x, mut row) = (frame.legend_left(), y + ROW / 2);
    for (key, name) in legend {
        // Our own words are never too long.
        let name = if *key == Key::Mark { name.clone() } else { shortened(name) };
        let width = KEY_SIDE + 70 + letters(&name) + 260;
        if x > frame.legend_left() && x + width - 260 > frame.right() {
            (x, row) = (frame.legend_left(), row + ROW);
        }
        shapes.push(match *key {
            Key::Filled(paint) => {
                let key = Rect { x, y: row - KEY_SIDE + 20, width: KEY_SIDE, height: KEY_SIDE, paint };
                Shape::Bar { title: name.clone(), parts: vec![key] }
            }
            Key::Mark => Shape::Line { x1: x - 30, y1: row - 40, x2: x + KEY_SIDE + 30, y2: row - 40, class: "mark" },
        });
        shapes.push(Shape::Text { x: x + KEY_SIDE + 70, y: row, anchor: Anchor::Start, class: "name", text: name });
        x += width;
    }
    if legend.is_empty() { y } else { row + ROW / 2 }
}

/// Room that `text` takes, at least.
pub(super) fn letters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX).saturating_mul(LETTER)
}

/// `name`, or its beginning and a sign that it goes on.
pub(super) fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect()
}

/// Points as SVG writes them.
pub(super) fn points(of: &[(i64, i64)]) -> String {
    let pairs: Vec<String> = of.iter().map(|(x, y)| format!("{x},{y}")).collect();
    pairs.join(" ")
}

/// `part` of `whole` on a scale of `length`, rounded to the nearest unit.
pub(super) fn scaled(part: i64, whole: i64, length: i64) -> i64 {
    let whole = i128::from(whole.max(1));
    let exact = i128::from(part.max(0)) * i128::from(length) * 2 + whole;
    i64::try_from(exact / (whole * 2)).unwrap_or(length)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::credits::Credits;
    use proptest::prelude::*;

    proptest! {
        /// There is room for nine characters, so that none is cut off.
        #[test]
        fn the_labels_of_a_scale_are_short(highest in 1..=Credits::LIMIT.get()) {
            let step = round_step(highest);
            for locale in [Locale::EnGb, Locale::EnIn, Locale::DeCh] {
                for rule in 0..=RULES_MAX {
                    let label = scale_label(step * rule, step, locale);
                    prop_assert!(label.chars().count() <= 9, "{label}");
                }
            }
            prop_assert_eq!(scale_label(1_500_000_000, 500_000_000, Locale::EnIn), "1,500 M");
            prop_assert_eq!(scale_label(1_500_000, 500_000, Locale::EnIn), "15,00,000");
        }

        #[test]
        fn a_round_step_covers_the_highest_bar_in_a_few_steps(highest in 1..=i64::MAX) {
            let step = round_step(highest);
            prop_assert!(i128::from(step) * i128::from(RULES_MAX) >= i128::from(highest));
            prop_assert!(step == 1 || i128::from(step) * i128::from(RULES_MAX) < i128::from(highest) * 10);
        }

        #[test]
        fn what_there_is_lies_within_the_plot(most in 0..=i64::MAX, part in 0..=i64::MAX) {
            let plot = Plot::new(Frame::Narrow(Locale::default()), most, 0);
            let y = plot.y(part.min(most));
            prop_assert!((plot.top()..=plot.bottom()).contains(&y));
        }
    }

    #[test]
    fn a_legend_goes_on_in_the_next_row() {
        let names: Vec<(Key, String)> = Paint::SERIES
            .iter()
            .map(|paint| (Key::Filled(*paint), "a-name-of-many-letters-and-more".to_owned()))
            .collect();
        for (frame, rows) in [(Frame::PLAIN, 2), (Frame::Narrow(Locale::default()), 7)] {
            let mut shapes = Vec::new();
            assert_eq!(keys(&mut shapes, frame, 0, &names), rows * ROW);
            let fits = |shape: &Shape| match shape {
                Shape::Text { x, text, .. } => x + letters(text) <= frame.width() && text.ends_with('…'),
                _ => true,
            };
            assert!(shapes.iter().all(fits));
        }
    }
}
