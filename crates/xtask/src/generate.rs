//! What is made from code: JSON Schemas and the pages of codes.

use std::fs;

use anyhow::Context;

use crate::{pages, root, say};

/// Writes what differs; with `check`, names it instead.
pub fn run(check: bool) -> anyhow::Result<Vec<String>> {
    let root = root()?;
    let mut files: Vec<(String, String)> =
        manifest::schema::all().iter().map(|(name, schema)| (format!("schemas/{name}"), manifest::schema::text(schema))).collect();
    files.extend(pages::all());
    let mut findings = Vec::new();
    for (name, content) in &files {
        let path = root.join(name);
        if fs::read_to_string(&path).is_ok_and(|kept| kept == *content) {
            continue;
        }
        if check {
            findings.push(format!("{name}: is not current; run cargo xtask generate"));
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("writing {name}"))?;
        say(&format!("wrote {name}"));
    }
    findings.extend(strays(&root, &files, check)?);
    Ok(findings)
}

/// Removes pages of codes that no longer exist.
fn strays(root: &std::path::Path, files: &[(String, String)], check: bool) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for folder in ["docs/errors", "schemas"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {folder}"))?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if files.iter().any(|(kept, _)| *kept == name) {
                continue;
            }
            if check {
                findings.push(format!("{name}: nothing makes it any more; run cargo xtask generate"));
            } else {
                fs::remove_file(entry.path()).with_context(|| format!("removing {name}"))?;
                say(&format!("removed {name}"));
            }
        }
    }
    Ok(findings)
}
