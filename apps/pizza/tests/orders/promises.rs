//! The promises of `Orders`, each checked on every store.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use pizza::customer_id::CustomerId;
use pizza::orders::{Added, Change, Hold, InMemoryOrders, Orders, SqliteOrders};
use pizza::status::Status;

use crate::{START, id, order_of};

/// Checks one promise on an empty store.
type Promise = fn(Arc<dyn Orders>) -> BoxFuture<'static, ()>;

const PROMISES: &[Promise] = &[
    |orders| an_added_order_is_read_as_it_was_added(orders).boxed(),
    |orders| an_id_that_is_known_is_taken(orders).boxed(),
    |orders| an_id_that_is_known_from_a_status_is_taken_and_shows_nothing(orders).boxed(),
    |orders| a_customer_sees_the_newest_of_their_own_orders_first(orders).boxed(),
    |orders| an_order_is_unpublished_until_it_is_marked_or_a_service_tells_of_it(orders).boxed(),
    |orders| a_cancelled_order_may_still_be_unpublished(orders).boxed(),
    |orders| an_unpublished_order_is_held_by_one_until_its_time_is_over(orders).boxed(),
    |orders| an_order_never_goes_back_and_old_news_change_nothing(orders).boxed(),
    |orders| an_order_without_progress_is_overdue_until_it_moves_or_ends(orders).boxed(),
    |orders| an_unpublished_order_is_never_overdue(orders).boxed(),
    |orders| only_an_overdue_order_is_marked_as_lost_and_a_later_status_replaces_it(orders).boxed(),
    |orders| the_wait_of_a_published_order_begins_with_its_acknowledgement(orders).boxed(),
    |orders| changes_name_the_orders_that_changed_in_order(orders).boxed(),
];

#[tokio::test]
async fn orders_in_memory_keep_every_promise() {
    for promise in PROMISES {
        promise(Arc::new(InMemoryOrders::new())).await;
    }
}

#[tokio::test]
async fn orders_in_a_file_keep_every_promise() {
    for promise in PROMISES {
        let folder = tempfile::tempdir().unwrap();
        promise(Arc::new(SqliteOrders::open(folder.path().join("orders")).unwrap())).await;
    }
}

async fn an_added_order_is_read_as_it_was_added(orders: Arc<dyn Orders>) {
    assert_eq!(orders.get(id(1)).await.unwrap(), None);
    let order = order_of("Ann \"<b>' 🍕");
    assert_eq!(orders.add(id(1), &order, START).await.unwrap(), Added::Stored);

    let stored = orders.get(id(1)).await.unwrap().unwrap();
    assert_eq!((stored.id, stored.order, stored.ordered_at), (id(1), order, START));
    assert_eq!(stored.track.progress.status, Status::ORDERED);
    assert!(!stored.track.is_published);
}

async fn an_id_that_is_known_is_taken(orders: Arc<dyn Orders>) {
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    assert_eq!(orders.add(id(1), &order_of("Bob"), START).await.unwrap(), Added::IdTaken);
    assert_eq!(orders.get(id(1)).await.unwrap().unwrap().order, order_of("Ann"));
}

async fn an_id_that_is_known_from_a_status_is_taken_and_shows_nothing(orders: Arc<dyn Orders>) {
    assert!(orders.progress(id(1), Status::IN_THE_OVEN, START).await.unwrap());
    assert!(!orders.progress(id(1), Status::IN_THE_OVEN, START).await.unwrap());
    assert_eq!(orders.get(id(1)).await.unwrap(), None);
    assert_eq!(orders.overdue(START + 1).await.unwrap(), []);
    assert_eq!(orders.add(id(1), &order_of("Ann"), START).await.unwrap(), Added::IdTaken);
}

async fn a_customer_sees_the_newest_of_their_own_orders_first(orders: Arc<dyn Orders>) {
    for (bits, name) in [(7, "Ann"), (3, "Bob"), (5, "Ann"), (1, "Ann")] {
        let timestamp = START + i64::from(10 - bits);
        orders.add(id(bits as u32), &order_of(name), timestamp).await.unwrap();
    }
    let ids = async |name, limit| {
        let orders = orders.of_customer(&CustomerId::of(name), limit).await.unwrap();
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("Ann", 10).await, [id(1), id(5), id(7)]);
    assert_eq!(ids("Ann", 2).await, [id(1), id(5)]);
    assert_eq!(ids("Bob", 10).await, [id(3)]);
    assert_eq!(ids("ann", 10).await, []);
}

async fn an_order_is_unpublished_until_it_is_marked_or_a_service_tells_of_it(
    orders: Arc<dyn Orders>,
) {
    for bits in 1..=3 {
        orders.add(id(bits), &order_of("Ann"), START + i64::from(bits)).await.unwrap();
    }
    let ids = async |before| {
        let orders = orders.unpublished(before).await.unwrap();
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(START + 10).await, [id(1), id(2), id(3)]);
    assert_eq!(ids(START + 3).await, [id(1), id(2)]);

    orders.mark_published(id(1), START + 20).await.unwrap();
    orders.progress(id(2), Status::IN_THE_OVEN, START + 20).await.unwrap();
    assert_eq!(ids(START + 10).await, [id(3)]);
    orders.mark_published(id(9), START + 20).await.unwrap();
    assert_eq!(orders.get(id(9)).await.unwrap(), None);
}

async fn a_cancelled_order_may_still_be_unpublished(orders: Arc<dyn Orders>) {
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    assert!(orders.progress(id(1), Status::CANCELLED, START + 1).await.unwrap());
    assert!(!orders.get(id(1)).await.unwrap().unwrap().track.is_published);
}

