//! A webhook job: a job of the job topics, with what its `JobData` asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use jobstream::job::Job;
use jobstream::job::json::{found, string};
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::LedgerKey;
use jobstream_service::jobs::ServiceJob;
use serde_json::value::RawValue;

use crate::target::Target;

/// The `JobType` of webhooks.
const WEBHOOK: i64 = 2;
const METHODS: [Method; 4] = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// The longest `Timeout`, in seconds.
const TIMEOUT_MAX_SECONDS: f64 = 600.0;
/// The headers that a job has, at most.
const HEADERS_MAX: usize = 64;

/// Headers that are made here, or are of the connection.
const RESERVED: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// How the names of others of these begin.
const RESERVED_PREFIXES: [&str; 4] = ["http2-settings", "keep-alive", "proxy-", "webhook-"];

/// A job, and what it asks for; or what is wrong with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookJob {
    job: Job,
    request: Result<Request, String>,
}

/// What a job asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) target: Target,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
}

impl WebhookJob {
    /// Whether a job is a webhook.
    pub fn is(job: &Job) -> bool {
        job.type_number() == Some(WEBHOOK)
    }

    /// Reads what a job asks for.
    pub fn of(job: Job) -> Self {
        Self { request: request(&job), job }
    }

    /// Its `Id`.
    pub fn id(&self) -> &str {
        self.job.id()
    }

    /// The host that it goes to; empty if its data can't be used.
    pub fn host(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.target.host())
    }

    /// The value of `webhook-id`: the same for every attempt, and for every job that the ledger takes
    /// for the same.
    pub fn webhook_id(&self) -> String {
        format!("msg_{:032x}", u128::from_be_bytes(self.job.name_hash()))
    }

    /// What jobs have in common that one request can carry.
    pub(crate) fn group(&self) -> String {
        let without = |request: &Request| Request { body: Bytes::new(), ..request.clone() };
        format!("{:?}", self.request.as_ref().map(without))
    }

    /// The job in a request that carries several: a JSON object with its id, and its body as it stands
    /// in the job.
    pub(crate) fn element(&self) -> String {
        let fields = self.job.data_as().map(Fields).ok();
        let body = fields.as_ref().and_then(|fields| fields.get("Body")).unwrap_or("null");
        format!(r#"{{"id":"{}","body":{body}}}"#, self.webhook_id())
    }

    /// The job.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// What it asks for; or which field can't be used, and why, with nothing of its content.
    pub(crate) const fn request(&self) -> Result<&Request, &String> {
        self.request.as_ref()
    }
}

impl ServiceJob for WebhookJob {
    fn ledger_key(&self, record: &ConsumerRecord) -> LedgerKey {
        self.job.ledger_key(record)
    }
}

/// The fields of `JobData`, as they stand in its text. Of a repeated one the last counts, and null is
/// as if it were not there.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null")
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.get(name).map(|raw| text(name, raw)).transpose()
    }
}

fn request(job: &Job) -> Result<Request, String> {
    let fields = Fields(job.data_as().map_err(|error| error.to_string())?);
    let url = fields.text("Url")?.ok_or("Url: found nothing, expected a URL")?;
    let (body, content_type) = body(&fields)?;
    let mut headers = headers(&fields)?;
    if let Some(content_type) = content_type.filter(|_| !headers.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    Ok(Request {
        target: Target::parse(&url).map_err(|found| format!("Url: {found}"))?,
        method: method(&fields)?,
        headers,
        body,
        timeout: timeout(&fields)?,
    })
}

fn method(fields: &Fields) -> Result<Method, String> {
    let Some(name) = fields.text("Method")? else { return Ok(Method::POST) };
    let found = METHODS.into_iter().find(|method| method.as_str() == name);
    Ok(found.ok_or("Method: found another word, expected POST, PUT, PATCH or DELETE")?)
}

/// The headers; each name is there once.
fn headers(fields: &Fields) -> Result<HeaderMap, String> {
    let Some(raw) = fields.get("Headers") else { return Ok(HeaderMap::new()) };
    let all: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(raw).map_err(|_| found("Headers", raw, "an object").to_string())?;
    if all.len() > HEADERS_MAX {
        return Err(format!("Headers: found {}, expected at most {HEADERS_MAX}", all.len()));
    }
    let mut headers = HeaderMap::new();
    for (number, (name, raw)) in (1..).zip(&all) {
        let place = format!("Headers, the {number}. by name");
        let name = HeaderName::try_from(name)
            .map_err(|_| format!("{place}: found no name of a header"))?;
        let is_reserved = RESERVED.contains(&name)
            || RESERVED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        if is_reserved {
            return Err(format!("Headers: found {name}, which a job can't set"));
        }
        let value = text(&place, raw.get())?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("{place}: found a character that no header has"))?;
        if headers.insert(name, value).is_some() {
            return Err(format!("{place}: found the same name in other letters, expected it once"));
        }
    }
    Ok(headers)
}

/// The body, and the type that it has unless a header says another one: a string as it is, any other
/// value as its JSON stands in the job.
fn body(fields: &Fields) -> Result<(Bytes, Option<&'static str>), String> {
    match fields.get("Body") {
        None => Ok((Bytes::new(), None)),
        Some(raw) if raw.starts_with('"') => {
            Ok((text("Body", raw)?.into(), Some("text/plain; charset=utf-8")))
        }
        Some(raw) => Ok((Bytes::copy_from_slice(raw.as_bytes()), Some("application/json"))),
    }
}

fn timeout(fields: &Fields) -> Result<Option<Duration>, String> {
    let Some(raw) = fields.get("Timeout") else { return Ok(None) };
    let seconds =
        raw.parse().ok().filter(|seconds| (0.001..=TIMEOUT_MAX_SECONDS).contains(seconds));
    let expected = "seconds, a number from 0.001 to 600";
    let seconds = seconds.ok_or_else(|| found("Timeout", raw, expected).to_string())?;
    Ok(Some(Duration::from_secs_f64(seconds)))
}

fn text(name: &str, raw: &str) -> Result<String, String> {
    string(name, raw).map_err(|error| error.to_string())
}
