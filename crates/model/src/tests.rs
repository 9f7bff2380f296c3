//! Rules of the words.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn domains_have_one_canonical_form() {
    for (spelling, canonical) in
        [("Shop.Example.", "shop.example"), ("BÜCHER.example", "xn--bcher-kva.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example")]
    {
        assert_eq!(DomainName::new(spelling).unwrap().as_str(), canonical);
    }
    for wrong in ["", ".", "a..b", "-a.example", "a_b.example", "10.0.0.1", "[::1]", "a b", "a/b", "ex:80"] {
        assert!(DomainName::new(wrong).is_err(), "{wrong:?} must be refused");
    }
}

#[test]
fn networks_are_written_as_they_are_meant() {
    for text in ["10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32"] {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
    }
    for text in ["", "10.0.0.0", "10.0.0/8", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", " 10.0.0.0/8", "2001:db8::1/32", "example.org/8"] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{text:?} is not a network such as 10.0.0.0/8")), "{error}");
    }
}

#[test]
fn quantities_survive_printing() {
    for text in ["500m", "2"] {
        assert_eq!(text.parse::<Cpu>().unwrap().to_string(), text);
    }
    for text in ["256Mi", "2Gi", "12", "64Ki"] {
        assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
    }
    for text in ["500ms", "30s", "5m", "24h".replace("24h", "1d").as_str()] {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), *text);
    }
    assert!("101%".parse::<Percent>().is_err());
    assert!("5 m".parse::<Span>().is_err());
    assert_eq!(Percent(80).of(200), 160);
}

#[test]
fn names_are_dns_labels() {
    assert!(TenantName::new("alpha-1").is_ok());
    for wrong in ["", "Alpha", "a.b", "-a", "a-", &"a".repeat(64)] {
        assert!(TenantName::new(wrong).is_err(), "{wrong:?} must be refused");
    }
    assert!(DocumentName::new("wordpress.2026.11.1").is_ok());
}

#[test]
fn saying_the_same_again_moves_no_transition_time() {
    let mut conditions = Conditions::default();
    let (first, later): (jiff::Timestamp, jiff::Timestamp) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-02T00:00:00Z".parse().unwrap());
    conditions.set("Ready", ConditionStatus::False, "Waiting", "waits", Generation(1), first);
    conditions.set("Ready", ConditionStatus::False, "Waiting", "waits", Generation(1), later);
    assert_eq!(conditions.get("Ready").unwrap().last_transition_time, first);
    conditions.set("Ready", ConditionStatus::True, "AsWanted", "", Generation(1), later);
    assert_eq!(conditions.get("Ready").unwrap().last_transition_time, later);
}

#[test]
fn secrets_do_not_print() {
    let secret = Sensitive::new("hunter2".to_owned());
    assert_eq!(format!("{secret:?} {secret}"), "*** ***");
}
