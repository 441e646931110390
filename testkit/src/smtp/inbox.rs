//! Where accepted mails go.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::mail::Mail;

/// How much of each mail the inbox keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every mail, until it is taken.
    #[default]
    Mails,
    /// Only counts: of all mails, and of each Message-ID. For throughput runs, whose memory is then
    /// bounded by the number of different Message-IDs.
    Counts,
}

/// The mails that the server accepted, in the order in which it did. Clones are handles to the same
/// inbox.
///
/// A mail is here before its 250 is written, so a client that has read the 250 finds it.
#[derive(Clone, Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    keep: Keep,
    content: Mutex<Content>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Content {
    /// Accepted since the start: the number of the last mail.
    last: u64,
    /// Accepted since the inbox was last emptied.
    count: u64,
    mails: Vec<Arc<Mail>>,
    ids: BTreeMap<String, u64>,
}

impl Inbox {
    pub(super) fn new(keep: Keep) -> Self {
        let content = Mutex::default();
        Self { shared: Arc::new(Shared { keep, content, arrived: Notify::new() }) }
    }

    /// Puts a mail in and numbers it.
    pub(super) fn accept(&self, mut mail: Mail) {
        let mut content = self.content();
        content.last += 1;
        content.count += 1;
        mail.number = content.last;
        match self.shared.keep {
            Keep::Mails => content.mails.push(Arc::new(mail)),
            Keep::Counts => {
                if let Some(id) = mail.message_id() {
                    *content.ids.entry(id.to_owned()).or_default() += 1;
                }
            }
        }
        drop(content);
        self.shared.arrived.notify_waiters();
    }

    /// The mails that are in the inbox now; none with [`Keep::Counts`].
    #[must_use]
    pub fn mails(&self) -> Vec<Arc<Mail>> {
        self.content().mails.clone()
    }

    /// How many mails were accepted since the inbox was last emptied.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.content().count
    }

    /// How many of them have this Message-ID, given without angle brackets.
    #[must_use]
    pub fn count_of(&self, message_id: &str) -> u64 {
        self.counts().get(message_id).copied().unwrap_or(0)
    }

    /// How many mails each Message-ID has. Mails without one are not in it.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let content = self.content();
        let mut counts = content.ids.clone();
        for id in content.mails.iter().filter_map(|mail| mail.message_id()) {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
        counts
    }

    /// Completes when at least `count` mails were accepted since the inbox was last emptied, and
    /// gives the mails that are in it then. Cancelling it changes nothing. There is no time limit:
    /// wrap it in `tokio::time::timeout` where the mails may never come.
    pub async fn wait_for(&self, count: u64) -> Vec<Arc<Mail>> {
        loop {
            let arrived = self.shared.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            {
                let content = self.content();
                if content.count >= count {
                    return content.mails.clone();
                }
            }
            arrived.await;
        }
    }

    /// Empties the inbox, counts included, and gives the mails that were in it.
    #[must_use = "to throw the mails away, use `clear`"]
    pub fn take(&self) -> Vec<Arc<Mail>> {
        let mut content = self.content();
        content.count = 0;
        content.ids.clear();
        mem::take(&mut content.mails)
    }

    /// Empties the inbox, counts included.
    pub fn clear(&self) {
        drop(self.take());
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.shared.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
