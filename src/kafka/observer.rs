//! What librdkafka reports, for logs and metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{Broker, ConsumerGroup, Partition, Statistics};

use super::failures;
use crate::record::TopicPartition;

/// Is notified of what Kafka's clients report, on librdkafka's threads, on the source's thread and by
/// the task that publishes: it must return soon and must not block. Closures implement it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn on(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Ignores every event.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

/// Notifies all of them, in order.
impl<O: Observer> Observer for Vec<O> {
    fn on(&self, event: &Event<'_>) {
        self.iter().for_each(|observer| observer.on(event));
    }
}

/// An event of a client. Only [`ErrorKind::Fatal`] ends a source or a sink.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client has met an error, and goes on; the same error may be reported many times.
    Error {
        /// What it means.
        kind: ErrorKind,
        /// librdkafka's words.
        reason: &'a str,
    },
    /// A line of librdkafka's own log.
    Log {
        /// Its level.
        level: LogLevel,
        /// librdkafka's name for the subject of the line, such as `FAIL`.
        facility: &'a str,
        /// The line.
        line: &'a str,
    },
    /// Another client has made a commit: its metadata is taken as an empty finished set, and an offset
    /// below 0 as no commit.
    ForeignCommit {
        /// The partition.
        partition: &'a TopicPartition,
        /// What was found, and what was expected.
        reason: &'a str,
    },
    /// Brokers accept less metadata with a commit than a whole finished set needs: a partition
    /// takes records in only as far above its frontier as the metadata can describe.
    SmallMetadata {
        /// The most metadata that they accept, in bytes, as far as it is known.
        bytes: usize,
        /// How far above the frontier records are taken in, in offsets.
        window: i64,
    },
    /// The ids of topics are not available, since brokers are older than Apache Kafka 2.8 or refuse
    /// to describe topics. A topic that is deleted and created again is then noticed only by
    /// offsets that go back.
    NoTopicIds {
        /// librdkafka's words.
        reason: &'a str,
    },
    /// The keyed state of this partition is not restored yet. Reported once the restore has taken a
    /// while, and then at intervals.
    RestoreWaits {
        /// The partition of the store's topic.
        partition: &'a TopicPartition,
        /// What was found, and what the restore waits for.
        reason: &'a str,
    },
    /// Records of a publish were not acknowledged; they are sent again until they are.
    PublishRetried {
        /// The number of these records.
        records: usize,
        /// The topic of the first of them.
        topic: &'a str,
        /// Why the first of them was not acknowledged; [`ErrorKind::UnknownTopic`] until its topic
        /// exists.
        kind: ErrorKind,
        /// The same in words that name the topic.
        reason: &'a str,
    },
    /// A record has a header whose name is not UTF-8. The record is delivered; the header has the
    /// name U+FFFD and no value, since librdkafka's Rust client can't read it.
    UnreadableHeader {
        /// The record's partition.
        partition: &'a TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// The ends of a partition that this member reads, as the client last saw them. Reported every
    /// `statistics.interval.ms`, if that property is set.
    Watermarks {
        /// The partition.
        partition: &'a TopicPartition,
        /// The lowest offset in the log.
        low: i64,
        /// The offset after the last record that a `read_committed` reader gets.
        high: i64,
    },
    /// A client's connections to brokers. Reported every `statistics.interval.ms`, if that property
    /// is set.
    Brokers {
        /// Connections that librdkafka considers up, for minutes also one to a broker that hangs.
        up: usize,
        /// How long ago one of the brokers has last answered, if one has. An idle client asks for
        /// metadata every `topic.metadata.refresh.interval.ms` (5 s).
        answered: Option<Duration>,
    },
    /// A source is a member of its group, and no rebalance is under way. Reported every
    /// `statistics.interval.ms`, if that property is set.
    Member {
        /// Its partitions; none if the group has more members than the topics have partitions.
        partitions: usize,
        /// How long ago the group's coordinator has last answered.
        answered: Duration,
    },
    /// A source is not a member of its group, as far as it knows: it is joining, or its session has
    /// ended. Reported every `statistics.interval.ms`, if that property is set.
    NoMember,
    /// A transaction has ended. One that a fenced producer left open is not reported.
    Transaction {
        /// Whether it was committed; if not, it was aborted.
        committed: bool,
    },
    /// The producer was fenced, and a new one goes on with its id.
    Fenced {
        /// librdkafka's words.
        reason: &'a str,
    },
    /// A static member has lost its session, and a request that it sent after that has fenced it. A
    /// new client is made, which joins the group again.
    FencedByItself {
        /// librdkafka's words.
        reason: &'a str,
    },
    /// The group no longer knows the member, whose session has ended: every partition is lost, and a new
    /// client is made, which joins the group again.
    Expelled {
        /// librdkafka's words.
        reason: &'a str,
    },
}

