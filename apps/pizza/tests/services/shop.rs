//! The shop that the tests run: a broker whose wall clock is tokio's, and a read model.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all, poll_fn};
use jobstream::record::{ConsumerRecord, ProducerRecord, Timestamp};
use jobstream_testkit::broker::{Broker, BrokerBuilder, Isolation};
use pizza::clock::WallClock;
use pizza::customer_id::CustomerId;
use pizza::in_memory;
use pizza::order::{Order, OrderEvent};
use pizza::order_id::OrderId;
use pizza::orders::{Added, Hold, InMemoryOrders, Orders};
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::speed::Speed;
use pizza::status::Status;
use pizza::topics;
use pizza::web::{self, Random, SessionKey, Surroundings, WebError};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

/// When every test begins, in milliseconds since 1970: the time of the example.
pub(crate) const START: Timestamp = 1_676_235_639_159;

/// More than any test needs, on the paused clock.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);

pub(crate) struct Shop {
    pub(crate) broker: Broker,
    pub(crate) orders: Arc<InMemoryOrders>,
    /// How often a service was interrupted.
    pub(crate) interruptions: AtomicUsize,
    wall_clock: WallClock,
    pub(crate) speed: Speed,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(Broker::builder())
    }

    pub(crate) fn with(broker: BrokerBuilder) -> Self {
        let began = Instant::now();
        let now = move || START + i64::try_from(began.elapsed().as_millis()).unwrap();
        let broker = broker.wall_clock(now).build();
        in_memory::create_topics(&broker);
        let orders = Arc::new(InMemoryOrders::new());
        let interruptions = AtomicUsize::new(0);
        Self { broker, orders, interruptions, wall_clock: Arc::new(now), speed: Speed::REAL }
    }

    pub(crate) fn at_speed(mut self, factor: u32) -> Self {
        self.speed = Speed::times(NonZeroU32::new(factor).unwrap());
        self
    }

    pub(crate) fn services(&self) -> [Service; 4] {
        let orders = self.orders.clone();
        [
            assemble::service(self.speed),
            bake::service(self.speed),
            deliver::service(self.speed),
            status::service(orders, self.wall_clock.clone(), self.speed),
        ]
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.wall_clock)()
    }

    /// What another web app would ask for now.
    pub(crate) fn hold_of_another(&self) -> Hold {
        Hold { holder: 0, from: self.now(), until: self.now() + 1 }
    }

    /// Stores an order and publishes it, as the web app does.
    pub(crate) async fn order(&self, id: OrderId, order: &Order) {
        self.store(id, order).await;
        self.publish(id, order).await;
    }

    pub(crate) async fn store(&self, id: OrderId, order: &Order) {
        let added = self.orders.add(id, order, self.now()).await.unwrap();
        assert_eq!(added, Added::Stored);
    }

    pub(crate) async fn publish(&self, id: OrderId, order: &Order) {
        self.send(id, order);
        self.orders.mark_published(id, self.now()).await.unwrap();
    }

    /// Publishes an order, and does not write that down.
    pub(crate) fn send(&self, id: OrderId, order: &Order) {
        let event = OrderEvent::new(order.clone(), self.now());
        self.produce(topics::ORDERED, id.as_str(), Some(&serde_json::to_string(&event).unwrap()));
    }

    pub(crate) fn produce(&self, topic: &'static str, key: &str, value: Option<&str>) {
        let mut record = ProducerRecord::to(topic).key(key.to_owned());
        record.value = value.map(|value| value.to_owned().into());
        self.broker.produce(record).unwrap();
    }

    /// Runs services until the future completes, each as one instance, and drains them.
    pub(crate) async fn run(&self, services: &[Service], until: impl Future<Output = ()>) {
        let (stop, _) = tokio::sync::watch::channel(false);
        let runs = services.iter().map(|service| {
            let mut stopped = stop.subscribe();
            let worker = in_memory::worker(&self.broker, service, "1");
            async move {
                let shutdown = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
                service.run(worker, shutdown).await.unwrap();
            }
        });
        let until = async {
            until.await;
            stop.send_replace(true);
        };
        let both = futures::future::join(join_all(runs), until);
        timeout(LIMIT, both).await.expect("the condition is met within a day");
    }

    /// Completes when the orders have that status.
    pub(crate) async fn all_are(&self, ids: &[OrderId], status: Status) {
        let mut changes = self.orders.changes();
        loop {
            let mut left = ids.len();
            for id in ids {
                left -= usize::from(self.status(*id).await == Some(status));
            }
            if left == 0 {
                return;
            }
            changes.next().await.expect("the store outlives the test");
        }
    }

    pub(crate) async fn status(&self, id: OrderId) -> Option<Status> {
        self.orders.get(id).await.unwrap().map(|stored| stored.track.progress.status)
    }

    /// What a `read_committed` reader sees of a topic.
    pub(crate) fn records(&self, topic: &str) -> Vec<ConsumerRecord> {
        self.broker.records(topic, Isolation::ReadCommitted)
    }

    /// The events of a topic: second, partition, key and value.
    pub(crate) fn events(&self, topic: &str) -> Vec<(f64, i32, String, String)> {
        let text = |bytes: &Option<bytes::Bytes>| {
            bytes.as_deref().map_or("null".into(), |b| String::from_utf8(b.to_vec()).unwrap())
        };
        let event = |record: &ConsumerRecord| {
            let second = (record.timestamp.unwrap() - START) as f64 / 1_000.0;
            (second, record.partition.partition, text(&record.key), text(&record.value))
        };
        self.records(topic).iter().map(event).collect()
    }
}

/// A web app that nobody visits: it publishes what others have stored and not published.
pub(crate) async fn web_app(
    shop: &Shop,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let random = Random::of_system();
    let surroundings = Surroundings {
        session_key: SessionKey::generate(&random),
        has_https: false,
        now: shop.wall_clock.clone(),
        random,
        answer_limit: Duration::from_secs(10),
        // Sooner than a service tells that it has an order: some come again.
        settled_after: Duration::from_secs(1),
    };
    let (orders, sink) = (shop.orders.clone(), Arc::new(shop.broker.producer()));
    web::serve(listener, orders, sink, surroundings, shutdown).await
}

/// The order of the example.
pub(crate) fn example() -> Order {
    Order {
        extra_toppings: ["Mushroom", "Black olives", "Green pepper"].map(str::to_owned).to_vec(),
        customer_id: CustomerId::of("Italo"),
        name: "Italo".into(),
        sauce: "Tomato".into(),
        cheese: "Mozzarella".into(),
        main_topping: "Pepperoni".into(),
    }
}

pub(crate) fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

/// Drops the future at its `polls`-th poll, as a crash would; says whether it ended before.
pub(crate) async fn crash_at(polls: usize, future: BoxFuture<'_, ()>) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
