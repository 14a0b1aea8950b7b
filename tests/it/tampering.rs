//! R15, R16: the database itself refuses to change the past, and whatever is changed behind creditd's back is found.

pub mod history;
mod raw;
mod scripts;

use crate::support::{Backend, Sandbox, account_id, both_databases, drifts, seal, usage};
use creditd::app::App;
use creditd::core::sealed::SeqRange;
use creditd::jobs::verify::prove;
use creditd::jobs::{Kit, Run};
use history::NOW;
use raw::Column;
pub use raw::Raw;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

both_databases! {
    async fn everything_that_can_happen_is_what_verify_expects(sandbox: Sandbox) {
        history::play(&sandbox).await;
        for now in [NOW, "2013-06-12T12:00:00Z", "2014-03-01T00:00:00Z"] {
            let found = drifts(&sandbox.at(now)).await;
            assert!(found.is_empty(), "{now}: {found:#?}");
        }
    }

    /// Not creditd but the database refuses, so any other program on it is held, too.
    async fn r15_the_database_itself_refuses_to_change_the_past(sandbox: Sandbox) {
        let acme = scripts::play(&sandbox).await;
        let before = sandbox.log(&acme).await;
        let copy = "INSERT INTO transactions SELECT * FROM transactions WHERE account_id = 'acme' AND seq = 3";
        let upsert = format!("{copy} ON CONFLICT (account_id, seq) DO UPDATE SET free_delta = 0");
        let mut statements = vec![
            "UPDATE transactions SET comment = 'x'",
            "UPDATE transactions SET seq = seq + 100 WHERE seq = 3",
            "DELETE FROM transactions",
            "DELETE FROM transactions WHERE account_id = 'acme' AND seq = 3",
            &upsert,
        ];
        let of_one = match sandbox.backend() {
            Backend::Sqlite => [
                "UPDATE OR REPLACE transactions SET seq = 2 WHERE seq = 3",
                "UPDATE OR IGNORE transactions SET free_delta = 0",
                "INSERT OR REPLACE INTO transactions SELECT * FROM transactions WHERE seq = 3",
                // The row under the same key would go.
                "INSERT OR REPLACE INTO transactions
                 SELECT account_id, 90, kind, occurred_at, recorded_at, user_id, action, quantity, unit_price, status, reason,
                        comment, key, content, corrects, expires_at, money_minor, currency, reference, free_delta,
                        purchased_delta, free_balance, purchased_balance, entries, digest FROM transactions WHERE seq = 3",
            ],
            Backend::Postgres => [
                "TRUNCATE transactions",
                "TRUNCATE accounts CASCADE",
                "WITH gone AS (DELETE FROM transactions RETURNING *) SELECT count(*) FROM gone",
                "MERGE INTO transactions AS t USING accounts AS a ON a.account_id = t.account_id
                  WHEN MATCHED THEN UPDATE SET comment = 'x'",
            ],
        };
        statements.extend(of_one);
        for statement in statements {
            let refusal = sandbox.execute(statement).await.expect_err(statement);
            let expected = "transactions are append-only: correct a row by a new one";
            assert!(refusal.contains(expected), "{statement}: {refusal}");
        }
        assert_eq!(sandbox.log(&acme).await, before);
        sandbox.assert_verified().await;
    }

    async fn r16_what_the_transactions_say_finds_each_of_these(sandbox: Sandbox) {
        scripts::play(&sandbox).await;
        let app = sandbox.at("2013-04-10T00:00:00Z");
        let mut raw = Raw::new(&sandbox).await;
        let tables = remember_all(&mut raw).await;
        let mut missed = Vec::new();
        for script in scripts::TAMPERING {
            let changed = raw.execute(script).await.expect(script);
            assert!(changed > 0, "changes nothing: {script}");
            if !found(&app).await.by_sums {
                missed.push(*script);
            }
            for table in &tables {
                raw.put_back(table).await;
            }
        }
        assert!(missed.is_empty(), "not found:\n{}", missed.join("\n"));
        sandbox.assert_verified().await;
    }

    /// Rows are written while others are read: nothing may look like a difference.
    async fn r16_verify_beside_busy_writers_finds_nothing(sandbox: Sandbox) {
        history::play(&sandbox).await;
        let app = sandbox.at("2013-09-10T12:00:00Z");
        let writing = tokio::spawn({
            let app = app.clone();
            async move {
                for n in 0..60 {
                    let account = account_id(["acme", "idle"][n % 2]);
                    app.charge(&account, &usage("translation", &format!("busy-{n}"))).await.expect("an answer");
                }
            }
        });
        while !writing.is_finished() {
            let found = drifts(&app).await;
            assert!(found.is_empty(), "{found:#?}");
        }
        writing.await.expect("the charges");
    }

    /// One account is looked at alone; and the job that runs at night says what is wrong.
    async fn r16_a_difference_is_told_of_its_account(sandbox: Sandbox) {
        scripts::play(&sandbox).await;
        let app = sandbox.at("2013-04-10T00:00:00Z");
        let mut raw = Raw::new(&sandbox).await;
        raw.execute("UPDATE grants SET remaining = remaining + 1 WHERE account_id = 'acme' AND grant_id = 2")
            .await
            .expect("changed");
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
        let of_other = prove(&app, Some(&account_id("other")), &mut run).await.expect("verify runs");
        assert_eq!(of_other.drifts, []);
        let of_acme = prove(&app, Some(&account_id("acme")), &mut run).await.expect("verify runs");
        assert!(of_acme.drifts.iter().all(|drift| drift.account == "acme"), "{:#?}", of_acme.drifts);
        let balance = of_acme.drifts.iter().find(|drift| drift.check == "the balance is what the grants have left");
        let balance = balance.expect("the balance does not fit the grants");
        assert_eq!((balance.expected.as_str(), balance.found.as_str()), ("1500 + 2251", "1500 + 2250"));

        let kit = Kit::new(app).expect("templates and a mail folder");
        let error = creditd::jobs::verify::run(&kit, &mut run).await.expect_err("the ledger does not add up");
        let said = error.to_string();
        assert!(said.starts_with("the ledger does not add up; `creditd verify` shows all differences. The first: "), "{said}");
        assert!(said.contains("acme: ") && said.contains(" should be 1500 + 2251, is 1500 + 2250"), "{said}");
    }

    /// Every column of every table there is, one at a time; and every table with a row more or less.
    async fn r16_verify_finds_a_change_of_any_column_of_any_table(sandbox: Sandbox) {
        history::play(&sandbox).await;
        lose_rows(&sandbox).await;
        let app = sandbox.at(NOW);
        let mut raw = Raw::new(&sandbox).await;
        let columns = raw.columns().await;
        let tables = remember_all(&mut raw).await;
        let mut missed: BTreeSet<(String, String)> = BTreeSet::new();
        let mut by_digest_alone: BTreeSet<(String, String)> = columns.iter().map(Column::place).collect();
        for table in &tables {
            let of_table: Vec<&Column> = columns.iter().filter(|column| column.table == *table).collect();
            let rows = rows_to_change(&mut raw, sandbox.backend(), table, &of_table).await;
            assert!(!rows.is_empty(), "{table} is empty: the history needs a row in it");
            for change in changes(sandbox.backend(), table, &of_table, &rows) {
                match raw.execute(&change.script).await {
                    // A value that is NULL already, or a key that is taken, is no change.
                    Ok(0) | Err(_) if change.may_fail => continue,
                    Ok(1) => {}
                    other => panic!("{}: {other:?}", change.script),
                }
                let found = found(&app).await;
                if !found.at_all {
                    missed.insert((table.clone(), change.what.clone()));
                    if !is_listed(UNPROVED, table, &change.what) {
                        eprintln!("not found: {}", change.script);
                    }
                }
                if found.by_sums {
                    by_digest_alone.remove(&(table.clone(), change.what));
                }
                raw.put_back(table).await;
            }
        }
        assert_listed("nothing finds", &missed, UNPROVED);
        by_digest_alone.retain(|place| !missed.contains(place));
        if sandbox.backend() == Backend::Sqlite {
            // There, all kinds of rows are changed.
            assert_listed("only a digest finds", &by_digest_alone, BY_DIGEST_ALONE);
        }
        let found = drifts(&app).await;
        assert!(found.is_empty(), "not put back: {found:#?}");
    }
}