/// What an error of a client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No broker can be reached, for now.
    Unreachable,
    /// A broker refuses the credentials. [`Topics`](super::Topics) returns it as an error, so that
    /// a start can fail. Sources and sinks go on, since a password rotation that has not reached
    /// every broker must not end a running service: they connect again, at least every
    /// `reconnect.backoff.max.ms` (2 s), and report each refusal.
    Authentication,
    /// The credentials lack a right.
    Authorization,
    /// TLS: a certificate is not valid, or the other side does not speak TLS.
    Tls,
    /// A topic does not exist, for now.
    UnknownTopic,
    /// The group rebalances, or its coordinator moves or loads; librdkafka retries by itself.
    Passing,
    /// The client is broken for good.
    Fatal,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Whether the same question may be answered later.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Passing)
    }

    pub(crate) fn of(code: Option<RDKafkaErrorCode>) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Some(
                Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::TimedOutQueue,
            ) => Self::Unreachable,
            Some(
                Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::IllegalSASLState,
            ) => Self::Authentication,
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed,
            ) => Self::Authorization,
            Some(Code::SSL) => Self::Tls,
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                Self::UnknownTopic
            }
            Some(
                Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::RebalanceInProgress
                | Code::MemberIdRequired
                | Code::UnknownMemberId
                | Code::IllegalGeneration
                | Code::StaleMemberEpoch
                | Code::WaitingForCoordinator
                | Code::UnstableOffsetCommit,
            ) => Self::Passing,
            Some(Code::Fatal) => Self::Fatal,
            _ => Self::Other,
        }
    }
}

/// The level of a line of librdkafka's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something fails.
    Error,
    /// Something may fail.
    Warning,
    /// Information.
    Info,
    /// Written only if the property `debug` asks for it.
    Debug,
}

/// librdkafka's name for the connection to a group's coordinator.
const COORDINATOR: &str = "GroupCoordinator";

/// The observer, as a context of librdkafka's clients: turns what they report into events.
#[derive(Clone)]
pub(crate) struct ObserverContext(Arc<dyn Observer>);

impl ObserverContext {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self(observer)
    }

    pub(crate) fn event(&self, event: &Event<'_>) {
        self.0.on(event);
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        self.event(&Event::Error { kind, reason });
    }

    /// Reports the brokers in the statistics of any client.
    pub(crate) fn brokers(&self, statistics: &Statistics) {
        let up = statistics.brokers.values().filter(|broker| broker.state == "UP").count();
        let answered = statistics.brokers.values().filter_map(answered).min();
        self.event(&Event::Brokers { up, answered });
    }

    /// Reports the brokers, the membership and the partitions in the statistics of a consumer.
    pub(crate) fn statistics(&self, statistics: &Statistics) {
        self.brokers(statistics);
        self.member(statistics);
        for topic in statistics.topics.values() {
            for found in topic.partitions.values().filter(|found| is_read(found)) {
                let partition = &TopicPartition::new(&*topic.topic, found.partition);
                let (low, high) = (found.lo_offset.max(0), found.ls_offset);
                self.event(&Event::Watermarks { partition, low, high });
            }
        }
    }

    fn member(&self, statistics: &Statistics) {
        let Some(group) = &statistics.cgrp else { return };
        if !is_settled(group) {
            return self.event(&Event::NoMember);
        }
        let mut coordinators = statistics.brokers.values().filter(|it| it.name == COORDINATOR);
        let partitions = usize::try_from(group.assignment_size).unwrap_or_default();
        if let Some(answered) = coordinators.find_map(answered) {
            self.event(&Event::Member { partitions, answered });
        }
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // One set of properties serves consumers and producers, and librdkafka warns of each that
        // the other uses.
        if facility == "CONFWARN" && line.contains("property and will be ignored by this") {
            return;
        }
        let level = match level {
            RDKafkaLogLevel::Debug => LogLevel::Debug,
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => LogLevel::Info,
            RDKafkaLogLevel::Warning => LogLevel::Warning,
            _ => LogLevel::Error,
        };
        // librdkafka only logs a connection that is not set up in time; it is an error here.
        if facility == failures::FACILITY && level == LogLevel::Warning {
            let (kind, reason) = (ErrorKind::Unreachable, failures::without_thread(line));
            self.event(&Event::Error { kind, reason });
        }
        self.event(&Event::Log { level, facility, line });
    }
}

