//! Two pages of clusters and their instances, by recorded answers.

use futures_util::FutureExt;

use super::super::super::super::ask::recorded::shown;
use super::super::recorded::{Aws, options};
use super::*;

const ANSWERS: [(&str, &str); 5] = [
    (
        "Action=DescribeDBClusters&Version=2014%2D10%2D31&MaxRecords=100&Marker=m%26",
        r"<DescribeDBClustersResponse><DescribeDBClustersResult><DBClusters><DBCluster><DBClusterArn>arn:c:2</DBClusterArn></DBCluster><DBCluster><Status>half</Status></DBCluster></DBClusters></DescribeDBClustersResult></DescribeDBClustersResponse>",
    ),
    (
        "DBClusterIdentifier=arn%3Ac%3Agone",
        r"<DescribeDBClustersResponse><DescribeDBClustersResult><DBClusters/></DescribeDBClustersResult></DescribeDBClustersResponse>",
    ),
    (
        "Action=DescribeDBClusters",
        r#"<DescribeDBClustersResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><DescribeDBClustersResult><Marker>m&amp;</Marker><DBClusters><DBCluster>
          <DBClusterArn>arn:c:1</DBClusterArn><DBClusterIdentifier>one</DBClusterIdentifier><Engine>aurora-mysql</Engine><Port>3306</Port><MultiAZ>false</MultiAZ><DBSubnetGroup>default</DBSubnetGroup>
          <ClusterCreateTime>2026-03-25T21:09:09.123Z</ClusterCreateTime><StorageEncrypted>true</StorageEncrypted><DbClusterResourceId>cluster-X</DbClusterResourceId><Capacity/>
          <DBClusterMembers><DBClusterMember><DBInstanceIdentifier>one-a</DBInstanceIdentifier><IsClusterWriter>true</IsClusterWriter></DBClusterMember>
            <DBClusterMember><DBInstanceIdentifier>one-b</DBInstanceIdentifier><IsClusterWriter>false</IsClusterWriter></DBClusterMember></DBClusterMembers>
          <TagList><Tag><Key>team/name</Key><Value>db</Value></Tag><Tag><Key>bare</Key></Tag></TagList></DBCluster></DBClusters></DescribeDBClustersResult></DescribeDBClustersResponse>"#,
    ),
    (
        "Filters.Filter.1.Name=db%2Dcluster%2Did&Filters.Filter.1.Values.Value.1=arn%3Ac%3A1&Filters.Filter.2.Name=engine&Filters.Filter.2.Values.Value.1=a&Filters.Filter.2.Values.Value.2=b",
        r"<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances>
          <DBInstance><DBInstanceIdentifier>one-a</DBInstanceIdentifier><DBInstanceArn>arn:i:a</DBInstanceArn><DBInstanceClass>db.r6g.large</DBInstanceClass><Endpoint><Address>one-a.rds.example</Address><Port>3306</Port><HostedZoneId>Z1</HostedZoneId></Endpoint>
            <DbInstancePort>0</DbInstancePort><DBSubnetGroup><DBSubnetGroupName>default</DBSubnetGroupName></DBSubnetGroup><InstanceCreateTime>2026-03-25T21:10:00Z</InstanceCreateTime><PromotionTier>1</PromotionTier>
            <TagList><Tag><Key>role</Key><Value>writer</Value></Tag></TagList></DBInstance>
          <DBInstance><DBInstanceIdentifier>one-b</DBInstanceIdentifier><DBInstanceStatus>creating</DBInstanceStatus></DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>",
    ),
    (
        "Filters.Filter.1.Values.Value.1=arn%3Ac%3A2",
        r"<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances/></DescribeDBInstancesResult></DescribeDBInstancesResponse>",
    ),
];

fn refreshed(clusters: &[&str], failing: &'static str) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let clusters = clusters.iter().map(|arn| (*arn).to_owned()).collect();
    let filters = vec![("engine".to_owned(), vec!["a".to_owned(), "b".to_owned()])];
    let aws = Aws::new(&ANSWERS, failing);
    let mut rds = Rds::new(options(), 9104, clusters, filters);
    rds.list(&aws).now_or_never().expect("nothing waits")
}

#[test]
fn instances_of_clusters_on_two_pages() {
    assert_eq!(
        shown(&refreshed(&[], "").unwrap()),
        r#"eu-west-2 {}
  {"__address__": "one-a.rds.example:9104", "__meta_rds_cluster_arn": "arn:c:1", "__meta_rds_cluster_cluster_create_time": "2026-03-25T21:09:09Z", "__meta_rds_cluster_engine": "aurora-mysql", "__meta_rds_cluster_identifier": "one", "__meta_rds_cluster_multi_az": "false", "__meta_rds_cluster_port": "3306", "__meta_rds_cluster_resource_id": "cluster-X", "__meta_rds_cluster_storage_encrypted": "true", "__meta_rds_cluster_subnet_group": "default", "__meta_rds_cluster_tag_team_name": "db", "__meta_rds_instance_arn": "arn:i:a", "__meta_rds_instance_class": "db.r6g.large", "__meta_rds_instance_endpoint_address": "one-a.rds.example", "__meta_rds_instance_endpoint_hosted_zone_id": "Z1", "__meta_rds_instance_endpoint_port": "3306", "__meta_rds_instance_identifier": "one-a", "__meta_rds_instance_instance_create_time": "2026-03-25T21:10:00Z", "__meta_rds_instance_is_cluster_writer": "true", "__meta_rds_instance_port": "0", "__meta_rds_instance_promotion_tier": "1", "__meta_rds_instance_subnet_group": "default", "__meta_rds_instance_tag_role": "writer"}
  {"__meta_rds_cluster_arn": "arn:c:1", "__meta_rds_cluster_cluster_create_time": "2026-03-25T21:09:09Z", "__meta_rds_cluster_engine": "aurora-mysql", "__meta_rds_cluster_identifier": "one", "__meta_rds_cluster_multi_az": "false", "__meta_rds_cluster_port": "3306", "__meta_rds_cluster_resource_id": "cluster-X", "__meta_rds_cluster_storage_encrypted": "true", "__meta_rds_cluster_subnet_group": "default", "__meta_rds_cluster_tag_team_name": "db", "__meta_rds_instance_identifier": "one-b", "__meta_rds_instance_is_cluster_writer": "false", "__meta_rds_instance_status": "creating"}
"#
    );
}

#[test]
fn named_clusters_and_failures() {
    let missing = refreshed(&["arn:c:gone"], "").unwrap_err().to_string();
    assert!(missing.contains(r#"no DB cluster "arn:c:gone""#), "{missing}");
    for failing in ["Marker=m", "DescribeDBInstances", "Value.1=arn%3Ac%3A2"] {
        let refused = refreshed(&[], failing).unwrap_err().to_string();
        assert!(refused.contains("Denied"), "{failing}: {refused}");
    }
}
