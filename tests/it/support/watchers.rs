//! A monitoring that is told of runs by pings: a web server that says yes to everything and remembers what it was asked.

use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Listens on a port of the loopback for as long as the runtime lives.
pub struct Watchers {
    at: SocketAddr,
    asked: Mutex<UnboundedReceiver<String>>,
}

impl Watchers {
    pub async fn start() -> Watchers {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (said, asked) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let said = said.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let (mut line, mut is_first) = (String::new(), true);
                    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                        if is_first {
                            let _ = said.send(line.trim_end().trim_end_matches(" HTTP/1.1").to_owned());
                            is_first = false;
                        }
                        if line == "\r\n" {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await;
                            is_first = true;
                        }
                        line.clear();
                    }
                });
            }
        });
        Watchers { at, asked: Mutex::new(asked) }
    }

    /// The address of a check.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.at)
    }

    /// What it is asked next, such as `GET /path`.
    pub async fn next(&self) -> String {
        self.asked.lock().await.recv().await.expect("it listens")
    }
}
