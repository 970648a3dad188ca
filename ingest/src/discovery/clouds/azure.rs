//! `azure_sd`: the virtual machines of a subscription or a resource group, and those of its scale sets, each by the private
//! address of its primary network interface.
//!
//! Interfaces are asked for one by one and kept for some refreshes, as they are slow to get and hardly ever change. `SDK` is
//! the first of what the environment offers: a client's secret, a workload's identity, the machine's.

use std::collections::{BTreeMap, HashMap};

use http::{HeaderName, Request, StatusCode};

use super::super::ask::{
    Ask, DiscoveryError, answer, ask_json, ask_pages, get, post_form, refresh_by, with_bearer,
    with_query, with_secret,
};
use super::super::meta::{Meta, host_port, one_group};
use crate::scrape::TargetGroup;

/// An interface is asked for again after so many refreshes.
const REFRESHES_KEPT: u64 = 10;

/// Most interfaces that are kept.
const INTERFACES_MAX: usize = 5000;

/// How long before its end a token is not used any more.
const RENEW_BEFORE_MS: i64 = 5 * 60_000;

const COMPUTE: &str = "2024-07-01";
const NETWORK: &str = "2024-05-01";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// For each name of an environment where tokens are given out and where resources are managed.
const ENVIRONMENTS: [(&str, &str, &str); 6] = [
    ("AZURECHINACLOUD", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
    ("AZURECLOUD", PUBLIC.0, PUBLIC.1),
    ("AZUREGERMANCLOUD", PUBLIC.0, PUBLIC.1),
    ("AZUREPUBLICCLOUD", PUBLIC.0, PUBLIC.1),
    ("AZUREUSGOVERNMENT", GOVERNMENT.0, GOVERNMENT.1),
    ("AZUREUSGOVERNMENTCLOUD", GOVERNMENT.0, GOVERNMENT.1),
];
const PUBLIC: (&str, &str) = ("https://login.microsoftonline.com", "https://management.azure.com");
const GOVERNMENT: (&str, &str) =
    ("https://login.microsoftonline.us", "https://management.usgovcloudapi.net");

/// How one says who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A client's secret.
    OAuth,
    /// The identity of the machine.
    ManagedIdentity,
    /// The identity of a pod.
    WorkloadIdentity,
    /// The first that there is.
    Sdk,
}

/// What is asked for, and as whom.
#[derive(Clone, Debug)]
pub struct AzureOptions {
    /// Which of Microsoft's clouds.
    pub environment: String,
    /// How one says who one is.
    pub method: Method,
    /// The subscription.
    pub subscription_id: String,
    /// The tenant of the client.
    pub tenant_id: String,
    /// The client.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// The resource group; all of them if it is empty.
    pub resource_group: String,
    /// The port of the targets.
    pub port: u16,
}

/// See the module.
pub struct Azure {
    options: AzureOptions,
    login: &'static str,
    management: &'static str,
    token: Option<(String, i64)>,
    interfaces: HashMap<String, (u64, InterfaceProperties)>,
    refreshes: u64,
}

answer! {
    /// A token.
    Token { token: String = "access_token", seconds: serde_json::Value = "expires_in", }
}

answer! {
    /// Some of the machines.
    Machines { machines: Vec<Machine> = "value", next: String = "nextLink", }
}

answer! {
    /// A machine, or a scale set.
    Machine {
        id: String = "id",
        name: String = "name",
        location: String = "location",
        instance_id: String = "instanceId",
        tags: BTreeMap<String, String> = "tags",
        properties: Properties = "properties",
        scale_set: String = "",
    }
}

answer! {
    /// What a machine is.
    Properties {
        storage: Storage = "storageProfile",
        os: Os = "osProfile",
        hardware: Hardware = "hardwareProfile",
        network: Network = "networkProfile",
    }
}

answer! {
    /// Its disks.
    Storage { os_disk: OsDisk = "osDisk", }
}

answer! {
    /// The disk of its system.
    OsDisk { os_type: String = "osType", }
}

answer! {
    /// Its system.
    Os { computer_name: String = "computerName", }
}

answer! {
    /// Its size.
    Hardware { size: String = "vmSize", }
}

answer! {
    /// Its interfaces.
    Network { interfaces: Vec<Reference> = "networkInterfaces", }
}

answer! {
    /// A resource by its id.
    Reference { id: String = "id", }
}

answer! {
    /// An interface.
    Interface { properties: Option<InterfaceProperties> = "properties", }
}

answer! {
    /// What is said of it; of a machine that is deallocated not whether it is primary.
    InterfaceProperties { primary: Option<bool> = "primary", configurations: Vec<Configuration> = "ipConfigurations", }
}

