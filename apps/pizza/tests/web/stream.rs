//! A stream of server-sent events, as a browser reads it.
#![allow(dead_code, reason = "not every test binary does all of it")]
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::visitor::{self, Visitor};

/// Longer than any event takes, on any machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// An open stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) async fn open(visitor: &Visitor, path: &str) -> Self {
        let mut stream = visitor.open(path).await;
        let (status, headers) = visitor::head(&mut stream).await;
        assert_eq!(status, 200);
        let kind = headers.iter().find(|(name, _)| name == "content-type").unwrap();
        assert_eq!(kind.1, "text/event-stream");
        Self(stream)
    }

    /// The next event's name and text; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(String, String)> {
        let (mut name, mut text) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match timeout(LIMIT, self.0.read_line(&mut line)).await.expect("an event") {
                Ok(1..) => {}
                _ => return None,
            }
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => text.push_str(value),
                _ if line == "\n" && !name.is_empty() => return Some((name, text)),
                _ => {}
            }
        }
    }

    /// Reads the next event, which shows that.
    pub(crate) async fn shows(&mut self, label: &str) {
        let (name, text) = self.next().await.expect("the stream is open");
        assert_eq!(name, "update");
        assert!(text.contains(label), "{label}: {text}");
    }

    /// Reads events until one shows that.
    pub(crate) async fn until_shows(&mut self, label: &str) {
        while !self.next().await.expect("the stream is open").1.contains(label) {}
    }
}
