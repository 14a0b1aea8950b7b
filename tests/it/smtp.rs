//! Deliveries to a mail server that does everything wrong that one can do wrong, each way at each step: whose fault it is,
//! whether the message may have arrived, and that no server keeps us longer than it may.

use crate::support::smtp::{
    At, Does, Encryption, Manner, SmtpServer, certificate, certificate_of_authority, certificate_of_years,
};
use crate::support::{account_id, alert, attachments, python_with};
use creditd::core::delivery::{Fault, Tls};
use creditd::core::ids::Email;
use creditd::core::outbox::{Mailbox, Message};
use creditd::core::secret::Secret;
use creditd::mail::{IsOurs, MailError, SmtpMailer, SmtpOptions};
use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// For servers that answer: ample.
const LONG: Duration = Duration::from_secs(30);
/// For servers that do not: this long is waited for each.
const SHORT: Duration = Duration::from_millis(300);

/// Nobody else delivers.
const OURS: IsOurs<'static> = &|| true;

const READ: &str = include_str!("smtp/read.py");

fn options(server: &SmtpServer, timeout: Duration) -> SmtpOptions {
    options_of(server.port, timeout)
}

fn options_of(port: u16, timeout: Duration) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        ca_file: None,
        connections: 2,
        timeout,
        idempotency_header: None,
    }
}

fn mailer(options: SmtpOptions) -> SmtpMailer {
    let address = Email::new("credits@platform.example").expect("an address");
    SmtpMailer::new(options, Mailbox { name: "AI \"credits\"".into(), address }).expect("a mailer")
}

fn message(number: u32) -> Message {
    let message = alert(&account_id("acme"), number, "ann@acme.example", "2013-03-05T10:15:00Z");
    Message { attachments: attachments(), ..message }
}

fn fault<T>(result: &Result<T, MailError>) -> Option<Fault> {
    result.as_ref().err().map(MailError::fault)
}

#[tokio::test]
async fn a_message_arrives_as_it_was_written() {
    let server = SmtpServer::start(|_| Manner::default()).await;
    let options = SmtpOptions { idempotency_header: Some("X-Idempotency-Key".into()), ..options(&server, LONG) };
    let mailer = mailer(options);
    let said = mailer.deliver(&message(1), OURS).await.expect("delivered");
    assert_eq!(said.as_deref(), Some("250 2.0.0 queued as 1"));
    mailer.deliver(&message(1), OURS).await.expect("delivered again");
    mailer.deliver(&message(2), OURS).await.expect("delivered");
    mailer.finish().await;
    assert_eq!(server.sessions(), 1, "the connection is used again");
    assert_eq!(server.commands().last().map(String::as_str), Some("QUIT"));

    let taken = server.taken();
    assert_eq!((taken[0].from.as_str(), taken[0].to.as_str()), ("credits@platform.example", "ann@acme.example"));
    assert_eq!(taken[0], taken[1], "the same bytes each time");
    assert_ne!(taken[0].header("Message-ID"), taken[2].header("Message-ID"));
    assert_eq!(taken[0].header("Message-ID"), Some(message(1).message_id));
    assert_eq!(taken[0].header("X-Idempotency-Key"), Some(message(1).key.fingerprint()));
    let mail = MessageParser::default().parse(&taken[0].raw).expect("a mail");
    assert_eq!(mail.body_text(0).expect("a text").replace("\r\n", "\n").trim_end(), message(1).text.trim_end());
    let parts: Vec<_> = mail.attachments().map(|part| (part.attachment_name(), part.contents().to_vec())).collect();
    let expected = attachments();
    let expected: Vec<_> = expected.iter().map(|a| (Some(a.name.as_str()), a.bytes.to_vec())).collect();
    assert_eq!(parts, expected);
}