answer! {
    /// An address of an interface.
    Configuration { properties: ConfigurationProperties = "properties", }
}

answer! {
    /// The address, and by which it is reached from outside.
    ConfigurationProperties { private: String = "privateIPAddress", public: PublicIp = "publicIPAddress", }
}

answer! {
    /// A public address.
    PublicIp { properties: PublicIpProperties = "properties", }
}

answer! {
    /// What is said of it.
    PublicIpProperties { ip: String = "ipAddress", }
}

impl Azure {
    /// `Err` says that there is no such environment.
    pub fn new(options: AzureOptions) -> Result<Self, String> {
        let name = options.environment.to_ascii_uppercase();
        let known = ENVIRONMENTS.iter().find(|(known, ..)| *known == name);
        let (_, login, management) = known
            .ok_or_else(|| format!("there is no cloud configuration matching the name {name:?}"))?;
        Ok(Azure {
            options,
            login,
            management,
            token: None,
            interfaces: HashMap::new(),
            refreshes: 0,
        })
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        self.refreshes += 1;
        let (now, kept) = (self.refreshes, REFRESHES_KEPT);
        self.interfaces.retain(|_, (asked, _)| *asked + kept > now);
        let listed = self.everything(ask).await;
        if let Err(DiscoveryError::Status { status: StatusCode::UNAUTHORIZED, .. }) = &listed {
            self.token = None;
        }
        listed
    }

    async fn everything(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let token = self.token(ask).await?;
        let mut group = format!("/subscriptions/{}", self.options.subscription_id);
        if !self.options.resource_group.is_empty() {
            group = format!("{group}/resourceGroups/{}", self.options.resource_group);
        }
        let compute =
            |group: &str, kind: &str| format!("{group}/providers/Microsoft.Compute/{kind}");
        let mut machines = self.machines(ask, &token, &compute(&group, "virtualMachines")).await?;
        for set in self.machines(ask, &token, &compute(&group, "virtualMachineScaleSets")).await? {
            let of_set = self.machines(ask, &token, &format!("{}/virtualMachines", set.id)).await?;
            let name = |machine| Machine { scale_set: set.name.clone(), ..machine };
            machines.extend(of_set.into_iter().map(name));
        }
        let mut targets = Vec::new();
        for machine in machines {
            targets.extend(self.target(ask, &token, machine).await?);
        }
        Ok(one_group("", targets))
    }

    async fn machines(
        &self,
        ask: &dyn Ask,
        token: &str,
        path: &str,
    ) -> Result<Vec<Machine>, DiscoveryError> {
        let url = format!("{}{path}?api-version={COMPUTE}", self.management);
        let next = |page: &Machines, _| Some(page.next.clone()).filter(|next| !next.is_empty());
        let pages = ask_pages(ask, with_bearer(get(&url)?, token)?, next).await?;
        Ok(pages.into_iter().flat_map(|page| page.machines).collect())
    }

    /// `None` for a machine that is deallocated, or has no primary interface.
    async fn target(
        &mut self,
        ask: &dyn Ask,
        token: &str,
        machine: Machine,
    ) -> Result<Option<BTreeMap<String, String>>, DiscoveryError> {
        for reference in &machine.properties.network.interfaces {
            let Some(interface) = self.interface(ask, token, &machine, &reference.id).await? else {
                return Ok(None);
            };
            let Some(primary) = interface.primary else { return Ok(None) };
            let first = interface.configurations.first().filter(|_| primary);
            let Some(first) = first.map(|first| &first.properties) else { continue };
            if first.private.is_empty() {
                let reason = format!("unable to find a private IP for VM {}", machine.name);
                return Err(DiscoveryError::Answer { url: reference.id.clone(), reason });
            }
            let (mut meta, private) = (self.labels(&machine), first.private.as_str());
            meta.set("machine_public_ip", first.public.properties.ip.as_str());
            meta.set("machine_private_ip", private);
            return Ok(Some(meta.at(host_port(private, self.options.port))));
        }
        Ok(None)
    }

    fn labels(&self, machine: &Machine) -> Meta {
        let of = &machine.properties;
        let mut meta = Meta::with(
            "__meta_azure_",
            [
                ("subscription_id", self.options.subscription_id.clone()),
                ("tenant_id", self.options.tenant_id.clone()),
                ("machine_id", machine.id.clone()),
                ("machine_name", machine.name.clone()),
                ("machine_computer_name", of.os.computer_name.clone()),
                ("machine_os_type", of.storage.os_disk.os_type.clone()),
                ("machine_location", machine.location.clone()),
                ("machine_resource_group", resource_group(&machine.id).to_owned()),
                ("machine_size", of.hardware.size.clone()),
                ("machine_scale_set", machine.scale_set.clone()),
            ],
        );
        meta.set_each("machine_tag_", &machine.tags);
        meta
    }

