//! A cluster whose tasks run in every way, by recorded answers.

use futures_util::FutureExt;

use super::super::super::super::ask::recorded::shown;
use super::super::recorded::{Aws, options};
use super::*;

const RUNNING: &str = r#"{"tasks": [
  {"taskArn": "arn:t/1", "taskDefinitionArn": "arn:d/1", "group": "service:web", "availabilityZone": "eu-west-2a", "desiredStatus": "RUNNING", "lastStatus": "RUNNING", "healthStatus": "HEALTHY", "launchType": "FARGATE",
   "platformFamily": "Linux", "platformVersion": "1.4.0", "tags": [{"key": "a-b", "value": "t"}, {"key": "bare"}],
   "attachments": [{"type": "Volume"}, {"type": "ElasticNetworkInterface", "details": [{"name": "subnetId", "value": "sub-1"}, {"name": "networkInterfaceId", "value": "eni-1"}, {"name": "privateIPv4Address", "value": "10.0.0.1"}, {"name": null}]}]},
  {"taskArn": "arn:t/2", "group": "family:batch", "launchType": "EC2", "containerInstanceArn": "arn:c/1"},
  {"taskArn": "arn:t/3", "containerInstanceArn": "arn:c/gone"}]}"#;

/// What is answered to whom: part of the action or of the body, and the answer.
const ANSWERS: [(&str, &str); 11] = [
    (r#"ListClusters {"maxResults":100}"#, r#"{"clusterArns": ["arn:k/1"], "nextToken": "n"}"#),
    ("ListClusters", r#"{"clusterArns": ["arn:k/empty"]}"#),
    (
        "DescribeClusters",
        r#"{"clusters": [{"clusterArn": "arn:k/1", "clusterName": "one", "tags": [{"key": "team", "value": "x"}]}, {"clusterArn": "arn:k/empty"}]}"#,
    ),
    (r#"ListTasks {"cluster":"arn:k/empty""#, "{}"),
    ("ListTasks", r#"{"taskArns": ["arn:t/1", "arn:t/2", "arn:t/3"]}"#),
    ("DescribeTasks", RUNNING),
    ("ListServices", r#"{"serviceArns": ["arn:s/web"]}"#),
    (
        "DescribeServices",
        r#"{"services": [{"serviceArn": "arn:s/web", "serviceName": "web", "status": "ACTIVE", "tags": [{"key": "tier", "value": "front"}]}]}"#,
    ),
    (
        "DescribeContainerInstances",
        r#"{"containerInstances": [{"containerInstanceArn": "arn:c/1", "ec2InstanceId": "i-1"}]}"#,
    ),
    (
        "InstanceId.1=i%2D1",
        r"<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><privateIpAddress>10.0.0.2</privateIpAddress><ipAddress>198.51.100.2</ipAddress><subnetId>sub-2</subnetId>
          <instanceType>t3.micro</instanceType><tagSet><item><key>rack</key><value>7</value></item></tagSet></item></instancesSet></item></reservationSet></r>",
    ),
    (
        "NetworkInterfaceId.1=eni%2D1",
        r"<r><networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId><association><publicIp>198.51.100.1</publicIp></association></item></networkInterfaceSet></r>",
    ),
];

fn refreshed(
    clusters: &[&str],
    failing: &'static str,
) -> (Result<Vec<TargetGroup>, DiscoveryError>, Vec<String>) {
    let clusters = clusters.iter().map(|name| (*name).to_owned()).collect();
    let aws = Aws::new(&ANSWERS, failing);
    let mut ecs = Ecs::new(options(), 80, clusters);
    let groups = ecs.list(&aws).now_or_never().expect("nothing waits");
    (groups, aws.asked.into_inner())
}

#[test]
fn tasks_on_instances_and_without() {
    let (groups, asked) = refreshed(&[], "");
    assert_eq!(
        shown(&groups.unwrap()),
        r#"eu-west-2 {}
  {"__address__": "10.0.0.1:80", "__meta_ecs_availability_zone": "eu-west-2a", "__meta_ecs_cluster": "one", "__meta_ecs_cluster_arn": "arn:k/1", "__meta_ecs_desired_status": "RUNNING", "__meta_ecs_health_status": "HEALTHY", "__meta_ecs_ip_address": "10.0.0.1", "__meta_ecs_last_status": "RUNNING", "__meta_ecs_launch_type": "FARGATE", "__meta_ecs_network_mode": "awsvpc", "__meta_ecs_platform_family": "Linux", "__meta_ecs_platform_version": "1.4.0", "__meta_ecs_public_ip": "198.51.100.1", "__meta_ecs_region": "eu-west-2", "__meta_ecs_service": "web", "__meta_ecs_service_arn": "arn:s/web", "__meta_ecs_service_status": "ACTIVE", "__meta_ecs_subnet_id": "sub-1", "__meta_ecs_tag_cluster_team": "x", "__meta_ecs_tag_service_tier": "front", "__meta_ecs_tag_task_a_b": "t", "__meta_ecs_task_arn": "arn:t/1", "__meta_ecs_task_definition": "arn:d/1", "__meta_ecs_task_group": "service:web"}
  {"__address__": "10.0.0.2:80", "__meta_ecs_cluster": "one", "__meta_ecs_cluster_arn": "arn:k/1", "__meta_ecs_container_instance_arn": "arn:c/1", "__meta_ecs_ec2_instance_id": "i-1", "__meta_ecs_ec2_instance_private_ip": "10.0.0.2", "__meta_ecs_ec2_instance_public_ip": "198.51.100.2", "__meta_ecs_ec2_instance_type": "t3.micro", "__meta_ecs_ip_address": "10.0.0.2", "__meta_ecs_launch_type": "EC2", "__meta_ecs_network_mode": "bridge", "__meta_ecs_public_ip": "198.51.100.2", "__meta_ecs_region": "eu-west-2", "__meta_ecs_subnet_id": "sub-2", "__meta_ecs_tag_cluster_team": "x", "__meta_ecs_tag_ec2_rack": "7", "__meta_ecs_task_arn": "arn:t/2", "__meta_ecs_task_group": "family:batch"}
"#
    );
    let both = asked.iter().find(|question| question.contains("DescribeClusters")).unwrap();
    assert!(both.contains(r#""clusters":["arn:k/1","arn:k/empty"],"include":["TAGS"]"#), "{both}");
    let gone = asked.iter().find(|question| question.contains("ContainerInstances")).unwrap();
    assert!(gone.contains(r#"["arn:c/1","arn:c/gone"]"#), "{gone}");
}

#[test]
fn named_clusters_are_not_listed_and_failures_are_told() {
    let (groups, asked) = refreshed(&["one"], "");
    assert_eq!(groups.unwrap()[0].targets.len(), 2);
    assert!(asked.iter().all(|question| !question.contains("ListClusters")));
    for failing in ["ListClusters", "DescribeTasks", "DescribeServices", "eni%2D1", "i%2D1"] {
        let (groups, _) = refreshed(&[], failing);
        assert!(groups.unwrap_err().to_string().contains("Denied"), "{failing}");
    }
}
