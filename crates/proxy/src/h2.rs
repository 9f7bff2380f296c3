//! HTTP/2 (RFC 9113) with visitors: each of its requests becomes one on a connection of its own in memory, so that the relay's rules hold for it as they stand.
//! A WebSocket (RFC 8441) is one more of them: an upgrade, and from then on octets both ways.
//!
//! The library reads frames and keeps the two windows. What it is told to bear is bounded: streams at once, octets of a head (with its continuations), resets that wait
//! to be looked at; and whoever takes back most of what it asks for is sent away.

mod head;
mod wire;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason as Code, RecvStream, SendStream};
use http::{Request, StatusCode};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::{Visitor, address};
use crate::decide::Decide;
use crate::h1::chunked::Piece;
use crate::h1::framing::{self, BodyIn};
use crate::h1::head::{ResponseHead, Scan};
use crate::patience::Patience;
use crate::pipe::{Far, pipe};
use crate::server::Times;
use crate::tls::TlsStream;
use crate::worker::Worker;
use wire::Wire;

/// Requests of a connection under way at once.
const STREAMS: u32 = 100;
/// Octets under way of one request's body, and of all of a connection.
const WINDOW: u32 = 64 * 1024;
const WINDOWS: u32 = 1024 * 1024;
/// Octets of one answer that wait for their frames.
const SENDING: usize = 64 * 1024;
/// Resets that were not looked at yet (CVE-2023-44487), and errors of the visitor's that we answered by resets.
const RESETS: usize = 20;
const ERRORS: usize = 64;
/// Requests taken back before their answer, less those that were not, until a visitor is sent away.
const STRIKES: u32 = 100;
/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How a request ended.
enum Ended {
    Answered,
    TakenBack,
}

/// Serves a connection to its end.
pub(crate) async fn serve<D: Decide>(worker: Arc<Worker<D>>, stream: TlsStream, peer: SocketAddr) {
    let (times, head) = (&worker.server.options.times, worker.server.options.limits.head);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SENDING)
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(ERRORS));
    let wire = Wire::new(stream);
    let Ok(Ok(mut connection)) = tokio::time::timeout(times.head, wire.drive(builder.handshake(wire.clone()))).await else { return };
    let mut requests = JoinSet::new();
    let (mut strikes, mut stopping) = (0_u32, false);
    let (mut patience, mut quiet_since) = (Patience::default(), Instant::now());
    let client: Arc<str> = address(peer).into();
    let mut stop = pin!(worker.stop.cancelled());
    loop {
        tokio::select! {
            biased;
            // First, or whoever asks and takes back without a pause would never be counted.
            Some(ended) = requests.join_next() => {
                strikes = match ended {
                    Ok(Ended::TakenBack) => strikes + 1,
                    _ => strikes.saturating_sub(1),
                };
                if requests.is_empty() {
                    quiet_since = Instant::now();
                }
                if strikes > STRIKES {
                    connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
                    return last_word(&wire, &mut connection).await;
                }
            }
            accepted = wire.drive(connection.accept()) => match accepted {
                Some(Ok((request, respond))) => {
                    requests.spawn(exchange(worker.clone(), (peer, client.clone()), request, respond));
                }
                Some(Err(error)) => return tracing::debug!(%error, "a connection of HTTP/2 ended"),
                None => return wire.linger().await,
            },
            () = &mut stop, if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
            }
            () = patience.until(quiet_since + times.idle), if requests.is_empty() => {
                connection.graceful_shutdown();
                return last_word(&wire, &mut connection).await;
            }
        }
    }
}

/// Says goodbye.
async fn last_word(wire: &Wire, connection: &mut Connection<Wire, Bytes>) {
    // What still comes is not answered.
    let _ = tokio::time::timeout(LAST_WORD, wire.drive(async { while connection.accept().await.is_some() {} })).await;
}