/// Lets rows of an account of its own leave the database, which are sealed since.
async fn lose_rows(sandbox: &Sandbox) {
    let left = sandbox.open_account("left", "UTC", "2013-01-01").await;
    let app = sandbox.at("2013-06-18T12:10:00Z");
    for n in 0..3 {
        app.charge(&left, &usage("translation", &format!("left-{n}"))).await.expect("charged");
    }
    let app = sandbox.at(NOW);
    seal(&app).await;
    let last = sandbox.log(&left).await.last().expect("rows").seq;
    let range = SeqRange { account_id: left, after: 0, through: last };
    assert_eq!(sandbox.store().drop_rows(&[range]).await.expect("dropped"), Some(3));
}

/// What nothing can prove: a table, a column of it or what is done to its rows, and why.
const UNPROVED: &[(&str, &[&str], &str)] = &[
    ("_sqlx_migrations", &["installed_on"], "the clock of the machine, which nothing repeats"),
    (
        "runs",
        &["attempts", "started_at", "finished_at", "outcome", "retry_at", "progress"],
        "a job's own word on how it went, and who is at it",
    ),
    (
        "backfills",
        &["asked", "created_at", "ended_at", "state", "a row more"],
        "what a person wants to be run again, which changes nothing that is so",
    ),
    ("runs", &["a row less"], "old runs are forgotten, and a period without a run is run again: its effects have keys"),
    (
        "outbox",
        &[
            "attempts",
            "due_at",
            "pending_since",
            "tried_at",
            "sent_at",
            "delivered_to",
            "last_error",
            "cancelled_because",
            "lease",
            "leased_until",
            "may_have_left",
        ],
        "what the deliverer saw and nobody else",
    ),
    (
        "suppressions",
        &["address", "reason", "since", "message", "a row less", "a row more"],
        "what servers said and people decided, who may decide otherwise",
    ),
    (
        "webhooks",
        &[
            "account_id",
            "webhook_id",
            "url",
            "wanted",
            "secret",
            "created_at",
            "stopped_at",
            "a row less",
            "a row more",
        ],
        "whom a person wants to be told; nothing follows from it",
    ),
    (
        "webhook_events",
        &[
            "account_id",
            "webhook_id",
            "event_id",
            "kind",
            "body",
            "created_at",
            "state",
            "attempts",
            "due_at",
            "since",
            "sent_at",
            "answer",
            "lease",
            "leased_until",
            "a row less",
            "a row more",
        ],
        "what programs are told is no matter of the ledger, and is forgotten after a while",
    ),
    (
        "incidents",
        &["began_at", "why", "a row less"],
        "what the operators were told of; where it is lost, they are told again",
    ),
    ("outbox", &["a row less"], "a message follows from no row; if it is asked for again, it is written again"),
    (
        "accounts",
        &["quiet_from", "quiet_to"],
        "what the scan last found; the first scan of each day looks at all accounts without asking",
    ),
    (
        "alerts_due",
        &["account_id", "a row less", "a row more"],
        "what the next scan looks at; the first scan of each day looks at all",
    ),
    (
        "scanned",
        &["id", "levels", "day", "a row less", "a row more"],
        "all accounts are looked at once more, or tomorrow",
    ),
    (
        "statements",
        &["closed_by"],
        "what the next closing compares; it tells whoever was told something else, and else nobody",
    ),
    ("statements", &["a row less"], "what was said follows from no row; then nobody can be told what has changed"),
    ("opt_ins", &["a row less"], "a wish may be taken back, and leaves nothing behind"),
    ("admins", &["a row less"], "an admin may be removed, and leaves nothing behind"),
    ("tokens", &["last_used_at"], "when it was last shown, which opens nothing"),
    ("tokens", &["a row less"], "a token that is gone opens nothing"),
    ("alerts", &["a row less"], "the newest crossing of a level has none behind it that would miss it; it fires again"),
];