async fn an_unpublished_order_is_held_by_one_until_its_time_is_over(orders: Arc<dyn Orders>) {
    for bits in 1..=3 {
        orders.add(id(bits), &order_of("Ann"), START).await.unwrap();
    }
    orders.mark_published(id(2), START).await.unwrap();
    let hold = async |ids: &[u32], holder, from, until| {
        let ids: Vec<_> = ids.iter().copied().map(id).collect();
        orders.hold(&ids, Hold { holder, from, until }).await.unwrap()
    };
    assert_eq!(hold(&[3, 2, 1, 9], 7, START, START + 10).await, [id(3), id(1)]);
    assert_eq!(hold(&[1, 3], u64::MAX, START + 9, START + 20).await, []);
    assert_eq!(hold(&[1], 7, START + 9, START + 30).await, [id(1)], "its holder goes on");
    assert_eq!(hold(&[1, 3], u64::MAX, START + 10, START + 20).await, [id(3)]);
    assert_eq!(hold(&[3], 7, START + 19, START + 30).await, []);
    orders.mark_published(id(3), START + 20).await.unwrap();
    assert_eq!(hold(&[1, 3], u64::MAX, START + 30, START + 40).await, [id(1)]);
}

async fn an_order_never_goes_back_and_old_news_change_nothing(orders: Arc<dyn Orders>) {
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    assert!(orders.progress(id(1), Status::OUT_FOR_DELIVERY, START + 21).await.unwrap());
    let before = orders.get(id(1)).await.unwrap();
    for status in [Status::ORDERED, Status::IN_THE_OVEN, Status::OUT_FOR_DELIVERY] {
        assert!(!orders.progress(id(1), status, START + 30).await.unwrap());
    }
    assert!(!orders.progress(id(1), Status::CANCELLED, START + 30).await.unwrap());
    assert_eq!(orders.get(id(1)).await.unwrap(), before);

    assert!(orders.progress(id(1), Status::DELIVERED, START + 31).await.unwrap());
    assert!(!orders.progress(id(1), Status::FAILED, START + 32).await.unwrap());
    let track = orders.get(id(1)).await.unwrap().unwrap().track;
    assert_eq!((track.progress.status, track.progressed_at), (Status::DELIVERED, START + 31));
}

async fn an_order_without_progress_is_overdue_until_it_moves_or_ends(orders: Arc<dyn Orders>) {
    for bits in 1..=3 {
        orders.add(id(bits), &order_of("Ann"), START + i64::from(bits)).await.unwrap();
        orders.mark_published(id(bits), START + i64::from(bits)).await.unwrap();
    }
    assert_eq!(orders.overdue(START + 3).await.unwrap(), [id(1), id(2)]);
    assert_eq!(orders.overdue(START + 4).await.unwrap(), [id(1), id(2), id(3)]);

    orders.progress(id(1), Status::IN_THE_OVEN, START + 10).await.unwrap();
    orders.progress(id(2), Status::DELIVERED, START + 2).await.unwrap();
    assert_eq!(orders.overdue(START + 10).await.unwrap(), [id(3)]);
    assert_eq!(orders.overdue(START + 11).await.unwrap(), [id(1), id(3)]);
}

async fn an_unpublished_order_is_never_overdue(orders: Arc<dyn Orders>) {
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    assert_eq!(orders.overdue(i64::MAX).await.unwrap(), []);
    assert!(!orders.mark_lost(id(1), i64::MAX).await.unwrap());
}

async fn only_an_overdue_order_is_marked_as_lost_and_a_later_status_replaces_it(
    orders: Arc<dyn Orders>,
) {
    let status = async || orders.get(id(1)).await.unwrap().unwrap().track.progress.status;
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    orders.progress(id(1), Status::OUT_FOR_DELIVERY, START + 21).await.unwrap();
    assert!(!orders.mark_lost(id(1), START + 21).await.unwrap());
    assert!(!orders.mark_lost(id(2), START + 21).await.unwrap());
    assert_eq!(status().await, Status::OUT_FOR_DELIVERY);

    assert!(orders.mark_lost(id(1), START + 22).await.unwrap());
    assert!(!orders.mark_lost(id(1), START + 22).await.unwrap());
    assert_eq!(status().await, Status::LOST);
    assert_eq!(orders.overdue(i64::MAX).await.unwrap(), []);

    assert!(!orders.progress(id(1), Status::IN_THE_OVEN, START + 90).await.unwrap());
    assert!(orders.progress(id(1), Status::DELIVERED, START + 90).await.unwrap());
    assert_eq!(status().await, Status::DELIVERED);
}

async fn the_wait_of_a_published_order_begins_with_its_acknowledgement(orders: Arc<dyn Orders>) {
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    orders.mark_published(id(1), START + 500).await.unwrap();
    orders.mark_published(id(1), START + 900).await.unwrap();
    assert_eq!(orders.overdue(START + 500).await.unwrap(), []);
    assert_eq!(orders.overdue(START + 501).await.unwrap(), [id(1)]);
}

async fn changes_name_the_orders_that_changed_in_order(orders: Arc<dyn Orders>) {
    let changes = orders.changes();
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    orders.add(id(1), &order_of("Bob"), START).await.unwrap();
    orders.progress(id(2), Status::IN_THE_OVEN, START).await.unwrap();
    orders.progress(id(2), Status::IN_THE_OVEN, START).await.unwrap();
    orders.progress(id(1), Status::IN_THE_OVEN, START).await.unwrap();
    orders.mark_published(id(1), START).await.unwrap();
    orders.mark_lost(id(1), START + 1).await.unwrap();
    drop(orders);

    let told: Vec<_> = changes.collect().await;
    assert_eq!(told, [1, 2, 1, 1].map(|bits| Change::Order(id(bits))));
}
