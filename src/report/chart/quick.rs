//! Charts of bars, straight lines and words as dots, without the SVG between: statements have one each, a hundred thousand at
//! a time.
//!
//! What is drawn and how it looks is that of the SVG (`templates/chart.svg`, `templates/chart.css`), but for words, which
//! begin at whole dots: those of one kind are then the same dots wherever they stand, and are drawn once for all charts. What has
//! other shapes is drawn by way of its SVG.

use super::drawing::{Chart, Rect, Shape};
use super::picture::{FINENESS, STYLE, Seen, colour};
use resvg::tiny_skia::{Pixmap, PremultipliedColorU8};
use std::ops::Range;
use std::sync::Arc;

/// Units from one rising stroke to the next, along either side.
const STROKES_EVERY: i64 = 70;
/// Half of what a stroke takes of that, in tenths of a unit: 14 wide, it lies across.
const STROKE_HALF_TENTHS: i64 = 99;
/// Dots after which strokes repeat.
const PATTERN: usize = 14;
const _: () = assert!(PATTERN == 14 && 14 * 100 == STROKES_EVERY * FINENESS);
/// Places along a dot at which it is asked whether they lie in a stroke.
const SAMPLES: i64 = 8;
/// Full cover of a dot.
const FULL: i64 = 10_000;

/// Red, green and blue.
type Colour = [u8; 3];

/// Words as dots, and where they lie from the point at which they are.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) dots: Pixmap,
    pub(super) left: i64,
    pub(super) top: i64,
}

/// What is drawn on.
struct Canvas {
    dots: Pixmap,
    seen: Seen,
    /// How much of a dot lies in a rising stroke, by the sum of its places from the left and from above, of which every
    /// fourteenth is the same.
    strokes: [i64; PATTERN],
}

/// The dots of `chart` on `blank`; `None` where it has other shapes, which only its SVG draws. `stamp` makes those of words, of their
/// class and by where they are anchored.
pub(super) fn draw<Broken>(
    chart: &Chart,
    seen: Seen,
    blank: Pixmap,
    mut stamp: impl FnMut(&Shape) -> Result<Arc<Stamp>, Broken>,
) -> Result<Option<Pixmap>, Broken> {
    let mut canvas = Canvas { dots: blank, seen, strokes: rising(seen) };
    for shape in &chart.shapes {
        let drawn = match shape {
            Shape::Bar { parts, .. } => parts.iter().try_for_each(|part| canvas.bar(part)),
            Shape::Line { x1, y1, x2, y2, class } => canvas.line((*x1, *y1), (*x2, *y2), class),
            Shape::Text { x, y, .. } => {
                let stamp = stamp(shape)?;
                canvas.put(&stamp, (*x, *y));
                Some(())
            }
            Shape::Area { .. } | Shape::Stroke { .. } => None,
        };
        if drawn.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(canvas.dots))
}

/// Edges `dots`, so wide and so round within.
pub(super) fn edge(dots: &mut Pixmap, ink: Colour, wide: i64, radius: i64) {
    let (width, height) = (i64::from(dots.width()), i64::from(dots.height()));
    let Some(ink) = PremultipliedColorU8::from_rgba(ink[0], ink[1], ink[2], 255) else { return };
    // In parts of a dot, by places in the middle of such a part: how far one lies from where the corner's arc has its middle.
    let beyond = |at: i64, length: i64| {
        let at = 2 * at + 1;
        let (near, far) = ((wide + radius) * 2 * SAMPLES, (length - wide - radius) * 2 * SAMPLES);
        (near - at).max(at - far).max(0)
    };
    let is_out = |x: i64, y: i64| {
        let (x, y, radius) = (beyond(x, width), beyond(y, height), radius * 2 * SAMPLES);
        x * x + y * y > radius * radius
    };
    let places = |x: i64, y: i64| {
        (0..SAMPLES).flat_map(move |at| (0..SAMPLES).map(move |of| (x * SAMPLES + at, y * SAMPLES + of)))
    };
    let (straight_x, straight_y) = (wide + radius..width - wide - radius, wide + radius..height - wide - radius);
    let is_edge = |x: i64, y: i64| !(wide..width - wide).contains(&x) || !(wide..height - wide).contains(&y);
    for (y, row) in (0_i64..).zip(dots.pixels_mut().chunks_exact_mut(usize::try_from(width).unwrap_or(1).max(1))) {
        for (x, dot) in (0_i64..).zip(row) {
            // Only corners have dots that are covered in part.
            match straight_x.contains(&x) || straight_y.contains(&y) {
                true if is_edge(x, y) => *dot = ink,
                true => {}
                false => {
                    let out = places(x, y).filter(|(x, y)| is_out(*x, *y)).count();
                    *dot = mixed(ink, *dot, i64::try_from(out).unwrap_or(0) * FULL / (SAMPLES * SAMPLES));
                }
            }
        }
    }
}

