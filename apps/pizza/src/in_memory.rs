//! The shop's ends on the in-memory broker: for the demo, and for tests.

use jobstream::topology::Worker;
use jobstream_testkit::broker::{Assignor, Broker, Protocol};

use crate::services::{Delivery, Service};
use crate::topics;

/// Creates the topics of the shop, where they are missing.
pub fn create_topics(broker: &Broker) {
    for topic in topics::ALL {
        broker.create_topic(topic, topics::PARTITIONS);
    }
}

/// The ends of an instance of a service. One of the same instance that was before is fenced.
pub fn worker(broker: &Broker, service: &Service, instance: &str) -> Worker {
    let consumer = broker.consumer(service.group, service.consumes.iter().copied());
    // An order has one number of partition on all topics, and one member has all of them.
    let consumer = match service.consumes {
        [_] => consumer,
        _ => consumer.assignor(Assignor::Range).protocol(Protocol::Eager),
    };
    let store = service.remembers.map(|topic| Box::new(broker.store(topic)) as _);
    match service.delivery {
        Delivery::ExactlyOnce => {
            let (source, sink) = consumer.exactly_once(format!("{}-{instance}", service.group));
            Worker { source: Box::new(source), sink: Box::new(sink), store }
        }
        Delivery::AtLeastOnce => {
            let source = consumer.build();
            let sink = broker.producer().beside(source.member());
            Worker { source: Box::new(source), sink: Box::new(sink), store }
        }
    }
}
