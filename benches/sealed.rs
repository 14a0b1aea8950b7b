//! Reports from the sealed ledger, through the real binary, beside DuckDB on the same files in the same run: whole-process
//! time and peak memory, and for DuckDB also the time of its query alone.
//!
//! `cargo bench --bench sealed` makes 10,000,000 transactions of 100,000 accounts over 12 months, the same ones each time;
//! `-- rows=100000000` makes more, `-- keep=FOLDER` keeps them and uses what is there, `-- runs=7` sets how often each is
//! measured. `-- database` puts the same rows into SQLite, seals none, and compares with the C API reading the same
//! columns; `-- database postgres=URL` puts them into that database, which is empty or has them already, and compares with
//! COPY in its binary form. DuckDB is that of Python (`pip install duckdb`).

use creditd::core::calendar::{Calendar, Instant, Month, Terms, parse_zone};
use creditd::core::credits::{CreditType, Credits, Split};
use creditd::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use creditd::core::ledger::Account;
use creditd::core::sealed::{Chain, Manifest, RecordedDays};
use creditd::core::transaction::{Entry, GrantId, Kind, Money, Status, Transaction};
use creditd::sealed::{Folder, PartWriter};
use creditd::store::{Meta, NewAccount, Store};
use futures_util::TryStreamExt;
use rusqlite::types::ValueRef;
use sqlx::{Connection, PgConnection};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROWS: u64 = 10_000_000;
const ACCOUNTS: u64 = 100_000;
const MONTHS: u64 = 12;
const RUNS: usize = 5;
/// Codes and prices of the actions.
const ACTIONS: [(&str, i64); 12] = [
    ("text-to-image", 8),
    ("erase", 7),
    ("background-removal", 5),
    ("image-enhancement", 4),
    ("translation", 1),
    ("upscale", 0),
    ("outpaint", 6),
    ("relight", 3),
    ("caption", 2),
    ("restyle", 8),
    ("vectorise", 4),
    ("denoise", 1),
];
/// After the last month.
const NOW: &str = "2026-01-01T12:00:00Z";
const YEAR: i32 = 2025;
/// The custom range, of accounts that live by UTC.
const RANGE: [&str; 2] = ["2025-03-10T06:00:00Z", "2025-07-20T18:30:00Z"];
/// How often the memory of a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

struct Asked {
    rows: u64,
    runs: usize,
    keep: Option<PathBuf>,
    database: bool,
    postgres: Option<String>,
}

fn asked() -> Asked {
    let mut asked = Asked { rows: ROWS, runs: RUNS, keep: None, database: false, postgres: None };
    for word in std::env::args().skip(1) {
        match word.split_once('=') {
            Some(("rows", number)) => asked.rows = number.parse().expect("a number of rows"),
            Some(("runs", number)) => asked.runs = number.parse().expect("a number of runs"),
            Some(("postgres", url)) => asked.postgres = Some(url.to_owned()),
            Some(("keep", folder)) => asked.keep = Some(PathBuf::from(folder)),
            _ => asked.database |= word == "database",
        }
    }
    asked
}

fn main() {
    let asked = asked();
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = asked.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    if !folder.join("sealed").exists() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(generate(&folder, asked.rows));
    }
    if asked.database {
        return from_the_database(&folder, asked.postgres.as_deref(), asked.runs);
    }
    let files = format!("{}/sealed/*.log.parquet", folder.display());
    println!("{:42} {:>9} {:>9} {:>9} {:>7} {:>9}", "", "creditd", "DuckDB", "its query", "ratio", "peak");
    for (what, args, query) in queries() {
        let (mut ours, mut theirs, mut alone, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..=asked.runs {
            let (seconds, peak_mib) = creditd(&folder, &[&["report", "show"][..], args, &["--output", "csv"]].concat());
            let (whole, inner) = duckdb(&folder, &query.replace("FILES", &files));
            // The first warms the disk's cache.
            if round > 0 {
                ours.push(seconds);
                theirs.push(whole);
                alone.push(inner);
                peak = peak.max(peak_mib);
            }
        }
        let (ours, theirs, alone) = (median(&mut ours), median(&mut theirs), median(&mut alone));
        println!("{what:42} {ours:7.3} s {theirs:7.3} s {alone:7.3} s {:7.2} {peak:5} MiB", ours / theirs);
        check(&folder);
    }
}

