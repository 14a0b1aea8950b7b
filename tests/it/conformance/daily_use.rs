//! What was used by day, which a forecast is made of (DESIGN 5).

use crate::support::{Sandbox, account_id, both_databases, instant, usage};
use creditd::core::calendar::{Calendar, Terms, parse_zone};
use creditd::core::credits::Credits;
use creditd::core::forecast::DailyUse;
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{Call, Hold, Refund, Usage};

const NOW: &str = "2013-03-12T16:00:00Z";

fn unused(zone: &str, opened_at: &str) -> DailyUse {
    let calendar = Calendar::new(Terms {
        from: "2013-01".parse().expect("a month"),
        zone: parse_zone(zone).expect("a zone"),
        allowance: Credits::new(1_500),
    });
    DailyUse::unused(&calendar, instant(opened_at), instant(NOW))
}

fn told(daily: &DailyUse) -> Vec<String> {
    let used = daily.days().iter().filter(|day| !day.used.is_zero());
    used.map(|day| format!("{} {} {}", day.from, day.weekday, day.used)).collect()
}

both_databases! {
    async fn what_was_used_is_summed_by_the_days_of_each_account(sandbox: Sandbox) {
        let york = sandbox.open_account("york", "America/New_York", "2013-01-01").await;
        let quiet = sandbox.open_account("quiet", "UTC", "2013-01-01").await;
        let apia = sandbox.open_account("apia", "Pacific/Apia", "2013-01-01").await;
        // Each takes as many credits as its place in this list.
        let times = [
            "2013-02-12T15:59:59.999999Z", // too long ago
            "2013-02-12T16:00:00Z",        // the first instant
            "2013-02-13T04:59:59.999999Z", // the last of that day in New York
            "2013-02-13T05:00:00Z",        // the first of the next
            "2013-03-05T15:59:59.999999Z", // a day that is cut in two: the pace begins at noon
            "2013-03-05T16:00:00Z",
            "2013-03-11T03:59:59.999999Z", // the end of a day of 23 hours
            "2013-03-12T04:00:00Z",
            NOW,
            "2013-03-12T16:00:00.000001Z", // not known yet
        ];
        for (at, credits) in times.into_iter().zip(1_i64..) {
            for id in [&york, &apia] {
                let usage = Usage { quantity: credits, ..usage("translation", at) };
                sandbox.at(at).charge(id, &usage).await.expect("charged");
            }
        }
        let app = sandbox.at(NOW);
        let key = |text: &str| Key::new(text).expect("a key");
        let refund = |of: &str| Refund { key: key("refund"), charge: key(of), credits: None, comment: String::new() };
        app.call(&york, Call::Refund(refund(times[7]))).await.expect("refunded");
        let Usage { user, action, comment, .. } = usage("translation", "held");
        let hold = Hold { key: key("held"), user, action, quantity: 900, ttl_seconds: 60, comment };
        app.call(&york, Call::Hold(hold)).await.expect("held, but not used");

        let missing = account_id("missing");
        let mut asked: Vec<(AccountId, DailyUse)> = vec![
            (york.clone(), unused("America/New_York", "2013-01-01T00:00:00Z")),
            (missing, unused("UTC", "2013-01-01T00:00:00Z")),
            (apia, unused("Pacific/Apia", "2013-03-05T15:59:59.999999Z")),
            (quiet, unused("UTC", "2013-01-01T00:00:00Z")),
            (york, unused("America/New_York", "2013-03-20T00:00:00Z")), // to come
        ];
        app.store.daily_use(&mut asked).await.expect("sums");
        assert_eq!(
            told(&asked[0].1),
            [
                "2013-02-12T16:00:00Z Tue 5", // 2 and 3
                "2013-02-13T05:00:00Z Wed 4",
                "2013-03-05T05:00:00Z Tue 5",
                "2013-03-05T16:00:00Z Tue 6",
                "2013-03-10T05:00:00Z Sun 7",
                "2013-03-12T04:00:00Z Tue 9", // 8 were given back
            ]
        );
        assert_eq!(
            told(&asked[2].1),
            [
                "2013-03-05T15:59:59.999999Z Wed 5",
                "2013-03-05T16:00:00Z Wed 6",
                "2013-03-10T10:00:00Z Mon 7",
                "2013-03-11T10:00:00Z Tue 8",
                "2013-03-12T10:00:00Z Wed 9",
            ]
        );
        for at in [1, 3, 4] {
            assert_eq!(told(&asked[at].1), Vec::<String>::new(), "{at}");
        }
        app.store.daily_use(&mut []).await.expect("nothing asked");
    }
}
