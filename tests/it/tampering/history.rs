//! A ledger in which everything has happened: a row of every kind, in every table, in every state that it can have.

use crate::support::{
    Sandbox, account, account_id, attachments, end_run, instant, lapse_soon, lease_of, message, month, purchase, seal,
    take_run, usage, write_wished,
};
use creditd::app::App;
use creditd::core::access::{Reach, Scope};
use creditd::core::backfill::{Asked, Reprocess};
use creditd::core::calendar::{parse_date, parse_zone};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::delivery::Next;
use creditd::core::ids::{AccountId, ActionCode, Email, Key, Reference, UserId};
use creditd::core::ledger::{
    Adjust, Bonus, Call, Cap, Capture, Closing, Hold, MonthClosing, NewTerms, Refund, Return, Usage, Void,
};
use creditd::core::locale::Locale;
use creditd::core::outbox::{Message, NoticeKey};
use creditd::core::price::PriceVersion;
use creditd::core::run::RunState;
use creditd::core::schedule::{Job, Slot};
use creditd::core::secret::Secret;
use creditd::core::statement::Said;
use creditd::core::token::{Token, TokenHash};
use creditd::core::transaction::{Status, Transaction};
use creditd::core::webhook::{Event, EventKind, Facts, Wanted, WebhookSecret};
use creditd::jobs::{Claiming, Kit, Planned, Run, run_slot};
use creditd::store::{
    Admin, Delivery, Incident, NewAccount, NewFacts, OutboxRecord, RunId, Statements, Telling, Version, Webhook, Wrong,
};
use tokio_util::sync::CancellationToken;

/// After all of it.
pub const NOW: &str = "2013-06-20T12:10:00Z";

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn user(text: &str) -> Option<UserId> {
    Some(UserId::new(text).expect("a user"))
}

/// A charge of 7 credits each.
fn erase(key: &str, quantity: i64, by: Option<UserId>) -> Call {
    Call::Charge(Usage { quantity, user: by, ..usage("erase", key) })
}

fn hold(name: &str, quantity: i64, by: Option<UserId>, ttl_seconds: i64) -> Call {
    let action = ActionCode::new("erase").expect("a code");
    Call::Hold(Hold { key: key(name), user: by, action, quantity, ttl_seconds, comment: "for later".into() })
}

fn capture(name: &str, of: &str, credits: Option<i64>) -> Call {
    let credits = credits.map(Credits::new);
    Call::Capture(Capture { key: key(name), hold: key(of), credits, comment: String::new() })
}

fn refund(name: &str, of: &str, credits: Option<i64>) -> Call {
    let credits = credits.map(Credits::new);
    Call::Refund(Refund { key: key(name), charge: key(of), credits, comment: "it failed".into() })
}

fn cap(name: &str, of: &str, credits: Option<i64>) -> Call {
    let credits = credits.map(Credits::new);
    Call::Cap(Cap { key: key(name), user: UserId::new(of).expect("a user"), credits })
}

fn bonus(name: &str, credit_type: CreditType, credits: i64, expires_at: Option<&str>) -> Call {
    let (credits, expires_at) = (Credits::new(credits), expires_at.map(instant));
    Call::Bonus(Bonus { key: key(name), credit_type, credits, expires_at, comment: "welcome".into() })
}

fn month_call(name: &str, of: &str, reopen: bool) -> Call {
    Call::Month(MonthClosing { key: key(name), month: month(of), reopen, comment: "as agreed".into() })
}

fn closing(name: &str, reopen: bool) -> Call {
    Call::Closing(Closing { key: key(name), reopen, comment: "as asked".into() })
}

/// Makes the ledger of account `acme`, and of others with less in them.
pub async fn play(sandbox: &Sandbox) {
    let acme = open(sandbox).await;
    january(sandbox, &acme).await;
    for night in ["2013-01-11T00:10:00Z", "2013-01-25T00:10:00Z"] {
        seal(&sandbox.at(night)).await;
    }
    february(sandbox, &acme).await;
    spring(sandbox, &acme).await;
    june(sandbox, &acme).await;
}

