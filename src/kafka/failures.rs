//! Why brokers could not be reached, read from librdkafka's log.
//!
//! The error of a call, such as `BrokerTransportFailure`, names no broker, and librdkafka does not
//! report every failure as an error: a connection that is not set up in time is only a line of its
//! log.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use tokio::time::Instant;

/// For how many brokers the last failure is kept.
const BROKERS_MAX: usize = 8;

/// How long a failure counts. librdkafka logs a repeated failure every 30 s, and does not log that
/// a connection succeeded.
const COUNTS_FOR: Duration = Duration::from_secs(40);

/// The name of the facility of lines about connections that failed.
pub(super) const FACILITY: &str = "FAIL";

/// What librdkafka's name of a broker ends with before it knows the broker's number.
const BOOTSTRAP: &str = "/bootstrap";

/// The last failure of each broker, by librdkafka's name for it: `host:port/number`.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Failure>);

#[derive(Debug)]
struct Failure {
    reason: String,
    at: Instant,
}

impl Failures {
    /// Keeps a line of librdkafka's log if it is about a connection.
    pub(super) fn hear(&mut self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility != FACILITY || matches!(level, RDKafkaLogLevel::Debug) {
            return;
        }
        let Some((broker, reason)) = without_thread(line).split_once(": ") else { return };
        if self.0.len() < BROKERS_MAX || self.0.contains_key(broker) {
            let failure = Failure { reason: reason.to_owned(), at: Instant::now() };
            self.0.insert(broker.to_owned(), failure);
        }
    }

    /// The recent failures as `host:port/number: reason; host:port/number: reason`; `None` if there
    /// are none.
    pub(super) fn joined(&self) -> Option<String> {
        self.joined_where(|_| true)
    }

    /// The same without bootstrap addresses, which do not matter once one of them has answered and
    /// named the brokers of the cluster.
    pub(super) fn of_named_brokers(&self) -> Option<String> {
        self.joined_where(|broker| !broker.ends_with(BOOTSTRAP))
    }

    fn joined_where(&self, counts: impl Fn(&str) -> bool) -> Option<String> {
        let lately =
            self.0.iter().filter(|(broker, it)| counts(broker) && it.at.elapsed() < COUNTS_FOR);
        let reasons: Vec<_> =
            lately.map(|(broker, Failure { reason, .. })| format!("{broker}: {reason}")).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// A line without the name of its thread, which the property `log.thread.name` puts before it.
pub(super) fn without_thread(line: &str) -> &str {
    let rest = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    rest.map_or(line, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "[thrd:a:9092/bootstrap]: a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 \
                        failed: Connection refused (after 0ms in state CONNECT)";

    fn heard(lines: &[&str]) -> Failures {
        let mut failures = Failures::default();
        lines.iter().for_each(|line| failures.hear(RDKafkaLogLevel::Error, "FAIL", line));
        failures
    }

    #[tokio::test(start_paused = true)]
    async fn each_broker_is_named_with_its_last_failure_for_a_while() {
        let failures = heard(&["b:1/2: Disconnected", LINE, "b:1/2: Connection reset"]);
        let expected = "a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection \
                        refused (after 0ms in state CONNECT); b:1/2: Connection reset";
        assert_eq!(failures.joined().as_deref(), Some(expected));
        let named = failures.of_named_brokers();
        assert_eq!(named.as_deref(), Some("b:1/2: Connection reset"));
        tokio::time::advance(COUNTS_FOR).await;
        assert_eq!(failures.joined(), None);
    }

    #[test]
    fn other_lines_are_ignored_and_the_number_of_brokers_is_limited() {
        let mut failures = heard(&["no broker is named"]);
        failures.hear(RDKafkaLogLevel::Warning, "OFFSET", "jobs [0]: offset reset");
        failures.hear(RDKafkaLogLevel::Debug, "FAIL", LINE);
        assert_eq!(failures.joined(), None);
        for number in 0..100 {
            failures.hear(RDKafkaLogLevel::Info, "FAIL", &format!("b:1/{number}: Disconnected"));
        }
        assert_eq!(failures.0.len(), BROKERS_MAX);
    }
}
