//! What the control thread counts, under Prometheus' names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use super::mechanisms::Context;
use crate::metrics::counters::Counter;
use crate::metrics::exposition::{Exposition, Kind};

/// Upper bounds of refresh durations, in seconds.
const DURATION_BOUNDS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// Refreshes of one mechanism for one job.
#[derive(Clone, Copy, Debug, Default)]
struct Refreshes {
    count: u64,
    failures: u64,
    seconds: f64,
    buckets: [u64; DURATION_BOUNDS.len() + 1],
}

/// How long something took, all in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    count: u64,
    seconds: f64,
}

/// Of one job: how many targets were told to the cores, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    targets: u64,
    time_ms: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Updates that came from discoverers.
    pub(super) updates_received: Counter,
    /// Messages to the cores.
    pub(super) updates_sent: Counter,
    /// Messages that had to wait because a core had no room.
    pub(super) updates_delayed: Counter,
    http_failures: Counter,
    azure_failures: Counter,
    kuma_failures: Counter,
    linode_failures: Counter,
    nomad_failures: Counter,
    /// Files that could not be read.
    pub(super) file_read_errors: Counter,
    /// Watches that could not be set.
    pub(super) file_watcher_errors: Counter,
    /// Scans of files.
    pub(super) file_scans: Cell<Took>,
    /// When each file was last changed, in seconds since the epoch.
    pub(super) file_times: RefCell<BTreeMap<String, f64>>,
    /// Questions to DNS servers.
    pub(super) dns_lookups: Counter,
    /// Those that no server answered.
    pub(super) dns_failures: Counter,
    /// Questions to Consul that failed.
    pub(super) consul_failures: Counter,
    consul_asked: RefCell<BTreeMap<&'static str, Took>>,
    /// Lists and watches of Kubernetes that failed.
    pub(super) kubernetes_failures: Counter,
    /// Connections to ZooKeeper that could not be made, or ended.
    pub(super) zookeeper_failures: Counter,
    kubernetes_changes: RefCell<BTreeMap<(&'static str, &'static str), u64>>,
    failed_configs: Cell<u64>,
    told: RefCell<BTreeMap<String, Told>>,
    refreshes: RefCell<BTreeMap<(&'static str, String), Refreshes>>,
}

impl Took {
    /// One more.
    pub(super) fn and(self, took: Duration) -> Self {
        Took { count: self.count + 1, seconds: self.seconds + took.as_secs_f64() }
    }
}

