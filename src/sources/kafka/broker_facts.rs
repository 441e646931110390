//! What the poller asks brokers about topics and commits, on a thread that may wait for the answer.

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
    Blocking, ConfigError, ErrorKind, KafkaEvent, Told, code_of, metadata_max_bytes,
};
use crate::record::{Topic, TopicId};
use crate::sources::Reset;

/// How often it is asked whether the topics are still the same.
const TOPIC_IDS_INTERVAL: Duration = Duration::from_secs(2);

/// How often an assignment waits for the ids once more.
const UNANSWERED_MAX: u32 = 3;

/// The longest that a broker takes to say how much metadata it takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

type Ids = BTreeMap<Topic, TopicId>;

/// What is known of topics, and who asks for it.
pub(super) struct BrokerFacts {
    /// What an administrator's client is told.
    admin: Blocking<ClientConfig>,
    told: Told,
    /// The ids of the topics that are assigned, as they were last seen.
    ids: Ids,
    /// The topics that were others before. A partition of one may be given up before anybody has committed
    /// for the new topic.
    recreated: BTreeMap<Topic, Reset>,
    asked: Option<Receiver<KafkaResult<Ids>>>,
    ask_at: Instant,
    /// Whether it was told that there are no ids.
    told_of_none: bool,
    /// Questions in turn without an answer.
    unanswered: u32,
    /// Whether the brokers were asked for their limit of a commit's metadata.
    knows_limit: bool,
}

impl BrokerFacts {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn new(admin: ClientConfig, told: Told) -> Result<Self, ConfigError> {
        Ok(Self {
            admin: Blocking::start("kafka-facts", admin)?,
            told,
            ids: Ids::new(),
            recreated: BTreeMap::new(),
            asked: None,
            ask_at: Instant::now(),
            told_of_none: false,
            unanswered: 0,
            knows_limit: false,
        })
    }

    /// The id of a topic, if it is known.
    pub(super) fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.ids.get(topic).copied()
    }

    /// Whether a topic was another one before, as far as this member has seen.
    pub(super) fn was_recreated(&self, topic: &str) -> Option<Reset> {
        self.recreated.get(topic).copied()
    }

    /// Asks for the ids of topics, and waits for the answer. Gives the topics that are others than
    /// they were. After some questions without an answer, it goes on with what is known.
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

    /// The topics that have been created anew since the last answer. Asks again once an interval,
    /// and waits for no answer.
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
        // A broker that does not answer is asked again.
        self.take(answer).0
    }

    /// Takes note of the ids that topics have now. Gives those that are others than they were.
    pub(super) fn seen(
        &mut self,
        ids: impl Iterator<Item = (Topic, TopicId)>,
    ) -> BTreeMap<Topic, Reset> {
        // An answer that is under way may be older.
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
            // Nobody may wait any more.
            let _ = answer.send(ids);
            signal.raise();
        });
        answered
    }

    /// Takes an answer in. Gives the topics that are others than they were, and the error of a
    /// broker that can't be reached.
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
                if !std::mem::replace(&mut self.told_of_none, true) {
                    let reason = error.to_string();
                    self.told.event(&KafkaEvent::NoTopicIds { reason: &reason });
                }
            }
        }
        self.recreated.extend(recreated.clone());
        (recreated, None)
    }

    /// Asks how much metadata a commit may have, and waits for the answer. `None` if that is not to be
    /// had, or was answered before.
    ///
    /// # Errors
    /// If no broker answers for now; after some questions without an answer, it is asked no more.
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
                // Refused, it is learnt from a commit that is refused.
                Ok(answer.unwrap_or_default())
            }
        }
    }

    fn ask_for_limit(&self, client: &Arc<Client>, topic: &str) -> KafkaResult<Option<usize>> {
        let metadata = client.fetch_metadata(Some(topic), QUERY_LIMIT)?;
        let Some(broker) = metadata.brokers().first().map(MetadataBroker::id) else {
            return Ok(None);
        };
        let told = self.told.clone();
        let (answer, answered) = channel();
        self.admin.ask(move |config| {
            // Nobody may wait any more.
            let _ = answer.send(metadata_limit(config, told, broker));
        });
        let answer = answered.recv_timeout(2 * ANSWER_LIMIT);
        answer.unwrap_or(Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
    }
}

/// What a broker says of its limit, asked by a client that has to connect first.
fn metadata_limit(config: &ClientConfig, told: Told, broker: i32) -> KafkaResult<Option<usize>> {
    let admin = AdminClient::from_config_and_context(config, told)?;
    let waiting = tokio::runtime::Builder::new_current_thread().build();
    let waiting = waiting.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
    let asked = waiting.block_on(metadata_max_bytes(&admin, broker, ANSWER_LIMIT));
    asked.map_err(KafkaError::AdminOp)
}

fn is_unreachable(error: &KafkaError) -> bool {
    ErrorKind::of(Some(code_of(error))) == ErrorKind::Unreachable
}
