//! Whatever crashes or is terminated, at whatever point: every order is delivered once, and no
//! pizza is baked twice.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{FutureExt as _, join_all};
use jobstream_testkit::broker::Broker;
use pizza::customer_id::CustomerId;
use pizza::order::Order;
use pizza::order_id::OrderId;
use pizza::services::Service;
use pizza::status::Status;
use pizza::{in_memory, menu, topics};
use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use crate::shop::{Shop, crash_at, example, id, web_app};

/// More than a shop needs that is often interrupted, on the paused clock.
const LIMIT: Duration = Duration::from_secs(3_600);

/// How an instance of a service ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Killed at a poll of its run.
    Crash(usize),
    /// Asked to end after some time, in milliseconds.
    Termination(u64),
}

/// Runs a service again and again, each time to one of the ends, and then on and on.
async fn keep_running(shop: &Shop, service: &Service, ends: &[End]) {
    for end in ends {
        let worker = in_memory::worker(&shop.broker, service, "1");
        match *end {
            End::Crash(polls) => {
                let run = async { drop(service.run(worker, pending()).await) };
                let ended = crash_at(polls, run.boxed()).await;
                assert!(!ended, "nobody asked it to end");
                shop.interruptions.fetch_add(1, Ordering::Relaxed);
            }
            End::Termination(after) => {
                let run = service.run(worker, sleep(Duration::from_millis(after)));
                run.await.expect("a termination is no error");
            }
        }
        let members = shop.broker.members(service.group);
        members.iter().for_each(|member| shop.broker.expire(*member));
    }
    let worker = in_memory::worker(&shop.broker, service, "1");
    service.run(worker, pending()).await.expect("a run without end");
}

/// Runs a web app again and again, each time to one of the ends, and then on and on.
async fn keep_open(shop: &Shop, ends: &[End]) {
    for end in ends {
        match *end {
            End::Crash(polls) => {
                let run = async { drop(web_app(shop, pending()).await) };
                assert!(!crash_at(polls, run.boxed()).await, "nobody asked it to end");
            }
            End::Termination(after) => {
                let run = web_app(shop, sleep(Duration::from_millis(after)));
                run.await.expect("a termination is no error");
            }
        }
    }
    web_app(shop, pending()).await.expect("a run without end");
}

/// How the services end, and the web apps, of which there are two.
#[derive(Clone, Debug, Default)]
struct Ends {
    services: [Vec<End>; 4],
    web_apps: [Vec<End>; 2],
}

/// Stores the orders, of which a web app has published some before it crashed, and has them
/// delivered.
async fn deliver_all(shop: &Shop, orders: &BTreeMap<OrderId, Order>, ends: &Ends) {
    let services = shop.services();
    let runs = services.iter().zip(&ends.services);
    let runs = runs.map(|(service, ends)| keep_running(shop, service, ends));
    let web_apps = ends.web_apps.iter().map(|ends| keep_open(shop, ends));
    let ids: Vec<_> = orders.keys().copied().collect();
    let ordered = async {
        for (index, (id, order)) in orders.iter().enumerate() {
            match index % 3 {
                0 => shop.order(*id, order).await,
                1 => shop.store(*id, order).await,
                _ => {
                    shop.store(*id, order).await;
                    shop.send(*id, order);
                }
            }
            // Whoever has to publish it has done so.
            shop.broker.until(|_| shop.records(topics::ORDERED).len() > index).await;
        }
        shop.all_are(&ids, Status::DELIVERED).await;
    };
    tokio::select! {
        biased;
        _ = join_all(runs) => unreachable!("it runs on and on"),
        _ = join_all(web_apps) => unreachable!("it runs on and on"),
        delivered = timeout(LIMIT, ordered) => delivered.expect("every order is delivered"),
    }
}

