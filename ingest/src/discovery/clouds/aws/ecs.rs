//! ECS: the tasks of one region's clusters. A task is reached at its own network interface, or at that of the instance it runs on.
//!
//! ```text
//! ListClusters ─▶ DescribeClusters
//! each cluster:   ListServices ─▶ DescribeServices
//!                 ListTasks ─▶ DescribeTasks ─┬▶ DescribeContainerInstances ─▶ EC2 DescribeInstances
//!                                             └▶ EC2 DescribeNetworkInterfaces: their public addresses
//! ```
//!
//! Whatever fails fails the refresh, so that a cluster keeps its targets.

use std::collections::BTreeMap;

use http::HeaderValue;
use roxmltree::Node;
use serde_json::{Value, json};

use super::super::super::ask::{
    Answer, Ask, DiscoveryError, answer, post, post_form, read_json, refresh_by,
};
use super::super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::super::xml::{self, child, text};
use super::ec2::{VERSION, items};
use super::sigv4::TARGET;
use super::{AwsOptions, Session};
use crate::limits::{DISCOVERY_PAGES_MAX, DISCOVERY_TARGETS_MAX};
use crate::scrape::TargetGroup;

const API: &str = "AmazonEC2ContainerServiceV20141113";

/// How many things one request may name; services are fewer.
const NAMED_MAX: usize = 100;
const SERVICES_NAMED_MAX: usize = 10;

/// What a task's group begins with if a service runs it.
const OF_SERVICE: &str = "service:";

/// See the module.
pub struct Ecs {
    session: Session,
    /// For the instances and interfaces of tasks.
    instances: Session,
    port: u16,
    /// Those to look into; all if there are none.
    clusters: Vec<String>,
    /// JSON values read in this refresh.
    values: usize,
}

answer! {
    /// Some names, and how it goes on.
    Arns {
        clusters: Vec<String> = "clusterArns",
        services: Vec<String> = "serviceArns",
        tasks: Vec<String> = "taskArns",
        next: String = "nextToken",
    }
}

answer! {
    /// What names stand for.
    Described {
        clusters: Vec<Cluster> = "clusters",
        services: Vec<Service> = "services",
        tasks: Vec<Task> = "tasks",
        containers: Vec<Container> = "containerInstances",
    }
}

answer! {
    /// A cluster.
    Cluster { arn: String = "clusterArn", name: String = "clusterName", tags: Vec<Tag> = "tags", }
}

answer! {
    /// A service.
    Service {
        arn: String = "serviceArn",
        name: String = "serviceName",
        status: String = "status",
        tags: Vec<Tag> = "tags",
    }
}

answer! {
    /// A task.
    Task {
        arn: String = "taskArn",
        definition: String = "taskDefinitionArn",
        group: String = "group",
        zone: String = "availabilityZone",
        desired: String = "desiredStatus",
        last: String = "lastStatus",
        health: String = "healthStatus",
        launch: String = "launchType",
        family: String = "platformFamily",
        version: String = "platformVersion",
        container: String = "containerInstanceArn",
        attachments: Vec<Attachment> = "attachments",
        tags: Vec<Tag> = "tags",
    }
}

answer! {
    /// What a task is attached to.
    Attachment { kind: String = "type", details: Vec<Detail> = "details", }
}

answer! {
    /// A property of it.
    Detail { name: String = "name", value: String = "value", }
}

answer! {
    /// An instance as a cluster sees it.
    Container { arn: String = "containerInstanceArn", instance: String = "ec2InstanceId", }
}

answer! {
    /// A tag.
    Tag { key: String = "key", value: Option<String> = "value", }
}

/// An instance as EC2 sees it.
#[derive(Default)]
struct Host {
    private: String,
    public: String,
    subnet: String,
    kind: String,
    tags: Vec<(String, String)>,
}

/// What the tasks of a cluster have in common.
struct Around {
    region: String,
    cluster: Cluster,
    services: Vec<Service>,
    /// The instance of each container instance.
    instances: BTreeMap<String, String>,
    hosts: BTreeMap<String, Host>,
    /// Public addresses by network interface.
    public: BTreeMap<String, String>,
}

impl Task {
    /// A property of its own network interface; `None` if it has no such interface, empty if that does not say.
    fn interface(&self, name: &str) -> Option<&str> {
        let attached = self.attachments.iter().find(|a| a.kind == "ElasticNetworkInterface")?;
        let detail = attached.details.iter().find(|detail| detail.name == name);
        Some(detail.map_or("", |detail| &detail.value))
    }
}

