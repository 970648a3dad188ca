//! The metric catalogue of one host: which families it exposes, with which labels, and how their values move.
//!
//! Modelled on what `node_exporter` and an instrumented service expose together: 191 metric names and about 860 series, of which
//! 31 % never change, 18 % are histogram buckets and 10 % gauges with two decimals. One table; the test at the end holds it to these figures.

/// How the values of a series move from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values {
    /// Never changes.
    Constant(f64),
    /// A whole number that grows by up to this much a step, and starts again at zero when its host restarts.
    Counter(u64),
    /// Seconds in hundredths; grows by up to this many hundredths a step.
    Seconds(u64),
    /// A whole number of 4 KiB pages that wanders.
    Bytes,
    /// A number with two decimals that wanders.
    Hundredths,
    /// A float with a full mantissa.
    Fraction,
    /// A histogram bucket; the label `le` says which.
    Bucket,
    /// The count of a histogram.
    Count,
    /// The sum of a histogram, in hundredths.
    Sum,
}

/// Metric families that share their labels and the way their values move.
pub(crate) struct Group {
    /// Metric names.
    pub(crate) names: &'static [&'static str],
    /// How the values of each series move.
    pub(crate) values: Values,
    /// Labels beside those that every series of a host has; a family has a series for each combination of their values.
    pub(crate) labels: &'static [(&'static str, &'static [&'static str])],
}

