//! The real binary in folders of its own: what it prints, where it prints it, and how it ends.
//!
//! Ledgers here are sandboxes whose clock stands at [`NOW`], so every figure and every instant is known.

mod exports;
mod files;
mod holds;
mod ledger;
mod mail;
mod operations;
mod operator;
mod postgres;
mod replays;
mod reports;
mod tokens;
mod webhook;

use creditd::core::schedule::Job;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Noon of a day in the second month of the accounts.
const NOW: &str = "2013-02-10T12:00:00Z";
const USAGE_HEADER: &str = "occurred_at,account,user,action,status,comment,key";

/// A folder in which commands run.
struct Place {
    folder: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

/// How a command ended.
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    /// An empty folder and the machine's clock.
    fn empty() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder"), env: Vec::new() }
    }

    /// A sandbox whose clock stands at [`NOW`].
    fn sandbox() -> Place {
        let mut place = Place::empty();
        place.env.push(("CREDITD_NOW", NOW.to_owned()));
        place.ok("init --sandbox");
        place
    }

    /// A sandbox with the account `acme`, which has 1,500 free credits a month since January 2013.
    fn with_acme() -> Place {
        let place = Place::sandbox();
        place.ok("account create acme --name Acme --zone America/New_York --opened-on 2013-01-01");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("the temporary folder is writable");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a text file")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a readable folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs statements on the ledger, past creditd.
    fn sql(&self, sql: &str) {
        self.sql_in("creditd.db", sql);
    }

    /// Runs statements on a file of SQLite, past creditd.
    fn sql_in(&self, file: &str, sql: &str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path(file));
        let run = async {
            let pool = sqlx::SqlitePool::connect_with(options).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await?;
            pool.close().await;
            Ok::<(), sqlx::Error>(())
        };
        tokio::runtime::Runtime::new().expect("a runtime").block_on(run).expect(sql);
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.env_clear().envs(self.env.iter().cloned()).current_dir(self.folder.path());
        // Arguments end at a blank; a hard one (U+00A0) stands for a blank inside an argument.
        command.args(args.split(' ').map(|arg| arg.replace("\u{a0}", " ")));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &str) -> Done {
        let output = self.command(args).output().expect("the binary runs");
        Done::of(output)
    }

    fn run_on(&self, args: &str, stdin: &[u8]) -> Done {
        let mut command = self.command(args);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        child.stdin.take().expect("a pipe").write_all(stdin).expect("the binary reads all of its input");
        Done::of(child.wait_with_output().expect("the binary ends"))
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn ok(&self, args: &str) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, 0, "creditd {args}: {}", done.stderr);
        done
    }

    /// The JSON that a command prints.
    #[track_caller]
    fn json(&self, args: &str) -> Value {
        self.ok(&format!("{args} -o json")).json()
    }

    /// The rows of a list.
    #[track_caller]
    fn rows(&self, args: &str) -> Vec<Value> {
        self.json(args)["rows"].as_array().expect("a list").clone()
    }

    /// What a call answers that is made twice: the second time it is a replay, and nothing moves.
    #[track_caller]
    fn once(&self, args: &str) -> Value {
        let first = self.json(args);
        let again = self.json(args);
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)), "{args}");
        assert_eq!((&first["seq"], &first["available"]), (&again["seq"], &again["available"]), "{args}");
        first
    }

    /// Free and purchased credits of `acme`.
    #[track_caller]
    fn balance(&self) -> (i64, i64) {
        let row = &self.rows("balance acme")[0];
        (row["free"].as_i64().expect("a number"), row["purchased"].as_i64().expect("a number"))
    }
}

impl Done {
    fn of(output: std::process::Output) -> Done {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// Checks how the command ended, and that it told the person why.
    #[track_caller]
    fn fails_with(&self, code: i32, reason: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(reason), "{reason:?} is not in: {}", self.stderr);
    }
}

