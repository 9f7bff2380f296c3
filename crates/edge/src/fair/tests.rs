#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use model::v1alpha1::{ClientLimits, LimitsSpec, TenantLimits};

use super::*;

fn fair(most: usize, default: TenantLimits, client: ClientLimits) -> Arc<Fair> {
    let fair = Fair::new(most);
    fair.set(Classes::new(&LimitsSpec { classes: BTreeMap::from([("default".to_owned(), default)]), client }));
    Arc::new(fair)
}

fn name(text: &str) -> TenantName {
    TenantName::new(text).unwrap()
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[tokio::test]
async fn a_tenant_beyond_its_rate_is_told_when_to_come_back_and_others_are_not_touched() {
    let fair = fair(1000, TenantLimits { requests_per_second: 2, burst: Some(3), ..TenantLimits::default() }, ClientLimits::default());
    let (heavy, light) = (name("heavy"), name("light"));
    for _ in 0..3 {
        drop(fair.enter(heavy.as_str(), None, address(1), Instant::now()).await.unwrap());
    }
    let denied = fair.enter(heavy.as_str(), None, address(1), Instant::now()).await.unwrap_err();
    assert_eq!(denied.reason, Reason::TenantLimited);
    assert!(denied.after > Duration::ZERO && denied.after <= Duration::from_millis(500), "{denied:?}");
    drop(fair.enter(light.as_str(), None, address(1), Instant::now()).await.unwrap());
    let facts: BTreeMap<_, _> = fair.take_facts().into_iter().collect();
    assert_eq!(facts[&heavy].refused, 1);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_number_under_way_wait_in_order_and_not_without_end() {
    let fair = fair(1000, TenantLimits { concurrency: 1, ..TenantLimits::default() }, ClientLimits::default());
    let one = name("one");
    let first = fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap();
    let second = tokio::spawn({
        let (fair, one) = (fair.clone(), one.clone());
        async move { fair.enter(one.as_str(), None, address(2), Instant::now()).await.map(drop) }
    });
    tokio::task::yield_now().await;
    // One may wait, as many as may be under way; the next is refused at once.
    let before = tokio::time::Instant::now();
    assert_eq!(fair.enter(one.as_str(), None, address(3), Instant::now()).await.unwrap_err().reason, Reason::TenantLimited);
    assert_eq!(before.elapsed(), Duration::ZERO);
    drop(first);
    second.await.unwrap().unwrap();
    // Nobody gives a place up: the one who waits gives up after its moment.
    let _kept = fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap();
    let before = tokio::time::Instant::now();
    assert!(fair.enter(one.as_str(), None, address(2), Instant::now()).await.is_err());
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!(fair.crowd.under_way(), 1);
}

#[tokio::test]
async fn a_crowded_edge_refuses_the_heaviest_first() {
    let fair = fair(8, TenantLimits::default(), ClientLimits::default());
    let (heavy, light) = (name("heavy"), name("light"));
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(fair.enter(heavy.as_str(), None, address(1), Instant::now()).await.unwrap());
    }
    held.push(fair.enter(light.as_str(), None, address(2), Instant::now()).await.unwrap());
    // Six of eight places are taken, by two: an equal share is two, for a third may come.
    assert_eq!(fair.enter(heavy.as_str(), None, address(1), Instant::now()).await.unwrap_err().reason, Reason::Overloaded);
    held.push(fair.enter(light.as_str(), None, address(2), Instant::now()).await.unwrap());
    held.clear();
    assert_eq!((fair.crowd.under_way(), fair.crowd.tenants()), (0, 0));
    drop(fair.enter(heavy.as_str(), None, address(1), Instant::now()).await.unwrap());
}

#[tokio::test]
async fn an_address_and_an_ipv6_network_count_as_one_visitor() {
    let client = ClientLimits { requests_per_second: 1, burst: Some(2) };
    let fair = fair(1000, TenantLimits::default(), client);
    let (one, two) = (name("one"), name("two"));
    let six = |last: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, last]);
    drop(fair.enter(one.as_str(), None, six(1), Instant::now()).await.unwrap());
    drop(fair.enter(two.as_str(), None, six(2), Instant::now()).await.unwrap());
    assert_eq!(fair.enter(one.as_str(), None, six(3), Instant::now()).await.unwrap_err().reason, Reason::ClientLimited);
    drop(fair.enter(one.as_str(), None, IpAddr::from([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1]), Instant::now()).await.unwrap());
    drop(fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap());
}

#[tokio::test]
async fn octets_that_were_used_are_owed() {
    let fair = fair(1000, TenantLimits { bytes_per_second: 1000, ..TenantLimits::default() }, ClientLimits::default());
    let one = name("one");
    let pass = fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap();
    let ended = |up, down| proxy::Ended { status: 200, up, down, took: Duration::ZERO, cut: false };
    pass.ended(&ended(100, 800), By::Cell);
    drop(pass);
    let pass = fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap();
    pass.ended(&ended(0, 10_000), By::Cell);
    drop(pass);
    let denied = fair.enter(one.as_str(), None, address(1), Instant::now()).await.unwrap_err();
    assert_eq!(denied.reason, Reason::TenantLimited);
    assert!(denied.after > Duration::from_secs(8) && denied.after < Duration::from_secs(11), "{denied:?}");
    // A tunnel that took an hour for as much as an hour earns owes nothing at its end.
    let two = name("two");
    let an_hour_ago = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
    let pass = fair.enter(two.as_str(), None, address(1), an_hour_ago).await.unwrap();
    pass.ended(&ended(0, 3_600_000), By::Cell);
    drop(pass);
    fair.enter(two.as_str(), None, address(1), Instant::now()).await.unwrap();
}

#[tokio::test]
async fn idle_tenants_and_addresses_are_forgotten() {
    let fair = fair(1000, TenantLimits::default(), ClientLimits { requests_per_second: 1_000_000, burst: None });
    for number in 0..200 {
        let pass = fair.enter(name(&format!("t{number}")).as_str(), None, address(number), Instant::now()).await.unwrap();
        pass.ended(&proxy::Ended { status: 200, up: 1, down: 2, took: Duration::from_millis(1), cut: false }, By::Cell);
    }
    let facts = fair.take_facts();
    assert_eq!(facts.len(), 200);
    assert_eq!(facts[0].1, Facts { requests: 1, answered: 1, bytes_in: 1, bytes_out: 2, busy_us: 1000, ..Facts::default() });
    assert!(fair.take_facts().is_empty());
    // What one request took is earned again within a microsecond.
    let left = || {
        let tenants: usize = fair.tenants.iter().map(|shard| lock(shard).len()).sum();
        tenants + fair.clients.iter().map(|shard| lock(shard).len()).sum::<usize>()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while left() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} are left", left());
        fair.sweep();
    }
}
