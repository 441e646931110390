//! What must hold of requests, beside what must hold of any job.

use std::collections::BTreeMap;

use jobstream_testkit::simulation::History;
use serde_json::value::RawValue;
use webhook::Secrets;

use crate::effects::{Effects, are_accounted_for, are_bounded, header, none_is_second, results};
use crate::jobs::number;
use crate::outside::SECRET;
use crate::receiver::{Posted, Receiver};

/// A job of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct JobOfRequest {
    number: u64,
    id: String,
    /// As it was sent.
    body: String,
}

impl JobOfRequest {
    fn new(id: &str, body: &str) -> Self {
        let read: Body = serde_json::from_str(body).unwrap();
        Self { number: read.number, id: id.to_owned(), body: body.to_owned() }
    }

    /// The jobs of a request: its body is that of one, or an array.
    fn all(posted: &Posted) -> Vec<Self> {
        let body = std::str::from_utf8(&posted.body).unwrap();
        match serde_json::from_str::<Vec<Element<'_>>>(body) {
            Ok(elements) => elements.iter().map(|it| Self::new(it.id, it.body.get())).collect(),
            Err(_) => vec![Self::new(&posted.headers["webhook-id"], body)],
        }
    }
}

#[derive(serde::Deserialize)]
struct Body {
    number: u64,
}

/// A job of a request that may have several.
#[derive(serde::Deserialize)]
struct Element<'a> {
    id: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// How often the receiver has done what each job asks for.
fn deliveries(receiver: &Receiver) -> Effects {
    let mut deliveries = Effects::new();
    for posted in receiver.posted().iter().filter(|posted| posted.is_done) {
        for job in JobOfRequest::all(posted) {
            *deliveries.entry(job.number).or_default() += 1;
        }
    }
    deliveries
}

pub(crate) fn requests_are_accounted_for(
    history: &History,
    receiver: &Receiver,
) -> Result<(), String> {
    are_accounted_for(history, &deliveries(receiver))
}

pub(crate) fn requests_are_bounded(history: &History, receiver: &Receiver) -> Result<(), String> {
    are_bounded(history, &deliveries(receiver))
}

pub(crate) fn no_second_delivery(history: &History, receiver: &Receiver) -> Result<(), String> {
    none_is_second(history, &deliveries(receiver))
}

/// A result that is accepted names a status of success, and the receiver has done what it is of; what a
/// receiver never takes is never accepted.
pub(crate) fn results_are_true(history: &History, receiver: &Receiver) -> Result<(), String> {
    let deliveries = deliveries(receiver);
    for result in results(history) {
        let (job, status) = (number(result).unwrap(), header(result, "job-http-status"));
        let is_accepted = header(result, "job-outcome") == "accepted";
        if is_accepted && (status != "200" || !deliveries.contains_key(&job)) {
            return Err(format!("job {job} is accepted with status {status:?}, and not delivered"));
        }
        if !is_accepted && status == "200" {
            return Err(format!("job {job} has failed with status 200"));
        }
        if is_accepted && matches!(job % 16, 3 | 7 | 9 | 11) && !is_struck(receiver, job) {
            return Err(format!("job {job} is accepted, and the receiver refuses it"));
        }
    }
    Ok(())
}

/// Whether a job may have been taken though it never is: a misfortune strikes whoever comes.
fn is_struck(receiver: &Receiver, job: u64) -> bool {
    deliveries(receiver).contains_key(&job)
}

/// A job has one id and one body in every request that carries it; each request is signed, and those of
/// one id are equal byte for byte but for their time.
pub(crate) fn requests_are_repeatable(_: &History, receiver: &Receiver) -> Result<(), String> {
    let secrets = Secrets::parse(SECRET)?;
    let (mut jobs, mut ids, mut bodies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for posted in receiver.posted() {
        let id = posted.headers["webhook-id"].clone();
        if *bodies.entry(id.clone()).or_insert_with(|| posted.body.clone()) != posted.body {
            return Err(format!("{id}: another request of this id has another body"));
        }
        for job in JobOfRequest::all(&posted) {
            let of_id = *ids.entry(job.id.clone()).or_insert(job.number);
            let first = jobs.entry(job.number).or_insert_with(|| job.clone());
            if of_id != job.number || *first != job {
                return Err(format!("job {}: another request has another id or body", job.number));
            }
        }
        let time = posted.headers["webhook-timestamp"].parse().map_err(|_| "no time")?;
        let signature = posted.headers.get("webhook-signature");
        if signature != secrets.sign(&id, time, &posted.body).as_ref() {
            return Err(format!("{id}: found another signature"));
        }
    }
    Ok(())
}
