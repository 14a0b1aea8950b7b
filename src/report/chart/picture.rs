//! A chart as SVG, and as a picture: SVG by the template of the page, PNG of the same SVG with a font of our own, so that a
//! picture does not depend on the machine that makes it.

use super::drawing::{Anchor, Chart, Frame, Shape};
use super::quick::{self, Stamp};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{self, fontdb};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tera::{Context, Tera};

/// The name ends in `.html`, which is what turns escaping on.
pub(in crate::report) const TEMPLATE_NAME: &str = "chart.svg.html";
pub(in crate::report) const TEMPLATE: &str = include_str!("../../../templates/chart.svg");

const FONTS: [&[u8]; 2] = [
    include_bytes!("../../../assets/fonts/Inter-Regular.ttf"),
    include_bytes!("../../../assets/fonts/Inter-SemiBold.ttf"),
];
const FAMILY: &str = "Inter";

/// How charts look, by the names of colours.
pub(in crate::report) const STYLE: &str = include_str!("../../../templates/chart.css");
pub(in crate::report) const STYLE_NAME: &str = "chart.css";

/// The colours of pictures: those of the page in light, on white.
const COLOURS: [(&str, &str); 14] = [
    ("--paper", "#ffffff"),
    ("--ink", "#1c1b19"),
    ("--soft", "#5f5c55"),
    ("--line", "#e5e1d8"),
    ("--mark", "#a3262a"),
    ("--free", "#1f7a6b"),
    ("--purchased", "#c07a1e"),
    ("--s1", "#2f66a8"),
    ("--s2", "#c4591b"),
    ("--s3", "#2e8548"),
    ("--s4", "#8a4a9c"),
    ("--s5", "#1a87a3"),
    ("--s6", "#94760a"),
    ("--s7", "#77736b"),
];

/// Hundredths of a dot for each unit: two dots for a pixel of a page, on screens of fine grain. A mail is shown larger and has half
/// again as many dots as pixels, which will do: each costs time a hundred thousand times.
pub(super) const FINENESS: i64 = 20;
/// The same as a factor.
const SCALE: f32 = 0.2;

/// Pixels for every hundred units. What is drawn for a mail is narrow and shown larger, for a phone makes it small again.
const fn pixels(frame: Frame) -> i64 {
    match frame {
        Frame::Wide(_) => 10,
        Frame::Narrow(_) => 13,
    }
}

/// Bars end where dots end: shades at their edges take time to draw and to compress, and nobody misses them.
const WHOLE_DOTS: &str = ".bar rect[class] { shape-rendering: crispEdges; }\n";
/// Units around a chart in a picture.
const MARGIN: i64 = 200;
/// Units for the title above it.
const HEAD: i64 = 340;
/// Where the title stands in the template.
const HEAD_AT: i64 = -190;
/// What a picture in a mail is edged with: its reader's paper may be dark, and white without an edge looks like a mistake there.
const EDGE: [u8; 3] = [0xc5, 0xc8, 0xce];
/// How wide that is.
const EDGE_DOTS: i64 = 3;
/// How round it is within; outside, the mail makes it so where the reader's program knows how.
const EDGE_RADIUS_DOTS: i64 = 9;
/// Words whose dots are kept, of some kilobytes each.
const STAMPS_MAX: usize = 2_000;

/// A chart as PNG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub png: Vec<u8>,
    /// What it says in words: its alternative text.
    pub description: String,
    /// Pixels in which it is to be shown; it has more dots.
    pub width: i64,
    /// Pixels in which it is to be shown.
    pub height: i64,
}

/// What goes wrong when a picture is made, which is a defect of creditd.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The drawing for a page that has a heading of its own.
pub(in crate::report) fn svg(chart: &Chart) -> Result<String, Broken> {
    static MADE: OnceLock<Tera> = OnceLock::new();
    let tera = match MADE.get() {
        Some(tera) => tera,
        None => {
            let mut tera = Tera::default();
            tera.add_raw_template(TEMPLATE_NAME, TEMPLATE)?;
            MADE.get_or_init(|| tera)
        }
    };
    Ok(tera.render(TEMPLATE_NAME, &Context::from_serialize(&View::bare(chart))?)?)
}

