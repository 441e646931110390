//! Draws schedules: what can go wrong, at the moments that a play without faults has shown.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::fault::{Act, Planned, Point};
use super::schedule::Schedule;
use super::stage::Counts;
use crate::random::Random;
use crate::wire::faults::FaultAct;

/// Faults of a schedule, at most.
const FAULTS_MAX: usize = 4;
/// The highest number of a point at which faults are drawn, and how far beyond what was seen.
const NTH_MAX: u64 = 12;
const NTH_BEYOND: u64 = 2;

const RESTARTS_AFTER_MS: [u64; 3] = [0, 100, 400];
const PAUSES_MS: [u64; 4] = [100, 400, 1_300, 4_000];
const STAYS_MS: [u64; 3] = [100, 300, 800];
const SHORT_MS: [u64; 4] = [20, 80, 200, 500];
/// Longer than the 5 s after which clients commit by themselves, so that they do while a job waits.
const LONG_MS: u64 = 6_000;

/// The kinds of faults, each as often as it stands here.
const KINDS: [Kind; 27] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Stop,
    Kind::Stop,
    Kind::Pause,
    Kind::Pause,
    Kind::Error,
    Kind::Error,
    Kind::Error,
    Kind::Cut,
    Kind::Cut,
    Kind::Cut,
    Kind::Silence,
    Kind::Delay,
    Kind::Delay,
    Kind::Expel,
    Kind::Expel,
    Kind::Rebalance,
    Kind::Rebalance,
    Kind::Fence,
    Kind::Cluster,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Stop,
    Pause,
    Error,
    Cut,
    Silence,
    Delay,
    Expel,
    Rebalance,
    /// Of the newest producer, or of a transaction whose time is over.
    Fence,
    /// Leaders and coordinators move, nodes are away.
    Cluster,
}

/// A kind of moment of a member, and how often it came without faults.
type Seen = (usize, Point, u64);

/// What schedules are drawn from.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    seen: Vec<Seen>,
    /// Whether the program commits when it is done, and not now and then.
    commits_at_once: bool,
}

impl Scene {
    pub(super) fn of(calm: &Counts, commits_at_once: bool) -> Self {
        let seen = calm.iter().map(|((member, point), times)| (*member, *point, *times));
        let seen = seen.filter(|(_, point, _)| is_drawn(*point)).collect();
        Self { seen, commits_at_once }
    }

    /// The schedule of a seed.
    pub(super) fn draw(&self, seed: u64) -> Schedule {
        let mut random = Random::seeded(seed);
        let leaves_at_once = random.below(2) == 0;
        let faults = 1 + random.below(FAULTS_MAX);
        let faults = (0..faults).filter_map(|_| self.fault(&mut random)).collect();
        Schedule { seed, leaves_at_once, faults }
    }

    fn fault(&self, random: &mut Random) -> Option<Planned> {
        let kind = KINDS[random.below(KINDS.len())];
        let fits = self.seen.iter().filter(|(_, point, _)| fits(kind, *point));
        let fits: Vec<&Seen> = fits.collect();
        if fits.is_empty() {
            // A program without groups or transactions: something else goes wrong.
            return (!self.seen.is_empty()).then(|| self.fault(random)).flatten();
        }
        let (member, at, times) = *fits[random.below(fits.len())];
        let nth_max = times.min(NTH_MAX) + NTH_BEYOND;
        let nth = 1 + random.below(nth_max as usize) as u64;
        let act = act(kind, at, random);
        let is_long = !self.commits_at_once
            && matches!(kind, Kind::Delay | Kind::Silence)
            && random.below(2) == 0;
        let act = if is_long { act.lasting(|_| Duration::from_millis(LONG_MS)) } else { act };
        Some(Planned { member, at, nth, act })
    }
}

/// What every client asks when it begins says little about its work.
fn is_drawn(point: Point) -> bool {
    !is_api(point, &[ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate])
}

