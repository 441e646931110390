//! Clients that would take everything: the work goes on, and others are answered.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::demo::{Demo, LIMIT};

/// File descriptors that the demo may have: two a mail connection, and what else it needs.
const DESCRIPTORS: &str = "128";
/// Connections of others, far more.
const OTHERS: u32 = 400;

#[tokio::test]
async fn however_many_connect_to_the_page_descriptors_are_left_for_the_work() {
    let demo = Demo::with_descriptors(DESCRIPTORS, &["--jobs", "/dev/null"]).await;
    let mut others = Vec::new();
    for number in 0..OTHERS {
        let socket = TcpSocket::new_v4().unwrap();
        let machine = u8::try_from(2 + number % 100).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, machine], 0))).unwrap();
        let mut other = socket.connect(demo.address).await.unwrap();
        // Half of them are silent; one that there is no room for is closed.
        if number % 2 == 0 {
            let _ = other.write_all(b"GET /snapshot HTTP/1.1\r\nhost: ").await;
        }
        others.push(other);
    }
    timeout(LIMIT, demo.submit("through", 200)).await.expect("an answer");
    demo.balanced(200).await;
    drop(others);
    let (code, words) = demo.interrupt().await;
    assert_eq!(code, Some(0), "{words}");
}
