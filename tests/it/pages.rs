//! The pages over HTTP, by the real router: who gets in where, what a form must carry, and that nothing that is typed or written
//! in a ledger makes a page fail or say what it should not.

pub mod browser;
pub mod http;
mod shown;

use crate::support::{Sandbox, account_id, both_databases, instant, purchase, usage};
use creditd::app::App;
use creditd::core::access::Reach;
use creditd::core::calendar::Instant;
use creditd::core::ids::{Email, UserId};
use creditd::core::signed::{Purpose, SigningKey};
use creditd::core::unsubscribe::{Unsubscribe, Wish};
use creditd::core::visit::{Visit, Visitor};
use creditd::jobs::signing_key;
use creditd::store::Admin;
use creditd::web::{Needs, routes};
use http::{Answer, Asked, Site};
use proptest::prelude::*;

const NOW: &str = "2013-03-20T12:00:00Z";
/// What only the account acme has.
pub const SECRET: &str = "ACME-SECRET";

pub fn email(text: &str) -> Email {
    Email::new(text).expect("an address")
}

/// Two accounts of two admins, each with a log of their own.
pub async fn world(sandbox: &Sandbox) -> App {
    for (id, address) in [("acme", "ann@acme.example"), ("other", "bob@other.example")] {
        sandbox.open_account(id, "America/New_York", "2013-01-01").await;
        let admin = Admin::with_defaults(email(address));
        sandbox.store().set_admin(&account_id(id), &admin).await.expect("an admin");
    }
    let app = sandbox.at("2013-03-10T12:00:00Z");
    app.purchase(&account_id("acme"), &purchase(1, "inv-1")).await.expect("bought");
    for (at, action) in ["erase", "translation", "text-to-image"].iter().enumerate() {
        let mut usage = usage(action, &format!("k{at}"));
        usage.comment = SECRET.to_owned();
        usage.user = Some(UserId::new("user-7").expect("a user"));
        app.charge(&account_id("acme"), &usage).await.expect("charged");
    }
    app.charge(&account_id("other"), &usage("erase", "k1")).await.expect("charged");
    let mut app = sandbox.at(NOW);
    app.settings.web.public_url = Some("http://credits.example".to_owned());
    app
}

pub fn admin_of(account: &str, address: &str) -> Visitor {
    Visitor { reach: Reach::Account(account_id(account)), address: Some(email(address)) }
}

pub const OPERATOR: Visitor = Visitor { reach: Reach::Platform, address: None };

pub fn visit_token(visitor: Visitor, until: &str, purpose: Purpose, key: &SigningKey) -> String {
    Visit { visitor, until: instant(until) }.token(purpose, key)
}

/// The cookie of somebody who was let in just now.
async fn cookie(app: &App, visitor: Visitor) -> String {
    let key = signing_key(app).await.expect("a key");
    format!("creditd={}", visit_token(visitor, "2013-03-20T20:00:00Z", Purpose::Cookie, &key))
}

/// The paths of pages that open for who may see the account, or what is embedded of it.
fn account_paths() -> impl Iterator<Item = &'static str> {
    let is_page = |needs| matches!(needs, Needs::Account | Needs::AccountOrToken(_));
    routes().filter(move |route| route.method == "GET" && is_page(route.needs)).map(|route| route.path)
}

fn platform_paths() -> impl Iterator<Item = &'static str> {
    routes().filter(|route| route.needs == Needs::Platform).map(|route| route.path)
}

fn filled(path: &str, account: &str) -> String {
    path.replace("{account}", account).replace("{month}", "2013-02").replace("{version}", "1")
}

/// What a form carries, as the page has it.
fn form_token(page: &Answer) -> &str {
    form_token_of(page).expect("a form")
}

/// The same, where there is a form.
pub fn form_token_of(page: &Answer) -> Option<&str> {
    page.body.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next())
}

