//! What sends spans by OTLP.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};

use super::settings::{Protocol, TracesSettings};

/// The exporter can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("traces can't be exported: {0}")]
pub struct ExporterError(pub(super) String);

/// Made within the runtime on which it is to export. Where an address begins with `https` the
/// system's authorities are trusted.
///
/// # Errors
/// If the settings do not go together, or the system has no authorities.
pub(super) fn exporter(settings: &TracesSettings) -> Result<SpanExporter, ExporterError> {
    let refused = |error: &dyn std::fmt::Display| ExporterError(error.to_string());
    let built = match settings.protocol {
        Protocol::Grpc => {
            let builder = SpanExporter::builder().with_tonic();
            let builder = match settings.is_encrypted() {
                true => builder.with_tls_config(ClientTlsConfig::new().with_native_roots()),
                false => builder,
            };
            builder
                .with_endpoint(&settings.endpoint)
                .with_timeout(settings.timeout)
                .with_metadata(MetadataMap::from_headers(headers(settings)))
                .build()
        }
        Protocol::Http => {
            let builder = SpanExporter::builder().with_http();
            let builder = match settings.is_encrypted() {
                true => {
                    let tls = HttpsConnectorBuilder::new().with_native_roots();
                    let tls = tls.map_err(|error| refused(&error))?.https_only().enable_http1();
                    builder.with_http_client(HyperClient::new(tls.build(), settings.timeout, None))
                }
                false => builder
                    .with_http_client(HyperClient::with_default_connector(settings.timeout, None)),
            };
            let headers = settings.headers.iter().cloned();
            builder
                .with_endpoint(&settings.endpoint)
                .with_timeout(settings.timeout)
                .with_headers(headers.collect::<HashMap<_, _>>())
                .build()
        }
    };
    built.map_err(|error| refused(&error))
}

fn headers(settings: &TracesSettings) -> HeaderMap {
    let header = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    settings.headers.iter().filter_map(header).collect()
}
