//! When the poller polls, and when librdkafka fetches.
//!
//! A pause in librdkafka purges fetched records, which have to be fetched again. So a full buffer
//! first stops the poller, which costs nothing. Only when the buffer stays full, the partitions are
//! paused in librdkafka, so that the poller can go on and learn of rebalances.
//!
//! The thread polls whatever the topology does, so librdkafka alone would never notice that the
//! topology hangs. When the topology has not polled its stream for `max.poll.interval.ms` although
//! it was woken, the thread stops polling; after the same time again librdkafka gives the
//! membership up, and other members take the partitions over. A topology that waits because its
//! stream was empty does not count as hanging.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use tokio::time::Instant;

use super::buffer::{Buffer, Fetch, Shared};
use super::client::{Client, list};
use crate::record::TopicPartition;

/// The buffer is full at this size, not counting partitions that are paused in librdkafka.
const BUFFER_HIGH_BYTES: usize = 2 << 20;
/// While any partition is paused in librdkafka: a partition that the topology has paused is full at
/// this size.
const PAUSED_HIGH_BYTES: usize = 256 << 10;
/// A partition that is paused in librdkafka is fetched again at this size.
const PARTITION_LOW_BYTES: usize = 64 << 10;
/// How long the poller stands still before partitions are paused in librdkafka.
const PATIENCE: Duration = Duration::from_millis(200);

/// librdkafka's own default of `max.poll.interval.ms`.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);

/// Which partitions are paused in librdkafka.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The paused partitions, assigned or not.
    paused: BTreeSet<TopicPartition>,
    full_since: Option<Instant>,
}

impl Flow {
    /// Whether the poller may poll. Pauses and resumes partitions in librdkafka.
    pub(super) fn is_open(&mut self, client: &Client, shared: &Shared) -> bool {
        let now = Instant::now();
        let (pause, resume, open) = shared.with(|buffer| {
            let resume = self.to_resume(buffer);
            let mut pause = self.revoked(buffer);
            let mut open = true;
            if self.is_full(buffer) {
                let since = *self.full_since.get_or_insert(now);
                open = now.duration_since(since) >= PATIENCE;
                if open {
                    pause.extend(self.holding(buffer));
                }
            } else {
                self.full_since = None;
            }
            (pause, resume, open)
        });
        self.pause_and_resume(client, &pause, &resume);
        open
    }

    /// While nothing is paused in librdkafka, only the total counts: a topology that takes in
    /// nothing for a moment may use the whole buffer. After that, each partition that the topology
    /// has paused has its own limit, so that a long pause of many partitions does not add up.
    fn is_full(&self, buffer: &Buffer) -> bool {
        let mut total = 0;
        for (partition, fetch) in &buffer.fetches {
            if self.paused.contains(partition) {
                continue;
            }
            if fetch.paused && !self.paused.is_empty() && fetch.bytes >= PAUSED_HIGH_BYTES {
                return true;
            }
            total += fetch.bytes;
        }
        total >= BUFFER_HIGH_BYTES
    }

    /// The partitions to pause when the buffer stays full.
    fn holding(&self, buffer: &Buffer) -> Vec<TopicPartition> {
        let holds = |fetch: &Fetch| fetch.bytes > 0;
        self.unpaused(buffer).filter(|(_, f)| holds(f)).map(|(name, _)| name.clone()).collect()
    }

    /// Revoked partitions need no fetch.
    fn revoked(&self, buffer: &Buffer) -> Vec<TopicPartition> {
        self.unpaused(buffer).filter(|(_, f)| f.revoked).map(|(name, _)| name.clone()).collect()
    }

