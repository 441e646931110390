//! Says whether a program of another shape than a service could run.

use futures::future::join_all;
use jobstream::kafka::{Topics, try_member, try_transactions};

use crate::Failure;
use crate::ensure::{named, unreached};
use crate::report::{Checked, Report, topic};
use crate::settings::{Accepted, ProcessSettings, accept};

/// What the parts of a program need of Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs<'a> {
    topics: Vec<(&'a str, usize)>,
    groups: Vec<(&'a str, &'a str)>,
    transactional_id: Option<&'a str>,
}

impl<'a> Needs<'a> {
    /// Nothing but brokers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A topic that has so many partitions, or is created with them.
    #[must_use]
    pub fn topic(mut self, name: &'a str, partitions: usize) -> Self {
        self.topics.push((name, partitions));
        self
    }

    /// A group whose members read this topic.
    #[must_use]
    pub fn group(mut self, group: &'a str, topic: &'a str) -> Self {
        self.groups.push((group, topic));
        self
    }

    /// Transactions; they are tried with this id, which must be nobody's.
    #[must_use]
    pub const fn transactions(mut self, id: &'a str) -> Self {
        self.transactional_id = Some(id);
        self
    }
}

/// Checks the settings, asks Kafka, and prints a line for each thing checked, with `ok`, `warning` or
/// `failed` before it.
///
/// # Errors
/// If a property is refused, a check has failed, or standard output can't be written.
pub async fn check(settings: &ProcessSettings, needs: &Needs<'_>) -> Result<(), Failure> {
    let Accepted { config, warnings } = accept(&settings.kafka)?;
    let report = Report::default();
    for warning in settings.warnings.iter().chain(&warnings) {
        report.say("warning", warning);
    }
    report.say("ok", "settings");
    let mut failed = 0;
    let client = Topics::new(&config).map_err(|error| Failure::new(format!("Kafka: {error}")))?;
    let (brokers, mut missing) = (brokers(&client, needs).await, Vec::new());
    let are_reached = brokers.is_ok();
    failed += report.tell(brokers);
    if are_reached {
        for &(name, expected) in &needs.topics {
            failed += report.tell(match client.partitions(name).await {
                Ok(Some(found)) if found != expected => {
                    Err(format!("topic '{name}': found {found} partitions, expected {expected}"))
                }
                Ok(None) => {
                    missing.push(name);
                    Ok(format!("topic '{name}': missing, created at the start"))
                }
                Ok(found) => topic(name, found, true),
                Err(error) => Err(named(&error)),
            });
        }
        // A group can't be tried without the topic that it reads.
        let groups = needs.groups.iter().filter(|(_, topic)| !missing.contains(topic));
        let joined = groups.map(async |(group, topic)| {
            let joined = try_member(&config, group, topic).await;
            let joined = joined.map_err(|error| format!("group '{group}': {error}"));
            joined.map(|()| format!("group '{group}'"))
        });
        failed += join_all(joined).await.into_iter().map(|it| report.tell(it)).sum::<usize>();
        if let Some(id) = needs.transactional_id {
            let tried = try_transactions(&config, id).await;
            let tried = tried.map_err(|error| format!("transactions: {error}"));
            failed += report.tell(tried.map(|()| "transactions".to_owned()));
        }
    }
    report.end().map_err(|error| Failure::new(format!("standard output: {error}")))?;
    if failed > 0 { Err(Failure::new(format!("{failed} of the checks failed"))) } else { Ok(()) }
}

async fn brokers(client: &Topics, needs: &Needs<'_>) -> Checked {
    let (any, _) = needs.topics.first().copied().unwrap_or_default();
    let asked = client.partitions(any).await;
    asked.map_err(|error| format!("Kafka: {}", named(&error)))?;
    match client.reach(any).await {
        Ok(1) => Ok("Kafka: 1 broker".to_owned()),
        Ok(brokers) => Ok(format!("Kafka: {brokers} brokers")),
        Err(error) => Err(format!("Kafka: {}", unreached(&error))),
    }
}
