//! A `Message-ID` names the job, not the attempt.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::check::check;
use crate::job::Job;

#[test]
fn jobs_with_other_ids_or_schedule_times_have_other_message_ids() {
    let id = |id: &str| Job::new(id);
    let jobs = [
        id("a"),
        id("a").field("ScheduleTime", ""),
        id("a").field("ScheduleTime", "bc"),
        id("ab").field("ScheduleTime", "c"),
        id("ab"),
        id("abc"),
        id("A"),
        id("a "),
        id("a\0"),
        id("a").field("ScheduleTime", "\0"),
        id("a").field("ScheduleTime", "2024-01-01T00:00:00Z"),
        id("a").field("ScheduleTime", "2024-01-01T00:00:00.0Z"),
        id("e\u{301}"),
        id("\u{e9}"),
    ];
    let lines = jobs.map(|job| job.line());
    let left = check(&lines);
    let ids: BTreeSet<_> = left.results.iter().map(|r| &r.headers["job-message-id"]).collect();
    assert_eq!(ids.len(), lines.len());
}

#[test]
fn jobs_with_equal_ids_and_schedule_times_have_equal_message_ids_whatever_else_is_in_them() {
    let job = || Job::new("\u{e9}").field("ScheduleTime", "now");
    let escaped = job().subject("escaped").line().replace('\u{e9}', "\\u00E9");
    let lines = [
        job().line(),
        job().line(),
        job().to("other@example.org").from("a@elsewhere.example").line(),
        job().status("1").field("CreatedAt", "2023-06-30T16:50:46.3042083Z").message("x").line(),
        job().data_as_text().subject("x").line(),
        escaped,
    ];
    let left = check(&lines);
    let ids: BTreeSet<_> = left.results.iter().map(|r| &r.headers["job-message-id"]).collect();
    assert_eq!((left.mails.len(), ids.len()), (6, 1));
}

#[test]
fn a_schedule_time_that_is_null_counts_as_none() {
    let null = Job::new("x").field("ScheduleTime", Value::Null);
    let left = check(&[Job::new("x").line(), null.line()]);
    let [one, other] = &left.results[..] else { panic!("{:?}", left.results) };
    assert_eq!(one.headers["job-message-id"], other.headers["job-message-id"]);
}
