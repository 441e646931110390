//! `broker search`, as a person starts it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::consumer::{JOBS, command};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jobs"), JOBS.trim()).unwrap();
    std::fs::write(folder.path().join("no-jobs"), "\n").unwrap();
    std::fs::write(folder.path().join("no-json"), "{\"id\": }").unwrap();
    std::fs::write(folder.path().join("many-jobs"), "a job\n".repeat(1_001)).unwrap();
    std::fs::write(folder.path().join("no-schedule"), "seed 1\nmember=0 commit nth=0\n").unwrap();
    std::fs::write(folder.path().join("of-another"), "member=3 commit nth=1 kill 0ms\n").unwrap();
    folder
}

/// `broker search` in a folder, with options that can be meant and these.
fn broker(folder: &Path, options: &[&str]) -> Command {
    let mut broker = Command::new(BROKER);
    broker.current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    broker.args(["search", "--out", "results", "--nodes", "1"]).args(options);
    if !options.contains(&"--in") {
        broker.args(["--in", "jobs"]);
    }
    broker
}

async fn ended(mut broker: Command) -> (Option<i32>, String) {
    let output = broker.output().await.unwrap();
    let (out, err) = (output.stdout, output.stderr);
    let text = [out, err].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[tokio::test]
async fn what_is_broken_ends_with_1_and_what_is_not_with_0() {
    let folder = folder();
    let options = ["--jobs", "jobs", "--key", "/id", "--promise", "exactly-once", "--seed", "0"];
    let with = |more: &[&str]| {
        let mut broker = broker(folder.path(), &options);
        broker.args(more).arg("--").args(command(""));
        broker
    };
    let (code, text) = ended(with(&["--schedules", "60"])).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("broken: nothing is done twice"), "{text}");
    let (code, text) = ended(with(&["--play", "broker-search/schedule"])).await;
    assert_eq!(code, Some(1), "{text}");
    std::fs::write(folder.path().join("calm"), "seed 5\n").unwrap();
    let (code, text) = ended(with(&["--play", "calm"])).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("exactly-once: not broken in 3 plays, 3 of them without"), "{text}");
}

#[tokio::test]
async fn an_option_that_cannot_be_meant_is_named() {
    let folder = folder();
    let good = ["--jobs", "jobs", "--promise", "at-least-once"];
    for (options, expected) in [
        (&["--jobs", "nowhere", "--promise", "at-least-once"][..], "--jobs nowhere: "),
        (&["--jobs", "no-jobs", "--promise", "at-least-once"], "--jobs no-jobs: found no job"),
        (
            &["--jobs", "jobs", "--promise", "twice"],
            "[possible values: at-least-once, exactly-once",
        ),
        (&["--jobs", "jobs", "--promise", "one-mail"], "--promise one-mail: found no --key"),
        (&["--jobs", "jobs"], "--promise"),
        (&[&good[..], &["--key", "Id"]].concat(), "line 1: found nothing at Id"),
        (&[&good[..], &["--key", ""]].concat(), "expected a JSON pointer such as /id"),
        (&[&good[..], &["--plays", "4/3"]].concat(), "expected N or K/N"),
        (&[&good[..], &["--members", "0"]].concat(), "expected a whole number from 1 to 100"),
        (&[&good[..], &["--peace", "1h"]].concat(), "expected a duration such as 500ms or 2s"),
        (&[&good[..], &["--out", "jobs"]].concat(), "--out jobs: expected another topic"),
        (&[&good[..], &["--out", "a result"]].concat(), "\"a result\" is no name of a topic"),
        (&["--in", "", "--jobs", "jobs", "--promise", "at-least-once"], "is no name of a topic"),
        (&[&good[..], &["--topic", "jobs:3"]].concat(), "--topic jobs: expected another topic"),
        (&[&good[..], &["--schedules", "0"]].concat(), "--schedules"),
        (&[&good[..], &["--report", "jobs/below-a-file"]].concat(), "--report jobs/below-a-file: "),
        (&["--jobs", "no-json", "--promise", "at-least-once"], "line 1, column 8: found `}`"),
        (&[&good[..], &["--play", "nowhere"]].concat(), "--play nowhere: "),
        (
            &[&good[..], &["--play", "no-schedule"]].concat(),
            "--play no-schedule: line 2: found `0`",
        ),
        (&[&good[..], &["--play", "of-another"]].concat(), "expected --members 4 or more"),
    ] {
        let mut broker = broker(folder.path(), options);
        broker.args(["--", "true"]);
        let (code, text) = ended(broker).await;
        assert_eq!(code, Some(2), "{options:?}: {text}");
        assert!(text.contains(expected), "{options:?}: {text}");
    }
    let mut without = broker(folder.path(), &good);
    without.args(["--", "/nowhere/at-all"]);
    let (code, text) = ended(without).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/nowhere/at-all: "), "{text}");
    assert!(!folder.path().join("broker-search").exists(), "there is nothing to report");
}

#[tokio::test]
async fn more_jobs_than_a_play_does_in_seconds_are_warned_of() {
    let folder = folder();
    for (jobs, is_warned_of) in [("jobs", false), ("many-jobs", true)] {
        let mut broker = broker(folder.path(), &["--jobs", jobs, "--promise", "at-least-once"]);
        broker.args(["--", "/nowhere/at-all"]);
        let (_, text) = ended(broker).await;
        assert_eq!(text.contains("warning: found 1001 jobs"), is_warned_of, "{text}");
    }
}

#[tokio::test]
async fn a_signal_ends_the_programs_that_were_started() {
    // Whoever is killed can do nothing any more, and yet leaves nothing behind.
    let signals = [("-HUP", Some(129)), ("-INT", Some(130)), ("-TERM", Some(143)), ("-KILL", None)];
    for (signal, expected) in signals {
        let folder = folder();
        let temporary = folder.path().join("temporary");
        std::fs::create_dir(&temporary).unwrap();
        let mut broker = broker(folder.path(), &["--jobs", "jobs", "--promise", "at-least-once"]);
        // The shell is in its way, as a wrapper of a program often is.
        let script = "sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000'; true";
        broker.env("TMPDIR", &temporary);
        let mut child = broker.args(["--", "sh", "-c", script]).spawn().unwrap();
        let file = folder.path().join("pid");
        let pid = until(|| std::fs::read_to_string(&file).ok()).await;
        let broker = child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &broker]).status().await.unwrap().success());
        assert_eq!(child.wait().await.unwrap().code(), expected, "{signal}");
        let process = Path::new("/proc").join(pid.trim()).join("stat");
        // One that has ended, and that nobody has asked for its code yet, is a zombie.
        let is_gone = || match std::fs::read_to_string(&process) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')),
            Err(_) => true,
        };
        until(|| is_gone().then_some(())).await;
        let is_empty = || std::fs::read_dir(&temporary).unwrap().next().is_none();
        until(|| is_empty().then_some(())).await;
    }
}

/// What is there once it is.
async fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.expect("in time")
}
