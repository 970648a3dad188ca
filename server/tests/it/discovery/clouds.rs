//! Clouds whose API's place can be configured, recorded, beside a real Prometheus.

use super::recorded::{Asked, api, json, nothing};
use super::{Pair, found};
use crate::exporter::Answer;
use crate::harness::Tidemark;

const EC2: &str = r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item><ownerId>owner</ownerId><instancesSet>
    <item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState><privateDnsName>priv.dns</privateDnsName><dnsName>pub.dns</dnsName>
      <instanceType>t3.micro</instanceType><placement><availabilityZone>eu-west-2b</availabilityZone></placement><platform>windows</platform><privateIpAddress>127.0.0.1</privateIpAddress><ipAddress>127.0.0.2</ipAddress>
      <subnetId>sub-1</subnetId><vpcId>vpc-1</vpcId><architecture>x86_64</architecture><instanceLifecycle>spot</instanceLifecycle><tagSet><item><key>team name</key><value>a</value></item></tagSet>
      <networkInterfaceSet><item><subnetId>sub-1</subnetId><attachment><deviceIndex>0</deviceIndex></attachment>
        <ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item></ipv6AddressesSet></item><item><subnetId>sub-2</subnetId></item></networkInterfaceSet></item>
    <item><instanceId>unreachable</instanceId></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"#;
const ZONES: &str = r#"<DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><availabilityZoneInfo><item><zoneName>eu-west-2b</zoneName><zoneId>euw2-az3</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>"#;
const LIGHTSAIL: &str = r#"{"instances": [{"name": "web", "blueprintId": "amazon_linux_2", "bundleId": "nano", "supportCode": "1/i-1", "location": {"availabilityZone": "eu-west-2a"}, "state": {"code": 16, "name": "running"},
    "privateIpAddress": "127.0.0.3", "publicIpAddress": "127.0.0.4", "ipv6Addresses": ["2a05::1"], "tags": [{"key": "a-b", "value": "c"}]}]}"#;

fn aws(asked: &Asked) -> Answer {
    let signed = |service: &str| {
        let scope = format!("/eu-west-2/{service}/aws4_request");
        asked.head.contains("authorization: aws4-hmac-sha256 credential=ak/")
            && asked.head.contains(&scope)
    };
    match &asked.body {
        zones if signed("ec2") && zones.contains("Action=DescribeAvailabilityZones") => {
            json("", ZONES)
        }
        all if signed("ec2") && all.contains("Filter.1.Name=tag%3Aa") => json("", EC2),
        _ if signed("lightsail") && asked.head.contains("lightsail_20161128.getinstances") => {
            json("", LIGHTSAIL)
        }
        _ => nothing(),
    }
}

#[test]
fn instances_of_aws() {
    let address = api(aws);
    let login =
        format!("region: eu-west-2, endpoint: 'http://{address}', access_key: AK, secret_key: SK");
    let both = Pair::start(&format!(
        "scrape_configs:\n\
         - {{job_name: ec2, ec2_sd_configs: [{{{login}, filters: [{{name: 'tag:a', values: [x]}}]}}]}}\n\
         - {{job_name: lightsail, lightsail_sd_configs: [{{{login}, port: 9100}}]}}\n"
    ));
    both.agree("EC2 and Lightsail", 1 + 1);
}

