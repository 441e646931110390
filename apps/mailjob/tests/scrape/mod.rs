//! The answers to scrapes and probes.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The status and the body of an answer over HTTP.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = answer(address, path, "Accept: application/openmetrics-text\r\n").await;
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// The head, with a line end after each line, and the body of an answer over HTTP to a request with
/// these headers besides.
pub(crate) async fn answer(address: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

/// What a probe is answered: whether all is well, and the reason of each check.
pub(crate) async fn probe(address: SocketAddr, path: &str) -> (bool, BTreeMap<String, String>) {
    let (status, body) = get(address, path).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    let ok = answer["ok"].as_bool().unwrap();
    assert_eq!(status, if ok { 200 } else { 503 }, "{body}");
    let checks = answer["checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (ok, checks.iter().map(|check| (text(&check["name"]), text(&check["reason"]))).collect())
}

/// What was scraped: a value for each name with its labels, as they are written.
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) async fn of(address: SocketAddr) -> Self {
        let (status, body) = get(address, "/metrics").await;
        assert_eq!(status, 200, "{body}");
        assert!(body.ends_with("\n# EOF\n"), "{body}");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// The sum of the samples with this name whose labels hold all of these, if there are any.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let found: Vec<_> = self
            .0
            .iter()
            .filter(|(sample, _)| sample.split('{').next() == Some(name))
            .filter(|(sample, _)| labels.iter().all(|label| sample.contains(label)))
            .map(|(_, value)| value)
            .collect();
        (!found.is_empty()).then(|| found.into_iter().sum())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
