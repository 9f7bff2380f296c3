//! `atoll plan` and `atoll apply`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use api::v1::{Action, ApplyAnswer, Change, PlanAnswer, PlanRequest};
use model::{Document, DocumentName, Fault, Kind, Revision, Whose};
use serde_json::{Value, json};

use super::args::{Apply, Files, Plan, Waiting};
use super::confirm::confirm;
use super::exit::{Exit, Failure};
use super::faults;
use super::output::{BOLD, DIM, GREEN, RED, YELLOW, fault, styled};
use super::session::Session;
use super::tenants::differs;
use super::wait::{Arrived, Until, Wait};

/// Most characters of a value in a plan for people; programs get all of it.
const SHOWN: usize = 100;

/// `atoll plan`.
pub async fn plan(session: &Session, args: Plan) -> Result<(), Failure> {
    let documents = load(session, &args.files)?;
    let plan = session.client.plan(&PlanRequest { documents }).await?;
    session.output.result(&plan, || text(&plan) + &next(&plan, &args.files));
    refused(&plan)?;
    differs(args.check && plan.pending().next().is_some())
}

/// `atoll apply`.
pub async fn apply(session: &Session, args: Apply) -> Result<(), Failure> {
    let documents = load(session, &args.files)?;
    let plan = session.client.plan(&PlanRequest { documents: documents.clone() }).await?;
    if plan.pending().next().is_some() || plan.refused().next().is_some() {
        session.output.note(text(&plan).trim_end());
    }
    refused(&plan)?;
    if plan.pending().next().is_some() {
        confirm(args.yes, "Apply this plan?").await?;
    }
    session.resume_with(format!("atoll apply{} (it goes on where it stands)", flags(&args.files)));
    let applied = carry_out(session, &plan).await?;
    let arrived = wait(session, &documents, &applied, &args.waiting).await?;
    let answer = json!({ "plan": plan, "written": applied.written, "revision": applied.revision, "ready": ready(&arrived) });
    session.output.result(&answer, || applied_text(&applied, &arrived, &args.waiting));
    Ok(())
}

/// Reads files. Notes about what was understood otherwise than it is spelled go to the user.
pub fn load(session: &Session, files: &Files) -> Result<Vec<Document>, Failure> {
    let manifests = manifest::load_noted(&files.files)?;
    manifests.notes.iter().for_each(|note| session.output.note(format!("note: {note}")));
    Ok(manifests.documents.into_iter().map(|placed| placed.document).collect())
}

/// Applies a plan that has something to do.
pub async fn carry_out(session: &Session, plan: &PlanAnswer) -> Result<ApplyAnswer, Failure> {
    match plan.pending().next() {
        Some(_) => Ok(session.client.apply(&plan.id).await?),
        None => Ok(ApplyAnswer { written: Vec::new(), revision: Revision(0) }),
    }
}

/// Fails when a plan holds a refused change; the plan itself, already shown, says why.
pub fn refused(plan: &PlanAnswer) -> Result<(), Failure> {
    let count = plan.refused().count();
    if count == 0 {
        return Ok(());
    }
    let changes = if count == 1 { "1 change is refused".to_owned() } else { format!("{count} changes are refused") };
    let fault = Fault::new(faults::PLAN_REFUSED, Whose::Caller, format!("{changes}; nothing was changed"));
    Err(Failure::new(Exit::Refused, fault.hint("each refused change above says why and how to go on")))
}

/// Waits until the cells and tenants that files state are as wanted.
pub async fn wait(session: &Session, documents: &[Document], applied: &ApplyAnswer, waiting: &Waiting) -> Result<Arrived, Failure> {
    if waiting.no_wait {
        return Ok(Arrived::new());
    }
    let mut wait = Wait::new(session, waiting);
    let mut from = None;
    for kind in [Kind::Cell, Kind::Tenant] {
        let named: BTreeSet<&DocumentName> = documents.iter().filter(|d| d.kind == kind).map(|d| &d.metadata.name).collect();
        if named.is_empty() {
            continue;
        }
        // Listed after the application: what is written stands in it, and watching from there misses nothing.
        let list = session.client.documents(kind, "").await?;
        from = Some(from.map_or(list.revision, |from: Revision| from.min(list.revision)));
        for document in list.documents.into_iter().filter(|d| named.contains(&d.metadata.name)) {
            wait = wait.and(document, Until::Ready);
        }
    }
    match from {
        Some(from) => wait.run(from.min(if applied.revision == Revision(0) { from } else { applied.revision })).await,
        None => Ok(Arrived::new()),
    }
}

