//! What stands open beside the log (R10, R17), and the log as it once read (R15).

use crate::support::{Backend, Sandbox, account, both_databases, instant, usage};
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Cap, Hold, Usage};
use creditd::store::{ACCOUNTS_DUE, Batch, Due, Load, LogFilter, NewAccount};

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

    /// Those that are due longest come first, page by page, whether or not they were rolled over meanwhile.
    async fn accounts_are_due_in_order_of_time_and_cost_what_is_due(sandbox: Sandbox) {
        let store = sandbox.store();
        let new = |n: usize, opened_on: &str| {
            NewAccount { account: account(&format!("a{n:04}"), "UTC", opened_on), locale: None, admins: Vec::new() }
        };
        // One in a hundred opens early, the later the smaller its number; the others are not due for years.
        let accounts: Vec<NewAccount> = (0..2_000)
            .map(|n| if n % 100 == 7 { new(n, &format!("2013-01-{:02}", 28 - n / 100)) } else { new(n, "2033-01-01") })
            .collect();
        store.open_accounts(&accounts, instant("2013-01-01T00:00:00Z")).await.expect("accounts");
        let now = instant("2013-02-15T00:00:00Z");
        for rolls_over in [false, true] {
            let (mut seen, mut last): (Vec<String>, Option<Due>) = (Vec::new(), None);
            loop {
                let page = store.accounts_due(now, last.as_ref(), None, 3).await.expect("a page");
                let Some(newest) = page.last() else { break };
                last = Some(newest.clone());
                let ids: Vec<AccountId> = page.into_iter().map(|due| due.account).collect();
                seen.extend(ids.iter().map(ToString::to_string));
                if rolls_over {
                    let roll_over = |batch: &mut Batch| {
                        // The second of each page stays due, as one that cannot be rolled over.
                        let some = batch.ledgers.values_mut().enumerate().filter(|(at, _)| *at != 1);
                        some.for_each(|(_, ledger)| ledger.roll_over(now, now).expect("small sums"));
                    };
                    store.update(&Load::accounts(&ids, now), roll_over).await.expect("a batch");
                }
            }
            let expected: Vec<String> = (0..20).rev().map(|n| format!("a{:04}", n * 100 + 7)).collect();
            assert_eq!(seen, expected, "each once");
        }
        assert_eq!(store.accounts_due(now, None, None, 100).await.expect("what is left").len(), 7);

        let plan = match sandbox.backend() {
            Backend::Sqlite => {
                let sql = format!("EXPLAIN QUERY PLAN {ACCOUNTS_DUE}");
                let steps = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&sandbox.sql().await).await.expect("a plan");
                steps.iter().map(|step| sqlx::Row::get::<String, _>(step, 3)).collect()
            }
            Backend::Postgres => {
                sandbox.texts("ANALYZE accounts").await;
                let values = [("$1", now.micros().to_string()), ("$2", "0".into()), ("$3", "''".into()), ("$4", i64::MAX.to_string()), ("$5", "''".into()), ("$6", "100".into())];
                let sql = values.iter().fold(ACCOUNTS_DUE.to_owned(), |sql, (name, value)| sql.replace(name, value));
                sandbox.texts(&format!("EXPLAIN (COSTS OFF) {sql}")).await
            }
        }
        .join("\n");
        assert!(plan.contains("accounts_due") && !plan.contains("SCAN accounts"), "{plan}");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort") && !plan.contains("B-TREE"), "{plan}");
    }
}
