//! The version of a service: a hash with its own number, by which drift is seen.
//!
//! The hash covers a canonical projection written here by hand, never a derived serialisation: a field or a default that a later release adds
//! must not change the hash of what runs already, so a new field is appended only where it differs from what its absence meant.
//! Left out on purpose, because a change of them needs no new container: replicas, start order, the probe, and the content of secrets.

use serde::Serialize;

use crate::{GateWanted, Mount, SecretFile, ServiceWanted};

/// Collects the projection: one `name=<JSON>` a line, in the order of the calls.
struct Projection(String);

impl Projection {
    fn new(what: &str) -> Self {
        Self(format!("{what}\n"))
    }

    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        // Only strings, numbers and lists of them come here; none of these can fail to become JSON.
        let value = serde_json::to_string(value).unwrap_or_default();
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&value);
        self.0.push('\n');
        self
    }

    fn mounts(&mut self, mounts: &[Mount]) -> &mut Self {
        let mounts: Vec<_> = mounts.iter().map(|m| (m.host.to_string_lossy(), &m.path, m.writable)).collect();
        self.field("mounts", &mounts)
    }

    fn secrets(&mut self, secrets: &[SecretFile]) -> &mut Self {
        let paths: Vec<_> = secrets.iter().map(|s| &s.path).collect();
        self.field("secrets", &paths)
    }

    fn hash(&self) -> String {
        let hex = blake3::hash(self.0.as_bytes()).to_hex();
        format!("v1:{}", &hex[..32])
    }
}

impl ServiceWanted {
    /// The version of instances made from this: `v1:` and 32 hex digits. Two equal versions need no replacement.
    #[must_use]
    pub fn version(&self) -> String {
        let mut form = Projection::new("service");
        form.field("image", &self.image).field("command", &self.command).field("port", &self.port).field("environment", &self.environment);
        form.field("user", &self.user).field("cpu", &self.limits.cpu.0).field("memory", &self.limits.memory.0).field("pids", &self.limits.pids);
        let writable: Vec<_> = self.writable.iter().map(|w| (&w.path, w.size.0)).collect();
        form.field("writable", &writable).field("capabilities", &self.capabilities).mounts(&self.mounts).secrets(&self.secrets);
        form.field("stopWithin", &self.stop_within.0).field("stopSignal", &self.stop_signal);
        form.hash()
    }
}

impl GateWanted {
    /// The version of a gate made from this, as [`ServiceWanted::version`].
    #[must_use]
    pub fn version(&self) -> String {
        let mut form = Projection::new("gate");
        form.field("image", &self.image).field("command", &self.command).field("address", &self.address.to_string());
        form.field("user", &self.user).field("cpu", &self.limits.cpu.0).field("memory", &self.limits.memory.0).field("pids", &self.limits.pids);
        form.field("fronts", &self.fronts).mounts(&self.mounts).secrets(&self.secrets).field("stopWithin", &self.stop_within.0);
        if self.egress {
            // Only where it is so: gates made before there was a choice keep their version.
            form.field("egress", &true);
        }
        form.hash()
    }
}

#[cfg(test)]
mod tests;
