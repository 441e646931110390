//! The settings of a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobstream::position::Position;
use jobstream::record::Timestamp;
use tokio::sync::Notify;

use super::partitioner::Partitioner;
use super::state::{State, WallClock};
use super::transaction::Transactions;
use super::witness::Witness;
use super::{Broker, Shared};
use crate::random::Random;

/// What a broker's wall clock shows where none is given: 2024-01-01T00:00:00Z, standing still.
pub const DEFAULT_WALL_CLOCK_MS: Timestamp = 1_704_067_200_000;

/// The settings of a broker. Timeouts count by tokio's clock.
#[derive(Clone)]
pub struct BrokerBuilder {
    seed: u64,
    partitioner: Partitioner,
    wall_clock: WallClock,
    session_timeout: Duration,
    transaction_timeout: Duration,
    metadata_max_bytes: usize,
    yields: bool,
    witness: Option<Arc<dyn Witness>>,
}

impl BrokerBuilder {
    /// Seeds the generator that places records without a key; 0 if nothing is said.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Places records by this partitioner; `ConsistentRandom` if nothing is said.
    #[must_use]
    pub const fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Stamps records without a timestamp by this clock, in milliseconds since 1970.
    #[must_use]
    pub fn wall_clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.wall_clock = Arc::new(now);
        self
    }

    /// How long a group waits for a member that has crashed or is suspended; 45 s if nothing is
    /// said, as in Kafka.
    #[must_use]
    pub const fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How long a transaction may stay open; 60 s if nothing is said, as in librdkafka.
    #[must_use]
    pub const fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// Refuses commits with more metadata than that, as Kafka's `offset.metadata.max.bytes`; 4,096
    /// bytes if nothing is said. Members learn of it from the refusal.
    #[must_use]
    pub const fn offset_metadata_max_bytes(mut self, bytes: usize) -> Self {
        self.metadata_max_bytes = bytes;
        self
    }

    /// Lets every operation yield once before its effect and once after it.
    /// A simulation that drops a future at its k-th poll then meets every moment at which a crash
    /// makes a difference, those between the steps of a transaction included.
    #[must_use]
    pub const fn yielding(mut self) -> Self {
        self.yields = true;
        self
    }

    /// Is [yielding](Self::yielding), and notifies `witness` each time.
    #[must_use]
    pub fn witnessed_by(self, witness: Arc<dyn Witness>) -> Self {
        Self { witness: Some(witness), ..self.yielding() }
    }

    /// A broker with these settings, and no topics.
    pub fn build(self) -> Broker {
        let state = State {
            wall_clock: self.wall_clock,
            partitioner: self.partitioner,
            random: Random::seeded(self.seed),
            session_timeout: self.session_timeout,
            topics: BTreeMap::new(),
            topics_created: 0,
            metadata_max_bytes: self.metadata_max_bytes,
            groups: BTreeMap::new(),
            members: Vec::new(),
            sessions: 0,
            ended_sessions: Vec::new(),
            transactions: Transactions::new(self.transaction_timeout),
            commits: 0,
            failures: BTreeMap::new(),
            held: BTreeSet::new(),
            stopped: false,
            parked: BTreeMap::new(),
            changed: false,
            #[cfg(feature = "wire")]
            wire: crate::wire::state::WireState::default(),
        };
        let (state, changed) = (Mutex::new(state), Notify::new());
        let Self { yields, witness, .. } = self;
        Broker { shared: Arc::new(Shared { yields, witness, state, changed }) }
    }
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            seed: 0,
            partitioner: Partitioner::default(),
            wall_clock: Arc::new(|| DEFAULT_WALL_CLOCK_MS),
            session_timeout: Duration::from_secs(45),
            transaction_timeout: Duration::from_secs(60),
            metadata_max_bytes: Position::METADATA_MAX_BYTES,
            yields: false,
            witness: None,
        }
    }
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder")
            .field("seed", &self.seed)
            .field("partitioner", &self.partitioner)
            .field("session_timeout", &self.session_timeout)
            .field("transaction_timeout", &self.transaction_timeout)
            .finish_non_exhaustive()
    }
}
