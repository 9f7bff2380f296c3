//! `atoll cell`.

use api::v1;
use model::v1alpha1 as kinds;
use model::{Document, DocumentName, Kind, Typed};

use super::args::{Cell, CellClose, CellOpen, List};
use super::confirm::confirm;
use super::exit::Failure;
use super::output::{BOLD, GREEN, RED, YELLOW, styled};
use super::session::{Session, read};
use super::table::{Entry, Table};
use super::tenants::{conditions, typed};
use super::wait::{Until, Wait, explain};

/// Runs a command.
pub async fn run(session: &Session, command: Cell) -> Result<(), Failure> {
    match command {
        Cell::Open(args) => open(session, args).await,
        Cell::Show { name } => show(session, &(&name).into()).await,
        Cell::List(args) => list(session, args).await,
        Cell::Drain { name } => {
            let accepted = session.client.cell_drain(&name).await?;
            let cell: Typed<kinds::Cell> = read(accepted.document.clone())?;
            session.output.result(&accepted.document, || drained(&cell));
            Ok(())
        }
        Cell::Close(args) => close(session, args).await,
    }
}

fn drained(cell: &Typed<kinds::Cell>) -> String {
    let name = &cell.metadata.name;
    let next = match cell.status.tenants {
        0 => format!("atoll cell close {name}"),
        _ => format!("atoll explain cell {name}"),
    };
    format!("cell {name} takes no new tenants; {} are left in it\n  next: {}\n", cell.status.tenants, styled(BOLD, &next))
}

async fn open(session: &Session, args: CellOpen) -> Result<(), Failure> {
    let CellOpen { name, blueprint, region, waiting } = args;
    let accepted = session.client.cell_open(&v1::CellOpen { name: name.clone(), blueprint, region }).await?;
    let again = format!("atoll explain cell {name}");
    session.resume_with(&again);
    if waiting.no_wait {
        session.output.result(&accepted.document, || format!("cell {name} is written down\n  next: {}\n", styled(BOLD, &again)));
        return Ok(());
    }
    let mut arrived = Wait::new(session, &waiting).and(accepted.document, Until::Ready).run(accepted.revision).await?;
    if let Some((document, _)) = arrived.remove(&(Kind::Cell, DocumentName::from(&name))) {
        session.output.result(&document, || format!("{} cell {name} takes tenants\n", styled(GREEN, "ok")));
    }
    Ok(())
}

async fn close(session: &Session, args: CellClose) -> Result<(), Failure> {
    let CellClose { name, yes, waiting } = args;
    session.output.note(format!("cell {name} goes with its containers, networks and database; it must be empty"));
    confirm(yes, &format!("Close cell {name}?")).await?;
    let accepted = session.client.cell_close(&name).await?;
    session.resume_with(format!("atoll explain cell {name}"));
    let document = accepted.document.clone();
    if waiting.no_wait {
        session.output.result(&document, || format!("cell {name} is being closed\n"));
        return Ok(());
    }
    Wait::new(session, &waiting).and(accepted.document, Until::Gone).run(accepted.revision).await?;
    session.output.result(&document, || format!("{} cell {name} is closed\n", styled(GREEN, "ok")));
    Ok(())
}

async fn show(session: &Session, name: &DocumentName) -> Result<(), Failure> {
    let document = session.client.document(Kind::Cell, name).await?;
    let cell: Typed<kinds::Cell> = read(document.clone())?;
    session.output.result(&document, || text(&cell));
    Ok(())
}

fn text(cell: &Typed<kinds::Cell>) -> String {
    let (spec, status) = (&cell.spec, &cell.status);
    let serving = status.serving.as_ref().filter(|s| **s != spec.blueprint).map_or_else(String::new, |s| format!(" (still serving {s})"));
    let mut lines = vec![
        ("name", cell.metadata.name.to_string()),
        ("state", state(cell).0),
        ("blueprint", format!("{}{serving}", spec.blueprint)),
        ("placing", format!("{:?}", spec.scheduling)),
        ("tenants", status.tenants.to_string()),
    ];
    lines.extend(spec.region.iter().map(|r| ("region", r.clone())));
    lines.extend(status.allocation.iter().map(|a| ("networks", format!("{} and {}", a.app_network, a.data_network))));
    lines.extend(status.operation.iter().map(|o| ("operation", o.to_string())));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    text += &parts(status);
    text += &conditions(&status.conditions);
    text += &format!("\nnext: {}\n", styled(BOLD, &explain(Kind::Cell, &cell.metadata.name)));
    text
}

/// Services, gates and database nodes in one table.
fn parts(status: &kinds::CellStatus) -> String {
    let mut table = Table::new(["PART", "STATE", "DETAIL"]);
    let mut any = false;
    let word = |good: bool| if good { Entry::new("ready", GREEN) } else { Entry::new("not ready", RED) };
    for (name, service) in &status.services {
        let why = [service.reason.as_deref(), service.message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        let detail = format!("{} of {} {why}", service.ready, service.wanted);
        table.row([format!("service {name}").into(), word(service.ready >= service.wanted && service.reason.is_none()), detail.trim_end().into()]);
        any = true;
    }
    for (name, gate) in &status.gates {
        table.row([format!("gate {name}").into(), word(gate.ready), format!("{} knows state {}", gate.address, gate.acknowledged).into()]);
        any = true;
    }
    for (name, node) in status.database.iter().flat_map(|d| &d.nodes) {
        let writer = status.database.as_ref().is_some_and(|d| d.writer.as_ref() == Some(name));
        let state = if node.state == "Synced" { Entry::new("Synced", GREEN) } else { Entry::new(node.state.as_str(), YELLOW) };
        let detail = if writer { "takes the writes".to_owned() } else { node.reason.clone().unwrap_or_default() };
        table.row([format!("node {name}").into(), state, detail.into()]);
        any = true;
    }
    if any { format!("\n{}", table.text("")) } else { String::new() }
}

/// A cell's state in a word, and whether it is good.
fn state(cell: &Typed<kinds::Cell>) -> (String, anstyle::Style) {
    match cell.status.conditions.get("Ready") {
        Some(c) if c.status == model::ConditionStatus::True => ("Ready".to_owned(), GREEN),
        Some(c) if c.status == model::ConditionStatus::Unknown => (format!("Unknown ({})", c.reason), YELLOW),
        Some(c) => (format!("NotReady ({})", c.reason), RED),
        None => ("NotReady (NotYetObserved)".to_owned(), YELLOW),
    }
}

async fn list(session: &Session, args: List) -> Result<(), Failure> {
    let documents = session.client.documents(Kind::Cell, &args.labels).await?.documents;
    session.output.result(&documents, || listed(&documents));
    Ok(())
}

fn listed(documents: &[Document]) -> String {
    let mut table = Table::new(["NAME", "STATE", "TENANTS", "PLACING", "WRITER", "BLUEPRINT"]);
    for cell in typed::<kinds::Cell>(documents) {
        let (state, style) = state(&cell);
        let writer = cell.status.database.as_ref().and_then(|d| d.writer.as_ref()).map_or("-", |w| w.as_str());
        table.row([
            cell.metadata.name.as_str().into(),
            Entry::new(state, style),
            cell.status.tenants.to_string().into(),
            format!("{:?}", cell.spec.scheduling).into(),
            writer.into(),
            cell.spec.blueprint.as_str().into(),
        ]);
    }
    table.text("")
}
