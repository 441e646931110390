//! Runs the program, and reads what it leaves.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder to run in. What a setting could spoil is in its `.env`, and in the environment.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

/// A record of a file of JSON lines.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    pub(crate) key: Value,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) value: Value,
}

/// What a run has left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) results: Vec<Record>,
    pub(crate) dead_letters: Vec<Record>,
    /// In no order.
    pub(crate) mails: Vec<Vec<u8>>,
    pub(crate) stdout: String,
}

const SPOILERS: &[(&str, &str)] = &[
    ("KAFKA_BROKERS", "nowhere.invalid:1"),
    ("MAIL_SERVER_HOST", "nowhere.invalid"),
    ("MAIL_FROM", "wrong@nowhere.invalid"),
    ("MAIL_ALLOWED_FROM_DOMAINS", "nowhere.invalid"),
    ("EMAIL_DOMAIN", "nowhere.invalid"),
    ("TOPIC_JOB_RUN_RESULT", "wrong"),
    ("TOPIC_JOB_RUN_DEAD_LETTER", "wrong"),
    ("TOPICS_FILE", "missing"),
    ("JOB_DELIVERY", "wrong"),
    ("LOGLEVEL", "wrong"),
];

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(TempDir::new().expect("a folder"));
        let lines: Vec<_> =
            SPOILERS.iter().map(|(name, value)| format!("{name}={value}")).collect();
        folder.write(".env", lines.join("\n").as_bytes());
        folder.write(".env.topics", lines.join("\n").as_bytes());
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file is written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of UTF-8")
    }

    /// Runs the program with `stdin`, to its end.
    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>], stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mailjob-demo"))
            .args(args)
            .current_dir(self.0.path())
            .envs(SPOILERS.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut input = child.stdin.take().expect("a pipe");
        // A program that reads nothing may be gone already.
        let _ = input.write_all(stdin);
        drop(input);
        child.wait_with_output().expect("the program ends")
    }

    /// Runs the demo over this file, and reads what it leaves.
    pub(crate) fn demo(&self, jobs: &[u8]) -> Left {
        self.write("jobs.jsonl", jobs);
        self.demo_with(&["--jobs", "jobs.jsonl"], b"")
    }

    /// Runs the demo with these arguments besides those for its outputs.
    pub(crate) fn demo_with(&self, args: &[&str], stdin: &[u8]) -> Left {
        let outputs =
            ["--results", "results", "--dead-letters", "dead-letters", "--mails", "mails"];
        let args: Vec<_> = args.iter().chain(&outputs).collect();
        let output = self.run(&args, stdin);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
        Left {
            results: records(&self.read("results")),
            dead_letters: records(&self.read("dead-letters")),
            mails: mails(&self.path("mails")),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        }
    }
}

/// Runs the demo over these lines.
pub(crate) fn demo<T: AsRef<[u8]>>(lines: &[T]) -> Left {
    Folder::new().demo(&file(lines))
}

/// The lines as a file.
pub(crate) fn file<T: AsRef<[u8]>>(lines: &[T]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_ref(), b"\n"].concat()).collect()
}

/// The texts of the `.eml` files.
pub(crate) fn mails(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder of the mails");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mails = paths.filter(|path| path.extension().is_some_and(|e| e == "eml") && path.is_file());
    mails.map(|path| fs::read(path).expect("a mail")).collect()
}

fn records(text: &str) -> Vec<Record> {
    assert!(text.is_empty() || text.ends_with('\n'), "found a line without its end");
    text.split_terminator('\n').map(record).collect()
}

fn record(line: &str) -> Record {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { panic!("no object: {line}") };
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["headers", "key", "offset", "partition", "topic", "value"], "{line}");
    let headers = fields["headers"].as_object().expect("an object of headers");
    let text = |value: &Value| value.as_str().expect("a header is a string here").to_owned();
    Record {
        topic: text(&fields["topic"]),
        partition: fields["partition"].as_i64().expect("a partition"),
        offset: fields["offset"].as_i64().expect("an offset"),
        key: fields["key"].clone(),
        headers: headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        value: fields["value"].clone(),
    }
}
