//! What no compiler checks: length of files, heads of crates, words, links between documents.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{root, say};

/// Most lines of a source file; more is asking to be divided.
const MOST_LINES: usize = 600;

/// Words and what to write instead. Those of the first list count in source code only.
const IN_SOURCE: [(&str, &str); 5] = [
    ("todo!(", "write it, or say what is missing in an error"),
    ("unimplemented!(", "write it, or say what is missing in an error"),
    ("TODO", "do it, or leave it out"),
    ("FIXME", "do it, or leave it out"),
    ("#[ignore", "a test that does not run proves nothing; make it fail with what is missing"),
];
const EVERYWHERE: [(&str, &str); 2] = [("/home/", "paths of one machine do not belong here"), ("<<<<<<<", "an unresolved conflict")];

/// Checks every file under version control's roots.
pub fn run() -> anyhow::Result<Vec<String>> {
    let root = root()?;
    let mut files = Vec::new();
    walk(&root, &mut files)?;
    let mut findings = Vec::new();
    for path in &files {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let name = path.strip_prefix(&root).unwrap_or(path).display().to_string();
        match path.extension().and_then(|e| e.to_str()) {
            Some("rs") => source(&name, &text, &mut findings),
            Some("md") => links(path, &name, &text, &mut findings),
            _ => {}
        }
        // This file names the words that it looks for.
        if name != "crates/xtask/src/tidy.rs" {
            words(&name, &text, &mut findings);
        }
    }
    for krate in fs::read_dir(root.join("crates")).context("reading crates")? {
        head(&krate.context("reading crates")?.path(), &mut findings);
    }
    if findings.is_empty() {
        say(&format!("tidy ok: {} files", files.len()));
    }
    Ok(findings)
}

/// Every file but what is built, hidden or stored elsewhere.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries: Vec<_> =
        fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).with_context(|| format!("reading {}", folder.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type().context("reading a file's type")?;
        if name.starts_with('.') || name.starts_with("target") || name == "Cargo.lock" {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn source(name: &str, text: &str, findings: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(format!("{name}: {lines} lines; divide it, at most {MOST_LINES}"));
    }
    if name == "crates/xtask/src/tidy.rs" {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        for (word, instead) in IN_SOURCE {
            if line.contains(word) {
                findings.push(format!("{name}:{}: `{word}`: {instead}", number + 1));
            }
        }
    }
}

fn words(name: &str, text: &str, findings: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        for (word, instead) in EVERYWHERE {
            if line.contains(word) {
                findings.push(format!("{name}:{}: `{word}`: {instead}", number + 1));
            }
        }
    }
}

/// Relative links of a Markdown file must lead to something.
fn links(path: &Path, name: &str, text: &str, findings: &mut Vec<String>) {
    for (number, line) in text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") || target.contains(' ') {
                continue;
            }
            if path.parent().is_none_or(|folder| !folder.join(target).exists()) {
                findings.push(format!("{name}:{}: the link to {target} leads nowhere", number + 1));
            }
        }
    }
}

/// A crate begins with what it is for.
fn head(krate: &Path, findings: &mut Vec<String>) {
    let name = krate.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (library, program) = (krate.join("src/lib.rs"), krate.join("src/main.rs"));
    let (path, wanted) = if library.exists() { (library, "Entry point") } else { (program, "Entry point") };
    let Ok(text) = fs::read_to_string(&path) else {
        findings.push(format!("crates/{name}: neither src/lib.rs nor src/main.rs"));
        return;
    };
    let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
    for part in ["Invariants:", wanted] {
        if !head.contains(part) {
            findings.push(format!("crates/{name}: its head does not say {part:?} (purpose, invariants, entry points)"));
        }
    }
}
