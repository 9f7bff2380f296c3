//! `atoll explain`.

use std::fmt::Write as _;

use api::v1::Explanation;
use jiff::Timestamp;
use model::{Fault, Whose};
use serde_json::{Value, json};

use super::age;
use super::args::{Explain, What};
use super::exit::{Exit, Failure};
use super::faults;
use super::output::{BOLD, GREEN, styled};
use super::session::Session;
use super::status::{condition_style, style};

/// Says why something is as it is, or what a code means.
pub async fn explain(session: &Session, args: Explain) -> Result<(), Failure> {
    match (args.what, args.name) {
        (What::Kind(kind), Some(name)) => {
            let explanation = session.client.explain(kind, &name).await?;
            session.output.result(&explanation, || text(&explanation, Timestamp::now()));
            Ok(())
        }
        (What::Kind(kind), None) => {
            let kind = kind.as_str().to_lowercase();
            let fault = Fault::new(faults::USAGE, Whose::Caller, format!("which {kind}? Give its name")).next(format!("atoll explain {kind} NAME"));
            Err(Failure::new(Exit::Usage, fault))
        }
        (What::Code(code), _) => {
            let page = page(&code);
            session.output.result(&page, || page_text(&page));
            Ok(())
        }
    }
}

/// The page of a code or reason; the arguments take only those that have one.
fn page(code: &str) -> Value {
    let file = manifest::codes::ALL.iter().find(|page| page.code.eq_ignore_ascii_case(code));
    if let Some(page) = file {
        return json!({ "code": page.code, "title": page.title, "meaning": page.meaning, "fix": page.fix });
    }
    if let Some(page) = plan::codes::fault(code) {
        return json!({ "code": page.code, "title": page.title, "meaning": page.meaning, "fix": page.fix });
    }
    plan::codes::reason(code).map_or(Value::Null, |page| json!({ "code": page.reason, "meaning": page.meaning, "next": page.next }))
}

fn page_text(page: &Value) -> String {
    let part = |name: &str| page[name].as_str().filter(|text| !text.is_empty());
    let title = part("title").map_or_else(String::new, |title| format!(": {title}"));
    let mut text = format!("{}{title}\n", styled(BOLD, part("code").unwrap_or_default()));
    for (name, label) in [("meaning", ""), ("fix", "what to do: "), ("next", "next: ")] {
        if let Some(line) = part(name) {
            let _ = writeln!(text, "  {label}{}", line.replace("{kind}", "KIND").replace("{name}", "NAME"));
        }
    }
    text
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
