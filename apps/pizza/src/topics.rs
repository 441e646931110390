//! The topics that the services and the web app share; the key of every record is the order's id.

/// Orders, from the web app.
pub const ORDERED: &str = "pizza-ordered";
/// Pizzas that are ready for the oven.
pub const ASSEMBLED: &str = "pizza-assembled";
/// Pizzas that are ready for their delivery.
pub const BAKED: &str = "pizza-baked";
/// What has become of an order.
pub const STATUS: &str = "pizza-status";
/// What no service can read.
pub const DEAD_LETTER: &str = "pizza-dead-letter";
/// What assemble remembers: compacted, with as many partitions as the topic it consumes.
pub const ASSEMBLIES: &str = "pizza-assemblies";
/// What deliver remembers: compacted, with as many partitions as the topics it consumes.
pub const DELIVERIES: &str = "pizza-deliveries";

/// The partitions of each topic.
pub const PARTITIONS: i32 = 6;

/// All of them.
pub const ALL: [&str; 7] = [ORDERED, ASSEMBLED, BAKED, STATUS, DEAD_LETTER, ASSEMBLIES, DELIVERIES];

/// Whether a service remembers on this topic: it is compacted.
pub fn is_memory(topic: &str) -> bool {
    [ASSEMBLIES, DELIVERIES].contains(&topic)
}
