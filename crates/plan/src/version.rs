//! Order of blueprint versions: numbers by value, words by letter, so that `2026.11.10` comes after `2026.11.9`.

use std::cmp::Ordering;

use model::DocumentName;

/// Compares two versions part by part; the longer one is newer where all parts agree.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let part = |(a, b): (&str, &str)| match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    };
    let parts = a.split('.').zip(b.split('.')).map(part).find(|order| order.is_ne());
    parts.unwrap_or_else(|| a.split('.').count().cmp(&b.split('.').count())).then_with(|| a.cmp(b))
}

/// The version in a blueprint's document name: `2026.11.1` of `wordpress.2026.11.1`.
#[must_use]
pub fn version_of(blueprint: &DocumentName) -> &str {
    blueprint.as_str().split_once('.').map_or("", |(_, version)| version)
}

/// Whether the first is a newer version than the second.
#[must_use]
pub fn newer(a: &DocumentName, b: &DocumentName) -> bool {
    compare(version_of(a), version_of(b)).is_gt()
}

#[cfg(test)]
mod tests;
