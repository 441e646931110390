//! The table of fates: dead letters first, then the status, then the type, then the data.

use crate::check::check;
use crate::job::{Job, with_data};
use crate::model::{Fate, fate};

const DATA: &str = r#"{"SourceAddress":"a@example.com","DestinationAddress":"b@example.org","Subject":"s","Message":"m"}"#;

/// Lines with these fields in front of usable data.
fn with(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|fields| format!(r#"{{{fields},"JobData":{DATA}}}"#)).collect()
}

/// Checks the lines, and that the model itself finds what the test's name says.
fn all_are(lines: &[String], expected: impl Fn(&Fate) -> bool) {
    for line in lines {
        let fate = fate(line.as_bytes());
        assert!(expected(&fate), "the model says {fate:?} of {line}");
    }
    check(lines);
}

fn is_failed(fate: &Fate) -> bool {
    matches!(fate, Fate::Result(done) if done.mail.is_none())
}

fn is_sent(fate: &Fate) -> bool {
    matches!(fate, Fate::Result(done) if done.mail.is_some())
}

#[test]
fn what_is_no_job_is_a_dead_letter() {
    let lines = with(&[
        r#""Status":2"#,
        r#""Id":"","Status":2"#,
        r#""Id":null,"Status":2"#,
        r#""Id":7,"Status":2"#,
        r#""Id":["x"],"Status":2"#,
        r#""Id":"\ud800","Status":2"#,
        r#""id":"x","Status":2"#,
        r#""Id":"x""#,
        r#""Id":"x","status":2"#,
        r#""Id":"x","Status":null"#,
        r#""Id":"x","Status":"2""#,
        r#""Id":"x","Status":2.0"#,
        r#""Id":"x","Status":2e0"#,
        r#""Id":"x","Status":0.2e1"#,
        r#""Id":"x","Status":6"#,
        r#""Id":"x","Status":-1"#,
        r#""Id":"x","Status":18446744073709551618"#,
        r#""Id":"x","Status":true"#,
        r#""Id":"x","Status":02"#,
        r#""Id":"x","Status":+2"#,
        r#""Id":"x","Status":2,"JobType":"0""#,
        r#""Id":"x","Status":2,"JobType":0.0"#,
        r#""Id":"x","Status":2,"JobType":1e0"#,
        r#""Id":"x","Status":2,"JobType":false"#,
        r#""Id":"x","Status":2,"JobType":[]"#,
        r#""Id":"x","Id":"x","Status":2"#,
        r#""Id":"x","\u0049d":"x","Status":2"#,
        r#""Id":"x","Status":2,"Status":2"#,
        r#""Id":"x","Status":2,"JobType":0,"JobType":0"#,
        r#""Id":"x","Status":2,"JobType":null,"Job\u0054ype":null"#,
        r#""Id":"x","Status":2,"JobData":{}"#,
        r#""Id":"x","Status":2,"x":NaN"#,
        r#""Id":"x","Status":2,"x":01"#,
        r#""Id":"x","Status":2,"x":.5"#,
        r#""Id":"x","Status":2,"x":1."#,
        r#""Id":"x","Status":2,"x":"\x""#,
        r#""Id":"x","Status":2,"x":"\u12g4""#,
        r#""Id":"x","Status":2,"x":'y'"#,
        r#""Id":"x","Status":2,x:1"#,
        r#""Id":"x","Status":2,"x":[1,]"#,
        r#""Id":"x","Status":2,/**/"x":1"#,
        "\"Id\":\"x\",\"Status\":2,\"x\":\"a\tb\"",
        "\"Id\":\"x\",\"Status\":2,\"a\tb\":1",
        "\"Id\":\"x\",\"Status\":2,\u{a0}\"x\":1",
    ]);
    all_are(&lines, |fate| matches!(fate, Fate::DeadLetter));
}

#[test]
fn what_is_not_one_json_object_is_a_dead_letter() {
    let job = Job::new("x").line();
    let lines = [
        "null",
        "7",
        "\"x\"",
        "[]",
        "[{}]",
        "{}",
        "{",
        "}",
        "this is not JSON",
        " ",
        "\r",
        "\0",
        ",",
        &job[1..],
        &job[..job.len() - 1],
        &format!("{job}{job}"),
        &format!("{job} x"),
        &format!("{job},"),
        &format!("[{job}]"),
        &format!("\u{feff}{job}"),
        &format!("{job}\0"),
        &format!("\u{b}{job}"),
    ]
    .map(str::to_owned);
    all_are(&lines, |fate| matches!(fate, Fate::DeadLetter));
}

#[test]
fn dead_letters_are_judged_before_status_and_type_and_data() {
    let lines = with(&[
        r#""Id":"x","Status":4,"JobType":"mail""#,
        r#""Id":"x","Status":0,"JobType":0.5"#,
        r#""Id":"","Status":5"#,
        r#""Id":"x","Status":4,"JobType":1,"JobType":1"#,
        r#""Id":"x","Status":2,"JobType":1,"JobData":null"#,
        r#""Id":"x","JobType":1"#,
    ]);
    all_are(&lines, |fate| matches!(fate, Fate::DeadLetter));
}

#[test]
fn the_status_is_judged_before_the_type_and_the_type_before_the_data() {
    let skipped = with(&[
        r#""Id":"x","Status":0"#,
        r#""Id":"x","Status":-0"#,
        r#""Id":"x","Status":4"#,
        r#""Id":"x","Status":5"#,
        r#""Id":"x","Status":4,"JobType":1"#,
        r#""Id":"x","Status":2,"JobType":1"#,
        r#""Id":"x","Status":2,"JobType":2"#,
        r#""Id":"x","Status":2,"JobType":-1"#,
        r#""Id":"x","Status":2,"JobType":123456789012345678901234567890"#,
    ]);
    let unusable = [4, 0].map(|status| format!(r#"{{"Id":"x","Status":{status},"JobData":7}}"#));
    let other_type = r#"{"Id":"x","Status":2,"JobType":1}"#.to_owned();
    let lines: Vec<_> = skipped.into_iter().chain(unusable).chain([other_type]).collect();
    all_are(&lines, |fate| matches!(fate, Fate::Skipped));
    let stdout = check(&lines).stdout;
    let row = |label: &str, count: usize| {
        let row = stdout.lines().find(|line| line.starts_with(label)).unwrap();
        assert!(row.split_whitespace().any(|word| word == count.to_string()), "{row}");
    };
    row("skipped: unknown, or already ended", 7);
    row("skipped: not an e-mail", 5);
    row("all", 12);
}

#[test]
fn pending_and_scheduled_and_running_e_mails_are_sent() {
    let lines = with(&[
        r#""Id":"1","Status":1"#,
        r#""Id":"2","Status":2,"JobType":null"#,
        r#""Id":"3","Status":3,"JobType":0"#,
        r#""Id":"4","Status":3,"JobType":-0"#,
        r#""JobType":0,"Status":3,"Description":"","Id":"5""#,
        r#"  "\u0049\u0064" : "6" , "\u0053tatus" : 2 "#,
        r#""jobtype":"sms","id":7,"status":[],"Id":"7","Status":2"#,
    ]);
    all_are(&lines, is_sent);
}

#[test]
fn data_that_cannot_be_used_ends_in_a_failed_result() {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let mut data: Vec<String> = [
        "null", "7", "true", "[]", "{}", "\"\"", "\" \"", "\"null\"", "\"[]\"", "\"7\"", "\"text\"",
    ]
    .map(str::to_owned)
    .into();
    data.push(quoted(&quoted(DATA)));
    data.push(quoted(&format!("{DATA}x")));
    data.push(quoted(&format!("[{DATA}]")));
    for name in ["SourceAddress", "DestinationAddress", "Subject", "Message"] {
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(DATA).unwrap();
        for value in ["null", "7", "[]", "{}", "false"] {
            fields.insert(name.into(), serde_json::from_str(value).unwrap());
            data.push(serde_json::to_string(&fields).unwrap());
        }
        fields.remove(name);
        data.push(serde_json::to_string(&fields).unwrap());
        data.push(quoted(&serde_json::to_string(&fields).unwrap()));
        fields.insert(name.to_lowercase(), "a@example.com".into());
        data.push(serde_json::to_string(&fields).unwrap());
        data.push(DATA.replace(name, &format!("{name}\\ud800")));
    }
    data.push(DATA.replace("\"m\"", r#""\udc00""#));
    let numbered = data.iter().enumerate();
    let mut lines: Vec<_> = numbered.map(|(n, data)| with_data(n, data)).collect();
    lines.push(r#"{"Id":"no data","Status":2}"#.into());
    all_are(&lines, is_failed);
}

#[test]
fn data_is_an_object_or_a_string_that_holds_one_with_whatever_else_is_in_it() {
    let data = format!(r#" {{ "x":[{{}}], "Subject\u0020":1, {}"#, &DATA[1..]);
    let escaped = DATA.replace("Subject", "\\u0053ubject").replace("example", "ex\\u0061mple");
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let all =
        [data.clone(), quoted(&data), quoted(&format!("\n{DATA}\t ")), quoted(&escaped), escaped];
    let numbered = all.iter().enumerate();
    let lines: Vec<_> = numbered.map(|(n, data)| with_data(n, data)).collect();
    all_are(&lines, is_sent);
}
