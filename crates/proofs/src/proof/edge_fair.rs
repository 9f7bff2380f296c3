//! One tenant floods the edge with ten times its share of what the application can serve; the others do not notice. Without limits they do, or the proof
//! would show nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::StatusCode;
use model::TenantName;
use model::v1alpha1::{LimitsSpec, TenantLimits};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Options;
use crate::fault::wait_for;
use crate::fleet::{Fleet, serve};
use crate::http_client::Visitor;
use crate::load::Seen;
use crate::outcome::{Outcome, median, say};

/// Tenants of the cell; the first one floods.
const TENANTS: u32 = 10;
/// Requests that the application serves at once, and how long each takes: 400 a second.
const WORKERS: u32 = 8;
const WORK: Duration = Duration::from_millis(20);
/// A tenant's equal part of that, a second.
const SHARE: u32 = 40;
/// The others ask a quarter of their share.
const PACE: Duration = Duration::from_millis(100);
/// Connections of the flood; together they ask ten times the share.
const FLOOD: u32 = 40;
const FLOOD_PACE: Duration = Duration::from_millis(100);
/// One measured stretch.
const STRETCH: Duration = Duration::from_secs(10);
/// Stretches with and without the flood, in turn.
const ROUNDS: u32 = 5;

/// What one stretch showed.
struct Stretch {
    others: Seen,
    flood: Flood,
}

/// How the flood fared.
#[derive(Debug, Default)]
struct Flood {
    served: u32,
    refused: u32,
    other: Vec<String>,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let fleet = Fleet::start(1, &["cell-a"]).await?;
    let tenants = (0..TENANTS).map(|number| anyhow::Ok((TenantName::new(format!("t{number}"))?, host(number))));
    fleet.open(&fleet.cells[0], application().await?, &tenants.collect::<Result<Vec<_>>>()?).await?;
    let edge = fleet.edges[0];
    wait_for("the first answer", Duration::from_secs(20), async || Ok(Visitor::new(edge, &host(0)).get("/").await?.status == StatusCode::OK)).await?;

    say("without limits");
    let calm = stretch(edge, false).await?;
    let felt = stretch(edge, true).await?.others.percentile_ms(0.99) / calm.others.percentile_ms(0.99);
    say(&format!("  the flood multiplies the others' p99 by {felt:.2}"));
    ensure!(felt > 1.2, "the flood is not felt without limits: with them this proof would show nothing");

    let limits = TenantLimits { requests_per_second: SHARE, burst: Some(SHARE / 4), concurrency: WORKERS, ..TenantLimits::default() };
    fleet.feed.limit(LimitsSpec { classes: [("default".to_owned(), limits)].into(), ..LimitsSpec::default() });
    // Edges ask for the limits every few seconds.
    wait_for("the edge to limit", Duration::from_secs(30), async || Ok(stretch_of(edge, true, Duration::from_secs(1)).await?.flood.refused > 0))
        .await?;
    let (mut calm, mut flooded, mut failed, mut served, mut refused) = (Vec::new(), Vec::new(), 0, 0, 0);
    for round in 1..=options.rounds.unwrap_or(ROUNDS) {
        let quiet = stretch(edge, false).await?;
        let loud = stretch(edge, true).await?;
        let (before, with) = (quiet.others.percentile_ms(0.99), loud.others.percentile_ms(0.99));
        say(&format!(
            "round {round}: others' p99 {before:.1} ms, with the flood {with:.1} ms; of the flood {} served, {} refused",
            loud.flood.served, loud.flood.refused
        ));
        calm.push(before);
        flooded.push(with);
        for what in quiet.others.failed.iter().chain(&loud.others.failed).take(3) {
            say(&format!("  failed: {}", what.1));
        }
        for what in loud.flood.other.iter().take(3) {
            say(&format!("  the flood was answered {what}"));
        }
        failed += quiet.others.failed.len() + loud.others.failed.len();
        served += loud.flood.served;
        refused += loud.flood.refused;
    }
    let mut outcome = Outcome::new("edge-fair");
    outcome.at_most("p99_ratio_others", median(&mut flooded) / median(&mut calm), 1.2);
    outcome.note("p99_ratio_without_limits", format!("{felt:.2}"));
    outcome.equal("failed_others", &failed, &0);
    // What the flood may have: its rate, and the burst once a stretch.
    let most = (SHARE * u32::try_from(STRETCH.as_secs())? + SHARE / 4) * u32::try_from(calm.len())?;
    outcome.at_most("flood_served_share", f64::from(served) / f64::from(most), 1.05);
    outcome.note("flood_refused", refused);
    Ok(outcome)
}

