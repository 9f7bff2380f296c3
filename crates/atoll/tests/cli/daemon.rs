//! As much of a Docker daemon as `up` and `doctor` ask before anything is made. Whatever else it is asked, it refuses and remembers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the daemon says of itself.
#[derive(Clone)]
pub struct Says {
    /// Its version.
    pub version: &'static str,
    /// The image that it has.
    pub image: &'static str,
    /// The subnet of a network of somebody else.
    pub network: &'static str,
}

impl Default for Says {
    fn default() -> Self {
        Self { version: "27.3.1", image: concat!("localhost/atoll/atoll:", env!("CARGO_PKG_VERSION")), network: "192.168.77.0/24" }
    }
}

/// A daemon behind a socket.
pub struct Daemon {
    folder: TempDir,
    changes: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Daemon {
    /// Listens.
    pub fn start(says: Says) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let changes: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = changes.clone();
        let router = Router::new().fallback(move |method: Method, uri: Uri| {
            if method != Method::GET && method != Method::HEAD {
                seen.lock().unwrap().push(format!("{method} {uri}"));
            }
            let answer = answer(&says, uri.path());
            async move { answer }
        });
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { folder, changes, serving }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Calls that would have changed something.
    pub fn changes(&self) -> Vec<String> {
        self.changes.lock().unwrap().clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(says: &Says, path: &str) -> Response {
    let plain = path.trim_start_matches(|c: char| c == '/' || c == 'v' || c == '.' || c.is_ascii_digit());
    let json = |value: Value| ([("content-type", "application/json")], value.to_string()).into_response();
    match plain {
        "_ping" => "OK".into_response(),
        "ersion" | "version" => json(json!({ "Version": says.version, "ApiVersion": "1.41", "MinAPIVersion": "1.12" })),
        "info" => json(json!({ "DockerRootDir": "/", "LiveRestoreEnabled": true })),
        "containers/json" => json(json!([])),
        "networks" => json(json!([{ "Name": "shop", "Id": "n", "IPAM": { "Config": [{ "Subnet": says.network }] } }])),
        "images/json" => json(json!([{
            "Id": "sha256:1", "ParentId": "", "RepoTags": [says.image], "RepoDigests": [], "Created": 0, "Size": 1, "SharedSize": -1,
            "Labels": {}, "Containers": -1
        }])),
        image if image == format!("images/{}/json", says.image) => json(json!({ "Id": "sha256:1" })),
        _ => (StatusCode::NOT_FOUND, [("content-type", "application/json")], json!({ "message": format!("no {path}") }).to_string()).into_response(),
    }
}
