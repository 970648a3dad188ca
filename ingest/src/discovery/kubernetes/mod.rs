//! `kubernetes_sd`: the objects of a cluster, kept by list and watch, and the target groups that follow from them.
//!
//! ```text
//! lists, then events --> Cluster::{list_*, event} --> stores, which groups are affected --> Cluster::groups
//! ```
//!
//! A role makes a group of each object of its *primary* kind. Other kinds only add labels: a service to its endpoints, a
//! node to its pods. When one of those changes, the groups of its namespace (of all namespaces for a node) are made anew.
//! Groups are given once every kind was listed, so that none comes without the labels of others.

mod behind;
mod labels;
mod objects;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::scrape::TargetGroup;
use objects::{EndpointSlice, Endpoints, Ingress, Node, ObjectMeta, Plain, Pod, Service};

/// What becomes targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Kubelets.
    Node,
    /// Ports of services.
    Service,
    /// Ports of containers.
    Pod,
    /// Addresses behind services.
    Endpoints,
    /// The same, from the newer objects.
    EndpointSlice,
    /// Paths of ingresses.
    Ingress,
}

/// What is added to targets from other objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are the switches of a configuration file")]
pub struct Attach {
    /// The node's metadata.
    pub node: bool,
    /// The namespace's metadata.
    pub namespace: bool,
    /// The deployment's name.
    pub deployment: bool,
    /// The job's name.
    pub job: bool,
    /// The cron job's name.
    pub cron_job: bool,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are Kubernetes' own")]
pub enum Kind {
    Node,
    Namespace,
    Service,
    Pod,
    Endpoints,
    EndpointSlice,
    Ingress,
    ReplicaSet,
    Job,
}

/// Where each kind is found: the API group, the plural, whether it lives in namespaces, its role in selectors and metrics.
const KINDS: [(Kind, &str, &str, bool, &str); 9] = [
    (Kind::Node, "/api/v1", "nodes", false, "node"),
    (Kind::Namespace, "/api/v1", "namespaces", false, "namespace"),
    (Kind::Service, "/api/v1", "services", true, "service"),
    (Kind::Pod, "/api/v1", "pods", true, "pod"),
    (Kind::Endpoints, "/api/v1", "endpoints", true, "endpoints"),
    (Kind::EndpointSlice, "/apis/discovery.k8s.io/v1", "endpointslices", true, "endpointslice"),
    (Kind::Ingress, "/apis/networking.k8s.io/v1", "ingresses", true, "ingress"),
    (Kind::ReplicaSet, "/apis/apps/v1", "replicasets", true, "replicaset"),
    (Kind::Job, "/apis/batch/v1", "jobs", true, "job"),
];

impl Kind {
    fn row(self) -> &'static (Kind, &'static str, &'static str, bool, &'static str) {
        KINDS.iter().find(|row| row.0 == self).expect("every kind has a row")
    }

    /// The path of the objects of `namespace`; of all if it is empty.
    pub fn path(self, namespace: &str) -> String {
        let (_, group, plural, namespaced, _) = self.row();
        if *namespaced && !namespace.is_empty() {
            format!("{group}/namespaces/{namespace}/{plural}")
        } else {
            format!("{group}/{plural}")
        }
    }

    /// Whether objects of the kind live in namespaces.
    pub fn is_namespaced(self) -> bool {
        self.row().3
    }

    /// The name of the kind in selectors and metrics.
    pub fn role(self) -> &'static str {
        self.row().4
    }
}

impl Role {
    /// The kind whose objects become groups.
    pub fn primary(self) -> Kind {
        match self {
            Role::Node => Kind::Node,
            Role::Service => Kind::Service,
            Role::Pod => Kind::Pod,
            Role::Endpoints => Kind::Endpoints,
            Role::EndpointSlice => Kind::EndpointSlice,
            Role::Ingress => Kind::Ingress,
        }
    }

    /// What the sources of its groups begin with.
    fn source_prefix(self) -> &'static str {
        match self {
            Role::Service => "svc",
            other => other.primary().role(),
        }
    }
}

/// Objects of one kind by `namespace/name`, or by name.
type Store<T> = BTreeMap<String, T>;

/// All objects.
#[derive(Debug, Default)]
struct Stores {
    nodes: Store<Node>,
    namespaces: Store<Plain>,
    services: Store<Service>,
    pods: Store<Pod>,
    endpoints: Store<Endpoints>,
    slices: Store<EndpointSlice>,
    ingresses: Store<Ingress>,
    replica_sets: Store<Plain>,
    jobs: Store<Plain>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is there, new or changed.
    Applied,
    /// It is gone.
    Deleted,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An object is new.
    Added,
    /// An object is another one now.
    Updated,
    /// An object is gone.
    Removed,
}

