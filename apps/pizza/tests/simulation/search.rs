//! The search over the chain of services.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use jobstream::record::ConsumerRecord;
use jobstream_testkit::simulation::{Broken, Delivery, Group, Member, Report, Search};
use pizza::clock::{self, WallClock};
use pizza::orders::InMemoryOrders;
use pizza::services::{self, Service, assemble, bake, deliver, status};
use pizza::speed::Speed;
use pizza::topics;

use crate::invariants::{
    every_order_is_delivered, no_dead_letter, nothing_goes_back, nothing_is_baked_twice,
};
use crate::orders::{assembled, baked, none, records};
use crate::shop::Shop;

/// An order takes less than the time between two commits, so that much is repeated after a crash.
const SPEED: Speed = Speed::times(NonZeroU32::new(50).unwrap());

/// So many orders a schedule, and so many members of each service.
pub(crate) fn search(count: u64, members: usize) -> Search<Shop> {
    let nobody = Arc::new(InMemoryOrders::new());
    let groups = [
        group(&assemble::service(SPEED), |_| assemble::service(SPEED), assembled),
        group(&bake::service(SPEED), |_| bake::service(SPEED), baked),
        group(&deliver::service(SPEED), |_| deliver::service(SPEED), none),
        group(&status::service(nobody, clock::system(), SPEED), status, none),
    ];
    let groups = groups.map(|group| group.members(members));
    Search::chain(move |world| Shop::open(world, count), groups)
        .workload(topics::ORDERED, topics::PARTITIONS, move |seed| records(seed, count))
        .outputs(topics::ASSEMBLED, topics::PARTITIONS)
        .outputs(topics::BAKED, topics::PARTITIONS)
        .outputs(topics::STATUS, topics::PARTITIONS)
        .outputs(topics::DEAD_LETTER, topics::PARTITIONS)
        .invariant("every order is delivered", every_order_is_delivered)
        .invariant("nothing is baked twice", nothing_is_baked_twice)
        .invariant("nothing goes back", nothing_goes_back)
        .invariant("no dead letter", no_dead_letter)
        .seed(first_seed())
}

/// A group, as its service says that it is to be run.
fn group(
    shown: &Service,
    service: fn(&Member<Shop>) -> Service,
    identity: fn(&ConsumerRecord) -> Option<Bytes>,
) -> Group<Shop> {
    let delivery = match shown.delivery {
        services::Delivery::ExactlyOnce => Delivery::ExactlyOnce,
        services::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
    };
    let topology = move |member: &Member<Shop>| service(member).topology().clone();
    let group = Group::new(shown.group, shown.consumes.iter().copied(), topology);
    let group = group.delivery(delivery).identified_by(identity);
    match shown.remembers {
        Some(topic) => group.state(topic),
        None => group,
    }
}

fn status(member: &Member<Shop>) -> Service {
    let world = member.world().clone();
    let clock: WallClock = Arc::new(move || world.wall_clock());
    status::service(member.outside().orders.clone(), clock, SPEED)
}

/// Schedules in a test; `SIMULATION_SCHEDULES` sets another number.
pub(crate) fn schedules(default: u64) -> u64 {
    number("SIMULATION_SCHEDULES").unwrap_or(default)
}

/// The seed of the first schedule; `SIMULATION_SEED` sets it.
pub(crate) fn first_seed() -> u64 {
    number("SIMULATION_SEED").unwrap_or(0)
}

fn number(variable: &str) -> Option<u64> {
    let set = std::env::var(variable).ok()?;
    Some(set.parse().unwrap_or_else(|_| panic!("{variable}: found {set:?}, expected a number")))
}

pub(crate) fn passes(searched: Result<Report, Box<Broken>>) -> Report {
    let report = searched.unwrap_or_else(|broken| panic!("{broken}"));
    println!("{report}");
    report
}
