//! Connections: however many are idle or slow, others are answered meanwhile.

use super::{ALL, NOW, token};
use crate::support::{Sandbox, account_id};
use creditd::jobs::Kit;
use creditd::web::{Listener, State, router};
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// How often a slow client sends a byte.
const DRIP: Duration = Duration::from_millis(200);
/// How long an answer to it may take, and so its body.
const SLOW_TIME: Duration = Duration::from_secs(3);

/// Connections at once, where they are to be few.
const PLACES: usize = 8;

/// A listener of its own.
pub struct Listening {
    pub at: SocketAddr,
    pub stop: CancellationToken,
    pub answering: tokio::task::JoinHandle<()>,
}

pub async fn listen(sandbox: &Sandbox) -> Listening {
    listen_with(sandbox, State::new, |listener| listener).await
}

async fn listen_with(
    sandbox: &Sandbox,
    state: impl FnOnce(Arc<Kit>) -> State,
    places: impl FnOnce(Listener) -> Listener,
) -> Listening {
    let mut app = sandbox.at(NOW);
    app.settings.web.requests_per_second = 0;
    let kit = Arc::new(Kit::new(app).expect("a kit"));
    let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
    let listener = places(listener);
    let (at, stop) = (listener.at(), CancellationToken::new());
    let answering = tokio::spawn(listener.serve(router(state(kit)), stop.clone()));
    Listening { at, stop, answering }
}

/// A whole answer on a connection of its own.
async fn get(at: SocketAddr, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_slow_connections_hold_up_nobody() {
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let Listening { at, stop, answering } = listen(&sandbox).await;
    let mut others = Vec::new();
    for n in 0..1_000 {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        match n % 3 {
            0 => {}
            // A head, or a body, that never ends.
            1 => stream.write_all(b"GET /v1/actions HTTP/1.1\r\nHost: te").await.expect("it reads"),
            _ => {
                let head = format!(
                    "POST /v1/accounts/acme/charges HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k{n}\r\n\
                     Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
                );
                stream.write_all(head.as_bytes()).await.expect("it reads");
            }
        }
        others.push(stream);
        if n % 100 == 99 {
            let answer = get(at, "/v1/accounts/acme/balance", &token).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "beside {n}: {answer}");
        }
    }
    assert_eq!(others.len(), 1_000);
    stop.cancel();
    drop(others);
    answering.await.expect("it stops");
}

/// What stands before the body of a charge, which takes its time.
fn slow_head(token: &str, key: usize) -> String {
    format!(
        "POST /v1/accounts/acme/charges HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: slow-{key}\r\n\
         Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
    )
}

/// The body of a charge, a byte at a time: what is answered, and only that.
async fn drip(at: SocketAddr, token: String, key: usize) -> String {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    stream.write_all(slow_head(&token, key).as_bytes()).await.expect("it reads");
    let (mut from, mut to) = stream.split();
    let dripping = async {
        let mut ticks = tokio::time::interval(DRIP);
        loop {
            ticks.tick().await;
            // Nobody may be there any more.
            let _ = to.write_all(b" ").await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        // A connection that is cut is an end, too.
        _ = from.read_to_end(&mut answer) => {}
        () = dripping => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Who sends a body byte by byte waits for nobody but themselves: others are answered, and the time of a slow one ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_hold_up_nobody_and_end() {
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let Listening { at, stop, answering } = listen_with(&sandbox, |kit| State::within(kit, SLOW_TIME), |all| all).await;
    let mut slow = std::pin::pin!(join_all((0..100).map(|key| drip(at, token.clone(), key))));
    let mut quick = 0;
    let ended = loop {
        tokio::select! {
            ended = &mut slow => break ended,
            answer = get(at, "/v1/accounts/acme/balance", &token) => {
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                quick += 1;
            }
        }
    };
    assert!(quick > 0, "nobody was answered meanwhile");
    for answer in ended {
        let is_told = answer.starts_with("HTTP/1.1 408 ")
            && answer.contains("\"code\":\"request_timeout\"")
            && answer.contains("\r\nconnection: close\r\n");
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    assert_eq!(sandbox.log(&account_id("acme")).await, [], "none of them was charged");
    stop.cancel();
    answering.await.expect("it stops");
}

/// One address has all the places that it may have, and comes again and again; whoever comes from another is answered each time, and
/// no connection of the first is there for longer than it has a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_of_one_address_give_up_their_places_at_once() {
    let sandbox = Sandbox::new().await;
    sandbox.open_account("acme", "UTC", "2013-01-01").await;
    let token = token(sandbox.store(), ALL).await;
    let Listening { at, stop, answering } =
        listen_with(&sandbox, State::new, |listener| listener.with_places(PLACES)).await;
    let mut slow = Vec::new();
    for key in 0..10 * PLACES {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("an address of the loopback");
        let mut stream = socket.connect(at).await.expect("it listens");
        let sent = format!("{}{{", slow_head(&token, key));
        stream.write_all(sent.as_bytes()).await.expect("it reads");
        slow.push(stream);
        let answer = get(at, "/v1/accounts/acme/balance", &token).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "beside {key}: {answer}");
    }
    let kept = slow.split_off(slow.len() - PLACES / 2);
    for mut stream in slow {
        // Cut or closed, it is the end of it, and nothing was answered.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(String::from_utf8_lossy(&answer), "");
    }
    assert_eq!(kept.len(), PLACES / 2);
    assert_eq!(sandbox.log(&account_id("acme")).await, [], "none of them was charged");
    stop.cancel();
    drop(kept);
    answering.await.expect("it stops");
}

/// More than there is room for: those who do nothing make room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_being_answered_keeps_its_place() {
    let sandbox = Sandbox::new().await;
    let token = token(sandbox.store(), ALL).await;
    let Listening { at, stop, answering } = listen(&sandbox).await;
    // A connection is kept for the next request.
    let mut kept = TcpStream::connect(at).await.expect("it listens");
    for _ in 0..3 {
        let head = format!("GET /healthz HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n");
        kept.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"alive\n") {
            let mut part = [0; 1_024];
            let length = kept.read(&mut part).await.expect("it answers");
            assert!(length > 0, "the connection ended");
            answer.extend_from_slice(&part[..length]);
        }
    }
    stop.cancel();
    answering.await.expect("it stops");
}
