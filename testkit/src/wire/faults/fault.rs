//! A fault: what happens, and when.

use std::time::Duration;

use super::rules::Scene;

/// Where a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMoment {
    /// A connection is accepted; nothing is known but the node.
    Connect,
    /// A request of any API.
    Any,
    /// A request of the API with this key, as in Kafka's protocol.
    Api(i16),
}

impl FaultMoment {
    /// Records are appended.
    pub const PRODUCE: Self = Self::Api(0);
    /// Records are read.
    pub const FETCH: Self = Self::Api(1);
    /// Positions of a group are committed.
    pub const OFFSET_COMMIT: Self = Self::Api(8);
    /// A member joins a classic group.
    pub const JOIN_GROUP: Self = Self::Api(11);
    /// A member of a classic group says that it lives.
    pub const HEARTBEAT: Self = Self::Api(12);
    /// A producer asks for its id and epoch.
    pub const INIT_PRODUCER_ID: Self = Self::Api(22);
    /// A transaction ends.
    pub const END_TXN: Self = Self::Api(26);
    /// A transaction gets the positions of a group.
    pub const TXN_OFFSET_COMMIT: Self = Self::Api(28);
    /// A member of a group whose broker assigns partitions joins, lives or leaves (KIP-848).
    pub const CONSUMER_GROUP_HEARTBEAT: Self = Self::Api(68);
}

/// What happens then. Without a word about it the request is applied as ever.
///
/// Several faults at one request add up: delays are summed, and of those that end the request the one
/// that was pushed first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAct {
    /// Refuses the request with this code; it has no effect. An API whose answer has no place for a
    /// code is answered by a cut connection.
    Error(i16),
    /// Applies the request and answers with this code all the same.
    ApplyThenError(i16),
    /// Waits before the request is applied.
    Delay(Duration),
    /// Applies the request and answers late.
    ApplyThenDelay(Duration),
    /// Never answers; the request has no effect. The connection stays until the client closes it.
    Stall,
    /// Applies the request and never answers.
    ApplyThenStall,
    /// Cuts the connection; the request has no effect.
    DisconnectBefore,
    /// Applies the request, sends the first half of the answer and cuts the connection.
    DisconnectWithin,
    /// Applies the request and cuts the connection instead of answering: the client can't know.
    ApplyThenDisconnect,
    /// The node that is asked goes away and is back after that time. Its connections are cut, new
    /// ones are refused, and other nodes lead and coordinate in its place. The request has no effect.
    NodeAway(Duration),
    /// Every partition is led by another node, if there is one, under the next leader epoch.
    MoveLeaders,
    /// Every group and transactional id has another node as its coordinator, if there is one.
    MoveCoordinators,
    /// The member that asks is no member of its group any more.
    ExpelMember,
    /// The groups that the request names lose all their members.
    ExpelGroup,
    /// The producer of the request's transactional id is fenced, and its transaction aborted.
    FenceProducer,
    /// The open transaction of the request's transactional id is aborted, as when its time is over:
    /// its producer is fenced. Nothing happens where none is open.
    TimeOutTransaction,
    /// Retention deletes all but the last so many offsets of the partitions that the request names.
    Retain(u64),
}

/// What [`FaultOccasion::nth`], [`FaultOccasion::every`] and [`FaultOccasion::after`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultPer {
    /// The requests of all clients.
    #[default]
    Broker,
    /// The requests of each client id: independent of what others do meanwhile.
    Client,
    /// The requests of each connection.
    Connection,
}

/// A fault: a [`FaultAct`] and the [`FaultOccasion`] on which it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct WireFault {
    pub(super) occasion: FaultOccasion,
    pub(super) act: FaultAct,
}

impl WireFault {
    /// The node at which alone it strikes, if it names one.
    pub(in crate::wire) fn node(&self) -> Option<i64> {
        self.occasion.node.map(i64::from)
    }

