//! What the live page shows of the mail executor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobstream::sinks::smtp::{CircuitChange, Event, Observer};
use jobstream_service::jobs::job_id;
use jobstream_service::page::{Content, Feed, Panel};
use jobstream_service::{Topics, without_addresses};

/// A feed of these topics, which names records by the `Id` of their job.
pub fn feed(topics: &Topics, content: Content) -> Feed {
    Feed::new(topics.clone(), job_id, content).titled("mailjob", "mail server")
}

/// What a page hears of one relay of one of the mail sinks.
#[derive(Clone, Debug)]
pub struct MailFeed {
    feed: Arc<Feed>,
    relay: String,
    sink: usize,
}

impl MailFeed {
    /// Hears what the mail sink of that number finds of that relay. The sink is new: its circuits are
    /// closed.
    pub fn new(feed: Arc<Feed>, relay: String, sink: usize) -> Self {
        feed.server_is_away(&relay, sink, None);
        Self { feed, relay, sink }
    }
}

impl Observer for MailFeed {
    fn on(&self, event: &Event<'_>) {
        let reason = match event {
            Event::CircuitChanged(
                CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason },
            ) => Some(without_addresses(reason)),
            Event::CircuitChanged(CircuitChange::Closed) => None,
            _ => return,
        };
        self.feed.server_is_away(&self.relay, self.sink, reason);
    }
}

/// What the mail servers are used for, in a card of its own: the sums over all of them.
#[derive(Debug, Default)]
pub struct MailPanel {
    relays: Mutex<Vec<Arc<RelayPanel>>>,
}

impl MailPanel {
    /// What hears of one more relay.
    pub fn relay(&self) -> Arc<RelayPanel> {
        let relay = Arc::<RelayPanel>::default();
        self.relays().push(relay.clone());
        relay
    }

    fn relays(&self) -> MutexGuard<'_, Vec<Arc<RelayPanel>>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one relay is used for.
#[derive(Debug, Default)]
pub struct RelayPanel {
    open: AtomicUsize,
    waiting: AtomicUsize,
    left_out: AtomicUsize,
}

impl Observer for RelayPanel {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Connections { open, waiting } => {
                self.open.store(*open, Ordering::Relaxed);
                self.waiting.store(*waiting, Ordering::Relaxed);
            }
            Event::LeftOut { connections } => self.left_out.store(*connections, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Panel for MailPanel {
    fn title(&self) -> &'static str {
        "Mail server"
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let now = |count: fn(&RelayPanel) -> &AtomicUsize| {
            let relays = self.relays();
            let counts = relays.iter().map(|relay| count(relay).load(Ordering::Relaxed));
            counts.sum::<usize>().to_string()
        };
        vec![
            ("Open connections", now(|relay| &relay.open)),
            ("Connections that it does not serve", now(|relay| &relay.left_out)),
            ("Mails that wait for one", now(|relay| &relay.waiting)),
        ]
    }
}
