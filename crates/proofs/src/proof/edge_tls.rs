//! TLS at the edge: certificates from a real ACME server by both proofs, shown by every edge, renewed under visitors; a hundred thousand of them at the start; what
//! a handshake costs beside HAProxy; and all of it through `atoll up`.

mod up;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use certs::acme::{Authority, Proof};
use certs::{Book, Https, Kind, Pair, TicketKey, TicketKeys, What, self_signed};
use issuer::{Issuer, Limits, Probe, Wish, Wishes};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::fault::wait_for;
use crate::outcome::{Outcome, say};
use crate::tls::authority::Pebble;
use crate::tls::peers::Haproxy;
use crate::tls::visitor::Visitor;
use crate::tls::{Control, Edge, PLAIN, cpu, free_port, held, own_address};

/// Domains that are obtained, half by each proof.
const DOMAINS: usize = 20;
/// Seconds that a certificate lives: each is renewed within the proof.
const LIFE: u64 = 120;
/// A domain that points to somebody else.
const ELSEWHERE: &str = "elsewhere.proof.test";
/// Certificates at the start.
const MANY: usize = 100_000;
/// Written at once.
const CHUNK: usize = 1000;
/// Rounds of handshakes, in each of which both servers have their turn, and handshakes of a turn.
const ROUNDS: u32 = 5;
const HANDSHAKES: usize = 2000;
/// Visitors at once.
const TOGETHER: usize = 8;

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::new("edge-tls");
    obtained(&mut outcome).await.context("with an authority")?;
    many(&mut outcome, options.rounds.unwrap_or(ROUNDS)).await.context("with many certificates")?;
    up::prove(&mut outcome, options.keep).await.context("through atoll up")?;
    Ok(outcome)
}

/// What is wished for, as the proof goes on.
#[derive(Default)]
struct Wished(Mutex<Vec<Wish>>);

impl Wished {
    fn set(&self, domains: impl IntoIterator<Item = String>) {
        let wish = |domain| Wish { domain, active: true, https: None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = domains.into_iter().map(wish).collect();
    }
}

#[async_trait]
impl Wishes for Wished {
    async fn wishes(&self) -> Result<(Vec<Wish>, Https), String> {
        Ok((self.0.lock().unwrap_or_else(PoisonError::into_inner).clone(), Https::default()))
    }