async fn open(sandbox: &Sandbox) -> AccountId {
    let admin = |address: &str| {
        let email = Email::new(address).expect("an address");
        Admin { name: "Ann".into(), daily_report: true, lapse_soon: true, ..Admin::with_defaults(email) }
    };
    let new =
        |id: &str, zone: &str, admins| NewAccount { account: account(id, zone, "2013-01-01"), locale: None, admins };
    let accounts = [
        new("acme", "America/New_York", vec![admin("ann@acme.example"), admin("ben@acme.example")]),
        new("idle", "Asia/Kathmandu", vec![]),
        new("other", "UTC", vec![]),
    ];
    sandbox.store().open_accounts(&accounts, instant("2013-01-01T00:00:00Z")).await.expect("accounts");
    let acme = account_id("acme");
    let levels = "low=20%,exhausted=0".parse().expect("levels");
    sandbox
        .store()
        .set_account(&acme, NewFacts { levels: Some(Some(&levels)), locale: Some(Some(Locale::DeDe)), name: None })
        .await
        .expect("levels and a locale of its own");
    // One is for an account and ended in two ways, one is for the platform and for ever.
    let hash = |digit: &str| TokenHash::kept(&digit.repeat(64));
    let token = |digit, reach, expires_at: Option<&str>| Token {
        hash: hash(digit),
        name: "app".into(),
        scope: Scope::Charge,
        reach,
        created_at: instant("2013-01-01T00:00:00Z"),
        expires_at: expires_at.map(instant),
        revoked_at: None,
    };
    let of_acme = token("a", Reach::Account(acme.clone()), Some("2013-04-01T00:00:00Z"));
    for token in [&of_acme, &token("b", Reach::Platform, None)] {
        sandbox.store().add_token(token).await.expect("a token");
    }
    let revoked = sandbox.store().revoke_token(&of_acme.hash.id(), instant("2013-03-01T00:00:00Z")).await;
    assert!(revoked.expect("revoked").is_some());
    sandbox.store().note_token_use(&of_acme.hash.id(), instant("2013-02-01T00:00:00Z")).await.expect("noted");
    let poem = ActionCode::new("poem").expect("a code");
    for (at, credits) in
        [("2013-01-01T00:00:00Z", Some(2)), ("2013-02-01T00:00:00Z", Some(3)), ("2014-01-01T00:00:00Z", None)]
    {
        let version = PriceVersion { effective_from: instant(at), credits: credits.map(Credits::new) };
        sandbox.store().set_price(&poem, "Poem", "Writes a poem.", version).await.expect("a price");
    }
    acme
}

async fn january(sandbox: &Sandbox, acme: &AccountId) {
    let app = sandbox.at("2013-01-10T12:00:00Z");
    for packs in [purchase(1, "inv-1"), purchase(2, "inv-2")] {
        app.purchase(acme, &packs).await.expect("packs");
    }
    done(
        &app,
        acme,
        &[
            erase("a", 100, None), // 700 of January's 1,500
            cap("cap-ann", "ann", Some(5_000)),
            cap("cap-ben", "ben", Some(10)),
            erase("by-ann", 10, user("ann")),
            bonus("gift", CreditType::Free, 40, Some("2013-01-20T00:00:00Z")),
            bonus("thanks", CreditType::Purchased, 60, None),
            hold("held-1", 20, user("ann"), 900),
            hold("held-2", 5, None, 900),
            hold("held-3", 6, user("ann"), 60),
        ],
    )
    .await;
    for call in [
        erase("too-much", 10_000, None),
        erase("over-cap", 2, user("ben")),
        Call::Charge(Usage { status: Status::Failed, comment: "boom".into(), ..usage("erase", "failed") }),
    ] {
        let row = app.call(acme, call).await.expect("a failed row").row;
        assert_eq!(row.status, Status::Failed);
    }
    let app = sandbox.at("2013-01-10T12:05:00Z"); // held-3 has expired
    let adjust = Adjust {
        key: key("oops"),
        credit_type: CreditType::Purchased,
        credits: Credits::new(15),
        comment: "a slip".into(),
    };
    let returned = Return {
        key: key("back"),
        purchase: Key::of_purchase(&Reference::new("inv-2").expect("a reference")),
        comment: String::new(),
    };
    done(
        &app,
        acme,
        &[
            capture("cap-1", "held-1", Some(100)),
            Call::Void(Void { key: key("void-2"), hold: key("held-2"), comment: "not needed".into() }),
            refund("some", "a", Some(30)),
            refund("more", "a", Some(20)),
            refund("of-capture", "cap-1", Some(9)),
            cap("no-cap-ben", "ben", None),
            Call::Adjust(adjust),
            Call::Return(returned),
        ],
    )
    .await;
    // Across the end of the month: what is given back lapses with January.
    done(&sandbox.at("2013-02-01T04:59:00Z"), acme, &[hold("late-1", 3, None, 3_600), hold("late-2", 4, None, 3_600)])
        .await;
}

