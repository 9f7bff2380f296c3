//! Tests of domain ownership.

use std::collections::BTreeMap;

use model::v1alpha1::TenantState;
use proptest::prelude::*;

use super::{Conflict, ReleaseCause, decide};
use crate::tests::{World, document_name, domain, state, tenant_name};

#[test]
fn a_free_domain_goes_to_the_tenant_created_first() {
    let mut world = World::new(10);
    world.tenant("z-first", &["shop.example"], |_| {});
    world.tenant("a-second", &["shop.example"], |_| {});
    let ownership = decide(&world.snapshot);
    assert_eq!(ownership.tenants[&tenant_name("z-first")].claim, [domain("shop.example")]);
    let conflict = Conflict { domain: domain("shop.example"), owner: tenant_name("z-first") };
    assert_eq!(ownership.tenants[&tenant_name("a-second")].conflicts, [conflict]);
}

#[test]
fn aliases_and_the_other_of_apex_and_www_are_claimed_too() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example", "www.kiosk.example"], |tenant| {
        tenant.spec.hosts.aliases = vec![domain("old.example"), domain("shop.example")];
        tenant.spec.hosts.www = model::v1alpha1::WwwRule::Redirect;
    });
    world.tenant("late", &["www.shop.example"], |_| {});
    world.claim("old.example", "shop");
    let ownership = decide(&world.snapshot);
    assert!(ownership.release.is_empty(), "an alias is wanted");
    let claim = ["shop.example", "www.kiosk.example", "www.shop.example", "kiosk.example"].map(domain);
    assert_eq!(ownership.tenants[&tenant_name("shop")].claim, claim);
    assert_eq!(ownership.tenants[&tenant_name("late")].conflicts[0].owner, tenant_name("shop"));
    let spec = &world.snapshot.tenants[&tenant_name("shop")].spec;
    let targets: Vec<_> = spec.wanted_domains().into_iter().filter_map(|(domain, to)| Some((domain.to_string(), to?.to_string()))).collect();
    let pairs = [("old.example", "shop.example"), ("www.shop.example", "shop.example"), ("kiosk.example", "www.kiosk.example")];
    assert_eq!(targets, pairs.map(|(domain, to)| (domain.to_owned(), to.to_owned())));
}

#[test]
fn below_a_wildcard_nobody_else_gets_a_new_domain() {
    let mut world = World::new(10);
    world.tenant("before", &["one.shop.example"], |_| {});
    world.claim("one.shop.example", "before");
    world.tenant("shop", &["shop.example"], |tenant| tenant.spec.hosts.wildcards = vec![domain("shop.example"), domain("not-mine.example")]);
    world.claim("shop.example", "shop");
    world.tenant("late", &["two.shop.example", "a.two.shop.example", "x.not-mine.example"], |_| {});
    let ownership = decide(&world.snapshot);
    assert!(!ownership.tenants.contains_key(&tenant_name("before")), "what was claimed before stays");
    let late = &ownership.tenants[&tenant_name("late")];
    assert_eq!(late.conflicts, [Conflict { domain: domain("two.shop.example"), owner: tenant_name("shop") }]);
    assert_eq!(late.claim, [domain("a.two.shop.example"), domain("x.not-mine.example")]);
}

#[test]
fn below_a_wildcard_its_owner_gets_a_domain_that_somebody_senior_wants_in_vain() {
    let mut world = World::new(10);
    world.tenant("a-senior", &["two.shop.example"], |_| {});
    world.tenant("shop", &["shop.example", "two.shop.example"], |tenant| tenant.spec.hosts.wildcards = vec![domain("shop.example")]);
    world.claim("shop.example", "shop");
    let ownership = decide(&world.snapshot);
    assert_eq!(ownership.tenants[&tenant_name("shop")].claim, [domain("two.shop.example")]);
    assert_eq!(ownership.tenants[&tenant_name("a-senior")].conflicts[0].owner, tenant_name("shop"));
}

#[test]
fn a_standing_claim_wins_over_seniority() {
    let mut world = World::new(10);
    world.tenant("older", &["shop.example"], |_| {});
    world.tenant("holder", &["shop.example"], |_| {});
    world.claim("shop.example", "holder");
    let ownership = decide(&world.snapshot);
    assert_eq!(ownership.tenants[&tenant_name("older")].conflicts[0].owner, tenant_name("holder"));
    assert!(!ownership.tenants.contains_key(&tenant_name("holder")), "it owns all it wants");
}

#[test]
fn claims_of_nobody_and_of_those_who_gave_up_are_released() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    world.claim("old.example", "shop");
    world.claim("lost.example", "nobody");
    let ownership = decide(&world.snapshot);
    let causes: Vec<_> = ownership.release.iter().map(|release| (release.domain.clone(), release.because)).collect();
    assert_eq!(causes, [(document_name("lost.example"), ReleaseCause::TenantGone), (document_name("old.example"), ReleaseCause::NoLongerWanted)]);
}

#[test]
fn a_later_tenant_of_the_same_name_inherits_nothing() {
    let mut world = World::new(10);
    world.tenant("shop", &["shop.example"], |_| {});
    world.claim("shop.example", "shop");
    // The same name, made anew: another uid.
    world.tenant("shop", &["shop.example"], |_| {});
    let ownership = decide(&world.snapshot);
    assert_eq!(ownership.release[0].because, ReleaseCause::TenantGone);
    assert_eq!(ownership.tenants[&tenant_name("shop")].claim, [domain("shop.example")]);
}

#[test]
fn a_removed_tenant_keeps_its_domains_until_its_data_is_deleted() {
    let mut world = World::new(10);
    world.tenant("gone", &["shop.example"], state(TenantState::Removed));
    world.claim("shop.example", "gone");
    world.tenant("new", &["shop.example"], |_| {});
    let ownership = decide(&world.snapshot);
    assert!(ownership.release.is_empty());
    assert_eq!(ownership.tenants[&tenant_name("new")].conflicts[0].owner, tenant_name("gone"));
}

proptest! {
    #[test]
    fn every_wanted_domain_has_exactly_one_winner(
        wants in prop::collection::vec(prop::collection::vec(0_u8..12, 1..5), 1..12),
        claims in prop::collection::btree_map(0_u8..12, 0_usize..14, 0..8),
    ) {
        let mut world = World::new(10);
        let spell = |number: &u8| format!("d{number}.example");
        for (index, domains) in wants.iter().enumerate() {
            let domains: Vec<String> = domains.iter().map(spell).collect();
            let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
            world.tenant(&format!("t{index}"), &domains, |_| {});
        }
        for (number, tenant) in &claims {
            world.claim(&spell(number), &format!("t{tenant}"));
        }
        let ownership = decide(&world.snapshot);
        let mut winners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, tenant) in &world.snapshot.tenants {
            let lost: Vec<&str> = ownership.tenants.get(name).into_iter().flat_map(|mine| &mine.conflicts).map(|conflict| conflict.domain.as_str()).collect();
            let mut wanted: Vec<&str> = tenant.spec.domains.iter().map(model::DomainName::as_str).collect();
            wanted.sort_unstable();
            wanted.dedup();
            for domain in wanted.into_iter().filter(|domain| !lost.contains(domain)) {
                winners.entry(domain.to_owned()).or_default().push(name.to_string());
            }
        }
        for (number, index) in wants.iter().enumerate().flat_map(|(index, domains)| domains.iter().map(move |number| (number, index))) {
            let winners = winners.get(&spell(number)).map(Vec::len);
            prop_assert_eq!(winners, Some(1), "domain d{} (wanted by t{}) has not exactly one winner", number, index);
        }
    }
}