    /// Begins a fault:
    /// `WireFault::at(FaultMoment::PRODUCE).nth(3).then(FaultAct::ApplyThenDisconnect)`.
    #[must_use]
    pub const fn at(moment: FaultMoment) -> FaultOccasion {
        FaultOccasion {
            moment,
            node: None,
            client: None,
            topic: None,
            group: None,
            transaction: None,
            connection: None,
            nth: None,
            every: None,
            after: None,
            per: FaultPer::Broker,
            probability: None,
            times: None,
        }
    }
}

/// When a fault strikes. All conditions must hold; without any it strikes every time.
///
/// They are judged in this order: node, names and connection first; what passes is counted for `nth`,
/// `every` and `after`; then comes chance; then `times`.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultOccasion {
    pub(super) moment: FaultMoment,
    pub(super) node: Option<i32>,
    pub(super) client: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) group: Option<String>,
    pub(super) transaction: Option<String>,
    pub(super) connection: Option<u64>,
    pub(super) nth: Option<u64>,
    pub(super) every: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) per: FaultPer,
    pub(super) probability: Option<f64>,
    pub(super) times: Option<u64>,
}

impl FaultOccasion {
    /// Only at the node with this id, from 1.
    #[must_use]
    pub const fn node(mut self, id: i32) -> Self {
        self.node = Some(id);
        self
    }

    /// Only for the client with this id. An asterisk at the end stands for any end, here and below.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>) -> Self {
        self.client = Some(id.into());
        self
    }

    /// Only if the request names this topic, by its name or its id.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.topic = Some(name.into());
        self
    }

    /// Only if the request names this group.
    #[must_use]
    pub fn group(mut self, id: impl Into<String>) -> Self {
        self.group = Some(id.into());
        self
    }

    /// Only if the request names this transactional id.
    #[must_use]
    pub fn transaction(mut self, id: impl Into<String>) -> Self {
        self.transaction = Some(id.into());
        self
    }

    /// Only on the connection with this number, from 1 in the order in which they came.
    #[must_use]
    pub const fn connection(mut self, number: u64) -> Self {
        self.connection = Some(number);
        self
    }

    /// Only at the nth time, from 1.
    #[must_use]
    pub const fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// Only at each `every`th time. 0 is taken as 1.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.every = Some(every.max(1));
        self
    }

    /// Not the first `after` times.
    #[must_use]
    pub const fn after(mut self, after: u64) -> Self {
        self.after = Some(after);
        self
    }

    /// What `nth`, `every` and `after` count.
    #[must_use]
    pub const fn per(mut self, per: FaultPer) -> Self {
        self.per = per;
        self
    }

    /// Strikes with this probability, 0.0 to 1.0. Whether the kth time is struck depends on the
    /// listener's seed, on how many faults were pushed before this one, on k, and with
    /// [`FaultPer::Client`] and [`FaultPer::Connection`] on whose count it is; on nothing else.
    #[must_use]
    pub const fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }

    /// Strikes at most this many times.
    #[must_use]
    pub const fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// What happens then.
    #[must_use]
    pub const fn then(self, act: FaultAct) -> WireFault {
        WireFault { occasion: self, act }
    }

    /// Whether a request has to be decoded to know.
    pub(super) const fn has_names(&self) -> bool {
        self.topic.is_some() || self.group.is_some() || self.transaction.is_some()
    }

    /// Whether all that is not counted holds.
    pub(super) fn fits(&self, scene: &Scene<'_>) -> bool {
        let moment = match self.moment {
            FaultMoment::Any => scene.moment != FaultMoment::Connect,
            moment => moment == scene.moment,
        };
        let any = |pattern: &Option<String>, names: &[String]| {
            pattern.as_ref().is_none_or(|pattern| names.iter().any(|name| matches(pattern, name)))
        };
        moment
            && self.node.is_none_or(|node| node == scene.node)
            && self.client.as_ref().is_none_or(|pattern| matches(pattern, scene.client))
            && self.connection.is_none_or(|number| number == scene.connection)
            && any(&self.topic, &scene.subject.topic_names)
            && any(&self.group, &scene.subject.groups)
            && any(&self.transaction, &scene.subject.transactional_ids)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
