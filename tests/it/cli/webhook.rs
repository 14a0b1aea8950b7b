//! `creditd webhook`, as the operator types it.

use super::Place;
use serde_json::Value;

/// The secret is shown once; what is wrong with an address is said before anything is written.
#[test]
fn webhooks_are_added_listed_and_removed() {
    let place = Place::with_acme();
    for (address, why) in [
        ("hooks.example", "is no web address, such as https://example.com/credits/events"),
        ("http://hooks.example/", "begins with https://"),
        ("https://ann:pw@hooks.example/", "has no user name"),
        ("https://localhost/", "localhost is no address of the internet at large"),
        ("https://10.0.0.1/", "10.0.0.1 is no address of the internet at large"),
    ] {
        place.run(&format!("webhook add {address}")).fails_with(2, why);
    }
    place.run("webhook add https://hooks.example/ --account nobody").fails_with(5, "there is no account nobody");
    place.run("webhook add https://hooks.example/ --event credits.lo").fails_with(2, "credits.low, credits.exhausted");
    let added =
        place.json("webhook add https://hooks.example/e --account acme --event credits.low --event month.reset");
    assert!(added["secret"].as_str().expect("a text").starts_with("whsec_"), "{added}");
    let listed = place.rows("webhook list");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["webhook"], &listed[0]["account"]), (&added["webhook"], &Value::from("acme")));
    assert_eq!(listed[0]["events"], "credits.low month.reset");
    assert!(!listed[0].to_string().contains("whsec_"), "{}", listed[0]);
    assert_eq!(place.rows("webhook events"), Vec::<Value>::new());
    let id = added["webhook"].as_str().expect("an id");
    place.ok(&format!("webhook retry {id}"));
    place.ok(&format!("webhook remove {id}"));
    for command in ["test", "retry", "remove"] {
        place.run(&format!("webhook {command} {id}")).fails_with(5, "there is no webhook");
    }
}
