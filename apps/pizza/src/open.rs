//! Opens the shop, or a component of it, on Kafka.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use jobstream::kafka::{NewTopic, TopicState};
use jobstream::sinks::kafka::KafkaSink;
use jobstream_service::metrics::Told;
use jobstream_service::settings::ProcessSettings;
use jobstream_service::traces::Traces;
use jobstream_service::{
    Failure, KafkaSettings, Needs, Part, Process, Program, SettingsError, Variables, ensure_topic,
    environment,
};
use pizza::clock::{self, WallClock};
use pizza::orders::{Orders, SqliteOrders};
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::web::{self, Random, SessionKey, Surroundings};
use pizza::{ini, topics};
use tokio::net::TcpListener;

use crate::cli::KafkaArgs;
use crate::shop::{Shop, WebApp};

/// The longest that a browser waits for the broker's acknowledgement.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How old an order of another process must be to be published by this one.
const SETTLED_AFTER: Duration = Duration::from_secs(15);

/// The components of the shop: the web app and the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    WebApp,
    Assemble,
    Bake,
    Deliver,
    Status,
}

impl Component {
    /// What of the process it is.
    const fn part(&self) -> Part<'static> {
        let (name, group) = match self {
            Self::WebApp => (web::SERVICE, None),
            Self::Assemble => (assemble::NAME, Some(assemble::GROUP)),
            Self::Bake => (bake::NAME, Some(bake::GROUP)),
            Self::Deliver => (deliver::NAME, Some(deliver::GROUP)),
            Self::Status => (status::NAME, Some(status::GROUP)),
        };
        Part { name, group }
    }
}

/// Every component.
pub(crate) const ALL: [Component; 5] = [
    Component::WebApp,
    Component::Assemble,
    Component::Bake,
    Component::Deliver,
    Component::Status,
];

/// The process that these components share, and what serves its metrics and health.
///
/// # Errors
/// If it can't be.
pub(crate) fn process(
    components: &[Component],
    settings: ProcessSettings,
) -> Result<(Process, Option<Told>), Failure> {
    let parts: Vec<_> = components.iter().map(Component::part).collect();
    let program = Program { name: "pizza", version: env!("CARGO_PKG_VERSION"), parts: &parts };
    Process::new(program, settings, [])
}

/// Parts of the shop, between their ends on Kafka; completes when the topics are there.
///
/// # Errors
/// If something that no time mends is in the way.
pub(crate) async fn open(
    components: &[Component],
    args: &KafkaArgs,
    process: &Process,
) -> Result<Shop, Failure> {
    // Before anything else: a port that is taken is said at once.
    let listener = match components.contains(&Component::WebApp) {
        true => Some(listen(args.shop.listen).await?),
        false => None,
    };
    let has_orders = components
        .iter()
        .any(|component| matches!(component, Component::WebApp | Component::Status));
    let orders: Option<Arc<dyn Orders>> = match has_orders {
        true => Some(Arc::new(SqliteOrders::open(&args.orders).map_err(Failure::new)?)),
        false => None,
    };
    create_topics(process, args).await?;
    let mut shop = Shop::default();
    for service in
        components.iter().filter_map(|component| service(*component, args, orders.as_ref()))
    {
        shop.services.push(service.on_kafka(process).await?);
    }
    if let (Some(listener), Some(orders)) = (listener, orders) {
        shop.web_app = Some(web_app(listener, orders, process, args)?);
    }
    Ok(shop)
}

/// Creates the topics that are missing; waits for brokers that can't be reached.
///
/// # Errors
/// If the brokers refuse, or a topic has another number of partitions than an order has on all.
async fn create_topics(process: &Process, args: &KafkaArgs) -> Result<(), Failure> {
    let (client, replicas) = (process.topics()?, args.replicas);
    for name in topics::ALL {
        let topic = match topics::is_memory(name) {
            true => NewTopic::compacted(name, topics::PARTITIONS, replicas),
            false => {
                let (name, partitions) = (name.into(), topics::PARTITIONS);
                NewTopic { name, partitions, replicas, settings: Vec::new() }
            }
        };
        let topic = match args.min_insync_replicas {
            Some(replicas) => topic.min_insync_replicas(replicas),
            None => topic,
        };
        let state = ensure_topic(&client, &topic, true, process.log()).await?;
        if let TopicState::Existed { partitions: found } = state
            && found != topics::PARTITIONS as usize
        {
            return Err(Failure::new(format!(
                "Kafka: topic '{name}': found {found} partitions, expected {}",
                topics::PARTITIONS
            )));
        }
    }
    Ok(())
}

