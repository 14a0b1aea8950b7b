//! SQLite: the floor is bare prepared statements through the C API by one writer.

use super::{
    AFTER, Asked, BEFORE, MEASURED, SPREAD, account_id, app_at, charge_each, charges_of, clock, fill, instant, line,
    settings,
};
use super::{reset_all, reset_beside_charges, scan_all};
use creditd::store::{Meta, Store};
use rusqlite::{Connection, params};
use std::path::Path;

/// Charges that the floor commits at once.
const BATCH: usize = 64;

async fn new_ledger(folder: &Path, accounts: usize) -> (creditd::config::Settings, Store) {
    let url = format!("sqlite://{}", folder.join("creditd.db").display());
    let settings = settings(folder, &url);
    let store = Store::create(&url, Meta { created_at: instant(BEFORE), sandbox: true }).await.expect("a ledger");
    fill(&app_at(&settings, &store, BEFORE), accounts).await;
    (settings, store)
}

pub async fn charges(asked: &Asked) {
    let folder = tempfile::tempdir().expect("a folder");
    let (settings, store) = new_ledger(folder.path(), SPREAD).await;
    let app = app_at(&settings, &store, BEFORE);
    for (what, accounts, callers) in super::charges(asked) {
        // Turn about, so that a machine that slows down slows down both.
        let floor = floor_charges(&folder.path().join("creditd.db"), accounts);
        if !super::is_cold(asked) {
            charge_each(&app, accounts).await;
        }
        let charged = charges_of(&app, callers, accounts).await;
        line("SQLite", what, callers, &charged, floor);
    }
    store.close().await;
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("the ledger");
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                   PRAGMA busy_timeout = 30000; PRAGMA cache_size = -32000";
    connection.execute_batch(pragmas).expect("the pragmas");
    connection
}

