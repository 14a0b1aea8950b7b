//! What pages show of statements that were sent, of ranges and of accounts that are closed, and how they say no.

use super::http::{Asked, Site};
use super::{
    NOW, OPERATOR, account_paths, admin_of, cookie, email, filled, form_token_of, platform_paths, visit_token, world,
};
use crate::access::state;
use crate::support::{Sandbox, account_id, both_databases, end_run, instant, month, usage};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{ActionCode, Key};
use creditd::core::ledger::{Adjust, Bonus, Call, Closing, Hold, MonthClosing, NewTerms, Usage};
use creditd::core::locale::Locale;
use creditd::core::schedule::{Job, Slot};
use creditd::core::signed::Purpose;
use creditd::store::{Admin, RunId};

both_databases! {
    /// Whoever may see the account sees what was sent, with the counts of actions; the links in a mail are for whom it was sent to.
    async fn a_statement_is_shown_as_it_was_sent(sandbox: Sandbox) {
        let mut app = world(&sandbox).await;
        state(&app).await;
        let later = Admin::with_defaults(email("new@acme.example"));
        sandbox.store().set_admin(&account_id("acme"), &later).await.expect("an admin");
        app.settings.web.trusted_proxy.from = vec!["127.0.0.1".parse().expect("an address")];
        let cookies = [
            (cookie(&app, admin_of("acme", "ann@acme.example")).await, true),
            (cookie(&app, admin_of("acme", "new@acme.example")).await, false),
            (cookie(&app, OPERATOR).await, false),
        ];
        let site = Site::open(app).await;
        let callers = cookies.iter().map(|(cookie, is_hers)| (("Cookie", cookie.as_str()), *is_hers));
        let path = "/accounts/acme/statements/2013-02";
        for (header, is_hers) in callers.chain([(("X-Creditd-Account", "acme"), false), (("X-Creditd-Platform", "yes"), false)]) {
            let headers = [header];
            let ask = async |path: &str| site.ask(Asked { headers: &headers, ..Asked::get(path) }).await;
            let page = ask(path).await;
            let counts = "<td>actions</td><td class=\"figure\">1</td><td class=\"figure\">1</td>";
            assert!(page.status == 200 && page.body.contains("As sent</th>") && page.body.contains(counts), "{header:?}: {}", page.body);
            assert_eq!(page.body.contains("As it was sent to you"), is_hers, "{header:?}");
            assert!(page.body.contains(&format!("href=\"{path}/sent/1\"")), "{header:?}: {}", page.body);
            let mail = ask(&format!("{path}/sent/1")).await;
            assert!(mail.status == 200 && mail.body.contains("February 2013"), "{header:?}: {}", mail.body);
            for secret in ["/enter/", "/unsubscribe?t="] {
                assert_eq!(mail.body.contains(secret), is_hers, "{header:?} {secret}");
            }
            assert_eq!(ask(&format!("{path}/sent/1/workbook")).await.status, 200, "{header:?}");
            assert_eq!(ask(&format!("{path}/sent/2")).await.status, 404, "{header:?}");
        }
        site.close().await;
    }

    async fn an_account_that_is_closed_says_so(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let ann = cookie(&app, admin_of("acme", "ann@acme.example")).await;
        let closing = Closing { key: Key::new("end").expect("a key"), reopen: false, comment: "contract ended".to_owned() };
        let says = "<p class=\"banner closed\">This account is closed: actions are refused.";
        let much = Usage { quantity: 3_800, ..usage("translation", "much") };
        app.charge(&account_id("acme"), &much).await.expect("charged");
        let site = Site::open(app.clone()).await;
        let foreseen = async || {
            let json = site.get("/embed/accounts/acme/banner.json", &ann).await.body;
            let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            ["status", "free_runs_out_at", "runs_out_at", "level"].map(|name| json[name].as_str().map(str::to_owned))
        };
        let before = foreseen().await;
        assert!(before[0].as_deref() == Some("open") && before.iter().all(Option::is_some), "{before:?}");
        assert!(!site.get("/accounts/acme", &ann).await.body.contains(says));
        app.call(&account_id("acme"), Call::Closing(closing)).await.expect("closed");
        let page = site.get("/accounts/acme", &ann).await;
        assert!(page.status == 200 && page.body.matches("This account is closed").count() == 1 && page.body.contains(says), "{}", page.body);
        assert_eq!(foreseen().await, [Some("closed".to_owned()), None, None, None]);
        site.close().await;
    }

    /// Of an account that opens later, and of days before one opened, it is said when it opens.
    async fn an_account_that_opens_later_says_when(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        sandbox.open_account("later", "UTC", "2013-05-10").await;
        let ops = cookie(&app, OPERATOR).await;
        let site = Site::open(app).await;
        let page = site.get("/accounts/later", &ops).await;
        assert!(page.status == 200 && page.body.contains(">The first month begins on 10 May 2013</h2>"), "{}", page.body);
        for (path, says, heading) in [
            ("/accounts/later/summary", "This account opens on 10 May 2013.", "March 2013"),
            ("/accounts/acme/summary?from=2012-12-01&through=2012-12-31&by=day&of=action", "This account opened on 1 January 2013.", "December 2012"),
        ] {
            let page = site.get(path, &ops).await;
            let told = format!("<h2 id=\"period\">{heading}</h2>");
            for part in [says, &told] {
                assert!(page.status == 200 && page.body.contains(part), "{part}: {}", page.body);
            }
            for part in ["0 credits", "class=\"equation\"", "Nothing was used"] {
                assert!(!page.body.contains(part), "{part}: {}", page.body);
            }
        }
        // The day on which it opens is one of its own.
        let page = site.get("/accounts/acme/summary?from=2012-12-01&through=2013-01-01", &ops).await;
        assert!(page.body.contains("1,500 credits remained at the end"), "{}", page.body);
        site.close().await;
    }

    async fn nobody_is_promised_free_credits_that_do_not_come(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let ann = cookie(&app, admin_of("acme", "ann@acme.example")).await;
        let terms = NewTerms { key: Key::new("terms").expect("a key"), zone: None, allowance: Some(Credits::ZERO) };
        let site = Site::open(app.clone()).await;
        for says in ["New free credits come on 1 April 2013, 00:00 EDT.", "The next month begins on 1 April 2013, 00:00 EDT, which brings no free credits."] {
            for path in ["/accounts/acme", "/embed/accounts/acme/banner"] {
                let page = site.get(path, &ann).await;
                assert!(page.status == 200 && page.body.contains(says), "{path}: {}", page.body);
            }
            app.call(&account_id("acme"), Call::Terms(terms.clone())).await.expect("terms of the next month");
        }
        site.close().await;
    }

    /// No free credits are promised where none come, and bonuses stand apart from what lapses with the month.
    async fn what_comes_and_what_lapses_is_said_as_it_is(sandbox: Sandbox) {
        let app = world(&sandbox).await;
        let acme = account_id("acme");
        let key = creditd::jobs::signing_key(&app).await.expect("a key");
        let ann = visit_token(admin_of("acme", "ann@acme.example"), "2013-04-20T20:00:00Z", Purpose::Cookie, &key);
        let ann = format!("creditd={ann}");
        let say = async |at: &str, path: &str| {
            let site = Site::open(sandbox.at(at)).await;
            let page = site.get(path, &ann).await;
            site.close().await;
            assert_eq!(page.status, 200, "{}", page.body);
            page.body
        };
        let page = say(NOW, "/accounts/acme").await;
        for says in [" of 1,500", "What is unused lapses on <time datetime=\"2013-04-01T04:00:00Z\"", "free credits come on 1 April 2013"] {
            assert!(page.contains(says), "{says}: {page}");
        }
        let terms = NewTerms { key: Key::new("terms").expect("a key"), zone: None, allowance: Some(Credits::ZERO) };
        app.call(&acme, Call::Terms(terms)).await.expect("from April on");
        let gift = Bonus {
            key: Key::new("kept").expect("a key"),
            credit_type: CreditType::Free,
            credits: Credits::new(1),
            expires_at: None,
            comment: "sorry".to_owned(),
        };
        let [key, later] = [Key::new("later").expect("a key"), Key::new("lapses").expect("a key")];
        let until = Some(instant("2013-06-01T04:00:00Z"));
        app.call(&acme, Call::Bonus(gift.clone())).await.expect("granted");
        app.call(&acme, Call::Bonus(Bonus { key, credits: Credits::new(250), expires_at: until, ..gift.clone() })).await.expect("granted");
        let month_end = Some(instant("2013-04-01T04:00:00Z"));
        let with_month = Bonus { key: Key::new("march").expect("a key"), credits: Credits::new(70), expires_at: month_end, ..gift.clone() };
        app.call(&acme, Call::Bonus(with_month)).await.expect("granted");
        let purchased = Bonus { key: later, credit_type: CreditType::Purchased, credits: Credits::new(80), expires_at: until, ..gift.clone() };
        app.call(&acme, Call::Bonus(purchased)).await.expect("granted");
        let page = say(NOW, "/accounts/acme").await;
        let june = "<time datetime=\"2013-06-01T04:00:00Z\">1 June 2013, 00:00 EDT</time>";
        for says in [
            "<span class=\"soft\">1,484 of the month’s 1,500; what is unused of them lapses on",
            "70 are from a bonus and lapse on <time datetime=\"2013-04-01T04:00:00Z\">1 April 2013, 00:00 EDT</time>.",
            "1 is from a bonus and never lapses.",
            &format!("250 are from a bonus and lapse on {june}."),
            &format!("80 are from a bonus and lapse on {june}."),
            "The others never lapse.",
            "1 April 2013, 00:00 EDT, which brings no free credits.",
        ] {
            assert!(page.contains(says), "{says}: {page}");
        }
        let json = say(NOW, "/embed/accounts/acme/banner.json").await;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let of_free = |bonus: &&serde_json::Value| bonus["credit_type"] == "free";
        let bonuses: Vec<i64> = json["bonuses"].as_array().expect("a list").iter().filter(of_free).filter_map(|bonus| bonus["credits"].as_i64()).collect();
        assert_eq!((json["allowance_left"].as_i64(), &json["available"]["free"]), (Some(1_484), &1_805.into()), "{json}");
        assert_eq!(bonuses, [70, 250, 1], "the first that ends first: {json}");
        let then = "2013-04-20T12:00:00Z";
        let page = say(then, "/accounts/acme").await;
        assert!(page.contains("0 of the month.") && !page.contains("free credits come on"), "{page}");
        let all = Adjust { key: Key::new("all").expect("a key"), credit_type: CreditType::Free, credits: Credits::new(251), comment: "ended".to_owned() };
        let bought = Adjust { key: Key::new("bought").expect("a key"), credit_type: CreditType::Purchased, credits: Credits::new(2_580), ..all.clone() };
        for adjust in [all, bought] {
            sandbox.at(then).call(&acme, Call::Adjust(adjust)).await.expect("taken");
        }
        let page = say(then, "/accounts/acme").await;
        for says in ["<bdi>Bonus “march” lapsed</bdi>", "This month brought none.", "are refused until credits are bought.", "Nothing is left. The next month begins on 1 May 2013, 00:00 EDT, which brings no free credits."] {
            assert!(page.contains(says), "{says}: {page}");
        }
        for false_now in ["lapses on", "come on", " of 0"] {
            assert!(!page.contains(false_now), "{false_now}: {page}");
        }
        let json = say(then, "/embed/accounts/acme/banner.json").await;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&json["allowance"], &json["next_allowance"], &json["level"]), (&0.into(), &0.into(), &"exhausted".into()), "{json}");
        assert!(json["text"].as_str().is_some_and(|text| text.ends_with("are refused until credits are bought.")), "{json}");
        // All that is there ends on a day that is known, whatever is used until then.
        let ends_at = Some(instant("2013-04-25T12:00:00Z"));
        let last = Bonus { key: Key::new("last").expect("a key"), credits: Credits::new(250), expires_at: ends_at, ..gift };
        sandbox.at(then).call(&acme, Call::Bonus(last)).await.expect("granted");
        let page = say(then, "/accounts/acme").await;
        let says = "They last until 25 April 2013, 08:00 EDT at most, when the last of them lapse. The next month begins on 1 May 2013";
        assert!(page.contains(says), "{page}");
        let some = Usage { quantity: 40, ..usage("translation", "some") };
        sandbox.at(then).charge(&acme, &some).await.expect("charged");
        let page = say(then, "/accounts/acme").await;
        let says = "At this pace the credits run out around 25 April 2013, 08:00 EDT, when the last of the bonus credits lapse, before the next month begins";
        assert!(page.contains(says), "{page}");
        sandbox.assert_verified().await;
    }

    /// Accounts with open alerts are counted once each, as they are listed, and dates are written as operators write them.
    async fn operators_read_how_many_accounts_are_low(sandbox: Sandbox) {
        let mut app = world(&sandbox).await;
        app.settings.mail.locale = Locale::EnUs;
        let ops = cookie(&app, OPERATOR).await;
        for (account, level, threshold) in [("acme", "low", 300), ("acme", "critical", 75), ("other", "low", 300)] {
            let at = app.now().micros();
            let insert = format!(
                "INSERT INTO alerts (account_id, level, crossing, threshold, opened_at, digest) VALUES ('{account}', '{level}', 1, {threshold}, {at}, 0)"
            );
            sandbox.execute(&insert).await.expect("an alert");
        }
        let site = Site::open(app).await;
        let page = site.get("/platform", &ops).await.body;
        for says in [
            "<dt>Accounts with open alerts</dt><dd><a href=\"/platform/alerts\">2</a>",
            "<span class=\"soft\">1 at or below critical</span>",
            "<span class=\"soft\">2 at or below low</span>",
            "As of March 20, 2013, 12:00\u{a0}PM UTC.",
        ] {
            assert!(page.contains(says), "{says}: {page}");
        }
        let list = site.get("/platform/alerts", &ops).await.body;
        for page in [page, list] {
            assert!(!page.contains("20 Mar") && page.matches("March 20, 2013, 12:00\u{a0}PM UTC</time>").count() == 2, "{page}");
        }
        site.close().await;
    }

    /// From the new key on, what was signed before lets nobody in; mails are ended by their links as before.
    async fn all_visits_are_ended_at_once(sandbox: Sandbox) {
        use creditd::jobs::{signing_key, visit_key};
        let app = world(&sandbox).await;
        let before = visit_key(&app).await.expect("a key");
        let to_end_mails = signing_key(&app).await.expect("a key");
        assert!(before == to_end_mails, "there is one key at first");
        let link = visit_token(OPERATOR, "2013-03-20T20:00:00Z", Purpose::Link, &before);
        let ops = cookie(&app, OPERATOR).await;
        for bytes in [[1; 32], [2; 32]] {
            sandbox.store().renew_visit_key(bytes).await.expect("renewed");
            assert!(visit_key(&app).await.expect("a key") == creditd::core::signed::SigningKey::new(bytes));
        }
        assert!(signing_key(&app).await.expect("a key") == to_end_mails);
        let site = Site::open(app.clone()).await;
        assert_eq!(site.get("/platform", &ops).await.status, 403);
        assert_eq!(site.ask(Asked::get(&format!("/enter/{link}"))).await.status, 403);
        let key = visit_key(&app).await.expect("a key");
        let link = visit_token(OPERATOR, "2013-03-20T20:00:00Z", Purpose::Link, &key);
        assert_eq!(site.ask(Asked::get(&format!("/enter/{link}"))).await.status, 200);
        site.close().await;
        sandbox.assert_verified().await;
    }
}

