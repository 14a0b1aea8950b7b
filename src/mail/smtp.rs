//! Mail over SMTP: one recipient a message, on a few connections that are used again.
//!
//! lettre speaks the protocol; this file says what and when, because whether a delivery may be repeated depends on how far
//! it came ([`Step`]). A message is the server's once it has answered 2xx to the end of it. Each delivery is bounded in
//! time as a whole, whatever the server does: lettre's own limit covers the connecting alone.

use super::reply::{Step, Trouble, Wrong, shown};
use super::wire::{Budget, Channel, Wire};
use super::{IsOurs, MailError, eml};
use crate::core::calendar::Instant;
use crate::core::delivery::Tls;
use crate::core::outbox::{Mailbox, Message};
use crate::core::secret::Secret;
use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto};

/// Behind STARTTLS a server does not greet again, and lettre begins with a greeting.
const GREETING: &[u8] = b"220 encrypted\r\n";
/// How long saying goodbye may take, on all connections.
const GOODBYE: Duration = Duration::from_secs(1);

/// Which server, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpOptions {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is encrypted.
    pub tls: Tls,
    /// User name and password, where it wants any.
    pub login: Option<(String, Secret)>,
    /// A file of certificates (PEM) to trust instead of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Most connections at once; at least one.
    pub connections: usize,
    /// The longest that a delivery may take.
    pub timeout: Duration,
    /// The header in which a provider looks for a key of the message, to deliver it once.
    pub idempotency_header: Option<String>,
}

/// Delivers to one server.
pub struct SmtpMailer {
    options: SmtpOptions,
    from: Mailbox,
    sender: Address,
    hello: ClientId,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    smtp: AsyncSmtpConnection,
    budget: Budget,
}

/// How far a delivery is, also for whoever cuts it short.
struct Progress(AtomicU8);

impl Progress {
    const fn new() -> Progress {
        Progress(AtomicU8::new(0))
    }

    fn at(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        Step::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn trouble(&self, wrong: Wrong) -> Trouble {
        Trouble { step: self.step(), wrong }
    }

    fn failed(&self, error: &lettre::transport::smtp::Error) -> Trouble {
        self.trouble(wrong(error))
    }

    /// An answer to something else is none: what follows would be taken for the answer to what follows.
    fn expect(&self, response: Response, first: u16) -> Result<Response, Trouble> {
        let code = u16::from(response.code());
        if code / 100 == first { Ok(response) } else { Err(self.trouble(Wrong::Nonsense)) }
    }
}

impl SmtpMailer {
    /// Reads the certificates to trust; connects to nothing yet.
    ///
    /// # Errors
    /// [`MailError`] when there are none, or host or sender cannot be.
    pub fn new(options: SmtpOptions, from: Mailbox) -> Result<SmtpMailer, MailError> {
        let address = from.address.as_str().parse::<Address>();
        let sender = address.map_err(|source| MailError::Address {
            whose: "sender's",
            mail: "every mail".to_owned(),
            source,
        })?;
        let tls = match options.tls {
            Tls::None => None,
            Tls::Implicit | Tls::Starttls => {
                let name = ServerName::try_from(options.host.clone())
                    .map_err(|_| MailError::Host { host: options.host.clone() })?;
                Some((connector(options.ca_file.as_deref())?, name))
            }
        };
        let permits = Semaphore::new(options.connections.max(1));
        Ok(SmtpMailer { options, from, sender, hello: ClientId::default(), tls, permits, idle: Mutex::default() })
    }

    /// Most deliveries at once.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.options.connections
    }

    /// Delivers `message`, and returns what the server said to it. `None` where `is_ours` says no when the server waits for the
    /// message: it gets nothing of it then.
    ///
    /// # Errors
    /// [`MailError`], which says whose fault it is and whether the message may have been delivered all the same.
    pub async fn deliver(&self, message: &Message, is_ours: IsOurs<'_>) -> Result<Option<String>, MailError> {
        let name = message.key.name();
        let header = self.options.idempotency_header.as_deref().map(|name| (name, message.key.fingerprint()));
        let mail = eml::compose(&self.from, message, header, &name)?;
        let recipient = message.key.recipient().as_str().parse::<Address>();
        let recipient =
            recipient.map_err(|source| MailError::Address { whose: "recipient's", mail: name.clone(), source })?;
        let (bytes, progress) = (mail.formatted(), Progress::new());
        self.within_time(&progress, self.send(&recipient, &bytes, &progress, is_ours)).await
    }

