//! A Kafka broker in one process, in memory, for clients in any language.
//!
//! ```text
//! broker --listen 127.0.0.1:9092 --topic jobs:6 --topic totals:1:compact
//! broker search --jobs jobs.jsonl --in jobs --out results --promise at-least-once -- python3 app.py
//! ```

mod search;

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::error::ErrorKind as Misuse;
use clap::{CommandFactory as _, Parser, Subcommand};
use jobstream_testkit::broker::{Broker, TopicOptions};
use jobstream_testkit::wire::faults::WireFault;
use tokio::io::{AsyncWriteExt as _, stderr, stdout};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A Kafka broker in memory: what is in it is gone when it ends.
#[derive(Debug, Parser)]
#[command(name = "broker", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    Search(search::Options),
}

/// How the broker is served.
#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen; port 0 is a free one. Clients are told the host as it stands here.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = address)]
    listen: String,
    /// Create a topic with so many partitions; may be repeated.
    #[arg(long, value_name = "NAME:PARTITIONS[:compact]", value_parser = NewTopic::parse)]
    topic: Vec<NewTopic>,
    /// Pretend so many nodes, each with a port of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1, 100))]
    nodes: usize,
    /// Create a topic, with one partition, when a client first asks for it.
    #[arg(long)]
    auto_create: bool,
    /// Drop the oldest batches of a partition that grows larger, unless its topic says otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    retention_bytes: Option<u64>,
    /// Ask clients to log in by SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    sasl: Option<(String, String)>,
    /// Speak TLS, with a certificate made at start.
    #[arg(long)]
    tls: bool,
    /// Where to write the certificate of the CA that signed the broker's.
    #[arg(long, value_name = "FILE", default_value = "broker-ca.pem", requires = "tls")]
    ca: PathBuf,
    /// What goes wrong, one fault a line, such as `produce nth=3 apply-then-disconnect`.
    #[arg(long, value_name = "FILE", value_parser = faults)]
    faults: Option<Faults>,
    /// What faults with a probability are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A topic of the command line.
#[derive(Clone, Debug)]
struct NewTopic {
    name: String,
    partitions: i32,
    is_compacted: bool,
}

impl NewTopic {
    fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected NAME:PARTITIONS or NAME:PARTITIONS:compact";
        const PARTITIONS: std::ops::RangeInclusive<i32> = 1..=10_000;
        let mut words = text.split(':');
        let (Some(name), Some(partitions)) = (words.next(), words.next()) else {
            return Err(EXPECTED.to_owned());
        };
        let is_compacted = match (words.next(), words.next()) {
            (None, _) => false,
            (Some("compact"), None) => true,
            _ => return Err(EXPECTED.to_owned()),
        };
        let name = topic_name(name)?;
        let partitions = partitions.parse().ok().filter(|count| PARTITIONS.contains(count));
        let partitions = partitions.ok_or("expected 1 to 10000 partitions")?;
        Ok(Self { name, partitions, is_compacted })
    }
}

/// Reads a name that Kafka takes for a topic.
fn topic_name(name: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    if matches!(name, "" | "." | "..") || name.len() > 249 || !name.chars().all(legal) {
        return Err(format!(
            "{name:?} is no name of a topic: expected up to 249 of the characters a-z, A-Z, 0-9, \
             '.', '_' and '-'"
        ));
    }
    Ok(name.to_owned())
}

/// Reads a whole number within limits.
fn whole(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("expected a whole number from {min} to {max}"))
    }
}

fn address(text: &str) -> Result<String, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("expected HOST:PORT: {error}"))?;
    found.map(|_| text.to_owned()).next().ok_or_else(|| "the host has no address".to_owned())
}

fn login(text: &str) -> Result<(String, String), String> {
    let named = text.split_once(':').filter(|(user, _)| !user.is_empty());
    let (user, password) = named.ok_or("expected USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

/// The faults of a file.
#[derive(Clone, Debug)]
struct Faults(Vec<WireFault>);

fn faults(file: &str) -> Result<Faults, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    WireFault::parse_script(&text).map(Faults).map_err(|error| error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match &options.command {
        Some(Command::Search(options)) => search::run(options).await,
        None => run(&options.serve).await.map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => {
            // Where not even this can be written, the exit code says it.
            let _ = stderr().write_all(format!("broker: {failure}\n").as_bytes()).await;
            ExitCode::FAILURE
        }
    }
}

/// Ends the program as it ends where an option can't be meant.
fn misused(message: &str) -> ! {
    Options::command().error(Misuse::ValueValidation, message).exit()
}

/// Completes after SIGINT or SIGTERM.
async fn run(options: &Serve) -> Result<(), Failure> {
    // Before anybody knows that it runs, so that none is missed.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let broker = Broker::builder().wall_clock(now_ms).build();
    for topic in &options.topic {
        let plain = TopicOptions::partitions(topic.partitions);
        let settings = if topic.is_compacted { plain.compacted() } else { plain };
        if !broker.create_topic(topic.name.as_str(), settings) {
            misused(&format!("--topic {}: named twice", topic.name));
        }
    }
    let mut builder = broker.listener().nodes(options.nodes).seed(options.seed);
    for fault in options.faults.iter().flat_map(|faults| &faults.0) {
        builder = builder.fault(fault.clone());
    }
    let host = options.listen.rsplit_once(':').map_or("", |(host, _)| host);
    if options.listen.parse::<SocketAddr>().is_err() {
        builder = builder.advertised_host(host);
    }
    if options.auto_create {
        builder = builder.auto_create(1);
    }
    if let Some(bytes) = options.retention_bytes {
        builder = builder.retention_bytes(bytes);
    }
    if let Some((user, password)) = &options.sasl {
        builder = builder.login(user, password);
    }
    if options.tls {
        builder = builder.tls([] as [String; 0]);
    }
    let listener = match builder.listen(&options.listen).await {
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            misused(&format!("--faults: {error}"))
        }
        listened => listened.map_err(|error| format!("--listen {}: {error}", options.listen))?,
    };
    let mut out = stdout();
    let mut say = format!("listening on {}\n", listener.bootstrap());
    if let Some(pem) = listener.ca_pem() {
        let written = tokio::fs::write(&options.ca, pem).await;
        written.map_err(|error| format!("--ca {}: {error}", options.ca.display()))?;
        say += &format!("CA certificate in {}\n", options.ca.display());
    }
    out.write_all(say.as_bytes()).await?;
    out.flush().await?;
    tokio::select! {
        biased;
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    listener.close().await;
    Ok(())
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the program has the machine's clock")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
