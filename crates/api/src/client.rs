//! A client over HTTP/1.1: one connection a request, so that nothing is shared and nothing goes stale.

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::{CellName, Document, DocumentName, Fault, Kind, OperationName, Revision, Sensitive, TenantName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connect::{Connect, Unix};
use crate::v1::{
    About, Accepted, ApplyAnswer, CellOpen, DocumentList, Explanation, LogLine, LogsQuery, PlanAnswer, PlanRequest, PurgeRequest, Purged,
    REQUESTED_BY, Revealed, StatusAnswer, TenantAdd, Usage, UsageQuery, WatchLine,
};

/// Most bytes of an answer that is read at once; a page of a list stays far below.
const MAX_ANSWER: usize = 256 << 20;
/// Most bytes of one line of a stream: a document of the largest size with room for its frame.
const MAX_LINE: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers: control is not running, or the caller may not connect. Nothing was sent.
    #[error("cannot reach control at {place}")]
    Unreachable {
        /// The socket or address.
        place: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Control answered with a fault.
    #[error(transparent)]
    Fault(Box<Refusal>),
    /// The connection broke, or the answer is not what this version understands. It is not known whether the request was carried out.
    #[error("control's answer was lost or is not understood: {what}")]
    Protocol {
        /// What was going on.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A fault as control answered it.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Refusal {
    /// The status of the answer, decided by the door.
    pub status: StatusCode,
    /// The fault.
    pub fault: Fault,
}

impl ClientError {
    fn protocol(what: &'static str) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Protocol { what, source }
    }
}

/// Speaks to control.
#[derive(Debug, Clone)]
pub struct Client {
    connect: Arc<dyn Connect>,
    requested_by: Arc<str>,
    token: Option<Arc<Sensitive<String>>>,
}

impl Client {
    /// A client of the control that listens on this unix socket. Connects with each request, not here.
    ///
    /// `requested_by` stands in the record of what the caller starts, for instance `cli:root`.
    #[must_use]
    pub fn unix(socket: &Path, requested_by: &str) -> Self {
        Self::over(Arc::new(Unix::at(socket)), requested_by)
    }

    /// A client that reaches control in another way.
    #[must_use]
    pub fn over(connect: Arc<dyn Connect>, requested_by: &str) -> Self {
        Self { connect, requested_by: requested_by.into(), token: None }
    }

    /// The same, proving itself with a token.
    #[must_use]
    pub fn with_token(self, token: Sensitive<String>) -> Self {
        Self { token: Some(Arc::new(token)), ..self }
    }

    /// Where control is looked for.
    #[must_use]
    pub fn place(&self) -> String {
        self.connect.place()
    }

    /// What answers.
    ///
    /// # Errors
    /// As [`ClientError`] says; so with every call of this type.
    pub async fn about(&self) -> Result<About, ClientError> {
        self.get("/v1/about").await
    }

    /// How everything stands.
    pub async fn status(&self) -> Result<StatusAnswer, ClientError> {
        self.get("/v1/status").await
    }

    /// A document; a fault with status 404 where there is none.
    pub async fn document(&self, kind: Kind, name: &DocumentName) -> Result<Document, ClientError> {
        self.get(&format!("/v1/documents/{}/{name}", kind.plural())).await
    }

    /// All documents of a kind with these labels (`a=b,c=d`; empty: all) and the revision of which the list speaks.
    pub async fn documents(&self, kind: Kind, labels: &str) -> Result<DocumentList, ClientError> {
        let mut all = DocumentList { documents: Vec::new(), revision: Revision(0), next: None };
        let mut page = String::new();
        loop {
            let path = format!("/v1/documents/{}?limit=500&labels={}&page={page}", kind.plural(), encode(labels));
            let list: DocumentList = self.get(&path).await?;
            all.documents.extend(list.documents);
            all.revision = list.revision;
            match list.next {
                Some(next) => page = encode(&next),
                None => return Ok(all),
            }
        }
    }

    /// Every change of a kind after a revision.
    pub async fn watch(&self, kind: Kind, from: Revision) -> Result<Lines<WatchLine>, ClientError> {
        self.lines(&format!("/v1/watch/{}?from={from}", kind.plural())).await
    }

    /// What would be done to reach these documents.
    pub async fn plan(&self, request: &PlanRequest) -> Result<PlanAnswer, ClientError> {
        self.post("/v1/plans", Some(request)).await
    }

    /// Applies a plan, exactly as it was shown; refused when what it is based on has changed.
    pub async fn apply(&self, plan: &str) -> Result<ApplyAnswer, ClientError> {
        self.post::<(), _>(&format!("/v1/plans/{}/apply", encode(plan)), None).await
    }

    /// Adds a tenant.
    pub async fn tenant_add(&self, tenant: &TenantAdd) -> Result<Accepted, ClientError> {
        self.post("/v1/tenants", Some(tenant)).await
    }

    /// Stops serving a tenant; its data is kept.
    pub async fn tenant_suspend(&self, tenant: &TenantName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/tenants/{tenant}/suspend"), None).await
    }

    /// Serves a suspended or removed tenant again.
    pub async fn tenant_resume(&self, tenant: &TenantName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/tenants/{tenant}/resume"), None).await
    }

    /// Stops serving a tenant; its data is deleted after the platform's grace period.
    pub async fn tenant_remove(&self, tenant: &TenantName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/tenants/{tenant}/remove"), None).await
    }

    /// Makes edges forget answers of a tenant's that they keep.
    pub async fn tenant_purge(&self, tenant: &TenantName, request: &PurgeRequest) -> Result<Purged, ClientError> {
        self.post(&format!("/v1/tenants/{tenant}/purge"), Some(request)).await
    }

    /// Opens a cell.
    pub async fn cell_open(&self, cell: &CellOpen) -> Result<Accepted, ClientError> {
        self.post("/v1/cells", Some(cell)).await
    }

    /// Asks a cell's tenants to leave.
    pub async fn cell_drain(&self, cell: &CellName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/cells/{cell}/drain"), None).await
    }

    /// Removes an empty cell.
    pub async fn cell_close(&self, cell: &CellName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/cells/{cell}/close"), None).await
    }

    /// Log lines of a cell's instances.
    pub async fn logs(&self, cell: &CellName, query: &LogsQuery) -> Result<Lines<LogLine>, ClientError> {
        let mut pairs = Vec::new();
        pairs.extend(query.instance.as_ref().map(|i| format!("instance={}", encode(i))));
        pairs.extend(query.since.map(|s| format!("since={}", encode(&s.to_string()))));
        pairs.extend(query.tail.map(|t| format!("tail={t}")));
        pairs.extend(query.follow.then(|| "follow=true".to_owned()));
        self.lines(&format!("/v1/cells/{cell}/logs?{}", pairs.join("&"))).await
    }

    /// What tenants took.
    pub async fn usage(&self, query: &UsageQuery) -> Result<Usage, ClientError> {
        let by = match query.by {
            ledger::By::Minute => "minute",
            ledger::By::Hour => "hour",
            ledger::By::Tenant => "tenant",
        };
        let mut pairs = vec![format!("by={by}")];
        pairs.extend(query.tenant.as_ref().map(|tenant| format!("tenant={tenant}")));
        pairs.extend(query.since.map(|since| format!("since={}", encode(&since.to_string()))));
        pairs.extend(query.until.map(|until| format!("until={}", encode(&until.to_string()))));
        self.get(&format!("/v1/ledger?{}", pairs.join("&"))).await
    }

    /// Asks for an operation to be cancelled; refused when it is past its point of no return.
    pub async fn operation_cancel(&self, operation: &OperationName) -> Result<Accepted, ClientError> {
        self.post::<(), _>(&format!("/v1/operations/{operation}/cancel"), None).await
    }

    /// The secrets of an operation, answered once.
    pub async fn operation_reveal(&self, operation: &OperationName) -> Result<Revealed, ClientError> {
        self.post::<(), _>(&format!("/v1/operations/{operation}/reveal"), None).await
    }

    /// Why something is as it is.
    pub async fn explain(&self, kind: Kind, name: &DocumentName) -> Result<Explanation, ClientError> {
        self.get(&format!("/v1/explain/{}/{name}", kind.plural())).await
    }

    /// The store as it stands now, as one file.
    pub async fn backup(&self) -> Result<Copy, ClientError> {
        Ok(Copy(self.send(Method::GET, "/v1/backup", Bytes::new()).await?))
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        whole(answer).await
    }

    async fn post<B: Serialize + Sync, A: DeserializeOwned>(&self, path: &str, body: Option<&B>) -> Result<A, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| ClientError::protocol("writing the request")(e.into()))?,
            None => Vec::new(),
        };
        let answer = self.send(Method::POST, path, body.into()).await?;
        whole(answer).await
    }

    async fn lines<L: DeserializeOwned>(&self, path: &str) -> Result<Lines<L>, ClientError> {
        let answer = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(Lines { body: answer, buffer: BytesMut::new(), line: std::marker::PhantomData })
    }

    /// Sends one request; an answer that is not a success becomes its fault.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, ClientError> {
        let unreachable = |source| ClientError::Unreachable { place: self.connect.place(), source };
        let stream = self.connect.connect().await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| ClientError::protocol("greeting")(e.into()))?;
        // The connection ends with its one answer: dropping that answer's body ends this task.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let bearer = self.token.iter().map(|token| format!("Bearer {}", token.reveal()));
        let request = bearer
            .fold(Request::builder(), |request, bearer| request.header(http::header::AUTHORIZATION, bearer))
            .method(method)
            .uri(path)
            .header(http::header::HOST, "atoll")
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(REQUESTED_BY, &*self.requested_by)
            .body(Full::new(body))
            .map_err(|e| ClientError::protocol("building the request")(e.into()))?;
        let answer = sender.send_request(request).await.map_err(|e| ClientError::protocol("waiting for the answer")(e.into()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        let fault = whole(answer.into_body()).await?;
        Err(ClientError::Fault(Box::new(Refusal { status, fault })))
    }
}

