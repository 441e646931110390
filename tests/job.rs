//! The wire contract of the job topics: decoding, and results that keep every byte but `Status`.

use bytes::Bytes;
use jobstream::codec::{Codec, CodecError};
use jobstream::job::{DEPTH_LIMIT, Job, JobCodec, JobStatus, JobType, VALUE_LIMIT_BYTES};
use proptest::prelude::*;

const DOCUMENTED: &str = r#"{"Id":"649f07e619fca8aa63d842f6","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z",
 "CreatedAt":"2023-06-30T16:50:46.3042083Z","UpdatedAt":"2023-06-30T16:50:46.3042086Z","Status":2,
 "JobData":{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com",
            "Subject":"subject ","Message":"message"}}"#;

fn decode(text: impl Into<Vec<u8>>) -> Result<Job, CodecError> {
    JobCodec.decode(Some(&Bytes::from(text.into())))
}

fn cause(text: impl Into<Vec<u8>>) -> String {
    decode(text).expect_err("a dead letter").to_string()
}

#[test]
fn the_documented_job_is_decoded() {
    let job = decode(DOCUMENTED).unwrap();
    assert_eq!(job.id(), "649f07e619fca8aa63d842f6");
    assert_eq!((job.status(), job.job_type()), (JobStatus::Scheduled, JobType::Email));
    assert_eq!(job.schedule_time(), Some("2024-01-01T00:00:00Z"));
    let data = job.data().unwrap();
    assert_eq!(data.source_address, "example@example.com");
    assert_eq!((&*data.subject, &*data.message), ("subject ", "message"));
}

