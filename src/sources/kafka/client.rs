//! The consumer of a source: how it is made, and what librdkafka calls back, which only reports.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};

use super::buffer::Signal;
use crate::kafka::{ConfigError, Told};
use crate::record::{Topic, TopicId, TopicPartition};

pub(crate) type Client = BaseConsumer<SourceContext>;

/// The properties of a consumer, and who hears of it.
pub(super) struct Connector {
    pub(super) properties: ClientConfig,
    /// Those of a client that only asks.
    pub(super) admin: ClientConfig,
    pub(super) told: Told,
    pub(super) signal: Arc<Signal>,
}

impl Connector {
    /// A consumer that has joined no group.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub(super) fn connect(&self) -> Result<Arc<Client>, ConfigError> {
        let log_level = self.properties.log_level;
        let context = SourceContext::new(self.told.clone(), self.signal.clone(), log_level);
        let mut properties = self.properties.clone();
        // librdkafka says that a topic's id has changed by a debug line of its metadata, and by
        // nothing else.
        let debug = match properties.get("debug") {
            Some(debug) if !debug.is_empty() => format!("{debug},metadata"),
            _ => "metadata".to_owned(),
        };
        properties.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
        let mut client = Client::from_config_and_context(&properties, context)?;
        let signal = self.signal.clone();
        client.set_nonempty_callback(move || signal.raise());
        Ok(Arc::new(client))
    }
}

/// What the group wants, in the order in which it wanted it.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

/// The context of a consumer.
#[derive(Debug)]
pub(crate) struct SourceContext {
    pub(super) told: Told,
    pub(super) signal: Arc<Signal>,
    /// The highest level of librdkafka's lines that are told.
    log_level: RDKafkaLogLevel,
    /// Nothing is waited for any more: what is asked back is given back at once.
    pub(super) closing: AtomicBool,
    /// Counts the offsets that were reset because they were out of range.
    pub(super) resets: AtomicU64,
    /// The assignment was lost, and none has come since.
    pub(super) lost: AtomicBool,
    /// A poll has called back, and so has yielded nothing although more may be there.
    called: AtomicBool,
    rebalances: Mutex<Vec<Rebalance>>,
    new_ids: Mutex<Vec<(Topic, TopicId)>>,
}

impl SourceContext {
    pub(super) fn new(told: Told, signal: Arc<Signal>, log_level: RDKafkaLogLevel) -> Self {
        Self {
            told,
            signal,
            log_level,
            closing: AtomicBool::new(false),
            resets: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            called: AtomicBool::new(false),
            rebalances: Mutex::default(),
            new_ids: Mutex::default(),
        }
    }

    /// Whether a poll has called back since the last time.
    pub(super) fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }

    /// Takes what was reported since the last time.
    pub(super) fn take_rebalances(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.rebalances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the topics whose ids librdkafka has seen change since the last time. It reads a topic under
    /// its new id only after it has said so (Apache Kafka 3.1 or later).
    pub(super) fn take_new_ids(&self) -> Vec<(Topic, TopicId)> {
        std::mem::take(&mut *self.new_ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a topic's id was seen to change, and nobody knows yet.
    pub(super) fn has_new_ids(&self) -> bool {
        !self.new_ids.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
        if level as i32 <= self.log_level as i32 {
            self.told.log(level, facility, line);
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.called.store(true, Ordering::Release);
        self.told.statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called.store(true, Ordering::Release);
        self.told.error(&error, reason);
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
                self.told.error(&error, "a rebalance during the close could not be answered");
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

/// Takes partitions on, as the group's protocol has it.
pub(super) fn assign(consumer: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Gives partitions up, as the group's protocol has it.
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

/// The list that librdkafka takes, without offsets.
pub(super) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

/// The topic and its new id, in librdkafka's words for an id that has changed.
fn new_id_in(line: &str) -> Option<(Topic, TopicId)> {
    let (topic, ids) = line.split_once(" changed id from ")?;
    let (_, topic) = topic.rsplit_once(' ')?;
    let (_, is) = ids.split_once(" to ")?;
    let base64url = is.replace('+', "-").replace('/', "_");
    Some((topic.into(), TopicId::from_base64url(&base64url)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_has_changed_is_read_in_librdkafkas_words() {
        let line = "[thrd:main]: Topic to-do changed id from AAAAAAAAAAAAAAAAAAAAAA \
                    to UGqUCM9NSgSC/wUh+5UxEg";
        let (topic, id) = new_id_in(line).unwrap();
        assert_eq!((&*topic, &*id.to_string()), ("to-do", "UGqUCM9NSgSC_wUh-5UxEg"));
        for other in ["", "Topic jobs [0] Leader 0 Epoch 0", "Topic jobs changed id from A to B"] {
            assert_eq!(new_id_in(other), None, "{other}");
        }
    }
}
