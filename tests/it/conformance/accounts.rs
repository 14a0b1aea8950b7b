//! Accounts, their terms and admins, and the action credit matrix.

use crate::support::{Sandbox, account, account_id, both_databases, default_prices, instant};
use creditd::core::alert::Levels;
use creditd::core::credits::Credits;
use creditd::core::ids::{ActionCode, Email};
use creditd::core::locale::Locale;
use creditd::core::price::PriceVersion;
use creditd::core::signed::{KEY_BYTES, SigningKey};
use creditd::core::unsubscribe::{Unsubscribe, Wish};
use creditd::store::{Admin, NewAccount, NewFacts, Opened};

/// In order of bytes.
const IDS: [&str; 6] = ["B.2", "Z", "_a", "a", "a-1", "a0"];

fn admin(email: &str, name: &str) -> Admin {
    Admin { name: name.to_owned(), ..Admin::with_defaults(Email::new(email).expect("an address")) }
}

fn new(id: &str, zone: &str, admins: &[Admin]) -> NewAccount {
    NewAccount { account: account(id, zone, "2013-01-01"), locale: None, admins: admins.to_vec() }
}

both_databases! {
    /// Links of different mails that are followed at once end both; and the key that signs them is one, whoever needs it first.
    async fn wishes_end_one_by_one_and_the_ledger_has_one_key(sandbox: Sandbox) {
        let store = sandbox.store();
        let all = Admin {
            daily_report: true,
            resolved: true,
            lapse_soon: true,
            ..admin("ann@example.com", "Ann")
        };
        store.open_accounts(&[new("a", "UTC", &[all.clone(), admin("bob@example.com", "Bob")])], instant("2013-01-01T00:00:00Z"))
            .await
            .expect("an account");
        let asked = |address: &str, wish| Unsubscribe {
            account: account_id("a"),
            address: Email::new(address).expect("an address"),
            wish,
        };
        let ends: Vec<_> = Wish::ALL.iter().map(|wish| {
            let (store, asked) = (store.clone(), asked("ann@example.com", *wish));
            tokio::spawn(async move { store.end_wish(&asked).await })
        }).collect();
        for end in ends {
            assert!(end.await.expect("a task").expect("an answer").is_some());
        }
        let nothing = Admin {
            alerts: false, monthly_report: false, daily_report: false, resolved: false, lapse_soon: false, ..all
        };
        assert_eq!(store.end_wish(&asked("ann@example.com", Wish::Alerts)).await.expect("an answer"), Some(nothing.clone()));
        assert_eq!(store.end_wish(&asked("nobody@example.com", Wish::Alerts)).await.expect("an answer"), None);
        let record = store.accounts(&[account_id("a")]).await.expect("accounts").remove(0);
        assert_eq!(record.admins, [nothing, admin("bob@example.com", "Bob")]);

        assert_eq!(store.signing_key().await.expect("none yet"), None);
        let keys: Vec<_> = (0..4_u8).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.signing_key_or([n; KEY_BYTES]).await })
        }).collect();
        let mut made = Vec::new();
        for key in keys {
            made.push(key.await.expect("a task").expect("a key"));
        }
        let kept = store.signing_key().await.expect("a key").expect("it is there");
        assert!(made.iter().all(|key| *key == kept));
        assert!((0..4_u8).any(|n| SigningKey::new([n; KEY_BYTES]) == kept));
        sandbox.assert_verified().await;
    }

    async fn accounts_are_opened_once_and_listed_in_order(sandbox: Sandbox) {
        let store = sandbox.store();
        let now = instant("2013-02-01T00:00:00Z");
        assert_eq!(store.count_accounts().await.expect("a count"), 0);
        assert_eq!(store.open_accounts(&[], now).await.expect("nothing to do"), []);

        let zones = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Tokyo", "UTC", "Etc/UTC"];
        let ann = [admin("zoe@example.com", "Zoë 東京 \"O'Neil\" \\"), admin("Ann@example.com", "")];
        let mut all: Vec<NewAccount> = IDS.iter().zip(zones).map(|(id, zone)| new(id, zone, &ann)).collect();
        all.reverse();
        assert_eq!(store.check_accounts(&all).await.expect("answers"), vec![Opened::Created; 6]);
        assert_eq!(store.open_accounts(&all, now).await.expect("answers"), vec![Opened::Created; 6]);
        assert_eq!(store.count_accounts().await.expect("a count"), 6);

        // Again, once with other facts, and one of them twice in one call.
        let other = new("a", "UTC", &[]);
        let fresh = new("b", "UTC", &[]);
        let again = [all[0].clone(), other, fresh.clone(), fresh];
        let answers = store.open_accounts(&again, now).await.expect("answers");
        assert_eq!([&answers[0], &answers[2], &answers[3]], [&Opened::Already, &Opened::Created, &Opened::Already]);
        let Opened::Conflict(differences) = &answers[1] else { panic!("{:?}", answers[1]) };
        assert!(differences.starts_with("its time zone was Asia/Tokyo when it opened, not UTC"), "{differences}");
        assert_eq!(store.check_accounts(&again).await.expect("answers")[1], answers[1]);

        // Who names no locale does not say that there is none.
        let german = NewAccount { locale: Some(Locale::DeDe), ..new("c", "UTC", &[]) };
        let (french, silent) = (NewAccount { locale: Some(Locale::FrFr), ..german.clone() }, new("c", "UTC", &[]));
        let answers = store.open_accounts(&[german.clone(), german, silent, french], now).await.expect("answers");
        assert_eq!(answers[..3], [Opened::Created, Opened::Already, Opened::Already]);
        assert_eq!(answers[3], Opened::Conflict("its locale is de-DE, not fr-FR".to_owned()));
        let german = store.accounts(&[account_id("c")]).await.expect("records").remove(0);
        assert_eq!(german.locale, Some(Locale::DeDe));
        sandbox.assert_verified().await;

        let ids = |list: &[creditd::core::ids::AccountId]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = store.account_ids(None, 3).await.expect("ids");
        assert_eq!(ids(&first), &IDS[..3]);
        let rest = store.account_ids(first.last(), 100).await.expect("ids");
        assert_eq!(ids(&rest), ["a", "a-1", "a0", "b", "c"]);

        let asked = [account_id("a0"), account_id("nobody"), account_id("Z")];
        let records = store.accounts(&asked).await.expect("records");
        assert_eq!(records.iter().map(|r| r.account.id.as_str()).collect::<Vec<_>>(), ["Z", "a0"]);
        assert_eq!(records[1].account, all[0].account);
        assert_eq!(records[1].levels, None);
        assert_eq!(records[1].admins, [ann[1].clone(), ann[0].clone()]);

        let zones = store.zones().await.expect("zones");
        assert_eq!(zones.iter().map(|zone| zone.name()).collect::<Vec<_>>(), ["America/New_York", "Asia/Tokyo", "Etc/UTC", "Europe/Berlin", "UTC"]);
        let created = sandbox.texts("SELECT DISTINCT CAST(created_at AS TEXT) FROM accounts").await;
        assert_eq!(created, [now.micros().to_string()]);
    }

    async fn an_account_changes_in_the_parts_that_are_given(sandbox: Sandbox) {
        let store = sandbox.store();
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let read = async || store.accounts(std::slice::from_ref(&acme)).await.expect("records").remove(0);

        let levels: Levels = "tight=100,low=20%".parse().expect("levels");
        let renamed = NewFacts { name: Some("Acme & Söhne"), ..NewFacts::default() };
        assert!(store.set_account(&acme, renamed).await.expect("renamed"));
        let warned = NewFacts { levels: Some(Some(&levels)), ..NewFacts::default() };
        assert!(store.set_account(&acme, warned).await.expect("levels"));
        assert!(store.set_account(&acme, NewFacts::default()).await.expect("nothing to change"));
        let record = read().await;
        assert_eq!((record.account.name.as_str(), record.levels.as_ref()), ("Acme & Söhne", Some(&levels)));
        assert_eq!(record.account.calendar, account("acme", "UTC", "2013-01-01").calendar);

        let none = NewFacts { levels: Some(None), locale: Some(Some(Locale::DeCh)), ..NewFacts::default() };
        assert!(store.set_account(&acme, none).await.expect("no levels of its own, but a locale"));
        let record = read().await;
        assert_eq!((record.levels, record.locale), (None, Some(Locale::DeCh)));
        sandbox.assert_verified().await;
        let renamed = NewFacts { name: Some("Acme"), ..NewFacts::default() };
        assert!(store.set_account(&acme, renamed).await.expect("renamed"));
        assert_eq!(read().await.locale, Some(Locale::DeCh), "kept");
        assert!(store.set_account(&acme, NewFacts { locale: Some(None), ..renamed }).await.expect("no locale of its own"));
        assert_eq!(read().await.locale, None);
        sandbox.assert_verified().await;
        assert!(!store.set_account(&account_id("nobody"), renamed).await.expect("no such account"));
    }

    async fn an_address_is_one_admin(sandbox: Sandbox) {
        let store = sandbox.store();
        let twice = [admin("ann@example.com", "first"), admin("ann@example.com", "last")];
        store.open_accounts(&[new("acme", "UTC", &twice)], instant("2013-01-01T00:00:00Z")).await.expect("an account");
        let acme = account_id("acme");
        let read = async || store.accounts(std::slice::from_ref(&acme)).await.expect("records").remove(0).admins;
        assert_eq!(read().await, [twice[1].clone()]);

        let quiet = Admin { alerts: false, monthly_report: false, daily_report: true, lapse_soon: true, ..admin("ann@example.com", "") };
        store.set_admin(&acme, &quiet).await.expect("replaced");
        let bob = admin("bob@example.com", "Bob");
        store.set_admin(&acme, &bob).await.expect("added");
        assert_eq!(read().await, [quiet.clone(), bob]);

        assert!(store.remove_admin(&acme, &quiet.email).await.expect("removed"));
        assert!(!store.remove_admin(&acme, &quiet.email).await.expect("nobody left to remove"));
        assert_eq!(read().await.len(), 1);
        assert!(store.set_admin(&account_id("nobody"), &quiet).await.is_err(), "an admin of no account");
    }

    async fn prices_are_added_and_replaced_by_the_instant_they_count_from(sandbox: Sandbox) {
        let store = sandbox.store();
        assert_eq!(store.prices().await.expect("prices"), default_prices());
        let code = ActionCode::new("Sing").expect("a code");
        let version = |at: &str, credits: Option<i64>| PriceVersion {
            effective_from: instant(at),
            credits: credits.map(Credits::new),
        };
        store.set_price(&code, "", "Sings.", version("2013-03-01T00:00:00Z", Some(3))).await.expect("a price");
        store.set_price(&code, "Song", "", version("2013-02-01T00:00:00Z", Some(2))).await.expect("an earlier price");
        store.set_price(&code, "", "", version("2013-03-01T00:00:00Z", None)).await.expect("retired after all");
        let prices = store.prices().await.expect("prices");
        let song = prices.iter().find(|action| action.code == code).expect("the new action");
        assert_eq!((song.title.as_str(), song.help.as_str()), ("Song", "Sings."));
        assert_eq!(song.versions, [version("2013-02-01T00:00:00Z", Some(2)), version("2013-03-01T00:00:00Z", None)]);
        // Capitals come first, as bytes do.
        assert_eq!(prices.iter().next().map(|action| action.code.as_str()), Some("Sing"));
    }

    /// A row has the same digest in both databases, and each write of it a new one.
    async fn rows_carry_the_digest_of_their_facts(sandbox: Sandbox) {
        let store = sandbox.store();
        let opened = new("acme", "UTC", &[admin("ann@example.com", "Ann")]);
        store.open_accounts(&[opened], instant("2013-01-01T00:00:00Z")).await.expect("an account");
        let acme = account_id("acme");
        let digests = async || {
            let mut digests = Vec::new();
            for table in ["accounts", "terms", "admins", "actions WHERE code = 'erase'", "prices WHERE action = 'erase'"] {
                digests.extend(sandbox.texts(&format!("SELECT CAST(digest AS TEXT) FROM {table}")).await);
            }
            digests
        };
        let before = digests().await;
        assert_eq!(
            before,
            ["7185718753355371228", "-5582354510003300294", "2156266209154403564", "-2809015616209709447", "-6446408445303107468"]
        );

        let levels: Levels = "low=20%".parse().expect("levels");
        let changed = NewFacts { name: Some("Acme"), levels: Some(Some(&levels)), locale: Some(Some(Locale::FrFr)) };
        store.set_account(&acme, changed).await.expect("changed");
        store.set_admin(&acme, &admin("ann@example.com", "Anne")).await.expect("changed");
        let version = PriceVersion { effective_from: instant("1970-01-01T00:00:00Z"), credits: None };
        let erase = ActionCode::new("erase").expect("a code");
        store.set_price(&erase, "Erasure", "", version).await.expect("changed");
        let after = digests().await;
        let is_new: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
        // Terms are changed by a row of the ledger.
        assert_eq!(is_new, [true, false, true, true, true]);

        // The same facts by another way have the same digest.
        let back = NewFacts { name: Some("Account acme"), levels: Some(None), locale: Some(None) };
        store.set_account(&acme, back).await.expect("back again");
        assert_eq!(digests().await[0], before[0]);
    }
}
