//! The real binary on a ledger on a server.

use super::{NOW, Place};
use crate::support::{Backend, Sandbox};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn a_ledger_on_a_server_is_used_like_one_in_a_file() {
    if !Backend::Postgres.is_there() {
        return;
    }
    let sandbox = Sandbox::on(Backend::Postgres).await;
    let (url, _database) = sandbox.empty_place().await;
    let url = url.replace("creditd@", "creditd:secret@");
    let mut place = Place::empty();
    place.env.push(("CREDITD_NOW", NOW.to_owned()));
    let mut said = String::new();

    let missing = place.run(&format!("balance --database-url {url}"));
    assert_eq!(missing.code, 4, "{}", missing.stderr);
    let made = place.ok(&format!("init --sandbox --database-url {url}"));
    said += &format!("{}{}{}", missing.stderr, made.stdout, made.stderr);
    // The settings name the password, for what follows to work, and so are their owner's alone.
    assert!(place.read("creditd.toml").contains(&url));
    let mode = std::fs::metadata(place.path("creditd.toml")).expect("the settings").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    place.ok("account create acme --name Acme --zone America/New_York --opened-on 2013-01-01");
    let charged = place.json("charge --account acme --action erase --key k1");
    assert_eq!((&charged["credits"], &charged["replayed"]), (&json!(7), &json!(false)));
    assert_eq!(place.json("charge --account acme --action erase --key k1")["replayed"], json!(true));
    place.write("usage.csv", format!("{}\n2013-01-05T00:00:00Z,acme,u,erase,success,,k2\n", super::USAGE_HEADER));
    place.ok("transactions import usage.csv");
    assert_eq!(place.rows("balance")[0]["available"], json!(1_493));
    place.ok("run reset");
    place.ok("report show platform-monthly");
    let users = place.ok("report show usage-by-user --month 2013-01 -o csv").stdout;
    assert!(users.contains("acme,2013-01-01,2013-02-01,u,total,7,0,1,0,0"), "{users}");

    let again = place.run(&format!("init --sandbox --database-url {url}"));
    assert_eq!(again.code, 7, "{}", again.stderr);
    let refused = place.run(&format!("balance --database-url {}", url.replace("creditd:", "nobody:")));
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    let shown = place.ok("config show --origin");
    assert!(shown.stdout.contains("creditd:***@"), "{}", shown.stdout);
    said += &format!("{}{}{}", again.stderr, refused.stderr, shown.stdout);
    assert!(!said.contains("secret"), "{said}");
}
