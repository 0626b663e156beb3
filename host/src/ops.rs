//! The operator's view: `/healthz`, `/readyz`, `/metrics`. Content-free, plain HTTP, meant for loopback.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use wire::message::Phase;

use crate::{channel, metrics::Metrics};

/// What the operator's routes read.
pub struct Ops {
    /// Folder of the host channel.
    pub channel: PathBuf,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The operator's routes.
pub fn routes(ops: Arc<Ops>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

/// 200 while the enclave serves; else 503 with its phase and the code of what it waits for.
async fn ready(State(ops): State<Arc<Ops>>) -> Response {
    match channel::status(&ops.channel).await {
        Ok(status) if status.phase == Phase::Serving => (StatusCode::OK, "serving\n").into_response(),
        Ok(status) => {
            let line = format!("{} {}\n", status.phase.as_str(), status.detail_code);
            (StatusCode::SERVICE_UNAVAILABLE, line).into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no enclave\n").into_response(),
    }
}

async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    let status = channel::status(&ops.channel).await.ok();
    let text = ops.metrics.encode(status.as_ref());
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}