/// The custom range of all accounts from a database, where nothing is sealed, beside the columns of its rows alone.
fn from_the_database(folder: &Path, postgres: Option<&str>, runs: usize) {
    let unsealed = folder.join("unsealed");
    if !unsealed.exists() {
        std::fs::create_dir_all(&unsealed).expect("a folder");
        for file in ["creditd.db", "creditd.toml"] {
            std::fs::copy(folder.join(file), unsealed.join(file)).expect("a copy");
        }
        let mut command = Command::new("python3");
        let filled = command.args(["-c", FILL]).current_dir(&unsealed).status().expect("Python starts");
        assert!(filled.success(), "the rows could not be put into the database");
    }
    let file = unsealed.join("creditd.db");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(url) = postgres {
        runtime.block_on(copy_to_postgres(&file, url));
    }
    let url = postgres.map_or_else(|| format!("sqlite://{}", file.display()), str::to_owned);
    let (_, args, _) = &queries()[2];
    let args = [&["report", "show"][..], args, &["--output", "csv", "--database-url", &url]].concat();
    let (mut ours, mut floor, mut peak) = (Vec::new(), Vec::new(), 0);
    for round in 0..=runs {
        let (seconds, peak_mib) = creditd(&unsealed, &args);
        let alone = match postgres {
            Some(url) => runtime.block_on(columns_of_postgres(url)),
            None => columns_alone(&file),
        };
        if round > 0 {
            ours.push(seconds);
            floor.push(alone);
            peak = peak.max(peak_mib);
        }
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    println!(
        "the custom range from {}: {ours:.3} s, its columns alone {floor:.3} s, ratio {:.2}, {peak} MiB",
        if postgres.is_some() { "Postgres" } else { "SQLite" },
        ours / floor
    );
}

/// Copies the ledger in `file` to an empty database of Postgres; one that has rows is as it should be.
async fn copy_to_postgres(file: &Path, url: &str) {
    let store = match Store::open(url).await {
        Ok(store) => store,
        Err(_) => {
            let begin = start_of(Month::new(YEAR, 1).expect("a month"));
            Store::create(url, Meta { created_at: begin, sandbox: true }).await.expect("a ledger")
        }
    };
    let is_filled = store.count_accounts().await.expect("a ledger") > 0;
    store.close().await;
    if is_filled {
        return;
    }
    let mut to = PgConnection::connect(url).await.expect("the server");
    let from = rusqlite::Connection::open(file).expect("the ledger");
    for table in ["accounts", "terms", "transactions"] {
        let mut statement = from.prepare(&format!("SELECT * FROM {table}")).expect("sql");
        let names = statement.column_names().join(", ");
        let mut copy = to.copy_in_raw(&format!("COPY {table} ({names}) FROM STDIN")).await.expect("a table");
        let (columns, mut text) = (statement.column_count(), String::new());
        let mut rows = statement.query(()).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for at in 0..columns {
                // No text of these rows has a character that COPY would take for another.
                match row.get_ref(at).expect("a cell") {
                    ValueRef::Integer(number) => write!(text, "{number}").expect("a string grows"),
                    ValueRef::Text(bytes) => text.push_str(std::str::from_utf8(bytes).expect("UTF-8")),
                    _ => text.push_str("\\N"),
                }
                text.push(if at + 1 == columns { '\n' } else { '\t' });
            }
            if text.len() > 1 << 20 {
                copy.send(std::mem::take(&mut text).into_bytes()).await.expect("taken");
            }
        }
        copy.send(text.into_bytes()).await.expect("taken");
        copy.finish().await.expect("copied");
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(&mut to).await.expect("sql");
    to.close().await.expect("the connection ends");
}

/// Seconds in which COPY hands out in its binary form what a breakdown by action needs of the rows of the range.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn columns_of_postgres(url: &str) -> f64 {
    let begin = std::time::Instant::now();
    let mut connection = PgConnection::connect(url).await.expect("the server");
    let [from, to] = RANGE.map(|at| Instant::parse(at).expect("an instant").micros());
    let copy = format!(
        "COPY (SELECT account_id, kind, occurred_at, status, reason, free_delta, purchased_delta, action FROM transactions
                WHERE occurred_at >= {from} AND occurred_at < {to}) TO STDOUT (FORMAT binary)"
    );
    let mut out = connection.copy_out_raw(&copy).await.expect("sql");
    let mut columns: Vec<u8> = Vec::new();
    while let Some(bytes) = out.try_next().await.expect("rows") {
        columns.extend_from_slice(&bytes);
    }
    assert!(columns.len() > 1 << 20, "there are rows");
    begin.elapsed().as_secs_f64()
}

