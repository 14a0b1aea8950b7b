//! Calls of one batch that touch the same account: each leaves what it would have left alone.

use crate::support::{Backend, Sandbox, both_databases, usage};
use creditd::app::App;
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{AccountStatus, Call, Cap, Closing, NewTerms, Usage};

fn key(text: String) -> Key {
    Key::new(&text).expect("a key")
}

/// One thread, so what is asked in one breath is one batch.
fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread").block_on(work)
}

/// Asks for all of them in one breath; each is done.
async fn in_one_breath(id: &AccountId, calls: impl IntoIterator<Item = (App, Call)>) {
    let ask = |(app, call): (App, Call)| {
        let id = id.clone();
        tokio::spawn(async move { app.call(&id, call).await })
    };
    let asked: Vec<_> = calls.into_iter().map(ask).collect();
    for task in asked {
        task.await.expect("a task").expect("done");
    }
}

both_databases! {
    /// R17: caps of several users that are set in one batch each count what their own user has used.
    fn r17_caps_set_in_one_batch_count_their_own_users(backend: Backend) {
        on_one_thread(async {
            let sandbox = Sandbox::on(backend).await;
            let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
            let app = sandbox.at("2013-01-10T00:00:00Z");
            let users = [("ann", 10), ("bob", 20), ("cat", 0)].map(|(name, used)| (UserId::new(name).expect("a user"), used));
            for (user, quantity) in users.iter().filter(|(_, used)| *used > 0) {
                let usage = usage("translation", &format!("charge-{user}"));
                let usage = Usage { user: Some(user.clone()), quantity: *quantity, ..usage };
                app.charge(&acme, &usage).await.expect("charged");
            }
            let cap = |(user, _): &(UserId, i64)| {
                let cap = Cap { key: key(format!("cap-{user}")), user: user.clone(), credits: Some(Credits::new(50)) };
                (app.clone(), Call::Cap(cap))
            };
            in_one_breath(&acme, users.iter().map(cap)).await;
            let used = "SELECT user_id || ' ' || used FROM cap_months WHERE used > 0 ORDER BY user_id";
            assert_eq!(sandbox.texts(used).await, ["ann 10", "bob 20"]);
            sandbox.assert_verified().await;
        });
    }

    /// R18: an account that is closed, opened and closed again in one batch was closed twice.
    fn r18_closings_of_one_batch_are_all_kept(backend: Backend) {
        on_one_thread(async {
            let sandbox = Sandbox::on(backend).await;
            let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
            let app = sandbox.at("2013-01-10T00:00:00Z");
            let closing = |(n, reopen): (usize, bool)| {
                let closing = Closing { key: key(format!("k{n}")), reopen, comment: "in a hurry".into() };
                (app.clone(), Call::Closing(closing))
            };
            in_one_breath(&acme, [false, true, false].into_iter().enumerate().map(closing)).await;
            assert_eq!(sandbox.balance(&app, &acme).await.status, AccountStatus::Closed);
            let stored = "SELECT CAST(closed_at AS TEXT) FROM closures WHERE reopened_at IS NOT NULL";
            assert_eq!(sandbox.texts(stored).await, [app.now().micros().to_string()]);
            assert_eq!(sandbox.texts("SELECT CAST(count(*) AS TEXT) FROM closures").await, ["2"]);
            sandbox.assert_verified().await;
        });
    }

    /// R2: terms that are changed before and after the end of a month, in one batch, are both kept.
    fn r2_terms_of_one_batch_are_all_kept(backend: Backend) {
        on_one_thread(async {
            let sandbox = Sandbox::on(backend).await;
            let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
            let terms = |(now, allowance): (&str, i64)| {
                let (key, allowance) = (key(format!("k{allowance}")), Some(Credits::new(allowance)));
                (sandbox.at(now), Call::Terms(NewTerms { key, zone: None, allowance }))
            };
            let changes = [("2013-01-31T23:59:59Z", 200), ("2013-02-01T00:00:00Z", 300)];
            in_one_breath(&acme, changes.into_iter().map(terms)).await;
            let stored = "SELECT from_month || ' ' || allowance FROM terms ORDER BY from_month";
            assert_eq!(sandbox.texts(stored).await, ["2013-01 1500", "2013-02 200", "2013-03 300"]);
            sandbox.assert_verified().await;
        });
    }
}
