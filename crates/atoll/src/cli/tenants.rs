//! `atoll tenant`.

use std::time::Duration;

use api::v1::{self, Accepted};
use jiff::Timestamp;
use model::v1alpha1::{self as kinds, OperationState, PlatformSpec, TenantState, Verb};
use model::{Document, DocumentName, Fault, Kind, OperationName, Typed, Whose};
use serde_json::{Value, json};

use super::args::{List, Tenant, TenantAdd, TenantChange, TenantRemove, Waiting};
use super::confirm::confirm;
use super::exit::{Exit, Failure};
use super::output::{BOLD, GREEN, RED, YELLOW, styled};
use super::session::{Session, read, url};
use super::status::condition_style;
use super::table::{Entry, Table};
use super::wait::{Until, Wait};
use super::{age, faults};

/// How long a new tenant may find no cell before whoever added it is told.
const UNPLACED_AT_MOST: Duration = Duration::from_secs(20);

/// Runs a command.
pub async fn run(session: &Session, command: Tenant) -> Result<(), Failure> {
    match command {
        Tenant::Add(args) => add(session, args).await,
        Tenant::Show { name } => show(session, &(&name).into()).await,
        Tenant::List(args) => list(session, args).await,
        Tenant::Suspend(TenantChange { name, waiting }) => {
            let accepted = session.client.tenant_suspend(&name).await?;
            settle(session, accepted, &waiting, "is suspended: visitors see so, its data is kept").await
        }
        Tenant::Resume(TenantChange { name, waiting }) => {
            let accepted = session.client.tenant_resume(&name).await?;
            settle(session, accepted, &waiting, "is served").await
        }
        Tenant::Remove(args) => remove(session, args).await,
    }
}

async fn add(session: &Session, args: TenantAdd) -> Result<(), Failure> {
    let TenantAdd { name, blueprint, domains, title, contact, cell, language, plan, region, group, waiting } = args;
    let title = title.unwrap_or_else(|| name.to_string());
    let wish = v1::TenantAdd { name: name.clone(), blueprint, domains, title, contact, language, plan, region, cell, group };
    let spec = session.platform_spec().await?;
    let accepted = session.client.tenant_add(&wish).await?;
    if !accepted.changed {
        session.output.note(format!("tenant {name} was added before; nothing was written"));
    }
    let again = format!("atoll explain tenant {name}");
    session.resume_with(&again);
    if waiting.no_wait {
        session.output.result(&accepted.document, || format!("tenant {name} is written down\n  next: {}\n", styled(BOLD, &again)));
        return Ok(());
    }
    let key = (Kind::Tenant, DocumentName::from(&name));
    let mut arrived =
        Wait::new(session, &waiting).blocked_at_most(UNPLACED_AT_MOST).and(accepted.document, Until::Ready).run(accepted.revision).await?;
    let Some((document, seen)) = arrived.remove(&key) else { return Ok(()) };
    let revealed = reveal(session, &key.1, seen).await?;
    let tenant: Typed<kinds::Tenant> = read(document)?;
    let added = Added { tenant, spec, secrets: revealed };
    session.output.result(&added.value(), || added.text());
    Ok(())
}

/// A tenant that was added, as it is shown.
struct Added {
    tenant: Typed<kinds::Tenant>,
    spec: PlatformSpec,
    secrets: Result<Vec<(String, String)>, Fault>,
}

impl Added {
    fn urls(&self) -> Vec<String> {
        self.tenant.spec.domains.iter().map(|d| url(&self.spec, d.as_str())).collect()
    }

    fn value(&self) -> Value {
        let urls = self.urls();
        let mut value = json!({ "tenant": self.tenant.metadata.name, "cell": self.tenant.status.cell, "url": urls.first(), "urls": urls });
        match &self.secrets {
            Ok(secrets) => secrets.iter().for_each(|(name, secret)| value[name.as_str()] = json!(secret)),
            Err(fault) => value["secrets"] = json!({ "fault": fault }),
        }
        value
    }

