//! The web app and every service on the in-memory broker, ten times as fast as in life where a
//! test does not want it slower. The web
//! app and the status service open the read model's file for themselves, as two processes do.

use std::num::NonZeroU32;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use jobstream_testkit::broker::Broker;
use pizza::in_memory::create_topics;
use pizza::orders::SqliteOrders;
use pizza::services::{Service, assemble, bake, deliver, status};
use pizza::speed::Speed;
use pizza::{clock, in_memory};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::shop::Shop;

const SPEED: Speed = Speed::times(NonZeroU32::new(10).expect("10 is not 0"));

pub(crate) struct WholeShop {
    web: Shop,
    stop: watch::Sender<bool>,
    services: JoinHandle<()>,
    _folder: TempDir,
}

impl WholeShop {
    pub(crate) async fn open() -> Self {
        Self::assembling_at(SPEED).await
    }

    /// A shop that leaves time to cancel: 2 to 6 s until a pizza is in the oven.
    pub(crate) async fn assembling_in_real_time() -> Self {
        Self::assembling_at(Speed::REAL).await
    }

    async fn assembling_at(speed: Speed) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders");
        let wall_clock = clock::system();
        let now = Arc::clone(&wall_clock);
        let broker = Broker::builder().wall_clock(move || now()).build();
        create_topics(&broker);
        let [web, read_model] = [0; 2].map(|_| Arc::new(SqliteOrders::open(&path).unwrap()));
        let status = status::service(read_model, Arc::clone(&wall_clock), SPEED);
        let services =
            [assemble::service(speed), bake::service(SPEED), deliver::service(SPEED), status];
        let (stop, stopped) = watch::channel(false);
        let runs = services.map(|service| run(broker.clone(), service, stopped.clone()));
        let services = tokio::spawn(join_all(runs).map(drop));
        let web = Shop::open_on(broker, web, |it| it.now = wall_clock).await;
        Self { web, stop, services, _folder: folder }
    }

    /// Where a page is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web.address)
    }

    pub(crate) async fn close(self) {
        self.web.close().await.unwrap();
        self.stop.send_replace(true);
        self.services.await.unwrap();
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
