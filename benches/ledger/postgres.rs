//! Postgres: the floor of charges is pgbench calling one function that does the same, that of a reset set-based SQL.

use super::{
    AFTER, ALLOWANCE, Asked, BEFORE, MEASURED, SPREAD, app_at, charge_each, charges_of, clock, cluster, fill, instant,
    line, settings,
};
use super::{reset_all, reset_beside_charges, scan_all};
use creditd::config::Settings;
use creditd::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::Path;
use std::process::Command;

/// One charge, as plpgsql would have it.
const FLOOR_CHARGE: &str = "
CREATE FUNCTION floor_charge(id text, k text, at bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE a accounts%ROWTYPE; g bigint;
BEGIN
    SELECT * INTO a FROM accounts WHERE account_id = id FOR NO KEY UPDATE;
    PERFORM 1 FROM transactions WHERE account_id = id AND key = k;
    IF FOUND THEN RETURN 0; END IF;
    SELECT grant_id INTO g FROM grants WHERE account_id = id AND remaining > 0 ORDER BY expires_at LIMIT 1;
    INSERT INTO transactions VALUES (id, a.last_seq + 1, 'charge', at, at, NULL, 'erase', 1, 7, 'success', NULL, '', k, 1,
        NULL, NULL, NULL, NULL, NULL, -7, 0, a.balance_free - 7, a.balance_purchased, '[[' || g || ',\"free\",-7]]', 0);
    UPDATE grants SET consumed = consumed + 7, remaining = remaining - 7 WHERE account_id = id AND grant_id = g;
    UPDATE accounts SET last_seq = a.last_seq + 1, last_recorded_at = at, balance_free = a.balance_free - 7
     WHERE account_id = id;
    RETURN a.last_seq + 1;
END $$";

struct Ledger {
    folder: tempfile::TempDir,
    settings: Settings,
    store: Store,
    database: cluster::Database,
}

async fn new_ledger(accounts: usize) -> Ledger {
    let cluster = cluster::cluster().expect("Postgres is installed");
    let database = cluster.create_database(false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), &database.url);
    let store = Store::open(&database.url).await.expect("a ledger");
    fill(&app_at(&settings, &store, BEFORE), accounts).await;
    // The server of the tests does not vacuum by itself.
    execute(&database.url, "VACUUM ANALYZE").await;
    Ledger { folder, settings, store, database }
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("sql");
    connection.close().await.expect("the connection ends");
}

pub async fn charges(asked: &Asked) {
    let ledger = new_ledger(SPREAD).await;
    let app = app_at(&ledger.settings, &ledger.store, BEFORE);
    execute(&ledger.database.url, FLOOR_CHARGE).await;
    for (what, accounts, callers) in super::charges(asked) {
        // pgbench with more clients than 8 is slower: that is its best, which stands beside the many.
        let floor = pgbench(&ledger, callers.min(8), accounts);
        if !super::is_cold(asked) {
            charge_each(&app, accounts).await;
            execute(&ledger.database.url, "VACUUM ANALYZE").await;
        }
        let charged = charges_of(&app, callers, accounts).await;
        line("Postgres", what, callers, &charged, floor);
        execute(&ledger.database.url, "VACUUM ANALYZE").await;
    }
    ledger.store.close().await;
}

/// Charges per second of pgbench.
fn pgbench(ledger: &Ledger, clients: usize, accounts: usize) -> f64 {
    let script = ledger.folder.path().join("charge.sql");
    let last = accounts - 1;
    let text = format!(
        "\\set n random(0, {last})\n\\set a random(0, 9000000000000000000)\n\\set b random(0, 9000000000000000000)\n\
         SELECT floor_charge('a' || lpad(:n::text, 7, '0'), :a || '-' || :b, {});\n",
        instant(BEFORE).micros()
    );
    std::fs::write(&script, text).expect("the script");
    let (seconds, clients) = (MEASURED.as_secs().to_string(), clients.to_string());
    let output = Command::new(pgbench_program())
        .args(["-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds, "-f"])
        .arg(&script)
        .arg(&ledger.database.url)
        .output()
        .expect("pgbench starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.unwrap_or_else(|| panic!("pgbench: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// pgbench of the newest server, as Debian installs it, else the one on the PATH.
fn pgbench_program() -> std::path::PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let programs =
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin/pgbench"))).filter(|path| path.is_file());
    programs.max().unwrap_or_else(|| Path::new("pgbench").to_owned())
}

/// What a reset at [`AFTER`] writes, by set-based SQL in one transaction.
const FLOOR_RESET: &str = "
BEGIN;
INSERT INTO transactions
SELECT a.account_id, a.last_seq + 1, 'expiry', g.expires_at, :now, NULL, NULL, 0, 0, 'success', NULL, g.label || ' lapsed',
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, -g.remaining, 0, 0, 0, '[[' || g.grant_id || ',\"free\",-' || g.remaining || ']]', 0
  FROM accounts AS a JOIN grants AS g ON g.account_id = a.account_id AND g.remaining > 0 WHERE a.due_at <= :now;
INSERT INTO transactions
SELECT a.account_id, a.last_seq + 2, 'allocation', a.due_at, :now, NULL, NULL, 0, 0, 'success', NULL, 'free:2026-04',
       NULL, NULL, NULL, :next, NULL, NULL, NULL, :amount, 0, :amount, 0, '[[' || (a.last_seq + 2) || ',\"free\",:amount]]', 0
  FROM accounts AS a WHERE a.due_at <= :now;
UPDATE grants AS g SET lapsed = g.lapsed + g.remaining, remaining = 0, lapsed_by = a.last_seq + 1
  FROM accounts AS a WHERE a.account_id = g.account_id AND g.remaining > 0;
INSERT INTO grants
SELECT account_id, last_seq + 2, 'free:2026-04', 'free', 'monthly', :amount, due_at, :next, 0, 0, 0, 0, 0, 0, 0, :amount, NULL, NULL
  FROM accounts WHERE due_at <= :now;
UPDATE accounts SET last_seq = last_seq + 2, last_recorded_at = :now, opened_through = '2026-04', balance_free = :amount,
       due_at = :next WHERE due_at <= :now;
COMMIT;";

pub async fn reset(accounts: usize) {
    let (now, next) = (instant(AFTER).micros(), instant("2026-05-01T00:00:00Z").micros());
    let sql = FLOOR_RESET.replace(":now", &now.to_string()).replace(":next", &next.to_string());
    let sql = sql.replace(":amount", &ALLOWANCE.to_string());
    let ledger = new_ledger(accounts).await;
    let begin = clock();
    execute(&ledger.database.url, &sql).await;
    let floor = begin.elapsed().as_secs_f64();
    drop(ledger);

    let ledger = new_ledger(accounts).await;
    let seconds = reset_all(&app_at(&ledger.settings, &ledger.store, AFTER)).await;
    println!(
        "Postgres  reset of {accounts} accounts: {seconds:.1} s  floor {floor:.1} s  ratio {:.2}",
        seconds / floor
    );
    drop(ledger);
    let ledger = new_ledger(accounts).await;
    let (seconds, charged) = reset_beside_charges(&app_at(&ledger.settings, &ledger.store, AFTER), accounts).await;
    println!(
        "Postgres  the same beside a caller: {seconds:.1} s  a charge waits p50 {:.1} ms  p99 {:.1} ms",
        charged.p50_ms, charged.p99_ms
    );
}

pub async fn scan(accounts: usize) {
    let ledger = new_ledger(accounts).await;
    scan_all("Postgres", &app_at(&ledger.settings, &ledger.store, BEFORE)).await;
}
