//! What the live page shows of the mail executor.

use std::sync::Arc;

use jobstream::sinks::smtp::{CircuitChange, Observer};
use jobstream_service::page::{Content, Feed, Topics as ShownTopics};
use jobstream_service::without_addresses;

use crate::job_id::job_id;
use crate::topology::Topics;

/// A feed of these topics, which names records by the `Id` of their job.
pub fn feed(topics: &Topics, content: Content) -> Feed {
    let Topics { jobs, results, dead_letters } = topics.clone();
    Feed::new(ShownTopics { jobs, results, dead_letters }, job_id, content)
}

/// What a page hears of one of the mail sinks.
#[derive(Clone, Debug)]
pub struct MailFeed {
    feed: Arc<Feed>,
    sink: usize,
}

impl MailFeed {
    /// Hears the mail sink of that number, which is new: its circuit is closed.
    pub fn new(feed: Arc<Feed>, sink: usize) -> Self {
        feed.server_is_away(sink, None);
        Self { feed, sink }
    }
}

impl Observer for MailFeed {
    fn circuit(&self, change: &CircuitChange) {
        let reason = match change {
            CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason } => {
                Some(without_addresses(reason))
            }
            CircuitChange::Closed => None,
        };
        self.feed.server_is_away(self.sink, reason);
    }
}
