//! A copy of the store, made while it works and sent as one file.

use std::path::PathBuf;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use tokio_util::io::ReaderStream;

use crate::refusal::Refusal;
use crate::{Doors, codes};

/// Copies the store while it works.
#[async_trait]
pub trait Copies: Send + Sync {
    /// Makes a copy in a new file and gives its path; whoever asked removes it.
    ///
    /// # Errors
    /// A sentence that says why there is none; no file is left then.
    async fn copy(&self) -> Result<PathBuf, String>;
}

/// `GET /v1/backup`
pub(crate) async fn backup(State(doors): State<Doors>) -> Result<Response, Refusal> {
    let failed = |why: String| codes::STORE.refuse(format!("the store cannot be copied: {why}"));
    let copies = doors.0.copies.clone().ok_or_else(|| failed("this control keeps it elsewhere".to_owned()))?;
    let path = copies.copy().await.map_err(failed)?;
    let opened = tokio::fs::File::open(&path).await;
    // From here on the open file is all that is needed, and nothing is left behind however this ends.
    let removed = tokio::fs::remove_file(&path).await;
    let file = opened.map_err(|error| failed(error.to_string()))?;
    removed.map_err(|error| failed(error.to_string()))?;
    let length = file.metadata().await.map_err(|error| failed(error.to_string()))?.len();
    tracing::info!(target: "audit", bytes = length, "the store is copied");
    let kind = HeaderValue::from_static("application/vnd.sqlite3");
    // With its length, so that a copy which ends early is not taken for a whole one.
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, length.into())], Body::from_stream(ReaderStream::new(file))).into_response())
}