both_databases! {
    /// A link shows one button, and only that lets in; an admin who was removed meanwhile gets nowhere.
    async fn a_link_is_exchanged_for_a_cookie(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let key = signing_key(&app).await.expect("a key");
        let link = |visitor, until| format!("/enter/{}", visit_token(visitor, until, Purpose::Link, &key));
        let ann = link(admin_of("acme", "ann@acme.example"), "2013-03-20T13:00:00Z");
        let site = Site::open(app).await;
        let shown = site.ask(Asked::get(&ann)).await;
        assert_eq!((shown.status, shown.header("set-cookie")), (200, None), "{}", shown.body);
        assert!(shown.body.contains("Account acme") && shown.body.contains("<form method=\"post\">"));
        for (name, value) in [
            ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY"), ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(shown.header(name), Some(value));
        }
        let policy = shown.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));

        let entered = site.ask(Asked { method: "POST", ..Asked::get(&ann) }).await;
        assert_eq!((entered.status, entered.header("location")), (303, Some("/accounts/acme")));
        let set = entered.header("set-cookie").expect("a cookie").to_owned();
        assert!(set.contains("; Path=/; ") && set.contains("; HttpOnly; SameSite=Lax") && !set.contains("Secure"), "{set}");
        let cookie = set.split(';').next().expect("a cookie");
        let page = site.get("/accounts/acme", cookie).await;
        assert!(page.status == 200 && page.body.contains("ann@acme.example"));
        assert_eq!(site.get("/", cookie).await.header("location"), Some("/accounts/acme"));
        // No page names what opens a door.
        let secret = cookie.trim_start_matches("creditd=");
        assert!(!page.body.contains(secret) && !page.body.contains("/enter/"));

        // Another site cannot let somebody in under a name of its choice.
        for headers in [&[("Sec-Fetch-Site", "cross-site")][..], &[("Origin", "https://evil.example")]] {
            let answer = site.ask(Asked { method: "POST", headers, ..Asked::get(&ann) }).await;
            assert_eq!((answer.status, answer.header("set-cookie")), (403, None));
        }
        let expired = link(admin_of("acme", "ann@acme.example"), "2013-03-20T12:00:00Z");
        for (bad, says) in [(expired.as_str(), "has expired"), ("/enter/AAAA", "no link of ours"), (&ann[..ann.len() - 1], "no link of ours")] {
            for method in ["GET", "POST"] {
                let answer = site.ask(Asked { method, ..Asked::get(bad) }).await;
                assert!(answer.status == 403 && answer.body.contains(says), "{bad}: {}", answer.body);
                assert_eq!(answer.header("set-cookie"), None);
            }
        }

        let leave = Asked { method: "POST", cookie: Some(cookie), ..Asked::get("/leave") };
        assert_eq!(site.ask(leave).await.status, 403, "without a token");
        let body = format!("token={}", form_token(&page));
        let left = site.ask(Asked { body: &body, ..leave }).await;
        assert!(left.status == 200 && left.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));

        sandbox.store().remove_admin(&account_id("acme"), &email("ann@acme.example")).await.expect("removed");
        for method in ["GET", "POST"] {
            let answer = site.ask(Asked { method, ..Asked::get(&ann) }).await;
            assert!(answer.status == 403 && answer.header("set-cookie").is_none() && !answer.body.contains("Account acme"));
        }
        assert_eq!(site.get("/accounts/acme", cookie).await.status, 403);
        site.close().await;
    }

    /// What has no page looks like ours, and what was told besides the page goes with it.
    async fn where_there_is_nothing_a_page_of_ours_says_so(sandbox: Sandbox) {
        let site = Site::open(world(&sandbox).await).await;
        for path in ["/nope", "/accounts/acme/", "/assets/nothing.css"] {
            let answer = site.ask(Asked::get(path)).await;
            assert!(answer.status == 404 && answer.body.contains("<main") && answer.body.contains("There is nothing here"), "{path}: {}", answer.body);
            assert!(answer.header("content-security-policy").is_some(), "{path}");
        }
        let answer = site.ask(Asked::get("/v1/nope")).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")));
        let answer = site.ask(Asked { method: "POST", ..Asked::get("/platform") }).await;
        assert!(answer.status == 405 && answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{:?}", answer.header("allow"));
        site.close().await;
    }

    /// Operators find accounts whatever the case of what they type, and whatever the database.
    async fn an_account_is_found_in_any_spelling(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        for (id, name) in [("uni", "Ökolog"), ("Upper", "éCOLE")] {
            sandbox.open_account(id, "UTC", "2013-01-01").await;
            let renamed = format!("UPDATE accounts SET name = '{name}' WHERE account_id = '{id}'");
            sandbox.execute(&renamed).await.expect("a name");
        }
        sandbox.store().set_admin(&account_id("uni"), &Admin::with_defaults(email("Ann.B@Acme.Example"))).await.expect("an admin");
        let operator = cookie(&app, OPERATOR).await;
        let site = Site::open(app).await;
        for (q, id) in [("UNI", "uni"), ("upp", "Upper"), ("UPP", "Upper"), ("%C3%B6k", "uni"), ("%C3%96KO", "uni"), ("ann.b%40acme.example", "uni"), ("ANN%40acme.example", "acme")] {
            let page = site.get(&format!("/platform/accounts?q={q}"), &operator).await;
            assert!(page.body.contains(&format!("/accounts/{id}\"")), "{q}: {}", page.body);
        }
        assert_eq!(site.get("/platform/accounts?query=uni", &operator).await.status, 400);
        site.close().await;
    }

    /// What operators must see: an address of webhooks that wants no more.
    async fn a_webhook_that_was_stopped_needs_somebody(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        sandbox
            .execute("INSERT INTO webhooks (account_id, webhook_id, url, wanted, secret, created_at, stopped_at) VALUES ('', 'wh_a', 'https://a.example', '', 'whsec_AAAA', 0, 1)")
            .await
            .expect("a webhook");
        let operator = cookie(&app, OPERATOR).await;
        let site = Site::open(app).await;
        let page = site.get("/platform", &operator).await;
        assert!(page.body.contains("One address of webhooks wants no more events; creditd webhook list shows which"), "{}", page.body);
        let metrics = site.ask(Asked::get("/metrics")).await;
        assert!(metrics.body.contains("\ncreditd_webhooks_stopped 1.0\n") && metrics.body.contains("\ncreditd_webhook_events_failed 0.0\n"));
        site.close().await;
    }

    /// Preferences are changed by the visitor's own form alone.
    async fn a_form_is_taken_from_its_own_page_only(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let (ann, bob) = (cookie(&app, admin_of("acme", "ann@acme.example")).await, cookie(&app, admin_of("other", "bob@other.example")).await);
        let site = Site::open(app).await;
        let page = site.get("/accounts/acme/notifications", &ann).await;
        let theirs = form_token(&page).to_owned();
        let others = form_token(&site.get("/accounts/other/notifications", &bob).await).to_owned();
        let path = "/accounts/acme/notifications";
        let wishes = async || {
            let record = sandbox.store().accounts(&[account_id("acme")]).await.expect("an account").remove(0);
            Wish::ALL.iter().filter(|wish| record.admins[0].wishes(**wish)).copied().collect::<Vec<_>>()
        };
        assert_eq!(wishes().await, [Wish::Alerts, Wish::MonthlyReport]);
        for (body, headers) in [
            ("daily-report=yes".to_owned(), &[][..]),
            ("daily-report=yes&token=".to_owned(), &[]),
            (format!("daily-report=yes&token={others}"), &[]),
            (format!("daily-report=yes&token={theirs}x"), &[]),
            (format!("daily-report=yes&token={theirs}"), &[("Sec-Fetch-Site", "cross-site")]),
            (format!("daily-report=yes&token={theirs}"), &[("Origin", "http://evil.example")]),
        ] {
            let asked = Asked { method: "POST", cookie: Some(&ann), body: &body, headers, ..Asked::get(path) };
            assert_eq!(site.ask(asked).await.status, 403, "{body} {headers:?}");
        }
        for headers in [&[("Content-Type", "application/x-www-form-urlencoded; charset=latin1")][..], &[("Content-Type", "application/x-www-form-urlencoded"), ("Content-Type", "text/plain")], &[("Content-Type", "application/x-www-form-urlencoded; charset")]] {
            let body = format!("daily-report=yes&token={theirs}");
            let other = site.ask(Asked { method: "POST", cookie: Some(&ann), body: &body, headers, ..Asked::get(path) }).await;
            assert!(other.status == 400 && other.body.contains("Nothing was changed"), "{headers:?}: {}", other.body);
            assert!(!other.body.contains("application/json"), "a form is none: {}", other.body);
        }
        let body = format!("token={theirs}&more={}", "x".repeat(70_000));
        let long = site.ask(Asked { method: "POST", cookie: Some(&ann), body: &body, ..Asked::get(path) }).await;
        assert!(long.status == 413 && long.body.contains("longer than any form"), "{}", long.body);
        assert_eq!(wishes().await, [Wish::Alerts, Wish::MonthlyReport]);
        for headers in [&[("Origin", "http://credits.example"), ("Sec-Fetch-Site", "same-origin")][..], &[("Origin", "null")], &[]] {
            let body = format!("daily-report=yes&resolved=yes&token={theirs}");
            let asked = Asked { method: "POST", cookie: Some(&ann), body: &body, headers, ..Asked::get(path) };
            let saved = site.ask(asked).await;
            assert!(saved.status == 200 && saved.body.contains("Saved."), "{}", saved.body);
            assert_eq!(wishes().await, [Wish::Resolved, Wish::DailyReport]);
        }
        site.close().await;
        sandbox.assert_verified().await;
    }

    /// A look changes nothing; one click ends the mails, as a mail program asks for it, with whatever body.
    async fn mails_are_ended_by_one_click(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let key = signing_key(&app).await.expect("a key");
        let asked = Unsubscribe { account: account_id("acme"), address: email("ann@acme.example"), wish: Wish::Alerts };
        let path = format!("/unsubscribe?t={}", asked.token(&key));
        let site = Site::open(app).await;
        let wishes = async || {
            let record = sandbox.store().accounts(&[account_id("acme")]).await.expect("an account").remove(0);
            record.admins[0].alerts
        };
        let shown = site.ask(Asked::get(&path)).await;
        assert!(shown.status == 200 && shown.body.contains("End these mails?") && wishes().await);
        for _ in 0..2 {
            let headers = &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://mail.example")][..];
            let click = Asked { method: "POST", body: "List-Unsubscribe=One-Click", headers, ..Asked::get(&path) };
            let ended = site.ask(click).await;
            assert!(ended.status == 200 && ended.body.contains("have ended") && !wishes().await, "{}", ended.body);
            assert!(ended.body.contains("monthly statements"));
        }
        for bad in ["/unsubscribe", "/unsubscribe?t=", "/unsubscribe?t=AAAA"] {
            for method in ["GET", "POST"] {
                assert_eq!(site.ask(Asked { method, ..Asked::get(bad) }).await.status, 403, "{method} {bad}");
            }
        }
        site.close().await;
    }

    /// Names, comments and users are text wherever they stand.
    async fn what_people_write_stays_text(sandbox: Sandbox) {
        world(&sandbox).await;
        let app = sandbox.at(NOW);
        let long = "ä".repeat(500);
        let hostile = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "\u{202e}txt.exe", "{{ shell.token }}", "=HYPERLINK(1)", &long];
        let name = hostile[..4].join(" ");
        sandbox.store().set_account(&account_id("acme"), creditd::store::NewFacts { name: Some(&name), ..Default::default() }).await.expect("named");
        let mut ann = Admin::with_defaults(email("ann@acme.example"));
        ann.name = name.clone();
        sandbox.store().set_admin(&account_id("acme"), &ann).await.expect("an admin");
        for (at, text) in hostile.iter().enumerate() {
            let mut usage = usage("erase", &format!("h{at}"));
            usage.comment = (*text).to_owned();
            usage.user = Some(UserId::new("<b>user</b>").expect("a user"));
            app.charge(&account_id("acme"), &usage).await.expect("charged");
        }
        let (ann, ops) = (cookie(&app, admin_of("acme", "ann@acme.example")).await, cookie(&app, OPERATOR).await);
        let site = Site::open(app).await;
        let pages = account_paths().filter(|path| !path.contains("export") && !path.contains("json") && !path.contains("/sent/"));
        for (path, who) in pages.map(|path| (filled(path, "acme"), &ann)).chain([("/platform/accounts?q=%3Cscript%3E".to_owned(), &ops), ("/accounts/acme/notifications".to_owned(), &ops)]) {
            let page = site.get(&path, who).await;
            assert_eq!(page.status, 200, "{path}");
            for bad in ["<script>alert", "<img", "<b>user", "\u{202e}"] {
                assert!(!page.body.contains(bad), "{path} has {bad}");
            }
        }
        let log = site.get("/accounts/acme/transactions?q=hyperlink", &ann).await;
        assert!(log.body.contains("=HYPERLINK(1)") && log.body.contains("&lt;b&gt;user"), "{}", log.body);
        let csv = site.get("/accounts/acme/transactions/export?q=hyperlink&form=csv", &ann).await;
        assert!(csv.body.contains(",'=HYPERLINK(1),") && csv.body.lines().count() == 2, "{}", csv.body);
        assert_eq!(csv.header("content-disposition").map(|value| value.starts_with("attachment; filename=\"transactions-acme-")), Some(true));
        site.close().await;
    }

    /// Filters, search and pages show each row once, and files have the same rows.
    async fn the_log_is_filtered_and_paged(sandbox: Sandbox) {
        let mut app = world(&sandbox).await;
        let acme = account_id("acme");
        for at in 0..120 {
            let mut usage = usage(["erase", "translation"][at % 2], &format!("p{at}"));
            usage.user = Some(UserId::new(&format!("user-{}", at % 3)).expect("a user"));
            usage.comment = format!("run {at}");
            app.charge(&acme, &usage).await.expect("charged");
        }
        app.settings.web.public_url = None;
        let ann = cookie(&app, admin_of("acme", "ann@acme.example")).await;
        let site = Site::open(app).await;
        let rows = |page: &Answer| page.body.matches("<tr role=\"row\" class=\"").count();
        let beside = |page: &Answer, rel: &str| {
            let at = format!("rel=\"{rel}\" href=\"");
            let next = page.body.split(&at).nth(1).and_then(|rest| rest.split('"').next());
            next.map(|next| format!("/accounts/acme/transactions{}", next.replace("&amp;", "&")))
        };
        // Older and older, and the same pages again on the way back.
        for query in ["", "?action=translation"] {
            let (mut next, mut seen) = (Some(format!("/accounts/acme/transactions{query}")), Vec::new());
            while let Some(path) = next {
                let page = site.get(&path, &ann).await;
                next = beside(&page, "next");
                seen.push(page);
                assert!(seen.len() < 20, "it ends");
            }
            let expected = if query.is_empty() { sandbox.log(&acme).await.len() } else { 61 };
            assert_eq!(seen.iter().map(rows).sum::<usize>(), expected, "{query}");
            let table = |page: &Answer| page.body.split("<tbody").nth(1).and_then(|rest| rest.split("</tbody>").next()).map(str::to_owned);
            let mut back = beside(seen.last().expect("a page"), "prev");
            for page in seen.iter().rev().skip(1) {
                let again = site.get(&back.expect("there are newer ones"), &ann).await;
                assert_eq!(table(&again), table(page), "{query}");
                back = beside(&again, "prev");
            }
            assert_eq!(back, None, "nothing is newer than the newest");
        }
        for (query, count) in [
            ("user=user-1&action=erase", 20), ("q=RUN%2011", 11), ("q=run+119&status=succeeded", 1), ("type=purchased", 1),
            ("status=refused", 0), ("from=2013-03-20&through=2013-03-20&action=translation", 50), ("from=2013-03-21", 0),
        ] {
            let page = site.get(&format!("/accounts/acme/transactions?{query}"), &ann).await;
            assert_eq!((page.status, rows(&page)), (200, count), "{query}");
        }
        // A misspelt filter is said; what mail gateways add to links is not.
        for (path, shown) in [("transactions?", true), ("summary?", true), ("transactions/export?form=csv&", false), ("summary/export?form=csv&", false)] {
            let asked = async |query: &str| site.get(&format!("/accounts/acme/{path}{query}"), &ann).await;
            let wrong = asked("usr=user-1").await;
            assert!(wrong.status == 400 && wrong.body.contains("“usr”"), "{path}: {}", wrong.body);
            assert_eq!(wrong.body.contains("<form class=\"filters"), shown, "{path}: {}", wrong.body);
            assert_eq!(asked("utm_source=mail&from=2013-03-01").await.status, 200, "{path}");
        }
        let csv = site.get("/accounts/acme/transactions/export?form=csv&user=user-1&action=erase", &ann).await;
        assert_eq!(csv.body.lines().count(), 21, "{}", csv.body);
        // Before the account was opened there is nothing, in a file of the days that were asked for.
        for (query, days) in [("through=1999-05-05", "1999-05-05-to-1999-05-05"), ("from=1999-05-01&through=1999-05-05", "1999-05-01-to-1999-05-05")] {
            let csv = site.get(&format!("/accounts/acme/transactions/export?form=csv&{query}"), &ann).await;
            assert_eq!((csv.status, csv.body.lines().count()), (200, 1), "{query}: {}", csv.body);
            let name = csv.header("content-disposition").expect("a name");
            assert!(name.contains(days), "{query}: {name}");
        }
        site.close().await;
    }

    /// The first page tells what the report tells, whether or not a job has run, and also of what came since the last look.
    async fn the_first_page_says_what_the_report_says(sandbox: Sandbox) {
        use creditd::app::Lately;
        use creditd::core::statement::{DateRange, Grouping, ReportSpec, Scope};
        world(&sandbox).await;
        let acme = account_id("acme");
        let mut lately = Lately::default();
        for (now, key) in [("2013-03-20T12:00:00Z", "a"), ("2013-03-20T12:00:01Z", "b"), ("2013-03-31T12:00:00Z", "c"), ("2013-04-02T12:00:00Z", "d"), ("2013-04-02T18:00:00Z", "e")] {
            let app = sandbox.at(now);
            let record = sandbox.store().accounts(std::slice::from_ref(&acme)).await.expect("an account").remove(0);
            for look in [&mut lately, &mut Lately::default()] {
                let standing = app.standing(&record, look).await.expect("it stands");
                let range = DateRange::of_month(standing.balance.month).expect("a month");
                let spec = ReportSpec::new("t", range, Grouping::Range, Scope::Account, app.now()).expect("a report");
                let reading = app.read_report(Some(std::slice::from_ref(&acme)), &spec, None, &mut |_, _| {}).await.expect("read");
                let report = creditd::report::make(&spec, reading).expect("made");
                assert_eq!(standing.month.totals, report.totals, "at {now}");
                assert_eq!(standing.balance, sandbox.balance(&app, &acme).await);
            }
            app.charge(&acme, &usage("text-to-image", key)).await.expect("charged");
        }
    }
}

