//! Mails per second and CPU time per mail: the mail sink, pooled lettre, and Postfix's
//! `smtp-source`, all to the same `smtp-sink` on loopback, in one run.
//!
//! ```text
//! cargo bench --bench smtp            # some minutes
//! cargo bench --bench smtp -- --short # half a minute, for CI
//! cargo bench --bench smtp -- --bars  # fails if a bar is missed
//! cargo bench --bench smtp -- --race  # the mail sink alone, beyond what the server serves
//! SMTP_BENCH_FAKE=1 cargo bench --bench smtp # as if Postfix were not installed
//! ```
//!
//! Then the mail sink alone, with 1,000 connections and with the 256 that the server serves: `smtp-sink`
//! takes the others, and does not greet them.
//!
//! As many mails wait for the mail sink's connections as `mailjob run` executes at once, 1,024, so that the
//! next one can follow while an answer is on its way; lettre, which can't do that, has as many as connections.
//!
//! Every run asserts at its end that the server has counted each mail once. Without Postfix the server
//! is the fake one of the testkit, and there are no bars.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jobstream::codec::Codec as _;
use jobstream::job::{Job, JobCodec};
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::JobSink as _;
use jobstream::sinks::smtp::{MailConfig, MailSink, TlsMode};
use jobstream_testkit::smtp::{Keep, SmtpServer};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const FROM: &str = "bench@example.com";
const TO: &str = "inbox@example.net";
const BODY_BYTES: usize = 500;

/// The kernel's clock ticks a second, in which `/proc` counts CPU time.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one contender did at one number of connections.
#[derive(Clone, Copy)]
struct Figure {
    mails_per_second: f64,
    cpu_micros_per_mail: f64,
}

/// How many connections the server serves at once, and how many a sink may have that does not know it.
const SERVED: usize = 256;
const ALLOWED: usize = 1_000;
/// As many mails wait for these as `mailjob run` executes at once.
const AT_ONCE: usize = 1_024;
const RACE_MAILS: usize = 20_000;
/// At least so much of the speed with as many connections as are served.
const RACE_BAR: f64 = 0.9;

struct Plan {
    connections: usize,
    /// Mails of the sink and `smtp-source`, and those of lettre, which needs 43 ms for each.
    mails: usize,
    lettre_mails: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let postfix = find("smtp-source").zip(find("smtp-sink"));
    let (smtp_source, smtp_sink) = postfix.unzip();
    if smtp_sink.is_none() {
        println!("No Postfix: to the fake server in this process, whose CPU time is counted too.");
    }
    let (scale, rounds) = if has("--short") { (1, 3) } else { (5, 3) };
    let plan = |connections, mails: usize, lettre_mails: usize| Plan {
        connections,
        mails: mails * scale,
        lettre_mails: lettre_mails * scale,
    };
    println!("{:>11} {:>12} {:>10} {:>12}", "connections", "", "mails/s", "CPU us/mail");
    let mut missed = 0;
    let plans =
        [plan(1, 6_000, 25), plan(8, 8_000, 200), plan(64, 12_500, 800), plan(100, 12_500, 800)];
    for plan in plans.into_iter().filter(|_| !has("--race")) {
        let mut best: [Option<Figure>; 3] = [None; 3];
        for _ in 0..rounds {
            let figures = [
                Some(run_sink(smtp_sink.as_deref(), plan.connections, AT_ONCE, plan.mails)),
                Some(run_lettre(smtp_sink.as_deref(), &plan)),
                smtp_source
                    .as_deref()
                    .map(|path| run_smtp_source(smtp_sink.as_deref(), path, &plan)),
            ];
            for (best, figure) in best.iter_mut().zip(figures) {
                *best = faster(*best, figure);
            }
        }
        missed += report(&plan, best);
    }
    missed += race(smtp_sink.as_deref(), rounds);
    if has("--bars") {
        assert_eq!(missed, 0, "bars were missed");
    }
}

fn faster(one: Option<Figure>, other: Option<Figure>) -> Option<Figure> {
    one.into_iter().chain(other).max_by(|a, b| a.mails_per_second.total_cmp(&b.mails_per_second))
}

