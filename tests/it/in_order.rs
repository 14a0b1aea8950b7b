//! Alerts are delivered before statements, and what somebody is told of the levels of an account in the order in which it came about,
//! whatever the mail server did meanwhile.

use crate::delivery::{kit_with, open_and_write, options, run};
use crate::support::smtp::{self, At, Manner, SmtpServer};
use crate::support::{
    Backend, Sandbox, alert, both_databases, instant, lapse_soon, lease_of, message, statement, wish, write_wished,
};
use creditd::core::alert::Crossing;
use creditd::core::calendar::Instant;
use creditd::core::delivery::Next;
use creditd::core::ids::{AccountId, Email, LevelName};
use creditd::core::outbox::{CancelledBecause, Message, NoticeKey, OutboxState};
use creditd::store::{Answered, Delivery, Leased};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const ANN: &str = "ann@acme.example";

/// An hour of that day, or behind it.
fn at(hour: u32) -> Instant {
    instant("2013-02-01T00:00:00Z").plus_seconds(i64::from(hour) * 3_600)
}

/// The `n`th thing that Ann is told of the levels of an account, an hour after the one before; each third says that an alert is over.
fn nth(acme: &AccountId, n: u32) -> Message {
    let at = at(12 + n).to_string();
    if !n.is_multiple_of(3) {
        return alert(acme, n, ANN, &at);
    }
    let over = Crossing { level: LevelName::new("low").expect("a level's name"), crossing: n - 1 };
    message(NoticeKey::resolved(acme.clone(), &over, Email::new(ANN).expect("an address")), &at)
}

/// Leases all that may leave at an hour of that day, as which numbers of `keys`.
async fn lease(sandbox: &Sandbox, keys: &[NoticeKey], hour: u32) -> (Vec<usize>, Leased) {
    let now = at(hour);
    let leased = sandbox.store().lease_messages(&lease_of("a lease"), now, 9, None).await.expect("leased");
    let number = |key: &NoticeKey| 1 + keys.iter().position(|other| other == key).expect("one of them");
    (leased.records.iter().map(|record| number(&record.message.key)).collect(), leased)
}

async fn record(sandbox: &Sandbox, key: &NoticeKey, hour: u32, next: Next) {
    let delivery = Delivery { key: key.clone(), lease: "a lease".into(), next };
    let now = at(hour);
    sandbox.store().record_deliveries(&[delivery], now).await.expect("recorded");
}

fn sent() -> Next {
    Next::Sent { to: "250 taken".into() }
}

fn again(hour: u32) -> Next {
    Next::Again { error: "451 later".into(), at: at(hour) }
}

both_databases! {
    /// An alert does not wait for statements that were due before it, nor for more of them than are taken at once.
    async fn alerts_are_delivered_before_statements(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let written = at(12).to_string();
        let statements: Vec<Message> = (0..150).map(|n| statement(&acme, &format!("s{n}@acme.example"), &written)).collect();
        let later = at(13);
        let alert = alert(&acme, 1, ANN, &later.to_string());
        write_wished(sandbox.store(), &statements).await;
        write_wished(sandbox.store(), std::slice::from_ref(&alert)).await;
        let due = sandbox.store().due_messages(later, 3).await.expect("messages");
        assert_eq!(due[0].message.key, alert.key);
        let leased = sandbox.store().lease_messages(&lease_of("a lease"), later, 3, Some(2)).await.expect("leased");
        assert_eq!(leased.records.iter().map(|record| &record.message.key).collect::<Vec<_>>(), [&alert.key, &due[1].message.key]);
        assert!(leased.more && leased.limited);
    }

    async fn alerts_of_an_account_are_handed_out_in_their_order(sandbox: Sandbox) {
        let to_bob = |acme: &AccountId| alert(acme, 1, "bob@acme.example", "2013-02-01T14:30:00Z");
        let keys = open_and_write(&sandbox, |acme| [to_bob(acme)].into_iter().chain([3, 1, 2].map(|n| nth(acme, n))).collect()).await;
        let due = sandbox.store().due_messages(at(17), 9).await.expect("messages");
        assert_eq!(due.len(), 4);
        assert_eq!(lease(&sandbox, &keys, 13).await.0, [3], "the first of three");
        assert_eq!(lease(&sandbox, &keys, 17).await.0, [1], "what became of the first is not known");
        record(&sandbox, &keys[2], 17, again(19)).await;
        assert_eq!(lease(&sandbox, &keys, 17).await.0, [3, 4, 2], "it had no try since the newest is due");
        record(&sandbox, &keys[2], 17, again(19)).await;
        record(&sandbox, &keys[3], 17, Next::Failed { error: "550 too large".into(), suppress: false }).await;
        assert_eq!(lease(&sandbox, &keys, 19).await.0, [0; 0], "the newest is in hand");
        record(&sandbox, &keys[1], 17, again(18)).await;
        assert_eq!(lease(&sandbox, &keys, 18).await.0, [3, 2]);
        sandbox.assert_verified().await;
    }

    async fn what_could_not_be_delivered_before_a_later_one_does_not_leave(sandbox: Sandbox) {
        let keys = open_and_write(&sandbox, |acme| [1, 2, 4].map(|n| nth(acme, n)).to_vec()).await;
        assert_eq!(lease(&sandbox, &keys, 14).await.0, [1, 2]);
        record(&sandbox, &keys[0], 14, again(15)).await;
        record(&sandbox, &keys[1], 14, sent()).await;
        let (numbers, leased) = lease(&sandbox, &keys, 15).await;
        assert_eq!((numbers.len(), leased.superseded), (0, 1), "the second has said how things stand");
        let first = sandbox.store().message(&keys[0]).await.expect("read").expect("it is there");
        assert_eq!(first.cancelled_because, Some(CancelledBecause::Overtaken));
        assert_eq!(sandbox.store().retry_message(&keys[0], at(15)).await.expect("asked"), Answered::Overtaken);
        assert_eq!(lease(&sandbox, &keys, 16).await.0, [3]);
        sandbox.assert_verified().await;
    }

    /// They waited for a server that was down, and leave one after the other in one run, over several connections.
    async fn what_waited_for_a_server_arrives_in_its_order(sandbox: Sandbox) {
        let manner = Arc::new(Mutex::new(Manner::wrong(At::Rcpt, smtp::Does::Say("451 4.3.0 down\r\n"))));
        let says = Arc::clone(&manner);
        let server = SmtpServer::start(move |_| says.lock().expect("a lock").clone()).await;
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let messages: Vec<Message> = (1..=6).map(|n| nth(&acme, n)).collect();
        for message in &messages {
            write_wished(sandbox.store(), std::slice::from_ref(message)).await;
            let done = run(&kit_with(sandbox.at_instant(message.created_at), options(server.port)), false).await;
            assert!(!done.expect("it ends well").problems.is_empty());
        }
        *manner.lock().expect("a lock") = Manner::default();
        let tomorrow = kit_with(sandbox.at("2013-02-02T12:00:00Z"), options(server.port));
        assert_eq!(run(&tomorrow, false).await.expect("it ends well").summary, "6 messages delivered, 0 failed");
        let ids: Vec<_> = server.taken().iter().filter_map(|taken| taken.header("Message-ID")).collect();
        assert_eq!(ids, messages.iter().map(|message| message.message_id.clone()).collect::<Vec<_>>());
    }
}

