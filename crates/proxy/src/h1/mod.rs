//! HTTP/1.1 as messages: heads, where bodies end, and how both are written. The rules stand in [`framing`].

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod fields;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod write;

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
