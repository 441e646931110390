//! Several jobs in one request: what it carries, and what its answer means for each.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;
use webhook::{Secrets, WebhookJob, WebhookSettings};

use crate::receiver::{Act, InMemory, Posted, Receiver};
use crate::support::{block_on, decoded, read, record, sink_with};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const URL: &str = "http://example.org/hook";

/// Up to four jobs a request.
fn settings() -> WebhookSettings {
    read(&[("WEBHOOK_BATCH_JOBS", "4"), ("WEBHOOK_SECRET", SECRET)]).unwrap()
}

fn job(id: usize, data: &Value) -> WebhookJob {
    let job = json!({"Id": id.to_string(), "Status": 2, "JobType": 2, "JobData": data});
    WebhookJob::of(decoded(&job.to_string()))
}

/// What comes of jobs that are there at once: the status of each, or the error.
async fn executed(
    receiver: &Arc<Receiver>,
    jobs: &[WebhookJob],
) -> Vec<Result<Option<u16>, (JobErrorKind, String)>> {
    let (sink, record) = (sink_with(settings(), &InMemory::to(receiver)).in_batches(), record());
    let outcomes = join_all(jobs.iter().map(|job| sink.execute(job, &record))).await;
    let brief = |outcome: Result<webhook::Answer, jobstream::sinks::JobError>| match outcome {
        Ok(answer) => Ok(answer.status),
        Err(error) => Err((error.kind(), error.reason().to_owned())),
    };
    outcomes.into_iter().map(brief).collect()
}

fn elements(posted: &Posted) -> Vec<Value> {
    serde_json::from_slice(&posted.body).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes together: each job once, with its id and its body, in a request to its URL.
    #[test]
    fn a_request_carries_jobs_of_one_url_and_each_as_it_is(
        urls in prop::collection::vec(0_usize..3, 1..20),
        bodies in prop::collection::vec(prop_oneof![
            "\\PC{0,9}".prop_map(Value::from),
            any::<i64>().prop_map(|number| json!({"number": number, "list": [null, true]})),
            Just(Value::Null),
        ], 20),
    ) {
        let data = |(id, url): (usize, &usize)| {
            job(id, &json!({"Url": format!("http://example.org/{url}"), "Body": bodies[id],
                "Headers": {"content-type": "text/x-any", "x-own": "kept"}}))
        };
        let jobs: Vec<_> = urls.iter().enumerate().map(data).collect();
        let receiver = Receiver::always(Act::answer(200));
        let outcomes = block_on(executed(&receiver, &jobs));
        prop_assert!(outcomes.iter().all(|outcome| *outcome == Ok(Some(200))), "{outcomes:?}");
        let mut found = Vec::new();
        for posted in receiver.posted() {
            prop_assert_eq!(&posted.headers["content-type"], "application/json");
            prop_assert_eq!(&posted.headers["x-own"], "kept");
            let (id, time) = (&posted.headers["webhook-id"], &posted.headers["webhook-timestamp"]);
            let signature = Secrets::parse(SECRET).unwrap().sign(id, time.parse().unwrap(), &posted.body);
            prop_assert_eq!(posted.headers.get("webhook-signature"), signature.as_ref());
            let elements = elements(&posted);
            prop_assert!((1..=4).contains(&elements.len()));
            found.extend(elements.into_iter().map(|element| (posted.path.clone(), element)));
        }
        let wanted = jobs.iter().zip(&urls).zip(&bodies).map(|((job, url), body)| {
            (format!("/{url}"), json!({"id": job.webhook_id(), "body": body}))
        });
        let sorted = |mut all: Vec<(String, Value)>| {
            all.sort_by_key(|(path, element)| format!("{path} {element}"));
            all
        };
        prop_assert_eq!(sorted(found), sorted(wanted.collect()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_every_job_of_its_request() {
    let jobs: Vec<_> = (0..4).map(|id| job(id, &json!({"Url": URL}))).collect();
    for (act, kind, reason) in [
        (Act::answer(503), JobErrorKind::Transient, "HTTP 503 Service Unavailable"),
        (Act::answer(500), JobErrorKind::Ambiguous, "HTTP 500 Internal Server Error"),
        (Act::Stall, JobErrorKind::Ambiguous, "no answer within the time limit"),
    ] {
        let receiver = Receiver::always(act);
        let outcomes = executed(&receiver, &jobs).await;
        assert_eq!(outcomes, vec![Err((kind, reason.to_owned())); 4]);
        assert_eq!(receiver.posted().len(), 1, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_batch_that_is_refused_for_good_go_alone() {
    let jobs: Vec<_> = (0..4).map(|id| job(id, &json!({"Url": URL, "Body": id}))).collect();
    let receiver = Receiver::always(Act::answer(200));
    let (sink, record) = (sink_with(settings(), &InMemory::to(&receiver)).in_batches(), record());
    let outcomes = async || {
        let outcomes = join_all(jobs.iter().map(|job| sink.execute(job, &record))).await;
        let kind =
            |outcome: Result<_, jobstream::sinks::JobError>| outcome.err().map(|it| it.kind());
        outcomes.into_iter().map(kind).collect::<Vec<_>>()
    };
    receiver.once(Act::answer(422));
    assert_eq!(outcomes().await, [Some(JobErrorKind::Unavailable); 4], "no attempt is spent");
    for act in [Act::answer(200), Act::answer(422), Act::answer(503), Act::answer(200)] {
        receiver.once(act);
    }
    let (refused, busy) = (Some(JobErrorKind::Permanent), Some(JobErrorKind::Transient));
    assert_eq!(outcomes().await, [None, refused, busy, None]);
    assert_eq!(outcomes().await, [None; 4]);
    let sizes: Vec<_> = receiver.posted().iter().map(|posted| elements(posted).len()).collect();
    assert_eq!(sizes, [4, 1, 1, 1, 1, 4]);
}

#[tokio::test(start_paused = true)]
async fn jobs_whose_data_cannot_be_used_come_into_no_request() {
    let wrong = [json!({}), json!({"Url": "gopher://example.org/"}), json!({"Url": 7})];
    let mut jobs: Vec<_> = wrong.iter().enumerate().map(|(id, data)| job(id, data)).collect();
    jobs.push(job(3, &json!({"Url": URL})));
    let receiver = Receiver::always(Act::answer(200));
    let outcomes = executed(&receiver, &jobs).await;
    let reasons: Vec<_> = outcomes.iter().map(|it| it.clone().err().map(|error| error.1)).collect();
    let expected = [
        Some("Url: found nothing, expected a URL"),
        Some("Url: found another scheme, expected http or https"),
        Some("Url: found an integer, expected a string of Unicode characters"),
        None,
    ];
    assert_eq!(reasons, expected.map(|it| it.map(str::to_owned)));
    assert_eq!(receiver.posted().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_no_job_of_another() {
    let receiver = Receiver::new(|host, _| match host {
        "hangs.example" => Act::Stall,
        _ => Act::answer(200),
    });
    let sink = sink_with(settings(), &InMemory::to(&receiver)).in_batches();
    let (record, began) = (record(), Instant::now());
    let hosts = ["hangs.example", "well.example"];
    let jobs = hosts.map(|host| job(0, &json!({"Url": format!("http://{host}/")})));
    let hangs = sink.execute(&jobs[0], &record);
    let well = async {
        assert!(sink.execute(&jobs[1], &record).await.is_ok());
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    };
    let (hung, ()) = tokio::join!(hangs, well);
    assert_eq!(hung.unwrap_err().kind(), JobErrorKind::Ambiguous);
}