/// What no row of the log says, so that a digest alone keeps it. Of a row itself that is its digest; whatever else is in it,
/// something in it or beside it contradicts a change of it for at least one kind of row.
const BY_DIGEST_ALONE: &[(&str, &[&str], &str)] = &[
    (
        "accounts",
        &["created_at", "digest", "levels", "locale", "name"],
        "what an account is called, and how it is warned and written to",
    ),
    ("actions", &["digest", "help", "title"], "what an action is called"),
    (
        "admins",
        &["alerts", "daily_report", "digest", "email", "monthly_report", "name"],
        "who gets mail is no matter of the ledger",
    ),
    ("opt_ins", &["digest", "email", "mail"], "who gets mail is no matter of the ledger"),
    ("alerts", &["digest", "opened_at", "threshold"], "what a level was when it was crossed"),
    ("meta", &["digest", "name", "value"], "what `init` recorded"),
    (
        "outbox",
        &[
            "body_html",
            "body_text",
            "digest",
            "key",
            "message_id",
            "recipient",
            "recipient_name",
            "subject",
            "unsubscribe_url",
        ],
        "a message is frozen as it was worded",
    ),
    ("prices", &["credits", "digest", "effective_from"], "a price may change; rows keep the one they had"),
    ("statements", &["digest", "figures", "month", "version"], "what was said is frozen, whatever is true now"),
    ("terms", &["digest"], "the digest itself"),
    (
        "tokens",
        &["account_id", "created_at", "digest", "expires_at", "hash", "id", "name", "revoked_at", "scope"],
        "what a token opens is no matter of the ledger",
    ),
    ("transactions", &["digest"], "the digest itself"),
];

