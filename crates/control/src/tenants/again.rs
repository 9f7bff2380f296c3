//! When a creation that failed is tried again: pure.

use jiff::{SignedDuration, Timestamp};
use model::v1alpha1::{FailedCreation, Tenant};
use model::{Generation, Typed};

/// Pause after the first failure; doubled with each further one: 30 s to 8 min, a quarter of an hour in all.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Failures of one spec after which only another spec is tried.
const MOST: u32 = 6;

/// One more creation of this spec failed. `cancelled`: a person wanted that, so nobody begins it again by himself.
pub fn failed(before: Option<FailedCreation>, generation: Generation, cancelled: bool, now: Timestamp) -> FailedCreation {
    let failed = before.filter(|before| before.generation == generation).map_or(1, |before| before.failed.saturating_add(1));
    let pause = FIRST_PAUSE * (1 << failed.saturating_sub(1).min(MOST));
    let next_try_at = (failed < MOST && !cancelled).then(|| now.saturating_add(pause).unwrap_or(now));
    FailedCreation { generation, failed, next_try_at }
}

/// What a person is told of it beside the cause.
pub fn words(creation: &FailedCreation) -> String {
    match (creation.next_try_at, creation.failed) {
        (Some(at), failed) => format!("failed {failed} of {MOST} times, tried again at {at}"),
        (None, 1) => "failed once, tried again when the tenant is changed".to_owned(),
        (None, failed) => format!("failed {failed} times, tried again when the tenant is changed"),
    }
}

/// Until when a tenant's creation is not begun again; none: it may be now.
pub fn not_before(tenant: &Typed<Tenant>, now: Timestamp) -> Option<Timestamp> {
    let creation = tenant.status.creation.filter(|creation| creation.generation == tenant.metadata.generation)?;
    Some(creation.next_try_at.unwrap_or(Timestamp::MAX)).filter(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_and_another_spec_begins_anew() {
        let now = Timestamp::UNIX_EPOCH;
        let mut creation = None;
        let mut pauses = Vec::new();
        for _ in 0..MOST {
            let next = failed(creation, Generation(3), false, now);
            pauses.extend(next.next_try_at.map(|at| at.as_second()));
            creation = Some(next);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480]);
        assert_eq!(failed(creation, Generation(4), false, now).failed, 1);
        assert_eq!(failed(None, Generation(3), true, now).next_try_at, None, "what was cancelled is left alone");
    }
}
