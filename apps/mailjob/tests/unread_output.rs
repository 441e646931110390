//! The binary with a standard output that nobody reads.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Each makes a line of log at the start; together they are more than a pipe holds.
const UNKNOWN_SETTINGS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_service_whose_output_nobody_reads_goes_on_and_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = String::new();
    for number in 0..UNKNOWN_SETTINGS {
        writeln!(settings, "JOB_UNKNOWN_{number}=1").unwrap();
    }
    std::fs::write(folder.path().join(".env"), settings).unwrap();
    let broker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = broker.local_addr().unwrap().to_string();
    let mut service = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailjob"))
        .arg("run")
        .env_clear()
        .envs([("KAFKA_BROKERS", &*address), ("MAIL_SERVER_HOST", "127.0.0.1")])
        .env("MAIL_FROM", "mailjob@example.com")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = service.stdout.take().unwrap();

    let connected = timeout(LIMIT, broker.accept()).await.expect("it goes on to Kafka").unwrap();
    let pid = service.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = timeout(LIMIT, service.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    drop(connected);

    let mut log = String::new();
    output.read_to_string(&mut log).await.unwrap();
    let warnings = log.lines().filter(|line| line.contains("unknown setting")).count();
    assert!(warnings < UNKNOWN_SETTINGS, "a pipe held all {warnings} lines");
}