/// What goes wrong, whose fault that is, and whether the message was taken.
#[tokio::test]
async fn each_thing_that_goes_wrong_is_told_from_the_others() {
    let busy = Does::Say("451 4.3.0 busy\r\n");
    let never = Does::Say("554 5.7.1 not from you\r\n");
    let nobody = Does::Say("550 5.1.1 <ann@acme.example> who?\r\n");
    let away = Does::Say("421 4.3.2 going down\r\n");
    let nonsense = Does::Say("\u{1b}[31m\u{fffd} 250 fine\r\n");
    let silent = [Does::Silence, Does::Drip];
    let cases: &[(&[At], &[Does], Fault, bool)] = &[
        (&[At::Greeting, At::Ehlo], &[Does::Close, nonsense, busy, never, away, Does::Flood], Fault::Server, false),
        (&[At::Mail], &[Does::Close, nonsense, away, Does::Flood, Does::Say("354 go on\r\n")], Fault::Server, false),
        (&[At::Rcpt, At::Data], &[Does::Close, nonsense, Does::Flood], Fault::Broken, false),
        (&[At::Greeting, At::Ehlo, At::Mail], &silent, Fault::Server, false),
        (&[At::Rcpt, At::Data], &silent, Fault::Broken, false),
        (&[At::Data], &[Does::Say("250 2.0.0 got it already\r\n")], Fault::Broken, false),
        (&[At::Rcpt, At::Data, At::End], &[away], Fault::Broken, false),
        (&[At::Mail, At::Rcpt, At::Data, At::End], &[busy], Fault::Passing, false),
        (&[At::Mail], &[never], Fault::Settings, false),
        (&[At::Rcpt, At::Data, At::End], &[never], Fault::Message, false),
        (&[At::Rcpt, At::Data, At::End], &[nobody], Fault::Address, false),
        (&[At::End], &[Does::Close, nonsense, Does::Flood, Does::Silence, Does::Drip], Fault::Unknown, false),
        (&[At::Taken], &[Does::Close, nonsense, Does::Flood, Does::Silence, Does::Drip], Fault::Unknown, true),
    ];
    for (ats, ways, expected, taken) in cases {
        for (at, does) in ats.iter().flat_map(|at| ways.iter().map(move |does| (*at, *does))) {
            let timeout = if matches!(does, Does::Silence | Does::Drip) { SHORT } else { LONG };
            let server = SmtpServer::start(move |_| Manner::wrong(at, does)).await;
            let mailer = mailer(options(&server, timeout));
            let result = mailer.deliver(&message(1), OURS).await;
            assert_eq!(fault(&result), Some(*expected), "{at:?} {does:?}: {result:?}");
            let said = result.expect_err("it went wrong").to_string();
            assert!(!said.contains("ann@") && !said.contains('\u{1b}'), "{at:?} {does:?}: {said}");
            assert!(said.ends_with(&format!("(127.0.0.1:{})", server.port)), "{said}");
            assert_eq!(server.taken().len(), usize::from(*taken), "{at:?} {does:?}");
        }
    }
}

/// Whoever finds that somebody else has the message by the time the server waits for it gives it nothing, and leaves.
#[tokio::test]
async fn a_message_that_is_somebody_elses_by_now_does_not_leave() {
    let server = SmtpServer::start(|_| Manner::default()).await;
    let mailer = mailer(options(&server, LONG));
    let said = mailer.deliver(&message(1), &|| false).await.expect("nothing went wrong");
    assert_eq!((said, server.commands().last().map(String::as_str)), (None, Some("DATA")));
    mailer.deliver(&message(2), OURS).await.expect("delivered").expect("it is ours");
    assert_eq!((server.sessions(), server.taken().len()), (2, 1), "on a connection of its own");
    let name = server.taken()[0].header("Message-ID");
    assert_eq!(name, Some(message(2).message_id));
}

/// What a server that closes in the middle has of the message is not all of it. Of a short one all may be on its way by then.
#[tokio::test]
async fn a_message_that_was_cut_in_the_middle_did_not_arrive() {
    let server = SmtpServer::start(|_| Manner::wrong(At::Content, Does::Close)).await;
    let mut long = message(1);
    long.attachments[1].bytes = vec![b'x'; 4_500_000].into();
    assert_eq!(fault(&mailer(options(&server, LONG)).deliver(&long, OURS).await), Some(Fault::Broken));
    assert_eq!(server.taken(), []);
}

/// After a refusal, the next message goes over the same connection, and nothing of the refused one is left on it.
#[tokio::test]
async fn a_refused_message_does_not_take_its_connection_with_it() {
    for (at, code) in
        [(At::Mail, "451 4.3.0"), (At::Rcpt, "450 4.2.0"), (At::Data, "451 4.3.0"), (At::End, "554 5.7.1")]
    {
        let refusal: &'static str = Box::leak(format!("{code} no\r\n").into_boxed_str());
        let server = SmtpServer::start(move |_| Manner::wrong(at, Does::Say(refusal))).await;
        let mailer = mailer(options(&server, LONG));
        for number in 1..=3 {
            mailer.deliver(&message(number), OURS).await.expect_err("refused");
        }
        assert_eq!((server.sessions(), server.taken().len()), (1, 0), "{at:?}");
    }
}

