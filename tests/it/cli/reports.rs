//! Reports from outside: how use is broken down, and where ranges begin and end.

use super::{Place, USAGE_HEADER};
use serde_json::{Value, json};

/// acme with usage of three users in New York's January, of which one has a name that must not run in a sheet.
fn used() -> Place {
    let place = Place::with_acme();
    let rows = [
        "2013-01-05T04:59:59Z,acme,ann,erase,success,,u-1", // the 4th there
        "2013-01-05T05:00:00Z,acme,=ann,erase,success,,u-2",
        "2013-01-05T17:30:00Z,acme,bob,erase,success,,u-3", // 12:30 there
        "2013-01-06T05:00:00Z,acme,bob,erase,failed,,u-4",  // the 6th, a Sunday
        "2013-01-07T05:00:00Z,acme,,erase,success,,u-5",    // a Monday
    ];
    place.write("usage.csv", format!("{USAGE_HEADER}\n{}\n", rows.join("\n")));
    place.ok("transactions import usage.csv");
    place
}

/// `what` of each line of both types together, with what it consumed.
fn consumed(place: &Place, what: &str, args: &str) -> Vec<(String, i64)> {
    let report = place.json(&format!("report show {args}"));
    let lines = report["lines"].as_array().expect("lines").iter();
    let totals = lines.filter(|line| line["credit_type"] == "total");
    let of = |line: &Value| (line[what].as_str().unwrap_or("-").to_owned(), line["consumed"].as_i64().unwrap_or(-1));
    totals.map(of).collect()
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(name, credits)| ((*name).to_owned(), *credits)).collect()
}

#[test]
fn use_is_broken_down_and_sums_to_the_statement() {
    let place = used();
    let january = "usage-by-user --month 2013-01";
    assert_eq!(consumed(&place, "user", january), pairs(&[("bob", 7), ("-", 7), ("=ann", 7), ("ann", 7)]));
    let csv = place.ok(&format!("report show {january} -o csv")).stdout;
    assert!(csv.contains("acme,2013-01-01,2013-02-01,'=ann,total,7,0,1,0,0"), "{csv}");
    assert_eq!(csv, place.ok(&format!("report show {january} -o csv")).stdout);

    assert_eq!(consumed(&place, "action", "usage-by-action --month 2013-01"), pairs(&[("erase", 28)]));
    assert_eq!(
        consumed(&place, "type", "statement-monthly --month 2013-01 --by type"),
        pairs(&[("free", 28), ("none", 0)])
    );
    let by_status = "platform-monthly --from 2013-01-01 --to 2013-02-01 --by status";
    assert_eq!(consumed(&place, "status", by_status), pairs(&[("succeeded", 28), ("failed", 0)]));
    let whole = place.json("report show statement-monthly --month 2013-01");
    for by in ["action", "user", "type", "status"] {
        let broken_down = place.json(&format!("report show statement-monthly --month 2013-01 --by {by},week"));
        assert_eq!((&broken_down["breakdown"], &broken_down["group_by"]), (&json!(by), &json!("week")));
        for name in ["consumed", "refunded", "succeeded", "failed", "refused"] {
            assert_eq!(broken_down["totals"][2][name], whole["totals"][2][name], "{by} {name}");
        }
    }
    place.run("report show --by week,month").fails_with(2, "--by has both week and month");
    place.run("report show --by colour").fails_with(2, "invalid value 'colour'");
    place.run("report show --by dya").fails_with(2, "a similar value exists: 'day'");
}