/// How long ago a broker has last answered on the connection that is there.
fn answered(broker: &Broker) -> Option<Duration> {
    u64::try_from(broker.rxidle).ok().map(Duration::from_micros)
}

/// Whether a member knows its coordinator, and no rebalance is under way.
fn is_settled(group: &ConsumerGroup) -> bool {
    group.state == "up" && group.join_state == "steady"
}

/// Whether a partition is fetched, and its end is known.
fn is_read(partition: &Partition) -> bool {
    partition.fetch_state == "active" && partition.ls_offset >= 0
}

impl fmt::Debug for ObserverContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObserverContext").finish_non_exhaustive()
    }
}

/// For clients that neither consume nor produce.
impl rdkafka::ClientContext for ObserverContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Self::log(self, level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error(self, &error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for ObserverContext {}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Keeps the events of a group and of brokers.
    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Observer for Kept {
        fn on(&self, event: &Event<'_>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{event:?}"));
        }
    }

    /// The events of a member whose brokers have answered so many microseconds ago (-1: never).
    fn events(join_state: &str, brokers: &[(&str, i64)]) -> Vec<String> {
        let group = ConsumerGroup {
            state: "up".to_owned(),
            join_state: join_state.to_owned(),
            ..ConsumerGroup::default()
        };
        let broker = |(name, rxidle): &(&str, i64)| {
            let (name, state) = ((*name).to_owned(), "UP".to_owned());
            (name.clone(), Broker { name, state, rxidle: *rxidle, ..Broker::default() })
        };
        let brokers = brokers.iter().map(broker).collect();
        let statistics = Statistics { cgrp: Some(group), brokers, ..Statistics::default() };
        let kept = Arc::new(Kept::default());
        ObserverContext::new(kept.clone()).statistics(&statistics);
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    #[test]
    fn a_connection_that_is_up_does_not_count_as_an_answer() {
        assert_eq!(events("steady", &[("b:1/1", -1)]), ["Brokers { up: 1, answered: None }"]);
        let hung = events("steady", &[("b:1/1", 40_000_000), ("GroupCoordinator", 31_000_000)]);
        let expected =
            ["Brokers { up: 2, answered: Some(31s) }", "Member { partitions: 0, answered: 31s }"];
        assert_eq!(hung, expected);
    }

    #[test]
    fn a_connection_that_is_not_set_up_in_time_is_reported_as_an_error() {
        let kept = Arc::new(Kept::default());
        let line = "[thrd:b:1/1]: b:1/1: Connection setup timed out in state CONNECT";
        for level in [RDKafkaLogLevel::Warning, RDKafkaLogLevel::Error] {
            ObserverContext::new(kept.clone()).log(level, "FAIL", line);
        }
        let kept = kept.0.lock().unwrap();
        let errors: Vec<_> = kept.iter().filter(|it| it.starts_with("Error")).collect();
        let reason = "b:1/1: Connection setup timed out in state CONNECT";
        assert_eq!(errors, [&format!("Error {{ kind: Unreachable, reason: {reason:?} }}")]);
    }

    #[test]
    fn a_source_that_still_joins_is_not_a_member() {
        for state in ["init", "wait-join", "wait-sync", "wait-assign-call"] {
            let events = events(state, &[("GroupCoordinator", 0)]);
            assert_eq!(events.last().map(String::as_str), Some("NoMember"), "{state}");
        }
    }

    #[test]
    fn errors_that_librdkafka_retries_are_passing_and_others_are_not() {
        use RDKafkaErrorCode as Code;
        for (code, kind) in [
            (Code::CoordinatorLoadInProgress, ErrorKind::Passing),
            (Code::NotCoordinator, ErrorKind::Passing),
            (Code::FencedInstanceId, ErrorKind::Other),
            (Code::SaslAuthenticationFailed, ErrorKind::Authentication),
            (Code::GroupAuthorizationFailed, ErrorKind::Authorization),
        ] {
            assert_eq!(ErrorKind::of(Some(code)), kind, "{code:?}");
        }
    }
}
