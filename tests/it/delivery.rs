//! The job `deliver` against a mail server in this process: what becomes of messages, whatever the server does.

use crate::support::smtp::{At, Does, Manner, SmtpServer};
use crate::support::{
    Sandbox, alert, attachments, both_databases, instant, lapse_soon, message, statement, write_wished,
};
use creditd::app::App;
use creditd::config::TransportKind;
use creditd::core::calendar::Instant;
use creditd::core::delivery::{Fault, Tls};
use creditd::core::ids::{AccountId, Email};
use creditd::core::outbox::{Mailbox, Message, NoticeKey, NoticeKind, OutboxState};
use creditd::core::run::{Batch, Run as SharedRun, RunState, Take};
use creditd::core::schedule::{Job, Slot};
use creditd::core::secret::Secret;
use creditd::jobs::{Claiming, Done, JobError, Kit, Planned, Run, deliver, run_slot};
use creditd::mail::{Mailer, SmtpMailer, SmtpOptions};
use creditd::store::{OutboxRecord, RunId, Wrong};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const WRITTEN: &str = "2013-02-01T12:00:00Z";
const LONG: Duration = Duration::from_secs(60);

pub fn options(port: u16) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        ca_file: None,
        connections: 3,
        timeout: LONG,
        idempotency_header: None,
    }
}

/// What jobs work with, whose mail goes to a server.
pub fn kit_with(app: App, options: SmtpOptions) -> Kit {
    let address = Email::new("credits@platform.example").expect("an address");
    let mailer = SmtpMailer::new(options, Mailbox { name: "AI credits".into(), address }).expect("a mailer");
    let mut kit = Kit::new(app).expect("templates and a mail folder");
    kit.mailer = Mailer::Smtp(Arc::new(mailer));
    kit
}

fn kit(app: App, server: &SmtpServer) -> Kit {
    kit_with(app, options(server.port))
}

/// Runs the job.
pub async fn run(kit: &Kit, dry_run: bool) -> Result<Done, JobError> {
    let mut run = Run { dry_run, progress: &mut |_, _| {}, stop: CancellationToken::new() };
    deliver::run(kit, &mut run).await
}

async fn summary(kit: &Kit) -> String {
    run(kit, false).await.expect("the job ends well").summary
}

/// A server whose sessions go as is said when they begin.
async fn changing(first: Manner) -> (Arc<Mutex<Manner>>, SmtpServer) {
    let manner = Arc::new(Mutex::new(first));
    let says = Arc::clone(&manner);
    (manner, SmtpServer::start(move |_| says.lock().expect("a lock").clone()).await)
}

/// How many recipients it was asked for.
fn rcpts(server: &SmtpServer) -> usize {
    server.commands().iter().filter(|line| line.starts_with("RCPT")).count()
}

fn operator(address: &str) -> Mailbox {
    Mailbox { name: String::new(), address: Email::new(address).expect("an address") }
}

pub async fn open_and_write(sandbox: &Sandbox, messages: impl FnOnce(&AccountId) -> Vec<Message>) -> Vec<NoticeKey> {
    let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let messages = messages(&acme);
    write_wished(sandbox.store(), &messages).await;
    messages.into_iter().map(|message| message.key).collect()
}

async fn find(sandbox: &Sandbox, key: &NoticeKey) -> OutboxRecord {
    sandbox.store().message(key).await.expect("read").expect("it is there")
}

