//! A cell's application: it knows whether its cell owns the tenant, and has WebSockets that echo and events that tell that it lives.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::Interval;

/// Pause between two events.
const EVERY: Duration = Duration::from_millis(5);
/// The opcode of a last word.
pub const CLOSE: u8 = 8;

/// What a cell's application knows and counts.
#[derive(Debug, Default)]
pub struct Application {
    /// Its cell owns the tenant.
    pub owns: AtomicBool,
    /// Requests under way.
    pub under_way: AtomicI64,
    /// Requests that were served.
    pub served: AtomicUsize,
    /// Requests and streams that came while somebody else owned the tenant.
    pub wrong: AtomicUsize,
}

impl Application {
    /// Serves until the process ends; its address.
    pub async fn serve(self: Arc<Self>) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A failure costs time, and nothing else.
                let _ = stream.set_nodelay(true);
                let application = self.clone();
                let service = service_fn(move |request| {
                    let application = application.clone();
                    async move { Ok::<_, Infallible>(application.respond(request).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
            }
        });
        Ok(address)
    }

    async fn respond(&self, mut request: Request<Incoming>) -> Response<Answer> {
        match request.uri().path() {
            "/socket" => {
                self.begins();
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    if let Ok(upgraded) = upgraded.await {
                        // However it ends, the visitor's side tells.
                        let _ = echo(BufReader::new(TokioIo::new(upgraded))).await;
                    }
                });
                let fields = [(UPGRADE, "websocket"), (CONNECTION, "upgrade")];
                response(StatusCode::SWITCHING_PROTOCOLS, &fields, Answer::Whole(Full::default()))
            }
            "/events" => {
                self.begins();
                response(StatusCode::OK, &[(CONTENT_TYPE, "text/event-stream")], Answer::Events(tokio::time::interval(EVERY)))
            }
            _ => response(StatusCode::OK, &[], Answer::Whole(Full::new(self.answer(request).await))),
        }
    }

    /// A stream comes. It is still under way at the gate, so its cell must own the tenant.
    fn begins(&self) {
        if !self.owns.load(SeqCst) {
            self.wrong.fetch_add(1, SeqCst);
        }
    }

    /// Looks whether the cell owns the tenant when a request comes and when its answer goes out.
    async fn answer(&self, request: Request<Incoming>) -> Bytes {
        self.under_way.fetch_add(1, SeqCst);
        let owned = self.owns.load(SeqCst);
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(2)).await;
        if !owned || !self.owns.load(SeqCst) {
            self.wrong.fetch_add(1, SeqCst);
        }
        self.served.fetch_add(1, SeqCst);
        self.under_way.fetch_sub(1, SeqCst);
        body
    }
}

fn response(status: StatusCode, fields: &[(HeaderName, &'static str)], body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A body.
enum Answer {
    Whole(Full<Bytes>),
    /// Events without an end.
    Events(Interval),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(every) => {
                ready!(every.poll_tick(context));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: 1\n\n")))))
            }
        }
    }
}

/// Says back what comes, up to the last word.
async fn echo(mut socket: BufReader<impl AsyncRead + AsyncWrite + Unpin>) -> Result<()> {
    loop {
        let (opcode, text) = frame(&mut socket).await?;
        socket.write_all(&[&[0x80 | opcode, u8::try_from(text.len())?], &text[..]].concat()).await?;
        socket.flush().await?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

/// A frame of up to 125 octets: its opcode and its text, without its mask.
pub async fn frame(socket: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let (first, length) = (socket.read_u8().await?, socket.read_u8().await?);
    ensure!(length & 127 < 126, "a frame longer than anybody sends here");
    let mut mask = [0; 4];
    if length > 127 {
        socket.read_exact(&mut mask).await?;
    }
    let mut text = vec![0; usize::from(length & 127)];
    socket.read_exact(&mut text).await?;
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(octet, mask)| *octet ^= mask);
    Ok((first & 15, text))
}
