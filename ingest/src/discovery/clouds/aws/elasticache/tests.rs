//! Caches of both kinds, by recorded answers.

use futures_util::FutureExt;

use super::super::super::super::ask::recorded::shown;
use super::super::recorded::{Aws, options};
use super::*;

const CLUSTER_1: &str = r"<DescribeCacheClustersResponse><DescribeCacheClustersResult><CacheClusters><CacheCluster><ARN>arn:c:1</ARN><CacheClusterId>one-001</CacheClusterId><Engine>redis</Engine>
    <CacheClusterCreateTime>2026-01-02T03:04:05.678Z</CacheClusterCreateTime><NumCacheNodes>2</NumCacheNodes><CacheParameterGroup><CacheParameterGroupName>default.redis7</CacheParameterGroupName></CacheParameterGroup>
    <AtRestEncryptionEnabled>true</AtRestEncryptionEnabled><PendingModifiedValues><NumCacheNodes>1</NumCacheNodes><CacheNodeIdsToRemove><CacheNodeId>0002</CacheNodeId><CacheNodeId>0003</CacheNodeId></CacheNodeIdsToRemove></PendingModifiedValues>
    <SecurityGroups><member><SecurityGroupId>sg-1</SecurityGroupId><Status>active</Status></member><member><SecurityGroupId>sg-2</SecurityGroupId></member></SecurityGroups>
    <LogDeliveryConfigurations><LogDeliveryConfiguration><LogType>slow-log</LogType><DestinationDetails><CloudWatchLogsDetails><LogGroup>g</LogGroup></CloudWatchLogsDetails></DestinationDetails></LogDeliveryConfiguration></LogDeliveryConfigurations>
    <CacheNodes><CacheNode><CacheNodeId>0001</CacheNodeId><CustomerAvailabilityZone>eu-west-2a</CustomerAvailabilityZone><Endpoint><Address>one.cache.example</Address><Port>6379</Port></Endpoint></CacheNode>
      <CacheNode><CacheNodeId>0002</CacheNodeId><CacheNodeStatus>creating</CacheNodeStatus></CacheNode></CacheNodes></CacheCluster></CacheClusters></DescribeCacheClustersResult></DescribeCacheClustersResponse>";

const ANSWERS: [(&str, &str); 6] = [
    (
        "&NextToken=n",
        r"<r><DescribeServerlessCachesResult><ServerlessCaches><member><ServerlessCacheName>bare</ServerlessCacheName></member></ServerlessCaches></DescribeServerlessCachesResult></r>",
    ),
    (
        "Action=DescribeServerlessCaches&Version=2015%2D02%2D02&MaxResults=50",
        r"<r><DescribeServerlessCachesResult><NextToken>n</NextToken><ServerlessCaches><member><ServerlessCacheName>s</ServerlessCacheName><ARN>arn:s:1</ARN><CreateTime>2026-01-02T03:04:05Z</CreateTime>
          <DailySnapshotTime>03:00</DailySnapshotTime><CacheUsageLimits><DataStorage><Maximum>5</Maximum><Unit>GB</Unit></DataStorage></CacheUsageLimits><Endpoint><Address>s.cache.example</Address><Port>6379</Port></Endpoint>
          <ReaderEndpoint><Address>s.cache.example</Address><Port>6380</Port></ReaderEndpoint><SecurityGroupIds><SecurityGroupId>sg-1</SecurityGroupId></SecurityGroupIds><SubnetIds><SubnetId>sub-1</SubnetId><SubnetId>sub-2</SubnetId></SubnetIds>
          </member></ServerlessCaches></DescribeServerlessCachesResult></r>",
    ),
    (
        "ShowCacheClustersNotInReplicationGroups=true",
        r"<r><DescribeCacheClustersResult><CacheClusters><CacheCluster><ARN>arn:c:1</ARN></CacheCluster></CacheClusters></DescribeCacheClustersResult></r>",
    ),
    ("ShowCacheClustersNotInReplicationGroups=false", CLUSTER_1),
    (
        "Action=ListTagsForResource&Version=2015%2D02%2D02&ResourceName=arn%3As%3A1",
        r"<r><ListTagsForResourceResult><TagList><Tag><Key>a-b</Key><Value>x</Value></Tag></TagList></ListTagsForResourceResult></r>",
    ),
    (
        "ResourceName=arn%3Ac%3A1",
        r"<r><ListTagsForResourceResult><TagList><Tag><Key>team</Key><Value>y</Value></Tag></TagList></ListTagsForResourceResult></r>",
    ),
];

fn refreshed(
    caches: &[&str],
    failing: &'static str,
) -> (Result<Vec<TargetGroup>, DiscoveryError>, Vec<String>) {
    let caches = caches.iter().map(|arn| (*arn).to_owned()).collect();
    let aws = Aws::new(&ANSWERS, failing);
    let groups = Elasticache::new(options(), caches).list(&aws).now_or_never();
    (groups.expect("nothing waits"), aws.asked.into_inner())
}

