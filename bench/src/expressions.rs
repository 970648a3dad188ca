//! What dashboards ask: the expressions and metadata calls of the query measurements.

/// The query expressions, over the families of the data set.
pub const EXPRESSIONS: &[(&str, &str)] = &[
    ("request rate", "sum(rate(http_requests_total[5m])) by (method)"),
    (
        "error percentage",
        r#"sum(rate(http_requests_total{status=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) * 100"#,
    ),
    (
        "latency quantile",
        "histogram_quantile(0.95, sum(rate(http_request_duration_seconds_bucket[5m])) by (le, handler))",
    ),
    ("memory used", "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes"),
    (
        "CPU busy",
        r#"100 - (avg by (instance) (irate(node_cpu_seconds_total{mode="idle"}[5m])) * 100)"#,
    ),
    ("disk writes", "rate(node_disk_written_bytes_total[5m])"),
    ("one series", r#"node_load1{instance="host-00003.prod.example.net:9100"}"#),
    ("one rate", r#"rate(node_intr_total{instance="host-00003.prod.example.net:9100"}[5m])"#),
    (
        "one host's modes",
        r#"sum by (mode) (rate(node_cpu_seconds_total{instance="host-00003.prod.example.net:9100"}[5m]))"#,
    ),
    ("load by cluster", "avg by (cluster) (node_load5)"),
    ("total rate", "sum(rate(http_requests_total[5m]))"),
    ("total CPU", "sum by (mode) (rate(node_cpu_seconds_total[5m]))"),
    (
        "error ratio by handler",
        r#"sum by (handler) (rate(http_requests_total{status="500"}[5m])) / sum by (handler) (rate(http_requests_total[5m]))"#,
    ),
    (
        "median RPC time",
        "histogram_quantile(0.5, sum by (le, rpc, cluster) (rate(rpc_server_duration_seconds_bucket[5m])))",
    ),
    (
        "mean time",
        "sum by (handler) (rate(http_request_duration_seconds_sum[5m])) / sum by (handler) (rate(http_request_duration_seconds_count[5m]))",
    ),
    ("busiest hosts", "topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))"),
    ("quantile over time", "quantile_over_time(0.9, node_load1[30m])"),
    ("maximum over time", "max_over_time(node_memory_Active_bytes[1h])"),
    ("mean over time", "avg by (rack) (avg_over_time(node_cpu_busy_ratio[10m]))"),
    ("series by job", "count by (job, cluster) (node_cpu_seconds_total)"),
    (
        "relabelled",
        r#"label_replace(sum by (instance) (node_filesystem_free_bytes), "host", "$1", "instance", "([^.]+)\\..*")"#,
    ),
    ("subquery", "max_over_time(sum(rate(http_requests_total[5m]))[30m:1m])"),
    (
        "by pattern",
        r#"sum by (device) (rate(node_network_receive_bytes_total{device!~"lo|docker.*", instance=~"host-000[0-4].+"}[5m]))"#,
    ),
    ("high cardinality", "sum by (instance, cpu, mode) (rate(node_cpu_seconds_total[5m]))"),
    ("disk full in", "predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600)"),
    (
        "joined",
        "sum by (instance) (rate(http_requests_total[5m])) * on (instance) group_left (rack) node_uname_info",
    ),
    ("hot hosts", "count(avg by (instance) (node_hwmon_temp_celsius) > 50)"),
];

/// Metadata calls, as a dashboard's variables and an expression field make them: path and parameters.
pub const METADATA: &[(&str, &[(&str, &str)])] = &[
    ("/api/v1/labels", &[]),
    ("/api/v1/label/__name__/values", &[]),
    ("/api/v1/label/instance/values", &[]),
    ("/api/v1/label/handler/values", &[("match[]", "http_requests_total")]),
    ("/api/v1/series", &[("match[]", "node_load1")]),
    ("/api/v1/labels", &[("match[]", "node_cpu_seconds_total")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_the_targets_say() {
        assert_eq!((EXPRESSIONS.len(), METADATA.len()), (27, 6));
    }
}
