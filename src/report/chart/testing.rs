//! Reports with marks, and looks into drawings, for the tests of charts.

use super::drawing::{Chart, Rect, Shape};
use crate::core::calendar::{Calendar, Instant, Terms, parse_zone};
use crate::core::credits::{Credits, Split};
use crate::core::forecast::{DailyUse, ForecastInput, GrantLeft};
use crate::core::statement::{Ahead, Grouping, Marks, ReportModel, Scope};
use crate::report::testing::report;

/// March 2026 by day, of one account with the usual levels.
pub(super) fn marked() -> ReportModel {
    let model = report("t", "2026-03-01", "2026-04-01", Grouping::Day, Scope::Account, &["a"]);
    let level = |name: &str, credits| (name.parse().expect("a name"), Credits::new(credits));
    let levels = vec![level("ample", 5_000), level("low", 3_050), level("critical", 2_950), level("exhausted", 0)];
    let marks = Marks { month: "2026-03".parse().ok(), allowance: Credits::new(1_500), levels, ahead: None };
    ReportModel { marks: Some(marks), ..model }
}

/// The same as it is read on 20 March at noon, with this used in the days before and these credits left.
pub(super) fn marked_at(used: i64, history_days: i64, free: i64, purchased: i64) -> ReportModel {
    marked_with(used, history_days, (free, purchased), &[])
}

/// The same, of which these are used first.
pub(super) fn marked_with(
    used: i64,
    history_days: i64,
    (free, purchased): (i64, i64),
    grants: &[GrantLeft],
) -> ReportModel {
    let now = "2026-03-20T11:00:00Z".parse().expect("an instant");
    let calendar = Calendar::new(Terms {
        from: "2026-01".parse().expect("a month"),
        zone: parse_zone("Europe/Berlin").expect("a zone"),
        allowance: Credits::new(1_500),
    });
    let mut daily = DailyUse::unused(&calendar, Instant::plus_days(now, -history_days), now);
    daily.add(now, Credits::new(used));
    let input = ForecastInput {
        calendar: &calendar,
        daily: &daily,
        now,
        available: Split { free: Credits::new(free), purchased: Credits::new(purchased) },
        grants,
        next_reset_at: "2026-03-31T22:00:00Z".parse().expect("an instant"),
        pack_credits: None,
    };
    let model = marked();
    let marks = model.marks.map(|marks| Marks { ahead: Some(Ahead::new(&input)), ..marks });
    ReportModel { marks, ..model }
}

/// The words of one class, in the order in which they are drawn.
pub(super) fn texts(chart: &Chart, of: &str) -> Vec<String> {
    let text = |shape: &Shape| match shape {
        Shape::Text { class, text, .. } if *class == of => Some(text.clone()),
        _ => None,
    };
    chart.shapes.iter().filter_map(text).collect()
}

/// The parts of a bar.
pub(super) fn rects(shape: &Shape) -> Vec<Rect> {
    match shape {
        Shape::Bar { parts, .. } => parts.clone(),
        _ => Vec::new(),
    }
}
