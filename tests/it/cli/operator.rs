//! What operators do beside accounts and prices: give and take credits, cap users, close months and accounts, and look
//! back (R12 to R15, R17, R18).

use super::{Done, NOW, Place, USAGE_HEADER};
use creditd::core::outbox::NoticeKey;
use serde_json::{Value, json};

/// The figures of an answer.
fn figures<const N: usize>(answer: &Value, names: [&str; N]) -> [Value; N] {
    names.map(|name| answer[name].clone())
}

#[test]
fn a_purchase_is_returned_once_and_only_what_is_unspent() {
    let place = Place::with_acme();
    place.ok("purchase --account acme --packs 1 --reference inv-1");
    place.ok("charge --account acme --action erase --quantity 300 --key big");
    assert_eq!(place.balance(), (0, 1_900));
    let returned = place.once("return inv-1 --account acme --comment cancelled --key r-1");
    assert_eq!(
        figures(&returned, ["schema", "reference", "returned", "comment", "available"]),
        [json!("creditd.return/1"), json!("inv-1"), json!(1900), json!("cancelled"), json!(0)]
    );
    place.run("return inv-1 --account acme --comment again --key r-2").fails_with(5, "it was returned before");
    place
        .run("return inv-2 --account acme --comment none")
        .fails_with(5, "nothing_to_return: account acme: inv-2: there is no");
    place.run("purchase --account acme --packs 2 --reference inv-1").fails_with(7, "acme: the key inv-1 was used on");
    place.run("return inv-1 --account acme").fails_with(2, "--comment");
    place.ok("verify");
}

#[test]
fn credits_are_given_and_taken_with_a_reason() {
    let place = Place::with_acme();
    let given = place
        .once("grant --account acme --type free --credits 100 --expires 2013-02-20 --comment an\u{a0}outage --key g-1");
    assert_eq!(
        figures(&given, ["schema", "type", "credits", "expires_at", "comment", "available"]),
        [
            json!("creditd.grant/1"),
            json!("free"),
            json!(100),
            json!("2013-02-20T05:00:00Z"),
            json!("an outage"),
            json!(1600)
        ]
    );
    assert_eq!(
        place.json("grant --account acme --type purchased --credits 50 --comment why")["expires_at"],
        Value::Null
    );
    assert_eq!(place.rows("balance --now 2013-02-20T05:00:00Z")[0]["free"], 1_500);

    let taken = place.once("adjust --account acme --type purchased --credits 20 --comment a\u{a0}slip --key a-1");
    assert_eq!(
        figures(&taken, ["schema", "type", "taken", "available_purchased"]),
        [json!("creditd.adjust/1"), json!("purchased"), json!(20), json!(30)]
    );
    let refused = place.run("adjust --account acme --type purchased --credits 31 --comment why");
    refused.fails_with(
        6,
        "insufficient_credits: account acme: 31 purchased credits are needed, 30 are available, 1 is missing",
    );
    assert!(refused.stderr.starts_with("key: cli-"), "told before the call: {}", refused.stderr);

    let grant = "grant --account acme --type free --credits 1 --comment why";
    for (args, code, reason) in [
        (format!("{grant} --expires 2013-02-10"), 5, "expires_in_past: account acme: 2013-02-10T05:00:00Z"),
        (grant.replace("--credits 1", "--credits 0"), 2, "1 to 1000000000"),
        (grant.replace("--credits 1", "--credits 1000000001"), 2, "1 to 1000000000"),
        (grant.replace("free", "gold"), 2, "possible values: free, purchased"),
        (grant.replace("why", "\u{a0}"), 2, "the comment, which says why, is empty"),
        (grant.replace("acme", "nobody"), 5, "unknown_account"),
        (format!("{grant} --key purchase:inv-1"), 5, "reserved_key"),
        ("adjust --account acme --type free --credits 5".to_owned(), 2, "--comment"),
        ("adjust --account acme --type free --credits -5 --comment why".to_owned(), 2, "-5"),
    ] {
        place.run(&args).fails_with(code, reason);
    }
    place.ok("verify");
}