fn is_api(point: Point, keys: &[ApiKey]) -> bool {
    matches!(point, Point::Request(api) if keys.iter().any(|key| *key as i16 == api))
}

/// Whether a fault of this kind can strike there.
fn fits(kind: Kind, point: Point) -> bool {
    const OF_MEMBERS: [ApiKey; 4] = [
        ApiKey::Heartbeat,
        ApiKey::OffsetCommit,
        ApiKey::TxnOffsetCommit,
        ApiKey::ConsumerGroupHeartbeat,
    ];
    const OF_TRANSACTIONS: [ApiKey; 4] = [
        ApiKey::AddPartitionsToTxn,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
    ];
    match kind {
        Kind::Error => matches!(point, Point::Request(api) if !errors(api).is_empty()),
        Kind::Expel => is_api(point, &OF_MEMBERS),
        Kind::Fence => is_api(point, &OF_TRANSACTIONS),
        // Signals and rebalances matter where something is done.
        Kind::Kill | Kind::Stop | Kind::Pause | Kind::Rebalance => {
            !is_api(point, &[ApiKey::Metadata, ApiKey::FindCoordinator])
        }
        Kind::Cut | Kind::Silence | Kind::Delay | Kind::Cluster => true,
    }
}

fn act(kind: Kind, at: Point, random: &mut Random) -> Act {
    let applied = random.below(2) == 0;
    match kind {
        Kind::Kill => Act::Kill { applied, restart_after: one_of(RESTARTS_AFTER_MS, random) },
        Kind::Stop => Act::Stop { restart_after: one_of(RESTARTS_AFTER_MS, random) },
        Kind::Pause => Act::Pause { applied, time: one_of(PAUSES_MS, random) },
        Kind::Silence => Act::Silence { applied, time: one_of(SHORT_MS, random) },
        Kind::Rebalance => Act::Rebalance { stay: one_of(STAYS_MS, random) },
        Kind::Expel => Act::Broker(FaultAct::ExpelMember),
        Kind::Fence if applied => Act::Broker(FaultAct::TimeOutTransaction),
        Kind::Fence => Act::Broker(FaultAct::FenceProducer),
        Kind::Delay => {
            let time = one_of(SHORT_MS, random);
            let delay = if applied { FaultAct::ApplyThenDelay } else { FaultAct::Delay };
            Act::Broker(delay(time))
        }
        Kind::Cut => {
            let cuts = [
                FaultAct::DisconnectBefore,
                FaultAct::DisconnectWithin,
                FaultAct::ApplyThenDisconnect,
            ];
            Act::Broker(cuts[random.below(cuts.len())])
        }
        Kind::Error => {
            let Point::Request(api) = at else { return Act::Broker(FaultAct::DisconnectBefore) };
            let errors = errors(api);
            let (error, after) = errors[random.below(errors.len())];
            Act::Broker(match after && applied {
                // Only a node that coordinates no more answers so.
                _ if error == ResponseError::NotCoordinator => FaultAct::MoveCoordinators,
                _ if error == ResponseError::NotEnoughReplicasAfterAppend => {
                    FaultAct::ApplyThenError(error.code())
                }
                true => FaultAct::ApplyThenError(error.code()),
                false => FaultAct::Error(error.code()),
            })
        }
        Kind::Cluster => match random.below(4) {
            0 => Act::Broker(FaultAct::MoveLeaders),
            1 => Act::Broker(FaultAct::MoveCoordinators),
            2 => Act::Broker(FaultAct::NodeAway(one_of(STAYS_MS, random))),
            _ => Act::Away { time: one_of(STAYS_MS, random) },
        },
    }
}

fn one_of<const N: usize>(times_ms: [u64; N], random: &mut Random) -> Duration {
    Duration::from_millis(times_ms[random.below(N)])
}

