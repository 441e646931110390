//! Servers that say more than they were asked, or no SMTP at all: a script plays them.

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jobstream::sinks::smtp::{Connect, ServerFaultKind, Stream, TcpConnect, TlsMode};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex};
use tokio::net::TcpListener;

use super::peer::{OTHER, config, job_with, kind_of, send, sink_over};

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
            if texts.is_empty() {
                std::future::pending::<()>().await;
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
        let sink = sink_over(script.clone(), &config().tls(tls).tls_verify(false));
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
    // Its answers make no sense, so that it is asked again on a connection of its own.
    assert_eq!(send(&sink, "2", OTHER).await.map(|it| it.reply), Ok("250 first".into()));
    assert_eq!(script.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_port_is_answered_with_a_hint_at_tls() {
    let silent = Script::new(&[]);
    for (tls, hinted) in [(TlsMode::None, true), (TlsMode::Opportunistic, true)] {
        let sink = sink_over(silent.clone(), &config().tls(tls));
        let reason = sink.check().await.unwrap_err().to_string();
        assert_eq!(reason.contains("MAIL_TLS=implicit"), hinted, "{reason}");
    }
    let clear = Script::new(&[GREETING]);
    let sink = sink_over(clear, &config().tls(TlsMode::Implicit));
    let fault = sink.check().await.unwrap_err();
    assert_eq!(fault.kind(), ServerFaultKind::Tls);
    assert!(fault.to_string().contains("another MAIL_TLS"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn helo_is_said_where_ehlo_is_unknown() {
    let script = Script::new(&[GREETING, "502 unknown\r\n", OK, OK, OK, GO_ON, "250 first\r\n"]);
    let sink = sink_over(script.clone(), &config());
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(
        script.heard()[..3],
        ["EHLO example.com", "HELO example.com", "MAIL FROM:<service@example.com>"]
    );
    for refusal in ["501 no\r\n", "550 no\r\n", "421 no\r\n"] {
        let texts: &[_] = vec![GREETING, refusal, OK].leak();
        let script = Script::new(texts);
        assert!(sink_over(script.clone(), &config()).check().await.is_err());
        assert!(!script.heard().iter().any(|line| line.starts_with("HELO")), "{refusal}");
    }
}

/// A server that refuses a message before it has taken all of it, and reads no further.
struct Full(Arc<Mutex<usize>>);

#[async_trait]
impl Connect for Full {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (client, server) = duplex(256);
        *self.0.lock().expect("no panic") += 1;
        tokio::spawn(async move {
            let mut server = BufReader::with_capacity(64, server);
            for text in [GREETING, OK, OK, OK, GO_ON] {
                if server.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                let mut line = String::new();
                if !matches!(server.read_line(&mut line).await, Ok(1..)) {
                    return;
                }
            }
            if server.write_all(b"452 4.3.1 full\r\n").await.is_ok() {
                std::future::pending::<()>().await;
            }
        });
        Ok(Box::new(client))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_last_write_did_not_complete_is_never_used_again() {
    let connections = Arc::new(Mutex::new(0));
    let sink = sink_over(Full(Arc::clone(&connections)), &config());
    for count in 1..=3 {
        let (job, record) = job_with("1", "a@example.com", OTHER, "", &"A line.\n".repeat(500));
        let error = sink.execute(&job, &record).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.reason()),
            (JobErrorKind::Transient, "message: 452 4.3.1 full")
        );
        assert_eq!(*connections.lock().unwrap(), count);
        assert_eq!(sink.open_connections(), 0);
    }
}

/// Refuses a message after three of its lines, and closes the connection by a reset.
async fn refuse_and_reset(listener: TcpListener) -> io::Result<()> {
    loop {
        let mut server = BufReader::new(listener.accept().await?.0);
        let mut line = String::new();
        for text in [GREETING, OK, OK, OK] {
            server.write_all(text.as_bytes()).await?;
            server.read_line(&mut line).await?;
        }
        server.write_all(GO_ON.as_bytes()).await?;
        for _ in 0..3 {
            server.read_line(&mut line).await?;
        }
        server.write_all(b"552 5.3.4 too big\r\n").await?;
        // What it has not read makes a reset of the end.
        drop(server);
    }
}

#[tokio::test]
async fn a_refusal_in_the_midst_of_a_message_is_read_though_a_reset_follows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = refuse_and_reset(listener);
    let sink = sink_over(TcpConnect::new("127.0.0.1", port), &config());
    let sending = async {
        for lines in [9_000, 40_000].repeat(20) {
            let (job, record) =
                job_with("1", "a@example.com", OTHER, "", &"A line.\n".repeat(lines));
            let error = sink.execute(&job, &record).await.unwrap_err();
            let expected = (JobErrorKind::Permanent, "message: 552 5.3.4 too big");
            assert_eq!((error.kind(), error.reason()), expected);
        }
    };
    tokio::select! {
        biased;
        () = sending => {}
        served = serving => panic!("the server has ended: {served:?}"),
    }
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