#[test]
fn definitions_are_checked_each_by_itself() {
    let place = Place::with_acme();
    let definition = "title = \"Mine\"\ndescription = \"For me.\"\nscope = \"account\"\nrange = \"last-month\"\n\
                      group_by = \"week\"\nbreakdown = \"user\"\nformats = [\"csv\"]\n";
    std::fs::create_dir(place.path("mine")).expect("a folder");
    place.write("mine/a.toml", definition.replace("week", "weak").replace("account", "acount"));
    place.write("mine/b.toml", definition);
    place.write("mine/c.toml", definition.replace("\"user\"", "\"usr\""));
    let checked = place.run("report check mine/a.toml mine/b.toml mine/c.toml -o csv");
    checked.fails_with(4, "2 of 3 definitions cannot be used");
    for line in [
        "mine/a.toml, line 3: ",
        "mine/a.toml, line 5: ",
        "did you mean `week`?",
        "b,mine/b.toml,true,Mine",
        "did you mean `user`?",
    ] {
        assert!(checked.stdout.contains(line), "{line}: {}", checked.stdout);
    }
    // What is wrong with one keeps nobody from the others, and what it overrides is not shown in its place.
    place.write("creditd.toml", "[reports]\ndir = \"mine\"\n");
    place.write("mine/usage-by-action.toml", "title = \"By action\"\n");
    let listed = place.ok("report list -o csv");
    assert!(listed.stdout.contains("\nb,Mine") && !listed.stdout.contains("\nusage-by-action"), "{}", listed.stdout);
    assert!(
        listed.stderr.contains("mine/a.toml, line 3: ") && listed.stderr.contains("(and 1 more: "),
        "{}",
        listed.stderr
    );
    let shown = place.ok("report show usage-by-user --month 2013-01");
    assert!(!shown.stderr.contains(".toml"), "it was not asked for: {}", shown.stderr);
    place
        .run("report show usage-by-action --month 2013-01")
        .fails_with(4, "usage-by-action.toml, line 1: missing field");
    let doctor = place.run("doctor -o csv").stdout;
    assert!(doctor.contains("reports,warn,\"3 definitions cannot be used: "), "{doctor}");
    std::fs::remove_file(place.path("creditd.toml")).expect("removed");
    place.ok("report check mine/b.toml");
    assert!(place.ok("report check").stderr.contains("built in"));
    let schema: Value = serde_json::from_str(&place.ok("report schema").stdout).expect("JSON");
    assert!(schema["properties"]["breakdown"]["enum"].as_array().expect("words").contains(&json!("user")));
}

#[test]
fn weeks_begin_on_monday_and_ranges_within_a_day() {
    let place = used();
    let weeks = consumed(&place, "from", "statement-custom --from 2013-01-01 --to 2013-01-12 --by week");
    assert_eq!(weeks, pairs(&[("2013-01-01", 21), ("2013-01-07", 7)]));
    let inside = |from: &str, to: &str| {
        consumed(&place, "from", &format!("statement-custom --from {from} --to {to} --by range"))[0].1
    };
    assert_eq!(inside("2013-01-04T23:59:59", "2013-01-05"), 7);
    assert_eq!(inside("2013-01-05", "2013-01-05T12:30"), 7);
    assert_eq!(inside("2013-01-05", "2013-01-05T12:30:01"), 14);
    let days = "statement-custom --from 2013-01-04T18:00 --to 2013-01-06T06:00 --by day";
    assert_eq!(
        consumed(&place, "from", days),
        pairs(&[("2013-01-04T18:00", 7), ("2013-01-05", 14), ("2013-01-06", 0)])
    );
    let named = place.ok("report export statement-custom --from 2013-01-04T18:00 --to 2013-01-06");
    assert!(named.stderr.contains("statement-custom-2013-01-04T1800-to-2013-01-06.html"), "{}", named.stderr);
    for (range, what) in [
        ("--from 2013-01-05T06:00Z", "without a zone"),
        ("--from 20211-01-01", "20211"),
        ("--from 2013-01-05T12:00 --to 2013-01-05T12:00", "is empty"),
        ("--from 1970-01-01 --to 2199-12-31 --by user,day", "84,005 days in one report"),
    ] {
        place.run(&format!("report show statement-custom {range}")).fails_with(2, what);
    }
    // A range of all years that are known answers at once.
    let all = consumed(&place, "from", "statement-custom --from 1970-01-01 --to 2199-12-31 --by range");
    assert_eq!(all, pairs(&[("1970-01-01", 28)]));
}

