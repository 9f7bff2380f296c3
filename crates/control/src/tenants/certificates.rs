//! What a tenant is told of its visitors' certificates: the condition `CertificatesReady`.
//!
//! It is not among what `Ready` is made of: a site without a certificate is served over HTTP. Counts and times of tries are left out, so that nothing is written
//! while nothing changes.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use model::v1alpha1::{Tenant, TenantState};
use model::{ConditionStatus, DomainName, Typed};
use store::StoreError;

use super::tell;
use crate::view::Known;
use crate::world::World;
use crate::{CertificateFacts, CertificateFault};

/// The condition.
const CONDITION: &str = "CertificatesReady";
/// Domains that are named for one cause.
const NAMED: usize = 3;
/// A certificate that ends within this and could not be renewed is trouble; before, there is time for further tries.
const SOON: SignedDuration = SignedDuration::from_hours(10 * 24);

/// Says of every tenant how its certificates stand. Gives how many were changed.
pub async fn follow(world: &World) -> Result<usize, StoreError> {
    let now = world.now();
    // Only pointers are copied under the lock; looking at every domain takes longer.
    let tenants: Vec<(Arc<Typed<Tenant>>, Vec<DomainName>)> = world.view.read(|known| {
        let on = known.snapshot.platform_spec().public.tls.is_some();
        let calm = known.snapshot.tenants.values().filter(|tenant| tenant.status.operation.is_none());
        calm.map(|tenant| (tenant.clone(), if on { domains(known, tenant) } else { Vec::new() })).collect()
    });
    let mut changed: Vec<Typed<Tenant>> = Vec::new();
    for (tenant, domains) in &tenants {
        let facts: Option<Vec<_>> = domains.iter().map(|domain| Some((domain, world.ports.certificates.facts(domain)?))).collect();
        // What is not known now is not taken back.
        let Some(facts) = facts else { continue };
        let verdict = verdict(&facts, now);
        let said = tenant.status.conditions.get(CONDITION).map(|said| (said.status, said.reason.as_str(), said.message.as_str()));
        if said == verdict.as_ref().map(|verdict| (verdict.0, verdict.1, verdict.2.as_str())) {
            continue;
        }
        let mut tenant = Typed::clone(tenant);
        let (conditions, generation) = (&mut tenant.status.conditions, tenant.status.observed_generation);
        match verdict {
            Some((status, reason, message)) => conditions.set(CONDITION, status, reason, message, generation, now),
            None => conditions.remove(CONDITION),
        }
        changed.push(tenant);
    }
    tell(world, &changed).await?;
    Ok(changed.len())
}

/// The domains of a tenant that a certificate is wanted for: those of an active one that it owns.
fn domains(known: &Known, tenant: &Typed<Tenant>) -> Vec<DomainName> {
    let wanted = tenant.spec.state == TenantState::Active && tenant.metadata.deletion_requested_at.is_none();
    if !wanted || tenant.status.serving != Some(TenantState::Active) {
        return Vec::new();
    }
    let owned = |domain: &DomainName| {
        let claim = known.snapshot.domains.get(&domain.document_name());
        claim.is_some_and(|claim| claim.spec.tenant.as_str() == tenant.metadata.name.as_str())
    };
    tenant.spec.wanted_domains().into_iter().map(|(domain, _)| domain).filter(owned).collect()
}

/// What is wrong with one domain, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Ended,
    Without(CertificateFault),
    EndsSoon(Timestamp),
}

/// How one domain stands; nothing where nobody asks for it and none covers it.
enum Stand {
    Good,
    Pending,
    Bad(Trouble),
}

fn stand(facts: &CertificateFacts, now: Timestamp) -> Option<Stand> {
    let fault = facts.failed.as_ref().map(|(fault, _)| *fault);
    Some(match facts.ends {
        Some(ends) if ends <= now => Stand::Bad(Trouble::Ended),
        Some(ends) if fault.is_some() && ends.duration_since(now) < SOON => Stand::Bad(Trouble::EndsSoon(ends)),
        Some(_) => Stand::Good,
        None if !facts.asked => return None,
        None => fault.map_or(Stand::Pending, |fault| Stand::Bad(Trouble::Without(fault))),
    })
}

/// The condition; nothing where there is nothing to say.
fn verdict(domains: &[(&DomainName, CertificateFacts)], now: Timestamp) -> Option<(ConditionStatus, &'static str, String)> {
    let (mut good, mut pending, mut bad) = (0, Vec::new(), Vec::new());
    for (domain, facts) in domains {
        match stand(facts, now) {
            None => {}
            Some(Stand::Good) => good += 1,
            Some(Stand::Pending) => pending.push(domain.as_str()),
            Some(Stand::Bad(trouble)) => bad.push((trouble, domain.as_str(), facts.failed.as_ref().map(|(_, words)| &**words))),
        }
    }
    bad.sort();
    if let Some((worst, ..)) = bad.first() {
        let groups = bad.chunk_by(|one, other| one.0 == other.0).map(|group| {
            let names: Vec<&str> = group.iter().map(|(_, domain, _)| *domain).collect();
            let why = group.first().and_then(|(.., why)| *why).map_or_else(String::new, |why| format!(" ({why})"));
            format!("{}: {}{why}", listed(&names), words(group[0].0))
        });
        return Some((ConditionStatus::False, reason(*worst), groups.collect::<Vec<_>>().join("; ")));
    }
    if !pending.is_empty() {
        let message = format!("{}: a certificate is being obtained", listed(&pending));
        return Some((ConditionStatus::Unknown, "CertificatePending", message));
    }
    (good > 0).then(|| (ConditionStatus::True, "AsWanted", String::new()))
}

const fn reason(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Ended => "CertificateEnded",
        Trouble::EndsSoon(_) => "CertificateEndsSoon",
        Trouble::Without(CertificateFault::Elsewhere) => "DomainElsewhere",
        Trouble::Without(CertificateFault::Forbidden) => "AuthorityForbidden",
        Trouble::Without(CertificateFault::Refused) => "AuthorityRefuses",
        Trouble::Without(CertificateFault::Limited) => "AuthorityLimits",
        Trouble::Without(CertificateFault::Authority) => "AuthorityUnreachable",
        Trouble::Without(CertificateFault::Ours) => "CertificateNotShown",
    }
}

fn words(trouble: Trouble) -> String {
    let text = match trouble {
        Trouble::Ended => "the certificate has ended and was not renewed",
        Trouble::EndsSoon(at) => return format!("the certificate ends at {at} and could not be renewed"),
        Trouble::Without(CertificateFault::Elsewhere) => "no certificate, because the DNS does not lead here",
        Trouble::Without(CertificateFault::Forbidden) => "no certificate, because the zone's CAA records forbid it",
        Trouble::Without(CertificateFault::Refused) => "no certificate, because the authority refuses the domain",
        Trouble::Without(CertificateFault::Limited) => "no certificate yet, because the authority's limit is reached",
        Trouble::Without(CertificateFault::Authority) => "no certificate yet, because no authority answers as it should",
        Trouble::Without(CertificateFault::Ours) => "no certificate, because what the authority wants to see could not be shown",
    };
    text.to_owned()
}

/// The first names, and how many more there are.
fn listed(names: &[&str]) -> String {
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
