//! What outlives every crash: the read model, and who looks at it.

use std::sync::Arc;

use futures::FutureExt as _;
use jobstream_testkit::simulation::World;
use pizza::orders::{Added, InMemoryOrders, Orders as _};

use crate::follower::Follower;
use crate::orders::orders;

/// The read model, and a page that follows it.
pub(crate) struct Shop {
    pub(crate) orders: Arc<InMemoryOrders>,
    pub(crate) follower: Follower,
}

impl Shop {
    /// The web app has stored the orders of a run.
    pub(crate) fn open(world: &World, count: u64) -> Self {
        let store = Arc::new(InMemoryOrders::new());
        let now = world.wall_clock();
        for (id, order) in orders(world.seed(), count) {
            let added = store.add(id, &order, now).now_or_never().expect("it is in memory");
            assert_eq!(added.unwrap(), Added::Stored);
            store.mark_published(id, now).now_or_never().expect("it is in memory").unwrap();
        }
        let follower = Follower::of(world, store.clone());
        Self { orders: store, follower }
    }
}