/// What the style says of a property of a class.
fn declared(class: &str, property: &str) -> Option<&'static str> {
    let (_, rest) = STYLE.split_once(&format!(".{class} {{"))?;
    let (block, _) = rest.split_once('}')?;
    block.split(';').find_map(|declared| declared.trim().strip_prefix(property)?.strip_prefix(':').map(str::trim))
}

/// The colour that the style names for a property of a class.
fn coloured(class: &str, property: &str) -> Option<Colour> {
    colour(declared(class, property)?.strip_prefix("var(")?.strip_suffix(')')?)
}

impl Canvas {
    /// Hundredths of a dot from the left.
    const fn across(&self, x: i64) -> i64 {
        (x - self.seen.x) * FINENESS
    }

    /// Hundredths of a dot from above.
    const fn down(&self, y: i64) -> i64 {
        (y - self.seen.y) * FINENESS
    }

    /// A bar: those dots whose middle lies in it.
    fn bar(&mut self, rect: &Rect) -> Option<()> {
        let fill = coloured(rect.paint.class(), "fill")?;
        let middles = |from: i64, to: i64| ((from + 49).div_euclid(100), (to + 49).div_euclid(100));
        let x = middles(self.across(rect.x), self.across(rect.x + rect.width));
        let y = middles(self.down(rect.y), self.down(rect.y + rect.height));
        match rect.paint.strokes() {
            None => self.fill(x, y, fill),
            Some("rising") => {
                self.fill(x, y, fill);
                let (paper, strokes) = (coloured("stroke", "stroke")?, self.strokes);
                self.cover(x, y, paper, |x, y| strokes[(x + y) % PATTERN]);
            }
            Some(_) => return None,
        }
        Some(())
    }

    /// A line that is level or upright, whole or in dashes.
    fn line(&mut self, from: (i64, i64), to: (i64, i64), class: &str) -> Option<()> {
        let ink = coloured(class, "stroke")?;
        let half = declared(class, "stroke-width")?.parse::<i64>().ok()? / 2;
        let opacity = declared(class, "opacity").map_or(Some(1.0), |text| format!("0{text}").parse::<f64>().ok())?;
        let dashes = match declared(class, "stroke-dasharray") {
            None => None,
            Some(dashes) => {
                let (on, off) = dashes.split_once(' ')?;
                Some((on.parse::<i64>().ok()?, off.parse::<i64>().ok()?))
            }
        };
        let is_level = from.1 == to.1;
        let (begin, end) = if is_level { (from.0, to.0) } else { (from.1, to.1) };
        if (!is_level && from.0 != to.0) || begin > end {
            return None;
        }
        let (on, off) = dashes.unwrap_or((end - begin, 0));
        let mut at = begin;
        while at < end {
            let to = (at + on).min(end);
            match is_level {
                true => self.rect((at, to), (from.1 - half, from.1 + half), ink, opacity),
                false => self.rect((from.0 - half, from.0 + half), (at, to), ink, opacity),
            }
            at += (on + off).max(1);
        }
        Some(())
    }

    /// A rectangle of units, whose edges cover a part of a dot.
    fn rect(&mut self, x: (i64, i64), y: (i64, i64), ink: Colour, opacity: f64) {
        let (left, right) = (self.across(x.0), self.across(x.1));
        let (top, bottom) = (self.down(y.0), self.down(y.1));
        let covered = |at: usize, from: i64, to: i64| {
            let at = i64::try_from(at).unwrap_or(0) * 100;
            (to.min(at + 100) - from.max(at)).max(0)
        };
        #[expect(clippy::cast_possible_truncation, reason = "a part of one")]
        let opacity = (opacity * 100.0) as i64;
        let whole = |from: i64, to: i64| (from.div_euclid(100), (to + 99).div_euclid(100));
        self.cover(whole(left, right), whole(top, bottom), ink, |x, y| {
            covered(x, left, right) * covered(y, top, bottom) * opacity / 100
        });
    }

    /// Covers these dots with `ink`.
    fn fill(&mut self, x: (i64, i64), y: (i64, i64), ink: Colour) {
        let width = self.dots.width() as usize;
        let (columns, rows) = (within(x, self.dots.width()), within(y, self.dots.height()));
        let full = PremultipliedColorU8::from_rgba(ink[0], ink[1], ink[2], 255);
        let (Some(full), pixels) = (full, self.dots.pixels_mut()) else { return };
        rows.for_each(|row| pixels[row * width..][columns.clone()].fill(full));
    }

