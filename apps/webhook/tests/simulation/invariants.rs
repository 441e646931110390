//! What must hold of requests, beside what must hold of any job.

use std::collections::BTreeMap;

use jobstream_testkit::simulation::History;
use webhook::Secrets;

use crate::effects::{Effects, are_accounted_for, are_bounded, header, none_is_second, results};
use crate::jobs::number;
use crate::outside::SECRET;
use crate::receiver::{Posted, Receiver};

fn number_of(posted: &Posted) -> u64 {
    posted.path.split('/').nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// How often the receiver has done what each job asks for.
fn deliveries(receiver: &Receiver) -> Effects {
    let mut deliveries = Effects::new();
    for posted in receiver.posted().iter().filter(|posted| posted.is_done) {
        *deliveries.entry(number_of(posted)).or_default() += 1;
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
    receiver.posted().iter().any(|posted| number_of(posted) == job && posted.is_done)
}

/// Requests of one job have one id and are equal byte for byte but for their time; each is signed.
pub(crate) fn requests_are_repeatable(_: &History, receiver: &Receiver) -> Result<(), String> {
    let secrets = Secrets::parse(SECRET)?;
    let (mut bodies, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for posted in receiver.posted() {
        let (number, id) = (number_of(&posted), posted.headers["webhook-id"].clone());
        let of_id = *ids.entry(id.clone()).or_insert(number);
        let first = bodies.entry(number).or_insert_with(|| (id.clone(), posted.body.clone()));
        if of_id != number || *first != (id.clone(), posted.body.clone()) {
            return Err(format!("job {number}: another request has another id or body"));
        }
        let time = posted.headers["webhook-timestamp"].parse().map_err(|_| "no time")?;
        let signature = posted.headers.get("webhook-signature");
        if signature != secrets.sign(&id, time, &posted.body).as_ref() {
            return Err(format!("job {number}: found another signature"));
        }
    }
    Ok(())
}
