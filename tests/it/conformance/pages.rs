//! What the pages ask of the store, on both databases.

use crate::support::{Sandbox, account_id, both_databases, instant, purchase, usage};
use creditd::core::calendar::Instant;
use creditd::core::credits::Split;
use creditd::core::ids::{AccountId, ActionCode, Email, UserId};
use creditd::core::ledger::Usage;
use creditd::core::statement::{Ending, Filters, Outcome};
use creditd::core::transaction::{Status, Touched};
use creditd::core::unsubscribe::Wish;
use creditd::store::{Admin, LatelyAsk, LatelySum, LogPlace, LogStretch, LogWay, Way};
use std::collections::BTreeMap;

/// An account with rows of many kinds, some of them at one instant.
async fn logged(sandbox: &Sandbox) -> AccountId {
    let acme = sandbox.open_account("acme", "Europe/Berlin", "2013-01-01").await;
    for (now, count) in [("2013-01-05T12:00:00Z", 7), ("2013-01-06T12:00:00Z", 1), ("2013-02-06T12:00:00Z", 5)] {
        let app = sandbox.at(now);
        for at in 0..count {
            let mut usage = usage(["erase", "upscale", "text-to-image"][at % 3], &format!("{now}-{at}"));
            usage.user = [None, Some("ann"), Some("ben")][at % 3].map(|name| UserId::new(name).expect("a user"));
            usage.status = if at == 3 { Status::Failed } else { Status::Success };
            app.charge(&acme, &usage).await.expect("charged");
        }
        app.purchase(&acme, &purchase(1, &format!("inv-{now}"))).await.expect("bought");
        // More than the free credits that are left, and more than there are.
        for quantity in [250, 10_000] {
            let usage = Usage { quantity, ..usage("text-to-image", &format!("{now}-{quantity}")) };
            app.charge(&acme, &usage).await.expect("answered");
        }
    }
    acme
}

