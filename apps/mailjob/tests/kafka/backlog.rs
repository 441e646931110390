//! A backlog: how fast it is worked off, and in how much memory.
//!
//! `BACKLOG_JOBS` says how many jobs; the default is few, for a quick run. Figures are those of the
//! profile that the test was built with.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use jobstream_testkit::smtp::{Keep, SmtpServer};
use tokio::time::Instant;

use crate::arrivals::Arrivals as _;
use crate::load::add;
use crate::stage::Stage;

const JOBS: usize = 20_000;
/// Jobs that are produced at once.
const ADDED: usize = 10_000;
/// `VmHWM` that a service without a ledger may not exceed.
const PEAK_KIB: usize = 64 << 10;

/// Works a backlog off: jobs/s from the first mail to the last, and `VmHWM` in KiB.
async fn worked_off(jobs: usize, settings: &[(&str, &str)]) -> (f64, usize) {
    let server = SmtpServer::builder().keep(Keep::Counts).listen().await.unwrap();
    let mut stage = Stage::new(server.address()).await;
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
    assert_eq!(server.total(), jobs, "mails");
    (rate, peak_kib)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_backlog_fits_into_bounded_memory() {
    let jobs = std::env::var("BACKLOG_JOBS").map_or(JOBS, |jobs| jobs.parse().unwrap());
    for (delivery, ledger) in
        [("at-least-once", "none"), ("exactly-once", "none"), ("exactly-once", "kafka")]
    {
        let settings = [("JOB_DELIVERY", delivery), ("JOB_LEDGER", ledger), ("LOGLEVEL", "WARN")];
        let (rate, peak_kib) = worked_off(jobs, &settings).await;
        println!(
            "{delivery}, ledger {ledger}, {jobs} jobs: {rate:.0} jobs/s, VmHWM {peak_kib} KiB"
        );
        assert!(ledger != "none" || peak_kib < PEAK_KIB, "found a peak of {peak_kib} KiB");
    }
}
