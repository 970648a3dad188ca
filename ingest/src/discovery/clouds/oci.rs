//! `oci_sd`: the instances of a tenancy of Oracle's cloud, each at the address of its primary network interface.
//!
//! ```text
//! ListCompartments, from the tenancy down, unless some are named
//! each compartment: ListInstances ─▶ each instance: ListVnicAttachments ─▶ GetVnic until it is the primary one
//! ```
//!
//! A compartment that cannot be listed has no others in it, and an instance whose interface cannot be found is left out, with a line
//! in the log; instances that cannot be listed fail the refresh, so that all targets stay. Requests are sent one after the other, since
//! Oracle throttles them. Each is signed by an API key:
//!
//! ```text
//! Authorization: Signature version="1",keyId="tenancy/user/fingerprint",algorithm="rsa-sha256",
//!                headers="date (request-target) host",signature=base64(RSA-SHA256(those headers))
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, DATE, HeaderValue};
use serde_json::Value;

use super::super::ask::{
    Answer, Ask, DiscoveryError, answer, ask_ok, get, read_json, refresh_by, with_query,
    with_secret,
};
use super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::moment::http_date;
use super::super::sign;
use crate::limits::{DISCOVERY_PAGES_MAX, DISCOVERY_TARGETS_MAX};
use crate::scrape::TargetGroup;

/// Where the next page of a list is told.
const NEXT_PAGE: &str = "opc-next-page";

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Oci {
    /// The tenancy's OCID.
    pub tenancy: String,
    /// Who asks, by OCID.
    pub user: String,
    /// The fingerprint of the user's key.
    pub fingerprint: String,
    /// The file of the key, in PEM.
    pub key_file: String,
    /// The region: `us-ashburn-1`.
    pub region: String,
    /// The OCIDs of compartments to look into; all if there are none.
    pub compartments: Vec<String>,
    /// The port of the targets.
    pub port: u16,
}

/// One refresh.
struct Caller<'a> {
    ask: &'a dyn Ask,
    key: String,
    key_id: String,
    /// Where the API of instances and networks begins, and that of compartments.
    core: String,
    identity: String,
    /// JSON values read so far.
    values: usize,
}

answer! {
    /// A compartment.
    Compartment { id: String = "id", state: String = "lifecycleState", }
}

answer! {
    /// An instance; defined tags may have values of any type.
    Instance {
        id: String = "id",
        compartment: String = "compartmentId",
        name: String = "displayName",
        state: String = "lifecycleState",
        shape: String = "shape",
        domain: String = "availabilityDomain",
        fault_domain: String = "faultDomain",
        region: String = "region",
        image: String = "imageId",
        tags: BTreeMap<String, String> = "freeformTags",
        defined_tags: BTreeMap<String, BTreeMap<String, Value>> = "definedTags",
    }
}

answer! {
    /// That an interface belongs to an instance.
    Attachment { interface: String = "vnicId", state: String = "lifecycleState", }
}

answer! {
    /// An interface.
    Interface {
        id: String = "id",
        primary: bool = "isPrimary",
        private: String = "privateIp",
        public: String = "publicIp",
        v6: Vec<String> = "ipv6Addresses",
        hostname: String = "hostnameLabel",
    }
}

impl Oci {
    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let (domain, key) = (domain(&self.tenancy), ask.file(&self.key_file).await?);
        if key.contains("ENCRYPTED") {
            let advice = "an encrypted key is not supported, decrypt it by `openssl pkey`";
            return Err(DiscoveryError::Setting(format!("key_file {}: {advice}", self.key_file)));
        }
        let mut caller = Caller {
            ask,
            key,
            key_id: format!("{}/{}/{}", self.tenancy, self.user, self.fingerprint),
            core: format!("https://iaas.{}.{domain}/20160918", self.region),
            identity: format!("https://identity.{}.oci.{domain}/20160918", self.region),
            values: 0,
        };
        let compartments = match self.compartments.as_slice() {
            [] => caller.compartments(&self.tenancy).await,
            named => named.to_vec(),
        };
        let mut targets = Vec::new();
        for compartment in compartments {
            for instance in caller.instances(&compartment).await? {
                match caller.primary(&instance).await {
                    Ok(interface) => targets.extend(self.target(instance, interface)),
                    Err(error) => {
                        tracing::warn!(instance = instance.id, %error, "an instance at OCI is left out");
                    }
                }
                if targets.len() > DISCOVERY_TARGETS_MAX {
                    let reason = format!("more than {DISCOVERY_TARGETS_MAX} targets");
                    return Err(DiscoveryError::Answer { url: caller.core, reason });
                }
            }
        }
        Ok(one_group("OCI", targets))
    }

    /// `None` if the instance has no address.
    fn target(
        &self,
        instance: Instance,
        mut interface: Interface,
    ) -> Option<BTreeMap<String, String>> {
        interface.v6.sort_unstable();
        let addresses = [&interface.private, &interface.public].into_iter().chain(&interface.v6);
        let address = host_port(addresses.into_iter().find(|a| !a.is_empty())?, self.port);
        let mut meta = Meta::with(
            "__meta_oci_",
            [
                ("tenancy_id", self.tenancy.clone()),
                ("instance_id", instance.id),
                ("instance_name", instance.name),
                ("instance_state", instance.state),
                ("instance_shape", instance.shape),
                ("availability_domain", instance.domain),
                ("fault_domain", instance.fault_domain),
                ("region", instance.region),
                ("compartment_id", instance.compartment),
                ("image_id", instance.image),
                ("vnic_id", interface.id),
                ("private_ip", interface.private),
                ("public_ip", interface.public),
                ("hostname_label", interface.hostname),
            ],
        );
        meta.set_list("ipv6_addresses", ",", &interface.v6);
        meta.set_each("tag_", &instance.tags);
        for (namespace, tags) in instance.defined_tags {
            for (key, value) in tags {
                let name = format!("defined_tag_{}_{}", sanitized(&namespace), sanitized(&key));
                meta.set_some(&name, scalar(&value));
            }
        }
        Some(meta.at(address))
    }
}

