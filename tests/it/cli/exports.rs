//! A file for each account: whole, with an index, and made once however often it is asked for.

use super::{Place, USAGE_HEADER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const EXPORT: &str = "report export statement-monthly --month 2013-01 --by day --all --out out";

/// Three accounts whose files could be taken for each other, and what acme used.
fn place() -> Place {
    let place = Place::with_acme();
    for id in ["Acme", "..", "-rf"] {
        place.ok(&format!("account create --name Other --zone Europe/Berlin --opened-on 2013-01-01 -- {id}"));
    }
    place.write("usage.csv", format!("{USAGE_HEADER}\n2013-01-05T12:00:00Z,acme,ann,erase,success,,u-1\n"));
    place.ok("transactions import usage.csv");
    place
}

/// Names and bytes of all files in the folder `out`.
fn files(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(place.path("out")).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

#[test]
fn each_account_has_its_file_and_the_index_names_all() {
    let place = place();
    assert_eq!(place.ok(EXPORT).stderr, "out: 4 files written, 0 there already; index.html names them\n");
    let made = files(&place);
    let names: Vec<&str> = made.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "account--rf.html",
            "account-...html",
            "account-Acme~1.html",
            "account-acme.html",
            "index.csv",
            "index.html",
            "index.json"
        ]
    );
    let index: Value = serde_json::from_slice(&made["index.json"]).expect("JSON");
    assert_eq!(index["export"]["as_of"], super::NOW);
    for entry in index["files"].as_array().expect("files") {
        let (account, file) = (entry["account"].as_str().expect("an id"), entry["file"].as_str().expect("a name"));
        let sum: String = Sha256::digest(&made[file]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry["sha256"], sum, "{account}");
        assert_eq!(entry["lines"], 93, "{account}");
        assert!(String::from_utf8_lossy(&made["index.html"]).contains(&format!("href=\"{file}\"")), "{account}");
        // The same as when it is asked for alone.
        let alone =
            "report export statement-monthly --month 2013-01 --by day --out alone.html --as-of 2013-02-10T12:00:00Z";
        place.ok(&format!("{alone} --account={account}"));
        assert!(place.read("alone.html").into_bytes() == made[file], "{account}");
    }
}

#[test]
fn what_is_there_and_right_is_not_made_again() {
    let place = place();
    place.ok(EXPORT);
    let made = files(&place);
    // Whatever happens since then does not show, as the first run's instant counts.
    place.write("usage.csv", format!("{USAGE_HEADER}\n2013-01-06T12:00:00Z,acme,ann,erase,success,,u-2\n"));
    place.ok("transactions import usage.csv --now 2013-02-11T00:00:00Z");
    place
        .ok("account create later --name Later --zone Europe/Berlin --opened-on 2013-01-01 --now 2013-02-11T00:00:00Z");
    place.write("out/account-acme.html", "half");
    std::fs::remove_file(place.path("out/account--rf.html")).expect("removed");
    let again = place.ok(&format!("{EXPORT} --now 2013-02-12T00:00:00Z"));
    assert_eq!(again.stderr, "out: 2 files written, 2 there already; index.html names them\n");
    assert!(files(&place) == made);
    assert_eq!(place.ok(EXPORT).stderr, "out: 0 files written, 4 there already; index.html names them\n");
}

#[test]
fn a_run_that_was_cut_short_goes_on() {
    let place = place();
    place.ok(EXPORT);
    let made = files(&place);
    let index: Value = serde_json::from_slice(&made["index.json"]).expect("JSON");
    let (one, two) = (&index["files"][0], &index["files"][1]);
    let half = two.to_string();
    // As it looks after a crash: one file noted, the note of another torn, a third half written, and no index yet.
    place.write("out/.creditd-Ab12", "half");
    for name in ["index.csv", "index.html", "index.json"] {
        std::fs::remove_file(place.path("out").join(name)).expect("removed");
    }
    place.write("out/unfinished.ndjson", format!("{}\n{one}\n{}", index["export"], &half[..half.len() / 2]));
    let again = place.ok(&format!("{EXPORT} --now 2013-03-01T00:00:00Z"));
    assert_eq!(again.stderr, "out: 3 files written, 1 there already; index.html names them\n");
    assert!(files(&place) == made, "with the instant of the first run");
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let place = place();
    place.write("note.txt", "mine");
    std::fs::create_dir(place.path("mine")).expect("a folder");
    place.write("mine/note.txt", "mine");
    let into = |dir: &str| EXPORT.replace("--out out", &format!("--out {dir}"));
    place
        .run(&into("mine"))
        .fails_with(2, "mine: holds \"note.txt\" and no export of reports; name a folder that is new");
    place.run(&into("note.txt")).fails_with(2, "note.txt: is a file; --all writes a folder");
    place.ok(EXPORT);
    place.run(&EXPORT.replace("2013-01", "2013-02")).fails_with(
        2,
        "out: holds statement-monthly from 2013-01-01 to 2013-02-01 by day as html, as of 2013-02-10T12:00:00Z",
    );
    place.run(&format!("{EXPORT} --format csv")).fails_with(2, "name another folder");
    place
        .run(&format!("{EXPORT} --as-of 2013-02-09T00:00:00Z"))
        .fails_with(2, "its files read as of 2013-02-10T12:00:00Z");
    place.write("out/index.json", "{}");
    place.run(EXPORT).fails_with(2, "index.json: is no index of exported reports");

    place.run("report export --all").fails_with(2, "--out");
    place.run(&into("other --account acme")).fails_with(2, "cannot be used with");
    place.run(&into("other --scope platform")).fails_with(2, "add --scope account");
    assert!(!place.path("other").exists(), "what cannot be done leaves no folder behind");
}

