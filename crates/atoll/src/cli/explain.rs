//! `atoll explain`.

use std::fmt::Write as _;

use api::v1::Explanation;
use jiff::Timestamp;

use super::age;
use super::args::Explain;
use super::exit::Failure;
use super::output::{BOLD, GREEN, styled};
use super::session::Session;
use super::status::{condition_style, style};

/// Says why something is as it is.
pub async fn explain(session: &Session, args: Explain) -> Result<(), Failure> {
    let explanation = session.client.explain(args.kind, &args.name).await?;
    session.output.result(&explanation, || text(&explanation, Timestamp::now()));
    Ok(())
}

fn text(explanation: &Explanation, now: Timestamp) -> String {
    let row = &explanation.row;
    let since = row.since.map_or_else(String::new, |at| format!(" for {}", age::since(at, now)));
    let reason = row.reason.as_ref().map_or_else(String::new, |r| format!(" ({r})"));
    let mut text = format!("{} {}: {}{reason}{since}\n", explanation.kind, explanation.name, styled(style(row), &row.state));
    if let Some(message) = &row.message {
        let _ = writeln!(text, "  {message}");
    }
    for (name, value) in &row.facts {
        let _ = writeln!(text, "  {name}: {value}");
    }
    if !explanation.conditions.is_empty() {
        text += "\nconditions\n";
    }
    for explained in &explanation.conditions {
        let c = &explained.condition;
        let colour = condition_style(c);
        let status = styled(colour, &format!("{:?}", c.status));
        let _ = writeln!(text, "  {} {status} ({}) for {}: {}", c.r#type, c.reason, age::since(c.last_transition_time, now), c.message);
        if colour != GREEN {
            if let Some(meaning) = &explained.meaning {
                let _ = writeln!(text, "    {meaning}");
            }
            if let Some(next) = &explained.next {
                let _ = writeln!(text, "    next: {}", styled(BOLD, next));
            }
        }
    }
    if let Some(operation) = &explanation.operation {
        let _ = writeln!(text, "\noperation {operation}");
    }
    if !explanation.notes.is_empty() {
        text += "\nnotes\n";
        explanation.notes.iter().for_each(|note| text += &format!("  {note}\n"));
    }
    if !explanation.next.is_empty() {
        text += "\nnext\n";
        explanation.next.iter().for_each(|next| text += &format!("  {}\n", styled(BOLD, next)));
    }
    text
}
