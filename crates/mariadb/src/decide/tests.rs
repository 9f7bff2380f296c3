use super::*;
use crate::folder::Record;
use crate::sql::Status;
use crate::tests::order;
use galera::Position;
use tokio::time::Instant;

const UUID: &str = "dc7cb716-e8db-11f1-81f1-6eac56098a80";

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// A whole cluster in view 5 with n1 as writer.
fn known() -> Known {
    let history = Position { uuid: UUID.to_owned(), seqno: 2 };
    let members = ["n1", "n2", "n3"].map(name).into();
    let record = Record { history: Some(history), members, writer: Some(name("n1")), ..Record::default() };
    let mut known = Known::new(order(), record);
    let all: Vec<NodeName> = known.names();
    for node in all {
        speaks(&mut known, node.as_str(), 5, &["n1", "n2", "n3"]);
    }
    known
}

fn speaks(known: &mut Known, node: &str, view: u64, members: &[&str]) {
    let members = members.iter().map(|member| known.nodes[&name(member)].address).collect();
    let status = Status {
        primary: true,
        ready: true,
        local_state: 4,
        view,
        position: Position { uuid: UUID.to_owned(), seqno: 10 },
        members,
        queue: 0,
        paused_permille: 0,
    };
    let node = known.nodes.get_mut(&name(node)).unwrap();
    node.container = Container::Running { networks: Vec::new(), image: String::new() };
    node.settled = true;
    node.silent = None;
    node.status = Some((status, Instant::now()));
}

fn falls(known: &mut Known, node: &str, container: Container) {
    let node = known.nodes.get_mut(&name(node)).unwrap();
    node.container = container;
    node.silent = Some(Instant::now());
}

const DEAD: Container = Container::Exited { code: 137, out_of_memory: false };

async fn pass(millis: u64) {
    tokio::time::advance(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_to_do() {
    let known = known();
    pass(60_000).await;
    assert_eq!(decide(&known), []);
}

#[tokio::test(start_paused = true)]
async fn a_dead_writer_is_succeeded_at_once_and_comes_back_after_the_others_went_on() {
    let mut known = known();
    falls(&mut known, "n1", DEAD);
    pass(1).await;
    assert_eq!(decide(&known), [Act::Writer(name("n2"))]);
    speaks(&mut known, "n2", 6, &["n2", "n3"]);
    speaks(&mut known, "n3", 6, &["n2", "n3"]);
    assert_eq!(decide(&known), [Act::Members([name("n2"), name("n3")].into()), Act::Writer(name("n2")), Act::Join(name("n1"))]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_writer_stays_until_the_others_went_on_without_it() {
    let mut known = known();
    let running = known.nodes[&name("n1")].container.clone();
    falls(&mut known, "n1", running);
    pass(3000).await;
    assert_eq!(decide(&known), []);
    speaks(&mut known, "n2", 6, &["n2", "n3"]);
    speaks(&mut known, "n3", 6, &["n2", "n3"]);
    known.record.members = [name("n2"), name("n3")].into();
    assert_eq!(decide(&known), [Act::Writer(name("n2"))]);
    known.writer.node = Some(name("n2"));
    pass(3000).await;
    assert_eq!(decide(&known), [Act::End(name("n1"), "it does not answer and the others went on without it")]);
}

#[tokio::test(start_paused = true)]
async fn a_continued_node_with_an_old_view_is_not_believed() {
    let mut known = known();
    speaks(&mut known, "n2", 6, &["n2", "n3"]);
    speaks(&mut known, "n3", 6, &["n2", "n3"]);
    assert!(decide(&known).contains(&Act::Writer(name("n2"))), "n1 says that it is in sync, in view 5");
}

#[tokio::test(start_paused = true)]
async fn forms_only_when_every_node_is_surely_down() {
    let mut known = known();
    for node in ["n1", "n2", "n3"] {
        falls(&mut known, node, DEAD);
    }
    pass(1).await;
    assert_eq!(decide(&known), [Act::Form]);
    falls(&mut known, "n3", Container::Unknown);
    pass(60_000).await;
    assert_eq!(decide(&known), [], "nobody can say whether n3 runs");
}

#[tokio::test(start_paused = true)]
async fn a_rest_without_a_view_is_ended_and_a_recovering_founder_is_not() {
    let mut known = known();
    falls(&mut known, "n1", DEAD);
    falls(&mut known, "n2", DEAD);
    let rest = known.nodes.get_mut(&name("n3")).unwrap();
    rest.status.as_mut().unwrap().0.primary = false;
    rest.outside = Some(Instant::now());
    known.dark = Some(Instant::now());
    pass(3000).await;
    assert_eq!(decide(&known), []);
    pass(2000).await;
    assert!(matches!(&decide(&known)[..], [Act::End(node, _)] if *node == name("n3")));
    known.nodes.get_mut(&name("n3")).unwrap().begin(true, 0);
    pass(200_000).await;
    assert_eq!(decide(&known), [], "crash recovery takes its time");
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_not_ended_while_bytes_move() {
    let mut known = known();
    known.nodes.get_mut(&name("n3")).unwrap().begin(false, 0);
    speaks(&mut known, "n1", 6, &["n1", "n2"]);
    speaks(&mut known, "n2", 6, &["n1", "n2"]);
    known.record.members = [name("n1"), name("n2")].into();
    for bytes in 1..10 {
        pass(250_000).await;
        assert_eq!(decide(&known), []);
        known.nodes.get_mut(&name("n3")).unwrap().progress = (bytes, Instant::now());
    }
    pass(301_000).await;
    assert!(matches!(&decide(&known)[..], [Act::End(node, _)] if *node == name("n3")));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_holds_all_back_is_ended_before_the_writer() {
    let mut known = known();
    known.writer.stalled = Some(Instant::now());
    pass(9000).await;
    assert_eq!(decide(&known), [Act::End(name("n1"), "its commits hang")]);
    known.nodes.get_mut(&name("n3")).unwrap().status.as_mut().unwrap().0.queue = 100;
    assert_eq!(decide(&known), [Act::End(name("n3"), "it applies nothing and holds all commits back")]);
}

#[tokio::test(start_paused = true)]
async fn nodes_enter_one_at_a_time() {
    let mut known = known();
    for node in ["n2", "n3"] {
        falls(&mut known, node, DEAD);
    }
    speaks(&mut known, "n1", 1, &["n1"]);
    known.record.members = [name("n1")].into();
    pass(1).await;
    assert_eq!(decide(&known), [Act::Join(name("n2"))]);
    known.nodes.get_mut(&name("n2")).unwrap().begin(false, 0);
    pass(1).await;
    assert_eq!(decide(&known), [], "n2 is not in the view yet");
    speaks(&mut known, "n1", 2, &["n1", "n2"]);
    known.record.members = [name("n1"), name("n2")].into();
    assert_eq!(decide(&known), [Act::Join(name("n3"))], "n2 may still receive data");
}