#[test]
fn nodes_and_serverless_caches() {
    let (groups, asked) = refreshed(&[], "");
    assert_eq!(
        shown(&groups.unwrap()),
        r#"eu-west-2 {}
  {"__address__": "s.cache.example:6379", "__meta_elasticache_deployment_option": "serverless", "__meta_elasticache_serverless_cache_arn": "arn:s:1", "__meta_elasticache_serverless_cache_cache_usage_limit_data_storage_maximum": "5", "__meta_elasticache_serverless_cache_cache_usage_limit_data_storage_unit": "GB", "__meta_elasticache_serverless_cache_create_time": "2026-01-02T03:04:05Z", "__meta_elasticache_serverless_cache_daily_snapshot_time": "03:00", "__meta_elasticache_serverless_cache_endpoint_address": "s.cache.example", "__meta_elasticache_serverless_cache_endpoint_port": "6379", "__meta_elasticache_serverless_cache_endpoint_reader_address": "s.cache.example", "__meta_elasticache_serverless_cache_endpoint_reader_port": "6380", "__meta_elasticache_serverless_cache_name": "s", "__meta_elasticache_serverless_cache_security_group_id_0": "sg-1", "__meta_elasticache_serverless_cache_subnet_id_0": "sub-1", "__meta_elasticache_serverless_cache_subnet_id_1": "sub-2", "__meta_elasticache_serverless_cache_tag_a_b": "x"}
  {"__meta_elasticache_deployment_option": "serverless", "__meta_elasticache_serverless_cache_name": "bare"}
  {"__address__": "one.cache.example:6379", "__meta_elasticache_cache_cluster_arn": "arn:c:1", "__meta_elasticache_cache_cluster_at_rest_encryption_enabled": "true", "__meta_elasticache_cache_cluster_cache_cluster_create_time": "2026-01-02T03:04:05Z", "__meta_elasticache_cache_cluster_cache_cluster_id": "one-001", "__meta_elasticache_cache_cluster_cache_parameter_group": "default.redis7", "__meta_elasticache_cache_cluster_engine": "redis", "__meta_elasticache_cache_cluster_log_delivery_configuration_log_group_0": "g", "__meta_elasticache_cache_cluster_log_delivery_configuration_log_type_0": "slow-log", "__meta_elasticache_cache_cluster_node_availability_zone": "eu-west-2a", "__meta_elasticache_cache_cluster_node_endpoint_address": "one.cache.example", "__meta_elasticache_cache_cluster_node_endpoint_port": "6379", "__meta_elasticache_cache_cluster_node_id": "0001", "__meta_elasticache_cache_cluster_num_cache_nodes": "2", "__meta_elasticache_cache_cluster_pending_modified_values_cache_node_ids_to_remove": "0002,0003", "__meta_elasticache_cache_cluster_pending_modified_values_num_cache_nodes": "1", "__meta_elasticache_cache_cluster_security_group_membership_id_0": "sg-1", "__meta_elasticache_cache_cluster_security_group_membership_id_1": "sg-2", "__meta_elasticache_cache_cluster_security_group_membership_status_0": "active", "__meta_elasticache_cache_cluster_tag_team": "y", "__meta_elasticache_deployment_option": "node"}
  {"__meta_elasticache_cache_cluster_arn": "arn:c:1", "__meta_elasticache_cache_cluster_at_rest_encryption_enabled": "true", "__meta_elasticache_cache_cluster_cache_cluster_create_time": "2026-01-02T03:04:05Z", "__meta_elasticache_cache_cluster_cache_cluster_id": "one-001", "__meta_elasticache_cache_cluster_cache_parameter_group": "default.redis7", "__meta_elasticache_cache_cluster_engine": "redis", "__meta_elasticache_cache_cluster_log_delivery_configuration_log_group_0": "g", "__meta_elasticache_cache_cluster_log_delivery_configuration_log_type_0": "slow-log", "__meta_elasticache_cache_cluster_node_id": "0002", "__meta_elasticache_cache_cluster_node_status": "creating", "__meta_elasticache_cache_cluster_num_cache_nodes": "2", "__meta_elasticache_cache_cluster_pending_modified_values_cache_node_ids_to_remove": "0002,0003", "__meta_elasticache_cache_cluster_pending_modified_values_num_cache_nodes": "1", "__meta_elasticache_cache_cluster_security_group_membership_id_0": "sg-1", "__meta_elasticache_cache_cluster_security_group_membership_id_1": "sg-2", "__meta_elasticache_cache_cluster_security_group_membership_status_0": "active", "__meta_elasticache_cache_cluster_tag_team": "y", "__meta_elasticache_deployment_option": "node"}
"#
    );
    assert_eq!(asked.len(), 2 + 2 + 2);
}

#[test]
fn named_caches_and_failures() {
    let named = [
        "arn:aws:elasticache:eu-west-2:1:serverlesscache:s",
        "arn:aws:elasticache:eu-west-2:1:replicationgroup:one-001",
        "arn:aws:elasticache:eu-west-2:1:user:u",
        "nonsense",
    ];
    let (groups, asked) = refreshed(&named, "");
    assert_eq!(groups.unwrap()[0].targets.len(), 4);
    let named = asked.iter().filter(|question| {
        question.contains("ServerlessCacheName=s") || question.contains("CacheClusterId=one%2D001")
    });
    assert_eq!(named.count(), 2 + 2);
    for failing in ["NextToken=n", "Groups=true", "Groups=false", "ResourceName=arn%3Ac"] {
        let refused = refreshed(&[], failing).0.unwrap_err().to_string();
        assert!(refused.contains("Denied"), "{failing}: {refused}");
    }
}
