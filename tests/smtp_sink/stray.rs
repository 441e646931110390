//! Servers that say more than they were asked, or no SMTP at all: a script plays them.

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jobstream::sinks::JobErrorKind;
use jobstream::sinks::smtp::{Connect, MailConfig, ServerFaultKind, Stream, TlsMode};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex};

use super::peer::{OTHER, config, kind_of, send, sink_over};

/// What the server says: first its greeting, then one text for each line that it gets. A text for
/// the final dot comes when the line is a dot.
#[derive(Clone, Default)]
struct Script {
    texts: &'static [&'static str],
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Script {
    fn new(texts: &'static [&'static str]) -> Self {
        Self { texts, ..Self::default() }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").clone()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic")
    }
}

#[async_trait]
impl Connect for Script {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (client, server) = duplex(1 << 16);
        let (texts, heard) = (self.texts, Arc::clone(&self.heard));
        *self.connections.lock().expect("no panic") += 1;
        tokio::spawn(async move {
            let mut server = BufReader::new(server);
            let mut in_message = false;
            for text in texts {
                if server.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                in_message |= text.starts_with("354");
                let mut line = String::new();
                loop {
                    line.clear();
                    if !matches!(server.read_line(&mut line).await, Ok(1..)) {
                        return;
                    }
                    heard.lock().expect("no panic").push(line.trim_end().to_owned());
                    if !in_message || line == ".\r\n" {
                        break;
                    }
                }
                in_message = false;
            }
        });
        Ok(Box::new(client))
    }
}

const GREETING: &str = "220 hello\r\n";
const OK: &str = "250 ok\r\n";
const GO_ON: &str = "354 go on\r\n";

#[tokio::test(start_paused = true)]
async fn what_was_injected_before_tls_is_not_taken_for_an_answer() {
    let script = Script::new(&[
        GREETING,
        "250-hello\r\n250 STARTTLS\r\n",
        "220 go on\r\n250-injected\r\n250 AUTH PLAIN\r\n",
    ]);
    for tls in [TlsMode::Opportunistic, TlsMode::StartTls] {
        let sink = sink_over(script.clone(), &MailConfig { tls, tls_verify: false, ..config() });
        let fault = sink.check().await.unwrap_err();
        assert_eq!(fault.kind(), ServerFaultKind::Tls, "{fault}");
    }
    assert_eq!(script.heard()[..2], ["EHLO example.com", "STARTTLS"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_a_stray_reply_is_not_used_again() {
    let script = Script::new(&[GREETING, OK, OK, OK, GO_ON, "250 ok\r\n250 once more\r\n"]);
    let sink = sink_over(script.clone(), &config());
    for count in 1..=3 {
        assert!(send(&sink, "1", OTHER).await.is_ok());
        assert_eq!(script.connections(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stray_reply_never_makes_a_mail_a_sent_one() {
    // Every answer is one behind, from the second mail on.
    let script =
        Script::new(&[GREETING, OK, OK, OK, GO_ON, "250 first\r\n", OK, OK, OK, OK, OK, OK]);
    let sink = sink_over(script.clone(), &config());
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(kind_of(&sink, "2", OTHER).await, Some(JobErrorKind::Transient));
    assert_eq!(sink.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_speaks_no_smtp_is_no_mail_server() {
    for texts in [
        &["HTTP/1.1 400 Bad Request\r\n"][..],
        &["\x16\x03\x01\x02"],
        &["250\u{fc}\r\n"],
        &[""],
        &["220-never ends\r\n"],
        &[GREETING, "250-hello\r\n220 mixed\r\n"],
    ] {
        let sink = sink_over(Script::new(texts), &config());
        let fault = sink.check().await.unwrap_err();
        assert_eq!(fault.kind(), ServerFaultKind::Unreachable, "{texts:?}: {fault}");
        assert_eq!(kind_of(&sink, "1", OTHER).await, Some(JobErrorKind::Unavailable));
    }
}
