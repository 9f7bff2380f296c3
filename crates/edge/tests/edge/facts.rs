//! What tenants take reaches control's ledger once, whatever becomes of the connection.

use ledger::{By, Counts, Ledger, LedgerError, Line, Query, Report, Taken};
use ledger_sqlite::SqliteLedger;

use super::*;

/// What control does with reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    /// Takes it, but the answer does not say so.
    ForgetsToSay,
    Refuses,
}

/// Control's ledger, and what it was told.
pub struct Heard {
    ledger: SqliteLedger,
    reports: Mutex<Vec<Report>>,
    mood: Mutex<Mood>,
}

impl Heard {
    pub fn open(folder: &std::path::Path) -> Self {
        Self { ledger: SqliteLedger::open(&folder.join("ledger.db")).unwrap(), reports: Mutex::default(), mood: Mutex::new(Mood::Takes) }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Everything of everybody.
    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for line in self.usage(&Query { tenant: None, since: 0, until: i64::MAX, by: By::Tenant }).unwrap() {
            assert_eq!(line.tenant.unwrap().as_str(), "acme");
            sum.add(&line.counts);
        }
        sum
    }

    fn said(&self) -> usize {
        self.reports.lock().unwrap().len()
    }
}

impl Ledger for Heard {
    fn take(&self, edge: &str, report: &Report, now: i64) -> Result<Taken, LedgerError> {
        let mood = *self.mood.lock().unwrap();
        let answer = match mood {
            Mood::Takes => self.ledger.take(edge, report, now),
            Mood::ForgetsToSay => self.ledger.take(edge, report, now).and(Err(LedgerError::Unavailable("the test says so".to_owned()))),
            Mood::Refuses => Err(LedgerError::Refused("the test says so".to_owned())),
        };
        // Last: once a test sees it, the mood no longer matters to it.
        self.reports.lock().unwrap().push(report.clone());
        answer
    }

    fn usage(&self, query: &Query) -> Result<Vec<Line>, LedgerError> {
        self.ledger.usage(query)
    }
}

impl World {
    async fn ask(&self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.get("shop.example").await.0, 200);
        }
    }

    /// Requests of the edge's last turn.
    async fn turn(&self) -> u64 {
        let took = edge::client::tenants((self.at, 9090).into()).await.unwrap();
        took.iter().map(|took| took.facts.requests).sum()
    }

    async fn turn_is(&self, wanted: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.turn().await) {
            assert!(Instant::now() < deadline, "no such turn");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A world in which an edge serves a tenant.
async fn serving(address: SocketAddr) -> (World, Running) {
    let world = World::new().await;
    let running = world.start("e1");
    world.ready("e1").await;
    world.control.publish(&[cell("a", 1, &[address])], vec![record("shop.example", "a", 1, RouteState::Open)]);
    let generation = world.control.generation();
    let control = world.control.clone();
    eventually("the route stands", || control.applied.lock().unwrap().iter().any(|(_, word)| word.generation == generation)).await;
    (world, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_whose_answer_was_lost_counts_once_and_what_control_misses_comes_later() {
    let (address, _gate) = gate(|_, _| ok("hello")).await;
    let (world, running) = serving(address).await;
    let heard = world.control.heard.clone();
    heard.is(Mood::ForgetsToSay);
    world.ask(3).await;
    eventually("a report came", || heard.said() > 0).await;
    heard.is(Mood::Takes);
    eventually("it came again", || heard.said() > 1).await;
    {
        let reports = heard.reports.lock().unwrap();
        assert_eq!(reports[0], reports[1], "it is repeated as it was");
    }
    // A turn may have ended between the three.
    eventually("all came", || heard.sum().requests >= 3).await;
    assert_eq!((heard.sum().requests, heard.sum().answered, heard.sum().bytes_out), (3, 3, 15));
    // Control is away for a whole turn of sending.
    world.control_stop.cancel();
    let gone = async {
        while TcpStream::connect(world.control_address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    world.ask(4).await;
    world.turn_is(|requests| requests > 0).await;
    world.turn_is(|requests| requests == 0).await;
    assert_eq!(heard.sum().requests, 3);
    let back = CancellationToken::new();
    world.control_serves(TcpListener::bind(world.control_address).await.unwrap(), back.clone());
    eventually("what control missed came", || heard.sum().requests == 7).await;
    // The last ones go out with the process.
    world.ask(2).await;
    end(running).await;
    let sum = heard.sum();
    assert_eq!((sum.requests, sum.answered, sum.failed, sum.errors, sum.bytes_out), (9, 9, 0, 0, 45));
    back.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_control_refuses_is_lost_and_said() {
    let (address, _gate) = gate(|_, _| ok("hello")).await;
    let (world, running) = serving(address).await;
    let heard = world.control.heard.clone();
    heard.is(Mood::Refuses);
    world.ask(3).await;
    eventually("a report was refused", || heard.said() > 0).await;
    heard.is(Mood::Takes);
    world.ask(2).await;
    end(running).await;
    let reports = heard.reports.lock().unwrap().clone();
    let lost: u64 = reports.iter().skip(1).map(|report| report.lost).max().unwrap();
    assert!(reports[0].lost == 0 && lost > 0, "{reports:?}");
    assert_eq!(heard.sum().requests + lost, 5, "{reports:?}");
}
