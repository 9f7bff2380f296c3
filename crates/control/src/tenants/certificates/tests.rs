#![allow(clippy::unwrap_used)]

use super::*;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + days * 86_400).unwrap()
}

fn facts(ends: Option<i64>, asked: bool, failed: Option<CertificateFault>) -> CertificateFacts {
    CertificateFacts { ends: ends.map(at), asked, failed: failed.map(|fault| (fault, "why".into())) }
}

fn said(all: &[CertificateFacts]) -> Option<(ConditionStatus, &'static str, String)> {
    let names: Vec<DomainName> = (0..all.len()).map(|n| DomainName::new(format!("d{n}.org")).unwrap()).collect();
    verdict(&names.iter().zip(all.iter().cloned()).collect::<Vec<_>>(), at(0))
}

#[test]
fn one_domain_by_what_is_known_of_it() {
    use CertificateFault::{Authority, Elsewhere, Forbidden, Limited, Ours, Refused};
    use ConditionStatus::{False, True, Unknown};
    for (ends, asked, failed, wanted) in [
        (None, false, None, None),
        (None, false, Some(Elsewhere), None),
        (None, true, None, Some((Unknown, "CertificatePending"))),
        (None, true, Some(Elsewhere), Some((False, "DomainElsewhere"))),
        (None, true, Some(Forbidden), Some((False, "AuthorityForbidden"))),
        (None, true, Some(Refused), Some((False, "AuthorityRefuses"))),
        (None, true, Some(Limited), Some((False, "AuthorityLimits"))),
        (None, true, Some(Authority), Some((False, "AuthorityUnreachable"))),
        (None, true, Some(Ours), Some((False, "CertificateNotShown"))),
        (Some(60), true, None, Some((True, "AsWanted"))),
        (Some(1), true, None, Some((True, "AsWanted"))),
        (Some(1), false, None, Some((True, "AsWanted"))),
        (Some(20), true, Some(Authority), Some((True, "AsWanted"))),
        (Some(9), true, Some(Authority), Some((False, "CertificateEndsSoon"))),
        (Some(0), true, None, Some((False, "CertificateEnded"))),
        (Some(-1), false, None, Some((False, "CertificateEnded"))),
    ] {
        let said = said(&[facts(ends, asked, failed)]).map(|(status, reason, _)| (status, reason));
        assert_eq!(said, wanted, "{ends:?} {asked} {failed:?}");
    }
    assert_eq!(said(&[]), None);
}

#[test]
fn the_worst_decides_all_causes_are_told_and_names_are_bounded() {
    let mut all = vec![facts(None, true, Some(CertificateFault::Elsewhere)); 5];
    all.push(facts(Some(-3), true, Some(CertificateFault::Forbidden)));
    all.push(facts(None, true, None));
    all.push(facts(Some(60), true, None));
    let (status, reason, message) = said(&all).unwrap();
    assert_eq!((status, reason), (ConditionStatus::False, "CertificateEnded"));
    assert_eq!(
        message,
        "d5.org: the certificate has ended and was not renewed (why); d0.org, d1.org, d2.org and 2 more: no certificate, because the DNS does not lead here (why)"
    );
    assert!([CONDITION, reason].iter().all(|word| !word.is_empty()) && plan::codes::reason(reason).is_some());
}
