//! What `Topics` says of brokers that do not answer: which one was asked, and why it did not.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::net::SocketAddr;
use std::time::Duration;

use jobstream::kafka::{ErrorKind, KafkaConfig, TopicError, Topics};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::time::timeout;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(120);

/// The error of a question to the brokers at this address.
async fn asked(brokers: &str) -> TopicError {
    let topics = Topics::new(&KafkaConfig::new(brokers)).unwrap();
    let answer = timeout(LIMIT, topics.partitions("jobs")).await.expect("an end");
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    error
}

/// An address at which no broker listens.
async fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_broker_that_can_not_be_reached_is_named_with_the_cause() {
    let closed = closed_address().await.to_string();
    for (brokers, cause) in
        [("no-such-host.invalid:9092", "Failed to resolve"), (&*closed, "Connection refused")]
    {
        let error = asked(brokers).await.to_string();
        assert!(error.starts_with(brokers), "{error}");
        assert!(error.contains(cause), "{error}");
    }
}

#[tokio::test]
async fn each_of_several_brokers_is_named() {
    let closed = closed_address().await;
    let error = asked(&format!("{closed},no-such-host.invalid:9092")).await.to_string();
    assert!(error.contains("Failed to resolve 'no-such-host.invalid:9092'"), "{error}");
    assert!(error.contains(&closed.to_string()) && error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_broker_that_takes_the_connection_and_says_nothing_is_named() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hangs.local_addr().unwrap().to_string();
    let mut taken = Vec::<TcpStream>::new();
    let hang = async {
        loop {
            taken.push(hangs.accept().await.unwrap().0);
        }
    };
    let error: TopicError = select! {
        biased;
        error = asked(&address) => error,
        () = hang => unreachable!("it takes connections for ever"),
    };
    let error = error.to_string();
    assert!(error.contains(&address) && error.contains("timed out"), "{error}");
}

#[tokio::test]
async fn a_broker_is_found_at_an_ipv6_address_in_brackets() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let topics = Topics::new(&KafkaConfig::new(format!("[::1]:{port}"))).unwrap();
    let connected = async {
        select! {
            biased;
            connected = listener.accept() => drop(connected.unwrap()),
            answer = topics.partitions("jobs") => panic!("no client has connected: {answer:?}"),
        }
    };
    timeout(LIMIT, connected).await.expect("a connection");
}