/// Upper bounds of the histogram buckets, as they stand in `le`.
pub(crate) const BOUNDS: &[&str] =
    &["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

const CPUS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7"];
const MODES: &[&str] = &["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const NETWORKS: &[&str] = &["docker0", "eth0", "eth1", "lo"];
const DISKS: &[&str] = &["nvme0n1", "nvme1n1", "sda"];
const MOUNTS: &[&str] = &["/", "/boot", "/var/lib/containers", "/var/log", "/srv/volumes"];
const HANDLERS: &[&str] =
    &["/", "/api/v1/orders", "/api/v1/search", "/api/v1/users", "/login", "/static"];
const RPCS: &[&str] = &["Commit", "Get", "List", "Watch"];
const QUEUES: &[&str] = &["billing", "mail", "thumbnails"];
const UNITS: &[&str] = &[
    "chrony.service",
    "containerd.service",
    "cron.service",
    "dbus.service",
    "docker.service",
    "getty@tty1.service",
    "haproxy.service",
    "multipathd.service",
    "nginx.service",
    "node.service",
    "polkit.service",
    "postgresql.service",
    "rsyslog.service",
    "snapd.service",
    "ssh.service",
    "udev.service",
];
const COLLECTORS: &[&str] = &[
    "arp",
    "bonding",
    "btrfs",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "ipvs",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nvme",
    "os",
    "pressure",
    "rapl",
    "schedstat",
    "sockstat",
    "softnet",
    "stat",
    "thermal_zone",
    "uname",
];

/// Every family of a host.
pub(crate) const CATALOGUE: &[Group] = &[
    Group {
        names: &["node_cpu_seconds_total"],
        values: Values::Seconds(1_500),
        labels: &[("cpu", CPUS), ("mode", MODES)],
    },
    Group {
        names: &["node_cpu_guest_seconds_total"],
        values: Values::Constant(0.0),
        labels: &[("cpu", CPUS), ("mode", &["nice", "user"])],
    },
    Group {
        names: &["node_schedstat_running_seconds_total", "node_schedstat_waiting_seconds_total"],
        values: Values::Seconds(1_500),
        labels: &[("cpu", CPUS)],
    },
    Group {
        names: &["node_schedstat_timeslices_total", "node_softnet_processed_total"],
        values: Values::Counter(40_000),
        labels: &[("cpu", CPUS)],
    },
    Group {
        names: &["node_softnet_dropped_total", "node_cpu_frequency_max_hertz"],
        values: Values::Constant(0.0),
        labels: &[("cpu", CPUS)],
    },
    Group {
        names: &["node_cpu_scaling_frequency_hertz"],
        values: Values::Bytes,
        labels: &[("cpu", CPUS)],
    },
    Group { names: &["node_cpu_busy_ratio"], values: Values::Fraction, labels: &[("cpu", CPUS)] },
    Group {
        names: &["node_interrupts_total"],
        values: Values::Counter(9_000),
        labels: &[("cpu", CPUS), ("type", &["LOC"])],
    },
    Group {
        names: &["node_scrape_collector_duration_seconds"],
        values: Values::Fraction,
        labels: &[("collector", COLLECTORS)],
    },
    Group {
        names: &["node_scrape_collector_success"],
        values: Values::Constant(1.0),
        labels: &[("collector", COLLECTORS)],
    },
    Group {
        names: &[
            "node_network_receive_bytes_total",
            "node_network_receive_packets_total",
            "node_network_transmit_bytes_total",
            "node_network_transmit_packets_total",
        ],
        values: Values::Counter(20_000_000),
        labels: &[("device", NETWORKS)],
    },
    Group {
        names: &[
            "node_network_carrier",
            "node_network_flags",
            "node_network_iface_id",
            "node_network_mtu_bytes",
            "node_network_receive_drop_total",
            "node_network_receive_errs_total",
            "node_network_receive_fifo_total",
            "node_network_receive_frame_total",
            "node_network_speed_bytes",
            "node_network_transmit_carrier_total",
            "node_network_transmit_colls_total",
            "node_network_transmit_drop_total",
            "node_network_transmit_errs_total",
            "node_network_transmit_queue_length",
            "node_network_up",
        ],
        values: Values::Constant(1.0),
        labels: &[("device", NETWORKS)],
    },
    Group {
        names: &[
            "node_disk_read_bytes_total",
            "node_disk_reads_completed_total",
            "node_disk_reads_merged_total",
            "node_disk_writes_completed_total",
            "node_disk_writes_merged_total",
            "node_disk_written_bytes_total",
        ],
        values: Values::Counter(3_000_000),
        labels: &[("device", DISKS)],
    },
    Group {
        names: &[
            "node_disk_io_time_seconds_total",
            "node_disk_io_time_weighted_seconds_total",
            "node_disk_read_time_seconds_total",
            "node_disk_write_time_seconds_total",
        ],
        values: Values::Seconds(900),
        labels: &[("device", DISKS)],
    },
    Group {
        names: &[
            "node_disk_discard_time_seconds_total",
            "node_disk_discarded_sectors_total",
            "node_disk_io_now",
        ],
        values: Values::Constant(0.0),
        labels: &[("device", DISKS)],
    },
    Group {
        names: &[
            "node_filesystem_avail_bytes",
            "node_filesystem_files_free",
            "node_filesystem_free_bytes",
        ],
        values: Values::Bytes,
        labels: &[("fstype", &["ext4"]), ("mountpoint", MOUNTS)],
    },
    Group {
        names: &[
            "node_filesystem_device_error",
            "node_filesystem_files",
            "node_filesystem_readonly",
            "node_filesystem_size_bytes",
        ],
        values: Values::Constant(499_289_948_160.0),
        labels: &[("fstype", &["ext4"]), ("mountpoint", MOUNTS)],
    },
    Group {
        names: &[
            "node_hwmon_curr_amps",
            "node_hwmon_in_volts",
            "node_hwmon_power_average_watt",
            "node_hwmon_temp_celsius",
        ],
        values: Values::Hundredths,
        labels: &[
            ("chip", &["platform_coretemp_0"]),
            ("sensor", &["temp1", "temp2", "temp3", "temp4", "temp5", "temp6", "temp7", "temp8"]),
        ],
    },
    Group {
        names: &["node_systemd_unit_state"],
        values: Values::Constant(0.0),
        labels: &[
            ("name", UNITS),
            ("state", &["activating", "active", "deactivating", "failed", "inactive"]),
        ],
    },
    Group {
        names: &["http_requests_total"],
        values: Values::Counter(600),
        labels: &[
            ("handler", HANDLERS),
            ("method", &["GET", "POST"]),
            ("status", &["200", "304", "404", "500"]),
        ],
    },
    Group {
        names: &["http_request_duration_seconds_bucket"],
        values: Values::Bucket,
        labels: &[("handler", HANDLERS), ("le", BOUNDS)],
    },
    Group {
        names: &["http_request_duration_seconds_count"],
        values: Values::Count,
        labels: &[("handler", HANDLERS)],
    },
    Group {
        names: &["http_request_duration_seconds_sum"],
        values: Values::Sum,
        labels: &[("handler", HANDLERS)],
    },
    Group {
        names: &["rpc_server_duration_seconds_bucket"],
        values: Values::Bucket,
        labels: &[("le", BOUNDS), ("rpc", RPCS)],
    },
    Group {
        names: &["rpc_server_duration_seconds_count"],
        values: Values::Count,
        labels: &[("rpc", RPCS)],
    },
    Group {
        names: &["rpc_server_duration_seconds_sum"],
        values: Values::Sum,
        labels: &[("rpc", RPCS)],
    },
    Group {
        names: &["queue_wait_seconds_bucket"],
        values: Values::Bucket,
        labels: &[("le", BOUNDS), ("queue", QUEUES)],
    },
    Group {
        names: &["queue_wait_seconds_count"],
        values: Values::Count,
        labels: &[("queue", QUEUES)],
    },
    Group { names: &["queue_wait_seconds_sum"], values: Values::Sum, labels: &[("queue", QUEUES)] },
    Group {
        names: &["queue_depth", "queue_oldest_item_seconds"],
        values: Values::Hundredths,
        labels: &[("queue", QUEUES)],
    },
    Group {
        names: &["go_gc_duration_seconds"],
        values: Values::Fraction,
        labels: &[("quantile", &["0", "0.25", "0.5", "0.75", "1"])],
    },
    Group {
        names: &[
            "node_pressure_cpu_waiting_ratio",
            "node_pressure_io_stalled_ratio",
            "node_pressure_io_waiting_ratio",
            "node_pressure_memory_stalled_ratio",
            "node_pressure_memory_waiting_ratio",
            "node_timex_estimated_error_seconds",
            "node_timex_frequency_adjustment_ratio",
            "node_timex_maxerror_seconds",
            "node_timex_offset_seconds",
            "process_open_fds_ratio",
        ],
        values: Values::Fraction,
        labels: &[("state", &["last", "mean", "peak"])],
    },
    Group {
        names: &[
            "cache_evictions_per_second",
            "cache_filled_percent",
            "cache_hit_percent",
            "chrony_tracking_frequency_ppms",
            "chrony_tracking_residual_frequency_ppms",
            "chrony_tracking_skew_ppms",
            "haproxy_backend_connect_time_average_seconds",
            "haproxy_backend_queue_time_average_seconds",
            "haproxy_backend_response_time_average_seconds",
            "haproxy_backend_total_time_average_seconds",
            "haproxy_process_idle_time_percent",
            "mail_delivery_mean_seconds",
            "network_ups_tools_battery_charge",
            "network_ups_tools_battery_voltage",
            "network_ups_tools_input_frequency",
            "network_ups_tools_input_voltage",
            "network_ups_tools_output_current",
            "network_ups_tools_output_voltage",
            "network_ups_tools_ups_load",
            "network_ups_tools_ups_temperature",
            "node_load1",
            "node_load15",
            "node_load5",
            "node_power_supply_current_ampere",
            "node_power_supply_power_watt",
            "node_power_supply_temp_celsius",
            "node_power_supply_voltage_volt",
            "orders_basket_mean_euros",
            "orders_per_second",
            "orders_refunded_percent",
            "pool_busy_percent",
            "pool_wait_milliseconds",
            "postgres_cache_hit_percent",
            "postgres_checkpoint_seconds",
            "postgres_connections_used_percent",
            "postgres_replication_lag_seconds",
            "process_cpu_seconds_total",
            "redis_instantaneous_input_kbps",
            "redis_instantaneous_output_kbps",
            "redis_mem_fragmentation_ratio",
            "search_latency_p50_milliseconds",
            "search_latency_p90_milliseconds",
            "search_latency_p99_milliseconds",
            "search_recall_percent",
            "smartctl_device_temperature",
            "smartctl_device_wear_percent",
        ],
        values: Values::Hundredths,
        labels: &[],
    },
    Group {
        names: &[
            "go_memstats_heap_inuse_bytes",
            "node_memory_Active_bytes",
            "node_memory_MemAvailable_bytes",
            "node_memory_MemFree_bytes",
            "process_resident_memory_bytes",
        ],
        values: Values::Bytes,
        labels: &[],
    },
    Group {
        names: &[
            "go_memstats_alloc_bytes_total",
            "go_memstats_frees_total",
            "go_memstats_mallocs_total",
            "node_context_switches_total",
            "node_forks_total",
            "node_intr_total",
            "node_netstat_Icmp_InMsgs",
            "node_netstat_Icmp_OutMsgs",
            "node_netstat_IpExt_InOctets",
            "node_netstat_IpExt_OutOctets",
            "node_netstat_TcpExt_TCPTimeouts",
            "node_netstat_Tcp_ActiveOpens",
            "node_netstat_Tcp_InSegs",
            "node_netstat_Tcp_OutRsts",
            "node_netstat_Tcp_OutSegs",
            "node_netstat_Tcp_PassiveOpens",
            "node_netstat_Tcp_RetransSegs",
            "node_netstat_Udp_InDatagrams",
            "node_netstat_Udp_OutDatagrams",
            "node_vmstat_pgfault",
            "node_vmstat_pgmajfault",
            "node_vmstat_pgpgin",
            "node_vmstat_pgpgout",
            "promhttp_metric_handler_requests_total",
        ],
        values: Values::Counter(250_000),
        labels: &[],
    },
    Group {
        names: &[
            "go_info",
            "node_boot_time_seconds",
            "node_exporter_build_info",
            "node_filefd_maximum",
            "node_memory_Bounce_bytes",
            "node_memory_CommitLimit_bytes",
            "node_memory_DirectMap1G_bytes",
            "node_memory_HugePages_Free",
            "node_memory_HugePages_Total",
            "node_memory_Hugepagesize_bytes",
            "node_memory_MemTotal_bytes",
            "node_memory_Mlocked_bytes",
            "node_memory_SwapFree_bytes",
            "node_memory_SwapTotal_bytes",
            "node_memory_VmallocTotal_bytes",
            "node_memory_WritebackTmp_bytes",
            "node_netstat_Ip_Forwarding",
            "node_netstat_UdpLite_InErrors",
            "node_netstat_Udp_InErrors",
            "node_netstat_Udp_NoPorts",
            "node_nf_conntrack_entries_limit",
            "node_os_version",
            "node_procs_blocked",
            "node_sockstat_FRAG_inuse",
            "node_sockstat_RAW_inuse",
            "node_textfile_scrape_error",
            "node_timex_status",
            "node_timex_sync_status",
            "node_timex_tai_offset_seconds",
            "node_timex_tick_seconds",
            "node_uname_info",
            "node_vmstat_oom_kill",
            "process_max_fds",
            "process_start_time_seconds",
            "process_virtual_memory_max_bytes",
            "up",
        ],
        values: Values::Constant(1.0),
        labels: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_its_figures() {
        let mut names: Vec<_> = CATALOGUE.iter().flat_map(|group| group.names).collect();
        names.sort_unstable();
        names.dedup();
        let series = |keep: fn(&Values) -> bool| -> usize {
            let kept = CATALOGUE.iter().filter(|group| keep(&group.values));
            kept.map(|g| g.names.len() * g.labels.iter().map(|(_, v)| v.len()).product::<usize>())
                .sum()
        };
        let all = series(|_| true);
        let percent = |part: usize| part as f64 * 100.0 / all as f64;
        let constant = percent(series(|values| matches!(values, Values::Constant(_))));
        let buckets = percent(series(|values| *values == Values::Bucket));
        let fractions = percent(series(|values| *values == Values::Fraction));
        let got = format!(
            "{} names, {all} series, {constant:.1} {buckets:.1} {fractions:.1} %",
            names.len()
        );
        assert_eq!(names.len(), 191, "{got}");
        assert!((855..=865).contains(&all), "{got}");
        assert!((30.0..32.0).contains(&constant), "{got}");
        assert!((17.5..18.5).contains(&buckets), "{got}");
        assert!((8.0..10.0).contains(&fractions), "{got}");
    }
}