/// A proxy that is trusted says who visits; nobody else can, and what it says must be clear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_is_believed() {
    let sandbox = Sandbox::new().await;
    let mut app = world(&sandbox).await;
    let acme = [("X-Creditd-Account", "acme")];
    let site = Site::open(app.clone()).await;
    assert_eq!(site.ask(Asked { headers: &acme, ..Asked::get("/accounts/acme") }).await.status, 403, "off by default");
    site.close().await;
    app.settings.web.trusted_proxy.from = vec!["10.0.0.1".parse().expect("an address")];
    let site = Site::open(app.clone()).await;
    assert_eq!(site.ask(Asked { headers: &acme, ..Asked::get("/accounts/acme") }).await.status, 403, "from elsewhere");
    site.close().await;
    app.settings.web.trusted_proxy.from = vec!["127.0.0.1".parse().expect("an address")];
    let site = Site::open(app).await;
    let ask = async |path: &str, headers: &[(&str, &str)]| site.ask(Asked { headers, ..Asked::get(path) }).await;
    assert_eq!(ask("/accounts/acme", &acme).await.status, 200);
    assert_eq!(ask("/accounts/other", &acme).await.status, 404);
    assert_eq!(ask("/platform", &acme).await.status, 404);
    assert_eq!(ask("/platform", &[("X-Creditd-Platform", "yes")]).await.status, 200);
    assert_eq!(ask("/accounts/acme", &[("X-Creditd-Email", "ann@acme.example")]).await.status, 403);
    for unclear in [
        &[("X-Creditd-Account", "acme"), ("X-Creditd-Account", "other")][..],
        &[("X-Creditd-Account", "acme"), ("X-Creditd-Platform", "yes")],
        &[("X-Creditd-Platform", "no")],
        &[("X-Creditd-Account", "a b")],
        &[("X-Creditd-Account", "acme"), ("X-Creditd-Email", "nobody")],
    ] {
        assert_eq!(ask("/accounts/acme", unclear).await.status, 400, "{unclear:?}");
    }
    // Whom the proxy names can choose their mails, by a form of their own.
    let ann = [("X-Creditd-Account", "acme"), ("X-Creditd-Email", "ann@acme.example")];
    let page = ask("/accounts/acme/notifications", &ann).await;
    let body = format!("daily-report=yes&token={}", form_token(&page));
    let sent = Asked { method: "POST", headers: &ann, body: &body, ..Asked::get("/accounts/acme/notifications") };
    assert!(site.ask(sent).await.body.contains("Saved."));
    assert_eq!(site.ask(Asked { body: "daily-report=yes", ..sent }).await.status, 403);
    site.close().await;
}

