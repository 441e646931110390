//! The plain sink: acknowledged records are durable, and records that can't be published are named.

use jobstream::record::ProducerRecord;
use jobstream::sinks::{Batch, Published, SinkError};

use super::Backend;
use super::records::numbered;
use crate::broker::Isolation;

/// Larger than any topic of a backend accepts.
pub(super) const TOO_LARGE_BYTES: usize = 3 << 20;

/// The order holds across batches, in each partition and for each key.
pub async fn what_is_acknowledged_can_be_read_in_order<B: Backend>(backend: &B) {
    let topic = backend.create_topic(3).await;
    let sink = backend.sink().await;
    for first in [0, 50] {
        let numbers = first..first + 50;
        let keyed = |n: i32| {
            ProducerRecord::to(topic.clone()).key(format!("key {}", n % 5)).value(n.to_string())
        };
        let batch = Batch { outputs: numbers.map(keyed).collect(), positions: Vec::new() };
        let published = sink.publish(&batch).await;
        assert!(
            matches!(&published, Ok(Published { has_positions: false, .. })),
            "found {published:?}"
        );
    }
    let records = backend.read(&topic, Isolation::ReadCommitted).await;
    assert_eq!(records.len(), 100);
    for key in 0..5 {
        let of_key = records.iter().filter(|r| r.key == Some(format!("key {key}").into()));
        let values = of_key.filter_map(|record| record.value.clone());
        let expected = (key..100).step_by(5).map(|n: i32| n.to_string().into());
        assert!(values.eq(expected.collect::<Vec<bytes::Bytes>>()), "key {key} is out of order");
    }
    sink.close().await.expect("the sink can be closed");
}

/// The error has the indices of the outputs in the batch.
pub async fn an_output_that_is_too_large_is_named_and_the_others_are_published<B: Backend>(
    backend: &B,
) {
    let topic = backend.create_topic(1).await;
    let sink = backend.sink().await;
    let mut outputs: Vec<_> = (0..4).map(|n| numbered(&topic, 0, n)).collect();
    outputs[1] = numbered(&topic, 0, 1).value(vec![0; TOO_LARGE_BYTES]);
    outputs[3] = numbered(&topic, 0, 3).value(vec![0; TOO_LARGE_BYTES]);
    match sink.publish(&Batch { outputs, positions: Vec::new() }).await {
        Err(SinkError::TooLarge { outputs, others_published: true }) => {
            assert_eq!(outputs, [1, 3]);
        }
        published => panic!("found {published:?}"),
    }
    let records = backend.read(&topic, Isolation::ReadCommitted).await;
    let values: Vec<_> = records.into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, ["0", "2"]);
}

/// A topic of the backend accepts it with its envelope.
pub async fn a_value_of_one_mebibyte_is_taken<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let outputs = vec![numbered(&topic, 0, 0).value(vec![b'j'; 1 << 20])];
    let published = backend.sink().await.publish(&Batch { outputs, positions: Vec::new() }).await;
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
    let records = backend.read(&topic, Isolation::ReadCommitted).await;
    assert_eq!(records[0].value.as_ref().map(bytes::Bytes::len), Some(1 << 20));
}
