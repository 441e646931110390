//! Fetch sessions (KIP-227): the broker remembers what a client reads, and answers what is new.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use tokio::time::Instant;
use uuid::Uuid;

use super::fetched::{Fetched, FetchedPartition, FetchedTopic};

/// Sessions at once, as Kafka's `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1_000;
/// How long a session stays that nobody uses while others want its place.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// The epochs that ask for no session, and for a new one.
const NO_SESSION: i32 = -1;
const NEW_SESSION: i32 = 0;

/// How a fetch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// With all partitions, and under this session; 0 is none.
    Full(i32),
    /// With what has changed in this session.
    Changes(i32),
}

#[derive(Debug, Default)]
pub(super) struct FetchSessions {
    last_id: i32,
    sessions: BTreeMap<i32, FetchSession>,
}

#[derive(Debug)]
struct FetchSession {
    /// Of the next request.
    epoch: i32,
    uses_ids: bool,
    used: Instant,
    /// In the order in which they are read; those that had records come last.
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Partition {
    topic: TopicName,
    id: Uuid,
    asked: FetchPartition,
    /// The high watermark and the log's start that the client knows.
    known: Option<(i64, i64)>,
    /// Whether the topic has been there during the session.
    was_there: bool,
}

impl Partition {
    fn is(&self, topic: &TopicName, id: Uuid, partition: i32) -> bool {
        self.asked.partition == partition && self.id == id && self.topic == *topic
    }
}

impl FetchSessions {
    /// Decides how a request is answered, and completes it with what its session remembers.
    ///
    /// # Errors
    /// If there is no such session, or the request is not its next one.
    pub(super) fn begin(
        &mut self,
        request: &mut FetchRequest,
        uses_ids: bool,
        now: Instant,
    ) -> Result<Answering, ResponseError> {
        let id = request.session_id;
        match request.session_epoch {
            NO_SESSION => {
                self.sessions.remove(&id);
                Ok(Answering::Full(0))
            }
            NEW_SESSION => {
                self.sessions.remove(&id);
                Ok(Answering::Full(self.open(&request.topics, uses_ids, now)))
            }
            epoch => {
                let session = self.sessions.get_mut(&id);
                let session = session.ok_or(ResponseError::FetchSessionIdNotFound)?;
                if session.epoch != epoch {
                    return Err(ResponseError::InvalidFetchSessionEpoch);
                }
                if session.uses_ids != uses_ids {
                    return Err(ResponseError::FetchSessionTopicIdError);
                }
                session.update(request, now);
                if session.partitions.is_empty() {
                    self.sessions.remove(&id);
                    return Ok(Answering::Full(0));
                }
                request.topics = session.topics();
                Ok(Answering::Changes(id))
            }
        }
    }

    /// Opens a session, if there is room, and gives its id.
    fn open(&mut self, topics: &[FetchTopic], uses_ids: bool, now: Instant) -> i32 {
        if topics.is_empty() {
            return 0;
        }
        if self.sessions.len() == SESSIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used);
            let idle = oldest.filter(|(_, session)| now - session.used >= IDLE_LIMIT);
            let Some((&idle, _)) = idle else { return 0 };
            self.sessions.remove(&idle);
        }
        self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
        let mut session = FetchSession { epoch: 1, uses_ids, used: now, partitions: Vec::new() };
        topics.iter().for_each(|topic| session.add(topic));
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Notes what the client is told; where only changes are, leaves out the rest.
    pub(super) fn answered(&mut self, answering: Answering, fetched: &mut Fetched) {
        let (Answering::Full(id) | Answering::Changes(id)) = answering;
        fetched.session = id;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let is_full = answering == Answering::Full(id);
        session.note(&mut fetched.topics, is_full);
    }
}

impl FetchSession {
    fn add(&mut self, topic: &FetchTopic) {
        for asked in &topic.partitions {
            let known = self
                .partitions
                .iter_mut()
                .find(|known| known.is(&topic.topic, topic.topic_id, asked.partition));
            match known {
                Some(known) => known.asked = asked.clone(),
                None => self.partitions.push(Partition {
                    topic: topic.topic.clone(),
                    id: topic.topic_id,
                    asked: asked.clone(),
                    known: None,
                    was_there: false,
                }),
            }
        }
    }

    fn update(&mut self, request: &FetchRequest, now: Instant) {
        self.used = now;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        request.topics.iter().for_each(|topic| self.add(topic));
        for forgotten in &request.forgotten_topics_data {
            self.partitions.retain(|known| {
                let mut numbers = forgotten.partitions.iter();
                !numbers.any(|&number| known.is(&forgotten.topic, forgotten.topic_id, number))
            });
        }
    }

    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for Partition { topic, id, asked, .. } in &self.partitions {
            match topics.last_mut() {
                Some(last) if last.topic == *topic && last.topic_id == *id => {
                    last.partitions.push(asked.clone());
                }
                _ => topics.push(
                    FetchTopic::default()
                        .with_topic(topic.clone())
                        .with_topic_id(*id)
                        .with_partitions(vec![asked.clone()]),
                ),
            }
        }
        topics
    }

    fn note(&mut self, topics: &mut Vec<FetchedTopic>, is_full: bool) {
        for FetchedTopic { name, id, partitions } in topics.iter_mut() {
            partitions.retain_mut(|fetched| {
                let mut places = self.partitions.iter();
                let place = places.position(|known| known.is(name, *id, fetched.partition));
                let Some(place) = place else { return true };
                let is_new = self.partitions[place].note(fetched);
                if !fetched.batches.is_empty() {
                    let read = self.partitions.remove(place);
                    self.partitions.push(read);
                }
                is_new || is_full
            });
        }
        topics.retain(|topic| !topic.partitions.is_empty());
    }
}

impl Partition {
    /// Says whether there is something that the client does not know.
    fn note(&mut self, fetched: &mut FetchedPartition) -> bool {
        let unknown_id = ResponseError::UnknownTopicId.code();
        if fetched.error != unknown_id {
            self.was_there = true;
        } else if self.was_there {
            // A session has found the topic's name, and goes by it.
            fetched.error = ResponseError::UnknownTopicOrPartition.code();
        }
        let is = (fetched.high_watermark, fetched.log_start);
        let was = self.known.replace(is);
        if fetched.error != 0 {
            // It is told again, until it is no more.
            self.known = None;
        }
        was != Some(is) || fetched.error != 0 || !fetched.batches.is_empty()
    }
}