/// Ranges are told in the days that were typed, and days that lie ahead are left to files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_shown_as_far_as_it_has_come() {
    let sandbox = Sandbox::new().await;
    let app = world(&sandbox).await;
    let ann = cookie(&app, admin_of("acme", "ann@acme.example")).await;
    let site = Site::open(app).await;
    let month = site.get("/accounts/acme/summary", &ann).await;
    let table = month.body.split("<table class=\"periods\">").nth(1).and_then(|rest| rest.split("</table>").next());
    let days = table.expect("a table").matches("<tr class=\"first\">").count();
    assert_eq!((days, &NOW[..10]), (20, "2013-03-20"), "{}", month.body);
    for page in ["summary", "transactions"] {
        let asked = format!("/accounts/acme/{page}?from=2013-03-09&through=2013-03-05");
        let told = site.get(&asked, &ann).await;
        let says = "The last day, 2013-03-05, is before the first, 2013-03-09";
        assert!(told.status == 400 && told.body.contains(says), "{}", told.body);
    }
    let nothing = "/accounts/acme/summary/export?from=2013-02-01&through=2013-02-02&by=range&of=user&form=png";
    let told = site.get(nothing, &ann).await;
    assert!(
        told.status == 422 && told.body.contains("nothing was consumed") && !told.body.contains("--"),
        "{}",
        told.body
    );
    site.close().await;
}