/// A file of usage of `acme`, one row a minute; each has a key and an action.
fn usage(rows: &[(&str, &str)]) -> String {
    let mut file = format!("{USAGE_HEADER}\n");
    for (at, (key, action)) in rows.iter().enumerate() {
        let (hour, minute) = (at / 60, at % 60);
        writeln!(file, "2013-01-05T{hour:02}:{minute:02}:00Z,acme,ann,{action},success,,{key}")
            .expect("a string grows");
    }
    file
}

#[test]
fn every_kind_of_outcome_has_its_exit_code() {
    let place = Place::with_acme();
    place.write("strange.toml", "[credits]\nmontly_allowance = 1\n");
    place.ok("charge --account acme --action erase --key k");
    for (args, code, reason) in [
        ("no-such-command", 2, "unrecognized subcommand"),
        ("charge --account acme", 2, "--action"),
        ("balance --as-of 2014-01-01T00:00:00Z", 2, "2014-01-01T00:00:00Z is later than now"),
        ("charge --account a/b --action erase", 2, "the account id has the character"),
        ("charge --account acme --action erase --quantity 0", 2, "1..=1000000"),
        ("purchase", 2, "--packs"),
        ("transactions list --from 20133-01-01", 2, "outside 1970 to 2199"),
        ("transactions list --limit 0", 2, "1 to 100000 are possible"),
        ("account set acme", 2, "required arguments"),
        ("help no such", 2, "no command \"no such\""),
        (
            "--config strange.toml balance",
            4,
            "strange.toml:2: there is no setting credits.montly_allowance; did you mean",
        ),
        ("--config absent.toml balance", 4, "absent.toml"),
        ("--database-url sqlite://absent.db balance", 4, "`creditd init` makes one"),
        ("--database-url mysql://h/d balance", 4, "not supported"),
        ("charge --account nobody --action erase", 5, "unknown_account"),
        ("charge --account acme --action no-such", 5, "unknown_action: there is no action no-such;"),
        ("balance acme nobody", 5, "unknown_account: there is no account nobody"),
        ("admin remove acme ann@acme.example", 5, "no admin ann@acme.example"),
        ("charge --account acme --action erase --quantity 1000", 6, "insufficient_credits"),
        ("charge --account acme --action translation --key k", 7, "idempotency_conflict"),
        ("init --sandbox", 7, "nothing was changed"),
    ] {
        let done = place.run(args);
        assert_eq!(done.code, code, "{args}: {}", done.stderr);
        assert!(done.stderr.contains(reason), "{args}: {reason:?} is not in: {}", done.stderr);
        assert!(!done.stderr.contains("panicked") && !done.stderr.contains("Error {"), "{args}: {}", done.stderr);
    }
    for (args, said) in [
        ("--version", "creditd 0."),
        ("--help", "Commands:"),
        ("help", "Commands:"),
        ("help account create", "--opened-on"),
        ("help exit-codes", "\n   6  insufficient credits"),
        ("help refusals", "\n   7  idempotency_conflict"),
        ("completions bash", "complete -F _creditd"),
        ("man", ".SH \"EXIT STATUS\""),
        ("man account create", "creditd\\-account\\-create"),
        ("config schema", "\"title\": \"creditd.toml\""),
    ] {
        let done = Place::empty().ok(args);
        assert!(done.stdout.contains(said), "{args}: {}", done.stdout);
    }
}

