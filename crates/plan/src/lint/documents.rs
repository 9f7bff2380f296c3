//! Rules of platforms, machines, cells and tenants: what can be said of one document by itself.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Component, Path};

use ipnet::{IpNet, Ipv4Net};
use model::DocumentName;
use model::v1alpha1::{CellSpec, MachineSpec, PlatformSpec, TenantSpec};

use super::Lint;
use crate::codes;

/// Most domains of one tenant.
const DOMAINS: usize = 50;
/// Most characters of a title, plan or group.
const TEXT: usize = 200;
/// Longest name of a cell: platform, cell and instance make the name of a container, and platform and cell that of a network.
const CELL_NAME: usize = 24;

/// Checks the platform.
#[must_use]
pub fn platform(spec: &PlatformSpec) -> Lint {
    let mut lint = Lint::default();
    let pool = spec.network.pool;
    if pool.trunc() != pool {
        lint.refuse(&codes::POOL, format!("network.pool is {pool}; the network of that address is {}", pool.trunc()));
    } else if pool.prefix_len() > 23 {
        lint.refuse(&codes::POOL, format!("network.pool {pool} does not hold the two networks of one cell"));
    } else if !private(pool) {
        lint.refuse(&codes::POOL, format!("network.pool {pool} is not private"));
    }
    if spec.regions.is_empty() {
        lint.refuse(&codes::REGION, "regions is empty; the first is where cells without one are opened");
    }
    let mut seen = BTreeSet::new();
    for region in &spec.regions {
        if DocumentName::new(region).is_err() || !seen.insert(region) {
            lint.refuse(&codes::REGION, format!("regions names {region:?} twice, or it is not a name of a-z, 0-9 and '-'"));
        }
    }
    let public = &spec.public;
    if !matches!(public.scheme.as_str(), "http" | "https") || public.port == 0 {
        lint.refuse(&codes::PUBLIC, format!("public is {}, port {}", public.scheme, public.port));
    }
    let visitors = |port: u16| port == public.port || public.tls.as_ref().is_some_and(|tls| tls.port == port);
    if let Some(api) = spec.api.filter(|api| api.port < 1024 || visitors(api.port)) {
        lint.refuse(&codes::API_ADDRESS, format!("api is on port {}, public on port {}", api.port, public.port));
    }
    if let Some(tls) = &public.tls {
        if tls.port == 0 || tls.port == public.port {
            lint.refuse(&codes::PUBLIC, format!("public.tls.port is {}, public.port is {}", tls.port, public.port));
        }
        for authority in tls.authorities.iter().filter(|authority| !authority.directory.starts_with("https://")) {
            lint.refuse(&codes::PUBLIC, format!("public.tls names an authority at {:?}; a directory is an https URL", authority.directory));
        }
        for file in tls.authorities.iter().flat_map(|authority| authority.root.iter().chain(&authority.account_key)).filter(|file| !below(file)) {
            lint.refuse(
                &codes::PUBLIC,
                format!("public.tls names the file {file:?}; what authorities need lies in the state folder and is named from there"),
            );
        }
        if tls.proofs.is_empty() {
            lint.refuse(&codes::PUBLIC, "public.tls.proofs is empty; leave it out for http-01 and tls-alpn-01");
        }
    }
    behind(spec, &mut lint);
    if let Some(mail) = spec.mail.as_ref().filter(|mail| mail.port == 0 || !address(&mail.from) || mail.host.is_empty()) {
        lint.refuse(&codes::CONTACT, format!("mail is from {:?} by {:?}, port {}", mail.from, mail.host, mail.port));
    }
    lint
}

