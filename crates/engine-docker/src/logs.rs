//! Lines of one instance, as they come.

use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use engine::{EngineError, LogLine, LogOptions, LogStream, Reason};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use model::{CellName, InstanceName};
use tokio::sync::mpsc;

use crate::client::{absent_is_none, patient};
use crate::{Shared, names};

/// Lines that may wait for a slow reader.
const AHEAD: usize = 256;
/// A line longer than this is told in pieces.
const LONGEST: usize = 64 * 1024;

/// Opens an instance's log.
pub(crate) async fn open(shared: &Arc<Shared>, cell: &CellName, instance: &InstanceName, options: LogOptions) -> Result<LogStream, EngineError> {
    let docker = shared.client.docker().await?;
    let container = names::container(&shared.options.platform, cell, instance);
    if absent_is_none(docker.inspect_container(&container, None).await)?.is_none() {
        let message = format!("cell {cell} has no instance {instance} on this engine");
        return Err(EngineError::Refused { reason: Reason::NoSuchInstance, message });
    }
    let mut ask = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).follow(options.follow);
    if let Some(since) = options.since.and_then(|at| i32::try_from(at.as_second()).ok()) {
        ask = ask.since(since);
    }
    if let Some(tail) = options.tail {
        ask = ask.tail(&tail.to_string());
    }
    // Quiet hours of a followed log are no failure.
    let docker = patient(&docker, std::time::Duration::from_secs(24 * 3600));
    let parts = docker.logs(&container, Some(ask.build()));
    let (lines, stream) = mpsc::channel(AHEAD);
    tokio::spawn(copy(parts, lines, instance.clone(), options.since));
    Ok(stream)
}

/// Copies lines until the log or the reader ends.
async fn copy(
    parts: impl Stream<Item = Result<LogOutput, bollard::errors::Error>>,
    lines: mpsc::Sender<LogLine>,
    instance: InstanceName,
    since: Option<Timestamp>,
) {
    let mut parts = std::pin::pin!(parts);
    let mut held = [Vec::new(), Vec::new()];
    loop {
        let part = tokio::select! {
            part = parts.next() => part,
            () = lines.closed() => return,
        };
        let Some(Ok(part)) = part else { break };
        let stderr = matches!(part, LogOutput::StdErr { .. });
        let buffer = &mut held[usize::from(stderr)];
        buffer.extend_from_slice(part.as_ref());
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n').or((buffer.len() > LONGEST).then_some(LONGEST)) {
            let whole: Vec<u8> = buffer.drain(..=end).collect();
            if !give(&lines, &instance, since, stderr, &whole).await {
                return;
            }
        }
    }
    for (stderr, rest) in held.iter().enumerate().filter(|(_, rest)| !rest.is_empty()) {
        if !give(&lines, &instance, since, stderr == 1, rest).await {
            return;
        }
    }
}

/// Gives one line; false where nobody reads any more.
async fn give(lines: &mpsc::Sender<LogLine>, instance: &InstanceName, since: Option<Timestamp>, stderr: bool, bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    let (at, text) = match text.split_once(' ') {
        Some((at, rest)) if at.parse::<Timestamp>().is_ok() => (at.parse().ok(), rest),
        // An empty line has its moment and nothing after it.
        None if text.parse::<Timestamp>().is_ok() => (text.parse().ok(), ""),
        _ => (None, text),
    };
    // The engine counts in whole seconds.
    if at.zip(since).is_some_and(|(at, since): (Timestamp, Timestamp)| at < since) {
        return true;
    }
    lines.send(LogLine { instance: instance.clone(), at, stderr, text: text.to_owned() }).await.is_ok()
}
