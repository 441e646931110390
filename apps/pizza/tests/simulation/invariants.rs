//! What must hold of orders, beside what must hold of any job.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use jobstream_testkit::simulation::History;
use pizza::order_id::OrderId;
use pizza::orders::Orders as _;
use pizza::status::Status;
use pizza::topics;

use crate::shop::Shop;

/// The orders that were lost before assemble or deliver has worked on them, and the others.
fn by_loss(history: &History) -> [Vec<OrderId>; 2] {
    let mut orders: BTreeMap<OrderId, bool> = BTreeMap::new();
    for group in &history.groups {
        let lost = history.lost(group);
        for input in &group.inputs {
            let id = OrderId::try_from(input.key.as_deref().unwrap()).unwrap();
            *orders.entry(id).or_default() |= lost.contains(input);
        }
    }
    let (lost, whole): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(_, is_lost)| *is_lost);
    [lost, whole].map(|orders| orders.into_iter().map(|(id, _)| id).collect())
}

/// In the end the read model shows every order as delivered.
pub(crate) fn every_order_is_delivered(history: &History, shop: &Shop) -> Result<(), String> {
    let [_, whole] = by_loss(history);
    for id in whole {
        let order = shop.orders.get(id).now_or_never().expect("it is in memory").unwrap();
        let status = order.map(|order| order.track.progress.status);
        if status != Some(Status::DELIVERED) {
            return Err(format!("order {id}: found {status:?}, expected it to be delivered"));
        }
    }
    Ok(())
}

/// A `read_committed` reader sees every pizza go into the oven, come out of it, and be delivered
/// once, whatever was ordered twice.
pub(crate) fn nothing_is_baked_twice(history: &History, _: &Shop) -> Result<(), String> {
    let [lost, whole] = by_loss(history);
    let told = |status: Status| format!(r#"{{"status":{}}}"#, status.code());
    let steps = [
        (topics::ASSEMBLED, String::new()),
        (topics::BAKED, String::new()),
        (topics::STATUS, told(Status::IN_THE_OVEN)),
        (topics::STATUS, told(Status::OUT_FOR_DELIVERY)),
        (topics::STATUS, told(Status::DELIVERED)),
    ];
    for (topic, value) in steps {
        let found = counts(history, topic, &value);
        let of = |id: &OrderId| found.get(id).copied().unwrap_or_default();
        let wrong = whole.iter().find(|id| of(id) != 1).or(lost.iter().find(|id| of(id) > 1));
        if let Some(id) = wrong {
            let found = of(id);
            return Err(format!("order {id}: found {found} records {topic} {value}, expected 1"));
        }
    }
    Ok(())
}

fn counts(history: &History, topic: &str, value: &str) -> BTreeMap<OrderId, usize> {
    let mut counts = BTreeMap::new();
    for record in &history.outputs[topic] {
        let is_it = record.value.as_deref().unwrap_or_default() == value.as_bytes();
        let id = OrderId::try_from(record.key.as_deref().unwrap()).unwrap();
        *counts.entry(id).or_default() += usize::from(value.is_empty() || is_it);
    }
    counts
}

/// A page never shows an order further back than it did before.
pub(crate) fn nothing_goes_back(_: &History, shop: &Shop) -> Result<(), String> {
    const WAY: [Status; 5] = [
        Status::ORDERED,
        Status::IN_THE_OVEN,
        Status::OUT_FOR_DELIVERY,
        Status::PENDING,
        Status::DELIVERED,
    ];
    for (id, shown) in shop.follower.shown() {
        let steps = shown.iter().filter_map(|status| WAY.iter().position(|step| step == status));
        if !steps.is_sorted() {
            return Err(format!("order {id} was shown as {shown:?}, one after another"));
        }
    }
    Ok(())
}

/// Every record can be read.
pub(crate) fn no_dead_letter(history: &History, _: &Shop) -> Result<(), String> {
    match history.outputs[topics::DEAD_LETTER].first() {
        None => Ok(()),
        Some(letter) => Err(format!("found {letter:?}, expected no dead letter")),
    }
}
