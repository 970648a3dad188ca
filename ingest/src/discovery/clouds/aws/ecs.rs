//! ECS: the tasks of one region's clusters. A task is reached at its own network interface, or at that of the instance it runs on.
//!
//! ```text
//! ListClusters ─▶ DescribeClusters
//! each cluster:   ListTasks ─▶ DescribeTasks ─┬▶ DescribeContainerInstances ─▶ EC2 DescribeInstances
//!                                             └▶ EC2 DescribeNetworkInterfaces: their public addresses
//!                 ListServices ─▶ DescribeServices, if there are tasks
//! ```
//!
//! Each step is taken for all clusters before the next, with as many requests at once as configured. Whatever fails fails the
//! refresh, so that a cluster keeps its targets.

use std::collections::BTreeMap;

use roxmltree::Node;
use serde_json::{Value, json};

use super::super::super::ask::{Answer, Ask, DiscoveryError, answer, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::super::xml::{child, text};
use super::caller::{pair, too_many_pages};
use super::ec2::{EC2, items};
use super::{AwsOptions, Caller, Session, bounded};
use crate::limits::DISCOVERY_PAGES_MAX;
use crate::scrape::TargetGroup;

/// How many things one request may name.
const NAMED_MAX: usize = 100;

/// A kind of things that are described by their names.
struct Kind {
    action: &'static str,
    /// What holds the names in the question.
    field: &'static str,
    /// How many one request may name.
    named_max: usize,
    /// Whether their tags must be asked for.
    tagged: bool,
}

const CLUSTERS: Kind =
    Kind { action: "DescribeClusters", field: "clusters", named_max: NAMED_MAX, tagged: true };
const SERVICES: Kind =
    Kind { action: "DescribeServices", field: "services", named_max: 10, tagged: true };
const TASKS: Kind =
    Kind { action: "DescribeTasks", field: "tasks", named_max: NAMED_MAX, tagged: true };
const CONTAINERS: Kind = Kind {
    action: "DescribeContainerInstances",
    field: "containerInstances",
    named_max: NAMED_MAX,
    tagged: false,
};

/// What a task's group begins with if a service runs it.
const OF_SERVICE: &str = "service:";

/// See the module.
pub struct Ecs {
    session: Session,
    port: u16,
    /// Those to look into; all if there are none.
    clusters: Vec<String>,
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

/// A cluster that has tasks, and what is in it.
#[derive(Default)]
struct Inside {
    cluster: Cluster,
    services: Vec<Service>,
    tasks: Vec<Task>,
}

/// What the tasks of all clusters run on.
struct Around<'a> {
    region: &'a str,
    port: u16,
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
        Ecs { session: Session::new(options), port, clusters }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        let asking = Asking { ec2: caller.at_aws(), ecs: caller };
        let clusters = asking.clusters(&self.clusters).await?;
        let around = asking.around(&clusters, self.port).await?;
        let mut targets = Vec::new();
        for Inside { cluster, services, tasks } in clusters {
            targets.extend(
                tasks.into_iter().filter_map(|task| around.target(&cluster, &services, task)),
            );
        }
        Ok(one_group(asking.ecs.region, targets))
    }
}

/// One refresh.
struct Asking<'a> {
    ecs: Caller<'a>,
    ec2: Caller<'a>,
}

