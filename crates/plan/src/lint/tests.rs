//! Tests of the lint: one wrong value each, and the code that it must give.
#![expect(clippy::unwrap_used, reason = "tests")]

use model::v1alpha1::{BehindSpec, CellSpec, MachineSpec, PlatformSpec, Scheduling};
use serde_json::{Value, json};

use super::{Lint, blueprint, cell, machine, placement, platform, tenant};
use crate::place::place;
use crate::tests::{World, blueprint as sound, blueprint_with, cell_name, document_name, home, tenant_name, tenant_spec};

fn codes(lint: &Lint) -> Vec<&str> {
    lint.faults.iter().map(|fault| fault.code.0.as_ref()).collect()
}

#[test]
fn a_sound_blueprint_passes_with_its_memory_said() {
    let lint = blueprint(&document_name("wordpress.1"), &sound(10));
    assert!(lint.passed(), "{:?}", lint.faults);
    assert_eq!(lint.findings.iter().map(|finding| finding.code.0.as_ref()).collect::<Vec<_>>(), ["A0366"]);
}

#[test]
fn each_rule_of_blueprints_gives_its_code() {
    let service = |image: &str| json!({ "image": image, "port": 7000, "user": 5, "replicas": { "min": 2, "max": 2 } });
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/capacity/tenants", json!(0), "A0320"),
        ("/capacity/tenants", json!(100_001), "A0320"),
        ("/services/web/entry", json!(false), "A0321"),
        ("/services/php/entry", json!(true), "A0321"),
        ("/services/cache", service("localhost/x:1"), "A0322"),
        ("/services/db", service("localhost/x:1"), "A0322"),
        ("/services/web/port", Value::Null, "A0323"),
        ("/services/web/port", json!(80), "A0323"),
        ("/services/php/port", json!(8080), "A0323"),
        ("/services/php/port", json!(9443), "A0323"),
        ("/services/php/port", json!(11211), "A0323"),
        ("/services/php/uses", json!(["nothing"]), "A0324"),
        ("/services/php/uses", json!(["web"]), "A0324"),
        ("/services/php/uses", json!(["php"]), "A0324"),
        ("/services/php/image", json!("localhost/php:latest"), "A0325"),
        ("/services/php/image", json!("localhost:5000/php"), "A0325"),
        ("/services/php/image", json!(""), "A0325"),
        ("/services/php/user", json!(0), "A0326"),
        ("/services/php/replicas", json!({ "min": 3, "max": 2 }), "A0327"),
        ("/services/php/replicas", json!({ "min": 0, "max": 2 }), "A0327"),
        ("/services/php/replicas", json!({ "min": 2, "max": 65 }), "A0327"),
        ("/gates", json!({ "replicas": 0, "limits": {} }), "A0327"),
        ("/database/nodes", json!(2), "A0328"),
        ("/database/nodes", json!(0), "A0328"),
        ("/database/memory", json!("32Mi"), "A0329"),
        ("/database/tenantConnections", json!(301), "A0329"),
        ("/tenant/settings/0/template", json!("{{ nobody }}"), "A0330"),
        ("/tenant/settings/0/template", json!("{% if"), "A0330"),
        ("/tenant/settings/0/path", json!("../../etc/passwd"), "A0331"),
        ("/tenant/create", json!({ "run": [], "in": "php" }), "A0332"),
        ("/tenant/create", json!({ "run": ["x"], "in": "nowhere" }), "A0332"),
        ("/tenant/create", json!({ "run": ["x"], "in": "php", "within": "2h" }), "A0332"),
        ("/services/php/writable", json!([{ "path": "tmp", "size": "1Mi" }]), "A0333"),
        ("/services/php/writable", json!([{ "path": "/atoll/files", "size": "1Mi" }]), "A0333"),
        ("/services/php/writable", json!([{ "path": "/a/../etc", "size": "1Mi" }]), "A0333"),
        ("/services/php/capabilities", json!(["SYS_ADMIN"]), "A0334"),
        ("/services/web/ready", json!({ "check": { "http": "health" } }), "A0335"),
        ("/services/web/ready", json!({ "every": "0s" }), "A0335"),
        ("/services/php/limits", json!({ "memory": "1Mi" }), "A0336"),
        ("/files", Value::Null, "A0337"),
        ("/services/php/environment", json!({ "not a word": "x" }), "A0339"),
        ("/tenant/secrets", json!(["salt", "no-word"]), "A0339"),
    ];
    for (pointer, value, code) in cases {
        let spec = blueprint_with(pointer, value.clone());
        let lint = blueprint(&document_name("wordpress.1"), &spec);
        assert!(codes(&lint).contains(&code), "{pointer} = {value} gave {:?}, not {code}", lint.faults);
    }
}

#[test]
fn a_digest_or_a_registry_with_a_port_is_no_fault() {
    for image in ["localhost:5000/php:8.2", "x@sha256:0123", "registry.example/a/b:1.2.3"] {
        let lint = blueprint(&document_name("wordpress.1"), &blueprint_with("/services/php/image", json!(image)));
        assert!(lint.passed(), "{image}: {:?}", lint.faults);
    }
}

#[test]
fn what_is_risky_is_said_and_not_forbidden() {
    let cases = [
        ("/services/php/replicas", json!({ "min": 1, "max": 1 }), "A0360"),
        ("/database/nodes", json!(1), "A0361"),
        ("/services/php/environment", json!({ "DB_PASSWORD": "hunter2" }), "A0363"),
        ("/services/php/settings", json!(false), "A0365"),
    ];
    for (pointer, value, code) in cases {
        let lint = blueprint(&document_name("wordpress.1"), &blueprint_with(pointer, value));
        assert!(lint.passed(), "{:?}", lint.faults);
        assert!(lint.findings.iter().any(|finding| finding.code.0 == code), "{pointer}: {:?}", lint.findings);
    }
}

