//! `linode_sd`: the instances of a Linode account.
//!
//! Between full listings the account's events are asked for: while there are none, nothing has changed. Every tenth time
//! everything is listed all the same, since not everything is an event; a token that may not see events lists every time.

use std::collections::{BTreeMap, HashMap};

use http::{HeaderName, StatusCode};

use super::super::ask::{Ask, DiscoveryError, answer, ask_pages, get, refresh_by, with_secret};
use super::super::meta::{Meta, host_port, one_group};
use super::super::moment::utc;
use crate::scrape::TargetGroup;

const BASE: &str = "https://api.linode.com/v4";

/// Without events everything is listed again after so many times.
const POLLS_MAX: u32 = 10;

/// See the module.
pub struct Linode {
    port: u16,
    region: String,
    tag_separator: String,
    last: Option<Vec<TargetGroup>>,
    refreshed_ms: i64,
    polls: u32,
    sees_events: bool,
}

answer! {
    /// Some of a list.
    Page { data: Vec<Item> = "data", page: u64 = "page", pages: u64 = "pages", }
}

answer! {
    /// An instance, an address or a range of addresses: only the fields of one of them are there.
    Item {
        id: i64 = "id",
        label: String = "label",
        image: String = "image",
        ipv4: Vec<String> = "ipv4",
        ipv6: String = "ipv6",
        region: String = "region",
        kind: String = "type",
        status: String = "status",
        group: String = "group",
        hypervisor: String = "hypervisor",
        backups: Backups = "backups",
        specs: Specs = "specs",
        tags: Vec<String> = "tags",
        address: String = "address",
        public: bool = "public",
        rdns: String = "rdns",
        range: String = "range",
        prefix: i64 = "prefix",
        route_target: String = "route_target",
    }
}

answer! {
    /// Whether an instance is backed up.
    Backups { enabled: bool = "enabled", }
}

answer! {
    /// What an instance has, in MiB.
    Specs {
        disk: i64 = "disk",
        memory: i64 = "memory",
        vcpus: i64 = "vcpus",
        gpus: i64 = "gpus",
        transfer: i64 = "transfer",
    }
}

/// What is known of addresses.
struct Addresses {
    by_ip: HashMap<String, Item>,
    ranges: Vec<Item>,
}

/// The addresses of one instance, by what they are for.
#[derive(Default)]
struct Sorted {
    public: Option<(String, String)>,
    private: Option<(String, String)>,
    extra: Vec<String>,
}

impl Linode {
    /// The instances of a region, or of all of them.
    pub fn new(port: u16, region: &str, tag_separator: &str) -> Self {
        Linode {
            port,
            region: region.to_owned(),
            tag_separator: tag_separator.to_owned(),
            last: None,
            refreshed_ms: 0,
            polls: 0,
            sees_events: true,
        }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let now_ms = ask.now_ms();
        let unchanged = self.unchanged(ask).await?;
        if !unchanged {
            self.last = Some(self.everything(ask).await?);
            self.polls = 0;
        }
        self.refreshed_ms = now_ms;
        Ok(self.last.clone().unwrap_or_default())
    }

