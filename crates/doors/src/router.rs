//! Every path of the API, on one page.

use api::v1::{About, Explanation, StatusAnswer};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use model::{DocumentName, Kind};

use crate::refusal::Refusal;
use crate::wire::{Json, KindAndName};
use crate::{Doors, asked, backup, codes, documents, explain, logs, plans, purge, reveal, status, usage, wishes};

/// Most bytes of a plan's documents, and of any other body.
const PLAN_BYTES: usize = 256 << 20;
const BODY_BYTES: usize = 1 << 20;

/// The router of version 1.
pub(crate) fn router(doors: Doors) -> Router {
    Router::new()
        .route("/v1/about", get(about))
        .route("/v1/status", get(whole_status))
        .route("/v1/documents/{plural}", get(documents::list))
        .route("/v1/documents/{plural}/{name}", get(documents::show))
        .route("/v1/watch/{plural}", get(documents::watch))
        .route("/v1/plans", post(plans::make).layer(DefaultBodyLimit::max(PLAN_BYTES)))
        .route("/v1/plans/{id}", get(plans::show))
        .route("/v1/plans/{id}/apply", post(plans::apply))
        .route("/v1/tenants", post(wishes::tenant_add))
        .route("/v1/tenants/{name}/suspend", post(wishes::tenant_suspend))
        .route("/v1/tenants/{name}/resume", post(wishes::tenant_resume))
        .route("/v1/tenants/{name}/remove", post(wishes::tenant_remove))
        .route("/v1/tenants/{name}/purge", post(purge::purge))
        .route("/v1/cells", post(wishes::cell_open))
        .route("/v1/cells/{name}/drain", post(wishes::cell_drain))
        .route("/v1/cells/{name}/close", post(wishes::cell_close))
        .route("/v1/cells/{name}/logs", get(logs::logs))
        .route("/v1/operations/{name}/cancel", post(wishes::operation_cancel))
        .route("/v1/operations/{name}/reveal", post(reveal::reveal))
        .route("/v1/backup", get(backup::backup))
        .route("/v1/ledger", get(usage::usage))
        .route("/v1/explain/{plural}/{name}", get(whole_explanation))
        .method_not_allowed_fallback(no_such_path)
        .fallback(no_such_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn(asked::audit))
        .with_state(doors)
}

async fn no_such_path(request: Request) -> Refusal {
    codes::NO_SUCH_PATH.refuse(format!("there is no {} {}", request.method(), request.uri().path()))
}

/// `GET /v1/about`
async fn about(State(doors): State<Doors>) -> Result<Json<About>, Refusal> {
    tell(&doors).await.map(Json)
}

async fn tell(doors: &Doors) -> Result<About, Refusal> {
    Ok(About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: doors.0.platform.to_string(),
        incarnation: doors.0.store.incarnation().await?,
        active: (doors.0.active)(),
        looked: (doors.0.looked)(),
    })
}

/// `GET /v1/status`
async fn whole_status(State(doors): State<Doors>) -> Result<Json<StatusAnswer>, Refusal> {
    let about = tell(&doors).await?;
    doors.0.mirror.fresh(&doors.0.store).await?;
    Ok(Json(status::status(&doors.0.mirror.read(), about)))
}

/// `GET /v1/explain/{plural}/{name}`
async fn whole_explanation(State(doors): State<Doors>, KindAndName(kind, name): KindAndName<DocumentName>) -> Result<Json<Explanation>, Refusal> {
    doors.0.mirror.fresh(&doors.0.store).await?;
    let explanation = explain::explain(&doors.0.mirror.read(), kind, &name);
    match explanation {
        Some(explanation) => Ok(Json(explanation)),
        None => {
            // Tells what is missing, or that it stands and cannot be read.
            documents::get(&doors, kind, &name).await?;
            Err(codes::UNREADABLE.refuse(format!("{} {name} does not have the shape of this release", Kind::as_str(kind).to_lowercase())))
        }
    }
}
