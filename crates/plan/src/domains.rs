//! Domain ownership with a deterministic winner.
//!
//! A domain belongs to the tenant whose claim stands. Where none stands, the tenant that was created first wins, then the smaller name. A claim
//! of a tenant that is gone, or that no longer wants the domain, is released. A removed tenant keeps its domains until its data is deleted.
//! Aliases, and the other one of apex and www, are claimed like named domains. A wildcard needs no claim of its own: it belongs to whoever owns its domain, and
//! nobody else gets a domain one label below it that is not claimed yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use model::v1alpha1::{Domain, Tenant};
use model::{DocumentName, DomainName, Revision, TenantName, Typed};

use crate::Snapshot;

/// Who wins: the earliest creation, then the smaller name. Tenants not yet stored come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seniority<'a> {
    unstored: bool,
    created_at: Option<Timestamp>,
    name: &'a TenantName,
}

impl<'a> Seniority<'a> {
    fn of(name: &'a TenantName, tenant: &Typed<Tenant>) -> Self {
        let created_at = tenant.metadata.created_at;
        Self { unstored: created_at.is_none(), created_at, name }
    }
}

/// A domain that a tenant wants and another one owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The domain.
    pub domain: DomainName,
    /// Whose it is.
    pub owner: TenantName,
}

/// A claim that no longer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The domain.
    pub domain: DocumentName,
    /// Who held it.
    pub tenant: TenantName,
    /// The claim as it stood: compare this when deleting it.
    pub revision: Revision,
    /// Why.
    pub because: ReleaseCause,
}

/// Why a claim no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseCause {
    /// No tenant of that name stands, or another one does under that name.
    TenantGone,
    /// The tenant no longer names the domain.
    NoLongerWanted,
}

/// What one tenant gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantDomains {
    /// Already its own.
    pub owned: Vec<DomainName>,
    /// To be claimed: by creating the claim, or (where a release of the same domain is due) after that release.
    pub claim: Vec<DomainName>,
    /// Somebody else's.
    pub conflicts: Vec<Conflict>,
}

/// The decision about all domains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ownership {
    /// For each tenant for which anything is to be done or said; a tenant that owns all it wants is left out.
    pub tenants: BTreeMap<TenantName, TenantDomains>,
    /// Claims to be deleted, ordered by domain.
    pub release: Vec<Release>,
}

/// Decides who owns what. Cost: one pass over claims and tenants, with a look-up each.
#[must_use]
pub fn decide(snapshot: &Snapshot) -> Ownership {
    let mut ownership = Ownership { release: releases(snapshot), ..Ownership::default() };
    let released: BTreeSet<&DocumentName> = ownership.release.iter().map(|release| &release.domain).collect();
    // Only looked up, never walked, so that its order reaches no decision.
    let owners: HashMap<&str, &TenantName> = snapshot
        .domains
        .iter()
        .filter(|(domain, _)| !released.contains(domain))
        .map(|(domain, claim)| (domain.as_str(), &claim.spec.tenant))
        .collect();
    let standing = |domain: &DomainName| owners.get(domain.as_str()).copied();
    let below = wildcards(snapshot, &owners);
    // Somebody else whose wildcard a domain stands below.
    let above = |domain: &DomainName, name: &TenantName| {
        let owner = domain.as_str().split_once('.').and_then(|(_, above)| below.get(above)).copied();
        owner.filter(|owner| *owner != name)
    };
    let free = |domain: &DomainName, name: &TenantName| standing(domain).is_none() && above(domain, name).is_none();
    let winners = winners(snapshot, &free);
    let mut tenants = BTreeMap::new();
    for (name, tenant) in &snapshot.tenants {
        let mut mine = TenantDomains::default();
        for (domain, _) in tenant.spec.wanted_domains() {
            match (standing(&domain), above(&domain, name)) {
                (Some(owner), _) if owner == name => mine.owned.push(domain),
                (Some(owner), _) => mine.conflicts.push(Conflict { domain, owner: owner.clone() }),
                (None, Some(owner)) => mine.conflicts.push(Conflict { domain, owner: owner.clone() }),
                (None, None) => match winners.get(&domain) {
                    Some(winner) if winner.name != name => mine.conflicts.push(Conflict { domain, owner: winner.name.clone() }),
                    _ => mine.claim.push(domain),
                },
            }
        }
        if !mine.claim.is_empty() || !mine.conflicts.is_empty() {
            tenants.insert(name.clone(), mine);
        }
    }
    ownership.tenants = tenants;
    ownership
}

/// For each domain that is free for somebody who wants it, the most senior one of those.
fn winners<'a>(snapshot: &'a Snapshot, free: &impl Fn(&DomainName, &TenantName) -> bool) -> BTreeMap<DomainName, Seniority<'a>> {
    let mut winners: BTreeMap<DomainName, Seniority<'_>> = BTreeMap::new();
    for (name, tenant) in &snapshot.tenants {
        let rank = Seniority::of(name, tenant);
        for (domain, _) in tenant.spec.wanted_domains().into_iter().filter(|(domain, _)| free(domain, name)) {
            let best = winners.entry(domain).or_insert_with(|| rank.clone());
            if rank < *best {
                *best = rank.clone();
            }
        }
    }
    winners
}

/// Domains whose children are all their owner's, by wildcard. A wildcard of a domain that is not owned is nobody's.
fn wildcards<'a>(snapshot: &'a Snapshot, owners: &HashMap<&str, &'a TenantName>) -> HashMap<&'a str, &'a TenantName> {
    let each = snapshot.tenants.iter().flat_map(|(name, tenant)| tenant.spec.hosts.wildcards.iter().map(move |domain| (domain.as_str(), name)));
    each.filter(|(domain, name)| owners.get(domain) == Some(name)).collect()
}

fn wants(tenant: &Typed<Tenant>, domain: &DocumentName) -> bool {
    // Nearly always it is simply named.
    tenant.spec.domains.iter().any(|wanted| wanted.as_str() == domain.as_str())
        || (!tenant.spec.hosts.is_default() && tenant.spec.wanted_domains().iter().any(|(wanted, _)| wanted.as_str() == domain.as_str()))
}

/// Claims whose tenant is gone or no longer wants the domain.
fn releases(snapshot: &Snapshot) -> Vec<Release> {
    let release = |(domain, claim): (&DocumentName, &Arc<Typed<Domain>>)| {
        let tenant = snapshot.tenants.get(&claim.spec.tenant).filter(|tenant| tenant.metadata.uid == claim.spec.tenant_uid);
        let because = match tenant {
            None => ReleaseCause::TenantGone,
            Some(tenant) if wants(tenant, domain) => return None,
            Some(_) => ReleaseCause::NoLongerWanted,
        };
        Some(Release { domain: domain.clone(), tenant: claim.spec.tenant.clone(), revision: claim.metadata.revision, because })
    };
    snapshot.domains.iter().filter_map(release).collect()
}

#[cfg(test)]
mod tests;
