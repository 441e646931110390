//! The pizza shop: four services chained by Kafka topics, and a web app.

pub mod clock;
pub mod customer_id;
pub mod in_memory;
pub mod ini;
pub mod log;
pub mod menu;
pub mod order;
pub mod order_id;
pub mod orders;
pub mod services;
pub mod speed;
pub mod status;
pub mod topics;
pub mod web;