    fn text(&self) -> String {
        let cell = self.tenant.status.cell.as_ref().map_or_else(String::new, |cell| format!(" in cell {cell}"));
        let mut text = format!("{} tenant {} is served{cell}\n", styled(GREEN, "ok"), self.tenant.metadata.name);
        for url in self.urls() {
            text += &format!("  {}\n", styled(BOLD, &url));
        }
        match &self.secrets {
            Ok(secrets) => {
                for (name, secret) in secrets {
                    text += &format!("  {:<15} {secret}\n", label(name));
                }
                text += "  the password is shown this once\n";
            }
            Err(fault) => {
                text += &format!("  {}\n", fault.message);
                text += &fault.hint.as_ref().map_or_else(String::new, |hint| format!("  hint: {hint}\n"));
            }
        }
        text
    }
}

/// `adminPassword` as `admin password`.
fn label(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}

/// The secrets of the operation that made a tenant; a fault to be shown beside the tenant where they were revealed before.
async fn reveal(session: &Session, tenant: &DocumentName, seen: Option<DocumentName>) -> Result<Result<Vec<(String, String)>, Fault>, Failure> {
    let shown_before = || {
        let fault = Fault::new(faults::SHOWN_BEFORE, Whose::State, "the administrator's password was shown before, or belongs to somebody else");
        fault.hint("the application's own 'lost password' sets a new one")
    };
    // The one that was seen at work may be another than the one that made the tenant.
    for made in [seen, maker(session, tenant).await?].into_iter().flatten() {
        let Ok(operation) = OperationName::new(made.as_str()) else { continue };
        match session.client.operation_reveal(&operation).await {
            Ok(revealed) => return Ok(Ok(revealed.values.into_iter().map(|(name, secret)| (name, secret.reveal().clone())).collect())),
            Err(api::ClientError::Fault(refusal)) if refusal.status.is_client_error() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Err(shown_before()))
}

/// The operation that made a tenant, where it was not seen at work.
async fn maker(session: &Session, tenant: &DocumentName) -> Result<Option<DocumentName>, Failure> {
    let operations = session.client.documents(Kind::Operation, "").await?.documents;
    let mut makers: Vec<Typed<kinds::Operation>> = operations.into_iter().filter_map(|d| Typed::read(d).ok()).collect();
    makers.retain(|o| o.spec.verb == Verb::TenantCreate && o.spec.subject.name == *tenant && o.status.state == OperationState::Done);
    Ok(makers.into_iter().max_by_key(|o| o.metadata.created_at).map(|o| o.metadata.name))
}

async fn remove(session: &Session, args: TenantRemove) -> Result<(), Failure> {
    let TenantRemove { name, yes, waiting } = args;
    let grace = session.platform_spec().await?.grace;
    let document = session.client.document(Kind::Tenant, &(&name).into()).await?;
    let tenant: Typed<kinds::Tenant> = read(document)?;
    let domains: Vec<&str> = tenant.spec.domains.iter().map(|d| d.as_str()).collect();
    let days = age::seconds_text(grace.duration().as_secs());
    session.output.note(format!(
        "tenant {name} ({}) is no longer served; after {days} its data is deleted for good. Until then `atoll tenant resume {name}` brings it back.",
        domains.join(", ")
    ));
    confirm(yes, &format!("Remove tenant {name}?")).await?;
    let accepted = session.client.tenant_remove(&name).await?;
    settle(session, accepted, &waiting, &format!("is removed; its data is deleted after {days}")).await
}

/// Waits until a change of a tenant's state stands everywhere.
async fn settle(session: &Session, accepted: Accepted, waiting: &Waiting, done: &str) -> Result<(), Failure> {
    let name = accepted.document.metadata.name.clone();
    session.resume_with(format!("atoll explain tenant {name}"));
    if waiting.no_wait {
        session.output.result(&accepted.document, || format!("tenant {name}: the change is written down\n"));
        return Ok(());
    }
    let mut arrived = Wait::new(session, waiting).and(accepted.document, Until::Ready).run(accepted.revision).await?;
    if let Some((document, _)) = arrived.remove(&(Kind::Tenant, name.clone())) {
        session.output.result(&document, || format!("{} tenant {name} {done}\n", styled(GREEN, "ok")));
    }
    Ok(())
}

async fn show(session: &Session, name: &DocumentName) -> Result<(), Failure> {
    let document = session.client.document(Kind::Tenant, name).await?;
    let tenant: Typed<kinds::Tenant> = read(document.clone())?;
    let spec = session.platform_spec().await?;
    session.output.result(&document, || text(&tenant, &spec));
    Ok(())
}

fn text(tenant: &Typed<kinds::Tenant>, platform: &PlatformSpec) -> String {
    let (spec, status) = (&tenant.spec, &tenant.status);
    let mut lines = vec![
        ("name", tenant.metadata.name.to_string()),
        ("state", state(tenant).0),
        ("title", spec.title.clone()),
        ("blueprint", spec.blueprint.to_string()),
        ("cell", status.cell.as_ref().map_or_else(|| "not placed".to_owned(), |c| format!("{c} (epoch {})", status.epoch))),
        ("contact", spec.contact.clone()),
        ("language", spec.language.clone()),
        ("plan", spec.plan.clone()),
    ];
    lines.extend(spec.domains.iter().map(|d| ("address", url(platform, d.as_str()))));
    lines.extend(status.schema.iter().map(|s| ("schema", s.clone())));
    lines.extend(status.operation.iter().map(|o| ("operation", o.to_string())));
    lines.extend(status.purge_at.iter().map(|at| ("deleted at", at.to_string())));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    text += &conditions(&status.conditions);
    text
}

/// The conditions of a document as a table.
pub fn conditions(conditions: &model::Conditions) -> String {
    if conditions.iter().next().is_none() {
        return String::new();
    }
    let now = Timestamp::now();
    let mut table = Table::new(["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for c in conditions.iter() {
        let status = Entry::new(format!("{:?}", c.status), condition_style(c));
        table.row([
            c.r#type.as_str().into(),
            status,
            c.reason.as_str().into(),
            age::since(c.last_transition_time, now).into(),
            c.message.as_str().into(),
        ]);
    }
    format!("\n{}", table.text(""))
}

/// A tenant's state in a word, and whether it is good.
fn state(tenant: &Typed<kinds::Tenant>) -> (String, anstyle::Style) {
    let ready = tenant.status.conditions.is_true("Ready");
    match tenant.spec.state {
        TenantState::Active if ready => ("Ready".to_owned(), GREEN),
        TenantState::Active => {
            let reason = tenant.status.conditions.get("Ready").map_or_else(String::new, |c| format!(" ({})", c.reason));
            (format!("NotReady{reason}"), RED)
        }
        TenantState::Suspended => ("Suspended".to_owned(), YELLOW),
        TenantState::Removed => ("Removed".to_owned(), YELLOW),
    }
}

async fn list(session: &Session, args: List) -> Result<(), Failure> {
    let documents = session.client.documents(Kind::Tenant, &args.labels).await?.documents;
    session.output.result(&documents, || {
        let mut table = Table::new(["NAME", "STATE", "CELL", "BLUEPRINT", "DOMAINS"]);
        for tenant in typed::<kinds::Tenant>(&documents) {
            let (state, style) = state(&tenant);
            let domains: Vec<&str> = tenant.spec.domains.iter().map(|d| d.as_str()).collect();
            let cell = tenant.status.cell.as_ref().map_or("-", |c| c.as_str());
            table.row([
                tenant.metadata.name.as_str().into(),
                Entry::new(state, style),
                cell.into(),
                tenant.spec.blueprint.as_str().into(),
                domains.join(",").into(),
            ]);
        }
        table.text("")
    });
    Ok(())
}

/// Documents that this release understands.
pub fn typed<R: model::Resource>(documents: &[Document]) -> impl Iterator<Item = Typed<R>> {
    documents.iter().filter_map(|d| Typed::read(d.clone()).ok())
}

/// Refuses by an exit status alone; the answer was printed.
pub const fn differs(differs: bool) -> Result<(), Failure> {
    if differs { Err(Failure::silent(Exit::Differs)) } else { Ok(()) }
}