fn host(number: u32) -> String {
    format!("t{number}.example")
}

/// The application: so many requests at once, the others wait; its address.
async fn application() -> Result<SocketAddr> {
    let workers = Arc::new(Semaphore::new(WORKERS as usize));
    serve(move |_| {
        let workers = workers.clone();
        async move {
            // The semaphore is never closed.
            let _worker = workers.acquire().await;
            tokio::time::sleep(WORK).await;
            Bytes::from_static(b"served")
        }
    })
    .await
}

async fn stretch(edge: SocketAddr, flooded: bool) -> Result<Stretch> {
    let stretch = stretch_of(edge, flooded, STRETCH).await?;
    ensure!(stretch.others.total() > 500, "the others asked only {} times", stretch.others.total());
    Ok(stretch)
}

/// The others ask at their pace, the first tenant floods where it is said so.
async fn stretch_of(edge: SocketAddr, flooded: bool, length: Duration) -> Result<Stretch> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut others, mut flood) = (JoinSet::new(), JoinSet::new());
    for number in 1..TENANTS {
        others.spawn(ask(edge, number, stop.clone()));
    }
    for _ in 0..if flooded { FLOOD } else { 0 } {
        flood.spawn(pour(edge, stop.clone()));
    }
    tokio::time::sleep(length).await;
    stop.store(true, SeqCst);
    let mut seen = Stretch { others: Seen::default(), flood: Flood::default() };
    while let Some(one) = others.join_next().await {
        let one = one?;
        seen.others.latencies.extend(one.latencies);
        seen.others.failed.extend(one.failed);
    }
    seen.others.latencies.sort_unstable();
    while let Some(one) = flood.join_next().await {
        let one = one?;
        seen.flood.served += one.served;
        seen.flood.refused += one.refused;
        seen.flood.other.extend(one.other);
    }
    Ok(seen)
}

/// A well-behaved tenant's visitor.
async fn ask(edge: SocketAddr, number: u32, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut visitor = Visitor::new(edge, &host(number));
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + PACE * number / TENANTS, PACE);
    while !stop.load(SeqCst) {
        tick.tick().await;
        let began = Instant::now();
        match visitor.get("/").await {
            Ok(answer) if answer.status == StatusCode::OK => seen.latencies.push(began.elapsed()),
            Ok(answer) => seen.failed.push((Duration::ZERO, format!("t{number}: {} {}", answer.status, answer.text()))),
            Err(error) => seen.failed.push((Duration::ZERO, format!("t{number}: {error:#}"))),
        }
    }
    seen
}

/// One of the flood's connections.
async fn pour(edge: SocketAddr, stop: Arc<AtomicBool>) -> Flood {
    let mut flood = Flood::default();
    let mut visitor = Visitor::new(edge, &host(0));
    let mut tick = tokio::time::interval(FLOOD_PACE);
    while !stop.load(SeqCst) {
        tick.tick().await;
        match visitor.get("/").await {
            Ok(answer) if answer.status == StatusCode::OK => flood.served += 1,
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => flood.refused += 1,
            Ok(answer) => flood.other.push(answer.status.to_string()),
            Err(error) => flood.other.push(format!("{error:#}")),
        }
    }
    flood
}
