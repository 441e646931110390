//! A client that sends the lines of a case.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use super::Subject;

#[derive(Debug)]
pub(super) struct Client<'a> {
    subject: &'a Subject,
    stream: BufStream<TcpStream>,
}

impl<'a> Client<'a> {
    pub(super) async fn connect(subject: &'a Subject) -> Self {
        let stream =
            TcpStream::connect(subject.address).await.expect("the server takes connections");
        Self { subject, stream: BufStream::new(stream) }
    }

    /// Connects, reads the greeting and says EHLO.
    pub(super) async fn greeted(subject: &'a Subject) -> Self {
        let mut client = Self::connect(subject).await;
        assert_eq!(client.code().await, 220, "the greeting");
        client.expect("EHLO me.example", &[250]).await;
        client
    }

    pub(super) fn to(&self, local: &str) -> String {
        format!("RCPT TO:<{local}@{}>", self.subject.domain)
    }

    pub(super) async fn send(&mut self, octets: impl AsRef<[u8]> + Send) {
        self.stream.write_all(octets.as_ref()).await.expect("the connection takes octets");
        self.stream.flush().await.expect("the connection takes octets");
    }

    /// The lines of the next reply; none at the end of the connection.
    pub(super) async fn reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let octets = self.stream.read_line(&mut line).await.expect("a reply is text");
            if octets == 0 {
                return lines;
            }
            assert!(line.ends_with("\r\n"), "a reply's line ends with CRLF: {line:?}");
            let last = line.get(3..4) != Some("-");
            lines.push(line.trim_end().to_owned());
            if last {
                return lines;
            }
        }
    }

    /// The code of the next reply; 0 at the end of the connection.
    pub(super) async fn code(&mut self) -> u16 {
        let reply = self.reply().await;
        let last = reply.last().and_then(|line| line.get(..3)?.parse().ok());
        last.unwrap_or(0)
    }

    /// Says a line, and asserts that the code of its reply is one of these.
    pub(super) async fn expect(&mut self, line: impl AsRef<str> + Send, codes: &[u16]) {
        let line = line.as_ref();
        self.send(format!("{line}\r\n")).await;
        let code = self.code().await;
        assert!(codes.contains(&code), "{line:?} got {code}, expected one of {codes:?}");
    }

    /// MAIL, RCPT and DATA.
    pub(super) async fn envelope(&mut self) {
        self.expect("MAIL FROM:<me@a.example>", &[250]).await;
        self.expect(self.to("you"), &[250]).await;
        self.expect("DATA", &[354]).await;
    }
}

/// Waits until a mail with this marker in it is delivered, and gives it from the marker on, with LF
/// as line end.
pub(super) async fn delivered(subject: &Subject, marker: &str) -> String {
    loop {
        for mail in (subject.received)() {
            let text = String::from_utf8_lossy(&mail).replace("\r\n", "\n");
            if let Some(at) = text.find(marker) {
                return text[at..].to_owned();
            }
        }
        tokio::task::yield_now().await;
    }
}
