//! Rules of blueprints.

use std::collections::{BTreeMap, BTreeSet};

use model::v1alpha1::{BlueprintSpec, FilesAccess, GatesSpec, Hook, Limits, Probe, ProbeKind, Service};
use model::{BlueprintName, Cpu, DocumentName, Memory, ServiceName};

use super::Lint;
use crate::settings::{Templates, check_path};
use crate::{cells, codes};

/// Names of the platform's own parts inside a cell.
const RESERVED: [&str; 6] = ["gate", "db", "database", "node", "control", crate::settings::MAIL_HOST];
/// Port on which gates take numbered state.
const GATE_ADMIN_PORT: u16 = 9443;
/// Addresses of a cell's network that instances may have.
const ADDRESSES: u32 = 120;
/// Capabilities that open nothing outside the container.
const CAPABILITIES: [&str; 7] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];
/// Parts of a variable's name that say its value is a secret.
const SECRET_WORDS: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "PRIVATE_KEY"];

/// Checks a blueprint.
#[must_use]
pub fn blueprint(name: &DocumentName, spec: &BlueprintSpec) -> Lint {
    let mut lint = Lint::default();
    check_name(&mut lint, name);
    if !(1..=100_000).contains(&spec.capacity.tenants) {
        lint.refuse(&codes::CAPACITY, format!("capacity.tenants is {}", spec.capacity.tenants));
    }
    check_gates(&mut lint, &spec.gates);
    check_database(&mut lint, spec);
    if let Some(cache) = spec.cache.as_ref().filter(|cache| cache.memory < Memory::mebi(8)) {
        lint.refuse(&codes::LIMITS, format!("cache.memory is {}", cache.memory));
    }
    check_entry(&mut lint, spec);
    for (name, service) in &spec.services {
        check_service(&mut lint, spec, name, service);
    }
    check_ports(&mut lint, spec);
    check_uses(&mut lint, spec);
    check_hooks(&mut lint, spec);
    check_settings(&mut lint, spec);
    check_sum(&mut lint, spec);
    lint
}

fn check_name(lint: &mut Lint, name: &DocumentName) {
    let named = name.as_str().split_once('.').is_some_and(|(product, _)| BlueprintName::new(product).is_ok());
    if !named {
        lint.refuse(&codes::BLUEPRINT_NAME, format!("{name} has no version"));
    }
}

fn check_gates(lint: &mut Lint, gates: &GatesSpec) {
    if !(1..=4).contains(&gates.replicas) {
        lint.refuse(&codes::REPLICAS, format!("gates.replicas is {}; a cell has 1 to 4", gates.replicas));
    }
    if gates.replicas == 1 {
        lint.remark(&codes::ONE_GATE, "gates.replicas is 1");
    }
    check_limits(lint, "gates", &gates.limits);
}

fn check_database(lint: &mut Lint, spec: &BlueprintSpec) {
    let Some(database) = &spec.database else { return };
    match database.nodes {
        3 => {}
        1 => lint.remark(&codes::ONE_NODE, "database.nodes is 1"),
        other => lint.refuse(&codes::DATABASE_NODES, format!("database.nodes is {other}")),
    }
    if database.memory < Memory::mebi(64) {
        lint.refuse(&codes::DATABASE_SIZE, format!("database.memory is {}", database.memory));
    }
    if database.cpu < Cpu(50) {
        lint.refuse(&codes::LIMITS, format!("database.cpu is {}; a node needs at least 50m", database.cpu));
    }
    if !(20..=10_000).contains(&database.connections) {
        lint.refuse(&codes::DATABASE_SIZE, format!("database.connections is {}", database.connections));
    }
    if database.tenant_connections == 0 || database.tenant_connections > database.connections {
        let message = format!("database.tenantConnections is {} of {} connections", database.tenant_connections, database.connections);
        lint.refuse(&codes::DATABASE_SIZE, message);
    }
}

fn check_entry(lint: &mut Lint, spec: &BlueprintSpec) {
    let entries: Vec<&str> = spec.services.iter().filter(|(_, service)| service.entry).map(|(name, _)| name.as_str()).collect();
    match entries.as_slice() {
        [_] => {}
        [] => lint.refuse(&codes::ENTRY, "no service has entry: true"),
        many => lint.refuse(&codes::ENTRY, format!("services {} all have entry: true", many.join(", "))),
    }
}

