//! A small HTTP/1.1 client that keeps one connection and names its host freely, as a visitor's browser behind `*.localhost` would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Time for one request, generous: a stall is measured, not cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, as far as it is text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A visitor with cookies.
#[derive(Debug)]
pub struct Visitor {
    address: SocketAddr,
    host: String,
    cookies: Vec<(String, String)>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Visitor {
    /// A visitor of `host` who connects to this address.
    pub fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), cookies: Vec::new(), connection: None }
    }

    /// Sets a cookie by hand.
    pub fn cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(n, _)| n != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// POST of form fields.
    pub async fn post_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let body = fields.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect::<Vec<_>>().join("&");
        self.send(Method::POST, path, &[(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")], body.into()).await
    }

    /// Any request. An error means that no whole answer came: the outcome is not known.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, path, headers, body)).await;
        let answer = answer.unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let cookies = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ");
            request = request.header(COOKIE, cookies);
        }
        let request = request.body(Full::new(body)).context("request")?;
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_ready() => connection,
            _ => self.connect().await?,
        };
        let response = connection.send_request(request).await.context("send")?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("body")?.to_bytes();
        for value in head.headers.get_all(SET_COOKIE) {
            let pair = value.to_str().ok().and_then(|v| v.split(';').next()).and_then(|v| v.split_once('='));
            if let Some((name, value)) = pair {
                self.cookie(name.trim(), value);
            }
        }
        if connection.ready().await.is_ok() {
            self.connection = Some(connection);
        }
        Ok(Answer { status: head.status, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true).context("nodelay")?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.context("handshake")?;
        tokio::spawn(driver);
        Ok(sender)
    }
}

/// Percent-encodes a form value.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}
