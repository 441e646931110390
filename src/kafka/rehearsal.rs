//! Whether brokers would take a member and a transactional producer, without being either of those that
//! work.

use std::iter::from_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::{FromClientConfig as _, FromClientConfigAndContext as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::time::Instant;

use super::error::code_of;
use super::range::QUESTION_LIMIT;
use super::{Blocking, KafkaConfig};

/// How long the brokers may take.
const LIMIT: Duration = Duration::from_secs(20);
/// The longest wait for an event of a member before it is looked whether it has joined.
const POLL: Duration = Duration::from_millis(50);

/// What the brokers do not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Untaken {
    /// What it is about.
    pub about: Subject,
    /// The words for it.
    pub reason: String,
}

/// What a refusal of the brokers is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The right to read in the group.
    Group,
    /// The right to read the topic.
    Topic,
    /// `session.timeout.ms`: outside of `group.min.session.timeout.ms` and
    /// `group.max.session.timeout.ms`.
    SessionTimeout,
    /// The right to write with the transactional id.
    TransactionalId,
    /// `transaction.timeout.ms`: above `transaction.max.timeout.ms`.
    TransactionTimeout,
    /// Anything else.
    Other,
}

/// Whether a member may join `group` and read `topic`: one joins for a moment, and leaves. Where the
/// group has members, its positions are asked for instead, so that nobody loses a partition. Takes up to
/// 20 s, or 40 s where brokers do not answer.
///
/// # Errors
/// If the brokers refuse, or do not let it join in that time.
pub async fn try_member(config: &KafkaConfig, group: &str, topic: &str) -> Result<(), Untaken> {
    let (config, group, topic) = (config.clone(), group.to_owned(), topic.to_owned());
    on_a_thread(move || join(&config, &group, &topic)).await
}

/// Whether a producer may have transactions with `transactional_id`. A producer that has this id is
/// fenced, so it must be nobody's. Takes up to 20 s.
///
/// # Errors
/// If the brokers refuse, or do not answer in that time.
pub async fn try_transactions(config: &KafkaConfig, transactional_id: &str) -> Result<(), Untaken> {
    let config = config.producer(Some(transactional_id));
    on_a_thread(move || {
        let producer = BaseProducer::from_config(&config).map_err(|error| untaken(&error))?;
        producer.init_transactions(LIMIT).map_err(|error| untaken(&error))
    })
    .await
}

async fn on_a_thread(
    asked: impl FnOnce() -> Result<(), Untaken> + Send + 'static,
) -> Result<(), Untaken> {
    let other = |reason: String| Untaken { about: Subject::Other, reason };
    let thread =
        Blocking::start("kafka-rehearsal", ()).map_err(|error| other(error.to_string()))?;
    let answer = thread.call(move |()| asked()).await;
    answer.unwrap_or_else(|| Err(other("the question has panicked".to_owned())))
}

/// A member that remembers whether it has joined.
#[derive(Default)]
struct Joining(AtomicBool);

impl ClientContext for Joining {}

impl ConsumerContext for Joining {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn join(config: &KafkaConfig, group: &str, topic: &str) -> Result<(), Untaken> {
    let mut config = config.consumer(group);
    // Nobody's place is taken, and the member is not kept when it leaves.
    config.remove("group.instance.id");
    let member = BaseConsumer::from_config_and_context(&config, Joining::default())
        .map_err(|error| untaken(&error))?;
    // Where that is not answered, the join is not either.
    let groups = member.fetch_group_list(Some(group), LIMIT);
    if groups.is_ok_and(|found| found.groups().iter().any(|it| !it.members().is_empty())) {
        return ask_for_positions(&member, topic);
    }
    member.subscribe(&[topic]).map_err(|error| untaken(&error))?;
    let until = Instant::now() + LIMIT;
    let mut last = None;
    while !member.context().0.load(Ordering::Relaxed) {
        if let Some(Err(error)) = member.poll(POLL) {
            let error = untaken(&error);
            if error.about != Subject::Other {
                return Err(error);
            }
            last = Some(error.reason);
        }
        if Instant::now() >= until {
            let reason = last.map_or_else(String::new, |last| format!(": {last}"));
            let reason = format!("no member has joined within {} s{reason}", LIMIT.as_secs());
            return Err(Untaken { about: Subject::Other, reason });
        }
    }
    // The drop leaves the group.
    Ok(())
}

/// Whether a member may read the group's positions. Where it may not, the question itself only waits.
fn ask_for_positions(member: &BaseConsumer<Joining>, topic: &str) -> Result<(), Untaken> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let until = Instant::now() + LIMIT;
    loop {
        let Err(error) = member.committed_offsets(asked.clone(), QUESTION_LIMIT) else {
            return Ok(());
        };
        let reported = from_fn(|| member.poll(Duration::ZERO)).filter_map(Result::err);
        let mut refused = [error].into_iter().chain(reported).map(|error| untaken(&error));
        match refused.find(|refused| refused.about != Subject::Other) {
            Some(refused) => return Err(refused),
            None if Instant::now() < until => {}
            None => {
                let reason = format!("no position was read within {} s", LIMIT.as_secs());
                return Err(Untaken { about: Subject::Other, reason });
            }
        }
    }
}

fn untaken(error: &KafkaError) -> Untaken {
    let code = code_of(error);
    let about = match code {
        Code::GroupAuthorizationFailed => Subject::Group,
        Code::TopicAuthorizationFailed => Subject::Topic,
        Code::InvalidSessionTimeout => Subject::SessionTimeout,
        Code::TransactionalIdAuthorizationFailed => Subject::TransactionalId,
        Code::InvalidTransactionTimeout => Subject::TransactionTimeout,
        _ => Subject::Other,
    };
    Untaken { about, reason: code.to_string() }
}
