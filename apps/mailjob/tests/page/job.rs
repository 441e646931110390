//! A job, as it is submitted.

use serde_json::json;

/// A job of this name and number, to an address of its own.
pub(crate) fn job(name: &str, number: u64) -> String {
    let data = json!({
        "SourceAddress": "shop@example.com",
        "DestinationAddress": format!("{name}-{number}@example.org"),
        "Subject": format!("{name} {number}"),
        "Message": "a message",
    });
    json!({ "Id": format!("{name}-{number}"), "Status": 2, "JobData": data }).to_string()
}
