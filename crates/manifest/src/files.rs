//! Files and folders.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use model::Document;

use crate::Manifests;
use crate::codes;
use crate::fault::{Faults, FileFault, Position};
use crate::read::{Gathered, MAX_TEMPLATE};
use crate::tree::MAX_BYTES;

/// Most files taken from folders.
const MAX_FILES: usize = 100_000;
/// Most levels of folders.
const MAX_LEVELS: usize = 16;

/// Reads files, and folders with all their `*.yaml` and `*.yml` in order of their paths. Hidden ones and links to folders are passed over.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Document>, Faults> {
    load_noted(paths).map(|manifests| manifests.documents.into_iter().map(|placed| placed.document).collect())
}

/// The same with places and notes.
///
/// # Errors
/// Everything that is wrong, of all files.
pub fn load_noted(paths: &[PathBuf]) -> Result<Manifests, Faults> {
    let mut gathered = Gathered::default();
    let mut files = Vec::new();
    for path in paths {
        if let Err(fault) = find(path, &mut files) {
            gathered.faults.push(fault);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    // A file named twice, once by itself and once by its folder, is read once.
    files.retain(|file: &PathBuf| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
    for file in files {
        let name = file.display().to_string();
        match text(&name, &file, MAX_BYTES as u64) {
            Ok(text) => gathered.text(&name, &text, &|path| beside(&file, path)),
            Err(fault) => gathered.faults.push(fault),
        }
    }
    gathered.finish()
}

/// Adds a file, or the files of a folder.
fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), FileFault> {
    let unreadable = |path: &Path, why: &dyn std::fmt::Display| {
        FileFault::new(&path.display().to_string(), None, codes::UNREADABLE, format!("cannot be read: {why}"))
            .hint("check the path and its permissions")
    };
    let kind = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !kind.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let before = files.len();
    let mut folders = vec![(path.to_owned(), 0)];
    let mut found = Vec::new();
    while let Some((folder, level)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|error| unreadable(&folder, &error))?);
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if kind.is_dir() && level < MAX_LEVELS {
                folders.push((path, level + 1));
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") && path.is_file() {
                found.push(path);
            }
            if found.len() > MAX_FILES {
                return Err(unreadable(&folder, &format!("more than {MAX_FILES} files")));
            }
        }
    }
    found.sort();
    files.append(&mut found);
    if files.len() == before {
        return Err(unreadable(path, &"the folder holds no .yaml file"));
    }
    Ok(())
}

fn text(name: &str, file: &Path, most: u64) -> Result<String, FileFault> {
    let fault = |at, code, message: String| FileFault::new(name, at, code, message);
    let open = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes =
        open().map_err(|error| fault(None, codes::UNREADABLE, format!("cannot be read: {error}")).hint("check the path and its permissions"))?;
    if bytes.len() as u64 > most {
        return Err(fault(None, codes::LIMIT, format!("more than {most} bytes")).hint("split the file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        fault(Some(Position { line, column }), codes::UNREADABLE, "not UTF-8 from here on".to_owned()).hint("save the file as UTF-8")
    })
}

/// Reads a file that a blueprint names, which must lie in the blueprint's folder.
fn beside(blueprint: &Path, path: &str) -> Result<String, String> {
    let relative = Path::new(path);
    if path.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err("not a path inside the blueprint's folder".to_owned());
    }
    let folder = match blueprint.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = folder.join(relative);
    let (real, home) = (fs::canonicalize(&file), fs::canonicalize(folder));
    let (real, home) = (real.map_err(|e| format!("{}: {e}", file.display()))?, home.map_err(|e| e.to_string())?);
    if !real.starts_with(&home) {
        return Err("a link out of the blueprint's folder".to_owned());
    }
    text(path, &real, MAX_TEMPLATE).map_err(|fault| fault.fault.message)
}
