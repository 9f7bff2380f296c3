#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::sync::Arc;

use model::{Cpu, Epoch, MachineName, Memory, Sensitive, Span};

use super::*;
use crate::NodeOrder;
use crate::conformance::{CASES, Subject, run_all};

fn order(nodes: usize) -> ClusterOrder {
    let node = |index: usize| NodeOrder { name: NodeName::new(format!("n{index}")).unwrap(), machine: MachineName::new("local").unwrap() };
    ClusterOrder {
        cell: CellName::new("a").unwrap(),
        membership: Epoch(1),
        generation: Generation(5),
        nodes: (1..=nodes).map(node).collect(),
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

fn subject(data: FakeData, nodes: usize) -> Subject {
    Subject { data: Arc::new(data), order: order(nodes), patience: Duration::from_secs(60) }
}

#[tokio::test(start_paused = true)]
async fn each_case_alone() {
    for (name, case) in CASES {
        println!("case {name}");
        case(&subject(FakeData::new(1), 3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_cases_on_one_cluster() {
    run_all(&subject(FakeData::new(1), 3)).await;
    run_all(&subject(FakeData::new(1), 1)).await;
}

#[tokio::test(start_paused = true)]
async fn asking_again_writes_nothing() {
    let data = FakeData::new(1);
    data.ensure(&order(3)).await.unwrap();
    let before = data.writes();
    data.ensure(&order(3)).await.unwrap();
    assert_eq!(data.writes(), before);
}

#[tokio::test(start_paused = true)]
async fn a_lock_ends_sessions() {
    let data = FakeData::new(1);
    let cell = order(3).cell;
    data.ensure(&order(3)).await.unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    let mut tenant = TenantOrder {
        schema: "t_x".to_owned(),
        password: Sensitive::new("p".to_owned()),
        connections: 3,
        access: TenantAccess::Open,
        generation: Generation(1),
    };
    data.tenant(&cell, &tenant).await.unwrap();
    data.connect(&cell, "t_x", 2);
    assert_eq!(data.tenant(&cell, &tenant).await.unwrap().sessions, 2);
    tenant.access = TenantAccess::Locked;
    assert_eq!(data.tenant(&cell, &tenant).await.unwrap().sessions, 0);
    data.connect(&cell, "t_x", 2);
    assert_eq!(data.tenant(&cell, &tenant).await.unwrap().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn faults_come_by_seed_and_a_lost_answer_was_done() {
    let faults = Faults { lost_request: 300, lost_answer: 300, not_now: 100, late_ms: 50 };
    let run = |seed| async move {
        let data = FakeData::with_faults(seed, faults);
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(data.ensure(&order(3)).await.is_ok());
        }
        assert_eq!(data.orders().len(), 1, "seed {seed}: the order arrived in one of 50 tries");
        answers
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}
