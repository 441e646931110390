//! A dead letter: what its headers say, and the record that it was.

use std::fmt;

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, Headers, ProducerRecord, Topic, TopicPartition};
use jobstream::topology::TOO_LARGE;

/// The header that counts how often a record has been sent back.
pub(crate) const REDRIVES: &str = "dead-letter-redrives";

/// The headers that are ours.
const OURS: [&str; 8] = [
    "dead-letter-reason",
    "dead-letter-cause",
    "dead-letter-topic",
    "dead-letter-partition",
    "dead-letter-offset",
    "dead-letter-timestamp",
    "dead-letter-group",
    REDRIVES,
];

/// Where a record was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// A record of the dead letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a>(pub(super) &'a ConsumerRecord);

impl<'a> Letter<'a> {
    /// Where it is: `PARTITION:OFFSET`.
    pub(super) fn at(self) -> String {
        format!("{}:{}", self.0.partition.partition, self.0.offset)
    }

    fn text(self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.0.headers.get(name)?).ok()
    }

    fn number<T: std::str::FromStr>(self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// Why it is one; empty if it does not say.
    pub(super) fn reason(self) -> &'a str {
        self.text("dead-letter-reason").unwrap_or_default()
    }

    /// What was found and expected; empty if it does not say.
    pub(super) fn cause(self) -> &'a str {
        self.text("dead-letter-cause").unwrap_or_default()
    }

    /// The group that it is of, if it says so.
    pub(super) fn group(self) -> Option<&'a str> {
        self.text("dead-letter-group")
    }

    /// How often it has been sent back.
    pub(super) fn redrives(self) -> u64 {
        self.number(REDRIVES).unwrap_or(0)
    }

    /// Where it came from, if it says so.
    pub(super) fn origin(self) -> Option<Origin> {
        let topic = self.text("dead-letter-topic").filter(|topic| !topic.is_empty())?;
        let partition = self.number("dead-letter-partition").filter(|number| *number >= 0)?;
        let offset = self.number("dead-letter-offset")?;
        Some(Origin { partition: TopicPartition::new(topic, partition), offset })
    }

    /// Whether it is without the bytes that it had.
    pub(super) fn is_without_value(self) -> bool {
        self.0.value.is_none() && self.reason() == TOO_LARGE
    }

    /// Whether a record at its origin is the one that it was, and no later one.
    pub(super) fn was(self, found: &ConsumerRecord) -> bool {
        let timestamp: Option<i64> = self.number("dead-letter-timestamp");
        timestamp == found.timestamp
    }

    /// The record that it was, on its way to a topic: key, value and headers of `bytes`, without
    /// our headers, and with the round counted. The caller places it.
    pub(super) fn redriven(self, topic: &Topic, bytes: &ConsumerRecord) -> ProducerRecord {
        let mut headers: Headers = bytes.headers.clone();
        OURS.iter().for_each(|name| headers.remove(name));
        headers.set(REDRIVES, Bytes::from(self.redrives().saturating_add(1).to_string()));
        ProducerRecord {
            topic: topic.clone(),
            partition: None,
            timestamp: None,
            key: bytes.key.clone(),
            value: bytes.value.clone(),
            headers,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A dead letter with these headers.
    pub(in super::super) fn letter(headers: &[(&'static str, &'static str)]) -> ConsumerRecord {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.push(*name, Some(Bytes::from_static(value.as_bytes())));
        }
        ConsumerRecord::new(TopicPartition::new("dead", 2), 7, 0)
            .timestamp(1_000)
            .key("key")
            .value(Bytes::from_static(b"\xff"))
            .headers(all)
    }

    const ALL: [(&str, &str); 9] = [
        ("mine", "1"),
        ("dead-letter-note", "mine, too"),
        ("dead-letter-reason", "undecodable"),
        ("dead-letter-cause", "found \u{fffd}"),
        ("dead-letter-topic", "jobs"),
        ("dead-letter-partition", "3"),
        ("dead-letter-offset", "9"),
        ("dead-letter-timestamp", "5"),
        ("dead-letter-group", "mailers"),
    ];

    #[test]
    fn what_is_sent_back_is_the_record_with_its_own_headers_and_the_round() {
        let record = letter(&ALL);
        let found = Letter(&record);
        let origin = found.origin().unwrap();
        assert_eq!(origin.to_string(), "jobs[3]@9");
        assert_eq!(found.group(), Some("mailers"));
        let back = found.redriven(&"jobs".into(), &record);
        assert_eq!(
            (&*back.topic, back.key, back.value),
            ("jobs", record.key.clone(), record.value.clone())
        );
        let names: Vec<_> = back.headers.iter().map(|header| &*header.name).collect();
        assert_eq!(names, ["mine", "dead-letter-note", REDRIVES]);
        assert_eq!(back.headers.get(REDRIVES).unwrap(), "1");
    }

    #[test]
    fn rounds_are_counted() {
        let mut headers = ALL.to_vec();
        headers.push((REDRIVES, "41"));
        let record = letter(&headers);
        let found = Letter(&record);
        let back = found.redriven(&"jobs".into(), &record);
        assert_eq!(back.headers.get(REDRIVES).unwrap(), "42");
    }

    #[test]
    fn a_letter_without_a_usable_origin_has_none() {
        for wrong in [
            ("dead-letter-topic", ""),
            ("dead-letter-partition", "-1"),
            ("dead-letter-offset", "x"),
        ] {
            let mut headers = ALL.to_vec();
            headers.push(wrong);
            assert_eq!(Letter(&letter(&headers)).origin(), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_a_too_large_letter_is_without_its_value() {
        let mut record = letter(&[("dead-letter-reason", "undecodable")]);
        record.value = None;
        assert!(!Letter(&record).is_without_value(), "it had none");
        record.headers.set("dead-letter-reason", "too-large");
        assert!(Letter(&record).is_without_value());
    }
}
