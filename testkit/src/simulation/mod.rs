//! Simulation: searches for a schedule of faults that breaks a promise of a job executor.
//!
//! ```text
//!            seed ──▶ schedule of faults ──┐
//!                                          ▼
//!  workload ──▶ broker ──▶ members, polled one at a time ──▶ outputs, commits, effects
//!                                          │                          │
//!                                          ▼                          ▼
//!                                       history ──▶ invariants ──▶ report, or what is broken
//! ```
//!
//! The members run the topology that ships, on the in-memory [`Broker`](crate::broker::Broker).
//! Every effect (each operation of the broker, each execution, whatever else is declared as one)
//! yields once before and once after it happens. A seeded scheduler polls the actors that are
//! ready, one at a time; a crash drops a member's future where it stands. Tokio's clock stands
//! still while any actor is ready. So a run is a function of its seed and its schedule, and a
//! failure can be replayed at will.
//!
//! A search takes a topology for each life of a member, the jobs, and what must hold:
//!
//! ```
//! use jobstream::codec::Json;
//! use jobstream::record::{ConsumerRecord, ProducerRecord};
//! use jobstream::sinks::{JobError, JobSink};
//! use jobstream::topology::{Executed, Topology};
//! use jobstream_testkit::simulation::{Member, Search};
//!
//! struct Double;
//!
//! #[async_trait::async_trait]
//! impl JobSink<u32, u32> for Double {
//!     async fn execute(&self, number: &u32, _: &ConsumerRecord) -> Result<u32, JobError> {
//!         Ok(number * 2)
//!     }
//! }
//!
//! let report = Search::new(|member: &Member| {
//!     Topology::builder("dead-letters")
//!         .decode(Json::<u32>::new())
//!         .execute(member.watched(Double))
//!         .encode(|_: &ConsumerRecord, executed: Executed<u32, u32>| {
//!             let input = executed.input.to_string();
//!             Ok(vec![ProducerRecord::to("doubled").key(input).value("done")])
//!         })
//! })
//! .workload("numbers", 2, |_| (0..10).map(number).collect())
//! .outputs("doubled", 2)
//! .outputs("dead-letters", 1)
//! .identified_by(|record| record.key.clone())
//! .schedules(20)
//! .run()
//! .unwrap_or_else(|broken| panic!("{broken}"));
//! assert_eq!(report.schedules, 20);
//!
//! fn number(number: u32) -> ProducerRecord {
//!     ProducerRecord::to("numbers").key(number.to_string()).value(number.to_string())
//! }
//! ```
//!
//! Every search also checks the promises of jobstream that hold for any job sink, see
//! [`invariants`]. After the faults comes a time without faults, in which everything must come to
//! rest.

mod actor;
mod cast;
mod commits;
mod cores;
mod fault;
mod group;
mod history;
mod input;
pub mod invariants;
mod lives;
mod lost;
mod member;
mod reopened;
mod replaced;
mod report;
mod run;
mod scene;
mod schedule;
mod scheduler;
mod search;
mod setup;
mod slot;
mod stream;
mod trial;
mod workload;
mod world;
mod zombies;

pub use cores::on_every_core;
pub use fault::{Fault, ForeignOffset, Planned, Trigger};
pub use group::{Delivery, Group};
pub use history::{Commit, GroupHistory, History, Identity, Occurrence, Place, What, Who};
pub use lives::NewLife;
pub use lost::Lost;
pub use member::Member;
pub use reopened::{ForeignCommit, Reopened};
pub use report::{Broken, Report};
pub use schedule::Schedule;
pub use scheduler::{BETWEEN_EFFECTS, Crashes};
pub use search::Search;
pub use stream::SmtpStream;
pub use world::{Effect, World, effect_of};
pub use zombies::Zombies;
