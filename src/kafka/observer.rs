//! What librdkafka tells, for logs and metrics.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{Broker, ConsumerGroup, Partition, Statistics};

use super::failures;
use crate::record::TopicPartition;

/// Hears what happens on the way to Kafka. Called on librdkafka's threads, the source's and that of
/// the task that publishes: it must be quick, and must not block.
pub trait KafkaObserver: Send + Sync {
    /// Something has happened.
    fn on(&self, event: &KafkaEvent<'_>);
}

/// Hears nothing.
impl KafkaObserver for () {
    fn on(&self, _event: &KafkaEvent<'_>) {}
}

/// What is told. Nothing here ends a source or a sink, unless it is [`ErrorKind::Fatal`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KafkaEvent<'a> {
    /// A client has met an error, and goes on; the same one may be told many times.
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
        /// librdkafka's name for what it is about, such as `FAIL`.
        facility: &'a str,
        /// The line.
        line: &'a str,
    },
    /// A commit's metadata is not ours: the finished set is taken as empty.
    ForeignMetadata {
        /// The partition.
        partition: &'a TopicPartition,
        /// What was found, and expected.
        reason: &'a str,
    },
    /// Brokers take less metadata with a commit than a whole finished set needs: partitions take in
    /// records only as far above their frontier as what fits.
    SmallMetadata {
        /// What they take, in bytes, as far as it is known.
        bytes: usize,
        /// How far above, in offsets.
        window: i64,
    },
    /// The ids of topics are not to be had, since brokers are older than Apache Kafka 2.8 or refuse
    /// to describe topics: one that is deleted and created again is known only by offsets that go
    /// back.
    NoTopicIds {
        /// librdkafka's words.
        reason: &'a str,
    },
    /// The part of keyed state of this partition is not restored yet; told when that has taken a
    /// while, and again in intervals.
    RestoreWaits {
        /// The partition of the store's topic.
        partition: &'a TopicPartition,
        /// What was found, and what is waited for.
        reason: &'a str,
    },
    /// A publish is tried again, since not all records were acknowledged: until they are.
    PublishRetried {
        /// How many were not.
        records: usize,
        /// The topic of the first of them.
        topic: &'a str,
        /// What kept that one back; [`ErrorKind::UnknownTopic`] until the topic is there.
        kind: ErrorKind,
        /// The same in words that name the topic.
        reason: &'a str,
    },
    /// A record has a header whose name is no UTF-8. The record arrives; that header has the name
    /// U+FFFD and no value, since the client that is beneath can't read it.
    UnreadableHeader {
        /// The record's partition.
        partition: &'a TopicPartition,
        /// Its offset.
        offset: i64,
    },
    /// The ends of a partition that this member reads, as the client last saw them: told every
    /// `statistics.interval.ms`, if that property is set.
    Watermarks {
        /// The partition.
        partition: &'a TopicPartition,
        /// The lowest offset that is there.
        low: i64,
        /// The offset after the last one that a `read_committed` reader is given.
        high: i64,
    },
    /// A client's connections to brokers: told every `statistics.interval.ms`, if that property is
    /// set.
    Brokers {
        /// Connections that librdkafka takes as up: one to a broker that hangs is so for minutes.
        up: usize,
        /// How long ago one of the brokers has last answered, if one has. A client that has nothing
        /// else to ask asks for metadata every `topic.metadata.refresh.interval.ms` (5 s).
        answered: Option<Duration>,
    },
    /// A source is a member of its group, and no rebalance is under way: told every
    /// `statistics.interval.ms`, if that property is set.
    Member {
        /// Its partitions; none if the group has more members than the topics have partitions.
        partitions: usize,
        /// How long ago the group's coordinator has last answered.
        answered: Duration,
    },
    /// A source is no member of its group, as far as it knows: it joins, or its session has ended.
    /// Told every `statistics.interval.ms`, if that property is set.
    NoMember,
    /// A transaction has ended. One that a fenced producer has left open is not told.
    Transaction {
        /// Whether it was committed, and not aborted.
        committed: bool,
    },
    /// The producer was fenced: the assignment is given up, and the group joined again.
    Fenced {
        /// librdkafka's words.
        reason: &'a str,
    },
    /// A static member has lost its session, and was fenced by what itself has sent after that: its
    /// client is made anew, and joins the group again.
    FencedByItself {
        /// librdkafka's words.
        reason: &'a str,
    },
}

/// What an error of a client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No broker can be reached, for now.
    Unreachable,
    /// A broker refuses the credentials. [`Topics`](super::Topics) ends its question with it, so
    /// that a start can end; sources and sinks go on, since a password that is rotated, or a broker
    /// that does not know of it yet, must not end what is under way: they connect again, up to
    /// every `reconnect.backoff.max.ms` (2 s), and tell it each time.
    Authentication,
    /// The credentials lack a right.
    Authorization,
    /// TLS: a certificate does not hold, or the other side speaks no TLS.
    Tls,
    /// A topic does not exist, for now.
    UnknownTopic,
    /// The group rebalances, or its coordinator moves or loads: librdkafka asks again.
    Passing,
    /// The client is broken for good.
    Fatal,
    /// Anything else.
    Other,
}

impl ErrorKind {
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
                | Code::WaitingForCoordinator,
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
    /// Of interest.
    Info,
    /// Asked for by the property `debug`.
    Debug,
}

/// librdkafka's name for the connection to a group's coordinator.
const COORDINATOR: &str = "GroupCoordinator";