    /// Covers these dots with `ink`, each as much as is said.
    fn cover(&mut self, x: (i64, i64), y: (i64, i64), ink: Colour, cover: impl Fn(usize, usize) -> i64) {
        let width = self.dots.width() as usize;
        let (columns, rows) = (within(x, self.dots.width()), within(y, self.dots.height()));
        let full = PremultipliedColorU8::from_rgba(ink[0], ink[1], ink[2], 255);
        let (Some(full), pixels) = (full, self.dots.pixels_mut()) else { return };
        for row in rows {
            for (column, dot) in columns.clone().zip(&mut pixels[row * width..][columns.clone()]) {
                match cover(column, row) {
                    FULL => *dot = full,
                    0 => {}
                    part => *dot = mixed(full, *dot, part),
                }
            }
        }
    }

    /// Puts words where they belong, to the nearest dot.
    fn put(&mut self, stamp: &Stamp, (x, y): (i64, i64)) {
        let nearest = |hundredths: i64| (hundredths + 50).div_euclid(100);
        let (left, top) = (nearest(self.across(x)) + stamp.left, nearest(self.down(y)) + stamp.top);
        let (width, height) = (i64::from(self.dots.width()), i64::from(self.dots.height()));
        let stamp_width = i64::from(stamp.dots.width());
        let (from, to) = ((-left).clamp(0, stamp_width), (width - left).clamp(0, stamp_width));
        for (row, words) in (top..).zip(stamp.dots.pixels().chunks_exact(stamp.dots.width() as usize)) {
            if !(0..height).contains(&row) {
                continue;
            }
            let span = |at: i64| usize::try_from(at).unwrap_or(0);
            let words = &words[span(from)..span(to.max(from))];
            let begin = span(row * width + left + from);
            for (dot, word) in self.dots.pixels_mut()[begin..].iter_mut().zip(words) {
                match word.alpha() {
                    0 => {}
                    255 => *dot = *word,
                    _ => *dot = over(*word, *dot),
                }
            }
        }
    }
}

/// Those of the dots `from..to` that there are.
fn within((from, to): (i64, i64), most: u32) -> Range<usize> {
    let cut = |at: i64| usize::try_from(at.clamp(0, i64::from(most))).unwrap_or(0);
    cut(from)..cut(to).max(cut(from))
}

/// How much of each dot lies in a stroke.
fn rising(seen: Seen) -> [i64; PATTERN] {
    std::array::from_fn(|sum| {
        let sum = i64::try_from(sum).unwrap_or(0);
        let samples = (0..SAMPLES).flat_map(|x| (0..SAMPLES).map(move |y| x + y));
        let is_in = |sample: &i64| {
            // In tenths of a unit; the middle of a sample lies half of one further on each side.
            let at = (sum * SAMPLES + sample + 1) * 1_000 / (FINENESS * SAMPLES) + (seen.x + seen.y) * 10;
            let apart = at.rem_euclid(STROKES_EVERY * 10);
            apart.min(STROKES_EVERY * 10 - apart) <= STROKE_HALF_TENTHS
        };
        i64::try_from(samples.filter(is_in).count()).unwrap_or(0) * FULL / (SAMPLES * SAMPLES)
    })
}

/// `part` of [`FULL`] of `ink` on a dot.
fn mixed(ink: PremultipliedColorU8, dot: PremultipliedColorU8, part: i64) -> PremultipliedColorU8 {
    let mix = |ink: u8, dot: u8| {
        let sum = i64::from(ink) * part + i64::from(dot) * (FULL - part) + FULL / 2;
        u8::try_from(sum / FULL).unwrap_or(u8::MAX)
    };
    let [red, green, blue] =
        [(ink.red(), dot.red()), (ink.green(), dot.green()), (ink.blue(), dot.blue())].map(|(ink, dot)| mix(ink, dot));
    PremultipliedColorU8::from_rgba(red, green, blue, 255).unwrap_or(dot)
}

/// What lies above, which may be seen through, on what is opaque.
fn over(above: PremultipliedColorU8, below: PremultipliedColorU8) -> PremultipliedColorU8 {
    let rest = 255 - u32::from(above.alpha());
    let mix = |above: u8, below: u8| {
        u8::try_from(u32::from(above) + (u32::from(below) * rest + 127) / 255).unwrap_or(u8::MAX)
    };
    let (red, green) = (mix(above.red(), below.red()), mix(above.green(), below.green()));
    PremultipliedColorU8::from_rgba(red, green, mix(above.blue(), below.blue()), 255).unwrap_or(below)
}
