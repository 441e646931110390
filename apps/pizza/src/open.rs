//! Opens the shop, or a component of it, on Kafka.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use jobstream::kafka::KafkaConfig;
use jobstream::sinks::kafka::KafkaSink;
use jobstream_service::metrics::{KafkaObservers, Told, tell_statistics};
use jobstream_service::traces::{Traces, TracesError, TracesExport, TracesSettings};
use jobstream_service::{
    Accepted, KafkaLog, KafkaSettings, SettingsError, Variables, accept, environment, log_level,
    random_id,
};
use pizza::clock::{self, WallClock};
use pizza::metrics::Metrics;
use pizza::on_kafka::KafkaError;
use pizza::orders::{Orders, SqliteOrders};
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::shop::{BoxedSink, Shop, WEB_APP, WebApp};
use pizza::web::{Random, SessionKey, Surroundings};
use pizza::{ini, on_kafka};
use tokio::net::TcpListener;
use tracing::{Level, warn};

use crate::cli::KafkaArgs;
use crate::run::CommandError;

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
    /// What it is called in the log, and in traces.
    const fn name(self) -> &'static str {
        match self {
            Self::WebApp => WEB_APP,
            Self::Assemble => assemble::NAME,
            Self::Bake => bake::NAME,
            Self::Deliver => deliver::NAME,
            Self::Status => status::NAME,
        }
    }

    /// The consumer group of a service.
    const fn group(self) -> Option<&'static str> {
        match self {
            Self::WebApp => None,
            Self::Assemble => Some(assemble::GROUP),
            Self::Bake => Some(bake::GROUP),
            Self::Deliver => Some(deliver::GROUP),
            Self::Status => Some(status::GROUP),
        }
    }
}

/// What makes the traces of each component, where they are made.
pub(crate) type PartTraces = BTreeMap<&'static str, Traces>;

/// Every component.
pub(crate) const ALL: [Component; 5] = [
    Component::WebApp,
    Component::Assemble,
    Component::Bake,
    Component::Deliver,
    Component::Status,
];

/// Parts of the shop, between their ends on Kafka; completes when the topics are there.
///
/// # Errors
/// If something that no time mends is in the way.
pub(crate) async fn open(
    components: &[Component],
    args: &KafkaArgs,
    settings: Settings,
    metrics: Option<Metrics>,
    traces: PartTraces,
) -> Result<Shop, CommandError> {
    let Settings { kafka, warnings, instance, .. } = settings;
    for warning in warnings {
        warn!("{warning}");
    }
    let kafka_log = Arc::new(KafkaLog::default());
    let mut observers = KafkaObservers(vec![kafka_log.clone()]);
    if let Some(metrics) = &metrics {
        observers.0.extend(metrics.kafka.0.iter().cloned());
    }
    let kafka = kafka.with_observer(Arc::new(observers));
    // Before anything else: a port that is taken is said at once.
    let listener = match components.contains(&Component::WebApp) {
        true => Some(listen(args.shop.listen).await?),
        false => None,
    };
    let has_orders = components
        .iter()
        .any(|component| matches!(component, Component::WebApp | Component::Status));
    let orders: Option<Arc<dyn Orders>> = match has_orders {
        true => Some(Arc::new(SqliteOrders::open(&args.orders)?)),
        false => None,
    };
    on_kafka::create_topics(&kafka, args.replicas, args.min_insync_replicas, &kafka_log).await?;
    let mut shop = Shop::default();
    for service in
        components.iter().filter_map(|component| service(*component, args, orders.as_ref()))
    {
        let service = match traces.get(service.name) {
            Some(traces) => service.traced(traces.clone()),
            None => service,
        };
        let worker = on_kafka::worker(&kafka, &service, &instance).await?;
        let service = match &metrics {
            Some(metrics) => service.observed_by(metrics.run.clone()),
            None => service,
        };
        shop.services.push((service, worker));
    }
    if let (Some(listener), Some(orders)) = (listener, orders) {
        let traces = traces.get(WEB_APP).cloned();
        shop.web_app = Some(web_app(listener, orders, &kafka, args, traces)?);
    }
    Ok(shop)
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
    kafka: &KafkaConfig,
    args: &KafkaArgs,
    traces: Option<Traces>,
) -> Result<WebApp, CommandError> {
    let random = Random::of_system();
    let session_key = match &args.session_key {
        Some(path) => SessionKey::from_file(path, &random)?,
        None => SessionKey::generate(&random),
    };
    let sink = KafkaSink::new(kafka).map_err(KafkaError::from)?;
    let surroundings = surroundings(session_key, args.https, clock::system(), traces);
    Ok(WebApp { listener, orders, sink: BoxedSink(Box::new(sink)), surroundings })
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| CommandError::Listen(address, error))
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

