//! How a request is refused: the one place where faults get a status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Fault, ShapeError, Whose};
use store::StoreError;

use crate::codes;

/// A fault and its status on the wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    /// Boxed, so that a result stays small.
    pub fault: Box<Fault>,
}

impl Refusal {
    pub fn new(status: u16, fault: Fault) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), fault: Box::new(fault) }
    }

    /// The same with the next command to type.
    pub fn next(mut self, command: impl Into<String>) -> Self {
        self.fault.next = Some(command.into());
        self
    }
}

/// Faults of plans and their lint.
impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let status = match (&*fault.code.0, fault.whose) {
            (code, _) if code == plan::codes::PLAN_GONE.code => 404,
            (_, Whose::Caller) => 422,
            (_, Whose::State) => 409,
            (_, Whose::Machine) => 503,
            (_, Whose::Atoll) => 500,
        };
        Self::new(status, fault)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) => codes::CHANGED_MEANWHILE.refuse("it was changed by others while the wish was being written"),
            StoreError::NotFound(key) => codes::NOT_FOUND.refuse(format!("{key} does not exist")),
            StoreError::Refused(message) => codes::NOT_UNDERSTOOD.refuse(message),
            StoreError::TooOld(revision) => codes::TOO_OLD.refuse(format!("changes since revision {revision} are no longer kept")),
            StoreError::Unknown(why) => codes::OUTCOME_UNKNOWN.refuse(format!("the outcome is not known: {why}")),
            StoreError::Held { .. } | StoreError::Unavailable(_) => codes::STORE.refuse(error.to_string()),
        }
    }
}

impl From<ShapeError> for Refusal {
    fn from(error: ShapeError) -> Self {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        codes::UNREADABLE.refuse(format!("{error}{cause}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // A fault is plain data and always writes.
        let body = serde_json::to_vec(&*self.fault).unwrap_or_default();
        (self.status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    }
}
