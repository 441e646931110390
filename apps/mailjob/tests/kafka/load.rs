//! Many jobs, and what has become of them.

use std::fmt::Write as _;

use jobstream_testkit::smtp::SmtpServer;

use crate::topics::{Found, results_by_id};

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
    SAMPLE.replace(SAMPLE_ID, &format!("{number:024x}"))
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
pub(crate) fn one_mail_each(server: &SmtpServer, jobs: usize) {
    let counts = server.inbox().counts();
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} jobs have several mails: {twice:?}", twice.len());
    assert_eq!(counts.len(), jobs, "jobs with a mail");
}
