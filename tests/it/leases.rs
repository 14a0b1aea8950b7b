//! What a process has in hand: it is its own while the process lives, and free for others soon after it died or was held up.
//!
//! The processes that die or are stopped are real. What holds one up is a server that says nothing until the test lets it go on.

use crate::delivery::{kit_with, open_and_write, options, run};
use crate::pages::email;
use crate::support::smtp::{At, Does, Manner, SmtpServer, Taken};
use crate::support::{Sandbox, account_id, alert, both_databases, instant, lapse_soon, wish};
use creditd::clock::Clock;
use creditd::core::outbox::{CancelledBecause, OutboxState};
use creditd::core::unsubscribe::{Unsubscribe, Wish};
use creditd::jobs::Kit;
use creditd::mail::SmtpOptions;
use creditd::store::Answered;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const WRITTEN: &str = "2013-02-01T12:00:00Z";
/// Ample for what takes a second.
const LONG: Duration = Duration::from_secs(60);
const NOW: &str = "2013-02-01T13:00:00Z";

/// A server that holds up the first message of its first session at a step of its delivery.
async fn holding(at: At) -> SmtpServer {
    SmtpServer::start(move |n| match n {
        0 => Manner::wrong(at, Does::Hold),
        _ => Manner::default(),
    })
    .await
}

/// What jobs work with, with short leases; one message at a time.
fn kit(sandbox: &Sandbox, server: &SmtpServer) -> Kit {
    let mut app = sandbox.at(NOW);
    app.settings.jobs.lease_seconds = 1;
    kit_with(app, SmtpOptions { connections: 1, ..options(server.port) })
}

/// Waits until the lease of what is kept in hand in `table` was extended by more than it lasts.
pub async fn outlast(sandbox: &Sandbox, table: &str) {
    let sql = format!("SELECT CAST(max(leased_until) AS TEXT) FROM {table} WHERE lease <> 'another'");
    let until = async || sandbox.texts(&sql).await[0].parse::<i64>().expect("it is in hand");
    let is_extended = async {
        let first = until().await;
        while until().await < first + 1_000_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, is_extended).await.expect("it is extended");
}

/// A process of its own that delivers what is due, to `server`, one message at a time.
struct Deliverer(Child);

impl Deliverer {
    fn command(sandbox: &Sandbox, server: &SmtpServer) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
        command.args(["run", "deliver", "--database-url", sandbox.url()]).current_dir(sandbox.path(""));
        command.env("CREDITD_NOW", NOW).env("CREDITD__JOBS__LEASE_SECONDS", "1");
        command.env("CREDITD__MAIL__TRANSPORT", "smtp").env("CREDITD__MAIL__SMTP__HOST", "127.0.0.1");
        command.env("CREDITD__MAIL__SMTP__PORT", server.port.to_string()).env("CREDITD__MAIL__SMTP__TLS", "none");
        command.env("CREDITD__MAIL__SMTP__CONNECTIONS", "1").env("CREDITD__MAIL__SMTP__TIMEOUT_SECONDS", "120");
        command
    }

    fn start(sandbox: &Sandbox, server: &SmtpServer) -> Deliverer {
        let mut command = Deliverer::command(sandbox, server);
        Deliverer(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().expect("a signal");
        assert!(sent.success(), "it lives");
    }

    async fn ended(mut self) -> ExitStatus {
        tokio::task::spawn_blocking(move || self.0.wait()).await.expect("waited").expect("it ends")
    }
}

impl Drop for Deliverer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Delivers as soon as nobody else has what is due, until nothing is left.
async fn deliver_the_rest(sandbox: &Sandbox, kit: &Kit) {
    let left = async || sandbox.store().messages(None, Some(OutboxState::Pending), 1).await.expect("messages");
    while !left().await.is_empty() {
        run(kit, false).await.expect("it ends well");
    }
}

