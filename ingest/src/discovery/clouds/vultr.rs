//! `vultr_sd`: the instances of a Vultr account.

use std::collections::BTreeMap;

use super::super::ask::{Ask, DiscoveryError, answer, ask_pages, get, refresh_by, with_query};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

const INSTANCES: &str = "https://api.vultr.com/v2/instances?per_page=100";

/// See the module.
pub struct Vultr {
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// Some of the instances.
    Page { instances: Vec<Instance> = "instances", meta: PageMeta = "meta", }
}

answer! {
    /// How it goes on.
    PageMeta { links: Links = "links", }
}

answer! {
    /// The cursor of the next page.
    Links { next: String = "next", }
}

answer! {
    /// An instance.
    Instance {
        id: String = "id",
        label: String = "label",
        os: String = "os",
        os_id: i64 = "os_id",
        region: String = "region",
        plan: String = "plan",
        vcpus: i64 = "vcpu_count",
        ram: i64 = "ram",
        bandwidth: i64 = "allowed_bandwidth",
        disk: i64 = "disk",
        main_ip: String = "main_ip",
        main_ipv6: String = "v6_main_ip",
        internal_ip: String = "internal_ip",
        hostname: String = "hostname",
        server_status: String = "server_status",
        features: Vec<String> = "features",
        tags: Vec<String> = "tags",
    }
}

impl Vultr {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let next = |page: &Page, _| match page.meta.links.next.as_str() {
            "" => None,
            cursor => Some(with_query(INSTANCES, [("cursor", cursor)])),
        };
        let pages = ask_pages(ask, get(INSTANCES)?, next).await?;
        let instances = pages.into_iter().flat_map(|page| page.instances);
        Ok(one_group("Vultr", instances.map(|instance| self.target(instance)).collect()))
    }

    fn target(&self, instance: Instance) -> BTreeMap<String, String> {
        let address = host_port(&instance.main_ip, self.port);
        let mut meta = Meta::with(
            "__meta_vultr_instance_",
            [
                ("id", instance.id),
                ("label", instance.label),
                ("os", instance.os),
                ("os_id", instance.os_id.to_string()),
                ("region", instance.region),
                ("plan", instance.plan),
                ("vcpu_count", instance.vcpus.to_string()),
                ("ram_mb", instance.ram.to_string()),
                ("allowed_bandwidth_gb", instance.bandwidth.to_string()),
                ("disk_gb", instance.disk.to_string()),
                ("main_ip", instance.main_ip),
                ("main_ipv6", instance.main_ipv6),
                ("internal_ip", instance.internal_ip),
                ("hostname", instance.hostname),
                ("server_status", instance.server_status),
            ],
        );
        meta.set_list("features", ",", &instance.features).set_list("tags", ",", &instance.tags);
        meta.at(address)
    }
}

refresh_by!(Vultr, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    #[test]
    fn instances_on_two_pages() {
        let ask = Recorded::new(&[
            (
                "cursor=bmV4dA",
                200,
                r#"{"instances": [{"id": "2"}], "meta": {"links": {"next": ""}}}"#,
            ),
            (
                "/v2/instances",
                200,
                r#"{"instances": [{"id": "dbdbd38c", "os": "CentOS 8 Stream", "ram": 1024, "disk": 25, "main_ip": "149.28.234.27", "vcpu_count": 1, "region": "atl", "plan": "vc2-1c-1gb",
                   "allowed_bandwidth": 1000, "server_status": "ok", "v6_main_ip": "2001:db8::1", "hostname": "h", "label": "l", "internal_ip": "10.0.0.1", "os_id": 401, "features": ["ipv6", "backups"], "tags": ["t"]}],
                   "meta": {"total": 2, "links": {"next": "bmV4dA=="}}}"#,
            ),
        ]);
        assert_eq!(
            shown(&refresh(&mut Vultr { port: 80 }, &ask).unwrap()),
            r#"Vultr {}
  {"__address__": "149.28.234.27:80", "__meta_vultr_instance_allowed_bandwidth_gb": "1000", "__meta_vultr_instance_disk_gb": "25", "__meta_vultr_instance_features": ",ipv6,backups,", "__meta_vultr_instance_hostname": "h", "__meta_vultr_instance_id": "dbdbd38c", "__meta_vultr_instance_internal_ip": "10.0.0.1", "__meta_vultr_instance_label": "l", "__meta_vultr_instance_main_ip": "149.28.234.27", "__meta_vultr_instance_main_ipv6": "2001:db8::1", "__meta_vultr_instance_os": "CentOS 8 Stream", "__meta_vultr_instance_os_id": "401", "__meta_vultr_instance_plan": "vc2-1c-1gb", "__meta_vultr_instance_ram_mb": "1024", "__meta_vultr_instance_region": "atl", "__meta_vultr_instance_server_status": "ok", "__meta_vultr_instance_tags": ",t,", "__meta_vultr_instance_vcpu_count": "1"}
  {"__address__": ":80", "__meta_vultr_instance_allowed_bandwidth_gb": "0", "__meta_vultr_instance_disk_gb": "0", "__meta_vultr_instance_id": "2", "__meta_vultr_instance_os_id": "0", "__meta_vultr_instance_ram_mb": "0", "__meta_vultr_instance_vcpu_count": "0"}
"#
        );
        let broken = Recorded::new(&[("", 200, r#"{"instances": {}}"#)]);
        assert!(refresh(&mut Vultr { port: 80 }, &broken).is_err());
    }
}