/// Rows of ours name their month in words, and a count stands before the action.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_the_log_are_worded() {
    let sandbox = Sandbox::new().await;
    let app = world(&sandbox).await;
    let acme = account_id("acme");
    let hold = Hold {
        key: Key::new("batch").expect("a key"),
        user: None,
        action: ActionCode::new("text-to-image").expect("an action"),
        quantity: 20,
        ttl_seconds: 60,
        comment: String::new(),
    };
    let (key, comment) = (Key::new("close").expect("a key"), "late usage had its time".to_owned());
    let closing = MonthClosing { key, month: month("2013-02"), reopen: false, comment };
    for call in [Call::Hold(hold), Call::Month(closing)] {
        app.call(&acme, call).await.expect("done");
    }
    let ann = cookie(&app, admin_of("acme", "ann@acme.example")).await;
    let site = Site::open(app).await;
    let log = site.get("/accounts/acme/transactions", &ann).await.body;
    for says in [
        "Held: 20 × <bdi>Text to image</bdi>",
        "<bdi>February 2013 closed</bdi>",
        "<bdi>March 2013</bdi>",
        "<bdi>February 2013 lapsed</bdi>",
    ] {
        assert!(log.contains(says), "{says}: {log}");
    }
    assert!(!log.contains("free:20"), "{log}");
    let before = site.get("/accounts/acme/summary?from=2012-01-01&through=2012-12-31&by=month", &ann).await;
    assert!(before.status == 200 && !before.body.contains("Period by period"), "a table of blanks: {}", before.body);
    let statement = site.get("/accounts/acme/statements/2013-01", &ann).await.body;
    let remaining = "<th scope=\"row\">Remaining</th><td>free</td><td class=\"figure\">0</td>";
    assert!(statement.contains(remaining), "{statement}");
    site.close().await;
}

