//! Whether the topology still looks at its stream.
//!
//! The thread polls on whatever the topology does, so that librdkafka alone would never see that it
//! hangs. When the stream is owed a look for `max.poll.interval.ms`, the thread stops polling; after
//! the same time again librdkafka gives the membership up, and others take the partitions over. A
//! topology that waits, full or paused, owes none: it has seen that nothing is there.

use std::time::Duration;

use rdkafka::ClientConfig;
use tokio::time::Instant;

use super::shared::Shared;

/// librdkafka's own default.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Attention {
    limit: Duration,
    /// How often the stream had been polled, and when that was seen.
    polls: u64,
    seen_at: Instant,
}

impl Attention {
    /// As long as `max.poll.interval.ms` says.
    pub(super) fn new(config: &ClientConfig) -> Self {
        let interval = config.get("max.poll.interval.ms").and_then(|text| text.parse().ok());
        let limit = interval.map_or(DEFAULT_INTERVAL, Duration::from_millis);
        Self { limit, polls: 0, seen_at: Instant::now() }
    }

    /// Whether the stream has been owed a look for too long.
    pub(super) fn is_lost(&mut self, shared: &Shared) -> bool {
        let polls = shared.polls();
        if polls != self.polls || polls == 0 || shared.with(|buffer| buffer.is_parked()) {
            self.polls = polls;
            self.seen_at = Instant::now();
        }
        self.seen_at.elapsed() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_owed_a_look_unless_it_has_seen_that_nothing_is_there() {
        let mut config = ClientConfig::new();
        config.set("max.poll.interval.ms", "1000");
        let (mut attention, shared) = (Attention::new(&config), Shared::default());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert!(!attention.is_lost(&shared), "not polled yet: nobody has joined");
        shared.count_poll(1);
        assert!(!attention.is_lost(&shared));
        tokio::time::advance(second).await;
        assert!(attention.is_lost(&shared));
        shared.count_poll(2);
        assert!(!attention.is_lost(&shared), "it has looked");
        shared.with(|buffer| buffer.park(Waker::noop()));
        tokio::time::advance(second).await;
        assert!(!attention.is_lost(&shared), "it waits");
        shared.change(|_| ());
        assert!(!attention.is_lost(&shared), "it was woken just now");
        tokio::time::advance(second).await;
        assert!(attention.is_lost(&shared));
    }
}