#[test]
fn an_account_is_closed_and_opens_again() {
    let place = Place::with_acme();
    place.ok("purchase --account acme --packs 1 --reference inv-1");
    let closed = place.once("account close acme --comment unpaid --key c-1");
    assert_eq!(
        figures(&closed, ["schema", "status", "comment"]),
        [json!("creditd.account-close/1"), json!("closed"), json!("unpaid")]
    );
    assert_eq!(place.json("account show acme")["status"], "closed");
    assert_eq!(place.rows("account list")[0]["status"], "closed");
    let april = "--now 2013-04-10T12:00:00Z";
    let row = &place.rows(&format!("balance {april}"))[0];
    assert_eq!(figures(row, ["status", "free", "purchased"]), [json!("closed"), json!(0), json!(2500)]);
    for args in ["charge --account acme --action erase", "hold --account acme --action erase"] {
        place.run(&format!("{args} {april}")).fails_with(5, "account_closed: account acme was closed on 2013-02-10T");
    }
    place.run("account close acme --comment twice --key c-2").fails_with(5, "account_closed: ");

    let opened = place.once(&format!("account reopen acme --comment paid --key o-1 {april}"));
    assert_eq!(
        figures(&opened, ["schema", "status", "available"]),
        [json!("creditd.account-reopen/1"), json!("open"), json!(4000)]
    );
    place.run(&format!("account reopen acme --comment twice --key o-2 {april}")).fails_with(5, "account_open: ");
    place.run("account close acme").fails_with(2, "--comment");
    place.run("account close nobody --comment why").fails_with(5, "unknown_account");
    place.ok(&format!("verify {april}"));
}

#[test]
fn a_cap_stops_a_user_and_no_other() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action erase --user ann --key j-1");
    let set = place.once("cap set ann --account acme --credits 10 --key cap-1");
    assert_eq!(
        figures(&set, ["schema", "user", "cap", "cap_used", "cap_left"]),
        [json!("creditd.cap/1"), json!("ann"), json!(10), json!(7), json!(3)]
    );
    let refused = place.run("charge --account acme --action erase --user ann --key j-2 -o json");
    refused.fails_with(
        5,
        "user_cap: account acme: 7 credits are needed; user ann may use 10 a month, has used 7 and has 3",
    );
    refused.fails_with(5, "The next month begins at 2013-03-01T05:00:00Z");
    assert_eq!(
        figures(&refused.json(), ["status", "reason", "credits", "cap", "cap_used", "cap_left"]),
        [json!("failed"), json!("user_cap"), json!(0), json!(10), json!(7), json!(3)]
    );
    place.run("hold --account acme --action erase --user ann --key h-1").fails_with(5, "user_cap: ");
    place.ok("charge --account acme --action erase --user bob");
    assert_eq!(place.json("charge --account acme --action translation --user ann")["cap_left"], 2);

    let row = &place.rows("cap list --account acme")[0];
    assert_eq!(
        figures(row, ["account", "user", "month", "cap", "cap_used", "cap_left", "next_month_at"]),
        [json!("acme"), json!("ann"), json!("2013-02"), json!(10), json!(8), json!(2), json!("2013-03-01T05:00:00Z")]
    );
    assert_eq!(place.rows("cap list --now 2013-03-01T05:00:00Z")[0]["cap_used"], 0);
    // A hold that ran out counts no more, whether or not a job has settled it.
    place.ok("hold --account acme --action translation --user ann --quantity 2 --ttl 1m");
    assert_eq!(place.rows("cap list")[0]["cap_left"], 0);
    assert_eq!(place.rows("cap list --now 2013-02-10T12:01:00Z")[0]["cap_left"], 2);

    assert_eq!(place.json("cap set ann --account acme --credits 5 --key cap-2")["cap_left"], 0);
    let removed = place.once("cap remove ann --account acme --key cap-3");
    assert_eq!(figures(&removed, ["user", "cap", "cap_used"]), [json!("ann"), Value::Null, Value::Null]);
    assert_eq!(place.rows("cap list"), Vec::<Value>::new());
    place.ok("charge --account acme --action erase --user ann");
    place.run("charge --account acme --action erase --user ann --key j-2").fails_with(5, "Use a new key to try again");

    place
        .run("cap remove ann --account acme --key cap-4")
        .fails_with(5, "no_cap: account acme: the user ann has no cap");
    place.run("cap set ann --account acme --credits -1").fails_with(2, "-1");
    place.run("cap set ann --account nobody --credits 1").fails_with(5, "unknown_account");
    place.run("cap list --account nobody").fails_with(5, "unknown_account");
    place.ok("verify");
}

