//! `kill -9` under load, again and again.

use std::time::Duration;

use tokio::time::Instant;

use crate::arrivals::Arrivals;
use crate::load::{none_lost, none_twice, under_load};
use crate::stage::{Stage, inbox};

/// Kills a service so many times under load, each time at another point of its work, until a last
/// one ends when every job has its result: the stage, and the number of jobs. Prints how long each
/// restart took until its first mail.
#[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
pub(crate) async fn killed(
    server: &impl Arrivals,
    kills: usize,
    settings: &[(&str, &str)],
) -> (Stage, usize) {
    let mut stage = Stage::new(server.address()).await;
    settings.iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("MAIL_RATE", "400");
    let killing = async {
        let mut starts = Vec::new();
        for kill in 0..kills {
            let before = server.total();
            let start = Instant::now();
            let service = stage.start(&format!("log-{kill}"));
            server.arrived(before + 1).await;
            starts.push(start.elapsed());
            server.arrived(before + 40 + 7 * kill % 60).await;
            service.kill().await;
            server.settled().await;
        }
        starts
    };
    let (mut starts, jobs) = under_load(&stage, server, killing).await;
    let last = stage.start("last");
    stage.results_of(jobs).await;
    last.terminate().await.succeeded();
    // Nobody was killed before the first one.
    starts.remove(0);
    starts.sort_unstable();
    let repeated = server.total() - server.by_message_id().len();
    let seconds = |at: usize| starts.get(at).map_or(0.0, Duration::as_secs_f64);
    println!(
        "{settings:?}, {kills} kills: restart to first mail median {:.1} s, longest {:.1} s; \
         {repeated} mails of {jobs} jobs repeated",
        seconds(starts.len() / 2),
        seconds(starts.len() - 1),
    );
    (stage, jobs)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_in_twenty_kills_at_least_once() {
    let (stage, jobs) = killed(&inbox().await, 20, &[("JOB_DELIVERY", "at-least-once")]).await;
    none_lost(&stage.records("results").await, jobs);
}

/// Every job has one result after twenty kills in exactly-once mode.
async fn one_result_each(settings: &[(&str, &str)]) {
    let settings = [&[("JOB_DELIVERY", "exactly-once")], settings].concat();
    let (stage, jobs) = killed(&inbox().await, 20, &settings).await;
    let results = stage.records("results").await;
    none_lost(&results, jobs);
    none_twice(&results);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_and_none_has_two_results_in_twenty_kills_exactly_once() {
    one_result_each(&[("INSTANCE_ID", "one")]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_and_none_has_two_results_in_twenty_kills_exactly_once_without_a_name() {
    one_result_each(&[]).await;
}
