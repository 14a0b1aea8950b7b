//! Mail by the command line: to operators, ended by its link, tried and checked.

use super::Place;

const OPERATORS: &str = "[mail]\noperators = [\"Ops <ops@example.com>\"]\n";

#[test]
fn mails_to_operators_are_shown_and_written() {
    let place = Place::with_acme();
    for (kind, said) in [
        ("job-failed", "Job verify failed: the ledger does not add up"),
        ("job-well", "Job verify is well again"),
        ("platform-monthly --month 2013-01", "Platform in January 2013: 0 AI credits used by 0 accounts"),
    ] {
        let shown = place.json(&format!("email preview {kind} --out looks"));
        assert!(shown["subject"].as_str().is_some_and(|subject| subject.starts_with(said)), "{shown}");
    }
    assert!(place.read("looks/job-failed.txt").starts_with("The job verify failed on "));
    place.run("email preview job-failed --account acme").fails_with(2, "job-failed is about no account");
    place.run("email preview low-credit").fails_with(2, "low-credit is about an account: name one by --account");
    place.run("email preview test").fails_with(2, "platform-monthly");

    place.ok("run monthly-report --month 2012-12");
    assert_eq!(place.rows("outbox list").len(), 0, "there are no operators");
    let config = place.read("creditd.toml");
    place.write("creditd.toml", config.replace("[mail]\n", OPERATORS));
    for _ in 0..2 {
        place.ok("run monthly-report --month 2012-12");
    }
    let rows = place.rows("outbox list");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["account"], serde_json::Value::Null);
    assert_eq!(rows[0]["key"], "platform-monthly//2012-12/ops@example.com/1");
    place.ok("outbox show platform-monthly//2012-12/ops@example.com/1");
    place.ok("run deliver");
    place.ok("verify");
}
