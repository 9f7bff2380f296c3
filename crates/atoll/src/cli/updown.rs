//! `atoll up` and `atoll down`.

use std::path::PathBuf;
use std::time::Duration;

use api::ClientError;
use api::v1::{PlanAnswer, PlanRequest};
use model::v1alpha1::{Platform, PlatformSpec, Tenant, TenantState};
use model::{Document, Fault, Kind, PlatformName, Typed, Whose};
use serde_json::json;
use store::{ListOptions, Store as _};
use store_sqlite::{OpenError, SqliteStore};
use tokio::time::Instant;

use super::args::Up;
use super::exit::{Exit, Failure};
use super::output::{BOLD, GREEN, styled};
use super::plan::{carry_out, flags, load, refused, text, wait};
use super::session::{Session, read, url};
use super::tenants::typed;
use super::{age, faults};
use crate::platform::{Layout, down as stop, layout, up as start};

/// Name of a platform that nobody named.
const DEFAULT: &str = "atoll";
/// How long control may take to answer after its container was started.
const CONTROL_WITHIN: Duration = Duration::from_secs(60);

/// Starts the platform, applies files, waits, says where the sites are.
pub async fn up(session: &Session, args: Up) -> Result<(), Failure> {
    session.only_here("up")?;
    let began = Instant::now();
    let again = format!("atoll up{}", flags(&args.files));
    session.resume_with(&again);
    let mut documents = load(session, &args.files)?;
    let (platform, spec) = wanted(session, &mut documents).await?;
    let parts = start::Wanted { spec: spec.clone(), docker_socket: docker_socket() };
    Layout::refuse_other(&session.state, &platform).map_err(|e| Failure::machine(&e))?;
    // On a machine that lacks something nothing is begun.
    start::check(&platform, &parts).await.map_err(|e| Failure::machine(&e))?;
    let layout = Layout::create_or_open(&session.state, &platform).map_err(|e| Failure::machine(&e))?;
    start::up(&layout, &parts, |line| session.output.note(line)).await.map_err(|e| Failure::machine(&e))?;
    let plan = first_plan(session, &documents).await?;
    if plan.pending().next().is_some() || plan.refused().next().is_some() {
        session.output.note(text(&plan).trim_end());
    }
    refused(&plan)?;
    let applied = carry_out(session, &plan).await?;
    if !args.waiting.no_wait {
        looked(session).await;
    }
    wait(session, &documents, &applied, &args.waiting).await?;
    let served = served(session, &spec).await?;
    let took = began.elapsed();
    let answer = json!({ "platform": platform, "seconds": took.as_secs_f64(), "written": applied.written.len(), "tenants": served });
    session.output.result(&answer, || standing(session, &platform, &served, took, args.waiting.no_wait));
    Ok(())
}

/// The platform's name and wishes: from the files, else from control, else from its store, else the defaults. The wishes are added to the documents where
/// nobody has them, and never where somebody may.
async fn wanted(session: &Session, documents: &mut Vec<Document>) -> Result<(PlatformName, PlatformSpec), Failure> {
    let other = |stated: &str, given: &PlatformName| {
        let fault = Fault::new(faults::OTHER_PLATFORM, Whose::Caller, format!("the files state platform {stated}, and --platform says {given}"));
        Failure::new(Exit::Refused, fault.hint("give one name, or leave --platform out"))
    };
    let named = |text: &str| {
        PlatformName::new(text)
            .map_err(|e| Failure::new(Exit::Refused, Fault::new(faults::OTHER_PLATFORM, Whose::Caller, format!("{text:?} names no platform: {e}"))))
    };
    let stated = match documents.iter().find(|d| d.kind == Kind::Platform) {
        Some(document) => Some(document.clone()),
        None => stored(session).await?,
    };
    match stated {
        Some(document) => {
            let stated: Typed<Platform> = read(document)?;
            let name = named(stated.metadata.name.as_str())?;
            match &session.platform {
                Some(given) if *given != name => Err(other(name.as_str(), given)),
                _ => Ok((name, stated.spec)),
            }
        }
        None => {
            let started = || Layout::open(&session.state).ok().map(|layout| layout.platform);
            let name = session.platform.clone().or_else(started).map_or_else(|| named(DEFAULT), Ok)?;
            let platform: Typed<Platform> = Typed::new(&name, PlatformSpec::default());
            documents.insert(0, platform.document());
            Ok((name, platform.spec))
        }
    }
}

