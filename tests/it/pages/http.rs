//! A listener with the real router, and requests to it, byte by byte.

use creditd::app::App;
use creditd::jobs::Kit;
use creditd::web::{self, Listener};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Pages of a ledger.
pub struct Site {
    at: SocketAddr,
    stop: CancellationToken,
    answering: JoinHandle<()>,
}

/// A request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub cookie: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

impl<'a> Asked<'a> {
    /// Of nobody.
    pub const fn get(path: &'a str) -> Asked<'a> {
        Asked { method: "GET", path, cookie: None, headers: &[], body: "" }
    }
}

/// What came back; a body that is no text has marks in it.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

impl Site {
    pub async fn open(app: App) -> Site {
        let kit = Arc::new(Kit::open(app).await.expect("a kit"));
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
        let (at, stop) = (listener.at(), CancellationToken::new());
        let answering = tokio::spawn(listener.serve(web::router(web::State::new(kit)), stop.clone()));
        Site { at, stop, answering }
    }

    /// As somebody who has a cookie.
    pub async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Asked { cookie: Some(cookie), ..Asked::get(path) }).await
    }

    pub async fn ask(&self, asked: Asked<'_>) -> Answer {
        let Asked { method, path, cookie, headers, body } = asked;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: credits.example\r\nConnection: close\r\n");
        if let Some(cookie) = cookie {
            request.push_str(&format!("Cookie: {cookie}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
            if !headers.iter().any(|(name, _)| *name == "Content-Type") {
                request.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            }
        }
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).await.expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("it answers");
        let answer = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.answering.await.expect("it stops");
    }
}
