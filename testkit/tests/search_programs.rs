//! The search on consumers that are not ours, in four languages: each planted fault is found, and shrunk;
//! the mended twins are not broken.
//!
//! The programs stand in `programs/`; `scripts/peers programs` builds them. `SEARCH_SCHEDULES=full` plays
//! the mended twins in Go under 500 schedules, and those in other languages under 50.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and what it has found")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use jobstream_testkit::search::{Jobs, Outcome, Plays, Program, Promise, Search, Verdict};
use tokio::process::Command;

/// Schedules until a planted fault is found, and faults after shrinking, at most.
const FOUND_WITHIN: u64 = 200;
const FAULTS_MAX: usize = 3;
/// Schedules of a mended twin where nothing else is asked for.
const SHORT: u64 = 6;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");

/// A program with a planted fault, as `programs.tsv` lists it.
struct Planted {
    name: String,
    promise: Promise,
    members: usize,
}

impl Planted {
    fn read(line: &str) -> Self {
        let columns: Vec<_> = line.split('\t').collect();
        let [name, promise, members] = columns[..] else { panic!("found `{line}`") };
        let promise = match promise {
            "at-least-once" => Promise::AtLeastOnce,
            "exactly-once" => Promise::ExactlyOnce,
            other => panic!("found `{other}`"),
        };
        Self { name: name.to_owned(), promise, members: members.parse().unwrap() }
    }

    fn all(client: &str) -> Vec<Self> {
        let table = std::fs::read_to_string(Path::new(HERE).join("programs.tsv")).unwrap();
        let all = table.lines().map(Self::read);
        let of_it: Vec<_> = all.filter(|planted| planted.name.starts_with(client)).collect();
        assert!(!of_it.is_empty(), "found no program of {client}");
        of_it
    }

    fn search(&self, program: PathBuf, schedules: u64) -> Search {
        let fails = ["error-skipped", "batch-committed"].iter().any(|it| self.name.ends_with(it));
        let file = if fails { "jobs-failing.jsonl" } else { "jobs.jsonl" };
        let text = std::fs::read_to_string(Path::new(HERE).join(file)).unwrap();
        let (id, key) = ("/id".parse().unwrap(), "/farm".parse().unwrap());
        let jobs = Jobs::parse(&text, Some(id), Some(&key)).unwrap();
        let mut program = Program::new([program], jobs, "jobs", ["results"], self.promise);
        program.members = self.members;
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        Search { program, schedules, seed: 0, plays: Plays { broken: 2, of: 3 }, parallel }
    }
}

/// What `scripts/peers` has made ready to run: the folder of the programs, or a client.
async fn peers(client: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/peers");
    let made = Command::new(script)
        .arg(client)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "scripts/peers {client}: {}", made.status);
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

/// How many schedules a mended program is played under.
fn schedules(full: u64) -> u64 {
    let is_full = std::env::var("SEARCH_SCHEDULES").is_ok_and(|which| which == "full");
    if is_full { full } else { SHORT }
}

async fn judge(client: &str, full: u64) {
    let folder = peers("programs").await;
    let schedules = schedules(full);
    let mut wrong = Vec::new();
    for planted in Planted::all(client) {
        let name = &planted.name;
        let search = planted.search(folder.join(name), FOUND_WITHIN);
        match search.run(|_, _| ()).await.unwrap() {
            Outcome::Found(finding) => {
                let faults = finding.schedule.faults.len();
                let is_broken = matches!(finding.verdict, Verdict::Broken(_));
                println!(
                    "{name}: {:?} in play {}, shrunk to {faults} faults, shown in {} of {} plays",
                    finding.verdict.name(),
                    finding.after,
                    finding.broken,
                    finding.of
                );
                if !is_broken || faults > FAULTS_MAX {
                    wrong.push(format!("{name}: expected a broken promise\n{finding}"));
                }
            }
            Outcome::NotBroken(report) => wrong.push(format!("{name}: {report}")),
        }
        let mended = format!("{name}-mended");
        let search = planted.search(folder.join(&mended), schedules);
        match search.run(|_, _| ()).await.unwrap() {
            Outcome::NotBroken(report) => println!("{mended}: {report}"),
            Outcome::Found(finding) => wrong.push(format!("{mended}:\n{finding}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
#[ignore = "needs Go, Python, Node and Java"]
async fn planted_faults_in_go_are_found_and_mended_programs_are_not_broken() {
    judge("franz-go", 500).await;
}

#[tokio::test]
#[ignore = "needs Go, Python, Node and Java"]
async fn planted_faults_with_kafka_python_are_found_and_mended_programs_are_not_broken() {
    judge("kafka-python", 50).await;
}

#[tokio::test]
#[ignore = "needs Go, Python, Node and Java"]
async fn planted_faults_with_confluent_kafka_are_found_and_mended_programs_are_not_broken() {
    judge("confluent-kafka", 50).await;
}

#[tokio::test]
#[ignore = "needs Go, Python, Node and Java"]
async fn planted_faults_with_kafkajs_are_found_and_mended_programs_are_not_broken() {
    judge("kafkajs", 50).await;
}

#[tokio::test]
#[ignore = "needs Go, Python, Node and Java"]
async fn planted_faults_in_java_are_found_and_mended_programs_are_not_broken() {
    judge("java", 50).await;
}

/// What stands in a page between the first fence of this language and its end.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[tokio::test]
#[ignore = "needs Python"]
async fn the_example_of_the_docs_is_broken_and_mended_as_they_say() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/search.md");
    let page = std::fs::read_to_string(page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (program, mended) = (folder.path().join("app.py"), folder.path().join("mended.py"));
    let text = block(&page, "python");
    std::fs::write(&program, text).unwrap();
    let commit = "    consumer.commit(";
    let text_mended = text.replacen(commit, &format!("    producer.flush()\n{commit}"), 1);
    assert_ne!(text_mended, text);
    std::fs::write(&mended, text_mended).unwrap();
    let python = peers("python").await;
    let search = |program: &Path, promise, schedules| {
        let jobs = Jobs::parse(block(&page, "json"), Some("id".parse().unwrap()), None).unwrap();
        let command = [python.as_path(), program];
        let program = Program::new(command, jobs, "jobs", ["results"], promise);
        Search { program, schedules, seed: 0, plays: Plays { broken: 2, of: 3 }, parallel: 2 }
    };
    let found = async |search: Search| match search.run(|_, _| ()).await.unwrap() {
        Outcome::Found(finding) => finding,
        Outcome::NotBroken(report) => panic!("{report}"),
    };
    let finding = found(search(&program, Promise::AtLeastOnce, 100)).await;
    assert_eq!(finding.verdict.name(), Some("nothing is committed that is not done"), "{finding}");
    assert_eq!(finding.schedule.faults, [], "{finding}");
    match search(&mended, Promise::AtLeastOnce, schedules(100)).run(|_, _| ()).await.unwrap() {
        Outcome::NotBroken(report) => println!("the example, mended: {report}"),
        Outcome::Found(finding) => panic!("{finding}"),
    }
    let finding = found(search(&mended, Promise::ExactlyOnce, 100)).await;
    assert_eq!(finding.verdict.name(), Some("nothing is done twice"), "{finding}");
    println!("the example, mended, exactly once:\n{finding}");
}
