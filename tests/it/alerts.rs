//! Alerts as the scan finds them: by the marks that the database leaves, which cost what has changed, exactly those that a
//! look at every account would find (DESIGN 5).

use crate::support::{Sandbox, account, account_id, both_databases, instant, month, purchase, usage};
use creditd::app::App;
use creditd::core::alert::{AlertState, Levels, plan_alerts};
use creditd::core::calendar::{Calendar, Instant, Terms};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{AccountId, Email, Key};
use creditd::core::ledger::{Bonus, Call, Closing, Hold, NewTerms, Usage};
use creditd::core::run::Span;
use creditd::core::schedule::{Job, Slot};
use creditd::jobs::{Done, Kit, Run, execute};
use creditd::store::{Admin, NewAccount, NewFacts};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

async fn job(app: &App, job: Job) -> Done {
    let kit = Kit::new(app.clone()).expect("templates and a mail folder");
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    execute(&kit, job, Slot::Tick(app.now()), &Span::WHOLE, &mut run).await.expect("the job ends well")
}

async fn open(sandbox: &Sandbox, id: &str) -> AccountId {
    let admins = ["ann", "bob"]
        .map(|name| Admin::with_defaults(Email::new(&format!("{name}@{id}.example")).expect("an address")));
    let new = NewAccount { account: account(id, "UTC", "2013-01-01"), locale: None, admins: admins.into() };
    sandbox.store().open_accounts(&[new], instant("2013-01-01T00:00:00Z")).await.expect("an account");
    account_id(id)
}

/// Which accounts the next scan would look at.
async fn due(sandbox: &Sandbox) -> Vec<String> {
    let due = sandbox.store().alerts_due(None, 100).await.expect("accounts");
    due.iter().map(AccountId::to_string).collect()
}

/// Takes `credits`, or is refused.
async fn charge(app: &App, id: &AccountId, credits: i64, key: &str) {
    app.charge(id, &Usage { quantity: credits, ..usage("translation", key) }).await.expect("an answer");
}

async fn levels(sandbox: &Sandbox, id: &AccountId, levels: &str) {
    let levels: Levels = levels.parse().expect("levels");
    assert!(
        sandbox
            .store()
            .set_account(id, NewFacts { levels: Some(Some(&levels)), ..NewFacts::default() })
            .await
            .expect("changed")
    );
}

