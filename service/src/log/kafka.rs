//! The lines of Kafka: one a change, and librdkafka's own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::kafka::{ErrorKind, Event, LogLevel, Observer};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// The same kind of error is logged once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Logs what Kafka's clients report.
#[derive(Debug, Default)]
pub struct KafkaLog {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: BTreeMap<ErrorKind, Instant>,
    /// When outputs of a topic were last said to wait, and for what.
    waiting: BTreeMap<String, (ErrorKind, Instant)>,
    /// It was logged that no broker can be reached, and not yet that one can.
    is_away: bool,
}

impl KafkaLog {
    /// Brokers can't be reached; logged once a while.
    pub fn is_away(&self, reason: &str) {
        self.error(ErrorKind::Unreachable, reason);
    }

    /// Brokers have answered; logged if they were away.
    pub fn is_back(&self) {
        if std::mem::take(&mut self.told().is_away) {
            info!("Kafka available");
        }
    }

    /// An error of that kind was logged in other words: the clients' own words for it are not
    /// logged again.
    pub fn was_told(&self, kind: ErrorKind) {
        self.told().is_news(kind);
    }

    fn error(&self, kind: ErrorKind, reason: &str) {
        if !self.told().is_news(kind) {
            return debug!("Kafka: {reason}");
        }
        match kind {
            ErrorKind::Passing => info!("Kafka: {reason}"),
            ErrorKind::Unreachable => warn!("Kafka unavailable, waiting: {reason}"),
            ErrorKind::Fatal => error!("Kafka: {reason}"),
            _ => warn!("Kafka: {reason}"),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Whether an error of that kind is to be logged, by now. Brokers that are away are so until
    /// they are back: one line a change.
    fn is_news(&mut self, kind: ErrorKind) -> bool {
        if kind == ErrorKind::Unreachable && self.is_away {
            return false;
        }
        if self.last.get(&kind).is_some_and(|at| at.elapsed() < REPEAT_AFTER) {
            return false;
        }
        self.last.insert(kind, Instant::now());
        self.is_away |= kind == ErrorKind::Unreachable;
        true
    }

    /// Whether it is to be logged that outputs of a topic wait for this, by now.
    fn is_news_of(&mut self, topic: &str, kind: ErrorKind) -> bool {
        let is_known =
            |(known, at): &(ErrorKind, Instant)| *known == kind && at.elapsed() < REPEAT_AFTER;
        if self.waiting.get(topic).is_some_and(is_known) {
            return false;
        }
        self.waiting.insert(topic.to_owned(), (kind, Instant::now()));
        true
    }
}

impl Observer for KafkaLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Error { kind, reason } => self.error(*kind, reason),
            // A failure is reported as an error, too.
            Event::Log { facility: "FAIL" | "ERROR", line, .. } => debug!("Kafka: {line}"),
            Event::Log { level: LogLevel::Error | LogLevel::Warning, line, .. } => {
                warn!("Kafka: {line}");
            }
            Event::Log { line, .. } => debug!("Kafka: {line}"),
            Event::ForeignCommit { partition, reason } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                warn!(topic, partition, "A commit of another program: {reason}");
            }
            Event::SmallMetadata { bytes, window } => warn!(
                bytes,
                window,
                "Brokers take little metadata with a commit (offset.metadata.max.bytes, 4096 by \
                 default): records are taken in only so far above an unfinished one"
            ),
            Event::NoTopicIds { reason } => info!(
                "Without topic ids, a topic that is deleted and created again is known only by \
                 offsets that go back: {reason}"
            ),
            Event::RestoreWaits { partition, reason } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                warn!(topic, partition, "State is not restored yet: {reason}");
            }
            Event::UnreadableHeader { partition, offset } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                warn!(topic, partition, offset, "A header's name is no UTF-8: its value is lost");
            }
            Event::PublishRetried { records, topic, kind, reason } => {
                if self.told().is_news_of(topic, *kind) {
                    warn!(records, "Outputs are published again: {reason}");
                } else {
                    debug!(records, "Outputs are published again: {reason}");
                }
            }
            Event::Fenced { reason } => warn!("The producer was fenced: {reason}"),
            Event::FencedByItself { reason } | Event::Expelled { reason } => {
                warn!("The member had lost its session, and joins the group anew: {reason}");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_kind_of_error_is_news_once_a_minute() {
        let mut told = Told::default();
        assert!(told.is_news(ErrorKind::Authorization));
        assert!(!told.is_news(ErrorKind::Authorization));
        assert!(told.is_news(ErrorKind::UnknownTopic));
        tokio::time::advance(REPEAT_AFTER).await;
        assert!(told.is_news(ErrorKind::Authorization));
    }

    #[tokio::test(start_paused = true)]
    async fn outputs_that_wait_are_news_once_a_minute_for_each_topic_and_cause() {
        let mut told = Told::default();
        assert!(told.is_news_of("results", ErrorKind::UnknownTopic));
        assert!(!told.is_news_of("results", ErrorKind::UnknownTopic));
        assert!(told.is_news_of("dead-letters", ErrorKind::UnknownTopic));
        assert!(told.is_news_of("results", ErrorKind::Authorization));
        assert!(!told.is_news_of("results", ErrorKind::Authorization));
        tokio::time::advance(REPEAT_AFTER).await;
        assert!(told.is_news_of("results", ErrorKind::Authorization));
    }

    #[tokio::test(start_paused = true)]
    async fn brokers_that_are_away_are_no_news_until_they_were_back() {
        let log = KafkaLog::default();
        assert!(log.told().is_news(ErrorKind::Unreachable));
        tokio::time::advance(2 * REPEAT_AFTER).await;
        assert!(!log.told().is_news(ErrorKind::Unreachable));
        log.is_back();
        assert!(log.told().is_news(ErrorKind::Unreachable));
        log.is_back();
        assert!(!log.told().is_news(ErrorKind::Unreachable), "away and back within a minute");
        tokio::time::advance(REPEAT_AFTER).await;
        assert!(log.told().is_news(ErrorKind::Unreachable), "still away");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_in_other_words_is_no_news() {
        let log = KafkaLog::default();
        log.was_told(ErrorKind::UnknownTopic);
        assert!(!log.told().is_news(ErrorKind::UnknownTopic));
        assert!(log.told().is_news(ErrorKind::Fatal));
    }
}
