//! The house keeps its laws: which room may import which, and what code must not do.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE_LINES: usize = 500;

/// For each room of the library, what it may import of the crate. The longest prefix decides.
const ROOMS: &[(&str, &[&str])] = &[
    ("src/record", &[]),
    ("src/position.rs", &["record"]),
    ("src/reason.rs", &[]),
    ("src/codec.rs", &["reason"]),
    ("src/job", &["record", "codec", "job"]),
    ("src/sources/", &["record", "position", "reason", "sources"]),
    ("src/sources/kafka/", &["record", "position", "reason", "sources", "kafka"]),
    ("src/state/", &["record", "reason", "state"]),
    ("src/state/kafka.rs", &["record", "reason", "state", "kafka"]),
    ("src/sinks/", &["record", "position", "reason", "sinks", "state"]),
    ("src/sinks/kafka/", &["record", "position", "reason", "sinks", "kafka"]),
    ("src/sinks/smtp/", &["record", "position", "sinks", "job", "codec"]),
    ("src/kafka/", &["record", "position", "reason", "sources", "sinks", "kafka"]),
    (
        "src/topology/",
        &["record", "position", "codec", "reason", "sources", "sinks", "state", "topology"],
    ),
];

struct File {
    path: String,
    text: String,
}

impl File {
    /// Its lines that are code, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "kafka-ids", "testkit", "service", "apps", "tests", "benches"] {
        walk(&root.join(folder), "rs", &mut |path| {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy();
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            files.push(File { path: name.replace('\\', "/"), text });
        });
    }
    assert!(files.len() > 20, "found {} files, expected the whole tree", files.len());
    files
}

fn walk(folder: &Path, kind: &str, visit: &mut dyn FnMut(PathBuf)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        match path.extension() {
            _ if path.is_dir() && !path.ends_with("target") => walk(&path, kind, visit),
            Some(extension) if extension == kind => visit(path),
            _ => {}
        }
    }
}

/// Fails with every place where `is_wrong` says so.
fn no_line(law: &str, applies: impl Fn(&File) -> bool, is_wrong: impl Fn(&File, &str) -> bool) {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| applies(file)) {
        let lines = file.code().filter(|(_, line)| is_wrong(file, line));
        wrong.extend(lines.map(|(number, line)| format!("{}:{number}: {line}", file.path)));
    }
    assert!(wrong.is_empty(), "{law}:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_imports_only_what_it_may() {
    no_line(
        "a room imports what it must not",
        |file| file.is_below(&["src/"]) && file.path != "src/lib.rs",
        |file, line| {
            let room = ROOMS.iter().filter(|(room, _)| file.path.starts_with(room));
            let (_, allowed) = room.max_by_key(|(room, _)| room.len()).expect("a known room");
            let imported = line.split("crate::").skip(1);
            imported.into_iter().any(|path| {
                let module = path.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                !allowed.contains(&module.unwrap_or_default())
            })
        },
    );
}

#[test]
fn clients_are_named_only_where_they_are_wrapped() {
    let names = |name: &'static str| {
        move |_: &File, line: &str| line.replace("librdkafka", "").contains(name)
    };
    let on_a_broker = ["apps/mailjob/tests/listener/", "apps/mailjob/tests/staged/"];
    let is_kafka = |file: &File| file.path.contains("kafka") || file.is_below(&on_a_broker);
    no_line("rdkafka outside the Kafka files", |f| !is_kafka(f) && !is_tidy(f), names("rdkafka"));
    let mail = [
        "src/sinks/smtp/",
        "tests/smtp",
        "benches/kafka/mail/",
        "benches/smtp",
        "testkit/tests/smtp",
        "testkit/src/smtp",
    ];
    no_line("lettre outside the mail sink", |f| !f.is_below(&mail) && !is_tidy(f), names("lettre"));
}

#[test]
fn the_demo_needs_no_client_of_kafka() {
    no_line(
        "the demo names a client of Kafka",
        |file| file.is_below(&["apps/demo/"]) && !file.path.contains("/tests/"),
        |_, line| ["rdkafka", "jobstream::kafka", "::kafka::"].iter().any(|it| line.contains(it)),
    );
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/demo/Cargo.toml"));
    let text = text.expect("the demo's Cargo.toml");
    for word in ["rdkafka", "otlp", "openssl"] {
        assert!(!text.contains(word), "apps/demo/Cargo.toml names {word}");
    }
}