#[test]
fn a_month_is_closed_to_late_usage_and_opened_again() {
    let place = Place::with_acme();
    place.ok("account create other --name Other --zone Asia/Tokyo --opened-on 2013-01-01");
    let late = format!("{USAGE_HEADER}\n2013-01-05T00:00:00Z,acme,ann,erase,success,late,u-1\n");
    place.write("late.csv", &late);

    let close = "month close 2013-01 --all --key m-1";
    let rows = place.rows(close);
    assert_eq!(rows.len(), 2);
    assert_eq!(
        figures(&rows[0], ["account", "month", "outcome", "closed_through", "replayed", "key"]),
        [json!("acme"), json!("2013-01"), json!("closed"), json!("2013-01"), json!(false), json!("m-1")]
    );
    assert_eq!(place.rows(close)[1]["replayed"], true);
    let again = place.rows("month close 2013-01 --account acme --key m-2");
    assert_eq!(figures(&again[0], ["outcome", "closed_through"]), [json!("was closed"), json!("2013-01")]);

    let refused = place.run("transactions import late.csv");
    refused.fails_with(1, "late.csv:2: column 1 (occurred_at): month_closed: ");
    refused.fails_with(1, "or count it in the first open month with --post-to-open");
    place.ok("transactions import late.csv --post-to-open");
    assert_eq!(place.balance(), (1_493, 0), "it counts at the beginning of February");
    let row = &place.rows("transactions list --kind charge")[0];
    assert_eq!(
        figures(row, ["occurred_at", "comment"]),
        [json!("2013-02-01T05:00:00Z"), json!("late (of 2013-01-05T00:00:00Z, posted to the open month)")]
    );
    let repeated = place.ok("transactions import late.csv --post-to-open -o json").json();
    assert_eq!(figures(&repeated, ["new", "already"]), [json!(0), json!(1)]);

    let opened = place.once("month reopen 2013-01 --account acme --comment more\u{a0}to\u{a0}tell --key o-1");
    assert_eq!(figures(&opened, ["schema", "month"]), [json!("creditd.month-reopen/1"), json!("2013-01")]);
    place.run("month reopen 2013-01 --account acme --comment why --key o-2").fails_with(5, "month_open: ");
    place.write("late.csv", late.replace("u-1", "u-2"));
    place.ok("transactions import late.csv");
    assert_eq!(place.balance(), (1_493, 0), "January's usage takes January's credits");

    place
        .run("month close 2013-02 --account acme")
        .fails_with(5, "month_not_over: account acme: 2013-02 can be closed");
    let partly = place.run("month close 2013-01 --account acme --account nobody");
    partly.fails_with(5, "unknown_account: there is no account nobody");
    assert_eq!(place.rows("transactions list --account acme --kind month_close").len(), 1, "nothing was begun");
    // Tokyo's February is over, New York's is not.
    let partly = place.run("month close 2013-02 --all -o json --now 2013-03-01T00:00:00Z");
    partly.fails_with(3, "month_not_over: account acme");
    // Nothing at all is not partly done.
    place.run("month close 2013-03 --all").fails_with(5, "month_not_over: account other");
    place.run("month close 2012-12 --all").fails_with(5, "not_opened: account acme opens at 2013-01-01T05:00:00Z");
    place
        .run("month reopen 2012-12 --account acme --comment why")
        .fails_with(5, "not_opened: account acme opens at 2013-01-01T05:00:00Z, after 2012-12-01T05:00:00Z");
    let outcomes: Vec<Value> =
        partly.json()["rows"].as_array().expect("rows").iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("month_not_over"), json!("closed")]);
    for (args, reason) in [
        ("month close 2013-01", "--account"),
        ("month close 2013-01 --all --account acme", "cannot be used with"),
        ("month close 2013-13 --all", "2013-13"),
        ("month reopen 2013-01 --account acme", "--comment"),
    ] {
        place.run(args).fails_with(2, reason);
    }
    place.ok("verify --now 2013-03-01T00:00:00Z");
}