both_databases! {
    /// Whatever the clocks of those who scan say, the order is that of the account.
    async fn what_is_written_later_comes_later_by_any_clock(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        let (first, second) = (nth(&acme, 5), Message { created_at: at(12), ..nth(&acme, 2) });
        wish(sandbox.store(), std::slice::from_ref(&first)).await;
        for (message, now) in [(&first, 17), (&second, 12)] {
            let written = sandbox.store().write_looked(&[], std::slice::from_ref(message), &[], at(now)).await;
            assert_eq!(written.expect("written"), 1);
        }
        let keys = [first.key, second.key];
        let (numbers, leased) = lease(&sandbox, &keys, 17).await;
        assert_eq!(numbers, [1, 2]);
        assert_eq!(leased.records[1].message.created_at, at(17).plus_micros(1));
        assert_eq!(leased.records[1].due_at, at(12), "it was due at once");
        sandbox.assert_verified().await;
    }

    /// One that is called off at the server's door may leave: the next one waits for it all the same.
    async fn what_is_called_off_in_hand_is_waited_for(sandbox: Sandbox) {
        let keys = open_and_write(&sandbox, |acme| [1, 2].map(|n| nth(acme, n)).to_vec()).await;
        assert_eq!(lease(&sandbox, &keys, 13).await.0, [1]);
        assert_eq!(sandbox.store().cancel_message(&keys[0]).await.expect("asked"), Answered::Done);
        assert_eq!(lease(&sandbox, &keys, 14).await.0, [0; 0]);
        record(&sandbox, &keys[0], 14, sent()).await;
        assert_eq!(lease(&sandbox, &keys, 14).await.0, [2]);
    }

    /// Each had its try since the newest is due, and is due again.
    async fn many_old_alerts_keep_no_new_one_back(sandbox: Sandbox) {
        let keys = open_and_write(&sandbox, |acme| (1..=4).map(|n| nth(acme, n)).collect()).await;
        let limited = async |most: usize| {
            let leased = sandbox.store().lease_messages(&lease_of("a lease"), at(16), most, None).await.expect("leased");
            leased.records.into_iter().map(|record| record.message.key).collect::<Vec<_>>()
        };
        for old in [&keys[0..2], &keys[2..3]] {
            assert_eq!(limited(old.len()).await, old);
            for key in old {
                record(&sandbox, key, 16, again(16)).await;
            }
        }
        assert_eq!(limited(9).await, [keys[3].clone()]);
    }

    /// What hangs of others comes between them nowhere.
    async fn alerts_to_one_recipient_stand_together_where_the_oldest_does(sandbox: Sandbox) {
        let keys = open_and_write(&sandbox, |acme| {
            let others = (0..9).map(|n| alert(acme, 1, &format!("other{n}@acme.example"), &at(13).to_string()));
            [1, 2, 3].map(|n| nth(acme, n)).into_iter().chain(others).collect()
        })
        .await;
        let leased = sandbox.store().lease_messages(&lease_of("a lease"), at(16), 99, None).await.expect("leased");
        let first: Vec<&NoticeKey> = leased.records.iter().take(3).map(|record| &record.message.key).collect();
        assert_eq!(first, [&keys[0], &keys[1], &keys[2]]);
    }

    /// On SQLite its planner would read all messages of an account for each that is due.
    async fn others_of_the_same_levels_are_found_by_their_index(sandbox: Sandbox) {
        let acme = sandbox.open_account("acme", "UTC", "2013-01-01").await;
        write_wished(sandbox.store(), &[nth(&acme, 1)]).await;
        // A statement that names an index which is not there fails: so it is seen that it is named.
        sandbox.execute("DROP INDEX outbox_in_hand").await.expect("dropped");
        let leased = sandbox.store().lease_messages(&lease_of("a lease"), at(14), 9, None).await;
        assert_eq!(leased.is_err(), sandbox.backend() == Backend::Sqlite);
    }
}

