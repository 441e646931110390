//! `mailjob healthcheck` beside services that are well, are not, and are not there.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// No broker and no mail server is there.
const LEAST: [(&str, &str); 4] = [
    ("KAFKA_BROKERS", "127.0.0.1:1"),
    ("MAIL_SERVER_HOST", "127.0.0.1"),
    ("MAIL_SERVER_PORT", "1"),
    ("MAIL_FROM", "a@b.example"),
];

/// The program, with a folder of its own that must outlive it.
fn mailjob(command: &str, metrics_address: &str) -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut mailjob = Command::new(env!("CARGO_BIN_EXE_mailjob"));
    mailjob.arg(command).env_clear().envs(LEAST).env("METRICS_ADDRESS", metrics_address);
    mailjob.current_dir(folder.path()).kill_on_drop(true);
    (mailjob, folder)
}

async fn healthcheck(address: &str) -> Output {
    let (mut mailjob, _folder) = mailjob("healthcheck", address);
    timeout(LIMIT, mailjob.output()).await.expect("an end").unwrap()
}

/// It fails with this code, and one line that holds this text.
fn failed(ended: &Output, code: i32, text: &str) {
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(text), "{errors}");
}

/// Answers one request.
async fn answer(listener: &TcpListener, answer: &str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = BufReader::new(&mut stream).lines();
    assert_eq!(request.next_line().await.unwrap().unwrap(), "GET /healthz HTTP/1.0");
    // What is unread when the connection closes would reset it.
    while request.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn without_an_address_nobody_can_be_asked() {
    failed(&healthcheck("").await, 2, "METRICS_ADDRESS: found nothing, expected");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_not_well() {
    failed(&healthcheck("127.0.0.1:1").await, 1, "http://127.0.0.1:1: ");
}

#[tokio::test]
async fn a_service_that_is_not_well_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (text, reason) in [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ok\":false}\n", "{\"ok\":false}"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 404 Not Found"),
    ] {
        let (ended, ()) = tokio::join!(healthcheck(&address), answer(&listener, text));
        failed(&ended, 1, reason);
    }
}

#[tokio::test]
async fn a_service_that_waits_for_kafka_is_well() {
    let (mut mailjob, _folder) = mailjob("run", "127.0.0.1:0");
    let mut service = mailjob.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let address = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("a line that tells the address");
            if let Some((_, address)) = line.split_once("Metrics and health on http://") {
                break address.trim().to_owned();
            }
        }
    };
    let address = timeout(LIMIT, address).await.expect("an address");
    let ended = healthcheck(&address).await;
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(said.contains("no run is under way"), "{said}");
    service.kill().await.unwrap();
}
