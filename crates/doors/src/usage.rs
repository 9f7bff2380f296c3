//! What tenants took, as the ledger has it.

use api::v1::{Usage, UsageQuery, UsageRow};
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Line};

use crate::refusal::Refusal;
use crate::wire::{Json, Query};
use crate::{Doors, codes};

/// Where no beginning is named.
const SINCE: SignedDuration = SignedDuration::from_hours(1);

/// `GET /v1/ledger`
pub(crate) async fn usage(State(doors): State<Doors>, Query(query): Query<UsageQuery>) -> Result<Json<Usage>, Refusal> {
    let until = query.until.unwrap_or_else(|| (doors.0.clock)());
    let since = query.since.unwrap_or_else(|| until.saturating_sub(SINCE).unwrap_or(Timestamp::MIN));
    if since >= until {
        return Err(codes::NOT_UNDERSTOOD.refuse(format!("nothing lies between {since} and {until}: the first must be the earlier one")));
    }
    let ledger = doors.0.ledger.clone().ok_or_else(|| codes::STORE.refuse("this control keeps no ledger"))?;
    let asked = ledger::Query { tenant: query.tenant, since: since.as_second(), until: until.as_second(), by: query.by };
    let lines = tokio::task::spawn_blocking(move || ledger.usage(&asked)).await;
    let lines = lines.map_err(|error| codes::DEFECT.refuse(format!("the ledger cannot be asked: {error}")))?.map_err(|error| refused(&error))?;
    Ok(Json(Usage { since, until, rows: lines.into_iter().filter_map(row).collect() }))
}

/// A row; none where its time is beyond what can be written, which no edge's clock reaches.
fn row(line: Line) -> Option<UsageRow> {
    let moment = |second| Timestamp::from_second(second).ok();
    Some(UsageRow { from: moment(line.from)?, to: moment(line.to)?, tenant: line.tenant, counts: line.counts })
}

fn refused(error: &LedgerError) -> Refusal {
    match error {
        LedgerError::Refused(_) => codes::NOT_UNDERSTOOD.refuse(error.to_string()),
        LedgerError::Unavailable(_) => codes::STORE.refuse(error.to_string()),
    }
}
