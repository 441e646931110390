//! Programs that can't be judged are told from those that break their promise.

use std::time::Duration;

use jobstream_testkit::search::{Outcome, Plays, Promise, Schedule, Search, Unusable, Verdict};

use super::consumer::{command, search};

async fn verdict(command: &[&str]) -> (Verdict, String) {
    let mut search: Search = search("", Promise::AtLeastOnce);
    search.program.command = command.iter().map(Into::into).collect();
    search.program.peace = Duration::from_secs(1);
    match search.run(|_, _| ()).await.unwrap() {
        Outcome::Found(finding) => (finding.verdict.clone(), finding.to_string()),
        Outcome::NotBroken(report) => panic!("{report}"),
    }
}

#[tokio::test]
async fn a_program_that_does_nothing_hangs() {
    let (verdict, text) = verdict(&["sleep", "1000"]).await;
    assert!(matches!(verdict, Verdict::Unusable(Unusable::Hangs(_))), "{text}");
    assert!(text.contains("jobs are not done: job-a (jobs["), "{text}");
    assert!(text.contains("member 0 has made 0 requests to the broker of KAFKA_BROKERS"), "{text}");
    assert!(text.contains("the program hangs without any fault in 1 of 1 plays"), "{text}");
}

#[tokio::test]
async fn the_fault_after_which_a_program_hangs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut search = search("", Promise::AtLeastOnce);
    // In its second life it does nothing.
    let script = r#"if [ -e "$0" ]; then exec sleep 1000; fi; touch "$0"; exec "$@""#;
    let shell = ["sh".into(), "-c".into(), script.into(), folder.path().join("was-here").into()];
    search.program.command = shell.into_iter().chain(command("")).collect();
    search.program.peace = Duration::from_secs(1);
    search.plays = Plays { broken: 1, of: 1 };
    let text = "member=0 commit nth=2 kill 0ms\nmember=0 fetch nth=9999 stop 0ms";
    let schedule: Schedule = text.parse().unwrap();
    let Outcome::Found(finding) = search.replay(&schedule, |_, _| ()).await.unwrap() else {
        panic!("not broken")
    };
    assert!(matches!(finding.verdict, Verdict::Unusable(Unusable::Hangs(_))), "{finding}");
    let last = "the last fault was `member=0 commit nth=2 kill 0ms`, at ";
    assert!(finding.to_string().contains(last), "{finding}");
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_and_at_last_given_up() {
    let (verdict, text) = verdict(&["sh", "-c", "exit 3"]).await;
    assert!(matches!(verdict, Verdict::Unusable(Unusable::Ends(_))), "{text}");
    assert!(text.contains("member 0 has ended 11 times"), "{text}");
    assert!(text.contains("exit status: 3"), "{text}");
}

#[tokio::test]
async fn a_program_that_writes_without_end_floods() {
    let (verdict, text) = verdict(&["yes"]).await;
    assert!(matches!(verdict, Verdict::Unusable(Unusable::Floods(_))), "{text}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let (verdict, text) = verdict(&["/nowhere/at-all"]).await;
    assert!(matches!(verdict, Verdict::Unusable(Unusable::Start(_))), "{text}");
    assert!(text.contains("/nowhere/at-all: "), "{text}");
}