/// The observer, as contexts of clients tell it.
#[derive(Clone)]
pub(crate) struct Told(Arc<dyn KafkaObserver>);

impl Told {
    pub(super) fn new(observer: Arc<dyn KafkaObserver>) -> Self {
        Self(observer)
    }

    pub(crate) fn event(&self, event: &KafkaEvent<'_>) {
        self.0.on(event);
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        self.event(&KafkaEvent::Error { kind, reason });
    }

    /// What the statistics of any client say of brokers.
    pub(crate) fn brokers(&self, statistics: &Statistics) {
        let up = statistics.brokers.values().filter(|broker| broker.state == "UP").count();
        let answered = statistics.brokers.values().filter_map(answered).min();
        self.event(&KafkaEvent::Brokers { up, answered });
    }

    /// What the statistics of a consumer say of brokers, and of the partitions it reads.
    pub(crate) fn statistics(&self, statistics: &Statistics) {
        self.brokers(statistics);
        self.member(statistics);
        for topic in statistics.topics.values() {
            for found in topic.partitions.values().filter(|found| is_read(found)) {
                let partition = &TopicPartition::new(&*topic.topic, found.partition);
                let (low, high) = (found.lo_offset.max(0), found.ls_offset);
                self.event(&KafkaEvent::Watermarks { partition, low, high });
            }
        }
    }

    fn member(&self, statistics: &Statistics) {
        let Some(group) = &statistics.cgrp else { return };
        if !is_settled(group) {
            return self.event(&KafkaEvent::NoMember);
        }
        let mut coordinators = statistics.brokers.values().filter(|it| it.name == COORDINATOR);
        let partitions = usize::try_from(group.assignment_size).unwrap_or_default();
        if let Some(answered) = coordinators.find_map(answered) {
            self.event(&KafkaEvent::Member { partitions, answered });
        }
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        // Properties of consumers and producers are set together.
        if facility == "CONFWARN" && line.contains("property and will be ignored by this") {
            return;
        }
        let level = match level {
            RDKafkaLogLevel::Debug => LogLevel::Debug,
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => LogLevel::Info,
            RDKafkaLogLevel::Warning => LogLevel::Warning,
            _ => LogLevel::Error,
        };
        // A connection that is not set up in time is no error to librdkafka.
        if facility == failures::FACILITY && level == LogLevel::Warning {
            let (kind, reason) = (ErrorKind::Unreachable, failures::without_thread(line));
            self.event(&KafkaEvent::Error { kind, reason });
        }
        self.event(&KafkaEvent::Log { level, facility, line });
    }
}

/// How long ago a broker has last answered on the connection that is there.
fn answered(broker: &Broker) -> Option<Duration> {
    u64::try_from(broker.rxidle).ok().map(Duration::from_micros)
}

/// Whether a member knows its coordinator, and its assignment stands.
fn is_settled(group: &ConsumerGroup) -> bool {
    group.state == "up" && group.join_state == "steady"
}

/// Whether a partition is fetched, and its end is known.
fn is_read(partition: &Partition) -> bool {
    partition.fetch_state == "active" && partition.ls_offset >= 0
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Told").finish_non_exhaustive()
    }
}

/// A client that neither consumes nor produces tells, too.
impl rdkafka::ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Self::log(self, level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error(self, &error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Told {}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Keeps what is told of a group and of brokers.
    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl KafkaObserver for Kept {
        fn on(&self, event: &KafkaEvent<'_>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{event:?}"));
        }
    }

    /// What is told of a member whose brokers have answered so many microseconds ago (-1: never).
    fn told(join_state: &str, brokers: &[(&str, i64)]) -> Vec<String> {
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
        Told::new(kept.clone()).statistics(&statistics);
        std::mem::take(&mut *kept.0.lock().unwrap())
    }

    #[test]
    fn a_connection_that_is_up_is_no_answer() {
        assert_eq!(told("steady", &[("b:1/1", -1)]), ["Brokers { up: 1, answered: None }"]);
        let hung = told("steady", &[("b:1/1", 40_000_000), ("GroupCoordinator", 31_000_000)]);
        let expected =
            ["Brokers { up: 2, answered: Some(31s) }", "Member { partitions: 0, answered: 31s }"];
        assert_eq!(hung, expected);
    }

    #[test]
    fn a_connection_that_is_not_set_up_in_time_is_told_as_an_error() {
        let kept = Arc::new(Kept::default());
        let line = "[thrd:b:1/1]: b:1/1: Connection setup timed out in state CONNECT";
        for level in [RDKafkaLogLevel::Warning, RDKafkaLogLevel::Error] {
            Told::new(kept.clone()).log(level, "FAIL", line);
        }
        let kept = kept.0.lock().unwrap();
        let errors: Vec<_> = kept.iter().filter(|it| it.starts_with("Error")).collect();
        let reason = "b:1/1: Connection setup timed out in state CONNECT";
        assert_eq!(errors, [&format!("Error {{ kind: Unreachable, reason: {reason:?} }}")]);
    }

    #[test]
    fn who_joins_its_group_is_no_member() {
        for state in ["init", "wait-join", "wait-sync", "wait-assign-call"] {
            let told = told(state, &[("GroupCoordinator", 0)]);
            assert_eq!(told.last().map(String::as_str), Some("NoMember"), "{state}");
        }
    }

    #[test]
    fn what_librdkafka_asks_again_is_told_from_what_a_person_should_see() {
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
