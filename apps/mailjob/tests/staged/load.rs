//! Many jobs, and what has become of them.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join;
use tokio::time::sleep;

use crate::arrivals::Arrivals;
use crate::stage::{LOOK_AGAIN_AFTER, Stage};
use crate::topics::{Found, produce, results_by_id};

/// Jobs that are left at least while a load lasts, and what is added when there are fewer.
const LEFT: usize = 1_000;
const ADDED: usize = 500;

/// The job that the service's documentation shows.
pub(crate) const SAMPLE: &str = r#"{"Id":"649f07e619fca8aa63d842f6","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z",
 "CreatedAt":"2023-06-30T16:50:46.3042083Z","UpdatedAt":"2023-06-30T16:50:46.3042086Z","Status":2,
 "JobData":{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com",
            "Subject":"subject ","Message":"message"}}"#;
pub(crate) const SAMPLE_ID: &str = "649f07e619fca8aa63d842f6";

/// The result of the sample.
pub(crate) fn sample_result() -> String {
    SAMPLE.replace(r#""Status":2"#, r#""Status":4"#)
}

/// The sample with another `Id`.
pub(crate) fn job(number: usize) -> String {
    SAMPLE.replace(SAMPLE_ID, &job_id(number))
}

/// The `Id` of the job with this number.
pub(crate) fn job_id(number: usize) -> String {
    format!("{number:024x}")
}

/// The jobs with numbers below this one, one after another.
pub(crate) fn jobs(count: usize) -> String {
    let mut all = String::new();
    for number in 0..count {
        // A String takes all that is written to it.
        let _ = writeln!(all, "{}", job(number));
    }
    all
}

/// Adds jobs for as long as something is done, so that it is done under load, however fast or slow
/// the machine is. Gives what came of it, and the number of jobs.
pub(crate) async fn under_load<T: Send>(
    stage: &Stage,
    server: &impl Arrivals,
    something: impl Future<Output = T> + Send,
) -> (T, usize) {
    let is_over = AtomicBool::new(false);
    let something = async {
        let done = something.await;
        is_over.store(true, Ordering::Relaxed);
        done
    };
    let loading = async {
        let mut count = 0;
        while !is_over.load(Ordering::Relaxed) {
            if count < server.total() + LEFT {
                add(stage, count..count + ADDED).await;
                count += ADDED;
            } else {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        }
        count
    };
    join(something, loading).await
}

/// Produces the jobs with these numbers, each with its `Id` as key.
pub(crate) async fn add(stage: &Stage, numbers: Range<usize>) {
    let jobs: Vec<_> = numbers.map(|number| (job_id(number), job(number))).collect();
    let records: Vec<_> =
        jobs.iter().map(|(id, job)| (Some(id.as_bytes()), Some(job.as_bytes()))).collect();
    produce(&stage.broker.bootstrap, &stage.topic("jobs"), &records).await;
}

/// Every job has a result with `Status` 4, and nothing else has.
pub(crate) fn none_lost(results: &[Found], jobs: usize) {
    assert_eq!(results_by_id(results).len(), jobs, "jobs with a result");
    let failed = results.iter().find(|result| result.outcome().status != 4);
    assert!(failed.is_none(), "a result that is no success: {failed:?}");
}

/// Every job has one result.
pub(crate) fn none_twice(results: &[Found]) {
    let twice: Vec<_> =
        results_by_id(results).into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "{} jobs have several results: {twice:?}", twice.len());
}

/// Every job has one mail.
pub(crate) fn one_mail_each(server: &impl Arrivals, jobs: usize) {
    let counts = server.by_message_id();
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} jobs have several mails: {twice:?}", twice.len());
    assert_eq!(counts.len(), jobs, "jobs with a mail");
}