/// The Platform that was applied before. Control that is down does not answer, and then its store does: without a look at it, defaults would take the
/// place of what was applied. A store that cannot be read is therefore a failure, and not the same as none.
async fn stored(session: &Session) -> Result<Option<Document>, Failure> {
    let deadline = Instant::now() + CONTROL_WITHIN;
    loop {
        let error = match session.client.documents(Kind::Platform, "").await {
            Ok(list) => return Ok(list.documents.into_iter().next()),
            Err(error) => error,
        };
        let path = layout::store(&session.state);
        if !path.try_exists().map_err(|error| Failure::machine(&error.into()))? {
            return Ok(None);
        }
        match SqliteStore::open(&path) {
            Ok(store) => {
                let page = store.list(Kind::Platform, ListOptions::default()).await.map_err(|error| Failure::machine(&error.into()))?;
                return Ok(page.documents.into_iter().next());
            }
            // Control is starting, or stopping.
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => {
                session.output.live("control holds its store and does not answer yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(OpenError::InUse { .. }) => return Err(error.into()),
            Err(error) => return Err(Failure::machine(&error.into())),
        }
    }
}

/// The first plan after a start: control may still be taking up its work.
async fn first_plan(session: &Session, documents: &[Document]) -> Result<PlanAnswer, Failure> {
    let deadline = Instant::now() + CONTROL_WITHIN;
    loop {
        let request = PlanRequest { documents: documents.to_vec() };
        let error = match session.client.plan(&request).await {
            Ok(plan) => return Ok(plan),
            Err(error) => error,
        };
        let starting = match &error {
            ClientError::Unreachable { .. } | ClientError::Protocol { .. } => true,
            ClientError::Fault(refusal) => refusal.status == 503,
        };
        if !starting || Instant::now() >= deadline {
            return Err(error.into());
        }
        session.output.live("control takes up its work");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Waits until control has looked at every cell: what documents say before that is how everything stood when the platform was last stopped. One that cannot be
/// looked at in this time is told by its conditions.
async fn looked(session: &Session) {
    let deadline = Instant::now() + CONTROL_WITHIN;
    while Instant::now() < deadline && !session.client.about().await.is_ok_and(|about| about.looked) {
        session.output.live("control looks at every cell");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sites that are served, with their addresses.
async fn served(session: &Session, spec: &PlatformSpec) -> Result<Vec<(String, String)>, Failure> {
    let documents = session.client.documents(Kind::Tenant, "").await?.documents;
    let active = typed::<Tenant>(&documents).filter(|t| t.spec.state == TenantState::Active);
    Ok(active.filter_map(|t| t.spec.domains.first().map(|d| (t.metadata.name.to_string(), url(spec, d.as_str())))).collect())
}

fn standing(session: &Session, platform: &PlatformName, served: &[(String, String)], took: Duration, no_wait: bool) -> String {
    let state = if no_wait { "is started; the rest follows" } else { "is up" };
    let mut text = format!("{} platform {platform} {state} after {}\n", styled(GREEN, "ok"), age::seconds_text(took.as_secs()));
    for (tenant, url) in served {
        text += &format!("  {tenant:<16} {}\n", styled(BOLD, url));
    }
    let state = if session.state == std::path::Path::new("/var/lib/atoll") { String::new() } else { format!(" --state {}", session.state.display()) };
    for (command, what) in [
        ("status", "what is not as wanted, why, since when"),
        ("tenant add NAME --domain DOMAIN --contact MAIL", "one more tenant"),
        ("down", "stop everything, keep data"),
    ] {
        text += &format!("  {:<56} {what}\n", styled(BOLD, &format!("atoll{state} {command}")));
    }
    text
}

/// Stops everything; works without control and without the state folder.
pub async fn down(session: &Session) -> Result<(), Failure> {
    session.only_here("down")?;
    session.resume_with("atoll down");
    let platform = match (&session.platform, Layout::open(&session.state)) {
        (Some(given), Ok(layout)) if *given != layout.platform => {
            let text = format!("{} belongs to platform {}, and --platform says {given}", session.state.display(), layout.platform);
            return Err(Failure::new(
                Exit::Refused,
                Fault::new(faults::OTHER_PLATFORM, Whose::Caller, text).hint("name the state folder of that platform with --state"),
            ));
        }
        (_, Ok(layout)) => layout.platform,
        (Some(given), Err(_)) => given.clone(),
        (None, Err(error)) => return Err(Failure::machine(&error)),
    };
    stop::down(&platform, |line| session.output.note(line)).await.map_err(|e| Failure::machine(&e))?;
    session.output.result(&json!({ "platform": platform, "state": session.state }), || {
        format!("{} platform {platform} is down; its data is kept in {}\n", styled(GREEN, "ok"), session.state.display())
    });
    Ok(())
}

/// The engine's socket on this machine.
fn docker_socket() -> PathBuf {
    std::env::var("DOCKER_HOST")
        .ok()
        .and_then(|host| host.strip_prefix("unix://").map(PathBuf::from))
        .unwrap_or_else(|| "/var/run/docker.sock".into())
}
