//! What an operator does with the ledger as such: the doctor, the database's status, backups and whether they are any good.

use super::{NOW, Place};
use crate::support::{Backend, Sandbox, postgres_programs};
use serde_json::Value;
use std::collections::BTreeSet;

/// The doctor's lines of one check: state, what it says, what to do.
fn of<'a>(findings: &'a [Value], check: &str) -> Vec<(&'a str, &'a str, Option<&'a str>)> {
    let text = |row: &'a Value, name: &str| row[name].as_str();
    let rows = findings.iter().filter(|row| row["check"] == check);
    rows.map(|row| (text(row, "state").unwrap_or(""), text(row, "says").unwrap_or(""), text(row, "fix"))).collect()
}

fn doctor(place: &Place, code: i32) -> Vec<Value> {
    let done = place.run("doctor -o json");
    assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
    done.json()["rows"].as_array().expect("a list").clone()
}

/// What helps against what a check found.
fn fix<'a>(rows: &'a [Value], check: &str) -> &'a str {
    rows.iter().find(|row| row["check"] == check).and_then(|row| row["fix"].as_str()).expect("something helps")
}

/// Whatever is broken is one line, and says what to do.
#[test]
fn the_doctor_finds_what_is_broken_and_looks_at_the_rest() {
    let mut place = Place::with_acme();
    place.ok("run reset");
    let well = doctor(&place, 0);
    let checks: BTreeSet<&str> = well.iter().filter_map(|row| row["check"].as_str()).collect();
    let all = "clock config disk ledger mail operators outbox reports schedule schema sealed suppressed templates verify webhooks zones";
    assert_eq!(checks, all.split(' ').collect());
    assert!(of(&well, "config")[0].1.contains("nothing is set"), "{well:?}");
    assert!(of(&well, "ledger")[0].1.contains("creditd.db: SQLite 3."), "{well:?}");
    assert_eq!(of(&well, "verify")[0].1, "a sample: 1 account of the ledger proved, no difference");
    assert_eq!(of(&well, "schedule").len(), 10);
    let reset = of(&well, "schedule")[0];
    assert!(
        reset.0 == "ok" && reset.1.starts_with(&format!("reset: last done {NOW}, next 2013-02-10T12:05")),
        "{reset:?}"
    );
    assert_eq!(of(&well, "disk").len(), 4, "{well:?}");
    for row in &well {
        let has_fix = row["fix"].is_string();
        assert_eq!(has_fix, row["state"] == "warn" || row["state"] == "fail", "{row}");
    }

    // A mail server that nobody runs, and a template that is none.
    place.write("low_credit.subject.txt", "");
    std::fs::create_dir(place.path("own")).expect("a folder");
    place.write("own/low-credit.subject.txt", "{{ nonsense.here }}");
    place.write(
        "creditd.toml",
        "[mail]\ntransport = \"smtp\"\noperators = [\"ops@example.com\"]\n[mail.smtp]\nhost = \"127.0.0.1\"\nport = 9\ntls = \
         \"none\"\n[templates]\ndir = \"own\"\n",
    );
    let found = doctor(&place, 1);
    assert_eq!(of(&found, "mail")[0].0, "fail", "{found:?}");
    assert_eq!(of(&found, "templates")[0].0, "fail", "{found:?}");
    assert_eq!((of(&found, "operators")[0].0, of(&found, "verify")[0].0), ("ok", "ok"), "{found:?}");

    // A clock before what is recorded.
    place.write("creditd.toml", "");
    place.ok("charge --account acme --action text-to-image");
    place.env = vec![("CREDITD_NOW", "2013-02-09T12:00:00Z".to_owned())];
    let found = doctor(&place, 1);
    assert!(of(&found, "clock")[0].1.contains("the clock is behind"), "{found:?}");

    // Settings that cannot be, and a ledger that is not there.
    place.write("creditd.toml", "[credits]\npack_credits = 0\n");
    let found = doctor(&place, 1);
    assert!(of(&found, "config")[0].1.contains("creditd.toml:2: credits.pack_credits = 0"), "{found:?}");
    assert!(found[1..].iter().all(|row| row["state"] == "not looked at"), "{found:?}");
    place.write("creditd.toml", "");
    assert!(place.run("doctor --json").json()["rows"].is_array(), "the same by another name");
    place.run("doctor --json -o csv").fails_with(2, "cannot be used with");
    let elsewhere = place.run("doctor -o json --database-url sqlite://elsewhere.db");
    let found = elsewhere.json()["rows"].as_array().expect("a list").clone();
    assert!(of(&found, "ledger")[0].1.contains("there is no ledger at"), "{found:?}");
    assert!(fix(&found, "ledger").contains("`creditd init`"), "{found:?}");
    assert_eq!((of(&found, "templates")[0].0, of(&found, "verify")[0].0), ("ok", "not looked at"), "{found:?}");
    assert!(!place.path("elsewhere.db").exists());
}