/// Whether a path leads to a file below the folder it is named from: control sees nothing else of the machine.
fn below(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Checks whom the edge believes: whoever stands there may call itself any visitor.
fn behind(spec: &PlatformSpec, lint: &mut Lint) {
    let Some(behind) = &spec.public.behind else { return };
    let pool = IpNet::V4(spec.network.pool);
    for network in &behind.proxies {
        let net = network.net();
        if net.prefix_len() == 0 {
            lint.refuse(&codes::BEHIND, format!("public.behind.proxies names {network}, which is everybody"));
        } else if net.contains(&pool) || pool.contains(&net) {
            lint.refuse(&codes::BEHIND, format!("public.behind.proxies names {network}, in which cells are (network.pool is {pool})"));
        }
    }
    if behind.proxy_protocol && behind.proxies.is_empty() {
        lint.refuse(&codes::BEHIND, "public.behind.proxyProtocol asks nobody; name the balancers' networks in proxies");
    }
}

/// Checks a machine.
#[must_use]
pub fn machine(spec: &MachineSpec) -> Lint {
    let mut lint = Lint::default();
    if spec.agent.port() == 0 || spec.agent.ip().is_unspecified() {
        lint.refuse(&codes::AGENT_ADDRESS, format!("agent is {}", spec.agent));
    }
    lint
}

/// Checks a cell.
#[must_use]
pub fn cell(name: &DocumentName, spec: &CellSpec) -> Lint {
    let mut lint = Lint::default();
    if name.as_str().len() > CELL_NAME {
        lint.refuse(&codes::NAME_LENGTH, format!("cell {name} has {} characters", name.as_str().len()));
    }
    if name.as_str().contains('.') {
        lint.refuse(&codes::SHAPE, format!("the name of a cell has no dots, {name} has"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = spec.machines.iter().find(|machine| !seen.insert(*machine)) {
        lint.refuse(&codes::MACHINE_UNKNOWN, format!("machines names {twice} twice"));
    }
    lint
}

/// Checks a tenant.
#[must_use]
pub fn tenant(name: &DocumentName, spec: &TenantSpec) -> Lint {
    let mut lint = Lint::default();
    if name.as_str().contains('.') {
        lint.refuse(&codes::SHAPE, format!("the name of a tenant has no dots, {name} has"));
    }
    if !(1..=DOMAINS).contains(&spec.domains.len()) {
        lint.refuse(&codes::DOMAINS, format!("{} domains are named", spec.domains.len()));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = spec.domains.iter().chain(&spec.hosts.aliases).find(|domain| !seen.insert(*domain)) {
        lint.refuse(&codes::DOMAIN_TWICE, format!("domain {twice} stands twice"));
    }
    if spec.hosts.aliases.len().max(spec.hosts.wildcards.len()) > DOMAINS {
        lint.refuse(&codes::DOMAINS, format!("more than {DOMAINS} aliases or wildcards are named"));
    }
    if let Some(foreign) = spec.hosts.wildcards.iter().find(|domain| !spec.domains.contains(domain) && !spec.hosts.aliases.contains(domain)) {
        lint.refuse(&codes::WILDCARD, format!("the wildcard of {foreign} is asked for, which is not among the tenant's domains"));
    }
    if !address(&spec.contact) {
        lint.refuse(&codes::CONTACT, format!("contact is {:?}", spec.contact));
    }
    if !language(&spec.language) {
        lint.refuse(&codes::LANGUAGE, format!("language is {:?}", spec.language));
    }
    let group = spec.group.as_deref().unwrap_or_default();
    for (field, text) in [("title", spec.title.as_str()), ("plan", spec.plan.as_str()), ("group", group)] {
        if text.chars().count() > TEXT || text.chars().any(char::is_control) {
            lint.refuse(&codes::TEXT, format!("{field} is too long or holds control characters"));
        }
    }
    lint
}

/// The private networks of RFC 1918 and the shared one of RFC 6598.
fn private(pool: Ipv4Net) -> bool {
    let private = [
        Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
        Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
        Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
        Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    ];
    private.iter().any(|net| net.contains(&pool))
}

/// Enough to tell a mail address from something else; whether it exists is found out by mail alone.
fn address(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '<' | '>' | ',' | ';' | '"'))
    };
    text.len() <= 254 && text.split_once('@').is_some_and(|(user, host)| plain(user) && plain(host) && !host.starts_with('.') && !host.ends_with('.'))
}

fn language(text: &str) -> bool {
    let part = |part: &str| (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric());
    let mut parts = text.split(['-', '_']);
    let first = parts.next().is_some_and(|first| (2..=3).contains(&first.len()) && first.chars().all(|c| c.is_ascii_alphabetic()));
    first && text.len() <= 35 && parts.all(part)
}
