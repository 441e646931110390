//! Traces of records, exported by OTLP: off unless the standard `OTEL_*` variables say where to.
//!
//! ```text
//!                    ┌─ decode
//!                    ├─ filter
//!  traceparent ─▶ process ─┬─ execute ─▶ what the job sink reports
//!  (parent, link)    ├─ encode
//!                    └─ send ─▶ traceparent     publish (a batch) ─▶ links to each send
//! ```
//!
//! [`RunTraces`] hears a topology as any observer does, and hands the context of each record on.
//! Names and attributes are those of OpenTelemetry's conventions for messaging (1.27). No attribute
//! holds a key, an address or what is in a record.
//!
//! Spans that have ended wait in a queue with a limit, and a thread of its own exports them: work
//! on a record never waits for a collector of traces.

mod context;
mod export;
mod flight;
mod messaging;
mod otlp;
mod queue;
mod run;
mod sampler;
mod sending;
mod settings;
mod span;

use std::io;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanExporter};
use tracing::warn;

pub use context::{Scope, current_trace_id, trace_id_of};
pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::{SpanKind, TraceId};
pub use otlp::ExporterError;
pub use run::RunTraces;
pub use sending::Sending;
pub use settings::TracesSettings;
pub use span::Request;

use queue::Queue;

/// The instrumentation scope of the spans.
const SCOPE: &str = "jobstream";
/// How long the end of a process waits for spans to be exported.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Makes spans; clones share it.
#[derive(Clone, Debug)]
pub struct Traces {
    tracer: SdkTracer,
}

/// Traces that are exported. Dropped, it waits until those that have ended are, at most
/// `FLUSH_LIMIT` long; what ends later is lost.
#[derive(Debug)]
#[must_use = "dropped, it ends the export"]
pub struct TracesExport {
    provider: SdkTracerProvider,
}

impl TracesExport {
    /// Ends the export as a drop does, but waits as long as `limit`.
    pub fn end(self, limit: Duration) {
        self.shut_down(limit);
    }

    fn shut_down(&self, limit: Duration) {
        match self.provider.shutdown_with_timeout(limit) {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) => warn!("Traces were not exported to the end: {error}"),
        }
    }
}

impl Drop for TracesExport {
    fn drop(&mut self) {
        self.shut_down(FLUSH_LIMIT);
    }
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter can't be made.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// The system gives no thread.
    #[error("traces can't be exported: {0}")]
    Thread(#[from] io::Error),
}

impl Traces {
    /// Exports traces by OTLP from now on, and until the export is dropped.
    ///
    /// # Errors
    /// If the exporter can't be made, or the system gives no thread.
    pub fn start(settings: &TracesSettings) -> Result<(Self, TracesExport), TracesError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exporter = {
            let _entered = runtime.enter();
            otlp::exporter(settings)?
        };
        Ok(Self::on(runtime, exporter, settings)?)
    }

    /// The same with another exporter.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start_with(
        exporter: impl SpanExporter + 'static,
        settings: &TracesSettings,
    ) -> io::Result<(Self, TracesExport)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Self::on(runtime, exporter, settings)
    }

    fn on(
        runtime: tokio::runtime::Runtime,
        mut exporter: impl SpanExporter + 'static,
        settings: &TracesSettings,
    ) -> io::Result<(Self, TracesExport)> {
        let resource = resource(settings);
        exporter.set_resource(&resource);
        let processor = export::start(runtime, exporter, Queue::new(settings.queue))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(settings.sampler.to_sdk())
            .with_span_processor(processor)
            .build();
        let tracer = provider.tracer(SCOPE);
        Ok((Self { tracer }, TracesExport { provider }))
    }
}

fn resource(settings: &TracesSettings) -> Resource {
    let attributes = settings.resource.iter().cloned();
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        ])
        .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
        .with_service_name(settings.service_name.clone())
        .build()
}
