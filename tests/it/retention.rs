//! Retention (DESIGN 8): rows that left the database change cost, never meaning. Nearly everything here is done twice: on a ledger of
//! which rows leave, and on its twin of which none do.

use crate::support::{Sandbox, account_id, both_databases, drifts, instant, month, purchase, seal, usage};
use crate::tampering::history::{self, NOW};
use creditd::app::{App, AppError, LogAsk};
use creditd::core::calendar::Instant;
use creditd::core::credits::Credits;
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{Call, Cap, Capture, Hold, MonthClosing, Refund, Usage, Void};
use creditd::core::statement::{Breakdown, DateRange, Ending, Filters, Grouping, LocalTime, ReportSpec, Scope};
use creditd::core::transaction::{Touched, Transaction};
use creditd::report::aggregate;
use creditd::store::{LogFilter, LogPlace, LogWay, StoreError};
use proptest::prelude::*;

/// Drops what is sealed and older than the least number of months that can be asked for. Returns how many rows left.
async fn drop_rows(app: &App) -> u64 {
    let mut app = app.clone();
    app.settings.sealed.keep_months = Some(3);
    seal(&app).await;
    let mut dropped = 0;
    if let Some(mut dropping) = app.dropping().await.expect("a plan") {
        while let Some(rows) = app.drop_next(&mut dropping).await.expect("dropped") {
            dropped += rows;
        }
    }
    dropped
}

fn local(text: &str) -> LocalTime {
    text.parse().expect("a local time")
}

/// Everything that can be read of a ledger, said as text, so that two can be compared.
async fn said(app: &App, ids: &[AccountId], ranges: &[DateRange], then: &[Instant]) -> Vec<String> {
    let mut all = Vec::new();
    let user = UserId::new("ann").expect("a user");
    let filters = [
        Filters::default(),
        Filters { users: vec![Some(user)], ..Filters::default() },
        Filters { types: vec![Touched::Free, Touched::Mixed], ..Filters::default() },
        Filters { statuses: vec![Ending::Refused], ..Filters::default() },
    ];
    let now = app.now();
    for (at, range) in ranges.iter().enumerate() {
        let chosen = (at % 2 == 0).then_some(&ids[..1]);
        let grouping = Grouping::ALL[at % Grouping::ALL.len()];
        let scope = if chosen.is_some() { Scope::Account } else { Scope::Platform };
        for (number, by, is_of_then) in [
            (0, None, false),
            (0, Some(Breakdown::Action), true),
            (0, Some(Breakdown::Transaction), false),
            (1, Some(Breakdown::Action), true),
            (2, Some(Breakdown::User), false),
            (3, Some(Breakdown::Transaction), true),
        ] {
            let Ok(spec) = ReportSpec::new("t", *range, grouping, scope, now) else { continue };
            let Ok(spec) = spec.with_breakdown(by).with_filters(filters[number].clone()) else { continue };
            let as_of = then.get((at + number) % then.len()).copied().filter(|_| is_of_then);
            all.push(match app.read_report(chosen, &spec, as_of, &mut |_, _| {}).await {
                Ok(reading) => {
                    let model = aggregate(&spec, &reading.accounts, &reading.rows);
                    format!(
                        "{spec:?} {as_of:?}: {model:?} {:?} {:?} {}",
                        reading.log,
                        reading.facts,
                        reading.tops.len()
                    )
                }
                Err(error) => format!("{spec:?} {as_of:?}: {error}"),
            });
        }
        let statements = app.statements(ids, *range).await.expect("statements");
        let figures = statements.iter().map(|one| {
            let spec = ReportSpec::new("t", *range, Grouping::Range, Scope::Account, now).expect("bounded");
            let model = aggregate(&spec, &one.reading.accounts, &one.reading.rows);
            format!("{model:?} {:?} {:?} {} {:?}", one.refused, one.reading.facts, one.next_allocated, one.ending)
        });
        all.extend(figures);
    }
    for at in then {
        all.push(format!("{at}: {:?}", app.balances_as_of(ids, *at).await));
    }
    for id in ids {
        let ask = LogAsk { from: Instant::MIN, to: Instant::MAX, filters: Filters::default(), text: String::new() };
        for way in [LogWay::Back, LogWay::Forth] {
            let (mut place, mut rows): (Option<LogPlace>, Vec<Transaction>) = (None, Vec::new());
            loop {
                let page = app.log_page(id, &ask, way, place, 7).await.expect("a page");
                rows.extend(page.rows);
                place = page.next;
                if place.is_none() {
                    break;
                }
            }
            all.push(format!("{id} {way:?}: {rows:?}"));
        }
        for limit in [3, 1_000] {
            let filter = LogFilter { account: Some(id.clone()), ..LogFilter::default() };
            all.push(format!("{:?}", app.log_newest(&filter, limit).await.expect("rows")));
        }
    }
    all.push(format!("{:?}", app.balances(ids).await));
    all
}

