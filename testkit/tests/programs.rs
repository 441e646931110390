//! The programs `broker` and `inbox`, as a person starts them.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const BROKER: &str = env!("CARGO_BIN_EXE_broker");
const INBOX: &str = env!("CARGO_BIN_EXE_inbox");

/// A program that listens, and where.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    async fn start(program: &str, options: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(options)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, address }
    }

    async fn end(mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        self.child.wait().await.unwrap()
    }
}

/// ApiVersions in version 0, with the correlation id 7.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];

#[tokio::test]
async fn the_broker_answers_until_it_is_asked_to_end() {
    for signal in ["-INT", "-TERM"] {
        let options = ["--listen", "127.0.0.1:0", "--topic", "jobs:6", "--topic", "t:1:compact"];
        let broker = Program::start(BROKER, &options).await;
        let mut stream = TcpStream::connect(&broker.address).await.unwrap();
        stream.write_all(API_VERSIONS).await.unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[4..], [0, 0, 0, 7, 0, 0]);
        assert!(broker.end(signal).await.success(), "{signal}");
    }
}

#[tokio::test]
async fn the_broker_of_the_documentation_starts() {
    let page = include_str!("../../docs/broker.md");
    let command = page.lines().find_map(|line| line.strip_prefix("broker --listen")).unwrap();
    let mut options = vec!["--listen"];
    options.extend(command.split_whitespace());
    assert_eq!(options.len(), 6, "{options:?}");
    options[1] = "127.0.0.1:0";
    let broker = Program::start(BROKER, &options).await;
    assert!(broker.end("-TERM").await.success());
}

#[tokio::test]
async fn every_pretended_node_has_an_address() {
    let broker = Program::start(BROKER, &["--listen", "127.0.0.1:0", "--nodes", "3"]).await;
    let addresses: Vec<_> = broker.address.split(',').collect();
    assert_eq!(addresses.len(), 3);
    for address in addresses {
        assert!(TcpStream::connect(address).await.is_ok(), "{address}");
    }
}

#[tokio::test]
async fn an_option_that_cannot_be_meant_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mistaken = folder.path().join("faults");
    std::fs::write(&mistaken, "fetch nth=3 stall\nproduze stall\n").unwrap();
    let mistaken = mistaken.to_string_lossy().into_owned();
    let nowhere = folder.path().join("nowhere");
    std::fs::write(&nowhere, "any node=3 stall\n").unwrap();
    let nowhere = nowhere.to_string_lossy().into_owned();
    for (options, expected) in [
        (&["--topic", "jobs"][..], "expected NAME:PARTITIONS or NAME:PARTITIONS:compact"),
        (&["--topic", "jobs:0"], "expected 1 to 10000 partitions"),
        (&["--topic", "jobs:1:small"], "expected NAME:PARTITIONS"),
        (&["--topic", "a job:1"], "is no name of a topic"),
        (&["--nodes", "0"], "expected a whole number from 1 to 100"),
        (&["--topic", "jobs:1", "--topic", "jobs:2"], "--topic jobs: named twice"),
        (&["--listen", "here"], "--listen"),
        (&["--sasl", "me"], "expected USER:PASSWORD"),
        (&["--sasl", ":secret"], "expected USER:PASSWORD"),
        (&["--ca", "authority.pem"], "--tls"),
        (&["--retention-bytes", "0"], "--retention-bytes"),
        (&["--faults", "/nowhere"], "--faults"),
        (&["--faults", &mistaken], "line 2: found `produze`"),
        (&["--faults", &nowhere, "--nodes", "2"], "a fault has node=3, expected 1 to 2"),
    ] {
        let output = Command::new(BROKER).args(options).output().await.unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {message}");
        assert!(message.contains(expected), "{options:?}: {message}");
        assert!(message.contains("--help"), "{options:?}: {message}");
    }
}

/// Those of the page, with the broker of the page.
#[tokio::test]
async fn the_faults_of_the_documentation_are_taken() {
    let page = include_str!("../../docs/broker.md");
    let faults = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(faults.contains("node-away"), "{faults}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("faults");
    std::fs::write(&file, faults).unwrap();
    let file = file.to_string_lossy().into_owned();
    let broker = Program::start(BROKER, &["--listen", "localhost:0", "--faults", &file]).await;
    assert!(broker.address.starts_with("localhost:"), "{}", broker.address);
}

#[tokio::test]
async fn the_inbox_greets_until_it_is_asked_to_end() {
    let inbox = Program::start(INBOX, &["--listen", "127.0.0.1:0"]).await;
    let mut stream = TcpStream::connect(&inbox.address).await.unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ");
    drop(stream);
    assert!(inbox.end("-INT").await.success());
}

#[tokio::test]
async fn what_the_inbox_can_not_use_is_named_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let mistaken = folder.path().join("misfortunes");
    std::fs::write(&mistaken, "dot reply 999 no\n").unwrap();
    let mistaken = mistaken.to_string_lossy().into_owned();
    for (options, code, expected) in [
        (&["--misfortunes", "/nowhere"][..], 2, "--misfortunes /nowhere: "),
        (&["--misfortunes", &mistaken], 2, "line 1: found `999`, expected a code from 200 to 599"),
        (&["--mails", "/etc/passwd"], 1, "--mails /etc/passwd: "),
        (&["--mails", "/proc/x"], 1, "--mails /proc/x: "),
        (&["--tls", "implicit", "--ca", "/nowhere/a"], 1, "--ca /nowhere/a: "),
        (&["--tls-name", "mail.example"], 2, "--tls <TLS>"),
        (&["--auth", ":secret"], 2, "expected USER:PASSWORD"),
    ] {
        let output = Command::new(INBOX).args(options).output().await.unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {message}");
        assert!(message.contains(expected), "{options:?}: {message}");
        assert!(!message.contains("jobstream-testkit"), "{options:?}: {message}");
    }
}
