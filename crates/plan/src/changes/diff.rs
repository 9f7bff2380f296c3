//! The fields in which two documents differ.

use std::collections::BTreeMap;

use model::Document;
use serde_json::Value;

use super::FieldChange;

/// Compares spec and labels. Both specs are canonical: every default is filled in.
pub(super) fn fields(standing: &Document, spec: &Value, labels: &BTreeMap<String, String>) -> Vec<FieldChange> {
    let mut fields = Vec::new();
    let names: std::collections::BTreeSet<&String> = standing.metadata.labels.keys().chain(labels.keys()).collect();
    for name in names {
        let text = |labels: &BTreeMap<String, String>| labels.get(name).map(|label| Value::String(label.clone()));
        let (old, new) = (text(&standing.metadata.labels), text(labels));
        if old != new {
            fields.push(FieldChange { path: format!("metadata.labels.{name}"), old, new });
        }
    }
    walk("spec", Some(&standing.spec), Some(spec), &mut fields);
    fields
}

fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, fields: &mut Vec<FieldChange>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (key, value) in old {
                walk(&format!("{path}.{key}"), Some(value), new.get(key), fields);
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                walk(&format!("{path}.{key}"), None, Some(value), fields);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                walk(&format!("{path}[{index}]"), old.get(index), new.get(index), fields);
            }
        }
        (old, new) => fields.push(FieldChange { path: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}
