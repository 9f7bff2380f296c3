//! The wire: five calls on a cell.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `PUT /v1/clusters/{cell}` | [`data::ClusterOrder`] | - |
//! | `GET /v1/clusters/{cell}` | - | [`data::ClusterReport`] |
//! | `PUT /v1/clusters/{cell}/tenant` | [`data::TenantOrder`] | [`data::TenantReport`] |
//! | `POST /v1/clusters/{cell}/stop` | - | - |
//! | `POST /v1/clusters/{cell}/retire` | [`model::Generation`] | - |
//!
//! A refusal is a [`DataError`] under the status of [`status`].

use data::DataError;
use http::StatusCode;

/// The status of a refusal; readers go by the body.
pub const fn status(error: &DataError) -> StatusCode {
    match error {
        DataError::Older { .. } => StatusCode::CONFLICT,
        DataError::NotNow { .. } => StatusCode::SERVICE_UNAVAILABLE,
        DataError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        DataError::Unreachable(_) => StatusCode::BAD_GATEWAY,
    }
}
