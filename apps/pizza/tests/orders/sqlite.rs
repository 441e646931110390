//! What a file promises beyond memory: it lasts, and is shared.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures::StreamExt as _;
use pizza::orders::{Added, Change, Hold, Orders, OrdersError, SqliteOrders};
use pizza::status::Status;
use tokio::time::timeout;

use crate::{START, id, order_of};

/// Longer than it takes to hear of a change, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_change_of_another_connection_is_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let [web, status] = [0; 2].map(|_| SqliteOrders::open(&path).unwrap());
    web.add(id(1), &order_of("Ann"), START).await.unwrap();

    let mut changes = web.changes();
    status.progress(id(1), Status::IN_THE_OVEN, START).await.unwrap();
    let change = timeout(LIMIT, async {
        // The addition may still be told of.
        while web.get(id(1)).await.unwrap().unwrap().track.progress.status == Status::ORDERED {
            changes.next().await.unwrap();
        }
    });
    change.await.expect("the change is heard of");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let orders = SqliteOrders::open(&path).unwrap();
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    orders.progress(id(1), Status::IN_THE_OVEN, START + 4).await.unwrap();
    let before = orders.get(id(1)).await.unwrap();
    drop(orders);

    let orders = SqliteOrders::open(&path).unwrap();
    assert_eq!(orders.get(id(1)).await.unwrap(), before);
    assert_eq!(orders.path(), path);
}

#[tokio::test]
async fn of_two_connections_that_add_the_same_id_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let [one, two] = [0; 2].map(|_| SqliteOrders::open(&path).unwrap());
    for bits in 0..50 {
        let (ann, bob) = (order_of("Ann"), order_of("Bob"));
        let (one, two) =
            tokio::join!(one.add(id(bits), &ann, START), two.add(id(bits), &bob, START));
        let stored = [one.unwrap(), two.unwrap()].into_iter().filter(|out| *out == Added::Stored);
        assert_eq!(stored.count(), 1, "of {}", id(bits));
    }
}

#[tokio::test]
async fn of_two_connections_that_hold_the_same_order_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let [one, two] = [0; 2].map(|_| SqliteOrders::open(&path).unwrap());
    for bits in 0..50 {
        one.add(id(bits), &order_of("Ann"), START).await.unwrap();
        let ids = [id(bits)];
        let hold = |holder| Hold { holder, from: START, until: START + 10 };
        let (one, two) = tokio::join!(one.hold(&ids, hold(1)), two.hold(&ids, hold(2)));
        assert_eq!(one.unwrap().len() + two.unwrap().len(), 1, "of {}", id(bits));
    }
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let orders = SqliteOrders::open(&path).unwrap();
    orders.add(id(1), &order_of("Ann"), START).await.unwrap();
    drop(orders);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let earlier = "ALTER TABLE orders DROP COLUMN held_by;
        ALTER TABLE orders DROP COLUMN held_until; PRAGMA user_version = 1";
    connection.execute_batch(earlier).unwrap();
    drop(connection);

    let orders = SqliteOrders::open(&path).unwrap();
    assert_eq!(orders.get(id(1)).await.unwrap().unwrap().order, order_of("Ann"));
    let hold = Hold { holder: 1, from: START, until: START + 10 };
    assert_eq!(orders.hold(&[id(1)], hold).await.unwrap(), [id(1)]);
}

#[tokio::test]
async fn many_processes_may_make_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let barrier = Arc::new(Barrier::new(8));
    let open = || {
        let (path, barrier) = (path.clone(), Arc::clone(&barrier));
        std::thread::Builder::new().spawn(move || {
            barrier.wait();
            SqliteOrders::open(path).map(drop)
        })
    };
    let opened: Vec<_> = (0..8).map(|_| open().unwrap()).collect();
    for opened in opened {
        opened.join().unwrap().expect("the file opens");
    }
}

#[tokio::test]
async fn who_opens_a_new_file_waits_for_another_that_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (answer, opened) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new();
    let open = move || answer.send(SqliteOrders::open(path).map(drop)).unwrap();
    let opening = thread.spawn(open).unwrap();

    let early = opened.recv_timeout(Duration::from_millis(200));
    assert!(early.is_err(), "it does not wait: {early:?}");
    other.execute_batch("COMMIT").unwrap();
    opened.recv().unwrap().expect("the file opens");
    opening.join().unwrap();
}

#[tokio::test]
async fn a_reader_that_is_slow_is_told_that_it_missed_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    let orders = SqliteOrders::open(path).unwrap();
    let mut changes = orders.changes();
    for bits in 0..1100 {
        orders.add(id(bits), &order_of("Ann"), START).await.unwrap();
    }
    assert_eq!(changes.next().await, Some(Change::Missed));
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders");
    drop(SqliteOrders::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();

    let error = SqliteOrders::open(&path).unwrap_err();
    assert!(matches!(error, OrdersError::Version { found: 7, .. }), "{error}");
    assert!(SqliteOrders::open(folder.path()).is_err(), "a folder is no file");
}
