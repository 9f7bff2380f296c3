//! JSON Schemas of what a file may hold, for editors and other programs. Reading itself is stricter: see the messages of [`crate::parse`].

use model::v1alpha1::{BlueprintSpec, CellSpec, MachineSpec, PlatformSpec, TenantSpec};
use model::{API_VERSION, Kind};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// File name and content of each schema, one per kind that a file may state.
#[must_use]
pub fn all() -> Vec<(String, Value)> {
    [
        (Kind::Platform, of::<PlatformSpec>()),
        (Kind::Machine, of::<MachineSpec>()),
        (Kind::Blueprint, with_template_file(of::<BlueprintSpec>())),
        (Kind::Cell, of::<CellSpec>()),
        (Kind::Tenant, of::<TenantSpec>()),
    ]
    .into_iter()
    .map(|(kind, spec)| (format!("{}.json", kind.as_str().to_lowercase()), document(kind, spec)))
    .collect()
}

fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a whole document around that of its spec.
fn document(kind: Kind, mut spec: Value) -> Value {
    let definitions = spec.as_object_mut().and_then(|spec| {
        spec.remove("$schema");
        spec.remove("$defs")
    });
    let no_required = spec.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let mut name = json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "description": "unique within the kind" });
    let mut metadata = json!({ "name": name, "labels": { "type": "object", "additionalProperties": { "type": "string", "maxLength": 63 } } });
    let mut wanted = vec!["name"];
    if kind == Kind::Blueprint {
        name["description"] = "the product; with the version it names the document: wordpress.2026.11.1".into();
        metadata["name"] = name;
        metadata["version"] =
            json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "description": "a changed blueprint is a new version" });
        wanted.push("version");
    }
    let mut required = vec!["apiVersion", "kind", "metadata"];
    if !no_required {
        required.push("spec");
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.as_str(),
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.as_str() },
            "metadata": { "type": "object", "additionalProperties": false, "required": wanted, "properties": metadata },
            "spec": spec,
            "status": { "description": "written by control, not read from files" },
        },
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
    }
    schema
}

/// In files a setting has `template` or `templateFile`.
fn with_template_file(mut spec: Value) -> Value {
    if let Some(setting) = spec.pointer_mut("/$defs/Setting").and_then(Value::as_object_mut) {
        setting.insert("required".to_owned(), json!(["path"]));
        setting.insert("oneOf".to_owned(), json!([{ "required": ["template"] }, { "required": ["templateFile"] }]));
        if let Some(fields) = setting.get_mut("properties").and_then(Value::as_object_mut) {
            let text = "path of a file in the blueprint's folder whose text becomes the template";
            fields.insert("templateFile".to_owned(), json!({ "type": "string", "description": text }));
        }
    }
    spec
}

/// A schema as its file holds it.
#[must_use]
pub fn text(schema: &Value) -> String {
    // A JSON value always writes.
    let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
    text.push('\n');
    text
}
