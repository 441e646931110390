//! What the mail sink reports, as spans below the execution of a job.

use std::sync::Arc;

use jobstream::sinks::smtp::{Event, Observer};
use jobstream_service::traces::{KeyValue, SpanKind, Traces};

/// Makes a span of each phase of a mail. A phase that belongs to no job, of a probe, has none.
#[derive(Debug)]
pub struct MailTraces {
    traces: Traces,
    server: [KeyValue; 3],
}

impl MailTraces {
    /// Spans of what is said to this server.
    pub fn new(traces: Traces, host: &str, port: u16) -> Arc<Self> {
        let server = [
            KeyValue::new("server.address", host.to_owned()),
            KeyValue::new("server.port", i64::from(port)),
            KeyValue::new("network.protocol.name", "smtp"),
        ];
        Arc::new(Self { traces, server })
    }
}

impl Observer for MailTraces {
    fn on(&self, event: &Event<'_>) {
        if let Event::PhaseEnded { phase, took, succeeded } = event {
            let name = format!("smtp {phase}");
            self.traces.passed(name, SpanKind::Client, &self.server, *took, *succeeded);
        }
    }
}
