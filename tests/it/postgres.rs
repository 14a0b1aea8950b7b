//! What only a server can do: be away, refuse a login, hold a lock for somebody else, break a connection in the middle.

use crate::support::{Backend, Sandbox, Wire, instant, own_cluster, purchase, usage};
use creditd::app::App;
use creditd::clock::Clock;
use creditd::core::ids::{AccountId, Key};
use creditd::core::ledger::{Call, Capture, Hold, Purchase, Usage};
use creditd::core::run::{End, Run, Take};
use creditd::core::schedule::{Job, Slot};
use creditd::core::transaction::Transaction;
use creditd::store::{Batch, Load, RunId, Store, StoreError};
use sqlx::{Connection, PgConnection};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// An account with room for every charge of a test, or nothing where there is no server to test on.
async fn with_room() -> Option<(Sandbox, AccountId)> {
    let sandbox = on_server().await?;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    sandbox.at("2013-01-10T00:00:00Z").purchase(&acme, &purchase(10, "inv-1")).await.expect("a purchase");
    Some((sandbox, acme))
}

pub async fn on_server() -> Option<Sandbox> {
    if Backend::Postgres.is_there() { Some(Sandbox::on(Backend::Postgres).await) } else { None }
}

async fn open_error(url: &str) -> StoreError {
    Store::open(url).await.map(|_| ()).expect_err("it cannot be opened")
}