/// Of each order, how many events of a topic a `read_committed` reader sees that hold a text.
fn counts(shop: &Shop, topic: &str, text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, _, key, value) in shop.events(topic) {
        *counts.entry(key).or_default() += usize::from(value.contains(text));
    }
    counts
}

fn assert_once(shop: &Shop, orders: &BTreeMap<OrderId, Order>) {
    let once: BTreeMap<_, _> = orders.keys().map(|id| (id.to_string(), 1)).collect();
    assert_eq!(counts(shop, topics::ASSEMBLED, "baking_time"), once);
    assert_eq!(counts(shop, topics::BAKED, "null"), once);
    for status in [200, 300, 400] {
        assert_eq!(counts(shop, topics::STATUS, &format!(r#":{status}}}"#)), once, "{status}");
    }
    assert!(shop.records(topics::DEAD_LETTER).is_empty());
}

fn order() -> impl Strategy<Value = Order> {
    let one_of = |menu: [&'static str; 6]| prop::sample::select(menu.to_vec());
    let extras = prop::sample::subsequence(menu::EXTRA_TOPPINGS.to_vec(), 0..=6);
    let pizza = (one_of(menu::SAUCES), one_of(menu::CHEESES), one_of(menu::MAIN_TOPPINGS), extras);
    (pizza, "[A-Z][a-z]{0,8}").prop_map(|((sauce, cheese, main_topping, extras), name)| Order {
        extra_toppings: extras.into_iter().map(str::to_owned).collect(),
        customer_id: CustomerId::of(&name),
        name,
        sauce: sauce.to_owned(),
        cheese: cheese.to_owned(),
        main_topping: main_topping.to_owned(),
    })
}

fn ends() -> impl Strategy<Value = Vec<End>> {
    let end = prop_oneof![
        (0_usize..200).prop_map(End::Crash),
        (0_u64..40_000).prop_map(End::Termination),
    ];
    prop::collection::vec(end, 0..4)
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_crashes_or_ends_every_order_is_delivered_once_and_baked_once(
        orders in prop::collection::btree_map(
            (0_u32..1 << 20).prop_map(OrderId::from_bits), order(), 1..8),
        services in [ends(), ends(), ends(), ends()],
        web_apps in [ends(), ends()],
    ) {
        run(async {
            let shop = Shop::with(Broker::builder().yielding());
            deliver_all(&shop, &orders, &Ends { services, web_apps }).await;
            assert_once(&shop, &orders);
        });
    }
}

/// A crash at every third poll of a service's run, until one that it does not come to.
async fn crash_everywhere(which: usize) {
    let orders = BTreeMap::from([(id("3c91b"), example()), (id("00001"), example())]);
    for poll in (0..).step_by(3) {
        let shop = Shop::with(Broker::builder().yielding());
        let mut ends = Ends::default();
        ends.services[which].push(End::Crash(poll));
        deliver_all(&shop, &orders, &ends).await;
        assert_once(&shop, &orders);
        if shop.interruptions.load(Ordering::Relaxed) == 0 {
            assert!(poll > 60, "found {poll} polls, expected one at every effect at least");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_assemble_at_any_point_bakes_nothing_twice() {
    crash_everywhere(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_bake_at_any_point_bakes_nothing_twice() {
    crash_everywhere(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_deliver_at_any_point_forgets_no_customer() {
    crash_everywhere(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_status_at_any_point_loses_no_progress() {
    crash_everywhere(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_termination_of_everything_at_any_second_loses_nothing() {
    let orders = BTreeMap::from([(id("3c91b"), example()), (id("00001"), example())]);
    for second in 0..36 {
        let shop = Shop::with(Broker::builder().yielding());
        let ends = || vec![End::Termination(second * 1_000)];
        let services = std::array::from_fn(|_| ends());
        let web_apps = std::array::from_fn(|_| ends());
        deliver_all(&shop, &orders, &Ends { services, web_apps }).await;
        assert_once(&shop, &orders);
    }
}