#[test]
fn two_do_not_write_in_one_folder() {
    let place = place();
    std::fs::create_dir(place.path("out")).expect("a folder");
    let notes = std::fs::File::create(place.path("out/unfinished.ndjson")).expect("a file");
    notes.try_lock().expect("nobody else has it");
    place.run(EXPORT).fails_with(7, "out: another creditd is writing its reports");
}

#[test]
fn logs_and_filtered_breakdowns_have_their_files_too() {
    let place = place();
    let lines = |dir: &str| -> Vec<Value> {
        let index: Value = serde_json::from_str(&place.read(&format!("{dir}/index.json"))).expect("JSON");
        let files = index["files"].as_array().expect("files");
        files.iter().map(|entry| json!([entry["account"], entry["lines"]])).collect()
    };
    for (asked, of_acme) in [
        ("transaction-log --action erase --user ann", 1),
        ("transaction-log --action erase --user bob", 0),
        ("usage-by-user --by month,user --type free --compare", 3),
    ] {
        for form in ["csv", "html", "json", "ndjson", "parquet", "table", "xlsx"] {
            let dir = format!("{}-{form}", asked.replace(' ', ""));
            let asked = format!("report export {asked} --from 2013-01-01 --to 2013-02-01 --format {form}");
            place.ok(&format!("{asked} --all --out {dir}"));
            assert_eq!(lines(&dir)[3], json!(["acme", of_acme]), "{asked}");
            assert_eq!(lines(&dir)[2], json!(["Acme", 0]), "{asked}");
            let ending = if form == "table" { "txt" } else { form };
            let (made, alone) = (format!("{dir}/account-acme.{ending}"), format!("alone.{ending}"));
            place.ok(&format!("{asked} --account acme --as-of {} --out {alone}", super::NOW));
            let bytes = |file: &str| std::fs::read(place.path(file)).expect("a file");
            assert!(bytes(&made) == bytes(&alone), "{asked}");
        }
    }
    let log = "report export transaction-log --from 2013-01-01 --to 2013-02-01 --format csv --all --out out";
    place.ok(&format!("{log} --action erase"));
    place.run(&format!("{log} --user=")).fails_with(2, "by range,transaction with action erase as csv");
    place.run(log).fails_with(2, "name another folder");
    let unknown = "report export transaction-log --all --format csv --out none --action eraze";
    place.run(unknown).fails_with(2, "there is no action eraze");
    assert!(!place.path("none").exists(), "what cannot be done leaves no folder behind");
}

#[test]
fn pictures_are_made_of_those_who_used_anything() {
    let place = place();
    let done = place.ok(&format!("{EXPORT} --format png"));
    assert_eq!(
        done.stderr, "out: 4 files written, 0 there already; index.html names them\n",
        "who used nothing has a balance"
    );
    let by_action = EXPORT.replace("--by day", "--by action").replace("--out out", "--out actions");
    let done = place.ok(&format!("{by_action} --format png"));
    assert!(done.stderr.ends_with("3 accounts have nothing to draw and no file\n"), "{}", done.stderr);
    let index: Value = serde_json::from_str(&place.read("actions/index.json")).expect("JSON");
    assert_eq!(index["files"][0]["file"], json!(null));
    assert!(std::fs::read(place.path("actions/account-acme.png")).expect("a file").starts_with(b"\x89PNG"));
    place.run("report export --month 2013-01 --format png").fails_with(2, "has no chart to write as png");
    place
        .run("report export --month 2013-01 --out none/x.html")
        .fails_with(1, "there is no folder none; make it first");
    place.run("report export --month 2013-01 --by day --format png --out -").fails_with(2, "png is no text");
}

/// One period has nothing to compare, but it has days.
#[test]
fn a_statement_of_one_account_is_drawn_by_day_and_names_it() {
    let place = place();
    let long = "שלום\u{202e}🦊".repeat(80);
    place.ok(&format!("account set acme --name {long}"));
    let asked = "report export statement-monthly --account acme --month 2013-01 --as-of 2013-02-10T12:00:00Z";
    for form in ["html", "png", "xlsx"] {
        place.ok(&format!("{asked} --out one.{form}"));
        place.ok(&format!("{asked} --out two.{form}"));
        let [one, two] = ["one", "two"].map(|name| std::fs::read(place.path(&format!("{name}.{form}"))).expect("made"));
        assert!(one == two, "the same bytes as {form}");
    }
    let page = place.read("one.html");
    let name = long.replace('\u{202e}', "\u{fffd}");
    assert!(page.contains(&format!("<dd><bdi>{name}</bdi> (acme)</dd>")), "{page}");
    assert!(!page.contains('\u{202e}'));
    assert!(page.contains("Credits consumed per day. January 2013: 7 consumed, 7 free and 0 purchased."), "{page}");
    assert!(page.contains("Balance by day") && !page.contains("Period by period"));
    // A report of several has no name, and one without a name of its own its id.
    place.ok("account set acme --name acme");
    assert!(place.ok("report show --account acme --month 2013-01").stdout.contains("\nacme, January 2013"));
    place.ok("account set acme --name Acme\u{a0}GmbH");
    assert!(place.ok("report show --account acme --month 2013-01").stdout.contains("\nAcme GmbH (acme), January 2013"));
    assert!(place.ok("report show --month 2013-01").stdout.contains("\n4 accounts, January 2013"));
}