fn is_listed(list: &[(&str, &[&str], &str)], table: &str, what: &str) -> bool {
    list.iter().any(|(of_table, whats, _)| *of_table == table && whats.contains(&what))
}

/// Fails unless `found` is exactly what `list` has, so that the list stays true.
fn assert_listed(says: &str, found: &BTreeSet<(String, String)>, list: &[(&str, &[&str], &str)]) {
    let listed: BTreeSet<(String, String)> = list
        .iter()
        .flat_map(|(table, whats, _)| whats.iter().map(|what| ((*table).to_owned(), (*what).to_owned())))
        .collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    let untrue: Vec<_> = listed.difference(found).collect();
    assert!(
        unlisted.is_empty() && untrue.is_empty(),
        "{says}, and the list does not say so: {unlisted:?}; the other way: {untrue:?}"
    );
}

/// What `creditd verify` found.
struct Found {
    at_all: bool,
    /// By what the transactions say, without any digest.
    by_sums: bool,
}

async fn found(app: &App) -> Found {
    let drifts = drifts(app).await;
    let by_sums = drifts.iter().any(|drift| !drift.check.contains("written"));
    Found { at_all: !drifts.is_empty(), by_sums }
}

async fn remember_all(raw: &mut Raw) -> BTreeSet<String> {
    let tables: BTreeSet<String> = raw.columns().await.into_iter().map(|column| column.table).collect();
    for table in &tables {
        raw.remember(table).await;
    }
    tables
}

/// A row by its key: a condition.
type Place = String;