both_databases! {
    /// Two processes at once, with hundreds of messages: each is delivered by one of them.
    async fn any_number_of_processes_share_the_work(sandbox: Sandbox) {
        let server = SmtpServer::start(|_| Manner::default()).await;
        open_and_write(&sandbox, |acme| {
            let with = |message: Message| Message { attachments: attachments(), ..message };
            (1..=330).map(|n| with(lapse_soon(acme, n, "ann@acme.example", WRITTEN))).collect()
        })
        .await;
        let other = sandbox.second_program(instant(WRITTEN)).await;
        let kits = [kit(sandbox.at(WRITTEN), &server), kit(other, &server)];
        let [one, two] = &kits;
        let (one, two) = tokio::join!(run(one, false), run(two, false));
        let sent = one.expect("done").lines.len() + two.expect("done").lines.len();
        assert_eq!((sent, server.taken().len()), (330, 330));
        let ids: BTreeSet<_> = server.taken().iter().map(|taken| taken.header("Message-ID")).collect();
        assert_eq!(ids.len(), 330);
        let left = sandbox.store().messages(None, Some(OutboxState::Pending), 1).await.expect("messages");
        assert_eq!(left, []);
        assert!(server.sessions() <= 6, "{} sessions of two times three", server.sessions());
        sandbox.assert_verified().await;
    }

    async fn what_failed_for_now_is_tried_again_with_growing_pauses_and_given_up_after_four_days(sandbox: Sandbox) {
        let server = SmtpServer::start(|_| Manner::wrong(At::Rcpt, Does::Say("450 4.2.0 <ann@acme.example> later\r\n"))).await;
        let keys = open_and_write(&sandbox, |acme| vec![statement(acme, "ann@acme.example", WRITTEN)]).await;
        let kit = kit(sandbox.at(WRITTEN), &server);
        let done = run(&kit, true).await.expect("a plan");
        assert_eq!((done.summary.as_str(), server.sessions()), ("1 message to deliver now", 0));
        assert_eq!(done.lines, [format!("deliver {}", keys[0].name())]);
        let mut now = instant(WRITTEN);
        let mut waits = Vec::new();
        loop {
            let done = run(&kit.at(sandbox.at_instant(now)), false).await.expect("the job ends well");
            let record = find(&sandbox, &keys[0]).await;
            if record.state == OutboxState::Failed {
                assert_eq!(done.summary, "0 messages delivered, 1 failed");
                break;
            }
            assert_eq!(done.summary, "0 messages delivered, 0 failed, 1 to be tried again");
            assert!(done.problems[0].what.starts_with(&format!("{}: the mail server refused while naming the recipient: 450 4.2.0 (address) later", keys[0].name())), "{:?}", done.problems);
            waits.push((record.due_at.micros() - now.micros()) / 60_000_000);
            assert_eq!(summary(&kit.at(sandbox.at_instant(record.due_at.plus_micros(-1)))).await, "0 messages delivered, 0 failed");
            now = record.due_at;
        }
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        let days = (now.micros() - instant(WRITTEN).micros()) / 86_400_000_000;
        assert_eq!((days, waits.len()), (4, 101));
        sandbox.assert_verified().await;
    }
}

