//! Charts of a report: what was consumed, by whom or what, what was there, and how long it lasts.
//!
//! A chart is geometry in whole units and words that carry its numbers ([`Chart`]); `templates/chart.svg` writes it as SVG
//! for pages, [`png`] makes a picture of that for mails. Everything comes from the model, so the same model gives the same
//! bytes.

mod balance;
mod breakdown;
mod consumption;
mod dots;
mod drawing;
mod forecast;
mod picture;
mod quick;

pub(super) use breakdown::used;
pub(super) use consumption::consumption;
pub use drawing::{Chart, Frame};
pub(super) use picture::svg;
pub use picture::{Picture, png};
pub(super) use picture::{STYLE, STYLE_NAME, TEMPLATE, TEMPLATE_NAME, View};

use super::wording::days_in;
use crate::core::locale::Locale;
use crate::core::statement::{DateRange, Grouping, Line, ReportModel};
use crate::core::transaction::words;
use chrono::Datelike;

/// Most bars of a chart: beyond it they would be too thin to see, so that neighbours share one.
const BARS_MAX: usize = 124;

words! {
    /// What a chart is about.
    Subject {
        /// What was consumed, period by period, free and purchased.
        Consumption = "consumption",
        /// Who or what consumed it, in a breakdown.
        Breakdown = "breakdown",
        /// What was there at the end of each period, with purchases and lapses.
        Balance = "balance",
        /// The balance of this month, and how it goes on at the pace of the last days.
        Forecast = "forecast",
    }
}

/// The chart of `model` about `subject`; `None` when there is nothing to compare.
#[must_use]
pub fn chart(model: &ReportModel, subject: Subject, frame: Frame) -> Option<Chart> {
    match subject {
        Subject::Consumption => consumption::chart(model, frame),
        Subject::Breakdown => breakdown::chart(model, frame),
        Subject::Balance => balance::chart(model, frame),
        Subject::Forecast => forecast::chart(model, frame),
    }
}

/// The charts that belong to `model`, the first first: a forecast goes on where a balance ends and so takes its place. Where
/// it has nothing to compare, they are those of its days.
#[must_use]
pub fn charts(model: &ReportModel, frame: Frame) -> Vec<Chart> {
    let about = |subject| chart(model.drawn(), subject, frame);
    let used = about(Subject::Breakdown).or_else(|| about(Subject::Consumption));
    let left = about(Subject::Forecast).or_else(|| about(Subject::Balance));
    used.into_iter().chain(left).collect()
}

/// How many neighbours of `periods` share a bar.
fn per_bar(periods: usize) -> usize {
    periods.div_ceil(BARS_MAX).max(1)
}

/// What a bar is, where it is not a period.
fn shared(per_bar: usize, model: &ReportModel) -> Option<String> {
    (per_bar > 1).then(|| format!("Each bar is {per_bar} {}s.", model.spec.grouping()))
}

/// The name of a period on the axis.
fn short(range: DateRange, grouping: Grouping, locale: Locale) -> String {
    let day = range.from().date();
    if grouping == Grouping::Month { day.format("%b %Y").to_string() } else { locale.short_day(day) }
}

/// What was there at the end of a line's period. What lapses with a month lapses when its last day is over, so that day shows
/// what was there just before. Of a longer period, it is not known what of its lapses was at the end.
fn before_lapse(line: &Line) -> i64 {
    let to = line.range.to();
    let ends_a_month = to.is_midnight() && to.date().day() == 1 && line.range.days() == 1;
    line.figures.remaining.get().saturating_add(if ends_a_month { line.figures.lapsed.get() } else { 0 })
}

/// ` on 5 March 2026`, ` in March 2026`, ` on 16–18 March 2026`; `, first on 5 March 2026` where there are others like it.
fn when(range: DateRange, is_one_of_many: bool, locale: Locale) -> String {
    let days = days_in(range, locale);
    let is_month_or_year = range.as_month().is_some() || days.parse::<u16>().is_ok();
    format!("{}{} {days}", if is_one_of_many { ", first " } else { " " }, if is_month_or_year { "in" } else { "on" })
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{marked, marked_at};
    use super::*;
    use crate::core::statement::{Breakdown, Scope};
    use crate::report::testing::broken_down;

    #[test]
    fn days_are_on_and_months_are_in() {
        let said = |from: &str, to: &str, others| {
            let [from, to] = [from, to].map(|day| crate::core::calendar::parse_date(day).expect("a date"));
            when(DateRange::new(from, to).expect("a range"), others, Locale::EnGb)
        };
        assert_eq!(said("2026-09-16", "2026-09-17", false), " on 16 September 2026");
        assert_eq!(said("2026-09-16", "2026-09-19", false), " on 16–18 September 2026");
        assert_eq!(said("2026-09-01", "2026-10-01", true), ", first in September 2026");
        assert_eq!(said("2026-01-01", "2027-01-01", false), " in 2026");
    }

    /// No number and no date of a chart is written as people elsewhere do.
    #[test]
    fn every_chart_is_written_as_its_readers_write() {
        let march = ("2026-03-01", "2026-04-01");
        let used = |by| broken_down("t", march, by, Some(Breakdown::User), Scope::Account, &["a"]);
        let models = [marked(), marked_at(700, 7, 1_360, 5_000), used(Grouping::Day), used(Grouping::Range)];
        let said = |locale| -> Vec<String> {
            let of = |frame| models.iter().flat_map(move |model| charts(model, frame));
            let all = of(Frame::Wide(locale)).chain(of(Frame::Narrow(locale)));
            all.map(|chart| format!("{chart:?}")).collect()
        };
        let (british, german, american) = (said(Locale::EnGb), said(Locale::DeDe), said(Locale::EnUs));
        assert_eq!((british.len(), german.len(), american.len()), (12, 12, 12));
        for (said, forms) in [(german, ["1,3", "5,0", " March 1 "]), (american, ["1.3", "20 March", "2 Mar\""])] {
            for chart in said {
                assert!(!forms.iter().any(|form| chart.contains(form)), "{forms:?} in {chart}");
            }
        }
        assert!(british.iter().any(|chart| chart.contains("1,3") && chart.contains("20 March")));
    }
}