fn assert_same(found: &[String], expected: &[String]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

fn ranges() -> Vec<DateRange> {
    let range = |(from, to): (&str, &str)| DateRange::new(local(from), local(to)).expect("a range");
    [
        ("2013-01-01", "2013-07-01"),
        ("2013-01-01", "2013-02-01"),
        ("2013-01-20T06:30", "2013-02-10T13:00:01"),
        ("2013-05-01", "2013-06-01"),
        ("2013-06-10", "2013-06-21"),
    ]
    .map(range)
    .to_vec()
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn refund(name: &str, of: &str, credits: i64) -> Call {
    Call::Refund(Refund {
        key: key(name),
        charge: key(of),
        credits: Some(Credits::new(credits)),
        comment: "late".into(),
    })
}

both_databases! {
    async fn what_is_read_is_the_same_when_rows_have_left(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let (acme, other) = (account_id("acme"), account_id("other"));
        let ids = [acme.clone(), account_id("idle"), other];
        let then = ["2013-01-15T00:00:00Z", "2013-03-03T00:00:00Z", NOW].map(instant);
        let app = sandbox.at("2013-08-02T12:00:00Z");
        let expected = said(&app, &ids, &ranges(), &then).await;
        let before = sandbox.log(&acme).await;

        assert!(drop_rows(&app).await > 20);
        let left = sandbox.log(&acme).await;
        assert!(left.len() < before.len());
        assert!(before.iter().filter(|row| !left.contains(row)).all(|row| row.kind.is_of_action()));
        assert_eq!(drop_rows(&app).await, 0, "once");
        assert_same(&said(&app, &ids, &ranges(), &then).await, &expected);
        assert_eq!(drifts(&app).await, []);
        assert_eq!(app.verify_sealed(&mut |_, _| {}).await.expect("looked at").problems, Vec::<String>::new());
    }

    /// R9, R10, R11: a key is answered for ever, and what it did can still be refunded.
    async fn calls_find_the_rows_they_are_about_when_these_have_left(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let acme = account_id("acme");
        let app = sandbox.at("2013-08-02T12:00:00Z");
        let log = sandbox.log(&acme).await;
        let with_key = |text: &str| log.iter().find(|row| row.key == Some(key(text))).expect("a row").clone();
        assert!(drop_rows(&app).await > 20);

        let again = Call::Charge(Usage { quantity: 100, ..usage("erase", "a") });
        let answer = app.call(&acme, again.clone()).await.expect("a replay");
        assert!(answer.replayed && answer.row == with_key("a"), "{answer:?}");
        let planned = app.plan(&[(acme.clone(), again)]).await.expect("a plan");
        assert!(planned[0].as_ref().is_ok_and(|receipt| receipt.replayed), "{planned:?}");
        let other = Call::Charge(Usage { quantity: 99, ..usage("erase", "a") });
        let refused = app.call(&acme, other).await.expect_err("another content").to_string();
        assert!(refused.contains("idempotency_conflict") || refused.contains("\"a\""), "{refused}");

        // 100 of the 700 were given back already, by rows that have left, too.
        let too_much = app.call(&acme, refund("r-1", "a", 601)).await.expect_err("more than was taken").to_string();
        assert!(too_much.contains("600 are left"), "{too_much}");
        let given = app.call(&acme, refund("r-2", "a", 600)).await.expect("given back").row;
        assert_eq!((given.delta.total().get(), given.corrects), (600, Some(with_key("a").seq)));
        app.call(&acme, refund("r-3", "a", 1)).await.expect_err("all is given back");

        let capture = Call::Capture(Capture { key: key("late-capture"), hold: key("held-1"), credits: None, comment: String::new() });
        app.call(&acme, capture).await.expect_err("it was captured");
        let void = Call::Void(Void { key: key("void-2"), hold: key("held-2"), comment: "not needed".into() });
        assert!(app.call(&acme, void).await.expect("a replay").replayed);

        // A cap that is new counts what its user has used since ever.
        let cap = Call::Cap(Cap { key: key("new-cap"), user: UserId::new("ann").expect("a user"), credits: None });
        app.call(&acme, cap).await.expect("no cap any more");
        let cap = Call::Cap(Cap { key: key("newer-cap"), user: UserId::new("ann").expect("a user"), credits: Some(Credits::new(9_000)) });
        app.call(&acme, cap).await.expect("a cap");
        let reopen = Call::Month(MonthClosing { key: key("again"), month: month("2013-01"), reopen: true, comment: "late".into() });
        let _ = app.call(&acme, reopen).await;
        assert_eq!(drifts(&app).await, []);
        drop_rows(&app).await;
        assert_eq!(drifts(&app).await, []);
    }

    async fn nothing_is_lost_when_the_files_are(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let acme = account_id("acme");
        let app = sandbox.at("2013-08-02T12:00:00Z");
        seal(&app).await;
        let folder = app.sealed_folder().path().to_owned();
        let parts = sandbox.store().sealed_chain().await.expect("a chain");
        let january = folder.join(&parts.parts()[0].log.name);
        let (whole, rows) = (std::fs::read(&january).expect("a file"), sandbox.log(&acme).await.len());

        // What is not in the files as it should be does not leave the database.
        std::fs::remove_file(&january).expect("removed");
        let mut keeping = app.clone();
        keeping.settings.sealed.keep_months = Some(3);
        let mut dropping = keeping.dropping().await.expect("a plan").expect("something");
        let error = keeping.drop_next(&mut dropping).await.expect_err("a file is missing").to_string();
        assert!(error.contains(&*january.display().to_string()), "{error}");
        assert_eq!(sandbox.log(&acme).await.len(), rows);
        std::fs::write(&january, &whole).expect("put back");
        let refused = sandbox.execute("DELETE FROM transactions WHERE account_id = 'acme' AND seq = 4").await;
        assert!(refused.expect_err("by the database itself").contains("append-only"));
        assert!(drop_rows(&app).await > 20);

        let needed = parts.parts()[0].number;
        let refused = sandbox.execute(&format!("DELETE FROM sealed WHERE number = {needed}")).await;
        assert!(refused.expect_err("rows are in it alone").contains("it stays"));

        // Once they have left, calls that need them are refused, and all others go on.
        std::fs::remove_file(&january).expect("removed");
        let again = Call::Charge(Usage { quantity: 100, ..usage("erase", "a") });
        let before = sandbox.balance(&app, &acme).await.available;
        match app.call(&acme, again.clone()).await.expect_err("its row is in no file") {
            AppError::Store(StoreError::Shared(error)) => {
                assert!(matches!(*error, StoreError::Recall { .. }), "{error}");
                assert!(error.to_string().contains(&*january.display().to_string()), "{error}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(sandbox.balance(&app, &acme).await.available, before);
        app.call(&acme, Call::Charge(usage("erase", "new"))).await.expect("charged");
        let all = DateRange::new(local("2013-01-01"), local("2013-02-01")).expect("a range");
        let spec = ReportSpec::new("t", all, Grouping::Month, Scope::Account, app.now()).expect("bounded");
        let error = app.read_report(None, &spec, None, &mut |_, _| {}).await.expect_err("not from half of the rows").to_string();
        assert!(error.contains("is missing"), "{error}");
        std::fs::write(&january, &whole).expect("put back");
        assert!(app.call(&acme, again).await.expect("a replay").replayed);
        assert_eq!(drifts(&app).await, []);
    }

    /// Whoever writes, as an older creditd that runs beside this one: the database knows the keys of rows that have left.
    async fn a_key_is_used_once_whoever_writes(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at("2013-08-02T12:00:00Z");
        let (acme, busy) = (account_id("acme"), sandbox.open_account("busy", "UTC", "2013-06-01").await);
        let charge = |name: &str, quantity| Call::Charge(Usage { quantity, ..usage("erase", name) });
        // Its ledger is kept in memory from here on.
        for name in ["n-1", "n-2"] {
            app.call(&busy, charge(name, 1)).await.expect("charged");
        }
        assert!(drop_rows(&app).await > 20);
        let last = sandbox.log(&acme).await.last().expect("rows").seq;
        let copy = format!(
            "INSERT INTO transactions SELECT account_id, seq + 1, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status,
                    reason, comment, 'a', content, corrects, expires_at, money_minor, currency, reference, free_delta, purchased_delta,
                    free_balance, purchased_balance, entries, digest FROM transactions WHERE account_id = 'acme' AND seq = {last}"
        );
        sandbox.execute(&copy).await.expect_err("the key of a row that has left");
        let row = app.call(&busy, charge("n-3", 1)).await.expect("charged").row;
        assert!(app.call(&busy, charge("n-3", 1)).await.expect("a replay").row == row);
        app.call(&acme, charge("a", 99)).await.expect_err("other content under a key of a row that has left");
        assert_eq!(drifts(&app).await, []);
    }

    /// Accounts of which no row has left are proved also where a file is missing.
    async fn a_missing_file_hides_no_difference_elsewhere(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let late = sandbox.open_account("late", "UTC", "2013-06-01").await;
        let app = sandbox.at("2013-08-02T12:00:00Z");
        app.call(&late, Call::Charge(usage("erase", "l"))).await.expect("charged");
        assert!(drop_rows(&app).await > 20);
        let chain = sandbox.store().sealed_chain().await.expect("a chain");
        std::fs::remove_file(app.sealed_folder().path().join(&chain.parts()[0].log.name)).expect("removed");
        sandbox.execute("UPDATE accounts SET balance_free = balance_free + 1 WHERE account_id = 'late'").await.expect("past creditd");
        let found = drifts(&app).await;
        assert!(found.iter().any(|drift| drift.account == "late"), "{found:#?}");
        assert!(found.iter().any(|drift| drift.found.contains("is missing")), "{found:#?}");
    }

    /// What is written past creditd in their place is found.
    async fn an_opening_or_a_key_that_was_changed_is_found(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at("2013-08-02T12:00:00Z");
        assert!(drop_rows(&app).await > 20);
        let change = "UPDATE accounts SET opening_free = opening_free + 1 WHERE account_id = 'acme'";
        sandbox.execute(change).await.expect("past creditd");
        assert!(drifts(&app).await.iter().any(|drift| drift.check.contains("an opening")));
        sandbox.execute("UPDATE accounts SET opening_free = opening_free - 1 WHERE account_id = 'acme'").await.expect("back");
        sandbox.execute("DELETE FROM dropped_keys WHERE account_id = 'acme' AND key = 'a'").await.expect("past creditd");
        let found = drifts(&app).await;
        assert!(found.len() == 1 && found[0].check.contains("keys of rows"), "{found:#?}");
    }

    /// An open hold keeps its row, and those behind it.
    async fn no_row_leaves_from_an_open_hold_on(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let app = sandbox.at("2013-01-05T00:00:00Z");
        app.call(&acme, Call::Charge(usage("erase", "first"))).await.expect("charged");
        let Usage { action, .. } = usage("erase", "h");
        let hold = Hold { key: key("h"), user: None, action, quantity: 1, ttl_seconds: 60, comment: String::new() };
        app.call(&acme, Call::Hold(hold)).await.expect("held");
        app.call(&acme, Call::Charge(usage("erase", "second"))).await.expect("charged");
        // No job has looked for holds that ran out since.
        assert_eq!(drop_rows(&sandbox.at("2013-08-02T12:00:00Z")).await, 1);
        let app = sandbox.at("2013-08-02T12:00:01Z");
        app.call(&acme, Call::Charge(usage("erase", "third"))).await.expect("charged");
        assert_eq!(drifts(&app).await, []);
        assert_eq!(drop_rows(&sandbox.at("2013-12-02T12:00:01Z")).await, 5);
        assert_eq!(drifts(&app).await, []);
    }

    /// Two processes that seal: each row leaves once.
    async fn two_that_drop_at_once_drop_once(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at("2013-08-02T12:00:00Z");
        seal(&app).await;
        let (one, other) = tokio::join!(drop_rows(&app), drop_rows(&app));
        let more = drop_rows(&app).await;
        let gone = sandbox.texts("SELECT CAST(count(*) AS TEXT) FROM dropped_keys").await;
        assert!(one + other + more > 20, "{one} + {other} + {more}: {gone:?}");
        assert_eq!(drop_rows(&app).await, 0);
        assert_eq!(drifts(&app).await, []);
    }
}

/// What happens next to two ledgers.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in hours.
    Wait(i64),
    Charge {
        account: usize,
        quantity: i64,
        user: Option<u8>,
        ago_days: Option<i64>,
    },
    Hold {
        account: usize,
    },
    /// About an earlier step, and under a key that may be an earlier one's.
    About {
        account: usize,
        step: prop::sample::Index,
        how: u8,
    },
    Cap {
        account: usize,
        user: u8,
        credits: Option<i64>,
    },
    Buy {
        account: usize,
    },
    /// Rows leave one of the two.
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    let account = 0..2_usize;
    prop_oneof![
        4 => prop_oneof![1_i64..100, 500_i64..2_000].prop_map(Step::Wait),
        6 => (account.clone(), 1_i64..90, prop::option::of(0_u8..3), prop::option::of(1_i64..30))
            .prop_map(|(account, quantity, user, ago_days)| Step::Charge { account, quantity, user, ago_days }),
        1 => account.clone().prop_map(|account| Step::Hold { account }),
        5 => (account.clone(), any::<prop::sample::Index>(), 0_u8..4)
            .prop_map(|(account, step, how)| Step::About { account, step, how }),
        1 => (account.clone(), 0_u8..3, prop::option::of(0_i64..3_000))
            .prop_map(|(account, user, credits)| Step::Cap { account, user, credits }),
        1 => account.prop_map(|account| Step::Buy { account }),
        3 => Just(Step::Drop),
    ]
}

/// The call of a step; `earlier` are the calls that came before.
fn call(at: usize, step: &Step, now: Instant, earlier: &[(usize, Call)]) -> Option<(usize, Call)> {
    let name = format!("k{at}");
    let named = |user: &u8| UserId::new(&format!("u{user}")).expect("a user");
    Some(match step {
        Step::Wait(_) | Step::Drop => return None,
        Step::Charge { account, quantity, user, ago_days } => {
            let occurred_at = ago_days.map(|days| now.plus_days(-days).max(instant("2024-01-20T10:00:00Z")));
            let user = user.as_ref().map(named);
            (*account, Call::Charge(Usage { quantity: *quantity, user, occurred_at, ..usage("erase", &name) }))
        }
        Step::Hold { account } => {
            let Usage { action, .. } = usage("erase", &name);
            let user = Some(named(&1));
            let hold = Hold { key: key(&name), user, action, quantity: 2, ttl_seconds: 3_600, comment: String::new() };
            (*account, Call::Hold(hold))
        }
        Step::About { account, step, how } => {
            let (of, call) = earlier.get(step.index(earlier.len().max(1)))?;
            let about = call.key().clone();
            match how {
                // The same once more, as it was.
                0 => (*of, call.clone()),
                1 => (*account, Call::Charge(Usage { quantity: 3, ..usage("erase", about.as_str()) })),
                2 => (
                    *of,
                    Call::Refund(Refund { key: key(&name), charge: about, credits: None, comment: "late".into() }),
                ),
                _ => (
                    *of,
                    Call::Capture(Capture { key: key(&name), hold: about, credits: None, comment: String::new() }),
                ),
            }
        }
        Step::Cap { account, user, credits } => {
            (*account, Call::Cap(Cap { key: key(&name), user: named(user), credits: credits.map(Credits::new) }))
        }
        Step::Buy { account } => (*account, Call::Purchase(purchase(1, &name))),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn a_ledger_of_which_rows_leave_is_the_one_of_which_none_do(steps in prop::collection::vec(step(), 20..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let twins = [Sandbox::new().await, Sandbox::new().await];
            let ids: Vec<AccountId> = ["a", "b"].map(account_id).to_vec();
            for sandbox in &twins {
                for (id, zone) in ["a", "b"].into_iter().zip(["Pacific/Kiritimati", "America/Havana"]) {
                    sandbox.open_account(id, zone, "2024-01-15").await;
                }
            }
            let (mut now, mut calls) = (instant("2024-01-20T10:00:00Z"), Vec::new());
            for (at, step) in steps.iter().enumerate() {
                if let Step::Wait(hours) = step {
                    now = now.plus_seconds(hours * 3_600);
                }
                let [kept, left] = [0, 1].map(|twin| twins[twin].at_instant(now));
                if let Step::Drop = step {
                    drop_rows(&left).await;
                }
                if let Some((account, call)) = call(at, step, now, &calls) {
                    now = now.plus_seconds(1);
                    let id = &ids[account];
                    let expected = kept.call(id, call.clone()).await.map_err(|error| error.to_string());
                    let found = left.call(id, call.clone()).await.map_err(|error| error.to_string());
                    prop_assert_eq!(found, expected, "{:?}", call);
                    calls.push((account, call));
                }
            }
            now = now.plus_days(100);
            let [kept, left] = [0, 1].map(|twin| twins[twin].at_instant(now));
            drop_rows(&left).await;
            let begin = instant("2024-01-20T00:00:00Z");
            let day = |at: Instant| local(&at.to_string()[..10]);
            let middle = Instant::from_micros((begin.micros() + now.micros()) / 2);
            let ranges = [(begin, now.plus_days(1)), (begin, middle), (middle, now), (begin.plus_days(12), begin.plus_days(41))]
                .into_iter()
                .filter_map(|(from, to)| DateRange::new(day(from), day(to)).ok())
                .collect::<Vec<DateRange>>();
            let expected = said(&kept, &ids, &ranges, &[begin, middle, now]).await;
            assert_same(&said(&left, &ids, &ranges, &[begin, middle, now]).await, &expected);
            for sandbox in &twins {
                prop_assert_eq!(drifts(&sandbox.at_instant(now)).await, []);
            }
            Ok(())
        })?;
    }
}

/// The names in SQL of the kinds that leave are those of the core.
#[test]
fn the_database_lets_those_kinds_go_that_are_of_actions() {
    use creditd::core::transaction::Kind;
    let leaving = Kind::ALL.iter().filter(|kind| kind.is_of_action()).map(|kind| kind.as_str());
    let mut leaving: Vec<&str> = leaving.collect();
    leaving.sort_unstable();
    assert_eq!(leaving, ["charge", "hold", "refund", "release"]);
}
