//! Headers of every kind, on their way in and out.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use jobstream::kafka::{Event, KafkaConfig, Observer};
use jobstream::record::{ConsumerRecord, Headers, ProducerRecord};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use tokio::time::timeout;

use super::{Cluster, LIMIT, blocking, raw};

/// Keeps the offsets of records with a header that can't be read.
#[derive(Debug, Default)]
struct Unreadable(Mutex<Vec<i64>>);

impl Observer for Unreadable {
    fn on(&self, event: &Event<'_>) {
        if let Event::UnreadableHeader { offset, .. } = event {
            self.0.lock().unwrap().push(*offset);
        }
    }
}

async fn next(source: &KafkaSource, records: usize) -> Vec<ConsumerRecord> {
    let mut events = source.events();
    let mut found = Vec::new();
    while found.len() < records {
        match timeout(LIMIT, events.next()).await.unwrap() {
            Some(Ok(SourceEvent::Record(record))) => found.push(record),
            Some(Ok(_)) => {}
            other => panic!("found {other:?}, expected a record"),
        }
    }
    found
}

/// A header whose name is no UTF-8 costs that header, and is reported; nothing else is lost: not the
/// record, not its other headers, not the record after it. It can be carried over.
pub(crate) async fn a_header_that_cannot_be_read_costs_nothing_else(cluster: &dyn Cluster) {
    let topic = format!("headers-{}", std::process::id());
    cluster.create_topic(&topic, 1).await;
    let (bootstrap, to) = (cluster.bootstrap(), topic.clone());
    blocking(move || {
        let names: [raw::RawHeader<'_>; 4] =
            [(b"a", None), (b"\xff\xfe", Some(b"value")), (b"", Some(b"")), (b"b", Some(b"\xff"))];
        raw::produce(&bootstrap, &to, b"first", &names);
        raw::produce(&bootstrap, &to, b"second", &[]);
    })
    .await;
    let unreadable = Arc::new(Unreadable::default());
    let config = KafkaConfig::new(cluster.bootstrap()).with_observer(unreadable.clone());
    let source = KafkaSource::new(&config, &topic, [&*topic]).unwrap();
    let records = next(&source, 2).await;
    let mut expected = Headers::new();
    expected.push("a", None);
    expected.push("\u{fffd}", None);
    expected.push("", Some("".into()));
    expected.push("b", Some(b"\xff"[..].into()));
    assert_eq!(
        (&records[0].headers, records[0].value.as_deref()),
        (&expected, Some(&b"first"[..]))
    );
    assert_eq!(records[1].value.as_deref(), Some(&b"second"[..]));
    assert_eq!(*unreadable.0.lock().unwrap(), [0]);
    source.close().await.unwrap();
    carried_over(&config, &topic, &records[0]).await;
}

async fn carried_over(config: &KafkaConfig, topic: &str, record: &ConsumerRecord) {
    let mut output = ProducerRecord::to(topic).value("third");
    output.headers = record.headers.clone();
    let batch = Batch { outputs: vec![output], positions: Vec::new() };
    KafkaSink::new(config).unwrap().publish(&batch).await.unwrap();
    let reader = KafkaSource::new(config, &format!("{topic}-reader"), [topic]).unwrap();
    assert_eq!(next(&reader, 3).await[2].headers, record.headers);
    reader.close().await.unwrap();
}