#[tokio::test]
async fn why_a_database_cannot_be_used_is_said_without_its_password() {
    let Some(sandbox) = on_server().await else { return };
    let url = sandbox.url();
    let database = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a database");
    let other = |user: &str| url.replace("creditd@", user);

    let error = open_error(&other("with_password:wrong@")).await;
    assert!(matches!(error, StoreError::Credentials { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with(&format!("the database {database} on /tmp/creditd-pg-")), "{said}");
    assert!(said.contains("refuses the login") && said.contains("password authentication failed"), "{said}");
    assert!(!format!("{error:?}{said}").contains("wrong"), "{error:?}");
    assert!(matches!(open_error(&other("no_such_user@")).await, StoreError::Credentials { .. }));

    let error = open_error(&url.replace(database, "no_such_database")).await;
    assert!(error.to_string().starts_with("there is no database no_such_database on /tmp/"), "{error}");
    let error = open_error("postgres://ann:secret@127.0.0.1:1/credits").await;
    assert!(error.to_string().starts_with("the database credits on 127.0.0.1:1 cannot be reached: "), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let error = open_error("postgres:///credits?host=/no/such/folder").await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");

    let (url, _database) = sandbox.empty_place().await;
    let error = open_error(&url).await;
    assert!(error.to_string().contains("; `creditd init` makes one"), "{error}");
}

#[tokio::test]
async fn a_ledger_is_made_beside_no_other_tables() {
    let Some(sandbox) = on_server().await else { return };
    let (url, _database) = sandbox.empty_place().await;
    let pool = sqlx::PgPool::connect(&url).await.expect("the empty database");
    let other = "CREATE TABLE films (title text); CREATE SCHEMA credits";
    sqlx::raw_sql(other).execute(&pool).await.expect("tables of another program");
    let error = Store::create(&url, sandbox.store().meta()).await.map(|_| ()).expect_err("not empty");
    assert!(error.to_string().contains("has 1 table of something else; it was left as it is"), "{error}");
    // As the error says.
    let url = format!("{url}&options=-csearch_path%3Dcredits");
    Store::create(&url, sandbox.store().meta()).await.expect("a schema of its own").close().await;
    let store = Store::open(&url).await.expect("the same ledger");
    assert_eq!(store.meta(), sandbox.store().meta());
}

/// Makes the next `times` updates of accounts fail with `code`, whoever makes them.
async fn fail_updates(sandbox: &Sandbox, times: i64, code: &str) {
    let script = format!(
        "CREATE SEQUENCE failures;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION fail();"
    );
    sandbox.execute(&script).await.expect("a trigger");
}

#[tokio::test]
async fn a_unit_that_collides_is_done_again_and_once() {
    for code in ["40001", "40P01", "23505", "57P01"] {
        let Some((sandbox, acme)) = with_room().await else { return };
        let before = sandbox.log(&acme).await.len();
        fail_updates(&sandbox, 3, code).await;
        let app = sandbox.at("2013-01-10T00:00:00Z");
        let answer = app.charge(&acme, &usage("erase", "k")).await.expect("done at the fourth try");
        assert!(!answer.replayed);
        assert_eq!(sandbox.log(&acme).await.len(), before + 1, "{code}");
        assert_eq!(sandbox.texts("SELECT CAST(last_value AS TEXT) FROM failures").await, ["4"]);
    }
}

#[tokio::test]
async fn a_unit_that_always_collides_is_given_up() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let before = sandbox.log(&acme).await;
    fail_updates(&sandbox, 1_000, "40001").await;
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let error = app.charge(&acme, &usage("erase", "k")).await.expect_err("given up");
    assert!(error.to_string().contains("each of the 20 times this was tried; nothing was written"), "{error}");
    assert_eq!(sandbox.log(&acme).await, before);
}

/// What is no collision is not tried again.
#[tokio::test]
async fn a_unit_that_fails_for_good_fails_at_once() {
    let Some((sandbox, acme)) = with_room().await else { return };
    fail_updates(&sandbox, 1_000, "53100").await;
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let error = app.charge(&acme, &usage("erase", "k")).await.expect_err("no room on the disk");
    assert!(error.to_string().starts_with("the database failed while writing"), "{error}");
    assert!(error.to_string().contains("not now"), "{error}");
    assert_eq!(sandbox.texts("SELECT CAST(last_value AS TEXT) FROM failures").await, ["1"]);
}

/// What would let a stopped process hold everybody up is bounded on every connection.
#[tokio::test]
async fn every_connection_has_its_bounds() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let script = "CREATE TABLE seen (name TEXT, setting TEXT);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen SELECT name, current_setting(name) FROM pg_settings;
             RETURN NEW;
         END $$;
         CREATE TRIGGER see BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION see();";
    sandbox.execute(script).await.expect("a trigger");
    sandbox.at("2013-01-10T00:00:00Z").charge(&acme, &usage("erase", "k")).await.expect("charged");
    let bounds = "SELECT name || ' ' || setting FROM seen WHERE name IN ('lock_timeout', 'statement_timeout',
                  'idle_in_transaction_session_timeout', 'random_page_cost', 'jit', 'application_name') ORDER BY 1";
    assert_eq!(
        sandbox.texts(bounds).await,
        [
            "application_name creditd",
            "idle_in_transaction_session_timeout 12s",
            "jit off",
            "lock_timeout 30s",
            "random_page_cost 1.1",
            "statement_timeout 15min",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_waits_for_who_holds_its_account() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let mut other = sandbox.postgres().await.begin().await.expect("somebody else");
    let hold = "UPDATE accounts SET name = 'held' WHERE account_id = 'acme'";
    sqlx::raw_sql(hold).execute(&mut *other).await.expect("the row is held");
    let charging = tokio::spawn(async move { app.charge(&acme, &usage("erase", "k")).await });
    let waiting = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE datname = current_database()
                      AND wait_event_type = 'Lock'";
    while sandbox.texts(waiting).await != ["1"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!charging.is_finished());
    other.commit().await.expect("let go");
    charging.await.expect("a task").expect("charged after it");
}

/// A batch takes its accounts in order of id, also where the first of them is due another time now and the second is not: who
/// waits for the first holds none behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_both_kinds_takes_its_accounts_in_order() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let app = sandbox.at("2013-01-10T00:00:00Z");
    app.charge(&acme, &usage("erase", "opens-the-month")).await.expect("charged");
    let aaa = sandbox.open_account("aaa", "UTC", "2013-01-01").await;
    let mut other = sandbox.postgres().await.begin().await.expect("somebody else");
    let hold = "UPDATE accounts SET name = name WHERE account_id = 'aaa'";
    sqlx::raw_sql(hold).execute(&mut *other).await.expect("the row is held");
    let charging = tokio::spawn(async move {
        let (now, call) = (app.now(), Call::Charge(usage("erase", "both")));
        let mut load = Load::default();
        load.call(&aaa, &call, now);
        load.call(&acme, &call, now);
        let plan = |batch: &mut Batch| {
            for ledger in batch.ledgers.values_mut() {
                ledger.apply(&call, &batch.prices, now).expect("charged");
            }
            batch.ledgers.len()
        };
        app.store.update(&load, plan).await
    });
    let waiting = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE datname = current_database()
                      AND wait_event_type = 'Lock'";
    while sandbox.texts(waiting).await != ["1"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = "SELECT 1 FROM accounts WHERE account_id = 'acme' FOR NO KEY UPDATE NOWAIT";
    sqlx::raw_sql(second).execute(&mut *other).await.expect("nobody holds the second");
    other.commit().await.expect("let go");
    assert_eq!(charging.await.expect("a task").expect("charged after it"), 2);
    sandbox.assert_verified().await;
}

/// Two programs plan on an empty ledger. To one, row 1 is a pack, to the other it is the free credits of a month, of which it
/// takes some. Whoever comes second plans again; what both together would make of grant 1 is never tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_plans_that_begin_alike_are_done_one_after_the_other() {
    let Some(sandbox) = on_server().await else { return };
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let second = sandbox.second_program(app.now()).await;
    let mut other = sandbox.postgres().await.begin().await.expect("somebody else");
    let hold = "UPDATE accounts SET name = name WHERE account_id = 'acme'";
    sqlx::raw_sql(hold).execute(&mut *other).await.expect("the row is held");
    let told = Purchase { occurred_at: Some(app.now()), ..purchase(1, "inv-1") };
    let calls = [(app, Call::Purchase(told)), (second, Call::Charge(usage("erase", "k")))];
    let asked = calls.map(|(app, call)| {
        let acme = acme.clone();
        tokio::spawn(async move { app.call(&acme, call).await })
    });
    let waiting = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE datname = current_database()
                      AND wait_event_type = 'Lock'";
    while sandbox.texts(waiting).await != ["2"] {}
    other.commit().await.expect("let go");
    for task in asked {
        task.await.expect("a task").expect("done");
    }
    assert_eq!(sandbox.log(&acme).await.len(), 3);
    sandbox.assert_verified().await;
}

/// Clients, three accounts, and calls of the kinds that are written in one statement and in several.
struct Clients {
    accounts: Vec<AccountId>,
    tasks: Vec<JoinHandle<Vec<(AccountId, Transaction)>>>,
}

impl Clients {
    /// Lets them call one thing after the other until `enough` says so. Each call is answered, as the client's own.
    async fn calling(sandbox: &Sandbox, app: &App, enough: impl Fn(usize) -> bool + Clone + Send + 'static) -> Clients {
        let mut accounts = Vec::new();
        for id in ["a0", "a1", "a2"] {
            accounts.push(sandbox.open_account(id, "UTC", "2013-01-01").await);
            app.purchase(&accounts[accounts.len() - 1], &purchase(100, &format!("inv-{id}")))
                .await
                .expect("a purchase");
        }
        let client = |client: usize| {
            let (app, account, enough) = (app.clone(), accounts[client % 3].clone(), enough.clone());
            tokio::spawn(async move {
                let mut rows = Vec::new();
                let mut n = 0;
                while !enough(n) {
                    let call = call_of(client, n);
                    let answer = app.call(&account, call).await.unwrap_or_else(|error| panic!("{client}.{n}: {error}"));
                    assert!(!answer.replayed, "{client}.{n} was asked for once");
                    rows.push((account.clone(), answer.row));
                    n += 1;
                }
                rows
            })
        };
        let tasks = (0..9).map(client).collect();
        Clients { accounts, tasks }
    }

    fn are_calling(&self) -> bool {
        self.tasks.iter().any(|task| !task.is_finished())
    }

    /// What was answered is there, once, and nothing else but what it came from; how many answers there were.
    async fn check(self, sandbox: &Sandbox) -> usize {
        let mut answered = Vec::new();
        for task in self.tasks {
            answered.extend(task.await.expect("every call was answered"));
        }
        for account in &self.accounts {
            let log = sandbox.log(account).await;
            let of_account = answered.iter().filter(|(of, _)| of == account).map(|(_, row)| row);
            let mut rows: Vec<&Transaction> = of_account.collect();
            rows.sort_by_key(|row| row.seq);
            let first = Key::new(&format!("purchase:inv-{account}")).ok();
            let keyed = |row: &&Transaction| row.key.is_some() && row.key != first;
            assert_eq!(log.iter().filter(keyed).collect::<Vec<_>>(), rows, "{account}");
        }
        sandbox.assert_verified().await;
        answered.len()
    }
}

/// A charge, a hold, the capture of that hold, and so on.
fn call_of(client: usize, n: usize) -> Call {
    let key = |n: usize| Key::new(&format!("k{client}-{n}")).expect("a key");
    let usage = usage("erase", &format!("k{client}-{n}"));
    match n % 3 {
        0 => Call::Charge(usage),
        1 => {
            let Usage { action, key, .. } = usage;
            Call::Hold(Hold { key, user: None, action, quantity: 1, ttl_seconds: 60, comment: String::new() })
        }
        _ => Call::Capture(Capture { key: key(n), hold: key(n - 1), credits: None, comment: String::new() }),
    }
}

/// Connections break while clients call, also in the middle of a commit: each call is done, and done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r9_broken_connections_lose_nothing_and_do_nothing_twice() {
    let Some(sandbox) = on_server().await else { return };
    let clients = Clients::calling(&sandbox, &sandbox.at("2013-01-10T00:00:00Z"), |n| n == 12).await;
    let admin = sandbox.postgres().await;
    let mut broken = 0;
    while clients.are_calling() {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'creditd'";
        broken += sqlx::raw_sql(kill).fetch_all(&admin).await.expect("the server is there").len();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(broken > 0);
    assert_eq!(clients.check(&sandbox).await, 9 * 12);
}

/// The statement as a client sends it: a text that ends there, unlike that of BEGIN .. READ COMMITTED.
const COMMIT: &str = "COMMIT\0";

/// The ledger at the end of a wire that can break.
pub async fn on_a_wire(sandbox: &Sandbox) -> (Wire, App) {
    let wire = Wire::to(sandbox.url());
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let mut settings = app.settings.clone();
    wire.url().clone_into(&mut settings.database_url);
    let app = App::open(settings, Clock::Fixed(app.now())).await;
    (wire, app.expect("the ledger at the end of the wire"))
}

/// The server does what it is asked and its answer is lost, or the request was: which of them, the client finds by the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r9_a_commit_whose_answer_is_lost_is_found_by_its_key() {
    let Some(sandbox) = on_server().await else { return };
    let (wire, app) = on_a_wire(&sandbox).await;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    wire.lose_answer_to(COMMIT);
    let held = app.call(&acme, call_of(0, 1)).await.expect("held");
    assert_eq!((wire.breaks(), held.replayed), (1, false));
    assert_eq!(sandbox.log(&acme).await.last(), Some(&held.row));

    let clients = Clients::calling(&sandbox, &app, |n| n == 80).await;
    wire.break_from_now_on();
    while clients.are_calling() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(wire.breaks() > 10, "{} breaks", wire.breaks());
    assert_eq!(clients.check(&sandbox).await, 9 * 80);
}