#[test]
fn the_past_reads_as_it_did() {
    let place = Place::with_acme();
    place.ok("charge --account acme --action erase --key j-1");
    let later = "--now 2013-02-11T12:00:00Z";
    place.ok(&format!("charge --account acme --action erase --key j-2 {later}"));
    place.ok(&format!("hold --account acme --action erase --key h-1 {later}"));
    let of = |args: &str| place.ok(&format!("{args} -o csv {later}")).stdout;
    let figures_at = |at: &str| {
        let row = &place.rows(&format!("balance acme --as-of {at} {later}"))[0];
        figures(row, ["free", "held"])
    };
    assert_eq!(figures_at(NOW), [json!(1493), json!(0)]);
    assert_eq!(figures_at("2013-02-11T12:00:00Z"), [json!(1479), json!(7)]);
    let list = of(&format!("transactions list --as-of {NOW}"));
    assert!(list.contains("j-1") && !list.contains("j-2"), "{list}");
    let export = of(&format!("transactions export --as-of {NOW}"));
    assert_eq!(export.lines().count(), list.lines().count());
    assert!(!export.contains("j-2"), "{export}");
    let report = "report show statement-monthly --month 2013-02 --account acme";
    assert_ne!(of(report), of(&format!("{report} --as-of {NOW}")));
    // A report's own range is seen from then, too: the last month is January.
    let seen = place.ok(&format!("report show statement-monthly --account acme --as-of 2013-02-10T12:00:00Z {later}"));
    assert!(
        seen.stdout.contains("as of 2013-02-10T12:00:00Z") && seen.stdout.contains("January 2013"),
        "{}",
        seen.stdout
    );

    let before = place.ok(&format!("balance acme --as-of 2013-02-10T11:00:00Z {later}"));
    assert_eq!(before.stderr, "The account acme was not known then.\nNo account was known then.\n");
    for args in ["balance", "transactions list", "transactions export", "report show statement-monthly"] {
        place.run(&format!("{args} --as-of 2013-02-10T12:00:01Z")).fails_with(2, "is later than now");
    }
}

#[test]
fn every_cause_of_a_refusal_is_explained() {
    let help = Place::empty().ok("help refusals").stdout;
    let causes: Vec<&str> = help.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let known: Vec<&str> = creditd::core::ledger::Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(causes[0], "unknown_account");
    assert_eq!(causes[1..], known);
    for line in help.lines() {
        assert!(line.len() <= 120 && line.split_whitespace().count() > 3, "{line}");
    }
}

