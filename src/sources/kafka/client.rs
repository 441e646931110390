//! The consumer of a source: how it is made, and librdkafka's callbacks, which only report.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};

use super::buffer::Signal;
use crate::kafka::{ConfigError, ObserverContext};
use crate::record::{Topic, TopicId, TopicPartition};

pub(crate) type Client = BaseConsumer<SourceContext>;

/// Makes the clients of a source: their properties, and the receivers of their events.
pub(super) struct Connector {
    pub(super) properties: ClientConfig,
    /// The properties of a client for questions.
    pub(super) admin: ClientConfig,
    pub(super) observer: ObserverContext,
    pub(super) signal: Arc<Signal>,
}

impl Connector {
    /// A consumer that has not joined its group yet.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub(super) fn connect(&self) -> Result<Arc<Client>, ConfigError> {
        let log_level = self.properties.log_level;
        let group = self.properties.get("group.id").unwrap_or_default().to_owned();
        let (observer, signal) = (self.observer.clone(), self.signal.clone());
        let context = SourceContext::new(observer, signal, log_level, group);
        let mut properties = self.properties.clone();
        // librdkafka reports a changed topic id only in a debug line about metadata, and a membership
        // that has ended while a rebalance was open only in one about the group.
        let debug = match properties.get("debug") {
            Some(debug) if !debug.is_empty() => format!("{debug},cgrp,metadata"),
            _ => "cgrp,metadata".to_owned(),
        };
        properties.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
        let mut client = Client::from_config_and_context(&properties, context)?;
        let signal = self.signal.clone();
        client.set_nonempty_callback(move || signal.raise());
        Ok(Arc::new(client))
    }
}

/// A request of the group, in the order of arrival.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

/// The context of a consumer.
#[derive(Debug)]
pub(crate) struct SourceContext {
    pub(super) observer: ObserverContext,
    pub(super) signal: Arc<Signal>,
    /// The highest level of librdkafka's lines that are reported.
    log_level: RDKafkaLogLevel,
    group: String,
    /// The source is closing: partitions that the group asks for are given back at once.
    pub(super) closing: AtomicBool,
    /// How many offsets were reset because they were out of range.
    pub(super) resets: AtomicU64,
    /// The assignment was lost, and no new one has come since.
    lost: AtomicBool,
    /// A poll has called back: it returned no record, although more may be queued.
    called: AtomicBool,
    rebalances: Mutex<Vec<Rebalance>>,
    new_ids: Mutex<Vec<(Topic, TopicId)>>,
    /// The client has given its member id up, in librdkafka's words.
    expelled: Mutex<Option<String>>,
}

impl SourceContext {
    pub(super) fn new(
        observer: ObserverContext,
        signal: Arc<Signal>,
        log_level: RDKafkaLogLevel,
        group: String,
    ) -> Self {
        Self {
            observer,
            signal,
            log_level,
            group,
            closing: AtomicBool::new(false),
            resets: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            called: AtomicBool::new(false),
            rebalances: Mutex::default(),
            new_ids: Mutex::default(),
            expelled: Mutex::default(),
        }
    }