both_databases! {
    /// A server that refuses everybody suppresses nobody, whatever it says, and is asked little until it takes a message.
    async fn a_server_that_refuses_everybody_is_not_believed(sandbox: Sandbox) {
        for (round, refusal) in [(0, "550 5.1.1 who?\r\n"), (1, "554 5.7.1 relay access denied\r\n")] {
            let begin = instant(WRITTEN).plus_days(round);
            let (manner, server) = changing(Manner::wrong(At::Rcpt, Does::Say(refusal))).await;
            let acme = sandbox.open_account(&format!("acme{round}"), "UTC", "2013-01-01").await;
            let to = |n: u32| alert(&acme, n, &format!("a{n}.{round}@acme{}.example", n % 3), &begin.to_string());
            let messages: Vec<Message> = (1..=40).map(to).collect();
            write_wished(sandbox.store(), &messages).await;
            let kit = kit(sandbox.at_instant(begin), &server);
            let error = run(&kit, false).await.expect_err("it refuses everybody");
            assert!(matches!(error, JobError::NotDelivered { fault: Fault::Settings, .. }), "{error}");
            let said = error.to_string();
            assert!(said.starts_with("the mail server refuses everybody: "), "{said}");
            assert!(said.contains(refusal.trim_end()) && said.contains("0 messages delivered, 0 failed, "), "{said}");
            assert!(kit.mail_rests_until().is_some(), "it is left alone");
            let at = |seconds| kit.at(sandbox.at_instant(begin.plus_seconds(seconds)));
            // The next in line is asked for, in case the first ones were to blame.
            let before = rcpts(&server);
            run(&at(30), false).await.expect_err("it still refuses everybody");
            assert!(before < 10 && rcpts(&server) - before < 5, "{before} and {} asked", rcpts(&server));
            for message in &messages {
                assert_eq!(find(&sandbox, &message.key).await.state, OutboxState::Pending);
            }
            assert_eq!(sandbox.store().suppressions(10).await.expect("the list"), []);
            *manner.lock().expect("a lock") = Manner::default();
            let first = run(&at(60), false).await.expect("done").lines.len();
            let second = run(&at(600), false).await.expect("done").lines.len();
            assert_eq!((first + second, server.taken().len()), (40, 40));
        }
        sandbox.assert_verified().await;
    }

    /// Where messages come one by one, nobody can know until several have: what was believed by then is taken back.
    async fn what_was_believed_of_a_server_that_refuses_everybody_is_taken_back(sandbox: Sandbox) {
        let (manner, server) = changing(Manner::default()).await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let kit = kit(sandbox.at(WRITTEN), &server);
        let at = |minute: i64| kit.at(sandbox.at_instant(instant(WRITTEN).plus_seconds(60 * minute)));
        let write = async |minute: i64, name: &str| {
            let at = instant(WRITTEN).plus_seconds(60 * minute);
            let number = u32::try_from(minute).expect("few") + 1;
            let message = lapse_soon(&acme, number, &format!("{name}@{name}.example"), &at.to_string());
            write_wished(sandbox.store(), std::slice::from_ref(&message)).await;
            message.key
        };
        write(0, "well").await;
        assert_eq!(summary(&at(0)).await, "1 message delivered, 0 failed");
        *manner.lock().expect("a lock") = Manner::wrong(At::Rcpt, Does::Say("550 5.1.1 who?\r\n"));
        let mut keys = Vec::new();
        for (minute, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
            keys.push(write(minute, name).await);
            assert_eq!(summary(&at(minute)).await, "0 messages delivered, 1 failed");
        }
        keys.push(write(5, "a").await);
        assert_eq!(summary(&at(5)).await, "0 messages delivered, 0 failed, 1 to suppressed addresses");
        assert_eq!(sandbox.store().suppressions(10).await.expect("the list").len(), 4);
        sandbox.store().suppress(&Email::new("no@acme.example").expect("an address"), "asked to", instant(WRITTEN)).await.expect("new");

        keys.push(write(6, "e").await);
        let error = run(&at(6), false).await.expect_err("it refuses everybody").to_string();
        assert!(error.starts_with("the mail server refuses everybody: "), "{error}");
        for key in &keys {
            assert_eq!(find(&sandbox, key).await.state, OutboxState::Pending);
        }
        let list = sandbox.store().suppressions(10).await.expect("the list");
        assert_eq!(list.iter().map(|s| s.address.as_str()).collect::<Vec<_>>(), ["no@acme.example"]);
        sandbox.assert_verified().await;

        // It is known by another process, too, which believes nothing.
        keys.push(write(30, "f").await);
        let other = kit_with(sandbox.at_instant(instant(WRITTEN).plus_seconds(60 * 30)), options(server.port));
        run(&other, false).await.expect_err("it refuses everybody");
        assert_eq!(sandbox.store().suppressions(10).await.expect("the list").len(), 1);
        *manner.lock().expect("a lock") = Manner::default();
        assert_eq!(summary(&at(100)).await, "7 messages delivered, 0 failed");
        // From now on it is believed.
        *manner.lock().expect("a lock") = Manner::wrong(At::Rcpt, Does::Say("550 5.1.1 who?\r\n"));
        write(101, "g").await;
        assert_eq!(summary(&at(101)).await, "0 messages delivered, 1 failed");
        assert_eq!(sandbox.store().suppressions(10).await.expect("the list").len(), 2);
        sandbox.assert_verified().await;
    }

    /// What it takes for operators about the very incident says nothing of anybody else, in that run or a later one.
    async fn what_a_server_takes_for_operators_is_no_sign_that_it_takes_mail(sandbox: Sandbox) {
        let (manner, server) = changing(Manner::wrong(At::Rcpt, Does::Say("550 5.1.1 who?\r\n"))).await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let to = |n: u32| alert(&acme, n, &format!("a@a{n}.example"), WRITTEN);
        let messages: Vec<Message> = (1..=8).map(to).collect();
        write_wished(sandbox.store(), &messages).await;
        let kit = kit(sandbox.at(WRITTEN), &server);
        let at = |minute: i64| kit.at(sandbox.at_instant(instant(WRITTEN).plus_seconds(60 * minute)));
        run(&at(0), false).await.expect_err("it refuses everybody");
        let key = NoticeKey::job_failed(Job::Deliver, instant(WRITTEN), Email::new("ops@example.com").expect("an address"));
        sandbox.store().write_messages(&[message(key, WRITTEN)]).await.expect("written");
        manner.lock().expect("a lock").but_for = Some("ops@example.com");
        for minute in [2, 5, 10] {
            run(&at(minute), false).await.expect_err("it refuses everybody else");
        }
        assert_eq!(server.taken().len(), 1);
        assert_eq!(sandbox.store().suppressions(10).await.expect("the list"), []);
        for message in &messages {
            assert_eq!(find(&sandbox, &message.key).await.state, OutboxState::Pending);
        }
        // That it takes the news of its own refusals ends nothing while others wait.
        assert!(run(&at(11), false).await.map_or(true, |done| done.proves_nothing));
        sandbox.assert_verified().await;
    }

    /// What a server says to a few, and not to everybody, holds up nobody else, and is given up in the end.
    async fn a_few_recipients_who_are_refused_hold_up_nobody_else(sandbox: Sandbox) {
        for (round, says) in ["421 4.7.0 too many for you\r\n", "535 5.7.8 log in\r\n"].into_iter().enumerate() {
            let manner = Manner { only_for: Some("odd"), ..Manner::wrong(At::Rcpt, Does::Say(says)) };
            let server = SmtpServer::start(move |_| manner.clone()).await;
            let acme = sandbox.open_account(&format!("acme{round}"), "UTC", "2013-01-01").await;
            // Those that are refused come first. Of the ones that are refused for good there are fewer than make a server doubted.
            let odd = if round == 0 { 12 } else { 4 };
            let to = |n: u32| {
                let name = if n <= odd { "odd" } else { "even" };
                let at = instant(WRITTEN).plus_micros(n.into());
                alert(&acme, n, &format!("{name}{n}@acme{round}.example"), &at.to_string())
            };
            let messages: Vec<Message> = (1..=40).map(to).collect();
            write_wished(sandbox.store(), &messages).await;
            let kit = kit(sandbox.at(WRITTEN), &server);
            let mut now = instant(WRITTEN).plus_seconds(1);
            while server.taken().len() < 40 - odd as usize {
                assert!(now < instant(WRITTEN).plus_seconds(3_600), "{} of {} in an hour", server.taken().len(), 40 - odd);
                let done = run(&kit.at(sandbox.at_instant(now)), false).await;
                assert!(done.is_ok() || says.starts_with("421"), "{done:?}");
                now = now.plus_seconds(60);
            }
            for message in &messages[..odd as usize] {
                let record = find(&sandbox, &message.key).await;
                let expected = if round == 0 { OutboxState::Pending } else { OutboxState::Failed };
                assert!(record.attempts > 0 && record.state == expected, "{record:?}");
            }
            assert_eq!(sandbox.store().suppressions(10).await.expect("the list"), []);
        }
        sandbox.assert_verified().await;
    }

    /// A customer who is gone is no reason to doubt the server: up to a number of addresses of one domain are believed to be dead.
    async fn many_dead_addresses_of_one_domain_are_believed(sandbox: Sandbox) {
        let server = SmtpServer::start(|_| Manner::wrong(At::Rcpt, Does::Say("550 5.1.1 who?\r\n"))).await;
        let keys = open_and_write(&sandbox, |acme| (1..=8).map(|n| alert(acme, n, &format!("a{n}@gone.example"), WRITTEN)).collect()).await;
        let kit = kit(sandbox.at(WRITTEN), &server);
        assert_eq!(summary(&kit).await, "0 messages delivered, 8 failed");
        assert_eq!(sandbox.store().suppressions(10).await.expect("the list").len(), keys.len());
        sandbox.assert_verified().await;
    }

    /// Runs that take nothing from the outbox, because all of it waits for its next try, say nothing of the server.
    async fn an_outage_of_the_mail_server_is_one_incident(sandbox: Sandbox) {
        let (manner, server) = changing(Manner::wrong(At::Rcpt, Does::Close)).await;
        open_and_write(&sandbox, |acme| (1..=3).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
        let at = |now: &str| {
            let mut app = sandbox.at(now);
            app.settings.mail.operators = vec![operator("ops@example.com")];
            kit(app, &server)
        };
        let deliver = async |now: &str| -> String {
            let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
            let slot = Slot::Tick(instant(now));
            match run_slot(&at(now), Job::Deliver, slot, Claiming::Anyway, &mut run).await.expect("recorded") {
                Planned::Ran(Ok(done)) => done.summary,
                Planned::Ran(Err(error)) => error.to_string(),
                Planned::Taken => panic!("a run that was asked for is never left out"),
            }
        };
        let said = deliver("2013-02-01T12:00:00Z").await;
        assert!(said.contains("0 messages delivered, 0 failed, 3 to be tried again"), "{said}");
        // The operator's own message, and then nothing, is due.
        let refusing = Manner::wrong(At::Rcpt, Does::Say("452 4.3.1 no space\r\n"));
        *manner.lock().expect("a lock") = refusing;
        for (now, summary) in [
            ("2013-02-01T12:00:20Z", "0 messages delivered, 0 failed, 1 to be tried again"),
            ("2013-02-01T12:00:30Z", "0 messages delivered, 0 failed"),
            ("2013-02-01T12:01:00Z", "0 messages delivered, 0 failed, 3 to be tried again"),
            ("2013-02-01T12:01:10Z", "0 messages delivered, 0 failed"),
        ] {
            assert_eq!(deliver(now).await, summary, "{now}");
            let incident = sandbox.store().incident(Job::Deliver, Wrong::Fails).await.expect("an answer");
            assert_eq!(incident.expect("it goes on").began_at, instant(WRITTEN), "{now}");
        }
        *manner.lock().expect("a lock") = Manner::default();
        // What it takes for operators is no sign that it takes the rest.
        assert_eq!(deliver("2013-02-01T12:01:20Z").await, "1 message delivered, 0 failed");
        assert!(sandbox.store().incident(Job::Deliver, Wrong::Fails).await.expect("an answer").is_some());
        assert_eq!(deliver("2013-02-01T12:03:00Z").await, "3 messages delivered, 0 failed");
        assert_eq!(sandbox.store().incident(Job::Deliver, Wrong::Fails).await.expect("an answer"), None);
        assert_eq!(deliver("2013-02-01T12:03:10Z").await, "1 message delivered, 0 failed");
        let all = sandbox.store().messages(None, None, 100).await.expect("the outbox");
        let mut told: Vec<_> = all.iter().map(|record| &record.message.key).filter(|key| key.account().is_none()).collect();
        told.sort();
        assert_eq!(told.iter().map(|key| key.kind()).collect::<Vec<_>>(), [NoticeKind::JobFailed, NoticeKind::JobWell]);
        sandbox.assert_verified().await;
    }
}

both_databases! {
    /// However long a delivery takes, it is its process's while that lives. Where another has taken it over all the same, what was
    /// delivered is recorded, and nothing else is written of the run.
    async fn a_long_delivery_stays_its_processes(sandbox: Sandbox) {
        let server = SmtpServer::start(|_| Manner::wrong(At::Rcpt, Does::Tell)).await;
        let keys = open_and_write(&sandbox, |acme| vec![alert(acme, 1, "ann@acme.example", WRITTEN)]).await;
        let mut app = sandbox.at(WRITTEN);
        app.settings.jobs.lease_seconds = 1;
        let kit = kit_with(app, SmtpOptions { timeout: Duration::from_secs(3), ..options(server.port) });
        let id = RunId::of(Job::Deliver, Slot::Tick(instant(WRITTEN)));
        let until = async || {
            let runs = sandbox.store().runs(Some(Job::Deliver), None, 1).await.expect("runs");
            runs[0].run.holders().map(|(_, until)| until).collect::<Vec<_>>()
        };
        let watch = async {
            server.told().await;
            let first = until().await;
            while until().await == first {
                tokio::task::yield_now().await;
            }
            let take = |run: &mut SharedRun, clock: Instant| (run.take("another", clock.plus_seconds(60), 60), None);
            sandbox.store().change_run(id, take).await.expect("a run").expect("it is there")
        };
        let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop: CancellationToken::new() };
        let (ran, taken) = tokio::join!(run_slot(&kit, Job::Deliver, id.slot, Claiming::Anyway, &mut run), watch);
        assert!(matches!(taken, Take::Batch(Batch { term: 2, .. })), "{taken:?}");
        let Planned::Ran(Ok(done)) = ran.expect("recorded") else { panic!("it went on to its end") };
        assert_eq!(done.summary, "0 messages delivered, 0 failed, 1 to be tried again");
        assert_eq!(find(&sandbox, &keys[0]).await.attempts, 1);
        let record = sandbox.store().runs(Some(Job::Deliver), None, 1).await.expect("runs").remove(0);
        assert_eq!(record.run.state, RunState::Running, "it is the other's to say");
    }
}

