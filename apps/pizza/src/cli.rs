//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use pizza::speed::Speed;

const SETTINGS: &str = "\
Settings come from the environment, then from .env: KAFKA_BROKERS (required, unless --config names
the brokers), any property of librdkafka as KAFKA_SECURITY_PROTOCOL for security.protocol,
INSTANCE_ID, which is unique among live processes and stays the same when one is started again,
LOGLEVEL (ERROR, WARN, INFO, DEBUG or TRACE; INFO unless it is set), LOG_FORMAT (text or json),
METRICS_ADDRESS (ip:port, where /metrics, /healthz and /readyz are served; nowhere unless it is
set), ENVIRONMENT (the label of metrics and of lines in JSON), and OpenTelemetry's variables for
traces, which are off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER is set.";

/// A pizza shop: a web app and four services, chained by Kafka topics.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole shop in this process, with a broker in memory: nothing to install
    Demo(DemoArgs),
    /// Run everything on Kafka, in one terminal
    #[command(after_help = SETTINGS)]
    All(KafkaArgs),
    /// Run the web app
    #[command(after_help = SETTINGS)]
    Webapp(KafkaArgs),
    /// Run the service that assembles pizzas
    #[command(after_help = SETTINGS)]
    Assemble(KafkaArgs),
    /// Run the service that bakes pizzas
    #[command(after_help = SETTINGS)]
    Bake(KafkaArgs),
    /// Run the service that delivers pizzas
    #[command(after_help = SETTINGS)]
    Deliver(KafkaArgs),
    /// Run the service that keeps what the web app shows
    #[command(after_help = SETTINGS)]
    Status(KafkaArgs),
    /// Read the settings, ask Kafka for all that the shop needs, and say what is wrong
    #[command(after_help = SETTINGS)]
    Check(ConfigArgs),
    /// Ask the process with these settings whether it is well, at METRICS_ADDRESS
    Healthcheck(ConfigArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Let everything take one N-th of its time
    #[arg(long, value_name = "N", default_value = "1")]
    speed: NonZeroU32,

    /// Where browsers come
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
}

impl DemoArgs {
    pub(crate) const fn speed(&self) -> Speed {
        Speed::times(self.speed)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The file that the process reads librdkafka's properties from
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KafkaArgs {
    #[command(flatten)]
    pub(crate) shop: DemoArgs,

    /// Read librdkafka's properties from the section [kafka] of this file; they win over settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Keep what became of the orders in this file; web app and status service share it
    #[arg(long, value_name = "FILE", default_value = "pizza.db")]
    pub(crate) orders: PathBuf,

    /// Sign sessions with the key in this file, made if it is missing; without it, sessions end
    /// with the web app
    #[arg(long, value_name = "FILE")]
    pub(crate) session_key: Option<PathBuf>,

    /// Whether browsers come by HTTPS, through a proxy
    #[arg(long)]
    pub(crate) https: bool,

    /// The replicas of topics that are created
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) replicas: i32,

    /// How many of these must have a record before it is acknowledged; that of the brokers unless it is
    /// set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) min_insync_replicas: Option<i32>,
}
