//! The webhook executor: takes webhook jobs from a topic, posts them and reports the results.
//!
//! ```text
//!  WebhookJob ─▶ circuit ─▶ resolve, check, connect ─▶ sign, post ─▶ fate ─▶ Answer
//!                (a host)
//! ```

mod batch;
mod fate;
mod job;
pub mod service;
mod settings;
mod signature;
mod sink;
mod target;
pub mod topology;

pub use fate::Answer;
pub use job::WebhookJob;
pub use settings::WebhookSettings;
pub use signature::Secrets;
pub use sink::Webhook;
