//! `lightsail_sd`: Lightsail instances of one region.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::super::ask::{Ask, DiscoveryError, answer, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group, sanitized};
use super::{AwsOptions, Session};
use crate::scrape::TargetGroup;

/// See the module.
pub struct Lightsail {
    session: Session,
    port: u16,
}

answer! {
    /// The instances.
    Answer { instances: Vec<Instance> = "instances", }
}

answer! {
    /// An instance.
    Instance {
        name: String = "name",
        blueprint: String = "blueprintId",
        bundle: String = "bundleId",
        support_code: String = "supportCode",
        location: Location = "location",
        state: State = "state",
        private: String = "privateIpAddress",
        public: String = "publicIpAddress",
        v6: Vec<String> = "ipv6Addresses",
        tags: Vec<Tag> = "tags",
    }
}

answer! {
    /// Where an instance is.
    Location { zone: String = "availabilityZone", }
}

answer! {
    /// How an instance is.
    State { name: String = "name", }
}

answer! {
    /// A tag; some have no value.
    Tag { key: String = "key", value: Option<String> = "value", }
}

impl Lightsail {
    /// All of a region.
    pub fn new(options: AwsOptions, port: u16) -> Self {
        Lightsail { session: Session::new(options), port }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        let target = "Lightsail_20161128.GetInstances";
        let answer: Answer = caller.json("lightsail", target, &json!({})).await?;
        let reachable = answer.instances.into_iter().filter(|one| !one.private.is_empty());
        let targets = reachable.map(|one| one.target(caller.region, self.port)).collect();
        Ok(one_group(caller.region, targets))
    }
}

impl Instance {
    fn target(self, region: &str, port: u16) -> BTreeMap<String, String> {
        let address = host_port(&self.private, port);
        let mut meta = Meta::with(
            "__meta_lightsail_",
            [
                ("region", region.to_owned()),
                ("private_ip", self.private),
                ("public_ip", self.public),
                ("availability_zone", self.location.zone),
                ("blueprint_id", self.blueprint),
                ("bundle_id", self.bundle),
                ("instance_name", self.name),
                ("instance_state", self.state.name),
                ("instance_support_code", self.support_code),
            ],
        );
        meta.set_list("ipv6_addresses", ",", &self.v6);
        for tag in self.tags {
            meta.set_some(&format!("tag_{}", sanitized(&tag.key)), tag.value);
        }
        meta.at(address)
    }
}

refresh_by!(Lightsail, list);

#[cfg(test)]
mod tests {
    use super::super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::super::recorded::options;
    use super::*;

    #[test]
    fn instances() {
        let ask = Recorded::new(&[(
            "http://l:1/",
            200,
            r#"{"instances": [{"name": "web", "blueprintId": "amazon_linux_2", "bundleId": "nano", "supportCode": "1/i-1", "location": {"availabilityZone": "eu-west-2a"}, "state": {"code": 16, "name": "running"},
               "privateIpAddress": "172.26.0.1", "publicIpAddress": "3.8.0.1", "ipv6Addresses": ["2a05::1"], "tags": [{"key": "a-b", "value": "c"}, {"key": "bare"}]}, {"name": "gone"}]}"#,
        )]);
        let options = AwsOptions { endpoint: "http://l:1".into(), ..options() };
        assert_eq!(
            shown(&refresh(&mut Lightsail::new(options, 80), &ask).unwrap()),
            r#"eu-west-2 {}
  {"__address__": "172.26.0.1:80", "__meta_lightsail_availability_zone": "eu-west-2a", "__meta_lightsail_blueprint_id": "amazon_linux_2", "__meta_lightsail_bundle_id": "nano", "__meta_lightsail_instance_name": "web", "__meta_lightsail_instance_state": "running", "__meta_lightsail_instance_support_code": "1/i-1", "__meta_lightsail_ipv6_addresses": ",2a05::1,", "__meta_lightsail_private_ip": "172.26.0.1", "__meta_lightsail_public_ip": "3.8.0.1", "__meta_lightsail_region": "eu-west-2", "__meta_lightsail_tag_a_b": "c"}
"#
        );
        let headers = ask.asked.borrow()[0].headers().clone();
        assert_eq!(headers["x-amz-target"], "Lightsail_20161128.GetInstances");
        assert!(headers["authorization"].to_str().unwrap().contains("/eu-west-2/lightsail/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target,"));
    }
}
