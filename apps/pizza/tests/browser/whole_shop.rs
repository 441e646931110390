//! The web app and the kitchen on the in-memory broker, ten times as fast as in life. The web app and
//! the status service open the read model's file for themselves, as two processes do.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use jobstream_testkit::broker::Broker;
use pizza::clock::WallClock;
use pizza::in_memory::create_topics;
use pizza::orders::SqliteOrders;
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::speed::Speed;
use pizza::{clock, in_memory, topics};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::shop::Shop;

const SPEED: Speed = Speed::times(NonZeroU32::new(10).expect("10 is not 0"));

/// A shop whose kitchen is closed until a test opens it, so that nothing depends on how fast a
/// browser is.
pub(crate) struct WholeShop {
    web: Shop,
    path: PathBuf,
    wall_clock: WallClock,
    stop: watch::Sender<bool>,
    kitchen: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl WholeShop {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        let wall_clock = clock::system();
        let now = Arc::clone(&wall_clock);
        let broker = Broker::builder().wall_clock(move || now()).build();
        create_topics(&broker);
        let orders = Arc::new(SqliteOrders::open(&path).unwrap());
        let now = Arc::clone(&wall_clock);
        let web = Shop::open_on(broker, orders, |it| it.now = now).await;
        let stop = watch::Sender::new(false);
        Self { web, path, wall_clock, stop, kitchen: None, _folder: folder }
    }

    /// Lets the services begin.
    pub(crate) fn open_kitchen(&mut self) {
        let read_model = Arc::new(SqliteOrders::open(&self.path).unwrap());
        // Its watchdog is as patient as in life: a machine may be slow.
        let status = status::service(read_model, Arc::clone(&self.wall_clock), Speed::REAL);
        let services =
            [assemble::service(SPEED), bake::service(SPEED), deliver::service(SPEED), status];
        let broker = &self.web.broker;
        let runs = services.map(|service| run(broker.clone(), service, self.stop.subscribe()));
        self.kitchen = Some(tokio::spawn(join_all(runs).map(drop)));
    }

    /// Completes when the kitchen has done everything that was ordered, and its status is written.
    pub(crate) async fn everything_is_done(&self) {
        for (group, topic) in [
            ("pizza-assemble", topics::ORDERED),
            ("pizza-deliver", topics::ORDERED),
            ("pizza-bake", topics::ASSEMBLED),
            ("pizza-deliver", topics::BAKED),
            ("pizza-status", topics::STATUS),
        ] {
            self.web.broker.caught_up(group, topic).await;
        }
    }

    /// Where a page is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web.address)
    }

    pub(crate) async fn close(self) {
        self.web.close().await.unwrap();
        self.stop.send_replace(true);
        if let Some(kitchen) = self.kitchen {
            kitchen.await.unwrap();
        }
    }
}

fn run(
    broker: Broker,
    service: Service,
    mut stopped: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    let run = async move {
        let stopped = async move { drop(stopped.wait_for(|it| *it).await) };
        service.run(in_memory::worker(&broker, &service, "1"), stopped).await.unwrap();
    };
    run.boxed()
}