impl Asking<'_> {
    /// The clusters that have tasks, and what is in them.
    async fn clusters(&self, named: &[String]) -> Result<Vec<Inside>, DiscoveryError> {
        let names = match named {
            [] => self.arns("ListClusters", "").await?,
            named => named.to_vec(),
        };
        let question = json!({ "include": ["TAGS"] });
        let described = self.describe(&CLUSTERS, vec![(question, &names)]).await?;
        let clusters: Vec<Cluster> = described.into_iter().flat_map(|one| one.clusters).collect();
        let listed = self.ecs.each(&clusters, async |one| self.arns("ListTasks", &one.arn).await);
        let (mut inside, mut tasks) = (Vec::new(), Vec::new());
        for (cluster, names) in clusters.iter().zip(listed.await?) {
            if !names.is_empty() {
                inside.push(Inside { cluster: cluster.clone(), ..Inside::default() });
                tasks.push(names);
            }
        }
        bounded(tasks.iter().map(Vec::len).sum(), "ListTasks")?;
        let listed = async |one: &Inside| self.arns("ListServices", &one.cluster.arn).await;
        let services = self.ecs.each(&inside, listed).await?;
        for one in self.of_clusters(&SERVICES, &inside, &services).await? {
            inside[one.0].services.extend(one.1.services);
        }
        for one in self.of_clusters(&TASKS, &inside, &tasks).await? {
            inside[one.0].tasks.extend(one.1.tasks);
        }
        Ok(inside)
    }

    /// What the `names` of each cluster stand for, each answer with the cluster's index.
    async fn of_clusters(
        &self,
        kind: &Kind,
        inside: &[Inside],
        names: &[Vec<String>],
    ) -> Result<Vec<(usize, Described)>, DiscoveryError> {
        let asked = inside.iter().zip(names).map(|(one, names)| {
            let mut question = json!({ "cluster": one.cluster.arn });
            if kind.tagged {
                question["include"] = json!(["TAGS"]);
            }
            (question, names)
        });
        let described = self.describe(kind, asked.collect()).await?;
        let requests = names.iter().map(|names| names.len().div_ceil(kind.named_max));
        let of = requests.enumerate().flat_map(|(i, count)| std::iter::repeat_n(i, count));
        Ok(of.zip(described).collect())
    }

    /// What the tasks of all clusters run on.
    async fn around(&self, clusters: &[Inside], port: u16) -> Result<Around<'_>, DiscoveryError> {
        let of = |one: &Inside| distinct(one.tasks.iter().map(|task| task.container.as_str()));
        let containers: Vec<Vec<String>> = clusters.iter().map(of).collect();
        let described = self.of_clusters(&CONTAINERS, clusters, &containers).await?;
        let described = described.into_iter().flat_map(|(_, one)| one.containers);
        let instances: BTreeMap<String, String> =
            described.map(|container| (container.arn, container.instance)).collect();
        let tasks = clusters.iter().flat_map(|one| &one.tasks);
        let interfaces = distinct(tasks.filter_map(|task| task.interface("networkInterfaceId")));
        Ok(Around {
            region: self.ecs.region,
            port,
            hosts: self.hosts(&distinct(instances.values().map(String::as_str))).await?,
            public: self.public_addresses(&interfaces).await?,
            instances,
        })
    }

    /// All names of a list.
    async fn arns(&self, action: &str, cluster: &str) -> Result<Vec<String>, DiscoveryError> {
        let (mut all, mut question) = (Vec::new(), json!({ "maxResults": NAMED_MAX }));
        if !cluster.is_empty() {
            question["cluster"] = cluster.into();
        }
        for _ in 0..DISCOVERY_PAGES_MAX {
            let page: Arns = self.call(action, &question).await?;
            all.extend(page.clusters.into_iter().chain(page.services).chain(page.tasks));
            if page.next.is_empty() {
                return Ok(all);
            }
            question["nextToken"] = page.next.into();
        }
        Err(too_many_pages(action))
    }

    /// What names stand for, in as many requests for each question as it takes.
    async fn describe(
        &self,
        kind: &Kind,
        asked: Vec<(Value, &Vec<String>)>,
    ) -> Result<Vec<Described>, DiscoveryError> {
        let requests = asked.iter().flat_map(|(question, names)| {
            names.chunks(kind.named_max).map(move |some| (question, some))
        });
        let request = async |(question, some): (&Value, &[String])| {
            let mut question = question.clone();
            question[kind.field] = json!(some);
            self.call(kind.action, &question).await
        };
        self.ecs.each(requests, request).await
    }

    async fn call<T: Answer>(&self, action: &str, question: &Value) -> Result<T, DiscoveryError> {
        let target = format!("AmazonEC2ContainerServiceV20141113.{action}");
        self.ecs.json("ecs", &target, question).await
    }

    /// Instances, by their names.
    async fn hosts(&self, names: &[String]) -> Result<BTreeMap<String, Host>, DiscoveryError> {
        self.query("DescribeInstances", "InstanceId", names, |root| {
            let instances =
                items(root, "reservationSet").flat_map(|one| items(one, "instancesSet"));
            let hosts = instances.map(|instance| {
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
            });
            hosts.collect()
        })
        .await
    }

    /// The public addresses of network interfaces that have one.
    async fn public_addresses(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, DiscoveryError> {
        self.query("DescribeNetworkInterfaces", "NetworkInterfaceId", names, |root| {
            let interfaces = items(root, "networkInterfaceSet");
            let addresses = interfaces.map(|interface| {
                let address = child(interface, "association").map_or("", |a| text(a, "publicIp"));
                pair(text(interface, "networkInterfaceId"), address)
            });
            addresses.filter(|(_, address)| !address.is_empty()).collect()
        })
        .await
    }

    /// Asks EC2 for what `names` are; answers to that have one page.
    async fn query<R>(
        &self,
        action: &str,
        field: &str,
        names: &[String],
        take: impl Fn(Node<'_, '_>) -> Vec<(String, R)>,
    ) -> Result<BTreeMap<String, R>, DiscoveryError> {
        let request = async |some: &[String]| {
            let fields = some.iter().enumerate();
            let form = fields.map(|(n, name)| (format!("{field}.{}", n + 1), name.clone()));
            self.ec2.query(EC2, action, &form.collect(), &take).await
        };
        let taken = self.ec2.each(names.chunks(NAMED_MAX), request).await?;
        Ok(taken.into_iter().flatten().collect())
    }
}

impl Around<'_> {
    /// `None` if the task has no address.
    fn target(
        &self,
        cluster: &Cluster,
        services: &[Service],
        task: Task,
    ) -> Option<BTreeMap<String, String>> {
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
                ("cluster", cluster.name.clone()),
                ("cluster_arn", cluster.arn.clone()),
                ("region", self.region.to_owned()),
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
        set_tags(&mut meta, "cluster", &cluster.tags);
        let service = task.group.strip_prefix(OF_SERVICE);
        let service = services.iter().find(|one| Some(one.name.as_str()) == service);
        if let Some(service) = service {
            meta.set("service", &*service.name).set("service_arn", &*service.arn);
            meta.set("service_status", &*service.status);
            set_tags(&mut meta, "service", &service.tags);
        }
        set_tags(&mut meta, "task", &task.tags);
        for (key, value) in &host.tags {
            meta.set(&format!("tag_ec2_{}", sanitized(key)), value.as_str());
        }
        let address = host_port(address, self.port);
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
