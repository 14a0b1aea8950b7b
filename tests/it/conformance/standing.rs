//! What stands open beside the log (R10, R17), and the log as it once read (R15).

use crate::support::{Sandbox, both_databases, instant, usage};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Cap, Hold, Usage};
use creditd::store::LogFilter;

const NOON: &str = "2013-01-10T12:00:00Z";

fn by(user: &str, key: &str) -> Usage {
    Usage { user: Some(UserId::new(user).expect("a user")), ..usage("erase", key) }
}

async fn hold(sandbox: &Sandbox, id: &AccountId, key: &str, ttl_seconds: i64) {
    let Usage { key, user, action, quantity, comment, .. } = by("ann", key);
    let hold = Call::Hold(Hold { key, user, action, quantity, ttl_seconds, comment });
    sandbox.at(NOON).call(id, hold).await.expect("a hold");
}

both_databases! {
    async fn open_holds_are_listed_by_their_end(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let other = sandbox.open_account("other", "UTC", "2013-01-01").await;
        hold(&sandbox, &acme, "long", 600).await;
        hold(&sandbox, &acme, "short", 60).await;
        hold(&sandbox, &other, "middle", 300).await;
        let keys = async |account: Option<&AccountId>, now: &str, limit: usize| -> Vec<String> {
            let holds = sandbox.store().open_holds(account, instant(now), limit).await.expect("a list");
            holds.iter().map(|(id, row)| format!("{id} {}", row.key.as_ref().map_or("-", Key::as_str))).collect()
        };
        assert_eq!(keys(None, NOON, 10).await, ["acme short", "other middle", "acme long"]);
        assert_eq!(keys(None, NOON, 2).await, ["acme short", "other middle"]);
        assert_eq!(keys(Some(&acme), NOON, 10).await, ["acme short", "acme long"]);
        assert_eq!(keys(None, "2013-01-10T12:05:00Z", 10).await, ["acme long"], "a hold is over at its end");
    }

    async fn caps_are_listed_with_what_was_used_of_them(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let other = sandbox.open_account("other", "UTC", "2013-01-01").await;
        let app = sandbox.at(NOON);
        app.charge(&acme, &by("ann", "before")).await.expect("a charge");
        for (id, user, limit) in [(&acme, "ann", 20), (&acme, "zoe", 5), (&other, "ann", 7)] {
            let key = Key::new(&format!("cap-{user}")).expect("a key");
            let cap = Cap { key, user: UserId::new(user).expect("a user"), credits: Some(Credits::new(limit)) };
            let answer = app.call(id, Call::Cap(cap)).await.expect("a cap");
            assert_eq!(answer.cap.map(|cap| cap.limit.get()), Some(limit));
        }
        hold(&sandbox, &acme, "held", 60).await;
        let caps = async |now: &str, ids: &[AccountId]| -> Vec<String> {
            let caps = sandbox.at(now).caps(ids).await.expect("caps").into_iter();
            caps.map(|c| format!("{} {} {} of {}, {} left", c.account, c.user, c.used, c.limit, c.left())).collect()
        };
        let both = [acme.clone(), other.clone()];
        assert_eq!(
            caps(NOON, &both).await,
            ["acme ann 14 of 20, 6 left", "acme zoe 0 of 5, 5 left", "other ann 0 of 7, 7 left"]
        );
        assert_eq!(caps(NOON, &both[1..]).await, ["other ann 0 of 7, 7 left"]);
        assert_eq!(caps("2013-01-10T12:01:00Z", &both[..1]).await[0], "acme ann 7 of 20, 13 left", "the hold is over");
        assert_eq!(caps("2013-02-01T00:00:00Z", &both[..1]).await[0], "acme ann 0 of 20, 20 left", "a new month");
        assert_eq!(caps(NOON, &[]).await, Vec::<String>::new());
    }

    async fn the_log_reads_as_it_did(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        sandbox.at(NOON).charge(&acme, &by("ann", "first")).await.expect("a charge");
        let late = Usage { occurred_at: Some(instant("2013-01-05T00:00:00Z")), ..by("ann", "told-late") };
        sandbox.at("2013-01-11T12:00:00Z").charge(&acme, &late).await.expect("a charge");
        for (until, charges) in [("2013-01-10T11:59:59Z", 0), (NOON, 1), ("2013-01-11T12:00:00Z", 2)] {
            let filter = LogFilter { user: late.user.clone(), recorded_until: Some(instant(until)), ..LogFilter::default() };
            let page = sandbox.store().log_page(&filter, None, 10).await.expect("a page");
            let newest = sandbox.store().log_newest(&filter, 10).await.expect("a list");
            assert_eq!((page.len(), newest.len()), (charges, charges), "{until}");
        }
    }
}