async fn february(sandbox: &Sandbox, acme: &AccountId) {
    done(&sandbox.at("2013-02-01T05:30:00Z"), acme, &[capture("late-cap", "late-1", Some(8))]).await;
    let app = sandbox.at("2013-02-10T12:00:00Z"); // late-2 has expired
    let told = |name: &str, quantity, at: &str| {
        Call::Charge(Usage { occurred_at: Some(instant(at)), quantity, user: user("ann"), ..usage("erase", name) })
    };
    done(
        &app,
        acme,
        &[
            erase("b", 250, None),                    // 1,500 of February and some purchased
            told("late", 20, "2013-01-20T12:00:00Z"), // takes a lapse of January back
            refund("too-late", "a", Some(50)),        // lapses at once
            refund("ann-too", "by-ann", Some(3)),     // counts in January for her cap
            Call::Terms(NewTerms { key: key("terms-1"), zone: None, allowance: Some(Credits::new(1_600)) }),
            Call::Terms(NewTerms { key: key("terms-2"), zone: parse_zone("Europe/Berlin").ok(), allowance: None }),
            month_call("close-1", "2013-01", false),
            month_call("reopen-1", "2013-01", true),
            told("later", 1, "2013-01-21T12:00:00Z"),
            month_call("close-1-again", "2013-01", false),
        ],
    )
    .await;
    let open = Call::Charge(Usage {
        occurred_at: Some(instant("2013-01-22T12:00:00Z")),
        post_to_open: true,
        ..usage("erase", "to-open")
    });
    done(&app, acme, &[open]).await;
}

async fn spring(sandbox: &Sandbox, acme: &AccountId) {
    let at = |now: &str| sandbox.at(now);
    job(&at("2013-03-05T12:00:00Z"), Job::Reset, RunState::Done).await;
    done(&at("2013-03-10T12:00:00Z"), acme, &[closing("pause", false)]).await;
    done(&at("2013-04-12T12:00:00Z"), acme, &[closing("go-on", true)]).await;
    done(&at("2013-04-20T12:00:00Z"), acme, &[closing("pause-2", false)]).await; // no May
    done(&at("2013-06-05T12:00:00Z"), acme, &[closing("go-on-2", true)]).await;
    let other = account_id("other");
    done(&at("2013-04-10T12:00:00Z"), &other, &[erase("x", 10, None), cap("cap-eve", "eve", Some(70))]).await;
    done(&at("2013-05-10T12:00:00Z"), &other, &[erase("y", 10, user("eve")), closing("stop", false)]).await;
}

async fn june(sandbox: &Sandbox, acme: &AccountId) {
    let spend = async |now: &str, name: &str| {
        let app = sandbox.at(now);
        let quantity = sandbox.balance(&app, acme).await.available.total().get();
        let all = Call::Charge(Usage { quantity, ..usage("translation", name) });
        done(&app, acme, &[all]).await;
    };
    spend("2013-06-10T12:00:00Z", "all").await;
    job(&sandbox.at("2013-06-10T12:01:00Z"), Job::Scan, RunState::Done).await;
    job(&sandbox.at("2013-06-10T12:02:00Z"), Job::Deliver, RunState::Done).await;
    sandbox.at("2013-06-11T12:00:00Z").purchase(acme, &purchase(1, "inv-3")).await.expect("a pack");
    job(&sandbox.at("2013-06-11T12:01:00Z"), Job::Scan, RunState::Done).await; // resolves both levels
    spend("2013-06-12T12:00:00Z", "all-again").await;
    job(&sandbox.at("2013-06-12T12:01:00Z"), Job::Scan, RunState::Done).await;
    mail(sandbox, acme).await;
    let store = sandbox.store();
    let first = (acme.clone(), month("2013-05"), Version { number: 1, said: Said::default() });
    let statements = Statements { versions: vec![first], ..Statements::default() };
    store.write_statements(&[], &statements).await.expect("what a statement said");
    let slot = |at: &str| Slot::Tick(instant(at));
    for (at, ended) in [("2013-06-12T12:05:00Z", true), ("2013-06-12T12:06:00Z", false)] {
        let id = RunId::of(Job::Verify, slot(at));
        if ended {
            let key =
                NoticeKey::job_failed(Job::Verify, instant(at), Email::new("ops@example.com").expect("an address"));
            let told = Message { attachments: attachments(), ..message(key, at) };
            let why = "no time".to_owned();
            let incident =
                Incident { job: Job::Verify, wrong: Wrong::Fails, slot: slot(at), began_at: instant(at), why };
            end_run(store, id, instant(at), Err("no time"), Some(&Telling::Begins(incident, vec![told]))).await;
        } else {
            take_run(store, id, instant(at)).await;
        }
    }
    let (accounts, reprocess) = (vec![acme.clone()], Reprocess::All);
    let day = |text| parse_date(text).expect("a day");
    let (from, to) = (day("2013-05-01"), day("2013-06-01"));
    let asked =
        Asked { job: Job::MonthlyReport, from, to, accounts, reprocess, email: false, parallel_max: 1, reverse: false };
    let may = Slot::Month(month("2013-05"), chrono_tz::UTC);
    store.create_backfill(&asked, &[may], instant("2013-06-12T12:07:00Z")).await.expect("a backfill");
    // What is open at the end: a hold by a user with a cap, and credits of both types.
    let app = sandbox.at("2013-06-20T12:00:00Z");
    app.purchase(acme, &purchase(1, "inv-4")).await.expect("a pack");
    done(
        &app,
        acme,
        &[
            bonus("sorry", CreditType::Free, 30, Some("2013-06-25T00:00:00Z")),
            hold("open", 5, user("ann"), 3_600),
            refund("back-again", "all-again", Some(11)),
        ],
    )
    .await;
}

