//! The balance of the month that it is, and how it goes on at the pace of the last days: what is drawn after now is what will
//! be there if nothing changes. Where there is not enough history for a pace, there is no such chart, and the balance says so.

use super::balance::{areas, between, legend, levels, steps};
use super::drawing::{Anchor, Chart, Frame, Paint, Plot, ROW, Shape, letters, points};
use crate::core::calendar::Month;
use crate::core::credits::Split;
use crate::core::forecast::Outlook;
use crate::core::locale::Locale;
use crate::core::statement::{Ahead, Grouping, LocalTime, ReportModel};
use chrono::{NaiveTime, Timelike};

const SECONDS_PER_DAY: i64 = 86_400;

pub(super) fn chart(model: &ReportModel, frame: Frame) -> Option<Chart> {
    let locale = frame.locale();
    let marks = model.marks.as_ref().filter(|_| model.spec.grouping() == Grouping::Day)?;
    let (month, ahead) = (marks.month?, marks.ahead.as_ref()?);
    let left = ahead.forecast.left?;
    let known = steps(model)?;
    let first = month.first_day();
    let days = (month.next().first_day() - first).num_days();
    let second = |at: LocalTime| {
        let day = (at.date() - first).num_days();
        (day * SECONDS_PER_DAY + i64::from(at.time().num_seconds_from_midnight())).clamp(0, days * SECONDS_PER_DAY)
    };
    let most = known.iter().map(|step| step.free.saturating_add(step.purchased)).chain([ahead.available.total().get()]);
    let mut plot = Plot::new(frame, most.max().unwrap_or(0), 1);
    let x = |plot: &Plot, at: LocalTime| plot.x(second(at), days * SECONDS_PER_DAY);
    let now = x(&plot, ahead.now);
    let end = plot.frame.right();
    // The day that it is ends now, as far as is known.
    let begins = known.iter().map(|step| x(&plot, step.range.from()).min(now));
    let edges: Vec<i64> = begins.chain([now]).collect();
    areas(&mut plot, &known, &edges);
    go_on(&mut plot, ahead, left, end, |plot, at| x(plot, at));
    levels(&mut plot, marks);
    plot.line((now, plot.top() - 260), (now, plot.bottom()), "now");
    let label = format!("now: {}", locale.number(ahead.available.total().get()));
    let fits = now + 60 + letters(&label) <= plot.frame.right();
    let (at, anchor) = if fits { (now + 60, Anchor::Start) } else { (now - 60, Anchor::End) };
    plot.text((at, plot.top() - 190), anchor, "signed", label);
    if let Some(out) = ahead.runs_out.filter(|_| ahead.forecast.outlook != Outlook::Empty) {
        let how = if ahead.forecast.lapse { "run out" } else { "used up" };
        let (at, label) = (x(&plot, out), format!("{how} {}", reckoned(out, ahead.now, "", locale)));
        let fits = at + 60 + letters(&label) <= plot.frame.right();
        let (word_x, anchor) = if fits { (at + 60, Anchor::Start) } else { (at - 60, Anchor::End) };
        let y = plot.clear_y((word_x, plot.top() + 260), anchor, &label, ROW / 4);
        plot.mark((at, y - 60), (at, plot.bottom()));
        plot.text((word_x, y), anchor, "marked", label);
    }
    let names: Vec<String> =
        first.iter_days().take(usize::try_from(days).unwrap_or(0)).map(|day| locale.short_day(day)).collect();
    plot.names(&names);
    let month_name = first.format("%B %Y");
    Some(plot.finish(
        "forecast",
        format!("Forecast to the end of {month_name}"),
        description(ahead, left, month, locale),
        None,
        &legend(),
    ))
}

/// What is left from now to the month's end, credits used in the order in which they are.
fn go_on(plot: &mut Plot, ahead: &Ahead, left: Split, end: i64, x: impl Fn(&Plot, LocalTime) -> i64) {
    let turn = |x: i64, left: Split| (x, left.free.get(), left.purchased.get());
    let mut turns = vec![turn(x(plot, ahead.now), ahead.available)];
    turns.extend(ahead.turns.iter().map(|(at, left)| turn(x(plot, *at), *left)));
    turns.push(turn(end, left));
    let line = |of: fn(i64, i64) -> i64| -> Vec<(i64, i64)> {
        turns.iter().map(|(x, free, purchased)| (*x, plot.y(of(*free, *purchased)))).collect()
    };
    let (zero, free, both) = (line(|_, _| 0), line(|free, _| free), line(i64::saturating_add));
    between(plot, &zero, &free, Paint::FREE_AHEAD);
    between(plot, &free, &both, Paint::PURCHASED_AHEAD);
    plot.shapes.push(Shape::Stroke { points: points(&both), class: "guess", title: None });
}

/// `21 March, 12:00`.
fn told(at: LocalTime, locale: Locale) -> String {
    format!("{}, {}", locale.day(at.date()), locale.time(at.time()))
}

