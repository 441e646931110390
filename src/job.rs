//! The job envelope of the job topics: what of it we read, and the result we make of its bytes.
//!
//! The envelope belongs to the scheduler service. We read the few fields we need and keep all
//! bytes: a result is the input with the literal of its top-level `Status` replaced.

mod data;
pub mod json;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::codec::{Codec, CodecError};
use crate::record::Block;

pub use data::{Attachment, JobData};
use json::{fields, found, is_integer, string};

/// The largest value of a job, in bytes (1 MiB).
pub const VALUE_LIMIT_BYTES: usize = 1 << 20;

thread_local! {
    /// Where small results lie.
    static RESULTS: RefCell<Block> = RefCell::default();
}

/// How deep a job's objects and arrays may be nested, its own object included.
pub const DEPTH_LIMIT: usize = 128;

/// Where a job is in its life, as the scheduler numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// 0
    Unknown,
    /// 1
    Pending,
    /// 2
    Scheduled,
    /// 3
    Running,
    /// 4
    Succeeded,
    /// 5
    Failed,
}

impl JobStatus {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Unknown, "0"),
        (Self::Pending, "1"),
        (Self::Scheduled, "2"),
        (Self::Running, "3"),
        (Self::Succeeded, "4"),
        (Self::Failed, "5"),
    ];

    /// The status as it stands on the wire.
    pub fn literal(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn from_literal(literal: &str) -> Option<Self> {
        let literal = if literal == "-0" { "0" } else { literal };
        Self::ALL.iter().find(|(_, known)| *known == literal).map(|(status, _)| *status)
    }
}

/// What kind of job it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobType {
    /// 0, null or absent.
    Email,
    /// 1
    Sms,
    /// Any other integer.
    Other,
}

/// A job, with the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    value: Bytes,
    id: String,
    status: JobStatus,
    status_at: Range<usize>,
    job_type: JobType,
    type_number: Option<i64>,
    data_at: Option<Range<usize>>,
    schedule_time: Option<String>,
    created_at: Option<String>,
}

impl Job {
    /// Its `Id`: never empty; jobs with the same one are executed in order.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its `Status`.
    pub const fn status(&self) -> JobStatus {
        self.status
    }

    /// Its `JobType`.
    pub const fn job_type(&self) -> JobType {
        self.job_type
    }

    /// Its `JobType` as a number, 0 where it is null or absent; none if it has more than 64 bits.
    pub const fn type_number(&self) -> Option<i64> {
        self.type_number
    }

    /// Its `ScheduleTime`, if it is a string; the last one if it is repeated.
    pub fn schedule_time(&self) -> Option<&str> {
        self.schedule_time.as_deref()
    }

    /// Its `CreatedAt`, if it is a string; the last one if it is repeated.
    pub fn created_at(&self) -> Option<&str> {
        self.created_at.as_deref()
    }

    /// Names the job, whatever else is in it: the first 16 bytes of the SHA-256 of its `Id` and
    /// `ScheduleTime`, each behind its length in bytes (8 of them, big endian). A `ScheduleTime`
    /// that is no string is passed over.
    pub fn name_hash(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        for part in [Some(self.id()), self.schedule_time()].into_iter().flatten() {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut name = [0; 16];
        name.copy_from_slice(&hash.finalize()[..16]);
        name
    }

    /// Whether its status says that it is to be run: pending, scheduled or running.
    pub const fn is_runnable(&self) -> bool {
        matches!(self.status, JobStatus::Pending | JobStatus::Scheduled | JobStatus::Running)
    }

    /// Whether it is an e-mail.
    pub const fn is_email(&self) -> bool {
        matches!(self.job_type, JobType::Email)
    }

    /// Its `JobData`, which is an object, or a string that holds one.
    ///
    /// # Errors
    /// If it is neither, a required field is missing, or a field has another type than
    /// [`JobData`]'s. Of a repeated field the last one counts, as for the scheduler; unknown fields
    /// are passed over.
    pub fn data(&self) -> Result<JobData, CodecError> {
        JobData::from_object(&self.data_text()?)
    }

    /// Its `JobData`, which is an object, or a string that holds one, as a type of your own.
    ///
    /// # Errors
    /// If it is neither, or is no `T`: names the field or the type that was found, and what was
    /// expected, and shows nothing of the content. Of a repeated field the last one counts, as for
    /// the scheduler.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        let text = self.data_text()?;
        if !text.trim_start().starts_with('{') {
            return Err(CodecError::new("JobData: found a string that holds no object"));
        }
        // A type refuses repeated fields, and a map of values keeps the last one. What only the text
        // can give, digits of numbers say, is there in the first way.
        let last_counts = || serde_json::from_str(&text).and_then(serde_json::from_value);
        serde_json::from_str(&text)
            .or_else(|error| last_counts().map_err(|_: serde_json::Error| error))
            .map_err(|error| CodecError::new(format!("JobData: {}", CodecError::from(error))))
    }

