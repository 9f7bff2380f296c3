//! The routes' way in: one long answer from control, line by line; again and again, from wherever the table stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use identity::{HttpsClient, RequestError, Role};
use routes::{ApplyError, Line};
use tokio_util::sync::CancellationToken;

use crate::table::Routes;

/// A feed that says nothing for so long is given up; control says that it is alive every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// First and longest pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest line: a table of a few million hosts.
const LONGEST_LINE: usize = 1024 * 1024 * 1024;

/// How the feed stands, for the admin door and the reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// When control was last heard.
    pub heard: Option<Instant>,
    /// Why it is not heard now.
    pub problem: Option<String>,
    /// Why nothing newer is taken, until a person agrees.
    pub halted: Option<String>,
}

/// What the feed shares with others.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Standing>);

impl Feed {
    pub(crate) fn standing(&self) -> Standing {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("control answered {0}")]
    Status(StatusCode),
    #[error("control closed the feed")]
    Closed,
    #[error("control said nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a line of the feed does not parse: {0}")]
    Line(#[from] serde_json::Error),
    #[error("a line of the feed is too long")]
    LongLine,
    #[error("the table does not fit the feed: {0}")]
    Apply(#[from] ApplyError),
    #[error("control and this edge have different tables of generation {0}")]
    Drift(model::Generation),
}

/// Follows control's feed until the stop.
pub(crate) async fn follow(routes: Arc<Routes>, client: HttpsClient, control: SocketAddr, feed: Arc<Feed>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut whole = false;
    let mut said = String::new();
    loop {
        let session = session(&routes, &client, control, &feed, whole);
        let Some(Err(ended)) = stop.run_until_cancelled(session).await else { return };
        // A sender whose numbers are lower must hear ours, and goes above them.
        whole = matches!(ended, Ended::Drift(_)) || matches!(&ended, Ended::Apply(error) if !matches!(error, ApplyError::Older { .. }));
        let halted = matches!(ended, Ended::Apply(ApplyError::Backwards { .. }));
        if feed.standing().problem.is_none() {
            pause = FIRST_PAUSE;
        }
        let problem = ended.to_string();
        feed.note(|standing| {
            standing.problem = Some(problem.clone());
            standing.halted = halted.then(|| problem.clone());
        });
        // The same problem again is no news.
        if problem != said {
            tracing::warn!(problem, halted, "the route feed ended; the edge serves on from the routes it has");
            said = problem;
        }
        let wait = pause.mul_f64(0.75 + f64::from(jitter()) / 512.0);
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        pause = if halted { LONGEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

/// One feed to its end, which is always an error.
async fn session(routes: &Routes, client: &HttpsClient, control: SocketAddr, feed: &Feed, whole: bool) -> Result<(), Ended> {
    let from = routes.with(|table| (!whole && !table.incarnation().is_empty()).then(|| (table.generation(), table.incarnation().to_owned())));
    let target =
        from.map_or_else(|| "/v1/routes".to_owned(), |(at, incarnation)| format!("/v1/routes?from={at}&incarnation={}", escape(&incarnation)));
    let request = Request::get(target).body(Bytes::new()).unwrap_or_default();
    let answer = client.stream(control, &Role::Control, request).await?;
    if answer.status() != StatusCode::OK {
        return Err(Ended::Status(answer.status()));
    }
    let mut body = answer.into_body();
    let mut waiting = BytesMut::new();
    let mut searched = 0;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| Ended::Silent)?;
        let data = frame.ok_or(Ended::Closed)?.map_err(|_| Ended::Closed)?.into_data().unwrap_or_default();
        waiting.extend_from_slice(&data);
        while let Some(at) = waiting[searched..].iter().position(|&b| b == b'\n') {
            let line = waiting.split_to(searched + at);
            waiting.advance(1);
            searched = 0;
            take(routes, &line)?;
            feed.note(|standing| *standing = Standing { heard: Some(Instant::now()), ..Standing::default() });
        }
        searched = waiting.len();
        if searched > LONGEST_LINE {
            return Err(Ended::LongLine);
        }
    }
}

fn take(routes: &Routes, line: &[u8]) -> Result<(), Ended> {
    let refused = match Line::decode(line)? {
        Line::Snapshot(snapshot) => {
            tracing::info!(generation = snapshot.generation.0, hosts = snapshot.records.len(), "a whole table of routes");
            routes.take(*snapshot)?
        }
        Line::Delta(delta) => {
            let (to, changes) = (delta.to, delta.changes.len());
            match routes.apply(*delta) {
                // Sent before control heard where this edge stands.
                Err(ApplyError::Older { .. }) => Vec::new(),
                applied => {
                    tracing::info!(generation = to.0, changes, "routes changed");
                    applied?
                }
            }
        }
        Line::Alive { generation, hash } => {
            let drift = routes.with(|table| table.generation() != generation || table.hash() != hash);
            return if drift { Err(Ended::Drift(generation)) } else { Ok(()) };
        }
    };
    for one in refused {
        tracing::warn!(host = %one.host, tenant = %one.tenant, reason = %one.reason, "a route is not served");
    }
    Ok(())
}

/// Percent-encodes what is no letter, digit, dash, dot or underscore.
pub(crate) fn escape(text: &str) -> String {
    let one = |b: u8| if b.is_ascii_alphanumeric() || b"-._".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

/// 0 to 255, different from edge to edge and from time to time.
pub(crate) fn jitter() -> u8 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0).to_le_bytes()[0]
}
