//! The data port's contract, kept from afar: the suite against a fake behind mutual TLS.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::tests_outside_test_module, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agents, RemoteData, serve};
use data::conformance::{CASES, Subject};
use data::fake::FakeData;
use data::{ClusterOrder, Data as _, DataError, NodeOrder};
use identity::{Ca, Role};
use jiff::Timestamp;
use model::{CellName, Cpu, Epoch, Generation, MachineName, Memory, NodeName, PlatformName, Span};
use tokio_util::sync::CancellationToken;

fn order() -> ClusterOrder {
    let node = |index: usize| NodeOrder { name: NodeName::new(format!("n{index}")).unwrap(), machine: machine() };
    ClusterOrder {
        cell: CellName::new("a").unwrap(),
        membership: Epoch(1),
        generation: Generation(5),
        nodes: (1..=3).map(node).collect(),
        data_network: "10.91.2.0/24".parse().unwrap(),
        app_network: "10.91.3.0/24".parse().unwrap(),
        mariadb_image: "localhost/atoll/mariadb:10.11".to_owned(),
        haproxy_image: "localhost/atoll/haproxy:2.6".to_owned(),
        memory: Memory::mebi(64),
        cpu: Cpu(500),
        connections: 100,
        gtid_domain: 7,
        grace: Span::seconds(60),
    }
}

fn machine() -> MachineName {
    MachineName::new("local").unwrap()
}

/// A CA with the identities of both sides, and a free address.
struct Place {
    folder: tempfile::TempDir,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::create_or_open(&folder.path().join("ca"), &PlatformName::new("test").unwrap(), Timestamp::now()).unwrap();
        for (name, role) in [("agent", Role::Agent(machine())), ("control", Role::Control), ("edge", Role::Edge(machine()))] {
            ca.ensure(&folder.path().join(name), &role, None, Timestamp::now()).unwrap();
        }
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        Self { folder, address, stop: CancellationToken::new() }
    }

    async fn serve(&self, data: FakeData) {
        let (address, identity, stop) = (self.address, self.path("agent"), self.stop.clone());
        tokio::spawn(async move { serve(Arc::new(data), address, &identity, stop).await.unwrap() });
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    fn path(&self, role: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(role)
    }

    fn remote(&self, role: &str) -> RemoteData {
        Agents::new(&self.path(role)).unwrap().at(&machine(), self.address)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_case_from_afar() {
    for (name, case) in CASES {
        println!("case {name}");
        let place = Place::new();
        place.serve(FakeData::new(1)).await;
        let remote = Arc::new(place.remote("control"));
        case(&Subject { data: remote, order: order(), patience: Duration::from_secs(60) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_control_is_answered() {
    let place = Place::new();
    place.serve(FakeData::new(1)).await;
    let answer = place.remote("edge").ensure(&order()).await;
    assert!(matches!(answer, Err(DataError::Unreachable(_))), "{answer:?}");
    place.remote("control").ensure(&order()).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_away_is_unreachable() {
    let place = Place::new();
    let answer = place.remote("control").observe(&CellName::new("a").unwrap()).await;
    assert!(matches!(answer, Err(DataError::Unreachable(_))), "{answer:?}");
}