/// `on 21 March, 12:00` for half past twelve, too: what is only reckoned is told to the hour, as in the sentences beside the chart.
/// The hour that it is began in the past.
fn reckoned(at: LocalTime, now: LocalTime, on: &str, locale: Locale) -> String {
    let is_this_hour = at.date() == now.date() && at.time().hour() == now.time().hour();
    if is_this_hour {
        return "within the hour".to_owned();
    }
    let hour = NaiveTime::from_hms_opt(at.time().hour(), 0, 0).unwrap_or(at.time());
    format!("{on}{}, {}", locale.day(at.date()), locale.time(hour))
}

fn description(ahead: &Ahead, left: Split, month: Month, locale: Locale) -> String {
    let there = ahead.available;
    let [free, purchased] = [there.free, there.purchased].map(|credits| locale.number(credits.get()));
    let total = there.total().get();
    let (are, credits) = if total == 1 { ("is", "credit") } else { ("are", "credits") };
    let (now, total) = (told(ahead.now, locale), locale.number(total));
    let mut said = format!("On {now} there {are} {total} {credits}, {free} free and {purchased} purchased.");
    let pace = ahead.forecast.pace_per_day.map_or(0, |pace| pace.get());
    let window = ahead.forecast.pace_window();
    let end = month.first_day().format("%B");
    let (free, purchased) = (locale.number(left.free.get()), locale.number(left.purchased.get()));
    match (ahead.forecast.outlook, ahead.free_runs_out, ahead.runs_out) {
        (Outlook::Empty, ..) => said += " None are left, so that there is nothing to foresee.",
        (_, _, Some(out)) if ahead.forecast.lapse => {
            said += &format!(
                " At the pace of the {window}, {} a day, they run out {}, when the last of the bonus credits lapse.",
                locale.number(pace),
                reckoned(out, ahead.now, "on ", locale)
            );
        }
        (_, _, Some(out)) => {
            said += &format!(
                " At the pace of the {window}, {} a day, all are used up {}.",
                locale.number(pace),
                reckoned(out, ahead.now, "on ", locale)
            );
        }
        (Outlook::Unknown, ..) if left.free.is_zero() => {
            said += &format!(
                " Nothing was used in the {window}: if that stays so, {purchased} purchased credits are left at the end of {end}."
            );
        }
        (_, Some(_), None) if there.free.is_zero() => {
            said += &format!(
                " At the pace of the {window}, {} a day, {purchased} purchased credits are left at the end of {end}.",
                locale.number(pace)
            );
        }
        (_, Some(out), None) => {
            let [how, why] = if ahead.forecast.free_lapse {
                ["run out", ", when the last of the free bonus credits lapse"]
            } else {
                ["are used up", ""]
            };
            said += &format!(
                " At the pace of the {window}, {} a day, the free ones {how} {}{why}, and {purchased} purchased are left at the end of {end}.",
                locale.number(pace),
                reckoned(out, ahead.now, "on ", locale)
            );
        }
        (Outlook::Unknown, ..) => {
            said += &format!(
                " Nothing was used in the {window}: if that stays so, {free} free and {purchased} purchased credits are left at the end of {end}, when the month’s unused credits lapse."
            );
        }
        (_, None, None) => {
            said += &format!(
                " At the pace of the {window}, {} a day, {free} free and {purchased} purchased credits are left at the end of {end}, when the month’s unused credits lapse.",
                locale.number(pace)
            );
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::super::testing::{marked_at, marked_with, texts};
    use super::super::{Subject, chart, charts};
    use super::*;
    use crate::core::credits::{CreditType, Credits};
    use crate::core::forecast::GrantLeft;

    #[track_caller]
    fn said(used: i64, history_days: i64, free: i64, purchased: i64) -> String {
        let model = marked_at(used, history_days, free, purchased);
        let chart = chart(&model, Subject::Forecast, Frame::PLAIN).expect("enough history");
        format!("{}\n{}", chart.description, texts(&chart, "marked").join(" | "))
    }

    #[test]
    fn each_outlook_is_told() {
        insta::assert_snapshot!(said(70, 7, 360, 5_000), @"
        On 20 March, 12:00 there are 5,360 credits, 360 free and 5,000 purchased. At the pace of the last 7 days, 10 a day, 246 free and 5,000 purchased credits are left at the end of March, when the month’s unused credits lapse.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        insta::assert_snapshot!(said(700, 7, 360, 5_000), @"
        On 20 March, 12:00 there are 5,360 credits, 360 free and 5,000 purchased. At the pace of the last 7 days, 100 a day, the free ones are used up on 24 March, 02:00, and 4,215 purchased are left at the end of March.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        insta::assert_snapshot!(said(700, 7, 360, 50), @"
        On 20 March, 12:00 there are 410 credits, 360 free and 50 purchased. At the pace of the last 7 days, 100 a day, all are used up on 24 March, 14:00.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500 | used up 24 March, 14:00
        ");
        insta::assert_snapshot!(said(0, 7, 360, 0), @"
        On 20 March, 12:00 there are 360 credits, 360 free and 0 purchased. Nothing was used in the last 7 days: if that stays so, 360 free and 0 purchased credits are left at the end of March, when the month’s unused credits lapse.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        // What is not there does not run out, and nothing runs out in the past.
        insta::assert_snapshot!(said(700, 7, 0, 5_000), @"
        On 20 March, 12:00 there are 5,000 credits, 0 free and 5,000 purchased. At the pace of the last 7 days, 100 a day, 3,855 purchased credits are left at the end of March.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        insta::assert_snapshot!(said(0, 7, 0, 5_000), @"
        On 20 March, 12:00 there are 5,000 credits, 0 free and 5,000 purchased. Nothing was used in the last 7 days: if that stays so, 5,000 purchased credits are left at the end of March.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        insta::assert_snapshot!(said(700, 7, 2, 5_000), @"
        On 20 March, 12:00 there are 5,002 credits, 2 free and 5,000 purchased. At the pace of the last 7 days, 100 a day, the free ones are used up within the hour, and 3,857 purchased are left at the end of March.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
        insta::assert_snapshot!(said(700, 7, 2, 1), @"
        On 20 March, 12:00 there are 3 credits, 2 free and 1 purchased. At the pace of the last 7 days, 100 a day, all are used up within the hour.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500 | used up within the hour
        ");
        insta::assert_snapshot!(said(700, 7, 0, 0), @"
        On 20 March, 12:00 there are 0 credits, 0 free and 0 purchased. None are left, so that there is nothing to foresee.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
    }

    #[test]
    fn it_is_said_where_the_rest_lapses() {
        let ends_at = "2026-03-22T11:00:00Z".parse().ok();
        let bonus = GrantLeft { credit_type: CreditType::Free, ends_at, credits: Credits::new(360) };
        let said = |purchased| {
            let model = marked_with(70, 7, (360, purchased), &[bonus]);
            let chart = chart(&model, Subject::Forecast, Frame::PLAIN).expect("enough history");
            format!("{}\n{}", chart.description, texts(&chart, "marked").join(" | "))
        };
        insta::assert_snapshot!(said(0), @"
        On 20 March, 12:00 there are 360 credits, 360 free and 0 purchased. At the pace of the last 7 days, 10 a day, they run out on 22 March, 12:00, when the last of the bonus credits lapse.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500 | run out 22 March, 12:00
        ");
        insta::assert_snapshot!(said(5_000), @"
        On 20 March, 12:00 there are 5,360 credits, 360 free and 5,000 purchased. At the pace of the last 7 days, 10 a day, the free ones run out on 22 March, 12:00, when the last of the free bonus credits lapse, and 4,906 purchased are left at the end of March.
        ample 5,000 | low 3,050 · critical 2,950 | allowance 1,500
        ");
    }

    /// A pack that is used before the last free credits is not there any more where those are used up.
    #[test]
    fn a_line_never_rises() {
        let [pack, rest] = [(CreditType::Purchased, 300), (CreditType::Purchased, 900)]
            .map(|(credit_type, credits)| GrantLeft { credit_type, ends_at: None, credits: Credits::new(credits) });
        let bonus = GrantLeft { credit_type: CreditType::Free, credits: Credits::new(200), ..pack };
        let model = marked_with(700, 7, (200, 1_200), &[pack, bonus, rest]);
        let ahead = model.marks.as_ref().and_then(|marks| marks.ahead.as_ref()).expect("a forecast");
        assert_eq!(ahead.free_runs_out.map(|at| at.to_string()).as_deref(), Some("2026-03-25T12:00"));
        let chart = chart(&model, Subject::Forecast, Frame::PLAIN).expect("enough history");
        let guess = chart.shapes.iter().find_map(|shape| match shape {
            Shape::Stroke { points, class: "guess", .. } => Some(points.clone()),
            _ => None,
        });
        let guess = guess.expect("a line");
        // Downwards on the page.
        let ys: Vec<i64> = guess.split([' ', ',']).skip(1).step_by(2).map(|y| y.parse().expect("a number")).collect();
        assert!(ys.len() > 10 && ys.is_sorted(), "{ys:?}");
    }

    #[test]
    fn without_history_the_balance_says_that_there_is_no_forecast() {
        let model = marked_at(300, 0, 360, 5_000);
        assert_eq!(chart(&model, Subject::Forecast, Frame::PLAIN), None);
        let all = charts(&model, Frame::PLAIN);
        let last = all.last().expect("a balance");
        assert_eq!(last.id, "balance");
        insta::assert_snapshot!(last.note.as_deref().unwrap_or_default(), @"There is not enough history for a forecast: the account is less than a day old.");
    }
}
