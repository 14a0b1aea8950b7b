//! What the charts of an account mark beside its figures, read from a ledger.

use crate::support::{Sandbox, account_id, both_databases, instant, usage};
use chrono::Datelike;
use creditd::app::AppError;
use creditd::core::calendar::Instant;
use creditd::core::ledger::Usage;
use creditd::core::statement::{DateRange, Grouping, ReportSpec, Scope};

/// Noon of the 20th.
const NOON: &str = "2013-01-20T12:00:00Z";

fn spec(month: &str, grouping: Grouping, as_of: Instant) -> ReportSpec {
    let range = DateRange::of_month(month.parse().expect("a month")).expect("a range");
    ReportSpec::new("t", range, grouping, Scope::Account, as_of).expect("bounded")
}

both_databases! {
    async fn an_account_is_marked_as_it_was_known(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let charge = async |now: &str, quantity: i64| {
            let usage = Usage { quantity, ..usage("erase", now) };
            sandbox.at(now).charge(&acme, &usage).await.expect("charged");
        };
        // 7 credits each; the first is before the 7 days in which the pace is taken.
        charge("2013-01-05T12:00:00Z", 10).await;
        charge("2013-01-15T12:00:00Z", 10).await;
        charge("2013-01-19T12:00:00Z", 20).await;
        let day = spec("2013-01", Grouping::Day, instant(NOON));
        let now = sandbox.at(NOON).marks(&acme, &day, None).await.expect("read").expect("by day");
        let levels: Vec<String> = now.levels.iter().map(|(name, credits)| format!("{name} {credits}")).collect();
        assert_eq!((levels.join(", ").as_str(), now.allowance.get()), ("low 300, critical 75, exhausted 0", 1_500));
        assert_eq!(now.month, "2013-01".parse().ok());
        let ahead = now.ahead.as_ref().expect("it is that month");
        assert_eq!((ahead.now.to_string().as_str(), ahead.available.total().get()), ("2013-01-20T12:00", 1_220));
        assert_eq!(ahead.forecast.pace_per_day.map(|pace| pace.get()), Some(30), "210 in 7 days");
        // A quarter of all was used on the one of three Tuesdays, the rest on two of three Saturdays. Of both, two and one come.
        assert_eq!(ahead.forecast.left.map(|left| left.free.get()), Some(958), "262.5 less");

        // What came later does not count for what was known then.
        charge("2013-01-20T18:00:00Z", 30).await;
        let later = sandbox.at("2013-02-10T00:00:00Z");
        assert_eq!(later.marks(&acme, &day, Some(instant(NOON))).await.expect("read"), Some(now));

        // January is over then, and nothing is marked in other reports.
        let over = later.marks(&acme, &spec("2013-01", Grouping::Day, later.now()), None).await.expect("read");
        assert_eq!(over.expect("by day").ahead, None);
        let week = spec("2013-01", Grouping::Week, later.now());
        assert_eq!(later.marks(&acme, &week, None).await.expect("read"), None);
        let unknown = later.marks(&account_id("other"), &day, None).await;
        assert!(matches!(unknown, Err(AppError::UnknownAccount(_))));
    }

    /// The weekend of 19 January comes first, on which nobody works.
    async fn a_chart_goes_on_by_the_weekdays_of_the_account(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "America/New_York", "2012-12-01").await;
        for day in 0..28 {
            let at = instant("2012-12-21T15:00:00Z").plus_days(day);
            let date = at.to_utc().date_naive();
            if date.weekday().num_days_from_monday() < 5 {
                let usage = Usage { quantity: 20, ..usage("translation", &at.to_string()) };
                sandbox.at(&at.to_string()).charge(&acme, &usage).await.expect("charged");
            }
        }
        // Friday, midnight in New York.
        let now = instant("2013-01-18T05:00:00Z");
        let (app, day) = (sandbox.at(&now.to_string()), spec("2013-01", Grouping::Day, now));
        let marks = app.marks(&acme, &day, None).await.expect("read").expect("by day");
        let ahead = marks.ahead.expect("it is that month");
        let paces = [ahead.forecast.pace_per_day, ahead.forecast.pace28_per_day];
        assert_eq!(paces.map(|pace| pace.map(|pace| pace.get())), [Some(14), Some(14)], "100 in each week");
        let there = ahead.available.total().get();
        let left: Vec<i64> = ahead.turns.iter().map(|(_, left)| there - left.total().get()).take(5).collect();
        assert_eq!(left, [20, 20, 20, 40, 60], "Friday, the weekend, Monday and Tuesday");
    }
}