/// Whatever stands behind a page's address, it answers, and not by a failure of its own.
#[test]
fn no_address_makes_a_page_fail() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Connections are given back within it.
    let _within = runtime.enter();
    let sandbox = runtime.block_on(Sandbox::new());
    let app = runtime.block_on(world(&sandbox));
    let (ann, ops) = runtime
        .block_on(async { (cookie(&app, admin_of("acme", "ann@acme.example")).await, cookie(&app, OPERATOR).await) });
    let site = runtime.block_on(Site::open(app));
    let names = "from|through|by|of|user|action|type|status|q|before|form|after|at|t";
    let values = prop_oneof![
        "[a-z0-9.%&=+_-]{0,20}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "-?[0-9]{1,25}(\\.-?[0-9]{1,25})?",
        proptest::sample::select(vec![
            "day",
            "month",
            "range",
            "action",
            "user",
            "csv",
            "xlsx",
            "json",
            "html",
            "free",
            "refused",
            "%00",
            "%ff",
            "%E2%80%AE",
            "2013-03-01",
            "9999-12-31",
            "0001-01-01"
        ])
        .prop_map(ToOwned::to_owned),
    ];
    let pair = (names, values).prop_map(|(name, value)| format!("{name}={value}"));
    let paths: Vec<String> = account_paths()
        .map(|path| filled(path, "acme"))
        .chain(platform_paths().map(str::to_owned))
        .chain(["/unsubscribe".to_owned()])
        .collect();
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(path in proptest::sample::select(paths), query in prop::collection::vec(pair, 0..5))| {
        let asked = format!("{path}?{}", query.join("&"));
        let answer = runtime.block_on(site.get(&asked, if path.starts_with("/platform") { &ops } else { &ann }));
        prop_assert!(answer.status < 500, "{}: {} {}", asked, answer.status, answer.body);
    });
    let long = format!("/accounts/acme/transactions?q={}", "a".repeat(10_000));
    assert!(runtime.block_on(site.get(&long, &ann)).status < 500);
    for odd in [
        "/accounts/%00",
        "/accounts/%ff",
        "/accounts/..%2fother",
        "/accounts//",
        "/enter/%00",
        "/assets/../x",
        "/accounts/acme/statements/2013-13",
        "/accounts/acme/statements/9999-01/sent/99999999999",
    ] {
        assert!(matches!(runtime.block_on(site.get(odd, &ann)).status, 400 | 403 | 404), "{odd}");
    }
    runtime.block_on(site.close());
}

