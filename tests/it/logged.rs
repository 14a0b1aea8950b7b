//! What jobs do to accounts, as their log tells it: each effect in a line that names run and account, and no address.

use crate::support::{Sandbox, account_id, usage};
use creditd::core::ids::{Email, Key};
use creditd::core::ledger::{Call, Hold};
use creditd::store::Admin;
use serde_json::Value;
use std::process::{Command, Stdio};

/// The log of a run of `job`, of which every line is JSON.
fn log_of(sandbox: &Sandbox, job: &str, now: &str, level: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.args(["run", job, "--quiet", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
    command.env_clear().envs([("CREDITD__LOG__LEVEL", level), ("CREDITD_NOW", now)]).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{job}: {said}");
    assert!(!said.contains("acme.example"), "{job}: {said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_effect_on_an_account_names_its_run_and_its_account() {
    let sandbox = Sandbox::new().await;
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    sandbox.open_account("beta", "UTC", "2013-01-01").await;
    let ann = Admin::with_defaults(Email::new("ann@acme.example").expect("an address"));
    sandbox.store().set_admin(&acme, &ann).await.expect("an admin");
    let mut most = usage("text-to-image", "most");
    most.quantity = 185;
    sandbox.at("2013-02-01T10:00:00Z").charge(&acme, &most).await.expect("charged");
    let hold = Hold {
        key: Key::new("work").expect("a key"),
        user: None,
        action: most.action,
        quantity: 1,
        ttl_seconds: 60,
        comment: String::new(),
    };
    sandbox.at("2013-02-01T10:00:00Z").call(&account_id("beta"), Call::Hold(hold)).await.expect("held");

    let mut told = Vec::new();
    for (job, now) in [
        ("expire-holds", "2013-02-01T10:02:00Z"),
        ("scan", "2013-02-01T10:02:00Z"),
        ("deliver", "2013-02-01T10:02:00Z"),
        ("reset", "2013-03-01T00:05:00Z"),
        ("scan", "2013-03-01T00:06:00Z"),
        ("monthly-report", "2013-03-01T00:15:00Z"),
        ("deliver", "2013-03-01T00:16:00Z"),
        ("close", "2013-03-10T00:00:00Z"),
    ] {
        let mut of_run = Vec::new();
        for line in log_of(&sandbox, job, now, "debug") {
            let Some(account) = line["account"].as_str() else { continue };
            let run = &line["span"];
            assert_eq!((run["name"].as_str(), run["job"].as_str()), (Some("run"), Some(job)), "{line}");
            assert!(run["slot"].is_string(), "{line}");
            let besides =
                ["alert", "months", "lapsed", "allocated", "holds", "given_back", "month", "outcome", "notice"];
            let besides = besides.iter().filter_map(|name| Some(format!("{name}={}", line.get(name)?)));
            of_run.push(format!("{job} {account} {} {}", line["message"], besides.collect::<Vec<_>>().join(" ")));
        }
        // Messages are delivered side by side.
        of_run.sort();
        told.extend(of_run);
        let at_info = log_of(&sandbox, job, now, "info");
        assert!(at_info.iter().all(|line| line["account"].is_null()), "{at_info:?}");
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    expire-holds beta "holds ran out" holds=1 given_back=8
    scan acme "a message was written" notice="low-credit/acme/critical#1/61711a957303"
    scan acme "an alert was opened" alert="critical#1"
    scan acme "an alert was opened" alert="low#1"
    deliver acme "a message was tried" outcome="delivered" notice="low-credit/acme/critical#1/61711a957303"
    reset acme "the month was reset" months=1 lapsed=20 allocated=1500
    reset beta "the month was reset" months=1 lapsed=1500 allocated=1500
    scan acme "an alert was resolved" alert="critical#1"
    scan acme "an alert was resolved" alert="low#1"
    monthly-report acme "a message was written" notice="monthly-statement/acme/2013-01/dc16c1f4abea"
    monthly-report acme "a message was written" notice="monthly-statement/acme/2013-02/040f31f688e9"
    deliver acme "a message was tried" outcome="delivered" notice="monthly-statement/acme/2013-01/dc16c1f4abea"
    deliver acme "a message was tried" outcome="delivered" notice="monthly-statement/acme/2013-02/040f31f688e9"
    close acme "a month was closed to late usage" month="2013-02"
    close beta "a month was closed to late usage" month="2013-02"
    "#);
}
