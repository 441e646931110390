//! A dead letter is the record as it came, with the reason and where it came from.

use serde_json::json;

use crate::check::check;
use crate::job::Job;
use crate::run::demo;

#[test]
fn bytes_that_are_no_utf_8_come_back_as_base64() {
    let job = Job::new("x").line().into_bytes();
    let with = |bytes: &[u8]| {
        let job = String::from_utf8(job.clone()).unwrap();
        let (before, behind) = job.split_once("message").unwrap();
        [before.as_bytes(), bytes, behind.as_bytes()].concat()
    };
    let lines: Vec<Vec<u8>> = vec![
        with(b"\xff"),
        with(b"\xc0\x80"),
        with(b"\xed\xa0\x80"),
        with(b"\xf4\x90\x80\x80"),
        with(b"\xe2\x82"),
        b"\xff".to_vec(),
        b"\xff\xfe".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"\x80\r".to_vec(),
        [&job[..], b"\xff"].concat(),
        with("\u{10ffff}\u{fffd}".as_bytes()),
    ];
    let left = check(&lines);
    assert_eq!((left.dead_letters.len(), left.mails.len()), (10, 1));
    assert!(left.dead_letters.iter().any(|letter| letter.value == json!({"base64": "//79"})));
}

#[test]
fn a_line_that_no_dead_letter_can_hold_has_one_without_value_and_stops_nothing() {
    let large = |mib: usize| "x".repeat(mib << 20);
    let sent = Job::new("sent").line();
    let left = demo(&[&large(3), &sent, &large(20), "\u{1}"]);
    assert_eq!((left.mails.len(), left.results.len(), left.dead_letters.len()), (1, 1, 3));
    let reasons = ["too-large", "too-large", "undecodable"];
    let mut found: Vec<_> =
        left.dead_letters.iter().map(|letter| &letter.headers["dead-letter-reason"]).collect();
    found.sort();
    assert_eq!(found, reasons);
    for letter in left.dead_letters.iter().filter(|letter| letter.value.is_null()) {
        assert_eq!(letter.headers["dead-letter-topic"], "topic-job-run");
        assert!(letter.headers["dead-letter-offset"].parse::<i64>().is_ok());
    }
}

#[test]
fn the_origin_of_a_dead_letter_is_the_place_of_its_record() {
    let lines: Vec<_> = (0..300).map(|n| format!("no job {n}")).collect();
    let left = check(&lines);
    let mut origins: Vec<_> = left
        .dead_letters
        .iter()
        .map(|letter| {
            let number = |name: &str| letter.headers[name].parse::<i64>().unwrap();
            (number("dead-letter-partition"), number("dead-letter-offset"))
        })
        .collect();
    origins.sort_unstable();
    for partition in 0..6 {
        let offsets = origins.iter().filter(|(p, _)| *p == partition).map(|(_, offset)| *offset);
        let offsets: Vec<_> = offsets.collect();
        assert!(!offsets.is_empty() && offsets.iter().copied().eq(0..offsets.len() as i64));
    }
}
