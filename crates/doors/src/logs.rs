//! Logs of a cell's instances and of its database, merged.
//!
//! The database's nodes and endpoint are the agent's, not the engine's, to keep; their names are known from the cell and its blueprint. They are asked
//! for at the engine under the same fixed names as instances, which is right as long as one engine runs both: one that does not have them says so.

use std::collections::BTreeSet;

use api::v1::{LogLine, LogsQuery};
use axum::extract::State;
use axum::response::Response;
use engine::{EngineError, LogOptions, LogStream, Observation, Reason};
use futures::StreamExt as _;
use futures::stream::SelectAll;
use model::v1alpha1::Cell;
use model::{CellName, Document, InstanceName, Kind, Typed};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::documents::get;
use crate::refusal::Refusal;
use crate::wire::{Line, Name, Query, SIGN_OF_LIFE, lines};
use crate::{Doors, codes};

/// What selects all parts of a cell's database, as a service's name selects its instances.
const DATABASE: &str = "database";
/// Name of the database's single-writer endpoint; instances know it by the same name.
const ENDPOINT: &str = "db";

/// `GET /v1/cells/{name}/logs`
pub(crate) async fn logs(State(doors): State<Doors>, Name(cell): Name<CellName>, Query(query): Query<LogsQuery>) -> Result<Response, Refusal> {
    let document = get(&doors, Kind::Cell, &(&cell).into()).await?;
    let options = LogOptions { since: query.since, tail: query.tail, follow: query.follow };
    let (mut streams, mut absent) = (Vec::new(), Vec::new());
    for instance in instances(&doors, &cell, document, query.instance.as_deref()).await? {
        match doors.0.engine.logs(&cell, &instance, options.clone()).await {
            Ok(stream) => streams.push(stream),
            // It left between the two questions, or is a part of the database that was not made yet.
            Err(EngineError::Refused { reason: Reason::NoSuchInstance, .. }) => absent.push(instance.to_string()),
            Err(error) => return Err(refused(&error)),
        }
    }
    if streams.is_empty() && query.instance.is_some() {
        let refusal = codes::NOT_FOUND.refuse(format!("cell {cell} has no container of {} now", absent.join(", ")));
        return Err(refusal.next(format!("atoll explain cell {cell}")));
    }
    let (sender, receiver) = mpsc::channel(256);
    if query.follow {
        tokio::spawn(follow(doors, streams, sender));
    } else {
        tokio::spawn(merge(doors, streams, sender));
    }
    Ok(lines(receiver))
}

/// The parts asked for: one by its name, those of a service or of the database, or all of the cell.
async fn instances(doors: &Doors, cell: &CellName, document: Document, wanted: Option<&str>) -> Result<Vec<InstanceName>, Refusal> {
    let observed = match doors.0.engine.observe(cell).await {
        Observation::Known(observed) => observed.instances,
        Observation::Unknown(why) => return Err(codes::ENGINE.refuse(format!("the engine cannot be asked: {why}"))),
    };
    let mut parts: Vec<(String, InstanceName)> = observed.into_iter().map(|i| (i.service.to_string(), i.name)).collect();
    parts.extend(database(doors, document).await?.into_iter().map(|name| (DATABASE.to_owned(), name)));
    let chosen = |(service, name): &(String, InstanceName)| wanted.is_none_or(|wanted| name.as_str() == wanted || service == wanted);
    let found: Vec<InstanceName> = parts.iter().filter(|part| chosen(part)).map(|(_, name)| name.clone()).collect();
    match wanted {
        Some(wanted) if found.is_empty() => {
            let known: Vec<_> = parts.iter().map(|(_, name)| name.as_str()).collect();
            let known = if known.is_empty() { "it has none now".to_owned() } else { format!("there are {}", known.join(", ")) };
            let refusal = codes::NOT_FOUND.refuse(format!("cell {cell} has no instance or service {wanted:?}; {known}"));
            Err(refusal.next(format!("atoll cell show {cell}")))
        }
        _ => Ok(found),
    }
}

/// Nodes and endpoint of a cell's database: those its blueprint wants, and those its agent spoke of.
async fn database(doors: &Doors, document: Document) -> Result<BTreeSet<InstanceName>, Refusal> {
    doors.0.mirror.fresh(&doors.0.store).await?;
    let cell = Typed::<Cell>::read(document)?;
    let state = doors.0.mirror.read();
    let wanted = state.snapshot.blueprints.get(&cell.spec.blueprint).and_then(|blueprint| blueprint.spec.database.as_ref());
    let spoken = cell.status.database.iter().flat_map(|database| database.nodes.keys().map(ToString::to_string));
    let mut names: BTreeSet<String> = spoken.chain(wanted.iter().flat_map(|wanted| (1..=wanted.nodes).map(|n| format!("n{n}")))).collect();
    if !names.is_empty() {
        names.insert(ENDPOINT.to_owned());
    }
    Ok(names.into_iter().filter_map(|name| InstanceName::new(name).ok()).collect())
}

fn refused(error: &EngineError) -> Refusal {
    match error {
        EngineError::Unreachable(_) => codes::ENGINE.refuse(error.to_string()),
        EngineError::Older { .. } | EngineError::Refused { .. } => codes::NOT_NOW.refuse(error.to_string()),
    }
}

/// Lines that stand, in order of time: each stream is in order, so the earliest of their heads comes next.
async fn merge(doors: Doors, mut streams: Vec<LogStream>, sender: mpsc::Sender<Line<LogLine>>) {
    let send = async {
        let mut heads = Vec::with_capacity(streams.len());
        for stream in &mut streams {
            heads.push(stream.recv().await);
        }
        // A line without a time comes at once.
        let earliest = |heads: &[Option<engine::LogLine>]| {
            let standing = heads.iter().enumerate().filter_map(|(index, head)| head.as_ref().map(|line| (line.at, index)));
            standing.min().map(|(_, index)| index)
        };
        while let Some(index) = earliest(&heads) {
            let next = streams[index].recv().await;
            let Some(line) = std::mem::replace(&mut heads[index], next) else { return };
            if sender.send(Line::Value(wire(line))).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = doors.0.stop.cancelled() => {}
        () = send => {}
    }
}

/// Lines as they come, until nobody reads them or all streams end.
async fn follow(doors: Doors, streams: Vec<LogStream>, sender: mpsc::Sender<Line<LogLine>>) {
    let mut all: SelectAll<_> = streams.into_iter().map(ReceiverStream::new).collect();
    let mut alive = tokio::time::interval(SIGN_OF_LIFE);
    loop {
        let line = tokio::select! {
            () = doors.0.stop.cancelled() => return,
            () = sender.closed() => return,
            _ = alive.tick() => Line::SignOfLife,
            line = all.next() => match line {
                Some(line) => Line::Value(wire(line)),
                None => return,
            },
        };
        if sender.send(line).await.is_err() {
            return;
        }
    }
}

fn wire(line: engine::LogLine) -> LogLine {
    LogLine { instance: line.instance, at: line.at, stderr: line.stderr, line: line.text, end: None }
}
