//! `atoll usage`.

use api::v1::{self, UsageQuery, UsageRow};
use jiff::Timestamp;
use ledger::By;

use super::args::{Usage, UsageBy};
use super::exit::Failure;
use super::output::{RED, YELLOW};
use super::session::Session;
use super::table::{Entry, Table};

/// Shows what tenants took.
pub async fn usage(session: &Session, args: Usage) -> Result<(), Failure> {
    let now = Timestamp::now();
    let by = match args.by {
        Some(UsageBy::Minute) => By::Minute,
        Some(UsageBy::Hour) => By::Hour,
        Some(UsageBy::Tenant) => By::Tenant,
        None if args.tenant.is_some() => By::Minute,
        None => By::Tenant,
    };
    let query = UsageQuery { tenant: args.tenant, since: Some(args.since.moment(now)), until: args.until.map(|until| until.moment(now)), by };
    let usage = session.client.usage(&query).await?;
    session.output.result(&usage, || text(&usage, by));
    Ok(())
}

fn text(usage: &v1::Usage, by: By) -> String {
    if usage.rows.is_empty() {
        return format!("no tenant took anything from {} to {}\n", minute(usage.since), minute(usage.until));
    }
    let first = if by == By::Tenant { "TENANT" } else { "FROM" };
    let mut table = Table::new([first, "REQUESTS", "FAILED", "ERRORS", "CUT", "LIMITED", "SHED", "MEAN MS", "IN MB", "OUT MB", "CPU S"]);
    for UsageRow { from, tenant, counts, .. } in &usage.rows {
        let name = tenant.as_ref().filter(|_| by == By::Tenant).map_or_else(|| minute(*from), ToString::to_string);
        let count = |count: u64, style| if count == 0 { Entry::from("-") } else { Entry::new(count.to_string(), style) };
        let mean = if counts.requests == 0 { "-".to_owned() } else { tenths(counts.busy_us, counts.requests.saturating_mul(1000)) };
        table.row([
            name.into(),
            counts.requests.to_string().into(),
            count(counts.failed, RED),
            count(counts.errors, RED),
            count(counts.cut, YELLOW),
            count(counts.limited, YELLOW),
            count(counts.shed, YELLOW),
            mean.into(),
            tenths(counts.bytes_in, 1_000_000).into(),
            tenths(counts.bytes_out, 1_000_000).into(),
            tenths(counts.cpu_us, 1_000_000).into(),
        ]);
    }
    table.text("")
}

/// A moment, as far as the ledger tells them apart.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// A quotient with one digit behind the point, rounded down.
pub(super) fn tenths(count: u64, of: u64) -> String {
    let tenths = u128::from(count) * 10 / u128::from(of.max(1));
    format!("{}.{}", tenths / 10, tenths % 10)
}
