//! Webhooks against a real receiver: who is told what, once, signed, whatever the receiver does.

use crate::leases::outlast;
use crate::support::{Sandbox, both_databases, instant, lease_of, month, usage};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use creditd::app::App;
use creditd::core::calendar::Instant;
use creditd::core::ids::AccountId;
use creditd::core::ledger::Usage;
use creditd::core::schedule::{Job, Slot};
use creditd::core::secret::Secret;
use creditd::core::webhook::{EventKind, WEBHOOKS_MAX, Wanted, WebhookSecret};
use creditd::jobs::{Claiming, Done, JobError, Kit, Planned, Run, run_slot, webhooks};
use creditd::post::Posted;
use creditd::store::{EventState, HookEvent, Webhook};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What came, and what the receiver says to it.
#[derive(Clone)]
struct Receiver {
    url: String,
    came: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    says: Arc<Mutex<(StatusCode, Option<&'static str>)>>,
    /// What happens when the first comes; it waits for that.
    first: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/events", listener.local_addr().expect("an address"));
        let says = Arc::new(Mutex::new((StatusCode::OK, None)));
        let receiver = Receiver { url, came: Arc::default(), says, first: Arc::default() };
        let take = async |State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8(body.to_vec()).expect("text");
            receiver.came.lock().expect("no panic").push((headers, body));
            let first = receiver.first.lock().expect("no panic").take();
            if let Some(first) = first {
                first.await;
            }
            let (status, wait) = *receiver.says.lock().expect("no panic");
            let mut headers = HeaderMap::new();
            if let Some(wait) = wait {
                headers.insert("retry-after", wait.parse().expect("a header"));
            }
            (status, headers)
        };
        let router = Router::new().route("/events", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn says(&self, status: StatusCode, wait: Option<&'static str>) {
        *self.says.lock().expect("no panic") = (status, wait);
    }

    fn when_the_first_comes(&self, first: impl Future<Output = ()> + Send + 'static) {
        *self.first.lock().expect("no panic") = Some(first.boxed());
    }

    /// The kinds of what came since the last time, each checked against the secret.
    fn kinds(&self, secret: &WebhookSecret) -> Vec<String> {
        let came = std::mem::take(&mut *self.came.lock().expect("no panic"));
        came.iter()
            .map(|(headers, body)| {
                let header = |name: &str| headers[name].to_str().expect("text");
                let seconds = header("webhook-timestamp").parse().expect("a number");
                assert_eq!(header("webhook-signature"), secret.signature(header("webhook-id"), seconds, body));
                assert_eq!(header("content-type"), "application/json");
                let body: Value = serde_json::from_str(body).expect("JSON");
                format!(
                    "{} {}",
                    body["type"].as_str().expect("a type"),
                    body["data"]["account"].as_str().expect("an account")
                )
            })
            .collect()
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new([9; 32])
}

fn hook(id: &str, url: &str, account: Option<&AccountId>, kinds: &[EventKind]) -> Webhook {
    Webhook {
        id: id.to_owned(),
        account: account.cloned(),
        url: Secret::new(url),
        wanted: Wanted::new(kinds.to_vec()),
        secret: secret(),
        created_at: instant("2013-01-01T00:00:00Z"),
        stopped_at: None,
    }
}

fn kit(mut app: App) -> Kit {
    app.settings.webhooks.allow_private = true;
    Kit::new(app).expect("templates and a mail folder")
}

async fn tick(app: App, job: Job, slot: Slot) -> Done {
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    match run_slot(&kit(app), job, slot, Claiming::Anyway, &mut run).await.expect("recorded") {
        Planned::Ran(done) => done.expect("the job ends well"),
        Planned::Taken => panic!("it was asked for"),
    }
}

async fn scan(sandbox: &Sandbox, now: &str) {
    tick(sandbox.at(now), Job::Scan, Slot::Tick(instant(now))).await;
}

async fn post_due(kit: &Kit) -> String {
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    webhooks::run(kit, &mut run).await.expect("the job ends well").summary
}

async fn spend(app: &App, id: &AccountId, quantity: i64, key: &str) {
    let usage = Usage { quantity, ..usage("translation", key) };
    app.charge(id, &usage).await.expect("charged");
}

async fn states(sandbox: &Sandbox) -> Vec<(String, EventState, u32)> {
    let events = sandbox.store().hook_events(None, None, None, 100).await.expect("events");
    events.into_iter().map(|event| (event.webhook, event.state, event.attempts)).collect()
}

both_databases! {
    /// Each address is told what it wants of the accounts that it is for, once, however often jobs run.
    async fn what_happens_is_told_to_whoever_wants_it_once(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let beta = sandbox.open_account("beta", "UTC", "2013-01-01").await;
        let other = format!("{}?of=beta", receiver.url);
        for hook in [
            hook("wh_all", &receiver.url, None, &[]),
            hook("wh_beta", &other, Some(&beta), &[]),
            hook("wh_months", &receiver.url, None, &[EventKind::MonthReset]),
        ] {
            sandbox.store().add_webhook(&hook).await.expect("added").expect("there is room");
        }
        let now = "2013-01-10T00:00:00Z";
        spend(&sandbox.at(now), &acme, 1_300, "a").await;
        scan(&sandbox, now).await;
        scan(&sandbox, "2013-01-10T00:01:00Z").await;
        let due = kit(sandbox.at("2013-01-10T00:02:00Z"));
        assert_eq!(post_due(&due).await, "1 event posted, 0 given up");
        assert_eq!(receiver.kinds(&secret()), ["credits.low acme"]);
        assert_eq!(post_due(&due).await, "0 events posted, 0 given up");

        // All of it is gone, of both; then there is more again.
        let now = "2013-01-11T00:00:00Z";
        spend(&sandbox.at(now), &acme, 200, "b").await;
        spend(&sandbox.at(now), &beta, 1_500, "c").await;
        scan(&sandbox, now).await;
        post_due(&kit(sandbox.at(now))).await;
        let mut kinds = receiver.kinds(&secret());
        kinds.sort();
        assert_eq!(kinds, ["credits.exhausted acme", "credits.exhausted beta", "credits.exhausted beta"]);

        let now = "2013-02-01T00:20:00Z";
        scan(&sandbox, now).await;
        tick(sandbox.at(now), Job::MonthlyReport, Slot::Month(month("2013-01"), chrono_tz::UTC)).await;
        tick(sandbox.at(now), Job::MonthlyReport, Slot::Month(month("2013-01"), chrono_tz::UTC)).await;
        post_due(&kit(sandbox.at(now))).await;
        let mut kinds = receiver.kinds(&secret());
        kinds.sort();
        let of = |kind: &str, account: &str, times: usize| vec![format!("{kind} {account}"); times];
        let expected = [
            of("credits.recovered", "acme", 1),
            of("credits.recovered", "beta", 2),
            of("month.reset", "acme", 2),
            of("month.reset", "beta", 3),
            of("statement.ready", "acme", 1),
            of("statement.ready", "beta", 2),
        ];
        assert_eq!(kinds, expected.concat());
        sandbox.assert_verified().await;
    }

    /// What is not taken is posted again with growing pauses; an address that fails holds up no other.
    async fn what_is_not_taken_is_posted_again(sandbox: Sandbox) {
        let (receiver, failing) = (Receiver::start().await, Receiver::start().await);
        failing.says(StatusCode::INTERNAL_SERVER_ERROR, None);
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        for hook in [hook("wh_a", &failing.url, None, &[]), hook("wh_b", &receiver.url, None, &[])] {
            sandbox.store().add_webhook(&hook).await.expect("added").expect("there is room");
        }
        let now = "2013-01-10T00:00:00Z";
        spend(&sandbox.at(now), &acme, 1_300, "a").await;
        scan(&sandbox, now).await;
        assert_eq!(post_due(&kit(sandbox.at(now))).await, "1 event posted, 0 given up, 1 to be tried again");
        assert_eq!((receiver.kinds(&secret()).len(), failing.kinds(&secret()).len()), (1, 1));
        // Not before its time.
        assert_eq!(post_due(&kit(sandbox.at("2013-01-10T00:00:59Z"))).await, "0 events posted, 0 given up");
        failing.says(StatusCode::TOO_MANY_REQUESTS, Some("600"));
        assert_eq!(post_due(&kit(sandbox.at("2013-01-10T00:01:00Z"))).await, "0 events posted, 0 given up, 1 to be tried again");
        failing.says(StatusCode::NO_CONTENT, None);
        assert_eq!(post_due(&kit(sandbox.at("2013-01-10T00:10:59Z"))).await, "0 events posted, 0 given up", "it wanted ten minutes");
        assert_eq!(post_due(&kit(sandbox.at("2013-01-10T00:11:00Z"))).await, "1 event posted, 0 given up");
        assert_eq!(failing.kinds(&secret()).len(), 2);
        assert_eq!(states(&sandbox).await, [("wh_a".to_owned(), EventState::Sent, 3), ("wh_b".to_owned(), EventState::Sent, 1)]);
    }

    /// Whoever goes by the newest `timestamp` of an account, as the README says, is right in whatever order events arrive.
    async fn what_comes_late_says_when_it_happened(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        sandbox.store().add_webhook(&hook("wh_a", &receiver.url, None, &[])).await.expect("added").expect("there is room");
        receiver.says(StatusCode::SERVICE_UNAVAILABLE, Some("600"));
        let now = "2013-01-31T23:55:00Z";
        spend(&sandbox.at(now), &acme, 1_500, "a").await;
        scan(&sandbox, now).await;
        assert_eq!(post_due(&kit(sandbox.at(now))).await, "0 events posted, 0 given up, 1 to be tried again");
        assert_eq!(receiver.kinds(&secret()), ["credits.exhausted acme"], "it is refused");
        receiver.says(StatusCode::OK, None);
        let now = "2013-02-01T00:00:00.25Z";
        scan(&sandbox, now).await;
        post_due(&kit(sandbox.at(now))).await;
        post_due(&kit(sandbox.at("2013-02-01T00:06:00Z"))).await;
        let came = receiver.came.lock().expect("no panic").clone();
        let mut happened: Vec<(Instant, String)> = came
            .iter()
            .map(|(_, body)| serde_json::from_str::<Value>(body).expect("JSON"))
            .map(|body| (body["timestamp"].as_str().expect("a time").parse().expect("a time"), body["type"].as_str().expect("a type").to_owned()))
            .collect();
        let (recovered, exhausted) = ((instant(now), "credits.recovered".to_owned()), (instant("2013-01-31T23:55:00Z"), "credits.exhausted".to_owned()));
        assert_eq!(happened, [recovered.clone(), exhausted.clone()], "the older one comes last");
        happened.sort();
        assert_eq!(happened, [exhausted, recovered]);
    }

    /// Four days of an address that fails, then the operator; and one that wants no more.
    async fn an_event_is_given_up_after_days_and_posted_again_when_the_operator_says_so(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        receiver.says(StatusCode::BAD_GATEWAY, None);
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        sandbox.store().add_webhook(&hook("wh_a", &receiver.url, None, &[])).await.expect("added").expect("there is room");
        let begin = instant("2013-01-10T00:00:00Z");
        spend(&sandbox.at_instant(begin), &acme, 1_300, "a").await;
        scan(&sandbox, "2013-01-10T00:00:00Z").await;
        let mut now = begin;
        while states(&sandbox).await[0].1 == EventState::Pending {
            post_due(&kit(sandbox.at_instant(now))).await;
            now = now.plus_seconds(3_600);
            assert!(now < begin.plus_days(6), "it is given up");
        }
        let day = (now.micros() - begin.micros()) / 86_400_000_000;
        assert_eq!(day, 4);
        assert_eq!(sandbox.store().retry_events("wh_a", now).await.expect("again"), 1);
        // Another event waits behind it, for a reason of its own.
        receiver.says(StatusCode::SERVICE_UNAVAILABLE, None);
        spend(&sandbox.at_instant(now), &acme, 200, "b").await;
        tick(sandbox.at_instant(now), Job::Scan, Slot::Tick(now)).await;
        post_due(&kit(sandbox.at_instant(now))).await;
        receiver.says(StatusCode::GONE, None);
        post_due(&kit(sandbox.at_instant(now.plus_seconds(3_600)))).await;
        let events = sandbox.store().hook_events(None, None, None, 100).await.expect("events");
        let why: Vec<_> = events.iter().map(|event| (event.state, event.answer.as_deref())).collect();
        assert_eq!(why, [(EventState::Failed, Some("410: it wants no more")); 2]);
        let figures = sandbox.store().figures().await.expect("figures");
        assert_eq!((figures.webhooks_stopped, figures.events_failed, figures.events_waiting), (1, 2, 0));
        let now = now.plus_seconds(3_600);
        let stopped = sandbox.store().webhook("wh_a").await.expect("read").expect("it is there");
        assert_eq!(stopped.stopped_at, Some(now));
        // It is told nothing more.
        let later = "2013-02-01T00:20:00Z";
        scan(&sandbox, later).await;
        assert_eq!(states(&sandbox).await.len(), 2);
        assert!(!sandbox.store().has_webhooks().await.expect("read"));
        assert_eq!(sandbox.store().forget_events(instant(later), 10).await.expect("forgotten"), 2);
        assert!(sandbox.store().remove_webhook("wh_a").await.expect("removed"));
        assert!(!sandbox.store().remove_webhook("wh_a").await.expect("it is gone"));
    }

    /// An answer that takes longer than a lease is waited for all the same. What another has taken over is not posted.
    async fn events_in_hand_are_kept_and_what_is_anothers_is_left_alone(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        three_events(&sandbox, &receiver).await;
        let kept = Arc::new(sandbox);
        let held = Arc::clone(&kept);
        receiver.when_the_first_comes(async move {
            let taken = "UPDATE webhook_events SET lease = 'another', leased_until = 9000000000000000 WHERE kind = 'credits.exhausted'";
            held.execute(taken).await.expect("taken");
            outlast(&held, "webhook_events").await;
        });
        let mut app = kept.at("2013-02-01T00:00:00Z");
        app.settings.jobs.lease_seconds = 1;
        assert_eq!(post_due(&kit(app)).await, "2 events posted, 0 given up");
        assert_eq!(receiver.kinds(&secret()), ["credits.low acme", "credits.recovered acme"]);
        assert_eq!(states_and_leases(&kept).await, ["exhausted pending another", "low sent nobody", "recovered sent nobody"]);
    }

    /// An address that does not answer holds up no other: not what waits for that, and not what comes meanwhile.
    async fn an_address_that_does_not_answer_holds_up_no_other(sandbox: Sandbox) {
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        for hook in [hook("wh_a", &slow.url, None, &[]), hook("wh_b", &quick.url, None, &[])] {
            sandbox.store().add_webhook(&hook).await.expect("added").expect("there is room");
        }
        let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
        slow.when_the_first_comes(async move { drop(goes_on.await) });
        let mut app = sandbox.at("2013-01-12T00:00:00Z");
        (app.settings.jobs.bell_seconds, app.settings.webhooks.timeout_seconds) = (1, 30);
        let kit = kit(app);
        let low = "2013-01-10T00:00:00Z";
        spend(&sandbox.at(low), &acme, 1_300, "a").await;
        scan(&sandbox, low).await;
        let came = async |receiver: &Receiver, count: usize| {
            while receiver.came.lock().expect("no panic").len() < count {
                tokio::task::yield_now().await;
            }
        };
        let meanwhile = async {
            came(&slow, 1).await;
            came(&quick, 1).await;
            let exhausted = "2013-01-11T00:00:00Z";
            spend(&sandbox.at(exhausted), &acme, 200, "b").await;
            scan(&sandbox, exhausted).await;
            came(&quick, 2).await;
            assert_eq!(slow.kinds(&secret()), ["credits.low acme"], "it has not answered yet");
            go_on.send(()).expect("it waits");
        };
        let (posted, ()) = tokio::join!(post_due(&kit), meanwhile);
        assert_eq!(posted, "4 events posted, 0 given up");
        assert_eq!(quick.kinds(&secret()), ["credits.low acme", "credits.exhausted acme"]);
        assert_eq!(slow.kinds(&secret()), ["credits.exhausted acme"]);
    }

    /// Told to stop, it posts nothing more, and leaves what it had in hand to others.
    async fn whoever_is_to_stop_posts_nothing_more(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        three_events(&sandbox, &receiver).await;
        let stop = CancellationToken::new();
        let at_it = stop.clone();
        receiver.when_the_first_comes(async move { at_it.cancel() });
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop };
        let ran = webhooks::run(&kit(sandbox.at("2013-02-01T00:00:00Z")), &mut run).await;
        assert!(matches!(ran, Err(JobError::Stopped)), "{ran:?}");
        assert_eq!(receiver.kinds(&secret()).len(), 1, "the one that was on its way");
        assert_eq!(states_and_leases(&sandbox).await, ["exhausted pending nobody", "low sent nobody", "recovered pending nobody"]);
    }

    /// Whoever lives keeps what it has in hand, and nothing of what is another's by now or was recorded.
    async fn a_lease_of_events_is_extended_while_nobody_else_has_them(sandbox: Sandbox) {
        let store = sandbox.store();
        three_events(&sandbox, &Receiver::start().await).await;
        let now = instant("2013-02-01T00:00:00Z");
        let lease = async |name: &str, limit: usize| {
            let leased = store.lease_events(&lease_of(name), now, &[], limit).await.expect("leased");
            leased.into_iter().map(|(event, _)| event).collect::<Vec<_>>()
        };
        let mut keys: Vec<_> = lease("one", 2).await.iter().map(HookEvent::key).collect();
        keys.sort();
        let extended = async |name: &str| {
            let mut kept = store.extend_events(&lease_of(name), &keys).await.expect("extended");
            kept.sort();
            kept
        };
        assert_eq!((extended("two").await, extended("one").await), (vec![], keys.clone()));
        sandbox.execute("UPDATE webhook_events SET leased_until = 1 WHERE lease IS NOT NULL").await.expect("time has passed");
        let taken = lease("two", 1).await[0].key();
        let left: Vec<_> = keys.iter().filter(|key| **key != taken).cloned().collect();
        assert_eq!((extended("one").await, left.len()), (left, 1));
    }

    /// Any number of processes share the work; and there is an end to addresses.
    async fn an_event_is_one_process_s(sandbox: Sandbox) {
        let receiver = Receiver::start().await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        for n in 0..WEBHOOKS_MAX {
            let hook = hook(&format!("wh_{n}"), &receiver.url, None, &[]);
            sandbox.store().add_webhook(&hook).await.expect("added").expect("there is room");
        }
        let one_more = hook("wh_x", &receiver.url, None, &[]);
        assert_eq!(sandbox.store().add_webhook(&one_more).await.expect("asked"), None);
        let now = "2013-01-10T00:00:00Z";
        spend(&sandbox.at(now), &acme, 1_300, "a").await;
        scan(&sandbox, now).await;
        let (one, two) = (kit(sandbox.at(now)), kit(sandbox.second_program(instant(now)).await));
        tokio::join!(post_due(&one), post_due(&two));
        assert_eq!(receiver.kinds(&secret()).len(), WEBHOOKS_MAX);
        assert!(states(&sandbox).await.iter().all(|(_, state, attempts)| (*state, *attempts) == (EventState::Sent, 1)));
    }
}

/// Low and exhausted credits and recovery, all of which wait for one address.
async fn three_events(sandbox: &Sandbox, receiver: &Receiver) {
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let kinds = [EventKind::Low, EventKind::Exhausted, EventKind::Recovered];
    let hook = hook("wh_a", &receiver.url, None, &kinds);
    sandbox.store().add_webhook(&hook).await.expect("added").expect("there is room");
    for (now, quantity) in [("2013-01-10T00:00:00Z", 1_300), ("2013-01-11T00:00:00Z", 200)] {
        spend(&sandbox.at(now), &acme, quantity, now).await;
        scan(sandbox, now).await;
    }
    scan(sandbox, "2013-02-01T00:00:00Z").await;
}

/// What came of each kind of event, and who has it.
async fn states_and_leases(sandbox: &Sandbox) -> Vec<String> {
    let sql =
        "SELECT substr(kind, 9) || ' ' || state || ' ' || coalesce(lease, 'nobody') FROM webhook_events ORDER BY kind";
    sandbox.texts(sql).await
}

/// Whoever can add an address cannot have creditd ask machines that trust it.
#[tokio::test]
async fn nothing_private_is_posted_to_unless_the_settings_say_so() {
    let sandbox = Sandbox::new().await;
    let receiver = Receiver::start().await;
    let kit = Kit::new(sandbox.at("2013-01-10T00:00:00Z")).expect("templates and a mail folder");
    for url in [receiver.url.as_str(), "https://localhost/x", "https://[::1]/x"] {
        let posted = webhooks::test(&kit, &hook("wh_a", url, None, &[])).await.expect("a client");
        assert!(matches!(posted, Posted::Unanswered(_)), "{url}: {posted:?}");
    }
    assert_eq!(receiver.kinds(&secret()), Vec::<String>::new());
}