/// What operators do about mail: look, send again, cancel, and who gets none.
#[test]
fn messages_are_shown_sent_again_and_cancelled() {
    let place = Place::with_acme();
    place.ok("admin add acme ann@acme.example");
    place.ok("charge --account acme --action translation --quantity 1500 --key all");
    place.ok("run scan");
    let key = place.rows("outbox list")[0]["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("low-credit/acme/exhausted#1/ann@acme.example/"), "{key}");
    let shown = place.json(&format!("outbox show {key}"));
    assert_eq!(
        figures(&shown, ["schema", "key", "state", "attempts", "attachments"]),
        [json!("creditd.message/1"), json!(key), json!("pending"), json!(0), Value::Null]
    );
    assert!(shown["html"].as_str().is_some_and(|html| html.contains("<html")), "{shown:#}");
    place.run(&format!("outbox show {key}0")).fails_with(5, "there is no message low-credit/acme/exhausted#1/");
    place.run("outbox show acme").fails_with(2, "is not the key of a notice");
    // What the log calls it is enough, and the beginning of that.
    let name = key.parse::<NoticeKey>().expect("a key").name();
    for named in [name.as_str(), &name[..name.len() - 4], "low-credit/acme/exh"] {
        assert_eq!(place.json(&format!("outbox show {named}"))["key"], key.as_str());
    }
    place.run("outbox show low-credit/acme/x").fails_with(5, "there is no message low-credit/acme/x;");

    place.ok(&format!("outbox cancel {key}"));
    let shown = place.json(&format!("outbox show {key}"));
    assert_eq!(
        figures(&shown, ["state", "cancelled_because"]),
        [json!("cancelled"), json!("an operator cancelled it")]
    );
    assert_eq!(place.rows("outbox list --state cancelled")[0]["cancelled_because"], shown["cancelled_because"]);
    let shown = place.ok(&format!("outbox show {key} -o table")).stdout;
    assert!(
        shown.lines().any(|line| line.starts_with("cancelled_because ") && line.ends_with(" an operator cancelled it")),
        "{shown}"
    );
    assert!(place.ok("run deliver").stdout.contains("0 messages delivered"));
    place.run("suppressions add ann@acme.example --reason \u{a0}").fails_with(2, "the reason is empty");
    place.ok("suppressions add ann@acme.example --reason asked\u{a0}to");
    place.run(&format!("outbox retry {key}")).fails_with(5, "goes to an address that is suppressed since 2013-");
    assert_eq!(place.rows("suppressions list")[0]["reason"], "asked to");
    place.ok("suppressions remove ann@acme.example");
    place.run("suppressions remove ann@acme.example").fails_with(5, "the address is not suppressed");
    place.ok(&format!("outbox retry {key}"));
    assert!(place.ok("run deliver").stdout.contains("1 message delivered, 0 failed"));
    place.run(&format!("outbox cancel {key}")).fails_with(5, "is sent, so it cannot be cancelled");
    place.ok("verify");
}

/// Settings that keep mail from leaving end with the code for settings; a server that is not there does not.
#[test]
fn a_mail_server_that_takes_no_mail_is_told() {
    let place = Place::with_acme();
    place.ok("admin add acme ann@acme.example");
    place.ok("charge --account acme --action translation --quantity 1500 --key all");
    place.ok("run scan");
    let with = |settings: &[(&str, &str)]| {
        let mut command = place.command("run deliver");
        command.env("CREDITD__MAIL__TRANSPORT", "smtp").env("CREDITD__MAIL__SMTP__HOST", "127.0.0.1");
        command.envs(settings.iter().copied());
        Done::of(command.output().expect("the binary runs"))
    };
    with(&[("CREDITD__MAIL__SMTP__CA_FILE", "none.pem")])
        .fails_with(4, "none.pem has no certificates that can be used");
    let login = [("CREDITD__MAIL__SMTP__TLS", "none"), ("CREDITD__MAIL__SMTP__USERNAME", "ann")];
    with(&login).fails_with(4, "set the environment variable CREDITD_SMTP_PASSWORD");
    // Nobody listens on the port for discarding.
    let nobody = [("CREDITD__MAIL__SMTP__TLS", "none"), ("CREDITD__MAIL__SMTP__PORT", "9")];
    with(&nobody).fails_with(1, "the mail server cannot be reached: ");
    let waits = &place.rows("outbox list")[0];
    assert_eq!(figures(waits, ["state", "attempts"]), [json!("pending"), json!(0)]);
}