#[test]
fn a_blueprint_needs_a_version() {
    assert_eq!(codes(&blueprint(&document_name("wordpress"), &sound(10))), ["A0338"]);
}

#[test]
fn all_faults_are_said_at_once() {
    let mut spec = blueprint_with("/capacity/tenants", json!(0));
    spec.services.values_mut().for_each(|service| service.user = 0);
    let fault = blueprint(&document_name("wordpress.1"), &spec).refusal().unwrap();
    assert_eq!(fault.code.0, "A0320");
    assert!(fault.message.contains("(A0326)"), "{}", fault.message);
}

#[test]
fn tenants_are_checked() {
    let name = document_name("shop");
    assert!(tenant(&name, &tenant_spec(&["a.example"])).passed());
    assert_eq!(codes(&tenant(&name, &tenant_spec(&[]))), ["A0342"]);
    assert_eq!(codes(&tenant(&name, &tenant_spec(&["a.example", "A.example."]))), ["A0340"]);
    let with = |change: fn(&mut model::v1alpha1::TenantSpec)| {
        let mut spec = tenant_spec(&["a.example"]);
        change(&mut spec);
        codes(&tenant(&name, &spec)).join(" ")
    };
    assert_eq!(with(|spec| spec.contact = "nobody".to_owned()), "A0343");
    assert_eq!(with(|spec| spec.contact = "a@b@c".to_owned()), "A0343");
    assert_eq!(with(|spec| spec.language = "english please".to_owned()), "A0344");
    assert_eq!(with(|spec| spec.language = "cs-CZ".to_owned()), "");
    assert_eq!(with(|spec| spec.title = "a\nb".to_owned()), "A0345");
}

#[test]
fn platforms_machines_and_cells_are_checked() {
    assert!(platform(&PlatformSpec::default()).passed());
    let with = |change: fn(&mut PlatformSpec)| {
        let mut spec = PlatformSpec::default();
        change(&mut spec);
        codes(&platform(&spec)).join(" ")
    };
    assert_eq!(with(|spec| spec.network.pool = "8.8.0.0/16".parse().unwrap()), "A0309");
    assert_eq!(with(|spec| spec.network.pool = "10.91.0.0/24".parse().unwrap()), "A0309");
    assert_eq!(with(|spec| spec.network.pool = "10.91.0.1/16".parse().unwrap()), "A0309");
    assert_eq!(with(|spec| spec.regions.clear()), "A0310");
    assert_eq!(with(|spec| spec.public.scheme = "gopher".to_owned()), "A0311");
    for (file, found) in [("authority.pem", ""), ("control/own.pem", ""), ("/etc/own.pem", "A0311"), ("../own.pem", "A0311"), ("", "A0311")] {
        let authority = json!({ "directory": "https://ca.internal/directory", "root": file });
        let mut spec = PlatformSpec::default();
        spec.public.tls = Some(serde_json::from_value(json!({ "authorities": [authority] })).unwrap());
        assert_eq!(codes(&platform(&spec)).join(" "), found, "{file:?}");
    }
    for (proxies, proxy_protocol, found) in [
        ("10.0.0.1/32 2001:db8::/32", true, ""),
        ("10.0.0.0/8", false, "A0315"),
        ("10.91.7.0/24", false, "A0315"),
        ("0.0.0.0/0", false, "A0315"),
        ("::/0", false, "A0315"),
        ("", true, "A0315"),
        ("", false, ""),
    ] {
        let proxies = proxies.split_whitespace().map(|network| network.parse().unwrap()).collect();
        let mut spec = PlatformSpec::default();
        spec.public.behind = Some(BehindSpec { proxies, proxy_protocol });
        assert_eq!(codes(&platform(&spec)).join(" "), found, "{:?}", spec.public.behind);
    }
    let spec = MachineSpec { agent: "0.0.0.0:1".parse().unwrap(), region: None };
    assert_eq!(codes(&machine(&spec)), ["A0313"]);
    let spec = CellSpec { blueprint: document_name("wordpress.1"), region: None, machines: Vec::new(), scheduling: Scheduling::Open };
    assert!(cell(&document_name("a"), &spec).passed());
    assert_eq!(codes(&cell(&document_name("a-name-that-is-far-too-long-here"), &spec)), ["A0348"]);
}

#[test]
fn a_wrong_placement_is_found() {
    let mut world = World::new(1);
    world.cell("a", |_| {});
    world.tenant("one", &["one.example"], |_| {});
    world.tenant("two", &["two.example"], |_| {});
    let decided = place(&world.snapshot);
    assert_eq!(placement(&world.snapshot, &decided), Ok(()));
    let mut forged = decided.clone();
    let outcome = forged.outcomes[&tenant_name("one")].clone();
    forged.outcomes.insert(tenant_name("two"), outcome);
    let error = super::PlacementError::Overfull { cell: cell_name("a"), tenants: 2, capacity: 1 };
    assert_eq!(placement(&world.snapshot, &forged), Err(error));
    world.tenant("one", &["one.example"], home("a"));
    assert_eq!(placement(&world.snapshot, &decided), Err(super::PlacementError::NotWaiting(tenant_name("one"))));
}