/// Charges per second.
fn floor_charges(path: &Path, accounts: usize) -> f64 {
    let connection = connect(path);
    let mut account = connection
        .prepare("SELECT last_seq, balance_free, balance_purchased FROM accounts WHERE account_id = ?1")
        .expect("sql");
    let mut known = connection.prepare("SELECT seq FROM transactions WHERE account_id = ?1 AND key = ?2").expect("sql");
    let mut grant = connection
        .prepare("SELECT grant_id FROM grants WHERE account_id = ?1 AND remaining > 0 ORDER BY expires_at LIMIT 1")
        .expect("sql");
    let mut insert = connection
        .prepare(
            "INSERT INTO transactions VALUES (?1, ?2, 'charge', ?3, ?3, NULL, 'erase', 1, 7, 'success', NULL, '', ?4, 1,
                                              NULL, NULL, NULL, NULL, NULL, -7, 0, ?5, ?6, ?7, 0)",
        )
        .expect("sql");
    let mut move_grant = connection
        .prepare(
            "UPDATE grants SET consumed = consumed + 7, remaining = remaining - 7 WHERE account_id = ?1 AND grant_id = ?2",
        )
        .expect("sql");
    let mut move_account = connection
        .prepare("UPDATE accounts SET last_seq = ?2, last_recorded_at = ?3, balance_free = ?4 WHERE account_id = ?1")
        .expect("sql");
    let now = instant(BEFORE).micros();
    let (begin, mut charges) = (clock(), 0_u32);
    while begin.elapsed() < MEASURED {
        connection.execute_batch("BEGIN IMMEDIATE").expect("begin");
        for _ in 0..BATCH {
            let id = account_id(fastrand::usize(..accounts)).to_string();
            let key = format!("{:032x}", fastrand::u128(..));
            let (seq, free, purchased): (i64, i64, i64) =
                account.query_row([&id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("an account");
            assert!(!known.exists(params![id, key]).expect("a look"));
            let grant_id: i64 = grant.query_row([&id], |row| row.get(0)).expect("a grant");
            let entries = format!("[[{grant_id},\"free\",-7]]");
            insert.execute(params![id, seq + 1, now, key, free - 7, purchased, entries]).expect("a row");
            move_grant.execute(params![id, grant_id]).expect("a grant");
            move_account.execute(params![id, seq + 1, now, free - 7]).expect("an account");
            charges += 1;
        }
        connection.execute_batch("COMMIT").expect("commit");
    }
    f64::from(charges) / begin.elapsed().as_secs_f64()
}

/// What a reset at [`AFTER`] writes, by set-based SQL in one transaction.
const FLOOR_RESET: &str = "
BEGIN IMMEDIATE;
INSERT INTO transactions
SELECT a.account_id, a.last_seq + 1, 'expiry', g.expires_at, :now, NULL, NULL, 0, 0, 'success', NULL, g.label || ' lapsed',
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, -g.remaining, 0, 0, 0, '[[' || g.grant_id || ',\"free\",-' || g.remaining || ']]', 0
  FROM accounts AS a JOIN grants AS g ON g.account_id = a.account_id AND g.remaining > 0 WHERE a.due_at <= :now;
INSERT INTO transactions
SELECT a.account_id, a.last_seq + 2, 'allocation', a.due_at, :now, NULL, NULL, 0, 0, 'success', NULL, 'free:2026-04',
       NULL, NULL, NULL, :next, NULL, NULL, NULL, 1000000000, 0, 1000000000, 0, '[[' || (a.last_seq + 2) || ',\"free\",1000000000]]', 0
  FROM accounts AS a WHERE a.due_at <= :now;
UPDATE grants SET lapsed = lapsed + remaining, remaining = 0,
       lapsed_by = (SELECT last_seq + 1 FROM accounts AS a WHERE a.account_id = grants.account_id) WHERE remaining > 0;
INSERT INTO grants
SELECT account_id, last_seq + 2, 'free:2026-04', 'free', 'monthly', 1000000000, due_at, :next, 0, 0, 0, 0, 0, 0, 0, 1000000000, NULL, NULL
  FROM accounts WHERE due_at <= :now;
UPDATE accounts SET last_seq = last_seq + 2, last_recorded_at = :now, opened_through = '2026-04', balance_free = 1000000000,
       due_at = :next WHERE due_at <= :now;
COMMIT;";

pub async fn reset(accounts: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (settings, store) = new_ledger(folder.path(), accounts).await;
    store.close().await;
    let [ledger, for_floor, for_charges] =
        ["creditd.db", "floor.db", "charges.db"].map(|name| folder.path().join(name));
    for copy in [&for_floor, &for_charges] {
        std::fs::copy(&ledger, copy).expect("a copy");
    }
    let connection = connect(&for_floor);
    let (now, next) = (instant(AFTER).micros(), instant("2026-05-01T00:00:00Z").micros());
    let sql = FLOOR_RESET.replace(":now", &now.to_string()).replace(":next", &next.to_string());
    let begin = clock();
    connection.execute_batch(&sql).expect("the floor");
    let floor = begin.elapsed().as_secs_f64();
    drop(connection);
    std::fs::remove_file(&for_floor).expect("the copy");

    let store = Store::open(&settings.database_url).await.expect("the ledger");
    let seconds = reset_all(&app_at(&settings, &store, AFTER)).await;
    store.close().await;
    println!(
        "SQLite    reset of {accounts} accounts: {seconds:.1} s  floor {floor:.1} s  ratio {:.2}",
        seconds / floor
    );
    let store = Store::open(&format!("sqlite://{}", for_charges.display())).await.expect("the ledger");
    let (seconds, charged) = reset_beside_charges(&app_at(&settings, &store, AFTER), accounts).await;
    println!(
        "SQLite    the same beside a caller: {seconds:.1} s  a charge waits p50 {:.1} ms  p99 {:.1} ms",
        charged.p50_ms, charged.p99_ms
    );
    store.close().await;
}

pub async fn scan(accounts: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (settings, store) = new_ledger(folder.path(), accounts).await;
    scan_all("SQLite", &app_at(&settings, &store, BEFORE)).await;
    store.close().await;
}
