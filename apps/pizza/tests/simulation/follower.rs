//! A page that follows the orders, as a browser does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use jobstream_testkit::simulation::World;
use pizza::order_id::OrderId;
use pizza::orders::{Change, InMemoryOrders, Orders as _};
use pizza::status::Status;

/// What the page has shown of each order, one after another.
#[derive(Clone, Default)]
pub(crate) struct Follower(Arc<Mutex<BTreeMap<OrderId, Vec<Status>>>>);

impl Follower {
    pub(crate) fn of(world: &World, orders: Arc<InMemoryOrders>) -> Self {
        let (page, mut changes) = (Self::default(), orders.changes());
        let follower = page.clone();
        world.spawn(async move {
            while let Some(change) = changes.next().await {
                let Change::Order(id) = change else { panic!("the page is too slow") };
                // An order that was never stored has no page.
                let Some(order) = orders.get(id).await.unwrap() else { continue };
                follower.show(id, order.track.progress.status);
            }
        });
        page
    }

    fn show(&self, id: OrderId, status: Status) {
        self.0.lock().unwrap().entry(id).or_default().push(status);
    }

    pub(crate) fn shown(&self) -> BTreeMap<OrderId, Vec<Status>> {
        self.0.lock().unwrap().clone()
    }
}
