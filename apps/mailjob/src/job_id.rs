//! The `Id` of a job, for people.

use std::borrow::Cow;

use serde::Deserialize;

/// The longest part of an `Id` that is shown.
const ID_LIMIT_CHARS: usize = 100;

#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(rename = "Id", borrow)]
    id: Cow<'a, str>,
}

/// The first 100 characters of the `Id` of a record's value, if it is a job.
pub fn job_id(value: Option<&[u8]>) -> Option<String> {
    let job: Identified<'_> = serde_json::from_slice(value?).ok()?;
    let end = job.id.char_indices().nth(ID_LIMIT_CHARS).map_or(job.id.len(), |(at, _)| at);
    Some(job.id[..end].to_owned())
}
