//! A tenant changes its owner a thousand times under load: its requests are held at two edges, what is under way in the old cell ends, the new cell opens,
//! and the requests go on. None fails, and none is served by a cell that does not own the tenant. WebSockets and event streams end with a word by which their
//! visitors come again.

mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use model::{Epoch, Generation, TenantName};
use routes::{GateTenant, GateTenantState, Record, RouteState};
use tokio::task::JoinSet;

use crate::Options;
use crate::fault::wait_for;
use crate::fleet::{Answer, Fleet, serve_whole, whole};
use crate::http_client::Visitor;
use crate::outcome::{Outcome, say};

const FLIPS: u32 = 1000;
const VISITORS: usize = 16;
/// WebSockets and event streams, half of each, at both edges.
const STREAMS: usize = 8;
const HOST: &str = "shop.example";

/// A cell's application: it knows whether its cell owns the tenant.
#[derive(Debug, Default)]
struct Application {
    owns: AtomicBool,
    under_way: AtomicI64,
    served: AtomicUsize,
    wrong: AtomicUsize,
}

/// What visitors saw.
#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    failed: Vec<String>,
    slowest: Duration,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let flips = options.rounds.unwrap_or(FLIPS);
    let fleet = Fleet::start(2, &["cell-a", "cell-b"]).await?;
    let mut applications = Vec::new();
    for _ in &fleet.cells {
        let application = Arc::new(Application::default());
        let asked = application.clone();
        applications.push((serve_whole(move |request| answer(asked.clone(), request)).await?, application));
    }
    let mut tenant = Ownership { fleet: &fleet, applications: &applications, owner: 0, epoch: 1, pushes: 0 };
    tenant.open(0).await?;
    wait_for("the first answer", Duration::from_secs(20), async || {
        Ok(Visitor::new(fleet.edges[0], HOST).get("/").await?.status == StatusCode::OK
            && Visitor::new(fleet.edges[1], HOST).get("/").await?.status == StatusCode::OK)
    })
    .await?;

    say(&format!("{flips} changes of the owner, {VISITORS} visitors at two edges"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        visitors.spawn(visit(fleet.edges[number % 2], number, stop.clone()));
    }
    let mut lasting = JoinSet::new();
    for number in 0..STREAMS {
        lasting.spawn(streams::visit(fleet.edges[number % 2], streams::Kind::of(number), stop.clone()));
    }
    let mut held = Vec::new();
    for flip in 1..=flips {
        held.push(tenant.flip().await.with_context(|| format!("flip {flip}"))?);
        // Visitors are served a while between two changes.
        let before: usize = applications.iter().map(|(_, app)| app.served.load(SeqCst)).sum();
        wait_for("visitors to be served", Duration::from_secs(20), async || {
            Ok(applications.iter().map(|(_, app)| app.served.load(SeqCst)).sum::<usize>() >= before + VISITORS)
        })
        .await?;
    }
    stop.store(true, SeqCst);
    let mut seen = Seen::default();
    while let Some(one) = visitors.join_next().await {
        let one = one?;
        seen.requests += one.requests;
        seen.failed.extend(one.failed);
        seen.slowest = seen.slowest.max(one.slowest);
    }
    let mut streams = streams::Seen::default();
    while let Some(one) = lasting.join_next().await {
        streams.add(one?);
    }
    seen.failed.append(&mut streams.failed);
    for what in seen.failed.iter().take(5) {
        say(&format!("  failed: {what}"));
    }
    held.sort_unstable();
    let at = |share: usize| held[(held.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    ensure!(streams.ended >= flips as usize, "of {flips} changes hardly one ended a stream: {}", streams.ended);
    ensure!(applications.iter().all(|(_, app)| app.served.load(SeqCst) > flips as usize), "a cell was hardly asked");
    let mut outcome = Outcome::new("edge-hold");
    outcome.note("flips", flips);
    outcome.equal("failed", &seen.failed.len(), &0);
    outcome.equal("wrong_owner", &applications.iter().map(|(_, app)| app.wrong.load(SeqCst)).sum::<usize>(), &0);
    outcome.note("hold_ms_p50", format!("{:.1}", at(50)));
    outcome.at_most("hold_ms_p99", at(99), 1000.0);
    outcome.note("requests", seen.requests);
    outcome.note("streams_ended", streams.ended);
    outcome.equal("streams_cut", &streams.cut, &0);
    outcome.equal("streams_wrong_owner", &streams.wrong, &0);
    outcome.note("slowest_ms", seen.slowest.as_millis());
    Ok(outcome)
}

/// Who owns the tenant, and how that changes.
struct Ownership<'a> {
    fleet: &'a Fleet,
    applications: &'a [(SocketAddr, Arc<Application>)],
    owner: usize,
    epoch: u64,
    pushes: u64,
}

impl Ownership<'_> {
    /// The first owner.
    async fn open(&mut self, owner: usize) -> Result<()> {
        self.owner = owner;
        self.applications[owner].1.owns.store(true, SeqCst);
        self.push(owner, GateTenantState::Open).await?;
        self.push(1 - owner, GateTenantState::Moved).await?;
        let generation = self.fleet.publish(vec![self.record(RouteState::Open)?])?;
        self.fleet.applied(generation).await
    }

    /// Hands the tenant to the other cell; for how long its requests were held.
    async fn flip(&mut self) -> Result<Duration> {
        let (old, new) = (self.owner, 1 - self.owner);
        let began = Instant::now();
        let generation = self.fleet.publish(vec![self.record(RouteState::Held)?])?;
        self.fleet.applied(generation).await?;
        let number = self.push(old, GateTenantState::Closed).await?;
        let tenant = TenantName::new("acme")?;
        while !self.fleet.report(&self.fleet.cells[old]).await?.tenant_drained(number, &tenant) {
            ensure!(began.elapsed() < Duration::from_secs(20), "the old cell is never done");
        }
        // From here on nobody owns the tenant; a request under way now would be one too many.
        let application = &self.applications[old].1;
        application.owns.store(false, SeqCst);
        ensure!(application.under_way.load(SeqCst) == 0, "the old cell's gate says it is done, its application is not");
        self.epoch += 1;
        self.owner = new;
        self.applications[new].1.owns.store(true, SeqCst);
        self.push(new, GateTenantState::Open).await?;
        self.push(old, GateTenantState::Moved).await?;
        self.fleet.publish(vec![self.record(RouteState::Open)?])?;
        Ok(began.elapsed())
    }

    fn record(&self, state: RouteState) -> Result<Record> {
        self.fleet.cells[self.owner].record(HOST, &TenantName::new("acme")?, Epoch(self.epoch), state)
    }

    async fn push(&mut self, cell: usize, state: GateTenantState) -> Result<Generation> {
        self.pushes += 1;
        let number = Generation(self.pushes);
        let (address, cell) = (self.applications[cell].0, &self.fleet.cells[cell]);
        let tenant = GateTenant { tenant: TenantName::new("acme")?, epoch: Epoch(self.epoch), state };
        let state = cell.state(number, address, vec![tenant])?;
        self.fleet.push(cell, &state).await?;
        Ok(number)
    }
}