    /// `None` if there is no such interface.
    async fn interface(
        &mut self,
        ask: &dyn Ask,
        token: &str,
        machine: &Machine,
        id: &str,
    ) -> Result<Option<InterfaceProperties>, DiscoveryError> {
        if let Some((_, known)) = self.interfaces.get(id) {
            return Ok(Some(known.clone()));
        }
        // The interface of a scale set's machine has a path of its own, whose parts its id has in another way.
        let path = if machine.scale_set.is_empty() {
            id.to_owned()
        } else {
            format!(
                "/subscriptions/{}/resourceGroups/{}/providers/microsoft.Compute/virtualMachineScaleSets/{}/virtualMachines/{}/networkInterfaces/{}",
                self.options.subscription_id,
                resource_group(id),
                machine.scale_set,
                machine.instance_id,
                id.rsplit('/').next().unwrap_or_default()
            )
        };
        let version = if machine.scale_set.is_empty() { NETWORK } else { "2018-10-01" };
        let query = [("api-version", version), ("$expand", "IPConfigurations/PublicIPAddress")];
        let url = with_query(&format!("{}{path}", self.management), query);
        let asked: Result<Interface, _> = ask_json(ask, with_bearer(get(&url)?, token)?).await;
        let found = match asked {
            Err(DiscoveryError::Status { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            asked => asked?.properties.unwrap_or(InterfaceProperties {
                primary: Some(false),
                ..InterfaceProperties::default()
            }),
        };
        if self.interfaces.len() < INTERFACES_MAX {
            self.interfaces.insert(id.to_owned(), (self.refreshes, found.clone()));
        }
        Ok(Some(found))
    }

    async fn token(&mut self, ask: &dyn Ask) -> Result<String, DiscoveryError> {
        let known = self.token.as_ref().filter(|(_, until)| ask.now_ms() < *until);
        if let Some((token, _)) = known {
            return Ok(token.clone());
        }
        let fetched: Token = ask_json(ask, self.token_request(ask).await?).await?;
        let seconds = match &fetched.seconds {
            serde_json::Value::String(text) => text.parse().unwrap_or(0),
            number => number.as_i64().unwrap_or(0),
        };
        self.token = Some((fetched.token.clone(), ask.now_ms() + seconds * 1000 - RENEW_BEFORE_MS));
        Ok(fetched.token)
    }

    async fn token_request(&self, ask: &dyn Ask) -> Result<Request<bytes::Bytes>, DiscoveryError> {
        let variable = |name: &str| ask.variable(name).unwrap_or_default();
        let own = &self.options;
        let secret = variable("AZURE_CLIENT_SECRET");
        let workload = variable("AZURE_FEDERATED_TOKEN_FILE");
        let method = match own.method {
            Method::Sdk if !secret.is_empty() => Method::OAuth,
            Method::Sdk if !workload.is_empty() => Method::WorkloadIdentity,
            Method::Sdk => Method::ManagedIdentity,
            method => method,
        };
        let or =
            |own: &str, name: &str| if own.is_empty() { variable(name) } else { own.to_owned() };
        match method {
            Method::OAuth if own.method == Method::OAuth => self.client_token(
                &own.tenant_id,
                &own.client_id,
                &[("client_secret", &own.client_secret)],
            ),
            Method::OAuth => {
                let tenant = or(&own.tenant_id, "AZURE_TENANT_ID");
                self.client_token(
                    &tenant,
                    &variable("AZURE_CLIENT_ID"),
                    &[("client_secret", &secret)],
                )
            }
            Method::WorkloadIdentity => {
                let assertion = ask.file(&workload).await?;
                let more =
                    [("client_assertion_type", ASSERTION), ("client_assertion", assertion.trim())];
                self.client_token(&variable("AZURE_TENANT_ID"), &variable("AZURE_CLIENT_ID"), &more)
            }
            Method::ManagedIdentity | Method::Sdk => self.machine_token(ask),
        }
    }

    /// The token of a client that shows a secret or an assertion.
    fn client_token(
        &self,
        tenant: &str,
        client: &str,
        proof: &[(&str, &str)],
    ) -> Result<Request<bytes::Bytes>, DiscoveryError> {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.login);
        let scope = format!("{}/.default", self.management);
        let mut form =
            vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", &scope)];
        form.extend(proof);
        post_form(&url, &form)
    }

    /// The token of the machine's identity; in an app service it is given out elsewhere.
    fn machine_token(&self, ask: &dyn Ask) -> Result<Request<bytes::Bytes>, DiscoveryError> {
        const SECRET: HeaderName = HeaderName::from_static("x-identity-header");
        const METADATA: HeaderName = HeaderName::from_static("metadata");
        let resource = format!("{}/", self.management);
        let mut query = vec![("resource", resource.as_str())];
        if !self.options.client_id.is_empty() && self.options.method == Method::ManagedIdentity {
            query.push(("client_id", &self.options.client_id));
        }
        if let (Some(url), Some(secret)) =
            (ask.variable("IDENTITY_ENDPOINT"), ask.variable("IDENTITY_HEADER"))
        {
            query.push(("api-version", "2019-08-01"));
            return with_secret(get(&with_query(&url, query))?, SECRET, &secret);
        }
        query.push(("api-version", "2018-02-01"));
        let url = "http://169.254.169.254/metadata/identity/oauth2/token";
        with_secret(get(&with_query(url, query))?, METADATA, "true")
    }
}

/// The resource group in an id: `/subscriptions/S/resourceGroups/G/...`.
fn resource_group(id: &str) -> &str {
    let mut parts = id.split('/');
    parts.by_ref().find(|part| part.eq_ignore_ascii_case("resourceGroups"));
    parts.next().unwrap_or_default()
}

refresh_by!(Azure, list);

#[cfg(test)]
mod tests {
    use super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::*;

