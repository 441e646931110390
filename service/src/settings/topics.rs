//! The topics, and the group.

use super::{SettingsError, Variables};
use jobstream::kafka::NewTopic;
use jobstream::record::Topic;

use crate::Topics;
use crate::defaults::Defaults;

/// The longest name that Kafka takes.
const NAME_LIMIT_CHARS: usize = 249;
const PARTITIONS_MAX: i32 = 100_000;
const REPLICAS_MAX: i32 = 1_000;

/// The topics, the group, and what is created.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// The topics of the topology.
    pub topics: Topics,
    /// The consumer group.
    pub group: String,
    /// Whether output topics that are missing are created.
    pub create: bool,
    /// The output topics, as they are created.
    pub outputs: [NewTopic; 2],
    /// The ledger's topic, as it is created, but for its partitions: those of the input topic.
    pub ledger: NewTopic,
}

impl TopicSettings {
    pub(super) fn read(
        variables: &Variables<'_>,
        defaults: &Defaults,
    ) -> Result<Self, SettingsError> {
        let Topics { jobs, results, dead_letters } = &defaults.topics;
        let topics = Topics {
            jobs: topic(variables, "TOPIC_JOB_RUN", jobs)?,
            results: topic(variables, "TOPIC_JOB_RUN_RESULT", results)?,
            dead_letters: topic(variables, "TOPIC_JOB_RUN_DEAD_LETTER", dead_letters)?,
        };
        let ledger = topic(variables, "TOPIC_JOB_RUN_LEDGER", &defaults.ledger())?;
        are_different(&[
            ("TOPIC_JOB_RUN", &topics.jobs),
            ("TOPIC_JOB_RUN_RESULT", &topics.results),
            ("TOPIC_JOB_RUN_DEAD_LETTER", &topics.dead_letters),
            ("TOPIC_JOB_RUN_LEDGER", &ledger),
        ])?;
        let results = new_topic(variables, "TOPIC_JOB_RUN_RESULT", &topics.results, (1, 1))?;
        let dead_letters = new_topic(
            variables,
            "TOPIC_JOB_RUN_DEAD_LETTER",
            &topics.dead_letters,
            (results.partitions, results.replicas),
        )?;
        let in_sync = in_sync(variables, "TOPIC_JOB_RUN_RESULT", &results, None)?;
        let of_dead_letters =
            self::in_sync(variables, "TOPIC_JOB_RUN_DEAD_LETTER", &dead_letters, in_sync)?;
        let outputs = [set(results, in_sync), set(dead_letters, of_dead_letters)];
        Ok(Self {
            group: group(variables, defaults)?,
            create: variables.boolean("TOPIC_CREATE", true)?,
            outputs,
            ledger: new_ledger(variables, ledger)?,
            topics,
        })
    }
}

fn group(variables: &Variables<'_>, defaults: &Defaults) -> Result<String, SettingsError> {
    let name = "TOPIC_JOB_RUN_CONSUMER_GROUP_ID";
    let group = variables.text_or(name, &defaults.group());
    match defaults.others.iter().find(|(_, other)| *other == group) {
        Some((service, _)) => {
            let own = defaults.group();
            let expected = format!("a group of its own, such as {own}: that one is {service}'s");
            Err(SettingsError::invalid(name, &group, expected))
        }
        None => Ok(group),
    }
}

/// Each topic serves one purpose: readers of one would find what is meant for those of another.
fn are_different(topics: &[(&str, &Topic)]) -> Result<(), SettingsError> {
    for (index, (name, topic)) in topics.iter().enumerate() {
        if let Some((other, _)) = topics[..index].iter().find(|(_, found)| found == topic) {
            let expected = format!("another topic than {other}");
            return Err(SettingsError::invalid(name, topic, expected));
        }
    }
    Ok(())
}

fn new_ledger(variables: &Variables<'_>, ledger: Topic) -> Result<NewTopic, SettingsError> {
    let name = "TOPIC_JOB_RUN_LEDGER";
    let replicas = variables.number(&format!("{name}_CREATE_REPLICAS"), 1..=REPLICAS_MAX, 1)?;
    let ledger = NewTopic::compacted(ledger, 1, replicas);
    let in_sync = in_sync(variables, name, &ledger, None)?;
    Ok(set(ledger, in_sync))
}

/// `min.insync.replicas` of a topic that is created; more than it has replicas would refuse every
/// record.
fn in_sync(
    variables: &Variables<'_>,
    name: &str,
    topic: &NewTopic,
    default: Option<i32>,
) -> Result<Option<i32>, SettingsError> {
    let setting = format!("{name}_CREATE_MIN_INSYNC_REPLICAS");
    let replicas = topic.replicas;
    match variables.number_if_any(&setting, 1..=REPLICAS_MAX)? {
        Some(found) if found > replicas => {
            let expected = format!("at most {name}_CREATE_REPLICAS, which is {replicas}");
            Err(SettingsError::invalid(&setting, &found.to_string(), expected))
        }
        Some(found) => Ok(Some(found)),
        None => Ok(default.map(|default| default.min(replicas))),
    }
}

fn set(topic: NewTopic, in_sync: Option<i32>) -> NewTopic {
    match in_sync {
        Some(replicas) => topic.min_insync_replicas(replicas),
        None => topic,
    }
}

fn topic(variables: &Variables<'_>, name: &str, default: &str) -> Result<Topic, SettingsError> {
    let topic = variables.text_or(name, default);
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = topic.len() <= NAME_LIMIT_CHARS && topic != "." && topic != "..";
    if !fits || !topic.chars().all(is_legal) {
        let expected = "a topic's name: up to 249 of A-Z, a-z, 0-9, '.', '_' and '-'";
        return Err(SettingsError::invalid(name, &topic, expected));
    }
    Ok(topic.into())
}

fn new_topic(
    variables: &Variables<'_>,
    name: &str,
    topic: &Topic,
    (partitions, replicas): (i32, i32),
) -> Result<NewTopic, SettingsError> {
    let number = |what: &str, max, default| {
        variables.number(&format!("{name}_CREATE_{what}"), 1..=max, default)
    };
    Ok(NewTopic {
        name: topic.clone(),
        partitions: number("PARTITIONS", PARTITIONS_MAX, partitions)?,
        replicas: number("REPLICAS", REPLICAS_MAX, replicas)?,
        settings: Vec::new(),
    })
}