    /// Whether a poll has called back since the last call.
    pub(super) fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }

    /// Takes the rebalances that were reported since the last call.
    pub(super) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the topics whose ids have changed since the last call. librdkafka reads a topic under
    /// its new id only after it has reported the change (Apache Kafka 3.1 or later).
    pub(super) fn take_new_ids(&self) -> Vec<(Topic, TopicId)> {
        std::mem::take(&mut *self.new_ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether changed topic ids wait to be taken.
    pub(super) fn has_new_ids(&self) -> bool {
        !self.new_ids.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes the report that the client has given its member id up since the last call. Partitions
    /// that were assigned under that id are lost, although librdkafka may keep them: it does not report
    /// the loss while another rebalance is open. A rebalance of the next membership is reported later.
    pub(super) fn take_expelled(&self) -> Option<String> {
        self.expelled.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the assignment was lost: librdkafka has said so, or the member id was given up.
    pub(super) fn has_lost(&self) -> bool {
        let is_expelled = || self.expelled.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.lost.load(Ordering::Acquire) || is_expelled()
    }

    fn report(&self, rebalance: Rebalance) {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push(rebalance);
        self.signal.raise();
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.called.store(true, Ordering::Release);
        if facility == "OFFSET" && matches!(level, RDKafkaLogLevel::Warning) {
            self.resets.fetch_add(1, Ordering::Release);
        }
        if facility == "METADATA"
            && let Some(found) = new_id_in(line)
        {
            self.new_ids.lock().unwrap_or_else(PoisonError::into_inner).push(found);
        }
        if facility == "MEMBERID" && gives_member_id_up(line) {
            let words = line.split_once(": ").map_or(line, |(_, words)| words);
            let mut expelled = self.expelled.lock().unwrap_or_else(PoisonError::into_inner);
            *expelled = Some(words.to_owned());
        }
        if level as i32 <= self.log_level as i32 {
            self.observer.log(level, facility, line);
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.called.store(true, Ordering::Release);
        self.observer.statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called.store(true, Ordering::Release);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                let reason =
                    format!("the right Read on group '{}' is missing: {reason}", self.group);
                self.observer.error(&error, &reason);
            }
            _ => self.observer.error(&error, reason),
        }
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.called.store(true, Ordering::Release);
        let is_assign = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let none = TopicPartitionList::new();
            let answered =
                if is_assign { assign(consumer, &none) } else { unassign(consumer, partitions) };
            if let Err(error) = answered {
                self.observer.error(&error, "a rebalance during the close could not be answered");
            }
            return;
        }
        let partitions = named(partitions);
        let is_lost = !is_assign && consumer.assignment_lost();
        self.lost.store(is_lost, Ordering::Release);
        self.report(if is_assign {
            Rebalance::Assign(partitions)
        } else if is_lost {
            Rebalance::Lost(partitions)
        } else {
            Rebalance::Revoke(partitions)
        });
    }
}

/// Takes partitions on, in the way of the group's protocol.
pub(super) fn assign(consumer: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Gives partitions up, in the way of the group's protocol.
pub(super) fn unassign(consumer: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

fn named(partitions: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = partitions.elements();
    elements.iter().map(|p| TopicPartition::new(p.topic(), p.partition())).collect()
}

/// The partitions as librdkafka's list, without offsets.
pub(super) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

/// The topic and its new id in librdkafka's message for a changed id.
fn new_id_in(line: &str) -> Option<(Topic, TopicId)> {
    let (topic, ids) = line.split_once(" changed id from ")?;
    let (_, topic) = topic.rsplit_once(' ')?;
    let (_, is) = ids.split_once(" to ")?;
    let base64url = is.replace('+', "-").replace('/', "_");
    Some((topic.into(), TopicId::from_base64url(&base64url)?))
}

/// Whether librdkafka's message for a changed member id is of one that is used no longer.
fn gives_member_id_up(line: &str) -> bool {
    let ids =
        line.split_once("updating member id \"").and_then(|(_, ids)| ids.split_once("\" -> \""));
    ids.is_some_and(|(was, _)| !was.is_empty() && was != "(not-set)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_that_is_given_up_is_read_from_librdkafkas_message() {
        let line = |was: &str, is: &str| {
            let ids = format!("\"{was}\" -> \"{is}\"");
            format!("[thrd:main]: Group \"bakers\": updating member id {ids}")
        };
        assert!(
            gives_member_id_up(&line("one-1", "")) && gives_member_id_up(&line("one-1", "one-2"))
        );
        assert!(
            !gives_member_id_up(&line("", "one-1")) && !gives_member_id_up(&line("(not-set)", ""))
        );
        assert!(!gives_member_id_up("[thrd:main]: Group \"bakers\": Heartbeat"));
    }

    #[test]
    fn a_changed_id_is_read_from_librdkafkas_message() {
        let line = "[thrd:main]: Topic to-do changed id from AAAAAAAAAAAAAAAAAAAAAA \
                    to UGqUCM9NSgSC/wUh+5UxEg";
        let (topic, id) = new_id_in(line).unwrap();
        assert_eq!((&*topic, &*id.to_string()), ("to-do", "UGqUCM9NSgSC_wUh-5UxEg"));
        for other in ["", "Topic jobs [0] Leader 0 Epoch 0", "Topic jobs changed id from A to B"] {
            assert_eq!(new_id_in(other), None, "{other}");
        }
    }
}
