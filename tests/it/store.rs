//! The store on a real ledger: many at once, any history as in memory, and what is no ledger.

use crate::support::{Sandbox, account, both_databases, instant, month, purchase, usage};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::core::ids::{AccountId, ActionCode, Key};
use creditd::core::ledger::{Call, Hold, Usage};
use creditd::core::statement::{Breakdown, DateRange, Grouping, LocalTime, ReportSpec, Row, Rows, Scope, fold};
use creditd::core::transaction::Status;
use creditd::store::{Due, Load, NewAccount, RANGES_PER_READ, ReportAsk, ReportRange, Store, StoredAccount, Way};
use sqlx::SqlitePool;

/// Brings every account up to the time of `app` in batches, as the reset job does.
pub async fn reset(app: &App, batch: usize) {
    let now = app.now();
    let mut last: Option<Due> = None;
    loop {
        let due = app.store.accounts_due(now, last.as_ref(), None, batch).await.expect("due accounts");
        let Some(newest) = due.last() else { break };
        last = Some(newest.clone());
        let due: Vec<AccountId> = due.into_iter().map(|due| due.account).collect();
        let plan = |batch: &mut creditd::store::Batch| {
            batch.ledgers.values_mut().for_each(|ledger| ledger.roll_over(now, now).expect("small sums"));
        };
        app.store.update(&Load::accounts(&due, now), plan).await.expect("a batch");
    }
}

both_databases! {
    /// R3: a report counts what a reset would write. While a reset writes it, nothing may be counted twice or not at all.
    async fn r3_a_report_beside_a_reset_counts_everything_once(sandbox: Sandbox) {
        let account = |n: usize| account(&format!("a{n:03}"), "UTC", "2013-01-01");
        let new = |n: usize| NewAccount { account: account(n), locale: None, admins: Vec::new() };
        let accounts: Vec<NewAccount> = (0..200).map(new).collect();
        sandbox.store().open_accounts(&accounts, instant("2013-01-01T00:00:00Z")).await.expect("accounts");
        let range = DateRange::new(month("2013-01").first_day(), month("2014-01").first_day()).expect("a year");
        for moment in ["2013-03-10", "2013-06-10", "2013-09-10", "2013-12-10"] {
            let app = sandbox.at(&format!("{moment}T00:00:00Z"));
            let writing = tokio::spawn({
                let app = app.clone();
                async move { reset(&app, 10).await }
            });
            let months = moment[5..7].parse::<i64>().expect("a month");
            while !writing.is_finished() {
                let (accounts, rows) = app.report_rows(None, range, None, &mut |_, _| {}).await.expect("rows");
                let spec = ReportSpec::new("", range, Grouping::Range, Scope::Platform, app.now()).expect("one period");
                let model = fold(&spec, &accounts, &rows).expect("small sums");
                let figures = model.totals[0].figures;
                assert_eq!(figures.allocated.get(), 200 * 1_500 * months, "{moment}");
                assert_eq!(figures.remaining.get(), 200 * 1_500, "{moment}");
            }
            writing.await.expect("the reset");
        }
        sandbox.assert_verified().await;
    }
}

