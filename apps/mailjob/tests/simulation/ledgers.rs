//! The promises hold with a ledger, and more of them.

use jobstream::sinks::Ambiguous;

use crate::search::{passes, schedules, search_with_ledger};

#[test]
fn a_ledger_that_resends_bounds_the_mails_of_a_job() {
    let schedules = schedules(60);
    let report = passes(search_with_ledger(Ambiguous::Resend, 50).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 50 * schedules));
}

#[test]
fn a_ledger_that_parks_sends_no_second_mail() {
    let schedules = schedules(60);
    let report = passes(search_with_ledger(Ambiguous::Park, 50).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 50 * schedules));
}

#[test]
fn with_a_ledger_a_crash_at_every_poll_of_every_member_breaks_nothing() {
    for ambiguous in [Ambiguous::Resend, Ambiguous::Park] {
        let report = passes(search_with_ledger(ambiguous, 6).every_crash());
        assert_eq!(report.crash_schedules, report.schedules);
        assert!(report.schedules > 50, "found {} polls", report.schedules);
    }
}