    fn unpaused<'a>(
        &'a self,
        buffer: &'a Buffer,
    ) -> impl Iterator<Item = (&'a TopicPartition, &'a Fetch)> {
        buffer.fetches.iter().filter(|(name, _)| !self.paused.contains(*name))
    }

    fn to_resume(&self, buffer: &Buffer) -> Vec<TopicPartition> {
        let wants = |name: &&TopicPartition| {
            buffer.fetches.get(*name).is_some_and(|fetch| {
                !fetch.paused && !fetch.revoked && fetch.bytes <= PARTITION_LOW_BYTES
            })
        };
        self.paused.iter().filter(wants).cloned().collect()
    }

    /// Resumes newly assigned partitions: a pause in librdkafka outlasts the assignment.
    pub(super) fn assigned(&mut self, client: &Client, partitions: &[TopicPartition]) {
        let resume: Vec<_> = partitions.iter().filter(|p| self.paused.contains(p)).collect();
        if !resume.is_empty() {
            self.pause_and_resume(client, &[], &resume.into_iter().cloned().collect::<Vec<_>>());
        }
    }

    fn pause_and_resume(
        &mut self,
        client: &Client,
        pause: &[TopicPartition],
        resume: &[TopicPartition],
    ) {
        let mut done = Ok(());
        if !pause.is_empty() {
            done = done.and(client.pause(&list(pause)));
            self.paused.extend(pause.iter().cloned());
        }
        if !resume.is_empty() {
            done = done.and(client.resume(&list(resume)));
            self.paused.retain(|name| !resume.contains(name));
        }
        if let Err(error) = done {
            client.context().observer.error(&error, "partitions could not be paused or resumed");
        }
    }
}

/// Whether the topology still polls its stream.
#[derive(Debug)]
pub(super) struct Attention {
    limit: Duration,
    /// How often the stream had been polled, and when that was last checked.
    polls: u64,
    seen_at: Instant,
}

impl Attention {
    /// With the limit of `max.poll.interval.ms`.
    pub(super) fn new(config: &ClientConfig) -> Self {
        let interval = config.get("max.poll.interval.ms").and_then(|text| text.parse().ok());
        let limit = interval.map_or(DEFAULT_INTERVAL, Duration::from_millis);
        Self { limit, polls: 0, seen_at: Instant::now() }
    }

    /// Whether the topology has not polled its stream for too long.
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

    use bytes::Bytes;

    use super::*;
    use crate::record::ConsumerRecord;

    /// Puts a record of so many bytes into the buffer.
    fn push(buffer: &mut Buffer, partition: &TopicPartition, bytes: usize) {
        let record =
            ConsumerRecord::new(partition.clone(), 0, 1).value(Bytes::from(vec![0; bytes]));
        buffer.push(vec![[record].into()]);
    }

    #[test]
    fn a_short_pause_may_fill_the_buffer_and_a_long_one_only_its_share() {
        let (mut flow, mut buffer) = (Flow::default(), Buffer::default());
        let [one, other] = [0, 1].map(|number| TopicPartition::new("jobs", number));
        buffer.assign(&one, None);
        buffer.assign(&other, None);
        buffer.set_paused(&[one.clone(), other.clone()], true);
        push(&mut buffer, &one, BUFFER_HIGH_BYTES / 2);
        assert!(!flow.is_full(&buffer));
        push(&mut buffer, &one, BUFFER_HIGH_BYTES / 2);
        assert!(flow.is_full(&buffer));
        flow.paused.insert(one);
        assert!(!flow.is_full(&buffer), "what librdkafka has paused does not count");
        push(&mut buffer, &other, PAUSED_HIGH_BYTES);
        assert!(flow.is_full(&buffer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_polled_hangs_unless_it_was_empty() {
        let mut config = ClientConfig::new();
        config.set("max.poll.interval.ms", "1000");
        let (mut attention, shared) = (Attention::new(&config), Shared::default());
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert!(!attention.is_lost(&shared), "not polled yet: the source has not joined");
        shared.count_poll(1);
        assert!(!attention.is_lost(&shared));
        tokio::time::advance(second).await;
        assert!(attention.is_lost(&shared));
        shared.count_poll(2);
        assert!(!attention.is_lost(&shared), "it was polled");
        shared.with(|buffer| buffer.park(Waker::noop()));
        tokio::time::advance(second).await;
        assert!(!attention.is_lost(&shared), "it waits");
        shared.change(|_| ());
        assert!(!attention.is_lost(&shared), "it was woken just now");
        tokio::time::advance(second).await;
        assert!(attention.is_lost(&shared));
    }
}