fn ready(arrived: &Arrived) -> Vec<Value> {
    arrived.keys().map(|(kind, name)| json!({ "kind": kind, "name": name })).collect()
}

fn applied_text(applied: &ApplyAnswer, arrived: &Arrived, waiting: &Waiting) -> String {
    let written = match applied.written.len() {
        0 => "nothing to change".to_owned(),
        1 => "1 document written".to_owned(),
        n => format!("{n} documents written"),
    };
    match (waiting.no_wait, arrived.len()) {
        (true, _) if applied.written.is_empty() => format!("{} {written}\n", styled(GREEN, "ok")),
        (true, _) => format!("{} {written}; the rest follows\n  next: {}\n", styled(GREEN, "ok"), styled(BOLD, "atoll status")),
        (false, 0) => format!("{} {written}\n", styled(GREEN, "ok")),
        (false, n) => format!("{} {written}; all {n} cells and tenants of the files are as wanted\n", styled(GREEN, "ok")),
    }
}

/// A plan for people.
pub fn text(plan: &PlanAnswer) -> String {
    let mut text = String::new();
    for change in plan.changes.iter().filter(|c| c.action != Action::None) {
        text += &change_text(change);
    }
    if !plan.findings.is_empty() {
        text += "\nfindings\n";
        for finding in &plan.findings {
            let _ = writeln!(text, "  {} {}", styled(YELLOW, &format!("{}:", finding.code)), finding.message);
            if let Some(hint) = &finding.hint {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
    }
    if !plan.report.is_empty() {
        text += "\nwhat follows\n";
        plan.report.iter().for_each(|line| text += &format!("  {line}\n"));
    }
    let count = |action| plan.changes.iter().filter(|c| c.action == action).count();
    let counts = [(Action::Create, "to create"), (Action::Update, "to update"), (Action::Refused, "refused"), (Action::None, "as wanted")];
    let counts: Vec<String> =
        counts.iter().map(|(action, word)| (count(*action), word)).filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let short = plan.id.get(..12).unwrap_or(&plan.id);
    let _ = writeln!(text, "\nplan {short}: {}", if counts.is_empty() { "no documents".to_owned() } else { counts.join(", ") });
    text.trim_start_matches('\n').to_owned()
}

fn change_text(change: &Change) -> String {
    let (mark, style, word) = match change.action {
        Action::Create => ("+", GREEN, "create"),
        Action::Update => ("~", YELLOW, "update"),
        Action::Refused => ("!", RED, "refused"),
        Action::None => ("=", DIM, "as wanted"),
    };
    let mut text = format!("{} {word} {} {}\n", styled(style, mark), change.kind, change.name);
    for field in &change.fields {
        let old = field.old.as_ref().map_or_else(|| "nothing".to_owned(), shown);
        let new = field.new.as_ref().map_or_else(|| "nothing".to_owned(), shown);
        let _ = writeln!(text, "    {}: {old} -> {new}", field.path);
    }
    if let Some(f) = &change.fault {
        text += &fault(f, "    ");
    }
    text
}

/// A value in one line, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("...".chars()).collect() }
}

fn next(plan: &PlanAnswer, files: &Files) -> String {
    if plan.pending().next().is_none() || plan.refused().next().is_some() {
        return String::new();
    }
    format!("next: {}\n", styled(BOLD, &format!("atoll apply{}", flags(files))))
}

/// The files as they were given.
pub fn flags(files: &Files) -> String {
    files.files.iter().map(|f| format!(" -f {}", f.display())).collect()
}
