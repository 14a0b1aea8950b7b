//! Tokens of programs on the command line: shown once, listed without what opens anything, revoked.

use super::Place;
use serde_json::json;

#[test]
fn a_token_is_shown_once_and_listed_by_its_id() {
    let place = Place::with_acme();
    assert_eq!(place.ok("token list").stderr, "There are no tokens; `creditd token create` makes one.\n");
    let made = place.json("token create --scope charge --account acme --name checkout");
    let shown = made["token"].as_str().expect("a token");
    assert!(shown.starts_with("crd_") && shown.len() == 51, "{shown}");
    assert_eq!(
        (&made["scope"], &made["account"], &made["expires_at"]),
        (&json!("charge"), &json!("acme"), &json!("2013-05-11T12:00:00Z"))
    );
    let forever = place.ok("token create --scope read --platform --expires never");
    assert!(forever.stdout.contains("crd_") && forever.stderr.contains("it is not shown again"), "{}", forever.stderr);

    let listed = place.ok("token list -o json");
    assert!(!listed.stdout.contains("crd_"), "{}", listed.stdout);
    let rows = place.rows("token list");
    let checkout = rows.iter().find(|row| row["name"] == "checkout").expect("the token");
    assert_eq!(
        [&checkout["id"], &checkout["status"], &checkout["account"], &checkout["last_used_at"]],
        [&made["id"], &json!("good"), &json!("acme"), &json!(null)]
    );
    let id = made["id"].as_str().expect("an id");
    place.ok(&format!("token revoke {id}"));
    place.ok(&format!("token revoke {id}"));
    let rows = place.rows("token list");
    assert_eq!(rows.iter().find(|row| row["id"] == id).expect("the token")["status"], "revoked");

    place.run("token revoke 0123456789ab").fails_with(5, "there is no token 0123456789ab");
    place.run(&format!("token revoke {shown}")).fails_with(2, "12 letters of a-f and 0-9 are expected");
    place.run("token create --scope read").fails_with(2, "--platform");
    place.run("token create --scope read --platform --account acme").fails_with(2, "cannot be used with");
    place.run("token create --scope read --account nobody").fails_with(5, "unknown_account");
    place.run("token create --scope all --platform").fails_with(2, "read, charge, admin");
    place.run("token create --scope read --platform --expires 0d").fails_with(2, "1d to 3650d, or never");
    place.ok("verify");
}

#[test]
fn the_document_of_the_api_is_printed() {
    let printed = Place::empty().ok("openapi").stdout;
    assert_eq!(printed, creditd::web::document());
}
