//! Pure parts of the command line.
#![expect(clippy::unwrap_used, reason = "tests")]

use clap::CommandFactory as _;
use jiff::{SignedDuration, Timestamp};
use model::{Kind, Metadata};
use serde_json::{Value, json};

use super::doctor::Level;
use super::doctor::checks::{clash, space, version};
use super::doctor::facts::parse_routes;
use super::wait::{Standing, judge};
use super::{age, args, yaml};

#[test]
fn arguments_are_consistent() {
    args::Cli::command().debug_assert();
}

#[test]
fn every_code_has_its_page() {
    for code in super::faults::ALL {
        assert!(plan::codes::fault(code).is_some(), "{code} has no page");
    }
    for code in ["A0102", "a0341", "CrashLoop", "nodown"] {
        let known = code.parse::<args::What>();
        assert_eq!(known.is_ok(), code != "nodown", "{code}");
    }
}

#[test]
fn every_reason_that_a_visitor_sees_has_its_page() {
    for reason in proxy::Reason::ALL {
        let page = plan::codes::VISITORS.iter().find(|page| page.reason == reason.code());
        let page = page.unwrap_or_else(|| unreachable!("{reason} has no page"));
        assert!(page.meaning.starts_with(&format!("{}: ", reason.status())), "{reason}: the page names another status than the answer has");
        assert!(reason.code().parse::<args::What>().is_ok(), "atoll explain {reason}");
    }
    assert_eq!(plan::codes::VISITORS.len(), proxy::Reason::ALL.len(), "a page of a reason that nobody gives");
    let shared: Vec<_> = plan::codes::VISITORS.iter().filter(|page| plan::codes::REASONS.iter().any(|r| r.reason == page.reason)).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
fn control_s_address_is_read_strictly() {
    let read = |text: &str| text.parse::<args::ControlUrl>().map(|url| url.to_string());
    for (text, url) in [
        ("https://10.0.0.5", "https://10.0.0.5:7443"),
        ("https://control.example:9000/", "https://control.example:9000"),
        ("https://[::1]:9000", "https://[::1]:9000"),
        ("https://[2001:db8::5]", "https://[2001:db8::5]:7443"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(url));
    }
    for text in ["", "http://a", "a:7443", "https://", "https://a:", "https://a:0", "https://a:99999", "https://a/b", "https://u@a", "https://[::1]x"]
    {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn ages_have_two_units_at_most() {
    let ages = [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h"), (7_500, "2h 5m"), (90_000, "1d 1h"), (864_000, "10d")];
    for (seconds, text) in ages {
        assert_eq!(age::seconds_text(seconds), text);
    }
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(age::since(now + SignedDuration::from_secs(5), now), "0s", "clocks of two machines differ");
}

#[test]
fn yaml_reads_back_as_what_it_was() {
    let value = json!({
        "apiVersion": "atoll.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "alpha" },
        "spec": {
            "blueprint": "wordpress", "contact": "a@alpha.example", "domains": ["alpha.localhost", "b.localhost"],
            "title": "no", "language": "en", "plan": "- tricky: # \"text\"\n\u{e9}\u{2028} 'x' ", "region": "1e3",
        },
    });
    let text = yaml::text(&value);
    let read = manifest::parse("x.yaml", &text).unwrap_or_else(|e| unreadable(&text, &e));
    for (field, wanted) in value["spec"].as_object().unwrap() {
        assert_eq!(read[0].spec[field], *wanted, "{field} in\n{text}");
    }
    for odd in
        ["", " ", "~", "null", "Yes", "0x1f", "12:30", "1.5", "2026-11-25", "a: b", "a #b", "*a", "&a", "!a", "%a", "@a", "`a", "a\tb", "-", "a:"]
    {
        let text = yaml::text(&json!({ "x": odd }));
        assert!(text.starts_with("x: \""), "{odd:?} must be quoted: {text}");
    }
    assert_eq!(yaml::text(&json!([{ "a": [], "b": {} }, [1, 2], "c"])), "- a: []\n  b: {}\n-\n  - 1\n  - 2\n- c\n");
}

fn unreadable(text: &str, error: &dyn std::fmt::Display) -> Vec<model::Document> {
    unreachable!("{error}\n{text}")
}

#[test]
fn routes_are_read_from_the_kernels_table() {
    let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                 br-1\t00005B0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    assert_eq!(parse_routes(table), [("br-1".to_owned(), "10.91.0.0/24".parse().unwrap())]);
}

#[test]
fn the_doctor_tells_good_from_bad() {
    let pool = "10.91.0.0/16".parse().unwrap();
    let net = |text: &str| text.parse().unwrap();
    let route = |text: &str| vec![("tun0".to_owned(), net(text))];
    assert_eq!(clash(pool, &route("192.168.1.0/24"), &[]).level, Level::Ok);
    assert_eq!(clash(pool, &route("10.91.3.0/24"), &[]).level, Level::Fail);
    assert_eq!(clash(pool, &route("10.0.0.0/8"), &[]).level, Level::Fail);
    let ours = [("atoll-cell-a".to_owned(), net("10.91.3.0/24"), Some("atoll".to_owned()))];
    assert_eq!(clash(pool, &route("10.91.3.0/24"), &ours).level, Level::Ok, "our own networks are no clash");
    let foreign = [("shop".to_owned(), net("10.91.3.0/24"), None)];
    assert_eq!(clash(pool, &route("10.91.3.0/24"), &foreign).level, Level::Fail);
    for (text, level) in [("20.10.24+dfsg1", Level::Ok), ("27.3.1", Level::Ok), ("19.03.15", Level::Fail), ("20.9.0", Level::Fail), ("", Level::Fail)]
    {
        assert_eq!(version(text).level, level, "{text}");
    }
    let folder = std::path::Path::new("/x");
    for (free, level) in [(1 << 30, Level::Fail), (5 << 30, Level::Warn), (50 << 30, Level::Ok)] {
        assert_eq!(space(folder, Some((free, 100 << 30))).level, level);
    }
}

fn tenant(generation: u64, state: &str, status: Value) -> model::Document {
    let metadata = Metadata { generation: model::Generation(generation), ..Metadata::named(model::DocumentName::new("a").unwrap()) };
    let spec = json!({ "blueprint": "wordpress", "domains": ["a.localhost"], "contact": "a@a.example", "state": state });
    model::Document { kind: Kind::Tenant, metadata, spec, status }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 1 })
}

#[test]
fn a_tenant_is_as_wanted_only_when_everybody_was_told() {
    let ready = json!([condition("Ready", "True")]);
    let judged = |generation, state, status| judge(&tenant(generation, state, status));
    assert_eq!(judged(1, "Active", json!({ "conditions": ready, "observedGeneration": 1, "serving": "Active" })), Standing::Ready);
    let waits = [
        judged(2, "Active", json!({ "conditions": ready, "observedGeneration": 1, "serving": "Active" })),
        judged(1, "Active", json!({ "conditions": ready, "observedGeneration": 1, "serving": "Active", "operation": "op" })),
        judged(1, "Active", json!({ "conditions": ready, "observedGeneration": 1, "serving": "Suspended" })),
        judged(1, "Suspended", json!({ "conditions": ready, "observedGeneration": 1, "serving": "Active" })),
        judged(1, "Active", Value::Null),
        judged(1, "Active", json!({ "conditions": [condition("Ready", "Unknown")], "observedGeneration": 1 })),
    ];
    assert!(waits.iter().all(|s| matches!(s, Standing::Waiting { blocked: false, .. })), "{waits:?}");
    let nowhere = json!({ "conditions": [condition("Placed", "False"), condition("Ready", "False")], "observedGeneration": 1 });
    let unplaced = judged(1, "Active", nowhere.clone());
    assert!(matches!(unplaced, Standing::Waiting { blocked: true, .. }), "{unplaced:?}");
    assert_eq!(judged(1, "Suspended", nowhere), Standing::Ready, "nothing is made for one that was never served");
}

#[test]
fn nobody_waits_for_certificates_nor_is_told_of_them_instead_of_the_cause() {
    let said = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-25T10:00:00Z", "observedGeneration": 1 });
    for (status, reason) in [("False", "AuthorityRefuses"), ("Unknown", "CertificatePending")] {
        let judged = |ready: Value| {
            let conditions = json!([said("CertificatesReady", status, reason), ready]);
            judge(&tenant(1, "Active", json!({ "conditions": conditions, "observedGeneration": 1, "serving": "Active" })))
        };
        assert_eq!(judged(said("Ready", "True", "AsWanted")), Standing::Ready);
        let waits = judged(said("Ready", "False", "CellNotReady"));
        assert!(matches!(&waits, Standing::Waiting { reason, .. } if reason == "CellNotReady"), "{waits:?}");
    }
}
