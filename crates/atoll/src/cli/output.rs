//! Printing: results to standard output, the rest to standard error, something that moves only on a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::Fault;
use serde::Serialize;
use serde_json::json;

use super::args::{Format, Global};
use super::exit::Failure;
use super::yaml;

/// Good.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Not as wanted.
pub const RED: Style = AnsiColor::Red.on_default();
/// Not known, or under way.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Headings.
pub const BOLD: Style = Style::new().bold();
/// Of less weight.
pub const DIM: Style = Style::new().dimmed();

/// Prints.
pub struct Output {
    /// How results are printed.
    pub format: Format,
    quiet: bool,
    live: Mutex<Option<ProgressBar>>,
}

impl Output {
    /// Takes the user's wishes about form and colour.
    pub fn new(global: &Global) -> Self {
        if global.no_color {
            anstream::ColorChoice::Never.write_global();
        }
        Self { format: global.output, quiet: global.quiet, live: Mutex::new(None) }
    }

    /// Prints a result: the value for programs, the text for people.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        self.still();
        let text = match self.format {
            Format::Table => text(),
            Format::Json => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
            Format::Yaml => yaml::text(&serde_json::to_value(value).unwrap_or_default()),
        };
        stdout(&text);
    }

    /// Prints one of many results as it comes: a line of JSON, a document of YAML, a line for people.
    ///
    /// False: nobody reads any more.
    pub fn one(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> bool {
        let text = match self.format {
            Format::Table => text(),
            Format::Json => serde_json::to_string(value).unwrap_or_default() + "\n",
            Format::Yaml => format!("---\n{}", yaml::text(&serde_json::to_value(value).unwrap_or_default())),
        };
        stdout(&text)
    }

    /// Prints a text as it is, whatever the format.
    pub fn script(&self, text: &[u8]) {
        stdout(&String::from_utf8_lossy(text));
    }

    /// Tells the user something on the way.
    pub fn note(&self, line: impl AsRef<str>) {
        if self.quiet {
            return;
        }
        let print = || stderr(&format!("{}\n", line.as_ref()));
        match &*self.lock() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows what is going on, in one line that is overwritten; nothing where standard error is no terminal.
    pub fn live(&self, line: impl Into<String>) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let mut live = self.lock();
        let bar = live.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(150));
            bar
        });
        bar.set_message(line.into());
    }

    /// Removes the line that moves.
    pub fn still(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    /// Says why the command did not do what it was told.
    pub fn failure(&self, failure: &Failure) {
        self.still();
        if failure.faults.is_empty() {
            return;
        }
        if self.format == Format::Json {
            let error = json!({ "error": { "exit": failure.exit as u8, "faults": failure.faults } });
            return stderr(&(serde_json::to_string_pretty(&error).unwrap_or_default() + "\n"));
        }
        failure.faults.iter().for_each(|f| stderr(&fault(f, "")));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        // Nothing that holds this lock can leave it half changed.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault for people: code and sentence, how to fix it, what to type.
pub fn fault(fault: &Fault, indent: &str) -> String {
    let mut text = format!("{indent}{} {}\n", styled(RED, &format!("error {}:", fault.code)), fault.message);
    if let Some(hint) = &fault.hint {
        let _ = writeln!(text, "{indent}  hint: {hint}");
    }
    if let Some(next) = &fault.next {
        let _ = writeln!(text, "{indent}  next: {}", styled(BOLD, next));
    }
    text
}

/// Text in a style; printing strips it where nobody would see it.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints to standard output. Whoever stopped reading has seen enough.
fn stdout(text: &str) -> bool {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn stderr(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
