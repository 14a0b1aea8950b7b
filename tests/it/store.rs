//! The store on a real SQLite file: what the database refuses, what verify finds, and many at once.

use crate::support::{Backend, Sandbox, account, both_databases, instant, month, purchase, usage};
use creditd::app::App;
use creditd::core::ids::AccountId;
use creditd::core::ledger::Usage;
use creditd::core::statement::{DateRange, Grouping, ReportSpec, Scope, fold};
use creditd::core::transaction::Status;
use creditd::store::{Load, NewAccount, Store};
use sqlx::{AssertSqlSafe, SqlitePool};

/// Brings every account up to the time of `app` in batches, as the reset job does.
async fn reset(app: &App, batch: usize) {
    let now = app.now();
    let mut last: Option<AccountId> = None;
    loop {
        let due = app.store.accounts_due(now, last.as_ref(), batch).await.expect("due accounts");
        let Some(newest) = due.last() else { break };
        last = Some(newest.clone());
        let plan = |batch: &mut creditd::store::Batch| {
            batch.ledgers.values_mut().for_each(|ledger| ledger.roll_over(now, now).expect("small sums"));
        };
        app.store.update(&Load::accounts(&due, now), plan).await.expect("a batch");
    }
}

both_databases! {
    /// R3: a report counts what a reset would write. While a reset writes it, nothing may be counted twice or not at all.
    async fn r3_a_report_beside_a_reset_counts_everything_once(sandbox: Sandbox) {
        let new = |n: usize| NewAccount { account: account(&format!("a{n:03}"), "UTC", "2013-01-01"), admins: Vec::new() };
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

/// An account with a row of every kind: free and purchased credits, a charge of both, failed and refused ones, lapses,
/// and a lapse taken back.
async fn with_history(sandbox: &Sandbox) -> AccountId {
    let acme = sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    let charge = |key, quantity| Usage { quantity, ..usage("erase", key) };
    let january = sandbox.at("2013-01-10T00:00:00Z");
    january.purchase(&acme, &purchase(1, "inv-1")).await.expect("a purchase");
    january.charge(&acme, &charge("a", 100)).await.expect("700 free");
    january.charge(&acme, &charge("refused", 10_000)).await.expect("a refusal");
    january.charge(&acme, &Usage { status: Status::Failed, ..charge("failed", 1) }).await.expect("a failure");
    let february = sandbox.at("2013-02-10T00:00:00Z");
    february.charge(&acme, &charge("b", 250)).await.expect("1500 free and 250 purchased");
    let late = Usage { occurred_at: Some(instant("2013-01-20T00:00:00Z")), ..charge("late", 20) };
    february.charge(&acme, &late).await.expect("140 free of January");
    reset(&sandbox.at("2013-04-10T00:00:00Z"), 100).await;
    sandbox.open_account("other", "UTC", "2013-01-01").await;
    sandbox.assert_verified().await;
    acme
}

async fn execute(pool: &SqlitePool, sql: &str) -> Result<u64, String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
    done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

both_databases! {
    /// R15: not creditd but the database refuses, so any other program on the ledger is held, too.
    async fn r15_the_database_itself_refuses_to_change_the_past(sandbox: Sandbox) {
        let acme = with_history(&sandbox).await;
        let before = sandbox.log(&acme).await;
        let both = [
            "UPDATE transactions SET comment = 'x'",
            "UPDATE transactions SET seq = seq + 100 WHERE seq = 3",
            "DELETE FROM transactions",
            "DELETE FROM transactions WHERE account_id = 'acme' AND seq = 3",
            "INSERT INTO transactions SELECT * FROM transactions WHERE seq = 3
             ON CONFLICT (account_id, seq) DO UPDATE SET free_delta = 0",
        ];
        let one: &[&str] = match sandbox.backend() {
            Backend::Sqlite => &[
                "UPDATE OR REPLACE transactions SET seq = 2 WHERE seq = 3",
                "UPDATE OR IGNORE transactions SET free_delta = 0",
                "REPLACE INTO transactions SELECT * FROM transactions WHERE seq = 3",
                "INSERT OR REPLACE INTO transactions SELECT account_id, 99, kind, occurred_at, recorded_at, user_id, action,
                        quantity, unit_price, status, reason, comment, key, content, corrects, expires_at, money_minor,
                        currency, reference, free_delta, purchased_delta, free_balance, purchased_balance, entries, digest
                   FROM transactions WHERE seq = 3",
            ],
            Backend::Postgres => &["TRUNCATE transactions", "TRUNCATE accounts CASCADE"],
        };
        for statement in both.iter().chain(one) {
            let refusal = sandbox.execute(statement).await.expect_err(statement);
            let expected = "transactions are append-only: correct a row by a new one";
            assert!(refusal.contains(expected), "{statement}: {refusal}");
        }
        assert_eq!(sandbox.log(&acme).await, before);
        sandbox.assert_verified().await;
    }
}

/// Changes made behind creditd's back: what a person might do with the SQLite shell, or a broken disk with a bit. Each
/// alone must be found. Rows of acme: 1 January's grant, 2 the pack, 3 a charge of 700 (grant 1), 4 refused, 5 failed,
/// 6 January's lapse, 7 February's grant, 8 a charge of 1500 (grant 7) and 250 (grant 2), 9 a lapse taken back, 10 the
/// late charge, then the months until April.
const TAMPERING: &[&str] = &[
    "UPDATE accounts SET opened_at = opened_at - 1",
    "UPDATE accounts SET opened_through = '2013-05'",
    "UPDATE accounts SET opened_through = NULL",
    "UPDATE accounts SET last_seq = last_seq + 1",
    "UPDATE accounts SET last_recorded_at = last_recorded_at + 1",
    "UPDATE accounts SET balance_free = balance_free + 1",
    "UPDATE accounts SET balance_purchased = balance_purchased - 1",
    "UPDATE accounts SET due_at = due_at + 1",
    "UPDATE terms SET allowance = 1501",
    "DELETE FROM accounts WHERE account_id = 'acme'",
    "UPDATE grants SET amount = amount + 1 WHERE grant_id = 2",
    "UPDATE grants SET amount = amount + 1, remaining = remaining + 1 WHERE grant_id = 2",
    "UPDATE grants SET consumed = consumed + 1 WHERE grant_id = 1",
    "UPDATE grants SET consumed = consumed + 1, remaining = remaining - 1 WHERE grant_id = 2",
    "UPDATE grants SET lapsed = lapsed + 1 WHERE grant_id = 1",
    "UPDATE grants SET lapsed = lapsed - 1, remaining = remaining + 1 WHERE grant_id = 1",
    "UPDATE grants SET remaining = remaining + 1 WHERE grant_id = 2",
    "UPDATE grants SET starts_at = starts_at + 1 WHERE grant_id = 1",
    "UPDATE grants SET starts_at = starts_at - 1 WHERE grant_id = 2",
    "UPDATE grants SET starts_at = starts_at - 1 WHERE grant_id = 7",
    "UPDATE grants SET expires_at = expires_at + 1 WHERE grant_id = 1",
    "UPDATE grants SET expires_at = 4000000000000000 WHERE grant_id = 2",
    "UPDATE grants SET expires_at = expires_at + 1 WHERE label = 'free:2013-04'",
    "UPDATE grants SET lapsed_by = 3 WHERE grant_id = 1",
    "UPDATE grants SET lapsed_by = NULL WHERE grant_id = 1",
    "UPDATE grants SET lapsed_by = 4 WHERE grant_id = 2",
    "UPDATE grants SET credit_type = 'purchased' WHERE grant_id = 1",
    "UPDATE grants SET source = 'bonus' WHERE grant_id = 1",
    "UPDATE grants SET source = 'monthly' WHERE grant_id = 2",
    "UPDATE grants SET label = 'free:2012-12' WHERE grant_id = 1",
    "UPDATE grants SET label = 'pack:other' WHERE grant_id = 2",
    "DELETE FROM grants WHERE grant_id = 2",
    "DELETE FROM grants WHERE label = 'free:2013-03'",
    "INSERT INTO grants SELECT account_id, 3, 'x', credit_type, source, 0, starts_at, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL
                          FROM grants WHERE account_id = 'acme' AND grant_id = 2",
    "UPDATE transactions SET kind = 'bonus' WHERE seq = 2",
    "UPDATE transactions SET kind = 'expiry' WHERE seq = 3",
    "UPDATE transactions SET kind = 'charge' WHERE seq = 6",
    "UPDATE transactions SET kind = 'charge' WHERE seq = 1",
    "UPDATE transactions SET seq = 100 WHERE seq = 5",
    "UPDATE transactions SET occurred_at = occurred_at + 1 WHERE seq = 1",
    "UPDATE transactions SET occurred_at = occurred_at + 1 WHERE seq = 2",
    "UPDATE transactions SET occurred_at = occurred_at + 3000000000000 WHERE seq = 3",
    "UPDATE transactions SET occurred_at = occurred_at - 1 WHERE seq = 6",
    "UPDATE transactions SET occurred_at = 0 WHERE seq = 5",
    "UPDATE transactions SET occurred_at = occurred_at + 315360000000000 WHERE seq = 5",
    "UPDATE transactions SET recorded_at = recorded_at - 5000000000000 WHERE seq = 7",
    "UPDATE transactions SET recorded_at = recorded_at + 1 WHERE seq = (SELECT max(seq) FROM transactions)",
    "UPDATE transactions SET quantity = quantity + 1 WHERE seq = 2",
    "UPDATE transactions SET quantity = quantity + 1 WHERE seq = 3",
    "UPDATE transactions SET quantity = 0 WHERE seq = 5",
    "UPDATE transactions SET unit_price = unit_price + 1 WHERE seq = 2",
    "UPDATE transactions SET unit_price = unit_price - 1 WHERE seq = 3",
    "UPDATE transactions SET status = 'failed' WHERE seq = 3",
    "UPDATE transactions SET status = 'success' WHERE seq = 4",
    "UPDATE transactions SET status = 'success' WHERE seq = 5",
    "UPDATE transactions SET status = 'failed' WHERE seq = 6",
    "UPDATE transactions SET reason = 'insufficient_credits' WHERE seq = 3",
    "UPDATE transactions SET corrects = NULL WHERE seq = 9",
    "UPDATE transactions SET corrects = 3 WHERE seq = 9",
    "UPDATE transactions SET reference = 'inv-2' WHERE seq = 2",
    "UPDATE transactions SET key = 'purchase:inv-2' WHERE seq = 2",
    "UPDATE transactions SET money_minor = NULL WHERE seq = 2",
    "UPDATE transactions SET free_delta = free_delta - 1 WHERE seq = 3",
    "UPDATE transactions SET purchased_delta = purchased_delta + 1 WHERE seq = 8",
    "UPDATE transactions SET free_delta = free_delta + 250, purchased_delta = purchased_delta - 250 WHERE seq = 8",
    "UPDATE transactions SET free_balance = free_balance + 1 WHERE seq = 3",
    "UPDATE transactions SET purchased_balance = purchased_balance - 1 WHERE seq = 8",
    "DELETE FROM transactions WHERE seq = 5",
    "DELETE FROM transactions WHERE seq = (SELECT max(seq) FROM transactions)",
    "UPDATE transactions SET account_id = 'other', seq = 50 WHERE seq = 5",
    "INSERT INTO transactions (account_id, seq, kind, occurred_at, recorded_at, quantity, unit_price, status, comment,
                               free_delta, purchased_delta, free_balance, purchased_balance, entries, digest)
     VALUES ('acme', 50, 'bonus', 0, 0, 0, 0, 'success', '', 0, 0, 0, 0, '[]', 0)",
    "INSERT OR REPLACE INTO transactions
     SELECT account_id, seq, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status, reason,
            comment, key, content, corrects, expires_at, money_minor, currency, reference, free_delta + 1,
            purchased_delta, free_balance, purchased_balance, entries, digest FROM transactions WHERE seq = 3",
    "UPDATE transactions SET entries = '[]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[1,\"free\",-701]]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[99,\"free\",-700]]' WHERE seq = 3",
    "UPDATE transactions SET entries = '[[1,\"free\",-1500],[2,\"purchased\",-250]]' WHERE seq = 8",
];

/// The ledger in `bytes` after `script` was run on it by a program that asks nobody's leave.
async fn tampered(sandbox: &Sandbox, bytes: &[u8], script: &str) -> Store {
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(sandbox.path(&format!("tampered.db{ending}")));
    }
    let path = sandbox.write("tampered.db", bytes);
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(false)
        .pragma("ignore_check_constraints", "ON");
    let pool = SqlitePool::connect_with(options).await.expect("the copy");
    for trigger in
        ["transactions_are_never_updated", "transactions_are_never_deleted", "transactions_are_never_replaced"]
    {
        execute(&pool, &format!("DROP TRIGGER {trigger}")).await.expect("the trigger is there");
    }
    let changed = execute(&pool, script).await.expect(script);
    assert!(changed > 0, "changes nothing: {script}");
    pool.close().await;
    Store::open(&format!("sqlite://{}", path.display())).await.expect("it opens")
}

#[tokio::test]
async fn r16_verify_finds_whatever_was_changed_behind_its_back() {
    let sandbox = Sandbox::new().await;
    with_history(&sandbox).await;
    sandbox.store().close().await;
    let bytes = std::fs::read(sandbox.path("creditd.db")).expect("the ledger");
    let mut missed = Vec::new();
    for script in TAMPERING {
        let store = tampered(&sandbox, &bytes, script).await;
        let clock = creditd::clock::Clock::Fixed(store.meta().created_at);
        let app = App::new(sandbox.at("2013-01-01T00:00:00Z").settings.clone(), store, clock).expect("a sandbox");
        if crate::support::drifts(&app).await.is_empty() {
            missed.push(*script);
        }
        app.store.close().await;
    }
    assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
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
    the database url "mysql://localhost/creditd" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite::memory:" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite://" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "creditd.db" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    the database url "sqlite://a.db?mode=ro" is not supported: it is neither a file nor a Postgres server. Use sqlite://path/to/creditd.db or postgres://user@host/database
    there is a ledger at DIR/creditd.db already; nothing was changed
    the ledger has schema 9999, this creditd knows 2; install a newer creditd
    "#);
}