both_databases! {
    async fn a_scan_looks_at_what_has_changed(sandbox: Sandbox) {
        let (acme, _idle) = (open(&sandbox, "acme").await, open(&sandbox, "idle").await);
        let app = sandbox.at("2013-01-05T10:00:00Z");
        job(&app, Job::Reset).await;
        assert_eq!(due(&sandbox).await, ["acme", "idle"], "whatever is new");
        assert_eq!(job(&app, Job::Scan).await.summary, "2 accounts: 0 alerts opened, 0 resolved, 0 notices written");
        assert_eq!(due(&sandbox).await, [""; 0]);
        assert_eq!(job(&app, Job::Scan).await.summary, "0 accounts: 0 alerts opened, 0 resolved, 0 notices written");

        charge(&app, &acme, 1_001, "above-low").await;
        assert_eq!(due(&sandbox).await, [""; 0], "499 left, low is 300");
        charge(&app, &acme, 203, "low").await;
        assert_eq!(due(&sandbox).await, ["acme"]);
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 1 alert opened, 0 resolved, 2 notices written");
        charge(&app, &acme, 7, "still-low").await;
        assert_eq!(due(&sandbox).await, [""; 0], "what is open is said already");
        app.call(&acme, Call::Purchase(purchase(1, "PAY-1"))).await.expect("a purchase");
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 0 alerts opened, 1 resolved, 0 notices written");

        levels(&sandbox, &acme, "tight=5000").await;
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 1 alert opened, 0 resolved, 2 notices written");
        let next_day = sandbox.at("2013-01-06T00:00:10Z");
        assert_eq!(job(&next_day, Job::Scan).await.summary, "2 accounts: 0 alerts opened, 0 resolved, 0 notices written", "once a day, all");
        sandbox.assert_verified().await;
    }

    /// Nobody can do anything about its credits; opened again, it is told of what is so then.
    async fn an_account_that_is_closed_has_no_open_alert(sandbox: Sandbox) {
        let acme = open(&sandbox, "acme").await;
        let ann = Admin { resolved: true, ..Admin::with_defaults(Email::new("ann@acme.example").expect("an address")) };
        sandbox.store().set_admin(&acme, &ann).await.expect("she wishes");
        let app = sandbox.at("2013-01-05T10:00:00Z");
        job(&app, Job::Reset).await;
        charge(&app, &acme, 1_500, "all").await;
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 3 alerts opened, 0 resolved, 2 notices written");
        let closing = |key, reopen| Call::Closing(Closing { key: Key::new(key).expect("a key"), reopen, comment: "unpaid".into() });
        app.call(&acme, closing("close", false)).await.expect("closed");
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 0 alerts opened, 3 resolved, 0 notices written");
        assert_eq!(sandbox.store().alerts(Some(&acme), false, 10).await.expect("alerts").len(), 0, "of those that are open");
        assert_eq!(job(&app, Job::Scan).await.summary, "0 accounts: 0 alerts opened, 0 resolved, 0 notices written");
        let later = sandbox.at("2013-01-05T11:00:00Z");
        later.call(&acme, closing("open", true)).await.expect("opened again");
        assert_eq!(job(&later, Job::Scan).await.summary, "1 account: 3 alerts opened, 0 resolved, 2 notices written");
        sandbox.assert_verified().await;
    }

    /// What is a percentage of no allowance is no level; and who never had a credit has lost none.
    async fn an_account_without_an_allowance_is_told_once_it_had_credits(sandbox: Sandbox) {
        let admin = Admin::with_defaults(Email::new("ann@packs.example").expect("an address"));
        let mut account = account("packs", "UTC", "2013-01-01");
        account.calendar = Calendar::new(Terms { allowance: Credits::ZERO, ..*account.calendar.terms_in(month("2013-01")) });
        let new = NewAccount { account, locale: None, admins: vec![admin] };
        sandbox.store().open_accounts(&[new], instant("2013-01-01T00:00:00Z")).await.expect("an account");
        let packs = account_id("packs");
        let idle = open(&sandbox, "idle").await;
        assert_eq!(sandbox.store().without_any_credits(&[packs.clone(), idle.clone()]).await.expect("read"), [idle, packs.clone()]);
        let app = sandbox.at("2013-01-05T10:00:00Z");
        job(&app, Job::Reset).await;
        assert_eq!(sandbox.store().without_any_credits(std::slice::from_ref(&packs)).await.expect("read"), std::slice::from_ref(&packs));
        for now in ["2013-01-05T10:00:00Z", "2013-02-06T10:00:00Z"] {
            let app = sandbox.at(now);
            job(&app, Job::Reset).await;
            assert_eq!(job(&app, Job::Scan).await.summary, "2 accounts: 0 alerts opened, 0 resolved, 0 notices written");
        }
        let app = sandbox.at("2013-02-07T10:00:00Z");
        app.call(&packs, Call::Purchase(purchase(1, "PAY-1"))).await.expect("a purchase");
        assert_eq!(job(&app, Job::Scan).await.summary, "2 accounts: 0 alerts opened, 0 resolved, 0 notices written");
        charge(&app, &packs, 2_500, "all").await;
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 1 alert opened, 0 resolved, 1 notice written");
        let told = &sandbox.store().messages(Some(&packs), None, 10).await.expect("the outbox")[0].message;
        assert!(told.subject.starts_with("Out of AI credits") && told.key.to_string().contains("/exhausted#1/"), "{}", told.subject);
        sandbox.assert_verified().await;
    }

    async fn what_admins_ask_for_comes_once(sandbox: Sandbox) {
        let acme = open(&sandbox, "acme").await;
        let ann = Admin {
            resolved: true,
            lapse_soon: true,
            ..Admin::with_defaults(Email::new("ann@acme.example").expect("an address"))
        };
        sandbox.store().set_admin(&acme, &ann).await.expect("she wishes");
        let app = sandbox.at("2013-01-25T10:00:00Z");
        job(&app, Job::Reset).await;
        charge(&app, &acme, 1_300, "much").await;
        job(&app, Job::Scan).await;
        app.call(&acme, Call::Purchase(purchase(1, "PAY-1"))).await.expect("a purchase");
        for now in ["2013-01-25T10:01:00Z", "2013-01-27T00:00:00Z", "2013-01-27T00:01:00Z"] {
            job(&sandbox.at(now), Job::Scan).await;
        }
        let bonus = Bonus {
            key: Key::new("bonus").expect("a key"),
            credit_type: CreditType::Free,
            credits: Credits::new(300),
            expires_at: None,
            comment: "lapses never".into(),
        };
        let kept = Bonus { key: Key::new("kept").expect("a key"), expires_at: Some(instant("2013-03-01T00:00:00Z")), ..bonus.clone() };
        app.call(&acme, Call::Bonus(kept)).await.expect("more that lapses, but later");
        job(&sandbox.at("2013-01-28T00:00:00Z"), Job::Scan).await;
        let told = async || -> Vec<String> {
            let told = sandbox.store().messages(None, None, 100).await.expect("the outbox");
            let mut told: Vec<String> = told.iter().map(|record| record.message.key.to_string()).collect();
            told.sort();
            told
        };
        let of_the_alert = ["low-credit/acme/low#1/ann@acme.example/1", "low-credit/acme/low#1/bob@acme.example/1"];
        let mut expected = of_the_alert.map(str::to_owned).to_vec();
        expected.push("resolved/acme/low#1/ann@acme.example/1".to_owned());
        assert_eq!(told().await, expected, "200 free ones lapse in January, less than 500");

        let late = Bonus { key: Key::new("late").expect("a key"), expires_at: Some(instant("2013-02-01T00:00:00Z")), ..bonus };
        app.call(&acme, Call::Bonus(late)).await.expect("500 that lapse with the month");
        for now in ["2013-01-29T00:00:00Z", "2013-01-29T00:01:00Z", "2013-01-30T00:00:00Z"] {
            job(&sandbox.at(now), Job::Scan).await;
        }
        expected.insert(0, "lapse-soon/acme/2013-01/ann@acme.example/1".to_owned());
        assert_eq!(told().await, expected);
        sandbox.assert_verified().await;
    }

    /// Two spellings of one address, as could be written once, are one admin, who is told once; and whoever is written leaves one.
    async fn an_admin_of_two_spellings_is_told_once(sandbox: Sandbox) {
        let acme = open(&sandbox, "acme").await;
        let spelt = "INSERT INTO admins (account_id, email, name, alerts, monthly_report, daily_report, digest)
                     SELECT account_id, 'ANN@acme.example', name, alerts, monthly_report, daily_report, digest FROM admins
                      WHERE email = 'ann@acme.example'";
        assert_eq!(sandbox.execute(spelt).await, Ok(1));
        let app = sandbox.at("2013-01-05T10:00:00Z");
        job(&app, Job::Reset).await;
        charge(&app, &acme, 1_500, "all").await;
        assert_eq!(job(&app, Job::Scan).await.summary, "1 account: 3 alerts opened, 0 resolved, 2 notices written");
        let ann = Admin { alerts: false, ..Admin::with_defaults(Email::new("Ann@acme.example").expect("an address")) };
        sandbox.store().set_admin(&acme, &ann).await.expect("written");
        let texts = sandbox.texts("SELECT email FROM admins ORDER BY lower(email)").await;
        assert_eq!(texts, ["Ann@acme.example", "bob@acme.example"]);
        assert!(sandbox.store().remove_admin(&acme, &Email::new("ANN@acme.example").expect("an address")).await.expect("removed"));
        sandbox.assert_verified().await;
    }

    async fn levels_in_percent_follow_the_allowance(sandbox: Sandbox) {
        let acme = open(&sandbox, "acme").await;
        let app = sandbox.at("2013-01-31T10:00:00Z");
        job(&app, Job::Reset).await;
        let terms = NewTerms {
            key: Key::new("terms").expect("a key"),
            zone: None,
            allowance: Some(Credits::new(10_000)),
        };
        app.call(&acme, Call::Terms(terms)).await.expect("terms from the next month on");
        job(&app, Job::Scan).await;
        // 20 % of 10,000 are more than there is left of them after this.
        let february = sandbox.at("2013-02-01T00:00:00Z");
        job(&february, Job::Scan).await;
        job(&february, Job::Reset).await;
        assert_eq!(job(&february, Job::Scan).await.summary, "0 accounts: 0 alerts opened, 0 resolved, 0 notices written");
        charge(&february, &acme, 8_001, "february").await;
        assert_eq!(job(&february, Job::Scan).await.summary, "1 account: 1 alert opened, 0 resolved, 2 notices written");
    }

    /// What comes with the next month, what is on hold, and what does not lapse with this one.
    async fn an_alert_says_what_is_true_of_the_account(sandbox: Sandbox) {
        let [none, more, held, bonus] = ["none", "more", "held", "bonus"];
        let (app, mut ids) = (sandbox.at("2013-01-30T10:00:00Z"), Vec::new());
        for id in [none, more, held, bonus] {
            ids.push(open(&sandbox, id).await);
        }
        job(&app, Job::Reset).await;
        for (at, allowance) in [(0, Credits::ZERO), (1, Credits::new(2_000))] {
            let terms = NewTerms { key: Key::new("terms").expect("a key"), zone: None, allowance: Some(allowance) };
            app.call(&ids[at], Call::Terms(terms)).await.expect("terms from the next month on");
        }
        let grant = Bonus {
            key: Key::new("grant").expect("a key"),
            credit_type: CreditType::Free,
            credits: Credits::new(10),
            expires_at: None,
            comment: "lapses never".into(),
        };
        app.call(&ids[3], Call::Bonus(grant)).await.expect("granted");
        for at in [0, 1, 3] {
            charge(&app, &ids[at], 1_450, "much").await;
        }
        let Usage { key, user, action, comment, .. } = usage("translation", "hold");
        let hold = Call::Hold(Hold { key, user, action, quantity: 1_500, ttl_seconds: 1_800, comment });
        app.call(&ids[2], hold).await.expect("a hold");
        job(&app, Job::Scan).await;
        let month = "1 February 2013, 00:00 UTC";
        for (id, said) in ids.iter().zip([
            format!("before the next month begins on {month}, which brings none"),
            format!("before the next 2,000 free credits arrive on {month}"),
            format!("No AI credits left, neither free nor purchased. 1,500 are on hold for actions under way. Unless more are bought or \
                     some of those on hold come back, there are none until the next 1,500 free credits arrive on {month}."),
            "What ends first is used first. 50 free credits lapse at the end of the month if unused.".to_owned(),
        ]) {
            let told = &sandbox.store().messages(Some(id), None, 10).await.expect("the outbox")[0].message;
            assert!(told.text.contains(&said), "{id}: {}", told.text);
        }
        sandbox.assert_verified().await;
    }

    /// Who writes while a scan looks is looked at in the next one.
    async fn a_change_during_a_scan_is_not_lost(sandbox: Sandbox) {
        let acme = open(&sandbox, "acme").await;
        let app = sandbox.at("2013-01-05T10:00:00Z");
        job(&app, Job::Reset).await;
        job(&app, Job::Scan).await;
        let store = sandbox.store();
        let one = std::slice::from_ref(&acme);
        type Change<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
        let changes: [Change<'_>; 2] =
            [Box::pin(charge(&app, &acme, 7, "meanwhile")), Box::pin(levels(&sandbox, &acme, "tight=100"))];
        for change in changes {
            let watched = store.watched(one).await.expect("what is known")[&acme];
            change.await;
            let looked = creditd::store::Looked { account: acme.clone(), plan: Default::default(), quiet: watched.quiet, watched };
            store.write_looked(&[looked], &[], &[], app.now()).await.expect("written");
            assert_eq!(due(&sandbox).await, ["acme"]);
            job(&app, Job::Scan).await;
            assert_eq!(due(&sandbox).await, [""; 0]);
        }
    }

    /// Random balances over time, scans at random instants, some of which are killed before they have written: each crossing
    /// that a scan could see makes exactly one notice for each admin, and nothing else makes one.
    async fn each_crossing_is_told_once(sandbox: Sandbox) {
        let mut random = fastrand::Rng::with_seed(0x0051_ac75);
        let accounts = [open(&sandbox, "acme").await, open(&sandbox, "zoo").await];
        let platform = Levels::default();
        let mut own: [Option<Levels>; 2] = [None, None];
        let mut states = [AlertState::default(), AlertState::default()];
        let mut expected = BTreeSet::new();
        let mut now = instant("2013-01-05T10:00:00Z");
        job(&sandbox.at_instant(now), Job::Reset).await;
        for step in 0..400 {
            now = Instant::from_micros(now.micros() + random.i64(1..=9 * 3_600_000_000_i64));
            let app = sandbox.at_instant(now);
            let at = random.usize(0..2);
            let id = &accounts[at];
            match random.u8(0..12) {
                0..4 => charge(&app, id, random.i64(1..=2_500), &format!("c{step}")).await,
                4 => drop(app.call(id, Call::Purchase(purchase(1, &format!("PAY-{step}")))).await.expect("an answer")),
                5 => {
                    let bonus = Bonus {
                        key: Key::new(&format!("b{step}")).expect("a key"),
                        credit_type: CreditType::Free,
                        credits: Credits::new(random.i64(1..=400)),
                        expires_at: Some(now.plus_days(3)),
                        comment: "for a while".into(),
                    };
                    app.call(id, Call::Bonus(bonus)).await.expect("an answer");
                }
                6 => {
                    let text = format!("low={},none-left=0", random.i64(1..=4_000));
                    levels(&sandbox, id, &text).await;
                    own[at] = Some(text.parse().expect("levels"));
                }
                7 | 8 => drop(job(&app, Job::Reset).await),
                9 => {
                    // Killed: it has looked, and written nothing.
                    let kit = Kit::new(app).expect("templates and a mail folder");
                    let mut run = Run { dry_run: true, progress: &mut |_, _| {}, stop: CancellationToken::new() };
                    execute(&kit, Job::Scan, Slot::Tick(now), &Span::WHOLE, &mut run).await.expect("a look");
                }
                _ => {
                    // What a reset has not written yet, only the first scan of a day sees.
                    job(&app, Job::Reset).await;
                    job(&app, Job::Scan).await;
                    let balances = app.balances(&accounts).await.expect("balances");
                    for (at, balance) in balances.iter().enumerate() {
                        let levels = own[at].as_ref().unwrap_or(&platform);
                        let total = balance.available.total();
                        let plan = plan_alerts(levels, balance.allowance, total, &states[at], now);
                        states[at].apply(&plan);
                        if let Some(crossing) = &plan.notice {
                            let id = &accounts[at];
                            for name in ["ann", "bob"] {
                                expected.insert(format!("low-credit/{id}/{crossing}/{name}@{id}.example/1"));
                            }
                        }
                    }
                    let told = sandbox.store().messages(None, None, 10_000).await.expect("the outbox");
                    let told: BTreeSet<String> = told.iter().map(|record| record.message.key.to_string()).collect();
                    assert_eq!(told, expected, "step {step}, {now}");
                }
            }
        }
        assert!(expected.len() > 20, "the history has crossings: {expected:?}");
        sandbox.assert_verified().await;
    }
}