both_databases! {
    /// Of so many accounts rows are added up as they are read, several reads at once.
    async fn a_report_of_more_accounts_than_are_read_at_once_is_whole(sandbox: Sandbox) {
        const ZONES: [&str; 3] = ["UTC", "Asia/Tokyo", "America/New_York"];
        let new = |n: usize| NewAccount { account: account(&format!("a{n:04}"), ZONES[n % 3], "2013-01-01"), locale: None, admins: Vec::new() };
        let accounts: Vec<NewAccount> = (0..RANGES_PER_READ + 150).map(new).collect();
        sandbox.store().open_accounts(&accounts, instant("2013-01-01T00:00:00Z")).await.expect("accounts");
        let app = sandbox.at("2013-03-10T00:00:00Z");
        reset(&app, 500).await;
        for (at, account) in accounts.iter().enumerate().step_by(97) {
            app.charge(&account.account.id, &usage("erase", &format!("k{at}"))).await.expect("charged");
        }
        // Later, so that some of it no reset has written.
        let app = sandbox.at("2013-04-02T00:00:00Z");
        for (from, to) in [("2013-01-01", "2013-05-01"), ("2013-03-10", "2013-03-11")] {
            let day = |text: &str| text.parse::<LocalTime>().expect("a day");
            let range = DateRange::new(day(from), day(to)).expect("a range");
            let (known, rows) = app.report_rows(None, range, None, &mut |_, _| {}).await.expect("rows");
            assert_eq!(known.len(), accounts.len());
            for scope in Scope::ALL {
                let spec = ReportSpec::new("", range, Grouping::Month, *scope, app.now()).expect("few periods");
                for by in [None, Some(Breakdown::Type), Some(Breakdown::Status)] {
                    let spec = spec.clone().with_breakdown(by);
                    let expected = fold(&spec, &known, &rows).expect("small sums");
                    let (known, summed) = app.report_rows(None, &spec, None, &mut |_, _| {}).await.expect("rows");
                    assert!(summed.len() < rows.len() && !summed.summed().sums().is_empty());
                    assert_eq!(fold(&spec, &known, &summed).expect("small sums"), expected, "{scope} by {by:?}");
                }
            }
        }
    }
}

both_databases! {
    /// Whatever the size of the pieces in which rows are handed on, looked up or walked: together they are all, once.
    async fn rows_are_handed_on_in_pieces(sandbox: Sandbox) {
        for (name, opened) in [("acme", "2013-01-01"), ("beta", "2013-02-10"), ("gamma", "2013-03-01")] {
            sandbox.open_account(name, "UTC", opened).await;
        }
        let app = sandbox.at("2013-03-10T00:00:00Z");
        reset(&app, 500).await;
        let store = sandbox.store();
        let accounts = store.report_accounts(None).await.expect("the accounts");
        for (at, account) in (0..40).zip(accounts.iter().cycle()) {
            let action = if at % 3 == 0 { "erase" } else { "text-to-image" };
            app.charge(&account.id, &usage(action, &format!("k{at}"))).await.expect("charged");
        }
        let range = |(at, account): (usize, &StoredAccount)| {
            let (from, to) = (instant("2013-02-01T00:00:00Z"), instant("2013-04-01T00:00:00Z"));
            (at, ReportRange { account: account.id.clone(), from, to, after_seq: 0, last_seq: account.last_seq })
        };
        let ranges: Vec<_> = store.report_accounts(None).await.expect("the accounts").iter().enumerate().map(range).collect();
        let sorted = |all: &Rows| {
            let named = |row: Row| (row.account, row.counts_at, row.kind, all.text_of(row.name).cloned(), row.delta.free.get());
            let mut rows: Vec<_> = all.iter().map(named).collect();
            rows.sort();
            rows
        };
        for way in [Way::LookedUp, Way::Walked] {
            let asked = ReportAsk { breakdown: Some(Breakdown::Action), has_openings: true, way };
            let all = store.report_rows(&ranges, asked).await.expect("rows");
            assert!(all.rows.len() > 40, "{way:?}");
            for size in [1, 7, 1_000] {
                let mut begun = store.begin_report_rows(&ranges, asked, size);
                let (mut pieces, mut rows, mut openings) = (0, Rows::default(), Vec::new());
                while let Some(piece) = begun.next().await.expect("a piece") {
                    pieces += 1;
                    rows.append(piece.rows);
                    openings.extend(piece.openings);
                }
                assert_eq!(sorted(&rows), sorted(&all.rows), "{way:?} by {size}");
                assert_eq!(openings, all.openings, "{way:?} by {size}");
                assert_eq!(pieces > 1, size < all.rows.len(), "{way:?} by {size}: {pieces} pieces");
            }
            // Nobody wants the rest: that ends it, and leaves the database as it was.
            let mut begun = store.begin_report_rows(&ranges, asked, 1);
            begun.next().await.expect("a piece");
            drop(begun);
        }
        sandbox.assert_verified().await;
    }
}

