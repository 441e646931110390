//! A backlog: how fast it is worked off, and in how much memory.
//!
//! `BACKLOG_JOBS` and `LEDGER_JOBS` say how many jobs; the defaults are few, for a quick run.
//! Figures are those of the profile that the test was built with.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use jobstream_testkit::smtp::{Keep, SmtpServer};
use tokio::time::Instant;

use crate::arrivals::Arrivals as _;
use crate::load::{add, one_mail_each};
use crate::stage::{DELIVERIES, Stage};

/// Jobs that are produced at once.
const ADDED: usize = 10_000;
/// `VmHWM` that the service may not exceed.
const PEAK_KIB: usize = 64 << 10;

/// A number of jobs of the environment, or its default.
fn jobs(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |jobs| jobs.parse().unwrap())
}

/// Works a backlog off: jobs/s from the first mail to the last, and `VmHWM` in KiB.
async fn worked_off(jobs: usize, settings: &[(&str, &str)]) -> (f64, usize) {
    let server = SmtpServer::builder().keep(Keep::Counts).listen().await.unwrap();
    let mut stage = Stage::new(server.address()).await;
    stage.set("LOGLEVEL", "WARN");
    settings.iter().for_each(|(name, value)| stage.set(name, value));
    for first in (0..jobs).step_by(ADDED) {
        add(&stage, first..jobs.min(first + ADDED)).await;
    }
    let service = stage.start("log");
    server.arrived(1).await;
    let first = Instant::now();
    server.arrived(jobs).await;
    let rate = (jobs - 1) as f64 / first.elapsed().as_secs_f64();
    stage.results_of(jobs).await;
    let peak_kib = service.peak_kib();
    service.terminate().await.succeeded();
    one_mail_each(&server, jobs);
    (rate, peak_kib)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_backlog_fits_into_bounded_memory() {
    let jobs = jobs("BACKLOG_JOBS", 20_000);
    for delivery in DELIVERIES {
        let (rate, peak_kib) = worked_off(jobs, &[("JOB_DELIVERY", delivery)]).await;
        println!("{delivery}, {jobs} jobs: {rate:.0} jobs/s, VmHWM {peak_kib} KiB");
        assert!(peak_kib < PEAK_KIB, "{delivery}: found a peak of {peak_kib} KiB");
    }
}

/// What a ledger costs: two transactions more for each job, one before and one after its mail, in
/// which a connection waits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_a_ledger_or_without_a_backlog_is_worked_off_with_one_mail_each() {
    let jobs = jobs("LEDGER_JOBS", 2_000);
    for connections in ["8", "100"] {
        for ledger in ["none", "kafka"] {
            let settings = [
                ("JOB_DELIVERY", "exactly-once"),
                ("JOB_LEDGER", ledger),
                ("MAIL_CONNECTIONS", connections),
            ];
            let (rate, _) = worked_off(jobs, &settings).await;
            println!("ledger {ledger}, {connections} connections, {jobs} jobs: {rate:.0} jobs/s");
        }
    }
}
