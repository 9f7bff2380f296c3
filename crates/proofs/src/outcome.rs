//! What a proof found: figures with their limits, a table, and the last line.

use std::fmt::Write as _;

/// One figure.
#[derive(Debug, Clone)]
struct Figure {
    key: String,
    value: String,
    limit: Option<String>,
    holds: bool,
}

/// The figures of one proof.
#[derive(Debug, Clone)]
pub struct Outcome {
    name: String,
    figures: Vec<Figure>,
    failure: Option<String>,
}

impl Outcome {
    /// An outcome without figures yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), figures: Vec::new(), failure: None }
    }

    /// A proof that could not be carried through.
    pub fn failed(name: &str, error: &anyhow::Error) -> Self {
        Self { failure: Some(format!("{error:#}")), ..Self::new(name) }
    }

    /// A figure that is only reported.
    pub fn note(&mut self, key: &str, value: impl ToString) {
        self.figures.push(Figure { key: key.to_owned(), value: value.to_string(), limit: None, holds: true });
    }

    /// A count or other exact figure that must be equal.
    pub fn equal<T: PartialEq + ToString>(&mut self, key: &str, value: &T, wanted: &T) {
        let holds = value == wanted;
        self.figures.push(Figure { key: key.to_owned(), value: value.to_string(), limit: Some(format!("= {}", wanted.to_string())), holds });
    }

    /// A figure with an upper bound.
    pub fn at_most(&mut self, key: &str, value: f64, limit: f64) {
        let holds = value <= limit;
        self.figures.push(Figure { key: key.to_owned(), value: format!("{value:.2}"), limit: Some(format!("<= {limit}")), holds });
    }

    /// Whether every limit holds.
    pub fn ok(&self) -> bool {
        self.failure.is_none() && !self.figures.is_empty() && self.figures.iter().all(|f| f.holds)
    }

    /// Prints the table and the last line.
    pub fn print(&self) {
        say("");
        for figure in &self.figures {
            let mark = if figure.holds { "" } else { "   <-- does not hold" };
            say(&format!("  {:28} {:>12}   {}{mark}", figure.key, figure.value, figure.limit.as_deref().unwrap_or("")));
        }
        if let Some(failure) = &self.failure {
            say(&format!("  could not be carried through: {failure}"));
        }
        let mut line = format!("PROVE {} {}", self.name, if self.ok() { "ok" } else { "FAIL" });
        for figure in &self.figures {
            let _ = write!(line, " {}={}", figure.key, figure.value);
        }
        say(&line);
    }
}

/// Says a line to the person who runs the proof.
#[expect(clippy::print_stdout, reason = "a proof speaks on standard output; this is its one printer")]
pub fn say(line: &str) {
    println!("{line}");
}

/// The figure in the middle of several, which must not be none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