/// R10: what another program keeps waiting happens when it is its turn, or a hold would be over before it is answered.
#[tokio::test]
async fn r10_a_hold_begins_when_its_turn_comes() {
    let sandbox = Sandbox::new().await;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let other = sandbox.sql().await.begin_with("BEGIN IMMEDIATE").await.expect("the write lock");
    let began = Clock::System.now();
    let hold = Hold {
        key: Key::new("h").expect("a key"),
        user: None,
        action: ActionCode::new("erase").expect("an action"),
        quantity: 1,
        ttl_seconds: 60,
        comment: String::new(),
    };
    let waiting = tokio::spawn({
        let (store, acme, call) = (sandbox.store().clone(), acme.clone(), Call::Hold(hold));
        let mut load = Load::default();
        load.call(&acme, &call, began);
        async move {
            let plan = |batch: &mut creditd::store::Batch| {
                let ledger = batch.ledgers.get_mut(&acme).expect("the account");
                ledger.apply(&call, &batch.prices, Clock::System.now()).expect("held").row
            };
            store.update(&load, plan).await
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let free_at = Clock::System.now();
    other.commit().await.expect("the lock is given back");
    let row = waiting.await.expect("a task").expect("held");
    assert!(row.occurred_at >= free_at, "began {began}, free {free_at}, held {}", row.occurred_at);
    assert_eq!(sandbox.log(&acme).await.last(), Some(&row));
}

/// Charges of 700 under keys of their own, `tasks` at once, spread over `apps`; how many succeeded.
async fn charge_at_once(apps: &[App], account: &AccountId, tasks: usize) -> usize {
    let tasks: Vec<_> = (0..tasks)
        .map(|n| {
            let (app, account) = (apps[n % apps.len()].clone(), account.clone());
            let usage = Usage { quantity: 100, ..usage("erase", &format!("k{n}")) };
            tokio::spawn(async move { app.charge(&account, &usage).await.expect("an answer").row.status })
        })
        .collect();
    let mut succeeded = 0;
    for task in tasks {
        succeeded += usize::from(task.await.expect("a task") == Status::Success);
    }
    succeeded
}

both_databases! {
    /// R6: room for five charges is room for five, however many come at once.
    async fn r6_of_many_charges_at_once_exactly_those_succeed_that_fit(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let app = sandbox.at("2013-01-10T00:00:00Z");
        app.purchase(&acme, &purchase(1, "inv-1")).await.expect("a purchase");
        assert_eq!(charge_at_once(std::slice::from_ref(&app), &acme, 40).await, 5); // 4,000 credits
        assert_eq!(sandbox.balance(&app, &acme).await.available.total().get(), 4_000 - 5 * 700);
        assert_eq!(sandbox.log(&acme).await.len(), 2 + 40);
        sandbox.assert_verified().await;
    }

    /// The same with two programs on one ledger: each has its own queue, and the database stands between.
    async fn r6_two_programs_on_one_ledger_share_its_room(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let first = sandbox.at("2013-03-10T00:00:00Z"); // three months are opened by whoever comes first
        let second = sandbox.second_program(first.now()).await;
        let both = [first, second.clone()];
        let (charged, ()) = tokio::join!(charge_at_once(&both, &acme, 30), reset(&second, 1));
        assert_eq!(charged, 2); // 1,500 credits
        for app in &both {
            assert_eq!(sandbox.balance(app, &acme).await.available.total().get(), 100);
        }
        sandbox.assert_verified().await;
    }

    /// R9: one call, sent many times at once, is done once.
    async fn r9_one_key_used_many_times_at_once_charges_once(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let app = sandbox.at("2013-01-10T00:00:00Z");
        let apps = [app.clone(), sandbox.second_program(app.now()).await];
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (app, acme) = (apps[n % 2].clone(), acme.clone());
                tokio::spawn(async move { app.charge(&acme, &usage("erase", "same")).await.expect("an answer") })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("a task"));
        }
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.row.seq == answers[0].row.seq));
        assert_eq!(sandbox.balance(&app, &acme).await.available.free.get(), 1_493);
        sandbox.assert_verified().await;
    }
}

