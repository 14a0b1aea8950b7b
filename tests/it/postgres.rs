//! What only a server can do: be away, refuse a login, hold a lock for somebody else, break a connection in the middle.

use crate::support::{Backend, Sandbox, purchase, usage};
use creditd::core::ids::AccountId;
use creditd::store::{Store, StoreError};
use std::time::Duration;

/// An account with room for every charge of a test, or nothing where there is no server to test on.
async fn with_room() -> Option<(Sandbox, AccountId)> {
    let sandbox = on_server().await?;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    sandbox.at("2013-01-10T00:00:00Z").purchase(&acme, &purchase(10, "inv-1")).await.expect("a purchase");
    Some((sandbox, acme))
}

async fn on_server() -> Option<Sandbox> {
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
            "idle_in_transaction_session_timeout 1min",
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

/// Connections break while charges run, also in the middle of a commit: each is done, and done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r9_broken_connections_lose_nothing_and_do_nothing_twice() {
    let Some((sandbox, acme)) = with_room().await else { return };
    let app = sandbox.at("2013-01-10T00:00:00Z");
    let before = sandbox.log(&acme).await.len();
    let charging: Vec<_> = (0..8)
        .map(|task| {
            let (app, acme) = (app.clone(), acme.clone());
            tokio::spawn(async move {
                for n in 0..10 {
                    app.charge(&acme, &usage("erase", &format!("k{task}-{n}"))).await.expect("charged");
                }
            })
        })
        .collect();
    let admin = sandbox.postgres().await;
    let mut broken = 0;
    while charging.iter().any(|task| !task.is_finished()) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'creditd'";
        broken += sqlx::raw_sql(kill).fetch_all(&admin).await.expect("the server is there").len();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    for task in charging {
        task.await.expect("every charge was answered");
    }
    assert!(broken > 0);
    assert_eq!(sandbox.log(&acme).await.len(), before + 80);
    sandbox.assert_verified().await;
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