/// The settings of the components on Kafka.
pub(crate) struct Settings {
    kafka: KafkaConfig,
    /// Variables that set no property.
    warnings: Vec<String>,
    /// Names this process among live ones.
    instance: String,
    /// Where the traces of each component go, if they do.
    traces: Vec<(&'static str, TracesSettings)>,
    /// The least severe lines that are logged.
    pub(crate) level: Level,
    /// Where metrics and health are served, if they are.
    metrics_address: Option<SocketAddr>,
    /// The label of the metrics.
    environment: Option<String>,
}

/// What is counted of these components, and what serves it, if the settings say where.
pub(crate) fn metrics(components: &[Component], settings: &Settings) -> Option<(Metrics, Told)> {
    let (address, environment) = (settings.metrics_address?, settings.environment.as_deref());
    let groups: Vec<_> = components.iter().filter_map(|component| component.group()).collect();
    let (metrics, monitor) = match &groups[..] {
        [] => Metrics::of_web_app(environment),
        groups => Metrics::of_services(groups, environment),
    };
    Some((metrics, Told { address, monitor }))
}

impl Settings {
    /// Exports the traces of each component, under its name, until what this returns besides is
    /// dropped.
    ///
    /// # Errors
    /// If that can't be done.
    pub(crate) fn start_traces(&self) -> Result<(PartTraces, Vec<TracesExport>), TracesError> {
        let start = |(name, settings): &(&'static str, TracesSettings)| {
            let (traces, export) = Traces::start(settings)?;
            Ok(((*name, traces), export))
        };
        self.traces.iter().map(start).collect()
    }
}

/// Reads the settings of these components.
///
/// # Errors
/// If one is wrong or missing, or a file can't be read.
pub(crate) fn settings(
    components: &[Component],
    args: &KafkaArgs,
) -> Result<Settings, CommandError> {
    check_in_sync(args)?;
    let variables = with_properties_of(args.config.as_deref())?;
    let variables = Variables::read(&variables, &environment::read_file)?;
    let kafka = KafkaSettings::read(&variables, "nothing: each service has its own")?;
    for (property, why) in [
        ("partitioner", "nothing: the watchdog finds an order by its default"),
        ("group.protocol", "nothing: deliver needs the assignor 'range'"),
    ] {
        if kafka.properties().any(|name| name == property) {
            let name = KafkaSettings::name(property);
            return Err(SettingsError::wrong(&name, format!("the property {property}"), why).into());
        }
    }
    let metrics_address = metrics_address(&variables)?;
    let Accepted { config, warnings } = accept(&kafka)?;
    // The log names the place of what is produced.
    let config = config.keep_places();
    let config = match metrics_address {
        Some(_) => tell_statistics(config, &kafka),
        None => config,
    };
    let random = || format!("{:016x}", random_id());
    let id = variables.text("INSTANCE_ID");
    let kafka = match &id {
        Some(id) => config.instance_id(id),
        None => config,
    };
    let instance = id.unwrap_or_else(random);
    let traces = |component: &Component| {
        let settings = TracesSettings::read(&variables, component.name()).transpose()?;
        Some(settings.map(|settings| (component.name(), settings)))
    };
    let traces = components.iter().filter_map(traces).collect::<Result<_, _>>()?;
    let (level, environment) = (log_level(&variables)?, variables.text("ENVIRONMENT"));
    Ok(Settings { kafka, warnings, instance, traces, level, metrics_address, environment })
}

/// Topics whose records need more replicas than there are would refuse every record.
fn check_in_sync(args: &KafkaArgs) -> Result<(), SettingsError> {
    match (args.min_insync_replicas, args.replicas) {
        (Some(found), replicas) if found > replicas => {
            let expected = format!("at most --replicas, which is {replicas}");
            Err(SettingsError::invalid("--min-insync-replicas", &found.to_string(), expected))
        }
        _ => Ok(()),
    }
}

fn metrics_address(variables: &Variables<'_>) -> Result<Option<SocketAddr>, SettingsError> {
    const NAME: &str = "METRICS_ADDRESS";
    let Some(text) = variables.text(NAME) else { return Ok(None) };
    let wrong = |_| SettingsError::invalid(NAME, &text, "an address as ip:port");
    text.parse().map(Some).map_err(wrong)
}

/// The environment, where the properties of a file have replaced the variables of their names.
fn with_properties_of(config: Option<&Path>) -> Result<BTreeMap<String, String>, CommandError> {
    let mut variables = environment::variables();
    let Some(path) = config else { return Ok(variables) };
    let file = fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let properties = ini::properties(&file)
        .map_err(|line| CommandError::ConfigLine(path.display().to_string(), line))?;
    for (property, value) in properties {
        let name = match &*property {
            "bootstrap.servers" => "KAFKA_BROKERS".to_owned(),
            _ => KafkaSettings::name(&property),
        };
        variables.insert(name, value);
    }
    Ok(variables)
}

fn unreadable(path: &Path, error: io::Error) -> SettingsError {
    SettingsError::File { name: "--config".to_owned(), path: path.to_owned(), error }
}
