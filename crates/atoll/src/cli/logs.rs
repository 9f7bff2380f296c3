//! `atoll logs`.

use anstyle::{AnsiColor, Style};
use api::v1::{LogLine, LogsQuery};
use jiff::Timestamp;

use super::args::Logs;
use super::exit::{Exit, Failure};
use super::output::{RED, styled};
use super::session::Session;

/// Colours by which instances are told apart.
const COLOURS: [AnsiColor; 6] = [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightCyan];

/// Prints log lines as they come.
pub async fn logs(session: &Session, args: Logs) -> Result<(), Failure> {
    let since = args.since.map(|since| since.moment(Timestamp::now()));
    let query = LogsQuery { instance: args.instance, since, tail: args.tail, follow: args.follow };
    let mut lines = session.client.logs(&args.cell, &query).await?;
    while let Some(line) = lines.next().await? {
        if let Some(end) = line.end {
            return Err(Failure::new(Exit::Failed, end));
        }
        if !session.output.one(&line, || text(&line)) {
            return Ok(());
        }
    }
    Ok(())
}

fn text(line: &LogLine) -> String {
    let sum: usize = line.instance.as_str().bytes().map(usize::from).sum();
    let style: Style = COLOURS[sum % COLOURS.len()].on_default();
    let bar = if line.stderr { styled(RED, "|") } else { "|".to_owned() };
    format!("{} {bar} {}\n", styled(style, line.instance.as_str()), printable(&line.line))
}

/// A line without what could take over a terminal; colours of the application's own go with it.
fn printable(line: &str) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    plain.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}
