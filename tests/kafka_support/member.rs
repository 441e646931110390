//! A member under test: a Kafka source that can be frozen.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use jobstream::kafka::{Event, Observer};
use jobstream::sources::kafka::KafkaSource;

use super::wrapped::{Watch, Wrapped};

/// A Kafka source, with the names and the brake that its crash needs.
pub(crate) type Member = Wrapped<KafkaSource, Handle>;

pub(crate) struct Handle {
    pub(crate) group: String,
    pub(crate) client_id: String,
    pub(crate) freezer: Arc<Freezer>,
}

impl Watch for Handle {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Brake {
    #[default]
    Off,
    Asked,
    On,
}

/// An observer that can stop the polling thread for good, so that no rebalance is answered.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    brake: Mutex<Brake>,
    never: Condvar,
}

impl Freezer {
    /// Completes when the thread stands still.
    pub(crate) async fn freeze(&self) {
        *self.brake.lock().unwrap() = Brake::Asked;
        while *self.brake.lock().unwrap() != Brake::On {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Observer for Freezer {
    fn on(&self, _event: &Event<'_>) {
        let mut brake = self.brake.lock().unwrap();
        while *brake != Brake::Off {
            *brake = Brake::On;
            brake = self.never.wait(brake).unwrap();
        }
    }
}