    const MACHINES: &str = r#"{"value": [{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/vm1", "name": "vm1", "location": "westeurope", "tags": {"a-b": "c"},
      "properties": {"storageProfile": {"osDisk": {"osType": "Linux"}}, "osProfile": {"computerName": "host1"}, "hardwareProfile": {"vmSize": "Standard_B1s"},
        "networkProfile": {"networkInterfaces": [{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/second"}, {"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/nic1"}]}}}],
      "nextLink": "https://management.azure.com/next"}"#;
    const MORE: &str = r#"{"value": [{"id": "/x", "name": "deallocated", "properties": {"networkProfile": {"networkInterfaces": [{"id": "/off"}]}}}, {"id": "/y", "properties": {"networkProfile": {"networkInterfaces": [{"id": "/missing"}]}}}]}"#;
    const SETS: &str = r#"{"value": [{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachineScaleSets/set", "name": "set"}]}"#;
    const OF_SET: &str = r#"{"value": [{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/0", "name": "set_0", "instanceId": "0", "location": "w",
      "properties": {"networkProfile": {"networkInterfaces": [{"id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/0/networkInterfaces/nic2"}]}}}]}"#;

    fn nic(primary: &str, private: &str, public: &str) -> String {
        format!(
            r#"{{"properties": {{{primary} "ipConfigurations": [{{"properties": {{"privateIPAddress": "{private}", "publicIPAddress": {public}}}}}]}}}}"#
        )
    }

