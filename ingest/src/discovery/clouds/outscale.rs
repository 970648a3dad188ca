//! `outscale_sd`: the virtual machines of one region of Outscale, whose API takes [AWS' signature](super::aws::sigv4).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::ask::{Ask, DiscoveryError, answer, ask_ok, post_json, read_json, refresh_by};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use super::aws::credentials::Credentials;
use super::aws::sigv4;
use crate::limits::DISCOVERY_PAGES_MAX;
use crate::scrape::TargetGroup;

/// The name of the API in signatures.
const SERVICE: &str = "oapi";

/// See the module.
pub struct Outscale {
    /// Where the API begins, if not where Outscale has that of the region.
    pub endpoint: String,
    /// The region: `eu-west-2`.
    pub region: String,
    /// A key.
    pub access_key: String,
    /// Its secret, or the file with it.
    pub secret_key: (String, String),
    /// The port of the targets.
    pub port: u16,
}

answer! {
    /// Some of the machines.
    Page { machines: Vec<Machine> = "Vms", next: String = "NextPageToken", }
}

answer! {
    /// A virtual machine.
    Machine {
        id: String = "VmId",
        state: String = "State",
        private: String = "PrivateIp",
        public: String = "PublicIp",
        placement: Placement = "Placement",
        tags: Vec<Tag> = "Tags",
    }
}

answer! {
    /// Where a machine is.
    Placement { subregion: String = "SubregionName", }
}

answer! {
    /// A tag.
    Tag { key: String = "Key", value: String = "Value", }
}

impl Outscale {
    async fn list(&self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let secret = match self.secret_key.1.as_str() {
            "" => self.secret_key.0.clone(),
            path => ask.file(path).await?.trim().to_owned(),
        };
        let credentials = Credentials::of(&self.access_key, &secret);
        let base = match self.endpoint.as_str() {
            "" => format!("https://api.{}.outscale.com/api/v1", self.region),
            endpoint => endpoint.trim_end_matches('/').to_owned(),
        };
        let url = format!("{base}/ReadVms");
        let wrong = |reason| DiscoveryError::Answer { url: url.clone(), reason };
        let (mut targets, mut values, mut question) = (Vec::new(), 0, json!({}));
        for _ in 0..DISCOVERY_PAGES_MAX {
            let request = post_json(&url, &question)?;
            let signed = sigv4::sign(request, &credentials, &self.region, SERVICE, ask.now_ms())?;
            let answer = ask_ok(ask, signed).await?;
            let page: Page = read_json(answer.body(), &mut values).map_err(wrong)?;
            targets.extend(page.machines.into_iter().filter_map(|machine| self.target(machine)));
            if page.next.is_empty() {
                return Ok(one_group(&self.region, targets));
            }
            question = json!({ "NextPageToken": Value::String(page.next) });
        }
        Err(wrong(format!("more than {DISCOVERY_PAGES_MAX} pages")))
    }

    /// `None` if the machine has no address.
    fn target(&self, machine: Machine) -> Option<BTreeMap<String, String>> {
        let reached = [&machine.private, &machine.public].into_iter().find(|ip| !ip.is_empty())?;
        let address = host_port(reached, self.port);
        let mut meta = Meta::with(
            "__meta_outscale_vm_",
            [
                ("instance_id", machine.id),
                ("region", self.region.clone()),
                ("subregion", machine.placement.subregion),
                ("state", machine.state),
                ("private_ip", machine.private),
                ("public_ip", machine.public),
            ],
        );
        for tag in machine.tags.into_iter().filter(|tag| !tag.key.is_empty()) {
            meta.set(&format!("tag_{}", sanitized(&tag.key)), tag.value);
        }
        Some(meta.at(address))
    }
}

refresh_by!(Outscale, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    fn outscale(endpoint: &str, file: &str) -> Outscale {
        Outscale {
            endpoint: endpoint.to_owned(),
            region: "eu-west-2".to_owned(),
            access_key: "A".to_owned(),
            secret_key: ("S".to_owned(), file.to_owned()),
            port: 9100,
        }
    }

    #[test]
    fn machines() {
        let ask = Recorded::new(&[(
            "https://api.eu-west-2.outscale.com/api/v1/ReadVms",
            200,
            r#"{"Vms": [{"VmId": "i-1", "State": "running", "PrivateIp": "10.0.0.1", "PublicIp": "198.51.100.1", "Placement": {"SubregionName": "eu-west-2a", "Tenancy": "default"},
                 "Tags": [{"Key": "a-b", "Value": "c"}, {"Key": "bare", "Value": ""}]},
                {"VmId": "i-2", "PublicIp": "198.51.100.2"}, {"VmId": "gone", "State": "terminated"}], "ResponseContext": {"RequestId": "1"}}"#,
        )])
        .with(&[("/secret", "T\n")]);
        assert_eq!(
            shown(&refresh(&mut outscale("", "/secret"), &ask).unwrap()),
            r#"eu-west-2 {}
  {"__address__": "10.0.0.1:9100", "__meta_outscale_vm_instance_id": "i-1", "__meta_outscale_vm_private_ip": "10.0.0.1", "__meta_outscale_vm_public_ip": "198.51.100.1", "__meta_outscale_vm_region": "eu-west-2", "__meta_outscale_vm_state": "running", "__meta_outscale_vm_subregion": "eu-west-2a", "__meta_outscale_vm_tag_a_b": "c"}
  {"__address__": "198.51.100.2:9100", "__meta_outscale_vm_instance_id": "i-2", "__meta_outscale_vm_public_ip": "198.51.100.2", "__meta_outscale_vm_region": "eu-west-2"}
"#
        );
        let signature = ask.asked.borrow()[0].headers()["authorization"].clone();
        assert!(signature.to_str().unwrap().contains("Credential=A/19700101/eu-west-2/oapi/"));
        refresh(&mut outscale("", ""), &ask).unwrap();
        assert_ne!(ask.asked.borrow()[1].headers()["authorization"], signature, "another secret");
    }

    #[test]
    fn pages_end_and_failures_are_told() {
        let endless = Recorded::new(&[("http://o/ReadVms", 200, r#"{"NextPageToken": "n"}"#)]);
        let error = refresh(&mut outscale("http://o/", ""), &endless).unwrap_err();
        assert!(error.to_string().contains("pages"), "{error}");
        let bodies = endless.bodies();
        assert_eq!(bodies[..2], ["{}", r#"{"NextPageToken":"n"}"#]);
        assert_eq!(bodies.len(), DISCOVERY_PAGES_MAX);
        for (status, text) in [(401, "AccessDenied"), (200, "[1"), (200, "")] {
            let ask = Recorded::new(&[("http://o/ReadVms", status, text)]);
            assert!(refresh(&mut outscale("http://o", ""), &ask).is_err(), "{text}");
        }
    }
}
