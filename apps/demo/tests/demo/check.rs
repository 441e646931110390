//! Compares what a run has left with the model.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::mail;
use crate::model::{Done, Fate, Mail, fate};
use crate::run::{Left, Record, demo};

/// Runs the demo over these lines and compares everything that it leaves with the model.
pub(crate) fn check<T: AsRef<[u8]>>(lines: &[T]) -> Left {
    let left = demo(lines);
    compare(lines, &left);
    left
}

/// Compares everything that a run over these lines has left with the model.
pub(crate) fn compare<T: AsRef<[u8]>>(lines: &[T], left: &Left) {
    let (mut done, mut dead) = (Vec::new(), Vec::new());
    for line in lines.iter().map(AsRef::as_ref).filter(|line| !line.is_empty()) {
        match fate(line) {
            Fate::Skipped => {}
            Fate::DeadLetter => dead.push(line),
            Fate::Result(one) => done.push(*one),
        }
    }
    check_order(&left.results);
    check_order(&left.dead_letters);
    check_dead_letters(dead, &left.dead_letters);
    let ids = check_results(&done, &left.results);
    check_mails(&done, &ids, &left.mails);
}

fn check_order(records: &[Record]) {
    let mut next = BTreeMap::new();
    for record in records {
        let offset: &mut i64 = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *offset, "a gap in partition {}", record.partition);
        *offset += 1;
    }
    let places: Vec<_> = records.iter().map(|r| (r.partition, r.offset)).collect();
    assert!(places.is_sorted(), "not by partition and offset: {places:?}");
    assert!(places.iter().all(|(partition, _)| (0..6).contains(partition)), "{places:?}");
}

fn check_dead_letters(lines: Vec<&[u8]>, records: &[Record]) {
    let mut expected: Vec<_> = lines.into_iter().map(text_of).collect();
    let mut found: Vec<_> = records.iter().map(|record| record.value.to_string()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let mut origins = BTreeSet::new();
    for Record { topic, key, headers, .. } in records {
        assert_eq!((&**topic, key), ("topic-job-run-dead-letter", &Value::Null));
        let names: Vec<_> = headers.keys().map(String::as_str).collect();
        let all = ["cause", "group", "offset", "partition", "reason", "timestamp", "topic"];
        assert_eq!(names, all.map(|name| format!("dead-letter-{name}")));
        assert_eq!(headers["dead-letter-topic"], "topic-job-run");
        assert_eq!(headers["dead-letter-timestamp"], "1704067200000");
        assert_eq!(headers["dead-letter-group"], "topic-job-run-consumer-emailexecutor");
        assert!(
            !headers["dead-letter-reason"].is_empty() && !headers["dead-letter-cause"].is_empty()
        );
        let number = |name: &str| headers[name].parse::<i64>().expect("a number");
        let origin = (number("dead-letter-partition"), number("dead-letter-offset"));
        assert!((0..6).contains(&origin.0) && origin.1 >= 0 && origins.insert(origin));
    }
}

/// A line's value, as a JSON line shows it: a string, or base64 where it is not UTF-8.
fn text_of(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": base64(line)}),
    }
    .to_string()
}

/// The `Message-ID` of each result's value.
fn check_results(done: &[Done], records: &[Record]) -> BTreeMap<String, String> {
    let mut expected: Vec<_> = done.iter().map(|one| (&*one.id, &*one.value)).collect();
    let text = |value: &'_ Value| value.as_str().expect("a string").to_owned();
    let mut found: Vec<_> = records.iter().map(|r| (text(&r.key), text(&r.value))).collect();
    expected.sort_unstable();
    found.sort();
    assert_eq!(found.len(), expected.len());
    for ((key, value), expected) in found.iter().zip(expected) {
        assert_eq!((&**key, &**value), expected);
    }
    let sent: BTreeMap<_, _> = done.iter().map(|one| (&*one.value, one.mail.is_some())).collect();
    let mut ids = BTreeMap::new();
    for record in records {
        let (key, value, headers) = (text(&record.key), text(&record.value), &record.headers);
        assert_eq!(record.topic, "topic-job-run-result");
        assert_eq!(record.partition, i64::from(crc32(key.as_bytes()) % 6), "the place of {key:?}");
        assert_eq!(headers["job-attempts"], "1");
        let names: Vec<_> = headers.keys().map(String::as_str).collect();
        if sent[&*value] {
            assert_eq!(names, ["job-attempts", "job-message-id", "job-outcome"]);
            assert_eq!(headers["job-outcome"], "accepted");
            let id = headers["job-message-id"].clone();
            let earlier = ids.insert(value, id.clone());
            assert!(earlier.is_none_or(|earlier| earlier == id), "one job, two Message-IDs");
        } else {
            assert_eq!(names, ["job-attempts", "job-error", "job-outcome"]);
            assert_eq!(headers["job-outcome"], "rejected");
            assert!(!headers["job-error"].is_empty());
        }
    }
    check_ids(done, &ids);
    ids
}

/// A `Message-ID` names `Id` and `ScheduleTime`, and nothing else.
fn check_ids(done: &[Done], ids: &BTreeMap<String, String>) {
    let (mut id_of, mut named_by) = (BTreeMap::new(), BTreeMap::new());
    for one in done.iter().filter(|one| one.mail.is_some()) {
        let (name, id) = ((&one.id, &one.schedule_time), &ids[&one.value]);
        let hash = id.strip_prefix('<').and_then(|id| id.strip_suffix("@example.com>"));
        let is_hex = |hash: &str| hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(hash.is_some_and(|hash| hash.len() >= 16 && is_hex(hash)), "{id}");
        assert_eq!(id_of.insert(name, id).unwrap_or(id), id, "{name:?} has two Message-IDs");
        assert_eq!(named_by.insert(id, name).unwrap_or(name), name, "{id} names two jobs");
    }
}

fn check_mails(done: &[Done], ids: &BTreeMap<String, String>, mails: &[Vec<u8>]) {
    let sent = done.iter().filter_map(|one| Some((one, one.mail.as_ref()?)));
    let mut expected: Vec<_> = sent.map(|(one, mail)| (&*ids[&one.value], mail)).collect();
    let mut found: Vec<(String, Mail)> = mails.iter().map(|raw| mail::read(raw)).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found.len(), expected.len(), "as many mails as jobs were accepted");
    for ((id, mut mail), (expected_id, expected)) in found.into_iter().zip(expected) {
        if mail.text == format!("{}\r\n", expected.text) {
            mail.text.truncate(expected.text.len());
        }
        assert_eq!((&*id, &mail), (expected_id, expected));
    }
}

/// CRC-32 as zlib and librdkafka have it, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// Base64 of RFC 4648 section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, i| {
            bits << 8 | usize::from(chunk.get(i).copied().unwrap_or_default())
        });
        for digit in 0..4 {
            let is_padding = digit > chunk.len();
            let at = bits >> (18 - 6 * digit) & 63;
            text.push(if is_padding { '=' } else { char::from(DIGITS[at]) });
        }
    }
    text
}
