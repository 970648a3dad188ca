//! `ec2_sd`: EC2 instances of one region, whose listing is XML.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::super::super::ask::{Ask, DiscoveryError, refresh_by};
use super::super::super::meta::{Meta, host_port, one_group, sanitized};
use super::super::super::xml::{child, children, text};
use super::caller::{Form, Marker, QueryApi, pair};
use super::{AwsOptions, Caller, Session};
use crate::scrape::TargetGroup;

/// EC2's API, as far as ECS asks it too.
pub(super) const EC2: QueryApi = QueryApi { service: "ec2", version: "2016-11-15" };

const NEXT: Marker = ("nextToken", "NextToken");

/// Labels whose value is the text of an element of the instance.
const TEXTS: [(&str, &str); 7] = [
    ("instance_id", "instanceId"),
    ("private_dns_name", "privateDnsName"),
    ("platform", "platform"),
    ("ami", "imageId"),
    ("instance_type", "instanceType"),
    ("instance_lifecycle", "instanceLifecycle"),
    ("architecture", "architecture"),
];

/// See the module.
pub struct Ec2 {
    session: Session,
    port: u16,
    filters: Vec<(String, Vec<String>)>,
    /// The account's availability zones, by name; they hardly ever change.
    zones: Option<BTreeMap<String, String>>,
}

impl Ec2 {
    /// The instances that `filters`, each a name and its values, let through.
    pub fn new(options: AwsOptions, port: u16, filters: Vec<(String, Vec<String>)>) -> Self {
        Ec2 { session: Session::new(options), port, filters, zones: None }
    }

    async fn list(&mut self, ask: &dyn Ask) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let caller = self.session.caller(ask).await?;
        if self.zones.is_none() {
            // Who may not see the zones still sees the instances.
            self.zones = zones(&caller).await.ok();
        }
        let none = BTreeMap::new();
        let around = Around {
            region: caller.region,
            zones: self.zones.as_ref().unwrap_or(&none),
            port: self.port,
        };
        let mut form = Form::new();
        for (i, (name, values)) in self.filters.iter().enumerate() {
            form.push((format!("Filter.{}.Name", i + 1), name.clone()));
            let value = |(k, value): (usize, &String)| {
                (format!("Filter.{}.Value.{}", i + 1, k + 1), value.clone())
            };
            form.extend(values.iter().enumerate().map(value));
        }
        let page = |root: Node| {
            let mut targets = Vec::new();
            for reservation in items(root, "reservationSet") {
                for instance in items(reservation, "instancesSet") {
                    targets.extend(around.target(text(reservation, "ownerId"), instance));
                }
            }
            targets
        };
        let targets = caller.query_pages(EC2, "DescribeInstances", NEXT, form, page).await?;
        Ok(one_group(caller.region, targets))
    }
}

/// The account's availability zones: name and identifier.
async fn zones(caller: &Caller<'_>) -> Result<BTreeMap<String, String>, DiscoveryError> {
    let take = |root: Node| {
        let zones = items(root, "availabilityZoneInfo");
        zones.map(|zone| pair(text(zone, "zoneName"), text(zone, "zoneId"))).collect()
    };
    caller.query(EC2, "DescribeAvailabilityZones", &Form::new(), take).await
}

/// What the instances of a refresh have in common.
struct Around<'a> {
    region: &'a str,
    zones: &'a BTreeMap<String, String>,
    port: u16,
}

