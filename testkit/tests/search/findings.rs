//! What the search finds, and what it does not.

use jobstream_testkit::search::{Finding, Outcome, Plays, Promise, Schedule, Search, Verdict};

use super::consumer::search;

async fn found(search: &Search) -> Box<Finding> {
    match search.run(|_, _| ()).await.unwrap() {
        Outcome::Found(finding) => finding,
        Outcome::NotBroken(report) => panic!("{report}"),
    }
}

fn part(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Broken(broken) => broken.part,
        other => panic!("found {other}, expected a broken promise"),
    }
}

#[tokio::test]
async fn a_commit_before_the_work_is_found_without_a_crash() {
    let finding = found(&search("commits-first", Promise::AtLeastOnce)).await;
    assert_eq!(part(&finding.verdict), "nothing is committed that is not done", "{finding}");
    assert_eq!((finding.after, finding.schedule.faults.len()), (1, 0), "{finding}");
    assert_eq!((finding.broken, finding.of), (4, 4), "{finding}");
    assert!(finding.to_string().contains("broken without any fault in 4 of 4"), "{finding}");
}

#[tokio::test]
async fn what_is_committed_after_it_is_done_is_not_broken() {
    let mut search = search("", Promise::AtLeastOnce);
    search.schedules = 12;
    match search.run(|_, _| ()).await.unwrap() {
        Outcome::NotBroken(report) => {
            assert_eq!((report.plays, report.calm, report.strays), (13, 1, 0));
        }
        Outcome::Found(finding) => panic!("{finding}"),
    }
}

#[tokio::test]
async fn a_program_does_not_wait_for_a_member_that_it_was_until_a_long_session_ends() {
    let mut search = search("joins", Promise::AtLeastOnce);
    search.plays = Plays { broken: 1, of: 1 };
    let schedule = "member=0 sync-group nth=1 disconnect-within".parse().unwrap();
    if let Outcome::Found(finding) = search.replay(&schedule, |_, _| ()).await.unwrap() {
        panic!("{finding}");
    }
}

#[tokio::test]
async fn an_output_that_comes_twice_after_a_crash_is_found_shrunk_and_played_again() {
    let search = search("", Promise::ExactlyOnce);
    let finding = found(&search).await;
    assert_eq!(part(&finding.verdict), "nothing is done twice", "{finding}");
    assert!((1..=3).contains(&finding.schedule.faults.len()), "{finding}");
    assert!(finding.broken >= 2, "{finding}");
    let folder = tempfile::tempdir().unwrap();
    finding.save(folder.path()).unwrap();
    let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("timeline").contains("FAULT"), "{finding}");
    assert!(read("member-0.log").contains("is_a_program_of_other_tests"));
    let schedule: Schedule = read("schedule").parse().unwrap();
    assert_eq!(schedule, finding.schedule);
    match search.replay(&schedule, |_, _| ()).await.unwrap() {
        Outcome::Found(again) => assert_eq!(part(&again.verdict), part(&finding.verdict)),
        Outcome::NotBroken(report) => panic!("{report}"),
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_after_a_crash_is_found() {
    let finding = found(&search("asks", Promise::OneRequest)).await;
    assert_eq!(part(&finding.verdict), "nothing is done twice", "{finding}");
    assert!((1..=3).contains(&finding.schedule.faults.len()), "{finding}");
}