/// A chart as the template wants it.
#[derive(Serialize)]
pub(in crate::report) struct View<'a> {
    chart: &'a Chart,
    /// What its parts are called by: a page has the same chart wide and narrow.
    id: String,
    /// `wide` or `narrow`.
    width: &'static str,
    /// What stands above the chart in a picture.
    head: Option<&'a str>,
    view: Seen,
    /// The strokes that it uses.
    patterns: Vec<Pattern>,
}

/// The part of the drawing that is seen, in units.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Seen {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

#[derive(Serialize)]
struct Pattern {
    strokes: &'static str,
}

impl<'a> View<'a> {
    /// As it stands in a page, which has a heading and margins.
    pub(in crate::report) fn bare(chart: &'a Chart) -> View<'a> {
        let patterns = chart.strokes().into_iter().map(|strokes| Pattern { strokes }).collect();
        let width = if chart.width < Frame::PLAIN.width() { "narrow" } else { "wide" };
        let id = format!("{}-{width}", chart.id);
        View {
            chart,
            id,
            width,
            head: None,
            view: Seen { x: 0, y: 0, width: chart.width, height: chart.height },
            patterns,
        }
    }

    /// As it stands by itself.
    fn framed(chart: &'a Chart) -> View<'a> {
        let (width, height) = (chart.width + 2 * MARGIN, chart.height + 2 * MARGIN + HEAD);
        let view = Seen { x: -MARGIN, y: -MARGIN - HEAD, width, height };
        View { head: Some(chart.title()), view, ..View::bare(chart) }
    }
}

/// The picture of `chart`, which was drawn for `frame`, on white, with its title.
///
/// # Errors
/// A defect of creditd: every chart has a picture.
pub fn png(chart: &Chart, frame: Frame) -> Result<Picture, Broken> {
    let seen = View::framed(chart).view;
    let mut dotted = match quickly(chart, seen)? {
        Some(dotted) => dotted,
        None => by_svg(chart)?,
    };
    if matches!(frame, Frame::Narrow(_)) {
        quick::edge(&mut dotted, EDGE, EDGE_DOTS, EDGE_RADIUS_DOTS);
    }
    let (width, height) = (seen.width * pixels(frame) / 100, seen.height * pixels(frame) / 100);
    let png = super::dots::png(&dotted, &tools()?.colours)?;
    Ok(Picture { png, description: chart.description().to_owned(), width, height })
}

/// White, with room for all that is seen.
fn blank(seen: Seen) -> Result<Pixmap, Broken> {
    let dots = |units: i64| u32::try_from((units * FINENESS).div_euclid(100)).unwrap_or(0);
    let mut blank = Pixmap::new(dots(seen.width), dots(seen.height)).ok_or("a picture without dots")?;
    blank.fill(Color::WHITE);
    Ok(blank)
}

/// The dots of any chart.
fn by_svg(chart: &Chart) -> Result<Pixmap, Broken> {
    let view = View::framed(chart);
    let mut dotted = blank(view.view)?;
    let transform = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree(&view)?, transform, &mut dotted.as_mut());
    Ok(dotted)
}

fn tree(view: &View) -> Result<usvg::Tree, Broken> {
    let tools = tools()?;
    let svg = tools.tera.render(TEMPLATE_NAME, &Context::from_serialize(view)?)?;
    Ok(usvg::Tree::from_str(&svg, &tools.options)?)
}

/// The same of a chart that can be drawn without its SVG.
fn quickly(chart: &Chart, seen: Seen) -> Result<Option<Pixmap>, Broken> {
    let Some(dotted) = quick::draw(chart, seen, blank(seen)?, stamp)? else { return Ok(None) };
    let head = Shape::Text { x: 0, y: HEAD_AT, anchor: Anchor::Start, class: "head", text: chart.title().to_owned() };
    let head = Chart { shapes: vec![head], ..chart.clone() };
    quick::draw(&head, seen, dotted, stamp)
}

/// The dots of words. Those of days, levels and scales are the same in most charts.
fn stamp(text: &Shape) -> Result<Arc<Stamp>, Broken> {
    static STAMPS: Mutex<BTreeMap<Shape, Arc<Stamp>>> = Mutex::new(BTreeMap::new());
    let key = match text.clone() {
        Shape::Text { anchor, class, text, .. } => Shape::Text { x: 0, y: 0, anchor, class, text },
        other => other,
    };
    let stamps = || STAMPS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = stamps().get(&key) {
        return Ok(Arc::clone(known));
    }
    let made = Arc::new(new_stamp(&key)?);
    let mut stamps = stamps();
    if stamps.len() >= STAMPS_MAX {
        stamps.clear();
    }
    stamps.insert(key, Arc::clone(&made));
    Ok(made)
}

/// Words at 0, 0.
fn new_stamp(text: &Shape) -> Result<Stamp, Broken> {
    let chart = Chart { id: "words", shapes: vec![text.clone()], width: 100, height: 100, ..Chart::default() };
    let tree = tree(&View::bare(&chart))?;
    let bounds = tree.root().abs_layer_bounding_box();
    #[expect(clippy::cast_possible_truncation, reason = "a chart has some thousand dots")]
    let [left, top, right, bottom] = [
        (bounds.left() * SCALE).floor(),
        (bounds.top() * SCALE).floor(),
        (bounds.right() * SCALE).ceil(),
        (bounds.bottom() * SCALE).ceil(),
    ]
    .map(|edge| edge as i16);
    let side = |from: i16, to: i16| u32::try_from(i32::from(to) - i32::from(from) + 2).unwrap_or(1);
    let mut dots = Pixmap::new(side(left, right), side(top, bottom)).ok_or("words without dots")?;
    let transform = Transform::from_row(SCALE, 0.0, 0.0, SCALE, 1.0 - f32::from(left), 1.0 - f32::from(top));
    resvg::render(&tree, transform, &mut dots.as_mut());
    Ok(Stamp { dots, left: i64::from(left) - 1, top: i64::from(top) - 1 })
}

/// The colour of pictures that has this name.
pub(super) fn colour(name: &str) -> Option<[u8; 3]> {
    let (_, value) = COLOURS.iter().find(|(known, _)| *known == name)?;
    let [_, red, green, blue] = u32::from_str_radix(value.trim_start_matches('#'), 16).ok()?.to_be_bytes();
    Some([red, green, blue])
}

/// What every picture is made with, made once.
struct Tools {
    tera: Tera,
    options: usvg::Options<'static>,
    /// [`COLOURS`] as numbers.
    colours: Vec<u32>,
}

fn tools() -> Result<&'static Tools, Broken> {
    static MADE: OnceLock<Tools> = OnceLock::new();
    if let Some(tools) = MADE.get() {
        return Ok(tools);
    }
    let mut tera = Tera::default();
    tera.add_raw_template(TEMPLATE_NAME, TEMPLATE)?;
    let options = usvg::Options {
        fontdb: Arc::new(fonts()),
        font_family: FAMILY.to_owned(),
        style_sheet: Some(style()),
        ..usvg::Options::default()
    };
    let colour = |(_, value): &(&str, &str)| u32::from_str_radix(value.trim_start_matches('#'), 16);
    let colours = COLOURS.iter().map(colour).collect::<Result<_, _>>()?;
    Ok(MADE.get_or_init(|| Tools { tera, options, colours }))
}

