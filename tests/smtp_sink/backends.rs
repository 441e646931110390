//! Hosts that are more than one server: several addresses, or a balancer before several of them, of
//! which one is dead.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use jobstream::sinks::JobSink as _;
use jobstream::sinks::smtp::{Connect, Stream};
use jobstream_testkit::smtp::{Act, Misfortune, Moment, Per, SmtpServer, SmtpServerBuilder};
use tokio::time::{Instant, timeout};

use super::peer::{OTHER, paused, send, sink_over, with_connections};

const MAILS: usize = 24;

/// What the server that takes no mails does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dead {
    IsSilent,
    Says421,
    Closes,
    Refuses,
}

/// What the other one does after each mail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Good {
    Keeps,
    Closes,
    Drops,
}

/// Which of the two a connection reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// Each has its address: the one that came to nothing of late is tried last.
    Address,
    /// One after the other.
    Turn,
}

/// A host with a dead server and a good one.
#[derive(Clone)]
struct Host {
    good: Arc<SmtpServer>,
    silent: Arc<SmtpServer>,
    dead: Dead,
    by: By,
    /// The place of the dead one.
    dead_at: usize,
    first: Arc<AtomicUsize>,
    came_to_nothing: Arc<Mutex<Vec<IpAddr>>>,
}

impl Host {
    fn new(dead: Dead, good: Good, by: By, dead_at: usize) -> Self {
        let builder = match good {
            Good::Keeps => SmtpServer::builder(),
            Good::Closes => SmtpServer::builder()
                .misfortune(Misfortune::at(Moment::Dot).then(Act::DisconnectAfter)),
            Good::Drops => {
                let second = Misfortune::at(Moment::Mail).nth(2).per(Per::Connection);
                SmtpServer::builder().misfortune(second.then(Act::DisconnectBefore))
            }
        };
        let mut silent = SmtpServer::builder();
        silent = match dead {
            Dead::Says421 => {
                silent.misfortune(Misfortune::at(Moment::Connect).reply(421, "too busy"))
            }
            Dead::Closes => {
                silent.misfortune(Misfortune::at(Moment::Connect).then(Act::DisconnectBefore))
            }
            Dead::IsSilent | Dead::Refuses => silent.served_limit(0),
        };
        let in_memory =
            |builder: SmtpServerBuilder| Arc::new(builder.in_memory().expect("a server in memory"));
        Self {
            good: in_memory(builder),
            silent: in_memory(silent),
            dead,
            by,
            dead_at,
            first: Arc::default(),
            came_to_nothing: Arc::default(),
        }
    }
}

fn address(place: usize) -> IpAddr {
    let last = u8::try_from(place).expect("one of two");
    Ipv4Addr::new(192, 0, 2, last).into()
}

#[async_trait]
impl Connect for Host {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        self.reach().await.map(|(stream, _)| stream)
    }

    async fn reach(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        let mut place = self.first.load(Relaxed) % 2;
        if self.by == By::Turn {
            self.first.fetch_add(1, Relaxed);
        }
        if place == self.dead_at && self.dead == Dead::Refuses {
            match self.by {
                By::Turn => return Err(io::ErrorKind::ConnectionRefused.into()),
                By::Address => place = 1 - place,
            }
        }
        let server = if place == self.dead_at { &self.silent } else { &self.good };
        let stream = server.connect()?;
        Ok((Box::new(stream), (self.by == By::Address).then(|| address(place))))
    }

    fn came_to_nothing(&self, in_vain: IpAddr) {
        let place = usize::from(in_vain == address(1));
        self.first.store(1 - place, Relaxed);
        self.came_to_nothing.lock().expect("no panic").push(in_vain);
    }
}

/// Sends all mails at once, each until it was taken.
async fn all_arrive(host: &Host, connections: usize, case: &str) {
    let sink = sink_over(host.clone(), &with_connections(connections));
    let sent = join_all((0..MAILS).map(|number| {
        let sink = &sink;
        async move {
            loop {
                sink.ready().await;
                if send(sink, &number.to_string(), OTHER).await.is_ok() {
                    break;
                }
            }
        }
    }));
    // At worst every second opening is waited for, and the circuit opens now and then.
    let limit = Duration::from_secs(15 * MAILS as u64);
    let start = Instant::now();
    let ended = timeout(40 * limit, sent).await;
    let (took, found) = (start.elapsed(), host.good.inbox().count());
    assert!(ended.is_ok() && took <= limit, "{case}: found {found} mails after {took:?}");
    assert_eq!(host.good.inbox().count(), MAILS as u64, "{case}");
    let blamed = host.came_to_nothing.lock().expect("no panic");
    assert!(blamed.iter().all(|it| *it == address(host.dead_at)), "{case}: {blamed:?}");
}

#[test]
fn one_dead_server_of_a_host_stops_no_mail() {
    for dead in [Dead::IsSilent, Dead::Says421, Dead::Closes, Dead::Refuses] {
        for good in [Good::Keeps, Good::Closes, Good::Drops] {
            for by in [By::Address, By::Turn] {
                for dead_at in 0..2 {
                    for connections in [1, 2, 8] {
                        let case = format!("{dead:?} {good:?} {by:?} {dead_at} {connections}");
                        let host = Host::new(dead, good, by, dead_at);
                        paused(all_arrive(&host, connections, &case));
                    }
                }
            }
        }
    }
}
