//! Answers scrapes and probes, over HTTP.

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::check::{Answer, Check};
use super::exposition::Exposition;
use super::proc::Proc;
use crate::web::{self, Limits};

/// What is measured, and the questions of probes.
#[derive(Default)]
pub struct Monitor {
    /// Everything that is measured.
    pub registry: Registry,
    /// Whether the process is to go on: where not, restart it.
    pub health: Vec<Check>,
    /// Whether it does its work now.
    pub readiness: Vec<Check>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("health", &self.health)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

impl Monitor {
    /// What the kernel reports about this process, and which service of which version it is; every
    /// metric has the label `environment` where there is one.
    pub fn new(service: &str, version: &str, environment: Option<&str>) -> Self {
        let label = |name: &str| ("environment".into(), name.to_owned().into());
        let mut registry = Registry::with_labels(environment.map(label).into_iter());
        let names = [("service_name", service), ("service_version", version)];
        let names = names.map(|(name, value)| (name, value.to_owned()));
        registry.register("target", "The service that tells", Info::new(names));
        registry.register_collector(Box::new(Proc));
        Self { registry, health: Vec::new(), readiness: Vec::new() }
    }

    /// Answers `/metrics` in OpenMetrics or in Prometheus's text, as `Accept` has it, and
    /// `/healthz` and `/readyz` with 200 or 503 and their reasons in JSON, within the limits of a
    /// listener beside the work. Never completes; dropped, it listens no more.
    pub async fn serve(self, listener: TcpListener) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .layer(middleware::from_fn(web::limit))
            .with_state(Arc::new(self));
        web::serve(listener, router, Limits::beside_the_work(), pending()).await;
    }
}

async fn metrics(State(monitor): State<Arc<Monitor>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = Exposition::preferred(&accept.collect::<Vec<_>>());
    let mut text = String::new();
    match encode(&mut text, &monitor.registry) {
        Ok(()) => {
            ([(CONTENT_TYPE, form.content_type()), (VARY, "accept")], form.of(text)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(State(monitor): State<Arc<Monitor>>) -> Response {
    probe(&monitor.health)
}

async fn readyz(State(monitor): State<Arc<Monitor>>) -> Response {
    probe(&monitor.readiness)
}

fn probe(checks: &[Check]) -> Response {
    let answer = Answer::of(checks);
    let status = if answer.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&answer) {
        Ok(json) => (status, [(CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