/// Puts the rows of the sealed files into the database beside it.
const FILL: &str = "
import duckdb, sqlite3
into = sqlite3.connect('creditd.db')
into.execute('DELETE FROM sealed')
micros = lambda name: f'epoch_us({name})'
names = [row[1] for row in into.execute('PRAGMA table_info(transactions)')][:-1]
times = {row[0] for row in duckdb.sql(\"DESCRIBE SELECT * FROM '../sealed/*.log.parquet'\").fetchall() if 'TIMESTAMP' in row[1]}
cells = ', '.join(micros(name) if name in times else name for name in names)
rows = duckdb.connect().execute(f\"SELECT {cells} FROM '../sealed/*.log.parquet' ORDER BY account_id, seq\")
add = f\"INSERT INTO transactions VALUES ({', '.join('?' * len(names))}, 0)\"
while some := rows.fetchmany(100000):
    into.executemany(add, some)
into.commit()
";

/// Seconds in which the C API reads what a breakdown by action needs of the rows of the range into columns.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn columns_alone(database: &Path) -> f64 {
    let begin = std::time::Instant::now();
    let connection = rusqlite::Connection::open(database).expect("the ledger");
    let [from, to] = RANGE.map(|at| Instant::parse(at).expect("an instant"));
    let mut statement = connection
        .prepare(
            "SELECT account_id, kind, occurred_at, status, reason, free_delta, purchased_delta, action FROM transactions
              WHERE occurred_at >= ?1 AND occurred_at < ?2",
        )
        .expect("sql");
    let mut rows = statement.query((from.micros(), to.micros())).expect("rows");
    let (mut texts, mut ends, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(row) = rows.next().expect("a row") {
        for at in [0, 1, 3, 4, 7] {
            let text = row.get_ref(at).expect("a cell").as_bytes_or_null().expect("a text");
            texts.extend_from_slice(text.unwrap_or_default());
            ends.push(texts.len());
        }
        for at in [2, 5, 6] {
            numbers.push(row.get_ref(at).expect("a cell").as_i64().expect("a number"));
        }
    }
    assert!(numbers.len() > 3, "there are rows");
    begin.elapsed().as_secs_f64()
}

/// What is asked, of creditd and of DuckDB: both write the same file, to the byte.
fn queries() -> [(&'static str, &'static [&'static str], String); 4] {
    let by_action = |from: &'static str, to: &'static str, also: &str| {
        let period = format!("'{from}' AS \"from\", '{to}' AS \"to\"");
        report("account_id AS account", &period, "account", (from, to), also)
    };
    [
        (
            "the year by month and action",
            &["platform-monthly", "--from", "2025-01-01", "--to", "2026-01-01", "--by", "month,action"],
            report(
                "NULL AS account",
                "strftime(month, '%Y-%m-%d') AS \"from\", strftime(month + INTERVAL 1 MONTH, '%Y-%m-%d') AS \"to\"",
                "month",
                ("2025-01-01", "2026-01-01"),
                "",
            ),
        ),
        (
            "one month of all accounts by action",
            &["usage-by-action", "--month", "2025-06"],
            by_action("2025-06-01", "2025-07-01", ""),
        ),
        (
            "a custom range of all accounts by action",
            &["usage-by-action", "--from", "2025-03-10T06:00", "--to", "2025-07-20T18:30"],
            by_action("2025-03-10T06:00", "2025-07-20T18:30", ""),
        ),
        (
            "one account's month by action",
            &["usage-by-action", "--month", "2025-06", "--account", "acc-042042"],
            by_action("2025-06-01", "2025-07-01", "AND account_id = 'acc-042042'"),
        ),
    ]
}

/// A breakdown by action of what happened from `from` on until before `to`, in the order and the columns of creditd's.
fn report(account: &str, period: &str, first: &str, (from, to): (&str, &str), also: &str) -> String {
    let month = if first == "month" { "date_trunc('month', occurred_at) AS month," } else { "" };
    format!(
        "WITH used AS (
             SELECT {account}, {month} action,
                    -coalesce(sum(free_delta) FILTER (kind <> 'refund'), 0) AS free,
                    -coalesce(sum(purchased_delta) FILTER (kind <> 'refund'), 0) AS purchased,
                    coalesce(sum(free_delta) FILTER (kind = 'refund'), 0) AS free_back,
                    coalesce(sum(purchased_delta) FILTER (kind = 'refund'), 0) AS purchased_back,
                    count(*) FILTER (kind = 'charge' AND status = 'success') AS s,
                    count(*) FILTER (kind = 'charge' AND status = 'failed' AND reason IS NULL) AS f,
                    count(*) FILTER (kind = 'charge' AND status = 'failed' AND reason IS NOT NULL) AS r
               FROM read_parquet('FILES')
              WHERE kind IN ('charge', 'hold', 'release', 'refund') AND occurred_at >= '{from}' AND occurred_at < '{to}' {also}
              GROUP BY ALL)
         SELECT account, {period}, action, credit_type,
                CASE k WHEN 0 THEN free WHEN 1 THEN purchased ELSE free + purchased END AS consumed,
                CASE k WHEN 0 THEN free_back WHEN 1 THEN purchased_back ELSE free_back + purchased_back END AS refunded,
                CASE k WHEN 2 THEN s END AS succeeded, CASE k WHEN 2 THEN f END AS failed, CASE k WHEN 2 THEN r END AS refused
           FROM used CROSS JOIN (VALUES (0, 'free'), (1, 'purchased'), (2, 'total')) AS lines (k, credit_type)
          ORDER BY {first}, free + purchased DESC, s + f + r DESC, action, k"
    )
}

/// Both files are the same.
fn check(folder: &Path) {
    let [ours, theirs] = ["ours.csv", "theirs.csv"].map(|name| std::fs::read(folder.join(name)).expect("a file"));
    assert!(ours == theirs, "creditd and DuckDB wrote different files in {}", folder.display());
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Seconds, and the most memory that the kernel saw, of a program that writes to the file `out`.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measured(command: &mut Command, out: &Path) -> (f64, u64) {
    let out = std::fs::File::create(out).expect("a file");
    let begin = std::time::Instant::now();
    let mut child = command.stdout(out).spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_mib = 0;
    let exit = loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak_mib = peak_mib.max(kib.unwrap_or(0) / 1_024);
        }
        if let Some(exit) = child.try_wait().expect("it can be waited for") {
            break exit;
        }
        std::thread::sleep(LOOK);
    };
    let seconds = begin.elapsed().as_secs_f64();
    assert!(exit.success(), "{command:?} failed: {exit}");
    (seconds, peak_mib)
}

fn creditd(folder: &Path, args: &[&str]) -> (f64, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    let command = command.args(args).arg("--quiet").env("CREDITD_NOW", NOW).current_dir(folder);
    measured(command, &folder.join("ours.csv"))
}

/// The whole process, and the query alone as it says itself.
fn duckdb(folder: &Path, query: &str) -> (f64, f64) {
    let script = "import sys, time, duckdb\nt = time.time()\n\
                  duckdb.sql(f\"COPY ({sys.argv[1]}) TO 'theirs.csv' (HEADER)\")\nprint(time.time() - t)";
    let (out, mut command) = (folder.join("seconds"), Command::new("python3"));
    let (seconds, _) = measured(command.args(["-c", script, query]).current_dir(folder), &out);
    let said = std::fs::read_to_string(out).expect("what it said");
    (seconds, said.lines().last().and_then(|line| line.trim().parse().ok()).expect("seconds"))
}

/// Numbers that look random and are the same each time: SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn start_of(month: Month) -> Instant {
    Instant::parse(&format!("{month}-01T00:00:00Z")).expect("an instant")
}

/// Makes a ledger whose rows are in sealed files alone.
async fn generate(folder: &Path, rows: u64) {
    std::fs::create_dir_all(folder).expect("a folder");
    let url = format!("sqlite://{}/creditd.db", folder.display());
    std::fs::write(folder.join("creditd.toml"), "database_url = \"sqlite://creditd.db\"\n").expect("settings");
    let begin = start_of(Month::new(YEAR, 1).expect("a month"));
    let store = Store::create(&url, Meta { created_at: begin, sandbox: true }).await.expect("a ledger");
    let ids: Vec<AccountId> = (0..ACCOUNTS).map(|n| format!("acc-{n:06}").parse().expect("an id")).collect();
    let terms = Terms {
        from: Month::new(YEAR, 1).expect("a month"),
        zone: parse_zone("UTC").expect("a zone"),
        allowance: Credits::new(1_500),
    };
    for ids in ids.chunks(5_000) {
        let new = |id: &AccountId| {
            let account =
                Account { id: id.clone(), name: id.to_string(), opened_at: begin, calendar: Calendar::new(terms) };
            NewAccount { account, locale: None, admins: Vec::new() }
        };
        store.open_accounts(&ids.iter().map(new).collect::<Vec<_>>(), begin).await.expect("accounts");
    }
    let sealed = Folder::new(folder.join("sealed"));
    let mut numbers = Numbers(7);
    let mut lines: Vec<Line> = ids.iter().map(|_| Line::default()).collect();
    let mut manifests: Vec<Manifest> = Vec::new();
    for month in 1..=u32::try_from(MONTHS).expect("few") {
        let month = Month::new(YEAR, month).expect("a month");
        let chain = Chain::new(manifests.clone()).expect("a chain");
        let days = RecordedDays { from: month.first_day(), to: month.next().first_day() };
        let mut writer = PartWriter::begin(&sealed, chain.next(), days, Vec::new()).expect("a part");
        for (at, (id, line)) in ids.iter().zip(&mut lines).enumerate() {
            let before = (line.seq > 0).then_some((line.seq, line.balance));
            // So many that all months and accounts together have `rows`.
            let share =
                rows / MONTHS / ACCOUNTS + u64::from(numbers.below(ACCOUNTS * MONTHS) < rows % (MONTHS * ACCOUNTS));
            writer.add(id.clone(), before, line.month(at, month, share, &mut numbers)).expect("rows");
        }
        let manifest: Manifest = writer.finish().expect("a part").into();
        println!("{month}: {} rows, {} MB", manifest.rows, manifest.log.bytes / 1_000_000);
        assert!(store.add_sealed(&manifest).await.expect("known"), "nobody else seals");
        manifests.push(manifest);
    }
    store.close().await;
    let database = rusqlite::Connection::open(folder.join("creditd.db")).expect("the ledger");
    let later = Instant::parse(NOW).expect("an instant").plus_days(90).micros();
    for (id, line) in ids.iter().zip(&lines) {
        database
            .execute(
                "UPDATE accounts SET last_seq = ?1, due_at = ?2 WHERE account_id = ?3",
                (line.seq, later, id.as_str()),
            )
            .expect("an account");
    }
}

/// The ledger of one account so far.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    seq: i64,
    balance: Split,
}

impl Line {
    /// Its rows of a month: what lapses of the month before, the new allowance, and charges in the order of time.
    fn month(&mut self, account: usize, month: Month, rows: u64, numbers: &mut Numbers) -> Vec<Transaction> {
        let begin = start_of(month);
        let end = start_of(month.next());
        let mut made = Vec::new();
        if self.seq > 0 {
            made.push(self.row(
                Kind::Expiry,
                begin,
                Split { free: self.balance.free.negated(), purchased: Credits::ZERO },
            ));
        }
        made.push(self.row(Kind::Allocation, begin, Split { free: Credits::new(1_500), purchased: Credits::ZERO }));
        if account.is_multiple_of(5) && self.balance.purchased.get() < 1_000 {
            let row = self.row(Kind::Purchase, begin, Split { free: Credits::ZERO, purchased: Credits::new(2_500) });
            let money = Some(Money { minor: 2_500, currency: "USD".to_owned() });
            let reference = Reference::new(&format!("inv-{account}-{}", self.seq)).ok();
            made.push(Transaction { quantity: 1, unit_price: Credits::new(2_500), money, reference, ..row });
        }
        let charges = rows.saturating_sub(made.len() as u64);
        let length = (end.micros() - begin.micros()).unsigned_abs();
        let mut times: Vec<u64> = (0..charges).map(|_| numbers.below(length)).collect();
        times.sort_unstable();
        for time in times {
            let at = begin.plus_micros(i64::try_from(time).expect("within a month"));
            let skewed = numbers.below(12).min(numbers.below(12));
            let (action, price) = ACTIONS[usize::try_from(skewed).expect("few")];
            let taken = Credits::new(-price);
            let from_packs =
                account.is_multiple_of(5) && numbers.below(3) == 0 && self.balance.purchased.get() >= price;
            let delta = match from_packs {
                true => Split { free: Credits::ZERO, purchased: taken },
                false if self.balance.free.get() >= price => Split { free: taken, purchased: Credits::ZERO },
                false => Split::ZERO,
            };
            let row = self.row(Kind::Charge, at, delta);
            made.push(Transaction {
                user: UserId::new(&format!("user-{}", numbers.below(20))).ok(),
                action: ActionCode::new(action).ok(),
                quantity: 1,
                unit_price: Credits::new(price),
                key: Key::new(&format!("k{account}-{}", self.seq)).ok(),
                ..row
            });
        }
        made
    }

    fn row(&mut self, kind: Kind, at: Instant, delta: Split) -> Transaction {
        self.seq += 1;
        self.balance = self.balance.plus(delta).expect("small");
        let credit_type = if delta.free.is_zero() { CreditType::Purchased } else { CreditType::Free };
        Transaction {
            seq: self.seq,
            kind,
            occurred_at: at,
            recorded_at: at,
            user: None,
            action: None,
            quantity: 0,
            unit_price: Credits::ZERO,
            status: Status::Success,
            reason: None,
            comment: String::new(),
            key: None,
            content: None,
            corrects: None,
            expires_at: None,
            money: None,
            reference: None,
            delta,
            balance: self.balance,
            entries: vec![Entry { grant: GrantId(1), credit_type, delta: delta.total() }],
        }
    }
}
