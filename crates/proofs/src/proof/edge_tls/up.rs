//! The same through `atoll up` on the engine: an authority of one's own stands in the Platform, and control and edge are the containers that users get.
//!
//! Authority and control ask one DNS, which leads every name to the edge: whoever gets no certificate here gets none because no active tenant owns the name.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::CertificateDer;

use crate::fault::{run, wait_for};
use crate::outcome::{Outcome, say};
use crate::tls::authority::Pebble;
use crate::tls::visitor::{Visitor, ask};
use crate::tls::{PLAIN, SECURE, own_address};
use crate::world::{PATIENCE, World};

/// Seconds that a certificate lives: none is renewed within the proof.
const LIFE: u64 = 30 * 86_400;
/// Domains of the files' active tenants, each with its tenant.
const FIRST: [(&str, &str); 3] = [("alpha.up.test", "alpha"), ("www.alpha.up.test", "alpha"), ("beta.up.test", "beta")];
/// The domain of the tenant that is added later.
const LATER: (&str, &str) = ("gamma.up.test", "gamma");
/// Domains that lead here as well: of a suspended tenant, and of nobody.
const NEVER: [&str; 2] = ["delta.up.test", "nobody.up.test"];
/// What the authority's log says of each order.
const ORDER: &str = "Added order ";

