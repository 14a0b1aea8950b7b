//! A wire to a server that breaks now and then: before a request goes through, right behind it, or with the answer in it.
//! A commit whose answer is lost that way is done, and who asked for it cannot know.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// One of so many requests or answers breaks the wire: a unit of work has some thirty, and must come through in a few tries.
const BREAKS_ONE_IN: u32 = 120;
/// The name of a server's socket, by which clients find it in a folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// The wire; whole until it is said to break.
pub struct Wire {
    _folder: tempfile::TempDir,
    url: String,
    state: Arc<State>,
    serving: tokio::task::AbortHandle,
}

#[derive(Default)]
struct State {
    is_breaking: AtomicBool,
    /// The next request with this text is done, and its answer lost.
    lost: Mutex<Option<&'static str>>,
    breaks: AtomicU64,
}

impl State {
    fn loses_answer_to(&self, request: &[u8]) -> bool {
        let is_there = |text: &mut &str| request.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        let is_lost = self.lost.lock().expect("a lock").take_if(is_there).is_some();
        self.breaks.fetch_add(u64::from(is_lost), Ordering::Relaxed);
        is_lost
    }
}

impl Wire {
    /// A wire to the server of a database url as tests have them, on which the socket's folder stands as the host.
    pub fn to(url: &str) -> Wire {
        let folder = tempfile::Builder::new().prefix("creditd-wire-").tempdir_in("/tmp").expect("a temporary folder");
        let (user, rest) = url.split_once('@').expect("a user");
        let (host, rest) = rest.split_once('/').expect("a database");
        let server = PathBuf::from(host.replace("%2F", "/")).join(SOCKET);
        let host = folder.path().to_string_lossy().replace('/', "%2F");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let state = Arc::<State>::default();
        let serving = tokio::spawn(serve(listener, server, Arc::clone(&state))).abort_handle();
        Wire { _folder: folder, url: format!("{user}@{host}/{rest}"), state, serving }
    }

    /// The url of the database at the other end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on it breaks.
    pub fn break_from_now_on(&self) {
        self.state.is_breaking.store(true, Ordering::Relaxed);
    }

    /// It is cut for good: whoever is connected is cut off, and whoever connects is refused, as by a server that is down.
    pub fn cut(&self) {
        self.serving.abort();
    }

    /// It breaks once, with the answer to the next request that has `text` in it.
    pub fn lose_answer_to(&self, text: &'static str) {
        *self.state.lost.lock().expect("a lock") = Some(text);
    }

    /// How often it broke.
    pub fn breaks(&self) -> u64 {
        self.state.breaks.load(Ordering::Relaxed)
    }
}

async fn serve(listener: UnixListener, server: PathBuf, state: Arc<State>) {
    // Whoever ends this ends them all.
    let mut connections = JoinSet::new();
    for seed in 0.. {
        let (client, _) = listener.accept().await.expect("a client");
        let server = UnixStream::connect(&server).await.expect("the server is there");
        connections.spawn(pass_on(client, server, fastrand::Rng::with_seed(seed), Arc::clone(&state)));
    }
}

/// Passes on what both say, until one of them ends or the wire breaks: then both are cut off.
async fn pass_on(mut client: UnixStream, mut server: UnixStream, mut rng: fastrand::Rng, state: Arc<State>) {
    let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut breaks = || {
        let breaks = state.is_breaking.load(Ordering::Relaxed) && rng.u32(..BREAKS_ONE_IN) == 0;
        state.breaks.fetch_add(u64::from(breaks), Ordering::Relaxed);
        breaks
    };
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(1..) = read else { return };
                let request = &request[..read.unwrap_or(0)];
                if breaks() || server.write_all(request).await.is_err() || breaks() {
                    return;
                }
                if state.loses_answer_to(request) {
                    let _ = server.read(&mut answer).await;
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(1..) = read else { return };
                if breaks() || client.write_all(&answer[..read.unwrap_or(0)]).await.is_err() {
                    return;
                }
            }
        }
    }
}
