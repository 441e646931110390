//! What every store of orders promises, and what SQLite promises beyond it.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod model;
mod promises;
mod sqlite;

use jobstream::record::Timestamp;
use pizza::customer_id::CustomerId;
use pizza::order::Order;
use pizza::order_id::OrderId;

/// The time at which the orders of the tests begin, in milliseconds since 1970.
const START: Timestamp = 1_676_235_639_159;

fn id(bits: u32) -> OrderId {
    OrderId::from_bits(bits)
}

fn order_of(name: &str) -> Order {
    Order {
        extra_toppings: vec!["Mushroom".to_owned(), "Egg".to_owned()],
        customer_id: CustomerId::of(name),
        name: name.to_owned(),
        sauce: "Tomato".to_owned(),
        cheese: "Mozzarella".to_owned(),
        main_topping: "Pepperoni".to_owned(),
    }
}
