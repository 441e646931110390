//! Whose the ledger's topic is. Two services on one would prune each other's entries, and take what
//! the other has begun for what nobody knows the end of.
//!
//! The claim is a note in a group of its own, `LEDGER.owner`, which has no members: brokers keep it,
//! as the commit of a group, and forget it some days (`offsets.retention.minutes`) after the last
//! service with the ledger has ended.
//!
//! A second note, at the input topic, has the id of the ledger's topic: brokers drop notes at a topic
//! with that topic. It shows a process that starts that the topic was deleted, and with it what was in
//! doubt. A process that runs knows that from memory, and makes the note anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jobstream::kafka::{KafkaConfig, Redrive, RedriveError, RunPosition, Topics};
use jobstream::record::{TopicId, TopicPartition};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::ServiceError;
use crate::settings::TopicSettings;

/// How a note begins that is ours; the service's consumer group follows.
const NOTE: &str = "js-ledger:";
/// How a note begins that holds the id of the ledger's topic.
const ID_NOTE: &str = "js-ledger-id:";
/// How often the claim is made again: brokers forget the commits of a group without members.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// The wait before the brokers are asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often a claim is made: processes of one service that start at once fence each other.
const CLAIMS_MAX: u32 = 10;

/// What is noted of the ledger's topic.
#[derive(Default)]
struct Notes {
    /// The group of the service that has claimed it.
    owner: Option<String>,
    id: Option<TopicId>,
}

impl Notes {
    async fn read(config: &KafkaConfig, settings: &TopicSettings) -> Result<Self, RedriveError> {
        let Claim { group, topic, input } = Claim::of(settings);
        let partitions = [topic, input];
        let found = Redrive::positions(&unobserved(config), &group, &partitions).await?;
        let note = |partition: &TopicPartition, start: &str| {
            let found = found.iter().find(|position| position.partition == *partition);
            found.and_then(|position| position.note.strip_prefix(start)).map(str::to_owned)
        };
        let id = note(&partitions[1], ID_NOTE);
        Ok(Self {
            owner: note(&partitions[0], NOTE),
            id: id.and_then(|id| TopicId::from_base64url(&id)),
        })
    }

    /// Why this service may not use the topic with this id, if so.
    fn refusal(&self, settings: &TopicSettings, id: Option<TopicId>) -> Option<String> {
        let (ledger, own) = (&settings.ledger.name, &settings.group);
        if let Some(other) = self.owner.as_ref().filter(|owner| *owner != own) {
            return Some(format!(
                "TOPIC_JOB_RUN_LEDGER: found '{ledger}', which the service of the group '{other}' \
                 uses, expected one for '{own}' alone; where that service is no more, delete the \
                 group '{ledger}.owner'"
            ));
        }
        let (was, is) = self.id.zip(id).filter(|(was, is)| was != is)?;
        Some(format!(
            "TOPIC_JOB_RUN_LEDGER: found '{ledger}' with the id {is}, expected {was}: it was deleted \
             and created again, and what it knew is lost. Jobs that were in doubt would be sent as if \
             they never had been; to begin a new ledger all the same, delete the group \
             '{ledger}.owner'"
        ))
    }
}

/// Why this service may not use the ledger's topic, if so.
///
/// # Errors
/// If the brokers do not answer.
pub(crate) async fn refusal(
    config: &KafkaConfig,
    settings: &TopicSettings,
    topics: &Topics,
) -> Result<Option<String>, RedriveError> {
    let id = topic_id(topics, settings).await;
    Ok(Notes::read(config, settings).await?.refusal(settings, id))
}

/// The id of the ledger's topic, if the brokers tell it.
async fn topic_id(topics: &Topics, settings: &TopicSettings) -> Option<TopicId> {
    topics.id(&settings.ledger.name).await.ok()?
}

/// The clients of a claim are none of the run's: its metrics do not count them.
fn unobserved(config: &KafkaConfig) -> KafkaConfig {
    config.clone().with_observer(Arc::new(()))
}

/// The group of the notes, and where they are.
struct Claim {
    group: String,
    topic: TopicPartition,
    input: TopicPartition,
}

impl Claim {
    fn of(settings: &TopicSettings) -> Self {
        let ledger = &settings.ledger.name;
        Self {
            group: format!("{ledger}.owner"),
            topic: TopicPartition::new(ledger.clone(), 0),
            input: TopicPartition::new(settings.topics.jobs.clone(), 0),
        }
    }
}

/// What a process knows of what the ledger's topic held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Nothing: it starts.
    None,
    /// What it has restored, and has written to a topic that was created anew.
    Restored,
}

/// Claims the ledger's topic for this service.
///
/// # Errors
/// If another service has claimed it, or it was deleted and created again and this process does not
/// know what it held.
pub(super) async fn own(
    config: &KafkaConfig,
    settings: &TopicSettings,
    topics: &Topics,
    memory: Memory,
) -> Result<(), ServiceError> {
    let mut claims = 0;
    loop {
        match claim(config, settings, topics, memory).await {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => return Err(ServiceError::Ledger(refusal)),
            // Another process of this service has claimed it meanwhile, most likely.
            Err(RedriveError::Fenced(reason) | RedriveError::Aborted(reason))
                if claims < CLAIMS_MAX =>
            {
                debug!("The ledger's topic is claimed again: {reason}");
                claims += 1;
            }
            Err(error) => {
                // Brokers may grant no right to the group: the ledger holds all the same.
                warn!("Nobody is kept from the ledger's topic, it could not be claimed: {error}");
                return Ok(());
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Claims it, unless it may not be used: then why.
async fn claim(
    config: &KafkaConfig,
    settings: &TopicSettings,
    topics: &Topics,
    memory: Memory,
) -> Result<Option<String>, RedriveError> {
    let id = topic_id(topics, settings).await;
    let known = id.filter(|_| memory == Memory::None);
    if let Some(refusal) = Notes::read(config, settings).await?.refusal(settings, known) {
        return Ok(Some(refusal));
    }
    let Claim { group, topic, input } = Claim::of(settings);
    let own =
        RunPosition { partition: topic, offset: 0, note: format!("{NOTE}{}", settings.group) };
    let of_id = |id| RunPosition { partition: input, offset: 0, note: format!("{ID_NOTE}{id}") };
    let notes: Vec<_> = [own].into_iter().chain(id.map(of_id)).collect();
    let claim = Redrive::new(&unobserved(config), &group).await?;
    claim.publish(&[], &notes).await?;
    Ok(None)
}

/// Makes the claim again and again, and whenever what this process knows is written to a topic that was
/// created anew. Completes only if another service has made it meanwhile.
pub(super) async fn keep(
    config: &KafkaConfig,
    settings: &TopicSettings,
    topics: &Topics,
    recreated: &Notify,
) -> Result<Infallible, ServiceError> {
    loop {
        tokio::select! {
            biased;
            () = recreated.notified() => {}
            () = sleep(CLAIM_AGAIN_AFTER) => {}
        }
        own(config, settings, topics, Memory::Restored).await?;
    }
}
