//! The real binary in folders of its own: what it prints, where it prints it, and how it ends.
//!
//! Ledgers here are sandboxes whose clock stands at [`NOW`], so every figure and every instant is known.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
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

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

#[test]
fn every_kind_of_outcome_has_its_exit_code() {
    let place = Place::with_acme();
    place.write("strange.toml", "[credits]\nmontly_allowance = 1\n");
    place.ok("charge --account acme --action erase --key k");
    for (args, code, reason) in [
        ("no-such-command", 2, "unrecognized subcommand"),
        ("charge --account acme", 2, "--action"),
        ("charge --account a/b --action erase", 2, "the account id has the character"),
        ("charge --account acme --action erase --quantity 0", 2, "1..=1000000"),
        ("purchase", 2, "--packs"),
        ("transactions list --from 20133-01-01", 2, "outside 1970 to 2199"),
        ("account set acme", 2, "required arguments"),
        ("help no such", 2, "no command \"no such\""),
        (
            "--config strange.toml balance",
            4,
            "strange.toml:2: there is no setting credits.montly_allowance; did you mean",
        ),
        ("--config absent.toml balance", 4, "absent.toml"),
        ("--database-url sqlite://absent.db balance", 4, "`creditd init` makes one"),
        ("--database-url postgres://h/d balance", 4, "not supported"),
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
        ("completions bash", "complete -F _creditd"),
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
        ("transactions list", "creditd.transactions/1"),
        ("actions list", "creditd.actions/1"),
        ("alerts list", "creditd.alerts/1"),
        ("outbox list", "creditd.outbox/1"),
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
    assert!(empty.stdout.starts_with("account  name") && empty.stderr.contains("no accounts yet"), "{}", empty.stderr);
    assert_eq!(place.ok("alerts list -q").stderr, "");
    assert_eq!(place.ok("alerts list").stderr, "No alert is open.\n");
    assert_eq!(place.ok("outbox list -o csv").stdout.lines().count(), 1);

    place.ok("account create acme --name Acme --zone America/New_York --opened-on 2013-01-01");
    let verified = place.ok("verify");
    assert_eq!(verified.stdout, "");
    assert!(verified.stderr.starts_with("1 account, 0 transactions, 1"), "{}", verified.stderr);
    assert!(place.ok("transactions list --limit 5").stderr.contains("no such transactions"));
    place.ok("charge --account acme --action erase -q");
    assert!(place.ok("transactions list --limit 2").stderr.contains("more than these 2"));
    assert_eq!(place.ok("transactions list --limit 4").stderr, "");
}

#[test]
fn init_makes_settings_and_ledger_or_neither() {
    let place = Place::empty();
    let done = place.ok("init");
    assert!(done.stdout.contains("creditd.db") && done.stderr.contains("creditd account create"), "{}", done.stderr);
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

#[test]
fn a_charge_is_done_once_refused_once_and_never_taken_for_another() {
    let place = Place::with_acme();
    let charge = "charge --account acme --action erase --user ann --quantity 3 --comment two\u{a0}words --key job-1";
    let first = place.json(charge);
    assert_eq!(
        first,
        json!({
            "schema": "creditd.charge/1", "account": "acme", "seq": 4, "occurred_at": NOW, "action": "erase",
            "quantity": 3, "status": "success", "reason": null, "credits": 21, "free": 21, "purchased": 0,
            "replayed": false, "available": 1479, "available_free": 1479, "available_purchased": 0,
            "next_reset_at": "2013-03-01T05:00:00Z", "key": "job-1"
        })
    );
    let again = place.json(charge);
    assert_eq!((&again["replayed"], &again["seq"], &again["available"]), (&json!(true), &json!(4), &json!(1479)));
    place.run(&charge.replace("--quantity 3", "--quantity 4")).fails_with(7, "the key job-1 was used on");

    let made = place.ok("charge --account acme --action upscale -o json");
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    assert_eq!(made.stderr, format!("key: {key}\n"));
    assert!(key.starts_with("cli-20130210T120000Z-"), "{key}");

    let refused = place.run("charge --account acme --action text-to-image --quantity 1000 --key big -o json");
    refused.fails_with(6, "8,000 credits are needed, 1,479 are available, 6,521 are missing; nothing was taken");
    refused.fails_with(6, "the next reset at 2013-03-01T05:00:00Z");
    let row = refused.json();
    assert_eq!((&row["status"], &row["reason"]), (&json!("failed"), &json!("insufficient_credits")));
    assert_eq!((&row["credits"], &row["available"]), (&json!(0), &json!(1479)));

    // A refusal is the answer to its key for ever; a new key asks again.
    let bought = place.json("purchase --account acme --packs 3 --reference inv-1");
    assert_eq!(
        (&bought["credits"], &bought["price_minor"], &bought["available"]),
        (&json!(7500), &json!(7500), &json!(8979))
    );
    place
        .run("charge --account acme --action text-to-image --quantity 1000 --key big")
        .fails_with(6, "Use a new key to try again");
    place.ok("charge --account acme --action text-to-image --quantity 1000 --key big-2");
    assert_eq!(place.balance(), (0, 979));

    assert_eq!(place.json("purchase --account acme --packs 3 --reference inv-1")["replayed"], true);
    place.run("purchase --account acme --packs 4 --reference inv-1").fails_with(7, "idempotency_conflict");
    place.ok("verify");
}

#[test]
fn the_log_is_listed_newest_first_and_by_what_is_asked() {
    let place = Place::with_acme();
    place.ok("account create other --name Other --zone Asia/Tokyo --opened-on 2013-01-01");
    place.write("usage.csv", usage(&[("a", "erase"), ("b", "translation")]));
    place.ok("transactions import usage.csv");
    place.ok("charge --account acme --action erase --user bob --key c");
    place.run("charge --account acme --action erase --user bob --quantity 1000 --key d").fails_with(6, "");
    let keys = |args: &str| -> Vec<String> {
        let rows = place.rows(&format!("transactions list {args}"));
        rows.iter().map(|row| row["key"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(keys("--kind charge"), ["d", "c", "b", "a"]);
    assert_eq!(keys("--user ann"), ["b", "a"]);
    assert_eq!(keys("--user ann --action erase"), ["a"]);
    assert_eq!(keys("--status failed"), ["d"]);
    assert_eq!(keys("--kind charge --limit 2"), ["d", "c"]);
    assert_eq!(keys("--account other"), Vec::<String>::new());
    // Days are the account's: its 5th began at 05:00 UTC, after both rows. The end is not part of the range.
    assert_eq!(keys("--kind charge --account acme --from 2013-01-05 --to 2013-01-06"), Vec::<String>::new());
    assert_eq!(keys("--kind charge --account acme --from 2013-01-04 --to 2013-01-05"), ["b", "a"]);
    assert_eq!(keys("--kind charge --from 2013-01-05 --to 2013-01-06"), ["b", "a"]);
    assert_eq!(keys("--from 2013-01-05T00:00:00Z --to 2013-01-05T00:01:00Z"), ["a"]);

    let row = &place.rows("transactions list --status failed")[0];
    assert_eq!((&row["reason"], &row["credits"]), (&json!("insufficient_credits"), &json!(0)));
    assert_eq!((&row["type"], &row["balance"]), (&json!("none"), &json!(1493)));
    let table = place.ok("transactions list --account acme").stdout;
    assert!(!table.starts_with("account") && table.contains("insufficient_credits"), "{table}");
}

#[test]
fn a_file_is_all_or_nothing_and_names_its_bad_rows() {
    let place = Place::with_acme();
    let file = usage(&[("a", "erase"), ("b", "no-such"), ("c", "translation"), ("d", "era se")]);
    place.write("usage.csv", &file);
    let before = place.balance();
    let refused = place.run("transactions import usage.csv -o json");
    refused.fails_with(1, "2 of 4 rows cannot be imported; nothing was imported");
    refused.fails_with(1, "usage.csv:3: column 4 (action): unknown_action: there is no action no-such");
    refused.fails_with(1, "usage.csv:5: column 4 (action): the action code has the character ' '");
    let data = refused.json();
    assert_eq!((&data["written"], &data["new"], &data["bad"]), (&json!(false), &Value::Null, &json!(2)));
    assert_eq!(place.balance(), before);

    // The good rows go in, the bad ones into a file beside it, which is mended and imported.
    let partly = place.run("transactions import usage.csv --skip-bad");
    partly.fails_with(3, "read 4 rows: 2 new, 0 there already, 2 bad; these are in usage.bad.csv");
    assert_eq!(place.read("usage.bad.csv").lines().count(), 3);
    assert_eq!(place.balance(), (before.0, before.1), "January's usage takes January's credits");
    place
        .run("transactions import usage.csv --skip-bad")
        .fails_with(1, "usage.bad.csv: the bad rows cannot be written");
    place.write("mended.csv", place.read("usage.bad.csv").replace("no-such", "erase").replace("era se", "erase"));
    assert_eq!(place.ok("transactions import mended.csv").stderr, "read 2 rows: 2 new, 0 there already\n");
    let again = place.ok("transactions import mended.csv -o json");
    assert_eq!((&again.json()["new"], &again.json()["already"]), (&json!(0), &json!(2)));

    let checked = place.ok("transactions import mended.csv --dry-run");
    assert_eq!(checked.stderr, "checked 2 rows: all can be imported; nothing was written\n");
    place.run("transactions import mended.csv --dry-run --skip-bad").fails_with(2, "cannot be used with");
    place.run("transactions import absent.csv").fails_with(1, "absent.csv:1: cannot be read: ");
    place
        .run("purchase import mended.csv")
        .fails_with(1, "the header must name the columns occurred_at, account, packs");
    place.ok("verify");
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let place = Place::sandbox();
    let accounts =
        "account,name,time_zone,opened_on,admin_email\nacme,Acme,America/New_York,2013-01-01,ann@acme.example\n";
    assert_eq!(place.run_on("account import -", accounts.as_bytes()).code, 0);
    assert_eq!(place.rows("account list")[0]["admins"], 1);
    let purchases = "occurred_at,account,packs,reference\n2013-01-02T00:00:00Z,acme,2,inv-1\n";
    assert_eq!(place.run_on("purchase import -", purchases.as_bytes()).stderr, "read 1 row: 1 new, 0 there already\n");

    // 300 images cost 2,400 of January's 1,500 and the packs' 5,000 credits.
    let keys: Vec<String> = (0..300).map(|n| format!("k{n}")).collect();
    let rows: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "text-to-image")).collect();
    let file = usage(&rows);
    let plain = place.run_on("transactions import - -o json", file.as_bytes());
    assert_eq!((plain.code, &plain.json()["new"]), (0, &json!(300)), "{}", plain.stderr);
    assert_eq!(place.balance(), (1_500, 4_100));
    let packed = place.run_on("transactions import - -o json", &gzip(&file));
    assert_eq!((packed.code, &packed.json()["already"]), (0, &json!(300)), "{}", packed.stderr);

    place.run_on("transactions import - --skip-bad", file.as_bytes()).fails_with(2, "--bad-file");
    let bad = format!("{USAGE_HEADER}\n2013-01-05T00:00:00Z,nobody,,erase,success,,x\n");
    let partly = place.run_on("transactions import - --skip-bad --bad-file left.csv", &gzip(&bad));
    partly.fails_with(3, "standard input:2: column 2 (account): unknown_account");
    assert_eq!(place.read("left.csv"), bad);
    place.ok("verify");
}

#[test]
fn an_export_is_whole_and_adds_up() {
    let place = Place::with_acme();
    place.ok("account create other --name Other --zone Asia/Tokyo --opened-on 2013-01-01");
    place.ok("purchase --account acme --packs 1 --reference inv-1 --comment =HYPERLINK(1)");
    let keys: Vec<String> = (0..400).map(|n| format!("a-key-of-ordinary-length-{n}")).collect();
    let rows: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "erase")).collect();
    place.write("usage.csv", usage(&rows));
    place.ok("transactions import usage.csv");
    place.ok("balance");

    let said = place.ok("transactions export --out log.csv").stderr;
    let file = place.read("log.csv");
    assert_eq!(place.ok("transactions export").stdout, file);
    assert!(file.contains(",'=HYPERLINK(1),"), "a spreadsheet would run it");
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let column = |name: &str| header.iter().position(|column| column == name).expect(name);
    let (kind, credits, balance) = (column("kind"), column("credits"), column("balance"));
    let (mut sum, mut count) = (0, 0);
    for record in reader.records() {
        let record = record.expect("a row");
        let credits: i64 = record[credits].parse().expect("a number");
        sum += if &record[kind] == "charge" { -credits } else { credits };
        count += 1;
        assert_eq!(record[balance].parse::<i64>(), Ok(sum), "row {count}");
    }
    assert_eq!(said, format!("{count} transactions are in log.csv.\n"));
    let log = place.rows("transactions list --limit 10000");
    assert_eq!(log.len(), count);

    let lines = place.ok("transactions export -o ndjson --account acme").stdout;
    let mut newest_first: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    newest_first.iter_mut().for_each(|row| drop(row.as_object_mut().expect("an object").remove("schema")));
    let by_seq = |row: &Value| row["seq"].as_i64();
    let mut listed = log;
    listed.sort_by_key(by_seq);
    assert_eq!(newest_first, listed);

    place.run("transactions export -o table").fails_with(2, "a table is for people");
    place.run("transactions export --account nobody --out log.csv").fails_with(5, "unknown_account");
    assert_eq!(place.read("log.csv"), file, "a failed export leaves the old file");
    assert_eq!(place.names(), ["creditd.db", "creditd.toml", "log.csv", "usage.csv"]);

    // Whoever reads no further (`| head`) has read enough.
    let mut command = place.command("transactions export");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let done = Done::of(child.wait_with_output().expect("the binary ends"));
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}

#[test]
fn accounts_change_from_their_next_month_on() {
    let place = Place::with_acme();
    let create = "account create acme --name Acme --zone America/New_York --opened-on 2013-01-01";
    assert!(place.ok(create).stderr.contains("was there already"));
    place.run(&create.replace("2013-01-01", "2013-01-02")).fails_with(7, "it opened at 2013-01-01T05:00:00Z");

    let said = place.ok("account set acme --allowance 3000 --name Acme\u{a0}Inc.").stderr;
    assert_eq!(said, "From 2013-03 on: 3,000 free credits a month, zone America/New_York.\n");
    let said = place.ok("account set acme --zone Europe/Berlin").stderr;
    assert_eq!(said, "From 2013-03 on: 3,000 free credits a month, zone Europe/Berlin.\n");
    let shown = place.json("account show acme");
    assert_eq!(
        (&shown["name"], &shown["zone"], &shown["allowance"]),
        (&json!("Acme Inc."), &json!("America/New_York"), &json!(1500))
    );
    assert_eq!(
        (&shown["next_terms_from"], &shown["next_zone"], &shown["next_allowance"]),
        (&json!("2013-03"), &json!("Europe/Berlin"), &json!(3000))
    );
    // February still ends in New York; March is Berlin's.
    let march = &place.rows("balance --now 2013-03-01T05:00:00Z")[0];
    assert_eq!((&march["free"], &march["next_reset_at"]), (&json!(3000), &json!("2013-03-31T22:00:00Z")));

    assert_eq!((&shown["levels"], &shown["own_levels"]), (&json!("low=20%,critical=5%,exhausted=0"), &json!(false)));
    for (set, levels, own) in [
        ("low=50%,tight=100", "low=50%,tight=100", true),
        ("none", "none", true),
        ("default", "low=20%,critical=5%,exhausted=0", false),
    ] {
        let shown = place.json(&format!("account set acme --levels {set}"));
        assert_eq!((&shown["levels"], &shown["own_levels"]), (&json!(levels), &json!(own)));
    }
    place.run("account set acme --levels low=200%").fails_with(2, "200 percent");
    place.run("account set nobody --name X").fails_with(5, "unknown_account");
    place.ok("verify");
}

#[test]
fn admins_come_change_and_go() {
    let place = Place::with_acme();
    let wants = |args: &str| {
        let rows = place.rows(args);
        let row = rows.last().expect("an admin").clone();
        ["name", "alerts", "monthly_report", "daily_report"].map(|name| row[name].clone())
    };
    assert_eq!(
        wants("admin add acme ann@ACME.example --name Ann"),
        [json!("Ann"), json!(true), json!(true), json!(false)]
    );
    let changed = [json!("Ann"), json!(false), json!(true), json!(true)];
    assert_eq!(wants("admin add acme ann@acme.example --alerts no --daily-report yes"), changed);
    assert_eq!(wants("admin list acme"), changed);
    place.run("admin add nobody ann@acme.example").fails_with(5, "unknown_account");
    place.ok("admin remove acme ann@acme.example");
    assert_eq!(place.rows("admin list"), Vec::<Value>::new());
}

#[test]
fn a_price_counts_from_its_instant() {
    let place = Place::with_acme();
    let of = |args: &str, code: &str| {
        let rows = place.rows(args);
        let row = rows.iter().find(|row| row["action"] == code).expect(code).clone();
        ["state", "credits", "next_credits", "next_from"].map(|name| row[name].clone())
    };
    place.ok("actions set erase --credits 9 --from 2013-03-01");
    let planned = [json!("active"), json!(7), json!(9), json!("2013-03-01T00:00:00Z")];
    assert_eq!(of("actions list", "erase"), planned);
    assert_eq!(of("actions list --at 2013-03-01", "erase")[..2], [json!("active"), json!(9)]);
    assert_eq!(place.json("charge --account acme --action erase")["credits"], 7);
    let later = "charge --account acme --action erase --now 2013-03-01T00:00:00Z";
    assert_eq!(place.json(later)["credits"], 9);

    place.ok("actions set poem --credits 2 --title Poem --help-text Writes\u{a0}a\u{a0}poem.");
    assert_eq!(place.json("charge --account acme --action poem")["credits"], 2);
    place.ok("actions set poem --retire --now 2013-02-11T00:00:00Z");
    place.run("charge --account acme --action poem --now 2013-02-11T00:00:00Z").fails_with(5, "retired_action");
    place.run("actions set nothing --retire").fails_with(5, "unknown_action");
    place.run("actions set poem").fails_with(2, "--credits");
    place.run("actions set poem --credits 1 --retire").fails_with(2, "cannot be used with");
    assert!(place.ok("actions set poem --credits 1 --from 2013-01-01").stderr.contains("past"));
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
fn one_check_finds_everything_that_is_wrong() {
    let place = Place::empty();
    assert!(place.rows("config check").iter().all(|row| row["ok"] == true));
    std::fs::create_dir_all(place.path("cron")).expect("a folder");
    std::fs::create_dir_all(place.path("templates")).expect("a folder");
    place.write("cron/scan.toml", "cron = \"61 * * * *\"\n");
    place.write("templates/low-credit.txt", "{{ no_such_thing }}");
    place.write("creditd.toml", "[cron]\ndir = \"cron\"\n[templates]\ndir = \"templates\"\n");
    let wrong = place.run("config check -o json");
    wrong.fails_with(4, "scan.toml");
    wrong.fails_with(4, "no_such_thing");
    let rows = wrong.json()["rows"].as_array().expect("rows").clone();
    let parts: Vec<&str> =
        rows.iter().filter(|row| row["ok"] == false).filter_map(|row| row["part"].as_str()).collect();
    assert_eq!(parts, ["schedules", "mail templates"]);

    place.write("creditd.toml", "[credits]\npack_credits = 0\n[jobs]\nbatch_accounts = 0\n");
    let wrong = place.run("config check");
    wrong.fails_with(4, "creditd: creditd.toml:2: credits.pack_credits = 0: allowed are 1 to");
    wrong.fails_with(4, "creditd: creditd.toml:4: jobs.batch_accounts = 0: allowed are 1 to");
    place.write("creditd.toml", "[alerts]\nlevels = [{ name = \"low\", percent = 200 }]\n");
    place.run("config check").fails_with(4, "creditd.toml:2: alerts.levels[0]: the alert level low is at 200 percent");
}

#[tokio::test]
async fn verify_names_a_figure_that_is_not_what_the_transactions_say() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action erase");
    let proved = place.ok("verify --account acme").stderr;
    assert!(proved.starts_with("1 account, 4 transactions, "), "{proved}");
    break_balance(&place.path("creditd.db")).await;
    let wrong = place.run("verify -o json");
    wrong.fails_with(1, "differ from what the transactions say");
    let row = &wrong.json()["rows"][0];
    assert_eq!((&row["account"], &row["found"]), (&json!("acme"), &json!("1494 + 0")));
    assert_eq!(row["expected"], "1493 + 0");
}

/// Gives the account a credit that no transaction knows of, past creditd.
async fn break_balance(ledger: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(ledger);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a connection");
    sqlx::query("UPDATE accounts SET balance_free = balance_free + 1").execute(&pool).await.expect("changed");
    pool.close().await;
}