fn service(
    component: Component,
    args: &KafkaArgs,
    orders: Option<&Arc<dyn Orders>>,
) -> Option<Service> {
    let speed = args.shop.speed();
    match component {
        Component::WebApp => None,
        Component::Assemble => Some(assemble::service(speed)),
        Component::Bake => Some(bake::service(speed)),
        Component::Deliver => Some(deliver::service(speed)),
        Component::Status => Some(status::service(orders?.clone(), clock::system(), speed)),
    }
}

fn web_app(
    listener: TcpListener,
    orders: Arc<dyn Orders>,
    process: &Process,
    args: &KafkaArgs,
) -> Result<WebApp, Failure> {
    let random = Random::of_system();
    let session_key = match &args.session_key {
        Some(path) => SessionKey::from_file(path, &random).map_err(Failure::usage)?,
        None => SessionKey::generate(&random),
    };
    // The log names the place of what is produced.
    let sink = KafkaSink::new(&process.kafka().clone().keep_places());
    let sink = sink.map_err(|error| Failure::new(format!("Kafka: {error}")))?;
    let traces = process.traces(web::SERVICE).cloned();
    let surroundings = surroundings(session_key, args.https, clock::system(), traces);
    Ok(WebApp { listener, orders, sink: Arc::new(sink), surroundings })
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failure::new(format!("can't listen on {address}: {error}")))
}

pub(crate) fn surroundings(
    session_key: SessionKey,
    has_https: bool,
    now: WallClock,
    traces: Option<Traces>,
) -> Surroundings {
    Surroundings {
        session_key,
        has_https,
        now,
        random: Random::of_system(),
        answer_limit: ANSWER_LIMIT,
        settled_after: SETTLED_AFTER,
        traces,
    }
}

/// Reads the settings.
///
/// # Errors
/// If one is wrong or missing, or a file can't be read.
pub(crate) fn settings(config: Option<&Path>) -> Result<ProcessSettings, Failure> {
    let variables = with_properties_of(config)?;
    let variables = Variables::read(&variables, &environment::read_file)?;
    let group = "nothing: each service has its own";
    let settings = ProcessSettings::read(&variables, "pizza", group, None)?;
    for (property, why) in [
        ("partitioner", "nothing: the watchdog finds an order by its default"),
        ("group.protocol", "nothing: deliver needs the assignor 'range'"),
    ] {
        if settings.kafka.properties().any(|name| name == property) {
            let name = KafkaSettings::name(property);
            return Err(SettingsError::wrong(&name, format!("the property {property}"), why).into());
        }
    }
    Ok(settings)
}

/// Checks the settings, and what the whole shop needs of Kafka.
///
/// # Errors
/// If something is wrong.
pub(crate) async fn check(config: Option<&Path>) -> Result<(), Failure> {
    let services = [
        (assemble::GROUP, topics::ORDERED),
        (bake::GROUP, topics::ASSEMBLED),
        (deliver::GROUP, topics::BAKED),
        (status::GROUP, topics::STATUS),
    ];
    let needs = Needs::new().transactions("pizza-check");
    let needs = topics::ALL
        .iter()
        .fold(needs, |needs, topic| needs.topic(topic, topics::PARTITIONS as usize));
    let needs = services.iter().fold(needs, |needs, (group, topic)| needs.group(group, topic));
    jobstream_service::check(&settings(config)?, &needs).await
}

/// Topics whose records need more replicas than there are would refuse every record.
///
/// # Errors
/// If they would.
pub(crate) fn check_in_sync(args: &KafkaArgs) -> Result<(), SettingsError> {
    match (args.min_insync_replicas, args.replicas) {
        (Some(found), replicas) if found > replicas => {
            let expected = format!("at most --replicas, which is {replicas}");
            Err(SettingsError::invalid("--min-insync-replicas", &found.to_string(), expected))
        }
        _ => Ok(()),
    }
}

/// The environment, where the properties of a file have replaced the variables of their names.
fn with_properties_of(config: Option<&Path>) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = environment::variables();
    let Some(path) = config else { return Ok(variables) };
    let file = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let properties = ini::properties(&file).map_err(|line| wrong_line(path, line))?;
    for (property, value) in properties {
        let name = match &*property {
            "bootstrap.servers" => "KAFKA_BROKERS".to_owned(),
            _ => KafkaSettings::name(&property),
        };
        variables.insert(name, value);
    }
    Ok(variables)
}

fn wrong_line(path: &Path, line: usize) -> Failure {
    let path = path.display();
    Failure::usage(format!("{path}, line {line}: expected a property as 'name = value'"))
}

fn unreadable(path: &Path, error: io::Error) -> SettingsError {
    SettingsError::File { name: "--config".to_owned(), path: path.to_owned(), error }
}