fn check_service(lint: &mut Lint, spec: &BlueprintSpec, name: &ServiceName, service: &Service) {
    let cache = spec.cache.is_some() && name.as_str() == "cache";
    if RESERVED.contains(&name.as_str()) || cache {
        lint.refuse(&codes::SERVICE_NAME, format!("service {name} has the name of one of the platform's own parts"));
    }
    if name.as_str().len() > 20 {
        lint.refuse(&codes::NAME_LENGTH, format!("service {name} has {} characters", name.as_str().len()));
    }
    check_image(lint, name, &service.image);
    if service.user == 0 {
        lint.refuse(&codes::ROOT, format!("service {name} has user 0"));
    }
    let replicas = service.replicas;
    if replicas.min == 0 || replicas.max < replicas.min || replicas.max > 64 {
        lint.refuse(&codes::REPLICAS, format!("service {name} has replicas.min {} and replicas.max {}", replicas.min, replicas.max));
    } else if replicas.min == 1 {
        lint.remark(&codes::ONE_INSTANCE, format!("service {name} has replicas.min 1"));
    }
    check_limits(lint, &format!("service {name}"), &service.limits);
    check_probe(lint, name, service);
    for path in &service.writable {
        if !writable(&path.path) || path.size.0 == 0 {
            lint.refuse(&codes::WRITABLE, format!("service {name} has the writable path {:?} of size {}", path.path, path.size));
        }
    }
    for capability in &service.capabilities {
        if !CAPABILITIES.contains(&capability.trim_start_matches("CAP_")) {
            lint.refuse(&codes::CAPABILITY, format!("service {name} keeps capability {capability}"));
        }
    }
    if service.files != FilesAccess::None && spec.files.is_none() {
        lint.refuse(&codes::NO_FILES, format!("service {name} mounts tenants' files"));
    }
    check_environment(lint, name, service);
    if !valid_signal(&service.stop_signal) {
        lint.refuse(
            &codes::LIMITS,
            format!("service {name} has the stop signal {:?}; SIGTERM, SIGQUIT and the like are signals", service.stop_signal),
        );
    }
}

fn check_environment(lint: &mut Lint, name: &ServiceName, service: &Service) {
    for (variable, value) in &service.environment {
        if !word(variable) {
            lint.refuse(&codes::WORD, format!("service {name} sets the environment variable {variable:?}"));
        }
        let upper = variable.to_ascii_uppercase();
        let file = upper.ends_with("_FILE") || value.starts_with('/');
        if !file && !value.is_empty() && SECRET_WORDS.iter().any(|secret| upper.contains(secret)) {
            lint.remark(&codes::CLEAR_SECRET, format!("service {name} sets {variable} in clear"));
        }
    }
}

/// A digest, or a tag other than `latest`. A colon in the registry's part is its port.
fn check_image(lint: &mut Lint, name: &ServiceName, image: &str) {
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if !plain(image) {
        return lint.refuse(&codes::IMAGE, format!("service {name} has the image {image:?}"));
    }
    if image.contains("@sha256:") {
        return;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) if !tag.is_empty() && tag != "latest" => {}
        Some(_) => lint.refuse(&codes::IMAGE, format!("service {name} has the image {image}")),
        None => lint.refuse(&codes::IMAGE, format!("service {name} has the image {image}, without a tag")),
    }
}

fn check_limits(lint: &mut Lint, whose: &str, limits: &Limits) {
    if limits.cpu < Cpu(10) || limits.memory < Memory::mebi(8) || limits.pids < 2 {
        let Limits { cpu, memory, pids } = limits;
        lint.refuse(&codes::LIMITS, format!("{whose}: limits are cpu {cpu}, memory {memory}, pids {pids}"));
    }
}

fn check_probe(lint: &mut Lint, name: &ServiceName, service: &Service) {
    let Probe { check, every, within, failures, start_within } = &service.ready;
    match check {
        Some(ProbeKind::Http(path)) if !path.starts_with('/') || path.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            lint.refuse(&codes::PROBE, format!("service {name} is probed at the path {path:?}"));
        }
        Some(ProbeKind::Http(_) | ProbeKind::Tcp {}) if service.port.is_none() => {
            lint.refuse(&codes::PORT, format!("service {name} is probed at its port, and has none"));
        }
        _ => {}
    }
    if every.0 == 0 || within.0 == 0 || start_within.0 == 0 || *failures == 0 {
        lint.refuse(
            &codes::PROBE,
            format!("service {name} is probed every {every}, within {within}, {failures} failures, start within {start_within}"),
        );
    }
}

/// Gates listen on the port of every service, on one address: no two services may share one.
fn check_ports(lint: &mut Lint, spec: &BlueprintSpec) {
    let mut ports: BTreeMap<u16, &str> = BTreeMap::from([(GATE_ADMIN_PORT, "the gates' own state"), (crate::settings::MAIL_PORT, "the mail relay")]);
    if spec.cache.is_some() {
        ports.insert(crate::settings::CACHE_PORT, "the cache");
    }
    for (name, service) in &spec.services {
        match service.port {
            None if service.entry => lint.refuse(&codes::PORT, format!("service {name} is the entry, and has no port")),
            None => {}
            Some(port) if port < 1024 => lint.refuse(&codes::PORT, format!("service {name} has port {port}")),
            Some(port) => {
                if !service.entry && port == 8080 {
                    lint.refuse(&codes::PORT, format!("service {name} has port 8080, on which gates take visitors' requests"));
                }
                if let Some(other) = ports.insert(port, name.as_str()) {
                    lint.refuse(&codes::PORT, format!("service {name} has port {port}, which {other} has"));
                }
            }
        }
    }
}

