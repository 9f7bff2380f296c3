//! `atoll status`.

use std::fmt::Write as _;

use api::v1::{StatusAnswer, StatusRow};
use jiff::Timestamp;
use model::{Condition, ConditionStatus};

use super::age;
use super::args::Status;
use super::exit::Failure;
use super::output::{BOLD, GREEN, RED, YELLOW, styled};
use super::session::Session;
use super::table::{Entry, Table};
use super::tenants::differs;
use super::wait::explain;

/// Shows how everything stands.
pub async fn status(session: &Session, args: Status) -> Result<(), Failure> {
    let status = session.client.status().await?;
    session.output.result(&status, || text(&status, Timestamp::now()));
    differs(args.check && !status.as_wanted)
}

fn text(status: &StatusAnswer, now: Timestamp) -> String {
    let about = &status.about;
    let control = match (about.active, about.looked) {
        (false, _) => "control waits for another one to end",
        (true, false) => "control is active and has yet to look at some cells",
        (true, true) => "control is active",
    };
    let wanting: Vec<&StatusRow> = status.rows.iter().filter(|r| !r.as_wanted).collect();
    let mut text = format!("platform {}, {control}, release {}\n", about.platform, about.version);
    if wanting.is_empty() && about.active && !about.looked {
        let _ = writeln!(text, "everything was as wanted when control last looked");
    } else if wanting.is_empty() {
        let _ = writeln!(text, "{} everything is as wanted", styled(GREEN, "ok"));
    } else {
        let _ = writeln!(text, "{} {} not as wanted:", styled(RED, "!!"), wanting.len());
    }
    for row in wanting {
        let since = row.since.map_or_else(String::new, |at| format!(" for {}", age::since(at, now)));
        let reason = row.reason.as_ref().map_or_else(String::new, |r| format!(" ({r})"));
        let _ = writeln!(text, "\n{} {} {}: {}{reason}{since}", styled(RED, "!"), row.kind, row.name, row.state);
        if let Some(message) = &row.message {
            let _ = writeln!(text, "    {message}");
        }
        let _ = writeln!(text, "    next: {}", styled(BOLD, &explain(row.kind, &row.name)));
    }
    let mut table = Table::new(["KIND", "NAME", "STATE", "SINCE", "FACTS"]);
    for row in &status.rows {
        let facts: Vec<String> = row.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        table.row([
            row.kind.as_str().into(),
            row.name.as_str().into(),
            Entry::new(row.state.as_str(), style(row)),
            row.since.map_or_else(String::new, |at| age::since(at, now)).into(),
            facts.join(", ").into(),
        ]);
    }
    if !status.rows.is_empty() {
        let _ = write!(text, "\n{}", table.text(""));
    }
    if status.left_out > 0 {
        let _ = writeln!(text, "and {} more, all as wanted", status.left_out);
    }
    text
}

/// The colour of a row's state.
pub fn style(row: &StatusRow) -> anstyle::Style {
    match (row.as_wanted, row.state.as_str()) {
        (true, _) => GREEN,
        (false, "Unknown" | "Pending" | "Running" | "Undoing") => YELLOW,
        (false, _) => RED,
    }
}

/// The colour of a condition. `Stalled` is the one that is bad when it holds.
pub fn condition_style(condition: &Condition) -> anstyle::Style {
    match condition.status {
        ConditionStatus::Unknown => YELLOW,
        status if (status == ConditionStatus::True) == (condition.r#type != "Stalled") => GREEN,
        _ => RED,
    }
}