/// Mails link to the page where the settings say where it is, for so long as they say, and are what they were otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_lets_its_recipient_in() {
    use creditd::jobs::Kit;
    use creditd::jobs::preview::{Preview, preview};
    let sandbox = Sandbox::new().await;
    let app = world(&sandbox).await;
    let mut plain = app.clone();
    plain.settings.web.public_url = None;
    let acme = account_id("acme");
    let worded = async |app: App| {
        let kit = Kit::open(app).await.expect("a kit");
        preview(&kit, &acme, Preview::LowCredit).await.expect("worded").expect("a mail")
    };
    let (with, without) = (worded(app.clone()).await, worded(plain).await);
    assert!(!without.text.contains("Credits and log") && without.unsubscribe_url.is_none());
    let link = with
        .text
        .split("Credits and log: http://credits.example")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("a link");
    assert!(with.html.contains(&format!("href=\"http://credits.example{link}\"")));
    let end = with.unsubscribe_url.as_deref().expect("a link");
    assert!(end.starts_with("http://credits.example/unsubscribe?t="), "{end}");
    let until = |days: i64| instant(NOW).plus_days(days);
    let key = signing_key(&app).await.expect("a key");
    let of = |now: Instant| Visit::of_token(link.trim_start_matches("/enter/"), Purpose::Link, &key, now);
    assert!(of(until(7).plus_micros(-1)).is_ok_and(|visit| visit.visitor.reach == Reach::Account(acme.clone())));
    assert!(of(until(7)).is_err());
    let mut never = app;
    never.settings.web.mail_link_days = 0;
    assert!(!worded(never).await.text.contains("/enter/"));
}