async fn open_error(url: &str) -> String {
    let error = Store::open(url).await.map(|_| ()).expect_err(url);
    error.to_string()
}

/// What `creditd` says of a file that is no ledger of its kind, and that it leaves the file as it is.
#[tokio::test]
async fn what_is_no_ledger_is_refused_in_words_and_left_alone() {
    let sandbox = Sandbox::new().await;
    let folder = sandbox.path("").display().to_string();
    let url = |name: &str| format!("sqlite://{}", sandbox.path(name).display());
    let mut said = Vec::new();
    for (name, bytes) in
        [("text.db", &b"account,name\nacme,Acme\n"[..]), ("long.db", &[b'x'; 10_000]), ("empty.db", b"")]
    {
        let path = sandbox.write(name, bytes);
        said.push(open_error(&url(name)).await);
        assert!(std::fs::read(path).expect("the file") == bytes, "{name} was changed");
    }
    // A database of another program.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(sandbox.path("other.db")).create_if_missing(true);
    let other = SqlitePool::connect_with(options).await.expect("another program's database");
    let execute = async |pool: &SqlitePool, sql: &'static str| sqlx::raw_sql(sql).execute(pool).await.map(drop);
    execute(&other, "CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES ('a', 'b')")
        .await
        .expect("done");
    other.close().await;
    let before = std::fs::read(sandbox.path("other.db")).expect("the file");
    said.push(open_error(&url("other.db")).await);
    assert!(std::fs::read(sandbox.path("other.db")).expect("the file") == before, "other.db was changed");
    // Neither file nor database.
    std::fs::create_dir(sandbox.path("folder.db")).expect("a folder");
    said.push(open_error(&url("folder.db")).await);
    said.push(open_error(&url("missing.db")).await);
    said.push(open_error(&url("no/such/folder.db")).await);
    for bad in ["mysql://localhost/creditd", "sqlite::memory:", "sqlite://", "creditd.db", "sqlite://a.db?mode=ro"] {
        said.push(open_error(bad).await);
    }
    // A ledger that is there is not made again, one of a newer creditd is not touched.
    let meta = sandbox.store().meta();
    said.push(Store::create(sandbox.url(), meta).await.map(|_| ()).expect_err("it exists").to_string());
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, 'from the future', installed_on, success, checksum,
                        execution_time FROM _sqlx_migrations LIMIT 1";
    execute(&sandbox.sql().await, newer).await.expect("a newer schema");
    said.push(open_error(sandbox.url()).await);
    insta::assert_snapshot!(said.join("\n").replace(&folder, "DIR/"), @r#"
    DIR/text.db is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and make a ledger with `creditd init`
    DIR/long.db is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and make a ledger with `creditd init`
    DIR/empty.db is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and make a ledger with `creditd init`
    DIR/other.db is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and make a ledger with `creditd init`
    DIR/folder.db is no ledger of creditd; it was left as it is. Name another file in database_url, or move this one away and make a ledger with `creditd init`
    there is no ledger at DIR/missing.db; `creditd init` makes one
    there is no ledger at DIR/no/such/folder.db; `creditd init` makes one
    the database url "mysql://..." is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite::memory:" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite://" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "creditd.db" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite://a.db?..." is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    there is a ledger at DIR/creditd.db already; nothing was changed
    the ledger has schema 9999, this creditd knows 20; install a newer creditd
    "#);
}
