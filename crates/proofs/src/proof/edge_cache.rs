//! The edge keeps answers of a real WordPress: a crowd of visitors reaches the cell rarely and is answered faster; nobody sees what is another's; a change is seen
//! at once; a purge is obeyed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::Options;
use crate::fault::wait_for;
use crate::http_client::Visitor;
use crate::outcome::{Outcome, median, say};
use crate::world::{PATIENCE, Plan, Tenant, World};

/// Visitors of each site at once, and requests of each in one round.
const CROWD: u32 = 4;
const REQUESTS: u32 = 60;
/// Rounds with and without the cache, in turn.
const ROUNDS: u32 = 5;
/// Most requests of a crowd, in hundredths, that may reach the cell.
const ORIGIN_SHARE: f64 = 0.10;
/// Most time of a request from the cache, as a part of one that WordPress answers.
const P50_RATIO: f64 = 0.25;
/// What WordPress shows only to somebody who is logged in.
const LOGGED_IN: &str = "wpadminbar";

/// What a crowd asks for: the front page, a feed, and what programs read.
const PAGES: [&str; 3] = ["/", "/feed/", "/index.php?rest_route=/wp/v2/posts"];

/// A site with what was published there.
struct Shop {
    tenant: Tenant,
    picture: String,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let plan = Plan {
        cells: vec!["cell-a"],
        tenants: vec![("alpha", "cell-a"), ("beta", "cell-a")],
        blueprint: |text| text.replacen("spec:\n", "spec:\n  edge: { cache: on }\n", 1),
        ..Plan::default()
    };
    let mut world = World::start(&plan, options.keep).await?;
    let mut shops = Vec::new();
    for tenant in world.add_tenants(&plan).await? {
        shops.push(open(tenant).await?);
    }
    let mut outcome = Outcome::new("edge-cache");
    crowds(&world, &shops, options.rounds.unwrap_or(ROUNDS), &mut outcome).await?;
    let leaked = leaks(&shops).await?;
    outcome.equal("leaked", &leaked, &0);
    outcome.equal("stale_after_change", &changes(&shops).await?, &0);
    outcome.equal("purged", &purge(&world, &shops[0]).await?, &true);
    Ok(outcome)
}

/// Publishes a post with a picture.
async fn open(tenant: Tenant) -> Result<Shop> {
    let mut editor = tenant.site.log_in(&tenant.user, &tenant.password).await?;
    let (_, picture) = editor.upload("light.png", Bytes::from_static(include_bytes!("first_light.png"))).await?;
    editor.publish(&format!("Only at {}", tenant.site.tenant), &format!("<img src=\"{picture}\" alt=\"\">")).await?;
    Ok(Shop { tenant, picture })
}

/// Crowds with and without the cache: who shows a cookie is answered by WordPress, whatever the cookie says.
async fn crowds(world: &World, shops: &[Shop], rounds: u32, outcome: &mut Outcome) -> Result<()> {
    say("crowds before the cache and, by a cookie of no meaning, past it");
    let (mut kept, mut past, mut asked, mut reached) = (Vec::new(), Vec::new(), 0, 0);
    for round in 1..=rounds {
        let before = at_gates(world).await?;
        let mut with = crowd(shops, false).await?;
        let between = settled(world).await?;
        let mut without = crowd(shops, true).await?;
        let after = settled(world).await?;
        let (share, other) = (count(&between) - count(&before), count(&after) - count(&between));
        ensure!(
            other >= without.len() as u64 / 2,
            "only {other} of {} requests past the cache were seen at the gates: the count is wrong",
            without.len()
        );
        asked += with.len() as u64;
        reached += share;
        let (a, b) = (median_ms(&mut with), median_ms(&mut without));
        say(&format!("round {round}: {share} of {} requests reached the cell; p50 {a:.2} ms, without the cache {b:.2} ms", with.len()));
        kept.push(a);
        past.push(b);
    }
    let ratio = median(&mut kept) / median(&mut past);
    #[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
    outcome.at_most("origin_share", reached as f64 / asked as f64, ORIGIN_SHARE);
    outcome.at_most("p50_ratio", ratio, P50_RATIO);
    outcome.note("p50_ms", format!("{:.2}", median(&mut kept)));
    outcome.note("p50_without_ms", format!("{:.2}", median(&mut past)));
    outcome.note("requests", asked);
    Ok(())
}

