//! What the poller asks brokers about topics and commits, on a thread that may block for the
//! answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use jobstream_kafka_ids::topic_ids;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use tokio::time::Instant;

use super::QUERY_LIMIT;
use super::client::Client;
use crate::kafka::{
    Blocking, ConfigError, ErrorKind, Event, ObserverContext, code_of, metadata_max_bytes,
};
use crate::record::{Topic, TopicId};
use crate::sources::Reset;

/// How often the brokers are asked whether the topics are still the same.
const TOPIC_IDS_INTERVAL: Duration = Duration::from_secs(2);

/// After how many unanswered questions an assignment goes on without the ids.
const UNANSWERED_MAX: u32 = 3;

/// How long a broker may take to answer how much metadata it accepts.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

type Ids = BTreeMap<Topic, TopicId>;

/// What is known about topics, with the thread that asks for it.
pub(super) struct BrokerFacts {
    /// The properties of an administrator's client.
    admin: Blocking<ClientConfig>,
    observer: ObserverContext,
    /// The ids of the topics that are assigned, as they were last seen.
    ids: Ids,
    /// The topics that were created anew. A partition of such a topic may change its owner before
    /// anything was committed for the new topic.
    recreated: BTreeMap<Topic, Reset>,
    asked: Option<Receiver<KafkaResult<Ids>>>,
    ask_at: Instant,
    /// Whether [`Event::NoTopicIds`] was emitted.
    reported_no_ids: bool,
    /// How many questions in a row were not answered.
    unanswered: u32,
    /// Whether the brokers have answered what their limit of a commit's metadata is.
    knows_limit: bool,
}

impl BrokerFacts {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn new(admin: ClientConfig, observer: ObserverContext) -> Result<Self, ConfigError> {
        Ok(Self {
            admin: Blocking::start("kafka-facts", admin)?,
            observer,
            ids: Ids::new(),
            recreated: BTreeMap::new(),
            asked: None,
            ask_at: Instant::now(),
            reported_no_ids: false,
            unanswered: 0,
            knows_limit: false,
        })
    }