/// Looking changes nothing: not even a folder is made.
#[test]
fn the_doctor_leaves_an_empty_folder_empty() {
    let place = Place::empty();
    assert_eq!(of(&doctor(&place, 1), "mail")[0].0, "warn");
    assert_eq!(place.names(), Vec::<String>::new());
    place.write("mail", "no folder");
    let found = doctor(&place, 1);
    assert!(of(&found, "mail")[0].1.contains("mail cannot be written to"), "{found:?}");
}

/// What keeps a ledger from being opened is told apart by what helps.
#[test]
fn the_doctor_names_what_helps_against_what_is_wrong() {
    let place = Place::with_acme();
    place.write("none.db", "not a database");
    for (url, helps) in [
        ("sqlite://none.db", "name the ledger in database_url"),
        ("postgres://nobody@127.0.0.1:9/none", "start the database's server"),
    ] {
        let found = place.run(&format!("doctor -o json --database-url {url}")).json()["rows"].clone();
        assert!(fix(found.as_array().expect("a list"), "ledger").starts_with(helps), "{found}");
    }
    let whole = std::fs::read(place.path("creditd.db")).expect("a file");
    place.write("cut.db", &whole[..40_000]);
    let found = place.run("doctor -o json --database-url sqlite://cut.db").json()["rows"].clone();
    let found = found.as_array().expect("a list");
    assert!(of(found, "ledger")[0].1.contains("cut.db is damaged"), "{found:?}");
    assert!(fix(found, "ledger").starts_with("stop creditd, keep the ledger's file as it is"), "{found:?}");
    place.write("sealed", "no folder");
    let found = doctor(&place, 1);
    assert!(fix(&found, "sealed").starts_with("nothing is wrong with the ledger"), "{found:?}");
    place.sql("INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1");
    let found = doctor(&place, 1);
    assert!(fix(&found, "ledger").starts_with("install the creditd"), "{found:?}");
}

/// What `verify` would find in a sample is found, and a job that fails is said to.
#[test]
fn the_doctor_finds_a_ledger_that_does_not_add_up() {
    let place = Place::with_acme();
    place.sql("UPDATE accounts SET balance_free = balance_free + 1");
    assert_eq!(place.run("run verify").code, 1);
    let found = doctor(&place, 1);
    assert!(of(&found, "verify")[0].1.contains("acme"), "{found:?}");
    let verify = of(&found, "schedule").pop().expect("the last job");
    assert!(verify.0 == "fail" && verify.1.contains("it fails"), "{verify:?}");
}

/// Sealed files that are gone or cut are found without reading them; reports go on.
#[test]
fn the_doctor_finds_sealed_files_that_are_gone_or_cut() {
    let mut place = Place::with_acme();
    place.ok("charge --account acme --action text-to-image");
    place.env = vec![("CREDITD_NOW", "2013-02-12T12:00:00Z".to_owned())];
    place.ok("run seal");
    assert_eq!(of(&doctor(&place, 0), "sealed")[0].0, "ok");
    let files = std::fs::read_dir(place.path("sealed")).expect("a folder").map(|file| file.expect("a file").path());
    let log = files.into_iter().find(|file| file.to_string_lossy().ends_with(".log.parquet")).expect("a file of rows");
    let whole = std::fs::read(&log).expect("a file");
    std::fs::write(&log, &whole[1..]).expect("cut");
    let found = doctor(&place, 1);
    assert!(of(&found, "sealed")[0].1.contains(" bytes, not "), "{found:?}");
    std::fs::remove_file(&log).expect("gone");
    let found = doctor(&place, 1);
    assert!(of(&found, "sealed")[0].1.ends_with(".log.parquet is missing"), "{found:?}");
    place.ok("report show statement-monthly --account acme --month 2013-02");
}

#[test]
fn the_status_of_the_database_is_asked_without_changing_it() {
    let place = Place::with_acme();
    let status = place.json("db status");
    assert_eq!((&status["schema"], &status["migrations_due"]), (&status["schema_known"], &Value::from(0)));
    assert_eq!(status["sandbox"], true);
    assert!(status["file_bytes"].as_i64().is_some_and(|bytes| bytes > 10_000), "{status}");
    // As a ledger looks that an older creditd made.
    let newest = status["schema"].as_i64().expect("a number");
    place.sql(&format!(
        "DELETE FROM _sqlx_migrations WHERE version = {newest}; DROP INDEX outbox_levels; DROP INDEX outbox_in_hand"
    ));
    let old = place.json("db status");
    assert_eq!((&old["migrations_due"], &old["schema_known"]), (&Value::from(1), &Value::from(newest)));
    let found = doctor(&place, 0);
    assert_eq!((of(&found, "schema")[0].0, of(&found, "clock")[0].0), ("warn", "not looked at"), "{found:?}");
    assert_eq!(place.json("db status"), old);
    assert_eq!(place.json("db migrate")["schema"], newest);
    assert_eq!(place.json("db migrate")["schema_before"], newest);
}