#[test]
fn lists_and_answers_name_their_schema() {
    let place = Place::with_acme();
    place.ok("admin add acme ann@acme.example");
    for (args, schema) in [
        ("account show acme", "creditd.account/1"),
        ("account list --balance", "creditd.accounts/1"),
        ("admin list", "creditd.admins/1"),
        ("purchase --account acme --packs 1", "creditd.purchase/1"),
        ("charge --account acme --action upscale", "creditd.charge/1"),
        ("balance", "creditd.balance/1"),
        ("hold --account acme --action erase", "creditd.hold/1"),
        ("holds list", "creditd.holds/1"),
        ("grant --account acme --type free --credits 1 --comment why", "creditd.grant/1"),
        ("adjust --account acme --type free --credits 1 --comment why", "creditd.adjust/1"),
        ("cap set ann --account acme --credits 1", "creditd.cap/1"),
        ("cap list", "creditd.caps/1"),
        ("month close 2013-01 --account acme", "creditd.month-close/1"),
        ("transactions list", "creditd.transactions/1"),
        ("actions list", "creditd.actions/1"),
        ("alerts list", "creditd.alerts/1"),
        ("outbox list", "creditd.outbox/1"),
        ("suppressions list", "creditd.suppressions/1"),
        ("webhook list", "creditd.webhooks/1"),
        ("webhook events", "creditd.webhook-events/1"),
        ("token list", "creditd.tokens/1"),
        ("verify", "creditd.verify/1"),
        ("config show", "creditd.settings/1"),
        ("config check", "creditd.config-check/1"),
    ] {
        assert_eq!(place.json(args)["schema"], schema, "{args}");
        let lines = place.ok(&format!("{args} -o ndjson")).stdout;
        for line in lines.lines() {
            let row: Value = serde_json::from_str(line).expect(line);
            assert_eq!(row["schema"], schema, "{args}");
        }
        let header = place.ok(&format!("{args} -o csv")).stdout;
        assert!(header.lines().next().is_some_and(|names| names.contains(',')), "{args}: {header}");
    }
}

#[test]
fn data_goes_to_stdout_and_talk_to_stderr() {
    let place = Place::sandbox();
    let empty = place.ok("account list");
    assert!(
        empty.stdout.starts_with("account  status  name") && empty.stderr.contains("no accounts yet"),
        "{}",
        empty.stderr
    );
    assert_eq!(place.ok("alerts list -q").stderr, "");
    assert_eq!(place.ok("alerts list").stderr, "No alert is open.\n");
    assert_eq!(place.ok("outbox list -o csv").stdout.lines().count(), 1);

    place.ok("account create acme --name Acme --zone America/New_York --opened-on 2013-01-01");
    let verified = place.ok("verify");
    assert_eq!(verified.stdout, "");
    assert!(verified.stderr.starts_with("1 account, 0 transactions, "), "{}", verified.stderr);
    assert!(place.ok("transactions list --limit 5").stderr.contains("no such transactions"));
    place.ok("charge --account acme --action erase -q");
    assert!(place.ok("transactions list --limit 2").stderr.contains("more than these 2"));
    assert_eq!(place.ok("transactions list --limit 4").stderr, "");
}

#[test]
fn init_makes_settings_and_ledger_or_neither() {
    let place = Place::empty();
    let done = place.ok("init");
    assert!(done.stdout.contains("creditd.db") && done.stderr.contains(" account create acme"), "{}", done.stderr);
    assert_eq!(place.names(), ["creditd.db", "creditd.toml"]);

    let before = (std::fs::read(place.path("creditd.db")).expect("a ledger"), place.read("creditd.toml"));
    place.run("init").fails_with(7, "there is a ledger at");
    let after = (std::fs::read(place.path("creditd.db")).expect("a ledger"), place.read("creditd.toml"));
    assert!(before == after, "a second init changed something");

    // Without its settings file, too, the ledger is left alone, and no file remains.
    std::fs::remove_file(place.path("creditd.toml")).expect("removed");
    place.run("init --sandbox").fails_with(7, "there is a ledger at");
    assert_eq!(place.names(), ["creditd.db"]);

    // Settings that the operator wrote first are kept.
    let place = Place::empty();
    place.write("creditd.toml", "database_url = \"sqlite://credits.db\"\n[credits]\nmonthly_allowance = 7\n");
    assert!(place.ok("init").stderr.contains("are kept"));
    assert_eq!(place.names(), ["creditd.toml", "credits.db"]);
    assert!(place.read("creditd.toml").contains("= 7"));

    // What cannot work leaves nothing behind.
    let place = Place::empty();
    place.run("init there --database-url sqlite://no/such/folder/x.db").fails_with(1, "was not made");
    place.run("init --now 2013-01-01T00:00:00Z").fails_with(5, "only a sandbox allows");
    place.run("init there --config creditd.toml").fails_with(2, "not both");
    assert_eq!(place.names(), Vec::<String>::new());

    // A ledger elsewhere is written down where the next command finds it.
    place.ok("init a/b --database-url sqlite://elsewhere.db");
    assert_eq!(place.names(), ["a", "elsewhere.db"]);
    let shown = place.ok("config show --config a/b/creditd.toml -o ndjson").stdout;
    assert!(shown.lines().next().is_some_and(|line| line.contains("/elsewhere.db")), "{shown}");
    place.ok("balance --config a/b/creditd.toml");
}

