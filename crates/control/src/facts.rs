//! Facts on their way in: what edges report of their tenants goes to the ledger.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::post;
use http::StatusCode;
use jiff::Timestamp;
use ledger::{Ledger, LedgerError, Report};
use model::MachineName;

/// Most octets of a report.
const MOST: usize = 1 << 20;

/// `POST /v1/edges/{name}/facts`: 204 once a report is counted and on disk, also where that was done before. To be served over mutual TLS to edges only.
pub fn router(ledger: Arc<dyn Ledger>) -> Router {
    async fn facts(State(ledger): State<Arc<dyn Ledger>>, Path(name): Path<MachineName>, axum::Json(report): axum::Json<Report>) -> StatusCode {
        let now = Timestamp::now().as_second();
        let taken = tokio::task::spawn_blocking(move || ledger.take(name.as_str(), &report, now)).await;
        match taken {
            Ok(Ok(_)) => StatusCode::NO_CONTENT,
            Ok(Err(error @ LedgerError::Refused(_))) => {
                tracing::warn!(%error, "facts of an edge are refused");
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "facts of edges are not kept; they keep them themselves meanwhile");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    Router::new().route("/v1/edges/{name}/facts", post(facts)).layer(DefaultBodyLimit::max(MOST)).with_state(ledger)
}
