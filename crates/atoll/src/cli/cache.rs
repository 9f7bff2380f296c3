//! `atoll cache`.

use api::v1::PurgeRequest;

use super::args::{Cache, CachePurge};
use super::exit::Failure;
use super::session::Session;

/// Runs a command.
pub async fn run(session: &Session, command: Cache) -> Result<(), Failure> {
    match command {
        Cache::Purge(CachePurge { tenant, urls, tags }) => {
            let purged = session.client.tenant_purge(&tenant, &PurgeRequest { urls, tags }).await?;
            session
                .output
                .result(&purged, || format!("edges forget what they keep of tenant {tenant}, as they hear of it: {} orders\n", purged.orders));
            Ok(())
        }
    }
}
