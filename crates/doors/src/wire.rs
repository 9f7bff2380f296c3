//! Requests in and answers out: every refusal is a fault, also those of the framework.

use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use model::{Fault, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::codes;
use crate::refusal::Refusal;

/// A JSON answer.
pub(crate) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => codes::DEFECT.refuse(format!("the answer cannot be written: {error}")).into_response(),
        }
    }
}

/// A JSON body, with the place of a mistake in the refusal.
pub(crate) struct Wanted<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Wanted<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status().as_u16() {
            413 => codes::TOO_LARGE.refuse("the body is larger than this path takes"),
            _ => codes::NOT_UNDERSTOOD.refuse(format!("the body did not arrive whole: {}", rejection.body_text())),
        })?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let wanted = serde_path_to_error::deserialize(&mut json).and_then(|wanted| {
            json.end().map(|()| wanted).map_err(|error| serde_path_to_error::Error::new(serde_path_to_error::Track::new().path(), error))
        });
        wanted.map(Self).map_err(|error| {
            let path = error.path().to_string();
            let at = if path == "." { String::new() } else { format!("{path}: ") };
            codes::NOT_UNDERSTOOD.refuse(format!("the body is not as documented: {at}{}", error.inner()))
        })
    }
}

/// The query, decoded.
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|rejection| codes::NOT_UNDERSTOOD.refuse(format!("the query is not as documented: {}", rejection.body_text())))
    }
}

/// One parameter of the path.
pub(crate) struct Name<N>(pub N);

impl<S: Send + Sync, N: FromStr<Err: std::fmt::Display>> FromRequestParts<S> for Name<N> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| path(&rejection.body_text()))?;
        parse(&text).map(Self)
    }
}

/// A kind and a name in the path.
pub(crate) struct KindAndName<N>(pub Kind, pub N);

impl<S: Send + Sync, N: FromStr<Err: std::fmt::Display>> FromRequestParts<S> for KindAndName<N> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((kind, name)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|rejection| path(&rejection.body_text()))?;
        Ok(Self(shown(parse(&kind)?)?, parse(&name)?))
    }
}

/// Refuses the kind that is never shown.
pub(crate) fn shown(kind: Kind) -> Result<Kind, Refusal> {
    if kind == Kind::Secret { Err(codes::SEALED.refuse("documents of kind Secret are not shown")) } else { Ok(kind) }
}

fn parse<N: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<N, Refusal> {
    text.parse().map_err(|error| codes::NOT_UNDERSTOOD.refuse(format!("{text:?}: {error}")))
}

fn path(why: &str) -> Refusal {
    codes::NOT_UNDERSTOOD.refuse(format!("the path is not as documented: {why}"))
}

/// Lines of JSON, as they are sent into the channel; the answer ends when its senders are gone.
pub(crate) fn lines<L: Serialize + Send + 'static>(lines: mpsc::Receiver<Line<L>>) -> Response {
    let stream = ReceiverStream::new(lines).map(|line| {
        let mut bytes = match line {
            Line::Value(value) => serde_json::to_vec(&value).map_err(std::io::Error::other)?,
            Line::SignOfLife => Vec::new(),
        };
        bytes.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(bytes))
    });
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], Body::from_stream(stream)).into_response()
}

/// What is sent as a line.
pub(crate) enum Line<L> {
    Value(L),
    /// An empty line, so that both sides notice when the other is gone.
    SignOfLife,
}

/// Time between signs of life.
pub(crate) const SIGN_OF_LIFE: std::time::Duration = std::time::Duration::from_secs(15);

/// The fault of a refusal, for the end of a stream.
pub(crate) fn fault(refusal: Refusal) -> Fault {
    *refusal.fault
}
