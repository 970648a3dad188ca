//! `elasticache_sd`: `ElastiCache`'s nodes of clusters and serverless caches in one region, each where its endpoint is.
//!
//! ```text
//! DescribeServerlessCaches ─┬▶ each cache: ListTagsForResource
//! DescribeCacheClusters ────┘
//! ```
//!
//! Clusters are asked for twice, within and without replication groups, since a cluster may be told in one answer only. Which caches
//! are wanted is told by ARNs; a kind of which none is named is listed whole, as in Prometheus, and an ARN of neither kind is passed
//! over.

mod labels;

use std::collections::BTreeSet;

use roxmltree::Node;

use self::labels::{CLUSTER, LOG_DELIVERY, NODE, SECURITY_GROUP, SERVERLESS};
use super::super::super::ask::{Ask, DiscoveryError, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group};
use super::super::super::xml::{child, text};
use super::caller::{Marker, QueryApi, pair};
use super::labels::{at, listed, set_tags};
use super::{AwsOptions, Caller, Session, bounded};
use crate::scrape::TargetGroup;

const ELASTICACHE: QueryApi = QueryApi { service: "elasticache", version: "2015-02-02" };
const MARKER: Marker = ("Marker", "Marker");
const TOKEN: Marker = ("NextToken", "NextToken");

/// See the module.
pub struct Elasticache {
    session: Session,
    /// The ARNs of those to look into.
    caches: Vec<String>,
}

/// A cache, whose tags are not known yet.
struct Cache {
    arn: String,
    /// What its tags' labels begin with.
    tag: &'static str,
    /// Labels and address of each of its targets; no address if there is none yet.
    targets: Vec<(Meta, String)>,
}

impl Elasticache {
    /// The caches that are named by their ARNs, or all.
    pub fn new(options: AwsOptions, caches: Vec<String>) -> Self {
        Elasticache { session: Session::new(options), caches }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        let mut caches = serverless(&caller, &named(&self.caches, "serverlesscache")).await?;
        caches.extend(clusters(&caller, &named(&self.caches, "replicationgroup")).await?);
        let mut known = BTreeSet::new();
        caches.retain(|cache| cache.arn.is_empty() || known.insert(cache.arn.clone()));
        let tags = caller.each(&caches, async |cache: &Cache| cache.tags(&caller).await).await?;
        let mut targets = Vec::new();
        for (cache, tags) in caches.into_iter().zip(tags) {
            targets.extend(cache.targets.into_iter().map(|(mut meta, address)| {
                meta.extend(&tags);
                if address.is_empty() { meta.into_labels() } else { meta.at(address) }
            }));
            bounded(targets.len(), "DescribeCacheClusters")?;
        }
        Ok(one_group(caller.region, targets))
    }
}

/// The names in the ARNs of one kind: `arn:aws:elasticache:region:account:kind:name`.
fn named(arns: &[String], kind: &str) -> Vec<String> {
    let name = |arn: &String| {
        let mut parts = arn.split(':').skip(5);
        let (found, name) = (parts.next()?, parts.next()?);
        (found == kind).then(|| name.to_owned())
    };
    arns.iter().filter_map(name).collect()
}

async fn serverless(caller: &Caller<'_>, names: &[String]) -> Result<Vec<Cache>, DiscoveryError> {
    let list = async |name: Option<&String>| {
        let mut form = vec![pair("MaxResults", "50")];
        form.extend(name.map(|name| pair("ServerlessCacheName", name)));
        let page = |root: Node| listed(root, "ServerlessCaches").map(Cache::serverless).collect();
        caller.query_pages(ELASTICACHE, "DescribeServerlessCaches", TOKEN, form, page).await
    };
    Ok(caller.each(or_all(names), list).await?.into_iter().flatten().collect())
}

