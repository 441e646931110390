//! Web app and status service as two processes on one file.

use std::time::Duration;

use pizza::order_id::OrderId;
use pizza::orders::{Orders as _, SqliteOrders};
use pizza::services::told;
use pizza::status::Status;
use tokio::time::{Instant, sleep, timeout};

use crate::stream::Events;
use crate::town::{LIMIT, Town};
use crate::visitor::{PIZZA, Visitor};

/// How often the test looks for the status service's commit.
const LOOK: Duration = Duration::from_millis(5);

/// How long it takes depends on the machine, and is printed; the interval at which a web app looks
/// for changes of others is held by the store.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_status_service_writes_reaches_an_open_page_of_another_process() {
    let town = Town::new().await;
    let (webapp, status) = (town.start("webapp"), town.start("status"));
    let address = webapp.address().await;
    let mut italo = Visitor::named(address, "Italo").await;
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    let id: OrderId = path.rsplit('/').next().unwrap().parse().unwrap();
    let mut events = Events::open(&italo, &format!("{path}/events")).await;
    events.shows(&Status::ORDERED.label()).await;

    let orders = SqliteOrders::open(town.path("pizza.db")).unwrap();
    for status in [Status::IN_THE_OVEN, Status::OUT_FOR_DELIVERY] {
        town.publish(vec![told(id, status)]).await;
        let written = async {
            while orders.get(id).await.unwrap().unwrap().track.progress.status != status {
                sleep(LOOK).await;
            }
            Instant::now()
        };
        let shown = async {
            events.until_shows(&status.label()).await;
            Instant::now()
        };
        let both = timeout(LIMIT, futures::future::join(written, shown));
        let (written, shown) = both.await.expect("it is shown");
        println!("shown {:?} after it was written", shown.saturating_duration_since(written));
    }

    let mut probed = String::new();
    for (process, name) in [(&webapp, "webapp"), (&status, "status")] {
        assert!(process.metrics().await.contains("jobstream_kafka_errors"), "{name}");
        probed = process.logs("Metrics and health on http://").await;
        assert_eq!(healthcheck(&town, &probed).await, Some(0), "{name}");
    }
    // Its end closes the stream, though nothing more has become of the order.
    webapp.ask_to_end();
    assert_eq!(events.next().await, None);
    let log = webapp.ended().await;
    assert!(log.contains(" - Starting graceful shutdown...\n"), "{log}");
    assert!(log.trim_end().ends_with(" - Graceful shutdown completed"), "{log}");
    status.terminate().await;
    assert_eq!(healthcheck(&town, &probed).await, Some(1));
}

/// What `pizza healthcheck` ends with, as the health check of a container.
async fn healthcheck(town: &Town, address: &str) -> Option<i32> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pizza"));
    command.arg("healthcheck").arg("--config").arg(town.path("kafka.ini"));
    let asked = command.env_clear().env("METRICS_ADDRESS", address).output();
    timeout(LIMIT, asked).await.expect("an answer").unwrap().status.code()
}
