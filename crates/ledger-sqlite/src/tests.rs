#![expect(clippy::unwrap_used, reason = "tests")]

use ledger::Row;
use proptest::prelude::*;

use super::*;

/// Begins a day.
const NOON: i64 = 20_000 * DAY + 12 * HOUR;

fn tenant(n: u8) -> TenantName {
    TenantName::new(format!("t{n}")).unwrap()
}

fn counts(n: u64) -> Counts {
    Counts::of((1..).map(|place| n * place).take(ledger::COLUMNS.len()))
}

fn report(sequence: u64, rows: &[(i64, u8, u64)]) -> Report {
    let row = |(second, name, n): &(i64, u8, u64)| Row { span: Span::at(*second, Grain::Minute), tenant: tenant(*name), counts: counts(*n) };
    Report { incarnation: "i".to_owned(), sequence, from: 0, to: 0, rows: rows.iter().map(row).collect(), lost: 0 }
}

fn ask(by: By, tenant: Option<u8>, since: i64, until: i64) -> Query {
    Query { tenant: tenant.map(self::tenant), since, until, by }
}

fn open() -> (tempfile::TempDir, SqliteLedger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    (folder, ledger)
}

#[test]
fn a_report_counts_once_also_after_a_restart_and_each_edge_by_itself() {
    let (folder, ledger) = open();
    let first = report(1, &[(NOON, 1, 3), (NOON + 59, 1, 4), (NOON + 60, 2, 5)]);
    assert_eq!(ledger.take("e1", &first, NOON).unwrap(), Taken::Counted);
    assert_eq!(ledger.take("e1", &first, NOON).unwrap(), Taken::Known);
    drop(ledger);
    let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
    assert_eq!(ledger.take("e1", &first, NOON).unwrap(), Taken::Known);
    assert_eq!(ledger.take("e2", &first, NOON + 120).unwrap(), Taken::Counted);
    let again = Report { incarnation: "another process".to_owned(), ..first };
    assert_eq!(ledger.take("e1", &again, NOON + 120).unwrap(), Taken::Counted);
    let lines = ledger.usage(&ask(By::Minute, Some(1), NOON, NOON + 1)).unwrap();
    assert_eq!(lines, [Line { from: NOON, to: NOON + 60, tenant: Some(tenant(1)), counts: counts(21) }]);
    let lines = ledger.usage(&ask(By::Tenant, None, NOON, NOON + 300)).unwrap();
    let short: Vec<_> = lines.iter().map(|line| (line.tenant.clone().unwrap(), line.counts)).collect();
    assert_eq!(short, [(tenant(1), counts(21)), (tenant(2), counts(15))]);
}

#[test]
fn what_an_edge_tells_of_the_future_counts_as_now_and_too_long_a_report_as_nothing() {
    let (_folder, ledger) = open();
    ledger.take("e1", &report(1, &[(NOON + DAY, 1, 1)]), NOON).unwrap();
    assert_eq!(ledger.usage(&ask(By::Minute, None, NOON, NOON + 1)).unwrap()[0].counts, counts(1));
    let long = vec![(NOON, 1, 1); MOST_ROWS + 1];
    assert!(matches!(ledger.take("e1", &report(2, &long), NOON), Err(LedgerError::Refused(_))));
    assert!(matches!(ledger.take("", &report(2, &[]), NOON), Err(LedgerError::Refused(_))));
}

#[test]
fn a_file_that_is_no_ledger_is_put_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, b"no database, but longer than the head of one".repeat(100)).unwrap();
    let ledger = SqliteLedger::open(&path).unwrap();
    ledger.take("e1", &report(1, &[(NOON, 1, 1)]), NOON).unwrap();
    assert!(std::fs::read(folder.path().join("ledger.unusable")).unwrap().starts_with(b"no database"));
}

#[test]
fn minutes_become_hours_hours_days_and_days_are_forgotten() {
    let (_folder, ledger) = open();
    ledger.take("e1", &report(1, &[(NOON, 1, 1), (NOON + 60, 1, 2), (NOON + HOUR, 1, 4)]), NOON + HOUR).unwrap();
    let spans = |now: i64| {
        ledger.coarsen(now).unwrap();
        let lines = ledger.usage(&ask(By::Minute, None, 0, i64::MAX)).unwrap();
        lines.iter().map(|line| (line.to - line.from, line.counts.requests)).collect::<Vec<_>>()
    };
    assert_eq!(spans(NOON + DAY), [(60, 1), (60, 2), (60, 4)]);
    assert_eq!(spans(NOON + 2 * DAY + HOUR), [(HOUR, 3), (60, 4)]);
    assert_eq!(spans(NOON + 3 * DAY), [(HOUR, 3), (HOUR, 4)]);
    assert_eq!(spans(NOON + 37 * DAY), [(DAY, 7)]);
    assert_eq!(spans(NOON + 402 * DAY), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn making_time_coarser_changes_no_sum(
        rows in proptest::collection::vec((0..40 * DAY, 0_u8..4, 0_u64..1000), 1..60),
        looks in proptest::collection::vec(0..80 * DAY, 1..6),
    ) {
        let (_folder, ledger) = open();
        let rows: Vec<_> = rows.into_iter().map(|(second, name, n)| (NOON + second, name, n)).collect();
        for (sequence, chunk) in (1..).zip(rows.chunks(7)) {
            prop_assert_eq!(ledger.take(if sequence % 2 == 0 { "e1" } else { "e2" }, &report(sequence, chunk), NOON + 40 * DAY).unwrap(), Taken::Counted);
        }
        let all = ask(By::Tenant, None, 0, i64::MAX);
        let sums = |ledger: &SqliteLedger| {
            ledger.usage(&all).unwrap().into_iter().map(|line| (line.tenant, line.counts)).collect::<Vec<_>>()
        };
        let days = |ledger: &SqliteLedger| {
            (0..42).map(|day| {
                let from = (NOON / DAY + day) * DAY;
                ledger.usage(&ask(By::Hour, None, from, from + DAY)).unwrap().iter().map(|line| line.counts.requests).sum::<u64>()
            }).collect::<Vec<_>>()
        };
        let before = (sums(&ledger), days(&ledger));
        for look in looks {
            ledger.coarsen(NOON + look).unwrap();
            prop_assert_eq!(&(sums(&ledger), days(&ledger)), &before);
        }
    }
}
