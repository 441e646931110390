//! Why brokers could not be reached, as librdkafka's log has it.
//!
//! An error of a call, such as `BrokerTransportFailure`, names no broker, and of what fails
//! librdkafka tells only a part as an error: a connection that is not set up in time is a line of its
//! log alone.

use std::collections::BTreeMap;
use std::fmt;

/// Brokers of which the last failure is kept.
const BROKERS_MAX: usize = 8;

/// The name of the facility of lines about connections that failed.
pub(super) const FACILITY: &str = "FAIL";

/// What librdkafka's name of a broker ends with before it knows the broker's number.
const BOOTSTRAP: &str = "/bootstrap";

/// The last failure of each broker, by librdkafka's name for it: `host:port/number`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Failures(BTreeMap<String, String>);

impl Failures {
    /// Takes a line of librdkafka's log, if it is about a connection.
    pub(super) fn hear(&mut self, facility: &str, line: &str) {
        if facility != FACILITY {
            return;
        }
        let Some((broker, reason)) = without_thread(line).split_once(": ") else { return };
        if self.0.len() < BROKERS_MAX || self.0.contains_key(broker) {
            self.0.insert(broker.to_owned(), reason.to_owned());
        }
    }

    /// The brokers have answered.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those of brokers that a broker has named; that of one that was only asked first counts no
    /// more once another one has answered.
    pub(super) fn of_named_brokers(&self) -> Self {
        let named = self.0.iter().filter(|(broker, _)| !broker.ends_with(BOOTSTRAP));
        Self(named.map(|(broker, reason)| (broker.clone(), reason.clone())).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `host:port/number: reason; host:port/number: reason`
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (broker, reason)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{broker}: {reason}")?;
        }
        Ok(())
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
        lines.iter().for_each(|line| failures.hear("FAIL", line));
        failures
    }

    #[test]
    fn each_broker_is_named_with_its_last_failure() {
        let failures = heard(&["b:1/2: Disconnected", LINE, "b:1/2: Connection reset"]);
        let expected = "a:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection \
                        refused (after 0ms in state CONNECT); b:1/2: Connection reset";
        assert_eq!(failures.to_string(), expected);
        assert_eq!(failures.of_named_brokers().to_string(), "b:1/2: Connection reset");
    }

    #[test]
    fn other_lines_are_no_failures_and_many_brokers_are_not_all_kept() {
        let mut failures = Failures::default();
        failures.hear("OFFSET", "jobs [0]: offset reset");
        failures.hear("FAIL", "no broker is named");
        assert!(failures.is_empty());
        for number in 0..100 {
            failures.hear("FAIL", &format!("b:1/{number}: Disconnected"));
        }
        assert_eq!(failures.0.len(), BROKERS_MAX);
        failures.clear();
        assert!(failures.is_empty());
    }
}
