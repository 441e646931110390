#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataBroker;
use rdkafka_sys as sys;

/// The room for what librdkafka says of an option that it refuses.
const REASON_BYTES: usize = 256;

/// Asks a broker for the ids of topics, each a number of 128 bits, and waits for the answer. A
/// topic that does not exist, and one of a broker that knows no ids (before Apache Kafka 2.8), has
/// none.
///
/// Blocks for up to twice the time limit. Any client can ask, a consumer that is polled elsewhere
/// too.
///
/// # Errors
/// If no broker has answered in time, or the broker refuses to describe a topic.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    limit: Duration,
) -> KafkaResult<BTreeMap<String, u128>> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = topics.iter().map(|name| CString::new(*name)).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|_| KafkaError::AdminOp(RDKafkaErrorCode::InvalidTopic))?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // Left alone, librdkafka asks the controller, which need not be known.
    let metadata = client.fetch_metadata(topics.first().copied(), limit)?;
    // A client that has just connected does not know the number of the broker that has answered.
    let answered = Some(metadata.orig_broker_id()).filter(|broker| *broker >= 0);
    let named = || metadata.brokers().first().map(MetadataBroker::id);
    let broker = answered.or_else(named).unwrap_or_default();
    let client = client.native_ptr();
    // SAFETY: the pointers are of as many strings that end with NUL, which live until the end of
    // this function; librdkafka copies them.
    let collection = Owned::new(
        unsafe {
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len())
        },
        sys::rd_kafka_TopicCollection_destroy,
    );
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: the client lives as long as the borrow that its pointer was taken from.
    let options = Owned::new(
        unsafe { sys::rd_kafka_AdminOptions_new(client, operation) },
        sys::rd_kafka_AdminOptions_destroy,
    );
    let mut reason = [0; REASON_BYTES];
    // SAFETY: the options are alive, and the reason has the size that is given.
    let limited = unsafe {
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            limit_ms,
            reason.as_mut_ptr(),
            REASON_BYTES,
        )
    };
    accepted(limited.into())?;
    // SAFETY: the same.
    let addressed = unsafe {
        sys::rd_kafka_AdminOptions_set_broker(options.0, broker, reason.as_mut_ptr(), REASON_BYTES)
    };
    accepted(addressed.into())?;
    // SAFETY: the client is alive.
    let queue = Owned::new(unsafe { sys::rd_kafka_queue_new(client) }, sys::rd_kafka_queue_destroy);
    // SAFETY: all four are alive; librdkafka keeps none of them beyond the call, but a reference of
    // its own to the queue.
    unsafe { sys::rd_kafka_DescribeTopics(client, collection.0, options.0, queue.0) };
    answer(&queue, limit_ms)
}

/// Waits for the answer on the queue, the only thing that comes there.
fn answer(
    queue: &Owned<sys::rd_kafka_queue_t>,
    limit_ms: i32,
) -> KafkaResult<BTreeMap<String, u128>> {
    // SAFETY: the queue is alive; an event that it gives is ours.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.0, limit_ms) };
    let timed_out = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
    if event.is_null() {
        return Err(timed_out);
    }
    let event = Owned::new(event, sys::rd_kafka_event_destroy);
    // SAFETY: the event is alive.
    accepted(unsafe { sys::rd_kafka_event_error(event.0) }.into())?;
    // SAFETY: the event is alive; what it is asked for is null if it is another event.
    let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(event.0) };
    if result.is_null() {
        return Err(timed_out);
    }
    let mut count = 0;
    // SAFETY: the result lives as long as its event.
    let topics = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    // SAFETY: librdkafka gives an array of that many descriptions, which live as long as the event.
    let described = (0..count).map(|index| unsafe { described(*topics.add(index)) });
    Ok(described.collect::<KafkaResult<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The name and the id of a topic, if it has one.
///
/// # Safety
/// The description is alive.
unsafe fn described(
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> KafkaResult<Option<(String, u128)>> {
    // SAFETY: the description is alive.
    let error = unsafe { sys::rd_kafka_TopicDescription_error(topic) };
    // SAFETY: the error, which may be null, lives as long as its topic; null is no error.
    let code = RDKafkaErrorCode::from(unsafe { sys::rd_kafka_error_code(error) });
    match code {
        RDKafkaErrorCode::NoError => {}
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            return Ok(None);
        }
        code => return Err(KafkaError::AdminOp(code)),
    }
    // SAFETY: the name lives as long as its topic, and ends with NUL.
    let name = unsafe { CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)) };
    // SAFETY: the description is alive.
    let id = unsafe { sys::rd_kafka_TopicDescription_topic_id(topic) };
    if id.is_null() {
        return Ok(None);
    }
    // SAFETY: the id lives as long as its topic.
    let high = unsafe { sys::rd_kafka_Uuid_most_significant_bits(id) };
    // SAFETY: the same.
    let low = unsafe { sys::rd_kafka_Uuid_least_significant_bits(id) };
    let id = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
    Ok((id != 0).then(|| (name.to_string_lossy().into_owned(), id)))
}

fn accepted(code: RDKafkaErrorCode) -> KafkaResult<()> {
    if code == RDKafkaErrorCode::NoError { Ok(()) } else { Err(KafkaError::AdminOp(code)) }
}

/// What librdkafka has made, and is to destroy.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// Takes on what was made just now, with the function that destroys it.
    const fn new(made: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Self {
        Self(made, destroy)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it was made for us, is destroyed once, and by the function of its own type.
        unsafe { self.1(self.0) };
    }
}