impl Around<'_> {
    /// `None` if the instance has no address to be reached at.
    fn target(&self, owner: &str, instance: Node) -> Option<BTreeMap<String, String>> {
        let v6 = V6::of(instance);
        let private = text(instance, "privateIpAddress");
        let reached = if private.is_empty() { v6.best() } else { private };
        if reached.is_empty() {
            return None;
        }
        let inner = |outer: &str, name: &str| {
            child(instance, outer).map_or_else(String::new, |outer| text(outer, name).to_owned())
        };
        let zone = inner("placement", "availabilityZone");
        let mut meta = Meta::new("__meta_ec2_");
        for (label, element) in TEXTS {
            meta.set(label, text(instance, element));
        }
        meta.set("region", self.region).set("owner_id", owner).set("private_ip", private);
        meta.set("default_ipv6_address", v6.best());
        meta.set_some("availability_zone_id", self.zones.get(&zone).cloned());
        meta.set("availability_zone", zone).set("instance_state", inner("instanceState", "name"));
        let public = text(instance, "ipAddress");
        if !public.is_empty() {
            meta.set("public_ip", public).set("public_dns_name", text(instance, "dnsName"));
        }
        meta.set_list("primary_ipv6_addresses", ",", &v6.primary);
        meta.set_list("ipv6_addresses", ",", &v6.all);
        let vpc = text(instance, "vpcId");
        if !vpc.is_empty() {
            meta.set("vpc_id", vpc).set("primary_subnet_id", text(instance, "subnetId"));
            let subnets = subnets(instance);
            meta.set("subnet_id", if subnets.is_empty() { ",," } else { "" });
            meta.set_list("subnet_id", ",", &subnets);
        }
        for tag in items(instance, "tagSet") {
            meta.set(&format!("tag_{}", sanitized(text(tag, "key"))), text(tag, "value"));
        }
        Some(meta.at(host_port(reached, self.port)))
    }
}

/// The elements of a list.
pub(super) fn items<'a, 'input>(
    node: Node<'a, 'input>,
    list: &str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    child(node, list).into_iter().flat_map(|list| children(list, "item"))
}

/// The subnets of the interfaces, each once, in their order.
fn subnets<'a>(instance: Node<'a, '_>) -> Vec<&'a str> {
    let mut subnets = Vec::new();
    for interface in items(instance, "networkInterfaceSet") {
        let subnet = text(interface, "subnetId");
        if !subnet.is_empty() && !subnets.contains(&subnet) {
            subnets.push(subnet);
        }
    }
    subnets
}

/// The IPv6 addresses of an instance in a VPC.
#[derive(Default)]
struct V6<'a> {
    /// The primary ones by the index of their interface; empty where there is none.
    primary: Vec<&'a str>,
    all: Vec<&'a str>,
}

/// Interfaces of an instance; AWS allows some fifteen.
const INTERFACES_MAX: usize = 256;

impl<'a> V6<'a> {
    fn of(instance: Node<'a, '_>) -> Self {
        let mut found = V6::default();
        if text(instance, "vpcId").is_empty() {
            return found;
        }
        let attached = items(instance, "networkInterfaceSet");
        for interface in attached.filter(|i| !text(*i, "subnetId").is_empty()) {
            let attachment = child(interface, "attachment");
            let index = attachment.and_then(|a| text(a, "deviceIndex").parse::<usize>().ok());
            let index = index.unwrap_or(0).min(INTERFACES_MAX);
            for address in items(interface, "ipv6AddressesSet") {
                let ip = text(address, "ipv6Address");
                found.all.push(ip);
                if text(address, "isPrimaryIpv6") == "true" {
                    found.primary.resize(found.primary.len().max(index + 1), "");
                    found.primary[index] = ip;
                }
            }
        }
        found
    }

    /// The first primary one, else the first; empty if there is none.
    fn best(&self) -> &'a str {
        self.primary.iter().chain(&self.all).find(|ip| !ip.is_empty()).copied().unwrap_or_default()
    }
}

refresh_by!(Ec2, list);

#[cfg(test)]
mod tests {
    use super::super::super::super::ask::recorded::{Recorded, refresh, shown};
    use super::super::recorded::options;
    use super::*;

    const INSTANCES: &str = r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item><ownerId>owner</ownerId><instancesSet>
      <item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState><privateDnsName>priv.dns</privateDnsName><dnsName>pub.dns</dnsName>
        <instanceType>t3.micro</instanceType><placement><availabilityZone>eu-west-2b</availabilityZone></placement><platform>windows</platform><privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>42.42.42.2</ipAddress>
        <subnetId>sub-1</subnetId><vpcId>vpc-1</vpcId><architecture>x86_64</architecture><instanceLifecycle>spot</instanceLifecycle>
        <tagSet><item><key>team name</key><value>a</value></item></tagSet>
        <networkInterfaceSet><item><subnetId>sub-1</subnetId><attachment><deviceIndex>1</deviceIndex></attachment>
          <ipv6AddressesSet><item><ipv6Address>2001:db8::2</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item><item><ipv6Address>2001:db8::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item>
          <item><subnetId>sub-2</subnetId></item><item><subnetId>sub-1</subnetId></item></networkInterfaceSet></item>
      <item><instanceId>no-address</instanceId></item></instancesSet></item></reservationSet><nextToken>more&amp;</nextToken></DescribeInstancesResponse>"#;
    const MORE: &str = r"<r><reservationSet><item><instancesSet><item><instanceId>i-2</instanceId><privateIpAddress>10.0.0.2</privateIpAddress></item></instancesSet></item></reservationSet></r>";
    const ZONES: &str = r"<r><availabilityZoneInfo><item><zoneName>eu-west-2b</zoneName><zoneId>euw2-az3</zoneId></item></availabilityZoneInfo></r>";

