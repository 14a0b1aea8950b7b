//! A database that is not there is told from one that has much to do: whoever waits for the first is told so soon, and whoever waits
//! for the second is not sent away.

use super::{ALL, Api, token};
use crate::postgres::{on_a_wire, on_server};
use creditd::jobs::Kit;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use tokio::time::Instant;

/// Ten looks at whether the database is there.
const LONG: Duration = Duration::from_secs(20);
/// The same, where all of it is waited for.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_down_is_said_soon_to_programs_and_people() {
    let Some(sandbox) = on_server().await else { return };
    sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let (wire, app) = on_a_wire(&sandbox).await;
    let api = Api::within(Kit::new(app).expect("a kit"), &token, LONG);
    api.get("/v1/accounts/acme/balance").await.ok();
    wire.cut();
    let begun = Instant::now();
    let (read, charged, page, ready, metrics) = tokio::join!(
        api.get("/v1/accounts/acme/balance"),
        api.post("/v1/accounts/acme/charges", "k1", json!({"action": "erase"})),
        api.get("/platform"),
        api.get("/readyz"),
        api.get("/metrics"),
    );
    let took = begun.elapsed();
    for reply in [&read, &charged] {
        reply.problem(503, "unavailable");
    }
    assert!(String::from_utf8_lossy(&page.body).contains("out of order"), "people read a page");
    for reply in [&read, &charged, &page] {
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    }
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(ready.status == 503 && said.starts_with("the database cannot be "), "{said}");
    assert!(metrics.status == 200 && String::from_utf8_lossy(&metrics.body).contains("\ncreditd_database_up 0.0\n"));
    assert!(took < LONG / 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_line_at_a_busy_database_is_waited_for_as_long_as_any() {
    let Some(sandbox) = on_server().await else { return };
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let api = Api::within(Kit::new(sandbox.at("2013-01-10T00:00:00Z")).expect("a kit"), &token, SHORT);
    let mut other = PgConnection::connect(sandbox.url()).await.expect("a connection");
    let mut held = other.begin().await.expect("begun");
    sqlx::query("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.expect("locked");
    let charge = || api.post("/v1/accounts/acme/charges", "k1", json!({"action": "erase"}));
    let problem = charge().await.problem(503, "unavailable");
    assert_eq!(problem["detail"], "no answer in time; repeat the call under the same key", "it is there");
    held.rollback().await.expect("let go");
    charge().await.ok();
    assert_eq!(sandbox.log(&acme).await.iter().filter(|row| row.action.is_some()).count(), 1);
}
