//! What tenants took, over the socket.

use api::v1::UsageQuery;
use jiff::{SignedDuration, Timestamp};
use ledger::{By, Counts, Grain, Ledger as _, Report, Row, Span};
use model::TenantName;

use super::{House, refusal};

fn counts(requests: u64) -> Counts {
    Counts { requests, answered: requests, ..Counts::default() }
}

#[tokio::test]
async fn usage_is_told_by_time_and_by_tenant() {
    let house = House::open().await;
    let now = Timestamp::now();
    let ago = |minutes: i64| now.as_second() - 60 * minutes;
    let name = |name: &str| TenantName::new(name).unwrap();
    let row = |minutes, tenant, n| Row { span: Span::at(ago(minutes), Grain::Minute), tenant: name(tenant), counts: counts(n) };
    let rows = vec![row(3, "alpha", 1), row(3, "beta", 2), row(2, "alpha", 4), row(180, "alpha", 8)];
    let report = Report { incarnation: "i".to_owned(), sequence: 1, from: 0, to: 0, rows, lost: 0 };
    house.ledger.take("e1", &report, now.as_second()).unwrap();
    let requests = async |query: UsageQuery| {
        let usage = house.client.usage(&query).await.unwrap();
        usage.rows.into_iter().map(|row| (row.tenant.map(|tenant| tenant.to_string()), row.counts.requests)).collect::<Vec<_>>()
    };
    let (alpha, beta) = (Some("alpha".to_owned()), Some("beta".to_owned()));
    let by_tenant = UsageQuery { by: By::Tenant, ..UsageQuery::default() };
    assert_eq!(requests(by_tenant.clone()).await, [(alpha.clone(), 5), (beta, 2)], "the last hour");
    let day = UsageQuery { since: Some(now - SignedDuration::from_hours(24)), tenant: Some(name("alpha")), ..by_tenant };
    assert_eq!(requests(day.clone()).await, [(alpha.clone(), 13)]);
    let minutes = UsageQuery { by: By::Minute, ..day };
    assert_eq!(requests(minutes).await, [(alpha.clone(), 8), (alpha.clone(), 1), (alpha, 4)]);
    assert_eq!(requests(UsageQuery { by: By::Minute, ..UsageQuery::default() }).await, [(None, 3), (None, 4)]);
    let backwards = UsageQuery { since: Some(now), until: Some(now), ..UsageQuery::default() };
    assert_eq!(refusal(house.client.usage(&backwards).await).0, 400);
}