both_databases! {
    /// Page by page, of whatever size, and either way, the log is the log, also where many rows have one instant; a place is where
    /// that many rows end.
    async fn the_log_by_pages_is_the_log(sandbox: Sandbox) {
        let acme = logged(&sandbox).await;
        let mut all = sandbox.log(&acme).await;
        all.sort_by_key(LogPlace::of);
        // The second ends with January in Berlin: what lapses then is in it, the new month's grant is not.
        let ranges = [(Instant::MIN, Instant::MAX), (instant("2013-01-05T12:00:00Z"), instant("2013-01-31T23:00:00Z"))];
        for ((from, to), way, size) in ranges.into_iter().flat_map(|range| {
            [LogWay::Back, LogWay::Forth].into_iter().flat_map(move |way| [1, 2, 3, 100].map(|size| (range, way, size)))
        }) {
            let stretch = |behind, through| LogStretch { from, to, way, behind, through };
            let mut expected: Vec<_> = all.iter().filter(|row| (from..to).contains(&row.kind.counts_at(row.occurred_at))).cloned().collect();
            if way == LogWay::Back {
                expected.reverse();
            }
            let (mut found, mut behind, none) = (Vec::new(), None, Filters::default());
            loop {
                let page = sandbox.store().log_found(&acme, &stretch(behind, None), &none, size).await.expect("a page");
                let place = sandbox.store().log_place(&acme, &stretch(behind, None), size).await.expect("a place");
                // The index alone does not tell what of the last instant is in a range.
                let is_exact = to == Instant::MAX;
                assert!(!is_exact || place == page.get(size - 1).map(LogPlace::of), "{way:?} by {size}");
                if is_exact && place.is_some() {
                    let through = sandbox.store().log_found(&acme, &stretch(behind, place), &none, 1_000).await.expect("a page");
                    assert_eq!(through, page, "{way:?} through {place:?}");
                }
                let Some(last) = page.last() else { break };
                behind = Some(LogPlace::of(last));
                found.extend(page);
            }
            assert_eq!(found, expected, "{way:?} by {size}");
        }
    }

    /// The database sifts as filters do.
    async fn the_log_is_sifted_as_filters_say(sandbox: Sandbox) {
        let acme = logged(&sandbox).await;
        let all = sandbox.log(&acme).await;
        let stretch = LogStretch { from: Instant::MIN, to: Instant::MAX, way: LogWay::Forth, behind: None, through: None };
        let user = |name: &str| Some(UserId::new(name).expect("a user"));
        let action = |code: &str| Some(ActionCode::new(code).expect("a code"));
        let mut some = vec![
            Filters { users: vec![user("ann")], ..Filters::default() },
            Filters { users: vec![user("nobody")], ..Filters::default() },
            Filters { actions: vec![action("erase")], users: vec![user("ben")], ..Filters::default() },
            Filters { actions: vec![action("erase"), action("upscale")], ..Filters::default() },
            Filters { actions: vec![None], ..Filters::default() },
        ];
        some.extend(Touched::ALL.iter().map(|word| Filters { types: vec![*word], ..Filters::default() }));
        some.extend(Ending::ALL.iter().map(|word| Filters { statuses: vec![*word], ..Filters::default() }));
        for filters in some {
            let mut found = sandbox.store().log_found(&acme, &stretch, &filters, 1_000).await.expect("rows");
            let is_exact = filters.actions.len() < 2 && !filters.actions.contains(&None);
            assert!(!is_exact || found.iter().all(|row| filters.admit(row)), "{filters:?}");
            found.retain(|row| filters.admit(row));
            let mut expected: Vec<_> = all.iter().filter(|row| filters.admit(row)).cloned().collect();
            expected.sort_by_key(LogPlace::of);
            assert_eq!(found, expected, "{filters:?}");
        }
    }

    /// What is added up in stretches is what the rows come to, whichever way in.
    async fn sums_of_what_happened_lately_are_those_of_the_rows(sandbox: Sandbox) {
        let acme = logged(&sandbox).await;
        let rows = sandbox.log(&acme).await;
        let last_seq = rows.iter().map(|row| row.seq).max().expect("rows");
        let begin = instant("2012-12-31T00:00:00Z");
        // The bounds of a lapse are those of what counts in a month.
        let bounds = ["2013-01-01T00:00:00Z", "2013-01-05T12:00:00Z", "2013-01-31T23:00:00Z", "2013-02-06T12:00:00.000001Z"].map(instant);
        for (from, to, after_seq, last_seq, stretch_us) in [
            (begin, Instant::MAX, 0, last_seq, 900_000_000),
            (begin, Instant::MAX, 0, last_seq, 1),
            (bounds[0], bounds[2], 0, last_seq, 86_400_000_000),
            (bounds[1], bounds[3], 0, last_seq - 1, 900_000_000),
            (bounds[2], Instant::MAX, 0, last_seq, 900_000_000),
            (begin, Instant::MAX, 5, last_seq, 900_000_000),
            (bounds[1], bounds[2], 3, last_seq - 2, 60_000_000),
        ] {
            for way in [Way::LookedUp, Way::Walked] {
            let asked = LatelyAsk { from, to, after_seq, last_seq, way, stretch_us, begin };
            let mut expected: BTreeMap<(i64, u8, u8), LatelySum> = BTreeMap::new();
            for row in rows.iter().filter(|row| after_seq < row.seq && row.seq <= last_seq) {
                let counts_at = row.kind.counts_at(row.occurred_at);
                if counts_at < from || to <= counts_at {
                    continue;
                }
                let outcome = Outcome::of(row.kind, row.status, row.reason);
                let stretch = (counts_at.micros() - begin.micros()) / stretch_us;
                let begins_at = begin.plus_micros(stretch * stretch_us);
                let none = LatelySum { begins_at, kind: row.kind, outcome, delta: Split::ZERO, count: 0 };
                let sum = expected.entry((stretch, row.kind as u8, outcome as u8)).or_insert(none);
                sum.delta = sum.delta.plus(row.delta).expect("small");
                sum.count += 1;
            }
            let mut found = sandbox.store().lately(&acme, asked).await.expect("sums");
            found.sort_by_key(|sum| (sum.begins_at, sum.kind as u8, sum.outcome as u8));
            assert_eq!(found, expected.into_values().collect::<Vec<_>>(), "{asked:?}");
            }
        }
        for at in rows.iter().flat_map(|row| [-1, 0, 1].map(|by| row.recorded_at.plus_micros(by))) {
            for last_seq in [0, 1, 2, last_seq / 2, last_seq] {
                let before = rows.iter().filter(|row| row.seq <= last_seq && row.recorded_at < at).max_by_key(|row| row.seq);
                let before = before.map_or((0, Split::ZERO), |row| (row.seq, row.balance));
                assert_eq!(sandbox.store().recorded_before(&acme, at, last_seq).await.expect("a row"), before, "{at} {last_seq}");
            }
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
