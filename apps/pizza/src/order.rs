//! An order, and how long each step of it takes.

use std::time::Duration;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::customer_id::CustomerId;
use crate::status::Status;

/// What a customer has ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Any of [`EXTRA_TOPPINGS`](crate::menu::EXTRA_TOPPINGS), in the order of their choice.
    pub extra_toppings: Vec<String>,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// The customer's name.
    pub name: String,
    /// One of [`SAUCES`](crate::menu::SAUCES).
    pub sauce: String,
    /// One of [`CHEESES`](crate::menu::CHEESES).
    pub cheese: String,
    /// One of [`MAIN_TOPPINGS`](crate::menu::MAIN_TOPPINGS).
    pub main_topping: String,
}

/// The value of a record of [`ORDERED`](crate::topics::ORDERED).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// [`Status::ORDERED`].
    pub status: Status,
    /// When it was ordered, in milliseconds since 1970.
    pub timestamp: i64,
    /// The order.
    pub order: Order,
}

impl OrderEvent {
    /// The event of an order that was made at that time, in milliseconds since 1970.
    pub const fn new(order: Order, timestamp: i64) -> Self {
        Self { status: Status::ORDERED, timestamp, order }
    }
}

impl Order {
    /// What the times of assembling and baking depend on: equal pizzas have equal ones.
    fn seed(&self) -> u16 {
        let Self { sauce, cheese, main_topping, .. } = self;
        let pizza = format!("{sauce}@{cheese}@{}@{main_topping}", self.extra_toppings.join(","));
        let digest: [u8; 16] = Md5::digest(pizza).into();
        u16::from_be_bytes([digest[14], digest[15]])
    }

    /// How long it takes to assemble the pizza: 2 to 6 s.
    pub fn assembling_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.seed() % 5) + 2)
    }

    /// How long the pizza is in the oven: 10 to 19 s.
    pub fn baking_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.seed() % 10) + 10)
    }
}

impl CustomerId {
    /// How long it takes to deliver a pizza to the customer: 5 to 14 s.
    pub fn delivery_time(&self) -> Duration {
        Duration::from_secs((self.number() % 10) as u64 + 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"status":100,"timestamp":1676235639159,"order":{"extra_toppings":
        ["Mushroom","Black olives","Green pepper"],"customer_id":"d94a6c43d9f487c1bef659f05c002213",
        "name":"Italo","sauce":"Tomato","cheese":"Mozzarella","main_topping":"Pepperoni"}}"#;

    #[test]
    fn the_example_takes_4_17_and_10_seconds() {
        let OrderEvent { order, .. } = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(order.assembling_time(), Duration::from_secs(4));
        assert_eq!(order.baking_time(), Duration::from_secs(17));
        assert_eq!(order.customer_id.delivery_time(), Duration::from_secs(10));
    }

    #[test]
    fn an_event_is_written_as_it_is_read() {
        let event: OrderEvent = serde_json::from_str(EXAMPLE).unwrap();
        let expected: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        assert_eq!(OrderEvent::new(event.order.clone(), event.timestamp), event);
    }

    #[test]
    fn an_order_without_extras_has_a_seed_too() {
        let event: OrderEvent = serde_json::from_str(EXAMPLE).unwrap();
        let order = Order { extra_toppings: Vec::new(), ..event.order };
        // The MD5 of `Tomato@Mozzarella@@Pepperoni` ends with these digits.
        assert_eq!(order.seed(), 0xbf00);
    }
}
