//! Files that go in and come out: all or nothing, packed or not, whole or absent.

use super::{Done, Place, USAGE_HEADER, usage};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
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
    let bad: Vec<String> = place.read("usage.bad.csv").lines().map(str::to_owned).collect();
    assert_eq!(bad, [0, 2, 4].map(|line| file.lines().nth(line).unwrap_or_default()), "in the order of the file");
    assert_eq!(place.balance(), (before.0, before.1), "January's usage takes January's credits");
    place
        .run("transactions import usage.csv --skip-bad")
        .fails_with(1, "usage.bad.csv: the bad rows cannot be written");
    place.write("mended.csv", place.read("usage.bad.csv").replace("no-such", "erase").replace("era se", "erase"));
    assert_eq!(place.ok("transactions import mended.csv").stderr, "read 2 rows: 2 new, 0 there already\n");
    let again = place.ok("transactions import mended.csv -o json");
    assert_eq!((&again.json()["new"], &again.json()["already"]), (&json!(0), &json!(2)));

    let checked = place.ok("transactions import mended.csv --dry-run");
    assert_eq!(
        checked.stderr,
        "checked 2 rows: all can be imported; nothing was written\nIt would move no credits and change no statement.\n"
    );
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

    // A pipe with a name can be read only once, too.
    let named = place.run_on("transactions import /dev/stdin -o json", file.as_bytes());
    assert_eq!((named.code, &named.json()["already"]), (0, &json!(300)), "{}", named.stderr);

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
fn an_export_has_the_form_that_was_asked_for_or_that_of_its_file() {
    let place = Place::with_acme();
    place.ok("purchase --account acme --packs 1 --reference inv-1");
    let begins = |args: &str, beginning: &str| {
        let name = args.split(' ').find(|arg| arg.contains("log")).map_or("log", |name| name);
        let done = place.ok(&format!("transactions export {args}"));
        let written = if args.contains("--out log") { place.read(name) } else { done.stdout };
        assert!(written.starts_with(beginning), "{args}: {written}");
    };
    let (csv, json, ndjson) = (
        "account,seq,",
        "{\"schema\":\"creditd.transactions/1\",\"rows\":[",
        "{\"schema\":\"creditd.transactions/1\",\"account\"",
    );
    let (hledger, beancount) = ("; The ledger of creditd", "; The ledger of creditd");
    for (args, beginning) in [
        ("--out -", csv),
        ("--out log", csv),
        ("--out log.txt", csv),
        ("--out log.json", json),
        ("--out log.ndjson", ndjson),
        ("--out log.journal", hledger),
        ("--out log.hledger", hledger),
        ("--out log.beancount", beancount),
        ("--out log.json -o json --format json", json),
        ("--out log.txt -o csv", csv),
        ("--format hledger --account acme", hledger),
    ] {
        begins(args, beginning);
    }
    for (args, reason) in [
        ("--out new.json -o csv", "--output csv and the ending of new.json ask for different forms"),
        ("--out new.csv --format json", "--format json and the ending of new.csv ask for different forms"),
        ("--out new.journal --format beancount", "--format beancount and the ending of new.journal ask for"),
        ("-o ndjson --format json", "--format json and --output ndjson ask for different forms; leave one of them out"),
        ("-o table --format hledger", "a table is for people"),
    ] {
        place.run(&format!("transactions export {args}")).fails_with(2, reason);
    }
    assert!(!place.names().iter().any(|name| name.starts_with("new")), "{:?}", place.names());
    assert!(place.read("log.journal").contains("\ndecimal-mark ."));
    assert!(place.read("log.beancount").contains("\noption \"title\""));
    let refused = place.run("transactions export --format hleger");
    refused.fails_with(2, "invalid value 'hleger'");
    refused.fails_with(2, "similar value exists: 'hledger'");
    place.run("transactions export -o table").fails_with(2, "--format csv, json, ndjson, hledger, beancount");
    place.run("transactions export --format hledger --account nobody").fails_with(5, "unknown_account");
    assert_eq!(place.ok("transactions export --out log.journal").stderr, "4 transactions are in log.journal.\n");
}