#[test]
fn what_is_no_ledger_is_left_as_it_is() {
    let place = Place::empty();
    for other in ["", "a letter to somebody"] {
        place.write("creditd.db", other);
        place.run("balance").fails_with(4, "creditd.db is no ledger of creditd; it was left as it is");
        assert_eq!((place.read("creditd.db").as_str(), place.names().len()), (other, 1));
    }
}

#[test]
fn the_clock_is_set_on_a_sandbox_only() {
    let mut place = Place::empty();
    place.ok("init");
    place.run("balance --now 2013-01-01T00:00:00Z").fails_with(5, "only a sandbox allows");
    place.env.push(("CREDITD_NOW", "2013-01-01T00:00:00Z".to_owned()));
    place.run("balance").fails_with(5, "CREDITD_NOW");
    place.env[0].1 = "yesterday".to_owned();
    place.run("balance").fails_with(4, "CREDITD_NOW: \"yesterday\" is not an instant");

    let place = Place::with_acme();
    assert_eq!(place.rows("balance")[0]["month"], "2013-02");
    // The flag beats the environment. The instant of the boundary belongs to the new month.
    assert_eq!(place.rows("balance --now 2013-03-01T04:59:59Z")[0]["month"], "2013-02");
    assert_eq!(place.rows("balance --now 2013-03-01T05:00:00Z")[0]["month"], "2013-03");
}

#[tokio::test]
async fn nothing_is_run_under_a_clock_that_cannot_be_believed() {
    let place = Place::empty();
    place.ok("init");
    let ledger = format!("sqlite://{}", place.path("creditd.db").display());
    let ledger = sqlx::SqlitePool::connect(&ledger).await.expect("the ledger");
    for (created, says) in
        [("2099-01-01T00:00:00Z", "Set the clock right"), ("2001-01-01T00:00:00Z", "--clock-is-right")]
    {
        let write = sqlx::query("UPDATE meta SET value = $1 WHERE name = 'created_at'").bind(created);
        write.execute(&ledger).await.expect("written");
        for command in ["run reset", "backfill create --job daily-report --from 2026-01-01 --to 2026-01-02"] {
            place.run(command).fails_with(5, says);
        }
    }
    assert!(place.rows("backfill list").is_empty());
}

#[test]
fn settings_show_where_they_come_from() {
    let mut place = Place::empty();
    place.write("creditd.toml", "[credits]\npack_credits = 100\n\n[jobs]\nbatch_accounts = 10\n");
    place.env.push(("CREDITD__JOBS__BATCH_ACCOUNTS", "20".to_owned()));
    let rows = place.rows("config show --origin --database-url sqlite://x.db");
    let of = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).expect(key);
        (row["value"].clone(), row["origin"].clone())
    };
    assert_eq!(of("database_url"), (json!("\"sqlite://x.db\""), json!("flag")));
    assert_eq!(of("jobs.batch_accounts"), (json!("20"), json!("env CREDITD__JOBS__BATCH_ACCOUNTS")));
    assert_eq!(of("credits.pack_credits"), (json!("100"), json!("file creditd.toml:2")));
    assert_eq!(of("credits.monthly_allowance"), (json!("1500"), json!("default")));
    assert_eq!(of("cron.dir").0, Value::Null);
    assert!(place.rows("config show")[0].get("origin").is_none());
}