/// What RDS, `ElastiCache`, MSK and ECS say, which Debian's Prometheus does not know: one target each.
fn managed(asked: &Asked) -> Answer {
    let signed = |service: &str| asked.head.contains(&format!("/eu-west-2/{service}/aws4_request"));
    let says = |text: &str| asked.body.contains(text) || asked.head.contains(text);
    let answer = match asked.path.as_str() {
        "/api/v2/clusters?clusterTypeFilter=PROVISIONED&maxResults=100" if signed("kafka") => {
            r#"{"clusterInfoList": [{"clusterArn": "arn:k/1", "clusterType": "PROVISIONED"}]}"#
        }
        "/v1/clusters/arn%3Ak%2F1/nodes?maxResults=100" if signed("kafka") => {
            r#"{"nodeInfoList": [{"brokerNodeInfo": {"brokerId": 1, "endpoints": ["127.0.0.1"]}}]}"#
        }
        _ if signed("rds") && says("Action=DescribeDBClusters") => {
            "<r><DescribeDBClustersResult><DBClusters><DBCluster><DBClusterArn>arn:c</DBClusterArn></DBCluster></DBClusters></DescribeDBClustersResult></r>"
        }
        _ if signed("rds") && says("Values.Value.1=arn%3Ac") => {
            "<r><DescribeDBInstancesResult><DBInstances><DBInstance><Endpoint><Address>127.0.0.2</Address><Port>5432</Port></Endpoint></DBInstance></DBInstances></DescribeDBInstancesResult></r>"
        }
        _ if signed("elasticache") && says("Action=DescribeServerlessCaches") => {
            "<r><DescribeServerlessCachesResult><ServerlessCaches><member><Endpoint><Address>127.0.0.3</Address><Port>6379</Port></Endpoint></member></ServerlessCaches></DescribeServerlessCachesResult></r>"
        }
        _ if signed("elasticache") && says("Action=DescribeCacheClusters") => {
            "<r><DescribeCacheClustersResult><CacheClusters/></DescribeCacheClustersResult></r>"
        }
        _ if signed("ecs") && says("v20141113.listclusters") => r#"{"clusterArns": ["arn:e"]}"#,
        _ if signed("ecs") && says("v20141113.describeclusters") => {
            r#"{"clusters": [{"clusterArn": "arn:e"}]}"#
        }
        _ if signed("ecs") && says("v20141113.listtasks") => r#"{"taskArns": ["arn:t"]}"#,
        _ if signed("ecs") && says("v20141113.describetasks") => {
            r#"{"tasks": [{"taskArn": "arn:t", "attachments": [{"type": "ElasticNetworkInterface", "details": [{"name": "privateIPv4Address", "value": "127.0.0.4"}]}]}]}"#
        }
        _ if signed("ecs") && says("v20141113.listservices") => "{}",
        _ => return nothing(),
    };
    json("", answer)
}

#[test]
fn managed_services_of_aws_by_role_and_by_section() {
    let address = api(managed);
    let login =
        format!("region: eu-west-2, endpoint: 'http://{address}', access_key: AK, secret_key: SK");
    let jobs = ["ecs", "elasticache", "msk", "rds"].map(|name| {
        format!(
            "- {{job_name: {name}, {name}_sd_configs: [{{{login}}}]}}\n\
             - {{job_name: {name}-role, aws_sd_configs: [{{role: {name}, {login}}}]}}\n"
        )
    });
    let config = format!("scrape_configs:\n{}", jobs.concat());
    let targets = found(&Tidemark::start(&config), 2 * 4);
    for expected in ["127.0.0.1:80", "127.0.0.2:80", "127.0.0.3:6379", "127.0.0.4:80"] {
        let scraped = targets.iter().filter(|target| target.contains(expected));
        assert_eq!(scraped.count(), 2, "{expected} in {targets:?}");
    }
}

const SCALEWAY: &str = r#"{"servers": [{"id": "93c1", "name": "scw", "hostname": "scw-h", "boot_type": "local", "organization": "o", "project": "p", "state": "running", "commercial_type": "DEV1-S", "zone": "fr-par-1",
    "image": {"id": "i", "name": "Ubuntu", "arch": "x86_64"}, "location": {"cluster_id": "40", "hypervisor_id": "1601", "node_id": "29"}, "security_group": {"id": "sg", "name": "sgn"}, "tags": ["t"],
    "public_ip": {"id": "ip", "address": "127.0.0.6"}, "ipv6": {"address": "2001:bc8::1", "gateway": "2001:bc8::", "netmask": "127"}, "private_ip": "127.0.0.5"}], "total_count": 1}"#;
