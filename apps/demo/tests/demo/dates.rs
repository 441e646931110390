//! Which date a mail bears.

use crate::check::check;
use crate::job::Job;

/// The demo's records all bear 2024-01-01T00:00:00Z.
pub(crate) const RECORD_TIMESTAMP_SECONDS: i64 = 1_704_067_200;

/// Texts, and the seconds since 1970 that they name; `None` is no date that a mail can bear.
pub(crate) const DATES: &[(&str, Option<i64>)] = &[
    ("1970-01-01T00:00:00Z", Some(0)),
    ("2023-06-30T16:50:46.3042083Z", Some(1_688_143_846)),
    ("2023-06-30T16:50:46.9999999999999999999Z", Some(1_688_143_846)),
    ("2023-06-30T22:20:46+05:30", Some(1_688_143_846)),
    ("2023-06-30T11:20:46-05:30", Some(1_688_143_846)),
    ("2023-06-30t16:50:46z", Some(1_688_143_846)),
    ("2023-06-30T16:50:46-00:00", Some(1_688_143_846)),
    ("2000-02-29T12:00:00Z", Some(951_825_600)),
    ("2016-12-31T23:59:60Z", Some(1_483_228_800)),
    ("1990-12-31T15:59:60-08:00", Some(662_688_000)),
    ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
    ("0001-01-01T00:00:00Z", None),
    ("0000-01-01T00:00:00Z", None),
    ("1969-12-31T23:59:59Z", None),
    ("10000-01-01T00:00:00Z", None),
    ("9999-12-31T23:59:60Z", None),
    ("", None),
    ("soon", None),
    ("2024-05-05", None),
    ("2024-05-05T00:00:00", None),
    ("2024-05-05T00:00Z", None),
    ("2024-05-05T00:00:00+0200", None),
    ("2024-05-05T00:00:00.Z", None),
    ("2024-05-05T00:00:00,5Z", None),
    (" 2024-05-05T00:00:00Z", None),
    ("2024-05-05T00:00:00Z ", None),
    ("2024-5-5T00:00:00Z", None),
    ("2024-13-01T00:00:00Z", None),
    ("2024-00-01T00:00:00Z", None),
    ("2024-01-00T00:00:00Z", None),
    ("2024-04-31T00:00:00Z", None),
    ("2023-02-29T00:00:00Z", None),
    ("1900-02-29T00:00:00Z", None),
    ("2024-01-01T24:00:00Z", None),
    ("2024-01-01T00:60:00Z", None),
    ("2024-01-01T00:00:61Z", None),
    ("2024-01-01T00:00:00+24:00", None),
    ("2024-01-01T00:00:00+00:60", None),
    ("Mon, 01 Jan 2024 00:00:00 +0000", None),
    ("1714867200", None),
    ("\u{ff12}\u{ff10}24-01-01T00:00:00Z", None),
];

#[test]
fn the_date_is_the_first_of_schedule_time_and_created_at_that_is_one() {
    let one =
        DATES.iter().map(|(time, _)| Job::new(format!("{time}!")).field("ScheduleTime", *time));
    let other = DATES.iter().map(|(time, _)| {
        let job = Job::new(format!("created {time}")).field("CreatedAt", *time);
        job.field("ScheduleTime", "0001-01-01T00:00:00Z")
    });
    let both = DATES.iter().map(|(time, _)| {
        let job = Job::new(format!("both {time}")).field("ScheduleTime", *time);
        job.field("CreatedAt", "1970-01-01T00:00:00Z")
    });
    let lines: Vec<_> = one.chain(other).chain(both).map(|job| job.line()).collect();
    assert_eq!(check(&lines).mails.len(), 3 * DATES.len());
}

#[test]
fn a_time_that_is_no_string_counts_as_none_and_of_several_the_last_one_counts() {
    let time = "2023-06-30T16:50:46.3042083Z";
    let lines = [
        Job::new(1).field("ScheduleTime", 5).field("CreatedAt", time),
        Job::new(2).field("ScheduleTime", serde_json::Value::Null).field("CreatedAt", time),
        Job::new(3).field("ScheduleTime", vec![time]).field("CreatedAt", true),
        Job::new(4).field("ScheduleTime", "1970-01-01T00:00:00Z").field("ScheduleTime", time),
        Job::new(5),
    ];
    let left = check(&lines.map(|job| job.line()));
    assert_eq!(left.mails.len(), 5);
    let text: Vec<_> = left.mails.iter().map(|mail| String::from_utf8_lossy(mail)).collect();
    let dated = |date: &str| text.iter().filter(|mail| mail.contains(date)).count();
    assert_eq!(dated("Date: Fri, 30 Jun 2023 16:50:46 +0000\r\n"), 3);
    assert_eq!(dated("Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"), 2);
}
