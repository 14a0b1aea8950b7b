//! A mail server in this process, on loopback: it takes what it is given, and does what it is told to do wrong.
//!
//! Each session has a number, and a function says by it how the session goes. A session that goes wrong does so at one step
//! and in one way. What was taken is kept as it came, whether or not the client was told.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// Where a session goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Greeting,
    Ehlo,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// In the middle of the message.
    Content,
    /// After the message, which is not taken.
    End,
    /// After the message, which is taken.
    Taken,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// The connection is closed.
    Close,
    /// Nothing is said any more.
    Silence,
    /// A byte in ten seconds.
    Drip,
    /// This is said, line end and all. Then it goes on as if nothing were the matter.
    Say(&'static str),
    /// A line without an end.
    Flood,
    /// Whoever waits for it is told, and nothing is said any more.
    Tell,
    /// Whoever waits for it is told, and it goes on as if nothing were the matter when it is let go on.
    Hold,
}

impl Does {
    /// Whether it is a refusal as servers write them.
    pub fn is_refusal(self) -> bool {
        matches!(self, Does::Say(text) if text.starts_with(['4', '5']))
    }
}

/// How a session goes.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Whether it is encrypted from the first byte, or offers to be.
    pub tls: Option<Encryption>,
    /// Who must log in.
    pub login: Option<(&'static str, &'static str)>,
    /// What goes wrong.
    pub wrong: Option<(At, Does)>,
    /// The one recipient for whom nothing does while the recipient is named.
    pub but_for: Option<&'static str>,
    /// What the recipients begin with for whom alone it goes wrong while they are named; everybody where there is none.
    pub only_for: Option<&'static str>,
    /// Messages, taken or not, after which it says that it goes away; as many as come when there is none.
    pub messages_max: Option<usize>,
}

impl Manner {
    pub fn wrong(at: At, does: Does) -> Manner {
        Manner { wrong: Some((at, does)), ..Manner::default() }
    }
}

/// A certificate of the server, and how it comes into play.
#[derive(Clone)]
pub struct Encryption {
    pub acceptor: TlsAcceptor,
    pub at_once: bool,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")
    }
}

/// A certificate for `name` that only who is told trusts; and as PEM, for telling.
pub fn certificate(name: &str) -> (TlsAcceptor, String) {
    certificate_of(CertificateParams::new(vec![name.to_owned()]).expect("a name"))
}

/// The same as authorities have it, which is how many a server of one's own has it, too.
pub fn certificate_of_authority(name: &str) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    certificate_of(params)
}

/// The same, valid from one year's first day to another's.
pub fn certificate_of_years(name: &str, (from, to): (i32, i32)) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
    certificate_of(params)
}

fn certificate_of(params: CertificateParams) -> (TlsAcceptor, String) {
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let config = config.with_single_cert(chain, key).expect("key and certificate");
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

/// A message as it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: String,
    pub raw: Vec<u8>,
}

impl Taken {
    /// The value of a header that stands on one line.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.raw);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    }
}

#[derive(Default)]
struct Shared {
    taken: Mutex<Vec<Taken>>,
    commands: Mutex<Vec<String>>,
    sessions: AtomicU64,
    told: Notify,
    goes_on: Notify,
}

