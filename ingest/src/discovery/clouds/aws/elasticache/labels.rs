//! Which element of `ElastiCache`'s answers is which label.

use super::super::labels::{Labels, Table};

/// Of a serverless cache.
pub(super) const SERVERLESS: Labels = Labels {
    texts: &[
        ("arn", "ARN"),
        ("cache_usage_limit_data_storage_maximum", "CacheUsageLimits/DataStorage/Maximum"),
        ("cache_usage_limit_data_storage_minimum", "CacheUsageLimits/DataStorage/Minimum"),
        ("cache_usage_limit_data_storage_unit", "CacheUsageLimits/DataStorage/Unit"),
        ("cache_usage_limit_ecpu_per_second_maximum", "CacheUsageLimits/ECPUPerSecond/Maximum"),
        ("cache_usage_limit_ecpu_per_second_minimum", "CacheUsageLimits/ECPUPerSecond/Minimum"),
        ("daily_snapshot_time", "DailySnapshotTime"),
        ("description", "Description"),
        ("endpoint_address", "Endpoint/Address"),
        ("endpoint_port", "Endpoint/Port"),
        ("endpoint_reader_address", "ReaderEndpoint/Address"),
        ("endpoint_reader_port", "ReaderEndpoint/Port"),
        ("engine", "Engine"),
        ("full_engine_version", "FullEngineVersion"),
        ("kms_key_id", "KmsKeyId"),
        ("major_engine_version", "MajorEngineVersion"),
        ("name", "ServerlessCacheName"),
        ("snapshot_retention_limit", "SnapshotRetentionLimit"),
        ("status", "Status"),
        ("user_group_id", "UserGroupId"),
    ],
    moments: &[("create_time", "CreateTime")],
};

/// Of a cluster.
pub(super) const CLUSTER: Labels = Labels {
    texts: &[
        ("arn", "ARN"),
        ("at_rest_encryption_enabled", "AtRestEncryptionEnabled"),
        ("auth_token_enabled", "AuthTokenEnabled"),
        ("auto_minor_version_upgrade", "AutoMinorVersionUpgrade"),
        ("cache_cluster_id", "CacheClusterId"),
        ("cache_cluster_status", "CacheClusterStatus"),
        ("cache_node_type", "CacheNodeType"),
        ("cache_parameter_group", "CacheParameterGroup/CacheParameterGroupName"),
        ("cache_subnet_group_name", "CacheSubnetGroupName"),
        ("client_download_landing_page", "ClientDownloadLandingPage"),
        ("configuration_endpoint_address", "ConfigurationEndpoint/Address"),
        ("configuration_endpoint_port", "ConfigurationEndpoint/Port"),
        ("engine", "Engine"),
        ("engine_version", "EngineVersion"),
        ("ip_discovery", "IpDiscovery"),
        ("network_type", "NetworkType"),
        ("notification_topic_arn", "NotificationConfiguration/TopicArn"),
        ("notification_topic_status", "NotificationConfiguration/TopicStatus"),
        ("num_cache_nodes", "NumCacheNodes"),
        ("pending_modified_values_auth_token_status", "PendingModifiedValues/AuthTokenStatus"),
        ("pending_modified_values_cache_node_type", "PendingModifiedValues/CacheNodeType"),
        ("pending_modified_values_engine_version", "PendingModifiedValues/EngineVersion"),
        ("pending_modified_values_num_cache_nodes", "PendingModifiedValues/NumCacheNodes"),
        (
            "pending_modified_values_transit_encryption_enabled",
            "PendingModifiedValues/TransitEncryptionEnabled",
        ),
        (
            "pending_modified_values_transit_encryption_mode",
            "PendingModifiedValues/TransitEncryptionMode",
        ),
        ("preferred_availability_zone", "PreferredAvailabilityZone"),
        ("preferred_maintenance_window", "PreferredMaintenanceWindow"),
        ("preferred_outpost_arn", "PreferredOutpostArn"),
        ("replication_group_id", "ReplicationGroupId"),
        ("replication_group_log_delivery_enabled", "ReplicationGroupLogDeliveryEnabled"),
        ("snapshot_retention_limit", "SnapshotRetentionLimit"),
        ("snapshot_window", "SnapshotWindow"),
        ("transit_encryption_enabled", "TransitEncryptionEnabled"),
        ("transit_encryption_mode", "TransitEncryptionMode"),
    ],
    moments: &[
        ("auth_token_last_modified", "AuthTokenLastModifiedDate"),
        ("cache_cluster_create_time", "CacheClusterCreateTime"),
    ],
};

/// Of a node.
pub(super) const NODE: Labels = Labels {
    texts: &[
        ("availability_zone", "CustomerAvailabilityZone"),
        ("customer_outpost_arn", "CustomerOutpostArn"),
        ("endpoint_address", "Endpoint/Address"),
        ("endpoint_port", "Endpoint/Port"),
        ("id", "CacheNodeId"),
        ("parameter_group_status", "ParameterGroupStatus"),
        ("source_cache_node_id", "SourceCacheNodeId"),
        ("status", "CacheNodeStatus"),
    ],
    moments: &[("create_time", "CacheNodeCreateTime")],
};

/// Of where a cluster's logs go, with the place in the list behind it.
pub(super) const LOG_DELIVERY: Table = &[
    ("delivery_stream", "DestinationDetails/KinesisFirehoseDetails/DeliveryStream"),
    ("destination_type", "DestinationType"),
    ("log_format", "LogFormat"),
    ("log_group", "DestinationDetails/CloudWatchLogsDetails/LogGroup"),
    ("log_type", "LogType"),
    ("message", "Message"),
    ("status", "Status"),
];

/// Of a security group that a cluster is in, with the place in the list behind it.
pub(super) const SECURITY_GROUP: Table = &[("id", "SecurityGroupId"), ("status", "Status")];