/// The objects that one configuration asks for, and what follows from them. See the module.
#[derive(Debug)]
pub struct Cluster {
    role: Role,
    attach: Attach,
    stores: Stores,
    /// Kinds and namespaces that were not listed yet.
    unlisted: BTreeSet<(Kind, String)>,
    /// What the lists under way have brought so far.
    listing: BTreeMap<(Kind, String), BTreeSet<String>>,
    /// Keys of the primary objects whose group is to be made anew.
    affected: BTreeSet<String>,
}

/// The metadata of an object that may be of any kind.
#[derive(Deserialize)]
struct Named {
    metadata: ObjectMeta,
}

impl Cluster {
    /// Nothing is known yet. `namespaces` are those to look into; one empty name is all.
    pub fn new(role: Role, attach: Attach, namespaces: &[String]) -> Self {
        let mut kinds = vec![role.primary()];
        if matches!(role, Role::Endpoints | Role::EndpointSlice) {
            kinds.extend([Kind::Service, Kind::Pod]);
        }
        let with_pods = kinds.contains(&Kind::Pod);
        let others = [
            (attach.node && with_pods, Kind::Node),
            (attach.namespace && role != Role::Node, Kind::Namespace),
            (attach.deployment && with_pods, Kind::ReplicaSet),
            ((attach.job || attach.cron_job) && with_pods, Kind::Job),
        ];
        kinds.extend(others.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| *kind));
        let mut unlisted = BTreeSet::new();
        for kind in kinds {
            if kind.is_namespaced() {
                unlisted.extend(namespaces.iter().map(|namespace| (kind, namespace.clone())));
            } else {
                unlisted.insert((kind, String::new()));
            }
        }
        let (stores, affected) = (Stores::default(), BTreeSet::new());
        Cluster { role, attach, stores, unlisted, listing: BTreeMap::new(), affected }
    }

    /// The kinds to list and watch, each with the namespace; asked before anything was listed.
    pub fn wanted(&self) -> Vec<(Kind, String)> {
        self.unlisted.iter().cloned().collect()
    }

    /// A list of the objects of a kind in a namespace begins.
    pub fn list_begins(&mut self, kind: Kind, namespace: &str) {
        self.listing.insert((kind, namespace.to_owned()), BTreeSet::new());
    }

    /// Some of its objects; gives what changed.
    pub fn list_page(
        &mut self,
        kind: Kind,
        namespace: &str,
        items: &[serde_json::Value],
    ) -> Result<Vec<Change>, String> {
        let place = (kind, namespace.to_owned());
        let mut listed = self.listing.remove(&place).unwrap_or_default();
        let mut changes = Vec::new();
        for item in items {
            let key = key_of(kind, item)?;
            changes.extend(self.store(kind, &key, Some(item))?);
            listed.insert(key);
        }
        self.listing.insert(place, listed);
        Ok(changes)
    }

    /// That was all: what is missing in the list is gone. Gives what changed.
    pub fn list_ends(&mut self, kind: Kind, namespace: &str) -> Result<Vec<Change>, String> {
        let place = (kind, namespace.to_owned());
        let listed = self.listing.remove(&place).unwrap_or_default();
        let mut changes = Vec::new();
        for key in self.keys(kind, namespace).difference(&listed) {
            changes.extend(self.store(kind, key, None)?);
        }
        self.unlisted.remove(&place);
        Ok(changes)
    }

    /// Something happened to an object; gives what it did, if anything that matters.
    pub fn event(
        &mut self,
        kind: Kind,
        event: Event,
        object: &serde_json::Value,
    ) -> Result<Option<Change>, String> {
        let key = key_of(kind, object)?;
        self.store(kind, &key, (event == Event::Applied).then_some(object))
    }

    /// The groups that are other ones since the last call; one without targets is gone. None before all was listed.
    pub fn groups(&mut self) -> Vec<TargetGroup> {
        if !self.unlisted.is_empty() {
            return Vec::new();
        }
        let affected = std::mem::take(&mut self.affected);
        affected.iter().map(|key| self.group(key)).collect()
    }

    /// How many objects are kept.
    pub fn len(&self) -> usize {
        let s = &self.stores;
        let plain = s.namespaces.len() + s.replica_sets.len() + s.jobs.len();
        let behind = s.services.len() + s.endpoints.len() + s.slices.len() + s.ingresses.len();
        plain + behind + s.nodes.len() + s.pods.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn group(&self, key: &str) -> TargetGroup {
        let (stores, attach) = (&self.stores, self.attach);
        let source = format!("{}/{key}", self.role.source_prefix());
        let empty = TargetGroup { source: source.clone(), ..TargetGroup::default() };
        let made = match self.role {
            Role::Node => stores.nodes.get(key).map(|o| roles::node(source, o)),
            Role::Pod => stores.pods.get(key).map(|o| roles::pod(source, o, stores, attach)),
            Role::Service => {
                stores.services.get(key).map(|o| roles::service(source, o, stores, attach))
            }
            Role::Ingress => {
                stores.ingresses.get(key).map(|o| roles::ingress(source, o, stores, attach))
            }
            Role::Endpoints => {
                stores.endpoints.get(key).map(|o| behind::endpoints(source, o, stores, attach))
            }
            Role::EndpointSlice => {
                stores.slices.get(key).map(|o| behind::slice(source, o, stores, attach))
            }
        };
        made.unwrap_or(empty)
    }

    /// The keys of a kind in a namespace.
    fn keys(&self, kind: Kind, namespace: &str) -> BTreeSet<String> {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let s = &self.stores;
        let all: Vec<&String> = match kind {
            Kind::Node => of(&s.nodes),
            Kind::Namespace => of(&s.namespaces),
            Kind::Service => of(&s.services),
            Kind::Pod => of(&s.pods),
            Kind::Endpoints => of(&s.endpoints),
            Kind::EndpointSlice => of(&s.slices),
            Kind::Ingress => of(&s.ingresses),
            Kind::ReplicaSet => of(&s.replica_sets),
            Kind::Job => of(&s.jobs),
        };
        all.into_iter().filter(|key| key.starts_with(&prefix)).cloned().collect()
    }

    /// Keeps or forgets an object, and notes which groups that affects.
    fn store(
        &mut self,
        kind: Kind,
        key: &str,
        object: Option<&serde_json::Value>,
    ) -> Result<Option<Change>, String> {
        let s = &mut self.stores;
        let change = match kind {
            Kind::Node => put(&mut s.nodes, key, object),
            Kind::Namespace => put(&mut s.namespaces, key, object),
            Kind::Service => put(&mut s.services, key, object),
            Kind::Pod => put(&mut s.pods, key, object),
            Kind::Endpoints => put(&mut s.endpoints, key, object),
            Kind::EndpointSlice => put(&mut s.slices, key, object),
            Kind::Ingress => put(&mut s.ingresses, key, object),
            Kind::ReplicaSet => put(&mut s.replica_sets, key, object),
            Kind::Job => put(&mut s.jobs, key, object),
        }?;
        if change.is_some() {
            self.note(kind, key);
        }
        Ok(change)
    }

    fn note(&mut self, kind: Kind, key: &str) {
        let primary = self.role.primary();
        if kind == primary {
            self.affected.insert(key.to_owned());
            return;
        }
        let namespace = match kind {
            Kind::Node => "",
            Kind::Namespace => key,
            _ => key.split_once('/').map_or("", |(namespace, _)| namespace),
        };
        let keys = self.keys(primary, namespace);
        if kind == Kind::Node && self.role == Role::Pod {
            let on_node =
                |pod: &String| self.stores.pods.get(pod).is_some_and(|p| p.spec.node == key);
            self.affected.extend(keys.into_iter().filter(on_node));
        } else {
            self.affected.extend(keys);
        }
    }
}

fn of<T>(store: &Store<T>) -> Vec<&String> {
    store.keys().collect()
}

fn key_of(kind: Kind, object: &serde_json::Value) -> Result<String, String> {
    let Named { metadata } = Named::deserialize(object).map_err(|e| format!("{kind:?}: {e}"))?;
    if metadata.name.is_empty() {
        return Err(format!("{kind:?} without a name"));
    }
    Ok(if kind.is_namespaced() {
        format!("{}/{}", metadata.namespace, metadata.name)
    } else {
        metadata.name
    })
}

fn put<T: DeserializeOwned + PartialEq>(
    store: &mut Store<T>,
    key: &str,
    object: Option<&serde_json::Value>,
) -> Result<Option<Change>, String> {
    let Some(object) = object else { return Ok(store.remove(key).map(|_| Change::Removed)) };
    let new = T::deserialize(object).map_err(|e| format!("{key}: {e}"))?;
    match store.get_mut(key) {
        Some(old) if *old == new => Ok(None),
        Some(old) => {
            *old = new;
            Ok(Some(Change::Updated))
        }
        None => {
            store.insert(key.to_owned(), new);
            Ok(Some(Change::Added))
        }
    }
}

#[cfg(test)]
mod tests;