fn check_uses(lint: &mut Lint, spec: &BlueprintSpec) {
    let services = &spec.services;
    for (name, service) in services {
        for used in &service.uses {
            let ours = match used.as_str() {
                "database" => spec.database.is_some(),
                "cache" => spec.cache.is_some(),
                _ => false,
            };
            match services.get(used) {
                None if !ours => lint.refuse(&codes::USES, format!("service {name} uses {used}, which is no service of this blueprint")),
                Some(other) if other.port.is_none() => lint.refuse(&codes::PORT, format!("service {name} uses {used}, which has no port")),
                _ => {}
            }
        }
    }
    if let Some(circle) = circle(services) {
        lint.refuse(&codes::USES, format!("services use each other in a circle: {}", circle.join(" -> ")));
    }
}

/// The services that can never start because they wait for each other, as one walk that comes back to where it began.
fn circle(services: &BTreeMap<ServiceName, Service>) -> Option<Vec<String>> {
    let mut started: BTreeSet<&ServiceName> = BTreeSet::new();
    loop {
        let waits = |service: &Service| service.uses.iter().any(|used| services.contains_key(used) && !started.contains(used));
        let next: Vec<&ServiceName> =
            services.iter().filter(|(name, service)| !started.contains(name) && !waits(service)).map(|(name, _)| name).collect();
        if next.is_empty() {
            break;
        }
        started.extend(next);
    }
    let mut at = services.keys().find(|name| !started.contains(name))?;
    let mut walk: Vec<&ServiceName> = Vec::new();
    while !walk.contains(&at) {
        walk.push(at);
        at = services.get(at)?.uses.iter().find(|used| services.contains_key(*used) && !started.contains(used))?;
    }
    let from = walk.iter().position(|name| *name == at)?;
    Some(walk[from..].iter().chain([&at]).map(ToString::to_string).collect())
}

fn check_hooks(lint: &mut Lint, spec: &BlueprintSpec) {
    let hooks = [("create", &spec.tenant.create), ("migrate", &spec.tenant.migrate)];
    for (which, hook) in hooks.into_iter().filter_map(|(which, hook)| Some((which, hook.as_ref()?))) {
        let Hook { run, r#in, within } = hook;
        if !spec.services.contains_key(r#in) {
            lint.refuse(&codes::HOOK, format!("hook {which} runs in {in}, which is no service of this blueprint"));
        }
        if run.is_empty() || run.iter().any(|word| word.contains('\0')) || run.first().is_some_and(String::is_empty) {
            lint.refuse(&codes::HOOK, format!("hook {which} has no command"));
        }
        if !(1_000..=3_600_000).contains(&within.0) {
            lint.refuse(&codes::HOOK, format!("hook {which} has the time {within}"));
        }
    }
}

fn check_settings(lint: &mut Lint, spec: &BlueprintSpec) {
    let tenant = &spec.tenant;
    for secret in &tenant.secrets {
        if !word(secret) {
            lint.refuse(&codes::WORD, format!("tenant.secrets names {secret:?}"));
        }
    }
    let mut paths = BTreeSet::new();
    let mut sound = true;
    for setting in &tenant.settings {
        if let Err(cause) = check_path(&setting.path) {
            lint.refuse(&codes::SETTING_PATH, format!("settings file {:?}: {cause}", setting.path));
            sound = false;
        } else if !paths.insert(&setting.path) {
            lint.refuse(&codes::SETTING_PATH, format!("settings file {} stands twice", setting.path));
            sound = false;
        }
    }
    if sound && let Err(error) = Templates::check(spec) {
        lint.refuse(&codes::TEMPLATE, error.to_string());
    }
    if !tenant.settings.is_empty() && !spec.services.values().any(|service| service.settings) {
        lint.remark(&codes::NO_SETTINGS, format!("{} settings files are rendered, and no service mounts them", tenant.settings.len()));
    }
}

fn check_sum(lint: &mut Lint, spec: &BlueprintSpec) {
    let sum = cells::footprint(spec);
    if sum.addresses > ADDRESSES {
        lint.refuse(&codes::REPLICAS, format!("all services together may need {} addresses of {ADDRESSES}", sum.addresses));
    }
    let mebi = |memory: Memory| format!("{} MiB", memory.0 >> 20);
    let most = if sum.memory_max > sum.memory { format!(", {} with all instances that it may have", mebi(sum.memory_max)) } else { String::new() };
    lint.remark(&codes::CELL_MEMORY, format!("a cell of it may take {} of memory{most}, and {} of processor", mebi(sum.memory), sum.cpu));
}

fn word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && text.len() <= 64 && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn writable(path: &str) -> bool {
    let own = ["/atoll", "/proc", "/sys", "/dev"];
    let below = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    let sound = path.len() > 1 && path.starts_with('/') && !path.contains(['\0', ':', ',']);
    sound && path[1..].split('/').all(|part| !matches!(part, "" | "." | "..")) && !own.into_iter().any(below)
}

fn valid_signal(signal: &str) -> bool {
    signal.strip_prefix("SIG").is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()))
}
