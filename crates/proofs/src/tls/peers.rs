//! HAProxy under the same certificate, configured as its experts would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};

use super::SECURE;
use crate::fault::wait_for;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running HAProxy.
pub struct Haproxy {
    pub at: SocketAddr,
    process: Child,
}

impl Haproxy {
    /// Starts one that shows the certificates of a folder, with as many threads as an edge has.
    pub async fn start(folder: &Path, certificates: &Path, at: Ipv4Addr) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let at = SocketAddr::from((at, SECURE));
        let config = format!(
            "global\n  nbthread {threads}\n  maxconn 4000\n  tune.ssl.default-dh-param 2048\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n  \
             ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256\n  ssl-default-bind-curves X25519:P-256\n\
             defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
             frontend visitors\n  bind {at} ssl crt {} alpn http/1.1\n  http-request return status 404\n",
            certificates.display()
        );
        let path = folder.join("haproxy.cfg");
        fs_err::write(&path, config)?;
        let log = fs_err::File::create(folder.join("haproxy.log"))?.into_parts().0;
        let mut process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .context("HAProxy is the peer of this proof; install it (Debian: haproxy)")?;
        let serves = async || {
            let ended = process.try_wait()?.is_some();
            ensure!(!ended, "it ended: {}", fs_err::read_to_string(folder.join("haproxy.log"))?.trim());
            Ok(tokio::net::TcpStream::connect(at).await.is_ok())
        };
        wait_for("HAProxy", READY_WITHIN, serves).await?;
        Ok(Self { at, process })
    }

    pub fn pid(&self) -> Result<u32> {
        self.process.id().context("HAProxy has ended")
    }
}