/// One row of each class that a table has; on Postgres one of each table but where more are needed, for a server takes
/// its time.
async fn rows_to_change(raw: &mut Raw, backend: Backend, table: &str, columns: &[&Column]) -> Vec<Place> {
    let class = match table {
        "transactions" if backend == Backend::Sqlite => {
            "kind || ' ' || status || coalesce(' ' || reason, '') || CASE WHEN corrects IS NULL THEN '' ELSE ' about' END
             || CASE WHEN key IS NULL THEN ' by itself' ELSE '' END"
        }
        "grants" => {
            "source || CASE WHEN lapsed_by IS NULL THEN '' ELSE ' lapsed' END || CASE WHEN came_back IS NULL THEN '' ELSE ' back' END"
        },
        "outbox" | "runs" => "state",
        "alerts" => "CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'over' END",
        "closures" => "CASE WHEN reopened_at IS NULL THEN 'closed' ELSE 'reopened' END",
        "terms" => "from_month",
        // A month in which nothing is left used says nothing.
        "cap_months" => "CASE WHEN used <> 0 THEN 'used' END",
        _ => "'any'",
    };
    let keys: Vec<&str> = columns.iter().filter(|column| column.is_key).map(|column| column.name.as_str()).collect();
    let shown = keys.iter().map(|key| format!("CAST({key} AS TEXT)")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {class}, {shown} FROM {table} ORDER BY {}", keys.join(", "));
    let (mut classes, mut places) = (BTreeSet::new(), Vec::new());
    for row in raw.rows(&sql).await {
        let mut values = row.into_iter();
        let Some(class) = values.next().flatten() else { continue };
        if classes.insert(class) {
            let equals = |(key, value): (&&str, Option<String>)| format!("{key} = '{}'", value.unwrap_or_default());
            places.push(keys.iter().zip(values).map(equals).collect::<Vec<_>>().join(" AND "));
        }
    }
    places
}

/// A change of one row.
struct Change {
    what: String,
    script: String,
    may_fail: bool,
}

fn changes(backend: Backend, table: &str, columns: &[&Column], places: &[Place]) -> Vec<Change> {
    let mut changes = Vec::new();
    for place in places {
        for column in columns {
            let (name, other) = (&column.name, column.other(backend));
            let script = format!("UPDATE {table} SET {name} = {other} WHERE {place}");
            changes.push(Change { what: name.clone(), script, may_fail: false });
            if column.is_nullable && !column.is_key {
                let script = format!("UPDATE {table} SET {name} = NULL WHERE {place} AND {name} IS NOT NULL");
                changes.push(Change { what: name.clone(), script, may_fail: true });
            }
        }
        let script = format!("DELETE FROM {table} WHERE {place}");
        changes.push(Change { what: "a row less".to_owned(), script, may_fail: false });
        let last_key = columns.iter().rposition(|column| column.is_key);
        let copied = |(at, column): (usize, &&Column)| match column.name.as_str() {
            _ if Some(at) == last_key => column.other(backend),
            "label" => column.other(backend),
            "key" => "NULL".to_owned(),
            name => name.to_owned(),
        };
        let values = columns.iter().enumerate().map(copied).collect::<Vec<_>>().join(", ");
        let script = format!("INSERT INTO {table} SELECT {values} FROM {table} WHERE {place}");
        changes.push(Change { what: "a row more".to_owned(), script, may_fail: false });
    }
    changes
}

impl Column {
    fn place(&self) -> (String, String) {
        (self.table.clone(), self.name.clone())
    }

    /// An expression for another value than the one that is there.
    fn other(&self, backend: Backend) -> String {
        let name = &self.name;
        match (self.kind.as_str(), backend) {
            ("BOOLEAN", Backend::Sqlite) => format!("1 - {name}"),
            ("BOOLEAN", Backend::Postgres) => format!("NOT {name}"),
            ("BLOB", _) => format!("CAST({name} || x'00' AS BLOB)"),
            ("BYTEA", _) => format!("{name} || '\\x00'::bytea"),
            ("TIMESTAMP", _) => format!("datetime({name}, '+1 second')"),
            (kind, _) if kind.starts_with("TIMESTAMP") => format!("{name} + interval '1 second'"),
            (kind, _) if kind.contains("INT") => {
                // A number that is a key is not to meet the next one.
                let step = if self.is_key { 1_000_000 } else { 1 };
                format!("coalesce({name} + {step}, 1)")
            }
            _ => format!("coalesce({name} || 'x', 'x')"),
        }
    }
}