/// Looks whether the cell owns the tenant when a request comes and when its answer goes out.
async fn answer(application: Arc<Application>, request: Request<Incoming>) -> Answer {
    if let Some(kind) = streams::Kind::asked(&request) {
        return streams::answer(application, kind, request);
    }
    application.under_way.fetch_add(1, SeqCst);
    let owned = application.owns.load(SeqCst);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(2)).await;
    if !owned || !application.owns.load(SeqCst) {
        application.wrong.fetch_add(1, SeqCst);
    }
    application.served.fetch_add(1, SeqCst);
    application.under_way.fetch_sub(1, SeqCst);
    whole(body)
}

/// Reads and writes in turn, on a connection that is kept.
async fn visit(edge: SocketAddr, number: usize, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut visitor = Visitor::new(edge, HOST);
    while !stop.load(SeqCst) {
        seen.requests += 1;
        let began = Instant::now();
        let word = format!("visitor {number} request {}", seen.requests);
        let (method, body) = if seen.requests % 2 == 0 { (Method::POST, Bytes::from(word)) } else { (Method::GET, Bytes::new()) };
        match visitor.send(method, "/", &[], body.clone()).await {
            Ok(answer) if answer.status == StatusCode::OK && answer.body == body => {}
            Ok(answer) => seen.failed.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => seen.failed.push(format!("{error:#}")),
        }
        seen.slowest = seen.slowest.max(began.elapsed());
    }
    seen
}