/// Reads a whole JSON answer.
async fn whole<A: DeserializeOwned>(body: Incoming) -> Result<A, ClientError> {
    let bytes = Limited::new(body, MAX_ANSWER).collect().await.map_err(ClientError::protocol("reading the answer"))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|e| ClientError::protocol("understanding the answer")(e.into()))
}

/// A file as it arrives.
#[derive(Debug)]
pub struct Copy(Incoming);

impl Copy {
    /// The next piece; none when the whole file has come.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the connection breaks before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::protocol("reading the copy")(error.into())),
                // Anything but data are trailers, which say nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// JSON lines as they arrive.
#[derive(Debug)]
pub struct Lines<L> {
    body: Incoming,
    buffer: BytesMut,
    line: std::marker::PhantomData<fn() -> L>,
}

impl<L: DeserializeOwned> Lines<L> {
    /// The next line; none when the stream has ended. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when the connection breaks or a line is not understood.
    pub async fn next(&mut self) -> Result<Option<L>, ClientError> {
        loop {
            while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                // An empty line is a sign of life.
                if !line.is_empty() {
                    return serde_json::from_slice(&line).map(Some).map_err(|e| ClientError::protocol("understanding a line")(e.into()));
                }
            }
            if self.buffer.len() > MAX_LINE {
                return Err(ClientError::protocol("reading a line")("a line is too long".into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |d| d)),
                Some(Err(error)) => return Err(ClientError::protocol("reading a line")(error.into())),
            }
        }
    }
}

/// Percent-encodes a query value or path segment.
fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}
