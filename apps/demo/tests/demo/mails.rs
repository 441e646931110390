//! What a reader of a mail sees is what the job says.

use crate::check::check;
use crate::job::Job;

fn arrive(jobs: impl Iterator<Item = Job>) {
    let lines: Vec<_> = jobs.map(|job| job.line()).collect();
    assert_eq!(check(&lines).mails.len(), lines.len());
}

#[test]
fn texts_arrive_as_they_are_with_every_line_end_as_crlf() {
    let texts = [
        "",
        ".",
        "..",
        "...",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "\r\r\n",
        "\n\n",
        "\n.\n",
        "\r.\r",
        ".\r\n.",
        "a\rb\nc\r\nd\n\re",
        "\r\n.\r\n",
        "\n.\r\nMAIL FROM:<x@example.org>\r\n",
        "From x",
        "=41",
        "=",
        "a \nb\t\n ",
        " a",
        "\0",
        "a\0b",
        "\u{1}\u{1a}\u{1b}\u{7f}",
        "\u{b}\u{c}",
        "\u{85}\u{2028}",
        "\u{feff}x",
        "-- \nx",
        "Subject: x\n\nbody",
        "\u{1f355}",
        "\u{17b}\u{f3}\u{142}w, \u{5bff}\u{53f8}",
        "caf\u{e9} \n.\n\u{e9}.",
        "--\nContent-Type: text/html",
        "<b>&amp;</b>",
        "e\u{301}",
    ];
    let long = ["x", "\u{e9}", ".", " ", "=", "\0", "x ", ".\n", "\r", "\u{1f355}\n"]
        .iter()
        .flat_map(|unit| [75, 76, 77, 997, 998, 999, 1000, 5000].map(|count| unit.repeat(count)));
    let stuffed = [75, 76, 77, 150].map(|count| format!("{}.\u{e9}\n.", "x".repeat(count)));
    let all = texts.iter().map(|text| (*text).to_owned()).chain(long).chain(stuffed);
    arrive(all.enumerate().map(|(n, text)| Job::new(n).message(&text)));
}

#[test]
fn a_text_that_makes_its_job_almost_too_large_arrives() {
    arrive(
        ["x", "\u{e9}", "\u{1f355}\n.", "x\n"]
            .iter()
            .enumerate()
            .map(|(n, unit)| Job::new(n).message(&unit.repeat(600_000 / unit.len()))),
    );
}

#[test]
fn subjects_arrive_as_they_are() {
    let subjects = [
        "",
        " ",
        "  ",
        "a",
        "subject ",
        " subject",
        "a  b",
        "=?utf-8?q?x?=",
        "a =?utf-8?b?eA==?= b",
        "=?",
        "?=",
        "=",
        "\"q\"",
        "a, b; c: <d@example.org> (e)",
        "\u{e9}",
        "caf\u{e9} ",
        "\u{85}x",
        "\u{2028}",
        "a\u{a0}b",
        "\u{feff}x",
        "\u{1f355} \u{5bff}\u{53f8}",
        "e\u{301}",
        "Bcc: x@example.org",
    ];
    let long =
        ["x", "\u{e9}", " ", "word ", "\u{1f355}", "=?utf-8?q?x?= "].iter().flat_map(|unit| {
            let short = [30, 38, 39, 40, 45, 60, 66, 67, 68, 76, 100].into_iter();
            short.chain([998, 2000]).map(|count| format!("{}.", unit.repeat(count)))
        });
    let all = subjects.iter().map(|subject| (*subject).to_owned()).chain(long);
    arrive(all.enumerate().map(|(n, subject)| Job::new(n).subject(&subject)));
}

#[test]
fn a_subject_is_as_long_as_its_limit_and_no_longer() {
    let lines = [32_768, 32_769].map(|bytes| Job::new(bytes).subject(&"x".repeat(bytes)).line());
    assert_eq!(check(&lines).mails.len(), 1);
}
