//! The service that ships, as a program among others, under the search: `kill -9`, SIGSTOP, SIGTERM, and
//! whatever a broker does. `SEARCH_SCHEDULES=500` is the long form.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and what it has found")]

use jobstream_testkit::search::{Jobs, Outcome, Plays, Program, Promise, Search};

const SHORT: u64 = 15;
const JOBS: u32 = 12;

fn jobs() -> String {
    let job = |number| {
        format!(
            r#"{{"Id":"job-{number:02}","Name":"n","ScheduleTime":"2024-01-01T00:00:00Z","Status":2,
            "JobType":0,"JobData":{{"SourceAddress":"a@example.com","Subject":"job-{number:02}",
            "DestinationAddress":"b@example.com","Message":"hello"}}}}"#
        )
    };
    (0..JOBS).map(job).collect()
}

/// `mailjob run` with these settings beside those that it needs.
async fn is_not_broken(promise: Promise, settings: &[&str]) {
    // A process that was killed is replaced by another one of the same name.
    let service = format!("INSTANCE_ID=m$SEARCH_MEMBER exec {}", env!("CARGO_BIN_EXE_mailjob"));
    let always = ["env", "MAIL_FROM=jobs@example.com", "MAIL_TLS=none"];
    let command = always.iter().chain(settings).map(ToString::to_string);
    let command = command.chain(["sh".into(), "-c".into(), format!("{service} run")]);
    let jobs = Jobs::parse(&jobs(), Some("Id".parse().unwrap()), None).unwrap();
    let (input, output) = ("topic-job-run", "topic-job-run-result");
    let mut program = Program::new(command, jobs, input, [output], promise);
    program.inbox = true;
    let schedules = std::env::var("SEARCH_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let plays = Plays { broken: 2, of: 3 };
    let schedules = schedules.unwrap_or(SHORT);
    let search = Search { program, schedules, seed: 0, plays, parallel };
    match search.run(|_, _| ()).await.unwrap() {
        Outcome::NotBroken(report) => println!("{settings:?}: {report}"),
        Outcome::Found(finding) => panic!("{settings:?}:\n{finding}"),
    }
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn the_service_has_each_result_at_least_once() {
    is_not_broken(Promise::AtLeastOnce, &[]).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn the_service_has_each_result_exactly_once() {
    is_not_broken(Promise::ExactlyOnce, &["JOB_DELIVERY=exactly-once"]).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn the_service_with_its_ledger_has_each_result_exactly_once() {
    let settings = ["JOB_DELIVERY=exactly-once", "JOB_LEDGER=kafka"];
    is_not_broken(Promise::ExactlyOnce, &settings).await;
}
