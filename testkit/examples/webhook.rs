//! A job sink that calls a webhook, and a search for the schedule that makes it bill twice.
//!
//! `cargo run -p jobstream-testkit --example webhook`
//!
//! The naive sink posts, and nothing more: if the member crashes after the receiver has booked and
//! before the position is committed, the next one posts again. Its mended twin sends an idempotency
//! key with the request, and the receiver books a key once. Both are searched with the same lines;
//! the first is found broken within a few schedules, the second is not.
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Executed, Topology};
use jobstream_testkit::simulation::{History, Member, Search, World};

/// The service behind the webhook: how often each order was booked. It outlives every crash.
#[derive(Debug, Default)]
struct Receiver {
    bookings: Mutex<BTreeMap<u32, u32>>,
}

impl Receiver {
    /// Books an order; with an idempotency key, the first time only.
    fn post(&self, order: u32, idempotency_key: Option<u32>) {
        let mut bookings = self.bookings.lock().unwrap_or_else(PoisonError::into_inner);
        let booked = bookings.entry(idempotency_key.unwrap_or(order)).or_default();
        if idempotency_key.is_none() || *booked == 0 {
            *booked += 1;
        }
    }
}

/// Posts orders. Whether with a key is the whole difference between the twins.
struct Webhook {
    receiver: Arc<Receiver>,
    world: World,
    is_idempotent: bool,
}

#[async_trait]
impl JobSink<u32, ()> for Webhook {
    async fn execute(&self, order: &u32, _: &ConsumerRecord) -> Result<(), JobError> {
        let key = self.is_idempotent.then_some(*order);
        let post = async { self.receiver.post(*order, key) };
        self.world.effect("post", post).await;
        Ok(())
    }
}

/// The executor, as it would run in production but for its ends.
fn executor(member: &Member<Receiver>, is_idempotent: bool) -> Topology {
    let (receiver, world) = (member.outside().clone(), member.world().clone());
    Topology::builder("dead-letters")
        .decode(Json::<u32>::new())
        .execute(member.watched(Webhook { receiver, world, is_idempotent }))
        .encode(|_: &ConsumerRecord, executed: Executed<u32, ()>| {
            Ok(vec![ProducerRecord::to("booked").value(executed.input.to_string())])
        })
}

fn orders() -> Vec<ProducerRecord> {
    let order = |number: u32| ProducerRecord::to("orders").value(number.to_string());
    (0..12).map(order).collect()
}

fn is_booked_once(_: &History, receiver: &Receiver) -> Result<(), String> {
    let bookings = receiver.bookings.lock().unwrap_or_else(PoisonError::into_inner);
    match bookings.iter().find(|(_, times)| **times != 1) {
        None => Ok(()),
        Some((order, times)) => Err(format!("order {order} is booked {times} times")),
    }
}

fn search(is_idempotent: bool) -> Search<Receiver> {
    Search::new(move |member| executor(member, is_idempotent))
        .workload("orders", 2, |_| orders())
        .outputs("booked", 1)
        .outputs("dead-letters", 1)
        .effects(["post"])
        .invariant("every order is booked once", is_booked_once)
        .schedules(200)
}

fn main() {
    match search(false).run() {
        Ok(report) => panic!("the naive webhook passed: {report}"),
        Err(broken) => println!("the naive webhook\n\n{broken}"),
    }
    match search(true).run() {
        Ok(report) => println!("its mended twin passes: {report}"),
        Err(broken) => panic!("the mended webhook\n\n{broken}"),
    }
}

#[cfg(test)]
mod tests {
    use super::search;

    #[test]
    fn the_search_breaks_the_naive_webhook_by_a_crash_or_a_lost_partition() {
        let broken = search(false).run().expect_err("a naive webhook books twice");
        assert_eq!(broken.invariant, "every order is booked once");
        assert!(broken.schedule.faults.len() <= 2, "found {}", broken.schedule);
        let again = search(false).play_schedule(broken.seed, &broken.schedule);
        let again = again.expect_err("a schedule replays").to_string();
        assert_eq!(again, broken.to_string());
    }

    #[test]
    fn its_mended_twin_passes() {
        let report = search(true).run().unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(report.schedules, 200);
    }
}
