//! The jobs that the contenders are given.

use bytes::Bytes;

/// The sender and the receiver of every mail.
pub(crate) const FROM: &str = "bench@example.com";
pub(crate) const TO: &str = "inbox@example.net";
const MESSAGE_BYTES: usize = 500;

/// The key of the job with this number, which is its `Id` too.
pub(crate) fn key(number: usize) -> String {
    format!("{number:024x}")
}

/// A job as the scheduler documents it, with 500 bytes of text.
pub(crate) fn mail_job(number: usize) -> Bytes {
    let line = "The quick brown fox jumps over the lazy dog, and then it sleeps.\n";
    let message: String = line.chars().cycle().take(MESSAGE_BYTES).collect();
    let value = serde_json::json!({
        "Id": key(number),
        "Name": "bench",
        "ScheduleTime": "2024-01-01T00:00:00Z",
        "CreatedAt": "2023-06-30T16:50:46.3042083Z",
        "UpdatedAt": "2023-06-30T16:50:46.3042086Z",
        "Status": 2,
        "JobData": {"SourceAddress": FROM, "DestinationAddress": TO, "Subject": "Bench",
                    "Message": message},
    });
    value.to_string().into()
}

/// A job of exactly this many bytes, for a job sink that does not look at it.
pub(crate) fn job_of(number: usize, bytes: usize) -> Bytes {
    let job = |message: &str| {
        let id = key(number);
        format!(r#"{{"Id":"{id}","Status":2,"JobData":{{"Message":"{message}"}}}}"#)
    };
    let padding = bytes.checked_sub(job("").len()).expect("room for what a job needs");
    job(&"m".repeat(padding)).into()
}