/// A server may close a connection that was used before; that is nobody's fault and no message's delay.
#[tokio::test]
async fn a_stale_connection_is_replaced() {
    let server = SmtpServer::start(|_| Manner { messages_max: Some(1), ..Manner::default() }).await;
    let mailer = mailer(options(&server, LONG));
    for number in 1..=4 {
        mailer.deliver(&message(number), OURS).await.expect("delivered");
    }
    assert_eq!((server.sessions(), server.taken().len()), (4, 4));
}

#[tokio::test]
async fn nobody_there_is_the_servers_fault() {
    let server = SmtpServer::start(|_| Manner::default()).await;
    let options = options(&server, LONG);
    drop(server);
    let result = mailer(options.clone()).deliver(&message(1), OURS).await;
    assert_eq!(fault(&result), Some(Fault::Server));
    let said = result.expect_err("nobody is there").to_string();
    assert!(said.starts_with("the mail server cannot be reached: "), "{said}");
    let result =
        mailer(SmtpOptions { host: "no-such-host.invalid".into(), ..options }).deliver(&message(1), OURS).await;
    assert_eq!(fault(&result), Some(Fault::Server));
}

#[tokio::test]
async fn who_logs_in_is_let_in_and_no_password_is_told() {
    let login = Some(("credits", "s3cret"));
    let server = SmtpServer::start(move |_| Manner { login, ..Manner::default() }).await;
    let with = |login: Option<(&str, &str)>| SmtpOptions {
        login: login.map(|(user, password)| (user.to_owned(), Secret::new(password))),
        ..options(&server, LONG)
    };
    mailer(with(login)).check().await.expect("it lets us in");
    assert_eq!(server.taken(), []);
    mailer(with(login)).deliver(&message(1), OURS).await.expect("delivered");
    let refused = mailer(with(Some(("credits", "wr0ng")))).deliver(&message(1), OURS).await;
    assert_eq!(fault(&refused), Some(Fault::Settings));
    let said = format!("{:?} {}", refused, refused.as_ref().expect_err("refused"));
    assert!(said.contains("535") && said.contains("CREDITD_SMTP_PASSWORD") && !said.contains("AUTH"), "{said}");
    assert_eq!(fault(&mailer(with(None)).deliver(&message(1), OURS).await), Some(Fault::Settings), "it wants a login");
    let open = SmtpServer::start(|_| Manner::default()).await;
    let result = mailer(SmtpOptions { port: open.port, ..with(login) }).deliver(&message(1), OURS).await;
    assert_eq!(fault(&result), Some(Fault::Settings), "it wants none");
    assert_eq!(server.taken().len(), 1);
}

#[tokio::test]
async fn the_way_is_encrypted_and_the_server_is_who_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("written");
        Some(path)
    };
    let (acceptor, pem) = certificate("localhost");
    let (_, other_pem) = certificate("localhost");
    let (mine, others) = (trusted("mine.pem", &pem), trusted("others.pem", &other_pem));
    for (tls, at_once) in [(Tls::Implicit, true), (Tls::Starttls, false)] {
        let encryption = Encryption { acceptor: acceptor.clone(), at_once };
        let login = Some(("credits", "s3cret"));
        let server =
            SmtpServer::start(move |_| Manner { tls: Some(encryption.clone()), login, ..Manner::default() }).await;
        let with = |host: &str, ca_file| SmtpOptions {
            host: host.into(),
            tls,
            ca_file,
            login: Some(("credits".into(), Secret::new("s3cret"))),
            ..options(&server, LONG)
        };
        let good = mailer(with("localhost", mine.clone()));
        good.deliver(&message(1), OURS).await.expect("delivered");
        good.deliver(&message(2), OURS).await.expect("delivered");
        assert_eq!((server.sessions(), server.taken().len()), (1, 2), "{tls}");
        let before = server.commands();
        // Another's certificate, one for another name, and one that the system does not know.
        for (host, ca_file) in [("localhost", &others), ("127.0.0.1", &mine), ("localhost", &None)] {
            let mailer = SmtpMailer::new(
                with(host, ca_file.clone()),
                Mailbox { name: String::new(), address: Email::new("credits@platform.example").expect("an address") },
            );
            // A system without any certificates says so sooner.
            let Ok(mailer) = mailer else { continue };
            let result = mailer.deliver(&message(3), OURS).await;
            assert_eq!(fault(&result), Some(Fault::Server), "{tls} {host}");
            let said = result.expect_err("refused").to_string();
            assert!(said.starts_with("the mail server cannot be trusted: "), "{said}");
        }
        let new = &server.commands()[before.len()..];
        assert!(new.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{new:?}");
        assert_eq!(server.taken().len(), 2);
    }
}

