//! HTTP/2: several requests at once on each connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;

use super::{Shared, UPLOAD};
use crate::cases::Case;
use crate::world::Random;

/// Octets that the other side may send on one stream before it waits, and on a connection; about what browsers allow.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const WINDOW: u32 = 12 * 1024 * 1024;
/// Octets of an upload that are given away at once.
const PART: usize = 256 * 1024;

/// A connection and all who ask on it, until one of them fails.
pub(super) async fn requests(shared: &Rc<Shared>, random: &mut Random) -> Result<()> {
    let stream = shared.open(random).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
    let (sender, connection) = builder.handshake(stream).await?;
    let mut all = tokio::task::JoinSet::new();
    all.spawn_local(async move { connection.await.context("the connection") });
    for _ in 0..shared.options.case.streams() {
        let (shared, sender, mut random) = (shared.clone(), sender.clone(), Random::new(random.next()));
        all.spawn_local(async move { keep_asking(&shared, sender, &mut random).await });
    }
    match all.join_next().await {
        Some(ended) => ended.context("a task")?,
        None => Ok(()),
    }
}

async fn keep_asking(shared: &Shared, mut sender: SendRequest<Bytes>, random: &mut Random) -> Result<()> {
    let part = Bytes::from(vec![b'x'; PART]);
    let (path, length, units) = match shared.options.case.work() {
        Case::Large => ("large", 64 * 1024, 1),
        Case::Upload => ("upload", UPLOAD.to_string().len(), (UPLOAD / (1024 * 1024)) as u64),
        _ => ("small", 1024, 1),
    };
    let uploads = path == "upload";
    loop {
        sender = sender.ready().await?;
        let request = request(shared.host(random), path, uploads)?;
        let began = Instant::now();
        let (answer, body) = sender.send_request(request, !uploads)?;
        if uploads {
            send(body, &part).await?;
        }
        let answer = answer.await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        let octets = receive(answer.into_body()).await?;
        ensure!(octets == length, "{octets} octets instead of {length}");
        shared.count(began, units);
    }
}

/// A browser's request, as over HTTP/1.1.
fn request(host: &str, path: &str, uploads: bool) -> Result<Request<()>> {
    let mut request = Request::builder()
        .method(if uploads { "POST" } else { "GET" })
        .uri(format!("https://{host}/{path}"))
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br")
        .header("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark")
        .header("atoll-tenant", "forged");
    if uploads {
        request = request.header("content-length", UPLOAD);
    }
    Ok(request.body(())?)
}

async fn send(mut body: SendStream<Bytes>, part: &Bytes) -> Result<()> {
    let mut left = UPLOAD;
    while left > 0 {
        body.reserve_capacity(left.min(part.len()));
        let room = poll_fn(|context| body.poll_capacity(context)).await.context("the stream ended within an upload")??;
        let count = room.min(left).min(part.len());
        left -= count;
        body.send_data(part.slice(..count), left == 0)?;
    }
    Ok(())
}

async fn receive(mut body: RecvStream) -> Result<usize> {
    let mut octets = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        octets += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(octets)
}