    fn active(&self) -> bool {
        true
    }
}

fn domain(number: usize) -> String {
    format!("d{number}.proof.test")
}

fn leaf(book: &Book, domain: &str) -> Result<Option<Vec<u8>>> {
    let entry = book.read(Kind::Certificate, domain).map_err(|problem| anyhow::anyhow!("{domain}: {}", problem.reason))?;
    let Some(What::Certificate(certificate)) = entry.map(|entry| entry.what) else { return Ok(None) };
    Ok(Some(Pair::read(&certificate.chain, certificate.key.reveal())?.certified.cert[0].to_vec()))
}

/// Obtains, shows, renews, forgets.
async fn obtained(outcome: &mut Outcome) -> Result<()> {
    let control = Control::start().await?;
    let at = [own_address(1), own_address(2)];
    let edges = [Edge::start(&control.edge_folder("one")?, "one", at[0])?, Edge::start(&control.edge_folder("two")?, "two", at[1])?];
    let pebble = Pebble::start(control.folder.path(), LIFE, at[0]).await?;
    let mut hosts: BTreeMap<String, IpAddr> = (0..DOMAINS).map(|n| (domain(n), at[n % 2].into())).collect();
    hosts.insert(ELSEWHERE.to_owned(), own_address(9).into());
    for (host, address) in &hosts {
        pebble.place(host, *address).await?;
    }
    let somebody = tokio::spawn(somebody_else(own_address(9)));
    let own =
        Authority { name: "pebble".to_owned(), directory: pebble.directory.clone(), root: Some(pebble.root.clone()), contact: None, external: None };
    let dead = Authority { name: "dead".to_owned(), directory: format!("https://localhost:{}/dir", free_port()?), ..own.clone() };
    let wished = Arc::new(Wished::default());
    let issuer = |authorities: Vec<Authority>, proof| {
        let options = issuer::Options {
            authorities,
            limits: Limits::default(),
            proofs: vec![proof],
            probe: Probe { port: PLAIN, hosts: hosts.clone() },
            private_names: true,
            folder: control.folder.path().join("certificates"),
            self_signed: Vec::new(),
        };
        let (issuer, stop) = (Issuer::new(options, control.book.clone(), control.feed.clone(), wished.clone()), CancellationToken::new());
        (tokio::spawn(issuer.clone().run(stop.clone())), issuer, stop)
    };

    say(&format!("obtaining {} certificates by a file over HTTP; the first authority is dead", DOMAINS / 2));
    wished.set((0..DOMAINS / 2).map(domain).chain([ELSEWHERE.to_owned()]));
    let (running, first, stop) = issuer(vec![dead, own.clone()], Proof::Http);
    standing(&control.book, 0..DOMAINS / 2).await?;
    let elsewhere = first.problems().get(ELSEWHERE).cloned();
    stop.cancel();
    running.await?;
    say("and as many by a certificate over TLS");
    wished.set((0..DOMAINS).map(domain).chain([ELSEWHERE.to_owned()]));
    let (_running, _second, stop) = issuer(vec![own], Proof::Tls);
    standing(&control.book, DOMAINS / 2..DOMAINS).await?;

    let visitor = Visitor::new(false)?;
    let mut issued = 0;
    let mut before = Vec::new();
    for n in 0..DOMAINS {
        let kept = leaf(&control.book, &domain(n))?.context("a certificate is gone")?;
        wait_for("both edges to show it", Duration::from_secs(10), async || {
            for edge in &edges {
                ensure!(visitor.meet(edge.secure(), &domain(n)).await?.certificate.as_ref() == kept, "another certificate");
            }
            Ok(true)
        })
        .await?;
        before.push(kept);
        issued += 1;
    }
    let returning = Visitor::new(true)?;
    returning.meet(edges[0].secure(), &domain(0)).await?;
    let resumed = returning.meet(edges[1].secure(), &domain(0)).await?.resumed;
    ensure!(pebble.said(&domain(0))? > 0, "the authority's log does not tell whom it looked at");
    let asked = pebble.said(ELSEWHERE)?;

    say("waiting for renewals, with a visitor who shakes hands all the time");
    let stop_visits = CancellationToken::new();
    let visits = tokio::spawn(visit(visitor, edges[0].secure(), stop_visits.clone()));
    let renewed = async || Ok(before.iter().enumerate().all(|(n, old)| leaf(&control.book, &domain(n)).is_ok_and(|now| now.as_ref() != Some(old))));
    wait_for("every certificate to be renewed", Duration::from_secs(LIFE + 60), renewed).await?;
    stop_visits.cancel();
    let (visits, failed) = visits.await?;
    ensure!(pebble.said("renewalInfo/")? > 0, "the authority was never asked when it wants certificates renewed");

    wished.set((0..DOMAINS - 1).map(domain));
    let last = domain(DOMAINS - 1);
    let visitor = Visitor::new(false)?;
    wait_for("the certificate of a domain that is gone to be gone", Duration::from_secs(30), async || {
        Ok(visitor.meet(edges[1].secure(), &last).await.is_err())
    })
    .await?;
    stop.cancel();
    somebody.abort();
    outcome.equal("issued", &issued, &DOMAINS);
    outcome.equal("renewed", &before.len(), &DOMAINS);
    outcome.note("visits", visits);
    outcome.equal("visits_failed", &failed, &0);
    outcome.equal("resumed_at_another_edge", &resumed, &true);
    outcome.equal("elsewhere_asked", &asked, &0);
    outcome.equal("elsewhere_explained", &elsewhere.is_some_and(|why| why.contains("no edge of ours")), &true);
    Ok(())
}

async fn standing(book: &Book, numbers: std::ops::Range<usize>) -> Result<()> {
    let all = async || Ok(numbers.clone().all(|n| book.covering(&domain(n)).is_some()));
    wait_for("the certificates to be obtained", Duration::from_secs(120), all).await
}

/// Shakes hands until the stop; how often, and how often in vain.
async fn visit(visitor: Visitor, at: std::net::SocketAddr, stop: CancellationToken) -> (usize, usize) {
    let (mut visits, mut failed) = (0, 0);
    while !stop.is_cancelled() {
        if let Err(error) = visitor.meet(at, &domain(visits % DOMAINS)).await {
            say(&format!("  a visit failed: {error:#}"));
            failed += 1;
        }
        visits += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (visits, failed)
}

/// A server that is none of ours and answers everything.
async fn somebody_else(at: Ipv4Addr) -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind((at, PLAIN)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n").await;
    }
}

fn host(number: usize) -> String {
    format!("n{number}.many.test")
}

/// A hundred thousand certificates: the start of an edge, what it holds, and handshakes beside HAProxy.
async fn many(outcome: &mut Outcome, rounds: u32) -> Result<()> {
    let control = Control::start().await?;
    say(&format!("making {MANY} certificates"));
    let book = control.book.clone();
    tokio::task::spawn_blocking(move || fill(&book)).await??;
    let folder = control.edge_folder("many")?;
    let visitor = Visitor::new(false)?;
    let edge = Edge::start(&folder, "first", own_address(3))?;
    let shown = async |edge: &Edge, host: &str| {
        while visitor.meet(edge.secure(), host).await.is_err() {
            edge.pid()?;
            ensure!(edge.started.elapsed() < Duration::from_secs(300), "{host} is not shown in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(edge.started.elapsed().as_secs_f64())
    };
    let told = shown(&edge, &host(MANY - 1)).await?;
    edge.stop().await?;
    let edge = Edge::start(&folder, "second", own_address(3))?;
    let start = shown(&edge, &host(MANY / 2)).await?;
    let (open, fresh) = held(edge.pid()?)?;
    say("handshakes for hosts at random");
    let mut times = Vec::new();
    let mut at_random = Sequence(7);
    for _ in 0..3000 {
        let begun = Instant::now();
        visitor.meet(edge.secure(), &host(at_random.below(MANY))).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    let (_, later) = held(edge.pid()?)?;
    outcome.equal("certs", &MANY, &MANY);
    outcome.note("told_s", format!("{told:.1}"));
    outcome.at_most("start_s", start, 1.0);
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    outcome.at_most("descriptors", open as f64, 64.0);
    outcome.note("resident_mib", format!("{fresh:.0}"));
    outcome.note("resident_mib_after", format!("{later:.0}"));
    outcome.note("random_p50_ms", format!("{:.2}", times[times.len() / 2].as_secs_f64() * 1e3));
    outcome.note("random_p99_ms", format!("{:.2}", times[times.len() * 99 / 100].as_secs_f64() * 1e3));
    compare(outcome, &control, &edge, rounds).await
}

/// A small generator of our own: which hosts are asked does not change with a library.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

fn fill(book: &Book) -> Result<()> {
    let now = Timestamp::now();
    // No issuer works here that would make the keys of tickets.
    let tickets = TicketKeys(vec![TicketKey { key: identity::token(32), from: now }]);
    book.put(vec![("tickets".to_owned(), What::Tickets(tickets))])?;
    for chunk in 0..MANY / CHUNK {
        let words = (chunk * CHUNK..(chunk + 1) * CHUNK).map(|n| {
            let name = host(n);
            let (chain, key) = self_signed(&[&name], now)?;
            let pair = Pair::read(&chain, key.reveal())?;
            anyhow::Ok((name, What::Certificate(Box::new(pair.certificate(chain, key)))))
        });
        book.put(words.collect::<Result<_>>()?)?;
    }
    Ok(())
}

/// Full handshakes and short ones, both servers in turn under the same certificate: processor time of each by handshake, medians over rounds.
async fn compare(outcome: &mut Outcome, control: &Control, edge: &Edge, rounds: u32) -> Result<()> {
    let name = host(1);
    let entry = control.book.read(Kind::Certificate, &name).map_err(|problem| anyhow::anyhow!(problem.reason))?;
    let Some(What::Certificate(certificate)) = entry.map(|entry| entry.what) else { anyhow::bail!("the certificate is gone") };
    let folder = control.folder.path().join("haproxy");
    fs_err::create_dir_all(&folder)?;
    fs_err::write(folder.join("one.pem"), format!("{}{}", certificate.chain, certificate.key.reveal()))?;
    let haproxy = Haproxy::start(control.folder.path(), &folder, own_address(4)).await?;
    for (tickets, key) in [(false, "handshake_ratio_vs_haproxy"), (true, "short_ratio_vs_haproxy")] {
        let mut each: [Vec<f64>; 2] = Default::default();
        for _ in 0..rounds {
            for (costs, (at, pid)) in each.iter_mut().zip([(edge.secure(), edge.pid()?), (haproxy.at, haproxy.pid()?)]) {
                costs.push(turn(at, pid, &name, tickets).await?);
            }
        }
        let [ours, theirs] = each.map(|mut costs| {
            costs.sort_by(f64::total_cmp);
            costs[costs.len() / 2]
        });
        say(&format!("  {}: edge {ours:.1} us, HAProxy {theirs:.1} us a handshake", if tickets { "short" } else { "full" }));
        if tickets { outcome.note(key, format!("{:.2}", ours / theirs)) } else { outcome.at_most(key, ours / theirs, 1.0) }
    }
    Ok(())
}

/// Microseconds of a process for each of many handshakes.
async fn turn(at: std::net::SocketAddr, pid: u32, host: &str, tickets: bool) -> Result<f64> {
    let visitor = Visitor::new(tickets)?;
    let first = visitor.meet(at, host).await?.resumed;
    ensure!(!first, "a first visit goes on with nothing");
    let before = cpu(pid)?;
    let visitors = (0..TOGETHER).map(|_| {
        let (visitor, host) = (visitor.clone(), host.to_owned());
        tokio::spawn(async move {
            let mut resumed = 0;
            for _ in 0..HANDSHAKES / TOGETHER {
                resumed += usize::from(visitor.meet(at, &host).await?.resumed);
            }
            anyhow::Ok(resumed)
        })
    });
    let mut resumed = 0;
    for visitor in visitors.collect::<Vec<_>>() {
        resumed += visitor.await??;
    }
    // Tickets are used once; visitors who come at the same time may find none left.
    ensure!(tickets == (resumed > HANDSHAKES / 2), "{resumed} of {HANDSHAKES} were short at {at}");
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    Ok((cpu(pid)? - before).as_secs_f64() * 1e6 / HANDSHAKES as f64)
}
