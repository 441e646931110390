//! The listener of the in-memory broker beside kfake, the fake Kafka of franz-go (Go), and beside
//! Apache Kafka.
//!
//! `cargo bench --bench wire`; with `-- --test`, one short pass of the listener alone.
//!
//! 400-byte values with keys, 6 partitions. Each server is a process of its own, so that its CPU
//! time and its memory are not the client's. Two clients: a raw one, which only writes and reads
//! prepared batches, and librdkafka, which produces, and then consumes as a group.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use server::Server;
use tokio::time::Instant;

mod kafka_client;
mod raw;
mod server;

const PARTITIONS: i32 = 6;
const VALUE_BYTES: usize = 400;
/// What the raw client writes to, and what librdkafka does.
const TOPICS: [&str; 2] = ["raw", "jobs"];

/// What a client does with a server: its name, how many records, and its time.
fn measure(server: &Server, arm: &str, records: usize, act: impl FnOnce() -> usize) {
    let (cpu, start) = (server.cpu(), Instant::now());
    let arrived = act();
    assert_eq!(arrived, records, "{arm} on {}: not every record arrived", server.name());
    let (elapsed, cpu) = (start.elapsed(), server.cpu() - cpu);
    println!(
        "wire: {:>8} {arm:<19} {:>9.0} records/s, {:>6.3} us of the server's CPU a record, {} MiB",
        server.name(),
        records as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / records as f64,
        server.peak_kib() >> 10,
    );
}

fn pass(server: &Server, raw_records: usize, records: usize) {
    let mut client = raw::Client::connect(server.bootstrap());
    measure(server, "raw produce", raw_records, || client.produce(raw_records));
    measure(server, "raw fetch", raw_records, || client.fetch(raw_records));
    let bootstrap = server.bootstrap();
    measure(server, "librdkafka produce", records, || kafka_client::produce(bootstrap, records));
    measure(server, "librdkafka consume", records, || kafka_client::consume(bootstrap, records));
}

/// From the start of a process to its first answer: the middle one of several.
fn start() {
    const TIMES: usize = 9;
    let mut times = [(); TIMES].map(|()| {
        let start = Instant::now();
        let server = Server::listener();
        let served = raw::Client::connect(server.bootstrap()).versions();
        assert!(served > 0, "{} serves nothing", server.name());
        start.elapsed()
    });
    times.sort_unstable();
    println!("wire: listener answers first after {:.1} ms", times[TIMES / 2].as_secs_f64() * 1e3);
}

fn main() {
    if server::is_asked_for() {
        return server::serve();
    }
    let short = std::env::args().any(|argument| argument == "--test");
    if short {
        return pass(&Server::listener(), 60_000, 20_000);
    }
    start();
    // In turns: what else the machine does meets all.
    let servers: [fn() -> Option<Server>; 3] =
        [|| Some(Server::listener()), Server::kfake, Server::kafka];
    for _ in 0..3 {
        for server in servers {
            if let Some(server) = server() {
                pass(&server, 1_000_200, 1_000_000);
            }
        }
    }
}
