//! The document of the API: what is committed is what the code says, and what `serve` answers is what the document says.

use super::listener::{Listening, listen};
use super::{ALL, acme, token};
use crate::support::{Sandbox, program};
use creditd::web::{Needs, routes};
use serde_json::json;
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn the_document_that_is_committed_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == creditd::web::document(), "write it anew: creditd openapi > docs/openapi.json");
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    let served = api.get("/v1/openapi.json").await;
    assert_eq!((served.status, served.body), (200, committed.into_bytes()));
    api.get("/v1/openapi.json?version=3").await.problem(400, "invalid_request");
}

/// The address of every problem is a page, which says what the list of all says.
#[tokio::test]
async fn problems_have_pages() {
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    let shown = async |path: &str| {
        let page = api.get(path).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        (page.status, String::from_utf8(page.body).expect("text"))
    };
    let (status, all) = shown("/problems/").await;
    assert_eq!(shown("/problems").await, (status, all.clone()));
    for path in ["/problems?x=1", "/problems/?x=1", "/problems/insufficient-credits?x=1"] {
        let (status, page) = shown(path).await;
        assert!(
            status == 400 && page.contains("Nothing can be asked by the name “x” in the address."),
            "{path}: {page}"
        );
    }
    assert_eq!(shown("/problems/?utm_source=mail").await.0, 200);
    let rows: Vec<&str> = all.split("<th scope=\"row\"><a href=\"").skip(1).collect();
    assert!(
        status == 200
            && rows.len() > 30
            && all.contains("/problems/insufficient-credits\">insufficient_<wbr>credits</a></th><td>402</td>"),
        "{all}"
    );
    for row in rows {
        let (path, code) = row.split_once("</a>").and_then(|(link, _)| link.split_once("\">")).expect("a link");
        let meaning = row.split("<td>").nth(2).and_then(|rest| rest.split("</td>").next()).expect("a meaning");
        let (status, page) = shown(path).await;
        assert_eq!(status, 200, "{path}");
        for says in [
            &format!("<h1>{code}</h1>"),
            meaning,
            "<html lang=\"en\">",
            "<main ",
            &format!("<title>The problem {}</title>", code.replace("<wbr>", "")),
        ] {
            assert!(page.contains(says), "{says}: {page}");
        }
    }
    assert_eq!(shown("/problems/nothing").await.0, 404);
}

/// A call has no parameters: what its address asks for would be passed over, a dry run among it. The routes are those that the router
/// is made of, so that a new one is here as soon as it is there.
#[tokio::test]
async fn no_call_takes_anything_from_its_query() {
    let sandbox = Sandbox::new().await;
    let api = acme(&sandbox).await;
    let before = sandbox.store().count_transactions().await.expect("a count");
    let mut told = Vec::new();
    for route in routes().filter(|route| route.method == "POST" && matches!(route.needs, Needs::Token(_))) {
        let path = route.path.replace("{account}", "acme").replace("{hold}", "k").replace("{charge}", "k");
        for query in ["dry_run=true", "utm_source=mail"] {
            let answer = api.post(&format!("{path}?{query}"), "k", json!({"action": "erase"})).await;
            let problem = answer.problem(400, "invalid_request");
            told.push(format!("{path}: {}", problem["detail"].as_str().expect("a detail")));
        }
        let nobody = api.with_token("crd_short").post(&format!("{path}?x=1"), "k", json!({})).await;
        nobody.problem(401, "unauthorized");
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    /v1/accounts/acme/charges: there is no parameter "dry_run", and there are none here; dry_run belongs in the body
    /v1/accounts/acme/charges: there is no parameter "utm_source"; there are none here
    /v1/accounts/acme/charges/k/refund: there is no parameter "dry_run"; there are none here
    /v1/accounts/acme/charges/k/refund: there is no parameter "utm_source"; there are none here
    /v1/accounts/acme/holds: there is no parameter "dry_run"; there are none here
    /v1/accounts/acme/holds: there is no parameter "utm_source"; there are none here
    /v1/accounts/acme/holds/k/capture: there is no parameter "dry_run"; there are none here
    /v1/accounts/acme/holds/k/capture: there is no parameter "utm_source"; there are none here
    /v1/accounts/acme/holds/k/void: there is no parameter "dry_run"; there are none here
    /v1/accounts/acme/holds/k/void: there is no parameter "utm_source"; there are none here
    /v1/accounts/acme/purchases: there is no parameter "dry_run"; there are none here
    /v1/accounts/acme/purchases: there is no parameter "utm_source"; there are none here
    /v1/charges: there is no parameter "dry_run", and there are none here; dry_run belongs in the body
    /v1/charges: there is no parameter "utm_source"; there are none here
    /v1/events: there is no parameter "dry_run"; there are none here
    /v1/events: there is no parameter "utm_source"; there are none here
    "#);
    for (asked, says) in [
        ("events?quantity=2", "quantity belongs in the body"),
        ("accounts/acme/charges?Dry_Run=1", "did you mean dry_run, which belongs in the body?"),
        ("accounts/acme/charges?dry-run=1", "did you mean dry_run, which belongs in the body?"),
        ("accounts/acme/purchases?pack=1", "did you mean packs, which belongs in the body?"),
    ] {
        let problem = api.post(&format!("/v1/{asked}"), "k", json!({"action": "erase"})).await;
        let problem = problem.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with(says)), "{asked}: {problem}");
    }
    assert_eq!(sandbox.store().count_transactions().await.expect("a count"), before);
    assert_eq!(api.post("/v1/accounts/acme/charges?", "k", json!({"action": "erase"})).await.status, 200);
}

/// What is looked at in each answer: whatever is sent, right or wrong, the answer is one that the document has.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,missing_required_header,unsupported_method,allow_header_conformance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_answer_that_the_document_has_not() {
    if !program(
        "schemathesis",
        "CREDITD_REQUIRE_SCHEMATHESIS",
        "the API against its document; install schemathesis (PyPI)",
    ) {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "America/New_York", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let Listening { at, stop, answering } = listen(&sandbox).await;
    let mut command = Command::new("schemathesis");
    command.args([
        "run",
        &format!("http://{at}/v1/openapi.json"),
        "--header",
        &format!("Authorization: Bearer {token}"),
    ]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1"]);
    command.args([
        "--suppress-health-check",
        "all",
        "--continue-on-failure",
        "--warnings",
        "off",
        "--request-timeout",
        "60",
    ]);
    command.current_dir(sandbox.path(""));
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    stop.cancel();
    answering.await.expect("it stops");
    sandbox.assert_verified().await;
}