/// Prints the figures, and says how many bars they miss.
fn report(plan: &Plan, figures: [Option<Figure>; 3]) -> usize {
    for (name, figure) in ["mail sink", "lettre", "smtp-source"].into_iter().zip(figures) {
        let Some(figure) = figure else { continue };
        let Figure { mails_per_second, cpu_micros_per_mail } = figure;
        let connections = plan.connections;
        println!(
            "{connections:>11} {name:>12} {mails_per_second:>10.0} {cpu_micros_per_mail:>12.1}"
        );
    }
    let [Some(sink), Some(lettre), Some(source)] = figures else { return 0 };
    let to_lettre = sink.mails_per_second / lettre.mails_per_second;
    let to_source = sink.mails_per_second / source.mails_per_second;
    let cpu = sink.cpu_micros_per_mail / source.cpu_micros_per_mail;
    println!("{:>24} {to_lettre:.1} x lettre, {to_source:.2} x smtp-source, CPU {cpu:.2} x", "");
    let bars = match plan.connections {
        1 => vec![to_lettre >= 50.0, to_source >= 1.5, cpu <= 1.0],
        _ => vec![to_source >= 2.0, cpu <= 1.0],
    };
    let missed = bars.iter().filter(|met| !**met).count();
    if missed > 0 {
        println!("{:>24} {missed} of {} bars missed", "", bars.len());
    }
    missed
}

/// Prints what connections cost that the server does not serve, and says whether it is too much.
fn race(smtp_sink: Option<&Path>, rounds: usize) -> usize {
    let mut best: [Option<Figure>; 2] = [None; 2];
    for _ in 0..rounds {
        for (best, connections) in best.iter_mut().zip([ALLOWED, SERVED]) {
            *best = faster(*best, Some(run_sink(smtp_sink, connections, AT_ONCE, RACE_MAILS)));
        }
    }
    let [Some(allowed), Some(served)] = best else { return 0 };
    for (connections, figure) in [(ALLOWED, allowed), (SERVED, served)] {
        let Figure { mails_per_second, cpu_micros_per_mail } = figure;
        println!(
            "{connections:>11} {:>12} {mails_per_second:>10.0} {cpu_micros_per_mail:>12.1}",
            "mail sink"
        );
    }
    let ratio = allowed.mails_per_second / served.mails_per_second;
    println!("{:>24} {ratio:.2} x as fast where {SERVED} are served (bar {RACE_BAR})", "");
    usize::from(ratio < RACE_BAR)
}

/// Sends so many mails `at_once`, by so many connections.
fn run_sink(smtp_sink: Option<&Path>, connections: usize, at_once: usize, mails: usize) -> Figure {
    let server = Server::start(smtp_sink);
    let jobs: Vec<_> = (0..mails).map(job).collect();
    let config = MailConfig::new("127.0.0.1", FROM)
        .port(server.port())
        .tls(TlsMode::None)
        .allowed_from_domains(vec!["example.com".into()])
        .connections_max(connections.try_into().expect("at least one connection"));
    let sink = Arc::new(MailSink::new(&config).expect("the settings are good"));
    let figure = measure(mails, || {
        block_on(each(at_once, jobs, move |(job, record)| {
            let sink = Arc::clone(&sink);
            async move { drop(sink.execute(&job, &record).await.expect("every mail is accepted")) }
        }));
    });
    server.assert_mails(mails);
    figure
}

fn run_lettre(smtp_sink: Option<&Path>, plan: &Plan) -> Figure {
    let server = Server::start(smtp_sink);
    let pool = PoolConfig::new().max_size(plan.connections.try_into().expect("a small number"));
    let messages: Vec<_> = (0..plan.lettre_mails).map(message).collect();
    let port = server.port();
    let figure = measure(plan.lettre_mails, || {
        block_on(async move {
            let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
                .port(port)
                .pool_config(pool)
                .build();
            each(plan.connections, messages, move |message| {
                let transport = transport.clone();
                async move { drop(transport.send(message).await.expect("every mail is accepted")) }
            })
            .await;
        });
    });
    server.assert_mails(plan.lettre_mails);
    figure
}

fn run_smtp_source(smtp_sink: Option<&Path>, smtp_source: &Path, plan: &Plan) -> Figure {
    let server = Server::start(smtp_sink);
    let figure = measure(plan.mails, || {
        let status = Command::new(smtp_source)
            .args(["-d", "-s", &plan.connections.to_string(), "-m", &plan.mails.to_string()])
            .args(["-l", &(BODY_BYTES + 200).to_string(), "-f", FROM, "-t", TO])
            .arg(format!("127.0.0.1:{}", server.port()))
            .status()
            .expect("smtp-source can be started");
        assert!(status.success(), "smtp-source failed: {status}");
    });
    server.assert_mails(plan.mails);
    figure
}