/// [`STYLE`] with the colours and the font of pictures.
fn style() -> String {
    let fill = |style: String, (name, value): &(&str, &str)| style.replace(&format!("var({name})"), value);
    COLOURS.iter().chain(&[("--sans", FAMILY)]).fold(STYLE.to_owned() + WHOLE_DOTS, fill)
}

/// Our fonts and no others.
fn fonts() -> fontdb::Database {
    let mut all = fontdb::Database::new();
    FONTS.iter().for_each(|font| all.load_font_data(font.to_vec()));
    all
}

#[cfg(test)]
mod tests {
    use super::super::testing::{marked, marked_at};
    use super::super::{Subject, chart, charts};
    use super::*;
    use crate::core::locale::Locale;
    use crate::core::statement::{Breakdown, Grouping};
    use crate::report::testing::usage;
    use resvg::tiny_skia::PremultipliedColorU8;

    const PAGE: &str = include_str!("../../../templates/report.html");

    fn dots(picture: &Picture, colour: &str) -> usize {
        let part = |at: usize| u8::from_str_radix(&colour[at..at + 2], 16).expect("a colour");
        let (red, green, blue) = (part(1), part(3), part(5));
        let dotted = Pixmap::decode_png(&picture.png).expect("PNG");
        assert!(i64::from(dotted.width()) * 2 >= picture.width * 3);
        assert_eq!(i64::from(dotted.height()) / picture.height, i64::from(dotted.width()) / picture.width);
        dotted.pixels().iter().filter(|dot| (dot.red(), dot.green(), dot.blue()) == (red, green, blue)).count()
    }

