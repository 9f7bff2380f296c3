//! HAProxy 2.6 of Debian.

use anyhow::Result;

use super::{Doors, Place, Running, program};
use crate::certificate::SUITES;
use crate::world::{self, FIELD};

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The tenant from a map, forwarding fields, a request id.
    Full,
    /// The tenant from a map.
    Bare,
    /// It balances only.
    Balancer,
}

/// Starts one thread of it.
pub fn start(place: &Place<'_>, at: Doors, form: Form) -> Result<Running> {
    let map = place.folder.join("domains.map");
    world::map(&map, place.domains)?;
    let tenant = format!(
        "
  http-request set-var(txn.tenant) req.hdr(host),field(1,:),lower,map({})
  http-request return status 404 unless {{ var(txn.tenant) -m found }}
  http-request set-header {FIELD} %[var(txn.tenant)]",
        map.display()
    );
    let forwarding = "
  option forwardfor
  unique-id-format %{+X}o\\ %Ts%rt%ci%cp
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]";
    let rules = match form {
        Form::Full => format!("{tenant}{forwarding}"),
        Form::Bare => tenant,
        Form::Balancer => "\n  option forwardfor if-none".to_owned(),
    };
    let secure = at.secure.map(|at| format!("\n  bind {at} ssl crt {} alpn h2,http/1.1", place.certificate.both.display())).unwrap_or_default();
    // It ends at once where twice this exceeds the limit of open files.
    let text = format!(
        "global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-ciphersuites {SUITES}
  ssl-default-bind-curves X25519:P-256
defaults
  mode http
  maxconn 4000
  option http-keep-alive
  http-reuse always
  timeout connect 2s
  timeout client 75s
  timeout server 130s
  timeout http-request 10s
  timeout tunnel 1h
frontend public
  bind {}{secure}{rules}
  default_backend gates
backend gates
  server gate {} maxconn 4000
",
        at.plain, place.backend
    );
    let file = place.folder.join("haproxy.cfg");
    fs_err::write(&file, text)?;
    place.spawn(&program("haproxy", "haproxy")?, &["-db".into(), "-f".into(), file.display().to_string()])
}