#[test]
fn templates_that_are_wrong_stop_only_the_jobs_that_write_to_admins() {
    let place = Place::sandbox();
    std::fs::create_dir_all(place.path("templates")).expect("a folder");
    place.write("templates/low-credit.txt", "{{ no_such_thing }}");
    place.write("creditd.toml", "[templates]\ndir = \"templates\"\n[sealed]\ndir = \"sealed\"\n");
    for job in Job::ALL {
        let ran = place.run(&format!("run {job}"));
        assert!(ran.stderr.contains("no_such_thing"), "{job}: {}", ran.stderr);
        match job {
            Job::Scan | Job::DailyReport | Job::MonthlyReport => ran.fails_with(4, "low-credit.txt"),
            _ => assert_eq!(ran.code, 0, "{job}: {}", ran.stderr),
        }
    }
    place.run("backfill show 1").fails_with(1, "there is no backfill 1");
}

#[test]
fn one_check_finds_everything_that_is_wrong() {
    let place = Place::empty();
    assert!(place.rows("config check").iter().all(|row| row["ok"] == true));
    std::fs::create_dir_all(place.path("cron")).expect("a folder");
    std::fs::create_dir_all(place.path("templates")).expect("a folder");
    place.write("cron/scan.toml", "cron = \"61 * * * *\"\n");
    place.write("templates/low-credit.txt", "{{ no_such_thing }}");
    std::fs::create_dir_all(place.path("reports")).expect("a folder");
    place.write("reports/mine.toml", "group_by = \"dya\"\n");
    let folders = ["cron", "templates", "reports"].map(|name| format!("[{name}]\ndir = \"{name}\"\n"));
    place.write("creditd.toml", folders.concat());
    let wrong = place.run("config check -o json");
    wrong.fails_with(4, "scan.toml");
    wrong.fails_with(4, "no_such_thing");
    wrong.fails_with(4, "mine.toml, line 1: ");
    let rows = wrong.json()["rows"].as_array().expect("rows").clone();
    let parts: Vec<&str> =
        rows.iter().filter(|row| row["ok"] == false).filter_map(|row| row["part"].as_str()).collect();
    assert_eq!(parts, ["schedules", "report definitions", "mail templates"]);
    place.write("creditd.toml", "[reports]\ndir = \"nowhere\"\n");
    place.run("config check").fails_with(4, "nowhere: ");

    // A url that is no url is found, and nothing of it is repeated but its scheme.
    for url in ["postgres://u:secret@h:port/db", "postgres://u:secret@h/db?sslmode=sure", "postgres://u:se/cret@h/db"] {
        place.write("creditd.toml", format!("database_url = \"{url}\"\n"));
        for args in ["config check", "config check -o json", "config show --origin", "balance", "init"] {
            let done = place.run(args);
            assert_eq!(done.code, if args.starts_with("config show") { 0 } else { 4 }, "{args}: {}", done.stderr);
            assert!(
                !format!("{}{}", done.stdout, done.stderr).contains("cret"),
                "{args}: {}{}",
                done.stdout,
                done.stderr
            );
        }
        place
            .run("config check")
            .fails_with(4, "the database url \"postgres://...\" is not supported: it cannot be understood");
    }

    place.write("creditd.toml", "[credits]\npack_credits = 0\nlate_usage_days = 367\n[jobs]\nbatch_accounts = 0\n");
    let wrong = place.run("config check");
    wrong.fails_with(4, "creditd: creditd.toml:2: credits.pack_credits = 0: allowed are 1 to");
    wrong.fails_with(4, "creditd: creditd.toml:3: credits.late_usage_days = 367: allowed are 0 to 366");
    wrong.fails_with(4, "creditd: creditd.toml:5: jobs.batch_accounts = 0: allowed are 1 to");
    place.write("creditd.toml", "[alerts]\nlevels = [{ name = \"low\", percent = 200 }]\n");
    place.run("config check").fails_with(4, "creditd.toml:2: alerts.levels[0]: the alert level low is at 200 percent");
}