/// As `openssl req -x509` makes them, and as a server answers that knows nothing of TLS at that port.
#[tokio::test]
async fn what_is_wrong_with_tls_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (acceptor, pem) = certificate_of_authority("localhost");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, pem).expect("written");
    let encryption = Encryption { acceptor, at_once: true };
    let of_authority = SmtpServer::start(move |_| Manner { tls: Some(encryption.clone()), ..Manner::default() }).await;
    let plain = SmtpServer::start(|_| Manner::default()).await;
    let of_years = async |years| {
        let (acceptor, pem) = certificate_of_years("localhost", years);
        let file = std::fs::OpenOptions::new().append(true).open(&ca_file);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, pem.as_bytes())).expect("written");
        let encryption = Encryption { acceptor, at_once: true };
        SmtpServer::start(move |_| Manner { tls: Some(encryption.clone()), ..Manner::default() }).await
    };
    let (expired, early) = (of_years((2013, 2014)).await, of_years((2113, 2114)).await);
    for (server, said) in [
        (&expired, "its certificate was valid until 2014-01-01T00:00:00Z; nothing was sent"),
        (&early, "its certificate is valid from 2113-01-01T00:00:00Z on; nothing was sent"),
        (&of_authority, "-addext basicConstraints=critical,CA:FALSE"),
        (
            &plain,
            "what answers does not speak TLS where TLS is to begin; nothing was sent. Check mail.smtp.port and mail.smtp.tls",
        ),
    ] {
        let ca_file = Some(ca_file.clone());
        let with = SmtpOptions { host: "localhost".into(), tls: Tls::Implicit, ca_file, ..options(server, LONG) };
        let error = mailer(with).check().await.expect_err(said);
        assert!(error.fault() == Fault::Server && error.to_string().contains(said), "{error}");
    }
}

/// Many a server takes a conversation with anybody, and says only to the sender that it takes no mail from there.
#[tokio::test]
async fn a_check_finds_that_the_sender_is_refused_and_sends_nothing() {
    for (says, fault, said) in [
        ("530 5.7.0 log in first\r\n", Fault::Settings, "takes no mail yet: 530 5.7.0 log in first; give it a login"),
        ("550 5.7.1 not from you\r\n", Fault::Settings, "refused the sender: 550 5.7.1 not from you; check mail.from"),
        ("451 4.3.0 busy\r\n", Fault::Passing, "refused while naming the sender: 451 4.3.0 busy"),
    ] {
        let server = SmtpServer::start(move |_| Manner::wrong(At::Mail, Does::Say(says))).await;
        let error = mailer(options(&server, LONG)).check().await.expect_err(says);
        assert!(error.fault() == fault && error.to_string().contains(said), "{error}");
    }
    let server = SmtpServer::start(|_| Manner::default()).await;
    mailer(options(&server, LONG)).check().await.expect("it takes mail");
    let said = server.commands();
    assert_eq!(said[1..], ["MAIL FROM:<credits@platform.example>", "RSET", "QUIT"]);
    assert!(server.taken().is_empty());
}

#[tokio::test]
async fn where_starttls_is_hidden_or_refused_nothing_is_sent() {
    let (acceptor, pem) = certificate("localhost");
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, pem).expect("written");
    let offered = move |does| Manner {
        tls: Some(Encryption { acceptor: acceptor.clone(), at_once: false }),
        wrong: Some((At::Starttls, does)),
        ..Manner::default()
    };
    let login = Some(("credits", "s3cret"));
    let manners = [
        Manner { login, ..Manner::default() },
        offered(Does::Say("454 4.7.0 not now\r\n")),
        offered(Does::Close),
        offered(Does::Say("220 go ahead\r\n250 injected\r\n")),
    ];
    for (number, manner) in manners.into_iter().enumerate() {
        let server = SmtpServer::start(move |_| manner.clone()).await;
        let options = SmtpOptions {
            host: "localhost".into(),
            tls: Tls::Starttls,
            login: Some(("credits".into(), Secret::new("s3cret"))),
            ca_file: Some(ca_file.clone()),
            ..options(&server, LONG)
        };
        let result = mailer(options).deliver(&message(1), OURS).await;
        let expected = if number == 3 { Fault::Settings } else { Fault::Server };
        assert_eq!(fault(&result), Some(expected), "{number}: {result:?}");
        let commands = server.commands();
        assert!(commands.iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{commands:?}");
    }
}