/// One round of everybody's requests for pages; the time of each.
async fn crowd(shops: &[Shop], cookie: bool) -> Result<Vec<Duration>> {
    let mut visitors = JoinSet::new();
    for shop in shops {
        for number in 0..CROWD {
            let site = shop.tenant.site.clone();
            visitors.spawn(async move {
                let mut visitor = site.visitor();
                if cookie {
                    visitor.cookie("visited", "yes");
                }
                let mut times = Vec::new();
                for request in 0..REQUESTS {
                    let page = PAGES[((number + request) % 3) as usize];
                    let began = Instant::now();
                    let answer = visitor.get(page).await?;
                    times.push(began.elapsed());
                    ensure!(answer.status == StatusCode::OK, "{page} of {} was answered {}", site.tenant, answer.status);
                }
                Ok(times)
            });
        }
    }
    let mut all = Vec::new();
    while let Some(times) = visitors.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// Requests that reached each gate, by its own access log.
async fn at_gates(world: &World) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for gate in world.containers(&["label=dev.atoll.service=gate"]).await? {
        let log = tokio::process::Command::new("docker").args(["logs", &gate]).output().await.context("the gate's log")?;
        let lines = String::from_utf8_lossy(&log.stdout).lines().filter(|line| line.contains("\"log\":\"gate\"")).count();
        counts.insert(gate, lines as u64);
    }
    ensure!(!counts.is_empty(), "no gate runs");
    Ok(counts)
}

/// The same, once all that is under way has been written down.
async fn settled(world: &World) -> Result<BTreeMap<String, u64>> {
    let mut last = at_gates(world).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = at_gates(world).await?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

fn count(gates: &BTreeMap<String, u64>) -> u64 {
    gates.values().sum()
}

/// Editors, visitors of both sites and those who try to have an editor's page kept under a file's name, all at once: how often somebody saw what is not his.
async fn leaks(shops: &[Shop]) -> Result<u32> {
    say("editors and visitors of two sites at once");
    let mut people = JoinSet::new();
    for (at, shop) in shops.iter().enumerate() {
        let other = format!("Only at {}", shops[(at + 1) % shops.len()].tenant.site.tenant);
        let own = format!("Only at {}", shop.tenant.site.tenant);
        let mut editor = shop.tenant.site.log_in(&shop.tenant.user, &shop.tenant.password).await?.visitor;
        let (others, contact) = (other.clone(), format!("owner@{}.localhost", shop.tenant.site.tenant));
        people.spawn(async move {
            let mut seen = 0;
            for round in 0..30 {
                let answer = editor.get("/").await?;
                ensure!(answer.text().contains(LOGGED_IN), "an editor is not greeted any more: the proof would show nothing");
                seen += u32::from(answer.text().contains(&others));
                // A page of his own under a file's name, which he was made to open.
                editor.get(&format!("/wp-admin/profile.php/{round}.css")).await?;
            }
            Ok(seen)
        });
        for _ in 0..3 {
            let (mut visitor, own, other, contact) = (shop.tenant.site.visitor(), own.clone(), other.clone(), contact.clone());
            people.spawn(async move {
                let mut seen = 0;
                for round in 0..60 {
                    let page = visitor.get("/").await?.text();
                    ensure!(page.contains(&own), "the site does not show its post");
                    seen += u32::from(page.contains(LOGGED_IN) || page.contains(&other));
                    let file = visitor.get(&format!("/wp-admin/profile.php/{}.css", round / 2)).await?.text();
                    seen += u32::from(file.contains(&contact) || file.contains("_wpnonce"));
                }
                Ok(seen)
            });
        }
    }
    let mut leaked = 0;
    while let Some(seen) = people.join_next().await {
        leaked += seen??;
    }
    Ok(leaked)
}

/// How often a post that was just published is not on the front page of the next visitor, who was there a moment before.
async fn changes(shops: &[Shop]) -> Result<u32> {
    say("changes");
    let mut stale = 0;
    for shop in shops {
        let mut editor = shop.tenant.site.log_in(&shop.tenant.user, &shop.tenant.password).await?;
        let mut visitor = shop.tenant.site.visitor();
        for number in 0..10 {
            visitor.get("/").await?;
            let title = format!("News number {number}");
            editor.publish(&title, "now").await?;
            stale += u32::from(!visitor.get("/").await?.text().contains(&title));
        }
    }
    Ok(stale)
}

/// Whether a picture that is kept is asked for again after a purge, and only then.
async fn purge(world: &World, shop: &Shop) -> Result<bool> {
    say("a purge");
    let (site, picture) = (&shop.tenant.site, &shop.picture);
    let mut visitor = site.visitor();
    visitor.get(picture).await?;
    let mut reached = settled(world).await?;
    for _ in 0..20 {
        fetch(&mut visitor, picture).await?;
    }
    let kept = settled(world).await? == reached;
    world.atoll(&["cache", "purge", &site.tenant, "--url", picture]).await?;
    reached = settled(world).await?;
    wait_for("the picture to be asked for again", PATIENCE, async || {
        fetch(&mut visitor, picture).await?;
        Ok(at_gates(world).await? != reached)
    })
    .await?;
    Ok(kept)
}

async fn fetch(visitor: &mut Visitor, path: &str) -> Result<()> {
    let answer = visitor.send(Method::GET, path, &[], Bytes::new()).await?;
    ensure!(answer.status == StatusCode::OK && !answer.body.is_empty(), "{path} was answered {}", answer.status);
    Ok(())
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
