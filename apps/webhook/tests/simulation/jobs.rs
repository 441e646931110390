//! Jobs of every fate, and how records are known.

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream_service::Topics;

/// How many values of `Id`, which orders, there are.
const IDS: u64 = 12;
/// How many hosts there are.
const HOSTS: u64 = 3;

/// Is refused, always.
pub(crate) const REFUSED: &str = "refused";
/// Is not taken yet, always.
pub(crate) const BUSY: &str = "busy";
/// Is taken, and may have been acted on.
pub(crate) const FAILS: &str = "fails";

/// A job's number is in its `ScheduleTime` and its body, and in its path if jobs have one each; its `Id`
/// it shares with others.
fn job(number: u64, has_own_path: bool) -> ProducerRecord {
    let id = format!("{:024x}", number % IDS);
    let (mut status, mut kind, mut to, mut scheme) = (2, 2, "", "http");
    match number % 16 {
        3 => to = REFUSED,
        5 => status = 4,
        6 => kind = 1,
        7 => scheme = "gopher",
        9 => to = BUSY,
        11 => to = FAILS,
        13 => return ProducerRecord::to(Topics::default().jobs).value(format!("no job {number}")),
        _ => {}
    }
    let host = number % HOSTS;
    let path = if has_own_path { number.to_string() } else { "hooks".to_owned() };
    let value = format!(
        r#"{{"Id":"{id}","ScheduleTime":"2024-01-01T00:00:00.{number:09}Z","Status":{status},"JobType":{kind},"JobData":{{"Url":"{scheme}://host-{host}.example/{path}/{to}","Body":{{"number":{number}}}}}}}"#,
    );
    ProducerRecord::to(Topics::default().jobs).key(id).value(value)
}

/// Jobs of every fate; which stand together is a function of the seed.
pub(crate) fn jobs(seed: u64, count: u64, have_own_paths: bool) -> Vec<ProducerRecord> {
    (0..count).map(|number| job(number + seed % 16, have_own_paths)).collect()
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
