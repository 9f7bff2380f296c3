//! What is measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One kind of load. Plain HTTP/1.1 for now: TLS 1.3 and HTTP/2 become cases of this list when the edge speaks them.
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
    /// Through two hops: edge and gate against nginx with Lua and HAProxy. 1 KiB answers on 64 kept connections.
    Pair,
    /// Memory of kept connections that say nothing.
    Idle,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::Small, Self::Paced, Self::Large, Self::Connect, Self::Upload, Self::Websocket, Self::Pair, Self::Idle];

    /// Its name.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Connections at once.
    pub const fn connections(self) -> usize {
        match self {
            Self::Connect => 16,
            Self::Upload => 8,
            Self::Idle => 2000,
            _ => 64,
        }
    }

    /// What is counted.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Upload => "MiB",
            Self::Websocket => "message",
            Self::Idle => "connection",
            _ => "request",
        }
    }
}
