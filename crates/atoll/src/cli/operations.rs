//! `atoll operation`.

use std::time::Duration;

use jiff::Timestamp;
use model::v1alpha1::{self as kinds, OperationState, StepState};
use model::{DocumentName, Fault, Kind, OperationName, Typed, Whose};

use super::args::Operation;
use super::exit::{Exit, Failure};
use super::output::{GREEN, RED, YELLOW};
use super::session::{Session, read};
use super::table::{Entry, Table};
use super::tenants::typed;
use super::wait::pump::{Pump, Told};
use super::{age, faults};

type Found = Typed<kinds::Operation>;

/// Runs a command.
pub async fn run(session: &Session, command: Operation) -> Result<(), Failure> {
    match command {
        Operation::List { running } => list(session, running).await,
        Operation::Show { name } => {
            let document = session.client.document(Kind::Operation, &(&name).into()).await?;
            let operation: Found = read(document.clone())?;
            session.output.result(&document, || text(&operation));
            Ok(())
        }
        Operation::Follow { name, timeout } => follow(session, &name, timeout.duration()).await,
        Operation::Cancel { name } => {
            let accepted = session.client.operation_cancel(&name).await?;
            session.output.result(&accepted.document, || format!("operation {name} was asked to go back\n  next: atoll operation follow {name}\n"));
            Ok(())
        }
    }
}

async fn list(session: &Session, running: bool) -> Result<(), Failure> {
    let mut documents = session.client.documents(Kind::Operation, "").await?.documents;
    documents.retain(|d| !running || Found::read(d.clone()).is_ok_and(|o| !o.status.state.ended()));
    documents.sort_by_key(|d| std::cmp::Reverse(d.metadata.created_at));
    session.output.result(&documents, || {
        let now = Timestamp::now();
        let mut table = Table::new(["NAME", "VERB", "SUBJECT", "STATE", "AGE", "BY", "REASON"]);
        for operation in typed::<kinds::Operation>(&documents) {
            let (spec, status) = (&operation.spec, &operation.status);
            table.row([
                operation.metadata.name.as_str().into(),
                format!("{:?}", spec.verb).into(),
                format!("{} {}", spec.subject.kind.as_str().to_lowercase(), spec.subject.name).into(),
                state(status.state),
                operation.metadata.created_at.map_or_else(String::new, |at| age::since(at, now)).into(),
                spec.requested_by.as_str().into(),
                status.reason.clone().unwrap_or_default().into(),
            ]);
        }
        table.text("")
    });
    Ok(())
}

fn state(state: OperationState) -> Entry {
    let style = match state {
        OperationState::Done => GREEN,
        OperationState::Failed | OperationState::NeedsHuman => RED,
        OperationState::Pending | OperationState::Running | OperationState::Undoing => YELLOW,
    };
    Entry::new(format!("{state:?}"), style)
}

fn text(operation: &Found) -> String {
    let (spec, status) = (&operation.spec, &operation.status);
    let mut lines = vec![
        ("name", operation.metadata.name.to_string()),
        ("verb", format!("{:?}", spec.verb)),
        ("subject", format!("{} {}", spec.subject.kind.as_str().to_lowercase(), spec.subject.name)),
        ("asked by", spec.requested_by.clone()),
        ("state", format!("{:?}", status.state)),
    ];
    lines.extend(status.reason.iter().map(|r| ("reason", r.clone())));
    lines.extend(status.message.iter().map(|m| ("message", m.clone())));
    lines.extend(status.progress.iter().map(|p| ("progress", format!("{} of {} {}", p.done, p.total, p.unit))));
    lines.extend(status.next_try_at.iter().map(|at| ("next try", at.to_string())));
    let cancelled = || operation.metadata.asked_by.as_ref().map_or_else(|| "asked for".to_owned(), |by| format!("asked for by {by}"));
    lines.extend(spec.cancel.then(|| ("cancel", cancelled())));
    let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
    if !status.steps.is_empty() {
        let mut table = Table::new(["STEP", "STATE", "TRIES", "TOOK", "MESSAGE"]);
        for step in &status.steps {
            let style = match step.state {
                StepState::Done => GREEN,
                StepState::Begun => YELLOW,
                StepState::Undone | StepState::Failed => RED,
            };
            let took = step.ended_at.map_or_else(String::new, |end| took(step.began_at, end));
            let name = Entry::from(step.name.as_str());
            table.row([
                name,
                Entry::new(format!("{:?}", step.state), style),
                step.attempts.to_string().into(),
                took.into(),
                step.message.clone().unwrap_or_default().into(),
            ]);
        }
        text += &format!("\n{}", table.text(""));
    }
    text
}

/// How long a step took.
fn took(began: Timestamp, ended: Timestamp) -> String {
    let millis = u64::try_from(ended.duration_since(began).as_millis()).unwrap_or(0);
    if millis < 10_000 { format!("{}.{}s", millis / 1_000, millis / 100 % 10) } else { age::seconds_text(millis / 1_000) }
}

async fn follow(session: &Session, name: &OperationName, timeout: Duration) -> Result<(), Failure> {
    let name = DocumentName::from(name);
    session.resume_with(format!("atoll operation follow {name}"));
    let document = session.client.document(Kind::Operation, &name).await?;
    let mut pump = Pump::start(&session.client, std::iter::once(Kind::Operation), document.metadata.revision);
    let mut operation: Found = read(document)?;
    let mut told = String::new();
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        if let Some(step) = operation.status.steps.last() {
            let line = format!("{:?} {} {:?} {}", operation.status.state, step.name, step.state, step.message.as_deref().unwrap_or_default());
            session.output.live(line.trim_end());
            if line != told {
                session.output.note(line.trim_end());
                told = line;
            }
        }
        if operation.status.state.ended() {
            break;
        }
        match tokio::time::timeout_at(deadline, pump.next()).await {
            Ok(Told::Line(api::v1::WatchLine::Put(document))) if document.metadata.name == name => operation = read(document)?,
            Ok(Told::Away(why)) => session.output.live(format!("control does not answer ({why}); trying again")),
            Ok(_) => {}
            Err(_) => {
                let fault = Fault::new(
                    faults::TIMED_OUT,
                    Whose::State,
                    format!("operation {name} has not ended after {}", age::seconds_text(timeout.as_secs())),
                );
                return Err(Failure::new(Exit::Stopped, fault.hint("it goes on").next(format!("atoll operation follow {name}"))));
            }
        }
    }
    session.output.result(&operation.document(), || text(&operation));
    match operation.status.state {
        OperationState::Done => Ok(()),
        _ => Err(Failure::silent(Exit::Failed)),
    }
}