#[test]
fn job_data_as_a_string_that_holds_json_is_read_and_stays_a_string() {
    let data = r#"{"SourceAddress":"a@b.c","DestinationAddress":"d@e.f","Subject":"\u00e9","Message":"m\n"}"#;
    let quoted = serde_json::to_string(data).unwrap();
    let text =
        format!(r#"{{"Id":"1","Description":null,"JobType":0,"Status":3,"JobData":{quoted}}}"#);
    let job = decode(&*text).unwrap();
    assert_eq!(job.data().unwrap().subject, "é");
    assert_eq!(job.data().unwrap().message, "m\n");
    assert_eq!(job.result(JobStatus::Succeeded), text.replace("\"Status\":3", "\"Status\":4"));
}

#[test]
fn keys_compare_unescaped() {
    let job = decode(r#"{"\u0049d":"x","St\u0061tus" : 1}"#).unwrap();
    assert_eq!(job.id(), "x");
    assert_eq!(job.result(JobStatus::Failed), r#"{"\u0049d":"x","St\u0061tus" : 5}"#);
}

#[test]
fn a_name_or_a_value_that_is_no_unicode_matters_only_in_the_fields_that_we_read() {
    let text = r#"{"\ud800":1,"x":"\udc00","\"Id\"":2,"Id":"x","Status":1,"JobData":{"\ud800":1}}"#;
    let job = decode(text).unwrap();
    assert_eq!(job.result(JobStatus::Failed), text.replace("\"Status\":1", "\"Status\":5"));
    assert_eq!(job.data().unwrap_err().to_string(), "SourceAddress is missing");
}

#[test]
fn only_the_top_level_status_is_replaced() {
    let text = r#"{"a":{"Status":1},"Id":"\"Status\":1","Status":1,"status":1}"#;
    let result = decode(text).unwrap().result(JobStatus::Succeeded);
    assert_eq!(result, r#"{"a":{"Status":1},"Id":"\"Status\":1","Status":4,"status":1}"#);
}

#[test]
fn a_value_that_is_no_job_says_what_was_found_and_expected() {
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "one JSON object"),
        ("\"x\"", "one JSON object"),
        (r#"{"Id":"1","Status":1} {}"#, "trailing"),
        (r#"{"Status":1}"#, "Id is missing"),
        (r#"{"Id":"","Status":1}"#, "Id: found an empty string"),
        (r#"{"Id":7,"Status":1}"#, "Id: found an integer, expected a string"),
        (r#"{"Id":null,"Status":1}"#, "Id: found null"),
        (r#"{"Id":"\ud800","Status":1}"#, "Id: found a string that is none"),
        (r#"{"Id":"1"}"#, "Status is missing"),
        (
            r#"{"Id":"1","Status":2.0}"#,
            "Status: found a number that is no integer, expected an integer from 0 to 5",
        ),
        (r#"{"Id":"1","Status":2e0}"#, "Status: found a number that is no integer"),
        (r#"{"Id":"1","Status":6}"#, "Status: found an integer, expected an integer from 0 to 5"),
        (r#"{"Id":"1","Status":-1}"#, "Status: found an integer"),
        (r#"{"Id":"1","Status":"2"}"#, "Status: found a string"),
        (r#"{"Id":"1","Status":null}"#, "Status: found null"),
        (
            r#"{"Id":"1","Status":1,"JobType":0.0}"#,
            "JobType: found a number that is no integer, expected an integer or null",
        ),
        (r#"{"Id":"1","Status":1,"JobType":"0"}"#, "JobType: found a string"),
        (r#"{"Id":"1","Status":1,"JobType":true}"#, "JobType: found a boolean"),
        (r#"{"Id":"1","Id":"1","Status":1}"#, "Id: found twice"),
        (r#"{"Id":"1","Status":1,"\u0053tatus":1}"#, "Status: found twice"),
        (r#"{"Id":"1","Status":1,"JobType":0,"JobType":0}"#, "JobType: found twice"),
        (r#"{"Id":"1","Status":1,"JobData":{},"JobData":{}}"#, "JobData: found twice"),
        (r#"{"Id":"1","Status":1,"x":01}"#, "invalid number"),
    ] {
        let cause = cause(text);
        assert!(cause.contains(expected), "{text}: {cause}");
    }
    assert!(JobCodec.decode(None).unwrap_err().to_string().contains("no value"));
    assert!(cause(*b"{\"Id\":\"1\",\"Status\":1,\"x\":\"\xff\"}").contains("UTF-8"));
}

#[test]
fn the_limits_of_size_and_depth_are_exact() {
    let padded = |len: usize| {
        let text = r#"{"Id":"1","Status":1}"#;
        format!("{text}{}", " ".repeat(len - text.len()))
    };
    assert!(decode(padded(VALUE_LIMIT_BYTES)).is_ok());
    assert!(cause(padded(VALUE_LIMIT_BYTES + 1)).contains("1048577 bytes"));
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"Id":"1","Status":1,"[[":"[\"[","x":{open}{close}}}"#)
    };
    assert!(decode(nested(DEPTH_LIMIT)).is_ok());
    assert!(cause(nested(DEPTH_LIMIT + 1)).contains("128 levels"));
}

#[test]
fn the_job_type_decides_by_its_integer() {
    for (raw, expected) in [
        ("null", JobType::Email),
        ("0", JobType::Email),
        ("1", JobType::Sms),
        ("2", JobType::Other),
        ("-1", JobType::Other),
        ("12345678901234567890123", JobType::Other),
    ] {
        let job = decode(format!(r#"{{"Id":"1","Status":1,"JobType":{raw}}}"#)).unwrap();
        assert_eq!(job.job_type(), expected, "{raw}");
    }
}

#[test]
fn job_data_that_cannot_be_used_names_the_field() {
    let with = |data: &str| decode(format!(r#"{{"Id":"1","Status":1,"JobData":{data}}}"#)).unwrap();
    for (data, expected) in [
        ("null", "JobData: found null"),
        ("7", "JobData: found an integer"),
        ("[]", "JobData: found an array"),
        ("\"\"", "JobData: EOF"),
        ("\"null\"", "JobData: found null, expected one JSON object at line 1"),
        ("{}", "SourceAddress is missing"),
        (r#"{"SourceAddress":null}"#, "SourceAddress: found null"),
        (r#"{"SourceAddress":"a","SourceAddress":7}"#, "SourceAddress: found an integer"),
        (r#"{"SourceAddress":"a","DestinationAddress":"b","Subject":"c"}"#, "Message is missing"),
    ] {
        let cause = with(data).data().unwrap_err().to_string();
        assert!(cause.contains(expected), "{data}: {cause}");
    }
    let missing = decode(r#"{"Id":"1","Status":1}"#).unwrap();
    assert_eq!(missing.data().unwrap_err().to_string(), "JobData is missing");
}

#[test]
fn of_a_field_that_job_data_repeats_the_last_one_counts() {
    let data = r#"{"SourceAddress":"a@b.c","DestinationAddress":7,"Subject":"s","Message":"m","DestinationAddress":"d@e.f"}"#;
    let job = decode(format!(r#"{{"Id":"1","Status":1,"JobData":{data}}}"#)).unwrap();
    assert_eq!(job.data().unwrap().destination_address, "d@e.f");
}

/// A JSON value as text, with the forms that a parser might change: number forms, escapes, spaces.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0".to_owned()),
        Just("-0.0e+10".to_owned()),
        "[1-9][0-9]{19,24}",
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).expect("a string")),
        Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[ {}]", v.join(" ,"))),
            prop::collection::vec((key(), inner), 0..4).prop_map(|fields| object(&fields)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("\"Status\"".into()), "[a-z]{1,3}".prop_map(|key| format!("\"{key}\""))]
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key} : {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

proptest! {
    #[test]
    fn decoding_never_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(job) = decode(bytes) {
            drop(job.data());
        }
    }

    #[test]
    fn decoding_never_panics_on_a_damaged_job(
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
        cut in 0_usize..4,
    ) {
        let mut bytes = DOCUMENTED.as_bytes().to_vec();
        let at = at.index(bytes.len() - cut);
        bytes.splice(at..at + cut, with);
        if let Ok(job) = decode(bytes.clone()) {
            drop(job.data());
            let result = job.result(job.status());
            prop_assert_eq!(&result[..], &bytes[..]);
        }
    }

    #[test]
    fn a_result_differs_from_its_input_in_status_alone(
        before in prop::collection::vec(("\"[a-z]{1,3}\"", json()), 0..5),
        after in prop::collection::vec(("\"[a-z]{1,3}\"", json()), 0..5),
        id in "[^\\p{C}\"\\\\]{1,12}",
        status in 0_u8..6,
    ) {
        let text = |status: u8| {
            let mut fields = before.clone();
            fields.push(("\"Status\"".into(), status.to_string()));
            fields.push(("\"Id\"".into(), format!("\"{id}\"")));
            fields.extend(after.clone());
            object(&fields)
        };
        let job = decode(text(status)).unwrap();
        prop_assert_eq!(job.id(), &id);
        prop_assert_eq!(job.result(JobStatus::Succeeded), text(4));
        prop_assert_eq!(job.result(JobStatus::Failed), text(5));
    }
}