/// Who takes a batch, and is cut off when it was written, has it all the same: nobody else would do it before its lease ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_answer_is_lost_is_had() {
    let Some(sandbox) = on_server().await else { return };
    let (wire, app) = on_a_wire(&sandbox).await;
    let now = app.now();
    for n in 1..4 {
        let id = RunId::of(Job::Reset, Slot::Tick(now.plus_seconds(n)));
        assert!(app.store.begin_run(id, now).await.expect("begun"));
        wire.lose_answer_to(COMMIT);
        let take = |run: &mut Run, clock| match run.take("we", clock, 60) {
            Take::Find(after) => (run.hand_out(after.as_deref(), End::Rest, "we", clock, 60), None),
            Take::Batch(batch) => (Some(batch), None),
            Take::Wait | Take::Over => (None, None),
        };
        let batch = app.store.change_run(id, take).await.expect("taken").flatten();
        assert_eq!(batch.map(|batch| batch.term), Some(1), "handed out once");
        assert_eq!(wire.breaks(), n.unsigned_abs());
    }
}

/// How often the server goes down: each time it is up again a moment later, as after a crash.
const CRASHES: u64 = 8;

/// The whole server goes down while clients call, by itself or because one of its processes was killed. What becomes of a
/// commit under way is known to nobody, but the clients live on, and their keys find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r9_a_server_that_crashes_loses_nothing_and_does_nothing_twice() {
    let Some(cluster) = own_cluster() else { return };
    let mut sandbox = Sandbox::on_server(&cluster).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let enough = Arc::clone(&is_over);
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let clients = Clients::calling(&sandbox, &app, move |_| enough.load(Ordering::Relaxed)).await;
    for crash in 0..CRASHES {
        let mut connection = connect_again(sandbox.url()).await;
        // A different moment of what the clients do each time.
        tokio::time::sleep(Duration::from_micros(40_000 + 7_000 * crash)).await;
        if crash.is_multiple_of(2) {
            cluster.restart();
        } else {
            let pid: i32 =
                sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.expect("a pid");
            // One process of a server killed, and the server takes its memory for spoiled: it ends all others.
            let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
            assert!(killed.success());
        }
        while connection.ping().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    connect_again(sandbox.url()).await.close().await.expect("it is up");
    is_over.store(true, Ordering::Relaxed);
    while clients.are_calling() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sandbox.reopen(instant("2013-01-10T00:00:00Z")).await;
    assert!(clients.check(&sandbox).await > 0);
}

async fn connect_again(url: &str) -> PgConnection {
    let mut tries = 0;
    loop {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(error) => assert!(tries < 6_000, "the server does not come up again: {error}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Callers who give up, at whatever moment, leave no transaction open behind them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_gives_up_leaves_no_transaction_behind() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let app = sandbox.at("2013-01-10T00:00:00Z");
    for round in 0..60 {
        let (app, acme) = (app.clone(), acme.clone());
        let calls: Vec<_> = (0..4)
            .map(|n| {
                let (app, acme) = (app.clone(), acme.clone());
                tokio::spawn(async move {
                    let usage = usage("erase", &format!("k{round}-{n}"));
                    let both = (app.charge(&acme, &usage).await, app.balances(std::slice::from_ref(&acme)).await);
                    drop(both);
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(200 * round)).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
    }
    // Whatever was begun ends by itself.
    let open = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'creditd' AND xact_start IS NOT NULL";
    let mut pauses = 0;
    while sandbox.texts(open).await != ["0"] {
        pauses += 1;
        assert!(pauses < 200, "a transaction is left open");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    app.charge(&acme, &usage("erase", "last")).await.expect("the pool is whole");
    sandbox.assert_verified().await;
}
