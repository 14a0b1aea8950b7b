//! Who gets in: every route there is, with every kind of caller. The routes are those that the router is made of, so a new one is
//! here as soon as it is there, and what it needs says who may come in.

use crate::api::{ALL, Made, token};
use crate::pages::http::{Answer, Asked, Site};
use crate::pages::{OPERATOR, SECRET, admin_of, email, form_token_of, visit_token, world};
use crate::support::{Sandbox, account_id, both_databases, instant, month, usage};
use creditd::app::App;
use creditd::core::access::{Reach, Scope};
use creditd::core::ledger::Usage;
use creditd::core::schedule::{Job, Slot};
use creditd::core::signed::{KEY_BYTES, Purpose, SigningKey};
use creditd::core::token::{TOKEN_BYTES, token_of};
use creditd::core::unsubscribe::{Unsubscribe, Wish};
use creditd::core::visit::Visitor;
use creditd::jobs::{Claiming, Kit, Planned, Run, run_slot, signing_key};
use creditd::web::{Needs, Route, routes};
use tokio_util::sync::CancellationToken;

const LATER: &str = "2013-03-20T20:00:00Z";
const NOW: &str = "2013-03-20T12:00:00Z";

/// What is shown, and whom that lets in.
struct Caller {
    name: String,
    headers: Vec<(String, String)>,
    who: Who,
}