/// The errors that a broker answers now and then, and clients retry; and whether it may have done what
/// was asked.
fn errors(api: i16) -> &'static [(ResponseError, bool)] {
    const COORDINATED: &[(ResponseError, bool)] = &[
        (ResponseError::CoordinatorLoadInProgress, false),
        (ResponseError::NotCoordinator, false),
        (ResponseError::CoordinatorNotAvailable, true),
    ];
    const TRANSACTIONAL: &[(ResponseError, bool)] = &[
        (ResponseError::CoordinatorLoadInProgress, false),
        (ResponseError::NotCoordinator, false),
        (ResponseError::ConcurrentTransactions, false),
    ];
    match ApiKey::try_from(api) {
        Ok(ApiKey::Produce) => &[
            (ResponseError::NotLeaderOrFollower, false),
            (ResponseError::NotEnoughReplicas, false),
            (ResponseError::NotEnoughReplicasAfterAppend, true),
            (ResponseError::RequestTimedOut, true),
        ],
        Ok(ApiKey::Fetch | ApiKey::ListOffsets) => &[(ResponseError::NotLeaderOrFollower, false)],
        Ok(ApiKey::OffsetCommit | ApiKey::TxnOffsetCommit) => COORDINATED,
        Ok(ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat) => COORDINATED,
        Ok(ApiKey::OffsetFetch) => &[
            (ResponseError::CoordinatorLoadInProgress, false),
            (ResponseError::NotCoordinator, false),
        ],
        Ok(ApiKey::FindCoordinator) => &[(ResponseError::CoordinatorNotAvailable, false)],
        Ok(ApiKey::InitProducerId | ApiKey::AddOffsetsToTxn | ApiKey::EndTxn) => TRANSACTIONAL,
        Ok(ApiKey::AddPartitionsToTxn) => TRANSACTIONAL,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scene() -> Scene {
        let apis = [0, 1, 3, 8, 10, 11, 12, 18, 22, 24, 26, 28].map(Point::Request);
        let points = apis.into_iter().chain([Point::Record, Point::Commit]);
        Scene::of(&points.map(|point| ((0, point), 5)).collect(), true)
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let mut words = BTreeSet::new();
        let mut leaves = BTreeSet::new();
        for seed in 0..2_000 {
            let schedule = scene().draw(seed);
            leaves.insert(schedule.leaves_at_once);
            for planned in schedule.faults {
                let text = planned.act.to_string();
                words.insert(text.split(' ').next().unwrap().to_owned());
            }
        }
        let expected = [
            "apply-then-delay",
            "apply-then-disconnect",
            "apply-then-error",
            "apply-then-kill",
            "apply-then-pause",
            "apply-then-silence",
            "away",
            "delay",
            "disconnect-before",
            "disconnect-within",
            "error",
            "expel-member",
            "fence-producer",
            "kill",
            "move-coordinators",
            "move-leaders",
            "node-away",
            "pause",
            "rebalance",
            "silence",
            "stop",
            "time-out-transaction",
        ];
        assert_eq!(words, expected.map(str::to_owned).into());
        assert_eq!(leaves.len(), 2);
    }

    #[test]
    fn a_seed_means_the_same_schedule() {
        assert_eq!(scene().draw(7), scene().draw(7));
        assert_ne!(scene().draw(7), scene().draw(8));
    }

    #[test]
    fn nothing_is_drawn_for_a_program_that_has_asked_nothing() {
        assert_eq!(Scene::of(&Counts::new(), true).draw(1).faults, []);
    }

    #[test]
    fn a_request_waits_until_a_client_that_commits_now_and_then_has_committed() {
        let (at_once, mut now_and_then) = (scene(), scene());
        now_and_then.commits_at_once = false;
        let is_long = |scene: &Scene| {
            let faults = (0..500).flat_map(|seed| scene.draw(seed).faults);
            let delay = Act::Broker(FaultAct::Delay(Duration::from_millis(LONG_MS)));
            faults.filter(|planned| planned.act == delay).count() > 0
        };
        assert!(is_long(&now_and_then) && !is_long(&at_once));
    }
}