/// A message in each state: one was tried in vain and will be tried again, one was given up and its address with it, and
/// what else may come of one.
async fn mail(sandbox: &Sandbox, acme: &AccountId) {
    let store = sandbox.store();
    let now = instant("2013-06-12T12:02:00Z");
    let record = async |records: &[OutboxRecord], outcomes: Vec<Next>| {
        assert_eq!(records.len(), outcomes.len());
        let both = records.iter().zip(outcomes);
        let delivery = |(record, next): (&OutboxRecord, Next)| Delivery {
            key: record.message.key.clone(),
            lease: "a lease".into(),
            next,
        };
        let deliveries: Vec<Delivery> = both.map(delivery).collect();
        store.record_deliveries(&deliveries, now).await.expect("recorded");
    };
    let leased = store.lease_messages(&lease_of("a lease"), now, 10, None).await.expect("messages").records;
    let again = Next::Again { error: "the disk is full".into(), at: instant("2013-06-12T13:00:00Z") };
    record(&leased, vec![again, Next::Failed { error: "no such address".into(), suppress: true }]).await;
    let gone = leased[1].message.key.recipient().as_str();
    let written = |number: u32, recipient: &str| lapse_soon(acme, number, recipient, "2013-06-12T12:02:00Z");
    let with_parts = Message {
        attachments: attachments(),
        unsubscribe_url: Some("https://credits.example/u?t=1".into()),
        ..written(90, "ann@acme.example")
    };
    let messages = [with_parts, written(91, "ann@acme.example"), written(92, gone), written(93, "bob@acme.example")];
    write_wished(store, &messages).await;
    let leased = store.lease_messages(&lease_of("a lease"), now, 10, None).await.expect("messages");
    assert_eq!(leased.suppressed, 1);
    record(&leased.records[1..2], vec![Next::Ambiguous { error: "cut".into() }]).await;
    store.cancel_message(&messages[3].key).await.expect("cancelled");

    let event = |about: &str| Event {
        account: acme.clone(),
        kind: EventKind::Low,
        about: about.into(),
        at: now,
        facts: Facts::Test { message: "low" },
    };
    let webhook = Webhook {
        id: "wh_1".into(),
        account: None,
        url: Secret::new("https://hooks.example/"),
        wanted: Wanted::default(),
        secret: WebhookSecret::new([1; 32]),
        created_at: now,
        stopped_at: None,
    };
    store.add_webhook(&webhook).await.expect("added").expect("there is room");
    assert_eq!(store.write_events(&[event("low#1"), event("low#2")], now).await.expect("written"), 2);
}

/// Does calls one by one; none of them is refused.
async fn done(app: &App, account: &AccountId, calls: &[Call]) -> Vec<Transaction> {
    let mut rows = Vec::new();
    for call in calls {
        let row = app.call(account, call.clone()).await.expect("the call is in order").row;
        let is_void = matches!(call, Call::Void(_));
        assert_eq!(row.status == Status::Failed, is_void, "{row:?}");
        rows.push(row);
    }
    rows
}

async fn job(app: &App, job: Job, expected: RunState) {
    let kit = Kit::new(app.clone()).expect("templates and a mail folder");
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    let planned = run_slot(&kit, job, Slot::Tick(app.now()), Claiming::Anyway, &mut run).await.expect("a run");
    let Planned::Ran(result) = planned else { panic!("a run that was asked for is never left out") };
    assert_eq!(result.is_ok(), expected == RunState::Done, "{result:?}");
}