/// The server; it ends with this value.
pub struct SmtpServer {
    pub port: u16,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl SmtpServer {
    /// A server whose `n`th session, from 0, goes as `manner(n)` says.
    pub async fn start(manner: impl Fn(u64) -> Manner + Send + Sync + 'static) -> SmtpServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let listening = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let mut sessions = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while sessions.try_join_next().is_some() {}
                    let number = shared.sessions.fetch_add(1, Ordering::Relaxed);
                    let (manner, shared) = (manner(number), Arc::clone(&shared));
                    // How it ended is seen by what was taken.
                    sessions.spawn(async move { drop(attend(stream, manner, shared).await) });
                }
            }
        });
        SmtpServer { port, shared, listening }
    }

    /// Sessions begun.
    pub fn sessions(&self) -> u64 {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// What was taken, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("a lock").clone()
    }

    /// What was said to it, but for messages and passwords' answers.
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().expect("a lock").clone()
    }

    /// Waits until a session [`Does::Tell`] or [`Does::Hold`].
    pub async fn told(&self) {
        self.shared.told.notified().await;
    }

    /// Lets a session go on that [`Does::Hold`].
    pub fn go_on(&self) {
        self.shared.goes_on.notify_one();
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn attend(stream: TcpStream, manner: Manner, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match manner.tls.clone() {
        Some(Encryption { acceptor, at_once: true }) => {
            let stream = acceptor.accept(stream).await?;
            Session::new(stream, manner, shared).greet_and_serve().await.map(drop)
        }
        Some(Encryption { acceptor, .. }) => {
            let mut session = Session::new(stream, manner.clone(), Arc::clone(&shared));
            if session.greet_and_serve().await? {
                let stream = acceptor.accept(session.stream.into_inner()).await?;
                let mut session = Session::new(stream, Manner { tls: None, ..manner }, shared);
                session.serve().await?;
            }
            Ok(())
        }
        None => Session::new(stream, manner, shared).greet_and_serve().await.map(drop),
    }
}

struct Session<S> {
    stream: BufReader<S>,
    manner: Manner,
    shared: Arc<Shared>,
    messages: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, manner: Manner, shared: Arc<Shared>) -> Session<S> {
        Session { stream: BufReader::new(stream), manner, shared, messages: 0 }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await?;
        self.stream.get_mut().flush().await
    }

    /// Says `text`, or what this session does instead at this step. True when it goes on as it should.
    async fn answer(&mut self, at: At, text: &str) -> io::Result<bool> {
        let does = match self.manner.wrong {
            Some((wrong_at, does)) if wrong_at == at => does,
            _ => return self.say(text).await.map(|()| true),
        };
        match does {
            Does::Say(other) => self.say(other).await.map(|()| other.starts_with('2') || other.starts_with('3')),
            Does::Close => Err(io::ErrorKind::ConnectionAborted.into()),
            Does::Silence => self.wait_for_the_end().await,
            Does::Tell => {
                self.shared.told.notify_one();
                self.wait_for_the_end().await
            }
            Does::Hold => {
                self.manner.wrong = None;
                self.shared.told.notify_one();
                self.shared.goes_on.notified().await;
                self.say(text).await.map(|()| true)
            }
            Does::Drip => {
                for byte in text.chars() {
                    self.say(&byte.to_string()).await?;
                    tokio::time::sleep(Duration::from_secs(10)).await;
                }
                Err(io::ErrorKind::TimedOut.into())
            }
            Does::Flood => loop {
                self.say(&"x".repeat(10_000)).await?;
            },
        }
    }

    async fn wait_for_the_end(&mut self) -> io::Result<bool> {
        let mut rest = [0; 1_000];
        while self.stream.read(&mut rest).await? > 0 {}
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await?;
        Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn greet_and_serve(&mut self) -> io::Result<bool> {
        self.answer(At::Greeting, "220 mail.example at your service\r\n").await?;
        self.serve().await
    }

    /// True when the client asked for TLS and was told to begin.
    async fn serve(&mut self) -> io::Result<bool> {
        let (mut from, mut to) = (None, None);
        let mut is_in = self.manner.login.is_none();
        while let Some(line) = self.line().await? {
            self.shared.commands.lock().expect("a lock").push(line.clone());
            let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let path =
                || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned());
            match word.as_str() {
                "EHLO" => {
                    let starttls =
                        if self.manner.tls.as_ref().is_some_and(|tls| !tls.at_once) { "250-STARTTLS\r\n" } else { "" };
                    let auth = if self.manner.login.is_some() { "250-AUTH PLAIN LOGIN\r\n" } else { "" };
                    self.answer(At::Ehlo, &format!("250-mail.example\r\n{starttls}{auth}250 8BITMIME\r\n")).await?;
                }
                "STARTTLS" => {
                    if self.answer(At::Starttls, "220 go ahead\r\n").await? {
                        return Ok(true);
                    }
                }
                "AUTH" => {
                    let expected =
                        self.manner.login.map(|(user, password)| format!("AUTH PLAIN {}", plain(user, password)));
                    is_in = expected.as_deref() == Some(line.as_str());
                    let text =
                        if is_in { "235 2.7.0 in\r\n".to_owned() } else { format!("535 5.7.8 not you: {line}\r\n") };
                    is_in &= self.answer(At::Auth, &text).await?;
                }
                "MAIL" if !is_in => self.say("530 5.7.0 log in first\r\n").await?,
                "MAIL" if self.manner.messages_max.is_some_and(|most| self.messages >= most) => {
                    return self.say("421 4.7.0 enough for today\r\n").await.map(|()| false);
                }
                "MAIL" => {
                    self.messages += 1;
                    if self.answer(At::Mail, "250 2.1.0 ok\r\n").await? {
                        from = path();
                    }
                }
                "RCPT"
                    if self.manner.but_for.is_some_and(|to| path().as_deref() == Some(to))
                        || self.manner.only_for.is_some_and(|to| path().is_some_and(|path| !path.starts_with(to))) =>
                {
                    self.say("250 2.1.5 ok\r\n").await?;
                    to = path();
                }
                "RCPT" => {
                    if self.answer(At::Rcpt, "250 2.1.5 ok\r\n").await? {
                        to = path();
                    }
                }
                "DATA" => {
                    if self.answer(At::Data, "354 go on\r\n").await? {
                        let (from, to) = (from.take().expect("MAIL came"), to.take().expect("RCPT came"));
                        self.take(from, to).await?;
                    }
                }
                "RSET" => {
                    (from, to) = (None, None);
                    self.say("250 2.0.0 ok\r\n").await?;
                }
                "QUIT" => return self.say("221 2.0.0 bye\r\n").await.map(|()| false),
                _ => self.say("500 5.5.1 what?\r\n").await?,
            }
        }
        Ok(false)
    }

    async fn take(&mut self, from: String, to: String) -> io::Result<()> {
        let mut raw = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                break;
            }
            raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            if matches!(self.manner.wrong, Some((At::Content, _))) {
                self.answer(At::Content, "").await?;
            }
        }
        if !matches!(self.manner.wrong, Some((At::End, _))) {
            self.shared.taken.lock().expect("a lock").push(Taken { from, to, raw });
        }
        let at = if matches!(self.manner.wrong, Some((At::End, _))) { At::End } else { At::Taken };
        self.answer(at, &format!("250 2.0.0 queued as {}\r\n", self.messages)).await.map(drop)
    }
}

/// User and password as AUTH PLAIN has them, in base64.
fn plain(user: &str, password: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = format!("\0{user}\0{password}").into_bytes();
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |sum, at| sum << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * at)) as usize & 63];
            text.push(if at > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