    /// Connects, logs in and names the sender, which many a server refuses only then; takes that back and sends nothing.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn check(&self) -> Result<(), MailError> {
        let progress = Progress::new();
        let work = async {
            let mut connection = self.connect(&progress).await?;
            self.name_sender(&mut connection, &progress).await?;
            let undone = connection.smtp.command(Rset).await.map_err(|error| progress.failed(&error))?;
            progress.expect(undone, 2)?;
            Ok(connection)
        };
        let connection = self.within_time(&progress, work).await?;
        self.put_back(connection);
        self.finish().await;
        Ok(())
    }

    /// Says goodbye on every connection that is not in use.
    pub async fn finish(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        let goodbyes = async {
            for mut connection in idle {
                // Whoever does not answer has nothing of ours any more.
                let _ = connection.smtp.quit().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbyes).await;
    }

    async fn within_time<R>(
        &self,
        progress: &Progress,
        work: impl Future<Output = Result<R, Trouble>>,
    ) -> Result<R, MailError> {
        let _permit = self.permits.acquire().await;
        let done = tokio::time::timeout(self.options.timeout, work).await;
        let done = done.unwrap_or_else(|_| Err(progress.trouble(Wrong::Late)));
        let server = format!("{}:{}", self.options.host, self.options.port);
        done.map_err(|trouble| MailError::Smtp { server, fault: trouble.fault(), what: trouble.to_string() })
    }

    fn put_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Delivers on a connection that is there, or on a new one when those that are there have gone stale: a server may
    /// close them whenever it likes, which one learns with the next word.
    async fn send(
        &self,
        recipient: &Address,
        bytes: &[u8],
        progress: &Progress,
        is_ours: IsOurs<'_>,
    ) -> Result<Option<String>, Trouble> {
        loop {
            progress.at(Step::Connect);
            let (mut connection, is_used) = match self.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect(progress).await?, false),
            };
            match self.converse(&mut connection, recipient, bytes, progress, is_ours).await {
                Ok(Some(said)) => {
                    self.put_back(connection);
                    return Ok(Some(said));
                }
                // A server that waits for a message can only be left.
                Ok(None) => return Ok(None),
                Err(trouble) if is_used && trouble.step == Step::Sender && !trouble.is_an_answer() => {}
                Err(trouble) => {
                    // What was begun is undone, so that the connection can be used again.
                    if trouble.is_an_answer() && is_ok(&connection.smtp.command(Rset).await) {
                        self.put_back(connection);
                    }
                    return Err(trouble);
                }
            }
        }
    }

    async fn converse(
        &self,
        connection: &mut Connection,
        recipient: &Address,
        bytes: &[u8],
        progress: &Progress,
        is_ours: IsOurs<'_>,
    ) -> Result<Option<String>, Trouble> {
        self.name_sender(connection, progress).await?;
        let smtp = &mut connection.smtp;
        let failed = |error| progress.failed(&error);
        progress.at(Step::Recipient);
        progress.expect(smtp.command(Rcpt::new(recipient.clone(), Vec::new())).await.map_err(failed)?, 2)?;
        progress.at(Step::Data);
        progress.expect(smtp.command(Data).await.map_err(failed)?, 3)?;
        if !is_ours() {
            return Ok(None);
        }
        progress.at(Step::Content);
        // lettre asks for the next part when the last one is written, and on hearing that there is none ends the message.
        let end = std::iter::from_fn(|| {
            progress.at(Step::End);
            None
        });
        let response = smtp.message_iter(std::iter::once(bytes).chain(end)).await.map_err(failed)?;
        let response = progress.expect(response, 2)?;
        let said = response.message().collect::<Vec<_>>().join(" ");
        Ok(Some(shown(&format!("{} {said}", response.code()))))
    }

    /// The first words of every message.
    async fn name_sender(&self, connection: &mut Connection, progress: &Progress) -> Result<(), Trouble> {
        progress.at(Step::Sender);
        connection.budget.renew();
        let from = Mail::new(Some(self.sender.clone()), Vec::new());
        let response = connection.smtp.command(from).await.map_err(|error| progress.failed(&error))?;
        progress.expect(response, 2).map(drop)
    }

    async fn connect(&self, progress: &Progress) -> Result<Connection, Trouble> {
        let SmtpOptions { host, port, .. } = &self.options;
        progress.at(Step::Connect);
        let broke = |error: std::io::Error| progress.trouble(Wrong::Broke(error.to_string()));
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(broke)?;
        stream.set_nodelay(true).map_err(broke)?;
        let mut connection = match (self.options.tls, &self.tls) {
            (Tls::Implicit, Some(tls)) => {
                let channel = encrypt(stream, tls).await.map_err(|wrong| progress.trouble(wrong))?;
                self.greet(Wire::new(channel, b""), progress).await?
            }
            (Tls::Starttls, Some(tls)) => {
                let stream = self.ask_for_tls(stream, progress).await?;
                let channel = encrypt(stream, tls).await.map_err(|wrong| progress.trouble(wrong))?;
                self.greet(Wire::new(channel, GREETING), progress).await?
            }
            _ => self.greet(Wire::new(Channel::Plain(stream), b""), progress).await?,
        };
        if let Some((username, password)) = &self.options.login {
            progress.at(Step::Login);
            let credentials = Credentials::new(username.clone(), password.expose().to_owned());
            let response = connection.smtp.auth(DEFAULT_MECHANISMS, &credentials).await;
            let response = response.map_err(|error| match wrong(&error) {
                _ if error.is_client() => progress.trouble(Wrong::NoLogin),
                wrong => progress.trouble(wrong),
            })?;
            if !response.has_code(235) {
                return Err(progress.trouble(Wrong::Nonsense));
            }
        }
        Ok(connection)
    }

    async fn greet(&self, wire: Wire, progress: &Progress) -> Result<Connection, Trouble> {
        let budget = wire.budget();
        let smtp = AsyncSmtpConnection::connect_with_transport(Box::new(wire), &self.hello).await;
        Ok(Connection { smtp: smtp.map_err(|error| progress.failed(&error))?, budget })
    }

    /// Asks for TLS in the clear. Whatever else came in the clear is forgotten with the conversation.
    async fn ask_for_tls(&self, stream: TcpStream, progress: &Progress) -> Result<TcpStream, Trouble> {
        let wire = Wire::new(Channel::Plain(stream), b"");
        let channel = wire.shared();
        let mut clear = self.greet(wire, progress).await?;
        if !clear.smtp.can_starttls() {
            let why = "the mail server does not offer STARTTLS, or somebody on the way hides it; nothing was sent. Set \
                       mail.smtp.tls to \"implicit\" if it speaks TLS from the first byte (port 465)";
            return Err(progress.trouble(Wrong::Unsafe(why.to_owned())));
        }
        clear.smtp.command(Starttls).await.map_err(|error| progress.failed(&error))?;
        drop(clear);
        match Arc::into_inner(channel).map(|channel| channel.into_inner().unwrap_or_else(PoisonError::into_inner)) {
            Some(Channel::Plain(stream)) => Ok(stream),
            _ => Err(progress.trouble(Wrong::Nonsense)),
        }
    }
}