const BAREMETAL: &str = r#"{"servers": [{"id": "b1", "name": "n", "zone": "fr-par-1", "status": "ready", "project_id": "p", "offer_id": "of", "install": {"os_id": "os"}, "tags": ["x"],
    "ips": [{"id": "1", "address": "2001::1", "version": "IPv6"}, {"id": "2", "address": "127.0.0.7", "version": "IPv4"}]}], "total_count": 1}"#;

fn scaleway(asked: &Asked) -> Answer {
    let path = asked.path.split('?').next().unwrap_or_default();
    match path {
        _ if !asked.head.contains("x-auth-token: 6d6579e5-a5b9-49fc-a35f-b4feb9b87301") => {
            nothing()
        }
        "/instance/v1/zones/fr-par-1/servers" => json("X-Total-Count: 1\r\n", SCALEWAY),
        "/baremetal/v1/zones/fr-par-1/servers" => json("", BAREMETAL),
        "/baremetal/v1/zones/fr-par-1/offers" => {
            json("", r#"{"offers": [{"id": "of", "name": "GP-BM1-S"}], "total_count": 1}"#)
        }
        "/baremetal/v1/zones/fr-par-1/os" => json(
            "",
            r#"{"os": [{"id": "os", "name": "Ubuntu", "version": "20.04"}], "total_count": 1}"#,
        ),
        _ => nothing(),
    }
}

#[test]
fn servers_of_scaleway() {
    let address = api(scaleway);
    let config = |role: &str| {
        format!(
            "- {{job_name: {role}, scaleway_sd_configs: [{{role: {role}, api_url: 'http://{address}', project_id: 8feda53f-15f0-447f-badf-ccb2a0a1a1a1, access_key: SCWXXXXXXXXXXXXXXXXX, secret_key: 6d6579e5-a5b9-49fc-a35f-b4feb9b87301, name_filter: n, tags_filter: [x]}}]}}\n"
        )
    };
    let both =
        Pair::start(&format!("scrape_configs:\n{}{}", config("instance"), config("baremetal")));
    both.agree("Scaleway", 1 + 1);
}

const SERVERS: &str = r#"{"servers": [{"id": "ef07", "name": "herp", "status": "ACTIVE", "tenant_id": "fcad", "user_id": "9349", "flavor": {"id": "1"}, "image": {"id": "f90f"}, "metadata": {"env": "prod"},
    "addresses": {"private": [{"addr": "127.0.0.8", "version": 4}, {"addr": "127.0.0.9", "version": 4}]}}, {"id": "dry", "flavor": {"id": "1"}, "image": "", "addresses": {}}]}"#;
const HYPERVISORS: &str = r#"{"hypervisors": [{"id": 1, "hypervisor_hostname": "nc14", "host_ip": "127.0.0.10", "hypervisor_type": "QEMU", "hypervisor_version": 2, "state": "up", "status": "enabled", "cpu_info": "{}", "service": {"id": 1}, "free_disk_gb": 1, "local_gb": 1}]}"#;
const FLOATING: &str = r#"{"floatingips": [{"id": "f", "port_id": "port", "fixed_ip_address": "127.0.0.8", "floating_ip_address": "127.0.0.9"}]}"#;

