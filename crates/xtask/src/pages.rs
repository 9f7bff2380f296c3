//! Pages of error codes.

use std::fmt::Write;

/// A page to be written.
struct Page {
    code: String,
    title: String,
    meaning: String,
    fix: String,
}

/// Path and content of each page, and of their list.
pub fn all() -> Vec<(String, String)> {
    let mut pages: Vec<Page> = manifest::codes::ALL
        .iter()
        .map(|page| Page { code: page.code.into(), title: page.title.into(), meaning: page.meaning.into(), fix: page.fix.into() })
        .collect();
    pages.sort_by(|a, b| a.code.cmp(&b.code));
    let mut files: Vec<_> = pages.iter().map(|page| (format!("docs/errors/{}.md", page.code), text(page))).collect();
    files.push(("docs/errors/README.md".to_owned(), list(&pages)));
    files
}

fn text(page: &Page) -> String {
    format!("# {}: {}\n\n{}\n\n## What to do\n\n{}\n", page.code, page.title, sentence(&page.meaning), sentence(&page.fix))
}

fn list(pages: &[Page]) -> String {
    let mut text =
        "# Error codes\n\nMade from the code by `cargo xtask generate`. `atoll explain CODE` prints the same pages.\n\n| code | what |\n|---|---|\n"
            .to_owned();
    for page in pages {
        let _ = writeln!(text, "| [{0}]({0}.md) | {1} |", page.code, page.title);
    }
    text
}

/// With a capital at its beginning and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{head}{}{stop}", chars.as_str())
}
