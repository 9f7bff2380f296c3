//! Who asks: proved by the kernel or by a token, and said by the caller in a header.

use std::sync::Arc;

use api::v1::REQUESTED_BY;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use store::{Key, Write};

use crate::server::Peer;

/// Who asks for a change: `cli:ann@uid:1000`. What stands before the `@` is the caller's own word, what stands behind it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked(Arc<str>);

/// An operator who came in over TCP, by the name of his token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator(pub Arc<str>);

impl Asked {
    /// Reads it from a request.
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let proved = match (extensions.get::<Operator>(), extensions.get::<ConnectInfo<Peer>>().and_then(|info| info.0.uid)) {
            (Some(operator), _) => format!("operator:{}", operator.0),
            (None, Some(uid)) => format!("uid:{uid}"),
            (None, None) => "unknown".to_owned(),
        };
        // No second `@`: nobody can say what only a proof may say.
        let plain = |c: &char| c.is_ascii_alphanumeric() || ":-_./".contains(*c);
        let said = request.headers().get(REQUESTED_BY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let said: String = said.chars().filter(plain).take(100).collect();
        Self(if said.is_empty() { proved.into() } else { format!("{said}@{proved}").into() })
    }

    /// The write that keeps it with a document which the same commit changes.
    pub fn write(&self, key: Key) -> Write {
        Write::Asked { key, by: self.0.to_string() }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self("unknown".into())))
    }
}

/// Lets handlers know who asks, and writes down who asked for a change.
pub(crate) async fn audit(mut request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let asked = Asked::of(&request);
    request.extensions_mut().insert(asked.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::info!(target: "audit", by = &*asked.0, %method, path, status = response.status().as_u16(), "asked");
    response
}
