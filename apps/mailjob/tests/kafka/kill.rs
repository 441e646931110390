//! `kill -9` under load, again and again.

use std::time::Duration;

use jobstream_testkit::smtp::SmtpServer;
use tokio::time::{Instant, sleep, timeout};

use crate::load::{jobs, none_lost, none_twice};
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER, Stage, inbox, mails};

/// Kills a service so many times, each time at another point of its work; the stage, when every job
/// has its result. Prints how long each restart took until its first mail.
#[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
pub(crate) async fn killed(kills: usize, settings: &[(&str, &str)]) -> (Stage, SmtpServer, usize) {
    let count = 150 * kills;
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    settings.iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("MAIL_RATE", "400");
    stage.submit(&jobs(count)).await;
    let mut starts = Vec::new();
    for kill in 0..kills {
        let before = mails(&server, 0).await;
        let start = Instant::now();
        let service = stage.start(&format!("log-{kill}"));
        mails(&server, before + 1).await;
        starts.push(start.elapsed());
        mails(&server, before + 40 + 7 * kill % 60).await;
        service.kill().await;
        assert!(server.inbox().counts().len() < count, "it was killed under load");
        let cut = async {
            while server.connections().open > 0 {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        timeout(LIMIT, cut).await.expect("no connection of a dead process");
    }
    let last = stage.start("last");
    stage.results_of(count).await;
    last.terminate().await.succeeded();
    starts.remove(0);
    starts.sort_unstable();
    let repeated = mails(&server, 0).await - server.inbox().counts().len();
    let seconds = |at: usize| starts.get(at).map_or(0.0, Duration::as_secs_f64);
    println!(
        "{settings:?}, {kills} kills: restart to first mail median {:.1} s, longest {:.1} s; \
         {repeated} mails of {count} repeated",
        seconds(starts.len() / 2),
        seconds(starts.len() - 1),
    );
    (stage, server, count)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_in_twenty_kills_at_least_once() {
    let (stage, _server, count) = killed(20, &[("JOB_DELIVERY", "at-least-once")]).await;
    none_lost(&stage.records("results").await, count);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_and_none_has_two_results_in_twenty_kills_exactly_once() {
    let settings = [("JOB_DELIVERY", "exactly-once"), ("INSTANCE_ID", "one")];
    let (stage, _server, count) = killed(20, &settings).await;
    let results = stage.records("results").await;
    none_lost(&results, count);
    none_twice(&results);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn no_job_is_lost_and_none_has_two_results_in_kills_exactly_once_without_an_instance_id() {
    let (stage, _server, count) = killed(6, &[("JOB_DELIVERY", "exactly-once")]).await;
    let results = stage.records("results").await;
    none_lost(&results, count);
    none_twice(&results);
}