    /// Answers by what the body says, since the URL is always the same.
    struct Aws(std::cell::RefCell<Vec<String>>, bool);

    impl Ask for Aws {
        fn ask(
            &self,
            request: http::Request<bytes::Bytes>,
        ) -> futures_util::future::LocalBoxFuture<
            '_,
            Result<http::Response<bytes::Bytes>, DiscoveryError>,
        > {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            let (status, answer) = match &body {
                _ if self.1 => (403, "AuthFailure"),
                zones if zones.contains("Zones") => (200, ZONES),
                next if next.contains("NextToken=more%26") => (200, MORE),
                _ => (200, INSTANCES),
            };
            self.0.borrow_mut().push(format!("{} {body}", request.uri()));
            let answer = http::Response::builder().status(status).body(answer.into());
            Box::pin(async { Ok(answer.unwrap()) })
        }
    }

    fn ec2() -> Ec2 {
        Ec2::new(options(), 80, vec![("tag:a".into(), vec!["x".into(), "y".into()])])
    }

    #[test]
    fn instances_on_two_pages() {
        let (aws, mut ec2) = (Aws(std::cell::RefCell::default(), false), ec2());
        let groups = futures_util::FutureExt::now_or_never(ec2.list(&aws)).unwrap().unwrap();
        assert_eq!(
            shown(&groups),
            r#"eu-west-2 {}
  {"__address__": "10.0.0.1:80", "__meta_ec2_ami": "ami-1", "__meta_ec2_architecture": "x86_64", "__meta_ec2_availability_zone": "eu-west-2b", "__meta_ec2_availability_zone_id": "euw2-az3", "__meta_ec2_default_ipv6_address": "2001:db8::1", "__meta_ec2_instance_id": "i-1", "__meta_ec2_instance_lifecycle": "spot", "__meta_ec2_instance_state": "running", "__meta_ec2_instance_type": "t3.micro", "__meta_ec2_ipv6_addresses": ",2001:db8::2,2001:db8::1,", "__meta_ec2_owner_id": "owner", "__meta_ec2_platform": "windows", "__meta_ec2_primary_ipv6_addresses": ",,2001:db8::1,", "__meta_ec2_primary_subnet_id": "sub-1", "__meta_ec2_private_dns_name": "priv.dns", "__meta_ec2_private_ip": "10.0.0.1", "__meta_ec2_public_dns_name": "pub.dns", "__meta_ec2_public_ip": "42.42.42.2", "__meta_ec2_region": "eu-west-2", "__meta_ec2_subnet_id": ",sub-1,sub-2,", "__meta_ec2_tag_team_name": "a", "__meta_ec2_vpc_id": "vpc-1"}
  {"__address__": "10.0.0.2:80", "__meta_ec2_instance_id": "i-2", "__meta_ec2_private_ip": "10.0.0.2", "__meta_ec2_region": "eu-west-2"}
"#
        );
        let asked = aws.0.borrow().clone();
        assert_eq!(asked.len(), 3);
        assert_eq!(
            asked[1],
            "https://ec2.eu-west-2.amazonaws.com/ Action=DescribeInstances&Version=2016%2D11%2D15&Filter.1.Name=tag%3Aa&Filter.1.Value.1=x&Filter.1.Value.2=y"
        );
    }

    #[test]
    fn failures_are_told() {
        let mut ec2 = ec2();
        let aws = Aws(std::cell::RefCell::default(), true);
        let refused = futures_util::FutureExt::now_or_never(ec2.list(&aws)).unwrap().unwrap_err();
        assert!(refused.to_string().contains("AuthFailure"), "{refused}");
        for garbage in ["", "{}", "<a>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"] {
            assert!(refresh(&mut ec2, &Recorded::new(&[("", 200, garbage)])).is_err(), "{garbage}");
        }
    }
}
