//! Fetch sessions (KIP-227): opened, gone on with, misnumbered, closed.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use super::{Answer, Side, code};
use crate::operation::Topic;
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) struct SessionOperation {
    step: SessionRequest,
    /// A partition that is read from now on, and from where.
    adds: Option<(Topic, i32, i64)>,
    forgets: Option<(Topic, i32)>,
    by_id: bool,
}

#[derive(Clone, Copy, Debug)]
enum SessionRequest {
    Opens,
    GoesOn,
    /// With an epoch that is not the next one.
    Misnumbers,
    /// Of a session that there is not.
    Strange,
    Closes,
}

/// Ids are drawn from all positive numbers.
const UNKNOWN: i32 = 12_345;

impl SessionOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let step = match random.below(12) {
            0..=1 => SessionRequest::Opens,
            2 => SessionRequest::Misnumbers,
            3 => SessionRequest::Strange,
            4 => SessionRequest::Closes,
            _ => SessionRequest::GoesOn,
        };
        let own = |random: &mut Random| Topic::Own(random.below(Topic::OWN));
        let must = matches!(step, SessionRequest::Opens);
        Self {
            step,
            adds: (must || random.one_in(3))
                .then(|| (own(random), random.of(&[0, 1, 7]), random.of(&[0, 1, 3]))),
            forgets: random.one_in(4).then(|| (own(random), random.of(&[0, 1]))),
            by_id: random.one_in(3),
        }
    }
}

impl Side {
    pub(super) async fn ask_session(&mut self, operation: &SessionOperation) -> Answer {
        let SessionOperation { step, adds, forgets, by_id } = operation;
        let (id, next) = self.session;
        let (id, epoch) = match step {
            SessionRequest::Opens => (0, 0),
            SessionRequest::GoesOn => (id, next),
            SessionRequest::Misnumbers => (id, next.saturating_add(5)),
            SessionRequest::Strange => (UNKNOWN, 1),
            SessionRequest::Closes => (id, -1),
        };
        let topics = adds.map(|(topic, partition, offset)| {
            let partition = FetchPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(offset)
                .with_partition_max_bytes(1 << 20);
            let asked = FetchTopic::default().with_partitions(vec![partition]);
            match by_id {
                true => asked.with_topic_id(self.topic_id(topic)),
                false => asked.with_topic(self.topic(topic)),
            }
        });
        let forgotten = forgets.map(|(topic, partition)| {
            let asked = ForgottenTopic::default().with_partitions(vec![partition]);
            match by_id {
                true => asked.with_topic_id(self.topic_id(topic)),
                false => asked.with_topic(self.topic(topic)),
            }
        });
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_topics(topics.into_iter().collect())
            .with_forgotten_topics_data(forgotten.into_iter().collect());
        let answer = self.client.ask(&request, if *by_id { 13 } else { 12 }).await;
        match step {
            SessionRequest::Opens if answer.error_code == 0 => {
                self.session = (answer.session_id, 1);
            }
            SessionRequest::GoesOn if answer.error_code == 0 => self.session.1 += 1,
            SessionRequest::Closes => self.session = (UNKNOWN, 1),
            _ => {}
        }
        let mut lines = Vec::new();
        for topic in &answer.responses {
            let name = match by_id {
                true => self.topic_label(topic.topic_id),
                false => self.unnamed(&topic.topic),
            };
            for found in &topic.partitions {
                lines.push(format!("{name}-{} {}", found.partition_index, self.fetched(found)));
            }
        }
        lines.sort();
        (0, format!("{} {} {lines:?}", code(answer.error_code), answer.session_id != 0))
    }
}