#[derive(Clone, Debug)]
enum Who {
    /// Whatever it is, it opens nothing.
    Nobody,
    Token(Scope, Option<&'static str>),
    Visitor(Visitor),
}

fn caller(name: impl Into<String>, headers: &[(&str, &str)], who: Who) -> Caller {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Caller { name: name.into(), headers, who }
}

fn covers(reach: &Reach) -> bool {
    reach.covers(&account_id("acme"))
}

/// Whether a route about acme opens for `who`, with the proof that a form of theirs has.
fn opens(route: Route, who: &Who) -> bool {
    let for_token = |scope: Scope| match who {
        Who::Token(of, account) => {
            of.includes(scope) && (!route.path.contains("{account}") || account.is_none_or(|id| id == "acme"))
        }
        _ => false,
    };
    let for_visitor = |is_let_in: &dyn Fn(&Visitor) -> bool| matches!(who, Who::Visitor(visitor) if is_let_in(visitor));
    match route.needs {
        Needs::Nothing => true,
        Needs::Token(scope) => for_token(scope),
        // Mails are chosen by whoever gets them.
        Needs::Account if route.method == "POST" => {
            for_visitor(&|visitor| covers(&visitor.reach) && visitor.address.is_some())
        }
        Needs::Account => for_visitor(&|visitor| covers(&visitor.reach)),
        Needs::AccountOrToken(scope) => for_token(scope) || for_visitor(&|visitor| covers(&visitor.reach)),
        Needs::Platform => for_visitor(&|visitor| visitor.reach == Reach::Platform),
        Needs::Visit => for_visitor(&|_| true),
        Needs::Link => false,
    }
}

/// Whether whoever asked got in: whatever came of it then.
fn got_in(route: Route, answer: &Answer) -> bool {
    // No bell rings here, so that nothing is ready.
    assert!(answer.status < 500 || route.path == "/readyz", "{route:?}: {} {}", answer.status, answer.body);
    let is_api = matches!(route.needs, Needs::Nothing | Needs::Token(_));
    if is_api { !matches!(answer.status, 401 | 403) } else { matches!(answer.status, 200 | 303) }
}

async fn ask(site: &Site, route: Route, path: &str, headers: &[(String, String)], body: &str) -> Answer {
    let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let is_api = matches!(route.needs, Needs::Token(_));
    if is_api {
        all.extend([("Content-Type", "application/json"), ("Idempotency-Key", "k")]);
    }
    let body = if is_api { "{}" } else { body };
    site.ask(Asked { method: route.method, path, cookie: None, headers: &all, body }).await
}

/// The address of a route about acme.
fn address(route: Route, asset: &str) -> String {
    let path = route.path.replace("{account}", "acme").replace("{month}", "2013-02").replace("{version}", "1");
    let path = path.replace("{hold}", "k").replace("{charge}", "k").replace("{token}", "AAAA");
    if path.starts_with("/assets/") { asset.to_owned() } else { path.replace("{name}", "forbidden") }
}

/// The statement of February, in which something was used, so that every page is there.
pub async fn state(app: &App) {
    let used = Usage { occurred_at: Some(instant("2013-02-10T12:00:00Z")), ..usage("erase", "late") };
    app.charge(&account_id("acme"), &used).await.expect("charged");
    let kit = Kit::open(app.clone()).await.expect("a kit");
    let slot = Slot::Month(month("2013-02"), chrono_tz::America::New_York);
    for (job, slot) in [(Job::Reset, Slot::Tick(app.now())), (Job::MonthlyReport, slot)] {
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
        let ran = run_slot(&kit, job, slot, Claiming::Anyway, &mut run).await.expect("the run is recorded");
        assert!(matches!(ran, Planned::Ran(Ok(_))), "{job}");
    }
}

/// Everybody, with what their headers are worth where the proxy at their end is trusted.
async fn callers(sandbox: &Sandbox, app: &App) -> Vec<Caller> {
    let (store, key) = (sandbox.store(), signing_key(app).await.expect("a key"));
    let unknown = token_of([9; TOKEN_BYTES]).expose().to_owned();
    let expired = token(store, Made { expires_at: Some(instant(NOW)), ..ALL }).await;
    let revoked = token(store, Made { revoked: true, ..ALL }).await;
    let good = token(store, ALL).await;
    let mut all = vec![caller("nobody", &[], Who::Nobody)];
    for (name, value) in [
        ("an empty header", String::new()),
        ("no token", "Bearer".into()),
        ("an empty token", "Bearer ".into()),
        ("a short token", "Bearer crd_short".into()),
        ("a token that nobody made", format!("Bearer {unknown}")),
        ("an expired token", format!("Bearer {expired}")),
        ("a revoked token", format!("Bearer {revoked}")),
        ("a token as a password", format!("Basic {good}")),
        ("a token with more", format!("Bearer {good}x")),
        ("two tokens", format!("Bearer {good} {good}")),
    ] {
        all.push(caller(name, &[("Authorization", &value)], Who::Nobody));
    }
    let twice = format!("Bearer {good}");
    all.push(caller("two headers", &[("Authorization", &twice), ("Authorization", &twice)], Who::Nobody));
    for scope in Scope::ALL {
        for account in [Some("acme"), Some("other"), None] {
            let shown = format!("Bearer {}", token(store, Made { scope: *scope, account, ..ALL }).await);
            let name = format!("a token to {scope} of {account:?}");
            all.push(caller(name, &[("Authorization", &shown)], Who::Token(*scope, account)));
        }
    }
    let (ann, bob) = (admin_of("acme", "ann@acme.example"), admin_of("other", "bob@other.example"));
    let of_nobody = Visitor { reach: Reach::Account(account_id("acme")), address: None };
    let another_key = SigningKey::new([7; KEY_BYTES]);
    let cookie = |visitor: &Visitor, until, purpose, key: &SigningKey| {
        format!("creditd={}", visit_token(visitor.clone(), until, purpose, key))
    };
    for (name, value, who) in [
        ("a cookie of nothing", "creditd=AAAA".to_owned(), Who::Nobody),
        ("an expired cookie", cookie(&ann, NOW, Purpose::Cookie, &key), Who::Nobody),
        ("a link as a cookie", cookie(&ann, LATER, Purpose::Link, &key), Who::Nobody),
        ("a cookie of another ledger", cookie(&ann, LATER, Purpose::Cookie, &another_key), Who::Nobody),
        (
            "a cookie under another name",
            cookie(&ann, LATER, Purpose::Cookie, &key).replace("creditd=", "x="),
            Who::Nobody,
        ),
        ("another admin's cookie", cookie(&bob, LATER, Purpose::Cookie, &key), Who::Visitor(bob)),
        ("the admin's cookie", cookie(&ann, LATER, Purpose::Cookie, &key), Who::Visitor(ann.clone())),
        ("an operator's cookie", cookie(&OPERATOR, LATER, Purpose::Cookie, &key), Who::Visitor(OPERATOR)),
    ] {
        all.push(caller(name, &[("Cookie", &value)], who));
    }
    let (account, mail) = ("X-Creditd-Account", "X-Creditd-Email");
    let acme =
        |address: Option<&str>| Visitor { reach: Reach::Account(account_id("acme")), address: address.map(email) };
    for (name, headers, who) in [
        ("a proxy that names the account", &[(account, "acme")][..], Who::Visitor(of_nobody)),
        ("a proxy that names the admin", &[(account, "acme"), (mail, "ann@acme.example")], Who::Visitor(ann)),
        (
            "a proxy that names another account",
            &[(account, "other")],
            Who::Visitor(Visitor { reach: Reach::Account(account_id("other")), ..acme(None) }),
        ),
        ("a proxy that names the operator", &[("X-Creditd-Platform", "yes")], Who::Visitor(OPERATOR)),
        ("a proxy that names nobody", &[(account, ""), ("X-Creditd-Platform", "")], Who::Nobody),
        ("a proxy that names an address alone", &[(mail, "ann@acme.example")], Who::Nobody),
        ("a proxy that says it twice", &[(account, "acme"), (account, "acme")], Who::Nobody),
        ("a proxy that contradicts itself", &[(account, "acme"), ("X-Creditd-Platform", "yes")], Who::Nobody),
    ] {
        all.push(caller(name, headers, who));
    }
    all
}

/// The proof that a form has of whoever comes with these headers.
async fn proof(site: &Site, app: &App, caller: &Caller) -> String {
    let Who::Visitor(visitor) = &caller.who else { return String::new() };
    let headers: Vec<(&str, &str)> =
        caller.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let here = match &visitor.reach {
        Reach::Account(account) => format!("/accounts/{account}/notifications"),
        Reach::Platform => "/platform".to_owned(),
    };
    let page = site.ask(Asked { headers: &headers, ..Asked::get(&here) }).await;
    let key = signing_key(app).await.expect("a key");
    // A page without a form has none; what it would be is the tag of the visitor.
    let made = || key.tag(Purpose::Form, format!("proxy\n{}", visitor.text()).as_bytes());
    form_token_of(&page).map_or_else(made, str::to_owned)
}

fn is_proxied(caller: &Caller) -> bool {
    caller.headers.iter().any(|(name, _)| name.starts_with("X-Creditd"))
}

both_databases! {
    async fn only_who_may_gets_in(sandbox: Sandbox) {
        let mut app = world(&sandbox).await;
        state(&app).await;
        app.settings.web.requests_per_second = 0;
        app.settings.web.trusted_proxy.from = vec!["127.0.0.1".parse().expect("an address")];
        let callers = callers(&sandbox, &app).await;
        let site = Site::open(app.clone()).await;
        let mut elsewhere = app.clone();
        elsewhere.settings.web.trusted_proxy.from = vec!["10.0.0.1".parse().expect("an address")];
        let elsewhere = Site::open(elsewhere).await;
        let shut = site.ask(Asked::get("/accounts/acme")).await;
        let asset = format!("/assets/{}", shut.body.split("/assets/").nth(1).and_then(|rest| rest.split('"').next()).expect("a sheet"));
        let store = sandbox.store();
        let (rows, mails) = (store.count_transactions().await.expect("a count"), wishes(&sandbox).await);
        let bob = callers.iter().find(|caller| caller.name == "another admin's cookie").expect("he is there");
        let others = proof(&site, &app, bob).await;
        let mut opened = 0;
        for caller in &callers {
            let (proof, nobody) = (proof(&site, &app, caller).await, Who::Nobody);
            for route in routes() {
                let (path, name) = (address(route, &asset), &caller.name);
                let check = |answer: &Answer, is_right: bool, how: &str| {
                    assert_eq!(got_in(route, answer), is_right, "{} {} by {name}{how}: {} {}", route.method, route.path, answer.status, answer.body);
                    let is_told = answer.body.contains(SECRET) || answer.body.contains("Account acme");
                    assert!(is_right || !is_told, "{} {} tells {name}{how}", route.method, route.path);
                };
                let is_right = opens(route, &caller.who);
                let is_form = route.method == "POST" && matches!(route.needs, Needs::Account | Needs::Visit);
                if is_form {
                    let cross_site = |header: (&str, &str)| {
                        let more = [(header.0.to_owned(), header.1.to_owned())];
                        [caller.headers.as_slice(), &more].concat()
                    };
                    let right = format!("token={proof}");
                    for (body, headers, how) in [
                        (String::new(), caller.headers.clone(), " without a proof"),
                        (format!("token={others}x"), caller.headers.clone(), " with a proof of nobody"),
                        (format!("token={}", if name == &bob.name { "AAAA" } else { others.as_str() }), caller.headers.clone(), " with another's proof"),
                        (right.clone(), cross_site(("Sec-Fetch-Site", "cross-site")), " from another site"),
                        (right, cross_site(("Origin", "https://evil.example")), " from another origin"),
                    ] {
                        check(&ask(&site, route, &path, &headers, &body).await, false, how);
                    }
                    assert_eq!(wishes(&sandbox).await, mails, "{name}");
                }
                // What every mail is chosen by, so that nothing changes.
                let body = format!("token={proof}&alerts=yes&monthly-report=yes");
                let answer = ask(&site, route, &path, &caller.headers, &body).await;
                check(&answer, is_right, "");
                opened += usize::from(is_right);
                if is_proxied(caller) {
                    let answer = ask(&elsewhere, route, &path, &caller.headers, &body).await;
                    check(&answer, opens(route, &nobody), " from elsewhere");
                }
                if !is_right && matches!(route.needs, Needs::Token(_)) && matches!(caller.who, Who::Nobody | Who::Visitor(_)) {
                    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"creditd\"")), "{} by {name}", route.path);
                }
            }
        }
        assert!(opened > 200, "{opened} times somebody got in");
        assert_eq!(store.count_transactions().await.expect("a count"), rows, "nothing was written");
        assert_eq!(wishes(&sandbox).await, mails, "and nothing changed");
        site.close().await;
        elsewhere.close().await;
    }

    /// What is not the caller's looks as if it were not there.
    async fn nobody_learns_which_accounts_there_are(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let key = signing_key(&app).await.expect("a key");
        let cookie = format!("creditd={}", visit_token(admin_of("acme", "ann@acme.example"), LATER, Purpose::Cookie, &key));
        let bearer = format!("Bearer {}", token(sandbox.store(), Made { scope: Scope::Admin, account: Some("acme"), ..ALL }).await);
        let site = Site::open(app).await;
        for route in routes().filter(|route| route.path.contains("{account}")) {
            let of = |account: &str| address(route, "").replace("acme", account);
            let mut shown = vec![("Cookie".to_owned(), cookie.clone())];
            if matches!(route.needs, Needs::Token(_) | Needs::AccountOrToken(_)) {
                shown.push(("Authorization".to_owned(), bearer.clone()));
            }
            for one in &shown {
                let headers = std::slice::from_ref(one);
                let there = ask(&site, route, &of("other"), headers, "").await;
                let gone = ask(&site, route, &of("nobody"), headers, "").await;
                assert!(!got_in(route, &there), "{route:?}");
                assert_eq!((there.status, there.body), (gone.status, gone.body), "{route:?}");
            }
        }
        site.close().await;
    }

    /// What is signed into an address opens that address, as long as it holds, and nothing else does.
    async fn a_link_opens_what_it_is_for(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let (key, another_key) = (signing_key(&app).await.expect("a key"), SigningKey::new([7; KEY_BYTES]));
        let (ann, gone) = (admin_of("acme", "ann@acme.example"), admin_of("acme", "gone@acme.example"));
        let of_none = Visitor { reach: Reach::Account(account_id("acme")), address: None };
        let link = |visitor: &Visitor, until, purpose, key: &SigningKey| visit_token(visitor.clone(), until, purpose, key);
        let right = link(&ann, LATER, Purpose::Link, &key);
        let end = |key: &SigningKey| {
            Unsubscribe { account: account_id("acme"), address: email("ann@acme.example"), wish: Wish::DailyReport }.token(key)
        };
        let enter: Vec<(&str, String, bool)> = vec![
            ("nothing", "AAAA".to_owned(), false),
            ("an expired link", link(&ann, NOW, Purpose::Link, &key), false),
            ("a cookie as a link", link(&ann, LATER, Purpose::Cookie, &key), false),
            ("a link of another ledger", link(&ann, LATER, Purpose::Link, &another_key), false),
            ("a link of an admin who was removed", link(&gone, LATER, Purpose::Link, &key), false),
            ("a link of no admin", link(&of_none, LATER, Purpose::Link, &key), false),
            ("a link that was cut", right[..right.len() - 1].to_owned(), false),
            ("the end of mails as a link", end(&key), false),
            ("a link", right.clone(), true),
            ("a link of the platform", link(&OPERATOR, LATER, Purpose::Link, &key), true),
        ];
        let ends: Vec<(&str, String, bool)> = vec![
            ("nothing", String::new(), false),
            ("a link as the end of mails", right, false),
            ("the end of mails of another ledger", end(&another_key), false),
            ("the end of mails", end(&key), true),
            ("the end of mails with what came on its way", format!("{}&utm_id=1&x=1", end(&key)), true),
            ("two ends of mails", format!("{}&t=x", end(&key)), false),
        ];
        let site = Site::open(app).await;
        let mut asked = 0;
        for route in routes().filter(|route| route.needs == Needs::Link) {
            let is_enter = route.path.contains("{token}");
            for (what, token, is_right) in if is_enter { &enter } else { &ends } {
                let path = if is_enter { route.path.replace("{token}", token) } else { format!("{}?t={token}", route.path) };
                let answer = ask(&site, route, &path, &[], "").await;
                assert_eq!(got_in(route, &answer), *is_right, "{} {what}: {} {}", route.path, answer.status, answer.body);
                assert_eq!(answer.header("set-cookie").is_some(), *is_right && is_enter && route.method == "POST", "{} {what}", route.path);
                asked += 1;
                // Another site can let nobody in under a name of its choice; mails are ended from wherever they are read.
                if route.method == "POST" {
                    let headers = [("Sec-Fetch-Site".to_owned(), "cross-site".to_owned())];
                    let answer = ask(&site, route, &path, &headers, "").await;
                    assert_eq!(got_in(route, &answer), *is_right && !is_enter, "{} {what} from another site", route.path);
                }
            }
        }
        assert_eq!(asked, 2 * (enter.len() + ends.len()));
        site.close().await;
    }
}

/// Which mails Ann gets.
async fn wishes(sandbox: &Sandbox) -> Vec<Wish> {
    let record = sandbox.store().accounts(&[account_id("acme")]).await.expect("an account").remove(0);
    Wish::ALL.iter().filter(|wish| record.admins[0].wishes(**wish)).copied().collect()
}
