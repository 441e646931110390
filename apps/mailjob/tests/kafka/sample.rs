//! The documented sample: from a client that is not ours, through the service, to a mail and a
//! result.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::broker::script;
use crate::load::{SAMPLE, SAMPLE_ID, sample_result};
use crate::postfix::Postfix;
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, inbox};

/// A Kafka client that is not ours: the words that run it.
struct Client(Vec<String>);

impl Client {
    fn prepared(name: &str) -> String {
        let made = script("peers").arg(name).output().unwrap();
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "scripts/peers {name}: {errors}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn kafka_python() -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/clients/client.py");
        Self(vec![Self::prepared("python"), program.to_owned()])
    }

    fn franz_go() -> Self {
        Self(vec![Self::prepared("go")])
    }

    /// What it prints, given this on standard input.
    async fn run(&self, verb: &str, stage: &Stage, topic: &str, input: &str) -> Vec<u8> {
        let topic = stage.topic(topic);
        let mut child = Command::new(&self.0[0])
            .args(&self.0[1..])
            .args([verb, &stage.broker.bootstrap, &topic])
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let ended = timeout(LIMIT, child.wait_with_output()).await.expect("an end").unwrap();
        assert!(ended.status.success(), "{:?} {verb}", self.0);
        ended.stdout
    }
}

/// The sample through the service, with a client at both ends.
async fn becomes_a_result(client: &Client, mail_server: SocketAddr, delivery: &str) -> Stage {
    let mut stage = Stage::new(mail_server).await;
    stage.set("JOB_DELIVERY", delivery);
    let service = stage.start("log");
    client.run("produce", &stage, "jobs", SAMPLE).await;
    let results = stage.results_of(1).await;
    assert_eq!(results[0].key.as_deref(), Some(SAMPLE_ID.as_bytes()));
    let result = client.run("consume", &stage, "results", "").await;
    assert_eq!(String::from_utf8(result).unwrap(), sample_result(), "{delivery}");
    service.terminate().await.succeeded();
    assert_eq!(stage.records("results").await.len(), 1);
    stage
}

/// The sample from a client, to the fake server and to Postfix, in both ways of delivery.
async fn becomes_a_mail_and_a_result(client: &Client) {
    for delivery in DELIVERIES {
        let server = inbox().await;
        becomes_a_result(client, server.address(), delivery).await;
        let mail = &server.inbox().mails()[0];
        assert_eq!(mail.recipients, ["example@example.com"]);
        assert_eq!(mail.subject().as_deref(), Some("subject "));
        assert_eq!(mail.text().unwrap().trim_end(), "message");

        let postfix = Postfix::start("example.com").await;
        becomes_a_result(client, postfix.address(), delivery).await;
        let mails = delivered(&postfix.mails(), 1).await;
        for line in ["Delivered-To: example@example.com", "Reply-To: example@example.com"] {
            assert!(mails[0].contains(line), "no {line:?} in\n{}", mails[0]);
        }
        assert!(mails[0].trim_end().ends_with("\n\nmessage"), "{}", mails[0]);
        assert_eq!(mails.len(), 1);
    }
}

/// The mails of a maildir, once there are so many.
pub(crate) async fn delivered(maildir: &Path, count: usize) -> Vec<String> {
    let delivered = async {
        loop {
            let files = std::fs::read_dir(maildir).into_iter().flatten();
            let mails: Vec<_> =
                files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
            if mails.len() >= count {
                return mails;
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, delivered).await.expect("a delivery by Postfix")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_documented_sample_from_kafka_python_becomes_a_mail_and_a_result() {
    becomes_a_mail_and_a_result(&Client::kafka_python()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_documented_sample_from_franz_go_becomes_a_mail_and_a_result() {
    becomes_a_mail_and_a_result(&Client::franz_go()).await;
}
