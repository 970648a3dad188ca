//! `rds_sd`: the instances of RDS' clusters in one region. An instance is reached where its endpoint is, at the configured port; one
//! that has no endpoint yet is a target without an address.
//!
//! ```text
//! DescribeDBClusters ─▶ each cluster: DescribeDBInstances
//! ```

mod labels;

use std::collections::BTreeMap;

use roxmltree::Node;

use self::labels::{CLUSTER, INSTANCE};
use super::super::super::ask::{Ask, DiscoveryError, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group};
use super::super::super::xml::text;
use super::caller::{Form, Marker, QueryApi, pair, wrong};
use super::labels::{at, listed, set_tags};
use super::{AwsOptions, Caller, Session, bounded};
use crate::scrape::TargetGroup;

const RDS: QueryApi = QueryApi { service: "rds", version: "2014-10-31" };
const MARKER: Marker = ("Marker", "Marker");

/// Most things in a page.
const PAGE: (&str, &str) = ("MaxRecords", "100");

/// See the module.
pub struct Rds {
    session: Session,
    port: u16,
    /// Those to look into, by their ARNs; all if there are none.
    clusters: Vec<String>,
    filters: Vec<(String, Vec<String>)>,
}

/// A cluster, and what its instances take over of it.
struct Cluster {
    arn: String,
    meta: Meta,
    /// Whether an instance writes, by its identifier.
    writers: BTreeMap<String, String>,
}

impl Rds {
    /// The instances of `clusters`, or of all, that `filters`, each a name and its values, let through.
    pub fn new(
        options: AwsOptions,
        port: u16,
        clusters: Vec<String>,
        filters: Vec<(String, Vec<String>)>,
    ) -> Self {
        Rds { session: Session::new(options), port, clusters, filters }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        let clusters = match self.clusters.as_slice() {
            [] => clusters(&caller, "").await?,
            named => {
                let cluster = async |arn: &String| match clusters(&caller, arn).await?.pop() {
                    Some(cluster) => Ok(cluster),
                    None => Err(wrong("DescribeDBClusters", format!("no DB cluster {arn:?}"))),
                };
                caller.each(distinct(named), cluster).await?
            }
        };
        let (filters, port) = (&self.filters, self.port);
        let instances = async |cluster: &Cluster| cluster.instances(&caller, filters, port).await;
        let targets = caller.each(&clusters, instances).await?.concat();
        bounded(targets.len(), "DescribeDBInstances")?;
        Ok(one_group(caller.region, targets))
    }
}

/// The cluster with this ARN, or all if it is empty.
async fn clusters(caller: &Caller<'_>, arn: &str) -> Result<Vec<Cluster>, DiscoveryError> {
    let mut form = vec![pair(PAGE.0, PAGE.1)];
    if !arn.is_empty() {
        form.push(pair("DBClusterIdentifier", arn));
    }
    let page = |root: Node| listed(root, "DBClusters").filter_map(Cluster::of).collect();
    caller.query_pages(RDS, "DescribeDBClusters", MARKER, form, page).await
}

/// Each once, in their order.
fn distinct(names: &[String]) -> impl Iterator<Item = &String> {
    names.iter().enumerate().filter(|(i, name)| !names[..*i].contains(name)).map(|(_, name)| name)
}

impl Cluster {
    /// `None` if it has no ARN to find its instances by.
    fn of(node: Node) -> Option<Self> {
        let arn = text(node, "DBClusterArn").to_owned();
        let mut meta = Meta::new("__meta_rds_");
        CLUSTER.set(&mut meta, "cluster_", node);
        set_tags(&mut meta, "cluster_tag_", node);
        let members = listed(node, "DBClusterMembers");
        let writer = |one| pair(text(one, "DBInstanceIdentifier"), text(one, "IsClusterWriter"));
        (!arn.is_empty()).then(|| Cluster { arn, meta, writers: members.map(writer).collect() })
    }

    async fn instances(
        &self,
        caller: &Caller<'_>,
        filters: &[(String, Vec<String>)],
        port: u16,
    ) -> Result<Vec<BTreeMap<String, String>>, DiscoveryError> {
        let mut form: Form = vec![pair(PAGE.0, PAGE.1)];
        let own = ("db-cluster-id".to_owned(), vec![self.arn.clone()]);
        for (i, (name, values)) in std::iter::once(&own).chain(filters).enumerate() {
            let filter = format!("Filters.Filter.{}", i + 1);
            form.push((format!("{filter}.Name"), name.clone()));
            let value = |(k, value): (usize, &String)| {
                (format!("{filter}.Values.Value.{}", k + 1), value.clone())
            };
            form.extend(values.iter().enumerate().map(value));
        }
        let page = |root: Node| {
            listed(root, "DBInstances").map(|instance| self.target(instance, port)).collect()
        };
        caller.query_pages(RDS, "DescribeDBInstances", MARKER, form, page).await
    }

    fn target(&self, instance: Node, port: u16) -> BTreeMap<String, String> {
        let mut meta = self.meta.clone();
        INSTANCE.set(&mut meta, "instance_", instance);
        set_tags(&mut meta, "instance_tag_", instance);
        let writer = self.writers.get(text(instance, "DBInstanceIdentifier"));
        meta.set_some("instance_is_cluster_writer", writer.cloned());
        let address = at(instance, "Endpoint/Address");
        if address.is_empty() || at(instance, "Endpoint/Port").is_empty() {
            return meta.into_labels();
        }
        meta.at(host_port(address, port))
    }
}

refresh_by!(Rds, list);

#[cfg(test)]
mod tests;