/// The domain of the realm that a tenancy is in: `ocid1.tenancy.oc1..name`.
fn domain(tenancy: &str) -> String {
    match tenancy.split('.').nth(2).and_then(|realm| realm.strip_prefix("oc")) {
        None | Some("" | "1") => "oraclecloud.com".to_owned(),
        Some("2" | "3") => "oraclegovcloud.com".to_owned(),
        Some("4") => "oraclegovcloud.uk".to_owned(),
        Some(other) => format!("oraclecloud{}.com", sanitized(other)),
    }
}

/// The text of a defined tag; `None` for what has parts.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => number.as_f64().map(|number| number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Caller<'_> {
    /// The active compartments from `root` down, each after the one it is in.
    async fn compartments(&mut self, root: &str) -> Vec<String> {
        let (mut all, mut known) = (Vec::new(), BTreeSet::from([root.to_owned()]));
        let mut queue = VecDeque::from([root.to_owned()]);
        while let Some(parent) = queue.pop_front() {
            let url = with_query(
                &format!("{}/compartments", self.identity),
                [
                    ("accessLevel", "ACCESSIBLE"),
                    ("compartmentId", parent.as_str()),
                    ("compartmentIdInSubtree", "false"),
                    ("limit", "100"),
                ],
            );
            let listed = self.pages::<Compartment>(&url).await;
            let listed = listed.unwrap_or_else(|error| {
                tracing::warn!(compartment = parent, %error, "the compartments in one at OCI are left out");
                Vec::new()
            });
            let active = listed.into_iter().filter(|one| one.state == "ACTIVE");
            queue.extend(active.map(|one| one.id).filter(|id| known.insert(id.clone())));
            all.push(parent);
        }
        all
    }

    async fn instances(&mut self, compartment: &str) -> Result<Vec<Instance>, DiscoveryError> {
        let url = format!("{}/instances", self.core);
        let url = with_query(&url, [("compartmentId", compartment), ("limit", "100")]);
        let mut instances: Vec<Instance> = self.pages(&url).await?;
        instances.retain(|one| !one.id.is_empty() && !one.compartment.is_empty());
        Ok(instances)
    }

    /// The primary interface; one without anything if there is none.
    async fn primary(&mut self, instance: &Instance) -> Result<Interface, DiscoveryError> {
        let url = with_query(
            &format!("{}/vnicAttachments", self.core),
            [
                ("compartmentId", instance.compartment.as_str()),
                ("instanceId", instance.id.as_str()),
                ("limit", "100"),
            ],
        );
        let attachments: Vec<Attachment> = self.pages(&url).await?;
        let attached = attachments.into_iter().filter(|one| one.state == "ATTACHED");
        for attachment in attached.filter(|one| !one.interface.is_empty()) {
            let url = format!("{}/vnics/{}", self.core, path_part(&attachment.interface));
            let (interface, _): (Interface, _) = self.get(&url).await?;
            if interface.primary {
                return Ok(interface);
            }
        }
        Ok(Interface::default())
    }

    /// All that a list has.
    async fn pages<T>(&mut self, url: &str) -> Result<Vec<T>, DiscoveryError>
    where
        Vec<T>: Answer,
    {
        let (mut all, mut page) = (Vec::new(), url.to_owned());
        for _ in 0..DISCOVERY_PAGES_MAX {
            let (some, next): (Vec<T>, _) = self.get(&page).await?;
            all.extend(some);
            match next {
                None => return Ok(all),
                Some(next) => page = with_query(url, [("page", next.as_str())]),
            }
        }
        let reason = format!("more than {DISCOVERY_PAGES_MAX} pages");
        Err(DiscoveryError::Answer { url: url.to_owned(), reason })
    }

    /// An answer, and where the list goes on.
    async fn get<T: Answer>(&mut self, url: &str) -> Result<(T, Option<String>), DiscoveryError> {
        let mut request = get(url)?;
        let date = http_date(self.ask.now_ms());
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let host = uri.host().unwrap_or_default();
        let text = format!("date: {date}\n(request-target): get {target}\nhost: {host}");
        let signature = sign::rsa("RS256", &self.key, text.as_bytes())
            .map_err(|wrong| DiscoveryError::Setting(format!("key_file: the key {wrong}")))?;
        let header = format!(
            "Signature version=\"1\",keyId=\"{}\",algorithm=\"rsa-sha256\",headers=\"date (request-target) host\",signature=\"{}\"",
            self.key_id,
            STANDARD.encode(signature)
        );
        let date = HeaderValue::from_str(&date).map_err(|e| DiscoveryError::Setting(e.to_string()));
        request.headers_mut().insert(DATE, date?);
        let request = with_secret(request, AUTHORIZATION, &header)?;
        let response = ask_ok(self.ask, request).await?;
        let next = response.headers().get(NEXT_PAGE).and_then(|next| next.to_str().ok());
        let next = next.filter(|next| !next.is_empty()).map(str::to_owned);
        let wrong = |reason| DiscoveryError::Answer { url: url.to_owned(), reason };
        Ok((read_json(response.body(), &mut self.values).map_err(wrong)?, next))
    }
}

/// An OCID as part of a path.
fn path_part(ocid: &str) -> String {
    let kept = |c: &char| c.is_ascii_alphanumeric() || ".-_".contains(*c);
    ocid.chars().filter(kept).collect()
}

refresh_by!(Oci, list);

#[cfg(test)]
mod tests;