fn is_ok(response: &Result<Response, lettre::transport::smtp::Error>) -> bool {
    response.as_ref().is_ok_and(|response| u16::from(response.code()) / 100 == 2)
}

/// What lettre says went wrong.
fn wrong(error: &lettre::transport::smtp::Error) -> Wrong {
    let source = || error.source().map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) => Wrong::Refused { code: code.into(), words: shown(&source()) },
        // So it calls the end of a connection.
        None if error.is_response() && source() == "incomplete response" => {
            Wrong::Broke("the server closed it".to_owned())
        }
        None if error.is_response() => Wrong::Nonsense,
        None => Wrong::Broke(shown(&source())),
    }
}

async fn encrypt(stream: TcpStream, tls: &(TlsConnector, ServerName<'static>)) -> Result<Channel, Wrong> {
    let (connector, name) = tls;
    let stream = connector.connect(name.clone(), stream).await.map_err(|error| {
        // What is wrong with a certificate is said by rustls, and is not the network's fault.
        let why = shown(&error.to_string());
        match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(_)) => Wrong::Unsafe(
                "what answers does not speak TLS where TLS is to begin; nothing was sent. Check mail.smtp.port and mail.smtp.tls: \
                 \"implicit\" is TLS from the first byte (port 465), \"starttls\" begins in the clear (ports 587 and 25)"
                    .to_owned(),
            ),
            // rustls has no name of its own for it.
            Some(rustls::Error::InvalidCertificate(why)) if format!("{why:?}").contains("CaUsedAsEndEntity") => {
                Wrong::Unsafe(
                    "the mail server cannot be trusted: it shows the certificate of an authority (CA:TRUE) where its own is needed; \
                     nothing was sent. Give it one that an authority in mail.smtp.ca_file has signed, or make its own with `openssl req \
                     -x509 -addext basicConstraints=critical,CA:FALSE` and name that"
                        .to_owned(),
                )
            }
            // rustls says it in seconds since 1970.
            Some(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Wrong::Unsafe(format!(
                    "the mail server cannot be trusted: its certificate was valid until {}; nothing was sent. Whoever runs that server renews it",
                    date(*not_after)
                ))
            }
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                Wrong::Unsafe(format!(
                    "the mail server cannot be trusted: its certificate is valid from {} on; nothing was sent. Look at the clock of this machine, \
                     and at the certificate",
                    date(*not_before)
                ))
            }
            Some(_) => Wrong::Unsafe(format!(
                "the mail server cannot be trusted: {why}; nothing was sent. Check mail.smtp.host and mail.smtp.tls, and name \
                 a private authority in mail.smtp.ca_file"
            )),
            None => Wrong::Broke(format!("while agreeing on TLS: {error}")),
        }
    })?;
    Ok(Channel::Tls(Box::new(stream)))
}

fn date(at: UnixTime) -> Instant {
    Instant::from_micros(i64::try_from(at.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// TLS with the certificates of `ca_file`, or with those that the system trusts.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, MailError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unusable = |why: String| MailError::Certificates { path: path.to_owned(), why };
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it has no certificate".to_owned()));
            }
        }
        None => {
            // Systems have certificates that nobody can read; those that can be are what is trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(MailError::NoCertificates);
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|_| MailError::NoCertificates)?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
