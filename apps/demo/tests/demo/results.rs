//! A result is its job, byte for byte, but for the literal of its `Status`.

use crate::check::{check, crc32};
use crate::job::Job;

#[test]
fn a_result_keeps_every_byte_but_the_status() {
    let fields = r#" "z":1.0,"z":-0.0E+10 ,"big":12345678901234567890123,"a":{"Status":2,"Id":""},"Status ":2,
        "e":"\u00e9\/\ud83d\ude00\"\\\b","s":"\ud800","\udfff":[ ],"":null,"Status\u0000":3 ,"n":1e999"#
        .replace('\n', "\t\r");
    let lines = [
        format!(r#"{{{fields},"Id":"1","Status":3 }}"#),
        format!(r#"{{"Status"  :	3,{fields},"Id":"2"}}"#),
        format!(r#" {{"Id":"3",{fields},"\u0053\u0074atus":1}} "#),
        format!(r#"{{"Id":"4","Status":1,{fields}}}{}"#, "\r"),
        Job::new("5").field("Priority", 1.0).data_as_text().line(),
        r#"{"Id":"6","Status":2,"JobData":"{\u0022Status\u0022:2}"}"#.into(),
        r#"{"Name":"\"Status\":2","Id":"7\",\"Status\":2","Status":2}"#.into(),
    ];
    assert_eq!(check(&lines).results.len(), lines.len());
}

#[test]
fn a_record_without_key_has_a_result_with_its_id_as_key() {
    let lines = [
        r#"{"Id":"\u00e9\ud83d\ude00\n","Status":2}"#,
        r#"{"Id":"\u0000","Status":2}"#,
        r#"{"Id":" ","Status":2}"#,
        r#"{"Id":"寿司","Status":2}"#,
        r#"{"Id":"\"\\\/","Status":2}"#,
        r#"{"Id":"null","Status":2}"#,
        r#"{"Id":"3c91b","Status":2}"#,
    ];
    let left = check(&lines);
    let keys = ["\u{e9}\u{1f600}\n", "\0", " ", "寿司", "\"\\/", "null", "3c91b"];
    for key in keys {
        assert!(left.results.iter().any(|result| result.key == key), "{key:?}");
    }
}

#[test]
fn a_key_is_placed_by_its_crc_32() {
    assert_eq!(crc32(b"3c91b") % 6, 5);
    let lines: Vec<_> = (0..200).map(|n| Job::new(format!("{n:024x}")).line()).collect();
    let golden = Job::new("3c91b").line();
    let left = check(&[&lines[..], &[golden]].concat());
    let result = left.results.iter().find(|result| result.key == "3c91b").unwrap();
    assert_eq!(result.partition, 5);
}

#[test]
fn a_job_is_as_large_and_as_deep_as_its_limit_and_no_more() {
    let padded = |id: &str, bytes: usize| {
        let job = Job::new(id).line();
        format!("{job}{}", " ".repeat(bytes - job.len()))
    };
    let nested = |id: &str, open: &str, close: &str, levels: usize| {
        let (open, close) = (open.repeat(levels - 1), close.repeat(levels - 1));
        Job::new(id).line().replacen('{', &format!(r#"{{"[{{":"[[","x":{open}1{close},"#), 1)
    };
    let mut lines = vec![padded("1", 1 << 20), padded("2", (1 << 20) + 1)];
    for levels in [127, 128, 129, 130, 100_000] {
        lines.push(nested(&format!("a{levels}"), "[", "]", levels));
        lines.push(nested(&format!("o{levels}"), r#"{"a":"#, "}", levels));
    }
    let wide = format!("[{}]", vec!["[{}]"; 1000].join(","));
    lines.push(Job::new("wide").line().replacen('{', &format!(r#"{{"x":{wide},"#), 1));
    let left = check(&lines);
    assert_eq!((left.mails.len(), left.dead_letters.len()), (6, 7));
}
