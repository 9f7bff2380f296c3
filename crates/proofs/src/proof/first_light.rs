//! From nothing to four tenants serving; a post with a picture is published and read back, other tenants never see it; a stop and a power cut lose nothing.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::StatusCode;

use crate::Options;
use crate::fault::{run, wait_for};
use crate::mailbox::Mailbox;
use crate::outcome::{Outcome, say};
use crate::power;
use crate::site::titles;
use crate::world::{PATIENCE, Plan, Tenant, World};

/// A picture of 8 x 8 points, written by hand below so that no file is needed.
const PICTURE: &[u8] = include_bytes!("first_light.png");

/// A published post of one tenant.
struct Published {
    title: String,
    picture: String,
    bytes: usize,
}

/// Runs the proof.
pub async fn prove(options: &Options) -> Result<Outcome> {
    let mailbox = Mailbox::start().await?;
    let plan = Plan { mail: Some(mailbox.address), ..Plan::default() };
    let mut world = World::start(&plan, options.keep).await?;
    let tenants = world.add_tenants(&plan).await?;
    let ready: f64 = world.phases.iter().map(|(_, seconds)| seconds).sum();

    say("publishing with a picture on each site, reading back");
    let mut published = Vec::new();
    for tenant in &tenants {
        published.push(publish(tenant).await?);
    }
    read_all(&tenants, &published).await?;
    let blind = seen_by_others(&tenants, &published).await?;

    say("asking for a new password: a mail leaves the cell by the platform's relay");
    new_password(&tenants[0], &mailbox).await?;

    say("stopping and starting again");
    world.timed("down", async |world: &World| world.atoll(&["down"]).await.map(drop)).await?;
    ensure!(world.containers(&[]).await?.is_empty(), "containers are left after down");
    world.up().await?;
    serve_again(&tenants).await?;
    read_all(&tenants, &published).await?;

    say("losing the engine: every container is killed and removed, networks with them; only the state folder is left");
    lose_engine(&world).await?;
    world.up().await?;
    serve_again(&tenants).await?;
    read_all(&tenants, &published).await?;

    say("cutting the power: every process of the platform and of the engine ends at once");
    power::may_cut(&world).await?;
    power::cut(&world).await?;
    run("scripts/docker-start", &[]).await?;
    world.up().await?;
    serve_again(&tenants).await?;
    read_all(&tenants, &published).await?;

    let mut outcome = Outcome::new("first-light");
    outcome.equal("tenants", &tenants.len(), &4);
    outcome.note("ready_s", format!("{ready:.1}"));
    let slowest = tenants.iter().map(|t| t.add_s).fold(0.0, f64::max);
    outcome.at_most("tenant_add_s", slowest, 5.0);
    outcome.equal("seen_by_others", &blind, &0);
    for (phase, seconds) in &world.phases {
        outcome.note(&format!("phase_{}", phase.replace([' ', '-'], "_")), format!("{seconds:.1}"));
    }
    Ok(outcome)
}

async fn publish(tenant: &Tenant) -> Result<Published> {
    let mut editor = tenant.site.log_in(&tenant.user, &tenant.password).await?;
    let (_, picture) = editor.upload("light.png", Bytes::from_static(PICTURE)).await?;
    let title = format!("First light of {}", tenant.site.tenant);
    editor.publish(&title, &format!("<img src=\"{picture}\" alt=\"light\">")).await?;
    Ok(Published { title, picture, bytes: PICTURE.len() })
}

/// The administrator's new password goes to the tenant's contact, by the relay.
async fn new_password(tenant: &Tenant, mailbox: &Mailbox) -> Result<()> {
    let contact = format!("owner@{}.localhost", tenant.site.tenant);
    let answer = tenant.site.visitor().post_form("/wp-login.php?action=lostpassword", &[("user_login", tenant.user.as_str())]).await?;
    ensure!(answer.status == StatusCode::FOUND, "asking for a new password was answered {}", answer.status);
    let arrived =
        |mail: &crate::mailbox::Mail| mail.to == [contact.clone()] && mail.from == "sites@relay.example" && mail.text.contains("action=rp&key=");
    wait_for("the mail with the new password", PATIENCE, async || Ok(mailbox.mails().iter().any(arrived))).await
}

/// Every tenant's post and picture can be read by anybody.
async fn read_all(tenants: &[Tenant], published: &[Published]) -> Result<()> {
    for (tenant, post) in tenants.iter().zip(published) {
        let mut visitor = tenant.site.visitor();
        let found = titles(&mut visitor, "light").await?;
        ensure!(found.contains(&post.title), "{} does not show its post; it shows {found:?}", tenant.site.tenant);
        let picture = visitor.get(&post.picture).await?;
        ensure!(
            picture.status == StatusCode::OK && picture.body.len() == post.bytes,
            "{}: the picture was answered {}",
            tenant.site.tenant,
            picture.status
        );
        ensure!(picture.body == PICTURE, "{}: the picture is another one", tenant.site.tenant);
    }
    Ok(())
}

/// How many posts or pictures of a tenant another one shows.
async fn seen_by_others(tenants: &[Tenant], published: &[Published]) -> Result<usize> {
    let mut seen = 0;
    for (i, tenant) in tenants.iter().enumerate() {
        let mut visitor = tenant.site.visitor();
        let found = titles(&mut visitor, "light").await?;
        seen += published.iter().enumerate().filter(|(j, post)| *j != i && found.contains(&post.title)).count();
        // All uploads have the same path; each must be the tenant's own file, so a visitor who forges our headers must gain nothing either.
        let forged = [("x-atoll-tenant", tenants[(i + 1) % tenants.len()].site.tenant.as_str()), ("atoll-tenant", "v1;t=other")];
        let answer = visitor.send(http::Method::GET, "/index.php?rest_route=/wp/v2/posts&per_page=100", &forged, Bytes::new()).await?;
        seen += published.iter().enumerate().filter(|(j, post)| *j != i && answer.text().contains(&post.title)).count();
    }
    Ok(seen)
}

async fn serve_again(tenants: &[Tenant]) -> Result<()> {
    for tenant in tenants {
        let what = format!("{} to serve", tenant.site.tenant);
        wait_for(&what, PATIENCE, async || Ok(tenant.site.visitor().get("/").await?.status == StatusCode::OK)).await?;
    }
    Ok(())
}

/// Every process of ours ends hard and every container and network object of the engine with it; only the state folder is left.
async fn lose_engine(world: &World) -> Result<()> {
    let mut names = world.containers(&[]).await?;
    ensure!(names.len() > 10, "only {} containers ran", names.len());
    // Once more for what the agent began before it went.
    while !names.is_empty() {
        let mut arguments = vec!["rm", "-f"];
        arguments.extend(names.iter().map(String::as_str));
        run("docker", &arguments).await.context("the containers could not be killed")?;
        names = world.containers(&[]).await?;
    }
    let label = format!("label=dev.atoll.platform={}", world.platform);
    let networks = run("docker", &["network", "ls", "-q", "--filter", &label]).await?;
    for network in networks.split_whitespace() {
        run("docker", &["network", "rm", network]).await?;
    }
    ensure!(world.containers(&[]).await?.is_empty(), "containers survived");
    Ok(())
}