/// Told to stop, a delivery ends what it is at, and begins nothing more.
#[tokio::test]
async fn whoever_is_to_stop_begins_no_message() {
    let sandbox = Sandbox::new().await;
    let stop = CancellationToken::new();
    let at_it = stop.clone();
    let server = SmtpServer::start(move |_| {
        at_it.cancel();
        Manner::default()
    })
    .await;
    open_and_write(&sandbox, |acme| (1..=9).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
    let kit = kit_with(sandbox.at(WRITTEN), SmtpOptions { connections: 1, ..options(server.port) });
    let mut run = Run { dry_run: false, progress: &mut |_, _| {}, stop };
    let ran = deliver::run(&kit, &mut run).await;
    assert!(matches!(ran, Err(JobError::Stopped)), "{ran:?}");
    assert_eq!(server.taken().len(), 1, "the one that was on its way");
    let left = sandbox.store().messages(None, Some(OutboxState::Pending), 100).await.expect("messages");
    assert_eq!(left.len(), 8);
}

/// Nobody knows whether it arrived: an alert goes out again, a statement waits for the operator.
#[tokio::test]
async fn what_may_have_arrived_is_sent_again_or_held() {
    let sandbox = Sandbox::new().await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let server = SmtpServer::start({
        let is_broken = Arc::clone(&is_broken);
        move |_| match is_broken.load(Ordering::Relaxed) {
            true => Manner::wrong(At::Taken, Does::Close),
            false => Manner::default(),
        }
    })
    .await;
    let keys = open_and_write(&sandbox, |acme| {
        vec![alert(acme, 1, "ann@acme.example", WRITTEN), statement(acme, "ann@acme.example", WRITTEN)]
    })
    .await;
    let kit = kit(sandbox.at(WRITTEN), &server);
    let done = run(&kit, false).await.expect("done");
    assert_eq!(done.summary, "0 messages delivered, 0 failed, 1 to be tried again, 1 perhaps delivered");
    assert_eq!(find(&sandbox, &keys[1]).await.state, OutboxState::Ambiguous);
    is_broken.store(false, Ordering::Relaxed);
    let later = "2013-02-01T12:01:00Z";
    assert_eq!(summary(&kit.at(sandbox.at(later))).await, "1 message delivered, 0 failed");
    assert_eq!(summary(&kit.at(sandbox.at("2013-02-09T12:00:00Z"))).await, "0 messages delivered, 0 failed");
    sandbox.store().retry_message(&keys[1], instant("2013-02-09T12:00:00Z")).await.expect("asked");
    assert_eq!(summary(&kit.at(sandbox.at("2013-02-09T12:00:00Z"))).await, "1 message delivered, 0 failed");
    let mut taken: Vec<_> =
        server.taken().iter().map(|taken| (taken.header("Message-ID"), taken.raw.clone())).collect();
    taken.sort();
    assert!(taken.len() == 4 && taken[0] == taken[1] && taken[2] == taken[3], "each twice, to the byte");
    sandbox.assert_verified().await;
}

#[tokio::test]
async fn an_address_where_nobody_is_gets_no_more_mail() {
    let sandbox = Sandbox::new().await;
    let server =
        SmtpServer::start(|_| Manner::wrong(At::Rcpt, Does::Say("550 5.1.1 <gone@acme.example>: who?\r\n"))).await;
    let keys = open_and_write(&sandbox, |acme| vec![alert(acme, 1, "gone@acme.example", WRITTEN)]).await;
    let kit = kit(sandbox.at(WRITTEN), &server);
    let done = run(&kit, false).await.expect("done");
    assert!(done.problems[0].what.ends_with("given up, and its address gets no more mail"), "{:?}", done.problems);
    let list = sandbox.store().suppressions(10).await.expect("the list");
    assert_eq!((list[0].address.as_str(), list[0].message.as_ref()), ("gone@acme.example", Some(&keys[0])));
    assert!(list[0].reason.contains("550 5.1.1 (address) who?"), "{}", list[0].reason);
    let next = alert(keys[0].account().expect("an account"), 2, "gone@acme.example", WRITTEN);
    write_wished(sandbox.store(), std::slice::from_ref(&next)).await;
    assert_eq!(summary(&kit).await, "0 messages delivered, 0 failed, 1 to suppressed addresses");
    assert_eq!(find(&sandbox, &next.key).await.state, OutboxState::Suppressed);
    assert_eq!(rcpts(&server), 1);
}

/// Many dead addresses are just that where others get their mail.
#[tokio::test]
async fn dead_addresses_are_suppressed_where_others_get_their_mail() {
    let sandbox = Sandbox::new().await;
    let server = SmtpServer::start(|n| {
        let wrong = (n % 5 != 4).then_some((At::Rcpt, Does::Say("550 5.1.1 who?\r\n")));
        Manner { wrong, messages_max: Some(1), ..Manner::default() }
    })
    .await;
    open_and_write(&sandbox, |acme| (1..=18).map(|n| alert(acme, n, &format!("a{n}@acme.example"), WRITTEN)).collect())
        .await;
    let kit = kit_with(sandbox.at(WRITTEN), SmtpOptions { connections: 1, ..options(server.port) });
    assert_eq!(summary(&kit).await, "3 messages delivered, 15 failed");
    assert_eq!(sandbox.store().suppressions(100).await.expect("the list").len(), 15);
    sandbox.assert_verified().await;
}

/// A server that is down is asked a few times and then left alone for a while; nothing is held against the messages.
#[tokio::test]
async fn a_server_that_is_down_is_left_alone() {
    let sandbox = Sandbox::new().await;
    let server = SmtpServer::start(|_| Manner::wrong(At::Greeting, Does::Say("421 4.3.2 not now\r\n"))).await;
    let keys =
        open_and_write(&sandbox, |acme| (1..=200).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect())
            .await;
    let mut now = instant(WRITTEN);
    let down = kit(sandbox.at(WRITTEN), &server);
    for seconds in [20, 40] {
        let before = server.sessions();
        let kit = down.at(sandbox.at_instant(now));
        assert_eq!(kit.mail_rests_until(), None);
        let error = run(&kit, false).await.expect_err("the server is down");
        assert!(matches!(error, JobError::NotDelivered { fault: Fault::Server, .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.starts_with("the mail server refused while connecting to it: 421 4.3.2 not now (127.0.0.1:"),
            "{said}"
        );
        assert!(said.ends_with("what was not tried waits, and nothing is held against it"), "{said}");
        assert!((3..=6).contains(&(server.sessions() - before)), "{} sessions", server.sessions() - before);
        now = now.plus_seconds(seconds);
        assert_eq!(kit.mail_rests_until(), Some(now));
    }
    for key in &keys {
        let record = find(&sandbox, key).await;
        assert_eq!((record.state, record.attempts, record.due_at), (OutboxState::Pending, 0, instant(WRITTEN)));
    }
    let up = SmtpServer::start(|_| Manner::default()).await;
    assert_eq!(summary(&kit(sandbox.at_instant(now), &up)).await, "200 messages delivered, 0 failed");
    sandbox.assert_verified().await;
}

#[tokio::test]
async fn a_refused_login_stops_everything_and_is_told() {
    let sandbox = Sandbox::new().await;
    let server = SmtpServer::start(|_| Manner { login: Some(("credits", "s3cret")), ..Manner::default() }).await;
    let keys =
        open_and_write(&sandbox, |acme| (1..=20).map(|n| lapse_soon(acme, n, "a@acme.example", WRITTEN)).collect())
            .await;
    let login = Some(("credits".to_owned(), Secret::new("wr0ng")));
    let kit = kit_with(sandbox.at(WRITTEN), SmtpOptions { login, ..options(server.port) });
    let error = run(&kit, false).await.expect_err("it does not let us in");
    assert!(matches!(error, JobError::NotDelivered { fault: Fault::Settings, .. }), "{error}");
    assert!(
        error.to_string().contains("CREDITD_SMTP_PASSWORD") && !format!("{error:?}").contains("wr0ng"),
        "{error:?}"
    );
    assert!(kit.mail_rests_until().is_some());
    assert!(server.sessions() <= 3, "one for each connection");
    assert_eq!(find(&sandbox, &keys[0]).await.attempts, 0);
}

/// So many in a minute, whatever the number of runs.
#[tokio::test]
async fn the_limit_per_minute_holds_across_runs() {
    let sandbox = Sandbox::new().await;
    let server = SmtpServer::start(|_| Manner::default()).await;
    open_and_write(&sandbox, |acme| (1..=25).map(|n| lapse_soon(acme, n, "a@acme.example", WRITTEN)).collect()).await;
    let at = |now: &str| {
        let mut app = sandbox.at(now);
        app.settings.mail.transport = TransportKind::Smtp;
        app.settings.mail.smtp.host = Some("127.0.0.1".into());
        app.settings.mail.smtp.port = Some(server.port);
        app.settings.mail.smtp.tls = Tls::None;
        app.settings.mail.smtp.per_minute = 10;
        Kit::new(app).expect("templates and a server")
    };
    for (now, taken) in [
        ("2013-02-01T12:00:00Z", 10),
        ("2013-02-01T12:00:10Z", 10),
        ("2013-02-01T12:00:59Z", 10),
        ("2013-02-01T12:01:00Z", 20),
        ("2013-02-01T12:01:59Z", 20),
        ("2013-02-01T12:02:00Z", 25),
    ] {
        let summary = summary(&at(now)).await;
        assert_eq!(server.taken().len(), taken, "{now}");
        assert_eq!(summary.ends_with("; the limit per minute keeps more back"), taken < 25, "{now}: {summary}");
    }
}

/// A mail server that takes a connection and says nothing, and a daemon: everything else goes on meanwhile.
#[tokio::test]
async fn a_black_hole_delays_no_other_job() {
    let sandbox = Sandbox::new().await;
    let server = SmtpServer::start(|_| Manner::wrong(At::Greeting, Does::Tell)).await;
    open_and_write(&sandbox, |acme| vec![alert(acme, 1, "ann@acme.example", WRITTEN)]).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.args(["serve", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
    command.env("CREDITD__MAIL__TRANSPORT", "smtp").env("CREDITD__MAIL__SMTP__HOST", "127.0.0.1");
    command.env("CREDITD__MAIL__SMTP__PORT", server.port.to_string()).env("CREDITD__MAIL__SMTP__TLS", "none");
    command.env("CREDITD__MAIL__SMTP__TIMEOUT_SECONDS", "120").env("CREDITD__WEB__LISTEN", "off");
    let daemon = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts");
    let _daemon = Killed(daemon);
    tokio::time::timeout(LONG, server.told()).await.expect("the daemon delivers");
    let is_done = async |job: Job, state: RunState| {
        !sandbox.store().runs(Some(job), Some(state), 1).await.expect("runs").is_empty()
    };
    let others = async {
        while !(is_done(Job::Verify, RunState::Done).await && is_done(Job::Seal, RunState::Done).await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, others).await.expect("the other jobs get through");
    assert!(is_done(Job::Deliver, RunState::Running).await, "the delivery waits all the while");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
