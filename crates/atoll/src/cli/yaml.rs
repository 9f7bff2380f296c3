//! JSON values as YAML, in the same shape as files. A text that YAML could take for anything else stands in double quotes as JSON writes it.

use serde_json::Value;

/// The whole text.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(&mut out, map, 0),
        Value::Array(list) if !list.is_empty() => items(&mut out, list, 0),
        scalar => {
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
    out
}

fn entries(out: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (key, value) in map {
        indent(out, depth);
        out.push_str(&plain_or_quoted(key));
        out.push(':');
        below(out, value, depth + 1);
    }
}

fn items(out: &mut String, list: &[Value], depth: usize) {
    for value in list {
        indent(out, depth);
        out.push('-');
        match value {
            Value::Object(map) if !map.is_empty() => {
                // The first key stands behind the dash, the others under it.
                let mut inner = String::new();
                entries(&mut inner, map, depth + 1);
                out.push(' ');
                out.push_str(inner.trim_start());
            }
            other => below(out, other, depth + 1),
        }
    }
}

/// What follows a colon or a dash.
fn below(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            entries(out, map, depth);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            items(out, list, depth);
        }
        scalar => {
            out.push(' ');
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => plain_or_quoted(text),
        // JSON's numbers, truths, null and empty brackets are YAML's.
        other => other.to_string(),
    }
}

/// Plain only where no reader of any YAML version sees anything but this text.
fn plain_or_quoted(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let safe = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | '@' | '(' | ')' | ',' | ';' | '+' | '=' | '%' | '\''))
        || text.split(':').all(|part| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')) && !part.is_empty());
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].iter().any(|w| text.eq_ignore_ascii_case(w));
    if first && safe && !word && !text.ends_with(' ') { text.to_owned() } else { Value::from(text).to_string() }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}
