//! Any objects of Kubernetes become groups or are refused, in every role; an object that is gone leaves nothing.
//!
//! The input is JSON documents, one after the other: the first is an object of the role's kind, those that follow are of any kind.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run kubernetes fuzz/seeds/kubernetes -- -max_total_time=300 -max_len=2048
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidemark_ingest::discovery::kubernetes::{Attach, Cluster, Event, Role};

const ROLES: [Role; 6] = [
    Role::Node,
    Role::Service,
    Role::Pod,
    Role::Endpoints,
    Role::EndpointSlice,
    Role::Ingress,
];

const ALL: Attach =
    Attach { node: true, namespace: true, deployment: true, job: true, cron_job: true };

fuzz_target!(|bytes: &[u8]| {
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let documents: Vec<Value> = documents.map_while(Result::ok).collect();
    for role in ROLES {
        let mut cluster = Cluster::new(role, ALL, &[]);
        let wanted = cluster.wanted();
        for (kind, namespace) in &wanted {
            cluster.list_begins(*kind, namespace);
            let _ = cluster.list_ends(*kind, namespace);
        }
        for (i, document) in documents.iter().enumerate() {
            let _ = cluster.event(wanted[i % wanted.len()].0, Event::Applied, document);
        }
        for target in cluster.groups().into_iter().flat_map(|group| group.targets) {
            assert!(target.contains_key("__address__"));
        }
        for (i, document) in documents.iter().enumerate() {
            let _ = cluster.event(wanted[i % wanted.len()].0, Event::Deleted, document);
        }
        assert!(cluster.groups().iter().all(|group| group.targets.is_empty()));
    }
});
