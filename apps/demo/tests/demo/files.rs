//! Where jobs come from, and where results, dead letters and mails go.

use std::collections::BTreeMap;
use std::fs;

use crate::check::{check, compare};
use crate::job::Job;
use crate::run::{Folder, file, mails};

#[test]
fn a_line_is_a_record_without_its_line_feed_and_empty_lines_are_passed_over() {
    let job = |id: u8| Job::new(id).line();
    let (a, b, c) = (job(1), job(2), job(3));
    let text = format!("\n\n{a}\r\n\n \r\n\r\n{b}\n{c}");
    let left = Folder::new().demo(text.as_bytes());
    let lines = [format!("{a}\r"), " \r".into(), "\r".into(), b, c];
    compare(&lines, &left);
    assert_eq!((left.mails.len(), left.dead_letters.len()), (3, 2));
}

#[test]
fn no_line_at_all_is_a_run_that_ends_well() {
    for text in ["", "\n", "\n\n\n"] {
        let left = Folder::new().demo(text.as_bytes());
        compare::<&str>(&[], &left);
        assert!(left.stdout.contains("No mail is in the inbox."), "{}", left.stdout);
    }
}

#[test]
fn a_dash_is_standard_input() {
    let lines = [Job::new(1).line(), "no job".into()];
    let left = Folder::new().demo_with(&["--jobs", "-"], &file(&lines));
    compare(&lines, &left);
    compare::<&str>(&[], &Folder::new().demo_with(&["--jobs", "-"], b""));
}

#[test]
fn two_runs_send_byte_identical_mails() {
    let texts = ["", "\0", "caf\u{e9}\n.", "x"];
    let lines: Vec<_> = (0..200)
        .map(|n| {
            let job = Job::new(n % 150).message(texts[n % 4]).subject(&"\u{e9}".repeat(n % 60));
            if n % 2 == 0 {
                job.line()
            } else {
                job.from("a@elsewhere.example").data_as_text().line()
            }
        })
        .collect();
    let run = || {
        let mut mails = check(&lines).mails;
        mails.sort();
        mails
    };
    assert_eq!(run(), run());
}

#[test]
fn the_folder_of_the_mails_is_made_with_its_parents_and_emptied_of_eml_files_only() {
    let folder = Folder::new();
    folder.write("jobs", Job::new(1).line().as_bytes());
    let args = ["--jobs", "jobs", "--mails", "a/b/mails"];
    assert_eq!(folder.run(&args, b"").status.code(), Some(0));
    folder.write("a/b/mails/old.eml", b"old");
    for kept in ["notes.txt", "old.eml.bak", ".eml", "old.EML", "eml"] {
        folder.write(&format!("a/b/mails/{kept}"), kept.as_bytes());
    }
    fs::create_dir(folder.path("a/b/mails/folder.eml")).unwrap();
    folder.write("jobs", b"no job");
    assert_eq!(folder.run(&args, b"").status.code(), Some(0));
    assert_eq!(mails(&folder.path("a/b/mails")), [b""; 0]);
    for kept in ["notes.txt", "old.eml.bak", ".eml", "old.EML", "eml"] {
        assert_eq!(folder.read(&format!("a/b/mails/{kept}")), kept);
    }
    assert!(folder.path("a/b/mails/folder.eml").is_dir());
}

#[test]
fn files_of_an_earlier_run_are_replaced() {
    let folder = Folder::new();
    assert_eq!(folder.demo(&file(&[Job::new(1).line(), "no job".into()])).results.len(), 1);
    compare::<&str>(&[], &folder.demo(b""));
}

#[test]
fn the_built_in_jobs_meet_every_fate() {
    let left = Folder::new().demo_with(&[], b"");
    let outcomes = left.results.iter().fold(BTreeMap::<_, u32>::new(), |mut counts, result| {
        *counts.entry(&*result.headers["job-outcome"]).or_default() += 1;
        counts
    });
    let expected = [("accepted", 8), ("exhausted", 1), ("rejected", 4)];
    assert_eq!(outcomes, expected.into());
    assert_eq!((left.dead_letters.len(), left.mails.len()), (4, 9));
    for row in [
        "sent",
        "failed: refused",
        "failed: no attempt",
        "skipped: unknown",
        "skipped: not",
        "dead letter: undecodable",
        "all",
    ] {
        assert!(left.stdout.lines().any(|line| line.starts_with(row)), "{row}: {}", left.stdout);
    }
    assert!(left.stdout.contains("9 mails are in the inbox, 1 of them a second copy"));
}

#[test]
fn each_made_up_job_is_sent_exactly_once() {
    let left = Folder::new().demo_with(&["--generate", "300"], b"");
    let recipients = left.mails.iter().fold(BTreeMap::<_, u32>::new(), |mut counts, raw| {
        *counts.entry(crate::mail::read(raw).1.to).or_default() += 1;
        counts
    });
    assert_eq!((left.mails.len(), recipients.len(), left.results.len()), (300, 300, 300));
    assert!(left.stdout.contains("300 jobs in "), "{}", left.stdout);
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    let left = Folder::new().demo_with(&["--generate", "1"], b"");
    assert!(!left.stdout.contains('\u{1b}'), "{}", left.stdout);
    assert!(left.stdout.contains("1 mail is in the inbox."), "{}", left.stdout);
}
