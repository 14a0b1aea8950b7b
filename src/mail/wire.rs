//! What a conversation with a mail server goes over: TCP, perhaps with TLS, with a bound on what the server may say.
//!
//! lettre reads a line of any length before it looks how long it is, and sends the end of a message as a packet of its own,
//! which waits for an acknowledgement unless the socket is told not to. So the connection is ours: no server can fill
//! the memory, and no packet waits.

use lettre::transport::smtp::client::AsyncTokioStream;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What a server may say in one step: a greeting and its abilities, or the replies to one message. Ten times what any
/// of them has reason for.
const SAID_BYTES_MAX: usize = 100_000;

/// A connection, encrypted or not.
pub(super) enum Channel {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is left of [`SAID_BYTES_MAX`].
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// The next step begins.
    pub fn renew(&self) {
        self.0.store(SAID_BYTES_MAX, Ordering::Relaxed);
    }
}

/// A connection as lettre takes it.
pub(super) struct Wire {
    channel: Arc<Mutex<Channel>>,
    budget: Budget,
    /// What is read before anything that comes from the server.
    first: &'static [u8],
}

impl Wire {
    /// A wire over `channel` on which `first` is read first.
    pub fn new(channel: Channel, first: &'static [u8]) -> Wire {
        let budget = Budget(Arc::new(AtomicUsize::new(SAID_BYTES_MAX)));
        Wire { channel: Arc::new(Mutex::new(channel)), budget, first }
    }

    /// What the server may still say on it.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// Its channel, for when the wire is gone.
    pub fn shared(&self) -> Arc<Mutex<Channel>> {
        Arc::clone(&self.channel)
    }

    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let (now, later) = self.first.split_at(self.first.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.first = later;
            return Poll::Ready(Ok(()));
        }
        let left = self.budget.0.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other("the server says too much")));
        }
        let before = buffer.filled().len();
        let read = match &mut *self.channel() {
            Channel::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Channel::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        let more = buffer.filled().len() - before;
        self.budget.0.store(left.saturating_sub(more), Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.channel() {
            Channel::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Channel::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.channel() {
            Channel::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.channel() {
            Channel::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Channel::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &*self.channel() {
            Channel::Plain(stream) => stream.peer_addr(),
            Channel::Tls(stream) => stream.get_ref().0.peer_addr(),
        }
    }
}