/// A product as small as one gets: Perl is in the base of our images, and says whose page it was asked for.
const PRODUCT: &str = r#"apiVersion: atoll.dev/v1alpha1
kind: Blueprint
metadata: { name: page, version: 1.0.0 }
spec:
  capacity: { tenants: 10 }
  gates:
    replicas: 1
    limits: { cpu: 500m, memory: 64Mi, pids: 64 }
  services:
    web:
      image: localhost/atoll/base:bookworm
      command:
        - perl
        - -MIO::Socket::INET
        - -e
        - |
          $SIG{CHLD} = "IGNORE";
          $SIG{TERM} = sub { exit };
          my $door = IO::Socket::INET->new(LocalPort => 8080, Listen => 64, ReuseAddr => 1) or die $!;
          while (1) {
            my $visitor = $door->accept or next;
            next if fork;
            alarm 20;
            local $/ = "\r\n\r\n";
            my ($tenant) = (<$visitor> // "") =~ /^x-atoll-tenant: *(\S+)/mi or exit;
            my $page = "The page of $tenant\n";
            print $visitor "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " . length($page) . "\r\n\r\n$page";
            exit;
          }
      entry: true
      port: 8080
      user: 1002
      replicas: { min: 1, max: 1 }
      limits: { cpu: 500m, memory: 64Mi, pids: 32 }
      ready: { check: { tcp: {} } }
---
apiVersion: atoll.dev/v1alpha1
kind: Cell
metadata: { name: cell-a }
spec: { blueprint: page.1.0.0 }
---
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata: { name: alpha }
spec: { blueprint: page, domains: [alpha.up.test, www.alpha.up.test], contact: owner@alpha.example }
---
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata: { name: beta }
spec: { blueprint: page, domains: [beta.up.test], contact: owner@beta.example, https: { redirect: false } }
---
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata: { name: delta }
spec: { blueprint: page, domains: [delta.up.test], contact: owner@delta.example, state: Suspended }
"#;

/// Starts everything from files, comes back from disk, adds a tenant.
pub async fn prove(outcome: &mut Outcome, keep: bool) -> Result<()> {
    let (at, names) = (own_address(5), own_address(6));
    let folder = tempfile::tempdir()?;
    // Resolvers ask at port 53 and nowhere else.
    let pebble = Pebble::start_at(folder.path(), LIFE, at, (names, 53).into()).await?;
    let mut world = World::prepare((at, PLAIN).into(), keep)?;
    fs_err::create_dir_all(&world.state)?;
    fs_err::copy(&pebble.root, world.state.join("authority.pem"))?;
    fs_err::write(world.manifests.join("product.yaml"), PRODUCT)?;
    let platform = world.manifests.join("platform.yaml");
    fs_err::write(&platform, platform_of(&world, &pebble.directory, "http-01"))?;

    say("putting up a platform whose Platform names the authority");
    let site = Site { at: (at, SECURE).into(), plain: (at, PLAIN).into(), visitor: Visitor::trusting(pebble.issuing_root().await?)? };
    let began = Instant::now();
    up(&mut world, (names, 53).into()).await?;
    let mut before = Vec::new();
    let mut first = None;
    for (domain, tenant) in FIRST {
        before.push(site.served(domain, tenant).await?);
        first.get_or_insert_with(|| began.elapsed().as_secs_f64());
    }
    site.told().await?;
    let ordered = pebble.said(ORDER)?;
    ensure!(ordered == FIRST.len(), "{ordered} orders were made for {} domains", FIRST.len());

    say("stopping and starting again; from now on domains are proved over TLS");
    world.timed("down", async |world: &World| world.atoll(&["down"]).await.map(drop)).await?;
    ensure!(world.containers(&[]).await?.is_empty(), "containers are left after down");
    ensure!(site.visitor.meet(site.at, FIRST[0].0).await.is_err(), "a platform that is down shows certificates");
    fs_err::write(&platform, platform_of(&world, &pebble.directory, "tls-alpn-01"))?;
    up(&mut world, (names, 53).into()).await?;
    for ((domain, tenant), kept) in FIRST.iter().zip(&before) {
        ensure!(site.served(domain, tenant).await? == *kept, "{domain} has another certificate after a new start");
    }

    say("adding a tenant");
    let (domain, tenant) = LATER;
    let began = Instant::now();
    let contact = format!("owner@{tenant}.example");
    world.atoll(&["tenant", "add", tenant, "--blueprint", "page", "--domain", domain, "--contact", &contact]).await?;
    site.served(domain, tenant).await?;
    say(&format!("  https {:.1} s after the command to add it", began.elapsed().as_secs_f64()));
    let over_http = |domain: &str| pebble.said(&format!("w/ HTTP: http://{domain}"));
    ensure!(over_http(FIRST[0].0)? > 0 && over_http(domain)? == 0, "the authority's log does not tell of both proofs");
    // It was ordered in a look at all of them: what lacked one of the others would have been ordered then as well.
    let again = pebble.said(ORDER)?.saturating_sub(ordered + 1);
    site.never(&pebble).await?;

    outcome.equal("up_issued", &(before.len() + 1), &(FIRST.len() + 1));
    outcome.note("up_first_https_s", format!("{:.1}", first.context("nobody was visited")?));
    outcome.equal("up_reissued", &again, &0);
    Ok(())
}

fn platform_of(world: &World, directory: &str, proof: &str) -> String {
    format!(
        "apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: {{ name: {} }}\nspec:\n  network: {{ pool: {} }}\n  public:\n    scheme: https\n    \
         address: {}\n    port: {PLAIN}\n    tls:\n      port: {SECURE}\n      probePort: {PLAIN}\n      privateNames: true\n      proofs: [{proof}]\n      \
         authorities: [{{ directory: \"{directory}\", root: authority.pem }}]\n      https: {{ redirect: true, hsts: 1h }}\n",
        world.platform,
        world.pool,
        world.edge.ip(),
    )
}

/// `atoll up`, while control's container is told which DNS to ask: the one of the machine would be everybody's.
async fn up(world: &mut World, dns: SocketAddr) -> Result<()> {
    let (manifests, control) = (world.manifests.display().to_string(), world.container("control"));
    let named = async {
        wait_for("control's container", PATIENCE, async || {
            let shown = run("docker", &["inspect", "-f", "{{.State.Running}} {{.ResolvConfPath}}", &control]).await?;
            let Some(path) = shown.trim().strip_prefix("true ") else { return Ok(false) };
            fs_err::write(Path::new(path), format!("nameserver {}\n", dns.ip()))?;
            Ok(true)
        })
        .await
    };
    let started = world.timed("up", async |world: &World| world.atoll(&["up", "-f", &manifests]).await.map(drop));
    tokio::try_join!(started, named).map(drop)
}

/// The tenants' sites, as one sees them who trusts the authority alone.
struct Site {
    at: SocketAddr,
    plain: SocketAddr,
    visitor: Visitor,
}

impl Site {
    /// Waits until a domain shows its tenant's page under a certificate of the authority's; that certificate.
    async fn served(&self, domain: &str, tenant: &str) -> Result<CertificateDer<'static>> {
        let mut shown = None;
        wait_for(&format!("https://{domain}"), PATIENCE, async || {
            let (certificate, answer) = self.visitor.ask(self.at, domain, "/").await?;
            ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("The page of {tenant}\n")), "it answers {answer:?}");
            shown = Some(certificate);
            Ok(true)
        })
        .await?;
        shown.context("no certificate")
    }

    /// What visitors are told is what the documents ask: everybody is sent to HTTPS and told to stay there, but not where the tenant says otherwise.
    async fn told(&self) -> Result<()> {
        wait_for("visitors to be sent to HTTPS", Duration::from_secs(20), async || {
            let answer = ask(tokio::net::TcpStream::connect(self.plain).await?, FIRST[0].0, "/some/where?a=b").await?;
            let to = format!("\r\nlocation: https://{}:{SECURE}/some/where?a=b\r\n", FIRST[0].0);
            ensure!(answer.starts_with("HTTP/1.1 308 ") && answer.to_lowercase().contains(&to), "it answers {answer:?}");
            Ok(true)
        })
        .await?;
        let (_, answer) = self.visitor.ask(self.at, FIRST[0].0, "/").await?;
        ensure!(answer.to_lowercase().contains("\r\nstrict-transport-security: max-age=3600\r\n"), "it answers {answer:?}");
        let answer = ask(tokio::net::TcpStream::connect(self.plain).await?, FIRST[2].0, "/").await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "a tenant without a redirect answers {answer:?}");
        Ok(())
    }

    /// Nothing was asked, and nothing is shown, for domains that no active tenant owns; nobody is sent there.
    async fn never(&self, pebble: &Pebble) -> Result<()> {
        let anybody = Visitor::new(false)?;
        for domain in NEVER {
            ensure!(pebble.said(domain)? == 0, "the authority was asked about {domain}");
            ensure!(anybody.meet(self.at, domain).await.is_err(), "a certificate is shown for {domain}");
            let answer = ask(tokio::net::TcpStream::connect(self.plain).await?, domain, "/").await?;
            ensure!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"), "{domain} answers {answer:?}");
        }
        Ok(())
    }
}