    fn colour(name: &str) -> &'static str {
        COLOURS.iter().find(|(known, _)| *known == name).expect("a colour").1
    }

    #[test]
    fn every_chart_has_a_picture_with_its_colours_and_letters() {
        let model = marked_at(700, 7, 360, 5_000);
        for (frame, width) in [(Frame::PLAIN, 1_040), (Frame::Narrow(Locale::default()), 520)] {
            for chart in [Subject::Consumption, Subject::Balance, Subject::Forecast].map(|of| chart(&model, of, frame))
            {
                let chart = chart.expect("a chart");
                let picture = png(&chart, frame).expect("a picture");
                assert_eq!((picture.width, picture.description.as_str()), (width, chart.description()));
                assert_eq!(picture, png(&chart, frame).expect("a picture"), "the same chart gives the same bytes");
                for name in ["--free", "--purchased", "--ink"] {
                    assert!(dots(&picture, colour(name)) > 100, "{name} in {}", chart.title());
                }
                assert!(picture.png.len() < 60_000, "{} bytes of a mail", picture.png.len());
            }
        }
    }

    /// However it is drawn, a chart is the same to the eye: bars to the dot, and words moved by a part of one.
    #[test]
    fn what_is_drawn_quickly_is_what_its_svg_shows() {
        for frame in [Frame::PLAIN, Frame::Narrow(Locale::DeDe)] {
            let drawn = chart(&marked(), Subject::Consumption, frame).expect("a chart");
            let slow = by_svg(&drawn).expect("dots");
            let quick =
                quickly(&drawn, View::framed(&drawn).view).expect("dots").expect("it has bars, lines and words");
            let of = |dots: &Pixmap, name| {
                let [red, green, blue] = super::colour(name).expect("a colour");
                let is = |dot: &&PremultipliedColorU8| (dot.red(), dot.green(), dot.blue()) == (red, green, blue);
                dots.pixels().iter().filter(is).count()
            };
            assert_eq!(of(&slow, "--free"), of(&quick, "--free"));
            let pairs = slow.data().iter().zip(quick.data());
            let apart = pairs.filter(|(one, other)| one.abs_diff(**other) > 48).count() / 3;
            assert!(apart * 200 < slow.pixels().len(), "{apart} of {} dots differ", slow.pixels().len());
            assert_ne!(apart, 0, "words are not moved");
        }
    }

    #[test]
    fn groups_have_colours_of_their_own() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let model = usage(("2026-03-01", "2026-04-01"), Grouping::Day, Breakdown::Action, &names);
        let picture =
            png(&chart(&model, Subject::Breakdown, Frame::PLAIN).expect("a chart"), Frame::PLAIN).expect("a picture");
        for name in ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7"] {
            assert!(dots(&picture, colour(name)) > 500, "{name}");
        }
    }

    #[test]
    fn pictures_have_the_colours_of_the_page_and_need_no_others() {
        for (name, value) in COLOURS.iter().filter(|(name, _)| *name != "--paper") {
            assert!(PAGE.contains(&format!("{name}: {value};")), "{name}");
        }
        assert!(!style().contains("var("), "{}", style());
    }

    /// The same thing is the same colour wherever a mail shows it.
    #[test]
    fn mails_have_the_colours_of_their_charts() {
        let mail = include_str!("../../../templates/mail/low-credit.html");
        for name in ["--free", "--purchased"] {
            assert_eq!(mail.matches(&format!("color=\"{}\"", colour(name))).count(), 2, "{name}");
        }
    }

    /// Whole on all sides, also where it is round.
    #[test]
    fn a_picture_in_a_mail_has_an_edge() {
        let frame = Frame::Narrow(Locale::default());
        let picture = png(&chart(&marked(), Subject::Consumption, frame).expect("a chart"), frame).expect("a picture");
        let dotted = Pixmap::decode_png(&picture.png).expect("PNG");
        let (right, bottom) = (dotted.width() - 1, dotted.height() - 1);
        let at = |x, y| dotted.pixel(x, y).map(|dot| [dot.red(), dot.green(), dot.blue()]).expect("a dot");
        let corner = at(0, 0);
        for (x, y) in [(right, 0), (0, bottom), (right, bottom), (right / 2, 2), (2, bottom / 2), (4, 4)] {
            assert_eq!(at(x, y), corner, "{x}, {y}");
        }
        for (x, y) in [(3, bottom / 2), (right / 2, 3), (12, 12)] {
            assert_eq!(at(x, y), [255; 3], "{x}, {y}");
        }
    }

    fn svg(drawn: &Chart) -> String {
        let mut tera = Tera::default();
        tera.add_raw_template(TEMPLATE_NAME, TEMPLATE).expect("a template");
        tera.render(TEMPLATE_NAME, &Context::from_serialize(&View::bare(drawn)).expect("values")).expect("it renders")
    }

    #[test]
    fn names_are_escaped() {
        let model = usage(("2026-03-01", "2026-04-01"), Grouping::Day, Breakdown::User, &["<b>eve</b>", "&\"'"]);
        for drawn in charts(&model, Frame::PLAIN) {
            let svg = svg(&drawn);
            assert!(!svg.contains("<b>") && svg.contains("&lt;b&gt;eve"), "{svg}");
            png(&drawn, Frame::PLAIN).expect("it is SVG");
        }
    }

    #[test]
    fn a_drawing_names_itself_and_all_that_it_is_drawn_with() {
        let drawings = charts(&marked(), Frame::Narrow(Locale::default()))
            .into_iter()
            .chain(charts(&marked_at(700, 7, 9, 9), Frame::PLAIN));
        for drawn in drawings {
            let svg = svg(&drawn);
            let id = View::bare(&drawn).id;
            let says = format!("<desc id=\"{id}-says\">{}</desc>", drawn.description);
            assert!(svg.contains(" role=\"img\" ") && svg.contains(&says), "{svg}");
            let classes = svg.split(" class=\"").skip(1).filter_map(|rest| rest.split('"').next());
            for class in classes
                .flat_map(|classes| classes.split(' '))
                .filter(|class| !["bar", "wide", "narrow"].contains(class))
            {
                assert!(STYLE.contains(&format!(".{class} ")), "{class} has no look");
            }
            let used = svg.split("url(#").skip(1).filter_map(|rest| rest.split(')').next());
            used.for_each(|id| assert!(svg.contains(&format!("<pattern id=\"{id}\"")), "{id}"));
        }
    }
}