    /// The object that `JobData` is, or holds.
    fn data_text(&self) -> Result<Cow<'_, str>, CodecError> {
        let at = self.data_at.clone().ok_or_else(|| CodecError::new("JobData is missing"))?;
        let raw = text(&self.value)?.get(at).unwrap_or_default();
        match raw.as_bytes().first() {
            Some(b'{') => Ok(Cow::Borrowed(raw)),
            Some(b'"') => string("JobData", raw).map(Cow::Owned),
            _ => Err(found("JobData", raw, "an object or a string that holds one")),
        }
    }

    /// The value of its result: its own bytes, with only the literal of `Status` replaced.
    pub fn result(&self, status: JobStatus) -> Bytes {
        let literal = status.literal().as_bytes();
        let Range { start, end } = self.status_at;
        let parts = [&self.value[..start], literal, &self.value[end..]];
        RESULTS.with_borrow_mut(|block| block.concat(&parts))
    }
}

/// The codec of the job topics. Encoding gives the bytes that were decoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobCodec;

impl Codec<Job> for JobCodec {
    fn decode(&self, value: Option<&Bytes>) -> Result<Job, CodecError> {
        let value = value.ok_or_else(|| CodecError::new("found no value, expected a job"))?;
        if value.len() > VALUE_LIMIT_BYTES {
            let found = value.len();
            let cause = format!("found {found} bytes, expected at most {VALUE_LIMIT_BYTES}");
            return Err(CodecError::new(cause));
        }
        let text = text(value)?;
        check_depth(text)?;
        Envelope::read(text)?.into_job(value.clone(), text)
    }

    fn encode(&self, job: &Job) -> Result<Option<Bytes>, CodecError> {
        Ok(Some(job.value.clone()))
    }
}

/// The top-level fields that we read, each as it stands in the text.
#[derive(Default)]
struct Envelope<'a> {
    id: Option<&'a str>,
    status: Option<&'a str>,
    job_type: Option<&'a str>,
    job_data: Option<&'a str>,
    schedule_time: Option<&'a str>,
    created_at: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<Self, CodecError> {
        let mut envelope = Self::default();
        fields(text, |name, raw| {
            match name {
                Some("Id") => once("Id", &mut envelope.id, raw),
                Some("Status") => once("Status", &mut envelope.status, raw),
                Some("JobType") => once("JobType", &mut envelope.job_type, raw),
                Some("JobData") => once("JobData", &mut envelope.job_data, raw),
                // Repeated, the last one counts, as for the scheduler.
                Some("ScheduleTime") => {
                    envelope.schedule_time = Some(raw);
                    Ok(())
                }
                Some("CreatedAt") => {
                    envelope.created_at = Some(raw);
                    Ok(())
                }
                _ => Ok(()),
            }
        })?;
        Ok(envelope)
    }

    fn into_job(self, value: Bytes, text: &str) -> Result<Job, CodecError> {
        let at = |raw: &str| {
            let start = raw.as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.len()
        };
        let id = string("Id", self.id.ok_or_else(|| CodecError::new("Id is missing"))?)?;
        if id.is_empty() {
            return Err(CodecError::new("Id: found an empty string, expected a name"));
        }
        let raw = self.status.ok_or_else(|| CodecError::new("Status is missing"))?;
        let status = JobStatus::from_literal(raw)
            .ok_or_else(|| found("Status", raw, "an integer from 0 to 5"))?;
        let text_of = |raw: Option<&str>| raw.and_then(|raw| string("", raw).ok());
        Ok(Job {
            id,
            status,
            status_at: at(raw),
            job_type: job_type(self.job_type)?,
            type_number: self.job_type.filter(|raw| *raw != "null").unwrap_or("0").parse().ok(),
            data_at: self.job_data.map(at),
            schedule_time: text_of(self.schedule_time),
            created_at: text_of(self.created_at),
            value,
        })
    }
}

fn text(value: &[u8]) -> Result<&str, CodecError> {
    std::str::from_utf8(value)
        .map_err(|error| CodecError::new(format!("found {error}, expected UTF-8")))
}

/// `serde_json` does not count the depth of values that it passes over.
fn check_depth(text: &str) -> Result<(), CodecError> {
    if opening_brackets(text.as_bytes()) <= DEPTH_LIMIT {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_LIMIT {
            let cause = format!("found more than {DEPTH_LIMIT} levels, expected fewer");
            return Err(CodecError::new(cause));
        }
    }
    Ok(())
}

/// Counts in lanes of one byte, which the compiler turns into vector instructions.
fn opening_brackets(text: &[u8]) -> usize {
    let in_chunk = |chunk: &[u8]| -> u8 {
        chunk.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum()
    };
    text.chunks(usize::from(u8::MAX)).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

fn job_type(raw: Option<&str>) -> Result<JobType, CodecError> {
    match raw {
        None | Some("null" | "0" | "-0") => Ok(JobType::Email),
        Some("1") => Ok(JobType::Sms),
        Some(raw) if is_integer(raw) => Ok(JobType::Other),
        Some(raw) => Err(found("JobType", raw, "an integer or null")),
    }
}

fn once<'a>(name: &str, slot: &mut Option<&'a str>, raw: &'a str) -> Result<(), CodecError> {
    match slot.replace(raw) {
        None => Ok(()),
        Some(_) => Err(CodecError::new(format!("{name}: found twice, expected once"))),
    }
}
