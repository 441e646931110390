//! Orders, some of which are published twice, and how their records are known.

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use pizza::customer_id::CustomerId;
use pizza::menu;
use pizza::order::{Order, OrderEvent};
use pizza::order_id::OrderId;
use pizza::topics;

/// The timestamp of an order that is published again.
const AGAIN: i64 = 1;

/// The orders of a run: which pizzas, for whom and under which ids is a function of the seed.
pub(crate) fn orders(seed: u64, count: u64) -> Vec<(OrderId, Order)> {
    let number = |index| (seed * 31 + index * 7_919) as usize;
    (0..count).map(|index| (id(number(index)), order(number(index)))).collect()
}

fn id(number: usize) -> OrderId {
    OrderId::from_bits(number as u32)
}

fn order(number: usize) -> Order {
    let name = format!("Customer {}", number % 5);
    Order {
        extra_toppings: menu::EXTRA_TOPPINGS[..number % 4].iter().map(|&t| t.to_owned()).collect(),
        customer_id: CustomerId::of(&name),
        name,
        sauce: menu::SAUCES[number % 6].to_owned(),
        cheese: menu::CHEESES[number / 6 % 6].to_owned(),
        main_topping: menu::MAIN_TOPPINGS[number / 36 % 6].to_owned(),
    }
}

/// Their records. Every third is published again, as a web app does that has not lived to write
/// down that it was.
pub(crate) fn records(seed: u64, count: u64) -> Vec<ProducerRecord> {
    let mut records = Vec::new();
    for (index, (id, order)) in orders(seed, count).into_iter().enumerate() {
        records.push(record(id, &order, 0));
        if index % 3 == 2 {
            records.push(record(id, &order, AGAIN));
        }
    }
    records
}

fn record(id: OrderId, order: &Order, timestamp: i64) -> ProducerRecord {
    let event = serde_json::to_string(&OrderEvent::new(order.clone(), timestamp)).unwrap();
    ProducerRecord::to(topics::ORDERED).key(id.as_str().to_owned()).value(event)
}

fn is_again(record: &ConsumerRecord) -> bool {
    let event = serde_json::from_slice::<OrderEvent>(record.value.as_deref().unwrap_or_default());
    event.is_ok_and(|event| event.timestamp == AGAIN)
}

/// Assemble makes one output of each order, and none of one that comes again.
pub(crate) fn assembled(record: &ConsumerRecord) -> Option<Bytes> {
    match &*record.partition.topic {
        topics::ORDERED if !is_again(record) => record.key.clone(),
        topics::ASSEMBLED => record.key.clone(),
        _ => None,
    }
}

/// Bake makes one output of each pizza.
pub(crate) fn baked(record: &ConsumerRecord) -> Option<Bytes> {
    let is_its_own = [topics::ASSEMBLED, topics::BAKED].contains(&&*record.partition.topic);
    record.key.clone().filter(|_| is_its_own)
}

/// Which of its two records of an order deliver makes an output of depends on which comes first.
pub(crate) fn none(_: &ConsumerRecord) -> Option<Bytes> {
    None
}
