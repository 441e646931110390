//! The account of jobs that were executed with a ledger: the mails of each, and what was counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jobstream::codec::Codec as _;
use jobstream::job::JobCodec;

use crate::arrivals::Arrivals;
use crate::load::{none_lost, none_twice};
use crate::stage::Stage;
use crate::topics::{Found, results_by_id};

/// The jobs that a service may have in doubt: four for each connection of the default.
pub(crate) const IN_DOUBT: usize = 32;

pub(crate) struct Account {
    jobs: usize,
    /// By Message-ID.
    mails: BTreeMap<String, usize>,
    results: Vec<Found>,
}

impl Account {
    /// Completes when all mails have arrived.
    pub(crate) async fn of(stage: &Stage, server: &impl Arrivals, jobs: usize) -> Self {
        server.settled().await;
        let results = stage.records("results").await;
        Self { jobs, mails: server.by_message_id(), results }
    }

    /// Mails beyond the first one of each job.
    pub(crate) fn extra(&self) -> usize {
        self.mails.values().sum::<usize>() - self.mails.len()
    }

    /// The resends that the results report.
    pub(crate) fn resends(&self) -> usize {
        self.results.iter().map(resends).sum()
    }

    /// Every job has one result, which is a success, and as many mails as were counted at most: what
    /// was counted may have been cut off before it arrived.
    #[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
    pub(crate) fn every_extra_mail_is_counted(&self, faults: usize) {
        let (jobs, extra, resends_in_all) = (self.jobs, self.extra(), self.resends());
        println!(
            "resend, {faults} faults: {extra} extra mails of {jobs} jobs, {resends_in_all} resends"
        );
        none_lost(&self.results, jobs);
        none_twice(&self.results);
        assert_eq!(self.mails.len(), jobs, "jobs with a mail");
        for result in &self.results {
            let (id, counted) = (message_id(result), resends(result));
            let mails = self.mails[&id];
            assert!(mails <= 1 + counted, "{id}: {mails} mails, {counted} resends counted");
        }
        assert!(extra <= resends_in_all, "{extra} extra mails, {resends_in_all} resends");
        assert!(resends_in_all <= faults * IN_DOUBT, "{resends_in_all} resends in {faults} faults");
    }

    /// Every job has one result: a success with one mail, or parked with at most one.
    #[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
    pub(crate) fn no_job_has_two_mails(&self, faults: usize) {
        assert_eq!(results_by_id(&self.results).len(), self.jobs, "jobs with a result");
        none_twice(&self.results);
        assert_eq!(self.extra(), 0, "mails beyond the first");
        let mut parked = 0;
        for result in &self.results {
            let (status, outcome) = (result.outcome().status, result.header("job-outcome"));
            match (status, outcome.as_deref()) {
                // What was killed between outcome and result has its result as a duplicate.
                (4, Some("accepted" | "duplicate")) => {
                    let id = message_id(result);
                    assert!(self.mails.contains_key(&id), "{id}: accepted, and no mail");
                }
                (5, Some("ambiguous")) => parked += 1,
                _ => panic!("found {result:?}, expected a success or an ambiguous end"),
            }
        }
        let (jobs, mails) = (self.jobs, self.mails.len());
        println!("park, {faults} faults: {mails} mails of {jobs} jobs, {parked} of them parked");
        assert!(parked <= faults * IN_DOUBT, "{parked} parked in {faults} faults");
    }

    /// Of each job that is parked there is a mail.
    pub(crate) fn what_is_parked_was_sent(&self) {
        for result in &self.results {
            if result.header("job-outcome").as_deref() == Some("ambiguous") {
                let id = message_id(result);
                assert!(self.mails.contains_key(&id), "{id}: parked, and never sent");
            }
        }
    }
}

fn resends(result: &Found) -> usize {
    let resends = result.header("job-resends").unwrap_or_else(|| "0".to_owned());
    resends.parse().expect("a number of resends")
}

/// The Message-ID of a job's mail: the hash of what makes it the same job.
fn message_id(result: &Found) -> String {
    let value = result.value.clone().map(Into::into);
    let job = JobCodec.decode(value.as_ref()).expect("a job");
    let mut id = String::new();
    for byte in job.name_hash() {
        // A String takes all that is written to it.
        let _ = write!(id, "{byte:02x}");
    }
    id + "@example.com"
}