/// What operators read of jobs says why they fail and since when, and what brings back what was missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_operators_says_why_and_what_to_do() {
    let sandbox = Sandbox::new().await;
    let mut app = world(&sandbox).await;
    let ops = cookie(&app, OPERATOR).await;
    let store = sandbox.store();
    for (at, ended) in [("2013-03-19T03:30:00Z", Ok(())), ("2013-03-20T03:30:00Z", Err("acme: 1500, is 1499."))] {
        let (id, at) = (RunId::of(Job::Verify, Slot::Tick(instant(at))), instant(at));
        assert!(store.begin_run(id, at).await.expect("a run"));
        end_run(store, id, at, ended, None).await;
    }
    app.settings.cron.dir = Some(sandbox.path("cron"));
    std::fs::create_dir(sandbox.path("cron")).expect("a folder");
    let monthly = std::fs::read_to_string("cron/monthly-report.toml").expect("a schedule");
    let short = monthly.replace("window_days = 400", "window_days = 40");
    assert!(monthly != short, "{monthly}");
    std::fs::write(sandbox.path("cron/monthly-report.toml"), short).expect("written");
    let site = Site::open(app).await;
    let page = site.get("/platform", &ops).await.body;
    for says in [
        "The job verify has failed since 20 March 2013, 03:30 UTC: acme: 1500, is 1499. creditd verify shows all differences, and changes nothing.",
        "<span class=\"state failing\">failing</span> <span class=\"soft\">since 20 March 2013, 03:30 UTC</span>",
        // Nobody was there in December.
        "monthly-report: one missed slot is older than the window of 40 days, and nothing runs that by itself. creditd backfill create --job \
         monthly-report --from 2013-01 --to 2013-02 --dry-run shows what would be run; creditd backfill create --job monthly-report --from 2013-01 \
         --to 2013-02 --email runs that, and writes its mails.",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    site.close().await;
}