impl Ecs {
    /// The tasks of `clusters`, or of all.
    pub fn new(options: AwsOptions, port: u16, clusters: Vec<String>) -> Self {
        let ec2 = AwsOptions { endpoint: String::new(), ..options.clone() };
        let (session, instances) = (Session::new(options), Session::new(ec2));
        Ecs { session, instances, port, clusters, values: 0 }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        self.values = 0;
        let region = self.session.region(ask).await?;
        let names = match self.clusters.as_slice() {
            [] => self.arns(ask, "ListClusters", "").await?,
            named => named.to_vec(),
        };
        let question = json!({ "include": ["TAGS"] });
        let described =
            self.describe(ask, "DescribeClusters", question, "clusters", &names).await?;
        let mut targets = Vec::new();
        for cluster in described.into_iter().flat_map(|described| described.clusters) {
            targets.extend(self.of_cluster(ask, &region, cluster).await?);
            if targets.len() > DISCOVERY_TARGETS_MAX {
                let reason = format!("more than {DISCOVERY_TARGETS_MAX} targets");
                return Err(DiscoveryError::Answer { url: "DescribeTasks".to_owned(), reason });
            }
        }
        Ok(one_group(region, targets))
    }

    async fn of_cluster(
        &mut self,
        ask: &dyn Ask,
        region: &str,
        cluster: Cluster,
    ) -> Result<Vec<BTreeMap<String, String>>, DiscoveryError> {
        let arn = cluster.arn.clone();
        let tasks = self.arns(ask, "ListTasks", &arn).await?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let services = self.arns(ask, "ListServices", &arn).await?;
        let tagged = json!({ "cluster": arn, "include": ["TAGS"] });
        let services =
            self.describe(ask, "DescribeServices", tagged.clone(), "services", &services).await?;
        let tasks = self.describe(ask, "DescribeTasks", tagged, "tasks", &tasks).await?;
        let tasks: Vec<Task> = tasks.into_iter().flat_map(|described| described.tasks).collect();
        let containers = distinct(tasks.iter().map(|task| task.container.as_str()));
        let question = json!({ "cluster": arn });
        let name = "containerInstances";
        let containers =
            self.describe(ask, "DescribeContainerInstances", question, name, &containers).await?;
        let containers = containers.into_iter().flat_map(|described| described.containers);
        let instances: BTreeMap<String, String> =
            containers.map(|container| (container.arn, container.instance)).collect();
        let interfaces =
            distinct(tasks.iter().filter_map(|task| task.interface("networkInterfaceId")));
        let around = Around {
            region: region.to_owned(),
            cluster,
            services: services.into_iter().flat_map(|described| described.services).collect(),
            hosts: self.hosts(ask, &distinct(instances.values().map(String::as_str))).await?,
            public: self.public_addresses(ask, &interfaces).await?,
            instances,
        };
        Ok(tasks.into_iter().filter_map(|task| around.target(task, self.port)).collect())
    }

    /// All names of a list.
    async fn arns(
        &mut self,
        ask: &dyn Ask,
        action: &str,
        cluster: &str,
    ) -> Result<Vec<String>, DiscoveryError> {
        let (mut all, mut question) = (Vec::new(), json!({ "maxResults": NAMED_MAX }));
        if !cluster.is_empty() {
            question["cluster"] = cluster.into();
        }
        for _ in 0..DISCOVERY_PAGES_MAX {
            let page: Arns = self.call(ask, action, &question).await?;
            all.extend(page.clusters.into_iter().chain(page.services).chain(page.tasks));
            if page.next.is_empty() {
                return Ok(all);
            }
            question["nextToken"] = page.next.into();
        }
        let reason = format!("more than {DISCOVERY_PAGES_MAX} pages");
        Err(DiscoveryError::Answer { url: action.to_owned(), reason })
    }

    /// What `names` stand for, asked for in as many requests as it takes.
    async fn describe(
        &mut self,
        ask: &dyn Ask,
        action: &str,
        mut question: Value,
        field: &str,
        names: &[String],
    ) -> Result<Vec<Described>, DiscoveryError> {
        let most = if field == "services" { SERVICES_NAMED_MAX } else { NAMED_MAX };
        let mut all = Vec::new();
        for some in names.chunks(most) {
            question[field] = json!(some);
            all.push(self.call(ask, action, &question).await?);
        }
        Ok(all)
    }

    async fn call<T: Answer>(
        &mut self,
        ask: &dyn Ask,
        action: &str,
        question: &Value,
    ) -> Result<T, DiscoveryError> {
        let wrong = |reason| DiscoveryError::Answer { url: action.to_owned(), reason };
        let target = HeaderValue::from_str(&format!("{API}.{action}"));
        let target = target.map_err(|e| wrong(e.to_string()))?;
        let request = |url: &str| {
            let mut request = post(url, "application/x-amz-json-1.1", question.to_string())?;
            request.headers_mut().insert(TARGET, target);
            Ok(request)
        };
        let answer = self.session.send(ask, "ecs", request).await?;
        read_json(answer.body(), &mut self.values).map_err(wrong)
    }

    /// Instances, by their names.
    async fn hosts(
        &mut self,
        ask: &dyn Ask,
        names: &[String],
    ) -> Result<BTreeMap<String, Host>, DiscoveryError> {
        let mut hosts = BTreeMap::new();
        self.query(ask, "DescribeInstances", "InstanceId", names, |root| {
            let instances =
                items(root, "reservationSet").flat_map(|one| items(one, "instancesSet"));
            hosts.extend(instances.map(|instance| {
                let get = |name| text(instance, name).to_owned();
                let tags = items(instance, "tagSet")
                    .map(|tag| (text(tag, "key").to_owned(), text(tag, "value").to_owned()));
                let host = Host {
                    private: get("privateIpAddress"),
                    public: get("ipAddress"),
                    subnet: get("subnetId"),
                    kind: get("instanceType"),
                    tags: tags.collect(),
                };
                (get("instanceId"), host)
            }));
        })
        .await?;
        Ok(hosts)
    }

