//! What every job executor on jobstream has as a service: settings, commands, the ledger's wiring,
//! log lines, metrics, probes, traces, the live page, a drain on SIGTERM.
//!
//! ```text
//!  Service ─▶ settings ─▶ executor ─▶ topology ─▶ main
//!                            │            │
//!  Context ◀─ what it adds ──┘            └──▶ Stages ─▶ decode ─▶ .. ─▶ execute ─▶ encode
//! ```
//!
//! A service is a job type, a job sink, its stages and one `main`:
//!
//! ```no_run
//! # #[cfg(feature = "run")] mod it {
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use jobstream::job::{Job, JobCodec, JobType};
//! use jobstream::record::{ConsumerRecord, Headers};
//! use jobstream::sinks::{JobError, JobSink};
//! use jobstream::topology::Topology;
//! use jobstream_service::{Context, Executor, Failure, Service, Stages, Topics, build_info, jobs};
//!
//! struct Sms;
//!
//! #[async_trait]
//! impl JobSink<Job, ()> for Sms {
//!     async fn execute(&self, job: &Job, _: &ConsumerRecord) -> Result<(), JobError> {
//!         println!("{} is sent", job.id());
//!         Ok(())
//!     }
//! }
//!
//! fn executor((): &(), _: &mut Context) -> Result<Arc<dyn JobSink<Job, ()>>, Failure> {
//!     Ok(Arc::new(Sms))
//! }
//!
//! fn stages(it: Stages, executor: Executor<Job, ()>) -> Topology {
//!     let results = jobs::results(&it.topics().results, &[], |(), _: &mut Headers| {});
//!     it.decode(JobCodec)
//!         .filter(jobs::SKIPPED_STATUS, Job::is_runnable)
//!         .filter(jobs::SKIPPED_TYPE, |job: &Job| job.job_type() == JobType::Sms)
//!         .execute(executor)
//!         .ordered_by(Job::id)
//!         .encode(results)
//! }
//!
//! fn main() -> ExitCode {
//!     Service::new("sms", build_info!())
//!         .about("Takes SMS jobs from Kafka, sends them and reports the results")
//!         .topics(Topics::jobs("topic-job-run"))
//!         .executor(executor)
//!         .topology(stages)
//!         .main()
//! }
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `run` (default) | all of it |
//! | `kafka` | what a process on Kafka needs: its properties, topics, log, metrics and traces |
//! | `outbound` | the module `outbound`: connections to hosts that jobs name |
//! | `job` | [`jobs`]: results, and what a person has decided, of the job topics |
//!
//! Without any there are [`Stages`], the live page, signals, and what web pages share: no
//! librdkafka is built.

#[cfg(feature = "run")]
mod build_info;
#[cfg(feature = "run")]
mod check;
#[cfg(feature = "run")]
mod cli;
#[cfg(feature = "run")]
mod context;
#[cfg(feature = "run")]
mod dead_letters;
#[cfg(feature = "run")]
mod defaults;
mod delivery;
#[cfg(feature = "kafka")]
mod ends;
#[cfg(feature = "kafka")]
mod ensure;
pub mod environment;
mod executor;
mod exit;
mod failure;
#[cfg(feature = "run")]
mod healthcheck;
mod ids;
#[cfg(feature = "job")]
pub mod jobs;
pub mod json_lines;
#[cfg(feature = "kafka")]
mod log;
#[cfg(feature = "run")]
mod manual;
#[cfg(feature = "kafka")]
pub mod metrics;
#[cfg(feature = "kafka")]
mod needs;
#[cfg(feature = "run")]
mod operations;
#[cfg(feature = "outbound")]
pub mod outbound;
pub mod page;
#[cfg(feature = "run")]
mod parked;
mod plain;
#[cfg(feature = "kafka")]
mod process;
#[cfg(feature = "kafka")]
mod report;
#[cfg(feature = "run")]
mod run;
#[cfg(feature = "run")]
mod service;
pub mod settings;
mod signals;
mod stages;
#[cfg(feature = "run")]
mod submit;
mod topics;
#[cfg(feature = "kafka")]
pub mod traces;
pub mod web;

#[cfg(feature = "run")]
pub use build_info::BuildInfo;
#[cfg(feature = "run")]
pub use clap;
#[cfg(feature = "run")]
pub use context::Context;
pub use delivery::Delivery;
#[cfg(feature = "kafka")]
pub use ends::{Ends, EndsError};
#[cfg(feature = "kafka")]
pub use ensure::{EnsureError, ensure_topic};
pub use executor::Executor;
pub use exit::{EXIT_ABORTED, EXIT_FAILURE, EXIT_USAGE, fail};
pub use failure::Failure;
pub use ids::random_id;
#[cfg(feature = "kafka")]
pub use log::{KafkaLog, Log, RunLog, log_to_stdout, start_log};
#[cfg(feature = "kafka")]
pub use needs::{Needs, check};
#[cfg(feature = "kafka")]
pub(crate) use plain::json_line;
pub use plain::{is_plain, one_line, without_addresses};
#[cfg(feature = "kafka")]
pub use process::{Part, Process, Program};
#[cfg(feature = "run")]
pub use service::Service;
#[cfg(feature = "kafka")]
pub use settings::{Accepted, KafkaSettings, PropertyError, accept};
pub use settings::{Address, Settings, SettingsError, Variables};
pub use signals::{SignalError, Signals};
pub use stages::{Decoding, Executes, Stages};
pub use topics::Topics;
