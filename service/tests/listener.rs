//! A listener and its clients, most of them hostile, on real sockets. The clock is paused: it goes on
//! whenever nobody has anything to do.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures::StreamExt as _;
use jobstream_service::web::{self, Client, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(600);
/// Bytes of an answer that no socket's buffers hold.
const LARGE: usize = 64 << 20;

const ANSWERED: &str = "HTTP/1.1 200 OK";

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A listener for so many connections, and so many of a client.
async fn serve(connections: usize, connections_of_client: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { connections, connections_of_client, ..Limits::beside_the_work() };
    let router = Router::new()
        .route("/", get(async || "well\n"))
        .route("/who", get(async |client: Client| format!("{client:?}")))
        .route("/large", get(async || Bytes::from(vec![b'.'; LARGE])))
        .route("/stream", get(async || Body::from_stream(endless())))
        .route("/post", post(async |body: String| body))
        .layer(middleware::from_fn(web::limit));
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let served = tokio::spawn(web::serve(listener, router, limits, shutdown));
    Server { address, stop, served }
}

/// Begins at once and then says nothing.
fn endless() -> impl futures::Stream<Item = Result<&'static str, std::io::Error>> {
    let first = futures::stream::once(async { Ok("begun\n") });
    first.chain(futures::stream::once(pending()))
}

/// A connection from 127.0.0.N.
async fn from(number: u8, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, number], 0))).unwrap();
    socket.connect(server.address).await.unwrap()
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn ask(stream: &mut TcpStream, path: &str) {
    send(stream, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
}

/// The next bytes, as text; empty once the connection is closed.
async fn next(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 1 << 10];
    match timeout(LIMIT, stream.read(&mut bytes)).await.expect("bytes, or an end") {
        Ok(count) => String::from_utf8_lossy(&bytes[..count]).into_owned(),
        Err(_) => String::new(),
    }
}

/// Reads up to the end; so many bytes were there.
async fn rest(stream: &mut TcpStream) -> usize {
    let (mut bytes, mut all) = (vec![0; 1 << 20], 0);
    let read = async {
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(count) => all += count,
            }
        }
    };
    timeout(LIMIT, read).await.expect("the connection is closed");
    all
}

/// Whether a request on a connection of its own is answered.
async fn is_answered(number: u8, server: &Server) -> bool {
    let mut stream = from(number, server).await;
    ask(&mut stream, "/").await;
    next(&mut stream).await.starts_with(ANSWERED)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stands_still_is_let_go() {
    let server = serve(8, 8).await;
    let get = "GET / HTTP/1.1\r\nhost: a\r\n";
    let half_body = "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf";
    for (what, said) in [
        ("silence", String::new()),
        ("half a line", "GE".to_owned()),
        ("half a head", get.to_owned()),
        ("an answer, then silence", format!("{get}\r\n")),
        ("an answer, then half a head", format!("{get}\r\n{get}")),
        ("half a body", half_body.to_owned()),
        ("a head that is too large", format!("{get}a: {}", "a".repeat(1 << 20))),
    ] {
        let mut stream = from(2, &server).await;
        // One that is closed early does not take it all.
        let _ = stream.write_all(said.as_bytes()).await;
        rest(&mut stream).await;
        assert!(is_answered(1, &server).await, "after {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_has_no_more_time_than_any_other() {
    let server = serve(8, 8).await;
    let (mut reader, mut writer) = from(2, &server).await.into_split();
    writer.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = async {
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let closed = async {
        let mut bytes = Vec::new();
        // Closed with unread bytes, it is reset.
        let _ = reader.read_to_end(&mut bytes).await;
    };
    timeout(LIMIT, async { tokio::join!(trickle, closed) }).await.expect("an end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_let_go() {
    let server = serve(1, 1).await;
    let mut stream = from(2, &server).await;
    ask(&mut stream, "/large").await;
    // There is room for one: the next is answered once this one is given up.
    let answered = async {
        while !is_answered(1, &server).await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(LIMIT, answered).await.expect("an answer");
    assert!(rest(&mut stream).await < LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_share_and_others_have_theirs() {
    let server = serve(8, 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = from(2, &server).await;
        ask(&mut stream, "/stream").await;
        assert!(next(&mut stream).await.starts_with(ANSWERED));
        held.push(stream);
    }
    assert!(!is_answered(2, &server).await, "it has its share");
    assert!(is_answered(3, &server).await);
    drop(held);
    let answered = async { while !is_answered(2, &server).await {} };
    timeout(LIMIT, answered).await.expect("what is closed is given back");
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_waits_longest_makes_way_and_a_busy_one_does_not() {
    let server = serve(4, 4).await;
    let mut busy = from(2, &server).await;
    ask(&mut busy, "/stream").await;
    assert!(next(&mut busy).await.starts_with(ANSWERED));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut stream = from(2, &server).await;
        ask(&mut stream, "/").await;
        assert!(next(&mut stream).await.starts_with(ANSWERED));
        waiting.push(stream);
        sleep(Duration::from_millis(1)).await;
    }
    // The first has asked again: the second waits longest.
    ask(&mut waiting[0], "/").await;
    assert!(next(&mut waiting[0]).await.starts_with(ANSWERED));
    assert!(is_answered(3, &server).await);
    assert_eq!(next(&mut waiting[1]).await, "");
    for at in [0, 2] {
        ask(&mut waiting[at], "/").await;
        assert!(next(&mut waiting[at]).await.starts_with(ANSWERED), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_every_connection_is_busy_a_new_one_is_closed() {
    let server = serve(2, 2).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = from(2, &server).await;
        ask(&mut stream, "/stream").await;
        assert!(next(&mut stream).await.starts_with(ANSWERED));
        busy.push(stream);
    }
    assert!(!is_answered(3, &server).await);
    busy.pop();
    let answered = async { while !is_answered(3, &server).await {} };
    timeout(LIMIT, answered).await.expect("there is room again");
}

/// Clients of every kind come at the same time, more than there is room for.
#[tokio::test(start_paused = true)]
async fn among_many_hostile_clients_others_are_answered() {
    let server = serve(32, 8).await;
    let mut hostile = Vec::new();
    for number in 2..=40 {
        for said in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n", "nonsense\r\n\r\n"] {
            let mut stream = from(number, &server).await;
            // One that there is no room for is closed.
            let _ = stream.write_all(said.as_bytes()).await;
            hostile.push(stream);
        }
        assert!(is_answered(1, &server).await, "beside {} others", hostile.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_who_asks() {
    let server = serve(2, 2).await;
    let mut stream = from(7, &server).await;
    ask(&mut stream, "/who").await;
    let answer = next(&mut stream).await;
    assert!(answer.ends_with("\r\n\r\nClient(127.0.0.7)"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_requests_under_way_are_answered_and_the_rest_is_closed() {
    let server = serve(8, 8).await;
    let mut silent = from(2, &server).await;
    let mut idle = from(2, &server).await;
    ask(&mut idle, "/").await;
    assert!(next(&mut idle).await.starts_with(ANSWERED));
    let mut asking = from(2, &server).await;
    send(&mut asking, "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await;
    assert!(is_answered(1, &server).await, "the others are taken");
    let Server { address, stop, served } = server;
    stop.send(()).unwrap();
    assert_eq!(next(&mut silent).await, "");
    assert_eq!(next(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
    send(&mut asking, "whole one").await;
    assert!(next(&mut asking).await.ends_with("\r\n\r\nwhole one"));
    timeout(LIMIT, served).await.expect("an end").unwrap();
}
