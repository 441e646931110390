//! Whether the topic of the store is the one that the parts were read from.
//!
//! Batches fail while the topic is away. Once they no longer do, the store is asked for the topic's id. If
//! that has changed, the topic was deleted and created again, and what the parts hold is published again.

use std::time::Duration;

use tokio::time::Instant;

use crate::record::TopicId;

/// The wait before a store that did not know the id is asked again. It doubles each time, since some
/// stores never know one.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The longest of these waits.
const ASK_AGAIN_AFTER_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct StoreTopic {
    /// The id, once it is known.
    id: Option<TopicId>,
    /// Whether the topic may have another id by now.
    is_in_doubt: bool,
    is_asked_for: bool,
    /// When it may be asked for again.
    ask_at: Option<Instant>,
    next_wait: Duration,
    /// Whether the last batch was not published.
    fails: bool,
    was_recreated: bool,
}

impl StoreTopic {
    pub(super) const fn new() -> Self {
        Self {
            id: None,
            is_in_doubt: true,
            is_asked_for: false,
            ask_at: None,
            next_wait: ASK_AGAIN_AFTER,
            fails: false,
            was_recreated: false,
        }
    }

    /// A batch was published, or was not.
    pub(super) const fn batch_ended(&mut self, is_published: bool) {
        self.fails = !is_published;
        if self.fails {
            (self.is_in_doubt, self.ask_at) = (true, None);
            self.next_wait = ASK_AGAIN_AFTER;
        }
    }

    /// Whether the store is asked for the id now.
    pub(super) fn begin_question(&mut self, now: Instant) -> bool {
        let may_ask = !self.is_asked_for && !self.fails && self.ask_at.is_none_or(|at| at <= now);
        let asks = self.is_in_doubt && may_ask;
        if asks {
            // A batch that fails from now on raises the doubt again.
            (self.is_in_doubt, self.is_asked_for) = (false, true);
        }
        asks
    }

    pub(super) fn answered(&mut self, id: Option<TopicId>, now: Instant) {
        self.is_asked_for = false;
        match id {
            Some(id) => {
                let former = self.id.replace(id);
                self.was_recreated |= former.is_some_and(|former| former != id);
            }
            None => {
                (self.is_in_doubt, self.ask_at) = (true, Some(now + self.next_wait));
                self.next_wait = (self.next_wait * 2).min(ASK_AGAIN_AFTER_MAX);
            }
        }
    }

    /// Whether the topic was created anew since this was last asked.
    pub(super) fn take_recreated(&mut self) -> bool {
        std::mem::take(&mut self.was_recreated)
    }
}
