//! What is measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One kind of load. What it does is told of the plain ones; the others do the same under TLS 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// 1 KiB answers on 64 kept connections, as fast as they go.
    Small,
    /// The same at 8,000 a second: a proxy that is not busy wakes up for each request.
    Paced,
    /// 64 KiB answers on 64 kept connections.
    Large,
    /// A connection for each request of 1 KiB, 16 at a time.
    Connect,
    /// Bodies of 8 MiB to the backend, 8 at a time; counted by MiB.
    Upload,
    /// Messages of 128 octets to and fro on 64 WebSocket connections.
    Websocket,
    /// `small` under TLS.
    TlsSmall,
    /// `large` under TLS.
    TlsLarge,
    /// `connect` under TLS, each with a handshake in full.
    TlsConnect,
    /// `upload` under TLS.
    TlsUpload,
    /// `websocket` under TLS.
    TlsWebsocket,
    /// `small` over HTTP/2: 64 requests at once on 8 connections.
    H2Small,
    /// `large` over HTTP/2: 64 requests at once on 8 connections.
    H2Large,
    /// `upload` over HTTP/2: 8 at a time on 4 connections.
    H2Upload,
    /// Through two hops: edge and gate against nginx with Lua and HAProxy. 1 KiB answers on 64 kept connections.
    Pair,
    /// Memory of kept connections that say nothing.
    Idle,
    /// `idle` under TLS.
    TlsIdle,
}

/// What requests travel on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/1.1 over TCP.
    Plain,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3.
    H2,
}

impl Case {
    /// All of them, as they are measured.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The plain case that does the same.
    pub const fn work(self) -> Self {
        match self {
            Self::TlsSmall | Self::H2Small => Self::Small,
            Self::TlsLarge | Self::H2Large => Self::Large,
            Self::TlsUpload | Self::H2Upload => Self::Upload,
            Self::TlsConnect => Self::Connect,
            Self::TlsWebsocket => Self::Websocket,
            Self::TlsIdle => Self::Idle,
            plain => plain,
        }
    }

    /// What its requests travel on.
    pub const fn transport(self) -> Transport {
        match self {
            Self::TlsSmall | Self::TlsLarge | Self::TlsConnect | Self::TlsUpload | Self::TlsWebsocket | Self::TlsIdle => Transport::Tls,
            Self::H2Small | Self::H2Large | Self::H2Upload => Transport::H2,
            _ => Transport::Plain,
        }
    }

    /// Connections at once.
    pub const fn connections(self) -> usize {
        match self {
            Self::Connect | Self::TlsConnect => 16,
            Self::Upload | Self::TlsUpload | Self::H2Small | Self::H2Large => 8,
            Self::H2Upload => 4,
            Self::Idle | Self::TlsIdle => 2000,
            _ => 64,
        }
    }

    /// Requests at once on each connection.
    pub const fn streams(self) -> usize {
        match self {
            Self::H2Small | Self::H2Large => 8,
            Self::H2Upload => 2,
            _ => 1,
        }
    }

    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self.work() {
            Self::Upload => "MiB",
            Self::Websocket => "message",
            Self::Idle => "connection",
            _ => "request",
        }
    }
}