/// What is misspelt or said twice is refused by name: passed over, it would show or change something else than was meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_misspelt_or_said_twice_is_refused() {
    let sandbox = Sandbox::new().await;
    let app = world(&sandbox).await;
    let (ann, ops) = (cookie(&app, admin_of("acme", "ann@acme.example")).await, cookie(&app, OPERATOR).await);
    let site = Site::open(app).await;
    let twice = |name: &str| format!("The name “{name}” stands in the address more than once");
    for (cookie, path, says) in [
        (&ann, "/accounts/acme/transactions?user=ann&user=bob", twice("user")),
        (&ann, "/accounts/acme/transactions/export?form=csv&form=xlsx", twice("form")),
        (&ann, "/accounts/acme/summary?by=day&by=", twice("by")),
        (
            &ann,
            "/accounts/acme/transactions?status=done",
            "There is no status “done”; there are succeeded, failed and refused.".to_owned(),
        ),
        (
            &ann,
            "/accounts/acme/transactions?type=paid",
            "There is no type “paid”; there are free, purchased, mixed and none.".to_owned(),
        ),
        (&ops, "/platform/accounts?q=a&q=b", twice("q")),
        (&ops, "/platform/alerts?at=1&at=2&after=acme", twice("at")),
        (&ops, "/platform/alerts?q=a", "Nothing can be asked by the name “q” in the address.".to_owned()),
    ] {
        let told = site.get(path, cookie).await;
        assert!(told.status == 400 && told.body.contains(&says), "{path}: {}", told.body);
    }
    assert_eq!(site.get("/accounts/acme/transactions?utm_id=1&utm_id=2", &ann).await.status, 200);
    // Where nothing can be asked, a name is none either, and whoever sees nothing there is told that.
    let by_name = "Nothing can be asked by the name “as_of” in the address";
    for (path, cookie) in account_paths().map(|path| (path, &ann)).chain(platform_paths().map(|path| (path, &ops))) {
        let path = format!("{}?as_of=2013-03-01", filled(path, "acme"));
        let told = site.get(&path, cookie).await;
        assert!(told.status == 400 && told.body.contains(by_name), "{path}: {} {}", told.status, told.body);
        assert_eq!(site.get(&path.replace("/acme", "/other"), &ann).await.status, 404, "{path}");
        assert_eq!(site.ask(Asked::get(&path)).await.status, 403, "{path}");
    }
    assert_eq!(site.get("/accounts/acme?utm_id=1&utm_id=2", &ann).await.status, 200);
    let unused = site.get("/accounts/acme/transactions?from=2013-03-01&usr=x", &ann).await;
    assert!(unused.status == 400 && !unused.body.contains("No transaction passes"), "{}", unused.body);

    let path = "/accounts/acme/notifications";
    let token = form_token_of(&site.get(path, &ann).await).expect("a form").to_owned();
    let (strayed, form) = (format!("{path}?as_of=2013-03-01"), format!("token={token}"));
    let told = site.ask(Asked { method: "POST", cookie: Some(&ann), body: &form, ..Asked::get(&strayed) }).await;
    assert!(
        told.status == 400 && told.body.contains(by_name) && told.body.contains("Nothing was changed"),
        "{}",
        told.body
    );
    for (fields, says) in [
        ("dayly-report=yes", "There are no mails called “dayly-report”; there are alerts,"),
        ("alerts=no", "“no” is no answer for alerts: that is yes, or is left out."),
        ("alerts=yes&alerts=yes", "The form says “alerts” more than once."),
    ] {
        let body = format!("token={token}&{fields}");
        let told = site.ask(Asked { method: "POST", cookie: Some(&ann), body: &body, ..Asked::get(path) }).await;
        assert!(told.status == 400 && told.body.contains(says), "{fields}: {}", told.body);
    }
    let record = sandbox.store().accounts(&[account_id("acme")]).await.expect("an account").remove(0);
    assert_eq!(record.admins, [Admin::with_defaults(email("ann@acme.example"))]);
    site.close().await;
}

