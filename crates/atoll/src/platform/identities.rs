//! Certificates of our own parts: made here before the first start, renewed by control while it runs.

use anyhow::{Context as _, Result};
use identity::{Ca, Role};
use jiff::Timestamp;
use model::MachineName;

use super::Layout;

/// Name of the one machine of this installation, and of its agent.
pub const MACHINE: &str = "local";
/// Name of the one edge. Its two slots are one edge that replaces itself.
pub const EDGE: &str = "edge";
/// User and group of the edge inside and outside its container.
pub const EDGE_USER: u32 = 1006;

/// The parts of one machine with the folders and owners of their identities.
///
/// # Errors
/// Never for the names above; the type asks.
pub fn parts(layout: &Layout) -> Result<Vec<(Role, std::path::PathBuf, Option<u32>)>> {
    let name = |name: &str| MachineName::new(name).with_context(|| format!("{name} is no name of a part"));
    Ok(vec![
        (Role::Control, layout.identity("control"), None),
        (Role::Agent(name(MACHINE)?), layout.identity("agent"), None),
        (Role::Edge(name(EDGE)?), layout.identity("edge"), Some(EDGE_USER)),
    ])
}

/// Makes sure that every part has a good certificate. Gives how many were written.
///
/// # Errors
/// When the authority or a folder cannot be used; nothing of another platform is overwritten.
pub fn ensure(layout: &Layout, now: Timestamp) -> Result<usize> {
    let ca = Ca::create_or_open(&layout.authority(), &layout.platform, now)?;
    let mut written = 0;
    for (role, folder, owner) in parts(layout)? {
        written += usize::from(ca.ensure(&folder, &role, owner, now)?);
    }
    Ok(written)
}