#[test]
fn certificates_that_are_none_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let with = |host: &str| {
        let options = SmtpOptions {
            host: host.into(),
            port: 1,
            tls: Tls::Implicit,
            login: None,
            ca_file: Some(path.clone()),
            connections: 1,
            timeout: LONG,
            idempotency_header: None,
        };
        let address = Email::new("credits@platform.example").expect("an address");
        SmtpMailer::new(options, Mailbox { name: String::new(), address }).err().expect("refused").to_string()
    };
    assert!(with("localhost").contains("ca.pem has no certificates that can be used: No such file"));
    std::fs::write(&path, "nothing").expect("written");
    assert!(with("localhost").contains("ca.pem has no certificates that can be used: it has no certificate"));
    assert!(with("local host").starts_with("mail.smtp.host: \"local host\" is no name"));
}

/// Mails as another server takes them and another parser reads them: structure, headers, charset, attachments, and that
/// what the HTML shows is there.
#[tokio::test]
async fn a_server_and_a_parser_that_are_not_ours_read_every_mail_back() {
    let said = "mails by aiosmtpd; install it (PyPI: aiosmtpd)";
    let Some(python) = python_with("aiosmtpd", "CREDITD_REQUIRE_AIOSMTPD", said) else { return };
    let plain = alert(&account_id("acme"), 1, "ann@acme.example", "2013-03-05T10:15:00Z");
    let odd = Message {
        recipient_name: "Zo\u{eb}\r\nBcc: eve@evil.example, \"\u{5d0}\u{202e}\" <x@y.example>".into(),
        subject: "=?utf-8?q?x?=\r\n\r\nBcc: eve \u{6771}\u{4eac} \u{1f4b0} ".repeat(40),
        ..alert(&account_id("acme"), 2, "o'neil+ai@xn--bcher-kva.example", "2013-03-05T10:15:00Z")
    };
    let whole = Message {
        attachments: attachments(),
        unsubscribe_url: Some(format!("https://credits.example/u?t={}", "x".repeat(600))),
        ..alert(&account_id("acme"), 3, "bob@acme.example", "2013-03-05T10:15:00Z")
    };
    let messages = [plain, odd, whole];
    let mut child = Command::new(python)
        .args(["-c", READ, &messages.len().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("it says something").expect("a text");
    let port = line().parse().expect("a port");
    let mailer = mailer(options_of(port, LONG));
    for message in &messages {
        let said = mailer.deliver(message, OURS).await.expect("delivered");
        assert_eq!(said.as_deref(), Some("250 2.0.0 taken"));
    }
    let found: Vec<Value> = serde_json::from_str(&line()).expect("JSON");
    child.wait().expect("it ends");
    assert_eq!(found.len(), messages.len());
    for (message, found) in messages.iter().zip(&found) {
        let recipient = message.key.recipient().as_str();
        assert_eq!(found["defects"], json!([]), "{found:#}");
        assert_eq!((&found["from"], &found["to"]), (&json!("credits@platform.example"), &json!([recipient])));
        assert_eq!(found["addresses"], json!(["credits@platform.example", recipient]));
        assert_eq!(found["message_id"], json!(message.message_id));
        assert_eq!(found["charsets"], json!(["utf-8"]));
        let mut headers =
            vec!["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"];
        if message.unsubscribe_url.is_some() {
            headers.extend(["List-Unsubscribe", "List-Unsubscribe-Post"]);
        }
        headers.sort_unstable();
        assert_eq!(found["headers"], json!(headers));
        let read = |part: &str| found[part].as_str().unwrap_or_default().replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!(
            (read("text"), read("html")),
            (message.text.trim_end().to_owned(), message.html.trim_end().to_owned())
        );
    }
    assert_eq!(found[0]["tree"], json!("alternative(plain html)"));
    assert_eq!(found[0]["subject"], json!(messages[0].subject));
    assert_eq!(found[0]["names"], json!(["AI \"credits\"", messages[0].recipient_name]));
    assert_eq!(found[2]["tree"], json!("mixed(related(alternative(plain html) png) csv)"));
    let url = messages[2].unsubscribe_url.as_deref().expect("it has one");
    assert_eq!(found[2]["unsubscribe"], json!([format!("<{url}>"), "List-Unsubscribe=One-Click"]));
    let parts = messages[2].attachments.iter().map(|part| {
        let id = part.content_id.as_ref().map(|id| format!("<{id}>"));
        let how = if id.is_some() { "inline" } else { "attachment" };
        json!([part.name, part.content_type, how, id, part.sha256()])
    });
    assert_eq!(found[2]["parts"], Value::Array(parts.collect()));
    let shown = found[2]["html"].as_str().expect("a text").split("cid:").nth(1).and_then(|rest| rest.split('"').next());
    assert_eq!(shown, messages[2].attachments[0].content_id.as_deref(), "what the HTML shows is there");
}
