//! The pages: `/metrics`, `/health`, `/ready`, `/status`.
//!
//! Invariant: `/ready` says 200 or 503, and why; `/health` says 200 as long as the process can answer at all.

use super::StatusSource;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;

type Source = Arc<dyn StatusSource>;

const INDEX: &str = "Millstream\n\n/metrics  Prometheus\n/health   the process answers\n/ready    all its tasks run\n/status   tasks, phases and positions as JSON\n";

pub(super) fn router(status: Source) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics_page))
        .route("/ready", get(ready_page))
        .route("/status", get(status_page))
        .with_state(status)
}

async fn metrics_page(State(source): State<Source>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        source.metrics(),
    )
}

async fn ready_page(State(source): State<Source>) -> impl IntoResponse {
    match source.ready() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        ),
    }
}

async fn status_page(State(source): State<Source>) -> impl IntoResponse {
    Json(source.status())
}
