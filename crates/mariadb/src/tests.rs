//! What the unit tests of this crate share.

use data::{ClusterOrder, NodeOrder};
use model::{Epoch, Generation, Memory, Span};

/// An order of three nodes.
pub(crate) fn order() -> ClusterOrder {
    ClusterOrder {
        cell: "c1".parse().unwrap(),
        membership: Epoch(1),
        generation: Generation(1),
        nodes: ["n1", "n2", "n3"].map(|name| NodeOrder { name: name.parse().unwrap(), machine: "local".parse().unwrap() }).to_vec(),
        data_network: "10.92.0.0/24".parse().unwrap(),
        app_network: "10.92.1.0/24".parse().unwrap(),
        mariadb_image: "localhost/atoll/mariadb:10.11".to_owned(),
        haproxy_image: "localhost/atoll/haproxy:2.6".to_owned(),
        memory: Memory::mebi(64),
        cpu: model::Cpu(1000),
        connections: 40,
        gtid_domain: 7,
        grace: Span::seconds(60),
    }
}