impl Stats {
    /// Jobs that are not there any more are forgotten.
    pub(super) fn configured<'a>(&self, jobs: impl Iterator<Item = &'a String>, failed: u64) {
        self.failed_configs.set(failed);
        let jobs: Vec<_> = jobs.collect();
        self.told.borrow_mut().retain(|job, _| jobs.contains(&job));
        self.refreshes.borrow_mut().retain(|(_, job), _| jobs.contains(&job));
    }

    /// The cores know of so many targets of a job.
    pub(super) fn told(&self, job: &str, targets: u64, time_ms: i64) {
        self.told.borrow_mut().insert(job.to_owned(), Told { targets, time_ms });
    }

    /// One refresh.
    pub(super) fn refreshed(&self, context: &Context, took: Duration, failed: bool) {
        let mut all = self.refreshes.borrow_mut();
        let one = all.entry((context.mechanism, context.job.clone())).or_default();
        let seconds = took.as_secs_f64();
        one.count += 1;
        one.failures += u64::from(failed);
        one.seconds += seconds;
        one.buckets[DURATION_BOUNDS.iter().take_while(|bound| seconds > **bound).count()] += 1;
        if let Some((_, failures)) =
            self.refresh_failures().iter().find(|(name, _)| *name == context.mechanism)
        {
            failures.add(u64::from(failed));
        }
    }

    /// The mechanisms whose failures have a name of their own as well.
    fn refresh_failures(&self) -> [(&'static str, &Counter); 5] {
        [
            ("azure", &self.azure_failures),
            ("http", &self.http_failures),
            ("kuma", &self.kuma_failures),
            ("linode", &self.linode_failures),
            ("nomad", &self.nomad_failures),
        ]
    }

    /// One question to Consul's catalogue.
    pub(super) fn consul_asked(&self, call: &'static str, took: Duration) {
        let mut all = self.consul_asked.borrow_mut();
        let one = all.entry(call).or_default();
        *one = one.and(took);
    }

    /// An object of Kubernetes was added, updated or deleted.
    pub(super) fn kubernetes_changed(&self, role: &'static str, event: &'static str) {
        *self.kubernetes_changes.borrow_mut().entry((role, event)).or_default() += 1;
    }

    /// Everything.
    pub(super) fn exposition(&self) -> Exposition {
        let mut text = Exposition::default();
        self.write_plane(&mut text);
        self.write_refreshes(&mut text);
        self.write_mechanisms(&mut text);
        text
    }

    fn write_plane(&self, text: &mut Exposition) {
        const SCRAPE: (&str, &str) = ("name", "scrape");
        for (name, kind, help, value) in [
            (
                "prometheus_sd_failed_configs",
                Kind::Gauge,
                "Current number of service discovery configurations that failed to load.",
                self.failed_configs.get(),
            ),
            (
                "prometheus_sd_received_updates_total",
                Kind::Counter,
                "Total number of update events received from the SD providers.",
                self.updates_received.get(),
            ),
            (
                "prometheus_sd_updates_total",
                Kind::Counter,
                "Total number of update events sent to the SD consumers.",
                self.updates_sent.get(),
            ),
            (
                "prometheus_sd_updates_delayed_total",
                Kind::Counter,
                "Total number of update events that couldn't be sent immediately.",
                self.updates_delayed.get(),
            ),
        ] {
            text.family(name, kind, help);
            text.sample(name, &[SCRAPE], value);
        }
        let told = self.told.borrow();
        let name = "prometheus_sd_discovered_targets";
        text.family(name, Kind::Gauge, "Current number of discovered targets.");
        for (job, told) in &*told {
            text.sample(name, &[SCRAPE, ("config", job)], told.targets);
        }
        let name = "prometheus_sd_last_update_timestamp_seconds";
        let help = "Timestamp of the last update sent to the SD consumers.";
        text.family(name, Kind::Gauge, help);
        for (job, told) in &*told {
            text.sample(name, &[SCRAPE, ("config", job)], told.time_ms as f64 / 1e3);
        }
    }

    fn write_refreshes(&self, text: &mut Exposition) {
        let refreshes = self.refreshes.borrow();
        let name = "prometheus_sd_refresh_failures_total";
        let help = "Number of refresh failures for the given SD mechanism.";
        text.family(name, Kind::Counter, help);
        for ((mechanism, job), one) in &*refreshes {
            text.sample(name, &[("mechanism", mechanism), ("config", job)], one.failures);
        }
        let name = "prometheus_sd_refresh_duration_histogram_seconds";
        let help = "The duration of a refresh for the given SD mechanism.";
        text.family(name, Kind::Histogram, help);
        let mut by_mechanism: BTreeMap<&str, Refreshes> = BTreeMap::new();
        for ((mechanism, _), one) in &*refreshes {
            let all = by_mechanism.entry(mechanism).or_default();
            all.seconds += one.seconds;
            all.buckets.iter_mut().zip(one.buckets).for_each(|(all, one)| *all += one);
        }
        for (mechanism, all) in by_mechanism {
            let labels = [("mechanism", mechanism)];
            text.histogram(name, &labels, &DURATION_BOUNDS, &all.buckets, all.seconds);
        }
        let name = "prometheus_sd_refresh_duration_seconds";
        let help = "The duration of a refresh in seconds for the given SD mechanism.";
        text.family(name, Kind::Summary, help);
        for ((mechanism, job), one) in &*refreshes {
            let labels = [("mechanism", *mechanism), ("config", job.as_str())];
            text.sample(&format!("{name}_sum"), &labels, one.seconds);
            text.sample(&format!("{name}_count"), &labels, one.count);
        }
    }

    fn write_mechanisms(&self, text: &mut Exposition) {
        for (name, help, counter) in [
            (
                "prometheus_sd_file_read_errors_total",
                "The number of File-SD read errors.",
                &self.file_read_errors,
            ),
            (
                "prometheus_sd_file_watcher_errors_total",
                "The number of File-SD errors caused by filesystem watch failures.",
                &self.file_watcher_errors,
            ),
            (
                "prometheus_sd_consul_rpc_failures_total",
                "The number of Consul RPC call failures.",
                &self.consul_failures,
            ),
            ("prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups.", &self.dns_lookups),
            (
                "prometheus_sd_dns_lookup_failures_total",
                "The number of DNS-SD lookup failures.",
                &self.dns_failures,
            ),
            (
                "prometheus_sd_kubernetes_failures_total",
                "The number of failed WATCH/LIST requests.",
                &self.kubernetes_failures,
            ),
            (
                "prometheus_treecache_zookeeper_failures_total",
                "The total number of ZooKeeper failures.",
                &self.zookeeper_failures,
            ),
            (
                "prometheus_sd_http_failures_total",
                "Number of HTTP service discovery refresh failures.",
                &self.http_failures,
            ),
            (
                "prometheus_sd_azure_failures_total",
                "Number of Azure service discovery refresh failures.",
                &self.azure_failures,
            ),
            (
                "prometheus_sd_kuma_fetch_failures_total",
                "The number of Kuma MADS fetch call failures.",
                &self.kuma_failures,
            ),
            (
                "prometheus_sd_linode_failures_total",
                "Number of Linode service discovery refresh failures.",
                &self.linode_failures,
            ),
            (
                "prometheus_sd_nomad_failures_total",
                "Number of nomad service discovery refresh failures.",
                &self.nomad_failures,
            ),
        ] {
            text.single(name, Kind::Counter, help, counter.get());
        }
        let name = "prometheus_sd_kubernetes_events_total";
        text.family(name, Kind::Counter, "The number of Kubernetes events handled.");
        for ((role, event), number) in &*self.kubernetes_changes.borrow() {
            text.sample(name, &[("role", role), ("event", event)], number);
        }
        let name = "prometheus_sd_consul_rpc_duration_seconds";
        text.family(name, Kind::Summary, "The duration of a Consul RPC call in seconds.");
        for (call, took) in &*self.consul_asked.borrow() {
            let labels = [("endpoint", "catalog"), ("call", call)];
            text.sample(&format!("{name}_sum"), &labels, took.seconds);
            text.sample(&format!("{name}_count"), &labels, took.count);
        }
        let name = "prometheus_sd_file_mtime_seconds";
        let help = "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time.";
        text.family(name, Kind::Gauge, help);
        for (file, seconds) in &*self.file_times.borrow() {
            text.sample(name, &[("filename", file)], seconds);
        }
        let (name, scans) = ("prometheus_sd_file_scan_duration_seconds", self.file_scans.get());
        text.family(name, Kind::Summary, "The duration of the File-SD scan in seconds.");
        text.sample(&format!("{name}_sum"), &[], scans.seconds);
        text.sample(&format!("{name}_count"), &[], scans.count);
    }
}
