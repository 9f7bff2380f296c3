//! The limits' way in: small, and asked for every few seconds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use identity::{HttpsClient, Role};
use model::v1alpha1::LimitsSpec;
use tokio_util::sync::CancellationToken;

use crate::fair::{Classes, Fair};

/// How often control is asked.
const EVERY: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(4);
/// The limits' file in the edge's folder.
const FILE: &str = "limits.json";

/// Works by the last limits from disk, then by control's, until the stop.
pub(crate) async fn follow(fair: Arc<Fair>, client: HttpsClient, control: SocketAddr, folder: PathBuf, name: String, stop: CancellationToken) {
    let client = client.within(WITHIN);
    let mut have = read(&folder);
    if let Some(limits) = &have {
        fair.set(Classes::new(limits));
    }
    loop {
        if let Some(limits) = ask(&client, control).await
            && have.as_ref() != Some(&limits)
        {
            fair.set(Classes::new(&limits));
            tracing::info!(classes = limits.classes.len(), "limits changed");
            if let Err(error) = write(&folder, &name, &limits) {
                tracing::error!(%error, "the limits cannot be written; the edge would start with older ones");
            }
            have = Some(limits);
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Control's limits; none where it is away, or too old to have some.
async fn ask(client: &HttpsClient, control: SocketAddr) -> Option<LimitsSpec> {
    let request = Request::get("/v1/limits").body(Bytes::new()).ok()?;
    // That control is away is told by the feed of routes.
    let answer = client.request(control, &Role::Control, request).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    match serde_json::from_slice(answer.body()) {
        Ok(limits) => Some(limits),
        Err(error) => {
            tracing::warn!(%error, "control's limits do not parse; the edge keeps those it has");
            None
        }
    }
}

fn read(folder: &Path) -> Option<LimitsSpec> {
    let path = folder.join(FILE);
    let bytes = match fs_err::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(%error, "the last limits cannot be read; the edge waits for control's");
            return None;
        }
    };
    let limits = serde_json::from_slice(&bytes);
    if let Err(error) = &limits {
        tracing::error!(path = %path.display(), %error, "the last limits are of no use; the edge waits for control's");
    }
    limits.ok()
}

/// Writes beside and renames into place. What a power cut takes, control tells again.
fn write(folder: &Path, name: &str, limits: &LimitsSpec) -> std::io::Result<()> {
    let beside = folder.join(format!("{FILE}.{name}"));
    fs_err::write(&beside, serde_json::to_vec(limits)?)?;
    fs_err::rename(&beside, folder.join(FILE))
}
