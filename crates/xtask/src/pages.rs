//! Pages of codes: faults, one page each, and reasons, on one page.

use std::fmt::Write;

use model::Whose;

/// Whose fault mistakes in files and requests are.
const FILE: &str = "The file or the request is at fault: change it and ask again.";

/// A page to be written.
struct Page {
    code: String,
    title: String,
    /// Whose fault it is, as a sentence.
    whose: &'static str,
    meaning: String,
    fix: String,
}

/// Path and content of each page, and of their list.
pub fn all() -> Vec<(String, String)> {
    let mut pages: Vec<Page> = manifest::codes::ALL
        .iter()
        .map(|page| Page { code: page.code.into(), title: page.title.into(), whose: FILE, meaning: page.meaning.into(), fix: page.fix.into() })
        .collect();
    pages.extend(plan::codes::faults().map(|page| Page {
        code: page.code.into(),
        title: page.title.into(),
        whose: match page.whose {
            Whose::Caller => FILE,
            Whose::State => "The request is in order; the state does not allow it now.",
            Whose::Machine => "The machine, or something on it, is at fault.",
            Whose::Atoll => "The fault is Atoll's.",
        },
        meaning: page.meaning.into(),
        fix: page.fix.into(),
    }));
    pages.sort_by(|a, b| a.code.cmp(&b.code));
    let mut files: Vec<_> = pages.iter().map(|page| (format!("docs/errors/{}.md", page.code), text(page))).collect();
    files.push(("docs/errors/README.md".to_owned(), list(&pages)));
    files.push(("docs/reasons.md".to_owned(), reasons()));
    files
}

/// Every reason of conditions, operations and reports.
fn reasons() -> String {
    let mut text = "# Reasons\n\nMade from the code by `cargo xtask generate`. Conditions, operations and reports carry one of these; `atoll explain` prints what is said here.\n\n\
                    | reason | meaning | next command |\n|---|---|---|\n"
        .to_owned();
    text += &rows(plan::codes::REASONS);
    text += "\n## What visitors see\n\nStands in the header `Atoll-Reason` of an answer that an edge or a gate gave itself, on its page, in the access log and in the metrics.\n\n\
             | reason | status and meaning | next command |\n|---|---|---|\n";
    text += &rows(plan::codes::VISITORS);
    text
}

fn rows(pages: &[plan::codes::ReasonPage]) -> String {
    let mut text = String::new();
    for page in pages {
        let next = if page.next.is_empty() { String::new() } else { format!("`{}`", page.next.replace('{', "<").replace('}', ">")) };
        let _ = writeln!(text, "| {} | {} | {next} |", page.reason, page.meaning.replace('|', "\\|"));
    }
    text
}

fn text(page: &Page) -> String {
    let (meaning, fix) = (sentence(&page.meaning), sentence(&page.fix));
    format!("# {}: {}\n\n{meaning}\n\n{}\n\n## What to do\n\n{fix}\n", page.code, page.title, page.whose)
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