/// Does `one` with every item, `at_once` of them at a time.
async fn each<T, F>(at_once: usize, items: Vec<T>, one: impl Fn(T) -> F + Clone + Send + 'static)
where
    T: Send + 'static,
    F: Future<Output = ()> + Send,
{
    let items = Arc::new(std::sync::Mutex::new(items));
    let workers = (0..at_once).map(|_| {
        let (items, one) = (Arc::clone(&items), one.clone());
        tokio::spawn(async move {
            loop {
                let item = items.lock().expect("no worker panics with it").pop();
                let Some(item) = item else { return };
                one(item).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("no worker panics");
    }
}

fn block_on(action: impl Future<Output = ()>) {
    let mut builder = match std::env::var("SMTP_BENCH_THREADS").ok() {
        None => tokio::runtime::Builder::new_current_thread(),
        Some(threads) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads.parse().expect("SMTP_BENCH_THREADS is a number"));
            builder
        }
    };
    builder.enable_all().build().expect("a runtime can be built").block_on(action);
}

fn measure(mails: usize, action: impl FnOnce()) -> Figure {
    let (cpu, start) = (cpu_seconds(), Instant::now());
    action();
    let (cpu, elapsed) = (cpu_seconds() - cpu, start.elapsed());
    let mails = f64::from(u32::try_from(mails).expect("a small number"));
    Figure {
        mails_per_second: mails / elapsed.as_secs_f64(),
        cpu_micros_per_mail: cpu * 1e6 / mails,
    }
}

/// CPU time of this process and of its children that have ended.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields = stat.rsplit(')').next().expect("the name ends").split_whitespace();
    // utime, stime, cutime and cstime, the fields 14 to 17.
    fields.skip(11).take(4).map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>()
        / TICKS_PER_SECOND
}

/// A server on a free port; it ends when dropped.
enum Server {
    Postfix { child: Child, port: u16, counts: PathBuf },
    Fake { server: SmtpServer, _runtime: Runtime },
}

impl Server {
    fn start(smtp_sink: Option<&Path>) -> Self {
        let Some(smtp_sink) = smtp_sink else { return Self::fake() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let counts = std::env::temp_dir().join(format!("smtp-sink-{port}.counts"));
        let is_root = fs::metadata("/proc/self").expect("/proc is there").uid() == 0;
        let child = Command::new(smtp_sink)
            .args(if is_root { &["-u", "nobody"][..] } else { &[] })
            .args(["-c", &format!("127.0.0.1:{port}"), "1000"])
            .stdout(File::create(&counts).expect("the counts can be written"))
            .stderr(Stdio::null())
            .spawn()
            .expect("smtp-sink can be started");
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "smtp-sink does not listen");
            std::thread::yield_now();
        }
        Self::Postfix { child, port, counts }
    }

    fn fake() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let server =
            SmtpServer::builder().keep(Keep::Counts).exchanges_kept(0).served_limit(SERVED as u64);
        let server = runtime.block_on(server.listen()).expect("a port is free");
        Self::Fake { server, _runtime: runtime }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Postfix { port, .. } => *port,
            Self::Fake { server, .. } => server.address().port(),
        }
    }

    /// Asserts that the server has counted that many mails, neither fewer nor more.
    fn assert_mails(&self, expected: usize) {
        let found = match self {
            Self::Postfix { counts, .. } => {
                let counts = fs::read_to_string(counts).expect("the counts can be read");
                let last = counts.rsplit("mesg=").next().unwrap_or_default();
                let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            }
            Self::Fake { server, .. } => {
                let counts = server.inbox().counts();
                assert!(counts.values().all(|count| *count == 1), "a mail arrived twice");
                usize::try_from(server.inbox().count()).ok()
            }
        };
        assert_eq!(found, Some(expected), "mails that arrived");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Postfix { child, counts, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_file(counts);
        }
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    if std::env::var_os("SMTP_BENCH_FAKE").is_some() {
        return None;
    }
    let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn body() -> String {
    let line = "The quick brown fox jumps over the lazy dog, and then it sleeps.\n";
    line.chars().cycle().take(BODY_BYTES).collect()
}

fn message(_: usize) -> Message {
    Message::builder()
        .from(FROM.parse().expect("an address"))
        .to(TO.parse().expect("an address"))
        .subject("Bench")
        .body(body())
        .expect("a message")
}

fn job(number: usize) -> (Job, ConsumerRecord) {
    let value = serde_json::json!({
        "Id": format!("{number:024x}"),
        "Name": "bench",
        "ScheduleTime": "2024-01-01T00:00:00Z",
        "CreatedAt": "2023-06-30T16:50:46.3042083Z",
        "UpdatedAt": "2023-06-30T16:50:46.3042086Z",
        "Status": 2,
        "JobData": {"SourceAddress": FROM, "DestinationAddress": TO, "Subject": "Bench",
                    "Message": body()},
    });
    let value = Bytes::from(value.to_string());
    let job = JobCodec.decode(Some(&value)).expect("a job");
    let record = ConsumerRecord::new(
        TopicPartition::new("topic-job-run", 0),
        i64::try_from(number).expect("a small number"),
        1,
    )
    .value(value);
    (job, record)
}
