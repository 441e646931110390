//! Ctrl-C: what is in flight is finished, and what was done is written and told.
#![cfg(unix)]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::run::{Folder, mails};

/// Runs an endless load and interrupts it after this time.
fn interrupted_after(folder: &Folder, time: Duration) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_mailjob-demo"))
        .args(["--generate", "2000000", "--mails", "mails"])
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let seconds = time.as_secs_f64().to_string();
    let kill = format!("sleep {seconds}; kill -INT {}", run.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    run.wait_with_output().expect("the program ends")
}

#[test]
fn an_interrupted_run_finishes_what_is_in_flight_and_ends_with_1() {
    let folder = Folder::new();
    // A program that has not come to its run yet is ended by the signal itself.
    let times = [300, 1_000, 3_000, 9_000].map(Duration::from_millis);
    let mut outputs = times.iter().map(|time| interrupted_after(&folder, *time));
    let output = outputs.find(|output| output.status.code().is_some()).expect("a run");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let [first, last] = lines[..] else { panic!("{text}") };
    assert!(first.starts_with("Interrupted: what is in flight is finished first"), "{first}");
    let finished =
        last.strip_prefix("mailjob-demo: interrupted: ").and_then(|t| t.split(' ').next());
    let finished: usize = finished.expect("a count").parse().expect("a number");
    assert!(last.ends_with(" of 2000000 records have met their fate"), "{last}");
    assert_eq!(mails(&folder.path("mails")).len(), finished);
}
