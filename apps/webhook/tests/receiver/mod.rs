//! A receiver of webhooks in memory, which answers what a test wants, and the network that leads to it.

#![allow(dead_code, reason = "not every test wants all of it")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jobstream_service::outbound::{Network, Stream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio::time::sleep;

/// The address of every host whose name nobody has set.
pub(crate) const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));

/// A request that has arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the receiver has done what it was asked for.
    pub(crate) is_done: bool,
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers these bytes after this time, and closes; acts before, or does not.
    Answer { bytes: String, after: Duration, acts: bool },
    /// Closes before it has read anything.
    CloseBefore,
    /// Reads, acts, and closes without an answer.
    CloseAfter,
    /// Reads, acts, and stays silent.
    Stall,
}

impl Act {
    pub(crate) fn answer(status: u16) -> Self {
        Self::with(status, "")
    }

    /// An answer with header lines, each with its line end. One of 2xx, 408 or 5xx has acted, 503 not.
    pub(crate) fn with(status: u16, headers: &str) -> Self {
        let bytes = format!("HTTP/1.1 {status} words\r\n{headers}content-length: 2\r\n\r\nok");
        let acts = matches!(status, 200..=299 | 408 | 500..=599) && status != 503;
        Self::Answer { bytes, after: Duration::ZERO, acts }
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        match self {
            Self::Answer { bytes, acts, .. } => Self::Answer { bytes, after: time, acts },
            other => other,
        }
    }
}

/// What is done with a request to this host and path, if nothing else is to be done once.
type Usual = Box<dyn Fn(&str, &str) -> Act + Send + Sync>;

pub(crate) struct Receiver {
    usual: Usual,
    once: Mutex<VecDeque<Act>>,
    posted: Mutex<Vec<Posted>>,
}

impl Receiver {
    pub(crate) fn new(usual: impl Fn(&str, &str) -> Act + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self::with(usual))
    }

    pub(crate) fn with(usual: impl Fn(&str, &str) -> Act + Send + Sync + 'static) -> Self {
        Self { usual: Box::new(usual), once: Mutex::default(), posted: Mutex::default() }
    }

    /// Answers everybody so.
    pub(crate) fn always(act: Act) -> Arc<Self> {
        Self::new(move |_, _| act.clone())
    }

    /// Does this at the next occasion, before what is usual.
    pub(crate) fn once(&self, act: Act) {
        self.once.lock().unwrap().push_back(act);
    }

    pub(crate) fn heal(&self) {
        self.once.lock().unwrap().clear();
    }

    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        // A client that goes away ends it.
        _ = self.try_serve(stream).await;
    }

    async fn try_serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut once = self.once.lock().unwrap().pop_front();
        if matches!(once, Some(Act::CloseBefore)) {
            return Ok(());
        }
        let mut posted = request(&mut stream).await?;
        let host = posted.headers.get("host").cloned().unwrap_or_default();
        let act = once.take().unwrap_or_else(|| (self.usual)(&host, &posted.path));
        posted.is_done = match &act {
            Act::Answer { acts, .. } => *acts,
            Act::CloseBefore => return Ok(()),
            Act::CloseAfter | Act::Stall => true,
        };
        self.posted.lock().unwrap().push(posted);
        match act {
            Act::Answer { bytes, after, .. } => {
                sleep(after).await;
                stream.write_all(bytes.as_bytes()).await?;
                stream.shutdown().await?;
                // What a client has not read is lost to it if the connection is closed at once.
                stream.read_to_end(&mut Vec::new()).await.map(drop)
            }
            Act::Stall => stream.read_to_end(&mut Vec::new()).await.map(drop),
            _ => Ok(()),
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Posted> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(at) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = read.split_off(head + 4);
    let text = String::from_utf8(read).unwrap();
    let mut lines = text.trim_end().split("\r\n");
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    Ok(Posted { method, path, headers, body, is_done: false })
}

/// Lets a receiver's side of a connection go on.
type Spawn = Box<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// A network on which every address leads to one receiver.
pub(crate) struct InMemory {
    receiver: Arc<Receiver>,
    /// What names mean, each time that they are looked up; the last one stays.
    names: Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>,
    /// Addresses that refuse connections.
    away: Mutex<Vec<IpAddr>>,
    connected: Mutex<Vec<SocketAddr>>,
    spawn: Spawn,
}

impl InMemory {
    pub(crate) fn to(receiver: &Arc<Receiver>) -> Arc<Self> {
        Arc::new(Self {
            receiver: receiver.clone(),
            names: Mutex::default(),
            away: Mutex::default(),
            connected: Mutex::default(),
            spawn: Box::new(|side| drop(tokio::spawn(side))),
        })
    }

    pub(crate) fn name(&self, name: &str, lookups: &[&[IpAddr]]) {
        let lookups = lookups.iter().map(|found| found.to_vec()).collect();
        self.names.lock().unwrap().insert(name.to_owned(), lookups);
    }

    pub(crate) fn is_away(&self, address: IpAddr) {
        self.away.lock().unwrap().push(address);
    }

    /// The addresses that were connected to, those that refused included.
    pub(crate) fn connected(&self) -> Vec<SocketAddr> {
        self.connected.lock().unwrap().clone()
    }
}

#[async_trait]
impl Network for InMemory {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.names.lock().unwrap();
        let Some(lookups) = names.get_mut(name) else { return Ok(vec![PUBLIC]) };
        let found = lookups.pop_front().unwrap();
        if lookups.is_empty() {
            lookups.push_back(found.clone());
        }
        Ok(found)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.connected.lock().unwrap().push(address);
        if self.away.lock().unwrap().contains(&address.ip()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, side) = duplex(64 * 1024);
        (self.spawn)(Box::pin(self.receiver.clone().serve(side)));
        Ok(Box::new(client))
    }
}
