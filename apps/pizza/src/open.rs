//! Opens the shop, or a part of it, on Kafka.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use jobstream::kafka::KafkaConfig;
use jobstream::sinks::kafka::KafkaSink;
use jobstream_service::{
    Accepted, KafkaLog, KafkaSettings, SettingsError, Variables, accept, environment, log_level,
    random_id,
};
use pizza::clock::{self, WallClock};
use pizza::on_kafka::KafkaError;
use pizza::orders::{Orders, SqliteOrders};
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::shop::{BoxedSink, Shop, WebApp};
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

/// The parts of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    WebApp,
    Assemble,
    Bake,
    Deliver,
    Status,
}

/// Every part.
pub(crate) const ALL: [Part; 5] =
    [Part::WebApp, Part::Assemble, Part::Bake, Part::Deliver, Part::Status];

/// Parts of the shop, between their ends on Kafka; completes when the topics are there.
///
/// # Errors
/// If something that no time mends is in the way.
pub(crate) async fn open(
    parts: &[Part],
    args: &KafkaArgs,
    settings: Settings,
) -> Result<Shop, CommandError> {
    let Settings { kafka, unknown, instance, .. } = settings;
    for name in unknown {
        warn!("{name}: unknown setting, and no property of librdkafka");
    }
    let kafka_log = Arc::new(KafkaLog::default());
    let kafka = kafka.observer(kafka_log.clone());
    // Before anything else: a port that is taken is said at once.
    let listener = match parts.contains(&Part::WebApp) {
        true => Some(listen(args.shop.listen).await?),
        false => None,
    };
    let has_orders = parts.iter().any(|part| matches!(part, Part::WebApp | Part::Status));
    let orders: Option<Arc<dyn Orders>> = match has_orders {
        true => Some(Arc::new(SqliteOrders::open(&args.orders)?)),
        false => None,
    };
    on_kafka::create_topics(&kafka, args.replicas, &kafka_log).await?;
    let mut shop = Shop::default();
    for service in parts.iter().filter_map(|part| service(*part, args, orders.as_ref())) {
        let worker = on_kafka::worker(&kafka, &service, &instance).await?;
        shop.services.push((service, worker));
    }
    if let (Some(listener), Some(orders)) = (listener, orders) {
        shop.web_app = Some(web_app(listener, orders, &kafka, args)?);
    }
    Ok(shop)
}

fn service(part: Part, args: &KafkaArgs, orders: Option<&Arc<dyn Orders>>) -> Option<Service> {
    let speed = args.shop.speed();
    match part {
        Part::WebApp => None,
        Part::Assemble => Some(assemble::service(speed)),
        Part::Bake => Some(bake::service(speed)),
        Part::Deliver => Some(deliver::service(speed)),
        Part::Status => Some(status::service(orders?.clone(), clock::system(), speed)),
    }
}

fn web_app(
    listener: TcpListener,
    orders: Arc<dyn Orders>,
    kafka: &KafkaConfig,
    args: &KafkaArgs,
) -> Result<WebApp, CommandError> {
    let random = Random::of_system();
    let session_key = match &args.session_key {
        Some(path) => SessionKey::from_file(path, &random)?,
        None => SessionKey::generate(&random),
    };
    let sink = KafkaSink::new(kafka).map_err(KafkaError::from)?;
    let surroundings = surroundings(session_key, args.https, clock::system());
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
) -> Surroundings {
    Surroundings {
        session_key,
        has_https,
        now,
        random: Random::of_system(),
        answer_limit: ANSWER_LIMIT,
        settled_after: SETTLED_AFTER,
    }
}

/// What the parts on Kafka are told.
pub(crate) struct Settings {
    kafka: KafkaConfig,
    /// Variables that set no property.
    unknown: Vec<String>,
    /// Names this process among live ones.
    instance: String,
    /// The least severe lines that are logged.
    pub(crate) level: Level,
}

/// Reads them.
///
/// # Errors
/// If one is wrong or missing, or a file can't be read.
pub(crate) fn settings(args: &KafkaArgs) -> Result<Settings, CommandError> {
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
    let Accepted { config, unknown } = accept(&kafka)?;
    let random = || format!("{:016x}", random_id());
    let id = variables.text("INSTANCE_ID");
    let kafka = match &id {
        Some(id) => config.instance_id(id),
        None => config,
    };
    let instance = id.unwrap_or_else(random);
    Ok(Settings { kafka, unknown, instance, level: log_level(&variables)? })
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