    /// The id of a topic, if it is known.
    pub(super) fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.ids.get(topic).copied()
    }

    /// The reset of a topic that was created anew, as far as this member has noticed.
    pub(super) fn was_recreated(&self, topic: &str) -> Option<Reset> {
        self.recreated.get(topic).copied()
    }

    /// Asks for the ids of topics, and waits for the answer. Returns the topics that were created
    /// anew. After several unanswered questions, goes on with what is known.
    ///
    /// # Errors
    /// If no broker answers for now.
    pub(super) fn learn(
        &mut self,
        client: &Arc<Client>,
        topics: Vec<Topic>,
    ) -> KafkaResult<BTreeMap<Topic, Reset>> {
        let answer = match self.ask(client, topics).recv_timeout(3 * QUERY_LIMIT) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
            }
        };
        self.asked = None;
        self.ask_at = Instant::now() + TOPIC_IDS_INTERVAL;
        match self.take(answer) {
            (_, Some(error)) if self.unanswered < UNANSWERED_MAX => {
                self.unanswered += 1;
                Err(error)
            }
            (changed, _) => {
                self.unanswered = 0;
                Ok(changed)
            }
        }
    }

    /// The topics that have been created anew since the last answer. Asks once an interval, and
    /// does not wait for the answer.
    pub(super) fn recreated(
        &mut self,
        client: &Arc<Client>,
        topics: impl Iterator<Item = Topic>,
    ) -> BTreeMap<Topic, Reset> {
        let answer = match &self.asked {
            None => {
                if Instant::now() >= self.ask_at {
                    let topics: Vec<_> = topics.collect();
                    self.ask_at = Instant::now() + TOPIC_IDS_INTERVAL;
                    self.asked = (!topics.is_empty()).then(|| self.ask(client, topics));
                }
                return BTreeMap::new();
            }
            Some(asked) => match asked.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return BTreeMap::new(),
                Err(TryRecvError::Disconnected) => Ok(Ids::new()),
            },
        };
        self.asked = None;
        // The next interval asks a broker again that did not answer.
        self.take(answer).0
    }

    /// Notes the ids that topics have now. Returns the topics that were created anew.
    pub(super) fn seen(
        &mut self,
        ids: impl Iterator<Item = (Topic, TopicId)>,
    ) -> BTreeMap<Topic, Reset> {
        // The answer to a question under way may be older.
        self.asked = None;
        self.ask_at = Instant::now() + TOPIC_IDS_INTERVAL;
        self.take(Ok(ids.collect())).0
    }

    fn ask(&self, client: &Arc<Client>, topics: Vec<Topic>) -> Receiver<KafkaResult<Ids>> {
        let (answer, answered) = channel();
        let client = client.clone();
        self.admin.ask(move |_| {
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            let ids = topic_ids(client.client(), &names, QUERY_LIMIT).map(|ids| {
                let ids = ids.into_iter();
                ids.map(|(topic, id)| (topic.into(), TopicId::new(id))).collect()
            });
            let signal = client.context().signal.clone();
            // A poller that ends waits until it is the last owner.
            drop(client);
            // The receiver may be gone.
            let _ = answer.send(ids);
            signal.raise();
        });
        answered
    }

    /// Notes an answer. Returns the topics that were created anew, and the error if no broker could
    /// be reached.
    fn take(&mut self, answer: KafkaResult<Ids>) -> (BTreeMap<Topic, Reset>, Option<KafkaError>) {
        let mut recreated = BTreeMap::new();
        match answer {
            Ok(ids) => {
                for (topic, is) in ids {
                    if let Some(was) = self.ids.insert(topic.clone(), is).filter(|was| *was != is) {
                        recreated.insert(topic, Reset::TopicRecreated { was, is });
                    }
                }
            }
            Err(error) if is_unreachable(&error) => return (recreated, Some(error)),
            Err(error) => {
                if !std::mem::replace(&mut self.reported_no_ids, true) {
                    let reason = error.to_string();
                    self.observer.event(&Event::NoTopicIds { reason: &reason });
                }
            }
        }
        self.recreated.extend(recreated.clone());
        (recreated, None)
    }

    /// Asks how much metadata a commit may have, and waits for the answer. `None` if the brokers
    /// refuse to answer, or have answered before.
    ///
    /// # Errors
    /// If no broker answers for now. After several unanswered questions it no longer asks.
    pub(super) fn metadata_limit(
        &mut self,
        client: &Arc<Client>,
        topic: &str,
    ) -> KafkaResult<Option<usize>> {
        if self.knows_limit {
            return Ok(None);
        }
        let answer = self.ask_for_limit(client, topic);
        match answer {
            Err(error) if is_unreachable(&error) && self.unanswered < UNANSWERED_MAX => {
                self.unanswered += 1;
                Err(error)
            }
            answer => {
                self.unanswered = 0;
                self.knows_limit = true;
                // If brokers refuse the answer, a refused commit shows the limit.
                Ok(answer.unwrap_or_default())
            }
        }
    }

    fn ask_for_limit(&self, client: &Arc<Client>, topic: &str) -> KafkaResult<Option<usize>> {
        let metadata = client.fetch_metadata(Some(topic), QUERY_LIMIT)?;
        let Some(broker) = metadata.brokers().first().map(MetadataBroker::id) else {
            return Ok(None);
        };
        let observer = self.observer.clone();
        let (answer, answered) = channel();
        self.admin.ask(move |config| {
            // The receiver may be gone.
            let _ = answer.send(metadata_limit(config, observer, broker));
        });
        let answer = answered.recv_timeout(2 * ANSWER_LIMIT);
        answer.unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
    }
}

/// A broker's limit, asked for by a new client, which has to connect first.
fn metadata_limit(
    config: &ClientConfig,
    observer: ObserverContext,
    broker: i32,
) -> KafkaResult<Option<usize>> {
    let admin = AdminClient::from_config_and_context(config, observer)?;
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let waiting = waiting.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
    let asked = waiting.block_on(metadata_max_bytes(&admin, broker, ANSWER_LIMIT));
    asked.map_err(KafkaError::AdminOp)
}

fn is_unreachable(error: &KafkaError) -> bool {
    ErrorKind::of(Some(code_of(error))) == ErrorKind::Unreachable
}
