//! Accounts, prices, charges and the log, as an operator handles them.

use super::{NOW, Place, usage};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn a_charge_is_done_once_refused_once_and_never_taken_for_another() {
    let place = Place::with_acme();
    let charge = "charge --account acme --action erase --user ann --quantity 3 --comment two\u{a0}words --key job-1";
    let first = place.json(charge);
    assert_eq!(
        first,
        json!({
            "schema": "creditd.charge/1", "account": "acme", "seq": 4, "occurred_at": NOW, "action": "erase",
            "quantity": 3, "user": "ann", "status": "success", "reason": null, "credits": 21, "free": 21, "purchased": 0,
            "cap": null, "cap_used": null, "cap_left": null, "replayed": false, "first_at": null, "available": 1479, "available_free": 1479, "available_purchased": 0,
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
    // The next reset brings 1,500.
    assert!(!refused.stderr.contains("next reset"), "{}", refused.stderr);
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
fn accounts_change_from_their_next_month_on() {
    let place = Place::with_acme();
    let create = "account create acme --name Acme --zone America/New_York --opened-on 2013-01-01";
    assert!(place.ok(create).stderr.contains("was there already"));
    place.run(&create.replace("2013-01-01", "2013-01-02")).fails_with(7, "it opened at 2013-01-01T05:00:00Z");

    let said = place.ok("account set acme --allowance 3000 --name Acme\u{a0}Inc. --key more").stderr;
    assert_eq!(said, "From 2013-03 on: 3,000 free credits a month, zone America/New_York.\n");
    let said = place.ok("account set acme --zone Europe/Berlin --key moved").stderr;
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
    place.ok("actions retire poem --now 2013-02-11T00:00:00Z");
    place.run("charge --account acme --action poem --now 2013-02-11T00:00:00Z").fails_with(5, "retired_action");
    assert_eq!(of("actions retire erase --from 2013-04-01", "erase")[..3], [json!("active"), json!(7), json!(9)]);
    assert_eq!(of("actions list --at 2013-04-01", "erase")[..2], [json!("retired"), json!(null)]);
    place.run("actions retire nothing").fails_with(5, "unknown_action");
    place.run("actions set poem").fails_with(2, "--credits");
    assert!(place.ok("actions set poem --credits 1 --from 2013-01-01").stderr.contains("past"));
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