both_databases! {
    /// A message that takes longer than a lease stays its process's. What another has taken over all the same is not begun, and
    /// nothing is written of it.
    async fn what_is_in_hand_is_kept_and_what_is_anothers_is_left_alone(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        let keys = open_and_write(&sandbox, |acme| {
            (1..=3).map(|n| lapse_soon(acme, n, "ann@acme.example", &instant(WRITTEN).plus_micros(n.into()).to_string())).collect()
        })
        .await;
        let kit = kit(&sandbox, &server);
        let watch = async {
            server.told().await;
            let taken = format!("UPDATE outbox SET lease = 'another' WHERE key = '{}'", keys[1]);
            sandbox.execute(&taken).await.expect("taken");
            outlast(&sandbox, "outbox").await;
            let due = sandbox.store().due_messages(kit.app.now(), 10).await.expect("messages");
            assert_eq!(due.iter().map(|record| &record.message.key).collect::<Vec<_>>(), [&keys[1]]);
            server.go_on();
        };
        let (done, ()) = tokio::join!(run(&kit, false), watch);
        assert_eq!(done.expect("it ends well").summary, "2 messages delivered, 0 failed, 1 not tried");
        assert_eq!(server.taken().len(), 2);
        assert_eq!(sandbox.texts("SELECT key FROM outbox WHERE lease = 'another' AND state = 'pending'").await, [keys[1].to_string()]);
    }

    /// What is called off while it is in hand does not leave: its address is suppressed, its admin wishes it no more, or is one no more.
    async fn what_is_called_off_while_it_is_in_hand_does_not_leave(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        let admins = ["ann", "bob", "cem", "dan"].map(|name| email(&format!("{name}@acme.example")));
        open_and_write(&sandbox, |acme| {
            let (first, more) = (lapse_soon(acme, 1, "ann@acme.example", WRITTEN), admins.iter().skip(1));
            let at = instant(WRITTEN).plus_seconds(1).to_string();
            let more = more.map(|admin| alert(acme, 1, admin.as_str(), &at));
            [first].into_iter().chain(more).collect()
        })
        .await;
        let (acme, store, kit) = (account_id("acme"), sandbox.store(), kit(&sandbox, &server));
        let call_off = async {
            server.told().await;
            assert!(store.suppress(&admins[1], "the operator", instant(NOW)).await.expect("suppressed"));
            assert_eq!(store.suppressed_of(&admins).await.expect("asked"), admins[1..2]);
            let asked = Unsubscribe { account: acme.clone(), address: admins[2].clone(), wish: Wish::Alerts };
            assert!(store.end_wish(&asked).await.expect("ended").is_some());
            assert!(store.remove_admin(&acme, &admins[3]).await.expect("removed"));
            outlast(&sandbox, "outbox").await;
            server.go_on();
        };
        let (done, ()) = tokio::join!(run(&kit, false), call_off);
        assert_eq!(done.expect("it ends well").summary, "1 message delivered, 0 failed, 3 not tried");
        let next = run(&kit, false).await.expect("it ends well");
        assert_eq!(next.summary, "0 messages delivered, 0 failed, 1 to suppressed addresses");
        assert_eq!(server.taken().len(), 1);
        let states = "SELECT recipient || ' ' || state || coalesce(': ' || cancelled_because, '') FROM outbox ORDER BY recipient";
        let expected = [
            "ann@acme.example sent",
            "bob@acme.example suppressed",
            "cem@acme.example cancelled: the admin wishes no such mails",
            "dan@acme.example cancelled: the recipient is no admin of the account",
        ];
        assert_eq!(sandbox.texts(states).await, expected);
        sandbox.assert_verified().await;
    }

    /// Whoever writes a mail may have asked before its admin was removed. It does not leave, and nobody can let it.
    async fn what_nobody_wishes_when_it_is_to_leave_does_not(sandbox: Sandbox) {
        let server = SmtpServer::start(|_| Manner::default()).await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages = [alert(&acme, 1, "ann@acme.example", WRITTEN), alert(&acme, 1, "bob@acme.example", WRITTEN)];
        let (store, kit) = (sandbox.store(), kit(&sandbox, &server));
        wish(store, &messages[..1]).await;
        store.write_messages(&messages).await.expect("written");
        let done = run(&kit, false).await.expect("it ends well");
        assert_eq!(done.summary, "1 message delivered, 0 failed, 1 not wished any more");
        let bob = &messages[1].key;
        let state = async || {
            let record = store.message(bob).await.expect("read").expect("it is there");
            (record.state, record.cancelled_because)
        };
        assert_eq!(state().await, (OutboxState::Cancelled, Some(CancelledBecause::NoAdmin)));
        assert_eq!(store.retry_message(bob, instant(NOW)).await.expect("asked"), Answered::Unwished);
        wish(store, &messages[1..]).await;
        assert_eq!(store.retry_message(bob, instant(NOW)).await.expect("asked"), Answered::Done);
        run(&kit, false).await.expect("it ends well");
        assert_eq!((state().await, server.taken().len()), ((OutboxState::Sent, None), 2));
        sandbox.assert_verified().await;
    }

    /// A run of a process leaves alone what another run of it still has in hand, though the database would lease it: it was away for
    /// longer than a lease.
    async fn a_process_does_not_deliver_twice_what_it_has_in_hand(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        open_and_write(&sandbox, |acme| (1..=3).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
        let kit = kit(&sandbox, &server);
        let again = async {
            server.told().await;
            sandbox.execute("UPDATE outbox SET leased_until = 1").await.expect("as if it had been away");
            let again = run(&kit, false).await.expect("it ends well");
            assert_eq!(again.summary, "0 messages delivered, 0 failed");
            server.go_on();
        };
        let (done, ()) = tokio::join!(run(&kit, false), again);
        assert_eq!(done.expect("it ends well").summary, "3 messages delivered, 0 failed");
        assert_eq!(server.taken().len(), 3);
        sandbox.assert_verified().await;
    }

    /// Where the database is away for longer than a lease, only what had left and could not be recorded may leave once more, from whoever
    /// takes it up: a deliverer sends no third message while two are not recorded.
    async fn a_database_that_was_away_doubles_only_what_it_could_not_be_told(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        open_and_write(&sandbox, |acme| (1..=9).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
        let one = Deliverer::start(&sandbox, &server);
        server.told().await;
        let held = sandbox.hold_messages().await;
        let until = sandbox.texts("SELECT CAST(max(leased_until) AS TEXT) FROM outbox").await[0].parse::<i64>().expect("an instant");
        let go_on = async {
            server.go_on();
            loop {
                server.told().await;
                server.go_on();
            }
        };
        let come_back = async {
            while Clock::System.now().micros() <= until {
                tokio::task::yield_now().await;
            }
            let meanwhile = server.taken();
            held.let_go().await;
            deliver_the_rest(&sandbox, &kit(&sandbox, &server)).await;
            assert!(one.ended().await.success());
            meanwhile
        };
        let meanwhile = tokio::select! {
            () = go_on => unreachable!("it goes on for ever"),
            meanwhile = come_back => meanwhile,
        };
        let ids = |taken: &[Taken]| taken.iter().filter_map(|taken| taken.header("Message-ID")).collect::<Vec<_>>();
        let (mut all, mut once) = (ids(&server.taken()), ids(&meanwhile));
        assert_eq!(once.len(), 2, "the third waits");
        all.sort();
        all.dedup_by(|next, one| next == one && once.iter().position(|id| id == one).map(|at| once.swap_remove(at)).is_some());
        assert_eq!(all.len(), 9, "nothing else is doubled: {all:?}");
        assert_eq!(sandbox.texts("SELECT key FROM outbox WHERE state = 'sent'").await.len(), 9);
        sandbox.assert_verified().await;
    }

    /// A process that is killed leaves what it had in hand to the next one, when its short leases are over.
    async fn what_a_killed_process_had_in_hand_is_delivered_by_another(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        open_and_write(&sandbox, |acme| (1..=9).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
        let killed = Deliverer::start(&sandbox, &server);
        server.told().await;
        killed.signal("-KILL");
        killed.ended().await;
        deliver_the_rest(&sandbox, &kit(&sandbox, &server)).await;
        assert_eq!(server.taken().len(), 9);
        sandbox.assert_verified().await;
    }

    /// Whoever delivers beside a process that has all of it in hand says so. One that is told to stop ends as one that was, whatever
    /// came of the message that it was at.
    async fn what_others_have_in_hand_is_said_and_that_one_was_interrupted(sandbox: Sandbox) {
        let server = holding(At::Rcpt).await;
        open_and_write(&sandbox, |acme| vec![alert(acme, 1, "ann@acme.example", WRITTEN)]).await;
        let interrupted = Deliverer::start(&sandbox, &server);
        server.told().await;
        let mut beside = Deliverer::command(&sandbox, &server);
        beside.env("CREDITD_NOW", "2013-02-01T13:00:01Z");
        let beside = tokio::task::spawn_blocking(move || beside.output()).await.expect("no panic").expect("it runs");
        let said = String::from_utf8_lossy(&beside.stderr).into_owned();
        assert!(said.contains("deliver: 1 message is in hand of other processes"), "{said}");
        assert_eq!(beside.status.code(), Some(0));
        interrupted.signal("-TERM");
        drop(server);
        assert_eq!(interrupted.ended().await.code(), Some(130));
        sandbox.assert_verified().await;
    }

    /// A process that was stopped for longer than its leases sends nothing when it goes on: not the message whose words the server
    /// waits for, and none of those behind it.
    async fn a_process_that_was_stopped_sends_nothing_that_is_anothers(sandbox: Sandbox) {
        let server = holding(At::Data).await;
        open_and_write(&sandbox, |acme| (1..=9).map(|n| lapse_soon(acme, n, "ann@acme.example", WRITTEN)).collect()).await;
        let stopped = Deliverer::start(&sandbox, &server);
        server.told().await;
        stopped.signal("-STOP");
        deliver_the_rest(&sandbox, &kit(&sandbox, &server)).await;
        let before = sandbox.store().messages(None, None, 10).await.expect("messages");
        server.go_on();
        stopped.signal("-CONT");
        assert!(stopped.ended().await.success());
        assert_eq!((server.taken().len(), server.sessions()), (9, 2));
        assert_eq!(sandbox.store().messages(None, None, 10).await.expect("messages"), before);
        sandbox.assert_verified().await;
    }
}
