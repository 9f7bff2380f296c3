//! What authorities want to see, by way of the book to every edge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use certs::acme::Answers;
use certs::{Book, Challenge, Kind, What};

use crate::CertificateFeed;

/// How long edges are waited for.
const WITHIN: Duration = Duration::from_secs(10);

/// Shows answers on every edge.
pub(crate) struct OnEdges {
    pub book: Arc<Book>,
    pub feed: Arc<CertificateFeed>,
}

#[async_trait]
impl Answers for OnEdges {
    async fn show(&self, token: &str, challenge: Challenge) -> Result<(), String> {
        let number = put(&self.book, token, What::Challenge(challenge)).await?;
        if self.feed.settled(number, WITHIN).await { Ok(()) } else { Err(format!("not every edge showed the answer within {} s", WITHIN.as_secs())) }
    }

    async fn hide(&self, token: &str) {
        if let Err(error) = put(&self.book, token, What::Gone(Kind::Challenge)).await {
            tracing::warn!(error, "an answer to an authority stays in the book");
        }
    }
}

/// Writes a word on a thread that may wait for the disk.
async fn put(book: &Arc<Book>, name: &str, what: What) -> Result<u64, String> {
    let (book, name) = (book.clone(), name.to_owned());
    let written = tokio::task::spawn_blocking(move || book.put(vec![(name, what)])).await;
    written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