/// A backup is made while others write, and is whole. What is there is never overwritten.
#[test]
fn a_backup_is_whole_and_checked() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action text-to-image --key first");
    let made = place.json("db backup backup.db");
    assert_eq!((&made["backup"], &made["newest_row_at"]), (&Value::from("backup.db"), &Value::from(NOW)));
    place.run("db backup backup.db").fails_with(7, "backup.db is there already and was left as it is");
    place.ok("charge --account acme --action text-to-image --key second");

    let checked = place.json("db restore-check backup.db");
    assert_eq!((&checked["transactions"], &checked["differences"]), (&Value::from(4), &Value::from(0)));
    assert!(checked["due_at_start"].as_str().is_some_and(|due| due.contains("verify (1 slot)")), "{checked}");
    let names = place.names();
    assert_eq!(names, ["backup.db", "creditd.db", "creditd.toml"], "nothing is left beside it");

    // One that was cut short, one that says something else, and one that is none.
    let whole = std::fs::read(place.path("backup.db")).expect("a file");
    place.write("cut.db", &whole[..whole.len() / 2]);
    assert_eq!(place.run("db restore-check cut.db").code, 1);
    place.write("none.db", "not a database");
    place.run("db restore-check none.db").fails_with(4, "is no ledger of creditd");
    assert_eq!(std::fs::read(place.path("backup.db")).expect("a file"), whole, "looking changes nothing");
    place.sql_in("backup.db", "UPDATE accounts SET balance_free = balance_free + 1");
    place.run("db restore-check backup.db").fails_with(1, "figures differ from what the transactions say");
    place.sql_in(
        "backup.db",
        "UPDATE accounts SET balance_free = balance_free - 1; INSERT INTO incidents VALUES ('reset lost', '-', 0, '')",
    );
    place.run("db restore-check backup.db").fails_with(1, "1 figure differs from what the transactions say");
}

/// The ledger as it was at a backup takes the place of one that went on: what is done again has the keys that it had.
#[test]
fn a_restored_backup_goes_on_without_a_second_grant_and_its_mails_are_the_same() {
    let restore = |place: &mut Place| {
        for beside in ["creditd.db", "creditd.db-wal", "creditd.db-shm"] {
            let _ = std::fs::remove_file(place.path(beside));
        }
        std::fs::copy(place.path("backup.db"), place.path("creditd.db")).expect("restored");
    };
    let backup = |place: &Place| drop(place.ok("db backup backup.db"));
    goes_on_as_it_was(Place::with_acme(), backup, restore);
}

/// The same on a server, whose own programs back up and restore.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_dump_goes_on_without_a_second_grant_and_its_mails_are_the_same() {
    if !Backend::Postgres.is_there() {
        return;
    }
    let sandbox = Sandbox::on(Backend::Postgres).await;
    let [(url, _first), (restored, _second)] = [sandbox.empty_place().await, sandbox.empty_place().await];
    let program = |place: &Place, name: &str, args: &[&str]| {
        let mut command = std::process::Command::new(postgres_programs().expect("a server").join(name));
        let output = command.args(args).current_dir(place.path("")).output().expect("it runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    tokio::task::spawn_blocking(move || {
        let mut place = Place::empty();
        place.env.push(("CREDITD_NOW", NOW.to_owned()));
        place.ok(&format!("init --sandbox --database-url {url}"));
        place.ok("account create acme --name Acme --zone America/New_York --opened-on 2013-01-01");
        let backup = |place: &Place| program(place, "pg_dump", &["--format=custom", "--file=dump", "--dbname", &url]);
        let restore = |place: &mut Place| {
            program(place, "pg_restore", &["--no-owner", "--dbname", &restored, "dump"]);
            place.env.push(("CREDITD__DATABASE_URL", restored.clone()));
        };
        goes_on_as_it_was(place, backup, restore);
    })
    .await
    .expect("done");
}

/// Does some work, and does it again on the ledger as it was before.
fn goes_on_as_it_was(mut place: Place, backup: impl Fn(&Place), restore: impl Fn(&mut Place)) {
    place.ok("admin add acme ann@acme.example");
    place.ok("charge --account acme --action text-to-image --quantity 10 --key first");
    backup(&place);

    let work = |place: &Place| {
        for job in ["reset", "monthly-report", "deliver"] {
            place.ok(&format!("run {job}"));
        }
        let mails = std::fs::read_dir(place.path("mail")).expect("the mail folder");
        let mails = mails.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        mails.filter(|name| name.ends_with(".eml")).collect::<BTreeSet<String>>()
    };
    place.env = vec![("CREDITD_NOW", "2013-03-02T12:00:00Z".to_owned())];
    let before = work(&place);
    assert!(!before.is_empty());
    let ids = |place: &Place| {
        let rows = place.rows("outbox list");
        rows.iter().map(|row| row["message_id"].clone().to_string()).collect::<BTreeSet<String>>()
    };
    let (first_ids, balance) = (ids(&place), place.json("balance acme"));

    restore(&mut place);
    let after = work(&place);
    assert_eq!(after, before, "the same messages under the same names, not one more");
    assert_eq!(ids(&place), first_ids);
    assert_eq!(place.json("balance acme"), balance);
    let grants = place.rows("transactions list --account acme");
    let march = grants.iter().filter(|row| row["kind"] == "allocation").count();
    assert_eq!(march, 3, "January, February and March, once each");
    place.ok("verify");
}
