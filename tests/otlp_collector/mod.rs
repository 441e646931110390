//! The OpenTelemetry Collector for tests, built by `scripts/collector`: it takes OTLP, and what it
//! has taken is read here.

#![expect(clippy::unwrap_used, reason = "a test that waits for the collector")]

#[path = "../script/mod.rs"]
mod script;
mod span;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use script::script;
pub(crate) use span::{Span, tree};

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(180);
/// How often it is started.
const TRIES: usize = 5;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A collector that runs until it is dropped.
pub(crate) struct Collector {
    child: Child,
    folder: TempDir,
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Collector {
    /// Completes when it takes OTLP.
    pub(crate) async fn start() -> Self {
        let built = script("collector").output().unwrap();
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "scripts/collector: {errors}");
        let tool = String::from_utf8(built.stdout).unwrap().trim().to_owned();
        // Somebody else may be quicker to take one of its ports.
        let mut said = String::new();
        for _ in 0..TRIES {
            match timeout(LIMIT, Self::try_start(&tool)).await.expect("a collector, or its end") {
                Ok(collector) => return collector,
                Err(words) => said = words,
            }
        }
        panic!("the collector does not start: {said}");
    }

    /// Completes when it takes OTLP, or has ended: then with what it said.
    async fn try_start(tool: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let [grpc, http] = free_addresses();
        let path = folder.path().join("traces");
        let config = format!(
            "yaml:{{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}, \
             http: {{endpoint: '{http}'}}}}}}}}, exporters: {{lines: {{path: {path:?}}}}}, \
             service: {{telemetry: {{metrics: {{level: none}}}}, \
             pipelines: {{traces: {{receivers: [otlp], exporters: [lines]}}}}}}}}"
        );
        let mut command = Command::new(tool);
        let log = folder.path().join("log");
        command.args(["--config", &config]).stdout(Stdio::null());
        command.stderr(File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        let mut collector = Self { child, folder, grpc, http };
        while [grpc, http].iter().any(|address| TcpStream::connect(address).is_err()) {
            if collector.child.try_wait().unwrap().is_some() {
                return Err(std::fs::read_to_string(log).unwrap());
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(collector)
    }

    /// What is set so that traces go there, by this protocol.
    pub(crate) fn settings(&self, protocol: &str) -> [(&'static str, String); 3] {
        let address = if protocol == "grpc" { self.grpc } else { self.http };
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ]
    }

    /// The spans that it has taken so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let lines = std::fs::read_to_string(self.folder.path().join("traces"));
        let lines = lines.unwrap_or_default();
        let complete = lines.rfind('\n').map_or("", |end| &lines[..end]);
        complete.lines().flat_map(Span::all_of).collect()
    }

    /// The spans that it has taken, once they are as a test expects them.
    pub(crate) async fn spans_when(
        &self,
        is_expected: impl Fn(&[Span]) -> bool + Send + Sync,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        let taken = async {
            while !is_expected(&spans) {
                sleep(LOOK_AGAIN_AFTER).await;
                spans = self.spans();
            }
        };
        let taken = timeout(LIMIT, taken).await;
        assert!(taken.is_ok(), "found {:#?}", self.spans());
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Addresses that nobody listens on.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}
