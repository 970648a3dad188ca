//! What a node's data say of a member: serversets of Twitter, and Nerve of Airbnb, both in JSON.

use std::collections::BTreeMap;

use super::super::ask::{answer, read_json};
use super::super::meta::{Meta, host_port, sanitized};

/// Whose nodes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// `serverset_sd`.
    Serverset,
    /// `nerve_sd`.
    Nerve,
}

answer! {
    /// A member of a serverset.
    Serverset {
        endpoint: Endpoint = "serviceEndpoint",
        additional: BTreeMap<String, Endpoint> = "additionalEndpoints",
        status: String = "status",
        shard: i64 = "shard",
    }
}

answer! {
    /// Where a member listens.
    Endpoint { host: String = "host", port: i64 = "port", }
}

answer! {
    /// A member of Nerve.
    Nerve { host: String = "host", port: i64 = "port", name: String = "name", }
}

impl Members {
    /// The labels of the target that the node at `path` is; `None` if its data are no member's.
    pub(super) fn target(self, path: &str, data: &[u8]) -> Option<BTreeMap<String, String>> {
        match self {
            Members::Serverset => serverset(path, data),
            Members::Nerve => nerve(path, data),
        }
    }
}

fn serverset(path: &str, data: &[u8]) -> Option<BTreeMap<String, String>> {
    let member: Serverset = read_json(data, &mut 0).ok()?;
    let mut meta = Meta::with(
        "__meta_serverset_",
        [
            ("path", path.to_owned()),
            ("endpoint_host", member.endpoint.host.clone()),
            ("endpoint_port", member.endpoint.port.to_string()),
            ("status", member.status),
            ("shard", member.shard.to_string()),
        ],
    );
    for (name, endpoint) in member.additional {
        let name = sanitized(&name);
        meta.set(&format!("endpoint_host_{name}"), endpoint.host);
        meta.set(&format!("endpoint_port_{name}"), endpoint.port.to_string());
    }
    Some(meta.at(host_port(&member.endpoint.host, member.endpoint.port)))
}

fn nerve(path: &str, data: &[u8]) -> Option<BTreeMap<String, String>> {
    let member: Nerve = read_json(data, &mut 0).ok()?;
    let meta = Meta::with(
        "__meta_nerve_",
        [
            ("path", path.to_owned()),
            ("endpoint_host", member.host.clone()),
            ("endpoint_port", member.port.to_string()),
            ("endpoint_name", member.name),
        ],
    );
    Some(meta.at(host_port(&member.host, member.port)))
}