fn openstack(asked: &Asked, address: &str) -> Answer {
    let token = "x-subject-token: tok\r\n";
    let path = asked.path.split('?').next().unwrap_or_default();
    if path == "/v3/auth/tokens" {
        let endpoint = |kind: &str, path: &str| {
            format!(
                r#"{{"type": "{kind}", "name": "x", "id": "i", "endpoints": [{{"id": "e", "interface": "public", "region": "R", "region_id": "R", "url": "http://{address}/{path}"}}]}}"#
            )
        };
        let catalog =
            [endpoint("compute", "nova/v2.1/p"), endpoint("network", "neutron")].join(", ");
        let body = format!(
            r#"{{"token": {{"expires_at": "2036-01-01T00:00:00.000000Z", "catalog": [{catalog}]}}}}"#
        );
        let Answer::Raw(answer) = json(token, &body) else { unreachable!("it is raw") };
        let text = String::from_utf8(answer).expect("JSON");
        return Answer::Raw(text.replacen("200 OK", "201 Created", 1).into_bytes());
    }
    match path {
        "/v3" | "/v3/" => json("", r#"{"version": {"id": "v3.0", "status": "stable"}}"#),
        _ if !asked.head.contains("x-auth-token: tok") => nothing(),
        "/nova/v2.1/p/servers/detail" => json("", SERVERS),
        "/nova/v2.1/p/os-hypervisors/detail" => json("", HYPERVISORS),
        "/neutron/v2.0/ports" => json("", r#"{"ports": [{"id": "port", "device_id": "ef07"}]}"#),
        "/neutron/v2.0/floatingips" => json("", FLOATING),
        _ => nothing(),
    }
}

/// Debian's version finds public addresses in another way and knows no load balancers, so only hypervisors are compared.
#[test]
fn hypervisors_and_instances_of_openstack() {
    let place = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&place);
    let address = api(move |asked| openstack(asked, own.get().map_or("", String::as_str)));
    place.set(address.clone()).expect("it is set once");
    let config = |role: &str| {
        crate::discovery::job(&format!(
            "openstack_sd_configs: [{{role: {role}, region: R, identity_endpoint: 'http://{address}/v3', username: me, password: secret, domain_name: d, project_name: p}}]"
        ))
    };
    Pair::start(&config("hypervisor")).agree("hypervisors", 1);
    let tidemark = Tidemark::start(&config("instance"));
    let only = found(&tidemark, 1).pop_first().expect("there is one");
    assert!(only.contains(r#""__meta_openstack_private_ip":"127.0.0.8","__meta_openstack_project_id":"fcad","__meta_openstack_public_ip":"127.0.0.9""#), "{only}");
}

const UYUNI: [(&str, &str); 4] = [
    ("auth.login", "<string>token</string>"),
    (
        "system.listSystemGroupsForSystemsWithEntitlement",
        "<array><data><value><struct><member><name>id</name><value><int>1000010000</int></value></member><member><name>system_groups</name><value><array><data><value><struct><member><name>id</name><value><int>1</int></value></member><member><name>name</name><value><string>web</string></value></member></struct></value></data></array></value></member></struct></value></data></array>",
    ),
    (
        "system.monitoring.listEndpoints",
        "<array><data><value><struct><member><name>system_id</name><value><int>1000010000</int></value></member><member><name>port</name><value><int>9100</int></value></member><member><name>path</name><value><string>/m</string></value></member><member><name>exporter_name</name><value><string>node_exporter</string></value></member><member><name>endpoint_name</name><value><string>Node</string></value></member><member><name>module</name><value><string>mod</string></value></member><member><name>tls_enabled</name><value><boolean>1</boolean></value></member></struct></value></data></array>",
    ),
    (
        "system.getNetworkForSystems",
        "<array><data><value><struct><member><name>system_id</name><value><int>1000010000</int></value></member><member><name>hostname</name><value><string>127.0.0.11</string></value></member><member><name>primary_fqdn</name><value><string>h.x</string></value></member><member><name>ip</name><value><string>127.0.0.11</string></value></member></struct></value></data></array>",
    ),
];

#[test]
fn exporters_of_uyuni() {
    let address = api(|asked| {
        let found = UYUNI.iter().find(|(method, _)| asked.body.contains(method));
        found.filter(|_| asked.path == "/rpc/api").map_or_else(nothing, |(_, value)| {
            json("", &format!("<?xml version=\"1.0\"?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>"))
        })
    });
    let config = super::job(&format!(
        "uyuni_sd_configs: [{{server: 'http://{address}', username: me, password: secret}}]"
    ));
    Pair::start(&config).agree("Uyuni", 1);
}
