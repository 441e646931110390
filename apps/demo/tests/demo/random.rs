//! Random lines: whatever they hold, what a run leaves is what the model says.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::sample::{Index, select};
use serde_json::json;

use crate::addresses::ADDRESSES;
use crate::check::check;
use crate::dates::DATES;

/// What a text is made of: what mails, JSON and SMTP treat in a way of their own.
const PIECES: &[&str] = &[
    "a",
    "word ",
    " ",
    ".",
    "\n",
    "\r",
    "\r\n",
    "\n.\n",
    "=",
    "=?utf-8?q?x?=",
    "\0",
    "\u{7f}",
    "\t",
    "\u{e9}",
    "\u{5bff}",
    "\u{1f355}",
    "\u{2028}",
    "\"",
    "\\",
    "\u{feff}",
    "Bcc: x@example.org",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![9 => select(PIECES).prop_map(str::to_owned), 1 => any::<String>()];
    let pieces = (prop::collection::vec(piece, 0..12), select(&[1, 1, 1, 20][..]));
    pieces.prop_map(|(pieces, times)| pieces.concat().repeat(times))
}

/// Mostly without what can't stand in a subject.
fn subject() -> impl Strategy<Value = String> {
    let clean = text().prop_map(|text| text.replace(|c: char| c.is_ascii_control(), ""));
    prop_oneof![5 => clean, 1 => text()]
}

fn address() -> impl Strategy<Value = String> {
    let known = any::<Index>().prop_map(|at| at.get(ADDRESSES).0.to_owned());
    prop_oneof![6 => "[a-z]{1,9}@(example[.]com|[a-z]{1,9}[.]org)", 1 => known]
}

/// A string as JSON, in the plain form or with every unit escaped.
fn quoted(text: &str, escaped: bool) -> String {
    if !escaped {
        return json!(text).to_string();
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{units}\"")
}

fn time() -> impl Strategy<Value = String> {
    let known = any::<Index>().prop_map(|at| json!(at.get(DATES).0).to_string());
    prop_oneof![6 => known, 1 => select(&["null", "0", "{}"][..]).prop_map(str::to_owned)]
}

fn data() -> impl Strategy<Value = String> {
    let values = (address(), address(), subject(), text(), any::<[bool; 6]>());
    let object = values.prop_map(|(source, to, subject, message, flags)| {
        let field = |name: &str, value: &str, flag| {
            format!("{}: {}", quoted(name, flag), quoted(value, flag))
        };
        let fields = [
            field("SourceAddress", &source, flags[0]),
            field("DestinationAddress", &to, flags[1]),
            field("Subject", &subject, flags[2]),
            field("Message", &message, flags[3]),
        ];
        let object = format!("{{{}}}", fields.join(" ,"));
        if flags[4] { quoted(&object, flags[5]) } else { object }
    });
    let odd = select(&["null", "[]", "\"\"", "{}", "1", r#""{\"Subject\":\"x\"}""#][..]);
    prop_oneof![12 => object, 1 => odd.prop_map(str::to_owned)]
}

/// One field with its name, or a few times the same.
fn field(
    name: &'static str,
    value: impl Strategy<Value = String>,
    times: impl Strategy<Value = usize>,
) -> impl Strategy<Value = Vec<String>> {
    (value, times, prop::bool::weighted(0.1)).prop_map(move |(value, times, escaped)| {
        vec![format!("{} : {value}", quoted(name, escaped)); times]
    })
}

/// Once as a rule; else never, or twice.
fn once() -> impl Strategy<Value = usize> {
    prop_oneof![50 => Just(1), 1 => Just(0), 1 => Just(2)]
}

/// Any number of times, mostly none.
fn perhaps() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 3 => Just(1), 1 => Just(2)]
}

fn seldom() -> impl Strategy<Value = usize> {
    prop_oneof![16 => Just(0), 1 => Just(1)]
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(values).prop_map(str::to_owned)
}

fn unknown() -> impl Strategy<Value = String> {
    one_of(&[
        "1.0",
        "-0",
        "12345678901234567890",
        "\"\\ud800\"",
        "{\"Status\":2 }",
        "[ ]",
        "1E400",
        "true",
        "{\"a\":1,\"a\":2}",
        "\"\\u00e9\\/\"",
    ])
}

/// Most are jobs that can be run.
fn job() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        20 => text().prop_map(|text| json!(format!("{text}x")).to_string()),
        10 => "\"[0-9a-f]{1,2}\"",
        1 => one_of(&["7", "null", "\"\\ud800\"", "\"\""]),
    ];
    let status = prop_oneof![
        15 => one_of(&["1", "2", "3"]),
        2 => one_of(&["0", "4", "5", "-0"]),
        1 => one_of(&["6", "2.0", "\"2\"", "null", "-1"]),
    ];
    let kind = prop_oneof![
        12 => one_of(&["0", "null", "-0"]),
        2 => one_of(&["1", "2", "-7"]),
        1 => one_of(&["0.0", "\"0\"", "[]"]),
    ];
    let fields = (
        field("Id", id, once()),
        field("Status", status, once()),
        field("JobData", data(), once()),
        field("JobType", kind, prop_oneof![3 => Just(0), 1 => once()]),
        field("ScheduleTime", time(), perhaps()),
        field("CreatedAt", time(), perhaps()),
        field("x", unknown(), perhaps()),
        field("Name", text().prop_map(|text| json!(text).to_string()), perhaps()),
        field("broken", one_of(&["01", "nul", "[1,]", "'x'", ""]), seldom()),
    );
    let fields =
        fields.prop_map(|(a, b, c, d, e, f, g, h, i)| [a, b, c, d, e, f, g, h, i].concat());
    let space = one_of(&["", "", "", " ", "\r", "\t "]);
    (fields.prop_shuffle(), space).prop_map(|(fields, space)| {
        format!("{space}{{{space}{}{space}}}{space}", fields.join(&format!("{space},")))
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let cut =
        (job(), any::<Index>()).prop_map(|(job, at)| job.as_bytes()[..at.index(job.len())].into());
    let spoilt = (job(), any::<Index>(), 0x80_u8..).prop_map(|(job, at, with)| {
        let (before, behind) = job.as_bytes().split_at(at.index(job.len()));
        [before, &[with], behind].concat()
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let line =
        prop_oneof![40 => job().prop_map(String::into_bytes), 1 => cut, 1 => spoilt, 1 => bytes];
    line.prop_map(|mut line| {
        line.retain(|byte| *byte != b'\n');
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_run_leaves_is_what_the_model_says(lines in prop::collection::vec(line(), 0..120)) {
        check(&lines);
    }
}