/// One request and its answer. All of it is one task: what one end of the pipe wrote the other reads in the same turn.
async fn exchange<D: Decide>(
    worker: Arc<Worker<D>>,
    (peer, client): (SocketAddr, Arc<str>),
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Ended {
    let (parts, body) = request.into_parts();
    let asked = match head::request(&parts, body.is_end_stream()) {
        Ok(asked) => asked,
        Err(status) => return refuse(&mut respond, status),
    };
    let server = worker.server.clone();
    let (near, far) = pipe();
    let mut relay = Relay(Some(Box::pin(Visitor::of(worker, near, peer, client).serve())));
    let up = ask(&far, asked.head, asked.chunked, body);
    let wanted = Wanted { bodiless: parts.method == http::Method::HEAD, socket: asked.socket };
    let down = answer(&far, wanted, &mut respond, &server.options.times);
    let (mut up, mut down) = (pin!(up), pin!(down));
    let mut whole = false;
    loop {
        // In the order in which octets pass.
        tokio::select! {
            biased;
            sent = &mut up, if !whole => match sent {
                Ok(()) => whole = true,
                Err(()) => return Ended::TakenBack,
            },
            () = relay.serve(), if relay.0.is_some() => {}
            ended = &mut down => return ended,
        }
    }
}

/// The relay's end of a request. Where the visitor goes first it goes on by itself, for the time it takes to notice and to note it.
struct Relay(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Relay {
    async fn serve(&mut self) {
        if let Some(serving) = &mut self.0 {
            serving.await;
        }
        self.0 = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(serving) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(serving);
        }
    }
}

/// Sends a request to the relay. An error means that the visitor took it back.
async fn ask(far: &Far, head: Vec<u8>, chunked: bool, mut body: RecvStream) -> Result<(), ()> {
    let mut goes_on = far.put(&head).await;
    while let Some(data) = body.data().await {
        let data = data.map_err(drop)?;
        // Read to its end also when nobody wants it any more: the visitor may still send what was under way.
        if goes_on && !data.is_empty() {
            if chunked {
                goes_on = far.put(format!("{:x}\r\n", data.len()).as_bytes()).await;
            }
            goes_on = goes_on && far.put(&data).await && (!chunked || far.put(b"\r\n").await);
        }
        body.flow_control().release_capacity(data.len()).map_err(drop)?;
    }
    if chunked && goes_on {
        far.put(b"0\r\n\r\n").await;
    }
    far.end();
    Ok(())
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    bodiless: bool,
    socket: bool,
}

/// Passes on what the relay answers.
async fn answer(far: &Far, wanted: Wanted, respond: &mut SendResponse<Bytes>, times: &Times) -> Ended {
    let mut head = ResponseHead::default();
    let (body, octets, rest) = match answer_head(far, wanted, respond, &mut head).await {
        Ok(answer) => answer,
        Err(ended) => return ended,
    };
    let Some(response) = head::response(&head, &octets) else { return reset(respond, Code::INTERNAL_ERROR) };
    match respond.send_response(response, body.is_over()) {
        Ok(_) if body.is_over() => Ended::Answered,
        Ok(sender) => answer_body(far, body, rest, sender, times.stream).await,
        Err(_) => Ended::TakenBack,
    }
}

/// Reads the head of the final answer: how its body is read, the octets of the head, and those that came behind.
async fn answer_head(far: &Far, wanted: Wanted, respond: &mut SendResponse<Bytes>, head: &mut ResponseHead) -> Result<(BodyIn, Bytes, Bytes), Ended> {
    let mut buffer = Vec::new();
    loop {
        let mut scan = Scan::default();
        let end = loop {
            match scan.end(&buffer) {
                Ok(Some(end)) => break end,
                // The relay's own words are well-formed.
                Err(_) => return Err(reset(respond, Code::INTERNAL_ERROR)),
                Ok(None) => {}
            }
            tokio::select! {
                more = far.take(&mut buffer) => if !more { return Err(reset(respond, Code::INTERNAL_ERROR)) },
                _ = poll_fn(|cx| respond.poll_reset(cx)) => return Err(Ended::TakenBack),
            }
        };
        let mut octets = Bytes::from(std::mem::take(&mut buffer));
        let rest = octets.split_off(end);
        let parsed = head.parse(&octets);
        if wanted.socket && parsed.is_ok() && head.status() == 101 {
            return Ok((BodyIn::UntilClose, octets, rest));
        }
        // To the visitor it would say that the tunnel is there (RFC 8441, 5).
        if wanted.socket && parsed.is_ok() && (200..300).contains(&head.status()) {
            return Err(refuse(respond, StatusCode::BAD_GATEWAY));
        }
        // Interim words are of use to nobody who speaks frames.
        if parsed.is_ok() && (100..200).contains(&head.status()) {
            buffer = rest.into();
            continue;
        }
        return match parsed.and_then(|()| framing::response(head, wanted.bodiless, false)) {
            Ok(framing) => Ok((framing.body, octets, rest)),
            Err(_) => Err(reset(respond, Code::INTERNAL_ERROR)),
        };
    }
}

async fn answer_body(far: &Far, mut body: BodyIn, mut octets: Bytes, mut sender: SendStream<Bytes>, within: Duration) -> Ended {
    loop {
        let (mut ended, mut said) = (false, false);
        while !ended {
            let Ok((count, piece)) = body.next(&octets) else { return cut(&mut sender) };
            let used = octets.slice(..count);
            match piece {
                Piece::Data(data) => {
                    let data = used.slice_ref(data);
                    // The last octets say that they are: one frame less.
                    said = body.is_over();
                    if !send(&mut sender, data, said, within).await {
                        return Ended::TakenBack;
                    }
                }
                Piece::More if count == 0 => break,
                Piece::More => {}
                Piece::End => ended = true,
            }
            octets.advance(count);
            ended = ended || body.is_over();
        }
        if !ended {
            let mut buffer = octets.into();
            let more = tokio::select! {
                more = far.take(&mut buffer) => more,
                _ = poll_fn(|cx| sender.poll_reset(cx)) => return Ended::TakenBack,
            };
            octets = buffer.into();
            if more {
                continue;
            }
            if far.is_cut() || !matches!(body, BodyIn::UntilClose) {
                return cut(&mut sender);
            }
        }
        if !said {
            // A visitor who is gone misses nothing.
            let _ = sender.send_data(Bytes::new(), true);
        }
        return Ended::Answered;
    }
}

/// An answer of a status and nothing else.
fn refuse(respond: &mut SendResponse<Bytes>, status: StatusCode) -> Ended {
    let mut refusal = http::Response::new(());
    *refusal.status_mut() = status;
    // A visitor who is gone misses nothing.
    let _ = respond.send_response(refusal, true);
    Ended::Answered
}

/// Something is missing, and the visitor hears that.
fn cut(sender: &mut SendStream<Bytes>) -> Ended {
    sender.send_reset(Code::INTERNAL_ERROR);
    Ended::Answered
}

fn reset(respond: &mut SendResponse<Bytes>, code: Code) -> Ended {
    respond.send_reset(code);
    Ended::Answered
}

/// Sends when the visitor's window has room; `last` are the body's last octets. `false`: the visitor is gone, or takes nothing.
async fn send(sender: &mut SendStream<Bytes>, mut data: Bytes, last: bool, within: Duration) -> bool {
    while data.has_remaining() {
        sender.reserve_capacity(data.len());
        let room = match tokio::time::timeout(within, poll_fn(|cx| sender.poll_capacity(cx))).await {
            Ok(Some(Ok(room))) => room,
            Ok(Some(Err(_)) | None) => return false,
            Err(_) => {
                sender.send_reset(Code::CANCEL);
                return false;
            }
        };
        let part = data.split_to(room.min(data.len()));
        if !part.is_empty() && sender.send_data(part, last && data.is_empty()).is_err() {
            return false;
        }
    }
    true
}
