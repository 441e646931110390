//! What a service is called, and the defaults that follow from it.

use crate::Topics;

/// What a service is called, and the defaults that follow from it.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// The name of the program.
    pub(crate) name: &'static str,
    /// What its jobs are called in the log.
    pub(crate) noun: String,
    /// What jobs are executed by, and wait for while it is away.
    pub(crate) server: &'static str,
    pub(crate) topics: Topics,
    /// The variable with the port of metrics and health.
    pub(crate) metrics_port: &'static str,
    group: Option<String>,
    ledger: Option<String>,
    /// Other services on the same topics: what each is called, and its group.
    pub(crate) others: Vec<(&'static str, &'static str)>,
}

impl Defaults {
    /// Those of a service of the job topics.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            noun: format!("{name} job"),
            server: "server",
            topics: Topics::default(),
            metrics_port: "METRICS_PORT",
            group: None,
            ledger: None,
            others: Vec::new(),
        }
    }

    pub(crate) fn set_group(&mut self, group: &str) {
        self.group = Some(group.to_owned());
    }

    pub(crate) fn set_ledger(&mut self, topic: &str) {
        self.ledger = Some(topic.to_owned());
    }

    /// The consumer group; named after the topic of the jobs, if it is not set.
    pub(crate) fn group(&self) -> String {
        let named = || format!("{}-consumer-{}", self.topics.jobs, self.name);
        self.group.clone().unwrap_or_else(named)
    }

    /// The topic of the ledger; named after that of the jobs, if it is not set.
    pub(crate) fn ledger(&self) -> String {
        let named = || format!("{}-ledger-{}", self.topics.jobs, self.name);
        self.ledger.clone().unwrap_or_else(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_and_ledger_are_named_after_the_topic_of_the_jobs_unless_they_are_set() {
        let mut defaults = Defaults::new("webhook");
        assert_eq!(defaults.group(), "topic-job-run-consumer-webhook");
        defaults.set_ledger("mine");
        defaults.topics = Topics::jobs("orders");
        assert_eq!(defaults.group(), "orders-consumer-webhook");
        assert_eq!(defaults.ledger(), "mine");
    }
}