/// A dry run says what would move, to people and programs, and moves nothing.
#[test]
fn a_dry_run_of_an_import_says_what_would_change() {
    let place = Place::with_acme();
    place.ok("run reset");
    let before = (place.balance(), place.rows("transactions list").len());
    let row = "2013-01-20T12:00:00Z,acme,ann,erase,success,,late\n2013-02-10T11:00:00Z,acme,ann,erase,success,,now\n";
    place.write("usage.csv", format!("{USAGE_HEADER}\n{row}"));
    let said = place.ok("transactions import usage.csv --dry-run").stderr;
    for part in [
        "checked 2 rows: all can be imported; nothing was written",
        "It would move 2 grants:",
        "  acme  free:2013-01: +7 consumed, -7 lapsed",
        "  acme  free:2013-02: +7 consumed, -7 left",
        "1 statement of months that are over would change:",
        "  acme  2013-01: free consumed 0 -> 7, free lapsed 1,500 -> 1,493, succeeded 0 -> 1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let data = place.json("transactions import usage.csv --dry-run");
    assert_eq!(
        data["grants_moved"][0],
        json!({
            "account": "acme", "label": "free:2013-01", "credit_type": "free", "new": false, "consumed": 7, "lapsed": -7,
            "remaining": 0
        })
    );
    assert_eq!(
        data["statements_changed"][0]["changes"][0],
        json!({
            "figure": "consumed", "credit_type": "free", "before": 0, "after": 7
        })
    );
    assert_eq!((&data["corrected_statements"], &data["written"]), (&json!(0), &json!(false)));
    assert_eq!((place.balance(), place.rows("transactions list").len()), before);
}

#[test]
fn a_report_has_the_form_on_which_flags_and_file_agree() {
    let place = Place::with_acme();
    let export = |args: &str| place.run(format!("report export statement-monthly --month 2013-01 {args}").trim_end());
    for (args, beginning) in [
        ("--out -", ""),
        ("--out - --format csv", "account,"),
        ("--out - -o csv", "account,"),
        ("--out - -o json --format json", "{"),
        ("--out - --format html", "<!doctype html>"),
    ] {
        let done = export(args);
        assert!(
            beginning.is_empty() == (done.code == 2) && done.stdout.starts_with(beginning),
            "{args}: {}",
            done.stdout
        );
    }
    for (args, file) in [
        ("-o json", "out/statement-monthly-2013-01-01-to-2013-02-01.json"),
        ("", "out/statement-monthly-2013-01-01-to-2013-02-01.html"),
        ("--out r.csv -o csv", "r.csv"),
        ("--out r.data --format csv", "r.data"),
    ] {
        assert_eq!(export(args).code, 0, "{args}");
        assert!(place.path(file).exists(), "{args}");
    }
    for (args, reason) in [
        ("--out new.csv --format html", "--format html and the ending of new.csv ask for different forms"),
        ("--out new.html -o json", "--output json and the ending of new.html ask for different forms"),
        ("-o json --format csv", "--format csv and --output json ask for different forms"),
        ("--out new.data", "new.data: name the form of the report by --format: table, csv,"),
    ] {
        export(args).fails_with(2, reason);
    }
    assert!(!place.names().iter().any(|name| name.starts_with("new")), "{:?}", place.names());
}

/// What somebody names by `--out` keeps what it is: a link, a pipe, the mode of a file.
#[test]
fn an_export_goes_to_what_out_names() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let place = Place::with_acme();
    let report = "report export statement-monthly --month 2013-01 --format csv --out";
    let whole = place.ok(&format!("{report} -")).stdout;
    let log = place.ok("transactions export").stdout;
    let commands = [(report, &whole), ("transactions export --format csv --out", &log)];

    assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().expect("it runs").success());
    place.write("kept.csv", "old");
    std::fs::set_permissions(place.path("kept.csv"), std::fs::Permissions::from_mode(0o600)).expect("ours");
    for (link, target) in [("link", "kept.csv"), ("link-to-pipe", "pipe"), ("stdout", "/proc/self/fd/1")] {
        symlink(target, place.path(link)).expect("a link");
    }
    for (command, expected) in commands {
        place.write("kept.csv", "old");
        place.ok(&format!("{command} link"));
        assert_eq!(&place.read("kept.csv"), expected, "{command}");
        let mode = place.path("kept.csv").metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{command}");
        for name in ["pipe", "link-to-pipe"] {
            let pipe = place.path("pipe");
            // It opens at both ends, so that it waits for nobody: what a pipe holds is more than what is written.
            let mut held = std::fs::File::options().read(true).write(true).open(&pipe).expect("a pipe");
            place.ok(&format!("{command} {name}"));
            assert!(pipe.metadata().expect("there").file_type().is_fifo(), "{command} {name}");
            let mut read = vec![0; expected.len()];
            std::io::Read::read_exact(&mut held, &mut read).expect("it is in the pipe");
            assert_eq!(&String::from_utf8_lossy(&read), expected, "{command} {name}");
        }
        assert_eq!(&place.ok(&format!("{command} stdout")).stdout, expected, "{command}");
        for name in ["link", "link-to-pipe", "stdout"] {
            assert!(place.path(name).is_symlink(), "{command} {name}");
        }
    }
}