#[test]
fn a_workbook_is_a_file_and_the_same_each_time() {
    let place = used();
    let weeks = "report export usage-by-user --month 2013-01 --by week,user";
    let said = place.ok(&format!("{weeks} --out a.xlsx"));
    assert!(said.stdout.is_empty() && said.stderr.contains("a.xlsx: 12 lines"), "{}", said.stderr);
    place.ok(&format!("{weeks} --format xlsx --out b.xlsx"));
    let bytes = |name| std::fs::read(place.path(name)).expect("a file");
    assert!(bytes("a.xlsx").starts_with(b"PK") && bytes("a.xlsx") == bytes("b.xlsx"));
    let named = place.ok(&format!("{weeks} --account acme --format xlsx"));
    assert!(named.stderr.contains("usage-by-user-acme-2013-01-01-to-2013-02-01.xlsx"), "{}", named.stderr);
    let named = place.ok(&format!("{weeks} --format xlsx"));
    assert!(named.stderr.contains("usage-by-user-2013-01-01-to-2013-02-01.xlsx: 12 lines"), "{}", named.stderr);
    place.run(&format!("{weeks} --format xlsx --out -")).fails_with(2, "xlsx is no text and does not go to stdout");
    let other = "--format csv and the ending of a.xlsx ask for different forms";
    place.run(&format!("{weeks} --format csv --out a.xlsx")).fails_with(2, other);
    place.run("report show --format xlsx").fails_with(2, "unexpected argument '--format'");
    place.run("report show -o xlsx").fails_with(2, "invalid value 'xlsx'");
}

