//! Jobs of every fate, and how records are known.

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use mailjob::topology::Topics;

use crate::outside::{BUSY, REFUSED, UNWANTED};

/// How many values of `Id`, which orders, there are.
const IDS: u64 = 12;

/// A job's number is in its `ScheduleTime` and its subject; its `Id` it shares with others.
pub(crate) fn job(number: u64) -> ProducerRecord {
    let id = format!("{:024x}", number % IDS);
    let customer = customer(number);
    let (mut status, mut kind, mut to) = (2, "0", customer.as_str());
    match number % 16 {
        3 => to = REFUSED,
        5 => status = 4,
        6 => kind = "1",
        7 => to = "no address",
        9 => to = BUSY,
        11 => to = UNWANTED,
        13 => return ProducerRecord::to(Topics::default().jobs).value(format!("no job {number}")),
        _ => {}
    }
    let value = format!(
        r#"{{"Id":"{id}","ScheduleTime":"2024-01-01T00:00:00.{number:09}Z","Status":{status},"JobType":{kind},"JobData":{{"SourceAddress":"shop@example.com","DestinationAddress":"{to}","Subject":"{number:09}","Message":"message"}}}}"#,
    );
    ProducerRecord::to(Topics::default().jobs).key(id).value(value)
}

/// To whom the mail of a job goes, unless nobody gets it.
pub(crate) fn customer(number: u64) -> String {
    format!("customer{number}@example.org")
}

/// Jobs of every fate; which stand together is a function of the seed.
pub(crate) fn jobs(seed: u64, count: u64) -> Vec<ProducerRecord> {
    (0..count).map(|number| job(number + seed % 16)).collect()
}

/// Outputs have the number of their job; what is skipped has no output.
pub(crate) fn identity(record: &ConsumerRecord) -> Option<Bytes> {
    let number = number(record)?;
    let is_output = record.partition.topic != Topics::default().jobs;
    let is_skipped = !is_output && matches!(number % 16, 5 | 6);
    (!is_skipped).then(|| Bytes::from(number.to_string()))
}

/// The number of a record's job.
pub(crate) fn number(record: &ConsumerRecord) -> Option<u64> {
    let value = std::str::from_utf8(record.value.as_deref()?).ok()?;
    let digits = match value.strip_prefix("no job ") {
        Some(number) => number,
        None => {
            let start = value.find("T00:00:00.")? + "T00:00:00.".len();
            value.get(start..start + 9)?
        }
    };
    digits.parse().ok()
}
