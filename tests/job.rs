//! The wire contract of the job topics: decoding, and results that keep every byte but `Status`.

use bytes::Bytes;
use jobstream::codec::{Codec, CodecError};
use jobstream::job::{
    Attachment, DEPTH_LIMIT, Job, JobCodec, JobData, JobStatus, JobType, VALUE_LIMIT_BYTES,
};
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
        let number = if raw == "null" { Some(0) } else { raw.parse().ok() };
        assert_eq!(job.type_number(), number, "{raw}");
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

/// The `JobData` of a job with these fields besides, in both shapes.
fn data_with(fields: &str) -> [Result<JobData, CodecError>; 2] {
    let data = format!(
        r#"{{"SourceAddress":"a","DestinationAddress":"b","Subject":"c","Message":"d",{fields}}}"#
    );
    [data.clone(), serde_json::to_string(&data).expect("a string")].map(|data| {
        decode(format!(r#"{{"Id":"1","Status":1,"JobData":{data}}}"#)).expect("a job").data()
    })
}

#[test]
fn what_a_mail_may_have_besides_is_read_in_both_shapes() {
    let fields = r#""Html":"<p>","ReplyTo":"r","Headers":{"X-B":"1","X-A":"\u00e9"},"Else":{},
        "Attachments":[{"Name":"n","ContentType":"t","Content":"c"},
                       {"Content":"","ContentId":"i","Name":"\u00e9","ContentType":"","Else":1}]"#;
    let file = |name: &str, content_type: &str, content: &str, id: Option<&str>| Attachment {
        name: name.into(),
        content_type: content_type.into(),
        content: content.into(),
        content_id: id.map(str::to_owned),
    };
    for data in data_with(fields) {
        let data = data.unwrap();
        assert_eq!((data.html.as_deref(), data.reply_to.as_deref()), (Some("<p>"), Some("r")));
        assert_eq!(data.headers, [("X-B", "1"), ("X-A", "é")].map(|(n, v)| (n.into(), v.into())));
        assert_eq!(data.attachments, [file("n", "t", "c", None), file("é", "", "", Some("i"))]);
    }
    for data in data_with(r#""Html":"<p>","Message":"e","Html":"<b>""#) {
        let data = data.unwrap();
        assert_eq!(
            (&*data.message, data.html.as_deref()),
            ("e", Some("<b>")),
            "the last one counts"
        );
    }
}

#[test]
fn what_a_mail_may_have_besides_and_is_of_another_type_is_named() {
    for (fields, expected) in [
        (r#""Html":null"#, "Html: found null, expected a string"),
        (r#""Html":"\ud800""#, "Html: found a string that is none"),
        (r#""ReplyTo":[]"#, "ReplyTo: found an array, expected a string"),
        (r#""Attachments":null"#, "Attachments: found null, expected a list of objects"),
        (r#""Attachments":"x""#, "Attachments: found a string, expected a list of objects"),
        (r#""Attachments":[{},1]"#, "Attachments[0].Name is missing"),
        (r#""Attachments":[1]"#, "Attachments[0]: found an integer, expected an object"),
        (r#""Attachments":[{"Name":1}]"#, "Attachments[0].Name: found an integer"),
        (
            r#""Attachments":[{"Name":"","ContentType":"","Content":"","ContentId":null}]"#,
            "Attachments[0].ContentId: found null",
        ),
        (r#""Headers":[]"#, "Headers: found an array, expected an object"),
        (r#""Headers":{"X-A":"","X-B":{}}"#, "Headers: value 2: found an object"),
        (r#""Headers":{"\ud800":""}"#, "Headers: found a name that is no Unicode"),
    ] {
        for data in data_with(fields) {
            let cause = data.unwrap_err().to_string();
            assert!(cause.starts_with(expected), "{fields}: {cause}");
        }
    }
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

/// A type of a job of another kind.
#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Call {
    url: String,
    #[serde(default)]
    times: u8,
}

fn call(data: &str) -> Result<Call, CodecError> {
    decode(format!(r#"{{"Id":"1","Status":2,"JobData":{data}}}"#))?.data_as()
}

#[test]
fn job_data_is_read_as_a_type_of_ones_own_from_an_object_or_a_string_that_holds_one() {
    let expected = Call { url: "https://a".into(), times: 3 };
    assert_eq!(call(r#"{"Url":"https://a","Times":3,"Other":null}"#).unwrap(), expected);
    assert_eq!(call(r#""{\"Url\":\"https://a\",\"Times\":3}""#).unwrap(), expected);
    assert_eq!(call(r#"{"Times":9,"Url":"x","Url":"https://a","Times":3}"#).unwrap(), expected);
}

#[test]
fn job_data_that_is_no_such_type_says_why_and_shows_nothing_of_it() {
    for (data, expected) in [
        (r#"{"Times":3}"#, "JobData: missing field `Url`"),
        (r#"{"Url":"secret","Times":300}"#, "JobData: "),
        (r#"{"Url":["secret"]}"#, "JobData: found an array, expected a string"),
        (r#"["secret"]"#, "JobData: found an array, expected an object or a string that holds one"),
        (r#""[\"secret\"]""#, "JobData: found a string that holds no object"),
        (r#""{\"Url\": secret""#, "JobData: "),
        ("null", "JobData: found null, expected an object or a string that holds one"),
    ] {
        let error = call(data).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains("secret"), "{error}");
    }
    let missing = decode(r#"{"Id":"1","Status":2}"#).unwrap().data_as::<Call>().unwrap_err();
    assert_eq!(missing.to_string(), "JobData is missing");
}