#[test]
fn what_services_share_knows_no_mail_and_jobs_of_the_scheduler_in_two_rooms_alone() {
    let names = |words: &'static [&'static str]| {
        move |_: &File, line: &str| words.iter().any(|word| line.contains(word))
    };
    let is_of_services = |file: &File| file.is_below(&["apps/pizza/", "service/"]);
    let mail = &["sinks::smtp", "mailjob"];
    no_line("something else than mailjob knows mail", is_of_services, names(mail));
    let rooms = ["service/src/jobs/", "service/src/parked/"];
    let knows_no_job = |file: &File| is_of_services(file) && !file.is_below(&rooms);
    no_line("a room imports the job envelope", knows_no_job, names(&["jobstream::job"]));
    let is_of_pizza = |file: &File| file.is_below(&["apps/pizza/"]);
    no_line("pizza imports jobs", is_of_pizza, names(&["jobstream_service::jobs"]));
}

#[test]
fn the_topology_knows_neither_kafka_nor_smtp_nor_mail() {
    no_line(
        "the topology names what it must not know",
        |file| file.is_below(&["src/topology/"]),
        |_, line| {
            let line = line.to_lowercase();
            ["kafka", "smtp", "mail", "crate::job"].iter().any(|word| line.contains(word))
        },
    );
}

#[test]
fn every_select_is_biased() {
    for file in files().iter().filter(|file| !is_tidy(file)) {
        let lines: Vec<_> = file.code().collect();
        for pair in lines.windows(2) {
            let opens = pair[0].1.ends_with("select! {");
            let (path, number) = (&file.path, pair[0].0);
            assert!(
                !opens || pair[1].1 == "biased;",
                "{path}:{number}: a select! without `biased`"
            );
        }
    }
}

#[test]
fn the_library_starts_no_task_and_no_thread() {
    no_line(
        "a task or thread is started",
        |file| file.is_below(&["src/"]) && !file.path.contains("kafka"),
        |_, line| line.contains("spawn") || line.contains("std::thread"),
    );
}

#[test]
fn one_crate_alone_has_code_that_is_not_safe() {
    no_line(
        "unsafe code",
        |file| !file.is_below(&["kafka-ids/"]) && !is_tidy(file),
        |_, line| line.contains("unsafe {") || line.contains("unsafe fn"),
    );
}

#[test]
fn nothing_is_imported_by_glob() {
    no_line(
        "a glob import",
        |file| !is_tidy(file),
        |_, line| {
            line.starts_with("use ")
                && line.contains("::*")
                && !line.contains("super::*")
                && !line.contains("proptest::prelude::*")
        },
    );
}

#[test]
fn files_are_short_enough_to_be_one_noun() {
    for file in files() {
        let lines = file.text.lines().count();
        let path = &file.path;
        assert!(lines <= LONGEST_FILE_LINES, "{path}: found {lines} lines, expected at most 500");
    }
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<_> = ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG"]
        .map(|name| root.join(name).with_extension("md"))
        .to_vec();
    for folder in ["docs", "examples", "service", "testkit", "kafka-ids", "secrets"] {
        walk(&root.join(folder), "md", &mut |path| documents.push(path));
    }
    let mut count = 0;
    for document in &documents {
        for link in links(&prose(document)).filter(|link| !link.contains(':')) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("it is in a folder").join(path),
            };
            let from = document.display();
            assert!(target.exists(), "{from}: the link ({link}) leads to no file");
            let is_there = anchor.is_empty() || anchors(&prose(&target)).any(|it| it == anchor);
            assert!(is_there, "{from}: the link ({link}) leads to no heading");
            count += 1;
        }
    }
    assert!(count > 100, "found {count} links, expected those of all documents");
}

/// A document without its blocks of code.
fn prose(document: &Path) -> String {
    let text = fs::read_to_string(document).expect("a document is UTF-8");
    text.split("\n```").step_by(2).collect()
}

/// Where a document's links lead.
fn links(prose: &str) -> impl Iterator<Item = String> {
    let all = prose.split("](").skip(1);
    all.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned())
}

/// What a link can name of a document: the headings, as GitHub names them, and places with an id.
fn anchors(prose: &str) -> impl Iterator<Item = String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let named = headings.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        words.chars().filter(is_kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    });
    let ids = prose.split("<a id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    named.chain(ids.map(|(id, _)| id.to_owned()))
}

fn is_tidy(file: &File) -> bool {
    file.path == "tests/tidy.rs"
}