    /// Whether the last listing is still good.
    async fn unchanged(&mut self, ask: &dyn Ask) -> Result<bool, DiscoveryError> {
        if self.last.is_none() || !self.sees_events {
            return Ok(false);
        }
        let since = utc(self.refreshed_ms);
        let filter = format!(r#"{{"created": {{"+gte": "{}"}}}}"#, since.trim_end_matches('Z'));
        let url = format!("{BASE}/account/events?page=1&page_size=25");
        let request = with_secret(get(&url)?, FILTER, &filter)?;
        let events: Result<Vec<Page>, _> = ask_pages(ask, request, |_, _| None).await;
        match events {
            Ok(pages) => {
                self.polls += 1;
                Ok(pages.iter().all(|page| page.data.is_empty()) && self.polls < POLLS_MAX)
            }
            Err(DiscoveryError::Status { status: StatusCode::UNAUTHORIZED, .. }) => {
                self.sees_events = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn everything(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let instances = self.items(ask, "linode/instances").await?;
        let ips = self.items(ask, "networking/ips").await?;
        let ranges = self.items(ask, "networking/ipv6/ranges").await?;
        let by_ip = ips.into_iter().map(|ip| (ip.address.clone(), ip)).collect();
        let known = Addresses { by_ip, ranges };
        let reachable = instances.into_iter().filter(|instance| !instance.ipv4.is_empty());
        let targets = reachable.map(|instance| self.target(instance, &known)).collect();
        Ok(one_group("Linode", targets))
    }

    async fn items(&self, ask: &dyn Ask, path: &str) -> Result<Vec<Item>, DiscoveryError> {
        let url = format!("{BASE}/{path}?page_size=500");
        let mut request = get(&url)?;
        if !self.region.is_empty() {
            let filter = format!(r#"{{"region": "{}"}}"#, self.region);
            request = with_secret(request, FILTER, &filter)?;
        }
        let next = |page: &Page, _| {
            (page.page < page.pages).then(|| format!("{url}&page={}", page.page + 1))
        };
        let pages = ask_pages(ask, request, next).await?;
        Ok(pages.into_iter().flat_map(|page| page.data).collect())
    }

    fn target(&self, instance: Item, known: &Addresses) -> BTreeMap<String, String> {
        let sorted = known.sorted(&instance.ipv4);
        let (public, public_rdns) = sorted.public.unwrap_or_default();
        let (private, private_rdns) = sorted.private.unwrap_or_default();
        let slaac = instance.ipv6.split('/').next().unwrap_or_default();
        let v6 = known.by_ip.get(slaac);
        let ranges: Vec<String> = known.ranges_to(slaac).collect();
        let bytes = |mib: i64| (mib << 20).to_string();
        let backups = if instance.backups.enabled { "enabled" } else { "disabled" };
        let address = host_port(&public, self.port);
        let mut meta = Meta::with(
            "__meta_linode_",
            [
                ("instance_id", instance.id.to_string()),
                ("instance_label", instance.label),
                ("image", instance.image),
                ("private_ipv4", private),
                ("public_ipv4", public),
                ("public_ipv6", v6.map_or_else(String::new, |ip| ip.address.clone())),
                ("private_ipv4_rdns", private_rdns),
                ("public_ipv4_rdns", public_rdns),
                ("public_ipv6_rdns", v6.map_or_else(String::new, rdns)),
                ("region", instance.region),
                ("type", instance.kind),
                ("status", instance.status),
                ("group", instance.group),
                ("gpus", instance.specs.gpus.to_string()),
                ("hypervisor", instance.hypervisor),
                ("backups", backups.to_owned()),
                ("specs_disk_bytes", bytes(instance.specs.disk)),
                ("specs_memory_bytes", bytes(instance.specs.memory)),
                ("specs_vcpus", instance.specs.vcpus.to_string()),
                ("specs_transfer_bytes", bytes(instance.specs.transfer)),
            ],
        );
        meta.set_list("tags", &self.tag_separator, &instance.tags);
        meta.set_list("extra_ips", &self.tag_separator, &sorted.extra);
        meta.set_list("ipv6_ranges", &self.tag_separator, &ranges);
        meta.at(address)
    }
}

/// The header that says which part of a list is wanted.
const FILTER: HeaderName = HeaderName::from_static("x-filter");

/// The name of an address.
fn rdns(ip: &Item) -> String {
    if ip.rdns == "null" { String::new() } else { ip.rdns.clone() }
}

impl Addresses {
    /// The first public and the first private one, each with its name, and the others.
    fn sorted(&self, ips: &[String]) -> Sorted {
        let mut sorted = Sorted::default();
        for ip in ips.iter().filter_map(|ip| self.by_ip.get(ip)) {
            let first = if ip.public { &mut sorted.public } else { &mut sorted.private };
            match first {
                None => *first = Some((ip.address.clone(), rdns(ip))),
                Some(_) => sorted.extra.push(ip.address.clone()),
            }
        }
        sorted
    }

    /// The ranges whose packets go to an address.
    fn ranges_to(&self, slaac: &str) -> impl Iterator<Item = String> {
        let routed = self.ranges.iter();
        let routed = routed.filter(move |r| !slaac.is_empty() && r.route_target == slaac);
        routed.map(|range| format!("{}/{}", range.range, range.prefix))
    }
}

refresh_by!(Linode, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const INSTANCES: &str = r#"{"data": [{"id": 26838044, "label": "prometheus-linode-sd-exporter-1", "group": "", "status": "running", "type": "g6-standard-2", "ipv4": ["45.33.82.151", "96.126.108.16", "192.168.170.51"],
      "ipv6": "2600:3c03::f03c:92ff:fe1a:1382/128", "image": "linode/arch", "region": "us-east", "specs": {"disk": 81920, "memory": 4096, "vcpus": 2, "gpus": 0, "transfer": 4000}, "backups": {"enabled": false}, "hypervisor": "kvm", "tags": ["monitoring"]},
      {"id": 1, "ipv4": []}], "page": 1, "pages": 1}"#;
    const IPS: &str = r#"{"data": [{"address": "45.33.82.151", "public": true, "rdns": "li1028-151.members.linode.com"}, {"address": "96.126.108.16", "public": true, "rdns": null}], "page": 1, "pages": 2}"#;
    const MORE_IPS: &str = r#"{"data": [{"address": "192.168.170.51", "public": false, "rdns": "null"}, {"address": "2600:3c03::f03c:92ff:fe1a:1382", "public": true, "rdns": ""}], "page": 2, "pages": 2}"#;
    const RANGES: &str = r#"{"data": [{"range": "2600:3c03:e000:123::", "prefix": 64, "region": "us-east", "route_target": "2600:3c03::f03c:92ff:fe1a:1382"}], "page": 1, "pages": 1}"#;

    fn recorded(events: (u16, &str)) -> Recorded {
        Recorded::new(&[
            ("/account/events", events.0, events.1),
            ("/linode/instances", 200, INSTANCES),
            ("/networking/ips?page_size=500&page=2", 200, MORE_IPS),
            ("/networking/ips", 200, IPS),
            ("/networking/ipv6/ranges", 200, RANGES),
        ])
    }

    #[test]
    fn instances_and_their_addresses() {
        let ask = recorded((200, "{}"));
        let groups = refresh(&mut Linode::new(80, "us-east", ","), &ask).unwrap();
        assert_eq!(
            shown(&groups),
            r#"Linode {}
  {"__address__": "45.33.82.151:80", "__meta_linode_backups": "disabled", "__meta_linode_extra_ips": ",96.126.108.16,", "__meta_linode_gpus": "0", "__meta_linode_hypervisor": "kvm", "__meta_linode_image": "linode/arch", "__meta_linode_instance_id": "26838044", "__meta_linode_instance_label": "prometheus-linode-sd-exporter-1", "__meta_linode_ipv6_ranges": ",2600:3c03:e000:123::/64,", "__meta_linode_private_ipv4": "192.168.170.51", "__meta_linode_public_ipv4": "45.33.82.151", "__meta_linode_public_ipv4_rdns": "li1028-151.members.linode.com", "__meta_linode_public_ipv6": "2600:3c03::f03c:92ff:fe1a:1382", "__meta_linode_region": "us-east", "__meta_linode_specs_disk_bytes": "85899345920", "__meta_linode_specs_memory_bytes": "4294967296", "__meta_linode_specs_transfer_bytes": "4194304000", "__meta_linode_specs_vcpus": "2", "__meta_linode_status": "running", "__meta_linode_tags": ",monitoring,", "__meta_linode_type": "g6-standard-2"}
"#
        );
        assert_eq!(ask.asked.borrow()[0].headers()["x-filter"], r#"{"region": "us-east"}"#);
    }

    #[test]
    fn nothing_is_listed_while_nothing_happens() {
        let mut linode = Linode::new(80, "", ",");
        let quiet = Recorded { now_ms: 1_500_000_000_000, ..recorded((200, r#"{"data": []}"#)) };
        for _ in 0..POLLS_MAX {
            refresh(&mut linode, &quiet).unwrap();
        }
        assert_eq!(quiet.urls().len(), 4 + POLLS_MAX as usize - 1);
        let filter = quiet.asked.borrow()[4].headers()["x-filter"].clone();
        assert_eq!(filter, r#"{"created": {"+gte": "2017-07-14T02:40:00"}}"#);
        refresh(&mut linode, &quiet).unwrap();
        assert_eq!(quiet.urls().len(), 4 + POLLS_MAX as usize + 4, "everything again");
        let busy = recorded((200, r#"{"data": [{"id": 1}]}"#));
        refresh(&mut linode, &busy).unwrap();
        assert_eq!(busy.urls().len(), 5);
        let broken = recorded((500, ""));
        assert!(refresh(&mut linode, &broken).is_err());
        let blind = recorded((401, ""));
        refresh(&mut linode, &blind).unwrap();
        refresh(&mut linode, &blind).unwrap();
        assert_eq!(blind.urls().len(), 5 + 4, "events are not asked for again");
    }
}
