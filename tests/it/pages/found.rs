//! What the pages ask of the store, on both databases.

use crate::support::{Sandbox, account_id, both_databases, instant, usage};
use creditd::core::calendar::Instant;
use creditd::core::ids::Email;
use creditd::core::unsubscribe::Wish;
use creditd::store::{Admin, LogPlace};

both_databases! {
    /// Page by page, of whatever size, the log backwards is the log, also where many rows have one instant.
    async fn the_log_backwards_is_the_log(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "Europe/Berlin", "2013-01-01").await;
        for (now, count) in [("2013-01-05T12:00:00Z", 7), ("2013-01-06T12:00:00Z", 1), ("2013-02-06T12:00:00Z", 5)] {
            let app = sandbox.at(now);
            for at in 0..count {
                app.charge(&acme, &usage("erase", &format!("{now}-{at}"))).await.expect("charged");
            }
        }
        let mut all = sandbox.log(&acme).await;
        all.sort_by_key(|row| std::cmp::Reverse(LogPlace::of(row)));
        let ranges = [(Instant::MIN, Instant::MAX), (instant("2013-01-05T12:00:00Z"), instant("2013-02-06T12:00:00Z"))];
        for (range, size) in ranges.into_iter().flat_map(|range| [1, 2, 3, 100].map(|size| (range, size))) {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = sandbox.store().log_back(&acme, range, before, size).await.expect("a page");
                let Some(last) = page.last() else { break };
                before = Some(LogPlace::of(last));
                found.extend(page);
            }
            let expected: Vec<_> = all.iter().filter(|row| range.0 <= row.occurred_at && row.occurred_at < range.1).cloned().collect();
            assert_eq!(found, expected, "pages of {size}");
        }
    }

    async fn operators_find_accounts(sandbox: Sandbox) {
        let admin = Admin::with_defaults(Email::new("ann@x.example").expect("an address"));
        for id in ["b-1", "a-1", "a-2", "A-3", "a.4", "zz"] {
            let id = sandbox.open_account(id, "Europe/Berlin", "2013-01-01").await;
            if id.as_str().starts_with("a-") {
                sandbox.store().set_admin(&id, &admin).await.expect("an admin");
            }
        }
        let store = sandbox.store();
        let ids = |found: Vec<creditd::store::FoundAccount>| found.iter().map(|one| one.account.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(ids(store.accounts_by_id("a", "", 10).await.expect("found")), "a-1 a-2 a.4");
        assert_eq!(ids(store.accounts_by_id("a-", "a-1", 10).await.expect("found")), "a-2");
        assert_eq!(ids(store.accounts_by_id("", "", 2).await.expect("found")), "A-3 a-1");
        assert_eq!(ids(store.accounts_by_id("a'; --%_", "", 2).await.expect("found")), "");
        // Names are `Account ID`, whatever the case.
        assert_eq!(ids(store.accounts_by_name("ACCOUNT a-", 10).await.expect("found")), "a-1 a-2 A-3");
        assert_eq!(ids(store.accounts_by_name("account %", 10).await.expect("found")), "");
        assert_eq!(ids(store.accounts_of_admin(&admin.email, 10).await.expect("found")), "a-1 a-2");
    }

    async fn wishes_are_changed_one_by_one(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "Europe/Berlin", "2013-01-01").await;
        let ann = Email::new("ann@x.example").expect("an address");
        let store = sandbox.store();
        assert_eq!(store.set_wishes(&acme, &ann, &[(Wish::Alerts, true)]).await.expect("asked"), None);
        assert_eq!(store.set_wishes(&account_id("none"), &ann, &[]).await.expect("asked"), None);
        let mut admin = Admin::with_defaults(ann.clone());
        admin.name = "Ann".to_owned();
        store.set_admin(&acme, &admin).await.expect("an admin");
        let changed = store.set_wishes(&acme, &ann, &[(Wish::Resolved, true), (Wish::Alerts, false)]).await.expect("asked");
        admin.set(Wish::Resolved, true);
        admin.set(Wish::Alerts, false);
        assert_eq!(changed.as_ref(), Some(&admin));
        assert_eq!(store.accounts(&[acme]).await.expect("an account")[0].admins, [admin]);
        sandbox.assert_verified().await;
    }
}
