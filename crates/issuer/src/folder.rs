//! Certificates that people lay into a folder: `<name>.pem` with key and chain. They are taken as they are and never renewed by us.

use std::collections::BTreeMap;
use std::path::Path;

use certs::{Book, BookError, Kind, Pair, What};
use model::Sensitive;

/// The topic under which the names are noted that came from the folder.
const TOPIC: &str = "folder";

/// Brings the book in line with the folder. Gives what is wrong with which file.
pub(crate) fn take(book: &Book, folder: &Path) -> Result<BTreeMap<String, String>, BookError> {
    let mut problems = BTreeMap::new();
    let files = match fs_err::read_dir(folder) {
        Ok(files) => files,
        // A folder that cannot be read is not an empty one: nothing is taken away.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(problems),
        Err(error) => return Err(error.into()),
    };
    let known: BTreeMap<String, Sensitive<String>> = book.memos(TOPIC)?.into_iter().collect();
    let mut seen = Vec::new();
    for file in files {
        let path = file?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".pem")).map(str::to_owned) else { continue };
        seen.push(name.clone());
        let text = match private(&path) {
            Ok(text) => Sensitive::new(text),
            Err(problem) => {
                problems.insert(name, problem);
                continue;
            }
        };
        if known.get(&name) == Some(&text) {
            continue;
        }
        match Pair::read_file(text.reveal()) {
            Ok(pair) => {
                let (chain, key) = split(text.reveal());
                book.put(vec![(entry(&name), What::Certificate(Box::new(pair.certificate(chain, key))))])?;
                book.note_memo(TOPIC, &name, Some(&text))?;
                tracing::info!(name, names = pair.names.join(" "), until = %pair.not_after, "a certificate was taken from the folder");
            }
            Err(error) => {
                problems.insert(name, format!("{error}; the one before stays in use"));
            }
        }
    }
    for name in known.into_keys().filter(|name| !seen.contains(name)) {
        book.put(vec![(entry(&name), What::Gone(Kind::Certificate))])?;
        book.note_memo(TOPIC, &name, None)?;
        tracing::info!(name, "a certificate was removed with its file");
    }
    Ok(problems)
}

/// The entry of a file: apart from those that are obtained, whose names are domains.
fn entry(name: &str) -> String {
    if name == certs::DEFAULT { name.to_owned() } else { format!("{name}.pem") }
}

fn private(path: &Path) -> Result<String, String> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = fs_err::metadata(path).map_err(|error| error.to_string())?.mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "it holds a private key and is open to others (mode {:04o}): chmod 600 it after you know who could read it",
            mode & 0o7777
        ));
    }
    fs_err::read_to_string(path).map_err(|error| error.to_string())
}

/// Certificates apart from the key.
fn split(text: &str) -> (String, Sensitive<String>) {
    let (mut chain, mut key, mut is_key) = (String::new(), String::new(), false);
    for line in text.lines() {
        if line.starts_with("-----BEGIN ") {
            is_key = line.contains("PRIVATE KEY");
        }
        let part = if is_key { &mut key } else { &mut chain };
        part.push_str(line);
        part.push('\n');
    }
    (chain, Sensitive::new(key))
}
