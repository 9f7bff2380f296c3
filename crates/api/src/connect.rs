//! How control is reached: the unix socket of this machine, or whatever the program that holds the keys knows.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// A connection to control.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to control.
#[async_trait]
pub trait Connect: std::fmt::Debug + Send + Sync {
    /// A new connection.
    ///
    /// # Errors
    /// The system's words; nothing was sent then.
    async fn connect(&self) -> io::Result<Box<dyn Connection>>;

    /// Where control is looked for, for messages.
    fn place(&self) -> String;
}

/// The unix socket of this machine.
#[derive(Debug)]
pub(crate) struct Unix(Arc<Path>);

impl Unix {
    pub(crate) fn at(socket: &Path) -> Self {
        Self(socket.into())
    }
}

#[async_trait]
impl Connect for Unix {
    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new(UnixStream::connect(&*self.0).await?))
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}