    /// The public addresses of network interfaces that have one.
    async fn public_addresses(
        &mut self,
        ask: &dyn Ask,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, DiscoveryError> {
        let mut public = BTreeMap::new();
        self.query(ask, "DescribeNetworkInterfaces", "NetworkInterfaceId", names, |root| {
            for interface in items(root, "networkInterfaceSet") {
                let address = child(interface, "association").map_or("", |a| text(a, "publicIp"));
                if !address.is_empty() {
                    let name = text(interface, "networkInterfaceId").to_owned();
                    public.insert(name, address.to_owned());
                }
            }
        })
        .await?;
        Ok(public)
    }

    /// Asks EC2 for what `names` are; answers to that have one page.
    async fn query(
        &mut self,
        ask: &dyn Ask,
        action: &str,
        field: &str,
        names: &[String],
        mut take: impl FnMut(Node<'_, '_>),
    ) -> Result<(), DiscoveryError> {
        let wrong = |reason| DiscoveryError::Answer { url: action.to_owned(), reason };
        for some in names.chunks(NAMED_MAX) {
            let fields: Vec<String> = (1..=some.len()).map(|n| format!("{field}.{n}")).collect();
            let named = fields.iter().zip(some).map(|(field, name)| (&**field, &**name));
            let form: Vec<_> = [("Action", action), VERSION].into_iter().chain(named).collect();
            let answer = self.instances.send(ask, "ec2", |url| post_form(url, &form)).await?;
            let body = xml::utf8(answer.body()).map_err(wrong)?;
            take(xml::parse(body).map_err(wrong)?.root_element());
        }
        Ok(())
    }
}

impl Around {
    /// `None` if the task has no address.
    fn target(&self, task: Task, port: u16) -> Option<BTreeMap<String, String>> {
        let instance = self.instances.get(&task.container).map_or("", String::as_str);
        let none = Host::default();
        let host = self.hosts.get(instance).unwrap_or(&none);
        let own = |name| task.interface(name);
        let (mode, address, subnet, public) = match own("privateIPv4Address") {
            Some(address) => {
                let public = own("networkInterfaceId").and_then(|id| self.public.get(id));
                let subnet = own("subnetId").unwrap_or_default();
                ("awsvpc", address, subnet, public.map_or("", String::as_str))
            }
            None => ("bridge", &*host.private, &*host.subnet, &*host.public),
        };
        if address.is_empty() {
            return None;
        }
        let mut meta = Meta::with(
            "__meta_ecs_",
            [
                ("cluster", self.cluster.name.clone()),
                ("cluster_arn", self.cluster.arn.clone()),
                ("region", self.region.clone()),
                ("ip_address", address.to_owned()),
                ("network_mode", mode.to_owned()),
                ("subnet_id", subnet.to_owned()),
                ("public_ip", public.to_owned()),
                ("ec2_instance_id", instance.to_owned()),
                ("ec2_instance_type", host.kind.clone()),
                ("ec2_instance_private_ip", host.private.clone()),
                ("ec2_instance_public_ip", host.public.clone()),
            ],
        );
        set_tags(&mut meta, "cluster", &self.cluster.tags);
        let service = task.group.strip_prefix(OF_SERVICE);
        let service = self.services.iter().find(|one| Some(one.name.as_str()) == service);
        if let Some(service) = service {
            meta.set("service", &*service.name).set("service_arn", &*service.arn);
            meta.set("service_status", &*service.status);
            set_tags(&mut meta, "service", &service.tags);
        }
        set_tags(&mut meta, "task", &task.tags);
        for (key, value) in &host.tags {
            meta.set(&format!("tag_ec2_{}", sanitized(key)), value.as_str());
        }
        let address = host_port(address, port);
        for (name, value) in [
            ("task_group", task.group),
            ("task_arn", task.arn),
            ("task_definition", task.definition),
            ("availability_zone", task.zone),
            ("desired_status", task.desired),
            ("last_status", task.last),
            ("health_status", task.health),
            ("launch_type", task.launch),
            ("platform_family", task.family),
            ("platform_version", task.version),
            ("container_instance_arn", task.container),
        ] {
            meta.set(name, value);
        }
        Some(meta.at(address))
    }
}

fn set_tags(meta: &mut Meta, of: &str, tags: &[Tag]) {
    for tag in tags {
        meta.set_some(&format!("tag_{of}_{}", sanitized(&tag.key)), tag.value.as_deref());
    }
}

/// Each name once, without the empty one.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: std::collections::BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    names.into_iter().map(str::to_owned).collect()
}

refresh_by!(Ecs, list);

#[cfg(test)]
mod tests;
