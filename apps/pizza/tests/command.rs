//! The command line, as a process.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use tokio::io::AsyncBufReadExt as _;
use tokio::time::timeout;

#[path = "web/stream.rs"]
mod stream;
#[path = "web/visitor.rs"]
mod visitor;

use stream::{Events, LIMIT};
use visitor::{PIZZA, Visitor};

fn pizza(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pizza"));
    command.args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_demo_serves_browsers_and_closes_on_sigterm() {
    let mut demo = pizza(&["demo", "--speed", "100", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let open = lines.find(|line| line.contains("The shop is open: http://")).unwrap();
    assert!(open.starts_with("(webapp) INFO "), "{open}");
    let (_, address) = open.split_once("http://").unwrap();

    let mut browser = TcpStream::connect(address).unwrap();
    write!(browser, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let rest: Vec<_> = lines.collect();
    assert!(demo.wait().unwrap().success(), "{rest:?}");
    for service in ["msvc_assemble", "msvc_bake", "msvc_delivery", "msvc_status", "webapp"] {
        let last = rest.iter().rfind(|line| line.starts_with(&format!("({service}) INFO ")));
        assert!(last.unwrap().ends_with(" - Graceful shutdown completed"), "{rest:?}");
    }
}

#[tokio::test]
async fn sigterm_closes_open_pages_and_finishes_what_is_in_work() {
    let command = pizza(&["demo", "--speed", "4", "--listen", "127.0.0.1:0"]);
    let mut demo = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut line_with = async |text: &str| loop {
        let line = timeout(LIMIT, lines.next_line()).await.expect("a line").unwrap();
        let line = line.unwrap_or_else(|| panic!("no line with '{text}'"));
        if let Some((_, rest)) = line.split_once(text) {
            return rest.to_owned();
        }
    };
    let address = line_with("The shop is open: http://").await.parse().unwrap();
    let mut italo = Visitor::named(address, "Italo").await;
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    let mut events = Events::open(&italo, &format!("{path}/events")).await;
    assert!(events.next().await.is_some());
    line_with("baking time is").await;

    let pid = demo.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    while events.next().await.is_some() {}
    line_with("is baked!").await;
    while timeout(LIMIT, lines.next_line()).await.expect("an end").unwrap().is_some() {}
    assert!(timeout(LIMIT, demo.wait()).await.expect("an end").unwrap().success());
}

#[test]
fn what_is_wrong_is_said_in_one_line_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let line = file("line.ini", "[kafka]\nno property");
    let brokers = file("brokers.ini", "[kafka]\nsecurity.protocol = PLAINTEXT");
    let group = file("group.ini", "[kafka]\nbootstrap.servers = a:1\ngroup.id = pizzeria");
    let partitioner = file("p.ini", "[kafka]\nbootstrap.servers = a:1\npartitioner = murmur2");
    for (config, expected) in [
        (line.as_str(), "line.ini, line 2: expected a property"),
        (&brokers, "KAFKA_BROKERS: found nothing"),
        (&group, "KAFKA_GROUP_ID: found the property group.id, expected nothing"),
        (&partitioner, "KAFKA_PARTITIONER: found the property partitioner, expected nothing"),
        ("missing.ini", "--config: found \"missing.ini\", expected a file that can be read"),
    ] {
        let ended = pizza(&["bake", "--config", config]).current_dir(&folder).output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{error}");
        assert!(error.starts_with("pizza: ") && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn more_replicas_in_sync_than_there_are_end_the_start() {
    let more = ["bake", "--replicas", "2", "--min-insync-replicas", "3"];
    let ended = pizza(&more).output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{error}");
    let expected =
        "pizza: --min-insync-replicas: found \"3\", expected at most --replicas, which is 2\n";
    assert_eq!(error, expected);
}

#[test]
fn the_level_of_the_log_is_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let bake = |level: &str| {
        let mut command = pizza(&["bake"]);
        command.env("KAFKA_BROKERS", "127.0.0.1:1").env("LOGLEVEL", level).current_dir(&folder);
        command
    };
    let mut service = bake("debug").spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("(pizza) DEBUG ")), "ended without a line");
    service.kill().unwrap();
    service.wait().unwrap();

    let ended = bake("loud").output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(error.starts_with("pizza: LOGLEVEL: found \"loud\", expected ERROR or "), "{error}");
}

#[test]
fn lines_of_the_log_are_objects_where_a_setting_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = pizza(&["webapp", "--listen", "127.0.0.1:0"]);
    command.envs([("KAFKA_BROKERS", "127.0.0.1:1"), ("LOGLEVEL", "debug"), ("LOG_FORMAT", "json")]);
    let mut webapp = command.env("ENVIRONMENT", "test").current_dir(&folder).spawn().unwrap();
    let line = BufReader::new(webapp.stdout.take().unwrap()).lines().next();
    webapp.kill().unwrap();
    webapp.wait().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert_eq!(line["environment"], "test", "{line}");
    assert!(line["message"].is_string(), "{line}");
}

/// Brokers are away, so that a service is well, and not ready.
#[tokio::test]
async fn metrics_and_health_are_told_while_brokers_are_away() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["webapp", "bake", "all"] {
        let mut command = pizza(&[part, "--listen", "127.0.0.1:0"]);
        command.env("KAFKA_BROKERS", "127.0.0.1:1").env("METRICS_ADDRESS", "127.0.0.1:0");
        let mut command = tokio::process::Command::from(command);
        let mut process = command.current_dir(&folder).kill_on_drop(true).spawn().unwrap();
        let mut lines = tokio::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = timeout(LIMIT, lines.next_line()).await.expect("a line").unwrap();
            let line = line.expect("the address is said");
            if let Some((_, address)) = line.split_once("Metrics and health on http://") {
                break address.parse().unwrap();
            }
        };
        let mut prober = Visitor::of(address);
        assert_eq!(prober.get("/healthz").await.status, 200, "{part}");
        let ready = prober.get("/readyz").await;
        assert_eq!(ready.status, 503, "{part}");
        assert_eq!(ready.body.contains("partitions"), part != "webapp", "{}", ready.body);
        let metrics = prober.get("/metrics").await.body;
        assert!(metrics.contains("# TYPE target_info gauge\n"), "{part}: {metrics}");
        process.kill().await.unwrap();
    }
}

#[test]
fn an_address_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = pizza(&["demo", "--listen", &address]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(error.starts_with(&format!("pizza: can't listen on {address}: ")), "{error}");
}