    fn answers() -> Recorded {
        Recorded::new(&[
            ("/token", 200, r#"{"access_token": "tok", "expires_in": "3600"}"#),
            ("/next", 200, MORE),
            ("networkInterfaces/second", 200, &nic(r#""primary": false,"#, "10.9.9.9", "null")),
            (
                "networkInterfaces/nic1",
                200,
                &nic(
                    r#""primary": true,"#,
                    "10.0.0.1",
                    r#"{"properties": {"ipAddress": "20.0.0.1"}}"#,
                ),
            ),
            ("networkInterfaces/nic2", 200, &nic(r#""primary": true,"#, "10.0.0.2", "null")),
            ("/off", 200, &nic("", "10.0.0.3", "null")),
            ("/missing", 404, ""),
            ("virtualMachineScaleSets/set/virtualMachines?", 200, OF_SET),
            ("virtualMachineScaleSets?", 200, SETS),
            ("virtualMachines?", 200, MACHINES),
        ])
    }

    fn azure(method: Method, resource_group: &str) -> Azure {
        Azure::new(AzureOptions {
            environment: "AzurePublicCloud".into(),
            method,
            subscription_id: "S".into(),
            tenant_id: "T".into(),
            client_id: "C".into(),
            client_secret: "hunter2".into(),
            resource_group: resource_group.into(),
            port: 80,
        })
        .unwrap()
    }

    #[test]
    fn machines_and_those_of_scale_sets() {
        let (ask, mut azure) = (answers(), azure(Method::OAuth, ""));
        let groups = refresh(&mut azure, &ask).unwrap();
        assert_eq!(
            shown(&groups),
            r#" {}
  {"__address__": "10.0.0.1:80", "__meta_azure_machine_computer_name": "host1", "__meta_azure_machine_id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines/vm1", "__meta_azure_machine_location": "westeurope", "__meta_azure_machine_name": "vm1", "__meta_azure_machine_os_type": "Linux", "__meta_azure_machine_private_ip": "10.0.0.1", "__meta_azure_machine_public_ip": "20.0.0.1", "__meta_azure_machine_resource_group": "G", "__meta_azure_machine_size": "Standard_B1s", "__meta_azure_machine_tag_a_b": "c", "__meta_azure_subscription_id": "S", "__meta_azure_tenant_id": "T"}
  {"__address__": "10.0.0.2:80", "__meta_azure_machine_id": "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/0", "__meta_azure_machine_location": "w", "__meta_azure_machine_name": "set_0", "__meta_azure_machine_private_ip": "10.0.0.2", "__meta_azure_machine_resource_group": "G", "__meta_azure_machine_scale_set": "set", "__meta_azure_subscription_id": "S", "__meta_azure_tenant_id": "T"}
"#
        );
        assert_eq!(ask.urls()[0], "https://login.microsoftonline.com/T/oauth2/v2.0/token");
        assert_eq!(
            ask.bodies()[0],
            "grant_type=client%5Fcredentials&client_id=C&scope=https%3A%2F%2Fmanagement%2Eazure%2Ecom%2F%2Edefault&client_secret=hunter2"
        );
        let first = ask.urls().len();
        assert_eq!(refresh(&mut azure, &ask).unwrap(), groups);
        // No token, and no interface but the one that is missing.
        assert_eq!(ask.urls().len() - first, 4 + 1);
    }

    #[test]
    fn each_way_to_say_who_one_is() {
        let first = |method: Method, texts: &[(&'static str, &str)]| {
            let ask = answers().with(texts);
            refresh(&mut azure(method, "G"), &ask).unwrap();
            assert!(ask.urls()[1].contains(
                "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/virtualMachines?"
            ));
            (ask.urls()[0].clone(), ask.bodies()[0].clone())
        };
        let machine = "http://169.254.169.254/metadata/identity/oauth2/token?resource=https%3A%2F%2Fmanagement%2Eazure%2Ecom%2F";
        assert_eq!(
            first(Method::ManagedIdentity, &[]).0,
            format!("{machine}&client_id=C&api-version=2018%2D02%2D01")
        );
        assert_eq!(first(Method::Sdk, &[]).0, format!("{machine}&api-version=2018%2D02%2D01"));
        let pod = [
            ("AZURE_FEDERATED_TOKEN_FILE", "/f"),
            ("/f", "jwt\n"),
            ("AZURE_TENANT_ID", "PT"),
            ("AZURE_CLIENT_ID", "PC"),
        ];
        let (url, body) = first(Method::WorkloadIdentity, &pod);
        assert_eq!(url, "https://login.microsoftonline.com/PT/oauth2/v2.0/token");
        assert!(body.contains("client_id=PC") && body.ends_with("client_assertion=jwt"), "{body}");
        assert_eq!(first(Method::Sdk, &pod).0, url);
        let secret = [("AZURE_CLIENT_SECRET", "s"), ("AZURE_CLIENT_ID", "EC")];
        let (url, body) = first(Method::Sdk, &secret);
        assert!(
            url.contains("/T/")
                && body.contains("client_id=EC")
                && body.ends_with("client_secret=s"),
            "{url} {body}"
        );
        let app = [("IDENTITY_ENDPOINT", "http://app/token"), ("IDENTITY_HEADER", "h")];
        assert!(first(Method::ManagedIdentity, &app).0.starts_with("http://app/token?resource="));
    }

    #[test]
    fn failures() {
        assert!(
            refresh(&mut azure(Method::OAuth, ""), &Recorded::new(&[("/token", 401, "")])).is_err()
        );
        let mut azure = azure(Method::OAuth, "");
        let ask = Recorded::new(&[
            ("/token", 200, r#"{"access_token": "t", "expires_in": 3600}"#),
            ("", 401, ""),
        ]);
        assert!(refresh(&mut azure, &ask).is_err() && azure.token.is_none());
        let unknown = AzureOptions { environment: "Moon".into(), ..azure.options.clone() };
        assert_eq!(
            Azure::new(unknown).err().unwrap(),
            r#"there is no cloud configuration matching the name "MOON""#
        );
    }
}
