//! Columns for people: aligned, without lines, never wrapped or cut, so that they can be searched and copied.

use anstyle::Style;

use super::output::{BOLD, styled};

/// A cell of a table.
#[derive(Debug, Clone)]
pub struct Entry {
    text: String,
    style: Style,
}

impl Entry {
    /// A text in a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Entry {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

/// Rows under a heading. The last column may be as long as it likes.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<Entry>>,
}

impl Table {
    /// A table with a heading.
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.iter().map(|h| Entry::new(*h, BOLD)).collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, row: [Entry; N]) {
        self.rows.push(row.into());
    }

    /// The whole text, each line behind the indent.
    pub fn text(&self, indent: &str) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|e| e.text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut gap = 0;
            for (entry, width) in row.iter().zip(&widths) {
                if entry.text.is_empty() {
                    gap += width + 2;
                    continue;
                }
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(&if entry.style == Style::new() { entry.text.clone() } else { styled(entry.style, &entry.text) });
                gap = width - entry.text.chars().count() + 2;
            }
            text.push_str(indent);
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
