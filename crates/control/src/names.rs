//! Names that control gives: conditions, finalizers, ports, paths, operations.

use model::v1alpha1::Verb;
use model::{DocumentName, GateName, Metadata, OperationName, ServiceName};

/// Control's finalizer on tenants.
pub const TENANT_FINALIZER: &str = "atoll.dev/tenant";
/// Control's finalizer on cells.
pub const CELL_FINALIZER: &str = "atoll.dev/cell";
/// The lease of whoever is control.
pub const LEASE: &str = "control";

/// Port of a gate for visitors' requests.
pub const GATE_ENTRY: u16 = 8080;
/// Port of a gate for control.
pub const GATE_ADMIN: u16 = 9443;
/// User of gates.
pub const GATE_USER: u32 = 1006;
/// User of the cache.
pub const CACHE_USER: u32 = 1005;
/// Port of the cache.
pub const CACHE_PORT: u16 = 11_211;
/// Number of a cell's first gate inside its network.
pub const FIRST_GATE: u32 = 2;

/// Where settings are inside an instance.
pub const SETTINGS_INSIDE: &str = "/atoll/settings";
/// Where files are inside an instance.
pub const FILES_INSIDE: &str = "/atoll/files";
/// Where a gate's folder (identity and last state) is inside it.
pub const GATE_INSIDE: &str = "/atoll/gate";
/// Parameters of a job.
pub const JOB_PARAMETERS: &str = "/atoll/job/params.json";

/// The name under which the database stands in `uses`.
pub const DATABASE: &str = "database";
/// The service made from the blueprint's cache.
pub const CACHE: &str = "cache";
/// The name of a cell's gate, counted from 1.
#[expect(clippy::expect_used, reason = "a number after a fixed word is a valid name")]
pub fn gate_name(number: u32) -> GateName {
    GateName::new(format!("gate-{number}")).expect("a valid name")
}

/// A service's name from a fixed word.
#[expect(clippy::expect_used, reason = "only called with the constants above")]
pub fn service(name: &'static str) -> ServiceName {
    ServiceName::new(name).expect("a valid name")
}

/// The name of a document from parts that are labels.
#[expect(clippy::expect_used, reason = "labels joined by dots are a document's name; three of them stay below 253 octets")]
pub fn dotted(parts: &[&str]) -> DocumentName {
    DocumentName::new(parts.join(".")).expect("a valid name")
}

/// What a verb is called in names.
pub const fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::TenantCreate => "create",
        Verb::TenantSuspend => "suspend",
        Verb::TenantResume => "resume",
        Verb::TenantRemove => "remove",
        Verb::TenantPurge => "purge",
        Verb::CellOpen => "open",
        Verb::CellDrain => "drain",
        Verb::CellClose => "close",
        Verb::CellRoll => "roll",
    }
}

/// The name of an operation on a document as it stands at this revision: the same wish seen twice is one operation, a later one is another.
#[expect(clippy::expect_used, reason = "a word, part of a name and hexadecimal digits, below 63 octets")]
pub fn operation_name(verb: Verb, subject: &Metadata) -> OperationName {
    let text = format!("{verb:?} {} {} {}", subject.name, subject.uid, subject.revision);
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let short: String = subject.name.as_str().chars().take(40).collect();
    let short = short.replace('.', "-");
    OperationName::new(format!("{}-{}-{}", verb_word(verb), short.trim_end_matches('-'), &hash[..8])).expect("a valid name")
}

/// The schema of a tenant: `t_` and what is unique about it.
pub fn schema(tenant: &Metadata) -> String {
    let hash = blake3::hash(format!("{} {}", tenant.name, tenant.uid).as_bytes()).to_hex();
    let word: String = tenant.name.as_str().chars().map(|c| if c == '-' { '_' } else { c }).take(24).collect();
    format!("t_{word}_{}", &hash[..10])
}

/// The secret of a tenant.
pub fn tenant_secret(tenant: &Metadata) -> DocumentName {
    dotted(&["tenant", tenant.name.as_str(), &short(&tenant.uid)])
}

/// The secret of a cell.
pub fn cell_secret(cell: &Metadata) -> DocumentName {
    dotted(&["cell", cell.name.as_str(), &short(&cell.uid)])
}

/// The secret that an operation shows once.
pub fn reveal_secret(operation: &OperationName) -> DocumentName {
    dotted(&["reveal", operation.as_str()])
}

fn short(uid: &str) -> String {
    let hash = blake3::hash(uid.as_bytes()).to_hex();
    hash[..10].to_owned()
}
