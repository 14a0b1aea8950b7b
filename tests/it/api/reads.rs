//! What can be looked at: balances as they are and were, the log page by page, statements that are kept until they change.

use super::{Api, NOW, acme};
use crate::support::{Sandbox, account_id, both_databases, usage};
use axum::body::Body;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// All rows of a list of the log, page by page; `between` is done after the first page.
async fn pages(api: &Api, query: &str, between: impl AsyncFnOnce()) -> Vec<Value> {
    let (mut rows, mut cursor, mut between) = (Vec::new(), None::<String>, Some(between));
    loop {
        let behind = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = api.get(&format!("/v1/accounts/acme/transactions?{query}{behind}")).await.ok();
        rows.extend(page["transactions"].as_array().expect("a list").iter().cloned());
        if let Some(between) = between.take() {
            between().await;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return rows,
        }
    }
}

fn seqs(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["seq"].as_i64().expect("a number")).collect()
}

both_databases! {
    async fn the_log_is_read_in_pages_that_nothing_moves(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let (app, id) = (sandbox.at(NOW), account_id("acme"));
        for n in 0..25 {
            let action = ["erase", "upscale"][n % 2];
            let mut usage = usage(action, &format!("job-{n}"));
            usage.user = (n % 3 == 0).then(|| "ann".parse().expect("a user"));
            usage.comment = format!("Nummer {n}");
            app.charge(&id, &usage).await.expect("charged");
        }
        app.charge(&id, &creditd::core::ledger::Usage { quantity: 10_000, ..usage("erase", "big") }).await.expect("refused");
        let written = async || {
            app.charge(&id, &usage("erase", "meanwhile")).await.expect("charged");
        };
        let rows = pages(&api, "limit=7", written).await;
        let all: BTreeSet<i64> = seqs(&rows).into_iter().collect();
        assert_eq!((rows.len(), all.len()), (29, 29), "each row that was there is there once: {:?}", seqs(&rows));
        assert_eq!(seqs(&rows)[..2], [29, 28], "the newest first");
        for (query, count) in [
            ("user=ann", 9),
            ("action=upscale", 12),
            ("status=refused", 1),
            ("status=refused&search=BIG", 1),
            ("search=nummer+24", 1),
            ("type=free&action=erase", 14),
            ("from=2013-02-10&to=2013-02-11&action=erase", 15),
            ("from=2013-02-11", 0),
            ("to=2013-01-01T05:00:00Z", 0),
        ] {
            assert_eq!(pages(&api, query, async || {}).await.len(), count, "{query}");
        }
        let first = api.get("/v1/accounts/acme/transactions?limit=1&user=ann").await.ok();
        let cursor = first["next_cursor"].as_str().expect("more");
        for bad in [format!("cursor={cursor}"), "cursor=x".into(), "limit=0".into(), "limit=1001".into(), "usr=ann".into(), "type=gold".into(), "search=%00".into(), "from=noon".into()] {
            api.get(&format!("/v1/accounts/acme/transactions?{bad}")).await.problem(400, "invalid_request");
        }
        for bad in ["from=2013-02-11&to=2013-02-10", "from=2013-02-10&to=2013-02-10", "from=2013-02-11&to=2013-02-10T12:00:00Z"] {
            let told = api.get(&format!("/v1/accounts/acme/transactions?{bad}")).await.problem(400, "invalid_request");
            assert!(told["detail"].as_str().is_some_and(|detail| detail.starts_with("from: 2013-02-1") && detail.contains("not before to, 2013-02-10")), "{told}");
        }
    }

    async fn balances_accounts_and_prices_are_as_they_are(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let balance = api.get("/v1/accounts/acme/balance").await.ok();
        assert_eq!([&balance["free"], &balance["purchased"], &balance["held"], &balance["month"], &balance["zone"]], [&json!(1500), &json!(0), &json!(0), &json!("2013-02"), &json!("America/New_York")]);
        let then = api.get("/v1/accounts/acme/balance?as_of=2013-01-20T00:00:00Z").await;
        assert!(matches!(then.status, 200 | 404), "{then:?}");
        api.get("/v1/accounts/acme/balance?as_of=2014-01-01T00:00:00Z").await.problem(400, "invalid_request");
        let account = api.get("/v1/accounts/acme").await.ok();
        assert_eq!((&account["name"], &account["balance"]["available"]), (&json!("Account acme"), &json!(1500)));
        let actions = api.get("/v1/actions").await.ok();
        let erase = actions["actions"].as_array().expect("a list").iter().find(|action| action["action"] == "erase");
        assert_eq!(erase.expect("an action")["credits"], 7);
        assert_eq!(api.get("/v1/accounts/acme/notifications?all=true").await.ok()["alerts"], json!([]));
        api.get("/v1/accounts/acme/notifications?all=maybe").await.problem(400, "invalid_request");
    }

    async fn a_statement_is_kept_until_its_figures_change(sandbox: Sandbox) {
        let api = acme(&sandbox).await;
        let (app, id) = (sandbox.at(NOW), account_id("acme"));
        app.charge(&id, &usage("erase", "k")).await.expect("charged");
        let ask = async |query: &str, headers: &[(&str, &str)]| {
            let mut request = api.request("GET", &format!("/v1/accounts/acme/statement{query}"));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            api.send(request.body(Body::empty()).expect("a request")).await
        };
        let reply = ask("", &[]).await;
        let etag = reply.header("etag").expect("a tag").to_owned();
        let statement = reply.ok();
        assert_eq!((&statement["schema"], &statement["from"], &statement["lines"][0]["consumed"]), (&json!("creditd.report/1"), &json!("2013-02-01"), &json!(7)));
        let kept = ask("?month=2013-02", &[("if-none-match", &etag)]).await;
        assert_eq!((kept.status, kept.body.len(), kept.header("etag")), (304, 0, Some(etag.as_str())));
        app.charge(&id, &usage("erase", "k2")).await.expect("charged");
        assert_eq!(ask("", &[("if-none-match", &etag)]).await.status, 200);

        let days = ask("?from=2013-02-09&to=2013-02-11&by=day,action", &[("accept", "text/csv")]).await;
        assert_eq!((days.status, days.header("content-type")), (200, Some("text/csv; charset=utf-8")));
        assert!(String::from_utf8_lossy(&days.body).starts_with("account,from,to,action,credit_type,"), "{days:?}");
        for (query, status, code) in [
            ("?month=2013-02&from=2013-02-01", 400, "invalid_request"),
            ("?to=2013-02-01", 400, "invalid_request"),
            ("?from=2013-02-10&to=2013-02-01", 400, "invalid_request"),
            ("?by=hour", 400, "invalid_request"),
            ("?month=2013-03", 400, "invalid_request"),
            ("?month=20133-03", 400, "invalid_request"),
            ("?from=2011-01-01", 422, "too_much"),
        ] {
            ask(query, &[]).await.problem(status, code);
        }
    }
}
