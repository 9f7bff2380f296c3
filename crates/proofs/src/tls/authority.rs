//! Pebble, a real ACME server made for tests, with a DNS of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::process::{Child, Command};

use super::visitor::Visitor;
use super::{PLAIN, SECURE, free_port};
use crate::fault::{run, wait_for};

/// Which release is proved against.
const MODULE: &str = "github.com/letsencrypt/pebble/v2/cmd";
const VERSION: &str = "v2.10.1";
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running authority.
pub struct Pebble {
    pub directory: String,
    pub root: PathBuf,
    own: SocketAddr,
    management: SocketAddr,
    dns: SocketAddr,
    log: PathBuf,
    _processes: [Child; 2],
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if let Some(logs) = std::env::var_os("ATOLL_PROOF_LOGS") {
            let kept = Path::new(&logs).join(format!("pebble-{}.log", self.own.port()));
            if let Err(error) = fs_err::create_dir_all(&logs).and_then(|()| fs_err::copy(&self.log, kept)) {
                crate::outcome::say(&format!("the authority's log could not be kept: {error}"));
            }
        }
    }
}

impl Pebble {
    /// Starts one whose certificates live so many seconds and which knows domains at `at` unless told otherwise.
    pub async fn start(folder: &Path, life: u64, at: Ipv4Addr) -> Result<Self> {
        Self::start_at(folder, life, at, SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?))).await
    }

    /// The same with its DNS at this address, for others to ask too.
    pub async fn start_at(folder: &Path, life: u64, at: Ipv4Addr, dns: SocketAddr) -> Result<Self> {
        let (pebble, dns_server) = (program(folder, "pebble").await?, program(folder, "pebble-challtestsrv").await?);
        let (chain, key) = certs::self_signed(&["localhost"], Timestamp::now())?;
        let root = folder.join("pebble.pem");
        fs_err::write(&root, &chain)?;
        fs_err::write(folder.join("pebble.key"), key.reveal())?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (listen, own, management) = (free_port()?, local(free_port()?), local(free_port()?));
        let config = json!({ "pebble": {
            "listenAddress": local(listen).to_string(), "managementListenAddress": own.to_string(),
            "certificate": root, "privateKey": folder.join("pebble.key"), "httpPort": PLAIN, "tlsPort": SECURE,
            "ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": { "authz": 1, "order": 1 }, "keyAlgorithm": "ecdsa",
            "profiles": { "default": { "description": "short", "validityPeriod": life } },
        }});
        let path = folder.join("pebble.json");
        fs_err::write(&path, config.to_string())?;
        let log = folder.join("pebble.log");
        // Each its own: the names' server tells of every domain that is placed, and what is counted is whom the authority looked at.
        let spawn = |command: &mut Command, log: &Path| {
            let output = fs_err::File::create(log)?.into_parts().0;
            command
                .stdout(Stdio::from(output.try_clone()?))
                .stderr(Stdio::from(output.try_clone()?))
                .kill_on_drop(true)
                .spawn()
                .context("starting Pebble")
        };
        let names = spawn(
            Command::new(dns_server)
                .args(["-dnsserver", &dns.to_string(), "-management", &management.to_string(), "-defaultIPv4", &at.to_string(), "-defaultIPv6", ""])
                .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]),
            &folder.join("names.log"),
        )?;
        let server = spawn(
            Command::new(pebble)
                .arg("-config")
                .arg(&path)
                .args(["-dnsserver", &dns.to_string()])
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", "10"),
            &log,
        )?;
        let pebble = Self { directory: format!("https://localhost:{listen}/dir"), root, own, management, dns, log, _processes: [names, server] };
        let up = async || Ok(tokio::net::TcpStream::connect(local(listen)).await.is_ok() && tokio::net::TcpStream::connect(management).await.is_ok());
        wait_for("Pebble", READY_WITHIN, up).await?;
        Ok(pebble)
    }

    /// Places a domain.
    pub async fn place(&self, domain: &str, at: IpAddr) -> Result<()> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let body = json!({ "host": format!("{domain}."), "addresses": [at] }).to_string();
        let mut stream = tokio::net::TcpStream::connect(self.management).await?;
        let head = format!("POST /add-a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the DNS of Pebble at {} did not take {domain}: {answer}", self.dns);
        Ok(())
    }

    /// The root of what it issues; another one at each start.
    pub async fn issuing_root(&self) -> Result<CertificateDer<'static>> {
        let (_, answer) = Visitor::new(false)?.ask(self.own, "localhost", "/roots/0").await?;
        CertificateDer::from_pem_slice(answer.as_bytes()).with_context(|| format!("Pebble shows no root: {answer}"))
    }

    /// How often the authority's log says something.
    pub fn said(&self, text: &str) -> Result<usize> {
        Ok(fs_err::read_to_string(&self.log)?.matches(text).count())
    }
}

/// A program of Pebble's: the one that `ATOLL_PEBBLE` names the folder of, or one built from its module.
async fn program(folder: &Path, name: &str) -> Result<PathBuf> {
    if let Some(there) = std::env::var_os("ATOLL_PEBBLE") {
        return Ok(Path::new(&there).join(name));
    }
    let target = folder.join("bin");
    let env = format!("GOBIN={}", target.display());
    run("env", &[&env, "go", "install", &format!("{MODULE}/{name}@{VERSION}")])
        .await
        .context("Pebble is built with Go; install it or name a folder in ATOLL_PEBBLE")?;
    Ok(target.join(name))
}