#[test]
fn the_log_of_a_day_by_the_clock_of_its_account() {
    let place = used();
    let table = place.ok("report list").stdout;
    assert!(table.contains("transaction-log") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let day = "report show transaction-log --account acme --from 2013-01-05 --to 2013-01-06";
    let log = place.json(day);
    let rows = log["lines"].as_array().expect("lines");
    let of = |row: &Value| format!("{} {} {}", row["local_time"], row["occurred_at"], row["user"]).replace('"', "");
    let said: Vec<String> = rows.iter().map(of).collect();
    assert_eq!(
        said,
        ["2013-01-05T00:00:00 2013-01-05T05:00:00Z =ann", "2013-01-05T12:30:00 2013-01-05T17:30:00Z bob",]
    );
    assert_eq!(log["totals"][2]["consumed"], 14);
    let csv = place.ok(&format!("{day} -o csv")).stdout;
    let row = "acme,2013-01-05T00:00:00,2013-01-05T05:00:00Z,'=ann,erase,1,7,7,0,free,charge,,succeeded,,,u-2";
    assert!(csv.contains(row), "{csv}");
    let within = place.json("report show transaction-log --from 2013-01-05T12:00 --to 2013-01-05T18:00");
    assert_eq!(within["lines"].as_array().expect("lines").len(), 1);
    let exported = place.ok("report export transaction-log --from 2013-01-01 --to 2013-02-01 --out log.html");
    assert!(exported.stderr.contains("log.html: 7 transactions"), "{}", exported.stderr);
    place.run(&format!("{day} --by day")).fails_with(2, "a log has no periods");
    let any = place.json("report show statement-custom --by transaction --from 2013-01-05 --to 2013-01-06");
    assert_eq!(any["lines"], log["lines"]);
}

#[test]
fn a_part_is_not_called_the_whole_and_later_accounts_are_told_from_none() {
    let place = used();
    place.ok("account create kiri --name Kiri --zone Pacific/Kiritimati");
    let of = |accounts: &str| place.ok(&format!("report show platform-monthly --month 2013-01{accounts}")).stdout;
    assert!(of("").contains("Whole platform, January 2013"));
    assert!(of(" --account acme").contains("acme, of the platform, January 2013"));
    assert!(of(" --account acme --account kiri").contains("2 accounts of the platform, January 2013"));
    let json = |accounts: &str| place.json(&format!("report show platform-monthly --month 2013-01{accounts}"));
    assert_eq!((&json("")["chosen"], &json(" --account acme")["chosen"]), (&json!(null), &json!(["acme"])));
    place
        .run("report show --month 2013-01 --account kiri --as-of 2013-02-01T00:00:00Z")
        .fails_with(5, "kiri was not known at 2013-02-01T00:00:00Z yet; `creditd account show kiri` says since when");
    place
        .run("report show --month 2013-01 --account nobody --as-of 2013-02-01T00:00:00Z")
        .fails_with(5, "there is no account nobody");
}

#[test]
fn a_file_is_in_the_first_form_that_its_report_is_made_for() {
    let place = used();
    for (report, ending) in [("transaction-log", "csv"), ("usage-by-user", "html")] {
        let said = place.ok(&format!("report export {report} --from 2013-01-01 --to 2013-02-01")).stderr;
        assert!(said.contains(&format!(".{ending}: ")), "{said}");
    }
}

#[test]
fn filters_are_of_logs_and_breakdowns() {
    let place = used();
    let january = "--from 2013-01-01 --to 2013-02-01";
    let count = |args: &str| {
        let log = place.json(&format!("report show transaction-log {january}{args}"));
        log["lines"].as_array().expect("lines").len()
    };
    assert_eq!([count(""), count(" --action erase"), count(" --action upscale")], [7, 5, 0]);
    assert_eq!(
        [count(" --user bob"), count(" --user bob --user =ann"), count(" --user bob --status failed")],
        [2, 3, 1]
    );
    assert_eq!([count(" --type free"), count(" --type none"), count(" --status succeeded")], [6, 1, 6]);
    let by_user = format!("usage-by-user {january} --status failed --compare");
    assert_eq!(consumed(&place, "user", &by_user), pairs(&[("bob", 0)]));
    let report = place.json(&format!("report show {by_user}"));
    assert_eq!((&report["filters"], &report["totals"][2]["failed"]), (&json!({"status": ["failed"]}), &json!(1)));
    assert_eq!(
        report["comparison"]["change"][2],
        json!({"credit_type": "total", "consumed": 0, "refunded": 0, "succeeded": 0, "failed": 1, "refused": 0})
    );
    let table = place.ok(&format!("report show {by_user}")).stdout;
    assert!(table.contains("January 2013, status failed, as of"), "{table}");
    assert_eq!(count(" --user="), 3, "the allocation, its lapse and a charge of nobody");
    place
        .run(&format!("report show statement-monthly {january} --status failed"))
        .fails_with(2, "a statement has no filters");
    place.run("report show transaction-log --action eraze").fails_with(2, "there is no action eraze");
    place.run("report show transaction-log --status faild").fails_with(2, "failed");

    std::fs::create_dir(place.path("mine")).expect("a folder");
    let mine = "title = \"Failures\"\ndescription = \"What failed.\"\nscope = \"account\"\nrange = \"last-month\"\n\
                group_by = \"range\"\nbreakdown = \"transaction\"\nformats = [\"csv\"]\ncompare = true\n\n\
                [filters]\nstatus = [\"failed\", \"refused\"]\n";
    place.write("mine/failures.toml", mine);
    place.ok("report check mine/failures.toml");
    place.write("mine/failures.toml", mine.replace("refused", "refusd"));
    let checked = place.run("report check mine/failures.toml -o csv");
    assert!(
        checked.stdout.contains("line 11: ") && checked.stdout.contains("did you mean `refused`?"),
        "{}",
        checked.stdout
    );
}

#[test]
fn a_statement_says_what_was_bought_and_who_used_most() {
    let place = used();
    place.ok("purchase --account acme --packs 2 --reference inv-1");
    let month = place.json("report show platform-monthly --from 2013-01-01 --to 2013-03-01 --by range --compare");
    assert_eq!(month["accounts"], json!({"all": 1, "active": 1, "short_of_credits": 0}));
    let sold = &month["money"]["currencies"][0];
    assert_eq!((&sold["currency"], &sold["packs"], &sold["revenue_minor"]), (&json!("USD"), &json!(2), &json!(5_000)));
    assert_eq!((&sold["outstanding"], &sold["outstanding_minor"]), (&json!(5_000), &json!(5_000)));
    assert_eq!(
        (&month["comparison"]["from"], &month["comparison"]["change"][2]["consumed"]),
        (&json!("2012-11-01"), &json!(28))
    );
    assert_eq!((&month["tops"][0]["by"], &month["tops"][0]["lines"][2]["consumed"]), (&json!("action"), &json!(28)));
    assert_eq!((&month["tops"][1]["by"], &month["tops"][1]["lines"][0]["user"]), (&json!("user"), &json!("bob")));
    let table = place.ok("report show platform-monthly --from 2013-01-01 --to 2013-03-01 --by range --compare").stdout;
    for said in [
        "compared with the whole of 1 November – 31 December 2012",
        "Short of credits",
        "50.00 USD",
        "Users that took most",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
}

#[test]
fn what_lies_ahead_is_not_reported_and_what_is_not_over_says_so() {
    let place = used();
    place.ok("account create kiri --name Kiri --zone Pacific/Kiritimati --opened-on 2013-01-01");
    let ahead = "has not begun: the report reads as of 2013-02-10T12:00:00Z; let it begin earlier";
    place.run("report show --month 2013-03").fails_with(2, ahead);
    place.run("report export --from 2013-02-12 --to 2013-02-13 --out x.csv").fails_with(2, ahead);
    place.run("report export --month 2013-03 --format csv --all --out all").fails_with(2, ahead);
    place.run("report show --month 2013-02 --as-of 2013-01-20T00:00:00Z").fails_with(2, "as of 2013-01-20");
    // The 11th has begun in Kiritimati and not in New York.
    place.run("report show --from 2013-02-11 --to 2013-02-12 --account acme").fails_with(2, ahead);
    place.ok("report show --from 2013-02-11 --to 2013-02-12 --account kiri");
    place.ok("report show --from 2013-02-11 --to 2013-02-12");

    let told = |args: &str| place.ok(&format!("report show {args}")).stdout;
    assert!(told("--month 2013-02 --account acme").contains("Acme (acme), February 2013 so far, as of"));
    assert!(told("--month 2013-01 --account acme").contains("Acme (acme), January 2013, as of"));
    // The 10th is over in Kiritimati.
    let day = "--from 2013-02-10 --to 2013-02-11";
    assert!(told(&format!("{day} --account kiri")).contains("Kiri (kiri), 10 February 2013, as of"));
    assert!(told(day).contains("2 accounts, 10 February 2013 so far, as of"));
    place.ok("report export --month 2013-02 --account acme --out february.html");
    assert!(place.read("february.html").contains("<dd>February 2013 so far</dd>"));
}

#[test]
fn an_error_repeats_the_beginning_of_what_was_typed() {
    let place = Place::with_acme();
    let long = "é".repeat(10_000);
    for command in
        ["account create x --name", "report show --month", "report show --as-of", "report show --by", "balance", "run"]
    {
        let done = place.run(&format!("{command} {long}"));
        done.fails_with(2, "éé…");
        assert!(done.stderr.len() < 2_000, "{command}: {} bytes", done.stderr.len());
    }
    place.run(&long).fails_with(2, "éé…");
}

#[test]
fn a_file_that_is_a_folder_is_told_from_a_folder_that_is_a_file() {
    let place = used();
    place.write("file", "mine");
    std::fs::create_dir(place.path("folder")).expect("made");
    place.run("report export --month 2013-01 --out folder").fails_with(2, "folder: is a folder; name a file in it");
    place
        .run("report export --month 2013-01 --format csv --all --out file")
        .fails_with(2, "file: is a file; --all writes a folder");
    place.run("transactions export --format csv --out folder").fails_with(1, "folder: is a folder; name a file in it");
    assert_eq!(place.read("file"), "mine");
}

#[test]
fn a_missing_sealed_file_is_told_once() {
    let place = used();
    place.ok("run seal --now 2013-02-12T12:00:00Z");
    for entry in std::fs::read_dir(place.path("sealed")).expect("sealed").map(|entry| entry.expect("an entry").path()) {
        if entry.to_string_lossy().ends_with(".log.parquet") {
            std::fs::remove_file(entry).expect("removed");
        }
    }
    let done = place.ok("report show platform-monthly --month 2013-01 --compare --now 2013-02-12T12:00:00Z");
    assert_eq!(done.stderr.matches("reading the database instead").count(), 1, "{}", done.stderr);
}

#[test]
fn what_has_no_room_or_no_figures_says_so() {
    let place = Place::with_acme();
    place.ok("account create other --name Other --zone Asia/Tokyo --opened-on 2013-01-01");
    let long = "report export statement-custom --from 2010-01-01 --to 2014-12-31 --by day --out";
    assert_eq!(
        place.ok(&format!("{long} long.html")).stderr,
        "long.html: only the sums of 10,950 lines, which are too many for a page; --format csv has each\n"
    );
    assert_eq!(place.ok(&format!("{long} long.csv")).stderr, "long.csv: 10,950 lines\n");
    let idle = "--account acme --from 2012-01-01 --to 2012-01-10 --by day";
    let shown = place.ok(&format!("report show statement-custom {idle}")).stdout;
    assert!(shown.contains("No credits were there, came or went in any of its periods"), "{shown}");
    place.ok(&format!("report export statement-custom {idle} --out idle.html"));
    let page = place.read("idle.html");
    assert!(!page.contains("Period by period") && page.contains("Zero throughout"), "a table without figures");
}