/// Whoever opens an address another way than it is meant gets a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_opened_another_way_is_answered_by_a_page() {
    let sandbox = Sandbox::new().await;
    let app = world(&sandbox).await;
    let ops = cookie(&app, OPERATOR).await;
    let site = Site::open(app).await;
    let to_leave = site.get("/leave", &ops).await;
    assert_eq!((to_leave.status, to_leave.header("location")), (303, Some("/platform")));
    assert!(form_token_of(&site.get("/platform", &ops).await).is_some(), "where the button is");
    let nobody = site.ask(Asked::get("/leave")).await;
    assert!(nobody.status == 403 && nobody.body.contains("This page opens by a link"), "{}", nobody.body);
    let other = site.ask(Asked { method: "POST", cookie: Some(&ops), ..Asked::get("/platform") }).await;
    assert_eq!((other.status, other.header("allow")), (405, Some("GET,HEAD")));
    assert!(other.body.contains("This page is opened another way"), "{}", other.body);
    // Jobs that look often and find nothing to do wait for nothing.
    let platform = site.get("/platform", &ops).await;
    for job in ["expire-holds", "webhooks"] {
        let row = platform
            .body
            .split(&format!("<th scope=\"row\">{job}</th>"))
            .nth(1)
            .and_then(|rest| rest.split("</tr>").next());
        assert!(row.is_some_and(|row| row.matches("<td class=\"figure\">0</td>").count() == 2), "{row:?}");
    }
    site.close().await;
}
