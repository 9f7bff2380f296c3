//! Control on another machine, over TLS with certificates on both sides and a token.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use api::{Client, Connect, Connection};
use async_trait::async_trait;
use identity::{HttpsClient, RequestError, Role};
use model::{Fault, Whose};

use super::args::ControlUrl;
use super::exit::{Exit, Failure, chain};
use super::faults;
use crate::platform::operators;

/// A client that proves itself with an operator's folder.
pub fn client(url: &ControlUrl, folder: &Path, requested_by: &str) -> Result<Client, Failure> {
    let unusable = |error: &anyhow::Error| {
        let fault = Fault::new(faults::CREDENTIALS, Whose::Caller, format!("{} cannot be used: {}", folder.display(), chain(error)));
        Failure::new(Exit::Refused, fault.hint("name a copy of operators/<name> of the platform's state folder with --credentials"))
    };
    let token = operators::token(folder).map_err(|error| unusable(&error))?;
    let token = token.ok_or_else(|| unusable(&anyhow::anyhow!("it holds no token")))?;
    let tls = HttpsClient::new(folder).map_err(|error| unusable(&error.into()))?;
    Ok(Client::over(Arc::new(Remote { url: url.clone(), tls }), requested_by).with_token(token))
}

/// Connects to the control of a URL.
struct Remote {
    url: ControlUrl,
    tls: HttpsClient,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.url).finish()
    }
}

#[async_trait]
impl Connect for Remote {
    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let mut last = io::Error::new(io::ErrorKind::HostUnreachable, "the name has no address");
        for address in tokio::net::lookup_host((self.url.host.as_str(), self.url.port)).await? {
            match self.tls.dial(address, &Role::Control).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(RequestError::Untrusted { reason, .. }) => last = io::Error::new(io::ErrorKind::PermissionDenied, reason),
                Err(error) => last = io::Error::new(io::ErrorKind::HostUnreachable, error.to_string()),
            }
        }
        Err(last)
    }

    fn place(&self) -> String {
        self.url.to_string()
    }
}
