//! `mailjob healthcheck` beside services that are well, are not, and are not there.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;

use tokio::io::{self, AsyncBufReadExt as _};
use tokio::time::{Duration, timeout};

const LIMIT: Duration = Duration::from_secs(120);
/// No broker and no mail server is there.
const LEAST: [(&str, &str); 4] = [
    ("KAFKA_BROKERS", "127.0.0.1:1"),
    ("MAIL_SERVER_HOST", "127.0.0.1"),
    ("MAIL_SERVER_PORT", "1"),
    ("MAIL_FROM", "a@b.example"),
];

fn healthcheck(address: Option<SocketAddr>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailjob"));
    command.arg("healthcheck").env_clear().envs(LEAST).current_dir(folder.path());
    command.envs(address.map(|address| ("METRICS_ADDRESS", address.to_string())));
    command.output().unwrap()
}

/// Fails with this code, and one line that holds this text.
fn failed(ended: &Output, code: i32, text: &str) {
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(text), "{errors}");
}

/// Answers one request with this.
fn answers(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // What is unread when the connection closes would reset it.
        let request = BufReader::new(&stream).lines().map(Result::unwrap);
        let request: Vec<_> = request.take_while(|line| !line.is_empty()).collect();
        assert!(request[0].starts_with("GET /healthz "), "{request:?}");
        (&stream).write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn without_an_address_nobody_can_be_asked() {
    failed(&healthcheck(None), 2, "METRICS_ADDRESS: found nothing, expected");
}

#[test]
fn a_service_that_is_not_there_is_not_well() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    failed(&healthcheck(Some(nobody)), 1, "http://127.0.0.1:1: ");
}

#[test]
fn a_service_that_is_not_well_says_why() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ok\":false,\"checks\":[]}\n";
    failed(&healthcheck(Some(answers(answer))), 1, "{\"ok\":false,\"checks\":[]}");
    failed(&healthcheck(Some(answers("HTTP/1.1 404 Not Found\r\n\r\n"))), 1, "404 Not Found");
}

#[tokio::test]
async fn a_service_that_waits_for_kafka_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailjob"))
        .arg("run")
        .env_clear()
        .envs(LEAST)
        .env("METRICS_ADDRESS", "127.0.0.1:0")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = io::BufReader::new(service.stdout.take().unwrap()).lines();
    let address = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("a line that tells the address");
            if let Some((_, address)) = line.split_once("Metrics and health on http://") {
                break address.trim().parse().unwrap();
            }
        }
    };
    let address = timeout(LIMIT, address).await.expect("an address");
    let ended = tokio::task::spawn_blocking(move || healthcheck(Some(address))).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(said.contains("the run has not begun"), "{said}");
    service.kill().await.unwrap();
}
