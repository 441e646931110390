//! A witness sees each request, and says what goes wrong at it.

use std::sync::{Arc, Mutex};

use jobstream_testkit::broker::{Broker, Isolation};
use jobstream_testkit::wire::faults::FaultAct;
use jobstream_testkit::wire::{WireRequest, WireWitness};
use kafka_protocol::ResponseError;

use super::client::{BatchHeader, Client, batch, error, produce};

/// Refuses the second request, and notes all of them.
#[derive(Debug, Default)]
struct Refusing(Mutex<Vec<String>>);

impl WireWitness for Refusing {
    fn on_request(&self, request: &WireRequest<'_>) -> Vec<FaultAct> {
        let mut seen = self.0.lock().unwrap();
        let (api, client, topics) = (request.api(), request.client(), request.topics());
        seen.push(format!("{client} asks {api} of {topics:?}"));
        let is_second = seen.len() == 3;
        if is_second {
            vec![FaultAct::Error(ResponseError::RequestTimedOut.code())]
        } else {
            vec![]
        }
    }

    fn on_applied(&self, request: &WireRequest<'_>) {
        self.0.lock().unwrap().push(format!("{} applied", request.api()));
    }
}

#[tokio::test]
async fn a_witness_is_notified_before_a_request_and_after_its_effect() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let witness = Arc::new(Refusing::default());
    let listener = broker.listener().witnessed_by(witness.clone());
    let listener = listener.listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    let request = produce("jobs", 0, batch(BatchHeader::default(), &["a job"]));
    let mut codes = Vec::new();
    for _ in 0..3 {
        let produced = client.ask(&request, 3).await;
        codes.push(error(produced.responses[0].partition_responses[0].error_code));
    }
    assert_eq!(codes, [None, Some(ResponseError::RequestTimedOut), None]);
    assert_eq!(broker.records("jobs", Isolation::ReadCommitted).len(), 2);
    let asks = "test asks 0 of [\"jobs\"]";
    let seen = witness.0.lock().unwrap().clone();
    assert_eq!(seen, [asks, "0 applied", asks, asks, "0 applied"]);
}
