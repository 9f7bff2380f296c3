//! Mistakes in files, with where they are.

use model::{Fault, Whose};

/// A place in a file; both numbers begin at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The file's name, as it was given.
    pub file: String,
    /// Where; none when the file could not be read at all.
    pub at: Option<Position>,
    /// Which field: `spec.domains[0]`; empty when it is not about one.
    pub path: String,
    /// The offending value as it stands in the file, shortened.
    pub value: Option<String>,
    /// What is wrong, without the place. Boxed, so that a result stays small.
    pub fault: Box<Fault>,
}

impl FileFault {
    pub(crate) fn new(file: &str, at: Option<Position>, code: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at, path: String::new(), value: None, fault: Box::new(Fault::new(code, Whose::Caller, message)) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.fault.hint = Some(hint.into());
        self
    }

    /// `file:line:column`, as editors and terminals understand it.
    #[must_use]
    pub fn place(&self) -> String {
        match self.at {
            Some(at) => format!("{}:{at}", self.file),
            None => self.file.clone(),
        }
    }

    /// The fault with its place in the message, for where only a [`Fault`] fits.
    #[must_use]
    pub fn into_fault(self) -> Fault {
        let message = format!("{}: {}", self.place(), self.sentence());
        Fault { message, ..*self.fault }
    }

    fn sentence(&self) -> String {
        if self.path.is_empty() { self.fault.message.clone() } else { format!("{}: {}", self.path, self.fault.message) }
    }
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.place(), self.sentence(), self.fault.code)?;
        match &self.fault.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FileFault {}

/// Everything that is wrong with the files given; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<FileFault>);

impl Faults {
    /// The faults with their places in the messages.
    #[must_use]
    pub fn into_faults(self) -> Vec<Fault> {
        self.0.into_iter().map(FileFault::into_fault).collect()
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