async fn clusters(caller: &Caller<'_>, names: &[String]) -> Result<Vec<Cache>, DiscoveryError> {
    let list = async |(name, alone): (Option<&String>, &str)| {
        let mut form = vec![pair("MaxRecords", "100"), pair("ShowCacheNodeInfo", "true")];
        form.push(pair("ShowCacheClustersNotInReplicationGroups", alone));
        form.extend(name.map(|name| pair("CacheClusterId", name)));
        let page = |root: Node| listed(root, "CacheClusters").map(Cache::cluster).collect();
        caller.query_pages(ELASTICACHE, "DescribeCacheClusters", MARKER, form, page).await
    };
    let wanted = or_all(names).into_iter().flat_map(|name| [(name, "false"), (name, "true")]);
    Ok(caller.each(wanted, list).await?.into_iter().flatten().collect())
}

/// Each name, or `None` for all there are.
fn or_all(names: &[String]) -> Vec<Option<&String>> {
    if names.is_empty() { vec![None] } else { names.iter().map(Some).collect() }
}

impl Cache {
    fn serverless(node: Node) -> Self {
        let mut meta = Meta::new("__meta_elasticache_");
        meta.set("deployment_option", "serverless");
        SERVERLESS.set(&mut meta, "serverless_cache_", node);
        for (list, name) in [("SecurityGroupIds", "security_group"), ("SubnetIds", "subnet")] {
            for (i, id) in listed(node, list).enumerate() {
                let id = id.text().unwrap_or_default().trim();
                meta.set(&format!("serverless_cache_{name}_id_{i}"), id);
            }
        }
        let targets = vec![(meta, endpoint(node))];
        Cache { arn: text(node, "ARN").to_owned(), tag: "serverless_cache_tag_", targets }
    }

    fn cluster(node: Node) -> Self {
        let mut meta = Meta::new("__meta_elasticache_");
        meta.set("deployment_option", "node");
        CLUSTER.set(&mut meta, "cache_cluster_", node);
        for (list, labels, name) in [
            ("LogDeliveryConfigurations", LOG_DELIVERY, "log_delivery_configuration"),
            ("SecurityGroups", SECURITY_GROUP, "security_group_membership"),
        ] {
            for (i, one) in listed(node, list).enumerate() {
                for (label, path) in labels {
                    meta.set(&format!("cache_cluster_{name}_{label}_{i}"), at(one, path));
                }
            }
        }
        let pending = child(node, "PendingModifiedValues");
        let removed = pending.into_iter().flat_map(|one| listed(one, "CacheNodeIdsToRemove"));
        let removed: Vec<&str> = removed.filter_map(|id| id.text()).map(str::trim).collect();
        meta.set(
            "cache_cluster_pending_modified_values_cache_node_ids_to_remove",
            removed.join(","),
        );
        let target = |one| {
            let mut meta = meta.clone();
            NODE.set(&mut meta, "cache_cluster_node_", one);
            (meta, endpoint(one))
        };
        Cache {
            arn: text(node, "ARN").to_owned(),
            tag: "cache_cluster_tag_",
            targets: listed(node, "CacheNodes").map(target).collect(),
        }
    }

    /// Its tags as labels; none without an ARN to ask for.
    async fn tags(&self, caller: &Caller<'_>) -> Result<Meta, DiscoveryError> {
        let tags = |root: Node| {
            let mut meta = Meta::new("__meta_elasticache_");
            set_tags(&mut meta, self.tag, root);
            meta
        };
        if self.arn.is_empty() {
            return Ok(Meta::new("__meta_elasticache_"));
        }
        let form = vec![pair("ResourceName", &*self.arn)];
        caller.query(ELASTICACHE, "ListTagsForResource", &form, tags).await
    }
}

/// Where an endpoint is; empty if there is none yet.
fn endpoint(node: Node<'_, '_>) -> String {
    match (at(node, "Endpoint/Address"), at(node, "Endpoint/Port")) {
        ("", _) | (_, "") => String::new(),
        (address, port) => host_port(address, port),
    }
}

refresh_by!(Elasticache, list);

#[cfg(test)]
mod tests;
