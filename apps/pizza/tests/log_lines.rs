//! What the services log of the example: all of it, word for word.
//!
//! Alone in its process, since a subscriber that is not of the whole process misses lines whose
//! places were first passed by a thread without one.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::io;
use std::sync::{Arc, Mutex};

use pizza::log;
use pizza::status::Status;

#[path = "services/shop.rs"]
mod shop;

use shop::{Shop, example, id};

#[tokio::test(start_paused = true)]
async fn the_services_log_what_the_original_does() {
    let lines = Lines::default();
    let subscriber = log::subscriber(tracing::Level::INFO, lines.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let shop = Shop::new();
    let order = id("3c91b");
    shop.order(order, &example()).await;
    shop.run(&shop.services(), shop.all_are(&[order], Status::DELIVERED)).await;

    for (service, expected) in EXPECTED {
        let found = lines.of(service);
        let expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(found, expected, "{service}");
    }
}

const SHUTDOWN: [&str; 4] = [
    "Starting graceful shutdown...",
    "Closing consumer group...",
    "Consumer group successfully closed",
    "Graceful shutdown completed",
];

const EXPECTED: [(&str, &[&str]); 4] = [
    (
        "msvc_assemble",
        &[
            "Subscribed to topic(s): pizza-ordered",
            "Preparing order '3c91b', assembling time is 4 second(s)",
            "Order '3c91b' is assembled!",
            "Event successfully produced\n - Topic 'pizza-assembled', Partition #5, Offset #0\n \
             - Key: 3c91b\n - Value: {\"baking_time\":17}",
            "Event successfully produced\n - Topic 'pizza-status', Partition #5, Offset #0\n \
             - Key: 3c91b\n - Value: {\"status\":200}",
            SHUTDOWN[0],
            SHUTDOWN[1],
            SHUTDOWN[2],
            SHUTDOWN[3],
        ],
    ),
    (
        "msvc_bake",
        &[
            "Subscribed to topic(s): pizza-assembled",
            "Preparing order '3c91b', baking time is 17 second(s)",
            "Order '3c91b' is baked!",
            "Event successfully produced\n - Topic 'pizza-baked', Partition #5, Offset #0\n \
             - Key: 3c91b\n - Value: None",
            "Event successfully produced\n - Topic 'pizza-status', Partition #5, Offset #2\n \
             - Key: 3c91b\n - Value: {\"status\":300}",
            SHUTDOWN[0],
            SHUTDOWN[1],
            SHUTDOWN[2],
            SHUTDOWN[3],
        ],
    ),
    (
        "msvc_delivery",
        &[
            "Subscribed to topic(s): pizza-ordered, pizza-baked",
            "Early warning to deliver order '3c91b' to customer_id \
             'd94a6c43d9f487c1bef659f05c002213'",
            "Deliverying order '3c91b' for customer_id 'd94a6c43d9f487c1bef659f05c002213', \
             delivery time is 10 second(s)",
            "Order '3c91b' delivered to customer_id 'd94a6c43d9f487c1bef659f05c002213'",
            "Event successfully produced\n - Topic 'pizza-status', Partition #5, Offset #4\n \
             - Key: 3c91b\n - Value: {\"status\":400}",
            SHUTDOWN[0],
            SHUTDOWN[1],
            SHUTDOWN[2],
            SHUTDOWN[3],
        ],
    ),
    (
        "msvc_status",
        &[
            "Subscribed to topic(s): pizza-status",
            "Order '3c91b' status updated: Your pizza is in the oven (200)",
            "Order '3c91b' status updated: Your pizza is out for delivery (300)",
            "Order '3c91b' status updated: Your pizza was delivered (400)",
            SHUTDOWN[0],
            SHUTDOWN[1],
            SHUTDOWN[2],
            SHUTDOWN[3],
        ],
    ),
];

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// The messages of a service, without their prefix, which is checked.
    fn of(&self, service: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let prefix = format!("({service}) INFO ");
        let mut found: Vec<String> = Vec::new();
        let mut is_of_service = false;
        for line in text.lines() {
            if line.starts_with(" - ") && is_of_service {
                let last = found.last_mut().unwrap();
                last.push('\n');
                last.push_str(line);
            } else if let Some(rest) = line.strip_prefix(&prefix) {
                let (time, message) = rest.split_once(" - ").unwrap();
                let shape: String =
                    time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                assert_eq!(shape, "00:00:00.000", "{line}");
                found.push(message.to_owned());
                is_of_service = true;
            } else {
                is_of_service = line.starts_with(" - ") && is_of_service;
            }
        }
        found
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