/// Links are made for whom they can let in, and where people find the pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_made_for_admins_and_operators() {
    let sandbox = Sandbox::new().await;
    world(&sandbox).await;
    let link = |url: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.args(["link", "-o", "json", "--database-url", sandbox.url()]).args(args).current_dir(sandbox.path(""));
        let output = command.env_clear().env("CREDITD__WEB__PUBLIC_URL", url).env("CREDITD_NOW", NOW).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code().unwrap_or(-1), said)
    };
    let ann = ["--account", "acme", "--email", "ann@acme.example"];
    let (code, said) = link("https://credits.example/all", &ann);
    assert!(
        code == 0 && said.contains("\"https://credits.example/all/enter/") && said.contains("T13:00:00Z"),
        "{said}"
    );
    let (code, said) = link("https://credits.example", &["--platform", "--expires", "15m"]);
    assert!(code == 0 && said.contains("T12:15:00Z"), "{said}");
    for (url, args, code, says) in [
        ("", &ann[..], 4, "web.public_url"),
        ("https://credits.example", &["--account", "acme", "--email", "bob@other.example"], 5, "has no admin"),
        ("https://credits.example", &["--account", "none", "--email", "bob@other.example"], 5, "unknown_account"),
        ("https://credits.example", &["--account", "acme"], 2, "--email"),
        ("https://credits.example", &["--platform", "--account", "acme", "--email", "a@b.example"], 2, "--account"),
        ("https://credits.example", &[], 2, "--account"),
        ("https://credits.example", &["--platform", "--expires", "31d"], 2, "30 days"),
    ] {
        let (ended, said) = link(url, args);
        assert!(ended == code && said.contains(says), "{args:?}: {ended} {said}");
    }
}
