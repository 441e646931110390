//! How fast the server takes mails, beside Postfix's `smtp-sink`.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use jobstream_testkit::smtp::SmtpServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::Instant;

const CONNECTIONS: u64 = 100;
const MAILS: u64 = 20_000;
const ROUNDS: u64 = 3;

/// Mails per second that `smtp-source` gets rid of.
async fn rate(address: SocketAddr, options: &[&str]) -> f64 {
    let begin = Instant::now();
    let status = Command::new("/usr/sbin/smtp-source")
        .args(["-s", &CONNECTIONS.to_string(), "-m", &MAILS.to_string(), "-l", "1000"])
        .args(options)
        .arg(address.to_string())
        .status()
        .await
        .expect("Postfix's smtp-source runs");
    assert!(status.success(), "smtp-source ended with {status}");
    MAILS as f64 / begin.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn compare(options: &[&str]) {
    let sink_address = free_address().await;
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut sink = Command::new("/usr/sbin/smtp-sink")
        // Started by root it wants another user.
        .args(if root { &["-u", "postfix"][..] } else { &[] })
        .args([&sink_address.to_string(), "1000"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("Postfix's smtp-sink runs");
    while TcpStream::connect(sink_address).await.is_err() {
        assert_eq!(sink.try_wait().unwrap(), None, "smtp-sink ended");
        tokio::task::yield_now().await;
    }
    let server = SmtpServer::builder().exchanges_kept(0).listen().await.unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(rate(sink_address, options).await);
        ours.push(rate(server.address(), options).await);
        assert_eq!(server.inbox().take().len() as u64, MAILS);
    }
    sink.kill().await.unwrap();
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    println!("smtp-source {options:?}: {ours:.0} mails/s, smtp-sink {theirs:.0}, ratio {ratio:.2}");
}

/// Prints the ratios; what it asserts is that every mail arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs Postfix"]
async fn every_mail_arrives_beside_smtp_sink_and_the_ratio_is_printed() {
    compare(&["-d"]).await;
    compare(&[]).await;
}