/// What a server, or whoever is at a message, comes to.
#[derive(Clone, Copy, Debug)]
enum Does {
    Takes,
    TakesLater(u32),
    Refuses,
    WasNotAsked,
    Dies,
}

fn does() -> impl Strategy<Value = Does> {
    let later = (1..9_u32).prop_map(Does::TakesLater);
    prop_oneof![Just(Does::Takes), later, Just(Does::Refuses), Just(Does::WasNotAsked), Just(Does::Dies)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever becomes of each try: of what is told of an account's levels one recipient gets no older thing behind a newer one, and
    /// in the end the newest that was not refused; nobody waits for another one, or for a notice of another matter.
    #[test]
    fn nobody_is_told_an_older_thing_behind_a_newer_one(tries in prop::collection::vec(does(), 90)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let sandbox = Sandbox::new().await;
            let mut messages = Vec::new();
            for account in ["acme", "zoo"] {
                let account = sandbox.open_account(account, "UTC", "2013-01-01").await;
                messages.extend((1..=4).map(|n| nth(&account, n)));
                messages.extend([2, 4].map(|n| alert(&account, n, "bob@acme.example", &at(12 + n).to_string())));
                messages.push(lapse_soon(&account, 1, ANN, &at(13).to_string()));
            }
            write_wished(sandbox.store(), &messages).await;
            // What nobody is told before another thing: the account, the recipient, and the matter.
            let group = |key: &NoticeKey| (key.account_text().to_owned(), key.recipient().to_string(), key.kind().is_of_levels());
            let place = |key: &NoticeKey| messages.iter().position(|message| message.key == *key).expect("one of them");
            let mut tries = tries.into_iter();
            let mut told: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            let mut refused = BTreeSet::new();
            // Behind hour 40 nothing fails any more.
            for hour in (12..200).flat_map(|hour| [hour; 4]) {
                let leased = sandbox.store().lease_messages(&lease_of("a lease"), at(hour), 99, None).await.expect("leased");
                let mut begun = BTreeSet::new();
                for same in leased.records.chunk_by(|one, next| group(&one.message.key) == group(&next.message.key)) {
                    assert!(begun.insert(group(&same[0].message.key)), "those of a group stand together");
                    // Whoever dies, or is told to stop, has begun none of the rest.
                    let mut ends = None;
                    for key in same.iter().map(|record| &record.message.key) {
                        let does = tries.next().filter(|_| hour < 40).unwrap_or(Does::Takes);
                        ends = ends.or(Some(does).filter(|does| matches!(does, Does::WasNotAsked | Does::Dies)));
                        let next = match ends.unwrap_or(does) {
                            Does::Takes => {
                                told.entry(group(key)).or_default().push(place(key));
                                sent()
                            }
                            Does::TakesLater(hours) => again(hour + hours),
                            Does::Refuses => {
                                refused.insert(place(key));
                                Next::Failed { error: "554 no".into(), suppress: false }
                            }
                            Does::WasNotAsked => Next::Untried,
                            Does::Dies => {
                                let dies = format!("UPDATE outbox SET leased_until = 1 WHERE key = '{key}'");
                                sandbox.execute(&dies).await.expect("dead");
                                continue;
                            }
                        };
                        record(&sandbox, key, hour, next).await;
                    }
                }
            }
            let left = sandbox.store().messages(None, Some(OutboxState::Pending), 1).await.expect("messages");
            assert_eq!(left, [], "nothing waits for ever");
            assert!(told.values().all(|numbers| numbers.is_sorted()), "{told:?}");
            for message in &messages {
                let place = place(&message.key);
                let last = told.get(&group(&message.key)).and_then(|numbers| numbers.last());
                assert!(refused.contains(&place) || last >= Some(&place), "{} is lost: {told:?}", message.key);
            }
        });
    }
}
