//! The whole shop in one process, with a broker in memory.

use std::sync::Arc;

use jobstream_service::Failure;
use jobstream_testkit::broker::Broker;
use pizza::orders::{InMemoryOrders, Orders};
use pizza::services::{assemble, bake, deliver, status};
use pizza::web::{Random, SessionKey};
use pizza::{clock, in_memory};

use crate::cli::DemoArgs;
use crate::open::{listen, surroundings};
use crate::shop::{Shop, WebApp};

/// The shop, and everything that it stands on.
///
/// # Errors
/// If it can't listen.
pub(crate) async fn open(args: &DemoArgs) -> Result<Shop, Failure> {
    let listener = listen(args.listen).await?;
    let now = clock::system();
    let broker = Broker::builder().wall_clock({
        let now = now.clone();
        move || now()
    });
    let broker = broker.build();
    in_memory::create_topics(&broker);
    let orders: Arc<dyn Orders> = Arc::new(InMemoryOrders::new());
    let speed = args.speed();
    let services = [
        assemble::service(speed),
        bake::service(speed),
        deliver::service(speed),
        status::service(orders.clone(), now.clone(), speed),
    ];
    let services = services.map(|service| {
        let worker = in_memory::worker(&broker, &service, "demo");
        (service, worker)
    });
    let surroundings = surroundings(SessionKey::generate(&Random::of_system()), false, now, None);
    let sink = Arc::new(broker.producer());
    let web_app = Some(WebApp { listener, orders, sink, surroundings });
    Ok(Shop { services: services.into(), web_app })
}
