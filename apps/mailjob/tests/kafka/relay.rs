//! A relay before a mail server, which can keep the server's answers to final dots to itself.

#![expect(clippy::unwrap_used, reason = "a test's relay")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::join;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::stage::{LIMIT, LOOK_AGAIN_AFTER};

/// What ends a mail, and is in none: a text's own dots are doubled (RFC 5321, section 4.5.2).
const FINAL_DOT: &[u8] = b"\r\n.\r\n";

pub(crate) struct Relay {
    address: SocketAddr,
    answers: Arc<Answers>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Answers {
    /// Whether those to final dots are kept.
    are_kept: AtomicBool,
    /// Mails whose acceptance was kept.
    kept: AtomicUsize,
}

impl Relay {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, answers) = (listener.local_addr().unwrap(), Arc::<Answers>::default());
        let of_relay = answers.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(relay(client, server, of_relay.clone()));
            }
        });
        Self { address, answers, accepting }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, a client that ends a mail gets no answer.
    pub(crate) fn keep_answers(&self) {
        self.answers.kept.store(0, Ordering::Release);
        self.answers.are_kept.store(true, Ordering::Release);
    }

    /// Completes when the server has accepted so many mails of which nobody has heard.
    pub(crate) async fn has_kept(&self, mails: usize) {
        let kept = async {
            while self.answers.kept.load(Ordering::Acquire) < mails {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        timeout(LIMIT, kept).await.expect("mails that are accepted");
    }

    /// From now on, mails that are ended are answered.
    pub(crate) fn give_answers(&self) {
        self.answers.are_kept.store(false, Ordering::Release);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes on what both sides say, until both have ended.
async fn relay(client: TcpStream, server: TcpStream, answers: Arc<Answers>) {
    let is_silent = AtomicBool::new(false);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut last = Vec::new();
    let commands = pass_on(from_client, to_server, |said| {
        last.extend_from_slice(said);
        let is_ended = last.windows(FINAL_DOT.len()).any(|bytes| bytes == FINAL_DOT);
        if is_ended && answers.are_kept.load(Ordering::Acquire) {
            is_silent.store(true, Ordering::Release);
        }
        last.drain(..last.len().saturating_sub(FINAL_DOT.len() - 1));
        true
    });
    let replies = pass_on(from_server, to_client, |said| {
        let is_silent = is_silent.load(Ordering::Acquire);
        if is_silent && said.starts_with(b"250 ") {
            answers.kept.fetch_add(1, Ordering::AcqRel);
        }
        !is_silent
    });
    join!(commands, replies);
}

/// Passes on what `may_pass`, until there is no more. A side that was killed has ended too.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut may_pass: impl FnMut(&[u8]) -> bool,
) {
    let mut said = [0; 8 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut said).await {
        if may_pass(&said[..bytes]) && to.write_all(&said[..bytes]).await.is_err() {
            return;
        }
    }
    // The other side may have gone.
    let _ = to.shutdown().await;
}
