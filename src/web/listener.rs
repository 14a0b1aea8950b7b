//! Where HTTP is answered, and who has a place there.
//!
//! There are only so many places. When all are taken, whoever comes gets that of the connection that has been idle longest among
//! those of the address with the most, and gets it at once: so neither a crowd of idle connections nor one address holds up the
//! others. Nobody loses a place while a request of theirs is being answered; one whose body has yet to come is not, so whoever sends
//! slowly holds up nobody either, and is closed where they stand. Some that were just answered may stay a moment longer than their
//! place, to write what is left.

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

/// Connections at once, where the system allows as many open files. Whoever comes then waits in its queue.
const CONNECTIONS_MAX: usize = 4_096;
/// Connections at once, whatever the system says.
const CONNECTIONS_MIN: usize = 64;
/// Open files for everything else: the database, mail, files of reports.
const OTHER_FILES: usize = 512;
/// How long the head of a request may take to come, also of the next one on a connection that is kept.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers under way may take when the process is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long what is still to be written may take on a connection whose place somebody else has.
const LEAVING: Duration = Duration::from_millis(250);
/// Connections that may take this time at once. They are beyond the places, so that nobody waits for them; the others are closed.
const LEAVING_AT_ONCE: usize = 64;
/// The pause after a connection could not be taken: too many files are open, and some will be closed.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Somebody else is there.
    #[error(
        "web.listen: {at} is in use by another process, maybe another creditd serve. Stop it, or set listen in [web] \
         (CREDITD__WEB__LISTEN) to another port, or to \"off\""
    )]
    InUse {
        /// The address.
        at: SocketAddr,
    },
    /// The system says no.
    #[error(
        "web.listen: {at} cannot be listened at: {source}. Set listen in [web] to an address of this machine, or to \"off\""
    )]
    Listen {
        /// The address.
        at: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Tells when the body of a request has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival(CancellationToken);

impl Arrival {
    /// Waits for the last of it.
    pub(super) async fn whole(&self) {
        self.0.cancelled().await;
    }

    fn is_whole(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A body on its way.
struct Arriving {
    body: Incoming,
    arrival: Arrival,
}

impl Arriving {
    fn new(body: Incoming, arrival: Arrival) -> Arriving {
        let arriving = Arriving { body, arrival };
        arriving.note();
        arriving
    }

    fn note(&self) {
        if self.body.is_end_stream() {
            self.arrival.0.cancel();
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match frame {
            Some(Ok(_)) => self.note(),
            Some(Err(_)) | None => self.arrival.0.cancel(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A place where HTTP is answered.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    at: SocketAddr,
    places: usize,
}

impl Listener {
    /// Takes the place.
    ///
    /// # Errors
    /// [`WebError`] when it is taken or none of this machine's.
    pub async fn bind(at: SocketAddr) -> Result<Listener, WebError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => WebError::InUse { at },
            _ => WebError::Listen { at, source },
        };
        let socket = TcpListener::bind(at).await.map_err(failed)?;
        let at = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, at, places: connections_max() })
    }

    /// The same with so many connections at once.
    #[must_use]
    pub const fn with_places(mut self, places: usize) -> Listener {
        self.places = places;
        self
    }

    /// Where it is, with the port that the system gave.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Answers until `stop` is cancelled; what is being answered then is finished.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let places = Arc::new(Places::new(self.places));
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer) = match stop.run_until_cancelled(self.socket.accept()).await {
                None => break,
                Some(Ok(taken)) => taken,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = stop.run_until_cancelled(places.take(peer.ip())).await else { break };
            while connections.try_join_next().is_some() {}
            let Some(place) = place else { continue };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(answer(stream, peer, router, place, stop));
        }
        if tokio::time::timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await.is_err() {
            tracing::debug!("connections were still open; they are closed");
        }
    }
}

/// As many connections as the system lets this process have, at most [`CONNECTIONS_MAX`]. A process that begins with few open files may
/// often have more if it asks.
fn connections_max() -> usize {
    let wanted = u64::try_from(CONNECTIONS_MAX + OTHER_FILES).unwrap_or(u64::MAX);
    let allowed = rlimit::increase_nofile_limit(wanted).or_else(|_| rlimit::Resource::NOFILE.get_soft());
    let files = match allowed {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::debug!(%error, "the limit of open files is not known");
            0
        }
    };
    files.saturating_sub(OTHER_FILES).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// Answers what comes on a connection.
async fn answer(stream: TcpStream, peer: SocketAddr, router: Router, place: Place, stop: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let place = &place;
    let service = service_fn(|request: Request<Incoming>| {
        let arrival = Arrival::default();
        let mut request = request.map(|body| Body::new(Arriving::new(body, arrival.clone())));
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(arrival.clone());
        let answering = router.call(request);
        async move {
            let mut answering = pin!(answering);
            place.set_idle_since(Some(Moment::now()));
            place.set_stage(Stage::Asked(arrival.clone()));
            let answer = tokio::select! {
                biased;
                () = arrival.whole() => {
                    let _busy = place.busy();
                    answering.await
                }
                answer = &mut answering => answer,
            };
            place.set_stage(Stage::Answered);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.leave.cancelled() => {
            let (time, _leaving) = place.farewell();
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(time, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection ended");
    }
}

/// The places there are, and who has them.
struct Places {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
    leaving: Semaphore,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Holder>,
    /// How many each address has, so that nobody counts them whenever somebody comes.
    of: BTreeMap<IpAddr, usize>,
}

struct Holder {
    peer: IpAddr,
    /// Since when nothing is being answered there; `None` while something is.
    idle_since: Option<Moment>,
    leave: CancellationToken,
}

/// What becomes of whoever comes.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// There is room.
    Now,
    /// It gets the place of this one.
    For(u64),
    /// All places are busy.
    Later,
    /// Its address has half of all places, and all of them are busy.
    Never,
}

impl Places {
    fn new(max: usize) -> Places {
        let (taken, freed) = (Mutex::default(), Notify::new());
        Places { max, taken, freed, leaving: Semaphore::new(LEAVING_AT_ONCE) }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, which takes time only while all of them are busy; `None` where its address has enough.
    async fn take(self: &Arc<Places>, peer: IpAddr) -> Option<Place> {
        loop {
            let freed = self.freed.notified();
            if let Some(taken) = self.try_take(peer) {
                return taken;
            }
            freed.await;
        }
    }

    /// The same; `None` where all places are busy.
    fn try_take(self: &Arc<Places>, peer: IpAddr) -> Option<Option<Place>> {
        let mut taken = self.taken();
        match taken.turn(peer, self.max) {
            Turn::Now => {}
            Turn::For(number) => {
                if let Some(holder) = taken.remove(number) {
                    holder.leave.cancel();
                }
            }
            Turn::Later => return None,
            Turn::Never => return Some(None),
        }
        let number = taken.next;
        taken.next += 1;
        let leave = CancellationToken::new();
        taken.insert(number, Holder { peer, idle_since: Some(Moment::now()), leave: leave.clone() });
        Some(Some(Place { number, leave, stage: Mutex::default(), places: Arc::clone(self) }))
    }
}

impl Taken {
    fn insert(&mut self, number: u64, holder: Holder) {
        *self.of.entry(holder.peer).or_default() += 1;
        self.by.insert(number, holder);
    }

    fn remove(&mut self, number: u64) -> Option<Holder> {
        let holder = self.by.remove(&number)?;
        if let Some(count) = self.of.get_mut(&holder.peer) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&holder.peer);
            }
        }
        Some(holder)
    }

    fn turn(&self, peer: IpAddr, max: usize) -> Turn {
        if self.by.len() < max / 2 {
            return Turn::Now;
        }
        let idle_longest = |of: Option<IpAddr>| {
            let idle = self.by.iter().filter(|(_, holder)| of.is_none_or(|of| holder.peer == of));
            let since = |(number, holder): (&u64, &Holder)| Some((holder.idle_since?, *number));
            idle.filter_map(since).min().map(|(_, number)| number)
        };
        if self.of.get(&peer).copied().unwrap_or(0) >= max / 2 {
            return idle_longest(Some(peer)).map_or(Turn::Never, Turn::For);
        }
        if self.by.len() < max {
            return Turn::Now;
        }
        let most = self.of.iter().max_by_key(|(_, count)| **count).map(|(peer, _)| *peer);
        idle_longest(most).or_else(|| idle_longest(None)).map_or(Turn::Later, Turn::For)
    }
}

/// A place that a connection has.
struct Place {
    number: u64,
    /// Somebody else has it now.
    leave: CancellationToken,
    stage: Mutex<Stage>,
    places: Arc<Places>,
}

/// How far a connection is.
#[derive(Default)]
enum Stage {
    /// No request has come.
    #[default]
    New,
    /// One has, but for its body perhaps.
    Asked(Arrival),
    /// It is answered, though not all of it may be written.
    Answered,
}

impl Place {
    fn set_stage(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// How long the connection may stay when somebody else has its place: not at all where nobody misses anything.
    fn farewell(&self) -> (Duration, Option<SemaphorePermit<'_>>) {
        match &*self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            // The rest came just when the place went to somebody else. What was begun is finished.
            Stage::Asked(arrival) if arrival.is_whole() => (FAREWELL, None),
            Stage::Answered => match self.places.leaving.try_acquire() {
                Ok(leaving) => (LEAVING, Some(leaving)),
                Err(_) => (Duration::ZERO, None),
            },
            Stage::New | Stage::Asked(_) => (Duration::ZERO, None),
        }
    }

    fn set_idle_since(&self, since: Option<Moment>) {
        if let Some(holder) = self.places.taken().by.get_mut(&self.number) {
            holder.idle_since = since;
        }
    }

    /// Something is being answered until the value is dropped.
    fn busy(&self) -> Busy<'_> {
        self.set_idle_since(None);
        Busy(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.number);
        self.places.freed.notify_one();
    }
}

struct Busy<'a>(&'a Place);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set_idle_since(Some(Moment::now()));
        // Whoever waits may have this place now.
        self.0.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Holders by number: whose, and for how long idle; `None` is busy.
    fn taken(holders: &[(u8, Option<u64>)]) -> Taken {
        let now = Moment::now() + Duration::from_secs(1_000);
        let holder = |(last, idle): &(u8, Option<u64>)| Holder {
            peer: peer(*last),
            idle_since: idle.map(|seconds| now - Duration::from_secs(seconds)),
            leave: CancellationToken::new(),
        };
        let mut taken = Taken { next: 100, ..Taken::default() };
        (0..).zip(holders.iter().map(holder)).for_each(|(number, holder)| taken.insert(number, holder));
        taken
    }

    #[test]
    fn whoever_comes_gets_the_place_that_is_missed_least() {
        let full = [(1, Some(5)), (1, Some(9)), (1, None), (2, Some(20)), (3, None), (4, None)];
        for (holders, from, turn) in [
            (&full[..2], 9, Turn::Now),
            (&full[..5], 9, Turn::Now),
            // The address with the most gives one up, though another is idle for longer.
            (&full, 9, Turn::For(1)),
            (&[(1, None), (1, None), (2, Some(3)), (3, None), (4, None), (5, None)], 9, Turn::For(2)),
            (&[(1, None); 6], 9, Turn::Later),
            // Half of all places are enough for one address.
            (&[(1, Some(1)), (1, None), (1, Some(2))], 1, Turn::For(2)),
            (&[(1, None), (1, None), (1, None)], 1, Turn::Never),
            (&[(1, None), (1, None), (1, None)], 2, Turn::Now),
        ] {
            assert_eq!(taken(holders).turn(peer(from), 6), turn, "{holders:?}");
        }
    }

    #[tokio::test]
    async fn whoever_comes_waits_only_while_all_places_are_busy() {
        let places = Arc::new(Places::new(2));
        let first = places.take(peer(1)).await.expect("a place");
        let second = places.take(peer(2)).await.expect("a place");
        let (busy, _busy) = (first.busy(), second.busy());
        assert!(places.try_take(peer(3)).is_none());
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(peer(3)).await.is_some() }
        });
        drop(busy);
        assert!(waiting.await.expect("no panic"));
        assert!(first.leave.is_cancelled() && !second.leave.is_cancelled());
    }

    /// The place of an idle one is had at once, though the connection is still there.
    #[test]
    fn nobody_waits_for_one_that_leaves() {
        let places = Arc::new(Places::new(4));
        let take = |last| places.try_take(peer(last)).flatten();
        let slow: Vec<Place> = (0..100).map(|_| take(1).expect("a place")).collect();
        assert_eq!(slow.iter().filter(|place| !place.leave.is_cancelled()).count(), 2);
        let others: Vec<Place> = (2..9).map(|last| take(last).expect("a place")).collect();
        let has_place = |place: &&Place| !place.leave.is_cancelled();
        assert_eq!(slow.iter().chain(&others).filter(has_place).count(), 4);
        assert_eq!(places.taken().by.len(), 4);
        assert_eq!(places.taken().of.values().sum::<usize>(), 4);
        drop((slow, others));
        let taken = places.taken();
        assert!(taken.by.is_empty() && taken.of.is_empty());
    }

    #[test]
    fn only_what_was_answered_may_take_its_time_to_leave() {
        let places = Arc::new(Places::new(500));
        let place = |stage| {
            let place = places.try_take(peer(1)).flatten().expect("a place");
            place.set_stage(stage);
            place
        };
        let whole = Arrival::default();
        whole.0.cancel();
        assert_eq!(place(Stage::New).farewell().0, Duration::ZERO);
        assert_eq!(place(Stage::Asked(Arrival::default())).farewell().0, Duration::ZERO);
        assert_eq!(place(Stage::Asked(whole)).farewell().0, FAREWELL);
        let answered: Vec<Place> = (0..=LEAVING_AT_ONCE).map(|_| place(Stage::Answered)).collect();
        let leaving: Vec<_> = answered.iter().map(Place::farewell).collect();
        let (last, first) = leaving.split_last().expect("some");
        assert!(first.iter().all(|(time, _)| *time == LEAVING));
        assert_eq!(last.0, Duration::ZERO);
    }

    /// A connection on which `router` answers, on this place; and the client's side of it.
    async fn connected(router: Router, place: Place) -> (TcpStream, tokio::task::JoinHandle<()>) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let client = TcpStream::connect(socket.local_addr().expect("an address")).await.expect("it listens");
        let (stream, at) = socket.accept().await.expect("a connection");
        (client, tokio::spawn(answer(stream, at, router, place, CancellationToken::new())))
    }

    /// Whoever sends a body slowly has a place until somebody needs it, though their request is being read.
    #[tokio::test]
    async fn a_request_whose_body_has_yet_to_come_makes_room() {
        let begun = Arc::new(Notify::new());
        let reads = {
            let begun = Arc::clone(&begun);
            async move |request: Request| {
                begun.notify_one();
                axum::body::to_bytes(request.into_body(), 100).await.map(|_| ()).map_err(|error| error.to_string())
            }
        };
        let router = Router::new().route("/", axum::routing::post(reads));
        let places = Arc::new(Places::new(2));
        let place = places.take(peer(1)).await.expect("a place");
        let other = places.take(peer(2)).await.expect("a place");
        let _busy = other.busy();
        let (mut slow, answering) = connected(router, place).await;
        slow.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{").await.expect("it reads");
        begun.notified().await;
        assert!(places.try_take(peer(3)).flatten().is_some());
        answering.await.expect("no panic");
    }

    /// Its body came just before its place went to somebody else.
    #[tokio::test]
    async fn what_was_begun_is_answered_without_a_place() {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let reads = {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            async move |body: Bytes| {
                begun.notify_one();
                go_on.notified().await;
                body
            }
        };
        let router = Router::new().route("/", axum::routing::post(reads));
        let place = Arc::new(Places::new(2)).take(peer(1)).await.expect("a place");
        let leave = place.leave.clone();
        let (mut client, answering) = connected(router, place).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nsome").await.expect("it reads");
        begun.notified().await;
        leave.cancel();
        go_on.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("some"), "{answer}");
        answering.await.expect("no panic");
    }
}
